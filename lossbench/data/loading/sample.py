"""One pair as numbers: counts of distinct value pairs where counts are exact, or else pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lossbench.data.counting.instance_overlap import InstanceOverlap, count_segments
from lossbench.data.counting.joint_histogram import CountTable, differences, joint
from lossbench.data.counting.sparse_histogram import Cells, occurring
from lossbench.data.formats.boxes import Boxes, Detections
from lossbench.data.formats.stored_array import StoredArray
from lossbench.data.formats.voxel_grid import VoxelGrid
from lossbench.data.loading.detections import read_detections
from lossbench.data.loading.glance import Glance, glance, glance_at_boxes, glance_at_vectors
from lossbench.data.loading.records import RECORD_TASKS, Record, read_tensors
from lossbench.data.loading.truth import (
    checksum,
    checksum_of_tensors,
    checksums_of_boxes,
    class_counts,
    counts_of_pixels,
    counts_of_table,
    hash_truth,
)
from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.mask_values import counting
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.locations import Source, is_lost, label
from lossbench.data.sources.read import NO_MEMORY, read
from lossbench.errors import InputError, LossbenchError, PairError, mismatch, printable, sized
from lossbench.runtime.array_types import AnyArray

FEW_ROWS = 2  # by which a network changes the size of a picture


class Note(NamedTuple):
    """What a file says of itself, and its name."""

    file: str
    text: str


class LoadedFile(NamedTuple):
    """What a file says beside its numbers."""

    grid: VoxelGrid | None
    colour: bool
    turned: bool  # by its EXIF orientation
    notes: tuple[Note, ...] = ()


SUM_TOLERANCE = 1e-2  # how far probabilities of several classes sum to another number than 1


class Other(NamedTuple):
    """An input that a loss asks for by name, read as the side that it resembles."""

    stored: AnyArray  # (C, N)
    space: tuple[int, ...]  # its own on image tasks, elsewhere that of the ground truth


@dataclass(frozen=True)
class Pixels:
    """The pixels themselves: (C, N) numbers, and class indices (1 or C, N) of a hard input."""

    pred: AnyArray
    target: AnyArray
    weight: AnyArray  # (C or 1, N), 0 where ignored
    space: tuple[int, ...]  # height and width, or the axes of a volume
    positive: AnyArray | None = None  # (C or 1, N) role `pos_weight`
    spacing: tuple[float, ...] | None = None  # of the target along each axis of `space`, in mm
    instances: AnyArray | None = None  # (C or 1, N) role `instances`, whole numbers
    others: Mapping[str, Other] = field(default_factory=dict)  # by role, inputs that losses name
    # By role, of probabilities of several classes: the sum of a pixel that is farthest from 1,
    # where rounding does not explain it.
    sums: Mapping[str, float] = field(default_factory=dict)

    def side(self, role: str) -> Other:
        """One input with its axes."""
        if role in ("pred", "target"):
            return Other(getattr(self, role), self.space)
        return self.others[role]


@dataclass(frozen=True)
class Sample:
    """A pair as the plan reads it: a table of counts, its pixels, or both.

    Tables are (C, 2, levels) target by prediction for binary and multilabel tasks, (K, K) target by
    prediction for label maps, and (channels, 511) for the differences −255 … 255 of images; a
    larger table has only the cells that occur.
    """

    size: int  # pixels, ignored ones included
    table: CountTable | Cells | None
    pixels: Pixels | InstanceOverlap | Record | Detections | None
    truth: int  # the hash of the pair's id and ground truth
    glance: Glance | None = None  # of a pair that doubts are judged from
    notes: tuple[Note, ...] = ()  # what its files say of themselves


def make_samples(plan: Plan, pairs: Iterable[Pair]) -> list[Sample | PairError]:
    """Decode pairs and compare them with the plan."""
    if plan.task != "detection":
        return [make_sample(plan, pair) for pair in pairs]
    samples, read = list[Sample | PairError](), list[tuple[int, Pair, Boxes]]()
    for index, pair in enumerate(pairs):
        samples.append(sample := make_sample(plan, pair))
        if isinstance(sample, Sample) and isinstance(sample.pixels, Detections):
            read.append((index, pair, sample.pixels.target))
    contents = checksums_of_boxes([boxes for *_, boxes in read])
    for (index, pair, boxes), content in zip(read, contents, strict=True):
        truth = hash_truth(pair, (len(boxes), 4), content)
        samples[index] = replace(cast(Sample, samples[index]), truth=truth)
    return samples


def make_sample(plan: Plan, pair: Pair) -> Sample | PairError:
    """Decode a pair and compare it with the plan."""
    is_sampled = pair.id in plan.sampled
    try:
        if plan.task in RECORD_TASKS:
            record = read_tensors(plan, pair)
            seen = is_sampled and plan.task == "vectors"
            sides = [record.roles[role][""] for role in ("pred", "target") if seen]
            truth = hash_truth(pair, (), checksum_of_tensors(record.roles["target"]))
            return Sample(1, None, record, truth, glance_at_vectors(*sides) if seen else None)
        if plan.task == "detection":
            boxes = read_detections(plan, pair)
            seen_boxes = glance_at_boxes(*boxes.sides) if is_sampled else None
            return Sample(1, None, boxes, 0, seen_boxes)  # `make_samples` adds the truth
        loaded, facts = dict[str, AnyArray](), dict[str, LoadedFile]()
        for role in pair.sources:
            loaded[role], facts[role] = load_role(plan, role, pair)
        spacing = _spacing(plan, facts, pair)
        _check_colours(plan, loaded, facts)
        _fit(plan, loaded, facts, pair)
        target = loaded["target"]
        if plan.task == "instances":
            shared = count_segments(plan, loaded, pair.segments, ignored_pixels(plan, loaded))
            plain = is_sampled and not (plan.divisor or pair.segments)
            seen_maps = _glance(plan, pair, loaded) if plain else None
            truth = hash_truth(pair, target.shape, checksum(target))
            return Sample(target.size, None, shared, truth, seen_maps)
        table = _count(plan, loaded) if plan.counted else None
        pixels = _pixels(plan, loaded, spacing) if plan.pixels else None
        return Sample(
            int(target[0].size if plan.target.stacked else target.size),
            table,
            pixels,
            hash_truth(pair, target.shape, _content(plan, target, table, pixels)),
            _glance(plan, pair, loaded) if is_sampled else None,
            tuple(note for each in facts.values() for note in each.notes),
        )
    except InputError as error:
        role = error.role or "pred"
        error.located(role, label(pair.sources[role][0]))
        lost = list(filter(is_lost, pair.sources["target"]))
        if error.kind == "missing" and lost:  # no setting allows for a missing ground truth
            error.role, error.file = "target", label(lost[0])
        return PairError.of(error, pair.id)
    except LossbenchError:
        raise
    except Exception as error:  # other pairs can be read
        return _unexpected(error, pair)


def _unexpected(error: Exception, pair: Pair) -> PairError:
    """The error of a pair whose reading ended with an exception that nobody foresaw."""
    fault = "this is a fault of lossbench; please report it"
    advice = NO_MEMORY if isinstance(error, MemoryError) else fault
    cause = f"{type(error).__name__}: {error}".removesuffix(": ")
    message = printable(f"pair {pair.id} could not be read ({cause}): {advice}")
    return PairError(pair.id, "pred", label(pair.sources["pred"][0]), "unreadable", message)


def load_role(
    plan: Plan, role: str, pair: Pair, read: Callable[[Source], StoredArray] = read
) -> tuple[AnyArray, LoadedFile]:
    """The stored numbers of one role, classes or channels first, and facts of its file.

    Files of several classes share one grid.
    """
    reading = plan.reading(role)
    planes, grid, notes = list[AnyArray](), None, list[Note]()
    for source in pair.sources[role]:
        try:
            picture = read(source)
            if not reading and (picture.colour or picture.mode == "LA"):
                numbers = f"where role {role} has one number a pixel; save it in grey"
                raise mismatch(f"is a colour picture ({picture.mode}) {numbers}")
            planes.append(reading.plane(picture) if reading else picture.array)
            if reading:
                own = reading.notes_of(picture.notes, picture.colour_notes)
                texts = filter(None, (*own, reading.odd_palette(picture)))
                notes += [Note(label(source) or "", text) for text in texts]
            if planes[-1].size == 0:
                raise mismatch("holds no pixel")
            if planes[-1].shape != planes[0].shape:
                first = label(pair.sources[role][0]) or "another class"
                raise InputError(
                    f"is {_size(planes[-1])} where {first} is {_size(planes[0])}; save the classes"
                    " of a sample in one size",
                    kind="size",
                )
            _check_grid(plan, picture.grid, grid, "its other classes")
            grid = picture.grid
        except InputError as error:
            raise error.located(role, label(source)) from None
    flat = planes[0].ndim == (picture.places or plan.target.places)
    one_a_file = reading and reading.has_planes and plan.task != "image" and flat
    array = np.stack(planes) if len(planes) > 1 or one_a_file else planes[0]
    in_colour = picture.colour or bool(reading and reading.holds_channels(picture))
    array = reading.merged(array) if reading else array
    return array, LoadedFile(grid, in_colour, picture.turned, tuple(notes))


def _spacing(plan: Plan, facts: Mapping[str, LoadedFile], pair: Pair) -> tuple[float, ...] | None:
    """The spacing of the ground truth, whose grid all inputs with a grid have to share."""
    target = facts["target"].grid
    name = label(pair.sources["target"][0]) or "its ground truth"
    for role, each in facts.items():
        _check_grid(plan, each.grid, target, name, role)
    spacing = target.spacing if target else None
    if bool(spacing) != bool(plan.spacing):
        own, others = ("a", "others have none") if spacing else ("no", "others have one in mm")
        raise mismatch(f"has {own} voxel spacing where {others}; evaluate them apart", "target")
    return spacing


def _check_colours(
    plan: Plan, loaded: Mapping[str, AnyArray], facts: Mapping[str, LoadedFile]
) -> None:
    """Refuse a grey and a colour picture as one pair, unless the channels of both are equal."""
    if plan.task != "image" or facts["pred"].colour == facts["target"].colour:
        return
    role, pixels = next((role, loaded[role]) for role in ("pred", "target") if facts[role].colour)
    if any((pixels[0] != channel).any() for channel in pixels[1:]):
        kinds = ("in colour", "grey") if role == "pred" else ("grey", "in colour")
        advice = "convert one of them, as with Image.convert('L') or Image.convert('RGB')"
        raise mismatch(f"is {kinds[0]} where its ground truth is {kinds[1]}; {advice}", "pred")


def _check_grid(
    plan: Plan,
    grid: VoxelGrid | None,
    other: VoxelGrid | None,
    name: str,
    role: str | None = None,
) -> None:
    """Refuse a grid unlike that of another file, unless the run ignores grids."""
    if plan.grid == "check" and grid and other and (unlike := grid.unlike(other, name)):
        raise mismatch(unlike, role)


def _fit(
    plan: Plan, loaded: dict[str, AnyArray], facts: Mapping[str, LoadedFile], pair: Pair
) -> None:
    """Bring every role to the ground truth's size, or refuse."""
    target = loaded["target"]
    space = _space(plan.target, target)
    any_size = {
        each.role for each in plan.roles if plan.task == "image" or each.encoding == "scores"
    }
    roles = [role for role in loaded if role not in any_size]
    for role in roles:
        array, reading = loaded[role], plan.reading(role)
        alone = array.ndim == len(space) + 1 and len(array) == 1
        if alone and role != "target" and not (reading and reading.stacked):
            loaded[role] = array = array[0]  # an axis of classes or channels, of which there is one
        stacked = reading.stacked if reading else array.ndim > len(space)
        if role == "target" or array.shape[int(stacked) :] == space:
            continue
        turned = array.shape[int(stacked) :] == space[::-1]
        if role == "pred" and plan.resize and array.ndim == len(space) + stacked and not turned:
            loaded[role] = _resized(array, space, plan.resize, stacked)
            continue
        several = stacked and array.ndim > len(space)
        size, expected = _size(array, several), _size(target, plan.target.stacked)
        if size == expected:  # the difference is in other axes
            size, expected = str(array.shape), str(target.shape)
        file = label(pair.sources["target"][0]) or "its ground truth"
        by_exif = {each for each in facts if facts[each].turned}
        advice = _size_advice(role, array.shape[several:], space, file, by_exif)
        raise InputError(f"is {size} where {file} is {expected}{advice}", kind="size", role=role)
    for role in roles:
        if loaded[role].ndim <= len(space):
            continue
        count, one_mask = len(loaded[role]), role in plan.masks and plan.task != "multilabel"
        if count != plan.channels or one_mask:
            what = "channels" if plan.task == "image" else "classes"
            advice = "" if what == "channels" else "; if all axes are spatial, give --task binary"
            if count == 1 < plan.channels and what == "classes" and not one_mask:
                raise mismatch(
                    f"has one number a pixel where the plan reads {plan.channels} classes; save it"
                    " with an axis of classes, as the other files are",
                    role,
                )
            raise mismatch(f"has {count} {what} where the plan reads {plan.channels}{advice}", role)


