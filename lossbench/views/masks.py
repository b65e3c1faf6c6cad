"""Hard masks with their pixels in their places."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lossbench.data.planning.encoding import of_truth
from lossbench.interface.annotations import Share, Valid
from lossbench.interface.sample_batch import Side


@dataclass(frozen=True, eq=False)
class Masks:
    """Both masks of every class, each (B, C, *space), true inside; an ignored pixel is outside."""

    pred: Tensor
    target: Tensor

    @classmethod
    def of(cls, pred: Side, target: Side, valid: Valid, *, threshold: Share = 0.5) -> Masks:
        """The masks of a sample.

        Args:
            threshold: p ≥ threshold is foreground, of the target y ≥ threshold and y > 0; not for
                multiclass, where the most likely class counts.
        """
        sides = pred.decision(threshold), target.decision(of_truth(threshold))
        hard = (side > 0 for side in sides)
        return cls(*(mask.reshape(*mask.shape[:2], *valid.shape[2:]) & valid for mask in hard))
