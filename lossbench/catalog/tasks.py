"""Tasks: their default losses, and what each lets a loss see."""

from __future__ import annotations

import sys

TINY = sys.float_info.min

USUAL = {  # default losses; those of probabilities and logits where predictions can be hard
    "binary": ("dice", "iou", "bce"),
    "multiclass": ("dice", "iou", "cross_entropy"),
    "multilabel": ("dice", "iou", "bce"),
    "image": ("l1", "psnr"),
    "instances": ("panoptic_quality", "segmentation_quality", "recognition_quality"),
    "detection": ("average_precision_boxes", "giou"),
    "vectors": ("cosine",),
    "scores": ("gan_minimax",),
    "records": (),
}
OF_HARD = {  # default losses of hard predictions
    "binary": ("dice_score", "iou", "precision", "recall"),
    "multiclass": ("dice_score", "iou", "accuracy"),
    "multilabel": ("dice_score", "iou", "precision", "recall"),
}
WINDOW = 11  # pixels along each axis that ssim needs

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


def usual_losses(
    task: str, *, is_hard: bool, has_spacing: bool, has_range: bool, narrowest: int
) -> tuple[str, ...]:
    """The losses of a run that names none.

    Args:
        task: of the run.
        is_hard: whether predictions are masks or labels.
        has_spacing: whether the size of voxels is known.
        has_range: whether the range of pictures is known, which psnr and ssim need.
        narrowest: the shortest side of a picture, in pixels.
    """
    losses = OF_HARD[task] if is_hard and task in OF_HARD else USUAL[task]
    if has_spacing and task in OF_HARD:
        return (*losses, "hd95")
    if task == "image" and not has_range:
        return losses[:1]
    return (*losses, "ssim") if task == "image" and narrowest >= WINDOW else losses


def target_threshold(threshold: float) -> float:
    """Threshold of the ground truth: that of predictions, but 0 is never foreground."""
    return max(threshold, TINY)
