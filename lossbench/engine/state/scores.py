"""Scores of a batch: one row per sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lossbench.catalog.columns import Term
from lossbench.interface.row_list import SampleRows
from lossbench.runtime.array_types import FloatArray, IntArray

# By term with automatic options: the fields of the result that each probe gives.
Unfinished = dict[Term, list[tuple[FloatArray, ...]]]


@dataclass
class BatchScores:
    """The scores of the samples of a batch, in their order."""

    values: dict[Term, FloatArray] = field(default_factory=dict)  # (B,)
    classes: dict[Term, FloatArray] = field(default_factory=dict)  # (B, K)
    # Additive states of pixels: by term and quantity, (B, …).
    states: dict[str, dict[str, FloatArray]] = field(default_factory=dict)
    views: dict[str, SampleRows] = field(default_factory=dict)  # rows to join
    unfinished: Unfinished = field(default_factory=dict)
    support: FloatArray | None = None  # (B, K) target pixels of each class, for deferred terms
    valid: FloatArray | None = None  # (B, K) pixels that each class could have

    def extend(self, other: BatchScores) -> None:
        """Add the scores of the same samples by other terms."""
        for name in ("values", "classes", "states", "views", "unfinished"):
            getattr(self, name).update(getattr(other, name))
        if other.unfinished:
            self.support, self.valid = other.support, other.valid

    @classmethod
    def joined(cls, parts: Sequence[BatchScores]) -> BatchScores:
        """Join the scores of batches with the same terms."""
        names = vars(parts[0])
        return cls(**{name: _joined([vars(part)[name] for part in parts]) for name in names})


def _joined(parts: Sequence[Any]) -> Any:
    """Arrays of one structure, concatenated along their first axis."""
    first = parts[0]
    if isinstance(first, SampleRows):
        return SampleRows.joined(parts)
    if isinstance(first, dict):
        return {key: _joined([part[key] for part in parts]) for key in first}
    if isinstance(first, list | tuple):
        return type(first)(map(_joined, zip(*parts, strict=True)))
    return None if first is None else np.concatenate(parts)


@dataclass
class DeferredTerms:
    """Terms whose automatic options follow from all samples of the run, for n samples."""

    indices: IntArray  # (n,) of the samples among the pairs
    results: Unfinished  # by term and probe, its fields (n, …)
    support: FloatArray  # (n, K) target pixels of each class
    valid: FloatArray  # (n, K) pixels that each class could have

    @classmethod
    def of(cls, indices: IntArray, rows: BatchScores) -> DeferredTerms:
        """The deferred terms of a batch, as copies.

        Small arrays that lie between large ones keep the memory of these, once they are freed,
        from being used again.
        """
        results = {
            term: [tuple(map(np.array, fields)) for fields in probes]
            for term, probes in rows.unfinished.items()
        }
        return cls(indices, results, np.array(rows.support), np.array(rows.valid))

    @classmethod
    def joined(cls, parts: Sequence[DeferredTerms]) -> DeferredTerms:
        """Join the deferred terms of several ranges, in the order of the pairs.

        Samples that have no value of a term, which another term of the run has, get nan.
        """
        indices = np.concatenate([part.indices for part in parts])
        order = np.argsort(indices)
        known = {term: probes for part in parts for term, probes in part.results.items()}

        def joined(arrays: Sequence[FloatArray]) -> FloatArray:
            return np.concatenate(arrays)[order]

        def fields(term: Term) -> list[tuple[FloatArray, ...]]:
            of_parts = zip(
                *(part.results.get(term) or part.undefined(known[term]) for part in parts),
                strict=True,
            )
            return [tuple(map(joined, zip(*probe, strict=True))) for probe in of_parts]

        return cls(
            indices[order],
            {term: fields(term) for term in known},
            joined([part.support for part in parts]),
            joined([part.valid for part in parts]),
        )

    def undefined(self, like: list[tuple[FloatArray, ...]]) -> list[tuple[FloatArray, ...]]:
        """Fields of a term that these samples have no value of, with the axes of others."""
        count = len(self.indices)
        return [
            tuple(np.full((count, *field.shape[1:]), np.nan) for field in fields) for fields in like
        ]
