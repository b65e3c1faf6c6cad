"""How well predictions agree with the ground truth, as they are and after a change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations, product

import numpy as np

from lossbench.data.loading.glance import IGNORED, Glance
from lossbench.runtime.array_types import AnyArray, BoolArray, FloatArray

ENOUGH = 0.5  # agreement after a change, at least
ENOUGH_OF_FEW = {1: 0.93, 2: 0.85}  # the same of one or two pairs, which agree by chance
FEW = len(ENOUGH_OF_FEW) + 1
LESS = 0.5  # disagreement after a change, at most this share of the one before
# Disagreement before a change, at least: below it, nothing is wrong with a prediction.
LITTLE = {"classes": 0.05, "pictures": 0.02}
CORRELATED = 0.5  # mean correlation of pictures after a change, at least
FEW_POINTS = 20  # of a class; with fewer, chance decides
MAX_LABELS = 256  # classes whose labels are compared
MAX_CLASSES = 32  # most frequent classes by which pairs are compared
Change = tuple[tuple[int, ...], tuple[int, ...]]  # an order of axes, and the axes that are flipped


def far_better(before: float, after: float, kind: str = "classes", pairs: int = FEW) -> bool:
    """Whether a change makes the predictions of some pairs agree far better with their truths."""
    is_little = 1 - before < LITTLE[kind]
    enough = ENOUGH_OF_FEW.get(pairs, ENOUGH)
    return not is_little and after >= enough and 1 - after <= LESS * (1 - before)


@dataclass(frozen=True)
class GridPoints:
    """The points of all pairs that were glanced at.

    Attributes:
        ids: the pairs.
        pred: (n, planes, …) of the predictions.
        target: (n, planes, …) of the ground truth.
        shapes: the size of each pair.
        classes: the number of codes; 0 of pictures.
    """

    ids: tuple[str, ...]
    pred: AnyArray
    target: AnyArray
    shapes: tuple[tuple[int, ...], ...]
    classes: int

    @classmethod
    def of(cls, glances: dict[str, Glance], classes: int) -> GridPoints | None:
        """The points of glances, if there are any; `classes` is 0 of pictures."""
        known = {id: glances[id] for id in sorted(glances) if glances[id].pred.size}
        if len({each.pred.shape for each in known.values()}) != 1:
            return None
        sides = [np.stack([getattr(each, name) for each in known.values()])
                 for name in ("pred", "target")]  # fmt: skip
        if not classes:
            sides = [each.astype(np.float32) for each in sides]
            sides[0] = _finite(sides[0])
            sides[1] = _finite(sides[1])
            spread = np.ptp(sides[1])
            if spread > 1:  # in units of the ground truth's range
                sides = [each / spread for each in sides]
        shapes = tuple(each.shape for each in known.values())
        return cls(tuple(known), sides[0], sides[1], shapes, classes)

    @property
    def kind(self) -> str:
        """What is compared: classes or pictures."""
        return "classes" if self.classes else "pictures"

    @cached_property
    def before(self) -> float:
        """The agreement of predictions as they are."""
        return self.agreement(self.pred)

    def agreement(self, pred: AnyArray) -> float:
        """Agreement of changed predictions: mean IoU over classes, or 1 − l1 of pictures."""
        if not self.classes:
            return 1 - float(np.abs(pred - self.target).mean())
        return mean_iou(confusion(pred, self.target, self.classes))

    def is_far_better(self, pred: AnyArray) -> float | None:
        """The agreement of changed predictions if it is far better, else None."""
        after = self.agreement(pred)
        if not far_better(self.before, after, self.kind, len(self.ids)):
            return None
        if not self.classes and correlation(pred, self.target) < CORRELATED:
            return None
        return after

    def orientations(self) -> Iterator[tuple[Change, AnyArray]]:
        """The predictions turned, flipped or transposed, as far as their sizes allow."""
        axes = range(self.pred.ndim - 2)
        for order in permutations(axes):
            fits: BoolArray = np.array(
                [all(shape[a] == shape[b] for a, b in enumerate(order)) for shape in self.shapes]
            )
            if not fits.any():
                continue
            turned = self.pred.transpose(0, 1, *(axis + 2 for axis in order))
            for flips in product((False, True), repeat=len(axes)):
                flipped = tuple(axis for axis in axes if flips[axis])
                if flipped or order != tuple(axes):
                    changed = np.flip(turned, tuple(axis + 2 for axis in flipped))
                    yield (order, flipped), np.where(_rows(fits, changed), changed, self.pred)

    def between(self) -> FloatArray:
        """The agreement of each prediction with each ground truth, (n, n).

        Undefined where either of them shows nothing, or sizes differ.
        """
        pred, target = (each.reshape(len(self.ids), -1) for each in (self.pred, self.target))
        if not self.classes:
            found = np.stack([1 - np.abs(row - target).mean(1) for row in pred])
            return np.where(_flat(pred)[:, None] | _flat(target), np.nan, found)
        valid = (target != IGNORED).astype(np.float32)
        total, count = np.zeros((2, len(pred), len(pred)))
        counts = np.bincount(target[target >= 0], minlength=self.classes)
        counts += np.bincount(pred[pred >= 0], minlength=self.classes)
        frequent = np.argsort(-counts, kind="stable")[:MAX_CLASSES]
        for of_class in frequent[counts[frequent] > 0].tolist():
            own, true = ((each == of_class).astype(np.float32) for each in (pred, target))
            both = own @ true.T
            union = own @ valid.T + true.sum(1) - both
            total += np.divide(both, union, out=np.zeros_like(both), where=union > 0)
            count += union > 0
        found = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        return np.where(_flat(pred)[:, None] | _flat(target), np.nan, found)


def confusion(pred: AnyArray, target: AnyArray, classes: int) -> FloatArray:
    """How many points have each true (rows) and predicted code; the last column has no code."""
    valid = (target >= 0) & (target < classes)
    true, own = target[valid].astype(np.int64), pred[valid].astype(np.int64)
    own[(own < 0) | (own >= classes)] = classes
    table = np.bincount(true * (classes + 1) + own, minlength=classes * (classes + 1))
    return table.reshape(classes, classes + 1).astype(np.float64)


def mean_iou(table: FloatArray) -> float:
    """The mean IoU over the classes that occur; nan without any."""
    both = np.diag(table)
    union = table.sum(1) + table[:, :-1].sum(0) - both
    occurs = union > 0
    return float((both[occurs] / union[occurs]).mean()) if occurs.any() else np.nan


def crossed_ious(table: FloatArray) -> FloatArray:
    """The IoU of each true class with each predicted one, 0 of rare ones."""
    both = table[:, :-1]
    true, own = table.sum(1)[:, None], both.sum(0)
    union = true + own - both
    enough = (true >= FEW_POINTS) & (own >= FEW_POINTS)
    found: FloatArray = np.divide(both, union, out=np.zeros_like(both), where=enough)
    return found


def correlation(pred: AnyArray, target: AnyArray) -> float:
    """The mean correlation of pairs of pictures."""
    own, true = (each.reshape(len(each), -1).astype(np.float64) for each in (pred, target))
    own, true = own - own.mean(1, keepdims=True), true - true.mean(1, keepdims=True)
    size = np.sqrt((own**2).sum(1) * (true**2).sum(1))
    some = size > 0
    return float(((own * true).sum(1)[some] / size[some]).mean()) if some.any() else 0.0


def matched(table: FloatArray) -> Sequence[int]:
    """A partner for each row, best agreement first, its own one where that is as good."""
    count = len(table)
    known = np.where(np.isnan(table), -1.0, table)
    known[np.arange(count), np.arange(count)] += 1e-9
    partners, free = np.arange(count), np.ones((2, count), np.bool_)
    partners[:] = -1
    for cell in np.argsort(-known, axis=None, kind="stable").tolist():
        row, column = divmod(cell, count)
        if free[0, row] and free[1, column]:
            partners[row], free[0, row], free[1, column] = column, False, False
    result: list[int] = partners.tolist()
    return result


def _flat(rows: AnyArray) -> BoolArray:
    """Which rows have one value, ignored points aside."""
    lows = np.where(rows == IGNORED, rows.max(1, keepdims=True), rows).min(1)
    flat: BoolArray = lows == rows.max(1)
    return flat


def _finite(numbers: AnyArray) -> AnyArray:
    return np.nan_to_num(numbers, nan=0.0, posinf=0.0, neginf=0.0)


def _rows(which: BoolArray, like: AnyArray) -> BoolArray:
    return which.reshape(-1, *(1,) * (like.ndim - 1))
