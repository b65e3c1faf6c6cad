"""Volumes to measure with: draw_volumes.py COUNT SIZE FOLDER

Four wavy ellipsoids of labels 1 to 4 in SIZE×SIZE×(0.6·SIZE) voxels of 1.5×1.5×2 mm, and the same
with other outlines. As .nii.gz they take 0.02 bytes a voxel, as maps of organs do. Seeded.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LABELS = 4
DEPTH = 0.6  # of a width
SPACING = (1.5, 1.5, 2.0)  # mm
ROUGH, FURTHER = 0.05, 0.03  # waves of an outline, and those of a prediction beside them
LEAST = (0.2, 0.2, 0.1, 0.08, 0.08, 0.06)  # centre and half axes of an ellipsoid, in widths
GREATEST = (0.8, 0.8, 0.5, 0.25, 0.25, 0.15)


def waves(random: np.random.Generator, axes: list[Array]) -> Array:
    """A smooth field of about ±2."""
    field = np.zeros([axis.size for axis in axes], np.float32)
    for *steps, phase in random.uniform((-8, -8, -8, 0), (8, 8, 8, 1), (6, 4)):
        turns = [step * axis for step, axis in zip(steps, axes, strict=True)]
        turns[0] = turns[0] + phase
        x, y, z = (np.exp(2j * np.pi * turn).astype(np.complex64) for turn in turns)
        field += (x * y * z).imag
    return field


def draw(size: int, number: int) -> list[Array]:
    """A prediction and its ground truth, the same for the same number."""
    random = np.random.default_rng(number)
    shape = (size, size, max(1, round(DEPTH * size)))
    axes = [axis / np.float32(size) for axis in np.ogrid[tuple(map(slice, shape))]]
    rough, further = waves(random, axes), waves(random, axes)
    volumes = [np.zeros(shape, np.uint8) for _ in range(2)]
    for label, where in enumerate(random.uniform(LEAST, GREATEST, (LABELS, 6)), 1):
        steps = [(axis - at) / half for axis, at, half in zip(axes, where, where[3:], strict=False)]
        distance = np.sqrt(sum(step**2 for step in steps)) - 1 + ROUGH * rough
        for volume, outline in zip(volumes, (FURTHER * further, 0), strict=True):
            volume[distance + outline < 0] = label
    return volumes


def main() -> None:
    """Draw the folders pred and gt."""
    count, size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    for number in range(count):
        for name, volume in zip(("pred", "gt"), draw(size, number), strict=True):
            (folder / name).mkdir(parents=True, exist_ok=True)
            image = nibabel.Nifti1Image(volume, np.diag([*SPACING, 1]))
            nibabel.save(image, folder / name / f"case_{number:03d}.nii.gz")


if __name__ == "__main__":
    main()
