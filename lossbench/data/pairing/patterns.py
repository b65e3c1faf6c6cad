"""Patterns such as '{id}_{class}.png': compiled and matched."""

from __future__ import annotations

import re
from typing import Any

from lossbench.data.sources.suffixes import ENDINGS, split_ending
from lossbench.errors import SettingError

SEPARATORS = re.compile(r"(?<=[_.\-/])|(?=[_.\-])")

PLACEHOLDER = re.compile(r"\{([^\W\d]\w*)\}|(\*)")


def matcher(pattern: str | None) -> Any:
    """A function from a relative path to its id and class, None where the pattern does not fit."""
    if pattern is None:
        return lambda relative, stem: (stem, "")
    if "{id}" not in pattern or stray_braces(pattern):
        raise SettingError(
            f"the pattern {pattern!r}: expected {{id}}, and further names in braces, such as"
            " '{id}_{class}.png'"
        )
    has_suffix = split_ending(pattern)[1].lower() in ENDINGS
    rule = compiled(pattern)

    def match(relative: str, stem: str) -> tuple[str, str] | None:
        fit = rule.fullmatch(relative if has_suffix else stem)
        return (fit["id"], fit.groupdict().get("class", "")) if fit else None

    return match


def stray_braces(pattern: str) -> bool:
    """Whether a pattern has braces that are not around a name."""
    return bool(set("{}") & set(PLACEHOLDER.sub("", pattern)))


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression with a group for each name.

    A name takes as much as it can within one folder, `{id}` across folders as well.
    """
    parts, end, used = [], 0, set[str]()
    for placeholder in PLACEHOLDER.finditer(pattern):
        name = placeholder[1] or ""
        parts.append(re.escape(pattern[end : placeholder.start()]))
        if not name:
            parts.append("[^/]*")
        elif name in used:
            parts.append(f"(?P={name})")
        else:
            parts.append(f"(?P<{name}>{'.+' if name == 'id' else '[^/]+'})")
        used.add(name)
        end = placeholder.end()
    return re.compile("".join(parts) + re.escape(pattern[end:]))
