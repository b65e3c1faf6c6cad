"""Gates: conditions that decide whether a result is good enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from lossbench.catalog.columns import FLIPPED, Column, Defaults, column_for
from lossbench.catalog.grammar import COMPARE, ExpressionError, Gate, fold, leaves, parse_gate
from lossbench.catalog.ranges import Range, summed, value_range
from lossbench.catalog.tasks import COUNTS, DOUBT_COUNT
from lossbench.errors import SettingError, did_you_mean
from lossbench.results.aggregates import AGGREGATES, COUNTED, OVER_GROUPS, VALUES
from lossbench.results.json_numbers import number

# A comparison that accepts worse results, and the one to write instead, by the better side.
WRONG_SIDE = {"lower": {">": "<", ">=": "<="}, "higher": {"<": ">", "<=": ">="}}
OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
TOLERANCE = 1e-9  # relative, of a bound from a baseline
DIGITS = 17  # significant digits that tell any two floats apart


class Judged(Protocol):
    """A gate together with what it judges."""

    @property
    def gate(self) -> Gate: ...

    @property
    def needs_baseline(self) -> bool: ...

    @property
    def ends(self) -> Range:
        """The ends between which the quantity lies."""


@dataclass(frozen=True)
class Check:
    """A gate together with the column of the run that it judges."""

    gate: Gate
    column: Column | None  # None for a count of the run

    @property
    def needs_baseline(self) -> bool:
        return any(leaves(self.gate.bound))

    @property
    def judged(self) -> str:
        """The aggregate, of samples or of group means."""
        aggregate = str(self.gate.aggregate)
        return OVER_GROUPS.get(aggregate, aggregate)

    @property
    def ends(self) -> Range:
        """The ends between which the quantity lies."""
        if self.column is None or self.judged in COUNTED:
            return 0, math.inf
        low, high = value_range(self.column, of_class=bool(self.gate.of_class))
        if self.judged == "sum":
            return summed((low, high))
        return (0, high - low) if self.judged == "std" else (low, high)

    @property
    def good_end(self) -> float | None:
        """The end of the range at which the best values lie; None without a better direction."""
        better = self.column.better if self.column else None
        return {"lower": self.ends[0], "higher": self.ends[1]}.get(str(better))

    def of_aggregate(self, name: str) -> Check:
        """The same check of another aggregate."""
        return replace(self, gate=replace(self.gate, aggregate=name))


@dataclass(frozen=True)
class GateDecision:
    """The outcome of a gate on the unrounded value, which is nan if undefined."""

    gate: str
    value: float
    compare: str
    bound: float
    passed: bool
    warn: bool = False  # a miss is reported but is not a failure
    tolerance: float = 0  # a relative difference of value and bound up to this one is none
    at_end: bool = False  # the value is the good end, not the end of the interval
    result: str = ""  # the result that is judged, where there are several

    @property
    def tied(self) -> bool:
        """Whether value and bound differ by less than counts."""
        return self.value != self.bound and _close(self.value, self.bound, self.tolerance)

    @property
    def failed(self) -> bool:
        """Whether the run fails because of this gate."""
        return not (self.passed or self.warn)

    def as_json(self) -> dict[str, Any]:
        """The decision as result files hold it."""
        return {
            "gate": self.gate,
            "value": number(self.value),
            "bound": number(self.bound),
            "passed": self.passed,
            **({"warn": True} if self.warn else {}),
            **({"tolerance": self.tolerance} if self.tolerance else {}),
            **({"at_end": True} if self.at_end else {}),
            **({"result": self.result} if self.result else {}),
        }

    def __str__(self) -> str:
        result = f"{self.result}: " if self.result else ""
        remark = "; all values lie at this end, which is judged in place of the interval"
        return result + self._comparison + remark * self.at_end

    @property
    def _comparison(self) -> str:
        """The value and the bound, and how they compare."""
        quantity = self.gate.rpartition(self.compare)[0].strip()
        if math.isnan(self.value):
            wanted = f"{self.compare} {shortest(self.bound)}"
            return f"{quantity} is undefined; the gate requires {wanted}"
        if math.isnan(self.bound):
            return f"{quantity} {shortest(self.value)} has no bound: the baseline is undefined"
        if self.tied:
            numbers = f"{shortest(self.value)} counts as {shortest(self.bound)}"
            return f"{quantity} {numbers}: a relative difference up to {self.tolerance:g} is none"
        relation = self.compare if self.passed else OPPOSITE[self.compare]
        value, bound = comparable_texts(self.value, self.bound)
        return f"{quantity} {value} {relation} {bound}"


def as_gate(setting: str | Mapping[str, Any], verdicts: Sequence[str] = ()) -> Gate:
    """A gate from its setting: a text, or {"gate": text, "warn": true}."""
    if isinstance(setting, str):
        return parse_gate(setting, verdicts)
    warn = setting.get("warn", False)
    text = setting.get("gate")
    if not isinstance(text, str) or not isinstance(warn, bool) or setting.keys() - {"gate", "warn"}:
        raise SettingError(
            f"a gate is a text, or a mapping with 'gate' and 'warn', not {dict(setting)!r}"
        )
    return replace(parse_gate(text, verdicts), warn=warn)


def check(
    gate: Gate,
    columns: Iterable[Column],
    defaults: Defaults,
    *,
    has_baseline: bool,
    has_groups: bool,
) -> Check:
    """Match a gate with the columns of the run, before anything is read."""
    name = gate.loss.name
    if any(leaves(gate.bound)) and not has_baseline:
        raise SettingError(f"the gate `{gate.text}` needs --baseline RUN")
    if gate.aggregate is None:
        if name in (*COUNTS, DOUBT_COUNT) and not (gate.loss.options or gate.of_class):
            return _bounded(Check(gate, None))
        column_for(gate.loss, columns, gate.written, defaults)  # reports an unknown loss first
        counts = ", ".join((*COUNTS, DOUBT_COUNT))
        message = f"expected an aggregate, such as {name}.mean, or one of {counts}"
        raise ExpressionError(gate.written, gate.loss.at, message)
    if gate.aggregate not in (*AGGREGATES, *OVER_GROUPS):
        message = (
            f"no aggregate is called {gate.aggregate!r}"
            f"{did_you_mean(gate.aggregate, [*AGGREGATES, *OVER_GROUPS])}; there are"
            f" {', '.join(AGGREGATES)}, and group_mean etc. over groups"
        )
        raise ExpressionError(gate.written, gate.columns["aggregate"], message)
    if gate.aggregate in OVER_GROUPS and not has_groups:
        raise SettingError(f"the gate `{gate.text}` needs --group-by PATTERN")
    column = column_for(gate.loss, columns, gate.written, defaults)
    better = str(column.better) if column else ""
    judged = OVER_GROUPS.get(gate.aggregate, gate.aggregate)
    instead = WRONG_SIDE.get(better, {}).get(gate.compare)
    if instead and judged in VALUES:
        problem = f"{name} is better when {better}: `{gate.compare}` would accept worse results"
        of_plugins = [term for term in column.terms if term.entry.plugin] if column else []
        declare = "".join(
            f', or declare {term.name} a score: @loss(better="{FLIPPED[better]}") in'
            f" {term.entry.location}"
            for term in of_plugins[:1]
        )
        message = f"{problem}; write `{instead}`{declare}"
        raise ExpressionError(gate.written, gate.columns["compare"], message)
    return _bounded(Check(gate, column))


def _bounded(check: Check) -> Check:
    """The check, whose bound is refused if it is known and cannot fail."""
    if not check.needs_baseline:
        check_bound(check, bound_of(check.gate, math.nan))
    return check


def bound_of(gate: Gate, baseline: float) -> float:
    """The bound of a gate, in which the word baseline stands for a number."""
    return float(fold(gate.bound, lambda _: baseline))


def check_bound(check: Judged, bound: float, of_baseline: str = "") -> None:
    """Refuse a bound that is not finite, or one that no value of the quantity can miss.

    Raises:
        SettingError: it is one of these.
    """
    gate, (low, high) = check.gate, check.ends
    beyond = {"<": bound > high, "<=": bound > high, ">": bound < low, ">=": bound < low}
    beyond["!="] = not low <= bound <= high
    if math.isfinite(bound) and not beyond.get(gate.compare):
        return
    if math.isfinite(bound):
        message = (
            f"this gate cannot fail: {gate.quantity} is {_between(low, high)}, and the bound is"
            f" {shortest(bound)}{of_baseline}; write a bound that is {_between(low, high)}"
        )
    else:
        message = f"the bound is {shortest(bound)}{of_baseline}; write a finite number"
    raise ExpressionError(gate.written, gate.columns["compare"], message)


def _between(low: float, high: float) -> str:
    """A range in words."""
    if math.isinf(high):
        return f"{shortest(low)} or more"
    if math.isinf(low):
        return f"{shortest(high)} or less"
    return f"from {shortest(low)} to {shortest(high)}"


def decide(
    check: Judged, value: float, baseline: Callable[[], float], good_end: float | None = None
) -> GateDecision:
    """Decide a gate; a gate with an undefined value or bound does not pass.

    A value that a bound from the baseline meets but for rounding counts as the bound.

    Args:
        check: the gate and its column.
        value: the quantity that it judges.
        baseline: returns the same quantity of the baseline.
        good_end: judged in place of the value, where all values behind an interval lie there.
    """
    gate, at_end = check.gate, good_end not in (None, value)
    value = value if good_end is None else good_end
    bound = bound_of(gate, baseline() if check.needs_baseline else math.nan)
    tolerance = TOLERANCE if check.needs_baseline else 0
    passed = passes(bound if _close(value, bound, tolerance) else value, gate.compare, bound)
    return GateDecision(gate.text, value, gate.compare, bound, passed, gate.warn, tolerance, at_end)


def _close(value: float, bound: float, tolerance: float) -> bool:
    return math.isclose(value, bound, rel_tol=tolerance)


def passes(value: float, compare: str, bound: float) -> bool:
    """Compare two numbers; an undefined number fails, infinities compare as numbers."""
    return not (math.isnan(value) or math.isnan(bound)) and COMPARE[compare](value, bound)


def comparable_texts(value: float, bound: float) -> tuple[str, str]:
    """The bound as written, and the value with enough digits to show how they compare.

    The value has at least four digits, and one more than the bound.
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
    """A number with the fewest digits that identify it."""
    return repr(float(value)).removesuffix(".0")
