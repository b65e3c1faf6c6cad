"""Which confidence? Precision, recall and F1 of detections over all of them, and a confusion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np

from lossbench.choosing.thresholds_best import Best, error_list, find_best, find_plateau
from lossbench.data.formats.boxes import Boxes, DetectionBatch, Detections, joined
from lossbench.engine.batch_reader import read_batches
from lossbench.engine.finalize import sort_by_policy
from lossbench.engine.run_spec import RunSpec
from lossbench.engine.state.loaded_batch import LoadedBatch
from lossbench.errors import PairError
from lossbench.geometry.box_matching import NONE, match
from lossbench.losses.scores import dice_score, precision, recall
from lossbench.results.json_numbers import jsonable, number_lists
from lossbench.runtime.array_types import BoolArray, FloatArray, IntArray
from lossbench.version import __version__
from lossbench.views.confusion import Counts

SCHEMA = 1
IOU = 0.5
BACKGROUND = "background"
SCORES = {"precision": precision, "recall": recall, "f1": dice_score}


class Matches(NamedTuple):
    """The detections of one or more images, those in crowds left out."""

    score: FloatArray  # (D,)
    of_class: IntArray  # (D,)
    hit: BoolArray  # (D,) whether it has an object of its class
    object_class: IntArray  # (D,) of the object of any class that it lies on; the last is none


class DetectionCurve(NamedTuple):
    """Precision, recall and F1 of a class over the thresholds, and its best F1."""

    curves: Mapping[str, FloatArray]  # by score, each (T,)
    best: Best

    def as_json(self) -> dict[str, Any]:
        """Curves, and the best threshold."""
        curves = {name: number_lists(curve) for name, curve in self.curves.items()}
        return {**curves, "best": self.best.as_json()}


@dataclass(frozen=True)
class DetectionThresholds:
    """What every confidence gives, over the images of one pass."""

    run: Mapping[str, Any]  # how files were read, as in a result
    counts: Mapping[str, int]  # of pairs
    failed: Sequence[PairError]
    thresholds: FloatArray  # (T,) of the curves
    iou: float
    together: DetectionCurve  # over the detections of all classes
    classes: Mapping[str, DetectionCurve]
    confusion: IntArray  # (K + 1, K + 1) at the best threshold of all, object by detection
    notes: Sequence[str] = ()
    kind = "detections"

    @property
    def exit_status(self) -> int:
        """Exit status: 3 if an input failed or nothing was evaluated, else 0."""
        return 3 if self.failed or not self.counts["evaluated"] else 0

    @property
    def columns(self) -> dict[str, FloatArray]:
        """The curves by title, each (T,)."""
        rows = {"": self.together, **{f"[{name}]": each for name, each in self.classes.items()}}
        return {
            f"{name}{suffix}": curve
            for suffix, each in rows.items()
            for name, curve in each.curves.items()
        }

    def as_json(self) -> dict[str, Any]:
        """Everything with every digit; nan is null."""
        return {
            "schema": SCHEMA,
            "lossbench": __version__,
            "run": {**jsonable(self.run), "pairs": dict(self.counts)},
            "thresholds": self.thresholds.tolist(),
            "iou": self.iou,
            "all": self.together.as_json(),
            "classes": {name: each.as_json() for name, each in self.classes.items()},
            "confusion": {
                "threshold": self.together.best.as_json()["threshold"],
                "classes": [*self.classes, BACKGROUND],
                "objects_by_detections": self.confusion.tolist(),
            },
            "errors": error_list(self.failed),
        }


def judge_detections(
    run: RunSpec, *, steps: int, iou: float, start_method: str | None
) -> DetectionThresholds:
    """Match the detections of every image, and judge every confidence."""
    names, failed, matches = run.plan.names, list[PairError](), list[Matches]()
    objects, evaluated = np.zeros(len(names), np.int64), 0

    def digest(batch: LoadedBatch) -> tuple[Matches, IntArray]:
        return match_images(cast(Sequence[Detections], batch.pixels), len(names), iou)

    for _, batch, (of_batch, count) in read_batches(run, digest, start_method):
        failed += batch.errors
        evaluated += len(batch.indices)
        matches.append(of_batch)
        objects += count
    every = Matches(*map(np.concatenate, zip(NOTHING, *matches, strict=True)))
    scores = every.score
    low, high = float(scores.min(initial=0.0)), float(scores.max(initial=1.0))
    thresholds = np.linspace(low, high, steps)
    together = _curve(thresholds, every, np.ones(len(scores), np.bool_), int(objects.sum()))
    classes = {
        name: _curve(thresholds, every, every.of_class == index, int(objects[index]))
        for index, name in enumerate(names)
    }
    errors = sort_by_policy(run, failed)["error"]
    return DetectionThresholds(
        run.describe(),
        {"found": len(run.pairing.pairs), "evaluated": evaluated, "errors": len(errors)},
        errors,
        thresholds,
        iou,
        together,
        classes,
        _confusion(every, objects, together.best.threshold),
    )


NOTHING = Matches(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(0, np.int64))


def match_images(
    samples: Sequence[Detections], classes: int, iou: float
) -> tuple[Matches, IntArray]:
    """The matches of some images, and the number of objects of each class that are no crowds.

    Detections take objects in the order of their scores. A threshold leaves out the last ones, so
    the others keep their objects at every threshold.
    """
    batch = DetectionBatch(samples, classes)
    plain = DetectionBatch([_of_one_class(each) for each in samples], 1)
    pred, target = (joined([each.sides[side] for each in samples]) for side in (0, 1))
    own, of_any_class = _objects(batch, iou), _objects(plain, iou)
    in_crowd = np.append(target.crowd, False)[own]
    lies_on = np.where(np.append(target.crowd, False)[of_any_class], NONE, of_any_class)
    matches = Matches(
        pred.score, pred.of_class, own != NONE, np.append(target.of_class, classes)[lies_on]
    )
    kept = Matches(*(field[~in_crowd] for field in matches))
    return kept, batch.objects.sum(0)


def _of_one_class(sample: Detections) -> Detections:
    """The same boxes without their classes."""
    tables = [side.rows._replace(of_class=np.zeros(len(side), np.int64)) for side in sample.sides]
    return Detections(*(Boxes(table, 0, len(table.score)) for table in tables))


def _objects(batch: DetectionBatch, iou: float) -> IntArray:
    """The object that each detection takes, both as they came; NONE for no object."""
    crowd = batch.target.boxes.crowd
    pairs = batch.candidates
    (taken,) = match(*pairs, batch.of_boxes, batch.pred.group, crowd, crowd, [iou])
    objects = np.full(len(taken), NONE)
    objects[batch.pred.row] = np.append(batch.target.row, NONE)[taken]
    return objects


def _curve(
    thresholds: FloatArray, every: Matches, chosen: BoolArray, objects: int
) -> DetectionCurve:
    """The curves of some detections, with the best F1 of all confidences that occur."""
    score, hit, levels = every.score[chosen], every.hit[chosen], np.unique(every.score[chosen])
    best = find_best(levels, _scores(levels, score, hit, objects)["f1"], "higher")
    if not math.isnan(best.threshold):  # F1 is the same down to the next confidence that occurs
        points = np.union1d(levels, thresholds)
        values = _scores(points, score, hit, objects)["f1"]
        index = int(np.searchsorted(points, best.threshold))
        best = best._replace(plateau=find_plateau(points, values, index))
    return DetectionCurve(_scores(thresholds, score, hit, objects), best)


def _scores(
    thresholds: FloatArray, score: FloatArray, hit: BoolArray, objects: int
) -> dict[str, FloatArray]:
    """Each score at each threshold."""
    order = np.argsort(score, kind="stable")
    below = np.searchsorted(score[order], thresholds)
    hits = np.append(0, np.cumsum(hit[order]))
    tp: Any = (hits[-1] - hits[below]).astype(np.float64)
    predicted = len(score) - below
    counts = Counts(tp, predicted - tp, objects - tp, np.zeros_like(tp))
    with np.errstate(all="ignore"):  # 0/0 is undefined
        values: dict[str, Any] = {name: function(counts) for name, function in SCORES.items()}
    return values


def _confusion(every: Matches, objects: IntArray, threshold: float) -> IntArray:
    """Objects of each class by the class of their detection; the last one is the background."""
    size = len(objects) + 1
    kept = every.score >= threshold
    matrix = np.zeros((size, size), np.int64)
    np.add.at(matrix, (every.object_class[kept], every.of_class[kept]), 1)
    matrix[:-1, -1] = objects - matrix[:-1].sum(1)
    return matrix
