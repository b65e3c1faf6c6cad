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
from helpers.paths import DATA
from helpers.tolerances import SINGLE, check_close
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

import lossbench
from lossbench.engine import batching, pipeline
from lossbench.engine.compute import device, feature_batches
from lossbench.networks import extractor
from lossbench.networks.architectures import NETWORKS, SEEDED
from lossbench.networks.extractor import Networks, seeded

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
    found = Networks(files).maps(image, extractor.Recipe(name), layers)
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
    found = Networks({name: str(file)}).maps(image, extractor.Recipe(name), layers)
    x = (image - MEAN[:, None, None]) / DEVIATION[:, None, None]
    for place, part in enumerate(built(name)):
        x = part(x)
        if place in ends:
            scale = float(x.abs().max())
            check_close(found[layers[ends.index(place)]] / scale, x / scale, SINGLE, place)


@pytest.fixture
def convolved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The key of each convolution that is made from now on."""
    made: list[str] = []
    conv = extractor._conv

    def watched(x: Tensor, numbers: Any, key: str, *rest: int) -> Tensor:
        made.append(key)
        return conv(x, numbers, key, *rest)

    monkeypatch.setattr(extractor, "_conv", watched)
    return made


def test_a_network_goes_no_deeper_than_asked(convolved):
    picture = pictures(1)
    values(picture, picture, f"perceptual({TINY}, layers=[relu2_1])")
    assert set(convolved) == {"features.0", "features.2", "features.5"}


def test_features_are_made_once_for_all_losses(convolved):
    """Two images, each through 16 convolutions once, whatever the number of losses."""
    losses = [f"perceptual({TINY})", f"content({TINY})", f"gram({TINY})", f"lpips({TINY})"]
    values(*([each] for each in pictures()), *losses)
    assert len(convolved) == 2 * 16


# Losses, against plain torch


def square(a: Tensor, b: Tensor) -> float:
    return float(functional.mse_loss(a.double(), b.double()))


def gram_by_torch(a: Tensor, b: Tensor) -> float:
    """Gatys et al. 2016, E_l = Σ(G − A)²/(4M²N²)."""
    (ours, theirs), (maps, places) = (
        (x[0].flatten(1).double() for x in (a, b)),
        a[0].flatten(1).shape,
    )
    grams = [x @ x.T for x in (ours, theirs)]
    return float(((grams[0] - grams[1]) ** 2).sum() / (4 * maps**2 * places**2))


@pytest.mark.parametrize("name", ["vgg16", "vgg19", SEEDED])
def test_losses_equal_plain_torch(name, real, tmp_path):
    pairs = [
        (*pictures(2, size, seed),) for seed, size in enumerate([(48, 40), (33, 61), (64, 64)])
    ]
    weights = {"vgg16": real["vgg16"], "vgg19": vgg19_file(tmp_path)}
    of = f"network={name}"
    found = values(
        *map(list, zip(*pairs, strict=True)),
        f"perceptual({of})",
        f"perceptual({of}, layers=[relu1_2, relu4_1], weights=[0.5, 2])",
        f"content({of})",
        f"content({of}, layers=[relu3_1, relu1_1], weights=[3, 0.1], reduction=mean)",
        f"gram({of})",
        f"gram({of}, layers=[relu2_1, relu1_2], weights=[0.2, 3])",
        weights=weights,
    )
    for place, pair in enumerate(pairs):
        every = NETWORKS[name].layers
        maps = [dict(zip(every, plain(name, tensor(x), every), strict=True)) for x in pair]

        def over(loss: Callable[..., float], maps: Any = maps, **weights: float) -> float:
            return sum(w * loss(*(each[layer] for each in maps)) for layer, w in weights.items())

        wanted = [
            over(square, relu2_2=1),
            over(square, relu1_2=0.5, relu4_1=2),
            over(square, relu4_2=maps[0]["relu4_2"].numel() / 2),
            over(square, relu3_1=3, relu1_1=0.1),
            over(gram_by_torch, **dict.fromkeys(STYLE, 0.2)),
            over(gram_by_torch, relu2_1=0.2, relu1_2=3),
        ]
        check_close([row[place] / w for row, w in zip(found, wanted, strict=True)], [1] * 6, SINGLE)


def test_the_defaults_of_each_loss_are_those_of_the_catalogue():
    """LOSSES.md, settled points: perceptual vgg16 relu2_2, the others vgg19; lpips alex."""
    options = {
        name: lossbench.find_loss(name).options
        for name in ("perceptual", "content", "gram", "lpips")
    }
    assert [options[name]["network"].default for name in options] == [
        "vgg16",
        "vgg19",
        "vgg19",
        "alex",
    ]
    assert options["perceptual"]["layers"].default == ("relu2_2",)
    assert options["content"]["layers"].default == ("relu4_2",)
    assert options["gram"]["layers"].default == STYLE
    topology = lossbench.find_loss("topology").options
    assert topology["network"].default == "vgg19"
    assert topology["layers"].default == ("relu1_2", "relu2_2", "relu3_4")
    assert lossbench.find_loss("style").name == lossbench.find_loss("texture").name == "gram"


def lpips_by_formula(name: str, heads: Path, pred: Tensor, target: Tensor) -> float:
    """Zhang et al. 2018: images in [−1, 1], shifted and scaled, unit features, linear heads."""
    shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[:, None, None]
    ends = {"alexnet": (1, 4, 7, 9, 11), "vgg16": (3, 8, 15, 22, 29)}[name]
    weights = list(torch.load(heads, "cpu", weights_only=True).values())
    sides = [(2 * x - 1 - shift) / scale for x in (pred, target)]
    total = 0.0
    for place, part in enumerate(built(name)):
        sides = [part(x) for x in sides]
        if place in ends:
            units = [x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for x in sides]
            apart = (units[0] - units[1]) ** 2
            total += float(functional.conv2d(apart, weights[ends.index(place)]).mean())
    return total


@pytest.mark.parametrize(("network", "name"), [("alex", "alexnet"), ("vgg", "vgg16")])
def test_lpips_equals_its_formula(network, name, real):
    pred, target = pictures(2, (75, 90))
    (found,) = values([pred], [target], f"lpips(network={network})", weights=real)
    wanted = lpips_by_formula(name, real[f"lpips_{network}"], tensor(pred), tensor(target))
    check_close(found[0], wanted, SINGLE)


@pytest.mark.parametrize(("low", "published"), [(0.0, 0.3566), (-1.0, 0.3493)])
def test_lpips_gives_the_values_that_torchmetrics_documents(low, published, real):
    """The example of LearnedPerceptualImagePatchSimilarity(net_type="vgg") after
    torch.manual_seed(123): 0.3566 for torch.rand(10, 3, 100, 100) as images that reach from −1 to 1
    (0.7 to 0.9), 0.3493 for torch.rand(...)·2 − 1 (0.11). What it builds first draws random
    numbers, the layers of VGG16 and five linear heads, and so does this."""
    torch.manual_seed(123)
    vgg((2, 2, 3, 3, 3))
    for inputs, outputs in ((25088, 4096), (4096, 4096), (4096, 1000)):
        nn.Linear(inputs, outputs)
    for inputs in (64, 128, 256, 512, 512):
        nn.Conv2d(inputs, 1, 1, bias=False)
    images = [torch.rand(10, 3, 100, 100) * (1 - low) + low for _ in range(2)]
    stored = [list(((x + 1) / 2).movedim(1, -1).numpy()) for x in images]
    (found,) = values(*stored, "lpips(network=vgg)", weights=real)
    assert round(float(np.mean(found)), 4) == published


def test_lpips_equals_the_package_of_its_authors(real, monkeypatch):
    """The package with its own heads, on networks of plain torch in place of torchvision's."""
    models = types.ModuleType("torchvision.models")
    for theirs, name in (("alexnet", "alexnet"), ("vgg16", "vgg16")):
        features = types.SimpleNamespace(features=built(name))
        setattr(models, theirs, lambda features=features, **_: features)
    vision = types.ModuleType("torchvision")
    vision.models = models
    bar = types.ModuleType("tqdm")
    bar.tqdm = iter
    for name, module in (("torchvision", vision), ("torchvision.models", models), ("tqdm", bar)):
        monkeypatch.setitem(sys.modules, name, module)
    package = pytest.importorskip("lpips")
    pred, target = pictures(2, (80, 71))
    for network in ("alex", "vgg"):
        theirs = package.LPIPS(net=network, verbose=False)
        wanted = theirs(tensor(pred), tensor(target), normalize=True).item()
        (found,) = values([pred], [target], f"lpips(network={network})", weights=real)
        check_close(found[0], wanted, SINGLE)


