"""Instance and panoptic scores, from matched segments."""

from __future__ import annotations

from lossbench.interface.annotations import PerClass
from lossbench.interface.stable_math import ratio, where
from lossbench.losses import loss
from lossbench.views.segments import Segments

# Facts of every loss of this module that does not state others.
SHARED_FACTS = {"tasks": ["instances"], "better": "higher", "range": (0, 1)}


@loss(
    use="instance and panoptic segmentation in one number",
    aliases=["pq"],
    sources=["Kirillov et al. 2019, Panoptic Segmentation", "panopticapi"],
    example="panoptic_quality(void=both)",
)
def panoptic_quality(segments: Segments) -> PerClass:
    """Panoptic quality: how many segments are matched, and how well they fit.

    PQ = Σ IoU / (TP + ½FP + ½FN) = SQ · RQ, over segments of one class; a predicted and a true
    segment match (TP) where their IoU is above ½.

    Returns:
        Score per sample and class, (B, C), in [0, 1]; undefined where neither prediction nor target
        has a segment of the class, 0 where only one has.

    Note:
        Void pixels of the target are removed from predicted segments before matching, and an
        unmatched predicted segment is dropped if more than half of it is void or a crowd of its
        class. The pooled value, over all segments of all samples and then averaged over classes, is
        what panopticapi prints and papers report. panopticapi considers only the last crowd of a
        class in an image; this score considers all. torchmetrics with allow_unknown_preds_category
        also removes pixels predicted as an unknown class from true segments, and drops true
        segments with more than half such pixels: void=both.
    """
    tp, fp, fn, iou = segments
    return ratio(iou, tp + (fp + fn) / 2)


@loss(
    use="how well the matched segments fit, regardless of missed ones",
    aliases=["sq"],
    sources=["Kirillov et al. 2019, Panoptic Segmentation", "panopticapi"],
)
def segmentation_quality(segments: Segments) -> PerClass:
    """Segmentation quality: mean IoU of matched segments.

    SQ = Σ IoU / TP, over segments of one class.

    Returns:
        Score per sample and class, (B, C), 0 or in (½, 1]; undefined where neither prediction nor
        target has a segment of the class, 0 where none matches.

    Note:
        The mean over classes counts classes without a match as 0, as panopticapi does.
    """
    tp, fp, fn, iou = segments
    return ratio(iou, where(tp > 0, tp, fp + fn))


@loss(
    use="how many segments are matched, regardless of their outline; F1 of detection",
    aliases=["rq"],
    sources=["Kirillov et al. 2019, Panoptic Segmentation", "panopticapi"],
)
def recognition_quality(segments: Segments) -> PerClass:
    """Recognition quality: F1 score of segment matching.

    RQ = TP / (TP + ½FP + ½FN), over segments of one class.

    Returns:
        Score per sample and class, (B, C), in [0, 1]; undefined where neither prediction nor target
        has a segment of the class.
    """
    tp, fp, fn, _ = segments
    return ratio(tp, tp + (fp + fn) / 2)
