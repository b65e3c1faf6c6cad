"""What is finished while a run goes on: one JSON line a sample, kept if the run does not end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lossbench.errors import OutputError
from lossbench.results import jsonable, number
from lossbench.run.work import Progress


class Journal:
    """A file beside the result that nothing takes for one; it goes when the result is written."""

    def __init__(self, path: str, run: Mapping[str, Any]) -> None:
        self.path, self.samples = Path(path), 0
        try:
            self.file = self.path.open("w", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise OutputError(f"{path} could not be written: {error.strerror}") from None
        self._line({"run": jsonable(run)})

    def add(self, step: Progress) -> None:
        """The samples of one batch."""
        for place, name in enumerate(step.ids):
            row = {column: number(numbers[place]) for column, numbers in step.values.items()}
            self._line({"id": name, **row})
        self.samples += len(step.ids)
        self._flush()

    def remove(self) -> None:
        """The result has been written."""
        self.file.close()
        with suppress(OSError):
            self.path.unlink()

    def _line(self, row: Mapping[str, Any]) -> None:
        self.file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def _flush(self) -> None:
        try:
            self.file.flush()
        except OSError as error:
            raise OutputError(f"{self.path} could not be written: {error.strerror}") from None
