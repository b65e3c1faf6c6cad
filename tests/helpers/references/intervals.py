"""Intervals of a result file, recomputed from its samples; knows nothing of lossbench."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import expit, logit

INF = math.inf
UNIT, FROM_0 = (0, 1), (0, INF)
# The range of each loss of a preset, from its formula.
ENDS = {
    "dice": UNIT, "iou": UNIT, "precision": UNIT, "recall": UNIT, "accuracy": UNIT,
    "balanced_accuracy": UNIT, "volume_similarity": UNIT, "nsd(tolerance=2)": UNIT,
    "bce": FROM_0, "hd95": FROM_0, "assd": FROM_0,
    "ap": UNIT, "ap50": UNIT, "ap75": UNIT, "ar": UNIT, "giou": (0, 2),
    "psnr": (-INF, INF), "ssim": (-1, 1), "l1": FROM_0, "rmse": FROM_0, "gradient_l1": FROM_0,
    "lpips(network=tiny_seeded)": FROM_0, "dists(network=tiny_seeded)": (0, 2),
    "perceptual(network=tiny_seeded)": FROM_0, "content(network=tiny_seeded)": FROM_0,
    "gram(network=tiny_seeded, against=style)": FROM_0,
    "content_style(network=tiny_seeded)": FROM_0,
    "gan_minimax": (-INF, INF), "gan_nonsaturating(side=generator)": FROM_0, "lsgan": FROM_0,
    "gan_hinge": (-INF, INF),
}  # fmt: skip
METHODS = {0: "t", 1: "log", 2: "logit"}  # by the number of ends


def interval(values: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """The interval of the mean of defined values in a range."""
    count, mean = len(values), np.mean(values) if len(values) else math.nan
    if count < 2 or not np.isfinite(values).all():
        return math.nan, math.nan
    at_low, at_high = np.equal(values, low).all(), np.equal(values, high).all()
    if math.isfinite(low) and math.isfinite(high) and (at_low or at_high):
        z = stats.norm.ppf(0.975)
        reach = (high - low) * z**2 / (count + z**2)
        return (low, low + reach) if at_low else (high - reach, high)
    if np.equal(values, values[0]).all():
        return values[0], values[0]
    half = stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count)
    if min(values) < low or max(values) > high or (math.isinf(low) and math.isinf(high)):
        return mean - half, mean + half
    if math.isfinite(low) and math.isfinite(high):
        m, s = (mean - low) / (high - low), half / (high - low)
        ends = expit(logit(m) + np.array([-1, 1]) * s / (m * (1 - m)))
        bounds = low + (high - low) * ends
        return bounds[0], bounds[1]
    d = mean - low if math.isfinite(low) else high - mean
    near, far = d * math.exp(-half / d), d * math.exp(half / d)
    return (low + near, low + far) if math.isfinite(low) else (high - far, high - near)


def tables(model: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], list[float]]]:
    """Name, aggregates and defined values of each column of a result and of its classes."""
    for name, table in model["aggregate"].items():
        yield name, table, _numbers(row[name] for row in model["samples"])
        for of_class, of_table in table.get("classes", {}).items():
            yield (
                name,
                of_table,
                _numbers(row["classes"][name][of_class] for row in model["samples"]),
            )


def over_groups(model: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], list[float]]]:
    """The same of the means of groups, and of the samples of each group."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in model["samples"]:
        groups.setdefault(row["group"], []).append(row)
    for name, table in model["aggregate"].items():
        members = {group: _numbers(row[name] for row in rows) for group, rows in groups.items()}
        yield name, table["groups"], [float(np.mean(each)) for each in members.values() if each]
        for group, values in members.items():
            yield name, model["groups"][group][name], values


def _numbers(values: Any) -> list[float]:
    return [float(value) for value in values if value is not None]
