"""Doubts of a run: one row a kind, each judged from evidence that adds up over pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lossbench.data.planning.plan import Plan
from lossbench.errors import printable
from lossbench.results.baseline import SharedPairs
from lossbench.results.doubt import Doubt
from lossbench.results.doubts.agreement import (
    CORRELATED,
    FEW,
    MAX_LABELS,
    GridPoints,
    confusion,
    correlation,
    crossed_ious,
    far_better,
    matched,
    mean_iou,
)
from lossbench.results.doubts.evidence import PREDICTED, TRUE, VALID, DoubtEvidence
from lossbench.results.gates import Check
from lossbench.runtime.array_types import FloatArray

if TYPE_CHECKING:
    from lossbench.results.result import Result

HALF = 0.5  # of the files: from this share on, something is no exception
RARE = 0.01  # of all pixels: a class with fewer says little
FARTHER = 1.5  # a label this many times the largest of the sample is no rare class
CONTINUED = 3  # predicted labels so far beyond the true ones, at least
OUTSIDE = 0.05  # share of the boxes that reach beyond their picture, at least
STANDING_OUT = 0.7  # disagreement with the best ground truth, as a share of that with the next
LISTED = 3  # names in a message
UNIT = 0.95  # share of boxes within 0 … 1, at least
# Aggregates that infinite members make infinite, or undefined.
INFINITE = ("mean", "sum", "std", "ci_low", "ci_high")
POINT = " · "  # before the kind at the end of a message


@dataclass(frozen=True)
class Case:
    """Everything that doubts are judged from.

    Attributes:
        plan: how files were read.
        evidence: what they show.
        result: the result, whose doubts and gates are not decided yet.
        checks: the gates.
        shared: the pairs in common with the earlier result that gates name, if there is one.
        has_named_classes: whether the user names the classes.
        max_detections: the objects of a class and picture that scores of boxes count, at most; 0
            without such a score.
    """

    plan: Plan
    evidence: DoubtEvidence
    result: Result
    checks: Sequence[Check] = ()
    shared: SharedPairs | None = None
    has_named_classes: bool = False
    max_detections: int = 0

    @property
    def has_classes(self) -> bool:
        """Whether the pixels of classes are counted."""
        return (
            self.plan.task in ("binary", "multiclass", "multilabel") and self.evidence.counted > 0
        )

    @cached_property
    def points(self) -> GridPoints | None:
        """The points of the pairs that were glanced at; None of very many classes."""
        if len(self.plan.names) > MAX_LABELS:
            return None
        codes = {"image": 0, "multiclass": len(self.plan.names)}
        if self.plan.task == "multilabel":
            codes["multilabel"] = 2 * min(len(self.plan.names), self._planes)
        return GridPoints.of(self.evidence.glances, codes.get(self.plan.task, 2))

    @property
    def _planes(self) -> int:
        return max((len(each.pred) for each in self.evidence.glances.values()), default=1)

    @cached_property
    def table(self) -> FloatArray | None:
        """How many points have each true and predicted class, where classes exclude each other."""
        points = self.points
        if points is None or self.plan.task != "multiclass":
            return None
        return confusion(points.pred, points.target, points.classes)

    @property
    def looked(self) -> str:
        """How many pairs were glanced at."""
        return f"{len(self.evidence.glances):,} files that were looked at"


Found = tuple[str, int] | None  # what was seen and what to try, and the number of files


def judge(case: Case, accept: Sequence[str] = ()) -> list[Doubt]:
    """The doubts of a run; a consequence of another doubt is left out."""
    found = {kind: each for kind, function in JUDGES.items() if (each := function(case))}
    hidden = {effect for kind in found for effect in EFFECTS.get(kind, ())}
    return [
        Doubt(kind, printable(f"{text}{POINT}{kind}"), count, kind in accept)
        for kind, (text, count) in found.items()
        if kind not in hidden
    ]


def _same_files(case: Case) -> Found:
    same = case.evidence.same
    if not same:
        return None
    return (
        f"prediction and ground truth are the same file in {_of(same, case.evidence.files)}; give"
        " the folder of the predictions as PRED, and check its links",
        same,
    )


def _equal_predictions(case: Case) -> Found:
    """Equal predictions of half of the pairs, whose ground truths differ."""
    glances = case.evidence.glances
    if case.plan.task in ("scores", "records"):
        return None
    groups: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for id, each in sorted(glances.items()):
        groups.setdefault((each.pred_hash, each.shape), []).append(id)
    ids = max(groups.values(), key=len, default=[])
    truths = {glances[id].target_hash for id in ids}
    enough = 3 if ids and glances[ids[0]].is_flat else 2
    has_pixels = ids and glances[ids[0]].pred.size
    if len(ids) < max(enough, HALF * len(glances)) or len(truths) < 2:
        return None
    if ids and case.plan.task in ("vectors", "detection") and len(ids) < 3:
        return None
    if has_pixels and glances[ids[0]].is_flat and len(ids) < len(glances):
        return None  # nothing is the right answer of some
    return (
        f"the predictions of {len(ids):,} of {case.looked} are equal ({_listed(ids)}), their ground"
        " truths differ; check that the model ran on each of them",
        len(ids),
    )


def _nothing_predicted(case: Case) -> Found:
    """No prediction of any file has a foreground, or a second class."""
    if not case.has_classes:
        return None
    evidence, task = case.evidence, case.plan.task
    files = evidence.class_files
    if task == "multiclass":
        (true,), (own,) = (np.nonzero(files[row]) for row in (TRUE, PREDICTED))
        if len(own) != 1 or len(true) < 2:
            return None
        count, name = evidence.counted, case.plan.names[own[0]]
        seen = f"every prediction is {name!r} everywhere in {_of(count, evidence.files)}"
        return (
            f"{seen}; check the model's output, and whether it was rounded to whole numbers",
            count,
        )
    first = 1 if task == "binary" else 0
    if files[PREDICTED, first:].any() or not files[TRUE, first:].any():
        return None
    count = int(files[TRUE, first:].max())
    limit = "" if case.plan.pred.is_hard else f" reaches the threshold {case.plan.threshold:g}"
    what = f"no pixel{limit}" if limit else "no foreground is predicted"
    advice = "--threshold, --pred-scale or --pred-encoding" if limit else "PRED"
    return f"{what} in any of {evidence.counted:,} files; check {advice}", count


def _class_never_predicted(case: Case) -> Found:
    """Classes of the ground truth that no prediction has."""
    if not case.has_classes or case.plan.task == "binary":
        return None
    evidence = case.evidence
    files, pixels = evidence.class_files, evidence.class_pixels
    valid = np.maximum(pixels[VALID], 1)
    common = (pixels[TRUE] >= RARE * valid) & (files[TRUE] >= min(2, evidence.counted))
    never = np.flatnonzero(common & (files[PREDICTED] == 0))
    if not len(never):
        return None
    count = int(files[TRUE, never].max())
    names = [case.plan.names[index] for index in never.tolist()]
    return (
        f"no prediction has {_classes(names)}, which {_of(count, evidence.counted)} of the ground"
        " truth have; check the classes of the model against --classes, or --ignore the value of"
        " void",
        count,
    )


def _continued_labels(case: Case) -> Found:
    """Labels of one side that go on far beyond those that the plan was made from, or the true ones.

    Beyond the sample a single label in a file is enough, beyond the true ones several are needed,
    which a model does not predict by mistake.
    """
    if not case.has_classes or case.plan.task != "multiclass" or case.has_named_classes:
        return None
    files, pixels = case.evidence.class_files, case.evidence.class_pixels
    known, labels = case.plan.known_labels, np.arange(files.shape[1])
    of_both = (files[TRUE] > 0) & (files[PREDICTED] > 0)
    odd = files[:VALID].any(0) & ~of_both & (labels >= known)
    if known and (largest := labels[odd].max(initial=0)) > FARTHER * (known - 1):
        count, end = case.evidence.beyond, f"the sample of the reading plan ends at {known - 1}"
    else:
        last = int(np.flatnonzero(files[TRUE]).max(initial=0))
        odd = (files[PREDICTED] > 0) & (labels > FARTHER * last)
        share = pixels[PREDICTED, odd].sum() / max(1, pixels[VALID].max(initial=0))
        if odd.sum() < CONTINUED or share < RARE:
            return None
        largest, count = labels[odd].max(), int(files[PREDICTED, odd].max())
        end = f"no ground truth has one beyond {last}"
    is_true = files[TRUE, odd].any()
    advice = (
        "--ignore the values that are none" if is_true else "check how predictions were written"
    )
    return (
        f"{_of(count, case.evidence.files)} have labels up to {largest}, where {end}; {advice}, or"
        " name the classes with --classes",
        count,
    )


def _unknown_classes(case: Case) -> Found:
    """Predicted classes that no ground truth has."""
    if not case.has_classes or case.plan.task == "binary" or case.has_named_classes:
        return None
    evidence = case.evidence
    files, pixels = evidence.class_files, evidence.class_pixels
    often = files[PREDICTED] >= HALF * evidence.counted
    large = pixels[PREDICTED] >= RARE * np.maximum(pixels[VALID], 1)
    unknown = np.flatnonzero((files[TRUE] == 0) & often & large)
    if not len(unknown):
        return None
    count = int(files[PREDICTED, unknown].max())
    names = [case.plan.names[index] for index in unknown.tolist()]
    return (
        f"{_of(count, evidence.counted)} of the predictions have {_classes(names)}, which no ground"
        " truth has; check how labels were written, or name all classes with --classes",
        count,
    )


def _shifted_labels(case: Case) -> Found:
    """Predicted labels that agree after 1 is added or taken off."""
    table = case.table
    if table is None or len(table) < 3:
        return None
    best = None
    for step in (1, -1):
        moved = np.zeros_like(table)
        source = slice(None, -1 - step) if step > 0 else slice(-step, -1)
        goal = slice(step, -1) if step > 0 else slice(None, -1 + step)
        moved[:, goal] = table[:, source]
        moved[:, -1] = table.sum(1) - moved[:, :-1].sum(1)
        after = mean_iou(moved)
        if far_better(mean_iou(table), after) and (best is None or after > best[0]):
            best = after, step, np.trace(moved) / max(moved.sum(), 1)
    if best is None:
        return None
    _, step, share = best
    sign = "+" if step > 0 else "−"
    return (
        f"predictions {sign} 1 would agree in {share:.0%} of the pixels, as they are in"
        f" {np.trace(table) / max(table.sum(), 1):.0%} ({case.looked}); shift the labels, or say"
        " what they mean with --classes or --pred-values",
        len(case.evidence.glances),
    )


def _swapped_labels(case: Case) -> Found:
    """Classes that agree after a permutation of their predicted labels."""
    table = case.table
    if table is None:
        return None
    crossed = crossed_ious(table)
    partner = {
        int(own): int(true) for true, own in np.argwhere(crossed > HALF) if int(own) != int(true)
    }
    moved = sorted(partner)
    while moved and set(moved) != {partner[own] for own in moved}:  # keeps whole cycles
        moved = [own for own in moved if partner[own] in moved and own in
                 {partner[other] for other in moved}]  # fmt: skip
    if not moved:
        return None
    before = np.mean([crossed[own, own] for own in moved])
    after = np.mean([crossed[partner[own], own] for own in moved])
    if not far_better(float(before), float(after)):
        return None
    names = case.plan.names
    pairs = ", ".join(f"{names[own]!r} is {names[partner[own]]!r}" for own in moved[: 2 * LISTED])
    return (
        f"predicted labels are permuted ({pairs}): their mean IoU would be {after:.2f}, as they are"
        f" {before:.2f} ({case.looked}); check the order of the classes, and --classes",
        len(case.evidence.glances),
    )


def _inverted(case: Case) -> Found:
    """Masks or pictures that agree with the ground truth once they are inverted."""
    points = case.points
    if points is None or case.plan.task == "multiclass":
        return None
    if points.classes:
        if len(set(points.target.ravel().tolist()) - {-1}) < points.classes:
            return None  # a class that does not occur tells nothing
        changed = np.where(points.pred >= 0, points.pred ^ 1, points.pred)
    else:
        if min(points.pred.min(), points.target.min()) < 0:
            return None  # no range from black to white
        changed = 1 - points.pred
    after = points.is_far_better(changed)
    if after is None:
        return None
    return (
        f"inverted predictions would agree far better: {_measure(points)} {after:.2f} in place of"
        f" {points.before:.2f} ({case.looked}); invert one side",
        len(points.ids),
    )


def _oriented(case: Case) -> Found:
    """Predictions that agree once they are transposed, flipped or turned."""
    points = case.points
    if points is None or not points.ids:
        return None
    best: tuple[float, str] | None = None
    for (order, flips), changed in points.orientations():
        after = points.is_far_better(changed)
        if after is not None and (best is None or after > best[0] + 1e-6):
            best = after, _orientation(order, flips)
    if best is None:
        return _reversed_colours(case)
    return (
        f"{best[1]} predictions would agree far better: {_measure(points)} {best[0]:.2f} in place"
        f" of {points.before:.2f} ({case.looked}); check how arrays were written: rows come first",
        len(points.ids),
    )


def _reversed_colours(case: Case) -> Found:
    """Pictures that agree once red and blue are exchanged."""
    colours = [each.colours for each in case.evidence.glances.values() if each.colours]
    if not colours:
        return None
    before, after = 1 - np.mean(colours, 0)
    if not far_better(float(before), float(after), "pictures", len(colours)):
        return None
    return (
        "predictions with red and blue exchanged would agree far better: 1 − l1"
        f" {after:.2f} in place of {before:.2f} ({case.looked}); OpenCV writes and reads BGR,"
        " which cv2.cvtColor turns into RGB",
        len(colours),
    )


def _orientation(order: tuple[int, ...], flips: tuple[int, ...]) -> str:
    """A change of axes in words."""
    if len(order) != 2:
        parts = [f"axes {', '.join(map(str, order))}"] if order != tuple(sorted(order)) else []
        parts += [f"axis {axis} flipped" for axis in flips]
        return f"re-oriented ({'; '.join(parts)})"
    names = {
        ((0, 1), (0,)): "vertically flipped",
        ((0, 1), (1,)): "horizontally flipped",
        ((0, 1), (0, 1)): "half turned",
        ((1, 0), ()): "transposed",
        ((1, 0), (0, 1)): "transposed and half turned",
    }
    return names.get((order, flips), "quarter turned")


def _wrong_pairs(case: Case) -> Found:
    """Predictions that agree far better with the ground truth of another pair."""
    points = case.points
    if points is None or len(points.ids) < 2:
        return None
    table = points.between()
    own = np.diag(table).copy()
    usable = np.flatnonzero(~np.isnan(own))
    if len(usable) < 2:
        return None
    table, own = table[np.ix_(usable, usable)], own[usable]
    partners = matched(table)
    rows = range(len(usable))
    after = np.array([table[row, partners[row]] for row in rows])
    moved = [
        row for row in rows
        if partners[row] != row and far_better(own[row], after[row], points.kind)
    ]  # fmt: skip
    # Pairs that lose their own partner without finding a better one stay as they are.
    mean = np.where(after > own, after, own).mean()
    if not moved or not far_better(float(own.mean()), float(mean), points.kind, len(usable)):
        return None
    if not _stand_out(table, partners, moved):
        return None
    if not points.classes and not _alike(points, usable, partners, moved):
        return None
    ids = [points.ids[index] for index in usable.tolist()]
    shown = ", ".join(
        f"{ids[row]} fits {ids[partners[row]]}: {after[row]:.2f} in place of {own[row]:.2f}"
        for row in moved[:LISTED]
    )
    return (
        f"{len(moved):,} of {case.looked} fit the ground truth of another file far better ({shown},"
        f" {_measure(points)}); check that names mean the same on both sides, such as numbers from"
        " 0 and from 1",
        len(moved),
    )


def _stand_out(table: FloatArray, partners: Sequence[int], moved: Sequence[int]) -> bool:
    """Whether predictions fit their partners clearly better than any other ground truth.

    Among many pairs of similar objects, some ground truth fits any prediction.
    """
    if len(table) < FEW:
        return True
    others = np.where(np.isnan(table), 0, table)[moved]
    best = others[np.arange(len(moved)), [partners[row] for row in moved]]
    others[np.arange(len(moved)), [partners[row] for row in moved]] = -np.inf
    return float(np.median((1 - best) / (1 - others.max(1)))) <= STANDING_OUT


def _alike(points: GridPoints, usable: Any, partners: Sequence[int], moved: Sequence[int]) -> bool:
    """Whether pictures resemble the ground truths that they were matched with."""
    rows = usable[list(moved)]
    others = usable[[partners[row] for row in moved]]
    return correlation(points.pred[rows], points.target[others]) >= CORRELATED


def _instance_labels(case: Case) -> Found:
    """Labels that number the objects of each file."""
    if case.plan.task != "multiclass":
        return None
    counts = [each.objects for each in case.evidence.glances.values() if each.objects >= 0]
    if len(counts) < 2 or not all(counts) or len(set(counts)) < 2:
        return None
    return (
        f"the labels of {len(counts):,} files that were looked at number their objects: 1 to"
        f" {min(counts)} … {max(counts)}, one connected component each; give --task instances, or"
        " --gt-encoding nonzero for the foreground",
        len(counts),
    )


def _sum_of_classes(case: Case) -> Found:
    """Probabilities of several classes that do not sum to 1."""
    off = [id for id, each in sorted(case.evidence.glances.items()) if each.is_off]
    if not off:
        return None
    return (
        f"predicted probabilities do not sum to 1 over the classes in {len(off):,} of {case.looked}"
        f" ({_listed(off)}); give --task multilabel if classes overlap, or write the output of a"
        " softmax",
        len(off),
    )


def _infinite_mean(case: Case) -> Found:
    """Gates on an infinite mean whose members are finite but for some."""
    worst: tuple[int, str] | None = None
    for check in case.checks:
        aggregate = str(check.gate.aggregate).removeprefix("group_")
        if check.column is None or aggregate not in INFINITE:
            continue
        values = case.result.values[check.column.name]
        rows = values.class_columns
        names = case.result.class_names
        of_class = check.gate.of_class
        column = values.column if not of_class or rows is None else rows[names.index(of_class)]
        infinite = int(np.isinf(column).sum())
        if (
            infinite
            and np.isfinite(column).any()
            and not math.isfinite(case.result.quantity(check))
        ):
            worst = max(worst or (0, ""), (infinite, check.gate.quantity))
    if worst is None:
        return None
    count, quantity = worst
    return (
        f"the gate on {quantity} judges an infinite number: {_of(count, len(case.result.ids))} are"
        " infinite, and the others do not count; gate the median, or give the loss a cap",
        count,
    )


def _baseline_pairs(case: Case) -> Found:
    """A baseline of other pairs, or of another ground truth."""
    pairs = case.shared
    if pairs is None or (pairs.all_common and pairs.same_truth is not False):
        return None
    if pairs.all_common:
        return (
            "the baseline has the same pairs with another ground truth; evaluate its predictions"
            " again with the ground truth of this run",
            pairs.own,
        )
    return (
        f"the baseline has {pairs.earlier:,} pairs and this run {pairs.own:,}, {pairs.common:,} of"
        " them in common; gates judge both as they stand, lossbench compare judges the common"
        " pairs",
        pairs.own,
    )


def _boxes_outside(case: Case) -> Found:
    """Boxes beyond their pictures, or within their first pixel."""
    evidence = case.evidence
    if evidence.outside and evidence.outside >= OUTSIDE * evidence.boxes:
        return (
            f"{evidence.outside:,} of {evidence.boxes:,} predicted boxes reach beyond their picture"
            f" by more than a tenth of their size, in {_files(evidence.outside_files)}; COCO's bbox"
            " is x, y, width, height, no second corner, in pixels of the picture that the ground"
            " truth lists",
            evidence.outside_files,
        )
    if evidence.boxes and evidence.farthest > 2 and evidence.unit_boxes >= UNIT * evidence.boxes:
        return (
            f"{evidence.unit_boxes:,} of {evidence.boxes:,} predicted boxes lie within 0 … 1, in"
            f" {_files(evidence.unit_files)}; multiply them with width and height of their picture",
            evidence.unit_files,
        )
    return None


def _many_objects(case: Case) -> Found:
    """More objects of a class than detections that count."""
    most, objects = case.max_detections, case.evidence.objects
    count = sum(files for number, files in objects.items() if number > most)
    if not most or not count:
        return None
    return (
        f"{_of(count, case.evidence.files)} have more than {most} objects of one class,"
        f" {max(objects)} at most, where scores count {most} detections: some objects cannot"
        " be found; give the loss a larger max_detections",
        count,
    )


JUDGES: Mapping[str, Callable[[Case], Found]] = {
    "same_files": _same_files,
    "equal_predictions": _equal_predictions,
    "nothing_predicted": _nothing_predicted,
    "class_never_predicted": _class_never_predicted,
    "continued_labels": _continued_labels,
    "unknown_classes": _unknown_classes,
    "shifted_labels": _shifted_labels,
    "swapped_labels": _swapped_labels,
    "inverted": _inverted,
    "oriented": _oriented,
    "wrong_pairs": _wrong_pairs,
    "instance_labels": _instance_labels,
    "sum_of_classes": _sum_of_classes,
    "infinite_mean": _infinite_mean,
    "baseline_pairs": _baseline_pairs,
    "boxes_outside": _boxes_outside,
    "many_objects": _many_objects,
}
_CLASSES = ("class_never_predicted", "unknown_classes")
# What a doubt explains.
EFFECTS = {
    "nothing_predicted": ("equal_predictions", *_CLASSES),
    "equal_predictions": ("class_never_predicted", "wrong_pairs"),
    "shifted_labels": (*_CLASSES, "swapped_labels"),
    "swapped_labels": _CLASSES,
    "instance_labels": (*_CLASSES, "continued_labels", "shifted_labels", "swapped_labels"),
    "continued_labels": ("unknown_classes",),
}


def _measure(points: GridPoints) -> str:
    return "mean IoU" if points.classes else "1 − l1"


def _of(count: int, total: int) -> str:
    return f"{count:,} of {_files(total)}"


def _files(count: int) -> str:
    return f"{count:,} {'file' if count == 1 else 'files'}"


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(ids[:LISTED]) + (", …" if len(ids) > LISTED else "")


def _classes(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[: 2 * LISTED])) + (", …" if len(names) > 2 * LISTED else "")
    return f"{'class' if len(names) == 1 else 'classes'} {shown}"
