"""Hard masks and their surfaces: how far apart they are, and how much of them is close.

They are searched on the CPU, whatever the device: there are few pixels on a surface. Results go
back to where the masks came from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lossbench.catalog.tasks import of_truth
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
DIAGONAL = 0.02  # Cheng et al. 2021: the share of the diagonal that a band is wide


class SurfacePair(NamedTuple):
    """The two masks of one class, boxed, and the shape and spacing of the image they are from."""

    pred: BoolArray
    target: BoolArray
    space: tuple[int, ...]
    spacing: tuple[float, ...] | None

    @property
    def sizes(self) -> tuple[float, ...]:
        """The size of a pixel along every axis."""
        return self.spacing or (1.0,) * len(self.space)

    @property
    def diagonal(self) -> float:
        return math.hypot(*(n * s for n, s in zip(self.space, self.sizes, strict=True)))


class Points(NamedTuple):
    """The surfaces of a pair: distances to the other one, and what each point weighs.

    A surface whose other one is empty has no distances.
    """

    pair: SurfacePair
    to_target: FloatArray
    to_pred: FloatArray
    pred_weight: FloatArray
    target_weight: FloatArray

    @property
    def sides(self) -> list[tuple[FloatArray, FloatArray]]:
        """Distances and weights, those of the prediction first; an empty mask has none."""
        pred, target = (self.to_target, self.pred_weight), (self.to_pred, self.target_weight)
        return [side for side in (pred, target) if len(side[0])]


class PerClassList(NamedTuple):
    """Something of each of C classes of B samples."""

    rows: Sequence[Sequence[Any]]
    device: torch.device

    def each(self, measure: Callable[[Any], Any]) -> Tensor:
        """A measure of each, (B, C), or of several numbers (…, B, C)."""
        rows = [[measure(item) for item in row] for row in self.rows]
        found = torch.tensor(rows, dtype=torch.float64, device=self.device)
        return found if found.ndim == 2 else found.movedim(-1, 0)

    def then(self, make: Callable[[Any], Any]) -> PerClassList:
        """Something else of each."""
        return PerClassList([[make(item) for item in row] for row in self.rows], self.device)


@dataclass(frozen=True)
class MaskPairs:
    """The two hard masks of every class."""

    of_classes: PerClassList  # Pair
    adds_up: ClassVar[bool] = False

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
        """Hard masks; what is ignored is background in both.

        Args:
            threshold: p ≥ threshold is foreground, of the target y ≥ threshold and y > 0; not for
                multiclass, where the most likely class counts.
            spacing: the size of a pixel along every axis, the first axis first; without it that of
                the files, else 1.
        """
        space = tuple(valid.shape[2:])
        sizes = pixel_size(spacing, unit, len(space))
        once = tuple(slice(None if step else 1) for step in valid.stride())  # not the same again
        everywhere = bool(valid[once].all())
        rows = []
        for sample, seen in enumerate(valid.cpu().numpy()):
            masks = [pred.masks(sample, threshold), target.masks(sample, of_truth(threshold))]
            if not everywhere:
                each = np.broadcast_to(seen, (pred.count, *space))
                masks = [[m & on for m, on in zip(side, each, strict=True)] for side in masks]
            boxes = (surface_points.boxed(*both) for both in zip(*masks, strict=True))
            rows.append([SurfacePair(ours, theirs, space, sizes) for ours, theirs in boxes])
        return cls(PerClassList(rows, valid.device))


@dataclass(frozen=True)
class Surfaces:
    """The surfaces of both masks of every class, and the distances between them."""

    of_classes: PerClassList  # Points
    adds_up: ClassVar[bool] = False

    @classmethod
    def of(
        cls,
        masks: MaskPairs,
        *,
        surface: Literal["pixel", "contour", "mask", "subpixel"] = "pixel",
    ) -> Surfaces:
        """All distances from one surface to the other.

        Args:
            surface: pixels with a neighbour outside that shares a face (pixel) or a corner
                (contour), all pixels (mask), or the pieces of a surface halfway between pixels,
                weighed by their length or area (subpixel).
        """

        def points(pair: SurfacePair) -> Points:
            both = pair.pred, pair.target
            weights: Sequence[FloatArray | None] = None, None
            if surface != "subpixel":
                ours, theirs = map(OUTLINES[surface], both)
            elif len(pair.space) in (2, 3):
                table = surface_points.areas(pair.sizes)
                codes = [surface_points.cells(mask) for mask in both]
                ours, theirs = ((code > 0) & (code < len(table) - 1) for code in codes)
                weights = table[codes[0][ours]], table[codes[1][theirs]]
            else:
                raise SettingError(
                    f"surface=subpixel is for 2 or 3 axes, the data has {len(pair.space)}"
                )
            pred, target = surface_points.Outline.at(ours), surface_points.Outline.at(theirs)
            found: list[FloatArray] = [np.empty(0), np.empty(0)]
            if len(pred.places) and len(target.places):
                sides = (pred, target), (target, pred)
                found = [surface_points.gaps(*side, pair.sizes) for side in sides]
            every = (
                np.ones(len(side.places)) if weight is None else weight
                for side, weight in zip((pred, target), weights, strict=True)
            )
            return Points(pair, *found, *every)

        return cls(masks.of_classes.then(points))


@dataclass(frozen=True)
class Distances:
    """Distances between surfaces, where an empty mask has a distance as well."""

    of_classes: PerClassList  # Points
    adds_up: ClassVar[bool] = False

    @classmethod
    def of(
        cls,
        surfaces: Surfaces,
        *,
        one_empty: NonNegative | Literal["infinite", "diagonal", "undefined"] = "infinite",
        both_empty: NonNegative | Literal["infinite", "undefined"] = "undefined",
    ) -> Distances:
        """The distances of every point.

        Args:
            one_empty: the distance of a surface where the other mask is empty: infinite, the
                diagonal of the image, a number, or undefined.
            both_empty: the distance of two empty masks, which count as one point then.
        """

        def complete(points: Points) -> Points:
            counts = [len(points.pred_weight), len(points.target_weight)]
            if all(counts):
                return points
            given = one_empty if any(counts) else both_empty
            words = {"infinite": math.inf, "diagonal": points.pair.diagonal, "undefined": math.nan}
            far = words[given] if isinstance(given, str) else given
            if any(counts):
                to_target, to_pred = (np.full(count, far) for count in counts)
                return points._replace(to_target=to_target, to_pred=to_pred)
            if math.isnan(far):
                return points
            return points._replace(to_target=np.array([far]), pred_weight=np.ones(1))

        return cls(surfaces.of_classes.then(complete))

    def each(self, measure: Callable[[Points], float]) -> Tensor:
        """A measure of every class, (B, C); undefined where both masks are empty."""

        def defined(points: Points) -> float:
            return measure(points) if len(points.to_target) + len(points.to_pred) else math.nan

        return self.of_classes.each(defined)


class Averages(NamedTuple):
    """Distances of both surfaces and the points that have them, each (B, C). They add up."""

    distance: Tensor
    points: Tensor

    @classmethod
    def of(cls, distances: Distances) -> Averages:
        """Σ w·d over the points of both surfaces, and Σ w."""

        def sums(points: Points) -> tuple[float, float]:
            return (
                sum(float((far * weight).sum()) for far, weight in points.sides),
                sum(float(weight.sum()) for _, weight in points.sides),
            )

        return cls(*distances.of_classes.each(sums))


class Within(NamedTuple):
    """How much of both surfaces is close to the other one, and all of it, (B, C). They add up."""

    close: Tensor
    points: Tensor

    @classmethod
    def of(cls, surfaces: Surfaces, *, tolerance: NonNegative = 1.0) -> Within:
        """Σ w over the points within the tolerance, and over all.

        Args:
            tolerance: the largest distance that counts as close, in pixels or the spacing's unit.
        """

        def sums(points: Points) -> tuple[float, float]:
            weights = points.pred_weight, points.target_weight
            every = sum(float(weight.sum()) for weight in weights)
            if not all(map(len, weights)):
                return 0.0, every
            sides = zip((points.to_target, points.to_pred), weights, strict=True)
            near = tolerance * surface_points.SLACK
            return sum(float((weight * (far <= near)).sum()) for far, weight in sides), every

        return cls(*surfaces.of_classes.each(sums))


class Bands(NamedTuple):
    """Pixels in the inner bands of both masks, and in one of them, each (B, C). They add up."""

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
        """Mask pixels that are close to what is outside their mask.

        Args:
            dilation: how close, in pixels or the spacing's unit; without it 2 % of the image's
                diagonal, rounded and at least 1 in a plane without spacing. A volume with a
                diagonal of less than 50 voxels has no pixel that close, and empty bands.
            distance: to the nearest pixel outside; chessboard counts steps along rows, columns and
                diagonals, in pixels.
        """

        def sums(pair: SurfacePair) -> tuple[float, float]:
            spacing = pair.sizes if distance == "euclidean" else None
            pixels = spacing is None or (pair.spacing is None and len(pair.space) == 2)
            width = DIAGONAL * (math.hypot(*pair.space) if pixels else pair.diagonal)
            width = dilation or (max(1, round(width)) if pixels else width)
            ours, theirs = (surface_points.band(mask, width, spacing) for mask in pair[:2])
            missed = pair.pred.any() != pair.target.any()  # is 0, even where no band has a pixel
            return (ours & theirs).bit_count(), max((ours | theirs).bit_count(), missed)

        return cls(*masks.of_classes.each(sums))
