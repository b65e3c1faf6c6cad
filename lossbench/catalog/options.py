"""Options of a loss: each known, of a type that it takes, and one text for one meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossbench.catalog import registry
from lossbench.catalog.grammar import WORDS, Loss, parse_call
from lossbench.catalog.registry import Entry
from lossbench.catalog.signatures import Option, Signature
from lossbench.errors import SettingError, did_you_mean


class OptionError(SettingError):
    """An option that a loss does not have, or a value that it cannot take."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


def check_options(entry: Entry | Signature, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of a loss with its value, given or default; lists become tuples."""
    filled = {name: option.default for name, option in entry.options.items()}
    for name, value in given.items():
        option = entry.options.get(name)
        if option is None:
            known = ", ".join(entry.options)
            close = did_you_mean(name, entry.options)
            raise OptionError(name, f"{entry.name} has no option {name!r}{close}; it has {known}")
        meant = _meant(option, value)
        if not option.accepts(meant):
            written = format_loss(value) if isinstance(value, Loss) else repr(value)
            raise OptionError(name, f"{entry.name}: {name} is {option.words}, not {written}")
        filled[name] = tuple(meant) if isinstance(meant, list) else meant
    return filled


def _meant(option: Option, value: Any) -> Any:
    """A value as the option means it: `none` is a word where the option has that word."""
    if option.type.startswith("WeightMap") and isinstance(value, str | Loss):
        return _weight_map(option.name, value)
    if option.type == "LossCall" and isinstance(value, Loss):
        return format_loss(value)
    return "none" if value is None and not option.accepts(None) else value


def _weight_map(option: str, value: str | Loss) -> str:
    """A weight map with all its options, as it would be typed."""
    try:
        call = parse_call(value) if isinstance(value, str) else value
        known = registry.weight_maps()
        if call.name not in known:
            close = did_you_mean(call.name, known)
            raise SettingError(
                f"no weight map is called {call.name!r}{close}; there are {', '.join(known)}"
            )
        filled = check_options(known[call.name], call.options)
        return format_loss(Loss(call.name, {name: _plain(each) for name, each in filled.items()}))
    except SettingError as error:
        raise OptionError(option, str(error).partition("\n")[0]) from None


def _plain(value: Any) -> Any:
    """10.0 as 10, so that both are one text."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return int(value) if isinstance(value, float) and value.is_integer() else value


def format_loss(loss: Loss) -> str:
    """A loss as it would be typed."""
    options = ", ".join(f"{name}={_word(value)}" for name, value in loss.options.items())
    return f"{loss.name}({options})" if options else loss.name


def _word(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, Loss):
        return format_loss(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_word, value))}]"
    if isinstance(value, str) and (not value.isidentifier() or value in WORDS):
        return f"'{value}'" if '"' in value else f'"{value}"'
    return str(value)
