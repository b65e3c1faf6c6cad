"""Parser of a user's file: the losses that it defines, read from source.

A function in the forms of `lossbench.views` is a loss like the shipped ones. Any other function of
a prediction and a target is a plain function: it gets the arrays of one sample and returns a
number.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lossbench.catalog import registry
from lossbench.catalog.registry import Entry, entry_of
from lossbench.catalog.signatures import (
    Option,
    Signature,
    annotation_text,
    constructors,
    documented,
    signature_of,
)
from lossbench.catalog.tasks import POSITIONAL, USUAL
from lossbench.errors import SettingError, did_you_mean

FAMILY = "own"
PIXELS = ("binary", "multiclass", "multilabel", "image")  # tasks with pixels
# Names that identify the two arrays of a plain function; other names are identified by order.
PREDS = ("pred", "preds", "prediction", "predictions", "predicted", "y_pred", "y_hat", "output")
TARGETS = ("target", "targets", "gt", "truth", "ground_truth", "y_true", "label", "labels")
SCALARS = {"bool", "bytes", "complex", "float", "int", "str"}  # a function of scalars is no loss
SPELLINGS = {"list": "Sequence", "List": "Sequence"}  # in annotations of options
MARKS = ("loss", "lossbench.losses.loss", "lossbench.plugin_api.loss")


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _names(value: Any) -> bool:
    return _texts(value) and all(map(str.isidentifier, value))


def _ends(value: Any) -> bool:
    ends = isinstance(value, list | tuple) and len(value) == 2
    return ends and all(end is None or isinstance(end, int | float) for end in value)


# Facts that `@loss(...)` can state: description for messages, and a predicate for values.
FACTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "family": ("a word", lambda value: isinstance(value, str) and value.isidentifier()),
    "use": ("a text", lambda value: isinstance(value, str)),
    "tasks": ("a list of words", _texts),
    "sources": ("a list of texts", _texts),
    "range": ("two numbers, None where there is no bound", _ends),
    "better": ("'lower', 'higher' or None", lambda value: value in ("lower", "higher", None)),
    "aliases": ("a list of names", _names),
    "example": ("an expression", lambda value: isinstance(value, str)),
    "couples": ("true or false", lambda value: isinstance(value, bool)),
    "background": ("true or false", lambda value: isinstance(value, bool)),
    "revision": ("a whole number", lambda value: isinstance(value, int)),
}  # fmt: skip


# What a loss that gets arrays of NumPy as well as tensors may import and call.
NEUTRAL_IMPORTS = ("__future__", "collections.abc", "lossbench.plugin_api", "math", "typing")
NEUTRAL_METHODS = {"any", "all", "clip", "cumsum", "reshape", "sum"}  # with positions, min, max
DEVICE = {"data", "device", "dtype", "grad", "requires_grad", "size"}  # of tensors, or another's


def is_neutral(tree: ast.Module) -> bool:
    """Whether a file is written against `lossbench.plugin_api` alone.

    Its losses then compute with whatever arrays they get. A file that imports another library, or
    calls a method that only tensors have, gets tensors.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                if any(each.name not in NEUTRAL_IMPORTS for each in names):
                    return False
            case ast.ImportFrom(module=module):
                if module not in NEUTRAL_IMPORTS:
                    return False
            case ast.Call(func=ast.Attribute(value=owner, attr=method), keywords=keywords):
                of_module = isinstance(owner, ast.Name) and owner.id in NEUTRAL_IMPORTS
                options = {each.arg for each in keywords}
                if not of_module and (method not in NEUTRAL_METHODS or options - {"min", "max"}):
                    return False
            case ast.Attribute(attr=name) if name in DEVICE:
                return False
    return True


def losses_of(tree: ast.Module, path: Path, module: str) -> list[Entry]:
    """All losses of a file, in order.

    If `@loss(...)` marks any function, only marked functions are losses; otherwise all public
    functions of a prediction and a target are.
    """
    names = _NameResolver(tree)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    for node in functions:
        names.apply(node)
    used = {annotation_text(p.annotation) for node in functions for p in _positional(node)}
    views = {name: part for name, part in constructors(tree).items() if name in used}
    for part in views.values():
        names.apply(part)
    source = _Source(path, module, tree, views)
    marked = [node for node in functions if node.decorator_list]
    return [source.entry(node) for node in marked or functions if marked or source.is_loss(node)]


