"""Runs next to their limit: a script that imports torch and decodes the same files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from lossbench.runtime.cpu import cores
from lossbench.speed.processes import FinishedProcess, Round, alternate, child, median
from lossbench.speed.report import SpeedTable
from lossbench.speed.setup import LOSSES, Setup

CASES = [(2000, 512), (20_000, 64), (100, 512)]  # pairs, and their width and height
COUNTS = (1, 20)  # losses of a run
COLUMNS = {
    "pairs": ("pairs", ",d"),
    "size": ("size", "d"),
    "losses": ("losses", "d"),
    "import_seconds": ("import torch, s", ".2f"),
    "decode_seconds": ("decode, s", ".2f"),
    "limit_seconds": ("limit, s", ".2f"),
    "seconds": ("run, s", ".2f"),
    "pairs_per_second": ("pairs/s", ",.0f"),
    "ratio": ("run / limit", ".2f"),
}


def of_masks(setup: Setup) -> SpeedTable:
    """Runs of one loss and of twenty, over many pairs, over small ones and over few."""
    one = (setup.pairs or CASES[0][0], setup.size or CASES[0][1])
    rows = []
    for pairs, size in [one] if setup.pairs or setup.size else CASES:
        images = setup.images("binary", pairs, size)
        tasks: dict[str, Callable[[], FinishedProcess]] = {
            str(count): partial(setup.evaluate, LOSSES[:count], images / "pred", images / "gt")
            for count in COUNTS
        }
        tasks["limit"] = partial(child, "decode", "torch", cores(), images)
        setup.note(f"runs of {pairs:,} pairs of {size}×{size}, {setup.repeat} rounds")
        rounds = alternate(setup.repeat, tasks)
        for count in COUNTS:
            row = {"pairs": pairs, "size": size, "losses": count, **_medians(rounds, str(count))}
            rows.append(row | {"pairs_per_second": pairs / row["seconds"]})
    title = (
        "8-bit probability against mask; limit: a script that imports torch and decodes them in"
        f" {cores()} threads"
    )
    return SpeedTable("pipeline", title, COLUMNS, rows)


def _medians(rounds: list[Round], run: str) -> dict[str, Any]:
    """Medians of a run and its limit; the ratio is taken within each round."""
    return {
        "import_seconds": median(rounds, lambda each: each["limit"].figures[0]["import"]),
        "decode_seconds": median(rounds, lambda each: each["limit"].figures[0]["decode"][0][0]),
        "limit_seconds": median(rounds, lambda each: each["limit"].seconds),
        "seconds": median(rounds, lambda each: each[run].seconds),
        "ratio": median(rounds, lambda each: each[run].seconds / each["limit"].seconds),
    }
