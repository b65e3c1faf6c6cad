"""Soft overlap sums of two masks."""

from __future__ import annotations

from typing import Literal, NamedTuple

from lossbench.catalog.tasks import target_threshold
from lossbench.interface.annotations import Array, NonNegative, Probability, Share, Weight
from lossbench.interface.stable_math import least, numbers, total
from lossbench.interface.stable_math import power as raised


class Overlap(NamedTuple):
    """Soft sums of each class, each (B, C): both = Σpy, pred = Σp, target = Σy; additive."""

    both: Array
    pred: Array
    target: Array

    @classmethod
    def of(
        cls,
        pred: Probability,
        target: Probability,
        weight: Weight,
        *,
        squared: bool | Literal["elements"] = False,
        intersection: Literal["product", "min"] = "product",
        threshold: Share | None = None,
    ) -> Overlap:
        """The sums over valid pixels.

        Args:
            squared: use Σp² and Σy² for the areas; elements squares true positives, false positives
                and false negatives separately, Σ(py)², Σ(p(1−y))² and Σ((1−p)y)², and adds them up
                to the areas.
            intersection: overlap of two soft values: the product p·y, or the smaller of the two.
            threshold: compare the hard masks p ≥ threshold and y ≥ threshold, y > 0.
        """
        if threshold is not None:
            pred = numbers(pred >= threshold, pred)
            target = numbers(target >= target_threshold(threshold), target)
        both = pred * target if intersection == "product" else least(pred, target)
        if squared == "elements":
            tp, fp, fn = (total(x**2, weight) for x in (both, pred - both, target - both))
            return cls(tp, tp + fp, tp + fn)
        power = 2 if squared else 1
        return cls(total(both, weight), total(pred**power, weight), total(target**power, weight))


class SoftCounts(NamedTuple):
    """Soft true and false positives and negatives of each class, each (B, C); additive."""

    tp: Array
    fp: Array
    fn: Array
    tn: Array

    @classmethod
    def of(cls, pred: Probability, target: Probability, weight: Weight) -> SoftCounts:
        """Σpy, Σp(1−y), Σ(1−p)y and Σ(1−p)(1−y) over valid pixels."""
        products = (
            pred * target,
            pred * (1 - target),
            (1 - pred) * target,
            (1 - pred) * (1 - target),
        )
        return cls(*(total(x, weight) for x in products))


class Powers(NamedTuple):
    """Soft sums of each class with powers, each (B, C): Σpy, Σp^q, Σy^q; additive."""

    both: Array
    pred: Array
    target: Array

    @classmethod
    def of(
        cls, pred: Probability, target: Probability, weight: Weight, *, power: NonNegative = 2.0
    ) -> Powers:
        """The sums over valid pixels.

        Args:
            power: q, the power of the probabilities in the areas; 1 leaves them unchanged.
        """
        fields = pred * target, raised(pred, power), raised(target, power)
        return cls(*(total(x, weight) for x in fields))


class SquaredErrors(NamedTuple):
    """Squared errors inside and outside the target, with their pixels, each (B, C); additive."""

    on: Array
    on_pixels: Array
    off: Array
    off_pixels: Array

    @classmethod
    def of(cls, pred: Probability, target: Probability, weight: Weight) -> SquaredErrors:
        """Σ(y−p)²·y, Σy, Σ(y−p)²·(1−y) and Σ(1−y) over valid pixels."""
        square = (target - pred) ** 2
        fields = square * target, target, square * (1 - target), 1 - target
        return cls(*(total(x, weight) for x in fields))
