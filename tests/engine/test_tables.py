"""Tables of counts and the pixels that they stand for give the same numbers; laws of both."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from helpers.option_values import BESIDES, ENTRIES, LOGITS, STRUCTURE, option_sets, typed
from helpers.tolerances import TABLES, check_close
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import lossbench
from lossbench.engine.compute import streaming

CLASSES = {"binary": 2, "multiclass": 4, "multilabel": 3, "image": 0}
# Values that belong to a sample, so that there is none of all samples as one.
NEVER_POOLED = ("balanced_bce", "ohem", "bootstrapped", "exp_log")
quick = settings(max_examples=8, deadline=None, derandomize=True)


def fitting(task: str) -> list[str]:
    """Losses of 8-bit predictions, or of label maps, that do not look at positions."""
    others = LOGITS | STRUCTURE
    return [name for name, entry in ENTRIES.items() if task in entry.tasks and name not in others]


def test_every_option_of_the_catalogue_is_tried():
    tried = {
        option
        for name, entry in ENTRIES.items()
        for task in entry.tasks
        for options in option_sets(name, task, rules=True)
        for option in options
    }
    every = {option for entry in ENTRIES.values() for option in entry.options}
    assert every == tried | {"per_image"}  # of all samples: test_ranking.py


def expressions(task: str, in_turn: bool = False) -> list[str]:
    """Each loss of a task alone, and with each of its options; in turn: each on one task."""
    return [
        typed(name, options)
        for name in fitting(task)
        for options in option_sets(name, task, classes=CLASSES[task], rules=True, in_turn=in_turn)
    ]


def few(task: str) -> list[str]:
    """Each loss alone, and some with several options, for laws that are tried often."""
    # Without a pixel of any class, `auto` is an error: that cannot be of labels.
    balance = ", class_weights=auto" if task == "multiclass" else ""
    several = {
        "l1": "reduction=sum",
        "bce": "pos_weight=3, label_smoothing=0.1",
        "cross_entropy": "label_smoothing=0.1, over=all",
        "dice": "squared=true, intersection=min, log=true",
        "jaccard": f"smooth_nr=2, smooth_dr=0.5{balance}",
        "tversky": "alpha=0.3, beta=2, class_reduction=weighted",
        "iou": "class_reduction=sum, empty=1",
    }
    names = [name for name in fitting(task) if name != "weighted_bce"]
    alone = [typed(name, BESIDES.get(name, {})) for name in names]
    return [*alone, *(f"{name}({several[name]})" for name in names if name in several)]


def encodings(task: str) -> dict[str, Any]:
    """How 8-bit predictions are read."""
    if task == "image":
        return {"task": task}
    if task == "multiclass":
        return {"task": task, "pred_encoding": "labels", "gt_encoding": "labels", "classes": 4}
    return {"task": task, "pred_encoding": "probability", "gt_encoding": "mask"}


def tables(task: str, pred: Any, target: Any, losses: Any, **how: Any) -> Any:
    """A run on 8-bit predictions, or on label maps, which is counted."""
    result = lossbench.evaluate(pred, target, losses, **encodings(task) | how)
    assert not result.failed
    assert result.run["plan"]["counted"]
    return result


def pixels(task: str, pred: Any, target: Any, losses: Any, **how: Any) -> Any:
    """A run on the same predictions as float64: probabilities, one-hot stacks, or images."""
    encoding = {} if task == "image" else {"pred_encoding": "probability"}
    floats = [as_floats(task, each) for each in pred]
    if task == "image":
        target = [as_floats(task, each) for each in target]
    result = lossbench.evaluate(floats, target, losses, **encodings(task) | encoding | how)
    assert not result.failed
    assert not result.run["plan"]["counted"]
    return result


def as_floats(task: str, stored: np.ndarray) -> np.ndarray:
    if task == "multiclass":
        return np.float64(stored[None] == np.arange(4).reshape(-1, *[1] * stored.ndim))
    return stored / 255


def check_same(found: Any, wanted: Any, tolerance: float = TABLES) -> None:
    """Two results agree in the samples, the classes, and both pooled."""
    assert found.values.keys() == wanted.values.keys()
    for name, values in wanted.values.items():
        for part in ("samples", "classes", "pooled", "pooled_classes"):
            numbers = [getattr(each, part) for each in (found.values[name], values)]
            check_close(*numbers, tolerance, (name, part))


def masks(task: str, seed: int, shape: tuple[int, ...] = (17, 23)) -> tuple[list[Any], list[Any]]:
    """Four random pairs: usual, with a class that is absent, without target, without either."""
    rng = np.random.default_rng(seed)
    if task == "image":
        sides = rng.integers(0, 256, (2, 4, *shape, 3)).astype(np.uint8)
        return list(sides[0]), list(sides[1])
    if task == "multiclass":
        pred, target = rng.integers(0, 4, (2, 4, *shape)).astype(np.uint8)
        pred[1][pred[1] == 2], target[1][target[1] == 2] = 0, 1
        target[2], pred[3], target[3] = 0, 0, 0
        return list(pred), list(target)
    full = (4, *shape) if task == "binary" else (4, 3, *shape)
    pred = rng.integers(0, 256, full).astype(np.uint8)
    pred[rng.random(full) < 0.1], pred[rng.random(full) < 0.1] = 0, 255
    target = (rng.random(full) < 0.3).astype(np.uint8)
    target[1, :1], target[2], pred[3], target[3] = 0, 0, 0, 0
    return list(pred), list(target)


def out(task: str, limit: str, target: list[Any]) -> dict[str, Any]:
    """Settings that take random pixels out, and all of the last sample; labels are overwritten."""
    rng = np.random.default_rng(7)
    shape = target[0].shape[-2:] if task != "image" else target[0].shape[:2]
    ignored = rng.random((len(target), *shape)) < 0.3
    ignored[-1] = True
    if limit == "label":
        for each, gone in zip(target, ignored, strict=True):
            each[..., gone] = 255
        return {"ignore": 255}
    return {"inputs": {limit: list(ignored if limit == "ignore" else ~ignored)}} if limit else {}


LIMITS = [(task, limit) for task in CLASSES for limit in ("", "label", "ignore", "valid")
          if (task, limit) != ("image", "label")]  # fmt: skip


@pytest.mark.parametrize(("task", "limit"), LIMITS)
def test_tables_and_pixels_agree(task, limit):
    pred, target = masks(task, seed=1)
    how = out(task, limit, target)
    losses = expressions(task, in_turn=bool(limit))
    check_same(tables(task, pred, target, losses, **how), pixels(task, pred, target, losses, **how))


@pytest.mark.parametrize("task", CLASSES)
def test_weights_of_one_make_pixels_of_tables_and_change_nothing(task):
    pred, target = masks(task, seed=2)
    losses = expressions(task, in_turn=True)
    counted = tables(task, pred, target, losses)
    shape = target[0].shape[:2] if task == "image" else target[0].shape[-2:]
    ones = {"weight": [np.ones(shape)] * 4}
    weighted = lossbench.evaluate(pred, target, losses, inputs=ones, **encodings(task))
    assert not weighted.run["plan"]["counted"]
    check_same(weighted, counted)


@pytest.mark.parametrize("task", CLASSES)
@pytest.mark.parametrize("limit", ["", "valid", "weight"])
def test_parts_of_a_sample_add_up_to_it(monkeypatch, task, limit):
    pred, target = (side[:2] for side in masks(task, seed=5))
    how = out(task, "valid", target) if limit == "valid" else {}
    if limit == "weight":
        shape = target[0].shape[:2] if task == "image" else target[0].shape[-2:]
        how = {"inputs": {"weight": list(np.random.default_rng(5).random((2, *shape)))}}
    losses = expressions(task, in_turn=True)
    whole = pixels(task, pred, target, losses, **how)
    monkeypatch.setitem(streaming.PART, "cpu", 100)  # of 391 pixels of one class and more
    lengths = []
    real = streaming.pixel_values
    monkeypatch.setattr(streaming, "pixel_values", lambda plan, samples, device: (
        lengths.append(samples[0].weight.shape[1]), real(plan, samples, device))[1])  # fmt: skip
    check_same(pixels(task, pred, target, losses, **how), whole)
    assert len(lengths) > 3 * len(pred)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_hard_masks_are_probabilities_of_0_and_1(task):
    pred, target = masks(task, seed=3)
    hard = [(each >= 128).astype(np.uint8) for each in pred]
    losses = expressions(task, in_turn=True)
    counted = tables(task, hard, target, losses, pred_encoding="mask")
    check_same(counted, pixels(task, [each * 255 for each in hard], target, losses))


@pytest.mark.parametrize("task", CLASSES)
def test_neither_batches_nor_workers_change_a_bit(task):
    pred, target = (side * 4 for side in masks(task, seed=4))
    losses = expressions(task, in_turn=True)
    runs = [
        tables(task, pred, target, losses, workers=workers, batch_size=size)
        for workers, size in ((1, 128), (1, 1), (3, 5))
    ]
    for other in runs[1:]:
        check_same(other, runs[0], tolerance=0)
        assert repr(other.aggregates) == repr(runs[0].aggregates)


def pairs(task: str, least: int = 1) -> Any:
    """A pair of small 8-bit arrays, or of label maps."""
    if task == "image":
        shape = st.tuples(st.integers(least, 5), st.integers(1, 5), st.just(3))
        high, top = 255, 255
    else:
        # rows of pixels: what planes of width 3 and 4 are taken for is test_losses.py's to say
        length = st.integers(least, 12)
        shape = st.tuples(st.just(3), length) if task == "multilabel" else st.tuples(length)
        high, top = (3, 3) if task == "multiclass" else (255, 1)
    level = st.sampled_from([0, high]) | st.integers(0, high)
    return shape.flatmap(
        lambda size: st.tuples(
            arrays.arrays(np.uint8, size, elements=level),
            arrays.arrays(np.uint8, size, elements=st.integers(0, top)),
        )
    )


@pytest.mark.parametrize("task", CLASSES)
def test_tables_and_pixels_agree_on_any_small_arrays(task):
    losses = few(task)

    @quick
    @given(st.lists(pairs(task), min_size=1, max_size=3))
    def agree(samples):
        pred, target = zip(*samples, strict=True)
        check_same(tables(task, pred, target, losses), pixels(task, pred, target, losses))

    agree()


@quick
@given(pairs("image"))
def test_overlap_and_distance_do_not_care_which_side_is_the_truth(pair):
    """Both sides soft, as rows of grey levels."""
    losses = [
        *("l1", "l2", "dice", "jaccard", "dice_score", "iou", "tversky", "tversky(smooth=1)"),
        *("dice(squared=true)", "dice(intersection=min)", "jaccard(squared=true, smooth=1)"),
        *("dice(threshold=0.3)", "jaccard(intersection=min)", "accuracy"),
    ]
    soft = {"task": "binary", "pred_encoding": "probability", "gt_encoding": "probability"}
    pred, target = ([side.ravel()] for side in pair)
    there = lossbench.evaluate(pred, target, losses, **soft)
    check_same(lossbench.evaluate(target, pred, losses, **soft), there)


@quick
@given(pairs("binary"))
def test_hard_scores_are_what_hard_losses_lack_and_precision_is_recall_swapped(pair):
    pred, target = [pair[0] > 127], [pair[1]]
    hard = {"task": "binary", "pred_encoding": "mask", "gt_encoding": "mask"}
    losses = ["dice", "dice_score", "jaccard", "iou", "precision", "recall"]
    found = lossbench.evaluate(pred, target, losses, **hard).values
    one = {name: values.samples[0] for name, values in found.items()}
    check_close(1 - one["dice"], one["dice_score"], TABLES)
    check_close(1 - one["jaccard"], one["iou"], TABLES)
    check_close(one["iou"], one["dice_score"] / (2 - one["dice_score"]), TABLES)
    swapped = lossbench.evaluate(target, pred, ["precision"], **hard).values["precision"].samples[0]
    if target[0].any():  # else one is undefined and the other 0
        check_close(one["recall"], swapped, TABLES)


@quick
@given(pairs("binary"))
def test_members_of_a_family_are_each_other(pair):
    """LOSSES.md: Tversky with ½, ½ and s is Dice with 2s, with 1, 1 it is Jaccard; on a binary
    task the cross-entropy of both classes is the binary one."""
    losses = [
        *("tversky(smooth=1)", "dice(smooth=2)", "tversky(alpha=1, beta=1)", "jaccard"),
        *("cross_entropy(label_smoothing=0.2)", "bce(label_smoothing=0.2)"),
    ]
    found = tables("binary", *([side] for side in pair), losses)
    for one, other in zip(losses[::2], losses[1::2], strict=True):
        check_close(found.values[one].samples, found.values[other].samples, TABLES, one)


@pytest.mark.parametrize("task", CLASSES)
def test_scaling_a_weight_map_leaves_means_as_they_are(task):
    sums = ("=sum", "over=all", "smooth_nr", "exp_log", "ohem", "bootstrapped")
    losses = [each for each in few(task) if not any(word in each for word in sums)]
    losses = [each for each in losses if each not in ("tp", "fp", "fn", "tn")]

    @quick
    @given(pairs(task), st.floats(0.01, 1000), st.integers(0, 2**32 - 1))
    def unchanged(pair, factor, seed):
        shape = pair[1].shape[:2] if task == "image" else pair[1].shape[-1:]
        weight = np.random.default_rng(seed).integers(0, 5, shape) / 4
        pred, target = ([side] for side in pair)
        one, many = (
            lossbench.evaluate(
                pred, target, losses, inputs={"weight": [weight * by]}, **encodings(task)
            )
            for by in (1, factor)
        )
        check_same(many, one)

    unchanged()


@pytest.mark.parametrize("task", CLASSES)
def test_order_of_pixels_does_not_matter(task):
    losses = few(task)

    @quick
    @given(pairs(task), st.integers(0, 2**32 - 1))
    def unchanged(pair, seed):
        flat = [side.reshape(-1, 1, side.shape[-1]) if task == "image" else side for side in pair]
        axis = 0 if task == "image" else -1
        order = np.random.default_rng(seed).permutation(flat[0].shape[axis])
        moved = [[side.take(order, axis)] for side in flat]
        kept = [[side] for side in flat]
        check_same(tables(task, *moved, losses), tables(task, *kept, losses), tolerance=0)
        check_same(pixels(task, *moved, losses), pixels(task, *kept, losses))

    unchanged()


@pytest.mark.parametrize("task", CLASSES)
def test_two_images_pooled_are_the_two_as_one(task):
    losses = few(task)

    @quick
    @given(pairs(task), pairs(task))
    def pooled_is_joined(first, second):
        axis = 0 if task == "image" else -1
        if task == "image":
            first, second = ([s.reshape(-1, 1, 3) for s in pair] for pair in (first, second))
        joined = [[np.concatenate(sides, axis)] for sides in zip(first, second, strict=True)]
        apart = list(zip(first, second, strict=True))
        for run, tolerance in ((tables, 0), (pixels, TABLES)):
            two, one = run(task, *apart, losses), run(task, *joined, losses)
            for loss in losses:
                whole = one.values[loss].samples[0]
                if loss.startswith(NEVER_POOLED):
                    assert math.isnan(two.values[loss].pooled)
                    continue
                check_close(two.values[loss].pooled, whole, tolerance, loss)

    pooled_is_joined()


@pytest.mark.parametrize("task", CLASSES)
def test_an_ignored_pixel_is_as_if_it_were_not_there(task):
    losses = [each for each in few(task) if "over=all" not in each]

    @quick
    @given(pairs(task, least=2), st.integers(0, 2**32 - 1))
    def same_without(pair, seed):
        shape = {"image": (-1, 1, pair[0].shape[-1]), "multilabel": (len(pair[0]), -1, 1)}.get(task)
        flat = [side.reshape(shape) if shape else side for side in pair]
        axis = {"image": 0, "multilabel": 1}.get(task, -1)
        keep = np.random.default_rng(seed).random(flat[0].shape[axis]) < 0.6
        keep[0] = True
        mask = {"inputs": {"valid": [keep[:, None] if shape else keep]}}
        kept = [[side.compress(keep, axis)] for side in flat]
        for run in (tables, pixels):
            check_same(run(task, *([side] for side in flat), losses, **mask),
                       run(task, *kept, losses))  # fmt: skip

    same_without()
