"""Keys of a config file: one per setting, with type, place and JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from lossbench.catalog.conventions import ALL, CONVENTIONS
from lossbench.catalog.tasks import USUAL
from lossbench.config.value_types import (
    CLASSES,
    FILES,
    GATES,
    IGNORE,
    LOSSES,
    TRUTH,
    ValueType,
    choice,
    folders,
    matching,
    number,
    number_or,
    path,
    several,
    text,
    whole,
)
from lossbench.data.planning.encoding import ENCODINGS
from lossbench.output import FORMATS

DIALECT = "https://json-schema.org/draft/2020-12/schema"

ENCODING = choice(*ENCODINGS)

PATTERN = text("a pattern such as '{id}_pred.png', in quotes")

HELD = "what the files hold; found out where it is not given."

NAMED = "names of the files, such as '{id}_pred.png'; with {class}, one file a class."


@dataclass(frozen=True)
class Key:
    """A key of the config.

    Attributes:
        path: where it stands, with dots between levels.
        kind: what it can be.
        setting: the name that `lossbench.plan` or an output option has for it; by default the last
            part of the path.
        flag: what the command calls it; by default as the setting.
        doc: what it is, where the docstring of `lossbench.plan` does not say.
    """

    path: str
    kind: ValueType
    setting: str = ""
    flag: str = ""
    doc: str = ""

    def __post_init__(self) -> None:
        setting = self.setting or self.path.rpartition(".")[2]
        object.__setattr__(self, "setting", setting)
        object.__setattr__(self, "flag", self.flag or setting.replace("_", "-"))

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.flag.upper().replace("-", "_")

    @cached_property
    def description(self) -> str:
        """What it is, for editors."""
        return self.doc or _documented()[self.setting]


KEYS = (
    Key("task", choice(*USUAL)),
    Key("pred.path", path("a path"), "pred", doc="predictions: a folder, file, archive or URL."),
    Key("pred.encoding", ENCODING, "pred_encoding", doc=HELD),
    Key("pred.pattern", PATTERN, "pred_pattern", doc=NAMED),
    Key("target.path", path("a path"), "target", "gt", "truth: a folder, file, archive or URL."),
    Key("target.encoding", ENCODING, "gt_encoding", doc=HELD),
    Key("target.pattern", PATTERN, "gt_pattern", doc=NAMED),
    Key("target.classes", CLASSES),
    Key("target.ignore", IGNORE),
    Key("target.divisor", whole(2)),
    Key("target.things", several(text("a class"))),
    Key("inputs", folders(["ignore", "valid", "weight", "pos_weight", "instances"]), flag="input"),
    Key("manifest", path("a file")),
    Key("group_by", text("a pattern such as '{patient}/{slice}', or columns")),
    Key("losses", LOSSES, flag="loss"),
    Key("weights", FILES),
    Key("offline", TRUTH),
    Key("gates", GATES, flag="gate"),
    Key("plugins", several(path("a file")), flag="plugin"),
    Key("threshold", number(0, 1)),
    Key("empty", number_or("skip")),
    Key("missing", choice("error", "skip", "worst")),
    Key("extra", choice("error", "skip")),
    Key("resize", choice("nearest", "bilinear")),
    Key("convention", choice(*CONVENTIONS, ALL)),
    Key("baseline", path("a result file")),
    Key("run.device", matching(r"auto|cpu|cuda(:\d+)?", "auto, cpu, cuda or cuda:N")),
    Key("run.workers", whole(1, "auto")),
    Key("run.batch_size", whole(1)),
    Key(
        "run.engine",
        matching(r"local|dask|[a-z]+://.+", "local, dask or an address such as tcp://host:8786"),
    ),
    Key("run.shard", matching(r"[0-9]+/[0-9]+", "I/N, such as 3/16")),
    Key("output", several(path("a file")), doc="files to write, whose endings tell the format."),
    Key("format", choice(*FORMATS), doc="what is printed."),
    Key("top", whole(0, "all"), doc="how many samples the table shows."),
    Key("sort", text("a column"), doc="the loss that orders the samples, worst first."),
    Key("per_class", TRUTH, doc="with or without class columns."),
)

PREFIX = "LOSSBENCH_"

VARIABLES = {key.variable: key for key in KEYS}

NAMED_SO = {  # what a variable might be called instead: key
    name.upper().replace(".", "_"): key for key in KEYS for name in (key.setting, key.path)
}

# Two ways to say which files there are: where one is said, a lower source cannot say the other.
PLACES = ("pred", "target", "inputs", "pred_pattern", "gt_pattern")

EXCLUDED = {"manifest": PLACES, "pred": ("manifest",), "target": ("manifest",)}


def schema() -> dict[str, Any]:
    """The JSON Schema of a config, from the table."""

    def described(tree: Mapping[str, Any]) -> dict[str, Any]:
        properties = {}
        for name, below in tree.items():
            if isinstance(below, Key):
                properties[name] = {"description": below.description, **below.kind.schema}
            elif "path" in below:
                properties[name] = {"anyOf": [below["path"].kind.schema, described(below)]}
            else:
                properties[name] = described(below)
        return {"type": "object", "properties": properties, "additionalProperties": False}

    return {"$schema": DIALECT, "title": "A config of lossbench", **described(key_tree())}


@cache
def _documented() -> dict[str, str]:
    """What the docstring of `lossbench.plan` says of each setting."""
    from lossbench.api import plan
    from lossbench.catalog.signatures import arguments_of

    return arguments_of(plan)


@cache
def key_tree() -> dict[str, Any]:
    """The table as it is nested in a file: name -> key, or name -> names below."""
    tree: dict[str, Any] = {}
    for key in KEYS:
        first, _, second = key.path.partition(".")
        if second:
            tree.setdefault(first, {})[second] = key
        else:
            tree[first] = key
    return tree
