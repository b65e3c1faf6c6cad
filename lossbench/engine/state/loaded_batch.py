"""What has been read of some pairs: tables or pixels, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossbench.data.counting.instance_overlap import InstanceOverlap
from lossbench.data.counting.joint_histogram import Table
from lossbench.data.counting.sparse_histogram import Cells
from lossbench.data.formats.boxes import Detections
from lossbench.data.loading.records import Record
from lossbench.data.loading.sample import Pixels, Sample, make_sample
from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.locations import Source
from lossbench.data.sources.remote import Remote, fetch
from lossbench.errors import PairError

FETCHED = 16  # pairs whose files at a URL are on their way together


@dataclass(frozen=True)
class LoadedBatch:
    """Some pairs after reading: their tables stacked, their pixels, and what failed.

    `places` says which pair of the task each sample is; `sizes` how many pixels it has.
    """

    places: tuple[int, ...]
    tables: NDArray[np.uint32] | tuple[Cells, ...] | None
    pixels: tuple[Pixels | InstanceOverlap | Record | Detections, ...]
    sizes: NDArray[np.int64]
    errors: tuple[PairError, ...]

    @classmethod
    def joined(cls, chunks: Sequence[LoadedBatch], counts: Sequence[int]) -> LoadedBatch:
        """Chunks of so many pairs each as one."""
        numbered = list(zip(accumulate(counts, initial=0), chunks, strict=False))
        tables = [each.tables for each in chunks if each.tables is not None]
        whole = [each for each in tables if isinstance(each, np.ndarray)]
        cells = tuple(each for some in tables if isinstance(some, tuple) for each in some)
        return cls(
            tuple(start + place for start, each in numbered for place in each.places),
            np.concatenate(whole) if whole else cells or None,
            tuple(pixels for each in chunks for pixels in each.pixels),
            np.concatenate([each.sizes for each in chunks]),
            tuple(error for each in chunks for error in each.errors),
        )

    def apart(self, groups: Sequence[Sequence[int]] | None = None) -> list[LoadedBatch]:
        """Each group of samples, or each sample, in a chunk of its own; first, what failed."""
        groups = [[row] for row in range(len(self.places))] if groups is None else groups
        return [
            LoadedBatch((), None, (), self.sizes[:0], self.errors),
            *(
                LoadedBatch(
                    tuple(self.places[row] for row in rows),
                    _taken(self.tables, rows),
                    tuple(self.pixels[row] for row in rows) if self.pixels else (),
                    self.sizes[list(rows)],
                    (),
                )
                for rows in groups
            ),
        ]


def load_batch(plan: Plan, pairs: Sequence[Pair]) -> LoadedBatch:
    """Decode some pairs and, where the plan says so, count them."""
    made = [make_sample(plan, pair) for pair in _near(list(pairs))]
    good = [(place, each) for place, each in enumerate(made) if isinstance(each, Sample)]
    tables = [each.table for _, each in good if each.table is not None]
    return LoadedBatch(
        tuple(place for place, _ in good),
        _stacked(tables),
        tuple(each.pixels for _, each in good if each.pixels is not None),
        np.array([each.size for _, each in good], np.int64),
        tuple(each for each in made if isinstance(each, PairError)),
    )


def _stacked(tables: Sequence[Table | Cells]) -> NDArray[np.uint32] | tuple[Cells, ...] | None:
    """Whole tables in one array; of the cells that occur there are not equally many."""
    whole = [table for table in tables if isinstance(table, np.ndarray)]
    cells = tuple(table for table in tables if isinstance(table, Cells))
    return np.stack(whole).astype(np.uint32) if whole else cells or None


def _taken(tables: Any, rows: Sequence[int]) -> Any:
    """The tables of some samples."""
    if tables is None or isinstance(tables, np.ndarray):
        return tables if tables is None else tables[list(rows)]
    return tuple(tables[row] for row in rows)


def _near(pairs: Sequence[Pair]) -> Iterator[Pair]:
    """The pairs, with what is at a URL fetched some pairs at a time."""
    if not any(isinstance(source, Remote) for source in _sources(pairs)):
        yield from pairs
        return
    for start in range(0, len(pairs), FETCHED):
        some = pairs[start : start + FETCHED]
        far = dict.fromkeys(each for each in _sources(some) if isinstance(each, Remote))
        near = dict(zip(far, fetch(list(far)), strict=True))
        for pair in some:
            sources = {
                role: tuple(near[each] if isinstance(each, Remote) else each for each in files)
                for role, files in pair.sources.items()
            }
            yield replace(pair, sources=sources)


def _sources(pairs: Sequence[Pair]) -> Iterator[Source]:
    return (source for pair in pairs for files in pair.sources.values() for source in files)
