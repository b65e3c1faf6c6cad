"""A run prepared: files paired, the plan decided, every setting checked; nothing is computed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from lossbench.catalog import registry
from lossbench.catalog.columns import Column, Term, resolve
from lossbench.catalog.compatibility import check_maps, check_roles, check_task
from lossbench.catalog.feature_needs import needed, parameters
from lossbench.catalog.tasks import USUAL
from lossbench.data.formats.boxes import Boxes
from lossbench.data.formats.coco_masks import NEEDED, is_installed
from lossbench.data.loading.detections import plan_detections
from lossbench.data.loading.records import TASKS as RECORDS
from lossbench.data.loading.records import plan_records
from lossbench.data.pairing.coco import is_results, read_coco
from lossbench.data.pairing.folders import pair
from lossbench.data.pairing.groups import by_pattern, manifest_columns
from lossbench.data.pairing.manifest import read_manifest
from lossbench.data.pairing.pairs import Pairing
from lossbench.data.pairing.panoptic import is_json, read_panoptic
from lossbench.data.planning.classes import parse_classes
from lossbench.data.planning.extra_inputs import plan_roles
from lossbench.data.planning.make_plan import make_plan
from lossbench.data.planning.plan import Plan
from lossbench.engine.convention_columns import comparison
from lossbench.engine.run import Run
from lossbench.engine.settings import ROLES, Settings, known_roles
from lossbench.engine.shards import share
from lossbench.errors import InputError, SettingError, did_you_mean
from lossbench.networks.architectures import SEEDED
from lossbench.networks.weights import locate
from lossbench.results.baseline import baseline_value, read_baseline
from lossbench.results.gates import Check, as_gate, check

RANDOM = f"{SEEDED} has random weights: its numbers show that a run works, and nothing else"


def prepare(pred: Any, target: Any, losses: Sequence[str], settings: Settings) -> Run:
    """Check settings, pair the files and decide the plan; nothing is computed."""
    baseline = read_baseline(settings.baseline) if settings.baseline else None

    def checked(losses: Sequence[str], task: str | None = None) -> tuple[list[Column], list[Check]]:
        return columns_and_checks(losses, settings, task, has_baseline=baseline is not None)

    usual = USUAL[settings.task] if settings.task in (*RECORDS, "detection") else ()
    written, _ = checked(losses or usual)  # what is wrong is told before any folder is opened
    classes = parse_classes(settings.classes)
    pairing = _paired(pred, target, settings, classes.names if classes else ())
    if not pairing.pairs:
        first = pairing.unpaired[0]
        raise InputError(f"no pair is left to evaluate: {first.message}", kind=first.kind)
    terms = [term for column in written for term in column.terms]
    check_roles(terms, pairing.pairs[0].sources)
    task = _task(terms, pairing, settings)
    plan = (
        _plan_records(task, pairing, terms, settings)
        if task in (*RECORDS, "detection")
        else _plan_pixels(task, pairing, terms, settings)
    )
    if plan.task == "instances" and settings.threshold != Settings.threshold:
        raise SettingError("an instances task has no threshold: masks and instances are given")
    if plan.task == "multiclass" and settings.threshold != Settings.threshold:
        raise SettingError(
            "a multiclass task has no threshold: each pixel is its most likely class"
        )
    if not (losses or USUAL[plan.task]):
        raise SettingError(f"a {plan.task} task has no usual losses; give --loss")
    losses = losses or USUAL[plan.task]
    columns, checks = checked(losses, plan.task)
    elsewhere = comparison(columns, settings, plan.task)
    terms = [term for column in columns for term in column.terms]
    terms += [term for each in elsewhere for term in each.column.terms]
    judged = 1 if plan.task == "binary" else len(plan.names)
    check_task(terms, plan.task, judged, plan.pred.encoding)
    check_maps(terms, pairing.pairs[0].sources)
    _check_weights(terms, settings)
    _check_shard(terms, settings, len(pairing.pairs))
    counted = [plan.countable and term.countable(plan.task) for term in terms]
    plan = replace(plan, counted=any(counted), pixels=not all(counted))
    if not plan.pixels:  # tables are done before a GPU has started
        if settings.device == "auto":
            settings = replace(settings, device="cpu")
        elif settings.device != "cpu":
            note = f"readers count every pair, which {settings.device} does not make faster"
            plan = replace(
                plan, notes=(*plan.notes, f"{note}; --device cpu does without its start")
            )
    if any((asked := needed(term)) and asked[0].network == SEEDED for term in terms):
        plan = replace(plan, notes=(*plan.notes, RANDOM))
    for each in checks:
        _check_class(each, plan)
        if each.needs_baseline:
            baseline_value(baseline or {}, each)
    return Run(pred, target, losses, settings, pairing, plan, columns, checks, baseline, elsewhere)


def columns_and_checks(
    losses: Sequence[str], settings: Settings, task: str | None, *, has_baseline: bool
) -> tuple[list[Column], list[Check]]:
    """What is computed, with the losses of gates, and what is judged."""
    gates = [as_gate(given) for given in settings.gates]
    defaults = settings.defaults(settings.preset, task)
    columns = resolve(losses, defaults, gates)
    return columns, [
        check(
            gate,
            columns,
            defaults,
            has_baseline=has_baseline,
            has_groups=settings.group_by is not None,
        )
        for gate in gates
    ]


def _paired(pred: Any, target: Any, settings: Settings, classes: Sequence[str]) -> Pairing:
    """The pairs of two folders or of a manifest, and their groups."""
    columns = manifest_columns(settings.group_by)
    given = [name for name, side in (("PRED", pred), ("GT", target)) if side is not None]
    if settings.manifest is not None:
        if given:
            raise SettingError(f"give {' and '.join(given)} or --manifest, not both")
        pairing = read_manifest(settings.manifest, known_roles(), classes, columns)
    else:
        if len(given) < 2:
            raise SettingError("give PRED and GT, or --manifest with both in its columns")
        if is_json(pred) or is_json(target):
            return _grouped(_listed(pred, target, settings), settings)
        patterns = dict.fromkeys(settings.inputs, settings.gt_pattern)
        pairing = pair(
            {"pred": pred, "target": target, **settings.inputs},
            {"pred": settings.pred_pattern, "target": settings.gt_pattern, **patterns},
            classes,
        )
    return _grouped(pairing, settings)


def _listed(pred: Any, target: Any, settings: Settings) -> Pairing:
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
    boxes = settings.task == "detection" or is_results(files[0])
    return read_coco(*files) if boxes else read_panoptic(*files)


def _grouped(pairing: Pairing, settings: Settings) -> Pairing:
    """The pairs with their groups, where a pattern says what they are."""
    if settings.group_by is not None and not manifest_columns(settings.group_by):
        ids = list(pairing.pairs.named())
        if settings.missing == "worst":
            ids += [each.id for each in pairing.unpaired if each.kind == "missing"]
        pairing.groups = by_pattern(settings.group_by, ids)
    return pairing


def _task(terms: Sequence[Term], pairing: Pairing, settings: Settings) -> str | None:
    """The task as it is given, or as the input or the losses leave no other; None to find out."""
    if not any(isinstance(each, Boxes) for each in pairing.pairs[0].sources["pred"]):
        return settings.task or _only_task(terms, pairing.pairs[0].sources)
    if settings.task not in (None, "detection"):
        raise SettingError(f"COCO's results are for a detection task, not for {settings.task}")
    return "detection"


def _plan_records(task: str, pairing: Pairing, terms: Sequence[Term], settings: Settings) -> Plan:
    """The plan of vectors, scores, records or boxes."""
    given = {
        "--classes": None if task == "detection" else settings.classes,
        "--ignore": settings.ignore,
        "--pred-encoding": settings.pred_encoding,
        "--gt-encoding": settings.gt_encoding,
        "--resize": settings.resize,
        "--divisor": settings.divisor,
        "--things": settings.things,
        "--threshold": None if settings.threshold == Settings.threshold else settings.threshold,
        **{f"--input {role}": role in pairing.pairs[0].sources or None for role in ROLES},
        "{class} in a pattern": pairing.classes or None,
    }
    asked = ((term.name, *each) for term in terms for each in term.entry.asks)
    options = [option for option, value in given.items() if value is not None]
    if task == "detection":
        if any(term.options.get("iou_type") == "segm" for term in terms) and not is_installed():
            raise SettingError(NEEDED)
        classes = parse_classes(settings.classes)
        return plan_detections(pairing.pairs, pairing.categories, classes, options)
    return plan_records(task, pairing.pairs, asked, options)


def _plan_pixels(
    task: str | None, pairing: Pairing, terms: Sequence[Term], settings: Settings
) -> Plan:
    """The plan of masks, maps and images."""
    plan = make_plan(
        pairing.pairs,
        task=task,
        classes=parse_classes(settings.classes),
        ignore=settings.ignore,
        pred_encoding=settings.pred_encoding,
        gt_encoding=settings.gt_encoding,
        class_files=pairing.classes,
        resize=settings.resize,
        divisor=settings.divisor,
        things=_names(settings.things),
        categories=pairing.categories,
    )
    return plan_roles(plan, pairing.pairs, _forms(terms))


def _only_task(terms: Sequence[Term], inputs: Iterable[str]) -> str | None:
    """The task that is never guessed from files, where the losses have a meaning on no other.

    Scores are judged beside images where they have inputs of their own.
    """
    shared = set(USUAL).intersection(*(term.entry.all_tasks for term in terms)) if terms else set()
    if shared == {"scores", "image"}:
        return "image" if "d_fake" in inputs else "scores"
    (only,) = shared if len(shared) == 1 else ("",)
    return only if only in ("instances", "detection", *RECORDS) else None


def _names(given: str | Sequence[str] | None) -> list[str] | None:
    """Names with commas, one by one."""
    parts = given if given is None or isinstance(given, str) else ",".join(given)
    return None if parts is None else [part.strip() for part in parts.split(",") if part.strip()]


def _forms(terms: Sequence[Term]) -> dict[str, str]:
    """The form that each further input is asked for in, of several losses the first one's."""
    asked = [each for term in reversed(terms) for each in term.entry.roles.items()]
    return {role: form.removesuffix(registry.MAYBE) for role, form in asked}


