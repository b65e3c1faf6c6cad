"""How numbers stand in files: those that JSON has no word for as words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossbench.runtime.array_types import FloatArray


Number = float | str | None  # None is undefined


def number(value: float) -> Number:
    """A number as files hold it."""
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def words(numbers: FloatArray) -> list[Any]:
    """Numbers as files hold them, in nested lists of the array's shape."""
    import numpy as np

    found = numbers.astype(object)
    found[np.isnan(numbers)] = None
    for infinite in (math.inf, -math.inf):
        found[numbers == infinite] = number(infinite)
    each: list[Any] = found.tolist()
    return each


def jsonable(value: Any) -> Any:
    """Settings and options as files hold them."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(each) for each in value]
    return number(value) if isinstance(value, float) else value


def from_number(value: Number) -> float:
    """A number back from a file."""
    return math.nan if value is None else float(value)
