"""From pixels, boxes and records to `SampleBatch` on a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, cast

import numpy as np
import torch

from lossbench.data.loading.records import Record
from lossbench.data.loading.sample import Pixels
from lossbench.data.planning.plan import Plan
from lossbench.engine.compute.device_transfer import moved
from lossbench.interface.sample_batch import (
    Input,
    NamedTensors,
    SampleBatch,
    Task,
)


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


def sample_values(plan: Plan, sample: Any, device: str) -> SampleBatch:
    """One sample that is not counted, in the form that its task has."""
    match sample:
        case Record():
            return record_values(plan, [sample], device)
    return pixel_values(plan, [sample], device)


def once(rows: Any) -> bool:
    """Whether all pixels share one number in memory."""
    return bool(rows.strides[-1] == 0)


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


def as_tensors(x: Any) -> Any:
    """Arrays of NumPy as tensors with memory of their own, within samples, views and results."""
    if isinstance(x, np.ndarray):
        return torch.as_tensor(np.array(x))
    if isinstance(x, Mapping):
        return {key: as_tensors(each) for key, each in x.items()}
    if isinstance(x, SampleBatch | Input):
        arrays = {each.name: as_tensors(getattr(x, each.name)) for each in fields(x) if each.init}
        if isinstance(x, SampleBatch):  # segments are matched by NumPy for both libraries
            arrays["segments"] = x.segments
        return replace(x, **arrays)
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*map(as_tensors, x))
    return x
