"""The reading plan: how bytes become numbers, decided once for the run from a sample of files.

Where a setting does not say, up to 16 pairs, spread evenly over the sorted ids with the first and
the last among them, are decoded and looked at. Every file is then held against the plan.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lossbench.data.classes import Classes, numbered
from lossbench.data.decode import Picture, read
from lossbench.data.pairing import Pair
from lossbench.data.reading import HARD, Reading
from lossbench.errors import InputError, SettingError

SAMPLE = 16
GRADES = 64  # a ground truth with more grey levels than this is taken for an image
LABELS = 200  # labels above this are taken for grey levels, 255 for the ignored value
VOID = 255
MANY = 1 << 12


@dataclass(frozen=True)
class Plan:
    """The reading plan of a run.

    Attributes:
        task: binary, multiclass, multilabel or image.
        pred: how predictions are read.
        target: how the ground truth is read.
        names: the classes; background and foreground of a binary task.
        masks: roles `ignore` and `valid` that are given.
        weighted: whether there is a role `weight`.
        resize: how a prediction of another size is fitted to its ground truth, if at all.
    """

    task: str
    pred: Reading
    target: Reading
    names: tuple[str, ...]
    masks: tuple[str, ...] = ()
    weighted: bool = False
    resize: str | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def counted(self) -> bool:
        """Whether distinct value pairs with counts can stand for the pixels."""
        if self.weighted or (self.pred.scale == 1 and not self.pred.hard):
            return False
        if self.task == "image":
            return self.pred.dtype == self.target.dtype == "uint8"
        if not self.target.hard or not self.pred.levels:
            return False
        return self.task != "multiclass" or self.pred.hard

    def __str__(self) -> str:
        parts = [self.task, f"pred: {self.pred}", f"gt: {self.target}"]
        if self.task in ("multiclass", "multilabel"):
            parts.append(f"{len(self.names)} classes")
        parts += [f"{role} masks" for role in self.masks]
        if self.weighted:
            parts.append("weighted")
        if self.resize:
            parts.append(f"resize {self.resize}")
        return " · ".join(parts)


@dataclass
class Seen:
    """What a sample of one role's files holds."""

    colour: bool = True
    palette: bool = True
    jpeg: str = ""
    dtype: str = ""
    images: bool = False
    values: set[int] = field(default_factory=set)  # of integers, up to MANY of them
    low: float = np.inf
    high: float = -np.inf
    dimensions: int = 0
    leading: int = 0  # length of the first axis
    sums_to_one: bool = True

    @property
    def floats(self) -> bool:
        return self.dtype.startswith("float")


def make_plan(
    pairs: Sequence[Pair],
    *,
    task: str | None,
    classes: Classes | None,
    ignore: Any,
    pred_encoding: str | None,
    gt_encoding: str | None,
    class_files: Sequence[str],
    resize: str | None,
) -> Plan:
    """Decide the plan from the settings and, where they are silent, from a sample of the files."""
    seen = {role: _look(pairs, role) for role in ("pred", "target")}
    pred, target = seen["pred"], seen["target"]
    ranges = parse_ignore(ignore)
    stacked = bool(class_files) or (
        target.dimensions >= 3 and target.dimensions == pred.dimensions and not target.colour
    )
    gt_encoding = gt_encoding or _guess_target(target, pred, task, classes, ranges or ())
    task = task or _guess_task(gt_encoding, pred, target, stacked)
    if task == "image":
        gt_encoding = pred_encoding = "image"
    if gt_encoding == "logits":
        raise SettingError("a ground truth holds labels, a mask, probabilities or an image")
    if task != "image" and "image" in (gt_encoding, pred_encoding):
        raise SettingError(f"encoding image belongs to --task image, not {task}")
    pred_encoding = pred_encoding or _guess_pred(pred, gt_encoding, task)
    notes = []
    if ranges is None:
        ranges = ()
        if gt_encoding in HARD and _void(target.values):
            ranges = ((VOID, VOID),)
            notes.append(f"gt value {VOID} is taken for ignored; `--ignore none` for a class of it")
    if target.jpeg and gt_encoding in HARD:
        notes.append(f"{target.jpeg} is a JPEG: its compression changes the values of a mask")
    count, named = _count(
        task, pred, target, pred_encoding, gt_encoding, classes, class_files, ranges
    )
    truth = _reading(
        "target", gt_encoding, target, named, ranges, task, stacked and task != "image"
    )
    prediction = _reading(
        "pred", pred_encoding, pred, named, (), task,
        (pred_encoding not in HARD and task == "multiclass") or task == "multilabel",
    )  # fmt: skip
    roles = pairs[0].sources
    return Plan(
        task,
        prediction,
        truth,
        named.names if named else tuple(map(str, range(count))),
        tuple(role for role in ("ignore", "valid") if role in roles),
        "weight" in roles,
        resize,
        tuple(notes),
    )


