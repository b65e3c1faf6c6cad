"""Tables of a trend: a row for each loss with a spark line, then the last epochs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossbench.output.sections import ARROWS, UNDEFINED, Section, format_number
from lossbench.output.threshold_sections import sparkline

if TYPE_CHECKING:
    from lossbench.results.trend import EpochSeries, Trend

SPARK = 40  # characters of a spark line at most
LAST = 20  # epochs in tables
LISTED = 6  # tied epochs in a cell


def trend_sections(trend: Trend, last: int | None = LAST) -> Iterator[Section]:
    """The tables of a trend.

    Args:
        trend: the losses over epochs.
        last: how many of the last epochs the second table has; None for all.
    """
    has_training = any(each.train is not None for each in trend.series)
    headings = [
        "loss",
        f"epochs {trend.epochs[0]} to {trend.epochs[-1]}",
        "best epoch",
        "mean",
        "not told from it",
        "trend",
        "tau",
        "p",
        *(["overfits from"] if has_training else []),
    ]
    rows = [_summary(trend, each, has_training=has_training) for each in trend.series]
    yield Section("", headings, rows, left=(0, 1, 4, 5))
    first = 0 if last is None else max(len(trend.epochs) - last, 0)
    if first == len(trend.epochs):
        return
    headings = ["epoch"]
    for each in trend.series:
        headings += [f"{each.name}{ARROWS[each.better]}", "95 % interval", "average so far"]
        headings += ["training"] if each.train is not None else []
    yield Section(
        f"last {len(trend.epochs) - first} of {len(trend.epochs)} epochs" if first else "epochs",
        headings,
        [
            [str(trend.epochs[at]), *(cell for each in trend.series for cell in _cells(each, at))]
            for at in range(first, len(trend.epochs))
        ],
    )


def _summary(trend: Trend, series: EpochSeries, *, has_training: bool) -> list[str]:
    """The row of a loss."""
    best, tendency = series.best, series.tendency
    tied = [str(trend.epochs[index]) for index in series.tied]
    if len(tied) > LISTED:
        tied[LISTED:] = [f"and {len(tied) - LISTED} more"]
    if series.verdicts is None or best is None:
        tied = [UNDEFINED]
    overfitting = trend.epoch(series.overfitting)
    return [
        f"{series.name}{ARROWS[series.better]}",
        sparkline(series.means, min(len(series.means), SPARK)),
        UNDEFINED if best is None else str(trend.epochs[best]),
        UNDEFINED if best is None else format_number(series.means[best]),
        ", ".join(tied) or "none",
        tendency.word or UNDEFINED,
        UNDEFINED if math.isnan(tendency.tau) else f"{tendency.tau:+.2f}",
        UNDEFINED if math.isnan(tendency.p) else f"{tendency.p:.2g}",
        *([UNDEFINED if overfitting is None else str(overfitting)] if has_training else []),
    ]


def _cells(series: EpochSeries, index: int) -> Iterator[str]:
    """The cells of a loss at an epoch."""
    mark = " *" if index == series.best else " =" if index in series.tied else ""
    yield f"{format_number(series.means[index])}{mark}"
    low, high = series.ci_low[index], series.ci_high[index]
    undefined = math.isnan(low) or math.isnan(high)
    yield UNDEFINED if undefined else f"[{format_number(low)}, {format_number(high)}]"
    yield format_number(series.averages[index])
    if series.train is not None:
        yield format_number(series.train[index])
