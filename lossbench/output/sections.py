"""What a report says: tables of text, made once for the terminal and for Markdown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lossbench.catalog.columns import Column, named
from lossbench.results.aggregates import worst_first
from lossbench.results.gates import Decision
from lossbench.results.reader import Measured
from lossbench.results.result import ConventionValue, Result

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


@dataclass(frozen=True)
class Section:
    """One table.

    Attributes:
        title: what stands above it.
        headings: of the columns, the first of which names a row.
        rows: cells, as many as there are headings.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def sections(
    result: Result, top: int | None, sort: str | None, per_class: bool | None
) -> Iterator[Section]:
    """The tables of a report, in their order.

    Args:
        result: what a run found.
        top: how many samples and groups to show, None for all of them, 0 for none.
        sort: the column that orders them, the first by default; the worst come first.
        per_class: add a table with the mean of each class.
    """
    by = named(result.columns, sort) if sort else result.columns[0]
    if top != 0:
        yield _worst(result, top, by)
        if result.groups is not None:
            yield _groups(result, top, by)
    if per_class and result.class_aggregates:
        yield _classes(result)
    headings = _headings(result.columns)
    yield Section(_title(result), ["aggregate", *headings], _aggregate_rows(result))
    if result.conventions:
        title = "conventions: what each tool would report of the losses that it has"
        yield Section(title, ["convention", *headings], _convention_rows(result))


def heading(of: Column | Measured) -> str:
    """A loss with its direction."""
    return of.name + ARROWS[of.better]


def _headings(columns: Sequence[Column]) -> list[str]:
    return list(map(heading, columns))


def gate_lines(result: Result) -> list[str]:
    """A line for each gate."""
    return [f"{_mark(each)} {each}" for each in result.decisions]


def _mark(decision: Decision) -> str:
    """How a gate ended: held, failed, or only worth a warning."""
    return "✓" if decision.passed else "✗" if decision.failed else "⚠"


def plain(value: float) -> str:
    """A number for a table: four digits after the point, or an exponent where that says little."""
    if math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4f}"
    return f"{value:.3e}"


def _worst(result: Result, top: int | None, by: Column) -> Section:
    """The samples whose values are worst."""
    order = worst_first(result.values[by.name].samples, by.better)[:top]
    rows = [
        [result.ids[place]]
        + [plain(result.values[column.name].column[place]) for column in result.columns]
        for place in order
    ]
    title = f"worst {len(order)} of {len(result.ids)} by {by.name}"
    return Section(title, ["id", *_headings(result.columns)], rows)


def _groups(result: Result, top: int | None, by: Column) -> Section:
    """The groups whose means are worst."""
    groups = list(result.group_places)
    order = worst_first(result.group_means[by.name].samples, by.better)[:top]
    rows = [
        [groups[place], str(len(result.group_places[groups[place]]))]
        + [plain(result.group_means[column.name].column[place]) for column in result.columns]
        for place in order
    ]
    title = f"mean of the worst {len(order)} of {len(groups)} groups by {by.name}"
    return Section(title, ["group", "pairs", *_headings(result.columns)], rows)


def _classes(result: Result) -> Section:
    """The mean of each class, of losses that have classes."""
    columns = [column for column in result.columns if column.name in result.class_aggregates]
    rows = [
        [of_class]
        + [plain(result.class_aggregates[column.name][of_class]["mean"]) for column in columns]
        for of_class in result.class_names
    ]
    return Section("mean of each class", ["class", *_headings(columns)], rows)


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


def _aggregate_rows(result: Result) -> list[list[str]]:
    tables = [result.aggregates[column.name] for column in result.columns]
    rows = aggregate_rows(tables, {name: name for name in (*SHOWN, *WHEN_ANY)})
    if result.groups is not None:
        tables = [result.over_groups[column.name] for column in result.columns]
        over = {f"group_{name}": name for name in (*SHOWN_OVER_GROUPS, *WHEN_ANY)}
        rows += aggregate_rows(tables, over)
    return rows


def aggregate_rows(
    tables: Sequence[Mapping[str, float]], names: Mapping[str, str]
) -> list[list[str]]:
    """A row for each aggregate, under the name that gates call it by."""
    return [
        [shown]
        + [f"{table[name]:.0f}" if name in WHOLE else plain(table[name]) for table in tables]
        for shown, name in names.items()
        if name not in WHEN_ANY or any(table[name] for table in tables)
    ]


def _convention_rows(result: Result) -> list[list[str]]:
    def cell(name: str, row: Mapping[str, ConventionValue]) -> str:
        return f"{plain(row[name].value)} {row[name].aggregate}" if name in row else ""

    return [
        [name, *(cell(column.name, row) for column in result.columns)]
        for name, row in result.conventions.items()
    ]
