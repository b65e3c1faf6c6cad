"""Tables of text, made once for terminals, Markdown and HTML; those of a result."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lossbench.catalog.columns import Column, named
from lossbench.results.aggregates import COUNTED, worst_first
from lossbench.results.reader import Measured
from lossbench.results.result import ColumnValues, ConventionValue, Result

UNDEFINED = "–"
ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}
SHOWN = (
    "mean", "ci_low", "ci_high", "std", "median", "median_ci_low", "median_ci_high", "p5", "p25",
    "p75", "p95", "min", "max", "pooled", "count",
)  # fmt: skip
SHOWN_OVER_GROUPS = (
    "mean", "ci_low", "ci_high", "std", "median", "median_ci_low", "median_ci_high", "min", "max",
    "count",
)  # fmt: skip
SHOWN_IF_ANY = ("undefined", "infinite")
TOP = 10


@dataclass(frozen=True)
class Section:
    """One table.

    Attributes:
        title: the line above the table.
        headings: of the columns; the first column names the rows.
        rows: cells, one for each heading.
        left: indices of the columns aligned on the left; the others hold numbers.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Sequence[int] = (0,)


def result_sections(
    result: Result, top: int | None, sort: str | None, per_class: bool | None
) -> Iterator[Section]:
    """The tables of a result, in order.

    Args:
        result: the result of a run.
        top: how many samples and groups to show; None shows all, 0 none.
        sort: the column that orders them, worst first; the first column by default.
        per_class: whether to add a table with the mean of each class.
    """
    by = named(result.columns, sort) if sort else result.columns[0]
    headings = list(map(heading, result.columns))
    if top != 0:
        rows = _worst(result.values, by, top, lambda index: [result.ids[index]])
        title = f"worst {len(rows)} of {len(result.ids)} by {by.name}"
        yield Section(title, ["id", *headings], rows)
    if top != 0 and result.groups is not None:
        sizes = [(group, str(len(members))) for group, members in result.group_indices.items()]
        rows = _worst(result.group_means, by, top, sizes.__getitem__)
        title = f"mean of the worst {len(rows)} of {len(sizes)} groups by {by.name}"
        yield Section(title, ["group", "pairs", *headings], rows)
    if per_class and result.class_aggregates:
        yield _classes(result)
    yield Section(_counts(result), ["aggregate", *headings], _aggregate_rows(result))
    if result.conventions:
        title = "conventions: the value that each tool would report for the losses that it has"
        names = [column.name for column in result.columns]
        rows = [
            [convention, *(_reported(reported.get(name)) for name in names)]
            for convention, reported in result.conventions.items()
        ]
        yield Section(title, ["convention", *headings], rows)


def heading(of: Column | Measured) -> str:
    """A loss with an arrow towards its better side."""
    return of.name + ARROWS[of.better]


def gate_lines(result: Result) -> list[str]:
    """One line for each gate."""
    signs = ("✓" if each.passed else "✗" if each.failed else "⚠" for each in result.decisions)
    return [f"{sign} {decision}" for sign, decision in zip(signs, result.decisions, strict=True)]


def doubt_lines(result: Result) -> list[str]:
    """One line for each doubt."""
    return [f"{'accepted: ' * each.accepted}{each.message}" for each in result.doubts]


def format_number(value: float) -> str:
    """A number for a table: four decimals, or an exponent where four decimals would say little."""
    if math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4f}"
    return f"{value:.3e}"


def _worst(
    values: Mapping[str, ColumnValues],
    by: Column,
    top: int | None,
    label: Callable[[int], Sequence[str]],
) -> list[list[str]]:
    """Rows of the samples or groups with the worst values, by their index."""
    columns = [each.column for each in values.values()]
    return [
        [*label(index), *(format_number(column[index]) for column in columns)]
        for index in worst_first(values[by.name].column, by.better)[:top]
    ]


def _classes(result: Result) -> Section:
    """The mean of each class, for losses that have classes."""
    columns = [column for column in result.columns if column.name in result.class_aggregates]
    tables = [result.class_aggregates[column.name] for column in columns]
    rows = [
        [class_name, *(format_number(table[class_name]["mean"]) for table in tables)]
        for class_name in result.class_names
    ]
    return Section("mean of each class", ["class", *map(heading, columns)], rows)


def _counts(result: Result) -> str:
    """How many pairs and groups are aggregated, and how many pairs are left out."""
    failed = Counter(each.kind for each in result.failed)
    incomplete = {each.id for each in result.failed}.intersection(result.ids)
    parts = [f"{len(result.ids) - len(incomplete)} pairs"]
    if result.groups is not None:
        parts.append(f"{len(result.group_indices)} groups")
    left_out = {kind: result.counts[kind] - failed[kind] for kind in ("missing", "extra")}
    left_out["error" if len(result.failed) == 1 else "errors"] = len(result.failed)
    parts += [f"{count} {kind}" for kind, count in left_out.items() if count]
    return " · ".join(parts)


def _aggregate_rows(result: Result) -> list[list[str]]:
    tables = [result.aggregates[column.name] for column in result.columns]
    rows = aggregate_rows(tables, {name: name for name in (*SHOWN, *SHOWN_IF_ANY)})
    if result.groups is not None:
        tables = [result.over_groups[column.name] for column in result.columns]
        names = {f"group_{name}": name for name in (*SHOWN_OVER_GROUPS, *SHOWN_IF_ANY)}
        rows += aggregate_rows(tables, names)
    return rows


def aggregate_rows(
    tables: Sequence[Mapping[str, float]], names: Mapping[str, str]
) -> list[list[str]]:
    """One row for each aggregate, under the name that gates use.

    Args:
        tables: the aggregates of each column.
        names: name in gates -> name in the tables.
    """
    rows = []
    for shown, name in names.items():
        values = [table[name] for table in tables]
        if name not in SHOWN_IF_ANY or any(values):
            form = "{:.0f}".format if name in COUNTED else format_number
            rows.append([shown, *map(form, values)])
    return rows


def _reported(each: ConventionValue | None) -> str:
    """The cell of a loss that a convention may not have."""
    return f"{format_number(each.value)} {each.aggregate}" if each else ""
