"""Which threshold? Scores at every threshold of one pass, curves and calibration."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from lossbench.choosing.thresholds_best import Best, error_list, find_best
from lossbench.choosing.thresholds_calibration import (
    Reliability,
    make_reliability,
    temperature_of_levels,
)
from lossbench.choosing.thresholds_classes import ClassPass
from lossbench.choosing.thresholds_curves import Curves, make_curves
from lossbench.choosing.thresholds_detections import IOU, DetectionThresholds, judge_detections
from lossbench.choosing.thresholds_pass import ThresholdPass
from lossbench.choosing.thresholds_rows import check_rows_path, write_rows
from lossbench.choosing.thresholds_scores import DEFAULT_LOSSES, ScoreTable, check_scores
from lossbench.data.pairing.coco import is_results
from lossbench.data.pairing.panoptic import is_json
from lossbench.data.planning.input_encoding import LEVELS
from lossbench.engine.finalize import sort_by_policy
from lossbench.engine.prepare import NO_THRESHOLD, prepare
from lossbench.engine.run import Run
from lossbench.engine.settings import BY_NAME, READING, Settings
from lossbench.errors import PairError, SettingError, did_you_mean
from lossbench.results.json_numbers import jsonable, number_lists
from lossbench.runtime.array_types import FloatArray
from lossbench.version import __version__
from lossbench.views.confusion import Counts

SCHEMA = 1
STEPS = 257  # thresholds of curves where not every level is one
BLOCK = 1 << 16  # levels that are evaluated together
AGGREGATES = ("mean", "pooled")


class HalfChoice(NamedTuple):
    """The best threshold of one half of the samples, and its value on the other half."""

    threshold: float
    value: float  # on the half that it was chosen on
    value_on_other_half: float
    best_on_other_half: float


@dataclass(frozen=True)
class ScoreCurve:
    """A score, or one class of it, as a function of the threshold."""

    better: str  # lower or higher
    curves: Mapping[str, FloatArray]  # mean and pooled, each (T,)
    best: Mapping[str, Best]
    at_half: Mapping[str, float]
    halves: Sequence[HalfChoice]  # by the mean

    def over_thresholds(self, aggregate: str) -> dict[str, float]:
        """Largest and mean value over the thresholds, as salient-object papers report them."""
        defined = self.curves[aggregate][~np.isnan(self.curves[aggregate])]
        if not len(defined):
            return {"max": math.nan, "mean": math.nan}
        return {"max": float(defined.max()), "mean": float(defined.mean())}

    def as_json(self) -> dict[str, Any]:
        """Curves, best thresholds, and what 0.5 gives."""
        return {
            "better": self.better,
            **{name: number_lists(curve) for name, curve in self.curves.items()},
            "best": {name: each.as_json() for name, each in self.best.items()},
            "at_half": jsonable(self.at_half),
            "over_thresholds": {name: jsonable(self.over_thresholds(name)) for name in AGGREGATES},
            "halves": [jsonable(each._asdict()) for each in self.halves],
        }


@dataclass(frozen=True)
class Thresholds:
    """What every threshold gives, over the samples of one pass."""

    run: Mapping[str, Any]  # how files were read, as in a result
    counts: Mapping[str, int]  # of pairs
    failed: Sequence[PairError]
    notes: Sequence[str]
    thresholds: FloatArray  # (T,) of the curves
    scores: Mapping[str, ScoreCurve]
    classes: Mapping[str, Mapping[str, ScoreCurve]]  # score -> class
    curves: Curves  # of the pixels of all classes
    class_curves: Mapping[str, Curves]
    reliability: Reliability
    kind = "masks"

    @property
    def columns(self) -> dict[str, FloatArray]:
        """The curves by title, each (T,)."""
        rows = {
            title: curve
            for name, score in self.scores.items()
            for title, curve in (
                (name, score),
                *((f"{name}[{of}]", each) for of, each in self.classes.get(name, {}).items()),
            )
        }
        return {
            f"{title}{suffix}": curve.curves[aggregate]
            for title, curve in rows.items()
            for aggregate, suffix in (("mean", ""), ("pooled", ".pooled"))
        }

    @property
    def exit_status(self) -> int:
        """Exit status: 3 if an input failed or nothing was evaluated, else 0."""
        return 3 if self.failed or not self.counts["evaluated"] else 0

    def as_json(self) -> dict[str, Any]:
        """Everything with every digit; nan is null."""
        return {
            "schema": SCHEMA,
            "lossbench": __version__,
            "run": {**jsonable(self.run), "pairs": dict(self.counts)},
            "notes": list(self.notes),
            "thresholds": self.thresholds.tolist(),
            "scores": {
                name: {
                    **each.as_json(),
                    "classes": {
                        of_class: curve.as_json()
                        for of_class, curve in self.classes.get(name, {}).items()
                    },
                }
                for name, each in self.scores.items()
            },
            "roc": {
                **self.curves.roc(),
                "classes": {name: each.roc() for name, each in self.class_curves.items()},
            },
            "pr": {
                **self.curves.pr(),
                "classes": {name: each.pr() for name, each in self.class_curves.items()},
            },
            "calibration": self.reliability.as_json(),
            "errors": error_list(self.failed),
        }


def find_thresholds(
    settings: Mapping[str, Any],
    *,
    steps: int = STEPS,
    per_image: str | None = None,
    iou: float | None = None,
    start_method: str | None = None,
    planned: Callable[[Run], None] = lambda run: None,
) -> Thresholds | DetectionThresholds:
    """Read every pair once, and judge every threshold; see `lossbench.thresholds`."""
    _check_settings(settings, steps, per_image)
    if is_of_detections(settings):
        if settings.get("losses") or per_image is not None:
            raise SettingError(
                "detections are judged by precision, recall and F1 of all images: do without --loss"
                " and --per-image"
            )
        every = "average_precision_boxes(max_detections=1000000)"  # of which only reading counts
        run = prepare(Settings(**{**settings, "losses": every}, device="cpu"))
        planned(run)
        level = IOU if iou is None else iou
        return judge_detections(run, steps=steps, iou=level, start_method=start_method)
    if iou is not None:
        raise SettingError("--iou is for detections, not for masks; do without it")
    run = plan_thresholds(settings, per_image=per_image)
    planned(run)
    return judge_thresholds(run, steps=steps, per_image=per_image, start_method=start_method)


def is_of_detections(settings: Mapping[str, Any]) -> bool:
    """Whether predictions are COCO's results."""
    pred = settings.get("pred")
    is_file = isinstance(pred, str | os.PathLike) and is_json(pred)
    return settings.get("task") == "detection" or (is_file and is_results(os.fspath(pred or "")))


