"""Settings from a YAML file, environment variables and flags, in the order of their precedence."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossbench.catalog.plugins import using
from lossbench.config.keys import KEYS, OTHER_NAMES, REPLACED, VARIABLES, key_tree
from lossbench.config.yaml_source import YamlSource, mapping_items
from lossbench.config.yaml_values import read_value
from lossbench.engine.settings import PREFIX, Setting
from lossbench.engine.value_types import ValueType
from lossbench.errors import SettingError, did_you_mean, file_beside, printable
from lossbench.runtime.limits import GREATEST_YAML, is_too_large

if TYPE_CHECKING:
    from yaml import Node

QUOTE = "'"
ENVIRONMENT = "environment"
FILE = "lossbench.yaml"  # looked for in the working directory and above it
PRESETS = "lossbench_configs"


@dataclass(frozen=True)
class Config:
    """Settings and their sources.

    Attributes:
        settings: values by the names of `lossbench.plan` and of output settings.
        origins: the source of each: `gate.yaml:7`, environment, flag.
        file: the config that was read.
        replaced: settings that a lower source has, too.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    file: str | None = None
    replaced: frozenset[str] = frozenset()

    def over(self, lower: Config) -> Config:
        """These settings, and those of a lower source that these leave open; none is merged."""
        without = {each for own in self.settings for each in (own, *REPLACED.get(own, ()))}
        kept = {name: value for name, value in lower.settings.items() if name not in without}
        origins = {name: lower.origins[name] for name in kept}
        replaced = self.replaced | lower.replaced | (self.settings.keys() & lower.settings.keys())
        file = self.file or lower.file
        return Config(kept | self.settings, origins | self.origins, file, replaced)

    def loosening(self, *, named: bool) -> Iterator[str]:
        """Each setting that loosens the run without being on its command line.

        The settings of a config that the command line has `named` are on it.
        """
        for setting in KEYS:
            origin = self.origins.get(setting.name, "flag")
            value, replaces = self.settings.get(setting.name), setting.name in self.replaced
            if origin == "flag" or not setting.is_loosened_by(value, replaces=replaces):
                continue
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            if origin == ENVIRONMENT:
                yield f"{setting.variable}={shown}"
            elif not named:
                yield f"{setting.key}: {shown} ({origin})"


def gather(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    name: str | None,
    *,
    isolated: bool = False,
) -> Config:
    """Combine flags, variables and a config; see `lossbench.gather_settings`.

    Plugins are read first: all other settings may name their losses.
    """
    name = name if name or isolated else find()
    by_flag = Config(dict(flags), dict.fromkeys(flags, "flag"))
    variables = {each.name: each.variable for each in KEYS}
    first = {variables["plugins"]: environment.get(variables["plugins"], "")}
    plugins = by_flag.over(from_environment(first)).settings.get("plugins")
    replaced = "losses" in flags or bool(environment.get(variables["losses"]))
    below = load(name, plugins, judged=not replaced) if name else Config()
    with using(below.settings.get("plugins", ()) if plugins is None else plugins):
        return by_flag.over(from_environment(environment)).over(below)


def load(name: str, plugins: Sequence[str] | None = None, *, judged: bool = True) -> Config:
    """Read a config file or a preset and check all of it.

    Args:
        name: a file, or a preset: a name without suffix and slash.
        plugins: files with losses, in place of those that the config names.
        judged: whether its gates are checked against its losses, which no other source replaces.

    Raises:
        SettingError: the config cannot be read, or has mistakes: one line for each of them.
    """
    source = _opened(name)
    root = _composed(source)
    config = Config(file=source.name)
    entries = sorted(
        _entries(source, root, key_tree(), ""), key=lambda each: each[0].name != "plugins"
    )
    with ExitStack() as losses:
        if plugins is not None:
            losses.enter_context(using(plugins))
        for setting, at, node in entries:
            config.settings[setting.name] = read_value(source, node, setting.type)
            config.origins[setting.name] = f"{source.name}:{at.start_mark.line + 1}"
            if setting.name == "plugins" and plugins is None:
                losses.enter_context(using(config.settings["plugins"]))
        if judged:
            source.check_gates()
        source.finish()
    return config


