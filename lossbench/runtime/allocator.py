"""Memory of the process that is freed and soon needed again."""

from __future__ import annotations

from contextlib import suppress

# glibc returns the memory of a large array to the system at once, and getting it back takes as long
# as computing with it.
MMAP_THRESHOLD, TRIM_THRESHOLD = (-3, 1 << 26), (-1, 1 << 28)


def keep_buffers() -> None:
    """Make this process keep the memory of freed arrays, up to 256 MB, for the next arrays.

    The setting belongs to the whole process, so only the command and its child processes use it:
    getting memory can take a third of the time of many losses. It needs glibc, and does nothing
    with other C libraries.
    """
    import ctypes  # slow to import, and only needed here

    with suppress(AttributeError, OSError, TypeError):
        for parameter, size in (MMAP_THRESHOLD, TRIM_THRESHOLD):
            ctypes.CDLL(None).mallopt(parameter, size)
