"""Tables of text, made once for terminals, Markdown and HTML; those of a result."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.catalog.columns import Column, named
from lossbench.errors import SettingError, counted, did_you_mean
from lossbench.results.aggregates import AGGREGATES, COUNTED, OVER_GROUPS, worst_first
from lossbench.results.reader import Measured
from lossbench.results.result import ColumnValues, ConventionValue, Result

if TYPE_CHECKING:
    from lossbench.results.change_gates import Decision

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
ALL = "all"
AGGREGATE_NAMES = (ALL, *AGGREGATES, *OVER_GROUPS)
INTERVAL = "mean [95 % interval]"
TOP = 10


@dataclass(frozen=True)
class Section:
    """One table.

    Attributes:
        title: the line above the table.
        headings: of the columns; the first column names the rows.
        rows: cells, one for each heading.
        left: indices of the columns aligned on the left, which hold names and may be folded; the
            others hold numbers.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Sequence[int] = (0,)


def table_sections(model: Any) -> Iterator[Section]:
    """The tables of a model that has its rows as text."""
    for title, headings, rows, left in model.as_tables():
        yield Section(title, headings, rows, left)


def result_sections(
    result: Result, top: int | None, sort: str | None, per_class: bool | None
) -> Iterator[Section]:
    """The tables of a document about a result, in order.

    Args:
        result: the result of a run.
        top: how many samples and groups to show; None shows all, 0 none.
        sort: the column that orders them, worst first; the first column by default.
        per_class: whether to add a table with the mean of each class.
    """
    yield from _worst_sections(result, top, sort)
    if per_class and result.class_aggregates:
        yield _classes(result)
    yield _all_aggregates(result, _counts(result))
    if result.conventions:
        yield _conventions(result)


def screen_sections(
    result: Result,
    top: int | None,
    sort: str | None,
    per_class: bool | None,
    aggregates: Sequence[str] = (),
) -> Iterator[Section]:
    """The tables that a terminal shows: a row for each loss first, then the worst samples.

    Args:
        result: the result of a run.
        top, sort, per_class: as for `result_sections`.
        aggregates: names of further aggregates to show, or all.
    """
    yield _summary(_counts(result), result.columns, result.aggregates, result.values, result.ids)
    if result.groups is not None:
        names = list(result.group_indices)
        title = f"over {counted(len(names), 'group')}, each counting once"
        yield _summary(title, result.columns, result.over_groups, result.group_means, names)
    yield from _worst_sections(result, top, sort)
    if per_class and result.class_aggregates:
        yield _classes(result)
    if aggregates:
        yield _further_aggregates(result, aggregates)
    if result.conventions:
        yield _conventions(result)


def check_aggregates(names: Sequence[str], *, has_groups: bool) -> None:
    """Refuse names that no aggregate has, and aggregates over groups without groups."""
    for name in names:
        if name not in AGGREGATE_NAMES:
            raise SettingError(
                f"no aggregate is called {name!r}{did_you_mean(name, AGGREGATE_NAMES)}; there are"
                f" {', '.join(AGGREGATES)}, group_mean etc. over groups, and all"
            )
        if name in OVER_GROUPS and not has_groups:
            raise SettingError(f"the aggregate {name} needs --group-by PATTERN")


def _summary(
    title: str,
    columns: Sequence[Column],
    tables: Mapping[str, Mapping[str, float]],
    values: Mapping[str, ColumnValues],
    names: Sequence[str],
) -> Section:
    """A row for each loss: its mean with the interval, median, worst value, and counts.

    Args:
        title: the line above the table.
        columns: the losses.
        tables: aggregates of each loss.
        values: the values of each loss that the worst is one of.
        names: names of the values: ids, or groups.
    """
    shown = [name for name in SHOWN_IF_ANY if any(table[name] for table in tables.values())]
    pools = any(not math.isnan(table.get("pooled", math.nan)) for table in tables.values())
    rows = []
    for column in columns:
        table = tables[column.name]
        worst, where = _worst_value(values[column.name], table, column, names)
        rows.append(
            {
                "loss": heading(column),
                INTERVAL: _with_interval(table),
                "median": format_number(table["median"]),
                "worst": format_number(worst),
                "worst in": where,
                **({"pooled": format_number(table["pooled"])} if pools else {}),
                "n": f"{table['count']:.0f}",
                **{name: f"{table[name]:.0f}" for name in shown},
            }
        )
    headings = list(rows[0])
    left = (0, headings.index("worst in"))
    return Section(title, headings, [list(row.values()) for row in rows], left)


def _worst_value(
    values: ColumnValues, table: Mapping[str, float], column: Column, names: Sequence[str]
) -> tuple[float, str]:
    """The worst value and its name; a loss without a better side has none."""
    if column.better is None or not table["count"]:
        return math.nan, ""
    first, *_ = worst_first(values.column, column.better)
    return float(values.column[first]), names[first]


def _with_interval(table: Mapping[str, float]) -> str:
    """The mean, with its interval where there is one."""
    low, high = table["ci_low"], table["ci_high"]
    interval = "" if math.isnan(low) else f" [{format_number(low)}, {format_number(high)}]"
    return format_number(table["mean"]) + interval