def _check_class(check: Check, plan: Plan) -> None:
    """A gate's class must be one of the run's, in a column that has classes."""
    of_class = check.gate.of_class
    if not of_class or not check.column:
        return
    name = check.column.name
    if not plan.by_class:
        raise SettingError(
            f"the {plan.task} task has no class columns here; gate {name} without [{of_class}]"
        )
    if of_class not in plan.names:
        raise SettingError(
            f"no class is called {of_class!r}{did_you_mean(of_class, plan.names)};"
            f" there are {', '.join(plan.names)}"
        )
    if any(term.entry.returns == "PerSample" for term in check.column.terms):
        raise SettingError(f"{name} has no class columns")


def _check_weights(terms: Sequence[Term], settings: Settings) -> None:
    """Weights that a loss needs are given, in a cache, or may be downloaded."""
    for name in dict.fromkeys(name for term in terms for name in parameters(term)):
        if name in settings.weights or settings.offline:
            locate(name, settings.weights, settings.offline)


def _check_shard(terms: Sequence[Term], settings: Settings, pairs: int) -> None:
    """A share of the pairs is enough for every loss."""
    share(settings.shard, pairs)
    if settings.shard is not None:
        for term in terms:
            if term.gathers:
                raise SettingError(f"{term.name} needs all samples at once, which no shard has")
