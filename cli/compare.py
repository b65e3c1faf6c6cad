"""`lossbench compare`: the differences between result files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

import lossbench
from lossbench.errors import printable

from .emit import same
from .main import note, terminal, write
from .options import color_option, column_option, files, setting_options, top_option


@click.command("compare", epilog="Example: lossbench compare before.json after.json --loss dice")
@click.argument("results", metavar="FIRST OTHER...", nargs=-1, required=True, shell_complete=files)
@column_option
@click.option("--per-class", is_flag=True, help="Compare the classes of these losses, too.")
@click.option("--sort", metavar="COLUMN", help="Loss that decides which samples became worse.")
@top_option
@setting_options(lossbench.list_settings("comparison").values())
@color_option
def command(
    results: Sequence[str],
    losses: Sequence[str],
    per_class: bool,
    format: str,
    output: Sequence[str],
    color: str,
    **options: Any,
) -> None:
    """Compare results with the first one, sample by sample.

    FIRST OTHER... are files that lossbench eval wrote as JSON, JSON Lines or Parquet. The
    difference is the other value minus the first value, over the samples that all results have.
    Its confidence interval is the paired Student's t at 95 %; the verdict is better or worse if the
    interval excludes 0. With three results or more, mean ranks are shown too.
    """
    for path in output:
        lossbench.check_path(path, of="comparison")
        if any(same(path, each) for each in results):
            raise lossbench.SettingError(f"--output {path} is one of the results")
    comparison = lossbench.compare(results, losses, per_class=per_class)
    if options["sort"]:
        comparison.find(options["sort"])  # refuses an unknown column, whatever the format
    for each in comparison.notes:
        note(printable(f"note: {each}"))
    for path in output:
        lossbench.save(comparison, path, **options)
    write(lossbench.render(comparison, format, **options, **terminal(color)))
