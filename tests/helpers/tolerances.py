"""How far a number may be from its reference, and the comparison that applies it."""

from __future__ import annotations

from typing import Any

import numpy as np

REFERENCE = 1e-6  # to an independent reference, relative from 1 upwards
SINGLE = 1e-5  # to a reference that computes in float32
TABLES = 1e-12  # between tables of counts and the pixels that they stand for


def check_close(found: Any, wanted: Any, tolerance: float, what: Any = "") -> None:
    """|a − b| <= tolerance·max(1, |b|) everywhere; undefined in the same places."""
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    assert found.shape == wanted.shape, (what, found.shape, wanted.shape)
    with np.errstate(invalid="ignore"):  # infinities, which are told by being equal
        apart = np.abs(found - wanted) > tolerance * np.maximum(1, np.abs(wanted))
    unbounded = (np.isinf(found) | np.isinf(wanted)) & (found != wanted)
    wrong = (np.isnan(found) != np.isnan(wanted)) | apart | unbounded
    assert not wrong.any(), f"{what}: found {found[wrong]}, wanted {wanted[wrong]}"
