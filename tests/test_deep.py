"""Losses of deep features, against plain torch, published values and small cases by hand."""

from __future__ import annotations

import json
import math
import sys
import types
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import DATA
from PIL import Image
from tolerances import SINGLE, check_close
from torch import Tensor, nn
from torch.nn import functional

import lossbench
from lossbench.networks import NETWORKS, SEEDED
from lossbench.run import features, work
from lossbench.views import trunk
from lossbench.views.trunk import Networks, seeded

WEIGHTS = DATA / "weights"
FILES = {
    "vgg16": WEIGHTS / "vgg16_features_lpips_v0.1.npz",
    "alexnet": WEIGHTS / "alexnet_features_lpips_v0.1.npz",
    "lpips_vgg": WEIGHTS / "lpips_heads_v0.1" / "vgg.pth",
    "lpips_alex": WEIGHTS / "lpips_heads_v0.1" / "alex.pth",
    "lpips_squeeze": WEIGHTS / "lpips_heads_v0.1" / "squeeze.pth",
    "dists": WEIGHTS / "dists_weights.pt",
}
MEAN, DEVIATION = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
TINY = f"network={SEEDED}"
STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


@pytest.fixture
def real(data: Callable[[str], Path]) -> dict[str, Path]:
    """Real weights, or a skip."""
    data("weights")
    return FILES


# Networks as torchvision lays them out: Simonyan & Zisserman's configurations D and E,
# Krizhevsky's AlexNet, SqueezeNet 1.1.


def vgg(counts: Sequence[int], widths: Sequence[int] = (64, 128, 256, 512, 512)) -> nn.Sequential:
    parts: list[nn.Module] = []
    inputs = 3
    for count, outputs in zip(counts, widths, strict=True):
        for _ in range(count):
            parts += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        parts.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*parts)


def alexnet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip


class Fire(nn.Module):
    def __init__(self, inputs: int, narrow: int, wide: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, narrow, 1)
        self.expand1x1 = nn.Conv2d(narrow, wide, 1)
        self.expand3x3 = nn.Conv2d(narrow, wide, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.expand1x1(x)), torch.relu(self.expand3x3(x))], 1)


def squeezenet() -> nn.Sequential:
    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool(),
        Fire(64, 16, 64), Fire(128, 16, 64), pool(),
        Fire(128, 32, 128), Fire(256, 32, 128), pool(),
        Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
    )  # fmt: skip


BUILT: dict[str, Callable[[], nn.Sequential]] = {
    "vgg16": lambda: vgg((2, 2, 3, 3, 3)),
    "vgg19": lambda: vgg((2, 2, 4, 4, 4)),
    "alexnet": alexnet,
    "squeezenet": squeezenet,
    SEEDED: lambda: vgg((2, 2, 4, 4, 4), (8, 8, 12, 16, 16)),
}


@cache
def built(name: str, kind: torch.dtype = torch.float32) -> nn.Sequential:
    """A network in plain torch with the weights that our own has in these tests."""
    network = BUILT[name]()
    held = seeded(NETWORKS[name])
    if name in FILES:
        found = np.load(FILES[name])
        held = {key: torch.from_numpy(found[key]) for key in found.files if "feat" in key}
    network.load_state_dict({key.removeprefix("features."): value for key, value in held.items()})
    return network.eval().requires_grad_(False).to(kind)


def plain(name: str, images: Tensor, layers: Sequence[str]) -> list[Tensor]:
    """Features by name: the ReLUs of a stage are counted, a pooling ends it."""
    x = (images - MEAN.to(images)[:, None, None]) / DEVIATION.to(images)[:, None, None]
    found, stage, number = {}, 1, 0
    for part in built(name, images.dtype):
        x = part(x)
        if isinstance(part, nn.MaxPool2d):
            stage, number = stage + 1, 0
        elif isinstance(part, nn.ReLU):
            number += 1
            found[f"relu{stage}_{number}"] = x
    return [found[layer] for layer in layers]


def vgg19_file(folder: Path, **changes: Any) -> Path:
    """Seeded weights in the standard layout of VGG19."""
    held = {key: value.numpy() for key, value in seeded(NETWORKS["vgg19"]).items()}
    np.savez(folder / "vgg19.npz", **(held | changes))
    return folder / "vgg19.npz"


