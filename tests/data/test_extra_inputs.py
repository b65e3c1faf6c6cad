"""Inputs beside PRED and GT that a loss asks for by the name of a parameter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import lossbench

# `gap` names a role that it needs and one that it can do without; `auxiliary_ce` one of logits.
SOURCE = '''
from lossbench.losses import loss
from lossbench.interface.annotations import Image, LogProbability, PerSample, Probability

@loss(tasks=["image"])
def gap(pred: Image, target: Image, style: Image, content: Image | None) -> PerSample:
    """Means apart.

    |mean(pred) - mean(style)| + |mean(target) - mean(content)|.
    """
    content = target if content is None else content
    means = [each.flatten(1).mean(1) for each in (pred, style, target, content)]
    return (means[0] - means[1]).abs() + (means[2] - means[3]).abs()

@loss(tasks=["multiclass", "binary"])
def second(pred: LogProbability, target: Probability, aux: LogProbability) -> PerSample:
    """Log-probabilities apart.

    mean |pred - aux|.
    """
    return (pred - aux).abs().mean((1, 2))
'''
RANDOM = np.random.default_rng(5)
PRED = {name: RANDOM.integers(0, 256, (6, 7), np.uint8) for name in "abc"}
GT = {name: RANDOM.integers(0, 256, (6, 7), np.uint8) for name in "abc"}
STYLE = {  # of other sizes, each of its own, and stored in another way
    name: RANDOM.integers(0, 65536, (3 + place, 9), np.uint16) for place, name in enumerate("abc")
}


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE, "utf-8")
    return path


def folder(root: Path, arrays: dict[str, np.ndarray]) -> str:
    root.mkdir()
    for name, array in arrays.items():
        Image.fromarray(array).save(root / f"{name}.png")
    return str(root)


def mean(array: np.ndarray) -> float:
    return float(array.mean()) / np.iinfo(array.dtype).max


def wanted(content: dict[str, np.ndarray]) -> list[float]:
    """By numpy, in grey levels of each file's own type."""
    return [
        abs(mean(PRED[n]) - mean(STYLE[n])) + abs(mean(GT[n]) - mean(content[n])) for n in "abc"
    ]


@pytest.mark.parametrize("given", ["arrays", "folders", "manifest"])
def test_a_role_is_a_further_input_of_its_own_size(tmp_path, plugin, given):
    sides = {"pred": PRED, "gt": GT, "style": STYLE, "content": STYLE}
    how: dict[str, Any] = {"task": "image", "plugins": plugin}
    if given != "arrays":
        sides = {role: folder(tmp_path / role, arrays) for role, arrays in sides.items()}
    if given == "manifest":
        rows = [",".join(sides), *(",".join(f"{r}/{n}.png" for r in sides) for n in "abc")]
        (tmp_path / "pairs.csv").write_text("\n".join(rows))
        result = lossbench.evaluate(losses="gap", manifest=tmp_path / "pairs.csv", **how)
    else:
        pred, gt, *_ = sides.values()
        roles = {role: sides[role] for role in ("style", "content")}
        result = lossbench.evaluate(pred, gt, "gap", inputs=roles, **how)
    assert not result.failed
    assert result.values["gap"].samples == pytest.approx(wanted(STYLE), rel=1e-12)
    read = "image (uint16/65535)"
    assert result.run["plan"]["text"].endswith(f" · style: {read} · content: {read}")


def test_a_role_that_a_loss_can_do_without_may_be_left_out(plugin):
    how = {"task": "image", "plugins": plugin}
    result = lossbench.evaluate(PRED, GT, ["gap", "l1"], inputs={"style": STYLE}, **how)
    assert result.values["gap"].samples == pytest.approx(wanted(GT), rel=1e-12)
    alone = lossbench.evaluate(PRED, GT, "l1", task="image")
    assert result.values["l1"].samples == pytest.approx(alone.values["l1"].samples, rel=1e-12)