def plan_thresholds(settings: Mapping[str, Any], *, per_image: str | None = None) -> Run:
    """Pair the files, decide how they are read and check every loss; compute nothing.

    Raises:
        SettingError: a setting or loss is wrong, or the task has no threshold.
        InputError: a folder is missing or empty, or nothing matches.
    """
    named = dict(settings)
    losses = named.pop("losses", ()) or DEFAULT_LOSSES
    run = prepare(Settings(losses=losses, device="cpu", **named))
    task = run.plan.task
    if task == "multiclass" and (settings.get("losses") or run.plan.pred.is_hard or per_image):
        raise SettingError(
            f"{NO_THRESHOLD[task]}; lossbench eval judges it; of probabilities of each class,"
            " lossbench thresholds without --loss and --per-image shows curves and calibration, and"
            " --task multilabel gives each class thresholds"
        )
    if run.plan.pred.is_hard:
        raise SettingError(
            f"predictions are masks ({run.plan.pred}), which are the same at every threshold; give"
            " the probabilities that they were made from, or --pred-encoding probability if grey"
            " levels are probabilities"
        )
    check_scores(run.columns)
    return run


def _check_settings(settings: Mapping[str, Any], steps: int, per_image: str | None) -> None:
    for name, value in settings.items():
        if name not in ("pred", "target", "losses", *READING):
            known = f"; it takes {', '.join(READING)}"
            close = "" if name in BY_NAME else did_you_mean(name, READING)
            raise SettingError(f"lossbench.thresholds takes no {name}{close}{known}")
        if name == "missing" and value == "worst":
            raise SettingError(
                "--missing worst has no value at a threshold; --missing skip leaves them out"
            )
    if steps < 2:
        raise SettingError(f"steps is 2 or more, not {steps}")
    if per_image is not None:
        check_rows_path(per_image)


def judge_thresholds(
    run: Run, *, steps: int = STEPS, per_image: str | None = None, start_method: str | None = None
) -> Thresholds:
    """Read the pairs of a planned run, and judge every threshold."""
    if run.plan.task == "multiclass":
        return _judge_classes(run, np.linspace(0, 1, steps), start_method)
    has_all_levels = run.plan.pred.levels == LEVELS["uint8"]
    thresholds = np.arange(256) / 255 if has_all_levels else np.linspace(0, 1, steps)
    table = ScoreTable(run.plan, run.columns)
    seen = ThresholdPass(run, table, thresholds, every_level=not has_all_levels)
    if per_image is None:
        seen.read(start_method)
    else:
        write_rows(per_image, thresholds, table, partial(seen.read, start_method))
    return _conclude(run, seen, table)


