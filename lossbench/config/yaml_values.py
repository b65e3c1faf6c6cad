"""How a node of YAML becomes the value of a setting, and the JSON Schema of what it may hold.

Scalars are taken as they are written, so that `1e-3` is a number, `off` a word and `012` a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from lossbench.catalog import registry
from lossbench.catalog.columns import resolve
from lossbench.config.yaml_source import (
    YamlSource,
    is_mapping,
    mapping_items,
    nodes_of,
    style,
    text_of,
)
from lossbench.data.planning.classes import parse_classes
from lossbench.data.planning.vocabulary import ROLES
from lossbench.engine.value_types import FLAG, UNBOUNDED, WHOLE, ValueType, path
from lossbench.errors import SettingError, did_you_mean
from lossbench.networks.weights import PUBLISHED
from lossbench.results.gates import as_gate

if TYPE_CHECKING:
    from yaml import Node

NAME = re.compile(r"[^\W\d]\w*")
TEXT = {"type": "string", "minLength": 1}
FOLDER, FILE = path("a folder"), path("a file")
SCALAR = {"type": ["string", "number", "boolean"]}  # a name: what YAML takes a bare word for


def read_value(source: YamlSource, node: Node, of: ValueType) -> Any:
    """The value of a node; the source collects its problems."""
    if not of.many:
        return READERS.get(of.kind, _scalar)(source, node, of)
    if of.kind in ("loss", "gate") and (torn := next(_torn(node), None)):
        source.wrong(
            torn,
            f"YAML ends {str(torn.value)!r} at the comma: inside [ ] or {{ }} quote the"
            " expression, or write a block list, one `- expression` a line",
        )
        return ()
    reader = READERS.get(of.kind, _scalar)
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


def _roles(source: YamlSource, node: Node, of: ValueType) -> dict[str, Any]:
    """Role -> folder; losses name further roles."""
    folders = {}
    for name, role, below in mapping_items(source, node, of.words):
        roles = list(dict.fromkeys([*ROLES, *registry.roles()]))
        if role in roles:
            folders[role] = _path(source, below, FOLDER)
        else:
            near = did_you_mean(role, roles)
            source.wrong(
                name, f"no loss asks for a role {role!r}{near}; there are {', '.join(roles)}"
            )
    return folders


def _weights(source: YamlSource, node: Node, of: ValueType) -> dict[str, Any]:
    """Name of weights -> file."""
    files = {}
    for name, weights, below in mapping_items(source, node, of.words):
        if weights in PUBLISHED:
            files[weights] = _path(source, below, FILE)
        else:
            near = did_you_mean(weights, PUBLISHED)
            known = ", ".join(PUBLISHED)
            source.wrong(name, f"no weights are called {weights!r}{near}; there are {known}")
    return files


def _classes(source: YamlSource, node: Node, of: ValueType) -> Any:
    """A number, names, value -> name, or name -> colour; or a text as `--classes` takes it."""
    if isinstance(node.value, str):
        written = text_of(source, node, of.words)
        if written is None or written.endswith((".yaml", ".yml")):
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
    except SettingError as error:
        source.expression(node, error, len(before))
        named = re.match(r"\s*(\w+)\s*=", expression)
        source.faulty |= {named[1]} if named else set()
    else:
        source.losses.append(expression)
    return expression


def _gate(source: YamlSource, node: Node, of: ValueType) -> str | dict[str, Any] | None:
    """A gate, or one with `warn`."""
    warn = False
    if is_mapping(node):
        items = {key: (name, below) for name, key, below in mapping_items(source, node, "")}
        for key in items.keys() - {"gate", "warn"}:
            source.wrong(items[key][0], f"unknown key {key!r}{did_you_mean(key, ['gate', 'warn'])}")
        if "warn" in items:
            warn = bool(_scalar(source, items["warn"][1], FLAG))
        if "gate" not in items:
            source.wrong(node, f"expected {of.words}, found no 'gate'")
            return None
        node = items["gate"][1]
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
    "roles": _roles,
    "weights": _weights,
    "classes": _classes,
    "loss": _loss,
    "gate": _gate,
}
COLOUR = {
    "type": "array",
    "minItems": 3,
    "maxItems": 3,
    "items": {"type": "integer", "minimum": 0, "maximum": 255},
}
SCHEMAS: dict[str, dict[str, Any]] = {  # of the kinds whose schema is more than that of a scalar
    "flag": {"type": "boolean"},
    "labels": {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "none|[0-9]"}]},
    "roles": {
        "type": "object",
        "properties": dict.fromkeys(ROLES, TEXT),
        "additionalProperties": TEXT,
    },
    "weights": {
        "type": "object",
        "properties": dict.fromkeys(PUBLISHED, TEXT),
        "additionalProperties": False,
    },
    "classes": {
        "anyOf": [
            {"type": "integer", "minimum": 1},
            TEXT,
            {"type": "array", "minItems": 1, "items": SCALAR},
            {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {"anyOf": [SCALAR, COLOUR]},
            },
        ]
    },
    "loss": {
        "anyOf": [
            TEXT,
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "propertyNames": {"pattern": r"^[^\W\d]\w*$"},
                "additionalProperties": TEXT,
            },
        ]
    },
    "gate": {
        "anyOf": [
            TEXT,
            {
                "type": "object",
                "properties": {"gate": TEXT, "warn": {"type": "boolean"}},
                "required": ["gate"],
                "additionalProperties": False,
            },
        ]
    },
}
