"""Mann-Kendall against scipy and against every order of the values; averages; overfitting."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from helpers.tolerances import REFERENCE, check_close
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lossbench.results import trend_statistics
from lossbench.results.trend_statistics import (
    averages_so_far,
    best_index,
    first_sign,
    mann_kendall,
    tendency,
)

NAN = math.nan
FALLING = [0.9, 0.7, 0.5, 0.4, 0.35, 0.3]


def s_of(values):
    return sum(np.sign(b - a) for i, a in enumerate(values) for b in values[i + 1 :])


@pytest.mark.parametrize("count", [5, 8, 10, 30])
@pytest.mark.parametrize("seed", range(4))
def test_without_ties_it_is_scipys_exact_test(count, seed):
    values = np.random.default_rng(seed).normal(size=count) - seed * np.arange(count) / 10
    tau, p = mann_kendall(values.tolist())
    side = "greater" if tau > 0 else "less"
    expected = stats.kendalltau(np.arange(count), values, method="exact", alternative=side)
    check_close([tau, p], [expected.statistic, expected.pvalue], REFERENCE)


@given(st.lists(st.integers(0, 3), min_size=5, max_size=7))
def test_with_ties_it_counts_every_order(values):
    tau, p = mann_kendall(values)
    total = s_of(values)
    if len(set(values)) == 1:
        assert math.isnan(tau)
        assert p == 1
        return
    check_close(tau, stats.kendalltau(range(len(values)), values).statistic, REFERENCE)
    totals = np.array([s_of(order) for order in permutations(values)])
    share = (totals >= total).mean() if total > 0 else (totals <= total).mean()
    check_close(p, share, REFERENCE)


def test_many_epochs_have_the_normal_distribution_with_ties():
    """By hand: Var S = (n(n−1)(2n+5) − Σ t(t−1)(2t+5))/18, z = (|S| − 1)/√Var."""
    values = np.random.default_rng(3).integers(0, 12, 80) - np.arange(80) // 20
    tau, p = mann_kendall(values.tolist())
    _, ties = np.unique(values, return_counts=True)
    variance = (80 * 79 * 165 - (ties * (ties - 1) * (2 * ties + 5)).sum()) / 18
    z = (abs(s_of(values)) - 1) / math.sqrt(variance)
    check_close(p, stats.norm.sf(z), REFERENCE)
    assert tau < 0


def test_both_distributions_agree_where_one_takes_over(monkeypatch):
    values = (np.random.default_rng(5).integers(0, 30, 50) - np.arange(50) // 9).tolist()
    exact = mann_kendall(values)
    monkeypatch.setattr(trend_statistics, "EXACT", 49)
    normal = mann_kendall(values)
    assert exact[0] == normal[0]
    assert exact[1] == pytest.approx(normal[1], rel=0.05)


@pytest.mark.parametrize(
    ("values", "better", "word"),
    [
        (FALLING, "lower", "improving"),
        (FALLING, "higher", "worsening"),
        (FALLING[::-1], "lower", "worsening"),
        (FALLING[:4], "lower", "too few"),
        ([*FALLING[:4], NAN], "lower", "too few"),
        ([0.5] * 6, "lower", "flat"),
        ([0.5, 0.4, 0.6, 0.5, 0.4, 0.6], "lower", "flat"),
        (FALLING, None, None),
    ],
)
def test_words(values, better, word):
    assert tendency(values, better).word == word


def test_only_the_window_counts():
    values = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.5, 0.5, 0.5, 0.5]
    assert tendency(values, "lower", 5).word == "flat"
    assert tendency(values, "lower", 5).window == 5
    assert tendency(values, "lower", 10).word == "improving"


def test_averages_pass_over_undefined_values():
    assert averages_so_far([1.0, NAN, 2.0, 6.0]) == [1, 1, 1.5, 3]
    assert math.isnan(averages_so_far([NAN, 1.0])[0])


def test_of_equal_values_the_first_is_the_best():
    assert best_index([NAN, 3.0, 1.0, 1.0], "lower") == 2
    assert best_index([NAN, 3.0, 1.0, 3.0], "higher") == 1
    assert best_index([NAN], "lower") is None
    assert best_index([1.0], None) is None


def test_overfitting_needs_a_test_or_a_trend():
    validation = [0.9, 0.6, 0.5, 0.4, 0.45, 0.5, 0.55, 0.6]
    training = [0.9, 0.7, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1]
    sign = first_sign(validation, "lower", training, "lower", None)
    assert sign == 4
    worse = [True, True, True, False, False, True, True, True]
    assert first_sign(validation, "lower", training, "lower", worse) == 5
    assert first_sign(validation, "lower", training[::-1], "lower", worse) is None
    assert first_sign(validation[:6], "lower", training[:6], "lower", None) is None  # too short
    level = [0.9, 0.6, 0.5, 0.4, 0.41, 0.42, 0.41, 0.42, 0.41]
    assert first_sign(level, "lower", [*training, 0.05], "lower", None) is None
