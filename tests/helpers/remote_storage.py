"""A folder put elsewhere: into archives, into memory, onto a web server, into a bucket."""

from __future__ import annotations

import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from helpers.parity import parity_module

ARCHIVES = ("tar", "tar.gz", "tar.bz2", "tar.xz", "tgz", "zip", "stored.zip")


def inside(folder: Path) -> list[Path]:
    """Every file of a folder by its path in it, in an order of no use."""
    return sorted((each.relative_to(folder) for each in folder.rglob("*") if each.is_file()),
                  key=lambda each: str(each)[::-1])  # fmt: skip


def pack(folder: Path, path: Path, prefix: str = "") -> Path:
    """A folder as an archive, whose ending says of what kind."""
    if path.suffix == ".zip":
        method = zipfile.ZIP_STORED if ".stored" in path.suffixes else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(path, "w", method) as archive:
            for each in inside(folder):
                archive.write(folder / each, prefix + each.as_posix())
        return path
    kind = {".tar": "", ".tgz": "gz"}.get(path.suffix, path.suffix[1:])
    with tarfile.open(path, f"w:{kind}") as tar:
        for each in inside(folder):
            tar.add(folder / each, prefix + each.as_posix())
    return path


def remember(folder: Path) -> str:
    """A folder in this process's memory."""
    url = f"memory://{uuid4().hex}"
    for each in inside(folder):
        with fsspec.open(f"{url}/{each.as_posix()}", "wb") as file:
            file.write((folder / each).read_bytes())
    return url


class Handler(SimpleHTTPRequestHandler):
    """Python's own server; what has `lost`, `locked` or `slow` in its name fails in that way."""

    def send_head(self) -> Any:
        if "locked" in self.path:
            self.send_error(403)
        elif "lost" in self.path:
            self.send_error(404)
        elif "slow" in self.path:
            self.server.woken.wait(20)  # type: ignore[attr-defined]
        else:
            return super().send_head()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A folder on a web server of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    server.woken = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.woken.set()  # type: ignore[attr-defined]
        server.shutdown()
        server.server_close()


@cache
def moto_server() -> str:
    """Moto's S3, which runs until the tests end."""
    server = parity_module("moto.server")
    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    return "http://{}:{}".format(*running.get_host_and_port())


def bucket(patch: pytest.MonkeyPatch) -> str:
    """A new bucket of moto's S3, which s3fs finds by environment variables."""
    parity_module("s3fs")
    patch.setenv("AWS_ENDPOINT_URL", moto_server())
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "testing")
    name = f"lossbench-{uuid4().hex}"
    fsspec.filesystem("s3").mkdir(name)
    return f"s3://{name}"


def upload(folder: Path, url: str) -> str:
    """A folder below a URL."""
    for each in inside(folder):
        with fsspec.open(f"{url}/{each.as_posix()}", "wb") as file:
            file.write((folder / each).read_bytes())
    return url
