"""Pair the files that a table names: a header, then one line a sample."""

from __future__ import annotations

import csv
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO, TextIOWrapper
from itertools import chain
from typing import IO
from unicodedata import normalize

from lossbench.data.pairing.groups import GroupNames
from lossbench.data.pairing.manifest_header import Header, read_header
from lossbench.data.pairing.manifest_parquet import parquet_rows
from lossbench.data.pairing.pairs import LEFT_OUT, Lines, Pairing, Pairs
from lossbench.data.sources.locations import Empty, LocationIndex, Source, label
from lossbench.data.sources.remote import Remote, below, is_url, shown, written_path
from lossbench.data.sources.suffixes import ENDINGS, split_ending
from lossbench.errors import InputError, PairError, file_beside, mismatch, os_reason

STANDARD_INPUT = "-"
TABS = (".tsv", ".tab")
PARQUET = (".parquet", ".pq")
Line = tuple[int, list[str]]  # its number, and its cells


def read_manifest(
    path: str,
    roles: Sequence[str],
    classes: Sequence[str] = (),
    group_by: Sequence[str] = (),
    *,
    empty: bool = False,
) -> Pairing:
    """The pairs that a manifest names, in the order of their ids.

    A manifest is a file of comma or tab separated values with a header, a Parquet file, a URL of
    either, or "-" for the standard input. Paths in it are relative to its folder, in the standard
    input to the working directory. `roles` are further roles that may have a column, `classes`
    gives the order of columns such as `pred[liver]`, `group_by` names the columns of groups. With
    `empty`, an empty cell of a class beside cells of other classes is a class without a pixel.

    Raises:
        InputError: it cannot be read, or is no such table.
        SettingError: no column is called as in `group_by`.
    """
    standard = path == STANDARD_INPUT
    name, folder = ("stdin", "") if standard else (str(label(path)), os.path.dirname(path))
    unit = "row" if path.lower().endswith(PARQUET) else "line"
    locations, pairs = LocationIndex(), Pairs()
    numbers = array("Q")  # of lines, one a pair
    unpaired = dict[int, PairError]()  # by the index of the pair
    groups, names = dict[str, str](), GroupNames()
    joined = _below(folder)
    rows = _lines(path, name)
    number, titles = next(rows)
    where = f"{name} {unit} {number}" if number else name
    header = read_header(where, titles, roles, classes, group_by)
    for number, cells in rows:
        where = f"{name} {unit} {number}"
        _check_line(where, cells, header)
        sample = _id(where, cells, header)
        lacking = _lacking(cells, header, empty=empty)
        if lacking:
            role, column = lacking
            kind = "extra" if role == "target" else "missing"
            message = f"{where}: the cell of {header.names[column]!r} is empty"
            message += f"; {LEFT_OUT[role]} leaves the line out" if role in LEFT_OUT else ""
            if header.classes and role in LEFT_OUT:
                message += ", --missing empty takes it for a class without a pixel"
            unpaired[len(numbers)] = PairError(sample, role, None, kind, message)
            pairs.append(sample, dict.fromkeys(header.files, ("",)))
        else:
            sources = dict[str, tuple[Source, ...]]()
            for role, columns in header.files.items():
                written = [cells[column] for column in columns.values()]
                files = [locations.file(joined(each)) if each else None for each in written]
                like = next(filter(None, files), "")
                sources[role] = tuple([each or Empty(like) for each in files])
            pairs.append(sample, sources)
        numbers.append(number)
        if header.groups:
            groups[sample] = names.of(_group(where, cells, header))
    if not numbers:
        message = f"the manifest {name} has no line below its header; expected one for each pair"
        raise InputError(message, kind="missing")
    pairs = pairs.sorted()
    for indices in pairs.repeated():
        lines = " and ".join(f"{unit} {numbers[index]}" for index in indices)
        sample = pairs.ids[indices[0]]
        message = f"{name} {lines} have one id, {sample!r}; give each its own in a column 'id'"
        unpaired |= dict.fromkeys(indices, PairError(sample, "pred", None, "duplicate", message))
    return Pairing(
        pairs.without(unpaired.keys()),
        sorted({each.id: each for each in unpaired.values()}.values(), key=lambda each: each.id),
        classes=header.classes,
        groups=groups,
        confined=locations.confined,
        lines=Lines(f"{name} {unit}", numbers),
    )


