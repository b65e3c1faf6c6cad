"""A share of a run, and the shares put together again."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lossbench.catalog.columns import Term
from lossbench.data.pairing.pairs import Pair, Pairing, Pairs
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.engine.state.partial_result import PartialResult
from lossbench.errors import InputError, PairError, SettingError
from lossbench.results.json_numbers import jsonable
from lossbench.results.result import digest

SHARD = re.compile(r"([0-9]+)/([0-9]+)")


def parse_shard(text: str) -> tuple[int, int]:
    """I/N: which of how many, from 1.

    Raises:
        SettingError: it is no such thing.
    """
    match = SHARD.fullmatch(text)
    index, of = map(int, match.groups()) if match else (0, 0)
    if not 1 <= index <= of:
        raise SettingError(f"shard is I/N with I from 1 to N, such as 3/16, not {text!r}")
    return index, of


def share(text: str | None, pairs: int) -> tuple[int, int]:
    """From which to before which pair a shard goes; shards differ by one pair at most.

    Raises:
        SettingError: there are fewer pairs than shards.
    """
    if text is None:
        return 0, pairs
    index, of = parse_shard(text)
    if of > pairs:
        raise SettingError(f"shard {text}: there are no more than {pairs:,} pairs to share")
    return pairs * (index - 1) // of, pairs * index // of


def as_shard(
    text: str, part: PartialResult, plan: Plan, pairing: Pairing, losses: Sequence[str]
) -> dict[str, Any]:
    """What a result file holds beside the shard's own values, for `merge`."""
    index, of = parse_shard(text)
    pairs = pairing.pairs
    own = list(pairs[part.start : part.stop].named())
    groups, unpaired = pairing.groups, (each.id for each in pairing.unpaired)
    return {
        "index": index,
        "of": of,
        "pairs": {"count": len(pairs), "digest": digest(pairs.named())},
        "plan": jsonable(asdict(plan)),
        "losses": list(losses),
        "unpaired": [asdict(each) for each in pairing.unpaired],
        "ids": own,
        "groups": {each: groups[each] for each in (*own, *unpaired) if each in groups},
        "part": base64.b64encode(part.pack()).decode(),
    }


def plan_of(words: Mapping[str, Any]) -> Plan:
    """A plan from a file."""

    def reading(found: Mapping[str, Any]) -> InputEncoding:
        return InputEncoding(**{name: _tuples(each) for name, each in found.items()})

    sides = {"pred", "target", "roles"}
    return Plan(
        **{name: _tuples(each) for name, each in words.items() if name not in sides},
        pred=reading(words["pred"]),
        target=reading(words["target"]),
        roles=tuple(map(reading, words["roles"])),
    )


def pairing_of(shards: Sequence[Mapping[str, Any]]) -> Pairing:
    """The pairs of all shards, by name alone."""
    names = [name for shard in shards for name in shard["ids"]]
    groups = {name: group for shard in shards for name, group in shard["groups"].items()}
    return Pairing(
        Pairs(Pair(name, {}) for name in names),
        [PairError(**each) for each in shards[0]["unpaired"]],
        groups=groups,
    )


def part_of(shard: Mapping[str, Any], terms: Sequence[Term], grouping: Any) -> PartialResult:
    """The values of a shard."""
    return PartialResult.unpack(base64.b64decode(shard["part"]), terms, grouping)


def ordered(shards: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Shards by file name, in their order.

    Raises:
        InputError: they overlap, some are missing, or they are of different pairs or plans.
    """
    first, *_ = shards
    places: dict[int, str] = {}
    for name, shard in shards.items():
        for what in ("of", "pairs", "plan", "losses", "unpaired"):
            one, other = shard[what], shards[first][what]
            if what == "plan":  # devices may differ, and with them what a note says
                one, other = plan_of(one), plan_of(other)
            if one != other:
                words = {"of": "number of shards", "unpaired": "files without a partner"}
                raise InputError(
                    f"{name} and {first} are no shards of one run: their {words.get(what, what)}"
                    " differ",
                    kind="mismatch",
                )
        earlier = places.setdefault(shard["index"], name)
        if earlier != name:
            raise InputError(
                f"{name} and {earlier} are both shard {shard['index']}/{shard['of']}; give one",
                kind="duplicate",
            )
    of = shards[first]["of"]
    missing = [str(index) for index in range(1, of + 1) if index not in places]
    if missing:
        raise InputError(
            f"of {of} shards {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            kind="missing",
        )
    return [shards[places[index]] for index in sorted(places)]


def _tuples(value: Any) -> Any:
    """Lists of a file as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
