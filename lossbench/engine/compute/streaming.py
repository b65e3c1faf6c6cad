"""Pixels in parts: what adds up over samples adds up over the parts of one.

So a loss that is made of sums needs little more memory than the sample as it is stored. A GPU,
which a small sample does not fill, gets several of one size together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple

from torch import Tensor

from lossbench.catalog.columns import Term
from lossbench.catalog.compatibility import class_count
from lossbench.data.loading.sample import Pixels
from lossbench.data.planning.plan import Plan
from lossbench.engine.compute.class_weights import probes
from lossbench.engine.compute.tensors import once, pixel_values
from lossbench.interface.dispatch import loss_function, state, sums_parts

# Numbers that a part has in all its classes: few stay in a processor's cache, a GPU takes many.
PART = {"cpu": 1 << 17}
OTHER = 1 << 26


class Added(NamedTuple):
    """What adds up of each sample."""

    states: Mapping[Term, Sequence[Mapping[str, Any]]]  # of each of a term's probes
    support: Tensor  # (B, C) pixels of the target in each class
    valid: Tensor  # (B, C) pixels that each class could have


def in_parts(term: Term) -> bool:
    """Whether a term is the same of a sample's parts added as of the whole.

    Of a user's own loss nobody knows what it does with the pixels that it sees.
    """
    others = term.entry.plugin is not None or term.together or term.entry.roles
    return not (others or term.positional) and sums_parts(loss_function(term.entry))


def together(terms: Sequence[Term], samples: Sequence[Any], device: str) -> list[list[int]]:
    """Which samples go to a device together, by their places.

    Those of one size, as many as a part may have numbers, where every term adds up. On the CPU each
    comes alone, so that its value has the same bits whatever is beside it.
    """
    adding = all(map(in_parts, terms)) and all(isinstance(each, Pixels) for each in samples)
    if device == "cpu" or not adding:
        return [[place] for place in range(len(samples))]
    groups: dict[Any, list[list[int]]] = {}
    for place, sample in enumerate(samples):
        several = groups.setdefault(_form(sample), [[]])
        if (len(several[-1]) + 1) * sample.pred.size > OTHER and several[-1]:
            several.append([])
        several[-1].append(place)
    return [group for several in groups.values() for group in several]


def _form(sample: Pixels) -> Any:
    """What samples have in common that can be stacked."""
    arrays = sample.pred, sample.target, sample.weight, sample.positive
    return tuple(each is not None and (each.shape, each.dtype, once(each)) for each in arrays)


def add_parts(plan: Plan, terms: Sequence[Term], samples: Sequence[Pixels], device: str) -> Added:
    """The states of terms, over parts of a length that on the CPU depends on nothing."""
    plan, classes = replace(plan, roles=()), max(plan.channels, len(samples[0].pred))
    parts = _parts(samples, max(1, PART.get(device, OTHER) // (classes * len(samples))))
    return reduce(_sum, (_of_part(plan, terms, part, device) for part in parts))


def _of_part(plan: Plan, terms: Sequence[Term], part: Sequence[Pixels], device: str) -> Added:
    values = pixel_values(plan, part, device)
    support = values.support
    states = {
        term: [
            state(loss_function(term.entry), values, options) or {}
            for options in probes(term, class_count(term, plan.task, support.shape[1]))
        ]
        for term in terms
    }
    return Added(states, support, values.total_weight.expand_as(support))


def _parts(samples: Sequence[Pixels], length: int) -> Iterator[list[Pixels]]:
    """The pixels of each sample, so many at a time."""
    for start in range(0, samples[0].weight.shape[1], length):
        yield [_part(sample, slice(start, start + length)) for sample in samples]


def _part(sample: Pixels, place: slice) -> Pixels:
    pred, target, weight = (each[:, place] for each in (sample.pred, sample.target, sample.weight))
    positive = None if sample.positive is None else sample.positive[:, place]
    return Pixels(pred, target, weight, weight.shape[1:], positive)


def _sum(one: Any, other: Any) -> Any:
    """Two of a kind added, number by number."""
    if isinstance(one, Tensor):
        return one + other
    if isinstance(one, Mapping):
        return {key: _sum(each, other[key]) for key, each in one.items()}
    each = map(_sum, one, other)
    return list(each) if isinstance(one, list) else type(one)(*each)
