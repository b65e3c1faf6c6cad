"""The same run on a Dask cluster: workers evaluate ranges of pairs and send back what they found.

The driver holds columns and sums, never an image. A range whose worker dies is evaluated again by
another one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from lossbench.catalog.columns import Term
from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.archives import Member
from lossbench.engine.batching import PairRange
from lossbench.engine.finalize import grouped
from lossbench.engine.fingerprints import stamp
from lossbench.engine.pipeline import AddPart, PassInfo, Pipeline
from lossbench.engine.progress import ProgressReporter
from lossbench.engine.run_spec import RunSpec
from lossbench.engine.settings import Settings
from lossbench.engine.state.group_accumulators import Grouping
from lossbench.engine.state.partial_result import PartialResult
from lossbench.errors import InputError, LossbenchError, SettingError
from lossbench.runtime.pillow_limit import lift_pixel_limit

LOCAL, DASK = "local", "dask"
PER_THREAD = 8  # ranges for each thread, so that none waits long for the last one
MOST, AHEAD = 512, 3  # pairs of a range; ranges that wait for each thread
ATTEMPTS = 5  # workers that may die over one range
PATIENCE = "30s"  # for a scheduler that does not answer


@dataclass(frozen=True)
class WorkerJob:
    """What a worker has to know."""

    plan: Plan
    terms: Sequence[Term]
    settings: Settings
    stamped: bool
    any_size: bool  # the driver has lifted Pillow's limit on the size of pictures


@dataclass(frozen=True)
class WorkerAnswer:
    """What a worker sends back: a part, packed, or why there is none."""

    part: bytes = b""
    device: str = ""
    weights: Mapping[str, str] | None = None
    failure: LossbenchError | None = None


def evaluate_range(
    job: WorkerJob,
    first: int,
    pairs: Sequence[Pair],
    of: Mapping[str, str],
    sizes: Mapping[str, int],
) -> WorkerAnswer:
    """Pairs of a run, on a worker.

    Args:
        job: how they are evaluated.
        first: the place of the first pair in the run.
        pairs: a range of them.
        of: their groups, by id.
        sizes: of these groups, in the whole run.
    """
    if job.any_size:
        lift_pixel_limit()
    options = {term: term.options for term in job.terms}
    groups = grouped(job.plan, of, sizes, options, lambda: work.device.result())
    work = Pipeline(job.plan, job.terms, job.settings, groups)
    whole = PartialResult.empty(first, first + len(pairs), groups)
    files = sha256(stamp(pairs)).hexdigest() if job.stamped else ""
    try:
        ended = work.run([(first, pairs)], whole.extend)
    except LossbenchError as failure:
        return WorkerAnswer(failure=failure)
    whole.files = files
    return WorkerAnswer(whole.pack(), ended.device, ended.weights)


def go_on_cluster(
    run: RunSpec,
    ranges: Sequence[PairRange],
    groups: Grouping | None,
    add_part: AddPart,
    reporter: ProgressReporter | None,
    *,
    stamped: bool,
) -> PassInfo:
    """Evaluate ranges of pairs on a cluster.

    Raises:
        SettingError: there is no such cluster, or it cannot read the files.
        InputError: a range of pairs ends every worker that evaluates it.
    """
    _check(run)
    settings = replace(
        run.settings, pred=None, target=None, inputs={}, workers=1, baseline=None, gates=()
    )
    terms, any_size = list(dict.fromkeys(run.terms)), Image.MAX_IMAGE_PIXELS is None
    job = WorkerJob(run.plan, terms, settings, stamped, any_size)
    devices, weights = set[str](), None
    with _quiet_logs(), _client(run.settings) as client:
        from distributed import as_completed

        threads = max(1, sum(client.nthreads().values()))
        tasks = iter(_tasks(ranges, threads))

        def submit(count: int) -> list[Any]:
            return [
                client.submit(
                    evaluate_range, job, first, pairs, *_shares(groups, pairs),
                    pure=False, retries=ATTEMPTS, key=f"lossbench {first}-{os.urandom(4).hex()}",
                )
                for first, pairs in islice(tasks, count)
            ]  # fmt: skip

        waiting = as_completed(submit(AHEAD * threads))
        for future in waiting:
            answer = _answer(future)
            if answer.failure:
                raise answer.failure
            part = PartialResult.unpack(answer.part, job.terms, groups)
            add_part(part)
            if reporter:
                reporter.report(part, part.start, run.pairing.pairs[part.start : part.stop])
            devices.add(answer.device)
            weights = answer.weights
            future.release()
            waiting.update(submit(1))
    return PassInfo(", ".join(sorted(devices)) or "cpu", weights)


def _answer(future: Any) -> WorkerAnswer:
    from distributed.scheduler import KilledWorker

    try:
        answer: WorkerAnswer = future.result()
    except KilledWorker:
        place = future.key.split()[1].partition("-")[0]
        raise InputError(
            f"the pairs from number {int(place) + 1:,} on end every worker that evaluates them; run"
            " without --engine to see which"
        ) from None
    return answer


def _tasks(ranges: Sequence[PairRange], threads: int) -> Iterator[PairRange]:
    """Ranges that are small enough to be spread over all threads."""
    count = sum(len(pairs) for _, pairs in ranges)
    size = max(1, min(MOST, -(-count // (PER_THREAD * threads))))
    for first, pairs in ranges:
        for start in range(0, len(pairs), size):
            yield first + start, pairs[start : start + size]


def _shares(
    groups: Grouping | None, pairs: Sequence[Pair]
) -> tuple[Mapping[str, str], Mapping[str, int]]:
    """What a worker has to know of the groups."""
    if groups is None:
        return {}, {}
    of = {pair.id: groups.of[pair.id] for pair in pairs}
    return of, {group: groups.sizes[group] for group in of.values()}


def _check(run: RunSpec) -> None:
    """Files that a worker cannot read are told of at once."""
    if run.pairing.confined and any(_in_memory(pair) for pair in run.pairing.pairs[:1]):
        raise SettingError("files at memory:// are read by this process alone; leave out --engine")
    if run.settings.engine != DASK:
        for pair in run.pairing.pairs[:1]:
            for source, *_ in pair.sources.values():
                if isinstance(source, Member) and source.archive.spool:
                    raise SettingError(
                        f"{source.archive.name} is unpacked on this machine, where other machines"
                        " cannot read it; give workers a folder, a .zip or a .tar that they share"
                    )


def _in_memory(pair: Pair) -> bool:
    return any(str(getattr(each, "url", "")).startswith("memory:")
               for sources in pair.sources.values() for each in sources)  # fmt: skip


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """Keep Dask from logging workers that end, which are no errors of a run."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _client(settings: Settings) -> Iterator[Any]:
    """A client of a running cluster, or of one that lives as long as the run."""
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        raise SettingError(
            "--engine needs Dask, which is not installed: pip install 'lossbench[dask]'"
        ) from None
    if settings.engine != DASK:
        try:
            client = Client(settings.engine, timeout=PATIENCE)
        except (OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise SettingError(
                f"there is no Dask scheduler at {settings.engine}: {reason}"
            ) from None
        with client:
            yield client
        return
    with (
        TemporaryDirectory(prefix="lossbench-") as scratch,
        dask.config.set({"temporary-directory": scratch}),
        LocalCluster(
            n_workers=settings.readers,
            threads_per_worker=1,
            dashboard_address=":0",  # any port that is free
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
