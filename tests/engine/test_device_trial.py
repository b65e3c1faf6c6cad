"""A GPU that was slower than the CPU would have been says so."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from engine.test_device_transfer import PROCESSOR
from lossbench_cli.main import cli

import lossbench
from lossbench.data.pairing.pairs import Pair
from lossbench.engine.compute import device as device_module
from lossbench.engine.compute import evaluate
from lossbench.engine.device_trial import Trial
from lossbench.errors import InputError


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Compute on the processor under another name; seconds that a sample takes, by device."""
    seconds = {"cpu": 0.0, PROCESSOR: 0.0}
    real = evaluate.add_parts

    def delayed(plan: Any, terms: Any, samples: Any, device: str) -> Any:
        time.sleep(len(samples) * seconds[device])
        return real(plan, terms, samples, device)

    monkeypatch.setattr(device_module, "pick_device", lambda wanted: PROCESSOR)
    monkeypatch.setattr(evaluate, "add_parts", delayed)
    return seconds


def run() -> Any:
    random = np.random.default_rng(0)
    pred = [random.random((9, 9), np.float32) for _ in range(12)]
    target = [random.integers(0, 2, (9, 9), np.uint8) for _ in range(12)]
    return lossbench.evaluate(
        pred, target, ["dice", "bce"], task="binary", workers=2, device="cuda"
    )


def test_a_slow_device_is_told_what_the_cpu_would_have_taken(slow):
    slow[PROCESSOR] = 0.1
    session = run().session
    assert session["device"] == PROCESSOR
    assert session["note"].startswith(f"{PROCESSOR} took 0.")
    assert session["note"].endswith("--device cpu is faster here")


def test_a_device_that_was_worth_it_says_nothing(slow):
    slow["cpu"] = 0.05
    assert "note" not in run().session


def test_the_values_are_the_device_s_own(slow):
    plain, slow[PROCESSOR] = run().as_json(), 0.1
    noted = run().as_json()
    assert "note" in noted.pop("session")
    assert plain.pop("session")
    assert noted == plain


def test_the_note_is_told_unless_only_failures_are(slow, folder):
    slow[PROCESSOR] = 0.1
    random = np.random.default_rng(0)
    pred = folder("pred", {f"{n}.npy": random.random((9, 9)) for n in range(12)})
    gt = folder("gt", {f"{n}.npy": random.integers(0, 2, (9, 9), np.uint8) for n in range(12)})
    every, failures = (
        CliRunner().invoke(cli, ["eval", str(pred), str(gt), "--device", "cuda", option]).stderr
        for option in ("--verbose", "--quiet")
    )
    assert f"note: {PROCESSOR} took" in every
    assert failures == ""


def test_a_run_that_was_finished_has_nothing_to_try(slow, folder, tmp_path):
    random = np.random.default_rng(0)
    pred = folder("pred", {f"{n}.npy": random.random((9, 9)) for n in range(3)})
    gt = folder("gt", {f"{n}.npy": random.integers(0, 2, (9, 9), np.uint8) for n in range(3)})
    found = []
    for resume in (False, True):
        plan = lossbench.plan(pred, gt, "dice", device="cuda")
        checkpoint = plan.checkpoint(str(tmp_path / "run.json"), resume)
        found.append(plan.evaluate(checkpoint=checkpoint).as_json() | {"session": None})
        checkpoint.close(done=False)
    assert found[0] == found[1]


def test_no_sample_is_begun_once_the_run_is_over():
    trial = Trial(3, 1, [Pair("a", {})], lambda pair: pytest.fail("it was begun"))
    trial.over = True
    trial.run()
    assert trial.one is None


def test_workers_share_the_samples():
    trial = Trial(40, 4, [], lambda pair: True)
    trial.one = 0.6  # · 40 / 4 = 6 s; by hand
    assert trial.remark("cuda", 6.5) == ""  # not clearly
    assert trial.remark("cuda", 9) == (
        "cuda took 9 s for what the CPU does in about 6, by one sample that it did too;"
        " --device cpu is faster here"
    )
    few = Trial(2, 4, [], lambda pair: True)  # both at once
    few.one = 0.6
    assert "in about 0.6," in few.remark("cuda", 9)
    assert Trial(2, 4, [], lambda pair: True).remark("cuda", 9) == ""  # none is done yet


def test_one_sample_is_done_and_the_first_time_does_not_count():
    seen = []

    def evaluate(pair: Pair) -> bool:
        seen.append(pair.id)
        time.sleep(0.2 if len(seen) == 1 else 0)
        return True

    trial = Trial(3, 1, [Pair("a", {}), Pair("b", {})], evaluate)
    trial.run()
    assert seen == ["a", "a"]
    assert trial.one is not None
    assert trial.one < 0.2


def test_where_a_sample_fails_the_next_one_is_done():
    def evaluate(pair: Pair) -> bool:
        if pair.id == "refused":
            raise InputError("has no dice")
        return pair.id != "unreadable"

    names = ["refused", "unreadable", "good"]
    trial = Trial(3, 1, [Pair(name, {}) for name in names], evaluate)
    trial.run()
    assert trial.one is not None
    trial = Trial(2, 1, [Pair(name, {}) for name in names[:2]], evaluate)
    trial.run()
    assert trial.one is None
