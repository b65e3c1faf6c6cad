"""Scores ↑ of hard masks, from counts per class, and of probabilities, by rank."""

from __future__ import annotations

import math

from lossbench.interface.annotations import Array, NonNegative, PerClass, PerSample
from lossbench.interface.stable_math import TINY, mean_defined, ratio, root, where
from lossbench.losses import loss
from lossbench.views.confusion import Confusion, Counts
from lossbench.views.ranking import Calibration, Ranking

# Facts of every loss of this module that does not state others.
SHARED_FACTS = {"better": "higher", "range": (0, 1)}


@loss(
    use="the standard score of medical segmentation",
    aliases=["f1"],
    sources=["Dice 1945", "sklearn.metrics.f1_score"],
    example="dice_score(threshold=0.3)",
)
def dice_score(counts: Counts) -> PerClass:
    """Dice coefficient (F1 score) of hard masks.

    2·TP / (2·TP + FP + FN) of one class.

    Returns:
        Score per sample and class, (B, C), in [0, 1]; undefined where a class is in neither mask.
    """
    return ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


@loss(
    use="the standard score of scene segmentation and detection",
    aliases=["jaccard_index"],
    sources=["Jaccard 1912", "sklearn.metrics.jaccard_score"],
    example="iou(threshold=0.3)",
)
def iou(counts: Counts) -> PerClass:
    """Intersection over union of hard masks.

    TP / (TP + FP + FN) of one class.

    Returns:
        Score per sample and class, (B, C), in [0, 1]; undefined where a class is in neither mask.
    """
    return ratio(counts.tp, counts.tp + counts.fp + counts.fn)


@loss(
    use="how reliable positive predictions are",
    sources=["sklearn.metrics.precision_score"],
    example="precision(threshold=0.3)",
)
def precision(counts: Counts) -> PerClass:
    """Precision: the fraction of predicted foreground pixels that are foreground.

    TP / (TP + FP) of one class; 0 where only the prediction is empty.

    Returns:
        Score per sample and class, (B, C), in [0, 1]; undefined where a class is in neither mask.
    """
    all_missed = (counts.tp + counts.fp == 0) & (counts.fn > 0)
    return where(all_missed, 0.0, ratio(counts.tp, counts.tp + counts.fp))


@loss(
    use="how much of the foreground is detected",
    aliases=["sensitivity", "true_positive_rate"],
    sources=["sklearn.metrics.recall_score"],
    example="recall(threshold=0.3)",
)
def recall(counts: Counts) -> PerClass:
    """Recall (sensitivity): the fraction of foreground pixels predicted as foreground.

    TP / (TP + FN) of one class.

    Returns:
        Score per sample and class, (B, C), in [0, 1]; undefined where the target is empty.
    """
    return ratio(counts.tp, counts.tp + counts.fn)


@loss(
    use="balanced classes; rare classes hardly count",
    aliases=["pixel_accuracy"],
    sources=["sklearn.metrics.accuracy_score"],
    example="accuracy(threshold=0.3)",
)
def accuracy(confusion: Confusion) -> PerSample:
    """Accuracy: the fraction of pixels whose class is correct.

    Σ_c M_cc / Σ M of the confusion matrix M; over every label of every pixel on a multilabel task.

    Returns:
        Score per sample, (B,), in [0, 1]; undefined without a valid pixel.

    Note:
        There is no column per class; the fraction of a class's pixels that are correct is `recall`.
        MONAI's per-class accuracy also counts the true negatives of each class.
    """
    return ratio(confusion.tp.sum((-2, -1)), confusion.target.sum((-2, -1)))


@loss(
    use="counting correctly predicted foreground",
    sources=["sklearn.metrics.confusion_matrix"],
    example="tp(threshold=0.3)",
    range=(0, None),
)
def tp(counts: Counts) -> PerClass:
    """True positives: the number of foreground pixels predicted as foreground.

    TP = number of pixels of one class with p ≥ threshold and y = 1, weighted.

    Returns:
        Pixels per sample and class, (B, C), 0 or more; undefined without a valid pixel.
    """
    return of_valid(counts.tp, counts)


