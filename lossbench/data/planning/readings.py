"""Readings: what the numbers of both sides can mean, and the evidence that each meaning needs.

`TRUTH` and `PREDICTED` are the table of rules: a row is an encoding of one side, the evidence that
it needs, and the function that grades the evidence. A reading is one row of each. Losses and
settings leave readings out first; if exactly one fits, the run reads so, and otherwise it asks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

from lossbench.data.planning.encoding import CLASS_TASKS, ENCODINGS
from lossbench.data.planning.evidence import SMALL, WHITE, Evidence, without
from lossbench.data.planning.ignored import Ranges
from lossbench.data.planning.values import FEW_LABELS, FEW_LEVELS, Values
from lossbench.errors import UndecidedReadingError, either

SHOWN = 8  # values that a question lists


class Grade(IntEnum):
    """How well the evidence and a meaning go together."""

    NO, ASKED, POSSIBLE, FITS = range(4)


NO, ASKED, POSSIBLE, FITS = Grade  # what is asked for needs a setting, even alone


@dataclass(frozen=True)
class Context:
    """What is known beside the files."""

    tasks: Collection[str]  # those that settings and losses allow
    has_classes: bool = False  # the user names classes
    has_colours: bool = False  # by their colours
    true_axis: bool = False  # the ground truth has an axis of classes
    pred_axis: bool = False  # predictions have an axis of classes
    of_pictures: bool = False  # a loss of the run is one of pictures first of all

    @property
    def only_foreground(self) -> bool:
        """Whether the run is known to have a foreground and no label maps."""
        return set(self.tasks) <= {"binary", "multilabel"}

    @property
    def only_labels(self) -> bool:
        """Whether the run is known to have label maps."""
        return set(self.tasks) == {"multiclass"} and not self.true_axis


class Row(NamedTuple):
    """An encoding of one side and the evidence that it needs.

    Attributes:
        encoding: a name of `ENCODINGS`.
        meaning: what a question calls it.
        evidence: what the files have to show, for people.
        grade: how well the files, the other side and what else is known show it.
    """

    encoding: str
    meaning: str
    evidence: str
    grade: Callable[[Values, Values, Context], Grade]


def _true_mask(truth: Values, pred: Values, context: Context) -> Grade:
    if context.has_classes or not truth.whole:
        return NO
    if truth.are_two:
        is_labels = context.only_labels and truth.all <= {0, 1}
        return POSSIBLE if is_labels or truth.evidence.palette > 2 else FITS
    if truth.are_mostly_masks and not context.only_labels:
        return FITS
    return POSSIBLE if truth.all <= {0, 1, WHITE} else NO


def _true_labels(truth: Values, pred: Values, context: Context) -> Grade:
    if not truth.evidence.files:  # colours
        may_be = truth.evidence.has_areas and not context.of_pictures
        return FITS if context.has_colours else POSSIBLE if may_be else NO
    if truth.whole and context.has_classes:
        return FITS
    if not truth.whole or truth.low < 0:
        return NO
    if truth.are_two and not (context.only_labels and truth.all <= {0, 1}):
        return FITS if truth.evidence.palette > 2 else POSSIBLE
    if context.only_labels or truth.evidence.palette > 2:
        return FITS
    if context.of_pictures or context.only_foreground:
        return NO
    if truth.are_like_labels:
        is_smooth = len(truth.labels) > FEW_LEVELS and not truth.have_areas
        return POSSIBLE if truth.are_instances or is_smooth else FITS
    if truth.step and pred.levels > FEW_LEVELS:
        return NO
    return POSSIBLE if truth.step or len(truth.all) <= FEW_LABELS else NO


def _true_indices(truth: Values, pred: Values, context: Context) -> Grade:
    return _true_labels(truth, pred, context) if truth.evidence.palette else NO


def _true_numbers(truth: Values, pred: Values, context: Context) -> Grade:
    return NO if truth.evidence.palette else _true_labels(truth, pred, context)


def _true_probability(truth: Values, pred: Values, context: Context) -> Grade:
    evidence = truth.evidence
    if evidence.palette or not evidence.files or truth.are_two or context.has_classes:
        return NO
    if evidence.axis and evidence.sums_to_one:
        return FITS
    if not evidence.whole:
        if not evidence.probable:
            return NO
    elif truth.low < 0 or truth.are_small:
        return ASKED if context.only_foreground and truth.low >= 0 else NO
    elif truth.all <= {0, 1, WHITE}:
        return POSSIBLE
    elif truth.are_like_labels and truth.are_instances:
        return NO
    elif truth.have_ones:
        return ASKED
    elif truth.are_like_labels and len(truth.labels) <= FEW_LABELS:
        return POSSIBLE if truth.are_graded else NO
    elif truth.step:
        is_exact = truth.step == int(truth.step)
        return FITS if pred.levels > FEW_LEVELS or (pred.are_two and not is_exact) else POSSIBLE
    if truth.are_graded or context.only_foreground:
        return FITS
    return NO if truth.are_pictures else POSSIBLE


def _true_image(truth: Values, pred: Values, context: Context) -> Grade:
    evidence = truth.evidence
    if context.has_colours:
        return NO
    if not evidence.files:
        return POSSIBLE if evidence.has_areas else FITS
    if evidence.axis and evidence.sums_to_one:
        return POSSIBLE
    if not evidence.whole:
        if not evidence.probable:
            return FITS
    elif evidence.palette or truth.are_two or truth.are_like_labels or truth.levels <= FEW_LEVELS:
        return POSSIBLE
    elif truth.low < 0:
        return FITS
    return FITS if truth.are_pictures else POSSIBLE


def _true_instances(truth: Values, pred: Values, context: Context) -> Grade:
    return ASKED if truth.are_like_labels and truth.are_instances else NO


def _true_nonzero(truth: Values, pred: Values, context: Context) -> Grade:
    is_open = truth.are_like_labels and not truth.are_two
    return ASKED if is_open and (pred.are_two or truth.are_instances) else NO


def _alpha(own: Values, other: Values, context: Context) -> Grade:
    return ASKED if own.evidence.transparent and not own.evidence.files else NO


TRUTH = (
    Row("mask", "a mask", "0 and one other value, or 0, 1 and 255 as void", _true_mask),
    Row(
        "labels", "labels of classes",
        "whole numbers below 32, or up to 200 of which most occur", _true_numbers,
    ),
    Row("palette", "labels of classes", "a palette of three or more colours", _true_indices),
    Row(
        "probability", "a graded mask",
        "most files have 40 % of their pixels at 0 or full", _true_probability,
    ),
    Row(
        "image", "pictures",
        "colours, or most files have less than 5 % of their pixels at 0 or full", _true_image,
    ),
    Row("instances", "numbers of instances", "never without a setting", _true_instances),
    Row("nonzero", "foreground above 0", "never without a setting", _true_nonzero),
    Row("alpha", "a mask in the alpha channel", "never without a setting", _alpha),
)  # fmt: skip


def _pred_mask(pred: Values, truth: Values, context: Context) -> Grade:
    return FITS if pred.are_two or pred.are_masks else NO


def _pred_probability(pred: Values, truth: Values, context: Context) -> Grade:
    evidence = pred.evidence
    if not evidence.files or evidence.palette or pred.are_two or pred.are_masks:
        return NO
    if evidence.floats:
        if evidence.probable:
            return FITS
        return POSSIBLE if pred.overshoot or pred.low >= 0 else NO
    if pred.have_ones:
        return ASKED
    return NO if pred.low < 0 else POSSIBLE if pred.are_small else FITS


def _pred_logits(pred: Values, truth: Values, context: Context) -> Grade:
    evidence = pred.evidence
    if not evidence.floats or evidence.probable or pred.are_two or pred.are_masks:
        return NO
    return FITS if pred.low < 0 and not pred.overshoot else POSSIBLE


def _pred_nonzero(pred: Values, truth: Values, context: Context) -> Grade:
    return ASKED if pred.are_like_labels and not pred.are_two else NO


def _pred_labels(pred: Values, truth: Values, context: Context) -> Grade:
    if not pred.evidence.files:
        return FITS if context.has_colours else POSSIBLE if pred.evidence.has_areas else NO
    if not (pred.whole or pred.evidence.fraction) or (pred.low < 0 and not context.has_classes):
        return NO
    return FITS if context.has_classes or pred.are_classes(truth) else ASKED


def _pred_indices(pred: Values, truth: Values, context: Context) -> Grade:
    return _pred_labels(pred, truth, context) if pred.evidence.palette else NO


def _pred_numbers(pred: Values, truth: Values, context: Context) -> Grade:
    return NO if pred.evidence.palette else _pred_labels(pred, truth, context)


def _always(pred: Values, truth: Values, context: Context) -> Grade:
    return FITS


def _numbered(pred: Values, truth: Values, context: Context) -> Grade:
    return NO if pred.are_two or not pred.whole else FITS


SOFT = (
    Row("mask", "a mask", "0 and one other value", _pred_mask),
    Row("probability", "probabilities", "floats from 0 to 1, or more levels", _pred_probability),
    Row("logits", "logits", "floats with negative numbers", _pred_logits),
)
LABELS = (
    Row(
        "labels", "labels of classes",
        "whole numbers of which the largest is at most 1.5 times the true one, or below 32"
        " without a gap, or of which three are labels of the ground truth", _pred_numbers,
    ),
    Row("palette", "labels of classes", "the same as indices of a palette", _pred_indices),
)  # fmt: skip
FOREGROUND = (
    *SOFT,
    Row("nonzero", "foreground above 0", "never without a setting", _pred_nonzero),
    Row("alpha", "a mask in the alpha channel", "never without a setting", _alpha),
)
# The encodings of predictions that go with an encoding of the ground truth.
PREDICTED: Mapping[str, tuple[Row, ...]] = {
    "labels": LABELS,
    "palette": LABELS,
    "image": (Row("image", "pictures", "always", _always),),
    "instances": (
        Row("instances", "numbers of instances", "more than two values", _numbered),
        SOFT[0],
    ),
}


class Reading(NamedTuple):
    """A meaning of both sides."""

    task: str
    target: str
    pred: str
    grade: Grade


def choose(
    truth: Values,
    pred: Values,
    context: Context,
    encodings: tuple[str | None, str | None],
    *,
    class_files: bool,
) -> Reading:
    """The only reading that fits.

    Args:
        truth: the numbers of the ground truth.
        pred: the numbers of the predictions.
        context: what else is known.
        encodings: those of ground truth and predictions that settings give.
        class_files: whether each class has a file of its own.

    Raises:
        UndecidedReadingError: no reading fits, or several do.
    """
    foreground = foreground_task(
        pred.evidence, truth.evidence, context.tasks, class_files=class_files
    )
    every = list(_readings(truth, pred, context, encodings, foreground))
    if not every and len(context.tasks) > 1:  # the losses have no meaning on any, and are refused
        context = replace(context, tasks=(*CLASS_TASKS, "image"))
        every = list(_readings(truth, pred, context, encodings, foreground))
    best = [each for each in every if each.grade == FITS] or every
    if len(best) == 1 and best[0].grade > ASKED:
        return best[0]
    raise _question(best, truth, pred, context, encodings)


def foreground_task(
    pred: Evidence, target: Evidence, tasks: Collection[str], *, class_files: bool
) -> str:
    """The task that the axes of arrays show where a side is no label map."""
    if class_files:
        return "multilabel"
    if not (pred.axis or target.axis):
        return "binary"
    if not (pred.axis and target.axis):
        return "multiclass"
    exclusive = target.sums_to_one and (pred.sums_to_one or pred.may_be_logits)
    return "multiclass" if exclusive and "multiclass" in tasks else "multilabel"


def _readings(
    truth: Values,
    pred: Values,
    context: Context,
    encodings: tuple[str | None, str | None],
    foreground: str,
) -> Iterator[Reading]:
    """Every reading that settings and losses leave, with its grade; none questions a setting."""
    target_encoding, pred_encoding = encodings
    for row in TRUTH:
        if target_encoding not in (None, row.encoding):
            continue
        grade = FITS if target_encoding else row.grade(truth, pred, context)
        rows = _rows_of_predictions(row.encoding, context)
        if pred_encoding and pred_encoding not in {each.encoding for each in rows}:
            rows = (Row(pred_encoding, "", "", _always),)
        for each in rows:
            if pred_encoding in (None, each.encoding):
                both = min(grade, FITS if pred_encoding else each.grade(pred, truth, context))
                task = _task(row.encoding, each.encoding, context.tasks, foreground)
                if both and task:
                    yield Reading(task, row.encoding, each.encoding, both)


def _rows_of_predictions(target: str, context: Context) -> tuple[Row, ...]:
    """The encodings of predictions that go with one of the ground truth."""
    if target in ("labels", "palette") and context.pred_axis and not context.true_axis:
        return SOFT
    if target == "mask" and context.true_axis and not context.pred_axis:
        return (*LABELS, *SOFT[1:])  # a mask for each class, and labels
    return PREDICTED.get(target, FOREGROUND)


def _task(target: str, pred: str, tasks: Collection[str], foreground: str) -> str:
    """The task of a pair of encodings; "" where the run allows none."""
    of_truth = {"labels": "multiclass", "palette": "multiclass", "image": "image"}
    natural = "instances" if target == "instances" else of_truth.get(target, foreground)
    common = {*ENCODINGS[target].tasks} & {*ENCODINGS[pred].tasks} & {*tasks}
    if natural in common:
        return natural
    return common.pop() if len(tasks) == 1 and common else ""


ADVICE = (
    "leave out a setting that contradicts them, or say what they are with --gt-encoding and"
    " --pred-encoding"
)
COLOUR_ADVICE = (
    "name the colours with --classes if they are classes, as in '{road: \"#804080\"}', compare"
    " pictures with --task image, or save masks in grey, as with Image.convert('L')"
)


def _question(
    every: Collection[Reading],
    truth: Values,
    pred: Values,
    context: Context,
    encodings: tuple[str | None, str | None],
) -> UndecidedReadingError:
    """The readings that are possible, an example of each side, and the setting of each reading."""
    seen = f"the ground truth has {_shown(truth)}, predictions have {_shown(pred)}"
    if not every:
        sides = zip(("the ground truth", "predictions"), encodings, strict=True)
        wanted = "".join(f", {side} as {name}" for side, name in sides if name)
        in_colour = not (truth.evidence.files and pred.evidence.files)
        return UndecidedReadingError(
            f"no reading of the files fits {either(sorted(context.tasks))}{wanted}: {seen};"
            f" {COLOUR_ADVICE if in_colour else ADVICE}",
            (),
        )
    side = "target" if len({each.target for each in every}) > 1 else "pred"
    rows = TRUTH if side == "target" else (*FOREGROUND, *LABELS)
    meanings = {row.encoding: row.meaning for row in rows}
    flags = {"target": "--gt-encoding", "pred": "--pred-encoding", "task": "--task"}
    differ = [name for name in flags if len({getattr(each, name) for each in every}) > 1]
    settings = [name for name in differ if name != "task"] or differ or ["target", "pred"]
    readings = []
    for each in every:
        given = [f"{flags[name]} {getattr(each, name)}" for name in settings]
        if each.target in ("labels", "palette"):
            given += [f"--gt-scale {truth.step:g}"] if _is_stretched(truth) else []
            given += [f"--pred-scale {pred.step:g}"] if _is_stretched(pred) else []
            given += ["--classes with their colours"] if not truth.evidence.files else []
        meaning, setting = meanings.get(getattr(each, side), each.task), " ".join(given)
        readings.append(
            {
                "meaning": meaning,
                "task": each.task,
                "gt": each.target,
                "pred": each.pred,
                "setting": setting,
            }
        )
    options = dict.fromkeys(f"{each['meaning']}: {each['setting']}" for each in readings)
    return UndecidedReadingError(
        f"how are the files to be read? T{seen[1:]}; {'; or '.join(options)}", readings
    )


def _is_stretched(values: Values) -> bool:
    return values.step > 1 and max(values.all) >= SMALL


def _shown(values: Values) -> str:
    """The values of one side, with an example."""
    evidence = values.evidence
    where = f" ({evidence.name})" if evidence.name else ""
    if not evidence.files:
        return f"{'few' if evidence.has_areas else 'many'} colours{where}"
    if not evidence.whole:
        return f"{evidence.dtype} from {evidence.low:.4g} to {evidence.high:.4g}{where}"
    shown = ", ".join(map(str, sorted(values.all)[:SHOWN]))
    return f"the values {shown}{', …' if len(values.all) > SHOWN else ''}{where}"


def guess_instances(evidence: Evidence, ignore: Ranges, coded: bool) -> str:
    """The encoding of one side of an instances task; `coded` if numbers hold class and instance."""
    if coded or evidence.colour:
        return "instances"
    if not evidence.whole:
        return "probability" if evidence.probable else "logits"
    values = without(evidence.values, ignore)
    return "mask" if len(values - {0}) == 1 and values <= {0, 1, WHITE} else "instances"
