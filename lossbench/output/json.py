"""JSON: the result file, with every digit, as one object."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lossbench.results.comparison import TOP, Comparison
from lossbench.results.result import Result

if TYPE_CHECKING:
    from lossbench.results.trend import Trend

AFTER_SAMPLES = "pooled"  # the member before which the samples are written
ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def render_result(result: Result, *, per_class: bool | None = None) -> str:
    """The text of the result file: one line per sample, and per object without nested values.

    Args:
        result: the result of a run.
        per_class: False omits class columns.
    """
    with_classes = per_class is not False
    members = []
    for key, value in result.as_json(with_classes, samples=False).items():
        if key == AFTER_SAMPLES:
            rows = map(ENCODER.encode, result.rows(with_classes))
            members.append(f'"samples": {_nested("[", rows, "]", 2)}')
        members.append(f'"{key}": {_text(value, 2)}')
    return _nested("{", members, "}", 1) + "\n"


def render_comparison(comparison: Comparison, *, top: int | None = TOP) -> str:
    """Every number except the values of the samples; of these, `top` changed most."""
    model = comparison.as_json(top)
    return json.dumps(model, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def render_trend(trend: Trend) -> str:
    """Every number of a trend."""
    return json.dumps(trend.as_json(), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def render_speed(report: Any) -> str:
    """Every number that `lossbench speed` measured."""
    return json.dumps(report.as_json(), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def render_thresholds(thresholds: Any) -> str:
    """Every number except the values of the samples."""
    return _text(thresholds.as_json(), 1) + "\n"


def _text(value: Any, depth: int) -> str:
    """JSON with a line for each value that has no nested values."""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not any(isinstance(each, dict | list) for each in values):
        return ENCODER.encode(value)
    if isinstance(value, list):
        return _nested("[", (_text(each, depth + 1) for each in value), "]", depth)
    members = (f"{ENCODER.encode(key)}: {_text(each, depth + 1)}" for key, each in value.items())
    return _nested("{", members, "}", depth)


def _nested(start: str, members: Iterable[str], end: str, depth: int) -> str:
    """Members on their own lines, indented by one more blank than the enclosing value."""
    line = "\n" + " " * depth
    inside = f",{line}".join(members)
    return f"{start}{line}{inside}{line[:-1]}{end}" if inside else start + end


def render_inspection(inspection: Any) -> str:
    """What `lossbench inspect` found, with every digit."""
    return json.dumps(inspection.as_json(), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def render_stress(stress: Any) -> str:
    """What losses answered to damages, with every digit."""
    return json.dumps(stress.as_json(), ensure_ascii=False, allow_nan=False, indent=1) + "\n"
