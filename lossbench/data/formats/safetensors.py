"""Files of named tensors, as Hugging Face's safetensors writes them."""

from __future__ import annotations

from io import BytesIO

from safetensors.numpy import load, load_file

from lossbench.data.formats.opened_file import OpenedFile
from lossbench.data.formats.stored_array import StoredArray, as_numbers


def decode(file: OpenedFile) -> dict[str, StoredArray]:
    """The tensors of a file by name, in the order of their names."""
    tensors = load(file.getvalue()) if isinstance(file, BytesIO) else load_file(file)
    return {name: StoredArray(as_numbers(tensor)) for name, tensor in sorted(tensors.items())}
