"""Options whose number follows from all ground truth of a run, and maps of positive weights."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from helpers.random_samples import drawn
from helpers.tolerances import REFERENCE, TABLES, check_close
from torch.nn import functional

import lossbench

KINDS = ["binary bytes mask label", "binary doubles mask label", "binary doubles soft weight",
         "multilabel bytes mask label", "multilabel doubles mask label"]  # fmt: skip
LABELS = ["multiclass labels labels label", "multiclass doubles labels label",
          "multiclass doubles soft weight"]  # fmt: skip


def positives(data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of each class, and all valid ones, over all samples."""
    every = sum(truth.counts.sum(1) for truth in data.truths)
    return sum(truth.support for truth in data.truths), every


def check_equal(data: Any, automatic: str, given: str) -> None:
    """Two spellings of one number: per sample, per class, and pooled."""
    result = lossbench.evaluate(data.pred, data.target, [automatic, given], **data.settings)
    one, other = result.values[automatic], result.values[given]
    for part in ("samples", "classes", "pooled", "pooled_classes"):
        check_close(getattr(one, part), getattr(other, part), TABLES, (automatic, part))


@pytest.mark.parametrize("name", ["bce", "weighted_bce"])
@pytest.mark.parametrize("kind", KINDS)
def test_pos_weight_is_negatives_over_positives(kind, name):
    data = drawn(kind)
    yes, every = positives(data)
    wanted = f"bce(pos_weight={((every - yes) / yes).tolist()})"
    check_equal(data, "weighted_bce" if name == "weighted_bce" else "bce(pos_weight=auto)", wanted)


@pytest.mark.parametrize("more", ["label_smoothing=0.1", "reduction=sum", "over=all"])
def test_automatic_pos_weight_goes_with_other_options(more):
    data = drawn(KINDS[0])
    yes, every = positives(data)
    weight = float((every - yes)[0] / yes[0])
    check_equal(data, f"bce(pos_weight=auto, {more})", f"bce(pos_weight={weight}, {more})")


def test_automatic_weights_inside_and_outside_go_together():
    data = drawn("multilabel bytes mask label")
    yes, every = positives(data)
    inside, outside = ((every - yes) / yes).tolist(), (every / (3 * yes)).tolist()
    check_equal(data, "bce(pos_weight=auto, class_weights=auto)",
                f"bce(pos_weight={inside}, class_weights={outside})")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_alpha_of_yes_and_no_is_the_share_of_negatives(kind):
    data = drawn(kind)
    yes, every = positives(data)
    check_equal(
        data, "binary_focal(alpha=auto)", f"binary_focal(alpha={(1 - yes / every).tolist()})"
    )


@pytest.mark.parametrize("kind", LABELS)
def test_alpha_of_classes_is_their_inverse_frequency(kind):
    data = drawn(kind)
    yes, every = positives(data)
    check_equal(data, "focal(alpha=auto)", f"focal(alpha={(every / (3 * yes)).tolist()})")


@pytest.mark.parametrize("kind", LABELS)
def test_root_frequency_is_the_root_of_the_inverse_share(kind):
    """Wong et al. 2018: w_c = √(Σf / f_c)."""
    data = drawn(kind)
    yes, every = positives(data)
    check_equal(data, "exp_log", f"exp_log(class_weights={np.sqrt(every / yes).tolist()})")


def test_no_positive_pixel_at_all_is_an_error():
    empty = [np.zeros((4, 5), np.uint8)]
    how = {"task": "binary", "pred_encoding": "probability", "gt_encoding": "mask"}
    for loss in ("bce(pos_weight=auto)", "binary_focal(alpha=auto)", "weighted_bce"):
        with pytest.raises(lossbench.InputError, match="no ground truth has a pixel"):
            lossbench.evaluate(empty, empty, loss, **how)


