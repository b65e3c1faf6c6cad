"""Evidence for the reading plan: what a sample of the files of each role shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np

from lossbench.data.arrays.distinct import distinct
from lossbench.data.arrays.strips import strips
from lossbench.data.formats.stored_array import StoredArray
from lossbench.data.formats.voxel_grid import shown
from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.encoding import colour_codes
from lossbench.data.planning.ignored import Ranges, are_inside, beyond_labels, bounds, nodata_in
from lossbench.data.planning.input_encoding import indices_with_colours, rounded
from lossbench.data.sources.locations import Source, is_lost, label
from lossbench.data.sources.read import read
from lossbench.errors import InputError
from lossbench.runtime.array_types import AnyArray

SAMPLE = 16  # pairs that are examined
NEIGHBOURS = 64  # pairs among which a complete one is searched
WHITE = 255  # the foreground of an 8-bit mask
MOSTLY = 0.5  # the share of whole numbers from which others are fractions of labels
NEARLY_WHOLE = "holds numbers that are nearly whole; they are rounded"
IGNORED_LABEL = 255  # beside smaller labels
SMALL = 32  # numbers below this are labels
REMEMBERED = 1 << 12  # distinct values of a file
FLAT_COLOURS = 64  # a picture with more colours is a photograph
AREA = 4  # pixels of each of them, at least
GLANCE = 1 << 16  # pixels that are looked at before all colours of a picture are counted
Content = TypeVar("Content")


class FileFacts(NamedTuple):
    """What one file with one number a pixel shows."""

    source: Source
    shape: tuple[int, ...]
    places: int | None  # how many axes are spatial; None where an array does not say
    values: frozenset[int]  # distinct whole numbers, up to REMEMBERED; empty if some are fractions
    ends: float  # the share of pixels at 0 or at the largest number of the type
    equal: float = 1.0  # the share of pixels with the number of the next one, along some axis


@dataclass
class Evidence:
    """What the sampled files of one role show.

    One colour picture among masks is an error of that file, and one black picture among colour ones
    has equal channels, so the kind of most files decides.
    """

    files: list[FileFacts] = field(default_factory=list)  # those with one number a pixel
    pictures: int = 0  # how many files there are
    says_white: bool = True  # each file says which number is white
    in_colour: int = 0  # how many are stored in colour or with a palette, grey ones included
    has_areas: bool = True  # each such picture has few colours, as label maps have
    transparent: str = ""  # the name of a picture whose alpha channel is not full throughout
    palette: int = 1 << 8  # the fewest colours of a palette; 0 if a picture has no palette
    images: bool = False  # some are image files, in place of arrays
    notes: dict[str, str] = field(default_factory=dict)  # what files say, by the first of each
    colour_notes: dict[str, str] = field(default_factory=dict)  # the same of their colours
    index_colours: dict[int, tuple[int, str]] = field(default_factory=dict)  # and a file with it
    repainted: str = ""  # two files in whose palettes an index has different colours
    is_truth: bool = False  # they are the ground truth
    ignore: Ranges = ()  # stored values that take a pixel of the ground truth out
    nodata: str = ""  # a file with a number far from all others, and the number
    nodata_value: float = 0.0  # the number
    dtypes: Counter[str] = field(default_factory=Counter)  # how numbers are stored
    shape: tuple[int, ...] = (0, 0)  # of the first file, as `axes` has arranged it
    colour_dtype: str = ""  # how the colours of the first colour picture are stored
    colour_shape: tuple[int, ...] = ()  # of the last colour picture, channels first
    narrowest_colours: float = np.inf  # the shortest side of a colour picture
    places: int | None = None  # how many axes are spatial, where a file or the other role tells
    axis: str = ""  # where an array holds classes or channels: first or last
    volumes: bool = False  # some are NIfTI files
    spacings: set[str] = field(default_factory=set)  # of voxels, as text; "" of a file without
    whole: bool = True  # there are only whole numbers, or nearly whole ones
    fraction: str = ""  # a file with a fraction among numbers that are mostly whole, and both
    low: float = np.inf  # the smallest number
    high: float = -np.inf  # the largest number
    sums: Counter[str] = field(default_factory=Counter)  # files that sum to 1 along an end
    stored: int = 0  # bytes of the largest array
    name: str = ""  # of an example

    @property
    def colour(self) -> bool:
        """Whether every picture has several numbers a pixel."""
        return not self.files

    @property
    def values(self) -> set[int]:
        """The distinct whole numbers of all files."""
        return set().union(*(each.values for each in self.files))

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
        """The length of the axis of classes or channels, 1 where there is none."""
        return 1 if self.flat or not self.shape else self.shape[0]

    @property
    def channels(self) -> int:
        """The number of an image's channels."""
        return 3 if self.in_colour else 1 if self.dimensions < 3 else self.leading

    @property
    def narrowest(self) -> int:
        """The shortest side of a picture, in pixels; 0 without pictures."""
        sides = [self.narrowest_colours]
        for each in self.files:
            shape = list(each.shape)
            while len(shape) > (self.places or 2) + bool(self.axis) and 1 in shape:
                shape.remove(1)
            spatial = {"first": shape[1:], "last": shape[:-1]}.get(self.axis, shape)
            sides.append(min(spatial, default=0))
        return int(min(sides)) if np.isfinite(min(sides)) else 0

    @property
    def dtype(self) -> str:
        """How the numbers of most files are stored, of those before all with one number a pixel."""
        return self.dtypes.most_common(1)[0][0] if self.dtypes else self.colour_dtype

    @property
    def floats(self) -> bool:
        return self.dtype.startswith("float")

    @property
    def probable(self) -> bool:
        """Whether all numbers can be probabilities."""
        return self.low >= 0 and self.high <= 1

    @property
    def may_be_logits(self) -> bool:
        """Whether there are floats that are no probabilities."""
        return self.floats and not self.probable

    @property
    def sums_to_one(self) -> bool:
        """Whether numbers sum to 1 along the axis of classes, as probabilities do."""
        return self.sum_to_one_along(self.axis or "first")

    @property
    def all_sum_to_one(self) -> bool:
        """Whether the numbers of every file sum to 1 along the axis of classes, if there is one."""
        return not self.axis or self.sums[self.axis] == len(self.files)

    def sum_to_one_along(self, end: str) -> bool:
        """Whether numbers sum to 1 along the first or last axis, in half of the files or more."""
        return 2 * self.sums[end] >= max(1, len(self.files))

    def add(self, source: Source, picture: StoredArray) -> None:
        """Take one file into account."""
        self.stored = max(self.stored, picture.array.nbytes)
        self.images |= picture.mode != "array"
        self.volumes |= picture.grid is not None
        self.places = self.places or picture.places
        self.name = self.name or label(source) or ""
        spacing = picture.grid and picture.grid.spacing
        self.spacings.add(shown(spacing) if spacing else "")
        for note in picture.notes:
            self.notes.setdefault(note, label(source) or "")
        for note in picture.colour_notes:
            self.colour_notes.setdefault(note, label(source) or "")
        palette = picture.palette
        shades = 0 if palette is None else len(np.unique(palette, axis=0))
        if palette is not None:
            self._add_palette(picture.array, palette, label(source) or "")
        self.palette = min(self.palette, shades)
        if picture.transparent:
            self.transparent = label(source) or ""
        self.says_white &= picture.ends is not None
        self.in_colour += picture.colour or picture.palette is not None
        self.pictures += 1
        array = picture.grey
        if array is None:
            self.has_areas &= picture.format != "JPEG" and _has_areas(picture.array)
            self.colour_dtype = self.colour_dtype or picture.array.dtype.name
            colours = picture.array[..., :3]
            self.low, self.high = min(self.low, colours.min()), max(self.high, colours.max())
            self.colour_shape = (3, *colours.shape[:-1])
            self.narrowest_colours = min(self.narrowest_colours, *colours.shape[:-1])
            return
        self.dtypes[array.dtype.name] += 1
        if not self.files:  # the first picture of one number a pixel decides
            self.shape = array.shape
        values, ends, equal = frozenset[int](), 1.0, 1.0
        if array.size:
            values, ends = self._add_numbers(np.atleast_1d(array), label(source) or "")
            equal = max(_equal_neighbours(array, axis) for axis in range(array.ndim or 1))
        self.files.append(FileFacts(source, array.shape, picture.places, values, ends, equal))

    def _add_palette(self, array: AnyArray, palette: AnyArray, name: str) -> None:
        """Take the colours of the indices that occur into account."""
        for index, colour in zip(*indices_with_colours(array, palette), strict=True):
            known, first = self.index_colours.setdefault(index, (colour, name))
            if known != colour and not self.repainted:
                self.repainted = (
                    f"index {index} of the palette is #{colour:06x} in {name} and #{known:06x} in"
                    f" {first}"
                )

    def _add_numbers(self, array: AnyArray, name: str) -> tuple[frozenset[int], float]:
        """Whole numbers of an array, and the share of pixels at the ends of its type."""
        if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
            array = array[finite]  # --ignore nan,inf takes the others out, or they are refused
            if not array.size:
                return frozenset(), 1.0
        gone = self.ignore if self.is_truth and array.dtype.kind == "f" else ()
        if gone := gone or beyond_labels(self.ignore):
            array = array[~are_inside(array, gone)]
            if not array.size:
                return frozenset(), 1.0
        if not self.nodata and (nodata := nodata_in(array)) is not None:
            count = np.count_nonzero(array == nodata)
            self.nodata_value, self.nodata = (
                nodata,
                f"{name} holds {nodata:.9g} in {count:,} pixels",
            )
        low, high = array.min(), array.max()
        full = np.iinfo(array.dtype).max if array.dtype.kind in "ui" else 1
        planes = array.reshape(without_batch(array.shape))
        for side, axis in (("first", 0), ("last", -1)) if planes.ndim > 2 else ():
            few = planes[:, :1] if side == "first" else planes[:1]  # most files are told by these
            self.sums[side] += all(_sum_to_one(some, axis, full) for some in (few, planes))
        ends = sum(np.count_nonzero(array == end) for end in (0, full)) / array.size
        if array.dtype.kind == "f" and not all(_whole(strip) for (strip,) in strips(array)):
            nearest = rounded(array)
            can_be_soft = not self.is_truth and low >= 0 and high <= 1
            if can_be_soft or not _whole(nearest):
                self.low, self.high, self.whole = min(self.low, low), max(self.high, high), False
                self.fraction = self.fraction or _fraction(nearest, name)
                return frozenset(), ends
            self.notes.setdefault(NEARLY_WHOLE, name)
            array, low, high = nearest, nearest.min(), nearest.max()
        self.low, self.high = min(self.low, low), max(self.high, high)
        return frozenset(map(int, distinct(array)[:REMEMBERED].tolist())), ends


