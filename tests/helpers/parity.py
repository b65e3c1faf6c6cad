"""Reference packages of the extra test-parity, imported when a test first uses them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest


@cache
def parity_module(name: str) -> Any:
    """A module of a reference package; skips the test where the package is not installed."""
    package = name.partition(".")[0]
    reason = f"{package} is not installed: pip install 'lossbench[test-parity]'"
    return pytest.importorskip(name, reason=reason)


def parity(module: str, name: str) -> Callable[..., Any]:
    """A function or class of a reference package, which is imported at its first call."""
    return lambda *values, **options: getattr(parity_module(module), name)(*values, **options)
