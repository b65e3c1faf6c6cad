"""A run prepared: files paired, the plan decided, every setting checked; nothing is computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace

from lossbench.catalog import registry
from lossbench.catalog.columns import Column, Term, first_open_range, resolve
from lossbench.catalog.compatibility import check_maps, check_meaning, check_roles, check_task
from lossbench.catalog.feature_needs import parameters, required_features
from lossbench.catalog.tasks import USUAL, usual_losses
from lossbench.data.dataset import TASKS_WITHOUT_PIXELS, holds_boxes, pair_inputs, plan_inputs
from lossbench.data.loading.detections import crowded_images
from lossbench.data.loading.glance import sampled
from lossbench.data.pairing.pairs import Pairing
from lossbench.data.planning.make_plan import ReadingSettings
from lossbench.data.planning.plan import Plan
from lossbench.engine.convention_columns import comparison, meant_otherwise
from lossbench.engine.run import Run
from lossbench.engine.settings import Settings, known_roles
from lossbench.engine.shards import share
from lossbench.errors import SettingError, did_you_mean
from lossbench.networks.architectures import SEEDED
from lossbench.networks.weights import locate
from lossbench.results.baseline import Baseline
from lossbench.results.gates import Check, as_gate, check

RANDOM = f"{SEEDED} has random weights: its numbers show that a run works, and nothing else"
NO_THRESHOLD = {
    **dict.fromkeys(TASKS_WITHOUT_PIXELS, "--threshold has no meaning on a {task} task"),
    "instances": "an instances task has no threshold: masks and instances are given",
    "multiclass": "a multiclass task has no threshold: each pixel is its most likely class",
}


def prepare(settings: Settings) -> Run:
    """Check settings, pair the files and decide the plan; nothing is computed."""
    baseline = Baseline.read(settings.baseline, settings.ci) if settings.baseline else None
    standard = USUAL[settings.task] if settings.task in TASKS_WITHOUT_PIXELS else ()
    losses = settings.losses or standard
    columns, _ = columns_and_checks(losses, settings, None)  # mistakes, before files are opened
    for term in [term for column in columns for term in column.terms if settings.task]:
        check_meaning(term, settings.task or "")
    reading = ReadingSettings(**vars(settings))
    further = known_roles() if settings.manifest is not None else ()
    pairing = pair_inputs(settings.pred, settings.target, reading, further)
    inputs = pairing.pairs[0].sources
    terms = [term for column in columns for term in column.terms]
    check_roles(terms, inputs)
    common = _common_tasks(terms)
    task = "detection" if holds_boxes(pairing) else settings.task or _only_task(common, inputs)
    plan = plan_inputs(
        pairing,
        reading,
        task,
        asks=((term.name, *each) for term in terms for each in term.entry.named_inputs),
        role_forms=_role_forms(terms),
        tasks=common or set(USUAL),
        of_pictures=any(term.entry.tasks[0] == "image" for term in terms),
        masks=any(term.options.get("iou_type") == "segm" for term in terms),
    )
    if plan.task in NO_THRESHOLD and settings.threshold != Settings.threshold:
        raise SettingError(NO_THRESHOLD[plan.task].format(task=plan.task))
    usual = usual_losses(
        plan.task,
        is_hard=plan.pred.is_hard,
        has_spacing=bool(plan.spacing),
        has_range=not plan.beyond,
        narrowest=plan.narrowest,
    )
    settings = replace(settings, losses=settings.losses or usual)
    if not settings.losses:
        raise SettingError(f"a {plan.task} task has no usual losses; give --loss")
    columns, checks = columns_and_checks(settings.losses, settings, plan.task)
    elsewhere = comparison(columns, settings, plan.task)
    terms = [term for column in columns for term in column.terms]
    terms += [term for each in elsewhere for term in each.column.terms]
    judged = 1 if plan.task == "binary" else len(plan.names)
    check_task(terms, plan.task, judged, plan.pred.encoding, is_detected=not settings.task)
    check_maps(terms, inputs)
    if plan.beyond and (open_range := first_open_range(columns)):
        raise SettingError(
            f"{open_range} needs the range of the values, which are no 0 … 1: {plan.beyond}; give"
            f" {open_range}(data_range=255) or another largest minus smallest possible value, or"
            " --pred-scale and --gt-scale, the numbers that mean 1"
        )
    for name in dict.fromkeys(name for term in terms for name in parameters(term)):
        if name in settings.weights or settings.offline:
            locate(name, settings.weights, settings.offline)  # refuses weights that are nowhere
    share(settings.shard, len(pairing.pairs))  # refuses a shard of too few pairs
    for term in terms:
        if term.gathers and settings.shard is not None:
            raise SettingError(f"{term.name} needs all samples at once, which no shard has")
    notes = meant_otherwise(columns, settings, plan.task)
    notes += [*pairing.notes, *_notes_of_objects(pairing, plan, terms)]
    plan, settings = _what_is_kept(plan, terms, settings, notes)
    ids = sampled(pairing.pairs.named(), len(pairing.pairs))
    plan = replace(plan, sampled=ids, threshold=settings.threshold)
    for each in checks:
        _check_class(each, plan)
    if baseline:
        baseline.check(checks, plan.identity, plan.has_open_labels)
    return Run(settings, pairing, plan, columns, checks, baseline, elsewhere)


def columns_and_checks(
    losses: Sequence[str], settings: Settings, task: str | None
) -> tuple[list[Column], list[Check]]:
    """The columns to compute, those of gates among them, and the checks that gates make."""
    gates = [as_gate(gate) for gate in settings.gates]
    defaults = settings.defaults(settings.preset, task)
    columns = resolve(losses, defaults, gates)
    context = {
        "has_baseline": bool(settings.baseline),
        "has_groups": settings.group_by is not None,
    }
    return columns, [check(gate, columns, defaults, **context) for gate in gates]


def _common_tasks(terms: Sequence[Term]) -> set[str]:
    """The tasks on which every loss has a meaning; none where losses exclude each other."""
    return set(USUAL).intersection(*(term.entry.all_tasks for term in terms))


def _only_task(common: Set[str], inputs: Iterable[str]) -> str | None:
    """The task that is never guessed from files, where the losses have a meaning on no other.

    Scores are judged beside images where they have inputs of their own.
    """
    if common == {"scores", "image"}:
        return "image" if "d_fake" in inputs else "scores"
    (only,) = common if len(common) == 1 else ("",)
    return only if only in ("instances", *TASKS_WITHOUT_PIXELS) else None


def _role_forms(terms: Sequence[Term]) -> dict[str, str]:
    """The form in which losses want each further role; where losses differ, the first one's."""
    forms = [each for term in reversed(terms) for each in term.entry.roles.items()]
    return {role: form.removesuffix(registry.MAYBE) for role, form in forms}