def _worst_sections(result: Result, top: int | None, sort: str | None) -> Iterator[Section]:
    """The worst samples, and the worst groups."""
    by = named(result.columns, sort) if sort else result.columns[0]
    headings = list(map(heading, result.columns))
    if top == 0:
        return
    rows = _worst(result.values, by, top, lambda index: [result.ids[index]])
    title = f"worst {len(rows)} of {len(result.ids)} by {by.name}"
    yield Section(title, ["id", *headings], rows)
    if result.groups is not None:
        sizes = [(group, str(len(members))) for group, members in result.group_indices.items()]
        rows = _worst(result.group_means, by, top, sizes.__getitem__)
        title = f"mean of the worst {len(rows)} of {counted(len(sizes), 'group')} by {by.name}"
        yield Section(title, ["group", "pairs", *headings], rows)


def _conventions(result: Result) -> Section:
    """The value that each convention reports for each loss."""
    title = "conventions: the value that each tool would report for the losses that it has"
    names = [column.name for column in result.columns]
    rows = [
        [convention, *(_reported(reported.get(name)) for name in names)]
        for convention, reported in result.conventions.items()
    ]
    return Section(title, ["convention", *map(heading, result.columns)], rows)


def heading(of: Column | Measured) -> str:
    """A loss with an arrow towards its better side."""
    return of.name + ARROWS[of.better]


def gate_lines(decisions: Sequence[Decision]) -> list[str]:
    """One line for each gate."""
    signs = ("✓" if each.passed else "✗" if each.failed else "⚠" for each in decisions)
    return [f"{sign} {decision}" for sign, decision in zip(signs, decisions, strict=True)]


def verdict_line(result: Result) -> str:
    """Whether the run passed, and on how many gates, pairs and doubts that rests."""
    failed = sum(each.failed for each in result.decisions)
    gates = counted(len(result.decisions), "gate")
    doubts = counted(result.doubt_count, "doubt")
    parts = [
        f"{failed} of {gates}" if failed else gates,
        _pairs(result),
        *([counted(len(result.failed), "error")] if result.failed else []),
        f"{doubts} with --strict" if result.strict and result.doubt_count else doubts,
    ]
    return f"{'failed' if result.exit_status else 'passed'}: {', '.join(parts)}"


def _pairs(result: Result) -> str:
    """The number of pairs with all their values."""
    incomplete = {each.id for each in result.failed}.intersection(result.ids)
    return counted(len(result.ids) - len(incomplete), "pair")


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
    parts = [_pairs(result)]
    if result.groups is not None:
        parts.append(counted(len(result.group_indices), "group"))
    left_out = {kind: result.counts[kind] - failed[kind] for kind in ("missing", "extra")}
    parts += [f"{count} {kind}" for kind, count in left_out.items() if count]
    if result.failed:
        parts.append(counted(len(result.failed), "error"))
    return " · ".join(parts)


def _all_aggregates(result: Result, title: str) -> Section:
    """The aggregates of a document, and over groups."""
    names: list[str] = [*SHOWN, *SHOWN_IF_ANY]
    over = [f"group_{name}" for name in (*SHOWN_OVER_GROUPS, *SHOWN_IF_ANY)]
    return _aggregates(result, title, names, over if result.groups is not None else [])


def _further_aggregates(result: Result, names: Sequence[str]) -> Section:
    """Aggregates by name, or all of them; those over groups need groups."""
    has_groups = result.groups is not None
    check_aggregates(names, has_groups=has_groups)
    if ALL in names:
        return _aggregates(result, "aggregates", AGGREGATES, [*OVER_GROUPS] if has_groups else [])
    over = [name for name in names if name in OVER_GROUPS]
    plain = [name for name in names if name in AGGREGATES]
    return _aggregates(result, "aggregates", plain, over, optional=())


def _aggregates(
    result: Result,
    title: str,
    names: Sequence[str],
    over_groups: Sequence[str],
    optional: Sequence[str] = SHOWN_IF_ANY,
) -> Section:
    """One row for each aggregate, under the name that gates use."""
    tables = [result.aggregates[column.name] for column in result.columns]
    rows = aggregate_rows(tables, dict(zip(names, names, strict=True)), optional)
    if over_groups:
        tables = [result.over_groups[column.name] for column in result.columns]
        rows += aggregate_rows(tables, {name: OVER_GROUPS[name] for name in over_groups}, optional)
    return Section(title, ["aggregate", *map(heading, result.columns)], rows)


def aggregate_rows(
    tables: Sequence[Mapping[str, float]],
    names: Mapping[str, str],
    optional: Sequence[str] = SHOWN_IF_ANY,
) -> list[list[str]]:
    """One row for each aggregate, under the name that gates use.

    Args:
        tables: the aggregates of each column.
        names: name in gates -> name in the tables.
        optional: names in the tables of rows that are left out where all columns have 0.
    """
    rows = []
    for shown, name in names.items():
        values = [table[name] for table in tables]
        if name not in optional or any(values):
            form = "{:.0f}".format if name in COUNTED else format_number
            rows.append([shown, *map(form, values)])
    return rows


def _reported(each: ConventionValue | None) -> str:
    """The cell of a loss that a convention may not have."""
    return f"{format_number(each.value)} {each.aggregate}" if each else ""
