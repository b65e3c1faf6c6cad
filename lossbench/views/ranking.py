"""Pixels in the order of their scores, and in bins of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from lossbench.views.forms import Count, Decision, Probability, Weight
from lossbench.views.sums import total
from lossbench.views.values import Values


@dataclass(frozen=True)
class Ranking:
    """Pixels of one class from the lowest score to the highest, each (B, C, N).

    `…_below` counts what scores lower than each. Rankings of several samples do not add up.
    """

    positive: Tensor
    negative: Tensor
    positive_below: Tensor
    negative_below: Tensor
    adds_up: ClassVar[bool] = False

    @classmethod
    def of(cls, pred: Probability, target: Decision, weight: Weight) -> Ranking:
        """The ranking of valid pixels; a soft target is positive from ½."""
        score, order = pred.contiguous().sort(dim=-1, stable=True)
        score = score.contiguous()
        first = torch.searchsorted(score, score)  # of those with the same score
        shape = torch.broadcast_shapes(pred.shape, target.shape, weight.shape)
        order, first = order.expand(shape), first.expand(shape)
        sides = [(side * weight).expand(shape).gather(-1, order) for side in (target, 1 - target)]
        return cls(*sides, *(_before(side, first) for side in sides))


def _before(weight: Tensor, place: Tensor) -> Tensor:
    """The weight of all elements before a place."""
    sums = torch.cat([torch.zeros_like(weight[..., :1]), weight.cumsum(-1)], -1)
    return sums.gather(-1, place)


class Calibration(NamedTuple):
    """Pixels, predicted and true positives by bins of p, each (B, G, bins). They add up.

    Binary and multilabel tasks judge the probability of the foreground (G = labels), a multiclass
    task that of the most likely class (G = 1).
    """

    pixels: Tensor
    predicted: Tensor
    true: Tensor

    @classmethod
    def of(cls, values: Values, *, bins: Count = 15) -> Calibration:
        """The sums over valid pixels of bins (k/bins, (k+1)/bins]; 0 belongs to the first.

        Args:
            bins: how many bins of equal width.
        """
        if values.joint is not None:  # labels are certain
            hits, every = values.joint.diagonal(dim1=1, dim2=2).sum(-1), values.joint.sum((1, 2))
            last = torch.zeros(bins, dtype=every.dtype, device=every.device)
            last[-1] = 1
            return cls(*(sums[:, None, None] * last for sums in (every, every, hits)))
        pred, target = (values.sides[role].probability for role in ("pred", "target"))
        if values.task == "multiclass":
            target = (values.sides["pred"].half * target).sum(1, keepdim=True)
            pred = pred.amax(1, keepdim=True)
        edges = torch.tensor([k / bins for k in range(1, bins)], dtype=torch.float64)
        place = torch.bucketize(pred.contiguous().double(), edges.to(pred.device))
        found = []
        for bin in range(bins):
            inside = (place == bin).to(pred)
            found.append([total(x * inside, values.weight) for x in (inside, pred, target)])
        return cls(*(torch.stack(sums, -1) for sums in zip(*found, strict=True)))
