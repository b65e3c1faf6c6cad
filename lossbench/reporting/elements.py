"""Pieces of HTML that show one thing each: a text, a table, a chart, a picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from lossbench.errors import printable
from lossbench.output.sections import Section, format_number

if TYPE_CHECKING:
    from lossbench.reporting.overlays import Colour, Image

WIDTH, HEIGHT, MARGIN = 320, 110, 6  # of a chart


def text_of(text: object) -> str:
    """A text that is no markup and has no control characters, whoever made it."""
    return escape(printable(str(text)))


def table_of(section: Section) -> str:
    """A table that nothing is done with."""
    caption = f"<caption>{text_of(section.title)}</caption>" if section.title else ""
    head = "".join(f'<th scope="col">{text_of(each)}</th>' for each in section.headings)
    body = "\n".join(
        f"<tr>{''.join(f'<td>{text_of(cell)}</td>' for cell in row)}</tr>" for row in section.rows
    )
    return (
        f'<div class="wide"><table>{caption}<thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def key_to(colours: Mapping[str, Colour]) -> str:
    """What colours mean."""
    return "".join(
        f'<span class="key"><i style="background:rgb{colour}"></i>{text_of(name)}</span>'
        for name, colour in colours.items()
    )


def picture_url(image: Image) -> str:
    """A picture as a URL of its own."""
    from PIL import Image as Pictures

    file = io.BytesIO()
    Pictures.fromarray(image).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def histogram_of(
    name: str, counts: Sequence[int], edges: Sequence[float], marks: Mapping[str, float]
) -> str:
    """A drawing of how many values are in each bin.

    Args:
        name: what is counted.
        counts: of each bin.
        edges: of the bins, one more.
        marks: values to draw as lines of a style with that name.
    """
    low, high, most = edges[0], edges[-1], max(counts)
    width, right = WIDTH - 2 * MARGIN, WIDTH - MARGIN
    step = width / len(counts)
    bars = "".join(
        f"M{MARGIN + place * step:.2f} {HEIGHT}v-{height:.2f}h{step * 0.92:.2f}v{height:.2f}z"
        for place, count in enumerate(counts)
        if count and (height := max(1.0, (HEIGHT - 4) * count / most))
    )
    span = high / 2 - low / 2  # which is always finite
    places = {
        style: (value / 2 - low / 2) / span if span else 0.5 for style, value in marks.items()
    }
    lines = "".join(
        f'<path class="{style}" d="M{MARGIN + width * place:.2f} 0V{HEIGHT}"/>'
        for style, place in places.items()
        if 0 <= place <= 1
    )
    ends = "".join(
        f'<text x="{x}" y="{HEIGHT + 14}" text-anchor="{anchor}">{format_number(end)}</text>'
        for x, anchor, end in ((MARGIN, "start", low), (right, "end", high))
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 18}" role="img"'
        f' aria-label="Histogram of {text_of(name)}"><path class="bars" d="{bars}"/>{lines}'
        f'<path class="axis" d="M{MARGIN} {HEIGHT + 0.5}H{right}"/>{ends}</svg>'
    )