def parse_ignore(given: Any) -> tuple[tuple[int, int], ...] | None:
    """Labels to ignore: None to guess, `none`, a number, a range "250-255", or several of them."""
    if given is None:
        return None
    parts = given if isinstance(given, list | tuple) else str(given).split(",")
    ranges = []
    for part in parts:
        found = re.fullmatch(r"\s*(-?\d+)\s*(?:-\s*(\d+))?\s*", str(part))
        if found:
            ranges.append((int(found[1]), int(found[2] or found[1])))
        elif str(part).strip().lower() != "none":
            raise SettingError(
                f"ignore {part!r}: expected a label, a range such as 250-255, or none"
            )
    return tuple(ranges)


def spread(count: int) -> list[int]:
    """Up to SAMPLE places spread evenly over `count`, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(SAMPLE, count))})


def _look(pairs: Sequence[Pair], role: str) -> Seen:
    """Decode a sample; files that cannot be read are reported when their turn comes."""
    seen, failure = Seen(), None
    for place in spread(len(pairs)):
        for source in pairs[place].sources[role]:
            try:
                _add(seen, read(source), str(source) if isinstance(source, str) else "")
            except InputError as error:
                failure = error
    if not seen.dtype:
        raise failure or InputError(f"nothing to read ({role})")
    return seen


def _add(seen: Seen, picture: Picture, name: str) -> None:
    array = picture.array
    if picture.format == "JPEG":
        seen.jpeg = name
    seen.images |= picture.mode != "array"
    seen.palette &= picture.palette is not None
    if picture.colour:
        seen.dtype = seen.dtype or array.dtype.name
        return
    if picture.mode == "LA":
        array = array[..., 0]
    if seen.colour or not seen.dtype:  # the first picture of one number a pixel decides
        seen.dtype, seen.colour = array.dtype.name, False
        seen.dimensions, seen.leading = array.ndim, array.shape[0] if array.ndim else 0
    if not array.size:
        return
    seen.low, seen.high = min(seen.low, float(array.min())), max(seen.high, float(array.max()))
    if array.dtype.kind == "f":
        seen.sums_to_one &= array.ndim > 0 and bool(
            np.abs(array.sum(0, dtype=np.float64) - 1).max() < 0.02
        )
        array = array if _whole(array) else array[:0]
    if len(seen.values) < MANY:
        seen.values.update(int(value) for value in np.unique(array)[:MANY])


def _whole(array: Any) -> bool:
    return bool((array == np.round(array)).all())


def _guess_target(
    target: Seen,
    pred: Seen,
    task: str | None,
    classes: Classes | None,
    ignored: Sequence[tuple[int, int]],
) -> str:
    """What the ground truth holds."""
    if task == "image":
        return "image"
    if classes and (classes.colours or task != "binary"):
        return "palette" if target.palette and not classes.colours else "labels"
    if target.palette:
        return "palette"
    if target.colour:
        return "image"
    values = {v for v in target.values if not any(low <= v <= high for low, high in ignored)}
    if not target.floats or (values and target.high > 1):
        if values <= {0, 1} or values <= {0, VOID} or (task == "binary" and len(values) <= 2):
            return "labels" if task == "multiclass" and values <= {0, 1} else "mask"
        if max(values - {VOID}, default=0) <= LABELS and _contiguous(values - {VOID}):
            return "labels"
        if task == "binary" or len(values) <= GRADES:
            return "probability"
        return "image"
    if values and values <= {0, 1}:
        return "mask"
    return "probability" if target.low >= 0 and target.high <= 1 and task else (
        "probability" if target.low >= 0 and target.high <= 1 and pred.dimensions != 2 else "image"
    )  # fmt: skip


def _contiguous(values: set[int]) -> bool:
    """Whether values look like labels: small, or most of those up to the largest."""
    top = max(values, default=0)
    return min(values, default=0) >= 0 and (top < 32 or len(values) * 4 > top)


def _void(values: set[int]) -> bool:
    """Whether 255 stands apart from the labels."""
    others = values - {VOID}
    return VOID in values and bool(others - {0}) and max(others) <= LABELS


def _guess_task(encoding: str, pred: Seen, target: Seen, stacked: bool) -> str:
    if encoding == "image":
        return "image"
    if encoding in ("labels", "palette"):
        return "multiclass"
    if stacked:
        exclusive = pred.floats and pred.sums_to_one and target.leading > 1
        return "multiclass" if exclusive else "multilabel"
    several = pred.dimensions == target.dimensions + 1 and pred.leading > 1
    return "multiclass" if several else "binary"


def _guess_pred(pred: Seen, target: str, task: str) -> str:
    """What predictions hold, given the ground truth."""
    if pred.floats:
        if pred.values and pred.values <= {0, 1} and pred.low >= 0 and pred.high <= 1:
            return "mask" if task != "multiclass" else "probability"
        return "probability" if pred.low >= 0 and pred.high <= 1 else "logits"
    if task == "multiclass":
        return "palette" if pred.palette else "labels"
    if pred.dtype == "bool" or pred.values <= {0, 1} or pred.values <= {0, VOID}:
        return "mask"
    return "probability"


def _count(
    task: str,
    pred: Seen,
    target: Seen,
    pred_encoding: str,
    gt_encoding: str,
    classes: Classes | None,
    class_files: Sequence[str],
    ranges: Sequence[tuple[int, int]],
) -> tuple[int, Classes | None]:
    """How many classes there are, and their names where they have any."""
    if task == "image":
        return 0, None
    if task == "binary":
        if classes and len(classes.names) != 2:
            raise SettingError(
                "a binary task has two classes, background and foreground,"
                f" not {len(classes.names)}"
            )
        return 2, classes or numbered(2, ("background", "foreground"))
    if task == "multilabel":
        count = len(class_files) or pred.leading
        names = tuple(class_files) or (classes.names if classes else ())
        if names and len(names) != count:
            raise SettingError(f"{len(names)} classes are named where the arrays hold {count}")
        return count, numbered(count, names)
    stack = next(
        (s.leading for s, e in ((pred, pred_encoding), (target, gt_encoding)) if e not in HARD), 0
    )
    if classes:
        if stack and stack != len(classes.names):
            raise SettingError(f"{len(classes.names)} classes are named, arrays hold {stack}")
        return len(classes.names), classes
    found = {
        value
        for seen, encoding in ((pred, pred_encoding), (target, gt_encoding))
        if encoding in HARD
        for value in seen.values
        if seen is pred or not any(low <= value <= high for low, high in ranges)
    }
    if any(seen.colour for seen, e in ((pred, pred_encoding), (target, gt_encoding)) if e in HARD):
        raise SettingError(
            "colour pictures as labels need their colours: --classes '{road: \"#804080\", …}'"
        )
    count = stack or max(found, default=0) + 1
    return count, numbered(max(count, 2))


def _reading(
    role: str,
    encoding: str,
    seen: Seen,
    classes: Classes | None,
    ignore: tuple[tuple[int, int], ...],
    task: str,
    stacked: bool,
) -> Reading:
    """How a role is read, its values settled."""
    if encoding not in HARD:
        whole = np.dtype(seen.dtype).kind in "ui" and encoding != "logits"
        scale = float(np.iinfo(seen.dtype).max) if whole else 1.0
        return Reading(role, encoding, seen.dtype, scale, stacked=stacked)
    if classes is None:
        raise SettingError(f"encoding {encoding} does not belong to an image task")
    values, colours = classes.values, classes.colours
    if (
        task == "multilabel"
        or (task == "binary" and values == ((0, 0), (1, 1)))
        or encoding == "mask"
    ):
        white = _white(seen, ignore)
        values, colours = ((0, 0), (white, 1)), False
    elif role == "pred" and _indexed(seen, classes):
        values, colours = numbered(len(classes.names)).values, False
    many = 2 if task == "multilabel" or encoding == "mask" else len(classes.names)
    return Reading(role, encoding, seen.dtype, 1.0, values, many, colours, ignore, stacked)


def _white(seen: Seen, ignore: Sequence[tuple[int, int]]) -> int:
    """The stored value of a mask's foreground."""
    values = {v for v in seen.values if not any(low <= v <= high for low, high in ignore)} - {0}
    if len(values) == 1:
        return values.pop()
    if values & {1, VOID}:
        return VOID if VOID in values else 1
    return VOID if seen.images and seen.dtype == "uint8" else 1


def _indexed(seen: Seen, classes: Classes) -> bool:
    """Whether predicted labels are class indices where the ground truth stores other values."""
    stored = {value for value, _ in classes.values}
    if classes.colours:
        return not seen.colour
    return not seen.values <= stored and max(seen.values, default=0) < len(classes.names)
