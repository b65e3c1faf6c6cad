"""The catalogue, read from source without what functions do."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from lossbench.catalog import registry, signatures

FILES = [path for part in ("losses", "views") for path in (registry.HERE / part).glob("*.py")]


def functions(source: str) -> dict[int, list[str]]:
    """By line: what a module says of its functions, those of classes too."""
    tree = ast.parse(source)
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    return {
        node.lineno: [
            node.name,
            ast.unparse(node.args),
            ast.unparse(node.returns) if node.returns else "",
            ast.get_docstring(node) or "",
            *map(ast.unparse, node.decorator_list),
        ]
        for body in bodies
        for node in body
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_heads_say_all_that_the_catalogue_reads(path: Path) -> None:
    source = path.read_text("utf-8")
    assert functions(signatures.heads(source)) == functions(source)


SOURCE = '''
def f(
    x: int,
) -> int:
    """One.

    Two.
    """
    y = x

    return y


class A:
    """Class."""

    b: int

    def g(self) -> int:
        """G."""
        return 1

    def h(self) -> int:
        return 2
'''


def test_heads_have_no_bodies() -> None:
    left = ast.unparse(ast.parse(signatures.heads(SOURCE)))
    assert "return y" not in left
    assert "return 1" not in left
    assert "b: int" in left
    assert "return 2" in left  # without a docstring nothing else would be left of it
