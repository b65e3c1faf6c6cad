"""The HTML page of a trend: the figure and the tables of all epochs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from io import StringIO

from lossbench.output.plot import draw_trend
from lossbench.output.trend import trend_sections
from lossbench.reporting.elements import document, table_of, text_of
from lossbench.results.trend import Trend


def render_trend(trend: Trend) -> str:
    """One page of HTML that needs no other file; the figure needs matplotlib."""
    title = f"{', '.join(each.name for each in trend.series)} over {len(trend.epochs)} epochs"
    return document(title, _parts(trend))


def _parts(trend: Trend) -> Iterator[str]:
    """The parts of the page, from top to bottom."""
    yield from (f'<p class="soft">{text_of(note)}</p>' for note in trend.notes)
    summary, *epochs = trend_sections(trend, None)
    yield table_of(summary)
    if find_spec("matplotlib"):
        picture = StringIO()
        draw_trend(trend, picture, "svg")
        drawing = picture.getvalue().partition("<svg")[2]  # without the declaration of XML
        yield f'<div class="wide"><svg{drawing}</div>'
    else:
        yield "<p class=\"soft\">The figure needs matplotlib: pip install 'lossbench[plot]'</p>"
    yield from map(table_of, epochs)
