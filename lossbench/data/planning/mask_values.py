"""The stored values that count in the masks of valid and of ignored pixels."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lossbench.data.pairing.pairs import Pairs
from lossbench.data.planning.evidence import examine
from lossbench.data.planning.ignored import Ranges, are_inside, parse_ignore
from lossbench.data.planning.vocabulary import MASKS
from lossbench.errors import SettingError, mismatch
from lossbench.runtime.array_types import AnyArray, BoolArray

WITH_VALUES = re.compile(r"(?P<folder>.+)@(?P<values>\d+(-\d+)?(,\d+(-\d+)?)*)")
MaskValues = tuple[str, Ranges, bool]  # role, values, and whether the user gave them


def split_values(role: str, folder: Any) -> tuple[Any, Ranges]:
    """The folder of a further input, and the values that count, where it is given as DIR@1,255."""
    match = WITH_VALUES.fullmatch(os.fspath(folder)) if isinstance(folder, str) else None
    if match is None or role not in MASKS or os.path.exists(folder):
        return folder, ()
    return match["folder"], parse_ignore(match["values"]) or ()


def find_mask_values(
    roles: Iterable[str], inputs: Mapping[str, Any], pairs: Pairs
) -> tuple[MaskValues, ...]:
    """The values that count in the masks of each role: those of the user, else the one beside 0.

    Raises:
        SettingError: a sample of the masks holds several values beside 0.
    """
    found = list[MaskValues]()
    for role in roles:
        folder, ranges = split_values(role, inputs.get(role))
        probe = None if ranges else examine(pairs, role)
        values = sorted(probe.values - {0}) if probe else []
        if probe and (len(values) > 1 or not probe.whole):
            shown = ", ".join(map(str, values[-3:])) if probe.whole else f"{probe.high:g}"
            raise SettingError(
                f"{role} masks hold several values beside 0, such as {shown}: say which count,"
                f" {_way_out(role, folder, values)}"
            )
        found.append((role, ranges or tuple((value, value) for value in values), bool(ranges)))
    return tuple(found)


def counting(stored: AnyArray, role: str, values: Iterable[MaskValues]) -> BoolArray:
    """Where a mask counts.

    Raises:
        InputError: it holds further values, and the user did not say which count.
    """
    ranges, given = next(((r, given) for name, r, given in values if name == role), ((), False))
    counts: BoolArray = stored != 0
    if stored.dtype == np.bool_ or not ranges:
        return counts
    inside: BoolArray = are_inside(stored, ranges)
    if not given and (strange := stored[~inside & counts]).size:
        raise mismatch(
            f"holds {strange[0]} where {role} masks hold 0 and {ranges[0][0]}; say which values"
            f" count, {_way_out(role, None, [ranges[0][0]])}",
            role,
        )
    return inside


def _way_out(role: str, folder: Any, values: Sequence[float]) -> str:
    """An example of the setting."""
    example = values[-1] if values else 1
    return f"such as --input '{role}={folder if isinstance(folder, str) else 'DIR'}@{example}'"
