"""References of lossbench/losses/overlap.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from helpers.parity import parity
from helpers.references.common import (
    CLASSED,
    TWO,
    Row,
    Truth,
    class_rows,
    each_class,
    filled,
    log_probabilities,
    two_sided,
)

DiceLoss = parity("monai.losses", "DiceLoss")
TverskyLoss = parity("monai.losses", "TverskyLoss")


@cache
def overlap_by_monai(kind: str, truth: Truth, c: int, **options: Any) -> float:
    """MONAI's loss of one class in float64: nan where it divides 0 by 0, as we define it."""
    pred, target = truth.channel(c), truth.channel(c, "target")
    threshold = options.pop("threshold", None)
    if threshold is not None:
        pred, target = (np.float64(side >= threshold) for side in (pred, target))
    options = {"smooth_nr": 0.0, "smooth_dr": 0.0, **options}
    make = {"dice": DiceLoss, "jaccard": partial(DiceLoss, jaccard=True), "tversky": TverskyLoss}
    loss = make[kind](reduction="none", **options)
    return float(loss(torch.tensor(pred)[None, None], torch.tensor(target)[None, None]))


def tversky_by_hand(truth: Truth, c: int) -> float:
    """Salehi's formula with squared areas, α = 0.3, β = 0.7, s = 1; MONAI has no such option."""
    pred, target = truth.channel(c), truth.channel(c, "target")
    hits = (pred * target).sum()
    false_alarms, misses = (pred**2).sum() - hits, (target**2).sum() - hits
    return 1 - (hits + 1) / (hits + 0.3 * false_alarms + 0.7 * misses + 1)


def overlap_rows(kind: str) -> list[Row]:
    """What dice and jaccard have in common. MONAI's Jaccard adds s to twice the overlap."""
    monai = partial(overlap_by_monai, kind)
    s = {"dice": 1.0, "jaccard": 2.0}[kind]
    smooth = {"smooth_nr": s, "smooth_dr": s}
    apart = {"smooth_nr": 2 * s, "smooth_dr": s}
    least = each_class(partial(monai, soft_label=True))  # MONAI's soft_label is Σmin(p, y)
    name = "MONAI DiceLoss" + ("(jaccard=True)" if kind == "jaccard" else "")
    return [
        Row(CLASSED, "", each_class(monai), name),
        Row(CLASSED, "smooth=1", each_class(partial(monai, **smooth)), name),
        Row(CLASSED, "smooth_nr=2, smooth_dr=1", each_class(partial(monai, **apart)), name),
        Row(CLASSED, "smooth=5, smooth_nr=2, smooth_dr=1", each_class(partial(monai, **apart)),
            name + "; each side set apart wins over smooth"),
        Row(CLASSED, "squared=true", each_class(partial(monai, squared_pred=True)), name),
        Row(CLASSED, "squared=true, smooth=1",
            each_class(partial(monai, squared_pred=True, **smooth)), name),
        Row(CLASSED, "squared=elements", each_class(partial(by_elements, kind)), "by hand"),
        Row(CLASSED, "negative=true", each_class(partial(minus, monai)), f"{name} − 1"),
        Row(CLASSED, "intersection=min", least, name + "(soft_label=True)"),
        Row(TWO, "threshold=0.4", each_class(partial(monai, threshold=0.4)),
            name + " of p >= 0.4"),
        Row(CLASSED, "log=true", each_class(partial(minus_log, monai)), f"−log(1 − {name})"),
        *class_rows(monai),
    ]  # fmt: skip


def by_elements(kind: str, truth: Truth, c: int, alpha: float = 1, beta: float = 1) -> float:
    """nnU-Net v1: hits, false alarms and misses squared pixel by pixel."""
    p, y = truth.channel(c), truth.channel(c, "target")
    tp, fp, fn = (((p * y) ** 2).sum(), ((p * (1 - y)) ** 2).sum(), (((1 - p) * y) ** 2).sum())
    if not tp + fp + fn:
        return math.nan
    if kind == "dice":
        return 1 - 2 * tp / (2 * tp + fp + fn)
    return 1 - tp / (tp + alpha * fp + beta * fn)


def minus(one: Callable[..., float], **where: Any) -> float:
    """−1 times the coefficient."""
    return one(**where) - 1


def minus_log(one: Callable[..., float], **where: Any) -> float:
    """−log of the coefficient, clamped at 100."""
    coefficient = 1 - one(**where)
    return -math.log(coefficient) if coefficient != 0 else 100.0


