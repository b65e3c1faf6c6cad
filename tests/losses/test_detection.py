"""Boxes and records of detectors against pycocotools, torch, loops and numbers by hand."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.paths import DATA, SAMPLES
from helpers.tolerances import REFERENCE, check_close
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from safetensors.numpy import save_file
from torch.nn import functional

import lossbench
from lossbench.data.formats.coco_masks import decoded
from lossbench.errors import InputError

REAL = DATA / "coco_fake100_rle"
BOXES = ["iou_box", "giou", "diou", "ciou"]
WORST = {"iou_box": 1.0, "giou": 2.0, "diou": 2.0, "ciou": 2.5}
AP, AR = "average_precision_boxes", "average_recall_boxes"
# What pycocotools prints, in its order.
STATS = [
    AP, f"{AP}(iou_thresholds=0.5)", f"{AP}(iou_thresholds=0.75)",
    *(f"{AP}(area={area})" for area in ("small", "medium", "large")),
    *(f"{AR}(max_detections={most})" for most in (1, 10, 100)),
    *(f"{AR}(area={area})" for area in ("small", "medium", "large")),
]  # fmt: skip
Side = dict[str, Any]


# --- data sets, and what pycocotools makes of them ------------------------------------------------


def drawn(seed: int, images: int = 6, classes: int = 3) -> tuple[Side, list[Side]]:
    """Objects of all sizes, some of them crowds, and detections near them with few scores."""
    rng = np.random.default_rng(seed)
    truth: Side = {
        "images": [
            {"id": 7 * n + 3, "file_name": f"{images - n:03}.jpg", "height": 300, "width": 400}
            for n in range(images)
        ],
        "categories": [{"id": 10 * n + 1, "name": f"kind {n}"} for n in range(classes)],
        "annotations": [],
    }
    found = []
    for image, category in itertools.product(truth["images"], truth["categories"]):
        if rng.random() < 0.15:
            continue
        where = {"image_id": image["id"], "category_id": category["id"]}
        for _ in range(rng.integers(0, 5)):
            x, y, w, h = rng.uniform(0, 120, 2).tolist() + rng.uniform(8, 160, 2).tolist()
            number = len(truth["annotations"]) + 1
            box = [round(x, 2), round(y, 2), round(w, 2), round(h, 2)]
            area, crowd = box[2] * box[3] * rng.uniform(0.5, 1), int(rng.random() < 0.15)
            truth["annotations"].append(
                {"id": number, **where, "bbox": box, "area": area, "iscrowd": crowd}
            )
            for _ in range(rng.integers(0, 3)):
                near = np.array([x, y, w, h]) + rng.normal(0, 0.06, 4) * [w, h, w, h]
                score = round(rng.random(), 1)  # so that some are equal
                found.append({**where, "bbox": near.clip(1).round(2).tolist(), "score": score})
        for _ in range(rng.integers(0, 3)):
            box = [*rng.uniform(0, 200, 2).tolist(), *rng.uniform(5, 90, 2).tolist()]
            found.append({**where, "bbox": box, "score": round(rng.random(), 1)})
    return truth, found


def outlined(truth: Side, found: list[Side], seed: int) -> None:
    """A segmentation for each entry: polygons, run lengths in letters, and in numbers."""
    rng = np.random.default_rng(seed)
    for place, entry in enumerate([*truth["annotations"], *found]):
        x, y, w, h = entry["bbox"]
        corners = [x, y, x + w, y, x + w * rng.uniform(0.5, 1), y + h, x, y + h * 0.8]
        run = rle.merge(rle.frPyObjects([[round(each, 1) for each in corners]], 300, 400))
        entry["area"] = float(rle.area(run))
        if entry in found or place % 3 == 1:  # pycocotools reads no other results
            entry["segmentation"] = {"size": [300, 400], "counts": run["counts"].decode()}
        elif place % 3 == 0 and not entry.get("iscrowd"):
            entry["segmentation"] = [[round(each, 1) for each in corners]]
        else:
            column = np.append(0, rle.decode(run).ravel(order="F").astype(int))
            changes = np.flatnonzero(np.diff(column))
            counts = np.diff(np.concatenate([[0], changes, [300 * 400]])).tolist()
            entry["segmentation"] = {"size": [300, 400], "counts": counts}


def written(folder: Path, truth: Any, found: Any) -> tuple[str, str]:
    files = folder / "results.json", folder / "instances.json"
    for file, content in zip(files, (found, truth), strict=True):
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(files[0]), str(files[1])


def by_pycocotools(
    files: tuple[str, str], kind: str = "bbox", images: list[int] | None = None
) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(files[1])
        evaluation = COCOeval(truth, truth.loadRes(files[0]), kind)
        if images:
            evaluation.params.imgIds = images
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def defined(numbers: Any) -> list[float]:
    """pycocotools' −1 is undefined."""
    return [math.nan if number == -1 else float(number) for number in numbers]


def typed(kind: str) -> list[str]:
    if kind == "bbox":
        return STATS
    return [
        each.replace(")", f", iou_type={kind})") if "(" in each else f"{each}(iou_type={kind})"
        for each in STATS
    ]


def every_pair(evaluation: COCOeval) -> Iterator[tuple[Side, Side | None]]:
    """Each object that is no crowd with its detection at an IoU of ½, at any size."""
    for each in evaluation.evalImgs:
        if each is None or each["aRng"] != evaluation.params.areaRng[0]:
            continue
        matches = dict(zip(each["gtIds"], each["gtMatches"][0], strict=True))
        for number, match in matches.items():
            truth = evaluation.cocoGt.anns[number]
            if not truth["iscrowd"]:
                yield truth, evaluation.cocoDt.anns[int(match)] if match else None


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the shared data")
@pytest.mark.parametrize(("kind", "name"), [("bbox", "fakebbox"), ("segm", "fakesegm")])
def test_the_published_numbers_of_a_real_data_set(kind: str, name: str) -> None:
    """cocoapi's own example: 100 images of COCO, 12 numbers of boxes and 12 of masks."""
    wanted = json.loads((REAL / "expected" / "stats.json").read_text())[kind]
    result = lossbench.evaluate(
        REAL / f"pred/instances_val2014_{name}100_results.json",
        REAL / "gt/instances_val2014_100.json",
        typed(kind),
    )
    assert not result.failed
    assert len(result.class_names) == 80
    found = [result.values[name].pooled for name in typed(kind)]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_pooled_values_are_those_of_pycocotools(tmp_path: Path, kind: str, seed: int) -> None:
    truth, found = drawn(seed)
    if kind == "segm":
        outlined(truth, found, seed)
        for each in found:
            del each["bbox"]  # as results of masks are written
    files = written(tmp_path, truth, found)
    wanted = by_pycocotools(files, kind)
    result = lossbench.evaluate(*files, typed(kind))
    assert not result.failed
    check_close(
        [result.values[name].pooled for name in typed(kind)], defined(wanted.stats), REFERENCE
    )
    precision = wanted.eval["precision"][:, :, :, 0, 2]  # (L, R, K): any size, 100 detections
    classes = defined(precision.mean((0, 1)))
    check_close(result.values[typed(kind)[0]].pooled_classes, classes, REFERENCE)


