"""Instance maps: which segment a pixel belongs to, counted into a sparse table of both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.runtime.array_types import AnyArray

NOTHING, VOID = -1, -2  # in place of a segment
Listed = Mapping[int, tuple[int, bool]]  # stored number -> class, whether it is a crowd
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class InstanceOverlap:
    """How many pixels two segments share: all that the quality of segments is a function of.

    N pairs that occur, T segments of the target, P predicted ones.
    """

    count: Whole  # (N,) pixels
    pred: Whole  # (N,) the predicted segment, or NOTHING
    target: Whole  # (N,) the true segment, NOTHING or VOID
    pred_class: Whole  # (P,)
    target_class: Whole  # (T,)
    crowd: NDArray[np.bool_]  # (T,) a group of things that are not told apart


class SegmentMap(NamedTuple):
    """What the distinct numbers of one map mean."""

    place: Whole  # (n,) of each number: its segment, NOTHING or VOID
    of_class: Whole  # (S,) of each segment
    crowd: NDArray[np.bool_]  # (S,)


def count_segments(
    plan: Plan,
    maps: Mapping[str, AnyArray],
    listed: Mapping[str, Listed],
    ignored: AnyArray | None,
) -> InstanceOverlap:
    """Count a pair of maps.

    Neighbours are mostly alike, so runs of pixels are counted in place of pixels.

    Args:
        plan: how the maps are read.
        maps: `pred` and `target` of one shape.
        listed: by role, the segments that a panoptic JSON file lists.
        ignored: where pixels are void whatever the target holds.

    Raises:
        InputError: a number without a meaning.
    """
    readings = {"pred": plan.pred, "target": plan.target}
    flat = {role: _numbered(readings[role], maps[role]).ravel() for role in readings}
    starts, lengths = _runs([*flat.values(), *([] if ignored is None else [ignored.ravel()])])
    sides, places = {}, {}
    for role, reading in readings.items():
        numbers, inverse = np.unique(flat[role][starts], return_inverse=True)
        sides[role] = _meaning(plan, reading, numbers, listed.get(role))
        places[role] = sides[role].place[inverse]
    pred, target = places["pred"], places["target"]
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


def _runs(rows: list[AnyArray]) -> tuple[Whole, Whole]:
    """Where runs of pixels that are alike in every row start, and how long they are."""
    changes = np.ones(rows[0].shape, np.bool_)
    changes[1:] = np.logical_or.reduce([row[1:] != row[:-1] for row in rows])
    starts = np.flatnonzero(changes)
    return starts, np.diff(starts, append=rows[0].size)


def _numbered(reading: InputEncoding, stored: AnyArray) -> AnyArray:
    """A map as it is; of a mask its 8-connected components, −1 where it is ignored."""
    if not reading.is_hard:
        return stored
    from scipy import ndimage

    codes = reading.coded(stored)
    if (codes > reading.classes).any():
        raise reading.refuse(stored, codes)
    numbers: AnyArray = ndimage.label(codes == 1, np.ones((3,) * codes.ndim))[0]
    numbers[codes == reading.classes] = -1
    return numbers


def _meaning(
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
    return _side(ids, np.zeros_like(ids), void, ids == 0)


def _listed(reading: InputEncoding, ids: Whole, listed: Listed) -> SegmentMap:
    """Numbers that a panoptic JSON file lists; 0 is void, in a prediction nothing."""
    strange = set(ids.tolist()) - {0} - listed.keys()
    if strange:
        raise reading.unfit(f"holds segment {min(strange)}, which its JSON file does not list")
    lost = listed.keys() - set(ids.tolist())
    if lost:
        raise reading.unfit(f"has no pixel of segment {min(lost)}, which its JSON file lists")
    entries = [listed.get(number, (VOID, False)) for number in ids.tolist()]
    classes = np.array([of_class for of_class, _ in entries], np.int64)
    crowd = np.array([of_crowd for _, of_crowd in entries], np.bool_)
    return _side(ids, classes, classes == VOID, np.zeros(len(ids), np.bool_), crowd)


def _divided(plan: Plan, reading: InputEncoding, ids: Whole) -> SegmentMap:
    """Numbers that are class · divisor + instance.

    Those below the divisor are a class alone, its instances not told apart, as Cityscapes has it;
    where class 0 is a thing they are its instances, and where it has no name 0 is nothing.
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
        raise reading.unfit(
            f"holds label {ids[unknown][0]}, of class {stored[unknown][0]}, where the plan reads"
            f" {', '.join(map(str, values))}; name all classes with --classes, or --ignore a value"
        )
    crowd = alone & thing[classes]
    both = set(stored[alone & ~void & ~nothing].tolist()) & set(stored[~alone].tolist())
    if reading.role == "target" and plan.things is None and both:
        raise reading.unfit(
            f"holds class {min(both)} alone and with instances; name the classes that have"
            " instances with --things, and pixels of theirs without one are a crowd"
        )
    merged = plan.things is not None and ~thing[classes]
    return _side(np.where(merged, -1 - classes, ids), classes, void, nothing, crowd)


def _side(
    keys: Whole,
    classes: Whole,
    void: NDArray[np.bool_],
    nothing: NDArray[np.bool_],
    crowd: NDArray[np.bool_] | None = None,
) -> SegmentMap:
    """Numbers of one key are one segment."""
    kept = ~void & ~nothing
    place = np.where(void, VOID, NOTHING).astype(np.int64)
    _, first, place[kept] = np.unique(keys[kept], return_index=True, return_inverse=True)
    crowds = np.zeros(len(keys), np.bool_) if crowd is None else crowd
    return SegmentMap(place, classes[kept][first], crowds[kept][first])