TVERSKY = partial(overlap_by_monai, "tversky")
UNEVEN = {"alpha": 0.3, "beta": 0.7}
SMOOTH = {"smooth_nr": 1.0, "smooth_dr": 1.0}


def masks(
    truth: Truth, c: int, squared: bool = False, least: bool = False, threshold: float | None = None
) -> tuple[float, float, float]:
    """I, P and Y of one class under the options of the soft sums, by numpy."""
    pred, target = truth.channel(c), truth.channel(c, "target")
    if threshold is not None:
        pred, target = (np.float64(side >= threshold) for side in (pred, target))
    both = np.minimum(pred, target) if least else pred * target
    power = 2 if squared else 1
    return both.sum(), (pred**power).sum(), (target**power).sum()


SUMS = [
    (CLASSED, "squared=true", {"squared": True}),
    (CLASSED, "intersection=min", {"least": True}),
    (TWO, "threshold=0.4", {"threshold": 0.4}),
]


def generalized(
    truth: Truth,
    kind: str = "square",
    smooth: tuple[float, float] = (0.0, 0.0),
    start: int = 0,
    fallback: float = 1.0,
    **how: Any,
) -> tuple[float, Any]:
    """Sudre et al. 2017; a class that the target lacks takes the largest weight of the others."""
    classes = range(start, len(truth.target))
    both, pred, target = np.array([masks(truth, c, **how) for c in classes]).T
    exponent = {"square": 2, "simple": 1, "uniform": 0}[kind]
    weights = [1 / y**exponent if y else math.nan for y in target]
    largest = np.nanmax([0.0, *weights]) or fallback
    weights = np.where(np.isnan(weights), largest, weights)
    bottom = (weights * (pred + target)).sum() + smooth[1]
    return (1 - (2 * (weights * both).sum() + smooth[0]) / bottom if bottom else math.nan), None


def focal_tversky(
    truth: Truth,
    c: int,
    alpha: Any = 0.5,
    beta: Any = 0.5,
    gamma: Any = 0.75,
    smooth: float = 0.0,
    **how: Any,
) -> float:
    """(1 − TI)^γ with numbers of the class's own."""
    a, b, g = (x[c] if isinstance(x, list) else x for x in (alpha, beta, gamma))
    both, pred, target = masks(truth, c, **how)
    bottom = both + a * (pred - both) + b * (target - both) + smooth
    return max(0.0, 1 - (both + smooth) / bottom) ** g if bottom else math.nan


def power_jaccard(truth: Truth, c: int, power: float = 2.0, smooth: float = 0.0) -> float:
    pred, target = truth.channel(c), truth.channel(c, "target")
    both = (pred * target).sum()
    bottom = (pred**power).sum() + (target**power).sum() - both + smooth
    return 1 - (both + smooth) / bottom if bottom else math.nan


def soft_counts(truth: Truth, c: int) -> tuple[float, float, float, float]:
    """TP, FP, FN and TN."""
    p, y = truth.channel(c), truth.channel(c, "target")
    return (p * y).sum(), (p * (1 - y)).sum(), ((1 - p) * y).sum(), ((1 - p) * (1 - y)).sum()


def mcc_loss(truth: Truth, c: int, smooth: float = 0.0) -> float:
    """The correlation of p and y as it is for hard masks, from soft counts."""
    tp, fp, fn, tn = (x + smooth for x in soft_counts(truth, c))
    bottom = math.prod(map(math.sqrt, (tp + fp, tp + fn, tn + fp, tn + fn)))
    return 1 - (tp * tn - fp * fn) / bottom if bottom else math.nan


def sensitivity_specificity(truth: Truth, c: int, b: float = 0.5) -> float:
    tp, fp, fn, tn = soft_counts(truth, c)
    if not tp + fn or not tn + fp:
        return math.nan
    return 1 - (b * tp / (tp + fn) + (1 - b) * tn / (tn + fp))


def brosch(truth: Truth, c: int, b: float = 0.5) -> float:
    p, y = truth.channel(c), truth.channel(c, "target")
    if not y.sum() or not (1 - y).sum():
        return math.nan
    on, off = (((y - p) ** 2 * side).sum() / side.sum() for side in (y, 1 - y))
    return b * on + (1 - b) * off


