"""Gates of `lossbench compare`: conditions on the changes from the first result to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lossbench.catalog.grammar import ExpressionError, Gate, leaves, parse_item
from lossbench.catalog.ranges import Range
from lossbench.errors import SettingError, did_you_mean
from lossbench.results.change import VERDICTS, Change
from lossbench.results.gates import (
    WRONG_SIDE,
    GateDecision,
    as_gate,
    bound_of,
    check_bound,
    decide,
)
from lossbench.results.reader import Measured, Model, Quantity, lookup
from lossbench.results.recorded_columns import recorded_range

VERDICT = "verdict"
COUNTS = {"improved": "higher", "worsened": "lower", "equal": None}  # and the better side
P_VALUES = ("p", "p_holm")
NAMES = ("difference", *COUNTS, *P_VALUES, VERDICT)
ANY_COUNT: Range = (0, float("inf"))
PROBABILITY: Range = (0, 1)


@dataclass(frozen=True)
class ChangeCheck:
    """A gate together with the quantity whose change it judges."""

    gate: Gate
    measured: Measured
    ends: Range  # between which the change lies

    @property
    def needs_baseline(self) -> bool:
        return self.gate.aggregate != VERDICT and any(leaves(self.gate.bound))


@dataclass(frozen=True)
class VerdictDecision:
    """The outcome of a gate on a verdict."""

    gate: str
    value: str
    compare: str
    bound: str
    passed: bool
    warn: bool = False
    result: str = ""

    @property
    def failed(self) -> bool:
        """Whether the command fails because of this gate."""
        return not (self.passed or self.warn)

    def as_json(self) -> dict[str, Any]:
        """The decision as a comparison's JSON holds it."""
        model = {"gate": self.gate, "value": self.value, "bound": self.bound, "passed": self.passed}
        optional = {"warn": self.warn, "result": self.result}
        return {**model, **{name: value for name, value in optional.items() if value}}

    def __str__(self) -> str:
        quantity = self.gate.rpartition(self.compare)[0].strip()
        wanted = "" if self.passed else f"; the gate requires {self.compare} {self.bound}"
        of = f"{self.result}: " if self.result else ""
        return f"{of}{quantity} is {self.value}{wanted}"


Decision = GateDecision | VerdictDecision


def parse(gate: str | Mapping[str, Any]) -> Gate:
    """A gate from its setting: a text, or {"gate": text, "warn": true}."""
    return as_gate(gate, VERDICTS)


def check(gate: Gate, losses: Mapping[str, Model], known: Mapping[str, Measured]) -> ChangeCheck:
    """Match a gate with a quantity of the results, before samples are read.

    Args:
        gate: the gate.
        losses: the losses that all results have, as the first one describes them.
        known: the quantities that can be compared.

    Raises:
        SettingError: there is no such quantity, or the gate cannot judge it.
    """
    name = gate.loss.name
    if gate.aggregate not in NAMES:
        message = (
            f"expected one of {', '.join(NAMES)} after the loss, as in {name}.difference"
            if gate.aggregate is None
            else f"compare has no {gate.aggregate!r}{did_you_mean(gate.aggregate, NAMES)};"
            f" there are {', '.join(NAMES)}"
        )
        at = gate.loss.at if gate.aggregate is None else gate.columns["aggregate"]
        raise ExpressionError(gate.written, at, message)
    column = _column(gate, losses)
    measured = lookup(str(Quantity(column, gate.of_class)), known, "all results")
    side = {**COUNTS, "difference": measured.better}.get(gate.aggregate)
    if measured.better is None and COUNTS.get(gate.aggregate):
        raise SettingError(
            f"the gate `{gate.text}` needs a loss with a better side, and {measured.name} has none;"
            " gate its difference or equal"
        )
    if instead := WRONG_SIDE.get(side or "", {}).get(gate.compare):
        reason = f"{name} is better when {side}"
        if gate.aggregate in COUNTS:
            better = "better" if side == "higher" else "worse"
            reason = f"more {gate.aggregate} images are {better}"
        message = f"{reason}: `{gate.compare}` would accept worse results; write `{instead}`"
        raise ExpressionError(gate.written, gate.columns["compare"], message)
    checked = ChangeCheck(gate, measured, _ends(gate, losses[column]))
    if checked.needs_baseline and gate.aggregate != "difference":
        raise SettingError(
            f"the gate `{gate.text}` cannot name baseline, which is the mean of the first result;"
            " only a difference can be compared with it"
        )
    if gate.aggregate != VERDICT and not checked.needs_baseline:
        check_bound(checked, bound_of(gate, 0))
    return checked


def judge(checked: ChangeCheck, change: Change, p_holm: float, result: str) -> Decision:
    """Decide a gate.

    Args:
        checked: the gate.
        change: the change of its quantity.
        p_holm: the adjusted p-value of this change.
        result: what messages call the result; empty if there is only one.
    """
    gate, name = checked.gate, str(checked.gate.aggregate)
    if name == VERDICT:
        (word,) = leaves(gate.bound)
        value = change.verdict(p_holm)
        passed = (value == word.name) == (gate.compare == "==")
        return VerdictDecision(gate.text, value, gate.compare, word.name, passed, gate.warn, result)
    values = {"difference": change.aggregates["mean"], "p": change.p, "p_holm": p_holm}
    first = change.means[0]
    if checked.needs_baseline:
        check_bound(checked, bound_of(gate, first), f", where the first result has {first:g}")
    numbers = {**values, **change.counts}
    return replace(decide(checked, numbers[name], lambda: first), result=result)


def _column(gate: Gate, losses: Mapping[str, Model]) -> str:
    """The column that a gate names, by its name or by an equal expression."""
    if gate.loss.name in losses and not gate.loss.options:
        return gate.loss.name
    equal = (
        name for name, loss in losses.items() if parse_item(loss["expression"]).node == gate.loss
    )
    return next(equal, gate.quantity.rpartition(".")[0].partition("[")[0])


def _ends(gate: Gate, loss: Model) -> Range:
    """The ends between which the value of a gate lies."""
    if gate.aggregate in COUNTS:
        return ANY_COUNT
    if gate.aggregate in P_VALUES:
        return PROBABILITY
    low, high = recorded_range(loss, of_class=bool(gate.of_class))
    return low - high, high - low
