"""Image files: everything that Pillow opens."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lossbench.data.arrays import strips
from lossbench.data.formats import tiff_tags
from lossbench.data.formats.opened_file import BEGINNING, OpenedFile, described, opened
from lossbench.data.formats.plain_png import SIGNATURE, check_chunks, decode_plain
from lossbench.data.formats.stored_array import COLOUR, StoredArray, as_numbers
from lossbench.errors import InputError, mismatch
from lossbench.runtime.array_types import AnyArray

ANIMATED = ("GIF", "TIFF", "WEBP", "PNG")
ORIENTATION = 0x0112
MOST_PIXELS = 1 << 32
GREYS = bytes(level for level in range(256) for _ in range(3))  # the palette of a grey picture
SMALL = 1 << 16  # bytes; a larger file takes much longer to decode than to identify
BYTES = (*COLOUR, "L", "LA", "P", "PA")  # modes in which Pillow keeps 8 bits of a number
SIXTEEN = re.compile(";16[BLN]$")  # the end of a raw mode of 16 bits a number; BGR;16 has 5 or 6
JPEG2000_SIZE = b"\xff\x4f\xff\x51"  # the markers that come before the size of a picture
JPEG2000_BITS = 42  # bytes from there to the bits of a number less 1
IS_JPEG = "is a JPEG: its compression changes the values of a mask"
CONVERTED = "is {mode}; its colours are converted to RGB as Pillow does"
WHITE_IS_0 = "says that 0 is white; a mask or labels are read as their numbers are stored"


def decode(file: OpenedFile) -> dict[str, StoredArray]:
    """The one picture of a file, upright.

    Raises:
        InputError: it holds no picture, several pictures, or numbers that Pillow would change; or
            it is damaged.
    """
    with opened(file) as stream:
        content = stream.read(SMALL)
        if len(content) < SMALL:
            if plain := decode_plain(content):
                return {"": _stored_array(plain.image, "PNG", plain.colours)}
            stream = BytesIO(content)
        if content.startswith(SIGNATURE):
            check_chunks(stream)
        try:
            with Image.open(stream) as image:
                if image.width * image.height > MOST_PIXELS:
                    size = f"{image.width}×{image.height}"
                    raise InputError(f"claims to be {size} pixels; it is damaged")
                return {"": _checked(image, content)}
        except UnidentifiedImageError:
            if content.startswith(tiff_tags.SIGNATURES):
                raise mismatch(tiff_tags.refusal(stream)) from None
            start = described(content[:BEGINNING])
            raise InputError(
                f"is not an image of any known kind{start}; write it again, as PNG or .npy"
            ) from None
        except Image.DecompressionBombError:
            raise InputError(
                f"has more than the {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels that this process"
                " lets Pillow decode; where its files are trusted, set"
                " PIL.Image.MAX_IMAGE_PIXELS = None"
            ) from None


def _checked(image: Image.Image, content: bytes) -> StoredArray:
    """The upright pixels of an opened picture, if they are one picture that Pillow keeps exact."""
    kind, tags = image.format or "", getattr(image, "tag_v2", {})
    pictures = getattr(image, "n_frames", 1) if kind in ANIMATED else 1
    if kind == "TIFF":
        pictures = max(pictures, tiff_tags.slices(tags))
        samples, kept = tags.get(tiff_tags.SAMPLES, 1), len(image.getbands())
        if samples > kept:
            what = f"has {samples} numbers a pixel, of which Pillow reads {kept}"
            raise mismatch(f"{what}; {tiff_tags.CONVERT}")
    if pictures > 1:
        raise mismatch(
            f"holds {pictures} pictures; give one file a picture, or a volume as NIfTI or .npy"
        )
    bits = BITS.get(kind, _raw_bits)(image, content)
    if bits > 8 and image.mode in BYTES:
        raise mismatch(f"has {bits} bits a colour, which Pillow reads as 8; give .npy arrays")
    largest = _maxval(image)
    turned = image.getexif().get(ORIENTATION, 1) != 1 if "exif" in image.info else False
    if turned:
        image = ImageOps.exif_transpose(image)
    turned |= tags.get(ORIENTATION, 1) != 1  # which Pillow does
    converted: tuple[str, ...] = ()
    if image.mode in COLOUR and image.mode not in ("RGB", "RGBA"):
        converted = () if image.mode == "RGBX" else (CONVERTED.format(mode=image.mode),)
        image = image.convert("RGB")
    colours = bytes(image.getpalette("RGB") or ()) if image.mode == "P" else b""
    stored = _stored_array(image, kind, colours, turned=turned)
    stored = replace(stored, colour_notes=converted) if converted else stored
    if kind == "TIFF":
        return _tiff_numbers(stored, tags, bits)
    return _netpbm_numbers(stored, largest) if largest else stored


def _stored_array(
    image: Image.Image, kind: str, colours: bytes, *, turned: bool = False
) -> StoredArray:
    is_grey = image.mode == "P" and colours == GREYS[: len(colours)]
    mode = "L" if is_grey else image.mode
    palette = _palette(colours) if mode == "P" else None
    notes = (IS_JPEG,) if kind == "JPEG" else ()
    array = as_numbers(_array(image))
    return StoredArray(array, mode, kind, palette, turned=turned, notes=notes)


def _raw_bits(image: Image.Image, _: bytes) -> int:
    """The bits of a number, as Pillow's raw mode names them."""
    modes = [each[3] if isinstance(each[3], str) else each[3][0] for each in _tiles(image)]
    return 16 if any(SIXTEEN.search(str(mode)) for mode in modes) else 8


