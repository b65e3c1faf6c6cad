"""Losses on chunks of samples: the part of a run that needs torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.special  # noqa: F401 for the aggregates, now that files are being read meanwhile
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossbench.columns import Term
from lossbench.data.plan import Plan
from lossbench.data.sample import Pixels
from lossbench.errors import InputError, SettingError
from lossbench.run.pooling import SumPool, TablePool
from lossbench.run.reader import Chunk
from lossbench.run.values import counted_values, pixel_values
from lossbench.views.call import asked, conclude, evaluate, finish, raw, state
from lossbench.views.finish import Sums
from lossbench.views.values import Values

Array = NDArray[np.float64]


@dataclass
class Rows:
    """What a chunk's samples are worth, in their order."""

    values: dict[Term, Array] = field(default_factory=dict)  # (B,)
    classes: dict[Term, Array] = field(default_factory=dict)  # (B, K)
    states: dict[str, dict[str, Array]] = field(default_factory=dict)  # what adds up, of pixels
    unfinished: dict[Term, Any] = field(default_factory=dict)  # class weights still unknown
    support: Array | None = None  # (B, K) target pixels of each class, where a rule needs them
    valid: Array | None = None  # (B, K) pixels that each class could have


def pick_device(wanted: str) -> str:
    """The device to compute on: the first GPU where `auto` finds one, else the CPU."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, dtype=torch.float64, device=wanted)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingError(
            f"device {wanted!r} cannot be used: {reason}; try --device cpu"
        ) from None
    return wanted


@contextmanager
def one_thread() -> Iterator[None]:
    """Samples in parallel in place of operations: sums keep their order, and their bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def evaluate_chunk(plan: Plan, terms: Sequence[Term], device: str, chunk: Chunk) -> Rows:
    """Every term on every sample of a chunk.

    Counted samples are evaluated together, samples of pixels come alone: rows are never padded, and
    a value does not depend on its neighbours.
    """
    with torch.inference_mode():
        if chunk.tables is not None:
            return _evaluate(counted_values(plan, chunk.tables, chunk.pixels, device), plan, terms)
        if chunk.samples:
            (sample,) = chunk.samples
            return _pixel_rows(plan, terms, device, sample)
        return Rows()


def pooled(
    plan: Plan, terms: Mapping[Term, Mapping[str, Any]], device: str, pool: TablePool | SumPool
) -> dict[Term, tuple[float, list[float]]]:
    """The value of every term over all samples as one, and of each class; nan where undefined.

    Terms come with their options, class weights among them; those with no such value are left out.
    """
    found: dict[Term, tuple[float, list[float]]] = {}
    with torch.inference_mode():
        whole = None
        if isinstance(pool, TablePool):
            if pool.table is None:
                return found
            whole = counted_values(plan, pool.table[None], [pool.pixels], device)
        for term, options in terms.items():
            function = term.entry.function
            added: Mapping[str, Any] | None
            if whole is not None:
                added, support = state(function, whole, options), whole.support
            elif isinstance(pool, SumPool):
                added, support = _rebuilt(pool, term, device)
            if added is not None:
                sample, classes = conclude(function, added, support, options)
                found[term] = float(sample[0]), [] if classes is None else classes[0].tolist()
    return found


