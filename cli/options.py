"""Options that several commands share."""

from __future__ import annotations

import click

from .complete import files

plugin_option = click.option(
    "--plugin",
    "plugins",
    metavar="FILE",
    multiple=True,
    shell_complete=files,
    help="A Python file with losses of your own; several times.",
)