def asymmetric(truth: Truth, c: int, delta: float = 0.7, gamma: float = 0.75) -> float:
    """Yeung et al. 2022, the modified asymmetric focal Tversky loss of two classes."""
    tp, fp, fn, tn = soft_counts(truth, c)
    bottoms = (tp + delta * fn + (1 - delta) * fp, tn + delta * fp + (1 - delta) * fn)
    if not all(bottoms):
        return math.nan
    return ((1 - tn / bottoms[1]) + max(0.0, 1 - tp / bottoms[0]) ** (1 - gamma)) / 2


def lovasz(truth: Truth, c: int, everything: bool = False) -> float:
    """The Lovász extension as an integral: ∫ J({errors ≥ t}) dt, step by step."""
    y = truth.channel(c, "target")
    hinge = truth.logits is not None and truth.task != "multiclass"
    if hinge:
        errors = np.maximum(0, 1 - (2 * y - 1) * truth.channel(c, "logits"))
    else:
        errors = np.abs(y - truth.channel(c))
    if not len(y) or (not y.sum() and not hinge and not everything):
        return math.nan
    levels = np.unique(errors)
    value = 0.0
    for low, high in zip([0.0, *levels[:-1]], levels, strict=True):
        wrong = errors >= high
        union = y.sum() + (1 - y)[wrong].sum()
        value += (high - low) * (1 - (y.sum() - y[wrong].sum()) / union)
    return value


def exp_log(
    truth: Truth,
    mix: float = 0.8,
    gamma: float = 0.3,
    smooth: float = 1.0,
    weights: list[float] | None = None,
    **how: Any,
) -> tuple[float, Any]:
    """Wong et al. 2018, with class weights as they are given."""
    pred, target, logits = two_sided(truth)
    if not len(target):
        return math.nan, None
    sums = np.array([masks(truth, c, **how) for c in range(len(truth.target))])
    dice = (2 * sums[:, 0] + smooth) / (sums[:, 1] + sums[:, 2] + smooth)
    first = np.mean(np.maximum(-np.log(np.maximum(dice, math.exp(-100))), 0) ** gamma)
    log = log_probabilities(pred, logits)
    each = np.ones(target.shape[1]) if weights is None else np.array(weights)
    second = (each * target * np.maximum(-log, 0) ** gamma).sum() / len(target)
    return mix * first + (1 - mix) * second, None


def simple_rows(one: Callable[..., float], source: str) -> list[Row]:
    return [Row(CLASSED, "", each_class(one), source), *class_rows(one)]


FT = focal_tversky
SS = sensitivity_specificity
NONE = "class_weights=none"


