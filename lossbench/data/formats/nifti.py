"""NIfTI files: the numbers as stored, and the grid in space that the header lays them on."""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from nibabel import nifti1, nifti2, volumeutils
from nibabel.orientations import aff2axcodes

from lossbench.data.formats.opened_file import BEGINNING, OpenedFile, content, described
from lossbench.data.formats.stored_array import StoredArray, as_numbers
from lossbench.data.formats.voxel_grid import VoxelGrid, close, shown
from lossbench.errors import InputError, mismatch
from lossbench.runtime.array_types import AnyArray
from lossbench.runtime.fast_zlib import gunzip
from lossbench.runtime.limits import greatest_size, swollen

CHUNK = 1 << 24  # bytes that are unpacked at a time, where all may be too many
GZIP = b"\x1f\x8b"
HEADER = 540  # bytes of the longer of both versions
SPATIAL = 3  # axes of space; later ones hold time or classes
MILLIMETRES = {"meter": 1000.0, "micron": 0.001}  # a header without a unit means them too
ATLAS = 3  # from this code on, sform leads into another brain's space and may stretch


def decode(file: OpenedFile) -> dict[str, StoredArray]:
    """The numbers of a file with its axes in their order, those of classes first, and its grid.

    Integers stay as stored unless the header scales them.

    Raises:
        InputError: it is no NIfTI file, is cut short, or has axes that have no meaning here.
    """
    stored = content(file)
    if stored.startswith(GZIP):
        stored = _unpacked(stored)
    header = _header(stored[:HEADER])
    numbers = volumeutils.apply_read_scaling(_stored(header, stored), *header.get_slope_inter())
    shape = numbers.shape
    further = [length for length in shape[SPATIAL:] if length != 1]
    if len(further) > 1:
        sizes = "×".join(map(str, shape))
        raise mismatch(f"is {sizes}; a fourth axis holds classes, more axes have no meaning")
    axes = _spatial_axes(shape[:SPATIAL])
    numbers = numbers.reshape(*(shape[axis] for axis in axes), *further, order="F")
    numbers = np.moveaxis(numbers, -1, 0) if further else numbers
    return {"": StoredArray(as_numbers(numbers), grid=_grid(header, axes))}


def _spatial_axes(shape: Sequence[int]) -> list[int]:
    """The axes along which voxels lie: those of length 1 are left out while two remain."""
    axes = list(range(len(shape)))
    for axis in reversed(axes[:]):
        if shape[axis] == 1 and len(axes) > 2:
            axes.remove(axis)
    return axes


def _unpacked(packed: bytes) -> bytes:
    """The content of a gzip file as far as its header asks for; the rest is checked, not kept.

    The standard library reads files of several members, and says what is wrong with others.
    """
    greatest = greatest_size(len(packed))
    claimed = int.from_bytes(packed[-4:], "little")  # the size, unless the file is cut off
    if claimed <= greatest and (content := gunzip(packed, claimed)) is not None:
        return content
    with gzip.open(BytesIO(packed)) as stream:
        start = stream.read(HEADER)
        try:
            header = _header(start)
        except InputError:
            _skip(stream, len(start), len(packed))
            raise
        shape, itemsize = header.get_data_shape(), header.get_data_dtype().itemsize
        needed = int(header.get_data_offset()) + math.prod(map(int, shape)) * itemsize
        if needed > greatest:
            raise InputError(swollen(needed, len(packed)))
        content = start + stream.read(max(0, needed - len(start)))
        _skip(stream, len(content), len(packed))
    return content


def _skip(stream: gzip.GzipFile, size: int, packed: int) -> None:
    """Read on to the end of a gzip file, where its checksum is, from `size` bytes on.

    Raises:
        InputError: it is far longer than a file of `packed` bytes may be.
    """
    greatest = greatest_size(packed)
    while part := stream.read(min(CHUNK, greatest + 1 - size)):
        size += len(part)
        if size > greatest:
            raise InputError(swollen(size, packed))


def _header(start: bytes) -> Any:
    """The header at the beginning of a file.

    Raises:
        InputError: there is none, or its numbers are in another file.
    """
    versions: tuple[Any, ...] = (nifti1.Nifti1Header, nifti2.Nifti2Header)
    version = next((each for each in versions if each.may_contain_header(start)), None)
    if version is None:
        found = described(start[:BEGINNING]) if start else "; it is empty"
        raise InputError(
            f"is no NIfTI file{found}; write it again, as with nibabel.save, or give .npy"
        )
    if start[344:348] == b"ni1\0":
        raise InputError("is the header of a pair of files, expected both in one (.nii)")
    return version(start[: version.template_dtype.itemsize], check=False)


def _stored(header: Any, file: bytes) -> AnyArray:
    """The array behind a header, not scaled."""
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    start, count = header.get_data_offset(), math.prod(shape)
    end = start + count * dtype.itemsize
    if min(shape, default=0) < 0:
        raise InputError(f"claims to be {'×'.join(map(str, shape))}; it is damaged")
    if start < header.single_vox_offset:
        raise InputError(f"claims that its numbers begin at byte {start}; it is damaged")
    if len(file) < end:
        raise InputError(f"is cut short: its header asks for {end:,} bytes, it has {len(file):,}")
    return np.frombuffer(file, dtype, count, start).reshape(shape, order="F")


def _grid(header: Any, axes: Sequence[int]) -> VoxelGrid:
    """The grid of a header, whose signs of the spacing mean nothing."""
    sizes = header["pixdim"]
    sizes[0] = -1 if sizes[0] < 0 else 1
    sizes[1:] = abs(sizes[1:])
    unit = MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    steps = [float(sizes[axis + 1]) for axis in axes]
    is_known = all(0 < step < math.inf for step in steps)
    spacing = tuple(step * unit for step in steps) if is_known else None
    if not (header["sform_code"] > 0 or header["qform_code"] > 0):
        return VoxelGrid(len(axes), spacing)
    affine = header.get_best_affine()
    columns = affine[:3, axes]
    lengths = np.sqrt((columns**2).sum(0))
    if not (np.isfinite(affine).all() and lengths.all()):
        raise InputError("has a header without a direction for every axis; it is damaged")
    if is_known and header["sform_code"] < ATLAS and not close(lengths, steps):
        raise mismatch(
            f"has a header that contradicts itself: pixdim says {shown(steps, 6)},"
            f" sform {shown(lengths, 6)}"
        )
    letters = aff2axcodes(affine)
    names = "".join(letters[axis] or "?" for axis in axes)
    in_mm = affine * [[unit], [unit], [unit], [1.0]]
    return VoxelGrid(len(axes), spacing, names, columns / lengths, in_mm)