def _sum_to_one(planes: AnyArray, axis: int, full: int) -> bool:
    """Whether numbers sum to 1, or to the largest number of their type, along an axis."""
    sums = planes.sum(axis, dtype=np.float64)
    margin = 0.02 * full + planes.shape[axis] / 2 if full > 1 else 0.0
    return bool(np.abs(sums - 1).max() < 0.02 or np.abs(sums - full).max() < margin)


def _equal_neighbours(array: AnyArray, axis: int) -> float:
    """The share of pixels with the number of the next one along an axis."""
    lines = np.moveaxis(np.atleast_1d(array), axis, 0)
    if lines.ndim > 1:
        lines = lines[:, :: 1 + lines.size // GLANCE]
    equal = lines[1:] == lines[:-1]
    return float(np.count_nonzero(equal) / max(1, equal.size))


def _decide_colours(evidence: Evidence) -> None:
    """Leave the grey pictures among colour pictures out, unless most are grey."""
    if evidence.colour_shape and 2 * len(evidence.files) <= evidence.pictures:
        evidence.files, evidence.shape = [], evidence.colour_shape


def without_batch(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape of four or more axes without leading ones of length 1."""
    while len(shape) > 3 and shape[0] == 1:
        shape = shape[1:]
    return shape


def without(values: Iterable[int], ranges: Ranges) -> set[int]:
    """The values outside all ranges."""
    ends = list(map(bounds, ranges))
    return {v for v in values if not any(low <= v <= high for low, high in ends)}


def _whole(numbers: AnyArray) -> bool:
    """Whether there are only whole numbers."""
    return bool(np.isfinite(numbers).all() and (numbers == np.round(numbers)).all())


def _fraction(array: AnyArray, name: str) -> str:
    """A file with a fraction where most numbers beside 0 are whole, as interpolated labels are."""
    numbers = array[np.isfinite(array) & (array != 0)]
    is_whole = numbers % 1 == 0
    if numbers.max(initial=0) <= 1 or numbers.min() < 0 or not MOSTLY <= is_whole.mean() < 1:
        return ""
    return f"{name} holds {numbers[~is_whole][0]:.6g} among numbers that are mostly whole"


def _has_areas(array: AnyArray) -> bool:
    """Whether a picture has few colours for its size; a glance finds those of most photographs."""
    pixels = array.reshape(-1, array.shape[-1])
    for step in (1 + len(pixels) // GLANCE, 1):
        codes: Any = colour_codes(pixels[::step, :3].astype(np.uint16))
        count = len(np.unique(codes))
        if count > FLAT_COLOURS or count * AREA > len(pixels):
            return False
    return True


def examine(pairs: Sequence[Pair], role: str, ignore: Ranges = ()) -> Evidence:
    """What a sample of the files of one role shows, without ignored values that are no labels.

    Where files have different numbers of axes, those with the number of most of them decide.

    Raises:
        InputError: no file of the sample can be read.
    """
    by_axes = dict[int, Evidence]()

    def add(source: Source) -> None:
        picture = read(source, is_read_again=True)
        axes = picture.array.squeeze().ndim if picture.mode == "array" else 2
        if axes not in by_axes:
            by_axes[axes] = Evidence(is_truth=role == "target", ignore=ignore)
        by_axes[axes].add(source, picture)

    read_sample(pairs, role, add)
    evidence = max(by_axes.values(), key=lambda each: each.pictures)
    _decide_colours(evidence)
    return evidence


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
