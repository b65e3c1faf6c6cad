"""Results as text and as files: one module a format, all fed the same result."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lossbench.errors import OutputError, SettingError
from lossbench.output.json import render_json
from lossbench.output.table import render_table
from lossbench.results import Result

FORMATS: dict[str, Callable[..., str]] = {"table": render_table, "json": render_json}
ENDINGS = {".json": "json"}


def check_path(path: str) -> None:
    """Refuse a file that could not be written, before anything is read.

    Raises:
        SettingError: an ending without a format, or a folder that cannot be written to.
    """
    ending = os.path.splitext(path)[1].lower()
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise SettingError(f"--output {path} is a folder, expected a file")
    if _special(path):
        return
    if ending not in ENDINGS:
        known = ", ".join(ENDINGS)
        raise SettingError(f"--output {path}: the ending tells the format, one of {known}")
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
    text = FORMATS[format](result, **how)
    try:
        if _special(path):
            Path(path).write_text(text, encoding="utf-8")
            return
        folder = os.path.dirname(path) or "."
        handle, draft = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
        try:
            with open(handle, "w", encoding="utf-8") as file:
                file.write(text)
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(draft, 0o666 & ~mask)
            os.replace(draft, path)
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error.strerror or error}") from None


def _special(path: str) -> bool:
    """Whether a path is a device or a pipe, which cannot be replaced by a rename."""
    return (
        os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path)
    )
