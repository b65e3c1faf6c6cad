"""`lossbench stress`: which loss sees which error?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import click

import lossbench
from lossbench.errors import printable
from lossbench.runtime.pillow_limit import lift_pixel_limit

from .inspect import READING, progress_bar
from .main import note, terminal, write
from .options import color_option, files, setting_options

SETTINGS = lossbench.list_settings()
LOSSES = replace(
    SETTINGS["losses"],
    text="Loss or score, or an expression of them; by default those that inspect recommends.",
)
FIGURES = lossbench.list_formats("stress")["plot"]


@click.command("stress", epilog="Example: lossbench stress gt/ -l dice -l hd95 --against pred/")
@click.argument("target", metavar="GT", shell_complete=files)
@setting_options([LOSSES])
@click.option(
    "--against",
    metavar="PRED",
    shell_complete=files,
    help="Predictions, to be told which damage their errors look like.",
)
@click.option(
    "--sample",
    metavar="N",
    type=click.IntRange(1),
    help="Images to damage, spread evenly.  [default: 10]",
)
@click.option(
    "--plot",
    metavar="FILE",
    shell_complete=files,
    help="Figure of the responses: .svg, .png or .pdf. Needs lossbench[plot].",
)
@setting_options(SETTINGS[name] for name in READING)
@setting_options(lossbench.list_settings("stress").values())
@click.option("--no-progress", is_flag=True, help="Hide the progress bar.")
@color_option
def command(
    target: str,
    losses: Sequence[str],
    against: str | None,
    sample: int | None,
    plot: str | None,
    format: str,
    output: Sequence[str],
    no_progress: bool,
    color: str,
    **settings: Any,
) -> int:
    """Damage the ground truth in steps: which loss sees which error?

    GT is a folder or file as for lossbench eval, whose options of reading apply. Masks and label
    maps are shifted, dilated, eroded and pierced, their objects lost, invented, split, merged and
    given a wrong class, their edges blurred; pictures are blurred, compressed, coloured, shifted.
    A loss is blind to a damage whose middle level changes it by less than 2 % of the way to its bad
    end, and sees it weakly below 20 %.
    """
    if plot is not None:
        if not plot.lower().endswith(FIGURES):
            raise lossbench.SettingError(
                f"--plot {plot}: the ending selects the format; use one of {', '.join(FIGURES)}"
            )
        output = [*output, plot]
    for path in output:
        lossbench.check_path(path, of="stress")
    lift_pixel_limit()
    shown = sys.stderr.isatty() and not no_progress
    with progress_bar() if shown else nullcontext() as progress:
        stress = lossbench.stress(
            target, losses, against=against, sample=sample, progress=progress, **settings
        )
    for each in stress.notes:
        note(printable(f"note: {each}"))
    for path in output:
        lossbench.save(stress, path)
    write(lossbench.render(stress, format, **terminal(color)))
    return stress.exit_status
