"""Samples of a run read once more, to be looked at: ground truth, prediction, and what is wrong."""

from __future__ import annotations

import colorsys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from lossbench.catalog.tasks import of_truth
from lossbench.data.loading.sample import Pixels, make_sample
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.errors import LossbenchError, PairError, SettingError
from lossbench.results.reader import Model
from lossbench.runtime.array_types import AnyArray

if TYPE_CHECKING:
    from lossbench.engine.run_spec import RunSpec

Colour = tuple[int, int, int]
Image = NDArray[np.uint8]  # (…, 3)
# What a colour of the errors means. Orange and blue are told apart by every kind of eye.
NOTHING, RIGHT, IGNORED = (255, 255, 255), (185, 190, 197), (228, 222, 200)
MISSED, ALARM, BOTH = (33, 102, 190), (230, 110, 20), (120, 30, 110)
LEGENDS: Mapping[str, Mapping[str, Colour]] = {
    "binary": {"hit": RIGHT, "missed": MISSED, "false alarm": ALARM, "ignored": IGNORED},
    "multilabel": {
        "hits": RIGHT,
        "missed": MISSED,
        "false alarm": ALARM,
        "one of each": BOTH,
        "ignored": IGNORED,
    },
    "multiclass": {"right": RIGHT, "wrong": ALARM, "ignored": IGNORED},
    "image": {"the largest difference": ALARM, "ignored": IGNORED},
}
SIDE = 384  # of a picture, in pixels; larger ones are made smaller
TURN = 0.618034  # of the wheel of colours from one class to the next, so that none are alike


class Overlay(NamedTuple):
    """One sample.

    Attributes:
        images: ground truth, prediction and errors, each (H, W, 3).
        remark: which slice it is, or how large the largest difference.
    """

    images: Mapping[str, Image]
    remark: str


class Overlays(NamedTuple):
    """Samples by their ids, what their colours mean, and what is to say of them."""

    samples: Mapping[str, Overlay]
    legend: Mapping[str, Colour]
    classes: Mapping[str, Colour]
    notes: Sequence[str]


def overlays(
    model: Model,
    ids: Collection[str],
    by: str,
    pred: str | None = None,
    target: str | None = None,
) -> Overlays:
    """Samples read again as their run did; without them, why not.

    Args:
        model: the result.
        ids: the samples.
        by: the column that judges them, at whose threshold errors are shown.
        pred: where the predictions are now, None for where they were.
        target: likewise.
    """
    try:
        return _gallery(model, ids, by, pred, target)
    except LossbenchError as error:
        advice = "; PRED and GT say where the files are now" if error.exit_status == 3 else ""
        return Overlays({}, {}, {}, [f"no pictures: {error}{advice}"])


def _gallery(
    model: Model, ids: Collection[str], by: str, pred: str | None, target: str | None
) -> Overlays:
    told = model["run"]
    task = told["plan"]["task"]
    if task not in LEGENDS:
        raise SettingError(f"there are none of task {task}")
    run = _run(told, pred, target)
    plan, threshold = replace(run.plan, counted=False, pixels=True), _threshold(run, by)
    samples, notes, failed = dict[str, Overlay](), list[str](), 0
    pairs = run.pairing.pairs
    places = [place for place, name in enumerate(pairs.named()) if name in ids]
    for pair in map(pairs.__getitem__, places):
        sample = make_sample(plan, pair)
        if isinstance(sample, PairError):
            notes.append(f"no picture of {pair.id}: {sample.message}")
            failed += 1
        elif isinstance(sample.pixels, Pixels):
            if len(sample.pixels.space) not in (2, 3):
                raise SettingError("there are none of arrays that are no picture or volume")
            samples[pair.id] = overlay_images(plan, sample.pixels, threshold)
    if lost := len(ids) - len(samples) - failed:
        notes.append(f"no picture of {lost} of {len(ids)}: not both of their files are there")
    for reading in (plan.pred, plan.target):
        if str(reading) != told["plan"][reading.role]:
            notes.append(f"{reading.role} is read as {reading} for pictures")
    if task in ("binary", "multilabel") and not plan.pred.is_hard:
        notes.append(f"errors are those of p ≥ {threshold:g}")
    names = plan.names if plan.by_class else ()
    return Overlays(samples, LEGENDS[task], dict(zip(names, colours(plan), strict=False)), notes)


def _run(run: Model, pred: str | None, target: str | None) -> RunSpec:
    """The run once more, prepared where its files are now."""
    from lossbench.catalog.plugins import using
    from lossbench.engine.prepare import prepare
    from lossbench.engine.settings import Settings

    here = run["pred"] if pred is None else pred
    there = run["target"] if target is None else target
    moved = pred is not None or target is not None
    manifest = None if moved else run["settings"]["manifest"]
    if manifest == "-":
        raise SettingError("the manifest of the run was its input")
    if manifest is not None:
        here = there = None
    elif not (isinstance(here, str) and isinstance(there, str)):
        raise SettingError("the run was given arrays")
    with using(run["settings"]["plugins"]):
        settings = Settings.from_record(
            run["settings"],
            pred=here,
            target=there,
            losses=[loss["expression"] for loss in run["losses"]],
            inputs=run["inputs"],
            manifest=manifest,
            task=run["plan"]["task"],
            **{"group_by": None, "empty": None, "missing": "skip", "extra": "skip", "gates": ()},
        )
        return prepare(settings)


def _threshold(run: RunSpec, by: str) -> float:
    """From which probability on a column's losses call a pixel foreground.

    Where they differ or do not decide, it is the run's.
    """
    terms = run.column(by).terms
    asked = {each for term in terms if (each := term.threshold) is not None}
    return asked.pop() if len(asked) == 1 else run.settings.threshold


