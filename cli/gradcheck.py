"""`lossbench gradcheck LOSS`: analytic gradients compared with central differences."""

from __future__ import annotations

import click

import lossbench
from lossbench.output.sections import Section
from lossbench.output.table import render_sections

from .completion import losses
from .main import write
from .options import plugin_option

HEADINGS = ("task", "encoding", "largest difference", "verdict")
NOISE = 1e-6  # differences below are rounding errors


@click.command("gradcheck", epilog="Example: lossbench gradcheck 'dice(smooth=1)' --task binary")
@click.argument("loss", shell_complete=losses)
@click.option(
    "--task",
    type=click.Choice(
        ["binary", "multiclass", "multilabel", "image", "vectors", "scores", "detection", "records"]
    ),
    help="Try only this task; by default all tasks of the loss.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Seed of the random inputs."
)
@plugin_option
def command(loss: str, task: str | None, seed: int, plugins: tuple[str, ...]) -> int:
    """Compare the gradient of LOSS with finite differences.

    LOSS may have options, or be an expression of losses. The analytic gradient is compared with
    central differences in float64, on small random inputs, and must be finite where predictions are
    exactly 0 and 1. Exits with 1 if a gradient differs or is not finite.
    """
    slopes = lossbench.gradcheck(loss, task=task, seed=seed, plugins=plugins)
    rows = []
    for each in slopes:
        wrong = {"differs": not each.agrees, "not finite where p is 0 or 1": not each.finite}
        verdict = ", ".join(name for name, applies in wrong.items() if applies) or "ok"
        noise = each.difference < NOISE
        difference = f"< {NOISE:.0e}" if noise else f"{each.difference:.1e}"
        rows.append((each.task, each.encoding, difference, verdict))
    write(render_sections([Section("", HEADINGS, rows, left=(0, 1, 3))]))
    return 0 if all(each.passed for each in slopes) else 1
