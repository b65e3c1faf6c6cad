"""A loss of the catalogue as a function of plain tensors, for training loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional

from lossbench.catalog import registry
from lossbench.catalog.columns import Term, with_options
from lossbench.catalog.compatibility import check_roles, check_task
from lossbench.catalog.grammar import fold, leaves
from lossbench.catalog.registry import Entry
from lossbench.errors import SettingError
from lossbench.interface.annotations import Gathered
from lossbench.interface.dispatch import evaluate, loss_function
from lossbench.interface.sample_batch import (
    RECORDS,
    AlignedBoxes,
    Input,
    NamedTensors,
    SampleBatch,
    Task,
)
from lossbench.networks.extractor import Networks
from lossbench.networks.weights import check_files
from lossbench.views.features import NetworkFeatures

ENCODINGS = ("probability", "logits", "image")


def tensor_loss(name: str, weights: Mapping[str, str] | None = None) -> Callable[..., Tensor]:
    """A loss by name or alias as a differentiable function of tensors.

    The function takes pred (B, C, *space), target as labels (B, *space) or as (B, C, *space), and
    an optional weight (B, *space) or (B, C, *space); 0 ignores a pixel. `encoding` says what pred
    holds. `task` is binary for one channel and multiclass for several unless it is given. Options
    are those of `lossbench explain NAME`; further inputs that the loss names are tensors like pred,
    by name. Losses of vectors take pred (B, D) and target (B, D) or labels (B,), those of scores
    (B, …); there a loss over all samples of a run is over the batch. Losses of boxes take pairs of
    them, (B, 4) as x1, y1, x2, y2, and those of records mappings of tensors (B, …) by name. It
    returns (B,) in the type of pred, nan where undefined.
    """
    entry, added = registry.find(name), registry.added()
    check_files(weights or {})
    networks = Networks(weights)

    def on_tensors(
        pred: Tensor | Mapping[str, Tensor],
        target: Tensor | Mapping[str, Tensor],
        weight: Tensor | float | None = None,
        *,
        encoding: Literal["probability", "logits", "image"] = "probability",
        task: Task | None = None,
        **options: Any,
    ) -> Tensor:
        if encoding not in ENCODINGS:
            raise SettingError(f"encoding is one of {', '.join(ENCODINGS)}, not {encoding!r}")
        if isinstance(weight, int | float):  # an option of that name
            options, weight = {**options, "weight": weight}, None
        if entry.tasks[0] == "records":
            return _of_records(entry, pred, target, options)
        if isinstance(pred, Mapping) or isinstance(target, Mapping):
            raise SettingError(f"{name} takes tensors, not mappings of them")
        if pred.ndim < 2:
            raise SettingError(f"pred is {tuple(pred.shape)}; expected (B, C, *space)")
        dtype, classes = pred.dtype, pred.shape[1]
        pred = pred.float() if dtype in (torch.float16, torch.bfloat16) else pred
        default: Task = "binary" if classes == 1 else "multiclass"
        task = "image" if encoding == "image" else task or default
        if entry.tasks[0] in (*RECORDS, "detection") and encoding != "image":
            task = cast(Task, entry.tasks[0])
        others = {role: x for role, x in options.items() if isinstance(x, Tensor)}
        options = {name: value for name, value in options.items() if name not in others}
        with registry.restored(added):  # a combination names others
            node = with_options(entry, options, {})
        check_task(leaves(node), task, classes, encoding)
        check_roles(leaves(node), others)
        for role in others:
            if not any(role in term.roles for term in leaves(node)):
                raise SettingError(f"{name} asks for no input {role!r}")
        if task == "instances":
            raise SettingError(f"{name} has no gradient; lossbench.evaluate reads instance maps")
        for term in leaves(node):
            for option, rule in term.automatic.items():
                raise SettingError(f"{option}={rule} needs a data set; give numbers")
            if term.mapped:
                raise SettingError(f"{term.mapped[0]}=role needs maps; give a number")
        if task == "detection":
            return _value(node, _box_values(name, pred, target, leaves(node))).to(dtype)
        if task in RECORDS:
            values = _record_values(task, {"pred": pred, "target": target, **others}, leaves(node))
            return _value(node, values).to(dtype)
        if target.ndim == pred.ndim - 1:
            target = _one_hot(target, classes) if task == "multiclass" else target[:, None]
        weight = torch.ones_like(pred[:, :1]) if weight is None else weight.to(pred)
        weight = weight[:, None] if weight.ndim == pred.ndim - 1 else weight
        _check_shape("target", target, pred, [classes])
        _check_shape("weight", weight, pred, [1, classes])
        if task != "image":
            _check_range("target", target)
        if encoding == "probability":
            _check_range("pred", pred.masked_fill(weight == 0, 0))
        ignored = (weight == 0).all(1, keepdim=True)
        pred, target = pred.masked_fill(ignored, 0), target.to(pred.dtype).masked_fill(ignored, 0)
        inputs = {
            role: Input(
                _flat(each.to(pred.dtype)),
                task,
                logits=encoding == "logits" and role != "target",
                space=tuple(each.shape[2:]) or (1,),
            )
            for role, each in {"pred": pred, "target": target, **others}.items()
        }
        pixels = pred.new_full((len(pred),), pred[0, 0].numel())
        features = NetworkFeatures(networks)
        values = SampleBatch(inputs, _flat(weight), pixels, features=features)
        return _value(node, values).to(dtype)

    return on_tensors


def _value(node: Any, values: SampleBatch) -> Tensor:
    """The values of an expression, (B,)."""

    def of_term(term: Term) -> Tensor:
        return evaluate(loss_function(term.entry), values, term.options)[0]

    value: Tensor = fold(node, of_term)
    return value


def _of_records(
    entry: Entry,
    pred: Tensor | Mapping[str, Tensor],
    target: Tensor | Mapping[str, Tensor],
    options: Mapping[str, Any],
) -> Tensor:
    """A loss of tensors by name."""
    if isinstance(pred, Tensor) or isinstance(target, Tensor):
        raise SettingError(f"{entry.name} takes mappings of tensors by name, as pred and target")
    node = with_options(entry, options, {})
    like = next(iter(pred.values()), torch.zeros(0))
    ones = torch.ones(len(like), device=like.device)
    sides = {
        role: Input(ones[:, None, None], "records", named=NamedTensors(role, tensors))
        for role, tensors in (("pred", pred), ("target", target))
    }
    return _value(node, SampleBatch(sides, ones[:, None, None], ones)).to(like.dtype)


def _box_values(name: str, pred: Tensor, target: Tensor, terms: Iterable[Term]) -> SampleBatch:
    """Pairs of boxes (B, 4), each of them a sample."""
    if any("BoxPairs" not in term.entry.forms for term in terms):
        raise SettingError(
            f"{name} judges scores, too: of tensors only losses of boxes are taken, each pair"
            " (B, 4) matched beforehand"
        )
    if pred.ndim != 2 or pred.shape[1] != 4 or target.shape != pred.shape:
        raise SettingError(
            f"pred is {tuple(pred.shape)}, target {tuple(target.shape)}; expected boxes (B, 4) of"
            " both, as x1, y1, x2, y2"
        )
    there = torch.ones_like(pred[:, :1], dtype=torch.bool)
    ones = torch.ones_like(pred[:, :1, None])
    pairs = AlignedBoxes(pred[:, None], target.to(pred.dtype)[:, None], there, there, ones)
    sides = {role: Input(ones, "detection") for role in ("pred", "target")}
    return SampleBatch(sides, ones, ones[:, 0, 0], boxes=pairs)


def _record_values(task: Task, tensors: dict[str, Tensor], terms: Iterable[Term]) -> SampleBatch:
    """Vectors (B, D), labels (B,) or scores (B, …) as values."""
    pred = tensors["pred"]
    rows = {role: each.to(pred.dtype).reshape(len(each), -1) for role, each in tensors.items()}
    forms = {role: form for term in terms for role, form in term.entry.named_inputs}
    for role, each in rows.items():
        width = {"Vector": rows["pred"].shape[1], "Label": 1}.get(forms.get(role, ""))
        if len(each) != len(pred) or width not in (None, each.shape[1]):
            raise SettingError(
                f"{role} is {tuple(tensors[role].shape)} where pred is {tuple(pred.shape)};"
                f" expected {f'({len(pred)}, {width})' if width else f'{len(pred)} samples'}"
            )
    sides = {
        role: Input(each[..., None] if task == "vectors" else each[:, None], task)
        for role, each in rows.items()
    }
    ones = torch.ones_like(rows["pred"][:, 0])
    index = torch.arange(len(pred), device=pred.device)
    gathered = Gathered(rows["pred"], rows["target"], index)
    return SampleBatch(sides, ones[:, None, None], ones, gathered=gathered)


def _check_shape(name: str, tensor: Tensor, pred: Tensor, channels: list[int]) -> None:
    if tensor.shape not in [(len(pred), count, *pred.shape[2:]) for count in channels]:
        raise SettingError(
            f"{name} is {tuple(tensor.shape)} where pred is {tuple(pred.shape)}; expected the same"
            " shape, or that without the class axis"
        )


def _check_range(name: str, tensor: Tensor) -> None:
    low, high = (float(end) for end in tensor.detach().aminmax()) if tensor.numel() else (0, 0)
    if low < 0 or high > 1:
        raise SettingError(
            f"{name} goes from {low:.4g} to {high:.4g}; expected probabilities from 0 to 1"
        )


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    """(B, *space) labels as (B, C, *space)."""
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        strange = low if low < 0 else high
        raise SettingError(
            f"target has label {strange}, pred has classes 0 to {classes - 1}; a weight of 0 takes"
            " a pixel out"
        )
    return functional.one_hot(labels.long(), classes).movedim(-1, 1)


def _flat(tensor: Tensor) -> Tensor:
    """(B, C, *space) as (B, C, N); a vector (B, C) is one element."""
    return tensor.reshape(*tensor.shape[:2], -1)
