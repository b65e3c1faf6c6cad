"""CSV for spreadsheets and data frames: one row per sample, one column per loss."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

from lossbench.results.comparison import Comparison
from lossbench.results.result import Result

if TYPE_CHECKING:
    from lossbench.results.trend import Trend


def render_result(result: Result, *, per_class: bool | None = None) -> str:
    """One row for each sample and each pair that failed, sorted by id.

    Columns: `id`, `group` if there are groups, each loss, `loss[class]` for each class, `error`.
    An undefined value is an empty cell; every digit is kept.

    Args:
        result: the result of a run.
        per_class: False omits class columns.
    """
    columns = {name: values.column for name, values in result.values.items()}
    for name, class_columns in result.class_columns.items() if per_class is not False else ():
        titles = (f"{name}[{of_class}]" for of_class in result.class_names)
        columns |= zip(titles, class_columns, strict=True)
    names = {"id": result.ids}
    if result.groups is not None:
        names["group"] = result.groups
    cells = (map(_cell, column.tolist()) for column in columns.values())
    messages = {failed.id: failed.message for failed in result.failed}
    samples = zip(*names.values(), *cells, strict=True)
    rows = [[id_, *row, messages.pop(id_, "")] for id_, *row in samples]
    empty = [""] * (len(names) - 1 + len(columns))
    rows += [[id_, *empty, message] for id_, message in messages.items()]
    return _table([*names, *columns, "error"], sorted(rows))


def render_comparison(comparison: Comparison) -> str:
    """One row for each sample: its id, then for each loss the value in each result.

    An undefined value is an empty cell; every digit is kept.
    """
    names = [each.name for each in comparison.measured]
    header = ["id", *(f"{name} ({file})" for name in names for file in comparison.files)]
    columns = [row.tolist() for name in names for row in comparison.values[name]]
    samples = zip(comparison.ids, *columns, strict=True)
    return _table(header, ([name, *map(_cell, values)] for name, *values in samples))


def render_thresholds(thresholds: Any) -> str:
    """One row for each threshold.

    Columns: `threshold`, then of masks `score` for its mean, `score.pooled`, `score[class]` and
    `score[class].pooled`, of detections `score` and `score[class]`. An undefined value is an empty
    cell; every digit is kept.
    """
    columns = {"threshold": thresholds.thresholds, **thresholds.columns}
    cells = (map(_cell, column.tolist()) for column in columns.values())
    return _table(list(columns), zip(*cells, strict=True))


def render_trend(trend: Trend) -> str:
    """One row for each epoch: its number and run, then for each loss the mean and its company.

    Columns: `epoch`, `run`, and `NAME.mean`, `NAME.ci_low`, `NAME.ci_high`, `NAME.average_so_far`.
    An undefined value is an empty cell; every digit is kept.
    """
    columns = {
        f"{each.name}.{name}": column
        for each in trend.series
        for name, column in each.columns.items()
    }
    rows = zip(trend.epochs, trend.runs, *columns.values(), strict=True)
    return _table(
        ["epoch", "run", *columns],
        ([str(epoch), run, *map(_cell, row)] for epoch, run, *row in rows),
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    target = StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return target.getvalue()


def _cell(value: float) -> str:
    """A number with every digit; empty if undefined."""
    return "" if math.isnan(value) else repr(value)
