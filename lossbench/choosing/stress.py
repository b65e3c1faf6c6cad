"""`lossbench stress`: the truth is damaged in steps, and losses answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lossbench.catalog.columns import Column
from lossbench.catalog.ranges import value_range
from lossbench.choosing.inspection import Inspection, inspect_folders, pair_folders
from lossbench.choosing.stress_profile import error_profile, likeness
from lossbench.choosing.stress_truth import (
    MOST_NUMBERS,
    Form,
    Truth,
    as_prediction,
    check_task,
    damaged,
    damages_of,
    read_truth,
    valid_inputs,
)
from lossbench.data.formats.stored_array import StoredArray
from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.plan import Plan
from lossbench.engine.prepare import prepare
from lossbench.engine.run import Run
from lossbench.engine.settings import Settings
from lossbench.errors import InputError, LossbenchError, SettingError
from lossbench.results.json_numbers import number
from lossbench.results.result import Result
from lossbench.runtime.array_types import FloatArray

SAMPLE = 10  # images that are damaged where nobody says how many
MOST_LOSSES = 8  # of the recommended ones
BATCH = 1 << 27  # bytes of damaged truths that are evaluated together
BLIND, WEAK, STRONG = "blind", "weak", "strong"
LIMITS = ((0.02, BLIND), (0.2, WEAK))  # responses below which a loss is called so
UNDAMAGED, PREDICTIONS = "undamaged", "predictions"
Report = Callable[[int, int], None]
Values = dict[str, list[tuple[str, float]]]  # by loss, of each image


@dataclass(frozen=True)
class Damage:
    """The answers to one level of a damage.

    Attributes:
        kind, level: what was done.
        text: the same in words.
        images: the number of images that it changes.
        values: the mean of each loss over these images.
        responses: the change of each loss as a share of its range; above 0 is worse.
    """

    kind: str
    level: float
    text: str
    images: int
    values: dict[str, float]
    responses: dict[str, float]


@dataclass(frozen=True)
class Likeness:
    """How alike the errors of predictions and of one level of a damage are, 1 for equal ones."""

    kind: str
    level: float
    text: str
    share: float


@dataclass
class Stress:
    """What each loss sees of each damage.

    Attributes:
        task: of the truth.
        images: the number of damaged images, of `pairs`.
        better: the better side of each loss.
        damages: kinds in order, each from mild to severe.
        undamaged: the value of each loss where the truth is its own prediction.
        sees: blind, weak or strong, by loss and kind.
        predictions: the values of predictions.
        alike: the damages in the order in which they look like the errors of predictions.
        notes: remarks for the user.
    """

    task: str
    images: int
    pairs: int
    better: dict[str, str | None]
    damages: list[Damage]
    undamaged: dict[str, float]
    sees: dict[str, dict[str, str]]
    predictions: dict[str, float] = field(default_factory=dict)
    alike: list[Likeness] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    exit_status: int = 0

    def as_json(self) -> dict[str, Any]:
        """Everything, with every digit."""
        model: dict[str, Any] = {
            "damages": [
                {"kind": each.kind, "level": each.level, "values": _numbers(each.values)}
                for each in self.damages
            ],
            "sees": self.sees,
            "undamaged": _numbers(self.undamaged),
            "notes": self.notes,
        }
        if self.predictions:
            model["against"] = {
                "values": _numbers(self.predictions),
                "alike": [
                    {"kind": each.kind, "level": each.level, "share": each.share}
                    for each in self.alike
                ],
            }
        return model

    @property
    def answer(self) -> str:
        """What the errors of predictions look like; "" without predictions."""
        if not self.predictions:
            return ""
        if not self.alike or not self.alike[0].share:
            return "your errors look like none of these damages"
        first = self.alike[0]
        second = next((each for each in self.alike if each.kind != first.kind), None)
        next_best = f"; the next is {second.text} ({second.share:.0%})" if second else ""
        return f"your errors look like {first.text} ({first.share:.0%} alike){next_best}"


def _numbers(values: Mapping[str, float]) -> dict[str, Any]:
    return {name: number(value) for name, value in values.items()}


def stress_folder(
    target: Any,
    losses: Sequence[str] = (),
    *,
    against: Any = None,
    sample: int | None = None,
    progress: Report | None = None,
    settings: Mapping[str, Any],
) -> Stress:
    """Damage a ground truth in steps and evaluate losses on it.

    Raises:
        SettingError: settings contradict each other, or the task has no damages.
        InputError: a folder is missing or empty, or a file cannot be read.
    """
    sample = SAMPLE if sample is None else sample
    inspection = inspect_folders(against, target, sample=sample, settings=settings)
    if inspection.plan is None:
        raise _undecided(inspection, has_predictions=against is not None)
    pairs = pair_folders(against, target, settings).pairs
    chosen = sorted({round(at) for at in np.linspace(0, len(pairs) - 1, min(sample, len(pairs)))})
    images = [pairs[at] for at in chosen]
    check_task(inspection.plan, images)
    plan, background, notes = inspection.plan, 0, list[str]()
    if plan.task == "multiclass":
        background = max(range(len(plan.names)), key=lambda at: _pixels(inspection, plan, at))
        notes.append(f"class {plan.names[background]}, the most frequent one, is the background")
    if len(images) < len(pairs):
        notes.append(f"{len(images)} of {len(pairs):,} images; --sample {len(pairs)} damages all")
    first = read_truth(plan, images[0], background)
    names = list(losses) or [each.loss for each in inspection.recommended]
    form, kept = _choose(plan, first, names, are_given=bool(losses))
    if dropped := [each for each in names if each not in kept]:
        notes.append(f"recommended, but not for damaged truths: {', '.join(dropped)}")
    trial = Trial(form, kept)
    for done, pair in enumerate(images, 1):
        truth = first if done == 1 else read_truth(plan, pair, background)
        trial.add(truth, pair if against is not None else None)
        if progress:
            progress(done, len(images))
    trial.finish()
    return trial.concluded(len(images), len(pairs), notes)


def _undecided(inspection: Inspection, *, has_predictions: bool) -> LossbenchError:
    """The error for files that cannot be read, or that can be read in several ways."""
    (finding,) = (each for each in inspection.findings if each.kind == "undecided")
    if inspection.exit_status:
        return InputError(finding.message)
    if has_predictions or not finding.readings:
        return SettingError(finding.message)
    options = (f"{each['meaning']}: {each['setting']}" for each in finding.readings)
    return SettingError(
        f"how is the ground truth to be read? {'; or '.join(dict.fromkeys(options))}"
    )


def _pixels(inspection: Inspection, plan: Plan, index: int) -> float:
    """The number of pixels of a class."""
    found = (each.pixels for each in inspection.classes if each.name == plan.names[index])
    return float(next(found, None) or 0)


def _choose(
    plan: Plan, first: Truth, names: Sequence[str], *, are_given: bool
) -> tuple[Form, list[str]]:
    """The form of predictions that the losses take, and the losses that work on it.

    Raises:
        SettingError: a loss that the user gives does not work.
    """
    forms = [Form(plan)]
    if plan.task == "multiclass" and plan.target.is_hard:
        forms.append(Form(plan, in_planes=True))
    elif plan.task == "multiclass":
        forms = [Form(plan, in_planes=True)]
    if are_given:
        for form in forms:
            try:
                _prepared(form, {first.id: first}, {first.id: form_of_itself(form, first)}, names)
            except LossbenchError as error:
                if form is forms[-1]:
                    raise
                refused = error
                continue
            return form, list(names)
        raise refused
    for form in forms:
        pair = {first.id: first}, {first.id: form_of_itself(form, first)}
        kept = [each for each in names if _works(form, *pair, each)][:MOST_LOSSES]
        if kept:
            return form, kept
    return forms[0], []  # the usual ones of the task


def form_of_itself(form: Form, truth: Truth) -> Any:
    """The truth as its own prediction."""
    if truth.picture:
        return truth.picture.stored
    if truth.levels is not None:
        return form.soft(truth, truth.levels)
    return form.hard(truth, [each.labels for each in truth.maps])


def _works(form: Form, truths: Mapping[str, Truth], pred: Any, loss: str) -> bool:
    try:
        run = _prepared(form, truths, pred, [loss])
        return not run.to_fetch and not run.evaluate().failed
    except LossbenchError:
        return False


def _prepared(
    form: Form, truths: Mapping[str, Truth], pred: Mapping[str, Any], losses: Sequence[str]
) -> Run:
    """The run of damaged truths, by id."""
    arrays = dict[int, Any]()
    for each in truths.values():
        if id(each) not in arrays:
            arrays[id(each)] = form.truth(each)
    targets = {id_: arrays[id(each)] for id_, each in truths.items()}
    inputs = valid_inputs(truths)
    return prepare(Settings(pred, targets, tuple(losses), inputs=inputs, **form.settings))


class Trial:
    """Damaged truths that wait to be evaluated, and the values of those that were."""

    def __init__(self, form: Form, losses: Sequence[str]) -> None:
        self.form, self.losses = form, losses
        self.columns: list[Column] = []
        self.values = dict[tuple[str, float], Values]()
        self.profiles = dict[tuple[str, float], FloatArray]()
        self.has_predictions = False
        self.errors = dict[str, str]()
        self._truths, self._pred = dict[str, Truth](), dict[str, Any]()
        self._keys = dict[str, tuple[str, tuple[str, float]]]()
        self._bytes = 0
        self._soft: tuple[dict[str, Truth], dict[str, Any]] = {}, {}
        self.notes = list[str]()

    def add(self, truth: Truth, pair: Pair | None) -> None:
        """Damage one truth in every way and at every level."""
        self._wait(truth, UNDAMAGED, 0, form_of_itself(self.form, truth))
        soft = self.form
        for damage in damages_of(self.form.plan.task):
            form = self.form
            if damage.change is None and form.plan.task == "multiclass" and not form.in_planes:
                numbers = truth.maps[0].labels.size * len(form.plan.names)
                if numbers > MOST_NUMBERS:
                    self.errors[damage.kind] = (
                        f"left out: {numbers:,} probabilities an image are beyond {MOST_NUMBERS:,}"
                    )
                    continue
                form = soft = replace(form, in_planes=True)
            for level in damage.levels:
                changed = damaged(form, truth, damage, level)
                if changed is None:
                    continue
                if pair:
                    self._add_profile(damage.kind, level, error_profile(form, truth, changed))
                self._wait(truth, damage.kind, level, changed, is_apart=form is not self.form)
        if pair:
            prediction = as_prediction(self.form, truth, pair)
            self._add_profile(PREDICTIONS, 0, error_profile(self.form, truth, prediction))
            self._wait(truth, PREDICTIONS, 0, prediction)
            self.has_predictions = True
        if self._soft[0]:
            self._evaluate(soft, *self._soft)
            self._soft = {}, {}
        if self._bytes > BATCH:
            self.finish()

    def _add_profile(self, kind: str, level: float, profile: FloatArray) -> None:
        self.profiles[kind, level] = self.profiles.get((kind, level), 0) + profile

    def _wait(
        self, truth: Truth, kind: str, level: float, pred: Any, *, is_apart: bool = False
    ) -> None:
        id_ = f"{truth.id}/{kind}/{level:g}"
        self._keys[id_] = truth.id, (kind, level)
        truths, predictions = self._soft if is_apart else (self._truths, self._pred)
        truths[id_], predictions[id_] = truth, pred
        self._bytes += (pred.array if isinstance(pred, StoredArray) else pred).nbytes

    def finish(self) -> None:
        """Evaluate what waits."""
        if self._truths:
            self._evaluate(self.form, self._truths, self._pred)
        self._truths, self._pred, self._bytes = {}, {}, 0

    def _evaluate(self, form: Form, truths: Mapping[str, Truth], pred: Mapping[str, Any]) -> None:
        try:
            result: Result = _prepared(form, truths, pred, self.losses).evaluate()
        except LossbenchError as error:
            if form is self.form:
                raise
            self.errors.setdefault("blurred_edges", str(error))
            return
        if form is self.form:
            self.columns = result.columns
        for each in result.failed:
            kind = self._keys[each.id][1][0] if each.id in self._keys else UNDAMAGED
            self.errors.setdefault(kind, each.message)
        for index, id_ in enumerate(result.ids):
            image, key = self._keys[id_]
            of_key = self.values.setdefault(key, {})
            for name, values in result.values.items():
                of_key.setdefault(name, []).append((image, float(values.column[index])))

    def concluded(self, images: int, pairs: int, notes: list[str]) -> Stress:
        """The answers of all losses."""
        damages, absent = list[Damage](), list[str]()
        whole = {name: dict(rows) for name, rows in self.values[UNDAMAGED, 0].items()}
        for damage in damages_of(self.form.plan.task):
            levels = [each for each in damage.levels if (damage.kind, each) in self.values]
            if not levels and damage.kind not in self.errors:
                absent.append(damage.kind)
            for level in levels:
                rows = self.values[damage.kind, level]
                text = damage.text.format(level=level)
                text = text.replace(" 1 pixels", " 1 pixel")
                means = {name: _means(each, whole[name])[0] for name, each in rows.items()}
                count = max(map(len, rows.values()))
                damages.append(Damage(damage.kind, level, text, count, means, {}))
        undamaged = {name: _mean(list(each.values())) for name, each in whole.items()}
        for column in self.columns:
            self._respond(column, damages, whole[column.name], undamaged[column.name], notes)
        if absent:
            notes.append(f"left out, because it changes nothing here: {', '.join(absent)}")
        notes += [f"{kind}: {message}" for kind, message in self.errors.items()]
        predictions = dict[str, float]()
        if self.has_predictions and (PREDICTIONS, 0) in self.values:
            rows = self.values[PREDICTIONS, 0]
            predictions = {name: _mean([value for _, value in each]) for name, each in rows.items()}
        return Stress(
            self.form.plan.task, images, pairs,
            {column.name: column.better for column in self.columns},
            damages, undamaged,
            {each.name: _seen(each.name, damages, notes) for each in self.columns},
            predictions, list(self._alike(damages)), notes,
        )  # fmt: skip

    def _respond(
        self,
        column: Column,
        damages: Sequence[Damage],
        whole: Mapping[str, float],
        undamaged: float,
        notes: list[str],
    ) -> None:
        """Add the response of a loss to every damage."""
        name, sign = column.name, -1 if column.better == "higher" else 1
        changes, bases = list[float](), list[float]()
        for each in damages:
            after, before = _means(self.values[each.kind, each.level][name], whole)
            bases.append(before)
            changes.append(sign * (after - before))
        low, high = value_range(column)
        end = {"lower": high, "higher": low}.get(column.better or "", math.inf)
        if math.isinf(undamaged):  # as PSNR is: changes count from the best damaged value
            finite = [each.values[name] for each in damages if math.isfinite(each.values[name])]
            best = min(finite, key=lambda value: sign * value, default=math.nan)
            notes.append(f"{name} is infinite without damage; its changes count from {best:.4g}")
            bases = [best] * len(damages)
            changes = [sign * (each.values[name] - best) for each in damages]
        largest = max((abs(each) for each in changes if math.isfinite(each)), default=0.0)
        for each, change, base in zip(damages, changes, bases, strict=True):
            size = abs(end - base) if math.isfinite(end) else largest
            each.responses[name] = change / size if size else change and change * math.inf

    def _alike(self, damages: Sequence[Damage]) -> Iterator[Likeness]:
        """The damages in the order in which they look like the predictions."""
        own = self.profiles.get((PREDICTIONS, 0))
        if own is None:
            return
        listed = [
            Likeness(
                each.kind, each.level, each.text,
                likeness(own, self.profiles[each.kind, each.level]),
            )
            for each in damages
        ]  # fmt: skip
        yield from sorted(listed, key=lambda each: -each.share)


def _mean(values: Sequence[float]) -> float:
    """The mean of defined values; undefined without one."""
    defined = [each for each in values if not math.isnan(each)]
    return sum(defined) / len(defined) if defined else math.nan


def _means(rows: Sequence[tuple[str, float]], whole: Mapping[str, float]) -> tuple[float, float]:
    """The means of a damage and of the undamaged truth, over images where both are defined."""
    both = [
        (value, whole.get(image, math.nan))
        for image, value in rows
        if not math.isnan(value) and not math.isnan(whole.get(image, math.nan))
    ]
    return _mean([value for value, _ in both]), _mean([value for _, value in both])


def _seen(name: str, damages: Sequence[Damage], notes: list[str]) -> dict[str, str]:
    """The word for each damage, from the response to its middle level."""
    words, undefined = dict[str, str](), list[str]()
    for kind in dict.fromkeys(each.kind for each in damages):
        of_kind = [each for each in damages if each.kind == kind]
        response = abs(of_kind[len(of_kind) // 2].responses.get(name, math.nan))
        if math.isnan(response):
            undefined.append(kind)
        else:
            words[kind] = next((word for limit, word in LIMITS if response < limit), STRONG)
    if undefined:
        notes.append(f"{name} is undefined on {', '.join(undefined)}")
    return words
