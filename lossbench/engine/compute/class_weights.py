"""Options whose number follows from all ground truth of a run: class weights, w⁺, α."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lossbench.catalog.columns import Term
from lossbench.catalog.compatibility import class_count
from lossbench.errors import InputError
from lossbench.runtime.array_types import FloatArray

Numbers = tuple[float, ...]


class ClassPixels(NamedTuple):
    """Pixels of each class over all samples, each (C,)."""

    counts: FloatArray  # of the class
    valid: FloatArray  # that the class could have
    valid_beside: FloatArray  # the same, of the samples that contain the class


def resolve_automatic_options(
    term: Term, support: FloatArray, valid: FloatArray, task: str
) -> dict[str, Numbers]:
    """The automatic options of a term as numbers, one for each class that it judges.

    A class without pixels, for which a rule has no finite number, gets 0.

    Args:
        term: a loss with its options.
        support: (n, C) pixels of each class in each sample's target.
        valid: (n, C) pixels that each class could have.
        task: binary, multiclass or multilabel.
    """
    if task != "multiclass" and not support.any():
        name, rule = next(iter(term.automatic.items()))
        raise InputError(
            f"{name}={rule}: no ground truth has a pixel of any class", kind="mismatch"
        )
    if class_count(term, task, support.shape[1]) > support.shape[1]:  # the background counts, too
        support, valid = np.concatenate([valid - support, support], 1), valid.repeat(2, 1)
    pixels = ClassPixels(support.sum(0), valid.sum(0), (valid * (support > 0)).sum(0))
    labels = "Distribution" not in term.entry.inputs.values()
    numbers = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for name, rule in term.automatic.items():
            of_rule = share_without if labels and name == "alpha" else RULES[name, rule]
            values = of_rule(pixels)
            numbers[name] = tuple(np.where(np.isfinite(values), values, 0.0).tolist())
    return numbers


def probes(term: Term, task: str, classes: int) -> list[Mapping[str, Any]]:
    """The options to evaluate a term with while an option inside it is unknown.

    The value is linear in that option's numbers: its values for zeros, and for 1 in each class
    alone, give it for any numbers.
    """
    options = term.options
    if not term.inside:
        return [options]
    (name,) = term.inside
    return [{**options, name: tuple(row)} for row in probe_numbers(term, task, classes).tolist()]


def probe_numbers(term: Term, task: str, classes: int) -> FloatArray:
    """The numbers of the probes, (K + 1, K) for the K classes that the term judges."""
    count = class_count(term, task, classes)
    return np.vstack([np.zeros(count), np.eye(count)])


def linear(results: Sequence[Any], numbers: Sequence[float]) -> Any:
    """A result from those of the probes; tuples of tensors, or one tensor."""
    first, *others = results
    if isinstance(first, tuple):
        fields = zip(*results, strict=True)
        return type(first)(*(linear(each, numbers) for each in fields))
    for number, other in zip(numbers, others, strict=True):
        first = first + number * (other - results[0])
    return first


def inverse_frequency(pixels: ClassPixels) -> FloatArray:
    """w_c = N/(K·n_c) over the data set, K the number of classes present."""
    return pixels.valid / (np.count_nonzero(pixels.counts) * pixels.counts)


def median_frequency(pixels: ClassPixels) -> FloatArray:
    """w_c = median of f over the classes present / f_c, f_c = pixels of c / valid pixels of the
    samples that contain c (Eigen & Fergus 2015)."""
    share = pixels.counts / pixels.valid_beside
    present = share[share > 0]
    return np.median(present) / share if len(present) else share


def root_frequency(pixels: ClassPixels) -> FloatArray:
    """w_c = √(N/n_c) (Wong et al. 2018)."""
    return np.sqrt(pixels.valid / pixels.counts)


def negatives_over_positives(pixels: ClassPixels) -> FloatArray:
    """w⁺ = #neg/#pos of each label."""
    return (pixels.valid - pixels.counts) / pixels.counts


def share_without(pixels: ClassPixels) -> FloatArray:
    """α = #neg/N of each label, so that both sides weigh the same."""
    return 1 - pixels.counts / pixels.valid


# By option and rule.
RULES: dict[tuple[str, str], Callable[[ClassPixels], FloatArray]] = {
    ("class_weights", "auto"): inverse_frequency,
    ("class_weights", "median_frequency"): median_frequency,
    ("class_weights", "root_frequency"): root_frequency,
    ("pos_weight", "auto"): negatives_over_positives,
    ("alpha", "auto"): inverse_frequency,
}
