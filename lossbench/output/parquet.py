"""Columns for large runs: what Arrow, pandas, DuckDB and Spark read, in part or whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from lossbench.errors import SettingError
from lossbench.results.result import Result

KEY = "lossbench"  # of the file's own words: all of a result but its session and its samples
SESSION = "lossbench.session"
ROWS = 1 << 16  # that are written together
GREATEST = 2**31 - 1


def write_parquet(result: Result, path: str, *, per_class: bool | None = None) -> None:
    """A row for each sample, sorted by id: `id`, `group` where there are groups, each loss.

    An undefined value is null. The values of classes are one list for each loss, `loss[]`, in the
    order of `classes` of the run. Everything else of the result is JSON in the file's metadata.

    Args:
        result: what a run found.
        path: the file.
        per_class: False leaves class columns out.

    Raises:
        SettingError: pyarrow is not installed.
    """
    pa, pq = arrow()
    model = result.as_json(per_class is not False, samples=False)
    classed = {} if per_class is False else result.class_columns
    session = model.pop("session")
    words = {KEY: _text(model), SESSION: _text(session)}
    schema = pa.schema(
        [
            ("id", pa.string()),
            *([("group", pa.string())] if result.groups is not None else []),
            *((name, pa.float64()) for name in result.values),
            *((f"{name}[]", pa.list_(pa.float64())) for name in classed),
        ],
        metadata=words,
    )
    with pq.ParquetWriter(path, schema) as writer:
        for block in _blocks(len(result.ids)):
            rows = [_words(pa, result.ids[block])]
            if result.groups is not None:
                rows.append(_words(pa, result.groups[block]))
            rows += [_numbers(pa, each.column[block]) for each in result.values.values()]
            for columns in classed.values():
                flat = _numbers(pa, columns[:, block].T.ravel())
                width = len(result.class_names)
                offsets = pa.array(range(0, len(flat) + 1, width), pa.int32())
                rows.append(pa.ListArray.from_arrays(offsets, flat))
            writer.write_table(pa.Table.from_arrays(rows, schema=schema))


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


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + ROWS) for start in range(0, max(count, 1), ROWS))


def _words(pa: Any, words: list[str]) -> Any:
    """Names; what is no Unicode in them is escaped, as in the other formats."""
    text = [each.encode("utf-8", "backslashreplace").decode() for each in words]
    return pa.array(text, pa.string())


def _numbers(pa: Any, numbers: Any) -> Any:
    return pa.array(numbers, pa.float64(), from_pandas=True)


def _text(model: Any) -> str:
    text = json.dumps(model, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode()
