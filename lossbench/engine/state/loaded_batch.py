"""A batch of pairs after reading: tables or pixels, and errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossbench.data.counting.instance_overlap import InstanceOverlap
from lossbench.data.counting.joint_histogram import CountTable
from lossbench.data.counting.sparse_histogram import Cells
from lossbench.data.formats.boxes import Detections
from lossbench.data.loading.records import Record
from lossbench.data.loading.sample import Pixels, Sample, make_samples
from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.locations import Source
from lossbench.data.sources.remote import Remote, fetch
from lossbench.engine.state.doubt_evidence import gather
from lossbench.errors import PairError
from lossbench.results.doubts.evidence import DoubtEvidence

FETCHED = 16  # pairs whose remote files are fetched concurrently


@dataclass(frozen=True)
class LoadedBatch:
    """A batch of pairs after reading."""

    indices: tuple[int, ...]  # of each sample among the pairs
    # Tables of counts, stacked; or cells, of which a sample may have any number.
    tables: NDArray[np.uint32] | tuple[Cells, ...] | None
    pixels: tuple[Pixels | InstanceOverlap | Record | Detections, ...]
    sizes: NDArray[np.int64]  # pixels of each sample
    errors: tuple[PairError, ...]  # the pairs that could not be read
    truths: tuple[int, ...] = ()  # of each sample, the hash of its id and ground truth
    # Of all pairs that could be read.
    evidence: DoubtEvidence = field(default_factory=DoubtEvidence)

    @classmethod
    def joined(cls, batches: Sequence[LoadedBatch], counts: Sequence[int]) -> LoadedBatch:
        """Join batches, of `counts` pairs each, into one."""
        numbered = list(zip(accumulate(counts, initial=0), batches, strict=False))
        tables = [each.tables for each in batches if each.tables is not None]
        whole = [each for each in tables if isinstance(each, np.ndarray)]
        cells = tuple(each for some in tables if isinstance(some, tuple) for each in some)
        evidence = DoubtEvidence()
        for each in batches:
            evidence.extend(each.evidence)
        return cls(
            tuple(start + index for start, each in numbered for index in each.indices),
            np.concatenate(whole) if whole else cells or None,
            tuple(pixels for each in batches for pixels in each.pixels),
            np.concatenate([each.sizes for each in batches]),
            tuple(error for each in batches for error in each.errors),
            tuple(truth for each in batches for truth in each.truths),
            evidence,
        )

    def split(self, groups: Sequence[Sequence[int]] | None = None) -> list[LoadedBatch]:
        """A batch with errors and evidence, then one per group of rows, or else one per sample."""
        groups = [[row] for row in range(len(self.indices))] if groups is None else groups
        return [
            LoadedBatch((), None, (), self.sizes[:0], self.errors, (), self.evidence),
            *(
                LoadedBatch(
                    tuple(self.indices[row] for row in rows),
                    _taken(self.tables, rows),
                    tuple(self.pixels[row] for row in rows) if self.pixels else (),
                    self.sizes[list(rows)],
                    (),
                    tuple(self.truths[row] for row in rows),
                )
                for rows in groups
            ),
        ]


def load_batch(plan: Plan, pairs: Sequence[Pair]) -> LoadedBatch:
    """Read pairs and, if the plan is to count, make their tables."""
    pairs = list(pairs)
    loaded = make_samples(plan, _fetched(pairs))
    samples = [(index, each) for index, each in enumerate(loaded) if isinstance(each, Sample)]
    tables = _stacked([each.table for _, each in samples if each.table is not None])
    read = [pairs[index] for index, _ in samples]
    return LoadedBatch(
        tuple(index for index, _ in samples),
        tables,
        tuple(each.pixels for _, each in samples if each.pixels is not None),
        np.array([each.size for _, each in samples], np.int64),
        tuple(each for each in loaded if isinstance(each, PairError)),
        tuple(each.truth for _, each in samples),
        gather(plan, read, [each for _, each in samples], tables),
    )


def _stacked(tables: Sequence[CountTable | Cells]) -> NDArray[np.uint32] | tuple[Cells, ...] | None:
    """Stack whole tables in one array; cells stay a tuple, as samples have different numbers."""
    whole = [table for table in tables if isinstance(table, np.ndarray)]
    cells = tuple(table for table in tables if isinstance(table, Cells))
    return np.stack(whole).astype(np.uint32) if whole else cells or None


def _taken(tables: Any, rows: Sequence[int]) -> Any:
    if isinstance(tables, tuple):
        return tuple(tables[row] for row in rows)
    return None if tables is None else tables[list(rows)]


def _fetched(pairs: Sequence[Pair]) -> Iterator[Pair]:
    """The pairs, with remote files fetched for some pairs at a time."""
    if not any(isinstance(source, Remote) for source in _sources(pairs)):
        yield from pairs
        return
    for start in range(0, len(pairs), FETCHED):
        block = pairs[start : start + FETCHED]
        remote = dict.fromkeys(each for each in _sources(block) if isinstance(each, Remote))
        local = dict(zip(remote, fetch(list(remote)), strict=True))
        for pair in block:
            sources = {
                role: tuple(local[each] if isinstance(each, Remote) else each for each in files)
                for role, files in pair.sources.items()
            }
            yield replace(pair, sources=sources)


def _sources(pairs: Sequence[Pair]) -> Iterator[Source]:
    return (source for pair in pairs for files in pair.sources.values() for source in files)
