"""The HTML page of thresholds: the answer, the figure and every table."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from io import StringIO
from typing import Any

from lossbench.output.threshold_plot import save_figure, title
from lossbench.output.threshold_sections import threshold_sections
from lossbench.reporting.elements import document, table_of, text_of


def render_thresholds(thresholds: Any) -> str:
    """One page of HTML that needs no other file; the figure needs matplotlib."""
    return document(title(thresholds), _parts(thresholds))


def _parts(thresholds: Any) -> Iterator[str]:
    """The parts of the page, from top to bottom."""
    tables, (question, *lines) = threshold_sections(thresholds)
    yield f"<p>{text_of(thresholds.run['plan']['text'])}</p>"
    yield from (f'<p class="soft">{text_of(note)}</p>' for note in thresholds.notes)
    yield f'<h2>{text_of(question.capitalize())}</h2>\n<ul class="plain">'
    yield from (f"<li>{text_of(line)}</li>" for line in lines)
    yield "</ul>"
    if find_spec("matplotlib"):
        picture = StringIO()
        save_figure(thresholds, picture, "svg")
        drawing = picture.getvalue().partition("<svg")[2]  # without the declaration of XML
        yield f'<div class="wide"><svg{drawing}</div>'
    else:
        yield "<p class=\"soft\">The figure needs matplotlib: pip install 'lossbench[plot]'</p>"
    yield from map(table_of, tables)
