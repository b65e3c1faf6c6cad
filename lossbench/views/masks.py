"""Hard masks with their pixels in their places."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lossbench.views.forms import Share, Valid
from lossbench.views.values import Side


@dataclass(frozen=True, eq=False)
class Masks:
    """Both masks of every class, each (B, C, *space), true inside; an ignored pixel is outside."""

    pred: Tensor
    target: Tensor

    @classmethod
    def of(cls, pred: Side, target: Side, valid: Valid, *, threshold: Share = 0.5) -> Masks:
        """The masks of a sample.

        Args:
            threshold: p ≥ threshold is foreground; not for multiclass, where the most likely
                class counts.
        """
        hard = (side.decision(threshold) > 0 for side in (pred, target))
        return cls(*(mask.reshape(*mask.shape[:2], *valid.shape[2:]) & valid for mask in hard))
