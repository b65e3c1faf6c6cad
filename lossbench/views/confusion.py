"""True and false positives and negatives of hard masks.

Args:
    threshold: foreground is p ≥ threshold, and y ≥ threshold with y > 0 in the target; multiclass
        tasks take the most likely class instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from lossbench.catalog.tasks import target_threshold
from lossbench.interface.annotations import Array, Share, Valid, Weight
from lossbench.interface.sample_batch import Input
from lossbench.interface.stable_math import concatenate, library, numbers, stack, total, zeros_like


class Counts(NamedTuple):
    """True and false positives and negatives of each class, each (B, C); additive over samples."""

    tp: Array
    fp: Array
    fn: Array
    tn: Array

    @classmethod
    def of(cls, pred: Input, target: Input, weight: Weight, *, threshold: Share = 0.5) -> Counts:
        """The counts over valid pixels."""
        labels = pred.task == "multiclass" and not pred.cells and weight.shape[1] == 1
        # A GPU adds in any order, so sums of fractional weights would differ from run to run.
        if labels and weight.device.type == "cpu" and pred.count <= weight.shape[2]:
            return cls(*_of_labels(pred.labels, target.labels, weight[:, 0], pred.count))
        p, y = pred.decision(threshold), target.decision(target_threshold(threshold))
        products = p * y, p * (1 - y), (1 - p) * y, (1 - p) * (1 - y)
        return cls(*(total(x, weight) for x in products))


def _of_labels(pred: Array, target: Array, weight: Array, classes: int) -> tuple[Array, ...]:
    """tp, fp, fn and tn of every class, each (B, K), from labels and weights (B, N).

    Nothing is subtracted, so an empty count is exactly 0 whatever the weights are. Weights are
    added one at a time in float64, because single precision cannot count beyond 2²⁴.
    """
    cells = classes * classes
    torch = library(weight)
    first = torch.arange(len(weight), device=weight.device)[:, None] * cells
    indices = first + target * classes + pred
    counts = torch.bincount(indices.flatten(), weight.flatten().double(), len(weight) * cells)
    joint = counts.reshape(-1, classes, classes)
    diagonal = torch.eye(classes, dtype=torch.bool, device=joint.device)
    errors, others = (x.masked_fill(diagonal, 0.0) for x in (joint, _sum_of_others(joint)))
    sums = joint.diagonal(dim1=1, dim2=2), errors.sum(1), errors.sum(2), others.sum(1)
    return tuple(numbers(x, weight) for x in sums)


def _sum_of_others(x: Array) -> Array:
    """For each number of the last axis, the sum of the other numbers."""
    zero = zeros_like(x[..., :1])
    before = concatenate([zero, x.cumsum(-1)[..., :-1]], -1)
    after = concatenate([x.flip(-1).cumsum(-1).flip(-1)[..., 1:], zero], -1)
    return before + after


@dataclass(frozen=True, eq=False)
class Masks:
    """Both hard masks of each class, each (B, C, *space); ignored pixels are outside."""

    pred: Array
    target: Array

    @classmethod
    def of(cls, pred: Input, target: Input, valid: Valid, *, threshold: Share = 0.5) -> Masks:
        """The masks of a sample."""
        p, y = pred.decision(threshold), target.decision(target_threshold(threshold))
        return cls(*((x > 0).reshape(*x.shape[:2], *valid.shape[2:]) & valid for x in (p, y)))


class Confusion(NamedTuple):
    """Counts from the confusion matrix, each class against the others, each (B, G, K).

    A multiclass task has one matrix of all its classes (G = 1), a binary task one of background and
    foreground (G = 1), a multilabel task one such matrix per label (G = C). Additive over samples,
    with nothing subtracted.
    """

    tp: Array
    fp: Array
    fn: Array
    tn: Array

    @classmethod
    def of(cls, counts: Counts, target: Input) -> Confusion:
        """The confusion counts of the valid pixels, from the counts of each class."""
        tp, fp, fn, tn = counts
        if target.task == "multiclass":
            return cls(*(x[:, None] for x in counts))
        return cls(*(stack(pair, -1) for pair in ((tn, tp), (fn, fp), (fp, fn), (tp, tn))))

    @property
    def pred(self) -> Array:
        """Number of pixels predicted as each class."""
        return self.tp + self.fp

    @property
    def target(self) -> Array:
        """Number of pixels of each class in the target."""
        return self.tp + self.fn
