"""`lossbench losses`: the catalogue of losses and scores."""

from __future__ import annotations

import textwrap
from itertools import groupby

import click

import lossbench
from lossbench.errors import did_you_mean

from .completion import families
from .main import write
from .options import plugin_option

WIDTH = 80


@click.command("losses", epilog="Example: lossbench losses --family overlap")
@click.option(
    "--family",
    metavar="FAMILY",
    shell_complete=families,
    help="List only one family, such as overlap; `own` has the losses of plugins.",
)
@plugin_option
def command(family: str | None, plugins: tuple[str, ...]) -> None:
    """List the losses and scores that --loss accepts."""
    entries = lossbench.list_losses(plugins=plugins)
    known = sorted({entry.family for entry in entries})
    if family not in (None, *known):
        raise lossbench.SettingError(
            f"no family is called {family!r}{did_you_mean(str(family), known)};"
            f" there are {', '.join(known)}"
        )
    entries = [entry for entry in entries if family in (None, entry.family)]
    width = max(len(entry.name) for entry in entries)
    lines = []
    for group, members in groupby(entries, key=lambda entry: entry.family):
        lines.append(group)
        for entry in members:
            arrow = {"lower": "↓", "higher": "↑", None: " "}[entry.better]
            also = f" (also {', '.join(entry.aliases)})" if entry.aliases else ""
            text = f"  {entry.name:{width}} {arrow}  {entry.summary.rstrip('.')}{also}"
            indent = " " * (width + 6)
            lines += textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
        lines.append("")
    lines.append("`lossbench explain NAME` gives formula, options, range and source.")
    write("\n".join(lines) + "\n")
