"""`lossbench gradcheck`: right gradients pass, wrong ones are found, and what has none says so."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lossbench

Command = Callable[..., subprocess.CompletedProcess[str]]
HARD = ("accuracy", "dice_score", "iou", "precision", "recall")  # they are of decisions

WRONG = """
import torch


class Steeper(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, slope):
        return 3 * slope


def twice_too_much(pred: torch.Tensor, target: torch.Tensor):
    return Steeper.apply(pred).mean()


def steep_at_the_ends(pred: torch.Tensor, target: torch.Tensor):
    return pred.sqrt().mean()


def right(pred: torch.Tensor, target: torch.Tensor):
    return ((pred - target) ** 2).mean()


def of_numpy(pred, target):
    return ((pred - target) ** 2).mean()


def failing(pred: torch.Tensor, target: torch.Tensor):
    raise ValueError("not today")


def undefined(pred: torch.Tensor, target: torch.Tensor):
    return pred.sum() * float("nan")
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(WRONG, "utf-8")
    return file


@pytest.mark.parametrize(
    "name",
    [
        "dice",
        "bce",
        "cross_entropy",
        "l1",
        "l2",
        "tversky(alpha=0.3, beta=0.7, log=true)",
        "dice(class_weights=auto)",
    ],
)
def test_shipped_losses_pass_on_every_task_and_encoding(name: str) -> None:
    found = lossbench.gradcheck(name)
    assert all(each.passed for each in found)
    tasks = lossbench.find_loss(name.partition("(")[0]).tasks
    encodings = {
        task: ("image",) if task == "image" else ("probability", "logits") for task in tasks
    }
    assert {(each.task, each.encoding) for each in found} == {
        (task, encoding) for task in tasks for encoding in encodings[task]
    }
    assert all(each.difference < 1e-5 for each in found)  # of float64 with a step of 1e-6


OF_ITS_OWN = {  # losses without pixels, and of further inputs
    "vectors": ("triplet", "contrastive", "cosine", "info_nce", "triplet_mining"),
    "scores": ("gan_minimax", "gan_nonsaturating", "lsgan", "wgan", "wgan_gp", "gan_hinge"),
    "detection": ("iou_box", "giou", "diou", "ciou", "0.5*giou + ciou"),
    "records": ("faster_rcnn", "mask_rcnn", "faster_rcnn(n_cls=256)"),
    "image": ("cycle", "identity", "cycle(weight=3)"),
    "multiclass": ("auxiliary", "auxiliary(aux_weight=0.2) + dice"),
}


@pytest.mark.parametrize(
    ("task", "name"), [(task, name) for task, names in OF_ITS_OWN.items() for name in names]
)
def test_losses_without_pixels_and_with_roles_pass(task: str, name: str) -> None:
    found = lossbench.gradcheck(name)
    assert {each.task for each in found} == {task}
    assert all(each.passed for each in found)
    assert all(each.difference < 1e-5 for each in found)


WRONG_ONES = """
import torch
from lossbench.plugin_api import PerSample, Scores, Tensors, Vector, loss


class Steeper(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, slope):
        return 3 * slope


@loss(tasks=["vectors"])
def of_vectors(pred: Vector, target: Vector, negative: Vector) -> PerSample:
    return (pred * target - Steeper.apply(negative)).sum(-1)


@loss(tasks=["scores"])
def of_scores(pred: Scores, target: Scores) -> PerSample:
    return Steeper.apply(pred).mean(-1)


@loss(tasks=["records"])
def of_records(pred: Tensors, target: Tensors) -> PerSample:
    return Steeper.apply(pred["deltas"]).mean((-2, -1))
"""


@pytest.mark.parametrize(
    ("name", "difference"),
    [("of_vectors", 2.0), ("of_scores", 2 / 5), ("of_records", 2 / 20)],
)
def test_a_wrong_gradient_without_pixels_is_found(
    tmp_path: Path, name: str, difference: float
) -> None:
    """By hand: three times the slope of a sum is claimed, or of a mean of 5 or 5·4 numbers."""
    (tmp_path / "mine.py").write_text(WRONG_ONES, "utf-8")
    (found,) = lossbench.gradcheck(name, plugins=tmp_path / "mine.py")
    assert found.difference == pytest.approx(difference, rel=1e-6)
    assert not found.passed


