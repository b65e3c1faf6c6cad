"""What a file was when it was read: where it is, how large, and when it was last changed."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lossbench.data.pairing import Pair


def stamp(pairs: Sequence[Pair]) -> bytes:
    """A line for each file of some pairs, the same as long as none of them changes."""
    return "".join(
        f"{role}\0{source}\0{_state(source)}\n"
        for pair in pairs
        for role, sources in pair.sources.items()
        for source in sources
    ).encode(errors="surrogatepass")


def _state(source: str) -> str:
    try:
        found = os.stat(source)
    except OSError:
        return "absent"
    return f"{found.st_size} {found.st_mtime_ns}"
