"""`lossbench speed`: what this machine does, next to its limits."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import click

import lossbench

from .completion import files
from .main import note, terminal, write

SECTIONS = lossbench.list_sections()
WIDTH = max(map(len, SECTIONS))
LISTED = "\n".join(f"{name:{WIDTH}}  {about}" for name, about in SECTIONS.items())
HELP = f"""Measure what this machine does, next to its limits.

Draws images, and runs whole processes in turn with their limit. By default all [SECTIONS] are
measured, at sizes that take about three minutes on two cores:

\b
{LISTED}
"""


def _json(context: click.Context, parameter: click.Parameter, path: str | None) -> str | None:
    """A JSON file that can be written."""
    if path is not None:
        lossbench.check_path(path, of="speed")
    return path


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
    show_default=True,
    help="Rounds, of which medians are shown; use 5 for figures to publish.",
)
@click.option(
    "--folder",
    metavar="DIR",
    shell_complete=files,
    help="Keep the images in DIR and use them again; by default they are deleted.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "-f",
    "--format",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="What is printed.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    callback=_json,
    shell_complete=files,
    help="Also write the figures to FILE.json, after each section.",
)
def command(
    sections: tuple[str, ...],
    pairs: int | None,
    size: int | None,
    repeat: int,
    folder: str | None,
    device: str,
    format: str,
    output: str | None,
) -> None:
    """Measure section after section, and print each table."""
    reports = lossbench.measure_speed(
        sections,
        pairs=pairs,
        size=size,
        repeat=repeat,
        folder=folder,
        device=device,
        progress=note,
    )
    report = None
    with closing(reports):
        for report in reports:
            if output:
                lossbench.save(report, output)
            if format == "table":
                if len(report.tables) == 1:
                    write(report.heading())
                last = replace(report, tables=report.tables[-1:])
                write("\n" + lossbench.render(last, "table", **terminal()))
    if report and format == "json":
        write(lossbench.render(report, "json"))
