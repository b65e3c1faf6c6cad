"""Elements of the HTML page: text, tables, charts, pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from lossbench.errors import printable
from lossbench.output.sections import Section, format_number

if TYPE_CHECKING:
    from lossbench.reporting.overlays import Colour, Image

WIDTH, HEIGHT, MARGIN = 320, 110, 6  # of a chart
SMALL = 256  # pixels; smaller pictures are enlarged without smoothing
STYLE = Path(__file__).parent / "page.css"
# Forbids all network access, even if a file name contains markup.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def document(title: str, parts: Iterable[str]) -> str:
    """A page that needs no other file."""
    body = "\n".join(parts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{text_of(title)} · lossbench</title>
<style>
{STYLE.read_text("utf-8")}</style>
</head>
<body>
<h1>{text_of(title)}</h1>
{body}
</body>
</html>
"""


def text_of(text: object) -> str:
    """Any text, with markup and control characters escaped."""
    return escape(printable(str(text)))


def table_of(section: Section) -> str:
    """A table without sorting."""
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
    """The key of a picture: colours and their meanings."""
    return "".join(
        f'<span class="key"><i style="background:rgb{colour}"></i>{text_of(name)}</span>'
        for name, colour in colours.items()
    )


def image_of(image: Image, title: str) -> str:
    """A picture with its title; a small one is enlarged without smoothing."""
    style = "small" if max(image.shape[:2]) < SMALL else ""
    label = text_of(title)
    return f'<img class="{style}" alt="{label}" title="{label}" src="{picture_url(image)}">'


def picture_url(image: Image) -> str:
    """A picture as a data URL."""
    from PIL import Image as Pictures

    file = io.BytesIO()
    Pictures.fromarray(image).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def histogram_of(
    name: str, counts: Sequence[int], edges: Sequence[float], marks: Mapping[str, float]
) -> str:
    """A histogram as SVG.

    Args:
        name: the name of the values.
        counts: the number of values in each bin.
        edges: the edges of the bins, one more than counts.
        marks: values to mark by a line, by the CSS class of the line.
    """
    low, high, tallest = edges[0], edges[-1], max(counts)
    width, right = WIDTH - 2 * MARGIN, WIDTH - MARGIN
    step = width / len(counts)
    bars = "".join(
        f"M{MARGIN + index * step:.2f} {HEIGHT}v-{height:.2f}h{step * 0.92:.2f}v{height:.2f}z"
        for index, count in enumerate(counts)
        if count and (height := max(1.0, (HEIGHT - 4) * count / tallest))
    )
    span = high / 2 - low / 2  # high - low could overflow
    positions = {
        style: (value / 2 - low / 2) / span if span else 0.5 for style, value in marks.items()
    }
    lines = "".join(
        f'<path class="{style}" d="M{MARGIN + width * position:.2f} 0V{HEIGHT}"/>'
        for style, position in positions.items()
        if 0 <= position <= 1
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
