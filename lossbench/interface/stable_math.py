"""Operations on arrays of NumPy and of torch: finite, exact and differentiable.

This module alone knows the two apart. Losses and views use operators, the methods that both kinds
of array have (`sum`, `any`, `clip`, `cumsum`, `reshape`), and the names below. Tables of counts are
NumPy's; pixels, and all that needs a gradient, are torch's, imported by whoever makes a tensor.
"""

# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lossbench.interface.annotations import Array
from lossbench.runtime.array_types import FloatArray

SMALLEST = 3.720075976020836e-44  # e^-100
STEEP = 1e-12  # below, the slope of a logarithm is that at this number, as in torch's BCELoss
TINY = 2.0**-126  # the smallest normal number of float32, a divisor in place of 0
VECTORS = 64  # numbers, a multiple of every processor's vector length


def is_numpy(x: Any) -> bool:
    """Whether an array is NumPy's."""
    return isinstance(x, np.ndarray | np.generic)


def library(x: Any) -> Any:
    """The library of an array, `numpy` or `torch`; most functions have one name in both."""
    return np if is_numpy(x) else sys.modules["torch"]


def is_float(x: Array) -> bool:
    """Whether an array holds floating-point numbers."""
    dtype: Any = x.dtype
    return dtype.kind == "f" if is_numpy(x) else dtype.is_floating_point


def is_repeated(x: Array) -> bool:
    """Whether one number in memory stands for all elements along the last axis."""
    array: Any = x
    return array.strides[-1] == 0 if is_numpy(array) else array.stride(-1) == 0


def numbers(values: Any, like: Array) -> Array:
    """Numbers, or conditions as 0 and 1, as an array of another's library and type."""
    lib, as_in = library(like), {"dtype": like.dtype}
    if is_numpy(like):
        return lib.asarray(values, **as_in)
    return lib.as_tensor(values, **as_in, device=like.device)


def to_numpy(x: Array) -> FloatArray:
    """An array as NumPy's, in double precision and without a gradient."""
    return np.asarray(x if is_numpy(x) else x.detach().cpu(), np.float64)


def by_class(values: float | Sequence[float], like: Array, axis: int = 1) -> float | Array:
    """A number, or a list of one number per class as an array along an axis of `like`."""
    if isinstance(values, int | float):
        return values
    tail = like.ndim - axis - 1
    return numbers(values, like).reshape(-1, *[1] * tail)


def where(condition: Array, x: Array | float, other: Array | float) -> Array:
    """Elements of `x` where a condition holds, of `other` elsewhere; one of them is an array."""
    return library(condition).where(condition, x, other)


def least(x: Array, other: Array) -> Array:
    """The smaller of two arrays, element by element."""
    return library(x).minimum(x, other)


def largest(x: Array, axis: int) -> Array:
    """The largest element along an axis, which stays with length 1."""
    return library(x).amax(x, axis, keepdims=True)


def is_defined(x: Array) -> Array:
    """Whether elements are numbers, not nan."""
    return ~library(x).isnan(x)


def zeros_like(x: Array) -> Array:
    """Zeros in the shape and type of an array."""
    return library(x).zeros_like(x)


def ones_like(x: Array) -> Array:
    """Ones in the shape and type of an array."""
    return library(x).ones_like(x)


def broadcast(x: Array, shape: Sequence[int]) -> Array:
    """An array repeated to a shape, without a copy."""
    return library(x).broadcast_to(x, tuple(shape))


def concatenate(arrays: Sequence[Array], axis: int) -> Array:
    """Join arrays along an axis."""
    return library(arrays[0]).concatenate(arrays, axis)


def stack(arrays: Sequence[Array], axis: int) -> Array:
    """Join arrays along a new axis."""
    return library(arrays[0]).stack(arrays, axis)


def sort_by(number: Array, *others: Array, descending: bool = False) -> list[Array]:
    """Sort numbers along the last axis, ties in their order, and other arrays in the same order."""
    lib = library(number)
    if is_numpy(number):
        order = lib.argsort(-number if descending else number, -1, kind="stable")
        return [lib.take_along_axis(each, order, -1) for each in (number, *others)]
    order = lib.argsort(number.contiguous(), dim=-1, descending=descending, stable=True)
    return [lib.take_along_dim(each, order, -1) for each in (number, *others)]


