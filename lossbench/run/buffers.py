"""Memory that is freed and soon needed again."""

from __future__ import annotations

import ctypes
from contextlib import suppress

# glibc gives the memory of a large array back to the system at once, and asking for it again costs
# as much as computing with it.
MMAP_THRESHOLD, TRIM_THRESHOLD = (-3, 1 << 26), (-1, 1 << 28)


def keep_buffers() -> None:
    """Tell the C library to keep freed memory for this process, where it can be told."""
    with suppress(AttributeError, OSError, TypeError):
        for parameter, size in (MMAP_THRESHOLD, TRIM_THRESHOLD):
            ctypes.CDLL(None).mallopt(parameter, size)
