"""Distances of surfaces next to a peer, from masks in memory."""

from __future__ import annotations

from lossbench.speed.processes import child_command, lines
from lossbench.speed.report import Table, TableColumn
from lossbench.speed.setup import Setup

THINNER = 4  # a volume is as wide as a picture divided by this


def distances(setup: Setup) -> Table:
    """Five measures of surfaces together, and one of them by MONAI, on one thread."""
    sizes = setup.size, max(1, setup.size // THINNER)
    setup.note(f"{setup.pairs} pairs of masks of each kind, {setup.repeat} rounds")
    wanted = child_command("surfaces", setup.pairs, *sizes, setup.repeat)
    columns = (
        TableColumn("masks", "masks"),
        TableColumn("pairs", "pairs"),
        TableColumn("five_ms", "five measures, ms", ".1f"),
        TableColumn("monai_ms", "MONAI, Hausdorff alone, ms", ".1f"),
        TableColumn("ratio", "MONAI / five", ".1f"),
    )
    title = "hausdorff, hd95, assd, nsd and boundary_iou of a pair in memory, one thread"
    return Table("surface", title, columns, list(lines(wanted)))
