"""The operations that keep every loss finite, exact and differentiable."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SMALLEST = 3.720075976020836e-44  # e^-100


def total(x: Tensor, weight: Tensor) -> Tensor:
    """Σ w·x over the elements, the last axis."""
    return (x * weight).sum(-1)


def ratio(top: Tensor, bottom: Tensor) -> Tensor:
    """top / bottom; undefined (nan) over nothing, with a gradient of 0 there."""
    defined = bottom > 0
    return (top / bottom.where(defined, 1.0)).where(defined, torch.nan)


def logarithm(x: Tensor) -> Tensor:
    """log x, never below −100, with a gradient of 0 and not nan at x = 0."""
    return x.clamp(min=SMALLEST).log()


def power(x: Tensor, exponent: float | Tensor) -> Tensor:
    """x to a power of 0 or more, of x ≥ 0, with a finite gradient at x = 0."""
    if isinstance(exponent, int | float) and exponent >= 1:
        return x**exponent
    nothing = x <= 0
    return (x.where(~nothing, 1.0) ** exponent).where(~nothing, torch.zeros_like(x) ** exponent)


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
