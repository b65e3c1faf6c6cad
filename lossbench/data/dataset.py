"""The one door of the data room: pair the files of a run, and make its reading plan."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from lossbench.data.formats.boxes import Boxes
from lossbench.data.formats.coco_masks import NEEDED, is_installed
from lossbench.data.loading.detections import plan_detections
from lossbench.data.loading.records import RECORD_TASKS, plan_records
from lossbench.data.pairing.coco import is_results, read_coco
from lossbench.data.pairing.folders import pair
from lossbench.data.pairing.groups import by_pattern, manifest_columns
from lossbench.data.pairing.manifest import read_manifest
from lossbench.data.pairing.pairs import Pairing
from lossbench.data.pairing.panoptic import is_json, read_panoptic
from lossbench.data.planning.make_plan import ReadingSettings, make_plan, plan_roles
from lossbench.data.planning.mask_values import split_values
from lossbench.data.planning.plan import Plan
from lossbench.data.planning.vocabulary import EMPTY, ROLES
from lossbench.data.sources.read import forget_kept
from lossbench.errors import InputError, SettingError

TASKS_WITHOUT_PIXELS = (*RECORD_TASKS, "detection")


def pair_inputs(pred: Any, target: Any, settings: ReadingSettings, roles: Sequence[str]) -> Pairing:
    """Pair the files of two folders, two JSON files or a manifest, and group the pairs.

    A manifest takes the place of `pred` and `target`; its columns may name further `roles`.

    Raises:
        InputError: files are missing, or no pair is left to evaluate.
        SettingError: settings contradict each other.
    """
    classes = settings.named_classes.names if settings.named_classes else ()
    sides = [name for name, side in (("PRED", pred), ("GT", target)) if side is not None]
    columns = manifest_columns(settings.group_by)
    if settings.manifest is not None:
        if sides:
            raise SettingError(f"give {' and '.join(sides)} or --manifest, not both")
        pairing = read_manifest(
            settings.manifest, roles, classes, columns, empty=settings.missing == EMPTY
        )
    elif len(sides) < 2:
        raise SettingError("give PRED and GT, or --manifest with both in its columns")
    elif is_json(pred) or is_json(target):
        pairing = _pair_json_files(pred, target, settings)
    else:
        patterns = dict.fromkeys(settings.inputs, settings.gt_pattern)
        inputs = {role: split_values(role, each)[0] for role, each in settings.inputs.items()}
        pairing = pair(
            {"pred": pred, "target": target, **inputs},
            {"pred": settings.pred_pattern, "target": settings.gt_pattern, **patterns},
            classes,
            empty=settings.missing == EMPTY,
        )
    if settings.missing == EMPTY and not pairing.classes:
        raise SettingError(
            "--missing empty is for classes with files of their own: give --pred-pattern and"
            " --gt-pattern with {class}, such as '{id}_{class}.png', or a manifest with columns"
            " such as pred[car]"
        )
    if settings.group_by is not None and not columns:
        ids = list(pairing.pairs.named())
        if settings.missing == "worst":
            ids += [each.id for each in pairing.unpaired if each.kind == "missing"]
        pairing.groups = by_pattern(settings.group_by, ids)
    if not pairing.pairs:
        first = pairing.unpaired[0]
        raise InputError(f"no pair is left to evaluate: {first.message}", kind=first.kind)
    return pairing


def holds_boxes(pairing: Pairing) -> bool:
    """Whether predictions are the boxes of a COCO file."""
    return any(isinstance(source, Boxes) for source in pairing.pairs[0].sources["pred"])


def plan_inputs(
    pairing: Pairing,
    settings: ReadingSettings,
    task: str | None,
    *,
    asks: Iterable[tuple[str, str, str]],  # loss, role and form of every input that a loss names
    role_forms: Mapping[str, str],  # the form in which losses take each further role
    tasks: Collection[str],  # those on which every loss has a meaning
    of_pictures: bool,  # whether a loss is one of pictures first of all
    masks: bool,  # whether a loss compares the masks of detections
) -> Plan:
    """Make the reading plan: how the bytes of each role become numbers.

    A sample of the files decides where neither `settings` nor `task` do.

    Raises:
        InputError: no file of a role can be read.
        SettingError: a setting has no meaning on the task, or the files do not tell their meaning.
    """
    if task is None or task not in TASKS_WITHOUT_PIXELS:
        forget_kept()
        try:
            plan = make_plan(pairing, settings, task, tasks, of_pictures=of_pictures)
            return plan_roles(plan, pairing.pairs, role_forms)
        except InputError as error:
            pairing.name_line(error)
            raise
    _refuse_pixel_settings(pairing, settings, task)
    if task in RECORD_TASKS:
        return plan_records(task, pairing.pairs, asks)
    if masks and not is_installed():
        raise SettingError(NEEDED)
    return plan_detections(pairing.pairs, pairing.categories, settings.named_classes)


def _pair_json_files(pred: Any, target: Any, settings: ReadingSettings) -> Pairing:
    """The pairs of two JSON files: COCO's detections, or panoptic ones."""
    if not (is_json(pred) and is_json(target)):
        raise SettingError(
            "PRED and GT are both JSON files (COCO's results.json and instances.json, or panoptic"
            " ones, each with its PNGs beside it), or neither is"
        )
    if settings.inputs or settings.pred_pattern or settings.gt_pattern:
        raise SettingError(
            "--input and patterns are for folders; JSON files name their images themselves"
        )
    files = os.fspath(pred), os.fspath(target)
    if settings.task != "detection" and not is_results(files[0]):
        return read_panoptic(*files)
    pairing = read_coco(*files)
    if settings.task not in (None, "detection"):
        raise SettingError(f"COCO's results are for a detection task, not for {settings.task}")
    return pairing


def _refuse_pixel_settings(pairing: Pairing, settings: ReadingSettings, task: str) -> None:
    """Refuse settings that say how pixels are read, on a task without pixels."""
    values = {
        "--classes": None if task == "detection" else settings.classes,
        "--ignore": settings.ignore,
        "--pred-encoding": settings.pred_encoding,
        "--gt-encoding": settings.gt_encoding,
        "--resize": settings.resize,
        "--channels": settings.channels,
        "--pred-scale": settings.pred_scale,
        "--gt-scale": settings.gt_scale,
        "--gt-threshold": settings.gt_threshold,
        "--pred-values": settings.pred_values,
        "--grid": None if settings.grid == "check" else settings.grid,
        "--divisor": settings.divisor,
        "--things": settings.things,
        **{f"--input {role}": role in pairing.pairs[0].sources or None for role in ROLES},
        "{class} in a pattern": pairing.classes or None,
    }
    for option, value in values.items():
        if value is not None:
            raise SettingError(f"{option} has no meaning on a {task} task")
