"""Baselines: earlier results that gates may refer to."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, NamedTuple

from lossbench.catalog.columns import Column
from lossbench.catalog.tasks import DOUBT_COUNT
from lossbench.errors import InputError, SettingError, printable
from lossbench.results.aggregates import BOUNDS, OVER_GROUPS
from lossbench.results.gates import Check, bound_of, check_bound
from lossbench.results.identity import TRUTH, Model, differences, identity, options_for, unknown
from lossbench.results.intervals import AUTO, BCA, IntervalRule
from lossbench.results.json_numbers import from_number
from lossbench.results.reader import read_result, read_samples
from lossbench.results.result import Result, describe_column

AGAIN = "evaluate its predictions again"
OTHER_VERSION = f"was written by another version of lossbench; {AGAIN}"
INSTEAD = ("median", "p5", "p95", "min", "max")  # aggregates that infinite members may leave finite


class SharedPairs(NamedTuple):
    """The pairs that a run and its baseline have in common."""

    common: int
    own: int
    earlier: int
    same_truth: bool | None  # None where it cannot be checked

    @property
    def all_common(self) -> bool:
        return self.common == self.own == self.earlier


@dataclass(frozen=True)
class Baseline:
    """An earlier result that gates name."""

    model: Model  # everything in its file but the samples
    file: str | None = None  # None of a result in memory
    known_ids: Sequence[str] = ()  # of a result in memory
    ci: str = AUTO  # how this run computes intervals

    @classmethod
    def read(cls, source: Any, ci: str = AUTO) -> Baseline:
        """An earlier result: a Result, or a result file.

        Raises:
            InputError: the file is no result.
        """
        if isinstance(source, Result):
            return cls(source.as_json(samples=False), None, source.ids, ci)
        file = os.fspath(source)
        try:
            return cls(read_result(file), file, ci=ci)
        except InputError as error:
            raise InputError(f"the baseline {error}", kind=error.kind) from None

    @property
    def title(self) -> str:
        """What messages call it."""
        return printable(f"the baseline {self.file}") if self.file else "the baseline"

    @cached_property
    def identity(self) -> Model:
        """How it was read."""
        return identity(self.model)

    @cached_property
    def ids(self) -> frozenset[str]:
        """Its samples; those of a file are read on first use."""
        return frozenset(
            read_samples(self.file, [], self.model)[0] if self.file else self.known_ids
        )

    def value(self, check: Check) -> float:
        """The quantity of a gate.

        Raises:
            SettingError: it has no such quantity, or not of the same loss.
        """
        try:
            if check.column is None and check.gate.loss.name == DOUBT_COUNT:
                return float(sum(not each["accepted"] for each in self.model["run"]["doubts"]))
            if check.column is None:
                return float(self.model["run"]["pairs"][check.gate.loss.name])
            loss = _same_loss(self.model["run"]["losses"], check.column)
            over = ["groups"] if check.gate.aggregate in OVER_GROUPS else []
            of_class = ["classes", check.gate.of_class] if check.gate.of_class else []
            path = ["aggregate", str(loss["name"]), *over, *of_class]
            table: Any = reduce(lambda table, name: table[name], path, self.model)
            if check.judged in BOUNDS and not self.ci == loss.get("interval") == BCA:
                return self._bound(check, check.column, table)
            return from_number(table[check.judged])
        except KeyError:
            reason = self._why_not(check)
            where = printable(self.file) if self.file else "it"
            raise SettingError(
                f"the baseline has no {check.gate.quantity}; {where} {reason}"
            ) from None

    def _bound(self, check: Check, column: Column, table: Model) -> float:
        """An end of an interval, recomputed as this run computes its own."""
        rule = IntervalRule.of(column, self.ci, of_class=bool(check.gate.of_class))
        lowest, highest = from_number(table["min"]), from_number(table["max"])
        mean, std = from_number(table["mean"]), from_number(table["std"])
        ends = rule.from_moments(lowest, highest, mean, std, table["count"])
        return ends[BOUNDS.index(check.judged)]

    def check(self, checks: Sequence[Check], reading: Model, open_labels: bool = False) -> None:
        """Refuse gates that it cannot bound, and a baseline of another reading than this run's.

        With open labels, the classes of the run are not known before every file was read.

        Raises:
            SettingError: one of these.
        """
        self.check_reading(reading, open_labels)
        for each in checks:
            if each.needs_baseline:
                value = self.value(each)
                if not math.isfinite(value):
                    raise SettingError(self._no_bound(each, value))
                check_bound(each, bound_of(each.gate, value), f", where {self.title} has {value:g}")

    def check_reading(self, reading: Model, open_labels: bool = False) -> None:
        """Refuse a baseline of another reading than this run's."""
        grown = len(self.identity.get("classes", ())) >= len(reading["classes"])
        skipped = ("classes", "values") if open_labels and grown else ()
        found = [each for each in differences(self.identity, reading) if each.field not in skipped]
        if not found:
            return
        parts = "; ".join(
            f"{TRUTH[each.field].title}: {each.one}, in this run {each.other}" for each in found
        )
        options = options_for(self.identity, [each.field for each in found])
        like = f"read this run like it ({options}), or " if options else ""
        raise SettingError(
            f"{self.title} was read in another way. Its {parts}. For a bound, {like}evaluate its"
            " predictions again with the settings of this run"
        )

    def notes(self, reading: Model, result: Result) -> Iterator[str]:
        """What could not be compared, or differs without being an error."""
        if missing := unknown(self.identity):
            yield (
                f"{self.title} does not state {missing}, as older versions do not: that was not"
                " compared"
            )
        earlier, own = self.identity.get("pred"), reading["pred"]
        if earlier not in (None, own):
            yield f"{self.title} has predictions read as {earlier}, those of this run as {own}"
        pairs = self.shared_pairs(result)
        if pairs.all_common and pairs.same_truth is None:
            yield f"whether {self.title} has the same ground truth could not be checked"
        groups = self.model.get("groups")
        if groups and result.groups is not None and set(groups) != set(result.group_indices):
            of_file = f": {printable(self.file)}" if self.file else ""
            yield f"the baseline has different groups{of_file}"

    def shared_pairs(self, result: Result) -> SharedPairs:
        """The pairs in common with a result, and whether their ground truth is the same one."""
        own, stated = set(result.ids), self.model["run"]["pairs"]
        if stated["digest"] == result.digest:
            whole = stated["evaluated"] == result.counts["evaluated"] == len(own)
            known = whole and stated.get("truth")
            return SharedPairs(
                len(own), len(own), len(own), stated["truth"] == result.truth if known else None
            )
        return SharedPairs(len(own & self.ids), len(own), len(self.ids), None)

    def _no_bound(self, check: Check, value: float) -> str:
        """The message of a gate whose baseline is undefined or infinite."""
        gate = check.gate
        what = "undefined" if math.isnan(value) else "infinite"
        advice = "give a number as the bound"
        if what == "infinite":
            group = "group_" if gate.aggregate in OVER_GROUPS else ""
            names = (f"{group}{name}" for name in INSTEAD)
            finite = (n for n in names if math.isfinite(self.value(check.of_aggregate(n))))
            if name := next(finite, ""):
                of = gate.quantity.rpartition(".")[0]
                advice = f"gate another aggregate, such as {of}.{name}"
        return (
            f"the gate `{gate.text}` has no bound: {gate.quantity} of {self.title} is {what};"
            f" {advice}"
        )

    def _why_not(self, check: Check) -> str:
        """Why it has no quantity of a gate, and the way out."""
        column, gate = check.column, check.gate
        losses = self.model["run"]["losses"]
        if column is None:
            return OTHER_VERSION
        wanted = describe_column(column)
        try:
            name = _same_loss(losses, column)["name"]
        except KeyError:
            near = [each for each in losses if _names(each) == _names(wanted)]
            if not near:
                known = ", ".join(self.model["aggregate"])
                return f"has {known}; {AGAIN} with --loss '{column.expression}'"
            parts = "; ".join(_differing(each, wanted) for each in near)
            return f"has {parts}; {AGAIN} with --loss '{column.expression}'"
        table = self.model["aggregate"][name]
        if gate.of_class:
            classes = ", ".join(table.get("classes", {}))
            return (
                f"has the classes {classes} of {name}"
                if classes
                else f"has no class columns of {name}; {AGAIN} without --no-per-class"
            )
        if gate.aggregate in OVER_GROUPS and "groups" not in table:
            return f"has no groups; {AGAIN} with --group-by"
        return OTHER_VERSION


