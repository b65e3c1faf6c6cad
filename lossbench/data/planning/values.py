"""Values: what the numbers of one side show, as far as files can show it without the other side."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from lossbench.data.arrays.components import are_mostly_components
from lossbench.data.planning.encoding import LARGEST_LABEL
from lossbench.data.planning.evidence import IGNORED_LABEL, SMALL, WHITE, Evidence, without
from lossbench.data.planning.ignored import Ranges
from lossbench.data.sources.locations import Source
from lossbench.data.sources.read import read

FEW_LABELS = 64  # a volume with no more values than this holds labels
FEW_LEVELS = 8  # up to this number, evenly spaced values may be labels, stretched for viewing
AREAS = 0.4  # from this share of pixels that equal the next one on, numbers form areas
GRADED, PICTURE = 0.4, 0.05  # the shares of pixels at the ends of a type in masks and pictures
MARGIN = 0.25  # how far interpolation carries values beyond 0 and 1
LARGER_LABEL = 1.5  # predicted labels go up to this multiple of the largest true one
COMMON_LABELS = 3  # so many labels beside 0 are no coincidence


class Values:
    """The numbers of one side, without ignored ones."""

    def __init__(
        self, evidence: Evidence, ignore: Ranges = (), *, may_have_void: bool = True
    ) -> None:
        self.evidence, self.may_have_void = evidence, may_have_void
        self.files = [without(each.values, ignore) for each in evidence.files]
        self.all = set[int]().union(*self.files)
        self.whole = evidence.whole and bool(self.all)
        self.low = min(self.all) if self.whole else evidence.low  # the smallest number
        self.high = evidence.high

    @cached_property
    def has_void(self) -> bool:
        """Whether 255 is ignored: labels end at 200, and occur beside it in most files with it.

        In evenly spaced values 255 is the last one.
        """
        labels = self.all - {IGNORED_LABEL}
        occurs = self.whole and IGNORED_LABEL in self.all
        if not occurs or not labels - {0} or max(labels) > LARGEST_LABEL or self.step:
            return False
        beside = [bool(each - {0, WHITE}) for each in self.files if IGNORED_LABEL in each]
        return 2 * sum(beside) >= len(beside)

    @cached_property
    def labels(self) -> set[int]:
        """The values that can be classes."""
        return self.all - {IGNORED_LABEL} if self.has_void else self.all

    @property
    def are_two(self) -> bool:
        """Whether there are 0 and one other value, or 0, 1 and void."""
        has_void = self.may_have_void and self.labels <= {0, 1}
        return self.whole and (len(self.all | {0}) <= 2 or has_void)

    @property
    def are_small(self) -> bool:
        return self.whole and self.low >= 0 and max(self.labels) < SMALL

    @property
    def are_like_labels(self) -> bool:
        """Whether labels are small, or most numbers up to the largest occur; few in a volume."""
        if not self.whole or self.low < 0:
            return False
        largest = max(self.labels)
        is_dense = len(self.labels) * 4 > largest
        is_few = self.evidence.volumes and len(self.labels) <= FEW_LABELS
        in_areas = largest <= LARGEST_LABEL and is_dense and self.have_areas
        return is_few or largest < SMALL or in_areas

    @property
    def have_areas(self) -> bool:
        """Whether most pixels have the number of the next one, as in label maps."""
        shares = [each.equal for each in self.evidence.files if len(each.values) != 1]
        return not shares or sum(shares) >= AREAS * len(shares)

    @property
    def are_masks(self) -> bool:
        """Whether each file holds 0 and 1, or 0 and 255."""
        return self.whole and all(each <= {0, 1} or each <= {0, WHITE} for each in self.files)

    @property
    def have_ones(self) -> bool:
        """Whether a file of whole numbers ends at 1, which is the least level of a larger type."""
        return self.whole and any({1} <= each <= {0, 1} for each in self.files)

    @property
    def are_mostly_masks(self) -> bool:
        """Whether most files hold 0 and 255, and the others small numbers."""
        masks = [each for each in self.files if WHITE in each and each <= {0, WHITE}]
        others = self.all - {0, WHITE}
        filled = sum(each != {0} for each in self.files)
        return self.whole and len(masks) * 2 > filled and max(others, default=0) < SMALL

    @property
    def levels(self) -> float:
        """The number of distinct values."""
        return len(self.all) if self.evidence.whole else np.inf

    @property
    def step(self) -> float:
        """The distance of 3 to 8 values that are evenly spaced from 0; 0 of all others."""
        values = sorted(self.all)
        if not 3 <= len(values) <= FEW_LEVELS or values[0] != 0 or not self.whole:
            return 0.0
        step = values[-1] / (len(values) - 1)
        even = all(abs(value - index * step) < 1 for index, value in enumerate(values))
        return step if even and step > 1 else 0.0

    @cached_property
    def ends(self) -> list[float]:
        """The shares of pixels at the ends of the type, but those of blank files."""
        files = self.evidence.files
        return [each.ends for each in files if len(each.values) != 1] or [
            each.ends for each in files
        ]

    @property
    def are_graded(self) -> bool:
        """Whether most files have many pixels at the ends of their type, and no file few."""
        ends = self.ends
        many = sum(each >= GRADED for each in ends)
        return bool(ends) and many * 2 > len(ends) and min(ends) >= PICTURE

    @property
    def are_pictures(self) -> bool:
        """Whether most files have few pixels at the ends of their type."""
        ends = self.ends
        return sum(each < PICTURE for each in ends) * 2 > len(ends)

    @property
    def overshoot(self) -> bool:
        """Whether probabilities, interpolated, can be slightly below 0 or above 1."""
        return self.low >= -MARGIN and self.high <= 1 + MARGIN and not self.evidence.probable

    @cached_property
    def are_instances(self) -> bool:
        """Whether each file numbers its objects: 1 … k, another k elsewhere, one component each."""
        counts = {max(each, default=0) for each in self.files}
        without_gap = all(each | {0} == set(range(len(each | {0}))) for each in self.files)
        if not (self.whole and without_gap and len(counts) > 1):
            return False
        return all(map(_are_components, (each.source for each in self.evidence.files)))

    def are_classes(self, truth: Values) -> bool:
        """Whether predicted numbers are labels of the ground truth."""
        own = self.all - {IGNORED_LABEL} if truth.has_void else self.all
        largest = max(own, default=0)
        return (
            largest <= LARGER_LABEL * max(truth.labels, default=0)
            or (largest < SMALL and own | {0} == set(range(largest + 1)))
            or len((own & truth.labels) - {0}) >= COMMON_LABELS
        )


def _are_components(source: Source) -> bool:
    """Whether nine of ten numbers of an instance map are one connected component each."""
    return are_mostly_components(np.asarray(read(source).grey, np.int64))
