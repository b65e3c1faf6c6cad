"""A run: everything decided and checked before it starts, then one pass over the pairs."""

from __future__ import annotations

import math
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lossbench.columns import USUAL, Column, Term, check_task, resolve
from lossbench.data.classes import parse_classes
from lossbench.data.pairing import Pairing, pair
from lossbench.data.plan import Plan, make_plan
from lossbench.data.reading import ENCODINGS
from lossbench.data.sample import FILTERS
from lossbench.errors import InputError, SettingError, nearest
from lossbench.expressions import parse_gate
from lossbench.gates import Check, check, decide
from lossbench.results import Failed, Result, Values, combine, from_number
from lossbench.run.pooling import SumPool, TablePool
from lossbench.run.reader import WORTH_PROCESSES, Chunk, in_order, reader
from lossbench.version import __version__

if TYPE_CHECKING:
    from lossbench.run.evaluate import Rows
    from lossbench.run.journal import Journal

Array = NDArray[np.float64]
ROLES = ("ignore", "valid", "weight")
TASKS = tuple(USUAL)
POLICIES = {"missing": ("error", "skip", "worst"), "extra": ("error", "skip")}
BATCH = 128
AHEAD_BYTES = 1 << 26  # tables that may wait while torch is being imported


@dataclass(frozen=True)
class Settings:
    """Everything a user can say about a run, with its defaults; see `lossbench.plan`."""

    inputs: Mapping[str, Any] = field(default_factory=dict)
    task: str | None = None
    classes: Any = None
    ignore: Any = None
    threshold: float = 0.5
    empty: float | str = "skip"
    pred_encoding: str | None = None
    gt_encoding: str | None = None
    pred_pattern: str | None = None
    gt_pattern: str | None = None
    missing: str = "error"
    extra: str = "error"
    resize: str | None = None
    gates: Sequence[str] = ()
    baseline: Any = None
    device: str = "auto"
    workers: int | None = None
    batch_size: int = BATCH

    def __post_init__(self) -> None:
        choices = {
            "task": TASKS,
            "pred_encoding": ENCODINGS,
            "gt_encoding": ENCODINGS,
            "resize": tuple(FILTERS),
            **POLICIES,
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise SettingError(
                    f"{name} is one of {', '.join(allowed)}, not {value!r}"
                    f"{nearest(str(value), allowed)}"
                )
        for role in self.inputs:
            if role not in ROLES:
                raise SettingError(
                    f"no loss asks for a role {role!r}{nearest(role, ROLES)};"
                    f" roles are {', '.join(ROLES)}"
                )
        if not 0 <= self.threshold <= 1:
            raise SettingError(f"threshold {self.threshold} is not a probability from 0 to 1")
        if self.batch_size < 1 or (self.workers is not None and self.workers < 1):
            raise SettingError("workers and batch_size are 1 or more")


@dataclass(frozen=True)
class Progress:
    """What a run has done, handed to a callback after each batch.

    Attributes:
        done: pairs read so far, those that failed among them.
        total: pairs to read.
        ids: the samples of this batch, sorted.
        values: of this batch, by column; a column waiting for class weights is missing.
        means: over all samples so far, by column.
    """

    done: int
    total: int
    ids: Sequence[str]
    values: Mapping[str, Sequence[float]]
    means: Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """A run that is ready to start: all of it was checked without importing torch.

    Attributes:
        plan: how bytes become numbers.
        pairing: which files belong together.
        columns: what will be computed.
        settings: what was asked for.
    """

    pred: Any
    target: Any
    settings: Settings
    pairing: Pairing
    plan: Plan
    columns: list[Column]
    checks: list[Check]
    baseline: Mapping[str, Any] | None

    @property
    def device(self) -> str:
        """Where it will be computed, as far as that is known without torch."""
        wanted = self.settings.device
        no_driver = sys.platform == "linux" and not os.path.exists("/proc/driver/nvidia")
        return "cpu" if wanted == "auto" and no_driver else wanted

    @property
    def workers(self) -> int:
        """How many pairs are read at a time."""
        return self.settings.workers or _cores()

    def evaluate(
        self, progress: Callable[[Progress], None] | None = None, journal: Journal | None = None
    ) -> Result:
        """Read every pair once and compute everything.

        Args:
            progress: called after each batch.
            journal: keeps what is finished, in case the run does not end.
        """
        started, clock = datetime.now(UTC), time.perf_counter()
        work = _Work(self)
        work.go([each for each in (progress, journal and journal.add) if each])
        result = work.result()
        result.decisions = [
            decide(each, result.quantity(each), partial(self._baseline, each))
            for each in self.checks
        ]
        result.run = self.describe()
        result.session = {
            "lossbench": __version__,
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - clock, 3),
            "device": work.device.result(),
            "workers": self.workers,
            "versions": _versions(),
        }
        return result

    def journal(self, path: str) -> Journal:
        """A file that keeps what is finished; hand it to `evaluate`."""
        from lossbench.run.journal import Journal

        return Journal(path, self.describe())

    def describe(self) -> dict[str, Any]:
        """What is read and how, as the result file holds it."""
        settings = {
            name: value
            for name, value in vars(self.settings).items()
            if name not in ("inputs", "device", "workers", "batch_size", "baseline")
        }
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
            "convention": "lossbench",
        }

    def _baseline(self, check: Check) -> float:
        """The same quantity in the baseline."""
        return baseline_value(self.baseline or {}, check)


