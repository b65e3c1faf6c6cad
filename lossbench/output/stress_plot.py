"""A figure of damages: the response of each loss to each level, one panel a kind."""

from __future__ import annotations

import math
import os
from itertools import cycle
from typing import Any

from lossbench.errors import printable
from lossbench.output.plot import DATES, PALETTE

DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
COLUMNS = 3
WIDTH, HEIGHT = 3.2, 2.3  # inches of a panel
BLIND, WEAK = 0.02, 0.2
LEAST, MOST = 1e-3, 1.5  # of the axis of responses


def write_stress(stress: Any, path: str) -> None:
    """Draw how each loss responds to the levels of each damage.

    Args:
        stress: what `lossbench.stress` returns.
        path: the file, whose ending selects the format.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    kinds = list(dict.fromkeys(each.kind for each in stress.damages))
    rows = max(1, math.ceil(len(kinds) / COLUMNS))
    ending = os.path.splitext(path)[1][1:].lower()
    with rc_context({"svg.hashsalt": "lossbench"}):
        figure = Figure((WIDTH * COLUMNS, HEIGHT * rows + 0.6), layout="constrained")
        panels: Any = figure.subplots(rows, COLUMNS, squeeze=False)
        for kind, axes in zip(kinds, panels.flat, strict=False):
            _draw_kind(axes, stress, kind)
        for axes in panels.flat[len(kinds) :]:
            axes.set_visible(False)
        for row in panels:
            row[0].set_ylabel("|change|")
        if kinds:
            handles, labels = panels.flat[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize="small")
        metadata = {DATES[ending]: None} if ending in DATES else None
        figure.savefig(path, format=ending, metadata=metadata)


def _draw_kind(axes: Any, stress: Any, kind: str) -> None:
    """The responses to one damage, between bands of blind and weak ones."""
    levels = [each for each in stress.damages if each.kind == kind]
    for name, colour, dash, marker in zip(
        stress.better, cycle(PALETTE), cycle(DASHES), cycle(MARKERS), strict=False
    ):
        sizes = [abs(each.responses[name]) for each in levels]
        shown = [min(max(size, LEAST), MOST) for size in sizes]  # NaN stays
        axes.plot(
            range(len(levels)), shown, color=colour, linestyle=dash, marker=marker, markersize=4,
            linewidth=1.2, label=printable(name).replace("$", r"\$"),
        )  # fmt: skip
    axes.axhspan(LEAST, BLIND, color="#e0e0e0", linewidth=0, zorder=0)
    axes.axhspan(BLIND, WEAK, color="#f2f2f2", linewidth=0, zorder=0)
    axes.set_yscale("log")
    axes.set_ylim(LEAST * 0.9, MOST * 1.1)
    axes.set_yticks([0.001, 0.02, 0.2, 1], ["0", "blind .02", "weak .2", "1"], fontsize="x-small")
    axes.minorticks_off()
    axes.set_xticks(range(len(levels)), [f"{each.level:g}" for each in levels], fontsize="small")
    axes.set_title(kind.replace("_", " "), fontsize="medium")
