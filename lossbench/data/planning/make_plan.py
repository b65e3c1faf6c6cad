"""Make the reading plan from settings and, where they are silent, from a sample of the files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from types import SimpleNamespace

from lossbench.data.pairing.pairs import Pairing, Pairs
from lossbench.data.planning.axes import arrange
from lossbench.data.planning.classes import MAX_CLASSES, Classes, parse_classes
from lossbench.data.planning.encoding import ENCODINGS
from lossbench.data.planning.evidence import (
    IGNORED_LABEL,
    Evidence,
    examine,
    without,
)
from lossbench.data.planning.ignored import Ranges, colour_of, parse_ignore
from lossbench.data.planning.input_encoding import InputEncoding, nodata_advice
from lossbench.data.planning.mask_values import find_mask_values
from lossbench.data.planning.plan import Plan
from lossbench.data.planning.readings import Context, choose, guess_instances
from lossbench.data.planning.sides import (
    Side,
    beyond_one,
    check_ranges,
    floats_of,
    holds_indices,
    name_classes,
)
from lossbench.data.planning.values import Values
from lossbench.data.planning.vocabulary import MAPS, MASKS
from lossbench.errors import SettingError, did_you_mean


class ReadingSettings(SimpleNamespace):
    """The settings of a run, of which this floor takes those of pairing and reading.

    The table in `lossbench/engine/settings.py` has their names and types.
    """

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


def make_plan(
    pairing: Pairing,
    settings: ReadingSettings,
    task: str | None,
    tasks: Collection[str],
    *,
    of_pictures: bool,
) -> Plan:
    """Make the plan of masks, maps and images.

    Args:
        pairing: the files.
        settings: the settings that say how they are read.
        task: the task, if it is known without the files.
        tasks: the tasks on which every loss of the run has a meaning.
        of_pictures: whether a loss is one of pictures first of all.

    Raises:
        InputError: no file of a role can be read.
        SettingError: settings contradict each other or the files, or several readings fit.
    """
    pairs, class_files, classes = pairing.pairs, pairing.classes, settings.named_classes
    ranges = parse_ignore(settings.ignore) or ()
    with ThreadPoolExecutor(2) as side_by_side:
        look = partial(examine, pairs, ignore=ranges)
        pred, target = side_by_side.map(look, ("pred", "target"))
    tasks = {task} if task else tasks
    arrange(pred, target, tasks, settings.channels)
    if target.fraction and set(tasks) != {"image"} and not settings.gt_encoding:
        raise SettingError(
            f"{target.fraction}: labels that interpolation mixed? Resample them by nearest"
            " neighbour; for grey levels give --gt-encoding image"
        )
    asks_nodata = settings.ignore is None or bool(ranges)
    if target.nodata and asks_nodata:
        advice = nodata_advice("target", target.nodata_value)
        raise SettingError(f"is this nodata? {target.nodata}, far from its other values; {advice}")
    names = (settings.pred_encoding, settings.gt_encoding)
    of_instances = any(name and ENCODINGS[name].is_instances for name in names)
    coded = bool(settings.divisor or pairing.categories or of_instances)
    if task == "instances" or (coded and task is None):
        return _plan_instances(pairing, settings, pred, target, ranges)
    if coded or settings.things is not None:
        raise SettingError(f"instances, --divisor and --things have no meaning on a {task} task")
    guesses_void = settings.ignore is None and settings.gt_scale is None
    truth = Values(target, ranges, may_have_void=guesses_void)
    predicted = Values(pred)
    context = Context(
        tasks,
        has_classes=classes is not None and (classes.colours or "multiclass" in tasks),
        has_colours=classes is not None and classes.colours,
        true_axis=bool(target.axis),
        pred_axis=bool(pred.axis),
        of_pictures=of_pictures,
    )
    chosen = choose(
        truth, predicted, context, _set_encodings(settings), class_files=bool(class_files)
    )
    task, true, guessed = chosen.task, ENCODINGS[chosen.target], ENCODINGS[chosen.pred]
    if task == "instances":
        return _plan_instances(pairing, settings, pred, target, ranges)
    if settings.resize == "bilinear" and guessed.is_hard:
        raise SettingError(f"--resize bilinear would make up {guessed.name}; use nearest")
    if pred.nodata and asks_nodata and not guessed.is_logits:
        advice = nodata_advice("pred", pred.nodata_value)
        raise SettingError(f"is this nodata? {pred.nodata}, far from its other values; {advice}")
    notes = []
    may_have_void = guesses_void and true.ignored_above is not None and truth.has_void
    if may_have_void and max(truth.labels) <= (true.ignored_above or 0):
        ranges = ((IGNORED_LABEL, IGNORED_LABEL),)
        notes.append("gt value 255 is taken for ignored; --ignore none makes it a class")
    if task == "image" and any(0 < side.in_colour < side.pictures for side in (pred, target)):
        notes.append("grey pictures among colour pictures are read as three equal channels")
    make_side = partial(Side, task=task, class_files=bool(class_files), asks_nodata=asks_nodata)
    of_pred = make_side(
        "pred",
        guessed,
        pred,
        given_scale=settings.pred_scale,
        is_set=settings.pred_encoding is not None,
    )
    of_target = make_side(
        "target",
        true,
        target,
        ignore=ranges,
        given_scale=settings.gt_scale,
        cut=settings.gt_threshold,
        is_set=settings.gt_encoding is not None,
    )
    sides = (of_pred, of_target)
    for side in sides:
        side.check_planes()
    if task == "multiclass" and true.is_probability and not target.all_sum_to_one:
        notes.append("the classes of the soft ground truth do not sum to 1 in every pixel")
    beyond, narrowest = "", 0
    if task == "image":
        check_ranges(of_pred, of_target)
        beyond, narrowest = beyond_one(sides), min(pred.narrowest, target.narrowest)
        if beyond:
            notes.append(f"no scale is known: {beyond}; losses are in these units")
        elif floats := floats_of(sides):
            notes.append(f"floats of pictures are read as 0 … 1: {floats}")
    named = name_classes(task, sides, classes, class_files)
    if (colour := colour_of(settings.ignore)) and not named.colours:
        raise SettingError(
            f"--ignore {colour!r} is a colour where the ground truth holds numbers; give the"
            " number, or name the colours with --classes"
        )
    channels = max(pred.channels, target.channels) if task == "image" else 0
    indices = (
        of_pred.is_label_map
        and guessed.is_hard
        and holds_indices(of_pred, named, settings.pred_values)
    )
    roles = pairs[0].sources
    masks = tuple(role for role in MASKS if role in roles)
    pred_reading = of_pred.reading(named, indices=indices, channels=channels)
    target_reading = of_target.reading(named, channels=channels)
    for reading, evidence in ((target_reading, target), (pred_reading, pred)):
        files = {**evidence.notes, **evidence.colour_notes}
        own = reading.notes_of(evidence.notes, evidence.colour_notes)
        notes += [f"{files[note]} {note}" for note in own]
    return Plan(
        task,
        pred_reading,
        target_reading,
        named.names,
        channels or {"binary": 1}.get(task, len(named.names)),
        masks,
        find_mask_values(masks, settings.inputs, pairs),
        tuple(role for role in MAPS if role in roles),
        settings.resize,
        settings.grid,
        _describe_spacing(target.spacings),
        stored=pred.stored + target.stored,
        notes=tuple(notes),
        beyond=beyond,
        narrowest=narrowest,
        has_open_labels=classes is None
        and all(each.is_label_map and each.given_scale is None for each in sides)
        and all(value == index for value, index in named.values),
    )


def _set_encodings(settings: ReadingSettings) -> tuple[str | None, str | None]:
    """The encodings of ground truth and predictions that settings give."""
    if settings.gt_threshold is None:
        return settings.gt_encoding, settings.pred_encoding
    if settings.gt_encoding not in (None, "probability"):
        raise SettingError(
            f"--gt-threshold makes a graded ground truth hard, which is --gt-encoding"
            f" probability; it is read as {settings.gt_encoding}"
        )
    return "probability", settings.pred_encoding


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
        return InputEncoding(role, "scores", examine(pairs, role).dtype)
    like = plan.target if role.startswith("target_") else plan.pred
    if like.is_hard:
        return replace(like, role=role, ignore=())
    evidence = examine(pairs, role)
    return replace(
        like,
        role=role,
        dtype=evidence.dtype,
        scale=Side(role, like.definition, evidence, plan.task).scale
        if like.definition.is_scaled
        else 1.0,
        ignore=(),
        places=evidence.places or like.places,
        seen="",
    )


def _plan_instances(
    pairing: Pairing, settings: ReadingSettings, pred: Evidence, target: Evidence, ranges: Ranges
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

    def read_as(role: str, evidence: Evidence, name: str | None) -> InputEncoding:
        ignore = ranges if role == "target" else ()
        encoding = ENCODINGS[name or guess_instances(evidence, ignore, coded)]
        if "instances" not in encoding.tasks or (coded and not encoding.is_instances):
            what = "predictions" if role == "pred" else "the ground truth"
            raise SettingError(
                f"{what} cannot be {encoding.name} on an instances task: give instance maps"
                + ("" if coded else ", or masks, whose components are instances")
            )
        if not encoding.is_instances:
            of_mask = Classes(("background", "instance"), ())
            return Side(role, encoding, evidence, "instances", ignore).reading(of_mask)
        values, count, colours = named.values, len(named.names), evidence.colour or listed
        ignore = ranges if coded else ignore
        return InputEncoding(
            role, encoding.name, evidence.dtype, 1.0, values, count, colours, ignore
        )

    masks = tuple(role for role in MASKS if role in roles)
    return Plan(
        "instances",
        read_as("pred", pred, settings.pred_encoding),
        read_as("target", target, settings.gt_encoding),
        named.names,
        1,
        masks,
        find_mask_values(masks, settings.inputs, pairing.pairs),
        resize=settings.resize,
        grid=settings.grid,
        divisor=divisor,
        things=things,
    )


def _divided_classes(sides: Sequence[Evidence], ranges: Ranges, divisor: int) -> Classes:
    """The classes that the sample's labels have, by number."""
    if any(side.colour for side in sides):
        raise SettingError("colours as labels need their classes: --classes '{24: person, …}'")
    labels = {value for side in sides for value in side.values} - {0}
    ids = {value if value < divisor else value // divisor for value in labels}
    kept = sorted(without(ids, ranges))
    if not 0 < len(kept) <= MAX_CLASSES:
        raise SettingError(
            f"labels of class · {divisor} + instance have {len(kept):,} classes in the sample;"
            f" 1 to {MAX_CLASSES:,} are expected: is the divisor right?"
        )
    return Classes.of(kept)


def _describe_spacing(spacings: set[str]) -> str:
    """The voxel spacing of the ground truth, for people; "" if its files have none."""
    if len(spacings) > 1:
        return "from the headers (mm)"
    return "".join(f"{spacing} mm" for spacing in spacings if spacing)
