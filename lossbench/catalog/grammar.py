"""The language of `--loss`, of the configuration and of gates.

    item    = [NAME "="] sum
    sum     = product {("+" | "-") product}
    product = unary {("*" | "/") unary}
    unary   = "-" unary | NUMBER | "(" sum ")" | loss
    loss    = NAME ["(" [option {"," option}] ")"]
    option  = NAME "=" value
    value   = ["-"] NUMBER | STRING | WORD | true | false | none | loss
            | "[" [value {"," value}] "]"
    gate    = (loss ["[" CLASS "]"] "." AGGREGATE | NAME) COMPARE bound
            | loss ["[" CLASS "]"] ".verdict" ("==" | "!=") WORD
    bound   = sum over NUMBERs and `baseline`, as in 1.05*baseline + 0.001

A bare word as an option's value is a string; CLASS is any text up to "]", quoted if it contains
"]".
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from lossbench.errors import SettingError, did_you_mean

TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
      | (?P<name>[^\W\d]\w*)
      | (?P<string>"[^"]*"|'[^']*')
      | (?P<op><=|>=|==|!=|[-+*/()\[\],.=<>])
    )""",
    re.VERBOSE,
)
CLASS = re.compile(r"""\s*(?:"([^"]+)"|'([^']+)'|([^\]]+?))\s*\]""")
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


def divide(left: Any, right: Any) -> Any:
    """Division of numbers or arrays; a plain number over zero is infinite or nan."""
    return left / right if not isinstance(right, int | float) or right else left * math.inf


ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": divide
}  # fmt: skip
WORDS = {"true": True, "false": False, "none": None}
LONGEST = 2000
DEEPEST = 50
MOST_PARTS = 200


class ExpressionError(SettingError):
    """A syntax error: the expected input, with a caret at the column."""

    def __init__(self, text: str, at: int, message: str) -> None:
        super().__init__(f"{message}\n  {text}\n  {' ' * at}^")
        self.at = at


