"""Many pairs in little memory: names are stored as bytes, and a pair is built on access."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, NamedTuple, overload

from lossbench.data.sources.locations import Source, label
from lossbench.errors import InputError, PairError
from lossbench.runtime.string_list import StringList

Files = tuple[tuple[str, Source], ...]  # each with its class, "" without classes
Index = dict[str, Files]  # by id
ListedSegments = dict[int, tuple[int, bool]]  # id -> class, whether it is a crowd

# The settings that leave out an id without a prediction, and one without ground truth.
LEFT_OUT = {"pred": "--missing skip", "target": "--extra skip"}


@dataclass(frozen=True, slots=True)
class Pair:
    """One sample: its id and, for each role, its file, or one file a class."""

    id: str
    sources: dict[str, tuple[Source, ...]]
    # By role, where a file lists them.
    segments: dict[str, ListedSegments] = field(default_factory=dict)


class PathColumn:
    """The files of one role: paths as bytes, arrays and lists of files as they are."""

    def __init__(self) -> None:
        self.paths, self.others = StringList(), dict[int, Any]()

    def append(self, sources: tuple[Source, ...]) -> None:
        path = sources[0] if len(sources) == 1 and type(sources[0]) is str else None
        if path is None:
            self.others[len(self.paths)] = sources
        self.paths.append(path or "")

    def __getitem__(self, index: int) -> tuple[Source, ...]:
        sources: tuple[Source, ...] = self.others.get(index) or (self.paths[index],)
        return sources


class Pairs(Sequence[Pair]):
    """Pairs that all have the same roles; a slice of them shares their memory."""

    def __init__(self, pairs: Iterable[Pair] = ()) -> None:
        self.ids, self.roles = StringList(), defaultdict[str, PathColumn](PathColumn)
        self.segments = dict[int, dict[str, ListedSegments]]()
        self.order: Sequence[int] = range(0)
        for pair in pairs:
            self.append(pair.id, pair.sources, pair.segments)

    def append(
        self,
        name: str,
        sources: Mapping[str, tuple[Source, ...]],
        segments: dict[str, ListedSegments] | None = None,
    ) -> None:
        """Add a pair; not to a slice, and not to sorted pairs."""
        if segments:
            self.segments[len(self.ids)] = segments
        self.ids.append(name)
        for role, files in sources.items():
            self.roles[role].append(files)
        self.order = range(len(self.ids))

    def sorted(self) -> Pairs:
        """In the order of their ids, equal ones as they came."""
        return self._at(array("Q", sorted(self.order, key=self.ids.__getitem__)))

    def repeated(self) -> Iterator[list[int]]:
        """The indices of each id that occurs more than once; of sorted pairs."""
        for _, indices in groupby(self.order, self.ids.__getitem__):
            first, *others = indices
            if others:
                yield [first, *others]

    def without(self, indices: Collection[int]) -> Pairs:
        """The other pairs in the same order; an index counts pairs as they were appended."""
        if not indices:
            return self
        return self._at(array("Q", (index for index in self.order if index not in indices)))

    def named(self) -> Iterator[str]:
        """The ids alone."""
        return map(self.ids.__getitem__, self.order)

    def _at(self, order: Sequence[int]) -> Pairs:
        some = object.__new__(Pairs)
        some.ids, some.roles, some.segments = self.ids, self.roles, self.segments
        some.order = order
        return some

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> Pairs: ...
    def __getitem__(self, index: int | slice) -> Pair | Pairs:
        if isinstance(index, slice):
            return self._at(self.order[index])
        at = self.order[index]
        sources = {role: column[at] for role, column in self.roles.items()}
        return Pair(self.ids[at], sources, self.segments.get(at, {}))

    def __iter__(self) -> Iterator[Pair]:
        columns, segments = self.roles.items(), self.segments
        for at in self.order:
            sources = {role: column[at] for role, column in columns}
            yield Pair(self.ids[at], sources, segments.get(at, {}))

    def __len__(self) -> int:
        return len(self.order)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __getstate__(self) -> dict[str, Any]:
        """The state of a copy, so that a slice is pickled without the other pairs."""
        return vars(Pairs(self))


@dataclass(frozen=True, slots=True)
class Category:
    """A class that a JSON file names, and whether it has instances."""

    id: int
    name: str
    thing: bool


class Lines(NamedTuple):
    """The lines of a table that name the pairs."""

    of: str  # what they are lines of
    numbers: Sequence[int]  # of each pair as it was appended

    def naming(self, index: int) -> str:
        """The end of a message on a file of a pair."""
        return f": {self.of} {self.numbers[index]} names it; correct the path"


@dataclass
class Pairing:
    """Pairs in the order of their ids, and the ids that cannot be paired."""

    pairs: Pairs = field(default_factory=Pairs)
    unpaired: list[PairError] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    classes: tuple[str, ...] = ()  # from {class} in a pattern
    groups: dict[str, str] = field(default_factory=dict)  # by id, where samples are grouped
    categories: tuple[Category, ...] = ()  # from a panoptic file
    notes: tuple[str, ...] = ()  # remarks for the user
    confined: bool = False  # only this process can read some of the files
    lines: Lines | None = None  # where a table names the pairs

    def count(self, kind: str) -> int:
        return sum(each.kind == kind for each in self.unpaired)

    def with_lines(self, errors: Sequence[PairError]) -> list[PairError]:
        """Errors of pairs; those of files that do not exist with the line that names the file."""
        lost = {each.id for each in errors if each.kind == "missing"} if self.lines else set()
        if not lost or not self.lines:
            return list(errors)
        places = zip(self.pairs.named(), self.pairs.order, strict=True)
        named = {id: self.lines.naming(at) for id, at in places if id in lost}
        return [
            replace(each, message=each.message + named[each.id])
            if each.id in named and each.kind == "missing"
            else each
            for each in errors
        ]

    def name_line(self, error: InputError) -> None:
        """Add the first line that names a file to the error that the file does not exist."""
        for pair, at in zip(self.pairs, self.pairs.order, strict=True) if self.lines else ():
            names = {label(each) for sources in pair.sources.values() for each in sources}
            if error.kind == "missing" and error.file in names and self.lines:
                error.message += self.lines.naming(at)
                return


def ordered_classes(names: set[str], order: Sequence[str]) -> tuple[str, ...]:
    """The classes that have files of their own, in the user's order or else sorted."""
    unknown = names - set(order)
    if order and unknown:
        raise InputError(
            f"there are files of a class {min(unknown)!r} that is not among {', '.join(order)}",
            kind="mismatch",
        )
    return tuple(order) if order and names else tuple(sorted(names))
