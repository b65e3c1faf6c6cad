"""Operations that keep losses finite, exact and differentiable."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

SMALLEST = 3.720075976020836e-44  # e^-100
STEEP = 1e-12  # below, the slope of a logarithm is that at this number, as in torch's BCELoss
VECTORS = 64  # numbers, a multiple of every processor's vector length


def total(x: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum Σ w·x over the elements, the last axis."""
    return (x * weight).sum(-1)


def ratio(top: Tensor, bottom: Tensor) -> Tensor:
    """Ratio top / bottom; undefined (nan), with gradient 0, where the denominator is 0."""
    defined = bottom > 0
    return (top / bottom.where(defined, 1.0)).where(defined, torch.nan)


def alike(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Apply an elementwise function so that every element of (B,) or (B, C) rounds alike.

    Processors compute whole vectors and the remainder of a tensor with code that can differ in the
    last bit, so a value would depend on the batch. Padding leaves no remainder.
    """
    if max(tensor.ndim for tensor in tensors) > 2:
        return function(*tensors)
    broadcast = torch.broadcast_tensors(*tensors)
    shape, count = broadcast[0].shape, broadcast[0].numel()
    padded = (functional.pad(x.flatten(), (0, -count % VECTORS), value=1.0) for x in broadcast)
    return function(*padded)[:count].reshape(shape)


def logarithm(x: Tensor) -> Tensor:
    """Logarithm clamped at −100, with a gradient of at most 1e12, and 0 instead of nan at x = 0."""
    clamped = x.clamp(min=SMALLEST)
    value = alike(torch.log, clamped)
    if not value.requires_grad:
        return value
    part = (clamped.detach() / STEEP).clamp(max=1)  # of the slope, which float32 cannot hold
    return value.detach() + part * (value - value.detach())


def power(x: Tensor, exponent: float | Tensor) -> Tensor:
    """Power of x ≥ 0 with an exponent of 0 or more, with a finite gradient at x = 0."""

    def raised(x: Tensor) -> Tensor:
        if isinstance(exponent, Tensor):
            return alike(torch.pow, x, exponent)
        return alike(lambda x: x**exponent, x)

    if isinstance(exponent, int | float) and exponent >= 1:
        return raised(x)
    positive = ~(x <= 0)
    return raised(x.where(positive, 1.0)).where(positive, torch.zeros_like(x) ** exponent)


def root(x: Tensor) -> Tensor:
    """Square root with gradient 0 at x = 0."""
    positive = x > 0
    return x.where(positive, 1.0).sqrt().where(positive, x * 0)


def by_class(numbers: float | Sequence[float], like: Tensor, axis: int = 1) -> float | Tensor:
    """A number, or a list of one number per class as a tensor along an axis of `like`."""
    if isinstance(numbers, int | float):
        return numbers
    tail = like.ndim - axis - 1
    return torch.as_tensor(numbers, dtype=like.dtype, device=like.device).reshape(-1, *[1] * tail)
