"""A run that is ready to start, and how it goes."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lossbench.catalog.columns import Column, Term, named
from lossbench.catalog.feature_needs import parameters
from lossbench.data.pairing.pairs import Pair, Pairing
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.locations import label
from lossbench.engine.batching import PairRange
from lossbench.engine.checkpoint import Checkpoint, unchanged
from lossbench.engine.convention_columns import ConventionColumn
from lossbench.engine.dask_engine import LOCAL, go_on_cluster
from lossbench.engine.finalize import Options, conclude, grouping
from lossbench.engine.fingerprints import local_state
from lossbench.engine.pipeline import PassInfo, Pipeline, Take
from lossbench.engine.progress import Progress, Watch
from lossbench.engine.settings import Settings
from lossbench.engine.shards import as_shard, share
from lossbench.engine.state.group_accumulators import Grouping
from lossbench.engine.state.partial_result import PartialResult
from lossbench.networks.weights import PUBLISHED, Published
from lossbench.networks.weights import digest as file_digest
from lossbench.results.baseline import baseline_value
from lossbench.results.gates import Check, decide
from lossbench.results.json_numbers import jsonable
from lossbench.results.result import Result, describe_column, digest
from lossbench.version import __version__

# Settings that are told elsewhere in a result, or change nothing in it.
UNTOLD = (
    "inputs", "device", "workers", "batch_size", "baseline", "weights", "offline", "shard",
    "engine"
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A run that is ready to start: all of it was checked without importing torch.

    Attributes:
        plan: how bytes become numbers.
        pairing: which files belong together.
        columns: what will be computed.
        settings: what was asked for.
        losses: as they were asked for, or the task's usual ones.
    """

    pred: Any
    target: Any
    losses: Sequence[str]
    settings: Settings
    pairing: Pairing
    plan: Plan
    columns: list[Column]
    checks: list[Check]
    baseline: Mapping[str, Any] | None
    elsewhere: Sequence[ConventionColumn] = ()

    @property
    def device(self) -> str:
        """Where it will be computed, as far as that is known without torch."""
        return self.settings.likely_device

    @property
    def to_fetch(self) -> list[Published]:
        """Weights that are in no cache: `evaluate` downloads them, unless it was done before."""
        given = self.settings.weights
        names = {
            name: None for term in self.terms for name in parameters(term) if name not in given
        }
        return [PUBLISHED[name] for name in names if PUBLISHED[name].path is None]

    @property
    def terms(self) -> list[Term]:
        """Every loss that is computed, of other conventions too."""
        every = [*self.columns, *(each.column for each in self.elsewhere)]
        return [term for column in every for term in column.terms]

    @property
    def share(self) -> tuple[int, int]:
        """From which to before which pair this run goes: all of them, or those of a shard."""
        return share(self.settings.shard, len(self.pairing.pairs))

    def evaluate(
        self, progress: Callable[[Progress], None] | None = None, journal: Checkpoint | None = None
    ) -> Result:
        """Read every pair once and compute everything.

        Args:
            progress: called after each batch.
            journal: keeps what is finished, in case the run does not end, and may know some of it.
        """
        started, clock = datetime.now(UTC), time.perf_counter()
        options = {term: term.options for term in self.terms}
        here = self.settings.engine == LOCAL
        # A cluster's driver has what workers counted and added up, and needs no GPU for the rest.
        device = self._chosen_device if here else lambda: "cpu"
        groups = grouping(self, options, device)
        whole = PartialResult.empty(*self.share, groups)
        known = self._known(journal, whole, list(options), groups) if journal else []

        def take(part: PartialResult) -> None:
            if journal:
                journal.add(part)
            whole.extend(part)

        ranges = self._left(known)
        left = sum(len(pairs) for _, pairs in ranges)
        watch = Watch(self.columns, left, progress) if progress else None
        engine = go_here if here or not ranges else go_on_cluster
        ended = engine(self, ranges, groups, take, watch, stamped=journal is not None)
        run = self.describe()
        if ended.weights is not None:
            run["weights"] = ended.weights
        shard = self.settings.shard
        state = shard and as_shard(shard, whole, self.plan, self.pairing, self.losses)
        result = self.conclude(whole, options, device())
        result.run, result.shard = run, state or None
        result.session = {
            "lossbench": __version__,
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - clock, 3),
            "device": ended.device,
            "workers": self.settings.readers,
            "versions": _versions(),
            **({"note": ended.remark} if ended.remark else {}),
        }
        return result

    def conclude(self, whole: PartialResult, options: Options, device: str) -> Result:
        """The result of all parts, with its gates decided; those of a shard are the whole's."""
        result = conclude(self, whole, options, device)
        if self.settings.shard is None:
            result.decisions = [
                decide(each, result.quantity(each), partial(self._baseline, each))
                for each in self.checks
            ]
        return result

    def _chosen_device(self) -> str:
        """Where this process computes; this imports torch."""
        from lossbench.engine.compute.device import pick_device

        return pick_device(self.settings.device)

    def _known(
        self,
        journal: Checkpoint,
        whole: PartialResult,
        terms: Sequence[Term],
        groups: Grouping | None,
    ) -> list[tuple[int, int]]:
        """Ranges that were finished before, of files that have not changed since."""
        found = []
        for packed in journal.parts():
            part = PartialResult.unpack(packed, terms, groups)
            if unchanged(part, self.pairing.pairs):
                whole.extend(part)
                journal.count(part)
                found.append((part.start, part.stop))
        return found

    def _left(self, known: Sequence[tuple[int, int]]) -> list[tuple[int, Sequence[Pair]]]:
        """The pairs between those that are known, each range with the place of its first."""
        at, end = self.share
        ranges = list[tuple[int, Sequence[Pair]]]()
        for start, stop in [*sorted(known), (end, end)]:
            if at < start:
                ranges.append((at, self.pairing.pairs[at:start]))
            at = stop
        return ranges

    def journal(self, path: str, resume: bool = False) -> Checkpoint:
        """A file that keeps what is finished; hand it to `evaluate`.

        Args:
            path: the file.
            resume: go on from what is in it.

        Raises:
            InputError: what is in it is of another run.
        """
        first, stop = self.share
        identity = {
            "run": jsonable(self.describe()),
            "losses": [describe_column(column) for column in self.columns],
            "pairs": [first, stop, digest(self.pairing.pairs.named())],
            "unpaired": [each.message for each in self.pairing.unpaired],
            "files": [local_state(each) for each in (self.pred, self.target) if _is_file(each)],
            "groups": digest(self.pairing.groups.values()),
            "device": self.device,
            "weights": {name: file_digest(Path(at)) for name, at in self.settings.weights.items()},
            "versions": _versions(),
        }
        return Checkpoint(path, identity, resume)

    def column(self, name: str) -> Column:
        """A column by its name; an unknown one is an error."""
        return named(self.columns, name)

    def describe(self) -> dict[str, Any]:
        """What is read and how, as the result file holds it."""
        settings = {
            name: value for name, value in vars(self.settings).items() if name not in UNTOLD
        }
        settings["manifest"] = _named(self.settings.manifest)
        return {
            "pred": _named(self.pred),
            "target": _named(self.target),
            "inputs": {role: _named(given) for role, given in self.settings.inputs.items()},
            "plan": {
                "text": str(self.plan),
                "task": self.plan.task,
                "pred": str(self.plan.pred),
                "target": str(self.plan.target),
                "counted": self.plan.counted,
            },
            "settings": settings,
            "convention": self.settings.preset.name,
        }

    def _baseline(self, check: Check) -> float:
        """The same quantity in the baseline."""
        return baseline_value(self.baseline or {}, check)


def go_here(
    run: Run,
    ranges: Sequence[PairRange],
    groups: Grouping | None,
    take: Take,
    watch: Watch | None,
    *,
    stamped: bool,
) -> PassInfo:
    """Evaluate ranges of pairs in this process and its readers."""
    terms = list(dict.fromkeys(run.terms))
    confined = run.pairing.confined
    work = Pipeline(
        run.plan, terms, run.settings, groups, confined=confined, stamped=stamped, weighed=True
    )
    return work.go(ranges, take, watch)


def _is_file(given: Any) -> bool:
    return isinstance(given, str | os.PathLike) and os.path.isfile(given)


def _named(given: Any) -> str | None:
    """A folder as it was given; None for arrays in memory."""
    return label(given) if isinstance(given, str | os.PathLike) else None


def _versions() -> dict[str, str]:
    installed = {name: version(name) for name in ("torch", "numpy", "pillow")}
    return {"python": platform.python_version(), **installed}
