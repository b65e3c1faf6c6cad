"""`lossbench inspect`: what folders hold, and which losses follow from it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import click

import lossbench
from lossbench.errors import printable
from lossbench.runtime.pillow_limit import lift_pixel_limit

from .main import note, terminal, write
from .options import color_option, files, setting_options

READING = (
    "inputs", "task", "classes", "ignore", "pred_encoding", "gt_encoding", "pred_pattern",
    "gt_pattern", "missing", "resize", "channels", "pred_scale", "gt_scale", "gt_threshold",
    "pred_values", "grid", "divisor", "things", "workers",
)  # fmt: skip
SETTINGS = lossbench.list_settings()


@click.command("inspect", epilog="Example: lossbench inspect pred/ gt/ --write lossbench.yaml")
@click.argument("folders", metavar="[PRED] GT", nargs=-1, shell_complete=files)
@click.option(
    "--sample",
    metavar="N",
    type=click.IntRange(1),
    help="Pairs to read, spread evenly.  [default: all, but 10,000 of a larger set]",
)
@click.option(
    "--write",
    "config",
    metavar="FILE",
    shell_complete=files,
    help="Write a config such as lossbench.yaml: plan, losses, and gates that PRED meets.",
)
@click.option("--force", is_flag=True, help="Overwrite the file of --write.")
@click.option("--use-cases", is_flag=True, help="Print usual problems and their losses; no files.")
@setting_options(SETTINGS[name] for name in READING)
@setting_options(lossbench.list_settings("inspection").values())
@click.option("--no-progress", is_flag=True, help="Hide the progress bar.")
@color_option
@click.pass_context
def command(
    context: click.Context,
    /,
    folders: Sequence[str],
    sample: int | None,
    config: str | None,
    force: bool,
    use_cases: bool,
    format: str,
    output: Sequence[str],
    no_progress: bool,
    color: str,
    **settings: Any,
) -> int:
    """Show what folders hold, and which losses follow.

    [PRED] GT are folders or files as for lossbench eval; one alone is the ground truth. The plan is
    that of eval, with what the files show for it. Where it is undecided, the possible readings are
    listed with their settings. Exit status: 0, or 3 if a file cannot be read.
    """
    if use_cases:
        write(lossbench.render(lossbench.use_cases(), format, **terminal(color)))
        return 0
    if len(folders) not in (1, 2):
        raise click.UsageError("expected GT, or PRED and GT, or --use-cases", context)
    for path in output:
        lossbench.check_path(path, of="inspection")
    if config:
        lossbench.check_path(config, of="config", force=force)
    lift_pixel_limit()
    shown = sys.stderr.isatty() and not no_progress
    with progress_bar() if shown else nullcontext() as progress:
        inspection = lossbench.inspect(*folders, sample=sample, progress=progress, **settings)
    for path in output:
        lossbench.save(inspection, path)
    write(lossbench.render(inspection, format, **terminal(color)))
    if config:
        lossbench.write_config(inspection, config, force=force)
        note(printable(f"note: {config} is written; lossbench eval -c {config} uses it"))
    return inspection.exit_status


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr with rate and time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