@pytest.mark.parametrize("name", ["bce", "bce_with_logits"])
def test_maps_of_positive_weights_equal_torch(name):
    """torch takes a tensor that broadcasts, here one weight a pixel."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (2, 6, 7)).astype(np.float32)
    target = (rng.random((2, 6, 7)) < 0.4).astype(np.uint8)
    maps = rng.uniform(0, 3, (2, 6, 7))
    loss = f"{name}(pos_weight=role, label_smoothing=0.1)"
    how = {"task": "binary", "pred_encoding": "logits", "inputs": {"pos_weight": list(maps)}}
    result = lossbench.evaluate(list(logits), list(target), loss, **how)
    for place in range(2):
        x, y, w = (
            torch.tensor(side[place], dtype=torch.float64) for side in (logits, target, maps)
        )
        wanted = functional.binary_cross_entropy_with_logits(x, 0.9 * y + 0.05, pos_weight=w)
        check_close(result.values[loss].samples[place], float(wanted), REFERENCE)


def test_maps_of_positive_weights_leave_the_counts_of_other_losses_alone():
    data = drawn("binary bytes mask")
    maps = {"pos_weight": [np.ones_like(each, np.float64) for each in data.target]}
    losses = ["bce(pos_weight=role)", "bce", "dice"]
    found = lossbench.evaluate(data.pred, data.target, losses, inputs=maps, **data.settings)
    alone = lossbench.evaluate(data.pred, data.target, losses[1:], **data.settings)
    assert repr(found.values["dice"]) == repr(alone.values["dice"])
    check_close(found.values[losses[0]].samples, alone.values["bce"].samples, TABLES)
    check_close(found.values[losses[0]].pooled, alone.values["bce"].pooled, TABLES)


def test_maps_without_a_loss_and_a_loss_without_maps_are_refused():
    image = [np.zeros((4, 5), np.uint8)]
    with pytest.raises(lossbench.SettingError, match="--input pos_weight=DIR"):
        lossbench.plan(image, image, "bce(pos_weight=role)", task="binary")
    with pytest.raises(lossbench.SettingError, match=r"bce\(pos_weight=role\)"):
        lossbench.plan(image, image, "bce", task="binary", inputs={"pos_weight": image})


@pytest.mark.parametrize("wrong", ["-1", "[1, 2]", "much", "none"])
def test_a_positive_weight_that_is_none_is_refused(wrong):
    image = [np.zeros((4, 5), np.uint8)]
    with pytest.raises(lossbench.SettingError, match="pos_weight"):
        lossbench.plan(image, image, f"bce(pos_weight={wrong})", task="binary")


def balance(rule: str, shares: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Class weights from pixels of each class (n, K) and valid pixels (n, 1), as LOSSES.md says."""
    present = shares.sum(0) > 0
    pixels = shares.sum(0)[present]
    weights = np.zeros(len(present))
    if rule == "auto":
        weights[present] = valid.sum() / (present.sum() * pixels)
    else:
        frequency = pixels / np.where(shares > 0, valid, 0).sum(0)[present]
        weights[present] = np.median(frequency) / frequency
    return weights


@pytest.mark.parametrize("rule", ["auto", "median_frequency"])
@pytest.mark.parametrize("task", ["multiclass", "multilabel", "binary"])
def test_class_weights_from_the_data_set(task, rule):
    """Every class but the last has target pixels; each weight is exact in a sum of its losses."""
    rng = np.random.default_rng(5)
    shape = {"binary": (6, 7), "multiclass": (6, 7), "multilabel": (4, 6, 7)}[task]
    pred = [rng.integers(0, 2 if task != "multiclass" else 4, shape) for _ in range(4)]
    target = [rng.choice(3, shape, p=[0.6, 0.3, 0.1]) for _ in range(4)]
    if task != "multiclass":
        target = [np.minimum(each, 1) for each in target]
        if task == "multilabel":
            target[1][2], target[3][2] = 0, 0  # so that the two rules differ
            for each in target:
                each[3] = 0
    else:
        target[1][target[1] == 2] = 0
    axis = np.arange({"binary": 2, "multiclass": 4}.get(task, 1))
    hot = [t[None] == axis[:, None, None] if task != "multilabel" else t == 1 for t in target]
    weights = balance(rule, np.array([t.sum((1, 2)) for t in hot]), np.full((4, 1), 42))
    name = "bce" if task == "multilabel" else "cross_entropy"
    given = {"task": task, "classes": 4} if task == "multiclass" else {"task": task}
    loss = f"{name}(reduction=sum, class_weights={rule})"
    found = lossbench.evaluate(pred, target, loss, **given).values[loss]
    wrong = [100.0 * (p != t) for p, t in zip(pred, target, strict=True)]  # each wrong pixel's loss
    if task == "multilabel":
        wanted = [(weights[:, None, None] * each).sum() for each in wrong]
    else:
        wanted = [(weights[t] * each).sum() for t, each in zip(target, wrong, strict=True)]
    check_close(found.samples, wanted, REFERENCE)
    check_close(found.pooled, np.sum(wanted), REFERENCE)


