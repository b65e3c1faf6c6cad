"""Large arrays a strip at a time, so that what is made of them on the way stays small."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossbench.runtime.array_types import AnyArray

STRIP = 1 << 20  # pixels; smaller pictures are one strip


def strips(*planes: AnyArray | None) -> Iterator[list[Any]]:
    """The same pixels of several planes of one shape, each in a row; of None there is None.

    They come in the order in which they lie in memory: NIfTI has the first axis first.
    """
    given = [plane for plane in planes if plane is not None]
    if all(plane.flags.f_contiguous for plane in given):
        planes = tuple(None if plane is None else plane.T for plane in planes)
    elif not all(plane.flags.c_contiguous for plane in given):
        return (yield from _of_rows(planes))
    rows = [None if plane is None else plane.reshape(-1) for plane in planes]
    for start in range(0, given[0].size, STRIP):
        yield [None if row is None else row[start : start + STRIP] for row in rows]


def _of_rows(planes: tuple[AnyArray | None, ...]) -> Iterator[list[Any]]:
    """Strips of whole rows: only these are brought in order."""
    size, length = next((plane.size, len(plane)) for plane in planes if plane is not None)
    rows = max(1, STRIP * length // size)
    for start in range(0, length, rows):
        yield [
            None if plane is None else plane[start : start + rows].reshape(-1) for plane in planes
        ]
