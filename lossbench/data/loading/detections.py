"""Boxes of one sample, found and true, with what is known of each: from COCO JSON or records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossbench.data.formats.boxes import Boxes, Detections
from lossbench.data.formats.coco_masks import Segmentations
from lossbench.data.pairing.pairs import Category, Pair
from lossbench.data.planning.classes import MAX_CLASSES, Classes
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.data.planning.probe import spread
from lossbench.data.sources.locations import label
from lossbench.data.sources.read import read_record
from lossbench.errors import InputError, SettingError
from lossbench.runtime.array_types import AnyArray, FloatArray

WANTED = {
    "pred": ("boxes", "scores", "labels", "masks"),
    "target": ("boxes", "labels", "crowd", "area", "masks"),
}
NEEDED = {"pred": ("boxes", "scores"), "target": ("boxes",)}
FIELDS = {
    "pred": "boxes (N, 4) as x1, y1, x2, y2 and scores (N,), and where wanted labels (N,) and masks"
    " (N, height, width)",
    "target": "boxes (N, 4) as x1, y1, x2, y2, and where wanted labels, crowd and area (N,) and"
    " masks (N, height, width)",
}


def plan_detections(
    pairs: Sequence[Pair], categories: Sequence[Category], classes: Classes | None
) -> Plan:
    """How boxes are read.

    Args:
        pairs: the files, or boxes that a COCO JSON file lists.
        categories: the classes that such a file names.
        classes: those that the user names.

    Raises:
        InputError: no file of a role can be read.
        SettingError: the classes are not known.
    """
    if categories:
        if classes:
            raise SettingError("COCO's instances name the categories; leave out --classes")
        names = tuple(each.name for each in categories)
        values = tuple((each.id, place) for place, each in enumerate(categories))
        kinds = {"pred": "COCO results", "target": "COCO instances"}
        pred, target = (
            InputEncoding(role, "boxes", kind, values=values) for role, kind in kinds.items()
        )
    else:
        seen = {role: _seen(pairs, role) for role in NEEDED}
        named = classes or _labelled({value for _, values in seen.values() for value in values})
        names, values = named.names, named.values
        pred, target = (
            InputEncoding(role, "boxes", "", values=values, tensors=tensors)
            for role, (tensors, _) in seen.items()
        )
    return Plan("detection", pred, target, names, len(names))


def read_detections(plan: Plan, pair: Pair) -> Detections:
    """One sample held against the plan.

    Raises:
        InputError: a file is no record of boxes.
    """
    sides = []
    for role, reading in (("pred", plan.pred), ("target", plan.target)):
        (source,) = pair.sources[role]
        try:
            sides.append(source if isinstance(source, Boxes) else _boxes(reading, source))
        except InputError as error:
            raise error.located(role, label(source)) from None
    return Detections(*sides)


def _seen(pairs: Sequence[Pair], role: str) -> tuple[tuple[str, ...], set[int]]:
    """The arrays that a sample of records has, and the labels in them."""
    names, labels = dict[str, None](), set[int]()
    failure = InputError(f"there is nothing to read ({role})")
    for pair in spread(pairs):
        (source,) = pair.sources[role]
        try:
            arrays = read_record(source)
            if "boxes" not in arrays:
                raise _lacking("boxes", role, arrays)
            names |= dict.fromkeys(name for name in WANTED[role] if name in arrays)
            labels |= {int(each) for each in arrays.get("labels", np.zeros(0)).ravel()}
        except (InputError, ValueError, OverflowError) as error:
            known = error if isinstance(error, InputError) else InputError("has labels of no kind")
            failure = known.located(role, label(source))
    if not names:
        raise failure
    return tuple(names), labels


def _lacking(name: str, role: str, arrays: Mapping[str, AnyArray]) -> InputError:
    held = ", ".join(filter(None, arrays)) or "none by a name"
    return InputError(
        f"has no array {name!r}; it has {held}; expected {FIELDS[role]}",
        kind="mismatch",
        role=role,
    )


def _labelled(labels: set[int]) -> Classes:
    """A class for each label that occurs; one of objects where there are no labels."""
    if len(labels) > MAX_CLASSES:
        raise SettingError(
            f"boxes have {len(labels):,} labels; {MAX_CLASSES:,} classes are the most"
        )
    if not labels:
        return Classes(("object",), ((0, 0),))
    known = sorted(labels)
    return Classes(tuple(map(str, known)), tuple((each, i) for i, each in enumerate(known)))


def _boxes(reading: InputEncoding, source: Any) -> Boxes:
    """The boxes of a record."""
    arrays = read_record(source)
    for name in NEEDED[reading.role]:
        if name not in arrays:
            raise _lacking(name, reading.role, arrays)
    corners = _checked(reading, "boxes", arrays["boxes"], None)
    rows = {
        name: _checked(reading, name, arrays[name], len(corners))
        for name in ("scores", "labels", "crowd", "area")
        if name in arrays and name in WANTED[reading.role]
    }
    sides = corners[:, 2:] - corners[:, :2]
    if (sides < 0).any():
        x1, y1, x2, y2 = corners[np.argmax((sides < 0).any(1))].tolist()
        raise reading.unfit(
            f"has the box [{x1:g}, {y1:g}, {x2:g}, {y2:g}]; expected x1 ≤ x2 and y1 ≤ y2"
        )
    size, nothing = sides.prod(-1), np.zeros(len(corners))
    masks = None
    if "masks" in arrays:
        masks = Segmentations.of_masks(_masks(reading, arrays["masks"], len(corners)))
    return Boxes(
        corners,
        size,
        rows.get("area", size),
        _classes(reading, rows.get("labels"), len(corners)),
        rows.get("scores", nothing),
        rows.get("crowd", nothing) != 0,
        masks,
    )


def _checked(reading: InputEncoding, name: str, array: AnyArray, count: int | None) -> FloatArray:
    """Finite numbers, one a box, or boxes of four."""
    wanted = "(N, 4)" if count is None else f"({count},)"
    if array.size == 0 and not count:
        return np.zeros((0, 4) if count is None else 0)
    fits = array.ndim == 2 and array.shape[1] == 4 if count is None else array.shape == (count,)
    if not fits:
        raise reading.unfit(f"has {name} of shape {array.shape}; expected {wanted}")
    if not np.isfinite(array).all():
        raise reading.unfit(f"has {name} that are not finite")
    return array.astype(np.float64)


def _masks(reading: InputEncoding, masks: AnyArray, count: int) -> AnyArray:
    if masks.ndim != 3 or len(masks) != count:
        raise reading.unfit(
            f"has masks of shape {masks.shape}; expected ({count}, height, width), one a box"
        )
    return masks


def _classes(reading: InputEncoding, labels: FloatArray | None, count: int) -> NDArray[np.int64]:
    """The class of each box."""
    known = dict(reading.values)
    if labels is None:
        if len(known) > 1:
            raise reading.unfit("has no labels, where there are several classes")
        return np.zeros(count, np.int64)
    for value in labels.tolist():
        if value not in known:
            raise reading.unfit(
                f"holds label {value:g} where the plan reads {', '.join(map(str, known))}; name all"
                " classes with --classes"
            )
    return np.array([known[int(value)] for value in labels.tolist()], np.int64)
