"""Which class was taken for which."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossbench.interface.sample_batch import Side
from lossbench.views.confusion import Counts


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
    def of(cls, counts: Counts, target: Side) -> Confusion:
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
