"""Matching of detections and average precision against loops over images and classes."""

from __future__ import annotations

import json
import math
import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.tolerances import check_close

import lossbench
from lossbench.data.formats import coco_entries
from lossbench.data.pairing.coco import normal_path, read_coco, without_suffix
from lossbench.geometry.box_matching import NONE, match

AREAS = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}
LEVELS = [0.5 + 0.05 * step for step in range(10)]


def match_one_by_one(
    overlap: list[list[float]], crowd: list[bool], ignored: list[bool], threshold: float
) -> list[int]:
    """The object of each detection, best detection first, by pycocotools' loop."""
    taken = [False] * len(crowd)
    order = sorted(range(len(crowd)), key=lambda index: ignored[index])
    result = []
    for row in overlap:
        best, chosen = min(threshold, 1 - 1e-10), NONE
        for index in order:
            if taken[index] and not crowd[index]:
                continue
            if chosen != NONE and not ignored[chosen] and ignored[index]:
                break
            if row[index] < best:
                continue
            best, chosen = row[index], index
        if chosen != NONE:
            taken[chosen] = True
        result.append(chosen)
    return result


@pytest.mark.parametrize("seed", range(20))
def test_matching_of_all_groups_equals_loops(seed: int) -> None:
    """Groups of any size, IoUs with many ties, crowds, and objects that do not count."""
    rng = np.random.default_rng(seed)
    thresholds = [0.3, 0.5, 0.75, 1.0]
    groups = np.sort(rng.integers(0, 12, rng.integers(0, 60)))
    of_object = np.sort(rng.integers(0, 12, rng.integers(0, 40)))
    crowd = rng.random(len(of_object)) < 0.2
    ignored = crowd | (rng.random(len(of_object)) < 0.3)
    pred, target = np.nonzero(groups[:, None] == of_object)
    overlap = rng.choice([0.0, 0.3, 0.5, 0.6, 0.75, 0.9, 1.0], len(pred))
    table = np.zeros((len(groups), len(of_object)))
    table[pred, target] = overlap
    expected = np.full((len(thresholds), len(groups)), NONE)
    for group in np.unique(groups):
        own, objects = np.flatnonzero(groups == group), np.flatnonzero(of_object == group)
        rows, flags = table[np.ix_(own, objects)].tolist(), (crowd[objects], ignored[objects])
        for level, threshold in enumerate(thresholds):
            chosen = match_one_by_one(rows, *(each.tolist() for each in flags), threshold)
            expected[level, own] = np.append(objects, NONE)[chosen]
    found = match(pred, target, overlap, groups, crowd, ignored, thresholds)
    assert found.tolist() == expected.tolist()