def test_dists_gives_published_values(real, data):
    """expected.csv: the authors' values, whose script shrinks to a shorter side of 256, to 1e-3; at
    full size SOURCE.txt has values computed with numpy, of five digits."""
    root = data("iqa_piq_assets")
    wanted = {"goldhill": [0.19509, 0.34466], "I01": [0.17321]}  # at full size 0.23768
    for name, numbers in wanted.items():
        sides = (root / folder / f"{name}.png" for folder in ("images_dist", "images_ref"))
        losses = ("dists(shorter=256)", "dists")[: len(numbers)]
        for found, number, near in zip(
            values(*sides, *losses, weights=real), numbers, (1e-3, 1e-5), strict=False
        ):
            assert found[0] == pytest.approx(number, abs=near)


def topology_masks() -> tuple[np.ndarray, np.ndarray]:
    """A line, and a probability map of it with a gap."""
    target = np.zeros((32, 40), np.uint8)
    target[14:17, 4:36] = 255
    pred = np.where(target > 0, 220, 20).astype(np.uint8)
    pred[:, 18:21] = 30
    return pred, target


@pytest.mark.parametrize("name", ["vgg19", SEEDED])
def test_topology_is_the_pixel_loss_and_features_of_the_masks(name, tmp_path):
    pred, target = topology_masks()
    losses = [
        f"topology(network={name})",
        f"topology(mu=2, pixel_loss=dice, layers=[relu1_1], network={name})",
    ]
    weights = {"vgg19": vgg19_file(tmp_path)}
    result = lossbench.evaluate([pred], [target], losses, task="binary", weights=weights)
    bce = functional.binary_cross_entropy(
        tensor(pred).double()[:, 0], tensor(target).double()[:, 0]
    )
    p, y = pred / 255, target / 255
    dice = 1 - 2 * (p * y).sum() / (p.sum() + y.sum())
    layers = ("relu1_2", "relu2_2", "relu3_4", "relu1_1")
    apart = [
        square(*both)
        for both in zip(*(plain(name, tensor(x), layers) for x in (pred, target)), strict=True)
    ]
    wanted = [float(bce) + 0.1 * sum(apart[:3]), dice + 2 * apart[3]]
    check_close([result.values[loss].samples[0] for loss in losses], wanted, SINGLE)


