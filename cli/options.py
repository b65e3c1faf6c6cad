"""Options that several commands share, and options of settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

import click

import lossbench
from lossbench.errors import did_you_mean

if TYPE_CHECKING:
    from lossbench.engine.settings import Setting
    from lossbench.engine.value_types import ValueType

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]


def completer(name: str) -> Callable[..., Any]:
    """A function of `completion`, which is imported when a shell asks for words."""

    def complete(*args: Any) -> Any:
        from . import completion

        return getattr(completion, name)(*args)

    return complete


files = completer("files")
COMPLETERS = {
    "path": files,
    "classes": files,
    "loss": completer("losses"),
    "roles": completer("roles"),
}


class Operand(click.Argument):
    """An argument that a config can give instead, which usage lines show in brackets."""

    def make_metavar(self, *context: Any) -> str:
        return f"[{self.human_readable_name.upper()}]"


def setting_option(setting: Setting) -> Decorator[Any]:
    """The option of a setting."""
    value, flag = setting.type, f"--{setting.flag}"
    text = setting.text if setting.offers_choices else setting.documentation
    how: dict[str, Any] = {"metavar": setting.metavar}
    if setting.default:
        how |= {"default": setting.default}
    if value.kind == "flag":
        if setting.default is None:
            flag += f"/--no-{setting.flag}"
        how |= {"is_flag": True, "default": setting.default}
    elif value.is_mapping:
        how |= {"multiple": True, "callback": _by_name(setting.example)}
    elif value.many == "repeated":
        how |= {"multiple": True}
    elif value.many == "commas" and value.choices:
        how |= {"callback": _words(value), "default": None}
    elif setting.offers_choices:
        how |= {"type": click.Choice(value.choices)}
    elif value.choices and value.kind in ("number", "whole"):
        how |= {"type": str, "callback": _number_or_word(value)}
        if value.kind == "whole" and setting.default is None:
            how |= {"default": value.choices[0]}
    elif value.kind == "number":
        how |= {"type": float}
    elif value.kind == "whole":
        how |= {"type": click.IntRange(int(value.low))}
    return click.option(
        *([f"-{setting.short}"] if setting.short else []),
        flag,
        setting.name,
        shell_complete=COMPLETERS.get(value.kind),
        help=f"{text} Repeatable." if how.get("multiple") else text,
        **how,
    )


def combined(options: Sequence[Decorator[Any]]) -> Decorator[Any]:
    """Several options as one decorator; help lists them in this order."""
    return lambda function: reduce(lambda inner, option: option(inner), reversed(options), function)


def setting_options(settings: Iterable[Setting]) -> Decorator[Any]:
    """The options of settings, in their order."""
    return combined([setting_option(each) for each in settings])


def _by_name(example: str) -> Callable[[Any, click.Parameter, Sequence[str]], dict[str, str]]:
    """The callback of a repeated option whose values have names, such as ROLE=DIR."""

    def read(_: Any, option: click.Parameter, texts: Sequence[str]) -> dict[str, str]:
        values: dict[str, str] = {}
        for text in texts:
            name, value = text.partition("=")[::2]
            if not value:
                form = option.metavar
                raise click.BadParameter(f"expected {form}, such as {example}, found {text!r}")
            if values.setdefault(name, value) != value:
                raise click.BadParameter(f"{name} is given twice")
        return values

    return read


def _words(value: ValueType) -> Callable[[Any, Any, str | None], tuple[str, ...]]:
    """The callback of an option that takes words, separated by commas."""

    def read(_: Any, option: Any, text: str | None) -> tuple[str, ...]:
        words = [part.strip() for part in (text or "").split(",") if part.strip()]
        for word in words:
            if word not in value.choices:
                near = did_you_mean(word, value.choices)
                raise click.BadParameter(f"expected {value.words}, found {word!r}{near}")
        return tuple(words)

    return read


def _number_or_word(value: ValueType) -> Callable[[Any, Any, str | None], float | str | None]:
    """The callback of an option that accepts a word in place of a number."""

    def read(_: Any, option: Any, text: str | None) -> float | str | None:
        try:
            return None if text is None else value.parse(text)
        except ValueError:
            raise click.BadParameter(f"expected {value.words}, found {text!r}") from None

    return read


OUTPUT = lossbench.list_settings("output")
plugin_option = setting_option(lossbench.list_settings()["plugins"])
top_option = setting_option(OUTPUT["top"])
color_option = click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=False,
    help="Style the table.",
)
column_option = click.option(
    "-l",
    "--loss",
    "losses",
    metavar="COLUMN",
    multiple=True,
    help="Column of a result, or the values of a class in it, such as 'dice[road]'. Default: all"
    " columns that the results have in common. Repeatable.",
)
output_options = combined(
    [
        setting_options(OUTPUT.values()),
        click.option("--exit-zero", is_flag=True, help="Exit with 0 if a gate fails, too."),
        click.option("-q", "--quiet", is_flag=True, help="Print failures only."),
        click.option(
            "-v",
            "--verbose",
            is_flag=True,
            help="Print all aggregates, timing and omitted files, too.",
        ),
        color_option,
    ]
)
