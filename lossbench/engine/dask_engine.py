"""The same run on a Dask cluster: workers evaluate ranges of pairs and send back partial results.

The driver holds columns and sums, never an image. A range whose worker dies is evaluated again by
another one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain, islice
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from lossbench.catalog.columns import Term
from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.archives import Member
from lossbench.engine.batching import PairRange, split_ranges
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

DASK = "dask"
MAX_PAIRS, AHEAD = 512, 3  # pairs of a range; ranges that wait for each thread
ATTEMPTS = 5  # workers that may die over one range
PATIENCE = "30s"  # for a scheduler that does not answer


@dataclass(frozen=True)
class WorkerJob:
    """The part of a run that every worker needs."""

    plan: Plan
    terms: Sequence[Term]
    settings: Settings
    stamped: bool
    any_size: bool  # the driver has lifted Pillow's limit on the size of pictures


def evaluate_range(
    job: WorkerJob,
    first: int,
    pairs: Sequence[Pair],
    of: Mapping[str, str],
    sizes: Mapping[str, int],
) -> tuple[bytes, PassInfo] | LossbenchError:
    """Evaluate a range of pairs on a worker; a returned error ends the run without a retry.

    Groups of these pairs come by id, with their sizes in the whole run.
    """
    if job.any_size:
        lift_pixel_limit()
    options = {term: term.options for term in job.terms}
    groups = grouped(job.plan, of, sizes, options)
    pipeline = Pipeline(job.plan, job.terms, job.settings, groups)
    whole = PartialResult.empty(first, first + len(pairs), groups)
    whole.files = sha256(stamp(pairs)).hexdigest() if job.stamped else ""
    try:
        ended = pipeline.run([(first, pairs)], whole.extend)
    except LossbenchError as error:
        return error
    return whole.pack(), ended


def go_on_cluster(
    run: RunSpec,
    ranges: Sequence[PairRange],
    groups: Grouping | None,
    stamped: bool,
    add_part: AddPart,
    reporter: ProgressReporter | None,
) -> PassInfo:
    """Evaluate ranges of pairs on a cluster.

    Raises:
        SettingError: there is no such cluster, or it cannot read the files.
        InputError: a range of pairs ends every worker that evaluates it.
    """
    _check_sources(run)
    settings = replace(
        run.settings, pred=None, target=None, inputs={}, workers=1, baseline=None, gates=()
    )
    job = WorkerJob(run.plan, run.terms, settings, stamped, Image.MAX_IMAGE_PIXELS is None)
    devices, weights = set[str](), None
    with _client(run.settings) as client:
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        threads = max(1, sum(client.nthreads().values()))
        tasks = split_ranges(ranges, MAX_PAIRS, threads)

        def submit(count: int) -> list[Any]:
            return [
                client.submit(
                    evaluate_range, job, first, pairs, *_groups_of(pairs, groups),
                    pure=False, retries=ATTEMPTS, key=f"lossbench {first}-{os.urandom(4).hex()}",
                )
                for first, pairs in islice(tasks, count)
            ]  # fmt: skip

        waiting = as_completed(submit(AHEAD * threads))
        for future in waiting:
            try:
                answer = future.result()
            except KilledWorker:
                first = int(future.key.split()[1].partition("-")[0])
                raise InputError(
                    f"the pairs from number {first + 1:,} on end every worker that evaluates them;"
                    " run without --engine to see which"
                ) from None
            if isinstance(answer, LossbenchError):
                raise answer
            packed, ended = answer
            part = PartialResult.unpack(packed, job.terms, groups)
            add_part(part)
            if reporter:
                reporter.report(part, part.start, run.pairing.pairs[part.start : part.stop])
            devices.add(ended.device)
            weights = ended.weights
            future.release()
            waiting.update(submit(1))
    return PassInfo(", ".join(sorted(devices)), weights)


def _groups_of(
    pairs: Sequence[Pair], groups: Grouping | None
) -> tuple[Mapping[str, str], Mapping[str, int]]:
    """The group of each pair by id, and the sizes of these groups."""
    of = {pair.id: groups.of[pair.id] for pair in pairs} if groups else {}
    return of, {group: groups.sizes[group] for group in of.values()} if groups else {}


def _check_sources(run: RunSpec) -> None:
    """Refuse files that a worker cannot read."""
    for source in chain.from_iterable(run.pairing.pairs[0].sources.values()):
        if str(getattr(source, "url", "")).startswith("memory:"):
            raise SettingError(
                "files at memory:// are read by this process alone; leave out --engine"
            )
        if run.settings.engine != DASK and isinstance(source, Member) and source.archive.spool:
            raise SettingError(
                f"{source.archive.name} is unpacked on this machine, where other machines"
                " cannot read it; give workers a folder, a .zip or a .tar that they share"
            )


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
    with ExitStack() as stack:
        logger = logging.getLogger("distributed")
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL)  # workers that end are no errors of a run
        cluster: Any = settings.engine
        if cluster == DASK:
            scratch = stack.enter_context(TemporaryDirectory(prefix="lossbench-"))
            stack.enter_context(dask.config.set({"temporary-directory": scratch}))
            cluster = LocalCluster(
                n_workers=settings.readers,
                threads_per_worker=1,
                dashboard_address=":0",  # any port that is free
                silence_logs=logging.CRITICAL,
            )
            stack.enter_context(cluster)
        try:
            client = Client(cluster, timeout=PATIENCE)
        except (OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise SettingError(
                f"there is no Dask scheduler at {settings.engine}: {reason}"
            ) from None
        yield stack.enter_context(client)