@pytest.mark.parametrize("kind", ["gram", "features"])
def test_content_and_style_add_up(kind):
    """α·½Σ(F − P)² + β·style + γ·TV; the style may be of another size where Gram matrices judge."""
    pred, target, content = pictures(3, (40, 37))
    (style,) = pictures(1, (50, 64) if kind == "gram" else (40, 37), seed=5)
    loss = f"content_style({TINY}, alpha=0.5, beta=20, gamma=3, style={kind})"
    roles = {"style": [style], "content": [content]}
    (found,) = values([pred], [target], loss, inputs=roles)
    deep = [plain(SEEDED, tensor(x), ("relu4_2", *STYLE)) for x in (pred, content, style)]
    parts = float(((deep[0][0] - deep[1][0]).double() ** 2).sum() / 2)
    if kind == "gram":
        texture = 0.0
        for ours, theirs in zip(deep[0][1:], deep[2][1:], strict=True):
            flat = [x[0].flatten(1).double() for x in (ours, theirs)]
            grams = [x @ x.T / x.shape[1] for x in flat]  # each over its own positions
            texture += float(((grams[0] - grams[1]) ** 2).sum() / (4 * len(grams[0]) ** 2)) / 5
    else:
        texture = sum(map(square, deep[0][1:], deep[2][1:]))
    image = tensor(pred).double()
    variation = sum(float(image.diff(dim=axis).abs().sum()) for axis in (2, 3)) / image.numel()
    check_close(found[0], 0.5 * parts + 20 * texture + 3 * variation, SINGLE)
    (without,) = values(
        [pred], [target], f"content_style({TINY}, beta=0)", inputs={"style": [style]}
    )
    against_truth = plain(SEEDED, tensor(target), ["relu4_2"])[0]
    check_close(without[0], float(((deep[0][0] - against_truth).double() ** 2).sum() / 2), SINGLE)


# Losses, small cases by hand: views with maps that are written down


