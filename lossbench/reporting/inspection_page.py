"""The HTML page of an inspection: the share of each class as a bar, then its tables."""

from __future__ import annotations

from typing import Any

from lossbench.output.sections import table_sections
from lossbench.reporting.elements import document, table_of, text_of


def render_inspection(inspection: Any) -> str:
    """One page of HTML that needs no other file."""
    bars = "\n".join(
        f'<tr><th scope="row">{text_of(each.name)}</th><td><meter value="{each.share:.6f}">'
        f"</meter></td><td>{each.share:.4f}</td></tr>"
        for each in getattr(inspection, "classes", ())
        if each.share is not None
    )
    chart = [f"<table><caption>share of the pixels</caption>{bars}</table>"] if bars else []
    return document("lossbench inspect", [*chart, *map(table_of, table_sections(inspection))])
