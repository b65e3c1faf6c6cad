"""Tables for people: the worst samples first, then what all of them aggregate to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lossbench.errors import printable
from lossbench.output.sections import TOP, Section, gate_lines, sections
from lossbench.results.result import Result

GAP = "   "  # between columns
WIDE = 10_000  # columns, where a terminal's are not known


def render_table(
    result: Result,
    *,
    top: int | None = TOP,
    sort: str | None = None,
    per_class: bool | None = None,
    width: int | None = None,
    color: bool = False,
) -> str:
    """A result as tables.

    Args:
        result: what a run found.
        top: how many samples to show, None for all of them, 0 for none.
        sort: the column that orders them, the first by default; the worst come first.
        per_class: add a table with the mean of each class.
        width: columns of the terminal; None for as many as the widest row needs.
        color: whether to style the text for a terminal.
    """
    lines = gate_lines(result)
    tables = sections(result, top, sort, per_class)
    return print_sections(tables, ["gates", *lines] if lines else [], width=width, color=color)


def render_text(
    result: Result,
    *,
    top: int | None = TOP,
    sort: str | None = None,
    per_class: bool | None = None,
) -> str:
    """A result as the tables that are printed where there is no terminal.

    Args:
        result: what a run found.
        top: how many samples to show, None for all of them, 0 for none.
        sort: the column that orders them, the first by default; the worst come first.
        per_class: add a table with the mean of each class.
    """
    return render_table(result, top=top, sort=sort, per_class=per_class)


def print_sections(
    tables: Iterable[Section],
    lines: Sequence[str] = (),
    *,
    width: int | None = None,
    color: bool = False,
) -> str:
    """Tables one below the other, then lines of text.

    Args:
        tables: each with its title above it.
        lines: what follows them, the first as a heading.
        width: columns of the terminal; None for as many as the widest row needs.
        color: whether to style the text for a terminal.
    """
    alone = width is None and not color
    text = _plain(tables, lines) if alone else _styled(tables, lines, width or WIDE, color)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _plain(tables: Iterable[Section], lines: Sequence[str]) -> str:
    """What rich makes of it where there is room, without the quarter of a second it may take."""
    blocks = ["\n".join([section.title, *_drawn(_cells(section))]) for section in tables]
    return "\n\n".join([*blocks, *(["\n".join(lines)] if lines else [])])


def _drawn(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of cells, the first of them headings; names on the left, numbers on the right."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        blanks = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        (name, after), *numbers = zip(row, blanks, strict=True)
        yield GAP.join([name + after, *(before + cell for cell, before in numbers)])
        if number == 0:
            yield "─" * (sum(widths) + len(GAP) * (len(widths) - 1))


def _styled(tables: Iterable[Section], lines: Sequence[str], width: int, color: bool) -> str:
    """For a terminal: cells that have no room are folded."""
    from io import StringIO

    from rich.console import Console
    from rich.text import Text

    target = StringIO()
    console = Console(
        file=target,
        width=width,
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        legacy_windows=False,
    )
    for place, section in enumerate(tables):
        if place:
            console.print()
        console.print(Text(section.title, style="bold"), soft_wrap=True)
        console.print(_table(section))
    if lines:
        console.print()
    for line in lines:
        style = {"✓": "green", "✗": "bold red", "⚠": "yellow"}.get(line[0], "bold")
        console.print(Text(line, style=style), soft_wrap=True)
    return target.getvalue()


def _table(section: Section) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    headings, *rows = _cells(section)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(Text(heading), justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _cells(section: Section) -> list[list[str]]:
    """The headings and the rows, with nothing in them that steers a terminal."""
    return [[printable(cell) for cell in row] for row in (section.headings, *section.rows)]
