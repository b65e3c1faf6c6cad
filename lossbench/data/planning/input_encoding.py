"""How the stored numbers of one role become values, and the refusal of files that do not fit."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossbench.data.arrays.byte_histogram import histogram
from lossbench.data.arrays.strips import strips
from lossbench.data.formats.stored_array import StoredArray
from lossbench.data.planning.encoding import ENCODINGS, NUMBERS, Encoding, colour_codes
from lossbench.data.planning.ignored import (
    Ranges,
    are_inside,
    bounds,
    describe_ranges,
    nodata_in,
    undefined_in,
)
from lossbench.errors import InputError, mismatch
from lossbench.runtime.array_types import AnyArray, BoolArray

SCALE = {"pred": "--pred-scale", "target": "--gt-scale"}
FLAG = {"pred": "--pred-encoding", "target": "--gt-encoding"}
SMALLER = {1: "mask", 255: "file of 8 bits"}  # what a file of more bits may have been made from
LEVELS = {"uint8": 1 << 8, "uint16": 1 << 16}
SHOWN = 5  # values that a message lists
FEW_VALUES = 4  # up to this number, comparing is faster than looking up

NEARLY = 1e-3  # how far from a whole number a class may be stored, as resampling leaves it


@dataclass(frozen=True)
class InputEncoding:
    """What the stored numbers of one role mean, decided once for the run."""

    role: str  # pred, target, or the name that a loss gives a further input
    encoding: str  # a name of ENCODINGS or NUMBERS; label is one number per sample
    dtype: str  # how numbers are stored, such as uint8 or float32
    scale: float = 1.0  # the stored integer that stands for 1
    values: tuple[tuple[int, int], ...] = ()  # stored value -> class, of hard encodings
    classes: int = 0  # how many classes those values have
    colours: bool = False  # stored values are colours, 0xRRGGBB; of instances, R + 256·G + 65536·B
    ignore: Ranges = ()  # ranges, both ends included, that take a pixel out
    stacked: bool = False  # classes or channels come along the first axis, or one file a class
    places: int | None = None  # how many axes of an image are spatial; None where each array tells
    length: int = 0  # how many numbers a vector has; 0 for all else
    tensors: tuple[str, ...] = ()  # the names of a record's tensors, as a sample of files has them
    axis: str = ""  # where an array holds classes or channels: first, last, or "" without
    dimensions: int = 0  # how many axes an array has, those of length 1 dropped; 0: as stored
    channels: int = 0  # how many channels a picture has, a grey one by repeating its own
    one_hot: int | None = None  # the foreground of masks of which each pixel is in one
    cut: float | None = None  # the level from which a graded mask is foreground
    bounds: tuple[float, float] | None = None  # of pictures in floats that are read as 0 … 1
    asks_nodata: bool = field(default=False, compare=False)  # whether nodata is refused
    is_guessed: bool = field(default=False, compare=False)  # no setting gives encoding or scale
    # Of palette pictures in the sample whose indices are classes: index -> colour 0xRRGGBB.
    index_colours: tuple[tuple[int, int], ...] = field(default=(), compare=False)
    seen: str = field(default="", compare=False)  # size and range of values in the sample

    @property
    def definition(self) -> Encoding:
        """The row of the table of encodings."""
        return ENCODINGS.get(self.encoding) or NUMBERS[self.encoding]

    @property
    def is_hard(self) -> bool:
        """Whether stored numbers are classes."""
        return self.definition.is_hard

    @property
    def is_logits(self) -> bool:
        """Whether values are logits."""
        return self.definition.is_logits

    @property
    def is_countable(self) -> bool:
        """Whether stored numbers are codes that a table can count."""
        return self.is_hard or self.scale != 1

    def odd_palette(self, picture: StoredArray) -> str:
        """A note on a palette picture among files without a palette; "" of all others."""
        is_odd = picture.palette is not None and not self.index_colours
        return "has a palette; its indices are the classes" if is_odd and self.is_hard else ""

    def notes_of(self, notes: Collection[str], colour_notes: Collection[str]) -> Collection[str]:
        """The notes of files that concern this reading: of their numbers, or of their colours."""
        if self.definition.has_channels:
            return colour_notes
        return notes if self.is_hard or self.role == "target" else ()

    @cached_property
    def levels(self) -> int:
        """How many codes a stored number can have: classes, or grey levels; 0 for floats."""
        if self.is_hard:
            return self.classes
        levels = LEVELS.get(self.dtype, 0)
        return levels if self.scale == levels - 1 else 0

    def __str__(self) -> str:
        ranges = describe_ranges(self.ignore, colours=self.colours)
        return f"{self.encoding} {self._stored()}" + (f", ignore {ranges}" if ranges else "")

    def _stored(self) -> str:
        """The stored numbers, for people."""
        if self.definition.any_foreground:
            return "(0 is background)"
        if self.cut is not None:
            return f"(≥ {self.cut:g} of {self.dtype}/{self.scale:g})"
        if self.one_hot is not None:
            return f"{{0,{self.one_hot}}}, one-hot"
        if self.is_hard:
            return self._values()
        if self.colours:
            return "(R + 256·G + 65536·B)"
        if self.scale != 1:
            return f"({self.dtype}/{self.scale:g})"
        if self.encoding == "vectors":
            return f"({self.length} {self.dtype})"
        return f"({self.dtype or ', '.join(self.tensors)})"

    def _values(self) -> str:
        """The stored values of all classes: a list of runs."""
        stored = sorted(value for value, _ in self.values)
        if self.colours:
            return f"by {len(stored)} colours"
        starts = [index for index, value in enumerate(stored) if value - 1 not in stored]
        runs = [stored[a:b] for a, b in pairwise([*starts, len(stored)])]
        parts = [f"{r[0]}…{r[-1]}" if len(r) > 2 else ",".join(map(str, r)) for r in runs]
        is_one_run = len(parts) == 1 and len(stored) > 2
        return parts[0] if is_one_run else "{" + ",".join(parts) + "}"

    def plane(self, picture: StoredArray) -> AnyArray:
        """The stored number of each pixel, or the channels of an image (first).

        Raises:
            InputError: the file is stored in another way than the plan reads.
        """
        if picture.slices and not (self.definition.has_channels or self.is_hard):
            raise self.unfit(
                f"holds {picture.slices} slices or colours of one picture, and does not say which;"
                " give a volume as NIfTI or .npy"
            )
        picture = self._as_meant(picture)
        if self.definition.is_instances and picture.colour != self.colours:
            what = f"a colour picture ({picture.mode})" if picture.colour else "no colour picture"
            raise self.unfit(f"is {what} where the plan reads {self}")
        if self.definition.is_alpha:
            if picture.mode not in ("LA", "RGBA"):
                raise self.unfit(
                    f"has no alpha channel ({picture.mode}) where the plan reads {self}"
                )
            return picture.array[..., -1]
        if picture.mode in ("LA", "RGBA") and picture.transparent:
            raise self.unfit(
                "has transparent pixels, whose value is not defined: flatten it, or give"
                f" {self._flag} alpha if the alpha channel is the mask"
            )
        if picture.palette is not None and self.is_hard and self.colours:
            return colour_codes(picture.palette)[picture.array]
        if picture.palette is not None and self.definition.palette == "refused":
            raise self.unfit(
                f"has a palette where the plan reads {self}; save it in grey, as with"
                " Image.convert('L')"
            )
        if picture.palette is not None and self.definition.palette == "colours":
            return self._from_colours(picture.palette[picture.array])
        if picture.palette is not None and self.is_guessed and self.index_colours:
            self._check_palette(picture.array, picture.palette)
        if picture.colour and (self.definition.from_colours or self.colours):
            return self._from_colours(picture.array[..., :3])
        array = picture.grey
        if array is None:
            raise self.unfit(
                f"is a colour picture ({picture.mode}) where the plan reads {self}; if its colours"
                ' are classes, name them: --classes \'{background: "#000000", road: "#804080"}\''
            )
        if self.is_hard and self.colours:
            if array.ndim > 2:
                return colour_codes(array)
            grey = array.astype(np.uint32)
            return grey << 16 | grey << 8 | grey
        array = self._typed(array)
        if picture.mode == "array":
            array = self._arranged(array)
        return self._pictured(array, picture) if self.definition.has_channels else array

    def _check_palette(self, indices: AnyArray, palette: AnyArray) -> None:
        """Refuse a palette in which an index has another colour than in the sampled files."""
        known = dict(self.index_colours)
        for index, colour in zip(*indices_with_colours(indices, palette), strict=True):
            if known.get(index, colour) != colour:
                raise self.unfit(
                    f"has a palette with #{colour:06x} at index {index}, where other files have"
                    f" #{known[index]:06x}; {repainted_advice(self._flag, self.encoding)}"
                )

    def _as_meant(self, picture: StoredArray) -> StoredArray:
        """A picture with its brightness for levels, and with whole numbers for classes."""
        if self.definition.is_soft:
            is_full = picture.array.dtype == np.bool_ or self.scale == LEVELS.get(self.dtype, 0) - 1
            return replace(picture, array=picture.brightness) if is_full else picture
        if picture.array.dtype.kind != "f" or self.definition.any_foreground:
            return picture
        return replace(picture, array=rounded(picture.array))

    def _from_colours(self, colours: AnyArray) -> AnyArray:
        """The numbers that colours (…, 3) stand for."""
        if self.is_hard:
            return colour_codes(colours)
        from_colours = self.definition.from_colours
        return from_colours(self._typed(colours)) if from_colours else colours

    def _arranged(self, array: AnyArray) -> AnyArray:
        """An array with classes or channels first, without surplus axes of length 1."""
        while self.dimensions and array.ndim > self.dimensions and 1 in array.shape:
            array = array.squeeze(array.shape.index(1))
        is_last = self.axis == "last" and array.ndim == self.dimensions
        return np.moveaxis(array, -1, 0) if is_last else array

    def _pictured(self, array: AnyArray, picture: StoredArray) -> AnyArray:
        """A picture with channels first; a grey one among colour pictures has equal channels."""
        if not self.axis and array.ndim == (self.places or 2):
            array = array[None]
        elif not self.axis and self.dimensions == 3 and picture.mode == "array":
            raise self.unfit(
                f"is an array of shape {picture.array.shape} where other files are pictures, so"
                " that no file shows which axis has the channels; save it as a picture, or all"
                " files as arrays"
            )
        return np.repeat(array, self.channels, 0) if len(array) == 1 < self.channels else array

    def holds_channels(self, picture: StoredArray) -> bool:
        """Whether an array or a palette has channels; those of a grey palette are equal."""
        if picture.palette is not None:
            return self.definition.palette == "colours"
        spatial = self.dimensions - bool(self.axis)
        return (
            bool(self.axis) and picture.mode == "array" and picture.array.squeeze().ndim > spatial
        )

    @property
    def has_planes(self) -> bool:
        """Whether files hold classes or channels along an axis, or one each."""
        return self.stacked or self.one_hot is not None

    def merged(self, planes: AnyArray) -> AnyArray:
        """The labels that masks (C, …) stand for, where each pixel is in one of them.

        Raises:
            InputError: masks overlap, leave a pixel out, or have another value.
        """
        if self.one_hot is None:
            return planes
        masks = planes == self.one_hot
        if (masks | (planes == 0)).all() and (masks.sum(0) == 1).all():
            labels: AnyArray = masks.argmax(0).astype(np.uint16)
            return labels
        raise self.unfit(
            f"holds masks of {len(planes)} classes that overlap or leave pixels out where the plan"
            f" reads {self}; --task multilabel judges each class by itself"
        )

    def coded(self, stored: AnyArray) -> NDArray[np.integer[Any]]:
        """Class indices; `classes` where ignored, `classes + 1` where a value has no meaning."""
        if self.cut is not None:
            codes = (stored >= self.cut * self.scale).astype(np.uint8)
            codes[~((stored >= 0) & (stored <= self.scale))] = self.classes + 1
            if self.ignore:
                codes[self.ignored(stored)] = self.classes
            return codes
        if stored.dtype != np.uint8:  # labels are small, whatever stores them
            with np.errstate(invalid="ignore"):
                small = stored.astype(np.uint8)  # Pillow's own True is 255
            stored = small if (small == stored).all() else stored
        if stored.dtype == np.uint8 and (masks := self._masks(stored)):
            codes = np.zeros(stored.shape, np.uint8)
            for index, mask, count in masks:
                if index and count:
                    codes += mask.view(np.uint8) * np.uint8(index)
            return codes
        if stored.dtype in (np.uint8, np.uint16):
            return self._lookup[: 1 << 8 * stored.itemsize].take(stored)
        keys = np.array(sorted(self.values))
        nearest = np.searchsorted(keys[:, 0], stored).clip(max=len(keys) - 1)
        codes = np.where(keys[nearest, 0] == stored, keys[nearest, 1], self._other_code)
        if self.definition.any_foreground and stored.dtype.kind == "f":
            codes[~np.isfinite(stored)] = self.classes + 1
        if self.ignore:
            codes[self.ignored(stored)] = self.classes
        return codes.astype(self._lookup.dtype)

    def ignored(self, stored: AnyArray) -> BoolArray:
        """Where a stored value takes the pixel out."""
        return are_inside(stored, self.ignore)

    def numbers(self, stored: AnyArray) -> AnyArray:
        """Stored numbers as probabilities, logits or image values.

        Raises:
            InputError: a probability outside [0, 1], or something that is not a number.
        """
        numbers = stored / self.scale if self.scale != 1 else stored
        if stored.dtype.kind == "f":
            finite = sum(np.count_nonzero(np.isfinite(part)) for (part,) in strips(numbers))
            if finite < numbers.size:
                lost = numbers.size - finite
                advice = f"--ignore {undefined_in(numbers)} leaves these pixels out"
                if self.role != "target":
                    advice = "replace them first, as with numpy.nan_to_num"
                raise self.unfit(f"holds {lost:,} values that are not finite numbers; {advice}")
        if stored.dtype.kind in "fi" and self.definition.is_probability:
            for extreme in (numbers.min(), numbers.max()):
                if not 0 <= extreme <= 1:
                    raise self.unfit(
                        f"holds {extreme:.4g}, outside the probabilities 0 to 1; if these are"
                        f" logits, give {self._flag} logits"
                    )
        may_hold_nodata = self.asks_nodata and stored.dtype.kind in "fi"
        if may_hold_nodata and (nodata := nodata_in(numbers)) is not None:
            count = np.count_nonzero(numbers == nodata)
            raise self.unfit(
                f"holds {nodata * self.scale:.9g} in {count:,} pixels that count, far from its"
                f" other values; {nodata_advice(self.role, nodata * self.scale)}"
            )
        if self.bounds and numbers.size:
            low, high = self.bounds
            for extreme in (numbers.min(), numbers.max()):
                if not low <= extreme <= high:
                    raise self.unfit(
                        f"holds {extreme:.4g} where floats of pictures are read as 0 … 1; the scale"
                        f" of all files is the setting {SCALE.get(self.role, '')}".rstrip()
                    )
        return numbers

    def refuse(self, stored: AnyArray, codes: AnyArray) -> InputError:
        """The error for stored values that are no class, as their codes show."""
        stored = stored.astype(np.bool_).astype(np.uint8) if stored.dtype == np.bool_ else stored
        strange, counts = np.unique(stored[codes > self.classes], return_counts=True)
        form = "#{:06x}" if self.colours else "{:g}" if strange.dtype.kind == "f" else "{}"
        shown = [form.format(value) for value in strange[:SHOWN]]
        more = f" and {len(strange) - SHOWN} more" if len(strange) > SHOWN else ""
        what = "colour" if self.colours else "value"
        advice = self.definition.advice.format(flag=self._flag)
        if self.role == "target" and self.definition.is_label_map:
            advice += f", or --ignore {shown[0] if len(strange) == 1 else 'a value'}"
        lost = strange[~np.isfinite(strange)] if strange.dtype.kind == "f" else strange[:0]
        if len(lost) and self.role == "target":
            advice = f"--ignore {undefined_in(lost)} leaves these pixels out; {advice}"
        whole = strange.dtype.kind in "ui" or bool((strange == np.floor(strange)).all())
        if not whole:
            advice = f"classes are whole numbers: resample labels by nearest neighbour, or {advice}"
        error = self.unfit(
            f"has {what}{'s' if len(strange) > 1 else ''} {', '.join(shown)}{more} in"
            f" {counts.sum():,} pixels where the plan reads {self};"
            f" {advice}"
        )
        if self.definition.is_label_map and whole and not self.colours:
            error.labels = tuple(strange.astype(np.int64).tolist())
        return error

    @property
    def _flag(self) -> str:
        """The option that sets another encoding."""
        return FLAG["target" if self.role.startswith("target") else "pred"]

    def unfit(self, message: str) -> InputError:
        """The error for a file of this role that does not fit the plan."""
        return mismatch(message, self.role)

    def _masks(self, stored: AnyArray) -> list[tuple[int, BoolArray, int]]:
        """The class of each of few values, its pixels and their number: faster than a lookup.

        None if other values occur.
        """
        if len(self.values) > FEW_VALUES or self.ignore:
            return []
        masks = [(index, stored == value) for value, index in self.values]
        counted = [(index, mask, int(np.count_nonzero(mask))) for index, mask in masks]
        return counted if sum(count for *_, count in counted) == stored.size else []

    @property
    def _other_code(self) -> int:
        """The code of a value that no class names."""
        return 1 if self.definition.any_foreground else self.classes + 1

    @cached_property
    def _lookup(self) -> NDArray[np.uint16]:
        """The code of each value of 8 or 16 bits."""
        table = np.full(1 << 16, self._other_code, np.uint16)
        for value, index in self.values:
            if 0 <= value < len(table):
                table[value] = index
        for low, high in map(bounds, self.ignore):
            first, last = np.clip((low, high), -1, len(table))
            table[math.ceil(max(first, 0)) : math.floor(last) + 1] = self.classes
        return table

    def _typed(self, array: AnyArray) -> AnyArray:
        """The same array; levels of another type would have another meaning."""
        both_float = array.dtype.kind == "f" and self.dtype.startswith("float")
        if self.definition.is_soft and array.dtype != self.dtype and not both_float:
            raise self.unfit(
                f"holds {array.dtype} where the plan reads {self}; save it as the other files are,"
                f" in {self.dtype}"
            )
        if self.is_guessed and self.definition.is_probability and array.dtype.kind == "u":
            largest = int(array.max(initial=0))
            if largest in SMALLER and largest < self.scale:
                raise self.unfit(
                    f"ends at {largest}, the largest number of a {SMALLER[largest]}, where the plan"
                    f" reads {self}; save it with {self.scale:g} for 1, or give {self._flag}"
                    f" {self.encoding} if its numbers are that small"
                )
        return array


def rounded(array: AnyArray) -> AnyArray:
    """Floats with those rounded that are nearly whole; the same array where none is."""
    if all((strip == np.rint(strip)).all() for (strip,) in strips(array)):
        return array
    whole = np.rint(array)
    with np.errstate(invalid="ignore"):  # of infinite numbers
        nearly = np.abs(array - whole) <= NEARLY
    return array if (nearly <= (array == whole)).all() else np.where(nearly, whole, array)


def indices_with_colours(array: AnyArray, palette: AnyArray) -> tuple[list[int], list[int]]:
    """The indices that occur in a palette picture, and the colour of each as 0xRRGGBB."""
    indices = np.flatnonzero(histogram(array))
    return indices.tolist(), colour_codes(palette[indices]).tolist()


def repainted_advice(flag: str, encoding: str) -> str:
    """The way out where an index has different colours in the palettes of one side."""
    return (
        "where the colours are the classes, name them with --classes, as in"
        f" '{{road: \"#804080\"}}'; {flag} {encoding} takes the indices as they are"
    )


def nodata_advice(role: str, number: float) -> str:
    """The way out for a number that stands where nothing was measured."""
    keep = "--ignore none keeps it as a value"
    if role == "target":
        return f"--ignore {number:.9g} leaves these pixels out, {keep}"
    return (
        "write a number there, or leave the pixels out in the ground truth with"
        f" --ignore {number:.9g} or --input valid=DIR; {keep}"
    )
