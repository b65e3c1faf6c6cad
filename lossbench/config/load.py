"""Settings from a YAML file, from the environment and from flags: one table says what there is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lossbench.catalog.plugins import using
from lossbench.config.keys import EXCLUDED, KEYS, NAMED_SO, PREFIX, VARIABLES, Key, key_tree
from lossbench.config.value_types import (
    ValueType,
)
from lossbench.config.yaml_source import YamlSource, mapping_items
from lossbench.errors import SettingError, did_you_mean, printable

if TYPE_CHECKING:
    from yaml import Node

QUOTE = "'"
FILE = "lossbench.yaml"  # looked for in the working directory and above it
PRESETS = "lossbench_configs"


@dataclass(frozen=True)
class Config:
    """Settings that were made, and where.

    Attributes:
        settings: by the names of `lossbench.plan` and of output options.
        origins: by the same: `gate.yaml:7`, environment, flag.
        file: the config that was read.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    file: str | None = None

    def over(self, lower: Config) -> Config:
        """These settings, and those of another that these leave open; nothing is merged."""
        without = {name for given in self.settings for name in EXCLUDED.get(given, ())}
        kept = {
            name: value
            for name, value in lower.settings.items()
            if name not in self.settings and name not in without
        }
        origins = {name: lower.origins[name] for name in kept}
        return Config(kept | self.settings, origins | self.origins, self.file or lower.file)


def gather(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    name: str | None,
    *,
    isolated: bool = False,
) -> Config:
    """Flags over variables over a config; see `lossbench.gather_settings`.

    Losses of plugins come first: everything else may name them.
    """
    name = name if name or isolated else find()
    by_hand = Config(dict(flags), dict.fromkeys(flags, "flag"))
    variables = {key.setting: key.variable for key in KEYS}
    first = {variables["plugins"]: environment.get(variables["plugins"], "")}
    plugins = by_hand.over(from_environment(first)).settings.get("plugins")
    replaced = "losses" in flags or bool(environment.get(variables["losses"]))
    below = load(name, plugins, judged=not replaced) if name else Config()
    with using(below.settings.get("plugins", ()) if plugins is None else plugins):
        return by_hand.over(from_environment(environment)).over(below)


def load(name: str, plugins: Sequence[str] | None = None, *, judged: bool = True) -> Config:
    """A config file or a preset, checked throughout.

    Args:
        name: a file, or a preset where it has no ending and no slash.
        plugins: files with losses, in place of those that the config names.
        judged: whether its gates are of its losses, and of no others that replace them.

    Raises:
        SettingError: it cannot be read, or with a line for each thing that is wrong in it.
    """
    source = _opened(name)
    root = _composed(source)
    config = Config(file=source.name)
    found = sorted(
        _found(source, root, key_tree(), ""), key=lambda each: each[0].setting != "plugins"
    )
    with ExitStack() as losses:
        if plugins is not None:
            losses.enter_context(using(plugins))
        for key, at, node in found:
            config.settings[key.setting] = key.kind.read(source, node)
            config.origins[key.setting] = f"{source.name}:{at.start_mark.line + 1}"
            if key.setting == "plugins" and plugins is None:
                losses.enter_context(using(config.settings["plugins"]))
        if judged:
            source.check_gates()
        source.finish()
    return config


def find() -> str | None:
    """The nearest `lossbench.yaml`, in the working directory or above it."""
    try:
        here = os.getcwd()
    except FileNotFoundError:
        return None
    folder = here
    while not os.path.isfile(os.path.join(folder, FILE)):
        folder, below = os.path.dirname(folder), folder
        if folder == below:
            return None
    return os.path.join(os.path.relpath(folder, here), FILE).removeprefix(f".{os.sep}")


def from_environment(environment: Mapping[str, str]) -> Config:
    """The settings that `LOSSBENCH_*` variables make; an empty one makes none.

    Raises:
        SettingError: a value is wrong, or a name is nearly that of a setting.
    """
    config = Config()
    wrong: list[str] = []
    for name in sorted(environment):
        if not name.startswith(PREFIX) or not environment[name]:
            continue
        key = VARIABLES.get(name)
        if key is None:
            wrong += _misspelt(name)
            continue
        source = YamlSource(name)
        config.settings[key.setting] = key.kind.read(source, _node(environment[name], key.kind))
        config.origins[key.setting] = "environment"
        wrong += [message for *_, message in source.problems]
    if wrong:
        raise SettingError("\n".join(wrong))
    return config


