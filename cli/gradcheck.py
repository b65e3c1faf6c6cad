"""`lossbench gradcheck LOSS`: analytic gradients against central differences."""

from __future__ import annotations

import click

import lossbench

from .completion import losses
from .main import write
from .options import plugin_option

NOISE = 1e-6  # digits below are rounding


@click.command("gradcheck", epilog="Example: lossbench gradcheck 'dice(smooth=1)' --task binary")
@click.argument("loss", shell_complete=losses)
@click.option(
    "--task",
    type=click.Choice(["binary", "multiclass", "multilabel", "image"]),
    help="The only task to try; all that the loss has by default.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="What inputs are drawn with.",
)
@plugin_option
def command(loss: str, task: str | None, seed: int, plugins: tuple[str, ...]) -> int:
    """Hold the gradient of LOSS against finite differences.

    LOSS may have options, or be an expression of losses. The analytic gradient is compared with
    central differences in float64, on small drawn inputs, and must be finite where predictions are
    exactly 0 and 1. Exit status 1: it is not so.
    """
    found = lossbench.gradcheck(loss, task=task, seed=seed, plugins=plugins)
    lines = [f"{'task':12} {'encoding':12} {'largest difference':>18}   verdict"]
    for each in found:
        verdict = "ok" if each.agrees else "differs"
        if not each.finite:
            verdict = f"{'' if each.agrees else 'differs, '}not finite where p is 0 or 1"
        noise = each.difference < NOISE
        shown = f"< {NOISE:.0e}" if noise else f"{each.difference:.1e}"
        lines.append(f"{each.task:12} {each.encoding:12} {shown:>18}   {verdict}")
    write("\n".join(lines) + "\n")
    return 0 if all(each.passed for each in found) else 1
