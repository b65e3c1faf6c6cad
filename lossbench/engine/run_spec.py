"""A checked specification of a run: what is read, how, and what is computed."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
from lossbench.results.baseline import Baseline
from lossbench.results.gates import Check


@dataclass(frozen=True)
class RunSpec:
    """What a run will read and compute; checking it imported no torch."""

    settings: Settings  # `losses` are the task's standard losses if none were set
    pairing: Pairing
    plan: Plan
    columns: list[Column]
    checks: list[Check]
    baseline: Baseline | None  # the earlier result that gates name
    elsewhere: Sequence[ConventionColumn] = ()  # the columns under each convention's defaults

    @property
    def to_fetch(self) -> list[Published]:
        """Weights that are in no cache: `evaluate` downloads them, unless it was done before."""
        needed = dict.fromkeys(name for term in self.terms for name in parameters(term))
        names = [name for name in needed if name not in self.settings.weights]
        return [PUBLISHED[name] for name in names if PUBLISHED[name].path is None]

    @property
    def terms(self) -> list[Term]:
        """Every loss that is computed, of other conventions too, once."""
        every = [*self.columns, *(each.column for each in self.elsewhere)]
        return list(dict.fromkeys(term for column in every for term in column.terms))

    @property
    def share(self) -> tuple[int, int]:
        """From which to before which pair this run goes: all of them, or those of a shard."""
        return share(self.settings.shard, len(self.pairing.pairs))

    def column(self, name: str) -> Column:
        """A column by its name; an unknown one is an error."""
        return named(self.columns, name)

    def describe(self) -> dict[str, Any]:
        """What is read and how, as the result file holds it."""
        settings = self.settings
        return {
            "pred": _label(settings.pred),
            "target": _label(settings.target),
            "inputs": {role: _label(source) for role, source in settings.inputs.items()},
            "plan": {
                "text": str(self.plan),
                "task": self.plan.task,
                "pred": str(self.plan.pred),
                "target": str(self.plan.target),
                "counted": self.plan.counted,
                "identity": self.plan.identity,
            },
            "settings": {**settings.record, "manifest": _label(settings.manifest)},
            "convention": settings.preset.name,
        }


def _label(source: Any) -> str | None:
    """The name of a file or folder as the user wrote it; None for arrays in memory."""
    return label(source) if isinstance(source, str | os.PathLike) else None
