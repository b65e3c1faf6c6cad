"""A user's own losses: Python files, and modules offered by installed packages.

They are parsed like the shipped ones, so listing and explaining them runs none of their code; the
code runs when one of them is computed.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from lossbench.catalog import registry
from lossbench.catalog.registry import Entry
from lossbench.errors import SettingError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "lossbench.losses"
Files = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
_importing = threading.RLock()


@dataclass(frozen=True)
class Plugin:
    """A file of losses; exactly the text that was parsed is run."""

    path: Path
    text: bytes = field(repr=False)
    module: str | None = None  # of an installed package, imported by Python's own import system
    neutral: bool = False  # whether its losses compute with arrays of NumPy as well as tensors

    @property
    def digest(self) -> str:
        """Hash that distinguishes versions of the file."""
        from hashlib import sha256

        return sha256(self.text).hexdigest()

    def function(self, entry: Entry) -> Callable[..., Any]:
        """The function of one of the file's losses; this runs the file."""
        function: Any = getattr(self._imported(), entry.name, None)
        if not callable(function):
            raise SettingError(f"{entry.location}: once imported, {entry.name} is not a function")
        if entry.returns == "Expression":
            return self._expression_of(function, entry)
        try:
            if not entry.plain:
                get_type_hints(function, include_extras=True)
        except Exception as error:
            raise SettingError(
                f"{entry.location}: annotations of {entry.name} cannot be resolved: {error}"
            ) from None
        return cast(Callable[..., Any], function)

    def describe(self, error: BaseException) -> str:
        """An exception in one line, with the last line of this file in its traceback."""
        name = str(self.path)
        lines = [
            line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == name
        ]
        message = str(error)
        if isinstance(error, SyntaxError):
            message, lines = error.msg, lines or [error.lineno or 0]
        line = f", line {lines[-1]}" if lines and lines[-1] else ""
        text = f"{type(error).__name__}: {message}" if message else type(error).__name__
        return f"{name}{line}: {text.partition(chr(10))[0]}"

    def _imported(self) -> ModuleType:
        """The module, imported once."""
        try:
            return import_module(self.module) if self.module else self._run()
        except (Exception, SystemExit) as error:
            raise SettingError(f"a plugin cannot be imported: {self.describe(error)}") from None

    def _run(self) -> ModuleType:
        """The module of a file, under a name that is unique for path and text."""
        from hashlib import sha256

        digest = sha256(bytes(self.path.resolve()) + self.text).hexdigest()
        name = f"_lossbench_plugin_{digest[:16]}"
        with _importing:
            if name not in sys.modules:
                module = ModuleType(name)
                module.__file__ = str(self.path)
                sys.modules[name] = module  # dataclasses look up their own module
                try:
                    exec(compile(self.text, str(self.path), "exec"), vars(module))
                except BaseException:
                    del sys.modules[name]
                    raise
            return sys.modules[name]

    def _expression_of(self, function: Callable[..., Any], entry: Entry) -> Callable[..., str]:
        """A combination of losses, checked to return an expression."""

        def expression(**options: Any) -> str:
            try:
                result = function(**options)
            except (Exception, SystemExit) as error:
                raise SettingError(f"{entry.name} failed: {self.describe(error)}") from None
            if not isinstance(result, str):
                raise SettingError(f"{entry.location}: expected an expression, got {result!r}")
            return result

        return expression


def file_names(files: Files) -> tuple[str, ...]:
    """The name of one file, or the names of a list of files."""
    paths = (files,) if isinstance(files, str | os.PathLike) else files
    return tuple(os.fspath(path) for path in paths)


@contextmanager
def using(plugins: Files) -> Iterator[None]:
    """Add the losses of files and of installed packages to the shipped ones."""
    files = {Path(path).resolve(): Path(path) for path in file_names(plugins)}
    own = [entry for file in files.values() for entry in read(file)]
    with registry.with_added([*installed(), *own]):
        yield


@cache
def installed() -> Sequence[Entry]:
    """Losses of packages with `lossbench.losses` entry points; none is imported."""
    if not any(map(_offers, sys.path)):
        return []
    from importlib.metadata import entry_points  # slow to import: it loads the email package

    return [entry for point in entry_points(group=GROUP) for entry in _offered(point)]


def _offers(folder: str) -> bool:
    """Whether a package in a folder or archive of Python's path may offer losses.

    This check is quick; Python's own entry_points takes as long as reading the catalogue.
    """
    try:
        with os.scandir(folder or ".") as files:
            packages = [each.path for each in files if each.name.lower().endswith("-info")]
    except OSError as error:
        return isinstance(error, NotADirectoryError)
    return any(GROUP.encode() in _content(Path(each, "entry_points.txt")) for each in packages)


def _content(path: Path) -> bytes:
    """The bytes of a file; empty if the file does not exist."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def read(path: Path, module: str | None = None) -> list[Entry]:
    """All losses of a file, in order; a file without any is an error."""
    from lossbench.catalog.plugin_parser import is_neutral, losses_of

    try:
        plugin = Plugin(path, path.read_bytes(), module)
    except OSError as error:
        raise SettingError(f"the plugin {path} cannot be read: {error.strerror}") from None
    try:
        tree = ast.parse(plugin.text, filename=str(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SettingError(f"a plugin cannot be read: {plugin.describe(error)}") from None
    losses = losses_of(tree, path, module or path.stem)
    if not losses:
        raise SettingError(
            f"the plugin {path} has no loss; expected a function such as"
            " `def my_loss(pred, target):`, whose name does not begin with _"
        )
    plugin = replace(plugin, neutral=is_neutral(tree))
    return [replace(entry, plugin=plugin) for entry in losses]


def _offered(point: EntryPoint) -> list[Entry]:
    """The losses of an entry point, whose module is located but not imported."""
    package = point.dist.name if point.dist else "a package"
    if point.attr:
        raise SettingError(
            f"{package} offers {point.value!r} as {GROUP}; expected a module without :{point.attr}"
        )
    name, *inner = point.module.split(".")
    spec = importlib.util.find_spec(name)
    for part in inner:
        name = f"{name}.{part}"
        spec = spec and PathFinder.find_spec(name, spec.submodule_search_locations or [])
    if spec is None or not spec.origin:
        raise SettingError(f"{package} offers the module {point.module!r}, which does not exist")
    return read(Path(spec.origin), point.module)
