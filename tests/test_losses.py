"""Every loss of the catalogue against independent references, through the whole pipeline."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from conftest import SAMPLES
from monai.losses import DiceLoss, TverskyLoss
from PIL import Image
from scipy.special import expit, softmax
from sklearn import metrics
from tolerances import REFERENCE, SINGLE, check_close
from torch.nn import functional
from torchmetrics.functional import classification

import lossbench

TASKS = ("binary", "multiclass", "multilabel", "image")
CLASSES = 3
CLASS_WEIGHTS = np.array([0.2, 1.0, 2.5])


@dataclass(frozen=True, eq=False)
class Truth:
    """One sample as a reference sees it, float64, classes or channels in rows.

    `counts` says how many pixels each pixel stands for: its weight, 0 where it is ignored. So no
    reference needs to know of weights.
    """

    task: str
    pred: np.ndarray  # (C, N) probabilities or image values
    target: np.ndarray  # (C, N)
    counts: np.ndarray  # (C, N) whole numbers
    logits: np.ndarray | None = None  # (C, N)

    def channel(self, c: int, of: str = "pred") -> np.ndarray:
        """The valid pixels of one class, those of weight n repeated n times."""
        return np.repeat(getattr(self, of)[c], self.counts[c])

    def all(self, of: str = "pred") -> np.ndarray:
        """The elements of all classes in one row."""
        return np.concatenate([self.channel(c, of) for c in range(len(self.target))])

    def rows(self, of: str) -> torch.Tensor:
        """(N, C), where classes share their counts."""
        return torch.tensor(np.repeat(getattr(self, of), self.counts[0], axis=1).T)

    @property
    def support(self) -> np.ndarray:
        return (self.target * self.counts).sum(1)

    @property
    def hard(self) -> bool:
        return bool(np.isin(self.target, (0, 1)).all())

    def decided(self, c: int, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """The hard masks of one class, target first; the most likely class, the first on ties."""
        if self.task == "multiclass":
            stored = self.pred if self.logits is None else self.logits
            sides = (self.target.argmax(0) == c, stored.argmax(0) == c)
        else:
            sides = (self.target[c] >= threshold, self.pred[c] >= threshold)
        return tuple(np.repeat(side, self.counts[c]) for side in sides)


def together(truths: Sequence[Truth]) -> Truth:
    """All pixels of all samples as one sample."""
    fields = ["pred", "target", "counts"] + ["logits"] * (truths[0].logits is not None)
    joined = {of: np.concatenate([getattr(each, of) for each in truths], 1) for of in fields}
    return Truth(truths[0].task, **joined)


# --- references -----------------------------------------------------------------------------------

Reference = Callable[[Truth], tuple[float, Any]]  # the value, and those of the classes or None


class Row(NamedTuple):
    """Options as they are typed, what they should give on which tasks, and who says so."""

    tasks: Sequence[str]
    options: str
    reference: Reference
    source: str


def per_element(function: Callable[..., Any], reduction: str = "mean", over: str = "valid") -> Any:
    """A loss over elements that torch reduces; undefined where there are none."""

    def value(truth: Truth, pick: Callable[[str], np.ndarray]) -> float:
        if not len(pick("target")):
            return math.nan
        given = [torch.tensor(pick(of)) for of in ("pred", "target")]
        logits = None if truth.logits is None else torch.tensor(pick("logits"))
        return float(function(*given, logits, reduction="mean" if over == "valid" else "sum"))

    def reference(truth: Truth) -> tuple[float, Any]:
        whole = value(truth, truth.all)
        if over == "all":
            return whole / truth.target.size, None  # LOSSES.md says nothing of the class columns
        channels = range(len(truth.target))
        classes = [value(truth, lambda of, c=c: truth.channel(c, of)) for c in channels]
        if reduction == "sum":
            elements = truth.counts.sum(1)
            return whole * elements.sum(), np.array(classes) * elements
        return whole, classes

    return reference


def weighted_channels(function: Callable[..., Any], weights: np.ndarray) -> Reference:
    """Σ_c w_c·Σ_x v / Σ_c w_c·N_c, by hand from each channel's mean."""

    def reference(truth: Truth) -> tuple[float, Any]:
        _, classes = per_element(function)(truth)
        mass = weights * truth.counts.sum(1)
        return average(np.asarray(classes), mass), classes

    return reference


def torch_l1(pred: Any, target: Any, logits: Any, reduction: str) -> torch.Tensor:
    return functional.l1_loss(pred, target, reduction=reduction)


def torch_l2(pred: Any, target: Any, logits: Any, reduction: str) -> torch.Tensor:
    return functional.mse_loss(pred, target, reduction=reduction)


def torch_bce(
    pred: Any, target: Any, logits: Any, reduction: str, pos_weight: float = 1.0, eps: float = 0.0
) -> torch.Tensor:
    """torch's loss with logits where there are logits, else its loss of probabilities."""
    target = (1 - eps) * target + eps / 2
    if logits is not None:
        weight = torch.tensor(pos_weight, dtype=torch.float64)
        return functional.binary_cross_entropy_with_logits(
            logits, target, pos_weight=weight, reduction=reduction
        )
    yes, no = (
        functional.binary_cross_entropy(pred, torch.full_like(pred, side), reduction="none")
        for side in (1.0, 0.0)
    )
    mixed = pos_weight * target * yes + (1 - target) * no
    return mixed.mean() if reduction == "mean" else mixed.sum()


def torch_cross_entropy(
    weights: np.ndarray | None = None, eps: float = 0.0, reduction: str = "mean", over: str = ""
) -> Reference:
    """torch's cross-entropy where it has one for the input, else its documented formula."""

    def reference(truth: Truth) -> tuple[float, Any]:
        target, pred = truth.rows("target"), truth.rows("pred")
        logits = None if truth.logits is None else truth.rows("logits")
        if truth.task == "binary":
            target, pred = (torch.cat([1 - x, x], 1) for x in (target, pred))
            if logits is not None:  # sigmoid(x) is the softmax of 0 and x
                logits = torch.cat([torch.zeros_like(logits), logits], 1)
        count = target.shape[1]
        if not len(target):
            return math.nan, [math.nan] * count
        each = torch.tensor(np.ones(count) if weights is None else weights)
        top, bottom = entropy_sums(pred, logits, target, each, eps)
        if over == "all":
            return top / truth.target.shape[1], None
        value = top if reduction == "sum" else top / bottom
        if not truth.hard:
            return value, None
        classes = []
        for c in range(count):  # "the mean over the pixels whose target is that class"
            sides = [side[target[:, c] == 1] for side in (pred, target)]
            part = logits if logits is None else logits[target[:, c] == 1]
            top, bottom = entropy_sums(sides[0], part, sides[1], torch.ones_like(each), eps)
            classes.append(math.nan if not bottom else top if reduction == "sum" else top / bottom)
        return value, classes

    return reference


def entropy_sums(pred: Any, logits: Any, target: Any, weights: Any, eps: float) -> Any:
    """Σ_x Σ_c w_c·ỹ_c·(−log p_c) and Σ_x Σ_c w_c·y_c."""
    bottom = float((weights * target).sum())
    smoothed = (1 - eps) * target + eps / target.shape[1]
    if logits is not None and bool(((target == 0) | (target == 1)).all()):
        labels = target.argmax(1)
        top = functional.cross_entropy(
            logits, labels, weight=weights, label_smoothing=eps, reduction="sum"
        )
    elif logits is not None:
        top = functional.cross_entropy(logits, smoothed, weight=weights, reduction="sum")
    else:  # torch has no cross-entropy of probabilities; BCELoss's clamp
        top = -(weights * smoothed * pred.log().clamp(min=-100)).sum()
    return float(top), bottom


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