def test_classes_absent_from_the_target_weigh_nothing_under_automatic_weights():
    pred, target = np.array([[0, 0, 1, 2]]), np.array([[0, 0, 1, 1]])
    loss = "dice(class_weights=auto)"
    # Dice losses 0 and 1/3 of classes 0 and 1, both with weight 4/(2·2); class 2 would cost 1
    found = lossbench.evaluate([pred], [target], loss, task="multiclass", classes=3)
    assert found.values[loss].samples[0] == pytest.approx(1 / 6)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_balance_without_a_positive_is_an_error(task):
    """LOSSES.md, class balance: "no positive at all is an error"."""
    empty = [np.zeros((2, 3, 4), np.uint8)] * 2
    with pytest.raises(lossbench.InputError, match="class_weights=auto"):
        lossbench.evaluate(empty, empty, "dice(class_weights=auto)", task=task)


def test_a_pair_that_a_loss_refuses_blanks_that_loss_alone(folder, lossbench_command):
    """The weights follow from the other pairs, and the counts of pairs add up."""
    rng, losses = np.random.default_rng(0), ("cross_entropy(class_weights=auto)", "dice")
    gt = {f"{i}.png": rng.integers(0, 3, (8, 9)).astype(np.uint8) for i in range(4)}
    odds = {f"{i}.npy": np.exp(rng.normal(size=(3, 8, 9))) for i in range(4)}
    pred = {name: odd / odd.sum(0) for name, odd in odds.items()}
    without = {name: each for name, each in pred.items() if name != "2.npy"}
    pred["2.npy"] *= 0.8  # which dice takes

    def run(name, files):
        sides = folder(f"{name}/pred", files), folder(f"{name}/gt", gt)
        flags = [word for loss in losses for word in ("-l", loss)]
        done = lossbench_command("eval", *sides, *flags, "--missing", "skip", "-f", "json")
        return done.returncode, json.loads(done.stdout)

    (status, result), (_, others) = run("all", pred), run("others", without)
    balanced, dice = result["aggregate"].values()
    assert (balanced["count"], balanced["undefined"], dice["count"]) == (3, 1, 4)
    for aggregate in ("mean", "pooled"):
        of_others = others["aggregate"][losses[0]][aggregate]
        assert balanced[aggregate] == pytest.approx(of_others, rel=1e-12)
    pairs = result["run"]["pairs"]
    assert (pairs["found"], pairs["evaluated"], pairs["errors"]) == (4, 3, 1)
    assert (status, len(result["errors"])) == (3, 1)


def test_automatic_weights_of_no_pair_at_all_leave_other_losses(folder, lossbench_command):
    rng = np.random.default_rng(1)
    gt = folder("gt", {"0.png": rng.integers(0, 3, (8, 9)).astype(np.uint8)})
    pred = folder("pred", {"0.npy": np.full((3, 8, 9), 0.2)})
    flags = ("-l", "cross_entropy(class_weights=auto)", "-l", "dice", "-f", "json")
    done = lossbench_command("eval", pred, gt, *flags)
    balanced, dice = json.loads(done.stdout)["aggregate"].values()
    assert (done.returncode, balanced["count"], dice["count"]) == (3, 0, 1)
