"""Columns of a result: expressions whose losses are resolved in the catalogue, with all options."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lossbench.catalog import registry
from lossbench.catalog.conventions import MEANINGS
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

Defaults = Mapping[str, Mapping[str, Any]]  # options by name of a loss, or RUN for all losses
RUN = ""
RESERVED = ("id", "group", "classes", "error", *COUNTS)
# Options with which values leave the range stated in the catalogue.
RESCALING = (("log", True), ("reduction", "sum"), ("class_reduction", "sum"))
# Forms in which several classes of a pixel are a distribution.
DISTRIBUTIONS = ("Distribution", "LogProbability", "Outcomes")
# Values that stand for numbers computed from all ground truth of the run.
AUTOMATIC = ("auto", "median_frequency", "root_frequency")


@dataclass(frozen=True)
class Term:
    """One loss with all its options; two spellings of the same loss are equal."""

    name: str
    settings: tuple[tuple[str, Any], ...]
    entry: Entry = field(compare=False, repr=False)

    @cached_property
    def options(self) -> dict[str, Any]:
        return dict(self.settings)

    @cached_property
    def known(self) -> dict[str, Any]:
        """Options with a meaning outside the loss; a user's own options have none."""
        if not self.entry.plugin:
            return self.options
        options = self.entry.options
        return {key: x for key, x in self.settings if options[key].owner != self.name}

    @cached_property
    def key(self) -> str:
        """The name used in files: the loss with its non-default options."""
        known = self.entry.options
        changed = [f"{key}={value}" for key, value in self.settings if value != known[key].default]
        return f"{self.name}({', '.join(changed)})" if changed else self.name

    @property
    def bad_end(self) -> float:
        """The value of a missing prediction: the worst value of the range."""
        known = self.known
        if any(setting in known.items() for setting in RESCALING):
            return UNBOUNDED if self.entry.better == "lower" else -UNBOUNDED
        worst = self.entry.bad_end - (known.get("negative") is True)
        return math.copysign(abs(worst) ** known.get("exponent", 1), worst)

    @cached_property
    def automatic(self) -> dict[str, str]:
        """Options computed from the whole data set: name -> rule."""
        return {name: value for name, value in self.known.items() if value in AUTOMATIC}

    @cached_property
    def inside(self) -> list[str]:
        """Automatic options of the loss itself; the others are applied to its result."""
        options = self.entry.options
        return [name for name in self.automatic if options[name].owner == self.entry.name]

    @cached_property
    def mapped(self) -> list[str]:
        """Options whose value is a further input: one map per sample."""
        return [name for name, value in self.known.items() if value == "role"]

    @property
    def roles(self) -> dict[str, str]:
        """Inputs other than pred and target; `against` selects one of several."""
        against = self.known.get("against")
        roles = self.entry.roles
        return {role: roles[role] for role in roles if against in (None, role)}

    @cached_property
    def distributions(self) -> frozenset[str]:
        """The inputs of which it reads several classes of a pixel as a distribution."""
        if self.known.get("one_vs_all") is True:
            return frozenset()
        inputs = self.entry.named_inputs
        return frozenset(
            role for role, form in inputs if form.removesuffix(registry.MAYBE) in DISTRIBUTIONS
        )

    @cached_property
    def gathers(self) -> bool:
        """Whether a sample's value needs all samples of the run."""
        return "Gallery" in self.entry.forms

    @cached_property
    def detected(self) -> bool:
        """Whether the loss matches detections itself."""
        return "RankedDetections" in self.entry.forms

    @cached_property
    def together(self) -> bool:
        """Whether all samples of the run are one image, whose value every sample gets."""
        return self.known.get("per_image") is False

    @property
    def threshold(self) -> float | None:
        """Probability at which a pixel becomes foreground; None if the loss has no such threshold.

        The option belongs to the views of pixels; a loss's own option means something else.
        """
        option = self.entry.options.get("threshold")
        of_view = option is not None and option.owner != self.entry.name
        return self.options["threshold"] if of_view else None

    @cached_property
    def weight_map(self) -> Loss | None:
        """The weight map with all its options."""
        text = self.known.get("weight_map")
        return None if text is None else parse_call(text)

    @cached_property
    def positional(self) -> bool:
        """Whether the position of a pixel matters."""
        forms = self.entry.forms & set(POSITIONAL)
        return bool(self.entry.pixels or forms or self.weight_map)

    def countable(self, task: str) -> bool:
        """Whether the pixels can be replaced by distinct value pairs with counts."""
        forms = set(self.entry.inputs.values())
        if task == "image":
            return forms <= {"Difference"}
        coupled = self.entry.couples and task == "multiclass"
        return not (coupled or self.mapped or self.entry.roles or self.positional)


@dataclass(frozen=True)
class Column:
    """One column of the result: a name, and an expression of terms."""

    name: str
    expression: str
    node: float | Term | Operation[Term]

    @property
    def terms(self) -> list[Term]:
        return list(leaves(self.node))

    @property
    def better(self) -> str | None:
        """Whether lower or higher values are better; None if the expression mixes both."""
        better = fold(self.node, lambda term: term.entry.better or "mixed", _join_directions)
        return None if better == "mixed" else str(better)

    @property
    def bad_end(self) -> float:
        """The value of a missing prediction."""
        return float(fold(self.node, lambda term: term.bad_end))


