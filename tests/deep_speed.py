"""Time perceptual loss against the bare forward pass of its network: python tests/deep_speed.py

200 pairs of 256×256 and a seeded VGG16 in the standard layout, in one process after another: the
bare network in plain torch on images that are in memory already, one image at a time and in batches
of eight, with as many intra-op threads as cores, the faster one counting; then
`lossbench.evaluate(…, "perceptual")` on the PNG files, decoding included. Its target is 1.15.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
BARE = """
import sys, time
import numpy as np, torch
sys.path.insert(0, {here!r})
from test_deep import built, tensor
from PIL import Image
from pathlib import Path

files = sorted(Path({folder!r}).glob("*/*.png"))
images = torch.cat([tensor(np.asarray(Image.open(file))) for file in files])
mean, deviation = (torch.tensor(x)[:, None, None] for x in ([.485, .456, .406], [.229, .224, .225]))
trunk = built("vgg16")[:{depth}]
best = None
with torch.inference_mode():
    for batch in (1, 8):
        trunk((images[:batch] - mean) / deviation)
        start = time.perf_counter()
        for part in images.split(batch):
            trunk((part - mean) / deviation)
        taken = time.perf_counter() - start
        best = taken if best is None else min(best, taken)
print(best)
"""
OURS = """
import time
start = time.perf_counter()
import lossbench
pred, gt = (f"{folder}/{{side}}" for side in ("pred", "gt"))
result = lossbench.evaluate(pred, gt, {loss!r}, task="image", weights={{"vgg16": {weights!r}}})
assert result.counts["evaluated"] == {pairs}, result.failed
print(time.perf_counter() - start)
"""
# The layer that is asked for, and where it ends in torchvision's `features`.
ENDS = {"relu2_2": 9, "relu4_3": 23}


def timed(code: str) -> float:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--layer", choices=ENDS, default="relu2_2")
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()

    import numpy as np
    from PIL import Image
    from test_deep import built, pictures

    with tempfile.TemporaryDirectory() as folder:
        for number in range(given.pairs):
            for side, picture in zip(("pred", "gt"), pictures(2, (256, 256), number), strict=True):
                (Path(folder) / side).mkdir(exist_ok=True)
                Image.fromarray(picture).save(Path(folder) / side / f"{number:03d}.png")
        weights = f"{folder}/vgg16.npz"
        state = built("vgg16").state_dict()
        np.savez(weights, **{f"features.{key}": value.numpy() for key, value in state.items()})
        loss = f"perceptual(layers=[{given.layer}])"
        print(f"{given.pairs} pairs of 256×256, {loss}, {len(os.sched_getaffinity(0))} cores")
        for _ in range(given.rounds):
            bare = timed(BARE.format(here=str(HERE), folder=folder, depth=ENDS[given.layer]))
            ours = timed(OURS.format(folder=folder, loss=loss, weights=weights, pairs=given.pairs))
            print(f"bare network {bare:.1f} s, lossbench {ours:.1f} s, ratio {ours / bare:.2f}")


if __name__ == "__main__":
    main()
