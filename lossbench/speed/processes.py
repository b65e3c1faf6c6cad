"""Child processes: how long each takes, and the most memory that it holds."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lossbench.errors import InputError, LossbenchError, SettingError

CHILDREN = Path(__file__).parent / "children"
COMMAND = (sys.executable, "-P", "-m", "lossbench_cli")  # as a shell starts it
ERRORS: dict[int, type[LossbenchError]] = {2: SettingError, 3: InputError}  # by exit status


@dataclass(frozen=True)
class FinishedProcess:
    """A process that ended with exit status 0.

    `peak` is None where the system does not report it, and where this process is larger: Linux
    then reports this process instead of the child.
    """

    seconds: float  # from before its start to after its end
    peak: float | None  # largest resident memory in MB, of it or of a child that it waited for
    output: str  # its standard output

    @property
    def figures(self) -> list[dict[str, Any]]:
        """Its standard output, read as one JSON object a line."""
        return [json.loads(line) for line in self.output.splitlines()]


def child(name: str, *arguments: object) -> FinishedProcess:
    """Run one of the programs in `children`."""
    return run([sys.executable, "-P", str(CHILDREN / f"{name}.py"), *map(str, arguments)])


def run(command: Sequence[str]) -> FinishedProcess:
    """Run a command to its end, without the user's LOSSBENCH_ variables; a failure is an error."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LOSSBENCH_")}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment
        )
        try:
            status, peak = _wait(process)
        finally:
            if process.returncode is None:  # an interrupt
                process.kill()
                process.wait()
        seconds = time.perf_counter() - start
        if status:
            raise _failure(command, status, errors)
        output.seek(0)
        return FinishedProcess(seconds, peak, output.read().decode("utf-8", "replace"))


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, float | None]:
    """The exit status, and the peak memory in MB."""
    if not hasattr(os, "wait4"):
        return process.wait(), None
    import resource

    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    return process.returncode, usage.ru_maxrss * unit / 1e6 if usage.ru_maxrss > own else None


def _failure(command: Sequence[str], status: int, errors: IO[bytes]) -> LossbenchError:
    """The error that a lossbench command printed, else the last line of any other command."""
    errors.seek(0)
    last = (errors.read().decode("utf-8", "replace").strip().splitlines() or [""])[-1]
    if last.startswith("error: "):
        return ERRORS.get(status, LossbenchError)(last.removeprefix("error: "))
    return LossbenchError(
        f"a measured process ended with status {status}: {last}\n{shlex.join(command)}"
    )


Round = Mapping[str, FinishedProcess]


def alternate(repeat: int, tasks: Mapping[str, Callable[[], FinishedProcess]]) -> list[Round]:
    """Rounds that run each task once, so that a slow minute slows all of them.

    Every other round is reversed, because the speed of a processor depends on what ran before.
    """
    rounds: list[Round] = []
    for number in range(repeat):
        order = list(tasks)[:: -1 if number % 2 else 1]
        rounds.append({name: tasks[name]() for name in order})
    return rounds
