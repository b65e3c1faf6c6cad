"""The header of a manifest: the meaning of each column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from unicodedata import normalize

from lossbench.data.pairing.pairs import ordered_classes
from lossbench.errors import SettingError, did_you_mean, mismatch

SIDES = {"pred": "pred", "gt": "target", "target": "target"}
OF_CLASS = re.compile(r"(pred|gt|target)\[(.+)\]", re.IGNORECASE)
CLOSE = 0.75  # a column so similar to a role is probably a misspelt role


@dataclass(frozen=True)
class Header:
    """The columns of a manifest by their meaning."""

    names: tuple[str, ...]  # the columns as they are written
    id: int | None  # the column of the ids, if there is one
    files: dict[str, dict[str, int]]  # role -> class -> column; "" without classes
    classes: tuple[str, ...]  # those that have files of their own, in order
    groups: tuple[int, ...]  # the columns that make the group of a sample
    slips: dict[int, str]  # columns without a meaning, but with a name much like a role: that role

    @cached_property
    def checked(self) -> list[tuple[str, int]]:
        """Roles and columns in the order in which empty cells are reported.

        A missing ground truth comes first, because no setting forgives it.
        """
        every = [(role, column) for role, of in self.files.items() for column in of.values()]
        return sorted(every, key=lambda each: each[0] != "target")


def read_header(
    where: str,
    cells: Sequence[str],
    roles: Sequence[str],
    classes: Sequence[str],
    group_by: Sequence[str],
) -> Header:
    """The columns of a manifest; `where` says in messages which line it is.

    Raises:
        InputError: there is no column for predictions or truth, or columns contradict each other.
        SettingError: there is no column of `group_by`.
    """
    names = tuple(cell.strip() for cell in cells)
    number, files = _meanings(where, names, roles)
    labels = {label for of_role in files.values() for label in of_role} - {""}
    order = ordered_classes(labels, classes)
    for role, name in (("pred", "pred"), ("target", "gt")):
        if not files[role]:
            raise mismatch(
                f"{where} has no column {name!r}{did_you_mean(name, names)}:"
                f" expected a header such as id,pred,gt and found {', '.join(names)}"
            )
        if "" in files[role] and len(files[role]) > 1:
            raise mismatch(f"{where} has {name} both with and without class")
        if "" not in files[role]:
            for label in order:
                if label not in files[role]:
                    raise mismatch(f"{where} has no column {name}[{label}]")
            files[role] = {label: files[role][label] for label in order}
    if number is None and "" not in files["pred"]:
        raise mismatch(f"{where} has a prediction a class and so needs a column 'id'")
    for column in group_by:
        if names.count(column) != 1:
            columns = "two such columns" if column in names else "no such column"
            raise SettingError(
                f"--group-by {column}: {where} has {columns}{did_you_mean(column, names)};"
                f" it has {', '.join(names)}"
            )
    used = {number, *map(names.index, group_by)}
    used |= {column for of_role in files.values() for column in of_role.values()}
    slips = {
        column: close[0]
        for column, name in enumerate(names)
        if column not in used
        if (close := get_close_matches(name.lower(), [*SIDES, *roles], n=1, cutoff=CLOSE))
    }
    files = {role: of_role for role, of_role in files.items() if of_role}
    return Header(names, number, files, order, tuple(map(names.index, group_by)), slips)


def _meanings(
    where: str, names: Sequence[str], roles: Sequence[str]
) -> tuple[int | None, dict[str, dict[str, int]]]:
    """The column of the ids, and role -> class -> column."""
    by_name = {"id": "id", **SIDES, **{role: role for role in roles}}
    files: dict[str, dict[str, int]] = {role: {} for role in by_name.values()}
    for column, name in enumerate(names):
        of_class = OF_CLASS.fullmatch(name)
        role = by_name.get((of_class[1] if of_class else name).lower())
        if role is None:
            continue
        label = normalize("NFC", of_class[2].strip()) if of_class else ""
        if files[role].setdefault(label, column) != column:
            raise mismatch(f"{where} has two columns that mean {name!r}")
    return files.pop("id").get(""), files
