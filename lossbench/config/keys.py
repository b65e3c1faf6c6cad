"""Keys of a config: every setting of a run and of its output, and their JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from lossbench.engine import value_types as types
from lossbench.engine.settings import BY_NAME, READING, SETTINGS, Setting
from lossbench.results.aggregates import AGGREGATES, OVER_GROUPS
from lossbench.results.formats import file_endings, text_formats


def output_settings(model: str, text: str) -> tuple[Setting, Setting]:
    """The format in which a model is printed, and the files to which it is written."""
    endings = ", ".join(file_endings(model))
    files = f"File to write to, in the format of its ending: {endings}."
    paths = types.path("a file", many="repeated")
    return (
        Setting("format", "table", types.choice(*text_formats(model)), text, short="f"),
        Setting("output", (), paths, files, short="o", metavar="FILE"),
    )


OUTPUT = (
    *output_settings(
        "result", "Format printed to stdout; github annotates a workflow and writes its summary."
    ),
    Setting(
        "sort",
        None,
        types.text("a column"),
        "Column that orders the samples, worst first.",
        metavar="COLUMN",
    ),
    Setting(
        "top",
        10,
        types.whole(0, "all"),
        "Number of samples in tables; other formats have all samples.",
        metavar="N|all",
    ),
    Setting("per_class", None, types.FLAG, "Show or hide class columns."),
    Setting(
        "aggregates",
        (),
        types.names("an aggregate, or all", "all", *AGGREGATES, *OVER_GROUPS),
        "Aggregates that the table shows besides those of its first rows: all, or names such as"
        " p5,p95,group_std.",
        metavar="all|NAMES",
    ),
)
KEYS = (*SETTINGS, *OUTPUT)
VARIABLES = {each.variable: each for each in KEYS}
# What a variable might be called instead.
OTHER_NAMES = {
    name.upper().replace(".", "_"): each for each in KEYS for name in (each.name, each.key)
}
REPLACED = {each.name: each.replaces for each in KEYS}
TABLES: dict[str, tuple[Setting, ...]] = {
    "run": SETTINGS,
    "reading": tuple(BY_NAME[name] for name in ("losses", *READING)),
    "output": OUTPUT,
    "comparison": output_settings(
        "comparison",
        "Format printed to stdout; csv has every sample's values, github annotates a workflow and"
        " writes its summary.",
    ),
    "speed": output_settings("speed", "Format printed to stdout."),
    "inspection": output_settings("inspection", "Format printed to stdout."),
    "thresholds": output_settings(
        "thresholds", "Format printed to stdout; csv has every threshold's values."
    ),
    "trend": output_settings("trend", "Format printed to stdout; csv has a row for each epoch."),
    "stress": output_settings("stress", "Format printed to stdout."),
}


def schema() -> dict[str, Any]:
    """The JSON Schema of a config."""
    from lossbench.config.yaml_values import value_schema
    from lossbench.results.schema import DIALECT

    def described(tree: Mapping[str, Any]) -> dict[str, Any]:
        properties = {}
        for name, below in tree.items():
            if isinstance(below, Setting):
                properties[name] = {"description": below.text, **value_schema(below.type)}
            elif "path" in below:
                properties[name] = {"anyOf": [value_schema(below["path"].type), described(below)]}
            else:
                properties[name] = described(below)
        return {"type": "object", "properties": properties, "additionalProperties": False}

    return {"$schema": DIALECT, "title": "A config of lossbench", **described(key_tree())}


@cache
def key_tree() -> dict[str, Any]:
    """The keys as they are nested in a config: name -> setting, or name -> names below."""
    tree: dict[str, Any] = {}
    for each in KEYS:
        first, _, second = each.key.partition(".")
        if second:
            tree.setdefault(first, {})[second] = each
        else:
            tree[first] = each
    return tree
