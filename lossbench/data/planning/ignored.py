"""The values whose pixels are left out: labels, ranges of them, colours, and NaN."""

from __future__ import annotations

import re
from typing import Any

from lossbench.data.planning.classes import COLOUR
from lossbench.errors import SettingError

Ranges = tuple[tuple[int, int], ...]  # of stored values, both ends included
NAN = (1, 0)  # the range that stands for NaN, and has no number
RANGE = re.compile(r"(-?\d+)(?:\s*-\s*(-?\d+))?")


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
    form = "#{:06x}" if colours else "{}"
    ends = (("nan",) if each == NAN else map(form.format, dict.fromkeys(each)) for each in ranges)
    return ", ".join(map("-".join, ends))


def _items(setting: Any) -> list[str]:
    if setting is None:
        return []
    items = setting if isinstance(setting, list | tuple) else str(setting).split(",")
    return [str(item).strip() for item in items]


def _parse_item(item: str) -> tuple[int, int] | None:
    """The range of one item; None for `none`."""
    if item.lower() == "none":
        return None
    if item.lower() in ("nan", ".nan"):
        return NAN
    if colour := COLOUR.fullmatch(item):
        return int(colour[1], 16), int(colour[1], 16)
    match = RANGE.fullmatch(item)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if low > high:
        raise SettingError(
            f"ignore {item!r}: expected a label, a range such as 250-255, a colour such as"
            " '#000000', nan, or none"
        )
    return low, high
