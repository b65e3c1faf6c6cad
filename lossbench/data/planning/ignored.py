"""The values whose pixels are left out: labels, ranges of them, colours, nodata, and NaN."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from lossbench.data.planning.classes import COLOUR
from lossbench.data.planning.vocabulary import STORED_NUMBER
from lossbench.errors import SettingError
from lossbench.runtime.array_types import AnyArray

Range = tuple[float, float]
Ranges = tuple[Range, ...]  # of stored values, both ends included
NAN = (1, 0)  # the range that stands for NaN, and has no number
RANGE = re.compile(rf"({STORED_NUMBER})(?:\s*-\s*({STORED_NUMBER}))?")
ROUNDED = 1e-6  # relative difference by which a number that is no whole one may be written
# Numbers that programs write where nothing was measured; numbers from HUGE on are others of them.
NODATA = (-999, -9999, -99999, -32768, -32767, -(2**31))
HUGE = 1e19


def parse_ignore(setting: Any) -> Ranges | None:
    """The ranges of a setting; None where it is absent.

    Items are `none`, a number, a range "250-255", a colour "#000000", or nan.

    Raises:
        SettingError: an item is none of these.
    """
    if setting is None:
        return None
    ranges = (_parse_item(item) for item in _items(setting))
    return tuple(each for each in ranges if each is not None)


def colour_of(setting: Any) -> str | None:
    """A colour that a setting ignores, if any."""
    return next(filter(COLOUR.fullmatch, _items(setting)), None)


def describe_ranges(ranges: Ranges, *, colours: bool) -> str:
    """Ranges for people."""

    def shown(number: float) -> str:
        return f"#{number:06x}" if colours and isinstance(number, int) else f"{number}"

    ends = (("nan",) if each == NAN else map(shown, dict.fromkeys(each)) for each in ranges)
    return ", ".join(map("-".join, ends))


def bounds(ends: Range) -> Range:
    """The ends of a range, wider by what rounding takes from numbers that are no whole ones."""
    low, high = (0.0 if isinstance(end, int) or math.isinf(end) else end for end in ends)
    return ends[0] - abs(low) * ROUNDED, ends[1] + abs(high) * ROUNDED


def are_inside(numbers: AnyArray, ranges: Ranges) -> AnyArray:
    """Which numbers are in one of the ranges."""
    inside = np.zeros(numbers.shape, np.bool_)
    is_float = numbers.dtype.kind == "f"
    for low, high in map(bounds, ranges):
        ends = (np.float64(low), np.float64(high)) if is_float else (low, high)
        inside |= (numbers >= ends[0]) & (numbers <= ends[1])
    if is_float and NAN in ranges:
        inside |= np.isnan(numbers)
    return inside


def beyond_labels(ranges: Ranges) -> Ranges:
    """The ranges of numbers that cannot be labels: nodata."""
    return tuple(
        each
        for each in ranges
        if each != NAN and (each[0] < 0 or each[1] >= 1 << 16 or isinstance(each[0], float))
    )


def undefined_in(numbers: AnyArray) -> str:
    """The numbers that are not finite, as `--ignore` takes them."""
    kinds = {"nan": np.isnan(numbers), "inf": numbers == np.inf, "-inf": numbers == -np.inf}
    return ",".join(name for name, where in kinds.items() if where.any())


def nodata_in(numbers: AnyArray) -> float | None:
    """A number that stands where nothing was measured: a usual one, far from all others."""
    if numbers.dtype.kind not in "fi" or not numbers.size:
        return None
    extremes = numbers.min(), numbers.max()
    if not any(each in NODATA or abs(each) >= HUGE for each in map(float, extremes)):
        return None
    finite = numbers[np.isfinite(numbers)].astype(np.float64)
    for value in dict.fromkeys((finite.min(initial=0), finite.max(initial=0))):
        others = finite[finite != value]
        far = np.abs(others - value).min(initial=np.inf)
        spread = np.ptp(others) if others.size else 0.0
        if (value in NODATA or abs(value) >= HUGE) and far > spread:
            return float(value)
    return None


def _items(setting: Any) -> list[str]:
    if setting is None:
        return []
    items = setting if isinstance(setting, list | tuple) else str(setting).split(",")
    return [str(item).strip() for item in items]


def _parse_item(item: str) -> Range | None:
    """The range of one item; None for `none`."""
    if item.lower() == "none":
        return None
    if item.lower() in ("nan", ".nan"):
        return NAN
    if colour := COLOUR.fullmatch(item):
        return int(colour[1], 16), int(colour[1], 16)
    match = RANGE.fullmatch(item.lower())
    low, high = map(_number, (match[1], match[2] or match[1])) if match else (1, 0)
    if low > high:
        raise SettingError(
            f"ignore {item!r}: expected a number such as 255 or -9999, a range such as 250-255, a"
            " colour such as '#000000', nan, inf, or none"
        )
    return low, high


def _number(text: str) -> float:
    """A number; whole ones are exact."""
    number = float(text.replace(".inf", "inf"))  # as YAML writes it
    is_whole = number.is_integer() and abs(number) < 1 << 53
    return int(number) if is_whole else number
