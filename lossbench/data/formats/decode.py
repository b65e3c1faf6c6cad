"""One file into one array, as stored: nothing is scaled, converted or guessed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lossbench.data.arrays.pillow_memory import as_array
from lossbench.data.formats.fast_png import SMALL, plain
from lossbench.data.formats.nifti import NAMES, VoxelGrid, read_nifti
from lossbench.data.sources.locations import Away, Source, content, ending, label, lost
from lossbench.errors import InputError
from lossbench.runtime.array_types import AnyArray

Found = TypeVar("Found")
ANIMATED = ("GIF", "TIFF", "WEBP", "PNG")
COLOUR = ("RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
ORIENTATION = 0x0112
SAFE = ".safetensors"
ARRAYS = {".npy": b"\x93NUMPY", ".npz": b"PK", SAFE: b"{"}  # how they begin; SAFE after 8 bytes
PICKLE = b"\x80"
BEGINNING = 16  # bytes that tell what a file is
MOST_PIXELS = 1 << 32
Image.MAX_IMAGE_PIXELS = None  # the files are the user's own, and may be large


@dataclass(frozen=True)
class Picture:
    """An array as it was stored.

    Attributes:
        array: (H, W), (H, W, channels) from an image file, any shape from an array; from NIfTI its
            axes in their order, those of classes first.
        mode: Pillow's mode, such as L, P or RGB; "array" for arrays.
        format: Pillow's format, such as PNG or JPEG; "" for arrays.
        palette: the colours (256, 3) that the indices of a P picture stand for.
        grid: where in space the voxels of a NIfTI file lie.
    """

    array: AnyArray
    mode: str = "array"
    format: str = ""
    palette: AnyArray | None = None
    grid: VoxelGrid | None = None

    @property
    def places(self) -> int | None:
        """How many axes are places; None where a file does not say, such as an array."""
        return self.grid.places if self.grid else None if self.mode == "array" else 2

    @property
    def colour(self) -> bool:
        """Whether a pixel is several numbers."""
        return self.mode in COLOUR


def read(source: Source) -> Picture:
    """A file, or an array that is in memory already.

    Raises:
        InputError: the file cannot be read as what its ending says.
    """
    return _decoded(_read, source)


def read_record(source: Source) -> dict[str, AnyArray]:
    """The arrays of a file, or of a mapping in memory, by name; that of one alone is "".

    Raises:
        InputError: the file cannot be read as what its ending says.
    """
    return _decoded(_read_record, source)


def _decoded(decode: Callable[[Source], Found], source: Source) -> Found:
    """What a decoder finds; whatever it raises becomes one sentence."""
    try:
        return decode(source)
    except InputError as known:
        error = known
    except UnidentifiedImageError:
        error = InputError(f"is not an image of any known kind{_start(source)}")
    except (FileNotFoundError, NotADirectoryError):
        error = lost()
    except IsADirectoryError:
        error = InputError("is a folder, expected a file")
    except Exception as cause:  # what a damaged file makes a decoder raise has no end
        reason = " ".join(str(cause).split()) or type(cause).__name__
        if "allow_pickle" in reason:
            reason = "it holds pickled objects, which are never loaded"
        error = InputError(f"cannot be read: {reason}")
    error.file = label(source)
    raise error from None


def _read(source: Source) -> Picture:
    if not isinstance(source, str | Away):
        return Picture(_numbers(source.detach().cpu() if hasattr(source, "detach") else source))
    kind = ending(source)
    if kind in NAMES:
        numbers, grid = read_nifti(content(source))
        return Picture(_numbers(numbers), grid=grid)
    if kind in ARRAYS:
        return Picture(_only(_arrays(source)))
    opened = _opened(source)
    if kind == ".png" and (found := plain(_beginning(opened, SMALL))):
        palette = _palette(found.colours) if found.mode == "P" else None
        return Picture(found.array, found.mode, "PNG", palette)
    with Image.open(opened) as image:
        if image.width * image.height > MOST_PIXELS:
            raise InputError(f"claims to be {image.width}×{image.height} pixels; it is damaged")
        if image.format == "TIFF" and ORIENTATION in image.getexif():
            with Image.open(BytesIO(content(source))) as turned:  # not memory-mapped
                return _picture(turned)
        return _picture(image)


def _picture(image: Image.Image) -> Picture:
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
    palette = _palette(bytes(image.getpalette("RGB") or ())) if image.mode == "P" else None
    return Picture(_numbers(as_array(image)), image.mode, kind, palette)


def _palette(colours: bytes) -> AnyArray:
    """(256, 3), black where a file has fewer."""
    palette = np.zeros((256, 3), np.uint8)
    palette.reshape(-1)[: len(colours)] = np.frombuffer(colours, np.uint8)
    return palette


def _read_record(source: Source) -> dict[str, AnyArray]:
    if isinstance(source, Mapping):
        return {str(name): _read(array).array for name, array in source.items()}
    if not isinstance(source, str | Away):
        return {"": _read(source).array}
    if ending(source) not in ARRAYS:
        raise InputError(
            f"is no record: expected one of {', '.join(ARRAYS)}, found {ending(source) or 'none'}"
        )
    return _arrays(source)


def _opened(source: str | Away) -> str | BytesIO:
    """What decoders open: a local path, or the bytes of a file that is away."""
    return source if isinstance(source, str) else BytesIO(content(source))


def _arrays(source: str | Away) -> dict[str, AnyArray]:
    """The arrays of a file by name; that of an .npy file is ""."""
    kind, opened = ending(source), _opened(source)
    start = _beginning(opened)[:9]
    if start.startswith(PICKLE) and start[8:] != b"{":
        raise InputError("holds pickled objects, which are never loaded")
    if not start[8 * (kind == SAFE) :].startswith(ARRAYS[kind]):
        raise InputError(f"is no {kind} file{_start(source)}")
    if kind == SAFE:
        return {name: _numbers(array) for name, array in sorted(_safetensors(opened).items())}
    if kind == ".npy":
        return {"": _numbers(np.load(opened, allow_pickle=False))}
    with np.load(opened, allow_pickle=False) as arrays:
        return {name: _numbers(arrays[name]) for name in arrays.files}


def _safetensors(opened: str | BytesIO) -> dict[str, AnyArray]:
    try:
        from safetensors.numpy import load, load_file
    except ImportError:
        raise InputError(
            "needs the package safetensors: pip install 'lossbench[safetensors]'"
        ) from None
    return load_file(opened) if isinstance(opened, str) else load(opened.getvalue())


def _only(arrays: Mapping[str, AnyArray]) -> AnyArray:
    """The one array of a file."""
    if len(arrays) != 1:
        raise InputError(
            f"holds {len(arrays)} arrays ({', '.join(arrays)}); expected one", kind="mismatch"
        )
    return next(iter(arrays.values()))


def _numbers(source: Any) -> AnyArray:
    """A numpy array or nested lists, in the machine's byte order."""
    array: AnyArray = np.asarray(source)
    if array.dtype.kind not in "biuf":
        raise InputError(f"holds {array.dtype}, expected numbers", kind="mismatch")
    if array.dtype.itemsize > 8:  # which torch does not know
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _start(source: str | Away) -> str:
    """How a file begins, where that tells what it is."""
    start = _beginning(_opened(source))
    if not start:
        return "; it is empty"
    return f"; it begins with {start.decode()!r}" if start.isascii() else ""


def _beginning(opened: str | BytesIO, size: int = BEGINNING) -> bytes:
    """The first bytes of a file."""
    if isinstance(opened, BytesIO):
        return opened.getvalue()[:size]
    with open(opened, "rb", buffering=0) as file:
        return file.read(size)