@loss(
    use="counting background predicted as foreground",
    sources=["sklearn.metrics.confusion_matrix"],
    example="fp(threshold=0.3)",
    better="lower",
    range=(0, None),
)
def fp(counts: Counts) -> PerClass:
    """False positives: the number of background pixels predicted as foreground.

    FP = number of pixels of one class with p ≥ threshold and y = 0, weighted.

    Returns:
        Pixels per sample and class, (B, C), 0 or more; undefined without a valid pixel.
    """
    return of_valid(counts.fp, counts)


@loss(
    use="counting missed foreground",
    sources=["sklearn.metrics.confusion_matrix"],
    example="fn(threshold=0.3)",
    better="lower",
    range=(0, None),
)
def fn(counts: Counts) -> PerClass:
    """False negatives: the number of foreground pixels predicted as background.

    FN = number of pixels of one class with p < threshold and y = 1, weighted.

    Returns:
        Pixels per sample and class, (B, C), 0 or more; undefined without a valid pixel.
    """
    return of_valid(counts.fn, counts)


@loss(
    use="counting correctly predicted background",
    sources=["sklearn.metrics.confusion_matrix"],
    example="tn(threshold=0.3)",
    range=(0, None),
)
def tn(counts: Counts) -> PerClass:
    """True negatives: the number of background pixels predicted as background.

    TN = number of pixels of one class with p < threshold and y = 0, weighted.

    Returns:
        Pixels per sample and class, (B, C), 0 or more; undefined without a valid pixel.
    """
    return of_valid(counts.tn, counts)


@loss(
    use="how much of the background stays free of false positives",
    aliases=["true_negative_rate"],
    sources=["sklearn.metrics.recall_score"],
    example="specificity(threshold=0.3)",
)
def specificity(counts: Counts) -> PerClass:
    """Specificity: the fraction of background pixels predicted as background.

    TN / (TN + FP) of one class.

    Returns:
        Score per sample and class, (B, C), in [0, 1]; undefined where the target is full.
    """
    return ratio(counts.tn, counts.tn + counts.fp)


@loss(
    use="precision and recall in one number, with adjustable weights",
    sources=["van Rijsbergen 1979", "sklearn.metrics.fbeta_score"],
    example="fbeta(beta=2)",
)
def fbeta(counts: Counts, *, beta: NonNegative = 1.0) -> PerClass:
    """F-beta score: precision and recall combined, with recall weighted β times as much.

    (1 + β²)·TP / ((1 + β²)·TP + β²·FN + FP) of one class.

    Args:
        beta: β ≥ 0; 1 is `dice_score`, 0 is `precision`.

    Returns:
        Score per sample and class, (B, C), in [0, 1]; undefined where a class is in neither mask.
    """
    hits = (1 + beta**2) * counts.tp
    all_missed = (counts.tp + counts.fp == 0) & (counts.fn > 0)
    return where(all_missed, 0.0, ratio(hits, hits + beta**2 * counts.fn + counts.fp))


@loss(
    use="sizes, such as tumour volumes, regardless of position",
    sources=["Taha & Hanbury 2015"],
    example="volume_similarity(threshold=0.3)",
)
def volume_similarity(counts: Counts) -> PerClass:
    """Volumetric similarity: how similar two masks are in size, ignoring position.

    1 − |P − Y| / (P + Y), with P and Y the number of pixels of one class in each mask.

    Returns:
        Score per sample and class, (B, C), in [0, 1]; undefined where a class is in neither mask.
    """
    return 1 - ratio(abs(counts.fp - counts.fn), 2 * counts.tp + counts.fp + counts.fn)


def of_valid(pixels: Array, counts: Counts) -> Array:
    """A pixel count; undefined where no pixel is valid."""
    return where(counts.tp + counts.fp + counts.fn + counts.tn > 0, pixels, math.nan)


