"""The catalogue of losses, read from source: nothing is imported until a loss is computed.

The options of a loss come from three signatures: its own keyword-only parameters, the parameters of
`of(...)` of each view that it requests, and those of the function that reduces its result.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from lossbench.catalog.signatures import (
    TYPES,
    UNBOUNDED,
    Signature,
    functions,
    parse,
    sections,
    views,
)
from lossbench.catalog.signatures import (
    Option as Option,  # part of this module's interface, as the type of an entry's options
)
from lossbench.errors import SettingError, did_you_mean

HERE = Path(__file__).parent.parent
WEIGHT_MAPS = HERE / "interface" / "weight_maps.py"
PAIR = ("pred", "target")  # inputs of every run
EACH_SUFFIX = "_each"  # after the name of an input: the same input in a second form
ARRAYS = ("Array", "Tensor")  # forms of plain functions: NumPy arrays, or tensors on request
MAYBE = " | None"  # after the form of an optional input
# Forms that are attributes of the batch, not of one input.
OF_BATCH = ("difference", "weight", "positive", "mass", "valid", "spacing", "gallery")


# Names of other tools, in small letters without underscores, for suggestions only: a loss and a
# score often share one.
ELSEWHERE = {
    "ap": "average_precision_boxes",
    "asd": "masd",
    "ce": "cross_entropy",
    "dc": "dice_score",
    "dicecoef": "dice_score",
    "dicecoefficient": "dice_score",
    "diceindex": "dice_score",
    "dsc": "dice_score",
    "hd": "hausdorff",
    "jc": "iou",
    "kld": "kl",
    "kldiv": "kl",
    "map": "average_precision_boxes",
    "mar": "average_recall_boxes",
    "miou": "mean_iou",
    "ppv": "precision",
    "tnr": "specificity",
    "tpr": "recall",
}


class PluginFile(Protocol):
    """A file with a user's losses; `lossbench.catalog.plugins.Plugin` is one."""

    @property
    def path(self) -> Path: ...

    @property
    def module(self) -> str | None: ...

    @property
    def digest(self) -> str: ...

    @property
    def neutral(self) -> bool: ...

    def function(self, entry: Entry) -> Callable[..., Any]: ...

    def describe(self, error: BaseException) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Entry(Signature):
    """One `@loss(...)` function, as its source states it."""

    module: str
    family: str
    use: str = ""
    aliases: tuple[str, ...] = ()
    better: str | None = "lower"
    range: tuple[float, float] = (0.0, UNBOUNDED)
    tasks: tuple[str, ...] = ("binary", "multiclass", "multilabel")
    sources: tuple[str, ...] = ()
    example: str = ""
    couples: bool = False
    background: bool = True  # whether it counts by default
    revision: int = 1
    plugin: PluginFile | None = None  # file of a user's loss
    pixels: bool = False  # whether it needs pixels with their positions, whatever its forms

    def __getstate__(self) -> dict[str, Any]:
        """State without the function, which every process imports itself."""
        return {name: value for name, value in vars(self).items() if name != "function"}

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The function itself; this imports torch."""
        if self.plugin is not None:
            return self.plugin.function(self)
        function: Callable[..., Any] = getattr(import_module(self.module), self.name)
        return function

    @property
    def plain(self) -> bool:
        """Whether the loss is a user's function of arrays, without annotations of forms."""
        return self.plugin is not None and set(self.inputs.values()) <= set(ARRAYS)

    @cached_property
    def forms(self) -> frozenset[str]:
        """All forms and views that the loss uses, directly or through its views."""
        return frozenset(form for used in self.inputs.values() for form in with_inputs(used))

    @cached_property
    def roles(self) -> dict[str, str]:
        """Inputs other than pred and target: role -> form, as written."""
        return {role: form for role, form in self.named_inputs if role not in PAIR}

    @cached_property
    def named_inputs(self) -> tuple[tuple[str, str], ...]:
        """All inputs that the loss names, pred and target included, with their forms."""
        return tuple(_named_inputs(self.inputs))

    @property
    def all_tasks(self) -> tuple[str, ...]:
        """The stated tasks, and detection for losses of independent binary labels.

        The score of a detection is a binary decision, like a pixel of a label.
        """
        of_scores = "multilabel" in self.tasks and self.family == "binary"
        return (*self.tasks, "detection") if of_scores else tuple(self.tasks)

    @property
    def location(self) -> str:
        """File and line of the definition, as text."""
        file = str(self.plugin.path) if self.plugin else f"{self.module.replace('.', '/')}.py"
        return f"{file}, line {self.line}"

    @property
    def summary(self) -> str:
        """The docstring's first sentence."""
        return self.doc.partition("\n")[0]

    @property
    def definition(self) -> str:
        """The docstring's formula: its second paragraph."""
        return " ".join(self.sections[""].partition("\n\n")[2].split())

    @cached_property
    def sections(self) -> dict[str, str]:
        """Sections of the docstring: "" (summary and formula), Args, Returns, Note."""
        return sections(self.doc)

    @property
    def bad_end(self) -> float:
        """The worst value of the range."""
        return self.range[1] if self.better == "lower" else self.range[0]


