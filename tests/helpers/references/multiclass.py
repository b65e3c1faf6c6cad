"""References of lossbench/losses/multiclass.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.special import log_expit
from torch.nn import functional

from helpers.references.binary import torch_bce
from helpers.references.common import (
    CLASS_WEIGHTS,
    WEIGHTS_TYPED,
    Reference,
    Row,
    Truth,
    by_pixel,
    filled,
    log_probabilities,
    pixel_rows,
    shared_rows,
    two_sided,
)


def torch_cross_entropy(
    weights: np.ndarray | None = None, eps: float = 0.0, reduction: str = "mean", over: str = ""
) -> Reference:
    """torch's cross-entropy where it has one for the input, else its documented formula."""

    def reference(truth: Truth) -> tuple[float, Any]:
        target, pred = truth.rows("target"), truth.rows("pred")
        logits = None if truth.logits is None else truth.rows("logits")
        if truth.task == "binary":
            target, pred = (torch.cat([1 - x, x], 1) for x in (target, pred))
            if logits is not None:  # sigmoid(x) is the softmax of 0 and x
                logits = torch.cat([torch.zeros_like(logits), logits], 1)
        count = target.shape[1]
        if not len(target):
            return math.nan, [math.nan] * count
        each = torch.tensor(np.ones(count) if weights is None else weights)
        top, bottom = entropy_sums(pred, logits, target, each, eps)
        if over == "all":
            return top / truth.target.shape[1], None
        value = top if reduction == "sum" else top / bottom
        if not truth.hard:
            return value, None
        classes = []
        for c in range(count):  # "the mean over the pixels whose target is that class"
            sides = [side[target[:, c] == 1] for side in (pred, target)]
            part = logits if logits is None else logits[target[:, c] == 1]
            top, bottom = entropy_sums(sides[0], part, sides[1], torch.ones_like(each), eps)
            classes.append(math.nan if not bottom else top if reduction == "sum" else top / bottom)
        return value, classes

    return reference


def entropy_sums(pred: Any, logits: Any, target: Any, weights: Any, eps: float) -> Any:
    """Σ_x Σ_c w_c·ỹ_c·(−log p_c) and Σ_x Σ_c w_c·y_c."""
    bottom = float((weights * target).sum())
    smoothed = (1 - eps) * target + eps / target.shape[1]
    if logits is not None and bool(((target == 0) | (target == 1)).all()):
        labels = target.argmax(1)
        top = functional.cross_entropy(
            logits, labels, weight=weights, label_smoothing=eps, reduction="sum"
        )
    elif logits is not None:
        top = functional.cross_entropy(logits, smoothed, weight=weights, reduction="sum")
    else:  # torch has no cross-entropy of probabilities; BCELoss's clamp
        top = -(weights * smoothed * pred.log().clamp(min=-100)).sum()
    return float(top), bottom


def toward(prior: list[float]) -> Callable[..., np.ndarray]:
    """Cross-entropy with a target that is moved by 0.3 toward a prior."""

    def shares(pred: np.ndarray, target: np.ndarray, logits: Any) -> np.ndarray:
        return -(0.7 * target + 0.3 * np.array(prior)) * log_probabilities(pred, logits)

    return shares


def negative_log(pred: np.ndarray, target: np.ndarray, logits: Any) -> np.ndarray:
    return -target * log_probabilities(pred, logits)


def focal(
    pred: np.ndarray, target: np.ndarray, logits: Any, alpha: Any = 1.0, gamma: Any = 2.0
) -> np.ndarray:
    """Lin et al. 2017 with a softmax."""
    log = log_probabilities(pred, logits)
    return -np.asarray(alpha) * (1 - np.exp(log)) ** np.asarray(gamma) * target * log


def focal_of_each(
    pred: np.ndarray, target: np.ndarray, logits: Any, alpha: float | None = None
) -> np.ndarray:
    """Lin et al. 2017 for every class by itself, with a sigmoid."""
    if logits is None or target.shape[1] == 2:  # of two classes each is the other's rest
        yes, no = log_probabilities(pred, logits), log_probabilities(1 - pred, logits)
        if logits is not None:
            no = yes[:, ::-1]
    else:
        yes, no = log_expit(logits), log_expit(-logits)
    weights = (1, 1) if alpha is None else (alpha, 1 - alpha)
    easy = (1 - np.exp(yes)) ** 2 * target * yes, (1 - np.exp(no)) ** 2 * (1 - target) * no
    return -(weights[0] * easy[0] + weights[1] * easy[1])


def nll(pred: np.ndarray, target: np.ndarray, logits: Any) -> np.ndarray:
    """torch's NLLLoss before it is reduced: minus the stored number of the target's class."""
    return -target * (pred if logits is None else logits)


def perceptron(pred: np.ndarray, target: np.ndarray, logits: np.ndarray) -> np.ndarray:
    return target * (logits.max(1, keepdims=True) - logits)


def poly1(pred: np.ndarray, target: np.ndarray, logits: Any, epsilon: float = 1.0) -> np.ndarray:
    """Leng et al. 2022: cross-entropy and ε·(1 − p)."""
    log = log_probabilities(pred, logits)
    return target * (-log + epsilon * (1 - np.exp(log)))


