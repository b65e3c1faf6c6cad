"""Distances between the surfaces of hard masks and scores based on them; none has a gradient.

Args:
    directed: only from the prediction to the target.
    pooled: percentile of both directions together, instead of the larger of the two.
    rule: linear interpolates between distances; weighted takes the first distance at which the
        fraction of the surface's weight is reached.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from lossbench.interface.annotations import Percent, PerClass
from lossbench.interface.stable_math import ratio
from lossbench.losses import loss
from lossbench.runtime.array_types import FloatArray
from lossbench.views.surfaces import Averages, Bands, Distances, Points, Within

# Facts of every loss of this module that does not state others.
SHARED_FACTS = {"family": "boundary", "background": False}


def quantile(distances: FloatArray, weight: FloatArray, fraction: float, rule: str) -> float:
    """The distance that a fraction of all points does not exceed."""
    if rule == "weighted":
        order = np.argsort(distances, kind="stable")
        sums = np.cumsum(weight[order])
        first = int(np.searchsorted(sums / sums[-1], fraction))
        return float(distances[order][min(first, len(distances) - 1)])
    if fraction == 1 or np.isinf(distances[0]):
        return float(distances.max())
    position = fraction * (len(distances) - 1)
    low = int(position)
    high = min(low + 1, len(distances) - 1)
    ordered = np.partition(distances, (low, high))
    step, part = ordered[high] - ordered[low], position - low
    # Interpolated from the nearer end, as numpy does.
    return float(ordered[low] + step * part if part < 0.5 else ordered[high] - step * (1 - part))


@loss(
    use="segmentation judged by its worst point",
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
    to the nearest point of the other surface.

    Args:
        percentile: percentile of the distances, instead of the maximum.

    Returns:
        Distances of shape (B, C) in pixels or the spacing's unit; nan where both masks are empty.

    Note:
        Libraries disagree on percentiles, surfaces and empty masks; `--convention all` shows by how
        much.
    """

    def measure(points: Points) -> float:
        directions = points.sides[:1] if directed else points.sides
        if pooled:
            distances, weights = zip(*directions, strict=True)
            directions = [(np.concatenate(distances), np.concatenate(weights))]
        return max(quantile(*direction, percentile / 100, rule) for direction in directions)

    return distances.each(measure)


@loss(
    use="segmentation judged by its bad points, tolerating a few stray pixels",
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
    """95th percentile Hausdorff distance.

    max(P95_{a∈P} d(a, Y), P95_{b∈Y} d(b, P)), each percentile interpolated between distances.

    Returns:
        Distances of shape (B, C) in pixels or the spacing's unit; nan where both masks are empty.
    """
    return hausdorff(distances, percentile=95.0, directed=directed, pooled=pooled, rule=rule)


@loss(
    use="segmentation judged by the average error of its outline",
    sources=["Heimann et al. 2009", "medpy.metric.assd"],
    aliases=["average_symmetric_surface_distance"],
    example="assd(spacing=[0.5, 0.5])",
)
def assd(averages: Averages) -> PerClass:
    """Average symmetric surface distance.

    (Σ_{a∈P} d(a, Y) + Σ_{b∈Y} d(b, P)) / (|P| + |Y|), P and Y the surfaces of the two masks.

    Returns:
        Distances of shape (B, C) in pixels or the spacing's unit; nan where both masks are empty.

    Note:
        MedPy up to 0.4 and panoptica first average each direction, which is `masd`.
    """
    return ratio(averages.distance, averages.points)


@loss(
    use="like assd, but both outlines count equally, whatever their length",
    sources=["Maier-Hein et al. 2024 (Metrics Reloaded)"],
    aliases=["mean_average_surface_distance"],
    example="masd(directed=true)",
)
def masd(distances: Distances, *, directed: bool = False) -> PerClass:
    """Mean average surface distance.

    ½·(mean_{a∈P} d(a, Y) + mean_{b∈Y} d(b, P)), P and Y the surfaces of the two masks.

    Returns:
        Distances of shape (B, C) in pixels or the spacing's unit; nan where both masks are empty.
    """

    def mean(points: Points) -> float:
        means = [float((d * weight).sum() / weight.sum()) for d, weight in points.sides]
        return means[0] if directed else sum(means) / len(means)

    return distances.each(mean)


@loss(
    use="the fraction of an outline that needs no correction",
    better="higher",
    range=(0, 1),
    sources=["Nikolov et al. 2018"],
    aliases=["surface_dice", "normalized_surface_distance", "normalised_surface_distance"],
    example="nsd(tolerance=2)",
)
def nsd(within: Within) -> PerClass:
    """Normalised surface distance (surface Dice).

    (|{a∈P : d(a, Y) ≤ τ}| + |{b∈Y : d(b, P) ≤ τ}|) / (|P| + |Y|), P and Y the surfaces of the two
    masks, τ the tolerance.

    Returns:
        Scores of shape (B, C); 0 where one mask is empty, nan where both are.
    """
    return ratio(within.close, within.points)


@loss(
    use="IoU of outlines: reveals boundary errors of large objects that iou hides",
    better="higher",
    range=(0, 1),
    sources=["Cheng et al. 2021"],
    example="boundary_iou(dilation=3)",
)
def boundary_iou(bands: Bands) -> PerClass:
    """Boundary intersection over union.

    |P_d ∩ Y_d| / |P_d ∪ Y_d|, P_d and Y_d the pixels of each mask at a distance of at most d from
    the nearest pixel outside the mask; pixels beyond the image are outside.

    Returns:
        Scores of shape (B, C); 0 where one mask is empty, nan where both masks are empty or neither
        band has a pixel.

    Note:
        boundary-iou-api uses `distance=chessboard`.
    """
    return ratio(bands.both, bands.either)
