"""Every convention's row beside the columns of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from lossbench.catalog import registry
from lossbench.catalog.columns import Column, in_meaning, with_defaults, written_losses
from lossbench.catalog.conventions import ALL, CONVENTIONS, DEFAULT, Convention
from lossbench.catalog.grammar import ExpressionError, Loss
from lossbench.catalog.options import OptionError, format_loss
from lossbench.engine.settings import Settings
from lossbench.results.aggregates import aggregate
from lossbench.results.result import ColumnValues, ConventionValue


@dataclass(frozen=True)
class ConventionColumn:
    """A column as a convention computes it, and which number of it that tool reports."""

    convention: str
    column: Column
    aggregate: str


def comparison(columns: Sequence[Column], settings: Settings, task: str) -> list[ConventionColumn]:
    """Each column under each convention that has all of its losses; nothing unless asked for."""
    if settings.convention != ALL:
        return []
    rows = []
    for preset in CONVENTIONS.values():
        defaults = settings.defaults(preset, task)
        for column in columns:
            if wanted := reported(preset, column, task):
                with suppress(ExpressionError):  # options that the tool cannot have
                    row = ConventionColumn(preset.name, with_defaults(column, defaults), wanted)
                    rows.append(row)
    return rows


def meant_otherwise(columns: Sequence[Column], settings: Settings, task: str) -> list[str]:
    """For people: written options that a tool means otherwise, and what they are here."""
    presets = CONVENTIONS.values() if settings.convention == ALL else [settings.preset]
    losses = {format_loss(loss): loss for each in columns for loss in written_losses(each)}
    notes = []
    for preset in presets:
        defaults = settings.defaults(preset, task)
        for text, loss in losses.items():
            name = registry.find(loss.name).name
            with suppress(OptionError):
                own = in_meaning(name, loss.options, defaults)
                if own != loss.options:
                    notes.append(f"{text} of {preset.name} is {format_loss(Loss(name, own))} here")
    return notes


def reported(preset: Convention, column: Column, task: str) -> str | None:
    """The aggregate that a tool reports of a column; None where it lacks one of its losses."""
    if preset.name == DEFAULT:
        return "mean"
    written = written_losses(column)
    rules = [preset.rule(registry.find(loss.name).name, task) for loss in written]
    kinds = {rule.aggregate if rule else None for rule in rules}
    if None in kinds:
        return None
    return kinds.pop() if len(kinds) == 1 else "mean"


def table(
    elsewhere: Sequence[ConventionColumn], values: Sequence[ColumnValues], task: str
) -> dict[str, dict[str, ConventionValue]]:
    """Convention -> column -> what it reports; a row for each convention, even an empty one."""
    rows: dict[str, dict[str, ConventionValue]]
    rows = {name: {} for name in CONVENTIONS} if elsewhere else {}
    for each, found in zip(elsewhere, values, strict=True):
        value = ConventionValue(reduced(each, found, task), each.aggregate, each.column)
        rows[each.convention][each.column.name] = value
    return rows


def reduced(each: ConventionColumn, found: ColumnValues, task: str) -> float:
    """One number of all samples; only a multiclass task has a background among its classes."""
    if each.aggregate == "pooled":
        return found.pooled
    if each.aggregate == "class_mean" and found.class_columns is not None:
        without = task == "multiclass" and any(
            term.options.get("background") is False for term in each.column.terms
        )
        means = [aggregate(row)["mean"] for row in found.class_columns[without:]]
        return aggregate([mean for mean in means if not math.isnan(mean)])["mean"]
    return aggregate(found.column)["mean"]
