"""Cost of each loss: losses.py DEVICE SIZE REPEAT, or losses.py DEVICE SIZE REPEAT WEIGHTS

One line of JSON a loss: milliseconds an image, forward and backward, through `lossbench.loss` in
float32 with `BATCH` images a call and one thread; and microseconds a sample on tables of counts, as
runs evaluate them. A number is the median of calls that take `LONG` seconds or so together, REPEAT
times. A GPU is measured after the CPU. With WEIGHTS only losses of deep features are measured, on
VGG16 with seeded weights that are written to that file.
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
from lossbench.catalog.columns import Term, resolve
from lossbench.catalog.compatibility import class_count
from lossbench.catalog.grammar import fold
from lossbench.catalog.registry import Entry
from lossbench.engine.compute.device import pick_device
from lossbench.engine.compute.tables import counted_values
from lossbench.engine.state.loaded_batch import load_batch
from lossbench.errors import LossbenchError
from lossbench.interface.dispatch import evaluate, loss_function
from lossbench.interface.sample_batch import SampleBatch
from lossbench.networks.architectures import NETWORKS
from lossbench.networks.extractor import seeded

TASKS = ("binary", "multiclass", "multilabel", "image", "vectors", "scores")
CHANNELS = {"binary": 1, "multiclass": 4, "multilabel": 4, "image": 3}
DEEP = ("perceptual", "content", "gram")  # need no weights but those of one network
BATCH = 4
TABLES = 128
LENGTH = 128  # of a vector
LONG = 0.02
CALLS = 100  # at most


def task_of(entry: Entry) -> str | None:
    """The task that a loss is measured on; None where it needs boxes, segments or a record."""
    if entry.family == "deep":
        return "image" if entry.name in DEEP else None
    return next((task for task in entry.tasks if task in TASKS), None)


@cache
def pair(task: str, size: int, device: str) -> tuple[Tensor, Tensor]:
    """Logits or numbers of a prediction, and a target: smooth shapes, or random vectors."""
    random = torch.Generator().manual_seed(4)
    if task not in CHANNELS:
        pred, truth = (torch.randn((size, LENGTH), generator=random) for _ in range(2))
        return pred.to(device), truth.to(device)
    coarse = torch.randn((BATCH, CHANNELS[task], 12, 12), generator=random)
    truth = 8 * torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").to(device)
    pred = 0.7 * truth + 0.5 * truth.roll((size // 20, size // 30), (2, 3))
    if task == "image":
        return pred.sigmoid(), truth.sigmoid()
    return pred, truth.argmax(1) if task == "multiclass" else (truth > 0).float()


def arguments(entry: Entry, task: str, size: int, device: str) -> tuple[Tensor, dict[str, Any]]:
    """A prediction that has a gradient, and the other arguments of a loss."""
    pred, target = pair(task, size, device)
    logits = "Logits" in entry.inputs.values()
    others: dict[str, Any] = {"target": target}
    if task == "image":
        others["encoding"] = "image"
    elif task in CHANNELS:
        others |= {"encoding": "logits" if logits else "probability", "task": task}
        pred = pred if logits else pred.softmax(1) if task == "multiclass" else pred.sigmoid()
    number = torch.arange(len(pred), device=device)
    if dict(entry.named_inputs).get("target") == "Label" or "TripletSums" in entry.forms:
        others["target"] = number % 10
    for role, form in entry.roles.items():
        if form == "Label":
            others[role] = (number % 2).float()
        elif form.startswith("Image") or not form.endswith("None"):
            others[role] = target.abs() if target.shape == pred.shape else pred.detach()
    (column,) = resolve([entry.name], {})
    for term in column.terms:
        if term.entry is entry:
            others |= automatic(term, task)
    if entry.family == "deep":
        others["network"] = "vgg16"
    return pred.detach().clone().requires_grad_(), others


def automatic(term: Term, task: str) -> dict[str, Any]:
    """Numbers in place of the options that a run takes from its data set."""
    return dict.fromkeys(term.automatic, (1.0,) * class_count(term, task, CHANNELS.get(task, 1)))


def timed(call: Callable[[], Any], device: str, repeat: int) -> float:
    """Seconds of a call: the median of several, after one."""

    def now() -> float:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        return time.perf_counter()

    call()
    taken: list[float] = []
    while len(taken) < repeat or (sum(taken) < LONG * repeat and len(taken) < CALLS):
        start = now()
        call()
        taken.append(now() - start)
    return statistics.median(taken)


def trained(
    entry: Entry, task: str, size: int, device: str, repeat: int, weights: dict[str, str]
) -> dict[str, float | None]:
    """Milliseconds an image, forward and backward; None where there is no value or gradient."""
    loss = lossbench.loss(entry.name, weights=weights)
    pred, others = arguments(entry, task, size, device)
    target, scale, backward = others.pop("target"), 1e3 / len(pred), None
    try:
        value = loss(pred, target, **others)
    except LossbenchError:  # a window larger than the image, or weights that need a data set
        return {"forward_ms": None, "backward_ms": None}
    if value.requires_grad:
        total = value.nansum()
        how: Any = {"retain_graph": True, "allow_unused": True}
        backward = scale * timed(lambda: torch.autograd.grad(total, pred, **how), device, repeat)
    forward = scale * timed(lambda: loss(pred, target, **others), device, repeat)
    return {"forward_ms": forward, "backward_ms": backward}


@cache
def tables(task: str) -> SampleBatch | None:
    """The tables of counts of a run's samples, where a task has them."""
    if task not in CHANNELS:
        return None
    shape = {"multilabel": (CHANNELS[task], 64, 64), "image": (64, 64, 3)}.get(task, (64, 64))
    classes = CHANNELS[task] if task == "multiclass" else None
    preds = np.random.default_rng(0).integers(0, classes or 256, (TABLES, *shape), np.uint8)
    targets = (preds > 99) * np.uint8(255) if task in ("binary", "multilabel") else preds[::-1]
    pred, target = ({str(n): each for n, each in enumerate(side)} for side in (preds, targets))
    plan = lossbench.plan(pred, target, task=task, classes=classes)
    batch = load_batch(plan.plan, plan.pairing.pairs)
    if batch.tables is None:
        return None
    return counted_values(plan.plan, batch.tables, batch.sizes)


