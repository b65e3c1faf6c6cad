"""Memory of runs by the size of a pair and by the number of pairs."""

from __future__ import annotations

import csv
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from lossbench.speed.report import SpeedTable
from lossbench.speed.setup import LOSSES, Setup

DISTINCT = 50  # pairs that a manifest repeats
TINY = 64  # width and height of the pairs of a manifest, and of the pair before the large one
FEWER = 16  # the shorter manifest has so many times fewer pairs
COUNTS = (1, 5)  # losses of a run
COLUMNS = {
    "pairs": ("pairs", ",d"),
    "size": ("size", "d"),
    "losses": ("losses", "d"),
    "memory_mb": ("memory, MB", ",.0f"),
    "bytes_per_pixel": ("bytes a further pixel", ".2f"),
    "bytes_per_pair": ("bytes a further pair", ",.0f"),
}
Row = dict[str, Any]


def of_runs(setup: Setup) -> SpeedTable:
    """A tiny pair and a large one; a short manifest and a long one that repeats the same files."""
    pairs, size = setup.pairs or 16_000, setup.size or 4000
    rows = []
    for losses in COUNTS:
        tiny, large = (_measure(setup, losses, 1, each) for each in (TINY, size))
        short, long = (_measure(setup, losses, n, TINY) for n in (max(1, pairs // FEWER), pairs))
        large["bytes_per_pixel"] = _slope(tiny, large, size**2 - TINY**2)
        long["bytes_per_pair"] = _slope(short, long, long["pairs"] - short["pairs"])
        rows += [tiny, large, short, long]
    return SpeedTable("memory", "resident memory of the largest process", COLUMNS, rows)


def _measure(setup: Setup, losses: int, pairs: int, size: int) -> Row:
    """The memory of a run over a manifest."""
    table = manifest(setup.images("binary", min(pairs, DISTINCT), size), pairs)
    setup.note(f"memory of {pairs:,} of {size}×{size}, losses: {losses}")
    peak = setup.evaluate(LOSSES[:losses], "--manifest", table).peak
    return {"pairs": pairs, "size": size, "losses": losses, "memory_mb": peak}


def _slope(less: Row, more: Row, further: int) -> float | None:
    """The bytes of each further pixel or pair, where both peaks are known."""
    peaks = less["memory_mb"], more["memory_mb"]
    return 1e6 * (peaks[1] - peaks[0]) / further if further and None not in peaks else None


def manifest(images: Path, pairs: int) -> Path:
    """A manifest that repeats the files of a folder."""
    path = images / f"{pairs}.csv"
    names = islice(cycle(sorted(file.name for file in (images / "gt").iterdir())), pairs)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "pred", "gt"))
        writer.writerows((f"{n:08d}", f"pred/{name}", f"gt/{name}") for n, name in enumerate(names))
    return path
