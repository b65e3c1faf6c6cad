"""Boundary and shape losses: distances to an edge, erosion, skeletons, holes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from lossbench.errors import InputError, SettingError
from lossbench.geometry.distance_transform import bounding_box
from lossbench.interface.annotations import (
    Count,
    Image,
    NonNegative,
    PerClass,
    Positive,
    Probability,
    Valid,
    Weight,
)
from lossbench.interface.stable_math import power, ratio, total
from lossbench.losses import loss
from lossbench.runtime.array_types import BoolArray
from lossbench.views.confusion import Masks
from lossbench.views.distance_maps import DistanceMaps

# Facts of every loss of this module that does not state others.
SHARED_FACTS = {"background": False}


def mean(value: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean Σ w·value / Σ w over the elements; undefined where all weights are 0."""
    return ratio(total(value, weight), weight.sum(-1).expand(value.shape[:2]))


@loss(
    use="small objects, together with an overlap loss: how far from the boundary false pixels lie",
    range=(None, None),
    sources=["Kervadec et al. 2019"],
    example="0.01*boundary + dice",
)
def boundary(pred: Probability, distances: DistanceMaps, weight: Weight) -> PerClass:
    """Boundary loss: the prediction times the signed distance to the target's boundary.

    mean of φ·p over the valid pixels, where φ is the distance to the target for a pixel outside it,
    and 1 minus the distance to the background for a pixel inside it.

    Returns:
        Loss per sample and class, (B, C); negative where most of p is inside the target; undefined
        where the target is empty or full.

    Note:
        The constant 1 is not scaled by the spacing, as in the authors' code.
    """
    inside, distance = distances.target
    signed = torch.where(inside, 1 - distance, distance)
    defined = inside.any(-1) & ~inside.all(-1)
    return mean(signed * pred, weight).where(defined, torch.nan)


@loss(
    use="a differentiable substitute for the Hausdorff distance in training",
    sources=["Karimi & Salcudean 2019", "monai.losses.HausdorffDTLoss"],
    example="hausdorff_dt(alpha=1)",
)
def hausdorff_dt(
    pred: Probability,
    target: Probability,
    distances: DistanceMaps,
    weight: Weight,
    *,
    alpha: Positive = 2.0,
) -> PerClass:
    """Hausdorff loss by distance transform: errors farther from an edge cost more.

    mean of (p − y)²·(D_p^α + D_y^α) over the valid pixels, where D is the distance of a pixel to
    the nearest pixel on the other side of the mask's edge; D is 0 everywhere for an empty or full
    mask.

    Args:
        alpha: α, the power of the distance.

    Returns:
        Loss per sample and class, (B, C), 0 or more.

    Note:
        D is treated as a constant in the gradient.
    """
    factor = power(distances.pred.across, alpha) + power(distances.target.across, alpha)
    return mean((pred - target) ** 2 * factor, weight)


@loss(
    use="a substitute for the Hausdorff distance that needs no distance maps",
    sources=["Karimi & Salcudean 2019"],
    example="hausdorff_er(erosions=5)",
)
def hausdorff_er(
    pred: Image,
    target: Image,
    valid: Valid,
    weight: Weight,
    *,
    alpha: NonNegative = 2.0,
    erosions: Count = 10,
) -> PerClass:
    """Hausdorff loss by erosion: errors that survive more erosions cost more.

    mean of Σ_k k^α·b_k over the valid pixels, k = 1 … erosions, with b₀ = (p − y)² and b_k the
    excess over ½ of b_{k−1} averaged over a cross, rescaled to [0, 1]; b is 0 beyond the image.

    Args:
        alpha: α, the power of the erosion number k.
        erosions: number of erosions of b.

    Returns:
        Loss per sample and class, (B, C), 0 or more.

    Note:
        The cross has 5 pixels in 2-D and 7 in 3-D. A constant b is not rescaled.
    """

    def eroded_sum(error: Tensor) -> Tensor:
        result = error * 0
        for k in range(1, erosions + 1):
            error = rescaled((cross_mean(error) - 0.5).clamp(min=0))
            result = result + k**alpha * error
        return result

    error = ((pred - target) ** 2).where(valid, 0.0)
    return mean(by_plane(eroded_sum, error).flatten(2), weight)


def by_plane(function: Callable[[Tensor], Tensor], images: Tensor, whole: bool = False) -> Tensor:
    """Apply a function to each class of each sample (*space); its result is 0 where the input is 0.

    Unless `whole` is set, the function gets only the bounding box of the non-zero pixels with a
    margin of one pixel. (One class at a time takes a third of the time of all at once.)
    """
    results = []
    for image in images.flatten(0, 1):
        nonzero = image.detach().cpu().numpy() != 0
        box = (...,) if whole or not nonzero.any() else bounding_box(nonzero)
        result = image * 0
        result[box] = function(image[box])
        results.append(result)
    return torch.stack(results).reshape(images.shape)


