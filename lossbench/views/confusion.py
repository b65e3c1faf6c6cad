"""Which class was taken for which."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossbench.views.forms import Share
from lossbench.views.sums import total
from lossbench.views.values import Values


class Confusion(NamedTuple):
    """Pixels by target class (rows) and predicted class (columns), (B, G, K, K). They add up.

    A multiclass task has one matrix of all its classes; a binary one G = 1, a multilabel one G = C
    matrices of no and yes.
    """

    matrix: Tensor

    @classmethod
    def of(cls, values: Values, *, threshold: Share = 0.5) -> Confusion:
        """The matrix over valid pixels.

        Args:
            threshold: p ≥ threshold is foreground; not for multiclass, where the most likely
                class counts.
        """
        if values.joint is not None:
            return cls(values.joint[:, None])
        pred, target = (values.sides[role].decision(threshold) for role in ("pred", "target"))
        if values.task == "multiclass":
            weighted = target * values.weight
            rows = [total(pred, weighted[:, c, None]) for c in range(pred.shape[1])]
            return cls(torch.stack(rows, 1)[:, None])
        cells = [
            total(a * b, values.weight) for a in (1 - target, target) for b in (1 - pred, pred)
        ]
        return cls(torch.stack(cells, -1).unflatten(-1, (2, 2)))
