"""Runs on a device that is not the CPU, seen to move what they compute with, and no more."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchgen
import yaml
from engine.test_device_transfer import LOSSES, SIZES, run
from helpers.fake_device import KNOWN, NAME, Crossing, Seen, other_device, register
from helpers.loss_examples import example
from helpers.option_values import ENTRIES, LOGITS, option_sets, typed
from helpers.paths import REPOSITORY
from helpers.tolerances import SINGLE, TABLES, check_close
from training.test_training import CASES, drawn, probability, read_as, shape_of, trained

import lossbench
from lossbench.engine import batching, pipeline

pytestmark = pytest.mark.skipif(not KNOWN, reason="this torch knows no devices made in Python")
# Of a pixel: float32 predictions, masks of a byte or images of float32; no weight, which is one
# number for all pixels.
BYTES = {"binary": 4 + 1, "multilabel": 3 * 4 + 3, "multiclass": 3 * 4 + 1, "image": 4 + 4}
SMALL = 1000  # bytes of what a loss is set to: weights of classes, edges of bins


@pytest.mark.parametrize("task", LOSSES)
def test_every_loss_with_every_option_is_the_same_there(monkeypatch, task):
    losses = [
        typed(name, options)
        for name, entry in ENTRIES.items()
        if task in entry.tasks and name not in LOGITS | {"ms_ssim"}
        for options in option_sets(name, task, rules=True, in_turn=True)
    ]
    losses = list(dict.fromkeys(losses))
    wanted = run(task, losses, SIZES[:3])
    with other_device(monkeypatch) as seen:
        found = run(task, losses, SIZES[:3])
    check_alike(found, wanted)
    check_kernels(seen.operations)


@pytest.mark.parametrize("entry", lossbench.list_losses(), ids=lambda entry: entry.name)
def test_the_example_of_every_loss_is_the_same_there(monkeypatch, entry):
    wanted = lossbench.evaluate(**example(entry))
    with other_device(monkeypatch) as seen:
        found = lossbench.evaluate(**example(entry))
    assert bool(seen.operations) == (set(found.backends.values()) != {"numpy"})
    # A network sees images together there, which float32 rounds otherwise than one by one.
    check_alike(found, wanted, SINGLE if entry.family == "deep" else TABLES)
    check_kernels(seen.operations)


@pytest.mark.parametrize("task", LOSSES)
def test_samples_of_one_size_go_there_in_one_transfer(monkeypatch, task):
    monkeypatch.setattr(
        pipeline.Pipeline, "_batch_sizes", lambda self: pipeline.BatchSizes(12, 2, 0)
    )
    monkeypatch.setattr(batching, "fair_share", lambda left, workers: left)
    with other_device(monkeypatch) as seen:
        run(task, LOSSES[task])
    crossed = [each for each in seen.crossings if each.there and each.bytes > SMALL]
    sizes = {pixels: sum(h * w == pixels for h, w in SIZES) for pixels in (17 * 23, 9 * 11)}
    assert len(crossed) == len(sizes)
    for each, (pixels, count) in zip(crossed, sorted(sizes.items())[::-1], strict=True):
        assert 0 <= each.bytes - count * (BYTES[task] * pixels + 8) < 64 * 4
        assert not each.waits
    assert [each.bytes for each in crossed] == seen.locked  # from page-locked memory


def test_training_is_the_same_there():
    """In a process of its own: torch counts the devices that gradients go through only once."""
    done = subprocess.run(
        [sys.executable, __file__, *LOSSES],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")}, capture_output=True, text=True,
    )  # fmt: skip
    same = "".join(f"{task} is the same\n" for task in LOSSES)
    assert (done.returncode, done.stdout) == (0, same), done.stderr


def check_training(task: str) -> None:
    """Values and gradients of every loss, and with each option that has one on one of its tasks."""
    seen = Seen()
    for name in (name for name, each in CASES if each == task):
        logits, target, weight = drawn(task, 3, shape_of(name))
        pred = logits if name in LOGITS or task == "image" else probability(task, logits)
        for options in trained(name, task, in_turn=True):
            how = {**read_as(name, task, "probability"), **options}

            def computed(device: str, name=name, given=(pred, target, weight), how=how) -> Any:
                pred, *others = (each.to(device) for each in given)
                pred = pred.detach().requires_grad_()
                value = lossbench.loss(name)(pred, *others, **how)
                value.nansum().backward()
                return [each.detach().cpu() for each in (value, pred.grad)]

            found = seen.inside(computed, gradients=True)(NAME)
            for ours, wanted in zip(found, computed("cpu"), strict=True):
                check_close(ours, wanted, TABLES, (name, how))
    check_kernels(seen.operations)


def test_the_stand_in_refuses_what_a_gpu_refuses(monkeypatch):
    """Else the other tests could not fail."""
    with other_device(monkeypatch) as seen:

        def mixed() -> None:
            ours, cpu = torch.ones(3, device=NAME), torch.ones(3)
            places = torch.zeros(3, dtype=torch.int64)
            for wrong in (
                lambda: ours + cpu,
                lambda: torch.where(ours > 0, ours, cpu),
                lambda: cpu[places.to(NAME)],
                lambda: torch.stack([ours, cpu]),
                lambda: cpu.index_add_(0, places, ours),
            ):
                with pytest.raises(RuntimeError, match="two devices"):
                    wrong()
            for wrong in (ours.numpy, lambda: np.asarray(ours)):
                with pytest.raises(TypeError, match="copy it to the CPU"):
                    wrong()
            assert (ours[places] + torch.tensor(2.0)).tolist() == [3, 3, 3]
            assert ours.cpu().numpy().tolist() == [1, 1, 1]

        seen.inside(mixed)()
        assert seen.crossings[-1] == Crossing(there=False, bytes=12, waits=True)


def check_alike(found: Any, wanted: Any, tolerance: float = TABLES) -> None:
    assert found.ids == wanted.ids
    for name, values in wanted.values.items():
        for part in ("samples", "classes", "pooled", "pooled_classes"):
            numbers = [getattr(each, part) for each in (found.values[name], values)]
            if numbers[1] is None:
                assert numbers[0] is None
            else:
                check_close(*numbers, tolerance, (name, part))


@cache
def kernels() -> dict[str, dict[str, Any]]:
    """Torch's own list of its operations, by name."""
    path = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"
    listed = yaml.load(path.read_text(), yaml.CSafeLoader)
    return {each["func"].partition("(")[0]: each for each in listed}


def check_kernels(operations: Any) -> None:
    """CUDA has a kernel of each, or it is made of operations."""
    for name in operations:
        listed = kernels()[name]
        listed = kernels()[listed.get("structured_delegate", name)]
        keys = ",".join(listed.get("dispatch", {"CompositeImplicitAutograd": ""}))
        assert "CUDA" in keys or "Composite" in keys, name


if __name__ == "__main__":
    register()
    for task in sys.argv[1:]:
        check_training(task)
        print(task, "is the same")
