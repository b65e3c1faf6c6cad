"""The range of a column: the ends between which its values lie, as its options move them."""

from __future__ import annotations

import math
from typing import Any

from lossbench.catalog.columns import Column, Term
from lossbench.catalog.grammar import ARITHMETIC, fold

Range = tuple[float, float]
UNKNOWN: Range = (-math.inf, math.inf)


def value_range(column: Column, *, of_class: bool = False) -> Range:
    """The ends of a column, or of its class columns; infinite where there is no end."""
    low, high = fold(column.node, lambda term: _of_term(term, of_class), _joined)
    return low, high


def _of_term(term: Term, of_class: bool) -> Range:
    options = term.known
    if options.get("over") == "all" or options.get("power", 2) > 2 or _is_uneven(term):
        return UNKNOWN
    low, high = _of_coefficient(term.entry.range, options)
    if isinstance(cap := options.get("cap"), int | float):
        high = min(high, cap)
    ends = _with((low, high), options.get("absent"))
    sums = ("reduction",) if of_class else ("reduction", "class_reduction")
    if any(options.get(name) == "sum" for name in sums):
        ends = summed(ends)
    ends = _with(ends, options.get("empty"))
    exponent = 1 if of_class else options.get("exponent", 1)
    low, high = (end and math.copysign(abs(end) ** exponent, end) for end in ends)
    return _with((low, high), options.get("empty"))


def _is_uneven(term: Term) -> bool:
    """Whether an overlap may exceed both areas, of which the stated range knows nothing."""
    options = term.known
    squared = options.get("squared", False) is not False and "intersection" in options
    weighted = options.get("alpha") != options.get("beta")
    return squared and (weighted or options["intersection"] != "product")


def _of_coefficient(ends: Range, options: dict[str, Any]) -> Range:
    """The range of 1 − c, −log c or −c of a coefficient c, from that of 1 − c."""
    low, high = ends
    parts = [options.get(name) for name in ("smooth_nr", "smooth_dr")]
    numerator, denominator = (options.get("smooth", 0) if x is None else x for x in parts)
    if numerator > denominator:  # c is larger than 1
        low = -math.inf
    if options.get("negative") is True:
        return low - 1, high - 1
    return (low, math.inf) if options.get("log") is True else (low, high)


def summed(ends: Range) -> Range:
    """The range of a sum of one value or more."""
    low, high = ends
    return low if low >= 0 else -math.inf, high if high <= 0 else math.inf


def _with(ends: Range, number: Any) -> Range:
    """The range that also has a number; an option may be a word or None in its place."""
    if isinstance(number, str) or number is None:
        return ends
    return min(ends[0], number), max(ends[1], number)


def _joined(op: str, left: Any, right: Any) -> Any:
    """The range of an operation; plain numbers stay numbers."""
    ranges = [each if isinstance(each, tuple) else (each, each) for each in (left, right)]
    if not isinstance(left, tuple) and not isinstance(right, tuple):
        return ARITHMETIC[op](left, right)
    if op == "/" and ranges[1][0] <= 0 <= ranges[1][1]:
        return UNKNOWN
    corners = [ARITHMETIC[op](one, other) for one in ranges[0] for other in ranges[1]]
    # 0 times infinity is 0; infinity less infinity is no corner, for both are one end.
    known = [0.0 if math.isnan(each) else each for each in corners if op in "*/" or each == each]
    return min(known), max(known)
