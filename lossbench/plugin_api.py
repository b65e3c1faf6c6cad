"""All that the author of a loss imports: the decorator, annotations, views, stable operations.

A plugin that imports from here alone keeps working when the inside of `lossbench` moves. See
docs/plugins.md for an example and `lossbench explain NAME` for how shipped losses use each name.
"""

from __future__ import annotations

from lossbench.errors import InputError, SettingError
from lossbench.interface.annotations import (
    Count,
    Decibels,
    Decision,
    Difference,
    Distribution,
    Image,
    Label,
    Logits,
    LogPair,
    LogProbability,
    Mass,
    NonNegative,
    OneVsRest,
    Outcomes,
    Percent,
    PerClass,
    PerPixel,
    PerSample,
    Positive,
    PositiveWeight,
    Probability,
    RootMean,
    Scores,
    Share,
    Spacing,
    Stored,
    Tensors,
    Valid,
    Vector,
    Weight,
)
from lossbench.interface.stable_math import by_class, logarithm, power, ratio, root, total
from lossbench.losses import Expression, loss
from lossbench.views.confusion import Confusion, Counts, Masks
from lossbench.views.overlap import Overlap, SoftCounts

__all__ = [
    "Confusion",
    "Count",
    "Counts",
    "Decibels",
    "Decision",
    "Difference",
    "Distribution",
    "Expression",
    "Image",
    "InputError",
    "Label",
    "LogPair",
    "LogProbability",
    "Logits",
    "Masks",
    "Mass",
    "NonNegative",
    "OneVsRest",
    "Outcomes",
    "Overlap",
    "PerClass",
    "PerPixel",
    "PerSample",
    "Percent",
    "Positive",
    "PositiveWeight",
    "Probability",
    "RootMean",
    "Scores",
    "SettingError",
    "Share",
    "SoftCounts",
    "Spacing",
    "Stored",
    "Tensors",
    "Valid",
    "Vector",
    "Weight",
    "by_class",
    "logarithm",
    "loss",
    "power",
    "ratio",
    "root",
    "total",
]
