"""NIfTI files: the numbers as stored, and the grid in space that the header lays them on."""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossbench.errors import InputError
from lossbench.runtime.array_types import AnyArray

NAMES = (".nii", ".nii.gz")
GZIP = b"\x1f\x8b"
HEADER = 540  # bytes of the longer of both versions
PLACES = 3  # axes that are places; later ones hold time or classes
MILLIMETRES = {"meter": 1000.0, "micron": 0.001}  # a header without a unit means them too
ATLAS = 3  # from this code on, sform leads into another brain's space and may stretch
CLOSE = 1e-3  # of a spacing, and of a direction


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
        if self.spacing and other.spacing and not _close(self.spacing, other.spacing):
            here, there = shown(self.spacing, 6), shown(other.spacing, 6)
            return f"has a spacing of {here} mm where {name} has {there} mm; {advice}"
        if self.directions is None or other.directions is None:
            return ""
        if np.abs(self.directions - other.directions).max() <= CLOSE:
            return ""
        if self.axes != other.axes:
            return f"has the orientation {self.axes} where {name} has {other.axes}; {advice}"
        cosine = (self.directions * other.directions).sum(0).clip(-1, 1).min()
        angle = math.degrees(math.acos(cosine))
        return f"is turned by {angle:.2g}° against {name}, both are {self.axes}; {advice}"


def shown(spacing: Sequence[float], digits: int = 3) -> str:
    """A spacing as text."""
    return "×".join(f"{each:.{digits}g}" for each in spacing)


def read_nifti(held: bytes) -> tuple[AnyArray, VoxelGrid]:
    """The numbers of a file with its axes in their order, those of classes first, and its grid.

    Integers stay as stored unless the header scales them.

    Raises:
        InputError: it is no NIfTI file, is cut short, or has axes that have no meaning here.
    """
    try:
        from nibabel import nifti1, nifti2, volumeutils
    except ImportError:
        raise InputError(
            "is NIfTI, which nibabel reads, and that is not installed:"
            " pip install 'lossbench[medical]'"
        ) from None
    if held.startswith(GZIP):
        held = gzip.decompress(held)
    kinds: tuple[Any, ...] = (nifti1.Nifti1Header, nifti2.Nifti2Header)
    kind = next((each for each in kinds if each.may_contain_header(held[:HEADER])), None)
    if kind is None:
        raise InputError("is no NIfTI file" if held else "is no NIfTI file; it is empty")
    if held[344:348] == b"ni1\0":
        raise InputError("is the header of a pair of files, expected both in one (.nii)")
    header = kind(held[: kind.template_dtype.itemsize], check=False)
    numbers = volumeutils.apply_read_scaling(_stored(header, held), *header.get_slope_inter())
    shape = numbers.shape
    further = [length for length in shape[PLACES:] if length != 1]
    if len(further) > 1:
        sizes = "×".join(map(str, shape))
        raise InputError(
            f"is {sizes}; a fourth axis holds classes, more axes have no meaning", kind="mismatch"
        )
    numbers = numbers.reshape(*shape[:PLACES], *further, order="F")
    numbers = np.moveaxis(numbers, -1, 0) if further else numbers
    return numbers, _grid(header, min(PLACES, len(shape)))


def _stored(header: Any, held: bytes) -> AnyArray:
    """The array behind a header, not scaled."""
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    start, count = header.get_data_offset(), math.prod(shape)
    end = start + count * dtype.itemsize
    if min(shape, default=0) < 0:
        raise InputError(f"claims to be {'×'.join(map(str, shape))}; it is damaged")
    if start < header.single_vox_offset:
        raise InputError(f"claims that its numbers begin at byte {start}; it is damaged")
    if len(held) < end:
        raise InputError(f"is cut short: its header asks for {end:,} bytes, it has {len(held):,}")
    return np.frombuffer(held, dtype, count, start).reshape(shape, order="F")


def _grid(header: Any, places: int) -> VoxelGrid:
    """The grid of a header, whose signs of the spacing mean nothing."""
    sizes = header["pixdim"]
    sizes[0] = -1 if sizes[0] < 0 else 1
    sizes[1:] = abs(sizes[1:])
    unit = MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    steps = [float(size) for size in sizes[1 : places + 1]]
    known = all(0 < step < math.inf for step in steps)
    spacing = tuple(step * unit for step in steps) if known else None
    if not (header["sform_code"] > 0 or header["qform_code"] > 0):
        return VoxelGrid(places, spacing)
    from nibabel.orientations import aff2axcodes

    affine = header.get_best_affine()
    columns = affine[:3, :places]
    lengths = np.sqrt((columns**2).sum(0))
    if not (np.isfinite(lengths).all() and lengths.all()):
        raise InputError("has a header without a direction for every axis; it is damaged")
    if known and header["sform_code"] < ATLAS and not _close(lengths, steps):
        raise InputError(
            f"has a header that contradicts itself: pixdim says {shown(steps, 6)},"
            f" sform {shown(lengths, 6)}",
            kind="mismatch",
        )
    axes = "".join(each or "?" for each in aff2axcodes(affine)[:places])
    return VoxelGrid(places, spacing, axes, columns / lengths)


def _close(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(math.isclose(a, b, rel_tol=CLOSE) for a, b in zip(one, other, strict=True))
