"""Whether losses fit a run: its task, its classes, its inputs."""

from __future__ import annotations

from collections.abc import Iterable

from lossbench.catalog import registry
from lossbench.catalog.columns import Term
from lossbench.catalog.feature_needs import check_layers
from lossbench.errors import SettingError

PER_AXIS = ("spacing",)  # list options with one number per axis
# All list options without one number per class: also one per layer, and any number.
NOT_PER_CLASS = (*PER_AXIS, "layers", "weights", "iou_thresholds")


COLOURS = (
    "; masks in colour are read once saved in grey, as with Image.convert('L'), or as classes with"
    " --classes '{road: \"#804080\"}'"
)


def check_task(
    terms: Iterable[Term], task: str, classes: int, encoding: str, *, is_detected: bool = False
) -> None:
    """Reject losses that do not fit a task, its classes, or the encoding of the predictions.

    A binary task has one class, the foreground.
    """
    for term in terms:
        name, options, entry = term.name, term.options, term.entry
        check_meaning(term, task, is_detected=is_detected)
        if "Logits" in entry.inputs.values() and encoding != "logits":
            raise SettingError(
                f"{name} needs logits, but predictions are read as {encoding}; if they are logits,"
                " use --pred-encoding logits"
            )
        if task == "multiclass" and term.threshold not in (None, 0.5):
            raise SettingError(
                f"{name}: threshold has no effect on a multiclass task, where each pixel has its"
                " most likely class"
            )
        if options.get("background", entry.background) != entry.background and (
            task != "multiclass"
        ):
            raise SettingError(
                f"{name}: background is an option of multiclass tasks; this is {task}"
            )
        if term.together:
            for option, rule in term.automatic.items():
                raise SettingError(
                    f"{name}: {option}={rule} weights the classes of each sample, but"
                    " per_image=false treats all samples as one; give numbers instead"
                )
        _check_map(term, task, classes)
        if "Features" in entry.forms:
            check_layers(name, options)
        expected = class_count(term, task, classes)
        for option, value in term.known.items():
            per_class = isinstance(value, tuple) and option not in NOT_PER_CLASS
            if per_class and len(value) != expected:
                raise SettingError(
                    f"{name}: {option} has {len(value)} numbers for {expected} classes"
                )


def check_meaning(term: Term, task: str, *, is_detected: bool = False) -> None:
    """Reject a loss that has no meaning on a task."""
    if task in term.entry.all_tasks:
        return
    supported = [each for each in registry.entries() if task in each.all_tasks]
    family = [each.name for each in supported if each.family == term.entry.family]
    detected = ", as which the files are read" if is_detected else ""
    raise SettingError(
        f"{term.name} has no meaning on {'an' if task[0] == 'i' else 'a'} {task} task{detected}"
        f" (only on {', '.join(term.entry.all_tasks)});"
        f" choose from: {', '.join(family or [each.name for each in supported])}"
        f"{COLOURS if is_detected and task == 'image' else ''}"
    )


def check_roles(terms: Iterable[Term], roles: Iterable[str]) -> None:
    """Check that roles that losses name have their input, and that the inputs are used."""
    terms, roles = list(terms), set(roles)
    for term in terms:
        uses_style = term.options.get("against") == "style"
        for role, form in term.roles.items():
            if role not in roles and (uses_style or not form.endswith(registry.MAYBE)):
                raise SettingError(f"{term.name} needs the role {role}: --input {role}=DIR")
    unused = roles - {"pred", "target"} - {role for term in terms for role in term.roles}
    for role, losses in registry.roles().items() if unused else ():
        if role in unused:
            raise SettingError(
                f"no loss of this run uses the role {role}; losses that do: {', '.join(losses)}"
            )


def check_maps(terms: Iterable[Term], inputs: Iterable[str]) -> None:
    """Check that options that are maps have their input, and that the inputs are used."""
    terms, inputs = list(terms), set(inputs)
    used = {role: term.name for term in terms for role in term.mapped}
    maps = [term.weight_map for term in terms]
    for role, name in used.items():
        if role not in inputs:
            raise SettingError(f"{name}({role}=role) needs its maps: --input {role}=DIR")
    if "pos_weight" in inputs and "pos_weight" not in used:
        raise SettingError("no loss uses the role pos_weight; try bce(pos_weight=role)")
    if "instances" in inputs and all(not each or each.name != "unet" for each in maps):
        raise SettingError("no loss uses the role instances; try bce(weight_map=unet)")


def _check_map(term: Term, task: str, classes: int) -> None:
    """Check that the task has classes for a weight map, and the number of its class weights."""
    if term.weight_map is None:
        return
    if task == "detection":
        raise SettingError(f"{term.name}: a weight map needs pixels; boxes have none")
    if task == "image":
        raise SettingError(
            f"{term.name}: a weight map needs the classes of the ground truth; an image task has"
            " none, so give --input weight=DIR"
        )
    expected = classes if task == "multiclass" else 2
    weights = term.weight_map.options.get("class_weights")
    if weights is not None and len(weights) != expected:
        names = "" if task == "multiclass" else ", background and foreground"
        raise SettingError(
            f"{term.name}: class_weights of {term.weight_map.name} has {len(weights)} numbers for"
            f" {expected} classes{names}"
        )


def class_count(term: Term, task: str, classes: int) -> int:
    """Number of classes of a loss; some count the background of a binary task as well."""
    return 2 if task == "binary" and "Distribution" in term.entry.inputs.values() else classes
