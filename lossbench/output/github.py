"""Annotations of GitHub workflows: lines on stdout that mark files and gates."""

from __future__ import annotations

from collections.abc import Iterator

from lossbench.results.result import Result

IN_TEXT = {"%": "%25", "\r": "%0D", "\n": "%0A"}
IN_PROPERTY = {**IN_TEXT, ":": "%3A", ",": "%2C"}


def render_result(result: Result) -> str:
    """One line for each gate that failed, each pair that failed, and each kind of skipped pair."""
    return "".join(f"{line}\n" for line in _lines(result))


def _lines(result: Result) -> Iterator[str]:
    for decision in result.decisions:
        if not decision.passed:
            level, title = (
                ("error", "gate failed") if decision.failed else ("warning", "gate missed")
            )
            yield _annotation(level, str(decision), title=title)
    for failed in result.failed:
        yield _annotation("error", failed.message, file=failed.file, title=f"{failed.kind} input")
    skipped = {kind: result.counts.get(kind, 0) for kind in ("missing", "extra")}
    for kind, count in skipped.items():
        count -= sum(failed.kind == kind for failed in result.failed)
        if count:
            yield _annotation("warning", f"{count} pairs are not evaluated", title=f"{kind} files")


def _annotation(level: str, message: str, **properties: str | None) -> str:
    """A workflow command with its special characters escaped."""
    listed = ",".join(
        f"{name}={_escaped(value, IN_PROPERTY)}" for name, value in properties.items() if value
    )
    return f"::{level} {listed}::{_escaped(message, IN_TEXT)}"


def _escaped(text: str, table: dict[str, str]) -> str:
    return "".join(table.get(character, character) for character in text)
