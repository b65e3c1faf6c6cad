"""Distances between the surfaces of hard masks, and what share is close; none has a gradient."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lossbench.interface.annotations import Percent, PerClass
from lossbench.interface.stable_math import ratio
from lossbench.losses import loss
from lossbench.runtime.array_types import FloatArray
from lossbench.views.surfaces import Averages, Bands, Distances, Points, Within


def farthest(
    points: Points, percentile: float, *, directed: bool, pooled: bool, rule: str
) -> float:
    """The largest percentile of the two surfaces, or of the prediction's, or of both as one."""
    sides = points.sides[:1] if directed else points.sides
    if pooled:
        far, weight = zip(*sides, strict=True)
        sides = [(np.concatenate(far), np.concatenate(weight))]
    return max(quantile(far, weight, percentile / 100, rule) for far, weight in sides)


def quantile(far: FloatArray, weight: FloatArray, share: float, rule: str) -> float:
    """The distance that a share of all points keeps within."""
    if rule == "weighted":
        order = np.argsort(far, kind="stable")
        sums = np.cumsum(weight[order])
        first = int(np.searchsorted(sums / sums[-1], share))
        return float(far[order][min(first, len(far) - 1)])
    if share == 1 or np.isinf(far[0]):
        return float(far.max())
    place = share * (len(far) - 1)
    low = int(place)
    high = min(low + 1, len(far) - 1)
    ordered = np.partition(far, (low, high))
    step, part = ordered[high] - ordered[low], place - low
    # From the nearer end, as numpy does.
    return float(ordered[low] + step * part if part < 0.5 else ordered[high] - step * (1 - part))


@loss(
    family="boundary",
    use="segmentation judged by its worst place",
    tasks=["binary", "multiclass", "multilabel"],
    background=False,
    sources=["Huttenlocher et al. 1993", "monai.metrics.compute_hausdorff_distance"],
    aliases=["hausdorff_distance", "hd"],
    example="hausdorff(spacing=[0.5, 0.5])",
)
def hausdorff(
    distances: Distances,
    *,
    percentile: Percent = 100.0,
    directed: bool = False,
    pooled: bool = False,
    rule: Literal["linear", "weighted"] = "linear",
) -> PerClass:
    """Hausdorff distance.

    max(max_{a∈P} d(a, Y), max_{b∈Y} d(b, P)), P and Y the surfaces of the two masks, d the distance
    to the nearest point of the other one.

    Args:
        distances: between the surfaces of both masks.
        percentile: of the distances, in place of the largest.
        directed: only from the prediction to the target.
        pooled: the percentile of both directions together, in place of the larger of the two.
        rule: a percentile between two distances is interpolated (linear), or it is the first
            distance up to which that share of the surface's weight lies (weighted).

    Returns:
        Distances of shape (B, C) in pixels or the spacing's unit; nan where both masks are empty.

    Note:
        Libraries disagree on the percentile, on the surface, and on an empty mask:
        `--convention all` shows by how much. MetricsReloaded and MONAI with a percentile skip a
        missed object, so that it improves a mean.
    """

    def measure(points: Points) -> float:
        return farthest(points, percentile, directed=directed, pooled=pooled, rule=rule)

    return distances.each(measure)


@loss(
    family="boundary",
    use="segmentation judged by its bad places, a few stray pixels forgiven",
    tasks=["binary", "multiclass", "multilabel"],
    background=False,
    sources=["Taha and Hanbury 2015", "monai.metrics.compute_hausdorff_distance(percentile=95)"],
    aliases=["hausdorff95", "hausdorff_distance_95"],
    example="hd95(one_empty=diagonal)",
)
def hd95(
    distances: Distances,
    *,
    directed: bool = False,
    pooled: bool = False,
    rule: Literal["linear", "weighted"] = "linear",
) -> PerClass:
    """95th percentile of the Hausdorff distance.

    max(P95_{a∈P} d(a, Y), P95_{b∈Y} d(b, P)), each percentile interpolated between distances.

    Args:
        distances: between the surfaces of both masks.
        directed: only from the prediction to the target.
        pooled: the percentile of both directions together, in place of the larger of the two.
        rule: a percentile between two distances is interpolated (linear), or it is the first
            distance up to which that share of the surface's weight lies (weighted).

    Returns:
        Distances of shape (B, C) in pixels or the spacing's unit; nan where both masks are empty.

    Note:
        MedPy takes the percentile of both directions pooled; surface-distance takes
        `surface=subpixel, rule=weighted`; MONAI and MetricsReloaded agree with the default.
    """
    return hausdorff(distances, percentile=95.0, directed=directed, pooled=pooled, rule=rule)


