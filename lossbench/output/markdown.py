"""A report for pull requests and wikis: tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lossbench.errors import printable
from lossbench.output.sections import TOP, Section, gate_lines, sections
from lossbench.results.result import Result

MARKUP = re.compile(r"([\\`*_\[\]<>|~&#$])")
MOST_ERRORS = 50


def render_markdown(
    result: Result,
    *,
    top: int | None = TOP,
    sort: str | None = None,
    per_class: bool | None = None,
) -> str:
    """Gates, errors, the worst samples, then aggregates.

    Args:
        result: what a run found.
        top: how many samples to show, None for all of them, 0 for none.
        sort: the column that orders them, the first by default; the worst come first.
        per_class: add a table with the mean of each class.
    """
    return "\n".join(_lines(result, sections(result, top, sort, per_class)))


def _lines(result: Result, tables: Iterator[Section]) -> Iterator[str]:
    plan = result.run.get("plan", {}).get("text")
    yield "## lossbench"
    yield ""
    if plan:
        yield escaped(plan)
        yield ""
    if result.decisions:
        yield from _list("Gates", gate_lines(result))
    if result.failed:
        shown = [each.message for each in result.failed[:MOST_ERRORS]]
        more = len(result.failed) - len(shown)
        yield from _list("Errors", [*shown, *([f"… and {more:,} more"] if more else [])])
    for section in tables:
        yield from table_lines(section)


def table_lines(section: Section) -> Iterator[str]:
    """A table with its title above it and a line without text below."""
    yield f"### {escaped(section.title)}"
    yield ""
    yield _row(section.headings)
    yield _row(["---", *["---:"] * (len(section.headings) - 1)], raw=True)
    yield from (_row(row) for row in section.rows)
    yield ""


def _list(title: str, items: Sequence[str]) -> Iterator[str]:
    yield f"### {title}"
    yield ""
    yield from (f"- {escaped(item)}" for item in items)
    yield ""


def _row(cells: Sequence[str], raw: bool = False) -> str:
    return f"| {' | '.join(cells if raw else map(escaped, cells))} |"


def escaped(text: str) -> str:
    """A text that no renderer takes for markup."""
    return MARKUP.sub(r"\\\1", printable(text.strip()))
