"""The device: which one, how many threads, and running out of its memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lossbench.errors import InputError, SettingError


def pick_device(wanted: str) -> str:
    """The device to compute on: the first GPU where `auto` finds one, else the CPU."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, dtype=torch.float64, device=wanted)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingError(
            f"device {wanted!r} cannot be used: {reason}; try --device cpu"
        ) from None
    return wanted


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute each operation in one thread, so that sums keep their order and their bits.

    Samples are computed in parallel instead. Convolutions on a GPU are neither rounded to 10 bits
    nor chosen by a race. These settings of torch belong to the whole process; they are restored at
    the end.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    exact = {"enabled": True, "benchmark": False, "deterministic": True, "allow_tf32": False}
    try:
        with torch.backends.cudnn.flags(**exact):
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def out_of_memory(device: str) -> Iterator[None]:
    """Turn a lack of device memory into an InputError, after which samples are retried singly."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        raise InputError(
            f"is too large for the memory of {device}; try --device cpu", kind="size"
        ) from None
