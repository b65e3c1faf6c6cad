"""The result of a run: columns of values and their aggregates; the model of every result file."""

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
from lossbench.catalog.tasks import DOUBT_COUNT
from lossbench.errors import PairError
from lossbench.results.aggregates import BOUNDS, OVER_GROUPS, aggregate, mean
from lossbench.results.doubt import Doubt
from lossbench.results.gates import Check, GateDecision
from lossbench.results.intervals import AUTO, BCA, FEWEST, MOST, IntervalRule
from lossbench.results.json_numbers import jsonable, number, number_lists

if TYPE_CHECKING:
    from lossbench.runtime.array_types import FloatArray


SCHEMA = 1
Table = dict[str, float]  # aggregates by name
BLOCK = 1 << 12  # samples converted to JSON numbers together


@dataclass(frozen=True)
class ConventionValue:
    """The value that a convention reports for a loss, which aggregate it is, and its column."""

    value: float
    aggregate: str
    column: Column


@dataclass
class ColumnValues:
    """The values of one loss: per sample, per class, and pooled over all samples.

    Attributes:
        column: one value per sample, (n,).
        class_columns: the values of each class, (K, n); None if the loss has no classes.
        pooled: the value of all samples as one.
        pooled_classes: the pooled value of each class.
    """

    column: FloatArray
    class_columns: FloatArray | None = None
    pooled: float = math.nan
    pooled_classes: Sequence[float] = ()

    @property
    def samples(self) -> list[float]:
        """One value per sample."""
        values: list[float] = self.column.tolist()
        return values

    @property
    def classes(self) -> list[list[float]]:
        """Values by class, then by sample; empty if the loss has no classes."""
        return [] if self.class_columns is None else self.class_columns.tolist()

    def aggregates(self, rule: IntervalRule) -> Table:
        """Every aggregate of the column."""
        return aggregate(self.column, self.pooled, rule)

    def class_aggregates(self, names: Sequence[str], rule: IntervalRule) -> dict[str, Table]:
        """Every aggregate of each class, by the names of the classes."""
        rows = () if self.class_columns is None else self.class_columns
        pooled = self.pooled_classes or [math.nan] * len(rows)
        tables = (aggregate(row, of_row, rule) for row, of_row in zip(rows, pooled, strict=True))
        return dict(zip(names if len(rows) else (), tables, strict=True))


