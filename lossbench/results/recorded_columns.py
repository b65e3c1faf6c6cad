"""Columns rebuilt from the way result files describe them."""

from __future__ import annotations

from lossbench.catalog import registry
from lossbench.catalog.columns import Column, Term
from lossbench.catalog.grammar import Operation, fold, leaves, parse_item
from lossbench.catalog.ranges import UNKNOWN, Range, value_range
from lossbench.errors import SettingError
from lossbench.results.reader import Model


def recorded_range(loss: Model, *, of_class: bool = False) -> Range:
    """The ends of a column, or of its class columns; without ends where they are not known.

    Losses of plugins and combinations of losses are not known.
    """
    node = parse_item(loss["expression"]).node
    if len(list(leaves(node))) != len(loss["terms"]):
        return UNKNOWN
    terms = iter(loss["terms"])
    try:
        resolved = fold(node, lambda _: _term(next(terms)), Operation)
    except SettingError:
        return UNKNOWN
    return value_range(Column(loss["name"], loss["expression"], resolved), of_class=of_class)


def _term(stated: Model) -> Term:
    entry = registry.find(stated["loss"])
    return Term(entry.name, tuple(sorted(stated["options"].items())), entry)
