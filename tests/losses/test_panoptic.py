"""Panoptic quality against masks one by one, torchmetrics and numbers by hand."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from helpers.option_values import INSTANCES
from helpers.paths import SAMPLES
from helpers.tolerances import REFERENCE, check_close
from PIL import Image
from skimage import measure
from torchmetrics.detection import PanopticQuality

import lossbench
from lossbench.catalog import registry

LOSSES = ["panoptic_quality", "segmentation_quality", "recognition_quality"]
Map = np.ndarray


class Segment(NamedTuple):
    """One segment of an image: where it is and what."""

    mask: Map
    of_class: int
    crowd: bool = False


# --- the reference: Kirillov et al. 2019, section 4, one pair of masks after another --------------


def counted(
    pred: Sequence[Segment], target: Sequence[Segment], void: Map, classes: int
) -> list[tuple[int, int, int, Fraction]]:
    """tp, fp, fn and the sum of IoU for each class.

    Void pixels leave predicted segments before the IoU is taken; a match is an IoU above ½; a
    predicted segment without a match is dropped where more than half of it is void or crowd.
    """
    found = []
    for of_class in range(classes):
        mine = [each for each in pred if each.of_class == of_class]
        theirs = [each for each in target if each.of_class == of_class and not each.crowd]
        unseen = void.copy()
        for each in target:
            if each.of_class == of_class and each.crowd:
                unseen |= each.mask
        matched, hit, total = set(), 0, Fraction(0)
        for true in theirs:
            for place, each in enumerate(mine):
                kept = each.mask & ~void
                union = int((kept | true.mask).sum())
                iou = Fraction(int((kept & true.mask).sum()), union) if union else Fraction(0)
                if iou > Fraction(1, 2):
                    hit, total = hit + 1, total + iou
                    matched.add(place)
        false = sum(
            2 * int((each.mask & unseen).sum()) <= int(each.mask.sum())
            for place, each in enumerate(mine)
            if place not in matched
        )
        found.append((hit, false, len(theirs) - hit, total))
    return found


def qualities(counts: Sequence[tuple[int, int, int, Fraction]]) -> list[list[float]]:
    """PQ, SQ and RQ of each class, nan where it has no segment."""
    rows = []
    for tp, fp, fn, iou in counts:
        if not tp + fp + fn:
            rows.append([math.nan] * 3)
            continue
        found = Fraction(2 * tp, 2 * tp + fp + fn)
        fit = iou / tp if tp else Fraction(0)
        rows.append([float(found * fit), float(fit), float(found)])
    return np.transpose(rows).tolist()


def mean(numbers: Sequence[float]) -> float:
    some = [number for number in numbers if not math.isnan(number)]
    return sum(some) / len(some) if some else math.nan


def of_numbers(labels: Map, crowd: bool = False) -> list[Segment]:
    """Each number but 0 is a segment of one class."""
    return [Segment(labels == number, 0, crowd) for number in np.unique(labels) if number]


def check(result: lossbench.Result, counts: Sequence[Any]) -> None:
    """Values of samples and classes, and the pooled ones, whose counts add up."""
    assert not result.failed
    several = len(counts[0]) > 1
    whole = [tuple(map(sum, zip(*each, strict=True))) for each in zip(*counts, strict=True)]
    for place, name in enumerate(LOSSES):
        found = result.values[name]
        for sample, each in enumerate(counts):
            wanted = qualities(each)[place]
            check_close(found.samples[sample], mean(wanted), REFERENCE, (name, sample))
            if several:
                row = [column[sample] for column in found.classes]
                check_close(row, wanted, REFERENCE, (name, sample))
        wanted = qualities(whole)[place]
        check_close(found.pooled, mean(wanted), REFERENCE, name)
        if several:
            check_close(found.pooled_classes, wanted, REFERENCE, name)


def patches(rng: np.random.Generator, most: int, shape: tuple[int, ...] = (5, 6)) -> Map:
    """A map of rectangles numbered 0 to `most`."""
    small = rng.integers(0, most + 1, shape)
    return np.kron(small, np.ones((4, 3, 2)[: len(shape)], np.int64))


def disturbed(rng: np.random.Generator, labels: Map, other: Map, share: float) -> Map:
    """A prediction: some rows are those of another map, some pixels nothing like it."""
    rows = rng.random(len(labels)) < share
    rows = rows.reshape(-1, *[1] * (labels.ndim - 1))
    noise = rng.random(labels.shape) < share / 4
    return np.where(rows | noise, other, labels)


def renumbered(rng: np.random.Generator, labels: Map, highest: int) -> Map:
    """The same segments by other numbers; 0 stays."""
    numbers = np.append(0, 1 + rng.choice(highest - 1, int(labels.max()), replace=False))
    return numbers[labels]


# --- by hand --------------------------------------------------------------------------------------


def row(text: str) -> Map:
    """One row of pixels, a digit each."""
    return np.array([[int(digit) for digit in text.replace(" ", "")]])


@pytest.mark.parametrize(
    ("pred", "target", "ignore", "wanted"),
    [
        # 5 and 9 are 1 and 2 by other numbers: two matches of IoU 1.
        ("0550 0099", "0110 0022", None, (1, 1, 1)),
        # 1: 3 of 4 pixels, IoU 3/4. 2 is missed, 7 is false: PQ (3/4)/(1 + 1) = 3/8.
        ("1110 0000 77", "1111 0022 00", None, (3 / 8, 3 / 4, 1 / 2)),
        # One pixel of two: an IoU of exactly ½ is no match; one false, one missed.
        ("1000", "1100", None, (0, 0, 0)),
        # Two of three: IoU 2/3.
        ("1100", "1110", None, (2 / 3, 2 / 3, 1)),
        # Nothing anywhere has no value; one side alone is 0.
        ("0000", "0000", None, (math.nan, math.nan, math.nan)),
        ("0000", "1100", None, (0, 0, 0)),
        ("1100", "0000", None, (0, 0, 0)),
        # The prediction's pixels in the void 9 are not counted: IoU 2/2 instead of 2/4.
        ("1111", "1199", 9, (1, 1, 1)),
        # 2 has 2 of 4 pixels in the void, not more than half: false. IoU of 1 is 1: 1/(1 + ½).
        ("1 2222", "1 9900", 9, (2 / 3, 1, 2 / 3)),
        # 2 has 3 of 4 in the void: dropped.
        ("1 2222", "1 9990", 9, (1, 1, 1)),
        # A segment that was found twice: the halves have IoU ½ each, and neither matches.
        ("1122", "3333", None, (0, 0, 0)),
        # Two nuclei taken for one: IoU 3/5 with the larger. (3/5)/(1 + ½) = 2/5.
        ("11111", "33344", None, (2 / 5, 3 / 5, 2 / 3)),
    ],
)
def test_rows_of_pixels_by_hand(
    pred: str, target: str, ignore: int | None, wanted: tuple[float, ...]
) -> None:
    result = lossbench.evaluate(
        [row(pred)], [row(target)], LOSSES, ignore=ignore, pred_encoding="instances",
        gt_encoding="instances",
    )  # fmt: skip
    found = [result.values[name].samples[0] for name in LOSSES]
    check_close(found, wanted, REFERENCE)
    pooled = [result.values[name].pooled for name in LOSSES]
    check_close(pooled, wanted, REFERENCE)


def test_the_pooled_value_counts_segments_and_the_mean_counts_images() -> None:
    """By hand: 1 and 0 in two images, and 1/(1 + ½·3) of all five segments."""
    result = lossbench.evaluate(
        [row("1000"), row("1110")], [row("2000"), row("0345")], "pq", task="instances"
    )
    # Image 2: 1 has IoU 1/4 with 3 and 4, 0 with 5 (1110 against 0345): one false, three missed.
    assert result.values["pq"].samples == [1, 0]
    assert result.aggregates["pq"]["mean"] == 0.5
    assert result.aggregates["pq"]["pooled"] == pytest.approx(1 / (1 + (1 + 3) / 2))


# --- instance maps of one class -------------------------------------------------------------------


@pytest.mark.parametrize("highest", [200, 60_000, 1 << 40])
@pytest.mark.parametrize("shape", [(5, 6), (3, 4, 3), (40,)])
def test_instance_maps_equal_the_reference(highest: int, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(highest % 1000 + len(shape))
    preds, targets, counts = [], [], []
    for share in (0.0, 0.1, 0.2, 0.4, 0.9):
        target = patches(rng, 9, shape)
        pred = disturbed(rng, target, patches(rng, 12, shape), share)
        preds.append(renumbered(rng, pred, highest))
        targets.append(renumbered(rng, target, highest))
        void = np.zeros(target.shape, bool)
        counts.append([*counted(of_numbers(pred), of_numbers(target), void, 1)])
    assert 0 < sum(each[0][0] for each in counts) < sum(sum(each[0][:3]) for each in counts)
    check(lossbench.evaluate(preds, targets, LOSSES, task="instances"), counts)


@pytest.mark.parametrize("by", ["label", "ignore", "valid"])
def test_what_is_ignored_is_void(by: str) -> None:
    rng = np.random.default_rng(5)
    preds, targets, voids, counts = [], [], [], []
    for _ in range(8):
        target = patches(rng, 7)
        pred = disturbed(rng, target, patches(rng, 7), 0.3)
        void = patches(rng, 2) == 1
        void |= rng.random(void.shape) < 0.2
        left = np.where(void, 0, target)
        counts.append(counted(of_numbers(pred), of_numbers(left), void, 1))
        preds.append(pred + (pred > 0) * 1000)
        targets.append(np.where(void, 255, target) if by == "label" else target)
        voids.append(void == (by == "ignore"))
    how: dict[str, Any] = {"ignore": 255} if by == "label" else {"inputs": {by: voids}}
    check(lossbench.evaluate(preds, targets, LOSSES, task="instances", **how), counts)


def test_masks_are_taken_apart_into_components() -> None:
    """scikit-image labels the components; touching at a corner is touching."""
    rng = np.random.default_rng(1)
    preds = [rng.random((30, 30)) < 0.25 for _ in range(4)]
    targets = [rng.random((30, 30)) < 0.25 for _ in range(3)] + [preds[3]]
    labelled = [[measure.label(m, connectivity=2) for m in side] for side in (preds, targets)]
    void = np.zeros((30, 30), bool)
    counts = [
        counted(of_numbers(p), of_numbers(t), void, 1) for p, t in zip(*labelled, strict=True)
    ]
    assert counts[3][0][0] > 10
    assert counts[0][0][0] < counts[0][0][2]
    masks = [[m * np.uint8(255) for m in side] for side in (preds, targets)]
    for pred, target in ((masks[0], masks[1]), (masks[0], labelled[1]), (labelled[0], masks[1])):
        result = lossbench.evaluate(pred, target, LOSSES)
        check(result, counts)
    plan = lossbench.plan(masks[0], labelled[1], LOSSES).plan
    assert str(plan) == "instances · pred: components of mask {0,255} · gt: instances (int32)"


def test_an_ignored_pixel_of_a_mask_is_void() -> None:
    """By hand: 2 of 2 pixels left of the first component, the second one is void by 2 of 3."""
    pred, target = row("1110111") * 255, row("1120220")
    found = lossbench.evaluate(
        [pred], [target], LOSSES, ignore=2, task="instances", gt_encoding="mask"
    )
    assert [found.values[name].samples[0] for name in LOSSES] == [1, 1, 1]


def test_a_set_of_real_nuclei(data: Callable[[str], Path]) -> None:
    """Otsu's threshold against 16-bit instance maps, its components by scikit-image."""
    root = data("dsb2018_nuclei_16")
    result = lossbench.evaluate(root / "pred", root / "gt_instances", LOSSES)
    counts = []
    for name in result.ids:
        pred, target = (
            np.asarray(Image.open(root / side / f"{name}.png")) for side in ("pred", "gt_instances")
        )
        pred = measure.label(pred > 0, connectivity=2)
        void = np.zeros(pred.shape, bool)
        counts.append(counted(of_numbers(pred), of_numbers(target), void, 1))
    check(result, counts)
    # torchmetrics has background as void of the target: not here, where it would hide false alarms.
    assert 0.6 < result.aggregates["panoptic_quality"]["pooled"] < 0.7


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.png", lambda ids: Image.fromarray(ids.astype(np.uint16))),
        ("a.tif", lambda ids: Image.fromarray(ids.astype(np.uint16))),
        ("a.tiff", lambda ids: Image.fromarray(ids.astype(np.int32) * 70_000)),
        ("a.tif", lambda ids: Image.fromarray(ids.astype(np.float32))),
        ("a.png", lambda ids: Image.fromarray(ids.astype(np.uint8))),
        ("a.npy", lambda ids: ids * (1 << 36)),
        ("a.npy", lambda ids: ids.astype(np.uint32)),
        ("a.npy", lambda ids: ids.astype(np.float64)),
        ("a.png", lambda ids: Image.fromarray(np.stack([ids, ids * 3, ids * 9], -1).astype("u1"))),
    ],
)  # fmt: skip
def test_ids_are_read_from_files_of_any_kind(
    name: str, write: Callable[[Map], Any], folder: Callable[..., Path]
) -> None:
    rng = np.random.default_rng(2)
    target = patches(rng, 6)
    pred = disturbed(rng, target, patches(rng, 6), 0.3)
    void = np.zeros(target.shape, bool)
    counts = [counted(of_numbers(pred), of_numbers(target), void, 1)]
    folders = [folder(side, {name: write(ids)}) for side, ids in (("p", pred), ("g", target))]
    check(lossbench.evaluate(*folders, LOSSES, task="instances"), counts)


