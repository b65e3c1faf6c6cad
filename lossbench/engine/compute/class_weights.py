"""Options whose number follows from all ground truth of a run: class weights, w⁺, α."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossbench.catalog.columns import Term
from lossbench.catalog.compatibility import class_count
from lossbench.errors import InputError
from lossbench.runtime.array_types import FloatArray

Numbers = tuple[float, ...]


def resolve_automatic_options(
    term: Term, support: FloatArray, valid: FloatArray, task: str
) -> dict[str, Numbers]:
    """The automatic options of a term as numbers, one for each class that it judges.

    Args:
        term: a loss with its options.
        support: (n, C) pixels of each class in each sample's target.
        valid: (n, C) pixels that each class could have.
        task: binary, multiclass or multilabel.

    Raises:
        InputError: no ground truth has a pixel of any class.
    """
    if task != "multiclass" and not support.any():
        name, rule = next(iter(term.automatic.items()))
        raise InputError(
            f"{name}={rule}: no ground truth has a pixel of any class", kind="mismatch"
        )
    if (
        class_count(term, task, support.shape[1]) > support.shape[1]
    ):  # the background counts as well
        support, valid = np.concatenate([valid - support, support], 1), valid.repeat(2, 1)
    labels = "Distribution" not in term.entry.inputs.values() and "alpha" in term.automatic
    return {
        name: (share_without if labels and name == "alpha" else RULES[name, rule])(support, valid)
        for name, rule in term.automatic.items()
    }


def probes(term: Term, classes: int) -> list[Mapping[str, Any]]:
    """The options to evaluate a term with while an option inside it is unknown.

    Its value is linear in that option's numbers, so that those at zero and at 1 for each class give
    it for all others.
    """
    options = term.options
    if not term.inside:
        return [options]
    (name,) = term.inside
    return [{**options, name: tuple(row)} for row in units(classes).tolist()]


def units(classes: int) -> FloatArray:
    """The numbers of the probes, (classes + 1, classes)."""
    return np.vstack([np.zeros(classes), np.eye(classes)])


def linear(results: Sequence[Any], numbers: Sequence[float]) -> Any:
    """A result from those of the probes; tuples of tensors, or one tensor."""
    first, *others = results
    if isinstance(first, tuple):
        fields = zip(*results, strict=True)
        return type(first)(*(linear(each, numbers) for each in fields))
    for number, other in zip(numbers, others, strict=True):
        first = first + number * (other - results[0])
    return first


def inverse_frequency(support: FloatArray, valid: FloatArray) -> Numbers:
    """w_c = N/(K·n_c) over the data set, K the classes present; an absent class weighs 0."""
    counts, every, present = _counts(support, valid)
    return _filled(present, every[present] / (present.sum() * counts[present]))


def median_frequency(support: FloatArray, valid: FloatArray) -> Numbers:
    """w_c = median of f over the classes present / f_c, f_c = pixels of c / valid pixels of the
    samples that contain c (Eigen & Fergus 2015)."""
    counts, _, present = _counts(support, valid)
    share = counts[present] / (valid * (support > 0)).sum(0)[present]
    return _filled(present, np.median(share) / share if len(share) else share)


def root_frequency(support: FloatArray, valid: FloatArray) -> Numbers:
    """w_c = √(N/n_c) (Wong et al. 2018)."""
    counts, every, present = _counts(support, valid)
    return _filled(present, np.sqrt(every[present] / counts[present]))


def negatives_over_positives(support: FloatArray, valid: FloatArray) -> Numbers:
    """w⁺ = #neg/#pos of each label; 0 where there is no positive that it could weigh."""
    counts, every, present = _counts(support, valid)
    return _filled(present, (every - counts)[present] / counts[present])


def share_without(support: FloatArray, valid: FloatArray) -> Numbers:
    """α = #neg/N of each label, so that both sides weigh the same."""
    counts, every, _ = _counts(support, valid)
    return _filled(every > 0, (1 - counts / np.maximum(every, 1e-300))[every > 0])


RULES: dict[tuple[str, str], Callable[[FloatArray, FloatArray], Numbers]] = {
    ("class_weights", "auto"): inverse_frequency,
    ("class_weights", "median_frequency"): median_frequency,
    ("class_weights", "root_frequency"): root_frequency,
    ("pos_weight", "auto"): negatives_over_positives,
    ("alpha", "auto"): inverse_frequency,
}


def _counts(
    support: FloatArray, valid: FloatArray
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    counts = support.sum(0)
    return counts, valid.sum(0), counts > 0


def _filled(present: NDArray[np.bool_], numbers: FloatArray) -> Numbers:
    """The numbers of the classes present, 0 for the others."""
    every = np.zeros(len(present))
    every[present] = numbers
    return tuple(every.tolist())
