"""Scores of a batch: one row per sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lossbench.catalog.columns import Term
from lossbench.interface.row_list import RowList
from lossbench.runtime.array_types import FloatArray

# Of terms with options still unknown: what comes out with each of the probes, in its fields.
Unfinished = dict[Term, list[tuple[FloatArray, ...]]]


@dataclass
class BatchScores:
    """What a chunk's samples are worth, in their order."""

    values: dict[Term, FloatArray] = field(default_factory=dict)  # (B,)
    classes: dict[Term, FloatArray] = field(default_factory=dict)  # (B, K)
    states: dict[str, dict[str, FloatArray]] = field(
        default_factory=dict
    )  # what adds up, of pixels
    views: dict[str, RowList] = field(default_factory=dict)  # what is joined, of one sample
    unfinished: Unfinished = field(default_factory=dict)
    support: FloatArray | None = None  # (B, K) target pixels of each class, where a rule needs them
    valid: FloatArray | None = None  # (B, K) pixels that each class could have


@dataclass
class DeferredTerms:
    """Terms that wait for options which follow from all samples, for n samples."""

    places: NDArray[np.int64]  # (n,) of the samples among the pairs
    results: Unfinished  # by term and probe, its fields (n, …)
    support: FloatArray  # (n, K) target pixels of each class
    valid: FloatArray  # (n, K) pixels that each class could have

    @classmethod
    def of(cls, places: NDArray[np.int64], rows: BatchScores) -> DeferredTerms:
        """Those of a chunk, as copies.

        Small arrays that were made between large ones would keep the memory of these, which are
        gone by now, from being used again.
        """
        results = {
            term: [tuple(map(np.array, fields)) for fields in probes]
            for term, probes in rows.unfinished.items()
        }
        return cls(places, results, np.array(rows.support), np.array(rows.valid))

    @classmethod
    def joined(cls, parts: Sequence[DeferredTerms]) -> DeferredTerms:
        """Those of several ranges, in the order of the pairs."""
        places = np.concatenate([part.places for part in parts])
        order = np.argsort(places)

        def joined(arrays: Sequence[FloatArray]) -> FloatArray:
            return np.concatenate(arrays)[order]

        def fields(term: Term) -> list[tuple[FloatArray, ...]]:
            of_parts = zip(*(part.results[term] for part in parts), strict=True)
            return [tuple(map(joined, zip(*probe, strict=True))) for probe in of_parts]

        return cls(
            places[order],
            {term: fields(term) for term in parts[0].results},
            joined([part.support for part in parts]),
            joined([part.valid for part in parts]),
        )
