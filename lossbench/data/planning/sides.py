"""One side of a run: how its stored numbers become classes, probabilities or pictures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lossbench.data.planning.classes import MAX_CLASSES, Classes
from lossbench.data.planning.encoding import ENCODINGS, Encoding
from lossbench.data.planning.evidence import SMALL, WHITE, Evidence, without
from lossbench.data.planning.ignored import Ranges
from lossbench.data.planning.input_encoding import (
    FLAG,
    SCALE,
    InputEncoding,
    repainted_advice,
)
from lossbench.data.planning.values import MARGIN
from lossbench.errors import SettingError, sized

SIDES = {"pred": "predictions", "target": "the ground truth"}


@dataclass
class Side:
    """A role with its encoding and the settings that concern it.

    Attributes:
        role: pred, target, or a further input.
        encoding: what numbers stand for.
        evidence: what the sampled files show.
        ignore: stored values that take a pixel out.
        task: of the run.
        class_files: whether each class has a file of its own.
        given_scale: the stored number that means 1, if the user gives it.
        cut: the level from which a graded ground truth is foreground, if the user gives it.
        is_set: whether the user gives the encoding, which is not questioned then.
        asks_nodata: whether numbers that stand where nothing was measured are refused.
    """

    role: str
    encoding: Encoding
    evidence: Evidence
    task: str
    ignore: Ranges = ()
    class_files: bool = False
    given_scale: float | None = None
    cut: float | None = None
    is_set: bool = False
    asks_nodata: bool = True

    @property
    def has_planes(self) -> bool:
        """Whether classes or channels come along an axis, or one file a class."""
        if self.task == "multiclass":
            has_axis = bool(self.evidence.axis) or self.class_files
            return not self.encoding.is_hard or has_axis
        return self.task in ("multilabel", "image")

    @property
    def is_one_hot(self) -> bool:
        """Whether planes are masks of which each pixel is in one."""
        return self.task == "multiclass" and self.has_planes and self.encoding.is_mask

    @property
    def is_label_map(self) -> bool:
        """Whether a pixel has one number, the label of its class."""
        return not (self.has_planes or self.encoding.is_mask)

    def check_planes(self) -> None:
        """Refuse one number a pixel where probabilities of several classes are needed."""
        planes = self.evidence.axis or self.class_files or not self.evidence.files
        if self.task == "multiclass" and self.has_planes and not planes:
            holds = "hold" if self.role == "pred" else "holds"
            raise SettingError(
                f"{SIDES[self.role]} {holds} one number a pixel, which is no probability of several"
                " classes; these come along a further axis, the first or last of .npy and the last"
                " of NIfTI"
            )

    @property
    def labels(self) -> set[int]:
        """The labels that occur in the sample."""
        stored = without(self.evidence.values, self.ignore)
        return {round(value / (self.given_scale or 1)) for value in stored}

    @property
    def scale(self) -> float:
        """The stored number that stands for 1.

        Raises:
            SettingError: the type can store far larger numbers than occur.
        """
        if self.given_scale is not None:
            return self.given_scale
        kind, high = np.dtype(self.evidence.dtype), self.evidence.high
        if kind.kind not in "ui":
            return 1.0
        full = np.iinfo(kind).max
        if kind.itemsize > 1 and high < full / 4 and not self.evidence.says_white:
            flag = SCALE.get(self.role)
            likely = next((f"{2**bits - 1}" for bits in (8, 10, 12, 14) if high < 2**bits), "")
            advice = (
                f"; give {flag} {likely or full} or {flag} {full}"
                if flag and likely
                else ("; save it as uint8, as uint16 of the full range, or as floats from 0 to 1")
            )
            raise SettingError(
                f"what is 1? {self.evidence.name or self.role} is {kind} and"
                f" {SIDES.get(self.role, self.role)} reach {high:g} at most{advice}"
            )
        return float(full)

    def reading(
        self, classes: Classes, *, indices: bool = False, channels: int = 0
    ) -> InputEncoding:
        """How the role is read.

        Args:
            classes: the classes of the run.
            indices: whether labels are class indices in place of stored values.
            channels: how many channels every picture has; 0 where each file tells.
        """
        encoding, evidence = self.encoding, self.evidence
        values, count, colours = classes.values, len(classes.names), classes.colours
        is_mask = encoding.is_mask and not (colours and evidence.colour)
        if self.cut is not None:
            encoding, values, count, colours = ENCODINGS["mask"], (), 2, False
        elif not encoding.is_hard:
            values, count, colours = (), 0, False
        elif self.is_one_hot:
            values, colours = Classes.of(range(count)).values, False
        elif is_mask or self.has_planes:
            count = 2 if self.has_planes else count  # planes have a mask for each class
            white = () if encoding.any_foreground else ((self._foreground(), 1),)
            values, colours = ((0, 0), *white), False
        elif indices:
            values, colours = Classes.of(range(count)).values, False
        elif self.given_scale is not None:
            values = _stretched(values, self.given_scale)
        return InputEncoding(
            self.role,
            encoding.name,
            evidence.dtype,
            self.scale if encoding.is_scaled or self.cut is not None else 1.0,
            values,
            count,
            colours,
            self.ignore,
            self.has_planes and not self.is_one_hot,
            evidence.places,
            axis=evidence.axis,
            dimensions=evidence.dimensions,
            channels=channels,
            one_hot=self._foreground() if self.is_one_hot else None,
            cut=self.cut,
            bounds=self._bounds,
            asks_nodata=self.asks_nodata and encoding.has_channels,
            is_guessed=not (self.is_set or self.given_scale),
            index_colours=() if colours else self._index_colours(encoding),
            seen=self._seen(encoding),
        )

    def _index_colours(self, encoding: Encoding) -> tuple[tuple[int, int], ...]:
        """The colours of the indices of palettes, where indices are classes.

        Raises:
            SettingError: an index has different colours in two files.
        """
        evidence = self.evidence
        if not encoding.is_hard or encoding.any_foreground:
            return ()
        if evidence.repainted and not self.is_set:
            advice = repainted_advice(FLAG.get(self.role, FLAG["pred"]), encoding.name)
            raise SettingError(f"{evidence.repainted}; {advice}")
        return tuple((index, colour) for index, (colour, _) in evidence.index_colours.items())

    def _foreground(self) -> int:
        """The stored value of a mask's foreground, in most files."""
        evidence = self.evidence
        stored = Counter[int]()
        for each in evidence.files:
            stored.update(without(each.values, self.ignore) - {0})
        if len(stored) == 1 or stored.keys() & {1, WHITE}:
            return max(stored, key=lambda value: (stored[value], value == WHITE))
        return WHITE if evidence.images and evidence.dtype == "uint8" else 1

    @property
    def _bounds(self) -> tuple[float, float] | None:
        """Between which the floats of every picture lie, where those of the sample are 0 … 1."""
        is_open = self.task == "image" and self.evidence.floats and self.given_scale is None
        return (-MARGIN, 1 + MARGIN) if is_open and not _reaches_beyond_one(self) else None

    def _seen(self, encoding: Encoding) -> str:
        """Channels × size, and where numbers are no classes the range of their values."""
        evidence = self.evidence
        parts = []
        if len(evidence.shape) > 2 and not evidence.flat:
            parts.append(f"{evidence.leading} × {sized(evidence.shape[1:])}")
        if not encoding.is_hard and not encoding.is_instances and math.isfinite(evidence.high):
            form = ".3g" if evidence.floats else "g"
            parts.append(f"{evidence.low:{form}}…{evidence.high:{form}}")
        return " ".join(parts)


