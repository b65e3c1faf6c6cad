"""Losses of deep features: how far apart two images are to a network that has seen a million.

Inputs are pictures, grey or RGB, in [0, 1], normalised as ImageNet's are; grey is repeated. F^l are
the M_l maps of N_l = H_l·W_l positions that layer l makes of the prediction, P^l those of what it
is compared with. A position counts with the share of valid pixels in its part of the image; ignored
pixels are black in both images.
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

TINY = 1e-10  # LPIPS divides by a length plus this
STABLE = 1e-6  # DISTS's c₁ and c₂


@loss(
    family="deep",
    use="super-resolution and image translation, where pixels need not match",
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
    """Perceptual loss: the mean squared difference of deep features.

    Σ_l w_l·‖F^l − P^l‖² / (M_l·N_l) over the layers.

    Args:
        features: maps of both images.
        network: vgg16, vgg19, alexnet, squeezenet, or tiny_seeded to try things out.
        layers: by name, such as [relu1_2, relu2_2].
        weights: w_l, one a layer; none for 1 each.

    Returns:
        Loss per sample, shape (B,), 0 or more; 0 for identical images. Undefined without a valid
        pixel.

    Note:
        A binary task compares the probability map with the mask as grey pictures.
    """
    return weighed(features, weights, 1.0, _mean_square)


@loss(
    family="deep",
    use="style transfer: what is shown, whatever its texture",
    tasks=["image"],
    sources=["Gatys et al. 2016"],
    example="content(network=tiny_seeded, layers=[relu3_1])",
)
def content(
    features: Features,
    *,
    network: NetworkName = "vgg19",
    layers: Sequence[str] = ("relu4_2",),
    weights: Sequence[NonNegative] | None = None,
    reduction: Literal["sum", "mean"] = "sum",
) -> PerSample:
    """Content loss: half the squared difference of features of a high layer.

    Σ_l w_l·½·Σ(F^l − P^l)² over the layers.

    Args:
        features: maps of both images.
        network: vgg16, vgg19, alexnet, squeezenet, or tiny_seeded to try things out.
        layers: by name, such as [relu4_2].
        weights: w_l, one a layer; none for 1 each.
        reduction: sum as Gatys has it, or the mean over maps and positions without the half, which
            is `perceptual`.

    Returns:
        Loss per sample, shape (B,), 0 or more. Undefined without a valid pixel.
    """
    if reduction == "mean":
        return weighed(features, weights, 1.0, _mean_square)
    return weighed(features, weights, 1.0, lambda maps: maps.total(_square(maps)) / 2)


@loss(
    family="deep",
    use="style transfer: texture, whatever is shown",
    tasks=["image"],
    aliases=["texture", "style"],
    sources=["Gatys et al. 2015", "Gatys et al. 2016"],
    example="gram(network=tiny_seeded)",
)
def gram(
    features: Features,
    *,
    network: NetworkName = "vgg19",
    layers: Sequence[str] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
    weights: Sequence[NonNegative] | None = None,
) -> PerSample:
    """Style loss: the squared difference of Gram matrices, which know textures and no places.

    Σ_l w_l·Σ(G^l − A^l)² / (4·M_l²·N_l²), G^l = F^l·F^lᵀ and A^l = P^l·P^lᵀ of size M_l × M_l.

    Args:
        features: maps of both images, which may differ in size.
        network: vgg16, vgg19, alexnet, squeezenet, or tiny_seeded to try things out.
        layers: by name, such as [relu1_1, relu2_1].
        weights: w_l, one a layer; none for 1/number of layers each.

    Returns:
        Loss per sample, shape (B,), 0 or more. Undefined without a valid pixel.

    Note:
        Each Gram matrix is divided by its own number of positions, so that images of two sizes can
        be compared; of one size this is the formula. With G/(M·N) and a mean over the M² entries,
        as PyTorch's tutorial has it, the value of a layer is 4/M² times this one.
    """

    def apart(maps: Maps) -> Tensor:
        ours, theirs = maps.grams()
        return ((ours - theirs) ** 2).sum((1, 2)) / (4 * ours.shape[1] ** 2)

    return weighed(features, weights, 1 / len(features.layers), apart)


@loss(
    family="deep",
    use="how different two pictures look to people",
    tasks=["image"],
    sources=["Zhang et al. 2018, LPIPS v0.1"],
    example="lpips(network=tiny_seeded)",
)
def lpips(
    calibrated: Calibrated,
    *,
    network: Literal["alex", "vgg", "squeeze", "tiny_seeded"] = "alex",
) -> PerSample:
    """Learned perceptual image patch similarity, LPIPS v0.1.

    Σ_l mean over positions of Σ_m w_lm·(F̂ − P̂)², F̂ and P̂ the features of a position divided by
    their length, w_l the published linear head of layer l.

    Args:
        calibrated: maps of both images with their heads.
        network: alex, vgg or squeeze; tiny_seeded to try things out.

    Returns:
        Distance per sample, shape (B,), 0 or more. Undefined without a valid pixel.

    Note:
        The published package takes images from −1 to 1 unless normalize=True; the value is that of
        the same images.
    """
    found = []
    for maps, head in calibrated.layers:
        apart = (_unit(maps.pred) - _unit(maps.target)) ** 2
        found.append((maps.mean(apart) * head).sum(-1))
    return torch.stack(found).sum(0)


@loss(
    family="deep",
    use="how different two pictures look, texture for texture",
    tasks=["image"],
    range=(0, 2),
    sources=["Ding et al. 2020"],
    example="dists(network=tiny_seeded, shorter=32)",
)
def dists(textures: Textures) -> PerSample:
    """Deep image structure and texture similarity, DISTS.

    1 − Σ_m [α_m·(2μ_Fμ_P + c)/(μ_F² + μ_P² + c) + β_m·(2σ_FP + c)/(σ_F² + σ_P² + c)] / Σ(α + β)
    over every map of the image itself and of five layers of VGG16, c = 1e-6.

    Args:
        textures: maps of both images with the published α and β.

    Returns:
        Distance per sample, shape (B,), 0 for identical images. Undefined without a valid pixel.

    Note:
        The authors' script shrinks images to a shorter side of 256 first: shorter=256.
    """
    top, bottom = [], []
    for maps, alpha, beta in textures.layers:
        ours, theirs = maps.pred.double(), maps.target.double()
        mean, other = maps.mean(ours), maps.mean(theirs)
        ours, theirs = ours - mean[..., None, None], theirs - other[..., None, None]
        means = (2 * mean * other + STABLE) / (mean**2 + other**2 + STABLE)
        spread = maps.mean(ours**2) + maps.mean(theirs**2)
        shapes = (2 * maps.mean(ours * theirs) + STABLE) / (spread + STABLE)
        top.append((alpha * means + beta * shapes).sum(-1))
        bottom.append((alpha.double() + beta).sum())
    return 1 - ratio(torch.stack(top).sum(0), torch.stack(bottom).sum())


def weighed(
    features: Features,
    weights: Sequence[float] | None,
    default: float,
    apart: Callable[[Maps], Tensor],
) -> Tensor:
    """A distance of each layer, weighed and added, (B,)."""
    each = weights or [default] * len(features.layers)
    found = [w * apart(maps) for w, maps in zip(each, features.layers, strict=True)]
    return torch.stack(found).sum(0)


def _mean_square(maps: Maps) -> Tensor:
    """‖F − P‖² / (M·N), (B,)."""
    return maps.mean(_square(maps)).mean(-1)


def _square(maps: Maps) -> Tensor:
    if maps.pred.shape != maps.target.shape:
        raise InputError(
            "differs in size from what it is compared with: only Gram matrices do not mind",
            kind="size",
        )
    return (maps.pred - maps.target) ** 2


def _unit(maps: Tensor) -> Tensor:
    """Features of every position divided by their length."""
    length = root((maps**2).sum(1, keepdim=True))
    return maps / (length + TINY)
