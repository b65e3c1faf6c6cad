"""Which prediction belongs to which ground truth: by relative path, or by pattern."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unicodedata import normalize

from lossbench.data.pairing.pairs import Pairs
from lossbench.data.sources.locations import Places, Source, label
from lossbench.data.sources.suffixes import ENDINGS, split_ending
from lossbench.errors import InputError, SettingError

SEPARATORS = re.compile(r"(?<=[_.\-/])|(?=[_.\-])")
PLACEHOLDER = re.compile(r"\{([^\W\d]\w*)\}|(\*)")


@dataclass(frozen=True, slots=True)
class Category:
    """A class that a panoptic file names, and whether its instances are told apart."""

    id: int
    name: str
    thing: bool


@dataclass(frozen=True, slots=True)
class Unpaired:
    """An id that cannot be evaluated, and why."""

    id: str
    role: str
    kind: str  # missing, extra or duplicate
    message: str
    file: str | None = None


@dataclass
class Pairing:
    """What two folders or a manifest hold, in the order of the ids."""

    pairs: Pairs = field(default_factory=Pairs)
    unpaired: list[Unpaired] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    classes: tuple[str, ...] = ()  # from {class} in a pattern
    groups: dict[str, str] = field(default_factory=dict)  # by id, where samples are grouped
    categories: tuple[Category, ...] = ()  # from a panoptic file
    confined: bool = False  # something can be read by this process alone

    def count(self, kind: str) -> int:
        return sum(each.kind == kind for each in self.unpaired)


Files = tuple[tuple[str, Source], ...]  # each with its class, "" without classes
Index = dict[str, Files]  # by id


def pair(
    folders: Mapping[str, Any], patterns: Mapping[str, str | None], classes: Sequence[str] = ()
) -> Pairing:
    """Match the files of every role.

    Args:
        folders: role -> folder, archive, URL, single file, or arrays in memory; `pred` and
            `target` among them.
        patterns: role -> pattern such as "{id}_pred.png", for the roles that have one. Roles
            beside pred and target have one file a sample, so there {class} is no part of a name.
        classes: names in the order wanted, for patterns with {class}.

    Raises:
        InputError: a folder is missing or empty, or nothing matches.
    """
    on_files = {isinstance(given, str | os.PathLike) for given in folders.values()}
    if on_files != {True}:
        if True in on_files:
            raise SettingError("give folders for all inputs, or arrays for all of them")
        return _pair_arrays(folders)
    result, places = Pairing(), Places()
    named = {role: label(folder) for role, folder in folders.items()}
    indices = {
        role: _index(role, os.fspath(folder), patterns.get(role), places, result.left_out)
        for role, folder in folders.items()
    }
    result.confined = places.confined
    if all(_alone(index, folders[role]) for role, index in indices.items()):  # names may differ
        name = next(iter(indices["pred"]))
        indices = {role: {name: next(iter(index.values()))} for role, index in indices.items()}
    found = {name for index in indices.values() for files in index.values() for name, _ in files}
    result.classes = ordered_classes(found - {""}, classes)
    pred, target = indices["pred"], indices["target"]
    if not pred.keys() & target.keys():
        raise InputError(_no_match(named, pred, target), kind="missing")
    for sample in sorted(pred.keys() | target.keys()):
        problem = _problem(sample, indices, named, result.classes)
        if problem:
            result.unpaired.append(problem)
            continue
        sources = {
            role: _in_order(index[sample], result.classes) for role, index in indices.items()
        }
        result.pairs.append(sample, sources)
    return result


def _problem(
    sample: str, indices: Mapping[str, Index], folders: Mapping[str, Any], classes: Sequence[str]
) -> Unpaired | None:
    """What keeps an id from being evaluated, if anything does."""
    for role, index in indices.items():
        found = index.get(sample)
        if found is None:
            other = "pred" if role == "target" else "target"
            (_, source), *_ = indices[other][sample]
            file = label(source)
            if role == "target":
                return Unpaired(
                    sample, role, "extra", f"{file} has no ground truth in {folders[role]}", file
                )
            what = "prediction" if role == "pred" else f"{role} file"
            return Unpaired(sample, role, "missing", f"{file} has no {what} in {folders[role]}")
        held = {of_class for of_class, _ in found}
        if len(held) < len(found):
            same = next(each for name, _ in found if len(each := _of_class(found, name)) > 1)
            names = " and ".join(str(label(file)) for file in same)
            return Unpaired(
                sample,
                role,
                "duplicate",
                f"{names} have one id, {sample!r}; remove one, or choose with a pattern",
                label(same[0]),
            )
        lacking = [name for name in classes if not held & {"", name}]
        if lacking:
            return Unpaired(
                sample,
                role,
                "missing",
                f"{sample!r} has no file for class {lacking[0]!r} in {folders[role]}",
            )
    return None


def _pair_arrays(folders: Mapping[str, Any]) -> Pairing:
    """Arrays in memory: mappings by id, or sequences (an array's first axis) by number."""
    result, indices = Pairing(confined=True), dict[str, dict[str, Any]]()
    for role, given in folders.items():
        index = indices[role] = {}
        for key, value in given.items() if isinstance(given, Mapping) else _numbered(given):
            if str(key) in index:
                raise InputError(f"{role} has two ids that are written {str(key)!r}", role=role)
            index[str(key)] = value
        if not isinstance(given, Mapping) and len(index) != len(indices["pred"]):
            counts = f"pred has {len(indices['pred'])} samples and {role} has {len(index)}"
            raise InputError(counts, kind="missing", role=role)
    if not indices["pred"].keys() & indices["target"].keys():
        raise InputError("there are no arrays, or no id is in both pred and target", kind="missing")
    for key in sorted(indices["pred"].keys() | indices["target"].keys()):
        lacking = next((role for role, index in indices.items() if key not in index), None)
        if lacking is None:
            result.pairs.append(key, {role: (index[key],) for role, index in indices.items()})
        else:
            kind = "extra" if lacking == "target" else "missing"
            result.unpaired.append(Unpaired(key, lacking, kind, f"{key!r} has no {lacking}"))
    return result


def _numbered(given: Any) -> Iterator[tuple[str, Any]]:
    """The samples of a sequence, or of an array's first axis, by number."""
    for number, sample in enumerate(given):
        yield f"{number:06d}", sample


def _alone(index: Index, given: Any) -> bool:
    """Whether a role was given as one file."""
    files = [file for found in index.values() for _, file in found]
    return len(files) == 1 and label(files[0]) == label(given)


def _index(
    role: str, folder: str, pattern: str | None, places: Places, left_out: Counter[str]
) -> Index:
    """The files of one role by id and class."""
    if pattern and "{class}" in pattern and role not in ("pred", "target"):
        pattern = None
    match = _matcher(pattern)
    index: Index = {}
    foreign: Counter[str] = Counter()
    for file, relative in places.listed(folder, role, foreign):
        stem, ending = split_ending(relative)
        if relative.rpartition("/")[2].startswith("."):
            foreign["hidden"] += 1
            continue
        if ending.lower() not in ENDINGS:
            foreign[ending or "none"] += 1
            continue
        found = match(relative, stem)
        if found is None:
            foreign["not of the pattern"] += 1
            continue
        name, of_class = found[0], normalize("NFC", found[1])
        sample = normalize("NFC", name)
        index[sample] = (*index.get(sample, ()), (of_class, file))
    left_out += foreign
    if not index:
        held = ", ".join(f"{n} × {ending}" for ending, n in sorted(foreign.items()))
        raise InputError(
            f"{label(folder)} holds no image or array ({role})"
            + (f"; it holds {held}" if held else ""),
            kind="missing",
            role=role,
        )
    return index


def _matcher(pattern: str | None) -> Any:
    """A function from a relative path to its id and class, None where the pattern does not fit."""
    if pattern is None:
        return lambda relative, stem: (stem, "")
    if "{id}" not in pattern or stray_braces(pattern):
        raise SettingError(
            f"the pattern {pattern!r}: expected {{id}}, and further names in braces, such as"
            " '{id}_{class}.png'"
        )
    whole = split_ending(pattern)[1].lower() in ENDINGS
    rule = compiled(pattern)

    def match(relative: str, stem: str) -> tuple[str, str] | None:
        found = rule.fullmatch(relative if whole else stem)
        return (found["id"], found.groupdict().get("class", "")) if found else None

    return match


def stray_braces(pattern: str) -> bool:
    """Whether a pattern has braces that are not around a name."""
    return bool(set("{}") & set(PLACEHOLDER.sub("", pattern)))


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression with a group for each name.

    A name takes as much as it can within one folder, `{id}` across folders as well.
    """
    parts, end, seen = [], 0, set[str]()
    for place in PLACEHOLDER.finditer(pattern):
        name = place[1] or ""
        parts.append(re.escape(pattern[end : place.start()]))
        if not name:
            parts.append("[^/]*")
        elif name in seen:
            parts.append(f"(?P={name})")
        else:
            parts.append(f"(?P<{name}>{'.+' if name == 'id' else '[^/]+'})")
        seen.add(name)
        end = place.end()
    return re.compile("".join(parts) + re.escape(pattern[end:]))


def ordered_classes(found: set[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """The classes that have files of their own, in the order wanted or else sorted."""
    unknown = found - set(wanted)
    if wanted and unknown:
        raise InputError(
            f"there are files of a class {min(unknown)!r} that is not among {', '.join(wanted)}",
            kind="mismatch",
        )
    return tuple(wanted) if wanted and found else tuple(sorted(found))


def _in_order(files: Files, classes: Sequence[str]) -> tuple[Source, ...]:
    """The files of one id: one for all classes, or one a class."""
    (of_class, file), *_ = files
    if of_class == "":
        return (file,)
    each = dict(files)
    return tuple(each[name] for name in classes)


def _of_class(files: Files, name: str) -> list[Source]:
    return [file for of_class, file in files if of_class == name]


def _no_match(folders: Mapping[str, Any], pred: Index, target: Index) -> str:
    """No id is in both folders: say so, and find the patterns that would match."""
    message = (
        f"no file of {folders['pred']} matches one of {folders['target']}: ids there are such as"
        f" {min(pred)!r}, here {min(target)!r}"
    )
    best = max(
        (
            (
                len(_strip(pred, *p) & _strip(target, *t)),
                -_odd_ends(pred, *p) - _odd_ends(target, *t),
                p,
                t,
            )
            for p in _affixes(pred)
            for t in _affixes(target)
        ),
        default=(0, 0, ("", ""), ("", "")),
    )
    if not best[0]:
        return message + "; give --pred-pattern and --gt-pattern"
    options = [
        f"--{role}-pattern '{before}{{id}}{after}'"
        for role, (before, after) in (("pred", best[2]), ("gt", best[3]))
        if before or after
    ]
    return f"{message}; try {' '.join(options)} ({best[0]} would match)"


def _affixes(index: Index) -> list[tuple[str, str]]:
    """What may stand before and after the id in every name, cut at _ - and dots."""
    names = list(index)
    start = _shared(names)
    end = _shared([name[::-1] for name in names])[::-1]
    starts = [""] + [start[:n] for n in _cuts(start)]
    ends = [""] + [end[n:] for n in _cuts(end)]
    return [(before, after) for before in starts for after in ends]


def _shared(names: Sequence[str]) -> str:
    """The characters that all names begin with."""
    first, last = min(names), max(names)
    return next((first[:n] for n in range(len(first)) if first[n] != last[n : n + 1]), first)


def _cuts(text: str) -> list[int]:
    inner = [place.start() for place in SEPARATORS.finditer(text)]
    return sorted({*inner, len(text), 0})


def _odd_ends(index: Index, before: str, after: str) -> int:
    """How unlike an id the rest of a name is: separators at its ends first, then what is lost."""
    rest = min(_strip(index, before, after), default="")
    edges = sum(end in "_-./" for end in (rest[:1], rest[-1:]) if end)
    return 1000 * edges + len(before) + len(after)


def _strip(index: Index, before: str, after: str) -> set[str]:
    """Ids with both ends taken off, where something is left between them."""
    return {
        name[len(before) : len(name) - len(after)]
        for name in index
        if len(name) > len(before) + len(after)
    }
