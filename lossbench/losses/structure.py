"""Losses of images in which position matters: structure, edges, variation.

Args:
    window: width of a window in pixels.
    sigma: standard deviation of the Gaussian in pixels.
    data_range: largest minus smallest possible value of an image; 1 for 8-bit images.
    k1: stabilises the luminance term in dark windows.
    k2: stabilises the contrast term in flat windows.
    isotropic: use the Euclidean norm of both differences instead of their sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lossbench.errors import InputError, sized
from lossbench.interface.annotations import (
    Count,
    Image,
    PerClass,
    PerPixel,
    PerSample,
    Positive,
    Valid,
)
from lossbench.interface.stable_math import power, ratio, root
from lossbench.losses import loss

# Facts of every loss of this module that does not state others.
SHARED_FACTS = {"tasks": ["binary", "multiclass", "multilabel", "image"]}

# Pixels per strip: intermediate results fit into a CPU's cache, or into a GPU's memory.
CPU_STRIP, GPU_STRIP = 1 << 14, 1 << 22
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003


class Similarity(NamedTuple):
    """Structural similarity of every window, and its contrast-structure factor."""

    whole: Tensor
    contrast: Tensor


def similarity(
    pred: Tensor, target: Tensor, window: int, sigma: float, data_range: float, k1: float, k2: float
) -> Similarity:
    """Structural similarity of the windows that lie entirely inside the image."""
    offsets = torch.arange(window, dtype=pred.dtype, device=pred.device) - (window - 1) / 2
    weights = torch.exp(-((offsets / sigma) ** 2) / 2)
    kernel = (weights / weights.sum()).tolist()
    c1, c2 = (k1 * data_range) ** 2, (k2 * data_range) ** 2

    def of_strip(pred: Tensor, target: Tensor) -> Similarity:
        moments = torch.stack([pred, target, pred * pred, target * target, pred * target])
        pred_mean, target_mean, pred_square, target_square, product = filtered(moments, kernel, 3)
        pred_mean_square, target_mean_square = pred_mean * pred_mean, target_mean * target_mean
        means = pred_mean * target_mean
        variances = (pred_square - pred_mean_square) + (target_square - target_mean_square)
        contrast = (2 * (product - means) + c2) / (variances + c2)
        luminance = (2 * means + c1) / (pred_mean_square + target_mean_square + c1)
        return Similarity(luminance * contrast, contrast)

    channels, size = (1, CPU_STRIP) if pred.device.type == "cpu" else (pred.shape[1], GPU_STRIP)
    groups = zip(pred.split(channels, 1), target.split(channels, 1), strict=True)
    return joined(
        (
            joined((of_strip(*strip) for strip in strips(*group, window, size)), 2)
            for group in groups
        ),
        1,
    )


def joined(parts: Iterable[Similarity], axis: int) -> Similarity:
    """Concatenate the windows of parts of an image."""
    return Similarity(*(torch.cat(fields, axis) for fields in zip(*parts, strict=True)))


def strips(pred: Tensor, target: Tensor, window: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut images (B, C, *space) into strips along the first spatial axis.

    The windows that start in a strip start at about `size` pixels, in at least `window` rows. A
    strip includes all rows that its windows reach, so consecutive strips overlap.
    """
    length = pred.shape[2]
    starts = length - window + 1
    step = max(window, size * length // pred.numel())
    for start in range(0, starts, step):
        rows = slice(start, min(start + step, starts) + window - 1)
        yield pred[:, :, rows], target[:, :, rows]


def filtered(image: Tensor, kernel: Sequence[float], first: int = 2) -> Tensor:
    """Separable filter, without padding, along all axes from the first one on."""
    for axis in range(first, image.ndim):
        size = image.shape[axis] - len(kernel) + 1
        result = kernel[0] * image.narrow(axis, 0, size)
        for offset, weight in enumerate(kernel[1:], 1):
            result.add_(image.narrow(axis, offset, size), alpha=weight)
        image = result
    return image


def reflected(image: Tensor, window: int) -> Tensor:
    """Pad an image (B, C, *space) by reflection, so that every pixel has a window."""
    for axis in range(2, image.ndim):
        last = image.shape[axis] - 1
        indices = torch.arange(-((window - 1) // 2), last + 1 + window // 2, device=image.device)
        image = image.index_select(axis, last - (last - indices.abs()).abs())
    return image


def valid_windows(valid: Tensor, window: int) -> Tensor:
    """Whether each window is free of ignored pixels."""
    if bool(valid.all()):
        return torch.ones((), dtype=torch.bool, device=valid.device)
    return filtered((~valid).double(), [1.0] * window) == 0


def mean_of_windows(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over the valid windows, (B, C)."""
    weight = valid.expand_as(values).to(values)
    return ratio((values * weight).flatten(2).sum(-1), weight.flatten(2).sum(-1))


def check_size(image: Tensor, required: int, loss: str) -> None:
    """Raise an error if an image is smaller than a loss requires."""
    if min(image.shape[2:]) < required:
        raise InputError(
            f"is {sized(image.shape[2:])}; {loss} needs {required} pixels along every axis",
            kind="size",
        )


@loss(
    use="restoration judged by structure, closer to perception than psnr",
    better="higher",
    range=(-1, 1),
    sources=["Wang et al. 2004", "skimage.metrics.structural_similarity"],
    example="ssim(data_range=1)",
    tasks=["image", "binary", "multiclass", "multilabel"],
)
def ssim(
    pred: Image,
    target: Image,
    valid: Valid,
    *,
    window: Count = 11,
    sigma: Positive = 1.5,
    data_range: Positive = 1.0,
    k1: Positive = 0.01,
    k2: Positive = 0.03,
    border: Literal["inside", "reflect"] = "inside",
) -> PerClass:
    """Structural similarity index.

    mean of (2·μp·μy + c₁)(2·σpy + c₂) / ((μp² + μy² + c₁)(σp² + σy² + c₂)) over all windows inside
    the image, with Gaussian-weighted μ and σ, c₁ = (k₁·range)², c₂ = (k₂·range)², for each channel
    separately.

    Args:
        border: inside uses the windows that lie inside the image; reflect uses one window per
            pixel and pads the image by reflection.

    Returns:
        Similarity per sample and channel, (B, C), in [−1, 1]; undefined where no window is fully
        valid. An image smaller than a window is an error.

    Note:
        Agrees with skimage's gaussian_weights=True, sigma=1.5, use_sample_covariance=False. piq
        shrinks large images first.
    """
    required = window if border == "inside" else window // 2 + 1
    check_size(pred, required, f"ssim(window={window})")
    if border == "reflect":
        pred, target = reflected(pred, window), reflected(target, window)
        valid = reflected(valid, window)
    windows = similarity(pred, target, window, sigma, data_range, k1, k2)
    return mean_of_windows(windows.whole, valid_windows(valid, window))


@loss(
    use="restoration judged at several viewing distances",
    better="higher",
    range=(0, 1),
    sources=["Wang, Simoncelli & Bovik 2003"],
    example="ms_ssim(data_range=1)",
    tasks=["image", "binary", "multiclass", "multilabel"],
)
def ms_ssim(
    pred: Image,
    target: Image,
    valid: Valid,
    *,
    window: Count = 11,
    sigma: Positive = 1.5,
    data_range: Positive = 1.0,
    k1: Positive = 0.01,
    k2: Positive = 0.03,
) -> PerClass:
    """Structural similarity index at five scales.

    ssim₅^w₅ · Π_{j<5} cs_j^w_j with cs_j the mean contrast-structure term at scale j, clipped at 0,
    w = .0448, .2856, .3001, .2363, .1333; each scale halves the previous one by 2×2 means.

    Returns:
        Similarity per sample and channel, (B, C), in [0, 1]; undefined where a scale has no valid
        window. An image of fewer than 16·window pixels (176 by default) along an axis is an error.

    Note:
        A last row or column without a partner is dropped when a scale is halved.
    """
    check_size(pred, window * 2 ** (len(SCALES) - 1), f"ms_ssim(window={window})")
    product = torch.ones(pred.shape[:2], dtype=pred.dtype, device=pred.device)
    for scale, weight in enumerate(SCALES):
        last = scale == len(SCALES) - 1
        windows = similarity(pred, target, window, sigma, data_range, k1, k2)
        values = windows.whole if last else windows.contrast
        mean = mean_of_windows(values, valid_windows(valid, window))
        product = product * power(mean.clamp(min=0), weight)
        if not last:
            pred, target = halved(pred), halved(target)
            valid = halved((~valid).double()) == 0
    return product


def halved(image: Tensor) -> Tensor:
    """Halve an image by averaging pairs of neighbours along every axis."""
    for axis in range(2, image.ndim):
        even = image.shape[axis] // 2
        pairs = image.narrow(axis, 0, 2 * even).unflatten(axis, (even, 2))
        image = pairs.mean(axis + 1)
    return image


def differences(image: Tensor, valid: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Forward differences along each axis: axis, differences (0 if ignored), which are valid."""
    for axis in range(2, image.ndim):
        size = image.shape[axis] - 1
        both_valid = valid.narrow(axis, 0, size) & valid.narrow(axis, 1, size)
        difference = image.narrow(axis, 1, size) - image.narrow(axis, 0, size)
        yield axis, difference.where(both_valid, 0.0), both_valid.expand_as(difference)


def variation(image: Tensor, valid: Tensor, isotropic: bool, apart: bool = False) -> Tensor:
    """Difference of each pixel from its next neighbours, (B, C, *space); 0 at the last pixel.

    With `apart`, each direction is scaled as if it had a difference at every valid pixel.
    """
    result = torch.zeros_like(image)
    pixels = valid.expand_as(image).flatten(1).sum(1)
    for axis, difference, defined in differences(image, valid):
        end = torch.zeros_like(image.narrow(axis, 0, 1))
        full = torch.cat([difference, end], axis)
        if apart:
            scale = (pixels / defined.flatten(1).sum(1).clamp(min=1)).to(full)
            full = full * scale.reshape(-1, *[1] * (full.ndim - 1))
        result = result + (full**2 if isotropic else full.abs())
    return root(result) if isotropic else result


@loss(
    use="how noisy or flat an output is, independent of the ground truth",
    sources=["Rudin, Osher & Fatemi 1992", "kornia.losses.total_variation"],
    example="total_variation(reduction=sum)",
)
def total_variation(
    pred: Image, valid: Valid, *, isotropic: bool = False, apart: bool = False
) -> PerPixel:
    """Total variation of the prediction; the ground truth is not used.

    Σ |∇p| / (C·N), with |∇p| the sum of both absolute forward differences of a pixel, or their
    Euclidean norm; 0 beyond the last row and column. reduction=sum omits the division.

    Args:
        apart: divide each direction by its own number of differences, which is C·N minus one row
            or column.

    Returns:
        |∇p| for each element, (B, C, N), 0 or more.

    Note:
        The ground truth only determines which pixels count.
    """
    return PerPixel(variation(pred, valid, isotropic, apart).flatten(2))


@loss(
    use="whether an output is smoother or noisier than the ground truth",
    sources=["Rudin, Osher & Fatemi 1992"],
    example="tv_difference(isotropic=true)",
)
def tv_difference(
    pred: Image,
    target: Image,
    valid: Valid,
    *,
    isotropic: bool = False,
    reduction: Literal["mean", "sum"] = "mean",
) -> PerSample:
    """Absolute difference of the total variations of prediction and ground truth.

    |TV(p) − TV(y)|, with TV as in `total_variation`.

    Args:
        reduction: mean divides each variation by the number of valid elements, sum does not.

    Returns:
        The difference, (B,), 0 or more; undefined without a valid pixel.
    """
    counts = valid.expand_as(pred).to(pred).flatten(1).sum(1)
    variations = (variation(image, valid, isotropic).flatten(1).sum(1) for image in (pred, target))
    return reduced(torch.sub(*variations).abs(), counts, reduction)


def reduced(sums: Tensor, counts: Tensor, reduction: str) -> Tensor:
    """Sum, or mean over `counts` elements; undefined where there are none."""
    return ratio(sums, counts) if reduction == "mean" else sums.where(counts > 0, torch.nan)


@loss(
    use="whether edges are as sharp as in the ground truth",
    sources=["Mathieu, Couprie & LeCun 2016"],
    example="gradient_l1(reduction=sum)",
)
def gradient_l1(
    pred: Image, target: Image, valid: Valid, *, reduction: Literal["mean", "sum"] = "mean"
) -> PerSample:
    """Mean absolute difference of the image gradients.

    mean |∇p − ∇y| over the forward differences of both directions and all channels.

    Args:
        reduction: over all differences of a sample.

    Returns:
        The mean, (B,), 0 or more; undefined where no two neighbours are valid.

    Note:
        The gradient difference loss of Mathieu et al. compares magnitudes, ||∇p| − |∇y||; this
        compares signed differences.
    """
    errors = [(error.abs(), defined) for _, error, defined in differences(pred - target, valid)]
    sums = torch.cat([error.flatten(1) for error, _ in errors], 1).sum(1)
    counts = torch.cat([defined.flatten(1) for _, defined in errors], 1).sum(1)
    return reduced(sums, counts, reduction)
