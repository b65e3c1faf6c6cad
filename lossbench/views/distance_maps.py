"""How far every pixel is from the edge of a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lossbench.catalog.tasks import of_truth
from lossbench.errors import SettingError
from lossbench.geometry.distance_transform import across
from lossbench.interface.annotations import Positive, Share
from lossbench.interface.sample_batch import SampleBatch, pixel_size


class Map(NamedTuple):
    """One mask of every class, each (B, C, N): what is inside, and how far the other side is.

    `across` is the distance to the nearest pixel on the other side, 0 everywhere where a mask is
    empty or full.
    """

    inside: Tensor
    across: Tensor


@dataclass(frozen=True, eq=False)
class DistanceMaps:
    """The distance maps of a sample, each made when it is first asked for; without a gradient.

    A pixel is inside where p ≥ threshold, or y ≥ threshold and y > 0, each class by itself; an
    ignored one is outside.
    """

    values: SampleBatch
    threshold: float
    spacing: tuple[float, ...] | None

    @classmethod
    def of(
        cls,
        values: SampleBatch,
        *,
        threshold: Share = 0.5,
        spacing: Sequence[Positive] | None = None,
    ) -> DistanceMaps:
        """The maps of a sample.

        Args:
            threshold: p ≥ threshold is inside, of the target y ≥ threshold and y > 0, each class
                by itself.
            spacing: size of a pixel along each axis, rows first; none takes that of the data, or 1.
        """
        return cls(values, threshold, pixel_size(spacing, values.spacing, values.valid.ndim - 2))

    @cached_property
    def pred(self) -> Map:
        return self._map("pred", self.threshold)

    @cached_property
    def target(self) -> Map:
        return self._map("target", of_truth(self.threshold))

    def _map(self, role: str, threshold: float) -> Map:
        side, weight = self.values.sides[role], self.values.weight
        if side.space is None:
            raise SettingError("this loss needs pixels in their places")
        inside = (side.probability >= threshold) & (weight > 0)
        planes = inside.reshape(-1, *side.space).cpu().numpy()
        found = np.stack([across(plane, self.spacing) for plane in planes]).reshape(inside.shape)
        return Map(inside, torch.as_tensor(found, dtype=weight.dtype, device=weight.device))