class _Source:
    """A file whose functions become entries; errors name the line."""

    def __init__(
        self, path: Path, module: str, tree: ast.Module, views: Mapping[str, ast.FunctionDef]
    ) -> None:
        self.path, self.module, self.tree = path, module, tree
        own = {name: self._signature(part, name) for name, part in views.items()}
        self.forms = registry.forms() | own.keys()
        self.common = {**registry.common_options(), **{n: view.options for n, view in own.items()}}
        self.positional = {
            name
            for name, view in own.items()
            for used in view.inputs.values()
            if not set(registry.with_inputs(used)).isdisjoint(POSITIONAL)
        }
        tasks = [task for entry in registry.builtin().values() for task in entry.tasks]
        self.tasks = tuple(dict.fromkeys([*USUAL, *tasks]))

    def is_loss(self, node: ast.FunctionDef) -> bool:
        """Whether an unmarked function is a loss."""
        arrays = _arrays(node)
        plain = len(arrays) == 2 and not SCALARS & {annotation_text(p.annotation) for p in arrays}
        return not node.name.startswith("_") and (plain or self._has_forms(node))

    def entry(self, node: ast.FunctionDef) -> Entry:
        """The catalogue entry of a function."""
        facts = self._facts(node)
        if not self._has_forms(node):
            facts["pixels"] = True
            return entry_of(self._plain(node), self.module, self.common, facts)
        signature = self._signature(node, node.name)
        for name, form in signature.inputs.items():
            self._check_input(node, name, form)
        if signature.returns not in registry.kinds():
            raise self._wrong(
                node,
                f"the return annotation is {signature.returns or 'missing'}; expected one of"
                f" {', '.join(sorted(registry.kinds()))}",
            )
        facts["pixels"] = not self.positional.isdisjoint(signature.inputs.values())
        return entry_of(signature, self.module, self.common, facts)

    def _has_forms(self, node: ast.FunctionDef) -> bool:
        """Whether a signature uses forms, like those of shipped losses."""
        annotations = {
            annotation_text(p.annotation).removesuffix(registry.MAYBE) for p in _positional(node)
        }
        return bool(annotations & self.forms) or annotation_text(node.returns) in registry.kinds()

    def _check_input(self, node: ast.FunctionDef, name: str, form: str) -> None:
        form = form.removesuffix(registry.MAYBE)
        if form not in self.forms:
            raise self._wrong(
                node,
                f"input {name} has {f'the unknown form {form}' if form else 'no form'}"
                f"{did_you_mean(form, self.forms)}; if one input has a form of lossbench.views, all"
                " inputs need one",
            )
        hint = "" if name in registry.PAIR or "_" in name else did_you_mean(name, registry.PAIR)
        if hint and form in registry.input_forms():
            raise self._wrong(node, f"no input is called {name!r}{hint}")

    def _signature(self, node: ast.FunctionDef, owner: str) -> Signature:
        """A signature with forms."""
        for parameter, default in _optional(node):
            if default is None:
                raise self._wrong(node, f"option {parameter.arg} has no default")
        if node.args.defaults or node.args.vararg or node.args.kwarg:
            raise self._wrong(node, "inputs cannot have defaults, and options must follow a *")
        try:
            signature = signature_of(node, self.path, owner, self.tree)
        except ValueError:
            raise self._wrong(node, "defaults must be literals") from None
        for option in signature.options.values():
            self._check_option(node, option)
        return signature

    def _plain(self, node: ast.FunctionDef) -> Signature:
        """The signature of a plain function; its parameters with literal defaults are options."""
        arrays = [p.arg for p in _arrays(node)]
        if len(arrays) != 2:
            raise self._wrong(node, f"it takes {len(arrays)} inputs; expected pred and target")
        role = dict(zip(arrays, _roles(*arrays), strict=True))
        required = [p.arg for p in _required(node)]
        inputs = [role.get(name, name) for name in required]
        keywords = (p.arg for p in (*node.args.args, *node.args.kwonlyargs))
        if "weight" not in required and "weight" in keywords:
            inputs.append("weight")
        tensors = any("Tensor" in annotation_text(p.annotation) for p in _required(node))
        doc, descriptions = documented(node)
        options = {}
        for parameter, expression in _optional(node):
            name = parameter.arg
            if name in inputs:
                continue
            if expression is None:
                raise self._wrong(node, f"option {name} has no default")
            try:
                default = ast.literal_eval(expression)
            except ValueError:
                continue  # not an option: the parameter keeps its default
            kind = annotation_text(parameter.annotation) or _type_of(default)
            if kind:
                default = tuple(default) if isinstance(default, list) else default
                options[name] = Option(name, kind, default, node.name, descriptions.get(name, ""))
                self._check_option(node, options[name])
        form = registry.ARRAYS[1] if tensors else registry.ARRAYS[0]
        return Signature(
            node.name, node.lineno, dict.fromkeys(inputs, form), options, "PerSample", doc
        )

    def _check_option(self, node: ast.FunctionDef, option: Option) -> None:
        """Check that the type of an option is one that expressions support."""
        with suppress(KeyError, TypeError, ValueError, SyntaxError):
            if option.expected:
                return
        raise self._wrong(
            node,
            f"option {option.name} is {option.type or 'without a type'}; expected float, int,"
            " bool, str, None, Literal of words, Sequence of these, or several with |",
        )

    def _facts(self, node: ast.FunctionDef) -> dict[str, Any]:
        """The facts of `@loss(...)`, with defaults."""
        tasks = tuple(task for task in self.tasks if task in PIXELS)
        facts: dict[str, Any] = {"family": FAMILY, "tasks": tasks, "range": (None, None)}
        for mark in node.decorator_list:
            if not isinstance(mark, ast.Call) or mark.args:
                raise self._wrong(node, "expected @loss() with names, such as better='higher'")
            for fact in mark.keywords:
                name, value = self._fact(node, fact)
                facts[name] = value
        unknown = [task for task in facts["tasks"] if task not in self.tasks]
        if unknown:
            known = ", ".join(self.tasks)
            raise self._wrong(node, f"no task is called {unknown[0]!r}; there are {known}")
        return facts

    def _fact(self, node: ast.FunctionDef, fact: ast.keyword) -> tuple[str, Any]:
        name = fact.arg or "**"
        if name not in FACTS:
            raise self._wrong(node, f"@loss has no {name!r}{did_you_mean(name, FACTS)}")
        expected, fits = FACTS[name]
        try:
            value = ast.literal_eval(fact.value)
        except ValueError:
            raise self._wrong(node, f"{name} of @loss must be a literal") from None
        if not fits(value):
            raise self._wrong(node, f"{name} of @loss is {expected}, not {value!r}")
        return name, tuple(value) if isinstance(value, list) else value

    def _wrong(self, node: ast.FunctionDef, message: str) -> SettingError:
        return SettingError(f"{self.path}, line {node.lineno}, {node.name}: {message}")