def _size_advice(
    role: str, shape: tuple[int, ...], space: tuple[int, ...], file: str, turned: Set[str]
) -> str:
    """The way out for an input of another size than its ground truth's `space`."""
    if len(shape) != len(space):
        return f"; it has {len(shape)} axes, where one number a pixel is read: save it like others"
    only = turned & {role, "target"}
    if len(only) == 1 and _nearly(shape[::-1], space):
        upright, other = (file, "this file") if only == {"target"} else ("this file", file)
        return f"; the EXIF orientation of {upright} was applied, {other} looks unturned: rotate it"
    if shape == space[::-1]:
        return "; it looks transposed: swap its axes, or turn the picture"
    if len(space) > 2:
        return "; resample it"
    if role != "pred":
        return ""
    if _nearly(shape, space):
        return "; crop or pad it as its model did, or --resize nearest|bilinear stretches it"
    return "; --resize nearest|bilinear fits it"


def _nearly(shape: tuple[int, ...], space: tuple[int, ...]) -> bool:
    """Whether two pictures differ by a row or two, as rounding in a network leaves them."""
    return len(shape) == len(space) and all(
        abs(a - b) <= FEW_ROWS for a, b in zip(shape, space, strict=True)
    )


def _resized(array: AnyArray, space: tuple[int, ...], method: str, stacked: bool) -> AnyArray:
    if len(space) != 2:
        raise InputError(
            f"is {_size(array, stacked)} where its ground truth is {sized(space)}; --resize fits"
            " pictures only, resample it beforehand",
            kind="size",
            role="pred",
        )
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    elif array.dtype not in (np.uint8, np.bool_):
        array = array.astype(np.int32)
    planes = array if stacked else array[None]
    resampling = Image.Resampling[method.upper()]
    fitted = [np.asarray(Image.fromarray(p).resize(space[::-1], resampling)) for p in planes]
    return np.stack(fitted) if stacked else fitted[0]


