"""The distinct numbers of an array."""

from __future__ import annotations

from functools import partial, reduce
from typing import Any

import numpy as np

from lossbench.data.arrays.byte_histogram import histogram
from lossbench.data.arrays.strips import strips
from lossbench.runtime.array_types import AnyArray


def distinct(array: AnyArray) -> AnyArray:
    """The distinct numbers, sorted.

    Labels lie in areas, so that the first numbers of runs are few in place of all.
    """
    if array.dtype in (np.uint8, np.uint16):
        count = histogram if array.dtype == np.uint8 else partial(np.bincount, minlength=1 << 16)
        return np.flatnonzero(reduce(np.add, (count(strip) for (strip,) in strips(array))))
    numbers: Any = array.ravel("K")
    return np.unique(np.append(numbers[1:][numbers[1:] != numbers[:-1]], numbers[:1]))