def unions(confusion: Confusion) -> Array:
    """Intersection over union of each class, (B, G, K); undefined if a class is in neither mask."""
    return ratio(confusion.tp, confusion.tp + confusion.fp + confusion.fn)


@loss(
    use="accuracy when classes differ in size",
    sources=["Brodersen et al. 2010", "sklearn.metrics.balanced_accuracy_score"],
    example="balanced_accuracy(threshold=0.3)",
)
def balanced_accuracy(confusion: Confusion) -> PerSample:
    """Balanced accuracy: the mean recall over the classes present in the target.

    mean_c M_cc / Σ_j M_cj of the confusion matrix M; on a binary task over foreground and
    background.

    Returns:
        Score per sample, (B,), in [0, 1]; undefined without a valid pixel. On a multilabel task,
        the mean over the labels.
    """
    return mean_defined(mean_defined(ratio(confusion.tp, confusion.target)))


@loss(
    use="the standard score of scene segmentation, with the background as a class",
    aliases=["miou"],
    sources=["Long, Shelhamer & Darrell 2015"],
    example="mean_iou(threshold=0.3)",
)
def mean_iou(confusion: Confusion) -> PerSample:
    """Mean intersection over union of all classes, including the background.

    mean_c M_cc / (Σ_j M_cj + Σ_i M_ic − M_cc) of the confusion matrix M, over the classes that are
    in either mask.

    Returns:
        Score per sample, (B,), in [0, 1]; undefined without a valid pixel. On a multilabel task,
        the mean over the labels.

    Note:
        On a multiclass task this equals `iou`; on a binary task `iou` covers the foreground only.
    """
    return mean_defined(mean_defined(unions(confusion)))


@loss(
    use="scene segmentation with more weight on frequent classes",
    aliases=["fwiou"],
    sources=["Long, Shelhamer & Darrell 2015"],
    example="freq_weighted_iou(threshold=0.3)",
)
def freq_weighted_iou(confusion: Confusion) -> PerSample:
    """Intersection over union of all classes, weighted by their target frequency.

    Σ_c (n_c/N)·IoU_c, with n_c the target's pixels of class c, background included.

    Returns:
        Score per sample, (B,), in [0, 1]; undefined without a valid pixel. On a multilabel task,
        the mean over the labels.
    """
    pixels = confusion.target
    weighted = (pixels * where(pixels > 0, unions(confusion), 0.0)).sum(-1)
    return mean_defined(ratio(weighted, pixels.sum(-1)))


@loss(
    use="one number for imbalanced masks, 0 for random predictions",
    range=(-1, 1),
    sources=["Matthews 1975", "Gorodkin 2004", "sklearn.metrics.matthews_corrcoef"],
    example="mcc(threshold=0.3)",
    revision=2,
)
def mcc(confusion: Confusion) -> PerSample:
    """Matthews correlation coefficient of predicted and target classes.

    (c·s − Σ_k p_k·t_k) / √((s² − Σ p_k²)(s² − Σ t_k²)), with c the number of correct pixels, s of
    all pixels, and p_k and t_k of pixels with predicted and true class k; for two classes
    (TP·TN − FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN)).

    Returns:
        Score per sample, (B,), in [−1, 1]; undefined where prediction or target has only one class.
        On a multilabel task, the mean over the labels.

    Note:
        scikit-learn gives 0 where this is undefined.
    """
    tp, fp, fn, tn = confusion
    spread_pred = ((tp + fp) * (fn + tn)).sum(-1)  # s² − Σ p_k² without cancellation
    spread_target = ((tp + fn) * (fp + tn)).sum(-1)
    coefficient = ratio((tp * tn - fp * fn).sum(-1), root(spread_pred) * root(spread_target))
    return mean_defined(coefficient)


