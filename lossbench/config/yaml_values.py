"""How a node of YAML becomes the value of a setting, and the JSON Schema of what it may hold.

Scalars are taken as they are written, so that `1e-3` is a number, `off` a word and `012` a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from lossbench.catalog.columns import resolve
from lossbench.config.yaml_source import (
    YamlSource,
    is_mapping,
    mapping_items,
    nodes_of,
    style,
    text_of,
)
from lossbench.data.planning.classes import is_file, parse_classes
from lossbench.data.planning.vocabulary import ROLES
from lossbench.engine.settings import known_roles
from lossbench.engine.value_types import FLAG, UNBOUNDED, WHOLE, ValueType, path
from lossbench.errors import SettingError, did_you_mean
from lossbench.networks.weights import PUBLISHED
from lossbench.results.gates import as_gate

if TYPE_CHECKING:
    from yaml import Node

NAME = re.compile(r"[^\W\d]\w*")
TEXT = {"type": "string", "minLength": 1}
SCALAR = {"type": ["string", "number", "boolean"]}  # a name: what YAML takes a bare word for


def read_value(source: YamlSource, node: Node, of: ValueType) -> Any:
    """The value of a node; the source collects its problems."""
    reader = READERS.get(of.kind, _scalar)
    if not of.many:
        return reader(source, node, of)
    if of.kind in ("loss", "gate") and (torn := next(_torn(node), None)):
        source.wrong(
            torn,
            f"YAML ends {str(torn.value)!r} at the comma: inside [ ] or {{ }} quote the"
            " expression, or write a block list, one `- expression` a line",
        )
        return ()
    values = (reader(source, each, of) for each in nodes_of(node))
    return tuple(each for each in values if each is not None)  # None: a value with a problem


def value_schema(of: ValueType) -> dict[str, Any]:
    """The JSON Schema of a value."""
    schema = SCHEMAS.get(of.kind) or _scalar_schema(of)
    return {"anyOf": [schema, {"type": "array", "items": schema}]} if of.many else schema


def _scalar_schema(of: ValueType) -> dict[str, Any]:
    if of.kind == "choice":
        return {"enum": list(of.choices)}
    if of.pattern:
        return {"type": "string", "pattern": f"^(?:{of.pattern})$"}
    if of.kind not in ("number", "whole"):
        return TEXT
    schema: dict[str, Any] = {"type": "integer" if of.kind == "whole" else "number"}
    bounds = {"minimum": of.low, "maximum": of.high}
    schema |= {name: bound for name, bound in bounds.items() if abs(bound) != UNBOUNDED}
    return {"anyOf": [*({"const": word} for word in of.choices), schema]} if of.choices else schema


def _scalar(source: YamlSource, node: Node, of: ValueType) -> Any:
    """The value of one text."""
    text = text_of(source, node, of.words)
    try:
        return None if text is None else of.parse(text)
    except ValueError as error:
        source.wrong(node, f"expected {of.words}, found {text!r}{error}")


def _path(source: YamlSource, node: Node, of: ValueType) -> str | None:
    """A path relative to the file of the config; `-` stays."""
    written = text_of(source, node, of.words)
    return source.path(written) if written not in (None, "-") else written


def _paths_by_name(source: YamlSource, node: Node, of: ValueType) -> dict[str, Any]:
    """Role -> folder, or name of weights -> file."""
    item, known, unknown = path("a folder"), known_roles(), "no loss asks for a role"
    if of.kind == "weights":
        item, known, unknown = path("a file"), tuple(PUBLISHED), "no weights are called"
    paths = {}
    for at, name, below in mapping_items(source, node, of.words):
        if name in known:
            paths[name] = _path(source, below, item)
        else:
            near = did_you_mean(name, known)
            source.wrong(at, f"{unknown} {name!r}{near}; there are {', '.join(known)}")
    return paths


def _classes(source: YamlSource, node: Node, of: ValueType) -> Any:
    """A number, names, value -> name, or name -> colour; or a text as `--classes` takes it."""
    if isinstance(node.value, str):
        written = text_of(source, node, of.words)
        if written is None or is_file(written):
            return written and source.path(written)  # a file, which is read with the others
        classes: Any = int(written) if WHOLE.fullmatch(written) else written
    else:
        classes = _plain(source, node)
    try:
        parse_classes(classes)
    except SettingError as error:
        source.wrong(node, str(error))
    return classes


def _plain(source: YamlSource, node: Node) -> Any:
    """Lists and mappings of texts."""
    if isinstance(node.value, str):
        return text_of(source, node, "a name or a number") or ""
    if is_mapping(node):
        items = mapping_items(source, node, "")
        return {key: _plain(source, below) for _, key, below in items}
    return [text_of(source, each, "a name or a number") or "" for each in node.value]


def _loss(source: YamlSource, node: Node, of: ValueType) -> str | None:
    """An expression, or one after its name: `seg: 0.5*dice + 0.5*bce`."""
    name = ""
    if is_mapping(node):
        items = list(mapping_items(source, node, ""))
        if len(items) != 1:
            source.wrong(node, f"expected {of.words}, found {len(items)} names")
            return None
        key, name, node = items[0]
        if not NAME.fullmatch(name):
            source.wrong(key, f"a loss cannot be called {name!r}: expected a word")
            return None
    written = text_of(source, node, of.words)
    if written is None:
        return None
    before = f"{name} = " if name else ""
    expression = f"{before}{written}"
    try:
        resolve([*source.losses, expression], {})
        source.losses.append(expression)
    except SettingError as error:
        source.expression(node, error, len(before))
        named = re.match(r"\s*(\w+)\s*=", expression)
        source.faulty |= {named[1]} if named else set()
    return expression


def _gate(source: YamlSource, node: Node, of: ValueType) -> str | dict[str, Any] | None:
    """A gate, or one with `warn`."""
    warn = False
    if is_mapping(node):
        parts: dict[str, Node] = {}
        for at, key, below in mapping_items(source, node, ""):
            parts[key] = below
            if key not in WARNING:
                source.wrong(at, f"unknown key {key!r}{did_you_mean(key, WARNING)}")
        if "warn" in parts:
            warn = bool(_scalar(source, parts["warn"], FLAG))
        if "gate" not in parts:
            source.wrong(node, f"expected {of.words}, found no 'gate'")
            return None
        node = parts["gate"]
    written = text_of(source, node, of.words)
    if written is None:
        return None
    try:
        source.gates.append((node, as_gate(written)))
    except SettingError as error:
        source.expression(node, error)
    return {"gate": written, "warn": True} if warn else written


def _torn(node: Node) -> Iterator[Node]:
    """Expressions that YAML's flow style cut at a comma: scalars with an open bracket."""
    if isinstance(node.value, str):
        if node.value.count("(") != node.value.count(")") and not style(node):
            yield node
        return
    for each in node.value:
        for part in each if isinstance(each, tuple) else (each,):
            if style(node) or not isinstance(part.value, str):
                yield from _torn(part)


