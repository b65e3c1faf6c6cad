"""Segments of two label maps, matched: the ones that are the same thing."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lossbench.errors import SettingError
from lossbench.interface.sample_batch import SampleBatch, SegmentPairs

VOID = -2  # in place of a true segment


class Segments(NamedTuple):
    """Segments of one class, each (B, C): matched, only predicted, only true, Σ IoU of the matched.

    They add up.
    """

    tp: Tensor
    fp: Tensor
    fn: Tensor
    iou: Tensor

    @classmethod
    def of(
        cls,
        values: SampleBatch,
        *,
        only: Literal["all", "things", "stuff"] = "all",
        void: Literal["target", "both"] = "target",
    ) -> Segments:
        """Match segments of one class that share more than half of what either covers.

        Args:
            only: the classes that count: all, those with instances (things), or those without.
            void: where pixels are void, and leave the segments of the other side: in the target, or
                with both also where nothing is predicted.
        """
        joint = values.segments
        if joint is None:
            raise SettingError("this loss needs instance maps, which `lossbench.evaluate` reads")
        counts = [each[None] for each in _matched(joint, void == "both")]
        if only != "all":
            if joint.things is None:
                raise SettingError(f"only={only}: name the classes with instances with --things")
            kept = joint.things if only == "things" else ~joint.things
            counts = [each * kept for each in counts]
        return cls(*counts)


def _matched(joint: SegmentPairs, both_void: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """tp, fp, fn and Σ IoU by class, each (C,)."""
    shared, pred, target, pred_class, target_class, crowd, _ = joint
    of_pred, of_target = pred >= 0, target >= 0

    def areas(cells: Tensor, segments: Tensor, like: Tensor) -> Tensor:
        """Pixels of each segment in some of the cells."""
        sums = torch.zeros(len(like), dtype=torch.float64, device=shared.device)
        return sums.index_add(
            0, segments[cells], shared[cells]
        )  # whole numbers: exact in any order

    void = areas(of_pred & (target == VOID), pred, pred_class)
    unclaimed = areas(of_target & ~of_pred, target, target_class) * both_void
    pred_area = areas(of_pred, pred, pred_class)
    target_area = areas(of_target, target, target_class)
    both = of_pred & of_target
    p, t, overlap = pred[both], target[both], shared[both]
    alike = (pred_class[p] * target_class[t]).sum(-1) > 0
    union = pred_area[p] - void[p] + target_area[t] - unclaimed[t] - overlap
    hits = alike & ~crowd[t] & (2 * overlap > union)
    p_hit, t_hit = p[hits], t[hits]
    grouped = alike & crowd[t]
    lost = void.index_add(0, p[grouped], overlap[grouped])
    alone = 2 * lost <= pred_area
    alone[p_hit] = False
    missed = (2 * unclaimed <= target_area) & (target_area > 0) & ~crowd
    missed[t_hit] = False
    hit_class = pred_class[p_hit]
    return (
        hit_class.sum(0),
        pred_class[alone].sum(0),
        target_class[missed].sum(0),
        (hit_class * (overlap / union)[hits, None]).sum(0),
    )
