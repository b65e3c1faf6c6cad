"""From counts and pixels to `SampleBatch` on a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lossbench.data.counting.instance_overlap import NOTHING, VOID, InstanceOverlap
from lossbench.data.formats.boxes import Detections
from lossbench.data.loading.records import Record
from lossbench.data.loading.sample import Pixels
from lossbench.data.planning.plan import MATCH, Plan
from lossbench.engine.compute.device_transfer import moved
from lossbench.geometry.box_matching import NONE, match
from lossbench.interface.cell_cache import MOST_PIXELS, CellCache
from lossbench.interface.sample_batch import (
    AlignedBoxes,
    Input,
    NamedTensors,
    SampleBatch,
    SegmentPairs,
    Task,
)

PRED_CELLS = (0.0, 0.0, 1.0, 1.0)  # of one class against the rest: TN, FN, FP, TP
TARGET_CELLS = (0.0, 1.0, 0.0, 1.0)


def counted_values(
    plan: Plan, tables: Any, sizes: Any, device: str, *, shared: bool = True
) -> SampleBatch:
    """Tables of counts, one a sample, as weighted elements.

    Args:
        plan: what the tables count.
        tables: (B, …) as `Sample` describes them; a single one where they are sparse.
        sizes: (B,) pixels of each sample, ignored ones included.
        device: where to compute.
        shared: use the grid of all samples of the run, with its cache of views; not for a user's
            own loss, which may change its inputs in place.
    """
    multiclass = plan.task == "multiclass"
    if plan.sparse:
        (cells,) = tables
        places, weights = cells.places, cells.counts[None]
        if not len(places):  # without a valid pixel there is one that weighs nothing
            places, weights = np.zeros(1, np.int64), np.zeros((1, cells.shape[0], 1))
    else:
        weights = np.asarray(tables)
        weights = weights if multiclass else weights.reshape(*weights.shape[:2], -1)
        places = np.arange(weights.shape[-1])
    numbers = (np.asarray(each, np.float64) for each in (weights, sizes))
    (counts,), (total,) = moved([[each] for each in numbers], device)
    if multiclass:
        if plan.sparse:
            classes = plan.target.classes
            joint = counts.new_zeros(1, classes * classes)
            counts = joint.index_copy_(1, torch.as_tensor(places, device=device), counts[:, 0])
            counts = counts.reshape(1, classes, classes)
        places = np.arange(0)
    if shared and (multiclass or not plan.sparse):
        grid = _whole_grid(plan, len(places), counts.shape[1], device)
    else:
        grid = _grid(plan, places, counts.shape[1], device)
    if multiclass:
        return SampleBatch(grid.inputs, _against_the_rest(counts), total, joint=counts)
    cache = grid.cell_cache if max(sizes) <= MOST_PIXELS else None
    return SampleBatch(grid.inputs, counts, total, differences=grid.differences, cell_cache=cache)


class CellGrid(NamedTuple):
    """The cells of tables as elements of a sample."""

    inputs: dict[str, Input]  # by role, the value that each cell stands for
    differences: Tensor | None = None  # the same for tables of differences
    cell_cache: CellCache | None = None  # what a pixel in each cell adds to views


def _grid(plan: Plan, places: Any, classes: int, device: str) -> CellGrid:
    """The cells at some places; those of label maps are the four of a class against the rest."""
    task = cast(Task, plan.task)

    def numbers(row: Any) -> Tensor:
        each = torch.as_tensor(np.asarray(row, np.float64), device=device)
        return each.expand(1, classes, -1)

    if task == "image":
        top = plan.cells // 2
        differences = numbers((places - top) / top)
        return CellGrid({"target": Input(torch.zeros_like(differences), task)}, differences)
    if task == "multiclass":
        rows = {"pred": PRED_CELLS, "target": TARGET_CELLS}
        return CellGrid({role: Input(numbers(row), task, cells=True) for role, row in rows.items()})
    true, grey = np.divmod(places, plan.pred.levels)
    pred = Input(numbers(grey / (plan.pred.levels - 1)), task)
    target = Input(numbers(true / (plan.target.levels - 1)), task)
    return CellGrid({"pred": pred, "target": target})


@lru_cache(maxsize=8)
def _whole_grid(plan: Plan, cells: int, classes: int, device: str) -> CellGrid:
    """Every cell: the same for all samples of a run, so that much of a loss is computed once."""
    grid = _grid(plan, np.arange(cells), classes, device)
    if plan.task == "multiclass" or classes > 1:
        return grid
    return grid._replace(cell_cache=CellCache(_one_in_each(grid)))


def _one_in_each(grid: CellGrid) -> SampleBatch:
    """A sample for each cell, of one pixel that is in it, and one whose only pixel is ignored."""

    def one_each(cells: Tensor) -> Tensor:
        return torch.cat([cells, cells[..., :1]], -1).movedim(-1, 0)

    inputs = {role: replace(x, values=one_each(x.values)) for role, x in grid.inputs.items()}
    pixels = torch.ones_like(inputs["target"].values)
    weight = pixels.clone()
    weight[-1] = 0
    differences = None if grid.differences is None else one_each(grid.differences)
    return SampleBatch(inputs, weight, pixels[:, 0, 0], differences=differences)


def _against_the_rest(joint: Tensor) -> Tensor:
    """The four cells of every class, (B, K, 4), from a confusion matrix (B, K, K)."""
    hits = joint.diagonal(dim1=1, dim2=2)
    pred, target, every = joint.sum(1), joint.sum(2), joint.sum((1, 2))[:, None]
    return torch.stack([every - pred - target + hits, target - hits, pred - hits, hits], -1)


def pixel_values(plan: Plan, samples: Sequence[Pixels], device: str) -> SampleBatch:
    """Pixels of one sample, or of several whose arrays are alike, as elements."""
    task, first = cast(Task, plan.task), samples[0]
    encodings = (plan.pred, plan.target, *plan.roles)
    maps = {
        name: [getattr(sample, name) for sample in samples]
        for name in ("weight", "positive", "instances")
        if getattr(first, name) is not None
    }
    constant = {name: each for name, (each, *_) in maps.items() if once(each)}
    maps |= {name: [each[:, :1] for each in maps[name]] for name in constant}
    stacks = [[sample.side(encoding.role)[0] for sample in samples] for encoding in encodings]
    tensors = moved([*stacks, *maps.values()], device)
    inputs = {}
    for encoding, tensor in zip(encodings, tensors, strict=False):
        is_map = task == "multiclass" and encoding.is_hard and not encoding.stacked
        inputs[encoding.role] = Input(
            tensor[:, 0]
            if is_map
            else tensor.to(torch.uint8 if encoding.is_hard else torch.double),
            task,
            encoding.is_logits,
            space=first.side(encoding.role)[1],
            labelled=len(plan.names) if is_map else 0,
        )
    numbers = (each.double() for each in tensors[len(encodings) :])
    on_device = dict(zip(maps, numbers, strict=True))
    on_device |= {name: on_device[name].expand(-1, *each.shape) for name, each in constant.items()}
    return SampleBatch(
        inputs,
        on_device["weight"],
        torch.full((len(samples),), first.weight.shape[1], dtype=torch.float64, device=device),
        emphasis=on_device.get("positive"),
        instances=on_device.get("instances"),
        spacing=first.spacing,
    )


def sample_values(plan: Plan, sample: Any, size: int, device: str) -> SampleBatch:
    """One sample of `size` pixels that is not counted, in the form that its task has."""
    match sample:
        case InstanceOverlap():
            return segment_values(plan, sample, size, device)
        case Detections():
            return detection_values(plan, sample, device)
        case Record():
            return record_values(plan, [sample], device)
    return pixel_values(plan, [sample], device)


def once(rows: Any) -> bool:
    """Whether all pixels share one number in memory."""
    return bool(rows.strides[-1] == 0)


def segment_values(plan: Plan, sample: InstanceOverlap, size: int, device: str) -> SampleBatch:
    """Segments of one sample of `size` pixels: an element for each pair that shares pixels."""

    def hot(classes: Any) -> Tensor:
        """(…, C), nothing where there is no class."""
        indices = torch.as_tensor(classes + 1, device=device)
        return functional.one_hot(indices, len(plan.names) + 1)[:, 1:].to(torch.float64)

    def classes_of(segments: Any, classes: Any) -> Input:
        of_segment = np.append(classes, NOTHING)[
            segments.clip(NOTHING)
        ]  # the last is of no segment
        return Input(hot(of_segment).T[None], "instances")

    count, pred, target, crowd = (
        torch.as_tensor(each, device=device)
        for each in (sample.count, sample.pred, sample.target, sample.crowd)
    )
    count, things = count.double(), None
    if plan.things is not None:
        things = torch.tensor([name in plan.things for name in plan.names], device=device)
    hot_pred, hot_target = hot(sample.pred_class), hot(sample.target_class)
    return SampleBatch(
        {
            "pred": classes_of(sample.pred, sample.pred_class),
            "target": classes_of(sample.target, sample.target_class),
        },
        count.where(target != VOID, 0.0)[None, None],
        torch.full((1,), size, dtype=torch.float64, device=device),
        segments=SegmentPairs(count, pred, target, hot_pred, hot_target, crowd, things),
    )


def detection_values(plan: Plan, sample: Detections, device: str) -> SampleBatch:
    """Boxes of one sample: an element for each object and for each unmatched detection.

    Prediction and target of an element are its score, 0 where it was missed, and 0 or 1. Crowds,
    and detections in them, are no elements.
    """
    unmatched = np.ones(len(sample.pred.corners), np.bool_)
    partner = np.full(len(sample.target.corners), NONE)
    p, crowd = sample.pred.ranked, sample.target.crowd
    of_class, target_class = sample.pred.of_class[p], sample.target.of_class
    (matches,) = match(sample.of_boxes[p], of_class, target_class, crowd, crowd, [MATCH])
    matched = matches != NONE
    unmatched[p[matched]] = False
    partner[matches[matched]] = p[matched]
    objects = np.flatnonzero(~sample.target.crowd)
    alarms = np.flatnonzero(unmatched)
    pred = np.append(partner[objects], alarms)
    target = np.append(objects, np.full(len(alarms), NONE))
    classes = np.append(sample.target.of_class[objects], sample.pred.of_class[alarms])

    def numbers(each: Any, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.as_tensor(each, dtype=dtype, device=device)[None]

    def corners(boxes: Any, indices: Any) -> Tensor:
        """The corners of some boxes, zeros for NONE."""
        return numbers(np.append(boxes.corners, np.zeros((1, 4)), 0)[indices])

    indices = torch.as_tensor(classes, device=device)
    hot = functional.one_hot(indices, len(plan.names)).T[None].to(torch.float64)
    scores = np.append(sample.pred.score, 0.0)[pred]
    inputs = {
        "pred": Input(numbers(scores)[:, None] * hot, "detection"),
        "target": Input(numbers(target != NONE)[:, None] * hot, "detection"),
    }
    boxes = AlignedBoxes(
        corners(sample.pred, pred),
        corners(sample.target, target),
        numbers(pred != NONE, torch.bool),
        numbers(target != NONE, torch.bool),
        hot,
    )
    total = torch.full((1,), len(classes), dtype=torch.float64, device=device)
    return SampleBatch(inputs, hot, total, boxes=boxes, detections=sample)


def record_values(plan: Plan, samples: Sequence[Record], device: str) -> SampleBatch:
    """Vectors of one length, or one sample of scores or of tensors by name."""
    task, roles = cast(Task, plan.task), samples[0].roles
    ones = torch.ones(len(samples), dtype=torch.float64, device=device)
    inputs = {}
    for role in roles:
        if task == "records":
            arrays = {
                name: np.require(each, requirements=["C", "W"])[None]
                for name, each in roles[role].items()
            }
            tensors = {name: torch.as_tensor(each, device=device) for name, each in arrays.items()}
            empty = torch.zeros(1, 1, 1, device=device)
            inputs[role] = Input(empty, task, named=NamedTensors(role, tensors))
        else:
            rows = np.stack([sample.roles[role][""] for sample in samples])
            numbers = torch.as_tensor(rows, dtype=torch.float64, device=device)
            inputs[role] = Input(numbers.movedim(1, 2) if task == "vectors" else numbers, task)
    return SampleBatch(inputs, ones[:, None, None], ones)
