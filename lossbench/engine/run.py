"""A run: its specification executed, here or on a cluster, with or without a checkpoint."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from lossbench.data.planning.classes import MAX_CLASSES
from lossbench.data.planning.evidence import IGNORED_LABEL
from lossbench.engine.backend import backend
from lossbench.engine.batching import PairRange
from lossbench.engine.checkpoint import Checkpoint, unchanged
from lossbench.engine.finalize import Options, conclude, grouping
from lossbench.engine.fingerprints import local_state
from lossbench.engine.pipeline import Pipeline
from lossbench.engine.progress import Progress, ProgressReporter
from lossbench.engine.run_spec import RunSpec
from lossbench.engine.shards import as_shard
from lossbench.engine.state.group_accumulators import Grouping
from lossbench.engine.state.partial_result import PartialResult
from lossbench.networks.weights import digest as file_digest
from lossbench.results.doubt import Doubt
from lossbench.results.doubts.judge import Case, judge
from lossbench.results.gates import Check, decide
from lossbench.results.json_numbers import jsonable
from lossbench.results.result import Result, describe_column, digest
from lossbench.version import __version__


class Run(RunSpec):
    """A checked specification that can be executed."""

    def evaluate(
        self,
        progress: Callable[[Progress], None] | None = None,
        checkpoint: Checkpoint | None = None,
        start_method: str | None = None,
    ) -> Result:
        """Read every pair once and compute everything.

        Args:
            progress: called after each batch.
            checkpoint: keeps finished parts; those to resume from are not computed again.
            start_method: as for `lossbench.evaluate`.
        """
        started, clock = datetime.now(UTC), time.perf_counter()
        local = self.settings.engine == "local"
        options = {term: term.options for term in self.terms}
        groups = grouping(self, options)
        whole = PartialResult.empty(*self.share, groups)
        ranges = self._resume(checkpoint, whole, groups)

        def add_part(part: PartialResult) -> None:
            if checkpoint:
                checkpoint.add(part)
            whole.extend(part)

        stamped = checkpoint is not None
        left = sum(len(pairs) for _, pairs in ranges)
        reporter = ProgressReporter(self.columns, left, progress) if progress else None
        if local or not ranges:
            method = None if self.pairing.confined else start_method
            pipeline = Pipeline(self.plan, self.terms, self.settings, groups, stamped, method)
            ended = pipeline.run(ranges, add_part, reporter)
        else:
            from lossbench.engine.dask_engine import go_on_cluster

            ended = go_on_cluster(self, ranges, groups, stamped, add_part, reporter)
        if largest := self._largest_label(whole):
            again = replace(self, plan=self.plan.with_labels(largest))
            if checkpoint:
                checkpoint.begin(again.identity)
            return again.evaluate(progress, checkpoint, start_method)
        whole.failed = self.pairing.with_lines(whole.failed)
        run = self.describe()
        if ended.weights is not None:
            run["weights"] = ended.weights
        shard = self.settings.shard
        state = shard and as_shard(shard, whole, self.plan, self.pairing, self.settings.losses)
        # A cluster's driver has what workers counted and added up, and needs no GPU for the rest.
        result = self.conclude(whole, options, ended.device if local else "cpu")
        result.run, result.shard = run, state or None
        result.session = {
            "lossbench": __version__,
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - clock, 3),
            "device": ended.device,
            "workers": self.settings.readers,
            "versions": self._versions,
        }
        return result

    def conclude(self, whole: PartialResult, options: Options, device: str) -> Result:
        """The result of all parts, with its gates decided; those of a shard are the whole's."""
        if self.settings.shard is None and self.baseline and self.plan.has_open_labels:
            self.baseline.check_reading(self.plan.identity)
        result = conclude(self, whole, options, device)
        if self.settings.shard is None:
            result.doubts, result.strict = self._doubts(whole, result), self.settings.strict
            result.decisions = [
                decide(
                    each,
                    result.quantity(each),
                    partial(self._of_baseline, each),
                    result.good_end(each),
                )
                for each in self.checks
            ]
        return result

    def _doubts(self, whole: PartialResult, result: Result) -> list[Doubt]:
        """What looks like a mistake in the run."""
        most = [term.options["max_detections"] for term in self.terms
                if "max_detections" in term.options]  # fmt: skip
        case = Case(
            self.plan,
            whole.evidence,
            result,
            self.checks,
            self.baseline.shared_pairs(result) if self.baseline else None,
            has_named_classes=self.settings.classes is not None,
            max_detections=min(most, default=0),
        )
        return judge(case, self.settings.accept)

    def _of_baseline(self, check: Check) -> float:
        """The quantity of a gate in the baseline, which such a gate needs."""
        return self.baseline.value(check) if self.baseline else math.nan

    def _largest_label(self, whole: PartialResult) -> int:
        """The largest label beyond the sample, where classes go up to that of any file; else 0."""
        labels = {label for each in whole.failed for label in each.labels}
        usual = {label for label in labels if 0 <= label < MAX_CLASSES} - {IGNORED_LABEL}
        return max(usual, default=0) if self.plan.has_open_labels else 0

    def _resume(
        self, checkpoint: Checkpoint | None, whole: PartialResult, groups: Grouping | None
    ) -> list[PairRange]:
        """Add the parts of a checkpoint whose files have not changed; return the pairs left."""
        known = np.zeros(len(whole.good), bool)
        if checkpoint:
            for part in checkpoint.parts(self.terms, groups):
                rows = slice(part.start - whole.start, part.stop - whole.start)
                if not known[rows].any() and unchanged(part, self.pairing.pairs):
                    whole.extend(part)
                    checkpoint.count(part)
                    known[rows] = True
        edges = whole.start + np.flatnonzero(np.diff(known, prepend=True, append=True))
        ranges = edges.reshape(-1, 2).tolist()
        return [(start, self.pairing.pairs[start:stop]) for start, stop in ranges]

    def checkpoint(self, path: str, resume: bool = False) -> Checkpoint:
        """Open a checkpoint file for `evaluate`.

        Args:
            path: the file.
            resume: continue from the parts in the file.

        Raises:
            InputError: the file is no checkpoint, or one of other runs.
        """
        return Checkpoint(path, self.identity, resume)

    @property
    def identity(self) -> dict[str, Any]:
        """What two runs have in common whose parts can be resumed."""
        return {
            "run": jsonable(self.describe()),
            "losses": [describe_column(column) for column in self.columns],
            "pairs": [*self.share, digest(self.pairing.pairs.named())],
            "unpaired": digest(each.message for each in self.pairing.unpaired),
            "files": [
                local_state(os.fspath(each))
                for each in (self.settings.pred, self.settings.target)
                if isinstance(each, str | os.PathLike) and os.path.isfile(each)
            ],
            "groups": digest(self.pairing.groups.values()),
            "device": self.settings.likely_device,
            "weights": {name: file_digest(Path(at)) for name, at in self.settings.weights.items()},
            "versions": {"lossbench": __version__, **self._versions},
        }

    @property
    def _versions(self) -> dict[str, str]:
        """Versions of what reads and computes the run."""
        versions = {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "pillow": PIL.__version__,
        }
        if any(backend(self.plan, term) == "torch" for term in self.terms):
            from importlib.metadata import version  # slow to import: it loads the email package

            versions["torch"] = version("torch")
        return versions
