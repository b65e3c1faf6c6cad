"""Deep feature losses: the distance between two images in the features of a pretrained network.

Inputs are images, grey or RGB, in [0, 1], normalised with ImageNet's statistics; grey is repeated.
F^l are the M_l feature maps of the prediction in layer l, with N_l = H_l·W_l positions each; P^l
are the maps of the image it is compared with. A position is weighted by the fraction of valid
pixels in its part of the image; ignored pixels are black in both images.

Args:
    network: vgg16, vgg19, alexnet, squeezenet, or tiny_seeded (random weights, for trials).
    layers: layer names, such as [relu1_2, relu2_2].
    weights: w_l, one per layer; none means 1 each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from lossbench.errors import InputError
from lossbench.interface.annotations import NetworkName, NonNegative, PerSample
from lossbench.interface.stable_math import ratio, root
from lossbench.losses import loss
from lossbench.views.features import Calibrated, Features, Maps, Textures

# Facts of every loss of this module that does not state others.
SHARED_FACTS = {"tasks": ["image"]}

TINY = 1e-10  # added to the length in LPIPS's denominator
STABLE = 1e-6  # c₁ and c₂ of DISTS


@loss(
    use="super-resolution and image translation, where exact pixels do not matter",
    tasks=["image", "binary"],
    sources=["Johnson et al. 2016"],
    example="perceptual(network=tiny_seeded, layers=[relu1_2, relu2_2])",
)
def perceptual(
    features: Features,
    *,
    network: NetworkName = "vgg16",
    layers: Sequence[str] = ("relu2_2",),
    weights: Sequence[NonNegative] | None = None,
) -> PerSample:
    """Perceptual loss: mean squared difference of deep features.

    Σ_l w_l·‖F^l − P^l‖² / (M_l·N_l) over the layers.

    Returns:
        Loss per sample, (B,), 0 or more; 0 for identical images. Undefined without a valid pixel.

    Note:
        On a binary task, probability map and mask are compared as grey images.
    """
    return weighted_sum(features, weights, 1.0, _mean_square)


@loss(
    use="style transfer: the content of an image, regardless of its texture",
    sources=["Gatys et al. 2016"],
    example="content(network=tiny_seeded, layers=[relu3_1])",
)
def content(
    features: Features,
    *,
    weights: Sequence[NonNegative] | None = None,
    reduction: Literal["sum", "mean"] = "sum",
) -> PerSample:
    """Content loss: half the squared difference of the features of a deep layer.

    Σ_l w_l·½·Σ(F^l − P^l)² over the layers.

    Args:
        reduction: sum as in Gatys et al., or the mean over maps and positions without the factor ½,
            which is `perceptual`.

    Returns:
        Loss per sample, (B,), 0 or more. Undefined without a valid pixel.
    """
    if reduction == "mean":
        return weighted_sum(features, weights, 1.0, _mean_square)
    return weighted_sum(features, weights, 1.0, lambda maps: maps.total(_square(maps)) / 2)


@loss(
    use="style transfer: texture, regardless of the content",
    aliases=["texture", "style"],
    sources=["Gatys et al. 2015", "Gatys et al. 2016"],
    example="gram(network=tiny_seeded)",
)
def gram(
    features: Features,
    *,
    layers: Sequence[str] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
    weights: Sequence[NonNegative] | None = None,
) -> PerSample:
    """Style loss: squared difference of Gram matrices, which describe texture, not position.

    Σ_l w_l·Σ(G^l − A^l)² / (4·M_l²·N_l²), G^l = F^l·F^lᵀ and A^l = P^l·P^lᵀ of size M_l × M_l.

    Args:
        weights: w_l, one per layer; none means 1/number of layers each.

    Returns:
        Loss per sample, (B,), 0 or more. Undefined without a valid pixel.

    Note:
        Each Gram matrix is divided by its own number of positions, so images of different sizes can
        be compared; for equal sizes this is the formula. With G/(M·N) and a mean over the M²
        entries, as in PyTorch's tutorial, the value of a layer is 4/M² times this one.
    """

    def distance(maps: Maps) -> Tensor:
        pred, target = maps.grams()
        return ((pred - target) ** 2).sum((1, 2)) / (4 * pred.shape[1] ** 2)

    return weighted_sum(features, weights, 1 / len(features.layers), distance)


@loss(
    use="how different two images look to people",
    sources=["Zhang et al. 2018, LPIPS v0.1"],
    example="lpips(network=tiny_seeded)",
)
def lpips(calibrated: Calibrated) -> PerSample:
    """Learned perceptual image patch similarity, LPIPS v0.1.

    Σ_l mean over positions of Σ_m w_lm·(F̂ − P̂)², where F̂ and P̂ are the features of a position
    divided by their length, and w_l is the published linear head of layer l.

    Returns:
        Distance per sample, (B,), 0 or more. Undefined without a valid pixel.

    Note:
        The published package takes images from −1 to 1 unless normalize=True; the values agree for
        the same images.
    """
    distances = []
    for maps, head in calibrated.layers:
        square = (_unit(maps.pred) - _unit(maps.target)) ** 2
        distances.append((maps.mean(square) * head).sum(-1))
    return torch.stack(distances).sum(0)


@loss(
    use="how different two images look, tolerant of resampled texture",
    range=(0, 2),
    sources=["Ding et al. 2020"],
    example="dists(network=tiny_seeded, shorter=32)",
)
def dists(textures: Textures) -> PerSample:
    """Deep image structure and texture similarity, DISTS.

    1 − Σ_m [α_m·(2μ_Fμ_P + c)/(μ_F² + μ_P² + c) + β_m·(2σ_FP + c)/(σ_F² + σ_P² + c)] / Σ(α + β)
    over every map of the image itself and of five layers of VGG16, c = 1e-6.

    Returns:
        Distance per sample, (B,), 0 for identical images. Undefined without a valid pixel.

    Note:
        The authors' script first shrinks images to a shorter side of 256: shorter=256.
    """
    similarities, weights = [], []
    for maps, alpha, beta in textures.layers:
        pred, target = maps.pred.double(), maps.target.double()
        pred_mean, target_mean = maps.mean(pred), maps.mean(target)
        pred, target = pred - pred_mean[..., None, None], target - target_mean[..., None, None]
        texture = (2 * pred_mean * target_mean + STABLE) / (pred_mean**2 + target_mean**2 + STABLE)
        variances = maps.mean(pred**2) + maps.mean(target**2)
        structure = (2 * maps.mean(pred * target) + STABLE) / (variances + STABLE)
        similarities.append((alpha * texture + beta * structure).sum(-1))
        weights.append((alpha.double() + beta).sum())
    return 1 - ratio(torch.stack(similarities).sum(0), torch.stack(weights).sum())


def weighted_sum(
    features: Features,
    weights: Sequence[float] | None,
    default: float,
    distance: Callable[[Maps], Tensor],
) -> Tensor:
    """Weighted sum (B,) of a distance over the layers."""
    weights = weights or [default] * len(features.layers)
    terms = [w * distance(maps) for w, maps in zip(weights, features.layers, strict=True)]
    return torch.stack(terms).sum(0)


def _mean_square(maps: Maps) -> Tensor:
    """Mean squared difference ‖F − P‖² / (M·N), (B,)."""
    return maps.mean(_square(maps)).mean(-1)


def _square(maps: Maps) -> Tensor:
    if maps.pred.shape != maps.target.shape:
        raise InputError(
            "differs in size from the image it is compared with; only gram allows that", kind="size"
        )
    return (maps.pred - maps.target) ** 2


def _unit(maps: Tensor) -> Tensor:
    """Features of each position divided by their length."""
    length = root((maps**2).sum(1, keepdim=True))
    return maps / (length + TINY)
