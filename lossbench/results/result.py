"""The result of a run: columns of values, what they aggregate to, and the model of every file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any

from lossbench.catalog.columns import Column
from lossbench.catalog.grammar import fold
from lossbench.errors import PairError
from lossbench.results.aggregates import OVER_GROUPS, aggregate, mean
from lossbench.results.gates import Check, Decision
from lossbench.results.json_numbers import Number, jsonable, number, words

if TYPE_CHECKING:
    from lossbench.runtime.array_types import FloatArray


SCHEMA = 1
BLOCK = 1 << 12  # samples whose numbers are turned into words together


@dataclass(frozen=True)
class ConventionValue:
    """What a convention makes of a column: one number, which aggregate it is, and of what."""

    value: float
    aggregate: str
    column: Column


@dataclass
class ColumnValues:
    """One column: a value a sample, values of each class, and both over all samples as one.

    Attributes:
        column: a value a sample, (n,).
        class_columns: those of each class, (K, n); None where a loss has no classes.
        pooled: the value of all samples as one.
        pooled_classes: that of each class.
    """

    column: FloatArray
    class_columns: FloatArray | None = None
    pooled: float = math.nan
    pooled_classes: Sequence[float] = ()

    @property
    def samples(self) -> list[float]:
        """A value a sample."""
        found: list[float] = self.column.tolist()
        return found

    @property
    def classes(self) -> list[list[float]]:
        """Values by class, then by sample; none where a loss has no classes."""
        return [] if self.class_columns is None else self.class_columns.tolist()


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
        skipped: pairs that were to be left out, and why.
        run: what was read and how: paths, plan, settings, convention, losses.
        session: what differs from one run to the next: time, device, versions.
        pooled: the additive state.
        decisions: gates, decided.
        groups: the group of each sample, None without groups.
        group_pooled: by column, the pooled value of each group, in the order of `group_places`.
        conventions: convention -> column -> what it would report, where all were asked for.
        shard: of a share of a run, everything that `merge` needs.
    """

    ids: list[str]
    columns: list[Column]
    values: dict[str, ColumnValues]
    class_names: tuple[str, ...]
    counts: dict[str, int]
    failed: list[PairError]
    skipped: list[PairError] = field(default_factory=list)
    run: dict[str, Any] = field(default_factory=dict)
    session: dict[str, Any] = field(default_factory=dict)
    pooled: dict[str, Any] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    groups: list[str] | None = None
    group_pooled: dict[str, ColumnValues] = field(default_factory=dict)
    conventions: dict[str, dict[str, ConventionValue]] = field(default_factory=dict)
    shard: dict[str, Any] | None = None

    @property
    def exit_status(self) -> int:
        """What a shell should see: 3 for inputs that failed, 1 for gates that did, else 0."""
        if self.failed or not (self.ids or self.shard):
            return 3
        return 1 if any(decision.failed for decision in self.decisions) else 0

    @property
    def digest(self) -> str:
        """What tells whether two results are of the same pairs."""
        return digest(self.ids)

    @cached_property
    def aggregates(self) -> dict[str, dict[str, float]]:
        """Every aggregate of every column."""
        return _aggregates(self.values)

    @cached_property
    def class_aggregates(self) -> dict[str, dict[str, dict[str, float]]]:
        """Column -> class -> aggregates, of columns that have classes."""
        return self._class_aggregates(self.values)

    @cached_property
    def group_places(self) -> dict[str, list[int]]:
        """Group -> its samples by their place in `ids`; groups sorted."""
        places: dict[str, list[int]] = {}
        for place, group in enumerate(self.groups or ()):
            places.setdefault(group, []).append(place)
        return dict(sorted(places.items()))

    @cached_property
    def group_means(self) -> dict[str, ColumnValues]:
        """By column: the mean of each group, and of each class in it, groups sorted."""

        import numpy as np

        def means(row: FloatArray) -> list[float]:
            return [mean(row[places].tolist()) for places in self.group_places.values()]

        return {
            name: ColumnValues(
                np.array(means(values.column)),
                None
                if values.class_columns is None
                else np.array([means(row) for row in values.class_columns]),
            )
            for name, values in self.values.items()
        }

    @cached_property
    def group_aggregates(self) -> dict[str, dict[str, dict[str, float]]]:
        """Group -> column -> aggregates over the samples of the group."""
        return {group: _aggregates(values) for group, values in self._group_values()}

    @cached_property
    def group_class_aggregates(self) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
        """Group -> column -> class -> aggregates, of columns that have classes."""
        return {group: self._class_aggregates(values) for group, values in self._group_values()}

    @cached_property
    def over_groups(self) -> dict[str, dict[str, float]]:
        """Column -> aggregates of the means of groups, each group counting once."""
        return {name: _over(table) for name, table in _aggregates(self.group_means).items()}

    @cached_property
    def class_over_groups(self) -> dict[str, dict[str, dict[str, float]]]:
        """Column -> class -> aggregates of the means of groups, of columns that have classes."""
        return {
            name: {of_class: _over(table) for of_class, table in tables.items()}
            for name, tables in self._class_aggregates(self.group_means).items()
        }

    def quantity(self, check: Check) -> float:
        """The number that a gate judges."""
        if check.column is None:
            return float(self.counts[check.gate.loss.name])
        name, of_class = check.column.name, check.gate.of_class
        aggregate = str(check.gate.aggregate)
        over = aggregate in OVER_GROUPS
        if of_class:
            table = (self.class_over_groups if over else self.class_aggregates)[name][of_class]
        else:
            table = (self.over_groups if over else self.aggregates)[name]
        return table[OVER_GROUPS.get(aggregate, aggregate)]

    def as_json(self, per_class: bool = True, *, samples: bool = True) -> dict[str, Any]:
        """The result file, or all of it but its samples: nan is null, infinities are words."""
        model = {
            "schema": SCHEMA,
            "session": self.session,
            "run": {
                **jsonable(self.run),
                "classes": list(self.class_names),
                "pairs": {"digest": self.digest, **self.counts},
                "losses": [describe_column(column) for column in self.columns],
            },
            "aggregate": {name: self._aggregate(name, per_class) for name in self.values},
            **({"groups": self._groups(per_class)} if self.groups is not None else {}),
            **({"samples": list(self.rows(per_class))} if samples else {}),
            "pooled": self.pooled,
            "gates": [
                {
                    "gate": decision.gate,
                    "value": number(decision.value),
                    "bound": number(decision.bound),
                    "passed": decision.passed,
                    **({"warn": True} if decision.warn else {}),
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
                    "error": each.message,
                }
                for each in self.failed
            ],
        }
        if self.conventions:
            model["conventions"] = {
                name: {column: _reported(each) for column, each in row.items()}
                for name, row in self.conventions.items()
            }
        if self.shard is not None:
            model["shard"] = self.shard
        return model

    @property
    def class_columns(self) -> dict[str, FloatArray]:
        """By column: values of each class, (K, n), of columns that have classes."""
        every = {name: each.class_columns for name, each in self.values.items()}
        return {name: each for name, each in every.items() if each is not None}

    def rows(self, per_class: bool = True) -> Iterator[dict[str, Any]]:
        """The rows of the result file, one sample after another."""
        names = {"id": self.ids} if self.groups is None else {"id": self.ids, "group": self.groups}
        classed = self.class_columns if per_class else {}
        for start in range(0, len(self.ids), BLOCK):
            block = slice(start, start + BLOCK)
            lists: dict[str, list[Any]] = {name: each[block] for name, each in names.items()}
            lists |= {name: words(each.column[block]) for name, each in self.values.items()}
            of_classes = {name: words(rows[:, block].T) for name, rows in classed.items()}
            for place, cells in enumerate(zip(*lists.values(), strict=True)):
                row = dict(zip(lists, cells, strict=True))
                if of_classes:
                    row["classes"] = {
                        name: dict(zip(self.class_names, cells[place], strict=True))
                        for name, cells in of_classes.items()
                    }
                yield row

    def _aggregate(self, name: str, per_class: bool) -> dict[str, Any]:
        found = _tables(self.aggregates, self.class_aggregates, name, per_class)
        if self.groups is not None:
            found["groups"] = _tables(self.over_groups, self.class_over_groups, name, per_class)
        return found

    def _groups(self, per_class: bool) -> dict[str, Any]:
        return {
            group: {
                name: _tables(tables, self.group_class_aggregates[group], name, per_class)
                for name in tables
            }
            for group, tables in self.group_aggregates.items()
        }

    def _group_values(self) -> Iterator[tuple[str, dict[str, ColumnValues]]]:
        """Each group with the columns of its samples."""
        for at, (group, places) in enumerate(self.group_places.items()):
            of_group = {}
            for name, values in self.values.items():
                pooled = self.group_pooled[name]
                of_group[name] = ColumnValues(
                    values.column[places],
                    None if values.class_columns is None else values.class_columns[:, places],
                    float(pooled.column[at]),
                    [] if pooled.class_columns is None else pooled.class_columns[:, at].tolist(),
                )
            yield group, of_group

    def _class_aggregates(
        self, columns: Mapping[str, ColumnValues]
    ) -> dict[str, dict[str, dict[str, float]]]:
        return {
            name: {
                of_class: aggregate(row, pooled)
                for of_class, row, pooled in zip(
                    self.class_names,
                    values.class_columns,
                    values.pooled_classes or [math.nan] * len(values.class_columns),
                    strict=True,
                )
            }
            for name, values in columns.items()
            if values.class_columns is not None
        }


