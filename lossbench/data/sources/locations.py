"""Locations of files: a folder, an archive or a URL; messages name them as the user does."""

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
from lossbench.errors import InputError, file_beside, os_reason

# Matches every path that leads into an archive or is a URL.
PERHAPS_AWAY = re.compile(f"{NAMED.pattern}|{re.escape(remote.MARK)}|{remote.CHAIN}", NAMED.flags)
Away = Member | Remote | Fetched  # a file that `open` cannot open
Source = Any  # a local path as text, an `Away`, a `United`, an `Empty`, or an array in memory


@dataclass(frozen=True, slots=True)
class United:
    """Several files of one class."""

    files: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Empty:
    """A class without a file; it has the size of another file."""

    like: Source


@dataclass
class LocationIndex:
    """The archives of a run, each opened and listed once."""

    archives: dict[str, Archive] = field(default_factory=dict)  # by name
    confined: bool = False  # some files can be read by this process alone
    members: dict[str, dict[str, Member]] = field(default_factory=dict)  # by archive and path

    def listed(self, path: str, role: str, left_out: Counter[str]) -> Iterator[tuple[Source, str]]:
        """Every file at a location, with its path inside, except those in hidden folders.

        The location of a single file lists that file under its own name.

        Raises:
            InputError: the location does not exist.
        """
        if location := self._archive(path):
            opened, inside = location
            return _within(members(opened, left_out), inside)
        if remote.is_url(path):
            self.confined |= remote.HERE in path
            return remote.listed(path)
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            message = f"{path} does not exist ({role}){file_beside(path)}"
            message += "; expected a folder, a file or an archive"
            raise InputError(message, kind="missing", role=role) from None
        except OSError as error:
            raise InputError(f"{path} cannot be read ({role}): {os_reason(error)}") from None
        return _walk(path, left_out)

    def file(self, path: str) -> str | Away:
        """A file by its path; reading it fails if it does not exist."""
        if not PERHAPS_AWAY.search(path):
            return path
        if location := self._archive(path):
            opened, inside = location
            if opened.name not in self.members:
                by_path = {member.path: member for member in members(opened, Counter())}
                self.members[opened.name] = by_path
            return self.members[opened.name].get(inside) or Fetched(remote.shown(path), lost())
        if not remote.is_url(path):
            return path
        self.confined |= remote.HERE in path
        return Remote(path)

    def _archive(self, path: str) -> tuple[Archive, str] | None:
        """The archive that a path names or leads into, and the path inside."""
        if remote.CHAIN in path:
            return None
        is_url = remote.is_url(path)
        for name, inside in split_archive(path):
            if name not in self.archives and is_url:
                shown = remote.shown(name)
                with remote.with_context(f"{shown} "), remote.open_url(name) as stream:
                    self.archives[name] = archive(shown, stream)
            elif name not in self.archives and os.path.isfile(name):
                self.archives[name] = archive(name)
            if name in self.archives:
                return self.archives[name], inside
        return None


def lost() -> InputError:
    """The error for a file that does not exist."""
    return InputError("does not exist", kind="missing")


def is_lost(source: Source) -> bool:
    """Whether a file is known not to exist."""
    if isinstance(source, United):
        return any(map(is_lost, source.files))
    if isinstance(source, Empty):
        return is_lost(source.like)
    if isinstance(source, Fetched):
        return isinstance(source.content, InputError) and source.content.kind == "missing"
    return isinstance(source, str) and not os.path.exists(source)


def label(source: Source) -> str | None:
    """A source as a message names it; arrays in memory have no name."""
    if isinstance(source, United):
        return label(source.files[0])
    if isinstance(source, Empty):
        return label(source.like)
    if isinstance(source, Away):
        return source.name
    return remote.shown(os.fspath(source)) if isinstance(source, str | Path) else None


def ending(source: str | Away) -> str:
    """The ending of a file's name, in lower case."""
    name = source if isinstance(source, str) else source.name
    return split_ending(remote.written_path(name) if remote.is_url(name) else name)[1].lower()


def content(source: str | Away) -> bytes:
    """The bytes of a file."""
    if isinstance(source, Away):
        return source.read()
    with open(source, "rb") as file:
        return file.read()


def _within(all_members: Iterator[Member], inside: str) -> Iterator[tuple[Member, str]]:
    """The members at a path in an archive, each with its path from there."""
    for member in all_members:
        if member.path == inside:
            yield member, os.path.basename(inside)
        elif not inside or member.path.startswith(f"{inside}/"):
            yield member, member.path[len(inside) :].removeprefix("/")


def _walk(folder: str, left_out: Counter[str]) -> Iterator[tuple[str, str]]:
    """Every file below a folder, in order, with its path inside, except those in hidden folders.

    Pipes and devices are left out: to read one may take for ever.

    Raises:
        InputError: a folder cannot be read, or a link leads nowhere.
    """
    if os.path.isfile(folder):
        yield folder, os.path.basename(folder)
        return
    folders = [(os.path.join(folder, ""), "")]
    while folders:
        here, within = folders.pop()
        below = []
        for entry in _entries(here):
            kind = _kind(entry)
            if kind == "folder":
                if not (entry.name.startswith(".") or _loops(here, entry.name)):
                    below.append((os.path.join(entry.path, ""), f"{within}{entry.name}/"))
            elif kind == "file" or entry.name.startswith("."):
                yield here + entry.name, within + entry.name
            else:
                left_out[kind] += 1
        folders += reversed(below)


def _kind(entry: os.DirEntry[str]) -> str:
    """What an entry of a folder is; links are followed."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        entry.stat()
    except OSError as error:
        if entry.name.startswith("."):
            return "file"  # a hidden one, which is left out
        lost = isinstance(error, FileNotFoundError)
        reason = "it leads nowhere" if lost else f"{error.strerror}"
        raise InputError(
            f"the link {entry.path} cannot be followed: {reason}; bring back what it names, or"
            " remove the link"
        ) from None
    return "pipe or device"


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What a folder holds, in the order of names."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except NotADirectoryError:
        raise InputError(f"{folder[:-1]} is a pipe or device; copy it into a file") from None
    except OSError as error:
        raise InputError(
            f"the folder {folder} cannot be read: {error.strerror}; allow it with chmod u+rx, or"
            " move the folder away"
        ) from None


def _loops(folder: str, name: str) -> bool:
    """Whether a link leads back to a folder above it."""
    path = os.path.join(folder, name)
    inside, back = os.path.realpath(folder), os.path.realpath(path)
    return os.path.islink(path) and os.path.commonpath([inside, back]) == back