def entropies(truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """The cross-entropy of each pixel and the probability of its right class."""
    pred, target, logits = two_sided(truth)
    log = log_probabilities(pred, logits)
    return -(target * log).sum(1), (target * np.exp(log)).sum(1)


def ohem(truth: Truth, threshold: float = 0.7, kept: int = 1) -> tuple[float, Any]:
    """Pixels below the threshold, or the hardest where these are too few, from a sorted list."""
    losses, right = entropies(truth)
    if not len(losses):
        return math.nan, None
    hard = losses[right < threshold]
    least = losses[np.argsort(right, kind="stable")[:kept]]
    return float((hard if len(hard) >= kept else least).mean()), None


def bootstrapped(truth: Truth, fraction: float = 0.25) -> tuple[float, Any]:
    losses = np.sort(entropies(truth)[0])[::-1]
    return (
        float(losses[: math.ceil(fraction * len(losses))].mean()) if len(losses) else math.nan
    ), None


BOTH = ("binary", "multiclass")
HAND = "Lin et al. by hand"


def one_value(reference: Reference, source: str) -> list[Row]:
    return [
        Row(BOTH, "", reference, source),
        Row(BOTH, "empty=1", filled(reference, 1.0), source),
    ]


REFERENCES: dict[str, list[Row]] = {
    "cross_entropy": [
        Row(("binary", "multiclass"), "", torch_cross_entropy(), "torch"),
        Row(("binary", "multiclass"), "label_smoothing=0.1", torch_cross_entropy(eps=0.1), "torch"),
        Row(("binary", "multiclass"), "reduction=sum", torch_cross_entropy(reduction="sum"),
            "torch"),
        Row(("binary", "multiclass"), "over=all", torch_cross_entropy(over="all"), "torch / H·W"),
        Row(("binary", "multiclass"), "over=classes", by_pixel(negative_log, over="classes"),
            "torch's mean over pixels and classes"),
        Row(("binary", "multiclass"), "empty=1", filled(torch_cross_entropy(), 1.0), "torch"),
        Row(("multiclass",), WEIGHTS_TYPED, torch_cross_entropy(CLASS_WEIGHTS), "torch"),
        Row(("multiclass",), f"label_smoothing=0.1, {WEIGHTS_TYPED}",
            torch_cross_entropy(CLASS_WEIGHTS, 0.1), "torch"),
        Row(("multiclass",), f"reduction=sum, {WEIGHTS_TYPED}",
            torch_cross_entropy(CLASS_WEIGHTS, reduction="sum"), "torch"),
        Row(("multiclass",), f"over=all, {WEIGHTS_TYPED}",
            torch_cross_entropy(CLASS_WEIGHTS, over="all"), "torch / H·W"),
        Row(("binary",), "class_weights=[0.5, 2]", torch_cross_entropy(np.array([0.5, 2.0])),
            "torch, of background and foreground"),
        Row(("binary",), "label_smoothing=0.3, prior=[0.8, 0.2]", by_pixel(toward([0.8, 0.2])),
            "torch's log-softmax"),
        Row(("multiclass",), "label_smoothing=0.3, prior=[0.2, 0.5, 0.3]",
            by_pixel(toward([0.2, 0.5, 0.3])), "torch's log-softmax"),
    ],
    "nll": shared_rows(nll, "torch's NLLLoss by hand", binary=False),
    "perceptron": shared_rows(perceptron, "numpy", binary=False),
    "focal": [
        *shared_rows(focal, HAND),
        Row(BOTH, "gamma=0", torch_cross_entropy(), "torch"),
        Row(BOTH, "gamma=0.4, alpha=0.3", by_pixel(partial(focal, alpha=0.3, gamma=0.4)), HAND),
        Row(("multiclass",), "gamma=[2, 0, 1], alpha=[0.3, 1.8, 0.5]",
            by_pixel(partial(focal, alpha=[0.3, 1.8, 0.5], gamma=[2, 0, 1])), HAND),
        Row(("binary",), "alpha=[0.75, 0.25]", by_pixel(partial(focal, alpha=[0.75, 0.25])), HAND),
        Row(BOTH, "one_vs_all=true", by_pixel(focal_of_each), HAND),
        Row(BOTH, "one_vs_all=true, alpha=0.25", by_pixel(partial(focal_of_each, alpha=0.25)),
            HAND),
    ],
    "multilabel_soft_margin": pixel_rows(torch_bce, ("multilabel",)),
    "poly1": [
        *shared_rows(poly1, "Leng et al. by hand"),
        Row(BOTH, "epsilon=2", by_pixel(partial(poly1, epsilon=2.0)), "Leng et al. by hand"),
    ],
    "ohem_cross_entropy": [
        *one_value(ohem, "a sorted list"),
        Row(BOTH, "threshold=0.4", partial(ohem, threshold=0.4), "a sorted list"),
        Row(BOTH, "threshold=0.1, min_kept=17", partial(ohem, threshold=0.1, kept=17),
            "a sorted list"),
    ],
    "bootstrapped_cross_entropy": [
        *one_value(bootstrapped, "a sorted list"),
        Row(BOTH, "fraction=0.6", partial(bootstrapped, fraction=0.6), "a sorted list"),
    ],
}  # fmt: skip
