"""Guesses: the task and the encodings that a sample of files shows."""

from __future__ import annotations

import numpy as np

from lossbench.data.planning.classes import Classes
from lossbench.data.planning.encoding import LARGEST_LABEL, Encoding
from lossbench.data.planning.probe import WHITE, FileProbe, Ranges, without
from lossbench.errors import SettingError

IGNORED_LABEL = 255
DARK_LIMIT = 32  # a picture with nothing above this holds labels, not grey levels
BRIGHT_SHARE = 0.75  # grey levels reach up to this share of the largest value
IMAGE_LEVELS = 64  # a ground truth with more grey levels than this is an image
LONGEST_STACK = 32  # a first axis longer than this is spatial, not one of classes


def guess_target(
    target: FileProbe, task: str | None, classes: Classes | None, ignore: Ranges, one_hot: bool
) -> str:
    """The encoding of the ground truth; `one_hot` if its shape allows classes along the first axis.

    Raises:
        SettingError: its values could be labels as well as grey levels.
    """
    if task == "image":
        return "image"
    if classes and (classes.colours or task in (None, "multiclass")):
        return "palette" if target.palette else "labels"
    if target.palette:
        return "palette"
    if target.colour:
        return "image"
    values = without(target.values, ignore)
    if not target.whole or not values:
        return "probability" if task or (target.probable and target.sums_to_one) else "image"
    if len(values | {0}) <= 2 and (task != "multiclass" or one_hot or not values <= {0, 1}):
        return "mask"
    if target.mostly_masks and task != "multiclass":  # the other files are errors of their own
        return "mask"
    one_by_one = task in ("binary", "multilabel")
    two_whites = values <= {0, 1, WHITE} and target.masks > 0 and task != "multiclass"
    if one_by_one and values <= {0, 1, WHITE} and not two_whites:
        return "mask"
    if not two_whites and (
        task == "multiclass"
        or (not one_by_one and _like_labels(values - {IGNORED_LABEL}, target.volumes))
    ):
        return "labels"
    if not one_by_one and len(values) > IMAGE_LEVELS:
        return "image"
    largest = 1.0 if target.floats else float(np.iinfo(target.dtype).max)
    is_bright = target.high >= BRIGHT_SHARE * largest
    if two_whites or not (is_bright and (task or not target.volumes)):
        shown = ", ".join(map(str, sorted(values)[:8]))
        raise SettingError(
            f"what do the ground truth's values {shown}{', …' if len(values) > 8 else ''} mean?"
            " Give --gt-encoding and, for labels, --classes such as '{0: background, 7: road}'"
        )
    return "probability"


def guess_task(truth: Encoding, pred: FileProbe, target: FileProbe, class_files: bool) -> str:
    """The task that the ground truth's encoding and the shapes of arrays are for."""
    if truth.has_channels:
        return "image"
    if class_files:
        return "multilabel"
    if truth.is_label_map:
        return "multiclass"
    more_axes = pred.dimensions - target.dimensions
    one_hot_truth = more_axes == -1 and target.leading > 1 and not pred.floats
    if (more_axes == 1 and pred.leading > 1) or one_hot_truth:
        return "multiclass"
    exclusive = pred.floats and pred.sums_to_one and target.sums_to_one
    if more_axes == 0 and target.leading > 1 and exclusive:
        return "multiclass"
    stacked = more_axes == 0 and target.dimensions > 2 and not target.flat
    short = target.places is not None or target.leading <= LONGEST_STACK
    return "multilabel" if stacked and short else "binary"


def guess_pred(pred: FileProbe, task: str, truth: Encoding, class_axis: bool) -> str:
    """The encoding of predictions; `class_axis` if they have one axis more than the ground truth.

    Raises:
        SettingError: their values are neither a mask nor probabilities.
    """
    if task == "image":
        return "image"
    one_label = task == "multiclass" and truth.is_label_map and not class_axis
    if pred.floats and pred.whole and one_label:
        return "labels"
    if pred.floats and not (pred.whole and pred.probable and task != "multiclass"):
        return "probability" if pred.probable else "logits"
    if task == "multiclass" and not class_axis:
        return "palette" if pred.palette else "labels"
    if pred.values <= {0, 1} or pred.values <= {0, WHITE}:
        return "mask"
    if pred.high < DARK_LIMIT:
        raise SettingError(
            f"predictions hold the values {min(pred.values)} to {max(pred.values)}: neither a mask"
            " nor 8-bit probabilities; give --pred-encoding, or --task multiclass for labels"
        )
    return "probability"


def guess_instances(probe: FileProbe, ignore: Ranges, coded: bool) -> str:
    """The encoding of one side of an instances task; `coded` if numbers hold class and instance."""
    if coded or probe.colour:
        return "instances"
    if not probe.whole:
        return "probability" if probe.probable else "logits"
    values = without(probe.values, ignore)
    return "mask" if len(values - {0}) == 1 and values <= {0, 1, WHITE} else "instances"


def guess_ignored(values: set[int], largest: int | None) -> bool:
    """Whether 255 stands for ignored pixels, beside labels of at most `largest`."""
    labels = values - {IGNORED_LABEL}
    if largest is None or IGNORED_LABEL not in values or not labels - {0}:
        return False
    return max(labels) <= largest


def is_sparse(values: set[int]) -> bool:
    """Whether three quarters of the numbers up to the largest value do not occur."""
    return len(values) * 4 <= max(values)


def _like_labels(values: set[int], volumes: bool) -> bool:
    """Whether values look like labels.

    Labels are small, or most numbers up to the largest occur; in volumes, a few values suffice.
    """
    few = volumes and len(values) <= IMAGE_LEVELS
    dense = max(values) <= LARGEST_LABEL and (max(values) < DARK_LIMIT or not is_sparse(values))
    return min(values) >= 0 and (few or dense)
