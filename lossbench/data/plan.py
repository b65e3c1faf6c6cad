"""The reading plan: how bytes become numbers, decided once for the run from a sample of files.

Where a setting does not say, up to 16 pairs, spread evenly over the sorted ids with the first and
the last among them, are decoded and looked at. Every file is then held against the plan.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lossbench.data.classes import Classes, numbered
from lossbench.data.look import Seen, look
from lossbench.data.pairing import Pair
from lossbench.data.reading import HARD, Reading
from lossbench.errors import SettingError

GRADES = 64  # a ground truth with more grey levels than this is taken for an image
LABELS = 200  # above this, values are taken for grey levels and 255 for the ignored label
VOID = 255
DIM = 32  # a picture with nothing above this holds labels, not grey levels
FULL = 0.75  # grey levels reach up to this share of the largest value
SLICES = 32  # a stack with more than these along its first axis is taken for a volume


@dataclass(frozen=True)
class Plan:
    """The reading plan of a run.

    Attributes:
        task: binary, multiclass, multilabel or image.
        pred: how predictions are read.
        target: how the ground truth is read.
        names: the classes; background and foreground of a binary task.
        channels: how many classes or channels a stacked input has.
        masks: roles `ignore` and `valid` that are given.
        weighted: whether there is a role `weight`.
        resize: how a prediction of another size is fitted to its ground truth, if at all.
    """

    task: str
    pred: Reading
    target: Reading
    names: tuple[str, ...]
    channels: int
    masks: tuple[str, ...] = ()
    weighted: bool = False
    resize: str | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def counted(self) -> bool:
        """Whether distinct value pairs with counts can stand for the pixels."""
        if self.weighted or (self.pred.scale == 1 and not self.pred.hard):
            return False
        if self.task == "image":
            return self.pred.dtype == self.target.dtype == "uint8"
        if not self.target.hard or not self.pred.levels:
            return False
        return self.task != "multiclass" or self.pred.hard

    def __str__(self) -> str:
        parts = [self.task, f"pred: {self.pred}", f"gt: {self.target}"]
        if self.task in ("multiclass", "multilabel"):
            parts.append(f"{len(self.names)} classes")
        parts += [f"{role} masks" for role in self.masks]
        if self.weighted:
            parts.append("weighted")
        if self.resize:
            parts.append(f"resize {self.resize}")
        return " · ".join(parts)


Ranges = tuple[tuple[int, int], ...]


def make_plan(
    pairs: Sequence[Pair],
    *,
    task: str | None,
    classes: Classes | None,
    ignore: Any,
    pred_encoding: str | None,
    gt_encoding: str | None,
    class_files: Sequence[str],
    resize: str | None,
) -> Plan:
    """Decide the plan from the settings and, where they are silent, from a sample of the files."""
    pred, target = look(pairs, "pred"), look(pairs, "target")
    given = parse_ignore(ignore)
    ranges = given or ()
    gt = gt_encoding or _guess_target(target, task, classes, ranges)
    task = task or _guess_task(gt, pred, target, bool(class_files))
    if (task == "image") != (gt == "image") or gt == "logits":
        raise SettingError(f"the ground truth cannot be {gt} on a {task} task")
    found = pred_encoding or _guess_pred(pred, task)
    if (task == "image") != (found == "image"):
        raise SettingError(f"predictions cannot be {found} on a {task} task")
    notes = []
    if given is None and gt in ("labels", "palette") and _void(target.values):
        ranges = ((VOID, VOID),)
        notes.append(f"gt value {VOID} is taken for ignored; --ignore none makes it a class")
    if target.jpeg and gt in HARD:
        notes.append(f"{target.jpeg} is a JPEG: its compression changes the values of a mask")
    named = _name_classes(task, [(found, pred), (gt, target)], classes, class_files, ranges)
    roles = pairs[0].sources
    return Plan(
        task,
        _reading("pred", found, pred, named, (), task),
        _reading("target", gt, target, named, ranges, task),
        named.names,
        {"image": target.channels, "binary": 1}.get(task, len(named.names)),
        tuple(role for role in ("ignore", "valid") if role in roles),
        "weight" in roles,
        resize,
        tuple(notes),
    )


def parse_ignore(given: Any) -> Ranges | None:
    """Labels to ignore: None to guess, `none`, a number, a range "250-255", or several of them."""
    if given is None:
        return None
    ranges = []
    for part in given if isinstance(given, list | tuple) else str(given).split(","):
        found = re.fullmatch(r"\s*(-?\d+)\s*(?:-\s*(\d+))?\s*", str(part))
        if found:
            ranges.append((int(found[1]), int(found[2] or found[1])))
        elif str(part).strip().lower() != "none":
            raise SettingError(
                f"ignore {part!r}: expected a label, a range such as 250-255, or none"
            )
    return tuple(ranges)


def _guess_target(target: Seen, task: str | None, classes: Classes | None, ranges: Ranges) -> str:
    """What the ground truth holds."""
    if task == "image":
        return "image"
    if classes and (classes.colours or task in (None, "multiclass")):
        return "palette" if target.palette else "labels"
    if target.palette:
        return "palette"
    if target.colour:
        return "image"
    values = target.without(ranges)
    if not target.whole or not values:
        graded = target.probable and (task or target.sums_to_one)
        return "probability" if graded or task else "image"
    if len(values | {0}) <= 2 and not (task == "multiclass" and values <= {0, 1}):
        return "mask"
    one_by_one = task in ("binary", "multilabel")
    if task == "multiclass" or (not one_by_one and _like_labels(values - {VOID})):
        return "labels"
    if not one_by_one and len(values) > GRADES:
        return "image"
    if target.high < FULL * _largest(target):
        shown = ", ".join(map(str, sorted(values)[:8]))
        raise SettingError(
            f"what do the ground truth's values {shown}{', …' if len(values) > 8 else ''} mean?"
            " Give --gt-encoding and, for labels, --classes such as '{0: background, 7: road}'"
        )
    return "probability"


def _like_labels(values: set[int]) -> bool:
    """Whether values are small, or many of those up to the largest."""
    top = max(values)
    return min(values) >= 0 and top <= LABELS and (top < DIM or len(values) * 4 > top)


def _largest(seen: Seen) -> float:
    """The largest value that can be stored."""
    return 1.0 if seen.floats else float(np.iinfo(seen.dtype).max)


def _void(values: set[int]) -> bool:
    """Whether 255 stands apart from the labels."""
    labels = values - {VOID}
    return VOID in values and bool(labels - {0}) and max(labels) <= LABELS


def _guess_task(encoding: str, pred: Seen, target: Seen, class_files: bool) -> str:
    """What the ground truth's encoding and the shapes of arrays are for."""
    if encoding == "image":
        return "image"
    if class_files:
        return "multilabel"
    if encoding in ("labels", "palette"):
        return "multiclass"
    if pred.dimensions == target.dimensions + 1 and pred.leading > 1:
        return "multiclass"
    if encoding == "probability" and target.floats and target.sums_to_one and target.leading > 1:
        return "multiclass"
    stacked = pred.dimensions == target.dimensions > 2 and target.leading <= SLICES
    return "multilabel" if stacked else "binary"


