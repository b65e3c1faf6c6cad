"""What every section is measured with: its pictures, how often, where it computes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lossbench.speed.processes import COMMAND, FinishedProcess, child, run


@dataclass(frozen=True)
class Setup:
    """How a section is measured.

    Attributes:
        folder: where its pictures are, or will be.
        pairs: how many of them; 0 where the section has none.
        size: width and height of a picture; 0 likewise.
        repeat: rounds of which medians are taken.
        device: of runs, such as auto or cuda:1.
        note: told what is being done.
    """

    folder: Path
    pairs: int
    size: int
    repeat: int
    device: str
    note: Callable[[str], None]

    def pictures(self, kind: str, pairs: int, size: int) -> Path:
        """A folder of drawn pictures; one of this name that is there already is taken as it is."""
        made = self.folder / f"{kind}-{pairs}x{size}"
        if not made.exists():
            self.note(f"drawing {pairs:,} of {size}×{size}, {kind}")
            draft = made.with_name(f"{made.name}.part")
            shutil.rmtree(draft, ignore_errors=True)
            child("draw", kind, pairs, size, draft)
            draft.rename(made)
        return made

    def evaluated(self, *arguments: object) -> FinishedProcess:
        """`lossbench eval` as a whole process, with the usual output."""
        how = ("--isolated", "--no-progress", "--device", self.device)
        return run([*COMMAND, "eval", *map(str, arguments), *how])


def given(losses: list[str]) -> list[str]:
    """Losses as they are typed."""
    return [word for name in losses for word in ("--loss", name)]
