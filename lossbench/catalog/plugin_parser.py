"""What losses a user's file holds, read from its source.

A function in the forms of `lossbench.views` is what a shipped loss is. Any other function of a
prediction and a target is a plain one: it gets the arrays of one sample and returns one number.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lossbench.catalog import registry
from lossbench.catalog.registry import Entry, entry_of
from lossbench.catalog.signatures import (
    Option,
    Signature,
    annotation_text,
    documented,
    signature_of,
)
from lossbench.catalog.tasks import POSITIONAL, USUAL
from lossbench.errors import SettingError, did_you_mean

FAMILY = "own"
PIXELS = ("binary", "multiclass", "multilabel", "image")  # the tasks that have some
# By these names a plain function's two arrays are told apart; by their order where others are used.
PREDS = ("pred", "preds", "prediction", "predictions", "predicted", "y_pred", "y_hat", "output")
TARGETS = ("target", "targets", "gt", "truth", "ground_truth", "y_true", "label", "labels")
SCALARS = {"bool", "bytes", "complex", "float", "int", "str"}  # a function of these is no loss
SPELLINGS = {"list": "Sequence", "List": "Sequence"}  # in annotations of options
MARKS = ("loss", "lossbench.losses.loss", "lossbench.plugin_api.loss")


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def _names(value: Any) -> bool:
    return _texts(value) and all(map(str.isidentifier, value))


def _ends(value: Any) -> bool:
    ends = isinstance(value, list | tuple) and len(value) == 2
    return ends and all(end is None or isinstance(end, int | float) for end in value)


# What `@loss(...)` can say: in words, and whether a value is that.
FACTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "family": ("a word", lambda value: isinstance(value, str) and value.isidentifier()),
    "use": ("a text", lambda value: isinstance(value, str)),
    "tasks": ("a list of words", _texts),
    "sources": ("a list of texts", _texts),
    "range": ("two numbers, None where there is no bound", _ends),
    "better": ("'lower', 'higher' or None", lambda value: value in ("lower", "higher", None)),
    "aliases": ("a list of names", lambda value: _names(value)),
    "example": ("an expression", lambda value: isinstance(value, str)),
    "couples": ("true or false", lambda value: isinstance(value, bool)),
    "background": ("true or false", lambda value: isinstance(value, bool)),
    "revision": ("a whole number", lambda value: isinstance(value, int)),
}  # fmt: skip


def losses_of(tree: ast.Module, path: Path, module: str) -> list[Entry]:
    """Every loss of a file, in its order.

    Where `@loss(...)` marks functions, only those are losses; else all public functions are that
    take a prediction and a target.
    """
    words = _Words(tree)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    for node in functions:
        words.apply(node)
    source = _Source(path, module, _own_views(tree, functions, words))
    marked = [node for node in functions if node.decorator_list]
    return [source.entry(node) for node in marked or functions if marked or source.is_loss(node)]


def _own_views(
    tree: ast.Module, functions: Sequence[ast.FunctionDef], words: _Words
) -> dict[str, ast.FunctionDef]:
    """The `of` of every view that the file defines and a function of it asks for."""
    asked = {annotation_text(p.annotation) for node in functions for p in _positional(node)}
    views = {
        node.name: part
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name in asked
        for part in node.body
        if isinstance(part, ast.FunctionDef) and part.name == "of"
    }
    for part in views.values():
        words.apply(part)
    return views


class _Source:
    """A file whose functions become entries; what is wrong is told with its line."""

    def __init__(self, path: Path, module: str, views: Mapping[str, ast.FunctionDef]) -> None:
        self.path, self.module = path, module
        own = {name: self._signature(part, name) for name, part in views.items()}
        self.forms = registry.forms() | own.keys()
        self.asked = {**registry.options_asked(), **{n: each.options for n, each in own.items()}}
        self.in_place = {
            name
            for name, each in own.items()
            if any(
                form in POSITIONAL
                for asked in each.inputs.values()
                for form in registry.behind(asked)
            )
        }
        every = [task for entry in registry.builtin().values() for task in entry.tasks]
        self.tasks = tuple(dict.fromkeys([*USUAL, *every]))

    def is_loss(self, node: ast.FunctionDef) -> bool:
        """Whether a function that nothing marks is meant as a loss."""
        sides = _sides(node)
        arrays = len(sides) == 2 and not SCALARS & {annotation_text(p.annotation) for p in sides}
        return not node.name.startswith("_") and (arrays or self._is_formal(node))

    def entry(self, node: ast.FunctionDef) -> Entry:
        """The loss that a function is."""
        facts = self._facts(node)
        if not self._is_formal(node):
            return replace(entry_of(self._plain(node), self.module, self.asked, facts), pixels=True)
        signature = self._signature(node, node.name)
        for name, form in signature.inputs.items():
            self._check_input(node, name, form)
        if signature.returns not in registry.kinds():
            raise self._wrong(
                node,
                f"it returns {signature.returns or 'it does not say what'}; expected one of"
                f" {', '.join(sorted(registry.kinds()))}",
            )
        entry = entry_of(signature, self.module, self.asked, facts)
        return replace(entry, pixels=bool(self.in_place & set(signature.inputs.values())))

    def _is_formal(self, node: ast.FunctionDef) -> bool:
        """Whether a signature is written in forms, as those of shipped losses are."""
        words = {
            annotation_text(p.annotation).removesuffix(registry.MAYBE) for p in _positional(node)
        }
        return bool(words & self.forms) or annotation_text(node.returns) in registry.kinds()

    def _check_input(self, node: ast.FunctionDef, name: str, form: str) -> None:
        form = form.removesuffix(registry.MAYBE)
        if form not in self.forms:
            raise self._wrong(
                node,
                f"input {name} is {form or 'without a form'}"
                f"{did_you_mean(form, self.forms)}; where one"
                " has a form of lossbench.views, all have",
            )
        slip = "" if name in registry.PAIR or "_" in name else did_you_mean(name, registry.PAIR)
        if slip and form in registry.side_forms():
            raise self._wrong(node, f"no input is called {name!r}{slip}")

    def _signature(self, node: ast.FunctionDef, owner: str) -> Signature:
        """A signature in forms."""
        _, bare = _with_defaults(node)
        if bare:
            raise self._wrong(node, f"option {bare[0]} has no default")
        if node.args.defaults or node.args.vararg or node.args.kwarg:
            raise self._wrong(node, "inputs have no defaults, and options stand behind a *")
        try:
            signature = signature_of(node, self.path, owner)
        except ValueError:
            raise self._wrong(node, "defaults must be literals") from None
        for option in signature.options.values():
            self._check_option(node, option)
        return signature

    def _plain(self, node: ast.FunctionDef) -> Signature:
        """A function of arrays, whose parameters with literal defaults are options."""
        sides = [p.arg for p in _sides(node)]
        if len(sides) != 2:
            raise self._wrong(node, f"it takes {len(sides)} inputs; expected pred and target")
        role = dict(zip(sides, _roles(*sides), strict=True))
        required = [p.arg for p in _required(node)]
        inputs = [role.get(name, name) for name in required]
        named = (p.arg for p in (*node.args.args, *node.args.kwonlyargs))
        if "weight" not in required and "weight" in named:
            inputs.append("weight")
        tensors = any("Tensor" in annotation_text(p.annotation) for p in _required(node))
        doc, described = documented(node)
        given, bare = _with_defaults(node)
        for name in bare:
            if name not in inputs:
                raise self._wrong(node, f"option {name} has no default")
        options = {}
        for parameter, written in given:
            name = parameter.arg
            try:
                default = ast.literal_eval(written)
            except ValueError:
                continue  # it keeps its default
            kind = annotation_text(parameter.annotation) or _kind(default)
            if kind and name not in inputs:
                default = tuple(default) if isinstance(default, list) else default
                options[name] = Option(name, kind, default, node.name, described.get(name, ""))
                self._check_option(node, options[name])
        form = registry.ARRAYS[1] if tensors else registry.ARRAYS[0]
        return Signature(
            node.name, node.lineno, dict.fromkeys(inputs, form), options, "PerSample", doc
        )

    def _check_option(self, node: ast.FunctionDef, option: Option) -> None:
        """An option's type must be one that expressions can be held against."""
        try:
            known = bool(option.words)
        except (KeyError, TypeError, ValueError, SyntaxError):
            known = False
        if not known:
            raise self._wrong(
                node,
                f"option {option.name} is {option.type or 'without a type'}; expected float, int,"
                " bool, str, None, Literal of words, Sequence of these, or several with |",
            )

    def _facts(self, node: ast.FunctionDef) -> dict[str, Any]:
        """What `@loss(...)` says, and what holds where it says nothing."""
        usual = tuple(task for task in self.tasks if task in PIXELS)
        facts: dict[str, Any] = {"family": FAMILY, "tasks": usual, "range": (None, None)}
        for mark in node.decorator_list:
            if not isinstance(mark, ast.Call) or mark.args:
                raise self._wrong(node, "expected @loss() with names, such as better='higher'")
            for fact in mark.keywords:
                name, value = self._fact(node, fact)
                facts[name] = value
        strange = [task for task in facts["tasks"] if task not in self.tasks]
        if strange:
            known = ", ".join(self.tasks)
            raise self._wrong(node, f"no task is called {strange[0]!r}; there are {known}")
        return facts

    def _fact(self, node: ast.FunctionDef, fact: ast.keyword) -> tuple[str, Any]:
        name = fact.arg or "**"
        if name not in FACTS:
            raise self._wrong(node, f"@loss has no {name!r}{did_you_mean(name, FACTS)}")
        wanted, fits = FACTS[name]
        try:
            value = ast.literal_eval(fact.value)
        except ValueError:
            raise self._wrong(node, f"{name} of @loss must be a literal") from None
        if not fits(value):
            raise self._wrong(node, f"{name} of @loss is {wanted}, not {value!r}")
        return name, tuple(value) if isinstance(value, list) else value

    def _wrong(self, node: ast.FunctionDef, what: str) -> SettingError:
        return SettingError(f"{self.path}, line {node.lineno}, {node.name}: {what}")


