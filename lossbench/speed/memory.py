"""Memory of runs against the number of pairs and against the size of one."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from lossbench.speed.pipelines import FIVE, counted, evaluation
from lossbench.speed.report import Table, TableColumn
from lossbench.speed.setup import Setup, given

DISTINCT = 50
TIMES = (1, 4, 16)
TINY = 64  # size of the pair that an idle process has read


def by_pairs(setup: Setup) -> Table:
    """Runs of some pairs, of 4 and of 16 times as many: a manifest names the same files again."""
    made = setup.pictures("binary", min(setup.pairs, DISTINCT), setup.size)
    rows: list[dict[str, Any]] = []
    for losses in (["dice"], FIVE):
        first: tuple[int, float | None] | None = None
        for times in TIMES:
            pairs = times * setup.pairs
            setup.note(f"memory of {pairs:,} pairs, {len(losses)} losses")
            table = manifest(made, pairs)
            peak = setup.evaluated("--manifest", table, *given(losses)).peak
            row = {"pairs": pairs, "losses": len(losses), "memory_mb": peak}
            if first and peak is not None and first[1] is not None:
                row["bytes_per_pair"] = 1e6 * (peak - first[1]) / (pairs - first[0])
            first = first or (pairs, peak)
            rows.append(row)
    columns = (
        TableColumn("pairs", "pairs", ",d"),
        TableColumn("losses", "losses"),
        TableColumn("memory_mb", "memory, MB", ",.0f"),
        TableColumn("bytes_per_pair", "bytes a further pair", ",.0f"),
    )
    title = f"pairs of {setup.size}×{setup.size}; resident memory of the largest process"
    return Table("memory", title, columns, rows)


def one_pair(setup: Setup) -> Table:
    """One large pair, next to the same run on a tiny one."""
    tiny, large = (setup.pictures("binary", 1, size) for size in (TINY, setup.size))
    rows = []
    for losses in (["dice"], counted("binary")):
        setup.note(f"memory of one pair of {setup.size}×{setup.size}, {len(losses)} losses")
        idle, peak = (evaluation(setup, made, losses)().peak for made in (tiny, large))
        rows.append(
            {
                "losses": len(losses),
                "idle_mb": idle,
                "memory_mb": peak,
                "bytes_per_pixel": None
                if idle is None or peak is None
                else 1e6 * (peak - idle) / setup.size**2,
            }
        )
    columns = (
        TableColumn("losses", "losses"),
        TableColumn("idle_mb", f"with {TINY}×{TINY}, MB", ",.0f"),
        TableColumn("memory_mb", "memory, MB", ",.0f"),
        TableColumn("bytes_per_pixel", "bytes a pixel more", ".2f"),
    )
    title = f"one pair of {setup.size}×{setup.size}, 8-bit probability against mask"
    return Table("large", title, columns, rows)


def manifest(made: Path, pairs: int) -> Path:
    """A table of so many pairs, the files of a folder over and over."""
    path = made / f"{pairs}.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "pred", "gt"))
        writer.writerows(_rows(sorted((made / "gt").iterdir()), pairs))
    return path


def _rows(files: list[Path], pairs: int) -> Iterator[tuple[str, str, str]]:
    for number, file in enumerate(islice(cycle(files), pairs)):
        yield f"{number:08d}", f"pred/{file.name}", f"gt/{file.name}"
