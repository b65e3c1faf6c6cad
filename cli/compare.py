"""`lossbench compare`: the differences between result files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

import lossbench
from lossbench.errors import printable
from lossbench.runtime.pillow_limit import lift_pixel_limit

from .emit import same, summarize
from .main import note, terminal, write
from .options import color_option, column_option, files, setting_options, top_option

PAGES = lossbench.list_formats("comparison")["html"]


def _margins(_: Any, option: click.Parameter, texts: Sequence[str]) -> dict[str, float]:
    """Margins by loss from NAME=X; of a bare X, under an empty name."""
    margins: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            margin = float(number)
        except ValueError:
            raise click.BadParameter(
                f"expected {option.metavar}, such as dice=0.01, found {text!r}"
            ) from None
        if margins.setdefault(name.strip(), margin) != margin:
            raise click.BadParameter(f"{name.strip() or 'it'} is given twice")
    return margins


@click.command("compare", epilog="Example: lossbench compare before.json after.json --loss dice")
@click.argument("results", metavar="FIRST OTHER...", nargs=-1, required=True, shell_complete=files)
@column_option
@click.option("--per-class", is_flag=True, help="Compare the classes of these losses, too.")
@click.option("--sort", metavar="COLUMN", help="Loss that decides which samples became worse.")
@top_option
@click.option(
    "--margin",
    "margins",
    metavar="[NAME=]X",
    multiple=True,
    callback=_margins,
    help="Mean difference below which none matters, in the unit of a loss: results that surely"
    " differ by less are equivalent. Repeatable.",
)
@click.option(
    "--gate",
    "gates",
    metavar="GATE",
    multiple=True,
    help="Condition on each change, such as 'dice.difference <= 0.005', 'dice.verdict != worse' or"
    " 'iou[car].worsened <= 3'. Repeatable.",
)
@setting_options(lossbench.list_settings("comparison").values())
@click.option(
    "--plot",
    metavar="FILE",
    shell_complete=files,
    help="Figure to draw of the rankings: .svg, .png or .pdf. Needs lossbench[plot].",
)
@color_option
def command(
    results: Sequence[str],
    losses: Sequence[str],
    per_class: bool,
    format: str,
    output: Sequence[str],
    color: str,
    margins: dict[str, float],
    gates: Sequence[str],
    plot: str | None,
    **options: Any,
) -> int:
    """Decide which results are better than the first one.

    FIRST OTHER... are files that lossbench eval wrote as JSON, JSON Lines or Parquet. The
    difference is the other value minus the first value, over the images that all results have; if
    all have the same groups, over the means of groups. Its interval is the paired Student's t at
    95 %. The verdict at 5 % is equal, equivalent (with --margin), better or worse (permutation
    test, adjusted over the losses), or unclear. With three results or more, rankings are shown too.

    Exit status: 1 if a gate failed.
    """
    figures = lossbench.list_formats("comparison")["plot"]
    if plot is not None:
        if not plot.lower().endswith(figures):
            raise lossbench.SettingError(
                f"--plot {plot}: the ending selects the format; use one of {', '.join(figures)}"
            )
        output = [*output, plot]
    for path in output:
        lossbench.check_path(path, of="comparison")
        if any(same(path, each) for each in results):
            raise lossbench.SettingError(f"--output {path} is one of the results")
    comparison = lossbench.compare(
        results, losses, per_class=per_class, margin=margins, gates=gates
    )
    if options["sort"]:
        comparison.find(options["sort"])  # refuses an unknown column, whatever the format
    decisions = comparison.decisions
    for each in comparison.notes:
        note(printable(f"note: {each}"))
    if any(path.lower().endswith(PAGES) for path in output) or format == "html":
        lift_pixel_limit()
    for path in output:
        lossbench.save(comparison, path, **options)
    write(lossbench.render(comparison, format, **options, **terminal(color)))
    if format == "github":
        summarize(lossbench.render(comparison, "markdown", **options))
    for decision in decisions:
        if not decision.passed and format != "table":
            note(f"gate {'failed' if decision.failed else 'missed, a warning'}: {decision}")
    return comparison.exit_status
