"""What a setting can be: in words, as JSON Schema, and how a node of YAML becomes its value.

Scalars are taken as they are written, so that `1e-3` is a number, `off` a word and `012` a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

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
from lossbench.errors import SettingError, did_you_mean, either
from lossbench.networks.weights import PUBLISHED
from lossbench.results.gates import as_gate

if TYPE_CHECKING:
    from yaml import Node

NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
WHOLE = re.compile(r"0|[1-9]\d{0,17}", re.ASCII)
NAME = re.compile(r"[^\W\d]\w*")
TEXT = {"type": "string", "minLength": 1}
SCALAR = {"type": ["string", "number", "boolean"]}  # a name: what YAML takes a bare word for


@dataclass(frozen=True)
class ValueType:
    """What a setting can be.

    Attributes:
        words: for messages, after `expected`.
        schema: for editors.
        read: a node's value; problems are left with the source.
        shape: how an environment variable is taken apart.
    """

    words: str
    schema: Mapping[str, Any]
    read: Callable[[YamlSource, Node], Any]
    shape: Literal["one", "list", "mapping"] = "one"


def scalar(words: str, schema: Mapping[str, Any], read: Callable[[str], Any]) -> ValueType:
    """One text as it is written; `read` raises ValueError where it is something else."""

    def value(source: YamlSource, node: Node) -> Any:
        text = text_of(source, node, words)
        try:
            return None if text is None else read(text)
        except ValueError as error:
            source.wrong(node, f"expected {words}, found {text!r}{error}")

    return ValueType(words, schema, value)


def choice(*allowed: str) -> ValueType:
    """One of several words."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(did_you_mean(text, allowed))
        return text

    return scalar(either(allowed), {"enum": list(allowed)}, read)


def number(low: float, high: float) -> ValueType:
    """A number within bounds, both included."""

    def read(text: str) -> float:
        if not NUMBER.fullmatch(text) or not low <= float(text) <= high:
            raise ValueError
        return float(text)

    schema = {"type": "number", "minimum": low, "maximum": high}
    return scalar(f"a number from {low:g} to {high:g}", schema, read)


def whole(least: int, word: str = "") -> ValueType:
    """A whole number, or a word that stands for None."""

    def read(text: str) -> int | None:
        if word and text == word:
            return None
        if not WHOLE.fullmatch(text) or int(text) < least:
            raise ValueError
        return int(text)

    schema: dict[str, Any] = {"type": "integer", "minimum": least}
    words = f"a whole number from {least}"
    if word:
        return scalar(f"{word} or {words}", {"anyOf": [{"const": word}, schema]}, read)
    return scalar(words, schema, read)


def number_or(word: str) -> ValueType:
    """Any finite number, or a word."""

    def read(text: str) -> float | str:
        if text != word and (not NUMBER.fullmatch(text) or abs(float(text)) == float("inf")):
            raise ValueError
        return text if text == word else float(text)

    return scalar(f"{word} or a number", {"anyOf": [{"const": word}, {"type": "number"}]}, read)


