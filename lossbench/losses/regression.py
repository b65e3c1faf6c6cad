"""Losses of the difference d = p − y between two images, probability maps or float maps."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from lossbench.interface.annotations import (
    Decibels,
    Difference,
    NonNegative,
    PerPixel,
    Positive,
    RootMean,
)
from lossbench.losses import loss


@loss(
    family="regression",
    use="images and probability maps, with every error in proportion",
    tasks=["binary", "multiclass", "multilabel", "image"],
    aliases=["mae"],
    sources=["torch.nn.L1Loss"],
    example="l1(reduction=sum)",
)
def l1(difference: Difference) -> PerPixel:
    """Mean absolute error.

    mean |d|, with d = p − y over the valid elements: every pixel of every class or channel.

    Args:
        difference: p − y, shape (B, C, N).

    Returns:
        |d| for each element, shape (B, C, N), 0 or more.

    Note:
        8-bit images are compared in [0, 1], so that one grey level is 1/255.
    """
    return PerPixel(difference.abs())


@loss(
    family="regression",
    use="images and probability maps, with large errors weighing more",
    tasks=["binary", "multiclass", "multilabel", "image"],
    aliases=["mse", "quadratic"],
    sources=["torch.nn.MSELoss"],
    example="l2(reduction=sum)",
)
def l2(difference: Difference, *, half: bool = False) -> PerPixel:
    """Mean squared error.

    mean d², with d = p − y over the valid elements: every pixel of every class or channel.

    Args:
        difference: p − y, shape (B, C, N).
        half: ½d² in place of d².

    Returns:
        d² for each element, shape (B, C, N), 0 or more.

    Note:
        optax's `l2_loss` is half of this, half=true.
    """
    square = difference**2
    return PerPixel(square / 2 if half else square)


@loss(
    family="regression",
    use="the size of a typical error in the units of the image",
    tasks=["binary", "multiclass", "multilabel", "image"],
    sources=["sklearn.metrics.root_mean_squared_error"],
    example="rmse(reduction=sum)",
)
def rmse(difference: Difference) -> RootMean:
    """Root of the mean squared error.

    √(mean d²), with d = p − y over the valid elements; the Euclidean norm √(Σ d²) with
    reduction=sum.

    Args:
        difference: p − y, shape (B, C, N).

    Returns:
        d² for each element, shape (B, C, N); the root is taken of its mean or sum.

    Note:
        The root of a mean over several samples is not the mean of their roots: `pooled` is the root
        of the pooled mean squared error.
    """
    return PerPixel(difference**2)


@loss(
    family="regression",
    use="regression with a few outliers",
    tasks=["binary", "multiclass", "multilabel", "image"],
    sources=["Huber 1964", "torch.nn.HuberLoss"],
    example="huber(delta=0.1)",
)
def huber(difference: Difference, *, delta: NonNegative = 1.0) -> PerPixel:
    """Huber loss: squared near zero, absolute further out.

    mean of ½d² where |d| ≤ δ, else δ·|d| − ½δ², with d = p − y over the valid elements.

    Args:
        difference: p − y, shape (B, C, N).
        delta: δ ≥ 0, where the square ends.

    Returns:
        The loss of each element, shape (B, C, N), 0 or more.

    Note:
        With δ = 1, differences of images and probabilities in [0, 1] never leave the square: it is
        half of `l2`. It is δ times `smooth_l1(beta=δ)`.
    """
    size = difference.abs()
    square = 0.5 * difference**2
    return PerPixel(square.where(size <= delta, delta * size - 0.5 * delta**2))


@loss(
    family="regression",
    use="regression with a few outliers, as detectors use it",
    tasks=["binary", "multiclass", "multilabel", "image"],
    sources=["Girshick 2015, Fast R-CNN", "torch.nn.SmoothL1Loss"],
    example="smooth_l1(beta=0.1)",
)
def smooth_l1(difference: Difference, *, beta: NonNegative = 1.0) -> PerPixel:
    """Smooth L1 loss: absolute, with the corner at zero rounded off.

    mean of ½d²/β where |d| < β, else |d| − ½β, with d = p − y over the valid elements.

    Args:
        difference: p − y, shape (B, C, N).
        beta: β ≥ 0, where the square ends; 0 leaves `l1`.

    Returns:
        The loss of each element, shape (B, C, N), 0 or more.
    """
    size = difference.abs()
    if not beta:
        return PerPixel(size)
    return PerPixel((0.5 * difference**2 / beta).where(size < beta, size - 0.5 * beta))


@loss(
    family="regression",
    use="regression with outliers, smooth everywhere",
    tasks=["binary", "multiclass", "multilabel", "image"],
    sources=["optax.losses.log_cosh", "keras.losses.LogCosh"],
    example="log_cosh(reduction=sum)",
)
def log_cosh(difference: Difference) -> PerPixel:
    """Logarithm of the hyperbolic cosine of the error.

    mean log cosh d, with d = p − y over the valid elements: about ½d² near zero, |d| − log 2 far
    from it.

    Args:
        difference: p − y, shape (B, C, N).

    Returns:
        log cosh d for each element, shape (B, C, N), 0 or more.

    Note:
        Computed as log(1 + 2·sinh²(d/2)) for |d| < 1 and as |d| + log(1 + e^(−2|d|)) − log 2
        elsewhere: the first would overflow far out, the second loses its digits near zero.
    """
    size = difference.abs()
    near = torch.log1p(2 * torch.sinh(size.clamp(max=1) / 2) ** 2)
    far = size + functional.softplus(-2 * size) - math.log(2)
    return PerPixel(near.where(size < 1, far))


@loss(
    family="regression",
    use="regression with outliers, smooth everywhere and tunable",
    tasks=["binary", "multiclass", "multilabel", "image"],
    sources=["Charbonnier et al. 1997", "Hartley & Zisserman 2003"],
    example="pseudo_huber(delta=0.1, scaled=false)",
)
def pseudo_huber(difference: Difference, *, delta: Positive = 1.0, scaled: bool = True) -> PerPixel:
    """Pseudo-Huber loss: a smooth passage from the square to the absolute error.

    mean δ²·(√(1 + (d/δ)²) − 1), with d = p − y over the valid elements.

    Args:
        difference: p − y, shape (B, C, N).
        delta: δ > 0, where the passage is.
        scaled: with the factor δ², so that it is ½d² near zero.

    Returns:
        The loss of each element, shape (B, C, N), 0 or more.

    Note:
        Computed as d² / (1 + √(1 + (d/δ)²)), which keeps its digits near zero. kornia's
        `charbonnier_loss` is this with δ = 1.
    """
    value = difference**2 / (1 + torch.sqrt(1 + (difference / delta) ** 2))
    return PerPixel(value if scaled else value / delta**2)


@loss(
    family="regression",
    use="super-resolution and other restoration",
    tasks=["binary", "multiclass", "multilabel", "image"],
    sources=["Lai et al. 2017, LapSRN"],
    example="charbonnier(eps=0.01)",
)
def charbonnier(difference: Difference, *, eps: Positive = 1e-3) -> PerPixel:
    """Charbonnier loss: the absolute error with a rounded corner.

    mean √(d² + ε²), with d = p − y over the valid elements.

    Args:
        difference: p − y, shape (B, C, N).
        eps: ε > 0, the value at d = 0.

    Returns:
        The loss of each element, shape (B, C, N), ε or more.

    Note:
        Identical images cost ε, not 0.
    """
    return PerPixel(torch.sqrt(difference**2 + eps**2))


@loss(
    family="regression",
    use="the usual number of compression, denoising and super-resolution",
    tasks=["binary", "multiclass", "multilabel", "image"],
    better="higher",
    range=(None, None),
    sources=["skimage.metrics.peak_signal_noise_ratio"],
    example="psnr(data_range=1)",
)
def psnr(difference: Difference, *, data_range: Positive = 1.0) -> Decibels:
    """Peak signal-to-noise ratio in decibels.

    10·log10(range² / mse), with the mean squared error over the valid elements of all channels.

    Args:
        difference: p − y, shape (B, C, N).
        data_range: largest minus smallest value that an image can have; 1 for 8-bit images, which
            are read in [0, 1].

    Returns:
        (d/range)² for each element, shape (B, C, N); −10·log10 is taken of its mean. Identical
        images give infinity, which the mean over samples then has as well.
    """
    return PerPixel((difference / data_range) ** 2)