def accuracy_by_sklearn(truth: Truth, threshold: float = 0.5) -> tuple[float, Any]:
    """Over the labels of pixels, or over every yes and no of a binary or multilabel task."""
    pairs = [truth.decided(c, threshold) for c in range(len(truth.target))]
    if truth.task == "multiclass":
        target, pred = (np.array(side).argmax(0) for side in zip(*pairs, strict=True))
    else:
        target, pred = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return float(metrics.accuracy_score(target, pred)) if len(target) else math.nan, None


def average(values: np.ndarray, weights: Any) -> float:
    """Σwv / Σw over the defined values, nan over nothing."""
    weights = np.where(np.isnan(values), 0, weights)
    return float(np.nansum(values * weights) / weights.sum()) if weights.sum() else math.nan


def mean(values: np.ndarray, truth: Truth) -> float:
    return average(values, 1.0)


def total(values: np.ndarray, truth: Truth) -> float:
    return math.nan if np.isnan(values).all() else float(np.nansum(values))


def by_support(values: np.ndarray, truth: Truth) -> float:
    return average(values, truth.support)


def by_class_weight(values: np.ndarray, truth: Truth) -> float:
    return average(values, CLASS_WEIGHTS)


def foreground(values: np.ndarray, truth: Truth) -> float:
    return average(values[1:], 1.0)


def nothing(values: np.ndarray, truth: Truth) -> float:
    return math.nan


def each_class(
    one: Callable[..., float], over: Callable[..., float] = mean, empty: float = math.nan
) -> Reference:
    """A value for each class on its own, then over the defined classes, by hand."""

    def reference(truth: Truth) -> tuple[float, Any]:
        values = np.array([one(truth=truth, c=c) for c in range(len(truth.target))])
        values = fill(values, empty)
        return over(values, truth), values

    return reference


SEVERAL = ("multiclass", "multilabel")
CLASSED = ("binary", *SEVERAL)
TWO = ("binary", "multilabel")
WEIGHTS_TYPED = f"class_weights={CLASS_WEIGHTS.tolist()}"


def fill(values: Any, number: float) -> np.ndarray:
    return np.where(np.isnan(values), number, values)


def filled(reference: Reference, number: float) -> Reference:
    """Undefined values replaced."""

    def replaced(truth: Truth) -> tuple[float, Any]:
        value, classes = reference(truth)
        return float(fill(value, number)), None if classes is None else fill(classes, number)

    return replaced


def class_rows(one: Callable[..., float]) -> list[Row]:
    """The common options of a loss that has a value for each class."""
    hand = "the classes' values reduced by hand"
    return [
        Row(SEVERAL, "class_reduction=sum", each_class(one, total), hand),
        Row(SEVERAL, "class_reduction=weighted", each_class(one, by_support), hand),
        Row(CLASSED, 'class_reduction="none"', each_class(one, nothing), hand),
        Row(SEVERAL, WEIGHTS_TYPED, each_class(one, by_class_weight), hand),
        Row(("binary",), "class_weights=[2]", each_class(one), hand),
        Row(("multiclass",), "background=false", each_class(one, foreground), hand),
        Row(CLASSED, "empty=1", each_class(one, empty=1.0), hand),
        Row(CLASSED, "empty=0", each_class(one, empty=0.0), hand),
    ]


def pixel_rows(function: Callable[..., Any], tasks: Sequence[str]) -> list[Row]:
    """The common options of a loss that has a value for each element."""
    rows = [
        Row(tasks, "", per_element(function), "torch"),
        Row(tasks, "reduction=sum", per_element(function, "sum"), "torch's mean times N"),
        Row(tasks, "over=all", per_element(function, over="all"), "torch's sum over all pixels"),
        Row(tasks, "empty=1", filled(per_element(function), 1.0), "torch"),
        Row(("binary",), "class_weights=[2]", per_element(function), "one class: no change"),
    ]
    several = tuple(task for task in tasks if task in SEVERAL)
    by_channel = weighted_channels(function, CLASS_WEIGHTS)
    return [*rows, Row(several, WEIGHTS_TYPED, by_channel, "torch's means of channels, by hand")]


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
        Row(CLASSED, "intersection=min", least, name + "(soft_label=True)"),
        Row(TWO, "threshold=0.4", each_class(partial(monai, threshold=0.4)),
            name + " of p >= 0.4"),
        Row(CLASSED, "log=true", each_class(partial(minus_log, monai)), f"−log(1 − {name})"),
        *class_rows(monai),
    ]  # fmt: skip


def minus_log(one: Callable[..., float], **where: Any) -> float:
    """−log of the coefficient, clamped at 100."""
    coefficient = 1 - one(**where)
    return -math.log(coefficient) if coefficient != 0 else 100.0


def score_rows(kind: str) -> list[Row]:
    one = partial(score_by_sklearn, kind)
    at_30 = each_class(partial(one, threshold=0.3))
    return [
        Row(CLASSED, "", each_class(one), "scikit-learn"),
        Row(TWO, "threshold=0.3", at_30, "scikit-learn"),
        *class_rows(one),
    ]


TVERSKY = partial(overlap_by_monai, "tversky")
UNEVEN = {"alpha": 0.3, "beta": 0.7}
SMOOTH = {"smooth_nr": 1.0, "smooth_dr": 1.0}
REFERENCES: dict[str, list[Row]] = {
    "l1": pixel_rows(torch_l1, TASKS),
    "l2": pixel_rows(torch_l2, TASKS),
    "bce": [
        *pixel_rows(torch_bce, TWO),
        Row(TWO, "pos_weight=3", per_element(partial(torch_bce, pos_weight=3.0)), "torch"),
        Row(TWO, "label_smoothing=0.1", per_element(partial(torch_bce, eps=0.1)), "torch"),
        Row(TWO, "pos_weight=3, label_smoothing=0.1, reduction=sum",
            per_element(partial(torch_bce, pos_weight=3.0, eps=0.1), "sum"), "torch"),
    ],
    "cross_entropy": [
        Row(("binary", "multiclass"), "", torch_cross_entropy(), "torch"),
        Row(("binary", "multiclass"), "label_smoothing=0.1", torch_cross_entropy(eps=0.1), "torch"),
        Row(("binary", "multiclass"), "reduction=sum", torch_cross_entropy(reduction="sum"),
            "torch"),
        Row(("binary", "multiclass"), "over=all", torch_cross_entropy(over="all"), "torch / H·W"),
        Row(("binary", "multiclass"), "empty=1", filled(torch_cross_entropy(), 1.0), "torch"),
        Row(("multiclass",), WEIGHTS_TYPED, torch_cross_entropy(CLASS_WEIGHTS), "torch"),
        Row(("multiclass",), f"label_smoothing=0.1, {WEIGHTS_TYPED}",
            torch_cross_entropy(CLASS_WEIGHTS, 0.1), "torch"),
        Row(("multiclass",), f"reduction=sum, {WEIGHTS_TYPED}",
            torch_cross_entropy(CLASS_WEIGHTS, reduction="sum"), "torch"),
        Row(("multiclass",), f"over=all, {WEIGHTS_TYPED}",
            torch_cross_entropy(CLASS_WEIGHTS, over="all"), "torch / H·W"),
        Row(("binary",), "class_weights=[0.5, 2]", torch_cross_entropy(np.array([0.5, 2.0])),
            "torch, of background and foreground"),
    ],
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
        Row(CLASSED, "log=true", each_class(partial(minus_log, TVERSKY)), "−log(1 − MONAI)"),
        *class_rows(TVERSKY),
    ],
    "dice_score": score_rows("dice_score"),
    "iou": score_rows("iou"),
    "precision": score_rows("precision"),
    "recall": score_rows("recall"),
    "accuracy": [
        Row(CLASSED, "", accuracy_by_sklearn, "scikit-learn"),
        Row(TWO, "threshold=0.3", partial(accuracy_by_sklearn, threshold=0.3), "scikit-learn"),
        Row(CLASSED, "empty=1", filled(accuracy_by_sklearn, 1.0), "scikit-learn"),
    ],
}  # fmt: skip


