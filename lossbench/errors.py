"""What can go wrong, each with the exit status that a shell sees."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LOGIN = re.compile(r"(?<=://)[^/?#\s]*@")
# Every value of a query or fragment: services agree on no name for a signature. A short number is
# the name of a file, unless it is called a secret.
QUERY = re.compile(r"(?P<name>[?&#][^=?&#\s]*=)(?P<value>[^&#\s]+)")
NUMBER = re.compile(r"\d{1,12}")
SECRET = re.compile(r"sig|token|key|cred|secret|pass|pw|pin|code|auth", re.I)


class LossbenchError(Exception):
    """One clear sentence for the user: what, which file, what was expected, what to do."""

    exit_status = 4


class SettingError(LossbenchError):
    """A wrong option, expression, gate or combination of them."""

    exit_status = 2


class UndecidedReadingError(SettingError):
    """Files can be read in several ways, or in none.

    Attributes:
        readings: each way with its `meaning`, `task`, `gt` and `pred` (encodings) and `setting`,
            which chooses it.
    """

    def __init__(self, message: str, readings: Sequence[dict[str, str]]) -> None:
        super().__init__(message)
        self.readings = readings


class InputError(LossbenchError):
    """A file or folder that is missing, unreadable or does not fit the reading plan.

    Attributes:
        kind: missing, unreadable, size, mismatch.
        role: pred, target, or a further input.
        file: which file; the message begins with it.
        loss: the loss that has no value of it.
        labels: the labels of the file that no class has.
    """

    exit_status = 3

    def __init__(
        self,
        message: str,
        *,
        kind: str = "unreadable",
        role: str | None = None,
        file: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.kind, self.role, self.file = message, kind, role, file
        self.loss: str | None = None
        self.labels: tuple[int, ...] = ()

    def __str__(self) -> str:
        return printable(f"{self.file} {self.message}" if self.file else self.message)

    def located(self, role: str, file: str | None) -> InputError:
        """The same, with what is known where it was caught."""
        self.role, self.file = self.role or role, self.file or file
        return self


def mismatch(message: str, role: str | None = None) -> InputError:
    """The error for an input that contradicts its format, the plan or another input."""
    return InputError(message, kind="mismatch", role=role)


@dataclass(frozen=True)
class PairError:
    """Why a pair has no value, from the file that failed to the result.

    Attributes:
        id: the id of the pair.
        role: the input that is at fault, such as pred or target.
        file: its file, if the input has one.
        kind: missing, extra, duplicate, unreadable, size, mismatch or loss.
        message: one sentence for the user.
        loss: the loss that cannot be computed, if the files themselves are in order.
        labels: the labels of its files that no class has.
    """

    id: str
    role: str | None
    file: str | None
    kind: str
    message: str
    loss: str | None = None
    labels: Sequence[int] = ()

    @classmethod
    def of(cls, error: InputError, id: str) -> PairError:
        """Describe an error that occurred while a pair was read or evaluated."""
        return cls(id, error.role, error.file, error.kind, str(error), error.loss, error.labels)


class OutputError(LossbenchError):
    """A result that could not be written."""


def os_reason(error: Exception) -> str:
    """Why a file could not be opened, with the way out where one is known."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    is_long = error.errno == errno.ENAMETOOLONG
    return f"{error.strerror}; give a shorter name" if is_long else error.strerror


def printable(text: str) -> str:
    """A text with file names in it, whose control characters cannot reach a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in without_secrets(text))


def without_secrets(text: str) -> str:
    """A text whose URLs have no password, signature or token."""

    def hidden(part: re.Match[str]) -> str:
        is_name = NUMBER.fullmatch(part["value"]) and not SECRET.search(part["name"])
        return part[0] if is_name else f"{part['name']}…"

    return QUERY.sub(hidden, LOGIN.sub("", text)) if "://" in text else text


def sized(space: Sequence[int]) -> str:
    """Width × height, as image viewers print it; other sizes in the order of the axes."""
    return "×".join(map(str, reversed(space) if len(space) == 2 else space))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'dice'?)`, or nothing where no known word is close."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=5, cutoff=0.6)
    if not close:
        return ""
    best = max(close, key=lambda each: (similar(word, each), sorted(each) == sorted(word)))
    return f" (did you mean {best!r}?)"


def file_beside(path: str) -> str:
    """` (did you mean 'runs/base.json'?)`, for a path that does not exist."""
    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return ""
    return did_you_mean(path, (os.path.join(folder, each) for each in names)) if name else ""


# What stands for the signs of tables and messages where a terminal has ASCII only.
ASCII = str.maketrans(
    {
        "↓": "v", "↑": "^", "─": "-", "–": "-", "·": "-", "×": "x", "…": "...",
        "✓": "ok", "✗": "FAILED", "⚠": "warning",
        "▁": "_", "▂": ".", "▃": "-", "▄": "=", "▅": "+", "▆": "*", "▇": "#", "█": "@",
    }
)  # fmt: skip


def counted(count: int, noun: str) -> str:
    """A number of things: `1 pair`, `2 classes`."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"


def either(words: Iterable[str]) -> str:
    """`a, b or c`."""
    return " or ".join(", ".join(words).rsplit(", ", 1))


def similar(one: str, other: str) -> float:
    """How much two words have in common, from 0 to 1."""
    from difflib import SequenceMatcher

    return SequenceMatcher(None, one, other).ratio()