def _guess_pred(pred: Seen, task: str) -> str:
    """What predictions hold, given the task."""
    if task == "image":
        return "image"
    if pred.floats and not (pred.whole and pred.probable and task != "multiclass"):
        return "probability" if pred.probable else "logits"
    if task == "multiclass":
        return "palette" if pred.palette else "labels"
    if pred.values <= {0, 1} or pred.values <= {0, VOID}:
        return "mask"
    if pred.high < DIM:
        raise SettingError(
            f"predictions hold the values {min(pred.values)} to {max(pred.values)}: neither a mask"
            " nor 8-bit probabilities; give --pred-encoding, or --task multiclass for labels"
        )
    return "probability"


def _name_classes(
    task: str,
    sides: Sequence[tuple[str, Seen]],
    classes: Classes | None,
    class_files: Sequence[str],
    ranges: Ranges,
) -> Classes:
    """The classes of the run, as named or as the sample shows them; `sides` with encodings."""
    if task == "image":
        return Classes((), ())
    stacks = {
        seen.leading
        for encoding, seen in sides
        if not class_files and (task == "multilabel" or encoding not in HARD)
    }
    if task == "binary":
        named = classes or numbered(2, ("background", "foreground"))
        if len(named.names) != 2:
            raise SettingError(f"a binary task has two classes, {len(named.names)} are named")
        return named
    if class_files:
        return numbered(len(class_files), class_files)
    if classes:
        if task == "multilabel" or stacks:
            for count in stacks - {len(classes.names)}:
                raise SettingError(f"{len(classes.names)} classes are named, arrays hold {count}")
        return classes
    hard = [seen for encoding, seen in sides if encoding in HARD]
    if any(seen.colour for seen in hard):
        raise SettingError(
            "colour pictures as labels need their colours: --classes '{road: \"#804080\", …}'"
        )
    values = {value for seen in hard for value in seen.without(ranges)}
    return numbered(max(stacks, default=0) or max(2, max(values, default=0) + 1))


def _reading(
    role: str, encoding: str, seen: Seen, classes: Classes, ignore: Ranges, task: str
) -> Reading:
    """How a role is read, its values settled."""
    stacked = task in ("multilabel", "image") or (task == "multiclass" and encoding not in HARD)
    if encoding not in HARD:
        whole = np.dtype(seen.dtype).kind in "ui" and encoding != "logits"
        scale = float(np.iinfo(seen.dtype).max) if whole else 1.0
        return Reading(role, encoding, seen.dtype, scale, ignore=ignore, stacked=stacked)
    values, colours = classes.values, classes.colours
    one_by_one = task == "multilabel" or encoding == "mask"
    if one_by_one and not colours:
        values = ((0, 0), (_white(seen, ignore), 1))
    elif role == "pred" and _indexed(seen, classes):
        values, colours = numbered(len(classes.names)).values, False
    count = 2 if one_by_one else len(classes.names)
    return Reading(role, encoding, seen.dtype, 1.0, values, count, colours, ignore, stacked)


def _white(seen: Seen, ignore: Ranges) -> int:
    """The stored value of a mask's foreground."""
    values = seen.without(ignore) - {0}
    if len(values) == 1:
        return values.pop()
    if values & {1, VOID}:
        return VOID if VOID in values else 1
    return VOID if seen.images and seen.dtype == "uint8" else 1


def _indexed(seen: Seen, classes: Classes) -> bool:
    """Whether predicted labels are class indices where the ground truth stores other values."""
    if classes.colours:
        return not seen.colour
    stored = {value for value, _ in classes.values}
    return not seen.values <= stored and max(seen.values, default=0) < len(classes.names)
