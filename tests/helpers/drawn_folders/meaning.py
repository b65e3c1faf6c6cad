"""What a pair of files means, how it is stored, and random meanings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Random = np.random.Generator
Array = np.ndarray[Any, Any]


@dataclass
class Meaning:
    """What one pair of files says.

    Attributes:
        pred: (C, *space): probabilities of classes; one channel for a mask; values of a picture.
        target: the same of the ground truth.
        void: the pixels without ground truth, (*space).
    """

    pred: Array
    target: Array
    void: Array


@dataclass(frozen=True)
class Store:
    """How the files of one side are stored.

    Attributes:
        form: hard, soft or logits for one number a pixel; labels; stack, logits stack or one-hot
            for one number a class; picture.
        container: memory, npy, npz, nii, or an ending of a picture file with Pillow's mode.
        dtype: the type of the numbers.
        one: the number that means 1.
        order: the axes, such as HW, 1HW, HW1, CHW, HWC, 1CHW.
        values: the stored label of each class.
        palette: the colours of a palette picture.
        low: the number that means 0, in pictures.
    """

    form: str
    container: str
    dtype: str = "uint8"
    one: float = 1
    order: str = "HW"
    values: tuple[int, ...] = ()
    palette: tuple[int, ...] = ()
    low: float = 0

    def __str__(self) -> str:
        shown = "" if self.one == 1 else f"·{self.one:g}"
        return f"{self.form} {self.container} {self.dtype}{shown} {self.order}"


@dataclass
class Drawn:
    """A pair of folders, and what is right for it.

    Attributes:
        kind: the meaning, for tables.
        task: binary, multiclass, multilabel or image.
        stores: how predictions and ground truth are stored.
        meanings: id -> meaning.
        losses: the losses of the run; none for the usual ones.
        names: the classes as the result may name them.
        undecided: a key of UNDECIDED, or "".
        mixed: the kind of the file that differs from the others, or "".
        odd: the ids of such files.
        soft: whether losses of soft values are known too.
        unit: the range of a picture in the numbers that are compared.
        others: (role, id) -> how this file alone is stored.
        raw: (role, id) -> a picture that is saved as it is.
        index: the number that draws the same again.
        folders: role -> folder, or id -> array.
        expected: id -> loss -> class, or "" for the sample -> value.
    """

    kind: str
    task: str
    stores: dict[str, Store]
    meanings: dict[str, Meaning]
    losses: list[str] = field(default_factory=list)
    names: tuple[str, ...] = ()
    undecided: str = ""
    mixed: str = ""
    odd: tuple[str, ...] = ()
    soft: bool = True
    unit: float = 1
    others: dict[tuple[str, str], Store] = field(default_factory=dict)
    raw: dict[tuple[str, str], Any] = field(default_factory=dict)
    index: int = -1
    folders: dict[str, Any] = field(default_factory=dict)
    expected: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"#{self.index} {self.kind}", *map(str, self.stores.values())]
        parts += [f"mixed: {self.mixed} ({', '.join(self.odd)})"] if self.mixed else []
        parts += [f"undecided: {self.undecided}"] if self.undecided else []
        parts += [f"asked: {', '.join(self.losses)}"] if self.losses else []
        return " | ".join(parts)


def pick(rng: Random, choices: Sequence[Any]) -> Any:
    return choices[int(rng.integers(len(choices)))]


def smooth_field(rng: Random, shape: Sequence[int]) -> Array:
    """A smooth field between −1 and 1."""
    axes = np.meshgrid(*(np.linspace(0, 1, size) for size in shape), indexing="ij")
    total = np.zeros(shape)
    for _ in range(4):
        phase = rng.uniform(0, 2 * np.pi) + sum(rng.uniform(-9, 9) * axis for axis in axes)
        total += rng.uniform(0.5, 1) * np.cos(phase)
    return total / np.abs(total).max()


def draw_shape(rng: Random) -> tuple[int, int]:
    low, high = sorted(map(int, rng.integers(12, 32, 2)))
    return (low, high) if rng.random() < 0.5 else (high, low)


def draw_ids(rng: Random, least: int = 1) -> list[str]:
    count = 20 if rng.random() < 0.04 else max(least, int(pick(rng, (1, 2, 3, 3, 4, 5))))
    return [f"s{number:02}" for number in range(count)]


def away_from_half(shares: Array) -> Array:
    """The same probabilities, none so close to one half that rounding could move it across."""
    return np.where(np.abs(shares - 0.5) < 0.03, np.where(shares < 0.5, 0.45, 0.55), shares)


def mask_meaning(rng: Random, shape: Sequence[int], void: bool = False) -> Meaning:
    """A mask and the probabilities of a model that has learned it."""
    waves = smooth_field(rng, shape)
    level = np.quantile(waves, rng.uniform(0.4, 0.8))
    seen = waves + rng.normal(0, 0.12, shape)
    pred = away_from_half(1 / (1 + np.exp(-rng.uniform(4, 12) * (seen - level))))
    outside = np.abs(waves - level) < 0.05 if void else np.zeros(shape, bool)
    return Meaning(pred[None], (waves >= level)[None].astype(float), outside)


def class_meaning(rng: Random, shape: Sequence[int], count: int, void: bool = False) -> Meaning:
    """Labels, each of which occurs, and the probabilities of a model that has learned them."""
    fields = np.stack([smooth_field(rng, shape) for _ in range(count)])
    labels = fields.argmax(0)
    pixels = rng.choice(labels.size, count, replace=False)
    labels.ravel()[pixels] = np.arange(count)
    target = (labels == np.arange(count).reshape(-1, *[1] * len(shape))).astype(float)
    scores = 1.2 * target + fields + rng.normal(0, 0.5, fields.shape)
    pred = np.exp(scores - scores.max(0))
    best = pred == pred.max(0)
    pred = (pred + best * 0.2) / (pred + best * 0.2).sum(0)
    outside = np.zeros(shape, bool)
    if void:
        outside = smooth_field(rng, shape) > 0.7
        outside.ravel()[pixels] = False
    return Meaning(pred, target, outside)


def picture_meaning(rng: Random, shape: Sequence[int], channels: int) -> Meaning:
    """A picture of full contrast without large black or white areas, and its restoration."""
    target = np.stack([smooth_field(rng, shape) for _ in range(channels)])
    target = 0.5 + 0.42 * target + rng.normal(0, 0.02, target.shape)
    target.ravel()[:2] = 0.97, 0.02
    pred = target + rng.normal(0, 0.03, target.shape)
    return Meaning(*(np.clip(side, 0.003, 0.997) for side in (pred, target)), np.zeros(shape, bool))
