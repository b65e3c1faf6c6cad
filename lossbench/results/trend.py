"""Losses over epochs: from result files or logged series to the best epoch and the trend."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lossbench.errors import SettingError, counted
from lossbench.results.change import BETTER, WORSE
from lossbench.results.compare import compare
from lossbench.results.comparison import Comparison
from lossbench.results.json_numbers import jsonable
from lossbench.results.logged_series import LoggedSeries, is_logged, read_logged
from lossbench.results.reader import Measured
from lossbench.results.trend_statistics import (
    WINDOW,
    Tendency,
    averages_so_far,
    best_index,
    first_sign,
    tendency,
)

NUMBER = re.compile(r"\d+")
AGGREGATES = ("mean", "ci_low", "ci_high")


@dataclass(frozen=True)
class EpochSeries:
    """One loss over the epochs.

    Attributes:
        name: the loss.
        better: lower, higher, or None.
        means: of each epoch.
        ci_low: lower ends of their intervals, nan where there is none.
        ci_high: upper ends.
        verdicts: of each epoch against the best one, as `compare` has them; None where a series
            has no samples.
        train: the training series, nan where an epoch has no value; None without one.
        train_better: its better direction.
        window: how many of the last epochs the trend is about.
    """

    name: str
    better: str | None
    means: Sequence[float]
    ci_low: Sequence[float]
    ci_high: Sequence[float]
    verdicts: Sequence[str] | None
    train: Sequence[float] | None
    train_better: str | None
    window: int

    @cached_property
    def averages(self) -> list[float]:
        """The mean over all epochs up to each one."""
        return averages_so_far(self.means)

    @property
    def columns(self) -> dict[str, Sequence[float]]:
        """What outputs have for each epoch."""
        columns = (self.means, self.ci_low, self.ci_high, self.averages)
        return dict(zip((*AGGREGATES, "average_so_far"), columns, strict=True))

    @property
    def best(self) -> int | None:
        """The index of the best epoch."""
        return best_index(self.means, self.better)

    @cached_property
    def tied(self) -> list[int]:
        """Indices of the other epochs that the paired test cannot tell from the best one."""
        verdicts = () if self.best is None else self.verdicts or ()
        return [
            index
            for index, verdict in enumerate(verdicts)
            if index != self.best and verdict not in (BETTER, WORSE)
            and not math.isnan(self.means[index])
        ]  # fmt: skip

    @cached_property
    def tendency(self) -> Tendency:
        """Whether the last epochs still improve."""
        return tendency(self.means, self.better, self.window)

    @cached_property
    def overfitting(self) -> int | None:
        """The index of the first epoch that overfits; None if none does, or is known to do so."""
        if self.train is None:
            return None
        worse = None
        if self.verdicts is not None:
            worse = [verdict == WORSE for verdict in self.verdicts]
        return first_sign(self.means, self.better, self.train, self.train_better, worse)


@dataclass(frozen=True)
class Trend:
    """Losses over epochs.

    Attributes:
        epochs: their numbers.
        runs: the result file, folder or table of each epoch.
        series: the losses.
        notes: what could not be compared, and how tables were read.
        errors: what failed while epochs were evaluated.
    """

    epochs: Sequence[int]
    runs: Sequence[str]
    series: Sequence[EpochSeries]
    notes: Sequence[str] = ()
    errors: Sequence[str] = ()

    @property
    def exit_status(self) -> int:
        """Exit status: 3 if a pair of an epoch failed, else 0."""
        return 3 if self.errors else 0

    def epoch(self, index: int | None) -> int | None:
        """The number of an epoch by its index."""
        return None if index is None else self.epochs[index]

    def as_json(self) -> dict[str, Any]:
        """Every number; nan is null, infinities are strings."""
        model = {
            "epochs": [
                {
                    "epoch": epoch,
                    "run": run,
                    "losses": {
                        each.name: {name: column[at] for name, column in each.columns.items()}
                        for each in self.series
                    },
                }
                for at, (epoch, run) in enumerate(zip(self.epochs, self.runs, strict=True))
            ],
            "best": {
                each.name: {
                    "epoch": self.epoch(each.best),
                    "tied": [self.epochs[index] for index in each.tied],
                }
                for each in self.series
            },
            "trend": {each.name: each.tendency._asdict() for each in self.series},
            "overfitting": {each.name: self.epoch(each.overfitting) for each in self.series},
        }
        return dict(jsonable(model))


@dataclass(frozen=True)
class TrendOptions:
    """What a trend is about besides its epochs.

    Attributes:
        losses: columns of results; all that these have in common by default.
        columns: columns of tables, as NAME, NAME=lower or NAME=higher.
        train: result files or one table of the training.
        train_columns: columns of that table, one for each loss.
        window: how many of the last epochs the trend is about.
    """

    losses: Sequence[str] = ()
    columns: Sequence[str] = ()
    train: Sequence[str] = ()
    train_columns: Sequence[str] = ()
    window: int = WINDOW


def read_trend(files: Sequence[str], options: TrendOptions) -> Trend:
    """The trend of result files in their order, or of one table of a logger."""
    if any(map(is_logged, files)):
        if len(files) > 1:
            raise SettingError(
                f"{next(filter(is_logged, files))} is a table of all epochs; give it alone,"
                " with --column"
            )
        return _trend_of_table(files[0], options)
    if options.columns:
        raise SettingError(
            f"--column {options.columns[0]} is for a CSV; choose the columns of results with --loss"
        )
    numbers, notes = epoch_numbers(files)
    return trend_of_results(numbers, files, files, options, notes)


def epoch_numbers(files: Sequence[str]) -> tuple[list[int], list[str]]:
    """The epochs of files: the one number that rises from name to name, else 1, 2, …; notes.

    A shell sorts epoch_10.json before epoch_2.json, which a note says.
    """
    counting = list(range(1, len(files) + 1))
    paths = [os.path.normpath(file).replace(os.sep, "/") for file in files]
    found = [list(map(int, NUMBER.findall(path))) for path in paths]
    if len({NUMBER.sub("#", path) for path in paths}) > 1 or len(files) < 2:
        return counting, []
    differing = [column for column in zip(*found, strict=True) if len(set(column)) > 1]
    if len(differing) != 1:
        return counting, []
    numbers = list(differing[0])
    if numbers == sorted(set(numbers)):
        return numbers, []
    fall = next((at for at in range(1, len(numbers)) if numbers[at] <= numbers[at - 1]), 1)
    return counting, [
        f"{files[fall - 1]} comes before {files[fall]}, so epochs are counted 1 to {len(files)} in"
        " the given order; --pattern with {n} in place of the number sorts them"
    ]


def trend_of_results(
    epochs: Sequence[int],
    runs: Sequence[str],
    files: Sequence[str],
    options: TrendOptions,
    notes: Sequence[str] = (),
    errors: Sequence[str] = (),
) -> Trend:
    """The trend of a result file for each epoch.

    Args:
        epochs: their numbers.
        runs: what messages and outputs call them.
        files: their results.
        options: the losses, the training and the window.
        notes: to keep.
        errors: to keep.

    Raises:
        SettingError: ground truth was read in two ways, or a loss is not in all of the results.
        InputError: a file is not a result, or the results have no loss or sample in common.
    """
    # A comparison needs two results: a single one is compared with itself.
    comparison = compare(files if len(files) > 1 else [*files, *files], options.losses)
    names = dict(zip(files, runs, strict=True))
    remarks = [_renamed(note, names) for note in comparison.notes] if len(files) > 1 else []
    losses = [each.name for each in comparison.measured]
    training, of_training = _training(epochs, losses, options)
    series = [
        _series(comparison, each, len(files), training.get(each.name), options.window)
        for each in comparison.measured
    ]
    return Trend(epochs, runs, series, [*notes, *remarks, *of_training], errors)


def _renamed(note: str, names: Mapping[str, str]) -> str:
    """A note with the names of the epochs in place of those of their results."""
    for file, run in names.items():
        note = note.replace(file, run)
    return note


def _series(
    comparison: Comparison,
    measured: Measured,
    count: int,
    train: LoggedSeries | None,
    window: int,
) -> EpochSeries:
    """A quantity over the results of a comparison."""
    column, of_class = measured.quantity
    tables = [model["aggregate"][column] for model in comparison.models[:count]]
    if of_class is not None:
        tables = [table["classes"][of_class] for table in tables]
    means, lows, highs = (
        [math.nan if table.get(name) is None else float(table[name]) for table in tables]
        for name in AGGREGATES
    )
    best = best_index(means, measured.better)
    verdicts = []
    if best is not None:
        for other in range(count):
            change = comparison.between(best, other, measured)
            verdicts.append(change.verdict(change.p))
    return EpochSeries(
        measured.name,
        measured.better,
        means,
        lows,
        highs,
        verdicts,
        train and train.values,
        train and train.better,
        window,
    )


def _trend_of_table(file: str, options: TrendOptions) -> Trend:
    """The trend of columns of a CSV that a logger wrote."""
    if options.losses:
        raise SettingError(
            f"--loss {options.losses[0]} is for results; choose columns of {file} with --column"
        )
    columns, notes = read_logged(file, options.columns, "--column")
    epochs = sorted({epoch for each in columns for epoch in each.epochs})
    undefined = [math.nan] * len(epochs)
    training, of_training = _training(epochs, [each.name for each in columns], options)
    series = [
        EpochSeries(
            each.name,
            each.better,
            each.at(epochs).values,
            undefined,
            undefined,
            None,
            training[each.name].values if each.name in training else None,
            training[each.name].better if each.name in training else None,
            options.window,
        )
        for each in columns
    ]
    notes = [*notes, *of_training, f"{file} has no samples: no test tells epochs from the best one"]
    return Trend(epochs, [file] * len(epochs), series, notes)


def _training(
    epochs: Sequence[int], names: Sequence[str], options: TrendOptions
) -> tuple[dict[str, LoggedSeries], Sequence[str]]:
    """The training series of each loss, with a value for each epoch; notes."""
    files = options.train
    if not files:
        if options.train_columns:
            raise SettingError(
                f"--train-column {options.train_columns[0]} needs --train FILE, the CSV that has it"
            )
        return {}, ()
    if is_logged(files[0]):
        if len(files) > 1:
            raise SettingError(f"--train {files[0]} is a table of all epochs; give it alone")
        wanted = options.train_columns or [_training_name(name) for name in names]
        if len(wanted) != len(names):
            raise SettingError(
                f"{counted(len(wanted), '--train-column')} for {counted(len(names), 'loss')}"
                f" ({', '.join(names)}); give one for each, in this order"
            )
        logged, notes = read_logged(files[0], wanted, "--train-column")
    else:
        if options.train_columns:
            raise SettingError(
                "--train-column is for a CSV; results have columns of the same names"
            )
        trend = read_trend(files, TrendOptions(losses=names))
        notes = [f"training: {note}" for note in trend.notes]
        numbers = epochs if len(epochs) == len(files) else trend.epochs
        logged = [
            LoggedSeries(each.name, each.better, numbers, each.means) for each in trend.series
        ]
    if not set(epochs) & {epoch for each in logged for epoch in each.epochs}:
        raise SettingError(
            f"--train {files[0]} has epochs {_span(logged[0].epochs)}, and the results"
            f" {_span(epochs)}; give the training of the same epochs"
        )
    return {name: each.at(epochs) for name, each in zip(names, logged, strict=True)}, notes


def _training_name(name: str) -> str:
    """The column of the training that corresponds to one of the validation."""
    return re.sub(r"(?<![a-z])val(id(ation)?)?(?![a-z])", "train", name)


def _span(epochs: Sequence[int]) -> str:
    return f"{epochs[0]} to {epochs[-1]}" if epochs else "none"
