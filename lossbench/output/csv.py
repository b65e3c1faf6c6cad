"""CSV for spreadsheets and data frames: one row per sample, one column per loss."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO

from lossbench.results.compare import Comparison
from lossbench.results.result import Result


def render_result(result: Result, *, per_class: bool | None = None) -> str:
    """One row for each sample and each pair that failed, sorted by id.

    Columns: `id`, `group` if there are groups, each loss, `loss[class]` for each class, `error`.
    An undefined value is an empty cell; every digit is kept.

    Args:
        result: the result of a run.
        per_class: False omits class columns.
    """
    header, *rows = _rows(result, per_class is not False)
    return _table(header, sorted(rows))


def render_comparison(comparison: Comparison) -> str:
    """One row for each sample: its id, then for each loss the value in each result.

    An undefined value is an empty cell; every digit is kept.
    """
    names = [each.name for each in comparison.measured]
    header = ["id", *(f"{name} ({file})" for name in names for file in comparison.files)]
    columns = [row.tolist() for name in names for row in comparison.values[name]]
    samples = zip(comparison.ids, *columns, strict=True)
    return _table(header, ([name, *map(_cell, values)] for name, *values in samples))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    target = StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return target.getvalue()


def _rows(result: Result, per_class: bool) -> Iterator[list[str]]:
    """The header, then every row."""
    columns = [(name, values.column) for name, values in result.values.items()]
    if per_class:
        columns += [
            (f"{name}[{of_class}]", column)
            for name, class_columns in result.class_columns.items()
            for of_class, column in zip(result.class_names, class_columns, strict=True)
        ]
    grouped = result.groups is not None
    yield ["id", *(["group"] if grouped else []), *(name for name, _ in columns), "error"]
    for index, name in enumerate(result.ids):
        group = [result.groups[index]] if result.groups is not None else []
        yield [name, *group, *(_cell(float(column[index])) for _, column in columns), ""]
    empty = [""] * (len(columns) + grouped)
    for failed in result.failed:
        yield [failed.id, *empty, failed.message]


def _cell(value: float) -> str:
    """A number with every digit; empty if undefined."""
    return "" if math.isnan(value) else repr(value)