def _judge_classes(run: Run, thresholds: FloatArray, start_method: str | None) -> Thresholds:
    """Curves and calibration of probabilities of several classes, whose masks have no threshold."""
    seen = ClassPass(run, start_method)
    seen.read()
    together, curves = seen.curves(thresholds)
    return Thresholds(
        run.describe(),
        *_pairs(run, seen),
        _notes(seen),
        thresholds,
        {},
        {},
        together,
        dict(zip(run.plan.names, curves, strict=True)),
        seen.reliability(),
    )


def _pairs(run: Run, seen: ThresholdPass | ClassPass) -> tuple[dict[str, int], Sequence[PairError]]:
    """The counts of pairs, and those that failed."""
    errors = sort_by_policy(run, seen.failed)["error"]
    counts = {"found": len(run.pairing.pairs), "evaluated": seen.evaluated, "errors": len(errors)}
    return counts, errors


def _conclude(run: Run, seen: ThresholdPass, table: ScoreTable) -> Thresholds:
    """The thresholds of a run from its sums."""
    mean = seen.scores.means
    pooled = _of_counts(table, seen.counts, seen.support)
    candidates, scores, counts = seen.thresholds, seen.scores, seen.counts[..., :-1]
    if seen.every_level:
        candidates, scores, every = seen.at_every_level()
        counts = np.stack(every)
    size = len(candidates)
    of_mean, of_halves = scores.means[:, :size], scores.half_means[..., :size]
    of_pooled = _of_counts(table, counts, seen.support)
    whole, classes = dict[str, ScoreCurve](), dict[str, dict[str, ScoreCurve]]()
    for row, (column, of_class) in enumerate(table.rows):
        better = column.better or ""
        curve = ScoreCurve(
            better,
            {"mean": mean[row, :-1], "pooled": pooled[row, :-1]},
            {
                name: find_best(candidates, values[row], better)
                for name, values in (("mean", of_mean), ("pooled", of_pooled))
            },
            {"mean": float(mean[row, -1]), "pooled": float(pooled[row, -1])},
            _choose_by_halves(candidates, of_halves[:, row], better),
        )
        if of_class is None:
            whole[column.name] = curve
        else:
            classes.setdefault(column.name, {})[of_class] = curve
    spectrum, levels = seen.pooled_spectrum, seen.levels
    points = seen.thresholds if seen.every_level else None
    positive, negative = spectrum.positive, spectrum.negative
    names = run.plan.names if run.plan.by_class else ()
    return Thresholds(
        run.describe(),
        *_pairs(run, seen),
        _notes(seen),
        seen.thresholds,
        whole,
        classes,
        make_curves(levels, positive.sum(0), negative.sum(0), points),
        {
            name: make_curves(levels, positive[index], negative[index], points)
            for index, name in enumerate(names)
        },
        make_reliability(levels, spectrum, temperature_of_levels(levels, spectrum, run.plan.pred)),
    )


def _of_counts(table: ScoreTable, counts: Any, support: FloatArray) -> FloatArray:
    """Every row of the scores of pooled counts (4, C, T), (R, T)."""
    blocks = [
        counts[:, None, :, start : start + BLOCK] for start in range(0, counts.shape[2], BLOCK)
    ]
    values = [table.evaluate(Counts(*block), support[None])[0] for block in blocks]
    return np.concatenate(values, 1)


def _notes(seen: ThresholdPass | ClassPass) -> list[str]:
    """What was rounded, because more levels occur than are kept apart."""
    rounded = [name for name, is_rounded in seen.rounded.items() if is_rounded]
    if not rounded:
        return []
    what = " and ".join(rounded)
    return [f"more levels occur than are kept apart: {what} are those of multiples of 2^-20"]


def _choose_by_halves(thresholds: FloatArray, halves: FloatArray, better: str) -> list[HalfChoice]:
    """The best threshold of each half, judged on the other half.

    Args:
        thresholds: (T,).
        halves: (2, T) means of the halves.
        better: lower or higher.
    """
    best = [find_best(thresholds, half, better) for half in halves]
    choices = []
    for own, other in ((0, 1), (1, 0)):
        on_other = math.nan
        if not math.isnan(best[own].threshold):
            on_other = float(halves[other][np.searchsorted(thresholds, best[own].threshold)])
        choices.append(
            HalfChoice(best[own].threshold, best[own].value, on_other, best[other].value)
        )
    return choices
