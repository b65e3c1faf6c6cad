"""Whether the gradient of a loss is what finite differences say, on small inputs in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lossbench.catalog.columns import Column, Term, resolve
from lossbench.catalog.compatibility import class_count
from lossbench.catalog.grammar import fold
from lossbench.catalog.registry import MAYBE
from lossbench.errors import LossbenchError, SettingError
from lossbench.training.tensor_loss import tensor_loss

CLASSES = {"binary": 1, "multiclass": 3, "multilabel": 3, "image": 3}
OF_ITS_OWN = ("vectors", "scores", "detection", "records")  # tasks without pixels, of one encoding
TASKS = (*CLASSES, *OF_ITS_OWN)
SIZES = ((4, 3), (16, 16), (192, 192))  # the first that the loss has a value of
STEP, ABSOLUTE, RELATIVE = 1e-6, 1e-5, 1e-3  # those of torch.autograd.gradcheck
MOST = 32  # elements whose slope is measured, drawn where there are more
FAR = 1e4  # logits of a prediction that is certain
SAMPLES, LENGTH, REGIONS, SIDE = 4, 5, 3, 4  # of inputs without pixels

Tensors = Mapping[str, Tensor]


class Drawn(NamedTuple):
    """Inputs of a loss: outputs of networks, by role or by name in a record, and what is fixed."""

    outputs: Tensors
    fixed: Tensors


@dataclass(frozen=True)
class Slope:
    """The gradient of a loss on one task, for one encoding of the prediction."""

    task: str  # one of TASKS
    encoding: str  # probability, logits or image; on other tasks the name of the task
    difference: float  # the largest one between the analytic slope and the central difference
    agrees: bool  # whether all slopes are within the tolerance
    finite: bool  # whether the gradient is finite where the prediction is certain, right or wrong

    @property
    def passed(self) -> bool:
        return self.agrees and self.finite


def slopes(expression: str, task: str | None, seed: int) -> list[Slope]:
    """The gradient of an expression of losses on every task and for every encoding it has."""
    (column,) = resolve([expression], {})
    for term in column.terms:
        if not set(TASKS) & set(term.entry.tasks):
            raise SettingError(
                f"{term.name} has no gradient with respect to pixels; it is for"
                f" {', '.join(term.entry.tasks)}"
            )
    shared = [each for each in TASKS if all(each in _tasks(term) for term in column.terms)]
    if task is not None and task not in TASKS:
        raise SettingError(f"task is one of {', '.join(TASKS)}, not {task!r}")
    if task is not None and task not in shared:
        raise SettingError(
            f"{column.name} has no meaning on a task {task}; it is for {', '.join(shared)}"
        )
    if not shared:
        raise SettingError(f"there is no task that all losses of {column.name} are for")
    forms = {form for term in column.terms for form in term.entry.inputs.values()}
    soft = ("logits",) if "Logits" in forms else ("probability", "logits")
    return [
        _slope(column, each, encoding, seed)
        for each in ([task] if task else shared)
        for encoding in (soft if each in CLASSES and each != "image" else (each,))
    ]


def _tasks(term: Term) -> tuple[str, ...]:
    """The tasks of a loss; one of scores has no gradient with respect to a picture beside them."""
    return ("scores",) if term.entry.tasks[0] == "scores" else term.entry.tasks


def _slope(column: Column, task: str, encoding: str, seed: int) -> Slope:
    for size in SIZES if task in CLASSES else SIZES[:1]:
        drawn = _drawn(column, task, encoding, size, seed)
        value = _value_of(column, task, encoding, drawn.fixed)
        outputs = _as_leaves(drawn.outputs)
        try:
            values = value(outputs)
        except SettingError:
            if size == SIZES[-1] or task not in CLASSES:
                raise
            continue
        if not values.isnan().all():
            break
    else:
        raise SettingError(f"{column.name} is undefined on every input that was tried")
    if not values.requires_grad:
        for term in column.terms:
            if "Array" in term.entry.inputs.values():
                raise SettingError(
                    f"{term.name} has no gradient: it gets arrays of numpy; where its parameters"
                    f" are annotated `torch.Tensor` it gets tensors ({term.entry.location})"
                )
        raise SettingError(
            f"{column.name} has no gradient: small steps of the prediction do not change it"
        )
    analytic = _gradient(values, outputs)
    difference, agrees = 0.0, True
    flat = torch.cat([each.detach().flatten() for each in outputs.values()])
    order = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed))
    for index in order[:MOST].tolist():
        step = torch.zeros_like(flat)
        step[index] = STEP
        above, below = (
            float(value(_shaped(moved, outputs)).nansum()) for moved in (flat + step, flat - step)
        )
        measured = (above - below) / (2 * STEP)
        error = abs(float(analytic[index]) - measured)
        difference = max(difference, error)
        agrees = agrees and error <= ABSOLUTE + RELATIVE * abs(measured)
    finite = all(
        bool(_gradient(value(end), end).isfinite().all()) for end in _ends(task, encoding, drawn)
    )
    return Slope(task, encoding, difference, agrees, finite)


def _gradient(values: Tensor, outputs: Tensors) -> Tensor:
    """The gradient with respect to every number of the outputs; 0 where they have no effect."""
    inputs = tuple(outputs.values())
    slopes = torch.autograd.grad(values.nansum(), inputs, allow_unused=True)
    pairs = zip(slopes, inputs, strict=True)
    return torch.cat([(torch.zeros_like(x) if g is None else g).flatten() for g, x in pairs])


def _shaped(flat: Tensor, like: Tensors) -> Tensors:
    """The tensors whose numbers follow each other in `flat`."""
    parts = flat.split([each.numel() for each in like.values()])
    pairs = zip(like.items(), parts, strict=True)
    return {name: part.reshape(each.shape) for (name, each), part in pairs}


def _value_of(
    column: Column, task: str, encoding: str, fixed: Tensors
) -> Callable[[Tensors], Tensor]:
    """The expression as a function of the outputs alone.

    An exception of a user's own loss becomes an error of one sentence.
    """
    arguments: dict[str, Any] = {"encoding": encoding} if task in CLASSES else {}
    if task in CLASSES and encoding != "image":
        arguments["task"] = task

    def of_term(term: Term, outputs: Tensors) -> Tensor:
        if task == "records":
            return tensor_loss(term.name)(outputs, fixed, **term.options)
        classes = class_count(term, task, CLASSES.get(task, 0))
        numbers = tuple(1 + number / 2 for number in range(classes))  # there is no data set
        options: dict[str, Any] = {**term.options, **dict.fromkeys(term.automatic, numbers)}
        inputs = {**fixed, **outputs}
        options |= {role: inputs[role] for role in term.roles if role in inputs}
        return tensor_loss(term.name)(inputs["pred"], inputs["target"], **arguments, **options)

    def value(outputs: Tensors) -> Any:
        try:
            return fold(column.node, lambda term: of_term(term, outputs))
        except LossbenchError as error:
            raise SettingError(str(error)) from None
        except (Exception, SystemExit) as error:
            plugins = [term.entry.plugin for term in column.terms if term.entry.plugin]
            if not plugins:
                raise
            raise SettingError(f"{column.name} failed: {plugins[0].describe(error)}") from None

    return value


def _drawn(column: Column, task: str, encoding: str, size: Sequence[int], seed: int) -> Drawn:
    """Inputs of a few samples."""
    random = torch.Generator().manual_seed(seed)
    if task == "records":
        return _records(random)
    pred, target = _pixels(task, encoding, size, random) if task in CLASSES else _pair(task, random)
    outputs, fixed = {"pred": pred}, {"target": target}
    for term in column.terms:
        if task not in CLASSES and dict(term.entry.named_inputs).get("target") == "Label":
            fixed["target"] = torch.tensor([0, 0, 1, 1])
        for role, form in term.roles.items():
            optional = form.endswith(MAYBE) and task not in CLASSES
            if optional or role in outputs or role in fixed:
                continue
            if form == "Label":
                fixed[role] = torch.tensor([0, 1, 0, 1])
            elif role.startswith("target"):
                fixed[role] = _other(task, encoding, size, random)
            else:
                other = _other(task, encoding, size, random)
                outputs[role] = other.abs() if form == "Scores" else other  # such as norms
    return Drawn(outputs, fixed)


def _other(task: str, encoding: str, size: Sequence[int], random: torch.Generator) -> Tensor:
    """A further input, drawn as predictions are."""
    return (_pixels(task, encoding, size, random) if task in CLASSES else _pair(task, random))[0]


def _pair(task: str, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """A prediction and a target without pixels: vectors, scores or boxes that overlap."""
    shape = (SAMPLES, 2 if task == "detection" else LENGTH)
    if task != "detection":
        pred, target = torch.randn((2, *shape), generator=random, dtype=torch.float64)
        return pred, target
    corners = torch.rand((2, *shape), generator=random, dtype=torch.float64)
    sizes = 1 + torch.rand((2, *shape), generator=random, dtype=torch.float64)
    pred, target = torch.cat([corners, corners + sizes], -1)
    return pred, target


def _records(random: torch.Generator) -> Drawn:
    """Anchors and masks of regions, as the losses of records name them."""

    def normal(*shape: int) -> Tensor:
        return torch.randn((2, *shape), generator=random, dtype=torch.float64)

    masks = (normal(REGIONS, SIDE, SIDE) > 0).double()
    outputs = {
        "logits": normal(LENGTH),
        "deltas": normal(LENGTH, 4),
        "mask_logits": normal(REGIONS, 3, SIDE, SIDE),
    }
    labels = torch.tensor([1, 0, -1, 1, 0]).repeat(2, 1)
    regions = torch.tensor([1, 0, 2]).repeat(2, 1)
    fixed = {"labels": labels, "deltas": normal(LENGTH, 4), "mask_labels": regions, "masks": masks}
    return Drawn(outputs, fixed)


def _pixels(
    task: str, encoding: str, size: Sequence[int], random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A prediction and a target of two samples."""
    shape = (2, CLASSES[task], *size)
    logits = 2 * torch.randn(shape, generator=random, dtype=torch.float64)
    if task == "multiclass":
        labels = torch.randint(0, shape[1], (2, *size), generator=random)
        target = functional.one_hot(labels, shape[1]).movedim(-1, 1).double()
    elif task == "image":
        target = torch.rand(shape, generator=random, dtype=torch.float64)
    else:
        target = (torch.rand(shape, generator=random) < 0.4).double()
    pred = logits
    if encoding != "logits":
        pred = logits.softmax(1) if task == "multiclass" else logits.sigmoid()
    return pred, target


def _ends(task: str, encoding: str, drawn: Drawn) -> Iterator[Tensors]:
    """Predictions that are certain: right, wrong, and one and the same everywhere."""
    outputs, fixed = drawn
    if task == "records":
        for sign in (-1, 1):
            yield _as_leaves({name: torch.full_like(x, sign * FAR) for name, x in outputs.items()})
        return
    pred, target = outputs["pred"].detach(), fixed["target"]
    ends = [torch.zeros_like(pred), torch.ones_like(pred)]
    if target.shape == pred.shape:
        ends = [target, *([1 - target] if task in CLASSES else []), *ends]
    if task == "scores":
        ends += [torch.full_like(pred, sign * FAR) for sign in (-1, 1)]
    for end in ends:
        certain = (2 * end - 1) * FAR if encoding == "logits" else end
        yield _as_leaves({**outputs, "pred": certain})


def _as_leaves(tensors: Tensors) -> Tensors:
    """Copies of tensors, with gradients of their own."""
    return {name: each.detach().clone().requires_grad_() for name, each in tensors.items()}