def maps_of(pred: Any, target: Any, share: Any = None) -> Any:
    """One layer: (M, height, width) of both images."""
    from lossbench.views.features import Features, Maps

    sides = (torch.tensor(x, dtype=torch.float32)[None] for x in (pred, target))
    counts = None if share is None else torch.tensor(share, dtype=torch.float32)[None, None]
    return Features([Maps(*sides, counts, counts)])


F = [[[1.0, 2.0]], [[0.0, 3.0]]]  # two maps of two positions: F = [[1, 2], [0, 3]]
P = [[[1.0, 0.0]], [[2.0, 1.0]]]  # P = [[1, 0], [2, 1]]


def test_small_cases_by_hand():
    """F − P = [[0, 2], [−2, 2]], Σ(F − P)² = 12. G = FFᵀ = [[5, 6], [6, 9]], A = PPᵀ = [[1, 2], [2,
    5]], G − A = [[4, 4], [4, 4]], Σ(G − A)² = 64.

    perceptual: 12/(2·2) = 3. content: ½·12 = 6, its mean 3. gram: 64/(4·2²·2²) = 1.
    """
    from lossbench.losses import deep

    both = maps_of(F, P)
    assert float(deep.perceptual(both)) == 3
    assert float(deep.perceptual(both, weights=[0.5])) == 1.5
    assert float(deep.content(both)) == 6
    assert float(deep.content(both, reduction="mean")) == 3
    assert float(deep.gram(both)) == 1
    assert float(deep.gram(both, weights=[2.0])) == 2


def test_ignored_positions_by_hand():
    """The second position counts half: Σ(F − P)² = 4 + ½·8 = 8 over 1.5 positions of 2 maps. G =
    [[1 + ½·4, ½·6], [½·6, ½·9]] = [[3, 3], [3, 4.5]], A = [[1, 2], [2, 4.5]]; (G − A)/1.5 =
    [[2, 1], [1, 0]]/1.5, Σ of squares 6/2.25, over 4·2²."""
    from lossbench.losses import deep

    both = maps_of(F, P, [[1.0, 0.5]])
    assert float(deep.perceptual(both)) == pytest.approx(8 / 3)
    assert float(deep.content(both)) == 4
    assert float(deep.gram(both)) == pytest.approx(6 / 2.25 / 16)
    nothing = maps_of(F, P, [[0.0, 0.0]])
    assert all(math.isnan(loss(nothing)) for loss in (deep.perceptual, deep.content, deep.gram))


def test_lpips_and_dists_by_hand():
    """LPIPS: units of (3, 4) and (4, 3) are (.6, .8) and (.8, .6), apart (.04, .04); with heads 1
    and 2 that is .12. DISTS: maps [1, 3] and [2, 2] have means 2 and 2, variances 1 and 0, and
    covariance 0: (8 + c)/(8 + c) = 1 and c/(1 + c) ≈ 1e-6; with α = 3, β = 1 that is 1 −
    (3 + 1e-6)/4."""
    from lossbench.losses import deep
    from lossbench.views.features import Calibrated, Textures

    (both,) = maps_of([[[3.0]], [[4.0]]], [[[4.0]], [[3.0]]]).layers
    assert float(deep.lpips(Calibrated([(both, torch.tensor([1.0, 2.0]))]))) == pytest.approx(0.12)
    (both,) = maps_of([[[1.0, 3.0]]], [[[2.0, 2.0]]]).layers
    alpha, beta = torch.tensor([3.0]), torch.tensor([1.0])
    found = float(deep.dists(Textures([(both, alpha, beta)])))
    assert found == pytest.approx(1 - (3 + 1e-6) / 4, abs=1e-8)


# Identities

EVERY = [f"{name}({TINY})" for name in ("perceptual", "content", "gram", "lpips", "dists")]


def test_an_image_is_at_no_distance_from_itself():
    images = pictures(2, (45, 38))
    found = values(images, images, *EVERY)
    check_close(found[:4], np.zeros((4, 2)), 0)
    check_close(found[4], [0, 0], 1e-7)  # 1 − Σ, of float32 parameters
    assert all(min(row) > 0 for row in values(images, images[::-1], *EVERY))


