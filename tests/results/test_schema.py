"""The JSON Schemas: of configs and of result files, held against both by a validator."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers.paths import REPOSITORY, SAMPLES
from jsonschema import Draft202012Validator

import lossbench

CONFIG, RESULT = (lossbench.schema(name) for name in ("config", "result"))
PRESETS = sorted((REPOSITORY / "configs").glob("*.yaml"))


def mistakes(schema: dict[str, Any], thing: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(schema).iter_errors(thing)]


@pytest.mark.parametrize("schema", [CONFIG, RESULT])
def test_a_schema_is_one_itself(schema):
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", ["config", "result"])
def test_the_command_prints_it(name, lossbench_command: Callable[..., Any]):
    done: subprocess.CompletedProcess[str] = lossbench_command("schema", name)
    assert (done.returncode, json.loads(done.stdout)) == (0, lossbench.schema(name))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_fits(path: Path):
    assert not mistakes(CONFIG, yaml.safe_load(path.read_text("utf-8")))
    first = path.read_text("utf-8").splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")


@pytest.mark.parametrize(
    "text",
    [
        "losess: dice",
        "task: binry",
        "threshold: 1.5",
        "run: {device: gpu}",
        "run: {wrokers: 2}",
        "gates: [{gate: dice.mean <= 1, warn: maybe}]",
        "top: -1",
        "pred: [a, b]",
    ],
)
def test_a_wrong_config_does_not_fit(text):
    assert mistakes(CONFIG, yaml.safe_load(text))


RUNS: dict[str, dict[str, Any]] = {
    "binary": {"losses": ["dice", "psnr", "x = 0.5*dice + bce"]},
    "multiclass": {"losses": ["iou", "cross_entropy(class_weights=auto)"], "convention": "monai"},
    "image": {"losses": ["l1", "ssim"]},
    "multilabel": {"pred_pattern": "{id}_{class}.png", "gt_pattern": "{id}_{class}.png"},
}


@pytest.mark.parametrize("task", RUNS)
def test_a_result_of_every_task_fits(task):
    gates = ["errors == 0", {"gate": "evaluated > 1000", "warn": True}]
    root = SAMPLES / task
    result = lossbench.evaluate(root / "pred", root / "gt", gates=gates, **RUNS[task])
    assert not mistakes(RESULT, json.loads(lossbench.render(result, "json")))


def test_a_result_with_groups_conventions_and_errors_fits():
    image = np.eye(8, dtype=np.uint8)
    pred = {f"{p}/{n}": image for p in "ab" for n in range(3)}
    target = {**pred, "b/2": np.eye(5, dtype=np.uint8)}
    how = {"task": "binary", "group_by": "{patient}/{n}", "convention": "all"}
    result = lossbench.evaluate(pred, target, ["dice", "bce"], gates="dice.group_max <= 0", **how)
    assert len(result.failed) == 1
    assert not mistakes(RESULT, json.loads(lossbench.render(result, "json")))


@pytest.mark.parametrize("key", ["schema", "run", "aggregate", "samples", "gates", "errors"])
def test_a_result_without_a_part_does_not_fit(key):
    image = [np.eye(8, dtype=np.uint8)]
    model = json.loads(lossbench.render(lossbench.evaluate(image, image, "dice"), "json"))
    del model[key]
    assert mistakes(RESULT, model)
