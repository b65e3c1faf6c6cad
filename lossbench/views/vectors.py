"""Distances and angles of vectors, with finite gradients where there is none."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lossbench.interface.annotations import Gallery, Label, Vector
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


def non_zero(x: Tensor) -> Tensor:
    """Whether each row is non-zero, so that it has a direction."""
    return (x != 0).any(-1)


class TripletSums(NamedTuple):
    """Sums over the triplets of each anchor, each (B,). They add up."""

    loss: Tensor  # Σ max(d(a,p) − d(a,n) + margin, 0)
    active: Tensor  # triplets that the mean is over
    triplets: Tensor  # triplets that there are

    @classmethod
    def of(
        cls,
        pred: Vector,
        target: Label,
        gallery: Gallery,
        *,
        mining: Literal["batch_all", "batch_hard", "semihard"] = "batch_hard",
        margin: float = 1.0,
        squared: bool = False,
    ) -> TripletSums:
        """Find the triplets of each anchor among all samples.

        Args:
            mining: batch_all takes every triplet and averages over those with a positive loss;
                batch_hard the farthest positive and the nearest negative; semihard, for each
                positive, the nearest negative that is farther than it by less than the margin.
            margin: by which a negative should be farther than a positive.
            squared: of squared distances.
        """
        every = torch.arange(len(gallery.pred), device=pred.device)
        found = []
        for anchor, label, place in zip(pred, target, gallery.place, strict=True):
            away = to_all(anchor, gallery.pred, squared)
            alike = gallery.target[:, 0] == label
            near, far = away[alike & (every != place)], away[~alike]
            found.append(_triplets(near, far, mining, margin))
        return cls(*(torch.stack(each) for each in zip(*found, strict=True)))


def _triplets(positive: Tensor, negative: Tensor, mining: str, margin: float) -> list[Tensor]:
    """loss, active and triplets of one anchor from its distances."""
    count = positive.new_tensor(len(positive) * len(negative))
    if not count:
        return [positive.sum() * 0 + negative.sum() * 0, count, count]
    if mining == "batch_hard":
        worst = (positive.max() - negative.min() + margin).clamp(min=0)
        return [worst, torch.ones_like(count), count]
    gap = positive[:, None] - negative
    if mining == "batch_all":
        losses = (gap + margin).clamp(min=0)
        return [losses.sum(), (losses > 0).sum().to(losses), count]
    inside = (gap < 0) & (gap + margin > 0)
    hardest = gap.where(inside, -torch.inf).amax(1)
    some = inside.any(1)
    losses = (hardest + margin).where(some, 0.0)
    return [losses.sum(), some.sum().to(losses), some.sum().to(losses)]
