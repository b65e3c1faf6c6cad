"""The way to a GPU: one transfer, and small samples of one size together.

Without a GPU the same code runs on the processor under another of its names, which is not the one
that has a way of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tolerances import TABLES, check_close

import lossbench
from lossbench.engine import batching, pipeline
from lossbench.engine.compute import device as device_module
from lossbench.engine.compute import streaming
from lossbench.engine.compute.device_transfer import moved

PROCESSOR = "cpu:0"
LOSSES = {
    "binary": ["dice", "bce", "bce(pos_weight=auto)", "iou", "l2"],
    "multilabel": ["dice", "bce(class_weights=auto)", "iou", "l2"],
    "multiclass": ["cross_entropy", "dice(class_weights=auto)", "focal", "mean_iou"],
    "image": ["l1", "psnr", "charbonnier"],
}
SIZES = [(17, 23), (9, 11), (17, 23), (23, 17)] * 3
DEVICES = [
    PROCESSOR,
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("device", ["cpu", *DEVICES])
def test_arrays_of_any_type_arrive_as_they_were(count, device):
    random = np.random.default_rng(0)
    stacks = [
        [random.integers(0, 2, shape).astype(kind) for _ in range(count)]
        for kind in ("bool", "u1", "i2", "u2", "f2", "f4", "i8", "f8")
        for shape in ((1, 7), (3, 5))
    ]
    stacks.append([np.broadcast_to(np.float64(3), (2, 5))] * count)  # cannot be written to
    stacks.append([random.random((3, 8))[:, ::2] for _ in range(count)])
    for stack, tensor in zip(stacks, moved(stacks, device), strict=True):
        assert tensor.device.type == torch.device(device).type
        assert np.array_equal(tensor.cpu().numpy(), np.stack(stack))
        assert tensor.cpu().numpy().dtype == stack[0].dtype


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("task", LOSSES)
def test_samples_of_one_size_go_together(monkeypatch, task, device):
    wanted = run(task, LOSSES[task])
    sizes = watched(monkeypatch, device)
    check_same(run(task, LOSSES[task]), wanted)
    assert sorted(sizes) == [3, 9]  # 17·23 pixels are 23·17
    sizes.clear()
    monkeypatch.setattr(streaming, "OTHER", 2 * 17 * 23 * {"binary": 1, "image": 1}.get(task, 3))
    check_same(run(task, LOSSES[task]), wanted)
    assert sorted(sizes) == [1, 2, 2, 2, 2, 3]


@pytest.mark.parametrize("device", DEVICES)
def test_weights_and_groups_go_along(monkeypatch, device):
    random = np.random.default_rng(1)
    maps = {"weight": [random.random(size) for size in SIZES]}
    for how in ({"inputs": maps}, {"group_by": "{half}/{rest}"}, {"threshold": 0.3}):
        wanted = run("binary", LOSSES["binary"], **how)
        with monkeypatch.context() as patched:
            sizes = watched(patched, device)
            found = run("binary", LOSSES["binary"], **how)
            assert sorted(sizes) == [3, 9]  # 17·23 pixels are 23·17
        check_same(found, wanted)
        assert found.groups == wanted.groups
        for name, column in wanted.over_groups.items():
            check_close(list(found.over_groups[name].values()), list(column.values()), TABLES)


@pytest.mark.parametrize("device", DEVICES)
def test_what_looks_at_places_comes_alone(monkeypatch, device):
    losses = ["dice", "hausdorff", "auc"]
    wanted = run("binary", losses)
    sizes = watched(monkeypatch, device)
    check_same(run("binary", losses), wanted)
    assert sizes == [1] * len(SIZES)


@pytest.mark.parametrize("device", DEVICES)
def test_a_sample_that_cannot_be_read_takes_none_along(monkeypatch, device):
    watched(monkeypatch, device)
    pred, target = pairs("binary")
    pred["a/02"][3, 3] = np.nan
    found = lossbench.evaluate(pred, target, "dice", task="binary", workers=1)
    (failed,) = found.failed
    assert (failed.id, len(found.ids)) == ("a/02", len(SIZES) - 1)


@pytest.mark.parametrize("device", DEVICES)
def test_samples_that_memory_cannot_hold_together_come_alone(monkeypatch, device):
    wanted = run("binary", ["dice", "bce"])
    sizes = watched(monkeypatch, device)
    real = streaming.add_parts

    def narrow(plan: Any, terms: Any, samples: Any, device: str) -> Any:
        found = real(plan, terms, samples, device)
        if len(samples) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return found

    monkeypatch.setattr(streaming, "add_parts", narrow)
    check_same(run("binary", ["dice", "bce"]), wanted)
    assert sizes.count(1) == len(SIZES)


def test_few_large_pairs_and_many_small_ones_are_read_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("lossbench.engine.settings.Settings.likely_device", "cuda")
    for size, expected in ((64, 16), (2048, 4), (4096, 1)):
        side = tmp_path / str(size)
        side.mkdir()
        np.save(side / "a.npy", np.zeros((size, size), np.float16))
        run = lossbench.plan(side, side, "l1", task="image")
        assert pipeline.Pipeline(run.plan, run.terms, run.settings)._pixel_pairs() == expected


def test_a_gpu_for_what_is_counted_is_told_to_be_of_no_use():
    masks = list(np.random.default_rng(0).integers(0, 2, (3, 9, 9)).astype(np.uint8))
    notes = [lossbench.plan(masks, masks, "dice", device=d).plan.notes for d in ("cuda:1", "cpu")]
    assert notes == [
        (
            "every loss follows from counts of pixels, which are evaluated on the CPU;"
            " --device cuda:1 changes nothing",
        ),
        (),
    ]


def pairs(task: str, sizes: Sequence[Any] = SIZES) -> tuple[dict[str, Any], dict[str, Any]]:
    """Float predictions of several sizes, in turn."""
    random, pred, target = np.random.default_rng(0), [], []
    for size in sizes:
        if task == "image":
            sides = random.random((2, *size)).astype(np.float32)
        elif task == "binary":
            sides = random.random(size, np.float32), random.integers(0, 2, size, np.uint8)
        else:
            odds = random.random((3, *size), np.float32)
            labels = random.integers(0, 3, size, np.uint8)
            several = random.integers(0, 2, (3, *size), np.uint8)
            sides = odds / odds.sum(0), labels if task == "multiclass" else several
        pred.append(sides[0])
        target.append(sides[1])
    names = [f"{'ab'[number % 2]}/{number:02}" for number in range(len(sizes))]
    return dict(zip(names, pred, strict=True)), dict(zip(names, target, strict=True))


def run(task: str, losses: list[str], sizes: Sequence[Any] = SIZES, **how: Any) -> Any:
    pred, target = pairs(task, sizes)
    if "inputs" in how:
        how["inputs"] = {
            role: dict(zip(pred, each, strict=True)) for role, each in how["inputs"].items()
        }
    result = lossbench.evaluate(pred, target, losses, task=task, workers=1, **how)
    assert not result.failed
    return result


def watched(monkeypatch: pytest.MonkeyPatch, device: str) -> list[int]:
    """Compute there from now on, twelve pairs at a time; how many samples come together."""
    sizes: list[int] = []
    real = streaming.add_parts

    def seen(plan: Any, terms: Any, samples: Any, device: str) -> Any:
        sizes.append(len(samples))
        return real(plan, terms, samples, device)

    monkeypatch.setattr(device_module, "pick_device", lambda wanted: device)
    monkeypatch.setattr(streaming, "add_parts", seen)
    monkeypatch.setattr(
        pipeline.Pipeline, "_batch_sizes", lambda self: pipeline.BatchSizes(12, 2, 0)
    )
    monkeypatch.setattr(batching, "fair_share", lambda left, workers: left)
    return sizes


def check_same(found: Any, wanted: Any) -> None:
    assert found.ids == wanted.ids
    for name, values in wanted.values.items():
        for part in ("samples", "classes", "pooled", "pooled_classes"):
            numbers = [getattr(each, part) for each in (found.values[name], values)]
            check_close(*numbers, TABLES, (name, part))
