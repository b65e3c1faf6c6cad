"""Result files, read back: what they say of their run, and those columns that are asked for."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from lossbench.errors import InputError, SettingError, did_you_mean
from lossbench.results.json_numbers import from_number
from lossbench.runtime.string_list import StringList

if TYPE_CHECKING:
    from lossbench.runtime.array_types import FloatArray


Model = Mapping[str, Any]


class Quantity(NamedTuple):
    """A column of a result, or the values of one class in it."""

    column: str
    of_class: str | None = None

    def __str__(self) -> str:
        return self.column if self.of_class is None else f"{self.column}[{self.of_class}]"


class Measured(NamedTuple):
    """A quantity, and which way is better in it."""

    quantity: Quantity
    better: str | None

    @property
    def name(self) -> str:
        return str(self.quantity)


def lookup(name: str, known: Mapping[str, Any], where: str) -> Any:
    """What is known under the name of a loss; of an unknown one the nearest is offered."""
    if name not in known:
        raise SettingError(
            f"no loss of {where} is called {name!r}{did_you_mean(name, known)};"
            f" there are {', '.join(known)}"
        )
    return known[name]


def read_result(path: str) -> Model:
    """What a result file says of its run, without its samples.

    Raises:
        InputError: it cannot be read, or is no result of lossbench.
    """
    with _told(path):
        read = _reader(path).words(path)
    found: dict[str, Any] = read if isinstance(read, dict) else {}
    if not all(isinstance(found.get(part), dict) for part in ("run", "aggregate")):
        raise InputError(f"{path} is not a result of lossbench", kind="mismatch")
    found.pop("samples", None)
    return found


def read_samples(
    path: str, wanted: Sequence[Quantity], model: Model
) -> tuple[StringList, list[FloatArray]]:
    """The ids of a result file and the quantities that are wanted, nan where undefined.

    The others are not kept; of Parquet they are not even read.

    Args:
        path: the file.
        wanted: quantities that it has.
        model: what it says of its run.

    Raises:
        InputError: it is damaged.
    """
    import numpy as np

    ids, columns = StringList(), [array("d") for _ in wanted]
    with _told(path):
        for names, numbers in _reader(path).samples(path, wanted, model):
            for name in names:
                ids.append(name)
            for column, some in zip(columns, numbers, strict=True):
                column.extend(some)
    return ids, [np.frombuffer(column, np.float64) for column in columns]


@contextmanager
def _told(path: str) -> Iterator[None]:
    """What is wrong with a file, in a sentence."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {reason}") from None
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{path} is not a result of lossbench", kind="mismatch") from None


def _reader(path: str) -> Reader:
    return READERS.get(os.path.splitext(path)[1].lower(), JSON)


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
    from lossbench.results.parquet_reader import read_words

    return read_words(path)


Block = tuple[Iterable[str], Sequence[Iterable[float]]]  # ids, and the numbers of each quantity


def _json_samples(path: str, wanted: Sequence[Quantity], _: Model) -> Iterator[Block]:
    return _picked(_json(path)["samples"], wanted)


def _line_samples(path: str, wanted: Sequence[Quantity], _: Model) -> Iterator[Block]:
    with open(path, encoding="utf-8") as file:
        next(file)
        rows = map(json.loads, file)
        yield from _picked((row for row in rows if "id" in row), wanted)  # the last has none


def _picked(rows: Iterable[Model], wanted: Sequence[Quantity]) -> Iterator[Block]:
    """What is wanted of each row."""
    for row in rows:
        found = (
            row[column] if of_class is None else row["classes"][column][of_class]
            for column, of_class in wanted
        )
        yield [row["id"]], [[from_number(each)] for each in found]


def _parquet_samples(path: str, wanted: Sequence[Quantity], model: Model) -> Iterator[Block]:
    from lossbench.results.parquet_reader import read_columns

    classes = model["run"]["classes"]
    places = [
        (column, None if of_class is None else classes.index(of_class))
        for column, of_class in wanted
    ]
    return read_columns(path, places)


class Reader(NamedTuple):
    """How one format is read: what it says of its run, and its samples."""

    words: Callable[[str], Any]
    samples: Callable[[str, Sequence[Quantity], Model], Iterator[Block]]


JSON = Reader(_json, _json_samples)
LINES = Reader(_lines, _line_samples)
READERS = {
    ".jsonl": LINES,
    ".ndjson": LINES,
    ".parquet": Reader(_parquet, _parquet_samples),
}
