"""Pytest plugin: `--every-message` fails a session in which some message of ours was never made.

Each process appends the lines on which it made an error to one file; the controller compares them
with the lines of the source that make one.
"""

from __future__ import annotations

import ast
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import wraps
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from helpers.paths import REPOSITORY

OPTION = "--every-message"
VARIABLE = "LOSSBENCH_TEST_MESSAGES"  # the file, for xdist's workers and forked readers
SOURCES = {"lossbench": "lossbench", "lossbench_cli": "cli"}  # packages and their folders
BASES = {"LossbenchError", "PairError"}
DEPTH = 8  # frames between an error and the function whose advice it carries
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Site(NamedTuple):
    """A call that makes an error, from its first to its last line."""

    file: str
    first: int
    last: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.first}: {self.text}"


def sites(root: Path = REPOSITORY) -> list[Site]:
    """Every call of an error class, or of a function that returns or raises nothing else."""
    trees = {
        path: ast.parse(path.read_text("utf-8"))
        for path in sorted(
            chain.from_iterable((root / each).rglob("*.py") for each in SOURCES.values())
        )
    }
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    classes = set(BASES)
    for _ in range(3):  # subclasses of subclasses
        classes |= {
            node.name
            for node in nodes
            if isinstance(node, ast.ClassDef) and any(_name(base) in classes for base in node.bases)
        }
    own = {each for node in nodes if isinstance(node, ast.ClassDef) and node.name in classes
           for each in node.body}  # fmt: skip
    makers = classes | {
        node.name
        for node in nodes
        if isinstance(node, FUNCTIONS) and node not in own and _makes_error(node, classes)
    }
    return [
        Site(str(path.relative_to(root)), node.lineno, node.end_lineno or node.lineno, _text(node))
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _name(node.func) in makers
    ]


def _makes_error(function: Any, classes: set[str]) -> bool:
    returned = _name(function.returns)
    calls = (_name(node.func) for node in ast.walk(function) if isinstance(node, ast.Call))
    return returned in classes or (returned == "NoReturn" and any(c in classes for c in calls))


def _name(node: ast.AST | None) -> str:
    return getattr(node, "attr", "") or getattr(node, "id", "")


def _text(node: ast.Call) -> str:
    text = ast.unparse(node)
    return text if len(text) < 90 else f"{text[:89]}…"


def record(path: str) -> None:
    """Append to a file, once a line, where each error of this process is made."""
    from lossbench import errors

    folders = {
        folder + os.sep: name
        for package, name in SOURCES.items()
        for folder in getattr(find_spec(package), "submodule_search_locations", ())
    }
    seen: set[tuple[str, int]] = set()
    out = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def frames() -> Iterator[tuple[str, int]]:
        frame = sys._getframe(2)
        for _ in range(DEPTH):
            yield frame.f_code.co_filename, frame.f_lineno
            if frame.f_back is None:
                return
            frame = frame.f_back

    for each in (errors.LossbenchError, errors.PairError):
        make = each.__init__

        @wraps(make)
        def recording(self: Any, *words: Any, _make: Any = make, **keys: Any) -> None:
            for place in frames():
                if place not in seen and place[0].startswith(tuple(folders)):
                    seen.add(place)
                    folder = next(each for each in folders if place[0].startswith(each))
                    file = Path(folders[folder], place[0].removeprefix(folder))
                    os.write(out, f"{file}\t{place[1]}\n".encode())
            _make(self, *words, **keys)

        each.__init__ = recording  # type: ignore[method-assign]


def unreached(path: Path) -> list[Site]:
    """The sites of the source that no line of a record touches."""
    lines: dict[str, set[int]] = {}
    for line in path.read_text("utf-8").splitlines():
        file, _, number = line.rpartition("\t")
        lines.setdefault(file, set()).add(int(number))
    return [
        site
        for site in sites()
        if not any(site.first <= each <= site.last for each in lines.get(site.file, ()))
    ]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        OPTION,
        action="store_true",
        help="fail if an error message of lossbench/ or cli/ is made by no test",
    )


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption(OPTION):
        return
    if not hasattr(config, "workerinput"):
        handle, os.environ[VARIABLE] = tempfile.mkstemp(prefix="lossbench-messages-")
        os.close(handle)
    record(os.environ[VARIABLE])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if not config.getoption(OPTION) or hasattr(config, "workerinput"):
        return
    path = Path(os.environ.pop(VARIABLE))
    config.unreached_messages = unreached(path)  # type: ignore[attr-defined]
    path.unlink()
    if config.unreached_messages and session.exitstatus == pytest.ExitCode.OK:  # type: ignore[attr-defined]
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for site in getattr(config, "unreached_messages", ()):
        terminalreporter.write_line(f"no test makes the message of {site}", red=True)
