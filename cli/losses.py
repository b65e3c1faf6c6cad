"""`lossbench losses`: the catalogue."""

from __future__ import annotations

import textwrap
from itertools import groupby

import click

import lossbench

from .main import write

WIDTH = 80


@click.command("losses", epilog="Example: lossbench losses --family overlap")
@click.option(
    "--family",
    type=click.Choice(sorted({entry.family for entry in lossbench.list_losses()})),
    help="Only one family.",
)
def command(family: str | None) -> None:
    """List the losses and scores that can be named at --loss."""
    entries = lossbench.list_losses(family)
    width = max(len(entry.name) for entry in entries)
    lines = []
    for group, members in groupby(entries, key=lambda entry: entry.family):
        lines.append(group)
        for entry in members:
            arrow = {"lower": "↓", "higher": "↑", None: " "}[entry.better]
            also = f" (also {', '.join(entry.aliases)})" if entry.aliases else ""
            text = f"  {entry.name:{width}} {arrow}  {entry.summary.rstrip('.')}{also}"
            lines += textwrap.wrap(text, WIDTH, subsequent_indent=" " * (width + 6))
        lines.append("")
    lines.append("`lossbench explain NAME` gives formula, options, range and source.")
    write("\n".join(lines) + "\n")