def neighbours(image: Tensor, axis: int, fill: float) -> tuple[Tensor, Tensor]:
    """The pixels before and after each pixel along an axis; `fill` outside the image."""
    last = image.shape[axis] - 1
    end = torch.full_like(image.narrow(axis, 0, 1), fill)
    before = torch.cat([end, image.narrow(axis, 0, last)], axis)
    return before, torch.cat([image.narrow(axis, 1, last), end], axis)


def cross_mean(image: Tensor) -> Tensor:
    """Mean of each pixel of an image (*space) and its neighbours along the axes."""
    result = image
    for axis in range(image.ndim):
        before, after = neighbours(image, axis, 0.0)
        result = result + before + after
    return result / (2 * image.ndim + 1)


def rescaled(image: Tensor) -> Tensor:
    """Rescale an image to [0, 1] unless it is constant."""
    low, high = image.amin(), image.amax()
    return (image - low) / (high - low) if high > low else image


@loss(
    use="vessels, roads and cracks that must stay connected",
    range=(0, 1),
    sources=["Shit et al. 2021, clDice", "skimage.morphology.skeletonize"],
    example="cldice(threshold=0.3)",
)
def cldice(masks: Masks, weight: Weight) -> PerClass:
    """Centre-line Dice loss: how much of each mask's skeleton the other mask covers.

    1 − 2·P·S / (P + S), with P the fraction of the prediction's skeleton inside the target, and S
    the fraction of the target's skeleton inside the prediction.

    Returns:
        Loss per sample and class, (B, C), in [0, 1]; 1 where one mask is empty; undefined where
        both are empty or a non-empty mask has an empty skeleton.

    Note:
        Needs scikit-image, `pip install 'lossbench[topology]'`, and uses its skeletons: Zhang's in
        2-D and Lee's in 3-D. The paper's coefficient is one minus this loss. For training, use
        `soft_cldice`.
    """
    pair = [masks.pred, masks.target]
    lines = [skeletons(mask).flatten(2).to(weight) for mask in pair]
    flat = [mask.flatten(2).to(weight) for mask in pair]
    fractions = [
        ratio(total(line * mask, weight), total(line, weight))
        for line, mask in zip(lines, reversed(flat), strict=True)
    ]
    non_empty = [total(mask, weight) > 0 for mask in flat]
    return centre_line(fractions, non_empty[0] ^ non_empty[1])


def skeletons(masks: Tensor) -> Tensor:
    """Thin masks (B, C, *space) to lines."""
    try:
        from skimage.morphology import skeletonize
    except ImportError:
        raise SettingError(
            "cldice needs scikit-image, which is not installed:"
            " pip install 'lossbench[topology]'; soft_cldice works without it"
        ) from None
    axes = masks.ndim - 2
    if axes not in (2, 3):
        raise InputError(
            f"has {axes} axes; cldice supports 2 or 3, soft_cldice any number", kind="mismatch"
        )
    planes = masks.flatten(0, 1).contiguous().cpu().numpy()  # some versions read only such
    thin = np.stack([skeletonize(plane) > 0 for plane in planes])
    return torch.as_tensor(thin, device=masks.device).reshape(masks.shape)


@loss(
    use="vessels, roads and cracks that must stay connected; for training",
    range=(None, 1),
    sources=["Shit et al. 2021, clDice", "monai.losses.SoftclDiceLoss"],
    example="0.5*soft_cldice(iterations=10, smooth=1) + 0.5*dice",
)
def soft_cldice(
    pred: Image,
    target: Image,
    valid: Valid,
    weight: Weight,
    *,
    iterations: Count = 3,
    smooth: NonNegative = 0.0,
    smooth_nr: NonNegative | None = None,
    smooth_dr: NonNegative | None = None,
    eps: NonNegative = 0.0,
) -> PerClass:
    """Soft centre-line Dice loss: how much of each soft skeleton the other mask covers.

    1 − 2·P·S / (P + S + ε), with P = (Σ S(p)·y + s) / (Σ S(p) + s), S = (Σ S(y)·p + s) / (Σ S(y) +
    s), and S(m) the soft skeleton: everything that opening removes from m and from its erosions.

    Args:
        iterations: number of erosions of a mask; half the width of the widest structure.
        smooth: s, added to numerator and denominator; 0 gives the plain fractions.
        smooth_nr: s in the numerator, if different.
        smooth_dr: s in the denominator, if different.
        eps: ε, added to P + S.

    Returns:
        Loss per sample and class, (B, C), in [0, 1], lower with smoothing. Without smoothing, 1
        where one mask is empty; undefined where both are empty or a non-empty mask has an empty
        skeleton.

    Note:
        Erosion is the minimum over a pixel and its neighbours along the axes; dilation is the
        maximum over all pixels that touch it. Pixels beyond the image do not count.
    """
    above = smooth if smooth_nr is None else smooth_nr
    below = smooth if smooth_dr is None else smooth_dr
    pred, target = pred.where(valid, 0.0), target.where(valid, 0.0)
    lines = [
        by_plane(lambda x: soft_skeleton(x, iterations), mask, whole=mask.requires_grad).flatten(2)
        for mask in (pred, target)  # with gradients, zero pixels are processed as well
    ]
    masks = [mask.flatten(2) for mask in (pred, target)]
    fractions = [
        ratio(total(line * mask, weight) + above, total(line, weight) + below)
        for line, mask in zip(lines, reversed(masks), strict=True)
    ]
    non_empty = [total(mask, weight) > 0 for mask in masks]
    has_pixels = (weight > 0).any(-1)
    one_empty = non_empty[0] ^ non_empty[1]
    return centre_line(fractions, one_empty, eps).where(has_pixels, torch.nan)