def test_gram_does_not_mind_a_cyclic_shift():
    """A pattern on the mean colour of ImageNet, which normalised is the 0 that convolutions pad
    with: the picture goes on beyond its edges as if it were periodic. Shifts are multiples of 16,
    so that poolings take the same squares, and keep the pattern further off the edges than relu3_1
    reaches."""
    target = np.tile(MEAN.numpy().astype(np.float64), (160, 160, 1))
    target[56:88, 56:88] = np.random.default_rng(0).random((32, 32, 3))
    pred = np.roll(target, (32, -16), (0, 1))
    layers = "layers=[relu1_1, relu2_1, relu3_1]"
    gram, perceptual = values(
        [pred], [target], f"gram({TINY}, {layers})", f"perceptual({TINY}, {layers})"
    )
    other = values([np.clip(target * 1.1, 0, 1)], [target], f"gram({TINY}, {layers})")[0]
    assert gram[0] <= 1e-12 < 1e-9 < other[0]
    assert perceptual[0] > 1e-4


def test_grey_is_the_same_grey_in_three_channels():
    grey = [each[..., 0] for each in pictures()]
    colour = [np.repeat(each[..., None], 3, -1) for each in grey]
    check_close(*(values(x[:1], x[1:], *EVERY) for x in (grey, colour)), 0)


def test_ignored_pixels_add_nothing_of_their_own():
    """Other colours where pixels are ignored change nothing, others elsewhere do."""
    pred, target = pictures(2, (48, 48))
    valid = np.ones((48, 48), np.uint8)
    valid[:16, 16:] = 0
    strange = pred.copy()
    strange[valid == 0] = 255 - strange[valid == 0]
    how = {"inputs": {"valid": [valid]}}
    found = values([pred], [target], *EVERY, **how)
    check_close(values([strange], [target], *EVERY, **how), found, 0)
    assert values([pred], [target], *EVERY) != found
    result = lossbench.evaluate(
        [pred], [target], EVERY, task="image", inputs={"valid": [0 * valid]}
    )
    assert all(math.isnan(result.values[loss].samples[0]) for loss in EVERY)


# Training


@pytest.mark.parametrize("name", ["perceptual", "content", "gram", "lpips", "dists"])
def test_training_and_evaluation_give_one_number(name):
    pairs = [pictures(2, (40, 37), seed) for seed in range(3)]
    pred, target = (torch.cat([tensor(pair[side]) for pair in pairs]) for side in (0, 1))
    found = lossbench.loss(name)(pred, target, encoding="image", network=SEEDED)
    (wanted,) = values(*map(list, zip(*pairs, strict=True)), f"{name}({TINY})")
    assert found.dtype == torch.float32
    check_close(found / torch.tensor(wanted), np.ones(3), SINGLE)


@pytest.mark.parametrize("name", ["perceptual", "content", "gram", "lpips", "dists"])
def test_gradients_are_those_of_finite_differences(name):
    target = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    pred = (target * 0.7 + 0.2).requires_grad_()
    loss = lossbench.loss(name)
    options = {} if name in ("lpips", "dists") else {"layers": ["relu1_2", "relu2_1"]}

    def value(x: Tensor) -> Tensor:
        return loss(x, target, encoding="image", network=SEEDED, **options)

    assert torch.autograd.gradcheck(value, pred, fast_mode=True)
    same = target.clone().requires_grad_()
    value(same).sum().backward()
    assert same.grad is not None
    assert same.grad.isfinite().all()


def test_a_style_can_be_trained_towards():
    pred, target, style = (tensor(x) for x in pictures(3))
    loss = lossbench.loss("content_style")
    found = loss(pred, target, encoding="image", network=SEEDED, style=style, alpha=0)
    (wanted,) = values([pictures(3)[0]], [pictures(3)[2]], f"gram({TINY})")
    check_close(float(found) / (1e3 * wanted[0]), 1, SINGLE)
    with pytest.raises(lossbench.SettingError, match="asks for no input 'stile'"):
        loss(pred, target, encoding="image", network=SEEDED, style=style, stile=style)
    with pytest.raises(lossbench.SettingError, match="gram needs the role style"):
        loss(pred, target, encoding="image", network=SEEDED)


# A run: sizes, memory, bits


def sized_pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    sizes = [(40, 36), (33, 50), (40, 36), (64, 32), (33, 50), (40, 36)]
    return [tuple(pictures(2, size, seed)) for seed, size in enumerate(sizes)]


