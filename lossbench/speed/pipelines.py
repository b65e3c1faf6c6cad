"""Whole runs next to their limit: a script that imports torch and decodes the same files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lossbench.catalog.columns import resolve
from lossbench.catalog.registry import builtin
from lossbench.runtime.cpu import cores
from lossbench.speed.processes import (
    FinishedProcess,
    alternate,
    child,
    median,
    next_to,
    python,
    seconds,
)
from lossbench.speed.report import Table, TableColumn
from lossbench.speed.setup import Setup, given

Round = Callable[[Mapping[str, FinishedProcess]], float]
FIVE = ["dice", "iou", "bce", "precision", "recall"]
CLASSES = (19, 150)  # Cityscapes, ADE20K
BY_HAND = 100  # pairs at most that the script by hand evaluates; its rate is taken for all
COLUMNS = (
    TableColumn("what", "run"),
    TableColumn("losses", "losses"),
    TableColumn("import_seconds", "import torch, s", ".2f"),
    TableColumn("decode_seconds", "decode, s", ".2f"),
    TableColumn("limit_seconds", "limit, s", ".2f"),
    TableColumn("seconds", "run, s", ".2f"),
    TableColumn("pairs_per_second", "pairs/s", ",.0f"),
    TableColumn("ratio", "run / limit", ".2f"),
)
RATE = TableColumn("by_hand_ratio", "by hand / run", ".1f")


def counted(task: str) -> list[str]:
    """Every loss that looks at no position on a task, and so is computed from counts."""
    names = []
    for name, entry in builtin().items():
        (column,) = resolve([name], {})
        logits = "Logits" in entry.inputs.values()
        if task in entry.tasks and not logits and all(t.countable(task) for t in column.terms):
            names.append(name)
    return names


def binary(setup: Setup) -> Table:
    """One loss, five and all, and twenty written by hand in torch."""
    made = setup.pictures("binary", setup.pairs, setup.size)
    runs = {str(len(names)): names for names in (["dice"], FIVE, counted("binary"))}
    hand = partial(
        child, "by_hand", setup.device, min(BY_HAND, setup.pairs), made / "pred", made / "gt"
    )
    rounds = compared(setup, made, runs, {"by hand": hand})

    def by_hand(each: Mapping[str, FinishedProcess]) -> float:
        """Seconds of the script for all pairs."""
        figures = each["by hand"].figures
        rate: float = figures["seconds"] / figures["pairs"]
        return float(each["limit"].figures["import"]) + rate * setup.pairs

    rows = [
        row(setup, rounds, "lossbench eval", number, seconds(number))
        | {"by_hand_ratio": median(rounds, slower(by_hand, number))}
        for number in runs
    ]
    rows.append(row(setup, rounds, "by hand in torch", "20", by_hand))
    title = f"{_pairs(setup)}, 8-bit probability against mask; {_limit()}"
    return Table("pipeline", title, (*COLUMNS, RATE), rows)


def small(setup: Setup) -> Table:
    """The same runs on small files, without the script by hand."""
    made = setup.pictures("binary", setup.pairs, setup.size)
    runs = {str(len(names)): names for names in (["dice"], FIVE, counted("binary"))}
    rounds = compared(setup, made, runs, {})
    rows = [row(setup, rounds, "lossbench eval", number, seconds(number)) for number in runs]
    title = f"{_pairs(setup)}, 8-bit probability against mask; {_limit()}"
    return Table("small", title, COLUMNS, rows)


def classes(setup: Setup) -> Table:
    """Label maps of few and of many classes, all losses."""
    rows, names = [], counted("multiclass")
    for count in CLASSES:
        made = setup.pictures(f"labels{count}", setup.pairs, setup.size)
        rounds = compared(setup, made, {"all": names}, {}, "--classes", count)
        what, number = f"{count} classes", str(len(names))
        rows.append(row(setup, rounds, what, number, seconds("all")))
    title = f"{_pairs(setup)}, label maps; {_limit()}"
    return Table("classes", title, COLUMNS, rows)


def few(setup: Setup) -> Table:
    """So few pairs that the import of torch is most of it."""
    made = setup.pictures("binary", setup.pairs, setup.size)
    runs = {str(len(names)): names for names in (["dice"], FIVE, counted("binary"))}
    tasks: dict[str, Callable[[], FinishedProcess]] = {
        "import": partial(python, "-c", "import torch")
    }
    tasks |= {name: evaluation(setup, made, names) for name, names in runs.items()}
    setup.note(f"runs of {setup.pairs:,} pairs, {setup.repeat} rounds")
    rounds = alternate(setup.repeat, tasks)
    rows = [
        {
            "losses": int(name),
            "import_seconds": median(rounds, seconds("import")),
            "seconds": median(rounds, seconds(name)),
            "ratio": median(rounds, next_to(name, "import")),
        }
        for name in runs
    ]
    columns = (
        TableColumn("losses", "losses"),
        TableColumn("import_seconds", "python -c 'import torch', s", ".2f"),
        TableColumn("seconds", "run, s", ".2f"),
        TableColumn("ratio", "run / import", ".2f"),
    )
    return Table("few", f"{_pairs(setup)}, 8-bit probability against mask", columns, rows)


def compared(
    setup: Setup,
    made: Path,
    runs: Mapping[str, list[str]],
    others: Mapping[str, Callable[[], FinishedProcess]],
    *more: object,
) -> list[dict[str, FinishedProcess]]:
    """Rounds of the limit, of runs with their losses, and of others."""
    tasks: dict[str, Callable[[], FinishedProcess]] = {
        "limit": partial(child, "decode", "torch", cores(), made)
    }
    tasks |= {name: evaluation(setup, made, names, *more) for name, names in runs.items()}
    setup.note(f"runs of {setup.pairs:,} pairs, {setup.repeat} rounds")
    return alternate(setup.repeat, {**tasks, **others})


def evaluation(
    setup: Setup, made: Path, losses: list[str], *more: object
) -> Callable[[], FinishedProcess]:
    """A run over a folder of pairs."""
    return partial(setup.evaluated, made / "pred", made / "gt", *given(losses), *more)


def row(
    setup: Setup,
    rounds: Sequence[Mapping[str, FinishedProcess]],
    what: str,
    losses: str,
    measured: Round,
) -> dict[str, Any]:
    """Medians of a run and its limit, the ratio that of each round."""
    taken = median(rounds, measured)
    return {
        "what": what,
        "losses": int(losses),
        "import_seconds": median(rounds, lambda each: each["limit"].figures["import"]),
        "decode_seconds": median(rounds, lambda each: each["limit"].figures["decode"][0][0]),
        "limit_seconds": median(rounds, seconds("limit")),
        "seconds": taken,
        "pairs_per_second": setup.pairs / taken,
        "ratio": median(rounds, lambda each: measured(each) / each["limit"].seconds),
    }


def slower(other: Round, name: str) -> Round:
    """How many times as long as a run of the same round something else took."""
    return lambda each: other(each) / each[name].seconds


def _pairs(setup: Setup) -> str:
    return f"{setup.pairs:,} pairs of {setup.size}×{setup.size}"


def _limit() -> str:
    return f"limit: a script that imports torch and decodes them in {cores()} threads"
