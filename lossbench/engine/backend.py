"""Which library computes a loss: NumPy tables of counts, torch all others."""

from __future__ import annotations

from lossbench.catalog.columns import Column, Term
from lossbench.data.planning.plan import Plan


def is_plugin(term: Term) -> bool:
    """Whether a loss is a user's own, which may change its inputs in place."""
    return term.entry.plugin is not None


def needs_tensors(term: Term) -> bool:
    """Whether a loss is a user's own and may use more than NumPy and torch have in common."""
    return term.entry.plugin is not None and not term.entry.plugin.neutral


def on_tables(plan: Plan, term: Term) -> bool:
    """Whether a term is computed from tables of counts."""
    return plan.counted and term.countable(plan.task)


def backend(plan: Plan, term: Term) -> str:
    """The library that computes a term: numpy or torch."""
    counts = on_tables(plan, term) or plan.task == "instances"
    matches = plan.task == "detection" and term.detected and not term.automatic
    return "numpy" if (counts or matches) and not needs_tensors(term) else "torch"


def of_column(plan: Plan, column: Column) -> str:
    """The library that computes a column: numpy, torch or mixed."""
    backends = {backend(plan, term) for term in column.terms}
    return "mixed" if len(backends) > 1 else next(iter(backends), "numpy")
