"""Files inside zip and tar archives, read at their places; no name in an archive is ever a path.

A tar is indexed in one pass over its headers, a zip from its directory; after that each member is
read on its own, by any thread or process. A compressed tar has no places to go to: it is unpacked
once, front to back, into a temporary file without a name, which is gone when the run is.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import stat
import struct
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import IO, Any

from lossbench.errors import InputError

COMPRESSED = {".tar.gz": "gzip", ".tgz": "gzip", ".tar.bz2": "bz2", ".tar.xz": "lzma"}
ENDINGS = (".zip", ".tar", *COMPRESSED)
NAMED = re.compile(f"(?:{'|'.join(map(re.escape, ENDINGS))})(?=/|$)", re.IGNORECASE)
MOST_BYTES = 1 << 32  # of one file; more is a bomb or damage
ENCRYPTED = 1  # of a zip member's flags
LOCAL = struct.Struct("<4s22xHH")  # what stands before a zip member, up to its name
STORED, DEFLATED = 0, 8
BLOCK = 512  # of a tar
TAIL = 1 << 20  # after the end of a tar, where nothing but zeros is looked for


@dataclass(frozen=True)
class Archive:
    """An archive on this machine.

    Attributes:
        name: what messages call it.
        path: the local file, which may be a temporary one.
        kind: its ending, without that of a compression.
        held: what keeps a temporary file, which is gone with the last member of it.
    """

    name: str
    path: str
    kind: str
    held: Any = field(default=None, compare=False)

    def __reduce__(self) -> Any:
        return Archive, (self.name, self.path, self.kind)  # another process keeps nothing


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive, with all that reading it takes.

    Attributes:
        archive: what holds it.
        path: its path inside.
        start: the byte of its header in a zip, of its content in a tar.
        size: how many bytes it has.
        packed: how many it has in a zip.
        method: how a zip packs it; None in a tar.
        checksum: of its bytes, in a zip.
    """

    archive: Archive
    path: str
    start: int
    size: int
    packed: int = 0
    method: int | None = None
    checksum: int = 0

    @property
    def name(self) -> str:
        """What messages call it, such as shard.tar/a/0001.png."""
        return f"{self.archive.name}/{self.path}"

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            InputError: the archive is damaged there.
        """
        with open(self.archive.path, "rb") as file:
            file.seek(self.start)
            if self.method is None:
                return _exactly(file, self.size)
            mark, name, extra = LOCAL.unpack(_exactly(file, LOCAL.size))
            if mark != b"PK\3\4":
                raise InputError("is not where the archive says; the archive is damaged")
            file.seek(name + extra, os.SEEK_CUR)
            held = _exactly(file, self.packed)
        if self.method == DEFLATED:
            try:
                held = zlib.decompressobj(-zlib.MAX_WBITS).decompress(held, self.size + 1)
            except zlib.error as error:
                raise InputError(f"cannot be unpacked, the archive is damaged: {error}") from None
        if len(held) != self.size or zlib.crc32(held) != self.checksum:
            raise InputError("is not what was packed; the archive is damaged")
        return held


def split_archive(path: str) -> Iterator[tuple[str, str]]:
    """What may be an archive that a path names or leads into, each with the way inside."""
    for found in NAMED.finditer(path):
        inside = path[found.end() + 1 :]
        yield path[: found.end()], posixpath.normpath(inside) if inside.strip("/") else ""


def archive(name: str, stream: IO[bytes] | None = None) -> Archive:
    """Get an archive ready to be read at any place.

    Args:
        name: a local path, or with `stream` anything.
        stream: the bytes of one that is not on this machine.

    Raises:
        InputError: it cannot be unpacked.
    """
    ending = next(each for each in ENDINGS if name.lower().endswith(each))
    kind = ".zip" if ending == ".zip" else ".tar"
    if stream is None and ending not in COMPRESSED:
        return Archive(name, name, kind)
    with _told(name, "cannot be unpacked"):
        if ending in COMPRESSED:
            with import_module(COMPRESSED[ending]).open(stream or name, "rb") as opened:
                return Archive(name, *_spooled(name, opened, kind))
        return Archive(name, *_spooled(name, stream, kind))


def members(held: Archive, left_out: Counter[str]) -> Iterator[Member]:
    """Every file in an archive but those in hidden folders.

    Args:
        held: the archive.
        left_out: takes what is no file, or has a name that leads out of the archive.

    Raises:
        InputError: it is damaged or encrypted.
    """
    with _told(held.name, "is no whole archive"):
        for member in (_zipped if held.kind == ".zip" else _tarred)(held, left_out):
            if member.path.startswith(("/", "../")) or member.path == "..":
                left_out["unsafe name"] += 1
            elif not any(part.startswith(".") for part in member.path.split("/")[:-1]):
                yield member


def _spooled(name: str, stream: IO[bytes] | None, kind: str) -> tuple[str, str, Any]:
    """A stream in a temporary file: its path, its kind, and what keeps it.

    The file may take half of what is free. On Linux it has no name, so nothing is left however the
    process ends, and others find it through this one.
    """
    linux = sys.platform == "linux"
    file = (tempfile.TemporaryFile if linux else tempfile.NamedTemporaryFile)(prefix="lossbench-")
    room = shutil.disk_usage(tempfile.gettempdir()).free // 2
    while stream and (block := stream.read(TAIL)):
        room -= len(block)
        if room < 0:
            raise InputError(
                f"{name} needs more than half of what is free in {tempfile.gettempdir()} to be"
                " unpacked; unpack it elsewhere, or set TMPDIR"
            )
        file.write(block)
    file.flush()
    return f"/proc/{os.getpid()}/fd/{file.fileno()}" if linux else str(file.name), kind, file


def _tarred(held: Archive, left_out: Counter[str]) -> Iterator[Member]:
    import tarfile

    tar: Any  # whose list of members has no type
    with tarfile.open(held.path, "r:") as tar:
        while (each := tar.next()) is not None:
            tar.members.clear()  # which it would keep to the end
            if each.isdir():
                continue
            if not each.isreg() or each.sparse is not None:
                left_out["link" if each.issym() or each.islnk() else "special file"] += 1
                continue
            path = posixpath.normpath(each.name)
            yield _sane(Member(held, path, each.offset_data, each.size))
        end = tar.offset
    with open(held.path, "rb") as file:
        file.seek(end)
        tail = file.read(TAIL)
    if len(tail) < BLOCK:
        raise InputError(f"{held.name} has no end; it is cut short")
    if tail.strip(b"\0"):
        raise InputError(f"{held.name} is damaged at byte {end:,}, or several archives in one")


def _zipped(held: Archive, left_out: Counter[str]) -> Iterator[Member]:
    import zipfile

    with zipfile.ZipFile(held.path) as packed:
        for each in packed.infolist():
            if each.is_dir():
                continue
            if stat.S_ISLNK(each.external_attr >> 16):
                left_out["link"] += 1
                continue
            member = Member(
                held,
                posixpath.normpath(each.filename),
                each.header_offset,
                each.file_size,
                each.compress_size,
                each.compress_type,
                each.CRC,
            )
            if each.flag_bits & ENCRYPTED:
                raise InputError(f"{member.name} is encrypted; unpack it with its password")
            if each.compress_type not in (STORED, DEFLATED):
                raise InputError(
                    f"{member.name} is packed by method {each.compress_type}; pack it by deflate"
                )
            yield _sane(member)


def _sane(member: Member) -> Member:
    size = max(member.size, member.packed)
    if not 0 <= size <= MOST_BYTES:
        raise InputError(f"{member.name} claims to have {size:,} bytes; the archive is damaged")
    return member


def _exactly(file: IO[bytes], size: int) -> bytes:
    if os.fstat(file.fileno()).st_size - file.tell() < size:
        raise InputError("is cut short; the archive is damaged")
    return file.read(size)


@contextmanager
def _told(name: str, what: str) -> Iterator[None]:
    """What a damaged archive raises as one sentence."""
    try:
        yield
    except (InputError, FileNotFoundError):
        raise
    except Exception as error:  # three formats and four compressions have errors of their own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name} {what}: {reason}") from None
