"""JSON Lines results read back: the run, one line per sample, everything computed from them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from lossbench.results.json_reader import blocks
from lossbench.results.reader import Block, Model, Quantity


def read_model(path: str) -> Any:
    """The first and the last line; the samples between them are not parsed."""
    with open(path, encoding="utf-8") as file:
        first = last = file.readline()
        for line in file:
            last = line
    return json.loads(first) | json.loads(last)


def read_samples(path: str, quantities: Sequence[Quantity], _: Model) -> Iterator[Block]:
    """Ids and values; see `reader.read_samples`."""
    yield from blocks(_rows(path), quantities)


def read_groups(path: str) -> list[str]:
    """The group of each sample."""
    return [row["group"] for row in _rows(path)]


def _rows(path: str) -> Iterator[Model]:
    """The samples."""
    with open(path, encoding="utf-8") as file:
        next(file)
        yield from (row for row in map(json.loads, file) if "id" in row)  # the last has none
