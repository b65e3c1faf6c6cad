"""Which detection is which object: pycocotools' rule, for many thresholds at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lossbench.runtime.array_types import BoolArray, IntArray

CERTAIN = 1 - 1e-10  # an IoU of 1 may be rounded
NONE = -1


def matched(
    overlap: NDArray[np.float64], crowd: BoolArray, ignored: BoolArray, thresholds: Sequence[float]
) -> IntArray:
    """The object that each detection takes at each threshold, (L, P); NONE where it takes none.

    One detection after another takes, of the objects that are still free and overlap by the
    threshold, the one that overlaps most; the last of equals. It takes an ignored object only where
    no other is left. A crowd is never used up.

    Args:
        overlap: IoU (P, T), best detection first.
        crowd: (T,) objects that are many.
        ignored: (T,) objects that do not count, crowds among them.
        thresholds: L of them.
    """
    least = np.minimum(np.asarray(thresholds, np.float64), CERTAIN)[:, None]
    taken = np.zeros((len(least), len(crowd)), np.bool_)
    places = np.full((len(least), len(overlap)), NONE)
    if not len(crowd):
        return places
    lines = np.arange(len(least))
    for row, shares in enumerate(overlap):
        fits = (shares >= least) & (crowd | ~taken)
        counting = fits & ~ignored
        wanted = np.where(counting.any(1, keepdims=True), counting, fits)
        backwards = np.where(wanted, shares, -1.0)[:, ::-1]
        best = len(crowd) - 1 - backwards.argmax(1)
        some = wanted[lines, best]
        places[some, row] = best[some]
        taken[lines[some], best[some]] = True
    return places
