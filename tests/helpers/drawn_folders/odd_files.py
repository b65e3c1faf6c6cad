"""Files of another, legitimate kind among the rest of a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from helpers.drawn_folders.meaning import Drawn, Random, Store, away_from_half, class_meaning, pick
from helpers.drawn_folders.stores import FLOATS, GREY_PICTURES, PICTURE_CONTAINERS, VOC, class_axis

SHARE_MIXED = 0.6


def mix(rng: Random, drawn: Drawn, kinds: Sequence[Callable[[Random, Drawn, str], str]]) -> Drawn:
    """Make one file of another, legitimate kind, in some of the draws."""
    if len(drawn.meanings) < 2 or rng.random() > SHARE_MIXED:
        return drawn
    ids = list(drawn.meanings)
    id = str(pick(rng, ids[1:]))
    for number in rng.permutation(len(kinds)):
        if mixed := kinds[number](rng, drawn, id):
            drawn.mixed, drawn.odd = mixed, (id,)
            break
    return drawn


def draw_role(rng: Random) -> str:
    return "pred" if rng.random() < 0.5 else "target"


def _blank_file(rng: Random, drawn: Drawn, id: str) -> str:
    """A file without foreground, or with nothing else."""
    role, value = draw_role(rng), float(rng.random() < 0.25)
    soft = role == "pred" and drawn.stores["pred"].form in ("soft", "logits")
    meaning = drawn.meanings[id]
    side = getattr(meaning, role)
    setattr(meaning, role, np.full_like(side, abs(value - 0.02) if soft else value))
    return f"{role} all {'foreground' if value else 'background'}"


def _void_file(rng: Random, drawn: Drawn, id: str) -> str:
    """A ground truth that is all void, or void beside background."""
    meaning = drawn.meanings[id]
    if not any(each.void.any() for each in drawn.meanings.values()):
        return ""
    if rng.random() < 0.5:
        meaning.void = np.ones_like(meaning.void)
        return "all void"
    meaning.target = np.zeros_like(meaning.target)
    if drawn.task == "multiclass":
        meaning.target[0] = 1
    return "void and background"


def _low_file(rng: Random, drawn: Drawn, id: str) -> str:
    """Probabilities that never reach one half."""
    if drawn.stores["pred"].form != "soft":
        return ""
    meaning = drawn.meanings[id]
    meaning.pred = meaning.pred * rng.uniform(0.08, 0.45)
    return "probabilities below one half"


def _hard_file(rng: Random, drawn: Drawn, id: str) -> str:
    """A mask among probabilities, of the values 0 and full."""
    store = drawn.stores["pred"]
    if store.form != "soft":
        return ""
    drawn.others["pred", id] = replace(store, form="hard")
    return "mask among probabilities"


def _soft_file(rng: Random, drawn: Drawn, id: str) -> str:
    """Probabilities or soft edges among masks of 0 and full."""
    role = draw_role(rng)
    store = drawn.stores[role]
    if store.form != "hard" or store.one != 255 or store.dtype != "uint8":
        return ""
    if role == "target":
        if drawn.meanings[id].void.any() or store.container == "jpg L":
            return ""
        waves = 2 * drawn.meanings[id].pred - 1
        drawn.meanings[id].target = away_from_half(np.clip(2 * waves + 0.5, 0, 1))
    drawn.others[role, id] = replace(store, form="soft")
    return f"{role} soft among masks"


def _other_foreground(rng: Random, drawn: Drawn, id: str) -> str:
    """One mask of 0 and 1 among masks of 0 and 255, or the other way round."""
    role = draw_role(rng)
    store = drawn.stores[role]
    if store.form != "hard" or store.one not in (1, 255) or store.dtype in ("bool", "int8"):
        return ""
    if drawn.meanings[id].void.any() and role == "target":
        return ""
    if store.palette or store.container == "jpg L":
        return ""
    if role == "target":
        drawn.undecided = "full or void"
    drawn.others[role, id] = replace(store, one=256 - store.one)
    return f"{role} 0/{256 - store.one} among 0/{store.one}"


def _other_container(rng: Random, drawn: Drawn, id: str) -> str:
    """The same numbers in another kind of picture."""
    role = draw_role(rng)
    store = drawn.stores[role]
    if store.dtype != "uint8" or " " not in store.container or "jpg" in store.container:
        return ""
    choices = {
        "hard": GREY_PICTURES, "soft": GREY_PICTURES, "labels": ("png L", "tif L", "png P"),
        "picture": PICTURE_CONTAINERS[min(3, len(drawn.meanings[id].target))],
    }[store.form]  # fmt: skip
    container = str(pick(rng, choices))
    if container in (store.container, "jpg L", "jpg RGB"):
        return ""
    palette = VOC if container == "png P" else ()
    drawn.others[role, id] = replace(store, container=container, palette=palette)
    return f"{role} {container} among {store.container}"


def _other_type(rng: Random, drawn: Drawn, id: str) -> str:
    """The same numbers in another type, and where the type is the scale in its scale."""
    role = draw_role(rng)
    store = drawn.stores[role]
    if " " in store.container or store.container == "nii":
        return ""
    if store.dtype in FLOATS:
        dtype, one = str(pick(rng, FLOATS)), store.one
    elif store.form in ("hard", "labels", "one-hot") and store.dtype != "bool":
        dtype, one = str(pick(rng, ("uint8", "uint16", "int32", "int64"))), store.one
        if store.one > 255 and dtype == "uint8":
            return ""
    elif store.form in ("soft", "stack", "picture"):
        dtype = "uint16" if store.dtype == "uint8" else "uint8"
        one = np.iinfo(dtype).max
    else:
        return ""
    if dtype == store.dtype or (dtype in FLOATS and drawn.meanings[id].void.any()):
        return ""
    drawn.others[role, id] = replace(store, dtype=dtype, one=one)
    return f"{role} {dtype} among {store.dtype}"


def _other_order(rng: Random, drawn: Drawn, id: str) -> str:
    """The same array with other axes."""
    role = draw_role(rng)
    store = drawn.stores[role]
    if " " in store.container or store.container == "nii":
        return ""
    if store.form in ("stack", "one-hot", "logits stack"):
        order = {"CHW": "1CHW", "HWC": "CHW", "1CHW": "HWC", "1HWC": "CHW"}[store.order]
    else:
        order = {"HW": "1HW", "1HW": "HW", "HW1": "HW", "11HW": "HW1"}.get(store.order, "")
    if not order:
        return ""
    drawn.others[role, id] = replace(store, order=order)
    return f"{role} {order} among {store.order}"


def _absent_class(rng: Random, drawn: Drawn, id: str) -> str:
    """A file in which one class never occurs, in the truth or in both."""
    meaning = drawn.meanings[id]
    lost = int(rng.integers(len(meaning.target)))
    roles = ("target",) if rng.random() < 0.5 else ("target", "pred")
    for role in roles:
        side = getattr(meaning, role).copy()
        other = (lost + 1) % len(side)
        moved = np.where(side.argmax(0) == lost, 1.0, 0.0)
        if role == "target":
            side[other] += side[lost]
            side[lost] = 0
        else:
            side[other] = np.where(moved, side[other] + side[lost] * 0.99, side[other])
            side[lost] = np.where(moved, side[lost] * 0.01, side[lost])
        setattr(meaning, role, side)
    return f"class absent from {' and '.join(roles)}"


def _one_class(rng: Random, drawn: Drawn, id: str) -> str:
    """A ground truth that is one class throughout."""
    meaning = drawn.meanings[id]
    meaning.target = np.zeros_like(meaning.target)
    meaning.target[int(rng.integers(len(meaning.target)))] = 1
    return "truth of one class"


def _new_class(rng: Random, drawn: Drawn, id: str) -> str:
    """A class that occurs in one file alone."""
    values = drawn.stores["target"].values
    if not values or values != drawn.stores["pred"].values or values[-1] != len(values) - 1:
        return ""
    count = len(values)
    shape = drawn.meanings[id].target.shape[1:]
    void = bool(drawn.meanings[id].void.any())
    drawn.meanings[id] = class_meaning(rng, shape, count + 1, void)
    for role in drawn.stores:
        drawn.stores[role] = replace(drawn.stores[role], values=(*values, count))
    drawn.names = (*drawn.names, str(count))
    for other, meaning in drawn.meanings.items():
        if other != id:
            empty = np.zeros((1, *shape))
            meaning.pred, meaning.target = (
                np.concatenate([side, empty]) for side in (meaning.pred, meaning.target)
            )
    return "class in one file alone"


def _false_class(rng: Random, drawn: Drawn, id: str) -> str:
    """A prediction that confuses one class with another in this file alone."""
    meaning = drawn.meanings[id]
    first, second = rng.choice(len(meaning.pred), 2, replace=False)
    meaning.pred = meaning.pred.copy()
    meaning.pred[[first, second]] = meaning.pred[[second, first]]
    return "two classes confused"


def _hard_stack_file(rng: Random, drawn: Drawn, id: str) -> str:
    """One-hot numbers among softmax, in its type and scale."""
    store = drawn.stores["pred"]
    if store.form != "stack":
        return ""
    side = drawn.meanings[id].pred
    drawn.meanings[id].pred = (side.argmax(0) == class_axis(side)).astype(float)
    return "one-hot among softmax"


def _label_file(rng: Random, drawn: Drawn, id: str) -> str:
    """Labels among stacks."""
    store = drawn.stores["pred"]
    if store.form not in ("stack", "logits stack", "one-hot"):
        return ""
    values = tuple(range(len(drawn.meanings[id].pred)))
    container = store.container
    drawn.others["pred", id] = Store("labels", container, "uint8", 1, "HW", values)
    return "labels among stacks"


def _grey_pair(rng: Random, drawn: Drawn, id: str) -> str:
    """A pair of grey pictures among pictures in colour."""
    meaning = drawn.meanings[id]
    colour = len(meaning.target) == 3 and all(
        store.container in ("png RGB", "tif RGB", "bmp RGB") for store in drawn.stores.values()
    )
    if not colour:
        return ""
    meaning.pred, meaning.target = meaning.pred[:1], meaning.target[:1]
    for role, store in drawn.stores.items():
        drawn.others[role, id] = replace(store, container="png L")
    return "grey pair among colour"


def _grey_side(rng: Random, drawn: Drawn, id: str) -> str:
    """A grey picture against one in colour, among pictures in colour."""
    role = draw_role(rng)
    if drawn.stores[role].container not in ("png RGB", "tif RGB", "bmp RGB"):
        return ""
    meaning = drawn.meanings[id]
    setattr(meaning, role, np.repeat(getattr(meaning, role)[:1], len(meaning.target), 0))
    if len(meaning.target) < 3:
        return ""
    drawn.others[role, id] = replace(drawn.stores[role], container="png one")
    return f"{role} grey against colour"


def _black_picture(rng: Random, drawn: Drawn, id: str) -> str:
    """A black or a dark picture among bright ones."""
    meaning = drawn.meanings[id]
    share = 0.0 if rng.random() < 0.5 else 0.1
    meaning.target = meaning.target * share
    meaning.pred = meaning.pred * max(share, 0.02)
    return "dark picture" if share else "black picture"


MASK_FILES = (
    *[_blank_file] * 3, _low_file, _low_file, _hard_file, _hard_file, _soft_file, _soft_file,
    _void_file, _void_file, _other_foreground, _other_container, _other_type, _other_order,
)  # fmt: skip
LABEL_FILES = (
    *[_absent_class] * 3, *[_one_class] * 3, _void_file, _void_file, _new_class, _new_class,
    _false_class, _other_container, _other_type, _other_order,
)  # fmt: skip
STACK_FILES = (
    *[_absent_class] * 4, *[_one_class] * 4, *[_void_file] * 2, *[_hard_stack_file] * 2,
    _label_file, _other_type, _other_order,
)  # fmt: skip
PICTURE_FILES = (_grey_pair, _grey_pair, _black_picture, _other_container, _other_type, _grey_side)