def _names(loss: Model) -> list[str]:
    """The losses of a column, without their options."""
    return [term["loss"] for term in loss["terms"]]


def _differing(earlier: Model, wanted: Model) -> str:
    """A column of a result that differs from a wanted one, and in what."""
    name = earlier["name"]
    for key in ("revision", "plugins"):
        if earlier["terms"] == wanted["terms"] and earlier.get(key) != wanted.get(key):
            return f"{name} of another {'revision' if key == 'revision' else 'plugin'}"
    options = [
        f"{option}={_text(one)} where the gate has {_text(term['options'].get(option))}"
        for own, term in zip(earlier["terms"], wanted["terms"], strict=True)
        for option, one in own["options"].items()
        if one != term["options"].get(option)
    ]
    if options:
        return f"{name} with {', '.join(options)}"
    return f"{name}, which is {earlier['expression']}"


def _text(option: Any) -> str:
    """The value of an option as an expression has it."""
    return str(option).lower() if isinstance(option, bool) or option is None else str(option)


def _same_loss(losses: Sequence[Mapping[str, Any]], column: Column) -> Mapping[str, Any]:
    """The same loss in an earlier result; a KeyError if there is none."""
    wanted = describe_column(column)
    alike = ("terms", "revision", "plugins")
    for loss in losses:
        alone = len(loss["terms"]) == 1 and wanted["options"] == loss["options"]
        same = alone or loss["expression"] == wanted["expression"]
        if same and all(loss.get(key) == wanted.get(key) for key in alike):
            return loss
    raise KeyError(column.name)
