"""Scores and confusion of detections at every confidence, against a plain matching."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.paths import SAMPLES

import lossbench

Command = Callable[..., subprocess.CompletedProcess[str]]
NAMES = {3: "cat", 5: "dog", 9: "cow"}


def coco(seed: int = 0) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Objects, some of them crowds, and detections around them and elsewhere."""
    random = np.random.default_rng(seed)
    annotations, results = [], []
    for image in range(1, 7):
        for number in range(6):
            x, y = random.integers(0, 60, 2).tolist()
            box = [x, y, *random.integers(15, 35, 2).tolist()]
            category = int(random.choice([3, 5]))
            annotations.append(
                {"id": 100 * image + number, "image_id": image, "category_id": category,
                 "bbox": box, "area": box[2] * box[3], "iscrowd": int(number == 5)}
            )  # fmt: skip
            for _ in range(2):
                near = (np.array(box) + random.integers(-5, 6, 4)).tolist()
                results.append(
                    {"image_id": image, "category_id": int(random.choice([category, 3, 9])),
                     "bbox": near, "score": round(float(random.random()), 2)}
                )  # fmt: skip
    images = [{"id": image, "width": 100, "height": 100} for image in range(1, 7)]
    categories = [{"id": each, "name": name} for each, name in NAMES.items()]
    return results, {"images": images, "annotations": annotations, "categories": categories}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "results.json", tmp_path / "instances.json"
    for path, content in zip(paths, coco(), strict=True):
        path.write_text(json.dumps(content))
    return paths


def overlap(box: Any, other: Any, *, is_crowd: bool) -> float:
    sides = [
        min(box[axis] + box[axis + 2], other[axis] + other[axis + 2]) - max(box[axis], other[axis])
        for axis in (0, 1)
    ]
    both = max(sides[0], 0) * max(sides[1], 0)
    area = box[2] * box[3]
    return both / (area if is_crowd else area + other[2] * other[3] - both)


def matched(threshold: float, iou: float, *, by_class: bool) -> list[tuple[str, str]]:
    """The classes of every object and its detection; "" where there is none."""
    results, truth = coco()
    pairs = []
    for image in truth["images"]:
        objects = [each for each in truth["annotations"] if each["image_id"] == image["id"]]
        free = list(objects)
        boxes = [each for each in results
                 if each["image_id"] == image["id"] and each["score"] >= threshold]  # fmt: skip
        for each in sorted(boxes, key=lambda each: -each["score"]):
            candidates = [
                (not other["iscrowd"], shared, other)
                for other in free
                if not by_class or other["category_id"] == each["category_id"]
                for shared in (
                    overlap(each["bbox"], other["bbox"], is_crowd=bool(other["iscrowd"])),
                )
                if shared >= iou
            ]
            best = max(candidates, key=lambda each: each[:2], default=(True, 0.0, None))[2]
            name = NAMES[each["category_id"]]
            if best is None:
                pairs.append(("", name))
            elif not best["iscrowd"]:
                free.remove(best)
                pairs.append((NAMES[best["category_id"]], name))
            elif not by_class:
                same = [other for other in objects if other["iscrowd"] and
                        other["category_id"] == each["category_id"] and
                        overlap(each["bbox"], other["bbox"], is_crowd=True) >= iou]  # fmt: skip
                if not same:
                    pairs.append(("", name))
        pairs += [(NAMES[each["category_id"]], "") for each in free if not each["iscrowd"]]
    return pairs


@pytest.mark.parametrize("iou", [0.5, 0.7])
def test_every_confidence_equals_a_matching_of_what_is_left(
    iou: float, files: tuple[Path, Path]
) -> None:
    ours = lossbench.thresholds(*files, iou=iou, steps=21)
    for index, threshold in enumerate(ours.thresholds):
        pairs = Counter(matched(float(threshold), iou, by_class=True))
        for name, curve in {"": ours.together, **ours.classes}.items():
            names = [name] if name else NAMES.values()
            tp = sum(pairs[each, each] for each in names)
            fp, fn = (sum(pairs[key] for key in keys) for keys in (
                [("", each) for each in names], [(each, "") for each in names]))  # fmt: skip
            expected = {
                "precision": tp / (tp + fp) if tp + fp else 0.0 if fn else np.nan,
                "recall": tp / (tp + fn) if tp + fn else np.nan,
                "f1": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else np.nan,
            }
            for score, value in expected.items():
                np.testing.assert_allclose(curve.curves[score][index], value, atol=1e-12)


def test_the_best_confidence_is_one_that_occurs(files: tuple[Path, Path]) -> None:
    ours = lossbench.thresholds(*files)
    best = ours.together.best

    def f1(threshold: float) -> float:
        pairs = Counter(matched(threshold, 0.5, by_class=True))
        tp = sum(pairs[name, name] for name in NAMES.values())
        errors = sum(count for pair, count in pairs.items() if "" in pair)
        return 2 * tp / (2 * tp + errors)

    scores = sorted({each["score"] for each in coco()[0]})
    assert best.value == pytest.approx(max(map(f1, scores)), abs=1e-12)
    assert best.threshold in scores
    assert f1(best.threshold) == pytest.approx(best.value, abs=1e-12)
    low, high = best.plateau
    assert low <= best.threshold <= high
    assert all(f1(each) >= 0.99 * best.value for each in (low, high))


def test_the_confusion_is_that_of_any_class(files: tuple[Path, Path]) -> None:
    ours = lossbench.thresholds(*files)
    pairs = Counter(matched(ours.together.best.threshold, 0.5, by_class=False))
    names = [*NAMES.values(), ""]
    expected = [[pairs[row, column] for column in names] for row in names]
    assert ours.confusion.tolist() == expected
    model = ours.as_json()["confusion"]
    assert model["classes"] == [*NAMES.values(), "background"]
    assert model["objects_by_detections"] == expected


def test_the_command_prints_and_writes_confidences(
    lossbench_command: Command, tmp_path: Path
) -> None:
    folder = SAMPLES / "detection"
    files = folder / "results.json", folder / "instances.json"
    outputs = [tmp_path / "all.json", tmp_path / "all.csv"]
    options = [word for output in outputs for word in ("-o", output)]
    done = lossbench_command("thresholds", *files, *options, "--iou", "0.6")
    assert done.returncode == 0
    model = json.loads(outputs[0].read_text())
    assert model["iou"] == 0.6
    assert list(model["classes"]) == ["person", "car"]
    best = model["all"]["best"]
    assert f"which confidence?\n{best['threshold']} gives the best F1" in done.stdout
    lines = outputs[1].read_text().splitlines()
    assert lines[0].startswith("threshold,precision,recall,f1,precision[person]")
    assert len(lines) == 258
    assert "f1" in lossbench.render(lossbench.thresholds(*files), "table", blocks=True)


def test_a_figure_of_confidences(tmp_path: Path, files: tuple[Path, Path]) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "f1.svg"
    lossbench.save(lossbench.thresholds(*files), path)
    assert "<svg" in path.read_text()
