"""The sections that can be measured, and one after another of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from lossbench.errors import SettingError, did_you_mean
from lossbench.speed import cluster, decoding, deep, memory, pipelines, starting, surfaces, training
from lossbench.speed.machine import described, hindrances
from lossbench.speed.report import SpeedReport, Table
from lossbench.speed.setup import Setup

SMALLEST = 16


@dataclass(frozen=True)
class SpeedSection:
    """Something to measure, with its own numbers of pairs and pixels where it has any.

    `needs` is a package that does not come along, and the extra that brings it.
    """

    about: str
    measure: Callable[[Setup], Table]
    pairs: int = 0
    size: int = 0
    needs: tuple[str, str] | None = None

    @property
    def lacks(self) -> str:
        """What has to be installed first, if anything."""
        if self.needs is None or find_spec(self.needs[0]):
            return ""
        return f"needs {self.needs[0]}: pip install 'lossbench[{self.needs[1]}]'"


DASK = ("distributed", "dask")
MONAI = ("monai", "test")

SECTIONS = {
    "import": SpeedSection("imports of torch and others", starting.imports),
    "decode": SpeedSection("bare decoding by format and threads", decoding.formats, 40, 512),
    "pipeline": SpeedSection(
        "runs with 1, 5 and all losses, and by hand", pipelines.binary, 400, 512
    ),
    "classes": SpeedSection(
        "runs on label maps of 19 and 150 classes", pipelines.classes, 400, 512
    ),
    "small": SpeedSection("runs on small files", pipelines.small, 4000, 64),
    "few": SpeedSection("runs of few pairs", pipelines.few, 100, 512),
    "losses": SpeedSection("each loss, forward and backward", training.each_loss, 0, 512),
    "memory": SpeedSection("memory by the number of pairs", memory.by_pairs, 1000, 64),
    "large": SpeedSection("memory of one large pair", memory.one_pair, 0, 4000),
    "start": SpeedSection("commands that compute nothing", starting.commands, 16, 64),
    "cluster": SpeedSection("a Dask cluster, projected", cluster.projected, 1000, 512, DASK),
    "deep": SpeedSection("a perceptual loss next to its network", deep.perceptual, 8, 256),
    "surface": SpeedSection(
        "distances of surfaces next to MONAI's", surfaces.distances, 3, 512, MONAI
    ),
}
# Numbers that a section fixes itself though it draws pictures.
FIXED = ("start",)


def measured(
    sections: Sequence[str],
    pairs: int | None,
    size: int | None,
    repeat: int,
    folder: str | os.PathLike[str] | None,
    device: str,
    note: Callable[[str], None],
) -> Generator[SpeedReport, None, None]:
    """Check what is asked for, then measure section after section; see `lossbench.measure_speed`.

    Raises:
        SettingError: a section, number or folder is wrong.
    """
    names = list(dict.fromkeys(sections))
    for name in names:
        if name not in SECTIONS:
            known = ", ".join(SECTIONS)
            raise SettingError(
                f"no section is called {name!r}{did_you_mean(name, SECTIONS)}; there are {known}"
            )
        if lacks := SECTIONS[name].lacks:
            raise SettingError(f"the section {name} {lacks}")
    if not names:
        for name, section in SECTIONS.items():
            if section.lacks:
                note(f"{name}: left out, it {section.lacks}")
        names = [name for name, section in SECTIONS.items() if not section.lacks]
    for option, number, least in (
        ("pairs", pairs, 1), ("size", size, SMALLEST), ("repeat", repeat, 1)
    ):  # fmt: skip
        if number is not None and number < least:
            raise SettingError(f"{option} is a number from {least}, not {number}")
    for option, number in (("pairs", pairs), ("size", size)):
        if number is not None and not any(_has(name, option) for name in names):
            those = ", ".join(name for name in SECTIONS if _has(name, option))
            raise SettingError(
                f"{option} means nothing to {', '.join(names)}; these sections have it: {those}"
            )
    if folder is not None:
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingError(f"the folder {folder} cannot be made: {error.strerror}") from None
    settings = {"repeat": repeat, "device": device, "pairs": pairs, "size": size}
    report = SpeedReport(described(), settings)
    return _each(report, names, Path(folder) if folder is not None else None, note)


def _each(
    report: SpeedReport, names: Sequence[str], folder: Path | None, note: Callable[[str], None]
) -> Generator[SpeedReport, None, None]:
    """The report after each section."""
    for hindrance in hindrances(report.machine):
        note(hindrance)
    with _place(folder) as place:
        for name in names:
            section = SECTIONS[name]
            given = report.settings

            def told(text: str, name: str = name) -> None:
                note(f"{name}: {text}")

            setup = Setup(
                place,
                (given["pairs"] if _has(name, "pairs") else None) or section.pairs,
                (given["size"] if _has(name, "size") else None) or section.size,
                given["repeat"],
                given["device"],
                told,
            )
            report = replace(report, tables=(*report.tables, section.measure(setup)))
            yield report


def _has(name: str, option: str) -> bool:
    """Whether a section takes a number of pairs, or a size."""
    return name not in FIXED and bool(getattr(SECTIONS[name], option))


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    """The folder that was named, which stays, or one that goes."""
    if folder is not None:
        yield folder.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="lossbench-speed-") as made:
        yield Path(made)
