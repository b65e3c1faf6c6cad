"""A text of settings in YAML: access to its nodes, and a list of its problems."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lossbench.catalog.columns import resolve
from lossbench.catalog.grammar import ExpressionError, Gate
from lossbench.errors import SettingError, printable
from lossbench.results.gates import check

if TYPE_CHECKING:
    from yaml import Node

NULL = "tag:yaml.org,2002:null"
YAML = "tag:yaml.org,2002:"


@dataclass
class YamlSource:
    """A file or an environment variable, with the problems of its text.

    Attributes:
        name: its name in messages.
        text: the whole text.
        folder: the folder of relative paths.
        problems: line, column and message of each problem.
        losses: the valid expressions.
        faulty: names of columns with an invalid expression.
        gates: the valid gates, which are checked against the losses at the end.
    """

    name: str
    text: str = ""
    folder: str = ""
    problems: list[tuple[int, int, str]] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    faulty: set[str] = field(default_factory=set)
    gates: list[tuple[Node, Gate]] = field(default_factory=list)

    def wrong(self, node: Node, message: str, at: int = 0) -> None:
        """Add a problem, `at` characters into the text of a node."""
        mark = node.start_mark
        line, column, where = 0, 0, self.name
        if mark is not None:
            line, column = mark.line + 1, mark.column + 1
            opening = len(style(node))
            if at and self.text.startswith(str(node.value), mark.index + opening):
                column += opening + at
            where = f"{self.name}:{line}:{column}"
        lines = f"{where}: {message}".split("\n")
        self.problems.append((line, column, "\n".join(map(printable, lines))))

    def expression(self, node: Node, error: SettingError, before: int = 0) -> None:
        """Add the problem of an expression that has `before` more characters than the node."""
        at = error.at - before if isinstance(error, ExpressionError) else 0
        self.wrong(node, str(error), max(at, 0))

    def path(self, written: str) -> str:
        """A path for the run: a relative path starts at the folder; a URL stays as it is."""
        if "://" in written:
            return written
        return os.path.join(self.folder, os.path.expanduser(written))

    def check_gates(self) -> None:
        """Check the gates against the losses; baseline and groups may come from other sources."""
        for node, gate in self.gates:
            try:
                columns = resolve(self.losses, {}, [gate])
                check(gate, columns, {}, has_baseline=True, has_groups=True)
            except SettingError as error:
                if gate.loss.name not in self.faulty:
                    self.expression(node, error)

    def finish(self) -> None:
        """Report all problems at once, in one SettingError."""
        if self.problems:
            raise SettingError("\n".join(message for *_, message in sorted(self.problems)))


def text_of(source: YamlSource, node: Node, words: str) -> str | None:
    """A scalar as it is written, on one line; any other node is a problem."""
    if not isinstance(node.value, str):
        content = _content(node)
    elif node.tag == NULL or not node.value.strip():
        content = "nothing; leave the key out for the default"
    elif not node.tag.startswith(YAML):
        content = f"the tag {node.tag}, which has no meaning here"
    else:
        return " ".join(node.value.splitlines()) if "\n" in node.value else str(node.value)
    source.wrong(node, f"expected {words}, found {content}")
    return None


def nodes_of(node: Node) -> Iterable[Node]:
    """The items of a list; any other node is a list of one."""
    return [node] if isinstance(node.value, str) or is_mapping(node) else node.value


def mapping_items(source: YamlSource, node: Node, words: str) -> Iterator[tuple[Node, str, Node]]:
    """The entries of a mapping: node and text of the key, and the value; each key once."""
    if not is_mapping(node):
        source.wrong(node, f"expected {words}, found {_content(node)}")
        return
    lines: dict[str, int] = {}
    for key, below in node.value:
        name = key.value if isinstance(key.value, str) else None
        if name is None:
            source.wrong(key, f"a key is a word, not {_content(key)}; quote a text with brackets")
        elif name in lines:
            source.wrong(key, f"{name!r} is given twice, first in line {lines[name]}")
        else:
            lines[name] = key.start_mark.line + 1 if key.start_mark else 0
            yield key, name, below


def _content(node: Node) -> str:
    """The content of a node, for messages."""
    if isinstance(node.value, str):
        return repr(node.value) if node.value else "nothing"
    return "a mapping" if is_mapping(node) else "a list"


def is_mapping(node: Node) -> bool:
    """Whether a node has keys, without an import of YAML."""
    return getattr(node, "id", "") == "mapping"


def style(node: Node) -> str:
    """The opening quote of a scalar; "[" for a list or mapping in brackets."""
    return getattr(node, "style", None) or ("[" if getattr(node, "flow_style", False) else "")
