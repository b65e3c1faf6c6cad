"""Annotations of GitHub workflows: lines on stdout that mark files and gates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lossbench.errors import counted
from lossbench.results.change_gates import Decision
from lossbench.results.comparison import Comparison
from lossbench.results.result import Result

IN_TEXT = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
IN_PROPERTY = IN_TEXT | str.maketrans({":": "%3A", ",": "%2C"})


def render_result(result: Result) -> str:
    """One line for each failed gate, each doubt, each failed pair and each kind of skipped pair."""
    return "".join(_lines(result))


def render_comparison(comparison: Comparison) -> str:
    """One line for each failed gate, and one for each note."""
    notes = (_annotation("notice", note, title="comparison") for note in comparison.notes)
    return "".join([*_gates(comparison.decisions), *notes])


def _gates(decisions: Sequence[Decision]) -> Iterator[str]:
    for decision in decisions:
        if decision.failed:
            yield _annotation("error", str(decision), title="gate failed")
        elif not decision.passed:
            yield _annotation("warning", str(decision), title="gate missed")


def _lines(result: Result) -> Iterator[str]:
    yield from _gates(result.decisions)
    for doubt in result.doubts:
        if not doubt.accepted:
            level = "error" if result.strict else "warning"
            yield _annotation(level, doubt.message, title="doubt")
    for failed in result.failed:
        yield _annotation("error", failed.message, file=failed.file, title=f"{failed.kind} input")
    for kind in ("missing", "extra"):
        count = result.counts.get(kind, 0) - sum(each.kind == kind for each in result.failed)
        if count:
            message = f"{counted(count, 'pair')} {'is' if count == 1 else 'are'} not evaluated"
            yield _annotation("warning", message, title=f"{kind} files")


def _annotation(level: str, message: str, **properties: str | None) -> str:
    """A line with a workflow command, its special characters escaped."""
    listed = ",".join(
        f"{name}={value.translate(IN_PROPERTY)}" for name, value in properties.items() if value
    )
    return f"::{level} {listed}::{message.translate(IN_TEXT)}\n"
