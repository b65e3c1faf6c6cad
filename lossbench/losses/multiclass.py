"""Losses of mutually exclusive classes, from the probability of each pixel's class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from lossbench.interface.annotations import (
    Array,
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
    Shares,
    Weight,
)
from lossbench.interface.stable_math import (
    by_class,
    exponential,
    largest,
    least,
    library,
    log_sigmoid,
    numbers,
    power,
    ratio,
    sort_by,
    total,
)
from lossbench.losses import loss

# Facts of every loss of this module that does not state others.
SHARED_FACTS = {"tasks": ["binary", "multiclass"]}


@loss(
    use="the standard training loss of label maps",
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
    """Cross-entropy between target classes and predicted class probabilities.

    −Σ_x w_x·Σ_c w_c·ỹ_c·log p_c / Σ_x w_x·Σ_c w_c·y_c over the pixels x, ỹ the smoothed target.

    Args:
        label_smoothing: ε in [0, 1]; y becomes (1−ε)·y + ε·u.
        prior: u of each class; 1/C by default.

    Returns:
        Each class's contribution to each pixel's loss, and y_c as its mass, each (B, C, N).

    Note:
        On a binary task the background is the second class, so the value equals `bce`. A class
        column is the mean of the whole loss over the pixels of that class.
    """
    uniform = 1 / target.shape[1] if prior is None else by_class(prior, target)
    smoothed = target + label_smoothing * (uniform - target)
    return PerPixel(-smoothed * pred, mass=target)


@loss(
    use="PSPNet and other networks with an auxiliary output",
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
    """Cross-entropy of the main and the auxiliary output (PSPNet).

    CE(p, y) + w·CE(q, y), with q from role `aux` and CE as in `cross_entropy`.

    Args:
        aux_weight: w, the weight of the auxiliary output.

    Returns:
        Each class's contribution to each pixel's loss, and y_c as its mass, each (B, C, N).
    """
    return PerPixel(-target * (pred + aux_weight * aux), mass=target)


@loss(
    use="outputs that already are log-probabilities",
    tasks=["multiclass"],
    range=(None, None),
    sources=["torch.nn.NLLLoss"],
    example="nll(class_weights=auto)",
)
def nll(pred: Logits, target: Distribution) -> PerPixel:
    """Negative log-likelihood of stored log-probabilities.

    −Σ_x w_x·w_c·x_c / Σ_x w_x·w_c, with c the target's class and x the stored numbers.

    Returns:
        Each class's contribution to each pixel's loss, and y_c as its mass, each (B, C, N).

    Note:
        Log-probabilities are read with `--pred-encoding logits`; probabilities are refused. For
        probabilities and logits, use `cross_entropy`, which equals this after a log-softmax.
    """
    return PerPixel(-target * pred, mass=target)


@loss(
    use="structured prediction, where only the winning class matters",
    tasks=["multiclass"],
    sources=["LeCun et al. 2006"],
    example="perceptron(reduction=sum)",
    revision=2,
)
def perceptron(pred: Logits, target: Distribution, target_each: Shares) -> PerPixel:
    """Perceptron loss: how far the true class's logit is below the largest.

    mean max_j x_j − x_c, with c the target's class: cross-entropy without the normaliser.

    Returns:
        Each class's contribution to each pixel's loss, and y_c/Σy as its mass, each (B, C, N).
    """
    return PerPixel(target * (largest(pred, 1) - pred), mass=target_each)


@loss(
    use="label maps in which only few pixels are hard",
    sources=["Lin et al. 2017"],
    example="focal(gamma=1.5, alpha=auto)",
    revision=2,
)
def focal(
    pred: LogProbability,
    target: Distribution,
    pred_each: OneVsRest,
    target_each: Shares,
    *,
    alpha: NonNegative | Sequence[NonNegative] | Literal["auto"] | None = None,
    gamma: NonNegative | Sequence[NonNegative] = 2.0,
    one_vs_all: bool = False,
) -> PerPixel:
    """Focal loss: cross-entropy that down-weights easy pixels.

    mean −α_c·(1−p_c)^γ_c·log p_c, with c the target's class.

    Args:
        alpha: α, a factor: a number, one per class, auto for N/(K·n_c) over the data set, or none;
            the mean still divides by the number of pixels.
        gamma: γ ≥ 0, how strongly easy pixels are down-weighted: a number, or one per class.
        one_vs_all: use the sum over all classes of `binary_focal`, each class against the rest
            with its own sigmoid; α weights the class's pixels and 1−α the others.

    Returns:
        Each class's contribution to each pixel's loss, and y_c/Σy as its mass, each (B, C, N).

    Note:
        Libraries that average over classes as well, over=classes, report a C times smaller value.
    """
    exponent = by_class(gamma, target)
    factor = 1.0 if alpha is None or isinstance(alpha, str) else by_class(alpha, target)
    if not one_vs_all:
        hard = power(1 - exponential(pred), exponent)
        return PerPixel(-factor * hard * target * pred, mass=target_each)
    rest_factor = 1.0 if alpha is None or isinstance(alpha, str) else 1 - factor
    yes = factor * power(exponential(pred_each.no), exponent) * target * pred_each.yes
    no = rest_factor * power(exponential(pred_each.yes), exponent) * (1 - target) * pred_each.no
    return PerPixel(-(yes + no), mass=target_each)


@loss(
    use="labels that are not mutually exclusive, from logits",
    tasks=["multilabel"],
    sources=["torch.nn.MultiLabelSoftMarginLoss"],
    example="multilabel_soft_margin(class_weights=auto)",
)
def multilabel_soft_margin(pred: Logits, target: Probability) -> PerPixel:
    """Cross-entropy of the logits of labels that are not mutually exclusive.

    mean_c −[y_c·log σ(x_c) + (1−y_c)·log(1−σ(x_c))].

    Returns:
        Cross-entropy of each label, (B, C, N), 0 or more.

    Note:
        With class weights torch divides Σ_c w_c·l_c by C, over=all; this divides by Σ_c w_c.
    """
    positive_loss, negative_loss = -log_sigmoid(pred), -log_sigmoid(-pred)
    return PerPixel(target * positive_loss + (1 - target) * negative_loss)


@loss(
    use="a small correction of cross-entropy on imbalanced classes",
    sources=["Leng et al. 2022, PolyLoss"],
    example="poly1(epsilon=2)",
    revision=2,
)
def poly1(
    pred: LogProbability, target: Distribution, target_each: Shares, *, epsilon: float = 1.0
) -> PerPixel:
    """Poly-1 loss: cross-entropy with an adjusted first polynomial coefficient.

    mean −log p_c + ε·(1 − p_c), with c the target's class.

    Args:
        epsilon: ε ≥ −1, added to the first coefficient.

    Returns:
        Each class's contribution to each pixel's loss, and y_c/Σy as its mass, each (B, C, N).
    """
    return PerPixel(target * (epsilon * (1 - exponential(pred)) - pred), mass=target_each)


@loss(
    use="training on the pixels that are still wrong (online hard example mining)",
    couples=True,
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

    mean −log p_c over the pixels with p_c < threshold, but at least over the min_kept hardest.

    Args:
        threshold: probability of the true class at which a pixel becomes easy.
        min_kept: minimum number of pixels per sample.

    Returns:
        Loss per sample, (B,), in [0, 100] of probabilities and [0, ∞) of logits; undefined without
        a valid pixel.

    Note:
        Pixels are selected within each sample, not over a batch.
    """
    losses = -(target * pred).sum(1)
    probability = (target * exponential(pred)).sum(1)
    weight = (target * weight).sum(1)
    hard = total(numbers(probability < threshold, weight), weight)
    return mean_of_first(losses, probability, weight, hard.clip(min=min_kept))


