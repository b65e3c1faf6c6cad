"""Where files are: in a folder, in an archive or at a URL; each is named as users know it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lossbench.data.sources import remote
from lossbench.data.sources.archives import NAMED, Archive, Member, archive, members, split_archive
from lossbench.data.sources.remote import Fetched, Remote
from lossbench.data.sources.suffixes import split_ending
from lossbench.errors import InputError

# What every path has that leads into an archive or is a URL.
PERHAPS_AWAY = re.compile(f"{NAMED.pattern}|{re.escape(remote.MARK)}|{remote.CHAIN}", NAMED.flags)
Away = Member | Remote | Fetched  # a file that `open` does not open
Source = Any  # a local path as text, a file that is away, or an array in memory


@dataclass
class LocationIndex:
    """What was found on the way to the files of a run.

    Attributes:
        archives: by the name they were given.
        confined: some files can be read by this process alone.
        indices: the files of archives that single files were asked of.
    """

    archives: dict[str, Archive] = field(default_factory=dict)
    confined: bool = False
    indices: dict[str, dict[str, Member]] = field(default_factory=dict)

    def listed(self, given: str, role: str, left_out: Counter[str]) -> Iterator[tuple[Source, str]]:
        """Every file in a place but those in hidden folders, with its path inside it.

        A place that is one file lists that, under the name that was given.

        Raises:
            InputError: there is no such place.
        """
        if found := self._archive(given):
            held, inside = found
            return _within(members(held, left_out), inside)
        if remote.is_url(given):
            self.confined |= remote.HERE in given
            return remote.listed(given)
        if not os.path.exists(given):
            raise InputError(f"{given} does not exist ({role})", kind="missing", role=role)
        return _walk(given)

    def file(self, given: str) -> str | Away:
        """A file by its path, which need not be there before it is read."""
        if not PERHAPS_AWAY.search(given):
            return given
        if found := self._archive(given):
            held, inside = found
            if held.name not in self.indices:
                found_ones = members(held, Counter())
                self.indices[held.name] = {member.path: member for member in found_ones}
            return self.indices[held.name].get(inside) or Fetched(remote.shown(given), lost())
        if not remote.is_url(given):
            return given
        self.confined |= remote.HERE in given
        return Remote(given)

    def _archive(self, given: str) -> tuple[Archive, str] | None:
        """The archive that a path names or leads into, and the way inside."""
        if remote.CHAIN in given:
            return None
        far = remote.is_url(given)
        for name, inside in split_archive(given):
            if not (far or name in self.archives or os.path.isfile(name)):
                continue
            if name not in self.archives:
                if far:
                    called = remote.shown(name)
                    with remote.with_context(f"{called} "), remote.open_url(name) as stream:
                        self.archives[name] = archive(called, stream)
                else:
                    self.archives[name] = archive(name)
            return self.archives[name], inside
        return None


def lost() -> InputError:
    """What is told of a file that is not there."""
    return InputError("does not exist", kind="missing")


def is_lost(source: Source) -> bool:
    """Whether a file is known not to be there."""
    if isinstance(source, Fetched):
        return isinstance(source.held, InputError) and source.held.kind == "missing"
    return isinstance(source, str) and not os.path.exists(source)


def label(source: Source) -> str | None:
    """A source as a message names it; arrays in memory have no name."""
    if isinstance(source, Away):
        return source.name
    return remote.shown(os.fspath(source)) if isinstance(source, str | Path) else None


def ending(source: str | Away) -> str:
    """What the name of a file ends in, in lower case."""
    name = source if isinstance(source, str) else source.name
    return split_ending(remote.written_path(name) if remote.is_url(name) else name)[1].lower()


def content(source: str | Away) -> bytes:
    """The bytes of a file."""
    if isinstance(source, Away):
        return source.read()
    with open(source, "rb") as file:
        return file.read()


def _within(found: Iterator[Member], inside: str) -> Iterator[tuple[Member, str]]:
    """What of an archive is in one of its folders, or is one file of it, with its path there."""
    for member in found:
        if not inside:
            yield member, member.path
        elif member.path == inside:
            yield member, os.path.basename(inside)
        elif member.path.startswith(f"{inside}/"):
            yield member, member.path[len(inside) + 1 :]


def _walk(folder: str) -> Iterator[tuple[str, str]]:
    """Every file below a folder but hidden folders, in order, with its path inside it."""
    if os.path.isfile(folder):
        yield folder, os.path.basename(folder)
        return
    for here, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(
            name for name in folders if not (name.startswith(".") or _loops(here, name))
        )
        inside = os.path.relpath(here, folder).replace(os.sep, "/")
        within, start = "" if inside == "." else f"{inside}/", os.path.join(here, "")
        for name in sorted(files):
            yield start + name, within + name


def _loops(folder: str, name: str) -> bool:
    """Whether a link leads back to a folder that it is in."""
    path = os.path.join(folder, name)
    if not os.path.islink(path):
        return False
    inside, back = os.path.realpath(folder), os.path.realpath(path)
    return os.path.commonpath([inside, back]) == back
