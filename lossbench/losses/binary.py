"""Losses that judge each pixel, and each label of a multilabel task, as one yes or no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from lossbench.interface.annotations import (
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
from lossbench.interface.stable_math import by_class, power, ratio, total
from lossbench.losses import loss


def smoothed(target: Tensor, label_smoothing: float, prior: Sequence[float] | None) -> Tensor:
    """(1 − ε)·y + ε·u, u the prior of each label or ½."""
    toward = 0.5 if prior is None else by_class(prior, target)
    return target + label_smoothing * (toward - target)


def weighted(
    pos_weight: float | Sequence[float] | str, maps: Tensor, like: Tensor
) -> float | Tensor:
    """w⁺: a number, one for each label, or the map of role `pos_weight`."""
    return maps if isinstance(pos_weight, str) else by_class(pos_weight, like)


@loss(
    family="binary",
    use="the usual training loss of masks, and how honest their probabilities are",
    tasks=["binary", "multilabel"],
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

    mean −[w⁺·y·log p + (1−y)·log(1−p)], with logarithms never below −100.

    Args:
        pred: log p and log(1−p), each of shape (B, C, N); overflow-free where logits are read.
        target: y in [0, 1], hard or soft, shape (B, C, N).
        positive: the maps of role `pos_weight`, shape (B, C or 1, N).
        pos_weight: w⁺, a factor on the positive part: a number, one for each label, auto for
            #neg/#pos over the data set, role for the maps of `--input pos_weight=DIR`; the mean
            still divides by the elements.
        label_smoothing: ε in [0, 1]; y becomes (1−ε)·y + ε·u.
        prior: u for each label; ½ where it is not given.

    Returns:
        The cross-entropy of each element, shape (B, C, N), in [0, 100·max(1, w⁺)].

    Note:
        A hard mask as prediction is a probability of 0 or 1: each wrong pixel costs 100. With a
        role `weight` the mean divides by Σw, where torch's BCELoss(weight) divides by N, over=all.
    """
    soft = smoothed(target, label_smoothing, prior)
    factor = weighted(pos_weight, positive, target)
    return PerPixel(-(factor * soft * pred.yes + (1 - soft) * pred.no))