@loss(
    use="the hardest fraction of each image",
    couples=True,
    sources=["Wu, Shen & van den Hengel 2016", "Pohlen et al. 2017"],
    example="bootstrapped_cross_entropy(fraction=0.1)",
    revision=2,
)
def bootstrapped_cross_entropy(
    pred: LogProbability, target: Distribution, weight: Weight, *, fraction: Share = 0.25
) -> PerSample:
    """Cross-entropy of the fraction of pixels with the largest loss.

    mean of the ⌈fraction·N⌉ largest −log p_c of a sample.

    Args:
        fraction: fraction of the valid pixels that counts.

    Returns:
        Loss per sample, (B,), in [0, 100] of probabilities and [0, ∞) of logits; undefined without
        a valid pixel.
    """
    losses = -(target * pred).sum(1)
    weight = (target * weight).sum(1)
    amount = library(weight).ceil(fraction * weight.sum(-1) - 1e-9)
    return mean_of_first(losses, -losses, weight, amount)


def mean_of_first(losses: Array, rank: Array, weight: Array, amount: Array) -> Array:
    """Mean (B,) of the losses that come first; of all losses if they weigh less than `amount`.

    Losses and their sort keys, `rank`, are (B or 1, N), weights (B, N), and amounts (B,).
    """
    _, ordered, weights = sort_by(rank, losses, weight)
    before = weights.cumsum(-1) - weights
    taken = least((amount[:, None] - before).clip(min=0), weights)
    return ratio(total(ordered, taken), taken.sum(-1))
