"""From expressions to columns: each loss found in the catalogue, with all its options."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lossbench.catalog import registry
from lossbench.catalog.grammar import (
    ARITHMETIC,
    ExpressionError,
    Gate,
    Item,
    Loss,
    Operation,
    fold,
    leaves,
    parse_call,
    parse_item,
)
from lossbench.catalog.options import OptionError, check_options, format_loss
from lossbench.catalog.registry import Entry
from lossbench.catalog.signatures import UNBOUNDED
from lossbench.catalog.tasks import COUNTS, POSITIONAL
from lossbench.errors import SettingError, did_you_mean

Defaults = Mapping[str, Mapping[str, Any]]  # options by the name of a loss, or RUN for all
RUN = ""
RESERVED = ("id", "group", "classes", "error", *COUNTS)
# With these the values leave the range that the catalogue states.
RESCALING = (("log", True), ("reduction", "sum"), ("class_reduction", "sum"))
# Options whose number follows from all ground truth of the run.
RULES = (
    ("class_weights", "auto"),
    ("class_weights", "median_frequency"),
    ("class_weights", "root_frequency"),
    ("pos_weight", "auto"),
    ("alpha", "auto"),
)


@dataclass(frozen=True)
class Term:
    """One loss of the catalogue with every option it has; two spellings of one loss are equal."""

    name: str
    settings: tuple[tuple[str, Any], ...]
    entry: Entry = field(compare=False, repr=False)

    @cached_property
    def options(self) -> dict[str, Any]:
        return dict(self.settings)

    @cached_property
    def known(self) -> dict[str, Any]:
        """The options with a meaning outside of the loss; what a user's own calls so has none."""
        own = self.name if self.entry.plugin else None
        return {
            name: value
            for name, value in self.settings
            if own is None or self.entry.options[name].owner != own
        }

    @cached_property
    def key(self) -> str:
        """As files name it: with the options that are not its defaults."""
        known = self.entry.options
        given = [f"{name}={value}" for name, value in self.settings if value != known[name].default]
        return f"{self.name}({', '.join(given)})" if given else self.name

    @property
    def bad_end(self) -> float:
        """The value that a missing prediction gets: the bad end of the range."""
        known = self.known
        if any(setting in known.items() for setting in RESCALING):
            return UNBOUNDED if self.entry.better == "lower" else -UNBOUNDED
        worst = self.entry.bad_end - (known.get("negative") is True)
        return math.copysign(abs(worst) ** known.get("exponent", 1), worst)

    @cached_property
    def automatic(self) -> dict[str, str]:
        """Options whose number needs the whole data set: name -> rule."""
        return dict(setting for setting in self.known.items() if setting in RULES)

    @cached_property
    def inside(self) -> list[str]:
        """Those that the loss itself takes; the others are applied to what it returns."""
        options = self.entry.options
        return [name for name in self.automatic if options[name].owner == self.entry.name]

    @cached_property
    def mapped(self) -> list[str]:
        """Options that are a further input: a map of its own for each sample."""
        return [name for name, value in self.known.items() if value == "role"]

    @property
    def roles(self) -> dict[str, str]:
        """The inputs beside pred and target that it names; of those to choose from, the chosen."""
        against = self.known.get("against")
        roles = self.entry.roles
        return {role: roles[role] for role in roles if against in (None, role)}

    @cached_property
    def gathers(self) -> bool:
        """Whether a sample's value needs all samples of the run."""
        return "Gallery" in self.entry.forms

    @cached_property
    def together(self) -> bool:
        """Whether all samples of the run are one image, whose value each of them has."""
        return self.known.get("per_image") is False

    @property
    def threshold(self) -> float | None:
        """From which probability on a pixel is foreground; None where nothing is decided.

        That is an option of the views of pixels; one that is a loss's own means something else.
        """
        option = self.entry.options.get("threshold")
        decides = option is not None and option.owner != self.entry.name
        return self.options["threshold"] if decides else None

    @cached_property
    def weight_map(self) -> Loss | None:
        """The weight map by name, with all its options."""
        text = self.known.get("weight_map")
        return None if text is None else parse_call(text)

    @cached_property
    def in_place(self) -> bool:
        """Whether it matters where a pixel is."""
        somewhere = self.entry.pixels or self.entry.forms & set(POSITIONAL)
        return bool(somewhere or self.weight_map)

    def countable(self, task: str) -> bool:
        """Whether distinct value pairs with counts can stand for the pixels."""
        forms = set(self.entry.inputs.values())
        if task == "image":
            return forms <= {"Difference"}
        coupled = self.entry.couples and task == "multiclass"
        return not (coupled or self.mapped or self.entry.roles or self.in_place)


