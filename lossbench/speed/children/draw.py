"""Images to measure with: draw.py KIND COUNT SIZE FOLDER

Binary pairs are a probability map with soft, slightly noisy edges and the mask of four wavy discs.
As PNGs of 512×512 they take 0.09 and 0.01 bytes a pixel; real saliency maps and their masks take
0.06 and 0.01, the vessel maps of a U-Net 0.30 and 0.04. A few dozen pairs are distinct, the others
copies of them. Seeded: the same files on every machine with the same numpy and Pillow.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]
DISTINCT = 50
LARGEST = 2048  # a larger image is drawn at this size and scaled up
STEEP, NOISE = 200, 2.0  # of the edge of a probability map; the second in grey levels


def waves(random: np.random.Generator, size: int) -> Array:
    """A smooth field of about ±2."""
    rows, columns = (each / np.float32(size) for each in np.ogrid[:size, :size])
    field = np.zeros((size, size), np.float32)
    for down, across, phase in random.uniform((-12, -12, 0), (12, 12, 1), (6, 3)):
        field += np.sin(2 * np.pi * (down * rows + across * columns + phase), dtype=np.float32)
    return field


def binary(random: np.random.Generator, size: int) -> tuple[Array, Array]:
    """An 8-bit probability map and a 0/255 mask."""
    rows, columns = (each / np.float32(size) for each in np.ogrid[:size, :size])
    distance = np.full((size, size), np.inf, np.float32)
    for y, x, radius in random.uniform((0, 0, 0.05), (1, 1, 0.25), (4, 3)):
        distance = np.minimum(distance, np.hypot(rows - y, columns - x) - radius)
    truth = distance + 0.006 * waves(random, size)
    guess = truth + 0.004 * waves(random, size)
    soft = 255 / (1 + np.exp(np.clip(STEEP * guess, -50, 50)))
    soft += random.normal(0, NOISE, soft.shape) * ((soft > 2) & (soft < 253))
    return soft.clip(0, 255).astype(np.uint8), (truth < 0).astype(np.uint8) * 255


def mask(random: np.random.Generator, size: int) -> tuple[Array, Array]:
    """Two 0/255 masks: where a probability map is above one half, and its truth."""
    pred, target = binary(random, size)
    return (pred > 127).astype(np.uint8) * 255, target


def colour(random: np.random.Generator, size: int) -> tuple[Array, Array]:
    """An 8-bit RGB image of smooth waves with strong grain, and the same with less."""
    smooth = np.stack([127 + 25 * waves(random, size) for _ in range(3)], -1)
    pair = [smooth + random.normal(0, grain, smooth.shape) for grain in (6, 2)]
    pred, target = (each.clip(0, 255).astype(np.uint8) for each in pair)
    return pred, target


KINDS = {"binary": binary, "mask": mask, "colour": colour}
# Folder of a format: kind and side of a pair, and how it is stored.
FORMATS: dict[str, tuple[str, int, str]] = {
    "PNG, probability": ("binary", 0, ".png"),
    "PNG, mask": ("binary", 1, ".png"),
    "PNG, RGB": ("colour", 1, ".png"),
    "JPEG, RGB": ("colour", 1, ".jpg"),
    "TIFF, probability": ("binary", 0, ".tif"),
    "BMP, probability": ("binary", 0, ".bmp"),
    "npy, float32 probability": ("binary", 0, ".npy"),
    "npz, float32 probability": ("binary", 0, ".npz"),
}


def draw(kind: str, size: int, number: int) -> list[Image.Image]:
    """A pair of a kind, the same for the same number."""
    pair = KINDS[kind](np.random.default_rng(number), min(size, LARGEST))
    return [Image.fromarray(each).resize((size, size), Image.Resampling.NEAREST) for each in pair]


def store(image: Image.Image, path: Path) -> None:
    """Write an image in the format of the file's ending; arrays hold probabilities in float32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".npy", ".npz"):
        write = np.save if path.suffix == ".npy" else np.savez_compressed
        write(path, (np.asarray(image) / 255).astype(np.float32))
    else:
        image.save(path, **({"compression": "tiff_lzw"} if path.suffix == ".tif" else {}))


def draw_folders(folders: dict[str, tuple[str, int, str]], count: int, size: int, at: Path) -> None:
    """Folders of images, each of one side of a kind of pair and in one format."""
    for number in range(min(count, DISTINCT)):
        pairs = {
            kind: draw(kind, size, number) for kind in {kind for kind, _, _ in folders.values()}
        }
        for name, (kind, side, ending) in folders.items():
            store(pairs[kind][side], at / name / f"{number:06d}{ending}")
    for name, (_, _, ending) in folders.items():
        for number in range(DISTINCT, count):
            file = at / name / f"{number:06d}{ending}"
            shutil.copy(file.with_name(f"{number % DISTINCT:06d}{ending}"), file)


def main() -> None:
    """Draw FORMATS, or the folders pred and gt of pairs."""
    kind, count, size, folder = sys.argv[1:]
    folders = {"pred": (kind, 0, ".png"), "gt": (kind, 1, ".png")}
    draw_folders(FORMATS if kind == "formats" else folders, int(count), int(size), Path(folder))


if __name__ == "__main__":
    main()
