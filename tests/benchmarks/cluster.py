"""Cost of a further pair on a Dask cluster, for workers and driver: cluster.py [PAIRS [SIZE]]

A run over PAIRS and one over four times as many, after one in which the workers import torch; the
differences are the costs of the further pairs. The driver is measured with ten times as many pairs
of 64×64.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

from distributed import LocalCluster

from lossbench.speed.sections import LOSSES, Setup, manifest

WORKERS = 2
TIMES = 4
COUNT = 5  # losses


def further(setup: Setup, pairs: int, size: int, address: str) -> tuple[float, float, float]:
    """Seconds, seconds of the driver's processor, and bytes of the driver for each further pair."""
    images = setup.images("binary", min(pairs, 50), size)
    rows = []
    for number in (64, pairs, TIMES * pairs):
        before = os.times()
        table = manifest(images, number)
        done = setup.evaluate(LOSSES[:COUNT], "--manifest", table, "--engine", address)
        after = os.times()
        cpu = sum(after[2:4]) - sum(before[2:4])  # of children that ended: the driver
        rows.append((done.seconds, cpu, 1e6 * (done.peak or 0)))
    more = (TIMES - 1) * pairs
    seconds, cpu, peak = ((b - a) / more for a, b in zip(*rows[1:], strict=True))
    return seconds, cpu, peak


def main() -> None:
    """Print the costs."""
    pairs, size = map(int, (*sys.argv[1:], *("1000", "512")[len(sys.argv) - 1 :]))
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=WORKERS,
            threads_per_worker=1,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        setup = Setup(Path(folder), pairs, size, 1, "cpu", print)
        seconds, _, _ = further(setup, pairs, size, cluster.scheduler_address)
        _, cpu, peak = further(setup, 10 * pairs, 64, cluster.scheduler_address)
    print(f"a worker: {1e3 * WORKERS * seconds:.2f} ms a pair of {size}×{size}, {COUNT} losses")
    print(f"the driver: {1e3 * cpu:.3f} ms and {peak:,.0f} bytes a pair")


if __name__ == "__main__":
    main()