@dataclass(frozen=True)
class Column:
    """One column of the result: a name and an expression over terms."""

    name: str
    expression: str
    node: float | Term | Operation[Term]

    @property
    def terms(self) -> list[Term]:
        return list(leaves(self.node))

    @property
    def better(self) -> str | None:
        """Whether lower or higher values are better; None where the expression mixes both."""
        way: str = fold(self.node, lambda term: term.entry.better or "mixed", _join_directions)
        return None if way == "mixed" else way

    @property
    def bad_end(self) -> float:
        """The value that a missing prediction gets."""
        value: float = fold(self.node, lambda term: term.bad_end)
        return value


def resolve(losses: Sequence[str], defaults: Defaults, gates: Iterable[Gate] = ()) -> list[Column]:
    """The columns of a run, each once.

    Args:
        losses: `--loss` values.
        defaults: by the name of a loss the options that its convention has for it, and by RUN
            those of the run (threshold, empty), for every loss that has them.
        gates: the losses that they judge become columns, where they are none yet.
    """
    columns: dict[str, Column] = {}
    for text in losses:
        item = parse_item(text)
        column = Column(item.name, item.text, _node(item, defaults, text))
        if columns.setdefault(column.name, column).node != column.node:
            raise SettingError(f"two losses are called {column.name!r}; give them different names")
    for gate in gates:
        if not gate.aggregate:
            continue
        loss, text = gate.loss, gate.written
        if column_for(loss, columns.values(), text, defaults) is None:
            name = format_loss(loss)
            columns[name] = Column(name, name, meaning(loss, text, defaults))
    for name in columns:
        if name in RESERVED:
            raise SettingError(f"a loss cannot be called {name!r}; result files use the name")
    return list(columns.values())


def under(column: Column, defaults: Defaults) -> Column:
    """The same expression with other defaults."""
    item = parse_item(column.expression)
    return Column(column.name, column.expression, _node(item, defaults))


def named(columns: Sequence[Column], name: str) -> Column:
    """The column of this name."""
    for column in columns:
        if column.name == name:
            return column
    names = [column.name for column in columns]
    raise SettingError(
        f"there is no column {name!r}{did_you_mean(name, names)}; there are {', '.join(names)}"
    )


def column_for(
    loss: Loss, columns: Iterable[Column], text: str, defaults: Defaults
) -> Column | None:
    """The column that a loss in a gate's text means: by its given name, or by what it computes."""
    columns = list(columns)
    for column in columns:
        if not loss.options and column.name == loss.name:
            return column
    wanted = meaning(loss, text, defaults)
    return next((column for column in columns if column.node == wanted), None)


def meaning(loss: Loss, text: str, defaults: Defaults) -> Term | Operation[Term]:
    """A loss of an expression, found in the catalogue; errors point at its place in the text.

    A combination is replaced by the expression that it stands for.
    """
    try:
        entry = registry.find(loss.name)
    except SettingError as error:
        raise ExpressionError(text, loss.at, str(error)) from None
    run = {
        name: value
        for name, value in defaults.get(RUN, {}).items()
        if name in entry.options and entry.options[name].owner != entry.name
        if entry.options[name].default is not None
    }
    try:
        return filled(entry, {**defaults.get(entry.name, {}), **run, **loss.options}, defaults)
    except OptionError as error:
        raise ExpressionError(text, loss.columns.get(error.option, 0), str(error)) from None


def filled(entry: Entry, given: Mapping[str, Any], defaults: Defaults) -> Term | Operation[Term]:
    """A loss with all its options; of a combination, the losses that it is made of."""
    options = check_options(entry, given)
    if entry.returns != "Expression":
        return Term(entry.name, tuple(sorted(options.items())), entry)
    try:
        node: Operation[Term] = _node(parse_item(entry.function(**options)), defaults)
    except RecursionError:
        raise SettingError(f"{entry.name} is a combination of itself") from None
    return node


FLIPPED = {"lower": "higher", "higher": "lower", "mixed": "mixed"}


def _join_directions(op: str, left: Any, right: Any) -> Any:
    """The direction of an operation; plain numbers stay numbers.

    Two losses multiplied or divided are taken to be positive.
    """
    words = [isinstance(side, str) for side in (left, right)]
    if not any(words):
        return ARITHMETIC[op](left, right)
    if op in "-/" and words[1]:
        right = FLIPPED[right]
    if all(words):
        return left if left == right else "mixed"
    number, word = (left, right) if words[1] else (right, left)
    if op in "+-" or number > 0:
        return word
    return FLIPPED[word] if number < 0 else "mixed"


def _node(item: Item, defaults: Defaults, written: str = "") -> Any:
    """The expression with its losses found in the catalogue."""
    return fold(item.node, lambda loss: meaning(loss, written or item.text, defaults), Operation)
