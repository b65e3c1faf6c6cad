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
    if not path.lower().endswith(DOUBLE):
        return os.path.splitext(path)
    stem, *both = path.rsplit(".", 2)
    return stem, ".".join(["", *both])