class _NameResolver(ast.NodeTransformer):
    """Rewrites annotations and decorators to the catalogue's names, however they are imported."""

    def __init__(self, tree: ast.Module) -> None:
        self.paths: dict[str, str] = {}  # local name -> full name
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    self.paths[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self.paths[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def apply(self, node: ast.FunctionDef) -> None:
        """Rewrite a function's annotations, and remove decorators other than `loss`."""
        for parameter in (*_positional(node), *node.args.kwonlyargs):
            parameter.annotation = parameter.annotation and self.visit(parameter.annotation)
        node.returns = node.returns and self.visit(node.returns)
        marks: list[ast.expr] = []
        for mark in node.decorator_list:
            called = mark.func if isinstance(mark, ast.Call) else mark
            if self._path(ast.unparse(called)) in MARKS:
                name = ast.Name("loss")
                if isinstance(mark, ast.Call):
                    mark.func = name
                marks.append(mark if isinstance(mark, ast.Call) else name)
        node.decorator_list = marks

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if not isinstance(node.value, str):
            return node
        try:
            inner: ast.expr = self.visit(ast.parse(node.value, mode="eval").body)
        except SyntaxError:
            return node
        return inner

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        kind = annotation_text(self.visit(node.value))
        if kind == "Optional":
            return ast.BinOp(self.visit(node.slice), ast.BitOr(), ast.Constant(None))
        item = node.slice if kind == "Literal" else self.visit(node.slice)
        return ast.Subscript(ast.Name(kind), item)

    def visit_Name(self, node: ast.Name | ast.Attribute) -> ast.Name:
        """The last part of a name, or the full name if it only looks like a form of ours."""
        path = self._path(ast.unparse(node))
        last = path.rpartition(".")[2]
        ours = "." not in path or path.startswith("lossbench.")
        known = registry.forms() | registry.kinds()
        return ast.Name(SPELLINGS.get(last, last) if ours or last not in known else path)

    def visit_Attribute(self, node: ast.Attribute) -> ast.Name:
        return self.visit_Name(node)

    def _path(self, name: str) -> str:
        top, dot, rest = name.partition(".")
        return f"{self.paths.get(top, top)}{dot}{rest}"


def _roles(first: str, second: str) -> tuple[str, str]:
    """Roles of two arrays: by their names, else by their order."""
    names = first.lower(), second.lower()
    is_target = [name in TARGETS for name in names]
    is_pred = [name in PREDS for name in names]
    swapped = is_target == [True, False] or is_pred == [False, True]
    return ("target", "pred") if swapped else ("pred", "target")


def _type_of(default: Any) -> str:
    """The type of an option without annotation, from its default; "" if expressions lack it."""
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
    parameters = _positional(node)
    return parameters[: len(parameters) - len(node.args.defaults)]


def _arrays(node: ast.FunctionDef) -> list[ast.arg]:
    """The required inputs of a plain function, other than a weight."""
    return [parameter for parameter in _required(node) if parameter.arg != "weight"]


def _optional(node: ast.FunctionDef) -> list[tuple[ast.arg, ast.expr | None]]:
    """Parameters that can be passed by name, if they have a default or are keyword-only."""
    from_last = zip(node.args.args[::-1], node.args.defaults[::-1], strict=False)
    return [*[*from_last][::-1], *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
