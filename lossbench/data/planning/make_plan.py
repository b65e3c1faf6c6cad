"""Make the reading plan from settings and, where they are silent, from a sample of the files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from lossbench.data.pairing.pairs import Category, Pair
from lossbench.data.planning.classes import MAX_CLASSES, Classes, numbered
from lossbench.data.planning.encoding import ENCODINGS, Encoding
from lossbench.data.planning.guess import (
    DARK_LIMIT,
    IGNORED_LABEL,
    Ranges,
    guess_ignored,
    guess_instances,
    guess_pred,
    guess_target,
    guess_task,
    is_sparse,
)
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.data.planning.probe import WHITE, FileProbe, probe_files
from lossbench.data.planning.vocabulary import MAPS, MASKS
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
    """Make the plan of masks, maps and images.

    Args:
        pairs: the files.
        task: the task, None to guess it.
        classes: the classes that the user names.
        ignore: ground-truth values to ignore, None to guess them.
        pred_encoding: the encoding of predictions, None to guess it.
        gt_encoding: likewise of the ground truth.
        class_files: the classes that have files of their own.
        resize: how predictions of another size are fitted.
        divisor: the labels of instance maps are class · divisor + instance.
        things: the classes that have instances.
        categories: the classes that a panoptic JSON file lists.

    Raises:
        InputError: no file of a role can be read.
        SettingError: settings contradict each other or the files.
    """
    with ThreadPoolExecutor(2) as side_by_side:
        pred, target = side_by_side.map(partial(probe_files, pairs), ("pred", "target"))
    pred.places, target.places = pred.places or target.places, target.places or pred.places
    set_ranges = parse_ignore(ignore)
    ranges = set_ranges or ()
    of_instances = any(
        name and ENCODINGS[name].is_instances for name in (pred_encoding, gt_encoding)
    )
    coded = bool(divisor or categories or of_instances)
    if task == "instances" or (coded and task is None):
        if categories:
            if classes or divisor or things is not None:
                raise SettingError(
                    "a panoptic JSON file says what classes and things there are; leave out"
                    " --classes, --divisor and --things"
                )
            classes = Classes(
                tuple(each.name for each in categories),
                tuple((each.id, index) for index, each in enumerate(categories)),
            )
            things = [each.name for each in categories if each.thing]
        encodings = (pred_encoding, gt_encoding)
        return _plan_instances(
            pairs, (pred, target), encodings, classes, ranges, resize, divisor, things
        )
    if coded or things is not None:
        raise SettingError(f"instances, --divisor and --things have no meaning on a {task} task")
    one_hot = not target.flat and target.dimensions == pred.dimensions + (not pred.floats)
    truth = ENCODINGS[gt_encoding or guess_target(target, task, classes, ranges, one_hot)]
    task = task or guess_task(truth, pred, target, bool(class_files))
    if task not in truth.tasks or not truth.fits_truth:
        raise SettingError(f"the ground truth cannot be {truth.name} on a {task} task")
    class_axis = pred.dimensions == target.dimensions + 1
    predicted = ENCODINGS[pred_encoding or guess_pred(pred, task, truth, class_axis)]
    if task not in predicted.tasks:
        raise SettingError(f"predictions cannot be {predicted.name} on a {task} task")
    if resize == "bilinear" and predicted.is_hard:
        raise SettingError(f"--resize bilinear would make up {predicted.name}; use nearest")
    notes = []
    silent = set_ranges is None and target.masks == 0
    if silent and guess_ignored(target.values, truth.ignored_above):
        ranges = ((IGNORED_LABEL, IGNORED_LABEL),)
        note = f"gt value {IGNORED_LABEL} is taken for ignored; --ignore none makes it a class"
        notes.append(note)
    if target.jpeg and task != "image":
        notes.append(f"{target.jpeg} is a JPEG: its compression changes the values of a mask")
    pred_stacked = target_stacked = task in ("multilabel", "image")
    if task == "multiclass":
        pred_stacked = not predicted.is_hard
        target_stacked = not truth.is_hard or (
            not target.flat and target.dimensions == pred.dimensions + (not pred_stacked)
        )
    sides = ((pred, predicted, pred_stacked), (target, truth, target_stacked))
    for probe, _, stacked in sides:
        if task == "multiclass" and stacked and probe.flat and not class_files:
            raise SettingError(
                f"{'predictions hold' if probe is pred else 'the ground truth holds'} one number a"
                " pixel, which is no probability of several classes; these come along a further"
                " axis, the first of .npy and the last of NIfTI"
            )
    named = _name_classes(
        task,
        [probe for probe, _, stacked in sides if stacked],
        [probe for probe, encoding, stacked in sides if not (stacked or encoding.is_mask)],
        classes,
        class_files,
        ranges,
    )
    roles = pairs[0].sources
    return Plan(
        task,
        _read_as("pred", predicted, pred, named, (), task, pred_stacked),
        _read_as("target", truth, target, named, ranges, task, target_stacked),
        named.names,
        {"image": target.channels, "binary": 1}.get(task, len(named.names)),
        tuple(role for role in MASKS if role in roles),
        tuple(role for role in MAPS if role in roles),
        resize,
        _describe_spacing(target.spacings),
        stored=pred.stored + target.stored,
        notes=tuple(notes),
    )


def parse_ignore(text: Any) -> Ranges | None:
    """Labels to ignore: None to guess, `none`, a number, a range "250-255", or several of them.

    Raises:
        SettingError: none of these.
    """
    if text is None:
        return None
    ranges = []
    for part in text if isinstance(text, list | tuple) else str(text).split(","):
        match = re.fullmatch(r"\s*(-?\d+)\s*(?:-\s*(\d+))?\s*", str(part))
        if match and int(match[1]) <= int(match[2] or match[1]):
            ranges.append((int(match[1]), int(match[2] or match[1])))
        elif str(part).strip().lower() != "none":
            raise SettingError(
                f"ignore {part!r}: expected a label, a range such as 250-255, or none"
            )
    return tuple(ranges)


def _plan_instances(
    pairs: Sequence[Pair],
    probes: tuple[FileProbe, FileProbe],
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
        classes = _divided_classes(probes, ranges, divisor or 1)
    named = classes or numbered(1, ("instance",))
    if named.colours or (not coded and len(named.names) > 1):
        raise SettingError(
            "instance maps have one class, or classes in their numbers: class · N + instance with"
            " --divisor N, or panopticapi's PNGs with their JSON files for PRED and GT"
        )
    for name in set(things or ()) - set(named.names):
        raise SettingError(
            f"--things {name!r} is no class{did_you_mean(name, named.names)};"
            f" there are {', '.join(named.names)}"
        )

    def read_as(role: str, probe: FileProbe, name: str | None) -> InputEncoding:
        ignore = ranges if role == "target" else ()
        encoding = ENCODINGS[name or guess_instances(probe, ignore, coded)]
        if "instances" not in encoding.tasks or (coded and not encoding.is_instances):
            what = "predictions" if role == "pred" else "the ground truth"
            raise SettingError(
                f"{what} cannot be {encoding.name} on an instances task: give instance maps"
                + ("" if coded else ", or masks, whose components are instances")
            )
        if not encoding.is_instances:
            of_mask = Classes(("background", "instance"), ())
            return _read_as(role, encoding, probe, of_mask, ignore, "binary", False)
        return InputEncoding(
            role,
            encoding.name,
            probe.dtype,
            values=named.values,
            classes=len(named.names),
            colours=probe.colour or listed,
            ignore=ranges if coded else ignore,
        )

    return Plan(
        "instances",
        read_as("pred", probes[0], encodings[0]),
        read_as("target", probes[1], encodings[1]),
        named.names,
        1,
        tuple(role for role in MASKS if role in roles),
        resize=resize,
        divisor=divisor,
        things=None if things is None else tuple(things),
    )


def _divided_classes(probes: Sequence[FileProbe], ranges: Ranges, divisor: int) -> Classes:
    """The classes that the sample's labels have, by number."""
    if any(probe.colour for probe in probes):
        raise SettingError("colours as labels need their classes: --classes '{24: person, …}'")
    labels = {value for probe in probes for value in probe.values} - {0}
    ids = {value if value < divisor else value // divisor for value in labels}
    kept = sorted(each for each in ids if not any(low <= each <= high for low, high in ranges))
    if not 0 < len(kept) <= MAX_CLASSES:
        raise SettingError(
            f"labels of class · {divisor} + instance have {len(kept):,} classes in the sample;"
            f" 1 to {MAX_CLASSES:,} are expected: is the divisor right?"
        )
    return Classes(tuple(map(str, kept)), tuple((each, i) for i, each in enumerate(kept)))


def _name_classes(
    task: str,
    stacks: Sequence[FileProbe],
    labels: Sequence[FileProbe],
    classes: Classes | None,
    class_files: Sequence[str],
    ranges: Ranges,
) -> Classes:
    """The classes of the run: those that the user names, or those in the sample.

    Args:
        task: the task.
        stacks: inputs with classes along the first axis, or one file a class.
        labels: inputs with one number a pixel, except masks.
        classes: the classes that the user names.
        class_files: the classes that have files of their own.
        ranges: the ignored values.
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
    lengths = {probe.leading for probe in stacks}
    if classes:
        for length in lengths - {len(classes.names)}:
            raise SettingError(f"{len(classes.names)} classes are named, arrays hold {length}")
        return classes
    if any(probe.colour for probe in labels):
        raise SettingError(
            "colour pictures as labels need their colours: --classes '{road: \"#804080\", …}'"
        )
    values = {value for probe in labels for value in probe.without(ranges)}
    volumes = any(probe.volumes for probe in labels) and not lengths
    if volumes and max(values, default=0) >= DARK_LIMIT and is_sparse(values):
        stored = sorted(value for value in values if value >= 0)
        names = tuple(map(str, stored))
        return Classes(names, tuple(zip(stored, range(MAX_CLASSES), strict=False)))
    count = max(lengths, default=0) or max(2, max(values, default=0) + 1)
    if count > MAX_CLASSES:
        raise SettingError(f"labels go up to {count - 1:,}, {MAX_CLASSES:,} classes are the most")
    return numbered(count)


def _read_as(
    role: str,
    encoding: Encoding,
    probe: FileProbe,
    classes: Classes,
    ignore: Ranges,
    task: str,
    stacked: bool,
) -> InputEncoding:
    """How a role is read: the encoding with the values of this run."""
    values, count, colours = classes.values, len(classes.names), classes.colours
    if not encoding.is_hard:
        values, count, colours = (), 0, False
    elif stacked or encoding.any_foreground or (encoding.is_mask and not colours):
        count = count if task == "multiclass" and not stacked else 2  # of the classes, any two
        white = () if encoding.any_foreground else ((_foreground(probe, ignore), 1),)
        values, colours = ((0, 0), *white), False
    elif role == "pred" and _holds_indices(probe, classes):
        values, colours = numbered(count).values, False
    scale = probe.scale(role) if encoding.is_scaled else 1.0
    places = probe.places
    return InputEncoding(
        role, encoding.name, probe.dtype, scale, values, count, colours, ignore, stacked, places
    )


def _foreground(probe: FileProbe, ignore: Ranges) -> int:
    """The stored value of a mask's foreground."""
    values = probe.without(ignore) - {0}
    if len(values) == 1:
        return values.pop()
    if values & {1, WHITE}:
        return WHITE if WHITE in values else 1
    return WHITE if probe.images and probe.dtype == "uint8" else 1


def _holds_indices(probe: FileProbe, classes: Classes) -> bool:
    """Whether predicted labels are class indices where the ground truth stores other values."""
    if classes.colours:
        return not (probe.colour or probe.palette)
    stored = {value for value, _ in classes.values}
    return not probe.values <= stored and max(probe.values, default=0) < len(classes.names)


def _describe_spacing(spacings: set[str]) -> str:
    """The voxel spacing of the ground truth, for people; "" if its files have none."""
    if not any(spacings):
        return ""
    return f"{spacings.pop()} mm" if len(spacings) == 1 else "from the headers (mm)"
