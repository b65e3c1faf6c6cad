"""The table of settings: everything a user can say about a run, each written once.

A field of `Settings` is a setting: its type, default and text, and where they differ from its name
its flag and its key in a config. The parameters and documentation of `lossbench.plan`, options of
the command line, keys and JSON Schema of a config, environment variables, and the part of a run
that its result records follow from it.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from lossbench.catalog import conventions, registry
from lossbench.catalog.plugins import Files, file_names
from lossbench.catalog.tasks import DOUBTS, USUAL
from lossbench.data.planning.encoding import ENCODINGS
from lossbench.data.planning.vocabulary import EMPTY, FILTERS, ROLES
from lossbench.engine import value_types as types
from lossbench.engine.value_types import ValueType
from lossbench.errors import SettingError, did_you_mean
from lossbench.results.intervals import AUTO, CHOICES
from lossbench.results.json_numbers import from_number
from lossbench.runtime.cpu import cores

if TYPE_CHECKING:
    from lossbench.catalog.columns import Defaults

PREFIX = "LOSSBENCH_"
ANY, OTHER = "any value", "another value than that of a lower source"  # in `Setting.loosens`
STRICT = (None, "none")  # values that loosen nothing


@dataclass(frozen=True)
class Setting:
    """A row of the table: a parameter of `lossbench.plan`, or of functions that write a result."""

    name: str
    default: Any  # its value if nobody sets it
    type: ValueType
    text: str  # its documentation: one or more sentences
    flag: str = ""  # on the command line; by default its name
    short: str = ""  # the flag of one letter
    metavar: str | None = None  # what help shows in place of a value
    example: str = ""  # a value for messages, of settings whose values have names
    key: str = ""  # its place in a config, with dots between levels; by default its name
    replaces: tuple[str, ...] = ()  # settings that a lower source cannot add beside this one
    recorded: bool = True  # in a result, so that runs that differ in it are different runs
    loosens: tuple[Any, ...] = ()  # values, `ANY` or `OTHER`, that let more runs pass

    def __post_init__(self) -> None:
        object.__setattr__(self, "flag", self.flag or self.name.replace("_", "-"))
        object.__setattr__(self, "key", self.key or self.name)

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.flag.upper().replace("-", "_")

    def is_loosened_by(self, value: Any, *, replaces: bool) -> bool:
        """Whether a value, which may replace that of a lower source, lets more runs pass."""
        items = value if isinstance(value, list | tuple) else [value]
        if all(item in STRICT for item in items):
            return False
        return value in self.loosens or ANY in self.loosens or (replaces and OTHER in self.loosens)

    @property
    def offers_choices(self) -> bool:
        """Whether the value is one of a few words; a long list has a metavar and its own check."""
        return self.type.kind == "choice" and self.metavar is None

    @property
    def documentation(self) -> str:
        """The text with the words that are accepted."""
        listed = self.type.kind == "choice" and self.type.many != "commas"
        return f"{self.text} One of {self.type.words}." if listed else self.text


def setting(default: Any, type: ValueType, text: str, **attributes: Any) -> Any:
    """A field of `Settings`, whose metadata are attributes of `Setting`."""
    metadata = {"type": type, "text": text, **attributes}
    if default is dict:
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Everything a user can say about a run."""

    # fmt: off
    pred: Any = setting(
        None, types.path("a path"),
        "Predictions: a folder, a file, a zip or tar archive or a path into one, or a URL; a"
        " panoptic JSON file with its PNGs beside it, or COCO's results.json. From Python also"
        " arrays: a mapping id -> array, or a sequence.",
        key="pred.path", replaces=("manifest",), recorded=False,
    )
    target: Any = setting(
        None, types.path("a path"),
        "Ground truth, in the same form as the predictions; for results.json COCO's"
        " instances.json.",
        flag="gt", key="target.path", replaces=("manifest",), recorded=False,
    )
    losses: str | Sequence[str] = setting(
        (), types.LOSSES,
        "Loss, or expression of losses such as '0.5*dice + 0.5*bce'. Default: the task's"
        " standard losses of what the files hold.",
        flag="loss", short="l", metavar="EXPR", recorded=False,
    )
    _: KW_ONLY
    inputs: Mapping[str, Any] = setting(
        dict, types.ROLES,
        "Folder of a further input, by role: weight (maps), ignore or valid (masks; DIR@1,255"
        " names the values that count), instances (labels), or a role that a loss names, such as"
        " negative.",
        flag="input", metavar="ROLE=DIR", example="weight=weights/", recorded=False,
    )
    manifest: str | os.PathLike[str] | None = setting(
        None, types.path("a file"),
        "Table of the pairs, in place of folders: CSV, TSV or Parquet, - for stdin; columns are"
        " pred and gt, and optionally id, roles of further inputs, and groups.",
        metavar="FILE", replaces=("pred", "target", "inputs", "pred_pattern", "gt_pattern"),
    )
    group_by: str | None = setting(
        None, types.text("a pattern such as '{patient}/{slice}', or columns"),
        "Aggregate per group: a pattern over the ids such as '{patient}/{slice}', which groups"
        " by all names but the last, or columns of the manifest, separated by commas.",
        metavar="PATTERN|COLUMN",
    )
    task: str | None = setting(
        None, types.choice(*USUAL),
        "Task of the run. Default: detected from the files; from instances on, from the losses"
        " or from JSON files.",
    )
    classes: Any = setting(
        None, types.CLASSES,
        "Classes: a number, names separated by commas, a mapping such as '{0: sky, 7: road}' or"
        " '{road: [128, 64, 128]}', or a file: YAML, JSON, one name a line, or CVAT's label map.",
        metavar="CLASSES", key="target.classes",
    )
    ignore: Any = setting(
        None, types.LABELS,
        "Ground-truth values whose pixels are left out of every sum: 255, nodata such as -9999,"
        " a range 250-255, a colour '#000000', nan, inf, several of them, or none.",
        metavar="LABELS", key="target.ignore", loosens=(ANY,),
    )
    threshold: float = setting(
        0.5, types.number(0, 1),
        "Probability from which a pixel counts as foreground, for scores.",
    )
    empty: float | str | None = setting(
        None, types.number_or("skip"),
        "Value in place of an undefined one. Default: skip, or as the convention has it.",
        metavar="skip|NUMBER", loosens=(ANY,),
    )
    convention: str = setting(
        conventions.DEFAULT, types.choice(*conventions.CONVENTIONS, conventions.ALL),
        "Library whose defaults the losses follow; all adds a row for each.",
        metavar="NAME|all",
    )
    ci: str = setting(
        AUTO, types.choice(*CHOICES),
        "Confidence interval of means: auto for Student's t on the scale of the loss's range, t for"
        " plain Student's t, bca for the bootstrap.",
    )
    pred_encoding: str | None = setting(
        None, types.choice(*ENCODINGS),
        "Encoding of the predictions. Default: detected from the files.",
        key="pred.encoding",
    )
    gt_encoding: str | None = setting(
        None, types.choice(*ENCODINGS),
        "Encoding of the ground truth. Default: detected from the files.",
        key="target.encoding",
    )
    pred_pattern: str | None = setting(
        None, types.text("a pattern such as '{id}_pred.png', in quotes"),
        "File names of the predictions, such as '{id}_pred.png'; with {class}, one file per"
        " class.",
        metavar="PATTERN", key="pred.pattern",
    )
    gt_pattern: str | None = setting(
        None, types.text("a pattern such as '{id}_pred.png', in quotes"),
        "File names of the ground truth and of further inputs, such as '{id}_gt.png'.",
        metavar="PATTERN", key="target.pattern",
    )
    missing: str = setting(
        "error", types.choice("error", "skip", "worst", EMPTY),
        "Treatment of a missing prediction; worst stands for the bad end of a loss's range. With"
        " {class} in a pattern, empty lets a class without a file have no pixel.",
        loosens=("skip", EMPTY),
    )
    extra: str = setting(
        "error", types.choice("error", "skip"),
        "Treatment of a prediction without ground truth.",
        loosens=("skip",),
    )
    resize: str | None = setting(
        None, types.choice(*FILTERS),
        "Resize predictions to the size of their ground truth. Default: another size is an"
        " error.",
        loosens=(ANY,),
    )
    channels: str | None = setting(
        None, types.choice("first", "last"),
        "Axis of arrays that holds classes or channels. Default: the one that fits the size of"
        " the ground truth.",
    )
    pred_scale: float | None = setting(
        None, types.positive(),
        "Stored number of predictions that means 1: 4095 for 12 bits, 127 for labels stretched"
        " to 0, 127, 254. Default: the largest number of the type.",
        metavar="N", key="pred.scale",
    )
    gt_scale: float | None = setting(
        None, types.positive(),
        "Stored number of the ground truth that means 1.",
        metavar="N", key="target.scale",
    )
    gt_threshold: float | None = setting(
        None, types.number(0, 1),
        "Level from which a graded ground truth is foreground. Default: it stays graded.",
        metavar="X", key="target.threshold",
    )
    pred_values: str | None = setting(
        None, types.choice("stored", "indices"),
        "Meaning of predicted labels where --classes names stored values: these values, or"
        " class indices.",
        key="pred.values",
    )
    grid: str = setting(
        "check", types.choice("check", "ignore"),
        "Treatment of a volume whose spacing, orientation or origin is not that of its ground"
        " truth: an error, or a comparison voxel by voxel.",
    )
    divisor: int | None = setting(
        None, types.whole(2),
        "Read the labels of an instance map as class·N + instance, such as N = 1000.",
        metavar="N", key="target.divisor",
    )
    things: str | Sequence[str] | None = setting(
        None, types.text("a class", many="commas"),
        "Names of the classes that instance maps divide into instances, separated by commas;"
        " their pixels without an instance are a crowd. Each other class of an image is one"
        " segment.",
        metavar="NAMES", key="target.things",
    )
    weights: Mapping[str, str | os.PathLike[str]] = setting(
        dict, types.WEIGHTS,
        "File of a network's weights by name, such as vgg16=FILE. Default: from a cache, else"
        " downloaded; see `lossbench weights`.",
        metavar="NAME=FILE", example="vgg16=vgg16.npz", recorded=False,
    )
    offline: bool = setting(False, types.FLAG, "Download no weights.", recorded=False)
    gates: str | Sequence[str | Mapping[str, Any]] = setting(
        (), types.GATES,
        "Condition that the result must meet, such as 'dice.mean <= 0.15'. In a config or from"
        " Python, {gate: ..., warn: true} reports a miss without failing.",
        flag="gate", metavar="EXPR", loosens=(OTHER,),
    )
    baseline: Any = setting(
        None, types.path("a result file"),
        "Earlier result that gates may name.",
        metavar="RUN", recorded=False,
    )
    strict: bool = setting(
        False, types.FLAG,
        "End with status 3 if there is a doubt that --accept does not name.", recorded=False,
    )
    accept: str | Sequence[str] = setting(
        (), types.choice(*DOUBTS, many="repeated"),
        "Kind of doubt that counts neither as a doubt in gates nor for --strict.",
        metavar="KIND", recorded=False,
    )
    plugins: Files = setting(
        (), types.path("a file", many="repeated"),
        "Python file with losses of your own.",
        flag="plugin", metavar="FILE",
    )
    device: str = setting(
        "auto", types.text("auto, cpu, cuda or cuda:N", r"auto|cpu|cuda(:\d+)?"),
        "Device: cpu, cuda or cuda:N; auto takes a GPU if there is one and a loss needs the"
        " pixels.",
        metavar="DEVICE", key="run.device", recorded=False,
    )
    workers: int | None = setting(
        None, types.whole(1, "auto"),
        "Number of pairs that are read at a time, by default as many as there are cores.",
        metavar="N", key="run.workers", recorded=False,
    )
    batch_size: int = setting(
        512, types.whole(1),
        "Greatest number of counted pairs that are evaluated together.",
        metavar="N", key="run.batch_size", recorded=False,
    )
    shard: str | None = setting(
        None, types.text("I/N, such as 3/16", r"[0-9]+/[0-9]+"),
        "Evaluate only the I-th of N shares of the pairs; `lossbench merge` combines their"
        " results.",
        metavar="I/N", key="run.shard", recorded=False, loosens=(ANY,),
    )
    engine: str = setting(
        "local", types.text(
            "local, dask, or the address of a scheduler such as tcp://host:8786",
            r"local|dask|[a-z]+://.+",
        ),
        "Where pairs are evaluated: local, dask for a cluster on this machine that ends with"
        " the run, or the address of a Dask scheduler whose workers see the same files.",
        metavar="local|dask|ADDRESS", key="run.engine", recorded=False,
    )
    # fmt: on

    def __post_init__(self) -> None:
        self._normalize()
        for each in SETTINGS:
            value = getattr(self, each.name)
            unset = value is None and each.default is None
            if not (unset or each.type.accepts(value)):
                choices = each.type.choices
                if each.type.many and isinstance(value, list | tuple):
                    value = next(item for item in value if not each.type.accepts(item))
                listed = f"one of {', '.join(choices)}" if each.offers_choices else each.type.words
                close = did_you_mean(str(value), choices)
                raise SettingError(f"{each.name} is {listed}, not {value!r}{close}")
        self._check_files()

    def _normalize(self) -> None:
        """Store one value as a list of one, and paths as text."""
        normal: dict[str, Any] = {
            "losses": (self.losses,) if isinstance(self.losses, str) else tuple(self.losses),
            "inputs": dict(self.inputs or {}),
            "manifest": None if self.manifest is None else os.fspath(self.manifest),
            "weights": {name: os.fspath(file) for name, file in (self.weights or {}).items()},
            "gates": (self.gates,) if isinstance(self.gates, str) else tuple(self.gates),
            "plugins": file_names(self.plugins),
            "accept": (self.accept,) if isinstance(self.accept, str) else tuple(self.accept),
        }
        for name, value in normal.items():
            object.__setattr__(self, name, value)

    def _check_files(self) -> None:
        """Check the settings that name files, and the share of them."""
        from lossbench.data.pairing.groups import manifest_columns
        from lossbench.engine.shards import parse_shard
        from lossbench.networks.weights import check_files

        for role in self.inputs:
            if role not in known_roles():
                raise SettingError(
                    f"no loss asks for a role {role!r}{did_you_mean(role, known_roles())};"
                    f" roles are {', '.join(known_roles())}"
                )
        for name in ("inputs", "pred_pattern", "gt_pattern"):
            if self.manifest is not None and getattr(self, name):
                raise SettingError(
                    f"--{BY_NAME[name].flag} is for folders; the columns of a manifest name files"
                )
        if manifest_columns(self.group_by) and self.manifest is None:
            raise SettingError(
                f"--group-by {self.group_by} names a column, which needs --manifest; for ids give a"
                " pattern such as '{patient}/{slice}'"
            )
        check_files(self.weights)
        if self.shard is not None:
            parse_shard(self.shard)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], **changes: Any) -> Settings:
        """The settings that a result records, with changes."""
        recorded = {each.name: record[each.name] for each in RECORDED if each.name in record}
        if str(recorded.get("empty")).endswith("Infinity"):  # as JSON holds it
            recorded["empty"] = from_number(recorded["empty"])
        return cls(**{**recorded, **changes})

    @property
    def record(self) -> dict[str, Any]:
        """The settings that a result records."""
        return {each.name: getattr(self, each.name) for each in RECORDED}

    @property
    def preset(self) -> conventions.Convention:
        """The convention of the columns; with `all`, our own."""
        name = self.convention
        return conventions.CONVENTIONS[conventions.DEFAULT if name == conventions.ALL else name]

    def defaults(self, preset: conventions.Convention, task: str | None) -> Defaults:
        """Options that an expression leaves open: those of the run, then those of a convention."""
        from lossbench.catalog.columns import RUN

        options = {"threshold": self.threshold, "empty": self.empty}
        of_run = {name: value for name, value in options.items() if value is not None}
        return {**preset.defaults(task), RUN: of_run}

    @property
    def likely_device(self) -> str:
        """The device that will compute, as far as it is known without torch."""
        no_driver = sys.platform == "linux" and not os.path.exists("/proc/driver/nvidia")
        return "cpu" if self.device == "auto" and no_driver else self.device

    @property
    def readers(self) -> int:
        """The number of pairs that are read at a time."""
        return self.workers or cores()


SETTINGS = tuple(
    Setting(each.name, {} if each.default is MISSING else each.default, **each.metadata)
    for each in fields(Settings)
)
BY_NAME = {each.name: each for each in SETTINGS}
RECORDED = [each for each in SETTINGS if each.recorded]
# The settings of commands that read pairs and compute no losses with a threshold of the run.
READING = (
    "inputs", "manifest", "group_by", "task", "classes", "ignore", "empty", "convention",
    "pred_encoding", "gt_encoding", "pred_pattern", "gt_pattern", "missing", "extra", "resize",
    "channels", "pred_scale", "gt_scale", "gt_threshold", "pred_values", "grid", "workers",
)  # fmt: skip


def known_roles() -> tuple[str, ...]:
    """Every role of a further input: the common ones, then those that losses name."""
    return tuple(dict.fromkeys([*ROLES, *registry.roles()]))


def describe_settings() -> str:
    """The table as the items of a docstring's `Args` section."""
    wrapper = textwrap.TextWrapper(100, subsequent_indent=" " * 8, break_on_hyphens=False)
    return "\n    ".join(wrapper.fill(f"{each.name}: {each.documentation}") for each in SETTINGS)
