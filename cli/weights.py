"""`lossbench weights`: the files that deep losses need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

import lossbench
from lossbench.errors import printable

from .main import Group, note, write


@click.group("weights", cls=Group, epilog="Example: lossbench weights fetch alexnet lpips_alex")
def command() -> None:
    """Show, fetch and verify the weights of perceptual losses.

    A run takes the file given with --weights NAME=FILE, else the one in a cache (the folder
    LOSSBENCH_CACHE, or the platform's; then torch's), else it downloads what was published, unless
    --offline.
    """


@command.command("list", epilog="Example: lossbench weights list")
def list_() -> None:
    """Print every file: name, size, whether it is here, licence, hash and address."""
    for each in lossbench.list_weights():
        here = each.path
        state = f"in {here}" if here else "not here"
        write(
            f"{each.name:14} {each.size / 1e6:8.2f} MB  {printable(state)}\n"
            f"    {each.licence}\n    sha256 {each.sha256}\n    {each.url}\n"
        )


@command.command("path", epilog="Example: lossbench weights path vgg16")
@click.argument("name")
def path(name: str) -> None:
    """Print where the file NAME is kept, or would be."""
    (each,) = lossbench.list_weights([name])
    write(f"{each.path or each.cache_paths[0]}\n")


@command.command("fetch", epilog="Example: lossbench weights fetch alexnet lpips_alex")
@click.argument("names", metavar="NAMES", nargs=-1, required=True)
def fetch(names: tuple[str, ...]) -> None:
    """Download the files NAMES into the cache, their hashes checked; what is there is verified."""
    for each in lossbench.list_weights(names):
        with downloading(each.name) as report:
            found = each.fetch(report)
        write(printable(f"{each.name} {found}") + "\n")


@command.command("verify", epilog="Example: lossbench weights verify")
@click.argument("names", metavar="[NAMES]", nargs=-1)
def verify(names: tuple[str, ...]) -> int:
    """Compare the files NAMES in the caches, by default all that are there, with their hashes."""
    status = 0
    for each in lossbench.list_weights(names):
        if not names and each.path is None:
            continue
        try:
            write(printable(f"{each.name} {each.verify()}: as published") + "\n")
        except lossbench.InputError as error:
            note(f"error: {error}")
            status = error.exit_status
    return status


@contextmanager
def downloading(name: str) -> Iterator[Callable[[int, int], None]]:
    """What tells on stderr how far a download is: a line that grows on a terminal, else one."""
    shown = -1

    def report(done: int, total: int) -> None:
        nonlocal shown
        percent = min(100, 100 * done // total)
        if shown < 0 and not sys.stderr.isatty():
            note(f"downloading {name}, {total / 1e6:.1f} MB")
        if percent != shown and sys.stderr.isatty():
            click.echo(f"\rdownloading {name} {percent} %", err=True, nl=False)
        shown = percent

    yield report
    if shown >= 0 and sys.stderr.isatty():
        note("")
