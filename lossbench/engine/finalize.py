"""From all parts of a run to its result: what waits for the last sample, pooled values, columns."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lossbench.catalog.columns import Term
from lossbench.data.planning.plan import Plan
from lossbench.engine.convention_columns import table
from lossbench.engine.run_spec import RunSpec
from lossbench.engine.state.accumulators import Accumulators
from lossbench.engine.state.group_accumulators import Grouping, Pooled
from lossbench.engine.state.partial_result import PartialResult
from lossbench.engine.state.scores import DeferredTerms
from lossbench.errors import PairError
from lossbench.results.result import ColumnValues, Result, combine

Options = dict[Term, dict[str, Any]]


def grouping(run: RunSpec, options: Options, device: Callable[[], str]) -> Grouping | None:
    """The groups of a run's samples, where it has some."""
    of = run.pairing.groups
    sizes = Counter(of[each] for each in run.pairing.pairs.named()) if of else {}
    return grouped(run.plan, of, sizes, options, device)


def grouped(
    plan: Plan,
    of: Mapping[str, str],
    sizes: Mapping[str, int],
    options: Options,
    device: Callable[[], str],
) -> Grouping | None:
    """Groups of samples, where there are some.

    Args:
        plan: what is counted.
        of: the group of each sample, by id.
        sizes: how many pairs of the run each group has.
        options: of every term; automatic ones as they are when a group is closed.
        device: where to compute, once that is known.
    """
    if not of:
        return None

    def value(pools: Accumulators) -> Pooled:
        from lossbench.engine.compute.pooled import pooled

        return pooled(plan, options, device(), pools)

    return Grouping(of, sizes, value, wait=any(term.automatic for term in options))


def conclude(run: RunSpec, whole: PartialResult, options: Options, device: str) -> Result:
    """The result of a run; gates are not decided yet.

    Args:
        run: what was asked for.
        whole: what its pairs came to, from `whole.start` to `whole.stop`.
        options: of every term; automatic ones become numbers here.
        device: where to compute what is left.
    """
    plan, pairs = run.plan, run.pairing.pairs[whole.start : whole.stop]
    _gather(run, whole, device)
    _settle(run, whole, options, device)
    whole_values = _pooled(run, whole, options, device)
    _share(whole, whole_values, plan.by_class)
    nothing = (math.nan, [math.nan] * len(plan.names))
    empty = np.full(len(pairs), math.nan)
    terms = {
        term: (
            whole.values.get(term, empty)[whole.good],
            whole.classes[term][whole.good] if term in whole.classes else None,
            whole_values.get(term, nothing)[0],
            whole_values.get(term, nothing)[1] if term in whole.classes else None,
        )
        for term in run.terms
    }
    columns = {column.name: combine(column, terms) for column in run.columns}
    others = [combine(each.column, terms) for each in run.elsewhere]
    ids = [each for each, good in zip(pairs.named(), whole.good, strict=True) if good]
    found = len(pairs) - sum(each.kind == "missing" for each in whole.failed)
    failed, skipped, worst = _judged(run, whole.failed)
    of_groups = _group_columns(run, whole, ids, worst)
    if worst:
        ids = _add_worst(run, ids, [*columns.values(), *others], worst)
    counts = {
        "found": found,
        "evaluated": int(whole.good.sum()),
        "missing": len(pairs) - found + run.pairing.count("missing"),
        "extra": run.pairing.count("extra"),
        "errors": len(failed),
    }
    return Result(
        ids,
        run.columns,
        columns,
        plan.names if plan.by_class else (),
        counts,
        failed,
        skipped=skipped,
        pooled=_state(run, whole),
        groups=[run.pairing.groups[each] for each in ids] if whole.groups else None,
        group_pooled=of_groups,
        conventions=table(run.elsewhere, others, plan.task),
    )


def _gather(run: RunSpec, whole: PartialResult, device: str) -> None:
    """Terms that need all samples of the run, now that they are here."""
    terms = [term for term in run.terms if term.gathers]
    if not (terms and whole.kept):
        return
    from lossbench.engine.compute.pooled import gathered

    order = sorted(whole.kept)
    samples = [whole.kept[place] for place in order]
    for term in terms:
        whole.values[term] = np.full(len(whole.good), math.nan)
    places = np.array(order) - whole.start
    for block, rows in gathered(run.plan, terms, device, samples):
        for term, found in rows.values.items():
            whole.values[term][places[block]] = found
        whole.pools.sums.add({name: state for name, state in rows.states.items() if name})


