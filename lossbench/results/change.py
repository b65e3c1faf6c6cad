"""The change of one quantity from one result to another: differences, statistics, verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lossbench.results import paired_tests
from lossbench.results.aggregates import aggregate, mean
from lossbench.results.intervals import FEWEST, resampled_interval
from lossbench.results.json_numbers import jsonable, number
from lossbench.results.reader import Measured
from lossbench.runtime.string_list import StringList

if TYPE_CHECKING:
    from lossbench.runtime.array_types import AnyArray, FloatArray

EQUAL, EQUIVALENT, BETTER, WORSE, UNCLEAR = "equal", "equivalent", "better", "worse", "unclear"
VERDICTS = (EQUAL, EQUIVALENT, BETTER, WORSE, UNCLEAR)
IMAGE, GROUP = "image", "group"
MOST_RESAMPLED = 10_000  # units of a bootstrap interval; beyond, it is slow and equals that of t


@dataclass(frozen=True)
class Groups:
    """The groups of the samples.

    Attributes:
        names: the groups, sorted.
        codes: index of each sample's group, (n,).
    """

    names: Sequence[str]
    codes: AnyArray

    @cached_property
    def members(self) -> list[AnyArray]:
        """Indices of the samples of each group."""
        import numpy as np

        order = np.argsort(self.codes, kind="stable")
        ends = np.cumsum(np.bincount(self.codes, minlength=len(self.names)))
        return np.split(order, ends[:-1])


def over_units(columns: FloatArray, groups: Groups | None) -> FloatArray:
    """The values of each image or the means of each group, over samples defined in all columns.

    Args:
        columns: (R, n).
        groups: of the samples; None if each image is a unit.

    Returns:
        (R, n) or (R, groups), nan for units without such a sample.
    """
    import numpy as np

    columns = np.where(np.isnan(columns).any(axis=0), math.nan, columns)
    if groups is None:
        return columns
    return np.array(
        [[mean(row[each].tolist()) for each in groups.members] for row in columns], np.float64
    )


def difference(before: FloatArray, after: FloatArray) -> FloatArray:
    """After minus before; nan if either is undefined, 0 if both are equal."""
    import numpy as np

    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(after == before, 0.0, after - before)


@dataclass(frozen=True)
class Change:
    """The change of one quantity from the first result to another.

    Attributes:
        measured: the quantity.
        before: values of the samples in the first result, (n,).
        after: values of the samples in the other result, (n,).
        groups: of the samples; None if each image is a unit.
        margin: a mean difference smaller than this one does not matter; None for no such limit.
    """

    measured: Measured
    before: FloatArray
    after: FloatArray
    groups: Groups | None = None
    margin: float | None = None

    @cached_property
    def difference(self) -> FloatArray:
        """After minus before of each sample, (n,); nan if either is undefined, 0 if equal."""
        return difference(self.before, self.after)

    @cached_property
    def harm(self) -> FloatArray:
        """How much worse each sample became; how much it changed if neither direction is better."""
        import numpy as np

        if self.measured.better is None:
            return np.abs(self.difference)
        return -self.difference if self.measured.better == "higher" else self.difference

    @property
    def counts(self) -> dict[str, int]:
        """How many samples improved, worsened and stayed equal."""
        import numpy as np

        signs = {"improved": self.harm < 0, "worsened": self.harm > 0, "equal": self.harm == 0}
        if self.measured.better is None:
            signs = {"changed": self.harm > 0, "equal": self.harm == 0}
        return {name: int(np.count_nonzero(each)) for name, each in signs.items()}

    @property
    def undecided(self) -> dict[str, int]:
        """How many samples have an undefined and an infinite difference."""
        import numpy as np

        tests = {"undefined": np.isnan, "infinite": np.isinf}
        return {name: int(np.count_nonzero(test(self.difference))) for name, test in tests.items()}

    @property
    def unit(self) -> str:
        """Whether an image or a group is a unit of the statistics."""
        return IMAGE if self.groups is None else GROUP

    @cached_property
    def units(self) -> FloatArray:
        """The values of each unit before and after, (2, units), nan if one is undefined."""
        import numpy as np

        return over_units(np.stack([self.before, self.after]), self.groups)

    @cached_property
    def differences(self) -> FloatArray:
        """The differences of the units that are defined in both results, (N,)."""
        import numpy as np

        each = difference(*self.units)
        return each[~np.isnan(each)]

    @cached_property
    def aggregates(self) -> dict[str, float]:
        """Every aggregate of the units' differences; the interval is that of paired samples."""
        return aggregate(difference(*self.units))

    @property
    def count(self) -> int:
        """The number of units that are defined in both results."""
        return len(self.differences)

    @property
    def means(self) -> tuple[float, float]:
        """Means before and after, over the units that are defined in both."""
        before, after = (mean(row.tolist()) for row in self.units)
        return before, after

    @cached_property
    def p(self) -> float:
        """The p-value of the sign-flip permutation test; nan without a unit."""
        return float(paired_tests.permutation(self.differences)) if self.count else math.nan

    @cached_property
    def wilcoxon(self) -> float:
        """The p-value of Wilcoxon's signed-rank test."""
        return paired_tests.wilcoxon(self.differences)

    @cached_property
    def bootstrap(self) -> tuple[float, float] | None:
        """The BCa bootstrap interval of the mean difference; None for too few or too many units.

        None also where the differences are all equal, or one is infinite.
        """
        import numpy as np

        ordered = np.sort(self.differences)
        if not FEWEST <= len(ordered) <= MOST_RESAMPLED or not np.isfinite(ordered[[0, -1]]).all():
            return None
        return resampled_interval(ordered, "") if ordered[0] < ordered[-1] else None

    @property
    def needed(self) -> int | None:
        """The number of units that would decide; see `paired_tests.needed`."""
        table = self.aggregates
        return paired_tests.needed(table["mean"], table["std"], self.margin)

    @property
    def is_equal(self) -> bool:
        """Whether both results have the same values, and the same undefined ones."""
        import numpy as np

        return bool(np.array_equal(self.before, self.after, equal_nan=True))

    def verdict(self, p_holm: float) -> str:
        """One of `VERDICTS`, given the adjusted p-value."""
        middle, std = self.aggregates["mean"], self.aggregates["std"]
        if self.is_equal:
            return EQUAL
        if self.margin is not None and paired_tests.is_equivalent(
            middle, std, self.count, self.margin
        ):
            return EQUIVALENT
        if self.measured.better is None or not p_holm < paired_tests.LEVEL:
            return UNCLEAR
        rises = paired_tests.comparable(self.differences).sum() > 0
        return WORSE if rises == (self.measured.better == "lower") else BETTER

    def largest(self, count: int | None, *, improved: bool = False) -> list[int]:
        """Indices of the samples that became worse, or better, the largest change first."""
        import numpy as np

        harm = -self.harm if improved else self.harm
        (indices,) = np.nonzero(harm > 0)
        order: list[int] = indices[np.argsort(-harm[indices], kind="stable")][:count].tolist()
        return order

    def as_json(self, p_holm: float, ids: StringList, top: int | None) -> dict[str, Any]:
        """Every number, and the samples that changed most."""
        first, second = map(number, self.means)
        table, bca = self.aggregates, self.bootstrap

        def listed(indices: Sequence[int]) -> list[dict[str, Any]]:
            return [
                {"id": ids[i], "first": number(self.before[i]), "second": number(self.after[i])}
                for i in indices
            ]

        model: dict[str, Any] = {
            "better": self.measured.better,
            "first": first,
            "second": second,
            "difference": table,
            **self.counts,
            "verdict": self.verdict(p_holm),
            "unit": self.unit,
            "n": self.count,
            "interval": {"method": "t", "low": table["ci_low"], "high": table["ci_high"]},
            "bca": bca and {"low": bca[0], "high": bca[1]},
            "tests": {"wilcoxon": self.wilcoxon, "permutation": self.p, "holm": p_holm},
            "effect": {
                "dz": paired_tests.standardized(table["mean"], table["std"]),
                "rank_biserial": paired_tests.rank_biserial(self.differences),
            },
            "margin": self.margin,
            "needed": self.needed,
            "worst": listed(self.largest(top)),
            "best": listed(self.largest(top, improved=True)),
        }
        if self.measured.better is None:
            del model["best"]
        if self.groups is not None:
            model["groups"] = {
                name: {
                    "n": len(members),
                    "first": before,
                    "second": after,
                    "difference": each,
                }
                for name, members, before, after, each in zip(
                    self.groups.names,
                    self.groups.members,
                    *self.units.tolist(),
                    difference(*self.units).tolist(),
                    strict=True,
                )
            }
        return dict(jsonable(model))
