"""Losses that treat each pixel, and each label of a multilabel task, as a binary decision.

Args:
    pos_weight: w⁺, a factor on the positive part: a number, one per label, auto for #neg/#pos over
        the data set, or role for the maps of `--input pos_weight=DIR`; the mean still divides by
        the number of elements.
    label_smoothing: ε in [0, 1]; y becomes (1−ε)·y + ε·u.
    prior: u of each label; ½ by default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from lossbench.interface.annotations import (
    Array,
    Logits,
    LogPair,
    NonNegative,
    PerClass,
    PerPixel,
    PositiveWeight,
    Probability,
    Share,
    Weight,
)
from lossbench.interface.stable_math import (
    by_class,
    exponential,
    log_sigmoid,
    ones_like,
    power,
    ratio,
    total,
    where,
)
from lossbench.losses import loss

# Facts of every loss of this module that does not state others.
SHARED_FACTS = {"tasks": ["binary", "multilabel"]}


def smoothed(target: Array, label_smoothing: float, prior: Sequence[float] | None) -> Array:
    """Smoothed target (1 − ε)·y + ε·u, where u is the prior of each label or ½."""
    uniform = 0.5 if prior is None else by_class(prior, target)
    return target + label_smoothing * (uniform - target)


def weighted(pos_weight: float | Sequence[float] | str, maps: Array, like: Array) -> float | Array:
    """Positive weight w⁺: a number, one per label, or the maps of role `pos_weight`."""
    return maps if isinstance(pos_weight, str) else by_class(pos_weight, like)


@loss(
    use="the standard training loss of masks; also rates the calibration of probabilities",
    aliases=["log_loss", "binary_cross_entropy", "logistic_loss"],
    sources=["torch.nn.BCELoss", "torch.nn.BCEWithLogitsLoss"],
    example="bce(pos_weight=3, label_smoothing=0.1)",
)
def bce(
    pred: LogPair,
    target: Probability,
    positive: PositiveWeight,
    *,
    pos_weight: NonNegative | Sequence[NonNegative] | Literal["auto", "role"] = 1.0,
    label_smoothing: Share = 0.0,
    prior: Sequence[Share] | None = None,
) -> PerPixel:
    """Binary cross-entropy.

    mean −[w⁺·y·log p + (1−y)·log(1−p)], with logarithms clamped at −100.

    Returns:
        Cross-entropy of each element, (B, C, N), in [0, 100·max(1, w⁺)] of probabilities.

    Note:
        A hard predicted mask has probabilities 0 and 1, so each wrong pixel costs 100. With role
        `weight` the mean divides by Σw; torch's BCELoss(weight) divides by N: over=all.
    """
    soft = smoothed(target, label_smoothing, prior)
    factor = weighted(pos_weight, positive, target)
    return PerPixel(-(factor * soft * pred.yes + (1 - soft) * pred.no))


@loss(
    use="training outputs before the sigmoid, where probabilities would be a mistake",
    sources=["torch.nn.BCEWithLogitsLoss"],
    example="bce_with_logits(pos_weight=auto)",
)
def bce_with_logits(
    pred: Logits,
    target: Probability,
    positive: PositiveWeight,
    *,
    pos_weight: NonNegative | Sequence[NonNegative] | Literal["auto", "role"] = 1.0,
    label_smoothing: Share = 0.0,
    prior: Sequence[Share] | None = None,
) -> PerPixel:
    """Binary cross-entropy of logits; probabilities are rejected.

    mean max(x, 0) − x·y + log(1 + e^(−|x|)), with the positive part multiplied by w⁺.

    Args:

    Returns:
        Cross-entropy of each element, (B, C, N), 0 or more.

    Note:
        `bce` gives the same value for logits and also accepts probabilities.
    """
    soft = smoothed(target, label_smoothing, prior)
    factor = weighted(pos_weight, positive, target)
    positive_loss, negative_loss = -log_sigmoid(pred), -log_sigmoid(-pred)
    return PerPixel(factor * soft * positive_loss + (1 - soft) * negative_loss)


@loss(
    use="thin structures such as edges, whose proportion varies between images",
    sources=["Xie & Tu 2015, HED"],
    example="balanced_bce(empty=0)",
)
def balanced_bce(pred: LogPair, target: Probability, weight: Weight) -> PerClass:
    """Binary cross-entropy with the classes balanced within each sample.

    mean −[β·y·log p + (1−β)·(1−y)·log(1−p)], with β = 1 − mean y of the sample.

    Returns:
        Loss per sample and label, (B, C), in [0, 100] of probabilities and [0, ∞) of logits;
        undefined where the target is all positive or all negative, because any prediction would
        then have loss 0.

    Note:
        β is a property of the sample, so there is no pooled value.
    """
    pixels = total(ones_like(target), weight)
    positives = total(target, weight)
    numerator = (pixels - positives) * total(-target * pred.yes, weight)
    numerator = numerator + positives * total(-(1 - target) * pred.no, weight)
    both_classes = (positives > 0) & (positives < pixels)
    return where(both_classes, ratio(numerator, pixels**2), math.nan)


@loss(
    use="masks with few positives among many easy negatives",
    sources=["Lin et al. 2017", "torchvision.ops.sigmoid_focal_loss"],
    example="binary_focal(alpha=none, gamma=1.5)",
)
def binary_focal(
    pred: LogPair,
    target: Probability,
    *,
    alpha: Share | Sequence[Share] | Literal["auto"] | None = 0.25,
    gamma: NonNegative = 2.0,
) -> PerPixel:
    """Binary focal loss: cross-entropy that down-weights easy pixels.

    mean −[α·(1−p)^γ·y·log p + (1−α)·p^γ·(1−y)·log(1−p)].

    Args:
        alpha: α, the weight of positives; negatives get 1−α: a number, one per label, auto for
            #neg/N over the data set, or none for no weights.
        gamma: γ ≥ 0, how strongly easy pixels are down-weighted.

    Returns:
        Loss of each element, (B, C, N), in [0, 100] of probabilities and [0, ∞) of logits.

    Note:
        alpha=none with gamma=0 is `bce`.
    """
    yes = power(exponential(pred.no), gamma) * target * pred.yes
    no = power(exponential(pred.yes), gamma) * (1 - target) * pred.no
    if alpha is None or isinstance(alpha, str):
        return PerPixel(-(yes + no))
    positive_weight = by_class(alpha, target)
    return PerPixel(-(positive_weight * yes + (1 - positive_weight) * no))


@loss(
    use="margin-based classifiers, each pixel on its own",
    sources=["torch.nn.SoftMarginLoss"],
    example="soft_margin(reduction=sum)",
)
def soft_margin(pred: Logits, target: Probability) -> PerPixel:
    """Soft margin loss of logits.

    mean log(1 + e^(−ỹ·x)), with ỹ = 2y − 1 in {−1, 1}.

    Returns:
        Loss of each element, (B, C, N), 0 or more.

    Note:
        For hard targets this equals `bce_with_logits`.
    """
    return PerPixel(-log_sigmoid((2 * target - 1) * pred))


@loss(
    use="margin-based classifiers, with no reward beyond the margin",
    sources=["Cortes & Vapnik 1995", "sklearn.metrics.hinge_loss"],
    example="hinge(reduction=sum)",
)
def hinge(pred: Logits, target: Probability) -> PerPixel:
    """Hinge loss of logits: zero beyond a margin of 1.

    mean max(0, 1 − ỹ·x), with ỹ = 2y − 1 in {−1, 1}.

    Returns:
        Loss of each element, (B, C, N), 0 or more.
    """
    return PerPixel((1 - (2 * target - 1) * pred).clip(min=0))


@loss(
    use="rare foregrounds, as one part of unified_focal",
    sources=["Yeung et al. 2022"],
    example="asymmetric_focal(delta=0.7)",
)
def asymmetric_focal(
    pred: LogPair, target: Probability, *, delta: Share = 0.6, gamma: NonNegative = 0.5
) -> PerPixel:
    """Focal loss that down-weights easy background only; a part of `unified_focal`.

    mean −[δ·y·log p + (1−δ)·p^γ·(1−y)·log(1−p)].

    Args:
        delta: δ, the weight of positives; negatives get 1−δ.
        gamma: γ ≥ 0, how strongly easy background is down-weighted.

    Returns:
        Loss of each element, (B, C, N), in [0, 100] of probabilities and [0, ∞) of logits.
    """
    no = power(exponential(pred.yes), gamma) * (1 - target) * pred.no
    return PerPixel(-(delta * target * pred.yes + (1 - delta) * no))
