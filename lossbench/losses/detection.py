"""Losses and scores of detection: boxes, their classes and their masks.

Args:
    lambda_: λ, the weight of the boxes.
    n_cls: N_cls; none for the number of anchors labelled 0 or 1.
    n_box: N_box; none for the same number, as in torchvision.
    beta: β, above which smooth L1 is linear.
"""

from __future__ import annotations

import math

from lossbench.errors import InputError
from lossbench.interface.annotations import (
    Array,
    Count,
    NonNegative,
    PerClass,
    PerPixel,
    PerSample,
    Tensors,
)
from lossbench.interface.sample_batch import check_tensor
from lossbench.interface.stable_math import library
from lossbench.losses import loss
from lossbench.views.boxes import BoxPairs, around, centre, overlap, ratio_or_zero
from lossbench.views.ranked_detections import RankedDetections

# Facts of every loss of this module that does not state others.
SHARED_FACTS = {"tasks": ["detection"]}

LEFT_OUT = -1  # label of an anchor that is neither object nor background


@loss(
    use="how well boxes fit, regardless of scores",
    range=(0, 1),
    sources=["Yu et al. 2016, UnitBox"],
    example="iou_box(unmatched=all)",
)
def iou_box(matched: BoxPairs) -> PerPixel:
    """IoU loss of boxes: one minus the intersection over the union.

    mean 1 − |A ∩ B| / |A ∪ B| over the objects, with A the detection and B the object.

    Returns:
        Loss of each object, in [0, 1], 1 for a missed object; undefined without an object.
    """
    return matched.each(1 - _iou(matched), worst=1.0)


@loss(
    use="boxes, with a gradient even where they do not overlap",
    range=(0, 2),
    sources=["Rezatofighi et al. 2019", "torchvision.ops.generalized_box_iou_loss"],
    example="giou(unmatched=all)",
)
def giou(matched: BoxPairs) -> PerPixel:
    """Generalized IoU loss of boxes.

    mean 1 − IoU + (|C| − |A ∪ B|) / |C| over the objects, with C the smallest box around both.

    Returns:
        Loss of each object, in [0, 2], 2 for a missed object; undefined without an object.

    Note:
        torchvision adds 1e-7 to both areas.
    """
    _, union = overlap(matched.pred, matched.target)
    hull = around(matched.pred, matched.target).prod(-1)
    return matched.each(1 - _iou(matched) + ratio_or_zero(hull - union, hull), worst=2.0)


@loss(
    use="boxes, with a penalty on the distance between centres",
    range=(0, 2),
    sources=["Zheng et al. 2020", "torchvision.ops.distance_box_iou_loss"],
    example="diou(unmatched=all)",
)
def diou(matched: BoxPairs) -> PerPixel:
    """Distance IoU loss of boxes.

    mean 1 − IoU + d²/c² over the objects, with d the distance between the centres and c the
    diagonal of the smallest box around both.

    Returns:
        Loss of each object, in [0, 2], 2 for a missed object; undefined without an object.

    Note:
        torchvision adds 1e-7 to the union and to c².
    """
    return matched.each(1 - _iou(matched) + _distance(matched), worst=2.0)


@loss(
    use="boxes, with penalties on their centres and aspect ratios",
    range=(0, 2.5),
    sources=["Zheng et al. 2020", "torchvision.ops.complete_box_iou_loss"],
    example="ciou(unmatched=all)",
)
def ciou(matched: BoxPairs) -> PerPixel:
    """Complete IoU loss of boxes.

    mean 1 − IoU + d²/c² + α·v over the objects, v = 4/π²·(atan w_B/h_B − atan w_A/h_A)² and α =
    v/(1 − IoU + v), d and c as in `diou`.

    Returns:
        Loss of each object, in [0, 2.5], 2.5 for a missed object; undefined without an object.

    Note:
        torchvision treats α as a constant in the gradient; here it is differentiated.
    """
    iou = _iou(matched)
    v = 4 / math.pi**2 * (_angle(matched.target) - _angle(matched.pred)) ** 2
    aspect = ratio_or_zero(v * v, 1 - iou + v)
    return matched.each(1 - iou + _distance(matched) + aspect, worst=2.5)


