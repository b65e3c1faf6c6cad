"""Tables of large arrays, where neighbours are counted together, against sklearn's and numpy's."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from lossbench.data.arrays import strips
from lossbench.data.arrays.byte_histogram import LARGE, histogram
from lossbench.data.arrays.distinct import distinct
from lossbench.data.counting import joint_histogram
from lossbench.data.counting.joint_histogram import differences
from lossbench.data.counting.sparse_histogram import occurring
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.errors import InputError

SHAPES = [(181, 182), (256, 256), (3, 20001)]  # above LARGE; one is no multiple of eight
quick = settings(max_examples=12, deadline=None, derandomize=True)
data = given(
    seed=st.integers(0, 2**32 - 1), shape=st.sampled_from(SHAPES), run=st.sampled_from([1, 5, 700])
)


def drawn(random: np.random.Generator, shape: Any, run: int, levels: int) -> np.ndarray:
    """Numbers below `levels`, alike in runs."""
    size = int(np.prod(shape))
    each = random.integers(0, levels, size // run + 1, dtype=np.uint8)
    return np.repeat(each, run)[:size].reshape(shape)


@quick
@data
def test_histogram_is_that_of_numpy(seed, shape, run):
    stored = drawn(np.random.default_rng(seed), shape, run, 256)
    stored[stored < 100] = 0
    expected = np.histogram(stored, np.arange(257))[0]
    assert np.array_equal(histogram(stored), expected)
    assert np.array_equal(histogram(stored[:, ::-1]), expected)  # not in a row


@quick
@data
def test_distinct_numbers_are_those_of_numpy(seed, shape, run):
    stored = drawn(np.random.default_rng(seed), shape, run, 40)
    for kind in ("u1", "u2", "i2", "i8", "f4", "f8", "?"):
        array = stored.astype(kind) - (7 if kind[0] in "if" else 0)
        for each in (array, array.T, array[:, ::-2], array[:1, :1]):
            assert np.array_equal(distinct(each), np.unique(each))


@quick
@data
def test_joint_tables_are_those_of_sklearn(seed, shape, run):
    random = np.random.default_rng(seed)
    for levels, classes in ((256, 2), (2, 2), (5, 5), (19, 19), (40, 150)):
        hard = levels < 256
        pred = drawn(random, shape, run, levels)
        target = drawn(random, shape, run + 1, classes)
        ignored = drawn(random, shape, run + 2, 4) == 0
        plan = planned(hard, classes)
        for out in (None, ignored):
            seen = np.ones(shape, bool) if out is None else ~out
            every = range(max(levels, classes))
            expected = confusion_matrix(target[seen], pred[seen], labels=every)[:classes]
            found = joint_histogram.joint(plan, pred, target, out)
            width = classes if hard else levels
            assert np.array_equal(found, expected[:, :width])


@pytest.mark.parametrize(
    "values",
    [
        ((0, 0), (255, 1)),
        ((0, 1), (7, 0)),  # zero is the foreground
        ((0, 0), (1, 1), (200, 1)),  # two values of one class
        ((0, 0), (3, 0), (200, 1)),
        ((1, 0), (2, 1)),  # no value is zero
    ],
)
@pytest.mark.parametrize("sparse", [False, True])
def test_tables_of_few_values_whatever_they_are(values, sparse):
    random = np.random.default_rng(4)
    stored, classes = np.array(values).T
    for shape in SHAPES:
        drawings = drawn(random, shape, 9, len(values))
        if sparse:  # one pixel in twenty is not of the first value
            drawings[drawn(random, shape, 9, 20) > 0] = 0
        pred, target = drawn(random, shape, 2, 256), stored[drawings].astype(np.uint8)
        pred[pred < 99] = 0
        plan = planned(False, 2)
        plan = replace(plan, target=replace(plan.target, values=values))
        every = range(256)
        expected = confusion_matrix(classes[drawings].ravel(), pred.ravel(), labels=every)[:2]
        assert np.array_equal(joint_histogram.joint(plan, pred, target, None), expected)
        target[1, 1] = 77
        with pytest.raises(InputError, match="value 77 in 1 pixels"):
            joint_histogram.joint(plan, pred, target, None)


@quick
@data
def test_differences_are_those_of_numpy(seed, shape, run):
    random = np.random.default_rng(seed)
    pred, target = (drawn(random, (2, *shape), run + more, 256) for more in (0, 1))
    ignored = drawn(random, shape, run, 3) == 0
    for out in (None, ignored):
        seen = np.ones(shape, bool) if out is None else ~out
        expected = [
            np.histogram((a.astype(int) - b)[seen], np.arange(-255, 257))[0]
            for a, b in zip(pred, target, strict=True)
        ]
        assert np.array_equal(differences(pred, target, out), expected)


@pytest.mark.parametrize("hard", [False, True])
def test_a_stray_value_is_named_with_its_pixels(hard):
    target = np.zeros((256, 256), np.uint8)
    target[:, 128:] = 1
    strange = target.copy()
    strange[:16, :16] = 7  # whole runs of it
    strange[100, 100] = 9
    with pytest.raises(InputError, match="values 7, 9 in 257 pixels"):
        joint_histogram.joint(planned(hard, 2), target, strange, None)
    if hard:
        with pytest.raises(InputError, match="values 7, 9 in 257 pixels"):
            joint_histogram.joint(planned(hard, 2), strange, target, None)


@pytest.mark.parametrize("shape", [(40, 30), (400, 500)])
@pytest.mark.parametrize("run", [1, 40])
def test_cells_that_occur_are_those_of_sklearn(shape, run):
    # Of 700 classes the table is larger than the pictures, of 300 than the smaller one.
    for classes in (300, 700):
        random = np.random.default_rng(classes)
        sides = random.integers(0, classes, (2, shape[0] * shape[1] // run), dtype=np.uint16)
        pred, target = np.repeat(sides, run, 1).reshape(2, *shape)
        ignored = np.repeat(random.random(sides.shape[1]) < 0.3, run).reshape(shape)
        plan = planned(True, classes, "uint16")
        for out in (None, ignored):
            seen = np.ones(shape, bool) if out is None else ~out
            expected = confusion_matrix(target[seen], pred[seen], labels=range(classes)).ravel()
            found = occurring(plan, [(pred, target, out)])
            assert np.array_equal(found.places, np.flatnonzero(expected))
            assert np.array_equal(found.counts[0], expected[found.places])
            assert found.shape == (1, classes**2)
        target[5, 5:7] = 999
        with pytest.raises(InputError, match="value 999 in 2 pixels"):
            occurring(plan, [(pred, target, None)])


def test_cells_of_several_channels_are_counted_together():
    pred, target = np.random.default_rng(3).integers(0, 1 << 16, (2, 2, 30, 40), dtype=np.uint16)
    image = InputEncoding("target", "image", "uint16", 65535.0, stacked=True)
    plan = Plan("image", image, image, (), 2, counted=True)
    found = occurring(plan, [(p, t, None) for p, t in zip(pred, target, strict=True)])
    for channel, counts in enumerate(found.counts):
        differences = pred[channel].astype(int) - target[channel]
        expected = np.unique(differences, return_counts=True)
        assert np.array_equal(found.places[counts > 0] - 65535, expected[0])
        assert np.array_equal(counts[counts > 0], expected[1])


def test_strips_change_no_count(monkeypatch):
    random = np.random.default_rng(1)
    shape = (50, 7, 3)
    pred, target = (drawn(random, shape, 2, 5) for _ in range(2))
    ignored = drawn(random, shape, 3, 3) == 0
    others = [
        lambda plane: plane,
        np.asfortranarray,
        lambda plane: np.repeat(plane, 2, -1)[..., ::2],  # in no order
    ]
    planes = (pred, target, ignored)
    table = joint_histogram.joint(planned(True, 5), *planes)
    apart = differences(pred[None], target[None], None)
    monkeypatch.setattr(strips, "STRIP", 64)
    for moved in others:
        given = [moved(plane) for plane in planes]
        assert len(list(strips.strips(*given))) > 10
        assert np.array_equal(joint_histogram.joint(planned(True, 5), *given), table)
        images = [plane[None] for plane in given[:2]]
        assert np.array_equal(differences(*images, None), apart)


@pytest.mark.parametrize("hard", [False, True])
def test_counting_needs_little_more_than_the_planes(hard):
    shape = (4000, 4000)
    pred, target = (drawn(np.random.default_rng(seed), shape, 5, 2) for seed in range(2))
    tracemalloc.start()
    try:
        joint_histogram.joint(planned(hard, 2), pred, target, None)
        differences(pred[None], target[None], None)
        assert tracemalloc.get_traced_memory()[1] < 2 * pred.size
    finally:
        tracemalloc.stop()


def planned(hard: bool, classes: int, dtype: str = "uint8") -> Plan:
    """The plan of such a run."""
    values = tuple((n, n) for n in range(classes))
    target = InputEncoding("target", "labels", dtype, 1.0, values, classes)
    pred = (
        InputEncoding("pred", "labels", dtype, 1.0, values, classes)
        if hard
        else InputEncoding("pred", "probability", "uint8", 255.0)
    )
    names = tuple(map(str, range(classes)))
    return Plan("multiclass" if hard else "binary", pred, target, names, classes, counted=True)


assert min(int(np.prod(shape)) for shape in SHAPES) >= LARGE
