"""All that the author of a loss imports: the decorator, annotations, views, stable operations.

A plugin that imports from here alone keeps working when the inside of `lossbench` moves, and is
computed by NumPy where the shipped losses are. See docs/plugins.md for an example, and `lossbench
explain NAME` for how shipped losses use each name.
`NAME as NAME` marks a name as public for type checkers.
"""

# ruff: noqa: I001  (one list a module, not one statement a name)
from __future__ import annotations

from lossbench.errors import InputError as InputError, SettingError as SettingError
from lossbench.interface.annotations import (
    Array as Array,
    Count as Count,
    Decibels as Decibels,
    Decision as Decision,
    Difference as Difference,
    Distribution as Distribution,
    Image as Image,
    Label as Label,
    Logits as Logits,
    LogPair as LogPair,
    LogProbability as LogProbability,
    Mass as Mass,
    NonNegative as NonNegative,
    OneVsRest as OneVsRest,
    Outcomes as Outcomes,
    Percent as Percent,
    PerClass as PerClass,
    PerPixel as PerPixel,
    PerSample as PerSample,
    Positive as Positive,
    PositiveWeight as PositiveWeight,
    Probability as Probability,
    RootMean as RootMean,
    Scores as Scores,
    Share as Share,
    Spacing as Spacing,
    Stored as Stored,
    Tensors as Tensors,
    Valid as Valid,
    Vector as Vector,
    Weight as Weight,
)
from lossbench.interface.stable_math import (
    by_class as by_class,
    concatenate as concatenate,
    exponential as exponential,
    is_defined as is_defined,
    largest as largest,
    least as least,
    logarithm as logarithm,
    mean_defined as mean_defined,
    ones_like as ones_like,
    power as power,
    ratio as ratio,
    root as root,
    square_root as square_root,
    total as total,
    where as where,
    zeros_like as zeros_like,
)
from lossbench.losses import Expression as Expression, loss as loss
from lossbench.views.confusion import Confusion as Confusion, Counts as Counts, Masks as Masks
from lossbench.views.overlap import Overlap as Overlap, SoftCounts as SoftCounts
