"""`lossbench compare`: result files held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

import lossbench
from lossbench.errors import printable

from .emit import same
from .main import note, terminal, write
from .options import color_option, column_option, files, top_option

FORMATS = lossbench.list_formats("comparison")


@click.command("compare", epilog="Example: lossbench compare before.json after.json --loss dice")
@click.argument("results", metavar="FIRST OTHER...", nargs=-1, required=True, shell_complete=files)
@column_option
@click.option("--per-class", is_flag=True, help="The classes of these losses, too.")
@click.option("--sort", metavar="COLUMN", help="The loss by which samples became worse.")
@top_option
@click.option(
    "-f",
    "--format",
    type=click.Choice(list(FORMATS)),
    default="table",
    show_default=True,
    help="What is printed; csv has the values of every sample.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    multiple=True,
    shell_complete=files,
    help="Write it too; several times. The ending tells the format:"
    f" {', '.join(ending for endings in FORMATS.values() for ending in endings)}.",
)
@color_option
def command(
    results: Sequence[str],
    losses: Sequence[str],
    per_class: bool,
    format: str,
    output: Sequence[str],
    color: str,
    **shown: Any,
) -> None:
    """Compare results with the first of them, sample by sample.

    FIRST OTHER... are files that lossbench eval wrote as JSON, JSON Lines or Parquet. The
    difference is the other value minus the first one, of the samples that all of them have; its
    interval is Student's t at 95 % of these pairs, and the verdict says better or worse where it is
    on one side of 0. Of three results and more the mean rank is shown as well.
    """
    for path in output:
        lossbench.check_path(path, of="comparison")
        if any(same(path, each) for each in results):
            raise lossbench.SettingError(f"--output {path} is one of the results")
    found = lossbench.compare(results, losses, per_class=per_class)
    if shown["sort"]:
        found.find(shown["sort"])
    for each in found.notes:
        note(printable(f"note: {each}"))
    for path in output:
        found.save(path, **shown)
    write(found.render(format, **shown, **terminal(color)))
