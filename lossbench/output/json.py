"""The result file: everything, with every digit."""

from __future__ import annotations

import json

from lossbench.results import Result


def render_json(result: Result, *, per_class: bool | None = None) -> str:
    """The result file's text; class columns are left out where `per_class` is False."""
    model = result.as_json(per_class is not False)
    text = json.dumps(model, ensure_ascii=False, allow_nan=False, indent=1)
    # A file name that is no Unicode has surrogates; this writes them as JSON's own escapes.
    return text.encode("utf-8", "backslashreplace").decode() + "\n"
