"""Tables for people: the worst samples first, then what all of them aggregate to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lossbench.columns import Column, named
from lossbench.errors import printable
from lossbench.results import Reported, Result

UNDEFINED = "–"
ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}
SHOWN = (
    "mean", "ci_low", "ci_high", "std", "median", "p5", "p25", "p75", "p95", "min", "max", "pooled",
    "count",
)  # fmt: skip
WHEN_ANY = ("undefined", "infinite")
WHOLE = ("count", "undefined", "infinite")
TOP = 10


def render_table(
    result: Result,
    *,
    top: int | None = TOP,
    sort: str | None = None,
    per_class: bool | None = None,
    width: int | None = None,
    color: bool = False,
) -> str:
    """A result as tables.

    Args:
        result: what a run found.
        top: how many samples to show, None for all of them, 0 for none.
        sort: the column that orders them, the first by default; the worst come first.
        per_class: add a table with the mean of each class.
        width: columns of the terminal; None for as many as the widest row needs.
        color: whether to style the text for a terminal.
    """
    columns = result.columns
    by = named(columns, sort) if sort else columns[0]
    parts: list[Any] = []
    if top != 0:
        order = worst_first(result.values[by.name].samples, by.better)[:top]
        title = f"worst {len(order)} of {len(result.ids)} by {by.name}"
        rows = [
            [printable(result.ids[place])]
            + [plain(result.values[column.name].samples[place]) for column in columns]
            for place in order
        ]
        parts.append(_table(title, "id", columns, rows))
    if per_class and result.class_aggregates:
        with_classes = [column for column in columns if column.name in result.class_aggregates]
        rows = [
            [printable(of_class)]
            + [
                plain(result.class_aggregates[column.name][of_class]["mean"])
                for column in with_classes
            ]
            for of_class in result.class_names
        ]
        parts.append(_table("mean of each class", "class", with_classes, rows))
    parts.append(_table(_title(result), "aggregate", columns, _aggregate_rows(result)))
    if result.conventions:
        title = "conventions: what each tool would report of the losses that it has"
        parts.append(_table(title, "convention", columns, _convention_rows(result)))
    lines = [("✓ " if each.passed else "✗ ") + str(each) for each in result.decisions]
    return _print(parts, ["gates", *lines] if lines else [], width, color)


def worst_first(values: Sequence[float], better: str | None) -> list[int]:
    """Places from the worst value to the best, undefined ones last; ties stay in order."""
    sign = 1 if better == "higher" else -1
    return sorted(
        range(len(values)),
        key=lambda place: (math.isnan(values[place]), sign * values[place]),
    )


def plain(value: float) -> str:
    """A number for a table: four digits after the point, or an exponent where that says little."""
    if math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4f}"
    return f"{value:.3e}"


def _title(result: Result) -> str:
    """How many pairs the aggregates are of, and what is not among them."""
    failed = Counter(each.kind for each in result.failed)
    left_out = {
        "missing": result.counts["missing"] - failed["missing"],
        "extra": result.counts["extra"] - failed["extra"],
        "error" if len(result.failed) == 1 else "errors": len(result.failed),
    }
    parts = [f"{len(result.ids)} pairs", *(f"{n} {what}" for what, n in left_out.items() if n)]
    return " · ".join(parts)


def _aggregate_rows(result: Result) -> list[list[str]]:
    tables = [result.aggregates[column.name] for column in result.columns]
    names = [*SHOWN, *(name for name in WHEN_ANY if any(table[name] for table in tables))]
    return [
        [name] + [f"{table[name]:.0f}" if name in WHOLE else plain(table[name]) for table in tables]
        for name in names
    ]


def _convention_rows(result: Result) -> list[list[str]]:
    rows = result.conventions
    widths = {
        column.name: max(
            len(row[column.name].aggregate) for row in rows.values() if column.name in row
        )
        for column in result.columns
    }

    def cell(name: str, row: Mapping[str, Reported]) -> str:
        if name not in row:
            return ""
        return f"{plain(row[name].value)} {row[name].aggregate:{widths[name]}}"

    return [
        [name, *(cell(column.name, row) for column in result.columns)] for name, row in rows.items()
    ]


def _table(
    title: str, first: str, columns: Sequence[Column], rows: Sequence[list[str]]
) -> tuple[Any, Any]:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(first, overflow="fold")
    for column in columns:
        heading = Text(printable(column.name) + ARROWS[column.better])
        table.add_column(heading, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return Text(title, style="bold"), table


def _print(tables: Sequence[Any], lines: Sequence[str], width: int | None, color: bool) -> str:
    from io import StringIO

    from rich.console import Console
    from rich.text import Text

    target = StringIO()
    console = Console(
        file=target,
        width=width or 10_000,
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        legacy_windows=False,
    )
    for place, (title, table) in enumerate(tables):
        if place:
            console.print()
        console.print(title, soft_wrap=True)
        console.print(table)
    if lines:
        console.print()
    for line in lines:
        style = {"✓": "green", "✗": "bold red"}.get(line[0], "bold")
        console.print(Text(line, style=style), soft_wrap=True)
    return "".join(f"{line.rstrip()}\n" for line in target.getvalue().splitlines())
