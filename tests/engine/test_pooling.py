"""Sums that no order, grouping or magnitude can change."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lossbench
from lossbench.engine.state.accumulators import ExactSum, SumPool, TablePool

# Magnitudes from the smallest to 2⁹⁰⁰, so that no sum of a few dozen overflows.
FLOATS = st.one_of(
    st.floats(-(2.0**900), 2.0**900),
    st.builds(math.ldexp, st.floats(-1, 1), st.integers(-1000, 900)),
    st.floats(0, 1),
)
ROWS = st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=40)


def summed(rows: list[tuple[float, ...]]) -> ExactSum:
    exact = ExactSum()
    for row in rows:
        exact.add(np.array(row))
    return exact


def fractions(exact: ExactSum) -> list[Fraction]:
    """What the parts of every number add up to."""
    return [sum(map(Fraction, parts), Fraction(0)) for parts in exact.canonical().tolist()]


def true_sums(rows: list[tuple[float, ...]]) -> list[Fraction]:
    return [sum(map(Fraction, column), Fraction(0)) for column in zip(*rows, strict=True)]


@given(ROWS)
def test_nothing_is_rounded_away(rows):
    assert fractions(summed(rows)) == true_sums(rows)


@given(ROWS)
def test_the_value_is_rounded_once(rows):
    # float(Fraction) rounds to the nearest, ties to even.
    assert summed(rows).value().tolist() == [float(each) for each in true_sums(rows)]


@given(ROWS, st.randoms(use_true_random=False))
def test_the_parts_are_the_same_for_any_order(rows, random):
    shuffled = rows[:]
    random.shuffle(shuffled)
    whole, other = summed(rows), summed(shuffled)
    assert repr(whole.canonical().tolist()) == repr(other.canonical().tolist())
    assert repr(whole.value().tolist()) == repr(other.value().tolist())


@given(ROWS, st.integers(0, 40))
def test_two_halves_merged_equal_the_whole(rows, cut):
    halves = [rows[:cut], rows[cut:]]
    merged = ExactSum()
    for half in filter(None, halves):
        for part in np.moveaxis(summed(half).canonical(), -1, 0):
            merged.add(part)
    assert repr(merged.canonical().tolist()) == repr(summed(rows).canonical().tolist())


def test_a_part_that_cancels_leaves_nothing_behind():
    exact = summed([(1e300,), (1.0,), (1e-300,), (-1e300,), (-1.0,)])
    assert exact.canonical().tolist() == [[1e-300]]


def test_the_parts_of_a_number_do_not_overlap():
    parts = summed([(2.0**-60,), (2.0**60,), (1.0,)]).canonical()[0].tolist()
    assert parts == [2.0**60, 1.0, 2.0**-60]


def test_many_additions_stay_compact():
    random = np.random.default_rng(0)
    numbers = random.normal(size=3000) * 10.0 ** random.integers(-200, 200, 3000)
    exact = summed([(number,) for number in numbers])
    assert exact.value().tolist() == [float(sum(map(Fraction, numbers.tolist())))]
    assert len(exact.parts) < 60  # 2000 bits hold all of these; a part holds 53


def test_arrays_of_any_shape_are_added_element_by_element():
    exact = ExactSum()
    for number in range(10):
        exact.add(np.full((2, 1, 3), number / 10))
    expected = float(sum(Fraction(number / 10) for number in range(10)))
    assert exact.value().tolist() == np.full((2, 1, 3), expected).tolist()


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_term_makes_the_sum_infinite(value):
    exact = summed([(1.0,), (value,), (2.0,)])
    assert exact.value().tolist() == [value]


def test_images_of_huge_numbers_have_a_result():
    # (1e200)² is beyond float64: the squared error is infinite, not a fault.
    huge, zero = np.full((2, 2), 1e200), np.zeros((2, 2))
    result = lossbench.evaluate([huge], [zero], "l2", task="image", ignore="none")
    assert result.values["l2"].samples == [math.inf]
    assert result.as_json()["aggregate"]["l2"]["mean"] == "Infinity"


def test_a_pool_adds_each_quantity_of_each_loss():
    pool = SumPool()
    pool.add({"dice": {"both": np.array([[1.0, 2.0], [3.0, 4.0]])}})
    pool.add({"dice": {"both": np.array([[0.5, 0.25]])}, "l1": {"top": np.array([[1.0]])}})
    assert pool.as_json() == {"dice": {"both": [[4.5], [6.25]]}, "l1": {"top": [[1.0]]}}


def test_tables_add_beyond_32_bits():
    pool = TablePool()
    largest = np.full((3, 1, 2, 2), 2**32 - 1, np.uint32)
    pool.add(largest, np.array([1, 2, 3]))
    pool.add(largest, np.array([4, 5, 6]))
    assert pool.table.tolist() == [[[6 * (2**32 - 1)] * 2] * 2]
    assert pool.pixels == 21


MASKS = np.random.default_rng(1).integers(0, 2, (12, 5, 7)).astype(np.uint8)
MAPS = np.random.default_rng(2).integers(0, 256, (12, 5, 7)).astype(np.uint8)


def test_pooled_tables_of_two_halves_add_up_to_the_whole():
    def rows(places: slice) -> dict[tuple[int, int], int]:
        pooled = lossbench.evaluate(MAPS[places], MASKS[places], "dice", task="binary").pooled
        table = {(p, t): count for p, t, count in pooled["tables"]["foreground"]}
        assert sum(table.values()) == pooled["pixels"] == MAPS[places].size
        return table

    first, second, whole = rows(slice(0, 5)), rows(slice(5, 12)), rows(slice(0, 12))
    assert {
        cell: first.get(cell, 0) + second.get(cell, 0) for cell in first.keys() | second.keys()
    } == whole
    pairs = list(zip(MAPS.ravel().tolist(), MASKS.ravel().tolist(), strict=True))
    assert whole == {cell: pairs.count(cell) for cell in set(pairs)}


def test_pooled_sums_of_two_halves_add_up_to_the_whole():
    logits = np.random.default_rng(3).normal(size=MASKS.shape) * 5

    def state(places: slice) -> dict[str, dict[str, list[list[float]]]]:
        found = lossbench.evaluate(logits[places], MASKS[places], ["bce", "dice", "iou"])
        return found.pooled["sums"]

    first, second, whole = state(slice(0, 5)), state(slice(5, 12)), state(slice(0, 12))
    merged = SumPool()
    for half in (first, second):
        for name, quantities in half.items():
            for quantity, parts in quantities.items():
                for part in np.moveaxis(np.array(parts), -1, 0):
                    merged.add({name: {quantity: part[None]}})
    assert merged.as_json() == whole


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(len(MASKS))))
def test_pooled_values_are_those_of_all_pixels_as_one_sample(order):
    order = list(order)
    everything = MAPS.reshape(1, -1), MASKS.reshape(1, -1)
    losses = ["dice", "iou", "bce", "l2"]
    as_one = lossbench.evaluate(*everything, losses, task="binary")
    pooled = lossbench.evaluate(MAPS[order], MASKS[order], losses, task="binary")
    for name in losses:
        assert pooled.aggregates[name]["pooled"] == as_one.values[name].samples[0]
