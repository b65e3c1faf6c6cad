"""Deep features next to the bare network: VGG16 with seeded weights, which have the same cost."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from lossbench.speed.processes import FinishedProcess, alternate, child, median, python, seconds
from lossbench.speed.report import Table, TableColumn
from lossbench.speed.setup import Setup

LAYER = "relu2_2"


def perceptual(setup: Setup) -> Table:
    """`perceptual` over files, and the forward pass of their images in plain torch."""
    made = setup.pictures("colour", setup.pairs, setup.size)
    loss = f"perceptual(layers=[{LAYER}])"
    how = ("--task", "image", "--weights", f"vgg16={weights(setup)}", "--loss", loss)
    tasks = {
        "import": partial(python, "-c", "import torch"),
        "bare": partial(child, "trunk", "run", setup.device, LAYER, made),
        "run": partial(setup.evaluated, made / "pred", made / "gt", *how),
    }
    setup.note(f"{loss} of {setup.pairs:,} pairs, {setup.repeat} rounds")
    rounds = alternate(setup.repeat, tasks)

    def bare(each: Mapping[str, FinishedProcess]) -> float:
        return float(each["bare"].figures["seconds"])

    row = {
        "loss": loss,
        "import_seconds": median(rounds, seconds("import")),
        "bare_seconds": median(rounds, bare),
        "seconds": median(rounds, seconds("run")),
        "ratio": median(
            rounds, lambda each: each["run"].seconds / (each["import"].seconds + bare(each))
        ),
    }
    columns = (
        TableColumn("loss", "loss"),
        TableColumn("import_seconds", "import torch, s", ".2f"),
        TableColumn("bare_seconds", "bare network, s", ".2f"),
        TableColumn("seconds", "run, s", ".2f"),
        TableColumn("ratio", "run / (import + bare)", ".2f"),
    )
    title = f"{setup.pairs:,} pairs of {setup.size}×{setup.size}, VGG16 with seeded weights"
    return Table("deep", title, columns, [row])


def weights(setup: Setup) -> Path:
    """The file of the network, in torchvision's layout."""
    file = setup.folder / "vgg16-seeded.npz"
    if not file.exists():
        draft = file.with_name("draft.npz")
        child("trunk", "write", draft)
        draft.rename(file)
    return file
