"""Memory that is freed and soon needed again."""

from __future__ import annotations

from contextlib import suppress

# glibc gives the memory of a large array back to the system at once, and asking for it again costs
# as much as computing with it.
MMAP_THRESHOLD, TRIM_THRESHOLD = (-3, 1 << 26), (-1, 1 << 28)


def keep_buffers() -> None:
    """Have this process keep the memory of freed arrays, up to 256 MB, for the next ones.

    For programs that do little else than evaluate, as the command does: a third of the evaluation
    of many losses may be spent on asking for memory. glibc can be told so; elsewhere nothing
    happens.
    """
    import ctypes  # which costs a start more than all else here

    with suppress(AttributeError, OSError, TypeError):
        for parameter, size in (MMAP_THRESHOLD, TRIM_THRESHOLD):
            ctypes.CDLL(None).mallopt(parameter, size)
