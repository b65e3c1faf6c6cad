"""Results, comparisons and reports as text and as files; see `results/formats.py` for the list."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from lossbench.errors import OutputError, SettingError
from lossbench.results.formats import MODELS, Format, file_endings, formats_of, text_formats

TERMINAL = ("width", "color")


def render(model: Any, format: str | None = None, **options: Any) -> str:
    """A model as text; options that the format does not have are ignored."""
    kind = _kind(model)
    known = text_formats(kind)
    name = format or known[0]
    if name not in known:
        raise SettingError(f"format is one of {', '.join(known)}, not {name!r}")
    return _text(formats_of(kind)[name], model, options)


def save(model: Any, path: str, **options: Any) -> None:
    """Write a model in the format of the file's ending; a regular file appears by rename.

    Raises:
        SettingError: no format has this ending.
        OutputError: the file cannot be written.
    """
    kind = _kind(model)
    format = _format_of_path(path, kind)
    if format.binary:
        writer = format.writer(kind)
        chosen = _supported(format, writer, options)
        write_atomically(lambda file: writer(model, file, **chosen), path)
    else:
        text = _text(format, model, options)
        write_atomically(lambda file: Path(file).write_text(text, encoding="utf-8"), path)


def check_path(path: str, kind: str) -> None:
    """Refuse a file that could not be written, before anything is read.

    Args:
        path: the file.
        kind: the model to be written, as for `formats_of`.

    Raises:
        SettingError: no format has this ending, or the folder cannot be written to.
    """
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise SettingError(f"--output {path} is a folder, expected a file")
    _format_of_path(path, kind).require_package()
    if _is_special(path):
        return
    if not os.path.isdir(folder):
        raise SettingError(f"--output {path}: the folder {folder} does not exist")
    try:
        handle, draft = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
    except OSError as error:
        raise SettingError(f"--output {path} cannot be written: {error.strerror}") from None
    os.close(handle)
    os.unlink(draft)


def write_atomically(write: Callable[[str], Any], path: str) -> None:
    """Call a function that writes a file; a regular file appears by rename, complete or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        if _is_special(path):
            write(path)
            return
        folder = os.path.dirname(path) or "."
        handle, draft = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
        os.close(handle)
        try:
            write(draft)
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(draft, 0o666 & ~mask)
            os.replace(draft, path)
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error.strerror or error}") from None


def _kind(model: Any) -> str:
    """The name that the registry of formats has for a model."""
    name = type(model).__name__
    if name not in MODELS:
        raise SettingError(f"expected a {', '.join(MODELS)}, found a {name}")
    return MODELS[name]


def _format_of_path(path: str, kind: str) -> Format:
    """The format that a file's ending selects; JSON for a device or pipe with another ending."""
    ending = os.path.splitext(path)[1].lower()
    known = file_endings(kind)
    if ending in known:
        return known[ending]
    if _is_special(path):
        return known.get(".json") or next(iter(known.values()))
    endings = ", ".join(known)
    raise SettingError(f"--output {path}: the ending selects the format; use one of {endings}")


def _text(format: Format, model: Any, options: Mapping[str, Any]) -> str:
    """A model in a text format."""
    renderer = format.writer(_kind(model))
    text: str = renderer(model, **_supported(format, renderer, options))
    # A file name that is not Unicode has surrogates, which UTF-8 cannot encode.
    return text.encode("utf-8", "backslashreplace").decode()


def _supported(
    format: Format, writer: Callable[..., Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """The options that a format has."""
    names = signature(writer).parameters.keys() - ({} if format.terminal else {*TERMINAL})
    return {name: value for name, value in options.items() if name in names}


def _is_special(path: str) -> bool:
    """Whether a path is a device or a pipe, which a rename cannot replace."""
    return (
        os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path)
    )
