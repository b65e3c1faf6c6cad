"""Patterns of paths with the number of an epoch: which files and folders fit."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lossbench.errors import InputError, SettingError, os_reason

NUMBER = "{n}"
Paths = dict[int | None, str]  # by the number of the epoch; None before it is known
EXAMPLE = "--pattern 'runs/epoch_{n}/pred'"


@dataclass(frozen=True)
class EpochPattern:
    """A path in which {n} stands for the number of an epoch, once or in several places."""

    text: str

    def __post_init__(self) -> None:
        if "://" in self.text:
            raise SettingError(
                f"--pattern {self.text} is a URL, and only local folders are listed; evaluate each"
                " epoch with lossbench eval -o, then give the results to lossbench trend"
            )
        if NUMBER not in self.text:
            raise SettingError(
                f"--pattern {self.text} has no {NUMBER} for the number of the epoch; write it like"
                f" {EXAMPLE}"
            )

    @property
    def folder(self) -> str:
        """The fixed part: the folder above the first part with a number."""
        return os.path.dirname(self.text.partition(NUMBER)[0])

    def find(self) -> dict[int, str]:
        """The paths that fit, by epoch in rising order; none if there are none yet.

        Raises:
            SettingError: two paths have the same number.
            InputError: a folder cannot be read.
        """
        above = self.folder
        parts = os.path.relpath(self.text, above or ".").split(os.sep)
        paths: Paths = {None: above}
        for part in parts:
            paths = self._below(paths, part)
        return dict(sorted((number, path) for number, path in paths.items() if number is not None))

    def _below(self, above: Paths, part: str) -> Paths:
        """The paths of one more part."""
        if NUMBER not in part:
            below = {number: os.path.join(path, part) for number, path in above.items()}
            return {number: path for number, path in below.items() if os.path.exists(path)}
        first, *others = map(re.escape, part.split(NUMBER))
        form = re.compile(f"{first}([0-9]+)" + r"\1".join(others))
        paths: Paths = {}
        for number, path in above.items():
            for name in _names(path):
                match = form.fullmatch(name)
                if not match or number not in (None, int(match[1])):
                    continue
                own, fits = int(match[1]), os.path.join(path, name)
                if own in paths:
                    raise SettingError(
                        f"{paths[own]} and {fits} are both epoch {own}; rename or move one"
                    )
                paths[own] = fits
        return paths

    def check_any(self, found: dict[int, str]) -> None:
        """Refuse a pattern that nothing fits."""
        if not found:
            above = self.folder or "."
            names = sorted(_names(above))[:5] if os.path.isdir(above) else []
            there = f"{above} has {', '.join(names)}" if names else f"{above} is empty or absent"
            raise InputError(
                f"nothing fits --pattern {self.text}, where {NUMBER} is a whole number; {there}",
                kind="missing",
            )


def training_files(files: Sequence[str], *, must_exist: bool = True) -> tuple[str, ...]:
    """The results of the training; a path with {n} stands for all that fit, in their order."""
    listed: list[str] = []
    for file in files:
        if NUMBER in file:
            epochs = EpochPattern(file)
            fitting = epochs.find()
            if must_exist:
                epochs.check_any(fitting)
            listed += fitting.values()
        else:
            listed.append(file)
    return tuple(listed)


def _names(folder: str) -> list[str]:
    """The names in a folder; none if it is a file or is gone."""
    try:
        return os.listdir(folder or ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {os_reason(error)}") from None
