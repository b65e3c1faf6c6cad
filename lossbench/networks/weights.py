"""Published weights: identity, locations, download and verification."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lossbench.errors import InputError, SettingError, did_you_mean, printable

TORCH = "https://download.pytorch.org/models/"
HEADS = (
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/"
)
IMAGENET = "BSD-3-Clause; trained on ImageNet, which is for research"
ENDINGS = (".pth", ".pt", ".safetensors", ".npz")
BLOCK = 1 << 20
WeightFiles = Mapping[str, str | os.PathLike[str]]  # by name of the weights
DownloadProgress = Callable[[int, int], None]  # progress: bytes so far, and total bytes


@dataclass(frozen=True)
class Published:
    """A file of weights as published by its authors."""

    name: str  # in `--weights NAME=FILE`
    url: str
    sha256: str
    size: int  # in bytes
    licence: str
    file: str  # its name in a cache

    @property
    def path(self) -> Path | None:
        """The file on this machine; None if no cache has it."""
        return next((path for path in self.cache_paths if path.is_file()), None)

    @property
    def cache_paths(self) -> list[Path]:
        """Paths to search: our cache, then torch's."""
        return [cache_folder() / self.file, torch_folder() / self.file]

    def verify(self, path: Path | None = None) -> Path:
        """The file, verified by its hash; another hash is an InputError of kind mismatch."""
        path = path or self.path
        if path is None:
            raise InputError(f"{self.name} is in no cache; run lossbench weights fetch {self.name}")
        actual = digest(path)
        if actual != self.sha256:
            raise InputError(
                f"{path} is not {self.name} as published: its SHA-256 begins with {actual[:8]},"
                f" expected {self.sha256[:8]}; delete it and run lossbench weights fetch"
                f" {self.name}",
                kind="mismatch",
            )
        return path

    def fetch(self, report: DownloadProgress | None = None) -> Path:
        """The verified file, downloaded into the cache if no cache has it."""
        if self.path is not None:
            return self.verify()
        target = cache_folder() / self.file
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f"{self.file}.", dir=target.parent)
        except OSError as error:
            raise SettingError(
                f"the cache {target.parent} cannot be written: {error.strerror}; set"
                " LOSSBENCH_CACHE to a writable folder, or give the file: --weights"
                f" {self.name}=FILE"
            ) from None
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                self._download(file.write, report)
            self.verify(part)
            part.replace(target)
        except InputError as error:
            if error.kind != "mismatch":
                raise
            raise InputError(
                f"{self.url} is not {self.name} as published: its SHA-256 does not begin with"
                f" {self.sha256[:8]}; nothing was kept",
                kind="mismatch",
            ) from None
        finally:
            with suppress(OSError):
                part.unlink()
        return target

    def _download(self, write: Callable[[bytes], object], report: DownloadProgress | None) -> None:
        from http.client import HTTPException
        from urllib.request import urlopen

        done = 0
        try:
            with urlopen(self.url, timeout=30) as response:
                while block := response.read(BLOCK):
                    write(block)
                    done += len(block)
                    if report:
                        report(done, self.size)
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise InputError(
                f"{self.name} could not be downloaded from {self.url}: {reason};"
                f" {self.ways_to_provide}"
            ) from None

    @property
    def ways_to_provide(self) -> str:
        """Ways to provide the file without a download, for messages."""
        return (
            f"give the file: --weights {self.name}=FILE, or put it at {self.cache_paths[0]}, or run"
            f" lossbench weights fetch {self.name} on a machine with network access"
        )


def _torch(name: str, file: str, size: int, sha256: str) -> Published:
    return Published(name, TORCH + file, sha256, size, IMAGENET, file)


def _head(network: str, size: int, sha256: str) -> Published:
    name = f"lpips_{network}"
    file = f"{name}-{sha256[:8]}.pth"
    return Published(name, f"{HEADS}{network}.pth", sha256, size, "BSD-2-Clause", file)


PUBLISHED = {each.name: each for each in (
    _torch("vgg16", "vgg16-397923af.pth", 553_433_881,
           "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"),
    _torch("vgg19", "vgg19-dcbb9e9d.pth", 574_673_361,
           "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44"),
    _torch("alexnet", "alexnet-owt-7be5be79.pth", 244_408_911,
           "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"),
    _torch("squeezenet", "squeezenet1_1-b8a52dc0.pth", 4_958_839,
           "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b"),
    _head("alex", 6_009, "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"),
    _head("vgg", 7_289, "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"),
    _head("squeeze", 10_811, "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76"),
    Published(
        "dists",
        "https://github.com/photosynthesis-team/piq/releases/download/v0.4.1/dists_weights.pt",
        "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
        12_288, "MIT", "dists_weights-f5e65c96.pt",
    ),
)}  # fmt: skip


def published(name: str) -> Published:
    """The weights with a name; an unknown name is an error with a suggestion."""
    if name not in PUBLISHED:
        known = ", ".join(PUBLISHED)
        raise SettingError(
            printable(
                f"no weights are called {name!r}{did_you_mean(name, PUBLISHED)}; there are {known}"
            )
        )
    return PUBLISHED[name]


def check_files(files: WeightFiles) -> None:
    """Reject `--weights` with an unknown name or an unsupported file format."""
    for name, path in files.items():
        published(name)
        if not os.fspath(path).endswith(ENDINGS):
            raise SettingError(
                printable(f"--weights {name}={path}: a file of weights ends with")
                + f" {', '.join(ENDINGS)}"
            )


def locate(name: str, files: WeightFiles, offline: bool) -> Path:
    """The file of some weights: from `files`, else from a cache, else downloaded.

    A file with the published name must be the published one.
    """
    weights = published(name)
    if name in files:
        path = Path(files[name]).expanduser()
        if not path.is_file():
            raise InputError(f"--weights {name}={path}: there is no such file", kind="missing")
        return weights.verify(path) if path.name == weights.file else path
    if weights.path is None and offline:
        raise InputError(
            f"the weights {name} are needed and --offline forbids a download;"
            f" {weights.ways_to_provide}",
            kind="missing",
        )
    return weights.fetch()


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def cache_folder() -> Path:
    """Cache of weights: in LOSSBENCH_CACHE, or in the platform's folder for caches."""
    configured = os.environ.get("LOSSBENCH_CACHE")
    if configured:
        return Path(configured).expanduser() / "weights"
    home = Path.home()
    folder = {"win32": home / "AppData" / "Local", "darwin": home / "Library" / "Caches"}.get(
        sys.platform, Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    )
    return folder / "lossbench" / "weights"


def torch_folder() -> Path:
    """Cache of torch's downloads."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = os.environ.get("TORCH_HOME") or cache / "torch"
    return Path(home).expanduser() / "hub" / "checkpoints"
