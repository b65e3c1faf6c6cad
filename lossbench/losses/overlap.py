"""Region overlap losses, with I = Σpy, P = Σp and Y = Σy over the valid pixels of one class.

Args:
    smooth: s ≥ 0, added to numerator and denominator; 0 gives the plain coefficient.
    smooth_nr: s in the numerator, if different.
    smooth_dr: s in the denominator, if different.
    log: −log of the coefficient, clamped at 100, instead of one minus the coefficient.
    negative: minus the coefficient, in [−1, 0], instead of one minus the coefficient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from lossbench.errors import SettingError
from lossbench.interface.annotations import (
    Array,
    Distribution,
    LogProbability,
    NonNegative,
    PerClass,
    PerSample,
    Share,
    Weight,
)
from lossbench.interface.stable_math import (
    TINY,
    by_class,
    concatenate,
    largest,
    logarithm,
    mean_defined,
    power,
    ratio,
    root,
    total,
    where,
    zeros_like,
)
from lossbench.losses import loss
from lossbench.views.overlap import Overlap, Powers, SoftCounts, SquaredErrors
from lossbench.views.ranking import Errors

# Facts of every loss of this module that does not state others.
SHARED_FACTS = {"range": (0, 1)}


def smoothed(
    numerator: Array,
    denominator: Array,
    smooth: float,
    smooth_nr: float | None,
    smooth_dr: float | None,
) -> Array:
    """Smoothed coefficient: `smooth` unless the numerator or denominator has its own number."""
    return ratio(
        numerator + (smooth if smooth_nr is None else smooth_nr),
        denominator + (smooth if smooth_dr is None else smooth_dr),
    )


def as_loss(coefficient: Array, log: bool, negative: bool) -> Array:
    """Loss of a coefficient c: 1 − c, −log c clamped at 100, or −c."""
    if log and negative:
        raise SettingError("log and negative are mutually exclusive; set only one of them")
    if negative:
        return -coefficient
    return -logarithm(coefficient) if log else 1 - coefficient


@loss(
    use="masks whose foreground is a small part of the image",
    sources=["Milletari et al. 2016, V-Net", "Dice 1945"],
    example="dice(smooth=1, squared=true)",
)
def dice(
    overlap: Overlap,
    *,
    smooth: NonNegative = 0.0,
    smooth_nr: NonNegative | None = None,
    smooth_dr: NonNegative | None = None,
    log: bool = False,
    negative: bool = False,
) -> PerClass:
    """Dice loss: one minus twice the overlap divided by the sum of both areas.

    1 − (2·I + s) / (P + Y + s), with I = Σpy, P = Σp, Y = Σy over the valid pixels of one class.

    Returns:
        Loss per sample and class, (B, C), in [0, 1]; undefined for two empty masks unless smoothed.
        With smooth_nr > smooth_dr it can be negative.
    """
    coefficient = smoothed(
        2 * overlap.both, overlap.pred + overlap.target, smooth, smooth_nr, smooth_dr
    )
    return as_loss(coefficient, log, negative)


@loss(
    use="masks that are evaluated by intersection over union",
    aliases=["iou_loss", "soft_iou"],
    sources=["Jaccard 1912", "Rahman & Wang 2016"],
    example="jaccard(smooth=1)",
)
def jaccard(
    overlap: Overlap,
    *,
    smooth: NonNegative = 0.0,
    smooth_nr: NonNegative | None = None,
    smooth_dr: NonNegative | None = None,
    log: bool = False,
    negative: bool = False,
) -> PerClass:
    """Jaccard loss: one minus the intersection over the union.

    1 − (I + s) / (P + Y − I + s), with I = Σpy, P = Σp, Y = Σy over the valid pixels of one class.

    Returns:
        Loss per sample and class, (B, C), in [0, 1]; undefined for two empty masks unless smoothed.
    """
    union = overlap.pred + overlap.target - overlap.both
    return as_loss(smoothed(overlap.both, union, smooth, smooth_nr, smooth_dr), log, negative)


@loss(
    use="masks in which false negatives cost more, or less, than false positives",
    sources=["Salehi et al. 2017", "Tversky 1977"],
    example="tversky(alpha=0.3, beta=0.7)",
)
def tversky(
    overlap: Overlap,
    *,
    alpha: NonNegative = 0.5,
    beta: NonNegative = 0.5,
    smooth: NonNegative = 0.0,
    smooth_nr: NonNegative | None = None,
    smooth_dr: NonNegative | None = None,
    log: bool = False,
    negative: bool = False,
) -> PerClass:
    """Tversky loss: overlap with separate weights for false positives and negatives.

    1 − (I + s) / (I + α·FP + β·FN + s), with I = Σpy, FP = Σp(1−y), FN = Σ(1−p)y over the valid
    pixels of one class.

    Args:
        alpha: α ≥ 0, the weight of false positives.
        beta: β ≥ 0, the weight of false negatives.

    Returns:
        Loss per sample and class, (B, C), in [0, 1]; undefined for two empty masks unless smoothed.

    Note:
        α weights false positives as in Salehi et al. and MONAI; many Keras snippets swap α and β.
        α = β = ½ with s is `dice` with 2s; α = β = 1 is `jaccard`.
    """
    false_positive = overlap.pred - overlap.both
    false_negative = overlap.target - overlap.both
    denominator = overlap.both + alpha * false_positive + beta * false_negative
    return as_loss(smoothed(overlap.both, denominator, smooth, smooth_nr, smooth_dr), log, negative)


@loss(
    use="several classes of very different size in one number",
    sources=["Sudre et al. 2017", "Crum et al. 2006"],
    example="generalized_dice(class_weights=simple)",
)
def generalized_dice(
    overlap: Overlap,
    *,
    class_weights: Literal["square", "simple", "uniform"] = "square",
    smooth: NonNegative = 0.0,
    smooth_nr: NonNegative | None = None,
    smooth_dr: NonNegative | None = None,
    fallback: NonNegative = 1.0,
    background: bool = True,
) -> PerSample:
    """Generalized Dice loss: one overlap of all classes, upweighting small ones.

    1 − (2·Σ_c w_c·I_c + s) / (Σ_c w_c·(P_c + Y_c) + s), with w_c = 1/Y_c², 1/Y_c or 1.

    Args:
        class_weights: square is 1/Y², simple 1/Y, uniform 1.
        fallback: weight of every class where the target contains none of them.
        background: whether class 0 of a multiclass task counts.

    Returns:
        Loss per sample, (B,), in [0, 1]; undefined where both masks are empty.

    Note:
        A class absent from the target gets the sample's largest finite weight, as in MONAI; if no
        weight is finite, all are 1 (in MONAI's loss 0). torchmetrics' GeneralizedDiceScore is one
        minus this loss.
    """
    start = 0 if background else 1
    both, area, target = (
        x[:, start:] for x in (overlap.both, overlap.pred + overlap.target, overlap.target)
    )
    exponent = {"square": 2, "simple": 1, "uniform": 0}[class_weights]
    present = target > 0
    weight = 1 / where(present, target, 1.0) ** exponent
    most = largest(where(present, weight, 0.0), 1)
    weight = where(present, weight, where(most > 0, most, fallback))
    numerator, denominator = 2 * (weight * both).sum(1), (weight * area).sum(1)
    return 1 - smoothed(numerator, denominator, smooth, smooth_nr, smooth_dr)


@loss(
    use="small lesions, with more weight on poorly segmented classes",
    sources=["Abraham & Khan 2019", "segmentation_models.pytorch TverskyLoss"],
    example="focal_tversky(alpha=0.3, beta=0.7, gamma=1.5)",
    revision=2,
)
def focal_tversky(
    overlap: Overlap,
    *,
    alpha: NonNegative | Sequence[NonNegative] = 0.5,
    beta: NonNegative | Sequence[NonNegative] = 0.5,
    gamma: NonNegative | Sequence[NonNegative] = 0.75,
    smooth: NonNegative = 0.0,
) -> PerClass:
    """Focal Tversky loss: the Tversky loss of each class raised to a power.

    (1 − TI_c)^γ, with TI = (I + s) / (I + α·FP + β·FN + s); averaged over the classes with
    class_weights.

    Args:
        alpha: α ≥ 0, the weight of false positives: a number, or one per class.
        beta: β ≥ 0, the weight of false negatives: a number, or one per class.
        gamma: γ ≥ 0; below 1, good overlaps gain weight: a number, or one per class.

    Returns:
        Loss per sample and class, (B, C), in [0, 1]; undefined for two empty masks unless smoothed.

    Note:
        Abraham & Khan write the exponent as 1/γ with γ = 4/3, which is γ = 0.75 here, and their α
        weights false negatives.
    """
    false_positive, false_negative = overlap.pred - overlap.both, overlap.target - overlap.both
    errors = by_class(alpha, overlap.both) * false_positive
    errors = errors + by_class(beta, overlap.both) * false_negative
    index = ratio(overlap.both + smooth, overlap.both + errors + smooth)
    return power((1 - index).clip(min=0), by_class(gamma, index))


@loss(
    use="soft masks, with a tunable penalty on uncertain pixels",
    sources=["Duque-Arias et al. 2021"],
    example="power_jaccard(power=1.5, smooth=1)",
)
def power_jaccard(powers: Powers, *, smooth: NonNegative = 0.0) -> PerClass:
    """Jaccard loss with the probabilities in both areas raised to a power.

    1 − (I + s) / (Σp^q + Σy^q − I + s).

    Returns:
        Loss per sample and class, (B, C), in [0, 1] for q from 1 to 2; undefined where a class is
        in neither mask and s = 0.

    Note:
        power=1 is `jaccard`, power=2 is `jaccard(squared=true)`.
    """
    union = powers.pred + powers.target - powers.both
    return 1 - ratio(powers.both + smooth, union + smooth)


@loss(
    use="imbalanced masks in which the background counts as well",
    range=(0, 2),
    sources=["Abhishek & Hamarneh 2021"],
    example="mcc_loss(class_reduction=sum)",
)
def mcc_loss(counts: SoftCounts, *, smooth: NonNegative = 0.0) -> PerClass:
    """Matthews correlation loss of soft counts.

    1 − (TP·TN − FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN)) of one class.

    Args:
        smooth: s ≥ 0, added to each of the four counts.

    Returns:
        Loss per sample and class, (B, C), in [0, 2]; undefined where either mask is empty or full
        and s = 0.
    """
    pixels = sum(counts) + 4 * smooth  # fractions, because products of counts lose precision
    tp, fp, fn, tn = ((x + smooth) / pixels for x in counts)
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return 1 - ratio(tp * tn - fp * fn, root(product))


@loss(
    use="lesions, trading sensitivity against specificity",
    sources=["Brosch et al. 2015"],
    example="sensitivity_specificity(b=0.05, form=brosch)",
)
def sensitivity_specificity(
    counts: SoftCounts,
    errors: SquaredErrors,
    *,
    b: Share = 0.5,
    form: Literal["counts", "brosch"] = "counts",
) -> PerClass:
    """One minus a weighted mean of sensitivity and specificity.

    1 − [b·TP/(TP+FN) + (1−b)·TN/(TN+FP)] of one class; with form=brosch
    b·Σ(y−p)²y/Σy + (1−b)·Σ(y−p)²(1−y)/Σ(1−y).

    Args:
        b: the weight of sensitivity.
        form: from counts, or from squared errors as in Brosch et al.

    Returns:
        Loss per sample and class, (B, C), in [0, 1]; undefined where the target is empty or full.
    """
    if form == "brosch":
        on, off = ratio(errors.on, errors.on_pixels), ratio(errors.off, errors.off_pixels)
        return b * on + (1 - b) * off
    sensitivity = ratio(counts.tp, counts.tp + counts.fn)
    specificity = ratio(counts.tn, counts.tn + counts.fp)
    return 1 - (b * sensitivity + (1 - b) * specificity)


@loss(
    use="rare foregrounds, as one part of unified_focal",
    tasks=["binary", "multilabel"],
    sources=["Yeung et al. 2022"],
    example="asymmetric_focal_tversky(delta=0.6, gamma=0.5)",
)
def asymmetric_focal_tversky(
    counts: SoftCounts, *, delta: Share = 0.7, gamma: Share = 0.75
) -> PerClass:
    """Tversky loss of background and foreground, focal for the foreground only.

    ½·[(1 − mTI_bg) + (1 − mTI_fg)^(1−γ)], with mTI = TP / (TP + δ·FN + (1−δ)·FP).

    Args:
        delta: δ, the weight of false negatives; false positives get 1−δ.
        gamma: γ in [0, 1], how strongly the foreground is enhanced.

    Returns:
        Loss per sample and label, (B, C), in [0, 1]; undefined where foreground or background is in
        neither mask.
    """
    tp, fp, fn, tn = counts
    foreground = ratio(tp, tp + delta * fn + (1 - delta) * fp)
    background = ratio(tn, tn + delta * fp + (1 - delta) * fn)
    return ((1 - background) + power(1 - foreground, 1 - gamma)) / 2


@loss(
    use="optimising intersection over union directly",
    sources=["Berman, Triki & Blaschko 2018"],
    example="lovasz(classes=all)",
    range=(0, None),
)
def lovasz(errors: Errors, *, classes: Literal["present", "all"] = "present") -> PerClass:
    """Lovász loss: the convex surrogate of the Jaccard loss.

    Σ_i e_i·(J_i − J_{i−1}) over the errors e of one class in descending order, J_i the Jaccard loss
    with the first i pixels wrong. Errors are |y − p|; for binary and multilabel logits, the hinge
    max(0, 1 − ỹx).

    Args:
        classes: present excludes classes absent from the target, unless the hinge is used; all
            includes them.

    Returns:
        Loss per sample and class, (B, C), in [0, 1], or 0 or more with the hinge; undefined where
        classes=present excludes the class.

    Note:
        The pooled value is over the pixels of all samples; `per_image=false` gives it to every
        sample, as smp's LovaszLoss(per_image=False) does for a batch.
    """
    positives, negatives = errors.positive.cumsum(-1), errors.negative.cumsum(-1)
    all_positives = positives[..., -1:]
    union = all_positives + negatives
    jaccard_loss = (positives + negatives) / union.clip(min=TINY)
    previous = concatenate([zeros_like(all_positives), jaccard_loss[..., :-1]], -1)
    value = total(errors.error, jaccard_loss - previous)
    valid = (all_positives + negatives[..., -1:])[..., 0] > 0
    defined = valid if errors.hinge or classes == "all" else all_positives[..., 0] > 0
    return where(defined, value, math.nan)


@loss(
    use="label maps with tiny structures next to large ones",
    tasks=["binary", "multiclass"],
    sources=["Wong et al. 2018"],
    example="exp_log(gamma=0.5)",
    revision=2,
    range=(0, None),
)
def exp_log(
    overlap: Overlap,
    pred: LogProbability,
    target: Distribution,
    weight: Weight,
    *,
    mix: Share = 0.8,
    gamma: NonNegative = 0.3,
    smooth: NonNegative = 1.0,
    class_weights: Sequence[NonNegative] | Literal["root_frequency"] | None = "root_frequency",
) -> PerSample:
    """Exponential logarithmic loss: powers of the log Dice and the cross-entropy.

    .8·mean_c (−ln D_c)^.3 + .2·mean_x w_c·(−ln p_c)^.3, with D_c the smoothed Dice coefficient and
    c the class of pixel x.

    Args:
        mix: the weight of the Dice term.
        gamma: the exponent of both logarithms.
        smooth: s ≥ 0, added to numerator and denominator of D_c.
        class_weights: w_c: one number per class, root_frequency for √(N/n_c) over the data set, or
            none for 1; the mean divides by the number of pixels.

    Returns:
        Loss per sample, (B,), 0 or more; undefined without a valid pixel.
    """
    coefficient = smoothed(2 * overlap.both, overlap.pred + overlap.target, smooth, None, None)
    dice_term = mean_defined(power(-logarithm(coefficient), gamma))
    weights = 1.0 if class_weights is None or isinstance(class_weights, str) else class_weights
    losses = total(target * power(-pred, gamma), weight)
    sums = (by_class(weights, coefficient) * losses).sum(1)
    entropy_term = ratio(sums, total(target, weight).sum(1))
    return mix * dice_term + (1 - mix) * entropy_term
