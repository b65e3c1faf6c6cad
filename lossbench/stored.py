"""Result files, read back: everything but the samples, which readers take as they need them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from lossbench.errors import InputError

Model = Mapping[str, Any]


def read_result(path: str) -> Model:
    """What a result file says of its run, without its samples.

    Raises:
        InputError: it cannot be read, or is no result of lossbench.
    """
    read = READERS.get(os.path.splitext(path)[1].lower(), _json)
    try:
        found = read(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {reason}") from None
    if not isinstance(found, dict) or not isinstance(found.get("aggregate"), dict):
        raise InputError(f"{path} is not a result of lossbench", kind="mismatch")
    found.pop("samples", None)
    return found


def _json(path: str) -> Any:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _lines(path: str) -> Any:
    """The first line and the last one; samples between them are not parsed."""
    with open(path, encoding="utf-8") as file:
        first = last = file.readline()
        for line in file:
            last = line
    return json.loads(first) | json.loads(last)


def _parquet(path: str) -> Any:
    from lossbench.output.parquet import read_words

    return read_words(path)


READERS: dict[str, Callable[[str], Any]] = {
    ".jsonl": _lines,
    ".ndjson": _lines,
    ".parquet": _parquet,
}
