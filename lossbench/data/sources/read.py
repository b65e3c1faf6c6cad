"""Files and arrays in memory, as they are stored; whatever fails becomes one message."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from typing import TypeVar

import numpy as np

from lossbench.data.formats.opened_file import beginning, described
from lossbench.data.formats.registry import (
    BY_ENDING,
    ELSEWHERE,
    FORMATS,
    PICTURE,
    InputFormat,
    way_out,
)
from lossbench.data.formats.stored_array import StoredArray, as_numbers
from lossbench.data.sources.locations import (
    Away,
    Empty,
    Source,
    United,
    content,
    ending,
    label,
    lost,
)
from lossbench.errors import InputError, mismatch, os_reason, sized
from lossbench.runtime.array_types import AnyArray

Decoded = TypeVar("Decoded")
File = str | Away
PICKLE = b"\x80"
NO_MEMORY = "memory did not suffice; fewer --workers need less"
KEPT_BYTES = 1 << 26  # of arrays that planning has read, until a run reads them

_kept = dict[tuple[object, ...], StoredArray]()  # by the state of their files


def read(source: Source, *, is_read_again: bool = False) -> StoredArray:
    """The one array of a file, or an array that is in memory already.

    Args:
        source: a path, a file elsewhere, or an array.
        is_read_again: keep the array of an unchanged file for the next time, if there is room.

    Raises:
        InputError: the file cannot be read as what its ending says.
    """
    state = _state(source) if is_read_again or _kept else None
    stored = _kept.pop(state, None) if state else None
    if stored is None:
        stored = _with_reason(_read, source)
    others = sum(each.array.nbytes for each in list(_kept.values()))
    if is_read_again and state and others + stored.array.nbytes <= KEPT_BYTES:
        _kept[state] = stored
    return stored


def forget_kept() -> None:
    """Free the arrays of runs that were planned and never read."""
    _kept.clear()


def read_record(source: Source) -> dict[str, AnyArray]:
    """The arrays of a file, or of a mapping in memory, by name; that of one alone is "".

    Raises:
        InputError: the file cannot be read as what its ending says.
    """
    return _with_reason(_read_record, source)


def _state(source: Source) -> tuple[object, ...] | None:
    """A local file as it is now; None of any other source."""
    if not isinstance(source, str):
        return None
    try:
        state = os.stat(source)
    except (OSError, ValueError):  # reading says what is wrong
        return None
    return source, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def _with_reason(decode: Callable[[Source], Decoded], source: Source) -> Decoded:
    """What a decoder returns; whatever it raises becomes one sentence."""
    try:
        return decode(source)
    except InputError as known:
        error = known
    except (FileNotFoundError, NotADirectoryError):
        error = lost()
    except MemoryError:
        error = InputError(f"cannot be read: {NO_MEMORY}")
    except Exception as cause:  # a damaged file makes a decoder raise anything
        reason = " ".join(os_reason(cause).split()) or type(cause).__name__
        error = InputError(f"cannot be read: {reason}")
    error.file = error.file or label(source)
    raise error from None


def _read(source: Source) -> StoredArray:
    if isinstance(source, United):
        return _united([read(file) for file in source.files], source)
    if isinstance(source, Empty):
        like = read(source.like)
        return replace(like, array=np.zeros_like(like.array))
    if isinstance(source, StoredArray):
        return source
    if not isinstance(source, File):
        array = source.detach().cpu() if hasattr(source, "detach") else source
        return StoredArray(as_numbers(array))
    if ending(source) in ELSEWHERE:
        raise mismatch(f"is of a format that is not read; {way_out([ending(source)])}")
    arrays = _decoded(source, BY_ENDING.get(ending(source), PICTURE))
    if len(arrays) != 1:
        raise InputError(
            f"holds {len(arrays)} arrays ({', '.join(arrays)}); expected one", kind="mismatch"
        )
    return next(iter(arrays.values()))


def _united(parts: Sequence[StoredArray], source: United) -> StoredArray:
    """Masks or probabilities of one class, of which each pixel has the largest value."""
    first, *others = parts
    for part, file in zip(others, source.files[1:], strict=True):
        if (part.array.shape, part.array.dtype) != (first.array.shape, first.array.dtype):
            sizes = [f"{part.array.dtype} of {sized(part.array.shape)}" for part in (part, first)]
            raise InputError(
                f"is {sizes[0]}, other files of its class are {sizes[1]}",
                kind="size",
                file=label(file),
            )
    return replace(first, array=np.maximum.reduce([part.array for part in parts]))


def _read_record(source: Source) -> dict[str, AnyArray]:
    if isinstance(source, Mapping):
        return {str(name): _read(array).array for name, array in source.items()}
    if not isinstance(source, File):
        return {"": _read(source).array}
    row = BY_ENDING.get(ending(source), PICTURE)
    if not row.record:
        expected = ", ".join(each for row in FORMATS if row.record for each in row.endings)
        raise InputError(
            f"is no record: expected one of {expected}, found {ending(source) or 'none'}"
        )
    return {name: stored.array for name, stored in _decoded(source, row).items()}


def _decoded(source: File, row: InputFormat) -> dict[str, StoredArray]:
    """The arrays of a file by name.

    Raises:
        InputError: it does not begin as files of its format do.
    """
    if isinstance(source, str) and not stat.S_ISREG(mode := os.stat(source).st_mode):
        if stat.S_ISDIR(mode):
            raise InputError("is a folder, expected a file")
        raise InputError("is a pipe or device; copy it into a file")
    file = source if isinstance(source, str) else BytesIO(content(source))
    if row.magic:
        start = beginning(file)
        if not start[row.offset :].startswith(row.magic):
            if start.startswith(PICKLE):
                raise InputError("holds pickled objects, which are never loaded")
            raise InputError(f"is no {ending(source)} file{described(start)}")
    return row.decoder()(file)
