"""The JSON Schema of the result file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossbench.catalog.tasks import COUNTS
from lossbench.output.sections import COUNTED
from lossbench.results.aggregates import AGGREGATES, OVER_GROUPS
from lossbench.results.result import SCHEMA

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TEXT = {"type": "string"}
WHOLE = {"type": "integer", "minimum": 0}
ANYTHING: dict[str, Any] = {"type": "object"}
MAYBE_TEXT = {"type": ["string", "null"]}
NUMBER = {"$ref": "#/$defs/number"}
TABLE = {"$ref": "#/$defs/aggregates"}


def result_schema() -> dict[str, Any]:
    """The schema that every result file of this version satisfies; later versions only add keys."""
    # An undefined value is null, because JSON has no NaN.
    number = {"anyOf": [{"type": ["number", "null"]}, {"enum": ["Infinity", "-Infinity"]}]}
    over_groups = _table(OVER_GROUPS.values())
    return {
        "$schema": DIALECT,
        "title": "A result of lossbench",
        **_object(
            {
                "schema": {"const": SCHEMA},
                "session": _session(),
                "run": _run(),
                "aggregate": _by_name(TABLE),
                "samples": {"type": "array", "items": {"$ref": "#/$defs/sample"}},
                "pooled": ANYTHING,
                "gates": {"type": "array", "items": _gate()},
                "errors": {"type": "array", "items": _error()},
            },
            {"groups": _by_name(_by_name(TABLE)), "conventions": ANYTHING, "shard": ANYTHING},
        ),
        "$defs": {
            "number": number,
            "aggregates": _object(
                dict(_table(AGGREGATES)),
                {
                    "classes": _by_name(_object(dict(_table(AGGREGATES)))),
                    "groups": _object(
                        dict(over_groups), {"classes": _by_name(_object(dict(over_groups)))}
                    ),
                },
            ),
            "sample": {
                **_object({"id": TEXT}, {"group": TEXT, "classes": _by_name(_by_name(NUMBER))}),
                "additionalProperties": NUMBER,
            },
        },
    }


def _session() -> dict[str, Any]:
    return _object(
        {
            "lossbench": TEXT,
            "started": {"type": "string", "format": "date-time"},
            "seconds": {"type": "number", "minimum": 0},
            "device": TEXT,
            "workers": {"type": "integer", "minimum": 1},
            "versions": _by_name(TEXT),
        }
    )


def _run() -> dict[str, Any]:
    loss = {
        "name": TEXT,
        "expression": TEXT,
        "options": ANYTHING,
        "revision": {"type": "integer", "minimum": 1},
        "better": {"enum": ["lower", "higher", None]},
        "definition": TEXT,
        "terms": {"type": "array", "items": _object({"loss": TEXT, "options": ANYTHING})},
    }
    plan = {
        "text": TEXT,
        "task": TEXT,
        "pred": TEXT,
        "target": TEXT,
        "counted": {"type": "boolean"},
    }
    return _object(
        {
            "pred": MAYBE_TEXT,
            "target": MAYBE_TEXT,
            "inputs": _by_name(MAYBE_TEXT),
            "plan": _object(plan),
            "settings": ANYTHING,
            "convention": TEXT,
            "classes": {"type": "array", "items": TEXT},
            "pairs": _object({"digest": TEXT, **dict.fromkeys(COUNTS, WHOLE)}),
            "losses": {"type": "array", "items": _object(loss)},
        }
    )


def _gate() -> dict[str, Any]:
    required = {"gate": TEXT, "value": NUMBER, "bound": NUMBER, "passed": {"type": "boolean"}}
    return _object(required, {"warn": {"const": True}})


def _error() -> dict[str, Any]:
    maybe = dict.fromkeys(("role", "file", "loss"), MAYBE_TEXT)
    return _object({"id": TEXT, **maybe, "kind": TEXT, "error": TEXT})


def _table(names: Any) -> dict[str, Any]:
    """Aggregates, some of which are counts."""
    return {name: WHOLE if name in COUNTED else NUMBER for name in names}


def _object(
    required: Mapping[str, Any], optional: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """An object with these keys; a later version may add others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


def _by_name(each: Mapping[str, Any]) -> dict[str, Any]:
    """An object whose keys are names chosen by the user."""
    return {"type": "object", "additionalProperties": each}
