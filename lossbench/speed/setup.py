"""Settings of a section, its images, and runs over them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lossbench.speed.processes import COMMAND, FinishedProcess, child, run

# Losses that need no positions; each figure names how many of the first ones it is of.
LOSSES = (
    "dice", "iou", "bce", "precision", "recall", "l1", "l2", "rmse", "huber", "smooth_l1",
    "log_cosh", "charbonnier", "psnr", "binary_focal", "jaccard", "tversky", "dice_score",
    "specificity", "accuracy", "mcc",
)  # fmt: skip


@dataclass(frozen=True)
class Setup:
    """Settings of a section; 0 pairs and size 0 stand for the numbers of the section itself."""

    folder: Path  # of the images
    pairs: int
    size: int  # width and height of an image
    repeat: int  # rounds, of which medians are taken
    device: str  # of runs, such as auto or cuda:1
    note: Callable[[str], None]  # prints the progress

    def images(self, kind: str, pairs: int, size: int) -> Path:
        """A folder of drawn images; a folder of that name from an earlier run is used again."""
        folder = self.folder / f"{kind}-{pairs}x{size}"
        if not folder.exists():
            self.note(f"drawing {pairs:,} of {size}×{size}, {kind}")
            draft = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(draft, ignore_errors=True)
            child("draw", kind, pairs, size, draft)
            draft.rename(folder)
        return folder

    def evaluate(self, losses: Sequence[str], *arguments: object) -> FinishedProcess:
        """Run `lossbench eval` in a process of its own."""
        columns = [word for loss in losses for word in ("--loss", loss)]
        options = ("--isolated", "--no-progress", "--device", self.device)
        return run([*COMMAND, "eval", *map(str, arguments), *columns, *options])
