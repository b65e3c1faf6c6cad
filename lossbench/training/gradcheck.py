"""Whether the gradient of a loss is what finite differences say, on small inputs in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lossbench.catalog.columns import Column, Term, resolve
from lossbench.catalog.compatibility import class_count
from lossbench.catalog.grammar import fold
from lossbench.errors import LossbenchError, SettingError
from lossbench.training.tensor_loss import tensor_loss

CLASSES = {"binary": 1, "multiclass": 3, "multilabel": 3, "image": 3}
SIZES = ((4, 3), (16, 16), (192, 192))  # the first that the loss has a value of
STEP, ABSOLUTE, RELATIVE = 1e-6, 1e-5, 1e-3  # those of torch.autograd.gradcheck
MOST = 32  # elements whose slope is measured, drawn where there are more
FAR = 1e4  # logits of a prediction that is certain


@dataclass(frozen=True)
class Slope:
    """The gradient of a loss on one task, for one encoding of the prediction."""

    task: str  # binary, multiclass, multilabel or image
    encoding: str  # probability, logits or image
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
        if not CLASSES.keys() & set(term.entry.tasks):
            raise SettingError(
                f"{term.name} has no gradient with respect to pixels; it is for"
                f" {', '.join(term.entry.tasks)}"
            )
    shared = [each for each in CLASSES if all(each in term.entry.tasks for term in column.terms)]
    if task is not None and task not in CLASSES:
        raise SettingError(f"task is one of {', '.join(CLASSES)}, not {task!r}")
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
        for encoding in (("image",) if each == "image" else soft)
    ]


def _slope(column: Column, task: str, encoding: str, seed: int) -> Slope:
    for size in SIZES:
        pred, target = _drawn(task, encoding, size, seed)
        value = _value_of(column, task, encoding, target)
        try:
            values = value(pred)
        except SettingError:
            if size == SIZES[-1]:
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
    (analytic,) = torch.autograd.grad(values.nansum(), pred)
    difference, agrees = 0.0, True
    flat, slope = pred.detach().flatten(), analytic.flatten()
    order = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed))
    for index in order[:MOST].tolist():
        step = torch.zeros_like(flat)
        step[index] = STEP
        above, below = (
            float(value(moved.reshape(pred.shape)).nansum()) for moved in (flat + step, flat - step)
        )
        measured = (above - below) / (2 * STEP)
        error = abs(float(slope[index]) - measured)
        difference = max(difference, error)
        agrees = agrees and error <= ABSOLUTE + RELATIVE * abs(measured)
    finite = all(
        bool(torch.autograd.grad(value(end).nansum(), end)[0].isfinite().all())
        for end in _ends(encoding, target)
    )
    return Slope(task, encoding, difference, agrees, finite)


def _value_of(column: Column, task: str, encoding: str, target: Tensor) -> Callable[..., Tensor]:
    """The expression as a function of the prediction alone.

    An exception of a user's own loss becomes an error of one sentence.
    """
    arguments = {"encoding": encoding} | ({} if encoding == "image" else {"task": task})

    def of_term(term: Term, pred: Tensor) -> Tensor:
        classes = class_count(term, task, CLASSES[task])
        numbers = tuple(1 + number / 2 for number in range(classes))  # there is no data set
        options: dict[str, Any] = {**term.options, **dict.fromkeys(term.automatic, numbers)}
        return tensor_loss(term.name)(pred, target, **arguments, **options)

    def value(pred: Tensor) -> Any:
        try:
            return fold(column.node, lambda term: of_term(term, pred))
        except LossbenchError as error:
            raise SettingError(str(error)) from None
        except (Exception, SystemExit) as error:
            plugins = [term.entry.plugin for term in column.terms if term.entry.plugin]
            if not plugins:
                raise
            raise SettingError(f"{column.name} failed: {plugins[0].describe(error)}") from None

    return value


def _drawn(task: str, encoding: str, size: Sequence[int], seed: int) -> tuple[Tensor, Tensor]:
    """A prediction and a target of two samples."""
    random = torch.Generator().manual_seed(seed)
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
    return pred.requires_grad_(), target


def _ends(encoding: str, target: Tensor) -> Iterator[Tensor]:
    """Predictions that are certain: right, wrong, and one and the same everywhere."""
    for end in (target, 1 - target, torch.zeros_like(target), torch.ones_like(target)):
        yield ((2 * end - 1) * FAR if encoding == "logits" else end.clone()).requires_grad_()