def drawn(seed: int, images: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Objects of all sizes in few places, so that many overlap, and detections with few scores."""
    rng = np.random.default_rng(seed)
    listed = [
        {"id": n, "file_name": f"{n}.jpg", "height": 400, "width": 400} for n in range(images)
    ]
    objects, detections = list[dict[str, Any]](), list[dict[str, Any]]()
    for image in range(images):
        for _ in range(rng.integers(0, 12)):
            x, y = (rng.integers(0, 5, 2) * 20.0).tolist()
            side = float(rng.choice([10, 20, 40, 80, 120]))
            where = {"image_id": image, "category_id": int(rng.integers(1, 4))}
            crowd = int(rng.random() < 0.2)
            box = {"bbox": [x, y, side, side], "area": side * side * 0.8, "iscrowd": crowd}
            objects.append({"id": len(objects) + 1, **where, **box})
            for _ in range(rng.integers(0, 4)):
                shift = rng.choice([0.0, 0.0, 2.0, 5.0, 9.0])
                near = {"bbox": [x + shift, y, side, side], "score": float(rng.integers(1, 5)) / 5}
                detections.append({**where, **near})
    categories = [{"id": n, "name": f"kind {n}"} for n in (1, 2, 3)]
    return {"images": listed, "annotations": objects, "categories": categories}, detections


def iou(pred: list[float], true: list[float], crowd: bool) -> float:
    width, height = (
        max(0.0, min(p + a, t + b) - max(p, t))
        for p, a, t, b in zip(pred[:2], pred[2:], true[:2], true[2:], strict=True)
    )
    both, size = width * height, pred[2] * pred[3]
    return both / (size if crowd else size + true[2] * true[3] - both)


def precision_by_loops(
    truth: dict[str, Any],
    detections: list[dict[str, Any]],
    images: list[int],
    category: int,
    area: str,
    most: int,
) -> float:
    """Average precision of one class in some images."""
    low, high = AREAS[area]
    of_levels = []
    for threshold in LEVELS:
        ranked, possible = list[tuple[float, int, bool]](), 0
        for image in images:
            where = (image, category)
            own, true = (
                [each for each in listed if (each["image_id"], each["category_id"]) == where]
                for listed in (detections, truth["annotations"])
            )
            own = sorted(own, key=lambda each: -each["score"])[:most]
            crowd = [bool(each["iscrowd"]) for each in true]
            ignored = [bool(each["iscrowd"]) or not low <= each["area"] <= high for each in true]
            table = [
                [iou(one["bbox"], each["bbox"], bool(each["iscrowd"])) for each in true]
                for one in own
            ]
            possible += ignored.count(False)
            taken = match_one_by_one(table, crowd, ignored, threshold)
            for number, (one, chosen) in enumerate(zip(own, taken, strict=True)):
                size = one["bbox"][2] * one["bbox"][3]
                counts = low <= size <= high if chosen == NONE else not ignored[chosen]
                if counts:
                    ranked.append((-one["score"], image * 1000 + number, chosen != NONE))
        if not possible:
            return math.nan
        points, hits = list[tuple[float, float]](), 0
        for number, (*_, is_hit) in enumerate(sorted(ranked), 1):
            hits += is_hit
            points.append((hits / possible, hits / number))
        highest = [
            max((p for r, p in points if r >= recall), default=0.0)
            for recall in np.linspace(0, 1, 101)
        ]
        of_levels.append(sum(highest) / 101)
    return sum(of_levels) / len(of_levels)


@pytest.mark.parametrize(("area", "most"), [("all", 100), ("small", 100), ("large", 3), ("all", 1)])
def test_every_class_of_every_image_equals_loops(tmp_path: Path, area: str, most: int) -> None:
    truth, detections = drawn(3, images=12)
    files = written(tmp_path, truth, detections)
    loss = f"average_precision_boxes(area={area},max_detections={most})"
    values = lossbench.evaluate(*files, [loss]).values[loss]
    images = sorted(range(12), key=str)
    for index, category in enumerate((1, 2, 3)):
        expected = [
            precision_by_loops(truth, detections, [image], category, area, most) for image in images
        ]
        assert values.class_columns is not None
        check_close(values.class_columns[index], expected, 1e-12)
        whole = precision_by_loops(truth, detections, list(range(12)), category, area, most)
        check_close(values.pooled_classes[index], whole, 1e-12)


def test_results_do_not_depend_on_batches_workers_and_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, detections = drawn(5, images=30)
    losses = ["average_precision_boxes", "average_recall_boxes(max_detections=2)", "giou"]

    def result(pairs: int, workers: int) -> dict[str, Any]:
        monkeypatch.setattr("lossbench.engine.pipeline.DETECTION_PAIRS", pairs)
        files = written(tmp_path, truth, detections)
        model = lossbench.evaluate(*files, losses, workers=workers).as_json()
        del model["session"]
        return model

    whole = result(1000, 1)
    assert result(1, 2) == whole
    assert result(7, 3) == whole
    truth["images"].reverse()
    assert result(5, 2) == whole


def test_a_value_is_the_same_beside_other_losses(tmp_path: Path) -> None:
    """Scores of all images together, boxes of one image, and options that follow from the run."""
    files = written(tmp_path, *drawn(7, images=9))
    losses = ["average_precision_boxes", "bce(pos_weight=auto)", "giou", "average_recall_boxes"]
    together = lossbench.evaluate(*files, losses)
    for loss in losses:
        alone = lossbench.evaluate(*files, [loss])
        check_close(together.values[loss].column, alone.values[loss].column, 0)
        assert together.values[loss].pooled == alone.values[loss].pooled


@pytest.mark.parametrize("parser", ["msgspec", "json"])
def test_usual_entries_read_as_unusual_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parser: str
) -> None:
    """Ids as text or as fractions, and keys that are left out, are read entry by entry."""
    if parser == "msgspec" and not find_spec("msgspec"):
        pytest.skip("needs msgspec")
    if parser == "json":
        monkeypatch.setattr("lossbench.data.pairing.coco.parse_quickly", lambda role, file: None)
    truth, detections = drawn(8, images=9)
    for entry in truth["annotations"][::3]:
        del entry["iscrowd"], entry["id"]
    usual = read_coco(*written(tmp_path, truth, detections))
    monkeypatch.setattr("lossbench.data.pairing.coco.parse_quickly", lambda role, file: None)
    for number, entry in enumerate([*truth["annotations"], *detections]):
        entry["image_id"] = (str, float)[number % 2](entry["image_id"])
        entry["category_id"] = f"kind {entry['category_id']}"
    unusual = read_coco(*written(tmp_path, truth, detections))
    assert len(usual.pairs) == len(unusual.pairs) == 9
    for one, other in zip(usual.pairs, unusual.pairs, strict=True):
        assert one.id == other.id
        for role in ("pred", "target"):
            own, second = one.sources[role][0], other.sources[role][0]
            assert (own.order, own.extent) == (second.order, second.extent)
            for column, same in zip(own.rows, second.rows, strict=True):
                assert column.tobytes() == same.tobytes()


def test_some_pairs_are_pickled_without_the_boxes_of_others(tmp_path: Path) -> None:
    pairs = read_coco(*written(tmp_path, *drawn(4, images=40))).pairs
    copies = pickle.loads(pickle.dumps(pairs[3:6]))
    assert len(pickle.dumps(pairs[3:6])) < len(pickle.dumps(pairs)) / 4
    for one, other in zip(pairs[3:6], copies, strict=True):
        for role in ("pred", "target"):
            own, copy = one.sources[role][0], other.sources[role][0]
            assert (own.order, own.extent, len(own)) == (copy.order, copy.extent, len(copy))
            assert all(map(np.array_equal, own.rows, copy.rows))


@pytest.mark.parametrize("broken", ["score", "bbox", "image_id", "id", "area"])
@pytest.mark.parametrize("value", [None, True, [1], 1e400])
def test_both_parsers_refuse_with_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, value: Any
) -> None:
    truth, detections = drawn(2, images=4)
    entries = truth["annotations"] if broken in ("id", "area") else detections
    entries[-1][broken] = value
    files, messages = written(tmp_path, truth, detections), []
    for parse in (coco_entries.parse_quickly, lambda role, file: None):
        monkeypatch.setattr("lossbench.data.pairing.coco.parse_quickly", parse)
        with pytest.raises(lossbench.InputError) as caught:
            read_coco(*files)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert broken in messages[0] or "is in no image" in messages[0]


@pytest.mark.parametrize(
    "path", ["a.jpg", "x/a.b.png", ".hidden", "a.", "x.d/a", "./a.jpg", "x//a.jpg", "x/./a", "a..b"]
)
def test_names_of_images_are_those_of_pathlib(path: str) -> None:
    from pathlib import PurePosixPath

    assert normal_path(path) == str(PurePosixPath(path))
    assert without_suffix(normal_path(path)) == str(PurePosixPath(path).with_suffix(""))


def written(folder: Path, truth: Any, detections: Any) -> tuple[str, str]:
    files = folder / "results.json", folder / "instances.json"
    for file, content in zip(files, (detections, truth), strict=True):
        file.write_text(json.dumps(content))
    return str(files[0]), str(files[1])
