"""What the shell offers after TAB: commands and options by click, losses and their words here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    add_completion_class,
    shell_complete,
    split_arg_string,
)

import lossbench
from lossbench.catalog.registry import Entry, Option

VARIABLE = "_LOSSBENCH_COMPLETE"
BREAKS = set("=:")  # where bash cuts a word that no quote holds together
AGGREGATES = (
    "mean", "sum", "std", "median", "p5", "p25", "p75", "p95", "min", "max", "ci_low", "ci_high",
    "count", "undefined", "infinite", "pooled",
)  # fmt: skip
COUNTS = ("found", "evaluated", "missing", "extra", "errors")
ROLES = ("ignore", "valid", "weight", "pos_weight", "instances")  # and those that losses name
TOKEN = re.compile(r"""\s*("[^"]*"?|'[^']*'?|[^\W\d]\w*|\d[\w.]*|\S)""")
Items = list[CompletionItem[str]]


def answer(cli: click.Command, instruction: str) -> int:
    """The script of a shell, or what completes the line in `COMP_WORDS`; the exit status."""
    if instruction.endswith("_complete") and not {"COMP_WORDS", "COMP_CWORD"} <= os.environ.keys():
        return 2
    return shell_complete(cli, {}, "lossbench", VARIABLE, instruction)


@add_completion_class
class Bash(BashComplete):
    """Bash cuts unquoted words at = and : and replaces the last piece only."""

    cut = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        count = int(os.environ["COMP_CWORD"]) + 1
        pieces = split_arg_string(os.environ["COMP_WORDS"])[:count]
        pieces += [""] * (count - len(pieces))
        words: list[str] = []
        joining = False
        for piece in pieces:
            breaks = bool(piece) and set(piece) <= BREAKS
            if words and (breaks or joining):
                words[-1] += piece
            else:
                words.append(piece)
            joining = breaks
        *arguments, incomplete = words[1:] or [""]
        kept = incomplete if joining else incomplete.removesuffix(pieces[-1])
        self.cut = kept.partition("=")[2] if kept.startswith("-") else kept
        return arguments, incomplete

    def format_completion(self, item: CompletionItem[str]) -> str:
        return f"{item.type},{item.value.removeprefix(self.cut)}"


@add_completion_class
class Fish(FishComplete):
    """Values may hold commas."""

    source_template = FishComplete.source_template.replace(
        'string split ","', 'string split --max 1 ","'
    )


