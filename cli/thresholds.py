"""`lossbench thresholds`: which threshold?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

import lossbench
from lossbench.errors import printable
from lossbench.runtime.allocator import keep_buffers
from lossbench.runtime.pillow_limit import lift_pixel_limit

from .emit import LISTED_ERRORS
from .eval import announce
from .main import complain, note, terminal, write
from .options import Operand, color_option, files, setting_options

READING = lossbench.list_settings("reading")
READING["losses"] = replace(
    READING["losses"],
    text="Score, or loss with a threshold such as 'dice(threshold=0.5)', or an expression of them."
    " Default: dice_score, iou, precision and recall.",
)
FIGURES = lossbench.list_formats("thresholds")["plot"]


@click.command(
    "thresholds",
    epilog="Example: lossbench thresholds pred/ gt/ --loss dice_score --plot curve.svg",
)
@click.argument("pred", cls=Operand, metavar="PRED", required=False, shell_complete=files)
@click.argument("target", cls=Operand, metavar="GT", required=False, shell_complete=files)
@setting_options(READING.values())
@click.option(
    "--steps",
    metavar="N",
    type=click.IntRange(2),
    default=257,
    help="Number of thresholds of the curves; maps of 8 bits have all 256 levels.",
)
@click.option(
    "--per-image",
    metavar="FILE",
    shell_complete=files,
    help="Parquet file for the scores of every image at every threshold.",
)
@click.option(
    "--iou",
    metavar="X",
    type=click.FloatRange(0, 1),
    help="IoU from which a detection matches an object.  [default: 0.5]",
)
@click.option(
    "--plot",
    metavar="FILE",
    shell_complete=files,
    help="Figure of the curves: .svg, .png or .pdf. Needs lossbench[plot].",
)
@setting_options(lossbench.list_settings("thresholds").values())
@color_option
@click.pass_context
def command(
    context: click.Context,
    /,
    plot: str | None,
    format: str,
    output: Sequence[str],
    color: str,
    **options: Any,
) -> int:
    """Judge every threshold of the probabilities in PRED at once.

    PRED and GT are as for lossbench eval, whose options of reading apply. For each score: the best
    threshold, the plateau within 1 % of it, what 0.5 gives, and whether a threshold chosen on half
    of the images holds on the other half; then ROC and precision-recall curves, and calibration.
    With COCO's results.json and instances.json: precision, recall and F1 at every confidence.
    """
    if options["manifest"] is None and options["target"] is None:
        missing = "PRED" if options["pred"] is None else "GT"
        raise click.UsageError(f"Missing argument '{missing}', or --manifest.", context)
    if plot is not None:
        if not plot.lower().endswith(FIGURES):
            raise lossbench.SettingError(
                f"--plot {plot}: the ending selects the format; use one of {', '.join(FIGURES)}"
            )
        output = [*output, plot]
    for path in output:
        lossbench.check_path(path, of="thresholds")
    lift_pixel_limit()
    keep_buffers()
    thresholds = lossbench.thresholds(**options, planned=announce, start_method="fork")
    for each in thresholds.notes:
        note(printable(f"note: {each}"))
    for path in output:
        lossbench.save(thresholds, path)
    shown = {"blocks": sys.stdout.isatty(), **terminal(color)}
    write(lossbench.render(thresholds, format, **shown))
    for failed in thresholds.failed[:LISTED_ERRORS]:
        complain(printable(failed.message))
    if (more := len(thresholds.failed) - LISTED_ERRORS) > 0:
        note(f"… and {more:,} more errors; --output thresholds.json lists all")
    return thresholds.exit_status
