"""COCO's panoptic format: a JSON file that lists the segments of the PNGs in a folder beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lossbench.data.pairing.pairs import Category, ListedSegments, Pairing
from lossbench.data.sources.locations import label
from lossbench.data.sources.remote import is_url
from lossbench.errors import InputError, PairError, mismatch

EXPECTED = (
    "expected panopticapi's format: annotations, each with image_id, file_name and segments_info"
    " (id, category_id, iscrowd), and in the ground truth categories (id, name, isthing); boxes are"
    " read where PRED is COCO's results format, a list"
)


@dataclass(frozen=True)
class PanopticImage:
    """A PNG and the segments that its JSON file lists."""

    name: str
    path: str
    segments: ListedSegments


def is_json(path: Any) -> bool:
    """Whether something is the path of a JSON file."""
    return isinstance(path, str | os.PathLike) and os.fspath(path).lower().endswith(".json")


def read_panoptic(pred: str, target: str) -> Pairing:
    """Pair the images of two panoptic JSON files by image_id; the ground truth has the categories.

    PNGs are in the folder of the JSON file's name (`val/` for `val.json`), or else beside the file.

    Raises:
        InputError: a file is not of this format, or nothing matches.
    """
    files = {"pred": pred, "target": target}
    loaded = {role: load_json(role, file) for role, file in files.items()}
    if isinstance(loaded["target"], list):
        what = "is of another kind: it is a list, as COCO's results are; give PRED first, then GT"
        raise mismatch(f"{target} {what}; {EXPECTED}", "target")
    try:
        listed = loaded["target"]["categories"]
        categories = tuple(
            Category(int(each["id"]), str(each["name"]), bool(each["isthing"])) for each in listed
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unfit("target", target, error) from None
    indices = {category.id: index for index, category in enumerate(categories)}
    names = {category.name for category in categories}
    if not len(indices) == len(names) == len(categories) > 0:
        raise mismatch(f"{target} has no categories, or one of them twice")
    pictures = {role: _pictures(role, file, loaded[role], indices) for role, file in files.items()}
    if not pictures["pred"].keys() & pictures["target"].keys():
        raise InputError(f"no image_id of {pred} is in {target}", kind="missing")
    pairing = Pairing(categories=categories)
    for image in pictures["pred"].keys() | pictures["target"].keys():
        sides = {role: each[image] for role, each in pictures.items() if image in each}
        name = str(PurePosixPath((sides.get("target") or sides["pred"]).name).with_suffix(""))
        if problem := _problem(name, image, files, sides):
            pairing.unpaired.append(problem)
            continue
        sources = {role: (picture.path,) for role, picture in sides.items()}
        segments = {role: picture.segments for role, picture in sides.items()}
        pairing.pairs.append(name, sources, segments)
    pairing.unpaired.sort(key=lambda each: each.id)
    sort_images(pairing, target)
    return pairing


def sort_images(pairing: Pairing, target: str) -> None:
    """Bring the pairs into the order of their ids, and refuse two images of one id."""
    pairing.pairs = pairing.pairs.sorted()
    for first, *_ in pairing.pairs.repeated():
        raise mismatch(f"{target} has two images {pairing.pairs.ids[first]!r}")


def _problem(
    name: str, image: str, files: Mapping[str, str], sides: Mapping[str, PanopticImage]
) -> PairError | None:
    """Why an image cannot be evaluated; None if it can."""
    for role, file in files.items():
        if role not in sides:
            kind = "extra" if role == "target" else "missing"
            return PairError(name, role, None, kind, f"image_id {image} is not in {file}")
        if not os.path.isfile(path := sides[role].path):
            message = f"{path} does not exist, though {file} names it"
            return PairError(name, role, None, "missing", message)
    return None


def load_json(role: str, file: str) -> Any:
    """Parse a JSON file.

    Raises:
        InputError: it cannot be read.
    """
    if is_url(file):
        raise InputError(
            f"{label(file)} is a URL; JSON files are read from local folders, so copy it"
        )
    try:
        return json.loads(Path(file).read_bytes())  # UTF-8 or UTF-16, also with a byte-order mark
    except FileNotFoundError:
        raise InputError(f"{file} does not exist ({role})", kind="missing", role=role) from None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or f"it is no JSON: {error}"
        raise InputError(f"{file} cannot be read: {reason}", role=role) from None


def _unfit(role: str, file: str, error: Exception) -> InputError:
    """The error for a file of another format."""
    what = f"has no {error}" if isinstance(error, KeyError) else f"is of another kind: {error}"
    return mismatch(f"{file} {what}; {EXPECTED}", role)


def _pictures(
    role: str, file: str, loaded: Any, indices: Mapping[int, int]
) -> dict[str, PanopticImage]:
    """The PNGs of one side by image_id."""
    beside = os.path.splitext(file)[0]
    folder = beside if os.path.isdir(beside) else os.path.dirname(file)
    pictures: dict[str, PanopticImage] = {}
    try:
        for each in loaded["annotations"]:
            image, listed = str(each["image_id"]), each["segments_info"]
            categories = {int(one["id"]): int(one["category_id"]) for one in listed}
            crowds = {int(one["id"]) for one in listed if role == "target" and one.get("iscrowd")}
            name = str(each["file_name"])
            if image in pictures or len(categories) < len(listed):
                raise mismatch(f"{file} has image_id {image}, or a segment of it, twice", role)
            if strange := set(categories.values()) - indices.keys():
                raise mismatch(
                    f"{file} has category_id {min(strange)} in {name}, which is not among the"
                    " categories of the ground truth",
                    role,
                )
            segments = {id_: (indices[of], id_ in crowds) for id_, of in categories.items()}
            pictures[image] = PanopticImage(name, os.path.join(folder, name), segments)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unfit(role, file, error) from None
    return pictures
