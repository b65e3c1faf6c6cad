"""The section `jobs` of `lossbench speed`: what people evaluate, next to a limit of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from lossbench.runtime.cpu import cores
from lossbench.speed.processes import FinishedProcess, alternate, child
from lossbench.speed.report import SpeedTable
from lossbench.speed.sections import Setup, against_limit


@dataclass(frozen=True)
class Job:
    """Files to evaluate in a process of its own, and the limit that the process is measured by."""

    kind: str  # of files, as they are drawn
    count: int
    size: int
    what: str  # the files and the losses, for people; {size} is put in
    losses: tuple[str, ...]
    limit: str  # one of LIMITS
    ending: str = ""  # of PRED and GT, which are folders otherwise
    package: str = ""  # that reads the files, where lossbench does not require it

    @property
    def title(self) -> str:
        """The job for people."""
        return f"{self.count:,} {self.what.format(size=self.size)}"

    def fitted(self, setup: Setup) -> Job:
        """The job with the number of pairs and the size that were given."""
        return replace(self, count=setup.pairs or self.count, size=setup.size or self.size)

    def sides(self, setup: Setup) -> tuple[Path, Path]:
        """PRED and GT, which are drawn the first time."""
        folder = setup.images(self.kind, self.count, self.size)
        return folder / f"pred{self.ending}", folder / f"gt{self.ending}"


JOBS = (
    Job("mask", 12, 512, "masks of {size}×{size}, Dice and IoU", ("dice", "iou"), "script"),
    Job("mask", 1000, 512, "masks of {size}×{size}, Dice and IoU", ("dice", "iou"), "script"),
    Job(
        "colour",
        200,
        512,
        "RGB pictures of {size}×{size}, PSNR and SSIM",
        ("psnr", "ssim"),
        "decode",
    ),
    Job(
        "volumes",
        12,
        160,
        "volumes, {size} voxels wide, of 5 labels, Dice",
        ("dice",),
        "unpack",
        package="nibabel",
    ),
    Job(
        "boxes",
        2000,
        480,
        "images with 25 detections each, 80 classes, COCO's AP",
        ("average_precision_boxes",),
        "parse",
        ending=".json",
    ),
)
LIMITS: Mapping[str, Callable[[Path, Path], FinishedProcess]] = {
    "script": partial(child, "masks"),
    "decode": partial(child, "decode", "cold", cores()),
    "unpack": partial(child, "decode", "cold", cores()),
    "parse": partial(child, "decode", "cold", 1),
}
COLUMNS = {
    "job": ("job", ""),
    "limit": ("limit", ""),
    "limit_seconds": ("limit, s", ".2f"),
    "seconds": ("run, s", ".2f"),
    "ratio": ("run / limit", ".2f"),
}


def jobs(setup: Setup) -> SpeedTable:
    """Whole processes: what people evaluate most, next to their limits."""
    rows = []
    for job in (each.fitted(setup) for each in JOBS):
        if job.package and not find_spec(job.package):
            setup.note(f"{job.title}: left out, since {job.package} is not installed")
            continue
        sides = job.sides(setup)
        tasks: dict[str, Callable[[], FinishedProcess]] = {
            "run": partial(setup.evaluate, job.losses, *sides),
            "limit": partial(LIMITS[job.limit], *sides),
        }
        setup.note(f"{job.title}, {setup.repeat} rounds")
        figures = against_limit(alternate(setup.repeat, tasks), "run")
        rows.append({"job": job.title, "limit": job.limit, **figures})
    title = (
        "processes from start to end; limits: a script of 12 lines with numpy and Pillow, decoding"
        f" or unpacking the files in {cores()} threads, parsing the JSON files"
    )
    return SpeedTable("jobs", title, COLUMNS, rows)
