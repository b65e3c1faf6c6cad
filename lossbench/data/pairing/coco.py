"""COCO's detection format: `results.json` lists detections, `instances.json` objects."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import (
    Callable,
    Collection,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, NamedTuple, cast

import numpy as np

from lossbench.data.formats.boxes import Boxes, BoxTable
from lossbench.data.formats.coco_entries import EntryColumns, columns_of, parse_quickly
from lossbench.data.formats.coco_masks import Segmentations
from lossbench.data.pairing.pairs import Category, Pairing
from lossbench.data.pairing.panoptic import load_json, sort_images
from lossbench.errors import InputError, either, mismatch

BEGINNING = 1000  # bytes of a JSON file that tell a list from an object
LISTS = ("images", "annotations", "categories")
ODD_PATH = re.compile(r"^\.*$|//|(^|/)\.(/|$)|/$")  # a path that can be written shorter
SIDES = ("height", "width")
SHOWN = 3  # ids that a message lists
RESULTS = (
    "expected COCO's results format: a list of detections, each with image_id, category_id, score"
    " and bbox [x, y, width, height] or segmentation"
)
INSTANCES = (
    "expected COCO's instances format: images (id, file_name), annotations (image_id, category_id,"
    " bbox, area, iscrowd) and categories (id, name)"
)


LVIS = ("neg_category_ids", "not_exhaustive_category_ids")


class CocoImage(NamedTuple):
    """A picture that the ground truth lists."""

    path: str
    name: str  # its path without a suffix
    height: int  # 0 where nobody says
    width: int

    @classmethod
    def of(cls, id_: Hashable, values: Mapping[str, Any]) -> CocoImage:
        """An entry of the list of images, which has been checked."""
        path = normal_path(str(values.get("file_name", id_)))
        height, width = (int(values.get(side, 0)) for side in SIDES)
        return cls(path, without_suffix(path), height, width)

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its file that tools write for its id."""
        names = self.path, self.name
        return tuple(dict.fromkeys((*names, *(each.rpartition("/")[2] for each in names))))


def is_results(path: str) -> bool:
    """Whether a JSON file begins as a list of detections does."""
    try:
        with open(path, "rb") as file:
            start = file.read(BEGINNING)
        return start.decode(json.detect_encoding(start), "ignore").lstrip().startswith("[")
    except (OSError, ValueError):
        return False


def read_coco(pred: str | None, target: str) -> Pairing:
    """Pair the images that the ground truth lists with their detections.

    A sample's id is the image's file_name without its ending, or else its image_id. An image that
    the results do not name has no detections; without results no image has any.

    Raises:
        InputError: a file is not of its format, or names what the other does not know.
    """
    quick_truth = parse_quickly("target", target)
    quick_results = parse_quickly("pred", pred) if pred else None
    truth = quick_truth[0] if quick_truth else load_json("target", target)
    results = load_json("pred", pred) if pred and not quick_results else []
    if not isinstance(truth, dict):
        what = "it is a list, as results are: are PRED and GT swapped?"
        raise mismatch(f"{target} is of another kind: {what}; {INSTANCES}")
    if lost := [key for key in LISTS if not isinstance(truth.get(key), list)]:
        raise mismatch(
            f"{target} is of another kind: it has no list {either(map(repr, lost))}; {INSTANCES}"
        )
    if not isinstance(results, list):
        raise mismatch(f"{pred} is of another kind: it is no list; {RESULTS}")
    categories = tuple(_categories(target, truth["categories"]))
    images = _images(target, truth["images"])
    known = KnownIds(images, categories)
    lists = {
        "pred": ObjectList("pred", pred or "", "detection", results, RESULTS),
        "target": ObjectList("target", target, "annotation", truth["annotations"], INSTANCES),
    }
    parsed = (quick and quick[1] for quick in (quick_results, quick_truth))
    sides = [
        by_image(each.columns(known, columns), each, images)
        for each, columns in zip(lists.values(), parsed, strict=True)
    ]
    pairing = Pairing(categories=categories, notes=_notes_of_lvis(truth))
    for image, *boxes in zip(images.values(), *sides, strict=True):
        sources = {role: (each,) for role, each in zip(lists, boxes, strict=True)}
        pairing.pairs.append(image.name, sources)
    sort_images(pairing, target)
    if not pairing.pairs:
        raise InputError(
            f"{target} lists no picture in 'images'; {INSTANCES}, as the file that came with the"
            " ground truth has them",
            kind="missing",
        )
    return pairing


def _notes_of_lvis(truth: Mapping[str, Any]) -> tuple[str, ...]:
    """What LVIS says of its images and COCO's rules leave aside."""
    images = [each for each in truth["images"] if isinstance(each, dict)]
    keys = [key for key in LVIS if any(each.get(key) for each in images)]
    if not keys:
        return ()
    return (
        f"the ground truth has LVIS's {' and '.join(keys)}, which COCO's rules leave aside:"
        " detections of classes that an image was not searched for count as false; LVIS's rules"
        " also take 300 detections an image",
    )