@pytest.mark.parametrize("seed", range(4))
def test_the_value_of_an_image_is_that_of_a_data_set_of_one(tmp_path: Path, seed: int) -> None:
    truth, found = drawn(seed)
    files = written(tmp_path, truth, found)
    result = lossbench.evaluate(*files, STATS)
    for image in truth["images"]:
        place = result.ids.index(image["file_name"].removesuffix(".jpg"))
        alone = by_pycocotools(files, images=[image["id"]])
        samples = [result.values[name].samples[place] for name in STATS]
        check_close(samples, defined(alone.stats), REFERENCE, image)
        classes = defined(alone.eval["precision"][:, :, :, 0, 2].mean((0, 1)))
        check_close([row[place] for row in result.values[AP].classes], classes, REFERENCE)


def test_several_thresholds_are_averaged(tmp_path: Path) -> None:
    files = written(tmp_path, *drawn(11))
    several = f"{AP}(iou_thresholds=[0.5, 0.75])"
    result = lossbench.evaluate(*files, [several, *STATS])
    by_two = [result.values[f"{AP}(iou_thresholds={each})"].pooled for each in (0.5, 0.75)]
    check_close(result.values[several].pooled, np.mean(by_two), REFERENCE)


def test_detections_in_crowds_and_beyond_the_hundredth(tmp_path: Path) -> None:
    """150 detections of one class, all within a crowd but three."""
    where = {"image_id": 1, "category_id": 1}
    truth = {
        "images": [{"id": 1}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [
            {"id": 1, **where, "bbox": [0, 0, 50, 50], "area": 2500, "iscrowd": 1},
            {"id": 2, **where, "bbox": [60, 60, 20, 20], "area": 400, "iscrowd": 0},
            {"id": 3, **where, "bbox": [60, 61, 20, 20], "area": 400, "iscrowd": 0},
        ],
    }
    found = [{**where, "bbox": [n % 40, n % 7, 5, 5], "score": n / 200} for n in range(147)]
    found += [{**where, "bbox": [60, 60 + n, 20, 20], "score": 0.3 + n / 10} for n in range(3)]
    files = written(tmp_path, truth, found)
    result = lossbench.evaluate(*files, [*STATS, "giou", "bce"])
    wanted = defined(by_pycocotools(files).stats)
    check_close([result.values[name].pooled for name in STATS], wanted, REFERENCE)
    assert result.ids == ["1"]
    # By hand: elements are the two objects (scores 0.5 and 0.4) and the last of the three boxes.
    wanted_bce = -(math.log(0.5) + math.log(0.4) + math.log(1 - 0.3)) / 3
    check_close(result.values["bce"].samples, [wanted_bce], REFERENCE)


# --- losses of boxes ------------------------------------------------------------------------------


def box_loss(name: str, p: Any, t: Any) -> float:
    """The published formulas, one pair of (x1, y1, x2, y2) at a time."""
    width = max(0.0, min(p[2], t[2]) - max(p[0], t[0]))
    height = max(0.0, min(p[3], t[3]) - max(p[1], t[1]))
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (p, t)]
    both, union = width * height, sum(areas) - width * height
    around = (max(p[2], t[2]) - min(p[0], t[0]), max(p[3], t[3]) - min(p[1], t[1]))
    iou, whole = both / union, around[0] * around[1]
    if name == "iou_box":
        return 1 - iou
    if name == "giou":
        return 1 - (iou - (whole - union) / whole)
    apart = ((p[0] + p[2] - t[0] - t[2]) / 2) ** 2 + ((p[1] + p[3] - t[1] - t[3]) / 2) ** 2
    diou = 1 - iou + apart / (around[0] ** 2 + around[1] ** 2)
    if name == "diou":
        return diou
    angles = [math.atan((each[2] - each[0]) / (each[3] - each[1])) for each in (p, t)]
    v = 4 / math.pi**2 * (angles[1] - angles[0]) ** 2
    return diou + (v * v / (1 - iou + v) if v else 0)


V = 4 / math.pi**2 * (math.atan(1) - math.atan(2)) ** 2
# By hand. Half overlapping: 2 of 6; around them 3×2, no corner is left over; centres 1 apart, the
# diagonal² is 13. Apart: around them 4×4, of which 8 are covered; centres (2, 2) apart of 4² + 4².
# Inside: 2 of 4; around them 2×2; centres ½ apart of 8; 2×1 against 2×2.
HAND = {
    "half": ([0, 0, 2, 2], [1, 0, 3, 2], [2 / 3, 2 / 3, 2 / 3 + 1 / 13, 2 / 3 + 1 / 13]),
    "apart": ([0, 0, 2, 2], [2, 2, 4, 4], [1, 1.5, 1.25, 1.25]),
    "same": ([1, 2, 4, 8], [1, 2, 4, 8], [0, 0, 0, 0]),
    "inside": ([0, 0, 2, 1], [0, 0, 2, 2],
               [0.5, 0.5, 0.5 + 1 / 32, 0.5 + 1 / 32 + V * V / (0.5 + V)]),
}  # fmt: skip


@pytest.mark.parametrize("case", HAND)
@pytest.mark.parametrize("name", BOXES)
def test_formulas_by_hand(name: str, case: str) -> None:
    pred, target, wanted = HAND[case]
    number = wanted[BOXES.index(name)]
    check_close(box_loss(name, pred, target) if case != "same" else 0, number, REFERENCE)
    tensors = [torch.tensor([each], dtype=torch.float64) for each in (pred, target)]
    check_close(lossbench.loss(name)(*tensors).tolist(), [number], REFERENCE)


