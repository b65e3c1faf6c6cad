"""`lossbench eval`: the main job."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

import click

import lossbench
from lossbench.data.planning.encoding import ENCODINGS
from lossbench.errors import printable

from .completion import configs, files, losses, roles
from .emit import emit_result, same
from .main import Terminated, note, write
from .options import count, output_options, plugin_option
from .weights import downloading

if TYPE_CHECKING:
    from lossbench.config.load import Config
    from lossbench.engine.checkpoint import Checkpoint
    from lossbench.engine.progress import Progress
    from lossbench.engine.run import Run

TASKS = (
    "binary",
    "multiclass",
    "multilabel",
    "image",
    "instances",
    "detection",
    "vectors",
    "scores",
    "records",
)
ENCODING = click.Choice(tuple(ENCODINGS))
WHOLE = tuple(  # endings of files that lossbench merge reads
    ending for name in ("json", "jsonl", "parquet") for ending in lossbench.list_formats()[name]
)
OUTPUTS = ("resume", "quiet", "verbose", "color", "no_progress", "format", "output", "sort", "top",
           "per_class", "exit_zero", "dry_run", "force", "config", "isolated")  # fmt: skip


def _by_name(example: str) -> Callable[[Any, click.Parameter, Sequence[str]], dict[str, str]]:
    """The callback of an option that is given several times, such as ROLE=DIR."""

    def read(_: Any, option: click.Parameter, given: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for text in given:
            name, place = text.partition("=")[::2]
            if not place:
                form = option.metavar
                raise click.BadParameter(f"expected {form}, such as {example}, found {text!r}")
            if found.setdefault(name, place) != place:
                raise click.BadParameter(f"{name} is given twice")
        return found

    return read


def _empty(context: click.Context, _: click.Parameter, given: str | None) -> float | str | None:
    """`skip`, or a number; nothing leaves it to the convention."""
    if given is None or given == "skip":
        return given
    try:
        return float(given)
    except ValueError:
        raise click.BadParameter(f"expected skip or a number, found {given!r}") from None


def _workers(context: click.Context, _: click.Parameter, given: str) -> int | None:
    """`auto`, or a number."""
    return None if given == "auto" else count(given, "auto", 1)


@click.command(
    "eval",
    epilog="Example: lossbench eval pred/ gt/ --loss dice --loss '0.5*dice + 0.5*bce'"
    " --gate 'dice.mean <= 0.15' -o result.json",
)
@click.argument("pred", required=False, shell_complete=files)
@click.argument("target", metavar="GT", required=False, shell_complete=files)
@click.option(
    "-c",
    "--config",
    metavar="FILE|PRESET",
    envvar="LOSSBENCH_CONFIG",
    shell_complete=configs,
    help="Settings in YAML, or a preset's name; by default the nearest lossbench.yaml upwards.",
)
@click.option("--isolated", is_flag=True, help="Do without a lossbench.yaml that is not named.")
@click.option(
    "-l",
    "--loss",
    "losses",
    metavar="EXPR",
    multiple=True,
    shell_complete=losses,
    help="A loss, or an expression of losses; several times. By default the task's usual.",
)
@click.option(
    "--gate",
    "gates",
    metavar="EXPR",
    multiple=True,
    help="What must hold, such as 'dice.mean <= 0.15'; several times.",
)
@click.option(
    "--baseline",
    metavar="RUN",
    shell_complete=files,
    help="An earlier result.json that gates may name.",
)
@plugin_option
@click.option(
    "--input",
    "inputs",
    metavar="ROLE=DIR",
    multiple=True,
    callback=_by_name("weight=weights/"),
    shell_complete=roles,
    help="A further folder: weight=, ignore=, valid=, or a role that a loss asks for by name.",
)
@click.option(
    "--manifest",
    metavar="FILE",
    help="A CSV, TSV or Parquet table of pairs (pred, gt, roles, groups); - is stdin.",
)
@click.option(
    "--task",
    type=click.Choice(TASKS),
    help="What the folders hold; found out by default.",
)
@click.option(
    "--classes",
    metavar="CLASSES",
    shell_complete=files,
    help="A number, names with commas, YAML such as '{0: sky, 7: road}', or a YAML file.",
)
@click.option(
    "--ignore",
    metavar="LABELS",
    help="Ground-truth values that leave every sum: 255, 250-255, or none.",
)
@click.option(
    "--threshold",
    type=float,
    default=0.5,
    show_default=True,
    help="Probability from which a pixel is foreground, for scores.",
)
@click.option(
    "--empty",
    metavar="skip|NUMBER",
    callback=_empty,
    help="What replaces an undefined value.  [default: skip, or as the convention has it]",
)
@click.option(
    "--convention",
    metavar="NAME|all",
    default="lossbench",
    show_default=True,
    help="Whose defaults the losses have: torch, monai, smp, nnunet, …; all for a row of each.",
)
@click.option("--pred-encoding", type=ENCODING, help="What predictions hold.")
@click.option("--gt-encoding", type=ENCODING, help="What the ground truth holds.")
@click.option(
    "--pred-pattern",
    metavar="PATTERN",
    help="Names of predictions, such as '{id}_pred.png'; {class} for a file a class.",
)
@click.option("--gt-pattern", metavar="PATTERN", help="Names of the ground truth, likewise.")
@click.option(
    "--missing",
    type=click.Choice(["error", "skip", "worst"]),
    default="error",
    show_default=True,
    help="What a missing prediction is.",
)
@click.option(
    "--extra",
    type=click.Choice(["error", "skip"]),
    default="error",
    show_default=True,
    help="What a prediction without ground truth is.",
)
@click.option(
    "--resize",
    type=click.Choice(["nearest", "bilinear"]),
    help="Fit predictions of another size to their ground truth.",
)
@click.option(
    "--divisor",
    metavar="N",
    type=click.IntRange(2),
    help="Labels of an instance map are class·N + instance, such as 1000.",
)
@click.option(
    "--things",
    metavar="NAMES",
    help="Which of those classes have instances, with commas; the others are one segment each.",
)
@click.option(
    "--group-by",
    metavar="PATTERN|COLUMN",
    help="Aggregate per group: by '{patient}/{slice}' over ids, or by manifest columns.",
)
@click.option(
    "--weights",
    metavar="NAME=FILE",
    multiple=True,
    callback=_by_name("vgg16=vgg16.npz"),
    help="A network's weights, such as vgg16=FILE; several times. See lossbench weights.",
)
@click.option("--offline", is_flag=True, help="Download no weights.")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="cpu, cuda or cuda:N; auto is a GPU where there is one and a loss needs the pixels.",
)
@click.option(
    "--workers",
    metavar="N",
    default="auto",
    show_default=True,
    callback=_workers,
    help="Pairs that are read at a time.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=512,
    show_default=True,
    help="Counted pairs that are evaluated together, at most.",
)
@click.option(
    "--engine",
    metavar="local|dask|ADDRESS",
    default="local",
    show_default=True,
    help="Where pairs are evaluated: here, on Dask workers started here, or on a Dask cluster.",
)
@click.option(
    "--shard",
    metavar="I/N",
    help="Only the I-th of N shares of the pairs; lossbench merge puts their results together.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on from where a run with this --output was stopped, even by a kill.",
)
@click.option("--dry-run", is_flag=True, help="Print plan, losses and settings; compute nothing.")
@click.option("--force", is_flag=True, help="Overwrite the baseline.")
@click.option("--no-progress", is_flag=True, help="No progress bar.")
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
    made = _settled(context, options["config"], options["isolated"])
    options |= made.settings
    if options["manifest"] is None:
        for argument, given in (("PRED", options["pred"]), ("GT", options["target"])):
            if given is None:
                raise click.UsageError(
                    f"Missing argument '{argument}', or --manifest, or a config with either.",
                    context,
                )
    shown = {name: options.pop(name) for name in OUTPUTS}
    for path in shown["output"]:
        lossbench.check_path(path)
        if same(path, options["baseline"]) and not shown["force"]:
            raise lossbench.SettingError(f"--output {path} is the baseline; --force overwrites it")
        if same(path, options["manifest"]):
            raise lossbench.SettingError(f"--output {path} is the manifest")
    _check_parts(options["shard"], shown)
    run = lossbench.plan(**options)
    if shown["sort"]:
        run.column(shown["sort"])
    if shown["dry_run"]:
        write(_dry_run(run, context, made, {**options, **shown}))
        return 0
    _before(run, shown)
    for each in run.to_fetch:
        with downloading(each.name) as report:
            each.fetch(report)
    gc.freeze()
    gc.enable()
    lossbench.keep_buffers()
    checkpoint: Checkpoint | None = None
    done = False
    try:
        if regular := _regular(shown["output"]):
            checkpoint = run.checkpoint(f"{regular[0]}.part", shown["resume"])
            _tell_aside(checkpoint, shown)
        # What a plugin prints is no part of the result.
        with redirect_stdout(sys.stderr), _progress(run, shown) as progress:
            result = run.evaluate(progress, checkpoint)
        status = emit_result(run, result, shown)
        done = True
    except (KeyboardInterrupt, Terminated):
        where = f"in {checkpoint.path}" if checkpoint else "kept without --output"
        going_on = "; --resume goes on from there" if checkpoint and checkpoint.samples else ""
        note(f"stopped; {checkpoint.samples if checkpoint else 0:,} samples are {where}{going_on}")
        raise
    finally:
        if checkpoint:
            checkpoint.close(done)
    return status


def _settled(context: click.Context, config: str | None, isolated: bool) -> Config:
    """What was given here, in the environment and in the config; a config found is named."""
    given = {
        name: value
        for name, value in context.params.items()
        if _source(context, name) == "COMMANDLINE"
    }
    made = lossbench.gather_settings(given, os.environ, config, isolated=isolated)
    if made.file and not config and not context.params["quiet"]:
        note(printable(f"note: settings of {made.file}; --isolated does without"))
    return made


def _source(context: click.Context, name: str) -> str:
    """Where click has a parameter from."""
    source = context.get_parameter_source(name)
    return source.name if source else ""


def _before(run: Run, shown: dict[str, Any]) -> None:
    """What is about to be done, on stderr."""
    if shown["quiet"]:
        return
    note(f"{_planned(run)} · {run.device} ×{run.settings.readers}")
    for remark in run.plan.notes:
        note(printable(f"note: {remark}"))
    left_out = run.pairing.left_out
    if left_out:
        kinds = ", ".join(f"{ending} ×{count}" for ending, count in sorted(left_out.items()))
        note(printable(f"note: {left_out.total():,} files left out ({kinds})"))


def _planned(run: Run) -> str:
    """The reading plan in one line, with the convention where it is not our own."""
    named = run.settings.convention
    convention = "" if named == "lossbench" else f" · convention {named}"
    return f"{run.plan} · {len(run.pairing.pairs):,} pairs{convention}"


def _dry_run(run: Run, context: click.Context, made: Config, effective: Mapping[str, Any]) -> str:
    """Everything that was decided, and where each setting came from."""
    lines = [f"plan: {_planned(run)}", "", "losses"]
    for column in run.columns:
        arrow = {"lower": "↓", "higher": "↑"}.get(str(column.better), "")
        named = "" if column.expression == column.name else f"  ({column.expression})"
        lines.append(f"  {column.name} {arrow}{named}")
        lines += [f"      {term.name}: {term.entry.definition}" for term in column.terms]
    if run.checks:
        lines += ["", "gates", *(f"  {check.gate.text}" for check in run.checks)]
    found = {
        "losses": ", ".join(column.name for column in run.columns),
        "task": run.plan.task,
        "classes": ", ".join(run.plan.names),
        "pred_encoding": run.plan.pred,
        "gt_encoding": run.plan.target,
        "device": run.device,
        "workers": run.settings.readers,
    }
    lines += ["", "settings"]
    for parameter in context.command.params:
        name = str(parameter.name)
        origin = made.origins.get(name, "found" if name in found else "default")
        if _source(context, name) == "ENVIRONMENT":
            origin = "environment"
        value = found[name] if origin == "found" else effective.get(name, context.params[name])
        shown = "–" if value in (None, (), {}, "") else value
        words = ", ".join(map(_setting, shown)) if isinstance(shown, tuple) else str(shown)
        lines.append(printable(f"  {_label(parameter):16} {words:34} {origin}"))
    return "\n".join(lines) + "\n"


def _label(parameter: click.Parameter) -> str:
    """What the user calls a parameter."""
    if isinstance(parameter, click.Argument):
        return parameter.human_readable_name.lower()
    return max(parameter.opts, key=len)


def _setting(item: Any) -> str:
    """One of several; a gate that only warns says so."""
    return f"{item['gate']} (warn)" if isinstance(item, dict) else str(item)


def _check_parts(shard: str | None, shown: Mapping[str, Any]) -> None:
    """A share of a run and a run that goes on need a file."""
    if shard and not any(path.lower().endswith(WHOLE) for path in shown["output"]):
        raise lossbench.SettingError(
            f"--shard needs --output with {' or '.join(WHOLE)}, for lossbench merge"
        )
    if shown["resume"] and not _regular(shown["output"]):
        raise lossbench.SettingError("--resume needs the --output of the run that was stopped")


def _regular(outputs: Sequence[str]) -> list[str]:
    """Those that are no devices and no pipes."""
    return [path for path in outputs if not os.path.exists(path) or os.path.isfile(path)]


def _tell_aside(checkpoint: Checkpoint, shown: Mapping[str, Any]) -> None:
    """That what a stopped run has finished is elsewhere while this one goes on."""
    if checkpoint.aside and not shown["quiet"]:
        old = f"{checkpoint.path} of a stopped run is {checkpoint.old} until this one is done"
        note(printable(f"note: {old}; --resume would go on from it"))


@contextmanager
def _progress(run: Run, shown: dict[str, Any]) -> Iterator[Callable[[Progress], None] | None]:
    """A bar with rate, time left and running mean, on a terminal's stderr only."""
    if shown["quiet"] or shown["no_progress"] or not sys.stderr.isatty():
        yield None
        return
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
