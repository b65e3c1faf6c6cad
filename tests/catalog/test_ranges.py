"""The range of a column is that of the values that come out, whatever the options."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from helpers.option_values import ENTRIES, LOGITS, option_sets, typed
from helpers.random_samples import drawn

from lossbench import evaluate
from lossbench.catalog.columns import resolve
from lossbench.catalog.ranges import Range, value_range

INF = math.inf
ROUNDING = 1e-9


def range_of(expression: str, *, of_class: bool = False) -> Range:
    (column,) = resolve([expression], {})
    return value_range(column, of_class=of_class)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("dice", (0, 1)),
        ("mcc", (-1, 1)),
        ("brier", (0, 2)),
        ("balanced_bce", (0, INF)),
        ("psnr", (-INF, INF)),
        ("psnr(cap=40)", (-INF, 40)),
        ("psnr(cap=40, empty=50)", (-INF, 50)),
        ("dice(log=true)", (0, INF)),
        ("dice(negative=true)", (-1, 0)),
        ("dice(smooth=1)", (0, 1)),
        ("dice(smooth_nr=1)", (-INF, 1)),
        ("dice(smooth=1, smooth_dr=2)", (0, 1)),
        ("brier(reduction=sum)", (0, INF)),
        ("brier(over=all)", (-INF, INF)),
        ("dice(class_reduction=sum)", (0, INF)),
        ("mcc_loss(exponent=2)", (0, 4)),
        ("dice(exponent=0)", (0, 1)),
        ("iou(empty=5)", (0, 5)),
        ("iou(empty=-1, exponent=2)", (-1, 1)),
        ("iou(absent=3)", (0, 3)),
        ("tversky(squared=true, alpha=0.3)", (-INF, INF)),
        ("power_jaccard(power=3)", (-INF, INF)),
        ("1 - dice", (0, 1)),
        ("-dice", (-1, 0)),
        ("0.5*dice + 0.5*iou", (0, 1)),
        ("dice - iou", (-1, 1)),
        ("0.5*dice + 0.5*bce", (0, INF)),
        ("-2*mcc", (-2, 2)),
        ("mcc*mcc", (-1, 1)),
        ("0*bce", (0, 0)),
        ("iou/dice", (-INF, INF)),
        ("iou/(1 + dice)", (0, 1)),
        ("bce - cross_entropy", (-INF, INF)),
        ("ssim_loss", (0, 2)),
    ],
)
def test_options_and_arithmetic_move_the_ends(expression: str, expected: Range) -> None:
    assert range_of(expression) == expected


def test_class_columns_are_neither_summed_nor_raised_to_a_power() -> None:
    assert range_of("dice(class_reduction=sum)", of_class=True) == (0, 1)
    assert range_of("mcc_loss(exponent=2)", of_class=True) == (0, 2)


@pytest.mark.parametrize(
    "kind",
    [
        "binary bytes mask",
        "binary doubles soft weight",
        "binary logits soft",
        "multiclass labels labels",
        "multiclass bytes labels valid",
        "multilabel singles soft valid",
        "image bytes bytes weight",
    ],
)
def test_no_value_of_a_random_sample_lies_outside(kind: str) -> None:
    data = drawn(kind)
    has_logits = data.settings.get("pred_encoding") == "logits"
    losses = [
        typed(name, options)
        for name, entry in ENTRIES.items()
        if data.task in entry.tasks and not entry.roles and name != "ms_ssim"
        if has_logits or name not in LOGITS
        for options in option_sets(name, data.task)
    ]
    result = evaluate(data.pred, data.target, losses, **data.settings)
    assert len(result.ids) >= 7
    for column in result.columns:
        values = result.values[column.name]
        _check(values.column, values.pooled, value_range(column), column.name)
        if values.class_columns is not None:
            ends = value_range(column, of_class=True)
            _check(values.class_columns, values.pooled_classes, ends, column.name)


def _check(values: Any, pooled: Any, ends: Range, name: str) -> None:
    numbers = np.append(values, pooled)
    defined = numbers[~np.isnan(numbers)]
    low, high = ends
    assert (defined >= low - ROUNDING).all(), name
    assert (defined <= high + ROUNDING).all(), name
