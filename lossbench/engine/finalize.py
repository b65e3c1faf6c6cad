"""Finalize a run: compute deferred terms, pooled values and columns from all partial results."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossbench.catalog.columns import Term
from lossbench.data.loading.truth import BYTES
from lossbench.data.planning.plan import Plan
from lossbench.data.planning.vocabulary import EMPTY
from lossbench.engine.backend import of_column
from lossbench.engine.convention_columns import table
from lossbench.engine.run_spec import RunSpec
from lossbench.engine.state.accumulators import Accumulators
from lossbench.engine.state.group_accumulators import Grouping, Pooled
from lossbench.engine.state.partial_result import PartialResult
from lossbench.engine.state.scores import DeferredTerms
from lossbench.errors import PairError
from lossbench.results.result import ColumnValues, Result, combine

Options = dict[Term, dict[str, Any]]


def grouping(run: RunSpec, options: Options) -> Grouping | None:
    """The groups of a run, or None without --group-by."""
    of = run.pairing.groups
    sizes = Counter(of[each] for each in run.pairing.pairs.named()) if of else {}
    return grouped(run.plan, of, sizes, options)


def grouped(
    plan: Plan,
    of: Mapping[str, str],
    sizes: Mapping[str, int],
    options: Options,
) -> Grouping | None:
    """The groups of samples by id, with their sizes in the whole run; None without groups.

    Automatic options are read when a group is complete.
    """

    def value(pools: Accumulators) -> Pooled:
        from lossbench.engine.compute.pooled import pooled

        return pooled(plan, options, pools)

    wait = any(term.automatic for term in options)
    return Grouping(of, sizes, value, wait) if of else None


def conclude(run: RunSpec, whole: PartialResult, options: Options, device: str) -> Result:
    """The result of all pairs of a run or shard, whose gates are not decided yet.

    Automatic options become numbers here.
    """
    from lossbench.engine.compute.pooled import pooled

    plan, pairs, pairing = run.plan, run.pairing.pairs[whole.start : whole.stop], run.pairing
    _gather(run, whole, device)
    _compute_deferred(run, whole, options)
    of_all = pooled(plan, options, whole.pools)
    _spread(whole, of_all, plan.by_class)
    undefined = (math.nan, [math.nan] * len(plan.names))
    empty = np.full(len(pairs), math.nan)
    terms = {
        term: (
            whole.values.get(term, empty)[whole.good],
            whole.classes[term][whole.good] if term in whole.classes else None,
            of_all.get(term, undefined)[0],
            of_all.get(term, undefined)[1] if term in whole.classes else None,
        )
        for term in run.terms
    }
    columns = {column.name: combine(column, terms) for column in run.columns}
    others = [combine(each.column, terms) for each in run.elsewhere]
    ids = [each for each, good in zip(pairs.named(), whole.good, strict=True) if good]
    found = len(pairs) - sum(each.kind == "missing" for each in whole.failed)
    by_policy = sort_by_policy(run, whole.failed)
    failed = {
        each.id for each in whole.failed
    }  # pairs that lack a single loss are in `ids` as well
    evaluated = sum(each not in failed for each in ids)
    worst = [each.id for each in by_policy["worst"]]
    group_pooled = _group_columns(run, whole, ids, worst)
    if worst:
        ids = _add_worst(run, ids, [*columns.values(), *others], worst)
    counts = {
        "found": found,
        "evaluated": evaluated,
        "missing": len(pairs) - found + pairing.count("missing"),
        "extra": pairing.count("extra"),
        "errors": len(by_policy["error"]),
    }
    return Result(
        ids,
        run.columns,
        columns,
        plan.names if plan.by_class else (),
        counts,
        by_policy["error"],
        skipped=by_policy["skip"],
        truth=f"{whole.truth:0{2 * BYTES}x}",
        pooled=_state(plan, whole.pools),
        groups=[pairing.groups[each] for each in ids] if whole.groups else None,
        group_pooled=group_pooled,
        ci=run.settings.ci,
        conventions=table(run.elsewhere, others, plan.task),
        backends={column.name: of_column(plan, column) for column in run.columns},
        notes=[
            f"{file} {text}"
            for text, file in sorted(whole.evidence.notes.items())
            if not any(each.endswith(text) for each in plan.notes)
        ],
    )


def _gather(run: RunSpec, whole: PartialResult, device: str) -> None:
    """Compute the terms that need all samples of the run at once."""
    terms = [term for term in run.terms if term.gathers]
    if not (terms and whole.samples):
        return
    from lossbench.engine.compute.pooled import gathered

    order = sorted(whole.samples)
    samples = [whole.samples[index] for index in order]
    for term in terms:
        whole.values[term] = np.full(len(whole.good), math.nan)
    indices = np.array(order) - whole.start
    for block, rows in gathered(run.plan, terms, device, samples):
        for term, values in rows.values.items():
            whole.values[term][indices[block]] = values
        whole.pools.sums.add({name: state for name, state in rows.states.items() if name})


def _compute_deferred(run: RunSpec, whole: PartialResult, options: Options) -> None:
    """Compute the terms with automatic options, which follow from all samples."""
    deferred = DeferredTerms.joined(whole.deferred) if whole.deferred else None
    for term in [term for term in options if term.automatic and not term.together]:
        if deferred is None or term not in deferred.results:
            del options[term]  # no pair has a value, so that the options have no numbers
            continue
        from lossbench.engine.compute.pooled import finish_balanced

        values, classes, numbers = finish_balanced(term, deferred, run.plan)
        options[term] = {**options[term], **numbers}
        indices = deferred.indices - whole.start
        whole.values[term] = np.full(len(whole.good), math.nan)
        whole.values[term][indices] = values
        if classes is not None:
            whole.classes[term] = np.full((len(whole.good), classes.shape[1]), math.nan)
            whole.classes[term][indices] = classes


def _spread(whole: PartialResult, pooled: Mapping[Term, Any], by_class: bool) -> None:
    """Give every sample the pooled value of those terms that are defined over all samples."""
    for term, (value, classes) in pooled.items():
        if term.together:
            whole.values[term] = np.where(whole.good, value, math.nan)
            if classes and by_class:
                whole.classes[term] = np.where(whole.good[:, None], classes, math.nan)


def _group_columns(
    run: RunSpec, whole: PartialResult, ids: Sequence[str], worst: Sequence[str]
) -> dict[str, ColumnValues]:
    """By column: the pooled value of each group, groups sorted.

    The value is undefined if a missing prediction counts as the worst possible value.
    """
    if not whole.groups:
        return {}
    of = run.pairing.groups
    classes = {term: len(run.plan.names) if term in whole.classes else 0 for term in run.terms}
    terms = whole.groups.finish(
        sorted({of[each] for each in (*ids, *worst)}), {of[each] for each in worst}, classes
    )
    return {column.name: combine(column, terms) for column in run.columns}


def sort_by_policy(run: RunSpec, failed: Sequence[PairError]) -> dict[str, list[PairError]]:
    """Pairs without values, sorted by id, by what --missing and --extra make of them."""
    missing = "error" if run.settings.missing == EMPTY else run.settings.missing
    policies = {("missing", "pred"): missing, ("extra", "target"): run.settings.extra}
    by_policy: dict[str, list[PairError]] = {"error": [], "skip": [], "worst": []}
    for each in sorted([*failed, *run.pairing.unpaired], key=lambda each: each.id):
        by_policy[policies.get((each.kind, str(each.role)), "error")].append(each)
    return by_policy


def _add_worst(
    run: RunSpec, ids: list[str], rows: Sequence[ColumnValues], worst: Sequence[str]
) -> list[str]:
    """Add missing predictions as rows at the bad end of the range; nothing is pooled then."""
    unsorted = [*ids, *worst]
    order = sorted(range(len(unsorted)), key=unsorted.__getitem__)
    columns = [*run.columns, *(each.column for each in run.elsewhere)]
    for column, values in zip(columns, rows, strict=True):
        filled = np.full((1, len(worst)), column.bad_end)
        values.column = np.append(values.column, filled)[order]
        if values.class_columns is not None:
            longer = filled.repeat(len(values.class_columns), 0)
            values.class_columns = np.append(values.class_columns, longer, 1)[:, order]
            values.pooled_classes = [math.nan] * len(values.class_columns)
        values.pooled = math.nan
    return [unsorted[index] for index in order]


def _state(plan: Plan, pools: Accumulators) -> dict[str, Any]:
    """The additive state of a result: tables of counts, or exact sums."""
    tables = pools.tables
    counts = {"pixels": tables.pixels, "tables": tables.as_json(plan)} if plan.counted else {}
    return {**counts, "sums": pools.sums.as_json()} if plan.pixels else counts