@pytest.mark.parametrize("name", BOXES)
def test_values_of_images_are_means_over_objects(tmp_path: Path, name: str) -> None:
    """By pycocotools' matches at ½ and the published formulas."""
    truth, found = drawn(5)
    files = written(tmp_path, truth, found)
    evaluation = by_pycocotools(files)
    losses = [name, f"{name}(unmatched=none)", f"{name}(unmatched=all)", f"{name}(reduction=sum)"]
    result = lossbench.evaluate(*files, losses)

    def corners(entry: Side) -> list[float]:
        x, y, w, h = entry["bbox"]
        return [x, y, x + w, y + h]

    values: dict[int, list[tuple[str, float, bool]]] = {each["id"]: [] for each in truth["images"]}
    names = {each["id"]: each["name"] for each in truth["categories"]}
    for true, match in every_pair(evaluation):
        value = box_loss(name, corners(match), corners(true)) if match else WORST[name]
        values[true["image_id"]].append((names[true["category_id"]], value, match is not None))
    assert any(not hit for each in values.values() for _, _, hit in each)
    alarms = {
        each["id"]: sum(
            int(((e["dtMatches"][0] == 0) & ~e["dtIgnore"][0].astype(bool)).sum())
            for e in evaluation.evalImgs
            if e and e["image_id"] == each["id"] and e["aRng"] == evaluation.params.areaRng[0]
        )
        for each in truth["images"]
    }

    def mean(numbers: list[float]) -> float:
        return sum(numbers) / len(numbers) if numbers else math.nan

    for image in truth["images"]:
        place = result.ids.index(image["file_name"].removesuffix(".jpg"))
        mine = values[image["id"]]
        every = [value for _, value, _ in mine]
        wanted = [
            mean(every),
            mean([value for _, value, hit in mine if hit]),
            mean(every + [WORST[name]] * alarms[image["id"]]),
            sum(every) if every else math.nan,
        ]
        check_close([result.values[loss].samples[place] for loss in losses], wanted, REFERENCE)
        classes = [mean([value for of, value, _ in mine if of == c]) for c in result.class_names]
        check_close([row[place] for row in result.values[name].classes], classes, REFERENCE)
    whole = [value for each in values.values() for _, value, _ in each]
    check_close(result.values[name].pooled, mean(whole), REFERENCE)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-0.3, 0.3)] * 4), min_size=1, max_size=5), st.data())
def test_missing_an_object_never_improves_a_value(shifts: list[Any], data: Any) -> None:
    """Of objects side by side, each with a detection of its own, one detection is left out."""
    target = np.array([[20 * n, 0, 20 * n + 10, 10] for n in range(len(shifts))], np.float64)
    pred = target + 10 * np.array(shifts)
    left = np.delete(pred, data.draw(st.integers(0, len(shifts) - 1)), 0)
    before, after = (
        lossbench.evaluate(
            {"a": box(boxes=each, scores=np.full(len(each), 0.5))},
            {"a": box(boxes=target)},
            [*BOXES, AR],
        )
        for each in (pred, left)
    )
    for name in BOXES:
        assert after.values[name].samples[0] >= before.values[name].samples[0] - 1e-12
    assert after.values[AR].samples[0] <= before.values[AR].samples[0]


def test_nothing_found_is_the_worst_and_no_object_is_undefined(tmp_path: Path) -> None:
    truth, _ = drawn(0)
    truth["annotations"] = [e for e in truth["annotations"] if e["image_id"] != 3]
    result = lossbench.evaluate(*written(tmp_path, truth, []), [*BOXES, AP, AR])
    empty = result.ids.index("006")
    for name, value in [*WORST.items(), (AP, 0.0), (AR, 0.0)]:
        samples = result.values[name].samples
        assert math.isnan(samples[empty])
        assert {each for each in samples if not math.isnan(each)} == {value}
        assert result.values[name].pooled == value


@pytest.mark.parametrize("name", BOXES)
def test_gradients_of_boxes(name: str) -> None:
    rng = torch.Generator().manual_seed(1)
    sides = []
    for _ in range(2):
        low = torch.rand(6, 2, generator=rng, dtype=torch.float64)
        size = 0.2 + torch.rand(6, 2, generator=rng, dtype=torch.float64)
        sides.append(torch.cat([low, low + size], 1))
    pred, target = sides
    function = lossbench.loss(name)
    assert torch.autograd.gradcheck(lambda x: function(x, target), pred.requires_grad_())
    # Finite where boxes are the same, far apart, or have no area.
    for end in (target, target + 100, target[:, [0, 1, 0, 1]], target[:, [0, 1, 2, 1]]):
        box = end.clone().requires_grad_()
        (slope,) = torch.autograd.grad(function(box, target).sum(), box)
        assert slope.isfinite().all()
        assert function(box, target).max() <= WORST[name]


def test_training_takes_boxes_and_nothing_else() -> None:
    boxes = torch.rand(3, 4)
    for name, sides, message in (
        ("giou", (boxes, boxes[:2]), "expected boxes"),
        ("giou", (boxes[:, :3], boxes[:, :3]), "expected boxes"),
        (AP, (boxes, boxes), "judges scores"),
        ("detection", (boxes, boxes), "judges scores"),
        ("giou", ({"a": boxes}, boxes), "takes tensors"),
        ("mask_rcnn", (boxes, boxes), "takes mappings"),
    ):
        with pytest.raises(lossbench.SettingError, match=message):
            lossbench.loss(name)(*sides)


# --- scores and combinations ----------------------------------------------------------------------