def typed(name: str, row: Row) -> str:
    return f"{name}({row.options})" if row.options else name


# --- data -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Data:
    """What is handed to lossbench, and the same samples as references see them."""

    pred: Any
    target: Any
    truths: list[Truth]
    settings: dict[str, Any] = field(default_factory=dict)
    counted: bool | None = None  # whether tables of counts are to stand for the pixels

    @property
    def task(self) -> str:
        return self.truths[0].task


# task, how predictions are stored, how targets are, what takes pixels out, whether it is counted
STORED = [
    ("binary", "bytes", "mask", "", True),
    ("binary", "bytes", "mask", "label", True),
    ("binary", "bytes", "mask", "ignore", True),
    ("binary", "bytes", "mask", "valid", True),
    ("binary", "bytes", "mask", "weight", False),
    ("binary", "bytes", "graded", "", False),
    ("binary", "doubles", "mask", "label", False),
    ("binary", "doubles", "soft", "weight", False),
    ("binary", "singles", "mask", "", False),
    ("binary", "logits", "mask", "ignore", False),
    ("binary", "logits", "soft", "", False),
    ("binary", "mask", "mask", "valid", True),
    ("binary", "mask", "mask", "weight", False),
    ("binary", "labels", "labels", "", True),
    ("multiclass", "labels", "labels", "", True),
    ("multiclass", "labels", "labels", "label", True),
    ("multiclass", "labels", "labels", "ignore", True),
    ("multiclass", "labels", "labels", "weight", False),
    ("multiclass", "bytes", "labels", "valid", False),
    ("multiclass", "doubles", "labels", "label", False),
    ("multiclass", "doubles", "one-hot", "", False),
    ("multiclass", "doubles", "soft", "weight", False),
    ("multiclass", "singles", "labels", "weight", False),
    ("multiclass", "logits", "labels", "label", False),
    ("multiclass", "logits", "soft", "", False),
    ("multilabel", "bytes", "mask", "", True),
    ("multilabel", "bytes", "mask", "label", True),
    ("multilabel", "bytes", "mask", "weight", False),
    ("multilabel", "bytes", "graded", "", False),
    ("multilabel", "doubles", "mask", "label", False),
    ("multilabel", "singles", "soft", "valid", False),
    ("multilabel", "logits", "mask", "ignore", False),
    ("multilabel", "mask", "mask", "", True),
    ("image", "bytes", "bytes", "", True),
    ("image", "bytes", "bytes", "ignore", True),
    ("image", "bytes", "bytes", "weight", False),
    ("image", "grey", "grey", "valid", True),
    ("image", "words", "words", "", False),
    ("image", "singles", "singles", "weight", False),
    ("image", "doubles", "doubles", "ignore", False),
]
KINDS = {" ".join(filter(None, kind[:4])): kind for kind in STORED}
ENCODED = {"bytes": "probability", "doubles": "probability", "singles": "probability",
           "graded": "probability", "soft": "probability", "one-hot": "probability"}  # fmt: skip
# Size, and the share of the pixels that each class of a target has; nan is in neither mask.
# No width of 3 or 4: see test_stack_of_narrow_planes_is_no_colour_picture.
SAMPLES_DRAWN = [
    ((9, 7), (0.5, 0.3, 0.2)),
    ((12, 5), (0.1, 0.9, 0.4)),
    ((6, 8), (0.0, 0.6, math.nan)),  # a class that is only predicted, a class in neither
    ((5, 6), (math.nan, math.nan, math.nan)),
    ((4, 5), (1.0, 1.0, 1.0)),
    ((1, 1), (0.5, 0.5, 0.5)),
    ((3, 11), (0.5, 0.5, 0.5)),  # a constant prediction
    ((8, 2), (0.4, 0.4, 0.4)),  # no valid pixel, where pixels can be taken out
]
CONSTANT, NO_PIXEL = 6, 7


@cache
def drawn(kind: str) -> Data:
    """Random samples stored in one way."""
    task, pred_stored, target_stored, limit, counted = KINDS[kind]
    rng = np.random.default_rng(list(kind.encode()))
    stored: dict[str, list[Any]] = {"pred": [], "target": [], limit: []}
    truths = []
    for place, (shape, shares) in enumerate(SAMPLES_DRAWN):
        levels, target = draw_image(rng, shape, pred_stored) if task == "image" else draw_classes(
            rng, task, shape, shares)  # fmt: skip
        if place == CONSTANT:
            levels[:] = 100
        if target_stored in ("soft", "graded"):
            target = soften(rng, task, target, target_stored)
        weight = draw_weight(rng, task, limit, shape, none=bool(limit) and place == NO_PIXEL)
        numbers, pred, logits = store_pred(task, pred_stored, levels, weight, extreme=place == 0)
        stored["pred"].append(numbers)
        stored["target"].append(store_target(task, target_stored, target, weight, limit))
        stored[limit].append(
            {"ignore": weight[0] == 0, "valid": weight[0] > 0}.get(
                limit, weight if task == "multilabel" else weight[0]
            )
        )
        if task == "image":
            target = store_pred(task, target_stored, target, weight * 0 + 1, extreme=False)[1]
        flat = [x.reshape(len(x), -1) for x in (pred, target.astype(np.float64))]
        counts = np.broadcast_to(weight.reshape(len(weight), -1), flat[0].shape)
        scores = None if logits is None else logits.reshape(len(logits), -1)
        truths.append(Truth(task, *flat, counts, scores))
    settings: dict[str, Any] = {"task": task, "workers": 1}
    if task != "image":
        settings["pred_encoding"] = ENCODED.get(pred_stored, pred_stored)
        settings["gt_encoding"] = ENCODED.get(target_stored, target_stored)
    if task == "multiclass":
        settings["classes"] = CLASSES
    if limit == "label":
        settings["ignore"] = 255
    elif limit:
        settings["inputs"] = {limit: stored[limit]}
    return Data(stored["pred"], stored["target"], truths, settings, counted)


