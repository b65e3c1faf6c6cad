"""Scores ↑: of hard masks from the hits and misses of each class, of probabilities by rank."""

from __future__ import annotations

import torch
from torch import Tensor

from lossbench.interface.annotations import NonNegative, PerClass, PerSample
from lossbench.interface.stable_math import ratio, root
from lossbench.losses import loss
from lossbench.views.confusion import Confusion, Counts
from lossbench.views.ranking import Calibration, Ranking


@loss(
    family="scores",
    use="the usual score of medical segmentation",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(0, 1),
    aliases=["f1"],
    sources=["Dice 1945", "sklearn.metrics.f1_score"],
    example="dice_score(threshold=0.3)",
)
def dice_score(counts: Counts) -> PerClass:
    """Dice coefficient, or F1 score, of hard masks.

    2·TP / (2·TP + FP + FN) of one class.

    Args:
        counts: hits, false alarms and misses, each of shape (B, C).

    Returns:
        Score per sample and class, shape (B, C), in [0, 1]; undefined where a class is in neither
        mask.

    Note:
        Two empty masks score 1 in MetricsReloaded, medpy and segmentation_models.pytorch.
    """
    return ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


@loss(
    family="scores",
    use="the usual score of scene segmentation and detection",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(0, 1),
    aliases=["jaccard_index"],
    sources=["Jaccard 1912", "sklearn.metrics.jaccard_score"],
    example="iou(threshold=0.3)",
)
def iou(counts: Counts) -> PerClass:
    """Intersection over union of hard masks.

    TP / (TP + FP + FN) of one class.

    Args:
        counts: hits, false alarms and misses, each of shape (B, C).

    Returns:
        Score per sample and class, shape (B, C), in [0, 1]; undefined where a class is in neither
        mask.

    Note:
        The mean is over samples and their defined classes; mmseg and Cityscapes pool all pixels of
        the data set first, which is the `pooled` aggregate here.
    """
    return ratio(counts.tp, counts.tp + counts.fp + counts.fn)


@loss(
    family="scores",
    use="how far a positive pixel can be trusted",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(0, 1),
    sources=["sklearn.metrics.precision_score"],
    example="precision(threshold=0.3)",
)
def precision(counts: Counts) -> PerClass:
    """Precision: the share of what was predicted that is right.

    TP / (TP + FP) of one class; 0 where nothing was predicted but something is to be found.

    Args:
        counts: hits, false alarms and misses, each of shape (B, C).

    Returns:
        Score per sample and class, shape (B, C), in [0, 1]; undefined where a class is in neither
        mask.
    """
    missed_all = (counts.tp + counts.fp == 0) & (counts.fn > 0)
    return ratio(counts.tp, counts.tp + counts.fp).masked_fill(missed_all, 0.0)


@loss(
    family="scores",
    use="how much of what is there was found",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(0, 1),
    aliases=["sensitivity", "true_positive_rate"],
    sources=["sklearn.metrics.recall_score"],
    example="recall(threshold=0.3)",
)
def recall(counts: Counts) -> PerClass:
    """Recall, or sensitivity: the share of what is to be found that was found.

    TP / (TP + FN) of one class.

    Args:
        counts: hits, false alarms and misses, each of shape (B, C).

    Returns:
        Score per sample and class, shape (B, C), in [0, 1]; undefined where the target is empty.
    """
    return ratio(counts.tp, counts.tp + counts.fn)


@loss(
    family="scores",
    use="balanced classes; a rare one hardly counts",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(0, 1),
    aliases=["pixel_accuracy"],
    sources=["sklearn.metrics.accuracy_score"],
    example="accuracy(threshold=0.3)",
)
def accuracy(confusion: Confusion) -> PerSample:
    """Accuracy: the share of pixels whose class is right.

    Σ_c M_cc / Σ M of the confusion matrix M; over every label of every pixel on a multilabel task.

    Args:
        confusion: each class against the others, each field of shape (B, G, K).

    Returns:
        Score per sample, shape (B,), in [0, 1]; undefined without a valid pixel.

    Note:
        There is no column per class: of the pixels of one class, the share that is right is
        `recall`. MONAI's per-class accuracy counts the true negatives of every class instead.
    """
    return ratio(confusion.tp.sum((-2, -1)), confusion.target.sum((-2, -1)))


@loss(
    family="scores",
    use="counting what was found",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    sources=["sklearn.metrics.confusion_matrix"],
    example="tp(threshold=0.3)",
)
def tp(counts: Counts) -> PerClass:
    """True positives: how many hits there are.

    TP = the pixels of one class with p ≥ threshold and y = 1, each with its weight.

    Args:
        counts: hits, false alarms, misses and the rest, each of shape (B, C).

    Returns:
        Pixels per sample and class, shape (B, C), 0 or more; undefined without a valid pixel.
    """
    return of_valid(counts.tp, counts)


