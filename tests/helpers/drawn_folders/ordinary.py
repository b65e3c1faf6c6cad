"""Draws that the files decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from helpers.drawn_folders.meaning import (
    Drawn,
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
from helpers.drawn_folders.odd_files import LABEL_FILES, MASK_FILES, PICTURE_FILES, STACK_FILES, mix
from helpers.drawn_folders.stores import (
    BLACK_WHITE,
    FLOATS,
    GREY_PICTURES,
    array_container,
    hard_store,
    label_store,
    logits_store,
    picture_store,
    soft_store,
    stack_store,
)


def draw_losses(rng: Random, losses: Sequence[Sequence[str]]) -> list[str]:
    """Losses to ask for, in half of the draws."""
    return list(pick(rng, losses)) if rng.random() < 0.5 else []


SCORES = (["iou"], ["dice_score"], ["iou", "accuracy"], ["dice_score", "iou"])
SOFT_LOSSES = (*SCORES, ["dice", "iou"], ["l1"], ["l1", "iou"])


def draw_masks(rng: Random) -> Drawn:
    """Masks, or their probabilities or logits, against masks that may have void pixels."""
    memory, void = bool(rng.random() < 0.35), bool(rng.random() < 0.25)
    truth = hard_store(rng, memory, void)
    store = pick(rng, (hard_store, hard_store, soft_store, soft_store, logits_store))
    pred = store(rng, memory)
    shape = draw_shape(rng)
    meanings = {id: mask_meaning(rng, shape, void) for id in draw_ids(rng)}
    names = ("background", "foreground")
    form = {"hard": "masks", "soft": "probabilities", "logits": "logits"}[pred.form]
    drawn = Drawn(
        f"{form} against masks{' with void' if void else ''}",
        "binary", {"pred": pred, "target": truth}, meanings, names=names,
    )  # fmt: skip
    drawn.losses = draw_losses(rng, SOFT_LOSSES)
    return mix(rng, drawn, MASK_FILES)


def _soft_edges(rng: Random) -> Drawn:
    """Masks, probabilities or logits against masks whose edges are soft."""
    memory = bool(rng.random() < 0.35)
    truth = soft_store(rng, memory)
    if not memory and rng.random() < 0.2:
        truth = Store("hard", "jpg L", "uint8", 255)
    kind = pick(rng, ("hard", "hard", "soft", "logits"))
    pred = (
        hard_store(rng, memory, any_value=False) if kind == "hard"
        else (soft_store if kind == "soft" else logits_store)(rng, memory)
    )  # fmt: skip
    shape = draw_shape(rng)
    meanings = {}
    for id in draw_ids(rng):
        meaning = mask_meaning(rng, shape)
        waves = smooth_field(rng, shape)
        level = np.quantile(waves, rng.uniform(0.4, 0.7))
        soft = np.clip(rng.uniform(7, 12) * (waves - level) + 0.5, 0, 1)
        meanings[id] = replace(meaning, target=away_from_half(soft)[None])
        seen = 1 / (1 + np.exp(-8 * (waves + rng.normal(0, 0.1, shape) - level)))
        meanings[id].pred = away_from_half(seen)[None]
    is_jpeg = truth.container == "jpg L"
    drawn = Drawn(
        f"{kind} against {'JPEG masks' if is_jpeg else 'soft edges'}",
        "binary", {"pred": pred, "target": truth}, meanings,
        names=("background", "foreground"), soft=not is_jpeg,
    )  # fmt: skip
    drawn.losses = draw_losses(rng, SCORES if is_jpeg else SOFT_LOSSES)
    return mix(rng, drawn, MASK_FILES[:4])


def _trimaps(rng: Random) -> Drawn:
    """Probabilities against masks of three levels: 0, one half and 1."""
    drawn = draw_levels(rng, pick(rng, (soft_store, logits_store)))
    drawn.kind = "probabilities against trimaps"
    return drawn


def draw_levels(rng: Random, store: Callable[[Random, bool], Store]) -> Drawn:
    memory = bool(rng.random() < 0.35)
    container = array_container(rng, True) if memory else str(pick(rng, GREY_PICTURES))
    shape, meanings = draw_shape(rng), {}
    for id in draw_ids(rng):
        meaning = mask_meaning(rng, shape)
        edge = np.abs(meaning.pred - 0.5) < 0.15
        meanings[id] = replace(meaning, target=np.where(edge, 128 / 255, meaning.target))
    truth = Store("soft", container, "uint8", 255)
    stores = {"pred": store(rng, memory), "target": truth}
    drawn = Drawn("", "binary", stores, meanings, names=("background", "foreground"))
    drawn.losses = draw_losses(rng, SCORES)
    return drawn


def _class_values(rng: Random, count: int) -> tuple[int, ...]:
    """Stored labels: 0 … k, 1 … k, or some of the numbers below 32."""
    kind = rng.random()
    if kind < 0.7:
        return tuple(range(count))
    if kind < 0.8:
        return tuple(range(1, count + 1))
    return tuple(sorted(map(int, rng.choice(32, count, replace=False))))


def _label_maps(rng: Random) -> Drawn:
    """Label maps against label maps."""
    memory, void = bool(rng.random() < 0.35), bool(rng.random() < 0.3)
    count = int(rng.integers(3, 7)) if rng.random() < 0.85 else int(rng.integers(7, 21))
    values = _class_values(rng, count)
    truth, pred = label_store(rng, memory, values, void), label_store(rng, memory, values)
    shape = draw_shape(rng) if rng.random() < 0.93 else (*draw_shape(rng), int(rng.integers(3, 7)))
    if len(shape) == 3:  # volumes
        memory = truth.container == "memory"
        truth, pred = (
            replace(side, container="memory" if memory else "npy", order="DHW", palette=(),
                    dtype=side.dtype if memory else "int16")
            for side in (truth, pred)
        )  # fmt: skip
    meanings = {id: class_meaning(rng, shape, count, void) for id in draw_ids(rng)}
    spread = "sparse labels" if values[-1] > count else "labels"
    drawn = Drawn(
        f"{spread} against {spread}{' with void' if void else ''}",
        "multiclass", {"pred": pred, "target": truth}, meanings, names=tuple(map(str, values)),
    )  # fmt: skip
    drawn.losses = draw_losses(rng, SCORES)
    return mix(rng, drawn, LABEL_FILES) if len(shape) == 2 else drawn


def _stacks(rng: Random) -> Drawn:
    """One number a class in predictions, in the ground truth, or in both."""
    memory, void = bool(rng.random() < 0.35), bool(rng.random() < 0.25)
    count = int(rng.integers(2, 9))
    values = tuple(range(count))
    which = rng.random()
    if which < 0.7:
        truth = label_store(rng, memory, values, void and count > 2)
        pred = stack_store(rng, memory)
        kind = f"{pred.form} against labels"
    else:
        void = False
        truth = stack_store(rng, memory, str(pick(rng, ("one-hot", "one-hot", "stack"))))
        if which < 0.85:
            pred, kind = label_store(rng, memory, values), f"labels against {truth.form}"
            if count < 3:
                pred = replace(pred, palette=BLACK_WHITE if pred.palette else ())
        else:
            pred = stack_store(rng, memory)
            kind = f"{pred.form} against {truth.form}"
    void = void and count > 2
    if count == 2 and truth.form == "labels" and truth.palette:
        truth = replace(truth, palette=BLACK_WHITE)
    shape = draw_shape(rng)
    meanings = {id: class_meaning(rng, shape, count, void) for id in draw_ids(rng)}
    names = tuple(map(str, values))
    drawn = Drawn(kind, "multiclass", {"pred": pred, "target": truth}, meanings, names=names)
    drawn.losses = draw_losses(rng, SCORES)
    return mix(rng, drawn, STACK_FILES)


def _volumes(rng: Random) -> Drawn:
    """NIfTI volumes of masks, probabilities or labels."""
    shape = (int(rng.integers(12, 20)), int(rng.integers(9, 12)), int(rng.integers(1, 6)))
    ids, kind = draw_ids(rng)[:3], str(pick(rng, ("mask", "soft", "labels", "stack")))
    whole = pick(rng, ("uint8", "int16", "float32", "float64"))
    other = pick(rng, ("uint8", "int16", "float32"))
    names: tuple[str, ...] = ("background", "foreground")
    if kind in ("mask", "soft"):
        meanings = {id: mask_meaning(rng, shape) for id in ids}
        truth = Store("hard", "nii", whole, 1, "DHW")
        pred = Store("hard", "nii", other, 1, "DHW")
        if kind == "soft":
            pred = Store("soft", "nii", pick(rng, FLOATS[1:]), 1, "DHW")
    else:
        count = int(rng.integers(3, 6))
        meanings = {id: class_meaning(rng, shape, count) for id in ids}
        values = tuple(range(count)) if rng.random() < 0.7 else (0, 1, 2, 4, 7)[:count]
        values = tuple(range(count)) if kind == "stack" else values
        truth = Store("labels", "nii", whole, 1, "DHW", values)
        pred = Store("labels", "nii", other, 1, "DHW", values)
        if kind == "stack":
            pred = Store("stack", "nii", pick(rng, FLOATS[1:]), 1, "CDHW")
        names = tuple(map(str, values))
    task = "binary" if kind in ("mask", "soft") else "multiclass"
    stores = {"pred": pred, "target": truth}
    drawn = Drawn(f"volumes: {kind}", task, stores, meanings, names=names)
    drawn.losses = draw_losses(rng, SCORES)
    return drawn


def _pictures(rng: Random) -> Drawn:
    """Grey or colour pictures."""
    memory, channels = bool(rng.random() < 0.35), int(pick(rng, (1, 3, 3)))
    kinds = pick(rng, (
        ("bytes", "bytes"), ("bytes", "bytes"), ("bytes", "bytes"), ("unit", "bytes"),
        ("unit", "unit"), ("signed", "signed"), ("words", "words"), ("bytes", "unit"),
        ("bytes", "words"),
    ))  # fmt: skip
    pred, truth = (picture_store(rng, memory, channels, kind) for kind in kinds)
    shape = draw_shape(rng)
    meanings = {id: picture_meaning(rng, shape, channels) for id in draw_ids(rng)}
    kind = f"{'grey' if channels == 1 else 'colour'} pictures: {kinds[0]} against {kinds[1]}"
    if kinds == ("bytes", "bytes") and rng.random() < 0.15:  # low contrast
        for meaning in meanings.values():
            for side in ("pred", "target"):
                setattr(meaning, side, 0.25 + 0.45 * getattr(meaning, side))
        kind += ", low contrast"
    elif kinds == ("bytes", "bytes") and channels == 3 and rng.random() < 0.1 and not memory:
        pred = replace(pred, container="png colours")
        kind += ", palette"
    drawn = Drawn(kind, "image", {"pred": pred, "target": truth}, meanings)
    drawn.unit = 2 if "signed" in kind else 1
    drawn.losses = draw_losses(rng, (["l1"], ["l1", "psnr"] if drawn.unit == 1 else ["l1"]))
    return mix(rng, drawn, PICTURE_FILES)


def _dark_pictures(rng: Random) -> Drawn:
    """Dark grey pictures with a loss of pictures."""
    drawn = draw_dark_pictures(rng)
    drawn.kind, drawn.losses, drawn.undecided = "dark pictures with psnr", ["psnr"], ""
    return drawn


def draw_grey_pictures(rng: Random, memory: bool, kinds: tuple[str, str]) -> Drawn:
    pred, truth = (picture_store(rng, memory, 1, kind) for kind in kinds)
    shape = draw_shape(rng)
    meanings = {id: picture_meaning(rng, shape, 1) for id in draw_ids(rng)}
    drawn = Drawn("", "image", {"pred": pred, "target": truth}, meanings)
    drawn.losses = draw_losses(rng, (["l1"], ["psnr", "l1"]))
    return drawn


def draw_dark_pictures(rng: Random) -> Drawn:
    """Grey pictures with nothing above 31."""
    drawn = draw_grey_pictures(rng, bool(rng.random() < 0.35), ("bytes", "bytes"))
    drawn.losses = draw_losses(rng, (["l1"],))
    for role, store in drawn.stores.items():
        drawn.stores[role] = replace(store, container=store.container.replace("jpg", "png"))
    for meaning in drawn.meanings.values():
        meaning.pred, meaning.target = meaning.pred * 0.12, meaning.target * 0.12
    return drawn


DRAWS = (
    *[draw_masks] * 5, *[_soft_edges] * 2, _trimaps, *[_label_maps] * 4, *[_stacks] * 4, _volumes,
    *[_pictures] * 4, _dark_pictures,
)  # fmt: skip
