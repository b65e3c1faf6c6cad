"""Entries of COCO's JSON files as columns, parsed by msgspec where that package is installed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from operator import attrgetter
from pathlib import Path
from types import GenericAlias
from typing import Any, NamedTuple

import numpy as np

from lossbench.runtime.array_types import FloatArray

Lists = dict[str, list[Any]]
UNUSUAL = (KeyError, TypeError, ValueError, OverflowError, AttributeError)
REQUIRED = {
    "pred": ("image_id", "category_id", "bbox", "score"),
    "target": ("image_id", "category_id", "bbox"),
}
# What stands for a key that an entry lacks.
OPTIONAL: dict[str, dict[str, Any]] = {
    "pred": {"segmentation": None},
    "target": {"segmentation": None, "area": ..., "iscrowd": 0, "id": ...},
}


class EntryColumns(NamedTuple):
    """The N detections or objects of a file, all of which are finite."""

    image: Sequence[Any]  # image_id
    category: Sequence[Any]  # category_id
    box: FloatArray  # (N, 4) x, y, width, height
    area: FloatArray
    score: FloatArray  # of a detection
    crowd: Sequence[bool]  # of an object
    mask: Sequence[Any]  # None where there is none


def parse_quickly(role: str, file: str) -> tuple[dict[str, Any], EntryColumns] | None:
    """The lists of a file beside its entries, and these as columns.

    None without msgspec and of a file with unusual entries or errors: the json module parses it.
    """
    try:
        import msgspec
    except ImportError:
        return None
    try:
        loaded = _decoder(role).decode(Path(file).read_bytes())
        entries = loaded if role == "pred" else loaded.annotations
        names = (*REQUIRED[role], *OPTIONAL[role])
        columns = _columns({name: list(map(attrgetter(name), entries)) for name in names})
    except (OSError, RecursionError, msgspec.MsgspecError, *UNUSUAL):
        return None
    others = {} if role == "pred" else msgspec.structs.asdict(loaded)
    return (others, columns) if columns else None


def columns_of(role: str, entries: Sequence[Any]) -> EntryColumns | None:
    """The columns of entries with whole numbers as ids and with a box; None if one is unusual."""
    try:
        lists: Lists = {name: [each[name] for each in entries] for name in REQUIRED[role]}
        for name, default in OPTIONAL[role].items():
            lists[name] = [each.get(name, default) for each in entries]
        return _columns(lists) if _is_usual(lists) else None
    except UNUSUAL:
        return None


@cache
def _decoder(role: str) -> Any:
    """A decoder of one side, which checks the types of its entries."""
    import msgspec

    box = tuple[float, float, float, float]
    ids: list[Any] = [("image_id", int), ("category_id", int), ("bbox", box)]
    if role == "pred":
        fields: list[Any] = [*ids, ("score", float), ("segmentation", Any, None)]
        return msgspec.json.Decoder(_list_of(msgspec.defstruct("Detection", fields, gc=False)))
    types = {"segmentation": Any, "area": float, "iscrowd": Any, "id": int}
    more: list[Any] = [(name, types[name], default) for name, default in OPTIONAL[role].items()]
    entries = _list_of(msgspec.defstruct("Object", [*ids, *more], gc=False))
    lists = [("images", list[Any]), ("annotations", entries), ("categories", list[Any])]
    return msgspec.json.Decoder(msgspec.defstruct("Instances", lists))


def _list_of(struct: type) -> Any:
    return GenericAlias(list, (struct,))


def _is_usual(lists: Lists) -> bool:
    """Whether parsed entries have the types that the decoder checks."""
    missing = {type(...)}
    ids = {*map(type, lists["image_id"]), *map(type, lists["category_id"])}
    ids |= set(map(type, lists.get("id", ()))) - missing
    are_boxes = set(map(type, lists["bbox"])) <= {list} and set(map(len, lists["bbox"])) <= {4}
    numbers = {*map(type, chain.from_iterable(lists["bbox"])), *map(type, lists.get("score", ()))}
    numbers |= set(map(type, lists.get("area", ()))) - missing
    return ids <= {int} and are_boxes and numbers <= {int, float}


def _columns(lists: Lists) -> EntryColumns | None:
    """Lists as columns; None where a number is not finite, a width below 0 or an id repeated."""
    count = len(lists["bbox"])
    box = np.fromiter(chain.from_iterable(lists["bbox"]), np.float64, 4 * count).reshape(-1, 4)
    area, score = box[:, 2] * box[:, 3], np.zeros(count)
    is_finite = np.isfinite(box).all()
    if "score" in lists:
        score = np.array(lists["score"], np.float64)
        is_finite &= np.isfinite(score).all()
    else:
        has_area = np.array([each is not ... for each in lists["area"]], np.bool_)
        stored = [0.0 if each is ... else each for each in lists["area"]]
        area = np.where(has_area, np.array(stored, np.float64), area)
        is_finite &= np.isfinite(area).all()
    ids = [each for each in lists.get("id", ()) if each is not ...]
    if not is_finite or (box[:, 2:] < 0).any() or len(set(ids)) < len(ids):
        return None
    crowd = list(map(bool, lists["iscrowd"])) if "iscrowd" in lists else [False] * count
    return EntryColumns(
        lists["image_id"], lists["category_id"], box, area, score, crowd, lists["segmentation"]
    )
