"""`lossbench trend`: losses over the epochs of a training."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

import lossbench
from lossbench.errors import printable
from lossbench.results.formats import READABLE
from lossbench.runtime.allocator import keep_buffers
from lossbench.runtime.pillow_limit import lift_pixel_limit

from .emit import same
from .main import complain, note, terminal, write
from .options import color_option, completer, files, setting_options

if TYPE_CHECKING:
    from lossbench.results.trend import Trend

# Settings of a run that has its own verdict, or finds its predictions otherwise.
ABSENT = ("pred", "target", "manifest", "gates", "baseline", "shard")
SETTINGS = {name: each for name, each in lossbench.list_settings().items() if name not in ABSENT}
CLEAR = "\x1b[H\x1b[2J\x1b[3J"  # the terminal, and what was scrolled away
OF_EPOCHS = ("columns", "train", "train_columns", "window")


def _count_or_all(_: Any, option: click.Parameter, text: str) -> int | None:
    """A number of epochs; None for all."""
    if text == "all":
        return None
    if not text.isdecimal():
        raise click.BadParameter(f"expected {option.metavar}, found {text!r}")
    return int(text)


@click.command(
    "trend",
    epilog="Example: lossbench trend --pattern 'runs/epoch_{n}/pred' gt/ --loss dice --watch",
)
@click.argument("runs", metavar="RUN...", nargs=-1, shell_complete=files)
@click.option(
    "--pattern",
    metavar="PATH",
    help="Predictions of each epoch, such as 'runs/epoch_{n}/pred', to evaluate against GT; {n} is"
    " the number of the epoch. Without GT: result files.",
)
@click.option(
    "--cache",
    metavar="DIR",
    shell_complete=files,
    help="Where the results of a pattern are kept.  [default: .lossbench/trend beside the epochs]",
)
@click.option(
    "--train",
    metavar="FILE",
    multiple=True,
    shell_complete=files,
    help="Training, to see overfitting: a CSV, or a result for each epoch, also as a path with {n}."
    " Repeatable.",
)
@click.option(
    "--column",
    "columns",
    metavar="NAME[=lower|higher]",
    multiple=True,
    help="Column of a CSV that is the RUN, and its better direction. Repeatable.",
)
@click.option(
    "--train-column",
    "train_columns",
    metavar="NAME[=lower|higher]",
    multiple=True,
    help="Column of the CSV of --train, one for each loss. Default: the loss's name with train for"
    " val. Repeatable.",
)
@click.option(
    "--window",
    metavar="N",
    type=click.IntRange(5),
    default=10,
    help="Last epochs that the test of the trend looks at.",
)
@click.option(
    "--last",
    metavar="N|all",
    default="20",
    callback=_count_or_all,
    help="Epochs in tables; other formats have all.",
)
@click.option("--watch", is_flag=True, help="Go on, and show epochs as they are completed.")
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    help="Seconds between two looks of --watch.",
)
@click.option(
    "--until", metavar="N", type=click.IntRange(1), help="Epochs with which --watch ends."
)
@setting_options(lossbench.list_settings("trend").values())
@click.option(
    "--plot",
    metavar="FILE",
    shell_complete=files,
    help="Figure to draw: .svg, .png or .pdf. Needs lossbench[plot].",
)
@click.option(
    "-c",
    "--config",
    metavar="FILE|PRESET",
    envvar="LOSSBENCH_CONFIG",
    shell_complete=completer("configs"),
    help="Settings of the evaluation in YAML, or a preset's name. Default: the nearest"
    " lossbench.yaml upwards.",
)
@click.option(
    "--isolated", is_flag=True, help="Ignore a lossbench.yaml that --config does not name."
)
@setting_options(SETTINGS.values())
@click.option("-q", "--quiet", is_flag=True, help="Print no notes.")
@color_option
@click.pass_context
def command(context: click.Context, /, **options: Any) -> int:
    """Show losses over the epochs of a training.

    RUN... are results of lossbench eval, one for each epoch in their order, or one CSV of a logger.
    With --pattern, each epoch is evaluated against GT as lossbench eval does it, once. The best
    epoch is shown with those that a paired permutation test at 5 % cannot tell from it, as
    lossbench compare does for one loss. The trend of the last epochs is a one-sided Mann-Kendall
    test at 5 %: improving, flat, worsening, or too few.

    Exit status: 3 if files of an epoch cannot be read.
    """
    outputs = _checked_outputs(options)
    trends = _watched(context, options) if options["watch"] else iter([_read(context, options)])
    shown, status = {"last": options["last"]}, 0
    clears = options["watch"] and sys.stdout.isatty()
    try:
        # What a plugin prints is no part of the result.
        while (trend := _next(trends)) is not None:
            for path in outputs:
                lossbench.save(trend, path, **shown)
            text = lossbench.render(trend, options["format"], **shown, **terminal(options["color"]))
            write(CLEAR + text if clears else text)
            for each in () if options["quiet"] else trend.notes:
                note(printable(f"note: {each}"))
            for message in trend.errors:
                complain(printable(message))
            status = trend.exit_status
    except KeyboardInterrupt:
        if not options["watch"]:
            raise
    return status


def _next(trends: Iterator[Trend]) -> Trend | None:
    with redirect_stdout(sys.stderr):
        return next(trends, None)


def _checked_outputs(options: Mapping[str, Any]) -> list[str]:
    """The files to write, once they are known to be writable."""
    figures = lossbench.list_formats("trend")["plot"]
    outputs, plot = list(options["output"]), options["plot"]
    if plot is not None:
        if not plot.lower().endswith(figures):
            raise lossbench.SettingError(
                f"--plot {plot}: the ending selects the format; use one of {', '.join(figures)}"
            )
        outputs.append(plot)
    for path in outputs:
        lossbench.check_path(path, of="trend")
        if any(same(path, each) for each in (*options["runs"], *options["train"])):
            raise lossbench.SettingError(
                f"--output {path} is one of the results; name another file"
            )
    return outputs


def _read(context: click.Context, options: Mapping[str, Any]) -> Trend:
    """The trend of results, or of a pattern."""
    of_epochs = {name: options[name] for name in OF_EPOCHS}
    if options["until"] is not None:
        raise lossbench.SettingError("--until ends --watch; add --watch, or omit it")
    if options["pattern"] is None:
        _refuse_settings(context)
        if not options["runs"]:
            raise click.UsageError("Missing argument 'RUN...', or --pattern with GT.", context)
        return lossbench.trend(options["runs"], losses=options["losses"], **of_epochs)
    return lossbench.trend(**_pattern(context, options), columns=options["columns"])


def _watched(context: click.Context, options: Mapping[str, Any]) -> Iterator[Trend]:
    """The trends of a pattern."""
    if options["pattern"] is None:
        raise lossbench.SettingError("--watch needs --pattern, which says where epochs appear")
    times = {name: options[name] for name in ("interval", "until")}
    return lossbench.watch_trend(**_pattern(context, options), **times)


def _pattern(context: click.Context, options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for a pattern: settings of the command line, variables and a config."""
    if options["columns"]:
        raise lossbench.SettingError("--column is for a CSV as RUN; --pattern has --loss")
    runs: Sequence[str] = options["runs"]
    if len(runs) > 1:
        raise click.UsageError(
            f"--pattern takes one argument, GT, found {len(runs)}: quote the pattern, so that the"
            " shell leaves it as it is",
            context,
        )
    flags = {
        name: value
        for name, value in options.items()
        if name in SETTINGS and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    config = lossbench.gather_settings(
        flags, os.environ, options["config"], isolated=options["isolated"]
    )
    if config.file and not options["quiet"]:
        note(printable(f"note: settings of {config.file}; --isolated does without"))
    settings = {name: config.settings.get(name, options[name]) for name in SETTINGS}
    is_results = options["pattern"].lower().endswith(tuple(READABLE))
    lift_pixel_limit()
    gc.enable()
    keep_buffers()
    return {
        "pattern": options["pattern"],
        "target": runs[0] if runs else None if is_results else config.settings.get("target"),
        "cache": options["cache"],
        "progress": (lambda text: None) if options["quiet"] else _progress,
        "start_method": "fork",
        **{name: options[name] for name in OF_EPOCHS if name != "columns"},
        **settings,
    }


def _progress(text: str) -> None:
    note(printable(text))


def _refuse_settings(context: click.Context) -> None:
    """Refuse settings of an evaluation where results are read."""
    for parameter in context.command.params:
        name = str(parameter.name)
        by_flag = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if by_flag and name != "losses" and name in {*SETTINGS, "cache"}:
            raise lossbench.SettingError(
                f"{parameter.opts[-1]} is for --pattern; results were evaluated with their own"
                " settings, so omit it"
            )
