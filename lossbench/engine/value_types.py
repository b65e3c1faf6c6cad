"""Value types of settings: the command line, the config and the JSON Schema derive from them."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, TypeAlias

from lossbench.data.planning.vocabulary import ROLES as FURTHER_ROLES
from lossbench.data.planning.vocabulary import STORED_NUMBER
from lossbench.errors import did_you_mean, either

UNBOUNDED = float("inf")
TINY = sys.float_info.min
NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
WHOLE = re.compile(r"0|[1-9]\d{0,17}", re.ASCII)
Many: TypeAlias = Literal["", "repeated", "commas"]


@dataclass(frozen=True)
class ValueType:
    """The values that a setting accepts.

    The kind is choice, number, whole, flag, text or path; loss, gate, labels, classes, roles and
    weights have a syntax of their own.
    """

    kind: str
    words: str  # a noun phrase for messages, after `expected`
    choices: tuple[str, ...] = ()  # words; of a number, the word in its place; of roles, all roles
    low: float = -UNBOUNDED
    high: float = UNBOUNDED
    pattern: str = ""  # the regular expression that a text matches
    many: Many = ""  # how the command line takes several: repeated flags, or a text with commas

    @property
    def is_mapping(self) -> bool:
        """Whether values have names: ROLE=DIR."""
        return self.kind in ("roles", "weights")

    def parse(self, text: str) -> str | float | None:
        """The value of a text; the word of a whole number stands for None.

        Raises:
            ValueError: the text is of another type; the message suggests a word, or is empty.
        """
        if self.kind == "flag" and text in self.choices:
            return text == "true"
        if text in self.choices:
            return None if self.kind == "whole" else text
        if self.kind == "choice":
            raise ValueError(did_you_mean(text, self.choices))
        if self.kind in ("text", "labels") and re.fullmatch(self.pattern or ".*", text, re.DOTALL):
            return text
        if self.kind == "number" and NUMBER.fullmatch(text) and abs(float(text)) != UNBOUNDED:
            value: float = float(text)
        elif self.kind == "whole" and WHOLE.fullmatch(text):
            value = int(text)
        else:
            raise ValueError
        if not self.low <= value <= self.high:
            raise ValueError
        return value

    def accepts(self, value: Any) -> bool:
        """Whether a value from Python is of this type, as far as it has no syntax of its own."""
        if self.many and isinstance(value, list | tuple):
            return all(map(self.accepts, value))
        if self.kind in ("choice", "number") and value in self.choices:
            return True
        if self.kind in ("number", "whole"):
            number = isinstance(value, int | float if self.kind == "number" else Integral)
            return number and self.low <= value <= self.high
        if self.kind == "text" and self.pattern:
            return isinstance(value, str) and re.fullmatch(self.pattern, value) is not None
        return self.kind != "choice"


def choice(*words: str, many: Many = "") -> ValueType:
    """One of several words."""
    return ValueType("choice", either(words), words, many=many)


def names(words: str, *known: str) -> ValueType:
    """Several of many words, separated by commas."""
    return ValueType("choice", words, known, many="commas")


def number(low: float, high: float) -> ValueType:
    """A number within bounds, both included."""
    return ValueType("number", f"a number from {low:g} to {high:g}", low=low, high=high)


def positive() -> ValueType:
    """A finite number above 0."""
    return ValueType("number", "a number above 0", low=TINY, high=sys.float_info.max)


def number_or(word: str) -> ValueType:
    """Any finite number, or a word."""
    return ValueType("number", f"{word} or a number", (word,))


def whole(low: int, word: str = "") -> ValueType:
    """A whole number, or a word that stands for None."""
    words = f"a whole number from {low}"
    return ValueType("whole", either(filter(None, [word, words])), (word,) * bool(word), low)


def text(words: str, pattern: str = "", many: Many = "") -> ValueType:
    """Any text, or one that a regular expression describes."""
    return ValueType("text", words, pattern=pattern, many=many)


def path(words: str, many: Many = "") -> ValueType:
    """A path; relative to the config that contains it."""
    return ValueType("path", words, many=many)


FLAG = ValueType("flag", "true or false", ("true", "false"))
LOSSES = ValueType("loss", "an expression, or name: expression", many="repeated")
GATE = "a gate such as dice.mean <= 0.15, or {gate: ..., warn: true}"
GATES = ValueType("gate", GATE, many="repeated")
LABEL = rf"({STORED_NUMBER}(\s*-\s*{STORED_NUMBER})?|#[0-9a-fA-F]{{6}}|\.?(?i:nan))"
LABELS = ValueType(
    "labels",
    "a number, a range 250-255, a colour '#000000', nan, inf, or none",
    pattern=rf"(?i:none)|{LABEL}(\s*,\s*{LABEL})*",
    many="commas",
)
CLASSES = ValueType("classes", "a number, names, {value: name} or {name: [r, g, b]}")
ROLES = ValueType("roles", "a mapping of roles to folders", FURTHER_ROLES)
WEIGHTS = ValueType("weights", "a mapping of weights to files")
