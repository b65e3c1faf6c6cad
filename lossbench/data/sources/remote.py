"""Files at a URL, through fsspec: http, s3, gs, memory and whatever else it knows."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import IO, Any
from urllib.parse import unquote

from lossbench.data.sources.suffixes import ENDINGS, split_ending
from lossbench.errors import InputError

MARK, CHAIN = "://", "::"
HERE = "memory://"  # lives in one process alone
PATIENCE = 30  # seconds without a byte from a web server
POLITE = 4  # files asked of a web server at a time: small ones drop what queues up, for seconds
MANY = 32  # files asked of any other
NOT_FOUND = 404
LOGIN = re.compile(r"(?<=://)[^/@]*@")
SECRET = re.compile(r"([?&][^=&]*(?:sig|token|key|credential|secret|password)[^=&]*=)[^&]*", re.I)
ONE_BY_ONE = Lock()  # chained file systems share one handle
# What file systems call the time or the hash of a version.
VERSIONS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "updated",
            "created")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Remote:
    """A file at a URL."""

    url: str

    @property
    def name(self) -> str:
        """What messages call it."""
        return shown(self.url)

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            InputError: it is not there, or does not come.
        """
        with with_context(""), ONE_BY_ONE if CHAIN in self.name else nullcontext():
            system, path = _system(self.url)
            return bytes(system.cat_file(path))

    def stamp(self) -> str:
        """Its size and its version; never the same again where a server tells neither."""
        try:
            system, path = _system(self.url)
            found = system.info(path)
        except FileNotFoundError:
            return "absent"
        except Exception:  # every protocol has errors of its own, that say nothing of the file
            return f"unknown {os.urandom(8).hex()}"
        version = next((str(found[key]) for key in VERSIONS if found.get(key)), os.urandom(8).hex())
        return f"{found.get('size')} {version}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file from a URL: its bytes, or why there are none."""

    name: str
    held: bytes | InputError

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            InputError: it is not there, or did not come.
        """
        if isinstance(self.held, InputError):
            raise self.held
        return self.held


def fetch(files: Sequence[Remote]) -> list[Fetched]:
    """Files that are asked for together: an object store answers many as soon as one."""

    def one(file: Remote) -> Fetched:
        try:
            return Fetched(file.name, file.read())
        except InputError as error:
            return Fetched(file.name, error)

    web = any(_protocol(file.url).startswith("http") for file in files)
    with ThreadPoolExecutor(min(max(len(files), 1), POLITE if web else MANY)) as pool:
        return list(pool.map(one, files))


def is_url(given: str) -> bool:
    return MARK in given


def shown(given: str) -> str:
    """A place as messages and results name it: passwords and signatures in a URL are left out."""
    return SECRET.sub(r"\1…", LOGIN.sub("", given)) if is_url(given) else given


def open_url(url: str) -> IO[bytes]:
    """The bytes at a URL, front to back."""
    system, path = _system(url)
    stream: IO[bytes] = system.open(path, "rb")
    return stream


def listed(url: str) -> Iterator[tuple[Remote, str]]:
    """Every file below a URL but those in hidden folders, with its path inside; or the file there.

    What ends as a file does is taken for one; web servers cannot tell it from a folder.
    """
    written = written_path(url)
    if split_ending(written)[1].lower() in ENDINGS:
        yield Remote(url), posixpath.basename(written)
        return
    with with_context(f"{shown(url)} "):
        system, root = _system(url)
        web = _protocol(url).startswith("http")
        folders = [root]
        while folders:
            for each in sorted(system.ls(folders.pop(), detail=True), key=lambda e: str(e["name"])):
                place = str(each["name"]).rstrip("/")
                inside = _inside(place, root)
                if not inside or (web and "?" in inside):  # a link upwards, or to sort the page
                    continue
                if each["type"] != "directory":
                    yield Remote(below(url, inside)), unquote(inside) if web else inside
                elif not posixpath.basename(inside).startswith("."):
                    folders.append(each["name"])


@contextmanager
def with_context(before: str) -> Iterator[None]:
    """What goes wrong on the way to a URL as one sentence that begins with `before`."""
    try:
        yield
    except InputError:
        raise
    except Exception as caught:  # every protocol has errors of its own
        error: BaseException = caught
        if type(caught.__cause__).__module__.startswith("aiohttp"):
            error = caught.__cause__ or caught  # a server that refuses is no file that is missing
        if isinstance(error, FileNotFoundError) or getattr(error, "status", 0) == NOT_FOUND:
            raise InputError(f"{before}does not exist", kind="missing") from None
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, TimeoutError):
            reason = "no answer in time"
        raise InputError(f"{before}cannot be read: {reason}") from None


def _system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise InputError(
            f"{shown(url)} is a URL, which fsspec reads, and that is not installed:"
            " pip install 'lossbench[remote]'"
        ) from None
    try:
        if CHAIN in url:
            links, place = _links(url)
            path, links[place] = links[place], _protocol(links[place]) + MARK
            system = _chained(CHAIN.join(links), os.getpid())
            return system, system._strip_protocol(path)
        found: tuple[Any, str] = url_to_fs(url, **_options(url))
    except ImportError as error:
        raise InputError(f"{shown(url)} needs a package that is not installed: {error}") from None
    return found


@lru_cache(8)
def _chained(url: str, process: int) -> Any:
    """The file system of a chain such as zip://::s3://bucket/shard.zip; a copy would share it."""
    from fsspec.core import url_to_fs

    return url_to_fs(url)[0]


def _options(url: str) -> dict[str, Any]:
    """What a file system is told: a web server's silence has an end."""
    if not _protocol(url).startswith("http"):
        return {}
    from aiohttp import ClientTimeout

    timeout = ClientTimeout(total=None, sock_connect=PATIENCE, sock_read=PATIENCE)
    return {"client_kwargs": {"timeout": timeout}}


def _protocol(url: str) -> str:
    return url.partition(MARK)[0]


def written_path(url: str) -> str:
    """The part of a URL that ends as its file does, without what asks a web server for more."""
    links, place = _links(url)
    return links[place].partition("?")[0] if _protocol(url).startswith("http") else links[place]


def _links(url: str) -> tuple[list[str], int]:
    """The links of a chain, and which of them has the path: the first that can."""
    links = url.split(CHAIN)
    return links, next(place for place, link in enumerate(links) if MARK in link)


def below(url: str, path: str) -> str:
    """The URL of a path below another; in a chain the first link with a path has it."""
    links, place = _links(url)
    base = links[place] if links[place].endswith("/") else f"{links[place]}/"
    links[place] = base + path
    return CHAIN.join(links)


def _inside(place: str, root: str) -> str:
    """A path relative to a root; "" where it is not below."""
    root = f"{root.rstrip('/')}/" if root else ""
    return place.removeprefix(root).lstrip("/") if place.startswith(root) else ""