@loss(
    use="COCO's leaderboard metric: recall, localisation and ranking in one number",
    better="higher",
    range=(0, 1),
    aliases=["coco_ap"],
    sources=["Lin et al. 2014, Microsoft COCO", "pycocotools.cocoeval"],
    example="average_precision_boxes(iou_thresholds=0.5, area=small)",
)
def average_precision_boxes(found: RankedDetections) -> PerClass:
    """Average precision of detections, AP.

    mean over the IoU thresholds of mean_r max_{r' ≥ r} precision(r'), r = 0, 0.01, … 1, of one
    class.

    Returns:
        Score per sample and class, (B, C), in [0, 1]; undefined without an object of the class.

    Note:
        The pooled value ranks the detections of all images together, then averages over classes: it
        is pycocotools' AP, and iou_thresholds=0.5, iou_thresholds=0.75 and area=small, medium and
        large give its other five values. An image's value is that of a data set of one image.
        pycocotools treats an annotation with id 0 as never found.
    """
    return found.average_precision


@loss(
    use="how many objects are detected at all with a limited number of detections",
    better="higher",
    range=(0, 1),
    aliases=["coco_ar"],
    sources=["Hosang et al. 2016", "pycocotools.cocoeval"],
    example="average_recall_boxes(max_detections=10)",
)
def average_recall_boxes(found: RankedDetections) -> PerClass:
    """Average recall of detections, AR.

    mean over the IoU thresholds of detected objects / objects, of one class.

    Returns:
        Score per sample and class, (B, C), in [0, 1]; undefined without an object of the class.

    Note:
        The pooled value, the mean over classes of all images together, is pycocotools' AR;
        max_detections=1, 10 and 100 and area=small, medium and large give its six values.
    """
    return found.average_recall


@loss(
    use="anchors of a region proposal network",
    tasks=["records"],
    sources=["Ren et al. 2015, Faster R-CNN"],
    example="faster_rcnn(n_cls=256, n_box=2400)",
)
def faster_rcnn(
    pred: Tensors,
    target: Tensors,
    *,
    lambda_: NonNegative = 10.0,
    n_cls: Count | None = None,
    n_box: Count | None = None,
    beta: NonNegative = 1.0,
) -> PerSample:
    """Faster R-CNN anchor loss: objectness and box regression.

    (1/N_cls)·Σ BCE(p_i, y_i) + (λ/N_box)·Σ y_i·Σ_j smooth_l1(t_ij − t*_ij), over the anchors i
    labelled 0 or 1 and the four coordinates j; smooth_l1(x) = x²/2β below β, |x| − β/2 above.

    Args:
        pred: `logits` (B, A) of p, and `deltas` (B, A, 4), t.
        target: `labels` (B, A): 1 object, 0 background, −1 excluded; `deltas` (B, A, 4), t*.

    Returns:
        Loss per sample, (B,), 0 or more; undefined where every anchor is excluded.

    Note:
        The paper divides by 256 (anchors per batch) and about 2400 (anchor locations).
    """
    labels = _labels(target, "labels")
    logits = check_tensor(pred, "logits", labels.shape).double()
    deltas = [check_tensor(t, "deltas", (*labels.shape, 4)).double() for t in (pred, target)]
    included = labels != LEFT_OUT
    expected = "expected 1 for an object, 0 for background, −1 to exclude an anchor"
    _reject(labels, included & (labels != 0) & (labels != 1), "has the label {}; " + expected)
    number = included.sum(-1).where(included.any(-1), math.nan)
    objects = labels == 1
    bce = _bce(logits, objects.double())
    smooth_l1 = _smooth(deltas[0] - deltas[1], beta).sum(-1)
    undefined = number * 0  # nan where every anchor is excluded, else 0
    class_loss = bce.where(included, 0.0).sum(-1) / (n_cls or number)
    box_loss = smooth_l1.where(objects, 0.0).sum(-1) / (n_box or number)
    return class_loss + lambda_ * box_loss + undefined


