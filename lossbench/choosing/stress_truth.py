"""A ground truth that is damaged: read by the plan, brought to one form, and evaluated in it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from lossbench.choosing.stress_masks import (
    MASK_DAMAGES,
    LabelMap,
    MaskDamage,
    blur_planes,
    fill_ignored,
)
from lossbench.choosing.stress_pictures import PICTURE_DAMAGES, Picture, PictureDamage
from lossbench.data.formats.stored_array import StoredArray
from lossbench.data.formats.voxel_grid import VoxelGrid
from lossbench.data.loading.sample import ignored_pixels, load_role
from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.locations import label
from lossbench.errors import InputError, SettingError
from lossbench.runtime.array_types import AnyArray, BoolArray, FloatArray, IntArray

SEED = 0
FULL = 255  # the stored level of probability 1
HALF = 0.5
TASKS = ("binary", "multiclass", "multilabel", "instances", "image")
MOST_NUMBERS = 1 << 26  # classes times pixels up to which edges of a label map are blurred
DISTANCES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # pixels from an edge that bands end at
NEARLY_ONE = 1.25  # up to which floats of a picture have the range 0 … 1


@dataclass(frozen=True)
class Truth:
    """The ground truth of one image.

    Attributes:
        id: of the image.
        maps: label maps: one, or one a class on multilabel tasks; none of a picture.
        levels: of a graded truth the levels (P, …) from 0 to 1.
        valid: where pixels count; None where all do.
        grid: of voxels.
        picture: of the task image.
    """

    id: str
    maps: tuple[LabelMap, ...] = ()
    levels: FloatArray | None = None
    valid: BoolArray | None = None
    grid: VoxelGrid | None = None
    picture: Picture | None = None

    @cached_property
    def bands(self) -> list[AnyArray]:
        """For each map, the band of every pixel by its distance from the nearest edge."""
        return [_bands(each.labels != each.background) for each in self.maps]


def _bands(foreground: BoolArray) -> AnyArray:
    from scipy import ndimage

    distances = np.full(foreground.shape, float(max(foreground.shape)))
    if foreground.any() and not foreground.all():
        distances = ndimage.distance_transform_edt(foreground)
        distances += ndimage.distance_transform_edt(~foreground)
    return np.searchsorted(DISTANCES, distances).astype(np.uint8)


def check_task(plan: Plan, pairs: list[Pair]) -> None:
    """Refuse a task without masks and pictures."""
    if plan.task not in TASKS:
        raise SettingError(
            f"lossbench stress damages masks, label maps, instances and pictures; the files are of"
            f" the task {plan.task}. If they are masks, give --task binary"
        )
    if any(pair.segments for pair in pairs):
        raise SettingError(
            "lossbench stress damages maps in folders, not panoptic JSON: give the folder of its"
            " PNGs with --task instances"
        )


def read_truth(plan: Plan, pair: Pair, background: int = 0) -> Truth:
    """Read one ground truth as the plan has it.

    Raises:
        InputError: a file cannot be read, or does not fit the plan.
    """
    loaded, grid = dict[str, AnyArray](), None
    for role in ("target", *plan.masks):
        loaded[role], file = load_role(plan, role, pair)
        grid = file.grid if role == "target" else grid
    try:
        valid = _given_valid(plan, loaded)
        if plan.task == "image":
            if plan.target.ignore:
                kept: BoolArray = ~np.any(plan.target.ignored(loaded["target"]), axis=0)
                valid = kept if valid is None else valid & kept
            picture = _picture(plan.target, loaded["target"])
            return Truth(pair.id, valid=valid, grid=grid, picture=picture)
        labels, levels, own = canonical(plan, plan.target, loaded["target"])
    except InputError as error:
        raise error.located("target", label(pair.sources["target"][0])) from None
    valid = own if valid is None else valid & own
    classes = range(len(plan.names)) if plan.task == "multiclass" else range(2)
    maps = [
        LabelMap.of(
            each if plan.task == "instances" else fill_ignored(each, valid),
            classes,
            background,
            has_instances=plan.task == "instances",
            divisor=plan.divisor,
        )
        for each in labels
    ]
    return Truth(pair.id, tuple(maps), levels, None if valid.all() else valid, grid)


def _given_valid(plan: Plan, loaded: dict[str, AnyArray]) -> BoolArray | None:
    """Where the masks of the run let pixels count."""
    if not plan.masks:
        return None
    out = ignored_pixels(plan, loaded)
    space = loaded["target"].shape[int(plan.target.stacked or plan.task == "image") :]
    return None if out is None else ~np.broadcast_to(np.squeeze(out), space)


def _picture(reading: InputEncoding, stored: AnyArray) -> Picture:
    if stored.dtype.kind in "iu":
        return Picture(stored, 0.0, reading.scale if reading.scale > 1 else float(stored.max()))
    numbers = stored[np.isfinite(stored)]
    low, high = float(numbers.min()), float(numbers.max())
    return Picture(stored, min(low, 0.0), 1.0 if high <= NEARLY_ONE else high)


def canonical(
    plan: Plan, reading: InputEncoding, stored: AnyArray
) -> tuple[list[IntArray], FloatArray | None, BoolArray]:
    """Label maps, levels (P, …) of graded numbers, and where pixels count, of one side."""
    stacked = reading.stacked
    if plan.task == "instances":
        return _instances(plan, reading, stored)
    if reading.is_hard:
        codes = reading.coded(stored)
        void = reading.classes
        if (codes > void).any():
            raise reading.refuse(stored, codes)
        planes = codes if stacked else codes[None]
        labels = [np.where(plane == void, 0, plane).astype(np.int64) for plane in planes]
        return labels, None, (planes != void).all(0)
    planes = stored if stacked else stored[None]
    ignored: BoolArray = np.zeros(planes.shape[1:], bool)
    if reading.ignore:
        ignored |= reading.ignored(planes).any(0)
    kept = np.where(ignored, planes.dtype.type(0), planes)
    levels = reading.numbers(kept).astype(np.float64)
    if reading.is_logits:
        levels = _probabilities(levels, plan.task)
    if plan.task == "multiclass":
        return [levels.argmax(0).astype(np.int64)], levels, ~ignored
    return [(plane >= HALF).astype(np.int64) for plane in levels], levels, ~ignored


def _probabilities(logits: FloatArray, task: str) -> FloatArray:
    """The probabilities of logits, exact for large ones."""
    if task == "multiclass":
        powers = np.exp(logits - logits.max(0))
        return np.asarray(powers / powers.sum(0))
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)))


def _instances(
    plan: Plan, reading: InputEncoding, stored: AnyArray
) -> tuple[list[IntArray], FloatArray | None, BoolArray]:
    """The numbers of instances; those of a mask are its connected components."""
    from scipy import ndimage

    ignored = reading.ignored(stored) if reading.ignore else np.zeros(stored.shape, bool)
    if reading.is_hard:
        codes = reading.coded(stored)
        codes = codes[0] if reading.stacked else codes
        ignored = codes == reading.classes
        whole = np.ones((3,) * codes.ndim, bool)
        numbers = ndimage.label(codes == 1, whole)[0].astype(np.int64)
    else:
        numbers = np.where(ignored, 0, stored).astype(np.int64)
    return [numbers], None, ~ignored


def damages_of(task: str) -> tuple[MaskDamage | PictureDamage, ...]:
    """The damages that the task has."""
    if task == "image":
        return PICTURE_DAMAGES
    return tuple(each for each in MASK_DAMAGES if task != "instances" or each.of_instances)


@dataclass(frozen=True)
class Form:
    """How truths and damaged truths are handed to a run.

    Attributes:
        plan: of the files.
        in_planes: whether label maps are handed as probabilities, one plane a class.
    """

    plan: Plan
    in_planes: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """The settings with which a run reads arrays of this form."""
        task, names = self.plan.task, self.plan.names
        settings: dict[str, Any] = {"task": task}
        if task == "image":
            reading = self.plan.target
            if reading.dtype.startswith(("uint", "int")) and reading.scale > 1:
                settings |= {"gt_scale": reading.scale, "pred_scale": reading.scale}
            return settings | {"channels": "first"}
        if task == "instances":
            settings |= {"pred_encoding": "instances", "gt_encoding": "instances"}
            if self.plan.divisor:
                values = dict(self.plan.target.values)
                settings |= {
                    "divisor": self.plan.divisor,
                    "classes": {value: names[index] for value, index in values.items()},
                }
                if self.plan.things is not None:
                    settings["things"] = self.plan.things
            return settings
        graded = not self.plan.target.is_hard
        soft = task != "multiclass" or self.in_planes
        truth = "labels" if task == "multiclass" else "mask"
        settings |= {
            "gt_encoding": "probability" if graded else truth,
            "pred_encoding": "probability" if soft else "labels",
        }
        if task == "multiclass":
            settings["classes"] = dict(enumerate(names))
        elif task == "multilabel":
            settings["classes"] = list(names)
        if task == "multilabel" or (task == "multiclass" and (soft or graded)):
            settings["channels"] = "first"
        return settings

    def truth(self, truth: Truth) -> Any:
        """The ground truth as the run reads it."""
        if truth.picture:
            return truth.picture.stored
        if truth.levels is not None:
            return _gridded(self._squeezed(_bytes(truth.levels)), truth)
        labels = np.stack([each.labels for each in truth.maps])
        small = labels.astype(np.uint8) * np.uint8(FULL)
        if self.plan.task in ("multiclass", "instances"):
            small = labels.astype(np.uint16 if labels.max() < 1 << 16 else np.int32)
        return _gridded(small[0] if self.plan.task != "multilabel" else small, truth)

    def hard(self, truth: Truth, labels: list[IntArray]) -> Any:
        """Damaged label maps as predictions; levels of a graded truth stay where none changed."""
        task = self.plan.task
        if task == "instances" or (task == "multiclass" and not self.in_planes):
            largest = max(each.max() for each in labels)
            return _gridded(labels[0].astype(np.uint16 if largest < 1 << 16 else np.int32), truth)
        planes = self._planes(labels)
        if truth.levels is not None:
            before = self._planes([each.labels for each in truth.maps])
            same = (planes == before).all(0) if task == "multiclass" else planes == before
            planes = np.where(same, truth.levels, planes)
        return self.soft(truth, planes)

    def soft(self, truth: Truth, planes: FloatArray) -> Any:
        """Levels (P, …) from 0 to 1 as predictions."""
        return _gridded(self._squeezed(_bytes(planes)), truth)

    def planes_of(self, truth: Truth) -> FloatArray:
        """The levels of the truth itself."""
        if truth.levels is not None:
            return truth.levels
        return self._planes([each.labels for each in truth.maps])

    def _planes(self, labels: list[IntArray]) -> FloatArray:
        if self.plan.task != "multiclass":
            return np.stack(labels).astype(np.float64)
        planes: AnyArray = np.stack([labels[0] == index for index in range(len(self.plan.names))])
        return planes.astype(np.float32)

    def _squeezed(self, planes: AnyArray) -> AnyArray:
        return planes[0] if self.plan.task == "binary" else planes


def _bytes(levels: FloatArray) -> AnyArray:
    return np.rint(levels * FULL).astype(np.uint8)


def _gridded(array: AnyArray, truth: Truth) -> Any:
    """An array with the grid of its file, so that distances keep their unit."""
    return array if truth.grid is None else StoredArray(array, grid=truth.grid)


def damaged(form: Form, truth: Truth, damage: Any, level: float) -> Any | None:
    """The truth with a damage of a level, as a prediction; None where nothing changes."""
    rng = np.random.default_rng([SEED, zlib.crc32(f"{damage.kind}/{truth.id}".encode())])
    if truth.picture:
        changed = damage.change(truth.picture, level, rng)
        return None if changed is None or (changed == truth.picture.stored).all() else changed
    if damage.change is None:
        planes = form.planes_of(truth)
        blurred = blur_planes(planes, level)
        is_same = (_bytes(blurred) == _bytes(planes)).all()
        return None if is_same else form.soft(truth, blurred)
    labels = damaged_labels(truth, damage, level, rng)
    before = [each.labels for each in truth.maps]
    valid = truth.valid if truth.valid is not None else ...
    if all((a[valid] == b[valid]).all() for a, b in zip(labels, before, strict=True)):
        return None
    return form.hard(truth, labels)


def damaged_labels(truth: Truth, damage: Any, level: float, rng: Any) -> list[IntArray]:
    """The label maps after a damage; objects of a wrong class move to the map of the next one."""
    if damage.kind != "swapped_class" or len(truth.maps) == 1:
        return [damage.change(each, level, rng) for each in truth.maps]
    labels = [each.labels.copy() for each in truth.maps]
    for index, each in enumerate(truth.maps):
        others = replace(each, classes=(0, 1, 2))  # 2 marks the objects that leave
        leaving = damage.change(others, level, rng) == 2
        labels[index][leaving] = 0
        labels[(index + 1) % len(labels)][leaving] = 1
    return labels


def as_prediction(form: Form, truth: Truth, pair: Pair) -> Any:
    """The prediction of a pair, in the form of damaged truths.

    Raises:
        InputError: its file cannot be read, or is of another size.
    """
    plan = form.plan
    stored, _ = load_role(plan, "pred", pair)
    name = label(pair.sources["pred"][0])
    expected = truth.picture.stored.shape if truth.picture else truth.maps[0].labels.shape
    try:
        if truth.picture:
            numbers = plan.pred.numbers(stored) * max(plan.target.scale, 1)
            array = truth.picture.as_stored(numbers) if stored.shape == expected else stored
            shape = array.shape
        else:
            labels, levels, _ = canonical(plan, plan.pred, stored)
            shape = labels[0].shape
    except InputError as error:
        raise error.located("pred", name) from None
    if shape != expected:
        text = f"is {shape} where its ground truth is {expected}; lossbench eval says how to fit it"
        raise InputError(text, kind="size").located("pred", name)
    if truth.picture:
        return array
    if levels is not None and (plan.task != "multiclass" or form.in_planes):
        return form.soft(truth, levels)
    return form.hard(truth, labels)


def valid_inputs(truths: Mapping[str, Truth]) -> dict[str, Any]:
    """The role `valid` of a run where any pixel is ignored, by id."""
    if all(each.valid is None for each in truths.values()):
        return {}
    masks = {}
    for id_, each in truths.items():
        space = each.picture.stored.shape[1:] if each.picture else each.maps[0].labels.shape
        valid = np.ones(space, bool) if each.valid is None else each.valid
        masks[id_] = _gridded(valid.astype(np.uint8), each)
    return {"valid": masks}
