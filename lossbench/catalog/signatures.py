"""Function signatures parsed from source without importing: inputs, options, docstrings."""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from lossbench.errors import either
from lossbench.networks.architectures import NETWORKS

UNBOUNDED = float("inf")
SMALLEST = sys.float_info.min
MARKS = ("loss", "finishes")  # decorators that state facts


@dataclass(frozen=True)
class Option:
    """A keyword-only parameter: name, type as written, default, and the owner of the option."""

    name: str
    type: str
    default: Any
    owner: str  # the loss, a view, or the function that reduces the loss's result
    doc: str = ""

    @property
    def expected(self) -> str:
        """Description of the allowed values, for messages."""
        return _type(ast.parse(self.type, mode="eval").body)[0]

    def accepts(self, value: Any) -> bool:
        """Whether a value from an expression has the annotated type."""
        return _type(ast.parse(self.type, mode="eval").body)[1](value)


@dataclass(frozen=True)
class Signature:
    """A parsed function definition."""

    name: str
    line: int
    inputs: dict[str, str]  # parameter -> annotation, that is: input -> form
    options: dict[str, Option]
    returns: str  # PerPixel, PerClass, PerSample … or Expression
    doc: str
    marks: dict[str, dict[str, Any]] = field(default_factory=dict)


@cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a source file of this package."""
    return ast.parse(path.read_text("utf-8"), filename=str(path))


def functions(path: Path) -> Iterator[Signature]:
    """Signatures of the functions of a source file of this package."""
    tree = parse(path)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield signature_of(node, path, node.name, tree)


def views(path: Path) -> Iterator[Signature]:
    """Signatures of the constructors of a file's views, by the names of the views."""
    tree = parse(path)
    for name, node in constructors(tree).items():
        yield replace(signature_of(node, path, name, tree), name=name)


def constructors(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    """The `of(...)` of every view that a file defines, by the name of the view."""
    return {
        node.name: part
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for part in node.body
        if isinstance(part, ast.FunctionDef) and part.name == "of"
    }


def signature_of(node: ast.FunctionDef, path: Path, owner: str, tree: ast.Module) -> Signature:
    """The signature of a function definition in a file; its options belong to `owner`.

    Options that the function's docstring does not describe are described in the docstring of the
    file, once for all its functions.
    """
    doc, described = documented(node)
    described = documented(tree)[1] | described
    marks = {
        annotation_text(mark.func): {k.arg or "": ast.literal_eval(k.value) for k in mark.keywords}
        for mark in node.decorator_list
        if isinstance(mark, ast.Call) and annotation_text(mark.func) in MARKS
    }
    options = {}
    for p, expression in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if expression is not None:
            try:
                default = ast.literal_eval(expression)
            except ValueError as error:
                where = f"{path}:{node.lineno}"
                raise ValueError(f"{where}: defaults of {node.name} must be literals") from error
            kind = annotation_text(p.annotation)
            options[p.arg] = Option(p.arg, kind, default, owner, described.get(p.arg, ""))
    inputs = {
        p.arg: annotation_text(p.annotation) for p in (*node.args.posonlyargs, *node.args.args)
    }
    return Signature(
        node.name, node.lineno, inputs, options, annotation_text(node.returns), doc, marks
    )


@cache
def documented(node: ast.FunctionDef | ast.Module) -> tuple[str, dict[str, str]]:
    """A docstring, and its description of each parameter."""
    doc = ast.get_docstring(node) or ""
    return doc, arguments(sections(doc).get("Args", ""))


def annotation_text(node: ast.expr | None) -> str:
    """An annotation or a name, as text."""
    if isinstance(node, ast.Name):
        return node.id
    return ast.unparse(node) if node else ""


def sections(doc: str) -> dict[str, str]:
    """Sections of a docstring by heading (Args, Returns, Note); the text before them under ""."""
    parts = re.split(r"^(Args|Returns|Note):\n", doc, flags=re.MULTILINE)
    texts = [textwrap.dedent(part).strip() for part in parts[2::2]]
    return {"": parts[0].strip(), **dict(zip(parts[1::2], texts, strict=True))}


def arguments(text: str) -> dict[str, str]:
    """The description of each parameter, with continuation lines joined."""
    items = re.findall(r"^(\w+): (.*(?:\n +.*)*)", text, flags=re.MULTILINE)
    return {name: " ".join(description.split()) for name, description in items}


def _number(low: float, high: float, kind: Any = int | float) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, kind) and not isinstance(value, bool) and low <= value <= high
    )


# Types of options: description for messages, and a predicate for values.
TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "float": ("a number", _number(-UNBOUNDED, UNBOUNDED)),
    "NonNegative": ("a number from 0", _number(0, UNBOUNDED)),
    "Positive": ("a number above 0", _number(SMALLEST, UNBOUNDED)),
    "Share": ("a number from 0 to 1", _number(0, 1)),
    "Percent": ("a number from 0 to 100", _number(0, 100)),
    "int": ("a whole number", _number(-UNBOUNDED, UNBOUNDED, int)),
    "Count": ("a whole number from 1", _number(1, UNBOUNDED, int)),
    "bool": ("true or false", lambda v: isinstance(v, bool)),
    "str": ("a word", lambda v: isinstance(v, str)),
    "WeightMap": ("a weight map such as unet(w0=10, sigma=5)", lambda v: isinstance(v, str)),
    "LossCall": ("a loss such as bce or binary_focal(gamma=1)", lambda v: isinstance(v, str)),
    "NetworkName": (either(NETWORKS), lambda v: isinstance(v, str) and v in NETWORKS),
    "None": ("none", lambda v: v is None),
}


def _type(annotation: ast.expr) -> tuple[str, Callable[[Any], bool]]:
    """Description of an annotation, and a predicate for its values."""
    match annotation:
        case ast.BinOp(left=left, right=right):
            (text, fits), (other_text, other_fits) = _type(left), _type(right)
            return f"{text} or {other_text}", lambda value: fits(value) or other_fits(value)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            allowed = ast.literal_eval(choices)
            known = allowed if isinstance(allowed, tuple) else (allowed,)
            return either(known), lambda value: isinstance(value, str) and value in known
        case ast.Subscript(value=ast.Name(id="Sequence"), slice=item):
            text, fits = _type(item)
            plural = re.sub("^a (number|word)", r"\1s", text).removeprefix("a ")
            return f"a list of {plural}", (
                lambda value: isinstance(value, list | tuple) and all(map(fits, value))
            )
        case _:
            return TYPES[ast.unparse(annotation)]
