"""Baselines: earlier results that gates may refer to."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from lossbench.catalog.columns import Column
from lossbench.catalog.tasks import DOUBT_COUNT
from lossbench.errors import InputError, SettingError
from lossbench.results.aggregates import OVER_GROUPS
from lossbench.results.gates import Check
from lossbench.results.json_numbers import from_number
from lossbench.results.reader import read_result
from lossbench.results.result import Result, describe_column


def baseline_value(baseline: Mapping[str, Any], check: Check) -> float:
    """The quantity of a gate in an earlier result, which must have the same loss."""
    try:
        if check.column is None and check.gate.loss.name == DOUBT_COUNT:
            return float(sum(not each["accepted"] for each in baseline["run"]["doubts"]))
        path = ["run", "pairs", check.gate.loss.name]
        if check.column is not None:
            of_class = ["classes", check.gate.of_class] if check.gate.of_class else []
            name = _same_loss(baseline["run"]["losses"], check.column)
            aggregate = str(check.gate.aggregate)
            over = ["groups"] if aggregate in OVER_GROUPS else []
            path = ["aggregate", name, *over, *of_class, OVER_GROUPS.get(aggregate, aggregate)]
        value: Any = reduce(lambda table, name: table[name], path, baseline)
        return from_number(value)
    except (KeyError, TypeError, ValueError):
        known = ", ".join(baseline.get("aggregate", {}))
        raise SettingError(f"the baseline has no {check.gate.quantity}; it has {known}") from None


def _same_loss(losses: Sequence[Mapping[str, Any]], column: Column) -> str:
    """The name of the same loss in an earlier result; a KeyError if there is none."""
    wanted = describe_column(column)
    for loss in losses:
        alone = len(loss["terms"]) == 1 and wanted["options"] == loss["options"]
        same = alone or loss["expression"] == wanted["expression"]
        if same and loss["terms"] == wanted["terms"]:
            return str(loss["name"])
    raise KeyError(column.name)


def read_baseline(path: Any) -> Mapping[str, Any]:
    """An earlier result: a Result, or a result file."""
    if isinstance(path, Result):
        return path.as_json(samples=False)
    try:
        return read_result(os.fspath(path))
    except InputError as error:
        raise InputError(f"the baseline {error}", kind=error.kind) from None
