"""From what a loss returns to one value per sample: the options common to all, applied once.

Each function's keyword-only parameters are options of every loss whose return annotation it names.
`support`, the pixels of the target in each class (B, C), is asked for where an option needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

import lossbench.interface.annotations as words
from lossbench.errors import SettingError
from lossbench.interface.annotations import Decibels, NonNegative, PerPixel, RootMean
from lossbench.interface.sample_batch import SampleBatch
from lossbench.interface.stable_math import alike, power, ratio, root, total

Function = TypeVar("Function", bound=Callable[..., Any])
Finished = tuple[Tensor, Tensor | None]
FINISHERS: dict[Any, Callable[..., Finished]] = {}
PIXEL_KINDS = (PerPixel, RootMean, Decibels)


class Sums(NamedTuple):
    """A per-pixel loss summed over its elements. They add up.

    top = Σ w·value and mass = Σ w·mass, each (B, C); of_class (B, C), the whole loss of the pixels
    whose target is that class; elements (B,), what the mean would divide by if every pixel counted
    one, ignored ones included; every (B,), that with each class of a pixel counting one.
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
        if mass is None:  # every class or channel has a loss of its own
            return cls(top, values.every.expand(-1, channels), top, every, every)
        if values.joint is None:
            of_class = total(mass * value.sum(1, keepdim=True), values.weight)
        else:
            of_class = _of_targets(value[0], values.weight, values.joint)
        return cls(top, total(mass, values.weight), of_class, values.pixels, every)


def finishes(*, kinds: Sequence[str], weighs: bool = False) -> Callable[[Function], Function]:
    """Register the function that finishes some kinds of result, by their words in `forms`.

    With `weighs` elements were summed with their weights, so that a weight map has an effect.
    """

    def register(function: Function) -> Function:
        FINISHERS.update((getattr(words, kind), function) for kind in kinds)
        return function

    return register


def decibels(mean: Tensor) -> Tensor:
    """−10·log10 of a mean; nothing is infinitely far below."""
    some = mean > 0
    found = -10 * alike(torch.log10, mean.where(some, 1.0))
    return found.where(some, torch.inf + mean)


# What is done with the mean or the sum of the elements.
AFTER: dict[Any, Callable[[Tensor], Tensor]] = {RootMean: root, Decibels: decibels}


@finishes(kinds=["PerPixel", "RootMean", "Decibels"], weighs=True)
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
    """Mean or sum over the elements of a sample, and of each class.

    Args:
        reduction: over the valid elements of a sample; a mean divides by the sum of their weights.
        over: with `all` the mean divides by all elements, ignored ones included, unweighted; with
            `classes` by the classes of a pixel as well, where these share one loss.
        class_weights: a weight for each class; auto is N/(K·n_c) over the data set.
        empty: the value that replaces an undefined one; skip leaves it out and counts it.
    """
    top, mass, of_class, elements, every = sums
    seen, weighed = mass > 0, [top, mass]
    if class_weights is not None:
        weight = _weights(class_weights, top)
        weighed = [side * weight for side in weighed]
    sample, valid = (side.sum(-1) for side in weighed)
    if over == "classes":
        sharing = (every / elements).to(top)
        mass, valid = mass * sharing[:, None], valid * sharing
    if reduction == "sum":
        of_class, sample = of_class.where(seen, torch.nan), sample.where(seen.any(-1), torch.nan)
    elif over == "all":
        of_class = ratio(of_class, mass)
        sample = ratio(sample, elements.to(top)).where(seen.any(-1), torch.nan)
    else:
        of_class, sample = ratio(of_class, mass), ratio(sample, valid)
    return _fill(then(sample), empty), _fill(then(of_class), empty)


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
    """From the classes of a sample to its value.

    Args:
        class_reduction: over the defined classes; weighted uses the sample's target pixel counts,
            none leaves only the class columns.
        class_weights: a weight for each class; auto is N/(K·n_c) over the data set.
        background: whether class 0 of a multiclass task counts.
        absent: the value of a class that the target lacks, whatever was predicted; skip makes it
            undefined, none leaves it to the formula.
        exponent: the power of a sample's value after the class reduction, its sign kept.
        empty: the value that replaces an undefined one; skip leaves it out and counts it.
    """
    if absent is not None:
        wanted = torch.nan if isinstance(absent, str) else absent
        values = values.where(support() > 0, wanted)
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
    """Nothing is left to reduce.

    Args:
        empty: the value that replaces an undefined one; skip leaves it out and counts it.
    """
    return _fill(values, empty), None


def _of_targets(value: Tensor, weight: Tensor, joint: Tensor) -> Tensor:
    """The whole loss of the pixels of each class, (B, K), from cells (K, 4) and their counts.

    Of the classes that a pixel is neither in nor taken for, it has their value of a true negative.
    """
    none, missed, alarm, hit = value.unbind(-1)
    _, misses, _, hits = weight.unbind(-1)
    base = none.sum()
    found = hits * (base + hit - none) + misses * (base + missed - none)
    alarms = alarm - none
    if (alarms == alarms[0]).all():
        return found + misses * alarms[0]
    others = alarms.expand(len(alarms), -1) * (1 - torch.eye(len(alarms)).to(alarms))
    return found + (joint * others).sum(-1)


def _weights(class_weights: Any, like: Tensor) -> Tensor:
    """One weight per class as a tensor."""
    if len(class_weights) != like.shape[1]:
        raise SettingError(
            f"class_weights has {len(class_weights)} numbers, there are {like.shape[1]} classes"
        )
    return torch.as_tensor(class_weights, dtype=like.dtype, device=like.device)


def _fill(values: Tensor, empty: float | str) -> Tensor:
    """Undefined values replaced, unless they are skipped."""
    return values if isinstance(empty, str) else values.where(~values.isnan(), empty)
