"""`lossbench report`: a result file as an HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import click

import lossbench
from lossbench.results.formats import READABLE
from lossbench.results.reader import read_result
from lossbench.runtime.pillow_limit import lift_pixel_limit

from .emit import same
from .main import write
from .options import OUTPUT, Operand, column_option, files, setting_option


@click.command("report", epilog="Example: lossbench report run.json -o report.html")
@click.argument("run", metavar="RUN", shell_complete=files)
@click.argument("pred", cls=Operand, required=False, shell_complete=files)
@click.argument("target", cls=Operand, metavar="GT", required=False, shell_complete=files)
@click.option(
    "-o",
    "--output",
    metavar="FILE.html",
    shell_complete=files,
    help="File to write the page to instead of stdout.",
)
@column_option
@click.option("--sort", metavar="COLUMN", help="Loss that decides which samples are worst.")
@setting_option(
    replace(
        OUTPUT["top"],
        default=1000,
        text="Number of the worst samples in the table; 0 omits the table.",
    )
)
@click.option(
    "--pictures",
    type=click.IntRange(0),
    default=12,
    help="Number of the worst samples shown as pictures.",
)
def command(
    run: str,
    pred: str | None,
    target: str | None,
    output: str | None,
    losses: Sequence[str],
    **options: Any,
) -> None:
    """Write an HTML page of a result, with pictures of the worst.

    RUN is a file that lossbench eval wrote as JSON, JSON Lines or Parquet. The page is a single
    HTML file that needs no other file and no network. Its pictures are made from the files of the
    run, read from PRED and GT or, by default, from the paths of the run, relative to this folder.
    """
    if output is not None:
        lossbench.check_path(output, of="report")
        if same(output, run):
            raise lossbench.SettingError(f"--output {output} is the result")
    if pred is not None and _is_result(pred):
        raise lossbench.SettingError(
            f"{pred} is a second result, and a page shows one: give each a page of its own, or see"
            f" lossbench compare {run} {pred}"
        )
    if options["pictures"]:
        lift_pixel_limit()
    report = lossbench.report(run, losses, pred=pred, target=target)
    if output is None:
        write(lossbench.render(report, "html", **options))
    else:
        lossbench.save(report, output, **options)


def _is_result(path: str) -> bool:
    """Whether a path is that of a result, where the folder of a run is expected."""
    if not path.lower().endswith(tuple(READABLE)):
        return False
    with suppress(lossbench.InputError):
        read_result(path)
        return True
    return False
