"""The evidence from which doubts are judged: counts, and glances at a sample of the pairs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from lossbench.data.loading.glance import Glance
from lossbench.runtime.array_types import IntArray

TRUE, PREDICTED, VALID = range(3)  # rows of counts of classes


@dataclass
class DoubtEvidence:
    """What pairs that could be read show; that of several ranges adds up in any order.

    Attributes:
        files: the number of pairs.
        same: pairs of which both files are one.
        counted: pairs whose pixels are counted by class: all, or those that were glanced at.
        class_files: counted pairs that have pixels of each class (3, K): true, predicted, valid.
        class_pixels: their pixels.
        beyond: pairs with labels beyond those of the sample that the plan was made from.
        boxes: predicted boxes of pictures whose size is known.
        outside: those that reach beyond their picture.
        outside_files: pairs that have such boxes.
        unit_boxes: predicted boxes with all coordinates within 0 … 1.
        unit_files: pairs that have such boxes.
        farthest: the largest coordinate of a true box.
        objects: by number of objects of one class in a pair, how many pairs have as many.
        glances: by id, the pairs that were glanced at.
        notes: what files say of themselves, with the first file that does.
    """

    files: int = 0
    same: int = 0
    counted: int = 0
    class_files: IntArray = field(default_factory=lambda: np.zeros((3, 0), np.int64))
    class_pixels: IntArray = field(default_factory=lambda: np.zeros((3, 0), np.int64))
    beyond: int = 0
    boxes: int = 0
    outside: int = 0
    outside_files: int = 0
    unit_boxes: int = 0
    unit_files: int = 0
    farthest: float = 0.0
    objects: Counter[int] = field(default_factory=Counter)
    glances: dict[str, Glance] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def extend(self, other: DoubtEvidence) -> None:
        """Add the evidence of other pairs."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("class_files", "class_pixels"):
            own, new = getattr(self, name), getattr(other, name)
            setattr(self, name, own + new if own.size and new.size else own if own.size else new)
        self.farthest = max(self.farthest, other.farthest)
        self.objects += other.objects
        self.glances |= other.glances
        for text, file in other.notes.items():
            self.add_note(text, file)

    def add_note(self, text: str, file: str) -> None:
        """Add what a file says of itself."""
        self.notes[text] = min(file, self.notes.get(text, file))

    def add_counts(self, counts: IntArray, known: int = 0) -> None:
        """Add the pixels of each class of some pairs (n, 3, K).

        `known` is the number of classes that the plan's sample shows, 0 if these are all.
        """
        self.counted += len(counts)
        self.class_files = (counts > 0).sum(0)
        self.class_pixels = counts.sum(0)
        if known:
            self.beyond += int((counts[:, :VALID, known:] > 0).any((1, 2)).sum())


SUMS = (
    "files", "same", "counted", "beyond", "boxes", "outside", "outside_files", "unit_boxes",
    "unit_files",
)  # fmt: skip
