"""Losses and scores of detection: boxes, their classes and the masks in them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from lossbench.errors import InputError
from lossbench.interface.annotations import (
    Count,
    NonNegative,
    PerClass,
    PerPixel,
    PerSample,
    Tensors,
)
from lossbench.interface.sample_batch import check_tensor
from lossbench.losses import loss
from lossbench.views.boxes import BoxPairs, around, middle, overlap, share
from lossbench.views.ranked_detections import RankedDetections

LEFT_OUT = -1  # the label of an anchor that is neither an object nor background


@loss(
    family="detection",
    use="how well boxes fit, and nothing else",
    tasks=["detection"],
    range=(0, 1),
    sources=["Yu et al. 2016, UnitBox"],
    example="iou_box(unmatched=all)",
)
def iou_box(matched: BoxPairs) -> PerPixel:
    """IoU loss of boxes: one minus the intersection over the union.

    mean 1 − |A ∩ B| / |A ∪ B| over the objects, A the detection and B the object.

    Args:
        matched: pairs of boxes, each (B, N, 4).

    Returns:
        Loss of each object, in [0, 1], 1 of one that was missed; undefined without an object.

    Note:
        Best score first, a detection takes the object of its class that it overlaps most, from an
        IoU of ½ on; crowds, and detections in them, do not count. An object without a
        detection counts as 1, so that missing it never improves the mean; unmatched=none leaves the
        mean of the pairs.
    """
    return matched.each(1 - _iou(matched), worst=1.0)


@loss(
    family="detection",
    use="boxes, with a slope where they do not overlap",
    tasks=["detection"],
    range=(0, 2),
    sources=["Rezatofighi et al. 2019", "torchvision.ops.generalized_box_iou_loss"],
    example="giou(unmatched=all)",
)
def giou(matched: BoxPairs) -> PerPixel:
    """Generalized IoU loss of boxes.

    mean 1 − IoU + (|C| − |A ∪ B|) / |C| over the objects, C the smallest box around both.

    Args:
        matched: pairs of boxes, each (B, N, 4).

    Returns:
        Loss of each object, in [0, 2], 2 of one that was missed; undefined without an object.

    Note:
        Best score first, a detection takes the object of its class that it overlaps most, from an
        IoU of ½ on; crowds, and detections in them, do not count. An object without a
        detection counts as 2, so that missing it never improves the mean; unmatched=none leaves the
        mean of the pairs. torchvision adds 1e-7 to both areas.
    """
    _, union = overlap(matched.pred, matched.target)
    whole = around(matched.pred, matched.target).prod(-1)
    return matched.each(1 - _iou(matched) + share(whole - union, whole), worst=2.0)


@loss(
    family="detection",
    use="boxes, drawn together by their centres",
    tasks=["detection"],
    range=(0, 2),
    sources=["Zheng et al. 2020", "torchvision.ops.distance_box_iou_loss"],
    example="diou(unmatched=all)",
)
def diou(matched: BoxPairs) -> PerPixel:
    """Distance IoU loss of boxes.

    mean 1 − IoU + d²/c² over the objects, d between the centres, c the diagonal of the smallest box
    around both.

    Args:
        matched: pairs of boxes, each (B, N, 4).

    Returns:
        Loss of each object, in [0, 2], 2 of one that was missed; undefined without an object.

    Note:
        Best score first, a detection takes the object of its class that it overlaps most, from an
        IoU of ½ on; crowds, and detections in them, do not count. An object without a
        detection counts as 2, so that missing it never improves the mean; unmatched=none leaves the
        mean of the pairs. torchvision adds 1e-7 to the union and to c².
    """
    return matched.each(1 - _iou(matched) + _distance(matched), worst=2.0)


@loss(
    family="detection",
    use="boxes, their centres and their proportions",
    tasks=["detection"],
    range=(0, 2.5),
    sources=["Zheng et al. 2020", "torchvision.ops.complete_box_iou_loss"],
    example="ciou(unmatched=all)",
)
def ciou(matched: BoxPairs) -> PerPixel:
    """Complete IoU loss of boxes.

    mean 1 − IoU + d²/c² + α·v over the objects, v = 4/π²·(atan w_B/h_B − atan w_A/h_A)² and
    α = v/(1 − IoU + v), d and c as in `diou`.

    Args:
        matched: pairs of boxes, each (B, N, 4).

    Returns:
        Loss of each object, in [0, 2.5], 2.5 of one that was missed; undefined without an object.

    Note:
        Best score first, a detection takes the object of its class that it overlaps most, from an
        IoU of ½ on; crowds, and detections in them, do not count. An object without a
        detection counts as 2.5, so that missing it never improves the mean; unmatched=none leaves
        the mean of the pairs. torchvision takes α for a constant in the gradient; here the gradient
        is that of the value.
    """
    iou = _iou(matched)
    angles = [_angle(side) for side in (matched.pred, matched.target)]
    v = 4 / math.pi**2 * (angles[1] - angles[0]) ** 2
    return matched.each(1 - iou + _distance(matched) + share(v * v, 1 - iou + v), worst=2.5)


@loss(
    family="detection",
    use="the number of COCO's leaderboard: finding, fitting and ranking in one",
    tasks=["detection"],
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

    Args:
        found: detections in the order of their scores, matched at each threshold.

    Returns:
        Score per sample and class, shape (B, C), in [0, 1]; undefined without an object of the
        class.

    Note:
        Best score first, a detection takes the object of its class that is still free and that it
        overlaps most, from the threshold on; of an object of another area, or of a crowd, it is
        ignored. The pooled value, which ranks the detections of all images together and then takes
        the mean of the classes, is pycocotools' AP; iou_thresholds=0.5, iou_thresholds=0.75 and
        area=small, medium and large give its other five. The value of an image is that of a data
        set of one image.
        pycocotools takes an annotation whose id is 0 for one that is never found.
    """
    precision, _ = found.curves
    return precision.mean((-2, -1))


