"""Each loss's own example with samples that it can be computed on."""

from __future__ import annotations

from typing import Any

import nibabel
import numpy as np
from PIL import Image

from helpers.option_values import LOGITS
from helpers.paths import SAMPLES
from helpers.random_samples import KINDS, drawn
from lossbench.catalog.registry import Entry

READERS = {
    ".npy": np.load,
    ".npz": lambda path: np.concatenate([x.ravel() for x in np.load(path).values()]),
    ".png": lambda path: np.asarray(Image.open(path)),
    ".gz": lambda path: np.asarray(nibabel.load(path).dataobj),
}


def example(entry: Entry) -> dict[str, Any]:
    """What `evaluate` is given: sample data, logits where needed, a larger image for 5 scales."""
    task = entry.tasks[0]
    folders: dict[str, object] = {"pred": SAMPLES / task / "pred", "target": SAMPLES / task / "gt"}
    how: dict[str, object] = {"task": task}
    if task == "multilabel":
        how |= dict.fromkeys(("pred_pattern", "gt_pattern"), "{id}_{class}.png")
    if entry.name == "content_style":
        folders = {
            side: SAMPLES / "style" / name for side, name in (("pred", "pred"), ("target", "gt"))
        }
        how["inputs"] = {"style": SAMPLES / "style" / "style"}
    if entry.name in LOGITS:
        data = drawn(next(kind for kind in KINDS if kind.startswith(f"{task} logits")))
        folders, how = {"pred": data.pred, "target": data.target}, data.settings
    if entry.name == "ms_ssim":
        image = np.random.default_rng(0).random((1, 180, 180))
        folders, how = {"pred": image, "target": image[:, ::-1]}, {"task": "image"}
    if entry.family in ("embedding", "adversarial"):
        given = of_its_own(entry.family, task)
        if entry.name == "triplet_mining":
            given["target"] = given["labels"]
        folders = {role: given[role] for role in ("pred", "target")}
        how["inputs"] = {role: given[role] for role in entry.roles if role in given}
    if entry.name == "auxiliary":
        how["inputs"] = {"aux": SAMPLES / "multiclass" / "pred"}
    if task == "detection":
        files = {"pred": "results.json", "target": "instances.json"}
        folders = {side: SAMPLES / "detection" / name for side, name in files.items()}
    if task == "records":
        folders = {
            side: SAMPLES / "anchors" / name for side, name in (("pred", "pred"), ("target", "gt"))
        }
    return {**folders, "losses": entry.example, **how}


def of_its_own(family: str, task: str) -> dict[str, object]:
    """The inputs of a family that names some, each made from the samples."""
    root = SAMPLES / ("image" if task == "image" else family)
    found = {
        role.name: {path.stem: READERS[path.suffix](path) for path in sorted(role.iterdir())}
        for role in sorted(root.iterdir())
    }
    pred, gt = found["pred"], found["gt"]
    last = list(gt.values())[::-1]
    return {
        **found,
        "target": gt,
        "negative": dict(zip(gt, last, strict=True)),
        "same": {name: np.array(name > "c") for name in gt},
        "gradient_norm": {name: np.abs(each) for name, each in gt.items()},
        "pred_back": gt,
        "target_back": pred,
    }