@dataclass(frozen=True)
class Loss:
    """A loss by name with its explicit options; `columns` are their positions in the text."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, int] = field(default_factory=dict, compare=False)

    @property
    def at(self) -> int:
        """Column of the name itself."""
        return self.columns.get("", 0)


Leaf = TypeVar("Leaf")


@dataclass(frozen=True)
class Operation(Generic[Leaf]):
    """Two operands and one of + - * /; unary minus is `0 - operand`."""

    op: str
    left: float | Leaf | Operation[Leaf]
    right: float | Leaf | Operation[Leaf]


Node = float | Loss | Operation[Loss]


@dataclass(frozen=True)
class Item:
    """One `--loss`: its text with collapsed blanks, the name of its column, its expression."""

    text: str
    name: str
    node: Node


@dataclass(frozen=True)
class Gate:
    """A quantity, a comparison and a bound; without an aggregate it counts pairs of the run.

    `text` has collapsed blanks; errors point into `written`, where `columns` are the positions of
    the aggregate and the comparison. With `warn`, a missed gate is no failure.
    """

    text: str
    loss: Loss
    of_class: str | None
    aggregate: str | None
    compare: str
    bound: Node
    written: str = field(default="", compare=False)
    columns: dict[str, int] = field(default_factory=dict, compare=False)
    warn: bool = False

    @property
    def quantity(self) -> str:
        """The left side of the comparison, as text."""
        return " ".join(self.written[: self.columns["compare"]].split())


def leaves(node: float | Leaf | Operation[Leaf]) -> Iterator[Leaf]:
    """All losses of an expression, from left to right."""
    if isinstance(node, Operation):
        yield from leaves(node.left)
        yield from leaves(node.right)
    elif not isinstance(node, int | float):
        yield node


def fold(
    node: float | Leaf | Operation[Leaf],
    value_of: Callable[[Leaf], Any],
    join: Callable[[str, Any, Any], Any] = lambda op, left, right: ARITHMETIC[op](left, right),
) -> Any:
    """Evaluate an expression from its leaves upwards: replace each loss, then join operands."""
    if isinstance(node, Operation):
        return join(node.op, fold(node.left, value_of, join), fold(node.right, value_of, join))
    return node if isinstance(node, int | float) else value_of(node)


def parse_item(text: str) -> Item:
    """Parse a `--loss` value."""
    parser = _Parser(text)
    name = re.match(r"\s*([^\W\d]\w*)\s*=(?!=)", text)
    if name:
        parser.at = name.end()
    node = parser.sum()
    parser.finish()
    if next(leaves(node), None) is None:
        raise parser.error("this names no loss", 0)
    collapsed = " ".join(text.split())
    return Item(collapsed, name[1] if name else collapsed, node)


def parse_gate(text: str, verdicts: Sequence[str] = ()) -> Gate:
    """Parse a `--gate` value; `verdicts` are the words to which a verdict may be compared."""
    parser = _Parser(text)
    loss = parser.loss()
    of_class = parser.class_name() if parser.take("[") else None
    aggregate = parser.need("NAME") if parser.take(".") else None
    columns = {"aggregate": parser.at - len(aggregate or "")}
    compare = parser.take(*COMPARE)
    if not compare:
        raise parser.error("expected < <= > >= == or != (quote a gate: the shell reads < and >)")
    columns["compare"] = parser.at - len(compare)
    compares_verdicts = aggregate == "verdict" and bool(verdicts)
    if compares_verdicts and compare not in ("==", "!="):
        raise parser.error(
            f"a verdict is no number; write == or != in place of {compare}", columns["compare"]
        )
    bound = parser.verdict(verdicts) if compares_verdicts else parser.sum()
    parser.finish()
    for word in leaves(bound):
        if word != Loss("baseline") and not compares_verdicts:
            raise parser.error("a bound consists of numbers and the word baseline", word.at)
    collapsed = " ".join(text.split())
    return Gate(collapsed, loss, of_class, aggregate, compare, bound, text, columns)


def parse_call(text: str) -> Loss:
    """Parse a name with options, such as a weight map."""
    parser = _Parser(text)
    call = parser.loss()
    parser.finish()
    return call


class _Parser:
    """Recursive descent parser of one line; `at` is the position of the next token."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth, self.parts = text, 0, 0, 0
        if len(text) > LONGEST:
            raise ExpressionError(f"{text[:40]}…", 0, f"longer than {LONGEST} characters")

    def peek(self) -> tuple[str, str, int]:
        """Kind, text and end of the next token."""
        match = TOKEN.match(self.text, self.at)
        if match and match.lastgroup:
            return match.lastgroup, match[match.lastgroup], match.end()
        rest = self.text[self.at :].lstrip()
        if rest:
            raise self.error(f"cannot read {rest.split()[0]!r}")
        return "end", "", len(self.text)

    def error(self, message: str, at: int | None = None) -> ExpressionError:
        """An error that points at a column, by default at the next token."""
        rest = self.text[self.at :]
        next_token = self.at + len(rest) - len(rest.lstrip())
        return ExpressionError(self.text, next_token if at is None else at, message)

    def take(self, *expected: str) -> str | None:
        """The next token if it is one of the expected tokens, or kinds in capitals."""
        kind, token, end = self.peek()
        if (kind == "op" and token in expected) or kind.upper() in expected:
            self.at = end
            return token
        return None

    def need(self, *expected: str) -> str:
        token = self.take(*expected)
        if token is None:
            actual = self.peek()[1] or "the end"
            raise self.error(f"expected {' or '.join(expected).lower()}, found {actual}")
        return token

    def chain(self, operand: Callable[[], Node], *ops: str) -> Node:
        left = operand()
        while op := self.take(*ops):
            left = Operation(op, left, operand())
            self.parts += 1
            if self.parts > MOST_PARTS:
                raise self.error(f"more than {MOST_PARTS} operations")
        return left

    def sum(self) -> Node:
        return self.chain(lambda: self.chain(self.unary, "*", "/"), "+", "-")

    def unary(self) -> Node:
        self.enter()
        node: Node
        if self.take("-"):
            node = Operation("-", 0, self.unary())
        elif number := self.take("NUMBER"):
            node = float(self.finite(number))  # Python's integers are unbounded
        elif self.take("("):
            node = self.sum()
            self.need(")")
        else:
            node = self.loss()
        self.depth -= 1
        return node

    def enter(self) -> None:
        """Count a level of nesting."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.error("nested too deep")

    def finite(self, number: str) -> int | float:
        value = int(number) if number.isdigit() and len(number) < 19 else float(number)
        if math.isinf(value):
            raise self.error(f"{number} is too large", self.at - len(number))
        return value

    def loss(self) -> Loss:
        name = self.need("NAME")
        loss = Loss(name, {}, {"": self.at - len(name)})
        if self.take("("):
            for _ in self.items_until(")"):
                key = self.need("NAME")
                if key in loss.options:
                    raise self.error(f"option {key} is given twice", self.at - len(key))
                loss.columns[key] = self.at - len(key)
                self.need("=")
                loss.options[key] = self.value()
        return loss

    def items_until(self, close: str) -> Iterator[None]:
        """Yield once per item of a list with commas, and consume the closing mark."""
        self.enter()
        while not self.take(close):
            yield
            if not self.take(","):
                self.need(close)
                break
        self.depth -= 1

    def value(self) -> Any:
        if self.take("["):
            return [self.value() for _ in self.items_until("]")]
        if self.take("-"):
            return -self.finite(self.need("NUMBER"))
        if number := self.take("NUMBER"):
            return self.finite(number)
        if string := self.take("STRING"):
            return string[1:-1]
        inner = self.loss()
        return inner if inner.options else WORDS.get(inner.name, inner.name)

    def class_name(self) -> str:
        match = CLASS.match(self.text, self.at)
        if not match:
            raise self.error("expected a class name and ]")
        self.at = match.end()
        return next(group for group in match.groups() if group)

    def verdict(self, known: Sequence[str]) -> Loss:
        """One of some words."""
        word = self.need("NAME")
        at = self.at - len(word)
        if word not in known:
            message = f"no verdict is called {word!r}{did_you_mean(word, known)}"
            raise self.error(f"{message}; there are {', '.join(known)}", at)
        return Loss(word, {}, {"": at})

    def finish(self) -> None:
        token = self.peek()[1]
        if token:
            each = "; give each loss a --loss of its own" if token == "," else ""
            raise self.error(f"did not expect {token} here{each}")
