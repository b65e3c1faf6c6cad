"""JSON Lines: the result file with one line per sample."""

from __future__ import annotations

from itertools import chain

from lossbench.output.json import ENCODER
from lossbench.results.result import Result

FIRST = ("schema", "session", "run")


def render_result(result: Result, *, per_class: bool | None = None) -> str:
    """The run, then each sample, then everything that is computed from the samples.

    Args:
        result: the result of a run.
        per_class: False omits class columns.
    """
    with_classes = per_class is not False
    model = result.as_json(with_classes, samples=False)
    first = {key: model.pop(key) for key in FIRST}
    lines = chain([first], result.rows(with_classes), [model])
    return "".join(f"{ENCODER.encode(line)}\n" for line in lines)
