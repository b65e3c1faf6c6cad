"""Results, comparisons and reports as text and as files; see `results/formats.py` for the list."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from lossbench.errors import OutputError, SettingError, os_reason
from lossbench.results.formats import MODELS, Format, file_endings, formats_of, text_formats

TERMINAL = ("width", "color", "ascii")


def render(model: Any, format: str | None = None, **options: Any) -> str:
    """A model as text; options that the format does not have are ignored."""
    kind = _kind(model)
    known = text_formats(kind)
    name = format or known[0]
    if name not in known:
        raise SettingError(f"format is one of {', '.join(known)}, not {name!r}")
    text: str = _writer(formats_of(kind)[name], kind, options)(model)
    # A file name that is not Unicode has surrogates, which UTF-8 cannot encode.
    return text.encode("utf-8", "backslashreplace").decode()


def save(model: Any, path: str, **options: Any) -> None:
    """Write a model in the format of the file's ending; see `lossbench.save`."""
    kind = _kind(model)
    format = _format_of_path(path, kind)
    if format.binary:
        writer = _writer(format, kind, options)
        write_atomically(lambda file: writer(model, file), path)
    else:
        text = render(model, format.name, **options)
        write_atomically(lambda file: Path(file).write_text(text, encoding="utf-8"), path)


def check_path(path: str, kind: str) -> None:
    """Refuse a file that could not be written; see `lossbench.check_path`."""
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise SettingError(f"--output {path} is a folder, expected a file")
    _format_of_path(path, kind).require_package()
    if _is_special(path):
        return
    if not os.path.isdir(folder):
        raise SettingError(f"--output {path}: the folder {folder} does not exist; create it first")
    try:
        os.unlink(_new_draft(path))
    except OSError as error:
        raise SettingError(f"--output {path} cannot be written: {os_reason(error)}") from None


def write_atomically(write: Callable[[str], Any], path: str) -> None:
    """Call a function that writes a file; a regular file appears by rename, complete or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        if _is_special(path):
            write(path)
            return
        draft = _new_draft(path)
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
        raise OutputError(f"{path} could not be written: {os_reason(error)}") from None


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
    page = "; lossbench report RUN -o FILE.html writes a page" if ending == ".html" else ""
    raise SettingError(
        f"--output {path}: the ending selects the format; use one of {endings}{page}"
    )


def _writer(format: Format, kind: str, options: Mapping[str, Any]) -> Callable[..., Any]:
    """The function of a format for a model, with the options that it has."""
    writer = format.writer(kind)
    names = signature(writer).parameters.keys() - ({} if format.terminal else {*TERMINAL})
    return partial(writer, **{name: each for name, each in options.items() if name in names})


def _new_draft(path: str) -> str:
    """The path of a new file in the folder of another, which it may replace."""
    folder = os.path.dirname(path) or "."
    ending = os.path.splitext(path)[1]  # tells a writer the format
    handle, draft = tempfile.mkstemp(dir=folder, prefix=".", suffix=f".tmp{ending}")
    os.close(handle)
    return draft


def _is_special(path: str) -> bool:
    """Whether a path is a device or a pipe, which a rename cannot replace."""
    return (
        os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path)
    )
