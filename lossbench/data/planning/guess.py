"""Guesses: task and encodings that the sampled files show."""

from __future__ import annotations

import numpy as np

from lossbench.data.planning.classes import Classes
from lossbench.data.planning.probe import FileProbe
from lossbench.errors import SettingError

GRADES = 64  # a ground truth with more grey levels than this is taken for an image

LABELS = 200  # above this, values are taken for grey levels and 255 for the ignored label

VOID = 255

DIM = 32  # a picture with nothing above this holds labels, not grey levels

FULL = 0.75  # grey levels reach up to this share of the largest value

SLICES = 32  # a stack with more than these along its first axis is taken for a volume

Ranges = tuple[tuple[int, int], ...]


def guess_instances(seen: FileProbe, ranges: Ranges, coded: bool) -> str:
    """Whether a side holds masks or numbers of instances."""
    if coded or seen.colour:
        return "instances"
    if not seen.whole:
        return "probability" if seen.probable else "logits"
    mask = len(seen.without(ranges) - {0}) == 1 and seen.without(ranges) <= {0, 1, VOID}
    return "mask" if mask else "instances"


def guess_target(
    target: FileProbe, task: str | None, classes: Classes | None, ranges: Ranges, one_hot: bool
) -> str:
    """What the ground truth holds; `one_hot` if its shape allows classes along the first axis."""
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
        return "probability" if task or (target.probable and target.sums_to_one) else "image"
    if len(values | {0}) <= 2 and (task != "multiclass" or one_hot or not values <= {0, 1}):
        return "mask"
    if target.mostly_masks and task != "multiclass":  # the others are errors of their own
        return "mask"
    one_by_one = task in ("binary", "multilabel")
    two_whites = values <= {0, 1, VOID} and target.masks > 0 and task != "multiclass"
    if one_by_one and values <= {0, 1, VOID} and not two_whites:
        return "mask"
    if not two_whites and (
        task == "multiclass" or (not one_by_one and like_labels(values - {VOID}, target.volumes))
    ):
        return "labels"
    if not one_by_one and len(values) > GRADES:
        return "image"
    grey = target.high >= FULL * largest_label(target) and (task or not target.volumes)
    if two_whites or not grey:
        shown = ", ".join(map(str, sorted(values)[:8]))
        raise SettingError(
            f"what do the ground truth's values {shown}{', …' if len(values) > 8 else ''} mean?"
            " Give --gt-encoding and, for labels, --classes such as '{0: background, 7: road}'"
        )
    return "probability"


def like_labels(values: set[int], volumes: bool) -> bool:
    """Whether values are small, or many of those up to the largest; in volumes not even that."""
    top = max(values)
    few = volumes and len(values) <= GRADES
    return min(values) >= 0 and (few or (top <= LABELS and (top < DIM or not is_sparse(values))))


def is_sparse(values: set[int]) -> bool:
    """Whether most numbers up to the largest are no label."""
    return len(values) * 4 <= max(values)


def largest_label(seen: FileProbe) -> float:
    """The largest value that can be stored."""
    return 1.0 if seen.floats else float(np.iinfo(seen.dtype).max)


def guess_void(values: set[int], most: int) -> bool:
    """Whether 255 stands apart from labels up to `most`."""
    labels = values - {VOID}
    return VOID in values and bool(labels - {0}) and max(labels) <= most


def guess_task(encoding: str, pred: FileProbe, target: FileProbe, class_files: bool) -> str:
    """What the ground truth's encoding and the shapes of arrays are for."""
    if encoding == "image":
        return "image"
    if class_files:
        return "multilabel"
    if encoding in ("labels", "palette"):
        return "multiclass"
    more = pred.dimensions - target.dimensions
    if (more == 1 and pred.leading > 1) or (more == -1 and target.leading > 1 and not pred.floats):
        return "multiclass"
    exclusive = pred.floats and pred.sums_to_one and target.sums_to_one
    if more == 0 and target.leading > 1 and exclusive:
        return "multiclass"
    stacked = pred.dimensions == target.dimensions > 2 and not target.flat
    few = target.places is not None or target.leading <= SLICES
    return "multilabel" if stacked and few else "binary"


def guess_pred(pred: FileProbe, task: str, stack: bool, gt: str) -> str:
    """What predictions hold, given the task; `stack` if they have an axis more than the truth."""
    if task == "image":
        return "image"
    one_number = task == "multiclass" and gt in ("labels", "palette") and not stack
    if pred.floats and pred.whole and one_number:
        return "labels"
    if pred.floats and not (pred.whole and pred.probable and task != "multiclass"):
        return "probability" if pred.probable else "logits"
    if task == "multiclass" and not stack:
        return "palette" if pred.palette else "labels"
    if pred.values <= {0, 1} or pred.values <= {0, VOID}:
        return "mask"
    if pred.high < DIM:
        raise SettingError(
            f"predictions hold the values {min(pred.values)} to {max(pred.values)}: neither a mask"
            " nor 8-bit probabilities; give --pred-encoding, or --task multiclass for labels"
        )
    return "probability"
