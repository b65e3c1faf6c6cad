"""The result file: everything, with every digit; as one object, or as a line for each sample."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain
from typing import Any

from lossbench.results.result import Result

FIRST = ("schema", "session", "run")
REST = "pooled"  # what follows the samples in the one object
ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def render_json(result: Result, *, per_class: bool | None = None) -> str:
    """The result file's text: a line for each sample, and for what holds but words and numbers.

    Args:
        result: what a run found.
        per_class: False leaves class columns out.
    """
    each = per_class is not False
    members = []
    for key, value in result.as_json(each, samples=False).items():
        if key == REST:
            rows = map(ENCODER.encode, result.rows(each))
            members.append(f'"samples": {_within("[", rows, "]", 2)}')
        members.append(f'"{key}": {_text(value, 2)}')
    return _within("{", members, "}", 1) + "\n"


def render_jsonl(result: Result, *, per_class: bool | None = None) -> str:
    """The same as JSON Lines: the run first, then each sample, then all that follows from them.

    Args:
        result: what a run found.
        per_class: False leaves class columns out.
    """
    each = per_class is not False
    model = result.as_json(each, samples=False)
    first = {key: model.pop(key) for key in FIRST}
    lines = chain([first], result.rows(each), [model])
    return "".join(f"{ENCODER.encode(line)}\n" for line in lines)


def _text(value: Any, depth: int) -> str:
    """JSON in which a line holds what has no parts of its own."""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not {dict, list} & set(map(type, values)):
        return ENCODER.encode(value)
    if isinstance(value, list):
        return _within("[", (_text(each, depth + 1) for each in value), "]", depth)
    members = (f"{ENCODER.encode(key)}: {_text(each, depth + 1)}" for key, each in value.items())
    return _within("{", members, "}", depth)


def _within(start: str, members: Iterable[str], end: str, depth: int) -> str:
    """Members on lines of their own, a blank deeper than what is around them."""
    line = "\n" + " " * depth
    inside = f",{line}".join(members)
    return f"{start}{line}{inside}{line[:-1]}{end}" if inside else start + end
