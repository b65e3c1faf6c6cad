"""JSON results read back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lossbench.results.json_numbers import from_number
from lossbench.results.reader import Block, Model, Quantity


def read_model(path: str) -> Any:
    """The whole document."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def read_samples(path: str, quantities: Sequence[Quantity], _: Model) -> Iterator[Block]:
    """Ids and values; see `reader.read_samples`."""
    return blocks(read_model(path)["samples"], quantities)


def read_groups(path: str) -> list[str]:
    """The group of each sample."""
    return [row["group"] for row in read_model(path)["samples"]]


def blocks(rows: Iterable[Model], quantities: Sequence[Quantity]) -> Iterator[Block]:
    """The quantities of each row of a result file."""
    for row in rows:
        values = (
            row[column] if class_name is None else row["classes"][column][class_name]
            for column, class_name in quantities
        )
        yield [row["id"]], [[from_number(value)] for value in values]
