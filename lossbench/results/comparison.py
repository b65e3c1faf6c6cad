"""The comparison of results: changes from the first result, verdicts, rankings, gates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

from lossbench.results import ranking
from lossbench.results.change import BETTER, WORSE, Change, Groups, over_units
from lossbench.results.change_gates import ChangeCheck, Decision, judge
from lossbench.results.json_numbers import jsonable
from lossbench.results.paired_tests import holm
from lossbench.results.ranking import ResultRanking
from lossbench.results.reader import Measured, Model, lookup
from lossbench.runtime.string_list import StringList

if TYPE_CHECKING:
    from lossbench.runtime.array_types import FloatArray

SCHEMA = 1
RESULTS = "all results"
TOP = 10
OPPOSITE = {BETTER: WORSE, WORSE: BETTER}


@dataclass(frozen=True)
class Comparison:
    """Results compared with the first one.

    Attributes:
        files: the results, as named by the caller.
        models: everything in each file except its samples.
        measured: the quantities compared.
        ids: the samples that all results have.
        values: quantity -> values of each result, (files, samples).
        notes: differences between the runs, and parts that are left out.
        groups: of the samples, if all results have the same ones.
        margins: quantity -> mean difference below which none matters.
        checks: the gates.
    """

    files: Sequence[str]
    models: Sequence[Model]
    measured: Sequence[Measured]
    ids: StringList
    values: Mapping[str, FloatArray]
    notes: Sequence[str]
    groups: Groups | None
    margins: Mapping[str, float]
    checks: Sequence[ChangeCheck]

    def find(self, name: str) -> Measured:
        """The quantity of a name; an unknown name raises a SettingError."""
        return lookup(name, {each.name: each for each in self.measured}, RESULTS)

    @cached_property
    def changes(self) -> list[dict[str, Change]]:
        """The changes from the first result to each other one, by quantity."""
        return [
            {each.name: self.between(0, other, each) for each in self.measured}
            for other in range(1, len(self.files))
        ]

    def change(self, file: int, measured: Measured) -> Change:
        """The change of a quantity from the first result to another, by its index."""
        return self.changes[file - 1][measured.name]

    @cached_property
    def p_holm(self) -> list[dict[str, float]]:
        """The p-values of each other result by quantity, adjusted by Holm's method.

        The losses are one family, and their classes are another.
        """
        return [self._adjusted(changes) for changes in self.changes]

    def verdict(self, file: int, measured: Measured) -> str:
        """The verdict about a result, by its index, on a quantity."""
        return self.change(file, measured).verdict(self.p_holm[file - 1][measured.name])

    @cached_property
    def rankings(self) -> dict[str, ResultRanking]:
        """The ranking by each quantity that has a better direction.

        Over the units that are defined in all results.
        """
        import numpy as np

        rankings = {}
        for each in self.measured:
            if each.better is not None:
                units = over_units(self.values[each.name], self.groups)
                rankings[each.name] = ResultRanking(
                    units[:, ~np.isnan(units).any(axis=0)], each.better
                )
        return rankings

    @property
    def ranks(self) -> dict[str, list[float]]:
        """Quantity -> mean rank of each result: 1 is the best, equal values share their rank."""
        return {name: each.mean_ranks for name, each in self.rankings.items()}

    @cached_property
    def significance(self) -> dict[str, list[list[float]]]:
        """Quantity -> p-value of each pair of results, adjusted over all pairs; nan of itself."""
        import numpy as np

        tables, files = {}, range(len(self.files))
        for each in self.measured:
            pairs = list(combinations(files, 2))
            adjusted = holm(np.array([self.between(*pair, each).p for pair in pairs]))
            table = np.full((len(files), len(files)), math.nan)
            for (one, other), p in zip(pairs, adjusted, strict=True):
                table[one, other] = table[other, one] = p
            tables[each.name] = table.tolist()
        return tables

    def verdicts_of_pairs(self, measured: Measured) -> list[list[str]]:
        """The verdict about each result (rows) against each other one; empty of itself."""
        adjusted, files = self.significance[measured.name], range(len(self.files))
        table = [["" for _ in files] for _ in files]
        for one, other in combinations(files, 2):
            verdict = self.between(one, other, measured).verdict(adjusted[one][other])
            table[other][one] = verdict
            table[one][other] = OPPOSITE.get(verdict, verdict)
        return table

    @cached_property
    def decisions(self) -> list[Decision]:
        """The outcome of each gate for each result that is compared with the first one."""
        several = len(self.files) > 2
        return [
            judge(
                checked,
                changes[checked.measured.name],
                p_holm[checked.measured.name],
                file if several else "",
            )
            for checked in self.checks
            for file, changes, p_holm in zip(self.files[1:], self.changes, self.p_holm, strict=True)
        ]

    @property
    def exit_status(self) -> int:
        """Exit status: 1 if a gate failed, else 0."""
        return 1 if any(decision.failed for decision in self.decisions) else 0

    def as_json(self, top: int | None = TOP) -> dict[str, Any]:
        """Everything except the samples; nan is null, infinities are strings.

        Args:
            top: how many samples that became worse or better most to list; None lists all.
        """
        return {
            "schema": SCHEMA,
            "runs": [
                {"file": file, **{name: model["run"][name] for name in ("pred", "target", "plan")}}
                for file, model in zip(self.files, self.models, strict=True)
            ],
            "pairs": len(self.ids),
            "changes": [
                {
                    "first": self.files[0],
                    "second": file,
                    "losses": {
                        name: change.as_json(p_holm[name], self.ids, top)
                        for name, change in changes.items()
                    },
                }
                for file, changes, p_holm in zip(
                    self.files[1:], self.changes, self.p_holm, strict=True
                )
            ],
            "ranks": jsonable(self.ranks),
            "ranking": ranking.as_json(self.rankings),
            "significance": jsonable(self.significance),
            "gates": [decision.as_json() for decision in self.decisions],
            "notes": list(self.notes),
        }

    def between(self, one: int, other: int, measured: Measured) -> Change:
        """The change of a quantity from one result to another, by their indices."""
        values = self.values[measured.name]
        margin = self.margins.get(measured.name)
        return Change(measured, values[one], values[other], self.groups, margin)

    def _adjusted(self, changes: Mapping[str, Change]) -> dict[str, float]:
        """The adjusted p-values of the changes to one result."""
        import numpy as np

        adjusted: dict[str, float] = {}
        for of_class in (False, True):
            family = [
                name
                for name, change in changes.items()
                if (change.measured.quantity.of_class is not None) is of_class
            ]
            values = np.array([changes[name].p for name in family], np.float64)
            adjusted |= zip(family, holm(values).tolist(), strict=True)
        return adjusted
