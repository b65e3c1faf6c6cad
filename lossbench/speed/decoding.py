"""The rate at which Pillow and numpy decode files, by format and number of threads."""

from __future__ import annotations

import statistics

from lossbench.runtime.cpu import cores
from lossbench.speed.processes import child
from lossbench.speed.report import SpeedTable
from lossbench.speed.setup import Setup


def by_format(setup: Setup) -> SpeedTable:
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
        row = {"format": folder.name, "bytes_per_pixel": stored / (pairs * size**2)}
        for column, count in enumerate(threads):
            seconds = statistics.median(each[index][column] for each in rounds)
            row[f"files_per_second_{count}"] = pairs / seconds
        rows.append(row)
    columns = {"format": ("format", ""), "bytes_per_pixel": ("bytes a pixel", ".3f")}
    for count in threads:
        plural = "s" if count > 1 else ""
        columns[f"files_per_second_{count}"] = (f"files/s, {count} thread{plural}", ",.0f")
    title = f"{pairs:,} files of {size}×{size} of each format, decoded by Pillow or numpy alone"
    return SpeedTable("decode", title, columns, rows)
