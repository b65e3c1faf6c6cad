"""What a run costs next to its limit: importing torch and decoding the same files bare.

    python tests/speed.py [--pairs 2000] [--small 20000] [--repeat 3] [--folder FOLDER]

Prints, for large and for small images, the time of `lossbench eval` with twelve usual losses and
with every one that does not look at positions, the limit measured in the same run with as many
threads, and their ratios; what twenty losses cost next to one; the peak memory for many and for few
pairs; and the start of `lossbench --help` next to `import click`. Medians of the repeats.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import lossbench

DISTINCT = 100
USUAL = ("l1", "l2", "bce", "cross_entropy", "dice", "jaccard", "tversky", "dice_score", "iou",
         "precision", "recall", "accuracy")  # fmt: skip
IN_PLACE = ("adversarial", "boundary", "deep", "structure")  # families that look at positions
DECODE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from PIL import Image

def decode(path):
    with Image.open(path) as image:
        image.load()

files = sorted(Path(sys.argv[1]).rglob("*.png"))
with ThreadPoolExecutor(int(sys.argv[2])) as pool:
    list(pool.map(decode, files))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=2000, help="pairs of 512×512")
    parser.add_argument("--small", type=int, default=20000, help="pairs of 64×64")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the pairs are kept; else made anew")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="lossbench-speed-"))
    try:
        measure(folder, given.pairs, given.small, given.repeat)
    finally:
        if not given.folder:
            shutil.rmtree(folder)


def measure(folder: Path, pairs: int, small: int, repeat: int) -> None:
    """Make the pairs that are not there yet, and print the figures."""
    threads = len(os.sched_getaffinity(0))
    names = [
        entry.name
        for entry in lossbench.list_losses()
        if "binary" in entry.tasks
        and entry.family not in IN_PLACE
        and "Logits" not in entry.inputs.values()
    ]
    print(f"{threads} threads; every loss: {', '.join(names)}")
    for count, size, losses in (
        (pairs, 512, USUAL), (pairs, 512, names), (small, 64, USUAL), (small, 64, names)
    ):  # fmt: skip
        made = make_pairs(folder / f"{count}x{size}", count, size)
        rows = [
            (seconds("-c", "import torch"), seconds("-c", DECODE, str(made), str(threads)),
             seconds(*evaluation(made, losses)))
            for _ in range(repeat + 1)
        ][1:]  # the first one warms the cache  # fmt: skip
        torch, decode, run = (statistics.median(column) for column in zip(*rows, strict=True))
        ratio = statistics.median(run / (torch + decode) for torch, decode, run in rows)
        print(
            f"{count:,} pairs of {size}×{size}, {len(losses)} losses: import torch {torch:.2f} s"
            f" + decode {decode:.2f} s = limit {torch + decode:.2f} s; run {run:.2f} s;"
            f" ratio {ratio:.2f}"
        )
    made, twenty = folder / f"{pairs}x512", names[:: len(names) // 20][:20]
    rows = [
        (seconds(*evaluation(made, ["dice"])), seconds(*evaluation(made, twenty)))
        for _ in range(repeat)
    ]
    one, several = (statistics.median(column) for column in zip(*rows, strict=True))
    ratio = statistics.median(several / one for one, several in rows)
    print(f"one loss {one:.2f} s, {len(twenty)} losses {several:.2f} s: ratio {ratio:.2f}")
    few = make_pairs(folder / "1000x64", 1000, 64)
    peaks = [peak(*evaluation(made, USUAL)) for made in (few, folder / f"{small}x64")]
    print(
        f"peak memory: {peaks[0]:.0f} MB for 1,000 pairs, {peaks[1]:.0f} MB for {small:,}:"
        f" {peaks[1] - peaks[0]:+.0f} MB"
    )
    starts = [
        (seconds("-c", "import click"), seconds("-m", "lossbench_cli", "--help"))
        for _ in range(5 * repeat)
    ]
    click, help_ = (statistics.median(column) for column in zip(*starts, strict=True))
    print(f"--help {help_:.3f} s, import click {click:.3f} s: ratio {help_ / click:.2f}")


def evaluation(folder: Path, names: Sequence[str]) -> list[str]:
    """The command that is measured."""
    losses = [word for name in names for word in ("--loss", name)]
    return ["-m", "lossbench_cli", "eval", f"{folder}/pred", f"{folder}/gt", *losses]


def seconds(*command: str) -> float:
    """Wall time of a Python command as a whole process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return time.perf_counter() - start


def peak(*command: str) -> float:
    """Largest resident memory of a command's own process in MB."""
    child = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, _, usage = os.wait4(child.pid, 0)
    return usage.ru_maxrss / 1024


def make_pairs(folder: Path, count: int, size: int) -> Path:
    """8-bit probability maps and 0/255 masks of soft discs; some distinct, the others copies."""
    if folder.exists():
        return folder
    draft = folder.with_name(f"{folder.name}.part")
    for role in ("pred", "gt"):
        (draft / role).mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[:size, :size] / size
    for number in range(count):
        names = [draft / role / f"{number:06d}.png" for role in ("pred", "gt")]
        if number >= DISTINCT:
            for name in names:
                shutil.copy(name.with_name(f"{number % DISTINCT:06d}.png"), name)
            continue
        random = np.random.default_rng(number)
        distance = np.full((size, size), np.inf)
        for _ in range(4):
            y, x, radius = random.uniform((0, 0, 0.05), (1, 1, 0.25))
            distance = np.minimum(distance, np.hypot(rows - y, columns - x) - radius)
        soft = 255 / (1 + np.exp(np.clip(60 * (distance - 0.01), -50, 50)))
        noisy = soft + random.normal(0, 6, soft.shape) * ((soft > 2) & (soft < 253))
        pictures = noisy.clip(0, 255).astype(np.uint8), (distance < 0).astype(np.uint8) * 255
        for name, picture in zip(names, pictures, strict=True):
            Image.fromarray(picture).save(name)
    draft.rename(folder)
    return folder


if __name__ == "__main__":
    main()
