"""Results of a contiguous range of pairs: serialisable and mergeable."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast
from zipfile import BadZipFile

import numpy as np

from lossbench.catalog.columns import Term
from lossbench.data.loading.records import Record
from lossbench.data.loading.truth import MODULUS
from lossbench.data.pairing.pairs import Pair
from lossbench.engine.state.accumulators import Accumulators, Arrays, within
from lossbench.engine.state.doubt_evidence import pack, unpack
from lossbench.engine.state.group_accumulators import GroupAccumulators, Grouping
from lossbench.engine.state.loaded_batch import LoadedBatch
from lossbench.engine.state.scores import BatchScores, DeferredTerms, Unfinished
from lossbench.errors import PairError
from lossbench.results.doubts.evidence import DoubtEvidence
from lossbench.runtime.array_types import FloatArray, IntArray

JSON = "words"  # name of the array that holds everything else, as JSON


@dataclass
class PartialResult:
    """Results of the n pairs from `start` to before `stop`."""

    start: int
    stop: int
    groups: GroupAccumulators | None = None
    values: dict[Term, FloatArray] = field(default_factory=dict)  # (n,), nan without a value
    classes: dict[Term, FloatArray] = field(default_factory=dict)  # (n, K)
    failed: list[PairError] = field(default_factory=list)
    # Terms whose automatic options follow from all samples.
    deferred: list[DeferredTerms] = field(default_factory=list)
    pools: Accumulators = field(default_factory=Accumulators)
    # By index, samples for terms that need all samples at once.
    samples: dict[int, Record] = field(default_factory=dict)
    evidence: DoubtEvidence = field(default_factory=DoubtEvidence)  # for doubts
    truth: int = 0  # sum of the hashes of ids and ground truths, modulo MODULUS
    files: str = ""  # digest of the fingerprints of all files, if there is a checkpoint

    def __post_init__(self) -> None:
        self.good = np.zeros(self.stop - self.start, bool)  # which pairs have values

    @classmethod
    def empty(cls, start: int, stop: int, grouping: Grouping | None) -> PartialResult:
        return cls(start, stop, GroupAccumulators(grouping) if grouping else None)

    def add(
        self, start: int, pairs: Sequence[Pair], batch: LoadedBatch, rows: BatchScores, keep: bool
    ) -> None:
        """Add a batch of the range: pairs from index `start`, loaded and scored.

        `keep` also keeps the samples themselves.
        """
        self.failed += batch.errors
        self.evidence.extend(batch.evidence)
        if self.groups:
            self.groups.add([pair.id for pair in pairs], batch, rows)
        if not batch.indices:
            return
        indices = np.array(batch.indices, np.int64) + (start - self.start)
        self.good[indices] = True
        self.truth = sum(batch.truths, self.truth) % MODULUS
        self._store(indices, rows)
        if rows.unfinished:
            self.deferred.append(DeferredTerms.of(indices + self.start, rows))
        if keep:
            samples = cast(tuple[Record, ...], batch.pixels)
            self.samples |= dict(zip((indices + self.start).tolist(), samples, strict=True))
        self.pools.sums.add(rows.states)
        self.pools.views.add({name: each.every for name, each in rows.views.items()})
        if batch.tables is not None:
            self.pools.tables.add(batch.tables, batch.sizes)

    def extend(self, other: PartialResult) -> None:
        """Add the results of a part of the range."""
        rows = slice(other.start - self.start, other.stop - self.start)
        self.good[rows] = other.good
        self._store(rows, other)
        self.truth = (self.truth + other.truth) % MODULUS
        self.failed += other.failed
        self.evidence.extend(other.evidence)
        self.deferred += other.deferred
        self.pools.extend(other.pools)
        self.samples |= other.samples
        if self.groups and other.groups:
            self.groups.extend(other.groups)

    def cut(self, stop: int) -> None:
        """End the range before `stop`: pairs from there on have no result yet."""
        if self.deferred:
            self.deferred = [DeferredTerms.joined(self.deferred)]
        count = stop - self.start
        self.stop, self.good = stop, self.good[:count]
        for rows in (self.values, self.classes):
            rows |= {term: each[:count] for term, each in rows.items()}

    def _store(self, rows: IntArray | slice, scores: BatchScores | PartialResult) -> None:
        """Set the values and class values of some rows; others have nan."""
        for stored, new in ((self.values, scores.values), (self.classes, scores.classes)):
            for term, numbers in new.items():
                if term not in stored:
                    stored[term] = np.full((len(self.good), *numbers.shape[1:]), math.nan)
                stored[term][rows] = numbers

    def pack(self) -> bytes:
        """Pack into the bytes of an .npz file without pickled objects; nothing is rounded."""
        state: dict[str, Any] = {
            "start": self.start,
            "stop": self.stop,
            "truth": self.truth,
            "files": self.files,
            "failed": [asdict(each) for each in self.failed],
        }
        arrays: Arrays = {"good": np.packbits(self.good), "evidence": pack(self.evidence)}
        arrays |= {f"values/{term.key}": each for term, each in self.values.items()}
        arrays |= {f"classes/{term.key}": each for term, each in self.classes.items()}
        arrays |= {f"pools/{key}": each for key, each in self.pools.pack().items()}
        if self.deferred:
            deferred = DeferredTerms.joined(self.deferred)
            arrays |= {"support": deferred.support, "valid": deferred.valid}
            arrays["pending places"] = deferred.indices
            arrays |= {
                f"pending/{term.key}/{probe}/{number}": each
                for term, results in deferred.results.items()
                for probe, fields in enumerate(results)
                for number, each in enumerate(fields)
            }
        if self.samples:
            arrays["kept places"] = np.array(list(self.samples))
            roles = next(iter(self.samples.values())).roles
            for role in roles:
                rows = [sample.roles[role][""] for sample in self.samples.values()]
                arrays[f"kept/{role}"] = np.stack(rows)
        if self.groups:
            state["groups"], grouped = self.groups.pack()
            arrays |= {f"groups/{key}": each for key, each in grouped.items()}
        arrays[JSON] = np.frombuffer(json.dumps(state).encode(), np.uint8)
        target = io.BytesIO()
        np.savez(target, **cast(Any, arrays))
        return target.getvalue()

    @classmethod
    def unpack(
        cls, packed: bytes, terms: Iterable[Term], grouping: Grouping | None
    ) -> PartialResult:
        """Restore a packed result of a run with the same terms; ValueError if that fails."""
        known = {term.key: term for term in terms}
        try:
            with np.load(io.BytesIO(packed), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            state = json.loads(arrays.pop(JSON).tobytes())
            partial = cls.empty(state["start"], state["stop"], grouping)
            partial.truth, partial.files = state["truth"], state["files"]
            partial.failed = [PairError(**each) for each in state["failed"]]
            partial.good = np.unpackbits(arrays["good"], count=len(partial.good)).view(bool)
            partial.values = {known[key]: each for key, each in within(arrays, "values").items()}
            partial.classes = {known[key]: each for key, each in within(arrays, "classes").items()}
            partial.pools.unpack(within(arrays, "pools"))
            partial.evidence = unpack(arrays["evidence"])
            if "support" in arrays:
                results = _results(within(arrays, "pending"), known)
                of_all = partial.start + np.flatnonzero(partial.good)
                indices = arrays.get("pending places", of_all)
                partial.deferred = [
                    DeferredTerms(indices, results, arrays["support"], arrays["valid"])
                ]
            if "kept places" in arrays:
                roles = within(arrays, "kept")
                partial.samples = {
                    index: Record({role: {"": rows[number]} for role, rows in roles.items()})
                    for number, index in enumerate(arrays["kept places"].tolist())
                }
            if partial.groups:
                partial.groups.unpack(state["groups"], within(arrays, "groups"), known)
            return partial
        except (BadZipFile, KeyError, TypeError, OSError) as error:
            raise ValueError(str(error)) from None


def _results(arrays: Arrays, terms: Mapping[str, Term]) -> Unfinished:
    """Restore the results of deferred terms from arrays named term/probe/field, in that order."""
    results: Unfinished = {}
    for name, array in arrays.items():
        key, probe, _ = name.rsplit("/", 2)
        probes = results.setdefault(terms[key], [])
        if int(probe) == len(probes):
            probes.append(())
        probes[-1] = (*probes[-1], array)
    return results
