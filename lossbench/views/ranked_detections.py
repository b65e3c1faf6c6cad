"""Detections sorted by score, of one sample or many: the input of AP and AR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast

import numpy as np

from lossbench.errors import SettingError
from lossbench.geometry.box_matching import NONE, match, ranks
from lossbench.interface.annotations import Array, Count, Share
from lossbench.interface.row_list import RowList, SampleRows
from lossbench.interface.sample_batch import SampleBatch
from lossbench.runtime.array_types import AnyArray, BoolArray, FloatArray, IntArray

THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
RECALLS = np.linspace(0, 1, 101)
AREAS = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
TINY = float(np.spacing(1))  # guard against 0/0, as in pycocotools


@dataclass(frozen=True)
class RankedDetections:
    """Detections that count at one threshold or more, and the number of objects per class.

    D detections, L thresholds, B samples, K classes. Samples are concatenated, not added.
    """

    score: FloatArray  # (D,)
    group: IntArray  # (D,) ascending, sample · K + class; within a group, best score first
    order: IntArray  # (D,) number of the image
    hit: BoolArray  # (L, D) true positives: matched to an object that counts
    alarm: BoolArray  # (L, D) false positives; ignored detections are neither
    objects: IntArray  # (B, K)

    @classmethod
    def of(
        cls,
        values: SampleBatch,
        *,
        iou_thresholds: Share | Sequence[Share] | None = None,
        area: Literal["all", "small", "medium", "large"] = "all",
        max_detections: Count = 100,
        iou_type: Literal["bbox", "segm"] = "bbox",
    ) -> RankedDetections:
        """Match the detections of each class with its objects, best score first.

        Args:
            iou_thresholds: IoU at which a detection matches an object: a number, or a list to
                average over; none for COCO's ten, 0.5, 0.55, … 0.95. In order of descending score,
                a detection takes the unmatched object of its class with the largest IoU of at least
                the threshold; it is ignored if that object is a crowd or outside `area`.
            area: objects that count: small up to 32² pixels, medium, or large from 96² pixels;
                unmatched detections of another area do not count either.
            max_detections: number of detections per image and class that count, best first.
            iou_type: IoU of boxes (bbox) or of masks (segm, needs pycocotools).
        """
        batch = values.detections
        if batch is None:
            raise SettingError("this score needs detections, which `lossbench.evaluate` reads")
        thresholds = THRESHOLDS if iou_thresholds is None else iou_thresholds
        levels = thresholds if isinstance(thresholds, Sequence) else (thresholds,)
        if not levels:
            raise SettingError("iou_thresholds=[] has no threshold; none takes COCO's ten")
        overlap = batch.of_boxes if iou_type == "bbox" else batch.of_masks
        low, high = AREAS[area]
        pred_off, target_off = (
            (boxes.area < low) | (boxes.area > high)
            for boxes in (batch.pred.boxes, batch.target.boxes)
        )
        crowd = batch.target.boxes.crowd
        ignored = crowd | target_off
        is_counted = batch.pred.rank < max_detections
        pred, target = batch.candidates
        if not is_counted.all():
            rows = is_counted[pred]
            pred, target, overlap = pred[rows], target[rows], overlap[rows]
        indices = match(pred, target, overlap, batch.pred.group, crowd, ignored, levels)
        hit = indices != NONE
        counts = np.where(hit, ~np.append(ignored, True)[indices], is_counted & ~pred_off)
        kept = counts.any(0)
        order = np.array([sample.target.order for sample in batch.samples], np.int64)
        return cls(
            batch.pred.boxes.score[kept],
            batch.pred.group[kept],
            order[batch.pred.sample[kept]],
            (hit & counts)[:, kept],
            (~hit & counts)[:, kept],
            batch.count(batch.target.group[~ignored]),
        )

    def listed(self) -> SampleRows:
        """Rows for concatenating samples, by image and within an image by class and score."""
        sample, of_class = np.divmod(self.group, self.objects.shape[1])
        rows: dict[str, AnyArray] = {"order": self.order, "rank": ranks(sample)}
        rows |= {"score": self.score, "of_class": of_class, "hit": self.hit, "alarm": self.alarm}
        return SampleRows(rows, {"objects": self.objects}, sample)

    @classmethod
    def joined(cls, listed: RowList) -> RankedDetections:
        """Concatenate samples, sorted by image, into one."""
        rows, objects = dict(listed.rows), listed.totals["objects"]
        ranked = (-rows["score"]).argsort(kind="stable")
        kind = np.min_scalar_type(len(objects))
        ranked = ranked[rows["of_class"][ranked].astype(kind).argsort(kind="stable")]
        score, of_class, order = (rows[name][ranked] for name in ("score", "of_class", "order"))
        hit, alarm = (rows[name][:, ranked] for name in ("hit", "alarm"))
        return cls(score, of_class, order, hit, alarm, objects[None])

    @cached_property
    def average_precision(self) -> Array:
        """Mean over the thresholds and 101 recalls of the precision, (B, K); nan without objects.

        Precision is the highest precision at that recall or a higher one.
        """
        objects = self.objects.ravel()
        hits = np.bincount(self.group[self.hit.any(0)], minlength=len(objects))
        rows = np.flatnonzero(hits[self.group])  # a group without a hit has precision 0
        group = self.group[rows]
        start = np.searchsorted(group, group)
        level, row = np.nonzero(self.hit[:, rows])  # the precision falls between hits
        tp, fp = (_within(each[:, rows], start)[level, row] for each in (self.hit, self.alarm))
        group = group[row]
        best = _highest_from(tp / (tp + fp + TINY), level * len(objects) + group)
        reached = np.searchsorted(RECALLS, tp / objects[group], "right")
        before = np.where(tp == 1, 0, np.searchsorted(RECALLS, (tp - 1) / objects[group], "right"))
        sums = np.bincount(group, best * (reached - before), len(objects))
        mean = sums.reshape(self.objects.shape) / (len(RECALLS) * len(self.hit))
        return cast(Array, np.where(self.objects > 0, mean, np.nan))

    @cached_property
    def average_recall(self) -> Array:
        """Mean over the thresholds of the final recall, (B, K); nan without objects."""
        hits = np.bincount(self.group, self.hit.sum(0), self.objects.size)
        possible = self.objects * len(self.hit)
        recall = np.full(possible.shape, np.nan)
        np.divide(hits.reshape(possible.shape), possible, out=recall, where=possible > 0)
        return cast(Array, recall)


def _within(rows: BoolArray, start: IntArray) -> IntArray:
    """The number of true rows (L, D) of a group up to each row; `start` is its group's first."""
    sums = np.zeros((len(rows), rows.shape[1] + 1), np.int32)
    rows.cumsum(1, np.int32, sums[:, 1:])
    counts: IntArray = sums[:, 1:] - sums[:, start]
    return counts


def _highest_from(values: FloatArray, segment: IntArray) -> FloatArray:
    """The highest value of a segment from each element on; segments ascend."""
    highest, step = values.copy(), 1
    while step < len(values):
        same = segment[step:] == segment[:-step]
        if not same.any():
            break
        highest[:-step] = np.where(
            same, np.maximum(highest[:-step], highest[step:]), highest[:-step]
        )
        step *= 2
    return highest
