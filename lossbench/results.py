"""The result of a run: columns of values, what they aggregate to, and the model of every file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

from lossbench.aggregates import aggregate
from lossbench.columns import Column
from lossbench.expressions import fold
from lossbench.gates import Check, Decision

SCHEMA = 1
Number = float | str | None


@dataclass(frozen=True)
class Failed:
    """A pair that is no part of the result, and why."""

    id: str
    role: str | None
    file: str | None
    kind: str
    error: str
    loss: str | None = None


@dataclass
class Values:
    """One column: a value a sample, values of each class, and both over all samples as one."""

    samples: Sequence[float]
    classes: Sequence[Sequence[float]] = ()  # by class, then by sample
    pooled: float = math.nan
    pooled_classes: Sequence[float] = ()


@dataclass
class Result:
    """What a run found. Undefined values are nan.

    Attributes:
        ids: the samples, sorted.
        columns: what was asked for.
        values: by column name.
        class_names: the classes, in the order of class values.
        counts: pairs found, evaluated, missing, extra; errors.
        failed: pairs that are no part of the values.
        run: what was read and how: paths, plan, settings, convention, losses.
        session: what differs from one run to the next: time, device, versions.
        pooled: the additive state.
        decisions: gates, decided.
    """

    ids: list[str]
    columns: list[Column]
    values: dict[str, Values]
    class_names: tuple[str, ...]
    counts: dict[str, int]
    failed: list[Failed]
    run: dict[str, Any] = field(default_factory=dict)
    session: dict[str, Any] = field(default_factory=dict)
    pooled: dict[str, Any] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        """What a shell should see: 3 for inputs that failed, 1 for gates that did, else 0."""
        if self.failed or not self.ids:
            return 3
        return 0 if all(decision.passed for decision in self.decisions) else 1

    @property
    def digest(self) -> str:
        """What tells whether two results are of the same pairs."""
        return sha256("\n".join(self.ids).encode(errors="surrogatepass")).hexdigest()

    @cached_property
    def aggregates(self) -> dict[str, dict[str, float]]:
        """Every aggregate of every column."""
        return {
            name: aggregate(values.samples, values.pooled) for name, values in self.values.items()
        }

    @cached_property
    def class_aggregates(self) -> dict[str, dict[str, dict[str, float]]]:
        """Column -> class -> aggregates, of columns that have classes."""
        return {
            name: {
                of_class: aggregate(row, pooled)
                for of_class, row, pooled in zip(
                    self.class_names,
                    values.classes,
                    values.pooled_classes or [math.nan] * len(values.classes),
                    strict=True,
                )
            }
            for name, values in self.values.items()
            if values.classes
        }

    def quantity(self, check: Check) -> float:
        """The number that a gate judges."""
        if check.column is None:
            return float(self.counts[check.gate.loss.name])
        name, of_class = check.column.name, check.gate.of_class
        table = self.class_aggregates[name][of_class] if of_class else self.aggregates[name]
        return table[str(check.gate.aggregate)]

    def as_json(self, per_class: bool = True) -> dict[str, Any]:
        """The result file: nan is null, infinities are words."""
        return {
            "schema": SCHEMA,
            "session": self.session,
            "run": {
                **jsonable(self.run),
                "classes": list(self.class_names),
                "pairs": {"digest": self.digest, **self.counts},
                "losses": [described(column) for column in self.columns],
            },
            "aggregate": {name: self._aggregate(name, per_class) for name in self.values},
            "samples": [self.sample(place, per_class) for place in range(len(self.ids))],
            "pooled": self.pooled,
            "gates": [
                {
                    "gate": decision.gate,
                    "value": number(decision.value),
                    "bound": number(decision.bound),
                    "passed": decision.passed,
                }
                for decision in self.decisions
            ],
            "errors": [
                {
                    "id": each.id,
                    "role": each.role,
                    "file": each.file,
                    "loss": each.loss,
                    "kind": each.kind,
                    "error": each.error,
                }
                for each in self.failed
            ],
        }

    def sample(self, place: int, per_class: bool = True) -> dict[str, Any]:
        """One sample's row of the result file."""
        row: dict[str, Any] = {"id": self.ids[place]}
        row |= {name: number(values.samples[place]) for name, values in self.values.items()}
        if per_class and self.class_aggregates:
            row["classes"] = {
                name: {
                    of_class: number(column[place])
                    for of_class, column in zip(
                        self.class_names, self.values[name].classes, strict=True
                    )
                }
                for name in self.class_aggregates
            }
        return row

    def _aggregate(self, name: str, per_class: bool) -> dict[str, Any]:
        found: dict[str, Any] = _numbers(self.aggregates[name])
        if per_class and name in self.class_aggregates:
            found["classes"] = {
                of_class: _numbers(table) for of_class, table in self.class_aggregates[name].items()
            }
        return found


def combine(column: Column, terms: Mapping[Any, Any]) -> Values:
    """A column's values from those of its terms; undefined where a term is.

    Args:
        column: an expression over terms.
        terms: term -> (values (n,), class values (n, K) or None, pooled, pooled of each class).
    """
    import numpy as np

    def over(part: int) -> Any:
        parts = [terms[term][part] for term in column.terms]
        if any(each is None for each in parts):
            return None
        found = fold(column.node, lambda term: np.asarray(terms[term][part], np.float64))
        undefined = np.logical_or.reduce([np.isnan(each) for each in parts])
        return np.where(undefined, np.nan, found)

    with np.errstate(divide="ignore", invalid="ignore"):
        samples, classes, pooled, pooled_classes = map(over, range(4))
    return Values(
        samples.tolist(),
        [] if classes is None else classes.T.tolist(),
        float(pooled),
        [] if pooled_classes is None else pooled_classes.tolist(),
    )


def number(value: float) -> Number:
    """A number as files hold it."""
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def jsonable(value: Any) -> Any:
    """Settings and options as files hold them."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(each) for each in value]
    return number(value) if isinstance(value, float) else value


def from_number(value: Number) -> float:
    """A number back from a file."""
    return math.nan if value is None else float(value)


def _numbers(table: Mapping[str, float]) -> dict[str, Number]:
    return {name: number(value) for name, value in table.items()}


def described(column: Column) -> dict[str, Any]:
    """What a column is: of a single loss also its options and definition."""
    terms = column.terms
    entry, alone = terms[0].entry, column.node == terms[0]
    plugins = {each.path: each for term in terms if (each := term.entry.plugin)}
    files = [{"file": each.path.name, "sha256": each.digest} for each in plugins.values()]
    return {
        "name": column.name,
        "expression": column.expression,
        "options": jsonable(terms[0].options) if alone else {},
        "revision": max(term.entry.revision for term in terms),
        "better": column.better,
        "definition": entry.definition if alone else column.expression,
        "terms": [{"loss": term.name, "options": jsonable(term.options)} for term in terms],
        **({"plugins": files} if files else {}),
    }