def test_neither_workers_nor_batches_nor_neighbours_change_a_bit():
    pairs = sized_pairs()
    sides = list(map(list, zip(*pairs, strict=True)))
    losses = [*EVERY, "l1"]
    wanted = values(*sides, *losses, workers=1)
    for workers, batch in ((2, 128), (3, 1)):
        assert values(*sides, *losses, workers=workers, batch_size=batch) == wanted
    alone = [values([pred], [target], *losses) for pred, target in pairs]
    assert [
        list(row) for row in zip(*([v[0] for v in each] for each in alone), strict=True)
    ] == wanted


def test_images_of_one_size_go_through_a_network_together(monkeypatch):
    """As on a GPU: chunks of several pairs, of which a batch takes four of one size."""
    pairs = sized_pairs()
    sides = list(map(list, zip(*pairs, strict=True)))
    wanted = values(*sides, *EVERY, "l1")
    seen: list[tuple[int, ...]] = []
    real_maps = Networks.maps

    def watched(self: Networks, images: Tensor, *how: Any) -> Any:
        seen.append(tuple(images.shape))
        return real_maps(self, images, *how)

    monkeypatch.setattr(Networks, "maps", watched)
    monkeypatch.setattr(Networks, "_batch_size", lambda *_: 4)
    monkeypatch.setattr(pipeline.Pipeline, "_pixel_pairs", lambda self: 6)
    monkeypatch.setattr(batching, "fair_share", lambda left, workers: left)
    found = values(*sides, *EVERY, "l1")
    assert {shape[0] for shape in seen} == {
        1,
        2,
        3,
    }  # three pairs of a size, in turn pred and target
    scale = np.abs(wanted) + 1e-12
    check_close(np.array(found) / scale, np.array(wanted) / scale, SINGLE)


def test_a_batch_that_memory_cannot_hold_is_halved(monkeypatch):
    """A device on which three images are too many: five go as 2, 2, 1."""
    network = Networks()
    tried: list[int] = []
    real_maps = network.maps

    def small(images: Tensor, *how: Any) -> Any:
        tried.append(len(images))
        if len(images) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return real_maps(images, *how)

    images = [tensor(each) for each in pictures(5)]
    layers = ("relu1_1", "relu2_1")
    wanted = [network.maps(image, extractor.Recipe(SEEDED), layers) for image in images]
    monkeypatch.setattr(network, "maps", small)
    monkeypatch.setattr(network, "_batch_size", lambda *_: 5)
    found = network.each(images, extractor.Recipe(SEEDED), layers)
    assert tried == [5, 2, 2, 1]
    for each, other in zip(found, wanted, strict=True):
        for layer in layers:
            check_close(each[layer], other[layer], SINGLE)


def test_samples_that_memory_cannot_hold_together_come_alone(monkeypatch):
    """Losses of several samples at once exceed a device's memory; each by itself does not."""
    sides = list(map(list, zip(*sized_pairs(), strict=True)))
    wanted = values(*sides, EVERY[0], "l1")
    sizes: list[int] = []
    of = feature_batches.Extraction.of

    def narrow(self: feature_batches.Extraction, samples: Any) -> Any:
        sizes.append(len(samples))
        if len(samples) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return of(self, samples)

    monkeypatch.setattr(feature_batches.Extraction, "of", narrow)
    monkeypatch.setattr(pipeline.Pipeline, "_pixel_pairs", lambda self: 6)
    monkeypatch.setattr(batching, "fair_share", lambda left, workers: left)
    assert values(*sides, EVERY[0], "l1") == wanted
    assert sizes == [6, 1, 1, 1, 1, 1, 1]


def test_convolutions_of_a_gpu_are_exact_during_a_run_alone():
    flags = torch.backends.cudnn
    before = flags.allow_tf32, flags.benchmark, flags.deterministic
    with device.one_thread():
        assert (flags.allow_tf32, flags.benchmark, flags.deterministic) == (False, False, True)
    assert (flags.allow_tf32, flags.benchmark, flags.deterministic) == before


def test_an_image_that_memory_cannot_hold_is_one_error(monkeypatch):
    def never(self: Networks, images: Tensor, *how: Any) -> Any:
        if images.shape[2] > 50:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 1 byte")
        return real_maps(self, images, *how)

    real_maps = Networks.maps
    monkeypatch.setattr(Networks, "maps", never)
    pairs = sized_pairs()
    result = lossbench.evaluate(*map(list, zip(*pairs, strict=True)), EVERY[0], task="image")
    assert len(result.ids) == 5
    assert "is 32×64, too large for the memory of cpu" in result.failed[0].message


