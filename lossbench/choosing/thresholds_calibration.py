"""Whether probabilities are frequencies: a reliability diagram, its error and a temperature."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lossbench.choosing.thresholds_counts import Spectrum
from lossbench.choosing.thresholds_sums import ratio
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.interface.stable_math import bin_indices
from lossbench.losses.scores import ece
from lossbench.results.json_numbers import number
from lossbench.runtime.array_types import FloatArray
from lossbench.views.ranking import Calibration

BINS = 15  # as `ece` has them
LOWEST, HIGHEST = 0.05, 20.0  # temperature
CLIPPED = 1e-6  # distance of a float from 0 and 1
STEPS = 100  # at most; some ten are usual
NEARLY = 1e-8


class Reliability(NamedTuple):
    """The reliability diagram of all pixels, and what would mend it."""

    pixels: FloatArray  # (15,) in the bins (k/15, (k + 1)/15]
    predicted: FloatArray  # (15,) mean probability
    true: FloatArray  # (15,) share of the foreground
    ece: float
    temperature: float  # nan at an end of its range

    def as_json(self) -> dict[str, Any]:
        """Bins by their ends, error and temperature."""
        rows = zip(*(x.tolist() for x in (self.pixels, self.predicted, self.true)), strict=True)
        bins = [
            {
                "low": index / BINS,
                "high": (index + 1) / BINS,
                "pixels": pixels,
                "predicted": number(predicted),
                "true": number(true),
            }
            for index, (pixels, predicted, true) in enumerate(rows)
        ]
        return {
            "bins": bins, "ece": number(self.ece), "temperature": number(self.temperature),
        }  # fmt: skip


def make_reliability(levels: FloatArray, spectrum: Spectrum, temperature: float) -> Reliability:
    """The reliability of all pixels.

    Args:
        levels: (L,) rising.
        spectrum: the pixels at each level, each (C, L).
        temperature: of `best_temperature`.
    """
    points: Any = levels
    index = bin_indices(points, [k / BINS for k in range(1, BINS)])

    def in_bins(numbers: FloatArray) -> Any:
        return np.stack([np.bincount(index, row, BINS) for row in numbers])[None]

    weight = spectrum.foreground + spectrum.background
    bins = Calibration(in_bins(weight), in_bins(weight * levels), in_bins(spectrum.foreground))
    sums: Any = bins
    pixels, predicted, true = (x[0].sum(0) for x in sums)
    with np.errstate(all="ignore"):
        error: Any = ece(bins)
    return Reliability(
        pixels, ratio(predicted, pixels), ratio(true, pixels), float(error[0]), temperature
    )


def clip_levels(levels: FloatArray, pred: InputEncoding) -> FloatArray:
    """Probabilities at least half a level away from 0 and 1."""
    half_level = 0.5 / pred.scale if pred.scale != 1 else CLIPPED
    return levels.clip(half_level, 1 - half_level)


def temperature_of_levels(levels: FloatArray, spectrum: Spectrum, pred: InputEncoding) -> float:
    """The temperature of the pixels at each level, of all classes together."""
    clipped = clip_levels(levels, pred)
    logits = np.log(clipped) - np.log1p(-clipped)
    foreground = spectrum.foreground.sum(0)
    every = foreground + spectrum.background.sum(0)

    def slope_and_curvature(beta: float) -> tuple[float, float]:
        share = 0.5 * (1 + np.tanh(0.5 * beta * logits))
        slope = logits * (every * share - foreground)
        return float(slope.sum()), float((logits**2 * every * share * (1 - share)).sum())

    return best_temperature(slope_and_curvature)


def best_temperature(slope_and_curvature: Callable[[float], tuple[float, float]]) -> float:
    """The temperature T with the smallest negative log-likelihood; nan at an end of its range.

    The likelihood is convex in β = 1/T. Newton's method finds the root of its slope; a step that
    leaves the interval around the root halves the interval.

    Args:
        slope_and_curvature: of the negative log-likelihood at β.
    """
    low, high = 1 / HIGHEST, 1 / LOWEST
    if not (slope_and_curvature(low)[0] < 0 < slope_and_curvature(high)[0]):
        return math.nan
    beta = 1.0
    for _ in range(STEPS):
        slope, curvature = slope_and_curvature(beta)
        low, high = (beta, high) if slope < 0 else (low, beta)
        following = beta - slope / curvature if curvature > 0 else low
        if not low <= following <= high:
            following = (low + high) / 2
        step, beta = abs(following - beta), following
        if step <= NEARLY * beta:  # the next step would be its square
            break
    return 1 / beta
