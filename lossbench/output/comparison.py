"""Tables of a comparison."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from lossbench.output.sections import (
    SHOWN_IF_ANY,
    TOP,
    UNDEFINED,
    Section,
    format_number,
    heading,
)
from lossbench.results.change import Change, difference
from lossbench.results.comparison import Comparison
from lossbench.results.paired_tests import standardized
from lossbench.results.ranking import ResultRanking
from lossbench.results.reader import Measured

HEADINGS = ("first", "second", "difference", "ci_low", "ci_high", "verdict")
EVIDENCE = ("p", "p_holm", "dz", "needed")
SHARED = ("improved", "worsened", "changed")  # counts that are shown with their share
RANKED = 3  # from this number of results on, there is more to say than who is better
FOUND = {"became worse": False, "became better": True}  # samples by the direction of change
RANKING = ("result", "mean", "rank", "stable", "mean rank", "rank", "stable")


def comparison_sections(
    comparison: Comparison, top: int | None = TOP, sort: str | None = None
) -> Iterator[Section]:
    """The tables of a comparison, in order.

    Args:
        comparison: the comparison.
        top: how many samples and groups that changed to show; None shows all, 0 none.
        sort: the loss that orders them; the first one by default.
    """
    by = comparison.find(sort) if sort else comparison.measured[0]
    for index in range(1, len(comparison.files)):
        yield _verdicts(comparison, index)
        yield _evidence(comparison, index)
        sections = [
            *_samples(comparison, comparison.change(index, by), top),
            *_groups(comparison.change(index, by), top),
        ]
        yield from (section for section in sections if section.rows)
    if len(comparison.files) >= RANKED:
        for each in comparison.measured:
            if each.better is not None and each.quantity.of_class is None:
                yield _ranking(comparison, each)
                yield _significance(comparison, each)


def _verdicts(comparison: Comparison, index: int) -> Section:
    """How each loss changed from the first result to another."""
    rows = []
    for each in comparison.measured:
        change = comparison.change(index, each)
        table = change.aggregates
        numbers = (*change.means, *(table[name] for name in ("mean", "ci_low", "ci_high")))
        verdict = comparison.verdict(index, each)
        rows.append([heading(each), f"{change.count:,}", *map(format_number, numbers), verdict])
    parts = [f"{comparison.files[index]} against {comparison.files[0]}"]
    parts.append(f"{len(comparison.ids):,} pairs")
    if comparison.groups is not None:
        parts.append(f"{len(comparison.groups.names):,} groups")
    unit = "images" if comparison.groups is None else "groups"
    return Section(" · ".join(parts), ["loss", unit, *HEADINGS], rows)


def _evidence(comparison: Comparison, index: int) -> Section:
    """The images that became better and worse, the test, the effect and the size needed."""
    changes = [comparison.change(index, each) for each in comparison.measured]
    names = dict.fromkeys(name for each in changes for name in each.counts)
    left_out = [name for name in SHOWN_IF_ANY if any(each.undecided[name] for each in changes)]
    rows = []
    for change in changes:
        table, counts = change.aggregates, change.counts
        needed = UNDEFINED if change.needed is None else f"{change.needed:,}"
        rows.append(
            [
                heading(change.measured),
                *(_count(counts, name) for name in names),
                _probability(change.p),
                _probability(comparison.p_holm[index - 1][change.measured.name]),
                format_number(standardized(table["mean"], table["std"])),
                needed,
                *(str(change.undecided[name]) for name in left_out),
            ]
        )
    title = "share of images, permutation test, effect, number needed to decide"
    return Section(title, ["loss", *names, *EVIDENCE, *left_out], rows)


def _count(counts: Mapping[str, int], name: str) -> str:
    """A number of images, with its share in percent; empty where the loss has none."""
    if name not in counts:
        return ""
    share = f" ({100 * counts[name] / sum(counts.values()):.0f} %)" if any(counts.values()) else ""
    return f"{counts[name]}{share if name in SHARED else ''}"


def _probability(p: float) -> str:
    return UNDEFINED if math.isnan(p) else f"{p:.4f}"


def _samples(comparison: Comparison, change: Change, top: int | None) -> Iterator[Section]:
    """The samples that became worse, then those that became better, by the largest differences."""
    measured = change.measured
    verbs = {"changed": False} if measured.better is None else FOUND
    for verb, improved in verbs.items():
        indices = change.largest(None, improved=improved)
        rows = [
            [
                comparison.ids[index],
                *map(format_number, (change.before[index], change.after[index])),
                format_number(change.difference[index]),
            ]
            for index in indices[:top]
        ]
        title = (
            f"{len(rows):,} of {len(indices):,} that {verb} by {measured.name}, largest change"
            " first"
        )
        yield Section(title, ["id", "first", "second", "difference"], rows)


def _groups(change: Change, top: int | None) -> Iterator[Section]:
    """The means of the groups, those that became worse first."""
    import numpy as np

    groups, measured = change.groups, change.measured
    if groups is None:
        return
    each = difference(*change.units)
    harm = {"higher": -each, "lower": each, None: np.abs(each)}[measured.better]
    order = np.argsort(-harm, kind="stable")[:top]
    rows = [
        [
            groups.names[index],
            f"{len(groups.members[index]):,}",
            *(format_number(value) for value in (*change.units[:, index], each[index])),
        ]
        for index in order
    ]
    title = f"mean of {len(rows):,} of {len(groups.names):,} groups by {measured.name}, worst first"
    yield Section(title, ["group", "pairs", "first", "second", "difference"], rows)


def _ranking(comparison: Comparison, measured: Measured) -> Section:
    """The rank of each result by both methods, and how often resampling gives the same rank."""
    ranking = comparison.rankings[measured.name]
    of_means, of_ranks = ranking.positions["of_means"], ranking.positions["of_ranks"]
    rows = []
    for index in sorted(range(len(comparison.files)), key=of_means.__getitem__):
        rows.append(
            [
                comparison.files[index],
                format_number(ranking.means[index]),
                str(of_means[index]),
                _stable(ranking, "of_means", index),
                f"{ranking.mean_ranks[index]:.2f}",
                str(of_ranks[index]),
                _stable(ranking, "of_ranks", index),
            ]
        )
    critical = ranking.critical_difference
    remark = "" if math.isnan(critical) else f" · critical difference {critical:.2f}"
    return Section(f"ranking by {heading(measured)}{remark}", RANKING, rows)


def _stable(ranking: ResultRanking, method: str, index: int) -> str:
    """The share of resamplings in which a result keeps its rank."""
    share = ranking.stability[method][index][ranking.positions[method][index] - 1]
    return f"{100 * share:.0f} %"


def _significance(comparison: Comparison, measured: Measured) -> Section:
    """The verdict about the result of each row against that of each column."""
    rows = [
        [file, *verdicts]
        for file, verdicts in zip(
            comparison.files, comparison.verdicts_of_pairs(measured), strict=True
        )
    ]
    title = f"{heading(measured)}: the result of a row against that of a column"
    return Section(title, ["result", *comparison.files], rows)
