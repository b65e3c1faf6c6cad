"""The device: which one, how many threads, and running out of its memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Lock

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


class _Overlap:
    """The evaluations of this process that overlap, and what to restore after the last one."""

    def __init__(self) -> None:
        self.lock, self.restore = Lock(), ExitStack()
        self.count = self.threads = 0


_OVERLAP = _Overlap()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute each operation in one thread, so that sums keep their order and their bits.

    Samples are computed in parallel instead. Convolutions on a GPU are neither rounded to 10 bits
    nor chosen by a race. These settings of torch belong to the whole process, where evaluations in
    several threads may overlap: the first one sets them, the last one restores them.
    """
    with _OVERLAP.lock:
        if not _OVERLAP.count:
            _OVERLAP.threads = torch.get_num_threads()
            exact = torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=False
            )
            _OVERLAP.restore.enter_context(exact)
        _OVERLAP.count += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _OVERLAP.lock:
            _OVERLAP.count -= 1
            torch.set_num_threads(_OVERLAP.threads)  # of this thread and of those to come
            if not _OVERLAP.count:
                _OVERLAP.restore.close()
            else:  # only of those to come
                with ThreadPoolExecutor(1) as thread:
                    thread.submit(torch.set_num_threads, 1)


@contextmanager
def computing(device: str) -> Iterator[None]:
    """Compute without gradients, and turn a lack of device memory into an error of the sample."""
    with torch.inference_mode(), out_of_memory(device):
        yield


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
