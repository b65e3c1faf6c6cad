"""Distance of every pixel from the edge of a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lossbench.catalog.tasks import target_threshold
from lossbench.geometry.distance_transform import edge_distance
from lossbench.interface.annotations import Positive, Share
from lossbench.interface.sample_batch import SampleBatch, pixel_size


class Map(NamedTuple):
    """One mask of each class, each (B, C, N): the pixels inside, and distances across the edge.

    `across` is the distance to the nearest pixel on the other side of the edge; 0 everywhere for an
    empty or full mask.
    """

    inside: Tensor
    across: Tensor


@dataclass(frozen=True, eq=False)
class DistanceMaps:
    """Distance maps of a sample, each computed on first use; without a gradient.

    A pixel is inside where p ≥ threshold, or y ≥ threshold and y > 0, for each class separately;
    ignored pixels are outside.
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
            threshold: inside is p ≥ threshold, and y ≥ threshold with y > 0 in the target, for each
                class separately.
            spacing: size of a pixel along each axis, rows first; by default that of the files, or
                1.
        """
        return cls(values, threshold, pixel_size(spacing, values.spacing, values.valid.ndim - 2))

    @cached_property
    def pred(self) -> Map:
        return self._map("pred", self.threshold)

    @cached_property
    def target(self) -> Map:
        return self._map("target", target_threshold(self.threshold))

    def _map(self, role: str, threshold: float) -> Map:
        mask, weight = self.values.inputs[role], self.values.weight
        inside = (mask.probability >= threshold) & (weight > 0)
        planes = inside.reshape(-1, *mask.shape).cpu().numpy()
        maps = np.stack([edge_distance(plane, self.spacing) for plane in planes])
        across = torch.as_tensor(maps.reshape(inside.shape), dtype=weight.dtype)
        return Map(inside, across.to(weight.device))
