"""Shell completion of losses, families, presets, roles and files; click completes the rest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import TYPE_CHECKING

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    shell_complete,
)

import lossbench
from lossbench.catalog.registry import Entry

VARIABLE = "_LOSSBENCH_COMPLETE"
if TYPE_CHECKING:  # before click 8.4.2 a CompletionItem takes no type
    Items = list[CompletionItem[str]]


def complete(cli: click.Command, instruction: str) -> int:
    """Print a shell's script, or the completions of the line in `COMP_WORDS`; the exit status."""
    if instruction.endswith("_complete") and not {"COMP_WORDS", "COMP_CWORD"} <= os.environ.keys():
        return 2
    return shell_complete(cli, {}, "lossbench", VARIABLE, instruction)


@add_completion_class
class Bash(BashComplete):
    """Bash splits `--loss=dice` into three words, and adds a space after a completed word."""

    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)", "COMPREPLY+=($value); [[ $value == *= ]] && compopt -o nospace"
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        arguments, incomplete = super().get_completion_args()
        line = "\n".join([*arguments, incomplete]).replace("\n=\n", "=").replace("\n=", "=")
        *arguments, incomplete = line.split("\n")
        return arguments, incomplete


def files(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Files and folders, which the shell lists."""
    return [CompletionItem(incomplete, type="file")]


def configs(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Files and presets; bash lists files only where no preset matches."""
    names = sorted(file.name for file in resources.files("lossbench_configs").iterdir())
    presets = [name.removesuffix(".yaml") for name in names if name.endswith(".yaml")]
    return [*files(context, parameter, incomplete), *_matching(incomplete, presets)]


def roles(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """`ROLE=` for each role, then a folder, which the shell lists."""
    if "=" in incomplete:
        return files(context, parameter, incomplete)
    common = lossbench.list_settings()["inputs"].type.choices
    known = dict.fromkeys([*common, *(role for entry in _entries(context) for role in entry.roles)])
    return _matching(incomplete, [f"{role}=" for role in known])


def losses(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Names and aliases of losses."""
    entries = _entries(context)
    helps = {name: each.summary or None for each in entries for name in (each.name, *each.aliases)}
    return _matching(incomplete, helps)


def families(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Families of losses."""
    return _matching(incomplete, dict.fromkeys(entry.family for entry in _entries(context)))


def _entries(context: click.Context) -> list[Entry]:
    """The catalogue, with the losses of the line's plugins where their source is valid."""
    try:
        return lossbench.list_losses(plugins=context.params.get("plugins") or ())
    except lossbench.LossbenchError:
        return lossbench.list_losses()


def _matching(incomplete: str, names: Iterable[str]) -> Items:
    """The names that continue an incomplete word, with their help if they are a mapping."""
    helps = names if isinstance(names, Mapping) else {}
    matching = (name for name in names if name.startswith(incomplete))
    return [CompletionItem(name, help=helps.get(name)) for name in matching]