def _settle(run: RunSpec, whole: PartialResult, options: Options, device: str) -> None:
    """Terms with options that follow from all of the data."""
    if not whole.pending:
        return
    from lossbench.engine.compute.pooled import finish_balanced

    pending = DeferredTerms.joined(whole.pending)
    for term in pending.results:
        values, classes, numbers = finish_balanced(term, pending, run.plan, device)
        options[term] = {**options[term], **numbers}
        whole.values[term] = np.full(len(whole.good), math.nan)
        whole.values[term][whole.good] = values
        if classes is not None:
            whole.classes[term] = np.full((len(whole.good), classes.shape[1]), math.nan)
            whole.classes[term][whole.good] = classes


def _pooled(
    run: RunSpec, whole: PartialResult, options: Options, device: str
) -> Mapping[Term, Any]:
    """The value of every term over all samples as one."""
    from lossbench.engine.compute.pooled import pooled

    return pooled(run.plan, options, device, whole.pools)


def _share(whole: PartialResult, pooled: Mapping[Term, Any], by_class: bool) -> None:
    """The value of all samples as one to each of them, of terms that mean that."""
    for term, (value, classes) in pooled.items():
        if term.together:
            whole.values[term] = np.where(whole.good, value, math.nan)
            if classes and by_class:
                whole.classes[term] = np.where(whole.good[:, None], classes, math.nan)


def _group_columns(
    run: RunSpec, whole: PartialResult, ids: Sequence[str], worst: Sequence[str]
) -> dict[str, ColumnValues]:
    """By column: the value of each group's pixels as one, groups sorted.

    It is undefined where a missing prediction counts as the worst possible value.
    """
    if not whole.groups:
        return {}
    of = run.pairing.groups
    classes = {term: len(run.plan.names) if term in whole.classes else 0 for term in run.terms}
    terms = whole.groups.finish(
        sorted({of[each] for each in (*ids, *worst)}), {of[each] for each in worst}, classes
    )
    return {column.name: combine(column, terms) for column in run.columns}


def _judged(
    run: RunSpec, failed: Sequence[PairError]
) -> tuple[list[PairError], list[PairError], list[str]]:
    """What to do with pairs that have no values, sorted by id.

    Returns:
        Those that are errors, those that are skipped, and the ids that count as the worst possible
        value.
    """
    settings = run.settings
    policies: Mapping[Any, str] = {
        ("missing", "pred"): settings.missing,
        ("extra", "target"): settings.extra,
    }
    judged: dict[str, list[PairError]] = {"error": [], "skip": [], "worst": []}
    for each in sorted([*failed, *run.pairing.unpaired], key=lambda each: each.id):
        judged[policies.get((each.kind, each.role), "error")].append(each)
    return judged["error"], judged["skip"], [each.id for each in judged["worst"]]


def _add_worst(
    run: RunSpec, ids: list[str], rows: Sequence[ColumnValues], worst: Sequence[str]
) -> list[str]:
    """Missing predictions as rows at the bad end of the range; nothing is pooled with them."""
    every = [*ids, *worst]
    order = sorted(range(len(every)), key=every.__getitem__)

    columns = [*run.columns, *(each.column for each in run.elsewhere)]
    for column, values in zip(columns, rows, strict=True):
        filled = np.full((1, len(worst)), column.bad_end)
        values.column = np.append(values.column, filled)[order]
        if values.class_columns is not None:
            longer = filled.repeat(len(values.class_columns), 0)
            values.class_columns = np.append(values.class_columns, longer, 1)[:, order]
            values.pooled_classes = [math.nan] * len(values.class_columns)
        values.pooled = math.nan
    return [every[place] for place in order]


def _state(run: RunSpec, whole: PartialResult) -> dict[str, Any]:
    """What adds up over shards: tables of counts, or exact sums."""
    plan, pools = run.plan, whole.pools
    found: dict[str, Any] = {}
    if plan.counted:
        found = {"pixels": pools.tables.pixels, "tables": pools.tables.as_json(plan)}
    return {**found, "sums": pools.sums.as_json()} if plan.pixels else found
