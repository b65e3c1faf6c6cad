"""Whether losses fit a run: its task, its classes, the inputs that it has."""

from __future__ import annotations

from collections.abc import Iterable

from lossbench.catalog import registry
from lossbench.catalog.columns import Term
from lossbench.catalog.feature_needs import check_layers
from lossbench.errors import SettingError

PER_AXIS = ("spacing",)  # options with a number for each axis, where other lists have one a class
PER_LAYER = ("layers", "weights")  # and with one for each layer of a network
LEVELS = ("iou_thresholds",)  # or with as many as one likes


def check_task(terms: Iterable[Term], task: str, classes: int, encoding: str) -> None:
    """Refuse what has no meaning on a task, before anything is computed.

    Args:
        terms: what would be computed.
        task: binary, multiclass, multilabel, image, instances, detection, or one of records.
        classes: how many are judged; one, the foreground, on a binary task.
        encoding: what predictions hold.
    """
    for term in terms:
        name, options, entry = term.name, term.options, term.entry
        if task not in entry.all_tasks:
            every = [each for each in registry.entries() if task in each.all_tasks]
            fitting = [each.name for each in every if each.family == entry.family]
            raise SettingError(
                f"{name} has no meaning on {'an' if task[0] == 'i' else 'a'} {task} task"
                f" (it is for {', '.join(entry.all_tasks)});"
                f" these have: {', '.join(fitting or [each.name for each in every])}"
            )
        if "Logits" in entry.inputs.values() and encoding != "logits":
            raise SettingError(
                f"{name} needs logits, predictions are read as {encoding}; where they are logits,"
                " say so: --pred-encoding logits"
            )
        if task == "multiclass" and term.threshold not in (None, 0.5):
            raise SettingError(
                f"{name}: a multiclass task has no threshold; each pixel is its most likely class"
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
                    f"{name}: {option}={rule} weighs the classes of samples, and per_image=false"
                    " makes one of all; give numbers"
                )
        _check_map(term, task, classes)
        if "Features" in entry.forms:
            check_layers(name, options)
        wanted = judged(term, task, classes)
        for option, given in term.known.items():
            per_class = isinstance(given, tuple) and option not in (*PER_AXIS, *PER_LAYER, *LEVELS)
            if per_class and len(given) != wanted:
                raise SettingError(
                    f"{name}: {option} has {len(given)} numbers, the task has {wanted} classes"
                )


def check_roles(terms: Iterable[Term], given: Iterable[str]) -> None:
    """Hold the further inputs against what the losses ask for by the names of parameters.

    Raises:
        SettingError: a loss lacks one, or no loss of the run asks for one that is given.
    """
    terms, given = list(terms), set(given)
    for term in terms:
        compared = term.options.get("against") == "style"
        for role, form in term.roles.items():
            if role not in given and (compared or not form.endswith(registry.MAYBE)):
                raise SettingError(f"{term.name} needs the role {role}: --input {role}=DIR")
    asked = {role for term in terms for role in term.roles}
    for role, losses in registry.roles().items():
        if role in given and role not in asked:
            raise SettingError(
                f"no loss of this run asks for the role {role}; these do: {', '.join(losses)}"
            )


def check_maps(terms: Iterable[Term], inputs: Iterable[str]) -> None:
    """Options that are maps need their folders, and the folders a loss.

    Raises:
        SettingError: a loss lacks one, or no loss of the run asks for one that is given.
    """
    terms, inputs = list(terms), set(inputs)
    asked = {role: term.name for term in terms for role in term.mapped}
    maps = [term.weight_map for term in terms]
    for role, name in asked.items():
        if role not in inputs:
            raise SettingError(f"{name}({role}=role) needs its maps: --input {role}=DIR")
    if "pos_weight" in inputs and "pos_weight" not in asked:
        raise SettingError("no loss asks for the role pos_weight; try bce(pos_weight=role)")
    if "instances" in inputs and all(not each or each.name != "unet" for each in maps):
        raise SettingError("no loss asks for the role instances; try bce(weight_map=unet)")


def _check_map(term: Term, task: str, classes: int) -> None:
    """A weight map needs classes, and weights of each of them."""
    if term.weight_map is None:
        return
    if task == "detection":
        raise SettingError(f"{term.name}: a weight map is made from pixels, which boxes lack")
    if task == "image":
        raise SettingError(
            f"{term.name}: a weight map is made from the classes of the ground truth, which an"
            " image task lacks; give --input weight=DIR"
        )
    wanted = classes if task == "multiclass" else 2
    given = term.weight_map.options.get("class_weights")
    if given is not None and len(given) != wanted:
        raise SettingError(
            f"{term.name}: class_weights of {term.weight_map.name} has {len(given)} numbers, there"
            f" are {wanted} classes{'' if task == 'multiclass' else ', background and foreground'}"
        )


def judged(term: Term, task: str, classes: int) -> int:
    """How many classes a loss tells apart: on a binary task some have the background as well."""
    return 2 if task == "binary" and "Distribution" in term.entry.inputs.values() else classes
