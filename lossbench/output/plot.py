"""Figures: of a comparison rankings and which results differ, of a trend losses over epochs."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lossbench.errors import SettingError, printable
from lossbench.output.sections import ARROWS, heading
from lossbench.results.change import BETTER, EQUAL, EQUIVALENT, WORSE
from lossbench.results.comparison import Comparison
from lossbench.results.ranking import METHODS, ResultRanking
from lossbench.results.reader import Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lossbench.results.trend import EpochSeries, Trend

DATES = {"svg": "Date", "pdf": "CreationDate"}  # metadata without which files are reproducible
# The colours of Okabe and Ito, which colour-blind readers can tell apart.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#f0e442", "#000000")
TONES = {BETTER: "#a6cee3", WORSE: "#fdbf8f", EQUAL: "#e8e8e8", EQUIVALENT: "#e8e8e8"}
BLANK = "#ffffff"
HEIGHT, WIDTH = 3.4, 4.2  # inches of a panel
LARGEST_BLOB = 500  # points², for a result that always has the same rank
INTERVAL = (0.025, 0.5, 0.975)  # of the ranks under resampling: from, median, to
LONGEST = 24  # characters of a name


def write_comparison(comparison: Comparison, path: str) -> None:
    """Draw a row of panels for each loss with a better side.

    Blobs show the share of resamplings in which each result has each rank, by the rank of the means
    and by the mean of the ranks, as challengeR draws them (Wiesenfarth et al. 2021). A matrix shows
    which results differ, and a line which mean ranks differ by less than Nemenyi's critical
    difference (Demšar 2006).

    Args:
        comparison: the comparison.
        path: the file, whose ending selects the format.

    Raises:
        SettingError: no loss has a better side.
    """
    measured = [each for each in comparison.measured if each.name in comparison.rankings]
    if not measured:
        raise SettingError("no loss has a better side, so there is no ranking to draw")
    from matplotlib.figure import Figure

    names = short_names(comparison.files)
    columns = len(METHODS) + 2
    figure = Figure((WIDTH * columns, HEIGHT * len(measured)), layout="constrained")
    panels: Any = figure.subplots(len(measured), columns, squeeze=False)
    for row, each in zip(panels, measured, strict=True):
        ranking = comparison.rankings[each.name]
        for axes, method in zip(row, METHODS, strict=False):
            _blobs(axes, ranking, method, names)
        _matrix(row[-2], comparison, each, names)
        _critical_difference(row[-1], ranking, names)
        row[0].set_ylabel(f"{printable(heading(each))}\nrank")
    _save(figure, path, _ending(path))


def write_trend(trend: Trend, path: str) -> None:
    """Draw a panel for each loss: means with their intervals, averages so far, and the training.

    A dot marks the best epoch, rings those that the test cannot tell from it, a dashed line the
    first epoch that overfits.

    Args:
        trend: the losses over epochs.
        path: the file, whose ending selects the format.
    """
    draw_trend(trend, path, _ending(path))


def draw_trend(trend: Trend, target: Any, ending: str) -> None:
    """Draw the figure of a trend into a file, in a format such as svg."""
    from matplotlib.figure import Figure

    rows = len(trend.series)
    figure = Figure((2 * WIDTH, HEIGHT * rows), layout="constrained")
    panels: Any = figure.subplots(rows, 1, squeeze=False)
    for (axes,), each in zip(panels, trend.series, strict=True):
        _curve(axes, trend, each)
    _save(figure, target, ending)


def _ending(path: str) -> str:
    return os.path.splitext(path)[1][1:].lower()


def _save(figure: Figure, target: Any, ending: str) -> None:
    """Write a figure without the date, and with the same names inside each time."""
    from matplotlib import rc_context

    metadata = {DATES[ending]: None} if ending in DATES else None
    with rc_context({"svg.hashsalt": "lossbench"}):
        figure.savefig(target, format=ending, metadata=metadata)


def _curve(axes: Axes, trend: Trend, series: EpochSeries) -> None:
    """One loss over the epochs."""
    epochs, color = trend.epochs, PALETTE[0]
    finite = [value if math.isfinite(value) else math.nan for value in series.means]
    axes.fill_between(epochs, series.ci_low, series.ci_high, color=color, alpha=0.2, linewidth=0)
    axes.plot(epochs, finite, color=color, marker=".", label="mean, 95 % interval")
    axes.plot(
        epochs, series.averages, color=PALETTE[2], linestyle=":", label="average over all epochs"
    )
    if series.train is not None:
        same_side = series.train_better == series.better
        own = axes if same_side else axes.twinx()  # a loss beside a score has its own scale
        own.plot(epochs, series.train, color=PALETTE[1], label="training")
        if not same_side:
            own.set_ylabel(f"training{ARROWS[series.train_better]}", color=PALETTE[1])
    if series.tied:
        tied = series.tied
        axes.scatter(
            [epochs[at] for at in tied], [finite[at] for at in tied], s=60, facecolors="none",
            edgecolors=PALETTE[3], zorder=3, label="not told from the best",
        )  # fmt: skip
    if series.best is not None:
        best = series.best
        axes.scatter([epochs[best]], [finite[best]], s=60, color=PALETTE[3], zorder=3, label="best")
    if series.overfitting is not None:
        overfits = epochs[series.overfitting]
        axes.axvline(overfits, color=PALETTE[7], linestyle="--", label="first sign of overfitting")
    axes.set_xlabel("epoch")
    axes.set_ylabel(printable(series.name + ARROWS[series.better]).replace("$", r"\$"))
    axes.legend(fontsize="small")


def short_names(files: Sequence[str]) -> list[str]:
    """The names of files without folder and ending where that tells them apart."""
    stems = [os.path.splitext(os.path.basename(file))[0] for file in files]
    names = stems if len(set(stems)) == len(set(files)) else list(files)
    shown = [name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}" for name in names]
    return [printable(name).replace("$", r"\$") for name in shown]


def _blobs(axes: Axes, ranking: ResultRanking, method: str, names: Sequence[str]) -> None:
    """The share of resamplings with each rank, as areas; median and 95 % interval in black."""
    shares, positions = ranking.stability[method], ranking.positions[method]
    order = sorted(range(len(names)), key=positions.__getitem__)
    for x, result in enumerate(order):
        ranks = range(1, len(names) + 1)
        color = PALETTE[result % len(PALETTE)]
        sizes = [LARGEST_BLOB * share for share in shares[result]]
        axes.scatter([x] * len(names), ranks, s=sizes, color=color, alpha=0.85, linewidths=0)
        low, median, high = (_quantile(shares[result], level) for level in INTERVAL)
        axes.plot([x, x], [low, high], color="black", linewidth=1)
        axes.scatter([x], [median], marker="x", s=30, color="black", zorder=3)
    axes.set_title(METHODS[method], fontsize="medium")
    axes.set_xticks(range(len(names)), [names[result] for result in order], rotation=30, ha="right")
    axes.set_yticks(range(1, len(names) + 1))
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylim(0.4, len(names) + 0.6)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _quantile(shares: Sequence[float], level: float) -> int:
    """The first rank that this share of resamplings does not exceed."""
    total = 0.0
    for rank, share in enumerate(shares, 1):
        total += share
        if total >= level:
            return rank
    return len(shares)


def _matrix(axes: Axes, comparison: Comparison, measured: Measured, names: Sequence[str]) -> None:
    """The verdict about the result of each row against that of each column, with p-values."""
    verdicts = comparison.verdicts_of_pairs(measured)
    table = comparison.significance[measured.name]
    size = len(names)
    for row in range(size):
        for column in range(size):
            tone = TONES.get(verdicts[row][column], BLANK)
            axes.axhspan(
                row - 0.5,
                row + 0.5,
                column / size,
                (column + 1) / size,
                facecolor=tone,
                edgecolor="#bbbbbb",
            )
            if not math.isnan(p := table[row][column]):
                text = f"{verdicts[row][column]}\n{p:.3g}" if size <= 6 else f"{p:.2g}"
                axes.text(column, row, text, ha="center", va="center", fontsize="x-small")
    axes.set_xlim(-0.5, size - 0.5)
    axes.set_ylim(size - 0.5, -0.5)
    axes.set_xticks(range(size), names, rotation=30, ha="right")
    axes.set_yticks(range(size), names)
    axes.set_title("row against column, p by Holm", fontsize="medium")


def _critical_difference(axes: Axes, ranking: ResultRanking, names: Sequence[str]) -> None:
    """Mean ranks on a line; a bar joins results that differ by less than is critical."""
    ranks, critical = ranking.mean_ranks, ranking.critical_difference
    size = len(names)
    axes.set_axis_off()
    axes.set_title("mean rank, critical difference", fontsize="medium")
    axes.set_xlim(0.2, size + 0.8)
    axes.set_ylim(-1 - 0.5 * size, 1.4)
    if any(map(math.isnan, ranks)):
        return
    axes.plot([1, size], [0, 0], color="black", linewidth=1)
    for tick in range(1, size + 1):
        axes.plot([tick, tick], [0, 0.08], color="black", linewidth=1)
        axes.text(tick, 0.15, str(tick), ha="center", va="bottom", fontsize="small")
    if not math.isnan(critical):
        axes.plot([1, 1 + critical], [0.85, 0.85], color="black", linewidth=2)
        axes.text(1, 0.95, f"critical difference {critical:.2f}", va="bottom", fontsize="small")
    order = sorted(range(size), key=ranks.__getitem__)
    half = (size + 1) // 2
    for index, result in enumerate(order):
        is_left = index < half
        level = -0.6 - 0.5 * (index if is_left else size - 1 - index) - 0.12 * len(ranking.cliques)
        end, side = (0.9, "right") if is_left else (size + 0.1, "left")
        color = PALETTE[result % len(PALETTE)]
        axes.plot([ranks[result]] * 2 + [end], [0, level, level], color=color, linewidth=1)
        text = f"{names[result]} {ranks[result]:.2f}"
        axes.text(end, level, f" {text} ", ha=side, va="center", fontsize="small", clip_on=False)
    for index, clique in enumerate(ranking.cliques):
        ends = [min(ranks[each] for each in clique), max(ranks[each] for each in clique)]
        level = -0.15 - 0.12 * index
        axes.plot(ends, [level, level], color="black", linewidth=3, solid_capstyle="round")
