"""Make the reading plan from settings and, where they are silent, from a sample of the files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from lossbench.data.pairing.pairs import Pairing, Pairs
from lossbench.data.planning.classes import MAX_CLASSES, Classes, parse_classes
from lossbench.data.planning.encoding import ENCODINGS, Encoding
from lossbench.data.planning.guess import (
    DARK_LIMIT,
    IGNORED_LABEL,
    guess_ignored,
    guess_instances,
    guess_pred,
    guess_target,
    guess_task,
    is_sparse,
)
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.data.planning.probe import WHITE, FileProbe, Ranges, probe_files, without
from lossbench.data.planning.vocabulary import MAPS, MASKS
from lossbench.errors import SettingError, did_you_mean


@dataclass(frozen=True)
class ReadingSettings:
    """The settings that say which files there are and how they are read, as the user wrote them."""

    inputs: Mapping[str, Any]
    manifest: str | None
    group_by: str | None
    pred_pattern: str | None
    gt_pattern: str | None
    missing: str
    task: str | None
    classes: Any
    ignore: Any
    pred_encoding: str | None
    gt_encoding: str | None
    resize: str | None
    divisor: int | None
    things: str | Sequence[str] | None

    @cached_property
    def named_classes(self) -> Classes | None:
        """The classes that the user names."""
        return parse_classes(self.classes)

    @property
    def named_things(self) -> tuple[str, ...] | None:
        """The classes that have instances, as far as the user names them."""
        if self.things is None:
            return None
        text = self.things if isinstance(self.things, str) else ",".join(self.things)
        return tuple(name.strip() for name in text.split(",") if name.strip())


def make_plan(pairing: Pairing, settings: ReadingSettings, task: str | None) -> Plan:
    """Make the plan of masks, maps and images; without a task, guess it.

    Raises:
        InputError: no file of a role can be read.
        SettingError: settings contradict each other or the files.
    """
    pairs, class_files, classes = pairing.pairs, pairing.classes, settings.named_classes
    with ThreadPoolExecutor(2) as side_by_side:
        pred, target = side_by_side.map(partial(probe_files, pairs), ("pred", "target"))
    pred.places, target.places = pred.places or target.places, target.places or pred.places
    set_ranges = parse_ignore(settings.ignore)
    ranges = set_ranges or ()
    names = (settings.pred_encoding, settings.gt_encoding)
    of_instances = any(name and ENCODINGS[name].is_instances for name in names)
    coded = bool(settings.divisor or pairing.categories or of_instances)
    if task == "instances" or (coded and task is None):
        return _plan_instances(pairing, settings, pred, target, ranges)
    if coded or settings.things is not None:
        raise SettingError(f"instances, --divisor and --things have no meaning on a {task} task")
    one_hot = not target.flat and target.dimensions == pred.dimensions + (not pred.floats)
    truth = ENCODINGS[settings.gt_encoding or guess_target(target, task, classes, ranges, one_hot)]
    task = task or guess_task(truth, pred, target, bool(class_files))
    if task not in truth.tasks or not truth.fits_truth:
        raise SettingError(f"the ground truth cannot be {truth.name} on a {task} task")
    class_axis = pred.dimensions == target.dimensions + 1
    predicted = ENCODINGS[settings.pred_encoding or guess_pred(pred, task, truth, class_axis)]
    if task not in predicted.tasks:
        raise SettingError(f"predictions cannot be {predicted.name} on a {task} task")
    if settings.resize == "bilinear" and predicted.is_hard:
        raise SettingError(f"--resize bilinear would make up {predicted.name}; use nearest")
    notes = []
    silent = set_ranges is None and target.masks == 0
    if silent and guess_ignored(target.values, truth.ignored_above):
        ranges = ((IGNORED_LABEL, IGNORED_LABEL),)
        notes.append("gt value 255 is taken for ignored; --ignore none makes it a class")
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
    stacks = [probe for probe, _, stacked in sides if stacked]
    labels = [probe for probe, encoding, stacked in sides if not (stacked or encoding.is_mask)]
    named = _name_classes(task, stacks, labels, classes, class_files, ranges)
    roles = pairs[0].sources
    return Plan(
        task,
        _read_as("pred", predicted, pred, named, (), pred_stacked),
        _read_as("target", truth, target, named, ranges, target_stacked),
        named.names,
        {"image": target.channels, "binary": 1}.get(task, len(named.names)),
        tuple(role for role in MASKS if role in roles),
        tuple(role for role in MAPS if role in roles),
        settings.resize,
        _describe_spacing(target.spacings),
        stored=pred.stored + target.stored,
        notes=tuple(notes),
    )


def plan_roles(plan: Plan, pairs: Pairs, forms: Mapping[str, str]) -> Plan:
    """Add the roles that losses name to a plan.

    Scores are any numbers of any shape. A role `target_…` is read as the ground truth is, any other
    role as predictions are; its own files tell how the numbers are stored. `forms` has the form in
    which a loss takes each role.
    """
    roles = {role: form for role, form in forms.items() if role in pairs[0].sources}
    return replace(plan, roles=tuple(_read_as_side(plan, pairs, *each) for each in roles.items()))


def _read_as_side(plan: Plan, pairs: Pairs, role: str, form: str) -> InputEncoding:
    """How one role is read."""
    if form == "Scores":
        return InputEncoding(role, "scores", probe_files(pairs, role).dtype)
    like = plan.target if role.startswith("target_") else plan.pred
    if like.is_hard:
        return replace(like, role=role, ignore=())
    probe = probe_files(pairs, role)
    return replace(
        like,
        role=role,
        dtype=probe.dtype,
        scale=probe.scale(role) if like.definition.is_scaled else 1.0,
        ignore=(),
        places=probe.places or like.places,
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
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if low <= high:
            ranges.append((low, high))
        elif str(part).strip().lower() != "none":
            raise SettingError(
                f"ignore {part!r}: expected a label, a range such as 250-255, or none"
            )
    return tuple(ranges)


def _plan_instances(
    pairing: Pairing, settings: ReadingSettings, pred: FileProbe, target: FileProbe, ranges: Ranges
) -> Plan:
    """The plan of instance maps, of masks whose components are instances, or of both."""
    classes, things, divisor = settings.named_classes, settings.named_things, settings.divisor
    if categories := pairing.categories:
        if classes or divisor or things is not None:
            raise SettingError(
                "a panoptic JSON file says what classes and things there are; leave out"
                " --classes, --divisor and --things"
            )
        classes = Classes.of([each.id for each in categories], [each.name for each in categories])
        things = tuple(each.name for each in categories if each.thing)
    listed, roles = bool(pairing.pairs[0].segments), pairing.pairs[0].sources
    coded = listed or divisor is not None
    if settings.resize == "bilinear" or set(roles) & set(MAPS):
        bilinear = "--resize bilinear would make up"
        what = bilinear if settings.resize else "no weights can be given to"
        raise SettingError(f"{what} instances, which are counted as they are")
    if things is not None and not coded:
        raise SettingError("--things needs classes: maps of class · N + instance have --divisor N")
    if coded and not listed and classes is None:
        classes = _divided_classes((pred, target), ranges, divisor or 1)
    named = classes or Classes.of([0], ["instance"])
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
            return _read_as(role, encoding, probe, of_mask, ignore, stacked=False)
        values, count, colours = named.values, len(named.names), probe.colour or listed
        ignore = ranges if coded else ignore
        return InputEncoding(role, encoding.name, probe.dtype, 1.0, values, count, colours, ignore)

    return Plan(
        "instances",
        read_as("pred", pred, settings.pred_encoding),
        read_as("target", target, settings.gt_encoding),
        named.names,
        1,
        tuple(role for role in MASKS if role in roles),
        resize=settings.resize,
        divisor=divisor,
        things=things,
    )


def _divided_classes(probes: Sequence[FileProbe], ranges: Ranges, divisor: int) -> Classes:
    """The classes that the sample's labels have, by number."""
    if any(probe.colour for probe in probes):
        raise SettingError("colours as labels need their classes: --classes '{24: person, …}'")
    labels = {value for probe in probes for value in probe.values} - {0}
    ids = {value if value < divisor else value // divisor for value in labels}
    kept = sorted(without(ids, ranges))
    if not 0 < len(kept) <= MAX_CLASSES:
        raise SettingError(
            f"labels of class · {divisor} + instance have {len(kept):,} classes in the sample;"
            f" 1 to {MAX_CLASSES:,} are expected: is the divisor right?"
        )
    return Classes.of(kept)


def _name_classes(
    task: str,
    stacks: Sequence[FileProbe],
    labels: Sequence[FileProbe],
    classes: Classes | None,
    class_files: Sequence[str],
    ranges: Ranges,
) -> Classes:
    """The classes of the run: those that the user names, or those in the sample.

    Stacks have classes along the first axis, or one file a class; labels are one number a pixel.
    """
    if task == "image":
        return Classes((), ())
    if task == "binary":
        named = classes or Classes.of(range(2), ["background", "foreground"])
        if len(named.names) != 2:
            raise SettingError(f"a binary task has two classes, {len(named.names)} are named")
        return named
    if class_files:
        return Classes.of(range(len(class_files)), class_files)
    lengths = {probe.leading for probe in stacks}
    if classes:
        for length in lengths - {len(classes.names)}:
            raise SettingError(f"{len(classes.names)} classes are named, arrays hold {length}")
        return classes
    if any(probe.colour for probe in labels):
        raise SettingError(
            "colour pictures as labels need their colours: --classes '{road: \"#804080\", …}'"
        )
    values = {value for probe in labels for value in without(probe.values, ranges)}
    volumes = any(probe.volumes for probe in labels) and not lengths
    if volumes and max(values, default=0) >= DARK_LIMIT and is_sparse(values):
        return Classes.of(sorted(value for value in values if value >= 0))
    count = max(lengths, default=0) or max(2, max(values, default=0) + 1)
    if count > MAX_CLASSES:
        raise SettingError(f"labels go up to {count - 1:,}, {MAX_CLASSES:,} classes are the most")
    return Classes.of(range(count))


def _read_as(
    role: str, encoding: Encoding, probe: FileProbe, classes: Classes, ignore: Ranges, stacked: bool
) -> InputEncoding:
    """How a role is read: the encoding with the values of this run."""
    values, count, colours = classes.values, len(classes.names), classes.colours
    if not encoding.is_hard:
        values, count, colours = (), 0, False
    elif stacked or encoding.any_foreground or (encoding.is_mask and not colours):
        count = 2 if stacked else count  # a stack has a mask for each class
        white = () if encoding.any_foreground else ((_foreground(probe, ignore), 1),)
        values, colours = ((0, 0), *white), False
    elif role == "pred" and _holds_indices(probe, classes):
        values, colours = Classes.of(range(count)).values, False
    scale = probe.scale(role) if encoding.is_scaled else 1.0
    name, dtype, places = encoding.name, probe.dtype, probe.places
    return InputEncoding(role, name, dtype, scale, values, count, colours, ignore, stacked, places)


def _foreground(probe: FileProbe, ignore: Ranges) -> int:
    """The stored value of a mask's foreground."""
    values = without(probe.values, ignore) - {0}
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
    if len(spacings) > 1:
        return "from the headers (mm)"
    return "".join(f"{spacing} mm" for spacing in spacings if spacing)