def test_threads_wait_for_memory_and_one_alone_always_goes():
    room = feature_batches.Room(10.0)
    with room.reserved(25):
        assert room.taken == 25
    order: list[str] = []
    from threading import Thread

    def other() -> None:
        with room.reserved(6):
            order.append("other")

    with room.reserved(6):
        thread = Thread(target=other)
        thread.start()
        thread.join(0.2)
        assert order == []  # 12 are more than 10
        order.append("first")
    thread.join(5)
    assert order == ["first", "other"]
    assert room.taken == 0


@pytest.mark.parametrize(
    ("pred", "loss", "words"),
    [
        (np.full((8, 8, 3), 0.5), f"content({TINY}, layers=[relu5_1])", "is 8×8, too small"),
        (np.full((20, 20, 3), 1.5), f"perceptual({TINY})", "goes from 1.5 to 1.5; deep"),
        (np.full((20, 20, 2), 0.5), f"perceptual({TINY})", "has 2 channels; deep"),
        (np.full((2, 20, 20, 3), 0.5), f"perceptual({TINY})", "features need grey or RGB"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_an_error_of_that_sample(pred, loss, words):
    good = np.full(pred.shape, 0.5)
    result = lossbench.evaluate([pred], [good], loss, task="image")
    assert words in result.failed[0].message
    assert result.exit_status == 3


def test_a_ground_truth_that_is_no_picture_is_named(folder):
    good, bad = np.full((20, 20, 3), 0.5), np.full((20, 20, 3), -1.0)
    pred, target = folder("pred", {"a.npy": good}), folder("gt", {"a.npy": bad})
    result = lossbench.evaluate(pred, target, f"perceptual({TINY})", task="image")
    assert result.failed[0].message.startswith(str(target / "a.npy"))


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("perceptual(layers=[relu3_4])", "vgg16 has no layer 'relu3_4' (did you mean 'relu3_3'?)"),
        ("perceptual(layers=[])", "layers is empty"),
        (
            "gram(layers=[relu1_1, relu2_1], weights=[1])",
            "weights has 1 numbers, layers has 2 names",
        ),
        (
            "perceptual(network=vgg11)",
            "network is vgg16, vgg19, alexnet, squeezenet or tiny_seeded",
        ),
        ("perceptual(layers=relu1_1)", "layers is a list of words, not 'relu1_1'"),
        ("lpips(network=vgg16)", "network is alex, vgg, squeeze or tiny_seeded"),
        (f"gram({TINY}, against=style)", "gram needs the role style: --input style=DIR"),
        (f"dice + perceptual({TINY})", "dice has no meaning on an image task"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_read(loss, words):
    images = pictures()
    with pytest.raises(lossbench.SettingError) as told:
        lossbench.plan(images, images, loss, task="image")
    assert words in str(told.value)


def test_a_role_that_nothing_compares_with_is_refused():
    images = pictures()
    with pytest.raises(lossbench.SettingError, match="no loss of this run uses the role style"):
        lossbench.plan(images, images, f"gram({TINY})", task="image", inputs={"style": images})


def test_a_result_says_which_weights_it_used(real):
    images = pictures(2, (70, 70))
    how = {"task": "image", "weights": real}
    result = lossbench.evaluate(images, images[::-1], ["lpips", f"perceptual({TINY})"], **how)
    sums = dict(line.split()[::-1] for line in (WEIGHTS / "SHA256SUMS").read_text().splitlines())
    assert result.run["weights"] == {
        "alexnet": sums[f"./{FILES['alexnet'].name}"],
        "lpips_alex": sums["./lpips_heads_v0.1/alex.pth"],
        SEEDED: "random",
    }
    json.dumps(result.as_json())
    assert "weights" not in lossbench.evaluate(images, images, "l1", task="image").run


def test_the_sample_pictures_are_pictures(tmp_path):
    """16 bits, palettes and grey with alpha are read as for every other loss."""
    deep = pictures(1, (40, 40))[0][..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "a.png")
    Image.fromarray((deep // 257).astype(np.uint8)).save(tmp_path / "b.png")
    (found,) = values(tmp_path / "a.png", tmp_path / "b.png", f"perceptual({TINY})")
    assert found == [0.0]