@dataclass(frozen=True)
class CocoRecord:
    """One object of a JSON list, and how a message names it."""

    file: str
    kind: str
    number: int
    expected: str
    values: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        if key not in self.values:
            raise self.unfit(f"has no {key}; {self.expected}")
        return self.values[key]

    def unfit(self, what: str) -> InputError:
        image = self.values.get("image_id")
        of_image = "" if image is None else f" (image_id {image!r})"
        return mismatch(f"{self.file}: {self.kind} {self.number}{of_image} {what}")

    def key(self, name: str) -> Hashable:
        """A number or a word that others refer to; tables write whole numbers as floats."""
        value = self[name]
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise self.unfit(f"has the {name} {value!r}; expected a whole number")
        return value

    def float_of(self, name: str) -> float:
        """A finite number."""
        value = self[name]
        if not _finite(value):
            raise self.unfit(f"has the {name} {value!r}; expected a finite number")
        return float(value)

    def box(self) -> list[float]:
        """x, y, width and height."""
        value = self["bbox"]
        if not isinstance(value, list) or len(value) != 4 or not all(map(_finite, value)):
            raise self.unfit(
                f"has the bbox {value!r}; expected four finite numbers: x, y, width, height"
            )
        if min(value[2:]) < 0:
            raise self.unfit(f"has the bbox {value!r}, whose width or height is below 0")
        return [float(each) for each in value]


def _finite(value: Any) -> bool:
    """Whether a value is a finite number."""
    return type(value) in (int, float) and math.isfinite(value)


def _entries(file: str, kind: str, listed: Iterable[Any], expected: str) -> Iterator[CocoRecord]:
    """Each object of a list."""
    for number, values in enumerate(listed, 1):
        if not isinstance(values, dict):
            raise mismatch(f"{file}: {kind} {number} is no object; {expected}")
        yield CocoRecord(file, kind, number, expected, values)


def _categories(file: str, listed: Iterable[Any]) -> Iterator[Category]:
    """The categories, each checked."""
    ids, names = set[Hashable](), set[str]()
    for entry in _entries(file, "category", listed, INSTANCES):
        id_, name = entry.key("id"), str(entry["name"])
        if not isinstance(id_, int):
            raise entry.unfit(f"has the id {id_!r}; expected a whole number")
        if id_ in ids or name in names:
            raise entry.unfit(f"{name!r} ({id_}) is there twice")
        ids.add(id_)
        names.add(name)
        yield Category(id_, name, thing=True)
    if not ids:
        raise mismatch(f"{file} has no categories")


def _images(file: str, listed: Sequence[Any]) -> dict[Hashable, CocoImage]:
    """The pictures by image_id, in the order in which pycocotools goes through them."""
    entries = dict[Hashable, Mapping[str, Any]]()
    for entry in _entries(file, "image", listed, INSTANCES):
        if (id_ := entry.key("id")) in entries:
            raise entry.unfit(f"has the id {id_!r}, which is there twice")
        entries[id_] = entry.values
        for side in SIDES:
            if side in entry.values:
                entry.float_of(side)
    order = sorted(entries, key=lambda id_: (isinstance(id_, str), id_))
    return {id_: CocoImage.of(id_, entries[id_]) for id_ in order}


def normal_path(path: str) -> str:
    """A relative path as `PurePosixPath` writes it."""
    return str(PurePosixPath(path)) if ODD_PATH.search(path) else path


def without_suffix(path: str) -> str:
    """A path without the ending of its last name."""
    name = path.rpartition("/")[2]
    dot = name.rfind(".")
    return path[: dot - len(name)] if 0 < dot < len(name) - 1 else path


class KnownIds:
    """The images and categories that entries may refer to, by id or by a name that is unique."""

    def __init__(
        self, images: Mapping[Hashable, CocoImage], categories: Sequence[Category]
    ) -> None:
        self.images, self.categories = images, categories
        self.image_index = {id_: index for index, id_ in enumerate(images)}
        self.category_index = {each.id: index for index, each in enumerate(categories)}

    @cached_property
    def image_names(self) -> dict[Hashable, Hashable]:
        """The image_id of each way to write it."""
        return _keys(self.images, lambda id_: (str(id_), *self.images[id_].files))

    @cached_property
    def category_names(self) -> dict[Hashable, Hashable]:
        """The category_id of each way to write it."""
        names = {each.id: (str(each.id), each.name) for each in self.categories}
        return _keys(names, names.__getitem__)

    def refer(self, entry: CocoRecord) -> tuple[int, int]:
        """The indices of an entry's image and category.

        Raises:
            InputError: the ground truth lacks one of them.
        """
        image = _known(entry, "image_id", self.image_names)
        if image is None:
            ids = _shown(self.image_index)
            raise entry.unfit(f"is in no image of the ground truth, whose ids are {ids}")
        category = _known(entry, "category_id", self.category_names)
        if category is None:
            raise entry.unfit(
                f"has the category_id {entry['category_id']!r}, which the ground truth lacks; it"
                f" has {_shown(self.category_index)}"
            )
        return self.image_index[image], self.category_index[cast(int, category)]