def test_classification_of_detections(tmp_path: Path) -> None:
    """By hand: a hit of 0.8, a false alarm of 0.3, an object missed, in two classes."""
    truth = {
        "images": [{"id": 1}],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9]},
            {"id": 2, "image_id": 1, "category_id": 2, "bbox": [0, 0, 9, 9]},
        ],
    }
    found = [
        {"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.8},
        {"image_id": 1, "category_id": 1, "bbox": [0, 30, 9, 9], "score": 0.3},
    ]
    losses = ["bce", "binary_focal(gamma=2, alpha=none)", "detection", "balanced_bce",
              "detection(alpha=0.25, cls=binary_focal(gamma=2, alpha=none), box=ciou)",
              "detection(alpha=1, cls=bce(reduction=sum), box='diou(unmatched=all)')",
              "bce(class_weights=[1, 0])"]  # fmt: skip
    result = lossbench.evaluate(*written(tmp_path, truth, found), losses)
    each = [-math.log(0.8), -math.log(0.7), 100]  # the log is never below −100
    bce = sum(each) / 3
    focal = (0.2**2 * each[0] + 0.3**2 * each[1] + each[2]) / 3
    giou, ciou = (0 + 2) / 2, (0 + 2.5) / 2
    wanted = {
        "bce": bce,
        "binary_focal(gamma=2, alpha=none)": focal,
        "detection": (bce + giou) / 2,
        losses[4]: 0.25 * focal + 0.75 * ciou,
        losses[5]: sum(each),
        losses[6]: (each[0] + each[1]) / 2,
    }
    for name, value in wanted.items():
        check_close(result.values[name].samples, [value], REFERENCE, name)
    classes = [row[0] for row in result.values["bce"].classes]
    check_close(classes, [(each[0] + each[1]) / 2, 100], REFERENCE)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("dice", "dice has no meaning on a detection task"),
        ("detection(cls=dice)", "dice has no meaning on a detection task"),
        ("detection(box=gio)", "no loss is called 'gio'"),
        ("detection(cls=bce(gamma=1))", "bce has no option 'gamma'"),
        ("detection(cls=3)", "cls is a loss such as bce or binary_focal"),
        ("bce(weight_map=unet)", "needs pixels; boxes have none"),
        ("bce_with_logits", "needs logits"),
        (f"{AP}(iou_thresholds=1.5)", "iou_thresholds is a number from 0 to 1"),
        (f"{AP}(area=tiny)", "area is all, small, medium or large"),
        (
            f"{AP}(iou_thresholds=a)",
            "iou_thresholds is a number from 0 to 1 or a list of numbers from 0 to 1 or none",
        ),
    ],
)
def test_losses_without_a_meaning_are_refused(tmp_path: Path, loss: str, message: str) -> None:
    with pytest.raises(lossbench.SettingError, match=message):
        lossbench.plan(*written(tmp_path, *drawn(0)), loss)


def test_scores_that_are_no_probabilities(tmp_path: Path) -> None:
    truth, found = drawn(0)
    truth["annotations"].clear()
    found[0]["score"] = 3.5
    files = written(tmp_path, truth, found)
    assert not lossbench.evaluate(*files, [AP, "giou"]).failed
    (failed,) = lossbench.evaluate(*files, "bce").failed
    assert "has scores from 0 to 3.5; expected probabilities" in failed.message


def test_pspnets_auxiliary_term() -> None:
    rng = np.random.default_rng(3)
    pred, aux = rng.normal(size=(2, 2, 3, 4, 5))
    target = rng.integers(0, 3, (2, 4, 5)).astype(np.uint8)
    target[0, 0, :2] = 255
    losses = ["auxiliary", "auxiliary(aux_weight=0)", "auxiliary(aux_weight=2)"]
    result = lossbench.evaluate(
        pred, target, losses, inputs={"aux": aux}, pred_encoding="logits", ignore=255
    )
    for place in range(2):
        both = [
            functional.cross_entropy(
                torch.tensor(x[place][None]), torch.tensor(target[place][None]).long(),
                ignore_index=255,
            ).item()
            for x in (pred, aux)
        ]  # fmt: skip
        wanted = [both[0] + weight * both[1] for weight in (0.4, 0, 2)]
        found = [result.values[name].samples[place] for name in losses]
        check_close(found, wanted, REFERENCE)
    given = torch.tensor(pred).requires_grad_()
    labels = torch.tensor(target).long().clamp(max=2)
    loss = lossbench.loss("auxiliary")
    assert torch.autograd.gradcheck(
        lambda x: loss(x, labels, aux=torch.tensor(aux), encoding="logits"), given
    )
    with pytest.raises(lossbench.SettingError, match="auxiliary needs the role aux"):
        lossbench.plan(pred, target, "auxiliary", pred_encoding="logits")


# --- records --------------------------------------------------------------------------------------


