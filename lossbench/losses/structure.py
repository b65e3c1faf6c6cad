"""Losses of images with their pixels in place: structure, edges, variation."""

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

# Numbers that a processor's cache has room for with what is made of them; and of a GPU its memory.
STRIP, OTHER = 1 << 14, 1 << 22
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003


class Similarity(NamedTuple):
    """Of every window: the whole index, and its part of contrast and structure."""

    whole: Tensor
    contrast: Tensor


def compared(
    pred: Tensor,
    target: Tensor,
    window: int,
    sigma: float,
    data_range: float,
    k1: float,
    k2: float,
) -> Similarity:
    """Structural similarity of the windows that lie wholly inside the image."""
    places = torch.arange(window, dtype=pred.dtype, device=pred.device) - (window - 1) / 2
    weights = torch.exp(-((places / sigma) ** 2) / 2)
    kernel = (weights / weights.sum()).tolist()
    first, second = (k1 * data_range) ** 2, (k2 * data_range) ** 2

    def of_strip(pred: Tensor, target: Tensor) -> Similarity:
        moments = torch.stack([pred, target, pred * pred, target * target, pred * target])
        pred_mean, target_mean, pred_square, target_square, product = averaged(moments, kernel, 3)
        pred_mean_square, target_mean_square = pred_mean * pred_mean, target_mean * target_mean
        means = pred_mean * target_mean
        variances = (pred_square - pred_mean_square) + (target_square - target_mean_square)
        contrast = (2 * (product - means) + second) / (variances + second)
        light = (2 * means + first) / (pred_mean_square + target_mean_square + first)
        return Similarity(light * contrast, contrast)

    together, room = (1, STRIP) if pred.device.type == "cpu" else (pred.shape[1], OTHER)
    channels = zip(pred.split(together, 1), target.split(together, 1), strict=True)
    return joined(
        (
            joined((of_strip(*strip) for strip in strips(*each, window, room)), 2)
            for each in channels
        ),
        1,
    )


def joined(parts: Iterable[Similarity], axis: int) -> Similarity:
    """The windows of several pieces of an image."""
    return Similarity(*(torch.cat(each, axis) for each in zip(*parts, strict=True)))