def draw_classes(
    rng: np.random.Generator, task: str, shape: tuple[int, int], shares: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Prediction in 256 levels and target in 0 and 1, both (C, H, W)."""
    if task == "binary":
        shares = shares[:1]
    if task == "multiclass":
        odds = np.nan_to_num(shares)
        odds = odds / odds.sum() if odds.sum() else np.array([1.0, 0.0, 0.0])
        labels = rng.choice(CLASSES, size=shape, p=odds)
        target = (labels == np.arange(CLASSES)[:, None, None]).astype(np.uint8)
    else:
        target = np.stack([rng.random(shape) < np.nan_to_num(share) for share in shares])
    levels = rng.integers(0, 256, (len(shares), *shape))
    levels[rng.random(levels.shape) < 0.2] = 0
    levels[rng.random(levels.shape) < 0.2] = 255
    levels[np.isnan(shares)] = 0
    if task == "multiclass":  # each pixel has a class, so that a row of probabilities exists
        levels[0] = np.where(levels.sum(0), levels[0], 255)
    return levels.astype(np.uint8), target.astype(np.uint8)


def draw_image(
    rng: np.random.Generator, shape: tuple[int, int], stored: str
) -> tuple[np.ndarray, np.ndarray]:
    """Two images in 256 levels, (C, H, W)."""
    full = (1 if stored == "grey" else 3, *shape)
    pred, target = (rng.integers(0, 256, full).astype(np.uint8) for _ in range(2))
    return pred, target


def soften(rng: np.random.Generator, task: str, target: np.ndarray, stored: str) -> np.ndarray:
    """A soft target, some of it still 0 or 1."""
    soft = target * rng.uniform(0.4, 1, target.shape) + (rng.random(target.shape) < 0.3) * 0.2
    soft = np.clip(soft, 0, 1)
    if stored == "graded":
        return np.round(soft * 255) / 255
    if task == "multiclass":
        soft[0] += soft.sum(0) == 0
        return soft / soft.sum(0)
    return soft


def draw_weight(
    rng: np.random.Generator, task: str, limit: str, shape: tuple[int, int], none: bool
) -> np.ndarray:
    """(C or 1, H, W) whole weights, 0 where ignored."""
    several = task == "multilabel" and limit in ("label", "weight")
    full = (CLASSES if several else 1, *shape)
    if not limit:
        return np.ones(full, np.int64)
    if none:
        return np.zeros(full, np.int64)
    high = 4 if limit == "weight" else 2
    weight = rng.integers(0, high, full)
    weight.reshape(len(weight), -1)[:, 0] = 1
    return weight


def store_pred(
    task: str, stored: str, levels: np.ndarray, weight: np.ndarray, extreme: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The array handed over, the numbers (C, H, W) that it means, and logits where it has them.

    What is ignored is a value without a meaning wherever one can be stored.
    """
    ignored = np.broadcast_to(weight == 0, levels.shape)
    shares = levels / 255
    logits = None
    if stored == "bytes":
        numbers, pred = levels, shares
    elif stored == "grey":
        return levels[0], shares, None
    elif stored == "words":
        numbers = levels.astype(np.uint16) * 211
        pred = numbers / 65535
    elif stored in ("doubles", "singles"):
        real = shares**1.5 if task != "image" else 5 * shares - 2
        if task == "multiclass":
            real = real / real.sum(0)
        numbers = np.where(ignored, np.nan, real)
        numbers = numbers.astype(np.float32 if stored == "singles" else np.float64)
        pred = np.where(ignored, 0, numbers).astype(np.float64)
    elif stored == "logits":
        logits = (levels.astype(np.float32) - 127.5) / 16
        if extreme:
            logits[:, 0, 0], logits[:, -1, -1] = 1e4, -1e4
            logits[0, 0, 0] = -1e4
        numbers = np.where(ignored, np.nan, logits)
        logits = logits.astype(np.float64)
        pred = softmax(logits, axis=0) if task == "multiclass" else expit(logits)
    elif stored == "labels" and task == "multiclass":
        labels = levels.argmax(0)
        pred = np.float64(labels == np.arange(CLASSES)[:, None, None])
        numbers = np.where(weight[0] == 0, 77, labels).astype(np.uint8)
    else:
        numbers = (levels > 127).astype(np.uint8)
        pred = numbers.astype(np.float64)
    if task == "binary":
        numbers = numbers[0]
    elif task == "image":
        numbers = np.moveaxis(numbers, 0, -1)
    return numbers, pred, logits


def store_target(
    task: str, stored: str, target: np.ndarray, weight: np.ndarray, limit: str
) -> np.ndarray:
    if task == "image":
        return store_pred(task, stored, target, np.ones_like(weight), extreme=False)[0]
    if stored == "graded":
        numbers = np.round(target * 255).astype(np.uint8)
    elif stored in ("soft", "one-hot"):
        numbers = target.astype(np.float64)
    elif task == "multiclass":
        numbers = target.argmax(0)[None].astype(np.uint8)
    else:
        numbers = target
    if limit == "label":
        numbers = np.where(weight == 0, 255, numbers).astype(np.uint8)
    one = task == "binary" or (task == "multiclass" and stored == "labels")
    return numbers[0] if one else numbers


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def sample_data(task: str) -> Data:
    """The repository's sample data, read here without lossbench."""
    root = SAMPLES / task
    settings: dict[str, Any] = {"task": task}
    if task == "multilabel":
        settings |= dict.fromkeys(("pred_pattern", "gt_pattern"), "{id}_{class}.png")
    truths = []
    for stored in stacks(root, task):
        pred, target = (side.reshape(len(side), -1) for side in stored)
        counts = np.ones(target.shape, np.int64)
        if task == "multiclass":  # 4 classes, and 255 on the edges of things
            counts = np.repeat(np.int64(target != 255), 4, axis=0)
            pred, target = (np.float64(x == np.arange(4)[:, None]) for x in (pred, target))
        else:
            pred, target = pred / 255, target / 255
        truths.append(Truth(task, pred, target, counts))
    return Data(str(root / "pred"), str(root / "gt"), truths, settings, counted=True)


def stacks(root: Path, task: str) -> Iterator[list[np.ndarray]]:
    """Prediction and target of each sample as stored, (C, H, W)."""
    if task == "multilabel":
        names = sorted({path.name.rpartition("_")[0] for path in (root / "gt").iterdir()})
        for name in names:
            organs = [f"{name}_{organ}.png" for organ in ("kidney", "liver", "spleen")]
            yield [np.stack([picture(root / s / o) for o in organs]) for s in ("pred", "gt")]
        return
    for path in sorted((root / "gt").rglob("*.png")):
        sides = [picture(root / side / path.relative_to(root / "gt")) for side in ("pred", "gt")]
        yield [np.moveaxis(x, -1, 0) if x.ndim == 3 else x[None] for x in sides]


# --- the harness ----------------------------------------------------------------------------------


def rows_of(name: str, data: Data) -> list[Row]:
    """The rows that fit the data; lists of class weights are for three classes."""
    fits = data.task != "multiclass" or len(data.truths[0].target) == CLASSES
    return [
        row
        for row in REFERENCES[name]
        if data.task in row.tasks and (fits or "class_weights" not in row.options)
    ]


@cache
def data_of(kind: str) -> Data:
    return sample_data(kind.partition(" ")[2]) if kind.startswith("sample") else drawn(kind)


@cache
def result_of(kind: str) -> Any:
    """All rows of all losses on one kind of data, in one run."""
    data = data_of(kind)
    wanted = [typed(name, row) for name in REFERENCES for row in rows_of(name, data)]
    result = lossbench.evaluate(data.pred, data.target, wanted, **data.settings)
    assert not result.failed
    assert result.run["plan"]["counted"] == data.counted
    return result


ALL_KINDS = [*KINDS, *(f"sample {task}" for task in TASKS)]
ENTRIES = {entry.name: entry for entry in lossbench.list_losses()}
CASES = [(name, kind) for name in ENTRIES for kind in ALL_KINDS
         if data_of(kind).task in ENTRIES[name].tasks]  # fmt: skip
every_case = pytest.mark.parametrize(("name", "kind"), CASES)


def test_every_loss_has_a_reference():
    assert set(REFERENCES) == set(ENTRIES)


@pytest.mark.parametrize("name", ENTRIES)
def test_every_option_and_task_of_a_loss_is_tried(name):
    rows = REFERENCES[name]
    tried = {option for row in rows for option in re.findall(r"(\w+)=", row.options)}
    assert tried == set(ENTRIES[name].options)
    assert {task for row in rows for task in row.tasks} >= set(ENTRIES[name].tasks)


@every_case
def test_values_equal_their_reference(name, kind):
    data, result = data_of(kind), result_of(kind)
    for row in rows_of(name, data):
        values = result.values[typed(name, row)]
        for place, truth in enumerate(data.truths):
            wanted, classes = row.reference(truth)
            check_close(values.samples[place], wanted, REFERENCE, (row.options, place))
            if data.task in SEVERAL and classes is not None:
                found = [column[place] for column in values.classes]
                check_close(found, classes, REFERENCE, (row.options, place, "classes"))


@every_case
def test_pooled_equals_the_reference_on_all_pixels_as_one_sample(name, kind):
    data, result = data_of(kind), result_of(kind)
    whole = pooled_truth(kind)
    for row in rows_of(name, data):
        wanted, classes = row.reference(whole)
        found = result.values[typed(name, row)]
        check_close(found.pooled, wanted, REFERENCE, row.options)
        if data.task in SEVERAL and classes is not None:
            check_close(found.pooled_classes, classes, REFERENCE, (row.options, "classes"))


@cache
def pooled_truth(kind: str) -> Truth:
    return together(data_of(kind).truths)


def basic(task: str) -> list[str]:
    """Each loss of a task as it is without options."""
    return [name for name, entry in ENTRIES.items() if task in entry.tasks]


def picked(data: Data, places: Sequence[int]) -> Any:
    """The result on some of the samples, in an order."""
    settings = dict(data.settings)
    if "inputs" in settings:
        settings["inputs"] = {r: [v[i] for i in places] for r, v in settings["inputs"].items()}
    pred, target = ([side[i] for i in places] for side in (data.pred, data.target))
    return lossbench.evaluate(pred, target, basic(data.task), **settings)


SOME_KINDS = [
    "binary bytes mask label",
    "binary doubles soft weight",
    "multiclass labels labels label",
    "multiclass logits labels label",
    "multilabel bytes mask",
    "image bytes bytes ignore",
    "image singles singles weight",
]


@pytest.mark.parametrize("kind", SOME_KINDS)
def test_order_of_samples_changes_no_bit_of_any_aggregate(kind):
    places = np.arange(len(SAMPLES_DRAWN)).repeat(3)
    straight = picked(drawn(kind), places)
    shuffled = picked(drawn(kind), np.random.default_rng(1).permutation(places))
    assert repr(shuffled.aggregates) == repr(straight.aggregates)
    assert repr(shuffled.class_aggregates) == repr(straight.class_aggregates)


@pytest.mark.parametrize("kind", SOME_KINDS)
def test_a_sample_alone_and_among_others_has_the_same_bits(kind):
    places = list(range(len(SAMPLES_DRAWN)))
    batch = picked(drawn(kind), places * 16)  # a batch is a quarter of the samples
    for place in places:
        alone = picked(drawn(kind), [place])
        for name, values in alone.values.items():
            assert repr(values.samples[0]) == repr(batch.values[name].samples[place])
            of_classes = [column[place] for column in batch.values[name].classes]
            assert repr([column[0] for column in values.classes]) == repr(of_classes)


# --- the numbers of CONVENTIONS.md ----------------------------------------------------------------

V1 = [[1, 0], [0, 1]], [[1, 0], [1, 1]]
V5 = [0.9, 0.2, 0.4, 0.1], [1, 0, 1, 0]
V12 = (
    [[0.01, 0.03, 0.02, 0.02], [0.05, 0.12, 0.09, 0.07], [0.89, 0.85, 0.88, 0.91],
     [0.99, 0.97, 0.95, 0.97]],
    [[0] * 4, [0] * 4, [1] * 4, [1] * 4],
)  # fmt: skip


def squares(*places: tuple[int, int, int, int]) -> list[list[int]]:
    """14×14 zeros with ones in rows a to b and columns c to d, both ends excluded as in a slice."""
    mask = np.zeros((14, 14), int)
    for a, b, c, d in places:
        mask[a:b, c:d] = 1
    return mask.tolist()


V3 = squares((9, 12, 9, 12)), squares((9, 12, 9, 12), (1, 2, 1, 2))
V4 = squares((6, 8, 6, 8)), squares((5, 9, 5, 9))
VECTORS = [
    (V1, "dice_score", 0.8), (V1, "iou", 0.666667), (V1, "dice", 0.2), (V1, "jaccard", 0.333333),
    (V3, "dice_score", 18 / 19), (V3, "iou", 0.9),  # 9 of 10 pixels found, by hand
    (V4, "dice_score", 0.4), (V4, "iou", 0.25), (V4, "dice", 0.6),
    (V5, "dice", 0.277778), (V5, "dice(smooth=1)", 0.217391), (V5, "dice(smooth=2)", 0.178571),
    (V5, "dice(smooth_nr=2, smooth_dr=2)", 0.178571),
    (V5, "dice(squared=true, smooth=1)", 0.104478),
    (V5, "tversky(alpha=0.3, beta=0.7)", 0.308511),  # V7
    (V5, "tversky(alpha=0.7, beta=0.3)", 0.244186),
    (V5, "jaccard(smooth=1)", 0.303030), (V5, "jaccard(smooth=0.5)", 0.357143),  # V13, MONAI's s=1
    (V12, "dice", 0.0632111), (V12, "dice(squared=true)", 0.0062495),
    (V12, "dice(smooth_nr=2, smooth_dr=1)", 0.0), (V12, "jaccard", 0.1189061),
    (V12, "tversky(alpha=0.7, beta=0.3)", 0.0589281),
]  # fmt: skip


@pytest.mark.parametrize(("masks", "loss", "wanted"), VECTORS)
def test_value_printed_in_conventions(masks, loss, wanted):
    pred, target = ([np.array(side)] for side in masks)
    result = lossbench.evaluate(pred, target, loss, task="binary")
    assert result.values[loss].samples[0] == pytest.approx(wanted, abs=6e-7)


def counted_masks(hits: int, false_alarms: int, misses: int) -> tuple[Any, Any]:
    """Prediction and target that have these counts."""
    pred = [1] * (hits + false_alarms) + [0] * misses
    target = [1] * hits + [0] * false_alarms + [1] * misses
    return np.array(pred, np.uint8), np.array(target, np.uint8)


def test_mean_and_pooled_of_v11():
    pairs = [counted_masks(90, 10, 10), counted_masks(1, 4, 5), counted_masks(0, 3, 0)]
    result = lossbench.evaluate(*zip(*pairs, strict=True), "dice_score", task="binary")
    assert result.aggregates["dice_score"]["mean"] == pytest.approx(0.360606, abs=6e-7)
    assert result.aggregates["dice_score"]["pooled"] == pytest.approx(0.850467, abs=6e-7)


def test_classes_are_averaged_before_samples_in_v14():
    """Dice losses of two classes .2 and –, .4 and .9, .6 and –."""
    counts = [[(4, 1, 1), (0, 0, 0)], [(3, 2, 2), (1, 9, 9)], [(2, 3, 3), (0, 0, 0)]]
    samples = []
    for sample in counts:
        masks = [counted_masks(*each) for each in sample]
        full = [[np.pad(side, (0, 19 - len(side))) for side in pair] for pair in masks]
        samples.append([np.stack(side) for side in zip(*full, strict=True)])
    result = lossbench.evaluate(*zip(*samples, strict=True), "dice", task="multilabel")
    check_close(np.transpose(result.values["dice"].classes),
                [[0.2, math.nan], [0.4, 0.9], [0.6, math.nan]], 1e-12)  # fmt: skip
    assert result.aggregates["dice"]["mean"] == pytest.approx(0.483333, abs=6e-7)
    means = [table["mean"] for table in result.class_aggregates["dice"].values()]
    assert np.mean(means) == pytest.approx(0.65)  # what nnU-Net and mmseg report


# --- what the rows above cannot say ---------------------------------------------------------------


def one(pred: Any, target: Any, loss: str, **settings: Any) -> float:
    """The value of one sample."""
    result = lossbench.evaluate([np.asarray(pred)], [np.asarray(target)], loss, **settings)
    assert not result.failed
    return result.values[loss].samples[0]


SOFT = {"pred_encoding": "probability", "gt_encoding": "mask", "task": "binary"}


def test_wrong_certain_pixel_costs_100_and_stays_finite():
    """torch.nn.BCELoss clamps its logarithms at −100."""
    assert one([0.0, 1.0, 1.0, 0.0], [1, 0, 1, 0], "bce", **SOFT) == 50
    assert one([0, 255], [1, 1], "cross_entropy", task="binary") == 50


def test_extreme_logits_stay_exact():
    """max(x, 0) − xy + log(1 + exp(−|x|)): 1e4 and 50 where wrong, 0 where right."""
    logits = {**SOFT, "pred_encoding": "logits"}
    assert one([1e4, -1e4, 50.0, -800.0], [0, 1, 0, 0], "bce", **logits) == (1e4 + 1e4 + 50) / 4
    assert one([1e4, -1e4, 1e4], [1, 0, 0], "dice", **logits) == pytest.approx(1 / 3)
    several = {"task": "multiclass", "pred_encoding": "logits", "gt_encoding": "labels"}
    stack = [[[1e4, -1e4]], [[-1e4, 1e4]], [[0.0, 0.0]]]
    assert one(stack, [[1, 1]], "cross_entropy", **several) == 1e4


def test_threshold_belongs_to_the_foreground():
    """p ≥ threshold in float64: 128/255, 0.5 and 51/255 = 0.2 are in, 127/255 is not."""
    uint8 = np.array([127, 128, 51, 50], np.uint8)
    assert one(uint8, [1, 1, 1, 1], "recall", **SOFT) == 1 / 4
    assert one(uint8, [1, 1, 1, 1], "recall(threshold=0.2)", **SOFT) == 3 / 4
    assert one([0.5, 0.49999999], [1, 1], "recall", **SOFT) == 1 / 2


def test_threshold_of_the_run_reaches_scores_and_no_soft_loss():
    data = drawn("binary bytes mask")
    run = {**data.settings, "threshold": 0.3}
    result = lossbench.evaluate(data.pred, data.target, ["iou", "dice"], **run)
    iou = each_class(partial(score_by_sklearn, "iou", threshold=0.3))
    dice = each_class(partial(overlap_by_monai, "dice"))
    for name, reference in (("iou", iou), ("dice", dice)):
        check_close(result.values[name].samples, [reference(t)[0] for t in data.truths], REFERENCE)


def test_most_likely_class_is_the_first_on_ties():
    stack = np.array([[[0.4, 0.2]], [[0.4, 0.4]], [[0.2, 0.4]]])
    settings = {"task": "multiclass", "gt_encoding": "labels", "pred_encoding": "probability"}
    assert one(stack, [[0, 1]], "accuracy", **settings) == 1


def test_class_reduction_none_can_be_typed_as_it_is_documented():
    assert math.isnan(one([1, 0], [1, 0], "dice(class_reduction=none)", task="binary"))


def test_sum_over_no_pixel_is_undefined():
    """ "No valid pixel at all is undefined", and never a silent 0, of a class as of a sample."""
    stack = np.array([[[255, 255, 255, 255, 255]], [[0, 1, 0, 1, 1]]], np.uint8)
    pred = np.zeros_like(stack)
    losses = ["bce(reduction=sum)", "l1(reduction=sum)"]
    result = lossbench.evaluate([pred], [stack], losses, task="multilabel", ignore=255)
    for name in losses:
        first, second = result.values[name].classes
        assert math.isnan(first[0])
        assert second[0] > 0


@pytest.mark.parametrize("reduction", ["mean", "sum", "weighted"])
def test_no_value_stays_undefined_where_empty_is_a_number(reduction):
    losses = [
        f"{name}(class_reduction={reduction}, empty=1)"
        for name, entry in ENTRIES.items()
        if "class_reduction" in entry.options
    ]
    for kind in ("binary bytes mask ignore", "multiclass labels labels ignore"):
        data = drawn(kind)
        result = lossbench.evaluate(data.pred, data.target, losses, **data.settings)
        for name, values in result.values.items():
            assert not np.isnan(values.samples).any(), (kind, name)


def test_empty_of_the_run_reaches_every_loss():
    data = drawn("binary bytes mask ignore")
    run = {**data.settings, "empty": 0.25}
    result = lossbench.evaluate(data.pred, data.target, basic("binary"), **run)
    for name, values in result.values.items():
        assert values.samples[NO_PIXEL] == 0.25, name


@pytest.mark.parametrize("ignore", [255, "255", "250-255", [255], [7, "253-255"]])
def test_ignored_labels_leave_every_sum_however_they_are_given(ignore):
    pred, target = np.array([[255, 0, 204, 51]], np.uint8), np.array([[255, 0, 1, 1]], np.uint8)
    assert one(pred, target, "l1", **SOFT, ignore=ignore) == pytest.approx((0.2 + 0.8) / 3)


@pytest.mark.parametrize(("task", "encoding"), [("binary", "probability"), ("image", "image")])
def test_ignored_label_on_grey_levels_leaves_the_sum_or_is_refused(task, encoding):
    pred, target = np.array([[255, 0]], np.uint8), np.array([[128, 255]], np.uint8)
    given = {"task": task, "gt_encoding": encoding, "pred_encoding": encoding, "ignore": 255}
    try:
        value = one(pred, target, "l1", **given)
    except lossbench.SettingError:
        return
    assert value == pytest.approx(127 / 255)


def test_stored_labels_need_not_count_from_zero():
    classes = {0: "background", 26: "sacrum", 40: "disc"}
    pred, target = np.array([[0, 26, 40, 40, 26]]), np.array([[0, 26, 26, 40, 0]])
    result = lossbench.evaluate(
        [pred], [target], ["iou", "cross_entropy"], task="multiclass", classes=classes
    )
    wanted = metrics.jaccard_score(target.ravel(), pred.ravel(), average=None)
    check_close(np.ravel(result.values["iou"].classes), wanted, REFERENCE)
    assert result.class_names == ("background", "sacrum", "disc")
    assert result.values["cross_entropy"].samples == [40.0]  # two of five pixels cost 100


@pytest.mark.parametrize("width", [3, 4])
def test_stack_of_narrow_planes_is_no_colour_picture(width):
    rng = np.random.default_rng(width)
    pred = rng.integers(0, 256, (3, 5, width)).astype(np.uint8)
    target = rng.integers(0, 2, (3, 5, width)).astype(np.uint8)
    settings = {**SOFT, "task": "multilabel"}
    wanted = functional.mse_loss(torch.tensor(pred / 255), torch.tensor(target / 1.0))
    assert one(pred, target, "l2", **settings) == pytest.approx(float(wanted))


def test_classes_only_predicted_are_classes():
    """Without `classes`, the labels of both sides count; sklearn takes their union, too."""
    pred, target = np.array([[0, 1, 3, 2]]), np.array([[0, 1, 2, 2]])
    wanted = metrics.jaccard_score(target.ravel(), pred.ravel(), average="macro", zero_division=0)
    assert one(pred, target, "iou", task="multiclass") == pytest.approx(wanted)


@pytest.mark.parametrize("shape", [(24,), (4, 6), (2, 3, 4), (24, 1), (1, 1, 24)])
def test_shape_of_a_sample_does_not_matter(shape):
    rng = np.random.default_rng(3)
    pred, target = rng.random(24), rng.random(24) < 0.5
    wanted = functional.binary_cross_entropy(torch.tensor(pred), torch.tensor(target / 1.0))
    found = one(pred.reshape(shape), target.reshape(shape), "bce", **SOFT)
    assert found == pytest.approx(float(wanted), rel=1e-12)


def test_one_label_against_one_vector_of_logits_is_a_sample():
    logits = np.array([0.3, -1.2, 2.0])
    wanted = functional.cross_entropy(torch.tensor(logits)[None], torch.tensor([2]))
    given = {"task": "multiclass", "pred_encoding": "logits", "gt_encoding": "labels"}
    assert one(logits, np.array(2), "cross_entropy", **given) == pytest.approx(float(wanted))


def test_smoothed_cross_entropy_of_a_class_is_the_mean_over_its_pixels():
    """LOSSES.md, settled points: the class column is "the mean over the pixels whose target is
    that class"; torch's loss of those pixels alone."""
    data = drawn("multiclass logits labels label")
    loss = "cross_entropy(label_smoothing=0.1)"
    result = lossbench.evaluate(data.pred, data.target, loss, **data.settings)
    truth = data.truths[0]
    logits, labels = truth.rows("logits"), truth.rows("target").argmax(1)
    wanted = [
        functional.cross_entropy(logits[labels == c], labels[labels == c], label_smoothing=0.1)
        for c in range(CLASSES)
    ]
    check_close([column[0] for column in result.values[loss].classes], wanted, REFERENCE)


def test_averages_over_classes_are_those_of_sklearn_and_torchmetrics():
    """Every class in both masks, so that no convention on empty ones enters."""
    rng = np.random.default_rng(11)
    pred, target = rng.integers(0, 4, 500), rng.choice(4, 500, p=[0.1, 0.2, 0.3, 0.4])
    for average, reduction in (("macro", "mean"), ("weighted", "weighted")):
        f1 = metrics.f1_score(target, pred, average=average)
        loss = f"dice_score(class_reduction={reduction})"
        assert one(pred, target, loss, task="multiclass") == pytest.approx(f1, rel=REFERENCE)
        iou = classification.multiclass_jaccard_index(
            torch.tensor(pred), torch.tensor(target), num_classes=4, average=average
        )
        loss = f"iou(class_reduction={reduction})"
        found = one(pred, target, loss, task="multiclass")
        assert found == pytest.approx(float(iou), rel=SINGLE)  # float32


def balance(rule: str, shares: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Class weights from pixels of each class (n, K) and valid pixels (n, 1), as LOSSES.md says."""
    present = shares.sum(0) > 0
    pixels = shares.sum(0)[present]
    weights = np.zeros(len(present))
    if rule == "auto":
        weights[present] = valid.sum() / (present.sum() * pixels)
    else:
        frequency = pixels / np.where(shares > 0, valid, 0).sum(0)[present]
        weights[present] = np.median(frequency) / frequency
    return weights


@pytest.mark.parametrize("rule", ["auto", "median_frequency"])
@pytest.mark.parametrize("task", ["multiclass", "multilabel", "binary"])
def test_class_weights_from_the_data_set(task, rule):
    """Every class but the last has target pixels; each weight is exact in a sum of its losses."""
    rng = np.random.default_rng(5)
    shape = {"binary": (6, 7), "multiclass": (6, 7), "multilabel": (4, 6, 7)}[task]
    pred = [rng.integers(0, 2 if task != "multiclass" else 4, shape) for _ in range(4)]
    target = [rng.choice(3, shape, p=[0.6, 0.3, 0.1]) for _ in range(4)]
    if task != "multiclass":
        target = [np.minimum(each, 1) for each in target]
        if task == "multilabel":
            target[1][2], target[3][2] = 0, 0  # so that the two rules differ
            for each in target:
                each[3] = 0
    else:
        target[1][target[1] == 2] = 0
    axis = np.arange({"binary": 2, "multiclass": 4}.get(task, 1))
    hot = [t[None] == axis[:, None, None] if task != "multilabel" else t == 1 for t in target]
    weights = balance(rule, np.array([t.sum((1, 2)) for t in hot]), np.full((4, 1), 42))
    name = "bce" if task == "multilabel" else "cross_entropy"
    given = {"task": task, "classes": 4} if task == "multiclass" else {"task": task}
    loss = f"{name}(reduction=sum, class_weights={rule})"
    found = lossbench.evaluate(pred, target, loss, **given).values[loss]
    wrong = [100.0 * (p != t) for p, t in zip(pred, target, strict=True)]  # each wrong pixel's loss
    if task == "multilabel":
        wanted = [(weights[:, None, None] * each).sum() for each in wrong]
    else:
        wanted = [(weights[t] * each).sum() for t, each in zip(target, wrong, strict=True)]
    check_close(found.samples, wanted, REFERENCE)
    check_close(found.pooled, np.sum(wanted), REFERENCE)


def test_classes_absent_from_the_target_weigh_nothing_under_automatic_weights():
    pred, target = np.array([[0, 0, 1, 2]]), np.array([[0, 0, 1, 1]])
    loss = "dice(class_weights=auto)"
    # Dice losses 0 and 1/3 of classes 0 and 1, both with weight 4/(2·2); class 2 would cost 1
    assert one(pred, target, loss, task="multiclass", classes=3) == pytest.approx(1 / 6)


# --- other people's data --------------------------------------------------------------------------


def test_real_weight_maps_and_valid_masks():
    """The sample data's float weights: torch's and scikit-learn's own weighted means."""
    root = SAMPLES / "binary"
    inputs = {"weight": str(root / "weight"), "valid": str(root / "valid")}
    found = lossbench.evaluate(
        str(root / "pred"), str(root / "gt"), ["bce", "iou", "accuracy"], inputs=inputs
    )
    for place, name in enumerate(found.ids):
        pred, target, valid = (
            picture(root / role / f"{name.removesuffix('.png')}.png") / 255
            for role in ("pred", "gt", "valid")
        )
        weight = np.load(root / "weight" / f"{name.removesuffix('.png')}.npy") * (valid > 0)
        tensors = [torch.tensor(x, dtype=torch.float64) for x in (pred, target, weight)]
        bce = functional.binary_cross_entropy(*tensors, reduction="sum") / tensors[2].sum()
        check_close(found.values["bce"].samples[place], float(bce), REFERENCE)
        hard = [target.ravel() > 0, pred.ravel() >= 0.5]
        each = {"sample_weight": weight.ravel(), "zero_division": math.nan}
        defined = ((hard[0] | hard[1]) & (weight.ravel() > 0)).any()
        iou = metrics.jaccard_score(*hard, **each | {"zero_division": 0}) if defined else math.nan
        check_close(found.values["iou"].samples[place], iou, REFERENCE)
        accuracy = metrics.accuracy_score(*hard, sample_weight=weight.ravel())
        check_close(found.values["accuracy"].samples[place], accuracy, REFERENCE)


def test_scores_of_a_matlab_toolbox_on_saliency_maps(data):
    """sod_saliency: what the toolbox itself computed, at 128 of maps that reach 255."""
    root = data("sod_saliency")
    names = ["precision", "recall", "dice_score", "iou"]
    with open(root / "expected" / "DSS_per_image.csv") as file:
        expected = {row["name"]: row for row in csv.DictReader(file)}
    result = lossbench.evaluate(str(root / "pred/DSS"), str(root / "gt"), [*names, "l1"])
    assert len(result.ids) == 300
    for place, name in enumerate(result.ids):
        row = expected[Path(name).stem]
        if row["pmax"] != "255":
            continue
        for loss, column in zip(names, ("precision", "recall", "dice", "iou"), strict=True):
            found = result.values[loss].samples[place]
            check_close(found, float(row[f"{column}_at_128"]), 1e-12, (name, loss))
        if picture(root / "pred/DSS" / f"{Path(name).stem}.png").min() == 0:  # else it rescales
            check_close(result.values["l1"].samples[place], float(row["MAE"]), 1e-12, name)


def test_pooled_confusion_of_retina_vessels_inside_the_field_of_view(data):
    """drive_retina: published F1, and the confusion matrix at p ≥ 128 of its SOURCE.txt."""
    root = data("drive_retina")
    names = ["dice_score", "precision", "recall", "accuracy"]
    result = lossbench.evaluate(
        str(root / "pred"), str(root / "gt"), names, inputs={"valid": str(root / "fov")}
    )
    tn, fp, fn, tp = 3895785, 64709, 135101, 442548
    wanted = [
        2 * tp / (2 * tp + fp + fn), tp / (tp + fp), tp / (tp + fn), (tp + tn) / (tp + tn + fp + fn)
    ]  # fmt: skip
    found = [result.aggregates[name]["pooled"] for name in names]
    check_close(found, wanted, 1e-12)
    assert found[0] == pytest.approx(0.816071114516, abs=3e-4)  # published, of float maps


def test_pooled_scores_of_street_scenes(data):
    """camvid_24: pixel accuracy and IoU of each class as its SOURCE.txt prints them."""
    root = data("camvid_24")
    result = lossbench.evaluate(
        str(root / "pred"), str(root / "gt"), ["iou", "accuracy"], task="multiclass", classes=11,
        ignore=11,
    )  # fmt: skip
    printed = [0.8066, 0.5227, 0.0, 0.7118, 0.1355, 0.0414, 0.0226, 0.0013, 0.1344, 0.0, 0.0007]
    assert result.values["iou"].pooled_classes == pytest.approx(printed, abs=6e-5)
    assert result.values["iou"].pooled == pytest.approx(0.2161, abs=6e-5)
    assert result.values["accuracy"].pooled == pytest.approx(0.6669, abs=6e-5)


def test_cross_entropy_of_real_softmax_maps(data):
    """camvid_24: torch with ignore_index, on stored float16 probabilities read as float64."""
    root = data("camvid_24")
    name = "0001TP_008550"
    probability = np.load(root / "pred_prob" / f"{name}.npz")["prob"]
    labels = picture(root / "gt" / f"{name}.png")
    given = {"task": "multiclass", "pred_encoding": "probability", "gt_encoding": "labels"}
    found = one(probability, labels, "cross_entropy", **given, ignore=11)
    logarithms = torch.tensor(probability.astype(np.float64)).log().clamp(min=-100)
    wanted = functional.nll_loss(
        logarithms[None], torch.tensor(labels)[None].long(), ignore_index=11
    )
    check_close(found, float(wanted), REFERENCE)


def test_iou_of_real_label_maps(data):
    """voc_deeplab_3: torchmetrics with ignore_index, of the classes in either mask."""
    root = data("voc_deeplab_3")
    result = lossbench.evaluate(str(root / "pred"), str(root / "gt"), "iou", classes=21)
    for place, name in enumerate(result.ids):
        pred, target = (picture(root / s / f"{Path(name).stem}.png") for s in ("pred", "gt"))
        each = classification.multiclass_jaccard_index(
            torch.tensor(pred), torch.tensor(target), 21, average="none", ignore_index=255
        )
        present = np.unique(np.concatenate([pred[target != 255], target[target != 255]]))
        found = [column[place] for column in result.values["iou"].classes]
        wanted = [float(each[c]) if c in present else math.nan for c in range(21)]
        check_close(found, wanted, SINGLE, name)
        check_close(result.values["iou"].samples[place], np.nanmean(wanted), SINGLE, name)


def test_published_errors_of_alpha_mattes(data):
    """matting_10: SAD over the image and MSE over the unknown part of the trimap."""
    root = data("matting_10")
    with open(root / "expected" / "expected.csv") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    pred, target, unknown = (
        {name: picture(root / side / f"{name}.png") for name in rows}
        for side in ("pred", "gt", "trimap")
    )
    given = {"task": "binary", "pred_encoding": "probability", "gt_encoding": "probability"}
    whole = lossbench.evaluate(pred, target, "sad = l1(reduction=sum) / 1000", **given)
    valid = {name: mask == 128 for name, mask in unknown.items()}
    part = lossbench.evaluate(pred, target, "l2", **given, inputs={"valid": valid})
    for place, name in enumerate(whole.ids):
        sad, mse = whole.values["sad"].samples[place], part.values["l2"].samples[place]
        assert sad == pytest.approx(float(rows[name]["recomputed_sad_div_1000_clean"]), abs=6e-7)
        assert mse == pytest.approx(float(rows[name]["recomputed_mse_unknown_clean"]), abs=6e-7)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_balance_without_a_positive_is_an_error(task):
    """LOSSES.md, class balance: "no positive at all is an error"."""
    empty = [np.zeros((2, 3, 4), np.uint8)] * 2
    with pytest.raises(lossbench.InputError, match="class_weights=auto"):
        lossbench.evaluate(empty, empty, "dice(class_weights=auto)", task=task)
