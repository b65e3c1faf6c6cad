"""References of lossbench/losses/scores.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache, partial
from typing import Any

import numpy as np
from sklearn import metrics

from helpers.references.common import (
    CLASSED,
    TWO,
    Reference,
    Row,
    Truth,
    class_rows,
    each_class,
    filled,
)


@cache
def scores_by_sklearn(truth: Truth, c: int, threshold: float) -> dict[str, float]:
    """scikit-learn's scores of one class as yes and no."""
    target, pred = truth.decided(c, threshold)
    if not (target.any() or pred.any()):  # in neither mask
        return dict.fromkeys(("dice_score", "iou", "precision", "recall"), math.nan)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        target, pred, average="binary", zero_division=0
    )
    return {
        "dice_score": f1,
        "iou": metrics.jaccard_score(target, pred, zero_division=0),
        "precision": precision,
        "recall": recall if target.any() else math.nan,  # nothing to recall
    }


def score_by_sklearn(kind: str, truth: Truth, c: int, threshold: float = 0.5) -> float:
    return float(scores_by_sklearn(truth, c, threshold)[kind])


@cache
def accuracy_by_sklearn(truth: Truth, threshold: float = 0.5) -> tuple[float, Any]:
    """Over the labels of pixels, or over every yes and no of a binary or multilabel task."""
    pairs = [truth.decided(c, threshold) for c in range(len(truth.target))]
    if truth.task == "multiclass":
        target, pred = (np.array(side).argmax(0) for side in zip(*pairs, strict=True))
    else:
        target, pred = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return float(metrics.accuracy_score(target, pred)) if len(target) else math.nan, None


def score_rows(kind: str) -> list[Row]:
    one = partial(score_by_sklearn, kind)
    at_30 = each_class(partial(one, threshold=0.3))
    return [
        Row(CLASSED, "", each_class(one), "scikit-learn"),
        Row(TWO, "threshold=0.3", at_30, "scikit-learn"),
        *class_rows(one),
    ]


def count(kind: str, truth: Truth, c: int, threshold: float = 0.5) -> float:
    return counts_by_sklearn(truth, c, threshold)[kind]


@cache
def counts_by_sklearn(truth: Truth, c: int, threshold: float) -> dict[str, float]:
    """scikit-learn's confusion matrix of one class."""
    target, pred = truth.decided(c, threshold)
    names = ("tn", "fp", "fn", "tp")
    if not len(target):
        return dict.fromkeys(names, math.nan)
    cells = metrics.confusion_matrix(target, pred, labels=[False, True]).ravel()
    return dict(zip(names, map(float, cells), strict=True))


def specificity(truth: Truth, c: int, threshold: float = 0.5) -> float:
    """The recall of what is not of the class."""
    target, pred = truth.decided(c, threshold)
    if not (~target).any():
        return math.nan
    return float(metrics.recall_score(~target, ~pred))


def fbeta(truth: Truth, c: int, threshold: float = 0.5, beta: float = 1.0) -> float:
    target, pred = truth.decided(c, threshold)
    if not (target.any() or pred.any()):
        return math.nan
    return float(metrics.fbeta_score(target, pred, beta=beta, zero_division=0))


def volume_similarity(truth: Truth, c: int, threshold: float = 0.5) -> float:
    """Taha & Hanbury 2015, from the sizes of both masks."""
    target, pred = (int(side.sum()) for side in truth.decided(c, threshold))
    return 1 - abs(pred - target) / (pred + target) if pred + target else math.nan


Decided = tuple[np.ndarray, np.ndarray]


def of_classes(one: Callable[[np.ndarray, np.ndarray], float]) -> Callable[..., tuple[float, Any]]:
    """A number of target and predicted classes; of several labels the mean of those defined."""

    @cache
    def reference(truth: Truth, threshold: float = 0.5) -> tuple[float, Any]:
        pairs = [truth.decided(c, threshold) for c in range(len(truth.target))]
        if truth.task == "multiclass":
            pairs = [tuple(np.array(side).argmax(0) for side in zip(*pairs, strict=True))]
        values = [one(*pair) if len(pair[0]) else math.nan for pair in pairs]
        return (math.nan if np.isnan(values).all() else float(np.nanmean(values))), None

    return reference


def balanced_accuracy(target: np.ndarray, pred: np.ndarray) -> float:
    """The recall of each class that the target has, by scikit-learn."""
    labels = np.unique(target)
    return float(metrics.recall_score(target, pred, labels=labels, average="macro"))