@loss(
    family="binary",
    use="training outputs before the sigmoid, where a probability would be a mistake",
    tasks=["binary", "multilabel"],
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
    """Binary cross-entropy of logits, probabilities being refused.

    mean max(x, 0) − x·y + log(1 + e^(−|x|)), the positive part times w⁺.

    Args:
        pred: logits x, shape (B, C, N).
        target: y in [0, 1], hard or soft, shape (B, C, N).
        positive: the maps of role `pos_weight`, shape (B, C or 1, N).
        pos_weight: w⁺, a factor on the positive part: a number, one for each label, auto for
            #neg/#pos over the data set, role for the maps of `--input pos_weight=DIR`.
        label_smoothing: ε in [0, 1]; y becomes (1−ε)·y + ε·u.
        prior: u for each label; ½ where it is not given.

    Returns:
        The cross-entropy of each element, shape (B, C, N), 0 or more.

    Note:
        `bce` gives the same number on logits, and takes probabilities as well.
    """
    soft = smoothed(target, label_smoothing, prior)
    factor = weighted(pos_weight, positive, target)
    missed, alarmed = -functional.logsigmoid(pred), -functional.logsigmoid(-pred)
    return PerPixel(factor * soft * missed + (1 - soft) * alarmed)


@loss(
    family="binary",
    use="thin structures such as edges, whose share differs from image to image",
    tasks=["binary", "multilabel"],
    range=(0, 100),
    sources=["Xie & Tu 2015, HED"],
    example="balanced_bce(empty=0)",
)
def balanced_bce(pred: LogPair, target: Probability, weight: Weight) -> PerClass:
    """Binary cross-entropy balanced within each sample.

    mean −[β·y·log p + (1−β)·(1−y)·log(1−p)], with β = 1 − mean y of the sample.

    Args:
        pred: log p and log(1−p), each of shape (B, C, N).
        target: y in [0, 1], hard or soft, shape (B, C, N).
        weight: how many pixels an element stands for, shape (B, C or 1, N).

    Returns:
        Loss per sample and label, shape (B, C), in [0, 100]; undefined where the target has one
        side only, since any prediction would then cost nothing.

    Note:
        β belongs to a sample, so that there is no pooled value.
    """
    every = total(torch.ones_like(target), weight)
    positives = total(target, weight)
    top = (every - positives) * total(-target * pred.yes, weight)
    top = top + positives * total(-(1 - target) * pred.no, weight)
    both = (positives > 0) & (positives < every)
    return ratio(top, every**2).where(both, torch.nan)


@loss(
    family="binary",
    use="masks with few positives among many easy negatives",
    tasks=["binary", "multilabel"],
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
    """Focal loss of yes or no: cross-entropy in which easy pixels count little.

    mean −[α·(1−p)^γ·y·log p + (1−α)·p^γ·(1−y)·log(1−p)].

    Args:
        pred: log p and log(1−p), each of shape (B, C, N).
        target: y in [0, 1], hard or soft, shape (B, C, N).
        alpha: α, the weight of positives against 1−α of negatives: a number, one for each label,
            auto for #neg/N over the data set, none for no weights.
        gamma: γ ≥ 0, how fast easy pixels lose their weight.

    Returns:
        The loss of each element, shape (B, C, N), in [0, 100].

    Note:
        alpha=none with gamma=0 is `bce`. Older kornia multiplies both sides by α.
    """
    yes = power(pred.no.exp(), gamma) * target * pred.yes
    no = power(pred.yes.exp(), gamma) * (1 - target) * pred.no
    if alpha is None or isinstance(alpha, str):
        return PerPixel(-(yes + no))
    share = by_class(alpha, target)
    return PerPixel(-(share * yes + (1 - share) * no))


@loss(
    family="binary",
    use="classifiers trained on margins, each pixel by itself",
    tasks=["binary", "multilabel"],
    sources=["torch.nn.SoftMarginLoss"],
    example="soft_margin(reduction=sum)",
)
def soft_margin(pred: Logits, target: Probability) -> PerPixel:
    """Soft margin loss of logits.

    mean log(1 + e^(−ỹ·x)), with ỹ = 2y − 1 in {−1, 1}.

    Args:
        pred: logits x, shape (B, C, N); probabilities are refused.
        target: y, shape (B, C, N).

    Returns:
        The loss of each element, shape (B, C, N), 0 or more.

    Note:
        For hard targets this is `bce_with_logits`.
    """
    return PerPixel(-functional.logsigmoid((2 * target - 1) * pred))


@loss(
    family="binary",
    use="classifiers trained on margins, without reward beyond one",
    tasks=["binary", "multilabel"],
    sources=["Cortes & Vapnik 1995", "sklearn.metrics.hinge_loss"],
    example="hinge(reduction=sum)",
)
def hinge(pred: Logits, target: Probability) -> PerPixel:
    """Hinge loss of logits: nothing beyond a margin of 1.

    mean max(0, 1 − ỹ·x), with ỹ = 2y − 1 in {−1, 1}.

    Args:
        pred: logits x, shape (B, C, N); probabilities are refused.
        target: y, shape (B, C, N).

    Returns:
        The loss of each element, shape (B, C, N), 0 or more.
    """
    return PerPixel((1 - (2 * target - 1) * pred).clamp(min=0))


@loss(
    family="binary",
    use="rare foregrounds, as one half of unified_focal",
    tasks=["binary", "multilabel"],
    sources=["Yeung et al. 2022"],
    example="asymmetric_focal(delta=0.7)",
)
def asymmetric_focal(
    pred: LogPair, target: Probability, *, delta: Share = 0.6, gamma: NonNegative = 0.5
) -> PerPixel:
    """Focal loss that loses the easy background only: a part of `unified_focal`.

    mean −[δ·y·log p + (1−δ)·p^γ·(1−y)·log(1−p)].

    Args:
        pred: log p and log(1−p), each of shape (B, C, N).
        target: y in [0, 1], hard or soft, shape (B, C, N).
        delta: δ, the weight of positives against 1−δ of negatives.
        gamma: γ ≥ 0, how fast easy background loses its weight.

    Returns:
        The loss of each element, shape (B, C, N), in [0, 100].
    """
    no = power(pred.yes.exp(), gamma) * (1 - target) * pred.no
    return PerPixel(-(delta * target * pred.yes + (1 - delta) * no))
