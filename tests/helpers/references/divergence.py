"""References of lossbench/losses/divergence.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.special import entr, rel_entr
from torch.nn import functional

from helpers.references.binary import logarithms
from helpers.references.common import (
    TWO,
    Row,
    by_pixel,
    log_probabilities,
    per_element,
    pixel_rows,
    shared_rows,
)
from helpers.references.regression import torch_l2

# Of probabilities p and targets y with their logarithms, what one outcome contributes.
Outcome = Callable[..., np.ndarray]


def brier(p: Any, y: Any, log_p: Any, log_y: Any) -> np.ndarray:
    return (p - y) ** 2


def entropy(p: Any, y: Any, log_p: Any, log_y: Any) -> np.ndarray:
    return entr(y)


def kl(p: Any, y: Any, log_p: Any, log_y: Any) -> np.ndarray:
    """torch's kl_div, element by element."""
    return functional.kl_div(torch.tensor(log_p), torch.tensor(y), reduction="none").numpy()


def jeffreys(p: Any, y: Any, log_p: Any, log_y: Any) -> np.ndarray:
    return (y - p) * (log_y - log_p)


def js(p: Any, y: Any, log_p: Any, log_y: Any) -> np.ndarray:
    """scipy's jensenshannon², element by element."""
    return (rel_entr(y, (p + y) / 2) + rel_entr(p, (p + y) / 2)) / 2


def alpha_kl(p: Any, y: Any, log_p: Any, log_y: Any, alpha: float = 0.5) -> np.ndarray:
    return rel_entr(y, alpha * p + (1 - alpha) * y)


def alpha_js(p: Any, y: Any, log_p: Any, log_y: Any, alpha: float = 0.5) -> np.ndarray:
    return (rel_entr(y, alpha * p + (1 - alpha) * y) + rel_entr(p, alpha * y + (1 - alpha) * p)) / 2


def of_classes(outcome: Outcome) -> Callable[..., np.ndarray]:
    """Shares (N, K) of a multiclass task."""

    def shares(pred: np.ndarray, target: np.ndarray, logits: Any) -> np.ndarray:
        p = pred if logits is None else np.exp(log_probabilities(pred, logits))
        return outcome(p, target, log_probabilities(pred, logits), log_probabilities(target, None))

    return shares


def of_labels(outcome: Outcome) -> Callable[..., torch.Tensor]:
    """Yes and no of a label that excludes no other."""

    def loss(pred: Any, target: Any, logits: Any, reduction: str) -> torch.Tensor:
        log_p, log_y = logarithms(pred, logits), logarithms(target, None)
        p = pred if logits is None else logits.sigmoid()
        yes = outcome(*(x.numpy() for x in (p, target, log_p[0], log_y[0])))
        no = outcome(*(x.numpy() for x in (1 - p, 1 - target, log_p[1], log_y[1])))
        value = torch.tensor(yes + no)
        return value.mean() if reduction == "mean" else value.sum()

    return loss


def rows(outcome: Outcome, source: str) -> list[Row]:
    return [*pixel_rows(of_labels(outcome), TWO), *shared_rows(of_classes(outcome), source, False)]


def alpha_rows(outcome: Outcome, source: str) -> list[Row]:
    skewed = partial(outcome, alpha=0.3)
    return [
        *rows(outcome, source),
        Row(TWO, "alpha=0.3", per_element(of_labels(skewed)), source),
        Row(("multiclass",), "alpha=0.3", by_pixel(of_classes(skewed)), source),
    ]


REFERENCES: dict[str, list[Row]] = {
    "brier": [
        *pixel_rows(torch_l2, TWO),  # of a yes or no only one side is counted
        *shared_rows(of_classes(brier), "numpy", binary=False),
    ],
    "entropy": rows(entropy, "scipy's entr"),
    "kl": rows(kl, "torch's kl_div"),
    "jeffreys": rows(jeffreys, "numpy"),
    "js": rows(js, "scipy's rel_entr"),
    "alpha_kl": alpha_rows(alpha_kl, "scipy's rel_entr"),
    "alpha_js": alpha_rows(alpha_js, "scipy's rel_entr"),
}
