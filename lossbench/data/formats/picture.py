"""Image files: everything that Pillow opens."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lossbench.data.arrays import strips
from lossbench.data.formats.opened_file import BEGINNING, OpenedFile, described, opened
from lossbench.data.formats.plain_png import decode_plain
from lossbench.data.formats.stored_array import COLOUR, StoredArray, as_numbers
from lossbench.errors import InputError
from lossbench.runtime.array_types import AnyArray

ANIMATED = ("GIF", "TIFF", "WEBP", "PNG")
ORIENTATION = 0x0112
MOST_PIXELS = 1 << 32
SMALL = 1 << 16  # bytes; a larger file takes much longer to decode than to identify


def decode(file: OpenedFile) -> dict[str, StoredArray]:
    """The one picture of a file, upright.

    Raises:
        InputError: it holds no picture, several pictures, or numbers that Pillow would change.
    """
    with opened(file) as stream:
        content = stream.read(SMALL)
        if len(content) < SMALL:
            if plain := decode_plain(content):
                return {"": _stored_array(plain.image, "PNG", plain.colours)}
            stream = BytesIO(content)
        try:
            with Image.open(stream) as image:
                if image.width * image.height > MOST_PIXELS:
                    size = f"{image.width}×{image.height}"
                    raise InputError(f"claims to be {size} pixels; it is damaged")
                return {"": _checked(image)}
        except UnidentifiedImageError:
            start = described(content[:BEGINNING])
            raise InputError(f"is not an image of any known kind{start}") from None
        except Image.DecompressionBombError:
            raise InputError(
                f"has more than the {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels that this process"
                " lets Pillow decode; where its files are trusted, set"
                " PIL.Image.MAX_IMAGE_PIXELS = None"
            ) from None


def _checked(image: Image.Image) -> StoredArray:
    """The upright pixels of an opened picture, if they are one picture that Pillow keeps exact."""
    if image.format in ANIMATED and getattr(image, "n_frames", 1) > 1:
        frames = getattr(image, "n_frames", 1)
        raise InputError(f"holds {frames} pictures; give one file a picture", kind="mismatch")
    kind = image.format or ""
    tiles = getattr(image, "tile", [])
    if image.mode in COLOUR and any("16" in str(tile[3]) for tile in tiles):
        raise InputError(
            "has 16 bits a colour, which Pillow reads as 8; give .npy arrays", kind="mismatch"
        )
    if "exif" in image.info and image.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in COLOUR and image.mode not in ("RGB", "RGBA"):
        image = image.convert("RGB")
    colours = bytes(image.getpalette("RGB") or ()) if image.mode == "P" else b""
    return _stored_array(image, kind, colours)


def _stored_array(image: Image.Image, kind: str, colours: bytes) -> StoredArray:
    palette = _palette(colours) if image.mode == "P" else None
    return StoredArray(as_numbers(_array(image)), image.mode, kind, palette)


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