def _notes_of_objects(pairing: Pairing, plan: Plan, terms: Sequence[Term]) -> Iterator[str]:
    """What the default number of detections leaves out."""
    for term in terms if plan.task == "detection" else ():
        option = term.entry.options.get("max_detections")
        limit = term.options.get("max_detections")
        if option is None or limit != option.default:
            continue
        if crowded := crowded_images(plan, pairing.pairs, limit):
            most, name, id_ = max(crowded)
            yield (
                f"{len(crowded)} of {len(pairing.pairs)} images have more than {limit} objects of a"
                f" class, up to {most} ({name} in {id_}); {term.name} counts {limit} detections of"
                f" a class in an image, {term.name}(max_detections={most}) all"
            )
        return


def _what_is_kept(
    plan: Plan, terms: Sequence[Term], settings: Settings, more: Sequence[str]
) -> tuple[Plan, Settings]:
    """The plan with tables of counts for losses that can do with them, pixels for the others.

    Tables are always computed on the CPU: they are done before a GPU has started.
    """
    counted = [plan.countable and term.countable(plan.task) for term in terms]
    plan = replace(plan, counted=any(counted), pixels=not all(counted))
    notes = [*plan.notes, *more]
    if not plan.pixels:
        if settings.device not in ("auto", "cpu"):
            notes.append(
                "every loss follows from counts of pixels, which are evaluated on the CPU;"
                f" --device {settings.device} changes nothing"
            )
        settings = replace(settings, device="cpu")
    if any((needs := required_features(term)) and needs[0].network == SEEDED for term in terms):
        notes.append(RANDOM)
    return replace(plan, notes=tuple(notes)), settings


def _check_class(check: Check, plan: Plan) -> None:
    """Refuse a gate of a class that the run, or the gate's column, does not have."""
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
