"""Distances and angles of vectors, with finite gradients where there is none."""

from __future__ import annotations

from torch import Tensor

from lossbench.interface.stable_math import power, ratio, root


def distance(a: Tensor, b: Tensor, p: float = 2.0, squared: bool = False) -> Tensor:
    """‖a − b‖_p of rows (B, D), or its square; a gradient of 0 where they are equal."""
    apart = (a - b).abs()
    if p == 2:
        square = (apart * apart).sum(-1)
        return square if squared else root(square)
    largest = apart.amax(-1, keepdim=True).detach()  # powers of what is at most 1 do not overflow
    scale = largest.where(largest > 0, 1.0)
    length = scale[..., 0] * power(power(apart / scale, p).sum(-1), 1 / p)
    return length * length if squared else length


def to_all(anchor: Tensor, every: Tensor, squared: bool) -> Tensor:
    """The distances of one vector (D,) to all (M, D)."""
    return distance(anchor[None], every, squared=squared)


def direction(x: Tensor) -> Tensor:
    """Rows of length 1; a row of zeros stays as it is."""
    length = root((x * x).sum(-1, keepdim=True))
    return x / length.where(length > 0, 1.0)


def cosine_of(a: Tensor, b: Tensor) -> Tensor:
    """The cosine between rows, in [−1, 1]; undefined where one is zero."""
    lengths = root((a * a).sum(-1)) * root((b * b).sum(-1))
    return ratio((a * b).sum(-1), lengths).clamp(-1, 1)


def defined(x: Tensor) -> Tensor:
    """Whether a row has a direction."""
    return (x != 0).any(-1)