def finish_weighted(
    term: Term, parts: Sequence[Rows], task: str, device: str
) -> tuple[Array, Array | None, tuple[float, ...]]:
    """A term whose class weights follow from the whole data set, now that all of it is known.

    Returns:
        Values (n,), class values (n, K) or None, and the weights.
    """
    support = np.concatenate([rows.support for rows in parts if rows.support is not None])
    valid = np.concatenate([rows.valid for rows in parts if rows.valid is not None])
    if task != "multiclass" and not support.any():
        raise InputError(
            f"class_weights={term.automatic}: no ground truth has a pixel of any class",
            kind="mismatch",
        )
    pieces = [rows.unfinished[term] for rows in parts]
    first = pieces[0]
    result = (
        Sums(*(torch.cat(tensors) for tensors in zip(*pieces, strict=True)))
        if isinstance(first, Sums)
        else torch.cat(pieces)
    )
    judged = (first.top if isinstance(first, Sums) else first).shape[1]
    if judged == 2 and support.shape[1] == 1:  # a binary task with its background
        support, valid = np.concatenate([valid - support, support], 1), valid.repeat(2, 1)
    weights = class_weights(str(term.automatic), support, valid)
    options = {**term.options, "class_weights": weights}
    on_device = torch.as_tensor(support, device=device)
    sample, classes = finish(term.entry.function, result, on_device, options)
    keep = classes is not None and task in ("multiclass", "multilabel")
    return _array(sample), _array(classes) if keep and classes is not None else None, weights


def class_weights(rule: str, support: Array, valid: Array) -> tuple[float, ...]:
    """Class weights from the pixels of each class in each sample.

    `auto`: w_c = N/(K·n_c) over the data set, K the classes present. `median_frequency`: f_c =
    pixels of c / valid pixels of the samples that contain c; w_c = median of f over the classes
    present / f_c (Eigen & Fergus 2015). An absent class weighs 0.
    """
    counts = support.sum(0)
    present = counts > 0
    weights = np.zeros(len(counts))
    if rule == "median_frequency":
        share = counts[present] / (valid * (support > 0)).sum(0)[present]
        weights[present] = np.median(share) / share if len(share) else share
    else:
        weights[present] = valid.sum(0)[present] / (present.sum() * counts[present])
    return tuple(weights.tolist())


def _evaluate(values: Values, plan: Plan, terms: Sequence[Term]) -> Rows:
    rows = Rows()
    keep = plan.task in ("multiclass", "multilabel")
    for term in terms:
        function, options = term.entry.function, term.options
        if term.automatic:
            rows.unfinished[term] = raw(function, values, options)
            continue
        sample, classes = evaluate(function, values, options)
        rows.values[term] = _array(sample)
        if keep and classes is not None:
            rows.classes[term] = _array(classes)
    if rows.unfinished:
        rows.support = _array(values.support)
        rows.valid = _array(values.weight.sum(-1).expand_as(values.support))
    return rows


def _pixel_rows(plan: Plan, terms: Sequence[Term], device: str, sample: Pixels) -> Rows:
    values = pixel_values(plan, sample, device)
    rows = _evaluate(values, plan, terms)
    rows.states[""] = {"support": _array(values.support)}
    for term in terms:
        added = state(term.entry.function, values, term.options)
        if added is not None:
            rows.states[_key(term)] = {
                f"{name}.{quantity}": _array(numbers)
                for name, view in added.items()
                for quantity, numbers in view._asdict().items()
            }
    return rows


def _rebuilt(pool: SumPool, term: Term, device: str) -> tuple[Mapping[str, Any] | None, Tensor]:
    """A term's views over all samples, from the sums of their fields."""
    if "" not in pool.sums or _key(term) not in pool.sums:
        return None, torch.empty(0)
    tensors = {
        key: torch.as_tensor(exact.value(), device=device)[None]
        for key, exact in pool.sums[_key(term)].items()
    }
    forms = asked(term.entry.function).inputs
    views: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, quantity = key.split(".")
        views.setdefault(name, {})[quantity] = tensor
    added = {
        name: (Sums if name == "" else forms[name])(**fields) for name, fields in views.items()
    }
    support = torch.as_tensor(pool.sums[""]["support"].value(), device=device)[None]
    return added, support


def _key(term: Term) -> str:
    """A term as the pooled state names it: with the options that are not its defaults."""
    entry = term.entry
    given = [
        f"{name}={value}" for name, value in term.settings if value != entry.options[name].default
    ]
    return f"{term.name}({', '.join(given)})" if given else term.name


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.to("cpu", torch.float64).numpy()
    return array
