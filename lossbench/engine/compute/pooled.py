"""Values over all samples: pooled, balanced and gathered terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from lossbench.catalog.columns import Term
from lossbench.catalog.compatibility import class_count
from lossbench.data.counting.sparse_histogram import Cells
from lossbench.data.loading.records import Record
from lossbench.data.planning.plan import Plan
from lossbench.engine.backend import is_plugin, needs_tensors, on_tables
from lossbench.engine.compute.class_weights import Numbers, linear, resolve_automatic_options
from lossbench.engine.compute.evaluate import (
    add_states,
    as_sample_error,
    evaluate_terms,
    own_tables,
)
from lossbench.engine.compute.tables import counted_values
from lossbench.engine.state.accumulators import Accumulators
from lossbench.engine.state.scores import BatchScores, DeferredTerms
from lossbench.errors import InputError
from lossbench.interface.annotations import Array, Gathered
from lossbench.interface.dispatch import call_signature, conclude, finish, loss_function, state
from lossbench.interface.reduction import Sums
from lossbench.interface.stable_math import to_numpy
from lossbench.runtime.array_types import FloatArray

BLOCK = 256  # rows that are held against all others at a time


def gathered(
    plan: Plan, terms: Sequence[Term], device: str, samples: Sequence[Record]
) -> Iterator[tuple[slice, BatchScores]]:
    """Terms that need all samples of a run, a block of rows at a time, in their order."""
    import torch

    from lossbench.engine.compute.device import one_thread
    from lossbench.engine.compute.tensors import record_values

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
    plan: Plan, terms: Mapping[Term, Mapping[str, Any]], pools: Accumulators
) -> dict[Term, tuple[float, list[float]]]:
    """The value of every term over all samples as one, and of each class; nan where undefined.

    Terms come with their options, automatic ones as numbers; those with no such value are left out.
    """
    results: dict[Term, tuple[float, list[float]]] = {}
    whole, tables = None, pools.tables
    if tables.table is not None:
        whole = [Cells.of(tables.table) if plan.sparse else tables.table], [tables.pixels]
        ours = counted_values(plan, *whole)
    for term, options in terms.items():
        added: Mapping[str, Any] | None = None
        with suppress(InputError), as_sample_error(term), np.errstate(all="ignore"):
            if not on_tables(plan, term):
                added, support = rebuild_views(pools, term, options)
            elif whole is not None:
                values = own_tables(plan, term, *whole) if is_plugin(term) else ours
                added = state(loss_function(term.entry), values, options, whole=True)
                support = values.support
            if added is not None:
                results[term] = _of_state(plan, term, options, added, support)
    return results


def _of_state(
    plan: Plan, term: Term, options: Mapping[str, Any], added: Mapping[str, Any], support: Array
) -> tuple[float, list[float]]:
    """The value of a term, and of each class, from its state over all samples."""
    function = loss_function(term.entry)
    sample, classes = conclude(function, added, lambda: support, options, plan.task)
    return float(sample[0]), [] if classes is None else classes[0].tolist()


def finish_balanced(
    term: Term, deferred: DeferredTerms, plan: Plan
) -> tuple[FloatArray, FloatArray | None, dict[str, Numbers]]:
    """A term with options that follow from the whole data set, now that all of it is known.

    The ground truth of a sample without a value of the term counts nowhere in these options.

    Returns:
        Values (n,), class values (n, K) or None, and the options' numbers.
    """
    support, valid = deferred.support, deferred.valid
    fields_of_all = [field for fields in deferred.results[term] for field in fields]
    lacks = np.all([np.isnan(_flat(field)).all(1) for field in fields_of_all], 0)
    numbers = resolve_automatic_options(term, support[~lacks], valid[~lacks], plan.task)
    results: Any = deferred.results[term]
    probed = [Sums(*fields) if len(fields) > 1 else fields[0] for fields in results]
    result = linear(probed, [n for name in term.inside for n in numbers[name]])
    if class_count(term, plan.task, support.shape[1]) > support.shape[1]:
        support = np.concatenate([valid - support, support], 1)
    of_loss: Any = support
    if needs_tensors(term):
        from lossbench.engine.compute.tensors import as_tensors

        result, of_loss = as_tensors(result), as_tensors(support)
    function, options = loss_function(term.entry), {**term.options, **numbers}
    with as_sample_error(term), np.errstate(all="ignore"):
        sample, classes = finish(function, result, lambda: of_loss, options, plan.task)
    by_class = to_numpy(classes) if plan.by_class and classes is not None else None
    return to_numpy(sample), by_class, numbers


def _flat(field: FloatArray) -> FloatArray:
    """A field (n, …) as (n, m)."""
    return field.reshape(len(field), -1)


def rebuild_views(
    pools: Accumulators, term: Term, options: Mapping[str, Any]
) -> tuple[Mapping[str, Any] | None, Array]:
    """A term's views over all samples: joined, or from the sums of their fields."""
    sums, forms = pools.sums.sums, call_signature(loss_function(term.entry)).inputs
    support: Any = sums[""]["support"].value()[None] if "" in sums else np.empty(0)
    if "" not in sums:
        return None, support
    added: Mapping[str, Any]
    if term.key in sums:
        numbers = [n for name in term.inside for n in options[name]]
        views: dict[str, dict[str, Any]] = {}
        for key, exact in sums[term.key].items():
            name, quantity = key.split(".")
            views.setdefault(name, {})[quantity] = linear(list(exact.value()[:, None]), numbers)
        added = {
            name: (Sums if name == "" else forms[name])(**fields) for name, fields in views.items()
        }
    else:
        lists = {name: pools.views.joined(f"{term.key}/{name}") for name in forms}
        added = {name: forms[name].joined(each) for name, each in lists.items() if each}
        if len(added) < len(forms):
            return None, support
    if needs_tensors(term):
        from lossbench.engine.compute.tensors import as_tensors

        return as_tensors(added), as_tensors(support)
    return added, support
