"""What the names of files end in."""

from __future__ import annotations

import os

ENDINGS = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".tif",
        ".tiff",
        ".bmp",
        ".webp",
        ".gif",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".jp2",
        ".tga",
        ".ico",
        ".npy",
        ".npz",
        ".safetensors",
        ".nii",
        ".nii.gz",
    ]
)
DOUBLE = tuple(ending for ending in ENDINGS if ending.count(".") > 1)


def split_ending(path: str) -> tuple[str, str]:
    """A path and its ending, which may be a double one such as .nii.gz."""
    double = next((len(each) for each in DOUBLE if path.lower().endswith(each)), 0)
    return (path[:-double], path[-double:]) if double else os.path.splitext(path)
