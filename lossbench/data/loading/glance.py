"""A glance at one pair: a few points of both sides, and facts that need the whole arrays.

The pairs of a run that are glanced at are in its plan, the same ones however the run is divided.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossbench.data.arrays.components import are_mostly_components
from lossbench.data.arrays.distinct import distinct
from lossbench.data.formats.boxes import Boxes
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.runtime.array_types import AnyArray, BoolArray, IntArray
from lossbench.runtime.fast_zlib import crc32

RUNS, RUN = 8, 8  # runs of neighbouring pairs that are glanced at, and the pairs of each
POINTS = {1: 1024, 2: 32, 3: 12}  # along each axis, by the number of axes
FEWER_POINTS = 6  # of more axes
PLANES = 16  # classes of a multilabel pair that are looked at
IGNORED = -1  # code of a point without weight
COMPONENTS = 8  # pairs whose labels are searched for numbered objects
OBJECTS = 3  # numbered objects of a file, at least
SUM_TOLERANCE = 1e-2  # of probabilities that sum to 1, beside their rounding


@dataclass(frozen=True)
class Glance:
    """What a glance at a pair shows.

    Attributes:
        pred: codes of classes at a grid of points (planes, …), or grey levels of a picture; a class
            of a multilabel pair has two codes. Empty where the task has no pixels.
        target: the same of the ground truth, IGNORED without weight.
        shape: the size of the ground truth.
        pred_hash: a checksum of the whole prediction.
        target_hash: the same of the ground truth.
        is_flat: whether the prediction has one value everywhere.
        counts: pixels of each class (3, K): true, predicted and valid ones; of a soft prediction of
            several classes the points of the grid.
        is_off: whether predicted probabilities do not sum to 1 over the classes.
        objects: the number of objects if labels number them, 0 if not, −1 if nobody looked.
        colours: of pictures with three channels the mean absolute difference at the points, and
            the same with the channels of the prediction reversed.
    """

    pred: AnyArray
    target: AnyArray
    shape: tuple[int, ...] = ()
    pred_hash: int = 0
    target_hash: int = 0
    is_flat: bool = False
    counts: IntArray | None = None
    is_off: bool = False
    objects: int = -1
    colours: tuple[float, ...] = ()


def sampled(ids: Iterable[str], count: int) -> tuple[str, ...]:
    """The ids of the pairs to glance at: neighbouring ones, so that a shift of names is seen."""
    if count <= RUNS * RUN:
        return tuple(ids)
    starts = np.linspace(0, count - RUN, RUNS).round().astype(int).tolist()
    kept = {start + step for start in starts for step in range(RUN)}
    return tuple(id for index, id in enumerate(ids) if index in kept)


def glance(
    plan: Plan, id: str, pred: AnyArray, target: AnyArray, ignored: AnyArray | None
) -> Glance:
    """A glance at the stored numbers of a pair, classes or channels first, of one size."""
    planes = [_planes(plan.pred, pred), _planes(plan.target, target)]
    space = planes[1].shape[1:]
    grid: Any = np.ix_(*(_points(length, len(space)) for length in space))
    points = [each[(slice(None), *grid)] for each in planes]
    out = None
    if ignored is not None:
        out = np.broadcast_to(ignored, np.broadcast_shapes(ignored.shape, space))
        out = np.ascontiguousarray(out[(..., *grid)])
    own_pred, own_target = _coded(plan, points[0], points[1], out)
    hashes = _checksums(pred, target)
    is_flat = bool((own_pred == own_pred.flat[0]).all() and (pred == pred.flat[0]).all())
    return Glance(
        own_pred,
        own_target,
        space,
        hashes[0],
        hashes[1],
        is_flat,
        _counts(plan, planes, (own_pred, own_target), ignored),
        _is_off(plan, points[0], own_target),
        _objects(plan, id, target),
        _colours(plan, points[0], points[1]),
    )


def glance_at_vectors(pred: AnyArray, target: AnyArray) -> Glance:
    """A glance at a pair without pixels."""
    nothing = np.zeros(0, np.int8)
    hashes = _checksums(pred, target)
    return Glance(nothing, nothing, (), hashes[0], hashes[1], is_flat=pred.size < 2)


def glance_at_boxes(pred: Boxes, target: Boxes) -> Glance:
    """A glance at the boxes of a picture."""
    return glance_at_vectors(pred.rows.corners, target.rows.corners)


def _checksums(*sides: AnyArray) -> list[int]:
    """Checksums that tell both sides and the sides of other pairs apart.

    Volumes are read in the order of their bytes, which is faster than in the order of their axes.
    """
    if all(each.flags.f_contiguous for each in sides):
        sides = tuple(each.T for each in sides)
    return [crc32(np.ascontiguousarray(each).data) for each in sides]


def _planes(reading: InputEncoding, array: AnyArray) -> AnyArray:
    """Classes or channels first, also where there is one."""
    return array if reading.stacked else array[None]


def _points(length: int, axes: int) -> IntArray:
    """Points along an axis, which a flip maps to each other."""
    count = POINTS.get(axes, FEWER_POINTS)
    first = ((np.arange(count) + 0.5) * length / count).astype(np.int64)
    half = count // 2
    first[count - half :] = length - 1 - first[:half][::-1]
    return first


def _coded(
    plan: Plan, pred: AnyArray, target: AnyArray, ignored: AnyArray | None
) -> tuple[AnyArray, AnyArray]:
    """The codes of some pixels, or the grey levels of pictures."""
    if plan.task == "image":
        return _grey(plan.pred, pred), _grey(plan.target, target)
    codes = [_codes(plan, plan.pred, pred), _codes(plan, plan.target, target)]
    void = codes[1] < 0
    if plan.target.ignore and not plan.target.is_hard and not plan.target.definition.is_instances:
        void |= plan.target.ignored(target)
    if ignored is not None:
        void |= ignored
    codes[1][void] = IGNORED
    if plan.task == "multilabel":
        codes = [each[:PLANES] for each in codes]
        for each in codes:
            for plane, row in enumerate(each):
                row[row >= 0] += 2 * plane
    return codes[0], codes[1]


def _colours(plan: Plan, pred: AnyArray, target: AnyArray) -> tuple[float, ...]:
    """How pictures differ, as they are and with red and blue of the prediction exchanged."""
    if plan.task != "image" or not len(pred) == len(target) == 3:
        return ()
    own, true = pred / np.float32(plan.pred.scale), target / np.float32(plan.target.scale)
    return tuple(float(np.abs(each - true).mean()) for each in (own, own[::-1]))


def _grey(reading: InputEncoding, picture: AnyArray) -> AnyArray:
    """The mean of all channels."""
    grey: AnyArray = picture.mean(0, dtype=np.float32) / reading.scale
    with np.errstate(over="ignore"):
        return grey.astype(np.float16)[None]


def _codes(plan: Plan, reading: InputEncoding, planes: AnyArray) -> AnyArray:
    """The class of each pixel; 0 or 1 of each plane where classes overlap."""
    kind = np.int8 if len(plan.names) < 1 << 7 and plan.task != "multilabel" else np.int16
    if plan.task == "instances" and not reading.is_hard:
        some: AnyArray = planes != 0
        return some.astype(kind)
    if reading.is_hard:
        codes: AnyArray = reading.coded(planes)
        return np.where(codes < reading.classes, codes.astype(kind), kind(IGNORED))
    if plan.task == "multiclass":
        indices: AnyArray = planes.argmax(0)[None]
        return indices.astype(kind)
    above: AnyArray = planes >= _level(plan, reading)
    return above.astype(kind)


def _level(plan: Plan, reading: InputEncoding) -> float:
    """The stored number from which a pixel is foreground."""
    share = plan.threshold
    if not reading.is_logits:
        return share * reading.scale
    with np.errstate(divide="ignore"):
        return float(np.log(share) - np.log1p(-share))


def _counts(
    plan: Plan,
    planes: Sequence[AnyArray],
    points: Sequence[AnyArray],
    ignored: AnyArray | None,
) -> IntArray | None:
    """The pixels of each class, where no table has them."""
    if plan.counted or plan.task in ("image", "instances"):
        return None
    soft = plan.task == "multiclass" and not (plan.pred.is_hard and plan.target.is_hard)
    pred, target = points
    # The points of a soft prediction are enough, unless they lie between all objects.
    if not soft or pred.min() == pred.max():
        pred, target = _coded(plan, planes[0], planes[1], ignored)
    valid = target >= 0
    if plan.task == "multiclass":
        length = len(plan.names)
        kept = [each[valid & (each >= 0)] for each in (target, pred)]
        sides = [np.bincount(each, minlength=length) for each in kept]
        return np.array([*sides, np.full(length, np.count_nonzero(valid))])
    rows = [(target % 2 == 1) & valid, (pred % 2 == 1) & (pred >= 0) & valid, valid]
    counts = np.array([each.reshape(len(each), -1).sum(1) for each in rows])
    if plan.task == "binary":
        return np.stack([counts[2] - counts, counts], -1)[:, 0]
    return counts


def _is_off(plan: Plan, points: AnyArray, target: AnyArray) -> bool:
    """Whether the probabilities of some point do not sum to 1."""
    reading = plan.pred
    if plan.task != "multiclass" or not reading.stacked or not reading.definition.is_probability:
        return False
    rounding = len(points) / (2 * reading.scale) if reading.scale != 1 else 0.0
    sums = points.sum(0, dtype=np.float64) / reading.scale
    off: BoolArray = np.abs(sums - 1) > SUM_TOLERANCE + rounding
    return bool(off[target[0] >= 0].any())


def _objects(plan: Plan, id: str, target: AnyArray) -> int:
    """The number of objects if labels number them: 1 … k, nine of ten one component each."""
    is_map = plan.task == "multiclass" and plan.target.definition.is_label_map
    step = max(1, len(plan.sampled) // COMPONENTS)
    if not is_map or plan.target.colours or id not in plan.sampled[::step]:
        return -1
    if target.dtype.kind not in "uib" or target.min() < 0:
        return 0
    labels = distinct(target)
    count = int(labels[-1])
    if count < OBJECTS or len(labels) < count + (labels[0] == 0):
        return 0
    return count if are_mostly_components(target) else 0
