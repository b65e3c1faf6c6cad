"""Losses of the difference d = p − y between two images, probability maps or float maps."""

from __future__ import annotations

import math

from lossbench.interface.annotations import (
    Decibels,
    Difference,
    NonNegative,
    PerPixel,
    Positive,
    RootMean,
)
from lossbench.interface.stable_math import library, square_root, where
from lossbench.losses import loss

# Facts of every loss of this module that does not state others.
SHARED_FACTS = {"tasks": ["binary", "multiclass", "multilabel", "image"]}


@loss(
    use="images and probability maps, with every error weighted proportionally",
    aliases=["mae"],
    sources=["torch.nn.L1Loss"],
    example="l1(reduction=sum)",
)
def l1(difference: Difference) -> PerPixel:
    """Mean absolute error.

    mean |d|, with d = p − y over the valid elements: every pixel of every class or channel.

    Returns:
        |d| for each element, (B, C, N), 0 or more.

    Note:
        8-bit images are compared in [0, 1], so one grey level is 1/255.
    """
    return PerPixel(abs(difference))


@loss(
    use="images and probability maps, with more weight on large errors",
    aliases=["mse", "quadratic"],
    sources=["torch.nn.MSELoss"],
    example="l2(reduction=sum)",
)
def l2(difference: Difference, *, half: bool = False) -> PerPixel:
    """Mean squared error.

    mean d², with d = p − y over the valid elements: every pixel of every class or channel.

    Args:
        half: use ½d² instead of d².

    Returns:
        d² for each element, (B, C, N), 0 or more.
    """
    square = difference**2
    return PerPixel(square / 2 if half else square)


@loss(
    use="the size of a typical error in the units of the image",
    sources=["sklearn.metrics.root_mean_squared_error"],
    example="rmse(reduction=sum)",
)
def rmse(difference: Difference) -> RootMean:
    """Root mean squared error.

    √(mean d²), with d = p − y over the valid elements; the Euclidean norm √(Σ d²) with
    reduction=sum.

    Returns:
        d² for each element, (B, C, N); the root of the mean or sum is taken afterwards.

    Note:
        The mean over samples averages their roots; `pooled` is the root of the pooled mean squared
        error.
    """
    return PerPixel(difference**2)


@loss(
    use="regression with a few outliers",
    sources=["Huber 1964", "torch.nn.HuberLoss"],
    example="huber(delta=0.1)",
)
def huber(difference: Difference, *, delta: NonNegative = 1.0) -> PerPixel:
    """Huber loss: squared for small errors, absolute for large ones.

    mean of ½d² where |d| ≤ δ, else δ·|d| − ½δ², with d = p − y over the valid elements.

    Args:
        delta: δ ≥ 0, the error where the loss becomes linear.

    Returns:
        Loss of each element, (B, C, N), 0 or more.

    Note:
        With δ = 1, differences of images and probabilities in [0, 1] stay in the quadratic part:
        the loss is half of `l2`. It always is δ times `smooth_l1(beta=δ)`.
    """
    magnitude = abs(difference)
    square = 0.5 * difference**2
    return PerPixel(where(magnitude <= delta, square, delta * magnitude - 0.5 * delta**2))


@loss(
    use="regression with a few outliers, as used by detectors",
    sources=["Girshick 2015, Fast R-CNN", "torch.nn.SmoothL1Loss"],
    example="smooth_l1(beta=0.1)",
)
def smooth_l1(difference: Difference, *, beta: NonNegative = 1.0) -> PerPixel:
    """Smooth L1 loss: absolute error, quadratic near zero.

    mean of ½d²/β where |d| < β, else |d| − ½β, with d = p − y over the valid elements.

    Args:
        beta: β ≥ 0, the error where the loss becomes linear; 0 gives `l1`.

    Returns:
        Loss of each element, (B, C, N), 0 or more.
    """
    magnitude = abs(difference)
    if not beta:
        return PerPixel(magnitude)
    square = 0.5 * difference**2 / beta
    return PerPixel(where(magnitude < beta, square, magnitude - 0.5 * beta))


@loss(
    use="regression with outliers, smooth everywhere",
    sources=["optax.losses.log_cosh", "keras.losses.LogCosh"],
    example="log_cosh(reduction=sum)",
)
def log_cosh(difference: Difference) -> PerPixel:
    """Logarithm of the hyperbolic cosine of the error.

    mean log cosh d, with d = p − y over the valid elements: about ½d² for small d, |d| − log 2 for
    large d.

    Returns:
        log cosh d for each element, (B, C, N), 0 or more.

    Note:
        Computed as log(1 + 2·sinh²(d/2)) for |d| < 1 and as |d| + log(1 + e^(−2|d|)) − log 2
        elsewhere: the first would overflow for large d, the second loses precision near zero.
    """
    magnitude = abs(difference)
    lib = library(magnitude)
    small = lib.log1p(2 * lib.sinh(magnitude.clip(max=1) / 2) ** 2)
    large = magnitude + lib.log1p(lib.exp(-2 * magnitude)) - math.log(2)
    return PerPixel(where(magnitude < 1, small, large))


@loss(
    use="regression with outliers, smooth everywhere and tunable",
    sources=["Charbonnier et al. 1997", "Hartley & Zisserman 2003"],
    example="pseudo_huber(delta=0.1, scaled=false)",
)
def pseudo_huber(difference: Difference, *, delta: Positive = 1.0, scaled: bool = True) -> PerPixel:
    """Pseudo-Huber loss: a smooth transition from squared to absolute error.

    mean δ²·(√(1 + (d/δ)²) − 1), with d = p − y over the valid elements.

    Args:
        delta: δ > 0, the error around which the transition lies.
        scaled: include the factor δ², so that the loss is ½d² near zero.

    Returns:
        Loss of each element, (B, C, N), 0 or more.

    Note:
        Computed as d² / (1 + √(1 + (d/δ)²)), which is precise near zero.
    """
    value = difference**2 / (1 + square_root(1 + (difference / delta) ** 2))
    return PerPixel(value if scaled else value / delta**2)


@loss(
    use="super-resolution and other image restoration",
    sources=["Lai et al. 2017, LapSRN"],
    example="charbonnier(eps=0.01)",
)
def charbonnier(difference: Difference, *, eps: Positive = 1e-3) -> PerPixel:
    """Charbonnier loss: the absolute error, smooth at zero.

    mean √(d² + ε²), with d = p − y over the valid elements.

    Args:
        eps: ε > 0, the value at d = 0.

    Returns:
        Loss of each element, (B, C, N), ε or more.

    Note:
        Identical images cost ε, not 0.
    """
    return PerPixel(square_root(difference**2 + eps**2))


@loss(
    use="the standard measure of compression, denoising and super-resolution",
    better="higher",
    range=(None, None),
    tasks=["image", "binary", "multiclass", "multilabel"],
    sources=["skimage.metrics.peak_signal_noise_ratio"],
    example="psnr(data_range=255, cap=100)",
)
def psnr(difference: Difference, *, data_range: Positive = 1.0) -> Decibels:
    """Peak signal-to-noise ratio in decibels.

    10·log10(range² / mse), with the mean squared error over the valid elements of all channels.

    Args:
        data_range: largest minus smallest possible value of an image; 1 for 8-bit images, which
            are read in [0, 1].

    Returns:
        (d/range)² for each element, (B, C, N); −10·log10 of the mean is taken afterwards. Identical
        images give infinity, which makes the mean over samples infinite; cap=100 gives them 100 dB.
    """
    return PerPixel((difference / data_range) ** 2)
