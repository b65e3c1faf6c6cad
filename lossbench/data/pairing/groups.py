"""The groups of samples: by a pattern over the ids, or by columns of a manifest."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from unicodedata import normalize

from lossbench.data.pairing.patterns import compiled, stray_braces
from lossbench.errors import SettingError, mismatch


def manifest_columns(group_by: str | None) -> tuple[str, ...]:
    """The columns that `--group-by` names; none where it is a pattern or absent.

    Raises:
        SettingError: it is neither a pattern with a name nor columns.
    """
    if group_by is None:
        return ()
    if set("{}*") & set(group_by):
        if stray_braces(group_by) or not compiled(group_by).groupindex:
            raise SettingError(
                f"--group-by {group_by!r}: expected names in braces, such as"
                " '{patient}/{slice}'"
            )
        return ()
    columns = tuple(column.strip() for column in group_by.split(","))
    if not all(columns):
        raise SettingError(
            f"--group-by {group_by!r}: expected a pattern such as '{{patient}}/{{slice}}', or"
            " columns of the manifest with commas"
        )
    return columns


def by_pattern(pattern: str, ids: Iterable[str]) -> dict[str, str]:
    """The group of each id: every name of the pattern but the last, which differs by sample.

    A pattern with one name groups by that name.

    Raises:
        InputError: an id does not fit the pattern.
    """
    rule = compiled(normalize("NFC", pattern))
    names = list(rule.groupindex)
    kept = names[:-1] or names
    groups, group_names = dict[str, str](), GroupNames()
    for each in ids:
        match = rule.fullmatch(each)
        if match is None:
            raise mismatch(f"the id {each!r} does not fit --group-by {pattern!r}")
        groups[each] = group_names.of(tuple(map(match.group, kept)))
    return groups


class GroupNames:
    """The names of groups, one string each; no two groups share a name."""

    def __init__(self) -> None:
        self.parts: dict[str, tuple[str, ...]] = {}

    def of(self, parts: tuple[str, ...]) -> str:
        """The name of a group: its parts with slashes between them.

        Raises:
            InputError: another group is written the same way.
        """
        name = sys.intern("/".join(parts))
        other = self.parts.setdefault(name, parts)
        if other != parts:
            raise mismatch(f"two groups are called {name!r}: {other} and {parts}")
        return name