class _Words(ast.NodeTransformer):
    """Annotations and decorators in the catalogue's words, however the file imports them."""

    def __init__(self, tree: ast.Module) -> None:
        self.paths: dict[str, str] = {}  # local name -> where it is from
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    self.paths[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self.paths[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def apply(self, node: ast.FunctionDef) -> None:
        """Rewrite a function's annotations, and keep of its decorators what marks it as a loss."""
        for parameter in (*_positional(node), *node.args.kwonlyargs):
            parameter.annotation = parameter.annotation and self.visit(parameter.annotation)
        node.returns = node.returns and self.visit(node.returns)
        marks: list[ast.expr] = []
        for mark in node.decorator_list:
            called = mark.func if isinstance(mark, ast.Call) else mark
            if self._path(ast.unparse(called)) in MARKS:
                name = ast.Name("loss", ast.Load())
                marks.append(
                    ast.Call(name, mark.args, mark.keywords) if isinstance(mark, ast.Call) else name
                )
        node.decorator_list = marks

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._word(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return self._word(node)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if not isinstance(node.value, str):
            return node
        try:
            inner: ast.expr = self.visit(ast.parse(node.value, mode="eval").body)
        except SyntaxError:
            return node
        return inner

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        kind, value = annotation_text(self.visit(node.value)), ast.Name("", ast.Load())
        if kind == "Optional":
            return ast.BinOp(self.visit(node.slice), ast.BitOr(), ast.Constant(None))
        value.id = kind
        return ast.Subscript(
            value, node.slice if kind == "Literal" else self.visit(node.slice), ast.Load()
        )

    def _word(self, node: ast.expr) -> ast.Name:
        """The last part of a name; in full where it only looks like a form of ours."""
        path = self._path(ast.unparse(node))
        last = path.rpartition(".")[2]
        ours = "." not in path or path.startswith("lossbench.")
        known = registry.forms() | registry.kinds()
        return ast.Name(SPELLINGS.get(last, last) if ours or last not in known else path)

    def _path(self, written: str) -> str:
        top, dot, rest = written.partition(".")
        return f"{self.paths.get(top, top)}{dot}{rest}"


def _roles(first: str, second: str) -> tuple[str, str]:
    """Which of two arrays is the prediction: by their names, else by their order."""
    names = first.lower(), second.lower()
    of_target = [name in TARGETS for name in names]
    of_pred = [name in PREDS for name in names]
    turned = of_target == [True, False] or of_pred == [False, True]
    return ("target", "pred") if turned else ("pred", "target")


def _kind(default: Any) -> str:
    """The type of an option that says none; nothing where it is none that can be typed."""
    if default is None:
        return "float | bool | str | None"
    if isinstance(default, bool | int | float | str):
        return type(default).__name__
    if isinstance(default, list | tuple):
        return "Sequence[str]" if default and _texts(default) else "Sequence[float]"
    return ""


def _positional(node: ast.FunctionDef) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args]


def _required(node: ast.FunctionDef) -> list[ast.arg]:
    every = _positional(node)
    return every[: len(every) - len(node.args.defaults)]


def _sides(node: ast.FunctionDef) -> list[ast.arg]:
    """The inputs that a plain function cannot do without."""
    return [parameter for parameter in _required(node) if parameter.arg != "weight"]


def _with_defaults(node: ast.FunctionDef) -> tuple[list[tuple[ast.arg, ast.expr]], list[str]]:
    """Parameters with their defaults, and the keyword-only ones that have none."""
    late = [each for each in node.args.args if each not in _required(node)]
    defaults = node.args.defaults[len(node.args.defaults) - len(late) :]
    named = list(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
    given = [(parameter, default) for parameter, default in named if default is not None]
    bare = [parameter.arg for parameter, default in named if default is None]
    return [*zip(late, defaults, strict=True), *given], bare