def prepare(pred: Any, target: Any, losses: Sequence[str], settings: Settings) -> Run:
    """Check settings, pair the files and decide the plan; nothing is computed."""
    gates = [parse_gate(text) for text in settings.gates]
    defaults = {"threshold": settings.threshold, "empty": settings.empty}
    baseline = read_baseline(settings.baseline) if settings.baseline else None

    def checked(losses: Sequence[str]) -> tuple[list[Column], list[Check]]:
        columns = resolve(losses, defaults, [gate.loss for gate in gates if gate.aggregate])
        return columns, [check(gate, columns, defaults, baseline is not None) for gate in gates]

    columns, checks = checked(losses)  # what is wrong here is told before any folder is opened
    classes = parse_classes(settings.classes)
    patterns = dict.fromkeys(settings.inputs, settings.gt_pattern)
    pairing = pair(
        {"pred": pred, "target": target, **settings.inputs},
        {"pred": settings.pred_pattern, "target": settings.gt_pattern, **patterns},
        classes.names if classes else (),
    )
    if not pairing.pairs:
        first = pairing.unpaired[0]
        raise InputError(f"no pair is left to evaluate: {first.message}", kind=first.kind)
    plan = make_plan(
        pairing.pairs,
        task=settings.task,
        classes=classes,
        ignore=settings.ignore,
        pred_encoding=settings.pred_encoding,
        gt_encoding=settings.gt_encoding,
        class_files=pairing.classes,
        resize=settings.resize,
    )
    if plan.task == "multiclass" and settings.threshold != Settings.threshold:
        raise SettingError(
            "a multiclass task has no threshold: each pixel is its most likely class"
        )
    if not losses:
        columns, checks = checked(USUAL[plan.task])
    check_task(columns, plan.task, 1 if plan.task == "binary" else len(plan.names))
    for each in checks:
        _check_class(each, plan)
        if each.needs_baseline:
            baseline_value(baseline or {}, each)
    return Run(pred, target, settings, pairing, plan, columns, checks, baseline)


def read_baseline(path: Any) -> Mapping[str, Any]:
    """An earlier result, to compare with."""
    import json

    if isinstance(path, Result):
        return path.as_json()
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError) as error:
        raise InputError(f"the baseline {path} cannot be read: {error}") from None
    if not isinstance(found, dict) or "aggregate" not in found:
        raise InputError(f"the baseline {path} is not a result of lossbench", kind="mismatch")
    return found


def baseline_value(baseline: Mapping[str, Any], check: Check) -> float:
    """The quantity of a gate in an earlier result; it must be there."""
    if check.column is None:
        found = baseline["run"]["pairs"].get(check.gate.loss.name)
    else:
        table = baseline["aggregate"].get(check.column.name, {})
        if check.gate.of_class:
            table = table.get("classes", {}).get(check.gate.of_class, {})
        if check.gate.aggregate not in table:
            raise SettingError(
                f"the baseline has no {check.gate.text.partition(check.gate.compare)[0].strip()};"
                f" it has {', '.join(baseline['aggregate'])}"
            )
        found = table[check.gate.aggregate]
    return from_number(found)


