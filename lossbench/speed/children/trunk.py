"""VGG16 with seeded weights in plain torch: trunk.py write FILE, or run DEVICE LAYER FOLDER

`run` takes images that are in memory already, one at a time and then eight, with as many threads as
torch likes; the faster way counts.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from lossbench.networks.architectures import NETWORKS, Conv
from lossbench.networks.extractor import seeded

VGG = NETWORKS["vgg16"]
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TOGETHER = (1, 8)


def bare(layer: str) -> nn.Sequential:
    """The network up to a layer."""
    held, parts = seeded(VGG), list[nn.Module]()
    for step in VGG.up_to([layer]):
        if isinstance(step, Conv):
            convolution = nn.Conv2d(step.inputs, step.outputs, step.size, step.stride, step.pad)
            names = ("weight", "bias")
            convolution.load_state_dict({name: held[f"{step.key}.{name}"] for name in names})
            parts += [convolution, nn.ReLU()]
        else:
            parts.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*parts).eval()


def forward(device: str, layer: str, folder: Path) -> float:
    """Seconds for every image of a folder."""
    files = sorted(folder.rglob("*.png"))
    arrays = [np.asarray(Image.open(file)) for file in files]
    images = torch.from_numpy(np.stack(arrays)).to(device).movedim(-1, 1).float().div(255)
    mean, deviation = (
        torch.tensor(numbers, device=device)[:, None, None] for numbers in (MEAN, DEVIATION)
    )
    network, taken = bare(layer).to(device), []
    with torch.inference_mode():
        for batch in TOGETHER:
            float(network((images[:batch] - mean) / deviation).sum())
            start = time.perf_counter()
            for part in images.split(batch):
                found = network((part - mean) / deviation)
            float(found.sum())  # a GPU has come to the end
            taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    """Write the weights, or print {"seconds": of the forward pass}."""
    if sys.argv[1] == "write":
        numbers: dict[str, Any] = {key: value.numpy() for key, value in seeded(VGG).items()}
        np.savez(sys.argv[2], **numbers)
        return
    device, layer, folder = sys.argv[2:]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    print(json.dumps({"seconds": forward(device, layer, Path(folder))}))


if __name__ == "__main__":
    main()