def test_an_expression_passes_on_the_tasks_that_its_losses_share() -> None:
    found = lossbench.gradcheck("mix = 0.5*dice(smooth=1) + 0.5*cross_entropy")
    shared = set(lossbench.find_loss("dice").tasks) & set(
        lossbench.find_loss("cross_entropy").tasks
    )
    assert {each.task for each in found} == shared
    assert all(each.passed for each in found)


def test_a_wrong_gradient_is_found(plugin: Path) -> None:
    """By hand: of the mean of 4·3 pixels a slope is 1/12; three of them are claimed."""
    found = lossbench.gradcheck("twice_too_much", task="binary", plugins=plugin)
    assert [each.encoding for each in found] == ["probability", "logits"]
    assert found[0].difference == pytest.approx(2 / 12, rel=1e-6)
    assert not any(each.agrees for each in found)
    assert all(each.finite for each in found)


def test_an_infinite_gradient_at_the_ends_is_found(plugin: Path) -> None:
    found = lossbench.gradcheck("steep_at_the_ends", task="binary", plugins=plugin)
    assert (found[0].agrees, found[0].finite, found[0].passed) == (True, False, False)


@pytest.mark.parametrize("seed", [0, 1])
def test_one_seed_gives_one_answer(seed: int) -> None:
    first, second = (lossbench.gradcheck("dice", task="binary", seed=seed) for _ in range(2))
    assert first == second


def test_another_seed_gives_other_inputs() -> None:
    first, second = (lossbench.gradcheck("bce", task="binary", seed=seed) for seed in (0, 1))
    assert first != second


@pytest.mark.parametrize("name", HARD)
def test_a_score_says_that_it_has_no_gradient(name: str) -> None:
    with pytest.raises(lossbench.SettingError, match=f"{name} has no gradient: small steps"):
        lossbench.gradcheck(name)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("of_numpy", "of_numpy has no gradient: it gets arrays of numpy"),
        ("failing", r"failing failed: .*mine\.py, line \d+: ValueError: not today"),
        ("undefined", "undefined is undefined on every input"),
        ("dise", "did you mean 'dice'"),
        ("dice(smoth=1)", "did you mean 'smooth'"),
        ("dice(threshold=0.5)", "no gradient"),
    ],
)
def test_what_cannot_be_checked_is_told(expression: str, message: str, plugin: Path) -> None:
    with pytest.raises(lossbench.SettingError, match=message):
        lossbench.gradcheck(expression, plugins=plugin)


def test_losses_without_a_common_task_are_told(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from lossbench.losses import loss\n"
        "@loss(tasks=['image'])\ndef of_images(pred, target): ...\n",
        "utf-8",
    )
    with pytest.raises(lossbench.SettingError, match="no task that all losses"):
        lossbench.gradcheck("of_images + dice", plugins=tmp_path / "mine.py")


def test_a_task_that_a_loss_is_not_for_is_told() -> None:
    with pytest.raises(lossbench.SettingError, match="dice has no meaning on a task image"):
        lossbench.gradcheck("dice", task="image")
    with pytest.raises(lossbench.SettingError, match="task is one of binary"):
        lossbench.gradcheck("dice", task="binry")


@pytest.mark.parametrize(
    ("arguments", "status", "verdicts"),
    [
        (["bce", "--task", "binary", "--seed", 7], 0, ["ok", "ok"]),
        (["right", "--task", "image"], 0, ["ok"]),
        (["twice_too_much", "--task", "binary"], 1, ["differs", "differs"]),
        (["steep_at_the_ends", "--task", "image"], 1, ["not finite where p is 0 or 1"]),
        (["iou"], 2, []),
        (["failing"], 2, []),
        (["dice", "--task", "image"], 2, []),
        (["dice", "--seed", -1], 2, []),
    ],
    ids=str,
)
def test_the_exit_status_tells(
    arguments: list[Any], status: int, verdicts: list[str],
    plugin: Path, lossbench_command: Command,
) -> None:  # fmt: skip
    done = lossbench_command("gradcheck", *arguments, "--plugin", plugin)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert bool(done.stderr) == (status == 2)
    rows = re.findall(r"^(\w+) +(\w+) +(?:< )?[-\d.e+]+   (.*)$", done.stdout, re.MULTILINE)
    assert [verdict for _, _, verdict in rows] == verdicts
