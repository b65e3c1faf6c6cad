"""The HTML report: page, elements and overlays."""
