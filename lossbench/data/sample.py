"""One pair into numbers: counts of distinct value pairs where that is exact, pixels elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lossbench.data.decode import Array, Picture, read
from lossbench.data.pairing import Pair, label
from lossbench.data.plan import MAPS, Plan
from lossbench.data.reading import Reading
from lossbench.errors import InputError

FILTERS = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR}


Table = NDArray[np.int64]


@dataclass(frozen=True)
class Pixels:
    """The pixels themselves: (C, N) numbers, and class indices (1 or C, N) of a hard input."""

    pred: Array
    target: Array
    weight: Array  # (C or 1, N), 0 where ignored
    space: tuple[int, ...]  # their places: height and width
    positive: Array | None = None  # (C or 1, N) role `pos_weight`
    instances: Array | None = None  # (C or 1, N) role `instances`, whole numbers


@dataclass(frozen=True)
class Sample:
    """A pair as the plan wants it: a table of counts, its pixels, or both.

    Tables are (C, 2, levels) target by prediction for binary and multilabel tasks, (K, K) target by
    prediction for label maps, and (channels, 511) for the differences −255 … 255 of images.
    """

    size: int  # pixels, ignored ones included
    table: Table | None
    pixels: Pixels | None


@dataclass(frozen=True)
class Failure:
    """A pair that could not be evaluated."""

    role: str | None
    file: str | None
    kind: str
    message: str
    loss: str | None = None  # the loss that has no value of it


def make_sample(plan: Plan, pair: Pair) -> Sample | Failure:
    """Decode a pair and hold it against the plan."""
    try:
        loaded = {role: _load(plan, role, pair) for role in pair.sources}
        _fit(plan, loaded, pair)
        target = loaded["target"]
        return Sample(
            int(target[0].size if plan.target.stacked else target.size),
            _count(plan, loaded) if plan.counted else None,
            _pixels(plan, loaded) if plan.pixels else None,
        )
    except InputError as error:
        role = error.role or "pred"
        error.located(role, label(pair.sources[role][0]))
        return Failure(role, error.file, error.kind, str(error))


def _load(plan: Plan, role: str, pair: Pair) -> Array:
    """The stored numbers of one role, classes or channels first where it is stacked."""
    reading = {"pred": plan.pred, "target": plan.target}.get(role)
    planes: list[Array] = []
    for source in pair.sources[role]:
        try:
            picture = read(source)
            planes.append(reading.plane(picture) if reading else _single(picture, role))
            if planes[-1].size == 0:
                raise InputError("holds no pixel", kind="mismatch")
            if planes[-1].shape != planes[0].shape:
                others = _size(planes[0])
                raise InputError(f"is {_size(planes[-1])}, other classes are {others}", kind="size")
        except InputError as error:
            raise error.located(role, label(source)) from None
    one_a_file = reading and reading.stacked and plan.task != "image" and picture.mode != "array"
    return np.stack(planes) if len(planes) > 1 or one_a_file else planes[0]


def _single(picture: Picture, role: str) -> Array:
    """A mask or weight map: one number a pixel."""
    if picture.colour or picture.mode == "LA":
        raise InputError(
            f"is a colour picture ({picture.mode}) where role {role} has one number a pixel",
            kind="mismatch",
            role=role,
        )
    return picture.array


def _fit(plan: Plan, loaded: dict[str, Array], pair: Pair) -> None:
    """Bring every role to the ground truth's size, or refuse."""
    target = loaded["target"]
    space = target.shape[1:] if plan.target.stacked else target.shape
    for role, array in loaded.items():
        if role == "pred" and not plan.pred.stacked and array.shape == (1, *space):
            loaded[role] = array = array[0]
        stacked = plan.pred.stacked if role == "pred" else array.ndim > len(space)
        if role == "target" or array.shape[int(stacked) :] == space:
            continue
        if role == "pred" and plan.resize and array.ndim == len(space) + stacked:
            loaded[role] = _resized(array, space, plan.resize, stacked)
            continue
        here, there = _size(array, stacked), _size(target, plan.target.stacked)
        if here == there:  # the difference is in other axes
            here, there = str(array.shape), str(target.shape)
        file = label(pair.sources["target"][0]) or "its ground truth"
        advice = "; --resize nearest|bilinear fits it" if role == "pred" else ""
        raise InputError(f"is {here} where {file} is {there}{advice}", kind="size", role=role)
    for role, array in loaded.items():
        several = array.ndim > len(space) and (role not in MAPS or len(array) > 1)
        if several and (
            len(array) != plan.channels or (role in plan.masks and plan.task != "multilabel")
        ):
            what = "channels" if plan.task == "image" else "classes"
            raise InputError(
                f"has {len(array)} {what} where the plan reads {plan.channels}",
                kind="mismatch",
                role=role,
            )


def _resized(array: Array, space: tuple[int, ...], method: str, stacked: bool) -> Array:
    if len(space) < 2:
        raise InputError("cannot be resized, it is no picture", kind="size", role="pred")
    size = (space[1], space[0])
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    elif array.dtype not in (np.uint8, np.bool_):
        array = array.astype(np.int32)
    planes = array if stacked else array[None]
    fitted = [np.asarray(Image.fromarray(p).resize(size, FILTERS[method])) for p in planes]
    return np.stack(fitted) if stacked else fitted[0]


