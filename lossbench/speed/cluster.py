"""Runs on a Dask cluster, and what very many pairs would cost on a larger one."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lossbench.speed.memory import DISTINCT, manifest
from lossbench.speed.pipelines import FIVE
from lossbench.speed.processes import FinishedProcess, child_command, failure, started
from lossbench.speed.report import Table, TableColumn
from lossbench.speed.setup import Setup, given

WORKERS = (1, 2)
TIMES = 4  # how many times as many pairs tell what a further pair costs
WARMING = 64  # pairs, in which workers import torch
SMALL, MORE = 64, 10  # pictures, and times as many pairs, that tell what the driver does
MANY, FLEET = 100_000_000, 100  # pairs, workers


def projected(setup: Setup) -> Table:
    """What a further pair costs workers and driver, on a cluster of processes of its own."""
    rows = []
    for workers in WORKERS:
        with cluster(workers) as address:
            few, many = runs(setup, address, setup.size, setup.pairs)
            row = worker_costs(workers, few, many, (TIMES - 1) * setup.pairs)
            if workers == WORKERS[-1]:
                few, many = runs(setup, address, SMALL, MORE * setup.pairs)
                row |= driver_costs(few, many, (TIMES - 1) * MORE * setup.pairs)
        rows.append(row)
    columns = (
        TableColumn("workers", "workers", "d"),
        TableColumn("pairs_per_second", "pairs/s", ",.0f"),
        TableColumn("worker_ms", "a worker, ms a pair", ".2f"),
        TableColumn("driver_ms", "the driver, ms a pair", ".3f"),
        TableColumn("driver_bytes", "bytes a pair", ",.0f"),
        TableColumn("fleet_hours", f"{FLEET} workers, h", ".1f"),
        TableColumn("driver_hours", "the driver, h", ".1f"),
        TableColumn("driver_gb", "its memory, GB", ".0f"),
    )
    title = (
        f"a further pair of {setup.size}×{setup.size}, {len(FIVE)} losses, workers of one thread;"
        f" on the right {MANY:,} of them"
    )
    return Table("cluster", title, columns, rows)


def runs(
    setup: Setup, address: str, size: int, pairs: int
) -> tuple[FinishedProcess, FinishedProcess]:
    """Runs of some pairs and of several times as many, after one in which workers get ready."""
    made = setup.pictures("binary", min(pairs, DISTINCT), size)
    setup.note(f"runs of {pairs:,} and {TIMES * pairs:,} pairs of {size}×{size}")
    how = ("--engine", address, *given(FIVE))
    tables = [manifest(made, count) for count in (WARMING, pairs, TIMES * pairs)]
    _, few, many = (setup.evaluated("--manifest", table, *how) for table in tables)
    return few, many


def worker_costs(
    workers: int, few: FinishedProcess, many: FinishedProcess, further: int
) -> dict[str, Any]:
    """What so many further pairs cost the workers, where that is more than nothing."""
    pair = (many.seconds - few.seconds) / further
    if pair <= 0:
        return {"workers": workers}
    return {
        "workers": workers,
        "pairs_per_second": 1 / pair,
        "worker_ms": 1e3 * pair * workers,
        "fleet_hours": MANY * pair * workers / FLEET / 3600,
    }


def driver_costs(few: FinishedProcess, many: FinishedProcess, further: int) -> dict[str, Any]:
    """What so many further pairs cost the driver, as far as the system tells."""
    found: dict[str, Any] = {}
    cpu, held = _more(many.cpu, few.cpu) / further, 1e6 * _more(many.peak, few.peak) / further
    if cpu > 0:
        found |= {"driver_ms": 1e3 * cpu, "driver_hours": MANY * cpu / 3600}
    if held > 0:
        found |= {"driver_bytes": held, "driver_gb": MANY * held / 1e9}
    return found


def _more(many: float | None, few: float | None) -> float:
    """How much more; nothing where one is not known."""
    return 0.0 if many is None or few is None else many - few


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """The address of a cluster that lives as long as the block.

    Raises:
        LossbenchError: it could not be started.
    """
    command = child_command("cluster", workers)
    with tempfile.TemporaryFile() as errors, started(command, subprocess.PIPE, errors) as process:
        told = process.stdout.readline() if process.stdout else b""
        if not told:
            raise failure(command, process.wait(), errors)
        try:
            yield json.loads(told)["address"]
        finally:
            process.terminate()
            process.wait()
