"""Tables of thresholds: the best ones, whether the choice holds, curves and calibration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from lossbench.output.sections import ARROWS, UNDEFINED, Section, format_number

BLOCKS = "▁▂▃▄▅▆▇█"
COLUMNS = 24  # of a line of blocks
BAR = 16  # columns of a bar of 1


def threshold_sections(
    thresholds: Any, *, with_blocks: bool = False
) -> tuple[list[Section], list[str]]:
    """The tables, and lines of text below.

    Args:
        thresholds: what `lossbench.thresholds` returns.
        with_blocks: add the curve of each score, and bars of frequencies.
    """
    if thresholds.kind == "detections":
        return _detections(thresholds, with_blocks), list(_detection_lines(thresholds))
    of_scores = [
        _best(thresholds, "mean", with_blocks),
        _best(thresholds, "pooled", with_blocks),
        _halves(thresholds),
        _over_thresholds(thresholds),
    ]
    tables = [*(of_scores if thresholds.scores else ()), _reliability(thresholds, with_blocks)]
    return tables, ["which threshold?", *answer_lines(thresholds)]


def answer_lines(thresholds: Any) -> Iterator[str]:
    """What to do, in sentences."""
    for name, score in thresholds.scores.items():
        best, half = score.best["mean"], score.at_half["mean"]
        if math.isnan(best.value):
            yield f"{name} is undefined at every threshold"
            continue
        low, high = map(_threshold, best.plateau)
        is_near = best.plateau[0] <= 0.5 <= best.plateau[1]
        ends = {"0": best.plateau[0] == 0, "1": best.plateau[1] == 1}
        if any(ends.values()) and not is_near:
            end = next(end for end, is_reached in ends.items() if is_reached)
            yield f"{name} is best towards {end} ({low} to {high}), so it chooses no threshold"
            continue
        worth = "within" if is_near else "outside"
        yield (
            f"{name}: {_threshold(best.threshold)} gives {format_number(best.value)}; 0.5 gives"
            f" {format_number(half)}, {worth} its plateau of 1 % ({low} to {high})"
        )
    curves, reliability = thresholds.curves, thresholds.reliability
    yield (
        f"all thresholds: AUC {format_number(curves.auc)}, average precision"
        f" {format_number(curves.average_precision)}"
    )
    yield f"calibration: ECE {format_number(reliability.ece)}, {_temperature(reliability)}"


def _temperature(reliability: Any) -> str:
    if math.isnan(reliability.temperature):
        return "which no temperature from 0.05 to 20 mends"
    return f"least surprised at temperature {format_number(reliability.temperature)}"


def _rows(thresholds: Any) -> Iterator[tuple[str, Any]]:
    """Every score with its name and arrow, each followed by its classes."""
    for name, score in thresholds.scores.items():
        yield name + ARROWS[score.better], score
        for of_class, each in thresholds.classes.get(name, {}).items():
            yield f"{name}[{of_class}]{ARROWS[each.better]}", each


def _best(thresholds: Any, aggregate: str, with_blocks: bool) -> Section:
    counts = thresholds.counts
    over = {"mean": "images", "pooled": "images as one"}[aggregate]
    title = f"{aggregate} over {counts['evaluated']:,} {over}"
    headings = ["score", "best at", "value", "plateau", "at 0.5"]
    rows = []
    for name, score in _rows(thresholds):
        best = score.best[aggregate]
        low, high = map(_threshold, best.plateau)
        row = [
            name,
            _threshold(best.threshold),
            format_number(best.value),
            f"{low} to {high}",
            format_number(score.at_half[aggregate]),
        ]
        rows.append([*row, sparkline(score.curves[aggregate])] if with_blocks else row)
    if with_blocks:
        return Section(title, [*headings, "0 to 1"], rows, (0, len(headings)))
    return Section(title, headings, rows)


def _halves(thresholds: Any) -> Section:
    rows = []
    for name, score in _rows(thresholds):
        for index, half in enumerate(score.halves, 1):
            numbers = (half.value, half.value_on_other_half, half.best_on_other_half)
            row = [_threshold(half.threshold), *map(format_number, numbers)]
            rows.append([name if index == 1 else "", str(index), *row])
    headings = ["score", "half", "best at", "value", "on the other", "its own best"]
    return Section("does the choice hold? chosen on half of the images", headings, rows)


def _over_thresholds(thresholds: Any) -> Section:
    rows = [
        [
            name,
            *(
                format_number(number)
                for aggregate in ("mean", "pooled")
                for number in score.over_thresholds(aggregate).values()
            ),
        ]
        for name, score in _rows(thresholds)
    ]
    headings = ["score", "max of mean", "mean of mean", "max pooled", "mean pooled"]
    return Section("over all thresholds", headings, rows)


def _reliability(thresholds: Any, with_blocks: bool) -> Section:
    rows = []
    for each in thresholds.reliability.as_json()["bins"]:
        if not each["pixels"]:
            continue
        row = [
            f"{each['low']:.2f} to {each['high']:.2f}",
            f"{each['pixels']:,.0f}",
            format_number(each["predicted"]),
            format_number(each["true"]),
        ]
        bar = "█" * round(BAR * each["true"])
        rows.append([*row, bar] if with_blocks else row)
    headings = ["probability", "pixels", "predicted", "true"]
    title = "are probabilities frequencies?"
    if with_blocks:
        return Section(title, [*headings, "true"], rows, (0, len(headings)))
    return Section(title, headings, rows)


def _detections(thresholds: Any, with_blocks: bool) -> list[Section]:
    """The best F1 of each class, and which classes are taken for which."""
    rows = []
    for name, each in {"all": thresholds.together, **thresholds.classes}.items():
        best = each.best
        low, high = map(_threshold, best.plateau)
        row = [name, _threshold(best.threshold), format_number(best.value), f"{low} to {high}"]
        rows.append([*row, sparkline(each.curves["f1"])] if with_blocks else row)
    headings = ["class", "best at", "f1", "plateau"]
    counts = f"{thresholds.counts['evaluated']:,} images, IoU ≥ {thresholds.iou:g}"
    names = [*thresholds.classes, "background"]
    kept = [index for index, line in enumerate(thresholds.confusion) if line.any()]
    at = _threshold(thresholds.together.best.threshold)
    return [
        Section(counts, [*headings, "of all"] if with_blocks else headings, rows,
                (0, len(headings)) if with_blocks else (0,)),
        Section(
            f"objects by the class of their detection, at {at}",
            ["object", *names],
            [[names[index], *map(str, thresholds.confusion[index])] for index in kept],
        ),
    ]  # fmt: skip


def _detection_lines(thresholds: Any) -> Iterator[str]:
    best = thresholds.together.best
    yield "which confidence?"
    if math.isnan(best.value):
        yield "F1 is undefined: there is no detection or no object"
        return
    low, high = map(_threshold, best.plateau)
    yield (
        f"{_threshold(best.threshold)} gives the best F1 of all classes together,"
        f" {format_number(best.value)}; within 1 % from {low} to {high}"
    )


def sparkline(values: Any, columns: int = COLUMNS) -> str:
    """A curve as a line of blocks from its lowest to its highest value; blank where undefined."""
    last = len(values) - 1
    picked: Sequence[float] = [
        float(values[round(index * last / max(columns - 1, 1))]) for index in range(columns)
    ]
    defined = [each for each in picked if math.isfinite(each)]
    low, high = min(defined, default=0.0), max(defined, default=0.0)
    size = (high - low) or 1.0
    return "".join(
        BLOCKS[round((each - low) / size * (len(BLOCKS) - 1))] if math.isfinite(each) else " "
        for each in picked
    )


def _threshold(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f"{value:.4f}".rstrip("0").ljust(3, "0")
