"""Commands as processes of their own: how long they take, and the most memory that they held."""

from __future__ import annotations

import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from lossbench.errors import InputError, LossbenchError, SettingError

CHILDREN = Path(__file__).parent / "children"
COMMAND = (sys.executable, "-P", "-m", "lossbench_cli")  # as a shell starts it
# By the exit status of our own command.
ERRORS: dict[int, type[LossbenchError]] = {2: SettingError, 3: InputError}
Measured = TypeVar("Measured")


@dataclass(frozen=True)
class FinishedProcess:
    """A process that ended well.

    Attributes:
        seconds: from before its start to after its end.
        peak: largest resident memory of it, or of a child that it waited for, in MB; None where
            this process is larger itself, which Linux then counts, or the system does not tell.
        output: what it printed.
        cpu: seconds that it, and children that it waited for, computed; None likewise.
    """

    seconds: float
    peak: float | None
    output: str
    cpu: float | None = None

    @property
    def figures(self) -> dict[str, Any]:
        """The JSON of its last line."""
        found: dict[str, Any] = json.loads(self.output.splitlines()[-1])
        return found


def python(*arguments: str) -> FinishedProcess:
    """A Python process."""
    return run([sys.executable, "-P", *arguments])


def child(name: str, *arguments: object) -> FinishedProcess:
    """One of the programs in `children`."""
    return run(child_command(name, *arguments))


def child_command(name: str, *arguments: object) -> list[str]:
    """How one of the programs in `children` is started."""
    return [sys.executable, "-P", str(CHILDREN / f"{name}.py"), *map(str, arguments)]


def run(command: Sequence[str]) -> FinishedProcess:
    """Run a command to its end.

    Raises:
        LossbenchError: it failed.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        with started(command, output, errors) as process:
            status, peak, cpu = _waited(process)
        seconds = time.perf_counter() - start
        if status:
            raise failure(command, status, errors)
        output.seek(0)
        return FinishedProcess(seconds, peak, output.read().decode("utf-8", "replace"), cpu)


def lines(command: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What a command prints as lines of JSON, while it runs.

    Raises:
        LossbenchError: it failed.
    """
    with tempfile.TemporaryFile() as errors:
        with started(command, subprocess.PIPE, errors) as process:
            if process.stdout is not None:
                with process.stdout as output:
                    for line in output:
                        yield json.loads(line)
            status = process.wait()
        if status:
            raise failure(command, status, errors)


@contextmanager
def started(
    command: Sequence[str], output: int | IO[bytes], errors: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process without settings of the user's, which does not outlive the block."""
    own = {name: x for name, x in os.environ.items() if not name.startswith("LOSSBENCH_")}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=own
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()


def _waited(process: subprocess.Popen[bytes]) -> tuple[int, float | None, float | None]:
    """The exit status, the peak memory, and the time of processors."""
    if not hasattr(os, "wait4"):
        return process.wait(), None, None
    import resource

    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    peak = usage.ru_maxrss * unit / 1e6 if usage.ru_maxrss > own else None
    return process.returncode, peak, usage.ru_utime + usage.ru_stime


def failure(command: Sequence[str], status: int, errors: IO[bytes]) -> LossbenchError:
    """What a process complained of, where it is our own command, else how it ended."""
    errors.seek(0)
    told = errors.read().decode("utf-8", "replace").strip().splitlines() or [""]
    if told[-1].startswith("error: "):
        return ERRORS.get(status, LossbenchError)(told[-1].removeprefix("error: "))
    return LossbenchError(
        f"a measured process ended with status {status}: {told[-1]}\n{shlex.join(command)}"
    )


def alternate(
    repeat: int, tasks: Mapping[str, Callable[[], Measured]]
) -> list[dict[str, Measured]]:
    """Rounds in which everything is measured once: a slow minute slows all of it.

    Every other round goes backwards: how fast a processor is depends on what it did before.
    """
    there, back = list(tasks.items()), list(tasks.items())[::-1]
    orders = (back if number % 2 else there for number in range(repeat))
    return [{name: measure() for name, measure in order} for order in orders]


def median(
    rounds: Sequence[Mapping[str, Measured]], number: Callable[[Mapping[str, Measured]], float]
) -> float:
    """The median over the rounds of a number of each."""
    return statistics.median(number(each) for each in rounds)


def seconds(name: str) -> Callable[[Mapping[str, FinishedProcess]], float]:
    """How long a process of a round took."""
    return lambda each: each[name].seconds


def next_to(name: str, limit: str) -> Callable[[Mapping[str, FinishedProcess]], float]:
    """How many times as long as another process of the same round it took."""
    return lambda each: each[name].seconds / each[limit].seconds
