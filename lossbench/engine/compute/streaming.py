"""Pixels in parts: states that add up over samples also add up over the parts of one.

A loss made of sums therefore needs little more memory than the sample as it is stored. A GPU, which
a small sample does not fill, gets several of one size together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from lossbench.catalog.columns import Term
from lossbench.data.loading.sample import Pixels
from lossbench.data.planning.plan import Plan
from lossbench.engine.compute.class_weights import probes
from lossbench.engine.compute.tensors import once, pixel_values
from lossbench.interface.annotations import Array
from lossbench.interface.dispatch import loss_function, state, sums_parts

# Numbers that a part has in all its classes: few stay in a processor's cache, a GPU takes many.
PART = {"cpu": 1 << 17}
OTHER = 1 << 26


class Added(NamedTuple):
    """The additive states of samples."""

    states: Mapping[Term, Sequence[Mapping[str, Any]]]  # by term, one for each of its probes
    support: Array  # (B, C) pixels of the target in each class
    valid: Array  # (B, C) pixels that each class could have


def in_parts(term: Term) -> bool:
    """Whether the states of a sample's parts add up to that of the sample.

    For a user's own loss this is not known.
    """
    excluded = term.entry.plugin is not None or term.together or term.entry.roles
    return not (excluded or term.positional) and sums_parts(loss_function(term.entry))


def stackable_groups(terms: Sequence[Term], samples: Sequence[Any], device: str) -> list[list[int]]:
    """Indices of the samples that go to a device together.

    Samples of one size are stacked, up to the numbers of a part, if every term is additive. On the
    CPU each sample comes alone, so that its value has the same bits in any batch.
    """
    additive = all(map(in_parts, terms)) and all(isinstance(each, Pixels) for each in samples)
    if device == "cpu" or not additive:
        return [[index] for index in range(len(samples))]
    groups_of: dict[Any, list[list[int]]] = {}
    for index, sample in enumerate(samples):
        arrays = sample.pred, sample.target, sample.weight, sample.positive
        like = tuple(each is not None and (each.shape, each.dtype, once(each)) for each in arrays)
        groups = groups_of.setdefault(like, [[]])
        if groups[-1] and (len(groups[-1]) + 1) * sample.pred.size > OTHER:
            groups.append([])
        groups[-1].append(index)
    return [group for groups in groups_of.values() for group in groups]


def add_parts(plan: Plan, terms: Sequence[Term], samples: Sequence[Pixels], device: str) -> Added:
    """The states of terms, over parts of a length that on the CPU depends on the classes alone."""
    plan, classes = replace(plan, roles=()), max(plan.channels, len(samples[0].pred))
    length = max(1, PART.get(device, OTHER) // (classes * len(samples)))

    def added(part: Sequence[Pixels]) -> Added:
        values = pixel_values(plan, part, device)
        support = values.support
        states = {
            term: [
                state(loss_function(term.entry), values, options) or {}
                for options in probes(term, plan.task, support.shape[1])
            ]
            for term in terms
        }
        return Added(states, support, values.total_weight.expand_as(support))

    return reduce(_sum, map(added, _parts(samples, length)))


def _parts(samples: Sequence[Pixels], length: int) -> Iterator[list[Pixels]]:
    """The samples, cut to so many of their pixels at a time."""
    for start in range(0, samples[0].weight.shape[1], length):
        cut = np.s_[:, start : start + length]
        yield [
            Pixels(
                each.pred[cut],
                each.target[cut],
                each.weight[cut],
                each.weight[cut].shape[1:],
                None if each.positive is None else each.positive[cut],
            )
            for each in samples
        ]


def _sum(one: Any, other: Any) -> Any:
    """Two states of one structure, added array by array."""
    if isinstance(one, Mapping):
        return {key: _sum(each, other[key]) for key, each in one.items()}
    if not isinstance(one, tuple | list):
        return one + other
    each = map(_sum, one, other)
    return list(each) if isinstance(one, list) else type(one)(*each)
