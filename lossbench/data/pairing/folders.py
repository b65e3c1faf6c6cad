"""Pair the files of folders: by relative path, or by pattern."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from unicodedata import normalize

from lossbench.data.formats.registry import way_out
from lossbench.data.pairing.pairs import LEFT_OUT, Files, Index, Pairing, ordered_classes
from lossbench.data.pairing.patterns import PLACEHOLDER, matcher
from lossbench.data.pairing.suggest_pattern import forgotten_patterns, no_match
from lossbench.data.sources.locations import Empty, LocationIndex, Source, United, label
from lossbench.data.sources.suffixes import ENDINGS, split_ending
from lossbench.errors import InputError, PairError, SettingError


def pair(
    folders: Mapping[str, Any],
    patterns: Mapping[str, str | None],
    classes: Sequence[str] = (),
    *,
    empty: bool = False,
) -> Pairing:
    """Match the files of every role, `pred` and `target` among them.

    A folder may be an archive, a URL, a single file, or arrays in memory. A pattern is such as
    "{id}_{class}.png"; `classes` gives the order of its classes, which may have several files each
    where the pattern has further names. With `empty`, a class without a file has no pixel. Further
    roles have one file a sample, so patterns with {class} are not for them.

    Raises:
        InputError: a folder is missing or empty, or nothing matches.
    """
    are_paths = {isinstance(folder, str | os.PathLike) for folder in folders.values()}
    if len(are_paths) > 1:
        raise SettingError("give folders for all inputs, or arrays for all of them")
    result, locations = Pairing(), LocationIndex()
    named = {role: label(folder) for role, folder in folders.items()}
    if False in are_paths:
        indices = _index_arrays(folders)
        result.confined = True
    else:
        indices = {
            role: _index(role, os.fspath(folder), patterns.get(role), locations, result.left_out)
            for role, folder in folders.items()
        }
        result.confined = locations.confined
        if all(_is_one_file(index, folders[role]) for role, index in indices.items()):
            name = next(iter(indices["pred"]))  # of all roles, whatever their files are called
            indices = {role: {name: next(iter(index.values()))} for role, index in indices.items()}
    is_one = False not in are_paths and _is_same(folders["pred"], folders["target"])
    if is_one and not any(patterns.values()) and (message := forgotten_patterns(indices["pred"])):
        raise SettingError(message)
    names = {name for index in indices.values() for files in index.values() for name, _ in files}
    result.classes = ordered_classes(names - {""}, classes)
    for role, index in indices.items() if result.classes else ():
        several = len(set(PLACEHOLDER.findall(patterns.get(role) or ""))) > 2
        for sample, files in index.items():
            index[sample] = _one_a_class(files, result.classes, several=several, empty=empty)
    pred, target = indices["pred"], indices["target"]
    if not pred.keys() & target.keys():
        no_arrays = "there are no arrays, or no id is in both pred and target"
        message = no_arrays if False in are_paths else no_match(named, pred, target)
        raise InputError(message, kind="missing")
    for sample in sorted(pred.keys() | target.keys()):
        if problem := _problem(sample, indices, named, result.classes):
            result.unpaired.append(problem)
            continue
        sources = {
            role: tuple([file for _, file in each[sample]]) for role, each in indices.items()
        }
        result.pairs.append(sample, sources)
    return result


def _one_a_class(files: Files, classes: Sequence[str], *, several: bool, empty: bool) -> Files:
    """The files of a sample in the order of its classes: several are united, none is empty."""
    by_class = dict[str, list[Source]]()
    for of_class, file in files:
        by_class.setdefault(of_class, []).append(file)
    if several:
        by_class = {
            of_class: [United(tuple(each))] if len(each) > 1 else each
            for of_class, each in by_class.items()
        }
    if empty and "" not in by_class:
        by_class = {name: [Empty(files[0][1])] for name in classes} | by_class
    order = sorted(by_class, key=("", *classes).index)
    return tuple((of_class, file) for of_class in order for file in by_class[of_class])


def _problem(
    sample: str, indices: Mapping[str, Index], folders: Mapping[str, Any], classes: Sequence[str]
) -> PairError | None:
    """Why an id cannot be evaluated; None if it can."""
    for role, index in indices.items():
        files = index.get(sample)
        if files is None:
            is_extra = role == "target"
            (_, other), *_ = indices["pred" if is_extra else "target"][sample]
            kind, file = ("extra", label(other)) if is_extra else ("missing", None)
            what = {"pred": "prediction", "target": "ground truth"}.get(role, f"{role} file")
            message = f"{label(other)} has no {what} in {folders[role]}"
            if folders[role] is None:  # arrays
                message = f"{sample!r} has no {role}"
            if role in LEFT_OUT:
                message += f"; {LEFT_OUT[role]} leaves it out"
            return PairError(sample, role, file, kind, message)
        names = [of_class for of_class, _ in files]
        if len(set(names)) < len(names):
            repeated = next(name for name in names if names.count(name) > 1)
            same = [str(label(file)) for of_class, file in files if of_class == repeated]
            both = " and ".join(same)
            message = f"{both} have one id, {sample!r}; remove one"
            if not classes:
                flag = "--pred-pattern" if role == "pred" else "--gt-pattern"
                message += f", or choose with {flag} '{{id}}{split_ending(same[0])[1]}'"
            return PairError(sample, role, same[0], "duplicate", message)
        for name in classes:
            if name not in names and "" not in names:
                message = (
                    f"{sample!r} has no file for class {name!r} in {folders[role]}; --missing empty"
                    " stands for one without a pixel"
                )
                return PairError(sample, role, None, "missing", message)
    return None


def _index_arrays(folders: Mapping[str, Any]) -> dict[str, Index]:
    """Arrays in memory: mappings by id, or sequences (an array's first axis) by number."""
    indices = dict[str, Index]()
    for role, arrays in folders.items():
        index = indices[role] = {}
        if numbered := not isinstance(arrays, Mapping):
            arrays = {f"{number:06d}": each for number, each in enumerate(arrays)}
        for key, value in arrays.items():
            if str(key) in index:
                raise InputError(f"{role} has two ids that are written {str(key)!r}", role=role)
            index[str(key)] = (("", value),)
        if numbered and len(index) != len(indices["pred"]):
            counts = f"pred has {len(indices['pred'])} samples and {role} has {len(index)}"
            raise InputError(counts, kind="missing", role=role)
    return indices


def _is_same(one: Any, other: Any) -> bool:
    """Whether two locations are one."""
    with suppress(OSError):
        return os.path.samefile(one, other)
    return bool(one == other)


def _is_one_file(index: Index, folder: Any) -> bool:
    """Whether a role is one file in place of a folder."""
    files = [file for of_id in index.values() for _, file in of_id]
    return len(files) == 1 and label(files[0]) == label(folder)


def _index(
    role: str, folder: str, pattern: str | None, locations: LocationIndex, left_out: Counter[str]
) -> Index:
    """The files of one role by id and class."""
    if pattern and "{class}" in pattern and role not in ("pred", "target"):
        pattern = None
    match = matcher(pattern)
    index: Index = {}
    foreign: Counter[str] = Counter()
    for file, relative in locations.listed(folder, role, foreign):
        stem, ending = split_ending(relative)
        if relative.rpartition("/")[2].startswith("."):
            foreign["hidden"] += 1
        elif ending.lower() not in ENDINGS:
            foreign[ending or "none"] += 1
        elif (matched := match(relative, stem)) is None:
            foreign["not of the pattern"] += 1
        else:
            sample, of_class = normalize("NFC", matched[0]), normalize("NFC", matched[1])
            index[sample] = (*index.get(sample, ()), (of_class, file))
    left_out += foreign
    if not index:
        contents = ", ".join(f"{n} × {ending}" for ending, n in sorted(foreign.items()))
        message = f"{label(folder)} holds no image or array ({role})"
        message += f"; it holds {contents}" if contents else ""
        endings = [each for each in foreign if each.startswith(".")]
        message += f"; {way_out(endings)}" if endings else ""
        raise InputError(message, kind="missing", role=role)
    return index
