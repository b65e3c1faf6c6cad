"""Results read back from Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from lossbench.errors import SettingError

KEY = "lossbench"  # of the file's own words: all of a result but its session and its samples

SESSION = "lossbench.session"

ROWS = 1 << 16  # that are written together

GREATEST = 2**31 - 1


def read_words(path: str) -> dict[str, Any]:
    """The result in a file without its samples, which are not read.

    Raises:
        ValueError: it is no result of lossbench.
        SettingError: pyarrow is not installed.
    """
    file = _opened(path)
    words = file.schema_arrow.metadata or {}
    if KEY.encode() not in words:
        raise ValueError("it has no result of lossbench in its metadata")
    session = json.loads(words[SESSION.encode()])
    found: dict[str, Any] = json.loads(words[KEY.encode()])
    return {"schema": found.pop("schema"), "session": session, **found}


def read_columns(
    path: str, wanted: Sequence[tuple[str, int | None]]
) -> Iterator[tuple[list[str], list[Any]]]:
    """Ids and columns of a file, so many rows at a time; the other columns are not read.

    Args:
        path: the file.
        wanted: columns by name; with the place of a class, its values.
    """
    names = [name if place is None else f"{name}[]" for name, place in wanted]
    for batch in _opened(path).iter_batches(ROWS, columns=["id", *dict.fromkeys(names)]):
        found = []
        for name, (_, place) in zip(names, wanted, strict=True):
            column = batch.column(name)
            if place is not None:
                flat = column.flatten().to_numpy(zero_copy_only=False)
                found.append(flat.reshape(len(column), -1)[:, place])
            else:
                found.append(column.to_numpy(zero_copy_only=False))
        yield batch.column("id").to_pylist(), found


def check_arrow() -> None:
    """Refuse Parquet where it cannot be written, without the time that importing it takes.

    Raises:
        SettingError: pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise SettingError("Parquet needs pyarrow: pip install 'lossbench[parquet]', or use .jsonl")


def arrow() -> tuple[Any, Any]:
    """pyarrow and its Parquet module.

    Raises:
        SettingError: they are not installed.
    """
    check_arrow()
    import pyarrow
    import pyarrow.parquet

    return pyarrow, pyarrow.parquet


def _opened(path: str) -> Any:
    """A file whose metadata may be large."""
    _, pq = arrow()
    return pq.ParquetFile(
        path, thrift_string_size_limit=GREATEST, thrift_container_size_limit=GREATEST
    )
