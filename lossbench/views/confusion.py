"""Which class was taken for which."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossbench.views.counts import Counts
from lossbench.views.values import Side


class Confusion(NamedTuple):
    """What scores ask of a confusion matrix: its diagonal and both its sums, each (B, G, K).

    Hits, and the pixels that were predicted as and that are of each class. A multiclass task has
    one matrix of all its classes; a binary one G = 1, a multilabel one G = C matrices of no and
    yes. They add up.
    """

    hits: Tensor
    pred: Tensor
    target: Tensor

    @classmethod
    def of(cls, counts: Counts, target: Side) -> Confusion:
        """Those of the valid pixels, from the hits and misses of each class."""
        tp, fp, fn, tn = counts
        if target.task == "multiclass":
            return cls(tp[:, None], (tp + fp)[:, None], (tp + fn)[:, None])
        sides = (tn, tp), (tn + fn, tp + fp), (tn + fp, tp + fn)
        return cls(*(torch.stack(side, -1) for side in sides))
