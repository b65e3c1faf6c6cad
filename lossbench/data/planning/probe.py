"""Examine a sample of files: the evidence for the reading plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import chain, pairwise
from typing import TypeVar

import numpy as np

from lossbench.data.arrays.byte_histogram import histogram
from lossbench.data.arrays.strips import strips
from lossbench.data.formats.stored_array import StoredArray
from lossbench.data.formats.voxel_grid import shown
from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.input_encoding import CHANNELS
from lossbench.data.sources.locations import Source, is_lost, label
from lossbench.data.sources.read import read
from lossbench.errors import InputError, SettingError
from lossbench.runtime.array_types import AnyArray

SAMPLE = 16  # pairs that are examined
NEIGHBOURS = 64  # pairs among which a complete one is searched
WHITE = 255  # the foreground of an 8-bit mask
REMEMBERED = 1 << 12  # distinct values
Ranges = tuple[tuple[int, int], ...]  # of stored values, both ends included
Content = TypeVar("Content")


@dataclass
class FileProbe:
    """Properties of the files of one role.

    One colour picture among masks is an error of that file, so colour pictures count only where
    all pictures are in colour.
    """

    colour: bool = True  # every picture has several numbers a pixel
    palette: bool = True  # every picture has a palette
    images: bool = False  # some are image files, in place of arrays
    jpeg: str = ""  # the name of a JPEG among them
    dtype: str = ""  # how numbers are stored
    shape: tuple[int, ...] = (0, 0)  # of an array; a picture has two axes
    places: int | None = None  # how many axes are spatial, where a file or the other role tells
    volumes: bool = False  # some are NIfTI files
    spacings: set[str] = field(default_factory=set)  # of voxels, as text; "" of a file without
    values: set[int] = field(default_factory=set)  # distinct whole numbers, up to REMEMBERED
    whole: bool = True  # there are only whole numbers
    low: float = np.inf  # the smallest number
    high: float = -np.inf  # the largest number
    sums_to_one: bool = True  # along the first axis, as probabilities of classes do
    filled: int = 0  # how many pictures with one number a pixel are not 0 throughout
    masks: int = 0  # how many of those pictures hold only 0 and 255
    stored: int = 0  # bytes of the largest array

    @property
    def mostly_masks(self) -> bool:
        """Whether more than half of the pictures are masks of 0 and 255."""
        return self.masks * 2 > self.filled

    @property
    def dimensions(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def flat(self) -> bool:
        """Whether every axis is known to be spatial: there is one number a pixel."""
        return self.dimensions == self.places

    @property
    def leading(self) -> int:
        """The length of an array's first axis, 1 where that is spatial."""
        return 1 if self.flat else self.shape[0] if self.shape else 0

    @property
    def channels(self) -> int:
        """The number of an image's channels, along the last axis or else the first."""
        if self.colour:
            return 3
        if self.flat or self.dimensions < 3:
            return 1
        channels_first = self.volumes or self.shape[-1] > CHANNELS
        return self.shape[0] if channels_first else self.shape[-1]

    @property
    def floats(self) -> bool:
        return self.dtype.startswith("float")

    @property
    def probable(self) -> bool:
        """Whether all numbers can be probabilities."""
        return self.low >= 0 and self.high <= 1

    def scale(self, role: str) -> float:
        """The stored number that stands for 1.

        Raises:
            SettingError: the type can store far larger numbers than occur.
        """
        kind = np.dtype(self.dtype)
        if kind.kind not in "ui":
            return 1.0
        if kind not in (np.uint8, np.uint16) and self.high < 256 ** (kind.itemsize // 2):
            side = {"pred": "predictions are", "target": "the ground truth is"}
            raise SettingError(
                f"{side.get(role, f'{role} is')} stored as {kind} but nothing is above"
                f" {self.high:g}: what is 1? Save them as uint8, uint16 or as floats from 0 to 1"
            )
        return float(np.iinfo(kind).max)

    def add(self, picture: StoredArray, name: str) -> None:
        """Take one file into account."""
        self.stored = max(self.stored, picture.array.nbytes)
        self.images |= picture.mode != "array"
        self.volumes |= picture.grid is not None
        self.places = self.places or picture.places
        spacing = picture.grid and picture.grid.spacing
        self.spacings.add(shown(spacing) if spacing else "")
        self.palette &= picture.palette is not None
        self.jpeg = name if picture.format == "JPEG" else self.jpeg
        if picture.colour:
            self.dtype = self.dtype or picture.array.dtype.name
            return
        array = picture.array[..., 0] if picture.mode == "LA" else picture.array
        if self.colour:  # the first picture of one number a pixel decides
            self.colour, self.dtype, self.shape = False, array.dtype.name, array.shape
        if array.size:
            self._add_numbers(np.atleast_1d(array))

    def _add_numbers(self, array: AnyArray) -> None:
        self.filled += bool(array.any())
        self.low, self.high = min(self.low, array.min()), max(self.high, array.max())
        sums = array.sum(0, dtype=np.float64)
        self.sums_to_one &= bool(np.abs(sums - 1).max() < 0.02)
        if array.dtype.kind == "f" and not all(_whole(strip) for (strip,) in strips(array)):
            self.whole = False
            return
        values = set(map(int, _distinct(array)[:REMEMBERED].tolist()))
        self.masks += WHITE in values and values <= {0, WHITE}
        if len(self.values) < REMEMBERED:
            self.values |= values


def without(values: set[int], ranges: Ranges) -> set[int]:
    """The values outside all ranges."""
    return {v for v in values if not any(low <= v <= high for low, high in ranges)}


def _whole(numbers: AnyArray) -> bool:
    """Whether there are only whole numbers."""
    return bool(np.isfinite(numbers).all() and (numbers == np.round(numbers)).all())


def _distinct(array: AnyArray) -> AnyArray:
    """The distinct values, sorted."""
    if array.dtype not in (np.uint8, np.uint16):
        return np.unique(array.ravel("K"))
    count = histogram if array.dtype == np.uint8 else partial(np.bincount, minlength=1 << 16)
    return np.flatnonzero(reduce(np.add, (count(strip) for (strip,) in strips(array))))


def probe_files(pairs: Sequence[Pair], role: str) -> FileProbe:
    """The properties of a sample of the files of one role.

    Raises:
        InputError: no file of the sample can be read.
    """
    probe = FileProbe()
    read_sample(pairs, role, lambda source: probe.add(read(source), label(source) or ""))
    return probe


def read_sample(
    pairs: Sequence[Pair], role: str, read_source: Callable[[Source], Content]
) -> list[Content]:
    """Read a sample of the files of one role; the run reports those that cannot be read.

    Raises:
        InputError: no file of the sample can be read.
    """
    contents, failure = list[Content](), InputError(f"there is nothing to read ({role})")
    for source in chain.from_iterable(pair.sources[role] for pair in spread(pairs)):
        try:
            contents.append(read_source(source))
        except InputError as error:
            failure = error.located(role, label(source))
    if not contents:
        raise failure
    return contents


def spread(pairs: Sequence[Pair]) -> list[Pair]:
    """Up to SAMPLE pairs spread evenly, the first and the last among them.

    A pair with missing files is replaced by the next complete pair among its neighbours; if no
    neighbourhood has a complete pair, the sample is the first complete pair of all.
    """
    count, sample = len(pairs), list[Pair]()
    starts = sorted({round(start) for start in np.linspace(0, count - 1, min(SAMPLE, count))})
    for start, end in pairwise([*starts, count]):
        sample += _first_complete(pairs[start : min(end, start + NEIGHBOURS)])
    return sample or _first_complete(pairs) or [pairs[start] for start in starts]


def _first_complete(pairs: Iterable[Pair]) -> list[Pair]:
    """The first pair without a file that is known to be missing, if any."""
    for pair in pairs:
        if not any(map(is_lost, chain.from_iterable(pair.sources.values()))):
            return [pair]
    return []
