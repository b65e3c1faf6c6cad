"""Tables for people: the worst samples first, then what all of them aggregate to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lossbench.columns import Column, named
from lossbench.errors import printable
from lossbench.gates import Decision
from lossbench.results import Result

UNDEFINED = "–"
ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}
SHOWN = (
    "mean", "ci_low", "ci_high", "std", "median", "p5", "p25", "p75", "p95", "min", "max", "pooled",
    "count",
)  # fmt: skip
SHOWN_OVER_GROUPS = ("mean", "ci_low", "ci_high", "std", "median", "min", "max", "count")
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
        parts.append(_table(title, ["id"], columns, rows))
        if result.groups is not None:
            parts.append(_groups(result, top, by))
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
        parts.append(_table("mean of each class", ["class"], with_classes, rows))
    parts.append(_table(_title(result), ["aggregate"], columns, _aggregate_rows(result)))
    lines = [f"{_mark(each)} {each}" for each in result.decisions]
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


def _mark(decision: Decision) -> str:
    """How a gate ended: held, failed, or only worth a warning."""
    return "✓" if decision.passed else "✗" if decision.failed else "⚠"


def _title(result: Result) -> str:
    """How many pairs the aggregates are of, and what is not among them."""
    failed = Counter(each.kind for each in result.failed)
    left_out = {
        "missing": result.counts["missing"] - failed["missing"],
        "extra": result.counts["extra"] - failed["extra"],
        "error" if len(result.failed) == 1 else "errors": len(result.failed),
    }
    groups = [f"{len(result.group_places)} groups"] if result.groups is not None else []
    parts = [
        f"{len(result.ids)} pairs",
        *groups,
        *(f"{n} {what}" for what, n in left_out.items() if n),
    ]
    return " · ".join(parts)


def _groups(result: Result, top: int | None, by: Column) -> tuple[Any, Any]:
    """The groups whose means are worst."""
    groups = list(result.group_places)
    order = worst_first(result.group_means[by.name].samples, by.better)[:top]
    rows = [
        [printable(groups[place]), str(len(result.group_places[groups[place]]))]
        + [plain(result.group_means[column.name].samples[place]) for column in result.columns]
        for place in order
    ]
    title = f"mean of the worst {len(order)} of {len(groups)} groups by {by.name}"
    return _table(title, ["group", "pairs"], result.columns, rows)


def _aggregate_rows(result: Result) -> list[list[str]]:
    tables = [result.aggregates[column.name] for column in result.columns]
    rows = _rows(tables, {name: name for name in (*SHOWN, *WHEN_ANY)})
    if result.groups is not None:
        tables = [result.over_groups[column.name] for column in result.columns]
        over = {f"group_{name}": name for name in (*SHOWN_OVER_GROUPS, *WHEN_ANY)}
        rows += _rows(tables, over)
    return rows


def _rows(tables: Sequence[dict[str, float]], names: dict[str, str]) -> list[list[str]]:
    """A row for each aggregate, under the name that gates call it by."""
    return [
        [shown]
        + [f"{table[name]:.0f}" if name in WHOLE else plain(table[name]) for table in tables]
        for shown, name in names.items()
        if name not in WHEN_ANY or any(table[name] for table in tables)
    ]


def _table(
    title: str, first: Sequence[str], columns: Sequence[Column], rows: Sequence[list[str]]
) -> tuple[Any, Any]:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, heading in enumerate(first):
        table.add_column(heading, justify="right" if place else "left", overflow="fold")
    for column in columns:
        name = Text(printable(column.name) + ARROWS[column.better])
        table.add_column(name, justify="right", overflow="fold")
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
        style = {"✓": "green", "✗": "bold red", "⚠": "yellow"}.get(line[0], "bold")
        console.print(Text(line, style=style), soft_wrap=True)
    return "".join(f"{line.rstrip()}\n" for line in target.getvalue().splitlines())
