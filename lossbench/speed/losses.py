"""Each loss by itself: forward and backward in training, and on the tables of a run."""

from __future__ import annotations

from lossbench.speed.processes import child
from lossbench.speed.report import SpeedTable
from lossbench.speed.setup import Setup

COLUMNS = {
    "loss": ("loss", ""),
    "task": ("task", ""),
    "device": ("device", ""),
    "forward_ms": ("forward, ms", ".3g"),
    "backward_ms": ("backward, ms", ".3g"),
    "table_us": ("on a table, µs", ".2g"),
}


def of_values(setup: Setup) -> SpeedTable:
    """Losses of pixels, vectors and scores."""
    size = setup.size or 512
    title = (
        f"an image of {size}×{size} in float32 through lossbench.loss, and a sample on the tables"
        f" of a run, one thread; vectors and scores: {size} samples of 128 numbers each"
    )
    return _table(setup, "losses", title, size)


def of_networks(setup: Setup) -> SpeedTable:
    """Losses of deep features, on VGG16 with seeded weights."""
    size = setup.size or 128
    title = f"an image of {size}×{size} in float32 through lossbench.loss and VGG16, one thread"
    return _table(setup, "deep", title, size, setup.folder / "vgg16.npz")


def _table(setup: Setup, section: str, title: str, size: int, *weights: object) -> SpeedTable:
    setup.note(f"each loss at {size}×{size}")
    rows = child("losses", setup.device, size, setup.repeat, *weights).figures
    columns = {key: each for key, each in COLUMNS.items() if key != "table_us" or not weights}
    return SpeedTable(section, title, columns, rows)