REFERENCES: dict[str, list[Row]] = {
    "dice": overlap_rows("dice"),
    "jaccard": overlap_rows("jaccard"),
    "tversky": [
        Row(CLASSED, "", each_class(TVERSKY), "MONAI TverskyLoss"),
        Row(CLASSED, "alpha=0.3", each_class(partial(TVERSKY, alpha=0.3)), "MONAI"),
        Row(CLASSED, "alpha=0.3, beta=0.7", each_class(partial(TVERSKY, **UNEVEN)), "MONAI"),
        Row(CLASSED, "alpha=0.3, beta=0.7, smooth=1",
            each_class(partial(TVERSKY, **UNEVEN, **SMOOTH)), "MONAI"),
        Row(CLASSED, "alpha=0.3, beta=0.7, smooth_nr=2, smooth_dr=1",
            each_class(partial(TVERSKY, **UNEVEN, smooth_nr=2.0, smooth_dr=1.0)), "MONAI"),
        Row(CLASSED, "alpha=0.3, beta=0.7, smooth=1, squared=true", each_class(tversky_by_hand),
            "by hand"),
        Row(CLASSED, "alpha=0.3, beta=0.7, intersection=min",
            each_class(partial(TVERSKY, **UNEVEN, soft_label=True)), "MONAI, soft_label=True"),
        Row(TWO, "beta=2, threshold=0.4", each_class(partial(TVERSKY, beta=2.0, threshold=0.4)),
            "MONAI of p >= 0.4"),
        Row(CLASSED, "alpha=0.3, beta=0.7, squared=elements",
            each_class(partial(by_elements, "tversky", **UNEVEN)), "by hand"),
        Row(CLASSED, "negative=true", each_class(partial(minus, TVERSKY)), "MONAI − 1"),
        Row(CLASSED, "log=true", each_class(partial(minus_log, TVERSKY)), "−log(1 − MONAI)"),
        *class_rows(TVERSKY),
    ],
    "generalized_dice": [
        Row(CLASSED, "", generalized, "Sudre et al. by hand"),
        Row(CLASSED, "class_weights=simple", partial(generalized, kind="simple"), "by hand"),
        Row(CLASSED, "class_weights=uniform", partial(generalized, kind="uniform"), "by hand"),
        Row(CLASSED, "smooth=1", partial(generalized, smooth=(1.0, 1.0)), "by hand"),
        Row(CLASSED, "smooth_nr=2, smooth_dr=1", partial(generalized, smooth=(2.0, 1.0)),
            "by hand"),
        Row(CLASSED, "fallback=0", partial(generalized, fallback=0.0), "by hand"),
        Row(("multiclass",), "background=false", partial(generalized, start=1), "by hand"),
        Row(CLASSED, "empty=1", filled(generalized, 1.0), "by hand"),
        *[Row(t, typed, partial(generalized, **how), "by hand") for t, typed, how in SUMS],
    ],
    "focal_tversky": [
        *simple_rows(FT, "Abraham & Khan by hand"),
        Row(CLASSED, "alpha=0.3, beta=0.7", each_class(partial(FT, alpha=0.3, beta=0.7)),
            "by hand"),
        Row(CLASSED, "gamma=2, smooth=1", each_class(partial(FT, gamma=2.0, smooth=1.0)),
            "by hand"),
        Row(("multiclass", "multilabel"),
            "alpha=[0.3, 0, 2], beta=[1, 0.5, 0], gamma=[0.5, 1, 2]",
            each_class(partial(FT, alpha=[0.3, 0, 2], beta=[1, 0.5, 0], gamma=[0.5, 1, 2])),
            "by hand"),
        *[Row(t, typed, each_class(partial(FT, **how)), "by hand") for t, typed, how in SUMS],
    ],
    "power_jaccard": [
        *simple_rows(power_jaccard, "Duque-Arias et al. by hand"),
        Row(CLASSED, "power=1.5, smooth=1",
            each_class(partial(power_jaccard, power=1.5, smooth=1.0)),
            "by hand"),
        Row(CLASSED, "power=1", each_class(partial(overlap_by_monai, "jaccard")), "MONAI"),
    ],
    "mcc_loss": [
        *simple_rows(mcc_loss, "Matthews by hand"),
        Row(CLASSED, "smooth=1", each_class(partial(mcc_loss, smooth=1.0)), "by hand"),
    ],
    "sensitivity_specificity": [
        *simple_rows(SS, "by hand"),
        Row(CLASSED, "b=0.2", each_class(partial(SS, b=0.2)), "by hand"),
        Row(CLASSED, "form=brosch", each_class(brosch), "Brosch et al. by hand"),
        Row(CLASSED, "form=brosch, b=0.05", each_class(partial(brosch, b=0.05)), "by hand"),
    ],
    "asymmetric_focal_tversky": [
        *simple_rows(asymmetric, "Yeung et al. by hand"),
        Row(TWO, "delta=0.6, gamma=0.5", each_class(partial(asymmetric, delta=0.6, gamma=0.5)),
            "Yeung et al. by hand"),
    ],
    "lovasz": [
        *simple_rows(lovasz, "the integral"),
        Row(CLASSED, "classes=all", each_class(partial(lovasz, everything=True)), "the integral"),
    ],
    "exp_log": [
        Row(("binary", "multiclass"), NONE, exp_log, "Wong et al. by hand"),
        Row(("binary", "multiclass"), f"{NONE}, mix=0.3, gamma=0.5, smooth=2",
            partial(exp_log, mix=0.3, gamma=0.5, smooth=2.0), "Wong et al. by hand"),
        Row(("binary",), "class_weights=[0.5, 2]", partial(exp_log, weights=[0.5, 2]), "by hand"),
        Row(("multiclass",), "class_weights=[0.2, 1.0, 2.5]",
            partial(exp_log, weights=[0.2, 1.0, 2.5]), "by hand"),
        Row(("binary", "multiclass"), f"{NONE}, empty=1", filled(exp_log, 1.0), "by hand"),
        *[Row(tuple(t for t in tasks if t != "multilabel"), f"{NONE}, {typed}",
              partial(exp_log, **how), "by hand") for tasks, typed, how in SUMS],
    ],
}  # fmt: skip
