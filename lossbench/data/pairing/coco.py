"""COCO's detection format: `results.json` lists detections, `instances.json` objects."""

from __future__ import annotations

import json
import math
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
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from lossbench.data.formats.boxes import Boxes
from lossbench.data.formats.coco_masks import Segmentations
from lossbench.data.pairing.pairs import Category, Pairing
from lossbench.data.pairing.panoptic import load_json, sort_images
from lossbench.errors import InputError, either, mismatch

BEGINNING = 1000  # bytes of a JSON file that tell a list from an object
LISTS = ("images", "annotations", "categories")
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


@dataclass(frozen=True)
class CocoImage:
    """A picture that the ground truth lists."""

    name: str
    files: tuple[str, ...]  # the names of its file that tools write for its id
    order: int  # by image_id, in which pycocotools goes through them
    height: int
    width: int


class CocoObject(NamedTuple):
    """A detection, or an object of the ground truth."""

    box: list[float]  # x, y, width, height
    area: float
    category: int  # its index
    score: float
    crowd: bool
    mask: Any  # None where there is none


def is_results(path: str) -> bool:
    """Whether a JSON file begins as a list of detections does."""
    try:
        with open(path, "rb") as file:
            start = file.read(BEGINNING)
        return start.decode(json.detect_encoding(start), "ignore").lstrip().startswith("[")
    except (OSError, ValueError):
        return False


def read_coco(pred: str, target: str) -> Pairing:
    """Pair the images that the ground truth lists with their detections.

    A sample's id is the image's file_name without its ending, or else its image_id. An image that
    the results do not name has no detections.

    Raises:
        InputError: a file is not of its format, or names what the other does not know.
    """
    truth, results = load_json("target", target), load_json("pred", pred)
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
    indices = {category.id: index for index, category in enumerate(categories)}
    known = _keys(images, lambda id_: (str(id_), *images[id_].files))
    of_class = _keys(indices, lambda id_: (str(id_), categories[indices[id_]].name))
    detections = _entries(pred, "detection", results, RESULTS)
    annotations = _entries(target, "annotation", truth["annotations"], INSTANCES)
    sides = {
        "pred": (pred, _by_image("pred", detections, images, known, indices, of_class)),
        "target": (target, _by_image("target", annotations, images, known, indices, of_class)),
    }
    pairing = Pairing(categories=categories, notes=_notes_of_lvis(truth))
    for id_, image in images.items():
        sources = {
            role: (_boxes(image, f"{file} (image_id {id_})", by_image.get(id_, ())),)
            for role, (file, by_image) in sides.items()
        }
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


def _images(file: str, listed: Iterable[Any]) -> dict[Hashable, CocoImage]:
    """The pictures by image_id."""
    entries = dict[Hashable, CocoRecord]()
    for entry in _entries(file, "image", listed, INSTANCES):
        if entries.setdefault(id_ := entry.key("id"), entry) is not entry:
            raise entry.unfit(f"has the id {id_!r}, which is there twice")
    images = dict[Hashable, CocoImage]()
    for order, id_ in enumerate(sorted(entries, key=lambda id_: (isinstance(id_, str), id_))):
        entry = entries[id_]
        path = PurePosixPath(str(entry.values.get("file_name", id_)))
        files = tuple(dict.fromkeys((str(path), str(path.with_suffix("")), path.name, path.stem)))
        size = (
            int(entry.float_of(side)) if side in entry.values else 0 for side in ("height", "width")
        )
        images[id_] = CocoImage(str(path.with_suffix("")), files, order, *size)
    return images


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


def _by_image(
    role: str,
    entries: Iterable[CocoRecord],
    images: Mapping[Hashable, CocoImage],
    image_ids: Mapping[Hashable, Hashable],
    indices: Mapping[Any, int],
    category_ids: Mapping[Hashable, Hashable],
) -> dict[Hashable, list[CocoObject]]:
    """The entries of one side by image_id."""
    by_image, ids = defaultdict[Hashable, list[CocoObject]](list), set[Hashable]()
    for entry in entries:
        image = _known(entry, "image_id", image_ids)
        if image is None:
            raise entry.unfit(f"is in no image of the ground truth, whose ids are {_shown(images)}")
        category = _known(entry, "category_id", category_ids)
        if category is None:
            raise entry.unfit(
                f"has the category_id {entry['category_id']!r}, which the ground truth lacks; it"
                f" has {_shown(indices)}"
            )
        if role == "target" and "id" in entry.values:
            if entry.key("id") in ids:
                raise entry.unfit(f"has the id {entry.key('id')!r}, which is there twice")
            ids.add(entry.key("id"))
        mask = entry.values.get("segmentation")
        box, area = _box_and_area(role, entry, images[image], mask)
        score = entry.float_of("score") if role == "pred" else 0.0
        crowd = role == "target" and bool(entry.values.get("iscrowd", 0))
        by_image[image].append(CocoObject(box, area, indices[category], score, crowd, mask))
    return by_image


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


def _boxes(image: CocoImage, where: str, objects: Sequence[CocoObject]) -> Boxes:
    """The entries of one image as arrays."""
    columns = zip(*objects, strict=True) if objects else [()] * 6
    sides, areas, classes, scores, crowds, masks = columns
    boxes = np.array(sides, np.float64).reshape(-1, 4)
    all_masked = objects and None not in masks
    return Boxes(
        np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1),
        boxes[:, 2:].prod(-1),
        np.array(areas, np.float64),
        np.array(classes, np.int64),
        np.array(scores, np.float64),
        np.array(crowds, np.bool_),
        Segmentations(masks, image.height, image.width, where) if all_masked else None,
        image.order,
        (image.width, image.height),
    )
