"""Result files read back: the run they describe, and selected columns of their samples."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from lossbench.errors import InputError, SettingError, did_you_mean, either, file_beside, os_reason
from lossbench.results.check_schema import problem
from lossbench.results.formats import FORMATS, READABLE
from lossbench.results.schema import result_schema
from lossbench.runtime.string_list import StringList

if TYPE_CHECKING:
    from lossbench.runtime.array_types import FloatArray


Model = Mapping[str, Any]
Block = tuple[Iterable[str], Sequence[Iterable[float]]]  # ids, and the values of each quantity


class Quantity(NamedTuple):
    """A column of a result, or the values of one class in it."""

    column: str
    of_class: str | None = None

    def __str__(self) -> str:
        return self.column if self.of_class is None else f"{self.column}[{self.of_class}]"


class Measured(NamedTuple):
    """A quantity and whether lower or higher is better."""

    quantity: Quantity
    better: str | None

    @property
    def name(self) -> str:
        return str(self.quantity)


def lookup(name: str, known: Mapping[str, Measured], where: str) -> Measured:
    """The quantity of a name; an unknown name raises with the closest one."""
    if name not in known:
        raise SettingError(
            f"no loss of {where} is called {name!r}{did_you_mean(name, known)};"
            f" there are {', '.join(known)}"
        )
    return known[name]


def read_result(path: str) -> Model:
    """Everything that a result file holds except its samples.

    Raises:
        InputError: the file cannot be read, or is not a result of lossbench.
    """
    with _input_errors(path):
        document = _reader(path).read_model(path)
    model: dict[str, Any] = document if isinstance(document, dict) else {}
    if not all(isinstance(model.get(part), dict) for part in ("run", "aggregate")):
        raise InputError(f"{path} is not a result of lossbench", kind="mismatch")
    model["samples"] = []  # `read_samples` reads these
    wrong = problem(model, result_schema()) or _absent_loss(model)
    if wrong:
        raise InputError(f"{path} is a damaged result: {wrong}; run it again", kind="mismatch")
    del model["samples"]
    return model


def _absent_loss(model: Model) -> str | None:
    """What aggregates lack: a loss of the run, or one of its classes."""
    classes = set(model["run"]["classes"])
    for loss in model["run"]["losses"]:
        if loss["name"] not in model["aggregate"]:
            return f"aggregate.{loss['name']} is missing"
        own = model["aggregate"][loss["name"]].get("classes")
        if own is not None and set(own) != classes:
            return f"aggregate.{loss['name']}.classes are not run.classes"
    return None


def read_samples(
    path: str, quantities: Sequence[Quantity], model: Model
) -> tuple[StringList, list[FloatArray]]:
    """The ids of a result file and the values of some quantities, nan where undefined.

    Other columns are not kept; those of a Parquet file are not even read.

    Args:
        path: the file.
        quantities: quantities that the file has.
        model: the run that it describes, from `read_result`.

    Raises:
        InputError: the file is damaged.
    """
    import numpy as np

    ids, columns = StringList(), [array("d") for _ in quantities]
    with _input_errors(path):
        for names, values in _reader(path).read_samples(path, quantities, model):
            for name in names:
                ids.append(name)
            for column, block in zip(columns, values, strict=True):
                column.extend(block)
    return ids, [np.frombuffer(column, np.float64) for column in columns]


def read_groups(path: str, model: Model) -> list[str] | None:
    """The group of each sample of a result file; None if it has no groups."""
    if "groups" not in model:
        return None
    with _input_errors(path):
        groups: list[str] = _reader(path).read_groups(path)
    return groups


@contextmanager
def _input_errors(path: str) -> Iterator[None]:
    """Turn errors of parsing into an InputError that names the file."""
    try:
        yield
    except RecursionError:
        raise InputError(f"{path} cannot be read: it is nested too deep") from None
    except (OSError, ValueError) as error:
        reason = os_reason(error)
        reason += "" if isinstance(error, OSError) else "; write it again"
        raise InputError(f"{path} cannot be read: {reason}{file_beside(path)}") from None
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{path} is not a result of lossbench", kind="mismatch") from None


def _reader(path: str) -> Any:
    """The module that reads the format of a file; an unknown ending is read as JSON.

    Raises:
        InputError: results are written with that ending, but not read.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending not in READABLE and any(ending in each.suffixes for each in FORMATS):
        raise InputError(
            f"{path} cannot be read: no result is read from {ending}; expected"
            f" {either(READABLE)}, as written by lossbench eval … -o run.json",
            kind="mismatch",
        )
    format = READABLE.get(ending, READABLE[".json"])
    format.require_package()
    return import_module(format.reader)
