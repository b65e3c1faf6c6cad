"""Columns for large runs: what Arrow, pandas, DuckDB and Spark read, in part or whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lossbench.results.parquet_reader import KEY, ROWS, SESSION, arrow
from lossbench.results.result import Result


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
