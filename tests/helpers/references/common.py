"""Building blocks of references: one sample as a reference sees it, and values reduced by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch

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


Reference = Callable[[Truth], tuple[float, Any]]  # the value, and those of the classes or None


class Row(NamedTuple):
    """Options as they are typed, what they should give on which tasks, and who says so."""

    tasks: Sequence[str]
    options: str
    reference: Reference
    source: str


def per_element(function: Callable[..., Any], reduction: str = "mean", over: str = "valid") -> Any:
    """A loss over elements that torch reduces; undefined where there are none."""

    def reference(truth: Truth) -> tuple[float, Any]:
        if over == "all":
            whole = reduced(function, truth, "sum")
            return whole / truth.target.size, None  # LOSSES.md says nothing of the class columns
        whole = reduced(function, truth, "mean")
        classes = [reduced(function, truth, "mean", c) for c in range(len(truth.target))]
        if reduction == "sum":
            elements = truth.counts.sum(1)
            return whole * elements.sum(), np.array(classes) * elements
        return whole, classes

    return reference


@cache
def reduced(
    function: Callable[..., Any], truth: Truth, reduction: str, c: int | None = None
) -> float:
    """What torch reduces the elements of all classes, or of one, to."""

    def picked(of: str) -> np.ndarray:
        return truth.all(of) if c is None else truth.channel(c, of)

    if not len(picked("target")):
        return math.nan
    given = [torch.tensor(picked(of)) for of in ("pred", "target")]
    logits = None if truth.logits is None else torch.tensor(picked("logits"))
    return float(function(*given, logits, reduction=reduction))


def weighted_channels(function: Callable[..., Any], weights: np.ndarray) -> Reference:
    """Σ_c w_c·Σ_x v / Σ_c w_c·N_c, by hand from each channel's mean."""

    def reference(truth: Truth) -> tuple[float, Any]:
        _, classes = per_element(function)(truth)
        mass = weights * truth.counts.sum(1)
        return average(np.asarray(classes), mass), classes

    return reference


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
        values = np.array([of_class(one, truth, c) for c in range(len(truth.target))])
        values = fill(values, empty)
        return over(values, truth), values

    return reference


@cache
def of_class(one: Callable[..., float], truth: Truth, c: int) -> float:
    """The value of one class, which many options leave as it is."""
    return one(truth=truth, c=c)


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
        Row(CLASSED, "absent=0.25", each_class(partial(where_absent, one, 0.25)), hand),
        Row(CLASSED, "absent=skip", each_class(partial(where_absent, one, math.nan)), hand),
        Row(CLASSED, "exponent=0.5", raised(each_class(one), 0.5), hand),
    ]


def where_absent(one: Callable[..., float], number: float, truth: Truth, c: int) -> float:
    """The value of a class, another number where the target lacks it."""
    return of_class(one, truth, c) if truth.support[c] else number


def raised(reference: Reference, exponent: float) -> Reference:
    """The value of a sample to a power with its sign kept; classes stay as they are."""

    def power(truth: Truth) -> tuple[float, Any]:
        value, classes = reference(truth)
        return float(np.sign(value) * abs(value) ** exponent), classes

    return power


def pixel_rows(function: Callable[..., Any], tasks: Sequence[str]) -> list[Row]:
    """The common options of a loss that has a value for each element."""
    rows = [
        Row(tasks, "", per_element(function), "torch"),
        Row(tasks, "reduction=sum", per_element(function, "sum"), "torch's mean times N"),
        Row(tasks, "over=all", per_element(function, over="all"), "torch's sum over all pixels"),
        Row(tasks, "over=classes", per_element(function), "torch's mean has all classes already"),
        Row(tasks, "empty=1", filled(per_element(function), 1.0), "torch"),
        Row(("binary",), "class_weights=[2]", per_element(function), "one class: no change"),
    ]
    several = tuple(task for task in tasks if task in SEVERAL)
    by_channel = weighted_channels(function, CLASS_WEIGHTS)
    return [*rows, Row(several, WEIGHTS_TYPED, by_channel, "torch's means of channels, by hand")]


def two_sided(truth: Truth) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Prediction, target and logits in rows (N, K); a binary task with its background first."""
    pred, target = (truth.rows(of).numpy() for of in ("pred", "target"))
    logits = None if truth.logits is None else truth.rows("logits").numpy()
    if truth.task == "binary":
        pred, target = (np.hstack([1 - x, x]) for x in (pred, target))
        if logits is not None:  # sigmoid(x) is the softmax of 0 and x
            logits = np.hstack([np.zeros_like(logits), logits])
    return pred, target, logits


def by_pixel(
    shares: Callable[..., np.ndarray],
    weights: np.ndarray | None = None,
    reduction: str = "mean",
    over: str = "valid",
) -> Reference:
    """A loss whose pixels have a share (N, K) of each class: summed over classes, not averaged."""

    def reference(truth: Truth) -> tuple[float, Any]:
        pred, target, logits = two_sided(truth)
        count = target.shape[1]
        if not len(target):
            return math.nan, [math.nan] * count
        value = shares(pred, target, logits)
        each = np.ones(count) if weights is None else weights
        top, bottom = float((each * value).sum()), float((each * target).sum())
        if over == "all":
            return top / truth.target.shape[1], None
        if over == "classes":
            value, top = value / count, top / count
        whole = top if reduction == "sum" else top / bottom if bottom else math.nan
        if not truth.hard:
            return whole, None
        classes = []
        for c in range(count):  # "the mean over the pixels whose target is that class"
            part = value[target[:, c] == 1].sum(1)
            mean = part.mean() if len(part) else math.nan
            classes.append(part.sum() if reduction == "sum" and len(part) else mean)
        return whole, classes

    return reference


def shared_rows(shares: Callable[..., np.ndarray], source: str, binary: bool = True) -> list[Row]:
    """The common options of a loss that judges the classes of a pixel together."""
    tasks = ("binary", "multiclass") if binary else ("multiclass",)
    rows = [
        Row(tasks, "", by_pixel(shares), source),
        Row(tasks, "reduction=sum", by_pixel(shares, reduction="sum"), source),
        Row(tasks, "over=all", by_pixel(shares, over="all"), source),
        Row(tasks, "over=classes", by_pixel(shares, over="classes"), source),
        Row(tasks, "empty=1", filled(by_pixel(shares), 1.0), source),
        Row(("multiclass",), WEIGHTS_TYPED, by_pixel(shares, CLASS_WEIGHTS), source),
    ]
    if binary:
        both = by_pixel(shares, np.array([0.5, 2.0]))
        rows.append(Row(("binary",), "class_weights=[0.5, 2]", both, source))
    return rows


def log_probabilities(pred: np.ndarray, logits: np.ndarray | None) -> np.ndarray:
    """log p of (N, K), clamped at −100 where probabilities are stored, as torch's BCELoss does."""
    if logits is not None:
        return torch.log_softmax(torch.tensor(logits), 1).numpy()
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(pred), -100)


def combined(parts: Sequence[tuple[float, Reference]]) -> Reference:
    """Σ factor·value; undefined where a part is. Class columns where all parts have them."""

    def reference(truth: Truth) -> tuple[float, Any]:
        found = [(factor, *of(truth)) for factor, of in parts]
        whole = sum(factor * value for factor, value, _ in found)
        if any(classes is None for _, _, classes in found) or truth.task == "binary":
            return whole, None
        return whole, sum(factor * np.asarray(classes) for factor, _, classes in found)

    return reference
