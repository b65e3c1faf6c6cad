"""Check a document against a JSON Schema, as far as the schema of results needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def problem(document: Any, schema: Mapping[str, Any]) -> str | None:
    """The first entry that contradicts a schema, as the end of a sentence; None if all fit."""
    return next(_problems(document, schema, schema["$defs"], ""), None)


def _problems(value: Any, schema: Mapping[str, Any], named: Any, name: str) -> Iterator[str]:
    """Every entry of a value that contradicts a schema; `name` is the path of the value."""
    if "$ref" in schema:
        schema = named[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        if all(any(_problems(value, each, named, name)) for each in schema["anyOf"]):
            yield f"{name} is {value!r:.40}"
        return
    allowed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if allowed is not None and not any(value == each for each in allowed):
        yield f"{name} is {value!r:.40}, expected {' or '.join(map(repr, allowed))}"
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"{name or 'it'} is {value!r:.40}, expected {' or '.join(kinds)}"
    elif isinstance(value, dict):
        for key in schema.get("required", ()):
            if key not in value:
                yield f"{_below(name, key)} is missing"
        others = schema.get("additionalProperties", {})
        for key, each in value.items():
            below = schema.get("properties", {}).get(key, others)
            yield from _problems(each, below, named, _below(name, key))
    elif isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield f"{name} is empty"
        for index, each in enumerate(value):
            yield from _problems(each, schema.get("items", {}), named, f"{name}[{index}]")
    elif _is(value, "number") and value < schema.get("minimum", value):
        yield f"{name} is {value!r}, expected {schema['minimum']} or more"


def _is(value: Any, kind: str) -> bool:
    """Whether a value has a type of JSON; no number is a truth value."""
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _below(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
