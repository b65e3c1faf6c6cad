"""`lossbench explain LOSS`: the manual page of one loss, read from its source."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import click

import lossbench
from lossbench.catalog.registry import MAYBE, Entry, Option

from .completion import losses
from .main import write
from .options import plugin_option

WIDTH = 80
AGGREGATES = {"pooled": "reports pooled", "class_mean": "reports the mean of the class means"}
COMMON = ("finish_pixels", "finish_classes", "finish_samples", "weighted")


@click.command("explain", epilog="Example: lossbench explain dice")
@click.argument("loss", shell_complete=losses)
@plugin_option
def command(loss: str, plugins: tuple[str, ...]) -> None:
    """Explain a loss: formula, options, range and source."""
    write("\n\n".join(page(lossbench.find_loss(loss, plugins=plugins))) + "\n")


def page(entry: Entry) -> Iterator[str]:
    """The paragraphs of a manual page."""
    better = f"{entry.better} is better" if entry.better else "neither end is better"
    yield _filled(" — ".join(filter(None, (entry.name, entry.summary))), "")
    if entry.definition:
        yield _filled(entry.definition)
    low, high = (f"{end:g}".replace("inf", "∞").replace("-", "−") for end in entry.range)
    facts = {
        "family": entry.family,
        "use": entry.use,
        "gets": _arrays(entry),
        "also": ", ".join(entry.aliases),
        "tasks": ", ".join(entry.all_tasks),
        "range": f"{low} to {high}, {better}",
        "source": "; ".join(entry.sources),
        "example": _example(entry),
    }
    lines = (_filled(f"{name:8} {fact}", "  ", 11) for name, fact in facts.items() if fact)
    yield "\n".join(lines)
    for heading, options in _groups(entry).items():
        texts = (f"{option.name}={_word(option.default)}  {option.doc}" for option in options)
        yield "\n".join([heading, *(_filled(text, "  ", 6) for text in texts)])
    for heading in ("Returns", "Note"):
        if heading in entry.sections:
            yield f"{heading.lower()}\n{_filled(entry.sections[heading])}"
    if conventions := list(_conventions(entry)):
        yield "\n".join(["conventions elsewhere", *conventions])
    yield f"defined in {entry.location}"


def _example(entry: Entry) -> str:
    """A command with the plugin file of the loss and the further inputs that it requires."""
    plugin = entry.plugin
    options = [f"--plugin {plugin.path}"] if plugin and plugin.module is None else []
    needed = (role for role, form in entry.roles.items() if not form.endswith(MAYBE))
    options += [*(f"--input {role}=DIR" for role in needed), f"--loss '{entry.example}'"]
    return " ".join(["lossbench eval pred/ gt/", *options])


def _arrays(entry: Entry) -> str:
    """The arguments of a plugin's plain function."""
    kinds = {"Array": "numpy arrays", "Tensor": "torch tensors"}
    form = next(iter(entry.inputs.values()), "")
    return f"{', '.join(entry.inputs)} of one sample, {kinds[form]}" if form in kinds else ""


def _conventions(entry: Entry) -> Iterator[str]:
    """Conventions that change the defaults, and conventions that agree with them."""
    agreeing = []
    for convention in lossbench.list_conventions():
        for rule in convention.rules_for(entry.name):
            if not rule.changes:
                agreeing.append(f"{convention.name} ({rule.tool})")
                continue
            options = ", ".join(f"{name}={_word(value)}" for name, value in rule.options.items())
            where = f" on {', '.join(rule.tasks)}" if rule.tasks else ""
            reports = AGGREGATES.get(rule.aggregate, "")
            meant = ", ".join(f"its {each}" for each in rule.meanings)
            said = "; ".join(filter(None, (options, reports, rule.note, meant)))
            yield _filled(f"{convention.name}  {rule.tool}{where}: {said}", "  ", 6)
    if agreeing:
        yield _filled(f"as here  {', '.join(agreeing)}", "  ", 6)


def _groups(entry: Entry) -> dict[str, list[Option]]:
    """Options by owner: the loss, its views, the reduction after it."""
    groups: dict[str, list[Option]] = {}
    for option in entry.options.values():
        heading = f"options of its view {option.owner}"
        if option.owner in (entry.name, *COMMON):
            heading = "options" if option.owner == entry.name else "common options"
        groups.setdefault(heading, []).append(option)
    return groups


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(map(_word, value))}]"
    return str(value).lower() if isinstance(value, bool) or value is None else f"{value}"


def _filled(text: str, indent: str = "  ", hang: int = 2) -> str:
    """A text in lines; all but the first have a hanging indent."""
    return textwrap.fill(
        " ".join(text.split()) if hang == 2 else text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=" " * hang if indent else "",
        break_on_hyphens=False,
    )
