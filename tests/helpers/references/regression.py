"""References of lossbench/losses/regression.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio
from torch.nn import functional

from helpers.references.common import (
    CLASS_WEIGHTS,
    SEVERAL,
    TASKS,
    WEIGHTS_TYPED,
    Reference,
    Row,
    Truth,
    filled,
    per_element,
    pixel_rows,
)


def torch_l1(pred: Any, target: Any, logits: Any, reduction: str) -> torch.Tensor:
    return functional.l1_loss(pred, target, reduction=reduction)


def torch_l2(pred: Any, target: Any, logits: Any, reduction: str) -> torch.Tensor:
    return functional.mse_loss(pred, target, reduction=reduction)


def elementwise(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A formula of d as a loss that reduces."""

    def reduced(pred: Any, target: Any, logits: Any, reduction: str) -> torch.Tensor:
        value = function(pred - target)
        return value.mean() if reduction == "mean" else value.sum()

    return reduced


def by_torch(loss: Callable[..., torch.Tensor], **options: Any) -> Callable[..., torch.Tensor]:
    def reduced(pred: Any, target: Any, logits: Any, reduction: str) -> torch.Tensor:
        return loss(pred, target, reduction=reduction, **options)

    return reduced


def of_all(one: Callable[[np.ndarray, np.ndarray], float]) -> Reference:
    """A number of all elements of a sample, and of those of each channel."""

    def value(pred: np.ndarray, target: np.ndarray) -> float:
        return one(pred, target) if len(target) else math.nan

    def reference(truth: Truth) -> tuple[float, Any]:
        channels = range(len(truth.target))
        classes = [value(truth.channel(c), truth.channel(c, "target")) for c in channels]
        return value(truth.all(), truth.all("target")), classes

    return reference


def whole_only(reference: Reference) -> Reference:
    return lambda truth: (reference(truth)[0], None)


def over_all(function: Callable[[float], float]) -> Reference:
    """A function of Σd² over all elements, ignored ones included."""

    def reference(truth: Truth) -> tuple[float, Any]:
        pred, target = truth.all(), truth.all("target")
        if not len(target):
            return math.nan, None
        return function(float(((pred - target) ** 2).sum()) / truth.target.size), None

    return reference


def weighted(function: Callable[[float], float]) -> Reference:
    """A function of Σ_c w_c·Σd² / Σ_c w_c·N_c."""

    def reference(truth: Truth) -> tuple[float, Any]:
        pairs = [(truth.channel(c), truth.channel(c, "target")) for c in range(len(truth.target))]
        top = sum(w * ((p - t) ** 2).sum() for w, (p, t) in zip(CLASS_WEIGHTS, pairs, strict=True))
        bottom = (CLASS_WEIGHTS * truth.counts.sum(1)).sum()
        return (function(top / bottom) if bottom else math.nan), None

    return reference


def root_of_sklearn(pred: np.ndarray, target: np.ndarray, squares: bool = False) -> float:
    return float(
        np.sqrt(((pred - target) ** 2).sum() if squares else np.mean((pred - target) ** 2))
    )


def psnr_of_skimage(pred: np.ndarray, target: np.ndarray, data_range: float = 1.0) -> float:
    with np.errstate(divide="ignore"):
        return float(peak_signal_noise_ratio(target, pred, data_range=data_range))


def capped_psnr(pred: np.ndarray, target: np.ndarray) -> float:
    return min(psnr_of_skimage(pred, target), 3.0)


def decibels(mean: float) -> float:
    return -10 * math.log10(mean) if mean else math.inf


def after_mean(one: Any, function: Callable[[float], float], summed: Any) -> list[Row]:
    """The common options of what is done with a mean."""
    return [
        Row(TASKS, "", of_all(one), "of all elements"),
        Row(TASKS, "reduction=sum", of_all(summed), "numpy"),
        Row(TASKS, "over=all", over_all(function), "numpy"),
        Row(TASKS, "over=classes", of_all(one), "of all elements"),
        Row(TASKS, "empty=1", filled(of_all(one), 1.0), "of all elements"),
        Row(("binary",), "class_weights=[2]", of_all(one), "one class: no change"),
        Row(SEVERAL, WEIGHTS_TYPED, weighted(function), "numpy"),
    ]


def psnr_of_sum(pred: np.ndarray, target: np.ndarray) -> float:
    return decibels(float(((pred - target) ** 2).sum()))


HUBER = by_torch(functional.huber_loss, delta=0.2)
SMOOTH = by_torch(functional.smooth_l1_loss, beta=0.2)


REFERENCES: dict[str, list[Row]] = {
    "l1": pixel_rows(torch_l1, TASKS),
    "l2": [
        *pixel_rows(torch_l2, TASKS),
        Row(TASKS, "half=true", per_element(elementwise(lambda d: d**2 / 2)), "optax l2_loss"),
    ],
    "rmse": after_mean(root_of_sklearn, math.sqrt, partial(root_of_sklearn, squares=True)),
    "psnr": [
        *after_mean(psnr_of_skimage, decibels, psnr_of_sum),
        Row(TASKS, "data_range=3", of_all(partial(psnr_of_skimage, data_range=3.0)),
            "scikit-image"),
        Row(TASKS, "cap=3", of_all(capped_psnr), "scikit-image, at most 3 dB"),
    ],
    "huber": [
        *pixel_rows(by_torch(functional.huber_loss), TASKS),
        Row(TASKS, "delta=0.2", per_element(HUBER), "torch"),
    ],
    "smooth_l1": [
        *pixel_rows(by_torch(functional.smooth_l1_loss), TASKS),
        Row(TASKS, "beta=0.2", per_element(SMOOTH), "torch"),
        Row(TASKS, "beta=0", per_element(torch_l1), "torch"),
    ],
    "log_cosh": pixel_rows(elementwise(lambda d: d.cosh().log()), TASKS),
    "pseudo_huber": [
        *pixel_rows(elementwise(lambda d: (1 + d**2).sqrt() - 1), TASKS),
        Row(TASKS, "delta=0.2", per_element(elementwise(
            lambda d: 0.04 * ((1 + (d / 0.2) ** 2).sqrt() - 1))), "Hartley & Zisserman"),
        Row(TASKS, "delta=0.2, scaled=false", per_element(elementwise(
            lambda d: (1 + (d / 0.2) ** 2).sqrt() - 1)), "Hartley & Zisserman"),
    ],
    "charbonnier": [
        *pixel_rows(elementwise(lambda d: (d**2 + 1e-6).sqrt()), TASKS),
        Row(TASKS, "eps=0.1", per_element(elementwise(lambda d: (d**2 + 0.01).sqrt())),
            "Lai et al. 2017"),
    ],
}  # fmt: skip
