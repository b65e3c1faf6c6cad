"""The data of a page about a result: columns, distributions, and the worst samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lossbench.results.aggregates import worst_first
from lossbench.results.reader import Measured, Model, Quantity, lookup, read_result, read_samples
from lossbench.runtime.string_list import StringList

if TYPE_CHECKING:
    from lossbench.reporting.overlays import Overlays
    from lossbench.runtime.array_types import FloatArray


BINS = 40


@dataclass(frozen=True)
class Report:
    """A result file with some of its columns.

    Attributes:
        file: the result.
        model: everything in the file except its samples.
        measured: the columns, and classes of columns, to show.
        ids: the samples.
        values: quantity -> values, (samples,), nan if undefined.
        pred: where the predictions are now; None for where the run read them.
        target: where the ground truth is now, likewise.
    """

    file: str
    model: Model
    measured: Sequence[Measured]
    ids: StringList
    values: Mapping[str, FloatArray]
    pred: str | None = None
    target: str | None = None

    def find(self, name: str) -> Measured:
        """The quantity of a name; an unknown name raises a SettingError."""
        return lookup(name, {each.name: each for each in self.measured}, "the page")

    def worst(self, of: Measured, count: int | None = None) -> list[int]:
        """Indices of the samples, worst first, undefined values last."""
        return worst_first(self.values[of.name], of.better)[:count]

    def histogram(self, of: Measured) -> tuple[list[int], list[float]]:
        """The number of finite values in each bin, and the edges of the bins."""
        import numpy as np

        values = self.values[of.name]
        finite = values[np.isfinite(values)]
        low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
        if low == high:
            return [len(finite)], [float(low), float(high)]
        # Scaled to [0, 1], because high - low may be tiny or overflow.
        counts, _ = np.histogram((finite / 2 - low / 2) / (high / 2 - low / 2), BINS, (0, 1))
        share = np.linspace(0, 1, BINS + 1)
        return counts.tolist(), (low * (1 - share) + high * share).tolist()

    def worst_pictures(self, of: Measured, count: int) -> tuple[dict[str, int], Overlays]:
        """The worst samples that have a value: id -> index, and their pictures."""
        from lossbench.reporting.overlays import overlays

        worst, values = self.worst(of, count), self.values[of.name]
        indices = {self.ids[index]: index for index in worst if not math.isnan(values[index])}
        by = of.quantity.column
        return indices, overlays(self.model, indices, by, self.pred, self.target)


def report(
    file: str, losses: Sequence[str] = (), pred: str | None = None, target: str | None = None
) -> Report:
    """Read the parts of a result file that a page shows; see `lossbench.report`."""
    model = read_result(file)
    known = {each.name: each for each in _measured(model)}
    names = losses or [name for name, each in known.items() if each.quantity.of_class is None]
    measured = [lookup(name, known, "the result") for name in dict.fromkeys(names)]
    ids, columns = read_samples(file, [each.quantity for each in measured], model)
    values = {each.name: column for each, column in zip(measured, columns, strict=True)}
    return Report(file, model, measured, ids, values, pred, target)


def _measured(model: Model) -> Iterator[Measured]:
    """Every column of a result, and each of its classes."""
    for loss in model["run"]["losses"]:
        for of_class in (None, *model["aggregate"][loss["name"]].get("classes", {})):
            yield Measured(Quantity(loss["name"], of_class), loss["better"])
