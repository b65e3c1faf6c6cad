"""Tables for people, on a terminal or as plain text."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from operator import gt
from typing import Any

from lossbench.errors import printable
from lossbench.output.comparison import comparison_sections
from lossbench.output.sections import TOP, UNDEFINED, Section, gate_lines, result_sections
from lossbench.results.compare import Comparison
from lossbench.results.result import Result

GAP = "   "  # between columns
NARROWEST = 10  # a name is not folded to fewer columns than this
ONE_COLUMN = re.compile("[ -˿–—←-⇿]*")  # characters that take one column each
BOLD = "1"
STYLES = {"✓": "32", "✗": "1;31", "⚠": "33"}  # of a line by its first character: SGR codes


def render_result(
    result: Result,
    *,
    top: int | None = TOP,
    sort: str | None = None,
    per_class: bool | None = None,
    width: int | None = None,
    color: bool = False,
) -> str:
    """Worst samples, aggregates, then gates; options of `result_sections` and `render_sections`."""
    lines = gate_lines(result)
    tables = result_sections(result, top, sort, per_class)
    return render_sections(tables, ["gates", *lines] if lines else [], width=width, color=color)


def render_comparison(
    comparison: Comparison,
    *,
    top: int | None = TOP,
    sort: str | None = None,
    width: int | None = None,
    color: bool = False,
) -> str:
    """The tables of a comparison; options of `comparison_sections` and `render_sections`."""
    return render_sections(comparison_sections(comparison, top, sort), width=width, color=color)


def render_speed(report: Any, *, width: int | None = None, color: bool = False) -> str:
    """The tables of a speed report; options of `render_sections`."""
    tables = [
        Section(title, headings, [[cell or UNDEFINED for cell in row] for row in rows])
        for title, headings, rows in (table.as_text() for table in report.tables)
    ]
    return render_sections(tables, width=width, color=color)


def render_sections(
    sections: Iterable[Section],
    lines: Sequence[str] = (),
    *,
    width: int | None = None,
    color: bool = False,
) -> str:
    """Tables one below the other, then lines of text.

    Args:
        sections: the tables.
        lines: text below the tables, of which the first line is a heading.
        width: columns of the terminal; None for as many as the widest row needs.
        color: whether to style the text for a terminal.
    """

    def styled(line: str, style: str = BOLD) -> str:
        return f"\x1b[{style}m{line}\x1b[0m" if color else line

    blocks = []
    for section in sections:
        headings, *rows = (
            [printable(cell) for cell in row] for row in (section.headings, *section.rows)
        )
        widths = _column_widths(headings, rows, width)
        draw = partial(_row_lines, widths=widths, left=section.left)
        title = [printable(section.title)] if section.title else []
        bold = map(styled, [*title, *draw(headings, bottom=True)])
        rule = "─" * (sum(widths) + len(GAP) * (len(widths) - 1))
        blocks.append([*bold, rule, *(line for row in rows for line in draw(row))])
    if lines:
        blocks.append([styled(line, STYLES.get(line[0], BOLD)) for line in map(printable, lines)])
    return "\n".join("".join(f"{line}\n" for line in block) for block in blocks)


def _column_widths(
    headings: Sequence[str], rows: Sequence[Sequence[str]], limit: int | None
) -> list[int]:
    """The width of each column, the widest ones narrowed until the table fits.

    Headings and the names in the first column may be folded, other cells never: a table of many
    columns may exceed the limit.
    """
    needed = [max(map(_width, column)) for column in zip(*rows, strict=True)] or [0] * len(headings)
    widths = [max(pair) for pair in zip(map(_width, headings), needed, strict=True)]
    needed[0] = NARROWEST
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - (limit or sys.maxsize)
    while excess > 0 and any(map(gt, widths, needed)):
        _, index = max((widths[i], i) for i in range(len(widths)) if widths[i] > needed[i])
        widths[index] -= 1
        excess -= 1
    return widths


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
    """Lines that are no wider, broken at blanks if possible."""
    lines = []
    while _width(text) > width:
        cut = width
        while cut > 1 and _width(text[:cut]) > width:
            cut -= 1
        cut = max(text.rfind(" ", 0, cut + 1), 0) or cut
        lines.append(text[:cut])
        text = text[cut:].lstrip(" ")
    return [*lines, text]


def _width(text: str) -> int:
    """The columns of a terminal that a text takes."""
    if ONE_COLUMN.fullmatch(text):
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
