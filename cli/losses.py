"""`lossbench losses`: the catalogue."""

from __future__ import annotations

from itertools import groupby

import click

import lossbench

from .main import write

FAMILIES = ("binary", "multiclass", "overlap", "regression", "scores")


@click.command("losses", epilog="Example: lossbench losses --family overlap")
@click.option("--family", type=click.Choice(FAMILIES), help="Only one family.")
def command(family: str | None) -> None:
    """List the losses and scores that can be named at --loss."""
    entries = lossbench.list_losses(family)
    width = max(len(entry.name) for entry in entries)
    lines = []
    for group, members in groupby(entries, key=lambda entry: entry.family):
        lines.append(f"{group}\n")
        for entry in members:
            arrow = "↑" if entry.better == "higher" else "↓"
            also = f" (also {', '.join(entry.aliases)})" if entry.aliases else ""
            lines.append(f"  {entry.name:{width}} {arrow}  {entry.summary.rstrip('.')}{also}\n")
        lines.append("\n")
    write("".join(lines) + "`lossbench explain NAME` gives formula, options, range and source.\n")
