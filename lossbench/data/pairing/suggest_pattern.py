"""Patterns that would match, for folders in which no file does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from lossbench.data.pairing.pairs import Index
from lossbench.data.pairing.patterns import SEPARATORS


def no_match(folders: Mapping[str, Any], pred: Index, target: Index) -> str:
    """The message for folders without a common id, with the patterns that would match most."""
    message = (
        f"no file of {folders['pred']} matches one of {folders['target']}: ids there are such as"
        f" {min(pred)!r}, here {min(target)!r}"
    )
    matches, _, *affixes = max(
        (
            len(strip_affixes(pred, *p) & strip_affixes(target, *t)),
            -_odd_ends(pred, *p) - _odd_ends(target, *t),
            p,
            t,
        )
        for p, t in product(_affixes(pred), _affixes(target))
    )
    if not matches:
        return message + "; give --pred-pattern and --gt-pattern"
    options = [
        f"--{role}-pattern '{before}{{id}}{after}'"
        for role, (before, after) in zip(("pred", "gt"), affixes, strict=True)
        if before or after
    ]
    return f"{message}; try {' '.join(options)} ({matches} would match)"


def _affixes(index: Index) -> list[tuple[str, str]]:
    """Texts that may stand before and after the id in every name, cut at _ - and dots."""
    start = _shared(list(index))
    end = _shared([name[::-1] for name in index])[::-1]
    return [(start[:before], end[after:]) for before in _cuts(start) for after in _cuts(end)]


def _shared(names: Sequence[str]) -> str:
    """The characters that all names begin with."""
    first, last = min(names), max(names)
    return next((first[:n] for n in range(len(first)) if first[n] != last[n : n + 1]), first)


def _cuts(text: str) -> list[int]:
    """Positions at which a text can be cut: its separators and both ends."""
    inner = [separator.start() for separator in SEPARATORS.finditer(text)]
    return sorted({*inner, len(text), 0})


def _odd_ends(index: Index, before: str, after: str) -> int:
    """How unlike an id the rest of a name is: separators at its ends, then its lost characters."""
    rest = min(strip_affixes(index, before, after), default="")
    edges = sum(end in "_-./" for end in (rest[:1], rest[-1:]) if end)
    return 1000 * edges + len(before) + len(after)


def strip_affixes(index: Index, before: str, after: str) -> set[str]:
    """The ids between both ends of names, where a name has more than those ends."""
    return {
        name[len(before) : len(name) - len(after)]
        for name in index
        if len(name) > len(before) + len(after)
    }