def matching(pattern: str, words: str) -> ValueType:
    """A text that a regular expression describes."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return scalar(words, {"type": "string", "pattern": f"^(?:{pattern})$"}, read)


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


TRUTH = scalar("true or false", {"type": "boolean"}, _truth)


def text(words: str) -> ValueType:
    """Any text, taken as it is."""
    return scalar(words, TEXT, str)


def path(words: str) -> ValueType:
    """A path, relative to the file that it is written in; `-` stays."""

    def read(source: YamlSource, node: Node) -> str | None:
        written = text_of(source, node, words)
        return source.path(written) if written not in (None, "-") else written

    return ValueType(words, TEXT, read)


def several(item: ValueType) -> ValueType:
    """One, or a list of them."""

    def read(source: YamlSource, node: Node) -> tuple[Any, ...]:
        found = (item.read(source, each) for each in nodes_of(node))
        return tuple(each for each in found if each is not None)  # what is wrong is none

    schema = {"anyOf": [item.schema, {"type": "array", "items": item.schema}]}
    return ValueType(f"{item.words} or a list", schema, read, "list")


def folders(of_every_loss: Sequence[str]) -> ValueType:
    """Role -> folder; losses name further roles."""
    words = "a mapping of roles to folders"

    def read(source: YamlSource, node: Node) -> dict[str, Any]:
        found = {}
        for name, role, below in mapping_items(source, node, words):
            roles = list(dict.fromkeys([*of_every_loss, *registry.roles()]))
            if role in roles:
                found[role] = path("a folder").read(source, below)
            else:
                known = ", ".join(roles)
                near = did_you_mean(role, roles)
                source.wrong(name, f"no loss asks for a role {role!r}{near}; there are {known}")
        return found

    properties = dict.fromkeys(of_every_loss, TEXT)
    schema = {"type": "object", "properties": properties, "additionalProperties": TEXT}
    return ValueType(words, schema, read, "mapping")


def _files(source: YamlSource, node: Node) -> dict[str, Any]:
    """Name of weights -> file."""
    found = {}
    for name, weights, below in mapping_items(source, node, FILES.words):
        if weights in PUBLISHED:
            found[weights] = path("a file").read(source, below)
        else:
            near = did_you_mean(weights, PUBLISHED)
            known = ", ".join(PUBLISHED)
            source.wrong(name, f"no weights are called {weights!r}{near}; there are {known}")
    return found


FILES = ValueType(
    "a mapping of weights to files",
    {
        "type": "object",
        "properties": dict.fromkeys(PUBLISHED, TEXT),
        "additionalProperties": False,
    },
    _files,
    "mapping",
)


def _classes(source: YamlSource, node: Node) -> Any:
    """A number, names, value -> name, or name -> colour; or a text as `--classes` takes it."""
    if isinstance(node.value, str):
        written = text_of(source, node, CLASSES.words)
        if written is None or written.endswith((".yaml", ".yml")):
            return written and source.path(written)  # a file, which is read with the others
        given: Any = int(written) if WHOLE.fullmatch(written) else written
    else:
        given = _plain(source, node)
    try:
        parse_classes(given)
    except SettingError as error:
        source.wrong(node, str(error))
    return given


def _plain(source: YamlSource, node: Node) -> Any:
    """Lists and mappings of texts."""
    if isinstance(node.value, str):
        return text_of(source, node, "a name or a number") or ""
    if is_mapping(node):
        found = mapping_items(source, node, "")
        return {key: _plain(source, below) for _, key, below in found}
    return [text_of(source, each, "a name or a number") or "" for each in node.value]


CLASSES = ValueType(
    "a number, names, {value: name} or {name: [r, g, b]}",
    {
        "anyOf": [
            {"type": "integer", "minimum": 1},
            TEXT,
            {"type": "array", "minItems": 1, "items": SCALAR},
            {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {
                    "anyOf": [
                        SCALAR,
                        {
                            "type": "array",
                            "minItems": 3,
                            "maxItems": 3,
                            "items": {"type": "integer", "minimum": 0, "maximum": 255},
                        },
                    ]
                },
            },
        ]
    },
    _classes,
)

LABEL = r"-?\d+(\s*-\s*\d+)?"
_LABELS = matching(rf"(?i:none)|{LABEL}(\s*,\s*{LABEL})*", "a label, a range 250-255, or none")
IGNORE = several(
    ValueType(
        _LABELS.words,
        {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "none|[0-9]"}]},
        _LABELS.read,
    )
)


def _loss(source: YamlSource, node: Node) -> str | None:
    """An expression, or one after its name: `seg: 0.5*dice + 0.5*bce`."""
    name = ""
    if is_mapping(node):
        found = list(mapping_items(source, node, ""))
        if len(found) != 1:
            source.wrong(node, f"expected {LOSS.words}, found {len(found)} names")
            return None
        key, name, node = found[0]
        if not NAME.fullmatch(name):
            source.wrong(key, f"a loss cannot be called {name!r}: expected a word")
            return None
    written = text_of(source, node, LOSS.words)
    if written is None:
        return None
    before = f"{name} = " if name else ""
    try:
        resolve([*source.losses, f"{before}{written}"], {})
    except SettingError as error:
        source.expression(node, error, len(before))
        named = re.match(r"\s*(\w+)\s*=", f"{before}{written}")
        source.faulty |= {named[1]} if named else set()
    else:
        source.losses.append(f"{before}{written}")
    return f"{before}{written}"


def _gate(source: YamlSource, node: Node) -> str | dict[str, Any] | None:
    """A gate, or one with `warn`."""
    warn = False
    if is_mapping(node):
        found = {key: (name, below) for name, key, below in mapping_items(source, node, "")}
        for key in found.keys() - {"gate", "warn"}:
            source.wrong(found[key][0], f"unknown key {key!r}{did_you_mean(key, ['gate', 'warn'])}")
        if "warn" in found:
            warn = bool(TRUTH.read(source, found["warn"][1]))
        if "gate" not in found:
            source.wrong(node, f"expected {GATE.words}, found no 'gate'")
            return None
        node = found["gate"][1]
    written = text_of(source, node, GATE.words)
    if written is None:
        return None
    try:
        source.gates.append((node, as_gate(written)))
    except SettingError as error:
        source.expression(node, error)
    return {"gate": written, "warn": True} if warn else written


def _expressions(item: ValueType) -> ValueType:
    """One or several of them; commas in YAML's flow style would take an expression apart."""

    every = several(item)

    def read(source: YamlSource, node: Node) -> Any:
        torn = next(_torn(node), None)
        if torn is None:
            return every.read(source, node)
        source.wrong(
            torn,
            f"YAML ends {str(torn.value)!r} at the comma: inside [ ] or {{ }} quote the"
            " expression, or write a block list, one `- expression` a line",
        )
        return ()

    return replace(every, read=read)


def _torn(node: Node) -> Iterator[Node]:
    """Scalars in flow style, with a bracket that another item closes."""
    if isinstance(node.value, str):
        if node.value.count("(") != node.value.count(")") and not style(node):
            yield node
        return
    for each in node.value:
        for part in each if isinstance(each, tuple) else (each,):
            if style(node) or not isinstance(part.value, str):
                yield from _torn(part)


LOSS = ValueType(
    "an expression, or name: expression",
    {
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
    _loss,
)
GATE = ValueType(
    "a gate such as dice.mean <= 0.15, or {gate: ..., warn: true}",
    {
        "anyOf": [
            TEXT,
            {
                "type": "object",
                "properties": {"gate": TEXT, "warn": TRUTH.schema},
                "required": ["gate"],
                "additionalProperties": False,
            },
        ]
    },
    _gate,
)
LOSSES, GATES = _expressions(LOSS), _expressions(GATE)