def test_colours_are_told_apart_by_all_three_bytes(folder: Callable[..., Path]) -> None:
    """By hand: 1, 256 and 65536 are three segments."""
    colours = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]], np.uint8)
    ids = np.array([[1, 2, 3, 0]], np.uint16)
    pred, target = folder("p", {"a.png": colours}), folder("g", {"a.png": ids})
    result = lossbench.evaluate(pred, target, "rq")
    assert result.values["rq"].samples == [1]


# --- class · divisor + instance -------------------------------------------------------------------

NAMES = "{3: sky, 5: road, 11: person, 20: car}"
VALUES, THINGS, STUFF = [3, 5, 11, 20], {11, 20}, {3, 5}


def coded(rng: np.random.Generator, divisor: int) -> Map:
    """Labels of stuff and of instances of things, as class · divisor + instance."""
    classes = np.array(VALUES)[patches(rng, 3)]
    return classes * divisor + patches(rng, min(divisor, 5) - 1)


def of_classes(labels: Map, divisor: int, stuff: set[int] = STUFF) -> list[Segment]:
    """The segments of such a map: stuff is one each."""
    classes = labels // divisor
    labels = np.where(np.isin(classes, list(stuff)), classes * divisor, labels)
    return [
        Segment(labels == number, VALUES.index(number // divisor))
        for number in np.unique(labels)
        if number // divisor in VALUES
    ]


def by_torchmetrics(preds: list[Map], targets: list[Map], divisor: int) -> Map:
    """PQ, SQ and RQ of each class over all images, (3, classes); unknown classes are void."""
    metric = PanopticQuality(
        things=THINGS, stuffs=STUFF, allow_unknown_preds_category=True, return_per_class=True,
        return_sq_and_rq=True,
    )  # fmt: skip
    for pair in zip(preds, targets, strict=True):
        split = [np.stack([labels // divisor, labels % divisor], -1) for labels in pair]
        metric.update(*(torch.tensor(each)[None] for each in split))
    # Things come first there, each kind in the order of its numbers.
    order = [[*sorted(THINGS), *sorted(STUFF)].index(value) for value in VALUES]
    return metric.compute().reshape(-1, 3).numpy()[order].T


@pytest.mark.parametrize("divisor", [10, 256, 1000, 256**3])
def test_coded_maps_equal_the_reference_and_torchmetrics(divisor: int) -> None:
    rng = np.random.default_rng(divisor)
    targets = [coded(rng, divisor) for _ in range(5)]
    preds = [disturbed(rng, target, coded(rng, divisor), 0.2) for target in targets]
    void = np.zeros(targets[0].shape, bool)
    counts = [
        counted(of_classes(p, divisor), of_classes(t, divisor), void, len(VALUES))
        for p, t in zip(preds, targets, strict=True)
    ]
    how: dict[str, Any] = {"divisor": divisor, "classes": NAMES, "things": "person, car"}
    result = lossbench.evaluate(preds, targets, LOSSES, **how)
    check(result, counts)
    theirs = by_torchmetrics(preds, targets, divisor)
    for name, wanted in zip(LOSSES, theirs, strict=True):
        check_close(result.values[name].pooled_classes, wanted, 1e-6, name)  # theirs is float32
    told = lossbench.evaluate(preds, targets, LOSSES, **how, convention="all").conventions
    for name, wanted in zip(LOSSES, theirs, strict=True):
        check_close(told["torchmetrics"][name].value, wanted.mean(), 1e-6, name)


def test_void_of_both_sides_is_that_of_torchmetrics() -> None:
    """Class 99 is void: ignored in the target, and nothing where it is predicted."""
    rng = np.random.default_rng(8)
    preds, targets = [], []
    for _ in range(12):
        target = coded(rng, 1000)
        pred = disturbed(rng, target, coded(rng, 1000), 0.2)
        preds.append(np.where(patches(rng, 3) == 1, 99_000, pred))
        targets.append(np.where(patches(rng, 3) == 1, 99_000, target))
    how: dict[str, Any] = {
        "divisor": 1000, "classes": NAMES, "things": ["person", "car"], "ignore": 99,
    }  # fmt: skip
    both = [f"{name}(void=both)" for name in LOSSES]
    result = lossbench.evaluate(preds, targets, [*LOSSES, *both], **how)
    theirs = by_torchmetrics(preds, targets, 1000)
    for name, wanted in zip(both, theirs, strict=True):
        check_close(result.values[name].pooled_classes, wanted, 1e-6, name)
    counts = [
        counted(of_classes(p, 1000), of_classes(t, 1000), t == 99_000, len(VALUES))
        for p, t in zip(preds, targets, strict=True)
    ]
    check(result, counts)
    assert result.values[both[0]].pooled > result.values[LOSSES[0]].pooled


def test_without_things_every_number_is_a_segment() -> None:
    rng = np.random.default_rng(3)
    target = coded(rng, 100)
    pred = disturbed(rng, target, coded(rng, 100), 0.2)
    void = np.zeros(target.shape, bool)
    counts = [
        counted(of_classes(pred, 100, set()), of_classes(target, 100, set()), void, len(VALUES))
    ]
    check(lossbench.evaluate([pred], [target], LOSSES, divisor=100), counts)  # classes as found
    check(lossbench.evaluate([pred], [target], LOSSES, divisor=100, classes=NAMES), counts)


def test_the_ids_of_cityscapes() -> None:
    """By hand: 7 is road, 24 alone a group of persons, 24001 a person, 0 unlabelled.

    Person 24001 is found with IoU 1. The person 24005 lies in the group with 2 of 3 pixels and is
    dropped; 24006 with 1 of 2 is not. PQ 1/(1 + ½). The road has IoU 3/4.
    """
    target = np.array([[7, 7, 7, 7, 24, 24, 24, 24001, 0, 0]])
    pred = np.array([[7, 7, 7, 24006, 24006, 24005, 24005, 24002, 24005, 0]])
    how: dict[str, Any] = {"divisor": 1000, "classes": "{7: road, 24: person}", "ignore": 0}
    result = lossbench.evaluate([pred], [target], LOSSES, things="person", **how)
    assert [column[0] for column in result.values["panoptic_quality"].classes] == [
        pytest.approx(3 / 4), pytest.approx(2 / 3),
    ]  # fmt: skip
    failed = lossbench.evaluate([pred], [target], LOSSES, **how).failed
    assert "class 24 alone and with instances" in failed[0].message
    assert "--things" in failed[0].message


def test_class_0_is_nothing_unless_it_has_a_name() -> None:
    """By hand: 0 as background hides no false alarm, as a class it is a segment, ignored void."""
    pred, target = np.array([[1001, 1001, 1002]]), np.array([[1001, 1001, 0]])
    found = lossbench.evaluate([pred], [target], "pq", divisor=1000)
    assert found.values["pq"].samples == [pytest.approx(1 / 1.5)]
    found = lossbench.evaluate([pred], [target], "pq", divisor=1000, ignore=0)
    assert found.values["pq"].samples == [1]
    found = lossbench.evaluate([pred], [target], "pq", divisor=1000, classes="sky, car")
    assert [column[0] for column in found.values["pq"].classes] == [0, pytest.approx(1 / 1.5)]
    # Instances 1 and 2 of class 0, where that is a thing.
    labels = np.array([[1, 1, 2, 1001]])
    how: dict[str, Any] = {"divisor": 1000, "classes": "sky, car"}
    found = lossbench.evaluate([labels], [labels * 1], "pq", things="sky", **how)
    assert [column[0] for column in found.values["pq"].classes] == [1, 1]
    # Where nobody says so, 1 might be class 1; 2 is none.
    failed = lossbench.evaluate([labels], [labels], "rq", **how).failed
    assert "class 1 alone, or an instance of class 0? Name" in failed[0].message
    found = lossbench.evaluate([labels + 1], [labels + 1], "rq", **how)
    assert [column[0] for column in found.values["rq"].classes] == [1, 1]
    # Where class 0 is stuff, 1 is class 1.
    found = lossbench.evaluate([labels[:, :2]], [labels[:, :2]], "rq", things="", **how)
    assert [math.isnan(column[0]) for column in found.values["rq"].classes] == [True, False]


def test_things_and_stuff_apart() -> None:
    rng = np.random.default_rng(4)
    target = coded(rng, 1000)
    pred = disturbed(rng, target, coded(rng, 1000), 0.15)
    how: dict[str, Any] = {"divisor": 1000, "classes": NAMES, "things": "car,person"}
    losses = ["pq", "pq(only=things)", "pq(only=stuff)"]
    found = lossbench.evaluate([pred], [target], losses, **how)
    sky, road, person, car = (column[0] for column in found.values["pq"].classes)
    values = [found.values[name].samples[0] for name in losses]
    wanted = [(sky + road + person + car) / 4, (person + car) / 2, (sky + road) / 2]
    check_close(values, wanted, REFERENCE)
    with pytest.raises(lossbench.SettingError, match="--things"):
        lossbench.evaluate([pred], [target], losses, divisor=1000)


# --- panopticapi's PNGs and JSON ------------------------------------------------------------------

CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1},
    {"id": 92, "name": "banner", "isthing": 0},
    {"id": 7, "name": "train", "isthing": 1},
]


def write_side(root: Path, side: str, maps: list[Map], infos: list[dict[int, tuple[int, int]]],
               rng: np.random.Generator, **more: Any) -> list[Map]:  # fmt: skip
    """PNGs and JSON of maps numbered 0 … n; the PNGs have other numbers, of 24 bits."""
    (root / side).mkdir(parents=True)
    annotations = []
    for image, (labels, info) in enumerate(zip(maps, infos, strict=True)):
        numbers = np.append(0, 1 + rng.choice((1 << 24) - 1, 50, replace=False))
        colours = numbers[labels]
        rgb = np.stack([colours % 256, colours // 256 % 256, colours // 65536], -1)
        Image.fromarray(rgb.astype(np.uint8)).save(root / side / f"{image:03d}.png")
        segments = [
            {"id": int(numbers[n]), "category_id": category, "iscrowd": crowd, "area": 0}
            for n, (category, crowd) in info.items()
        ]
        annotations.append(
            {"image_id": image + 10, "file_name": f"{image:03d}.png", "segments_info": segments}
        )
    rng.shuffle(annotations)
    (root / f"{side}.json").write_text(json.dumps({"annotations": annotations, **more}))
    return maps


def described(rng: np.random.Generator, labels: Map, crowds: float) -> dict[int, tuple[int, int]]:
    """A category for each number but 0, and whether it is a crowd."""
    ids = [category["id"] for category in CATEGORIES]
    return {
        int(n): (ids[int(rng.integers(3))], int(rng.random() < crowds))
        for n in np.unique(labels)
        if n
    }


@pytest.fixture
def panoptic(tmp_path: Path) -> tuple[Path, list[Any]]:
    """Panoptic files of ten images with void pixels and crowds, and their counts."""
    rng = np.random.default_rng(6)
    preds, targets = [], []
    for _ in range(10):
        target = patches(rng, 9)
        targets.append(target)
        preds.append(disturbed(rng, target, patches(rng, 9), 0.25))
    infos = {"gt": [described(rng, labels, 0.25) for labels in targets]}
    infos["pred"] = [
        {  # mostly of the true category
            n: info.get(n, of) if rng.random() < 0.8 else of
            for n, of in described(rng, labels, 0.3).items()
        }
        for labels, info in zip(preds, infos["gt"], strict=True)
    ]
    write_side(tmp_path, "gt", targets, infos["gt"], rng, categories=CATEGORIES)
    write_side(tmp_path, "pred", preds, infos["pred"], rng)
    places = {category["id"]: place for place, category in enumerate(CATEGORIES)}

    def segments(labels: Map, info: dict[int, tuple[int, int]], crowds: bool) -> list[Segment]:
        return [
            Segment(labels == n, places[category], crowds and bool(crowd))
            for n, (category, crowd) in info.items()
        ]

    counts = [
        counted(segments(p, a, False), segments(t, b, True), t == 0, 3)
        for p, a, t, b in zip(preds, infos["pred"], targets, infos["gt"], strict=True)
    ]
    return tmp_path, counts


def test_panoptic_files_equal_the_reference(panoptic: tuple[Path, list[Any]]) -> None:
    root, counts = panoptic
    result = lossbench.evaluate(root / "pred.json", root / "gt.json", LOSSES)
    assert result.class_names == ("person", "banner", "train")
    assert result.ids == [f"{image:03d}" for image in range(10)]
    check(result, counts)
    things = lossbench.evaluate(root / "pred.json", root / "gt.json", "pq(only=things)")
    whole = [tuple(map(sum, zip(*each, strict=True))) for each in zip(*counts, strict=True)]
    wanted = [qualities(whole)[0][place] for place in (0, 2)]
    check_close(things.values["pq(only=things)"].pooled, mean(wanted), REFERENCE)


def test_pngs_may_lie_beside_the_file(panoptic: tuple[Path, list[Any]]) -> None:
    root, counts = panoptic
    moved = root / "pred" / "results.json"
    (root / "pred.json").rename(moved)
    check(lossbench.evaluate(moved, root / "gt.json", LOSSES), counts)


def test_a_crowd_is_of_its_class_only(tmp_path: Path) -> None:
    """By hand: of a person 2 of 3 pixels lie in a crowd of persons, which drops it; likewise a

    train in that crowd, which does not. A crowd is never missed, and never matched.
    """
    rng = np.random.default_rng(0)
    target, pred = row("1111 1111 2"), row("1110 2222 2")
    write_side(tmp_path, "gt", [target], [{1: (1, 1), 2: (7, 0)}], rng, categories=CATEGORIES)
    write_side(tmp_path, "pred", [pred], [{1: (1, 0), 2: (7, 0)}], rng)
    result = lossbench.evaluate(tmp_path / "pred.json", tmp_path / "gt.json", LOSSES)
    classes = [column[0] for column in result.values["panoptic_quality"].classes]
    assert math.isnan(classes[0])  # neither hit, false nor missed
    assert classes[2] == 0  # train 2 has IoU 1/5
    assert result.values["panoptic_quality"].samples == [0]


def edited(root: Path, side: str, change: Callable[[Any], Any]) -> None:
    file = root / f"{side}.json"
    loaded = json.loads(file.read_text())
    file.write_text(json.dumps(change(loaded) or loaded))


WRONG: dict[str, tuple[str, Callable[[Any], Any], list[str]]] = {
    "no annotations": ("pred", lambda d: {"images": []}, ["pred.json has no 'annotations'"]),
    "a list": ("gt", lambda d: [1], ["gt.json", "is of another kind", "panopticapi"]),
    "no categories": ("gt", lambda d: d.pop("categories") and None, ["has no 'categories'"]),
    "no segments": (
        "pred", lambda d: d["annotations"][0].pop("segments_info") and None, ["'segments_info'"],
    ),
    "twice": ("pred", lambda d: d["annotations"].append(d["annotations"][0]), ["twice"]),
    "category": (
        "pred", lambda d: d["annotations"][0]["segments_info"][0].update(category_id=55),
        ["category_id 55", "pred.json", "not among the categories"],
    ),
    "no category": ("gt", lambda d: d.update(categories=[]), ["has no categories"]),
    "other images": (
        "pred", lambda d: d.update(annotations=[{**d["annotations"][0], "image_id": 99}]),
        ["no image_id of"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_panoptic_file_is_told(what: str, panoptic: tuple[Path, list[Any]]) -> None:
    root, _ = panoptic
    side, change, words = WRONG[what]
    edited(root, side, change)
    with pytest.raises(lossbench.InputError) as error:
        lossbench.plan(root / "pred.json", root / "gt.json", "pq")
    assert [word for word in words if word not in str(error.value)] == [], str(error.value)


def test_no_json_at_all_is_told(panoptic: tuple[Path, list[Any]]) -> None:
    root, _ = panoptic
    (root / "pred.json").write_text("{")
    with pytest.raises(lossbench.InputError, match="no JSON"):
        lossbench.plan(root / "pred.json", root / "gt.json", "pq")
    with pytest.raises(lossbench.InputError, match="does not exist"):
        lossbench.plan(root / "gone.json", root / "gt.json", "pq")
    for pair in ((root / "pred.json", root / "gt"), (root / "pred", root / "gt.json")):
        with pytest.raises(lossbench.SettingError, match="both JSON files"):
            lossbench.plan(*pair, "pq")


def test_one_wrong_image_is_an_error_of_that_image(panoptic: tuple[Path, list[Any]]) -> None:
    root, counts = panoptic

    def change(loaded: Any) -> None:
        by_name = {each["file_name"]: each for each in loaded["annotations"]}
        by_name["003.png"]["segments_info"].pop()
        by_name["004.png"]["segments_info"].append({"id": 123, "category_id": 1})
        loaded["annotations"].remove(by_name["005.png"])

    edited(root, "pred", change)
    (root / "pred" / "006.png").unlink()
    Image.fromarray(np.zeros((20, 18), np.uint8)).save(root / "pred" / "007.png")
    result = lossbench.evaluate(root / "pred.json", root / "gt.json", LOSSES)
    errors = {each.id: (each.kind, each.message) for each in result.failed}
    assert errors.keys() == {"003", "004", "005", "006", "007"}
    assert "its JSON file does not list" in errors["003"][1]
    assert "no pixel of segment 123" in errors["004"][1]
    assert errors["005"] == ("missing", f"image_id 15 is not in {root / 'pred.json'}")
    assert errors["006"][0] == "missing"
    assert "006.png does not exist" in errors["006"][1]
    assert "no colour picture" in errors["007"][1]
    assert result.exit_status == 3
    assert result.ids == ["000", "001", "002", "008", "009"]
    left = [counts[place] for place in (0, 1, 2, 8, 9)]
    result.failed.clear()
    check(result, left)
    worst = lossbench.evaluate(root / "pred.json", root / "gt.json", "pq", missing="worst")
    assert worst.values["pq"].samples[worst.ids.index("005")] == 0


# --- the pipeline ---------------------------------------------------------------------------------


def test_every_loss_of_the_family_is_compared() -> None:
    assert {name for name, e in registry.builtin().items() if "instances" in e.tasks} == INSTANCES
    assert set(LOSSES) == INSTANCES


def test_the_sample_data_runs_from_the_command(lossbench_command: Callable[..., Any]) -> None:
    files = [SAMPLES / "panoptic" / name for name in ("pred.json", "gt.json")]
    done = lossbench_command("eval", *files, "-f", "json", "--gate", "pq[car].pooled >= 0.6")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found["aggregate"]) == [*LOSSES]
    assert found["run"]["classes"] == ["road", "sky", "person", "car"]
    assert found["run"]["plan"]["task"] == "instances"


def test_values_do_not_depend_on_workers_numbers_or_order() -> None:
    rng = np.random.default_rng(9)
    targets = {str(n): patches(rng, 8) for n in range(12)}
    preds = {n: disturbed(rng, t, patches(rng, 8), 0.2) for n, t in targets.items()}
    how: dict[str, Any] = {"losses": LOSSES, "task": "instances"}
    wanted = lossbench.evaluate(preds, targets, workers=1, **how)
    other = [
        {n: renumbered(rng, side[n], 99) for n in sorted(side, reverse=True)}
        for side in (preds, targets)
    ]
    for result in (
        lossbench.evaluate(preds, targets, workers=3, **how),
        lossbench.evaluate(*other, **how),
    ):
        for name in LOSSES:
            # The order of segments is that of their numbers, and float sums may tell.
            check_close(result.values[name].samples, wanted.values[name].samples, 1e-15)
            assert result.values[name].pooled == pytest.approx(
                wanted.values[name].pooled, rel=1e-15
            )


def test_options_outside_the_losses() -> None:
    """By hand: class a 1 and b 0 in the first image; a is alone in the second, where it is 1."""
    target = [np.array([[101, 101, 201]]), np.array([[101, 101, 0]])]
    pred = [np.array([[101, 101, 101]]), np.array([[101, 101, 0]])]
    how: dict[str, Any] = {"divisor": 100, "classes": "{1: a, 2: b}", "group_by": "{n}"}
    losses = ["pq", "pq(class_weights=[1, 0])", "pq(class_reduction=weighted)",
              "pq(absent=1)", "pq(class_weights=auto)", "pq(empty=0.5)"]  # fmt: skip
    how.pop("group_by")
    found = lossbench.evaluate(pred, target, losses, **how)
    each = {name: found.values[name].samples for name in losses}
    a = 2 / 3  # the IoU of segment 101 in the first image
    assert each["pq"] == pytest.approx([a / 2, 1])
    assert each["pq(class_weights=[1, 0])"] == pytest.approx([a, 1])
    assert each["pq(class_reduction=weighted)"] == pytest.approx([a * 2 / 3, 1])  # 2 pixels and 1
    assert each["pq(absent=1)"] == pytest.approx([a / 2, 1])
    # 6 pixels, 4 of a and 1 of b: weights 6/(2·4) and 6/(2·1)
    assert each["pq(class_weights=auto)"] == pytest.approx([a * 0.75 / 3.75, 1])
    assert each["pq(empty=0.5)"] == pytest.approx([a / 2, 0.75])


def test_groups_and_manifest_count_segments(tmp_path: Path, folder: Callable[..., Path]) -> None:
    target = {"a/1.png": row("110022"), "a/2.png": row("333000"), "b/1.png": row("011110")}
    pred = {"a/1.png": row("550000"), "a/2.png": row("333000"), "b/1.png": row("011100")}
    sides = [{n: m.astype(np.uint16) for n, m in side.items()} for side in (pred, target)]
    roots = [folder("p", sides[0]), folder("g", sides[1])]
    found = lossbench.evaluate(*roots, "pq", group_by="{well}/{field}")
    pooled = {name: each["pq"]["pooled"] for name, each in found.group_aggregates.items()}
    # Well a: two hits of IoU 1 and one missed; b: IoU 3/4.
    assert pooled == {"a": pytest.approx(2 / 2.5), "b": pytest.approx(0.75)}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "dice": ({"losses": "dice", "task": "instances"}, "dice has no meaning on an instances task"),
    "elsewhere": ({"losses": "pq", "task": "multiclass"}, "panoptic_quality has no meaning on a"),
    "divisor": ({"losses": "dice", "task": "binary", "divisor": 10}, "no meaning on a binary task"),
    "small divisor": ({"losses": "pq", "divisor": 1}, "divisor is a whole number from 2, not 1"),
    "things": ({"losses": "pq", "things": "car"}, "--divisor N"),
    "unknown thing": (
        {"losses": "pq", "divisor": 10, "classes": "a, cat", "things": "car"}, "did you mean 'cat'",
    ),
    "classes": ({"losses": "pq", "classes": "a, b"}, "--divisor N"),
    "bilinear": ({"losses": "pq", "resize": "bilinear"}, "bilinear would make up instances"),
    "weights": ({"losses": "pq", "inputs": {"weight": [np.ones((1, 4))]}}, "no weights"),
    "threshold": ({"losses": "pq", "threshold": 0.3}, "no threshold"),
    "logits": ({"losses": "pq", "pred_encoding": "logits"}, "cannot be logits on an instances"),
    "masks": (
        {"losses": "pq", "divisor": 10, "gt_encoding": "mask"}, "cannot be mask on an instances",
    ),
    "background": ({"losses": "pq(background=false)"}, "an option of multiclass tasks"),
    "gate": ({"losses": "pq", "gates": "pq[car].mean >= 0"}, "no class columns"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_meaning_is_refused(what: str) -> None:
    how, words = REFUSED[what]
    with pytest.raises(lossbench.SettingError, match=words):
        lossbench.plan([row("1203")], [row("1203")], **how)


@pytest.mark.parametrize(
    ("pred", "how", "words"),
    [
        (row("1203") - 2, {}, "negative id -2"),
        (row("1203") + 0.5, {"pred_encoding": "instances"}, "float64 with fractions"),
        (row("1203") * math.nan, {"pred_encoding": "instances"}, "float64 with fractions"),
        (
            row("4203"),
            {"divisor": 2, "classes": "{1: a}"},
            "label 3, of class 1|label 4, of class 2",
        ),
        (row("12034"), {}, "is 5×1 where"),
    ],
)
def test_a_wrong_map_is_an_error_of_its_own(pred: Map, how: dict[str, Any], words: str) -> None:
    how = {"task": "instances"} | how
    target = row("2203") if "divisor" in how else row("1203")
    found = lossbench.evaluate({"a": pred, "b": target}, {"a": target, "b": target}, "pq", **how)
    assert re.search(words, found.failed[0].message), found.failed[0].message


def test_a_loss_of_ones_own_may_ask_for_segments(tmp_path: Path) -> None:
    """By hand: one hit, one missed; the share that is missed is ½."""
    file = tmp_path / "mine.py"
    file.write_text(
        """from lossbench.losses import loss
from lossbench.interface.annotations import PerClass
from lossbench.views.segments import Segments

@loss(tasks=["instances"])
def missed(segments: Segments) -> PerClass:
    return segments.fn / (segments.tp + segments.fn)
"""
    )
    how: dict[str, Any] = {"plugins": file, "gt_encoding": "instances", "task": "instances"}
    result = lossbench.evaluate([row("1100")], [row("1102")], "missed", **how)
    assert result.values["missed"].samples == [0.5]
    file.write_text("def of_pixels(pred, target):\n    return 0\n")
    with pytest.raises(lossbench.SettingError, match="no meaning on an instances task"):
        lossbench.plan([row("1100")], [row("1102")], "of_pixels", **how)


def test_training_and_gradcheck_say_that_there_is_no_gradient() -> None:
    with pytest.raises(lossbench.SettingError, match="instances"):
        lossbench.loss("pq")(torch.rand(1, 1, 4, 4), torch.ones(1, 4, 4))
    with pytest.raises(lossbench.SettingError, match="no gradient"):
        lossbench.loss("pq")(torch.rand(1, 1, 4, 4), torch.ones(1, 4, 4), task="instances")
    with pytest.raises(lossbench.SettingError, match="no gradient"):
        lossbench.gradcheck("pq")
