"""Twenty losses written by hand in torch, next to a run: by_hand.py [PAIRS [SIZE]]

The loop opens both images with Pillow, makes tensors of them and calls one function after another;
once with torch's own number of threads, once with one thread. The faster loop counts.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from lossbench.speed.sections import Setup

Loss = Callable[[Tensor, Tensor], Tensor]


def focal(p: Tensor, y: Tensor) -> Tensor:
    right = torch.where(y > 0, p, 1 - p)
    balance = torch.where(y > 0, 0.25, 0.75)
    each = functional.binary_cross_entropy(p, y, reduction="none")
    return (balance * (1 - right) ** 2 * each).mean()


def tversky(p: Tensor, y: Tensor, alpha: float = 0.5, beta: float = 0.5) -> Tensor:
    both = (p * y).sum()
    return 1 - both / (both + alpha * (p * (1 - y)).sum() + beta * ((1 - p) * y).sum())


def counts(p: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    hard, true = p >= 0.5, y > 0.5
    return (
        (hard & true).sum(), (hard & ~true).sum(), (~hard & true).sum(), (~hard & ~true).sum()
    )  # fmt: skip


def dice_score(p: Tensor, y: Tensor) -> Tensor:
    tp, fp, fn, _ = counts(p, y)
    return 2 * tp / (2 * tp + fp + fn)


def iou(p: Tensor, y: Tensor) -> Tensor:
    tp, fp, fn, _ = counts(p, y)
    return tp / (tp + fp + fn)


def precision(p: Tensor, y: Tensor) -> Tensor:
    tp, fp, _, _ = counts(p, y)
    return tp / (tp + fp)


def recall(p: Tensor, y: Tensor) -> Tensor:
    tp, _, fn, _ = counts(p, y)
    return tp / (tp + fn)


def specificity(p: Tensor, y: Tensor) -> Tensor:
    _, fp, _, tn = counts(p, y)
    return tn / (tn + fp)


def accuracy(p: Tensor, y: Tensor) -> Tensor:
    return ((p >= 0.5) == (y > 0.5)).float().mean()


def mcc(p: Tensor, y: Tensor) -> Tensor:
    tp, fp, fn, tn = (each.double() for each in counts(p, y))
    below = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / below.sqrt()


LOSSES: dict[str, Loss] = {
    "l1": functional.l1_loss,
    "l2": functional.mse_loss,
    "rmse": lambda p, y: functional.mse_loss(p, y).sqrt(),
    "huber": functional.huber_loss,
    "smooth_l1": functional.smooth_l1_loss,
    "log_cosh": lambda p, y: torch.cosh(p - y).log().mean(),
    "charbonnier": lambda p, y: ((p - y) ** 2 + 1e-6).sqrt().mean(),
    "psnr": lambda p, y: -10 * functional.mse_loss(p, y).log10(),
    "bce": functional.binary_cross_entropy,
    "binary_focal": focal,
    "dice": lambda p, y: 1 - 2 * (p * y).sum() / (p.sum() + y.sum()),
    "jaccard": lambda p, y: 1 - (p * y).sum() / (p.sum() + y.sum() - (p * y).sum()),
    "tversky": tversky,
    "dice_score": dice_score,
    "iou": iou,
    "precision": precision,
    "recall": recall,
    "specificity": specificity,
    "accuracy": accuracy,
    "mcc": mcc,
}


def values(pred: Path, target: Path) -> dict[str, float]:
    """Every loss of one pair of files."""
    p, y = (
        torch.from_numpy(np.array(Image.open(file))).float().div(255) for file in (pred, target)
    )
    return {name: float(loss(p, y)) for name, loss in LOSSES.items()}


def by_hand(images: Path) -> float:
    """Seconds of the faster loop."""
    files = sorted((images / "pred").iterdir())
    taken = []
    with torch.inference_mode():
        for threads in (torch.get_num_threads(), 1):
            torch.set_num_threads(threads)
            start = time.perf_counter()
            for file in files:
                values(file, images / "gt" / file.name)
            taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    """Print the seconds of both and their ratio."""
    pairs, size = map(int, (*sys.argv[1:], *("100", "512")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(Path(folder), pairs, size, 1, "cpu", print)
        images = setup.images("binary", pairs, size)
        run = setup.evaluate(tuple(LOSSES), images / "pred", images / "gt").seconds
        loop = by_hand(images)
    print(f"by hand {loop:.2f} s, lossbench eval {run:.2f} s with its start: {loop / run:.1f}")


if __name__ == "__main__":
    main()
