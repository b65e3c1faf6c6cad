"""What a range of pairs came to: the one form in which results are kept, sent, stored and added."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast
from zipfile import BadZipFile

import numpy as np

from lossbench.catalog.columns import Term
from lossbench.data.loading.records import Record
from lossbench.data.pairing.pairs import Pair
from lossbench.engine.state.accumulators import Accumulators, Arrays, within
from lossbench.engine.state.group_accumulators import GroupAccumulators, Grouping
from lossbench.engine.state.loaded_batch import LoadedBatch
from lossbench.engine.state.scores import DeferredTerms
from lossbench.errors import PairError
from lossbench.runtime.array_types import FloatArray

if TYPE_CHECKING:
    from lossbench.engine.state.scores import BatchScores, Unfinished

WORDS = "words"  # the array that holds everything else, as JSON


@dataclass
class PartialResult:
    """The samples of the pairs from `start` to before `stop`, and what of them adds up.

    Attributes:
        good: (stop − start,) which pairs have values.
        values: by term, a number for each pair, nan where it has none.
        classes: by term, (stop − start, K).
        failed: the pairs without values, and why.
        pending: of terms that wait for the end.
        pools: what adds up.
        groups: the same for each group, where there are groups.
        kept: samples that terms wait for which need all of them, by place.
        files: what their files were when they were read, where that was asked for.
    """

    start: int
    stop: int
    groups: GroupAccumulators | None = None
    values: dict[Term, FloatArray] = field(default_factory=dict)
    classes: dict[Term, FloatArray] = field(default_factory=dict)
    failed: list[PairError] = field(default_factory=list)
    pending: list[DeferredTerms] = field(default_factory=list)
    pools: Accumulators = field(default_factory=Accumulators)
    kept: dict[int, Record] = field(default_factory=dict)
    files: str = ""

    def __post_init__(self) -> None:
        self.good = np.zeros(self.stop - self.start, bool)

    @classmethod
    def empty(cls, start: int, stop: int, grouping: Grouping | None) -> PartialResult:
        """A range of which nothing is known yet."""
        return cls(start, stop, GroupAccumulators(grouping) if grouping else None)

    def add(
        self, start: int, pairs: Sequence[Pair], chunk: LoadedBatch, rows: BatchScores, keep: bool
    ) -> None:
        """What became of some pairs of the range, the first of which is at `start`."""
        self.failed += chunk.errors
        if self.groups:
            self.groups.add([pair.id for pair in pairs], chunk, rows)
        if not chunk.places:
            return
        places = np.array(chunk.places, np.int64) + (start - self.start)
        self.good[places] = True
        for term, values in rows.values.items():
            self._row(self.values, term)[places] = values
        for term, classes in rows.classes.items():
            self._row(self.classes, term, classes.shape[1:])[places] = classes
        if rows.unfinished:
            self.pending.append(DeferredTerms.of(places + self.start, rows))
        if keep:
            samples = cast(tuple[Record, ...], chunk.pixels)
            self.kept |= dict(zip((places + self.start).tolist(), samples, strict=True))
        self.pools.sums.add(rows.states)
        self.pools.views.add(rows.views)
        if chunk.tables is not None:
            self.pools.tables.add(chunk.tables, chunk.sizes)

    def extend(self, other: PartialResult) -> None:
        """What a part of the range came to."""
        place = slice(other.start - self.start, other.stop - self.start)
        self.good[place] = other.good
        for term, values in other.values.items():
            self._row(self.values, term)[place] = values
        for term, classes in other.classes.items():
            self._row(self.classes, term, classes.shape[1:])[place] = classes
        self.failed += other.failed
        self.pending += other.pending
        self.pools.extend(other.pools)
        self.kept |= other.kept
        if self.groups and other.groups:
            self.groups.extend(other.groups)

    def cut(self, stop: int) -> None:
        """End here, before what is not known yet."""
        if self.pending:
            self.pending = [DeferredTerms.joined(self.pending)]
        count = stop - self.start
        self.stop, self.good = stop, self.good[:count]
        for rows in (self.values, self.classes):
            rows |= {term: each[:count] for term, each in rows.items()}

    def _row(
        self, rows: dict[Term, FloatArray], term: Term, shape: Sequence[int] = ()
    ) -> FloatArray:
        if term not in rows:
            rows[term] = np.full((self.stop - self.start, *shape), math.nan)
        return rows[term]

    def pack(self) -> bytes:
        """As bytes that hold every bit, and nothing that can be run."""
        words: dict[str, Any] = {
            "start": self.start,
            "stop": self.stop,
            "files": self.files,
            "failed": [asdict(each) for each in self.failed],
        }
        arrays: Arrays = {"good": np.packbits(self.good)}
        arrays |= {f"values/{term.key}": each for term, each in self.values.items()}
        arrays |= {f"classes/{term.key}": each for term, each in self.classes.items()}
        arrays |= {f"pools/{key}": each for key, each in self.pools.pack().items()}
        if self.pending:
            pending = DeferredTerms.joined(self.pending)
            arrays |= {"support": pending.support, "valid": pending.valid}
            arrays |= {
                f"pending/{term.key}/{probe}/{number}": each
                for term, results in pending.results.items()
                for probe, fields in enumerate(results)
                for number, each in enumerate(fields)
            }
        if self.kept:
            arrays["kept places"] = np.array(list(self.kept))
            roles = next(iter(self.kept.values())).roles
            for role in roles:
                rows = [sample.roles[role][""] for sample in self.kept.values()]
                arrays[f"kept/{role}"] = np.stack(rows)
        if self.groups:
            words["groups"], grouped = self.groups.pack()
            arrays |= {f"groups/{key}": each for key, each in grouped.items()}
        text = json.dumps(words).encode()
        target = io.BytesIO()
        arrays[WORDS] = np.frombuffer(text, np.uint8)
        np.savez(target, **cast(Any, arrays))
        return target.getvalue()

    @classmethod
    def unpack(
        cls, packed: bytes, terms: Iterable[Term], grouping: Grouping | None
    ) -> PartialResult:
        """What was packed, of a run with the same terms.

        Raises:
            ValueError: it is damaged or of another version.
        """
        try:
            return cls._unpacked(packed, {term.key: term for term in terms}, grouping)
        except (BadZipFile, KeyError, TypeError, OSError) as error:
            raise ValueError(str(error)) from None

    @classmethod
    def _unpacked(
        cls, packed: bytes, known: Mapping[str, Term], grouping: Grouping | None
    ) -> PartialResult:
        with np.load(io.BytesIO(packed), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        words = json.loads(arrays.pop(WORDS).tobytes())
        part = cls.empty(words["start"], words["stop"], grouping)
        part.files = words["files"]
        part.failed = [PairError(**each) for each in words["failed"]]
        part.good = np.unpackbits(arrays["good"], count=len(part.good)).view(bool)
        part.values = {known[key]: each for key, each in within(arrays, "values").items()}
        part.classes = {known[key]: each for key, each in within(arrays, "classes").items()}
        part.pools.unpack(within(arrays, "pools"))
        if "support" in arrays:
            results = _results(within(arrays, "pending"), known)
            places = part.start + np.flatnonzero(part.good)
            part.pending = [DeferredTerms(places, results, arrays["support"], arrays["valid"])]
        if "kept places" in arrays:
            roles = within(arrays, "kept")
            part.kept = {
                place: Record({role: {"": rows[number]} for role, rows in roles.items()})
                for number, place in enumerate(arrays["kept places"].tolist())
            }
        if part.groups:
            part.groups.unpack(words["groups"], within(arrays, "groups"), known)
        return part


def _results(arrays: Arrays, terms: Mapping[str, Term]) -> Unfinished:
    """Pending results from arrays called term/probe/field, in that order."""
    results: Unfinished = {}
    for name, array in arrays.items():
        key, probe, _ = name.rsplit("/", 2)
        probes = results.setdefault(terms[key], [])
        if int(probe) == len(probes):
            probes.append(())
        probes[-1] = (*probes[-1], array)
    return results
