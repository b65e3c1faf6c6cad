"""Values as a table for spreadsheets and data frames: a row a sample, a column a loss."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from io import StringIO

from lossbench.results.result import Result


def render_csv(result: Result, *, per_class: bool | None = None) -> str:
    """A row for each sample and each pair that failed, sorted by id.

    Columns: `id`, `group` where there are groups, each loss, `loss[class]` for each class, `error`.
    An undefined value is an empty cell; every digit is kept.

    Args:
        result: what a run found.
        per_class: False leaves class columns out.
    """
    target = StringIO()
    writer = csv.writer(target, lineterminator="\n")
    rows = _rows(result, per_class is not False)
    writer.writerow(next(rows))
    writer.writerows(sorted(rows))
    return target.getvalue()


def _rows(result: Result, per_class: bool) -> Iterator[list[str]]:
    """The header, then every row."""
    columns = [(name, values.column) for name, values in result.values.items()]
    if per_class:
        columns += [
            (f"{name}[{of_class}]", column)
            for name, of_classes in result.class_columns.items()
            for of_class, column in zip(result.class_names, of_classes, strict=True)
        ]
    grouped = result.groups is not None
    yield ["id", *(["group"] if grouped else []), *(name for name, _ in columns), "error"]
    for place, name in enumerate(result.ids):
        group = [result.groups[place]] if result.groups is not None else []
        yield [name, *group, *(cell(float(numbers[place])) for _, numbers in columns), ""]
    nothing = [""] * (len(columns) + grouped)
    for failed in result.failed:
        yield [failed.id, *nothing, failed.message]


def cell(value: float) -> str:
    """A number with every digit, nothing where it is undefined."""
    return "" if math.isnan(value) else repr(value)
