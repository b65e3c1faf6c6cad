"""Many strings in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator


class StringList:
    """A list of strings that only grows."""

    def __init__(self) -> None:
        self.bytes, self.ends = bytearray(), array("Q", [0])

    def append(self, text: str) -> None:
        self.bytes += text.encode("utf-8", "surrogatepass")
        self.ends.append(len(self.bytes))

    def __getitem__(self, index: int) -> str:
        start, end = self.ends[index : index + 2]
        return self.bytes[start:end].decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))

    def __len__(self) -> int:
        return len(self.ends) - 1