@loss(
    family="scores",
    use="counting false alarms",
    tasks=["binary", "multiclass", "multilabel"],
    better="lower",
    sources=["sklearn.metrics.confusion_matrix"],
    example="fp(threshold=0.3)",
)
def fp(counts: Counts) -> PerClass:
    """False positives: how many false alarms there are.

    FP = the pixels of one class with p ≥ threshold and y = 0, each with its weight.

    Args:
        counts: hits, false alarms, misses and the rest, each of shape (B, C).

    Returns:
        Pixels per sample and class, shape (B, C), 0 or more; undefined without a valid pixel.
    """
    return of_valid(counts.fp, counts)


@loss(
    family="scores",
    use="counting misses",
    tasks=["binary", "multiclass", "multilabel"],
    better="lower",
    sources=["sklearn.metrics.confusion_matrix"],
    example="fn(threshold=0.3)",
)
def fn(counts: Counts) -> PerClass:
    """False negatives: how many misses there are.

    FN = the pixels of one class with p < threshold and y = 1, each with its weight.

    Args:
        counts: hits, false alarms, misses and the rest, each of shape (B, C).

    Returns:
        Pixels per sample and class, shape (B, C), 0 or more; undefined without a valid pixel.
    """
    return of_valid(counts.fn, counts)


@loss(
    family="scores",
    use="counting what was rightly left out",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    sources=["sklearn.metrics.confusion_matrix"],
    example="tn(threshold=0.3)",
)
def tn(counts: Counts) -> PerClass:
    """True negatives: how many pixels rightly left out there are.

    TN = the pixels of one class with p < threshold and y = 0, each with its weight.

    Args:
        counts: hits, false alarms, misses and the rest, each of shape (B, C).

    Returns:
        Pixels per sample and class, shape (B, C), 0 or more; undefined without a valid pixel.
    """
    return of_valid(counts.tn, counts)


@loss(
    family="scores",
    use="how often nothing is seen where nothing is",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(0, 1),
    aliases=["true_negative_rate"],
    sources=["sklearn.metrics.recall_score"],
    example="specificity(threshold=0.3)",
)
def specificity(counts: Counts) -> PerClass:
    """Specificity: the share of what is not to be found that was left out.

    TN / (TN + FP) of one class.

    Args:
        counts: hits, false alarms, misses and the rest, each of shape (B, C).

    Returns:
        Score per sample and class, shape (B, C), in [0, 1]; undefined where the target is full.
    """
    return ratio(counts.tn, counts.tn + counts.fp)


@loss(
    family="scores",
    use="one number from precision and recall, leaning to either side",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(0, 1),
    sources=["van Rijsbergen 1979", "sklearn.metrics.fbeta_score"],
    example="fbeta(beta=2)",
)
def fbeta(counts: Counts, *, beta: NonNegative = 1.0) -> PerClass:
    """F-beta score: precision and recall in one, recall weighing β times as much.

    (1 + β²)·TP / ((1 + β²)·TP + β²·FN + FP) of one class.

    Args:
        counts: hits, false alarms, misses and the rest, each of shape (B, C).
        beta: β ≥ 0; 1 is `dice_score`, 0 is `precision`.

    Returns:
        Score per sample and class, shape (B, C), in [0, 1]; undefined where a class is in neither
        mask.

    Note:
        Two empty masks score 1 in MetricsReloaded.
    """
    top = (1 + beta**2) * counts.tp
    missed_all = (counts.tp + counts.fp == 0) & (counts.fn > 0)
    return ratio(top, top + beta**2 * counts.fn + counts.fp).masked_fill(missed_all, 0.0)


@loss(
    family="scores",
    use="sizes, such as of a tumour, wherever they are",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(0, 1),
    sources=["Taha & Hanbury 2015"],
    example="volume_similarity(threshold=0.3)",
)
def volume_similarity(counts: Counts) -> PerClass:
    """Volumetric similarity: whether two masks have the same size, wherever they are.

    1 − |P − Y| / (P + Y), with P and Y the pixels of one class in either mask.

    Args:
        counts: hits, false alarms, misses and the rest, each of shape (B, C).

    Returns:
        Score per sample and class, shape (B, C), in [0, 1]; undefined where a class is in neither
        mask.
    """
    return 1 - ratio((counts.fp - counts.fn).abs(), 2 * counts.tp + counts.fp + counts.fn)


