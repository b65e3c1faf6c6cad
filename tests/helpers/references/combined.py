"""References of lossbench/losses/combined.py: sums of the references of their parts."""

from __future__ import annotations

from functools import partial

from helpers.references.binary import asymmetric, focal, torch_bce
from helpers.references.common import (
    TWO,
    Reference,
    Row,
    by_pixel,
    combined,
    each_class,
    per_element,
)
from helpers.references.divergence import jeffreys, of_classes, of_labels
from helpers.references.multiclass import torch_cross_entropy
from helpers.references.overlap import asymmetric as asymmetric_tversky
from helpers.references.overlap import overlap_by_monai

DICE = each_class(partial(overlap_by_monai, "dice"))
SMOOTH = each_class(partial(overlap_by_monai, "dice", smooth_nr=1.0, smooth_dr=1.0))
BOTH = ("binary", "multiclass")


def constant(number: float) -> Reference:
    return lambda truth: (number, [number] * len(truth.target))


def bce(eps: float = 0.0) -> Reference:
    return per_element(partial(torch_bce, eps=eps))


def unified(mix: float, delta: float, gamma: float) -> Reference:
    first = per_element(partial(asymmetric, delta=delta, gamma=gamma))
    second = each_class(partial(asymmetric_tversky, delta=delta, gamma=gamma))
    return combined([(mix, first), (1 - mix, second)])


def combo(alpha: float, beta: float, dice: Reference) -> Reference:
    cross_entropy = per_element(partial(focal, alpha=beta, gamma=0))
    return combined([(alpha, cross_entropy), (alpha - 1, constant(1.0)), (1 - alpha, dice)])


REFERENCES: dict[str, list[Row]] = {
    "dice_ce": [
        Row(BOTH, "", combined([(0.5, DICE), (0.5, torch_cross_entropy())]), "MONAI and torch"),
        Row(BOTH, "mix=none", combined([(1.0, DICE), (1.0, torch_cross_entropy())]), "likewise"),
        Row(BOTH, "mix=0.3, smooth=1, label_smoothing=0.1",
            combined([(0.3, SMOOTH), (0.7, torch_cross_entropy(eps=0.1))]), "MONAI and torch"),
    ],
    "dice_bce": [
        Row(TWO, "", combined([(0.5, DICE), (0.5, bce())]), "MONAI and torch"),
        Row(TWO, "mix=none", combined([(1.0, DICE), (1.0, bce())]), "MONAI and torch"),
        Row(TWO, "mix=0.3, smooth=1, label_smoothing=0.1",
            combined([(0.3, SMOOTH), (0.7, bce(0.1))]), "MONAI and torch"),
    ],
    "combo": [
        Row(TWO, "", combo(0.5, 0.5, DICE), "Taghanaki et al., torch and MONAI"),
        Row(TWO, "alpha=0.7, beta=0.4, smooth=1", combo(0.7, 0.4, SMOOTH), "likewise"),
    ],
    "unified_focal": [
        Row(TWO, "", unified(0.5, 0.6, 0.5), "Yeung et al. by hand"),
        Row(TWO, "mix=0.3, delta=0.7, gamma=0.25", unified(0.3, 0.7, 0.25), "by hand"),
    ],
    "symmetric_kl": [
        Row(TWO, "", combined([(0.5, per_element(of_labels(jeffreys)))]), "half of Jeffreys"),
        Row(("multiclass",), "", combined([(0.5, by_pixel(of_classes(jeffreys)))]),
            "half of Jeffreys"),
    ],
}  # fmt: skip
