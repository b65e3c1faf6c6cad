"""Hits, false alarms and misses of hard masks."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from lossbench.views.forms import Share, Weight
from lossbench.views.sums import total
from lossbench.views.values import Side


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
            threshold: p ≥ threshold is foreground; not for multiclass, where the most likely
                class counts.
        """
        yes, true = pred.decision(threshold), target.decision(threshold)
        return cls(
            total(yes * true, weight),
            total(yes * (1 - true), weight),
            total((1 - yes) * true, weight),
            total((1 - yes) * (1 - true), weight),
        )
