"""Options of a loss: check names and types, and format equal losses as equal text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossbench.catalog import registry
from lossbench.catalog.grammar import WORDS, Loss, parse_call
from lossbench.catalog.signatures import Option, Signature
from lossbench.errors import SettingError, did_you_mean


class OptionError(SettingError):
    """An unknown option of a loss, or a value of the wrong type."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


def check_options(entry: Signature, values: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a loss with their values or defaults; lists become tuples."""
    options = {name: option.default for name, option in entry.options.items()}
    for name, value in values.items():
        option = entry.options.get(name)
        if option is None:
            known = ", ".join(entry.options)
            close = did_you_mean(name, entry.options)
            raise OptionError(name, f"{entry.name} has no option {name!r}{close}; it has {known}")
        normalised = _normalised(option, value)
        if not option.accepts(normalised):
            text = format_loss(value) if isinstance(value, Loss) else repr(value)
            raise OptionError(name, f"{entry.name}: {name} is {option.expected}, not {text}")
        options[name] = tuple(normalised) if isinstance(normalised, list) else normalised
    return options


def _normalised(option: Option, value: Any) -> Any:
    """A value in the option's own form; `none` is a string if the option has that choice."""
    if option.type.startswith("WeightMap") and isinstance(value, str | Loss):
        return _weight_map(option.name, value)
    if option.type == "LossCall" and isinstance(value, Loss):
        return format_loss(value)
    return "none" if value is None and not option.accepts(None) else value


def _weight_map(option: str, value: str | Loss) -> str:
    """A weight map with all its options, as text."""
    try:
        call = parse_call(value) if isinstance(value, str) else value
        known = registry.weight_maps()
        if call.name not in known:
            close = did_you_mean(call.name, known)
            raise SettingError(
                f"no weight map is called {call.name!r}{close}; there are {', '.join(known)}"
            )
        options = check_options(known[call.name], call.options)
        plain = {name: _plain(value) for name, value in options.items()}
        return format_loss(Loss(call.name, plain))
    except SettingError as error:
        raise OptionError(option, str(error).partition("\n")[0]) from None


def _plain(value: Any) -> Any:
    """A whole float as an integer, so that 10.0 and 10 give the same text."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return int(value) if isinstance(value, float) and value.is_integer() else value


def format_loss(loss: Loss) -> str:
    """A loss as text, as typed at --loss."""
    options = ", ".join(f"{name}={_value_text(value)}" for name, value in loss.options.items())
    return f"{loss.name}({options})" if options else loss.name


def _value_text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, Loss):
        return format_loss(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value_text, value))}]"
    if isinstance(value, str) and (not value.isidentifier() or value in WORDS):
        return f"'{value}'" if '"' in value else f'"{value}"'
    return str(value)
