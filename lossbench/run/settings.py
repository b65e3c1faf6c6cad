"""Everything a user can say about a run."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lossbench.columns import USUAL
from lossbench.data.plan import MAPS, MASKS
from lossbench.data.reading import ENCODINGS
from lossbench.data.sample import FILTERS
from lossbench.errors import SettingError, nearest

ROLES = (*MASKS, *MAPS)
TASKS = tuple(USUAL)
POLICIES = {"missing": ("error", "skip", "worst"), "extra": ("error", "skip")}
BATCH = 128


@dataclass(frozen=True)
class Settings:
    """Everything a user can say about a run, with its defaults; see `lossbench.plan`."""

    inputs: Mapping[str, Any] = field(default_factory=dict)
    task: str | None = None
    classes: Any = None
    ignore: Any = None
    threshold: float = 0.5
    empty: float | str = "skip"
    pred_encoding: str | None = None
    gt_encoding: str | None = None
    pred_pattern: str | None = None
    gt_pattern: str | None = None
    missing: str = "error"
    extra: str = "error"
    resize: str | None = None
    gates: Sequence[str] = ()
    baseline: Any = None
    plugins: Sequence[str] = ()
    device: str = "auto"
    workers: int | None = None
    batch_size: int = BATCH

    def __post_init__(self) -> None:
        choices = {
            "task": TASKS,
            "pred_encoding": ENCODINGS,
            "gt_encoding": ENCODINGS,
            "resize": tuple(FILTERS),
            **POLICIES,
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise SettingError(
                    f"{name} is one of {', '.join(allowed)}, not {value!r}"
                    f"{nearest(str(value), allowed)}"
                )
        for role in self.inputs:
            if role not in ROLES:
                raise SettingError(
                    f"no loss asks for a role {role!r}{nearest(role, ROLES)};"
                    f" roles are {', '.join(ROLES)}"
                )
        if self.empty != "skip" and (isinstance(self.empty, str) or math.isnan(self.empty)):
            raise SettingError(f"empty is skip or a number, not {self.empty!r}")
        if not isinstance(self.threshold, int | float) or not 0 <= self.threshold <= 1:
            raise SettingError(f"threshold {self.threshold!r} is not a probability from 0 to 1")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise SettingError(
                f"device {self.device!r} cannot be used: expected auto, cpu, cuda or cuda:N;"
                " try --device cpu"
            )
        if self.batch_size < 1 or (self.workers is not None and self.workers < 1):
            raise SettingError("workers and batch_size are 1 or more")

    @property
    def readers(self) -> int:
        """How many pairs are read at a time."""
        return self.workers or _cores()


def _cores() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
