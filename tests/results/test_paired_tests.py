"""Statistics of paired differences: against scipy, statsmodels and simulations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from helpers.parity import parity
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lossbench.results.paired_tests import (
    DRAWS,
    LEVEL,
    half_width,
    holm,
    is_equivalent,
    needed,
    permutation,
    rank_biserial,
    standardized,
    wilcoxon,
)

NAN, INF = math.nan, math.inf
multipletests = parity("statsmodels.stats.multitest", "multipletests")
ttost_paired = parity("statsmodels.stats.weightstats", "ttost_paired")
SIMULATIONS = 2_000
MOST_REJECTED = 0.065  # of 2,000: 5 % and three standard errors
FEWEST_DETECTED = 0.8
TIED = st.lists(st.integers(-4, 4).map(lambda each: each / 8), min_size=2, max_size=10)


@given(TIED)
@settings(max_examples=60, deadline=None)
def test_up_to_14_differences_the_permutation_test_is_scipys_exact_one(differences):
    data = np.array(differences)
    expected = stats.permutation_test(
        (data,), np.mean, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert float(permutation(data)) == pytest.approx(expected, abs=1e-15)


def test_the_largest_exact_test_is_scipys():
    data = np.random.default_rng(3).normal(0.4, 1, 14).round(1)
    expected = stats.permutation_test(
        (data,), np.mean, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert float(permutation(data)) == expected


@pytest.mark.parametrize("count", [15, 16, 23, 200])
def test_from_15_differences_on_draws_estimate_the_p_value(count):
    data = np.random.default_rng(count).normal(2 / math.sqrt(count), 1, count)
    found = float(permutation(data))
    steps = found * (DRAWS + 1)
    assert steps == pytest.approx(round(steps), abs=1e-9)
    assert round(steps) >= 1
    assert found == float(permutation(data)) == float(permutation(-data))  # seeded
    drawn = stats.permutation_test(
        (data,), np.mean, permutation_type="samples", n_resamples=DRAWS, rng=1
    ).pvalue
    error = math.sqrt(2 * drawn * (1 - drawn) / DRAWS)
    assert abs(found - drawn) <= 4 * error + 2 / DRAWS


def test_many_samples_are_tested_at_once():
    data = np.random.default_rng(0).normal(0.2, 1, (4, 3, 17))
    each = [[float(permutation(row)) for row in rows] for rows in data]
    np.testing.assert_array_equal(permutation(data), each)


def test_rounding_makes_no_difference_of_equal_sums():
    data = np.array([0.1, 0.2, -0.3, 0.7, -0.1, -0.2, 0.3])  # 0.1 + 0.2 is not 0.3
    exact = np.array([1, 2, -3, 7, -1, -2, 3.0])
    assert float(permutation(data)) == float(permutation(exact))
    assert float(permutation(data * 1e-300)) == float(permutation(data * 1e300))


def test_without_any_difference_nothing_is_detected():
    for count in (1, 6, 14, 15, 100):
        nothing = np.zeros(count)
        assert float(permutation(nothing)) == 1
        assert math.isnan(wilcoxon(nothing))
        assert math.isnan(rank_biserial(nothing))
    assert math.isnan(standardized(0, 0))
    assert needed(0, 0) is None


def test_an_infinite_difference_counts_as_larger_than_all_others():
    data = np.array([INF, 1, -2, 3, 4, 5])
    ranked = np.array([100, 1, -2, 3, 4, 5.0])
    assert float(permutation(data)) == float(permutation(ranked))
    assert rank_biserial(data) == rank_biserial(ranked)
    assert wilcoxon(data) == wilcoxon(ranked)
    assert float(permutation(np.array([INF, -INF]))) == 1


@pytest.mark.parametrize("count", [2, 7, 14, 40, 70])
@pytest.mark.parametrize("digits", [1, 12])
def test_wilcoxon_is_scipys(count, digits):
    data = np.random.default_rng(count).normal(0.3, 1, count).round(digits)
    expected = stats.wilcoxon(data, zero_method="wilcox", method="auto").pvalue
    assert wilcoxon(data) == expected


def test_the_rank_biserial_correlation_is_that_of_the_rank_sums():
    for seed in range(20):
        data = np.random.default_rng(seed).normal(0.2, 1, 25).round(1)
        nonzero = data[data != 0]
        ranks = stats.rankdata(np.abs(nonzero))
        above, below = ranks[nonzero > 0].sum(), ranks[nonzero < 0].sum()
        expected = (above - below) / (above + below)
        assert rank_biserial(data) == pytest.approx(expected, abs=1e-15)
        smaller = stats.wilcoxon(data, zero_method="wilcox").statistic
        assert smaller == min(above, below)


@given(st.lists(st.sampled_from([0.001, 0.01, 0.02, 0.04, 0.2, 1.0, NAN]), max_size=8))
@settings(deadline=None)  # the first call imports statsmodels
def test_holm_is_statsmodels(values):
    p = np.array(values, float)
    defined = ~np.isnan(p)
    expected = np.full(len(p), NAN)
    if defined.any():
        expected[defined] = multipletests(p[defined], method="holm")[1]
    np.testing.assert_allclose(holm(p), expected, rtol=1e-15)


def test_holm_by_hand():
    found = holm(np.array([0.01, NAN, 0.04, 0.03]))
    np.testing.assert_allclose(found, [0.03, NAN, 0.06, 0.06])


@pytest.mark.parametrize("seed", range(40))
def test_equivalence_is_that_of_two_one_sided_tests(seed):
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 40))
    first, second = random.normal(0, 1, (2, count))
    difference = second - first
    mean, std = difference.mean(), difference.std(ddof=1)
    margin = random.uniform(0.1, 1.5)
    p = ttost_paired(second, first, -margin, margin)[0]
    assert is_equivalent(mean, std, count, margin) == (p < LEVEL)


def test_the_number_needed_is_the_smallest_one():
    for mean, std, margin in [(0.1, 1, None), (0.1, 1, 0.2), (-0.3, 0.1, None), (0, 1, 0.5)]:
        found = needed(mean, std, margin)
        assert found is not None
        for count, enough in ((found - 1, False), (found, True)):
            freedom = count - 1
            if margin is None:
                decides = stats.t.ppf(0.975, freedom) * std / math.sqrt(count) < abs(mean)
            else:
                half = stats.t.ppf(0.95, freedom) * std / math.sqrt(count)
                decides = half <= margin - abs(mean)
            assert bool(decides) is enough or count < 2
    assert needed(2e-3, 1) == pytest.approx((stats.norm.ppf(0.975) / 2e-3) ** 2, rel=1e-3)
    assert needed(1e-3, 1) is None  # beyond the largest number
    assert needed(0.2, 1, 0.1) is None  # the difference itself is beyond the margin
    assert needed(NAN, NAN) is None


def test_an_interval_needs_two_values():
    assert math.isnan(half_width(0.0, 1))
    assert not is_equivalent(0.0, NAN, 1, 0.1)
    expected = stats.t.interval(0.9, 11, 0, 2 / math.sqrt(12))[1]
    assert half_width(2, 12, 0.9) == pytest.approx(expected, rel=1e-12)


def of_images(random: Any, count: int) -> Any:
    return random.normal(0, 1, (SIMULATIONS, count))


def of_tied_images(random: Any, count: int) -> Any:
    return random.integers(-2, 3, (SIMULATIONS, count)) / 4


def of_skewed_images(random: Any, count: int) -> Any:
    before, after = random.exponential(1, (2, SIMULATIONS, count)) ** 2
    return after - before


def of_groups(random: Any, count: int) -> Any:
    """Means of groups of 2 to 30 images, which share half of their variance."""
    sizes = random.integers(2, 31, count)
    shared = random.normal(0, math.sqrt(0.5), (SIMULATIONS, count))
    own = [random.normal(0, math.sqrt(0.5), (SIMULATIONS, size)).mean(-1) for size in sizes]
    return shared + np.stack(own, -1)


@pytest.mark.parametrize("kind", [of_images, of_tied_images, of_skewed_images, of_groups])
@pytest.mark.parametrize(
    "count", [6, 9, *(pytest.param(each, marks=pytest.mark.slow) for each in (12, 14, 20, 40))]
)
def test_without_a_true_difference_few_are_found(kind, count):
    differences = kind(np.random.default_rng(count), count)
    rejected = (permutation(differences) < LEVEL).mean()
    assert rejected <= MOST_REJECTED


def test_pretending_that_images_of_a_group_are_independent_finds_far_too_many():
    random = np.random.default_rng(0)
    shared = random.normal(0, math.sqrt(0.5), (400, 6, 1))
    images = shared + random.normal(0, math.sqrt(0.5), (400, 6, 8))
    assert (permutation(images.mean(-1)) < LEVEL).mean() <= 0.08
    assert (permutation(images.reshape(400, -1)) < LEVEL).mean() > 0.2


def test_a_difference_of_one_standard_deviation_is_found():
    differences = np.random.default_rng(0).normal(1, 1, (SIMULATIONS, 12))
    assert (permutation(differences) < LEVEL).mean() >= FEWEST_DETECTED
