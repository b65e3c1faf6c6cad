"""What one pair holds: facts of its files, and of each class of its ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np

from lossbench.choosing.inspection_objects import (
    Shapes,
    bounding_box,
    measure_components,
    measure_objects,
)
from lossbench.data.formats.boxes import Boxes
from lossbench.data.formats.stored_array import StoredArray
from lossbench.data.loading.records import RECORD_TASKS
from lossbench.data.loading.sample import ignored_pixels, load_role
from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.locations import Source, is_lost, label
from lossbench.data.sources.read import read, read_record
from lossbench.errors import InputError, sized
from lossbench.runtime.array_types import AnyArray, BoolArray, IntArray

DISTINCT = 256  # values of a file that are remembered
SIDES = ("pred", "target")
FOREGROUND = 0.5  # the level from which a graded mask is foreground
SMALL_BOX = 32**2  # pixels below which COCO calls an object small


@dataclass(frozen=True)
class StoredFacts:
    """One file as it is stored."""

    size: tuple[int, ...]  # without an axis of colours
    mode: str  # of Pillow, or the type of an array
    format: str  # of Pillow
    low: float
    high: float
    values: frozenset[float]  # distinct ones; empty beyond DISTINCT
    digest: bytes  # of its numbers; empty where all are equal
    is_finite: bool = True  # it holds no NaN and no infinite number


@dataclass(frozen=True)
class SampleError:
    """Why a file cannot be read, or does not fit the plan."""

    role: str
    kind: str
    message: str
    labels: tuple[int, ...] = ()  # of the file, that no class has


@dataclass
class SampleFacts:
    """What a pair holds."""

    id: str
    files: dict[str, list[StoredFacts]] = field(default_factory=dict)  # by side
    errors: list[SampleError] = field(default_factory=list)
    area: int = 0  # pixels of the ground truth, or of the image of its boxes
    narrowest: int = 0  # its shortest side
    valid: int = 0  # of its pixels, those that are not ignored
    soft: int = 0  # of the valid ones, those whose level is neither 0 nor 1
    levels: frozenset[float] = frozenset()  # distinct levels of a graded mask; empty if many
    pixels: dict[int, float] = field(default_factory=dict)  # by class
    shapes: dict[int, Shapes] = field(default_factory=dict)  # by class that has objects
    spacing: tuple[float, ...] = ()  # of voxels
    small_boxes: int = 0


def inspect_sample(plan: Plan | None, pair: Pair, roles: tuple[str, ...]) -> SampleFacts:
    """Read a pair once, as the plan has it or, without a plan, as it is stored."""
    facts, arrays = SampleFacts(pair.id), dict[str, AnyArray]()
    for role in pair.sources:
        if role in SIDES and role not in roles:
            continue
        if plan is None and role not in SIDES:
            continue
        stored = list[StoredArray]()

        def remember(source: Source, stored: list[StoredArray] = stored) -> StoredArray:
            stored.append(read(source))
            return stored[-1]

        try:
            if plan is None or plan.task in RECORD_TASKS:
                _add_records(facts, pair, role)
            elif plan.task == "detection":
                _add_boxes(facts, pair, role)
            else:
                arrays[role], file = load_role(plan, role, pair, remember)
                if role == "target":
                    facts.spacing = (file.grid and file.grid.spacing) or ()
        except InputError as error:
            lost = next(filter(is_lost, pair.sources[role]), None)
            error.located(role, label(lost or pair.sources[role][0]))
            facts.errors.append(SampleError(role, error.kind, str(error), error.labels))
        if role in SIDES and stored:
            facts.files[role] = [_facts(each) for each in stored]
    if plan and "target" in arrays:
        try:
            _add_truth(facts, plan, pair, arrays)
        except InputError as error:
            facts.area = 0
            error.located("target", label(pair.sources["target"][0]))
            facts.errors.append(SampleError("target", error.kind, str(error), error.labels))
    if plan and plan.task not in ("instances",) and not plan.resize and set(arrays) >= set(SIDES):
        sizes = [_space(plan, role, arrays[role]) for role in SIDES]
        if sizes[0] != sizes[1]:
            size, expected = map(sized, sizes)
            name = label(pair.sources["pred"][0])
            message = f"{name} is {size} where its ground truth is {expected}"
            facts.errors.append(SampleError("pred", "size", message))
    return facts


def _space(plan: Plan, role: str, array: AnyArray) -> tuple[int, ...]:
    reading = plan.reading(role)
    return array.shape[1:] if reading and reading.stacked else array.shape


def _facts(stored: StoredArray) -> StoredFacts:
    """What a file stores."""
    array = stored.array
    planes = array.ndim - (array.ndim > 2 and stored.mode != "array")
    low, high, is_finite = 0.0, 0.0, True
    values: AnyArray = np.zeros(0)
    if array.size:
        finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
        is_finite = finite.size == array.size
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        if array.dtype == np.uint8:
            values = np.flatnonzero(np.bincount(array.ravel(), minlength=1 << 8))
        elif high - low < 1 << 16 and array.dtype.kind in "iub":
            values = np.unique(array)
        elif len(np.unique(finite.ravel()[: 1 << 12])) <= DISTINCT:
            values = np.unique(finite)
    few = len(values) <= DISTINCT
    content = b""
    if array.size and low != high:
        content = blake2b(np.ascontiguousarray(array).data, digest_size=8).digest()
        content += repr((array.shape, array.dtype.str)).encode()
    return StoredFacts(
        array.shape[:planes],
        array.dtype.name if stored.mode == "array" else stored.mode,
        stored.format,
        low,
        high,
        frozenset(map(float, values)) if few else frozenset(),
        content,
        is_finite,
    )


def _add_records(facts: SampleFacts, pair: Pair, role: str) -> None:
    """The tensors of a record, or the array of a file without a plan."""
    files = facts.files.setdefault(role, [])
    for source in pair.sources[role]:
        if isinstance(source, Boxes):
            continue
        try:
            files.append(_facts(read(source)))
        except InputError as error:
            if error.kind != "mismatch":
                raise
            files += [_facts(StoredArray(array)) for array in read_record(source).values()]


def _add_boxes(facts: SampleFacts, pair: Pair, role: str) -> None:
    """The boxes of one side; those of the ground truth are the objects of their classes."""
    (boxes, *_) = pair.sources[role]
    if role != "target" or not isinstance(boxes, Boxes):
        return
    width, height = boxes.extent
    facts.area, facts.narrowest = width * height, min(width, height)
    facts.valid = facts.area
    rows = boxes.rows
    alone = ~rows.crowd
    facts.small_boxes = int(np.count_nonzero(rows.area[alone] < SMALL_BOX))
    for index in np.unique(rows.of_class):
        some = (rows.of_class == index) & alone
        corners = rows.corners[some]
        edge = (corners[:, :2] <= 0).any(1) | (corners[:, 2:] >= (width, height)).any(1)
        areas = rows.area[some].round().astype(np.int64)
        facts.pixels[int(index)] = float(areas.sum())
        facts.shapes[int(index)] = Shapes(areas, int(edge.sum()))


def _add_truth(facts: SampleFacts, plan: Plan, pair: Pair, arrays: Mapping[str, AnyArray]) -> None:
    """The classes of a ground truth of pixels."""
    reading, target = plan.target, arrays["target"]
    space = target.shape[1:] if reading.stacked else target.shape
    facts.area, facts.narrowest = int(np.prod(space)), min(space, default=0)
    loaded = dict(arrays)
    out = None
    if plan.masks and all(role in arrays for role in plan.masks):
        out = ignored_pixels(plan, loaded)
    if plan.task == "image":
        facts.valid = facts.area if out is None else int(np.count_nonzero(~np.squeeze(out)))
        return
    valid: BoolArray = np.ones(space, bool)
    if out is not None:
        valid &= ~np.broadcast_to(np.squeeze(out), space)
    if plan.task == "instances" and not reading.is_hard:
        _add_instances(facts, plan, pair, target, valid)
        return
    for index, mask in _class_masks(facts, plan, target, valid).items():
        if not mask.any():
            continue
        if index or plan.task != "binary":
            with_gaps = plan.task != "multiclass"
            facts.shapes[index] = measure_components(mask, with_gaps=with_gaps)


def _class_masks(
    facts: SampleFacts, plan: Plan, target: AnyArray, valid: BoolArray
) -> dict[int, BoolArray]:
    """The pixels of each class; this also counts them, ignored and soft ones."""
    reading = plan.target
    if not reading.is_hard:
        return _graded_masks(facts, plan, target, valid)
    void = reading.classes
    codes = np.where(valid, reading.coded(target), void)
    if (codes > void).any():
        raise reading.refuse(target, codes)
    if plan.task == "multilabel":
        kept = valid & (codes != void).any(0)
        facts.valid = int(np.count_nonzero(kept))
        masks = {index: (plane == 1) & valid for index, plane in enumerate(codes)}
    else:
        codes = codes[0] if reading.stacked and len(codes) == 1 else codes
        valid = valid & (codes != void)
        facts.valid = int(np.count_nonzero(valid))
        counts = np.bincount(codes[valid].astype(np.int64), minlength=reading.classes)
        masks = {int(index): (codes == index) & valid for index in np.flatnonzero(counts)}
    if plan.task == "instances":  # of a mask, whose components they are
        masks = {0: masks.get(1, np.zeros_like(valid))}
    facts.pixels |= {index: float(np.count_nonzero(mask)) for index, mask in masks.items()}
    return masks


def _graded_masks(
    facts: SampleFacts, plan: Plan, target: AnyArray, valid: BoolArray
) -> dict[int, BoolArray]:
    """The same of a graded ground truth: a class counts the sum of its levels."""
    reading = plan.target
    planes = target if reading.stacked else target[None]
    if reading.ignore:
        valid = valid & ~reading.ignored(planes).any(0)
    levels = reading.numbers(np.where(valid, planes, planes.dtype.type(0))).astype(np.float64)
    facts.valid = int(np.count_nonzero(valid))
    inside = levels[:, valid]
    facts.soft = int(np.count_nonzero(((inside > 0) & (inside < 1)).any(0)))
    distinct = np.unique(inside)
    facts.levels = frozenset(distinct.tolist()) if len(distinct) <= DISTINCT else frozenset()
    sums = inside.sum(1)
    if plan.task == "binary":
        facts.pixels = {0: facts.valid - float(sums[0]), 1: float(sums[0])}
        return {1: (levels[0] >= FOREGROUND) & valid}
    facts.pixels = {index: float(total) for index, total in enumerate(sums)}
    if plan.task == "multiclass":
        best = levels.argmax(0)
        return {index: (best == index) & valid for index in range(len(levels))}
    return {index: (plane >= FOREGROUND) & valid for index, plane in enumerate(levels)}


def _add_instances(
    facts: SampleFacts, plan: Plan, pair: Pair, target: AnyArray, valid: BoolArray
) -> None:
    """The numbered objects of each class."""
    numbers: Any = target.astype(np.int64)
    if plan.target.ignore:
        valid = valid & ~plan.target.ignored(target)
    numbers = np.where(valid, numbers, 0)
    facts.valid = int(np.count_nonzero(valid))
    ids, dense = np.unique(numbers, return_inverse=True)
    dense = dense.reshape(numbers.shape)
    listed, coded = pair.segments.get("target", {}), dict(plan.target.values)
    for index, members in _by_class(plan, ids, listed, coded).items():
        order = np.zeros(len(ids), np.int64)
        order[members] = np.arange(1, len(members) + 1)
        of_class = order[dense]
        facts.pixels[index] = float(np.count_nonzero(of_class))
        box = bounding_box(of_class > 0)
        facts.shapes[index] = measure_objects(of_class[box], box, of_class.shape, with_gaps=True)


def _by_class(
    plan: Plan,
    ids: IntArray,
    listed: Mapping[int, tuple[int, bool]],
    coded: Mapping[int, int],
) -> dict[int, list[int]]:
    """The positions of the instances of each class; 0 is no instance, nor is a crowd."""
    by_class = dict[int, list[int]]()
    for position, number in enumerate(ids.tolist()):
        if listed:
            index, crowd = listed.get(number, (-1, True))
            if crowd:
                continue
        elif plan.divisor:
            index = coded.get(number if number < plan.divisor else number // plan.divisor, -1)
        else:
            index = 0 if number else -1
        if index >= 0:
            by_class.setdefault(index, []).append(position)
    return by_class