def pictures(count: int = 2, size: tuple[int, int] = (40, 37), seed: int = 0) -> list[np.ndarray]:
    """8-bit RGB pictures, smooth and noisy, (H, W, 3)."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    found = []
    for number in range(count):
        waves = [np.sin(rows / (3 + c + number)) + np.cos(columns / (4 + c)) for c in range(3)]
        noise = random.normal(0, 20, (*size, 3))
        found.append(np.clip(60 * np.stack(waves, -1) + 127 + noise, 0, 255).astype(np.uint8))
    return found


def tensor(picture: np.ndarray, kind: torch.dtype = torch.float32) -> Tensor:
    """(1, 3, H, W) in [0, 1]; grey is repeated."""
    stacked = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, -1)
    return torch.from_numpy(np.moveaxis(stacked, -1, 0) / 255)[None].to(kind)


def values(pred: Any, target: Any, *losses: str, **how: Any) -> list[list[float]]:
    """The values of several losses, each of all samples."""
    result = lossbench.evaluate(pred, target, list(losses), task="image", **how)
    assert not result.failed, result.failed
    return [result.values[loss].samples for loss in losses]


# Features


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_the_shapes_of_torchvision(name):
    wanted = {f"features.{key}": tuple(v.shape) for key, v in BUILT[name]().state_dict().items()}
    assert NETWORKS[name].shapes == wanted


@pytest.mark.parametrize("name", ["vgg16", "vgg19", SEEDED])
def test_every_layer_of_a_vgg_is_that_of_plain_torch(name, real, tmp_path):
    files = {"vgg16": str(real["vgg16"])}
    if name == "vgg19":
        files["vgg19"] = str(vgg19_file(tmp_path))
    image, layers = tensor(pictures(1)[0]), NETWORKS[name].layers
    found = Networks(files).maps(image, trunk.Recipe(name), layers)
    assert list(found) == list(layers)
    for layer, wanted in zip(layers, plain(name, image, layers), strict=True):
        assert float(wanted.max()) > 0, layer  # a network that dies would agree with any
        assert found[layer].shape == wanted.shape
        scale = float(wanted.abs().max())
        check_close(found[layer] / scale, wanted / scale, SINGLE, layer)


@pytest.mark.parametrize(("name", "ends"), [("alexnet", (1, 4, 7, 9, 11)),
                                            ("squeezenet", (1, 4, 7, 9, 10, 11, 12))])  # fmt: skip
def test_the_layers_that_lpips_compares_are_the_slices_of_its_authors(name, ends, data, tmp_path):
    """PerceptualSimilarity cuts torchvision's `features` after these places."""
    data("weights")
    file = tmp_path / "weights.npz"
    held = {f"features.{key}": v.numpy() for key, v in built(name).state_dict().items()}
    np.savez(file, **held)
    image = tensor(pictures(1, (70, 83))[0])
    layers = [f"relu{number}" for number in range(1, len(ends) + 1)]
    found = Networks({name: str(file)}).maps(image, trunk.Recipe(name), layers)
    x = (image - MEAN[:, None, None]) / DEVIATION[:, None, None]
    for place, part in enumerate(built(name)):
        x = part(x)
        if place in ends:
            scale = float(x.abs().max())
            check_close(found[layers[ends.index(place)]] / scale, x / scale, SINGLE, place)


def test_a_network_goes_no_deeper_than_asked(monkeypatch):
    made: list[str] = []
    real_conv = trunk._conv
    monkeypatch.setattr(
        trunk, "_conv", lambda x, numbers, key, *rest: made.append(key) or real_conv(x, numbers, key, *rest)
    )  # fmt: skip
    picture = pictures(1)
    values(picture, picture, f"perceptual({TINY}, layers=[relu2_1])")
    assert set(made) == {"features.0", "features.2", "features.5"}


def test_features_are_made_once_for_all_losses(monkeypatch):
    """Two images, each through 16 convolutions once, whatever the number of losses."""
    made: list[str] = []
    real_conv = trunk._conv
    monkeypatch.setattr(
        trunk, "_conv", lambda x, numbers, key, *rest: made.append(key) or real_conv(x, numbers, key, *rest)
    )  # fmt: skip
    losses = [f"perceptual({TINY})", f"content({TINY})", f"gram({TINY})", f"lpips({TINY})"]
    values(*([each] for each in pictures()), *losses)
    assert len(made) == 2 * 16
