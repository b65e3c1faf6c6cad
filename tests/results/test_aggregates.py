"""Aggregates against numpy, scipy and statistics; infinities, nothing, and any order."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lossbench.results.aggregates import AGGREGATES, aggregate

NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)
ANYTHING = st.one_of(
    st.floats(-1e150, 1e150).map(lambda value: value + 0.0),  # −0.0 has a test of its own
    st.sampled_from([math.inf, -math.inf, math.nan, 0.1]),
)
PERCENTILES = {"p5": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95, "min": 0, "max": 100}
INFINITE = math.inf


def bits(table: dict[str, float]) -> dict[str, str]:
    """The numbers as written: -0.0 is not 0.0 and nan equals nan."""
    return {name: repr(value) for name, value in table.items()}


@given(st.lists(NUMBERS, min_size=1))
def test_percentiles_are_numpys_linear_ones(values):
    found = aggregate(values)
    expected = np.percentile(values, list(PERCENTILES.values()), method="linear")
    scale = max(map(abs, values))
    assert [found[name] for name in PERCENTILES] == pytest.approx(
        expected.tolist(), rel=1e-12, abs=1e-12 * scale
    )


@given(st.lists(NUMBERS, min_size=2))
def test_mean_and_deviation_are_those_of_statistics(values):
    found = aggregate(values)
    assert found["mean"] == pytest.approx(statistics.fmean(values), rel=1e-14, abs=1e-300)
    assert found["std"] == pytest.approx(statistics.stdev(values), rel=1e-9, abs=1e-9)
    assert found["sum"] == math.fsum(values)
    assert found["count"] == len(values)


@pytest.mark.parametrize("count", [2, 3, 10, 300])
def test_the_interval_is_students(count):
    values = np.random.default_rng(count).normal(0.2, 0.1, count).tolist()
    low, high = stats.t.interval(0.95, count - 1, np.mean(values), stats.sem(values))
    found = aggregate(values)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((low, high), rel=1e-12)


def test_the_interval_by_hand():
    # t of 1 degree of freedom at 97.5 % is tan(0.475·π); mean 2, s = √2, s/√2 = 1.
    found = aggregate([1.0, 3.0])
    half = math.tan(0.475 * math.pi)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((2 - half, 2 + half), rel=1e-12)
    assert found["std"] == pytest.approx(math.sqrt(2))


def test_undefined_values_are_counted_and_left_out():
    found = aggregate([math.nan, 1.0, math.nan, 3.0], pooled=0.5)
    assert (found["count"], found["undefined"], found["mean"]) == (2, 2, 2)
    assert found["pooled"] == 0.5


@pytest.mark.parametrize("values", [[], [math.nan], [math.nan] * 3])
def test_the_aggregates_of_nothing_are_undefined(values):
    found = aggregate(values)
    assert (found["count"], found["infinite"], found["undefined"]) == (0, 0, len(values))
    others = set(AGGREGATES) - {"count", "infinite", "undefined"}
    assert all(math.isnan(found[name]) for name in others)


def test_one_sample_has_no_spread():
    found = aggregate([0.25])
    assert all(math.isnan(found[name]) for name in ("std", "ci_low", "ci_high"))
    assert {found[name] for name in ("mean", "sum", *PERCENTILES)} == {0.25}


def test_equal_values_have_a_spread_of_nothing():
    found = aggregate([0.1] * 7)
    assert found["std"] == pytest.approx(0, abs=1e-16)
    assert found["ci_low"] == pytest.approx(0.1)
    assert {found[name] for name in PERCENTILES} == {0.1}


@pytest.mark.parametrize("sign", [1, -1])
def test_an_infinite_member_makes_the_mean_infinite_and_not_the_median(sign):
    found = aggregate([1.0, 2.0, 3.0, 4.0, sign * INFINITE])
    assert found["mean"] == found["sum"] == sign * INFINITE
    assert found["median"] == (3 if sign > 0 else 2)
    assert (found["count"], found["infinite"], found["undefined"]) == (5, 1, 0)
    assert found["max" if sign > 0 else "min"] == sign * INFINITE
    assert found["min" if sign > 0 else "max"] == (1 if sign > 0 else 4)
    assert all(math.isnan(found[name]) for name in ("std", "ci_low", "ci_high"))


def test_infinities_of_both_signs_leave_no_mean():
    found = aggregate([INFINITE, -INFINITE, 1.0])
    assert math.isnan(found["mean"])
    assert math.isnan(found["sum"])
    assert (found["median"], found["infinite"]) == (1, 2)


@pytest.mark.parametrize("values", [[0.0, INFINITE], [1.0, 2.0, 3.0, INFINITE, INFINITE]])
def test_percentiles_are_the_same_seen_from_below(values):
    # Between a number and an infinity lies the infinity, whichever its sign.
    plain, mirrored = aggregate(values), aggregate([-value for value in values])
    for name, mirror in [("p5", "p95"), ("p25", "p75"), ("median", "median"), ("min", "max")]:
        assert mirrored[mirror] == pytest.approx(-plain[name])
        assert mirrored[name] == pytest.approx(-plain[mirror])


@pytest.mark.parametrize("values", [[1e200, 3e200], [1e308, -1e308], [1e308, 1e308, 1e308]])
def test_huge_values_have_aggregates(values):
    found = aggregate(values)
    assert found["median"] == statistics.median(values)
    assert (found["min"], found["max"]) == (min(values), max(values))
    assert found["mean"] in (math.fsum(x / len(values) for x in values), INFINITE)


def test_sums_lose_nothing_small_beside_something_large():
    found = aggregate([1e16, 1.0, -1e16, 1.0])
    assert (found["sum"], found["mean"]) == (2, 0.5)


@given(st.lists(ANYTHING), st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_change_a_bit(values, random):
    shuffled = values[:]
    random.shuffle(shuffled)
    assert bits(aggregate(shuffled)) == bits(aggregate(values))


def test_the_two_zeros_do_not_depend_on_their_order():
    assert bits(aggregate([0.0, -0.0])) == bits(aggregate([-0.0, 0.0]))
