"""Every loss by itself: forward and backward in training, and on the tables of a run."""

from __future__ import annotations

from lossbench.catalog.registry import builtin
from lossbench.speed.processes import child_command, lines
from lossbench.speed.report import Table, TableColumn
from lossbench.speed.setup import Setup

OFTEN = 20  # losses between two words of progress


def each_loss(setup: Setup) -> Table:
    """Milliseconds an image at half the size and at the size, on the CPU and the device."""
    sizes = sorted({max(1, setup.size // 2), setup.size})
    wanted = child_command("losses", setup.device, ",".join(map(str, sizes)), setup.repeat)
    rows = []
    setup.note(f"{len(builtin())} losses at {' and '.join(map(str, sizes))}")
    for row in lines(wanted):
        rows.append(row)
        if not len(rows) % OFTEN:
            setup.note(f"{len(rows)} done, {row['loss']} on {row['device']} the last")
    columns = (
        TableColumn("loss", "loss"),
        TableColumn("task", "task"),
        TableColumn("device", "device"),
        *(
            TableColumn(f"{way}_ms_{size}", f"{way}, {size}, ms", ".3g")
            for size in sizes
            for way in ("forward", "backward")
        ),
        TableColumn("table_us", "on a table, µs", ".2g"),
    )
    title = (
        "an image in float32 through lossbench.loss, and a sample on the tables of a run, one"
        " thread; vectors and scores: as many samples as the size, 128 numbers each"
    )
    return Table("losses", title, columns, rows)
