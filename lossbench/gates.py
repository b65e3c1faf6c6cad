"""Named decisions: whether a result is good enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lossbench.aggregates import AGGREGATES, VALUES
from lossbench.columns import Column, column_for
from lossbench.errors import SettingError, nearest
from lossbench.expressions import COMPARE, ExpressionError, Gate, fold, leaves

COUNTS = ("found", "evaluated", "missing", "extra", "errors")
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

    def __str__(self) -> str:
        quantity = self.gate.partition(self.compare)[0].strip()
        if math.isnan(self.value):
            return f"{quantity} is undefined, {self.compare} {short(self.bound)} was asked for"
        if math.isnan(self.bound):
            return f"{quantity} {short(self.value)} has no bound: the baseline's is undefined"
        held = self.compare if self.passed else OPPOSITE[self.compare]
        value, bound = told_apart(self.value, self.bound)
        return f"{quantity} {value} {held} {bound}"


OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


def check(
    gate: Gate, columns: Iterable[Column], defaults: Mapping[str, Any], has_baseline: bool
) -> Check:
    """A gate against the columns of the run, before anything is read."""
    name = gate.loss.name
    if gate.aggregate is None:
        if name not in COUNTS or gate.loss.options or gate.of_class:
            column_for(gate.loss, columns, defaults)  # an unknown loss is the better message
            raise ExpressionError(
                gate.text,
                gate.loss.at,
                f"expected an aggregate, such as {name}.mean, or one of {', '.join(COUNTS)}",
            )
        return Check(gate, None)
    if gate.aggregate not in AGGREGATES:
        raise ExpressionError(
            gate.text,
            gate.text.find(f".{gate.aggregate}") + 1,
            f"no aggregate is called {gate.aggregate!r}{nearest(gate.aggregate, AGGREGATES)};"
            f" there are {', '.join(AGGREGATES)}",
        )
    column = column_for(gate.loss, columns, defaults)
    found = Check(gate, column)
    better = column.better if column else None
    if gate.aggregate in VALUES and gate.compare in WRONG_SIDE.get(str(better), ()):
        raise ExpressionError(
            gate.text,
            gate.text.find(gate.compare),
            f"{name} is better when {better}, so this would pass the worse results; turn it round",
        )
    if found.needs_baseline and not has_baseline:
        raise SettingError(f"the gate `{gate.text}` needs --baseline RUN")
    return found


def decide(check: Check, value: float, baseline: Callable[[], float]) -> Decision:
    """Whether the gate holds; an undefined side never does."""
    gate = check.gate
    bound = float(fold(gate.bound, lambda _: baseline()))
    return Decision(gate.text, value, gate.compare, bound, passes(value, gate.compare, bound))


def passes(value: float, compare: str, bound: float) -> bool:
    """One comparison of two numbers; undefined fails, infinities compare as numbers."""
    if math.isnan(value) or math.isnan(bound):
        return False
    return COMPARE[compare](value, bound)


def told_apart(value: float, bound: float) -> tuple[str, str]:
    """Both numbers with as few digits as show that they differ, four at least."""
    for digits in range(4, DIGITS + 1):
        texts = f"{value:.{digits}g}", f"{bound:.{digits}g}"
        if texts[0] != texts[1] or value == bound:
            break
    return texts


def short(value: float) -> str:
    """A bound as it would be written."""
    return f"{value:.{DIGITS}g}" if f"{value:.6g}" != repr(value) else repr(value)