def check_ranges(pred: Side, target: Side) -> None:
    """Refuse pictures in integers on one side and in floats of another range on the other.

    Raises:
        SettingError: the float that means 1 is open.
    """
    if pred.given_scale is not None or target.given_scale is not None:
        return
    for one, other in ((pred, target), (target, pred)):
        low, high = one.evidence.low, one.evidence.high
        if _reaches_beyond_one(one) and not other.evidence.floats:
            raise SettingError(
                f"what is 1? {one.evidence.name or SIDES[one.role]} has floats from {low:.4g} to"
                f" {high:.4g}, {other.evidence.name or SIDES[other.role]} has"
                f" {other.evidence.dtype}; give {SCALE[one.role]} 255 or another number that"
                " means 1, or save floats from 0 to 1"
            )


def beyond_one(sides: Sequence[Side]) -> str:
    """The floats of pictures, where they reach beyond 0 … 1 and no scale is given; else ""."""
    if not any(_reaches_beyond_one(side) for side in sides):
        return ""
    return " and ".join(
        f"{SIDES[side.role]} reach from {side.evidence.low:.4g} to {side.evidence.high:.4g}"
        for side in sides
    )


def floats_of(sides: Sequence[Side]) -> str:
    """The range of pictures in floats, for people; "" of other pictures."""
    floats = [side for side in sides if side.evidence.floats and side.given_scale is None]
    return " and ".join(
        f"{SIDES[side.role]} from {side.evidence.low:.4g} to {side.evidence.high:.4g}"
        for side in floats
    )


