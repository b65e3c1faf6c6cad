"""Distances and angles of vectors, with finite gradients everywhere."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lossbench.interface.annotations import Gallery, Label, Vector
from lossbench.interface.stable_math import power, ratio, root


def distance(a: Tensor, b: Tensor, p: float = 2.0, squared: bool = False) -> Tensor:
    """Distance ‖a − b‖_p of rows (B, D), or its square; the gradient is 0 where they are equal."""
    difference = (a - b).abs()
    if p == 2:
        square = (difference * difference).sum(-1)
        return square if squared else root(square)
    largest = difference.amax(-1, keepdim=True).detach()
    scale = largest.where(largest > 0, 1.0)  # powers of numbers up to 1 cannot overflow
    length = scale[..., 0] * power(power(difference / scale, p).sum(-1), 1 / p)
    return length * length if squared else length


def direction(x: Tensor) -> Tensor:
    """Rows scaled to length 1; a row of zeros stays unchanged."""
    length = root((x * x).sum(-1, keepdim=True))
    return x / length.where(length > 0, 1.0)


def cosine_of(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between rows, in [−1, 1]; undefined where a row is zero."""
    lengths = root((a * a).sum(-1)) * root((b * b).sum(-1))
    return ratio((a * b).sum(-1), lengths).clamp(-1, 1)


def non_zero(x: Tensor) -> Tensor:
    """Whether each row is non-zero, so that it has a direction."""
    return (x != 0).any(-1)


class TripletSums(NamedTuple):
    """Sums over the triplets of each anchor, each (B,); additive."""

    loss: Tensor  # Σ max(d(a,p) − d(a,n) + margin, 0)
    active: Tensor  # number of triplets in the mean
    triplets: Tensor  # number of all triplets

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
            mining: batch_all averages over all triplets with a positive loss; batch_hard takes the
                farthest positive and the nearest negative; semihard takes, for each positive, the
                nearest negative that is farther than the positive by less than the margin.
            margin: how much farther a negative should be than a positive.
            squared: use squared distances.
        """
        indices = torch.arange(len(gallery.pred), device=pred.device)
        sums = []
        for anchor, label, own in zip(pred, target, gallery.rows, strict=True):
            distances = distance(anchor[None], gallery.pred, squared=squared)
            same = gallery.target[:, 0] == label
            positive, negative = distances[same & (indices != own)], distances[~same]
            sums.append(_triplets(positive, negative, mining, margin))
        return cls(*(torch.stack(fields) for fields in zip(*sums, strict=True)))


def _triplets(positive: Tensor, negative: Tensor, mining: str, margin: float) -> list[Tensor]:
    """Fields loss, active and triplets of one anchor, from its distances."""
    count = positive.new_tensor(len(positive) * len(negative))
    if not count:
        return [positive.sum() * 0 + negative.sum() * 0, count, count]
    if mining == "batch_hard":
        loss = (positive.max() - negative.min() + margin).clamp(min=0)
        return [loss, torch.ones_like(count), count]
    gap = positive[:, None] - negative
    if mining == "batch_all":
        losses = (gap + margin).clamp(min=0)
        return [losses.sum(), (losses > 0).sum().to(losses), count]
    semihard = (gap < 0) & (gap + margin > 0)
    hardest = gap.where(semihard, -torch.inf).amax(1)
    defined = semihard.any(1)
    losses = (hardest + margin).where(defined, 0.0)
    return [losses.sum(), defined.sum().to(losses), defined.sum().to(losses)]