def anchors(seed: int, positive: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    rng = np.random.default_rng(seed)
    labels = rng.choice([-1, 0, 1] if positive else [-1, 0], 20)
    labels[0] = 0
    of_region = rng.integers(0, 3, 5) if positive else np.zeros(5, int)
    pred = {
        "logits": rng.normal(size=20),
        "deltas": rng.normal(size=(20, 4)),
        "mask_logits": rng.normal(size=(5, 3, 6, 6)),
    }
    target = {
        "labels": labels,
        "deltas": rng.normal(size=(20, 4)),
        "mask_labels": of_region,
        "masks": rng.integers(0, 2, (5, 6, 6)),
    }
    return pred, target


def anchor_loss(
    pred: Any, target: Any, lambda_: float = 10.0, n_cls: int = 0, n_box: int = 0, beta: float = 1.0
) -> float:
    """Ren et al. 2015, equation 1, one anchor after another."""
    counted, of_class, of_box = 0, 0.0, 0.0
    for place, label in enumerate(target["labels"]):
        if label == -1:
            continue
        counted += 1
        p = 1 / (1 + math.exp(-pred["logits"][place]))
        of_class -= math.log(p if label else 1 - p)
        for x in (pred["deltas"][place] - target["deltas"][place]) * label:
            near = abs(x) < beta
            of_box += x * x / (2 * beta) if near else max(abs(x) - beta / 2, 0) * bool(label)
    return of_class / (n_cls or counted) + lambda_ * of_box / (n_box or counted)


def mask_loss(pred: Any, target: Any) -> float:
    """torchvision's maskrcnn_loss: the channel of each positive region's class."""
    positive = np.flatnonzero(target["mask_labels"])
    if not len(positive):
        return 0.0
    own = torch.tensor(pred["mask_logits"][positive, target["mask_labels"][positive]])
    masks = torch.tensor(target["masks"][positive]).double()
    return float(functional.binary_cross_entropy_with_logits(own, masks))


OPTIONS: list[dict[str, Any]] = [
    {}, {"lambda_": 1.5}, {"n_cls": 256, "n_box": 2400}, {"beta": 0.1}, {"beta": 0.0},
]  # fmt: skip


@pytest.mark.parametrize("how", OPTIONS, ids=str)
def test_anchors_and_masks_equal_loops(how: dict[str, Any]) -> None:
    records = [anchors(0), anchors(1), anchors(2, positive=False)]
    pred, target = ([pair[side] for pair in records] for side in (0, 1))
    given = ", ".join(f"{name}={value}" for name, value in how.items())
    names = [f"{name}({given})" if given else name for name in ("faster_rcnn", "mask_rcnn")]
    result = lossbench.evaluate(
        dict(enumerate(pred)), dict(enumerate(target)), names, task="records"
    )
    assert not result.failed
    for place, (p, t) in enumerate(records):
        of_anchors = anchor_loss(p, t, **how)
        found = [result.values[name].samples[place] for name in names]
        check_close(found, [of_anchors, of_anchors + mask_loss(p, t)], REFERENCE)
    assert mask_loss(*records[2]) == 0
    assert mask_loss(*records[0]) > 0


def test_only_the_channel_of_the_target_class_counts() -> None:
    pred, target = anchors(0)
    tensors = {name: torch.tensor(x)[None] for name, x in pred.items()}
    tensors["mask_logits"].requires_grad_()
    loss = lossbench.loss("mask_rcnn")
    truth = {name: torch.tensor(x)[None] for name, x in target.items()}
    value = loss(tensors, truth)
    check_close(value.tolist(), [anchor_loss(pred, target) + mask_loss(pred, target)], REFERENCE)
    (slope,) = torch.autograd.grad(value.sum(), tensors["mask_logits"])
    for region, channel in itertools.product(range(5), range(3)):
        counts = channel == target["mask_labels"][region] != 0
        assert bool((slope[0, region, channel] != 0).all()) == counts
        assert bool((slope[0, region, channel] == 0).all()) != counts


@pytest.mark.parametrize("name", ["faster_rcnn", "mask_rcnn"])
def test_gradients_of_records(name: str) -> None:
    pairs = [anchors(0), anchors(3)]
    pred, target = (
        {key: torch.tensor(np.stack([pair[side][key] for pair in pairs])) for key in pairs[0][side]}
        for side in (0, 1)
    )
    keys = list(pred) if name == "mask_rcnn" else ["logits", "deltas"]
    given = [pred[key].double().requires_grad_() for key in keys]
    loss = lossbench.loss(name)
    assert torch.autograd.gradcheck(
        lambda *tensors: loss({**pred, **dict(zip(keys, tensors, strict=True))}, target), given
    )


def test_anchors_that_are_all_left_out_are_undefined() -> None:
    pred, target = anchors(0)
    target["labels"] = np.full(20, -1)
    result = lossbench.evaluate({"a": pred}, {"a": target}, "faster_rcnn", task="records")
    assert math.isnan(result.values["faster_rcnn"].samples[0])
    assert result.aggregates["faster_rcnn"]["undefined"] == 1


WRONG: dict[str, tuple[str, Callable[[Any, Any], Any], str]] = {
    "missing": ("target", lambda p, t: t.pop("labels"),
                "has no tensor 'labels' (did you mean 'mask_labels'?); it has deltas,"),
    "missing in pred": ("pred", lambda p, t: p.pop("deltas"), "has no tensor 'deltas'"),
    "shape": ("pred", lambda p, t: p.update(deltas=np.zeros((20, 3))),
              "has deltas of shape (20, 3); expected (20, 4)"),
    "number": ("pred", lambda p, t: p.update(logits=np.zeros(19)),
               "has logits of shape (19,); expected (20)"),
    "label": ("target", lambda p, t: t.update(labels=np.full(20, 2)), "has the label 2"),
    "fraction": ("target", lambda p, t: t.update(labels=np.full(20, 0.5)), "not whole numbers"),
    "nan": ("pred", lambda p, t: p.update(logits=np.full(20, np.nan)), "not finite"),
    "channel": ("target", lambda p, t: t.update(mask_labels=np.full(5, 3)),
                "has the mask_label 3; the prediction's mask_logits have channels 0 to 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_records_that_do_not_fit_are_one_sentence(tmp_path: Path, case: str) -> None:
    role, change, message = WRONG[case]
    good, bad = anchors(0), anchors(1)
    change(*bad)
    folders = []
    for side, name in enumerate(("pred", "target")):
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        np.savez(folders[-1] / "good.npz", **good[side])
        np.savez(folders[-1] / "bad.npz", **bad[side])
    result = lossbench.evaluate(*folders, "mask_rcnn")
    assert result.ids == ["good"]
    (failed,) = result.failed
    assert (failed.role, failed.loss) == (role, "mask_rcnn")
    assert failed.message.startswith(f"{tmp_path / role / 'bad.npz'} {message}"[:60])
    assert message in failed.message
    assert result.exit_status == 3


class Malicious:
    """What runs a command where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (self.mark,)  # type: ignore[return-value]


@pytest.mark.parametrize("loss", ["mask_rcnn", "giou", AP])
@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_a_pickle_among_records_is_never_loaded(tmp_path: Path, ending: str, loss: str) -> None:
    mark, folder = tmp_path / "executed", tmp_path / "records"
    folder.mkdir()
    if ending == ".npz":
        np.savez(folder / "a.npz", boxes=np.array([Malicious(mark)]), scores=np.ones(1))
    else:
        (folder / "a.safetensors").write_bytes(pickle.dumps(Malicious(mark)))
    with pytest.raises(lossbench.LossbenchError):
        lossbench.evaluate(folder, folder, loss)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Malicious(mark)))  # the control: this is what it would have done
    assert mark.exists()


def as_records(truth: Side, found: list[Side], masks: bool = False) -> tuple[Side, Side]:
    """The same data set as named arrays of each image, labels as category ids."""
    sides: tuple[Side, Side] = ({}, {})
    for image in truth["images"]:
        for side, listed in zip(sides, (found, truth["annotations"]), strict=True):
            mine = [each for each in listed if each["image_id"] == image["id"]]
            boxes = np.array([each["bbox"] for each in mine]).reshape(-1, 4)
            arrays = {
                "boxes": np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1),
                "labels": np.array([each["category_id"] for each in mine], np.int64),
            }
            if listed is found:
                arrays["scores"] = np.array([each["score"] for each in mine])
            else:
                arrays["crowd"] = np.array([each["iscrowd"] for each in mine], np.uint8)
                arrays["area"] = np.array([each["area"] for each in mine], np.float64)
            if masks:
                coded = [
                    rle.merge(rle.frPyObjects(s, 300, 400)) if isinstance(s, list)
                    else rle.frPyObjects(s, 300, 400) if isinstance(s["counts"], list) else s
                    for s in (each["segmentation"] for each in mine)
                ]  # fmt: skip
                arrays["masks"] = np.array([rle.decode(each) for each in coded], np.uint8)
                arrays["masks"] = arrays["masks"].reshape(-1, 300, 400)
            side[image["file_name"].removesuffix(".jpg")] = arrays
    return sides


@pytest.mark.parametrize("kind", ["memory", ".npz", ".safetensors"])
def test_records_of_boxes_equal_the_json(tmp_path: Path, kind: str) -> None:
    truth, found = drawn(2)
    outlined(truth, found, 2)
    losses = [*STATS, *BOXES, "bce", f"{AP}(iou_type=segm)"]
    wanted = lossbench.evaluate(*written(tmp_path, truth, found), losses)
    sides: list[Any] = list(as_records(truth, found, masks=True))
    if kind != "memory":
        for place, side in enumerate(sides):
            folder = tmp_path / str(place)
            folder.mkdir()
            for name, arrays in side.items():
                if kind == ".npz":
                    np.savez(folder / name, **arrays)
                else:
                    save_file(arrays, folder / f"{name}.safetensors")
            sides[place] = folder
    names = {each["id"]: each["name"] for each in truth["categories"]}
    result = lossbench.evaluate(*sides, losses, task="detection", classes=names)
    assert not result.failed
    assert (result.ids, result.class_names) == (wanted.ids, wanted.class_names)
    for name in losses:
        check_close(result.values[name].samples, wanted.values[name].samples, REFERENCE, name)
        check_close(np.array(result.values[name].classes), np.array(wanted.values[name].classes),
                    REFERENCE)  # fmt: skip
    unnamed = lossbench.evaluate(*sides, "giou")  # the loss tells the task
    assert unnamed.class_names == ("1", "11", "21")
    assert unnamed.values["giou"].samples == result.values["giou"].samples


def box(**arrays: Any) -> Side:
    return {name: np.array(each) for name, each in arrays.items()}


ONE = [[0.0, 0.0, 2.0, 2.0]]
UNFIT: dict[str, tuple[Side, Side, str]] = {
    "no scores": (box(boxes=ONE), box(boxes=ONE),
                  "has no array 'scores'; it has boxes; expected boxes (N, 4) as x1, y1, x2, y2"),
    "no boxes": (box(scores=[1.0]), box(boxes=ONE), "has no array 'boxes'; it has scores"),
    "three": (box(boxes=[[0, 0, 2]], scores=[1.0]), box(boxes=ONE),
              "has boxes of shape (1, 3); expected (N, 4)"),
    "turned": (box(boxes=[[5, 0, 2, 2]], scores=[1.0]), box(boxes=ONE),
               "has the box [5, 0, 2, 2]; expected x1 ≤ x2"),
    "scores": (box(boxes=ONE, scores=[1.0, 0.5]), box(boxes=ONE),
               "has scores of shape (2,); expected (1,)"),
    "nan": (box(boxes=ONE, scores=[np.nan]), box(boxes=ONE), "has scores that are not finite"),
    "masks": (box(boxes=ONE, scores=[1.0], masks=np.zeros((2, 4, 4))), box(boxes=ONE),
              "has masks of shape (2, 4, 4); expected (1, height, width)"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNFIT)
def test_records_of_boxes_that_do_not_fit(case: str) -> None:
    pred, target, message = UNFIT[case]
    good = box(boxes=ONE, scores=[1.0])
    result = lossbench.evaluate({"a": good, "b": pred}, {"a": box(boxes=ONE), "b": target}, "giou")
    assert result.ids == ["a"]
    assert result.values["giou"].samples == [0.0]
    assert message in result.failed[0].message
    assert result.class_names == ("object",)


def test_records_of_something_else_are_told() -> None:
    records = {"a": {"logits": np.zeros(3), "deltas": np.zeros((3, 4))}}
    with pytest.raises(InputError, match=r"has no array 'boxes'; it has logits, deltas; expected"):
        lossbench.plan(records, records, "giou")


def test_a_label_without_a_class() -> None:
    pred = {str(n): box(boxes=ONE, scores=[1.0], labels=[n % 3]) for n in range(6)}
    target = {str(n): box(boxes=ONE, labels=[n % 3]) for n in range(6)}
    result = lossbench.evaluate(pred, target, "giou", classes="a,b")
    assert result.ids == ["0", "1", "3", "4"]
    assert "holds label 2 where the plan reads 0, 1" in result.failed[0].message


# --- JSON that does not fit -----------------------------------------------------------------------


def changed(change: Callable[[Side, list[Side]], Any]) -> tuple[Any, Any]:
    """A data set after a change, which may return another one altogether."""
    truth, found = drawn(0)
    return change(truth, found) or (truth, found)


def put(listed: str, **values: Any) -> Callable[[Side, list[Side]], None]:
    """Values of the second entry of a list."""
    return lambda truth, found: (found if listed == "found" else truth[listed])[1].update(values)


def without(listed: str, key: str) -> Callable[[Side, list[Side]], None]:
    def change(truth: Side, found: list[Side]) -> None:
        del (found if listed == "found" else truth[listed])[1][key]

    return change


BAD: dict[str, tuple[Callable[[Side, list[Side]], Any], str]] = {
    "no JSON": (lambda t, f: (t, "[{"), "cannot be read: it is no JSON"),
    "truth no JSON": (lambda t, f: ("{", f), "cannot be read: it is no JSON"),
    "not COCO": (lambda t, f: ({"a": 1}, f), "no list 'images', 'annotations' or 'categories'"),
    "a list": (lambda t, f: ([t], f), "is of another kind: it is a list, as results are"),
    "images no list": (lambda t, f: ({**t, "images": 3}, f), "it has no list 'images'; expected"),
    "no objects": (lambda t, f: (t, [1, 2]), "detection 1 is no object"),
    "no images": (lambda t, f: ({**t, "images": []}, []), "is in no image"),
    "no categories": (lambda t, f: ({**t, "categories": []}, []), "has no categories"),
    "unknown image": (put("found", image_id=999), "(image_id 999) is in no image"),
    "unknown image of truth": (put("annotations", image_id="x"), "is in no image"),
    "unknown category": (put("found", category_id=7), "category_id 7, which the ground truth"),
    "image list": (put("found", image_id=[3]), "has the image_id [3]; expected a whole number"),
    "three numbers": (put("found", bbox=[1, 2, 3]), "[1, 2, 3]; expected four finite numbers"),
    "words": (put("found", bbox=[1, 2, 3, "4"]), "expected four finite numbers"),
    "no bbox": (without("found", "bbox"), "has no bbox; expected COCO's results format"),
    "truth without bbox": (without("annotations", "bbox"), "has no bbox"),
    "negative": (put("found", bbox=[1, 2, -3, 4]), "whose width or height is below 0"),
    "negative truth": (put("annotations", bbox=[1, 2, 3, -4]), "width or height is below 0"),
    "infinite": (put("annotations", bbox=[1, 2, 3, math.inf]), "expected four finite numbers"),
    "nan score": (put("found", score=math.nan), "has the score nan; expected a finite number"),
    "no score": (without("found", "score"), "has no score"),
    "true score": (put("found", score=True), "has the score True"),
    "nan area": (put("annotations", area=math.nan), "has the area nan"),
    "image twice": (put("images", id=3), "has the id 3, which is there twice"),
    "name twice": (put("images", file_name="006.png"), "has two images '006'"),
    "annotation twice": (put("annotations", id=1), "has the id 1, which is there twice"),
    "category twice": (put("categories", id=1), "'kind 1' (1) is there twice"),
    "class name twice": (put("categories", name="kind 0"), "is there twice"),
    "category by a word": (put("categories", id="a"), "expected a whole number"),
    "no category_id": (without("annotations", "category_id"), "has no category_id"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_json_that_does_not_fit_is_one_sentence(tmp_path: Path, case: str) -> None:
    change, message = BAD[case]
    files = written(tmp_path, *changed(change))
    with pytest.raises(InputError) as caught:
        lossbench.plan(*files, task="detection")
    assert message in str(caught.value)
    assert str(caught.value).startswith((files[0], files[1]))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 3


SEGMENTS: dict[str, tuple[Any, str]] = {
    "size": ({"size": [3, 4], "counts": [12]}, "is of size [3, 4] where the picture is [300, 400]"),
    "pixels": ({"size": [300, 400], "counts": [5, 6]}, "run lengths of 11 pixels"),
    "negative": ({"size": [300, 400], "counts": [-5, 120005]}, "no whole numbers from 0"),
    "cut": ({"size": [300, 400], "counts": "Q"}, "end within a number"),
    "letters": ({"size": [300, 400], "counts": "é!"}, "has run lengths with"),
    "points": ([[1, 2, 3, 4]], "is no list of polygons"),
    "far": ([[1, 2, 3, 4, 5, 1e9]], "has a polygon far outside the picture"),
    "neither": ({"a": 1}, "is neither polygons nor run lengths"),
    "none": (None, "has no masks for iou_type=segm"),
}


@pytest.mark.parametrize("case", SEGMENTS)
def test_segmentations_that_do_not_fit_are_errors_of_their_image(tmp_path: Path, case: str) -> None:
    truth, found = drawn(0)
    outlined(truth, found, 0)
    found[0]["segmentation"], message = SEGMENTS[case]
    files = written(tmp_path, truth, found)
    loss = f"{AP}(iou_type=segm)"
    result = lossbench.evaluate(*files, loss)
    (failed,) = result.failed
    assert message in failed.message
    assert (failed.role, len(result.ids)) == ("pred", 5)
    assert "\n" not in failed.message
    assert not lossbench.evaluate(*files, AP).failed  # which needs no masks


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=9).filter(any))
def test_run_lengths_in_letters(counts: list[int]) -> None:
    counts = [counts[0], *(each or 1 for each in counts[1:])]
    size = [1, sum(counts)]
    letters = rle.frPyObjects({"size": size, "counts": counts}, *size)["counts"]
    assert decoded(letters) == counts


# --- the pipeline ---------------------------------------------------------------------------------


def test_the_command_prints_the_rule_and_the_status(
    tmp_path: Path, lossbench_command: Callable[..., Any]
) -> None:
    files = [SAMPLES / "detection" / name for name in ("results.json", "instances.json")]
    done = lossbench_command("eval", *files, "--loss", "giou", "-l", f"{AP}(iou_type=segm)")
    assert done.returncode == 0, done.stderr
    assert (
        "detection · pred: boxes (COCO results) · gt: boxes (COCO instances)"
        " · matched by class, best score first, IoU ≥ 0.5 · 2 classes · 6 pairs"
    ) in done.stderr
    explained = " ".join(lossbench_command("explain", "giou").stdout.split())
    assert "In order of descending score, a detection takes the object of its class" in explained
    assert "crowds, and detections in crowds, do not count" in explained
    bad = written(tmp_path, *changed(put("found", score=math.nan)))
    done = lossbench_command("eval", *bad, "--loss", "giou")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_json_and_other_inputs_do_not_mix(tmp_path: Path) -> None:
    files = written(tmp_path, *drawn(0))
    folder = str(SAMPLES / "binary" / "pred")
    for given_, how, message in (
        ((files[0], folder), {}, "are both JSON files"),
        (files, {"inputs": {"weight": folder}}, "are for folders"),
        (files, {"classes": "a,b"}, "COCO's instances name the categories"),
        (files, {"threshold": 0.3}, "--threshold has no meaning"),
        (files, {"task": "binary"}, "giou has no meaning on a binary task"),
        (files, {"ignore": "255"}, "--ignore has no meaning"),
    ):
        with pytest.raises(lossbench.SettingError, match=message):
            lossbench.plan(*given_, "giou", **how)
    with pytest.raises(InputError, match="boxes are read where PRED is COCO's results format"):
        lossbench.plan(files[1], files[1], "giou")


def test_without_pycocotools_the_command_to_install_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = written(tmp_path, *drawn(0))
    monkeypatch.setattr("lossbench.data.dataset.is_installed", lambda: False)
    with pytest.raises(lossbench.SettingError, match=r"pip install 'lossbench\[detection\]'"):
        lossbench.plan(*files, f"{AP}(iou_type=segm)")
    assert not lossbench.evaluate(*files, AP).failed


def test_values_do_not_depend_on_workers_or_the_order_of_entries(tmp_path: Path) -> None:
    truth, found = drawn(4, images=12)
    for place, each in enumerate(found):
        each["score"] += place / 1000  # entries of one score are ranked as they stand
    losses = [*STATS, *BOXES, "bce"]
    files = written(tmp_path, truth, found)
    wanted = lossbench.evaluate(*files, losses, workers=1)
    more = lossbench.evaluate(*files, losses, workers=3)
    assert repr(more.as_json()["aggregate"]) == repr(wanted.as_json()["aggregate"])
    for listed in (truth["images"], truth["annotations"], found):
        listed.reverse()
    turned = lossbench.evaluate(*written(tmp_path, truth, found), losses)
    for name in losses:
        # The order of objects is that of the file, and float sums may tell.
        check_close(turned.values[name].samples, wanted.values[name].samples, 1e-14)
        check_close(turned.values[name].pooled, wanted.values[name].pooled, 1e-14)


def test_the_value_of_a_group_is_that_of_its_images_alone(tmp_path: Path) -> None:
    truth, found = drawn(4, images=4)
    for place, image in enumerate(truth["images"]):
        image["file_name"] = f"{'ab'[place % 2]}/{place}.png"
    files = written(tmp_path, truth, found)
    result = lossbench.evaluate(*files, [AP, "giou"], group_by="{group}/{image}")
    for group in "ab":
        ids = {e["id"] for e in truth["images"] if e["file_name"].startswith(group)}
        part = {key: [e for e in truth[key] if e.get("image_id", e["id"]) in ids]
                for key in ("images", "annotations")}  # fmt: skip
        alone = lossbench.evaluate(
            *written(tmp_path, truth | part, [e for e in found if e["image_id"] in ids]),
            [AP, "giou"],
        )
        for name in (AP, "giou"):
            pooled = result.group_aggregates[group][name]["pooled"]
            assert pooled == alone.values[name].pooled


def test_two_hits_and_an_alarm(tmp_path: Path) -> None:
    """By hand."""
    where = {"image_id": 1, "category_id": 1}
    truth = {
        "images": [{"id": 1}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [
            {"id": n, **where, "bbox": [40 * n, 0, 10, 10], "area": 100} for n in (1, 2)
        ],
    }
    found = [
        {**where, "bbox": [40, 0, 10, 10], "score": 0.5},  # an IoU of 1
        {**where, "bbox": [80, 0, 10, 6.2], "score": 0.75},  # of 0.62
        {**where, "bbox": [200, 0, 10, 10], "score": 0.25},
    ]
    result = lossbench.evaluate(*written(tmp_path, truth, found), AP)
    # Precision 1 at all recalls for three thresholds, ½ up to a recall of ½ for seven.
    assert result.values[AP].pooled == pytest.approx((3 + 7 * 0.5 * 51 / 101) / 10)


@pytest.mark.parametrize("kind", ["json", "records"])
def test_shards_are_merged_to_the_last_bit(
    tmp_path: Path, kind: str, lossbench_command: Callable[..., Any]
) -> None:
    truth, found = drawn(6, images=7)
    sides: Any = written(tmp_path, truth, found)
    if kind == "records":
        for name, side in zip(("pred", "gt"), as_records(truth, found), strict=True):
            (tmp_path / name).mkdir()
            for image, arrays in side.items():
                np.savez(tmp_path / name / image, **arrays)
        sides = (tmp_path / "pred", tmp_path / "gt")
    losses = [
        part
        for loss in (AP, AR, "giou", f"{AP}(iou_thresholds=[0.5, 0.7])")
        for part in ("-l", loss)
    ]
    more = ["--group-by", "{a}{b}", "-q"]
    files = {name: tmp_path / f"{name}.json" for name in ("whole", "one", "two", "merged")}
    command = ["eval", *sides, *losses, *more]
    for name, shard in (("whole", ()), ("one", ("--shard", "1/2")), ("two", ("--shard", "2/2"))):
        assert lossbench_command(*command, *shard, "-o", files[name]).returncode == 0
    done = lossbench_command("merge", files["two"], files["one"], "-q", "-o", files["merged"])
    assert done.returncode == 0, done.stderr
    whole, merged = (json.loads(files[name].read_text()) for name in ("whole", "merged"))
    for key in whole.keys() - {"session"}:
        assert merged[key] == whole[key], key


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_a_killed_run_goes_on_unless_its_files_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """What was finished is cut at some byte; then a score changes."""
    monkeypatch.setattr("lossbench.engine.pipeline.PART_SECONDS", 0.0)
    monkeypatch.setattr("lossbench.engine.pipeline.DETECTION_PAIRS", 1)
    truth, found = drawn(6, images=7)
    files = written(tmp_path, truth, found)
    path = tmp_path / "r.json.part"

    def resumed() -> tuple[Side, int]:
        run = lossbench.plan(*files, [AP, "giou", "bce(pos_weight=auto)"])
        journal = run.checkpoint(str(path), resume=True)
        told: list[int] = []
        result = run.evaluate(lambda step: told.append(step.done), journal).as_json()
        journal.file.close()
        del result["session"]
        return result, len(told)

    whole, steps = resumed()
    os.truncate(path, int(path.stat().st_size * share))
    again, fewer = resumed()
    assert again == whole
    assert fewer < steps == 7
    found[-1]["score"] = 0.99
    written(tmp_path, truth, found)
    with pytest.raises(InputError, match="belongs to another run"):
        resumed()


def test_every_loss_and_option_of_the_family_is_tried_here() -> None:
    family = {entry.name: entry for entry in lossbench.list_losses("detection")}
    assert family.keys() == {*BOXES, AP, AR, "faster_rcnn", "mask_rcnn", "detection"}
    own = {
        option.name
        for entry in family.values()
        for option in entry.options.values()
        if option.owner in (entry.name, "BoxPairs", "RankedDetections")
    }
    assert own == {
        *("unmatched", "iou_thresholds", "area", "max_detections", "iou_type"),
        *("lambda_", "n_cls", "n_box", "beta", "alpha", "cls", "box"),
    }
