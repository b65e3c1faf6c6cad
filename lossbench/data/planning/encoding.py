"""How one folder's bytes become numbers, and the refusal of what does not fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossbench.data.arrays.strips import strips
from lossbench.data.formats.decode import Picture
from lossbench.errors import InputError
from lossbench.runtime.array_types import AnyArray

ENCODINGS = ("labels", "mask", "probability", "logits", "image", "palette", "instances")
HARD = ("labels", "mask", "palette")
FLAG = {"pred": "--pred-encoding", "target": "--gt-encoding"}
LEVELS = {"uint8": 1 << 8, "uint16": 1 << 16}
SHOWN = 5
FEW = 4  # classes that are found faster by comparing than by looking up
CHANNELS = 4  # a last axis no longer than this holds channels


@dataclass(frozen=True)
class InputEncoding:
    """What the stored numbers of one role mean, decided once for the run.

    Attributes:
        role: pred, target, or what a loss calls it.
        encoding: one of ENCODINGS; or vectors, label (one number a sample), scores, records, boxes.
        dtype: how numbers are stored, such as uint8 or float32.
        scale: what stored integers are divided by to be in [0, 1].
        values: stored value -> class, of hard encodings.
        classes: how many classes those values have.
        colours: the stored values are colours, 0xRRGGBB; of instances, R + 256·G + 65536·B.
        ignore: ranges of stored values that take a pixel out, both ends included.
        stacked: classes or channels come along the first axis, or one file a class.
        places: how many axes of an image are places; None where each array tells.
        length: how many numbers a vector has; 0 for all else.
        tensors: the names of a record's tensors, as a sample of files has them.
    """

    role: str
    encoding: str
    dtype: str
    scale: float = 1.0
    values: tuple[tuple[int, int], ...] = ()
    classes: int = 0
    colours: bool = False
    ignore: tuple[tuple[int, int], ...] = ()
    stacked: bool = False
    places: int | None = None
    length: int = 0
    tensors: tuple[str, ...] = ()

    @cached_property
    def hard(self) -> bool:
        return self.encoding in HARD

    @cached_property
    def levels(self) -> int:
        """How many codes a stored number can have: classes, or grey levels; 0 for floats."""
        return self.classes if self.hard else LEVELS.get(self.dtype, 0)

    def __str__(self) -> str:
        if self.hard:
            return f"{self.encoding} {self._values()}"
        if self.encoding == "instances":
            coded = "R + 256·G + 65536·B" if self.colours else self.dtype
            return f"instances ({coded}){self._ignored()}"
        if self.encoding == "vectors":
            return f"vectors ({self.length} {self.dtype})"
        if self.encoding == "boxes":
            return f"boxes ({self.dtype or ', '.join(self.tensors)})"
        if self.encoding == "records":
            return f"records ({', '.join(self.tensors)})"
        by = f"{self.dtype}/{self.scale:.0f}" if self.scale != 1 else self.dtype
        return f"{self.encoding} ({by}){self._ignored()}"

    def _values(self) -> str:
        stored = sorted(value for value, _ in self.values)
        if self.colours:
            return f"by {len(stored)} colours{self._ignored()}"
        starts = [place for place, value in enumerate(stored) if value - 1 not in stored]
        runs = [stored[a:b] for a, b in pairwise([*starts, len(stored)])]
        parts = [f"{r[0]}…{r[-1]}" if len(r) > 2 else ",".join(map(str, r)) for r in runs]
        whole = len(parts) == 1 and len(stored) > 2
        return f"{parts[0] if whole else '{' + ','.join(parts) + '}'}{self._ignored()}"

    def _ignored(self) -> str:
        ranges = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in self.ignore)
        return f", ignore {ranges}" if ranges else ""

    def plane(self, picture: Picture) -> AnyArray:
        """The one number a pixel, or the channels of an image (first), that the encoding asks for.

        Raises:
            InputError: the file is stored in another way than the plan reads.
        """
        array = picture.array
        if self.encoding == "instances":
            return self._identities(picture)
        if self.encoding == "scores" and not (picture.colour or picture.mode == "LA"):
            return array
        if picture.mode == "LA":
            array = self._opaque(array)[..., 0]
        elif picture.colour or (self.colours and array.ndim > 2):
            return self._coloured(picture)
        elif picture.palette is not None and (self.colours or not self.hard):
            if self.encoding == "probability":
                raise self.unfit(f"has a palette where the plan reads {self}")
            if self.colours:
                return _one_number(picture.palette)[array]
            return self._coloured(replace(picture, array=picture.palette[array]))
        if self.colours:
            grey = array.astype(np.uint32)
            return grey << 16 | grey << 8 | grey
        if not self.hard and array.dtype != self.dtype and not self._both_float(array):
            raise self.unfit(f"holds {array.dtype} where the plan reads {self}")
        if self.encoding == "image" and picture.grid and array.ndim > picture.grid.places:
            return array  # its channels are first already
        return self._image(array) if self.encoding == "image" else array

    def coded(self, stored: AnyArray) -> NDArray[np.integer[Any]]:
        """Class indices; `classes` where ignored, `classes + 1` where a value has no meaning."""
        if stored.dtype != np.uint8:  # labels are small, whatever stores them
            with np.errstate(invalid="ignore"):
                small = stored.astype(np.uint8)  # Pillow's own True is 255
            stored = small if (small == stored).all() else stored
        if stored.dtype == np.uint8:
            found = self.apart(stored)
            if found is None:
                return self._lookup.take(stored)
            codes = np.zeros(stored.shape, np.uint8)
            for index, mask, count in found:
                if index and count:
                    codes += mask.view(np.uint8) * np.uint8(index)
            return codes
        if stored.dtype == np.uint16:
            return self._long_lookup.take(stored)
        keys = np.array(sorted(self.values))
        place = np.searchsorted(keys[:, 0], stored).clip(max=len(keys) - 1)
        codes = np.where(keys[place, 0] == stored, keys[place, 1], self.classes + 1)
        if self.ignore:
            codes[self.ignored(stored)] = self.classes
        return codes.astype(self._lookup.dtype)

    def ignored(self, stored: AnyArray) -> NDArray[np.bool_]:
        """Where a stored value takes the pixel out."""
        inside = np.zeros(stored.shape, np.bool_)
        for low, high in self.ignore:
            inside |= (stored >= low) & (stored <= high)
        return inside

    def numbers(self, stored: AnyArray) -> AnyArray:
        """Stored numbers as probabilities, logits or image values.

        Raises:
            InputError: a probability outside [0, 1], or something that is not a number.
        """
        numbers = stored / self.scale if self.scale != 1 else stored
        if stored.dtype.kind == "f":
            lost = sum(
                part.size - np.count_nonzero(np.isfinite(part)) for (part,) in strips(numbers)
            )
            if lost:
                raise self.unfit(f"holds {lost:,} values that are not finite numbers")
        signed = stored.dtype.kind in "fi"
        if signed and self.encoding == "probability" and (numbers.min() < 0 or numbers.max() > 1):
            outside = numbers.min() if numbers.min() < 0 else numbers.max()
            raise self.unfit(
                f"holds {outside:.4g}, outside the probabilities 0 to 1; if these are logits,"
                f" give {self._flag} logits"
            )
        return numbers

    def refuse(self, stored: AnyArray, codes: AnyArray) -> InputError:
        """The error for values without a meaning, which the codes have found."""
        strange, counts = np.unique(stored[codes > self.classes], return_counts=True)
        form = "#{:06x}" if self.colours else "{:g}" if strange.dtype.kind == "f" else "{}"
        shown = [form.format(value) for value in strange[:SHOWN]]
        more = f" and {len(strange) - SHOWN} more" if len(strange) > SHOWN else ""
        what = "colour" if self.colours else "value"
        advice = {
            "mask": f"for grey levels give {self._flag} probability",
            "labels": "name all classes with --classes, or --ignore a value",
            "palette": "name all classes with --classes, or --ignore a value",
        }[self.encoding]
        return self.unfit(
            f"has {what}{'s' if len(strange) > 1 else ''} {', '.join(shown)}{more} in"
            f" {counts.sum():,} pixels where the plan reads {self}; {advice}"
        )

    @property
    def _flag(self) -> str:
        """The option that says otherwise."""
        return FLAG["target" if self.role.startswith("target") else "pred"]

    def unfit(self, message: str) -> InputError:
        return InputError(message, kind="mismatch", role=self.role)

    def apart(self, stored: AnyArray) -> list[tuple[int, NDArray[np.bool_], int]] | None:
        """The class of each of few values, its pixels and how many: faster than looking them up.

        None where they do not account for every pixel.
        """
        if len(self.values) > FEW or self.ignore or stored.dtype != np.uint8:
            return None
        masks = [(index, stored == value) for value, index in self.values]
        found = [(index, mask, int(np.count_nonzero(mask))) for index, mask in masks]
        return found if sum(count for *_, count in found) == stored.size else None

    @cached_property
    def _lookup(self) -> NDArray[np.uint16]:
        """The code of each 8-bit value."""
        return self._codes_up_to(1 << 8)

    @cached_property
    def _long_lookup(self) -> NDArray[np.uint16]:
        """The code of each 16-bit value."""
        return self._codes_up_to(1 << 16)

    def _codes_up_to(self, end: int) -> NDArray[np.uint16]:
        table = np.full(end, self.classes + 1, np.uint16)
        for value, index in self.values:
            if 0 <= value < end:
                table[value] = index
        for low, high in self.ignore:
            table[max(low, 0) : max(high + 1, 0)] = self.classes
        return table

    def _coloured(self, picture: Picture) -> AnyArray:
        array = picture.array
        if array.shape[-1] == 4:
            array = self._opaque(array)[..., :3]
        if self.encoding == "image":
            if array.dtype != self.dtype:
                raise self.unfit(f"holds {array.dtype} where the plan reads {self}")
            return self._image(array)
        if self.colours:
            return _one_number(array)
        grey = np.ascontiguousarray(array[..., 0])
        others = (array[..., channel] for channel in (1, 2))
        if self.encoding == "probability" and all((other == grey).all() for other in others):
            return grey
        raise self.unfit(
            f"is a colour picture ({picture.mode}) where the plan reads {self}; if its colours are"
            ' classes, name them: --classes \'{background: "#000000", road: "#804080"}\''
        )

    def _identities(self, picture: Picture) -> AnyArray:
        """The number of each pixel: a palette's index, or of a colour R + 256·G + 65536·B."""
        array = picture.array
        if picture.colour != self.colours:
            what = f"a colour picture ({picture.mode})" if picture.colour else "no colour picture"
            raise self.unfit(f"is {what} where the plan reads {self}")
        if picture.mode in ("LA", "RGBA"):
            array = self._opaque(array)[..., :-1]
        if picture.mode == "LA":
            return array[..., 0]
        if not self.colours:
            return array
        return _one_number(array[..., ::-1])

    def _image(self, array: AnyArray) -> AnyArray:
        """Channels first: (H, W) has one, a last axis of up to 4 holds them."""
        if array.ndim < 3 or array.ndim == self.places:
            return array[None]
        return np.moveaxis(array, -1, 0) if array.shape[-1] <= CHANNELS else array

    def _opaque(self, array: AnyArray) -> AnyArray:
        if (array[..., -1] != 255).any():
            raise self.unfit("has transparent pixels, whose value is not defined; flatten it")
        return array

    def _both_float(self, array: AnyArray) -> bool:
        return array.dtype.kind == "f" and self.dtype.startswith("float")


def _one_number(colours: AnyArray) -> NDArray[np.uint32]:
    """Colours (…, 3) as 0xRRGGBB."""
    numbers = colours[..., 0].astype(np.uint32)
    for channel in (1, 2):
        numbers <<= 8
        numbers |= colours[..., channel]
    return numbers