def ious(target: np.ndarray, pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels = np.unique(np.concatenate([target, pred]))
    each = metrics.jaccard_score(target, pred, labels=labels, average=None)
    return each, np.array([(target == label).mean() for label in labels])


def mean_iou(target: np.ndarray, pred: np.ndarray) -> float:
    return float(ious(target, pred)[0].mean())


def freq_weighted_iou(target: np.ndarray, pred: np.ndarray) -> float:
    each, shares = ious(target, pred)
    return float((each * shares).sum())


def mixed(score: Callable[..., float]) -> Callable[[np.ndarray, np.ndarray], float]:
    """scikit-learn's score where both sides have several classes."""

    def one(target: np.ndarray, pred: np.ndarray) -> float:
        several = len(np.unique(target)) > 1 and len(np.unique(pred)) > 1
        return float(score(target, pred)) if several else math.nan

    return one


def ranked(score: Callable[..., float]) -> Callable[..., float]:
    """scikit-learn's score of one class's probabilities against the rest."""

    def one(truth: Truth, c: int) -> float:
        target, _ = truth.decided(c, 0.5)
        if not target.any() or target.all():
            return math.nan
        return float(score(target, truth.channel(c)))

    return one


@cache
def calibration(truth: Truth, bins: int = 15) -> tuple[float, Any]:
    """Guo et al. 2017 with bins decided by fractions; 8-bit levels are the fractions they are."""
    sides = []
    if truth.task == "multiclass":
        pred, target = truth.rows("pred").numpy(), truth.rows("target").numpy()
        chosen = (pred if truth.logits is None else truth.rows("logits").numpy()).argmax(1)
        rows = np.arange(len(pred))
        sides.append((pred.max(1) if len(pred) else pred[:, 0], target[rows, chosen]))
    else:
        for c in range(len(truth.target)):
            sides.append((truth.channel(c), truth.channel(c, "target")))
    values = [error(*side, bins) for side in sides if len(side[0])]
    return (float(np.mean(values)) if values else math.nan), None


def error(pred: np.ndarray, target: np.ndarray, bins: int) -> float:
    place = np.array([max(0, math.ceil(exact(p) * bins) - 1) for p in pred.tolist()])
    apart = [abs((pred - target)[place == b].sum()) for b in range(bins)]
    return sum(apart) / len(pred)


@cache
def exact(p: float) -> Fraction:
    """The 8-bit level that a number is the quotient of, or the number itself."""
    level = Fraction(round(p * 255), 255)
    return level if float(level) == p else Fraction(p)


def hard_rows(one: Callable[..., float], source: str = "scikit-learn") -> list[Row]:
    """A score with a value for each class."""
    at_30 = each_class(partial(one, threshold=0.3))
    return [
        Row(CLASSED, "", each_class(one), source),
        Row(TWO, "threshold=0.3", at_30, source),
        *class_rows(one),
    ]


def sample_rows(reference: Callable[..., tuple[float, Any]]) -> list[Row]:
    """A score with a value for each sample only."""
    return [
        Row(CLASSED, "", reference, "scikit-learn"),
        Row(TWO, "threshold=0.3", partial(reference, threshold=0.3), "scikit-learn"),
        Row(CLASSED, "empty=1", filled(reference, 1.0), "scikit-learn"),
    ]


def ranked_rows(score: Callable[..., float]) -> list[Row]:
    one = ranked(score)
    return [Row(CLASSED, "", each_class(one), "scikit-learn"), *class_rows(one)]


TWICE: Reference = each_class(partial(fbeta, beta=2.0))


REFERENCES: dict[str, list[Row]] = {
    "dice_score": score_rows("dice_score"),
    "iou": score_rows("iou"),
    "precision": score_rows("precision"),
    "recall": score_rows("recall"),
    "accuracy": [
        Row(CLASSED, "", accuracy_by_sklearn, "scikit-learn"),
        Row(TWO, "threshold=0.3", partial(accuracy_by_sklearn, threshold=0.3), "scikit-learn"),
        Row(CLASSED, "empty=1", filled(accuracy_by_sklearn, 1.0), "scikit-learn"),
    ],
    **{kind: hard_rows(partial(count, kind)) for kind in ("tp", "fp", "fn", "tn")},
    "specificity": hard_rows(specificity),
    "fbeta": [
        *hard_rows(fbeta),
        Row(CLASSED, "beta=2", TWICE, "scikit-learn"),
        Row(CLASSED, "beta=0", each_class(partial(score_by_sklearn, "precision")), "scikit-learn"),
    ],
    "volume_similarity": hard_rows(volume_similarity, "Taha & Hanbury by hand"),
    "balanced_accuracy": sample_rows(of_classes(balanced_accuracy)),
    "mean_iou": sample_rows(of_classes(mean_iou)),
    "freq_weighted_iou": sample_rows(of_classes(freq_weighted_iou)),
    "mcc": sample_rows(of_classes(mixed(metrics.matthews_corrcoef))),
    "kappa": sample_rows(of_classes(mixed(metrics.cohen_kappa_score))),
    "auc": ranked_rows(metrics.roc_auc_score),
    "average_precision": ranked_rows(metrics.average_precision_score),
    "ece": [
        Row(CLASSED, "", calibration, "fractions"),
        Row(CLASSED, "bins=7", partial(calibration, bins=7), "fractions"),
        Row(CLASSED, "empty=1", filled(calibration, 1.0), "fractions"),
    ],
}  # fmt: skip
