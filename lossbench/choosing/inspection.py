"""`lossbench inspect`: what folders hold, how a run would read them, and which losses follow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from lossbench.catalog.tasks import USUAL
from lossbench.choosing.inspection_objects import DISTANCES, SKELETON, has_skeletons
from lossbench.choosing.inspection_sample import SampleFacts, inspect_sample
from lossbench.choosing.inspection_sums import LISTED, SHOWN, ClassFigures, Finding, FolderSums
from lossbench.choosing.recommendations import Recommendation, recommend
from lossbench.data.dataset import holds_boxes, pair_inputs, plan_inputs
from lossbench.data.pairing.coco import read_coco
from lossbench.data.pairing.pairs import Pair, Pairing
from lossbench.data.pairing.panoptic import is_json, load_json
from lossbench.data.planning.classes import MAX_CLASSES
from lossbench.data.planning.evidence import IGNORED_LABEL
from lossbench.data.planning.ignored import describe_ranges
from lossbench.data.planning.make_plan import ReadingSettings
from lossbench.data.planning.plan import Plan
from lossbench.data.planning.readings import FOREGROUND, LABELS, PREDICTED, TRUTH
from lossbench.engine.batching import in_order
from lossbench.engine.settings import Settings, known_roles
from lossbench.errors import InputError, SettingError, UndecidedReadingError, counted, sized

SCHEMA = 1
SAMPLE = 10_000  # pairs of a larger set that are read where nobody says how many
AHEAD = 4  # pairs for each reader that are begun before the first one is taken
Report = Callable[[int, int], None]


@dataclass
class Inspection:
    """What folders hold, and what follows from it."""

    pairs: int
    plan: Plan | None
    has_predictions: bool
    classes: list[ClassFigures]
    findings: list[Finding]
    recommended: list[Recommendation]
    figures: dict[str, float]  # that rules compare with their limits, by name
    sides: dict[str, dict[str, Any]]
    settings: Settings
    exit_status: int = 0

    @property
    def evidence(self) -> list[dict[str, str]]:
        """What each side shows, for the encoding that the plan gives it."""
        if self.plan is None:
            return []
        rows: dict[str, Sequence[Any]] = {"gt": TRUTH}
        if self.has_predictions:
            rows["pred"] = (
                *PREDICTED.get(self.plan.target.encoding, FOREGROUND),
                *LABELS,
                *FOREGROUND,
            )
        needs = []
        for name, table in rows.items():
            reading = self.plan.target if name == "gt" else self.plan.pred
            needed = next(
                (each.evidence for each in table if each.encoding == reading.encoding), ""
            )
            needs.append(
                {
                    "side": name,
                    "reading": str(reading),
                    "needs": needed,
                    "seen": reading.seen or _values(self.sides[name]),
                }
            )
        return needs

    @property
    def plan_text(self) -> str:
        """The plan in one line; without predictions, that of the ground truth."""
        if self.plan is None:
            return "undecided"
        if self.has_predictions:
            return self.plan.described(with_evidence=True)
        target = self.plan.target
        several = f" · {len(self.plan.names)} classes" if self.plan.by_class else ""
        spacing = f" · spacing {self.plan.spacing}" if self.plan.spacing else ""
        return f"{self.plan.task} · gt: {target} {target.seen}".rstrip() + several + spacing

    def as_json(self) -> dict[str, Any]:
        """Everything, with every digit."""
        plan = self.plan and {
            "text": self.plan_text,
            "task": self.plan.task,
            "gt": self.plan.target.encoding,
            "pred": self.plan.pred.encoding if self.has_predictions else None,
            "classes": list(self.plan.names),
            "ignore": [
                describe_ranges((each,), colours=self.plan.target.colours)
                for each in self.plan.target.ignore
            ],
            "spacing": self.plan.spacing or None,
            "notes": list(self.plan.notes),
            "evidence": self.evidence,
        }
        return {
            "schema": SCHEMA,
            "pairs": self.pairs,
            "plan": plan,
            "classes": [
                {k: v for k, v in asdict(each).items() if k not in ("is_background", "main_area")}
                for each in self.classes
            ],
            "findings": [each.as_json() for each in self.findings],
            "recommended": [asdict(each) for each in self.recommended],
            "files": self.sides,
        }

    def as_tables(self) -> Iterator[tuple[str, list[str], list[list[str]], tuple[int, ...]]]:
        """Title, headings, rows and left columns of each table."""
        title = f"{counted(self.pairs, 'pair')} · {self.plan_text}"
        rows = [
            [each["side"], each["reading"], each["needs"], each["seen"]] for each in self.evidence
        ]
        yield (
            title,
            ["side", "reading", "because the files show", "size and range"],
            rows,
            (0, 1, 2, 3),
        )
        rows = []
        for name, side in self.sides.items():
            sizes = ", ".join(f"{sized(size)} ({count})" for size, count in side["sizes"])
            modes = ", ".join(f"{mode} ({count})" for mode, count in side["modes"].items())
            rows.append([name, str(side["files"]), sizes or "–", modes or "–", _values(side)])
        yield "files", ["side", "files", "sizes", "modes", "values"], rows, (0, 2, 3, 4)
        if self.classes:
            yield (
                f"classes (lengths by {SKELETON if has_skeletons() else DISTANCES})",
                ["class", "pixels", "share", "images", "objects", "median area", "lowest tenth",
                 "border", "width", "thin", "touch"],
                [_class_row(each) for each in self.classes],
                (0,),
            )  # fmt: skip
        if self.findings:
            rows = [[e.kind, str(e.count or ""), e.message] for e in self.findings]
            yield "findings", ["kind", "files", "what"], rows, (0, 2)
        if self.recommended:
            rows = [[e.loss, e.figure, e.why, e.source] for e in self.recommended]
            yield "recommended", ["loss", "figure", "why", "source"], rows, (0, 1, 2, 3)


def _values(side: Mapping[str, Any]) -> str:
    if side["values"] is None:
        return f"{side['low']:g} … {side['high']:g}"
    shown = ", ".join(f"{value:g}" for value in side["values"][: 2 * SHOWN])
    return (shown or "–") + (", …" if len(side["values"]) > 2 * SHOWN else "")


def _class_row(each: ClassFigures) -> list[str]:
    def shown(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    return [
        each.name,
        shown(each.pixels, ",.0f"),
        shown(each.share, ".4f"),
        str(each.images),
        shown(each.objects, ","),
        shown(each.median_area, ",.6g"),
        shown(each.smallest_tenth, ",.6g"),
        shown(each.on_border, ".3f"),
        shown(each.width, ".2f"),
        shown(each.thinness, ".2f"),
        shown(each.touching, ".3f"),
    ]


def inspect_folders(
    pred: Any,
    target: Any,
    *,
    sample: int | None = None,
    progress: Report | None = None,
    settings: Mapping[str, Any],
) -> Inspection:
    """Inspect a ground truth, with or without predictions.

    Raises:
        SettingError: settings contradict each other.
        InputError: a folder is missing or empty, or nothing matches.
    """
    run = Settings(pred if pred is not None else target, target, **settings)
    reading = ReadingSettings(**vars(run))
    pairing = _pair(pred, target, run, reading)
    findings = list(_unpaired(pairing)) if pred is not None else []
    plan: Plan | None = None
    try:
        plan = plan_inputs(
            pairing,
            reading,
            "detection" if holds_boxes(pairing) else run.task,
            asks=(),
            role_forms={},
            tasks=set(USUAL),
            of_pictures=False,
            masks=False,
        )
    except UndecidedReadingError as question:
        findings.append(Finding("undecided", str(question), readings=question.readings))
    except SettingError as question:
        findings.append(Finding("undecided", str(question)))
    except InputError as error:
        findings.append(Finding("undecided", f"no plan can be made: {error}"))
    roles = ("pred", "target") if pred is not None else ("target",)
    count = len(pairing.pairs)
    limit = SAMPLE if sample is None else sample
    chosen = sorted({round(at) for at in np.linspace(0, count - 1, min(limit, count))})
    if len(chosen) < count:
        advice = (
            f"figures are those of {len(chosen):,} of {count:,} pairs; --sample {count} reads all"
        )
        findings.append(Finding("sampled", advice, len(chosen)))
    sums = FolderSums(plan, pred is not None)
    workers = run.readers
    work = partial(_inspected, plan, roles)
    tasks = (pairing.pairs[at] for at in chosen)
    for number, facts in enumerate(in_order(work, tasks, workers, AHEAD * workers), 1):
        sums.add(facts.result())
        if progress:
            progress(number, len(chosen))
    sums.finish()
    classes = sums.class_figures()
    figures = sums.figures(classes)
    findings += sums.findings(classes)
    return Inspection(
        count,
        sums.plan,
        pred is not None,
        classes,
        findings,
        recommend(sums.plan.task, figures, sums.weights(classes)) if sums.plan else [],
        figures,
        {"gt" if role == "target" else role: each.as_json() for role, each in sums.sides.items()},
        run,
        3 if any(each.kind == "unreadable" for each in findings) else 0,
    )


def _inspected(plan: Plan | None, roles: tuple[str, ...], pair: Pair) -> SampleFacts:
    """The facts of a pair; labels beyond those of the sample make further classes."""
    facts = inspect_sample(plan, pair, roles)
    if plan and plan.has_open_labels and any(each.labels for each in facts.errors):
        labels = {label for each in facts.errors for label in each.labels}
        usual = {label for label in labels if 0 <= label < MAX_CLASSES} - {IGNORED_LABEL}
        if usual and max(usual) >= len(plan.names):
            return inspect_sample(plan.with_labels(max(usual)), pair, roles)
    return facts


def pair_folders(pred: Any, target: Any, settings: Mapping[str, Any]) -> Pairing:
    """The pairs of a ground truth, with or without predictions."""
    run = Settings(pred if pred is not None else target, target, **settings)
    return _pair(pred, target, run, ReadingSettings(**vars(run)))


def _pair(pred: Any, target: Any, run: Settings, reading: ReadingSettings) -> Pairing:
    """The pairs; without predictions the ground truth stands in for them."""
    if pred is None and is_json(target) and _is_instances(os.fspath(target)):
        return read_coco(None, os.fspath(target))
    if pred is None and run.gt_pattern and not run.pred_pattern:
        reading.pred_pattern = run.gt_pattern
    if pred is not None:
        reading.missing = "skip" if run.missing == "error" else run.missing
        reading.extra = "skip"
    try:
        return pair_inputs(run.pred, run.target, reading, known_roles())
    except InputError as error:
        if pred is None:  # the folder that is missing is that of the ground truth
            error.message = error.message.replace("(pred)", "(target)")
        raise


def _is_instances(path: str) -> bool:
    """Whether a JSON file lists boxes, where a panoptic one lists the segments of pictures."""
    model = load_json("target", path)
    listed = model.get("annotations") if isinstance(model, dict) else None
    first = next(iter(listed or ()), None)
    return isinstance(first, dict) and "segments_info" not in first


def _unpaired(pairing: Pairing) -> Iterator[Finding]:
    """The files without a partner."""
    texts = {
        "missing": "have a ground truth and no prediction",
        "extra": "have a prediction and no ground truth",
        "duplicate": "have several files of one id",
    }
    for kind in dict.fromkeys(each.kind for each in pairing.unpaired):
        ids = [each.id for each in pairing.unpaired if each.kind == kind]
        text = texts.get(kind, f"cannot be paired ({kind})")
        yield Finding(kind, f"{len(ids):,} samples {text}", len(ids), tuple(ids[:LISTED]))
