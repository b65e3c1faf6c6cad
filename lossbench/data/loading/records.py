"""Named tensors: records, of which vectors and scores are those with one tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.data.planning.probe import spread
from lossbench.data.sources.locations import label
from lossbench.data.sources.read import read_record
from lossbench.errors import InputError, SettingError
from lossbench.runtime.array_types import AnyArray

TASKS = ("vectors", "scores", "records")
Tensors = Mapping[str, AnyArray]  # by name


@dataclass(frozen=True)
class Record:
    """One sample: the tensors of each role."""

    roles: Mapping[str, Tensors]


def plan_records(task: str, pairs: Sequence[Pair], asks: Iterable[tuple[str, str, str]]) -> Plan:
    """How vectors, scores or records are read.

    Args:
        task: one of TASKS.
        pairs: the files.
        asks: loss, role and form of every input that a loss names.

    Raises:
        InputError: no file of a role can be read.
        SettingError: what the files hold is not what a loss asks for.
    """
    readings = {role: _look(pairs, role, task) for role in pairs[0].sources}
    if task == "vectors" and readings["pred"].length > 1:
        readings = {
            role: replace(each, encoding="label") if each.length == 1 else each
            for role, each in readings.items()
        }
    _check(readings, asks)
    others = [each for role, each in readings.items() if role not in ("pred", "target")]
    return Plan(task, readings["pred"], readings["target"], (), 1, roles=tuple(others))


def read_tensors(plan: Plan, pair: Pair) -> Record:
    """Decode one sample and hold it against the plan.

    Raises:
        InputError: a file is no record, or holds something else than the plan reads.
    """
    found = {}
    for role, (source, *more) in pair.sources.items():
        reading = plan.reading(role)
        if reading is None or more:
            raise InputError(f"is one of several, or of no use on a {plan.task} task", role=role)
        try:
            found[role] = _fitting(reading, read_record(source))
        except InputError as error:
            raise error.located(role, label(source)) from None
    return Record(found)


def _look(pairs: Sequence[Pair], role: str, task: str) -> InputEncoding:
    """What most of a sample of files hold; the others are errors of their own."""
    lengths, types, names = Counter[int](), Counter[str](), dict[str, None]()
    failure = InputError(f"there is nothing to read ({role})")
    for pair in spread(pairs):
        for source in pair.sources[role]:
            try:
                tensors = read_record(source)
                names |= dict.fromkeys(tensors)
                if task != "records":
                    only = _only(tensors)
                    lengths[only.size] += 1
                    types[only.dtype.name] += 1
            except InputError as error:
                failure = error.located(role, label(source))
    if not (lengths or names):
        raise failure
    if task == "records":
        return InputEncoding(role, "records", "", tensors=tuple(names))
    if not types:
        raise failure
    length = lengths.most_common(1)[0][0] if task == "vectors" else 0
    return InputEncoding(role, task, types.most_common(1)[0][0], length=length)


def _check(readings: Mapping[str, InputEncoding], asks: Iterable[tuple[str, str, str]]) -> None:
    """Hold the lengths of vectors against what the losses ask for."""
    length = readings["pred"].length
    for loss, role, form in asks:
        found = readings.get(role)
        if found is None or found.encoding not in ("vectors", "label"):
            continue
        if form == "Label" and found.length > 1:
            raise SettingError(
                f"{loss} takes one number a sample as {role}, such as a class; its files hold"
                f" {found.length}"
            )
        if form == "Vector" and found.length != length:
            raise SettingError(
                f"{loss} compares vectors: those of pred have {length} numbers, those of {role}"
                f" {found.length}"
            )


def _fitting(reading: InputEncoding, tensors: Tensors) -> Tensors:
    """The tensors of one role, as its plan reads them."""
    if reading.encoding == "records":
        return tensors
    array = _only(tensors)
    if reading.encoding != "scores" and array.size != max(array.shape, default=1):
        raise InputError(f"is {'×'.join(map(str, array.shape))}, no vector", kind="mismatch")
    if reading.length and array.size != reading.length:
        raise InputError(
            f"has {array.size:,} numbers where the plan reads {reading}", kind="mismatch"
        )
    if array.size == 0:
        raise InputError("holds no number", kind="mismatch")
    return {"": reading.numbers(array.reshape(1, -1))}


def _only(tensors: Tensors) -> AnyArray:
    """The one tensor of a record."""
    if len(tensors) != 1:
        raise InputError(
            f"holds {len(tensors)} tensors ({', '.join(tensors)}); expected one",
            kind="mismatch",
        )
    return next(iter(tensors.values()))