def find() -> str | None:
    """The nearest `lossbench.yaml`, in the working directory or above it."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return None
    paths = (folder / FILE for folder in (here, *here.parents))
    nearest = next(filter(os.path.isfile, paths), None)
    return os.path.relpath(nearest, here) if nearest else None


def from_environment(environment: Mapping[str, str]) -> Config:
    """The settings of `LOSSBENCH_*` variables; an empty variable sets none.

    Raises:
        SettingError: a value is wrong, or a name is nearly that of a setting.
    """
    config = Config()
    wrong: list[str] = []
    for name in sorted(environment):
        if not name.startswith(PREFIX) or not environment[name]:
            continue
        setting = VARIABLES.get(name)
        if setting is None:
            wrong += _misspelt(name)
            continue
        source = YamlSource(name)
        node = _node(environment[name], setting.type)
        config.settings[setting.name] = read_value(source, node, setting.type)
        config.origins[setting.name] = ENVIRONMENT
        wrong += [message for *_, message in source.problems]
    if wrong:
        raise SettingError("\n".join(wrong))
    return config


def _misspelt(name: str) -> Iterator[str]:
    """The message for a variable that is no setting; none if its name is like that of no other."""
    word = name.removeprefix(PREFIX)
    known = [each.removeprefix(PREFIX) for each in VARIABLES]
    if word in OTHER_NAMES:
        yield f"{name} is no setting (did you mean {OTHER_NAMES[word].variable!r}?)"
    elif word != "CONFIG" and (close := did_you_mean(word, known)):
        yield printable(f"{name} is no setting{close.replace(QUOTE, QUOTE + PREFIX, 1)}")


def _opened(name: str) -> YamlSource:
    """The text of a preset, which has neither ending nor slash, or of a file."""
    try:
        if os.path.splitext(name)[1] or "/" in name or os.sep in name:
            return YamlSource(name, Path(name).read_text("utf-8-sig"), os.path.dirname(name))
        from importlib.resources import files

        presets = {each.name: each for each in files(PRESETS).iterdir()}
        if f"{name}.yaml" in presets:
            return YamlSource(f"{name}.yaml", presets[f"{name}.yaml"].read_text("utf-8"))
        known = sorted(each[:-5] for each in presets if each.endswith(".yaml"))
        raise SettingError(
            f"{printable(f'no preset is called {name!r}')}{did_you_mean(name, known)}; there are"
            f" {', '.join(known)}, and a file is named with its ending or a slash"
        )
    except OSError as error:
        reason = error.strerror or error
        message = f"the config {name} cannot be read: {reason}{file_beside(str(name))}"
        raise SettingError(printable(message)) from None
    except ValueError:
        raise SettingError(printable(f"the config {name} is no text in UTF-8")) from None


def _composed(source: YamlSource) -> Node:
    """The root of a YAML document: a mapping."""
    import yaml

    try:
        root = yaml.compose(source.text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise SettingError(_syntax(source, error)) from None
    except yaml.reader.ReaderError as error:
        line = source.text.count("\n", 0, error.position) + 1
        raise SettingError(
            f"{source.name}:{line}: the character {chr(error.character)!r} is not allowed in YAML"
            if isinstance(error.character, int)
            else f"{source.name}:{line}: {error.reason}"
        ) from None
    except RecursionError:
        raise SettingError(f"{source.name}: nested too deep") from None
    if not isinstance(root, yaml.MappingNode):
        kinds = {yaml.ScalarNode: "a text", yaml.SequenceNode: "a list"}
        found = kinds.get(type(root), "nothing")
        raise SettingError(
            f"{source.name}:1:1: expected a mapping such as `losses: [dice]`, found {found}"
        )
    if _loops(root, set(), set()):
        raise SettingError(f"{source.name}: an alias is part of what it stands for")
    if is_too_large(root):
        raise SettingError(
            f"{source.name}: its aliases stand for more than {GREATEST_YAML:,} values; write out"
            " what is meant"
        )
    return root


def _syntax(source: YamlSource, error: Any) -> str:
    """The message of YAML's parser, with the way out if brackets are the reason."""
    mark = error.problem_mark or error.context_mark
    lines = [line for line in source.text.splitlines()[: mark.line + 1] if line.strip()]
    hint = ""
    if lines and re.search(r"[\[{*&%@`!|>]", lines[-1]):
        hint = "; quote a text with { } [ ] * or commas, such as '{id}_pred.png'"
    problem = error.problem or error.context
    return printable(f"{source.name}:{mark.line + 1}:{mark.column + 1}: {problem}{hint}")


def _loops(node: Node, above: set[int], done: set[int]) -> bool:
    """Whether a node contains itself."""
    if id(node) in above:
        return True
    if isinstance(node.value, str) or id(node) in done:
        return False
    parts = [part for each in node.value for part in (each if isinstance(each, tuple) else [each])]
    done.add(id(node))
    return any(_loops(part, above | {id(node)}, done) for part in parts)


def _entries(
    source: YamlSource, node: Node, tree: Mapping[str, Any], inside: str
) -> Iterator[tuple[Setting, Node, Node]]:
    """Every setting in a mapping, with the nodes of its key and its value."""
    for at, name, value in mapping_items(source, node, "a mapping"):
        below = tree.get(name)
        if isinstance(below, Mapping):
            if isinstance(value.value, str) and "path" in below:
                yield below["path"], at, value
            else:
                yield from _entries(source, value, below, f"{name}.")
        elif below is not None:
            yield below, at, value
        else:
            source.wrong(at, f"unknown key {inside + name!r}{_meant(name, tree, inside)}")


def _meant(name: str, tree: Mapping[str, Any], inside: str) -> str:
    """The suggestion for an unknown key: that name on another level, or the nearest name here."""
    for each in KEYS:
        if name.replace("-", "_") in (each.name, each.flag.replace("-", "_")):
            return f" (did you mean {each.key.removesuffix('.path')!r}?)"
    here = did_you_mean(name, tree)
    return here.replace(QUOTE, QUOTE + inside, 1)


def _node(text: str, of: ValueType) -> Node:
    """The value of an environment variable; lines or semicolons separate the items of a list."""
    from yaml import MappingNode, ScalarNode, SequenceNode

    def one(part: str) -> Node:
        return ScalarNode("tag:yaml.org,2002:str", part.strip())

    parts = [part for part in re.split(r"[;\n]", text) if part.strip()]
    if of.is_mapping:
        pairs = [part.partition("=") for part in parts]
        return MappingNode("", [(one(role), one(folder)) for role, _, folder in pairs])
    return SequenceNode("", [one(part) for part in parts]) if of.many else one(text)
