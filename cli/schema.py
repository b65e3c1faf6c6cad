"""`lossbench schema`: what editors and readers of files check against."""

from __future__ import annotations

import json

import click

import lossbench

from .main import write


@click.command("schema", epilog="Example: lossbench schema config")
@click.argument("kind", type=click.Choice(["config", "result"]), default="config")
def command(kind: str) -> None:
    """Print the JSON Schema of a config or a result.

    KIND is config or result. Kept in a file, it lets an editor check a config whose first line is
    `# yaml-language-server: $schema=FILE`.
    """
    write(json.dumps(lossbench.schema(kind), indent=1, ensure_ascii=False) + "\n")
