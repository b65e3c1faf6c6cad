"""A comparison of results as text: tables for people and Markdown, every number as JSON or CSV."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from lossbench.errors import SettingError
from lossbench.output import check_path, own, put
from lossbench.output.csv import cell
from lossbench.output.markdown import escaped, table_lines
from lossbench.output.sections import TOP, WHEN_ANY, Section, heading, plain
from lossbench.output.table import print_sections
from lossbench.results.compare import Change, Comparison
from lossbench.results.reader import Measured

HEADINGS = ("loss", "first", "second", "difference", "ci_low", "ci_high")
RANKED = 3  # results, from which on a ranking says more than two counts


def sections(
    comparison: Comparison, top: int | None = TOP, sort: str | None = None
) -> Iterator[Section]:
    """The tables of a comparison, in their order.

    Args:
        comparison: what is shown.
        top: how many samples to show, None for all that became worse, 0 for none.
        sort: the loss that orders them, the first by default.
    """
    by = comparison.find(sort) if sort else comparison.measured[0]
    for place in range(1, len(comparison.files)):
        yield _changes(comparison, place)
        worsened = _worsened(comparison, place, by, top)
        if worsened.rows:
            yield worsened
    if len(comparison.files) >= RANKED and comparison.ranks:
        yield _ranking(comparison)


def _changes(comparison: Comparison, place: int) -> Section:
    """What became of each loss."""
    changes = [comparison.change(place, each) for each in comparison.measured]
    counts = [_counts(change) for change in changes]
    names = dict.fromkeys(name for each in counts for name in each)
    counted = [name for name in names if name not in WHEN_ANY or any(c[name] for c in counts)]
    rows = [_row(change, each, counted) for change, each in zip(changes, counts, strict=True)]
    first, second = comparison.files[0], comparison.files[place]
    title = f"{second} against {first} · {len(comparison.ids):,} pairs"
    return Section(title, [*HEADINGS, *counted, "verdict"], rows)


def _counts(change: Change) -> dict[str, int]:
    """What became of the samples, and how many differences cannot be averaged."""
    return {**change.counts, **{name: int(change.aggregates[name]) for name in WHEN_ANY}}


def _row(change: Change, counts: Mapping[str, int], counted: Sequence[str]) -> list[str]:
    table = change.aggregates
    numbers = (*change.means, *(table[name] for name in ("mean", "ci_low", "ci_high")))
    cells = (str(counts.get(name, "")) for name in counted)
    return [heading(change.of), *map(plain, numbers), *cells, change.verdict]


def _worsened(comparison: Comparison, place: int, by: Measured, top: int | None) -> Section:
    """The samples that lost most."""
    change = comparison.change(place, by)
    every = comparison.worsened(place, by)
    rows = [
        [
            comparison.ids[at],
            *(plain(each[at]) for each in (change.before, change.after, change.difference)),
        ]
        for at in every[:top]
    ]
    what = "changed" if by.better is None else "became worse"
    title = f"{len(rows):,} of {len(every):,} that {what} by {by.name}, most first"
    return Section(title, ["id", "first", "second", "difference"], rows)


def _ranking(comparison: Comparison) -> Section:
    """The mean rank of each result, the best first by the first loss."""
    ranks = comparison.ranks
    first, *_ = ranks.values()
    measured = [each for each in comparison.measured if each.name in ranks]
    rows = [
        [comparison.files[place], *(plain(ranks[each.name][place]) for each in measured)]
        for place in sorted(range(len(comparison.files)), key=first.__getitem__)
    ]
    return Section("mean rank, 1 is the best", ["result", *map(heading, measured)], rows)


def render_table(
    comparison: Comparison,
    *,
    top: int | None = TOP,
    sort: str | None = None,
    width: int | None = None,
    color: bool = False,
) -> str:
    """Tables for a terminal; options as in `sections` and `print_sections`."""
    return print_sections(sections(comparison, top, sort), width=width, color=color)


def render_markdown(
    comparison: Comparison, *, top: int | None = TOP, sort: str | None = None
) -> str:
    """The same tables in Markdown."""
    lines = ["## lossbench", "", *(f"- {escaped(note)}" for note in comparison.notes)]
    lines += [""] if comparison.notes else []
    for section in sections(comparison, top, sort):
        lines += table_lines(section)
    return "\n".join(lines)


def render_json(comparison: Comparison) -> str:
    """Every number but those of the samples."""
    return json.dumps(comparison.as_json(), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def render_csv(comparison: Comparison) -> str:
    """A row for each sample: its id, then of each loss the value in each result.

    An undefined value is an empty cell; every digit is kept.
    """
    target = StringIO()
    writer = csv.writer(target, lineterminator="\n")
    names = [each.name for each in comparison.measured]
    writer.writerow(["id", *(f"{name} ({file})" for name in names for file in comparison.files)])
    columns = [row.tolist() for name in names for row in comparison.values[name]]
    for name, *numbers in zip(comparison.ids, *columns, strict=True):
        writer.writerow([name, *map(cell, numbers)])
    return target.getvalue()


FORMATS: dict[str, Callable[..., str]] = {
    "table": render_table,
    "json": render_json,
    "csv": render_csv,
    "markdown": render_markdown,
}
ENDINGS = {".txt": "table", ".json": "json", ".csv": "csv", ".md": "markdown"}


def render(comparison: Comparison, format: str, **how: Any) -> str:
    """A comparison as text, with those of the options that the format has."""
    if format not in FORMATS:
        raise SettingError(f"format is one of {', '.join(FORMATS)}, not {format!r}")
    text = FORMATS[format](comparison, **own(FORMATS[format], how))
    return text.encode("utf-8", "backslashreplace").decode()


def save(comparison: Comparison, path: str, **how: Any) -> None:
    """Write a comparison in the format of the ending; a plain file appears by rename.

    Raises:
        SettingError: the ending is of no format.
        OutputError: it cannot be written.
    """
    check_path(path, ENDINGS)
    text = render(comparison, ENDINGS.get(os.path.splitext(path)[1].lower(), "json"), **how)
    put(lambda file: Path(file).write_text(text, encoding="utf-8"), path)
