"""What all samples of an inspection add up to: figures of classes, and findings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lossbench.choosing.inspection_sample import SampleFacts, StoredFacts
from lossbench.data.planning.plan import Plan
from lossbench.errors import sized
from lossbench.runtime.array_types import FloatArray

LISTED = 20  # ids of a finding
SHOWN = 8  # sizes, modes or values that a table lists
TOUCHING = 2.0  # pixels between neighbours up to which a network joins them
BACKGROUNDS = ("background", "_background_", "bg", "unlabelled", "unlabeled", "void", "0")
USUAL_SHARE = 0.9  # of the files, from which a size or mode is the usual one
NARROW = 0.03  # of the shortest side of the images, the width up to which an object is thin
LEVELS = 64  # of a graded mask, up to which they are remembered; and weights that are listed


@dataclass(frozen=True)
class Finding:
    """Something in the files that a user should know."""

    kind: str
    message: str
    count: int = 0  # of the files that it concerns
    files: tuple[str, ...] = ()  # the ids of the first of them
    readings: Sequence[Mapping[str, str]] = ()  # where the plan is undecided

    def as_json(self) -> dict[str, Any]:
        """The finding; readings only where there are some."""
        members = {**asdict(self), "files": list(self.files), "readings": list(self.readings)}
        return members if self.readings else {k: v for k, v in members.items() if k != "readings"}


@dataclass(frozen=True)
class ClassFigures:
    """What the ground truth has of a class. A figure is None where it has no meaning."""

    name: str
    pixels: float  # of boxes their area; of a graded mask the sum of its levels
    share: float | None  # of all valid pixels
    images: int  # that have it
    objects: int | None  # connected components, or instances
    median_area: float | None  # of objects, in pixels
    main_area: float | None  # the same without specks, which hold 1 % of the pixels of an image
    smallest_tenth: float | None  # the 10th percentile of areas
    on_border: float | None  # the share of objects that touch the border of their image
    width: float | None  # area divided by the length of the centre lines
    thinness: float | None  # mean length of an object, divided by its width
    touching: float | None  # the share of objects within TOUCHING pixels of another
    is_background: bool = False


@dataclass
class _ClassSums:
    pixels: float = 0.0
    images: int = 0
    on_border: int = 0
    length: float = 0.0
    axes: int = 2
    main: Counter[int] = field(default_factory=Counter)  # areas of objects, specks left out
    touching: int = 0
    measured: bool = False  # whether it has objects
    areas: Counter[int] = field(default_factory=Counter)


@dataclass
class _SideSums:
    """Sizes, modes and values of the files of a side, by how many files have them."""

    count: int = 0
    sizes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    values: Counter[float] = field(default_factory=Counter)
    open_values: bool = False  # a file has too many values to list them
    low: float = np.inf
    high: float = -np.inf
    jpeg: list[str] = field(default_factory=list)
    not_finite: list[str] = field(default_factory=list)
    digests: dict[bytes, list[str]] = field(default_factory=dict)
    by_size: dict[tuple[int, ...], list[str]] = field(default_factory=dict)
    by_mode: dict[str, list[str]] = field(default_factory=dict)

    def add(self, id: str, file: StoredFacts) -> None:
        self.count += 1
        self.sizes[file.size] += 1
        self.modes[file.mode] += 1
        self.values.update(file.values)
        self.open_values |= not file.values
        self.low, self.high = min(self.low, file.low), max(self.high, file.high)
        if file.format == "JPEG":
            self.jpeg.append(id)
        if not file.is_finite:
            self.not_finite.append(id)
        if file.digest:
            self.digests.setdefault(file.digest, []).append(id)
        for ids in (self.by_size.setdefault(file.size, []), self.by_mode.setdefault(file.mode, [])):
            if len(ids) < LISTED:
                ids.append(id)

    def as_json(self) -> dict[str, Any]:
        """The most frequent sizes, modes and values, each with its number of files."""
        return {
            "files": self.count,
            "sizes": [[list(size), count] for size, count in self.sizes.most_common(SHOWN)],
            "modes": dict(self.modes.most_common(SHOWN)),
            "values": None
            if self.open_values
            else [int(v) if v % 1 == 0 else v for v in sorted(self.values)],
            "low": self.low if self.count else None,
            "high": self.high if self.count else None,
        }


class FolderSums:
    """What all samples add up to."""

    def __init__(self, plan: Plan | None, has_predictions: bool) -> None:
        self.plan, self.has_predictions = plan, has_predictions
        sides = ("pred", "target") if has_predictions else ("target",)
        self.sides = {role: _SideSums() for role in sides}
        self.classes: dict[int, _ClassSums] = {}
        self.errors: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self.samples = self.area = self.valid = self.soft = self.graded = 0
        self.narrowest, self.spacing = 0, 1.0
        self.levels: set[float] | None = set()
        self.gaps = Counter[float]()
        self.counts: list[int] = []  # objects of an image
        self.present: list[int] = []  # classes of an image
        self.equal: list[str] = []
        self.ignored: list[str] = []
        self.empty: list[str] = []
        self.full: list[str] = []
        self.small_boxes = 0
        self.mean_area = 0.0

    def add(self, facts: SampleFacts) -> None:
        for role, files in facts.files.items():
            if role in self.sides:
                for file in files:
                    self.sides[role].add(facts.id, file)
        digests = [[file.digest for file in files] for files in facts.files.values()]
        if len(digests) > 1 and digests[0] == digests[1] and all(digests[0]):
            self.equal.append(facts.id)
        for error in facts.errors:
            self.errors.setdefault((error.role, error.kind), []).append((facts.id, error.message))
        self.samples += 1
        if not facts.area:
            return
        self.area += facts.area
        self.valid += facts.valid
        self.soft += facts.soft
        if facts.valid < facts.area:
            self.ignored.append(facts.id)
        self.graded += 1
        self.narrowest = min(self.narrowest or facts.narrowest, facts.narrowest)
        if facts.spacing:
            self.spacing = max(self.spacing, max(facts.spacing) / max(min(facts.spacing), 1e-12))
        if self.levels is not None:
            self.levels |= facts.levels
            if len(self.levels) > LEVELS or (facts.soft and not facts.levels):
                self.levels = None
        self.small_boxes += facts.small_boxes
        self._add_classes(facts)

    def _add_classes(self, facts: SampleFacts) -> None:
        plan = self.plan
        if plan is None or plan.task == "image":
            return
        objects = 0
        for index, pixels in facts.pixels.items():
            of_class = self.classes.setdefault(index, _ClassSums())
            of_class.pixels += pixels
            of_class.images += pixels > 0
        for index, shapes in facts.shapes.items():
            of_class = self.classes.setdefault(index, _ClassSums())
            of_class.measured = True
            of_class.areas.update(shapes.areas.tolist())
            of_class.on_border += shapes.on_border
            of_class.length, of_class.axes = of_class.length + shapes.length, shapes.axes
            main = shapes.areas if shapes.main is None else shapes.main
            of_class.main.update(main.tolist())
            if shapes.gaps is not None:
                of_class.touching += int(np.count_nonzero(shapes.gaps <= TOUCHING))
                self.gaps.update(shapes.gaps.round(2).tolist())
            if not self._is_background(index):
                objects += len(main)
        self.counts.append(objects)
        foreground = [i for i, n in facts.pixels.items() if n > 0 and not self._is_background(i)]
        self.present.append(sum(n > 0 for n in facts.pixels.values()))
        if facts.valid and not foreground:
            self.empty.append(facts.id)
        if plan.task == "binary" and facts.valid and facts.pixels.get(0, 0) <= 0:
            self.full.append(facts.id)

    def _is_background(self, index: int) -> bool:
        plan = self.plan
        if plan is None or index:
            return False
        if plan.task == "multiclass":
            return plan.names[0].lower() in BACKGROUNDS
        return plan.task == "binary"

    def finish(self) -> None:
        """Take the labels beyond the sample into the plan."""
        plan, seen = self.plan, [i for i, each in self.classes.items() if each.pixels]
        if plan and plan.has_open_labels and seen:
            # Without predictions, labels that the ground truth ignores are no classes.
            beyond = max(seen) >= len(plan.names) or not self.has_predictions
            self.plan = plan.with_labels(max(seen)) if beyond else plan

    def class_figures(self) -> list[ClassFigures]:
        plan = self.plan
        if plan is None or not self.classes:
            return []
        figures = []
        for index, name in enumerate(plan.names):
            each = self.classes.get(index, _ClassSums())
            areas, main = _every(each.areas), _every(each.main)
            count = len(areas)
            has_shapes = each.measured and count > 0
            has_lines = has_shapes and each.length > 0
            width = float(areas.sum() / each.length) ** (1 / (each.axes - 1)) if has_lines else None
            figures.append(
                ClassFigures(
                    name,
                    each.pixels,
                    each.pixels / self.valid if self.valid and plan.task != "detection" else None,
                    each.images,
                    None if self._is_background(index) and plan.task == "binary" else count,
                    float(np.median(areas)) if has_shapes else None,
                    float(np.median(main)) if has_shapes else None,
                    float(np.percentile(areas, 10)) if has_shapes else None,
                    each.on_border / count if has_shapes else None,
                    width,
                    each.length / len(main) / width if width else None,
                    each.touching / len(main)
                    if has_shapes and plan.task not in ("multiclass", "detection")
                    else None,
                    self._is_background(index),
                )
            )
        return figures

    def figures(self, classes: Sequence[ClassFigures]) -> dict[str, float]:
        """The figures that rules compare with their limits; those that are known."""
        plan, figures = self.plan, dict[str, float]()
        if plan is None:
            return figures
        task = plan.task
        seen = [each for each in classes if each.pixels > 0]
        objects = [each for each in seen if not each.is_background]
        if task == "multilabel":
            rest = [self.valid - each.pixels for each in seen]
            ratios = [r / each.pixels for r, each in zip(rest, seen, strict=True)]
            figures["imbalance"] = max(ratios, default=1.0)
        elif task in ("binary", "multiclass") and len(seen) > 1:
            figures["imbalance"] = max(e.pixels for e in seen) / min(e.pixels for e in seen)
        elif task == "detection" and len(seen) > 1:
            counts = [e.objects or 1 for e in seen]
            figures["imbalance"] = max(counts) / min(counts)
        narrow = NARROW * self.narrowest
        if any(each.width is not None for each in objects):
            thin = [e.thinness or 0.0 for e in objects if e.width and e.width <= narrow]
            figures["thinness"] = max(thin, default=0.0)
        if self.counts and objects:
            figures["objects"] = float(np.median(self.counts))
        areas = [each.main_area for each in objects if each.main_area is not None]
        if areas and self.graded and task != "detection":
            figures["object_size"] = min(areas) / (self.area / self.graded)
        if any(each.touching is not None for each in objects):
            touching = sum(each.touching for each in self.classes.values())
            figures["touching"] = touching / max(1, self.graded)
        if not plan.target.is_hard and task in ("binary", "multiclass", "multilabel"):
            figures["softness"] = self.soft / self.valid if self.valid else 0.0
            if self.soft and self.levels and _are_even(self.levels):
                figures["levels"] = float(len(self.levels))
        if plan.by_class and task in ("multiclass", "multilabel") and self.present:
            figures["present"] = float(np.mean(self.present)) / len(plan.names)
        if plan.spacing:
            figures["anisotropy"] = self.spacing
        total = sum(each.objects or 0 for each in classes)
        if task == "detection" and total:
            figures["small_boxes"] = self.small_boxes / total
        if task == "image":
            figures["narrowest"] = float(self.narrowest)
        radius = math.sqrt(max(areas, default=0.0) / math.pi)
        near = _every(self.gaps)
        near = near[(near > 0) & (near <= max(radius, TOUCHING))]
        figures["gap"] = float(np.median(near)) if near.size else 0.0
        is_soft = self.has_predictions and not plan.pred.is_hard
        figures["graded_predictions"] = float(is_soft)
        return figures

    def weights(self, classes: Sequence[ClassFigures]) -> str:
        """Median frequency / frequency of each class, where images without it do not count."""
        images = self.valid / max(1, self.graded)  # pixels of an image
        present = {e.name: e.pixels / (e.images * images) for e in classes if e.images}
        middle = float(np.median(list(present.values()))) if present and images else 0.0
        named = [f"{name} {middle / each:.3g}" for name, each in present.items()]
        return ", ".join(named[:LEVELS]) + (", …" if len(named) > LEVELS else "")

    def findings(self, classes: Sequence[ClassFigures]) -> Iterator[Finding]:
        """What is odd about files, and about the ground truth."""
        names = {"pred": "predictions", "target": "the ground truth"}
        for (role, kind), errors in self.errors.items():
            ids = tuple(dict.fromkeys(id for id, _ in errors))
            message = f"{len(ids):,} files of {names.get(role, role)}: {errors[0][1]}"
            yield Finding(kind, message, len(ids), ids[:LISTED])
        for role, side in self.sides.items():
            name, reading = names[role], self.plan.reading(role) if self.plan else None
            if side.jpeg and (reading is None or not reading.definition.has_channels):
                message = (
                    f"masks of {name} are JPEGs, whose compression changes values; save as PNG"
                )
                yield Finding("jpeg_mask", message, len(side.jpeg), tuple(side.jpeg[:LISTED]))
            if side.not_finite:
                message = (
                    f"files of {name} hold NaN or infinite numbers; --ignore nan, or repair them"
                )
                listed = tuple(side.not_finite[:LISTED])
                yield Finding("not_finite", message, len(side.not_finite), listed)
            if (
                self.plan
                and self.plan.task == "image"
                and {len(each) for each in side.sizes} == {1}
            ):
                message = (
                    f"arrays of {name} have one axis; if they are no pictures, give --task vectors"
                )
                yield Finding("one_axis", message, side.count)
            repeated = [each for each in side.digests.values() if len(each) > 1]
            if repeated:
                same = [id for each in repeated for id in each]
                pair = " and ".join(repeated[0][:2])
                message = f"files of {name} have equal content, such as {pair}"
                yield Finding("duplicates", message, len(same), tuple(same[:LISTED]))
            yield from _unusual(side, name)
        if self.equal:
            message = "predictions have the content of their ground truth"
            yield Finding("equal_to_truth", message, len(self.equal), tuple(self.equal[:LISTED]))
        if self.empty:
            message = "no object is in the ground truth; its score depends on --empty"
            yield Finding("empty", message, len(self.empty), tuple(self.empty[:LISTED]))
        if self.full:
            message = "every valid pixel of the ground truth is foreground"
            yield Finding("full", message, len(self.full), tuple(self.full[:LISTED]))
        if self.ignored:
            message = f"{1 - self.valid / self.area:.2%} of the pixels of all files are ignored"
            yield Finding("ignored", message, len(self.ignored), tuple(self.ignored[:LISTED]))
        absent = [each.name for each in classes if not each.pixels]
        if absent and self.plan and self.plan.task != "binary":
            message = f"classes without a pixel in the ground truth: {', '.join(absent[:LISTED])}"
            yield Finding("absent_classes", message, len(absent))
        for each in classes:
            if each.touching and not each.is_background:
                message = (
                    f"{each.touching:.0%} of the objects of {each.name} are within {TOUCHING:g}"
                    " pixels of another one"
                )
                yield Finding("touching", message, each.images)


def _every(counts: Mapping[Any, int]) -> FloatArray:
    """Each number as often as it occurred."""
    return np.repeat(np.array(list(counts), np.float64), list(counts.values()))


def _are_even(levels: set[float]) -> bool:
    """Whether levels are evenly spaced from 0 to 1, up to the rounding of 8 bits."""
    even = np.linspace(0, 1, len(levels))
    return len(levels) > 1 and bool((np.abs(np.array(sorted(levels)) - even) < 1 / 255).all())


def _unusual(side: _SideSums, name: str) -> Iterator[Finding]:
    """Files of another size or mode than nine of ten have."""
    tables: tuple[tuple[str, Counter[Any], dict[Any, list[str]]], ...] = (
        ("size", side.sizes, side.by_size),
        ("mode", side.modes, side.by_mode),
    )
    for what, counts, ids in tables:
        usual, most = counts.most_common(1)[0] if counts else (None, 0)
        if len(counts) < 2 or most < USUAL_SHARE * side.count:
            continue
        others = [id for key in counts if key != usual for id in ids[key]]
        text = sized(usual) if isinstance(usual, tuple) else usual
        share = f"{most:,} of {side.count:,}"
        message = f"files of {name} have another {what} than {text}, which {share} have"
        yield Finding(f"unusual_{what}", message, side.count - most, tuple(others[:LISTED]))
