"""Connected components of label maps, from runs of equal pixels: scipy takes longer to import."""

from __future__ import annotations

from itertools import product

import numpy as np

from lossbench.runtime.array_types import AnyArray, IntArray

SHARE = 0.9  # of the numbers that are one component each


def are_mostly_components(labels: AnyArray) -> bool:
    """Whether nine of ten numbers above 0 are one connected component each, corners included."""
    labels = labels.T if labels.flags.f_contiguous else labels
    padded = np.pad(labels, 1)  # with zeros, so that nothing is connected across an edge
    flat = padded.reshape(-1)
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    numbers, stops = flat[starts], np.append(starts[1:], flat.size)
    order = np.argsort(numbers, kind="stable")
    order = order[np.searchsorted(numbers, 1, sorter=order) :]
    ends = np.flatnonzero(np.diff(numbers[order])) + 1
    runs_of_each = np.split(order, ends) if order.size else []
    steps = _steps(padded)
    failures = 0
    for runs in runs_of_each:
        failures += not _is_component(starts[runs], stops[runs], steps)
        if len(runs_of_each) - failures < SHARE * len(runs_of_each):
            return False
    return True


def _steps(padded: AnyArray) -> list[int]:
    """From a line of pixels to those beside it that lie later in memory, in pixels."""
    strides = [stride // padded.itemsize for stride in padded.strides[:-1]]
    each = (
        sum(step * stride for step, stride in zip(steps, strides, strict=True))
        for steps in product((-1, 0, 1), repeat=len(strides))
    )
    return [step for step in each if step > 0]


def _is_component(starts: IntArray, stops: IntArray, steps: list[int]) -> bool:
    """Whether runs, sorted by their start, are one component.

    Groups of runs that touch are joined to the earlier one of them, until no two groups touch.
    """
    runs, neighbours = _touching(starts, stops, steps)
    root = np.arange(len(starts))
    while True:
        one, other = root[runs], root[neighbours]
        apart = one != other
        if not apart.any():
            return not root.any()
        np.minimum.at(root, np.maximum(one, other)[apart], np.minimum(one, other)[apart])
        while (root != (further := root[root])).any():
            root = further


def _touching(starts: IntArray, stops: IntArray, steps: list[int]) -> tuple[IntArray, IntArray]:
    """Each run with each run that it touches on a later line, corners included."""
    runs, neighbours = [np.arange(0)], [np.arange(0)]
    for step in steps:
        first = np.searchsorted(stops, starts + (step - 1), "right")
        last = np.searchsorted(starts, stops + (step + 1), "left")
        run = np.flatnonzero(first < last)
        while run.size:
            runs.append(run)
            neighbours.append(first[run])
            first[run] += 1
            run = run[first[run] < last[run]]
    return np.concatenate(runs), np.concatenate(neighbours)
