"""Series from the CSV of a logger: Lightning's metrics.csv, Ultralytics' results.csv, any other."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from lossbench.errors import InputError, SettingError, did_you_mean, file_beside, os_reason

ENDING = ".csv"
EPOCH = "epoch"
DIRECTIONS = ("lower", "higher")
# Words of names whose columns are better where they are higher.
SCORES = re.compile(
    r"acc|map|ap\d|iou|dice_score|f1|precision|recall|auc|auroc|psnr|ssim|score|r2|kappa|mcc", re.I
)
LOSSES = re.compile("loss|err", re.I)


class LoggedSeries(NamedTuple):
    """One column of a table: a value for each epoch that has one."""

    name: str
    better: str | None
    epochs: Sequence[int]
    values: Sequence[float]

    def at(self, epochs: Sequence[int]) -> LoggedSeries:
        """The series at other epochs, nan where it has no value."""
        known = dict(zip(self.epochs, self.values, strict=True))
        return self._replace(epochs=epochs, values=[known.get(each, math.nan) for each in epochs])


def is_logged(file: str) -> bool:
    """Whether a file is a table of all epochs, not the result of one."""
    return file.lower().endswith(ENDING)


def read_logged(
    file: str, columns: Sequence[str], option: str
) -> tuple[list[LoggedSeries], list[str]]:
    """Columns of a table, and notes on directions that were guessed.

    A row without a value in the column is passed over; of several rows of an epoch the last counts.
    Rows are numbered from 1 where no column is called epoch.

    Args:
        file: a CSV with one line of headings.
        columns: NAME, NAME=lower or NAME=higher.
        option: what names them on the command line.

    Raises:
        SettingError: there is no such column, or none is named.
        InputError: the file cannot be read, or a value is no number.
    """
    try:
        with open(file, encoding="utf-8-sig", newline="") as opened:
            rows = [[cell.strip() for cell in row] for row in csv.reader(opened) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = os_reason(error)
        raise InputError(f"{file} cannot be read: {reason}{file_beside(file)}") from None
    if len(rows) < 2:
        raise InputError(f"{file} has no row below its headings; log an epoch first")
    headings = rows[0]
    known = [name for name in headings if name and name.lower() != EPOCH]
    if not columns:
        raise SettingError(f"{file}: name a column with {option}; there are {', '.join(known)}")
    epoch_at = next((at for at, name in enumerate(headings) if name.lower() == EPOCH), None)
    series, notes = [], []
    for column in columns:
        name, better = _direction(column, headings)
        if name not in headings:
            near = did_you_mean(name, known)
            raise SettingError(
                f"{file} has no column {name!r}{near}; {option} takes {', '.join(known)}"
            )
        if not better:
            better = "higher" if SCORES.search(name) and not LOSSES.search(name) else "lower"
            notes.append(
                f"{name}: {better} is better, by its name; {option} {name}={_opposite(better)}"
                " says otherwise"
            )
        epochs = _read_epochs(file, rows, headings.index(name), epoch_at)
        series.append(LoggedSeries(name, better, list(epochs), list(epochs.values())))
    return series, notes


def _direction(column: str, headings: Sequence[str]) -> tuple[str, str]:
    """Name and direction from NAME or NAME=lower; a heading may hold the sign itself."""
    name, _, better = column.rpartition("=")
    return (name, better) if better in DIRECTIONS and column not in headings else (column, "")


def _opposite(better: str) -> str:
    return DIRECTIONS[better == "lower"]


def _read_epochs(
    file: str, rows: Sequence[Sequence[str]], column: int, epoch_at: int | None
) -> dict[int, float]:
    """Epoch -> value of a column, in the order of the epochs."""
    values: dict[int, float] = {}
    for line, row in enumerate(rows[1:], 1):
        if column >= len(row) or not row[column]:
            continue
        cells = (row[column], str(line) if epoch_at is None else row[epoch_at])
        try:
            value, epoch = map(float, cells)
        except ValueError:
            where = f"{os.path.basename(rows[0][column])} of row {line}"
            raise InputError(
                f"{file}: {where} is {cells[0]!r} at epoch {cells[1]!r}; expected numbers, so"
                " correct or delete the row"
            ) from None
        if not epoch.is_integer():
            raise InputError(f"{file}: row {line} has epoch {cells[1]}; expected a whole number")
        values[int(epoch)] = value
    return dict(sorted(values.items()))
