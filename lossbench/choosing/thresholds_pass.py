"""One pass over the pairs of a run: what its thresholds are judged by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np

from lossbench.choosing.thresholds_counts import (
    Elements,
    Spectrum,
    Steps,
    counts_of_levels,
    make_counts,
    make_steps,
)
from lossbench.choosing.thresholds_rows import AddRows
from lossbench.choosing.thresholds_scores import ScoreTable
from lossbench.choosing.thresholds_sums import (
    HALVES,
    MOST_PIXELS,
    LevelSums,
    ScoreSums,
    StepSums,
    rounded_down,
)
from lossbench.data.counting.sparse_histogram import Cells
from lossbench.data.loading.sample import Pixels
from lossbench.engine.batch_reader import read_batches
from lossbench.engine.run_spec import RunSpec
from lossbench.engine.state.loaded_batch import LoadedBatch
from lossbench.errors import PairError
from lossbench.runtime.array_types import FloatArray
from lossbench.views.confusion import Counts

HALF = 0.5


class Digest(NamedTuple):
    """What a batch adds to the sums."""

    counts: Counts  # each (B, C, T), at the thresholds and ½
    support: FloatArray  # (B, C)
    values: FloatArray  # (B, R, T)
    spectrum: Spectrum | None  # (B, C, L), where all samples have the same levels
    steps: Sequence[Steps] = ()
    step_values: Sequence[FloatArray] = ()  # of each sample, (R, m + 1)


@dataclass
class ThresholdPass:
    """Sums over the samples of a run.

    Args:
        run: pairs and plan.
        table: the scores.
        thresholds: rising.
        every_level: also keep the scores at every level that occurs.
    """

    run: RunSpec
    table: ScoreTable
    thresholds: FloatArray
    every_level: bool
    evaluated: int = 0
    failed: list[PairError] = field(default_factory=list)

    def __post_init__(self) -> None:
        plan, rows = self.run.plan, len(self.table.rows)
        self.classes = plan.channels if plan.task == "multilabel" else 1
        self.points = np.append(self.thresholds, HALF)
        self.scores = ScoreSums(rows, len(self.points))
        self.counts = np.zeros((4, self.classes, len(self.points)))
        self.support = np.zeros(self.classes)
        self.spectrum: FloatArray | None = None  # (4, C, L) of tables with all levels
        self.is_graded = not plan.target.is_hard
        self.fields = 4 if self.is_graded else 2  # of a spectrum that differ
        self.level_sums = LevelSums(self.fields * self.classes, MOST_PIXELS)
        # Of each half: values, their number, and the four counts of a graded ground truth.
        columns = 2 * rows + (4 * self.classes if self.is_graded else 0)
        self.step_sums = [StepSums(columns) for _ in range(HALVES)] if self.every_level else []

    @property
    def is_dense(self) -> bool:
        """Whether the run has a table with all levels for every sample."""
        plan = self.run.plan
        return plan.counted and not (plan.sparse or plan.pixels)

    def read(self, start_method: str | None, add_rows: AddRows | None = None) -> None:
        """Read every pair, and add it.

        Args:
            start_method: of child processes that read.
            add_rows: called with the ids and the values (B, R, T) of each batch.
        """
        digest = self.digest_tables if self.is_dense else self.digest_steps
        halves = self._halves()
        for pairs, batch, each in read_batches(self.run, digest, start_method):
            self.failed += batch.errors
            ids = [pairs[index].id for index in batch.indices]
            if each is None:
                continue
            self.evaluated += len(ids)
            self._add(each, [halves[name] for name in ids])
            if add_rows:
                add_rows(ids, each.values[..., :-1])
        for sums in (self.level_sums, *(each.steps for each in self.step_sums)):
            sums.join()

    def _halves(self) -> dict[str, int]:
        """The half of each id: ids, or groups where there are any, in order and alternately."""
        of, ids = self.run.pairing.groups, list(self.run.pairing.pairs.named())
        units = sorted({of.get(each, each) for each in ids})
        half = {unit: index % HALVES for index, unit in enumerate(units)}
        return {each: half[of.get(each, each)] for each in ids}

    def digest_tables(self, batch: LoadedBatch) -> Digest | None:
        """A batch of whole tables, (B, C, 2, L)."""
        if batch.tables is None:
            return None
        tables = cast(Any, batch.tables).astype(np.float64)
        positive, negative = tables[:, :, 1], tables[:, :, 0]
        counts = counts_of_levels(positive, negative)
        half = np.searchsorted(self.thresholds, HALF)
        counts = make_counts(np.concatenate([x, x[..., half, None]], -1) for x in counts)
        support = positive.sum(-1)
        spectrum = Spectrum(positive, negative, positive, negative)
        return Digest(counts, support, self.table.evaluate(counts, support), spectrum)

    def digest_steps(self, batch: LoadedBatch) -> Digest | None:
        """A batch of pixels, or of the cells that occur."""
        steps = [
            make_steps(each, is_graded=not self.run.plan.target.is_hard)
            for each in self._elements(batch)
        ]
        if not steps:
            return None
        fields = zip(*(each.at(self.points) for each in steps), strict=True)
        counts = make_counts(map(np.stack, fields))
        support = np.stack([each.support for each in steps])
        values = self.table.evaluate(counts, support)
        between: list[FloatArray] = []
        if self.every_level:
            between = [
                self.table.evaluate(make_counts(x[None] for x in each.counts), each.support[None])[
                    0
                ]
                for each in steps
            ]
        return Digest(counts, support, values, None, steps, between)

    def _elements(self, batch: LoadedBatch) -> Iterable[Elements]:
        plan = self.run.plan
        if batch.pixels:
            return (Elements.of_pixels(plan, cast(Pixels, each)) for each in batch.pixels)
        return (Elements.of_cells(plan, cast(Cells, each)) for each in batch.tables or ())

    def _add(self, batch: Digest, halves: Sequence[int]) -> None:
        for half, values in zip(halves, batch.values, strict=True):
            self.scores.add(half, values)
        self.counts += np.stack([x.sum(0) for x in batch.counts])
        self.support += batch.support.sum(0)
        if batch.spectrum:
            added = np.stack([x.sum(0) for x in batch.spectrum])
            self.spectrum = added if self.spectrum is None else self.spectrum + added
        for steps, half, values in zip(batch.steps, halves, batch.step_values, strict=False):
            defined = ~np.isnan(values)
            functions: list[Any] = [np.where(defined, values, 0.0), defined]
            if self.is_graded:
                functions += steps.counts
            self.step_sums[half].add(steps.levels, np.concatenate(functions))
        for steps in batch.steps:
            fields = steps.spectrum[-self.fields :]
            self.level_sums.add(steps.levels, np.concatenate(fields))

    @property
    def rounded(self) -> dict[str, bool]:
        """By what follows from levels, whether more of them occur than are kept apart."""
        return {
            "best thresholds": any(each.steps.is_rounded for each in self.step_sums),
            "areas and calibration": self.level_sums.is_rounded,
        }

    @property
    def levels(self) -> FloatArray:
        """The levels of the pooled spectrum."""
        return self.thresholds if self.is_dense else self.level_sums.levels

    @property
    def pooled_spectrum(self) -> Spectrum:
        """The pixels of all samples at each level, each (C, L)."""
        if self.spectrum is not None:
            return Spectrum(*self.spectrum)
        fields = self.level_sums.numbers.reshape(self.fields, self.classes, -1)
        return Spectrum(*fields[:2], *fields[-2:])

    def at_every_level(self) -> tuple[FloatArray, ScoreSums, Counts]:
        """The levels that occur, and scores and counts there."""
        spectrum, levels = self.pooled_spectrum, self.levels
        thresholds = np.unique(rounded_down(levels)) if any(self.rounded.values()) else levels
        rows = len(self.table.rows)
        numbers = np.stack([each.at(thresholds) for each in self.step_sums])
        scores = ScoreSums(rows, len(thresholds))
        scores.sums, scores.counts = numbers[:, :rows], numbers[:, rows : 2 * rows]
        if self.is_graded:
            counts = numbers[:, 2 * rows :].sum(0).reshape(4, self.classes, -1)
            return thresholds, scores, make_counts(counts)
        index = np.searchsorted(levels, thresholds)
        of_levels = counts_of_levels(spectrum.positive, spectrum.negative, with_end=True)
        return thresholds, scores, make_counts(x[:, index] for x in of_levels)