def _aggregates(columns: Mapping[str, ColumnValues]) -> dict[str, dict[str, float]]:
    return {name: aggregate(values.column, values.pooled) for name, values in columns.items()}


def _over(table: Mapping[str, float]) -> dict[str, float]:
    """The aggregates that there are over groups."""
    return {name: table[name] for name in OVER_GROUPS.values()}


def _tables(
    tables: Mapping[str, Mapping[str, float]],
    class_tables: Mapping[str, Mapping[str, Mapping[str, float]]],
    name: str,
    per_class: bool,
) -> dict[str, Any]:
    """The aggregates of a column as files hold them, those of its classes among them."""
    found: dict[str, Any] = _numbers(tables[name])
    if per_class and name in class_tables:
        found["classes"] = {
            of_class: _numbers(table) for of_class, table in class_tables[name].items()
        }
    return found


def combine(column: Column, terms: Mapping[Any, Any]) -> ColumnValues:
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
    return ColumnValues(
        samples,
        None if classes is None else np.ascontiguousarray(classes.T),
        float(pooled),
        [] if pooled_classes is None else pooled_classes.tolist(),
    )


def digest(names: Iterable[str]) -> str:
    """What tells whether two lists of names are the same, without another copy of all of them."""
    found, left = sha256(), iter(names)
    start = ""
    while some := list(islice(left, BLOCK)):
        found.update((start + "\n".join(some)).encode(errors="surrogatepass"))
        start = "\n"
    return found.hexdigest()


def _numbers(table: Mapping[str, float]) -> dict[str, Number]:
    return {name: number(value) for name, value in table.items()}


def _reported(each: ConventionValue) -> dict[str, Any]:
    what = describe_column(each.column)
    several = {} if what["options"] else {"terms": what["terms"]}
    return {
        "value": number(each.value),
        "aggregate": each.aggregate,
        "options": what["options"],
        **several,
    }


def describe_column(column: Column) -> dict[str, Any]:
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
