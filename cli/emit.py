"""Shared output handling of results: files, stdout, messages, exit status."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import lossbench
from lossbench.errors import printable
from lossbench.results.formats import formats_of

from .main import complain, note, terminal, write

if TYPE_CHECKING:
    from lossbench.engine.run import Run
    from lossbench.results.result import Result

LISTED_ERRORS = 20
SUMMARY = "GITHUB_STEP_SUMMARY"


def emit_result(run: Run, result: Result, shown: Mapping[str, Any]) -> int:
    """Write files, then stdout, then errors on stderr; return the exit status."""
    unwritten = []
    options = {name: shown[name] for name in ("top", "sort", "per_class", "aggregates")}
    if shown["verbose"]:
        options["aggregates"] = ("all",)
    for path in shown["output"]:
        try:
            lossbench.save(result, path, **options)
        except lossbench.OutputError as failure:
            unwritten.append(failure)
    if not (shown["quiet"] and formats_of("result")[shown["format"]].for_people):
        write(lossbench.render(result, shown["format"], **options, **terminal(shown["color"])))
    if shown["format"] == "github":
        try:
            summarize(lossbench.render(result, "markdown", **options))
        except lossbench.OutputError as failure:
            unwritten.append(failure)
    for doubt in result.doubts:
        if not doubt.accepted:  # quiet hides nothing that loosens a run
            note(f"doubt: {doubt.message}")
        elif not shown["quiet"]:
            note(f"accepted doubt: {doubt.message}")
    for remark in () if shown["quiet"] else result.notes:
        note(printable(f"note: {remark}"))
    if result.shard and (run.checks or not shown["quiet"]):
        number = f"{result.shard['index']}/{result.shard['of']}"
        note(f"note: shard {number} judges no doubts and no gates; lossbench merge judges them")
    for remark in () if shown["quiet"] or result.shard else result.interval_notes():
        note(printable(f"note: {remark}"))
    if run.baseline and not result.shard:
        for remark in run.baseline.notes(run.plan.identity, result):
            note(printable(f"note: {remark}"))
    if not (result.ids or result.failed or result.shard):
        complain("no pair was evaluated: all are left out; -v shows why")
    for failed in result.failed[:LISTED_ERRORS]:
        complain(printable(failed.message))
    if (more := len(result.failed) - LISTED_ERRORS) > 0:
        note(f"… and {more:,} more errors; --output result.json lists all")
    for decision in result.decisions:
        if not decision.passed and (shown["quiet"] or shown["format"] != "table"):
            note(f"gate {'failed' if decision.failed else 'missed, a warning'}: {decision}")
    if shown["verbose"]:
        seconds = result.session["seconds"]
        rate = len(result.ids) / seconds if seconds else 0
        note(f"{seconds:.2f} s, {rate:,.0f} pairs/s on {result.session['device']}")
        for each in result.skipped:
            note(printable(f"{each.kind}: {each.message}"))
    if unwritten:
        raise unwritten[0]
    status = result.exit_status
    return 0 if status == 1 and shown["exit_zero"] else status


def same(path: str, other: str | None) -> bool:
    """Whether two paths name the same file."""
    with suppress(OSError):
        return other is not None and os.path.samefile(path, other)
    return False


def summarize(text: str) -> None:
    """Append a report to the summary page of a GitHub workflow; outside of one, print it."""
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
