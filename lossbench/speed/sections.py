"""Sections of `lossbench speed`, a table each, and the images and runs that they measure."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

from lossbench.runtime.cpu import cores
from lossbench.speed.processes import COMMAND, FinishedProcess, Round, alternate, child, run
from lossbench.speed.report import SpeedTable

Row = dict[str, Any]
# Losses that need no positions; each figure names how many of the first ones it is of.
LOSSES = (
    "dice", "iou", "bce", "precision", "recall", "l1", "l2", "rmse", "huber", "smooth_l1",
    "log_cosh", "charbonnier", "psnr", "binary_focal", "jaccard", "tversky", "dice_score",
    "specificity", "accuracy", "mcc",
)  # fmt: skip
DRAWN = {"volumes": ("draw_volumes",), "boxes": ("draw_boxes",)}  # all others are pictures
PIPELINE_CASES = [(2000, 512), (20_000, 64), (100, 512)]  # pairs, and their width and height
PIPELINE_COUNTS = (1, 20)  # losses of a run
MEMORY_COUNTS = (1, 5)
DISTINCT = 50  # pairs that a manifest repeats
TINY = 64  # width and height of the pairs of a manifest, and of the pair before the large one
FEWER = 16  # the shorter manifest has so many times fewer pairs
RUN_COLUMNS = {"pairs": ("pairs", ",d"), "size": ("size", "d"), "losses": ("losses", "d")}
PIPELINE_COLUMNS = RUN_COLUMNS | {
    "import_seconds": ("import torch, s", ".2f"),
    "decode_seconds": ("decode, s", ".2f"),
    "limit_seconds": ("limit, s", ".2f"),
    "seconds": ("run, s", ".2f"),
    "pairs_per_second": ("pairs/s", ",.0f"),
    "ratio": ("run / limit", ".2f"),
}
MEMORY_COLUMNS = RUN_COLUMNS | {
    "memory_mb": ("memory, MB", ",.0f"),
    "bytes_per_pixel": ("bytes a further pixel", ".2f"),
    "bytes_per_pair": ("bytes a further pair", ",.0f"),
}
LOSS_COLUMNS = {
    "loss": ("loss", ""),
    "task": ("task", ""),
    "device": ("device", ""),
    "forward_ms": ("forward, ms", ".3g"),
    "backward_ms": ("backward, ms", ".3g"),
    "table_us": ("on a table, µs", ".2g"),
}


@dataclass(frozen=True)
class Setup:
    """Settings of a section; 0 pairs and size 0 stand for the numbers of the section itself."""

    folder: Path  # of the images
    pairs: int
    size: int  # width and height of an image
    repeat: int  # rounds, of which medians are taken
    device: str  # of runs, such as auto or cuda:1
    note: Callable[[str], None]  # prints the progress

    def images(self, kind: str, pairs: int, size: int) -> Path:
        """A folder of drawn images; a folder of that name from an earlier run is used again."""
        folder = self.folder / f"{kind}-{pairs}x{size}"
        if not folder.exists():
            self.note(f"drawing {pairs:,} of {size}×{size}, {kind}")
            draft = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(draft, ignore_errors=True)
            program, *arguments = DRAWN.get(kind, ("draw", kind))
            child(program, *arguments, pairs, size, draft)
            draft.rename(folder)
        return folder

    def evaluate(self, losses: Sequence[str], *arguments: object) -> FinishedProcess:
        """Run `lossbench eval` in a process of its own."""
        columns = [word for loss in losses for word in ("--loss", loss)]
        options = ("--isolated", "--no-progress", "--device", self.device)
        return run([*COMMAND, "eval", *map(str, arguments), *columns, *options])


def decoding(setup: Setup) -> SpeedTable:
    """Files per second of each format with 1, 2, 4, … threads up to the number of cores."""
    pairs, size = setup.pairs or 40, setup.size or 512
    images = setup.images("formats", pairs, size)
    folders = sorted(path for path in images.iterdir() if path.is_dir())
    threads = sorted({*(2**power for power in range(12) if 2**power < cores()), cores()})
    rounds = []
    for number in range(setup.repeat):
        setup.note(f"decoding, round {number + 1} of {setup.repeat}")
        (figures,) = child("decode", "bare", ",".join(map(str, threads)), *folders).figures
        rounds.append(figures["decode"])
    rows = []
    for index, folder in enumerate(folders):
        stored = sum(file.stat().st_size for file in folder.iterdir())
        row: Row = {"format": folder.name, "bytes_per_pixel": stored / (pairs * size**2)}
        for column, count in enumerate(threads):
            seconds = median(each[index][column] for each in rounds)
            row[f"files_per_second_{count}"] = pairs / seconds
        rows.append(row)
    columns = {"format": ("format", ""), "bytes_per_pixel": ("bytes a pixel", ".3f")}
    for count in threads:
        plural = "s" if count > 1 else ""
        columns[f"files_per_second_{count}"] = (f"files/s, {count} thread{plural}", ",.0f")
    title = f"{pairs:,} files of {size}×{size} of each format, decoded by Pillow or numpy alone"
    return SpeedTable("decode", title, columns, rows)


def pipeline(setup: Setup) -> SpeedTable:
    """Runs of one loss and of twenty, next to their limit: a script that decodes the same files."""
    one = (setup.pairs or PIPELINE_CASES[0][0], setup.size or PIPELINE_CASES[0][1])
    rows = []
    for pairs, size in [one] if setup.pairs or setup.size else PIPELINE_CASES:
        images = setup.images("binary", pairs, size)
        tasks: dict[str, Callable[[], FinishedProcess]] = {
            str(count): partial(setup.evaluate, LOSSES[:count], images / "pred", images / "gt")
            for count in PIPELINE_COUNTS
        }
        tasks["limit"] = partial(child, "decode", "torch", cores(), images)
        setup.note(f"runs of {pairs:,} pairs of {size}×{size}, {setup.repeat} rounds")
        rounds = alternate(setup.repeat, tasks)
        for count in PIPELINE_COUNTS:
            row = {"pairs": pairs, "size": size, "losses": count, **medians(rounds, str(count))}
            rows.append(row | {"pairs_per_second": pairs / row["seconds"]})
    title = (
        "8-bit probability against mask; limit: a script that imports torch and decodes them in"
        f" {cores()} threads"
    )
    return SpeedTable("pipeline", title, PIPELINE_COLUMNS, rows)


def medians(rounds: list[Round], name: str) -> Row:
    """Medians of a run and its limit, which imports torch and decodes."""
    figures = [each["limit"].figures[0] for each in rounds]
    return {
        "import_seconds": median(each["import"] for each in figures),
        "decode_seconds": median(each["decode"][0][0] for each in figures),
        **against_limit(rounds, name),
    }


def against_limit(rounds: list[Round], name: str) -> Row:
    """Medians of a run and any limit; the ratio is taken within each round."""
    return {
        "limit_seconds": median(each["limit"].seconds for each in rounds),
        "seconds": median(each[name].seconds for each in rounds),
        "ratio": median(each[name].seconds / each["limit"].seconds for each in rounds),
    }


def memory(setup: Setup) -> SpeedTable:
    """A tiny pair and a large one; a short manifest and a long one that repeats the same files."""
    pairs, size = setup.pairs or 16_000, setup.size or 4000
    rows = []
    for count in MEMORY_COUNTS:
        tiny, large = (_peak(setup, count, 1, each) for each in (TINY, size))
        short, long = (_peak(setup, count, n, TINY) for n in (max(1, pairs // FEWER), pairs))
        large["bytes_per_pixel"] = _slope(tiny, large, size**2 - TINY**2)
        long["bytes_per_pair"] = _slope(short, long, long["pairs"] - short["pairs"])
        rows += [tiny, large, short, long]
    title = "resident memory of the largest process"
    return SpeedTable("memory", title, MEMORY_COLUMNS, rows)


def _peak(setup: Setup, count: int, pairs: int, size: int) -> Row:
    """The memory of a run of some losses over a manifest."""
    table = manifest(setup.images("binary", min(pairs, DISTINCT), size), pairs)
    setup.note(f"memory of {pairs:,} of {size}×{size}, losses: {count}")
    peak = setup.evaluate(LOSSES[:count], "--manifest", table).peak
    return {"pairs": pairs, "size": size, "losses": count, "memory_mb": peak}


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


def losses(setup: Setup) -> SpeedTable:
    """Losses of pixels, vectors and scores: forward and backward, and on the tables of a run."""
    size = setup.size or 512
    title = (
        f"an image of {size}×{size} in float32 through lossbench.loss, and a sample on the tables"
        f" of a run, one thread; vectors and scores: {size} samples of 128 numbers each"
    )
    return _each_loss(setup, "losses", title, size)


def deep_losses(setup: Setup) -> SpeedTable:
    """Losses of deep features, on VGG16 with seeded weights."""
    size = setup.size or 128
    title = f"an image of {size}×{size} in float32 through lossbench.loss and VGG16, one thread"
    return _each_loss(setup, "deep", title, size, setup.folder / "vgg16.npz")


def _each_loss(setup: Setup, section: str, title: str, size: int, *weights: Path) -> SpeedTable:
    setup.note(f"each loss at {size}×{size}")
    rows = child("losses", setup.device, size, setup.repeat, *weights).figures
    columns = {key: each for key, each in LOSS_COLUMNS.items() if key != "table_us" or not weights}
    return SpeedTable(section, title, columns, rows)
