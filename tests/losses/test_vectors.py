"""The numbers of CONVENTIONS.md, each of which separates two conventions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from helpers.tolerances import check_close

import lossbench

V1 = [[1, 0], [0, 1]], [[1, 0], [1, 1]]
V5 = [0.9, 0.2, 0.4, 0.1], [1, 0, 1, 0]
V12 = (
    [[0.01, 0.03, 0.02, 0.02], [0.05, 0.12, 0.09, 0.07], [0.89, 0.85, 0.88, 0.91],
     [0.99, 0.97, 0.95, 0.97]],
    [[0] * 4, [0] * 4, [1] * 4, [1] * 4],
)  # fmt: skip


def squares(*places: tuple[int, int, int, int]) -> list[list[int]]:
    """14×14 zeros with ones in rows a to b and columns c to d, both ends excluded as in a slice."""
    mask = np.zeros((14, 14), int)
    for a, b, c, d in places:
        mask[a:b, c:d] = 1
    return mask.tolist()


V3 = squares((9, 12, 9, 12)), squares((9, 12, 9, 12), (1, 2, 1, 2))
V4 = squares((6, 8, 6, 8)), squares((5, 9, 5, 9))
VECTORS = [
    (V1, "dice_score", 0.8), (V1, "iou", 0.666667), (V1, "dice", 0.2), (V1, "jaccard", 0.333333),
    (V3, "dice_score", 18 / 19), (V3, "iou", 0.9),  # 9 of 10 pixels found, by hand
    (V4, "dice_score", 0.4), (V4, "iou", 0.25), (V4, "dice", 0.6),
    (V5, "dice", 0.277778), (V5, "dice(smooth=1)", 0.217391), (V5, "dice(smooth=2)", 0.178571),
    (V5, "dice(smooth_nr=2, smooth_dr=2)", 0.178571),
    (V5, "dice(squared=true, smooth=1)", 0.104478),
    (V5, "tversky(alpha=0.3, beta=0.7)", 0.308511),  # V7
    (V5, "tversky(alpha=0.7, beta=0.3)", 0.244186),
    (V5, "jaccard(smooth=1)", 0.303030), (V5, "jaccard(smooth=0.5)", 0.357143),  # V13, MONAI's s=1
    (V12, "dice", 0.0632111), (V12, "dice(squared=true)", 0.0062495),
    (V12, "dice(smooth_nr=2, smooth_dr=1)", 0.0), (V12, "jaccard", 0.1189061),
    (V12, "tversky(alpha=0.7, beta=0.3)", 0.0589281), (V12, "sensitivity_specificity", 0.0625),
    (V5, "focal_tversky(alpha=0.3, beta=0.7)", 0.413955),  # V7
    (V5, "focal_tversky(alpha=0.3, beta=0.7, gamma=1.3333333333333333)", 0.208462),
]  # fmt: skip


@pytest.mark.parametrize(("masks", "loss", "wanted"), VECTORS)
def test_value_printed_in_conventions(masks, loss, wanted):
    pred, target = ([np.array(side)] for side in masks)
    result = lossbench.evaluate(pred, target, loss, task="binary")
    assert result.values[loss].samples[0] == pytest.approx(wanted, abs=6e-7)


def counted_masks(hits: int, false_alarms: int, misses: int) -> tuple[Any, Any]:
    """Prediction and target that have these counts."""
    pred = [1] * (hits + false_alarms) + [0] * misses
    target = [1] * hits + [0] * false_alarms + [1] * misses
    return np.array(pred, np.uint8), np.array(target, np.uint8)


def test_mean_and_pooled_of_v11():
    pairs = [counted_masks(90, 10, 10), counted_masks(1, 4, 5), counted_masks(0, 3, 0)]
    result = lossbench.evaluate(*zip(*pairs, strict=True), "dice_score", task="binary")
    assert result.aggregates["dice_score"]["mean"] == pytest.approx(0.360606, abs=6e-7)
    assert result.aggregates["dice_score"]["pooled"] == pytest.approx(0.850467, abs=6e-7)


def test_classes_are_averaged_before_samples_in_v14():
    """Dice losses of two classes .2 and –, .4 and .9, .6 and –."""
    counts = [[(4, 1, 1), (0, 0, 0)], [(3, 2, 2), (1, 9, 9)], [(2, 3, 3), (0, 0, 0)]]
    samples = []
    for sample in counts:
        masks = [counted_masks(*each) for each in sample]
        full = [[np.pad(side, (0, 19 - len(side))) for side in pair] for pair in masks]
        samples.append([np.stack(side) for side in zip(*full, strict=True)])
    result = lossbench.evaluate(*zip(*samples, strict=True), "dice", task="multilabel")
    check_close(np.transpose(result.values["dice"].classes),
                [[0.2, math.nan], [0.4, 0.9], [0.6, math.nan]], 1e-12)  # fmt: skip
    assert result.aggregates["dice"]["mean"] == pytest.approx(0.483333, abs=6e-7)
    means = [table["mean"] for table in result.class_aggregates["dice"].values()]
    assert np.mean(means) == pytest.approx(0.65)  # what nnU-Net and mmseg report


V8 = [2.0, 0.1, -2.0], [0, 0, 1]


@pytest.mark.parametrize(
    ("loss", "wanted"),
    [
        ("binary_focal(alpha=none)", 1.168438),
        ("binary_focal", 0.601316),
        ("binary_focal(alpha=0.75)", 0.567123),
    ],
)
def test_focal_loss_of_v8(loss, wanted):
    logits, target = ([np.array(side)] for side in V8)
    how = {"task": "binary", "pred_encoding": "logits", "gt_encoding": "mask"}
    result = lossbench.evaluate(logits, target, loss, **how)
    assert result.values[loss].samples[0] == pytest.approx(wanted, abs=6e-7)