@cache
def builtin() -> Mapping[str, Entry]:
    """The shipped catalogue by name, one family after another."""
    entries = [entry for path in _modules() for entry in _entries_of(path)]
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.family)}


def _modules() -> list[Path]:
    """The source files of the shipped losses."""
    return sorted((HERE / "losses").glob("[!_]*.py"))


@cache
def _entries_of(path: Path) -> Sequence[Entry]:
    """The losses of one module, in order."""
    common, module = common_options(), f"lossbench.losses.{path.stem}"
    return [
        entry_of(signature, module, common, shared_facts(path) | signature.marks["loss"])
        for signature in functions(path)
        if "loss" in signature.marks
    ]


@cache
def _shipped(name: str) -> Entry | None:
    """The shipped loss with a name or alias; only modules whose text has the name are parsed."""
    for path in _modules():
        text = path.read_text("utf-8")
        if f"def {name}(" in text or f'"{name}"' in text:
            for entry in _entries_of(path):
                if name in (entry.name, *entry.aliases):
                    return entry
    return None


def shared_facts(path: Path) -> dict[str, Any]:
    """Facts that the losses of a module share, from its SHARED_FACTS."""
    for node in parse(path).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="SHARED_FACTS")], value=facts):
                return dict(ast.literal_eval(facts))
    return {}


# Losses of plugins, by name and alias, within `with_added`.
_added: ContextVar[Mapping[str, Entry] | None] = ContextVar("added", default=None)


@contextmanager
def with_added(entries: Iterable[Entry]) -> Iterator[None]:
    """Add losses to the shipped ones within a context; a name that is taken is an error."""
    further: dict[str, Entry] = {}
    for entry in entries:
        for name in (entry.name, *entry.aliases):
            if other := further.get(name) or _shipped(name):
                raise SettingError(
                    f"two losses are called {name!r}: in {other.location}, and in"
                    f" {entry.location}; rename one (or, if it is only a helper, begin its name"
                    " with _)"
                )
            further[name] = entry
    with restored(further):
        yield


@contextmanager
def restored(added: Mapping[str, Entry]) -> Iterator[None]:
    """Replace the added losses, within a context, by those that `added()` returned before."""
    token = _added.set(added)
    try:
        yield
    finally:
        _added.reset(token)


def added() -> Mapping[str, Entry]:
    """The losses of plugins, by name and alias."""
    return _added.get() or {}


def entries() -> list[Entry]:
    """All losses: the shipped ones, then those of plugins."""
    own = (entry for name, entry in added().items() if name == entry.name)
    return [*builtin().values(), *own]


def find(name: str) -> Entry:
    """The loss with a name or alias; an unknown name is an error with a suggestion."""
    entry = added().get(name) or _shipped(name)
    if entry is None:
        raise SettingError(
            f"no loss is called {name!r}{_suggested(name, {**_by_name(), **added()})};"
            f" `lossbench losses` lists them all"
        )
    return entry


def _suggested(name: str, known: Mapping[str, Entry]) -> str:
    """A loss that other tools call so, or whose name is close."""
    word = re.sub(r"[^a-z0-9]", "", name.lower())
    plain = {each.replace("_", ""): each for each in known}
    for each in (word, word.removesuffix("loss"), word.removesuffix("score")):
        if each in ELSEWHERE or each in plain:
            return f" (did you mean {ELSEWHERE.get(each) or plain[each]!r}?)"
    return did_you_mean(name, known)


