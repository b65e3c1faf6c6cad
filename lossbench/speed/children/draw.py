"""Pictures to measure with: draw.py KIND COUNT SIZE FOLDER

Binary pairs are a probability map with soft, slightly noisy edges and the mask of four wavy discs.
As PNGs of 512×512 they take 0.09 and 0.01 bytes a pixel; real saliency maps and their masks take
0.06 and 0.01, the vessel maps of a U-Net 0.30 and 0.04. Label maps are some thirty regions, the
prediction with other outlines and some other labels. A few dozen pairs are distinct, the others
copies of them. Seeded: the same files on every machine with the same numpy and Pillow.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]
DISTINCT = 50
REGIONS = 30
LARGEST = 2048  # what is larger is drawn at this size and scaled up
STEEP, NOISE = 200, 2.0  # of the edge of a probability map; the second in grey levels


def places(size: int) -> tuple[Array, Array]:
    """Rows and columns of the pixels, from 0 to 1."""
    rows, columns = np.ogrid[:size, :size]
    return rows / np.float32(size), columns / np.float32(size)


def waves(random: np.random.Generator, size: int) -> Array:
    """A smooth field of about ±2 that outlines wobble by."""
    rows, columns = places(size)
    field = np.zeros((size, size), np.float32)
    for down, across, phase in random.uniform((-12, -12, 0), (12, 12, 1), (6, 3)):
        field += np.sin(2 * np.pi * (down * rows + across * columns + phase), dtype=np.float32)
    return field


def binary(random: np.random.Generator, size: int) -> tuple[Array, Array]:
    """An 8-bit probability map and a 0/255 mask."""
    rows, columns = places(size)
    distance = np.full((size, size), np.inf, np.float32)
    for y, x, radius in random.uniform((0, 0, 0.05), (1, 1, 0.25), (4, 3)):
        distance = np.minimum(distance, np.hypot(rows - y, columns - x) - radius)
    truth = distance + 0.006 * waves(random, size)
    guess = truth + 0.004 * waves(random, size)
    soft = 255 / (1 + np.exp(np.clip(STEEP * guess, -50, 50)))
    soft += random.normal(0, NOISE, soft.shape) * ((soft > 2) & (soft < 253))
    return soft.clip(0, 255).astype(np.uint8), (truth < 0).astype(np.uint8) * 255


def labels(classes: int) -> Callable[[np.random.Generator, int], tuple[Array, Array]]:
    """Two 8-bit label maps: each pixel has the class of the nearest of some places."""

    def drawn(random: np.random.Generator, size: int) -> tuple[Array, Array]:
        rows, columns = places(size)
        centres = random.uniform(0, 1, (REGIONS, 2))
        truth = random.integers(0, classes, REGIONS).astype(np.uint8)
        guess = np.where(random.uniform(size=REGIONS) < 0.1, (truth + 1) % classes, truth)
        warp = [0.01 * waves(random, size) for _ in range(2)]
        found = []
        for named, more in ((guess.astype(np.uint8), 0.002), (truth, 0.0)):
            down, across = (each + more * waves(random, size) for each in warp)
            nearest, label = np.full((size, size), np.inf), np.zeros((size, size), np.uint8)
            for (y, x), name in zip(centres, named, strict=True):
                far = (rows + down - y) ** 2 + (columns + across - x) ** 2
                label[far < nearest] = name
                nearest = np.minimum(nearest, far)
            found.append(label)
        return found[0], found[1]

    return drawn


def colour(random: np.random.Generator, size: int) -> tuple[Array, Array]:
    """An 8-bit RGB picture of smooth waves with a little grain, and the same with more."""
    smooth = np.stack([127 + 25 * waves(random, size) for _ in range(3)], -1)
    pair = [smooth + random.normal(0, grain, smooth.shape) for grain in (6, 2)]
    pred, target = (each.clip(0, 255).astype(np.uint8) for each in pair)
    return pred, target


KINDS = {
    "binary": binary,
    "labels19": labels(19),
    "labels150": labels(150),
    "colour": colour,
}
# Folder of a format, from which kind and side of a pair, and how it is stored.
FORMATS: dict[str, tuple[str, int, str]] = {
    "PNG, probability": ("binary", 0, ".png"),
    "PNG, mask": ("binary", 1, ".png"),
    "PNG, 19 labels": ("labels19", 1, ".png"),
    "PNG, RGB": ("colour", 1, ".png"),
    "JPEG, RGB": ("colour", 1, ".jpg"),
    "TIFF, probability": ("binary", 0, ".tif"),
    "BMP, probability": ("binary", 0, ".bmp"),
    "npy, float32 probability": ("binary", 0, ".npy"),
    "npz, float32 probability": ("binary", 0, ".npz"),
}


def drawn(kind: str, size: int, number: int) -> tuple[Array, Array]:
    """A pair of a kind, the same for the same number."""
    pair = KINDS[kind](np.random.default_rng(number), min(size, LARGEST))
    if size > LARGEST:
        pred, target = (
            np.asarray(Image.fromarray(each).resize((size, size), Image.Resampling.NEAREST))
            for each in pair
        )
        return pred, target
    return pair


def store(array: Array, path: Path) -> None:
    """One picture in the format of its ending; of arrays, probabilities in float32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, (array / 255).astype(np.float32))
    elif path.suffix == ".npz":
        np.savez_compressed(path, (array / 255).astype(np.float32))
    elif path.suffix == ".tif":
        Image.fromarray(array).save(path, compression="tiff_lzw")
    else:
        Image.fromarray(array).save(path)


def draw_pairs(kind: str, count: int, size: int, folder: Path) -> None:
    """Folders pred and gt of PNGs."""
    for number in range(count):
        files = [folder / role / f"{number:06d}.png" for role in ("pred", "gt")]
        if number < DISTINCT:
            for file, array in zip(files, drawn(kind, size, number), strict=True):
                store(array, file)
        else:
            for file in files:
                shutil.copy(file.with_name(f"{number % DISTINCT:06d}.png"), file)


def draw_formats(count: int, size: int, folder: Path) -> None:
    """A folder for each format."""
    for number in range(min(count, DISTINCT)):
        pairs = {kind: drawn(kind, size, number) for kind in ("binary", "labels19", "colour")}
        for name, (kind, side, ending) in FORMATS.items():
            store(pairs[kind][side], folder / name / f"{number:06d}{ending}")
    for name, (_, _, ending) in FORMATS.items():
        for number in range(DISTINCT, count):
            file = folder / name / f"{number:06d}{ending}"
            shutil.copy(file.with_name(f"{number % DISTINCT:06d}{ending}"), file)


def main() -> None:
    """Draw what is asked for."""
    kind, count, size, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    if kind == "formats":
        draw_formats(count, size, folder)
    else:
        draw_pairs(kind, count, size, folder)


if __name__ == "__main__":
    main()
