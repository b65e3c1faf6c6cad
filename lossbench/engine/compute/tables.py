"""From tables of counts to `SampleBatch`, as arrays of NumPy."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np

from lossbench.data.counting.instance_overlap import NOTHING, VOID, InstanceOverlap
from lossbench.data.formats.boxes import DetectionBatch
from lossbench.data.planning.plan import Plan
from lossbench.interface.cell_cache import MOST_PIXELS, CellCache
from lossbench.interface.sample_batch import Input, SampleBatch, SegmentPairs, Task
from lossbench.runtime.array_types import FloatArray

PRED_CELLS = (0.0, 0.0, 1.0, 1.0)  # of one class against the rest: TN, FN, FP, TP
TARGET_CELLS = (0.0, 1.0, 0.0, 1.0)


def counted_values(plan: Plan, tables: Any, sizes: Any, *, shared: bool = True) -> SampleBatch:
    """Tables of counts, one a sample, as weighted elements.

    Args:
        plan: what the tables count.
        tables: (B, …) as `Sample` describes them; a single one where they are sparse.
        sizes: (B,) pixels of each sample, ignored ones included.
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
    counts: Any = np.asarray(weights, np.float64)
    total: Any = np.asarray(sizes, np.float64)
    if multiclass:
        if plan.sparse:
            classes = plan.target.classes
            joint = np.zeros((1, classes * classes))
            joint[:, places] = counts[:, 0]
            counts = joint.reshape(1, classes, classes)
        places = np.arange(0)
    if shared and (multiclass or not plan.sparse):
        grid = _whole_grid(plan, len(places), counts.shape[1])
    else:
        grid = _grid(plan, places, counts.shape[1])
    if multiclass:
        return SampleBatch(grid.inputs, _against_the_rest(counts), total, joint=counts)
    cache = grid.cell_cache if max(sizes) <= MOST_PIXELS else None
    return SampleBatch(grid.inputs, counts, total, differences=grid.differences, cell_cache=cache)


class CellGrid(NamedTuple):
    """The cells of tables as elements of a sample."""

    inputs: dict[str, Input]  # by role, the value that each cell stands for
    differences: Any = None  # the same for tables of differences
    cell_cache: CellCache | None = None  # what a pixel in each cell adds to views


def _grid(plan: Plan, places: Any, classes: int) -> CellGrid:
    """The cells at some places; those of label maps are the four of a class against the rest."""
    task = cast(Task, plan.task)

    def values(row: Any) -> Any:
        return np.broadcast_to(np.asarray(row, np.float64), (1, classes, len(row)))

    if task == "image":
        top = plan.cells // 2
        differences = values((places - top) / top)
        return CellGrid({"target": Input(np.zeros_like(differences), task)}, differences)
    if task == "multiclass":
        rows = {"pred": PRED_CELLS, "target": TARGET_CELLS}
        return CellGrid({role: Input(values(row), task, cells=True) for role, row in rows.items()})
    true, grey = np.divmod(places, plan.pred.levels)
    pred = Input(values(grey / (plan.pred.levels - 1)), task)
    target = Input(values(true / (plan.target.levels - 1)), task)
    return CellGrid({"pred": pred, "target": target})


@lru_cache(maxsize=8)
def _whole_grid(plan: Plan, cells: int, classes: int) -> CellGrid:
    """Every cell: the same for all samples of a run, so that much of a loss is computed once."""
    grid = _grid(plan, np.arange(cells), classes)
    if plan.task == "multiclass" or classes > 1:
        return grid
    return grid._replace(cell_cache=CellCache(_one_in_each(grid)))


def _one_in_each(grid: CellGrid) -> SampleBatch:
    """A sample for each cell, of one pixel that is in it, and one whose only pixel is ignored."""

    def one_each(cells: Any) -> Any:
        each = np.concatenate([cells, cells[..., :1]], -1)
        return np.ascontiguousarray(np.moveaxis(each, -1, 0))

    inputs = {role: replace(x, values=one_each(x.values)) for role, x in grid.inputs.items()}
    pixels: Any = np.ones_like(inputs["target"].values)
    weight = pixels.copy()
    weight[-1] = 0
    differences = None if grid.differences is None else one_each(grid.differences)
    return SampleBatch(inputs, weight, pixels[:, 0, 0], differences=differences)


def _against_the_rest(joint: FloatArray) -> Any:
    """The four cells of every class, (B, K, 4), from a confusion matrix (B, K, K)."""
    hits = joint.diagonal(0, 1, 2)
    pred, target, every = joint.sum(1), joint.sum(2), joint.sum((1, 2))[:, None]
    return np.stack([every - pred - target + hits, target - hits, pred - hits, hits], -1)


def segment_values(plan: Plan, sample: InstanceOverlap, size: int) -> SampleBatch:
    """Segments of one sample of `size` pixels: an element for each pair that shares pixels."""

    def hot(classes: Any) -> Any:
        """(…, C), nothing where there is no class."""
        return np.eye(len(plan.names) + 1)[classes + 1, 1:]

    def classes_of(segments: Any, classes: Any) -> Input:
        of_segment = np.append(classes, NOTHING)[segments.clip(NOTHING)]  # the last: no segment
        return Input(hot(of_segment).T[None], "instances")

    count, pred, target = sample.count.astype(np.float64), sample.pred, sample.target
    things = None
    if plan.things is not None:
        things = np.array([name in plan.things for name in plan.names])
    weight: Any = np.where(target != VOID, count, 0.0)
    total: Any = np.full(1, float(size))
    hot_pred, hot_target = hot(sample.pred_class), hot(sample.target_class)
    return SampleBatch(
        {
            "pred": classes_of(sample.pred, sample.pred_class),
            "target": classes_of(sample.target, sample.target_class),
        },
        weight[None, None],
        total,
        segments=SegmentPairs(count, pred, target, hot_pred, hot_target, sample.crowd, things),
    )


def unmatched_values(batch: DetectionBatch) -> SampleBatch:
    """All detections of a batch, for losses that match them themselves."""
    nothing: Any = np.zeros((len(batch.samples), 1, 0))
    inputs = {role: Input(nothing, "detection") for role in ("pred", "target")}
    return SampleBatch(inputs, nothing, nothing.sum((1, 2)), detections=batch)
