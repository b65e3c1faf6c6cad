"""Shards: how a run is divided, and how a shard is stored in a result file."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lossbench.data.pairing.pairs import Pair, Pairing, Pairs
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.engine.state.partial_result import PartialResult
from lossbench.errors import InputError, PairError, SettingError
from lossbench.results.json_numbers import jsonable
from lossbench.results.result import digest


def parse_shard(text: str) -> tuple[int, int]:
    """The numbers of `I/N`: index of the shard, from 1, and number of shards.

    Raises:
        SettingError: the text is no such pair of numbers.
    """
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    index, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= index <= count:
        raise SettingError(f"shard is I/N with I from 1 to N, such as 3/16, not {text!r}")
    return index, count


def share(text: str | None, pairs: int) -> tuple[int, int]:
    """The first pair of a shard and the end of its range; sizes of shards differ by at most one.

    Raises:
        SettingError: there are fewer pairs than shards.
    """
    if text is None:
        return 0, pairs
    index, count = parse_shard(text)
    if count > pairs:
        raise SettingError(f"shard {text}: there are no more than {pairs:,} pairs to divide")
    return pairs * (index - 1) // count, pairs * index // count


def as_shard(
    text: str, partial: PartialResult, plan: Plan, pairing: Pairing, losses: Sequence[str]
) -> dict[str, Any]:
    """The entry `shard` of a result file, from which `merge` computes the complete result."""
    index, count = parse_shard(text)
    pairs, groups = pairing.pairs, pairing.groups
    ids = list(pairs[partial.start : partial.stop].named())
    grouped = [*ids, *(each.id for each in pairing.unpaired)]
    return {
        "index": index,
        "of": count,
        "pairs": {"count": len(pairs), "digest": digest(pairs.named())},
        "plan": jsonable(asdict(plan)),
        "losses": list(losses),
        "unpaired": [asdict(each) for each in pairing.unpaired],
        "ids": ids,
        "groups": {each: groups[each] for each in grouped if each in groups},
        "part": base64.b64encode(partial.pack()).decode(),
    }


def plan_of(record: Mapping[str, Any]) -> Plan:
    """The plan that a shard was stored with.

    Raises:
        InputError: it is damaged.
    """
    try:
        fields = _tuples(record)
        fields["roles"] = tuple(InputEncoding(**each) for each in fields["roles"])
        fields |= {side: InputEncoding(**fields[side]) for side in ("pred", "target")}
        return Plan(**fields)
    except (AttributeError, KeyError, TypeError):
        raise InputError("the plan of a shard is damaged; run the shard again") from None


def pairing_of(shards: Sequence[Mapping[str, Any]]) -> Pairing:
    """The pairs of all shards: ids without files."""
    names = [name for shard in shards for name in shard["ids"]]
    groups = {name: group for shard in shards for name, group in shard["groups"].items()}
    return Pairing(
        Pairs(Pair(name, {}) for name in names),
        [PairError(**each) for each in shards[0]["unpaired"]],
        groups=groups,
    )


def ordered(shards: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The file names of all shards of a run, sorted by the index of the shard.

    Raises:
        InputError: two files hold the same shard, or a shard is missing.
    """
    files: dict[int, str] = {}
    for name, shard in shards.items():
        earlier = files.setdefault(shard["index"], name)
        if earlier != name:
            raise InputError(
                f"{name} and {earlier} are both shard {shard['index']}/{shard['of']}; merge one",
                kind="duplicate",
            )
    count = shards[name]["of"]
    missing = [str(index) for index in range(1, count + 1) if index not in files]
    if missing:
        noun, verb = ("shard", "is") if len(missing) == 1 else ("shards", "are")
        message = f"{noun} {', '.join(missing)} of {count} {verb} missing; add the result files"
        raise InputError(message, kind="missing")
    return [files[index] for index in sorted(files)]


def _tuples(value: Any) -> Any:
    """Convert lists, as JSON has them, back to tuples."""
    if isinstance(value, dict):
        return {name: _tuples(each) for name, each in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