def _keys(
    ids: Iterable[Hashable], names: Callable[[Any], Iterable[str]]
) -> dict[Hashable, Hashable]:
    """What an id may be written as: itself or, where one id alone has it, one of its names."""
    of_name = defaultdict[Hashable, set[Hashable]](set)
    for id_ in ids:
        for name in names(id_):
            of_name[name].add(id_)
    alone = {name: next(iter(same)) for name, same in of_name.items() if len(same) == 1}
    return alone | {id_: id_ for id_ in ids}


class ObjectList(NamedTuple):
    """The detections or the objects of a JSON file."""

    role: str
    file: str
    kind: str
    listed: list[Any]
    expected: str

    def columns(self, known: KnownIds, parsed: EntryColumns | None) -> EntryColumns:
        """The entries with the indices of their images and categories.

        They are checked together where all are of the usual types, else one by one.

        Raises:
            InputError: an entry is not of the format.
        """
        usual = parsed or columns_of(self.role, self.listed)
        try:
            if usual:
                image = [known.image_index[each] for each in usual.image]
                category = [known.category_index[each] for each in usual.category]
                return usual._replace(image=image, category=category)
        except KeyError:
            pass
        if parsed:  # an entry refers to nothing that is known; the json module keeps its order
            loaded = load_json(self.role, self.file)
            listed = loaded if self.role == "pred" else loaded["annotations"]
            return self._replace(listed=listed)._each(known)
        return self._each(known)

    def _each(self, known: KnownIds) -> EntryColumns:
        """The columns of any entries."""
        ids, rows = set[Hashable](), list[tuple[Any, ...]]()
        images = list(known.images.values())
        for entry in _entries(self.file, self.kind, self.listed, self.expected):
            image, category = known.refer(entry)
            if self.role == "target" and "id" in entry.values:
                if entry.key("id") in ids:
                    raise entry.unfit(f"has the id {entry.key('id')!r}, which is there twice")
                ids.add(entry.key("id"))
            mask = entry.values.get("segmentation")
            box, area = _box_and_area(self.role, entry, images[image], mask)
            score = entry.float_of("score") if self.role == "pred" else 0.0
            crowd = self.role == "target" and bool(entry.values.get("iscrowd", 0))
            rows.append((image, category, box, area, score, crowd, mask))
        columns: list[Any] = list(zip(*rows, strict=True)) or [()] * len(EntryColumns._fields)
        of_images, categories, boxes, areas, scores, crowds, masks = columns
        sides = np.array(boxes, np.float64).reshape(-1, 4)
        sizes, values = np.array(areas, np.float64), np.array(scores, np.float64)
        return EntryColumns(of_images, categories, sides, sizes, values, crowds, masks)


def by_image(
    columns: EntryColumns, listed: ObjectList, images: Mapping[Hashable, CocoImage]
) -> Iterator[Boxes]:
    """The boxes of each image."""
    image = np.array(columns.image, np.int64)
    order = image.argsort(kind="stable")
    stops = np.bincount(image, minlength=len(images)).cumsum().tolist()
    box = columns.box[order]
    table = BoxTable(
        np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], 1),
        box[:, 2:].prod(-1),
        columns.area[order],
        np.array(columns.category, np.int64)[order],
        columns.score[order],
        np.array(columns.crowd, np.bool_)[order],
    )
    has_masks = columns.mask.count(None) < len(columns.mask)
    masks = [columns.mask[index] for index in order.tolist()] if has_masks else []
    start = 0
    for number, (id_, image_) in enumerate(images.items()):
        stop = stops[number]
        of_image, shape = tuple(masks[start:stop]), (image_.height, image_.width)
        segmentations = None
        if of_image and None not in of_image:
            where = f"{listed.file} (image_id {id_})"
            segmentations = Segmentations(of_image, *shape, where)
        yield Boxes(table, start, stop, segmentations, number, shape[::-1])
        start = stop


def _known(entry: CocoRecord, name: str, ids: Mapping[Hashable, Hashable]) -> Hashable | None:
    """The id that an entry refers to; a number may be written as text, and the other way round."""
    key = entry.key(name)
    return ids[key] if key in ids else ids.get(str(key))


def _shown(ids: Collection[Hashable]) -> str:
    """The first of some ids."""
    more = ", …" if len(ids) > SHOWN else ""
    return ", ".join(map(repr, islice(ids, SHOWN))) + more or "none"


def _box_and_area(
    role: str, entry: CocoRecord, image: CocoImage, mask: Any
) -> tuple[list[float], float]:
    """The box of an entry and its area, as pycocotools has them.

    A detection has the area of its box, or without one that of its mask; an object that of its
    `area`, which is the mask's.
    """
    if role == "pred" and "bbox" not in entry.values and mask is not None:
        where = f"{entry.file} (image_id {entry['image_id']})"
        alone = Segmentations((mask,), image.height, image.width, where)
        return alone.boxes[0], alone.areas[0]
    box = entry.box()
    if role == "target" and "area" in entry.values:
        return box, entry.float_of("area")
    return box, box[2] * box[3]
