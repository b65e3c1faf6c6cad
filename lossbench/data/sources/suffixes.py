"""The endings of files' names."""

from __future__ import annotations

import os

from lossbench.data.formats.registry import BY_ENDING

ENDINGS = BY_ENDING.keys()
DOUBLE = tuple(ending for ending in ENDINGS if ending.count(".") > 1)


def split_ending(path: str) -> tuple[str, str]:
    """A path and its ending, which may be a double one such as .nii.gz."""
    if not path.lower().endswith(DOUBLE):
        return os.path.splitext(path)
    stem, *both = path.rsplit(".", 2)
    return stem, ".".join(["", *both])