def of_valid(pixels: Tensor, counts: Counts) -> Tensor:
    """A number of pixels; undefined where none is valid."""
    return pixels.where(counts.tp + counts.fp + counts.fn + counts.tn > 0, torch.nan)


def recalls(confusion: Confusion) -> Tensor:
    """The share of each class that was found, (B, G, K); undefined where the target lacks it."""
    return ratio(confusion.tp, confusion.target)


def unions(confusion: Confusion) -> Tensor:
    """Intersection over union of each class, (B, G, K); undefined in neither mask."""
    return ratio(confusion.tp, confusion.tp + confusion.fp + confusion.fn)


@loss(
    family="scores",
    use="accuracy when classes differ in size",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(0, 1),
    sources=["Brodersen et al. 2010", "sklearn.metrics.balanced_accuracy_score"],
    example="balanced_accuracy(threshold=0.3)",
)
def balanced_accuracy(confusion: Confusion) -> PerSample:
    """Balanced accuracy: the mean recall over the classes that the target has.

    mean_c M_cc / Σ_j M_cj of the confusion matrix M; foreground and background of a binary task.

    Args:
        confusion: each class against the others, each field of shape (B, G, K).

    Returns:
        Score per sample, shape (B,), in [0, 1]; undefined without a valid pixel. On a multilabel
        task the mean over the labels.
    """
    return recalls(confusion).nanmean(-1).nanmean(-1)


@loss(
    family="scores",
    use="the usual score of scene segmentation, the background being a class",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(0, 1),
    aliases=["miou"],
    sources=["Long, Shelhamer & Darrell 2015"],
    example="mean_iou(threshold=0.3)",
)
def mean_iou(confusion: Confusion) -> PerSample:
    """Mean intersection over union of all classes, the background among them.

    mean_c M_cc / (Σ_j M_cj + Σ_i M_ic − M_cc) of the confusion matrix M, over the classes that are
    in either mask.

    Args:
        confusion: each class against the others, each field of shape (B, G, K).

    Returns:
        Score per sample, shape (B,), in [0, 1]; undefined without a valid pixel. On a multilabel
        task the mean over the labels.

    Note:
        On a multiclass task this is `iou`; on a binary task `iou` is the foreground's alone. mmseg
        and Cityscapes pool all pixels of the data set first, which is the `pooled` aggregate.
    """
    return unions(confusion).nanmean(-1).nanmean(-1)


@loss(
    family="scores",
    use="scene segmentation with large classes counting more",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(0, 1),
    aliases=["fwiou"],
    sources=["Long, Shelhamer & Darrell 2015"],
    example="freq_weighted_iou(threshold=0.3)",
)
def freq_weighted_iou(confusion: Confusion) -> PerSample:
    """Intersection over union of all classes, weighted by their share of the target.

    Σ_c (n_c/N)·IoU_c, with n_c the target's pixels of class c, the background among them.

    Args:
        confusion: each class against the others, each field of shape (B, G, K).

    Returns:
        Score per sample, shape (B,), in [0, 1]; undefined without a valid pixel. On a multilabel
        task the mean over the labels.
    """
    pixels = confusion.target
    top = (pixels * unions(confusion).where(pixels > 0, 0.0)).sum(-1)
    return ratio(top, pixels.sum(-1)).nanmean(-1)


@loss(
    family="scores",
    use="one number for imbalanced masks that chance leaves at 0",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(-1, 1),
    sources=["Matthews 1975", "Gorodkin 2004", "sklearn.metrics.matthews_corrcoef"],
    example="mcc(threshold=0.3)",
    revision=2,
)
def mcc(confusion: Confusion) -> PerSample:
    """Matthews correlation coefficient of the predicted and the target classes.

    (c·s − Σ_k p_k·t_k) / √((s² − Σ p_k²)(s² − Σ t_k²)), with c the right pixels, s all of them, p_k
    and t_k those predicted as and of class k; of two classes
    (TP·TN − FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN)).

    Args:
        confusion: each class against the others, each field of shape (B, G, K).

    Returns:
        Score per sample, shape (B,), in [−1, 1]; undefined where prediction or target have one
        class only. On a multilabel task the mean over the labels.

    Note:
        scikit-learn gives 0 where it is undefined.
    """
    tp, fp, fn, tn = confusion
    spread_pred = ((tp + fp) * (fn + tn)).sum(-1)  # s² − Σ p_k², without its digits that cancel
    spread_true = ((tp + fn) * (fp + tn)).sum(-1)
    found = ratio((tp * tn - fp * fn).sum(-1), root(spread_pred) * root(spread_true))
    return found.nanmean(-1)


