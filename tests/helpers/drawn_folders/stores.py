"""The forms in which people store masks, labels, probabilities and stacks of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from helpers.drawn_folders.meaning import Array, Random, Store, pick

VOID = 255

TYPES = ("uint8", "uint16", "int16", "int32", "int64", "float16", "float32", "float64")
FLOATS = ("float16", "float32", "float64")
GREYS = tuple(level for level in range(256) for _ in range(3))
BLACK_WHITE = (0, 0, 0, 255, 255, 255)
VOC = tuple(
    sum(((index >> 3 * bit + channel) & 1) << 7 - bit for bit in range(3))
    for index in range(256)
    for channel in range(3)
)
GREY_PICTURES = ("png L", "png L", "png L", "tif L", "bmp L", "png RGB", "png RGBA", "png LA")
LOSSY: dict[str, dict[str, Any]] = {"jpg": {"quality": 95, "subsampling": 0}}
BIT_PICTURES = ("png 1", "tif 1", "bmp 1", "tif white0")


def _draw_order(rng: Random, container: str) -> str:
    plain = rng.random() < 0.6 or container not in ("memory", "npy", "npz")
    return "HW" if plain else str(pick(rng, ("1HW", "HW1", "11HW")))


def array_container(rng: Random, memory: bool) -> str:
    return "memory" if memory else "npz" if rng.random() < 0.25 else "npy"


def hard_store(rng: Random, memory: bool, void: bool = False, any_value: bool = True) -> Store:
    """How a mask is stored; beside void pixels its foreground is 1."""
    if memory or rng.random() < 0.25:
        container = array_container(rng, memory)
        dtype = pick(rng, TYPES[:5] if void else (*TYPES, "bool", "bool", "uint8", "uint8"))
        ones = [1, 1, 255] if any_value or dtype == "uint8" else [1]
        if any_value and dtype in ("uint8", "uint16"):
            ones += [pick(rng, (38, 100, 127, 128, 200, 254))]
        if any_value and dtype == "uint16":
            ones += [65535]
        one = 1 if void or dtype == "bool" else pick(rng, ones)
        return Store("hard", container, dtype, one, _draw_order(rng, container))
    if not void and rng.random() < 0.3:
        container = pick(rng, (*BIT_PICTURES, "png P"))
        if container == "png P" and rng.random() < 0.3:
            return Store("hard", container, "uint8", 255, palette=GREYS)
        if container == "png P":
            return Store("hard", container, "uint8", 1, palette=BLACK_WHITE)
        return Store("hard", container, "bool", 1)
    if any_value and not void and rng.random() < 0.1:
        return Store("hard", "png I;16", "uint16", pick(rng, (1, 255, 65535)))
    one = pick(rng, (1, 255, 255, 255))
    if any_value and rng.random() < 0.15:
        one = pick(rng, (38, 100, 127, 128, 200, 254))
    return Store("hard", pick(rng, GREY_PICTURES), "uint8", 1 if void else one)


def soft_store(rng: Random, memory: bool) -> Store:
    """How probabilities of one class are stored."""
    if memory or rng.random() < 0.5:
        container = array_container(rng, memory)
        dtype = pick(rng, ("uint8", "uint16", *FLOATS, *FLOATS))
        one = 1 if dtype in FLOATS else np.iinfo(dtype).max
        return Store("soft", container, dtype, one, _draw_order(rng, container))
    if rng.random() < 0.2:
        return Store("soft", pick(rng, ("png I;16", "tif I;16")), "uint16", 65535)
    return Store("soft", pick(rng, GREY_PICTURES), "uint8", 255)


def logits_store(rng: Random, memory: bool) -> Store:
    container = array_container(rng, memory)
    return Store("logits", container, pick(rng, FLOATS), 1, _draw_order(rng, container))


def label_store(rng: Random, memory: bool, values: Sequence[int], void: bool = False) -> Store:
    """How one label a pixel is stored."""
    values = tuple(values)
    if memory or rng.random() < 0.3:
        container = array_container(rng, memory)
        dtype = pick(rng, TYPES[:5] if void else (*TYPES, "uint8", "uint8"))
        return Store("labels", container, dtype, 1, _draw_order(rng, container), values)
    container = pick(rng, ("png L", "png L", "png P", "png P", "tif L", "bmp L", "png I;16"))
    dtype = "uint16" if "16" in container else "uint8"
    return Store("labels", container, dtype, 1, "HW", values, VOC if "P" in container[4:] else ())


def stack_store(rng: Random, memory: bool, form: str = "") -> Store:
    """How one number for each class is stored."""
    container = array_container(rng, memory)
    order = str(pick(rng, ("CHW", "CHW", "HWC", "1CHW", "1HWC")))
    form = form or str(pick(rng, ("stack", "stack", "logits stack", "one-hot")))
    if form == "one-hot":
        return Store(form, container, pick(rng, ("bool", "uint8", "int64", "float32")), 1, order)
    dtype = pick(rng, FLOATS)
    if form == "stack" and rng.random() < 0.25:
        dtype = pick(rng, ("uint8", "uint16"))
    return Store(form, container, dtype, 1 if dtype in FLOATS else np.iinfo(dtype).max, order)


def stored_numbers(store: Store, shares: Array, void: Array) -> tuple[Array, Array]:
    """The stored numbers (C or nothing, *space), and the shares that they mean exactly."""
    dtype = np.dtype(store.dtype)
    if store.form == "hard":
        hard = (shares[0] >= 0.5) * 1.0
        numbers, shares = hard * store.one, hard[None]
    elif store.form == "labels":
        numbers = np.array(store.values)[shares.argmax(0)]
        shares = (shares.argmax(0) == class_axis(shares)).astype(float)
    elif store.form == "masks":
        numbers = shares = (shares >= 0.5) * 1.0
    elif store.form == "sigmoid stack":
        numbers = np.log(shares / (1 - shares)).astype(dtype)
        shares = 1 / (1 + np.exp(-numbers.astype(float)))
    elif store.form == "one-hot":
        shares = (shares.argmax(0) == class_axis(shares)).astype(float)
        numbers = shares
    elif store.form in ("logits", "logits stack"):
        safe = np.clip(shares, 1e-4, 1 - 1e-4)
        numbers = np.log(safe / (1 - safe)) if store.form == "logits" else np.log(safe) + 1.5
        numbers = numbers.astype(dtype).astype(float)
        if store.form == "logits":
            shares, numbers = 1 / (1 + np.exp(-numbers)), numbers[0]
        else:
            shares = np.exp(numbers) / np.exp(numbers).sum(0)
    elif dtype.kind == "f":  # shares of masks, stacks and pictures
        numbers = (store.low + (store.one - store.low) * shares).astype(dtype)
        shares = (numbers.astype(float) - store.low) / (store.one - store.low)
        numbers = numbers[0] if store.form == "soft" else numbers
    else:
        numbers = np.round(shares * store.one)
        shares = numbers / store.one
        numbers = numbers[0] if store.form == "soft" else numbers
    if void.any():
        numbers = np.where(void, -1 if store.low else VOID, numbers)
    return numbers.astype(dtype), shares


def class_axis(shares: Array) -> Array:
    return np.arange(len(shares)).reshape(-1, *[1] * (shares.ndim - 1))


PICTURE_CONTAINERS = {
    1: ("png L", "png L", "tif L", "bmp L", "jpg L", "png LA", "png RGB"),
    3: ("png RGB", "png RGB", "tif RGB", "bmp RGB", "jpg RGB", "png RGBA"),
}


def picture_store(rng: Random, memory: bool, channels: int, kind: str) -> Store:
    """How pictures of one kind of numbers are stored."""
    if kind == "bytes" and not memory and rng.random() < 0.75:
        return Store("picture", pick(rng, PICTURE_CONTAINERS[channels]), "uint8", 255, "CHW")
    if kind == "words" and not memory and channels == 1 and rng.random() < 0.7:
        return Store("picture", pick(rng, ("png I;16", "tif I;16")), "uint16", 65535, "CHW")
    container = array_container(rng, memory)
    order = "CHW" if channels == 1 else str(pick(rng, ("HWC", "HWC", "CHW", "1CHW", "1HWC")))
    if channels == 1:
        order = str(pick(rng, ("HW", "HW", "HW", "CHW", "HWC", "1CHW")))
    dtype = {"bytes": "uint8", "words": "uint16"}.get(kind) or str(pick(rng, FLOATS))
    one = {"bytes": 255, "words": 65535, "beyond": 255}.get(kind, 1)
    return Store("picture", container, dtype, one, order, low=-1 if kind == "signed" else 0)
