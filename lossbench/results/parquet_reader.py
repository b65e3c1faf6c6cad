"""Parquet results read back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from lossbench.results.reader import Block, Model, Quantity

KEY = "lossbench"  # metadata key of the whole result except session and samples
SESSION = "lossbench.session"  # metadata key of the session
ROWS = 1 << 16  # per row group
GREATEST = 2**31 - 1


def read_model(path: str) -> Any:
    """The result from the file's metadata; the samples are not read."""
    file = _open(path)
    metadata = file.schema_arrow.metadata or {}
    if KEY.encode() not in metadata:
        raise ValueError("it has no result of lossbench in its metadata")
    session = json.loads(metadata[SESSION.encode()])
    result = json.loads(metadata[KEY.encode()])
    return {"schema": result.pop("schema"), "session": session, **result}


def read_samples(path: str, quantities: Sequence[Quantity], model: Model) -> Iterator[Block]:
    """Ids and values, one row group at a time; other columns are not read."""
    classes = model["run"]["classes"]
    names = [name if of_class is None else f"{name}[]" for name, of_class in quantities]
    for batch in _open(path).iter_batches(ROWS, columns=["id", *dict.fromkeys(names)]):
        columns = []
        for name, (_, of_class) in zip(names, quantities, strict=True):
            column = batch.column(name)
            if of_class is not None:
                flat = column.flatten().to_numpy(zero_copy_only=False)
                columns.append(flat.reshape(len(column), -1)[:, classes.index(of_class)])
            else:
                columns.append(column.to_numpy(zero_copy_only=False))
        yield batch.column("id").to_pylist(), columns


def read_groups(path: str) -> list[str]:
    """The group of each sample."""
    return [
        each
        for batch in _open(path).iter_batches(ROWS, columns=["group"])
        for each in batch.column(0).to_pylist()
    ]


def _open(path: str) -> Any:
    """A file whose metadata may exceed pyarrow's default limits."""
    from pyarrow.parquet import ParquetFile

    return ParquetFile(
        path, thrift_string_size_limit=GREATEST, thrift_container_size_limit=GREATEST
    )