def on_tables(entry: Entry, task: str, repeat: int) -> float | None:
    """Microseconds a sample on tables, batched as in a run; None where a loss needs pixels."""
    (column,) = resolve([entry.name], {})
    logits = any("Logits" in term.entry.inputs.values() for term in column.terms)
    if logits or not all(term.countable(task) for term in column.terms):
        return None
    values = tables(task)
    if values is None:
        return None

    def of_term(term: Term) -> Tensor:
        return evaluate(loss_function(term.entry), values, term.options | automatic(term, task))[0]

    with np.errstate(all="ignore"):
        return timed(lambda: fold(column.node, of_term), "cpu", repeat) * 1e6 / TABLES


def main() -> None:
    """Print a line of JSON for each loss and device."""
    wanted, size, repeat, *files = sys.argv[1:]
    weights = dict(zip(["vgg16"], files, strict=False))
    for file in files:
        arrays: dict[str, Any] = {k: x.numpy() for k, x in seeded(NETWORKS["vgg16"]).items()}
        np.savez(file, **arrays)
    torch.set_num_threads(1)
    for device in dict.fromkeys(("cpu", pick_device(wanted))):
        for entry in lossbench.list_losses():
            task = task_of(entry)
            if task is not None and (entry.family == "deep") == bool(files):
                row: dict[str, Any] = {"loss": entry.name, "task": task, "device": device}
                row |= trained(entry, task, int(size), device, int(repeat), weights)
                row["table_us"] = on_tables(entry, task, int(repeat)) if device == "cpu" else None
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
