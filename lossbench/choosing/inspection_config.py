"""The config that `lossbench inspect --write` writes: a plan, losses, and gates that hold now."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

from lossbench.catalog.columns import resolve
from lossbench.catalog.compatibility import check_roles, check_task
from lossbench.catalog.feature_needs import parameters
from lossbench.catalog.tasks import USUAL, usual_losses
from lossbench.choosing.inspection import Inspection
from lossbench.data.dataset import TASKS_WITHOUT_PIXELS
from lossbench.data.planning.classes import is_file
from lossbench.data.planning.ignored import describe_ranges
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.remote import is_url
from lossbench.engine.prepare import prepare
from lossbench.engine.progress import Progress
from lossbench.engine.settings import BY_NAME, SETTINGS, Settings
from lossbench.errors import LossbenchError, SettingError, printable
from lossbench.output import write_atomically
from lossbench.results.result import Result

DIGITS = 3  # of a bound
OWN = ("losses", "gates", "weights", "plugins", "device", "workers", "batch_size", "offline")
COMMENTS = {
    "task": "as the files show",
    "missing": "some ground truth has no prediction",
    "extra": "some predictions have no ground truth",
    "classes": "of the ground truth",
    "ignore": "left out of every sum",
    "pred_encoding": "how the numbers of predictions are read",
    "gt_encoding": "how the numbers of the ground truth are read",
}
WORD = re.compile(r"(?!(?:yes|no|on|off|y|n|true|false|null)$)[a-z]+")  # no quotes in YAML
Advance = Callable[[Progress], None]


def check_config_path(path: str, *, force: bool) -> None:
    """Refuse a config that exists, unless it is to be replaced.

    Raises:
        SettingError: the file exists, or its folder does not.
    """
    if os.path.exists(path) and not force:
        raise SettingError(f"--write {path} exists; --force overwrites it")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise SettingError(f"--write {path}: the folder {folder} does not exist; create it first")


def write_config(
    inspection: Inspection, path: str, *, force: bool = False, progress: Advance | None = None
) -> None:
    """Write a config for what was inspected; with predictions, this evaluates them.

    Raises:
        SettingError: the file exists, or the plan is undecided.
        OutputError: the file cannot be written.
    """
    check_config_path(path, force=force)
    if inspection.plan is None:
        question = next(each.message for each in inspection.findings if each.kind == "undecided")
        raise SettingError(f"--write {path} needs a plan: {question}")
    settings = _settings(inspection, inspection.plan)
    losses, result = _losses(inspection, inspection.plan), None
    if inspection.has_predictions:
        losses, result = _evaluated(settings, losses, progress)
    text = _text(inspection, settings, losses, result, os.path.dirname(os.path.abspath(path)))
    write_atomically(lambda file: Path(file).write_text(text, encoding="utf-8"), path)


def _settings(inspection: Inspection, plan: Plan) -> Settings:
    """The settings of the run with the plan's decisions, as far as they can be settings."""
    settings = inspection.settings
    decided: dict[str, Any] = {"task": plan.task}
    if plan.task not in TASKS_WITHOUT_PIXELS:
        has_values = not plan.target.colours and plan.target.definition.is_label_map
        scaled = settings.gt_scale is not None
        if settings.classes is None and plan.task == "multiclass" and has_values and not scaled:
            stored = {value: plan.names[index] for value, index in sorted(plan.target.values)}
            is_whole = list(stored) == list(range(len(plan.names)))
            decided["classes"] = len(plan.names) if is_whole else stored
            if inspection.has_predictions and not is_whole and plan.pred.values:
                decided["pred_values"] = (
                    "stored" if plan.pred.values == plan.target.values else "indices"
                )
        if plan.target.ignore:
            ranges = [
                describe_ranges((each,), colours=plan.target.colours) for each in plan.target.ignore
            ]
            decided["ignore"] = [int(each) if each.isdigit() else each for each in ranges]
        decided["gt_encoding"] = plan.target.encoding
        if inspection.has_predictions:
            decided["pred_encoding"] = plan.pred.encoding
    kinds = {each.kind for each in inspection.findings}
    if "missing" in kinds and settings.missing == "error":
        decided["missing"] = "skip"
    if "extra" in kinds:
        decided["extra"] = "skip"
    optional = ("pred_values", "classes", "ignore", "gt_encoding", "pred_encoding")
    names = [each for each in optional if each in decided]
    while True:  # what cannot be set beside other settings stays for the files to tell
        changed = replace(settings, **decided)
        try:
            prepare(replace(changed, losses=_first_losses(plan)))
            return changed
        except SettingError:
            if not names:
                raise
            decided.pop(names.pop(0))


def _first_losses(plan: Plan) -> tuple[str, ...]:
    return USUAL[plan.task][:1] or ("faster_rcnn",)


def _losses(inspection: Inspection, plan: Plan) -> list[str]:
    """The task's standard losses, and recommended ones that need no further file."""
    usual = usual_losses(
        plan.task,
        is_hard=plan.pred.is_hard,
        has_spacing=bool(plan.spacing),
        has_range=not plan.beyond,
        narrowest=plan.narrowest,
    )
    inputs = [*plan.masks, *plan.maps, *(each.role for each in plan.roles)]
    kept = []
    for text in dict.fromkeys([*usual, *(each.loss for each in inspection.recommended)]):
        (column,) = resolve([text], {})
        try:
            check_roles(column.terms, inputs)
            judged = 1 if plan.task == "binary" else len(plan.names)
            check_task(column.terms, plan.task, judged, plan.pred.encoding)
        except SettingError:
            continue
        if not any(parameters(term) for term in column.terms):
            kept.append(text)
    return kept