def _size(array: Array, stacked: bool = False) -> str:
    """Width × height, as image viewers print it; other arrays by their shape."""
    space = array.shape[1:] if stacked else array.shape
    return f"{space[1]}×{space[0]}" if len(space) == 2 else str(space)


def _ignored(plan: Plan, loaded: dict[str, Array]) -> Array | None:
    """Where a mask folder, or a grey level of an image, takes pixels out."""
    masks = [loaded[role] != 0 if role == "ignore" else loaded[role] == 0 for role in plan.masks]
    if plan.task == "image" and plan.target.ignore:
        masks.append(plan.target.ignored(loaded["target"]).any(0))
    return np.logical_or.reduce(masks) if masks else None


def _count(plan: Plan, loaded: dict[str, Array]) -> Table:
    ignored = _ignored(plan, loaded)
    pred, target = loaded["pred"], loaded["target"]
    if plan.task == "image":
        return _differences(pred, target, ignored)
    if plan.task != "multilabel":
        return _joint(plan, pred, target, ignored)
    each = np.broadcast_to(ignored, target.shape) if ignored is not None else [None] * len(target)
    tables = [_joint(plan, *planes)[0] for planes in zip(pred, target, each, strict=True)]
    return np.stack(tables)


def _joint(plan: Plan, pred: Array, target: Array, ignored: Array | None) -> Table:
    """How often each prediction meets each target class, of valid pixels.

    Values without a meaning get a row or column of their own, so that holding a file against the
    plan costs a look at the table and not at the pixels.
    """
    rows, columns = plan.target.classes, plan.pred.levels
    width = columns + 2 if plan.pred.hard else columns
    kind = np.uint16 if (rows + 2) * width <= 1 << 16 else np.uint32
    true = plan.target.coded(target)
    if ignored is not None:
        true[ignored] = rows
    found = plan.pred.coded(pred) if plan.pred.hard else pred
    index = np.multiply(true, width, dtype=kind) + found
    table = np.bincount(index.ravel(), minlength=(rows + 2) * width).reshape(-1, width)
    if table[rows + 1].any():
        raise plan.target.refuse(target, true)
    if plan.pred.hard and table[:rows, columns:].any():
        raise plan.pred.refuse(pred, np.where(true < rows, found, 0))
    table = table[:rows, :columns]
    return table if plan.task == "multiclass" else table[None]


def _differences(pred: Array, target: Array, ignored: Array | None) -> Table:
    """How often each difference of two 8-bit images occurs in each channel."""
    difference = np.subtract(pred, target, dtype=np.int16)
    difference += 255
    tables = [
        np.bincount((channel if ignored is None else channel[~ignored]).ravel(), minlength=511)
        for channel in difference
    ]
    return np.stack(tables)


def _pixels(plan: Plan, loaded: dict[str, Array]) -> Pixels:
    """Pixels in rows; what weighs nothing is overwritten first, whatever it was."""
    pred, target = _rows(loaded["pred"], plan.pred), _rows(loaded["target"], plan.target)
    count = target.shape[1]
    maps = {role: _weights(role, loaded[role].reshape(-1, count)) for role in plan.maps}
    weight = maps.get("weight", np.ones((1, count)))
    ignored = _ignored(plan, loaded)
    if ignored is not None:
        weight = np.where(ignored.reshape(-1, count), 0.0, weight)
    if plan.target.hard:
        codes = plan.target.coded(target)
        codes = np.where(_seen(weight, codes), codes, plan.target.classes)
        if (codes > plan.target.classes).any():
            raise plan.target.refuse(target, codes)
        weight = np.where(codes == plan.target.classes, 0.0, weight)
        target = np.where(codes == plan.target.classes, 0, codes)
    else:
        if plan.target.ignore:
            weight = np.where(plan.target.ignored(target), 0.0, weight)
        target = plan.target.numbers(_overwritten(target, weight))
    if plan.pred.hard:
        codes = _overwritten(plan.pred.coded(pred), weight)
        if (codes >= plan.pred.classes).any():
            raise plan.pred.refuse(pred, codes)
        pred = codes
    else:
        pred = plan.pred.numbers(_overwritten(pred, weight))
    space = loaded["target"].shape[1:] if plan.target.stacked else loaded["target"].shape
    return Pixels(pred, target, weight, space, maps.get("pos_weight"), maps.get("instances"))


def _rows(array: Array, reading: Reading) -> Array:
    """(C, N): classes or channels first, pixels in one row."""
    return array.reshape(len(array) if reading.stacked else 1, -1)


def _overwritten(rows: Array, weight: Array) -> Array:
    """0 where nothing weighs."""
    seen = _seen(weight, rows)
    return rows if seen.all() else np.where(seen, rows, rows.dtype.type(0))


def _seen(weight: Array, rows: Array) -> Array:
    """Where something weighs, in the shape of rows or broadcast to it."""
    seen: Array = weight > 0
    return seen if len(seen) in (1, len(rows)) else np.any(seen, 0)[None]


def _weights(role: str, stored: Array) -> NDArray[np.float64]:
    weight = stored.astype(np.float64)
    if not np.isfinite(weight).all() or weight.min() < 0:
        what = "instances" if role == "instances" else "weights"
        raise InputError(
            f"holds {what} that are negative or not finite", kind="mismatch", role=role
        )
    if role == "instances" and (weight % 1).any():
        raise InputError("holds instances that are no whole numbers", kind="mismatch", role=role)
    return weight
