"""How results were read: the fields of `run.plan.identity`, and in which of them two differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Model = Mapping[str, Any]
PAIRS = ("values", "ignored")  # fields that are lists of two numbers
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
    plan = model["run"].get("plan")
    stated = plan.get("identity") if isinstance(plan, dict) else None
    fields = stated if isinstance(stated, dict) else {}
    return {name: each for name, each in fields.items() if _is_readable(name, each)}


def _is_readable(name: str, value: Any) -> bool:
    """Whether a damaged file, or one of another version, has a field as this version writes it."""
    if name in ("classes", "roles"):
        return isinstance(value, list)
    pairs = value if isinstance(value, list) else [None]
    return name not in PAIRS or all(isinstance(each, list) and len(each) == 2 for each in pairs)


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


def _listed(name: str, items: list[Any]) -> list[str]:
    """Ranges of ignored values, stored values with their classes, or names."""
    if name == "values":
        return [f"{value} as {index}" for value, index in items]
    if name == "ignored":
        return [str(low) if low == high else f"{low}-{high}" for low, high in items]
    return list(map(str, items))


def _shown(name: str, value: Any) -> str:
    if value is None or value == []:
        return "none"
    if not isinstance(value, list):
        return str(value)
    items = _listed(name, value)
    more = [f"and {len(items) - LISTED} more"] if len(items) > LISTED else []
    return ", ".join([*items[:LISTED], *more])


def _as_stated(name: str) -> Callable[[Model], str]:
    return lambda stated: str(stated[name])


TRUTH = {
    "task": Field("task", "--task", _as_stated("task")),
    "classes": Field("classes", "--classes", _classes),
    "values": Field("stored values of the ground truth", "--classes", _classes),
    "ignored": Field(
        "ignored values",
        "--ignore",
        lambda stated: ",".join(_listed("ignored", stated["ignored"])),
    ),
    "roles": Field("further inputs", "--input", lambda stated: " and ".join(stated["roles"])),
    "encoding": Field("encoding of the ground truth", "--gt-encoding", _as_stated("encoding")),
    "threshold": Field("threshold of the ground truth", "--gt-threshold", _as_stated("threshold")),
    "scale": Field("scale of the ground truth", "--gt-scale", _as_stated("scale")),
    "divisor": Field("divisor of labels", "--divisor", _as_stated("divisor")),
    "things": Field("things", "--things", lambda stated: ",".join(stated["things"])),
    "spacing": Field("unit of spacing"),
}
