"""The rows of a Parquet file as the lines of a table of texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from lossbench.errors import InputError

BATCH_ROWS = 1 << 14  # rows in memory at a time


def parquet_rows(opened: IO[bytes], name: str) -> Iterator[tuple[int, list[str]]]:
    """The names of the columns as row 0, then each row with its number.

    Columns of lists, structures and bytes are left out: they name no file. A null is an empty text.

    Raises:
        InputError: it cannot be read as Parquet, or the package for it is missing.
    """
    try:
        from pyarrow import ArrowException, types
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise InputError(
            f"the manifest {name} is Parquet, which pyarrow reads, and that is not installed:"
            " pip install 'lossbench[parquet]'"
        ) from None
    without_text = (types.is_nested, types.is_binary, types.is_large_binary,
                    types.is_fixed_size_binary)  # fmt: skip
    number = 0
    try:
        with ParquetFile(opened) as file:
            columns = [
                each.name
                for each in file.schema_arrow
                if not any(is_kind(each.type) for is_kind in without_text)
            ]
            yield number, columns
            for batch in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
                for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    yield number, ["" if cell is None else str(cell) for cell in cells]
    except (ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the manifest {name} cannot be read: {reason}") from None