def _tiles(image: Image.Image) -> list[Any]:
    return [each for each in getattr(image, "tile", []) if each[3]]


def _jpeg2000_bits(_: Image.Image, content: bytes) -> int:
    at = content.find(JPEG2000_SIZE) + JPEG2000_BITS
    return (content[at] & 0x7F) + 1 if JPEG2000_BITS <= at < len(content) else 8


def _maxval(image: Image.Image) -> int:
    """The number that stands for white in a netpbm file; 0 where Pillow does not use it."""
    arguments = [each[3] for each in _tiles(image) if each[0].startswith("ppm")]
    unused = 65535 if (image.format, image.mode) == ("PPM", "I") else 0
    return next((int(each[1]) for each in arguments if isinstance(each, tuple)), unused)


# How the bits of a number are known before a picture is decoded; elsewhere by Pillow's raw mode.
BITS: dict[str, Callable[[Image.Image, bytes], int]] = {
    "JPEG2000": _jpeg2000_bits,
    "PPM": lambda image, _: _maxval(image).bit_length(),
    "TIFF": lambda image, _: tiff_tags.bits(getattr(image, "tag_v2", {})),
}


def _tiff_numbers(stored: StoredArray, tags: Any, bits: int) -> StoredArray:
    """The numbers that a TIFF file stores; Pillow inverts some and reads some as unsigned."""
    array, ends = stored.array, stored.ends
    if stored.mode in ("1", "L", "I;16"):
        full = (1 << bits) - 1 if bits in (1, 12) else np.iinfo(array.dtype).max
        ends = (0, full) if bits == 12 else None
        if tiff_tags.zero_is_white(tags):
            array, ends = array if stored.mode == "I;16" else ~array, (full, 0)
            stored = replace(stored, notes=(*stored.notes, WHITE_IS_0))
    if tiff_tags.is_signed(tags):
        array = array.view(np.int8) if stored.mode == "L" else array
    elif array.dtype == np.int32 and array.min(initial=0) < 0:
        array = array.view(np.uint32)
    slices = stored.colour and tiff_tags.may_be_slices(tags)
    return replace(stored, array=array, ends=ends, slices=array.shape[-1] if slices else 0)


def _netpbm_numbers(stored: StoredArray, largest: int) -> StoredArray:
    """The numbers that a netpbm file stores; Pillow stretches them to 255 or 65535."""
    if stored.colour:
        return stored
    dtype = np.uint8 if stored.mode == "L" else np.uint16
    full = np.iinfo(dtype).max
    array = np.rint(stored.array * (largest / full)).astype(dtype)
    return replace(stored, array=array, ends=None if largest == full else (0, largest))


def _array(image: Image.Image) -> AnyArray:
    """(H, W) or (H, W, bands).

    A large picture is copied a strip at a time, because Pillow copies twice what it gives to NumPy.
    """
    width, height = image.size
    rows = max(1, strips.STRIP // max(1, width))
    if height <= rows:
        return np.asarray(image)
    pixel = np.asarray(image.crop((0, 0, 1, 1)))
    array = np.empty((height, width, *pixel.shape[2:]), pixel.dtype)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        array[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))
    return array


def _palette(colours: bytes) -> AnyArray:
    """(256, 3), black where a file has fewer."""
    palette = np.zeros((256, 3), np.uint8)
    palette.reshape(-1)[: len(colours)] = np.frombuffer(colours, np.uint8)
    return palette