@loss(
    family="scores",
    use="agreement with a rater beyond chance",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(-1, 1),
    aliases=["cohen_kappa"],
    sources=["Cohen 1960", "sklearn.metrics.cohen_kappa_score"],
    example="kappa(threshold=0.3)",
    revision=2,
)
def kappa(confusion: Confusion) -> PerSample:
    """Cohen's kappa: agreement beyond what chance gives.

    (p_o − p_e) / (1 − p_e), with p_o the share of right pixels and p_e = Σ_k p_k·t_k / s².

    Args:
        confusion: each class against the others, each field of shape (B, G, K).

    Returns:
        Score per sample, shape (B,), in [−1, 1]; undefined where prediction or target have one
        class only. On a multilabel task the mean over the labels.
    """
    tp, fp, fn, tn = confusion
    beyond = (tp * tn - fp * fn).sum(-1)  # of all pairs of pixels, those of p_o − p_e
    found = ratio(beyond, ((tp + fp) * (fp + tn)).sum(-1))
    several = [(side > 0).sum(-1) > 1 for side in (confusion.pred, confusion.target)]
    return found.where(several[0] & several[1], torch.nan).nanmean(-1)


@loss(
    family="scores",
    use="how well probabilities rank pixels, whatever the threshold",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(0, 1),
    aliases=["roc_auc"],
    sources=["Hanley & McNeil 1982", "sklearn.metrics.roc_auc_score"],
    example="auc(class_reduction=weighted)",
)
def auc(ranking: Ranking) -> PerClass:
    """Area under the ROC curve: how often a positive pixel scores above a negative one.

    (#(s⁺ > s⁻) + ½·#(s⁺ = s⁻)) / (#⁺·#⁻) of one class, over all pairs of a positive and a negative
    pixel.

    Args:
        ranking: positive and negative pixels by their scores, each (B, C, N).

    Returns:
        Score per sample and class, shape (B, C), in [0, 1]; undefined where the target is empty or
        full.

    Note:
        The pooled value is over all pixels of the run. Float predictions are remembered for it by
        their distinct scores, and it stays undefined where those are more than 2²⁴.
    """
    above = (ranking.positive * ranking.negative_below).sum(-1)
    below = (ranking.negative * ranking.positive_below).sum(-1)
    pairs = ranking.positive.sum(-1) * ranking.negative.sum(-1)
    return ratio((above + pairs - below) / 2, pairs)


@loss(
    family="scores",
    use="ranking of rare positives, whatever the threshold",
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(0, 1),
    aliases=["ap"],
    sources=["sklearn.metrics.average_precision_score"],
    example="average_precision(class_reduction=weighted)",
)
def average_precision(ranking: Ranking) -> PerClass:
    """Average precision: the precision at each positive pixel's score, averaged.

    Σ_n (R_n − R_(n−1))·P_n of one class, with precision and recall at every distinct score; no
    interpolation.

    Args:
        ranking: positive and negative pixels by their scores, each (B, C, N).

    Returns:
        Score per sample and class, shape (B, C), in [0, 1]; undefined where the target is empty or
        full.

    Note:
        Pooled as `auc` is. The trapezoidal area under the same curve is larger.
    """
    positives, negatives = (
        side.sum(-1, keepdim=True) for side in (ranking.positive, ranking.negative)
    )
    found = positives - ranking.positive_below
    taken = found + negatives - ranking.negative_below
    precision = found / taken.clamp(min=torch.finfo(taken.dtype).tiny)
    top = (ranking.positive * precision).sum(-1)
    both = ((positives > 0) & (negatives > 0))[..., 0]
    return ratio(top, positives[..., 0]).where(both, torch.nan)


@loss(
    family="scores",
    use="whether a probability of 0.8 is right in eight of ten pixels",
    tasks=["binary", "multiclass", "multilabel"],
    range=(0, 1),
    aliases=["expected_calibration_error"],
    sources=["Naeini et al. 2015", "Guo et al. 2017"],
    example="ece(bins=10)",
)
def ece(calibration: Calibration) -> PerSample:
    """Expected calibration error: how far probabilities are from the frequencies they claim.

    Σ_b |Σ_(x∈b) (p_x − y_x)| / N over bins (k/15, (k+1)/15] of p: the foreground's probability, or
    that of the most likely class with y = 1 where it is right.

    Args:
        calibration: pixels, predicted and true positives by bins, each of shape (B, G, bins).

    Returns:
        Error per sample, shape (B,), in [0, 1]; undefined without a valid pixel. On a multilabel
        task the mean over the labels.
    """
    apart = (calibration.predicted - calibration.true).abs().sum(-1)
    return ratio(apart, calibration.pixels.sum(-1)).nanmean(-1)
