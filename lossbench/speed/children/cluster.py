"""A Dask cluster of workers of one thread each: cluster.py WORKERS

Prints its address, and lives until it is told to end.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import tempfile


def main() -> None:
    """Print {"address": address}, then wait for the signal to end."""
    import dask
    from distributed import LocalCluster

    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with (
        tempfile.TemporaryDirectory(prefix="lossbench-") as scratch,
        dask.config.set({"temporary-directory": scratch}),
        LocalCluster(
            n_workers=int(sys.argv[1]),
            threads_per_worker=1,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        print(json.dumps({"address": cluster.scheduler_address}), flush=True)
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