READERS: dict[str, Callable[[YamlSource, Node, ValueType], Any]] = {
    "path": _path,
    "roles": _paths_by_name,
    "weights": _paths_by_name,
    "classes": _classes,
    "loss": _loss,
    "gate": _gate,
}


def _mapping(values: Any, **constraints: Any) -> dict[str, Any]:
    """The schema of a mapping whose further values have a schema; False forbids further keys."""
    return {"type": "object", **constraints, "additionalProperties": values}


BYTE = {"type": "integer", "minimum": 0, "maximum": 255}
COLOUR = {"type": "array", "minItems": 3, "maxItems": 3, "items": BYTE}
CLASS = {"anyOf": [SCALAR, COLOUR]}
NAMED = {"propertyNames": {"pattern": rf"^{NAME.pattern}$"}}
WARNING = {"gate": TEXT, "warn": {"type": "boolean"}}
SCHEMAS: dict[str, dict[str, Any]] = {  # of the kinds whose schema is more than that of a scalar
    "flag": {"type": "boolean"},
    "labels": {"anyOf": [{"type": "number"}, {"type": "string", "pattern": "none|nan|[0-9]"}]},
    "roles": _mapping(TEXT, properties=dict.fromkeys(ROLES, TEXT)),
    "weights": _mapping(False, properties=dict.fromkeys(PUBLISHED, TEXT)),
    "classes": {
        "anyOf": [
            {"type": "integer", "minimum": 1},
            TEXT,
            {"type": "array", "minItems": 1, "items": SCALAR},
            _mapping(CLASS, minProperties=1),
        ]
    },
    "loss": {"anyOf": [TEXT, _mapping(TEXT, minProperties=1, maxProperties=1, **NAMED)]},
    "gate": {"anyOf": [TEXT, _mapping(False, properties=WARNING, required=["gate"])]},
}
