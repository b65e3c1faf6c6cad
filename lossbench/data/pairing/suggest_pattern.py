"""Patterns that would match, for folders in which no file does, or every file matches itself."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, islice, product
from typing import Any

from lossbench.data.pairing.pairs import Index
from lossbench.data.pairing.patterns import SEPARATORS

LOOKED_AT = 1000  # names of a folder
TRUTH = re.compile(r"gt|gnd|truth|true|target|label|mask|seg|ref|manual|annot")
PREDICTION = re.compile(r"pred|(?<![a-z])out|result|infer|hat(?![a-z])|prob|logit")


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


def forgotten_patterns(index: Index) -> str | None:
    """The message for one folder as both sides, whose names come in two kinds; else None.

    Two names are of two kinds where they differ at one end alone, in a word that is said of ground
    truths or predictions: a_pred and a_gt, pred/a and gt/a, a and a_mask.
    """
    kinds_of = defaultdict[str, set[tuple[str, str]]](set)  # by id
    names = sorted(islice(index, LOOKED_AT))
    for name in names:
        for before, sample, after in _ends(name):
            kinds_of[sample].add((before, after))
    pairs = Counter(
        pair
        for sample, kinds in kinds_of.items()
        for pair in combinations(sorted(kinds), 2)
        if sample and any(map(_is_said, pair)) and len({sample.join(ends) for ends in pair}) > 1
    )
    matches, kinds = max(((count, pair) for pair, count in pairs.items()), default=(0, ()))
    if not matches or 4 * matches < len(names):
        return None
    pred, target = sorted(kinds, key=_leaning_to_truth)
    sample = next(name for name, kinds in kinds_of.items() if {pred, target} <= kinds)
    examples = " and ".join(repr(sample.join(ends)) for ends in (pred, target))
    sides = (("pred", pred, "--extra skip"), ("gt", target, "--missing skip"))
    options = " ".join(f"--{role}-pattern '{'{id}'.join(ends)}'" for role, ends, _ in sides)
    options += "".join(f" {skip}" for _, ends, skip in sides if not any(ends))  # fits every name
    return (
        f"PRED and GT are one folder, whose names come in two kinds, such as {examples}; try"
        f" {options} ({matches} would match), or --pred-pattern '{{id}}' to compare each file with"
        " itself"
    )


def _leaning_to_truth(ends: tuple[str, str]) -> int:
    """How much more ends of a name are said of ground truths than of predictions."""
    text = "/".join(ends).lower()
    return bool(TRUTH.search(text)) - bool(PREDICTION.search(text))


def _is_said(ends: tuple[str, str]) -> bool:
    """Whether an end of a name is said of ground truths or predictions."""
    text = "/".join(ends).lower()
    return bool(TRUTH.search(text) or PREDICTION.search(text))


def _ends(name: str) -> Iterator[tuple[str, str, str]]:
    """A name as an id with what may stand before and after it: the first or the last word.

    Where the last folder or the whole file name says the kind, folders above it are the id.
    """
    yield "", name, ""
    slashes = [at for at, letter in enumerate(name) if letter == "/"]
    for at in slashes[-3:]:  # case/pred/x, case/pred_mask, case/pred/seg/x
        yield "", name[:at], name[at:]
    separators = list(re.finditer(r"[_.\-/]", name))
    if separators:
        first, last = separators[0].end(), separators[-1].start()
        yield name[:first], name[first:], ""
        yield "", name[:last], name[last:]


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