def _size(array: AnyArray, stacked: bool = False) -> str:
    """The size without the axis of classes or channels, where there is one."""
    return sized(array.shape[1:] if stacked else array.shape)


def ignored_pixels(plan: Plan, loaded: dict[str, AnyArray]) -> AnyArray | None:
    """Where a mask folder, or a grey level of an image, takes pixels out."""
    counts = {role: counting(loaded[role], role, plan.mask_values) for role in plan.masks}
    masks: list[Any] = [
        each if role == "ignore" else np.logical_not(each) for role, each in counts.items()
    ]
    if plan.task == "image" and plan.target.ignore:
        masks.append(plan.target.ignored(loaded["target"]).any(0))
    return reduce(np.logical_or, masks) if masks else None


def _count(plan: Plan, loaded: dict[str, AnyArray]) -> CountTable | Cells:
    ignored = ignored_pixels(plan, loaded)
    pred, target = loaded["pred"], loaded["target"]
    if plan.task == "image" and not plan.sparse:
        return differences(pred, target, ignored)
    planes = [(pred, target, ignored)]
    if plan.task in ("multilabel", "image"):
        out = [None] * len(target) if ignored is None else np.broadcast_to(ignored, target.shape)
        planes = list(zip(pred, target, out, strict=True))
    if plan.sparse:
        return occurring(plan, planes)
    tables = [joint(plan, *each) for each in planes]
    return tables[0] if plan.task == "multiclass" else np.array(tables)


