"""Scores ↑ of hard masks, from the counts of hits, false alarms and misses of each class."""

import torch

from lossbench.losses import loss
from lossbench.views.confusion import Confusion
from lossbench.views.counts import Counts
from lossbench.views.forms import PerClass, PerSample
from lossbench.views.sums import ratio


@loss(
    family="scores",
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
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(0, 1),
    aliases=["sensitivity"],
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
    tasks=["binary", "multiclass", "multilabel"],
    better="higher",
    range=(0, 1),
    sources=["sklearn.metrics.accuracy_score"],
    example="accuracy(threshold=0.3)",
)
def accuracy(confusion: Confusion) -> PerSample:
    """Accuracy: the share of pixels whose class is right.

    Σ_c M_cc / Σ M of the confusion matrix M; over every label of every pixel on a multilabel task.

    Args:
        confusion: target class by predicted class, shape (B, G, K, K).

    Returns:
        Score per sample, shape (B,), in [0, 1]; undefined without a valid pixel.

    Note:
        There is no column per class: of the pixels of one class, the share that is right is
        `recall`. MONAI's per-class accuracy counts the true negatives of every class instead.
    """
    right = torch.diagonal(confusion.matrix, dim1=-2, dim2=-1).sum((-2, -1))
    return ratio(right, confusion.matrix.sum((-3, -2, -1)))