def files(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """A file or folder, which the shell lists."""
    return [CompletionItem(incomplete, type="file")]


def roles(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """`ROLE=`, then a folder; what is in the only one as well: a shell ends no word before that."""
    role, equals, _ = incomplete.partition("=")
    asked = (each for entry in lossbench.list_losses() for each in entry.roles)
    known = dict.fromkeys([*ROLES, *asked])
    found = _folders(incomplete) if equals else [f"{r}=" for r in known if r.startswith(role)]
    if len(found) == 1:
        found += _folders(found[0])
    return [CompletionItem(each) for each in found]


def _folders(start: str) -> list[str]:
    """Every way to go on from `ROLE=`, or from `ROLE=` and the beginning of a path."""
    at = max(start.rfind("/"), start.find("=")) + 1
    head, name = start[:at], start[at:]
    try:
        with os.scandir(os.path.expanduser(head.partition("=")[2]) or ".") as entries:
            names = sorted(each.name for each in entries if each.is_dir())
    except OSError:
        return []
    shown = (each for each in names if name.startswith(".") or not each.startswith("."))
    return [f"{head}{each}/" for each in shown if each.startswith(name)]


def names(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """A loss by name or alias."""
    return _starting(incomplete, _losses(_known(context)))


def families(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """A family of losses."""
    return _starting(incomplete, ((entry.family, "") for entry in _known(context)))


def expressions(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """The last word of an expression: a loss, an option of it, or the option's value."""
    place = _place(incomplete)
    known = _known(context)
    if place.loss:
        return _starting(incomplete, _words(_options(known, place.loss), place))
    if place.before in ("", "+", "-", "*", "/", "(", "="):
        return _starting(incomplete, ((place.head + n, text) for n, text in _losses(known)))
    return []


def gates(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """The last word of a gate: a loss or count, an aggregate, `baseline`."""
    place = _place(incomplete)
    if place.loss:
        return expressions(context, parameter, incomplete)
    if place.compared:
        wanted: Iterable[str] = ["baseline"] if place.before in "<>=+-*/(" else []
    elif place.before == ".":
        wanted = AGGREGATES
    else:
        wanted = COUNTS if not place.before else []
    words = [(place.head + word, "") for word in wanted]
    if not place.before:
        words += _losses(_known(context))
    return _starting(incomplete, words)


class _Place(NamedTuple):
    """Where in an expression its last word stands."""

    head: str  # all before the word
    before: str  # the mark or word before it
    loss: str = ""  # in whose brackets it stands
    option: str = ""  # whose value it is
    compared: bool = False  # whether a comparison is behind it


def _place(text: str) -> _Place:
    head = re.sub(r"\w*$", "", text)
    before, option, compared = "", "", False
    brackets: list[tuple[str, str]] = []  # in whose they are, and the option outside
    for token in TOKEN.findall(head):
        loss = brackets[-1][0] if brackets else ""
        if token in ("(", "["):
            named = token == "(" and re.fullmatch(r"[^\W\d]\w*", before)
            brackets.append((before if named else "", option))
            option = ""
        elif token in (")", "]"):
            option = brackets.pop()[1] if brackets else ""
        elif token == "=" and loss:
            option = before
        elif token == ",":
            option = ""
        compared = compared or token in ("<", ">", "!") or (before == token == "=")
        before = token
    return _Place(head, before, brackets[-1][0] if brackets else "", option, compared)


def _words(options: dict[str, Option], place: _Place) -> Iterator[tuple[str, str]]:
    """Options of a loss, each with its default as well: the shell then stops after the mark."""
    if place.option in options and place.before == "=":
        for value in _values(options[place.option]):
            yield place.head + value, ""
    elif place.before in ("(", ","):
        for option in options.values():
            yield f"{place.head}{option.name}=", option.doc
            yield f"{place.head}{option.name}={_typed(option.default)}", ""


def _values(option: Option) -> list[str]:
    """What can be typed as an option's value, as far as that is words."""
    words = re.findall(r"'([^']+)'", option.type)
    words += ["true", "false"] * bool(re.search(r"\bbool\b", option.type))
    words += ["none"] * bool(re.search(r"\bNone\b", option.type))
    return list(dict.fromkeys([*words, _typed(option.default)]))


def _typed(value: object) -> str:
    """A value as it is typed in an expression."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_typed, value))}]"
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _known(context: click.Context) -> list[Entry]:
    """The catalogue, with the plugins that the line names where they can be read."""
    for plugins in (context.params.get("plugins") or (), ()):
        try:
            return lossbench.list_losses(plugins=plugins)
        except lossbench.LossbenchError:
            continue
    return []


def _losses(known: Iterable[Entry]) -> Iterator[tuple[str, str]]:
    """Every name with what it means, aliases last."""
    for entry in known:
        yield entry.name, entry.summary
    for entry in known:
        yield from ((alias, f"{entry.name}: {entry.summary}") for alias in entry.aliases)


def _options(known: Iterable[Entry], name: str) -> dict[str, Option]:
    return next((e.options for e in known if name in (e.name, *e.aliases)), {})


def _starting(incomplete: str, words: Iterable[tuple[str, str]]) -> Items:
    """Those that begin as the word does, each once."""
    found = {word: text for word, text in words if word.startswith(incomplete)}
    return [CompletionItem(word, help=text or None) for word, text in found.items()]
