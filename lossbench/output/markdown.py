"""Markdown for pull requests and wikis."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lossbench.errors import printable
from lossbench.output.comparison import comparison_sections
from lossbench.output.sections import (
    TOP,
    Section,
    doubt_lines,
    gate_lines,
    result_sections,
    table_sections,
)
from lossbench.output.stress_sections import stress_sections
from lossbench.output.trend import LAST, trend_sections
from lossbench.results.comparison import Comparison
from lossbench.results.result import Result

if TYPE_CHECKING:
    from lossbench.results.trend import Trend

MARKUP = re.compile(r"([\\`*_\[\]<>|~&#$])")
LISTED_ERRORS = 50


def render_result(
    result: Result,
    *,
    top: int | None = TOP,
    sort: str | None = None,
    per_class: bool | None = None,
) -> str:
    """The plan, gates, doubts, errors, then tables; options as for `result_sections`."""
    plan = result.run.get("plan", {}).get("text")
    errors = [each.message for each in result.failed]
    if (more := len(errors) - LISTED_ERRORS) > 0:
        errors[LISTED_ERRORS:] = [f"… and {more:,} more"]
    lines = [
        *([escaped(plan), ""] if plan else []),
        *_list("Gates", gate_lines(result.decisions)),
        *_list("Doubts", doubt_lines(result)),
        *_list("Errors", errors),
    ]
    return _document(lines, result_sections(result, top, sort, per_class))


def render_comparison(
    comparison: Comparison, *, top: int | None = TOP, sort: str | None = None
) -> str:
    """Notes, gates, then tables; options as for `comparison_sections`."""
    lines = [*_list("", comparison.notes), *_list("Gates", gate_lines(comparison.decisions))]
    return _document(lines, comparison_sections(comparison, top, sort))


def render_inspection(inspection: Any) -> str:
    """The tables of an inspection."""
    return _document((), table_sections(inspection))


def render_trend(trend: Trend, *, last: int | None = LAST) -> str:
    """Notes, then tables; options as for `trend_sections`."""
    return _document(_list("", trend.notes), trend_sections(trend, last))


def render_stress(stress: Any) -> str:
    """The answer about predictions and the notes, then the tables of answers to damages."""
    lines = [*_list("", [each for each in (stress.answer, *stress.notes) if each])]
    return _document(lines, stress_sections(stress))


def _document(lines: Iterable[str], tables: Iterable[Section]) -> str:
    rows = (line for section in tables for line in _table(section))
    return "\n".join(["## lossbench", "", *lines, *rows])


def _table(section: Section) -> Iterator[str]:
    """A table under its title, followed by an empty line."""
    yield from [f"### {escaped(section.title)}", ""] if section.title else []
    yield _row(map(escaped, section.headings))
    yield _row("---" if i in section.left else "---:" for i in range(len(section.headings)))
    yield from (_row(map(escaped, row)) for row in section.rows)
    yield ""


def _list(title: str, items: Sequence[str]) -> Iterator[str]:
    """A list under its title, followed by an empty line; nothing if the list is empty."""
    if items:
        yield from [f"### {title}", ""] if title else []
        yield from (f"- {escaped(item)}" for item in items)
        yield ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """A text in which no renderer finds markup."""
    return MARKUP.sub(r"\\\1", printable(text.strip()))