def centre_line(fractions: list[Tensor], one_empty: Tensor, eps: float = 0.0) -> Tensor:
    """One minus the harmonic mean of both fractions; 1 where both are 0 or one mask is empty."""
    undefined = fractions[0].isnan() | fractions[1].isnan()
    first, second = (fraction.where(~undefined, 0.0) for fraction in fractions)
    denominator = first + second + eps
    score = 2 * first * second / denominator.where(denominator > 0, 1.0)
    return (1 - score).where(~undefined | one_empty, torch.nan)


def soft_skeleton(mask: Tensor, iterations: int) -> Tensor:
    """Everything that opening removes from a soft mask (*space) and from its erosions."""
    skeleton = (mask - opened(mask)).clamp(min=0)
    for _ in range(iterations):
        mask = eroded(mask)
        removed = (mask - opened(mask)).clamp(min=0)
        skeleton = skeleton + (removed - skeleton * removed).clamp(min=0)
    return skeleton


def eroded(mask: Tensor) -> Tensor:
    """Minimum over each pixel and its neighbours along the axes."""
    result = mask
    for axis in range(mask.ndim):
        for neighbour in neighbours(mask, axis, torch.inf):
            result = torch.minimum(result, neighbour)
    return result


def opened(mask: Tensor) -> Tensor:
    """Erosion, then dilation: the maximum over each pixel and all pixels that touch it."""
    result = eroded(mask)
    for axis in range(mask.ndim):
        before, after = neighbours(result, axis, -torch.inf)
        result = torch.maximum(torch.maximum(result, before), after)
    return result


@loss(
    use="whether a mask has as many components and holes as the ground truth",
    sources=["Hu et al. 2019"],
    example="betti_error(connectivity=faces)",
)
def betti_error(
    masks: Masks, valid: Valid, *, connectivity: Literal["corners", "faces"] = "corners"
) -> PerClass:
    """Betti error: difference in the number of components and holes.

    |Δ components| + |Δ holes| of the two masks; in 3-D + |Δ tunnels|, where a hole is a closed
    cavity.

    Args:
        connectivity: corners connects foreground pixels across corners (8 neighbours in 2-D, 26 in
            3-D) and background pixels across faces (4, 6); faces is the reverse.

    Returns:
        A whole number per sample and class, (B, C), 0 or more. An image with more than three axes
        is an error.

    Note:
        Everything beyond the image is background, so a bay at the image's edge is not a hole.
    """
    if masks.pred.ndim > 5:
        raise InputError(
            f"has {masks.pred.ndim - 2} axes; betti_error supports up to 3", kind="mismatch"
        )
    numbers = [
        torch.tensor([[betti(m, connectivity) for m in row] for row in mask.cpu().numpy()])
        for mask in (masks.pred, masks.target)
    ]
    error = (numbers[0] - numbers[1]).abs().sum(-1).to(masks.pred.device, torch.float64)
    return error.where(valid.flatten(2).any(-1), torch.nan)


def betti(mask: BoolArray, connectivity: str) -> list[int]:
    """Betti numbers: components and holes, in 3-D with tunnels between the two."""
    axes = mask.ndim
    padded = np.pad(mask, 1)
    corners = ndimage.generate_binary_structure(axes, axes)
    faces = ndimage.generate_binary_structure(axes, 1)
    inner, outer = (corners, faces) if connectivity == "corners" else (faces, corners)
    components = ndimage.label(padded, inner)[1]
    if axes == 1:
        return [components]
    holes = ndimage.label(~padded, outer)[1] - 1
    tunnels = [components + holes - euler(padded, connectivity)] if axes == 3 else []
    return [components, *tunnels, holes]


def euler(mask: BoolArray, connectivity: str) -> int:
    """Euler characteristic of a mask surrounded by background, by counting cells.

    Across corners, pixels are closed boxes, and a corner, edge or face of the grid is a cell if any
    pixel has it. Across faces, pixels are points, and an edge, square or cube is a cell if all its
    pixels are inside.
    """
    corners = connectivity == "corners"
    join: Callable[[Any, Any], BoolArray] = np.logical_or if corners else np.logical_and
    characteristic = 0
    for along in product((False, True), repeat=mask.ndim):
        cells = mask
        for axis in np.flatnonzero(along):
            last = cells.shape[axis]
            cells = join(cells.take(range(1, last), axis), cells.take(range(last - 1), axis))
        dimension = mask.ndim - sum(along) if corners else sum(along)
        characteristic += (-1) ** dimension * int(cells.sum())
    return characteristic
