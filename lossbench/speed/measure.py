"""A run through some sections of `lossbench speed`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from lossbench.errors import SettingError, did_you_mean
from lossbench.runtime.cpu import cores
from lossbench.speed.jobs import jobs
from lossbench.speed.report import SpeedReport, SpeedTable, describe_machine
from lossbench.speed.sections import Setup, decoding, deep_losses, losses, memory, pipeline

SMALLEST = 16
SECTIONS: dict[str, tuple[str, Callable[[Setup], SpeedTable]]] = {
    "decode": ("bare decoding by format and threads", decoding),
    "pipeline": ("runs over masks, next to importing torch and decoding", pipeline),
    "jobs": ("what people evaluate, in processes from start to end", jobs),
    "memory": ("memory by the size and the number of pairs", memory),
    "losses": ("each loss, forward, backward and on tables", losses),
    "deep": ("each loss of deep features, forward and backward", deep_losses),
}
BUSY = 0.5  # load of each core above which timings are too long
WITHOUT_PAIRS = {"losses", "deep"}


def measure(
    sections: Sequence[str],
    pairs: int | None,
    size: int | None,
    repeat: int,
    folder: str | os.PathLike[str] | None,
    device: str,
    note: Callable[[str], None],
) -> Generator[SpeedReport, None, None]:
    """Check the arguments, then measure section after section; see `lossbench.measure_speed`."""
    names = list(dict.fromkeys(sections or SECTIONS))
    for name in names:
        if name not in SECTIONS:
            known = ", ".join(SECTIONS)
            raise SettingError(
                f"no section is called {name!r}{did_you_mean(name, SECTIONS)}; there are {known}"
            )
    for option, number, least in (
        ("pairs", pairs, 1), ("size", size, SMALLEST), ("repeat", repeat, 1)
    ):  # fmt: skip
        if number is not None and number < least:
            raise SettingError(f"{option} is a number from {least}, not {number}")
    if pairs is not None and WITHOUT_PAIRS.issuperset(names):
        raise SettingError(f"{', '.join(names)} measures no pairs; leave out --pairs")
    if folder is not None:
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingError(f"the folder {folder} cannot be made: {error.strerror}") from None
    settings = {"repeat": repeat, "device": device, "pairs": pairs, "size": size}
    return _measure(SpeedReport(describe_machine(), settings), names, folder, note)


def _measure(
    report: SpeedReport,
    names: Sequence[str],
    folder: str | os.PathLike[str] | None,
    note: Callable[[str], None],
) -> Generator[SpeedReport, None, None]:
    """The report after each section; without a folder the images are deleted at the end."""
    load, of = report.machine["load"], report.settings
    if load is not None and load > BUSY * cores():
        note(f"the machine is busy (load {load} on {cores()} cores): timings will be too long")
    with ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lossbench-speed-"))
        at = Path(folder).absolute()
        setup = Setup(at, of["pairs"] or 0, of["size"] or 0, of["repeat"], of["device"], note)
        for name in names:
            about, section = SECTIONS[name]
            note(f"{name}: {about}")
            report = replace(report, tables=(*report.tables, section(setup)))
            yield report