def strips(pred: Tensor, target: Tensor, window: int, room: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images (B, C, *space) in strips along the first axis of their space.

    The windows of so many numbers begin in each, at least one window's; its last rows are those
    that they reach, which the next strip has again.
    """
    length = pred.shape[2]
    starts = length - window + 1
    step = max(window, room * length // pred.numel())
    for start in range(0, starts, step):
        rows = slice(start, min(start + step, starts) + window - 1)
        yield pred[:, :, rows], target[:, :, rows]


def averaged(image: Tensor, kernel: Sequence[float], first: int = 2) -> Tensor:
    """The weighted mean of every window inside, one axis after another from the first one on."""
    for axis in range(first, image.ndim):
        size = image.shape[axis] - len(kernel) + 1
        found = kernel[0] * image.narrow(axis, 0, size)
        for place, weight in enumerate(kernel[1:], 1):
            found.add_(image.narrow(axis, place, size), alpha=weight)
        image = found
    return image


def reflected(image: Tensor, window: int) -> Tensor:
    """An image (B, C, *space) continued by its mirror image, so that every pixel has a window."""
    for axis in range(2, image.ndim):
        last = image.shape[axis] - 1
        places = torch.arange(-((window - 1) // 2), last + 1 + window // 2, device=image.device)
        image = image.index_select(axis, last - (last - places.abs()).abs())
    return image


def whole_windows(valid: Tensor, window: int) -> Tensor:
    """Where no pixel of a window is ignored."""
    if bool(valid.all()):
        return torch.ones((), dtype=torch.bool, device=valid.device)
    return averaged((~valid).double(), [1.0] * window) == 0


def over_windows(values: Tensor, inside: Tensor) -> Tensor:
    """The mean over the windows that count, (B, C)."""
    counts = inside.expand_as(values).to(values)
    return ratio((values * counts).flatten(2).sum(-1), counts.flatten(2).sum(-1))


def check_size(image: Tensor, least: int, what: str) -> None:
    """An image that no window fits into has no value."""
    if min(image.shape[2:]) < least:
        raise InputError(
            f"is {sized(image.shape[2:])} where {what} needs {least} pixels along every axis",
            kind="size",
        )


@loss(
    family="structure",
    use="restoration judged by structure, closer to the eye than psnr",
    tasks=["binary", "multiclass", "multilabel", "image"],
    better="higher",
    range=(-1, 1),
    sources=["Wang et al. 2004", "skimage.metrics.structural_similarity"],
    example="ssim(data_range=1)",
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
    the image, μ and σ weighted by a Gaussian, c₁ = (k₁·range)², c₂ = (k₂·range)²; each channel by
    itself.

    Args:
        pred: images, shape (B, C, *space).
        target: images, likewise.
        valid: whether a pixel counts; windows that touch an ignored one are left out.
        window: width of a window in pixels.
        sigma: width of the Gaussian in pixels.
        data_range: largest minus smallest value that an image can have; 1 for 8-bit images.
        k1: keeps the light of dark windows apart from 0/0.
        k2: keeps the contrast of flat windows apart from 0/0.
        border: inside takes the windows that lie in the image, reflect one for every pixel, the
            image being continued by its mirror image.

    Returns:
        Similarity per sample and channel, shape (B, C), in [−1, 1]; undefined where no window is
        wholly valid. An image smaller than a window is an error.

    Note:
        As skimage's with gaussian_weights=True, sigma=1.5, use_sample_covariance=False, and as
        MONAI's. torchmetrics and kornia count windows over a reflected border, border=reflect; piq
        shrinks large images first.
    """
    reach = window if border == "inside" else window // 2 + 1
    check_size(pred, reach, f"ssim(window={window})")
    if border == "reflect":
        pred, target = reflected(pred, window), reflected(target, window)
        valid = reflected(valid, window)
    found = compared(pred, target, window, sigma, data_range, k1, k2)
    return over_windows(found.whole, whole_windows(valid, window))


@loss(
    family="structure",
    use="restoration judged at several viewing distances",
    tasks=["binary", "multiclass", "multilabel", "image"],
    better="higher",
    range=(0, 1),
    sources=["Wang, Simoncelli & Bovik 2003"],
    example="ms_ssim(data_range=1)",
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
    """Structural similarity at five scales.

    ssim₅^w₅ · Π_{j<5} cs_j^w_j with cs_j the mean contrast and structure at scale j, negative means
    counted as 0, w = .0448, .2856, .3001, .2363, .1333; each scale halves the last by 2×2 means.

    Args:
        pred: images, shape (B, C, *space).
        target: images, likewise.
        valid: whether a pixel counts; windows that touch an ignored one are left out.
        window: width of a window in pixels.
        sigma: width of the Gaussian in pixels.
        data_range: largest minus smallest value that an image can have; 1 for 8-bit images.
        k1: keeps the light of dark windows apart from 0/0.
        k2: keeps the contrast of flat windows apart from 0/0.

    Returns:
        Similarity per sample and channel, shape (B, C), in [0, 1]; undefined where a scale has no
        valid window. An image below 16·window pixels along an axis, 176 by default, is an error.

    Note:
        A last row or column that finds no neighbour is dropped when a scale is halved.
    """
    check_size(pred, window * 2 ** (len(SCALES) - 1), f"ms_ssim(window={window})")
    product = torch.ones(pred.shape[:2], dtype=pred.dtype, device=pred.device)
    for place, weight in enumerate(SCALES):
        last = place == len(SCALES) - 1
        found = compared(pred, target, window, sigma, data_range, k1, k2)
        inside = whole_windows(valid, window)
        mean = over_windows(found.whole if last else found.contrast, inside)
        product = product * power(mean.clamp(min=0), weight)
        if not last:
            pred, target = halved(pred), halved(target)
            valid = halved((~valid).double()) == 0
    return product


def halved(image: Tensor) -> Tensor:
    """Means of two neighbours along every axis."""
    for axis in range(2, image.ndim):
        even = image.shape[axis] // 2
        pairs = image.narrow(axis, 0, 2 * even).unflatten(axis, (even, 2))
        image = pairs.mean(axis + 1)
    return image


def steps(image: Tensor, valid: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Forward differences: axis, differences (0 where a pixel is ignored), which of them count."""
    for axis in range(2, image.ndim):
        size = image.shape[axis] - 1
        both = valid.narrow(axis, 0, size) & valid.narrow(axis, 1, size)
        step = image.narrow(axis, 1, size) - image.narrow(axis, 0, size)
        yield axis, step.where(both, 0.0), both.expand_as(step)


def variation(image: Tensor, valid: Tensor, isotropic: bool, apart: bool = False) -> Tensor:
    """How much each pixel differs from its next neighbours, (B, C, *space); 0 beyond the last.

    With `apart` each direction weighs as if it had a difference at every valid pixel.
    """
    found = torch.zeros_like(image)
    pixels = valid.expand_as(image).flatten(1).sum(1)
    for axis, step, both in steps(image, valid):
        end = torch.zeros_like(image.narrow(axis, 0, 1))
        full = torch.cat([step, end], axis)
        if apart:
            share = (pixels / both.flatten(1).sum(1).clamp(min=1)).to(full)
            full = full * share.reshape(-1, *[1] * (full.ndim - 1))
        found = found + (full**2 if isotropic else full.abs())
    return root(found) if isotropic else found


@loss(
    family="structure",
    use="how noisy or how flat an output is, whatever the truth",
    tasks=["binary", "multiclass", "multilabel", "image"],
    sources=["Rudin, Osher & Fatemi 1992", "kornia.losses.total_variation"],
    example="total_variation(reduction=sum)",
)
def total_variation(
    pred: Image, valid: Valid, *, isotropic: bool = False, apart: bool = False
) -> PerPixel:
    """Total variation of the prediction alone.

    Σ |∇p| / (C·N), with |∇p| the sum of both absolute forward differences of a pixel, or their
    Euclidean norm; 0 beyond the last row and column. reduction=sum leaves out the division.

    Args:
        pred: images, shape (B, C, *space).
        valid: whether a pixel counts; a difference to an ignored pixel is 0.
        isotropic: the norm of both differences in place of their sum.
        apart: each direction is divided by its own number of differences, which is a row or a
            column less than C·N.

    Returns:
        |∇p| for each element, shape (B, C, N), 0 or more.

    Note:
        The ground truth only decides which pixels count. kornia's mean is apart=true, torchmetrics'
        mean is over samples only, reduction=sum.
    """
    return PerPixel(variation(pred, valid, isotropic, apart).flatten(2))


@loss(
    family="structure",
    use="whether an output is smoother or noisier than the truth",
    tasks=["binary", "multiclass", "multilabel", "image"],
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
    """Difference of the total variations of prediction and ground truth.

    |TV(p) − TV(y)|, with TV as in `total_variation`.

    Args:
        pred: images, shape (B, C, *space).
        target: images, likewise.
        valid: whether a pixel counts; a difference to an ignored pixel is 0.
        isotropic: the norm of both differences of a pixel in place of their sum.
        reduction: mean divides each variation by the valid elements, sum does not.

    Returns:
        The difference, shape (B,), 0 or more; undefined without a valid pixel.
    """
    counts = valid.expand_as(pred).to(pred).flatten(1).sum(1)
    both = (variation(image, valid, isotropic).flatten(1).sum(1) for image in (pred, target))
    difference = torch.sub(*both).abs()
    return reduced(difference, counts, reduction)


def reduced(top: Tensor, counts: Tensor, reduction: str) -> Tensor:
    """A sum over so many, or divided by them; undefined over nothing."""
    return ratio(top, counts) if reduction == "mean" else top.where(counts > 0, torch.nan)


@loss(
    family="structure",
    use="whether edges are as sharp as in the truth",
    tasks=["binary", "multiclass", "multilabel", "image"],
    sources=["Mathieu, Couprie & LeCun 2016"],
    example="gradient_l1(reduction=sum)",
)
def gradient_l1(
    pred: Image, target: Image, valid: Valid, *, reduction: Literal["mean", "sum"] = "mean"
) -> PerSample:
    """Mean absolute difference of the gradients.

    mean |∇p − ∇y| over the forward differences of both directions and all channels.

    Args:
        pred: images, shape (B, C, *space).
        target: images, likewise.
        valid: whether a pixel counts; differences between two valid pixels do.
        reduction: over all differences of a sample.

    Returns:
        The mean, shape (B,), 0 or more; undefined where no two neighbours are valid.

    Note:
        The gradient difference loss of Mathieu et al. compares the sizes of the differences,
        ||∇p| − |∇y||; this compares the differences with their signs.
    """
    found = [(step.abs(), both) for _, step, both in steps(pred - target, valid)]
    top = torch.cat([step.flatten(1) for step, _ in found], 1).sum(1)
    counts = torch.cat([both.flatten(1) for _, both in found], 1).sum(1)
    return reduced(top, counts, reduction)
