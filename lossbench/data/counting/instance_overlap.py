"""Instance maps: the segments of all pixels, counted into a sparse table of both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.runtime.array_types import AnyArray, BoolArray, IntArray

NOTHING, VOID = -1, -2  # in place of a segment
SHOWN = 8  # classes that a message lists
Listed = Mapping[int, tuple[int, bool]]  # stored number -> class, whether it is a crowd


@dataclass(frozen=True)
class InstanceOverlap:
    """The number of pixels that two segments share: the basis of every score of segments.

    N pairs of segments that overlap, T segments of the target, P predicted segments.
    """

    count: IntArray  # (N,) pixels
    pred: IntArray  # (N,) the predicted segment, or NOTHING
    target: IntArray  # (N,) the true segment, NOTHING or VOID
    pred_class: IntArray  # (P,)
    target_class: IntArray  # (T,)
    crowd: BoolArray  # (T,) a group of objects without a border between them


class SegmentMap(NamedTuple):
    """The segments of one map."""

    segment: IntArray  # (n,) of each distinct number; NOTHING or VOID without a segment
    of_class: IntArray  # (S,) of each segment
    crowd: BoolArray  # (S,)


def count_segments(
    plan: Plan, maps: Mapping[str, AnyArray], listed: Mapping[str, Listed], ignored: AnyArray | None
) -> InstanceOverlap:
    """Count a pair of maps of one shape; ignored pixels are void whatever the target holds.

    Neighbours are mostly alike, so runs of pixels are counted in place of pixels.

    Raises:
        InputError: a number without a meaning.
    """
    readings = {"pred": plan.pred, "target": plan.target}
    flat = {role: _numbered(readings[role], maps[role]).ravel() for role in readings}
    starts, lengths = _runs([*flat.values(), *([] if ignored is None else [ignored.ravel()])])
    sides, segments = {}, {}
    for role, reading in readings.items():
        numbers, inverse = np.unique(flat[role][starts], return_inverse=True)
        sides[role] = _segments(plan, reading, numbers, listed.get(role))
        segments[role] = sides[role].segment[inverse]
    pred, target = segments["pred"], segments["target"]
    pred[pred == VOID] = NOTHING
    if ignored is not None:
        target[ignored.ravel()[starts]] = VOID
    width = len(sides["pred"].of_class) + 1
    cells, inverse = np.unique((target - VOID) * width + pred - NOTHING, return_inverse=True)
    return InstanceOverlap(
        np.bincount(inverse, lengths).astype(np.int64),
        cells % width + NOTHING,
        cells // width + VOID,
        sides["pred"].of_class,
        sides["target"].of_class,
        sides["target"].crowd,
    )


def _runs(rows: list[AnyArray]) -> tuple[IntArray, IntArray]:
    """The starts and lengths of runs of pixels that are alike in every row."""
    changes = np.ones(rows[0].shape, np.bool_)
    changes[1:] = np.logical_or.reduce([row[1:] != row[:-1] for row in rows])
    starts = np.flatnonzero(changes)
    return starts, np.diff(starts, append=rows[0].size)


def _numbered(reading: InputEncoding, stored: AnyArray) -> AnyArray:
    """The numbers of a map, or of the 8-connected components of a mask, −1 where it is ignored."""
    if not reading.is_hard:
        return stored
    from scipy import ndimage

    codes = reading.coded(stored)
    if (codes > reading.classes).any():
        raise reading.refuse(stored, codes)
    numbers: AnyArray = ndimage.label(codes == 1, np.ones((3,) * codes.ndim))[0]
    numbers[codes == reading.classes] = -1
    return numbers


def _segments(
    plan: Plan, reading: InputEncoding, numbers: AnyArray, listed: Listed | None
) -> SegmentMap:
    """The segment of each distinct number of a map."""
    if numbers.dtype.kind == "f" and not (np.isfinite(numbers) & (numbers % 1 == 0)).all():
        raise reading.unfit(f"holds {numbers.dtype} with fractions where the plan reads {reading}")
    ids = numbers.astype(np.int64)
    if listed is not None:
        return _listed(reading, ids, listed)
    if plan.divisor:
        return _divided(plan, reading, ids)
    void = ids < 0 if reading.is_hard else reading.ignored(ids)
    if (ids[~void] < 0).any():
        raise reading.unfit(f"holds the negative id {ids.min()}; --ignore takes it out")
    none = np.zeros(len(ids), np.bool_)
    return _segment_map(ids, np.zeros_like(ids), void, ids == 0, none)


def _listed(reading: InputEncoding, ids: IntArray, listed: Listed) -> SegmentMap:
    """Segments that a panoptic JSON file lists; 0 is void, in a prediction nothing."""
    numbers = ids.tolist()
    if strange := set(numbers) - {0} - listed.keys():
        raise reading.unfit(f"holds segment {min(strange)}, which its JSON file does not list")
    if lost := listed.keys() - set(numbers):
        raise reading.unfit(f"has no pixel of segment {min(lost)}, which its JSON file lists")
    entries = np.array([listed.get(number, (VOID, False)) for number in numbers], np.int64)
    classes, crowd = entries.reshape(-1, 2).T
    return _segment_map(ids, classes, classes == VOID, np.zeros(len(ids), np.bool_), crowd != 0)


def _divided(plan: Plan, reading: InputEncoding, ids: IntArray) -> SegmentMap:
    """Segments whose numbers are class · divisor + instance.

    As in Cityscapes, a number below the divisor is a class whose instances are not separated. If
    class 0 is a thing, such numbers are its instances; if it has no name, 0 is nothing.
    """
    divisor, names, values = plan.divisor or 1, plan.names, dict(reading.values)
    thing = np.array([plan.things is not None and name in plan.things for name in names])
    zero = values.get(0)
    instances = zero is not None and (plan.things is None or thing[zero])
    unclear = {n for n in ids.tolist() if 0 < n < divisor} & values.keys()
    if unclear and instances and plan.things is None:
        raise reading.unfit(
            f"holds label {min(unclear)}: class {min(unclear)} alone, or an instance of class 0?"
            " Name the classes that have instances with --things"
        )
    alone = (ids < divisor) & ~((ids >= 0) & instances)
    stored = np.where(alone, ids, ids // divisor)
    void, nothing = reading.ignored(stored), (ids == 0) & (zero is None)
    classes = np.array([values.get(value, NOTHING) for value in stored.tolist()], np.int64)
    unknown = (classes == NOTHING) & ~void & ~nothing
    if unknown.any():
        known = ", ".join(map(str, list(values)[:SHOWN])) + ", …" * (len(values) > SHOWN)
        raise reading.unfit(
            f"holds label {ids[unknown][0]}, of class {stored[unknown][0]}, where the plan reads"
            f" {known}; name all classes with --classes, or --ignore a value"
        )
    crowd = alone & thing[classes]
    both = set(stored[alone & ~void & ~nothing].tolist()) & set(stored[~alone].tolist())
    if both and reading.role == "target" and plan.things is None:
        raise reading.unfit(
            f"holds class {min(both)} alone and with instances; name the classes that have"
            " instances with --things, and pixels of theirs without one are a crowd"
        )
    merged = plan.things is not None and ~thing[classes]
    return _segment_map(np.where(merged, -1 - classes, ids), classes, void, nothing, crowd)


def _segment_map(
    keys: IntArray, classes: IntArray, void: BoolArray, nothing: BoolArray, crowd: BoolArray
) -> SegmentMap:
    """One segment for all numbers of one key."""
    kept = ~void & ~nothing
    segment = np.where(void, VOID, NOTHING).astype(np.int64)
    _, first, segment[kept] = np.unique(keys[kept], return_index=True, return_inverse=True)
    return SegmentMap(segment, classes[kept][first], crowd[kept][first])
