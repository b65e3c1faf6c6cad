"""From counts and pixels to `Values` on a device."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lossbench.data.plan import Plan
from lossbench.data.reading import Reading
from lossbench.data.sample import Pixels
from lossbench.views.values import Side, Task, Values

PRED_CELLS = (0.0, 0.0, 1.0, 1.0)  # of one class against the rest: TN, FN, FP, TP
TARGET_CELLS = (0.0, 1.0, 0.0, 1.0)


def counted_values(plan: Plan, tables: Any, sizes: Any, device: str) -> Values:
    """Tables of counts, one a sample, as values with weights.

    Args:
        plan: what the tables count.
        tables: (B, …) as `Sample` describes them.
        sizes: (B,) pixels of each sample, ignored ones included.
        device: where to compute.
    """
    counts = torch.as_tensor(np.asarray(tables, np.float64), device=device)
    total = torch.as_tensor(np.asarray(sizes, np.float64), device=device)
    task = cast(Task, plan.task)

    def cells(numbers: Any, classes: int) -> Tensor:
        row = torch.as_tensor(np.asarray(numbers, np.float64), device=device)
        return row.expand(1, classes, -1)

    if task == "image":
        grid = cells(np.arange(-255, 256) / 255, counts.shape[1])
        target = Side(torch.zeros_like(grid), task)
        return Values({"target": target}, counts, total, differences=grid)
    if task == "multiclass":
        pred, target = (
            Side(cells(row, counts.shape[1]), task, cells=True)
            for row in (PRED_CELLS, TARGET_CELLS)
        )
        weight = _against_the_rest(counts)
        return Values({"pred": pred, "target": target}, weight, total, joint=counts)
    classes, levels = counts.shape[1], counts.shape[-1]
    grey = np.arange(levels) / (levels - 1)
    pred = Side(cells(np.tile(grey, 2), classes), task)
    target = Side(cells(np.repeat([0.0, 1.0], levels), classes), task)
    return Values({"pred": pred, "target": target}, counts.flatten(2), total)


def _against_the_rest(joint: Tensor) -> Tensor:
    """The four cells of every class, (B, K, 4), from a confusion matrix (B, K, K)."""
    hits = joint.diagonal(dim1=1, dim2=2)
    pred, target, every = joint.sum(1), joint.sum(2), joint.sum((1, 2))[:, None]
    return torch.stack([every - pred - target + hits, target - hits, pred - hits, hits], -1)


def pixel_values(plan: Plan, sample: Pixels, device: str) -> Values:
    """One sample's pixels as values."""
    task = cast(Task, plan.task)
    classes = len(plan.names) if task == "multiclass" else 0
    sides = {
        role: Side(
            _numbers(numbers, reading, classes, device),
            task,
            logits=reading.encoding == "logits",
            space=sample.space,
        )
        for role, numbers, reading in (
            ("pred", sample.pred, plan.pred),
            ("target", sample.target, plan.target),
        )
    }
    weight, positive, instances = (
        None if each is None else torch.as_tensor(each, dtype=torch.float64, device=device)[None]
        for each in (sample.weight, sample.positive, sample.instances)
    )
    size = torch.full((1,), sample.weight.shape[1], dtype=torch.float64, device=device)
    return Values(sides, cast(Tensor, weight), size, emphasis=positive, instances=instances)


def _numbers(numbers: Any, reading: Reading, classes: int, device: str) -> Tensor:
    """(1, C, N) float64; labels of several classes become one-hot."""
    writable = np.require(numbers, requirements=["C", "W"])  # torch warns of others
    tensor = torch.as_tensor(writable, device=device)
    if reading.hard and classes and not reading.stacked:
        return functional.one_hot(tensor[0].long(), classes).T[None].to(torch.float64)
    return tensor[None].to(torch.float64)