class _Work:
    """One pass over the pairs: each batch's rows are put in their place."""

    def __init__(self, run: Run) -> None:
        self.run, self.plan, self.pairs = run, run.plan, run.pairing.pairs
        self.terms = list(dict.fromkeys(term for column in run.columns for term in column.terms))
        self.options = {term: term.options for term in self.terms}
        self.good = np.zeros(len(self.pairs), bool)
        self.values = {term: np.full(len(self.pairs), math.nan) for term in self.terms}
        self.classes: dict[Term, Array] = {}
        self.failed: list[Failed] = []
        self.unfinished: list[Rows] = []  # waiting for class weights
        self.pool: TablePool | SumPool = TablePool() if self.plan.counted else SumPool()
        self.device: Future[str] = Future()
        self.running: dict[str, tuple[float, int]] = {}  # sum and count so far, by column

    def go(self, watchers: Sequence[Callable[[Progress], None]]) -> None:
        """Read while torch is being imported, then evaluate what has been read."""
        on_files = isinstance(self.pairs[0].sources["pred"][0], str)
        processes = self.plan.counted and on_files and len(self.pairs) >= WORTH_PROCESSES
        size, ahead = self._batches()
        starts = range(0, len(self.pairs), size)
        with reader(self.plan, processes) as read:

            def task(start: int) -> tuple[Chunk, Rows | None]:
                chunk = read(self.pairs[start : start + size])
                return chunk, None if self.plan.counted else self._evaluated(chunk)

            chunks = in_order(task, starts, self.run.workers, ahead)
            try:
                first = next(chunks)  # reading has begun
                from lossbench.run.evaluate import one_thread, pick_device  # seconds, for torch

                with one_thread():
                    self.device.set_result(pick_device(self.run.settings.device))
                    for start, future in zip(starts, chain([first], chunks), strict=True):
                        chunk, rows = future.result()
                        self._take(start, chunk, rows or self._evaluated(chunk))
                        if watchers:
                            step = self._progress(start, min(start + size, len(self.pairs)))
                            for watcher in watchers:
                                watcher(step)
            finally:
                self.device.cancel()  # where it was never found, threads wait for it
                chunks.close()

    def result(self) -> Result:
        """Columns from terms, in the order of the ids."""
        from lossbench.run.evaluate import finish_weighted, pooled

        for term in self.terms:
            if term.automatic and self.unfinished:
                values, classes, weights = finish_weighted(
                    term, self.unfinished, self.plan.task, self.device.result()
                )
                self.options[term] = {**self.options[term], "class_weights": weights}
                self.values[term][self.good] = values
                if classes is not None:
                    self._class_rows(term, classes.shape[1])[self.good] = classes
        whole = pooled(self.plan, self.options, self.device.result(), self.pool)
        nothing = (math.nan, [math.nan] * len(self.plan.names))
        terms = {
            term: (
                self.values[term][self.good],
                self.classes[term][self.good] if term in self.classes else None,
                whole.get(term, nothing)[0],
                whole.get(term, nothing)[1] if term in self.classes else None,
            )
            for term in self.terms
        }
        columns = {column.name: combine(column, terms) for column in self.run.columns}
        ids = [pair.id for pair, good in zip(self.pairs, self.good, strict=True) if good]
        failed, worst = self._unpaired()
        if worst:
            ids = self._add_worst(ids, columns, worst)
        pairing = self.run.pairing
        counts = {
            "found": len(self.pairs),
            "evaluated": len(ids),
            "missing": pairing.count("missing"),
            "extra": pairing.count("extra"),
            "errors": len(failed),
        }
        with_classes = self.plan.task in ("multiclass", "multilabel")
        return Result(
            ids,
            self.run.columns,
            columns,
            self.plan.names if with_classes else (),
            counts,
            failed,
            pooled=self._pooled_state(),
        )

    def _batches(self) -> tuple[int, int]:
        """How many pairs go together, and how many such batches may be under way."""
        workers = self.run.workers
        if not self.plan.counted:
            return 1, 2 * workers
        fair = -(-len(self.pairs) // (4 * workers))
        size = max(1, min(self.run.settings.batch_size, fair))
        cells = self.plan.target.classes * self.plan.pred.levels or 3 * 511
        several = len(self.plan.names) if self.plan.task == "multilabel" else 1
        return size, max(2 * workers, AHEAD_BYTES // (4 * size * cells * several))

    def _evaluated(self, chunk: Chunk) -> Rows:
        device = self.device.result()
        from lossbench.run.evaluate import evaluate_chunk

        return evaluate_chunk(self.plan, self.terms, device, chunk)

    def _take(self, start: int, chunk: Chunk, rows: Rows) -> None:
        places = np.array(chunk.places, np.int64) + start
        for place, failure in chunk.failures:
            pair = self.pairs[start + place]
            self.failed.append(
                Failed(pair.id, failure.role, failure.file, failure.kind, failure.message)
            )
        if not len(places):
            return
        self.good[places] = True
        for term, values in rows.values.items():
            self.values[term][places] = values
        for term, classes in rows.classes.items():
            self._class_rows(term, classes.shape[1])[places] = classes
        if rows.unfinished:
            self.unfinished.append(rows)
        if isinstance(self.pool, SumPool):
            self.pool.add(rows.states)
        elif chunk.tables is not None:
            self.pool.add(chunk.tables, chunk.pixels)

    def _class_rows(self, term: Term, classes: int) -> Array:
        if term not in self.classes:
            self.classes[term] = np.full((len(self.pairs), classes), math.nan)
        return self.classes[term]

    def _progress(self, start: int, end: int) -> Progress:
        good = np.flatnonzero(self.good[start:end]) + start
        terms = {term: (values[good], None, math.nan, None) for term, values in self.values.items()}
        values = {
            column.name: combine(column, terms).samples
            for column in self.run.columns
            if not any(term.automatic for term in column.terms)
        }
        for name, numbers in values.items():
            defined = [number for number in numbers if not math.isnan(number)]
            total, count = self.running.get(name, (0.0, 0))
            self.running[name] = total + sum(defined), count + len(defined)
        means = {name: total / count for name, (total, count) in self.running.items() if count}
        ids = [self.pairs[place].id for place in good]
        return Progress(end, len(self.pairs), ids, values, means)

    def _unpaired(self) -> tuple[list[Failed], list[str]]:
        """All that failed, sorted by id, and the ids that count as the worst possible value."""
        settings, failed, worst = self.run.settings, list(self.failed), []
        for each in self.run.pairing.unpaired:
            policy = {"missing": settings.missing, "extra": settings.extra}.get(each.kind, "error")
            if policy == "worst" and each.role == "pred":
                worst.append(each.id)
            elif policy != "skip":
                failed.append(Failed(each.id, each.role, each.file, each.kind, each.message))
        return sorted(failed, key=lambda each: each.id), worst

    def _add_worst(
        self, ids: list[str], columns: Mapping[str, Values], worst: Sequence[str]
    ) -> list[str]:
        """Missing predictions as rows at the bad end of the range, their classes undefined."""
        every = [*ids, *worst]
        order = sorted(range(len(every)), key=every.__getitem__)
        for column in self.run.columns:
            values = columns[column.name]
            samples = [*values.samples, *[column.worst] * len(worst)]
            values.samples = [samples[place] for place in order]
            values.classes = [
                [[*row, *[math.nan] * len(worst)][place] for place in order]
                for row in values.classes
            ]
        return [every[place] for place in order]

    def _pooled_state(self) -> dict[str, Any]:
        """What adds up over shards: tables of counts, or exact sums."""
        if isinstance(self.pool, SumPool):
            return {"sums": self.pool.as_json()}
        return {"pixels": self.pool.pixels, "tables": self.pool.as_json(self.plan)}


def _check_class(check: Check, plan: Plan) -> None:
    """A gate's class must be one of the run's, in a column that has classes."""
    of_class = check.gate.of_class
    if not of_class or not check.column:
        return
    name = check.column.name
    if plan.task not in ("multiclass", "multilabel"):
        raise SettingError(
            f"a {plan.task} task has no class columns; gate {name} without [{of_class}]"
        )
    if of_class not in plan.names:
        raise SettingError(
            f"no class is called {of_class!r}{nearest(of_class, plan.names)};"
            f" there are {', '.join(plan.names)}"
        )
    if any(term.entry.returns == "PerSample" for term in check.column.terms):
        raise SettingError(f"{name} has no class columns")


def _cores() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _named(given: Any) -> str | None:
    """A folder as it was given; None for arrays in memory."""
    return os.fspath(given) if isinstance(given, str | os.PathLike) else None


def _versions() -> dict[str, str]:
    import PIL
    import torch

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
    }
