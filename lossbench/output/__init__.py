"""Results as text and as files: one module a format, all fed the same result."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Collection
from inspect import signature
from pathlib import Path
from typing import Any

from lossbench.errors import OutputError, SettingError
from lossbench.output.csv import render_csv
from lossbench.output.github import render_github
from lossbench.output.json import render_json, render_jsonl
from lossbench.output.junit import render_junit
from lossbench.output.markdown import render_markdown
from lossbench.output.parquet import write_parquet
from lossbench.output.table import render_table, render_text
from lossbench.results.parquet_reader import check_arrow
from lossbench.results.result import Result

FORMATS: dict[str, Callable[..., str]] = {
    "table": render_table,
    "text": render_text,
    "json": render_json,
    "jsonl": render_jsonl,
    "csv": render_csv,
    "markdown": render_markdown,
    "junit": render_junit,
    "github": render_github,
}
ENDINGS = {
    ".txt": "text",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".md": "markdown",
    ".xml": "junit",
    ".parquet": "parquet",
}
PAGES = {".html": "html", ".htm": "html"}  # endings of reports
FILES: dict[str, Callable[..., None]] = {"parquet": write_parquet}  # that are no text


def render(result: Result, format: str, **how: Any) -> str:
    """A result as text, with those of the options that the format has."""
    if format not in FORMATS:
        raise SettingError(f"format is one of {', '.join(FORMATS)}, not {format!r}")
    text = FORMATS[format](result, **own(FORMATS[format], how))
    # A file name that is no Unicode has surrogates, which no file in UTF-8 can hold.
    return text.encode("utf-8", "backslashreplace").decode()


def check_path(path: str, endings: Collection[str] = ENDINGS) -> None:
    """Refuse a file that could not be written, before anything is read.

    Args:
        path: the file.
        endings: of the formats that there are.

    Raises:
        SettingError: an ending without a format, or a folder that cannot be written to.
    """
    ending = os.path.splitext(path)[1].lower()
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise SettingError(f"--output {path} is a folder, expected a file")
    if _special(path):
        return
    if ending not in endings:
        known = ", ".join(endings)
        raise SettingError(f"--output {path}: the ending tells the format, one of {known}")
    if ending == ".parquet":
        check_arrow()
    if not os.path.isdir(folder):
        raise SettingError(f"--output {path}: the folder {folder} does not exist")
    try:
        handle, draft = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
    except OSError as error:
        raise SettingError(f"--output {path} cannot be written: {error.strerror}") from None
    os.close(handle)
    os.unlink(draft)


def write(result: Result, path: str, **how: Any) -> None:
    """Write a result in the format of its ending; a plain file appears by rename.

    Raises:
        OutputError: it cannot be written.
    """
    format = ENDINGS.get(os.path.splitext(path)[1].lower(), "json")

    def fill(file: str) -> None:
        if format in FILES:
            FILES[format](result, file, **own(FILES[format], how))
        else:
            Path(file).write_text(render(result, format, **how), encoding="utf-8")

    put(fill, path)


def put(fill: Callable[[str], Any], path: str) -> None:
    """Have a file filled; a plain one appears by rename.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        if _special(path):
            fill(path)
            return
        folder = os.path.dirname(path) or "."
        handle, draft = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
        os.close(handle)
        try:
            fill(draft)
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(draft, 0o666 & ~mask)
            os.replace(draft, path)
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error.strerror or error}") from None


def own(function: Callable[..., Any], how: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that a format has."""
    own = signature(function).parameters
    return {name: value for name, value in how.items() if name in own}


def _special(path: str) -> bool:
    """Whether a path is a device or a pipe, which cannot be replaced by a rename."""
    return (
        os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path)
    )