def resolve(losses: Sequence[str], defaults: Defaults, gates: Iterable[Gate] = ()) -> list[Column]:
    """The distinct columns of a run: its losses, and those of gates that are not among them.

    The defaults are options of the convention by name of a loss, and under RUN the options of the
    run (threshold, empty), which apply to every loss that has them.
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
            columns[name] = Column(name, name, resolve_loss(loss, text, defaults))
    for name in columns:
        if name in RESERVED:
            raise SettingError(f"a loss cannot be called {name!r}; result files use the name")
    return list(columns.values())


def with_defaults(column: Column, defaults: Defaults) -> Column:
    """The same expression with other defaults."""
    item = parse_item(column.expression)
    return Column(column.name, column.expression, _node(item, defaults))


def named(columns: Sequence[Column], name: str) -> Column:
    """The column with a name; an unknown name is an error with a suggestion."""
    for column in columns:
        if column.name == name:
            return column
    names = [column.name for column in columns]
    raise SettingError(
        f"there is no column {name!r}{did_you_mean(name, names)}; there are {', '.join(names)}"
    )


def first_open_range(columns: Iterable[Column]) -> str:
    """The first loss of the columns that needs a data range, and has none; "" without one."""
    losses = (each for column in columns for each in written_losses(column))
    return next(filter(None, map(_open_range, losses)), "")


def written_losses(column: Column) -> list[Loss]:
    """The losses of a column as they are written."""
    return list(leaves(parse_item(column.expression).node))


def _open_range(loss: Loss) -> str:
    """The name of a loss that needs a data range that is not written; "" of all others."""
    entry = registry.find(loss.name)
    if "data_range" in entry.options:
        return "" if "data_range" in loss.options else loss.name
    if entry.returns != "Expression":
        return ""
    expression = entry.function(**check_options(entry, loss.options))
    return next(filter(None, map(_open_range, leaves(parse_item(expression).node))), "")


def column_for(
    loss: Loss, columns: Iterable[Column], text: str, defaults: Defaults
) -> Column | None:
    """The column that a loss in a gate refers to: by its name, or by an equal expression."""
    columns = list(columns)
    for column in columns:
        if not loss.options and column.name == loss.name:
            return column
    node = resolve_loss(loss, text, defaults)
    return next((column for column in columns if column.node == node), None)


def resolve_loss(loss: Loss, text: str, defaults: Defaults) -> Term | Operation[Term]:
    """Resolve a loss of an expression in the catalogue; errors point at its column in the text.

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
        own = in_meaning(entry.name, loss.options, defaults)
        options = {**defaults.get(entry.name, {}), **run, **own}
        return with_options(entry, options, defaults)
    except OptionError as error:
        raise ExpressionError(text, loss.columns.get(error.option, 0), str(error)) from None


def in_meaning(name: str, options: Mapping[str, Any], defaults: Defaults) -> dict[str, Any]:
    """Written options of a loss, in what the convention's tool means by them."""
    written = dict(options)
    for each in defaults.get(MEANINGS, {}).get(name, ()):
        value = options.get(each.option)
        if value is None or (not each.target and isinstance(value, list)):
            continue
        del written[each.option]
        if not each.target:
            message = (
                f"the tool of this convention makes one number a class of {each.option}={value};"
                f" give the list of them, as {each.option}=[…]"
            )
            raise OptionError(each.option, message)
        if each.target != each.option and each.target in options:
            message = f"{each.option} is {each.target} in this convention; give one of both"
            raise OptionError(each.option, message)
        written[each.target] = each.of(value)
    return written


def with_options(
    entry: Entry, values: Mapping[str, Any], defaults: Defaults
) -> Term | Operation[Term]:
    """A loss with all its options; a combination becomes its expression of losses."""
    options = check_options(entry, values)
    if entry.returns != "Expression":
        return Term(entry.name, tuple(sorted(options.items())), entry)
    try:
        ours = {name: each for name, each in defaults.items() if name != MEANINGS}
        node: Operation[Term] = _node(parse_item(entry.function(**options)), ours)
    except RecursionError:
        raise SettingError(f"{entry.name} is a combination of itself") from None
    return node


FLIPPED = {"lower": "higher", "higher": "lower", "mixed": "mixed"}


def _join_directions(op: str, left: Any, right: Any) -> Any:
    """Direction of an operation; plain numbers stay numbers.

    Losses that are multiplied or divided are assumed to be positive.
    """
    is_loss = [isinstance(operand, str) for operand in (left, right)]
    if not any(is_loss):
        return ARITHMETIC[op](left, right)
    if op in "-/" and is_loss[1]:
        right = FLIPPED[right]
    if all(is_loss):
        return left if left == right else "mixed"
    number, direction = (left, right) if is_loss[1] else (right, left)
    if op in "+-" or number > 0:
        return direction
    return FLIPPED[direction] if number < 0 else "mixed"


def _node(item: Item, defaults: Defaults, text: str = "") -> Any:
    """The expression with its losses resolved in the catalogue."""
    text = text or item.text
    return fold(item.node, lambda loss: resolve_loss(loss, text, defaults), Operation)
