"""Parquet: columns for large runs that Arrow, pandas, DuckDB and Spark read in part or whole."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from lossbench.results.parquet_reader import KEY, ROWS, SESSION
from lossbench.results.result import Result


def write_result(result: Result, path: str, *, per_class: bool | None = None) -> None:
    """One row for each sample, sorted by id: `id`, `group` if there are groups, each loss.

    An undefined value is null. The class values of a loss are one list column, `loss[]`, in the
    order of the run's `classes`. The rest of the result is JSON in the file's metadata.

    Args:
        result: the result of a run.
        path: the file.
        per_class: False omits class columns.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    numbers = partial(pa.array, type=pa.float64(), from_pandas=True)
    model = result.as_json(per_class is not False, samples=False)
    class_columns = {} if per_class is False else result.class_columns
    session = model.pop("session")
    schema = pa.schema(
        [
            ("id", pa.string()),
            *([("group", pa.string())] if result.groups is not None else []),
            *((name, pa.float64()) for name in result.values),
            *((f"{name}[]", pa.list_(pa.float64())) for name in class_columns),
        ],
        metadata={KEY: _text(model), SESSION: _text(session)},
    )
    with ParquetWriter(path, schema) as writer:
        for start in range(0, max(len(result.ids), 1), ROWS):
            block = slice(start, start + ROWS)
            rows = [
                pa.array([_unicode(name) for name in each[block]], pa.string())
                for each in (result.ids, result.groups)
                if each is not None
            ]
            rows += [numbers(each.column[block]) for each in result.values.values()]
            for columns in class_columns.values():
                flat = numbers(columns[:, block].T.ravel())
                width = len(result.class_names)
                offsets = pa.array(range(0, len(flat) + 1, width), pa.int32())
                rows.append(pa.ListArray.from_arrays(offsets, flat))
            writer.write_table(pa.Table.from_arrays(rows, schema=schema))


def _text(model: Any) -> str:
    return _unicode(json.dumps(model, ensure_ascii=False, allow_nan=False))


def _unicode(text: str) -> str:
    """A text with surrogates escaped, as in the other formats."""
    return text.encode("utf-8", "backslashreplace").decode()
