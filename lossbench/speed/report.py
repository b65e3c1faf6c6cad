"""Measured tables, as rows of text and as JSON, and the machine that they were measured on."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lossbench.runtime.cpu import cores
from lossbench.version import __version__

SCHEMA = 1
PACKAGES = ("torch", "numpy", "scipy", "pillow", "click")


@dataclass(frozen=True)
class SpeedTable:
    """Figures of a section."""

    section: str
    title: str  # the conditions of the figures
    columns: Mapping[str, tuple[str, str]]  # key in JSON -> heading, and format of the numbers
    rows: Sequence[Mapping[str, Any]]  # by key; None or no value where a column does not apply

    def as_json(self) -> dict[str, Any]:
        """The table with every digit."""
        return {
            "title": self.title,
            "columns": {key: heading for key, (heading, _) in self.columns.items()},
            "rows": [{key: row.get(key) for key in self.columns} for row in self.rows],
        }

    def as_text(self) -> tuple[str, list[str], list[list[str | None]]]:
        """Title, headings and rows; None where a column does not apply."""
        rows = [
            [
                None if row.get(key) is None else format(row[key], form)
                for key, (_, form) in self.columns.items()
            ]
            for row in self.rows
        ]
        headings = [heading for heading, _ in self.columns.values()]
        return f"{self.section}: {self.title}", headings, rows


@dataclass(frozen=True)
class SpeedReport:
    """Sections measured so far."""

    machine: Mapping[str, Any]  # processor, cores, load and versions
    settings: Mapping[str, Any]  # repeat, device, pairs and size
    tables: tuple[SpeedTable, ...] = ()  # one for each finished section

    def as_json(self) -> dict[str, Any]:
        """Everything with every digit, sections by name."""
        return {
            "schema": SCHEMA,
            "machine": dict(self.machine),
            "settings": dict(self.settings),
            "sections": {table.section: table.as_json() for table in self.tables},
        }

    def heading(self) -> str:
        """Two lines on the machine."""
        machine = self.machine
        versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
        return (
            f"{machine['processor']}, {machine['cores']} cores, {machine['system']}\n{versions}\n"
        )


def describe_machine() -> dict[str, Any]:
    """The machine as the system describes it, without importing the packages."""
    versions = {"lossbench": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "versions": versions,
    }


def _processor() -> str:
    """The model of the processor, or its kind where the system does not name the model."""
    try:
        facts = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        facts = ""
    model = re.search(r"^model name\s*: (.+)$", facts, re.MULTILINE)
    return model[1] if model else platform.processor() or platform.machine()
