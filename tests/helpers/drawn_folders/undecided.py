"""Draws that the files alone do not decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from helpers.drawn_folders.meaning import (
    Drawn,
    Meaning,
    Random,
    Store,
    away_from_half,
    class_meaning,
    draw_ids,
    draw_shape,
    mask_meaning,
    pick,
    picture_meaning,
    smooth_field,
)
from helpers.drawn_folders.odd_files import draw_role
from helpers.drawn_folders.ordinary import (
    SCORES,
    draw_dark_pictures,
    draw_grey_pictures,
    draw_levels,
    draw_losses,
    draw_masks,
)
from helpers.drawn_folders.stores import (
    FLOATS,
    array_container,
    hard_store,
    label_store,
    stack_store,
)


def _what_is_one(rng: Random) -> Drawn:
    """Probabilities or pictures in a type far larger than their numbers."""
    memory = bool(rng.random() < 0.35)
    dtype, one = pick(rng, (("uint16", 255), ("uint16", 4095), ("int32", 255), ("int64", 255)))
    if rng.random() < 0.6:
        drawn = draw_masks(rng)
        memory = drawn.stores["target"].container == "memory"
        pred = Store("soft", array_container(rng, memory), dtype, one)
        drawn.others, drawn.mixed, drawn.odd = {}, "", ()
    else:
        drawn = draw_grey_pictures(rng, memory, ("bytes", "bytes"))
        pred = Store("picture", array_container(rng, memory), dtype, one, "HW")
        if rng.random() < 0.5:
            drawn.stores["target"] = pred
    drawn.stores["pred"] = pred
    return drawn


def _floats_beyond(rng: Random) -> Drawn:
    """Probabilities or pictures as floats up to 255."""
    memory = bool(rng.random() < 0.35)
    if rng.random() < 0.5:
        drawn = draw_masks(rng)
        memory = drawn.stores["target"].container == "memory"
        drawn.stores["pred"] = Store("soft", array_container(rng, memory), pick(rng, FLOATS), 255)
        drawn.others, drawn.mixed, drawn.odd = {}, "", ()
        return drawn
    drawn = draw_grey_pictures(rng, memory, ("beyond", "beyond"))
    drawn.unit = 255
    drawn.losses = draw_losses(rng, (["l1"],))
    return drawn


def _other_range(rng: Random) -> Drawn:
    """Pictures in integers on one side, in floats of another range on the other."""
    kinds = pick(rng, (("signed", "bytes"), ("beyond", "bytes"), ("bytes", "beyond")))
    return draw_grey_pictures(rng, bool(rng.random() < 0.35), kinds)


def _saturated(rng: Random) -> Drawn:
    """Grey pictures of which a fifth is black or white."""
    drawn = draw_grey_pictures(rng, bool(rng.random() < 0.35), ("bytes", "bytes"))
    for meaning in drawn.meanings.values():
        low, high = np.quantile(meaning.target, (0.1, 0.9))
        for side in ("pred", "target"):
            values = (getattr(meaning, side) - low) / (high - low)
            setattr(meaning, side, np.clip(values, 0, 1))
    return drawn


def _spaced_levels(rng: Random) -> Drawn:
    """Masks against trimaps; or labels as evenly spaced grey levels on both sides."""
    if rng.random() < 0.4:
        return draw_levels(rng, lambda rng, memory: hard_store(rng, memory, any_value=False))
    count = int(rng.integers(3, 7))
    values = tuple(number * (255 // (count - 1)) for number in range(count))
    return _draw_labels(rng, values, values, tuple(map(str, values)))


def _draw_labels(
    rng: Random, pred: Sequence[int], truth: Sequence[int], names: tuple[str, ...]
) -> Drawn:
    """Label maps with these stored values."""
    memory = bool(rng.random() < 0.35)
    stores = {"pred": label_store(rng, memory, pred), "target": label_store(rng, memory, truth)}
    shape = draw_shape(rng)
    meanings = {id: class_meaning(rng, shape, len(truth)) for id in draw_ids(rng)}
    drawn = Drawn("", "multiclass", stores, meanings, names=names)
    drawn.losses = draw_losses(rng, SCORES)
    return drawn


def _large_labels(rng: Random) -> Drawn:
    count = int(rng.integers(3, 8))
    values = sorted(map(int, rng.choice(np.arange(40, 250), count, replace=False)))
    values = tuple(values) if rng.random() < 0.5 else (0, *values[1:])
    return _draw_labels(rng, values, values, tuple(map(str, values)))


def _stretched_labels(rng: Random) -> Drawn:
    count = int(rng.integers(3, 7))
    pred = tuple(number * (255 // (count - 1)) for number in range(count))
    return _draw_labels(rng, pred, range(count), tuple(map(str, range(count))))


def _indices(rng: Random) -> Drawn:
    count = int(rng.integers(3, 7))
    values = sorted(map(int, rng.choice(np.arange(count, 34), count, replace=False)))
    return _draw_labels(rng, range(count), values, tuple(map(str, values)))


def _shifted(rng: Random) -> Drawn:
    count = int(rng.integers(3, 7))
    values = range(1, count + 1)
    return _draw_labels(rng, range(count), values, tuple(map(str, values)))


def _two_against_three(rng: Random) -> Drawn:
    """Three classes, the last of which the truth never has."""
    drawn = _draw_labels(rng, range(3), range(3), ("0", "1", "2"))
    for meaning in drawn.meanings.values():
        meaning.target[1] += meaning.target[2]
        meaning.target[2] = 0
    return drawn


def _negative_label(rng: Random) -> Drawn:
    """Labels with −1 for the pixels without ground truth."""
    count = int(rng.integers(3, 7))
    drawn = _draw_labels(rng, range(count), range(count), tuple(map(str, range(count))))
    memory = drawn.stores["target"].container == "memory"
    dtype = str(pick(rng, ("int16", "int32", "int64")))
    store = Store("labels", array_container(rng, memory), dtype, 1, "HW", tuple(range(count)))
    drawn.stores["target"] = replace(store, low=-1)
    shape = next(iter(drawn.meanings.values())).void.shape
    for meaning in drawn.meanings.values():
        meaning.void = smooth_field(rng, shape) > 0.5
    return drawn


def _instances(rng: Random) -> Drawn:
    """Components with numbers in the truth, a mask or numbers in predictions."""
    memory = bool(rng.random() < 0.35)
    truth = label_store(rng, memory, ())
    truth = replace(truth, dtype="uint16" if truth.dtype == "float16" else truth.dtype, palette=())
    truth = replace(truth, container=truth.container.replace(" P", " L"))
    pred = replace(truth) if rng.random() < 0.5 else hard_store(rng, memory)
    shape, meanings = (24, 31), {}
    most = 0
    for number, id in enumerate(draw_ids(rng, least=3)):
        count = 3 + number % 5
        most = max(most, count)
        side = np.zeros((9, *shape))
        for object in range(count):
            row, column = divmod(object, 4)
            top, left = row * 11 + int(rng.integers(4)), column * 7 + int(rng.integers(2))
            side[object + 1, top : top + 7, left : left + 4] = 1
        side[0] = side.sum(0) == 0
        moved = np.roll(side, 1, axis=1)
        meanings[id] = Meaning(moved, side, np.zeros(shape, bool))
    values = tuple(range(9))
    names = ("background", "foreground")
    stores = {"pred": replace(pred, values=values), "target": replace(truth, values=values)}
    drawn = Drawn("", "binary", stores, meanings, names=names, soft=False)
    if pred.form == "hard":
        for meaning in meanings.values():
            meaning.pred = 1 - meaning.pred[:1]
    drawn.losses = draw_losses(rng, SCORES)
    return drawn


def _alpha(rng: Random) -> Drawn:
    """Masks in the alpha channel of pictures."""
    drawn = draw_masks(rng)
    while drawn.stores["target"].container == "memory" or drawn.mixed:
        drawn = draw_masks(rng)
    drawn.stores["pred"] = Store("hard", "png RGBA", "uint8", 255)
    for id, meaning in drawn.meanings.items():
        picture = picture_meaning(rng, meaning.void.shape, 3).target
        alpha = (meaning.pred[:1] >= 0.5) * 1.0
        pixels = np.round(255 * np.concatenate([picture, alpha])).astype(np.uint8)
        drawn.raw["pred", id] = Image.fromarray(np.moveaxis(pixels, 0, -1).copy())
    return drawn


def _flat_colours(rng: Random) -> Drawn:
    """Label maps in colours on both sides."""
    count = int(rng.integers(3, 7))
    drawn = _draw_labels(rng, range(count), range(count), tuple(map(str, range(count))))
    colours = rng.integers(0, 256, (count, 3)).astype(np.uint8)
    for role in drawn.stores:
        drawn.stores[role] = Store("labels", "png RGB", "uint8", 1, "HW", tuple(range(count)))
        for id, meaning in drawn.meanings.items():
            labels = getattr(meaning, role).argmax(0)
            drawn.raw[role, id] = Image.fromarray(colours[labels])
    return drawn


def _slices_or_labels(rng: Random) -> Drawn:
    """A stack of masks on both sides: labels, or slices of a volume."""
    memory, count = bool(rng.random() < 0.35), int(rng.integers(2, 7))
    is_volume = rng.random() < 0.5
    form = str(pick(rng, ("hard", "soft", "logits")))
    order = "DHW" if is_volume else "CHW"
    dtype = str(pick(rng, ("uint8", "bool", "float32") if form == "hard" else FLOATS))
    container = array_container(rng, memory)
    shape, meanings = draw_shape(rng), {}
    for id in draw_ids(rng):
        if is_volume:
            meanings[id] = mask_meaning(rng, (count, *shape))
        else:
            layers = [mask_meaning(rng, shape) for _ in range(count)]
            pred, target = (
                np.concatenate([getattr(layer, role) for layer in layers])
                for role in ("pred", "target")
            )
            meanings[id] = Meaning(pred, target, np.zeros(shape, bool))
    names = ("background", "foreground") if is_volume else tuple(map(str, range(count)))
    if not is_volume:
        form = {"hard": "masks", "soft": "stack", "logits": "sigmoid stack"}[form]
    pred = Store(form, container, dtype, 1, order)
    truth = Store("hard" if is_volume else "masks", container, "uint8", 1, order)
    task = "binary" if is_volume else "multilabel"
    drawn = Drawn("", task, {"pred": pred, "target": truth}, meanings, names=names)
    drawn.losses = draw_losses(rng, SCORES)
    return drawn


def _cube(rng: Random) -> Drawn:
    """As many classes as rows and columns."""
    memory, count = bool(rng.random() < 0.35), int(rng.integers(5, 9))
    pred = stack_store(rng, memory, str(pick(rng, ("logits stack", "one-hot"))))
    pred = replace(pred, order=str(pick(rng, ("CHW", "HWC"))))
    stores = {"pred": pred, "target": label_store(rng, memory, range(count))}
    meanings = {id: class_meaning(rng, (count, count), count) for id in draw_ids(rng)}
    drawn = Drawn("", "multiclass", stores, meanings, names=tuple(map(str, range(count))))
    drawn.losses = draw_losses(rng, SCORES)
    return drawn


def _soft_among_ones(rng: Random) -> Drawn:
    """One file of 8-bit levels among masks of 0 and 1."""
    memory = bool(rng.random() < 0.35)
    role, container = draw_role(rng), "memory" if memory else "png L"
    shape = draw_shape(rng)
    meanings = {id: mask_meaning(rng, shape) for id in draw_ids(rng, least=2)}
    stores = {
        side: Store("hard", container, "uint8", 1) if side == role else hard_store(rng, memory)
        for side in ("pred", "target")
    }
    drawn = Drawn("", "binary", stores, meanings, names=("background", "foreground"))
    odd = list(meanings)[-1]
    if role == "target":
        waves = 2 * meanings[odd].pred - 1
        meanings[odd].target = away_from_half(np.clip(2 * waves + 0.5, 0, 1))
    drawn.others[role, odd] = Store("soft", container, "uint8", 255)
    drawn.mixed, drawn.odd = f"{role} soft among 0/1", (odd,)
    drawn.losses = draw_losses(rng, SCORES)
    return drawn


def _full_or_void(rng: Random) -> Drawn:
    """Masks of 0 and 1 among which one holds 0 and 255."""
    drawn = draw_masks(rng)
    while (
        len(drawn.meanings) < 2
        or drawn.mixed
        or any(meaning.void.any() for meaning in drawn.meanings.values())
    ):
        drawn = draw_masks(rng)
    memory = drawn.stores["target"].container == "memory"
    store = Store("hard", "memory" if memory else "png L")
    odd = list(drawn.meanings)[-1]
    drawn.stores["target"] = store
    drawn.others["target", odd] = replace(store, one=255)
    drawn.mixed, drawn.odd = "target 0/255 among 0/1", (odd,)
    return drawn


# The reasons why a person could not decide either. A question is right for these draws; a wrong
# number without a word is not.
UNDECIDED: dict[str, tuple[Callable[[Random], Drawn], str]] = {
    "what is 1": (
        _what_is_one,
        "Integers fill a small part of their type: 12 bits in 16, bytes in words.",
    ),
    "floats beyond 1": (
        _floats_beyond,
        "Floats reach far beyond 1: the number that means 1 is not in the file.",
    ),
    "range of pictures": (
        _other_range,
        "One side is stored in integers, the other in floats of another range.",
    ),
    "spaced levels": (
        _spaced_levels,
        "3 to 8 evenly spaced grey levels are soft levels or labels for viewing.",
    ),
    "large labels": (_large_labels, "A few large values are labels of a long list or grey levels."),
    "stretched labels": (
        _stretched_labels,
        "Predicted labels are multiplied for viewing, those of the truth are not.",
    ),
    "indices": (_indices, "Predictions hold 0, 1, 2 where the truth holds other values."),
    "shifted labels": (_shifted, "Predictions count from 0, the truth from 1; both hold 1 and 2."),
    "two against three": (
        _two_against_three,
        "The truth holds two values, predictions three small ones.",
    ),
    "negative label": (
        _negative_label,
        "−1 is a class or the mark of pixels without ground truth.",
    ),
    "instances": (
        _instances,
        "Numbers of components: labels, instances, or a mask of what is not 0.",
    ),
    "alpha": (
        _alpha,
        "Colour and alpha hold two different pictures, either of which may be the mask.",
    ),
    "flat colours": (_flat_colours, "A few flat colours are classes or a drawing."),
    "saturated": (
        _saturated,
        "Between 5 % and 40 % of the pixels are black or white: a picture or a soft mask.",
    ),
    "dark": (
        draw_dark_pictures,
        "Nothing is above 31: labels or a dark picture, unless the loss is one of pictures.",
    ),
    "slices or labels": (
        _slices_or_labels,
        "A stack of masks has one mask a label or one a slice of a volume.",
    ),
    "cube": (_cube, "All axes have the same length: classes may lie along the first or the last."),
    "full or void": (
        _full_or_void,
        "A true mask of 0 and 255 among others of 0 and 1: 255 is the foreground, or void.",
    ),
    "soft among ones": (
        _soft_among_ones,
        "A level of 8 bits among masks of 0 and 1: the 1 may be a level too.",
    ),
}
