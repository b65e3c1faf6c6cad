"""Hits, false alarms and misses of hard masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lossbench.catalog.tasks import of_truth
from lossbench.interface.annotations import Share, Valid, Weight
from lossbench.interface.sample_batch import Input
from lossbench.interface.stable_math import total


class Counts(NamedTuple):
    """Pixels of one class, each (B, C): hits, false alarms, misses and the rest. They add up."""

    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor

    @classmethod
    def of(cls, pred: Input, target: Input, weight: Weight, *, threshold: Share = 0.5) -> Counts:
        """The counts over valid pixels.

        Args:
            threshold: p ≥ threshold is foreground, of the target y ≥ threshold and y > 0; not for
                multiclass, where the most likely class counts.
        """
        if pred.task == "multiclass" and not pred.cells and _suits(weight, pred.count):
            return cls(*_of_labels(pred.labels, target.labels, weight[:, 0], pred.count))
        yes, true = pred.decision(threshold), target.decision(of_truth(threshold))
        return cls(
            total(yes * true, weight),
            total(yes * (1 - true), weight),
            total((1 - yes) * true, weight),
            total((1 - yes) * (1 - true), weight),
        )


def _suits(weight: Tensor, classes: int) -> bool:
    """Whether pairs of labels are counted: pixels have one weight, and pairs are not many more.

    A GPU counts in any order, so that sums of fractions would differ from run to run.
    """
    return weight.device.type == "cpu" and weight.shape[1] == 1 and classes <= weight.shape[2]


def _of_labels(pred: Tensor, target: Tensor, weight: Tensor, classes: int) -> tuple[Tensor, ...]:
    """The four of every class, each (B, K), from labels and weights (B, N).

    Nothing is subtracted: what there is none of is exactly 0 whatever the weights are. One is added
    at a time, which single precision cannot do beyond 2²⁴.
    """
    cells = classes * classes
    first = torch.arange(len(weight), device=weight.device)[:, None] * cells
    places = first + target * classes + pred
    counts = torch.bincount(places.flatten(), weight.flatten().double(), len(weight) * cells)
    joint = counts.reshape(-1, classes, classes)
    wrong, others = (_without_diagonal(each) for each in (joint, _without_each(joint)))
    found = joint.diagonal(dim1=1, dim2=2), wrong.sum(1), wrong.sum(2), others.sum(1)
    return tuple(each.to(weight) for each in found)


def _without_diagonal(joint: Tensor) -> Tensor:
    own = torch.eye(joint.shape[-1], dtype=torch.bool, device=joint.device)
    return joint.masked_fill(own, 0.0)


def _without_each(x: Tensor) -> Tensor:
    """For every number of the last axis the sum of the others."""
    none = torch.zeros_like(x[..., :1])
    before = torch.cat([none, x.cumsum(-1)[..., :-1]], -1)
    after = torch.cat([x.flip(-1).cumsum(-1).flip(-1)[..., 1:], none], -1)
    return before + after


@dataclass(frozen=True, eq=False)
class Masks:
    """Both masks of every class, each (B, C, *space), true inside; an ignored pixel is outside."""

    pred: Tensor
    target: Tensor

    @classmethod
    def of(cls, pred: Input, target: Input, valid: Valid, *, threshold: Share = 0.5) -> Masks:
        """The masks of a sample.

        Args:
            threshold: p ≥ threshold is foreground, of the target y ≥ threshold and y > 0; not for
                multiclass, where the most likely class counts.
        """
        sides = pred.decision(threshold), target.decision(of_truth(threshold))
        hard = (side > 0 for side in sides)
        return cls(*(mask.reshape(*mask.shape[:2], *valid.shape[2:]) & valid for mask in hard))


class Confusion(NamedTuple):
    """What scores ask of a confusion matrix: each class against the others, each (B, G, K).

    A multiclass task has one matrix of all its classes; a binary one G = 1, a multilabel one G = C
    matrices of no and yes. They add up, and nothing is subtracted.
    """

    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor

    @classmethod
    def of(cls, counts: Counts, target: Input) -> Confusion:
        """Those of the valid pixels, from the hits and misses of each class."""
        tp, fp, fn, tn = counts
        if target.task == "multiclass":
            return cls(*(each[:, None] for each in counts))
        return cls(*(torch.stack(each, -1) for each in ((tn, tp), (fn, fp), (fp, fn), (tp, tn))))

    @property
    def pred(self) -> Tensor:
        """The pixels that were predicted as each class."""
        return self.tp + self.fp

    @property
    def target(self) -> Tensor:
        """The pixels that are of each class."""
        return self.tp + self.fn
