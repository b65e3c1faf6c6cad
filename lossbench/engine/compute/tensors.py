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
from lossbench.data.formats.boxes import Detections, by_class
from lossbench.data.loading.records import Record
from lossbench.data.loading.sample import Pixels
from lossbench.data.planning.input_encoding import InputEncoding
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
    """Tables of counts, one a sample, as values with weights.

    Args:
        plan: what the tables count.
        tables: (B, …) as `Sample` describes them; of those that have no place for a cell that does
            not occur, one.
        sizes: (B,) pixels of each sample, ignored ones included.
        device: where to compute.
        shared: take what cells stand for, and what they add to views, from the run; without, as
            for losses of a user's own, nobody else sees a change of it, and any view will do.
    """
    if plan.sparse:
        (cells,) = tables
        places, weights = cells.places, cells.counts[None]
        if not len(places):  # without a valid pixel there is one that weighs nothing
            places, weights = np.zeros(1, np.int64), np.zeros((1, cells.shape[0], 1))
    else:
        weights = np.asarray(tables)
        weights = weights if plan.task == "multiclass" else weights.reshape(*weights.shape[:2], -1)
        places = np.arange(weights.shape[-1])
    numbers = (np.asarray(each, np.float64) for each in (weights, sizes))
    (counts,), (total,) = moved([[each] for each in numbers], device)
    if plan.task == "multiclass":
        if plan.sparse:
            classes = plan.target.classes
            joint = counts.new_zeros(1, classes * classes)
            counts = joint.index_copy_(1, torch.as_tensor(places, device=device), counts[:, 0])
            counts = counts.reshape(1, classes, classes)
        places = np.arange(0)
    if shared and (plan.task == "multiclass" or not plan.sparse):
        grid = _whole_grid(plan, len(places), counts.shape[1], device)
    else:
        grid = _grid(plan, places, counts.shape[1], device)
    if plan.task == "multiclass":
        return SampleBatch(grid.sides, _against_the_rest(counts), total, joint=counts)
    shares = grid.shares if max(sizes) <= MOST_PIXELS else None
    return SampleBatch(grid.sides, counts, total, differences=grid.differences, cell_cache=shares)


class CellGrid(NamedTuple):
    """What the cells of tables stand for, and what a pixel in each of them adds to views."""

    sides: dict[str, Input]
    differences: Tensor | None
    shares: CellCache | None = None


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
        sides = {role: Input(numbers(row), task, cells=True) for role, row in rows.items()}
        return CellGrid(sides, None)
    true, grey = np.divmod(places, plan.pred.levels)
    pred = Input(numbers(grey / (plan.pred.levels - 1)), task)
    target = Input(numbers(true / (plan.target.levels - 1)), task)
    return CellGrid({"pred": pred, "target": target}, None)


@lru_cache(maxsize=8)
def _whole_grid(plan: Plan, cells: int, classes: int, device: str) -> CellGrid:
    """Every cell: the same for all samples of a run, so that much of a loss is computed once."""
    grid = _grid(plan, np.arange(cells), classes, device)
    if plan.task == "multiclass" or classes > 1:
        return grid
    return grid._replace(shares=CellCache(_one_in_each(grid)))


def _one_in_each(grid: CellGrid) -> SampleBatch:
    """A sample for each cell, of one pixel that is in it, and one whose only pixel is ignored."""

    def apart(cells: Tensor) -> Tensor:
        return torch.cat([cells, cells[..., :1]], -1).movedim(-1, 0)

    sides = {role: replace(side, values=apart(side.values)) for role, side in grid.sides.items()}
    pixels = torch.ones_like(sides["target"].values)
    weight = pixels.clone()
    weight[-1] = 0
    differences = None if grid.differences is None else apart(grid.differences)
    return SampleBatch(sides, weight, pixels[:, 0, 0], differences=differences)


def _against_the_rest(joint: Tensor) -> Tensor:
    """The four cells of every class, (B, K, 4), from a confusion matrix (B, K, K)."""
    hits = joint.diagonal(dim1=1, dim2=2)
    pred, target, every = joint.sum(1), joint.sum(2), joint.sum((1, 2))[:, None]
    return torch.stack([every - pred - target + hits, target - hits, pred - hits, hits], -1)


def pixel_values(plan: Plan, samples: Sequence[Pixels], device: str) -> SampleBatch:
    """Pixels as values, of one sample or of several that `form` says are alike."""
    task, (first, *_) = cast(Task, plan.task), samples
    classes = len(plan.names) if task == "multiclass" else 0
    readings = (plan.pred, plan.target, *plan.roles)
    maps = {
        name: [getattr(sample, name) for sample in samples]
        for name in ("weight", "positive", "instances")
        if getattr(first, name) is not None
    }
    alike = {name: each for name, (each, *_) in maps.items() if once(each)}
    maps |= {name: [each[:, :1] for each in maps[name]] for name in alike}
    stacks = [[sample.side(reading.role)[0] for sample in samples] for reading in readings]
    tensors = moved([*stacks, *maps.values()], device)
    sides = {
        reading.role: _side(
            tensor,
            reading,
            task,
            labelled=classes if reading.is_hard and not reading.stacked else 0,
            space=first.side(reading.role)[1],
        )
        for reading, tensor in zip(readings, tensors, strict=False)
    }
    found = dict(zip(maps, (each.double() for each in tensors[len(readings) :]), strict=True))
    found |= {name: found[name].expand(-1, *each.shape) for name, each in alike.items()}
    return SampleBatch(
        sides,
        found["weight"],
        torch.full((len(samples),), first.weight.shape[1], dtype=torch.float64, device=device),
        emphasis=found.get("positive"),
        instances=found.get("instances"),
        spacing=first.spacing,
    )


