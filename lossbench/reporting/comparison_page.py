"""The HTML page of a comparison: its tables, and the worst regressions as pictures side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lossbench.errors import SettingError
from lossbench.output.comparison import comparison_sections
from lossbench.output.sections import TOP, format_number, gate_lines
from lossbench.reporting.elements import document, image_of, key_to, table_of, text_of
from lossbench.reporting.overlays import Image, Overlays, overlays
from lossbench.results.comparison import Comparison
from lossbench.results.reader import Measured

PICTURES = 6  # samples of each result
STYLES = {"✓": "good", "✗": "bad", "⚠": "warn"}


def render_comparison(
    comparison: Comparison,
    *,
    top: int | None = TOP,
    pictures: int = PICTURES,
    sort: str | None = None,
) -> str:
    """One page of HTML that needs no other file.

    Args:
        comparison: the comparison to show.
        top: how many samples and groups the tables list; None lists all.
        pictures: how many of the samples that became worse are shown as pictures.
        sort: the loss that decides which samples became worse; the first one by default.

    Raises:
        SettingError: there is no such loss, or a number is less than 0.
    """
    if pictures < 0 or (top is not None and top < 0):
        raise SettingError("pictures and top are 0 or more")
    by = comparison.find(sort) if sort else comparison.measured[0]
    title = f"{' and '.join(comparison.files[1:])} against {comparison.files[0]}"
    return document(title, _parts(comparison, by, top, pictures, sort))


def _parts(
    comparison: Comparison, by: Measured, top: int | None, pictures: int, sort: str | None
) -> Iterator[str]:
    """The parts of the page, from top to bottom."""
    yield f"<p>{text_of(comparison.models[0]['run']['plan']['text'])}</p>"
    yield from (f'<p class="soft">{text_of(note)}</p>' for note in comparison.notes)
    lines = gate_lines(comparison.decisions)
    if lines:
        yield '<h2>Gates</h2>\n<ul class="plain">'
        yield from (f'<li class="{STYLES[line[0]]}">{text_of(line)}</li>' for line in lines)
        yield "</ul>"
    yield "<h2>Changes</h2>"
    yield from map(table_of, comparison_sections(comparison, top, sort))
    if pictures:
        for index in range(1, len(comparison.files)):
            yield from _pictures(comparison, index, by, pictures)


def _pictures(comparison: Comparison, index: int, by: Measured, count: int) -> Iterator[str]:
    """The samples of a result that became worse most, with the predictions of both results."""
    samples = {
        comparison.ids[sample]: sample for sample in comparison.change(index, by).largest(count)
    }
    if not samples:
        return
    files = [comparison.files[0], comparison.files[index]]
    both = [overlays(comparison.models[each], samples, by.quantity.column) for each in (0, index)]
    yield f"<h2>Worse by {text_of(by.name)} in {text_of(files[1])}</h2>"
    notes = dict.fromkeys(note for each in both for note in each.notes)
    yield from (f'<p class="soft">{text_of(note)}</p>' for note in notes)
    if any(each.samples for each in both):
        yield f"<p>{key_to({**both[0].legend, **both[1].legend})}</p>"
        yield f"<p>{key_to(both[0].classes)}</p>" if both[0].classes else ""
        for name, sample in samples.items():
            yield _sample(comparison, index, by, name, sample, files, both)


def _sample(
    comparison: Comparison,
    index: int,
    by: Measured,
    name: str,
    sample: int,
    files: Sequence[str],
    both: Sequence[Overlays],
) -> str:
    """The ground truth of one sample, then the prediction and the errors of each result."""
    values = comparison.values[by.name][[0, index], sample]
    tiles: list[tuple[str, Image]] = []
    for file, value, each in zip(files, values, both, strict=True):
        if name in each.samples:
            images = each.samples[name].images
            if not tiles:
                tiles.append(("ground truth", images["ground truth"]))
            label = f"{file}: {by.name} {format_number(value)}"
            tiles += [(label, images["prediction"]), ("errors", images["errors"])]
    figures = "".join(
        f"<figure>{image_of(image, label)}<figcaption>{text_of(label)}</figcaption></figure>"
        for label, image in tiles
    )
    return f'<h3 class="file">{text_of(name)}</h3><div class="tiles side">{figures}</div>'
