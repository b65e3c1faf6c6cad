"""Random samples stored in every way, and the sample data, each as references see it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.special import expit, softmax

from helpers.paths import SAMPLES
from helpers.references.common import CLASSES, Truth


@dataclass(frozen=True, eq=False)
class Data:
    """What is handed to lossbench, and the same samples as references see them."""

    pred: Any
    target: Any
    truths: list[Truth]
    settings: dict[str, Any] = field(default_factory=dict)
    counted: bool | None = None  # whether tables of counts are to stand for the pixels

    @property
    def task(self) -> str:
        return self.truths[0].task


# task, how predictions are stored, how targets are, what takes pixels out, whether it is counted
STORED = [
    ("binary", "bytes", "mask", "", True),
    ("binary", "bytes", "mask", "label", True),
    ("binary", "bytes", "mask", "ignore", True),
    ("binary", "bytes", "mask", "valid", True),
    ("binary", "bytes", "mask", "weight", False),
    ("binary", "bytes", "graded", "", True),
    ("binary", "words", "mask", "label", True),
    ("binary", "words", "graded", "ignore", True),
    ("binary", "doubles", "mask", "label", False),
    ("binary", "doubles", "soft", "weight", False),
    ("binary", "singles", "mask", "", False),
    ("binary", "logits", "mask", "ignore", False),
    ("binary", "logits", "soft", "", False),
    ("binary", "mask", "mask", "valid", True),
    ("binary", "mask", "mask", "weight", False),
    ("binary", "labels", "labels", "", True),
    ("multiclass", "labels", "labels", "", True),
    ("multiclass", "labels", "labels", "label", True),
    ("multiclass", "labels", "labels", "ignore", True),
    ("multiclass", "labels", "labels", "weight", False),
    ("multiclass", "bytes", "labels", "valid", False),
    ("multiclass", "doubles", "labels", "label", False),
    ("multiclass", "doubles", "one-hot", "", False),
    ("multiclass", "doubles", "soft", "weight", False),
    ("multiclass", "singles", "labels", "weight", False),
    ("multiclass", "logits", "labels", "label", False),
    ("multiclass", "logits", "soft", "", False),
    ("multilabel", "bytes", "mask", "", True),
    ("multilabel", "bytes", "mask", "label", True),
    ("multilabel", "bytes", "mask", "weight", False),
    ("multilabel", "bytes", "graded", "", True),
    ("multilabel", "words", "mask", "ignore", True),
    ("multilabel", "doubles", "mask", "label", False),
    ("multilabel", "singles", "soft", "valid", False),
    ("multilabel", "logits", "mask", "ignore", False),
    ("multilabel", "mask", "mask", "", True),
    ("image", "bytes", "bytes", "", True),
    ("image", "bytes", "bytes", "ignore", True),
    ("image", "bytes", "bytes", "weight", False),
    ("image", "grey", "grey", "valid", True),
    ("image", "words", "words", "", True),
    ("image", "words", "words", "valid", True),
    ("image", "singles", "singles", "weight", False),
    ("image", "doubles", "doubles", "ignore", False),
]
KINDS = {" ".join(filter(None, kind[:4])): kind for kind in STORED}
ENCODED = {"bytes": "probability", "doubles": "probability", "singles": "probability",
           "graded": "probability", "soft": "probability", "one-hot": "probability",
           "words": "probability"}  # fmt: skip
# Size, and the share of the pixels that each class of a target has; nan is in neither mask.
# No width of 3 or 4: see test_stack_of_narrow_planes_is_no_colour_picture.
SAMPLES_DRAWN = [
    ((9, 7), (0.5, 0.3, 0.2)),
    ((12, 5), (0.1, 0.9, 0.4)),
    ((6, 8), (0.0, 0.6, math.nan)),  # a class that is only predicted, a class in neither
    ((5, 6), (math.nan, math.nan, math.nan)),
    ((4, 5), (1.0, 1.0, 1.0)),
    ((1, 1), (0.5, 0.5, 0.5)),
    ((3, 11), (0.5, 0.5, 0.5)),  # a constant prediction
    ((8, 2), (0.4, 0.4, 0.4)),  # no valid pixel, where pixels can be taken out
]
CONSTANT, NO_PIXEL = 6, 7


@cache
def drawn(kind: str) -> Data:
    """Random samples stored in one way."""
    task, pred_stored, target_stored, limit, counted = KINDS[kind]
    rng = np.random.default_rng(list(kind.encode()))
    stored: dict[str, list[Any]] = {"pred": [], "target": [], limit: []}
    truths = []
    for place, (shape, shares) in enumerate(SAMPLES_DRAWN):
        levels, target = draw_image(rng, shape, pred_stored) if task == "image" else draw_classes(
            rng, task, shape, shares)  # fmt: skip
        if place == CONSTANT:
            levels[:] = 100
        if target_stored in ("soft", "graded"):
            target = soften(rng, task, target, target_stored)
        weight = draw_weight(rng, task, limit, shape, none=bool(limit) and place == NO_PIXEL)
        numbers, pred, logits = store_pred(task, pred_stored, levels, weight, extreme=place == 0)
        stored["pred"].append(numbers)
        stored["target"].append(store_target(task, target_stored, target, weight, limit))
        stored[limit].append(
            {"ignore": weight[0] == 0, "valid": weight[0] > 0}.get(
                limit, weight if task == "multilabel" else weight[0]
            )
        )
        if task == "image":
            target = store_pred(task, target_stored, target, weight * 0 + 1, extreme=False)[1]
        flat = [x.reshape(len(x), -1) for x in (pred, target.astype(np.float64))]
        counts = np.broadcast_to(weight.reshape(len(weight), -1), flat[0].shape)
        scores = None if logits is None else logits.reshape(len(logits), -1)
        truths.append(Truth(task, *flat, counts, scores))
    settings: dict[str, Any] = {"task": task, "workers": 1}
    if task != "image":
        settings["pred_encoding"] = ENCODED.get(pred_stored, pred_stored)
        settings["gt_encoding"] = ENCODED.get(target_stored, target_stored)
    if task == "multiclass":
        settings["classes"] = CLASSES
    if limit == "label":
        settings["ignore"] = 255
    elif limit:
        settings["inputs"] = {limit: stored[limit]}
    return Data(stored["pred"], stored["target"], truths, settings, counted)


def draw_classes(
    rng: np.random.Generator, task: str, shape: tuple[int, int], shares: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Prediction in 256 levels and target in 0 and 1, both (C, H, W)."""
    if task == "binary":
        shares = shares[:1]
    if task == "multiclass":
        odds = np.nan_to_num(shares)
        odds = odds / odds.sum() if odds.sum() else np.array([1.0, 0.0, 0.0])
        labels = rng.choice(CLASSES, size=shape, p=odds)
        target = (labels == np.arange(CLASSES)[:, None, None]).astype(np.uint8)
    else:
        target = np.stack([rng.random(shape) < np.nan_to_num(share) for share in shares])
    levels = rng.integers(0, 256, (len(shares), *shape))
    levels[rng.random(levels.shape) < 0.2] = 0
    levels[rng.random(levels.shape) < 0.2] = 255
    levels[np.isnan(shares)] = 0
    if task == "multiclass":  # each pixel has a class, so that a row of probabilities exists
        levels[0] = np.where(levels.sum(0), levels[0], 255)
    return levels.astype(np.uint8), target.astype(np.uint8)


