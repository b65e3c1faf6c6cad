"""Tables for people: the worst samples first, then what all of them aggregate to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lossbench.errors import printable
from lossbench.output.sections import TOP, Section, gate_lines, sections
from lossbench.results import Result


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


def _table(section: Section) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, heading in enumerate(section.headings):
        name = Text(printable(heading))
        table.add_column(name, justify="right" if place else "left", overflow="fold")
    for row in section.rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


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
    from io import StringIO

    from rich.console import Console
    from rich.text import Text

    target = StringIO()
    console = Console(
        file=target,
        width=width or 10_000,
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
    return "".join(f"{line.rstrip()}\n" for line in target.getvalue().splitlines())
