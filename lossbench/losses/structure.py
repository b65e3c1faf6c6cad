"""Losses of images in which position matters: structure, edges, variation.

Args:
    window: width of a window in pixels.
    sigma: standard deviation of the Gaussian in pixels.
    data_range: largest minus smallest possible value of an image; 1 for 8-bit images.
    k1: stabilises the luminance term in dark windows.
    k2: stabilises the contrast term in flat windows.
    precision: fast sums windows by products of matrices, double pixel by pixel, with the bits of
        version 0.1. Both compute in float64; they differ by less than 1e-11·(0.03/k2)² for images
        within data_range. Gradients are those of double.
    isotropic: use the Euclidean norm of both differences instead of their sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
BLOCK = 16  # windows along an axis that one product of matrices sums, at least
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003

Precision = Literal["fast", "double"]
Factor = Literal["whole", "contrast"]


class Similarity(NamedTuple):
    """Structural similarity of every window, and its contrast-structure factor."""

    whole: Tensor
    contrast: Tensor


class Formula(NamedTuple):
    """The weights of a window along each axis, and the constants of both factors."""

    kernel: Sequence[float]
    c1: float
    c2: float

    @classmethod
    def of(
        cls, dtype: torch.dtype, window: int, sigma: float, data_range: float, k1: float, k2: float
    ) -> Formula:
        """The formula with a Gaussian window, whose weights are of the images' type."""
        offsets = torch.arange(window, dtype=dtype) - (window - 1) / 2
        weights = torch.exp(-((offsets / sigma) ** 2) / 2)
        kernel = (weights / weights.sum()).tolist()
        return cls(kernel, (k1 * data_range) ** 2, (k2 * data_range) ** 2)


def mean_similarity(
    pred: Tensor,
    target: Tensor,
    valid: Tensor,
    formula: Formula,
    factor: Factor,
    precision: Precision,
) -> Tensor:
    """Mean similarity of the valid windows that lie entirely inside the image, (B, C)."""
    mask = valid_windows(valid, len(formula.kernel))
    if precision == "double" or pred.ndim == 3 or torch.is_grad_enabled():
        return mean_of_windows(getattr(similarity(pred, target, formula), factor), mask)
    return fast_mean_similarity(pred, target, mask, formula, factor)


def similarity(pred: Tensor, target: Tensor, formula: Formula) -> Similarity:
    """Structural similarity of the windows that lie entirely inside the image."""
    kernel, c1, c2 = formula

    def of_strip(pred: Tensor, target: Tensor) -> Similarity:
        moments = torch.stack([pred, target, pred * pred, target * target, pred * target])
        pred_mean, target_mean, pred_square, target_square, product = filtered(moments, kernel, 3)
        pred_mean_square, target_mean_square = pred_mean * pred_mean, target_mean * target_mean
        means = pred_mean * target_mean
        variances = (pred_square - pred_mean_square) + (target_square - target_mean_square)
        contrast = (2 * (product - means) + c2) / (variances + c2)
        luminance = (2 * means + c1) / (pred_mean_square + target_mean_square + c1)
        return Similarity(luminance * contrast, contrast)

    channels, size = strip_size(pred)
    groups = zip(pred.split(channels, 1), target.split(channels, 1), strict=True)
    return joined(
        (
            joined((of_strip(*strip) for strip in strips(*group, len(kernel), size)), 2)
            for group in groups
        ),
        1,
    )


