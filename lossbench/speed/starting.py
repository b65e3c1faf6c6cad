"""What is waited for before anything is done: imports, and commands that compute nothing."""

from __future__ import annotations

from functools import partial

from lossbench.speed.processes import COMMAND, alternate, median, next_to, python, run, seconds
from lossbench.speed.report import Table, TableColumn
from lossbench.speed.setup import Setup

IMPORTS = ("pass", "import numpy", "import PIL.Image", "import lossbench", "import torch")
BARE = ("pass", "import click")
COMMANDS = (
    "--version",
    "--help",
    "eval --help",
    "losses",
    "explain dice",
    "compare --help",
    "schema config",
    "weights list",
    "speed --help",
)
OFTEN = 5  # times as many rounds where one takes a second


def imports(setup: Setup) -> Table:
    """Python with nothing but an import, as whole processes."""
    setup.note("importing")
    rounds = alternate(setup.repeat, {code: partial(python, "-c", code) for code in IMPORTS})
    rows = [
        {
            "code": f"python -c '{code}'",
            "seconds": median(rounds, seconds(code)),
            "memory_mb": rounds[0][code].peak,
        }
        for code in IMPORTS
    ]
    columns = (
        TableColumn("code", "process"),
        TableColumn("seconds", "seconds", ".3f"),
        TableColumn("memory_mb", "memory, MB", ",.0f"),
    )
    return Table("import", "whole processes", columns, rows)


def commands(setup: Setup) -> Table:
    """Commands that import no torch, next to the import of what they are made with."""
    pairs = setup.pictures("binary", setup.pairs, setup.size)
    setup.note("starting commands")
    dry = f"eval PRED GT --dry-run, {setup.pairs} pairs"
    tasks = {f"python -c '{code}'": partial(python, "-c", code) for code in BARE}
    tasks |= {f"lossbench {words}": partial(run, [*COMMAND, *words.split()]) for words in COMMANDS}
    evaluated = [*COMMAND, "eval", f"{pairs}/pred", f"{pairs}/gt", "--isolated", "--dry-run"]
    tasks[f"lossbench {dry}"] = partial(run, evaluated)
    rounds = alternate(OFTEN * setup.repeat, tasks)
    click = f"python -c '{BARE[-1]}'"
    rows = [
        {
            "command": name,
            "ms": 1e3 * median(rounds, seconds(name)),
            "ratio": median(rounds, next_to(name, click)),
        }
        for name in tasks
    ]
    columns = (
        TableColumn("command", "process"),
        TableColumn("ms", "ms", ".0f"),
        TableColumn("ratio", "/ import click", ".2f"),
    )
    return Table("start", "commands that compute nothing, as whole processes", columns, rows)
