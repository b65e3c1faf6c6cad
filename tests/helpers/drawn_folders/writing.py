"""Files written from meanings."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.drawn_folders.meaning import Array, Drawn, Store
from helpers.drawn_folders.stores import LOSSY, stored_numbers
from helpers.drawn_folders.values import right_values


def write(drawn: Drawn, folder: Path) -> None:
    """Write both sides, and compute from the numbers as stored what is right."""
    exact = {id: replace(meaning) for id, meaning in drawn.meanings.items()}
    for role in ("pred", "target"):
        side: dict[str, Array] = {}
        in_memory = drawn.stores[role].container == "memory"
        files = folder / f"{drawn.index}_{role}"
        if not in_memory:
            files.mkdir()
        for id, meaning in drawn.meanings.items():
            store = drawn.others.get((role, id), drawn.stores[role])
            void = meaning.void & (role == "target")
            numbers, shares = stored_numbers(store, getattr(meaning, role), void)
            picture = drawn.raw.get((role, id))
            if in_memory:
                side[id] = _laid_out(numbers, store.order)
            elif picture is not None:
                picture.save(files / f"{id}.png")
            else:
                seen = _save(files, id, numbers, store)
                shares = shares if seen is None else seen
            if drawn.task == "binary" and len(shares) > 1:  # components with numbers
                shares = 1 - shares[:1]
            setattr(exact[id], role, shares)
        drawn.folders[role] = side if in_memory else files
    drawn.expected = {id: right_values(drawn, meaning) for id, meaning in exact.items()}


def _save(folder: Path, id: str, numbers: Array, store: Store) -> Array | None:
    """Write one file; the values (C, H, W) that a lossy format leaves, if it is one."""
    ending, _, mode = store.container.partition(" ")
    path = folder / f"{id}.{ending}"
    if ending == "npy":
        np.save(path, _laid_out(numbers, store.order))
    elif ending == "npz":
        np.savez(path, values=_laid_out(numbers, store.order))
    elif ending == "nii":
        import nibabel

        grid = numbers.astype(np.uint8) if numbers.dtype == bool else numbers
        grid = np.moveaxis(grid, 0, -1) if "C" in store.order else grid
        nibabel.Nifti1Image(grid, np.diag([1.0, 1.0, 2.0, 1.0]), dtype=grid.dtype).to_filename(path)
    elif mode == "white0":
        path.write_bytes(_tiff_white_is_zero(numbers))
    else:
        _picture(numbers, mode, store).save(path, **LOSSY.get(ending, {}))
        if ending in LOSSY or mode == "colours":
            with Image.open(path) as image:
                seen = np.asarray(image.convert("L" if image.mode == "L" else "RGB")) / 255
            return seen[None] if seen.ndim == 2 else np.moveaxis(seen, -1, 0)
    return None


def _picture(numbers: Array, mode: str, store: Store) -> Image.Image:
    """A picture of one number, or of three colours (3, H, W), a pixel."""
    if numbers.ndim == 3 and len(numbers) == 1:
        numbers = numbers[0]
    if mode == "P":
        image = Image.frombytes("P", numbers.shape[::-1], np.ascontiguousarray(numbers).tobytes())
        image.putpalette(list(store.palette))
        return image
    if mode == "one":
        return Image.fromarray(numbers[0])
    if numbers.ndim == 3:
        image = Image.fromarray(np.ascontiguousarray(np.moveaxis(numbers, 0, -1)))
        if mode == "colours":
            return image.quantize(200)
        return image if mode == "RGB" else image.convert(mode)
    image = Image.fromarray(numbers)
    if mode in ("RGB", "RGBA", "LA") and image.mode == "L":
        return image.convert(mode)
    return image


def _tiff_white_is_zero(mask: Array) -> bytes:
    """A TIFF of a bool array, one bit a pixel, as tifffile writes it: with the wrong tag."""
    height, width = mask.shape
    bits = np.packbits(mask, axis=1).tobytes()
    tags = [(256, width), (257, height), (258, 1), (259, 1), (262, 0), (273, 8), (277, 1)]
    tags += [(278, height), (279, len(bits))]
    start = 8 + len(bits) + len(bits) % 2
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    table = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return struct.pack("<2sHI", b"II", 42, start) + bits + b"\0" * (len(bits) % 2) + table


def _laid_out(numbers: Array, order: str) -> Array:
    """The axes of an array in the order of its store."""
    if order.endswith("C"):
        numbers = np.moveaxis(numbers, 0, -1)
    if order == "HW1":
        return numbers[..., None]
    if order == "HW" and numbers.ndim == 3:  # a grey picture
        return numbers[0]
    return numbers.reshape(*[1] * (len(order) - len(order.lstrip("1"))), *numbers.shape)
