"""Bare decoding, the limit of every run: decode.py torch|bare THREADS[,THREADS] FOLDER...

Reads every file below the folders with Pillow or numpy and a pool of threads, and does nothing with
them; with `torch` it imports torch before.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def decode(path: Path) -> None:
    """One file into memory."""
    if path.suffix in (".npy", ".npz"):
        import numpy as np

        stored = np.load(path)
        if path.suffix == ".npz":
            stored["arr_0"]
        return
    from PIL import Image

    with Image.open(path) as image:
        image.load()


def main() -> None:
    """Print {"import": seconds, "decode": [[seconds of each number of threads] of each folder]}."""
    first, counts, *folders = sys.argv[1:]
    start = time.perf_counter()
    if first == "torch":
        import torch  # noqa: F401
    imported = time.perf_counter() - start
    taken: list[list[float]] = []
    for folder in folders:
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        if first != "torch":
            decode(files[0])  # imports what the format needs
        taken.append([])
        for threads in map(int, counts.split(",")):
            start = time.perf_counter()
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(decode, files))
            taken[-1].append(time.perf_counter() - start)
    print(json.dumps({"import": imported, "decode": taken}))


if __name__ == "__main__":
    main()