@loss(
    use="anchors, their boxes and their masks",
    tasks=["records"],
    sources=["He et al. 2017, Mask R-CNN", "torchvision maskrcnn_loss"],
    example="mask_rcnn(lambda_=1)",
)
def mask_rcnn(
    pred: Tensors,
    target: Tensors,
    *,
    lambda_: NonNegative = 10.0,
    n_cls: Count | None = None,
    n_box: Count | None = None,
    beta: NonNegative = 1.0,
) -> PerSample:
    """Mask R-CNN loss: the Faster R-CNN loss plus the masks of objects.

    L_cls + L_box + L_mask; the first two are `faster_rcnn`, L_mask is the mean BCE over the m×m
    masks of positive regions, each in the channel of its true class.

    Args:
        pred: as for `faster_rcnn`, and `mask_logits` (B, R, K, m, m), channel k for class k.
        target: as for `faster_rcnn`, and for each region `mask_labels` (B, R), its class from 1 on,
            0 for background; `masks` (B, R, m, m), 0 or 1.

    Returns:
        Loss per sample, (B,), 0 or more; without a positive region L_mask is 0.

    Note:
        Channel 0 belongs to the background, as in torchvision, and is never used; nor are the
        channels of other classes, so classes do not compete.
    """
    anchors = faster_rcnn(pred, target, lambda_=lambda_, n_cls=n_cls, n_box=n_box, beta=beta)
    labels = _labels(target, "mask_labels")
    masks = check_tensor(target, "masks", (*labels.shape, None, None)).double()
    _reject(masks, (masks < 0) | (masks > 1), "has {:g} in its masks; expected 0 or 1")
    logits = check_tensor(pred, "mask_logits", (*labels.shape, None, *masks.shape[2:])).double()
    classes = logits.shape[2]
    channels = f"the prediction's mask_logits have channels 0 to {classes - 1}"
    _reject(labels, (labels < 0) | (labels >= classes), "has the mask_label {}; " + channels)
    channel = labels[:, :, None, None, None].expand(*labels.shape, 1, *masks.shape[2:])
    logits = logits.gather(2, channel)[:, :, 0]
    bce = _bce(logits, masks)
    positive = labels > 0
    mask_loss = bce.mean((-2, -1)).where(positive, 0.0).sum(-1)
    return anchors + ratio_or_zero(mask_loss, positive.sum(-1))


def _reject(values: Array, invalid: Array, message: str) -> None:
    """Raise an error with the first invalid value of a target, if there is one."""
    if invalid.any():
        first = values[invalid][0].item()
        raise InputError(message.format(first), kind="mismatch", role="target")


def _bce(logits: Array, target: Array) -> Array:
    """Binary cross-entropy of each element."""
    functional = library(logits).nn.functional
    bce: Array = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return bce


def _iou(matched: BoxPairs) -> Array:
    """IoU of each pair; 0 for two boxes without area."""
    return ratio_or_zero(*overlap(matched.pred, matched.target))


def _distance(matched: BoxPairs) -> Array:
    """Squared distance of the centres over the squared diagonal, d²/c²."""
    square = ((centre(matched.pred) - centre(matched.target)) ** 2).sum(-1)
    return ratio_or_zero(square, (around(matched.pred, matched.target) ** 2).sum(-1))


def _angle(box: Array) -> Array:
    """Angle atan w/h: π/2 for a box without height, π/4 for one with neither width nor height."""
    width, height = (box[..., 2:] - box[..., :2]).unbind(-1)
    non_empty = (width != 0) | (height != 0)
    angle: Array = library(box).atan2(width.where(non_empty, 1.0), height.where(non_empty, 1.0))
    return angle


def _smooth(x: Array, beta: float) -> Array:
    """Smooth L1 of each element."""
    linear = x.abs() - beta / 2
    return linear if beta == 0 else (x * x / (2 * beta)).where(x.abs() < beta, linear)


def _labels(target: Tensors, name: str) -> Array:
    """Labels (B, N) of a record, as whole numbers."""
    labels = check_tensor(target, name, (None, None))
    if labels.is_floating_point() and (labels % 1 != 0).any():
        raise InputError(f"has {name} that are not whole numbers", kind="mismatch", role="target")
    return labels.long()
