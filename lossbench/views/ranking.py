"""Pixels in the order of their scores, and in bins of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lossbench.interface.annotations import Count, Decision, Probability, Weight
from lossbench.interface.row_list import RowList
from lossbench.interface.sample_batch import Input, SampleBatch
from lossbench.interface.stable_math import total


@dataclass(frozen=True)
class Ranking:
    """Pixels of one class from the lowest score to the highest, each (B, C, N).

    `…_below` counts what scores lower than each. Rankings of several samples do not add up but are
    joined.
    """

    score: Tensor
    positive: Tensor
    negative: Tensor
    positive_below: Tensor
    negative_below: Tensor
    adds_up: ClassVar[bool] = False

    @classmethod
    def of(cls, pred: Probability, target: Decision, weight: Weight) -> Ranking:
        """The ranking of valid pixels; a soft target is positive from ½."""
        score, target, weight = in_order(pred, target, weight)
        return cls._made(score, target * weight, (1 - target) * weight)

    @classmethod
    def _made(cls, score: Tensor, positive: Tensor, negative: Tensor) -> Ranking:
        score = score.contiguous()
        first = torch.searchsorted(score, score).expand(positive.shape)  # of the same score
        below = (_before(side, first) for side in (positive, negative))
        return cls(score.expand(positive.shape), positive, negative, *below)

    def listed(self) -> RowList:
        """Distinct scores of each class with the weight of positives and negatives."""
        return by_class(self.score, self.positive, self.negative)

    @classmethod
    def joined(cls, listed: RowList, device: str) -> Ranking:
        """Several samples as one."""
        return cls._made(*in_order(*side_by_side(listed, device)))


@dataclass(frozen=True)
class Errors:
    """Errors of one class from the largest to the smallest, each (B, C, N).

    `hit` and `other` are the weights of pixels that the target has in the class and elsewhere.
    Errors of several samples do not add up but are joined.
    """

    hinge: bool
    error: Tensor
    hit: Tensor
    other: Tensor
    adds_up: ClassVar[bool] = False

    @classmethod
    def of(
        cls, pred: Input, target: Probability, weight: Weight, *, per_image: bool = True
    ) -> Errors:
        """|y − p|, or the hinge max(0, 1 − ỹx) on the logits of a yes or no.

        Args:
            per_image: a value for each sample; with false all samples are one image, whose value
                each of them has.
        """
        hinge = pred.logits and pred.task != "multiclass"
        errors = (target - pred.probability).abs()
        if hinge:
            errors = (1 - (2 * target - 1) * pred.stored).clamp(min=0)
        shape = np.broadcast_shapes(errors.shape, weight.shape)
        sides = [errors, target, weight]
        if not per_image:  # (1, C, B·N)
            sides = [each.expand(shape).transpose(0, 1).flatten(1)[None] for each in sides]
        errors, target, weight = in_order(*sides, descending=True)
        found = [errors, target * weight, (1 - target) * weight]
        if not per_image:
            found = [each.expand(shape[0], -1, -1) for each in found]
        return cls(hinge, *found)

    def listed(self) -> RowList:
        """Distinct errors of each class with the weight of both kinds of pixels."""
        listed = by_class(self.error.expand(self.hit.shape), self.hit, self.other)
        return RowList(listed.rows, {**listed.totals, "hinge": np.array(int(self.hinge))})

    @classmethod
    def joined(cls, listed: RowList, device: str) -> Errors:
        """Several samples as one."""
        sides = in_order(*side_by_side(listed, device), descending=True)
        return cls(bool(listed.totals["hinge"]), *sides)


def in_order(number: Tensor, *others: Tensor, descending: bool = False) -> list[Tensor]:
    """Numbers of each class sorted, and others beside them in the same order."""
    number, order = number.contiguous().sort(dim=-1, descending=descending, stable=True)
    found = [number]
    for each in others:
        shape = np.broadcast_shapes(each.shape, order.shape)
        found.append(each.expand(shape).gather(-1, order.expand(shape)))
    return found


def by_class(number: Tensor, one: Tensor, other: Tensor) -> RowList:
    """Numbers (1, C, N) of each class, distinct ones, with two weights of each."""
    rows: list[list[Any]] = []
    for place, each in enumerate(zip(number[0], one[0], other[0], strict=True)):
        values, left, right = (tensor.detach().cpu().double().numpy() for tensor in each)
        valid = (left > 0) | (right > 0)
        distinct, index = np.unique(values[valid], return_inverse=True)
        sums = (np.bincount(index, side[valid], len(distinct)) for side in (left, right))
        rows.append([np.full(len(distinct), place), distinct, *sums])
    names = ("of_class", "number", "one", "other")
    joined = (np.concatenate(arrays) for arrays in zip(*rows, strict=True))
    return RowList(dict(zip(names, joined, strict=True)), {"classes": np.zeros(len(rows))})


def side_by_side(listed: RowList, device: str) -> list[Tensor]:
    """Numbers and both weights, each (1, C, N), with no weight where a class has fewer."""
    rows, classes = listed.rows, len(listed.totals["classes"])
    counts = np.bincount(rows["of_class"], minlength=classes)
    found = [np.zeros((1, classes, max(counts.max(), 1))) for _ in range(3)]
    for place in range(classes):
        own = rows["of_class"] == place
        for filled, name in zip(found, ("number", "one", "other"), strict=True):
            filled[0, place, : counts[place]] = rows[name][own]
    return [torch.as_tensor(each, device=device) for each in found]


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
    def of(cls, values: SampleBatch, *, bins: Count = 15) -> Calibration:
        """The sums over valid pixels of bins (k/bins, (k+1)/bins]; 0 belongs to the first.

        Args:
            bins: how many bins of equal width.
        """
        if values.joint is not None:  # labels are certain
            hits, every = values.weight[..., -1].sum(-1), values.weight[:, 0].sum(-1)
            last = torch.zeros(bins, dtype=every.dtype, device=every.device)
            last[-1] = 1
            return cls(*(sums[:, None, None] * last for sums in (every, every, hits)))
        pred, target = (values.sides[role].probability for role in ("pred", "target"))
        if values.task == "multiclass":
            target = target.gather(1, values.sides["pred"].labels[:, None])
            pred = pred.amax(1, keepdim=True)
        edges = torch.tensor([k / bins for k in range(1, bins)], dtype=torch.float64)
        place = torch.bucketize(pred.contiguous().double(), edges.to(pred.device))
        found = []
        for bin in range(bins):
            inside = (place == bin).to(pred)
            found.append([total(x * inside, values.weight) for x in (inside, pred, target)])
        return cls(*(torch.stack(sums, -1) for sums in zip(*found, strict=True)))
