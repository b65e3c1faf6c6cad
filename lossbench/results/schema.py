"""The JSON Schema of the result file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lossbench.catalog.tasks import COUNTS, DOUBTS
from lossbench.results.aggregates import AGGREGATES, COUNTED, LATER, OVER_GROUPS
from lossbench.results.intervals import METHODS
from lossbench.results.result import SCHEMA

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TEXT = {"type": "string"}
WHOLE = {"type": "integer", "minimum": 0}
FROM_1 = {"type": "integer", "minimum": 1}
YES_OR_NO = {"type": "boolean"}
TRUE = {"const": True}
ANYTHING: dict[str, Any] = {"type": "object"}
MAYBE_NUMBER = {"type": ["number", "null"]}
VALUE = {"type": "array", "items": {"type": ["number", "string"]}, "minItems": 2}
MAYBE_TEXT = {"type": ["string", "null"]}
NUMBER = {"$ref": "#/$defs/number"}
TABLE = {"$ref": "#/$defs/aggregates"}


def result_schema() -> dict[str, Any]:
    """The schema that every result file of this version satisfies; later versions only add keys."""
    session = {
        "lossbench": TEXT,
        "started": {"type": "string", "format": "date-time"},
        "seconds": {"type": "number", "minimum": 0},
        "device": TEXT,
        "workers": FROM_1,
        "versions": _by_name(TEXT),
    }
    identity = {
        "task": TEXT,
        "classes": _list(TEXT),
        "values": _list(VALUE),
        "ignored": _list(TEXT),
        "roles": _list(TEXT),
        "encoding": TEXT,
        "threshold": MAYBE_NUMBER,
        "scale": MAYBE_NUMBER,
        "divisor": MAYBE_NUMBER,
        "things": {"type": ["array", "null"], "items": TEXT},
        "spacing": MAYBE_TEXT,
        "pred": TEXT,
    }
    plan = {
        "text": TEXT,
        "task": TEXT,
        "pred": TEXT,
        "target": TEXT,
        "counted": YES_OR_NO,
    }
    loss = {
        "name": TEXT,
        "expression": TEXT,
        "options": ANYTHING,
        "revision": FROM_1,
        "better": {"enum": ["lower", "higher", None]},
        "definition": TEXT,
        "terms": _list(_object({"loss": TEXT, "options": ANYTHING})),
    }
    interval = {"enum": list(METHODS)}
    backend = {"enum": ["numpy", "torch", "mixed"]}
    run = {
        "pred": MAYBE_TEXT,
        "target": MAYBE_TEXT,
        "inputs": _by_name(MAYBE_TEXT),
        "plan": _object(plan, identity=_object({}, **identity)),
        "settings": _object({"manifest": MAYBE_TEXT}),
        "convention": TEXT,
        "classes": _list(TEXT),
        "pairs": _object({"digest": TEXT, **dict.fromkeys(COUNTS, WHOLE)}, truth=TEXT),
        "losses": {**_list(_object(loss, interval=interval, backend=backend)), "minItems": 1},
    }
    doubt = {
        "kind": {"enum": list(DOUBTS)},
        "message": TEXT,
        "count": WHOLE,
        "accepted": YES_OR_NO,
    }
    gate = {"gate": TEXT, "value": NUMBER, "bound": NUMBER, "passed": YES_OR_NO}
    maybe = dict.fromkeys(("role", "file", "loss"), MAYBE_TEXT)
    error = {"id": TEXT, **maybe, "kind": TEXT, "error": TEXT}
    result = {
        "schema": {"const": SCHEMA},
        "session": _object(session),
        "run": _object(run, doubts=_list(_object(doubt))),
        "aggregate": _by_name(TABLE),
        "samples": _list({"$ref": "#/$defs/sample"}),
        "pooled": ANYTHING,
        "gates": _list(_object(gate, warn=TRUE, at_end=TRUE, tolerance={"type": "number"})),
        "errors": _list(_object(error)),
    }
    shard = {
        "index": FROM_1,
        "of": FROM_1,
        "pairs": _object({"count": WHOLE, "digest": TEXT}),
        "plan": ANYTHING,
        "losses": _list(TEXT),
        "unpaired": _list(ANYTHING),
        "ids": _list(TEXT),
        "groups": _by_name(TEXT),
        "part": TEXT,
    }
    optional = {
        "groups": _by_name(_by_name(TABLE)),
        "conventions": ANYTHING,
        "shard": _object(shard),
    }
    sample = _object({"id": TEXT}, group=TEXT, classes=_by_name(_by_name(NUMBER)))
    of_class, of_group_class = _table(AGGREGATES), _table(OVER_GROUPS.values())
    of_groups = _table(OVER_GROUPS.values(), classes=_by_name(of_group_class))
    # An undefined value is null, because JSON has no NaN.
    number = {"anyOf": [{"type": ["number", "null"]}, {"enum": ["Infinity", "-Infinity"]}]}
    return {
        "$schema": DIALECT,
        "title": "A result of lossbench",
        **_object(result, **optional),
        "$defs": {
            "number": number,
            "aggregates": _table(AGGREGATES, classes=_by_name(of_class), groups=of_groups),
            "sample": {**sample, "additionalProperties": NUMBER},
        },
    }


def _table(names: Iterable[str], **optional: Any) -> dict[str, Any]:
    """Aggregates, some of which are counts; those that older versions lack are optional."""
    numbers = {name: WHOLE if name in COUNTED else NUMBER for name in names}
    later = {name: numbers.pop(name) for name in LATER}
    return _object(numbers, **later, **optional)


def _list(each: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": each}


def _object(required: Mapping[str, Any], **optional: Any) -> dict[str, Any]:
    """An object with these keys; a later version may add others."""
    properties = {**required, **optional}
    return {"type": "object", "properties": properties, "required": list(required)}


def _by_name(each: Mapping[str, Any]) -> dict[str, Any]:
    """An object whose keys are names chosen by the user."""
    return {"type": "object", "additionalProperties": each}
