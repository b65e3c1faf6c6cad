"""Figures of thresholds: scores, both curves, and a reliability diagram."""

from __future__ import annotations

import os
from itertools import cycle
from typing import TYPE_CHECKING, Any

from lossbench.errors import printable
from lossbench.output.sections import ARROWS, format_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DATES = {"svg": "Date", "pdf": "CreationDate"}  # metadata without which files are reproducible
# Colours of Okabe and Ito, which colour-blind readers can tell apart; dashes tell them in grey.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P")
SHADE = "#e8e8e8"
SIZE = (9.0, 7.2)  # inches
LONGEST = 60  # characters of a folder in the title


def write_thresholds(thresholds: Any, path: str) -> None:
    """Draw scores over the thresholds; of masks also ROC, precision and recall, and reliability.

    Args:
        thresholds: what `lossbench.thresholds` returns.
        path: the file, whose ending selects the format.
    """
    ending = os.path.splitext(path)[1][1:].lower()
    save_figure(thresholds, path, ending)


def save_figure(thresholds: Any, target: Any, ending: str) -> None:
    """Draw a figure into a file, in a format such as svg."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "lossbench"}):
        drawings = PANELS[thresholds.kind]
        figure = Figure((SIZE[0], SIZE[1] * len(drawings) / 4), layout="constrained")
        panels: Any = figure.subplots(len(drawings) // 2, 2)
        figure.suptitle(title(thresholds), fontsize="medium")
        for draw, axes in zip(drawings, panels.flat, strict=True):
            draw(axes, thresholds)
        for axes in panels.flat:
            axes.grid(color="#dddddd", linewidth=0.6)
            axes.set_axisbelow(True)
        metadata = {DATES[ending]: None} if ending in DATES else None
        figure.savefig(target, format=ending, metadata=metadata)


def title(thresholds: Any) -> str:
    """Which folders were measured, and how many files."""
    sides = [thresholds.run[role] or "arrays" for role in ("pred", "target")]
    named = " against ".join(map(_shortened, sides))
    return f"{named}: {thresholds.counts['evaluated']:,} images"


def _shortened(name: str) -> str:
    text = printable(name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}")
    return text.replace("$", r"\$")


def _scores(axes: Axes, thresholds: Any) -> None:
    """The mean of each score, its best threshold, and the plateau of the first score."""
    styles = zip(thresholds.scores.items(), cycle(COLOURS), cycle(DASHES), cycle(MARKERS),
                 strict=False)  # fmt: skip
    for index, ((name, score), colour, dash, marker) in enumerate(styles):
        best = score.best["mean"]
        label = f"{_shortened(name)}{ARROWS[score.better]}"
        axes.plot(
            thresholds.thresholds, score.curves["mean"], color=colour, linestyle=dash, label=label
        )
        axes.plot([best.threshold], [best.value], marker=marker, color=colour, linestyle="none")
        if index == 0:
            axes.axvspan(*best.plateau, color=SHADE, linewidth=0, label="within 1 % of its best")
    axes.axvline(0.5, color="#777777", linewidth=0.8)
    axes.set_xlim(0, 1)
    axes.set_xlabel("threshold")
    axes.set_ylabel("mean over images")
    axes.set_title("scores, with their best thresholds", fontsize="medium")
    axes.legend(fontsize="small")


def _curves(thresholds: Any) -> list[tuple[str, Any]]:
    """The curves of all pixels, and of each class."""
    classes = thresholds.class_curves.items()
    return [("all classes" if classes else "", thresholds.curves), *classes]


def _roc(axes: Axes, thresholds: Any) -> None:
    for (name, each), colour, dash in zip(
        _curves(thresholds), cycle(COLOURS), cycle(DASHES), strict=False
    ):
        label = f"{_shortened(name)} AUC {format_number(each.auc)}".strip()
        axes.plot(each.fpr, each.tpr, color=colour, linestyle=dash, label=label)
    axes.plot([0, 1], [0, 1], color="#777777", linewidth=0.8, linestyle=":")
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    axes.set_title("receiver operating characteristic, all pixels", fontsize="medium")
    axes.legend(fontsize="small", loc="lower right")


def _precision(axes: Axes, thresholds: Any) -> None:
    for (name, each), colour, dash in zip(
        _curves(thresholds), cycle(COLOURS), cycle(DASHES), strict=False
    ):
        label = f"{_shortened(name)} AP {format_number(each.average_precision)}".strip()
        axes.step(
            each.recall, each.precision, where="post", color=colour, linestyle=dash, label=label
        )
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.set_title("precision and recall, all pixels", fontsize="medium")
    axes.legend(fontsize="small", loc="lower left")


def _reliability(axes: Axes, thresholds: Any) -> None:
    """The frequency of the foreground in each bin, and the share of the pixels there."""
    reliability = thresholds.reliability
    size = len(reliability.pixels)
    edges = [index / size for index in range(size)]
    shares = reliability.pixels / max(reliability.pixels.sum(), 1)
    axes.bar(
        edges, shares, 1 / size, align="edge", color=SHADE, edgecolor="#bbbbbb",
        label="share of the pixels",
    )  # fmt: skip
    axes.plot(
        reliability.predicted, reliability.true, color=COLOURS[0], marker="o", markersize=4,
        label=f"ECE {format_number(reliability.ece)}, temperature"
        f" {format_number(reliability.temperature)}",
    )  # fmt: skip
    axes.plot([0, 1], [0, 1], color="#777777", linewidth=0.8, linestyle=":")
    axes.set_xlabel("probability")
    axes.set_ylabel("frequency of the foreground")
    axes.set_title("are probabilities frequencies?", fontsize="medium")
    axes.legend(fontsize="small", loc="upper left")


def _together(axes: Axes, thresholds: Any) -> None:
    """Precision, recall and F1 of all detections."""
    each = thresholds.together
    curves = zip(each.curves.items(), COLOURS, DASHES, strict=False)
    for (name, curve), colour, dash in curves:
        axes.plot(thresholds.thresholds, curve, color=colour, linestyle=dash, label=name)
    axes.axvspan(*each.best.plateau, color=SHADE, linewidth=0, label="F1 within 1 % of its best")
    axes.plot([each.best.threshold], [each.best.value], marker="o", color="black", linestyle="none")
    axes.set_xlabel("confidence")
    axes.set_title(f"all classes, IoU ≥ {thresholds.iou:g}", fontsize="medium")
    axes.legend(fontsize="small")


def _f1_of_classes(axes: Axes, thresholds: Any) -> None:
    """F1 of each class; the first ones are named."""
    styles = zip(thresholds.classes.items(), cycle(COLOURS), cycle(DASHES), strict=False)
    for index, ((name, each), colour, dash) in enumerate(styles):
        label = _shortened(name) if index < len(COLOURS) else None
        axes.plot(
            thresholds.thresholds, each.curves["f1"], color=colour, linestyle=dash, label=label
        )
    axes.set_xlabel("confidence")
    axes.set_ylabel("F1")
    axes.set_title("F1 of each class", fontsize="medium")
    axes.legend(fontsize="small")


PANELS = {
    "masks": (_scores, _reliability, _roc, _precision),
    "detections": (_together, _f1_of_classes),
}
