"""The operations that keep every loss finite, exact and differentiable."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

SMALLEST = 3.720075976020836e-44  # e^-100
VECTORS = 64  # numbers, a multiple of what any processor takes at once


def total(x: Tensor, weight: Tensor) -> Tensor:
    """Σ w·x over the elements, the last axis."""
    return (x * weight).sum(-1)


def ratio(top: Tensor, bottom: Tensor) -> Tensor:
    """top / bottom; undefined (nan) over nothing, with a gradient of 0 there."""
    defined = bottom > 0
    return (top / bottom.where(defined, 1.0)).where(defined, torch.nan)


def alike(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """A function that rounds, of the elements of (B,) or (B, C), of each in the same way.

    Vectors of numbers and the rest at the end of a tensor are computed in two ways that differ in
    the last bit, so that a value would depend on its neighbours: here no rest is left.
    """
    if max(each.ndim for each in tensors) > 2:
        return function(*tensors)
    several = torch.broadcast_tensors(*tensors)
    shape, count = several[0].shape, several[0].numel()
    filled = (functional.pad(x.flatten(), (0, -count % VECTORS), value=1.0) for x in several)
    return function(*filled)[:count].reshape(shape)


def logarithm(x: Tensor) -> Tensor:
    """log x, never below −100, with a gradient of 0 and not nan at x = 0."""
    return alike(torch.log, x.clamp(min=SMALLEST))


def power(x: Tensor, exponent: float | Tensor) -> Tensor:
    """x to a power of 0 or more, of x ≥ 0, with a finite gradient at x = 0."""

    def raised(x: Tensor) -> Tensor:
        if isinstance(exponent, Tensor):
            return alike(torch.pow, x, exponent)
        return alike(lambda x: x**exponent, x)

    if isinstance(exponent, int | float) and exponent >= 1:
        return raised(x)
    some = ~(x <= 0)
    return raised(x.where(some, 1.0)).where(some, torch.zeros_like(x) ** exponent)


def root(x: Tensor) -> Tensor:
    """√x with a gradient of 0 at x = 0."""
    positive = x > 0
    return x.where(positive, 1.0).sqrt().where(positive, x * 0)


def by_class(numbers: float | Sequence[float], like: Tensor, axis: int = 1) -> float | Tensor:
    """One number for all classes, or one for each along an axis of `like`."""
    if isinstance(numbers, int | float):
        return numbers
    tail = like.ndim - axis - 1
    return torch.as_tensor(numbers, dtype=like.dtype, device=like.device).reshape(-1, *[1] * tail)
