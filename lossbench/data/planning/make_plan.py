"""Make the reading plan from settings and sampled files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from lossbench.data.pairing.pairs import Category, Pair
from lossbench.data.planning.classes import MOST, Classes, numbered
from lossbench.data.planning.encoding import HARD, InputEncoding
from lossbench.data.planning.guess import (
    DIM,
    LABELS,
    VOID,
    Ranges,
    guess_instances,
    guess_pred,
    guess_target,
    guess_task,
    guess_void,
    is_sparse,
)
from lossbench.data.planning.plan import MAPS, MASKS, Plan
from lossbench.data.planning.probe import FileProbe, look
from lossbench.errors import SettingError, did_you_mean


def make_plan(
    pairs: Sequence[Pair],
    *,
    task: str | None,
    classes: Classes | None,
    ignore: Any,
    pred_encoding: str | None,
    gt_encoding: str | None,
    class_files: Sequence[str],
    resize: str | None,
    divisor: int | None = None,
    things: Sequence[str] | None = None,
    categories: Sequence[Category] = (),
) -> Plan:
    """Decide the plan from the settings and, where they are silent, from a sample of the files."""
    with ThreadPoolExecutor(2) as side_by_side:
        pred, target = side_by_side.map(partial(look, pairs), ("pred", "target"))
    pred.places, target.places = pred.places or target.places, target.places or pred.places
    given = parse_ignore(ignore)
    coded = bool(divisor or categories or "instances" in (pred_encoding, gt_encoding))
    if task == "instances" or (coded and task is None):
        encodings = (pred_encoding, gt_encoding)
        if categories:
            if classes or divisor or things is not None:
                raise SettingError(
                    "a panoptic JSON file says what classes and things there are; leave out"
                    " --classes, --divisor and --things"
                )
            classes = Classes(
                tuple(each.name for each in categories),
                tuple((each.id, place) for place, each in enumerate(categories)),
            )
            things = [each.name for each in categories if each.thing]
        return _plan_instances(
            pairs, (pred, target), encodings, classes, given or (), resize, divisor, things
        )
    if coded or things is not None:
        raise SettingError(f"instances, --divisor and --things have no meaning on a {task} task")
    ranges = given or ()
    one_hot = not target.flat and target.dimensions == pred.dimensions + (not pred.floats)
    gt = gt_encoding or guess_target(target, task, classes, ranges, one_hot)
    task = task or guess_task(gt, pred, target, bool(class_files))
    if (task == "image") != (gt == "image") or gt == "logits":
        raise SettingError(f"the ground truth cannot be {gt} on a {task} task")
    stack = pred.dimensions == target.dimensions + 1
    found = pred_encoding or guess_pred(pred, task, stack, gt)
    if (task == "image") != (found == "image"):
        raise SettingError(f"predictions cannot be {found} on a {task} task")
    if resize == "bilinear" and found in HARD:
        raise SettingError(f"--resize bilinear would make up {found}; use nearest")
    notes = []
    voids = target.masks == 0 and guess_void(target.values, 1 if gt == "mask" else LABELS)
    if given is None and gt in HARD and voids:
        ranges = ((VOID, VOID),)
        notes.append(f"gt value {VOID} is taken for ignored; --ignore none makes it a class")
    if target.jpeg and task != "image":
        notes.append(f"{target.jpeg} is a JPEG: its compression changes the values of a mask")
    pred_stacked = task in ("multilabel", "image") or (task == "multiclass" and found not in HARD)
    target_stacked = pred_stacked
    if task == "multiclass":
        target_stacked = gt not in HARD or (
            not target.flat and target.dimensions == pred.dimensions + (not pred_stacked)
        )
    sides = ((pred, pred_stacked), (target, target_stacked))
    for seen, stacked in sides:
        if task == "multiclass" and stacked and seen.flat and not class_files:
            raise SettingError(
                f"{'predictions hold' if seen is pred else 'the ground truth holds'} one number a"
                " pixel, which is no probability of several classes; these come along a further"
                " axis, the first of .npy and the last of NIfTI"
            )
    stacks = [seen for seen, stacked in sides if stacked]
    labels = [
        seen
        for (seen, stacked), encoding in zip(sides, (found, gt), strict=True)
        if not (stacked or encoding == "mask")  # where 255 is no label
    ]
    named = _name_classes(task, stacks, labels, classes, class_files, ranges)
    roles = pairs[0].sources
    return Plan(
        task,
        _reading("pred", found, pred, named, (), task, pred_stacked),
        _reading("target", gt, target, named, ranges, task, target_stacked),
        named.names,
        {"image": target.channels, "binary": 1}.get(task, len(named.names)),
        tuple(role for role in MASKS if role in roles),
        tuple(role for role in MAPS if role in roles),
        resize,
        _spacing(target.spacings),
        stored=pred.stored + target.stored,
        notes=tuple(notes),
    )


def _spacing(found: set[str]) -> str:
    """The spacing of the ground truth in words."""
    if not any(found):
        return ""
    return f"{found.pop()} mm" if len(found) == 1 else "from the headers (mm)"


def _plan_instances(
    pairs: Sequence[Pair],
    sides: tuple[FileProbe, FileProbe],
    encodings: tuple[str | None, str | None],
    classes: Classes | None,
    ranges: Ranges,
    resize: str | None,
    divisor: int | None,
    things: Sequence[str] | None,
) -> Plan:
    """The plan of instance maps, of masks whose components are instances, or of both."""
    listed, roles = bool(pairs[0].segments), pairs[0].sources
    coded = listed or divisor is not None
    if resize == "bilinear" or set(roles) & set(MAPS):
        what = "--resize bilinear would make up" if resize else "no weights can be given to"
        raise SettingError(f"{what} instances, which are counted as they are")
    if things is not None and not coded:
        raise SettingError("--things needs classes: maps of class · N + instance have --divisor N")
    if coded and not listed and classes is None:
        classes = _divided_classes(sides, ranges, divisor or 1)
    classes = classes or numbered(1, ("instance",))
    if classes.colours or (not coded and len(classes.names) > 1):
        raise SettingError(
            "instance maps have one class, or classes in their numbers: class · N + instance with"
            " --divisor N, or panopticapi's PNGs with their JSON files for PRED and GT"
        )
    for name in set(things or ()) - set(classes.names):
        raise SettingError(
            f"--things {name!r} is no class{did_you_mean(name, classes.names)};"
            f" there are {', '.join(classes.names)}"
        )

    def reading(role: str, seen: FileProbe, given: str | None) -> InputEncoding:
        encoding = given or guess_instances(seen, ranges if role == "target" else (), coded)
        if encoding not in (("instances",) if coded else ("instances", "mask")):
            what = "predictions" if role == "pred" else "the ground truth"
            raise SettingError(
                f"{what} cannot be {encoding} on an instances task: give instance maps"
                + ("" if coded else ", or masks, whose components are instances")
            )
        if encoding == "mask":
            white = Classes(("background", "instance"), ())
            ignore = ranges if role == "target" else ()
            return _reading(role, "mask", seen, white, ignore, "binary", False)
        return InputEncoding(
            role,
            encoding,
            seen.dtype,
            values=classes.values,
            classes=len(classes.names),
            colours=seen.colour or listed,
            ignore=ranges if coded or role == "target" else (),
        )

    return Plan(
        "instances",
        reading("pred", sides[0], encodings[0]),
        reading("target", sides[1], encodings[1]),
        classes.names,
        1,
        tuple(role for role in MASKS if role in roles),
        resize=resize,
        divisor=divisor,
        things=None if things is None else tuple(things),
    )


def _divided_classes(sides: Sequence[FileProbe], ranges: Ranges, divisor: int) -> Classes:
    """The classes that the sample's labels have, by number."""
    if any(seen.colour for seen in sides):
        raise SettingError("colours as labels need their classes: --classes '{24: person, …}'")
    labels = {value for seen in sides for value in seen.values} - {0}
    ids = {value if value < divisor else value // divisor for value in labels}
    found = sorted(each for each in ids if not any(low <= each <= high for low, high in ranges))
    if not 0 < len(found) <= MOST:
        raise SettingError(
            f"labels of class · {divisor} + instance have {len(found):,} classes in the sample;"
            f" 1 to {MOST:,} are expected: is the divisor right?"
        )
    return Classes(tuple(map(str, found)), tuple((each, i) for i, each in enumerate(found)))


def parse_ignore(given: Any) -> Ranges | None:
    """Labels to ignore: None to guess, `none`, a number, a range "250-255", or several of them."""
    if given is None:
        return None
    ranges = []
    for part in given if isinstance(given, list | tuple) else str(given).split(","):
        found = re.fullmatch(r"\s*(-?\d+)\s*(?:-\s*(\d+))?\s*", str(part))
        if found and int(found[1]) <= int(found[2] or found[1]):
            ranges.append((int(found[1]), int(found[2] or found[1])))
        elif str(part).strip().lower() != "none":
            raise SettingError(
                f"ignore {part!r}: expected a label, a range such as 250-255, or none"
            )
    return tuple(ranges)


def _name_classes(
    task: str,
    stacks: Sequence[FileProbe],
    labels: Sequence[FileProbe],
    classes: Classes | None,
    class_files: Sequence[str],
    ranges: Ranges,
) -> Classes:
    """The classes of the run, as named or as the sample shows them.

    `stacks` have a class along the first axis or one a file, `labels` have one number a pixel.
    """
    if task == "image":
        return Classes((), ())
    if task == "binary":
        named = classes or numbered(2, ("background", "foreground"))
        if len(named.names) != 2:
            raise SettingError(f"a binary task has two classes, {len(named.names)} are named")
        return named
    if class_files:
        return numbered(len(class_files), class_files)
    lengths = {seen.leading for seen in stacks}
    if classes:
        for length in lengths - {len(classes.names)}:
            raise SettingError(f"{len(classes.names)} classes are named, arrays hold {length}")
        return classes
    if any(seen.colour for seen in labels):
        raise SettingError(
            "colour pictures as labels need their colours: --classes '{road: \"#804080\", …}'"
        )
    found = {value for seen in labels for value in seen.without(ranges)}
    volumes = any(seen.volumes for seen in labels) and not lengths
    if volumes and max(found, default=0) >= DIM and is_sparse(found):
        stored = sorted(value for value in found if value >= 0)
        return Classes(tuple(map(str, stored)), tuple(zip(stored, range(MOST), strict=False)))
    count = max(lengths, default=0) or max(2, max(found, default=0) + 1)
    if count > MOST:
        raise SettingError(f"labels go up to {count - 1:,}, {MOST:,} classes are the most")
    return numbered(count)


def _reading(
    role: str,
    encoding: str,
    seen: FileProbe,
    classes: Classes,
    ignore: Ranges,
    task: str,
    stacked: bool,
) -> InputEncoding:
    """How a role is read, its values settled."""
    if encoding not in HARD:
        scale = seen.full(role, encoding)
        return InputEncoding(
            role, encoding, seen.dtype, scale, (), 0, False, ignore, stacked, seen.places
        )
    values, colours, count = classes.values, classes.colours, len(classes.names)
    if stacked or (encoding == "mask" and not colours):
        count = count if task == "multiclass" and not stacked else 2  # whichever of them there are
        values, colours = ((0, 0), (_white(seen, ignore), 1)), False
    elif role == "pred" and _indexed(seen, classes):
        values, colours = numbered(count).values, False
    return InputEncoding(
        role, encoding, seen.dtype, 1.0, values, count, colours, ignore, stacked, seen.places
    )


def _white(seen: FileProbe, ignore: Ranges) -> int:
    """The stored value of a mask's foreground."""
    values = seen.without(ignore) - {0}
    if len(values) == 1:
        return values.pop()
    if values & {1, VOID}:
        return VOID if VOID in values else 1
    return VOID if seen.images and seen.dtype == "uint8" else 1


def _indexed(seen: FileProbe, classes: Classes) -> bool:
    """Whether predicted labels are class indices where the ground truth stores other values."""
    if classes.colours:
        return not (seen.colour or seen.palette)
    stored = {value for value, _ in classes.values}
    return not seen.values <= stored and max(seen.values, default=0) < len(classes.names)
