"""Options that several commands share."""

from __future__ import annotations

import click

from .completion import files

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
