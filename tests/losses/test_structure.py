"""Losses that look at positions, against scikit-image, MONAI, torchmetrics and plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from helpers.option_values import ENTRIES
from helpers.parity import parity
from helpers.tolerances import REFERENCE, SINGLE, TABLES, check_close
from skimage.metrics import structural_similarity
from torchmetrics.functional import image as torchmetrics

import lossbench

MultiScaleSSIMMetric = parity("monai.metrics", "MultiScaleSSIMMetric")
Images = tuple[np.ndarray, np.ndarray]  # (C, H, W), in [0, 1]


class Row(NamedTuple):
    """A loss with options, what it gives for two images and the pixels that count, who says so."""

    options: str
    reference: Callable[..., float]
    source: str


def ssim_by_skimage(pred: np.ndarray, target: np.ndarray, valid: np.ndarray, **how: Any) -> float:
    """The mean over channels; scikit-image cuts its reflected border off again."""
    how = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 1.0} | how
    return float(
        np.mean([structural_similarity(t, p, **how) for p, t in zip(pred, target, strict=True)])
    )


def ssim_by_loops(
    pred: np.ndarray, target: np.ndarray, valid: np.ndarray, width: int = 5, sigma: float = 0.7
) -> float:
    """Wang et al. 2004, one window after another, those with an ignored pixel left out."""
    places = np.arange(width) - (width - 1) / 2
    line = np.exp(-((places / sigma) ** 2) / 2)
    kernel = np.outer(line, line) / line.sum() ** 2
    channels = []
    for p, t in zip(pred, target, strict=True):
        found = []
        for row in range(p.shape[0] - width + 1):
            for column in range(p.shape[1] - width + 1):
                cut = slice(row, row + width), slice(column, column + width)
                if not valid[cut].all():
                    continue
                a, b = p[cut], t[cut]
                mean_a, mean_b = (kernel * a).sum(), (kernel * b).sum()
                var_a = (kernel * (a - mean_a) ** 2).sum()
                var_b = (kernel * (b - mean_b) ** 2).sum()
                both = (kernel * (a - mean_a) * (b - mean_b)).sum()
                light = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
                found.append(light * (2 * both + 9e-4) / (var_a + var_b + 9e-4))
        channels.append(np.mean(found) if found else math.nan)
    return float(np.nanmean(channels)) if not np.isnan(channels).all() else math.nan


def differences(image: np.ndarray, valid: np.ndarray) -> list[np.ndarray]:
    """Forward differences down and across, 0 in the last place and at ignored pixels."""
    found = []
    for axis in (1, 2):
        step = np.diff(image, axis=axis, append=np.take(image, [-1], axis))
        here = np.diff(valid.astype(int), axis=axis - 1, append=np.take(valid, [-1], axis - 1))
        found.append(np.where((here == 0) & valid, step, 0))
    return found


def variation(
    pred: np.ndarray, target: np.ndarray, valid: np.ndarray, mean: bool = True, norm: bool = False
) -> float:
    down, across = differences(pred, valid)
    each = np.hypot(down, across) if norm else abs(down) + abs(across)
    count = valid.sum() * len(pred)
    return each.sum() / (count if mean else 1) if count else math.nan


def variation_by_torchmetrics(pred: np.ndarray, target: np.ndarray, valid: np.ndarray) -> float:
    return float(torchmetrics.total_variation(torch.tensor(pred)[None])) / pred.size


def tv_difference(pred: np.ndarray, target: np.ndarray, valid: np.ndarray, **how: Any) -> float:
    return abs(variation(pred, target, valid, **how) - variation(target, pred, valid, **how))


def gradient_l1(
    pred: np.ndarray, target: np.ndarray, valid: np.ndarray, mean: bool = True
) -> float:
    """Pairs of neighbours, one after another."""
    apart, total, count = pred - target, 0.0, 0
    height, width = valid.shape
    for row in range(height):
        for column in range(width):
            for to in ((row + 1, column), (row, column + 1)):
                if to[0] < height and to[1] < width and valid[row, column] and valid[to]:
                    total += abs(apart[(slice(None), *to)] - apart[:, row, column]).sum()
                    count += len(pred)
    return total / (count if mean else 1) if count else math.nan


def ssim_by_torchmetrics(pred: np.ndarray, target: np.ndarray, valid: np.ndarray) -> float:
    """Windows over a reflected border."""
    sides = [torch.tensor(x)[None] for x in (pred, target)]
    return float(torchmetrics.structural_similarity_index_measure(*sides, data_range=1.0))


def variation_of_means(pred: np.ndarray, target: np.ndarray, valid: np.ndarray) -> float:
    """The mean of each direction by itself, added."""
    return sum(float(np.abs(np.diff(pred, axis=axis)).mean()) for axis in (1, 2))


def half(reference: Callable[..., float]) -> Callable[..., float]:
    return lambda *images: reference(*images) / 2


def one_minus(reference: Callable[..., float], **how: Any) -> Callable[..., float]:
    return lambda *images: 1 - reference(*images, **how)


SKIMAGE = partial(ssim_by_skimage, sigma=1.5)
NARROW = "window=5, sigma=0.7"
WHOLE: dict[str, list[Row]] = {
    "ssim": [
        Row("", SKIMAGE, "scikit-image"),
        Row(NARROW, partial(ssim_by_skimage, sigma=0.7), "scikit-image"),
        Row("border=reflect", ssim_by_torchmetrics, "torchmetrics"),
        Row("precision=double", SKIMAGE, "scikit-image"),
        Row("data_range=2, k1=0.02, k2=0.05",
            partial(SKIMAGE, data_range=2.0, K1=0.02, K2=0.05), "scikit-image"),
    ],
    "ssim_loss": [
        Row("", one_minus(SKIMAGE), "scikit-image"),
        Row("window=5, sigma=0.7, data_range=2, k1=0.02, k2=0.05",
            one_minus(ssim_by_skimage, sigma=0.7, data_range=2.0, K1=0.02, K2=0.05),
            "scikit-image"),
        Row("half=true", half(one_minus(SKIMAGE)), "kornia's half of scikit-image"),
        Row("border=reflect", one_minus(ssim_by_torchmetrics), "torchmetrics"),
        Row("precision=double", one_minus(SKIMAGE), "scikit-image"),
    ],
    "total_variation": [
        Row("", variation_by_torchmetrics, "torchmetrics, divided by C·H·W"),
        Row("over=all", variation_by_torchmetrics, "torchmetrics, divided by C·H·W"),
        Row("apart=true", variation_of_means, "kornia's two means"),
    ],
}  # fmt: skip
PARTLY: dict[str, list[Row]] = {
    "ssim": [Row(NARROW, ssim_by_loops, "loops")],
    "ssim_loss": [Row(NARROW, one_minus(ssim_by_loops), "loops")],
    "total_variation": [
        Row("", variation, "numpy"),
        Row("isotropic=true", partial(variation, norm=True), "numpy"),
        Row("reduction=sum", partial(variation, mean=False), "numpy"),
    ],
    "tv_difference": [
        Row("", tv_difference, "numpy"),
        Row("isotropic=true", partial(tv_difference, norm=True), "numpy"),
        Row("reduction=sum", partial(tv_difference, mean=False), "numpy"),
    ],
    "gradient_l1": [
        Row("", gradient_l1, "loops"),
        Row("reduction=sum", partial(gradient_l1, mean=False), "loops"),
    ],
}


def drawn(channels: int, size: tuple[int, int], seed: int = 0) -> Images:
    """A smooth 8-bit image and a noisy one, (C, H, W)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    waves = [np.sin(rows / (3 + c)) + np.cos(columns / (5 + c)) for c in range(channels)]
    target = np.round(60 * np.stack(waves) + 127)
    pred = np.clip(target + rng.normal(0, 25, target.shape), 0, 255)
    return pred.astype(np.uint8), target.astype(np.uint8)


