"""`lossbench merge`: the shards of a run as one result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

import lossbench

from .emit import emit_result
from .options import files, output_options, setting_options

SETTINGS = lossbench.list_settings()


@click.command(
    "merge", epilog="Example: lossbench merge shard1.json shard2.json shard3.json -o result.json"
)
@click.argument("shards", metavar="SHARD...", nargs=-1, required=True, shell_complete=files)
@click.option(
    "--baseline",
    metavar="RUN",
    shell_complete=files,
    help="An earlier result that the gates of the run name.",
)
@setting_options([SETTINGS["strict"], SETTINGS["accept"]])
@output_options
def command(
    shards: Sequence[str], baseline: str | None, strict: bool, accept: Sequence[str], **shown: Any
) -> int:
    """Put the results of all shards of a run together.

    SHARD... are what lossbench eval wrote with --shard 1/N to N/N. The result is that of one run
    without --shard, to the last bit; gates and doubts are judged on all of it.
    """
    for path in shown["output"]:
        lossbench.check_path(path)
    merged = lossbench.plan_merge(shards, baseline=baseline, strict=strict, accept=accept)
    return emit_result(merged.run, merged.evaluate(), shown)