def _glance(plan: Plan, pair: Pair, loaded: dict[str, AnyArray]) -> Glance:
    return glance(plan, pair.id, loaded["pred"], loaded["target"], ignored_pixels(plan, loaded))


def _content(
    plan: Plan, target: AnyArray, table: CountTable | Cells | None, pixels: Pixels | None
) -> bytes:
    """The content of the ground truth: counts of its classes, or else a checksum."""
    if not plan.target.is_hard:  # channels lie last in the memory of most pictures
        return checksum(np.moveaxis(target, 0, -1) if plan.target.stacked else target)
    if table is not None:
        return class_counts(counts_of_table(plan, table))
    kept = cast(Pixels, pixels)
    return class_counts(counts_of_pixels(plan.target.classes, kept.target, kept.weight))


def _pixels(plan: Plan, loaded: dict[str, AnyArray], spacing: tuple[float, ...] | None) -> Pixels:
    """Pixels in rows; pixels without weight are overwritten first, whatever they hold."""
    target = _rows(loaded["target"], plan.target)
    count = target.shape[1]
    maps = {role: _weights(role, loaded[role].reshape(-1, count)) for role in plan.maps}
    weight = maps.get("weight", np.broadcast_to(1.0, (1, count)))
    ignored = ignored_pixels(plan, loaded)
    if ignored is not None:
        weight = _put(weight, ignored.reshape(-1, count), 0)
    if plan.target.is_hard:
        void = plan.target.classes
        codes = _overwritten(plan.target.coded(target), weight, void)
        if (codes > void).any():
            raise plan.target.refuse(target, codes)
        weight = _put(weight, codes == void, 0)
        target = _put(codes, codes == void, 0)
    else:
        if plan.target.ignore:
            weight = _put(weight, plan.target.ignored(target), 0)
        target = plan.target.numbers(_overwritten(target, weight))
    pred, space = _values(plan.pred, loaded["pred"], weight), _space(plan.target, loaded["target"])
    positive, instances = maps.get("pos_weight"), maps.get("instances")
    others = {
        each.role: Other(_values(each, stored, weight), _space(each, stored))
        for each in plan.roles
        for stored in (loaded[each.role],)
    }
    sums = dict[str, float]()
    if plan.task == "multiclass":
        readings = [each for each in (plan.pred, *plan.roles) if each.definition.is_probability]
        for each in readings:
            rows = _rows(loaded[each.role], each)
            if (far := farthest_sum(rows, weight, each.scale)) is not None:
                sums[each.role] = far
    return Pixels(pred, target, weight, space, positive, spacing, instances, others, sums)


