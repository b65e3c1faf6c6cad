"""Losses of boundaries and shapes: distances to an edge, erosions, skeletons, holes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from lossbench.errors import InputError, SettingError
from lossbench.geometry.distance_transform import around
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


def mean(value: Tensor, weight: Tensor) -> Tensor:
    """Σ w·value / Σ w over the elements; undefined where none counts."""
    return ratio(total(value, weight), weight.sum(-1).expand(value.shape[:2]))


@loss(
    family="boundary",
    use="small objects, beside an overlap loss: how far off the boundary false pixels lie",
    tasks=["binary", "multiclass", "multilabel"],
    range=(None, None),
    sources=["Kervadec et al. 2019"],
    example="0.01*boundary + dice",
    background=False,
)
def boundary(pred: Probability, distances: DistanceMaps, weight: Weight) -> PerClass:
    """Boundary loss: the prediction against the signed distance from the target's boundary.

    mean of φ·p over the valid pixels, with φ the distance to the target where a pixel is outside
    it, and 1 minus the distance to the outside where it is inside.

    Args:
        pred: probabilities, shape (B, C, N).
        distances: of each pixel from the edge of the target.
        weight: how much each pixel counts; an ignored one is outside the target.

    Returns:
        Loss per sample and class, shape (B, C); negative where most of p is inside the target;
        undefined where the target is empty or full.

    Note:
        With a spacing the 1 stays a 1, as in the authors' code.
    """
    inside, across = distances.target
    signed = torch.where(inside, 1 - across, across)
    defined = inside.any(-1) & ~inside.all(-1)
    return mean(signed * pred, weight).where(defined, torch.nan)


@loss(
    family="boundary",
    use="a smooth stand-in for the Hausdorff distance in training",
    tasks=["binary", "multiclass", "multilabel"],
    sources=["Karimi & Salcudean 2019", "monai.losses.HausdorffDTLoss"],
    example="hausdorff_dt(alpha=1)",
    background=False,
)
def hausdorff_dt(
    pred: Probability,
    target: Probability,
    distances: DistanceMaps,
    weight: Weight,
    *,
    alpha: Positive = 2.0,
) -> PerClass:
    """Hausdorff loss by distance transforms: errors weigh more the further they are from an edge.

    mean of (p − y)²·(D_p^α + D_y^α) over the valid pixels, with D the distance of a pixel to the
    nearest one on the other side of the mask's edge, 0 everywhere where a mask is empty or full.

    Args:
        pred: probabilities, shape (B, C, N).
        target: 0 or 1, or soft, likewise.
        distances: of each pixel from the edge of both masks.
        weight: how much each pixel counts; an ignored one is outside both masks.
        alpha: α, how much faster than its distance an error grows.

    Returns:
        Loss per sample and class, shape (B, C), 0 or more.

    Note:
        In the gradient D is constant.
    """
    far = power(distances.pred.across, alpha) + power(distances.target.across, alpha)
    return mean((pred - target) ** 2 * far, weight)


@loss(
    family="boundary",
    use="a stand-in for the Hausdorff distance that needs no distance maps",
    tasks=["binary", "multiclass", "multilabel"],
    sources=["Karimi & Salcudean 2019"],
    example="hausdorff_er(erosions=5)",
    background=False,
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
    """Hausdorff loss by erosion: errors weigh more the longer they last when they are eroded.

    mean of Σ_k k^α·b_k over the valid pixels, k = 1 … erosions, with b₀ = (p − y)² and b_k the part
    above ½ of b_{k−1} averaged over a cross, stretched to [0, 1]; beyond the image b is 0.

    Args:
        pred: probabilities, shape (B, C, *space).
        target: 0 or 1, or soft, likewise.
        valid: whether a pixel counts; an ignored one is no error.
        weight: how much each pixel counts.
        alpha: α, how much faster than the size of an error its weight grows.
        erosions: how often b is eroded.

    Returns:
        Loss per sample and class, shape (B, C), 0 or more.

    Note:
        The cross has 5 pixels in 2-D and 7 in 3-D. A b that is the same
        everywhere is not stretched.
    """

    def weighed(error: Tensor) -> Tensor:
        every = error * 0
        for k in range(1, erosions + 1):
            error = stretched((crossed(error) - 0.5).clamp(min=0))
            every = every + k**alpha * error
        return every

    error = ((pred - target) ** 2).where(valid, 0.0)
    return mean(by_plane(weighed, error).flatten(2), weight)


def by_plane(function: Callable[[Tensor], Tensor], images: Tensor, whole: bool = False) -> Tensor:
    """A function of every class of every sample (*space) by itself, which is 0 where that is 0.

    Unless it needs the whole it gets the part that is not 0, and where the image goes on the pixels
    about it. (One class after another takes a third of the time of all at once.)
    """
    found = []
    for image in images.flatten(0, 1):
        some = image.detach().cpu().numpy() != 0
        box = (...,) if whole or not some.any() else around(some)
        every = image * 0
        every[box] = function(image[box])
        found.append(every)
    return torch.stack(found).reshape(images.shape)


def beside(image: Tensor, axis: int, beyond: float) -> tuple[Tensor, Tensor]:
    """What is before and after each pixel along an axis; `beyond` outside the image."""
    last = image.shape[axis] - 1
    end = torch.full_like(image.narrow(axis, 0, 1), beyond)
    before = torch.cat([end, image.narrow(axis, 0, last)], axis)
    return before, torch.cat([image.narrow(axis, 1, last), end], axis)


def crossed(image: Tensor) -> Tensor:
    """The mean of each pixel of an image (*space) and its neighbours along the axes."""
    found = image
    for axis in range(image.ndim):
        before, after = beside(image, axis, 0.0)
        found = found + before + after
    return found / (2 * image.ndim + 1)


def stretched(image: Tensor) -> Tensor:
    """An image from 0 to 1, unless it is the same everywhere."""
    low, high = image.amin(), image.amax()
    return (image - low) / (high - low) if high > low else image


@loss(
    family="boundary",
    use="vessels, roads and cracks that must stay connected",
    tasks=["binary", "multiclass", "multilabel"],
    range=(0, 1),
    sources=["Shit et al. 2021, clDice", "skimage.morphology.skeletonize"],
    example="cldice(threshold=0.3)",
    background=False,
)
def cldice(masks: Masks, weight: Weight) -> PerClass:
    """Centre-line Dice loss: how much of each mask's skeleton is in the other mask.

    1 − 2·P·S / (P + S), with P the share of the prediction's skeleton that is in the target, and S
    the share of the target's skeleton that is in the prediction.

    Args:
        masks: both hard masks, shape (B, C, *space), of two or three axes.
        weight: how much each pixel counts.

    Returns:
        Loss per sample and class, shape (B, C), in [0, 1]; 1 where one mask is empty; undefined
        where both are, and where the skeleton of a mask that is not empty vanishes.

    Note:
        It needs scikit-image, `pip install 'lossbench[topology]'`, whose skeletons are Zhang's in
        2-D and Lee's in 3-D. The paper's coefficient is one minus this; for training there is
        `soft_cldice`.
    """
    sides = [masks.pred, masks.target]
    lines = [skeletons(mask).flatten(2).to(weight) for mask in sides]
    flat = [mask.flatten(2).to(weight) for mask in sides]
    shares = [
        ratio(total(line * mask, weight), total(line, weight))
        for line, mask in zip(lines, reversed(flat), strict=True)
    ]
    some = [total(mask, weight) > 0 for mask in flat]
    return centre_line(shares, some[0] ^ some[1])


def skeletons(masks: Tensor) -> Tensor:
    """What is left of masks (B, C, *space) that are thinned to lines."""
    try:
        from skimage.morphology import skeletonize
    except ImportError:
        raise SettingError(
            "cldice needs scikit-image, which is not installed:"
            " pip install 'lossbench[topology]'; soft_cldice does without"
        ) from None
    axes = masks.ndim - 2
    if axes not in (2, 3):
        raise InputError(
            f"has {axes} axes where cldice thins masks of 2 or 3; soft_cldice takes any",
            kind="mismatch",
        )
    planes = masks.flatten(0, 1).cpu().numpy()
    thin = np.stack([skeletonize(plane) > 0 for plane in planes])
    return torch.as_tensor(thin, device=masks.device).reshape(masks.shape)


@loss(
    family="boundary",
    use="vessels, roads and cracks that must stay connected, for training",
    tasks=["binary", "multiclass", "multilabel"],
    range=(None, 1),
    sources=["Shit et al. 2021, clDice", "monai.losses.SoftclDiceLoss"],
    example="0.5*soft_cldice(iterations=10, smooth=1) + 0.5*dice",
    background=False,
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
    """Soft centre-line Dice loss: how much of each soft skeleton is in the other mask.

    1 − 2·P·S / (P + S + ε), with P = (Σ S(p)·y + s) / (Σ S(p) + s), S = (Σ S(y)·p + s) /
    (Σ S(y) + s), and S(m) the soft skeleton: all that opening takes away from m and from its
    erosions.

    Args:
        pred: probabilities, shape (B, C, *space).
        target: 0 or 1, or soft, likewise.
        valid: whether a pixel counts; an ignored one is outside both masks.
        weight: how much each pixel counts.
        iterations: how often a mask is eroded; half the width of the widest thing.
        smooth: s, added above and below; 0 leaves the plain ratios.
        smooth_nr: s above the fraction alone.
        smooth_dr: s below the fraction alone.
        eps: ε, added to P + S.

    Returns:
        Loss per sample and class, shape (B, C), in [0, 1], less with smoothing. Without it 1
        where one mask is empty; undefined where both are, and where the skeleton of a mask that is
        not empty vanishes.

    Note:
        Erosion takes the least of a pixel and its neighbours along the axes, dilation the largest
        of all that touch it; what is beyond the image does not count. MONAI's is
        soft_cldice(smooth=1, eps=1e-4), all classes as one.
    """
    above = smooth if smooth_nr is None else smooth_nr
    below = smooth if smooth_dr is None else smooth_dr
    pred, target = pred.where(valid, 0.0), target.where(valid, 0.0)
    lines = [soft_skeletons(mask, iterations).flatten(2) for mask in (pred, target)]
    masks = [mask.flatten(2) for mask in (pred, target)]
    shares = [
        ratio(total(line * mask, weight) + above, total(line, weight) + below)
        for line, mask in zip(lines, reversed(masks), strict=True)
    ]
    some = [total(mask, weight) > 0 for mask in masks]
    counts = (weight > 0).any(-1)
    return centre_line(shares, some[0] ^ some[1], eps).where(counts, torch.nan)


def centre_line(shares: list[Tensor], one_empty: Tensor, eps: float = 0.0) -> Tensor:
    """1 − the harmonic mean of both shares; 1 where both are 0 or one mask is empty."""
    undefined = shares[0].isnan() | shares[1].isnan()
    first, second = (share.where(~undefined, 0.0) for share in shares)
    below = first + second + eps
    score = 2 * first * second / below.where(below > 0, 1.0)
    return (1 - score).where(~undefined | one_empty, torch.nan)


def soft_skeletons(masks: Tensor, iterations: int) -> Tensor:
    """Soft skeletons of masks (B, C, *space); where they are 0 they may have a gradient."""
    return by_plane(lambda mask: soft_skeleton(mask, iterations), masks, whole=masks.requires_grad)


def soft_skeleton(mask: Tensor, iterations: int) -> Tensor:
    """What opening takes away from a soft mask (*space) and from its erosions."""
    skeleton = (mask - opened(mask)).clamp(min=0)
    for _ in range(iterations):
        mask = eroded(mask)
        more = (mask - opened(mask)).clamp(min=0)
        skeleton = skeleton + (more - skeleton * more).clamp(min=0)
    return skeleton


def eroded(mask: Tensor) -> Tensor:
    """The least of each pixel and its neighbours along the axes."""
    found = mask
    for axis in range(mask.ndim):
        for other in beside(mask, axis, torch.inf):
            found = torch.minimum(found, other)
    return found


def opened(mask: Tensor) -> Tensor:
    """Eroded, then the largest of each pixel and all that touch it."""
    found = eroded(mask)
    for axis in range(mask.ndim):
        before, after = beside(found, axis, -torch.inf)
        found = torch.maximum(torch.maximum(found, before), after)
    return found


@loss(
    family="boundary",
    use="whether a mask has as many parts and holes as the truth",
    tasks=["binary", "multiclass", "multilabel"],
    sources=["Hu et al. 2019"],
    example="betti_error(connectivity=faces)",
    background=False,
)
def betti_error(
    masks: Masks, valid: Valid, *, connectivity: Literal["corners", "faces"] = "corners"
) -> PerClass:
    """Betti error: how many parts and holes there are too many or too few.

    |Δ components| + |Δ holes| of two masks; in 3-D + |Δ tunnels|, and a hole is a closed cavity.

    Args:
        masks: both hard masks, shape (B, C, *space).
        valid: whether a pixel counts; an ignored one is outside both masks.
        connectivity: pixels hold together across corners (8 neighbours in 2-D, 26 in 3-D), and the
            background across faces (4, 6); or, with faces, the other way round.

    Returns:
        A whole number per sample and class, shape (B, C), 0 or more. An image of more than three
        axes is an error.

    Note:
        Beyond the image there is background, so that a bay at its edge is no hole.
    """
    if masks.pred.ndim > 5:
        raise InputError(
            f"has {masks.pred.ndim - 2} axes where betti_error counts the holes of up to 3",
            kind="mismatch",
        )
    sides = [
        torch.tensor([[betti(m, connectivity) for m in row] for row in mask.cpu().numpy()])
        for mask in (masks.pred, masks.target)
    ]
    apart = (sides[0] - sides[1]).abs().sum(-1).to(masks.pred.device, torch.float64)
    return apart.where(valid.flatten(2).any(-1), torch.nan)


def betti(mask: BoolArray, connectivity: str) -> list[int]:
    """Components; holes; and in 3-D tunnels, between the two."""
    axes = mask.ndim
    padded = np.pad(mask, 1)
    whole = ndimage.generate_binary_structure(axes, axes)
    faces = ndimage.generate_binary_structure(axes, 1)
    inner, outer = (whole, faces) if connectivity == "corners" else (faces, whole)
    parts = ndimage.label(padded, inner)[1]
    if axes == 1:
        return [parts]
    holes = ndimage.label(~padded, outer)[1] - 1
    tunnels = [parts + holes - euler(padded, connectivity)] if axes == 3 else []
    return [parts, *tunnels, holes]


def euler(mask: BoolArray, connectivity: str) -> int:
    """The Euler characteristic of a mask with background about it, by counting cells.

    Across corners: pixels are closed boxes, and a corner, edge or face of the grid is there where
    any pixel has it. Across faces: pixels are points, and there is an edge, square or cube where
    all pixels about it are inside.
    """
    corners = connectivity == "corners"
    join: Callable[[Any, Any], BoolArray] = np.logical_or if corners else np.logical_and
    found = 0
    for along in product((False, True), repeat=mask.ndim):
        cells = mask
        for axis in np.flatnonzero(along):
            last = cells.shape[axis]
            cells = join(cells.take(range(1, last), axis), cells.take(range(last - 1), axis))
        dimension = mask.ndim - sum(along) if corners else sum(along)
        found += (-1) ** dimension * int(cells.sum())
    return found