@pytest.mark.parametrize("ignored", [False, True])
def test_a_role_of_classes_is_read_as_predictions_are(plugin, ignored):
    pred, aux = (RANDOM.normal(size=(2, 3, 4, 5)) for _ in range(2))
    gt = RANDOM.integers(0, 3, (2, 4, 5), np.uint8)
    log = [torch.tensor(each).log_softmax(1) for each in (pred, aux)]
    if ignored:  # what it holds there has no meaning
        gt[:, 0], aux[:, :, 0] = 255, np.nan
        log = [each.index_fill(2, torch.tensor([0]), 1 / 3) for each in log]
    how = {"task": "multiclass", "pred_encoding": "logits", "classes": 3, "plugins": plugin}
    result = lossbench.evaluate(pred, gt, "second", inputs={"aux": aux}, ignore=255, **how)
    assert not result.failed
    assert result.values["second"].samples == pytest.approx(
        (log[0] - log[1]).abs().mean((1, 2, 3)).tolist(), rel=1e-12
    )


def test_a_role_of_classes_has_the_size_of_the_ground_truth(plugin):
    pred = RANDOM.normal(size=(1, 3, 4, 5))
    how = {"task": "multiclass", "pred_encoding": "logits", "classes": 3, "plugins": plugin}
    gt = RANDOM.integers(0, 3, (1, 4, 5), np.uint8)
    result = lossbench.evaluate(pred, gt, "second", inputs={"aux": pred[..., :4]}, **how)
    (failed,) = result.failed
    assert (failed.role, failed.kind) == ("aux", "size")


def test_a_missing_file_of_a_role_is_missing_for_its_sample_alone(tmp_path, plugin):
    style = {name: STYLE[name] for name in "ab"}
    pred, gt, style_folder = (
        folder(tmp_path / name, each)
        for name, each in (("pred", PRED), ("gt", GT), ("style", style))
    )
    how = {"task": "image", "plugins": plugin}
    result = lossbench.evaluate(pred, gt, "gap", inputs={"style": style_folder}, **how)
    assert result.ids == ["a", "b"]
    (failed,) = result.failed
    assert (failed.id, failed.role, failed.kind) == ("c", "style", "missing")
    assert result.exit_status == 3


WRONG = {
    "one that a loss needs": ("gap", {}, "gap needs the role style: --input style=DIR"),
    "one that no loss of the run asks for": (
        "l1", {"style": STYLE}, "no loss of this run uses the role style; losses that do: .*gap"),
    "one that no loss asks for": (
        "gap", {"stlye": STYLE}, r"no loss asks for a role 'stlye' \(did you mean 'style'\?\)"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_roles_are_held_against_the_losses(plugin, wrong):
    losses, inputs, message = WRONG[wrong]
    with pytest.raises(lossbench.SettingError, match=message):
        lossbench.plan(PRED, GT, losses, inputs=inputs, task="image", plugins=plugin)


def test_a_config_names_roles(tmp_path, plugin):
    for name, each in (("pred", PRED), ("gt", GT), ("style", STYLE)):
        folder(tmp_path / name, each)
    (tmp_path / "run.yaml").write_text(
        f"task: image\npred: pred\ntarget: gt\ninputs: {{style: style}}\nplugins: {plugin.name}\n"
        "losses: gap\n"
    )
    config = lossbench.load_config(tmp_path / "run.yaml")
    result = lossbench.evaluate(**config.settings)
    assert result.values["gap"].samples == pytest.approx(wanted(GT), rel=1e-12)
    (tmp_path / "run.yaml").write_text("inputs: {stlye: style}\n")
    with pytest.raises(lossbench.SettingError, match="no loss asks for a role 'stlye'"):
        lossbench.load_config(tmp_path / "run.yaml")


def test_training_takes_roles_by_name(plugin):
    loss = lossbench.loss("gap", plugins=plugin)
    pred, gt, style = (torch.rand(2, 1, 4, 4, dtype=torch.float64) for _ in range(3))
    found = loss(pred, gt, encoding="image", style=style)
    assert found.tolist() == pytest.approx(
        (pred.mean((1, 2, 3)) - style.mean((1, 2, 3))).abs().tolist()
    )
    with pytest.raises(lossbench.SettingError, match="gap needs the role style"):
        loss(pred, gt, encoding="image")


def test_the_manual_page_shows_how_a_role_is_given():
    command = [sys.executable, "-m", "lossbench_cli", "explain", "triplet"]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "lossbench eval pred/ gt/ --input negative=DIR --loss" in " ".join(page.split())