def _lacking(cells: Sequence[str], header: Header, *, empty: bool) -> tuple[str, int] | None:
    """The role and column of an empty cell that stands for no class without a pixel, if any."""
    filled = {role for role, column in header.checked if cells[column]} if empty else set()
    return next(
        (each for each in header.checked if not cells[each[1]] and each[0] not in filled), None
    )


def _lines(path: str, name: str) -> Iterator[Line]:
    """The lines that are not empty; the first is the header."""
    try:
        with _opened(path, name) as file:
            if path.lower().endswith(PARQUET):
                yield from parquet_rows(file, name)
            else:
                yield from _rows(TextIOWrapper(file, "utf-8-sig", "surrogateescape", ""), name)
    except OSError as error:
        kind = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
        reason = f"the manifest {name} cannot be read: {os_reason(error)}{file_beside(path)}"
        raise InputError(reason, kind=kind) from None


def _opened(path: str, name: str) -> IO[bytes]:
    """The bytes of a manifest."""
    if path == STANDARD_INPUT:
        return open(0, "rb", closefd=False)
    if not is_url(path):
        return open(path, "rb")
    try:
        return BytesIO(Remote(path).read())
    except InputError as error:
        raise InputError(f"the manifest {name} {error.message}", kind=error.kind) from None


def _rows(file: Iterable[str], name: str) -> Iterator[Line]:
    """A text as rows of cells, those without any text left out."""
    texts, start = iter(file), list[str]()
    for text in texts:
        start.append(text)
        if text.strip():
            break
    else:
        message = f"the manifest {name} is empty; expected a header such as id,pred,gt"
        raise InputError(message, kind="missing")
    separator = "\t"
    if not name.lower().endswith(TABS):  # one of three, which makes the most columns of the header
        separator = max(",\t;", key=lambda each: len(next(csv.reader([text], delimiter=each))))
    rows = csv.reader(chain(start, texts), delimiter=separator, skipinitialspace=True, strict=True)
    last = 0
    try:
        for cells in rows:
            number, last = last + 1, rows.line_num
            text = "".join(cells)
            try:
                text.encode()
            except UnicodeEncodeError:  # bytes that are no text were read as surrogates
                where = f"{name} line {number}"
                raise InputError(f"{where} is not UTF-8; save it in that encoding") from None
            if text.strip():
                yield number, cells
    except csv.Error as error:
        raise InputError(f"{name} line {last + 1} cannot be read: {error}") from None


def _check_line(where: str, cells: Sequence[str], header: Header) -> None:
    """Refuse a line that contradicts the header."""
    if len(cells) != len(header.names):
        raise mismatch(
            f"{where} has {len(cells)} cells where the header has {len(header.names)};"
            " put a cell that has the separator in quotes"
        )
    for column, role in header.slips.items():
        if split_ending(cells[column])[1].lower() in ENDINGS:
            raise mismatch(
                f"{where}: the column {header.names[column]!r} names a file and is no role"
                f" (did you mean {role!r}?)"
            )


def _id(where: str, cells: Sequence[str], header: Header) -> str:
    """The id of a line; without a column for it, the prediction's path without suffix."""
    if header.id is not None:
        written = cells[header.id]
    else:
        columns = [*header.files["pred"].values(), *header.files["target"].values()]
        written = _stem(next(filter(None, map(cells.__getitem__, columns)), ""))
    if not written.strip():
        lacks = "names neither prediction nor truth" if header.id is None else "has no id"
        raise mismatch(f"{where} {lacks}")
    return normalize("NFC", written)


def _stem(file: str) -> str:
    """A path without suffix; a URL without its secrets, and without the query after a suffix."""
    if not is_url(file):
        return split_ending(file)[0]
    stem, suffix = split_ending(written_path(file))
    return shown(stem if suffix.lower() in ENDINGS else file)


def _group(where: str, cells: Sequence[str], header: Header) -> tuple[str, ...]:
    """The cells that make the group of a line."""
    parts = tuple(normalize("NFC", cells[column].strip()) for column in header.groups)
    if "" in parts:
        name = header.names[header.groups[parts.index("")]]
        raise mismatch(f"{where}: the cell of {name!r} is empty; --group-by needs it")
    return parts


def _below(folder: str) -> Callable[[str], str]:
    """A function from a path in a manifest to the path from its folder, if it is relative."""
    if is_url(folder):
        return lambda written: written if is_url(written) else below(folder, written)
    start = os.path.join(folder, "")
    return lambda written: written if os.path.isabs(written) or is_url(written) else start + written
