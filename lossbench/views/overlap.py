"""Soft sums of two masks."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lossbench.catalog.tasks import of_truth
from lossbench.interface.annotations import NonNegative, Probability, Share, Weight
from lossbench.interface.stable_math import power as raised
from lossbench.interface.stable_math import total


class Overlap(NamedTuple):
    """Soft sums of one class, each (B, C): both = Σpy, pred = Σp, target = Σy. They add up."""

    both: Tensor
    pred: Tensor
    target: Tensor

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
            squared: Σp² and Σy² for the areas; elements squares hits, false alarms and misses
                each by itself, Σ(py)², Σ(p(1−y))² and Σ((1−p)y)², the areas being their sums.
            intersection: the overlap of two soft values, p·y or the smaller of them.
            threshold: compare the hard masks p ≥ threshold and y ≥ threshold, y > 0.
        """
        if threshold is not None:
            pred, target = (pred >= threshold).to(pred), (target >= of_truth(threshold)).to(target)
        both = pred * target if intersection == "product" else torch.minimum(pred, target)
        if squared == "elements":
            hits, alarms, misses = (
                total(part**2, weight) for part in (both, pred - both, target - both)
            )
            return cls(hits, hits + alarms, hits + misses)
        power = 2 if squared else 1
        return cls(total(both, weight), total(pred**power, weight), total(target**power, weight))


class SoftCounts(NamedTuple):
    """Soft hits, false alarms, misses and the rest of one class, each (B, C). They add up."""

    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor

    @classmethod
    def of(cls, pred: Probability, target: Probability, weight: Weight) -> SoftCounts:
        """Σpy, Σp(1−y), Σ(1−p)y and Σ(1−p)(1−y) over valid pixels."""
        return cls(
            total(pred * target, weight),
            total(pred * (1 - target), weight),
            total((1 - pred) * target, weight),
            total((1 - pred) * (1 - target), weight),
        )


class Powers(NamedTuple):
    """Soft sums of one class with powered areas, each (B, C): Σpy, Σp^q, Σy^q. They add up."""

    both: Tensor
    pred: Tensor
    target: Tensor

    @classmethod
    def of(
        cls, pred: Probability, target: Probability, weight: Weight, *, power: NonNegative = 2.0
    ) -> Powers:
        """The sums over valid pixels.

        Args:
            power: q, the power of the areas; 1 leaves them as they are.
        """
        return cls(
            total(pred * target, weight),
            total(raised(pred, power), weight),
            total(raised(target, power), weight),
        )


class SquaredErrors(NamedTuple):
    """Squared errors on and off the target, and how much each is of, (B, C). They add up."""

    on: Tensor
    on_pixels: Tensor
    off: Tensor
    off_pixels: Tensor

    @classmethod
    def of(cls, pred: Probability, target: Probability, weight: Weight) -> SquaredErrors:
        """Σ(y−p)²·y, Σy, Σ(y−p)²·(1−y) and Σ(1−y) over valid pixels."""
        square = (target - pred) ** 2
        return cls(
            total(square * target, weight),
            total(target, weight),
            total(square * (1 - target), weight),
            total(1 - target, weight),
        )
