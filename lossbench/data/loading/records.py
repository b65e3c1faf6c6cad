"""Records of named tensors; a vector or score is a record with a single tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.evidence import read_sample
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.locations import Source, label
from lossbench.data.sources.read import read_record
from lossbench.errors import InputError, SettingError, mismatch
from lossbench.runtime.array_types import AnyArray

RECORD_TASKS = ("vectors", "scores", "records")
Tensors = Mapping[str, AnyArray]  # by name


@dataclass(frozen=True)
class Record:
    """One sample: the tensors of each role."""

    roles: Mapping[str, Tensors]


def plan_records(task: str, pairs: Sequence[Pair], asks: Iterable[tuple[str, str, str]]) -> Plan:
    """How vectors, scores or records are read; `asks` has loss, role and form of every input.

    Raises:
        InputError: no file of a role can be read.
        SettingError: what the files hold is not what a loss asks for.
    """
    readings = {role: _probe(pairs, role, task) for role in pairs[0].sources}
    if task == "vectors" and readings["pred"].length > 1:
        readings = {
            role: replace(each, encoding="label") if each.length == 1 else each
            for role, each in readings.items()
        }
    _check(readings, asks)
    others = [each for role, each in readings.items() if role not in ("pred", "target")]
    return Plan(task, readings["pred"], readings["target"], (), 1, roles=tuple(others))


def read_tensors(plan: Plan, pair: Pair) -> Record:
    """Decode one sample and compare it with the plan.

    Raises:
        InputError: a file is no record, or holds something else than the plan reads.
    """
    tensors = {}
    for role, (source, *more) in pair.sources.items():
        reading = plan.reading(role)
        if reading is None or more:
            raise InputError(f"is one of several, or of no use on a {plan.task} task", role=role)
        try:
            tensors[role] = _fitting(reading, read_record(source))
        except InputError as error:
            raise error.located(role, label(source)) from None
    return Record(tensors)


def _probe(pairs: Sequence[Pair], role: str, task: str) -> InputEncoding:
    """How most files of a sample are read; the run reports the others."""
    if task == "records":
        names = read_sample(pairs, role, lambda source: tuple(read_record(source)))
        if not any(names):
            raise InputError(f"there is nothing to read ({role})")
        return InputEncoding(role, task, "", tensors=tuple(dict.fromkeys(chain(*names))))

    def properties(source: Source) -> tuple[int, str]:
        array = _only(read_record(source))
        return array.size, array.dtype.name

    lengths, types = map(Counter, zip(*read_sample(pairs, role, properties), strict=True))
    length = lengths.most_common(1)[0][0] if task == "vectors" else 0
    return InputEncoding(role, task, types.most_common(1)[0][0], length=length)


def _check(readings: Mapping[str, InputEncoding], asks: Iterable[tuple[str, str, str]]) -> None:
    """Compare the lengths of vectors with the lengths that losses need."""
    lengths = {
        role: each.length
        for role, each in readings.items()
        if each.encoding in ("vectors", "label")
    }
    for loss, role, form in asks:
        length = lengths.get(role, 0)
        if form == "Label" and length > 1:
            raise SettingError(
                f"{loss} takes one number a sample as {role}, such as a class; its files hold"
                f" {length}"
            )
        if form == "Vector" and role in lengths and length != lengths["pred"]:
            raise SettingError(
                f"{loss} compares vectors: those of pred have {lengths['pred']} numbers, those of"
                f" {role} {length}"
            )


def _fitting(reading: InputEncoding, tensors: Tensors) -> Tensors:
    """The tensors of one role, as its plan reads them."""
    if reading.encoding == "records":
        return tensors
    array = _only(tensors)
    if reading.encoding != "scores" and array.size != max(array.shape, default=1):
        raise mismatch(f"is {'×'.join(map(str, array.shape))}, no vector")
    if reading.length and array.size != reading.length:
        raise mismatch(f"has {array.size:,} numbers where the plan reads {reading}")
    if array.size == 0:
        raise mismatch("holds no number")
    return {"": reading.numbers(array.reshape(1, -1))}


def _only(tensors: Tensors) -> AnyArray:
    """The one tensor of a record."""
    if len(tensors) != 1:
        raise mismatch(f"holds {len(tensors)} tensors ({', '.join(tensors)}); expected one")
    (tensor,) = tensors.values()
    return tensor
