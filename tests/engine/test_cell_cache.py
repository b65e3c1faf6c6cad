"""Sums over tables as products of matrices: exact, whatever else is in the batch."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from engine.test_tables import check_same, few, masks, tables
from hypothesis import given, settings
from hypothesis import strategies as st

import lossbench
from lossbench.engine.compute import tables as made
from lossbench.interface.cell_cache import BITS, MOST_PIXELS, CellCache, Matrix, split_exactly
from lossbench.interface.sample_batch import Input, SampleBatch
from lossbench.views.overlap import Overlap

CELLS = 3
# Products with counts must neither overflow nor fall below the smallest number.
Number = st.floats(-1e290, 1e290).filter(lambda x: not 0 < abs(x) < 1e-290)
Rows = st.lists(st.lists(Number, min_size=CELLS, max_size=CELLS), min_size=1, max_size=3)
Counts = st.lists(
    st.lists(st.integers(0, MOST_PIXELS // CELLS), min_size=CELLS, max_size=CELLS),
    min_size=1,
    max_size=3,
)
quick = settings(deadline=None, derandomize=True)


def samples(counts: list[list[int]]) -> SampleBatch:
    """Samples with so many pixels in each cell, and none that is ignored."""
    weight = np.array(counts, np.float64)[:, None]
    return SampleBatch({"target": Input(weight[:1] * 0, "binary")}, weight, weight.sum((1, 2)))


def product(rows: list[list[float]], values: SampleBatch) -> Any:
    """(B, rows) of a view whose first field has so many numbers for a pixel in each cell."""
    of_cells = np.array([*zip(*rows, strict=True), [0.0] * len(rows)])
    view = Overlap(of_cells, *[np.ones(CELLS + 1)] * 2)
    (found,) = Matrix.of({"view": view}).times(values).values()
    np.testing.assert_array_equal(found.pred, values.pixels)
    return found.both


@quick
@given(Rows)
def test_numbers_are_sums_of_their_pieces_and_these_have_few_bits(rows):
    left = [[Fraction(number) for number in row] for row in rows]
    for places, pieces in split_exactly(np.array(rows)):
        for place, piece in zip(places, pieces, strict=True):
            least = Fraction(2) ** (math.frexp(np.abs(piece).max())[1] - 1 - BITS)
            assert all(Fraction(number) % least == 0 for number in piece.tolist())
            pairs = zip(left[place], piece.tolist(), strict=True)
            left[place] = [number - Fraction(part) for number, part in pairs]
    assert not any(number for row in left for number in row)


@quick
@given(Rows, Counts)
def test_products_are_sums_of_fractions_rounded_once_or_twice(rows, counts):
    """Where numbers cancel, what is lost is small beside them: a plain sum loses 2⁻⁵³ of these."""
    found = product(rows, samples(counts))
    for sums, sample in zip(found.tolist(), counts, strict=True):
        for number, row in zip(sums, rows, strict=True):
            terms = [count * Fraction(each) for count, each in zip(sample, row, strict=True)]
            largest = sum(sample) * max(abs(Fraction(each)) for each in row)
            allowed = abs(sum(terms)) / 2**52 + largest / 2**70
            assert abs(Fraction(number) - sum(terms)) <= allowed


@quick
@given(Rows, Counts, st.randoms(use_true_random=False))
def test_neither_neighbours_nor_the_order_of_cells_change_a_bit(rows, counts, random):
    together = product(rows, samples(counts))
    order = random.sample(range(CELLS), CELLS)
    for row, sample in zip(together, counts, strict=True):
        np.testing.assert_array_equal(product(rows, samples([sample]))[0], row)
        shuffled = product(
            [[each[cell] for cell in order] for each in rows],
            samples([[sample[cell] for cell in order]]),
        )
        np.testing.assert_array_equal(shuffled[0], row)


def grids(monkeypatch: pytest.MonkeyPatch) -> list[CellCache]:
    """The shares of the grids that runs make from now on."""
    found: list[CellCache] = []
    real = made.CellCache
    monkeypatch.setattr(made, "CellCache", lambda cells: (found.append(real(cells)), found[-1])[1])
    made._whole_grid.cache_clear()
    return found


@pytest.mark.parametrize("task", ["binary", "image"])
def test_samples_of_more_pixels_are_summed_one_by_one(monkeypatch, task):
    pred, target = masks(task, seed=8)
    if task == "image":
        pred, target = ([each[..., 0] for each in side] for side in (pred, target))
    seen = grids(monkeypatch)
    counted = tables(task, pred, target, few(task))
    assert seen[0].known
    monkeypatch.setattr(made, "MOST_PIXELS", 0)
    seen[0].known = {}
    check_same(tables(task, pred, target, few(task)), counted)
    assert not seen[0].known


PLUGIN = '''
from __future__ import annotations
from typing import NamedTuple
from torch import Tensor
from lossbench.losses import loss
from lossbench.interface.annotations import PerClass, Probability, Weight

class Means(NamedTuple):
    """Means do not add up."""

    pred: Tensor

    @classmethod
    def of(cls, pred: Probability, weight: Weight) -> Means:
        """The mean over valid pixels."""
        return cls((pred * weight).sum(-1) / weight.sum(-1))

@loss(tasks=["binary"], range=(0, 1))
def area(means: Means) -> PerClass:
    """The mean of the prediction."""
    return means.pred
'''


def test_views_of_a_user_need_not_add_up(tmp_path):
    (tmp_path / "means.py").write_text(PLUGIN)
    pred, target = masks("binary", seed=9)
    found = tables("binary", pred, target, "area", plugins=tmp_path / "means.py")
    wanted = [np.mean(each / 255) for each in pred]
    np.testing.assert_allclose(found.values["area"].samples, wanted, rtol=1e-12)


def test_views_of_other_losses_are_forgotten(monkeypatch):
    """Or every batch of a long session would pay for whatever was ever asked for."""
    pred, target = masks("binary", seed=9)
    seen = grids(monkeypatch)
    for threshold in (0.25, 0.5, 0.75, 1.0):
        tables("binary", pred, target, f"iou(threshold={threshold})")
    (shares,) = seen
    assert len(shares.known) <= 2


def test_losses_may_come_and_go(monkeypatch):
    """Some are known, some are new and some are gone from one run to the next."""
    pred, target = masks("binary", seed=9)
    several = (["dice", "bce", "iou"], ["bce", "mae", "tversky"], ["mae"], ["dice", "mae", "focal"])
    grids(monkeypatch)
    found = [tables("binary", pred, target, losses, batch_size=1) for losses in several]
    for losses, before in zip(several, found, strict=True):
        made._whole_grid.cache_clear()
        check_same(tables("binary", pred, target, losses), before, tolerance=0)


def test_ignored_pixels_are_counted_with_them():
    """`over=all` divides by them too: 2 of 4 pixels are wrong, of which one is ignored."""
    pred, target = np.array([[255, 0], [0, 0]], np.uint8), np.array([[0, 1], [0, 255]], np.uint8)
    how: dict[str, Any] = {"task": "binary", "pred_encoding": "probability", "ignore": 255}
    result = lossbench.evaluate([pred], [target], ["mae", "mae(over=all)"], **how)
    assert result.values["mae"].samples[0] == 2 / 3
    assert result.values["mae(over=all)"].samples[0] == 2 / 4


def test_shares_are_of_tables_of_one_class(monkeypatch):
    seen = grids(monkeypatch)
    for task in ("multiclass", "multilabel", "image"):
        tables(task, *masks(task, seed=3), few(task)[:3])
    assert not seen
