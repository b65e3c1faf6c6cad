"""The scores of every image at every threshold, as Parquet."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lossbench.choosing.thresholds_scores import ScoreTable
from lossbench.errors import SettingError
from lossbench.output import write_atomically
from lossbench.results.formats import FORMATS
from lossbench.runtime.array_types import FloatArray

AddRows = Callable[[Sequence[str], FloatArray], None]
(PARQUET,) = (each for each in FORMATS if each.name == "parquet")


def check_rows_path(path: str) -> None:
    """Refuse a file that could not be written, before anything is read.

    Raises:
        SettingError: it is not Parquet, pyarrow is missing, or its folder does not exist.
    """
    if not path.lower().endswith(PARQUET.suffixes):
        raise SettingError(f"--per-image {path}: expected a file that ends with .parquet")
    PARQUET.require_package()
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise SettingError(
            f"--per-image {path}: the folder {folder} does not exist; create it first"
        )


def write_rows(
    path: str, thresholds: FloatArray, table: ScoreTable, read: Callable[[AddRows], None]
) -> None:
    """Write a row for each image and threshold: id, threshold, and each score and class.

    Args:
        path: the file.
        thresholds: (T,).
        table: the scores, whose names are columns; a class is `score[class]`.
        read: reads the images, and hands over their ids and values (B, R, T) batch by batch.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    names = [
        column.name if of_class is None else f"{column.name}[{of_class}]"
        for column, of_class in table.rows
    ]
    fields: list[Any] = [("id", pa.string()), ("threshold", pa.float64())]
    schema = pa.schema([*fields, *((name, pa.float64()) for name in names)])

    def write(draft: str) -> None:
        with ParquetWriter(draft, schema) as writer:

            def add(ids: Sequence[str], values: FloatArray) -> None:
                texts = [each.encode("utf-8", "backslashreplace").decode() for each in ids]
                repeated = pa.array(texts, pa.string()).take(
                    pa.array(np.repeat(np.arange(len(ids)), len(thresholds)))
                )
                columns = [
                    pa.array(values[:, row].ravel(), pa.float64(), from_pandas=True)
                    for row in range(len(names))
                ]
                every = pa.array(np.tile(thresholds, len(ids)))
                writer.write_table(pa.Table.from_arrays([repeated, every, *columns], schema=schema))

            read(add)

    write_atomically(write, path)