@loss(
    family="detection",
    use="how many objects are found at all with so many detections an image",
    tasks=["detection"],
    better="higher",
    range=(0, 1),
    aliases=["coco_ar"],
    sources=["Hosang et al. 2016", "pycocotools.cocoeval"],
    example="average_recall_boxes(max_detections=10)",
)
def average_recall_boxes(found: RankedDetections) -> PerClass:
    """Average recall of detections, AR.

    mean over the IoU thresholds of found objects / objects, of one class.

    Args:
        found: detections in the order of their scores, matched at each threshold.

    Returns:
        Score per sample and class, shape (B, C), in [0, 1]; undefined without an object of the
        class.

    Note:
        Best score first, a detection takes the object of its class that is still free and that it
        overlaps most, from the threshold on; of an object of another area, or of a crowd, it is
        ignored. The pooled value, the mean over classes of all images together, is pycocotools' AR;
        max_detections=1, 10 and 100 and area=small, medium and large give its six.
    """
    _, recall = found.curves
    return recall.mean(-1)


@loss(
    family="detection",
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
    """Faster R-CNN's loss of anchors: what is an object, and where.

    (1/N_cls)·Σ BCE(p_i, y_i) + (λ/N_box)·Σ y_i·Σ_j smooth_l1(t_ij − t*_ij), over the anchors i
    labelled 0 or 1 and the four coordinates j; smooth_l1(x) = x²/2β below β, |x| − β/2 above.

    Args:
        pred: `logits` (B, A) of p, and `deltas` (B, A, 4), t.
        target: `labels` (B, A): 1 object, 0 background, −1 left out; `deltas` (B, A, 4), t*.
        lambda_: λ, the weight of the boxes.
        n_cls: N_cls; none for the number of anchors labelled 0 or 1.
        n_box: N_box; none for the same number, as torchvision has it.
        beta: β, from which on smooth L1 is a line.

    Returns:
        Loss per sample, shape (B,), from 0; undefined where every anchor is left out.

    Note:
        The paper divides by 256, its anchors of a batch, and by about 2400, the places of them.
    """
    labels = _labels(target, "labels")
    logits = check_tensor(pred, "logits", labels.shape).double()
    deltas = [check_tensor(side, "deltas", (*labels.shape, 4)).double() for side in (pred, target)]
    counts = labels != LEFT_OUT
    if strange := labels[counts & (labels != 0) & (labels != 1)].tolist():
        raise InputError(
            f"has the label {strange[0]}; expected 1 for an object, 0 for background, −1 to leave"
            " an anchor out",
            kind="mismatch",
            role="target",
        )
    number = counts.sum(-1).where(counts.any(-1), torch.nan)
    objects = labels == 1
    each = functional.binary_cross_entropy_with_logits(logits, objects.double(), reduction="none")
    apart = _smooth(deltas[0] - deltas[1], beta).sum(-1)
    known = number * 0  # nan where every anchor is left out
    of_class = each.where(counts, 0.0).sum(-1) / (n_cls or number)
    of_box = apart.where(objects, 0.0).sum(-1) / (n_box or number)
    return of_class + lambda_ * of_box + known


@loss(
    family="detection",
    use="anchors, their boxes and the masks in them",
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
    """Mask R-CNN's loss: Faster R-CNN's, and the masks of objects.

    L_cls + L_box + L_mask; the first two are `faster_rcnn`, L_mask is the mean BCE over the m×m
    masks of positive regions, each in the channel of its true class.

    Args:
        pred: as for `faster_rcnn`, and `mask_logits` (B, R, K, m, m), channel k for class k.
        target: as for `faster_rcnn`, and of each region `mask_labels` (B, R), its class from 1 on,
            0 for background; `masks` (B, R, m, m), 0 or 1.
        lambda_: λ, the weight of the boxes.
        n_cls: N_cls; none for the number of anchors labelled 0 or 1.
        n_box: N_box; none for the same number.
        beta: β, from which on smooth L1 is a line.

    Returns:
        Loss per sample, shape (B,), from 0; without a positive region L_mask is 0.

    Note:
        Channel 0 is the background's, as in torchvision, and never looked at; nor is any channel of
        another class, so that classes do not compete.
    """
    anchors = faster_rcnn(pred, target, lambda_=lambda_, n_cls=n_cls, n_box=n_box, beta=beta)
    labels = _labels(target, "mask_labels")
    masks = check_tensor(target, "masks", (*labels.shape, None, None)).double()
    if ((masks < 0) | (masks > 1)).any():
        strange = masks[(masks < 0) | (masks > 1)][0]
        raise InputError(
            f"has {strange:g} in its masks; expected 0 or 1", kind="mismatch", role="target"
        )
    logits = check_tensor(pred, "mask_logits", (*labels.shape, None, *masks.shape[2:])).double()
    classes = logits.shape[2]
    if ((labels < 0) | (labels >= classes)).any():
        strange = labels[(labels < 0) | (labels >= classes)][0]
        raise InputError(
            f"has the mask_label {int(strange)}; the prediction's mask_logits have channels 0 to"
            f" {classes - 1}",
            kind="mismatch",
            role="target",
        )
    channel = labels[:, :, None, None, None].expand(*labels.shape, 1, *masks.shape[2:])
    own = logits.gather(2, channel)[:, :, 0]
    each = functional.binary_cross_entropy_with_logits(own, masks, reduction="none").mean((-2, -1))
    positive = labels > 0
    return anchors + share(each.where(positive, 0.0).sum(-1), positive.sum(-1))


def _iou(matched: BoxPairs) -> Tensor:
    """The IoU of each pair, 0 of two boxes without an area."""
    return share(*overlap(matched.pred, matched.target))


def _distance(matched: BoxPairs) -> Tensor:
    """d²/c²."""
    apart = ((middle(matched.pred) - middle(matched.target)) ** 2).sum(-1)
    return share(apart, (around(matched.pred, matched.target) ** 2).sum(-1))


def _angle(box: Tensor) -> Tensor:
    """atan w/h, a quarter turn of a box without a height, half of that without a width."""
    width, height = (box[..., 2:] - box[..., :2]).unbind(-1)
    some = (width != 0) | (height != 0)
    return torch.atan2(width.where(some, 1.0), height.where(some, 1.0))


def _smooth(x: Tensor, beta: float) -> Tensor:
    """Smooth L1."""
    far = x.abs() - beta / 2
    return far if beta == 0 else (x * x / (2 * beta)).where(x.abs() < beta, far)


def _labels(target: Tensors, name: str) -> Tensor:
    """Whole numbers (B, N)."""
    found = check_tensor(target, name, (None, None))
    if found.is_floating_point() and (found % 1 != 0).any():
        raise InputError(f"has {name} that are no whole numbers", kind="mismatch", role="target")
    return found.long()
