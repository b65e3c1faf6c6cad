"""`lossbench speed`: what this machine does, next to its limits."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import click

import lossbench

from .main import note, terminal, write
from .options import files, setting_options

SECTIONS = lossbench.list_sections()
WIDTH = max(map(len, SECTIONS))
LISTED = "\n".join(f"{name:{WIDTH}}  {about}" for name, about in SECTIONS.items())
HELP = f"""Measure what this machine does, next to its limits.

Draws files, and runs whole processes in turn with their limit. By default all [SECTIONS] are
measured, at sizes that take about four minutes on two cores; --output is written after each:

\b
{LISTED}
"""


@click.command(
    "speed",
    help=HELP,
    epilog="Example: lossbench speed pipeline --pairs 5000 --repeat 5 -o speed.json",
)
@click.argument("sections", metavar="[SECTIONS]", nargs=-1, type=click.Choice(list(SECTIONS)))
@click.option(
    "--pairs",
    metavar="N",
    type=click.IntRange(1),
    help="Pairs of each run, or files of each format.  [default: depends on the section]",
)
@click.option(
    "--size",
    metavar="N",
    type=click.IntRange(16),
    help="Width and height of an image.  [default: depends on the section]",
)
@click.option(
    "--repeat",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    help="Rounds, of which medians are shown; use 5 for figures to publish.",
)
@click.option(
    "--folder",
    metavar="DIR",
    shell_complete=files,
    help="Keep the images in DIR and use them again; by default they are deleted.",
)
@click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N.")
@setting_options(lossbench.list_settings("speed").values())
def command(sections: tuple[str, ...], format: str, output: Sequence[str], **options: Any) -> None:
    """Measure section after section, and print each table."""
    for path in output:
        lossbench.check_path(path, of="speed")
    reports = lossbench.measure_speed(sections, **options, progress=note)
    report = None
    with closing(reports):
        for report in reports:
            for path in output:
                lossbench.save(report, path)
            if format == "table":
                if len(report.tables) == 1:
                    write(report.heading())
                last = replace(report, tables=report.tables[-1:])
                write("\n" + lossbench.render(last, "table", **terminal()))
    if report and format == "json":
        write(lossbench.render(report, "json"))
