"""From boxes to `SampleBatch`: samples of matched boxes, as tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lossbench.data.formats.boxes import DetectionBatch, Detections
from lossbench.data.planning.plan import MATCH, Plan
from lossbench.geometry.box_matching import NONE, match
from lossbench.interface.sample_batch import AlignedBoxes, Input, SampleBatch
from lossbench.runtime.array_types import BoolArray, IntArray


def matched_values(plan: Plan, batch: DetectionBatch, device: str) -> Iterator[SampleBatch]:
    """Each sample of a batch, with its detections matched to its objects."""
    pred, target, crowd = batch.pred, batch.target, batch.target.boxes.crowd
    (matches,) = match(*batch.candidates, batch.of_boxes, pred.group, crowd, crowd, [MATCH])
    matched = np.flatnonzero(matches != NONE)
    unmatched, partner = np.ones(len(pred.row), np.bool_), np.full(len(crowd), NONE)
    unmatched[pred.row[matched]] = False
    first, second = 0, 0
    starts = np.cumsum([0, *(len(each.pred) for each in batch.samples)])
    partner[target.row[matches[matched]]] = pred.row[matched] - starts[pred.sample[matched]]
    for sample in batch.samples:
        rows = slice(first, first := first + len(sample.pred))
        of_target = slice(second, second := second + len(sample.target))
        yield detection_values(plan, sample, unmatched[rows], partner[of_target], device)


def detection_values(
    plan: Plan, sample: Detections, unmatched: BoolArray, partner: IntArray, device: str
) -> SampleBatch:
    """Boxes of one sample: an element for each object and for each unmatched detection.

    Prediction and target of an element are its score, 0 where it was missed, and 0 or 1. Crowds,
    and detections in them, are no elements.

    Args:
        plan: how boxes are read.
        sample: the sample.
        unmatched: (P,) whether a detection has no object.
        partner: (T,) the detection of each object, NONE for an object that was missed.
        device: where to compute.
    """
    own, true = sample.pred.rows, sample.target.rows
    objects = np.flatnonzero(~true.crowd)
    alarms = np.flatnonzero(unmatched)
    pred = np.append(partner[objects], alarms)
    target = np.append(objects, np.full(len(alarms), NONE))
    classes = np.append(true.of_class[objects], own.of_class[alarms])

    def numbers(each: Any, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.as_tensor(each, dtype=dtype, device=device)[None]

    def corners(boxes: Any, indices: Any) -> Tensor:
        """The corners of some boxes, zeros for NONE."""
        return numbers(np.append(boxes.corners, np.zeros((1, 4)), 0)[indices])

    indices = torch.as_tensor(classes, device=device)
    hot = functional.one_hot(indices, len(plan.names)).T[None].to(torch.float64)
    scores = np.append(own.score, 0.0)[pred]
    inputs = {
        "pred": Input(numbers(scores)[:, None] * hot, "detection"),
        "target": Input(numbers(target != NONE)[:, None] * hot, "detection"),
    }
    boxes = AlignedBoxes(
        corners(own, pred),
        corners(true, target),
        numbers(pred != NONE, torch.bool),
        numbers(target != NONE, torch.bool),
        hot,
    )
    total = torch.full((1,), len(classes), dtype=torch.float64, device=device)
    return SampleBatch(
        inputs, hot, total, boxes=boxes, detections=DetectionBatch([sample], len(plan.names))
    )
