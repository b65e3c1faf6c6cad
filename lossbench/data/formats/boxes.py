"""Boxes of images, as files hold them and as losses read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from lossbench.data.formats.coco_masks import Segmentations
from lossbench.errors import InputError
from lossbench.runtime.array_types import BoolArray, FloatArray, IntArray


class BoxTable(NamedTuple):
    """N boxes of one side, of any number of samples."""

    corners: FloatArray  # (N, 4) x1, y1, x2, y2
    size: FloatArray  # (N,) width times height
    area: FloatArray  # (N,) decides what is small or large; of an object the area of its mask
    of_class: IntArray  # (N,)
    score: FloatArray  # (N,) of a prediction
    crowd: BoolArray  # (N,) whether it is a group of objects, annotated as one

    def rows(self, index: Any) -> BoxTable:
        """Some of the boxes."""
        return BoxTable(*(column[index] for column in self))


NOTHING = np.zeros(0)
NO_BOXES = BoxTable(
    np.zeros((0, 4)), NOTHING, NOTHING, np.zeros(0, np.int64), NOTHING, np.zeros(0, np.bool_)
)


@dataclass(frozen=True, slots=True)
class Boxes:
    """The boxes of one side of a sample: rows of a table, which samples of one file share."""

    table: BoxTable
    start: int
    stop: int
    masks: Segmentations | None = None
    order: int = 0  # of its image among all; ranks detections of equal scores
    extent: tuple[int, int] = (0, 0)  # width and height of its image, 0 where nobody says

    @property
    def rows(self) -> BoxTable:
        """The boxes alone."""
        return self.table.rows(slice(self.start, self.stop))

    def __len__(self) -> int:
        return self.stop - self.start

    def __reduce__(self) -> Any:
        """A copy without the boxes of other samples."""
        return Boxes, (self.rows, 0, len(self), self.masks, self.order, self.extent)


@dataclass(frozen=True)
class Detections:
    """One sample: its predicted and its true boxes."""

    pred: Boxes
    target: Boxes

    @property
    def sides(self) -> tuple[Boxes, Boxes]:
        """Prediction and ground truth."""
        return self.pred, self.target

    def mask_overlap(self) -> FloatArray:
        """The IoU of each mask with each true one, (P, T); of a crowd the share inside it.

        Raises:
            InputError: one side has none.
        """
        for role, side in (("pred", self.pred), ("target", self.target)):
            if side.masks is None and len(side):
                raise InputError("has no masks for iou_type=segm", kind="mismatch", role=role)
        if self.pred.masks is None or self.target.masks is None:
            return np.zeros((len(self.pred), len(self.target)))
        return self.pred.masks.overlap(self.target.masks, self.target.rows.crowd)


class Candidates(NamedTuple):
    """M pairs of a detection and an object of one group, which may match."""

    pred: IntArray  # (M,) ascending
    target: IntArray  # (M,) ascending for each detection


class GroupedBoxes(NamedTuple):
    """One side of a batch, by group: the boxes of one class in one sample."""

    boxes: BoxTable
    sample: IntArray  # (N,) ascending
    group: IntArray  # (N,) ascending, sample · K + class
    row: IntArray  # (N,) among the boxes of all samples, one after the other

    @classmethod
    def of(cls, sides: Sequence[Boxes], classes: int) -> GroupedBoxes:
        """Groups from the highest score to the lowest; equal ones as they came."""
        counts = [len(each) for each in sides]
        sample, boxes = np.repeat(np.arange(len(sides)), counts), joined(sides)
        group = sample * classes + boxes.of_class
        order = np.lexsort((-boxes.score, group))
        return cls(boxes.rows(order), sample, group[order], order)

    @property
    def rank(self) -> IntArray:
        """Number of each box in its group, from 0."""
        return np.arange(len(self.group)) - np.searchsorted(self.group, self.group)


@dataclass(frozen=True)
class DetectionBatch:
    """B samples whose detections are matched together."""

    samples: Sequence[Detections]
    classes: int

    @cached_property
    def pred(self) -> GroupedBoxes:
        """All detections, by group and then by score."""
        return GroupedBoxes.of([each.pred for each in self.samples], self.classes)

    @cached_property
    def target(self) -> GroupedBoxes:
        """All objects, by group."""
        return GroupedBoxes.of([each.target for each in self.samples], self.classes)

    @cached_property
    def candidates(self) -> Candidates:
        """Each detection with every object of its group."""
        first, stop = (
            np.searchsorted(self.target.group, self.pred.group, side) for side in ("left", "right")
        )
        counts = stop - first
        return Candidates(
            np.repeat(np.arange(len(counts)), counts), np.repeat(first, counts) + counted(counts)
        )

    @cached_property
    def of_boxes(self) -> FloatArray:
        """The IoU of the boxes of each candidate, (M,); of a crowd the share inside it."""
        pred, target = (
            side.boxes.rows(rows)
            for side, rows in zip((self.pred, self.target), self.candidates, strict=True)
        )
        low = np.maximum(pred.corners[:, :2], target.corners[:, :2])
        high = np.minimum(pred.corners[:, 2:], target.corners[:, 2:])
        both = (high - low).clip(0).prod(-1)
        union = np.where(target.crowd, pred.size, pred.size + target.size - both)
        overlaps: FloatArray = np.divide(both, union, out=np.zeros_like(both), where=union > 0)
        return overlaps

    @cached_property
    def of_masks(self) -> FloatArray:
        """The same of their masks.

        Raises:
            InputError: a side of a sample has none.
        """
        pred, target = self.candidates
        stops = np.searchsorted(self.pred.sample[pred], np.arange(len(self.samples)), "right")
        overlaps, start, first, second = np.zeros(len(pred)), 0, 0, 0
        for sample, stop in zip(self.samples, stops.tolist(), strict=True):
            rows = slice(start, stop)
            indices = self.pred.row[pred[rows]] - first, self.target.row[target[rows]] - second
            overlaps[rows] = sample.mask_overlap()[indices]
            start, first, second = stop, first + len(sample.pred), second + len(sample.target)
        return overlaps

    @cached_property
    def objects(self) -> IntArray:
        """Number of objects of each class that are no crowds, (B, K)."""
        return self.count(self.target.group[~self.target.boxes.crowd])

    def count(self, groups: IntArray) -> IntArray:
        """How often each group occurs, (B, K)."""
        length = len(self.samples) * self.classes
        counts: IntArray = np.bincount(groups, minlength=length).reshape(-1, self.classes)
        return counts


def count_objects(sides: Sequence[Boxes], classes: int) -> IntArray:
    """Number of objects of each class that are no crowds, (B, K)."""
    boxes, sample = joined(sides), np.repeat(np.arange(len(sides)), list(map(len, sides)))
    groups = (sample * classes + boxes.of_class)[~boxes.crowd]
    counts: IntArray = np.bincount(groups, minlength=len(sides) * classes).reshape(-1, classes)
    return counts


def joined(sides: Sequence[Boxes]) -> BoxTable:
    """The boxes of some samples, one after the other."""
    shared = sides[0].table if sides else NO_BOXES
    if all(each.table is shared for each in sides):
        counts = [len(each) for each in sides]
        starts = np.repeat([each.start for each in sides], counts).astype(np.int64)
        return shared.rows(starts + counted(counts))
    tables = [each.rows for each in sides]
    return BoxTable(*map(np.concatenate, zip(*tables, strict=True)))


def counted(counts: Any) -> IntArray:
    """The numbers 0, 1, … below each count, one count after the other."""
    numbers = np.asarray(counts, np.int64)
    return np.arange(numbers.sum()) - np.repeat(numbers.cumsum() - numbers, numbers)