OWN = {name for name, entry in ENTRIES.items() if entry.family == "structure"}
KINDS = [("image", 1), ("image", 3), ("binary", 1), ("multilabel", 3)]


def stored(task: str, images: Images) -> tuple[list[Any], dict[str, Any]]:
    """Two images as a task reads them, and its settings."""
    if task == "image":
        sides = [np.moveaxis(x, 0, -1) if len(x) > 1 else x[0] for x in images]
        return sides, {"task": task}
    read = {"task": task, "pred_encoding": "probability", "gt_encoding": "probability"}
    return [x[0] if task == "binary" else x for x in images], read


def typed(name: str, row: Row) -> str:
    return f"{name}({row.options})" if row.options else name


def check(rows: dict[str, list[Row]], task: str, images: Images, valid: np.ndarray | None) -> None:
    (pred, target), how = stored(task, images)
    losses = [typed(name, each) for name in rows for each in rows[name]]
    if valid is not None:
        how["inputs"] = {"valid": [valid]}
    result = lossbench.evaluate([pred], [target], losses, **how)
    assert not result.failed
    counts = np.ones(images[0].shape[1:], bool) if valid is None else valid
    for name in rows:
        for row in rows[name]:
            wanted = row.reference(*(x / 255 for x in images), counts)
            found = result.values[typed(name, row)].samples[0]
            check_close(found, wanted, REFERENCE, (name, row.options, row.source))


