"""What each loss costs in training and on tables: losses.py DEVICE SIZE[,SIZE] REPEAT

One line of JSON a loss: milliseconds an image, forward and backward, at each size through
`lossbench.loss`, float32, `TOGETHER` images a call, one thread; and microseconds a sample on tables
of counts, as runs evaluate those. A number is the median of calls that take `LONG` seconds or so
together, REPEAT times. A GPU is measured after the CPU.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

import lossbench
from lossbench.catalog.columns import Column, Term, resolve
from lossbench.catalog.compatibility import judged
from lossbench.catalog.grammar import fold
from lossbench.catalog.registry import Entry
from lossbench.engine.compute.device import pick_device
from lossbench.engine.compute.tensors import counted_values
from lossbench.engine.state.loaded_batch import load_batch
from lossbench.errors import LossbenchError
from lossbench.interface.dispatch import evaluate, loss_function
from lossbench.interface.sample_batch import SampleBatch

TASKS = ("binary", "multiclass", "multilabel", "image", "vectors", "scores")
CLASSES = {"binary": 1, "multiclass": 4, "multilabel": 4, "image": 3}
TOGETHER = 4
TABLES = 128
LENGTH = 128  # of a vector
LONG = 0.02
MOST = 100  # calls, where one is soon over
Call = Callable[[], Any]


def task_of(entry: Entry) -> str | None:
    """The task that a loss is measured on; none where it needs a network or a record."""
    if entry.family == "deep":
        return None
    return next((task for task in entry.tasks if task in TASKS), None)


def smooth(shape: tuple[int, ...], device: str) -> Tensor:
    """Logits of smooth shapes: noise on a coarse grid, scaled up."""
    random = torch.Generator().manual_seed(len(shape))
    coarse = torch.randn((*shape[:2], 12, 12), generator=random)
    size = shape[2:]
    return 8 * torch.nn.functional.interpolate(coarse, size, mode="bicubic").to(device)


@cache
def drawn(task: str, size: int, device: str) -> tuple[Tensor, Tensor]:
    """Logits or numbers of a prediction, and a target."""
    if task in ("vectors", "scores"):
        random = torch.Generator().manual_seed(0)
        pred, target = (torch.randn((size, LENGTH), generator=random) for _ in range(2))
        return pred.to(device), target.to(device)
    truth = smooth((TOGETHER, CLASSES[task], size, size), device)
    pred = 0.7 * truth + 0.5 * truth.roll((size // 20, size // 30), (2, 3))
    if task == "image":
        return pred.sigmoid(), truth.sigmoid()
    if task == "multiclass":
        return pred, truth.argmax(1)
    return pred, (truth > 0).float()


def inputs(entry: Entry, task: str, size: int, device: str) -> tuple[Tensor, dict[str, Any]]:
    """A prediction that has a gradient, and everything else that the loss is called with."""
    pred, target = drawn(task, size, device)
    logits = "Logits" in entry.inputs.values()
    how: dict[str, Any] = {"target": target}
    if task == "image":
        how["encoding"] = "image"
    elif task in CLASSES:
        how |= {"encoding": "logits" if logits else "probability", "task": task}
        pred = pred if logits else pred.softmax(1) if task == "multiclass" else pred.sigmoid()
    forms = dict(entry.asks)
    if forms.get("target") == "Label" or "TripletSums" in entry.forms:
        how["target"] = torch.arange(len(pred), device=device) % 10
    for role, form in entry.roles.items():
        if form == "Label":
            how[role] = (torch.arange(len(pred), device=device) % 2).float()
        elif form.startswith("Image") or not form.endswith("None"):
            how[role] = target.abs() if target.shape == pred.shape else pred.detach()
    (column,) = resolve([entry.name], {})
    for term in column.terms:
        if term.entry is entry:
            how |= numbers(term, task)
    return pred.detach().clone().requires_grad_(), how


def numbers(term: Term, task: str) -> dict[str, Any]:
    """What stands for options that follow from a data set, which there is none of."""
    return dict.fromkeys(term.automatic, (1.0,) * judged(term, task, CLASSES.get(task, 1)))


def timed(call: Call, device: str, repeat: int) -> float:
    """Seconds of a call: the median of some, after one."""
    call()
    taken: list[float] = []
    while len(taken) < repeat or (sum(taken) < LONG * repeat and len(taken) < MOST):
        wait(device)
        start = time.perf_counter()
        call()
        wait(device)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def wait(device: str) -> None:
    """Until a GPU has come to the end."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def trained(
    entry: Entry, task: str, size: int, device: str, repeat: int
) -> dict[str, float | None]:
    """Milliseconds an image, forward and backward; none where there is no gradient."""
    loss = lossbench.loss(entry.name)
    pred, how = inputs(entry, task, size, device)
    target = how.pop("target")
    milliseconds = 1e3 / len(pred)
    try:
        value = loss(pred, target, **how)
    except LossbenchError:  # a window larger than the image, or weights that need a data set
        return {f"forward_ms_{size}": None, f"backward_ms_{size}": None}
    forward = timed(lambda: loss(pred, target, **how), device, repeat)
    backward = None
    if value.requires_grad:
        total = value.nansum()
        backward = timed(
            lambda: torch.autograd.grad(total, pred, retain_graph=True, allow_unused=True),
            device,
            repeat,
        )
    return {
        f"forward_ms_{size}": forward * milliseconds,
        f"backward_ms_{size}": None if backward is None else backward * milliseconds,
    }


