"""What losses there are, read from their source: nothing is imported until a loss is computed.

A loss's options come from three places, each a signature: its own keyword-only parameters, those of
`of(...)` of every view it asks for, and those of the function that finishes what it returns.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    signature_of,
)
from lossbench.catalog.signatures import (
    Option as Option,  # those of an entry, for whoever shows them
)
from lossbench.errors import SettingError, did_you_mean

HERE = Path(__file__).parent.parent
WEIGHT_MAPS = HERE / "interface" / "weight_maps.py"
PAIR = ("pred", "target")  # the inputs that every run has
EACH_SUFFIX = "_each"  # after the name of an input: the same input in a second form
ARRAYS = ("Array", "Tensor")  # what plain functions get: NumPy arrays, or tensors on request
MAYBE = " | None"  # behind the form of an input that a loss can do without


class PluginFile(Protocol):
    """A file of losses that is not part of this package."""

    @property
    def path(self) -> Path: ...

    @property
    def module(self) -> str | None: ...

    @property
    def digest(self) -> str: ...

    def function(self, entry: Entry) -> Callable[..., Any]:
        """The function of one of its losses; this runs the file."""

    def describe(self, error: BaseException) -> str:
        """An exception in one line, with the last line of the file that it passed through."""


@dataclass(frozen=True)
class Entry:
    """One `@loss(...)` function as its source states it."""

    name: str
    module: str
    line: int
    inputs: dict[str, str]  # parameter -> annotation: which input -> in which form
    returns: str  # PerPixel, PerClass, PerSample … or Expression
    options: dict[str, Option]
    doc: str
    family: str
    use: str = ""
    aliases: tuple[str, ...] = ()
    better: str | None = "lower"
    range: tuple[float, float] = (0.0, UNBOUNDED)
    tasks: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    example: str = ""
    couples: bool = False
    background: bool = True  # whether it counts unless the option says otherwise
    revision: int = 1
    plugin: PluginFile | None = None  # the file that it is read from, where that is the user's own
    pixels: bool = False  # whether it needs every pixel in its place, whatever its forms say

    def __getstate__(self) -> dict[str, Any]:
        """Without the function, which another process imports for itself."""
        return {name: each for name, each in vars(self).items() if name != "function"}

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The function itself; this imports torch."""
        if self.plugin is not None:
            return self.plugin.function(self)
        function: Callable[..., Any] = getattr(import_module(self.module), self.name)
        return function

    @property
    def plain(self) -> bool:
        """Whether it is a user's function of arrays, whose parameters have no annotations."""
        return self.plugin is not None and set(self.inputs.values()) <= set(ARRAYS)

    @cached_property
    def forms(self) -> frozenset[str]:
        """Every form and view that it looks at, those behind its views among them."""
        return frozenset(form for asked in self.inputs.values() for form in behind(asked))

    @cached_property
    def roles(self) -> dict[str, str]:
        """The inputs beside pred and target that it names: role -> form, as it is written."""
        return {role: form for role, form in self.asks if role not in PAIR}

    @cached_property
    def asks(self) -> tuple[tuple[str, str], ...]:
        """Every input that it names, pred and target too, with its form."""
        return tuple(_sides(self.inputs))

    @property
    def all_tasks(self) -> tuple[str, ...]:
        """Those that it states, and detection where its scores are judged as pixels are.

        A detection is an object of its class or is none, as a pixel of a label is.
        """
        of_scores = "multilabel" in self.tasks and self.family == "binary"
        return (*self.tasks, "detection") if of_scores else tuple(self.tasks)

    @property
    def place(self) -> str:
        """Where it is defined, for people."""
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
        """The docstring in parts: "" (summary and formula), Args, Returns, Note."""
        return sections(self.doc)

    @property
    def bad_end(self) -> float:
        """The bad end of the range."""
        return self.range[1] if self.better == "lower" else self.range[0]


@cache
def builtin() -> Mapping[str, Entry]:
    """The shipped catalogue by name, one family after another."""
    asked = options_asked()
    entries = [
        entry
        for path in sorted((HERE / "losses").glob("[!_]*.py"))
        for entry in read(path, f"lossbench.losses.{path.stem}", asked)
    ]
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.family)}


# Losses of plugins, by every name and alias, while `with_added` holds.
_added: ContextVar[Mapping[str, Entry] | None] = ContextVar("added", default=None)


@contextmanager
def with_added(entries: Iterable[Entry]) -> Iterator[None]:
    """Further losses beside the shipped ones, for as long as the context lasts and only within it.

    Raises:
        SettingError: a name is taken.
    """
    known, further = dict(_by_name()), dict[str, Entry]()
    for entry in entries:
        for name in (entry.name, *entry.aliases):
            if name in known:
                raise SettingError(
                    f"two losses are called {name!r}: in {known[name].place}, and in {entry.place};"
                    " rename one of them (a helper that is no loss begins with _)"
                )
            known[name] = further[name] = entry
    with restored(further):
        yield


@contextmanager
def restored(added: Mapping[str, Entry]) -> Iterator[None]:
    """Just these beside the shipped losses: what `added()` said before."""
    token = _added.set(added)
    try:
        yield
    finally:
        _added.reset(token)


def added() -> Mapping[str, Entry]:
    """The losses of plugins that can be named here, by every name."""
    return _added.get() or {}


def entries() -> list[Entry]:
    """Every loss that can be named here: the shipped ones, then those of plugins."""
    own = (entry for name, entry in added().items() if name == entry.name)
    return [*builtin().values(), *own]


