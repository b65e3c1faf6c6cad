"""The predicted and true boxes of one sample: from COCO's JSON files or from records."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from lossbench.data.formats.boxes import Boxes, BoxTable, Detections, count_objects
from lossbench.data.formats.coco_masks import Segmentations
from lossbench.data.pairing.pairs import Category, Pair
from lossbench.data.planning.classes import MAX_CLASSES, Classes
from lossbench.data.planning.evidence import read_sample
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.locations import Source, label
from lossbench.data.sources.read import read_record
from lossbench.errors import InputError, SettingError, mismatch
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
    """How boxes are read: of the categories of a COCO file, or of the classes that the user names.

    Raises:
        InputError: no file of a role can be read.
        SettingError: the classes are not known.
    """
    if categories:
        if classes:
            raise SettingError("COCO's instances name the categories; leave out --classes")
        named = Classes.of([each.id for each in categories], [each.name for each in categories])
        pred = InputEncoding("pred", "boxes", "COCO results", values=named.values)
        target = InputEncoding("target", "boxes", "COCO instances", values=named.values)
    else:
        pred_arrays, pred_labels = _probe(pairs, "pred")
        target_arrays, target_labels = _probe(pairs, "target")
        named = classes or _labelled(pred_labels | target_labels)
        pred = InputEncoding("pred", "boxes", "", values=named.values, tensors=pred_arrays)
        target = InputEncoding("target", "boxes", "", values=named.values, tensors=target_arrays)
    return Plan("detection", pred, target, named.names, len(named.names))


def crowded_images(plan: Plan, pairs: Sequence[Pair], limit: int) -> list[tuple[int, str, str]]:
    """Images with more true objects of a class than a limit: the number, the class and the id."""
    sides = dict[str, Boxes]()
    for pair in pairs:
        (source,) = pair.sources["target"]
        with suppress(InputError):  # is an error of the pair where it is evaluated
            sides[pair.id] = source if isinstance(source, Boxes) else _boxes(plan.target, source)
    counts = count_objects(list(sides.values()), len(plan.names))
    crowded = np.flatnonzero(counts.max(1, initial=0) > limit).tolist()
    ids = list(sides)
    return [(int(counts[i].max()), plan.names[counts[i].argmax()], ids[i]) for i in crowded]


def read_detections(plan: Plan, pair: Pair) -> Detections:
    """Decode one sample and compare it with the plan.

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


def _probe(pairs: Sequence[Pair], role: str) -> tuple[tuple[str, ...], set[int]]:
    """The arrays that a sample of records has, and the labels in them."""

    def names_and_labels(source: Source) -> tuple[set[str], set[int]]:
        arrays = _record(source, role, ("boxes",))
        try:
            return set(arrays), {int(each) for each in arrays.get("labels", np.zeros(0)).ravel()}
        except (ValueError, OverflowError):
            raise InputError("has labels that are no whole numbers") from None

    names, labels = zip(*read_sample(pairs, role, names_and_labels), strict=True)
    known = set().union(*names)
    return tuple(name for name in WANTED[role] if name in known), set().union(*labels)


def _record(source: Source, role: str, needed: Sequence[str]) -> dict[str, AnyArray]:
    """The arrays of a record, some of which it has to have."""
    arrays = read_record(source)
    for name in needed:
        if name not in arrays:
            present = ", ".join(filter(None, arrays)) or "none by a name"
            expected = f"expected {FIELDS[role]}"
            raise mismatch(f"has no array {name!r}; it has {present}; {expected}", role)
    return arrays


def _labelled(labels: set[int]) -> Classes:
    """A class for each label that occurs; one of objects where there are no labels."""
    if len(labels) > MAX_CLASSES:
        raise SettingError(
            f"boxes have {len(labels):,} labels; {MAX_CLASSES:,} classes are the most"
        )
    return Classes.of(sorted(labels)) if labels else Classes.of([0], ["object"])


def _boxes(reading: InputEncoding, source: Source) -> Boxes:
    """The boxes of a record."""
    arrays = _record(source, reading.role, NEEDED[reading.role])
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
        shape = arrays["masks"].shape
        if len(shape) != 3 or shape[0] != len(corners):
            expected = f"expected ({len(corners)}, height, width), one a box"
            raise reading.unfit(f"has masks of shape {shape}; {expected}")
        masks = Segmentations.of_masks(arrays["masks"])
    table = BoxTable(
        corners,
        size,
        rows.get("area", size),
        _classes(reading, rows.get("labels"), len(corners)),
        rows.get("scores", nothing),
        rows.get("crowd", nothing) != 0,
    )
    return Boxes(table, 0, len(corners), masks)


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
