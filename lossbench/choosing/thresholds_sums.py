"""Sums over samples of what the thresholds of a run need, in bounded memory."""

from __future__ import annotations

import numpy as np

from lossbench.runtime.array_types import AnyArray, FloatArray

HALVES = 2
WAITING = 1 << 20  # numbers that wait until they are added at their levels
MOST_PIXELS = 1 << 25  # counts that are kept of all levels together
MOST_STEPS = 1 << 22  # steps of scores
FINE = 2.0**20  # with more of them, levels are multiples of 1 / FINE


class ScoreSums:
    """Sums of defined values at thresholds, one for each half of the samples."""

    def __init__(self, rows: int, thresholds: int) -> None:
        self.sums = np.zeros((HALVES, rows, thresholds))
        self.counts = np.zeros((HALVES, rows, thresholds))

    def add(self, half: int, values: FloatArray) -> None:
        """Add the values of a sample, (R, T); one by one, so that batches change no digit."""
        defined = ~np.isnan(values)
        self.sums[half] += np.where(defined, values, 0.0)
        self.counts[half] += defined

    @property
    def means(self) -> FloatArray:
        """The mean over all samples, (R, T)."""
        return ratio(self.sums.sum(0), self.counts.sum(0))

    @property
    def half_means(self) -> FloatArray:
        """The mean over each half, (2, R, T)."""
        return ratio(self.sums, self.counts)


def ratio(top: AnyArray, bottom: AnyArray) -> FloatArray:
    """Quotient of two arrays; undefined where the divisor is 0."""
    quotient: FloatArray = np.divide(
        top, bottom, out=np.full(np.shape(top), np.nan), where=np.asarray(bottom) > 0
    )
    return quotient


class LevelSums:
    """Sums of columns of numbers at each level that occurs in a run.

    With more than `most` numbers, levels are rounded down to multiples of 2⁻²⁰. Thresholds that are
    such multiples still divide the pixels exactly as before.
    """

    def __init__(self, columns: int, most: int) -> None:
        self.levels, self.numbers = np.zeros(0), np.zeros((columns, 0))  # (n,), (columns, n)
        self.most, self.is_rounded = most, False
        self.waiting: list[tuple[FloatArray, FloatArray]] = []
        self.waiting_numbers = 0

    def add(self, levels: FloatArray, numbers: FloatArray) -> None:
        """Add the numbers (columns, m) of a sample at its m levels."""
        self.waiting.append((levels, numbers))
        self.waiting_numbers += numbers.size
        if self.waiting_numbers > max(WAITING, self.numbers.size):
            self.join()

    def join(self) -> None:
        """Add what waits."""
        levels = np.concatenate([self.levels, *(each for each, _ in self.waiting)])
        numbers = np.concatenate([self.numbers, *(each for _, each in self.waiting)], 1)
        self.waiting, self.waiting_numbers = [], 0
        self._sum(levels, numbers)
        if self.numbers.size > self.most and not self.is_rounded:
            self.is_rounded = True
            self._sum(self.levels, self.numbers)

    def _sum(self, levels: FloatArray, numbers: FloatArray) -> None:
        """Add up the numbers of equal levels, in the order in which they came."""
        if self.is_rounded:
            levels = rounded_down(levels)
        order = np.argsort(levels, kind="stable")
        levels, numbers = levels[order], numbers[:, order]
        first = np.flatnonzero(np.diff(levels, prepend=np.nan))
        self.levels = levels[first]
        self.numbers = np.add.reduceat(numbers, first, 1) if len(first) else numbers


def rounded_down(levels: FloatArray) -> FloatArray:
    """Levels as multiples of 2⁻²⁰."""
    multiples: FloatArray = np.floor(levels * FINE) / FINE
    return multiples


class StepSums:
    """Sums of step functions of the threshold, one for each column."""

    def __init__(self, columns: int) -> None:
        self.start = np.zeros(columns)  # at and below the lowest level
        self.steps = LevelSums(columns, MOST_STEPS)

    def add(self, levels: FloatArray, values: FloatArray) -> None:
        """Add functions with values (columns, m + 1): up to each of m levels, and above."""
        self.start += values[:, 0]
        self.steps.add(levels, np.diff(values, axis=1))

    def at(self, thresholds: FloatArray) -> FloatArray:
        """The sums at thresholds, (columns, T)."""
        below = np.searchsorted(self.steps.levels, thresholds)
        sums = np.empty((len(self.start), len(thresholds)))
        for row, steps in enumerate(self.steps.numbers):
            after = np.cumsum(steps, dtype=np.longdouble)
            sums[row] = (np.append(np.zeros(1, np.longdouble), after) + self.start[row])[below]
        return sums
