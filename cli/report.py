"""`lossbench report`: a result file as a page to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

import lossbench
from lossbench.config.keys import TOP

from .emit import same
from .main import write
from .options import Operand, column_option, files, setting_option


@click.command("report", epilog="Example: lossbench report run.json -o report.html")
@click.argument("run", metavar="RUN", shell_complete=files)
@click.argument("pred", cls=Operand, required=False, shell_complete=files)
@click.argument("target", cls=Operand, metavar="GT", required=False, shell_complete=files)
@click.option(
    "-o",
    "--output",
    metavar="FILE.html",
    shell_complete=files,
    help="Where the page goes; stdout by default.",
)
@column_option
@click.option("--sort", metavar="COLUMN", help="The loss by which samples are the worst.")
@setting_option(
    replace(
        TOP,
        default=1000,
        text="Number of samples in the table, the worst ones; 0 for no table.",
    )
)
@click.option(
    "--pictures",
    type=click.IntRange(0),
    default=12,
    show_default=True,
    help="How many of the worst are shown as pictures.",
)
def command(
    run: str,
    pred: str | None,
    target: str | None,
    output: str | None,
    losses: Sequence[str],
    sort: str | None,
    top: int | None,
    pictures: int,
) -> None:
    """Make a page of a result, with the worst samples as pictures.

    RUN is a file that lossbench eval wrote as JSON, JSON Lines or Parquet. The page is one file of
    HTML that needs no other and no network. Its pictures are made from the files of the run, read
    from where they were, relative to this folder, or from PRED and GT.
    """
    if output is not None:
        lossbench.check_path(output, of="report")
        if same(output, run):
            raise lossbench.SettingError(f"--output {output} is the result")
    found = lossbench.report(run, losses, pred=pred, target=target)
    how: dict[str, Any] = {"top": top, "pictures": pictures, "sort": sort}
    if output is None:
        write(found.render(**how))
    else:
        found.save(output, **how)
