"""A checked specification of a run: what is read, how, and what is computed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossbench.catalog.columns import Column, Term, named
from lossbench.catalog.feature_needs import parameters
from lossbench.data.pairing.pairs import Pairing
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.locations import label
from lossbench.engine.convention_columns import ConventionColumn
from lossbench.engine.settings import Settings
from lossbench.engine.shards import share
from lossbench.networks.weights import PUBLISHED, Published
from lossbench.results.gates import Check

# Settings that are told elsewhere in a result, or change nothing in it.
UNTOLD = (
    "inputs", "device", "workers", "batch_size", "baseline", "weights", "offline", "shard",
    "engine"
)  # fmt: skip


@dataclass(frozen=True)
class RunSpec:
    """What a run will read and compute; checking it imported no torch.

    Attributes:
        plan: how bytes become numbers.
        pairing: which files belong together.
        columns: what will be computed.
        settings: what was asked for.
        losses: as they were asked for, or the task's usual ones.
    """

    pred: Any
    target: Any
    losses: Sequence[str]
    settings: Settings
    pairing: Pairing
    plan: Plan
    columns: list[Column]
    checks: list[Check]
    baseline: Mapping[str, Any] | None
    elsewhere: Sequence[ConventionColumn] = ()

    @property
    def device(self) -> str:
        """Where it will be computed, as far as that is known without torch."""
        return self.settings.likely_device

    @property
    def to_fetch(self) -> list[Published]:
        """Weights that are in no cache: `evaluate` downloads them, unless it was done before."""
        given = self.settings.weights
        names = {
            name: None for term in self.terms for name in parameters(term) if name not in given
        }
        return [PUBLISHED[name] for name in names if PUBLISHED[name].path is None]

    @property
    def terms(self) -> list[Term]:
        """Every loss that is computed, of other conventions too."""
        every = [*self.columns, *(each.column for each in self.elsewhere)]
        return [term for column in every for term in column.terms]

    @property
    def share(self) -> tuple[int, int]:
        """From which to before which pair this run goes: all of them, or those of a shard."""
        return share(self.settings.shard, len(self.pairing.pairs))

    def column(self, name: str) -> Column:
        """A column by its name; an unknown one is an error."""
        return named(self.columns, name)

    def describe(self) -> dict[str, Any]:
        """What is read and how, as the result file holds it."""
        settings = {
            name: value for name, value in vars(self.settings).items() if name not in UNTOLD
        }
        settings["manifest"] = _named(self.settings.manifest)
        return {
            "pred": _named(self.pred),
            "target": _named(self.target),
            "inputs": {role: _named(given) for role, given in self.settings.inputs.items()},
            "plan": {
                "text": str(self.plan),
                "task": self.plan.task,
                "pred": str(self.plan.pred),
                "target": str(self.plan.target),
                "counted": self.plan.counted,
            },
            "settings": settings,
            "convention": self.settings.preset.name,
        }


def _named(given: Any) -> str | None:
    """A folder as it was given; None for arrays in memory."""
    return label(given) if isinstance(given, str | os.PathLike) else None
