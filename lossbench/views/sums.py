"""The three operations that keep every loss finite, exact and differentiable."""

import torch
from torch import Tensor

SMALLEST = 3.720075976020836e-44  # e^-100


def total(x: Tensor, weight: Tensor) -> Tensor:
    """Σ w·x over the elements, the last axis."""
    return (x * weight).sum(-1)


def ratio(top: Tensor, bottom: Tensor) -> Tensor:
    """top / bottom; undefined (nan) over nothing, with a gradient of 0 there."""
    defined = bottom > 0
    return (top / bottom.where(defined, 1.0)).where(defined, torch.nan)


def logarithm(x: Tensor) -> Tensor:
    """log x, never below −100, with a gradient of 0 and not nan at x = 0."""
    return x.clamp(min=SMALLEST).log()