@cache
def _by_name() -> Mapping[str, Entry]:
    """The shipped catalogue by name and alias."""
    return {name: entry for entry in builtin().values() for name in (entry.name, *entry.aliases)}


def entry_of(
    signature: Signature,
    module: str,
    common: Mapping[str, Mapping[str, Option]],
    facts: Mapping[str, Any],
) -> Entry:
    """The entry of a loss, from its signature and the facts of its decorator."""
    options = dict(signature.options)
    for annotation in (*signature.inputs.values(), signature.returns):
        for option in common.get(annotation, {}).values():
            options.setdefault(option.name, option)
    if "background" in facts and "background" in options:
        options["background"] = replace(options["background"], default=facts["background"])
    low, high = facts.get("range", (0.0, None))
    stated = {
        "family": module.rpartition(".")[2],
        "example": signature.name,
        **facts,
        "range": (-UNBOUNDED if low is None else low, UNBOUNDED if high is None else high),
    }
    return Entry(**{**vars(signature), "options": options}, module=module, **stated)


@cache
def common_options() -> Mapping[str, Mapping[str, Option]]:
    """Options of views and of kinds of results, by annotation."""
    own = {name: view.options for name, view in _views().items()} | {"Weight": _weight_options()}
    of_views = {
        view: {
            name: option for form in with_inputs(view) for name, option in own.get(form, {}).items()
        }
        for view in own
    }
    return {**of_views, **_finishers()}


@cache
def weight_maps() -> Mapping[str, Signature]:
    """The weight maps by name: functions from a plane to weights."""
    signatures = functions(WEIGHT_MAPS)
    return {each.name: each for each in signatures if each.inputs == {"plane": "Plane"}}


@cache
def _weight_options() -> Mapping[str, Option]:
    """Options of the function that multiplies weights by a map."""
    return next(each.options for each in functions(WEIGHT_MAPS) if each.name == "weighted")


@cache
def kinds() -> frozenset[str]:
    """Return annotations that a loss can have."""
    return frozenset({*_finishers(), "Expression"})


@cache
def forms() -> frozenset[str]:
    """Forms and views that a loss can request."""
    return frozenset({*_vocabulary(), *_views(), "Input", "SampleBatch"} - TYPES.keys() - kinds())


@cache
def input_forms() -> frozenset[str]:
    """Forms of a single input, as opposed to forms of the batch."""
    of_batch = {form for form, attribute in _vocabulary().items() if attribute in OF_BATCH}
    return forms() & _vocabulary().keys() - of_batch | {"Input"}


@cache
def _vocabulary() -> Mapping[str, str]:
    """Names in annotations: the attribute that a form stands for, or the meaning of a type."""
    names = {}
    for node in parse(HERE / "interface" / "annotations.py").body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Subscript(slice=ast.Tuple(elts=[_, ast.Constant(value=text)])),
            ):
                names[name] = str(text)
    return names


def roles() -> dict[str, tuple[str, ...]]:
    """Inputs other than pred and target that losses name: role -> names of the losses."""
    losses: dict[str, tuple[str, ...]] = {}
    for entry in entries():
        for role in entry.roles:
            losses[role] = (*losses.get(role, ()), entry.name)
    return losses


def _named_inputs(inputs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Parameters that name an input, including the parameters of views."""
    for name, form in inputs.items():
        required = form.removesuffix(MAYBE)
        if required in input_forms():
            yield name.removesuffix(EACH_SUFFIX), form
        if required in _views():
            yield from _named_inputs(_views()[required].inputs)


@cache
def _views() -> Mapping[str, Signature]:
    """The signature of every view's `of`, by the view's name."""
    paths = sorted((HERE / "views").glob("[!_]*.py"))
    return {view.name: view for path in paths for view in views(path)}


def with_inputs(view: str) -> Iterator[str]:
    """A form or view, and the forms and views that the view requests itself."""
    view = view.removesuffix(MAYBE)
    yield view
    if view in _views():
        for form in _views()[view].inputs.values():
            yield from with_inputs(form)


def _finishers() -> dict[str, dict[str, Option]]:
    """Common options, by the kind of result."""
    return {
        kind: {**signature.options, **(_weight_options() if facts.get("weighs") else {})}
        for signature in functions(HERE / "interface" / "reduction.py")
        if (facts := signature.marks.get("finishes"))
        for kind in facts["kinds"]
    }