@loss(
    use="agreement with a rater beyond chance",
    range=(-1, 1),
    aliases=["cohen_kappa"],
    sources=["Cohen 1960", "sklearn.metrics.cohen_kappa_score"],
    example="kappa(threshold=0.3)",
    revision=2,
)
def kappa(confusion: Confusion) -> PerSample:
    """Cohen's kappa: agreement beyond chance.

    (p_o − p_e) / (1 − p_e), with p_o the fraction of correct pixels and p_e = Σ_k p_k·t_k / s².

    Returns:
        Score per sample, (B,), in [−1, 1]; undefined where prediction or target has only one class.
        On a multilabel task, the mean over the labels.
    """
    tp, fp, fn, tn = confusion
    agreement = ratio((tp * tn - fp * fn).sum(-1), ((tp + fp) * (fp + tn)).sum(-1))
    pred_varies, target_varies = (
        (pixels > 0).sum(-1) > 1 for pixels in (confusion.pred, confusion.target)
    )
    return mean_defined(where(pred_varies & target_varies, agreement, math.nan))


@loss(
    use="how well probabilities rank pixels, regardless of any threshold",
    aliases=["roc_auc"],
    sources=["Hanley & McNeil 1982", "sklearn.metrics.roc_auc_score"],
    example="auc(class_reduction=weighted)",
)
def auc(ranking: Ranking) -> PerClass:
    """Area under the ROC curve: how often positive pixels score above negative ones.

    (#(s⁺ > s⁻) + ½·#(s⁺ = s⁻)) / (#⁺·#⁻) of one class, over all pairs of a positive and a negative
    pixel.

    Returns:
        Score per sample and class, (B, C), in [0, 1]; undefined where the target is empty or full.

    Note:
        The pooled value is over all pixels of the run. Float predictions are stored for it by their
        distinct scores; with more than 2²⁴ distinct scores it is undefined.
    """
    above = (ranking.positive * ranking.negative_below).sum(-1)
    below = (ranking.negative * ranking.positive_below).sum(-1)
    pairs = ranking.positive.sum(-1) * ranking.negative.sum(-1)
    return ratio((above + pairs - below) / 2, pairs)


@loss(
    use="ranking of rare positives, regardless of any threshold",
    aliases=["ap"],
    sources=["sklearn.metrics.average_precision_score"],
    example="average_precision(class_reduction=weighted)",
)
def average_precision(ranking: Ranking) -> PerClass:
    """Average precision: the mean precision over the scores of the positive pixels.

    Σ_n (R_n − R_(n−1))·P_n of one class, with precision and recall at every distinct score; no
    interpolation.

    Returns:
        Score per sample and class, (B, C), in [0, 1]; undefined where the target is empty or full.

    Note:
        Pooled like `auc`. The trapezoidal area under the same curve is larger.
    """
    positives, negatives = (
        weight.sum(-1)[..., None] for weight in (ranking.positive, ranking.negative)
    )
    true_positives = positives - ranking.positive_below
    predicted = true_positives + negatives - ranking.negative_below
    precision = true_positives / predicted.clip(min=TINY)
    sums = (ranking.positive * precision).sum(-1)
    both_classes = ((positives > 0) & (negatives > 0))[..., 0]
    return where(both_classes, ratio(sums, positives[..., 0]), math.nan)


@loss(
    use="whether pixels with probability 0.8 are correct eight times in ten",
    aliases=["expected_calibration_error"],
    sources=["Naeini et al. 2015", "Guo et al. 2017"],
    example="ece(bins=10)",
    better="lower",
)
def ece(calibration: Calibration) -> PerSample:
    """Expected calibration error: the gap between probabilities and frequencies.

    Σ_b |Σ_(x∈b) (p_x − y_x)| / N over bins (k/15, (k+1)/15] of p: the probability of the
    foreground, or of the most likely class, with y = 1 where that class is correct.

    Returns:
        Error per sample, (B,), in [0, 1]; undefined without a valid pixel. On a multilabel task,
        the mean over the labels.
    """
    gap = abs(calibration.predicted - calibration.true).sum(-1)
    return mean_defined(ratio(gap, calibration.pixels.sum(-1)))
