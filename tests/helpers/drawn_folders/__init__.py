"""Pairs of folders drawn from what their numbers mean.

A draw starts from a meaning: the probability of each class, or the value of each channel, in every
pixel, and the pixels without ground truth. Code of this package alone writes that meaning in one of
the forms in which people keep it, and computes from the meaning, with numpy alone, the values that
losses have. Nothing here comes from lossbench, so that a mistake in its reading cannot hide.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from helpers.drawn_folders.meaning import Drawn, pick
from helpers.drawn_folders.ordinary import DRAWS
from helpers.drawn_folders.undecided import UNDECIDED
from helpers.drawn_folders.writing import write

SEED = 20261201
SHARE_UNDECIDED = 0.15


def draw(index: int, folder: Path) -> Drawn:
    """The pair of folders with this index, written below `folder`."""
    rng = np.random.default_rng([SEED, index])
    if rng.random() < SHARE_UNDECIDED:
        key = str(pick(rng, tuple(UNDECIDED)))
        drawn = UNDECIDED[key][0](rng)
        drawn.undecided = drawn.kind = key
    else:
        drawn = pick(rng, DRAWS)(rng)
    drawn.index = index
    write(drawn, folder)
    return drawn
