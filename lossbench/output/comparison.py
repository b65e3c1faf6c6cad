"""Tables of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lossbench.output.sections import SHOWN_IF_ANY, TOP, Section, format_number, heading
from lossbench.results.compare import Change, Comparison
from lossbench.results.reader import Measured

HEADINGS = ("loss", "first", "second", "difference", "ci_low", "ci_high")
RANKED = 3  # from this number of results on, a mean rank says more than two counts


def comparison_sections(
    comparison: Comparison, top: int | None = TOP, sort: str | None = None
) -> Iterator[Section]:
    """The tables of a comparison, in order.

    Args:
        comparison: the comparison.
        top: how many samples that became worse to show; None shows all, 0 none.
        sort: the loss that orders them; the first one by default.
    """
    by = comparison.find(sort) if sort else comparison.measured[0]
    for index in range(1, len(comparison.files)):
        yield _changes(comparison, index)
        worsened = _worsened(comparison, index, by, top)
        if worsened.rows:
            yield worsened
    if len(comparison.files) >= RANKED and comparison.ranks:
        yield _ranking(comparison)


def _changes(comparison: Comparison, index: int) -> Section:
    """How each loss changed from the first result to another."""
    changes = [comparison.change(index, each) for each in comparison.measured]
    counts = [_counts(change) for change in changes]
    names = dict.fromkeys(name for each in counts for name in each)
    shown = [name for name in names if name not in SHOWN_IF_ANY or any(c[name] for c in counts)]
    rows = [_row(change, each, shown) for change, each in zip(changes, counts, strict=True)]
    first, second = comparison.files[0], comparison.files[index]
    title = f"{second} against {first} · {len(comparison.ids):,} pairs"
    return Section(title, [*HEADINGS, *shown, "verdict"], rows)


def _counts(change: Change) -> dict[str, int]:
    """How many samples improved and worsened, and how many differences cannot be averaged."""
    return {**change.counts, **{name: int(change.aggregates[name]) for name in SHOWN_IF_ANY}}


def _row(change: Change, counts: Mapping[str, int], shown: Sequence[str]) -> list[str]:
    table = change.aggregates
    numbers = (*change.means, *(table[name] for name in ("mean", "ci_low", "ci_high")))
    cells = (str(counts.get(name, "")) for name in shown)
    return [heading(change.measured), *map(format_number, numbers), *cells, change.verdict]


def _worsened(comparison: Comparison, index: int, by: Measured, top: int | None) -> Section:
    """The samples that became worse by the largest differences."""
    change = comparison.change(index, by)
    columns = (change.before, change.after, change.difference)
    worsened = comparison.worsened(index, by)
    rows = [
        [comparison.ids[sample], *(format_number(column[sample]) for column in columns)]
        for sample in worsened[:top]
    ]
    verb = "changed" if by.better is None else "became worse"
    title = f"{len(rows):,} of {len(worsened):,} that {verb} by {by.name}, largest change first"
    return Section(title, ["id", "first", "second", "difference"], rows)


def _ranking(comparison: Comparison) -> Section:
    """The mean rank of each result, best first by the first loss."""
    ranks = comparison.ranks
    first, *_ = ranks.values()
    measured = [each for each in comparison.measured if each.name in ranks]
    rows = [
        [comparison.files[index], *(format_number(ranks[each.name][index]) for each in measured)]
        for index in sorted(range(len(comparison.files)), key=first.__getitem__)
    ]
    return Section("mean rank, 1 is the best", ["result", *map(heading, measured)], rows)
