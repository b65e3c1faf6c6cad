"""What was measured: tables of named columns, as text for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = 1


@dataclass(frozen=True)
class TableColumn:
    """A column: its key in JSON, its heading for people, how its numbers are written."""

    key: str
    heading: str
    form: str = ""


@dataclass(frozen=True)
class Table:
    """What a section measured; a cell that is None has no meaning there."""

    section: str
    title: str
    columns: tuple[TableColumn, ...]
    rows: Sequence[Mapping[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """The table with every digit."""
        return {
            "title": self.title,
            "columns": {column.key: column.heading for column in self.columns},
            "rows": [{c.key: row.get(c.key) for c in self.columns} for row in self.rows],
        }

    def render(self, width: int | None = None, *, color: bool = False) -> str:
        """The table as text.

        Args:
            width: columns of the terminal; None for as many as the widest row needs.
            color: whether to style the text for a terminal.
        """
        from lossbench.output.sections import UNDEFINED, Section
        from lossbench.output.table import print_sections

        rows = [
            [
                UNDEFINED if row.get(c.key) is None else format(row[c.key], c.form)
                for c in self.columns
            ]
            for row in self.rows
        ]
        headings = [column.heading for column in self.columns]
        section = Section(f"{self.section}: {self.title}", headings, rows)
        return print_sections([section], width=width, color=color)


@dataclass(frozen=True)
class SpeedReport:
    """What has been measured so far, on which machine, and how.

    Attributes:
        machine: what the figures depend on.
        settings: repeats, device, and what else was asked for.
        tables: one for each section that is done, the last one last.
    """

    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    tables: tuple[Table, ...] = ()

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
        """The machine in a few words."""
        versions = ", ".join(f"{name} {x}" for name, x in self.machine["versions"].items())
        return (
            f"{self.machine['processor']}, {self.machine['cores']} cores, "
            f"{self.machine['system']}\n{versions}\n"
        )

    def save(self, path: str) -> None:
        """Write the JSON to a file that appears whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        from lossbench.output import put

        put(lambda file: Path(file).write_text(self.render(), encoding="utf-8"), path)
