"""Arrays on their way to the device that computes with them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Arrays = Sequence[NDArray[Any]]
ALIGNED = 64  # bytes; where an array begins in a transfer


def moved(stacks: Sequence[Arrays], device: str) -> list[Tensor]:
    """Arrays of several samples, each quantity stacked along a new first axis, on a device.

    A GPU gets all of them in one transfer from page-locked memory, and nobody waits for it: torch
    gives such memory out again when its transfer is over, so that the next samples are put into
    another piece meanwhile. The CPU takes a single array as it is.

    Args:
        stacks: of each quantity the arrays of all samples, which have one shape and type.
        device: where to.
    """
    if device == "cpu":
        return [torch.as_tensor(_writable(stack)) for stack in stacks]
    sizes = [len(stack) * stack[0].nbytes for stack in stacks]
    padded = (-(-size // ALIGNED) * ALIGNED for size in sizes)
    *starts, total = accumulate(padded, initial=0)
    staged = torch.empty(total, dtype=torch.uint8, pin_memory=torch.device(device).type != "cpu")
    for stack, start, size in zip(stacks, starts, sizes, strict=True):
        place = staged.numpy()[start : start + size].view(stack[0].dtype)
        np.stack(stack, out=place.reshape(len(stack), *stack[0].shape))
    there = staged.to(device, non_blocking=True)
    return [
        there[start : start + size].view(_kind(stack[0])).reshape(len(stack), *stack[0].shape)
        for stack, start, size in zip(stacks, starts, sizes, strict=True)
    ]


def _writable(stack: Arrays) -> NDArray[Any]:
    """The arrays as one; torch warns of those that cannot be written to."""
    if len(stack) > 1:
        return np.stack(stack)
    return np.require(stack[0], requirements=["C", "W"])[None]


def _kind(array: NDArray[Any]) -> torch.dtype:
    """torch's name of a type of numbers."""
    return torch.from_numpy(np.empty(0, array.dtype)).dtype