def overlay_images(plan: Plan, pixels: Pixels, threshold: float) -> Overlay:
    """The ground truth, the prediction and the errors of one sample.

    Of a volume, the slice across its shortest axis that has the most errors.
    """
    sides: list[AnyArray] = [pixels.target, pixels.pred, pixels.weight > 0]
    space, remark = pixels.space, ""
    if len(space) == 3:
        axis = int(np.argmin(space))
        wrong = np.moveaxis(_apart(plan, sides, threshold).reshape(space), axis, 0)
        place = int(wrong.reshape(len(wrong), -1).sum(1).argmax())
        cuts = (each.reshape(-1, *space).take(place, axis + 1) for each in sides)
        sides = [each.reshape(len(each), -1) for each in cuts]
        remark = f"slice {place + 1} of {space[axis]} across axis {axis + 1}"
        space = (*space[:axis], *space[axis + 1 :])
    target, pred, seen = sides
    if plan.task == "image":
        low = min(0.0, float(target.min()), float(pred.min()))
        high = max(1.0, float(target.max()), float(pred.max()))
        tiles = [_natural((side - low) / (high - low)) for side in (target, pred)]
        apart = _apart(plan, sides, threshold)
        tiles.append(_blended(apart / (apart.max() or 1.0), ALARM))
        remark = ", ".join(filter(None, [f"largest difference {apart.max():.3g}", remark]))
    else:
        truth = _decided(plan, target, plan.target, of_truth(threshold))
        found = _decided(plan, pred, plan.pred, threshold)
        tiles = [_drawn(plan, target, truth), _drawn(plan, pred, found)]
        tiles.append(_errors(plan, truth, found))
    tiles[-1][~np.broadcast_to(seen.any(0), len(tiles[-1]))] = IGNORED
    images = [_smaller(each.reshape(*space, 3)) for each in tiles]
    return Overlay(dict(zip(("ground truth", "prediction", "errors"), images, strict=True)), remark)


def _apart(plan: Plan, sides: Sequence[AnyArray], threshold: float) -> AnyArray:
    """How far both are apart in each pixel that is seen, (N,): 0 or 1 where they are decided."""
    target, pred, seen = sides
    if plan.task == "image":
        apart = np.abs(pred - target).mean(0)
    else:
        truth = _decided(plan, target, plan.target, of_truth(threshold))
        apart = np.atleast_2d(truth != _decided(plan, pred, plan.pred, threshold)).any(0)
    return np.asarray(apart * seen.any(0))


def _decided(plan: Plan, side: AnyArray, reading: InputEncoding, threshold: float) -> AnyArray:
    """The label of each pixel (N,), or which classes it is in (C, N)."""
    if plan.task == "multiclass":
        labels: AnyArray = side[0] if reading.is_hard and not reading.stacked else side.argmax(0)
        return labels
    if reading.is_logits:
        with np.errstate(over="ignore"):
            side = 1 / (1 + np.exp(-side.astype(np.float64)))
    return np.asarray(side >= threshold)


def _errors(plan: Plan, truth: AnyArray, found: AnyArray) -> Image:
    """The errors in colours, (N, 3)."""
    if plan.task == "multiclass":
        palette = np.array([RIGHT, ALARM], np.uint8)
        return np.asarray(palette[np.asarray(truth != found).view(np.uint8)])
    kinds = (truth & found, truth & ~found, found & ~truth)
    hit, missed, alarm = (each.any(0).view(np.uint8) for each in kinds)
    palette = np.array([NOTHING, RIGHT, MISSED, MISSED, ALARM, ALARM, BOTH, BOTH], np.uint8)
    return np.asarray(palette[hit | missed << 1 | alarm << 2])


def _drawn(plan: Plan, side: AnyArray, decided: AnyArray) -> Image:
    """A mask in black and white, or in grey where it is soft; classes in their colours."""
    if plan.task == "binary":
        soft = side.dtype.kind == "f" and side.min() >= 0 and side.max() <= 1
        return _natural(side if soft else decided)
    palette = np.array(colours(plan), np.uint8)
    if plan.task == "multiclass":
        return np.asarray(palette[decided])
    lit = (mask[:, None] * colour for mask, colour in zip(decided, palette, strict=True))
    return np.asarray(reduce(np.maximum, lit))


def colours(plan: Plan) -> list[Colour]:
    """A colour for each class, dark for the first of label maps."""
    wheel = [
        colorsys.hsv_to_rgb(place * TURN % 1, 0.75, 0.95 - 0.2 * (place % 3 == 2))
        for place in range(len(plan.names))
    ]
    found = [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in wheel]
    return [(40, 42, 48), *found[1:]] if plan.task == "multiclass" else found


def _natural(numbers: AnyArray) -> Image:
    """Numbers from 0 to 1 as they look, (N, 3): three channels in colour, others their mean."""
    channels = numbers if len(numbers) == 3 else numbers.mean(0, keepdims=True)
    grey = np.round(255 * channels).astype(np.uint8).T
    return np.array(np.broadcast_to(grey, (len(grey), 3)))


def _blended(share: AnyArray, colour: Colour) -> Image:
    """From white to a colour, (N, 3)."""
    white = np.array(NOTHING)
    mixed = white + share[:, None] * (np.array(colour) - white)
    return np.asarray(np.round(mixed), np.uint8)


def _smaller(image: Image) -> Image:
    """A large picture at a whole part of its size, each pixel the mean of several."""
    times = -(-max(image.shape[:2]) // SIDE)
    return np.asarray(Pictures.fromarray(image).reduce(times)) if times > 1 else image
