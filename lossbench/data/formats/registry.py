"""The input formats, one row each: the endings of its files and the module that decodes them.

To add a format, write a module with a function `decode` beside this one and add a row. Nothing
heavy is imported here: endings cost nothing, and a module is imported with the first of its files.
"""

from __future__ import annotations

from collections.abc import Callable
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


@cache
def _decoder(module: str) -> Callable[[OpenedFile], dict[str, StoredArray]]:
    decode: Callable[[OpenedFile], dict[str, StoredArray]]
    decode = import_module(f"{__package__}.{module}").decode
    return decode


def missing(package: str, extra: str) -> str:
    """The message about an optional package that is not installed."""
    return f"needs the package {package}: pip install 'lossbench[{extra}]'"