def farthest_sum(rows: AnyArray, weight: AnyArray, scale: float) -> float | None:
    """The sum of a pixel that is farthest from 1; None where rounding explains every sum.

    Args:
        rows: (C, N) stored probabilities of the classes.
        weight: (C or 1, N), 0 where a pixel does not count.
        scale: the stored number that means 1; 1 of floats, which are not rounded.
    """
    if rows.shape[1] != weight.shape[1]:
        return None
    sums = np.where((weight > 0).any(0), rows.sum(0, dtype=np.float64) / scale, 1.0)
    far = sums[np.abs(sums - 1).argmax()] if sums.size else 1.0
    rounding = len(rows) / (2 * scale) if scale != 1 else 0.0
    return float(far) if abs(far - 1) > SUM_TOLERANCE + rounding else None


def _values(reading: InputEncoding, stored: AnyArray, weight: AnyArray) -> AnyArray:
    """The classes or numbers of an input; pixels without weight are overwritten."""
    rows = _rows(stored, reading)
    if not reading.is_hard:
        return reading.numbers(_overwritten(rows, weight))
    codes = _overwritten(reading.coded(rows), weight)
    if (codes >= reading.classes).any():
        raise reading.refuse(rows, codes)
    return codes


def _space(reading: InputEncoding, stored: AnyArray) -> tuple[int, ...]:
    """The axes of pixels."""
    return stored.shape[1:] if reading.stacked else stored.shape


def _rows(array: AnyArray, reading: InputEncoding) -> AnyArray:
    """(C, N): classes or channels first, pixels in one row; contiguous while they are bytes."""
    return np.ascontiguousarray(array.reshape(len(array) if reading.stacked else 1, -1))


def _overwritten(rows: AnyArray, weight: AnyArray, number: int = 0) -> AnyArray:
    """Overwrite the pixels without weight; an input of another size stays as it is."""
    if rows.shape[1] != weight.shape[1]:
        return rows
    ignored: AnyArray = weight == 0
    if len(ignored) not in (1, len(rows)):
        ignored = np.all(ignored, 0)[None]
    return _put(rows, ignored, number)


def _put(rows: AnyArray, where: AnyArray, number: int) -> AnyArray:
    """Set some pixels to a number; without such pixels, return the same array."""
    return np.where(where, rows.dtype.type(number), rows) if where.any() else rows


def _weights(role: str, stored: AnyArray) -> NDArray[np.float64]:
    weight = stored.astype(np.float64)
    if not np.isfinite(weight).all() or weight.min() < 0:
        what = "instances" if role == "instances" else "weights"
        raise mismatch(f"holds {what} that are negative or not finite", role)
    if role == "instances" and (weight % 1).any():
        raise mismatch("holds instances that are no whole numbers", role)
    return weight
