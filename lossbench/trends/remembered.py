"""Epochs evaluated once: their results are kept, by what was read and how."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lossbench.catalog.plugins import using
from lossbench.engine.fingerprints import stamp
from lossbench.engine.prepare import prepare
from lossbench.engine.run import Run
from lossbench.engine.settings import Settings
from lossbench.errors import InputError, OutputError, counted, os_reason
from lossbench.output import save
from lossbench.results.reader import read_result

FOLDER = os.path.join(".lossbench", "trend")
LISTED = 5  # errors of an epoch


@dataclass(frozen=True)
class EvaluatedEpoch:
    """The result of an epoch.

    Attributes:
        file: the result file.
        errors: messages about pairs that failed.
        doubts: messages of doubts that are not accepted.
        is_new: whether the epoch was evaluated now, not remembered.
    """

    file: str
    errors: tuple[str, ...]
    doubts: tuple[str, ...]
    is_new: bool


@dataclass
class RememberedRuns:
    """Evaluates folders of predictions and keeps each result in a folder.

    Attributes:
        folder: where results are kept.
        settings: of the runs, except the predictions.
        note: called with a line of text about each epoch that is evaluated.
        start_method: as for `lossbench.evaluate`.
    """

    folder: str
    settings: Mapping[str, Any]
    note: Callable[[str], None]
    start_method: str | None = None
    _seen: dict[str, EvaluatedEpoch] = field(default_factory=dict)

    def evaluate(self, number: int, pred: str) -> EvaluatedEpoch:
        """The result of an epoch: the remembered one as long as no file and no setting changes.

        Raises:
            SettingError: a setting does not fit the files.
            InputError: the files cannot be paired or read.
            OutputError: the result cannot be kept.
        """
        with using(self.settings.get("plugins", ())):
            run = prepare(Settings(pred=pred, **self.settings))
        path = os.path.join(self.folder, f"epoch_{number}-{_key(run)}.json")
        with suppress(InputError):  # absent, damaged, or of an older version: evaluated again
            return self._read(path)
        result = run.evaluate(start_method=self.start_method)
        if result.failed:  # what could not be read may be readable next time
            path = os.path.join(self.folder, f"epoch_{number}-incomplete.json")
            self._seen.pop(path, None)
        self._create()
        save(result, path)
        self.note(f"epoch {number}: {counted(len(result.ids), 'pair')} of {pred} evaluated")
        self._seen[path] = replace(self._read(path), is_new=False)
        return replace(self._seen[path], is_new=True)

    def _read(self, path: str) -> EvaluatedEpoch:
        if path not in self._seen:
            model = read_result(path)
            errors = [each["error"] for each in model["errors"]]
            if (more := len(errors) - LISTED) > 0:
                errors[LISTED:] = [f"… and {more:,} more errors; {path} has them all"]
            doubts = [each for each in model["run"].get("doubts", ()) if not each["accepted"]]
            self._seen[path] = EvaluatedEpoch(
                path, tuple(errors), tuple(each["message"] for each in doubts), is_new=False
            )
        return self._seen[path]

    def _create(self) -> None:
        """Create the folder, which version control ignores."""
        try:
            os.makedirs(self.folder, exist_ok=True)
            ignored = Path(self.folder, ".gitignore")
            if not ignored.exists():
                ignored.write_text("*\n", "utf-8")
        except OSError as error:
            raise OutputError(
                f"{self.folder} cannot keep the results of epochs: {os_reason(error)}; --cache DIR"
                " names another folder"
            ) from None


def _key(run: Run) -> str:
    """What changes when a file, a setting, a loss or a version does."""
    identity = {name: each for name, each in run.identity.items() if name != "run"}
    described = {
        name: each for name, each in run.identity["run"].items() if name not in ("pred", "target")
    }
    text = json.dumps([identity, described], sort_keys=True, default=str)
    hashed = hashlib.sha256(text.encode(errors="surrogatepass"))
    hashed.update(stamp(run.pairing.pairs))
    return hashed.hexdigest()[:32]
