"""Files at a URL, read with fsspec: http, s3, gs, memory and its other protocols."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import IO, Any
from urllib.parse import unquote

from lossbench.data.sources.suffixes import ENDINGS, split_ending
from lossbench.errors import InputError, without_secrets

MARK, CHAIN = "://", "::"
HERE = "memory://"  # belongs to a single process
PATIENCE = 30  # seconds without a byte from a web server
POLITE = 4  # requests to a web server at a time: small servers drop more of them for seconds
MANY = 32  # requests to any other server
NOT_FOUND = 404
ONE_BY_ONE = Lock()  # chained file systems share one handle
# Names that file systems have for the time or the hash of a version.
VERSIONS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "updated",
            "created")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Remote:
    """A file at a URL."""

    url: str

    @property
    def name(self) -> str:
        """The URL in messages."""
        return shown(self.url)

    def read(self) -> bytes:
        """Fetch the content.

        Raises:
            InputError: the file does not exist, or does not arrive.
        """
        with with_context(""), ONE_BY_ONE if CHAIN in self.name else nullcontext():
            system, path = _system(self.url)
            return bytes(system.cat_file(path))

    def stamp(self) -> str:
        """The size and version of the file; where the server tells neither, always another text."""
        try:
            system, path = _system(self.url)
            info = system.info(path)
        except FileNotFoundError:
            return "absent"
        except Exception:  # every protocol has errors of its own, which say nothing about the file
            return f"unknown {os.urandom(8).hex()}"
        version = next((str(info[key]) for key in VERSIONS if info.get(key)), os.urandom(8).hex())
        return f"{info.get('size')} {version}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file from a URL: its bytes, or why there are none."""

    name: str
    content: bytes | InputError

    def read(self) -> bytes:
        """Return the content, or raise the reason why there is none."""
        if isinstance(self.content, InputError):
            raise self.content
        return self.content


def fetch(files: Sequence[Remote]) -> list[Fetched]:
    """Fetch files side by side: an object store answers many requests as soon as one."""

    def fetch_one(file: Remote) -> Fetched:
        try:
            return Fetched(file.name, file.read())
        except InputError as error:
            return Fetched(file.name, error)

    web = any(_protocol(file.url).startswith("http") for file in files)
    with ThreadPoolExecutor(min(max(len(files), 1), POLITE if web else MANY)) as pool:
        return list(pool.map(fetch_one, files))


def is_url(path: str) -> bool:
    return MARK in path


def shown(path: str) -> str:
    """A location as messages and results name it: without the passwords and signatures of a URL."""
    return without_secrets(path)


def open_url(url: str) -> IO[bytes]:
    """Open the file at a URL, to be read from front to back."""
    system, path = _system(url)
    stream: IO[bytes] = system.open(path, "rb")
    return stream


def listed(url: str) -> Iterator[tuple[Remote, str]]:
    """Every file below a URL, with its path inside, except those in hidden folders.

    Web servers cannot tell a file from a folder, so a URL with the ending of a file is one.
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
                inside = _inside(str(each["name"]).rstrip("/"), root)
                if not inside or (web and "?" in inside):  # a link upwards, or to sort the page
                    continue
                if each["type"] != "directory":
                    yield Remote(below(url, inside)), unquote(inside) if web else inside
                elif not posixpath.basename(inside).startswith("."):
                    folders.append(each["name"])


@contextmanager
def with_context(before: str) -> Iterator[None]:
    """Raise whatever a file system raises as one sentence that begins with `before`."""
    try:
        yield
    except InputError:
        raise
    except Exception as caught:  # every protocol has errors of its own
        error: BaseException = caught
        if type(caught.__cause__).__module__.startswith("aiohttp"):
            error = caught.__cause__ or caught  # a server that refuses is not a missing file
        if isinstance(error, FileNotFoundError) or getattr(error, "status", 0) == NOT_FOUND:
            raise InputError(f"{before}does not exist", kind="missing") from None
        is_late = isinstance(error, TimeoutError)
        reason = "no answer in time" if is_late else " ".join(str(error).split())
        reason = reason or type(error).__name__
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
            links, index = _links(url)
            path, links[index] = links[index], _protocol(links[index]) + MARK
            system = _chained(CHAIN.join(links), os.getpid())
            return system, system._strip_protocol(path)
        system, path = url_to_fs(url, **_options(url))
    except ImportError as error:
        raise InputError(f"{shown(url)} needs a package that is not installed: {error}") from None
    return system, path


@lru_cache(8)
def _chained(url: str, process: int) -> Any:
    """The file system of a chain such as zip://::s3://bucket/shard.zip; one for each process."""
    from fsspec.core import url_to_fs

    return url_to_fs(url)[0]


def _options(url: str) -> dict[str, Any]:
    """The options of a file system: a limit to the silence of a web server."""
    if not _protocol(url).startswith("http"):
        return {}
    from aiohttp import ClientTimeout

    timeout = ClientTimeout(total=None, sock_connect=PATIENCE, sock_read=PATIENCE)
    return {"client_kwargs": {"timeout": timeout}}


def _protocol(url: str) -> str:
    return url.partition(MARK)[0]


def written_path(url: str) -> str:
    """The part of a URL that ends as its file does, without the query of a web address."""
    links, index = _links(url)
    return links[index].partition("?")[0] if _protocol(url).startswith("http") else links[index]


def _links(url: str) -> tuple[list[str], int]:
    """The links of a chain, and the index of the link with the path: the first that has one."""
    links = url.split(CHAIN)
    return links, next(index for index, link in enumerate(links) if MARK in link)


def below(url: str, path: str) -> str:
    """The URL of a path below another URL."""
    links, index = _links(url)
    links[index] = f"{links[index].removesuffix('/')}/{path}"
    return CHAIN.join(links)


def _inside(path: str, root: str) -> str:
    """A path relative to a root; "" if it is not below."""
    root = f"{root.rstrip('/')}/" if root else ""
    return path.removeprefix(root).lstrip("/") if path.startswith(root) else ""