def fast_mean_similarity(
    pred: Tensor, target: Tensor, mask: Tensor, formula: Formula, factor: Factor
) -> Tensor:
    """Mean similarity of the windows in a mask (B, C or 1, *windows), without gradients, (B, C).

    The moments of s = p + y and d = p − y suffice, by the polarisation identity: μs² − μd² =
    4·μp·μy and μs² + μd² = 2·(μp² + μy²), and the same of variances and covariance. Identical
    windows have d = 0, so that their similarity is exactly 1.
    """
    window, (batch, channels, height, *middle, width) = len(formula.kernel), pred.shape
    block = max(BLOCK, window)
    group, size = strip_size(pred)
    step = block * max(1, 2 * size * height // (block * pred[:, :group].numel()))
    starts, columns = height - window + 1, width - window + 1
    band = banded(formula.kernel, block).to(pred)
    rows, blocks = (block * -(-count // block) for count in (min(step, starts), columns))
    # The last block along each axis may reach beyond the image, where no window of interest lies.
    pixels = pred.new_zeros(rows + window - 1, 4, batch, group, *middle, blocks + window - 1)
    total, count = pred.new_zeros(2, batch, channels)

    def in_order(values: Tensor) -> Tensor:
        """Values of windows in blocks, (blocks, rows, B, C, *middle, block), as an image."""
        return values.movedim(0, -2).flatten(-2)[..., :columns].movedim(0, 2)

    for first in range(0, channels, group):
        part = slice(first, first + group)
        for start in range(0, starts, step):
            stop = min(start + step, starts)
            reach = slice(start, stop + window - 1)
            strip = (image[:, part, reach].movedim(2, 0) for image in (pred, target))
            moments = window_moments(strip, pixels, band, formula.kernel)
            luminance, contrast = factors(moments, formula)
            values = luminance.mul_(contrast) if factor == "whole" else contrast
            if mask.ndim:
                values = in_order(values)
                of_channels = mask[:, part if mask.shape[1] > 1 else slice(None), start:stop]
                weight = of_channels.expand_as(values).to(values)
                values = values * weight
                count[:, part] += weight.flatten(2).sum(-1)
            else:  # rows are added before their windows are brought in order, which is cheaper
                values = in_order(values.sum(1, keepdim=True))
                count[:, part] += (stop - start) * values[0, 0].numel()
            total[:, part] += values.flatten(2).sum(-1)
    return ratio(total, count)


def window_moments(
    strip: Iterable[Tensor], pixels: Tensor, band: Tensor, kernel: Sequence[float]
) -> Tensor:
    """Means of s, d, s² and d² over windows, (blocks, rows, 4, B, C, *middle, block).

    Args:
        strip: prediction and target, first axis first, (rows, B, C, *middle, columns).
        pixels: memory for s, d, s² and d², (rows, 4, B, C, *middle, columns) of whole blocks.
        band: the windows of a block, (block, pixels), as a matrix.
        kernel: the weights of a window.
    """
    pred, target = strip
    (block, reach), (length, *_, width) = band.shape, pred.shape
    used = pixels[:length, ..., :width]
    torch.add(pred, target, out=used[:, 0])
    torch.sub(pred, target, out=used[:, 1])
    torch.mul(used[:, :2], used[:, :2], out=used[:, 2:])
    rows = length - len(kernel) + 1
    whole = pixels[: -(-rows // block) * block + len(kernel) - 1]
    blocks = whole.flatten(1).unfold(0, reach, block).transpose(1, 2)
    down = torch.bmm(band.expand(blocks.shape[0], -1, -1), blocks)
    down = filtered(down.view(-1, *pixels.shape[1:])[:rows], kernel, 4, -1)
    blocks = down.view(-1, pixels.shape[-1]).unfold(1, reach, block).transpose(0, 1)
    across = torch.bmm(blocks, band.mT.expand(blocks.shape[0], -1, -1))
    return across.view(-1, *down.shape[:-1], block)


def factors(moments: Tensor, formula: Formula) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure factor of windows; overwrites their moments."""
    moments[:, :, 2:].sub_(moments[:, :, :2].square_())
    moments[:, :, 0].add_(2 * formula.c1)
    moments[:, :, 2].add_(2 * formula.c2)
    of_sum, of_difference = moments[:, :, ::2], moments[:, :, 1::2]
    luminance, contrast = (of_sum - of_difference).div_(of_sum.add_(of_difference)).unbind(2)
    return luminance, contrast


def banded(kernel: Sequence[float], count: int) -> Tensor:
    """Matrix whose product with pixels sums `count` windows, (windows, pixels)."""
    matrix = torch.zeros(count, count + len(kernel) - 1, dtype=torch.float64)
    for offset, weight in enumerate(kernel):
        matrix.diagonal(offset).fill_(weight)
    return matrix


def strip_size(image: Tensor) -> tuple[int, int]:
    """The channels and pixels of an image (B, C, *space) that are computed together."""
    return (1, CPU_STRIP) if image.device.type == "cpu" else (image.shape[1], GPU_STRIP)


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


def filtered(
    image: Tensor, kernel: Sequence[float], first: int = 2, stop: int | None = None
) -> Tensor:
    """Separable filter, without padding, along all axes from the first one up to another."""
    for axis in range(image.ndim)[first:stop]:
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
    precision: Literal["fast", "double"] = "fast",
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
    formula = Formula.of(pred.dtype, window, sigma, data_range, k1, k2)
    return mean_similarity(pred, target, valid, formula, "whole", precision)


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
    precision: Literal["fast", "double"] = "fast",
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
    formula = Formula.of(pred.dtype, window, sigma, data_range, k1, k2)
    for scale, weight in enumerate(SCALES):
        last = scale == len(SCALES) - 1
        factor: Factor = "whole" if last else "contrast"
        mean = mean_similarity(pred, target, valid, formula, factor, precision)
        product = product * power(mean.clamp(min=0), weight)
        if not last:
            pred, target = halved(pred), halved(target)
            valid = halved((~valid).double()) == 0
    return product


def halved(image: Tensor) -> Tensor:
    """Halve an image by averaging pairs of neighbours along every axis."""
    for axis in range(2, image.ndim):
        even = image.shape[axis] // 2
        one, other = image.narrow(axis, 0, 2 * even).unflatten(axis, (even, 2)).unbind(axis + 1)
        image = (one + other) / 2
    return image


def differences(image: Tensor, valid: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Forward differences along each axis: axis, differences (0 if ignored), which are valid."""
    whole = bool(valid.all())
    for axis in range(2, image.ndim):
        difference = next_along(axis, torch.sub, image)
        both_valid = next_along(axis, torch.logical_and, valid)
        yield axis, difference if whole else difference.where(both_valid, 0.0), both_valid


def next_along(axis: int, function: Callable[[Tensor, Tensor], Tensor], image: Tensor) -> Tensor:
    """A function of the next pixel along an axis and of each pixel that has one."""
    size = image.shape[axis] - 1
    return function(image.narrow(axis, 1, size), image.narrow(axis, 0, size))


def variation(image: Tensor, valid: Tensor, isotropic: bool, apart: bool = False) -> Tensor:
    """Difference of each pixel from its next neighbours, (B, C, *space); 0 at the last pixel.

    With `apart`, each direction is scaled as if it had a difference at every valid pixel.
    """
    scales = {}
    if apart:
        pixels = valid.flatten(1).sum(1)
        for axis in range(2, image.ndim):
            pairs = next_along(axis, torch.logical_and, valid).flatten(1).sum(1)
            scale = (pixels / pairs.clamp(min=1)).to(image)
            scales[axis] = scale.reshape(-1, *[1] * (image.ndim - 1))

    def of_rows(image: Tensor, valid: Tensor) -> Tensor:
        result = torch.zeros_like(image)
        for axis, difference, _ in differences(image, valid):
            scaled = difference * scales[axis] if apart else difference
            change = scaled**2 if isotropic else scaled.abs()
            result.narrow(axis, 0, change.shape[axis]).add_(change)
        return root(result) if isotropic else result

    length = image.shape[2]
    step = max(1, 2 * strip_size(image)[1] * length // image.numel())
    if torch.is_grad_enabled() or step >= length:  # the gradient of each strip has the whole size
        return of_rows(image, valid)
    starts = range(0, length, step)
    reaches = [slice(start, start + step + 1) for start in starts]  # with the next row
    return torch.cat([of_rows(image[:, :, r], valid[:, :, r])[:, :, :step] for r in reaches], 2)


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
    pairs = list(differences(pred - target, valid))
    sums = torch.stack([error.abs().flatten(1).sum(1) for _, error, _ in pairs]).sum(0)
    counts = torch.stack([defined.flatten(1).sum(1) for _, _, defined in pairs]).sum(0)
    return reduced(sums, counts * (pred.shape[1] // valid.shape[1]), reduction)
