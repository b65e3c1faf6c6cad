"""Pictures of samples: ground truth, prediction and errors, read again from the run's files."""

from __future__ import annotations

import colorsys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from lossbench.catalog.tasks import target_threshold
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
# Colours of errors; orange and blue are distinct for colour-blind readers too.
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
SIDE = 384  # pixels; larger pictures are reduced
TURN = 0.618034  # step in hue from one class to the next: the golden ratio keeps hues apart


class Overlay(NamedTuple):
    """The pictures of one sample.

    Attributes:
        images: ground truth, prediction and errors, each (H, W, 3).
        remark: the slice shown, or the largest difference.
    """

    images: Mapping[str, Image]
    remark: str


class Overlays(NamedTuple):
    """Samples by id, the meaning of the colours, and notes."""

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
    """Pictures of samples, read as the run read them; if that is impossible, a note says why.

    Args:
        model: the result.
        ids: the samples.
        by: the column whose threshold decides what an error is.
        pred: where the predictions are now; None for where the run read them.
        target: where the ground truth is now, likewise.
    """
    try:
        return _read_overlays(model, ids, by, pred, target)
    except LossbenchError as error:
        advice = "; give the folders as PRED and GT" if error.exit_status == 3 else ""
        return Overlays({}, {}, {}, [f"no pictures: {error}{advice}"])


def _read_overlays(
    model: Model, ids: Collection[str], by: str, pred: str | None, target: str | None
) -> Overlays:
    run_model = model["run"]
    task = run_model["plan"]["task"]
    if task not in LEGENDS:
        raise SettingError(f"task {task} has none")
    run = _run(run_model, pred, target)
    plan, threshold = replace(run.plan, counted=False, pixels=True), _threshold(run, by)
    samples, notes, failed = dict[str, Overlay](), list[str](), 0
    pairs = run.pairing.pairs
    for pair in [pairs[index] for index, name in enumerate(pairs.named()) if name in ids]:
        sample = make_sample(plan, pair)
        if isinstance(sample, PairError):
            notes.append(f"no picture of {pair.id}: {sample.message}")
            failed += 1
        elif isinstance(sample.pixels, Pixels):
            if len(sample.pixels.space) not in (2, 3):
                raise SettingError("arrays of this shape are neither pictures nor volumes")
            samples[pair.id] = overlay_images(plan, sample.pixels, threshold)
    if lost := len(ids) - len(samples) - failed:
        notes.append(f"no picture of {lost} of {len(ids)}: one of the two files is missing")
    for encoding in (plan.pred, plan.target):
        if str(encoding) != run_model["plan"][encoding.role]:
            notes.append(f"{encoding.role} is read as {encoding} for pictures")
    if task in ("binary", "multilabel") and not plan.pred.is_hard:
        notes.append(f"errors at p ≥ {threshold:g}")
    names = plan.names if plan.by_class else ()
    return Overlays(samples, LEGENDS[task], dict(zip(names, colours(plan), strict=False)), notes)


def _run(run: Model, pred: str | None, target: str | None) -> RunSpec:
    """The run, prepared again with the present location of its files."""
    from lossbench.catalog.plugins import using
    from lossbench.engine.prepare import prepare
    from lossbench.engine.settings import Settings

    manifest = run["settings"]["manifest"] if pred is None and target is None else None
    if manifest == "-":
        raise SettingError("the run read its manifest from stdin")
    folders: dict[str, str | None] = {"pred": None, "target": None}
    if manifest is None:
        folders = {"pred": pred or run["pred"], "target": target or run["target"]}
        if not all(isinstance(each, str) for each in folders.values()):
            raise SettingError("the run read arrays, not files")
    with using(run["settings"]["plugins"]):
        settings = Settings.from_record(
            run["settings"],
            **folders,
            losses=[loss["expression"] for loss in run["losses"]],
            inputs=run["inputs"],
            manifest=manifest,
            task=run["plan"]["task"],
            **{"group_by": None, "empty": None, "missing": "skip", "extra": "skip", "gates": ()},
        )
        return prepare(settings)


def _threshold(run: RunSpec, by: str) -> float:
    """The probability from which the losses of a column count a pixel as foreground.

    The threshold of the run if the losses have none, or different ones.
    """
    terms = run.column(by).terms
    thresholds = {each for term in terms if (each := term.threshold) is not None}
    return thresholds.pop() if len(thresholds) == 1 else run.settings.threshold


