"""Tables for people, on a terminal or as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from operator import gt
from typing import TYPE_CHECKING, Any

from lossbench.errors import ASCII, printable
from lossbench.output.sections import (
    TOP,
    UNDEFINED,
    Section,
    gate_lines,
    screen_sections,
    table_sections,
    verdict_line,
)
from lossbench.output.threshold_sections import threshold_sections
from lossbench.output.trend import LAST, trend_sections
from lossbench.results.result import Result

if TYPE_CHECKING:
    from lossbench.results.comparison import Comparison
    from lossbench.results.trend import Trend

GAP = "   "  # between columns
WIDTH = 110  # of tables of text that no terminal limits
NARROW = 80  # the same of damages
NARROWEST = 10  # a name is not folded to fewer columns than this
READABLE = 20  # columns that a name keeps; below that, further columns go below
ONE_COLUMN = re.compile("[ -˿–—←-⇿▀-▟]*")  # characters that take one column each
WORD_ENDS = re.compile(" (?![↓↑])")  # an arrow stays beside the name of its loss
PART_ENDS = re.compile(r"[/_,=(-]")
BOLD = "1"
STYLES = {"✓": "32", "✗": "1;31", "⚠": "33"}  # of a line by its first character: SGR codes
VERDICTS = {"passed: ": "32", "failed: ": "1;31"}


def render_result(
    result: Result,
    *,
    top: int | None = TOP,
    sort: str | None = None,
    per_class: bool | None = None,
    aggregates: Sequence[str] = (),
    width: int | None = None,
    color: bool = False,
    ascii: bool = False,
) -> str:
    """A row for each loss, worst samples, then gates with the verdict.

    Options are those of `screen_sections` and `render_sections`.
    """
    gates = gate_lines(result.decisions)
    lines = ["gates", *gates, verdict_line(result)] if gates else []
    names = (aggregates,) if isinstance(aggregates, str) else aggregates
    tables = screen_sections(result, top, sort, per_class, names)
    return render_sections(tables, lines, width=width, color=color, ascii=ascii)


def render_comparison(
    comparison: Comparison,
    *,
    top: int | None = TOP,
    sort: str | None = None,
    width: int | None = None,
    color: bool = False,
    ascii: bool = False,
) -> str:
    """The tables of a comparison; options of `comparison_sections` and `render_sections`."""
    from lossbench.output.comparison import comparison_sections

    gates = gate_lines(comparison.decisions)
    lines = ["gates", *gates] if gates else []
    tables = comparison_sections(comparison, top, sort)
    return render_sections(tables, lines, width=width, color=color, ascii=ascii)


def render_trend(
    trend: Trend,
    *,
    last: int | None = LAST,
    width: int | None = None,
    color: bool = False,
    ascii: bool = False,
) -> str:
    """The tables of a trend; options of `trend_sections` and `render_sections`."""
    return render_sections(trend_sections(trend, last), width=width, color=color, ascii=ascii)


def render_speed(
    report: Any, *, width: int | None = None, color: bool = False, ascii: bool = False
) -> str:
    """The tables of a speed report; options of `render_sections`."""
    tables = [
        Section(title, headings, [[cell or UNDEFINED for cell in row] for row in rows])
        for title, headings, rows in (table.as_text() for table in report.tables)
    ]
    return render_sections(tables, width=width, color=color, ascii=ascii)


def render_inspection(
    inspection: Any, *, width: int | None = None, color: bool = False, ascii: bool = False
) -> str:
    """The tables of an inspection; options of `render_sections`."""
    tables = table_sections(inspection)
    return render_sections(tables, width=width or WIDTH, color=color, ascii=ascii)


def render_thresholds(
    thresholds: Any,
    *,
    blocks: bool = False,
    width: int | None = None,
    color: bool = False,
    ascii: bool = False,
) -> str:
    """The tables of thresholds; options of `render_sections`.

    Args:
        thresholds: what `lossbench.thresholds` returns.
        blocks: draw curves and frequencies with block characters, unless `ascii`.
        width: as for `render_sections`, like the others.
        color: likewise.
        ascii: likewise.
    """
    tables, lines = threshold_sections(thresholds, with_blocks=blocks and not ascii)
    return render_sections(tables, lines, width=width, color=color, ascii=ascii)


def render_stress(
    stress: Any, *, width: int | None = None, color: bool = False, ascii: bool = False
) -> str:
    """The tables of answers to damages; options of `render_sections`."""
    from lossbench.output.stress_sections import stress_sections

    lines = stress.answer.split("; ") if stress.answer else []
    tables = stress_sections(stress)
    return render_sections(tables, lines, width=width or NARROW, color=color, ascii=ascii)


def render_sections(
    sections: Iterable[Section],
    lines: Sequence[str] = (),
    *,
    width: int | None = None,
    color: bool = False,
    ascii: bool = False,
) -> str:
    """Tables one below the other, then lines of text.

    Args:
        sections: the tables.
        lines: text below the tables, of which the first line is a heading.
        width: columns of the terminal; None for as many as the widest row needs.
        color: whether to style the text for a terminal.
        ascii: whether arrows, lines and signs become ASCII.
    """

    def styled(line: str, style: str = BOLD) -> str:
        return f"\x1b[{style}m{line}\x1b[0m" if color else line

    blocks = []
    for section in sections:
        title = [printable(section.title)] if section.title else []
        for part in _parts_that_fit(section, width):
            headings, *rows = (
                [printable(cell) for cell in row] for row in (part.headings, *part.rows)
            )
            widths = _column_widths(headings, rows, part.left, width)
            draw = partial(_row_lines, widths=widths, left=part.left)
            bold = map(styled, [*title, *draw(headings, bottom=True)])
            rule = "─" * _table_width(widths)
            blocks.append([*bold, rule, *(line for row in rows for line in draw(row))])
            title = []
    if lines:
        blocks.append([styled(line, _style(line)) for line in map(printable, lines)])
    text = "\n".join("".join(f"{line}\n" for line in block) for block in blocks)
    return text.translate(ASCII) if ascii else text


def _style(line: str) -> str:
    """The style of a line of text, by how it begins."""
    verdict = next((style for word, style in VERDICTS.items() if line.startswith(word)), BOLD)
    return STYLES.get(line[0], verdict)


def _parts_that_fit(section: Section, limit: int | None) -> Iterator[Section]:
    """Tables of some columns each, no wider than the limit; each begins with the first column."""
    if limit is None:
        yield section
        return
    least = [
        _least_width(printable(heading), [printable(row[index]) for row in section.rows],
                     is_name=index in section.left)
        for index, heading in enumerate(section.headings)
    ]  # fmt: skip
    parts = [[0]]
    for index in range(1, len(least)):
        part = [*parts[-1], index]
        if len(part) > 2 and _table_width([least[each] for each in part]) > limit:
            part = [0, index]
            parts.append(part)
        parts[-1] = part
    for part in parts:
        yield Section(
            section.title,
            [section.headings[index] for index in part],
            [[row[index] for index in part] for row in section.rows],
            [place for place, index in enumerate(part) if index in section.left],
        )


def _least_width(heading: str, cells: Sequence[str], *, is_name: bool) -> int:
    """The columns that keep numbers whole, and names and words of a heading readable."""
    if is_name:
        return min(max(map(_width, (heading, *cells))), READABLE)
    return max(map(_width, (*WORD_ENDS.split(heading), *cells)))


def _column_widths(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: Sequence[int],
    limit: int | None,
) -> list[int]:
    """The width of each column, the widest ones narrowed until the table fits.

    Headings and names may be folded, other cells never: a number may exceed the limit.
    """
    columns = [[row[index] for row in rows] for index in range(len(headings))]
    widths = [max(map(_width, (name, *of))) for name, of in zip(headings, columns, strict=True)]
    if limit is None:
        return widths
    readable = [
        _least_width(heading, column, is_name=index in left)
        for index, (heading, column) in enumerate(zip(headings, columns, strict=True))
    ]
    smallest = [
        NARROWEST if index in left else max(map(_width, column), default=0)
        for index, column in enumerate(columns)
    ]
    for floor in (readable, smallest):
        while _table_width(widths) > limit and any(map(gt, widths, floor)):
            _, index = max((widths[i], i) for i in range(len(widths)) if widths[i] > floor[i])
            widths[index] -= 1
    return widths


def _table_width(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _row_lines(
    row: Sequence[str], widths: Sequence[int], left: Sequence[int], bottom: bool = False
) -> Iterator[str]:
    """The lines of one row: long cells are folded, short ones end at the top or bottom."""
    folded = [_fold(cell, width) for cell, width in zip(row, widths, strict=True)]
    height = max(map(len, folded))
    for index in range(height):
        cells = []
        for column, (lines, width) in enumerate(zip(folded, widths, strict=True)):
            at = index - height + len(lines) if bottom else index
            text = lines[at] if 0 <= at < len(lines) else ""
            blanks = " " * (width - _width(text))
            cells.append(text + blanks if column in left else blanks + text)
        yield GAP.join(cells).rstrip()


def _fold(text: str, width: int) -> list[str]:
    """Lines that are no wider, broken at blanks or between parts of a name if possible."""
    lines = []
    while _width(text) > width:
        cut = width
        while cut > 1 and _width(text[:cut]) > width:
            cut -= 1
        part_ends = [match.end() for match in PART_ENDS.finditer(text, cut // 2, cut)]
        cut = max(text.rfind(" ", 0, cut + 1), 0) or max(part_ends, default=cut)
        lines.append(text[:cut])
        text = text[cut:].lstrip(" ")
    return [*lines, text]


def _width(text: str) -> int:
    """The columns of a terminal that a text takes."""
    if ONE_COLUMN.fullmatch(text):
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
