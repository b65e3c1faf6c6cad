"""Components of label maps, against scipy's, which counts those of one number after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lossbench.data.arrays.components import SHARE, are_mostly_components

SHAPES = [(30,), (1, 9), (14, 11), (2, 2), (7, 5, 6), (3, 1, 4), (4, 3, 2, 5)]


def touching(labels: np.ndarray) -> np.ndarray:
    """A structure in which corners touch."""
    return np.ones((3,) * labels.ndim)


def expected(labels: np.ndarray) -> bool:
    """The same by definition."""
    numbers = [number for number in np.unique(labels) if number > 0]
    parts = [ndimage.label(labels == number, touching(labels))[1] for number in numbers]
    return parts.count(1) >= SHARE * len(parts)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from(SHAPES),
    kind=st.sampled_from(["u1", "i2", "u2", "i8"]),
    order=st.sampled_from("CF"),
    share=st.sampled_from([0.1, 0.3, 0.6]),
    spoilt=st.sampled_from([0.0, 0.02, 0.2]),
)
def test_components_are_those_of_scipy(
    seed: int, shape: Any, kind: str, order: Any, share: float, spoilt: float
) -> None:
    random = np.random.default_rng(seed)
    some = random.random(shape) < share
    labels = ndimage.label(some, touching(some))[0]
    wrong = random.random(shape) < spoilt
    labels[wrong] = random.integers(0 if kind[0] == "u" else -1, labels.max() + 2, wrong.sum())
    labels = np.asarray(labels, kind, order=order)
    assert are_mostly_components(labels) == expected(labels)


def test_nine_of_ten_are_enough() -> None:
    labels = np.repeat(np.arange(1, 11, dtype=np.uint8), 2)
    assert are_mostly_components(labels)
    labels[-1] = 1  # in two parts
    assert are_mostly_components(labels)
    labels[-2] = 2  # so is this one, and there are nine
    assert not are_mostly_components(labels)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
def test_nothing_is_connected_across_an_edge(shape: tuple[int, ...]) -> None:
    """Pixels that follow each other in memory, or would with one step more, but do not touch."""
    for one in range(int(np.prod(shape))):
        for other in range(one):
            labels = np.zeros(shape, np.uint8)
            labels.flat[[one, other]] = 1
            assert are_mostly_components(labels) == expected(labels), (one, other)


def test_a_map_without_numbers_has_none_in_parts() -> None:
    assert are_mostly_components(np.zeros((3, 4), np.uint8))
