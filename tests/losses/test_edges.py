"""Ends of what formulas allow: thresholds of 0, rare classes, weights by class, large logits."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers.tolerances import check_close
from sklearn import metrics
from torch.nn import functional

import lossbench


def alone(pred: np.ndarray, target: np.ndarray, loss: str, **how: object) -> float:
    result = lossbench.evaluate([pred], [target], loss, **how)
    assert not result.failed, result.failed
    (values,) = result.values.values()
    return values.samples[0]


@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_at_a_threshold_of_0_all_is_predicted_and_the_truth_stays(kind: type) -> None:
    """p ≥ 0 holds everywhere: recall is 1, and iou the share of the foreground."""
    rng = np.random.default_rng(0)
    pred = rng.random((9, 8)) if kind is np.float64 else rng.integers(0, 256, (9, 8), np.uint8)
    target = (rng.random((9, 8)) < 0.3).astype(np.uint8)
    share = target.mean()
    by_hand = {"recall": 1, "iou": share, "precision": share, "fp": (1 - target).sum(), "fn": 0}
    for loss, wanted in by_hand.items():
        assert alone(pred, target, loss, threshold=0, task="binary") == pytest.approx(wanted)
    dice = alone(pred, target, "dice(threshold=0)", task="binary")
    assert dice == pytest.approx(1 - 2 * share / (1 + share))
    for loss in ("hausdorff", "betti_error"):
        full = np.ones_like(target)
        wanted = alone(full, target, loss, task="binary")
        assert alone(pred, target, loss, threshold=0, task="binary") == wanted != 0


@pytest.mark.parametrize(
    ("tp", "fp", "fn", "tn"), [(0, 1, 1, 10**6), (5, 3, 2, 10**6), (0, 1, 2, 3 * 10**6)]
)
def test_scores_of_a_few_pixels_among_millions_keep_their_digits(
    tp: int, fp: int, fn: int, tn: int
) -> None:
    """Against fractions, whose digits do not end."""
    pred = np.repeat(np.array([1, 1, 0, 0], np.uint8), [tp, fp, fn, tn])[None]
    target = np.repeat(np.array([1, 0, 1, 0], np.uint8), [tp, fp, fn, tn])[None]
    top = tp * tn - fp * fn
    mcc = top / Fraction((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5
    every = tp + fp + fn + tn
    chance = Fraction((tp + fp) * (tp + fn) + (tn + fp) * (tn + fn), every**2)
    kappa = (Fraction(tp + tn, every) - chance) / (1 - chance)
    assert alone(pred, target, "mcc", task="binary") == pytest.approx(float(mcc), rel=1e-14)
    assert alone(pred, target, "kappa", task="binary") == pytest.approx(float(kappa), rel=1e-14)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_agreement_of_several_classes_equals_sklearn(classes: int) -> None:
    rng = np.random.default_rng(classes)
    target = rng.integers(0, classes, (20, 30)).astype(np.uint8)
    pred = np.where(rng.random((20, 30)) < 0.6, target, rng.integers(0, classes, (20, 30)))
    sides = target.ravel(), pred.astype(np.uint8).ravel()
    how = {"task": "multiclass", "classes": classes}
    for loss, wanted in (
        ("mcc", metrics.matthews_corrcoef(*sides)),
        ("kappa", metrics.cohen_kappa_score(*sides)),
    ):
        found = alone(pred.astype(np.uint8), target, loss, **how)
        assert found == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize(
    "loss",
    [
        "cross_entropy",
        "ohem_cross_entropy(threshold=1)",
        "bootstrapped_cross_entropy(fraction=1)",
        "exp_log(mix=0, gamma=1, class_weights=[1, 1, 1])",
    ],
)
def test_a_pixel_weighs_what_the_map_of_its_class_says(loss: str) -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, (6, 7)).astype(np.uint8)
    odds = rng.dirichlet([1, 1, 1], (6, 7)).transpose(2, 0, 1)
    weight = rng.random((3, 6, 7))
    weight[0] = 0
    own = np.take_along_axis(weight, labels[None].astype(int), 0)[0]
    entropy = -np.log(np.take_along_axis(odds, labels[None].astype(int), 0)[0])
    wanted = (own * entropy).sum() / own.sum()
    found = alone(odds, labels, loss, task="multiclass", inputs={"weight": [weight]})
    assert found == pytest.approx(wanted, rel=1e-12)


def test_large_logits_keep_their_last_digits() -> None:
    """softplus(20.0001) is 20.0001 + e^−20.0001."""
    logits = torch.tensor([[20.0001, -20.0001, 25.0]], dtype=torch.float64)[None]
    target = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)[None]
    wanted = functional.binary_cross_entropy_with_logits(logits, target)
    for name in ("bce", "bce_with_logits", "multilabel_soft_margin", "soft_margin"):
        found = lossbench.loss(name)(logits, target, encoding="logits", task="multilabel")
        check_close(found, [float(wanted)], 1e-15, name)


def test_an_index_beyond_1_is_no_loss_to_a_power() -> None:
    """With squared areas FP = Σp² − Σpy is below 0 where predictions are too small."""
    pred, target = np.full((2, 2), 0.5), np.ones((2, 2), np.uint8)
    loss = "focal_tversky(alpha=0.7, beta=0.3, squared=true, gamma=1.5)"
    assert alone(pred, target, loss, task="binary") == 0


def test_masks_of_255_are_refused() -> None:
    pred, gt = ({"a": each} for each in anchors(255.0))
    result = lossbench.evaluate(pred, gt, "mask_rcnn", task="records")
    assert "has 255 in its masks; expected 0 or 1" in result.failed[0].message
    pred, gt = ({"a": each} for each in anchors(1.0))
    assert not lossbench.evaluate(pred, gt, "mask_rcnn", task="records").failed


def anchors(white: float) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """An anchor of the foreground and a region of class 1, with a mask of one number."""
    boxes = np.zeros((1, 4))
    pred = {"logits": np.ones(1), "deltas": boxes, "mask_logits": np.ones((1, 2, 3, 3))}
    masks = np.full((1, 3, 3), white)
    return pred, {"labels": np.ones(1), "deltas": boxes, "mask_labels": np.ones(1), "masks": masks}
