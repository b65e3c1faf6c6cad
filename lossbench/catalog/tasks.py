"""Tasks: their standard losses, and what each lets a loss see."""

from __future__ import annotations

import sys

TINY = sys.float_info.min


USUAL = {
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

COUNTS = ("found", "evaluated", "missing", "extra", "errors")  # that gates can judge

IN_PLACE = (
    "Image",
    "Valid",
    "DistanceMaps",
    "Features",
    "Calibrated",
    "Textures",
)  # forms that are more than a set of values


def of_truth(threshold: float) -> float:
    """From where on the ground truth is foreground: as predictions, but what is 0 never is."""
    return max(threshold, TINY)