def once(rows: Any) -> bool:
    """Whether all pixels share one number in memory."""
    return bool(rows.strides[-1] == 0)


def segment_values(plan: Plan, sample: InstanceOverlap, size: int, device: str) -> SampleBatch:
    """One sample's segments as values: a table cell for each pair that shares pixels.

    Args:
        plan: how they were read.
        sample: what was counted.
        size: pixels of the sample, void ones included.
        device: where to compute.
    """

    def hot(classes: Any) -> Tensor:
        """(…, C), nothing where there is no class."""
        indices = torch.as_tensor(classes + 1, device=device)
        return functional.one_hot(indices, len(plan.names) + 1)[:, 1:].to(torch.float64)

    def side(segments: Any, classes: Any) -> Input:
        found = np.append(classes, NOTHING)[segments.clip(NOTHING)]  # the last one is nothing's
        return Input(hot(found).T[None], "instances")

    count, pred, target, crowd = (
        torch.as_tensor(each, device=device)
        for each in (sample.count, sample.pred, sample.target, sample.crowd)
    )
    things = None
    if plan.things is not None:
        things = torch.tensor([name in plan.things for name in plan.names], device=device)
    sides = {
        "pred": side(sample.pred, sample.pred_class),
        "target": side(sample.target, sample.target_class),
    }
    weight = count.to(torch.float64).where(target != VOID, 0.0)
    return SampleBatch(
        sides,
        weight[None, None],
        torch.full((1,), size, dtype=torch.float64, device=device),
        segments=SegmentPairs(
            count.to(torch.float64),
            pred,
            target,
            hot(sample.pred_class),
            hot(sample.target_class),
            crowd,
            things,
        ),
    )


def detection_values(plan: Plan, sample: Detections, device: str) -> SampleBatch:
    """One sample's boxes as values: an element for each object, and each detection that is none.

    Prediction and target of an element are its score, 0 where it was missed, and 0 or 1. Crowds,
    and detections in them, are no elements.
    """
    alone = np.ones(len(sample.pred.corners), np.bool_)
    partner = np.full(len(sample.target.corners), NONE)
    for _, p, t in by_class(sample):
        crowd = sample.target.crowd[t]
        (places,) = match(sample.of_boxes[np.ix_(p, t)], crowd, crowd, [MATCH])
        some = places != NONE
        alone[p[some]] = False
        partner[t[places[some]]] = p[some]
    objects = np.flatnonzero(~sample.target.crowd)
    alarms = np.flatnonzero(alone)
    found = np.append(partner[objects], alarms)
    there = np.append(objects, np.full(len(alarms), NONE))
    classes = np.append(sample.target.of_class[objects], sample.pred.of_class[alarms])

    def numbers(each: Any, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.as_tensor(each, dtype=dtype, device=device)[None]

    def placed(corners: Any, places: Any) -> Tensor:
        """The boxes at some places, any one where there is none."""
        return numbers(np.append(corners, np.zeros((1, 4)), 0)[places])

    indices = torch.as_tensor(classes, device=device)
    hot = functional.one_hot(indices, len(plan.names)).T[None].to(torch.float64)
    scores = np.append(sample.pred.score, 0.0)[found]
    sides = {
        "pred": Input(numbers(scores)[:, None] * hot, "detection"),
        "target": Input(numbers(there != NONE)[:, None] * hot, "detection"),
    }
    return SampleBatch(
        sides,
        hot,
        torch.full((1,), len(classes), dtype=torch.float64, device=device),
        boxes=AlignedBoxes(
            placed(sample.pred.corners, found),
            placed(sample.target.corners, there),
            numbers(found != NONE, torch.bool),
            numbers(there != NONE, torch.bool),
            hot,
        ),
        detections=sample,
    )


def record_values(plan: Plan, samples: Sequence[Record], device: str) -> SampleBatch:
    """Vectors of one length, or one sample of scores or of tensors by name, as values."""
    task = cast(Task, plan.task)

    def side(role: str) -> Input:
        if task == "records":
            (sample,) = samples
            tensors = {
                name: torch.as_tensor(np.require(each, requirements=["C", "W"]), device=device)[
                    None
                ]
                for name, each in sample.roles[role].items()
            }
            return Input(
                torch.zeros(1, 1, 1, device=device), task, named=NamedTensors(role, tensors)
            )
        rows = np.stack([sample.roles[role][""] for sample in samples])
        numbers = torch.as_tensor(rows, dtype=torch.float64, device=device)
        return Input(numbers.movedim(1, 2) if task == "vectors" else numbers, task)

    ones = torch.ones(len(samples), dtype=torch.float64, device=device)
    return SampleBatch({role: side(role) for role in samples[0].roles}, ones[:, None, None], ones)


def _side(given: Tensor, reading: InputEncoding, task: Task, *, labelled: int, space: Any) -> Input:
    """(B, C, N) float64, 0 and 1 as bytes, or labels (B, N) of several classes."""
    if labelled:
        given = given[:, 0]
    elif reading.is_hard:
        given = given.to(torch.uint8)
    else:
        given = given.to(torch.float64)
    return Input(given, task, reading.is_logits, space=space, labelled=labelled)