def draw_image(
    rng: np.random.Generator, shape: tuple[int, int], stored: str
) -> tuple[np.ndarray, np.ndarray]:
    """Two images in 256 levels, (C, H, W)."""
    full = (1 if stored == "grey" else 3, *shape)
    pred, target = (rng.integers(0, 256, full).astype(np.uint8) for _ in range(2))
    return pred, target


def soften(rng: np.random.Generator, task: str, target: np.ndarray, stored: str) -> np.ndarray:
    """A soft target, some of it still 0 or 1."""
    soft = target * rng.uniform(0.4, 1, target.shape) + (rng.random(target.shape) < 0.3) * 0.2
    soft = np.clip(soft, 0, 1)
    if stored == "graded":
        return np.round(soft * 255) / 255
    if task == "multiclass":
        soft[0] += soft.sum(0) == 0
        return soft / soft.sum(0)
    return soft


def draw_weight(
    rng: np.random.Generator, task: str, limit: str, shape: tuple[int, int], none: bool
) -> np.ndarray:
    """(C or 1, H, W) whole weights, 0 where ignored."""
    several = task == "multilabel" and limit in ("label", "weight")
    full = (CLASSES if several else 1, *shape)
    if not limit:
        return np.ones(full, np.int64)
    if none:
        return np.zeros(full, np.int64)
    high = 4 if limit == "weight" else 2
    weight = rng.integers(0, high, full)
    weight.reshape(len(weight), -1)[:, 0] = 1
    return weight


