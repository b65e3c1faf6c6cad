"""Pixels sorted by score, and in bins of their probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lossbench.interface.annotations import Array, Count, Decision, Probability, Weight
from lossbench.interface.row_list import RowList
from lossbench.interface.sample_batch import Input, SampleBatch
from lossbench.interface.stable_math import (
    bin_indices,
    broadcast,
    largest,
    numbers,
    sort_by,
    stack,
    sum_below,
    to_numpy,
    total,
)

COLUMNS = ("number", "one", "other")  # of stored rows: score or error, positives, negatives


@dataclass(frozen=True)
class Ranking:
    """Pixels of each class from the lowest score to the highest, each (B, C, N).

    `…_below` counts the pixels with a lower score. Samples are concatenated, not added.
    """

    score: Array
    positive: Array
    negative: Array
    positive_below: Array
    negative_below: Array

    @classmethod
    def of(cls, pred: Probability, target: Decision, weight: Weight) -> Ranking:
        """The ranking of valid pixels; a soft target is positive from ½ on."""
        score, target, weight = sort_by(pred, target, weight)
        return cls._of_sorted(score, target * weight, (1 - target) * weight)

    @classmethod
    def _of_sorted(cls, score: Array, positive: Array, negative: Array) -> Ranking:
        below = (sum_below(score, weight) for weight in (positive, negative))
        return cls(broadcast(score, positive.shape), positive, negative, *below)

    def listed(self) -> RowList:
        """Distinct scores of each class with the weights of positives and negatives."""
        return distinct_rows(self.score, self.positive, self.negative)

    @classmethod
    def joined(cls, listed: RowList) -> Ranking:
        """Concatenate samples."""
        return cls._of_sorted(*sort_by(*padded(listed)))


@dataclass(frozen=True)
class Errors:
    """Errors of each class from the largest to the smallest, each (B, C, N).

    `positive` and `negative` are the weights of pixels inside and outside the class in the target.
    Samples are concatenated, not added.
    """

    hinge: bool
    error: Array
    positive: Array
    negative: Array

    @classmethod
    def of(
        cls, pred: Input, target: Probability, weight: Weight, *, per_image: bool = True
    ) -> Errors:
        """Errors |y − p|, or the hinge max(0, 1 − ỹx) for binary and multilabel logits.

        Args:
            per_image: one value per sample; false treats all samples as one image and gives its
                value to each of them.
        """
        hinge = pred.logits and pred.task != "multiclass"
        errors = abs(target - pred.probability)
        if hinge:
            errors = (1 - (2 * target - 1) * pred.stored).clip(min=0)
        shape = np.broadcast_shapes(errors.shape, weight.shape)
        inputs = [errors, target, weight]
        if not per_image:  # (1, C, B·N)
            inputs = [broadcast(x, shape).swapaxes(0, 1).reshape(1, shape[1], -1) for x in inputs]
        errors, target, weight = sort_by(*inputs, descending=True)
        fields = [errors, target * weight, (1 - target) * weight]
        if not per_image:
            fields = [broadcast(x, (shape[0], *x.shape[1:])) for x in fields]
        return cls(hinge, *fields)

    def listed(self) -> RowList:
        """Distinct errors of each class with the weights of positives and negatives."""
        errors = broadcast(self.error, self.positive.shape)
        listed = distinct_rows(errors, self.positive, self.negative)
        return RowList(listed.rows, {**listed.totals, "hinge": np.array(int(self.hinge))})

    @classmethod
    def joined(cls, listed: RowList) -> Errors:
        """Concatenate samples."""
        fields = sort_by(*padded(listed), descending=True)
        return cls(bool(listed.totals["hinge"]), *fields)


def distinct_rows(number: Array, positive: Array, negative: Array) -> RowList:
    """Distinct numbers (1, C, N) of each class with the sums of both weights."""
    rows: list[list[Any]] = []
    for of_class, tensors in enumerate(zip(number[0], positive[0], negative[0], strict=True)):
        values, *weights = map(to_numpy, tensors)
        valid = (weights[0] > 0) | (weights[1] > 0)
        distinct, index = np.unique(values[valid], return_inverse=True)
        sums = (np.bincount(index, weight[valid], len(distinct)) for weight in weights)
        rows.append([np.full(len(distinct), of_class), distinct, *sums])
    joined = (np.concatenate(arrays) for arrays in zip(*rows, strict=True))
    columns = dict(zip(("of_class", *COLUMNS), joined, strict=True))
    return RowList(columns, {"classes": np.zeros(len(rows))})


def padded(listed: RowList) -> list[Any]:
    """Numbers and both weights, each (1, C, N), padded with weight 0 where a class has fewer."""
    rows, classes = listed.rows, len(listed.totals["classes"])
    counts = np.bincount(rows["of_class"], minlength=classes)
    arrays = [np.zeros((1, classes, max(counts.max(), 1))) for _ in range(3)]
    for of_class in range(classes):
        own = rows["of_class"] == of_class
        for array, name in zip(arrays, COLUMNS, strict=True):
            array[0, of_class, : counts[of_class]] = rows[name][own]
    return arrays


class Calibration(NamedTuple):
    """Pixels, predicted and true positives per bin of p, each (B, G, bins); additive.

    Binary and multilabel tasks use the probability of the foreground (G = labels), multiclass tasks
    that of the most likely class (G = 1).
    """

    pixels: Array
    predicted: Array
    true: Array

    @classmethod
    def of(cls, values: SampleBatch, *, bins: Count = 15) -> Calibration:
        """The sums over valid pixels in bins (k/bins, (k+1)/bins]; 0 belongs to the first bin.

        Args:
            bins: number of bins of equal width.
        """
        if values.joint is not None:  # label maps have probability 1
            correct, pixels = values.weight[..., -1].sum(-1), values.weight[:, 0].sum(-1)
            last = numbers([0.0] * (bins - 1) + [1.0], pixels)
            return cls(*(sums[:, None, None] * last for sums in (pixels, pixels, correct)))
        pred, target = (values.inputs[role].probability for role in ("pred", "target"))
        if values.task == "multiclass":
            target = target.gather(1, values.inputs["pred"].labels[:, None])
            pred = largest(pred, 1)
        indices = bin_indices(pred, [k / bins for k in range(1, bins)])
        bin_sums = []
        for index in range(bins):
            inside = numbers(indices == index, pred)
            bin_sums.append([total(x * inside, values.weight) for x in (inside, pred, target)])
        return cls(*(stack(sums, -1) for sums in zip(*bin_sums, strict=True)))
