"""The rate at which files can be decoded, by format and number of threads."""

from __future__ import annotations

import statistics
from pathlib import Path

from lossbench.runtime.cpu import cores
from lossbench.speed.processes import child
from lossbench.speed.report import Table, TableColumn
from lossbench.speed.setup import Setup


def formats(setup: Setup) -> Table:
    """Files per second of each format with 1, 2, 4, … threads up to the number of cores."""
    made = setup.pictures("formats", setup.pairs, setup.size)
    folders = sorted(path for path in made.iterdir() if path.is_dir())
    threads = sorted({*(2**power for power in range(12) if 2**power < cores()), cores()})
    rounds = []
    for number in range(setup.repeat):
        setup.note(f"decoding, round {number + 1} of {setup.repeat}")
        counts = ",".join(map(str, threads))
        rounds.append(child("decode", "bare", counts, *folders).figures["decode"])
    rows = []
    for place, folder in enumerate(folders):
        seconds = [
            statistics.median(each[place][column] for each in rounds)
            for column in range(len(threads))
        ]
        rows.append(
            {
                "format": folder.name,
                "bytes_per_pixel": stored(folder) / (setup.pairs * setup.size**2),
                **{
                    f"files_per_second_{count}": setup.pairs / each
                    for count, each in zip(threads, seconds, strict=True)
                },
            }
        )
    columns = (
        TableColumn("format", "format"),
        TableColumn("bytes_per_pixel", "bytes a pixel", ".3f"),
        *(
            TableColumn(f"files_per_second_{n}", f"files/s, {n} thread{'s' * (n > 1)}", ",.0f")
            for n in threads
        ),
    )
    title = f"{setup.pairs:,} files of {setup.size}×{setup.size} of each format, nothing but read"
    return Table("decode", title, columns, rows)


def stored(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(file.stat().st_size for file in folder.iterdir())
