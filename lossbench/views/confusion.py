"""Hits, false alarms and misses of hard masks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossbench.data.planning.encoding import of_truth
from lossbench.interface.annotations import Share, Weight
from lossbench.interface.sample_batch import Side
from lossbench.interface.stable_math import total


class Counts(NamedTuple):
    """Pixels of one class, each (B, C): hits, false alarms, misses and the rest. They add up."""

    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor

    @classmethod
    def of(cls, pred: Side, target: Side, weight: Weight, *, threshold: Share = 0.5) -> Counts:
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
