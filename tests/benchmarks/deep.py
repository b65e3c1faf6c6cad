"""A loss of deep features next to the bare network: deep.py [PAIRS [SIZE [DEVICE]]]

The limit is this file as a script that imports torch, decodes the images and sends them through
VGG16 in plain torch, one at a time, on a GPU eight at a time. Seeded weights cost the same as
trained ones.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from lossbench.engine.compute.device import pick_device
from lossbench.networks.architectures import NETWORKS, Conv
from lossbench.networks.extractor import DEVIATION, MEAN, seeded
from lossbench.speed.processes import run
from lossbench.speed.sections import Setup

VGG = NETWORKS["vgg16"]
LAYER = "relu2_2"


def features(images: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """The features of images (B, 3, H, W) in [0, 1] at `LAYER`."""
    mean, deviation = (
        torch.tensor(numbers, device=images.device)[:, None, None] for numbers in (MEAN, DEVIATION)
    )
    x = (images - mean) / deviation
    for step in VGG.up_to([LAYER]):
        if isinstance(step, Conv):
            weight, bias = (weights[f"{step.key}.{name}"] for name in ("weight", "bias"))
            x = functional.conv2d(x, weight, bias, step.stride, step.pad).relu()
        else:
            x = functional.max_pool2d(x, 2, 2)
    return x


def limit(file: str, folder: str, device: str) -> None:
    """Compute the features of every image of a folder."""
    with np.load(file) as stored:
        weights = {key: torch.from_numpy(stored[key]).to(device) for key in stored.files}
    arrays = [np.asarray(Image.open(path)) for path in sorted(Path(folder).rglob("*.png"))]
    images = torch.from_numpy(np.stack(arrays)).movedim(-1, 1)
    with torch.inference_mode():
        for batch in images.split(1 if device == "cpu" else 8):
            float(features(batch.to(device).float().div(255), weights).sum())


def main() -> None:
    """Print the seconds of a run and of its limit."""
    if sys.argv[1:2] == ["limit"]:
        limit(*sys.argv[2:])
        return
    pairs, size, device = (*sys.argv[1:], *("8", "256", "auto")[len(sys.argv) - 1 :])
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(Path(folder), int(pairs), int(size), 1, device, print)
        images, weights = setup.images("colour", int(pairs), int(size)), f"{folder}/vgg16.npz"
        np.savez(weights, **{key: each.numpy() for key, each in seeded(VGG).items()})
        files = (images / "pred", images / "gt", "--task", "image", "--weights", f"vgg16={weights}")
        ours = setup.evaluate([f"perceptual(layers=[{LAYER}])"], *files).seconds
        script = (sys.executable, __file__, "limit", weights, str(images), pick_device(device))
        bare = run(script).seconds
    print(f"lossbench eval {ours:.2f} s, limit {bare:.2f} s: {ours / bare:.2f}")


if __name__ == "__main__":
    main()
