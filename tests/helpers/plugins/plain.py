"""Losses as someone would write them who knows nothing of this project."""

import numpy as np
import torch


def worst_pixel(pred, target, scale=1.0):
    """The largest difference of a pixel.

    s·max |p − y|.

    Args:
        scale: s, a factor.
    """
    return scale * np.abs(pred - target).max()


def first_minus_second(y_true, y_pred):
    """Names say which is which."""
    return float((y_true - y_pred).mean())


def weighted(pred, target, *, power: int = 2, how="mean", weight_of_one=None, weight=None):
    raise AssertionError("only listed")


def squares(pred: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean squared error, weighted."""
    return (weight * (pred - target) ** 2).sum() / weight.sum()


def _helper(pred, target):
    raise AssertionError("no loss")


def three(pred, target, other):
    raise AssertionError("no loss")


def scalars(a: float, b: float):
    raise AssertionError("no loss")
