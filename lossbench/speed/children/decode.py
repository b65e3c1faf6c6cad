"""Bare decoding, the limit of every run: decode.py torch|bare|cold THREADS[,THREADS] PATH...

Reads the files, or every file below the folders, with a pool of threads, and does nothing with
them: pictures with Pillow, arrays with numpy, gzip with the package that lossbench would use, JSON
with the standard library. With `torch` it imports torch before, with `bare` what the first file
needs.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


def decode(path: Path) -> None:
    """One file into memory."""
    if path.suffix in (".npy", ".npz"):
        import numpy as np

        stored = np.load(path)
        if path.suffix == ".npz":
            stored["arr_0"]
    elif path.suffix == ".gz":
        unpacker().decompress(path.read_bytes())
    elif path.suffix == ".json":
        json.loads(path.read_bytes())
    else:
        from PIL import Image

        with Image.open(path) as image:
            image.load()


@cache
def unpacker() -> Any:
    """The fastest package that is installed."""
    for name in ("isal.igzip", "zlib_ng.gzip_ng"):
        with suppress(ImportError):
            return import_module(name)
    return import_module("gzip")


def main() -> None:
    """Print {"import": seconds, "decode": [[seconds of each number of threads] of each path]}."""
    first, counts, *paths = sys.argv[1:]
    start = time.perf_counter()
    if first == "torch":
        import torch  # noqa: F401
    imported = time.perf_counter() - start
    taken: list[list[float]] = []
    for path in map(Path, paths):
        files = sorted(file for file in path.rglob("*") if file.is_file()) or [path]
        if first == "bare":
            decode(files[0])
        taken.append([])
        for threads in map(int, counts.split(",")):
            start = time.perf_counter()
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(decode, files))
            taken[-1].append(time.perf_counter() - start)
    print(json.dumps({"import": imported, "decode": taken}))


if __name__ == "__main__":
    main()
