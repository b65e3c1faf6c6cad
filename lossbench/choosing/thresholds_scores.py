"""Scores as functions of counts, at many thresholds at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossbench.catalog.columns import Column, Term
from lossbench.catalog.grammar import fold
from lossbench.data.planning.plan import Plan
from lossbench.errors import SettingError
from lossbench.interface.dispatch import call_signature, finish, loss_function
from lossbench.interface.stable_math import stack
from lossbench.runtime.array_types import FloatArray
from lossbench.views.confusion import Confusion, Counts
from lossbench.views.overlap import Overlap

DEFAULT_LOSSES = ("dice_score", "iou", "precision", "recall")


def confusion(counts: Counts) -> Confusion:
    """The confusion of each class, (B, C), with its background."""
    tp, fp, fn, tn = counts
    return Confusion(*(stack(x, -1) for x in ((tn, tp), (fn, fp), (fp, fn), (tp, tn))))


def overlap(counts: Counts) -> Overlap:
    """The overlap of hard masks, whose squares are the masks themselves."""
    return Overlap(counts.tp, counts.tp + counts.fp, counts.tp + counts.fn)


# The views of hard masks, each from their counts.
VIEWS: Mapping[Any, Callable[[Counts], Any]] = {
    Counts: lambda counts: counts,
    Confusion: confusion,
    Overlap: overlap,
}


@dataclass(frozen=True)
class ScoreTable:
    """The rows of a table of scores: each column, and each of its classes."""

    plan: Plan
    columns: Sequence[Column]

    @property
    def rows(self) -> list[tuple[Column, str | None]]:
        """The column of each row, and its class; None for the value of all classes."""
        return [
            (column, of_class)
            for column in self.columns
            for of_class in (None, *(self.plan.names if self._has_classes(column) else ()))
        ]

    def _has_classes(self, column: Column) -> bool:
        returns = (term.entry.returns for term in column.terms)
        return self.plan.by_class and "PerSample" not in returns

    def evaluate(self, counts: Counts, support: Any) -> FloatArray:
        """Every row for every sample and threshold, (B, R, T); nan where undefined.

        Args:
            counts: each (B, C, T).
            support: (B, C) pixels of the target in each class.
        """
        samples, classes, thresholds = counts.tp.shape
        flat = Counts(*(x.swapaxes(1, 2).reshape(-1, classes) for x in counts))
        repeated = np.repeat(support, thresholds, 0)
        with np.errstate(all="ignore"):  # 0/0 is undefined
            terms = {
                term: self._evaluate_term(term, flat, repeated)
                for column in self.columns
                for term in column.terms
            }
            rows = []
            for column in self.columns:
                rows.append(fold(column.node, lambda term: terms[term][0]))
                if self._has_classes(column):
                    rows += list(fold(column.node, lambda term: terms[term][1]).T)
        return np.stack(rows).reshape(-1, samples, thresholds).swapaxes(0, 1)

    def _evaluate_term(self, term: Term, counts: Counts, support: Any) -> tuple[Any, Any]:
        """The values of a term, (N,), and of each class, (N, C)."""
        function = loss_function(term.entry)
        signature = call_signature(function)
        views = [VIEWS[form](counts) for form in signature.inputs.values()]
        own = {name: term.options[name] for name in signature.options}
        result = function(*views, **own)
        return finish(function, result, lambda: support, term.options, self.plan.task)


def check_scores(columns: Sequence[Column]) -> None:
    """Refuse losses that have no value, or no best value, at a threshold.

    Raises:
        SettingError: a loss is soft, needs the positions of pixels, or has no better side.
    """
    for column in columns:
        for term in column.terms:
            _check_term(term)
        if column.better is None:
            raise SettingError(
                f"{column.name} has no best threshold: it mixes losses of which lower values are"
                " better with scores of which higher ones are; name them one by one"
            )


def _check_term(term: Term) -> None:
    if "threshold" in term.entry.options and term.entry.options["threshold"].default is None:
        if term.threshold is None:
            raise SettingError(
                f"{term.name} is soft: no threshold decides its value; -l"
                f" '{term.name}(threshold=0.5)' compares hard masks, here at every threshold, and"
                " so does a score such as dice_score"
            )
    elif term.threshold is None:
        raise SettingError(f"{term.name} has no threshold; give a score such as dice_score or iou")
    if not set(call_signature(loss_function(term.entry)).inputs.values()) <= VIEWS.keys():
        raise SettingError(
            f"{term.name} does not follow from counts of pixels; for some thresholds give lossbench"
            f" eval -l '{term.name}(threshold=0.3)'"
        )
    for option, rule in term.automatic.items():
        raise SettingError(
            f"{term.name}: {option}={rule} follows from all ground truth; give numbers instead, one"
            " per class"
        )
