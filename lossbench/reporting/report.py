"""A result as a page: its numbers, how they are distributed, and the worst samples as pictures."""

from __future__ import annotations

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
    """A result file, of whose samples some columns have been read.

    Attributes:
        file: the result.
        model: what it says of its run.
        measured: the columns, and classes of columns, that the page has.
        ids: the samples.
        values: of each of them, (samples,), nan where undefined.
        pred: where the predictions are now, None for where the run read them.
        target: where the ground truth is, likewise.
    """

    file: str
    model: Model
    measured: Sequence[Measured]
    ids: StringList
    values: Mapping[str, FloatArray]
    pred: str | None = None
    target: str | None = None

    def find(self, name: str) -> Measured:
        """What the page has under a name; an unknown one is an error."""
        found: Measured = lookup(name, {each.name: each for each in self.measured}, "the page")
        return found

    def worst(self, of: Measured, count: int | None = None) -> list[int]:
        """Places of the samples, the worst first, undefined ones last."""
        return worst_first(self.values[of.name], of.better)[:count]

    def defined(self, of: Measured) -> int:
        """How many samples have a value."""
        import numpy as np

        return int(np.count_nonzero(~np.isnan(self.values[of.name])))

    def histogram(self, of: Measured) -> tuple[list[int], list[float]]:
        """How many of the finite values are in each bin, and the bins' edges."""
        import numpy as np

        values = self.values[of.name]
        finite = values[np.isfinite(values)]
        low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
        if low == high:
            return [len(finite)], [float(low), float(high)]
        # From 0 to 1, as numbers may be neighbours, or be as far apart as no number is large.
        counts, _ = np.histogram((finite / 2 - low / 2) / (high / 2 - low / 2), BINS, (0, 1))
        share = np.linspace(0, 1, BINS + 1)
        return counts.tolist(), (low * (1 - share) + high * share).tolist()

    def worst_pictures(self, of: Measured, count: int) -> tuple[dict[str, int], Overlays]:
        """The worst samples that have a value, by id with their places, and as pictures."""
        from lossbench.reporting.overlays import overlays

        places = {self.ids[place]: place for place in self.worst(of, min(count, self.defined(of)))}
        by = of.quantity.column
        return places, overlays(self.model, places, by, self.pred, self.target)


def report(
    file: str, losses: Sequence[str] = (), pred: str | None = None, target: str | None = None
) -> Report:
    """Read what a page shows of a result file; see `lossbench.report`."""
    model = read_result(file)
    known = {each.name: each for each in _measured(model)}
    wanted = losses or [name for name, each in known.items() if each.quantity.of_class is None]
    measured: list[Measured] = [lookup(name, known, "the result") for name in dict.fromkeys(wanted)]
    ids, columns = read_samples(file, [each.quantity for each in measured], model)
    values = {each.name: column for each, column in zip(measured, columns, strict=True)}
    return Report(file, model, measured, ids, values, pred, target)


def _measured(model: Model) -> Iterator[Measured]:
    """Every column of a result, and every class of it."""
    for loss in model["run"]["losses"]:
        for of_class in (None, *model["aggregate"][loss["name"]].get("classes", {})):
            yield Measured(Quantity(loss["name"], of_class), loss["better"])