def _misspelt(name: str) -> Iterator[str]:
    """What is wrong with a variable that is no setting; one like none of them is not ours."""
    word = name.removeprefix(PREFIX)
    known = [each.removeprefix(PREFIX) for each in VARIABLES]
    if word in NAMED_SO:
        yield f"{name} is no setting (did you mean {NAMED_SO[word].variable!r}?)"
    elif word != "CONFIG" and (close := did_you_mean(word, known)):
        yield printable(f"{name} is no setting{close.replace(QUOTE, QUOTE + PREFIX, 1)}")


def _opened(name: str) -> YamlSource:
    """The text of a preset, which has neither ending nor slash, or of a file."""
    preset = not (os.path.splitext(name)[1] or "/" in name or os.sep in name)
    try:
        if preset:
            from importlib.resources import files

            shipped = {each.name: each for each in files(PRESETS).iterdir()}
            if f"{name}.yaml" not in shipped:
                known = sorted(each[:-5] for each in shipped if each.endswith(".yaml"))
                raise SettingError(
                    printable(f"no preset is called {name!r}")
                    + f"{did_you_mean(name, known)}; there are {', '.join(known)},"
                    f" and a file is named"
                    " with its ending or a slash"
                )
            return YamlSource(f"{name}.yaml", shipped[f"{name}.yaml"].read_text("utf-8"))
        with open(name, encoding="utf-8-sig") as file:
            return YamlSource(name, file.read(), os.path.dirname(name))
    except OSError as error:
        reason = error.strerror or error
        raise SettingError(printable(f"the config {name} cannot be read: {reason}")) from None
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
        found = "nothing" if root is None else "a text" if isinstance(root.value, str) else "a list"
        raise SettingError(
            f"{source.name}:1:1: expected a mapping such as `losses: [dice]`, found {found}"
        )
    if _loops(root, set(), set()):
        raise SettingError(f"{source.name}: an alias is part of what it stands for")
    return root


def _syntax(source: YamlSource, error: Any) -> str:
    """What YAML says of a text, with the way out where brackets are the reason."""
    mark = error.problem_mark or error.context_mark
    lines = source.text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    before = lines[mark.line - 1] if mark.line and not line.strip() else ""
    hint = ""
    if re.search(r"[\[{*&%@`!|>]", line + before):
        hint = "; quote a text with { } [ ] * or commas, such as '{id}_pred.png'"
    problem = error.problem or error.context
    return printable(f"{source.name}:{mark.line + 1}:{mark.column + 1}: {problem}{hint}")


def _loops(node: Node, above: set[int], done: set[int]) -> bool:
    """Whether a node is among its own parts."""
    if id(node) in above:
        return True
    if isinstance(node.value, str) or id(node) in done:
        return False
    parts = [part for each in node.value for part in (each if isinstance(each, tuple) else [each])]
    done.add(id(node))
    return any(_loops(part, above | {id(node)}, done) for part in parts)


def _found(
    source: YamlSource, node: Node, tree: Mapping[str, Any], inside: str
) -> Iterator[tuple[Key, Node, Node]]:
    """Every key of the table that a mapping holds, where it stands, and its value."""
    for at, name, value in mapping_items(source, node, "a mapping"):
        below = tree.get(name)
        if isinstance(below, Mapping):
            if isinstance(value.value, str) and "path" in below:
                yield below["path"], at, value
            else:
                yield from _found(source, value, below, f"{name}.")
        elif below is not None:
            yield below, at, value
        else:
            source.wrong(at, f"unknown key {inside + name!r}{_meant(name, tree, inside)}")


def _meant(name: str, tree: Mapping[str, Any], inside: str) -> str:
    """The nearest key here, or the place of a key that is of another place."""
    for key in KEYS:
        if name.replace("-", "_") in (key.setting, key.flag.replace("-", "_")):
            return f" (did you mean {key.path.removesuffix('.path')!r}?)"
    here = did_you_mean(name, tree)
    return here.replace(QUOTE, QUOTE + inside, 1)


def _node(text: str, kind: ValueType) -> Node:
    """The value of an environment variable: parts of a list end with a line or a semicolon."""
    from yaml import MappingNode, ScalarNode, SequenceNode

    def one(part: str) -> Node:
        return ScalarNode("tag:yaml.org,2002:str", part.strip())

    parts = [part for part in re.split(r"[;\n]", text) if part.strip()]
    if kind.shape == "mapping":
        pairs = [part.partition("=") for part in parts]
        return MappingNode("", [(one(role), one(folder)) for role, _, folder in pairs])
    return SequenceNode("", [one(part) for part in parts]) if kind.shape == "list" else one(text)
