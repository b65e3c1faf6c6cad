"""Losses in the forms of the shipped ones, imported in several ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import lossbench.plugin_api as words
from lossbench import plugin_api
from lossbench.plugin_api import Expression, Overlap, PerClass, Share, loss, ratio, total
from lossbench.plugin_api import Probability as Chance
from lossbench.plugin_api import loss as mark

if TYPE_CHECKING:
    from torch import Tensor


class Moments(NamedTuple):
    """A view of this file's own."""

    pred: Tensor
    target: Tensor

    @classmethod
    def of(
        cls, pred: Chance, target: Chance, weight: words.Weight, *, power: Share = 1.0
    ) -> Moments:
        """Sums.

        Args:
            power: of the probabilities.
        """
        return cls(total(pred**power, weight), total(target, weight))


class Corner(NamedTuple):
    """A view that needs pixels in their places, and does not add up."""

    pred: Tensor
    target: Tensor
    adds_up = False

    @classmethod
    def of(cls, pred: words.Image, target: words.Image) -> Corner:
        """The first pixel."""
        return cls(pred[:, :, 0, 0], target[:, :, 0, 0])


@loss(better="higher", range=(0, 1), aliases=["my_f1"], tasks=["binary", "multiclass"])
def my_dice_score(overlap: Overlap, *, threshold: Share | None = 0.5) -> PerClass:
    """Dice of hard masks.

    2·I / (P + Y).
    """
    return ratio(2 * overlap.both, overlap.pred + overlap.target)


@mark(family="areas", revision=3)
def area(moments: Moments, *, unit: Literal["share", "percent"] = "share") -> "PerClass":  # noqa: UP037
    """Difference of areas.

    |P − Y| / Y.

    Args:
        unit: of what.
    """
    return (100 if unit == "percent" else 1) * ratio(
        (moments.pred - moments.target).abs(), moments.target
    )


@loss()
def my_brier(
    pred: Chance, target: plugin_api.Probability, *, scale: words.NonNegative = 1.0
) -> words.PerPixel:
    """Brier score.

    s·(p − y)².

    Args:
        scale: s.
    """
    return words.PerPixel(scale * (pred - target) ** 2)


@loss()
def corner(corner: Corner) -> PerClass:
    """Difference of the first pixel.

    |p − y|.
    """
    return (corner.pred - corner.target).abs()


@loss(tasks=["binary"])
def mixed(*, share: Share = 0.5) -> Expression:
    """Own and shipped.

    σ·my_brier + (1 − σ)·dice.

    Args:
        share: σ.
    """
    return f"{share}*my_brier + {1 - share}*dice"


def helper(pred, target):
    raise AssertionError("where functions are marked, this is no loss")
