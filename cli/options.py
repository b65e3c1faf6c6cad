"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

import lossbench

from .completion import files

FORMATS = lossbench.list_formats()
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


plugin_option = click.option(
    "--plugin",
    "plugins",
    metavar="FILE",
    multiple=True,
    shell_complete=files,
    help="A Python file with losses of your own; several times.",
)
column_option = click.option(
    "-l",
    "--loss",
    "losses",
    metavar="COLUMN",
    multiple=True,
    help="A column of a result, or the values of a class in it, such as 'dice[road]'; several"
    " times. By default all columns, of several results those that they have in common.",
)


def output_options(function: Function) -> Function:
    """How a result is printed and written."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function
