"""The grid in space that the voxels of a volume lie on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lossbench.runtime.array_types import AnyArray

TOLERANCE = 1e-3  # of a spacing, of a component of a direction, and of a voxel for the origin
RESOLUTION = 4 * np.finfo(np.float32).eps  # of an origin, relative, as headers store it
IDENTITY = np.eye(4)


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """Where in space the voxels of an array lie.

    Attributes:
        dimensions: the number of spatial axes.
        spacing: from voxel to voxel along each of them, in mm; None where the header has none.
        axes: where each of them leads, such as RAS; "" where the header does not say.
        directions: the same as unit vectors (3, dimensions), x to the right, y forwards, z up.
        affine: from the voxels of the file to mm in space (4, 4).
    """

    dimensions: int
    spacing: tuple[float, ...] | None
    axes: str = ""
    directions: AnyArray | None = None
    affine: AnyArray | None = None

    def unlike(self, other: VoxelGrid, name: str) -> str:
        """How this grid differs from that of the file `name`; "" where nothing known differs."""
        if self.dimensions != other.dimensions:
            return ""  # which their sizes tell
        difference = self._difference(other, name)
        if not difference:
            return ""
        ignore = "--grid ignore compares voxel by voxel"
        if self._is_identity:
            return (
                f"{difference}; its affine is np.eye(4): save it with that of {name}, or {ignore}"
            )
        if other._is_identity:
            return f"{difference}; the affine of {name} is np.eye(4): correct it, or {ignore}"
        return (
            f"{difference}; where only a header is wrong, {ignore}; else resample it onto the grid"
            f" of {name}"
        )

    @property
    def _is_identity(self) -> bool:
        """Whether the header is one that says nothing, as tools without a header write it."""
        return self.affine is not None and np.array_equal(self.affine, IDENTITY)

    def _difference(self, other: VoxelGrid, name: str) -> str:
        """How this grid differs from that of the file `name`, without advice."""
        if self.spacing and other.spacing and not close(self.spacing, other.spacing):
            here, there = shown(self.spacing, 6), shown(other.spacing, 6)
            return f"has a spacing of {here} mm where {name} has {there} mm"
        if self.directions is None or other.directions is None:
            return ""
        if np.abs(self.directions - other.directions).max() <= TOLERANCE:
            return self._shift(other, name)
        if self.axes != other.axes:
            return f"has the orientation {self.axes} where {name} has {other.axes}"
        cosine = (self.directions * other.directions).sum(0).clip(-1, 1).min()
        angle = math.degrees(math.acos(cosine))
        return f"is turned by {angle:.2g}° against {name}, both are {self.axes}"

    def _shift(self, other: VoxelGrid, name: str) -> str:
        """How far the first voxel lies from that of the file `name`."""
        if self.affine is None or other.affine is None:
            return ""
        here, there = self.affine[:3, 3], other.affine[:3, 3]
        to_voxels = np.linalg.pinv(other.affine[:3, :3])
        voxels = to_voxels @ (here - there)
        rounding = np.abs(to_voxels) @ np.maximum(np.abs(here), np.abs(there)) * RESOLUTION
        if (np.abs(voxels) <= TOLERANCE + rounding).all():
            return ""
        distance, steps = np.linalg.norm(here - there), ", ".join(f"{each:.3g}" for each in voxels)
        return f"has its origin {distance:.3g} mm from that of {name} ({steps} voxels)"


def shown(spacing: Sequence[float], digits: int = 3) -> str:
    """A spacing as text."""
    return "×".join(f"{each:.{digits}g}" for each in spacing)


def close(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(math.isclose(a, b, rel_tol=TOLERANCE) for a, b in zip(one, other, strict=True))
