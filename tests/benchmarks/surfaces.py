"""Measures of surfaces next to MONAI, from masks in memory: surfaces.py [PAIRS [WIDTH [WIDTH3D]]]

For each kind of masks: milliseconds of a pair, the median over the pairs of the best of `REPEAT`
calls, for our five measures together and for MONAI's Hausdorff distance alone, on one thread.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from lossbench.interface.dispatch import evaluate
from lossbench.interface.sample_batch import Input, SampleBatch
from lossbench.losses.surface import assd, boundary_iou, hausdorff, hd95, nsd

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of packages that MONAI would have liked
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance

REPEAT = 3
MEASURES = (hausdorff, hd95, assd, nsd, boundary_iou)
OPTIONS = {"threshold": 0.5, "background": True}
Field = NDArray[np.float64]
Mask = NDArray[np.bool_]


def noise(shape: Sequence[int], smooth: float, random: np.random.Generator) -> Field:
    """Smooth noise of deviation 1."""
    found = ndimage.gaussian_filter(random.normal(size=shape), smooth)
    return np.asarray(found / found.std())


def one_part(shape: Sequence[int], random: np.random.Generator) -> tuple[Field, Field]:
    """Depths in a ball out of shape, and in the same with another outline."""
    width = shape[0]
    places = np.indices(shape) - width / 2
    depth = (
        0.3 * width - np.sqrt((places**2).sum(0)) + 0.05 * width * noise(shape, width / 10, random)
    )
    return depth, depth + 0.012 * width * noise(shape, width / 32, random)


def many_parts(shape: Sequence[int], random: np.random.Generator) -> tuple[Field, Field]:
    """Spots that fill a fifth, and the same with other outlines."""
    smooth = shape[0] / 40 + 2
    field = noise(shape, smooth, random) - 0.84
    return field, field + 0.15 * noise(shape, smooth, random)


def lines(shape: Sequence[int], random: np.random.Generator) -> tuple[Field, Field]:
    """Thin curves, and the same with other outlines."""
    smooth = shape[0] / 40 + 2
    field = noise(shape, smooth, random)
    moved = field + 0.05 * noise(shape, smooth, random)
    return 0.1 - abs(field), 0.1 - abs(moved)


KINDS: dict[str, tuple[Callable[..., tuple[Field, Field]], int]] = {
    "one object": (one_part, 2),
    "many cells": (many_parts, 2),
    "thin vessels": (lines, 2),
    "an organ": (one_part, 3),
    "many lesions": (many_parts, 3),
}


def ours(pred: Mask, target: Mask) -> None:
    """All five, from masks as a run has them."""
    with torch.inference_mode():
        sides = {
            role: Input(
                torch.as_tensor(mask.view(np.uint8)).reshape(1, 1, -1), "binary", space=mask.shape
            )
            for role, mask in (("pred", pred), ("target", target))
        }
        weight = torch.ones(1, 1, 1, dtype=torch.float64).expand(1, 1, pred.size)
        values = SampleBatch(sides, weight, torch.tensor([pred.size]))
        for measure in MEASURES:
            evaluate(measure, values, OPTIONS)


def monai(pred: Mask, target: Mask) -> None:
    """The distance alone."""
    one, other = (torch.as_tensor(mask)[None, None] for mask in (pred, target))
    compute_hausdorff_distance(one, other, include_background=True)


def best(measure: Callable[[Mask, Mask], None], pair: tuple[Mask, Mask]) -> float:
    """The shortest time of some calls, after one, in milliseconds."""
    measure(*pair)
    taken = []
    for _ in range(REPEAT):
        start = time.perf_counter()
        measure(*pair)
        taken.append(time.perf_counter() - start)
    return 1e3 * min(taken)


def main() -> None:
    """Print a line for each kind of masks."""
    pairs, *widths = map(int, (*sys.argv[1:], *("3", "512", "128")[len(sys.argv) - 1 :]))
    torch.set_num_threads(1)
    for name, (draw, dimensions) in KINDS.items():
        width, rows = widths[dimensions - 2], []
        for seed in range(pairs):
            random = np.random.default_rng(seed)
            pred, target = (each > 0 for each in draw((width,) * dimensions, random))
            rows.append([best(each, (pred, target)) for each in (ours, monai)])
        five, one = (statistics.median(column) for column in zip(*rows, strict=True))
        masks = f"{name}, {'×'.join([str(width)] * dimensions)}"
        print(f"{masks:28} five {five:8.1f} ms   MONAI {one:8.1f} ms   ratio {one / five:.1f}")


if __name__ == "__main__":
    main()
