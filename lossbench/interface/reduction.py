"""Reductions from a loss's result to one value per sample, with the options common to all losses.

Each function's keyword-only parameters are options of every loss whose return annotation the
function handles. `support`, the pixels of the target in each class (B, C), is computed only if an
option needs it.

Args:
    class_weights: one weight per class; auto is N/(K·n_c) over the data set.
    empty: replacement of an undefined value; skip excludes the value and counts it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

import lossbench.interface.annotations as vocabulary
from lossbench.interface.annotations import Decibels, NonNegative, PerPixel, RootMean
from lossbench.interface.sample_batch import SampleBatch
from lossbench.interface.stable_math import alike, power, ratio, root, total

Function = TypeVar("Function", bound=Callable[..., Any])
Finished = tuple[Tensor, Tensor | None]
FINISHERS: dict[Any, Callable[..., Finished]] = {}
PIXEL_KINDS = (PerPixel, RootMean, Decibels)


class Sums(NamedTuple):
    """A per-pixel loss summed over its elements; additive.

    top = Σ w·value and mass = Σ w·mass, each (B, C); of_class (B, C), the whole loss of the pixels
    whose target is that class; elements (B,), the divisor of the mean if every pixel, ignored ones
    included, counted 1; every (B,), the same with every class of a pixel counting 1.
    """

    top: Tensor
    mass: Tensor
    of_class: Tensor
    elements: Tensor
    every: Tensor

    @classmethod
    def over(cls, result: PerPixel, values: SampleBatch) -> Sums:
        """The sums of each sample."""
        value, mass = result
        top = total(value, values.weight)
        channels = value.shape[1]
        every = values.pixels * channels
        if mass is None:  # every class or channel has its own loss
            return cls(top, values.total_weight.expand(-1, channels), top, every, every)
        if values.joint is None:
            of_class = total(mass * value.sum(1, keepdim=True), values.weight)
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


def decibels(mean: Tensor) -> Tensor:
    """Decibels −10·log10 of a mean; infinite for a mean of 0."""
    positive = mean > 0
    result = -10 * alike(torch.log10, mean.where(positive, 1.0))
    return result.where(positive, torch.inf + mean)


# Functions applied to the mean or the sum of the elements.
AFTER: dict[Any, Callable[[Tensor], Tensor]] = {RootMean: root}


@finishes(kinds=["PerPixel", "RootMean"], weighs=True)
def finish_pixels(
    sums: Sums,
    support: Callable[[], Tensor],
    then: Callable[[Tensor], Tensor] = torch.positive,
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
        weights = _weights(class_weights, top)
        weighted = [top * weights, mass * weights]
    sample, divisor = (x.sum(-1) for x in weighted)
    if over == "classes":
        classes = (every / elements).to(top)
        mass, divisor = mass * classes[:, None], divisor * classes
    if reduction == "sum":
        of_class = of_class.where(present, torch.nan)
        sample = sample.where(present.any(-1), torch.nan)
    elif over == "all":
        of_class = ratio(of_class, mass)
        sample = ratio(sample, elements.to(top)).where(present.any(-1), torch.nan)
    else:
        of_class, sample = ratio(of_class, mass), ratio(sample, divisor)
    return _fill(then(sample), empty), _fill(then(of_class), empty)


@finishes(kinds=["Decibels"], weighs=True)
def finish_decibels(
    sums: Sums,
    support: Callable[[], Tensor],
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

    def capped(mean: Tensor) -> Tensor:
        return decibels(mean) if cap is None else decibels(mean).clamp(max=cap)

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
    values: Tensor,
    support: Callable[[], Tensor],
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
        values = values.where(support() > 0, torch.nan if isinstance(absent, str) else absent)
    values = _fill(values, empty)
    weight = (~values.isnan()).to(values)
    if class_weights is not None:
        weight = weight * _weights(class_weights, values)
    if class_reduction == "weighted":
        weight = weight * support()
    if not background:
        weight = torch.cat([torch.zeros_like(weight[:, :1]), weight[:, 1:]], 1)
    counts = weight > 0
    sample = (values.where(counts, 0.0) * weight).sum(-1)
    if class_reduction == "none":
        return torch.full_like(sample, torch.nan), values
    if class_reduction == "sum":
        sample = sample.where(counts.any(-1), torch.nan)
    else:
        sample = ratio(sample, weight.sum(-1))
    if exponent != 1:
        sample = sample.sign() * power(sample.abs(), exponent)
    return _fill(sample, empty), values


@finishes(kinds=["PerSample"])
def finish_samples(
    values: Tensor, support: Callable[[], Tensor], *, empty: float | Literal["skip"] = "skip"
) -> Finished:
    """Values per sample, with nothing left to reduce."""
    return _fill(values, empty), None


def _of_targets(value: Tensor, weight: Tensor, joint: Tensor) -> Tensor:
    """The whole loss of the pixels of each class, (B, K), from cells (K, 4) and their counts.

    For every class other than its true and predicted class, a pixel has the true negative's value.
    """
    tn, fn, fp, tp = value.unbind(-1)
    _, fn_count, _, tp_count = weight.unbind(-1)
    base = tn.sum()
    sums = tp_count * (base + tp - tn) + fn_count * (base + fn - tn)
    excess = fp - tn
    if (excess == excess[0]).all():
        return sums + fn_count * excess[0]
    others = excess.expand(len(excess), -1) * (1 - torch.eye(len(excess)).to(excess))
    return sums + (joint * others).sum(-1)


def _weights(class_weights: Any, like: Tensor) -> Tensor:
    """Class weights as a tensor."""
    return torch.as_tensor(class_weights, dtype=like.dtype, device=like.device)


def _fill(values: Tensor, empty: float | str) -> Tensor:
    """Replace undefined values, unless they are skipped."""
    return values if isinstance(empty, str) else values.where(~values.isnan(), empty)
