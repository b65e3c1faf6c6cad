"""Values over all samples: pooled, balanced and gathered terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbench.catalog.columns import Term
from lossbench.catalog.compatibility import class_count
from lossbench.data.counting.sparse_histogram import Cells
from lossbench.data.loading.records import Record
from lossbench.data.planning.plan import Plan
from lossbench.engine.compute.class_weights import Numbers, linear, resolve_automatic_options
from lossbench.engine.compute.device import one_thread
from lossbench.engine.compute.evaluate import (
    add_states,
    as_sample_error,
    evaluate_terms,
    is_plugin,
    on_tables,
    to_array,
)
from lossbench.engine.compute.tensors import counted_values, record_values
from lossbench.engine.state.accumulators import Accumulators
from lossbench.engine.state.scores import BatchScores, DeferredTerms
from lossbench.errors import InputError
from lossbench.interface.annotations import Gathered
from lossbench.interface.dispatch import call_signature, conclude, finish, loss_function, state
from lossbench.interface.reduction import Sums
from lossbench.runtime.array_types import FloatArray

BLOCK = 256  # rows that are held against all others at a time


def gathered(
    plan: Plan, terms: Sequence[Term], device: str, samples: Sequence[Record]
) -> Iterator[tuple[slice, BatchScores]]:
    """Terms that need all samples of a run, a block of rows at a time, in their order."""
    with torch.inference_mode(), one_thread():
        every = record_values(plan, samples, device)
        pred, target = (every.inputs[role].vector for role in ("pred", "target"))
        for start in range(0, len(samples), BLOCK):
            rows, block = BatchScores(), slice(start, start + BLOCK)
            values = replace(
                record_values(plan, samples[block], device),
                gathered=Gathered(pred, target, torch.arange(len(samples), device=device)[block]),
            )
            evaluate_terms(rows, values, plan, terms)
            add_states(rows, values, terms)
            yield block, rows


def pooled(
    plan: Plan, terms: Mapping[Term, Mapping[str, Any]], device: str, pools: Accumulators
) -> dict[Term, tuple[float, list[float]]]:
    """The value of every term over all samples as one, and of each class; nan where undefined.

    Terms come with their options, automatic ones as numbers; those with no such value are left out.
    """
    results: dict[Term, tuple[float, list[float]]] = {}
    with torch.inference_mode():
        whole, tables = None, pools.tables
        if tables.table is not None:
            table = Cells.of(tables.table) if plan.sparse else tables.table
            whole = partial(counted_values, plan, [table], [tables.pixels], device)
            ours = whole()
        for term, options in terms.items():
            function = loss_function(term.entry)
            added: Mapping[str, Any] | None = None
            with suppress(InputError), as_sample_error(term):
                if not on_tables(plan, term):
                    added, support = rebuild_views(pools, term, options, device)
                elif whole is not None:
                    values = whole(shared=False) if is_plugin(term) else ours
                    added = state(function, values, options, whole=True)
                    support = values.support
                if added is not None:
                    sample, classes = conclude(function, added, support.clone, options, plan.task)
                    by_class = [] if classes is None else classes[0].tolist()
                    results[term] = float(sample[0]), by_class
    return results


def finish_balanced(
    term: Term, deferred: DeferredTerms, plan: Plan, device: str
) -> tuple[FloatArray, FloatArray | None, dict[str, Numbers]]:
    """A term with options that follow from the whole data set, now that all of it is known.

    Returns:
        Values (n,), class values (n, K) or None, and the options' numbers.
    """
    support, valid = deferred.support, deferred.valid
    numbers = resolve_automatic_options(term, support, valid, plan.task)
    probed = []
    for arrays in deferred.results[term]:
        fields = [torch.as_tensor(each, device=device) for each in arrays]
        probed.append(Sums(*fields) if len(fields) > 1 else fields[0])
    result = linear(probed, [n for name in term.inside for n in numbers[name]])
    if class_count(term, plan.task, support.shape[1]) > support.shape[1]:
        support = np.concatenate([valid - support, support], 1)
    on_device = torch.as_tensor(support, device=device)
    function, options = loss_function(term.entry), {**term.options, **numbers}
    with as_sample_error(term):
        sample, classes = finish(function, result, lambda: on_device, options, plan.task)
    by_class = to_array(classes) if plan.by_class and classes is not None else None
    return to_array(sample), by_class, numbers


def rebuild_views(
    pools: Accumulators, term: Term, options: Mapping[str, Any], device: str
) -> tuple[Mapping[str, Any] | None, Tensor]:
    """A term's views over all samples: joined, or from the sums of their fields."""
    sums, forms = pools.sums.sums, call_signature(loss_function(term.entry)).inputs
    if "" not in sums:
        return None, torch.empty(0)
    support = torch.as_tensor(sums[""]["support"].value(), device=device)[None]
    if term.key not in sums:
        lists = {name: pools.views.joined(f"{term.key}/{name}") for name in forms}
        joined = {name: forms[name].joined(each, device) for name, each in lists.items() if each}
        return joined if len(joined) == len(forms) else None, support
    numbers = [n for name in term.inside for n in options[name]]
    views: dict[str, dict[str, Tensor]] = {}
    for key, exact in sums[term.key].items():
        name, quantity = key.split(".")
        probed = torch.as_tensor(exact.value(), device=device)
        views.setdefault(name, {})[quantity] = linear(list(probed[:, None]), numbers)
    added = {
        name: (Sums if name == "" else forms[name])(**fields) for name, fields in views.items()
    }
    return added, support