def find(name: str) -> Entry:
    """The loss of this name or alias; an unknown name is an error that offers the nearest."""
    known = {**_by_name(), **added()}
    if name not in known:
        raise SettingError(
            f"no loss is called {name!r}{did_you_mean(name, known)};"
            f" `lossbench losses` lists them all"
        )
    return known[name]


@cache
def _by_name() -> Mapping[str, Entry]:
    """The catalogue by every name and alias."""
    return {name: entry for entry in builtin().values() for name in (entry.name, *entry.aliases)}


def read(path: Path, module: str, asked: Mapping[str, Mapping[str, Option]]) -> Iterator[Entry]:
    """Every loss of one source file, in the order of the file.

    `asked` holds the options that come with a view or with what a loss returns, by its name.
    """
    for signature in functions(path):
        facts = signature.marks.get("loss")
        if facts is not None:
            yield entry_of(signature, module, asked, facts)


def entry_of(
    signature: Signature,
    module: str,
    asked: Mapping[str, Mapping[str, Option]],
    facts: Mapping[str, Any],
) -> Entry:
    """A loss from its signature and what its decorator says of it."""
    options = dict(signature.options)
    for annotation in (*signature.inputs.values(), signature.returns):
        for option in asked.get(annotation, {}).values():
            options.setdefault(option.name, option)
    if "background" in facts and "background" in options:
        options["background"] = replace(options["background"], default=facts["background"])
    facts = {"family": module.rpartition(".")[2], **facts}
    if "range" in facts:
        facts["range"] = _range(facts["range"])
    return Entry(
        signature.name,
        module,
        signature.line,
        signature.inputs,
        signature.returns,
        options,
        signature.doc,
        **facts,
    )


@cache
def options_asked() -> Mapping[str, Mapping[str, Option]]:
    """The options that come with a view or with what a loss returns, by its name."""
    weighing = _weighing()
    of_views = {
        view: {
            name: option
            for behind in behind(view)
            for name, option in (
                *(_views()[behind].options.items() if behind in _views() else ()),
                *(weighing.items() if behind == "Weight" else ()),
            )
        }
        for view in _views()
    }
    return {"Weight": weighing, **of_views, **_finishers()}


@cache
def weight_maps() -> Mapping[str, Signature]:
    """The weight maps by name: what makes weights of a plane."""
    found = functions(WEIGHT_MAPS)
    return {each.name: each for each in found if each.inputs == {"plane": "Plane"}}


@cache
def _weighing() -> Mapping[str, Option]:
    """The options of what multiplies the weights of pixels."""
    return next(each.options for each in functions(WEIGHT_MAPS) if each.name == "weighted")


@cache
def kinds() -> frozenset[str]:
    """What a loss can return."""
    return frozenset({*_finishers(), "Expression"})


@cache
def forms() -> frozenset[str]:
    """The forms and views that a loss can ask for."""
    named = [
        node.targets[0].id
        for node in parse(HERE / "interface" / "annotations.py").body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    ]
    return frozenset({*named, *_views(), "Input", "SampleBatch"} - TYPES.keys() - kinds())


@cache
def side_forms() -> frozenset[str]:
    """The forms of one input, in place of the pair: those that `Input` has by name."""
    (side,) = (
        node
        for node in parse(HERE / "interface" / "sample_batch.py").body
        if isinstance(node, ast.ClassDef) and node.name == "Input"
    )
    has = {part.name for part in side.body if isinstance(part, ast.FunctionDef)}
    named = {
        node.targets[0].id: node.value.slice.elts[-1].value
        for node in parse(HERE / "interface" / "annotations.py").body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if isinstance(node.value, ast.Subscript) and isinstance(node.value.slice, ast.Tuple)
        if isinstance(node.value.slice.elts[-1], ast.Constant)
    }
    return frozenset({form for form, attribute in named.items() if attribute in has} | {"Input"})


def roles() -> dict[str, tuple[str, ...]]:
    """The inputs beside pred and target that losses ask for by name: role -> those losses."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in entries():
        for role in entry.roles:
            found[role] = (*found.get(role, ()), entry.name)
    return found


def _sides(inputs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Parameters that name an input, of views too."""
    for name, form in inputs.items():
        bare = form.removesuffix(MAYBE)
        if bare in side_forms():
            yield name.removesuffix(EACH_SUFFIX), form
        if bare in _views():
            yield from _sides(_views()[bare].inputs)


def _range(written: tuple[float | None, float | None]) -> tuple[float, float]:
    """A range as written, None standing for no bound."""
    low, high = written
    return (-UNBOUNDED if low is None else low, UNBOUNDED if high is None else high)


@cache
def _views() -> Mapping[str, Signature]:
    """Every view's `of`, by the view's name."""
    return {
        node.name: signature_of(part, path, owner=node.name)
        for path in sorted((HERE / "views").glob("[!_]*.py"))
        for node in parse(path).body
        if isinstance(node, ast.ClassDef)
        for part in node.body
        if isinstance(part, ast.FunctionDef) and part.name == "of"
    }


def behind(view: str) -> Iterator[str]:
    """A form or view by its name, and what the view asks for itself."""
    view = view.removesuffix(MAYBE)
    yield view
    if view in _views():
        for form in _views()[view].inputs.values():
            yield from behind(form)


def _finishers() -> dict[str, dict[str, Option]]:
    """The common options, by the kind of result that they apply to."""
    return {
        kind: {**signature.options, **(_weighing() if facts.get("weighs") else {})}
        for signature in functions(HERE / "interface" / "reduction.py")
        if (facts := signature.marks.get("finishes"))
        for kind in facts["kinds"]
    }