@loss(
    family="boundary",
    use="segmentation judged by the usual error of its outline",
    tasks=["binary", "multiclass", "multilabel"],
    background=False,
    sources=["Heimann et al. 2009", "medpy.metric.assd"],
    aliases=["average_symmetric_surface_distance"],
    example="assd(spacing=[0.5, 0.5])",
)
def assd(averages: Averages) -> PerClass:
    """Average symmetric surface distance.

    (Σ_{a∈P} d(a, Y) + Σ_{b∈Y} d(b, P)) / (|P| + |Y|), P and Y the surfaces of the two masks.

    Args:
        averages: sums over both surfaces.

    Returns:
        Distances of shape (B, C) in pixels or the spacing's unit; nan where both masks are empty.

    Note:
        MedPy up to 0.4 and panoptica average the two directions first, which is `masd`.
    """
    return ratio(averages.distance, averages.points)


@loss(
    family="boundary",
    use="as assd, both outlines weighing the same however long they are",
    tasks=["binary", "multiclass", "multilabel"],
    background=False,
    sources=["Maier-Hein et al. 2024 (Metrics Reloaded)"],
    aliases=["mean_average_surface_distance"],
    example="masd(directed=true)",
)
def masd(distances: Distances, *, directed: bool = False) -> PerClass:
    """Mean average surface distance.

    ½·(mean_{a∈P} d(a, Y) + mean_{b∈Y} d(b, P)), P and Y the surfaces of the two masks.

    Args:
        distances: between the surfaces of both masks.
        directed: only from the prediction to the target.

    Returns:
        Distances of shape (B, C) in pixels or the spacing's unit; nan where both masks are empty.
    """

    def mean(points: Points) -> float:
        means = [float((far * weight).sum() / weight.sum()) for far, weight in points.sides]
        return means[0] if directed else sum(means) / len(means)

    return distances.each(mean)


@loss(
    family="boundary",
    use="the share of an outline that needs no correction",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(0, 1),
    background=False,
    sources=["Nikolov et al. 2018"],
    aliases=["surface_dice", "normalized_surface_distance", "normalised_surface_distance"],
    example="nsd(tolerance=2)",
)
def nsd(within: Within) -> PerClass:
    """Normalised surface distance, or surface Dice.

    (|{a∈P : d(a, Y) ≤ τ}| + |{b∈Y : d(b, P) ≤ τ}|) / (|P| + |Y|), P and Y the surfaces of the two
    masks, τ the tolerance.

    Args:
        within: how much of both surfaces is close, and all of it.

    Returns:
        Scores of shape (B, C); 0 where one mask is empty, nan where both are.

    Note:
        surface-distance measures surfaces by their area: `surface=subpixel`.
    """
    return ratio(within.close, within.points)


@loss(
    family="boundary",
    use="IoU of outlines: what large objects hide from iou",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(0, 1),
    background=False,
    sources=["Cheng et al. 2021"],
    example="boundary_iou(dilation=3)",
)
def boundary_iou(bands: Bands) -> PerClass:
    """Boundary intersection over union.

    |P_d ∩ Y_d| / |P_d ∪ Y_d|, P_d and Y_d the pixels of each mask whose nearest pixel outside it is
    at most d away; outside the image is outside.

    Args:
        bands: pixels of the inner bands.

    Returns:
        Scores of shape (B, C); 0 where one mask is empty, nan where both are and where neither
        band has a pixel.

    Note:
        boundary-iou-api has `distance=chessboard`; MetricsReloaded takes the surface alone, which
        is `dilation=1`.
    """
    return ratio(bands.both, bands.either)
