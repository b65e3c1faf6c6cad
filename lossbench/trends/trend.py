"""The trend of folders of epochs, evaluated and remembered, once or again and again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lossbench.errors import InputError, SettingError
from lossbench.results.formats import READABLE
from lossbench.results.reader import read_result, read_samples
from lossbench.results.trend import Trend, TrendOptions, trend_of_results
from lossbench.trends.epoch_pattern import EpochPattern, training_files
from lossbench.trends.remembered import FOLDER, EvaluatedEpoch, RememberedRuns
from lossbench.trends.watch import EpochWatch


@dataclass
class PatternTrend:
    """The trend of all epochs that fit a pattern.

    Attributes:
        pattern: where the predictions, or the results, of each epoch are.
        options: the losses, the training and the window.
        runs: evaluates epochs; None where the pattern names results.
        strict: whether doubts that are not accepted are errors.
    """

    pattern: EpochPattern
    options: TrendOptions
    runs: RememberedRuns | None
    strict: bool = False

    def read(self) -> Trend:
        """The trend of the epochs that are there now."""
        found = self.pattern.find()
        self.pattern.check_any(found)
        return self._trend({number: self._result(number, path) for number, path in found.items()},
                           found)  # fmt: skip

    def watch(
        self, interval: float, until: int | None, note: Callable[[str], None]
    ) -> Iterator[Trend]:
        """The trend of the complete epochs, each time there are others."""
        results: dict[int, EvaluatedEpoch] = {}

        def take(number: int, path: str) -> str:
            result = self._result(number, path)
            if result.errors:
                return result.errors[0]
            results[number] = result
            return ""

        watch = EpochWatch(self.pattern.find, take, note)
        for taken in watch.changes(interval, until):
            try:
                trend = self._trend({number: results[number] for number in taken}, taken)
            except InputError as error:  # of the training, which is being written, too
                note(f"epoch {max(taken)} is not shown yet: {error}")
            else:
                yield trend

    def _result(self, number: int, path: str) -> EvaluatedEpoch:
        if self.runs:
            return self.runs.evaluate(number, path)
        read_samples(path, [], read_result(path))  # refuses what is no complete result
        return EvaluatedEpoch(path, (), (), is_new=False)

    def _trend(self, results: Mapping[int, EvaluatedEpoch], paths: Mapping[int, str]) -> Trend:
        notes: list[str] = []
        errors: list[str] = []
        for number, result in results.items():
            errors += [f"epoch {number}: {message}" for message in result.errors]
            doubts = [f"epoch {number}: doubt: {message}" for message in result.doubts]
            (errors if self.strict else notes).extend(doubts)
        remembered = sum(not each.is_new for each in results.values())
        if self.runs and remembered:
            notes.append(
                f"{remembered} of {len(results)} epochs were evaluated before ({self.runs.folder})"
            )
        files = [each.file for each in results.values()]
        runs = [paths[number] for number in results]
        training = training_files(self.options.train, must_exist=False)
        options = replace(self.options, train=training)
        return trend_of_results(list(results), runs, files, options, notes, errors)


def pattern_trend(
    pattern: str,
    target: Any,
    options: TrendOptions,
    cache: str | None,
    settings: Mapping[str, Any],
    note: Callable[[str], None],
    start_method: str | None,
) -> PatternTrend:
    """The trend of a pattern: of results if there is no ground truth, else of predictions.

    Raises:
        SettingError: the pattern is wrong, or predictions have no ground truth.
    """
    epochs = EpochPattern(pattern)
    if target is None:
        if not pattern.lower().endswith(tuple(READABLE)):
            raise SettingError(
                f"--pattern {pattern} names predictions, which need GT, the folder of the ground"
                f" truth: lossbench trend --pattern '{pattern}' GT"
            )
        return PatternTrend(epochs, options, None)
    folder = cache or os.path.join(epochs.folder, FOLDER)
    wanted = {"target": target, "losses": options.losses, **settings}
    runs = RememberedRuns(folder, wanted, note, start_method)
    # Columns of the result are chosen by their expressions, which it evaluates all.
    return PatternTrend(
        epochs, replace(options, losses=()), runs, strict=bool(settings.get("strict"))
    )
