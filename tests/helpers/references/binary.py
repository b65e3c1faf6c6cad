"""References of lossbench/losses/binary.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from helpers.references.common import (
    CLASS_WEIGHTS,
    TWO,
    Reference,
    Row,
    Truth,
    class_rows,
    each_class,
    per_element,
    pixel_rows,
)


def torch_bce(
    pred: Any, target: Any, logits: Any, reduction: str, pos_weight: float = 1.0, eps: float = 0.0
) -> torch.Tensor:
    """torch's loss with logits where there are logits, else its loss of probabilities."""
    target = (1 - eps) * target + eps / 2
    if logits is not None:
        weight = torch.tensor(pos_weight, dtype=torch.float64)
        return functional.binary_cross_entropy_with_logits(
            logits, target, pos_weight=weight, reduction=reduction
        )
    yes, no = (
        functional.binary_cross_entropy(pred, torch.full_like(pred, side), reduction="none")
        for side in (1.0, 0.0)
    )
    mixed = pos_weight * target * yes + (1 - target) * no
    return mixed.mean() if reduction == "mean" else mixed.sum()


def clamped(x: torch.Tensor) -> torch.Tensor:
    """The logarithm as torch's BCELoss clamps it."""
    return x.log().clamp(min=-100)


def logarithms(pred: Any, logits: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """log p and log(1 − p)."""
    if logits is not None:
        return functional.logsigmoid(logits), functional.logsigmoid(-logits)
    return clamped(pred), clamped(1 - pred)


def reduced(value: torch.Tensor, reduction: str) -> torch.Tensor:
    return value.mean() if reduction == "mean" else value.sum()


def smoothed_toward(prior: float) -> Callable[..., torch.Tensor]:
    """bce of a target that is moved by 0.3 toward a prior."""

    def loss(pred: Any, target: Any, logits: Any, reduction: str) -> torch.Tensor:
        return torch_bce(pred, 0.7 * target + 0.3 * prior, logits, reduction)

    return loss


def of_each_label(functions: list[Callable[..., torch.Tensor]]) -> Reference:
    """One function for each label, then the mean over all elements."""

    def reference(truth: Truth) -> tuple[float, Any]:
        parts = []
        for c, function in enumerate(functions):
            sides = [torch.tensor(truth.channel(c, of)) for of in ("pred", "target")]
            logits = None if truth.logits is None else torch.tensor(truth.channel(c, "logits"))
            parts.append(function(*sides, logits, reduction="sum").item())
        sizes = truth.counts.sum(1)
        if not sizes.sum():
            return math.nan, [math.nan] * len(parts)
        with np.errstate(invalid="ignore"):
            return sum(parts) / sizes.sum(), np.array(parts) / sizes

    return reference


def focal(
    pred: Any,
    target: Any,
    logits: Any,
    reduction: str,
    alpha: float | None = 0.25,
    gamma: float = 2,
) -> torch.Tensor:
    """Lin et al. 2017, written with torch's cross-entropy of either side."""
    yes, no = logarithms(pred, logits)
    p = pred if logits is None else logits.sigmoid()
    sides = ((1 - p) ** gamma * target * yes, p**gamma * (1 - target) * no)
    weights = (1, 1) if alpha is None else (alpha, 1 - alpha)
    return reduced(-sum(w * side for w, side in zip(weights, sides, strict=True)), reduction)


def asymmetric(
    pred: Any, target: Any, logits: Any, reduction: str, delta: float = 0.6, gamma: float = 0.5
) -> torch.Tensor:
    """Yeung et al. 2022, the modified asymmetric focal loss."""
    yes, no = logarithms(pred, logits)
    p = pred if logits is None else logits.sigmoid()
    return reduced(-(delta * target * yes + (1 - delta) * p**gamma * (1 - target) * no), reduction)


def soft_margin(pred: Any, target: Any, logits: Any, reduction: str) -> torch.Tensor:
    """torch's SoftMarginLoss, which overflows far out, with its logarithm taken safely."""
    margin = -(2 * target - 1) * logits
    return reduced(torch.logaddexp(torch.zeros_like(margin), margin), reduction)


def hinge(pred: Any, target: Any, logits: Any, reduction: str) -> torch.Tensor:
    return reduced(functional.relu(1 - (2 * target - 1) * logits), reduction)


def balanced(truth: Truth, c: int) -> float:
    """HED: β from the label's own valid pixels, torch's BCELoss with a weight for each pixel."""
    pred, target = torch.tensor(truth.channel(c)), torch.tensor(truth.channel(c, "target"))
    if not len(target) or target.sum() in (0, len(target)):
        return math.nan
    logits = None if truth.logits is None else torch.tensor(truth.channel(c, "logits"))
    beta = 1 - target.mean()
    yes, no = logarithms(pred, logits)
    return float(-(beta * target * yes + (1 - beta) * (1 - target) * no).mean())


WEIGHTED = partial(torch_bce, pos_weight=3.0)
EACH = [partial(torch_bce, pos_weight=w) for w in CLASS_WEIGHTS]
PRIORS = [smoothed_toward(u) for u in (0.2, 0.5, 0.3)]


def bce_rows() -> list[Row]:
    return [
        *pixel_rows(torch_bce, TWO),
        Row(TWO, "pos_weight=3", per_element(WEIGHTED), "torch"),
        Row(("multilabel",), f"pos_weight={CLASS_WEIGHTS.tolist()}", of_each_label(EACH), "torch"),
        Row(TWO, "label_smoothing=0.1", per_element(partial(torch_bce, eps=0.1)), "torch"),
        Row(("binary",), "label_smoothing=0.3, prior=[0.2]", per_element(PRIORS[0]), "torch"),
        Row(("multilabel",), "label_smoothing=0.3, prior=[0.2, 0.5, 0.3]", of_each_label(PRIORS),
            "torch"),
        Row(TWO, "pos_weight=3, label_smoothing=0.1, reduction=sum",
            per_element(partial(torch_bce, pos_weight=3.0, eps=0.1), "sum"), "torch"),
    ]  # fmt: skip


ALPHAS = [partial(focal, alpha=a) for a in (0.3, 0.8, 0.5)]


REFERENCES: dict[str, list[Row]] = {
    "bce": bce_rows(),
    "bce_with_logits": bce_rows(),
    "balanced_bce": [
        Row(TWO, "", each_class(balanced), "HED by hand"),
        *class_rows(balanced),
    ],
    "binary_focal": [
        *pixel_rows(focal, TWO),
        Row(TWO, "alpha=0.75", per_element(partial(focal, alpha=0.75)), "Lin et al. by hand"),
        Row(TWO, "alpha=none", per_element(partial(focal, alpha=None)), "Lin et al. by hand"),
        Row(TWO, "gamma=0.4", per_element(partial(focal, gamma=0.4)), "Lin et al. by hand"),
        Row(TWO, "alpha=none, gamma=0", per_element(torch_bce), "torch"),
        Row(("multilabel",), "alpha=[0.3, 0.8, 0.5]", of_each_label(ALPHAS), "by hand"),
    ],
    "asymmetric_focal": [
        *pixel_rows(asymmetric, TWO),
        Row(TWO, "delta=0.7", per_element(partial(asymmetric, delta=0.7)), "Yeung by hand"),
        Row(TWO, "gamma=2", per_element(partial(asymmetric, gamma=2)), "Yeung by hand"),
    ],
    "soft_margin": pixel_rows(soft_margin, TWO),
    "hinge": pixel_rows(hinge, TWO),
}  # fmt: skip
