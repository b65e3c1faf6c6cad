"""What becomes of a result, the same for every command that has one: options, files, messages."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click

import lossbench
from lossbench.errors import printable

from .completion import files
from .main import complain, note, terminal, write

if TYPE_CHECKING:
    from lossbench.engine.run import Run
    from lossbench.results.result import Result

COMPLAINTS = 20
FORMATS = lossbench.list_formats()
FOR_PEOPLE = ("table", "text", "markdown")
SUMMARY = "GITHUB_STEP_SUMMARY"
Function = TypeVar("Function", bound=Callable[..., Any])


def all_or_some(context: click.Context, _: click.Parameter, given: str) -> int | None:
    """`all`, or a number."""
    return None if given == "all" else count(given, "all", 0)


def count(given: str, word: str, least: int) -> int:
    """A number in decimal digits."""
    if not (given.isascii() and given.isdigit() and int(given) >= least):
        raise click.BadParameter(f"expected {word} or a number from {least}, found {given!r}")
    return int(given)


top_option = click.option(
    "--top",
    metavar="N|all",
    default="10",
    show_default=True,
    callback=all_or_some,
    help="How many samples tables show; other formats have them all.",
)
color_option = click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="Style the table.",
)
OPTIONS = [
    click.option(
        "-f",
        "--format",
        type=click.Choice([name for name in FORMATS if name != "parquet"]),
        default="table",
        show_default=True,
        help="What is printed; github annotates a workflow and writes its summary.",
    ),
    click.option(
        "-o",
        "--output",
        metavar="FILE",
        multiple=True,
        shell_complete=files,
        help="Write the result too; several times. The ending tells the format:"
        f" {', '.join(ending for endings in FORMATS.values() for ending in endings)}.",
    ),
    click.option("--sort", metavar="COLUMN", help="The loss that orders the samples, worst first."),
    top_option,
    click.option("--per-class/--no-per-class", default=None, help="With or without class columns."),
    click.option("--exit-zero", is_flag=True, help="A failed gate ends with 0 as well."),
    click.option("-q", "--quiet", is_flag=True, help="Failures only."),
    click.option("-v", "--verbose", is_flag=True, help="Timing and files left out, too."),
    color_option,
]


def output_options(function: Function) -> Function:
    """How a result is printed and written."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def tell(run: Run, result: Result, shown: Mapping[str, Any]) -> int:
    """Files first, then stdout, then what went wrong; the exit status."""
    unwritten = []
    how = {name: shown[name] for name in ("top", "sort", "per_class")}
    for path in shown["output"]:
        try:
            lossbench.save(result, path, **how)
        except lossbench.OutputError as failure:
            unwritten.append(failure)
    table = shown["format"] == "table"
    if not (shown["quiet"] and shown["format"] in FOR_PEOPLE):
        write(lossbench.render(result, shown["format"], **how, **terminal(shown["color"])))
    if shown["format"] == "github":
        try:
            _summarize(lossbench.render(result, "markdown", **how))
        except lossbench.OutputError as failure:
            unwritten.append(failure)
    earlier = (run.baseline or {}).get("run", {}).get("pairs", {}).get("digest")
    if earlier not in (None, result.digest):
        note("note: the baseline is of other pairs")
    elif result.groups is not None and _other_groups(run, result):
        note("note: the baseline is of other groups")
    if not (result.ids or result.failed or result.shard):
        complain("no pair was evaluated: all of them are left out; -v says why")
    for failed in result.failed[:COMPLAINTS]:
        complain(printable(failed.error))
    if len(result.failed) > COMPLAINTS:
        more = len(result.failed) - COMPLAINTS
        note(f"… and {more:,} more errors; --output result.json has them all")
    for decision in result.decisions:
        if not decision.passed and (shown["quiet"] or not table):
            note(f"gate {'failed' if decision.failed else 'missed, a warning'}: {decision}")
    if "note" in result.session and not shown["quiet"]:
        note(f"note: {result.session['note']}")
    if shown["verbose"]:
        seconds = result.session["seconds"]
        rate = len(result.ids) / seconds if seconds else 0
        note(f"{seconds:.2f} s, {rate:,.0f} pairs/s on {result.session['device']}")
        for each in result.skipped:
            note(printable(f"{each.kind}: {each.error}"))
    if unwritten:
        raise unwritten[0]
    status = result.exit_status
    return 0 if status == 1 and shown["exit_zero"] else status


def same(path: str, other: str | None) -> bool:
    """Whether two paths are one file."""
    with suppress(OSError):
        return other is not None and os.path.samefile(path, other)
    return False


def _summarize(text: str) -> None:
    """A report for the page of a GitHub workflow's run; on stdout where there is no such run."""
    path = os.environ.get(SUMMARY)
    if not path:
        write(text)
        return
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise lossbench.OutputError(
            f"{path} ({SUMMARY}) could not be written: {error.strerror}"
        ) from None


def _other_groups(run: Run, result: Result) -> bool:
    """Whether the baseline has groups, and not these."""
    earlier = (run.baseline or {}).get("groups")
    return earlier is not None and set(earlier) != set(result.group_places)