def _reaches_beyond_one(side: Side) -> bool:
    """Whether pictures in floats without a scale are not 0 … 1."""
    low, high = side.evidence.low, side.evidence.high
    is_open = side.evidence.floats and side.given_scale is None
    return is_open and (low < -MARGIN or high > 1 + MARGIN)


def holds_indices(side: Side, classes: Classes, setting: str | None) -> bool:
    """Whether predicted labels are class indices where the ground truth stores other values.

    Raises:
        SettingError: both fit, and a value that occurs would be another class.
    """
    if setting is not None:
        return setting == "indices"
    evidence = side.evidence
    if classes.colours:
        return bool(evidence.files) and not evidence.palette
    stored, values = dict(classes.values), evidence.values
    fits_stored = values <= stored.keys()
    fits_indices = max(values, default=0) < len(classes.names)
    if fits_stored and fits_indices and any(stored[value] != value for value in values):
        shown = ", ".join(map(str, sorted(values)))
        raise SettingError(
            f"predictions hold {shown} ({evidence.name}): the stored values of the ground truth, or"
            " class indices? Give --pred-values stored or --pred-values indices"
        )
    return fits_indices and not fits_stored


def _stretched(values: Sequence[tuple[int, int]], scale: float) -> tuple[tuple[int, int], ...]:
    """Labels that are stored as multiples of a number, rounded up or down."""
    pairs = ((rounded(value * scale), index) for value, index in values for rounded in ROUNDINGS)
    return tuple(dict(pairs).items())


ROUNDINGS = (math.floor, math.ceil)


def name_classes(
    task: str, sides: Sequence[Side], classes: Classes | None, class_files: Sequence[str]
) -> Classes:
    """The classes of the run: those that the user names, or those in the sample."""
    if task == "image":
        return Classes((), ())
    if task == "binary":
        named = classes or Classes.of(range(2), ["background", "foreground"])
        if len(named.names) != 2:
            raise SettingError(f"a binary task has two classes, {len(named.names)} are named")
        return named
    if class_files:
        return Classes.of(range(len(class_files)), class_files)
    lengths = {side.evidence.leading for side in sides if side.has_planes}
    if classes:
        for length in lengths - {len(classes.names)}:
            raise SettingError(
                f"{len(classes.names)} classes are named, arrays hold {length}; name each of them"
                " with --classes"
            )
        return classes
    maps = [side for side in sides if side.is_label_map]
    if any(side.evidence.colour for side in maps):
        raise SettingError(
            "colour pictures as labels need their colours: --classes '{road: \"#804080\", …}'"
        )
    labels = {label for side in maps for label in side.labels}
    largest = max(labels, default=0)
    of_volumes = any(side.evidence.volumes for side in maps) and not lengths
    if of_volumes and largest >= SMALL and len(labels) * 4 <= largest:
        return Classes.of(sorted(label for label in labels if label >= 0))
    count = max(lengths, default=0) or max(2, largest + 1)
    if count > MAX_CLASSES:
        raise SettingError(
            f"labels go up to {count - 1:,}, {MAX_CLASSES:,} classes are the most; name those that"
            " occur with --classes, or read levels with --gt-encoding image"
        )
    return Classes.of(range(count))
