"""Numbers in JSON: null for undefined, strings for infinities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossbench.runtime.array_types import FloatArray


Number = float | str | None  # None is undefined


def number(value: float) -> Number:
    """A number as JSON holds it."""
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def number_lists(numbers: FloatArray) -> list[Any]:
    """Numbers as JSON holds them, in nested lists of the array's shape."""
    import numpy as np

    objects = numbers.astype(object)
    objects[np.isnan(numbers)] = None
    for infinite in (math.inf, -math.inf):
        objects[numbers == infinite] = number(infinite)
    lists: list[Any] = objects.tolist()
    return lists


def jsonable(value: Any) -> Any:
    """Settings and options as JSON holds them."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(each) for each in value]
    return number(value) if isinstance(value, float) else value


def from_number(value: Number) -> float:
    """A number read from JSON."""
    return math.nan if value is None else float(value)