def _evaluated(
    settings: Settings, losses: Sequence[str], progress: Advance | None
) -> tuple[list[str], Result]:
    """The losses that have a value of every pair, and their result."""
    kept = list(losses)
    while True:
        try:
            result = prepare(replace(settings, losses=_items(kept))).evaluate(progress)
        except LossbenchError:
            works = [each for each in kept if _works(settings, each)]
            if len(works) == len(kept) or not works:
                raise
            kept = works
            continue
        refused = {each.loss for each in result.failed if each.loss}
        names = {each: {term.name for term in resolve([each], {})[0].terms} for each in kept}
        without = [each for each in kept if not names[each] & refused]
        if len(without) == len(kept) or not without:
            return kept, result
        kept = without


def _works(settings: Settings, loss: str) -> bool:
    try:
        prepare(replace(settings, losses=(loss,))).evaluate()
    except LossbenchError:
        return False
    return True


def _items(losses: Sequence[str]) -> tuple[str, ...]:
    """Losses as a setting, with names where they are more than a name."""
    return tuple(f"{n} = {each}" if n != each else each for each, n in _names(losses).items())


def _names(losses: Sequence[str]) -> dict[str, str]:
    """A name of each loss: itself, or the shortest of its words that no other loss has."""
    names = {loss: loss for loss in losses if loss.isidentifier()}
    for loss in losses:
        words = re.findall(r"[A-Za-z_]\w*|\d[\d.]*", loss)
        identifiers = [word for word in words if word.isidentifier()]
        is_call = re.fullmatch(r"\w+\(.*\)", loss)
        short = identifiers[0] if is_call else "_and_".join(identifiers)
        exact = re.sub(r"\W", "", "_".join(words))
        for name in (short, "_".join(identifiers), exact):
            if name not in names.values():
                names.setdefault(loss, name)
    return names


def lenient(value: float, better: str) -> Decimal:
    """A bound that a value meets: it, rounded in its third digit to the worse side."""
    exact = Decimal(repr(value))
    if not exact:
        return Decimal(0)
    rounding = ROUND_CEILING if better == "lower" else ROUND_FLOOR
    return exact.quantize(Decimal(1).scaleb(exact.adjusted() - DIGITS + 1), rounding)


def _gates(result: Result) -> list[tuple[str, str]]:
    """A gate on the mean of each loss, and the mean."""
    gates = []
    for column in result.columns:
        mean = result.aggregates[column.name]["mean"]
        if column.better is None or not math.isfinite(mean):
            continue
        sign = "<=" if column.better == "lower" else ">="
        bound = format(lenient(mean, column.better).normalize(), "f")
        gates.append((f"{column.name}.mean {sign} {bound}", f"{mean:.6g}"))
    return gates


def _text(
    inspection: Inspection,
    settings: Settings,
    losses: Sequence[str],
    result: Result | None,
    folder: str,
) -> str:
    """The config as YAML with comments."""
    whys = {each.loss: f"{each.why} [{each.figure}]" for each in inspection.recommended}
    lines = [
        "# Written by lossbench inspect; a start, to be edited.",
        f"# {_comment(inspection.plan_text)} · {inspection.pairs:,} pairs",
    ]
    tree: dict[str, list[str]] = {}
    for each in SETTINGS:
        value = getattr(settings, each.name)
        if each.name in OWN or value in (each.default, (), {}, None):
            continue
        if each.name == "pred" and not inspection.has_predictions:
            continue
        first, _, second = each.key.partition(".")
        comment = f"  # {COMMENTS[each.name]}" if each.name in COMMENTS else ""
        value = _value(each.name, value, folder)
        is_word = isinstance(value, str) and WORD.fullmatch(value)
        written = value if is_word else _flow(value)
        tree.setdefault(first, []).append(f"{second or first}: {written}{comment}")
        if not second:
            tree[first].append("")
    for first, members in tree.items():
        if members[-1] == "":
            lines.append(members[0])
        else:
            lines += [f"{first}:", *(f"  {each}" for each in members)]
    if not inspection.has_predictions:
        lines.append("# pred.path and gates are missing: lossbench inspect saw no predictions")
    lines.append("losses:")
    for loss, name in _names(losses).items():
        why = whys.get(loss, "standard loss of the task")
        named = loss if name == loss else f"{name}: {json.dumps(loss)}"
        lines.append(f"  - {named}  # {_comment(why)}")
    if result and (gates := _gates(result)):
        lines.append("gates:  # what the present predictions reach, rounded to the lenient side")
        lines += [f"  - {gate}  # {mean}" for gate, mean in gates]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    return printable(text).replace("\n", " ")


def _value(name: str, value: Any, folder: str) -> Any:
    """A setting for JSON, with paths as they are from the folder of the config."""
    kind = BY_NAME[name].type.kind
    if isinstance(value, Mapping):
        return {k: _path(v, folder) if name == "inputs" else v for k, v in value.items()}
    if kind == "path" or (name == "classes" and isinstance(value, str) and is_file(value)):
        return _path(value, folder)
    return list(value) if isinstance(value, tuple) else value


def _flow(value: Any) -> str:
    """A value as YAML on one line: JSON, whose keys may be numbers."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(each)}" for key, each in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _path(path: Any, folder: str) -> str:
    text = os.fspath(path)
    return text if is_url(text) else os.path.relpath(os.path.abspath(text), folder)
