"""Soft sums of two masks."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lossbench.data.planning.encoding import of_truth
from lossbench.interface.annotations import Probability, Share, Weight
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
