"""Property of the reading plan: no drawn pair of folders is read wrong without a word."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.drawn_folders import Drawn, draw

import lossbench
from lossbench.errors import InputError, SettingError
from lossbench.results.result import Result

TOLERANCE = 1e-6
MOST_ASKED = 0.05  # of the draws that the files decide
LEAST_MIXED = 0.3
RIGHT = "right"
ODD = "odd"  # right, but for errors that name the files of another kind
DOUBTED = "doubted"  # wrong, with a doubt
ASKED = "asked"
REFUSED = "refused"  # errors of ordinary files
PASSED = (RIGHT, ODD, DOUBTED, ASKED, REFUSED)


@dataclass
class Verdict:
    """What became of a draw: one of PASSED, `wrong` or `crash`, and why."""

    drawn: Drawn
    outcome: str
    why: str = ""
    doubts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.outcome}: {self.drawn}\n      {self.why}"


def judge(drawn: Drawn) -> Verdict:
    """Evaluate a draw without settings, and compare with what its meaning says."""
    try:
        result = lossbench.evaluate(drawn.folders["pred"], drawn.folders["target"], drawn.losses)
    except SettingError as error:
        return Verdict(drawn, ASKED, str(error))
    except InputError as error:
        return Verdict(drawn, REFUSED, str(error))
    except Exception as error:
        return Verdict(drawn, "crash", f"{type(error).__name__}: {error}")
    if faults := [each.message for each in result.failed if "fault of lossbench" in each.message]:
        return Verdict(drawn, "crash", faults[0])
    doubts = tuple(each.kind for each in result.doubts)
    difference = find_difference(drawn, result)
    if difference:
        why = f"{difference}; plan: {result.run['plan']['text']}"
        return Verdict(drawn, DOUBTED if doubts else "wrong", why, doubts)
    if not result.failed:
        return Verdict(drawn, RIGHT, doubts=doubts)
    failed = {each.id for each in result.failed}
    is_odd = failed <= set(drawn.odd) or (drawn.odd and len(drawn.expected) == 2 > len(failed))
    return Verdict(drawn, ODD if is_odd else REFUSED, result.failed[0].message, doubts)


def find_difference(drawn: Drawn, result: Result) -> str:
    """The first number that is not what the meaning says, or the id that is nowhere; else ""."""
    failed = {each.id for each in result.failed}
    if lost := set(drawn.expected) - set(result.ids) - failed:
        return f"{', '.join(sorted(lost))} dropped"
    compared = 0
    for name, values in result.values.items():
        for row, id in enumerate(result.ids):
            expected = drawn.expected[id].get(name)
            if expected is None or id in failed:
                continue
            compared += 1
            numbers = {"": values.samples[row]}
            if values.classes:
                columns = zip(result.class_names, values.classes, strict=True)
                numbers |= {label: column[row] for label, column in columns}
            for label in {"", *numbers} if len(drawn.names) > 2 else {""}:
                number, right = numbers[label], expected.get(label, math.nan)
                if not _equal(number, right):
                    return f"{name}[{label}] of {id} is {number:.7g}, {right:.7g} is right"
    if not compared and len(failed) < len(drawn.expected):
        return f"none of {', '.join(result.values)} belongs to the meaning"
    return ""


def _equal(number: float, right: float) -> bool:
    if math.isnan(number) or math.isnan(right):
        return math.isnan(number) and math.isnan(right)
    return math.isclose(number, right, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def summary(verdicts: Iterable[Verdict]) -> str:
    """Outcomes by kind of draw, one line each."""
    table: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        table.setdefault(verdict.drawn.kind, Counter())[verdict.outcome] += 1
    columns = (*PASSED, "wrong", "crash")
    lines = [f"{'':44}" + "".join(f"{column:>9}" for column in columns)]
    for kind, counts in sorted(table.items()):
        lines.append(f"{kind:44}" + "".join(f"{counts[column]:9}" for column in columns))
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("first", "count"), [(0, 600), pytest.param(600, 4400, marks=pytest.mark.slow)]
)
def test_no_drawn_folder_is_read_wrong_without_a_word(
    first: int, count: int, tmp_path: Path
) -> None:
    verdicts = [judge(draw(index, tmp_path)) for index in range(first, first + count)]
    print(summary(verdicts))
    wrong = [str(verdict) for verdict in verdicts if verdict.outcome not in PASSED]
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:20])
    decided = [verdict for verdict in verdicts if not verdict.drawn.undecided]
    asked = [verdict for verdict in decided if verdict.outcome in (ASKED, REFUSED)]
    print(f"{len(asked)} of {len(decided)} draws that the files decide were asked about or refused")
    assert len(asked) <= MOST_ASKED * len(decided), "\n".join(map(str, asked[:20]))
    mixed = sum(bool(verdict.drawn.mixed) for verdict in verdicts)
    assert mixed >= LEAST_MIXED * count
