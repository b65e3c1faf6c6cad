"""Files inside zip and tar archives, read in place; no name in an archive is ever used as a path.

A tar is indexed in one pass over its headers, a zip from its directory; after that any thread or
process can read each member on its own. A compressed tar has no positions to seek: it is unpacked
once, front to back, into a temporary file without a name, which vanishes with the run.
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
from lossbench.runtime.limits import greatest_size, swollen

COMPRESSED = {".tar.gz": "gzip", ".tgz": "gzip", ".tar.bz2": "bz2", ".tar.xz": "lzma"}
ENDINGS = (".zip", ".tar", *COMPRESSED)
NAMED = re.compile(f"(?:{'|'.join(map(re.escape, ENDINGS))})(?=/|$)", re.IGNORECASE)
MOST_BYTES = 1 << 32  # of one file; more is a bomb or damage
ENCRYPTED = 1  # of a zip member's flags
LOCAL = struct.Struct("<4s22xHH")  # the header of a zip member, up to its name
STORED, DEFLATED = 0, 8
BLOCK = 512  # of a tar
TAIL = 1 << 20  # bytes after the end of a tar that have to be zeros


@dataclass(frozen=True)
class Archive:
    """An archive on this machine."""

    name: str  # in messages
    path: str  # of the local file, which may be a temporary one
    kind: str  # .zip or .tar
    spool: Any = field(default=None, compare=False)  # keeps the temporary file from being deleted

    def __reduce__(self) -> Any:
        return Archive, (self.name, self.path, self.kind)  # another process keeps no file


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive: where its bytes are, and how they are packed."""

    archive: Archive
    path: str  # inside the archive
    start: int  # position of the header in a zip, of the content in a tar
    size: int  # in bytes
    packed: int = 0  # bytes in a zip
    method: int | None = None  # of packing in a zip; None in a tar
    checksum: int = 0  # in a zip

    @property
    def name(self) -> str:
        """The name in messages, such as shard.tar/a/0001.png."""
        return f"{self.archive.name}/{self.path}"

    def read(self) -> bytes:
        """Read the content.

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
            content = _exactly(file, self.packed)
        if self.method == DEFLATED:
            try:
                content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, self.size + 1)
            except zlib.error as error:
                raise InputError(f"cannot be unpacked, the archive is damaged: {error}") from None
        if len(content) != self.size or zlib.crc32(content) != self.checksum:
            raise InputError("is not what was packed; the archive is damaged")
        return content


def split_archive(path: str) -> Iterator[tuple[str, str]]:
    """Each part of a path that may name an archive, with the path inside that archive."""
    for name in NAMED.finditer(path):
        inside = path[name.end() + 1 :]
        yield path[: name.end()], posixpath.normpath(inside) if inside.strip("/") else ""


def archive(name: str, stream: IO[bytes] | None = None) -> Archive:
    """Prepare an archive for reading: a local file, or the stream of an archive elsewhere.

    Raises:
        InputError: it cannot be unpacked.
    """
    ending = next(each for each in ENDINGS if name.lower().endswith(each))
    kind = ".zip" if ending == ".zip" else ".tar"
    if stream is None and ending not in COMPRESSED:
        return Archive(name, name, kind)
    with _one_sentence(name, "cannot be unpacked"):
        if ending in COMPRESSED:
            with import_module(COMPRESSED[ending]).open(stream or name, "rb") as opened:
                return _spooled(name, opened, kind)
        return _spooled(name, stream, kind)


def members(archive: Archive, left_out: Counter[str]) -> Iterator[Member]:
    """Every file in an archive, except those in hidden folders.

    `left_out` counts entries that are no files, or whose names lead out of the archive.

    Raises:
        InputError: it is damaged or encrypted.
    """
    with _one_sentence(archive.name, "is no whole archive"):
        for member in (_zipped if archive.kind == ".zip" else _tarred)(archive, left_out):
            size = max(member.size, member.packed)
            if not 0 <= size <= MOST_BYTES:
                raise InputError(
                    f"{member.name} claims to have {size:,} bytes; the archive is damaged"
                )
            if member.path.startswith(("/", "../")) or member.path == "..":
                left_out["unsafe name"] += 1
            elif not any(part.startswith(".") for part in member.path.split("/")[:-1]):
                yield member


def _spooled(name: str, stream: IO[bytes] | None, kind: str) -> Archive:
    """An archive in a temporary file, which may take half of the free space.

    On Linux the file has no name, so nothing is left however the process ends; other processes
    find it through this process.
    """
    linux = sys.platform == "linux"
    file = (tempfile.TemporaryFile if linux else tempfile.NamedTemporaryFile)(prefix="lossbench-")
    room = shutil.disk_usage(tempfile.gettempdir()).free // 2
    packed = os.path.getsize(name) if os.path.isfile(name) else room  # of a stream nobody knows
    while stream and (block := stream.read(TAIL)):
        room -= len(block)
        if file.tell() > greatest_size(packed):
            raise InputError(f"{name} {swollen(file.tell(), packed)}")
        if room < 0:
            raise InputError(
                f"{name} needs more than half of what is free in {tempfile.gettempdir()} to be"
                " unpacked; unpack it elsewhere, or set TMPDIR"
            )
        file.write(block)
    file.flush()
    path = f"/proc/{os.getpid()}/fd/{file.fileno()}" if linux else str(file.name)
    return Archive(name, path, kind, file)


def _tarred(archive: Archive, left_out: Counter[str]) -> Iterator[Member]:
    """The files of a tar."""
    import tarfile

    tar: Any  # whose list of members has no type
    with tarfile.open(archive.path, "r:") as tar:
        while (each := tar.next()) is not None:
            tar.members.clear()  # otherwise all of them stay in memory
            if each.isdir():
                continue
            if not each.isreg() or each.sparse is not None:
                left_out["link" if each.issym() or each.islnk() else "special file"] += 1
                continue
            yield Member(archive, posixpath.normpath(each.name), each.offset_data, each.size)
        end = tar.offset
    with open(archive.path, "rb") as file:
        file.seek(end)
        tail = file.read(TAIL)
    if len(tail) < BLOCK:
        raise InputError(f"{archive.name} has no end; it is cut short")
    if tail.strip(b"\0"):
        raise InputError(f"{archive.name} is damaged at byte {end:,}, or several archives in one")


def _zipped(archive: Archive, left_out: Counter[str]) -> Iterator[Member]:
    """The files of a zip."""
    import zipfile

    with zipfile.ZipFile(archive.path) as packed:
        for each in packed.infolist():
            if each.is_dir():
                continue
            if stat.S_ISLNK(each.external_attr >> 16):
                left_out["link"] += 1
                continue
            path, sizes = posixpath.normpath(each.filename), (each.file_size, each.compress_size)
            member = Member(archive, path, each.header_offset, *sizes, each.compress_type, each.CRC)
            if each.file_size > greatest_size(each.compress_size):
                raise InputError(f"{member.name} {swollen(each.file_size, each.compress_size)}")
            if each.flag_bits & ENCRYPTED:
                raise InputError(f"{member.name} is encrypted; unpack it with its password")
            if each.compress_type not in (STORED, DEFLATED):
                raise InputError(
                    f"{member.name} is packed by method {each.compress_type}; pack it by deflate"
                )
            yield member


def _exactly(file: IO[bytes], size: int) -> bytes:
    if os.fstat(file.fileno()).st_size - file.tell() < size:
        raise InputError("is cut short; the archive is damaged")
    return file.read(size)


@contextmanager
def _one_sentence(name: str, what: str) -> Iterator[None]:
    """Raise whatever a damaged archive makes a decoder raise as one sentence."""
    try:
        yield
    except (InputError, FileNotFoundError):
        raise
    except Exception as error:  # three formats and four compressions have errors of their own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name} {what}: {reason}") from None
