"""The grid in space that the voxels of a volume lie on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lossbench.runtime.array_types import AnyArray

TOLERANCE = 1e-3  # of a spacing, relative, and of a component of a direction


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """Where in space the voxels of an array lie.

    Attributes:
        places: how many axes are places.
        spacing: from voxel to voxel along each of them, in mm; None where the header has none.
        axes: where each of them leads, such as RAS; "" where the header does not say.
        directions: the same as unit vectors (3, places), x to the right, y forwards, z up.
    """

    places: int
    spacing: tuple[float, ...] | None
    axes: str = ""
    directions: AnyArray | None = None

    def unlike(self, other: VoxelGrid, name: str) -> str:
        """How this grid differs from that of the file `name`; "" where nothing known differs."""
        if self.places != other.places:
            return ""  # which their sizes tell
        advice = f"resample it onto the grid of {name}"
        if self.spacing and other.spacing and not close(self.spacing, other.spacing):
            here, there = shown(self.spacing, 6), shown(other.spacing, 6)
            return f"has a spacing of {here} mm where {name} has {there} mm; {advice}"
        if self.directions is None or other.directions is None:
            return ""
        if np.abs(self.directions - other.directions).max() <= TOLERANCE:
            return ""
        if self.axes != other.axes:
            return f"has the orientation {self.axes} where {name} has {other.axes}; {advice}"
        cosine = (self.directions * other.directions).sum(0).clip(-1, 1).min()
        angle = math.degrees(math.acos(cosine))
        return f"is turned by {angle:.2g}° against {name}, both are {self.axes}; {advice}"


def shown(spacing: Sequence[float], digits: int = 3) -> str:
    """A spacing as text."""
    return "×".join(f"{each:.{digits}g}" for each in spacing)


def close(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(math.isclose(a, b, rel_tol=TOLERANCE) for a, b in zip(one, other, strict=True))
