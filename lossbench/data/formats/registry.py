"""The input formats, one row each: the endings of its files and the module that decodes them.

To add a format, write a module with a function `decode` beside this one and add a row. Nothing
heavy is imported here: endings cost nothing, and a module is imported with the first of its files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from lossbench.errors import InputError

if TYPE_CHECKING:
    from lossbench.data.formats.opened_file import OpenedFile
    from lossbench.data.formats.stored_array import StoredArray


@dataclass(frozen=True)
class InputFormat:
    """One input format.

    Attributes:
        name: the format as messages call it.
        module: the module of this package whose `decode` returns the arrays of a file by name;
            the name of an array that is alone in its file is "".
        endings: of its files, in lower case.
        magic: the bytes that a file begins with; b"" where `decode` recognises its files itself.
        offset: where in a file `magic` stands.
        record: a file can hold several arrays, each with a name of its own.
        package: the optional package that the module imports.
        extra: the extra of lossbench that installs the package.
    """

    name: str
    module: str
    endings: tuple[str, ...]
    magic: bytes = b""
    offset: int = 0
    record: bool = False
    package: str = ""
    extra: str = ""

    def decoder(self) -> Callable[[OpenedFile], dict[str, StoredArray]]:
        """The function that decodes a file.

        Raises:
            InputError: its package is not installed.
        """
        if self.package:
            try:
                import_module(self.package)
            except ImportError:
                raise InputError(
                    f"is {self.name}, which {missing(self.package, self.extra)}"
                ) from None
        return _decoder(self.module)


PICTURE = InputFormat(
    "an image",
    "picture",
    (
        ".png",
        *(".jpg", ".jpeg", ".jpe", ".jp2"),
        *(".tif", ".tiff"),
        *(".bmp", ".gif", ".ico", ".tga", ".webp"),
        *(".pbm", ".pgm", ".pnm", ".ppm"),
    ),
)
FORMATS = (
    PICTURE,
    InputFormat("NumPy", "numpy_file", (".npy",), b"\x93NUMPY", record=True),
    InputFormat("NumPy", "numpy_file", (".npz",), b"PK", record=True),
    InputFormat(
        "safetensors",
        "safetensors",
        (".safetensors",),
        b"{",
        offset=8,
        record=True,
        package="safetensors",
        extra="safetensors",
    ),
    InputFormat("NIfTI", "nifti", (".nii", ".nii.gz"), package="nibabel", extra="medical"),
)
BY_ENDING = {ending: row for row in FORMATS for ending in row.endings}
ITK = 'SimpleITK.WriteImage(SimpleITK.ReadImage("a{ending}"), "a.nii.gz")'
ARRAY = 'save its numbers as .npy: numpy.save("a.npy", array)'
BOXES = (
    "boxes are read from COCO's JSON files, or from .npz with arrays boxes, scores and labels;"
    " masks from images"
)
ELSEWHERE = {  # the way out for files of other formats, by their endings
    **dict.fromkeys((".mha", ".mhd", ".nrrd", ".nhdr", ".dcm", ".ima", ".img"), ITK),
    **dict.fromkeys(
        (".exr", ".flo", ".hdr", ".pfm", ".h5", ".hdf5", ".mat", ".zarr", ".raw"), ARRAY
    ),
    **dict.fromkeys((".pt", ".pth", ".pkl", ".npy.gz"), ARRAY),
    **dict.fromkeys((".txt", ".xml", ".json", ".csv"), BOXES),
}


def way_out(endings: Iterable[str]) -> str:
    """The endings of files that are read, and what to do with files of these endings."""
    ways = dict[str, str]()
    for ending in sorted(endings):
        if way := ELSEWHERE.get(ending.lower(), "").format(ending=ending):
            ways.setdefault(way, ending)
    steps = "".join(f"; for {ending}: {way}" for way, ending in ways.items())
    return f"files that are read end in {', '.join(BY_ENDING)}{steps}"


@cache
def _decoder(module: str) -> Callable[[OpenedFile], dict[str, StoredArray]]:
    decode: Callable[[OpenedFile], dict[str, StoredArray]]
    decode = import_module(f"{__package__}.{module}").decode
    return decode


def missing(package: str, extra: str) -> str:
    """The message about an optional package that is not installed."""
    return f"needs the package {package}: pip install 'lossbench[{extra}]'"
