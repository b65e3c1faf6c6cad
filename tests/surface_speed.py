"""What the surface measures cost next to MONAI's Hausdorff distance, on one thread.

    python tests/surface_speed.py [--data FOLDER] [--repeat 5]

Hausdorff, HD95, ASSD, NSD and boundary IoU together, from masks in memory, against
monai.metrics.compute_hausdorff_distance alone on the same masks: the median time of a pair of each
real set under FOLDER that is there, of drawn volumes of 128³, and of a drawn pair of 4096×4096.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance
from PIL import Image
from scipy import ndimage

from lossbench.losses.surface import assd, boundary_iou, hausdorff, hd95, nsd
from lossbench.run.evaluate import one_thread
from lossbench.views.call import evaluate
from lossbench.views.values import Side, Values

SETS = {
    "objects": ("sod_saliency", "pred/DSS/*.png", "gt"),
    "cells": ("dsb2018_nuclei_16", "pred/*.png", "gt"),
    "vessels": ("drive_retina", "pred/*.png", "gt"),
}
MEASURES = (hausdorff, hd95, assd, nsd, boundary_iou)
Mask = np.ndarray
Pair = tuple[Mask, Mask]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(f"{'set':12} {'pairs':>5} {'ours':>9} {'MONAI':>9}  ratio")
    with one_thread():
        for name, (folder, files, truth) in SETS.items():
            pairs = list(real(given.data / folder, files, truth))
            if pairs:
                compare(name, pairs, given.repeat)
        compare("128³ organs", [organ(128, seed) for seed in range(5)], given.repeat)
        compare("128³ blobs", [blobs((128,) * 3, 6, seed) for seed in range(3)], given.repeat)
        compare("4096² blobs", [blobs((4096, 4096), 40, 0)], 1)


def compare(name: str, pairs: list[Pair], repeat: int) -> None:
    """Print the median over the pairs of the best of some repeats."""
    rows = [(best(ours, pair, repeat), best(monai, pair, repeat)) for pair in pairs]
    mine, theirs = (statistics.median(column) * 1e3 for column in zip(*rows, strict=True))
    print(
        f"{name:12} {len(pairs):5} {mine:6.2f} ms {theirs:6.2f} ms"
        f"  {theirs / mine:.1f} times as fast"
    )


def best(measure: Callable[[Mask, Mask], None], pair: Pair, repeat: int) -> float:
    """The shortest time of one call."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        measure(*pair)
        times.append(time.perf_counter() - start)
    return min(times)


def ours(pred: Mask, target: Mask) -> None:
    """All five, from masks as a run has them."""
    with torch.inference_mode():
        sides = {
            role: Side(
                torch.as_tensor(mask.view(np.uint8)).reshape(1, 1, -1), "binary", space=mask.shape
            )
            for role, mask in (("pred", pred), ("target", target))
        }
        weight = torch.ones(1, 1, 1, dtype=torch.float64).expand(1, 1, pred.size)
        values = Values(sides, weight, torch.tensor([pred.size]))
        options = {"threshold": 0.5, "background": True}
        for measure in MEASURES:
            evaluate(measure, values, options)


def monai(pred: Mask, target: Mask) -> None:
    """The distance alone."""
    sides = (torch.as_tensor(mask)[None, None] for mask in (pred, target))
    compute_hausdorff_distance(*sides, include_background=True)


def real(folder: Path, files: str, truth: str) -> Iterator[Pair]:
    """Pairs of masks; grey levels from 128 on are inside."""
    for path in sorted(folder.glob(files)):
        other = folder / truth / path.name
        if other.exists():
            pred, target = (
                np.asarray(Image.open(each).convert("L")) >= 128 for each in (path, other)
            )
            if pred.any() and target.any() and pred.shape == target.shape:
                yield pred, target


def organ(size: int, seed: int) -> Pair:
    """A ball out of shape, about 16,000 voxels of surface, and a guess at it."""
    random = np.random.default_rng(seed)
    places = np.indices((size,) * 3, np.float32) - size / 2
    far = np.sqrt((places**2).sum(0))
    for smooth, depth in ((12, 6.0), (4, 1.5)):
        field = ndimage.gaussian_filter(random.normal(size=far.shape).astype(np.float32), smooth)
        target, far = far, far + depth * field / field.std()
    return far < 0.3 * size, target < 0.3 * size


def blobs(shape: tuple[int, ...], smooth: float, seed: int) -> Pair:
    """Many parts, 100,000 pixels of surface or more, and the same with other outlines."""
    random = np.random.default_rng(seed)
    shape_of = ndimage.gaussian_filter(random.normal(size=shape).astype(np.float32), smooth)
    other = ndimage.gaussian_filter(random.normal(size=shape).astype(np.float32), smooth)
    mixed = shape_of + 0.15 * other
    return mixed > np.quantile(mixed, 0.8), shape_of > np.quantile(shape_of, 0.8)


if __name__ == "__main__":
    main()