@dataclass
class Result:
    """The result of a run. Undefined values are nan.

    Attributes:
        ids: the samples, sorted.
        columns: the losses of the run.
        values: column name -> values.
        class_names: the classes, in the order of class values.
        counts: numbers of pairs found, evaluated, missing and extra, and of errors.
        failed: pairs without a value, and why.
        skipped: pairs left out on request, and why.
        truth: the sum of one hash a pair over its id and ground truth, as 32 hexadecimal digits.
        run: the inputs and how they were read: paths, plan, settings, convention, losses.
        session: facts that differ from one run to the next: time, device, versions.
        pooled: the additive state.
        doubts: what looks like a mistake; none of a shard, whose doubts `merge` judges.
        strict: whether a doubt that is not accepted is an error.
        ci: how means get their intervals: auto, t or bca.
        decisions: the outcome of each gate.
        groups: the group of each sample, None without groups.
        group_pooled: column -> pooled value of each group, in the order of `group_indices`.
        conventions: convention -> column -> reported value, for the convention "all".
        shard: everything that `merge` needs, for one shard of a run.
        backends: column -> the library that computed it: numpy, torch or mixed.
        notes: what files beyond the sample of the plan say of themselves; in no output.
    """

    ids: list[str]
    columns: list[Column]
    values: dict[str, ColumnValues]
    class_names: tuple[str, ...]
    counts: dict[str, int]
    failed: list[PairError]
    skipped: list[PairError] = field(default_factory=list)
    truth: str = ""
    run: dict[str, Any] = field(default_factory=dict)
    session: dict[str, Any] = field(default_factory=dict)
    pooled: dict[str, Any] = field(default_factory=dict)
    doubts: list[Doubt] = field(default_factory=list)
    strict: bool = False
    ci: str = AUTO
    decisions: list[GateDecision] = field(default_factory=list)
    groups: list[str] | None = None
    group_pooled: dict[str, ColumnValues] = field(default_factory=dict)
    conventions: dict[str, dict[str, ConventionValue]] = field(default_factory=dict)
    shard: dict[str, Any] | None = None
    backends: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        """Exit status: 3 if an input failed or doubts are errors, 1 if a gate failed, else 0."""
        if self.failed or not (self.ids or self.shard) or (self.strict and self.doubt_count):
            return 3
        return 1 if any(decision.failed for decision in self.decisions) else 0

    @property
    def doubt_count(self) -> int:
        """The number of doubts that are not accepted."""
        return sum(not each.accepted for each in self.doubts)

    @property
    def digest(self) -> str:
        """A hash that is equal for results of the same pairs."""
        return digest(self.ids)

    @cached_property
    def rules(self) -> dict[str, IntervalRule]:
        """Column -> how the mean of its values gets its interval."""
        return {each.name: IntervalRule.of(each, self.ci) for each in self.columns}

    @cached_property
    def class_rules(self) -> dict[str, IntervalRule]:
        """Column -> how the mean of a class gets its interval."""
        return {each.name: IntervalRule.of(each, self.ci, of_class=True) for each in self.columns}

    @property
    def intervals(self) -> dict[str, str]:
        """Column -> the method of its interval."""
        return {
            name: self.rules[name].method(table["min"], table["max"], int(table["count"]))
            for name, table in self.aggregates.items()
        }

    def interval_notes(self) -> Iterator[str]:
        """Where --ci bca draws no resamples."""
        if self.ci != BCA:
            return
        limits = f"--ci bca resamples {FEWEST} to {MOST:,} values that differ"
        for name, table in self.aggregates.items():
            if reason := _without_resamples(table):
                yield f"{limits}, and {name} has {reason}: its interval is as with --ci auto"
        count = sum(bool(_without_resamples(table)) for table in self._part_tables())
        if count:
            parts = (
                "mean of a class or group has" if count == 1 else "means of classes or groups have"
            )
            yield f"{limits}: {count:,} {parts} an interval as with --ci auto"

    def _part_tables(self) -> Iterator[Table]:
        """The aggregates of all classes and groups, without their names."""
        by_class = [self.class_aggregates]
        if self.groups is not None:
            yield from self.over_groups.values()
            for tables in self.group_aggregates.values():
                yield from tables.values()
            by_class += [self.class_over_groups, *self.group_class_aggregates.values()]
        for each in by_class:
            for tables in each.values():
                yield from tables.values()

    @cached_property
    def aggregates(self) -> dict[str, Table]:
        """Every aggregate of every column."""
        return {name: each.aggregates(self.rules[name]) for name, each in self.values.items()}

    @cached_property
    def class_aggregates(self) -> dict[str, dict[str, Table]]:
        """Column -> class -> aggregates, for columns that have classes."""
        return self._class_aggregates(self.values)

    @cached_property
    def group_indices(self) -> dict[str, list[int]]:
        """Group -> indices of its samples in `ids`; groups sorted."""
        indices: dict[str, list[int]] = {}
        for index, group in enumerate(self.groups or ()):
            indices.setdefault(group, []).append(index)
        return dict(sorted(indices.items()))

    @cached_property
    def group_means(self) -> dict[str, ColumnValues]:
        """Column -> mean of each group, and of each class in it; groups sorted."""
        import numpy as np

        def means(row: FloatArray) -> list[float]:
            return [mean(row[indices].tolist()) for indices in self.group_indices.values()]

        class_columns = self.class_columns
        return {
            name: ColumnValues(
                np.array(means(values.column)),
                np.array([*map(means, class_columns[name])]) if name in class_columns else None,
            )
            for name, values in self.values.items()
        }

    @cached_property
    def group_aggregates(self) -> dict[str, dict[str, Table]]:
        """Group -> column -> aggregates over the samples of the group."""
        return {
            group: {name: each.aggregates(self.rules[name]) for name, each in values.items()}
            for group, values in self._group_values()
        }

    @cached_property
    def group_class_aggregates(self) -> dict[str, dict[str, dict[str, Table]]]:
        """Group -> column -> class -> aggregates, for columns that have classes."""
        return {group: self._class_aggregates(values) for group, values in self._group_values()}

    @cached_property
    def over_groups(self) -> dict[str, Table]:
        """Column -> aggregates of the group means, each group counting once."""
        return {
            name: _over(each.aggregates(self.rules[name]))
            for name, each in self.group_means.items()
        }

    @cached_property
    def class_over_groups(self) -> dict[str, dict[str, Table]]:
        """Column -> class -> aggregates of the group means, for columns that have classes."""
        return {
            name: {of_class: _over(table) for of_class, table in tables.items()}
            for name, tables in self._class_aggregates(self.group_means).items()
        }

    def quantity(self, check: Check) -> float:
        """The value that a gate judges."""
        if check.column is None:
            counts = {**self.counts, DOUBT_COUNT: self.doubt_count}
            return float(counts[check.gate.loss.name])
        return self._judged(check)[check.judged]

    def good_end(self, check: Check) -> float | None:
        """The good end of a range, where a gate judges the interval of values that all lie there.

        Five perfect values have a wider interval than five nearly perfect ones.
        """
        if check.column is None or check.judged not in BOUNDS:
            return None
        table, end = self._judged(check), check.good_end
        return end if table["min"] == table["max"] == end and table["count"] > 1 else None

    def _judged(self, check: Check) -> Table:
        """The aggregates that hold the value of a gate."""
        name, of_class = str(check.column and check.column.name), check.gate.of_class
        over = check.gate.aggregate in OVER_GROUPS
        columns = self.over_groups if over else self.aggregates
        classes = self.class_over_groups if over else self.class_aggregates
        return classes[name][of_class] if of_class else columns[name]

    def _describe(self) -> list[dict[str, Any]]:
        """Each column, the method of its interval, and the library that computed it."""
        intervals, backends = self.intervals, self.backends
        return [
            {
                **describe_column(each),
                "interval": intervals[each.name],
                **({"backend": backends[each.name]} if backends else {}),
            }
            for each in self.columns
        ]

    def as_json(self, per_class: bool = True, *, samples: bool = True) -> dict[str, Any]:
        """The result file, with or without samples; nan is null, infinities are strings."""
        model = {
            "schema": SCHEMA,
            "session": self.session,
            "run": {
                **jsonable(self.run),
                "classes": list(self.class_names),
                "pairs": {"digest": self.digest, "truth": self.truth, **self.counts},
                "losses": self._describe(),
                "doubts": [each.as_json() for each in self.doubts],
            },
            "aggregate": self._aggregate(per_class),
            **({"groups": self._groups(per_class)} if self.groups is not None else {}),
            **({"samples": list(self.rows(per_class))} if samples else {}),
            "pooled": self.pooled,
            "gates": [decision.as_json() for decision in self.decisions],
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
        """Column -> values of each class, (K, n), for columns that have classes."""
        columns = {name: each.class_columns for name, each in self.values.items()}
        return {name: each for name, each in columns.items() if each is not None}

    def rows(self, per_class: bool = True) -> Iterator[dict[str, Any]]:
        """The samples of the result file, one after another."""
        names = {"id": self.ids} if self.groups is None else {"id": self.ids, "group": self.groups}
        class_columns = self.class_columns if per_class else {}
        for start in range(0, len(self.ids), BLOCK):
            block = slice(start, start + BLOCK)
            lists: dict[str, list[Any]] = {name: each[block] for name, each in names.items()}
            lists |= {name: number_lists(each.column[block]) for name, each in self.values.items()}
            of_classes = {
                name: number_lists(rows[:, block].T) for name, rows in class_columns.items()
            }
            for index, cells in enumerate(zip(*lists.values(), strict=True)):
                row = dict(zip(lists, cells, strict=True))
                if of_classes:
                    row["classes"] = {
                        name: dict(zip(self.class_names, cells[index], strict=True))
                        for name, cells in of_classes.items()
                    }
                yield row

    def _aggregate(self, per_class: bool) -> dict[str, Any]:
        tables = _tables(self.aggregates, self.class_aggregates if per_class else {})
        if self.groups is not None:
            over_groups = _tables(self.over_groups, self.class_over_groups if per_class else {})
            for name, table in tables.items():
                table["groups"] = over_groups[name]
        return tables

    def _groups(self, per_class: bool) -> dict[str, Any]:
        return {
            group: _tables(tables, self.group_class_aggregates[group] if per_class else {})
            for group, tables in self.group_aggregates.items()
        }

    def _group_values(self) -> Iterator[tuple[str, dict[str, ColumnValues]]]:
        """Each group and the columns of its samples."""
        for row, (group, indices) in enumerate(self.group_indices.items()):
            of_group = {}
            for name, values in self.values.items():
                pooled, rows = self.group_pooled[name], values.class_columns
                of_group[name] = ColumnValues(
                    values.column[indices],
                    None if rows is None else rows[:, indices],
                    float(pooled.column[row]),
                    [] if pooled.class_columns is None else pooled.class_columns[:, row].tolist(),
                )
            yield group, of_group

    def _class_aggregates(self, columns: Mapping[str, ColumnValues]) -> dict[str, dict[str, Table]]:
        tables = {
            name: each.class_aggregates(self.class_names, self.class_rules[name])
            for name, each in columns.items()
        }
        return {name: table for name, table in tables.items() if table}


def _over(table: Table) -> Table:
    """The aggregates that exist over groups."""
    return {name: table[name] for name in OVER_GROUPS.values()}


def _without_resamples(table: Table) -> str:
    """Why the values behind aggregates are not resampled; "" if they are."""
    extremes = table["min"], table["max"]
    return IntervalRule.without_resamples(*extremes, int(table["count"]))


def _tables(
    tables: Mapping[str, Table], classes: Mapping[str, Mapping[str, Table]]
) -> dict[str, dict[str, Any]]:
    """The aggregates of each column and of its classes as JSON holds them."""
    return {
        name: jsonable({**table, **({"classes": classes[name]} if name in classes else {})})
        for name, table in tables.items()
    }


def combine(column: Column, terms: Mapping[Any, Any]) -> ColumnValues:
    """The values of an expression from the values of its terms; undefined where a term is.

    Args:
        column: an expression over terms.
        terms: term -> (values (n,), class values (n, K) or None, pooled, pooled of each class).
    """
    import numpy as np

    def over(part: int) -> Any:
        parts = [terms[term][part] for term in column.terms]
        if any(each is None for each in parts):
            return None
        values = fold(column.node, lambda term: np.asarray(terms[term][part], np.float64))
        undefined = np.logical_or.reduce([np.isnan(each) for each in parts])
        return np.where(undefined, np.nan, values)

    with np.errstate(divide="ignore", invalid="ignore"):
        samples, classes, pooled, pooled_classes = map(over, range(4))
    return ColumnValues(
        samples,
        None if classes is None else np.ascontiguousarray(classes.T),
        float(pooled),
        [] if pooled_classes is None else pooled_classes.tolist(),
    )


def digest(names: Iterable[str]) -> str:
    """A hash of a list of names, computed in blocks so that the list is not copied."""
    hasher, remaining = sha256(), iter(names)
    start = ""
    while block := list(islice(remaining, BLOCK)):
        hasher.update((start + "\n".join(block)).encode(errors="surrogatepass"))
        start = "\n"
    return hasher.hexdigest()


def _reported(each: ConventionValue) -> dict[str, Any]:
    column = describe_column(each.column)
    terms = {} if column["options"] else {"terms": column["terms"]}
    value, options = number(each.value), column["options"]
    return {"value": value, "aggregate": each.aggregate, "options": options, **terms}


def describe_column(column: Column) -> dict[str, Any]:
    """A column as result files describe it; a single loss with its options and definition."""
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
