"""NumPy's files: .npy with one array, .npz with several by name."""

from __future__ import annotations

import numpy as np

from lossbench.data.formats.opened_file import OpenedFile
from lossbench.data.formats.stored_array import StoredArray, as_numbers
from lossbench.errors import InputError
from lossbench.runtime.limits import greatest_size, swollen


def decode(file: OpenedFile) -> dict[str, StoredArray]:
    """The arrays of a file by name; the name of an .npy file's array is ""."""
    try:
        stored = np.load(file, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return {"": StoredArray(as_numbers(stored))}
        with stored:
            for member in stored.zip.infolist():
                if member.file_size > greatest_size(member.compress_size):
                    raise InputError(swollen(member.file_size, member.compress_size))
            return {name: StoredArray(as_numbers(stored[name])) for name in stored.files}
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise InputError(
            "cannot be read: it holds pickled objects, which are never loaded"
        ) from None