@cache
def tables(task: str, device: str) -> SampleBatch | None:
    """Tables of counts of a run's samples."""
    if task not in CLASSES:
        return None
    random = np.random.default_rng(0)
    shape = (64, 64) if task in ("binary", "multiclass") else (64, 64, 4)
    high = CLASSES[task] if task == "multiclass" else 256
    pred = {str(n): random.integers(0, high, shape).astype(np.uint8) for n in range(TABLES)}
    target = pred
    if task in ("binary", "multilabel"):
        target = {name: (each > 99).astype(np.uint8) * 255 for name, each in pred.items()}
    elif task == "image":
        target = {name: each[::-1].copy() for name, each in pred.items()}
    if task == "multilabel":
        pred, target = (
            {name: np.moveaxis(each, -1, 0) for name, each in side.items()}
            for side in (pred, target)
        )
    classes = CLASSES[task] if task == "multiclass" else None
    plan = lossbench.plan(pred, target, task=task, classes=classes)
    chunk = load_batch(plan.plan, plan.pairing.pairs)
    if chunk.tables is None:
        return None
    return counted_values(plan.plan, chunk.tables, chunk.sizes, device)


def on_tables(entry: Entry, task: str, device: str, repeat: int) -> float | None:
    """Microseconds a sample on tables, as many together as in a run; none where pixels are used."""
    (column,) = resolve([entry.name], {})
    if not all(term.countable(task) for term in column.terms):
        return None
    values = tables(task, device)
    if values is None or "Logits" in {f for t in column.terms for f in t.entry.inputs.values()}:
        return None
    with torch.inference_mode():
        return timed(lambda: value_of(column, values, task), device, repeat) * 1e6 / TABLES


def value_of(column: Column, values: SampleBatch, task: str) -> Tensor:
    """A loss on tables."""

    def of_term(term: Term) -> Tensor:
        options = {**term.options, **numbers(term, task)}
        return evaluate(loss_function(term.entry), values, options)[0]

    found: Tensor = fold(column.node, of_term)
    return found


def main() -> None:
    """A line of JSON for each loss and device."""
    wanted, sizes, repeat = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3])
    torch.set_num_threads(1)
    for device in dict.fromkeys(("cpu", pick_device(wanted))):
        for entry in lossbench.list_losses():
            task = task_of(entry)
            if task is None:
                continue
            row: dict[str, Any] = {"loss": entry.name, "task": task, "device": device}
            for size in map(int, sizes):
                row |= trained(entry, task, size, device, repeat)
            row["table_us"] = on_tables(entry, task, device, repeat)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
