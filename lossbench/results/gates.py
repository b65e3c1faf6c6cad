"""Named decisions: whether a result is good enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lossbench.catalog.columns import Column, Defaults, column_for
from lossbench.catalog.grammar import COMPARE, ExpressionError, Gate, fold, leaves, parse_gate
from lossbench.catalog.tasks import COUNTS
from lossbench.errors import SettingError, did_you_mean
from lossbench.results.aggregates import AGGREGATES, OVER_GROUPS, VALUES

WRONG_SIDE = {"lower": (">", ">="), "higher": ("<", "<=")}
DIGITS = 17


@dataclass(frozen=True)
class Check:
    """A gate that fits the run: which column, class and aggregate it judges."""

    gate: Gate
    column: Column | None  # None: a count of the run

    @property
    def needs_baseline(self) -> bool:
        return any(leaves(self.gate.bound))


@dataclass(frozen=True)
class Decision:
    """A gate decided once, on the unrounded value; undefined is nan."""

    gate: str
    value: float
    compare: str
    bound: float
    passed: bool
    warn: bool = False  # reported, and no failure

    @property
    def failed(self) -> bool:
        """Whether a run that missed it is a failure."""
        return not (self.passed or self.warn)

    def __str__(self) -> str:
        quantity = self.gate.rpartition(self.compare)[0].strip()
        if math.isnan(self.value):
            return f"{quantity} is undefined, {self.compare} {shortest(self.bound)} was asked for"
        if math.isnan(self.bound):
            return f"{quantity} {shortest(self.value)} has no bound: the baseline's is undefined"
        held = self.compare if self.passed else OPPOSITE[self.compare]
        value, bound = told_apart(self.value, self.bound)
        return f"{quantity} {value} {held} {bound}"


OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


def as_gate(given: str | Mapping[str, Any]) -> Gate:
    """A gate as settings have it: its text, or {"gate": text, "warn": true}."""
    if isinstance(given, str):
        return parse_gate(given)
    warn = given.get("warn", False)
    text = given.get("gate")
    if not isinstance(text, str) or not isinstance(warn, bool) or given.keys() - {"gate", "warn"}:
        raise SettingError(
            f"a gate is a text, or a mapping with 'gate' and 'warn', not {dict(given)!r}"
        )
    return replace(parse_gate(text), warn=warn)


def check(
    gate: Gate,
    columns: Iterable[Column],
    defaults: Defaults,
    *,
    has_baseline: bool,
    has_groups: bool,
) -> Check:
    """A gate against the columns of the run, before anything is read."""
    name = gate.loss.name
    if any(leaves(gate.bound)) and not has_baseline:
        raise SettingError(f"the gate `{gate.text}` needs --baseline RUN")
    if gate.aggregate is None:
        if name not in COUNTS or gate.loss.options or gate.of_class:
            column_for(gate.loss, columns, gate.written, defaults)  # an unknown loss says more
            raise ExpressionError(
                gate.written,
                gate.loss.at,
                f"expected an aggregate, such as {name}.mean, or one of {', '.join(COUNTS)}",
            )
        return Check(gate, None)
    if gate.aggregate not in (*AGGREGATES, *OVER_GROUPS):
        close = did_you_mean(gate.aggregate, [*AGGREGATES, *OVER_GROUPS])
        raise ExpressionError(
            gate.written,
            gate.columns["aggregate"],
            f"no aggregate is called {gate.aggregate!r}{close}; there are {', '.join(AGGREGATES)},"
            " and group_mean and so on over groups",
        )
    if gate.aggregate in OVER_GROUPS and not has_groups:
        raise SettingError(f"the gate `{gate.text}` needs --group-by PATTERN")
    column = column_for(gate.loss, columns, gate.written, defaults)
    better = column.better if column else None
    judged = OVER_GROUPS.get(gate.aggregate, gate.aggregate)
    if judged in VALUES and gate.compare in WRONG_SIDE.get(str(better), ()):
        raise ExpressionError(
            gate.written,
            gate.columns["compare"],
            f"{name} is better when {better}, so this would pass the worse results; turn it round",
        )
    return Check(gate, column)


def decide(check: Check, value: float, baseline: Callable[[], float]) -> Decision:
    """Whether the gate holds; an undefined side never does."""
    gate = check.gate
    bound = float(fold(gate.bound, lambda _: baseline()))
    passed = passes(value, gate.compare, bound)
    return Decision(gate.text, value, gate.compare, bound, passed, gate.warn)


def passes(value: float, compare: str, bound: float) -> bool:
    """One comparison of two numbers; undefined fails, infinities compare as numbers."""
    if math.isnan(value) or math.isnan(bound):
        return False
    return COMPARE[compare](value, bound)


def told_apart(value: float, bound: float) -> tuple[str, str]:
    """The bound as it would be written, and the value with the digits that show how it compares.

    There are four digits at least, and one more than the bound has.
    """
    written = shortest(bound)
    first = max(4, len(written.partition("e")[0].strip("-0.").replace(".", "")) + 1)
    for digits in range(min(first, DIGITS), DIGITS + 1):
        text = f"{value:.{digits}g}"
        shown = float(text)
        if (shown < bound, shown > bound) == (value < bound, value > bound):
            break
    return text, written


def shortest(value: float) -> str:
    """A number with no digit more than tells it from its neighbours."""
    return repr(float(value)).removesuffix(".0")
