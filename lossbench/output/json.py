"""The result file: everything, with every digit; as one object, or as a line for each sample."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lossbench.results import Result

FIRST = ("schema", "session", "run")


def render_json(result: Result, *, per_class: bool | None = None) -> str:
    """The result file's text.

    Args:
        result: what a run found.
        per_class: False leaves class columns out.
    """
    model = result.as_json(per_class is not False)
    return json.dumps(model, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def render_jsonl(result: Result, *, per_class: bool | None = None) -> str:
    """The same as JSON Lines: the run first, then each sample, then all that follows from them.

    Args:
        result: what a run found.
        per_class: False leaves class columns out.
    """
    model = result.as_json(per_class is not False)
    lines = (json.dumps(line, ensure_ascii=False, allow_nan=False) for line in _lines(model))
    return "".join(f"{line}\n" for line in lines)


def _lines(model: dict[str, Any]) -> Iterator[dict[str, Any]]:
    samples = model.pop("samples")
    yield {key: model.pop(key) for key in FIRST}
    yield from samples
    yield model
