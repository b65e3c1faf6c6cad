"""The classes of a run, and the stored values or colours that stand for them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossbench.errors import InputError, SettingError, file_beside
from lossbench.runtime.limits import GREATEST_YAML, is_too_large

MAX_CLASSES = 4096
OPTION = "classes"  # as messages name them where they are in no file
COLOUR = re.compile(r"#([0-9a-fA-F]{6})")
CVAT = re.compile(r"(?P<label>[^:]+):(?P<colour>\d+,\d+,\d+):[^:]*:[^:]*")


@dataclass(frozen=True)
class Classes:
    """Names in order, and the stored values that mean them; a colour is stored as 0xRRGGBB."""

    names: tuple[str, ...]
    values: tuple[tuple[int, int], ...]  # stored value -> index of the class
    colours: bool = False

    @classmethod
    def of(cls, values: Iterable[int], names: Sequence[str] = ()) -> Classes:
        """One class for each stored value, called by that value where names are missing."""
        indices = {value: index for index, value in enumerate(values)}
        return cls(tuple(names or map(str, indices)), tuple(indices.items()))


def parse_classes(setting: Any) -> Classes | None:
    """The classes of a setting: a number, names in order, value -> name, or name -> RGB colour.

    A text is names with commas, YAML of any of these, or a file: YAML, JSON, one name a line, or
    CVAT's label map.

    Raises:
        SettingError: none of these.
    """
    if setting is None:
        return None
    if isinstance(setting, str):
        setting = _read(setting)
    if isinstance(setting, int) and not isinstance(setting, bool) and 0 < setting <= MAX_CLASSES:
        return Classes.of(range(setting))
    if isinstance(setting, Mapping) and setting:
        pairs = [_entry(key, value) for key, value in setting.items()]
        kinds = {kind for kind, _, _ in pairs}
        if len(kinds) > 1:
            raise SettingError("classes mix stored values and colours; use one of the two")
        names = tuple(dict.fromkeys(name for _, _, name in pairs))
        stored = tuple((value, names.index(name)) for _, value, name in pairs)
        if len({value for value, _ in stored}) < len(stored):
            raise SettingError("classes give one stored value or colour to two names")
        return Classes(names, stored, kinds == {"colour"})
    is_list = isinstance(setting, Sequence) and not isinstance(setting, str)
    if is_list and setting and all(isinstance(name, str) and name for name in setting):
        if len(set(setting)) < len(setting):
            raise SettingError("classes name one class twice")
        return Classes.of(range(len(setting)), setting)
    raise SettingError(
        f"classes {setting!r}: expected a number, names, {{value: name}} or {{name: [r, g, b]}};"
        f" {MAX_CLASSES:,} at most"
    )


def is_file(text: str) -> bool:
    """Whether a text names a file of classes."""
    return text.lower().endswith(tuple(READERS))


def _read(text: str) -> Any:
    """Names with commas, a file, or YAML with every scalar as it is written."""
    if is_file(text):
        return _read_file(text)
    if text.strip().isdigit():
        return int(text) if len(text) < 19 else float(text)  # too many classes
    if not text.lstrip().startswith(("{", "[")):
        return [name.strip() for name in text.split(",")]
    return _yaml(text)


def _read_file(path: str) -> Any:
    """What a file of classes holds."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except FileNotFoundError:
        message = f"does not exist (classes){file_beside(path)}"
        raise InputError(message, kind="missing", file=path) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise InputError(f"cannot be read (classes): {reason}", file=path) from None
    return READERS[os.path.splitext(path)[1].lower()](text, path)


def _yaml(text: str, source: str = OPTION) -> Any:
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
        if root is not None and is_too_large(root):
            raise SettingError(
                f"{source} cannot be read: aliases stand for more than {GREATEST_YAML:,} values;"
                " write out what is meant"
            )
        return yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or "not YAML"
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark and source != OPTION else ""
        advice = "quote the whole option" if source == OPTION else "expected a line such as 0: sky"
        raise SettingError(f"{source}{where} cannot be read: {problem}; {advice}") from None
    except RecursionError:
        raise SettingError(f"{source} cannot be read: classes are nested too deep") from None


def _json(text: str, source: str) -> Any:
    try:
        return json.loads(text)
    except (RecursionError, ValueError) as error:
        example = '{"0": "sky", "1": "road"}'
        message = f"{source} cannot be read: no JSON ({error}); expected such as {example}"
        raise SettingError(message) from None


def _lines(text: str, source: str) -> Any:
    """One name a line, or CVAT's label map, whose lines are `label:color_rgb:parts:actions`."""
    lines = [line.strip() for line in text.splitlines()]
    named = [line for line in lines if line and not line.startswith("#")]
    mapped = [CVAT.fullmatch(line) for line in named]
    if not all(mapped):
        return named
    return {line["label"]: line["colour"].split(",") for line in mapped if line}


READERS: dict[str, Callable[[str, str], Any]] = {
    ".json": _json,
    ".txt": _lines,
    ".yaml": _yaml,
    ".yml": _yaml,
}


def _entry(key: Any, value: Any) -> tuple[str, int, str]:
    """One class of a mapping: `value` or `colour`, that value or colour, and the name."""
    if isinstance(value, str) and (colour := COLOUR.fullmatch(value)):
        return "colour", int(colour[1], 16), str(key)
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 3:
        try:
            red, green, blue = (int(part) for part in value)
        except ValueError:
            red = green = blue = -1
        if all(0 <= part <= 255 for part in (red, green, blue)):
            return "colour", red << 16 | green << 8 | blue, str(key)
    elif re.fullmatch(r"-?\d+", str(key)):
        return "value", int(key), str(value)
    raise SettingError(
        f"class {key!r}: {value!r} is neither a name for a stored value nor an RGB colour such as"
        " [128, 64, 128] or #804080"
    )