def overlay_images(plan: Plan, pixels: Pixels, threshold: float) -> Overlay:
    """The ground truth, the prediction and the errors of one sample.

    A volume is shown by the slice across its shortest axis that has the most errors.
    """
    sides: list[AnyArray] = [pixels.target, pixels.pred, pixels.weight > 0]
    space, remark = pixels.space, ""
    if len(space) == 3:
        axis = int(np.argmin(space))
        errors = np.moveaxis(_differences(plan, sides, threshold).reshape(space), axis, 0)
        index = int(errors.reshape(len(errors), -1).sum(1).argmax())
        cuts = (each.reshape(-1, *space).take(index, axis + 1) for each in sides)
        sides = [each.reshape(len(each), -1) for each in cuts]
        remark = f"slice {index + 1} of {space[axis]} across axis {axis + 1}"
        space = (*space[:axis], *space[axis + 1 :])
    target, pred, seen = sides
    if plan.task == "image":
        low = min(0.0, float(target.min()), float(pred.min()))
        high = max(1.0, float(target.max()), float(pred.max()))
        tiles = [_picture((side - low) / (high - low)) for side in (target, pred)]
        differences = _differences(plan, sides, threshold)
        share = differences[:, None] / (differences.max() or 1.0)
        white = np.array(NOTHING)
        tiles.append(np.round(white + share * (np.array(ALARM) - white)).astype(np.uint8))
        remark = ", ".join(filter(None, [f"largest difference {differences.max():.3g}", remark]))
    else:
        truth = _labels(plan, target, plan.target, target_threshold(threshold))
        labels = _labels(plan, pred, plan.pred, threshold)
        tiles = [_mask(plan, target, truth), _mask(plan, pred, labels)]
        tiles.append(_errors(plan, truth, labels))
    tiles[-1][~np.broadcast_to(seen.any(0), len(tiles[-1]))] = IGNORED
    images = [_reduce(each.reshape(*space, 3)) for each in tiles]
    return Overlay(dict(zip(("ground truth", "prediction", "errors"), images, strict=True)), remark)


def _differences(plan: Plan, sides: Sequence[AnyArray], threshold: float) -> AnyArray:
    """The difference of each valid pixel, (N,): 0 or 1 for labels, 0 for ignored pixels."""
    target, pred, seen = sides
    if plan.task == "image":
        differences = np.abs(pred - target).mean(0)
    else:
        truth = _labels(plan, target, plan.target, target_threshold(threshold))
        differences = np.atleast_2d(truth != _labels(plan, pred, plan.pred, threshold)).any(0)
    return np.asarray(differences * seen.any(0))


def _labels(plan: Plan, side: AnyArray, encoding: InputEncoding, threshold: float) -> AnyArray:
    """The label of each pixel, (N,), or whether it is in each class, (C, N)."""
    if plan.task == "multiclass":
        labels: AnyArray = side[0] if encoding.is_hard and not encoding.stacked else side.argmax(0)
        return labels
    if encoding.is_logits:
        with np.errstate(over="ignore"):
            side = 1 / (1 + np.exp(-side.astype(np.float64)))
    return np.asarray(side >= threshold)


def _errors(plan: Plan, truth: AnyArray, labels: AnyArray) -> Image:
    """The errors in colours, (N, 3)."""
    if plan.task == "multiclass":
        palette = np.array([RIGHT, ALARM], np.uint8)
        return np.asarray(palette[np.asarray(truth != labels).view(np.uint8)])
    kinds = (truth & labels, truth & ~labels, labels & ~truth)
    hit, missed, alarm = (each.any(0).view(np.uint8) for each in kinds)
    palette = np.array([NOTHING, RIGHT, MISSED, MISSED, ALARM, ALARM, BOTH, BOTH], np.uint8)
    return np.asarray(palette[hit | missed << 1 | alarm << 2])


def _mask(plan: Plan, side: AnyArray, labels: AnyArray) -> Image:
    """A mask in black and white, probabilities in grey, classes in their colours, (N, 3)."""
    if plan.task == "binary":
        soft = side.dtype.kind == "f" and side.min() >= 0 and side.max() <= 1
        return _picture(side if soft else labels)
    palette = np.array(colours(plan), np.uint8)
    if plan.task == "multiclass":
        return np.asarray(palette[labels])
    lit = (mask[:, None] * colour for mask, colour in zip(labels, palette, strict=True))
    return np.asarray(reduce(np.maximum, lit))


def colours(plan: Plan) -> list[Colour]:
    """A colour for each class; the first class of a label map is dark."""
    wheel = [
        colorsys.hsv_to_rgb(index * TURN % 1, 0.75, 0.95 - 0.2 * (index % 3 == 2))
        for index in range(len(plan.names))
    ]
    palette = [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in wheel]
    return [(40, 42, 48), *palette[1:]] if plan.task == "multiclass" else palette


def _picture(numbers: AnyArray) -> Image:
    """Numbers from 0 to 1 as a picture, (N, 3): three channels in colour, others as their mean."""
    channels = numbers if len(numbers) == 3 else numbers.mean(0, keepdims=True)
    pixels = np.round(255 * channels).astype(np.uint8).T
    return np.array(np.broadcast_to(pixels, (len(pixels), 3)))


def _reduce(image: Image) -> Image:
    """A picture no larger than SIDE, each pixel the mean of a square block."""
    factor = -(-max(image.shape[:2]) // SIDE)
    return np.asarray(Pictures.fromarray(image).reduce(factor)) if factor > 1 else image
