"""Counts of hard masks at every threshold, from one look at each sample.

Foreground is p ≥ threshold, and y ≥ threshold with y > 0 in a graded ground truth. Between two
levels that occur in a sample nothing changes, so its counts are a step function of the threshold.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from lossbench.data.counting.sparse_histogram import Cells
from lossbench.data.loading.sample import Pixels
from lossbench.data.planning.plan import Plan
from lossbench.runtime.array_types import AnyArray, FloatArray
from lossbench.views.confusion import Counts


class Spectrum(NamedTuple):
    """Pixels at each level of the prediction, each (C, L); additive over samples."""

    positive: FloatArray  # in the ground truth, from ½ on
    negative: FloatArray
    foreground: FloatArray  # Σ y, the same as `positive` of a hard ground truth
    background: FloatArray  # Σ (1 − y)


class Elements(NamedTuple):
    """Weighted elements of one sample: pixels, or cells of its table."""

    pred: FloatArray  # (1 or C, N) probabilities
    target: FloatArray  # (1 or C, N) in [0, 1]
    weight: FloatArray  # (1 or C, N)

    @classmethod
    def of_cells(cls, plan: Plan, cells: Cells) -> Elements:
        """The cells of a sparse table."""
        true, level = np.divmod(cells.places, plan.pred.levels)
        pred, target = level / (plan.pred.levels - 1), true / (plan.target.levels - 1)
        return cls(pred[None], target[None], cells.counts.astype(np.float64))

    @classmethod
    def of_pixels(cls, plan: Plan, pixels: Pixels) -> Elements:
        """The pixels of a sample; logits become probabilities."""
        pred = pixels.pred.astype(np.float64)
        if plan.pred.is_logits:
            small = np.exp(-np.abs(pred))
            pred = np.where(pred < 0, small, 1.0) / (1 + small)
        return cls(pred, pixels.target.astype(np.float64), pixels.weight.astype(np.float64))


class Steps(NamedTuple):
    """The counts of one sample between its levels.

    Column j of the counts, (C, m + 1), holds for thresholds above level j − 1, up to level j.
    """

    levels: FloatArray  # (m,) distinct, rising
    counts: Counts
    spectrum: Spectrum  # at the m levels
    support: FloatArray  # (C,) Σ y

    def at(self, thresholds: FloatArray) -> Counts:
        """The counts at thresholds, each (C, T)."""
        columns = np.searchsorted(self.levels, thresholds)
        return make_counts(field[:, columns] for field in self.counts)


def make_counts(fields: Iterable[Any]) -> Counts:
    """Counts from true and false positives, and false and true negatives."""
    return Counts(*fields)


def make_steps(elements: Elements, *, is_graded: bool) -> Steps:
    """Sort the elements of a sample by level; `is_graded` is of its ground truth."""
    pred, target, weight = np.broadcast_arrays(*elements)
    valid, present = weight > 0, (weight > 0) & (target > 0)
    values = [pred[valid], target[present]] if is_graded else [pred[valid]]
    levels = np.unique(np.concatenate(values))
    index = np.searchsorted(levels, pred).clip(max=max(len(levels) - 1, 0))

    def sums(indices: AnyArray, weights: FloatArray) -> FloatArray:
        """The weights at each level, (C, m)."""
        rows = zip(indices, weights, strict=True)
        return np.stack([np.bincount(*row, minlength=len(levels)) for row in rows])

    if not len(levels):
        index = index[:, :0]
        pred, target, weight, present = (x[:, :0] for x in (pred, target, weight, present))
    foreground, background = sums(index, weight * target), sums(index, weight * (1 - target))
    if not is_graded:
        spectrum = Spectrum(foreground, background, foreground, background)
        counts = counts_of_levels(foreground, background, with_end=True)
    else:
        positive = weight * (target >= 0.5)
        spectrum = Spectrum(sums(index, positive), sums(index, weight - positive),
                            foreground, background)  # fmt: skip
        true = np.searchsorted(levels, target).clip(max=max(len(levels) - 1, 0))
        some = weight * present
        tp, of_target = (from_above(sums(at, some)) for at in (np.minimum(index, true), true))
        of_pred, every = from_above(sums(index, weight)), weight.sum(1, keepdims=True)
        fields = of_pred - tp, of_target - tp, every - of_pred - of_target + tp
        counts = make_counts([tp, *(field.clip(min=0) for field in fields)])  # weights may round
    return Steps(levels, counts, spectrum, foreground.sum(1))


def counts_of_levels(positive: Any, negative: Any, *, with_end: bool = False) -> Counts:
    """Counts at the thresholds that are levels, from the pixels at each level (…, L).

    Nothing is subtracted, so an empty count is exactly 0 whatever the weights are.

    Args:
        positive: pixels of the ground truth's foreground at each level, rising.
        negative: those of its background.
        with_end: add a column for thresholds above all levels.
    """
    end = None if with_end else -1
    above = [from_above(x)[..., :end] for x in (positive, negative)]
    below = [from_below(x)[..., :end] for x in (positive, negative)]
    return make_counts([*above, *below])


def from_above(x: FloatArray) -> FloatArray:
    """Sums over each element and all after it, then 0."""
    sums = np.cumsum(x[..., ::-1], -1)[..., ::-1]
    return np.concatenate([sums, np.zeros_like(x, shape=(*x.shape[:-1], 1))], -1)


def from_below(x: FloatArray) -> FloatArray:
    """0, then sums over each element and all before it."""
    return np.concatenate([np.zeros_like(x, shape=(*x.shape[:-1], 1)), np.cumsum(x, -1)], -1)
