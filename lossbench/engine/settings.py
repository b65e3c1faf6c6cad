"""Everything a user can say about a run."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lossbench.catalog import conventions, registry
from lossbench.catalog.columns import RUN, Defaults
from lossbench.catalog.tasks import USUAL
from lossbench.data.loading.sample import FILTERS
from lossbench.data.pairing.groups import manifest_columns
from lossbench.data.planning.encoding import ENCODINGS
from lossbench.data.planning.plan import MAPS, MASKS
from lossbench.engine.shards import parse_shard
from lossbench.errors import SettingError, did_you_mean
from lossbench.networks.weights import check_files
from lossbench.runtime.cpu import cores

ROLES = (*MASKS, *MAPS)  # of every loss; others are named by the losses that ask for them
TASKS = tuple(USUAL)
POLICIES = {"missing": ("error", "skip", "worst"), "extra": ("error", "skip")}
BATCH = 512
ENGINES = r"local|dask|[a-z]+://.+"


@dataclass(frozen=True)
class Settings:
    """Everything a user can say about a run, with its defaults; see `lossbench.plan`."""

    inputs: Mapping[str, Any] = field(default_factory=dict)
    manifest: str | None = None
    group_by: str | None = None
    task: str | None = None
    classes: Any = None
    ignore: Any = None
    threshold: float = 0.5
    empty: float | str | None = None  # as the convention has it
    convention: str = conventions.DEFAULT
    pred_encoding: str | None = None
    gt_encoding: str | None = None
    pred_pattern: str | None = None
    gt_pattern: str | None = None
    missing: str = "error"
    extra: str = "error"
    resize: str | None = None
    divisor: int | None = None
    things: str | Sequence[str] | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    offline: bool = False
    gates: Sequence[str | Mapping[str, Any]] = ()
    baseline: Any = None
    plugins: Sequence[str] = ()
    device: str = "auto"
    workers: int | None = None
    batch_size: int = BATCH
    shard: str | None = None
    engine: str = "local"

    def __post_init__(self) -> None:
        choices = {
            "task": TASKS,
            "pred_encoding": tuple(ENCODINGS),
            "gt_encoding": tuple(ENCODINGS),
            "resize": tuple(FILTERS),
            **POLICIES,
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise SettingError(
                    f"{name} is one of {', '.join(allowed)}, not {value!r}"
                    f"{did_you_mean(str(value), allowed)}"
                )
        for role in self.inputs:
            if role not in known_roles():
                raise SettingError(
                    f"no loss asks for a role {role!r}{did_you_mean(role, known_roles())};"
                    f" roles are {', '.join(known_roles())}"
                )
        folders = {
            "--input": self.inputs,
            "--pred-pattern": self.pred_pattern,
            "--gt-pattern": self.gt_pattern,
        }
        for option, given in folders.items():
            if self.manifest is not None and given:
                raise SettingError(f"{option} is for folders; the columns of a manifest name files")
        if manifest_columns(self.group_by) and self.manifest is None:
            raise SettingError(
                f"--group-by {self.group_by} names a column, which needs --manifest; for ids give a"
                " pattern such as '{patient}/{slice}'"
            )
        check_files(self.weights)
        if self.convention != conventions.ALL:
            conventions.find(self.convention)
        if self.empty not in (None, "skip") and (
            isinstance(self.empty, str) or math.isnan(self.empty or 0)
        ):
            raise SettingError(f"empty is skip or a number, not {self.empty!r}")
        if not isinstance(self.threshold, int | float) or not 0 <= self.threshold <= 1:
            raise SettingError(f"threshold {self.threshold!r} is not a probability from 0 to 1")
        if self.divisor is not None and self.divisor < 2:
            raise SettingError(f"divisor is 2 or more, not {self.divisor}")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise SettingError(
                f"device {self.device!r} cannot be used: expected auto, cpu, cuda or cuda:N;"
                " try --device cpu"
            )
        if not re.fullmatch(ENGINES, self.engine):
            raise SettingError(
                "engine is local, dask, or the address of a scheduler such as"
                f" tcp://host:8786, not {self.engine!r}"
            )
        if self.shard is not None:
            parse_shard(self.shard)
        if self.batch_size < 1 or (self.workers is not None and self.workers < 1):
            raise SettingError("workers and batch_size are 1 or more")

    @property
    def preset(self) -> conventions.Convention:
        """The convention of the columns; where all are asked for, our own."""
        name = self.convention
        return conventions.find(conventions.DEFAULT if name == conventions.ALL else name)

    def defaults(self, preset: conventions.Convention, task: str | None) -> Defaults:
        """Options where an expression gives none: the user's for the run, then a convention's."""
        given = {"threshold": self.threshold, "empty": self.empty}
        of_run = {name: value for name, value in given.items() if value is not None}
        return {**preset.defaults(task), RUN: of_run}

    @property
    def likely_device(self) -> str:
        """Where it will be computed, as far as that is known without torch."""
        no_driver = sys.platform == "linux" and not os.path.exists("/proc/driver/nvidia")
        return "cpu" if self.device == "auto" and no_driver else self.device

    @property
    def readers(self) -> int:
        """How many pairs are read at a time."""
        return self.workers or cores()


def known_roles() -> tuple[str, ...]:
    """Every role that some loss can be given."""
    return tuple(dict.fromkeys([*ROLES, *registry.roles()]))
