"""How results were read: the fields of `run.plan.identity`, and in which of them two differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Model = Mapping[str, Any]
LISTED = 8  # items that a message shows


class Field(NamedTuple):
    """A fact of the ground truth: what messages call it, and its option with the value it takes."""

    title: str
    option: str = ""
    setting: Callable[[Model], str] = lambda stated: ""


class Difference(NamedTuple):
    """A field in which two results differ."""

    field: str
    one: str
    other: str


def identity(model: Model) -> Model:
    """The reading that a result file states; empty in a file of an older version."""
    stated: Model = model["run"]["plan"].get("identity", {})
    return stated


def differences(one: Model, other: Model) -> list[Difference]:
    """The fields of the ground truth that both have and in which they differ."""
    return [
        Difference(name, _shown(name, one[name]), _shown(name, other[name]))
        for name in TRUTH
        if name in one and name in other and one[name] != other[name]
    ]


def unknown(stated: Model) -> str:
    """What a result does not state of its ground truth, for a message; empty if that is nothing."""
    if not stated:
        return "how it was read"
    return ", ".join(each.title for name, each in TRUTH.items() if name not in stated)


def options_for(stated: Model, names: list[str]) -> str:
    """The options that give another run some fields of a reading."""
    options = dict.fromkeys(
        f"without {field.option}" if stated[name] in (None, []) else _option(field, stated)
        for name in names
        if (field := TRUTH[name]).option and not (name == "values" and not _classes(stated))
    )
    return ", ".join(options)


def _option(field: Field, stated: Model) -> str:
    return f"{field.option} {field.setting(stated)}".rstrip()


def _classes(stated: Model) -> str:
    """The value of --classes, where labels are named by their stored values."""
    names, values = stated.get("classes", []), stated.get("values", [])
    known = stated.get("task") == "multiclass" and len(values) <= LISTED
    if not known or any(isinstance(value, str) for value, _ in values):
        return ""
    return "'{" + ", ".join(f"{value}: {names[index]}" for value, index in values) + "}'"


def _shown(name: str, value: Any) -> str:
    """A field for a message."""
    if value is None or value == []:
        return "none"
    if not isinstance(value, list):
        return str(value)
    pairs = name == "values"
    items = [f"{each[0]} as {each[1]}" if pairs else str(each) for each in value]
    more = [f"and {len(items) - LISTED} more"] if len(items) > LISTED else []
    return ", ".join([*items[:LISTED], *more])


def _inputs(stated: Model) -> str:
    """The values of --input: a role, and the values of its masks that count."""
    roles = (role.partition("@") for role in stated["roles"])
    return " --input ".join(f"{role}=DIR{at}{values}" for role, at, values in roles)


def _as_stated(name: str) -> Callable[[Model], str]:
    return lambda stated: str(stated[name])


TRUTH = {
    "task": Field("task", "--task", _as_stated("task")),
    "classes": Field("classes", "--classes", _classes),
    "values": Field("stored values of the ground truth", "--classes", _classes),
    "ignored": Field("ignored values", "--ignore", lambda stated: ",".join(stated["ignored"])),
    "roles": Field("further inputs", "--input", _inputs),
    "encoding": Field("encoding of the ground truth", "--gt-encoding", _as_stated("encoding")),
    "threshold": Field("threshold of the ground truth", "--gt-threshold", _as_stated("threshold")),
    "scale": Field("scale of the ground truth", "--gt-scale", _as_stated("scale")),
    "divisor": Field("divisor of labels", "--divisor", _as_stated("divisor")),
    "things": Field("things", "--things", lambda stated: ",".join(stated["things"])),
    "spacing": Field("unit of spacing"),
}
