"""Tasks: their default losses, and what each lets a loss see."""

from __future__ import annotations

import sys

TINY = sys.float_info.min

USUAL = {  # default losses
    "binary": ("dice", "iou", "bce"),
    "multiclass": ("dice", "iou", "cross_entropy"),
    "multilabel": ("dice", "iou", "bce"),
    "image": ("l1", "l2"),
    "instances": ("panoptic_quality", "segmentation_quality", "recognition_quality"),
    "detection": ("average_precision_boxes", "giou"),
    "vectors": ("cosine",),
    "scores": ("gan_minimax",),
    "records": (),
}

# Kinds of doubts: what looks like a mistake although every file could be read.
DOUBTS = (
    "same_files", "equal_predictions", "nothing_predicted", "class_never_predicted",
    "continued_labels", "unknown_classes", "shifted_labels", "swapped_labels", "inverted",
    "oriented", "wrong_pairs", "instance_labels", "sum_of_classes", "infinite_mean",
    "baseline_pairs", "boxes_outside", "many_objects",
)  # fmt: skip
DOUBT_COUNT = "doubts"  # the count of those that are not accepted, in gates

COUNTS = ("found", "evaluated", "missing", "extra", "errors")  # counts of pairs that gates accept

# Forms in which the position of a pixel matters.
POSITIONAL = ("Image", "Valid", "DistanceMaps", "Features", "Calibrated", "Textures")


def target_threshold(threshold: float) -> float:
    """Threshold of the ground truth: that of predictions, but 0 is never foreground."""
    return max(threshold, TINY)
