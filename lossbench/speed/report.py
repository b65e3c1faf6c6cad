"""Measured tables, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = 1


@dataclass(frozen=True)
class Table:
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

    def render(self, width: int | None = None, *, color: bool = False) -> str:
        """The table as text, no wider than a terminal of this width."""
        from lossbench.output.sections import UNDEFINED, Section
        from lossbench.output.table import print_sections

        forms = {key: form for key, (_, form) in self.columns.items()}
        rows = [
            [UNDEFINED if row.get(k) is None else format(row[k], f) for k, f in forms.items()]
            for row in self.rows
        ]
        headings = [heading for heading, _ in self.columns.values()]
        section = Section(f"{self.section}: {self.title}", headings, rows)
        return print_sections([section], width=width, color=color)


@dataclass(frozen=True)
class SpeedReport:
    """Sections measured so far."""

    machine: Mapping[str, Any]  # processor, cores, load and versions
    settings: Mapping[str, Any]  # repeat, device, pairs and size
    tables: tuple[Table, ...] = ()  # one for each finished section

    def as_json(self) -> dict[str, Any]:
        """Everything with every digit, sections by name."""
        return {
            "schema": SCHEMA,
            "machine": dict(self.machine),
            "settings": dict(self.settings),
            "sections": {table.section: table.as_json() for table in self.tables},
        }

    def render(self) -> str:
        """The JSON text."""
        return json.dumps(self.as_json(), ensure_ascii=False, allow_nan=False, indent=1) + "\n"

    def heading(self) -> str:
        """Two lines on the machine."""
        machine = self.machine
        versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
        return (
            f"{machine['processor']}, {machine['cores']} cores, {machine['system']}\n{versions}\n"
        )

    def save(self, path: str) -> None:
        """Write the JSON to a file, atomically.

        Raises:
            OutputError: it cannot be written.
        """
        from lossbench.output import put

        put(lambda file: Path(file).write_text(self.render(), encoding="utf-8"), path)
