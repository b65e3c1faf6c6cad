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
    """Stack the arrays of all samples, for each quantity, on a device: (B, …) each.

    A GPU gets all of them in one transfer from page-locked memory, and nobody waits for it: torch
    reuses such memory only when its transfer is over, so the next samples are staged in another
    piece meanwhile. The CPU uses a single array as it is.
    """
    if device == "cpu":
        return [torch.as_tensor(_writable(stack)) for stack in stacks]
    sizes = [len(stack) * stack[0].nbytes for stack in stacks]
    padded = (-(-size // ALIGNED) * ALIGNED for size in sizes)
    *starts, total = accumulate(padded, initial=0)
    staged = torch.empty(total, dtype=torch.uint8, pin_memory=torch.device(device).type != "cpu")
    for stack, start, size in zip(stacks, starts, sizes, strict=True):
        part = staged.numpy()[start : start + size].view(stack[0].dtype)
        np.stack(stack, out=part.reshape(len(stack), *stack[0].shape))
    on_device = staged.to(device, non_blocking=True)
    return [
        on_device[start : start + size].view(_dtype(stack[0])).reshape(len(stack), *stack[0].shape)
        for stack, start, size in zip(stacks, starts, sizes, strict=True)
    ]


def _writable(stack: Arrays) -> NDArray[Any]:
    """The arrays as one that can be written to; torch warns of others."""
    if len(stack) > 1:
        return np.stack(stack)
    return np.require(stack[0], requirements=["C", "W"])[None]


def _dtype(array: NDArray[Any]) -> torch.dtype:
    return torch.from_numpy(np.empty(0, array.dtype)).dtype
