"""Reductions from a loss's result to one value per sample, with the options common to all losses.

Each function's keyword-only parameters are options of every loss whose return annotation the
function handles. `support`, the pixels of the target in each class (B, C), is computed only if an
option needs it.

Args:
    class_weights: one weight per class; auto is N/(K·n_c) over the data set.
    empty: replacement of an undefined value; skip excludes the value and counts it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

import lossbench.interface.annotations as vocabulary
from lossbench.interface.annotations import Array, Decibels, NonNegative, PerPixel, RootMean
from lossbench.interface.sample_batch import SampleBatch
from lossbench.interface.stable_math import (
    broadcast,
    concatenate,
    decibels,
    is_defined,
    library,
    numbers,
    power,
    ratio,
    root,
    total,
    where,
    zeros_like,
)

Function = TypeVar("Function", bound=Callable[..., Any])
Finished = tuple[Array, Array | None]
FINISHERS: dict[Any, Callable[..., Finished]] = {}
PIXEL_KINDS = (PerPixel, RootMean, Decibels)


class Sums(NamedTuple):
    """A per-pixel loss summed over its elements; additive.

    top = Σ w·value and mass = Σ w·mass, each (B, C); of_class (B, C), the whole loss of the pixels
    whose target is that class; elements (B,), the divisor of the mean if every pixel, ignored ones
    included, counted 1; every (B,), the same with every class of a pixel counting 1.
    """

    top: Array
    mass: Array
    of_class: Array
    elements: Array
    every: Array

    @classmethod
    def over(cls, result: PerPixel, values: SampleBatch) -> Sums:
        """The sums of each sample."""
        value, mass = result
        top = total(value, values.weight)
        channels = value.shape[1]
        every = values.pixels * channels
        if mass is None:  # every class or channel has its own loss
            return cls(top, broadcast(values.total_weight, top.shape), top, every, every)
        if values.joint is None:
            of_class = total(mass * value.sum(1)[:, None], values.weight)
        else:
            of_class = _of_targets(value[0], values.weight, values.joint)
        return cls(top, total(mass, values.weight), of_class, values.pixels, every)


def finishes(*, kinds: Sequence[str], weighs: bool = False) -> Callable[[Function], Function]:
    """Register the function that reduces some kinds of result, by their names in `annotations`.

    `weighs` states that weights enter the result, so that a weight map has an effect.
    """

    def register(function: Function) -> Function:
        FINISHERS.update((getattr(vocabulary, kind), function) for kind in kinds)
        return function

    return register


# Functions applied to the mean or the sum of the elements.
AFTER: dict[Any, Callable[[Array], Array]] = {RootMean: root}


@finishes(kinds=["PerPixel", "RootMean"], weighs=True)
def finish_pixels(
    sums: Sums,
    support: Callable[[], Array],
    then: Callable[[Array], Array] = operator.pos,
    *,
    reduction: Literal["mean", "sum"] = "mean",
    over: Literal["valid", "all", "classes"] = "valid",
    class_weights: Sequence[NonNegative] | Literal["auto", "median_frequency"] | None = None,
    empty: float | Literal["skip"] = "skip",
) -> Finished:
    """Mean or sum over the elements of each sample, and of each class.

    Args:
        reduction: over the valid elements of a sample; the mean divides by the sum of weights.
        over: divisor of the mean: valid elements; all elements, unweighted and with ignored ones;
            or, with `classes`, also the classes of a pixel, where these share one loss.
    """
    top, mass, of_class, elements, every = sums
    present = mass > 0
    weighted = [top, mass]
    if class_weights is not None:
        weights = numbers(class_weights, top)
        weighted = [top * weights, mass * weights]
    sample, divisor = (x.sum(-1) for x in weighted)
    if over == "classes":
        classes = numbers(every / elements, top)
        mass, divisor = mass * classes[:, None], divisor * classes
    if reduction == "sum":
        of_class = where(present, of_class, math.nan)
        sample = where(present.any(-1), sample, math.nan)
    elif over == "all":
        of_class = ratio(of_class, mass)
        sample = where(present.any(-1), ratio(sample, numbers(elements, top)), math.nan)
    else:
        of_class, sample = ratio(of_class, mass), ratio(sample, divisor)
    return _fill(then(sample), empty), _fill(then(of_class), empty)


@finishes(kinds=["Decibels"], weighs=True)
def finish_decibels(
    sums: Sums,
    support: Callable[[], Array],
    *,
    cap: float | None = None,
    reduction: Literal["mean", "sum"] = "mean",
    over: Literal["valid", "all", "classes"] = "valid",
    class_weights: Sequence[NonNegative] | Literal["auto", "median_frequency"] | None = None,
    empty: float | Literal["skip"] = "skip",
) -> Finished:
    """Decibels of the mean or sum over the elements of each sample, and of each class.

    Args:
        cap: the largest value, in dB; identical images get it, which keeps a mean finite.
        reduction: over the valid elements of a sample; the mean divides by the sum of weights.
        over: divisor of the mean: valid elements; all elements, unweighted and with ignored ones;
            or, with `classes`, also the classes of a pixel, where these share one loss.
    """

    def capped(mean: Array) -> Array:
        return decibels(mean) if cap is None else decibels(mean).clip(max=cap)

    return finish_pixels(
        sums,
        support,
        capped,
        reduction=reduction,
        over=over,
        class_weights=class_weights,
        empty=empty,
    )


@finishes(kinds=["PerClass"])
def finish_classes(
    values: Array,
    support: Callable[[], Array],
    *,
    class_reduction: Literal["mean", "sum", "weighted", "none"] = "mean",
    class_weights: Sequence[NonNegative] | Literal["auto", "median_frequency"] | None = None,
    background: bool = True,
    absent: float | Literal["skip"] | None = None,
    exponent: NonNegative = 1.0,
    empty: float | Literal["skip"] = "skip",
) -> Finished:
    """Reduce the classes of each sample to its value.

    Args:
        class_reduction: over the defined classes; weighted uses the sample's target pixel counts,
            none gives only the class columns.
        background: whether class 0 of a multiclass task counts.
        absent: value of a class absent from the target, regardless of the prediction; skip makes it
            undefined, none uses the formula.
        exponent: power applied to a sample's value after the class reduction, keeping its sign.
    """
    if absent is not None:
        values = where(support() > 0, values, math.nan if isinstance(absent, str) else absent)
    values = _fill(values, empty)
    weight = numbers(is_defined(values), values)
    if class_weights is not None:
        weight = weight * numbers(class_weights, values)
    if class_reduction == "weighted":
        weight = weight * support()
    if not background:
        weight = concatenate([zeros_like(weight[:, :1]), weight[:, 1:]], 1)
    counts = weight > 0
    sample = (where(counts, values, 0.0) * weight).sum(-1)
    if class_reduction == "none":
        return zeros_like(sample) + math.nan, values
    if class_reduction == "sum":
        sample = where(counts.any(-1), sample, math.nan)
    else:
        sample = ratio(sample, weight.sum(-1))
    if exponent != 1:
        sample = library(sample).sign(sample) * power(abs(sample), exponent)
    return _fill(sample, empty), values


@finishes(kinds=["PerSample"])
def finish_samples(
    values: Array, support: Callable[[], Array], *, empty: float | Literal["skip"] = "skip"
) -> Finished:
    """Values per sample, with nothing left to reduce."""
    return _fill(values, empty), None


def _of_targets(value: Array, weight: Array, joint: Array) -> Array:
    """The whole loss of the pixels of each class, (B, K), from cells (K, 4) and their counts.

    For every class other than its true and predicted class, a pixel has the true negative's value.
    """
    tn, fn, fp, tp = (value[..., cell] for cell in range(4))
    fn_count, tp_count = weight[..., 1], weight[..., 3]
    base = tn.sum()
    sums = tp_count * (base + tp - tn) + fn_count * (base + fn - tn)
    excess = fp - tn
    if (excess == excess[0]).all():
        return sums + fn_count * excess[0]
    others = excess * numbers(1 - np.eye(len(excess)), excess)
    return sums + (joint * others).sum(-1)


def _fill(values: Array, empty: float | str) -> Array:
    """Replace undefined values, unless they are skipped."""
    return values if isinstance(empty, str) else where(is_defined(values), values, empty)
