"""The tables of damages: what each loss sees, and how it responds to each level."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from lossbench.output.sections import ARROWS, UNDEFINED, Section, format_number

LISTED = 5  # damages that predictions look like
SMALLEST = 0.0005  # a response that is shown as 0


def stress_sections(stress: Any) -> Iterator[Section]:
    """What each loss sees, responses, and the damages that predictions look like."""
    names = list(stress.better)
    headings = [name + ARROWS[side] for name, side in stress.better.items()]
    kinds = list(dict.fromkeys(each.kind for each in stress.damages))
    of = f"{stress.images:,} of {stress.pairs:,} images"
    yield Section(
        f"what each loss sees · {stress.task} · {of}",
        ["damage", *headings],
        [[kind, *(stress.sees[name].get(kind, UNDEFINED) for name in names)] for kind in kinds],
        range(len(headings) + 1),
    )
    rows = [
        ["undamaged", *(format_number(stress.undamaged[name]) for name in names)],
        *(
            [f"{each.kind} {each.level:g}", *(format_response(each.responses[n]) for n in names)]
            for each in stress.damages
        ),
    ]
    if stress.predictions:
        rows.append(["predictions", *(format_number(stress.predictions[name]) for name in names)])
    yield Section(
        "change as a share of the way to the bad end (above 0: worse)",
        ["damage", *headings],
        rows,
    )
    if stress.alike:
        alike = [
            [each.text, f"{each.share:.1%}", *_values(stress, each, names)]
            for each in stress.alike[:LISTED]
        ]
        own = ["predictions", "", *(format_number(stress.predictions[name]) for name in names)]
        yield Section("your errors look like", ["damage", "alike", *headings], [own, *alike])


def _values(stress: Any, alike: Any, names: list[str]) -> Iterator[str]:
    """The values of the losses on one level of a damage."""
    damage = next(
        each for each in stress.damages if (each.kind, each.level) == (alike.kind, alike.level)
    )
    return (format_number(damage.values[name]) for name in names)


def format_response(value: float) -> str:
    """A response with three decimals."""
    if math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return "0" if abs(value) < SMALLEST else f"{value:.3f}"
