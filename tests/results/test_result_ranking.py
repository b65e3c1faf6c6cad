"""Rankings of several results: order, stability, significance, critical difference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lossbench.results.ranking import METHODS, NEMENYI, RESAMPLINGS, ResultRanking

INF = math.inf


def test_the_two_methods_may_disagree():
    # The first result is best on most images, and fails badly on one.
    values = np.array([[0.1, 0.1, 0.1, 0.9], [0.2, 0.2, 0.2, 0.2], [0.3, 0.3, 0.3, 0.3]])
    found = ResultRanking(values, "lower")
    assert found.positions == {"of_means": [2, 1, 2], "of_ranks": [1, 2, 3]}
    assert found.mean_ranks == [1.5, 1.75, 2.75]
    assert ResultRanking(-values, "higher").positions == found.positions


def test_equal_results_share_the_better_rank_however_units_are_drawn():
    values = np.random.default_rng(0).random((3, 30))
    values[2] = values[0]
    found = ResultRanking(values, "lower")
    for method in METHODS:
        ranks = found.positions[method]
        assert ranks[0] == ranks[2]
        assert found.stability[method][0] == found.stability[method][2]


def test_stability_is_the_share_of_resamplings():
    random = np.random.default_rng(4)
    values = random.normal([[0.0], [0.1], [2.0]], 1, (3, 25))
    found = ResultRanking(values, "lower")
    again = np.random.default_rng(0)
    counts = {method: np.zeros((3, 3)) for method in METHODS}
    for drawn in again.integers(0, 25, (RESAMPLINGS, 25)):
        means = values[:, drawn].mean(1)
        of_ranks = stats.rankdata(values, axis=0)[:, drawn].mean(1)
        for method, scores in zip(METHODS, (means, of_ranks), strict=True):
            for result, rank in enumerate(stats.rankdata(scores.round(12), "min")):
                counts[method][result, int(rank) - 1] += 1
    for method in METHODS:
        np.testing.assert_allclose(found.stability[method], counts[method] / RESAMPLINGS)
        assert np.sum(found.stability[method], axis=1) == pytest.approx([1, 1, 1])
        assert found.stability[method][2][2] > 0.99  # far behind


def test_an_infinite_value_counts_more_than_all_others():
    values = np.array([[1, 2, INF], [50, 60, 70.0], [INF, INF, 0]])
    assert ResultRanking(values, "lower").positions["of_means"] == [2, 1, 3]
    assert ResultRanking(values, "higher").positions["of_means"] == [2, 3, 1]


def test_the_critical_difference_is_nemenyis():
    for results, quantile in NEMENYI.items():
        expected = stats.studentized_range.ppf(0.95, results, np.inf) / math.sqrt(2)
        assert quantile == pytest.approx(expected, abs=2e-4)
    values = np.random.default_rng(0).random((5, 30))
    assert ResultRanking(values, "lower").critical_difference == pytest.approx(
        2.727774 * math.sqrt(5 * 6 / (6 * 30))
    )
    assert math.isnan(
        ResultRanking(np.random.default_rng(0).random((21, 30)), "lower").critical_difference
    )


def test_cliques_are_the_largest_sets_that_do_not_differ():
    ranks = np.array([[1, 1, 1, 1], [2, 2, 2, 3], [3, 3, 3, 2], [4, 4, 4, 4.0]])
    found = ResultRanking(np.repeat(ranks, 5, axis=1), "lower")
    assert found.critical_difference == pytest.approx(1.0488, abs=1e-4)
    assert found.cliques == [[1, 2]]
    assert ResultRanking(ranks[:, :1], "lower").cliques == [[0, 1, 2, 3]]


def test_without_a_unit_nothing_is_ranked():
    found = ResultRanking(np.empty((2, 0)), "lower")
    assert found.stability["of_means"] == [[0, 0], [0, 0]]
    assert math.isnan(found.critical_difference)
    assert all(map(math.isnan, found.mean_ranks))
