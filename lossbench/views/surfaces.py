"""Hard masks and their surfaces: distances between surfaces, and the fraction within a tolerance.

Surfaces are searched on the CPU, whatever the device, because they have few pixels. Results are
moved to the device of the masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lossbench.catalog.tasks import target_threshold
from lossbench.errors import SettingError
from lossbench.geometry import surface_points
from lossbench.interface.annotations import NonNegative, Positive, Share, Spacing, Valid
from lossbench.interface.sample_batch import Input, pixel_size
from lossbench.runtime.array_types import BoolArray, FloatArray

OUTLINES: dict[str, Callable[[BoolArray], BoolArray]] = {
    "pixel": surface_points.by_face,
    "contour": surface_points.by_corner,
    "mask": lambda mask: mask,
}
DIAGONAL = 0.02  # width of a band as a fraction of the diagonal, Cheng et al. 2021


class SurfacePair(NamedTuple):
    """Both masks of one class, cropped to a box, and the shape and spacing of their image."""

    pred: BoolArray
    target: BoolArray
    space: tuple[int, ...]
    spacing: tuple[float, ...] | None

    @property
    def sizes(self) -> tuple[float, ...]:
        """Size of a pixel along each axis."""
        return self.spacing or (1.0,) * len(self.space)

    @property
    def diagonal(self) -> float:
        return math.hypot(*(n * s for n, s in zip(self.space, self.sizes, strict=True)))


class Points(NamedTuple):
    """Surfaces of a pair: distances to the other surface, and weights of the points.

    There are no distances to an empty surface.
    """

    pair: SurfacePair
    to_target: FloatArray
    to_pred: FloatArray
    pred_weight: FloatArray
    target_weight: FloatArray

    @property
    def sides(self) -> list[tuple[FloatArray, FloatArray]]:
        """Distances and weights of both directions, prediction first; none for an empty mask."""
        pred, target = (self.to_target, self.pred_weight), (self.to_pred, self.target_weight)
        return [direction for direction in (pred, target) if len(direction[0])]


class PerClassList(NamedTuple):
    """One item for each of C classes of B samples."""

    rows: Sequence[Sequence[Any]]
    device: torch.device

    def each(self, measure: Callable[[Any], Any]) -> Tensor:
        """A measure of each item, (B, C); (…, B, C) for a tuple of measures."""
        rows = [[measure(item) for item in row] for row in self.rows]
        values = torch.tensor(rows, dtype=torch.float64, device=self.device)
        return values if values.ndim == 2 else values.movedim(-1, 0)

    def map(self, function: Callable[[Any], Any]) -> PerClassList:
        """Apply a function to each item."""
        return PerClassList([[function(item) for item in row] for row in self.rows], self.device)


@dataclass(frozen=True)
class MaskPairs:
    """Both hard masks of each class."""

    of_classes: PerClassList  # SurfacePair

    @classmethod
    def of(
        cls,
        pred: Input,
        target: Input,
        valid: Valid,
        unit: Spacing,
        *,
        threshold: Share = 0.5,
        spacing: Sequence[Positive] | None = None,
    ) -> MaskPairs:
        """Hard masks; ignored pixels are background in both.

        Args:
            threshold: foreground is p ≥ threshold, and y ≥ threshold with y > 0 in the target;
                multiclass tasks take the most likely class instead.
            spacing: size of a pixel along each axis, first axis first; by default that of the
                files, or 1.
        """
        space = tuple(valid.shape[2:])
        sizes = pixel_size(spacing, unit, len(space))
        distinct = tuple(slice(None if step else 1) for step in valid.stride())  # not broadcast
        all_valid = bool(valid[distinct].all())
        rows = []
        for sample, sample_valid in enumerate(valid.cpu().numpy()):
            pred_masks = pred.masks(sample, threshold)
            target_masks = target.masks(sample, target_threshold(threshold))
            if not all_valid:
                inside = np.broadcast_to(sample_valid, (pred.count, *space))
                pred_masks, target_masks = (
                    [mask & on for mask, on in zip(masks, inside, strict=True)]
                    for masks in (pred_masks, target_masks)
                )
            boxes = map(surface_points.crop_to_box, pred_masks, target_masks)
            rows.append([SurfacePair(p, t, space, sizes) for p, t in boxes])
        return cls(PerClassList(rows, valid.device))


@dataclass(frozen=True)
class Surfaces:
    """Surfaces of both masks of each class, and the distances between them."""

    of_classes: PerClassList  # Points

    @classmethod
    def of(
        cls, masks: MaskPairs, *, surface: Literal["pixel", "contour", "mask", "subpixel"] = "pixel"
    ) -> Surfaces:
        """All distances from each surface to the other.

        Args:
            surface: pixels with a background neighbour across a face (pixel) or a corner (contour),
                all pixels (mask), or the surface halfway between pixels, in pieces weighted by
                their length or area (subpixel).
        """

        def points(pair: SurfacePair) -> Points:
            masks = pair.pred, pair.target
            if surface != "subpixel":
                surfaces = [OUTLINES[surface](mask) for mask in masks]
                weights = [np.ones(np.count_nonzero(on)) for on in surfaces]
            elif len(pair.space) in (2, 3):
                table = surface_points.areas(pair.sizes)
                codes = [surface_points.cells(mask) for mask in masks]
                surfaces = [(code > 0) & (code < len(table) - 1) for code in codes]
                weights = [table[code[on]] for code, on in zip(codes, surfaces, strict=True)]
            else:
                raise SettingError(
                    f"surface=subpixel is for 2 or 3 axes, the data has {len(pair.space)}"
                )
            pred, target = map(surface_points.Outline.of, surfaces)
            if not len(pred.indices) or not len(target.indices):
                return Points(pair, np.empty(0), np.empty(0), *weights)
            directions = (pred, target), (target, pred)
            distances = (surface_points.distances(*each, pair.sizes) for each in directions)
            return Points(pair, *distances, *weights)

        return cls(masks.of_classes.map(points))


@dataclass(frozen=True)
class Distances:
    """Distances between surfaces, with a distance for empty masks as well."""

    of_classes: PerClassList  # Points

    @classmethod
    def of(
        cls,
        surfaces: Surfaces,
        *,
        one_empty: NonNegative | Literal["infinite", "diagonal", "undefined"] = "infinite",
        both_empty: NonNegative | Literal["infinite", "undefined"] = "undefined",
    ) -> Distances:
        """The distances of all points.

        Args:
            one_empty: distance of a surface from an empty mask: infinite, the diagonal of the
                image, a number, or undefined.
            both_empty: distance of two empty masks, which then count as one point.
        """

        def complete(points: Points) -> Points:
            counts = [len(points.pred_weight), len(points.target_weight)]
            if all(counts):
                return points
            setting = one_empty if any(counts) else both_empty
            named = {"infinite": math.inf, "diagonal": points.pair.diagonal, "undefined": math.nan}
            distance = named[setting] if isinstance(setting, str) else setting
            if any(counts):
                to_target, to_pred = (np.full(count, distance) for count in counts)
                return points._replace(to_target=to_target, to_pred=to_pred)
            if math.isnan(distance):
                return points
            return points._replace(to_target=np.array([distance]), pred_weight=np.ones(1))

        return cls(surfaces.of_classes.map(complete))

    def each(self, measure: Callable[[Points], float]) -> Tensor:
        """A measure of each class, (B, C); undefined where both masks are empty."""

        def defined(points: Points) -> float:
            return measure(points) if len(points.to_target) + len(points.to_pred) else math.nan

        return self.of_classes.each(defined)


class Averages(NamedTuple):
    """Sums of distances and of weights over the points of both surfaces, each (B, C); additive."""

    distance: Tensor
    points: Tensor

    @classmethod
    def of(cls, distances: Distances) -> Averages:
        """Σ w·d and Σ w over the points of both surfaces."""

        def sums(points: Points) -> tuple[float, float]:
            return (
                sum(float((distance * weight).sum()) for distance, weight in points.sides),
                sum(float(weight.sum()) for _, weight in points.sides),
            )

        return cls(*distances.of_classes.each(sums))


class Within(NamedTuple):
    """Weights of both surfaces, within a tolerance of the other and in total, (B, C); additive."""

    close: Tensor
    points: Tensor

    @classmethod
    def of(cls, surfaces: Surfaces, *, tolerance: NonNegative = 1.0) -> Within:
        """Σ w over the points within the tolerance, and over all points.

        Args:
            tolerance: largest distance that counts as close, in pixels or the spacing's unit.
        """

        def sums(points: Points) -> tuple[float, float]:
            weights = points.pred_weight, points.target_weight
            total = sum(float(weight.sum()) for weight in weights)
            if not all(map(len, weights)):
                return 0.0, total
            directions = zip((points.to_target, points.to_pred), weights, strict=True)
            limit = tolerance * surface_points.SLACK
            return sum(float((w * (distance <= limit)).sum()) for distance, w in directions), total

        return cls(*surfaces.of_classes.each(sums))


class Bands(NamedTuple):
    """Pixels in both masks' inner bands, and in at least one of them, each (B, C); additive."""

    both: Tensor
    either: Tensor

    @classmethod
    def of(
        cls,
        masks: MaskPairs,
        *,
        dilation: Positive | None = None,
        distance: Literal["euclidean", "chessboard"] = "euclidean",
    ) -> Bands:
        """Mask pixels close to the outside of their mask.

        Args:
            dilation: width of the band, in pixels or the spacing's unit; by default 2 % of the
                image's diagonal, rounded to at least 1 in 2-D without spacing. A volume with a
                diagonal of less than 50 voxels has empty bands by default.
            distance: distance to the nearest pixel outside; chessboard counts steps along rows,
                columns and diagonals, in pixels.
        """

        def sums(pair: SurfacePair) -> tuple[float, float]:
            spacing = pair.sizes if distance == "euclidean" else None
            pixels = spacing is None or (pair.spacing is None and len(pair.space) == 2)
            width = DIAGONAL * (math.hypot(*pair.space) if pixels else pair.diagonal)
            width = dilation or (max(1, round(width)) if pixels else width)
            p, t = (surface_points.band(mask, width, spacing) for mask in pair[:2])
            one_empty = pair.pred.any() != pair.target.any()  # scores 0, even with empty bands
            return (p & t).bit_count(), max((p | t).bit_count(), one_empty)

        return cls(*masks.of_classes.each(sums))
