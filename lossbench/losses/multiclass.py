"""Losses that judge the probability of a pixel's one class among several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from lossbench.interface.annotations import (
    Count,
    Distribution,
    Logits,
    LogProbability,
    NonNegative,
    OneVsRest,
    PerPixel,
    PerSample,
    Probability,
    Share,
    Stored,
    Weight,
)
from lossbench.interface.stable_math import by_class, power, ratio, total
from lossbench.losses import loss


@loss(
    family="multiclass",
    use="the usual training loss of label maps",
    tasks=["binary", "multiclass"],
    aliases=["categorical_cross_entropy", "sparse_cross_entropy", "pixel_ce", "softmax_loss"],
    sources=["torch.nn.CrossEntropyLoss"],
    example="cross_entropy(label_smoothing=0.1, class_weights=auto)",
)
def cross_entropy(
    pred: LogProbability,
    target: Distribution,
    *,
    label_smoothing: Share = 0.0,
    prior: Sequence[Share] | None = None,
) -> PerPixel:
    """Cross-entropy between the target's class and the predicted class probabilities.

    −Σ_x w_x·Σ_c w_c·ỹ_c·log p_c / Σ_x w_x·Σ_c w_c·y_c over the pixels x, ỹ the smoothed target.

    Args:
        pred: log p_c, never below −100, shape (B, C, N); a log-softmax where logits are read.
        target: y_c, summing to 1 over the classes, from labels, one-hot or soft, shape (B, C, N).
        label_smoothing: ε in [0, 1]; y becomes (1−ε)·y + ε·u.
        prior: u of each class; 1/C where it is not given.

    Returns:
        The share of each class in each pixel's loss, and y_c as its mass, each (B, C, N).

    Note:
        On a binary task the background is the second class, so the value equals `bce`. With class
        weights torch divides by Σ w_c·y_c for labels and by N for soft targets; here always the
        former. A class column is the mean of the whole loss over the pixels of that class.
    """
    toward = 1 / target.shape[1] if prior is None else by_class(prior, target)
    smoothed = target + label_smoothing * (toward - target)
    return PerPixel(-smoothed * pred, mass=target)


@loss(
    family="multiclass",
    use="PSPNet and other networks with a second, auxiliary output",
    tasks=["multiclass"],
    sources=["Zhao et al. 2017, Pyramid Scene Parsing Network"],
    example="auxiliary(aux_weight=0.2)",
)
def auxiliary(
    pred: LogProbability,
    target: Distribution,
    aux: LogProbability,
    *,
    aux_weight: NonNegative = 0.4,
) -> PerPixel:
    """Cross-entropy of a network's output and of an auxiliary one, PSPNet's loss.

    CE(p, y) + w·CE(q, y), q the role `aux`, CE as in `cross_entropy`.

    Args:
        pred: log p_c, never below −100, shape (B, C, N).
        target: y_c, summing to 1 over the classes, shape (B, C, N).
        aux: log q_c, of the auxiliary output, shape (B, C, N).
        aux_weight: w.

    Returns:
        The share of each class in each pixel's loss, and y_c as its mass, each (B, C, N).
    """
    return PerPixel(-target * (pred + aux_weight * aux), mass=target)


@loss(
    family="multiclass",
    use="outputs that are log-probabilities already",
    tasks=["multiclass"],
    range=(None, None),
    sources=["torch.nn.NLLLoss"],
    example="nll(class_weights=auto)",
)
def nll(pred: Stored, target: Distribution) -> PerPixel:
    """Negative log-likelihood of log-probabilities that are given as such.

    −Σ_x w_x·w_c·x_c / Σ_x w_x·w_c, with c the target's class and x the numbers as they are stored.

    Args:
        pred: log-probabilities as stored, shape (B, C, N); neither softmax nor logarithm is taken.
        target: y_c, shape (B, C, N).

    Returns:
        The share of each class in each pixel's loss, and y_c as its mass, each (B, C, N).

    Note:
        Log-probabilities are read with `--pred-encoding logits`. For probabilities and logits there
        is `cross_entropy`, which equals this after a log-softmax.
    """
    return PerPixel(-target * pred, mass=target)


@loss(
    family="multiclass",
    use="structured prediction, where only the winning class matters",
    tasks=["multiclass"],
    sources=["LeCun et al. 2006"],
    example="perceptron(reduction=sum)",
)
def perceptron(pred: Logits, target: Distribution) -> PerPixel:
    """Perceptron loss: how far the right class's logit is below the largest.

    mean max_j x_j − x_c, with c the target's class: cross-entropy without its normaliser.

    Args:
        pred: logits x, shape (B, C, N); probabilities are refused.
        target: y_c, shape (B, C, N).

    Returns:
        The share of each class in each pixel's loss, and y_c as its mass, each (B, C, N).
    """
    return PerPixel(target * (pred.amax(1, keepdim=True) - pred), mass=target)


@loss(
    family="multiclass",
    use="label maps in which few pixels are hard",
    tasks=["binary", "multiclass"],
    sources=["Lin et al. 2017"],
    example="focal(gamma=1.5, alpha=auto)",
)
def focal(
    pred: LogProbability,
    target: Distribution,
    pred_each: OneVsRest,
    *,
    alpha: NonNegative | Sequence[NonNegative] | Literal["auto"] | None = None,
    gamma: NonNegative | Sequence[NonNegative] = 2.0,
    one_vs_all: bool = False,
) -> PerPixel:
    """Focal loss: cross-entropy in which easy pixels count little.

    mean −α_c·(1−p_c)^γ_c·log p_c, with c the target's class.

    Args:
        pred: log p_c, shape (B, C, N); a log-softmax where logits are read.
        target: y_c, shape (B, C, N).
        pred_each: log of a sigmoid of each logit and of its rest, each (B, C, N).
        alpha: α, a factor: a number, one for each class, auto for N/(K·n_c) over the data set, none
            for no factor; the mean still divides by the pixels.
        gamma: γ ≥ 0, how fast easy pixels lose their weight: a number, or one for each class.
        one_vs_all: the sum over all classes of `binary_focal`, each class against the rest by a
            sigmoid of its own, α weighing its pixels and 1−α the others.

    Returns:
        The share of each class in each pixel's loss, and y_c as its mass, each (B, C, N).

    Note:
        MONAI's and segmentation_models.pytorch's default is one against all; their means and
        kornia's are over classes as well as pixels, so C times smaller: over=classes.
    """
    exponent = by_class(gamma, target)
    factor = 1.0 if alpha is None or isinstance(alpha, str) else by_class(alpha, target)
    if not one_vs_all:
        return PerPixel(-factor * power(1 - pred.exp(), exponent) * target * pred, mass=target)
    rest = 1.0 if alpha is None or isinstance(alpha, str) else 1 - factor
    yes = factor * power(pred_each.no.exp(), exponent) * target * pred_each.yes
    no = rest * power(pred_each.yes.exp(), exponent) * (1 - target) * pred_each.no
    return PerPixel(-(yes + no), mass=target)


@loss(
    family="multiclass",
    use="labels that may hold together, from logits",
    tasks=["multilabel"],
    sources=["torch.nn.MultiLabelSoftMarginLoss"],
    example="multilabel_soft_margin(class_weights=auto)",
)
def multilabel_soft_margin(pred: Logits, target: Probability) -> PerPixel:
    """Cross-entropy of the logits of labels that exclude nothing.

    mean_c −[y_c·log σ(x_c) + (1−y_c)·log(1−σ(x_c))].

    Args:
        pred: logits x, shape (B, C, N); probabilities are refused.
        target: y_c in [0, 1], shape (B, C, N).

    Returns:
        The cross-entropy of each label, shape (B, C, N), 0 or more.

    Note:
        With class weights torch divides Σ_c w_c·l_c by C, over=all; here by Σ_c w_c.
    """
    missed, alarmed = -functional.logsigmoid(pred), -functional.logsigmoid(-pred)
    return PerPixel(target * missed + (1 - target) * alarmed)


@loss(
    family="multiclass",
    use="a small correction of cross-entropy on imbalanced classes",
    tasks=["binary", "multiclass"],
    sources=["Leng et al. 2022, PolyLoss"],
    example="poly1(epsilon=2)",
)
def poly1(pred: LogProbability, target: Distribution, *, epsilon: float = 1.0) -> PerPixel:
    """Cross-entropy with its first polynomial term moved.

    mean −log p_c + ε·(1 − p_c), with c the target's class.

    Args:
        pred: log p_c, shape (B, C, N).
        target: y_c, shape (B, C, N).
        epsilon: ε ≥ −1, what is added to the first coefficient.

    Returns:
        The share of each class in each pixel's loss, and y_c as its mass, each (B, C, N).
    """
    return PerPixel(target * (epsilon * (1 - pred.exp()) - pred), mass=target)


@loss(
    family="multiclass",
    use="training on the pixels that are still wrong",
    tasks=["binary", "multiclass"],
    couples=True,
    range=(0, 100),
    sources=["Shrivastava et al. 2016"],
    example="ohem_cross_entropy(threshold=0.5, min_kept=1000)",
    revision=2,
)
def ohem_cross_entropy(
    pred: LogProbability,
    target: Distribution,
    weight: Weight,
    *,
    threshold: Share = 0.7,
    min_kept: Count = 1,
) -> PerSample:
    """Cross-entropy of the hard pixels only.

    mean −log p_c over the pixels with p_c < threshold, or over the min_kept hardest where these are
    fewer.

    Args:
        pred: log p_c, shape (B, C, N).
        target: y_c, shape (B, C, N).
        weight: how many pixels an element stands for, shape (B, C or 1, N).
        threshold: probability of the right class from which a pixel is easy.
        min_kept: at least so many pixels of a sample are kept.

    Returns:
        Loss per sample, shape (B,), in [0, 100]; undefined without a valid pixel.

    Note:
        Pixels are chosen in each sample, not over a batch.
    """
    entropy = -(target * pred).sum(1)
    right = (target * pred.exp()).sum(1)
    weight = (target * weight).sum(1)
    hard = total((right < threshold).to(weight), weight)
    return mean_of_first(entropy, right, weight, hard.clamp(min=min_kept))


@loss(
    family="multiclass",
    use="judging the hardest share of each image",
    tasks=["binary", "multiclass"],
    couples=True,
    range=(0, 100),
    sources=["Wu, Shen & van den Hengel 2016", "Pohlen et al. 2017"],
    example="bootstrapped_cross_entropy(fraction=0.1)",
    revision=2,
)
def bootstrapped_cross_entropy(
    pred: LogProbability, target: Distribution, weight: Weight, *, fraction: Share = 0.25
) -> PerSample:
    """Cross-entropy of a share of the pixels, those that cost most.

    mean of the ⌈fraction·N⌉ largest −log p_c of a sample.

    Args:
        pred: log p_c, shape (B, C, N).
        target: y_c, shape (B, C, N).
        weight: how many pixels an element stands for, shape (B, C or 1, N).
        fraction: share of the valid pixels that count.

    Returns:
        Loss per sample, shape (B,), in [0, 100]; undefined without a valid pixel.
    """
    entropy = -(target * pred).sum(1)
    weight = (target * weight).sum(1)
    amount = torch.ceil(fraction * weight.sum(-1) - 1e-9)
    return mean_of_first(entropy, -entropy, weight, amount)


def mean_of_first(losses: Tensor, rank: Tensor, weight: Tensor, amount: Tensor) -> Tensor:
    """The mean of the losses that come first, shape (B,); of all where these weigh less.

    Args:
        losses: (B or 1, N).
        rank: in which order they come, (B or 1, N).
        weight: (B, N).
        amount: (B,) how much weight is taken.
    """
    order = rank.argsort(dim=-1, stable=True)
    ordered = weight.gather(-1, order.expand_as(weight))
    before = ordered.cumsum(-1) - ordered
    taken = (amount[:, None] - before).clamp(min=0).minimum(ordered)
    return ratio(total(losses.gather(-1, order), taken), taken.sum(-1))