def bin_indices(x: Array, edges: Sequence[float]) -> Array:
    """The bin of each element; an element equal to an edge belongs to the bin below it."""
    lib = library(x)
    if is_numpy(x):
        return lib.searchsorted(edges, x)
    tensor = lib.tensor(edges, dtype=lib.float64, device=x.device)
    return lib.bucketize(x.contiguous().double(), tensor)


def sum_below(number: Array, weight: Array) -> Array:
    """For each element, the sum of the weights of smaller numbers; numbers are in rising order."""
    shape = np.broadcast_shapes(number.shape, weight.shape)
    zero = zeros_like(weight[..., :1])
    before = concatenate([zero, weight.cumsum(-1)], -1)
    lib = library(number)
    if is_numpy(number):
        is_new = lib.diff(number, axis=-1, prepend=math.nan) != 0
        first = lib.maximum.accumulate(lib.where(is_new, lib.arange(number.shape[-1]), 0), -1)
        return lib.take_along_axis(before, broadcast(first, shape), -1)
    first = lib.searchsorted(number.contiguous(), number.contiguous())
    return lib.take_along_dim(before, first.expand(shape), -1)


def total(x: Array, weight: Array) -> Array:
    """Weighted sum Σ w·x over the elements, the last axis."""
    return (x * weight).sum(-1)


def ratio(top: Array, bottom: Array) -> Array:
    """Ratio top / bottom; undefined (nan), with gradient 0, where the denominator is 0."""
    defined = bottom > 0
    return where(defined, top / where(defined, bottom, 1.0), math.nan)


def mean_defined(x: Array) -> Array:
    """Mean of the defined elements of the last axis; undefined where there is none."""
    defined = is_defined(x)
    return ratio(where(defined, x, 0.0).sum(-1), numbers(defined, x).sum(-1))


def alike(function: Callable[..., Array], *arrays: Array) -> Array:
    """Apply an elementwise function so that every element of (B,) or (B, C) rounds alike.

    torch computes whole vectors and the remainder of a tensor with code that can differ in the last
    bit, so a value would depend on the batch. Padding leaves no remainder. NumPy has one code.
    """
    if is_numpy(arrays[0]) or max(array.ndim for array in arrays) > 2:
        return function(*arrays)
    torch = library(arrays[0])
    broadcast = torch.broadcast_tensors(*arrays)
    shape, count = broadcast[0].shape, broadcast[0].numel()
    pad = torch.nn.functional.pad
    padded = (pad(x.flatten(), (0, -count % VECTORS), value=1.0) for x in broadcast)
    return function(*padded)[:count].reshape(shape)


def logarithm(x: Array) -> Array:
    """Logarithm clamped at −100, with a gradient of at most 1e12, and 0 instead of nan at x = 0."""
    clamped = x.clip(min=SMALLEST)
    value = alike(library(x).log, clamped)
    if is_numpy(value) or not value.requires_grad:
        return value
    part = (clamped.detach() / STEEP).clip(max=1)  # of the slope, which float32 cannot hold
    return value.detach() + part * (value - value.detach())


def decibels(mean: Array) -> Array:
    """Decibels −10·log10 of a mean; infinite for a mean of 0."""
    positive = mean > 0
    result = -10 * alike(library(mean).log10, where(positive, mean, 1.0))
    return where(positive, result, math.inf + mean)


def power(x: Array, exponent: float | Array) -> Array:
    """Power of x ≥ 0 with an exponent of 0 or more, with a finite gradient at x = 0."""

    def raised(x: Array) -> Array:
        if isinstance(exponent, int | float):
            return alike(lambda x: x**exponent, x)
        return alike(operator.pow, x, exponent)

    if isinstance(exponent, int | float) and exponent >= 1:
        return raised(x)
    positive = ~(x <= 0)
    return where(positive, raised(where(positive, x, 1.0)), zeros_like(x) ** exponent)


def root(x: Array) -> Array:
    """Square root with gradient 0 at x = 0."""
    positive = x > 0
    return where(positive, square_root(where(positive, x, 1.0)), x * 0)


def square_root(x: Array) -> Array:
    """Square root of x > 0."""
    return library(x).sqrt(x)


def exponential(x: Array) -> Array:
    """Exponential function e^x."""
    return library(x).exp(x)


def log_sigmoid(x: Array) -> Array:
    """Logarithm of the logistic function, −log(1 + e^(−x)), which does not overflow."""
    lib = library(x)
    return -lib.logaddexp(0.0, -x) if is_numpy(x) else lib.nn.functional.logsigmoid(x)
