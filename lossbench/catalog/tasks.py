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

COUNTS = ("found", "evaluated", "missing", "extra", "errors")  # counts of pairs that gates accept

# Forms in which the position of a pixel matters.
POSITIONAL = ("Image", "Valid", "DistanceMaps", "Features", "Calibrated", "Textures")


def target_threshold(threshold: float) -> float:
    """Threshold of the ground truth: that of predictions, but 0 is never foreground."""
    return max(threshold, TINY)