def store_pred(
    task: str, stored: str, levels: np.ndarray, weight: np.ndarray, extreme: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The array handed over, the numbers (C, H, W) that it means, and logits where it has them.

    What is ignored is a value without a meaning wherever one can be stored.
    """
    ignored = np.broadcast_to(weight == 0, levels.shape)
    shares = levels / 255
    logits = None
    if stored == "bytes":
        numbers = levels
        if task == "multiclass":  # the probabilities of a pixel sum to 1 but for rounding
            numbers = np.round(255.0 * levels / np.maximum(1, levels.sum(0))).astype(np.uint8)
        pred = numbers / 255
    elif stored == "grey":
        return levels[0], shares, None
    elif stored == "words":
        numbers = levels.astype(np.uint16) * 211
        pred = numbers / 65535
    elif stored in ("doubles", "singles"):
        real = shares**1.5 if task != "image" else 1.4 * shares - 0.2
        if task == "multiclass":
            real = real / real.sum(0)
        numbers = np.where(ignored, np.nan, real)
        numbers = numbers.astype(np.float32 if stored == "singles" else np.float64)
        pred = np.where(ignored, 0, numbers).astype(np.float64)
    elif stored == "logits":
        logits = (levels.astype(np.float32) - 127.5) / 16
        if extreme:
            logits[:, 0, 0], logits[:, -1, -1] = 1e4, -1e4
            logits[0, 0, 0] = -1e4
        numbers = np.where(ignored, np.nan, logits)
        logits = logits.astype(np.float64)
        pred = softmax(logits, axis=0) if task == "multiclass" else expit(logits)
    elif stored == "labels" and task == "multiclass":
        labels = levels.argmax(0)
        pred = np.float64(labels == np.arange(CLASSES)[:, None, None])
        numbers = np.where(weight[0] == 0, 77, labels).astype(np.uint8)
    else:
        numbers = (levels > 127).astype(np.uint8)
        pred = numbers.astype(np.float64)
    if task == "binary":
        numbers = numbers[0]
    elif task == "image":
        numbers = np.moveaxis(numbers, 0, -1)
    return numbers, pred, logits


def store_target(
    task: str, stored: str, target: np.ndarray, weight: np.ndarray, limit: str
) -> np.ndarray:
    if task == "image":
        return store_pred(task, stored, target, np.ones_like(weight), extreme=False)[0]
    if stored == "graded":
        numbers = np.round(target * 255).astype(np.uint8)
    elif stored in ("soft", "one-hot"):
        numbers = target.astype(np.float64)
    elif task == "multiclass":
        numbers = target.argmax(0)[None].astype(np.uint8)
    else:
        numbers = target
    if limit == "label":
        numbers = np.where(weight == 0, 255, numbers).astype(np.uint8)
    one = task == "binary" or (task == "multiclass" and stored == "labels")
    return numbers[0] if one else numbers


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def sample_data(task: str) -> Data:
    """The repository's sample data, read here without lossbench."""
    root = SAMPLES / task
    settings: dict[str, Any] = {"task": task}
    if task == "multilabel":
        settings |= dict.fromkeys(("pred_pattern", "gt_pattern"), "{id}_{class}.png")
    truths = []
    for stored in stacks(root, task):
        pred, target = (side.reshape(len(side), -1) for side in stored)
        counts = np.ones(target.shape, np.int64)
        if task == "multiclass":  # 4 classes, and 255 on the edges of things
            counts = np.repeat(np.int64(target != 255), 4, axis=0)
            pred, target = (np.float64(x == np.arange(4)[:, None]) for x in (pred, target))
        else:
            pred, target = pred / 255, target / 255
        truths.append(Truth(task, pred, target, counts))
    return Data(str(root / "pred"), str(root / "gt"), truths, settings, counted=True)


def stacks(root: Path, task: str) -> Iterator[list[np.ndarray]]:
    """Prediction and target of each sample as stored, (C, H, W)."""
    if task == "multilabel":
        names = sorted({path.name.rpartition("_")[0] for path in (root / "gt").iterdir()})
        for name in names:
            organs = [f"{name}_{organ}.png" for organ in ("kidney", "liver", "spleen")]
            yield [np.stack([picture(root / s / o) for o in organs]) for s in ("pred", "gt")]
        return
    for path in sorted((root / "gt").rglob("*.png")):
        sides = [picture(root / side / path.relative_to(root / "gt")) for side in ("pred", "gt")]
        yield [np.moveaxis(x, -1, 0) if x.ndim == 3 else x[None] for x in sides]
