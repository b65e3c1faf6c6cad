"""A doubt: what looks like a mistake although every file could be read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Doubt:
    """What looks like a mistake.

    Attributes:
        kind: a name of `tasks.DOUBTS`.
        message: what was seen, in how many files, what to try, and the kind.
        count: how many files are concerned.
        accepted: whether the user accepts this kind.
    """

    kind: str
    message: str
    count: int
    accepted: bool = False

    def as_json(self) -> dict[str, Any]:
        """The entry of a result file."""
        return asdict(self)
