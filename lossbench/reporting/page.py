"""The HTML page of a result: numbers, distributions, and the worst samples as pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossbench.errors import SettingError, counted
from lossbench.output.sections import (
    SHOWN,
    SHOWN_IF_ANY,
    Section,
    aggregate_rows,
    format_number,
    heading,
)
from lossbench.reporting.elements import document, histogram_of, image_of, key_to, table_of, text_of
from lossbench.reporting.report import Report
from lossbench.results.aggregates import worst_first
from lossbench.results.json_numbers import from_number
from lossbench.results.reader import Measured

if TYPE_CHECKING:
    from lossbench.reporting.overlays import Overlay

ROWS = 1000  # samples in the table
PICTURES = 12
HERE = Path(__file__).parent
LISTED_ERRORS = LISTED_GROUPS = 100


def render_report(
    report: Report, *, top: int | None = ROWS, pictures: int = PICTURES, sort: str | None = None
) -> str:
    """One page of HTML that needs no other file.

    Args:
        report: the result to show.
        top: how many of the worst samples the table lists; None lists all, 0 omits the table.
        pictures: how many of the worst samples are shown as pictures.
        sort: the column that decides which samples are worst; the first column by default.

    Raises:
        SettingError: there is no such column, or a number is less than 0.
    """
    if pictures < 0 or (top is not None and top < 0):
        raise SettingError("pictures and top are 0 or more")
    by = report.find(sort) if sort else report.measured[0]
    run = report.model["run"]
    sides = [run["pred"], run["target"]]
    title = run["settings"]["manifest"] or " against ".join(filter(None, sides)) or report.file
    return document(title, _parts(report, by, top, pictures))


def _parts(report: Report, by: Measured, top: int | None, pictures: int) -> Iterator[str]:
    """The parts of the page, from top to bottom."""
    model = report.model
    yield from _head(report)
    yield from _gates(model.get("gates", []))
    yield from _doubts(model["run"].get("doubts", []))
    yield from _errors(model.get("errors", []))
    tables = [_table(each, model["aggregate"]) for each in report.measured]
    names = [name for name in (*SHOWN, *SHOWN_IF_ANY) if all(name in table for table in tables)]
    rows = aggregate_rows(tables, dict(zip(names, names, strict=True)))
    yield "<h2>Aggregates</h2>"
    yield table_of(Section("", ["aggregate", *map(heading, report.measured)], rows))
    yield "<h2>Distributions</h2>"
    yield '<p class="soft">The line is the mean, the dashes are the median.</p>'
    yield f'<div class="charts">{"".join(_chart(report, each) for each in report.measured)}</div>'
    yield from _classes(report)
    yield from _groups(report, by)
    if pictures:
        yield from _pictures(report, by, pictures)
    if top != 0:
        yield from _samples(report, by, top)
    yield from _definitions(report)


def _head(report: Report) -> Iterator[str]:
    model = report.model
    run, session = model["run"], model["session"]
    counts = run["pairs"]
    yield f"<p>{text_of(run['plan']['text'])}</p>"
    facts = [
        counted(counts["evaluated"], "pair"),
        *(f"{counts[name]:,} {name}" for name in ("missing", "extra", "errors") if counts[name]),
        f"convention {run['convention']}",
        f"{session['seconds']:,.1f} s on {session['device']}",
        f"{session['started'].replace('T', ' ')}",
        f"lossbench {session['lossbench']}",
        report.file,
    ]
    yield f'<p class="soft">{text_of(" · ".join(facts))}</p>'


def _gates(gates: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    items = []
    for gate in gates:
        passed, warn = gate["passed"], gate.get("warn")
        style, mark = ("good", "✓") if passed else ("warn", "⚠") if warn else ("bad", "✗")
        remark = ", where all values lie" if gate.get("at_end") else ""
        value = f'<span class="soft">is {from_number(gate["value"])!r}{remark}</span>'
        items.append(f'<li class="{style}">{mark} {text_of(gate["gate"])} {value}</li>')
    return _list("Gates", items)


def _doubts(doubts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    items = []
    for doubt in doubts:
        style, mark = ("soft", "accepted:") if doubt["accepted"] else ("warn", "⚠")
        items.append(f'<li class="{style}">{mark} {text_of(doubt["message"])}</li>')
    return _list("Doubts", items)


def _errors(errors: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    listed = (text_of(each["error"]) for each in errors[:LISTED_ERRORS])
    items = [f'<li class="bad file">{text}</li>' for text in listed]
    if len(errors) > LISTED_ERRORS:
        items.append(f"<li>… and {len(errors) - LISTED_ERRORS:,} more</li>")
    return _list("Errors", items)


def _list(title: str, items: Sequence[str]) -> Iterator[str]:
    """A list under its title; nothing if the list is empty."""
    if items:
        yield f'<h2>{title}</h2>\n<ul class="plain">'
        yield from items
        yield "</ul>"


def _table(measured: Measured, tables: Mapping[str, Any]) -> dict[str, float]:
    """The aggregates of a column or of one of its classes, from tables by column."""
    column, of_class = measured.quantity
    table = tables[column] if of_class is None else tables[column]["classes"][of_class]
    return {name: from_number(each) for name, each in table.items() if not isinstance(each, dict)}


def _classes(report: Report) -> Iterator[str]:
    """The mean of each class, for columns that have classes."""
    tables = report.model["aggregate"]
    columns = [each for each in _columns(report) if "classes" in tables[each.name]]
    classes = [tables[each.name]["classes"] for each in columns]
    if columns:
        rows = [
            [name, *(format_number(from_number(table[name]["mean"])) for table in classes)]
            for name in report.model["run"]["classes"]
        ]
        yield "<h2>Classes</h2>"
        yield table_of(Section("mean of each class", ["class", *map(heading, columns)], rows))


def _groups(report: Report, by: Measured) -> Iterator[str]:
    """The mean of each group, worst first."""
    groups, columns = report.model.get("groups", {}), _columns(report)
    if groups and columns:
        names, means = list(groups), [_table(by, each)["mean"] for each in groups.values()]
        rows = []
        for index in worst_first(means, by.better)[:LISTED_GROUPS]:
            tables = [_table(each, groups[names[index]]) for each in columns]
            pairs = tables[0]["count"] + tables[0]["undefined"]
            cells = (format_number(table["mean"]) for table in tables)
            rows.append([names[index], f"{pairs:.0f}", *cells])
        title = f"mean of {len(rows):,} of {len(names):,} groups, worst by {by.name} first"
        yield "<h2>Groups</h2>"
        yield table_of(Section(title, ["group", "pairs", *map(heading, columns)], rows))


def _columns(report: Report) -> list[Measured]:
    """Whole columns, without single classes."""
    return [each for each in report.measured if each.quantity.of_class is None]


def _chart(report: Report, measured: Measured) -> str:
    """The histogram of a column with its mean and median."""
    counts, edges = report.histogram(measured)
    table = _table(measured, report.model["aggregate"])
    means = {name: table[name] for name in ("mean", "median")}
    caption = [
        f"{sum(counts):,} samples",
        *(f"{name} {format_number(value)}" for name, value in means.items()),
        *(f"{table[name]:.0f} {name}" for name in SHOWN_IF_ANY if table[name]),
    ]
    drawing = histogram_of(measured.name, counts, edges, means) if any(counts) else ""
    return (
        f"<figure><h3>{text_of(heading(measured))}</h3>{drawing}"
        f"<figcaption>{text_of(' · '.join(caption))}</figcaption></figure>"
    )


def _pictures(report: Report, by: Measured, count: int) -> Iterator[str]:
    """The worst samples as pictures."""
    indices, overlays = report.worst_pictures(by, count)
    if not indices:
        return
    yield f"<h2>Worst by {text_of(by.name)}</h2>"
    yield from (f'<p class="soft">{text_of(note)}</p>' for note in overlays.notes)
    if overlays.samples:
        order = "Ground truth, prediction and errors of each sample; the errors:"
        yield f'<p><span class="key">{order}</span>{key_to(overlays.legend)}</p>'
        yield f"<p>{key_to(overlays.classes)}</p>" if overlays.classes else ""
        yield '<div class="samples">'
        for name, index in indices.items():
            if name in overlays.samples:
                yield _sample(report, name, index, overlays.samples[name])
        yield "</div>"


def _sample(report: Report, name: str, index: int, overlay: Overlay) -> str:
    """The pictures of one sample and its values."""
    tiles = "".join(image_of(image, title) for title, image in overlay.images.items())
    values = [
        f"{each.name} {format_number(report.values[each.name][index])}" for each in report.measured
    ]
    caption = " · ".join([*values, *filter(None, [overlay.remark])])
    return (
        f'<figure><h3>{text_of(name)}</h3><div class="tiles">{tiles}</div>'
        f"<figcaption>{text_of(caption)}</figcaption></figure>"
    )


def _samples(report: Report, by: Measured, top: int | None) -> Iterator[str]:
    """The table of samples, which the reader can sort and search."""
    order = report.worst(by, top)
    headings = ['<th scope="col"><button>id</button></th>']
    for each in report.measured:
        sort = f' aria-sort="{"ascending" if by.better == "higher" else "descending"}"'
        headings.append(
            f'<th scope="col" data-better="{each.better or "lower"}"{sort if each == by else ""}>'
            f"<button>{text_of(heading(each))}</button></th>"
        )
    columns = [report.values[each.name] for each in report.measured]
    some = f"the worst {len(order):,} of " if len(order) < len(report.ids) else ""
    yield "<h2>Samples</h2>"
    yield f'<p class="soft">{some}{len(report.ids):,}, worst by {text_of(by.name)} first</p>'
    yield '<input type="search" id="search" placeholder="part of an id" aria-label="part of an id">'
    yield '<div class="wide"><table id="samples">'
    yield f"<thead><tr>{''.join(headings)}</tr></thead>\n<tbody>"
    for index in order:
        cells = "".join(_cell(float(column[index])) for column in columns)
        yield f"<tr><td>{text_of(report.ids[index])}</td>{cells}</tr>"
    yield "</tbody></table></div>"
    yield f"<script>\n{(HERE / 'page.js').read_text('utf-8')}</script>"


def _cell(value: float) -> str:
    """A rounded number, with every digit in an attribute for sorting."""
    exact = "" if math.isnan(value) else repr(value).replace("inf", "Infinity")
    return f'<td data-v="{exact}">{format_number(value)}</td>'


def _definitions(report: Report) -> Iterator[str]:
    """The definition of each loss."""
    columns = {each.quantity.column for each in report.measured}
    yield "<h2>Definitions</h2>\n<dl>"
    for loss in report.model["run"]["losses"]:
        if loss["name"] in columns:
            yield f"<dt>{text_of(loss['expression'])}</dt><dd>{text_of(loss['definition'])}</dd>"
    yield "</dl>"
