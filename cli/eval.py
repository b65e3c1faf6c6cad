"""`lossbench eval`: the main job."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

import lossbench
from lossbench.errors import counted, either, printable
from lossbench.output.sections import check_aggregates, heading
from lossbench.results.formats import READABLE
from lossbench.runtime.allocator import keep_buffers
from lossbench.runtime.pillow_limit import lift_pixel_limit

from .emit import emit_result, same
from .main import Terminated, note, write
from .options import Operand, completer, files, output_options, setting_options

if TYPE_CHECKING:
    from lossbench.config.load import Config
    from lossbench.engine.checkpoint import Checkpoint
    from lossbench.engine.progress import Progress
    from lossbench.engine.run import Run

SETTINGS = lossbench.list_settings()
PRED, GT, *NAMED = SETTINGS.values()
# Rarely: importing torch makes a quarter of a million objects, none of which is garbage.
GARBAGE_THRESHOLDS = (50_000, 20, 100)


@click.command(
    "eval",
    epilog="Example: lossbench eval pred/ gt/ --loss dice --loss '0.5*dice + 0.5*bce'"
    " --gate 'dice.mean <= 0.15' -o result.json",
)
@click.argument(PRED.name, cls=Operand, metavar="PRED", required=False, shell_complete=files)
@click.argument(GT.name, cls=Operand, metavar="GT", required=False, shell_complete=files)
@click.option(
    "-c",
    "--config",
    metavar="FILE|PRESET",
    envvar="LOSSBENCH_CONFIG",
    shell_complete=completer("configs"),
    help="Settings in YAML, or a preset's name. Default: the nearest lossbench.yaml upwards.",
)
@click.option(
    "--isolated", is_flag=True, help="Ignore a lossbench.yaml that --config does not name."
)
@setting_options(NAMED)
@click.option(
    "--resume", is_flag=True, help="Continue the run with this --output that was stopped or killed."
)
@click.option("--dry-run", is_flag=True, help="Print plan, losses and settings; compute nothing.")
@click.option("--force", is_flag=True, help="Overwrite the baseline.")
@click.option("--no-progress", is_flag=True, help="Hide the progress bar.")
@output_options
@click.pass_context
def command(context: click.Context, /, **options: Any) -> int:
    """Compare the predictions in PRED with the ground truth in GT.

    PRED and GT are folders whose files pair by relative path without suffix, or two files. Either
    can be a zip or tar archive, lead into one (shard.tar/pred), or be a URL (s3://bucket/pred).
    Panoptic JSON files have their PNGs in the folder beside them; PRED may be COCO's results.json
    and GT its instances.json.
    Every setting can be in a config, or in an environment variable such as LOSSBENCH_LOSS.
    """
    flags = {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    name, quiet = options["config"], options["quiet"]
    config = lossbench.gather_settings(flags, os.environ, name, isolated=options["isolated"])
    named = "config" in flags
    if config.file and not named and not quiet:
        way_out = "-c replaces it" if name else "--isolated does without"
        note(printable(f"note: settings of {config.file}; {way_out}"))
    if loosening := ", ".join(config.loosening(named=named)):  # also with --quiet
        note(printable(f"note: the run is loosened outside of its command line by {loosening}"))
    options |= config.settings
    if options["manifest"] is None:
        for argument, folder in (("PRED", options["pred"]), ("GT", options["target"])):
            if folder is None:
                raise click.UsageError(
                    f"Missing argument '{argument}', or --manifest, or a config with either.",
                    context,
                )
    settings = {name: options.pop(name) for name in SETTINGS}
    shown = options
    regular = _checked_outputs(settings, shown)
    lift_pixel_limit()
    run = lossbench.plan(**settings)
    if shown["sort"]:
        run.column(shown["sort"])
    check_aggregates(shown["aggregates"], has_groups=settings["group_by"] is not None)
    if shown["dry_run"]:
        write(_dry_run(run, context, config, {**settings, **shown}))
        return 0
    if not quiet:
        announce(run)
    for each in run.to_fetch:
        from .weights import downloading

        with downloading(each.name) as report:
            each.fetch(report)
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    gc.enable()
    keep_buffers()
    checkpoint: Checkpoint | None = None
    done = False
    try:
        if regular:
            checkpoint = run.checkpoint(f"{regular[0]}.part", shown["resume"])
            if checkpoint.unused and not quiet:
                kept = f"{checkpoint.path} keeps the finished samples of a stopped run"
                note(printable(f"note: {kept} until this run is done; --resume would use them"))
        bar_wanted = not (quiet or shown["no_progress"]) and sys.stderr.isatty()
        bar = _progress(run) if bar_wanted else nullcontext()
        # What a plugin prints is no part of the result.
        with redirect_stdout(sys.stderr), bar as progress:
            result = run.evaluate(progress, checkpoint, start_method="fork")
        if result.run["plan"]["text"] != str(run.plan):
            note(f"note: labels beyond the sample: {result.run['plan']['text']}")
        status = emit_result(run, result, shown)
        done = True
    except (KeyboardInterrupt, Terminated):
        kept = "no finished sample is kept" + ("" if checkpoint else " without --output")
        if checkpoint and checkpoint.samples:
            finished = f"{checkpoint.samples:,} samples are in {checkpoint.path}"
            kept = f"{finished}; --resume goes on from there"
        note(printable(f"stopped; {kept}"))
        raise
    finally:
        if checkpoint:
            checkpoint.close(done)
    return status


def _checked_outputs(settings: Mapping[str, Any], shown: Mapping[str, Any]) -> list[str]:
    """Refuse outputs that do not fit the settings; return the regular files among them."""
    outputs = shown["output"]
    for path in outputs:
        lossbench.check_path(path)
        if same(path, settings["baseline"]) and not shown["force"]:
            raise lossbench.SettingError(f"--output {path} is the baseline; --force overwrites it")
        if same(path, settings["manifest"]):
            raise lossbench.SettingError(f"--output {path} is the manifest")
    if settings["shard"] and not any(path.lower().endswith(tuple(READABLE)) for path in outputs):
        raise lossbench.SettingError(
            f"--shard needs --output with {either(READABLE)}, for lossbench merge"
        )
    regular = [path for path in outputs if not os.path.exists(path) or os.path.isfile(path)]
    if shown["resume"] and not regular:
        raise lossbench.SettingError("--resume needs the --output of the run that was stopped")
    return regular


def announce(run: Run) -> None:
    """Print the plan of a run and its notes on stderr."""
    note(f"{_planned(run)} · {run.settings.likely_device} ×{run.settings.readers}")
    for remark in run.plan.notes:
        note(printable(f"note: {remark}"))
    left_out = run.pairing.left_out
    if left_out:
        kinds = ", ".join(f"{ending} ×{count}" for ending, count in sorted(left_out.items()))
        note(printable(f"note: {counted(left_out.total(), 'file')} left out ({kinds})"))


def _planned(run: Run) -> str:
    """The reading plan in one line, with the convention unless it is our own."""
    name = run.settings.convention
    convention = "" if name == "lossbench" else f" · convention {name}"
    plan = run.plan.described(with_evidence=True)
    return f"{plan} · {counted(len(run.pairing.pairs), 'pair')}{convention}"


def _dry_run(run: Run, context: click.Context, config: Config, options: Mapping[str, Any]) -> str:
    """The plan, the losses, and every setting with its source."""
    lines = [f"plan: {_planned(run)}", "", "losses"]
    for column in run.columns:
        named = "" if column.expression == column.name else f"  ({column.expression})"
        lines.append(f"  {heading(column)}{named}")
        lines += [f"      {term.name}: {term.entry.definition}" for term in column.terms]
    if run.checks:
        lines += ["", "gates", *(f"  {check.gate.text}" for check in run.checks)]
    detected = {
        "losses": ", ".join(column.name for column in run.columns),
        "task": run.plan.task,
        "classes": ", ".join(run.plan.names),
        "pred_encoding": run.plan.pred,
        "gt_encoding": run.plan.target,
        "device": run.settings.likely_device,
        "workers": run.settings.readers,
    }
    lines += ["", "settings"]
    for parameter in context.command.params:
        name = str(parameter.name)
        origin = config.origins.get(name, "found" if name in detected else "default")
        if context.get_parameter_source(name) is ParameterSource.ENVIRONMENT:
            origin = "environment"
        value = detected[name] if origin == "found" else options[name]
        shown = "–" if value in (None, (), {}, "") else value
        text = ", ".join(map(_item, shown)) if isinstance(shown, tuple) else str(shown)
        argument = isinstance(parameter, click.Argument)
        label = parameter.human_readable_name.lower() if argument else max(parameter.opts, key=len)
        lines.append(printable(f"  {label:16} {text:34} {origin}"))
    return "\n".join(lines) + "\n"


def _item(item: Any) -> str:
    """An item of a list; a gate that only warns says so."""
    return f"{item['gate']} (warn)" if isinstance(item, dict) else str(item)


@contextmanager
def _progress(run: Run) -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr with rate, time left and running mean."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    name = run.columns[0].name
    bar = Bar(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[mean]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("", total=None, rate="", mean="")

    def update(step: Progress) -> None:
        rate = f"{bar.tasks[0].speed:,.0f} pairs/s" if bar.tasks[0].speed else ""
        mean = f"{name} {step.means[name]:.4f}" if name in step.means else ""
        bar.update(task, completed=step.done, total=step.total, rate=rate, mean=mean)
        bar.start()  # not before: its thread would keep the run from forking its readers

    try:
        yield update
    finally:
        bar.stop()