@pytest.mark.parametrize(("task", "channels"), KINDS)
@pytest.mark.parametrize("size", [(24, 31), (11, 11), (40, 12)])
def test_whole_images(task, channels, size):
    check(WHOLE, task, drawn(channels, size), None)


@pytest.mark.parametrize("strip", [1, 700])
def test_whole_images_in_several_strips(strip, monkeypatch):
    monkeypatch.setattr("lossbench.losses.structure.CPU_STRIP", strip)
    check(WHOLE, "image", drawn(3, (52, 31)), None)


@pytest.mark.parametrize(("task", "channels"), KINDS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
def test_images_with_ignored_pixels(task, channels, share):
    valid = np.random.default_rng(1).random((13, 16)) >= share
    check(PARTLY, task, drawn(channels, (13, 16)), valid)


FULL = {8: 255, 16: 65535}
DIFFICULT: dict[str, tuple[int, Callable[[np.random.Generator], np.ndarray]]] = {
    "flat and bright": (8, lambda draw: np.full((40, 60), draw.integers(250, 256))),
    "flat and dark": (8, lambda draw: np.full((40, 60), draw.integers(0, 5))),
    "16 bits, nearly flat and bright": (16, lambda draw: 65535 - draw.integers(0, 4, (40, 60))),
    "16 bits, nearly flat and dark": (16, lambda draw: draw.integers(0, 4, (40, 60))),
    "16 bits, a ramp": (16, lambda draw: np.linspace(0, 65535, 60) * draw.random((40, 1))),
    "16 bits, noise": (16, lambda draw: draw.integers(0, 65536, (40, 60))),
    "plateaus": (8, lambda draw: np.kron(draw.integers(0, 256, (4, 6)), np.ones((10, 10)))),
}


@pytest.mark.parametrize("name", DIFFICULT)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("precision", ["fast", "double"])
def test_images_whose_variances_nearly_cancel_equal_scikit_image(name, seed, precision):
    bits, draw = DIFFICULT[name]
    generator = np.random.default_rng(seed)
    sides = [draw(generator).astype(f"uint{bits}") for _ in range(2)]
    wanted = ssim_by_skimage(*(x[None] / FULL[bits] for x in sides), None, sigma=1.5)
    loss = f"ssim(precision={precision})"
    scales = {"pred_scale": FULL[bits], "gt_scale": FULL[bits]}
    result = lossbench.evaluate(*([x] for x in sides), loss, task="image", **scales)
    check_close(result.values[loss].samples[0], wanted, 1e-9, (name, precision))


@pytest.mark.parametrize("shape", [(3, 70, 45), (1, 11, 200), (2, 177, 190), (1, 20, 13, 34)])
@pytest.mark.parametrize(
    "loss",
    [
        "ssim",
        "ssim(window=3, sigma=0.5)",
        "ssim(border=reflect)",
        "ssim(window=8)",
        "ms_ssim(window=1)",
        "ms_ssim",
    ],
)
@pytest.mark.parametrize("share", [0.0, 0.001])
def test_fast_sums_equal_those_of_one_pixel_after_another(shape, loss, share):
    draw = np.random.default_rng(len(loss))
    target, noise = draw.random((2, *shape))
    pred = 0.8 * target + 0.2 * noise
    valid = draw.random(shape[1:]) >= share
    how = {"task": "multilabel", "pred_encoding": "probability", "gt_encoding": "probability"}
    open_call = loss.replace(")", ", ") if "(" in loss else f"{loss}("
    names = [f"{open_call}precision={each})" for each in ("fast", "double")]
    result = lossbench.evaluate([pred], [target], names, inputs={"valid": [valid]}, **how)
    fast, double = (result.values[name].samples for name in names)
    check_close(fast, double, TABLES)


def test_every_loss_and_option_has_a_reference():
    rows = {name: [*WHOLE.get(name, []), *PARTLY.get(name, [])] for name in OWN}
    common = {"reduction", "over", "class_reduction", "class_weights", "background", "empty"}
    for name in OWN - {"ms_ssim"}:  # which has a test of its own
        tried = " ".join(row.options for row in rows[name])
        own = {option.name for option in ENTRIES[name].options.values() if option.owner == name}
        assert all(f"{option}=" in tried for option in own - common), name


@pytest.mark.parametrize("size", [(176, 190), (200, 177)])
def test_five_scales_equal_monai(size):
    """Each channel alone: MONAI averages channels before it takes powers."""
    pred, target = drawn(3, size)
    name = "ms_ssim(data_range=2, k1=0.02, k2=0.05)"
    sides = [np.moveaxis(x, 0, -1) for x in (pred, target)]
    result = lossbench.evaluate(*([x] for x in sides), ["ms_ssim", name], task="image")
    for loss, how in (("ms_ssim", {}), (name, {"data_range": 2.0, "k1": 0.02, "k2": 0.05})):
        monai = MultiScaleSSIMMetric(spatial_dims=2, **{"data_range": 1.0} | how)
        wanted = [
            float(monai(*(torch.tensor(x[c][None, None] / 255) for x in (pred, target))))
            for c in range(3)
        ]
        check_close(result.values[loss].samples[0], np.mean(wanted), SINGLE, loss)


def test_a_narrow_window_needs_a_smaller_image():
    pred, target = drawn(1, (50, 48))
    result = lossbench.evaluate(
        [pred[0]], [target[0]], "ms_ssim(window=3, sigma=0.5)", task="image"
    )
    monai = MultiScaleSSIMMetric(spatial_dims=2, data_range=1.0, kernel_size=3, kernel_sigma=0.5)
    wanted = float(monai(*(torch.tensor(x[None] / 255) for x in (pred, target))))
    check_close(result.values["ms_ssim(window=3, sigma=0.5)"].samples[0], wanted, SINGLE)


def test_opposite_images_have_no_similarity_at_five_scales():
    """Negative contrast counts as 0."""
    pred, _ = drawn(1, (176, 176))
    result = lossbench.evaluate([255 - pred[0]], [pred[0]], "ms_ssim", task="image")
    assert result.values["ms_ssim"].samples[0] == 0


def test_identical_images_are_perfect():
    image = drawn(3, (180, 180))[0]
    picture = [np.moveaxis(image, 0, -1)]
    losses = ["ssim", "ms_ssim", "ssim_loss", "gradient_l1", "tv_difference", "psnr"]
    found = lossbench.evaluate(picture, picture, losses, task="image").values
    values = [found[name].samples[0] for name in losses]
    check_close(values, [1, 1, 0, 0, 0, math.inf], 1e-12)


def test_too_small_an_image_is_an_error_of_its_own():
    small, large = (np.zeros((size, size), np.uint8) for size in (8, 16))
    pairs = {"a": small, "b": large}
    result = lossbench.evaluate(pairs, pairs, ["ssim", "l1"], task="image")
    assert result.ids == ["a", "b"]  # the first with l1 alone
    assert "needs 11 pixels" in result.failed[0].message
    assert result.exit_status == 3


def test_label_maps_and_pixels_are_evaluated_side_by_side():
    """What looks at positions takes the pixels, the others their counts, with the same bits."""
    labels = np.random.default_rng(0).integers(0, 3, (2, 20, 20)).astype(np.uint8)
    pred, target = [labels[0]], [labels[1]]
    how = {"task": "multiclass", "classes": 3}
    both = lossbench.evaluate(pred, target, ["dice", "total_variation", "iou"], **how)
    alone = lossbench.evaluate(pred, target, ["dice", "iou"], **how)
    for name in ("dice", "iou"):
        assert repr(both.values[name]) == repr(alone.values[name])
    planes = np.float64(labels[0] == np.arange(3)[:, None, None])
    wanted = variation(planes, planes, np.ones((20, 20), bool))
    check_close(both.values["total_variation"].samples[0], wanted, REFERENCE)
    check_close(both.values["total_variation"].pooled, wanted, REFERENCE)
