"""From what a loss returns to one value per sample: the options common to all, applied once.

Each function's keyword-only parameters are options of every loss whose return annotation it names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from lossbench.errors import SettingError
from lossbench.views import forms
from lossbench.views.forms import PerPixel
from lossbench.views.sums import ratio, total
from lossbench.views.values import Values

Function = TypeVar("Function", bound=Callable[..., Any])
Finished = tuple[Tensor, Tensor | None]
FINISHERS: dict[Any, Callable[..., Finished]] = {}


class Sums(NamedTuple):
    """A per-pixel loss summed over its elements. They add up.

    top = Σ w·value (B, C), mass = Σ w·mass (B, C), elements (B,): what the mean would divide by if
    every pixel counted one, ignored ones included.
    """

    top: Tensor
    mass: Tensor
    elements: Tensor

    @classmethod
    def over(cls, result: PerPixel, values: Values) -> Sums:
        """The sums of each sample."""
        channels = result.value.shape[1]
        if result.mass is None:
            mass = values.weight.sum(-1).expand(-1, channels)
            return cls(total(result.value, values.weight), mass, values.pixels * channels)
        return cls(
            total(result.value, values.weight), total(result.mass, values.weight), values.pixels
        )


def finishes(*, kind: str) -> Callable[[Function], Function]:
    """Register the function that finishes a kind of result, by its word in `forms`."""

    def register(function: Function) -> Function:
        FINISHERS[getattr(forms, kind)] = function
        return function

    return register


@finishes(kind="PerPixel")
def finish_pixels(
    sums: Sums,
    support: Tensor,
    *,
    reduction: Literal["mean", "sum"] = "mean",
    over: Literal["valid", "all"] = "valid",
    class_weights: Sequence[float] | Literal["auto", "median_frequency"] | None = None,
    empty: float | Literal["skip"] = "skip",
) -> Finished:
    """Mean or sum over the elements of a sample, and of each class.

    Args:
        reduction: over the valid elements of a sample; a mean divides by the sum of their weights.
        over: with `all` the mean divides by all elements, ignored ones included, unweighted.
        class_weights: a weight for each class; auto is N/(K·n_c) over the data set.
        empty: the value that replaces an undefined one; skip leaves it out and counts it.
    """
    top, mass, elements = sums
    weight = _weights(class_weights, top)
    seen = (mass > 0).any(-1)
    per_class = top if reduction == "sum" else ratio(top, mass)
    sample = (top * weight).sum(-1)
    if reduction == "mean":
        divisor = (mass * weight).sum(-1) if over == "valid" else elements.to(top)
        sample = ratio(sample, divisor)
    return _fill(sample.where(seen, torch.nan), empty), _fill(per_class, empty)


@finishes(kind="PerClass")
def finish_classes(
    values: Tensor,
    support: Tensor,
    *,
    class_reduction: Literal["mean", "sum", "weighted", "none"] = "mean",
    class_weights: Sequence[float] | Literal["auto", "median_frequency"] | None = None,
    background: bool = True,
    empty: float | Literal["skip"] = "skip",
) -> Finished:
    """From the classes of a sample to its value.

    Args:
        class_reduction: over the defined classes; weighted uses the sample's target pixel counts,
            none leaves only the class columns.
        class_weights: a weight for each class; auto is N/(K·n_c) over the data set.
        background: whether class 0 of a multiclass task counts.
        empty: the value that replaces an undefined one; skip leaves it out and counts it.
    """
    values = _fill(values, empty)
    weight = _weights(class_weights, values).expand_as(values)
    if class_reduction == "weighted":
        weight = weight * support
    weight = weight.where(~values.isnan(), 0.0)
    if not background:
        weight = torch.cat([torch.zeros_like(weight[:, :1]), weight[:, 1:]], 1)
    counts = weight > 0
    sample = (values.where(counts, 0.0) * weight).sum(-1)
    if class_reduction == "sum":
        sample = sample.where(counts.any(-1), torch.nan)
    elif class_reduction == "none":
        sample = torch.full_like(sample, torch.nan)
    else:
        sample = ratio(sample, weight.sum(-1))
    return sample, values


@finishes(kind="PerSample")
def finish_samples(
    values: Tensor, support: Tensor, *, empty: float | Literal["skip"] = "skip"
) -> Finished:
    """Nothing is left to reduce.

    Args:
        empty: the value that replaces an undefined one; skip leaves it out and counts it.
    """
    return _fill(values, empty), None


def _weights(class_weights: Any, like: Tensor) -> Tensor:
    """One weight per class as a tensor, 1 where none are given."""
    if class_weights is None:
        return torch.ones_like(like[:1])
    if len(class_weights) != like.shape[1]:
        raise SettingError(
            f"class_weights has {len(class_weights)} numbers, there are {like.shape[1]} classes"
        )
    return torch.as_tensor(class_weights, dtype=like.dtype, device=like.device)


def _fill(values: Tensor, empty: float | str) -> Tensor:
    """Undefined values replaced, unless they are skipped."""
    return values if isinstance(empty, str) else values.where(~values.isnan(), empty)
