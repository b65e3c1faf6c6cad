"""Doubts: raised by inputs that deserve them and not by their healthy twins."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.paths import SAMPLES as SAMPLE_DATA
from scipy import ndimage

import lossbench
from lossbench.catalog.tasks import DOUBTS
from lossbench.results.doubts.judge import JUDGES

SIZE = 48
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]
Arrays = Mapping[str, Any]


def disk(row: float, column: float, radius: float) -> Any:
    return (ROWS - row) ** 2 + (COLUMNS - column) ** 2 < radius**2


def masks(count: int = 10, jitter: float = 0.0, seed: int = 0) -> dict[str, Any]:
    """A disk in each picture, off its place by some pixels."""
    rng, noise = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    places = rng.uniform(10, SIZE - 10, (count, 2))
    radii = rng.uniform(5, 9, count)
    moved = places + noise.uniform(-jitter, jitter, (count, 2))
    return {
        f"{index:03}.png": (disk(*place, radius) * 255).astype(np.uint8)
        for index, (place, radius) in enumerate(zip(moved, radii, strict=True))
    }


def labels(count: int = 10, jitter: float = 0.0, classes: int = 4, seed: int = 0) -> Arrays:
    """Disks of classes 1, 2, … on a background."""
    rng, noise = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    maps = {}
    for index in range(count):
        canvas = np.zeros((SIZE, SIZE), np.uint8)
        for of_class in range(1, classes):
            for _ in range(2):
                place = rng.uniform(6, SIZE - 6, 2) + noise.uniform(-jitter, jitter, 2)
                canvas[disk(*place, rng.uniform(5, 8))] = of_class
        maps[f"{index:03}.png"] = canvas
    return maps


def pictures(count: int = 6, noise: float = 0.0) -> dict[str, Any]:
    rng, extra = np.random.default_rng(3), np.random.default_rng(4)
    found = {}
    for index in range(count):
        smooth = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE, 3)), (6, 6, 0))
        smooth = (smooth - smooth.min()) / np.ptp(smooth)
        noisy = smooth + noise * extra.normal(size=smooth.shape)
        found[f"{index:03}.png"] = (noisy.clip(0, 1) * 255).astype(np.uint8)
    return found


def of_each(arrays: Arrays, change: Callable[[Any], Any]) -> dict[str, Any]:
    return {name: np.ascontiguousarray(change(array)) for name, array in arrays.items()}


def rolled(arrays: Arrays) -> dict[str, Any]:
    """Each file with the content of the next one."""
    values = list(arrays.values())
    return dict(zip(arrays, [*values[1:], values[0]], strict=True))


def softmax(maps: Arrays, classes: int, scale: float = 1.0) -> dict[str, Any]:
    return {
        name.replace(".png", ".npy"): (
            scale * np.stack([0.1 + 0.6 * (each == of_class) for of_class in range(classes)])
        ).astype(np.float32)
        for name, each in maps.items()
    }


TRUTH, GOOD = masks(), masks(jitter=1.5)
MAPS, GOOD_MAPS = labels(), labels(jitter=1.0)
PHOTOS, GOOD_PHOTOS = pictures(), pictures(noise=0.03)
SWAP, SHIFT = np.array([0, 2, 1, 3], np.uint8), np.array([0, 1, 2, 3], np.uint8) + 1
NUMBERED = {
    f"{index}.png": sum(
        (disk(8 + 10 * (number // 4), 8 + 10 * (number % 4), 4) * (number + 1))
        for number in range(4 + index)
    ).astype(np.uint8)
    for index in range(4)
}
# By kind: predictions, ground truth, arguments; the predictions of the healthy twin.
CASES: dict[str, list[tuple[Any, Any, Sequence[str], Any]]] = {
    "equal_predictions": [
        (dict.fromkeys(TRUTH, GOOD["000.png"]), TRUTH, (), GOOD),
        (dict.fromkeys(MAPS, GOOD_MAPS["000.png"]), MAPS, (), GOOD_MAPS),
        (dict.fromkeys(PHOTOS, GOOD_PHOTOS["001.png"]), PHOTOS, (), GOOD_PHOTOS),
    ],
    "nothing_predicted": [
        (of_each(TRUTH, np.zeros_like), TRUTH, (), GOOD),
        (of_each(TRUTH, lambda each: np.uint8(60 + each // 4 + COLUMNS % 5)), TRUTH, (),
         of_each(GOOD, lambda each: np.uint8(60 + each // 2 + COLUMNS % 5))),
        (of_each(MAPS, np.zeros_like), MAPS, (), GOOD_MAPS),
        (of_each(TRUTH, np.zeros_like), TRUTH, ("-l", "hausdorff"), GOOD),
    ],
    "class_never_predicted": [
        (of_each(GOOD_MAPS, lambda each: np.where(each == 2, 0, each)), MAPS, (), GOOD_MAPS),
        (of_each(GOOD_MAPS, lambda each: np.where(each == 3, 0, each)), MAPS,
         ("-l", "hausdorff"), GOOD_MAPS),
    ],
    "unknown_classes": [
        (of_each(GOOD_MAPS, lambda each: np.where((each == 0) & (ROWS > 40), 4, each)), MAPS, (),
         of_each(GOOD_MAPS, lambda each: np.where((each == 0) & (ROWS < 1) & (COLUMNS < 9), 4,
                                                  each))),
    ],
    "shifted_labels": [
        (of_each(GOOD_MAPS, lambda each: each), of_each(MAPS, lambda each: each + 1), (),
         of_each(GOOD_MAPS, lambda each: each + 1)),
        (of_each(GOOD_MAPS, lambda each: each + 1), MAPS, ("-l", "hausdorff"), GOOD_MAPS),
    ],
    "swapped_labels": [
        (of_each(GOOD_MAPS, SWAP.__getitem__), MAPS, (), GOOD_MAPS),
    ],
    "inverted": [
        (of_each(GOOD, lambda each: 255 - each), TRUTH, (), GOOD),
        (of_each(GOOD_PHOTOS, lambda each: 255 - each), PHOTOS, (), GOOD_PHOTOS),
    ],
    "oriented": [
        (of_each(GOOD, lambda each: each.T), TRUTH, (), GOOD),
        (of_each(GOOD, np.fliplr), TRUTH, (), GOOD),
        (of_each(GOOD_MAPS, np.rot90), MAPS, (), GOOD_MAPS),
        (of_each(GOOD_PHOTOS, np.flipud), PHOTOS, (), GOOD_PHOTOS),
        (of_each(NUMBERED, lambda each: each[::-1]), NUMBERED, ("--task", "instances"), NUMBERED),
    ],
    "wrong_pairs": [
        (rolled(GOOD), TRUTH, (), GOOD),
        (rolled(GOOD_MAPS), MAPS, (), GOOD_MAPS),
        (rolled(GOOD_PHOTOS), PHOTOS, (), GOOD_PHOTOS),
        (rolled(masks(200, 1.5)), masks(200), (), masks(200, 1.5)),
    ],
    "instance_labels": [
        (NUMBERED, NUMBERED, ("--task", "multiclass"), None),
    ],
    "sum_of_classes": [
        (softmax(MAPS, 4, 0.7), MAPS, ("-l", "accuracy"), softmax(MAPS, 4)),
    ],
}  # fmt: skip


@pytest.fixture
def doubts(
    folder: Callable[..., Path], lossbench_command: Callable[..., Any], tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """Run the command on two folders of arrays; the doubts of its result by kind."""

    def run(pred: Any, target: Any, *arguments: str) -> dict[str, Any]:
        sides = []
        for name, side in (("pred", pred), ("gt", target)):
            if isinstance(side, Mapping):
                shutil.rmtree(tmp_path / name, ignore_errors=True)
                side = folder(name, side)
            sides.append(side)
        result = tmp_path / "result.json"
        result.unlink(missing_ok=True)
        ended = lossbench_command("eval", *sides, *arguments, "-q", "-o", result, cwd=tmp_path)
        assert result.exists(), ended.stderr
        found = json.loads(result.read_text())["run"]["doubts"]
        for each in found:
            assert each["kind"] in DOUBTS
            assert each["message"].endswith(each["kind"])
            assert each["count"] >= 1
            assert each["accepted"] or f"doubt: {each['message']}" in ended.stderr
        return {each["kind"]: each for each in found}

    return run


def test_every_kind_has_a_judge_in_the_order_of_the_list() -> None:
    assert tuple(JUDGES) == DOUBTS


@pytest.mark.parametrize(
    ("kind", "case"), [(kind, case) for kind, cases in CASES.items() for case in range(len(cases))]
)
def test_a_kind_is_raised_where_it_is_deserved(doubts: Any, kind: str, case: int) -> None:
    pred, target, arguments, healthy = CASES[kind][case]
    assert set(doubts(pred, target, *arguments)) == {kind}
    if healthy is not None:
        assert not doubts(healthy if healthy is not target else dict(target), target, *arguments)


def test_links_and_one_folder_are_the_same_files(doubts: Any, folder: Any, tmp_path: Path) -> None:
    target = folder("gt", TRUTH)
    linked = tmp_path / "links"
    linked.mkdir()
    for index, name in enumerate(TRUTH):
        (os.symlink if index % 2 else os.link)(target / name, linked / name)
    assert doubts(linked, target)["same_files"]["count"] == len(TRUTH)
    assert doubts(target, target)["same_files"]["count"] == len(TRUTH)
    shutil.copytree(target, tmp_path / "copies")
    assert not doubts(tmp_path / "copies", target)


def test_labels_far_beyond_the_sample_continue(doubts: Any) -> None:
    target = dict(labels(60))
    target["001.png"] = target["001.png"].copy()
    target["001.png"][:3, :3] = 40
    found = doubts(labels(60, 1.0), target)
    assert found["continued_labels"]["count"] == 1
    target["001.png"][:3, :3] = 4
    assert not doubts(labels(60, 1.0), target)


def test_labels_that_both_sides_have_beyond_the_sample_are_a_rare_class(doubts: Any) -> None:
    target, pred = dict(labels(60)), dict(labels(60, 1.0))
    for side in (pred, target):
        side["001.png"] = side["001.png"].copy()
        side["001.png"][:3, :3] = 40
    assert not doubts(pred, target)
    del target["001.png"], pred["001.png"]
    pred["002.png"] = pred["002.png"].copy()
    pred["002.png"][:3, :3] = 40
    assert "continued_labels" in doubts(pred, target)


def test_predicted_labels_that_go_on_beyond_the_true_ones_are_a_doubt(doubts: Any) -> None:
    """Numbers of objects among classes; a model that takes one class for another has no such."""
    target, pred = labels(10), dict(labels(10, 1.0))
    for index in (1, 2, 3):
        pred[f"{index:03}.png"] = np.where(pred[f"{index:03}.png"] > 0, 4 + index, 0).astype("u1")
    assert doubts(pred, target)["continued_labels"]["count"] == 1
    of_one = {name: np.where(each == 7, 1, each) for name, each in pred.items()}
    assert "continued_labels" not in doubts(of_one, target)


def test_a_gate_on_an_infinite_mean_is_a_doubt(doubts: Any) -> None:
    pred = {**GOOD_PHOTOS, "000.png": PHOTOS["000.png"]}
    found = doubts(pred, PHOTOS, "-l", "psnr", "--gate", "psnr.mean >= 30")
    assert found["infinite_mean"]["count"] == 1
    assert not doubts(pred, PHOTOS, "-l", "psnr", "--gate", "psnr.median >= 10")
    assert not doubts(GOOD_PHOTOS, PHOTOS, "-l", "psnr", "--gate", "psnr.mean >= 10")


def test_a_baseline_of_other_pairs_is_a_doubt(
    doubts: Any, folder: Any, lossbench_command: Any, tmp_path: Path
) -> None:
    some = list(TRUTH)[:6]
    sides = [folder(f"some_{name}", {each: side[each] for each in some})
             for name, side in (("pred", GOOD), ("gt", TRUTH))]  # fmt: skip
    lossbench_command("eval", *sides, "-q", "-l", "dice", "-o", tmp_path / "some.json")
    gate = ("-l", "dice", "--gate", "dice.mean <= baseline + 0.5")
    found = doubts(GOOD, TRUTH, *gate, "--baseline", str(tmp_path / "some.json"))
    assert found["baseline_pairs"]["count"] == 10
    assert "6 pairs and this run 10" in found["baseline_pairs"]["message"]
    lossbench_command("eval", tmp_path / "pred", tmp_path / "gt", "-q", "-l", "dice", "-o",
                      tmp_path / "all.json")  # fmt: skip
    assert not doubts(GOOD, TRUTH, *gate, "--baseline", str(tmp_path / "all.json"))


def coco(tmp_path: Path, change: Callable[[list[float]], list[float]], objects: int = 3) -> Any:
    """COCO files of five pictures of 100 × 80 pixels."""
    rng = np.random.default_rng(0)
    boxes = [(image, [float(x) for x in (*rng.uniform(0, 60, 2), *rng.uniform(8, 20, 2))])
             for image in range(5) for _ in range(objects)]  # fmt: skip
    truth = {
        "images": [{"id": image, "file_name": f"{image}.png", "width": 100, "height": 80}
                   for image in range(5)],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [
            {"id": number, "image_id": image, "category_id": 1, "bbox": box,
             "area": box[2] * box[3], "iscrowd": 0}
            for number, (image, box) in enumerate(boxes)
        ],
    }  # fmt: skip
    results = [
        {"image_id": image, "category_id": 1, "score": 0.9, "bbox": change(box)}
        for image, box in boxes
    ]
    for name, content in (("results", results), ("instances", truth)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path / "results.json", tmp_path / "instances.json"


def test_boxes_beyond_their_pictures_are_a_doubt(doubts: Any, tmp_path: Path) -> None:
    corners = coco(tmp_path, lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])
    assert set(doubts(*corners)) == {"boxes_outside"}
    shares = coco(tmp_path, lambda b: [b[0] / 100, b[1] / 80, b[2] / 100, b[3] / 80])
    assert set(doubts(*shares)) == {"boxes_outside"}
    assert not doubts(*coco(tmp_path, lambda b: [b[0] + 0.5, *b[1:]]))


def test_more_objects_than_detections_that_count_are_a_doubt(doubts: Any, tmp_path: Path) -> None:
    files = coco(tmp_path, list, objects=12)
    loss = ("-l", "average_precision_boxes(max_detections=10)")
    assert doubts(*files, *loss)["many_objects"]["count"] == 5
    assert not doubts(*files, "-l", "average_precision_boxes(max_detections=12)")


# Strictness, acceptance and gates


def test_strict_makes_a_doubt_an_error_unless_it_is_accepted(
    folder: Any, lossbench_command: Any, tmp_path: Path
) -> None:
    sides = folder("pred", of_each(GOOD, lambda each: 255 - each)), folder("gt", TRUTH)

    def status(*arguments: str) -> int:
        return int(lossbench_command("eval", *sides, "-l", "dice", "-q", *arguments).returncode)

    assert status() == 0
    assert status("--strict") == 3
    assert status("--strict", "--exit-zero") == 3
    assert status("--strict", "--accept", "oriented") == 3
    assert status("--strict", "--accept", "inverted") == 0
    assert status("--gate", "doubts == 0") == 1
    assert status("--gate", "doubts == 0", "--accept", "inverted") == 0
    assert status("--accept", "invertd") == 2
    (tmp_path / "gate.yaml").write_text("losses: dice\nstrict: true\n")
    assert status("-c", str(tmp_path / "gate.yaml")) == 3
    (tmp_path / "gate.yaml").write_text("losses: dice\nstrict: true\naccept: [inverted]\n")
    assert status("-c", str(tmp_path / "gate.yaml")) == 0


def test_the_preset_for_ci_is_strict(folder: Any, lossbench_command: Any) -> None:
    gt = folder("gt", TRUTH)
    ended = lossbench_command("eval", gt, gt, "-c", "ci-gate")
    assert ended.returncode == 3
    assert "same_files" in ended.stderr
    assert lossbench_command("eval", folder("pred", GOOD), gt, "-c", "ci-gate").returncode != 3


def test_every_output_names_a_doubt(folder: Any, lossbench_command: Any, tmp_path: Path) -> None:
    sides = folder("pred", of_each(GOOD, lambda each: 255 - each)), folder("gt", TRUTH)
    outputs = [tmp_path / f"run.{ending}" for ending in ("json", "jsonl", "xml", "md", "parquet")]
    arguments = [word for path in outputs for word in ("-o", path)]
    ended = lossbench_command("eval", *sides, "-l", "dice", "--strict", "-f", "github", *arguments)
    assert ended.returncode == 3
    assert "::error title=doubt::" in ended.stdout
    texts = [path.read_text() for path in outputs[:-1]]
    assert all("would agree far better" in text for text in texts)
    assert '<failure type="doubt"' in texts[2]
    page = tmp_path / "page.html"
    for path in (outputs[0], outputs[-1]):
        assert lossbench_command("report", path, "-o", page).returncode == 0
        assert "would agree far better" in page.read_text()


# The same doubts, any way


@pytest.mark.parametrize("kind", ["inverted", "nothing_predicted", "wrong_pairs", "oriented"])
def test_shards_give_the_same_doubts(
    folder: Any, lossbench_command: Any, tmp_path: Path, kind: str
) -> None:
    pred, target, arguments, _ = CASES[kind][0]
    sides = folder("pred", pred), folder("gt", target)
    common = (*sides, "-l", "dice", "--gate", "doubts == 0", *arguments)
    whole = lossbench_command("eval", *common, "-o", tmp_path / "whole.json")
    assert whole.returncode == 1
    shards = [tmp_path / f"{index}.json" for index in (1, 2, 3)]
    for index, path in enumerate(shards, 1):
        ended = lossbench_command("eval", *common, "--strict", "--shard", f"{index}/3", "-o", path)
        assert ended.returncode == 0
        assert "merge judges" in ended.stderr
        assert json.loads(path.read_text())["run"]["doubts"] == []
    merged = tmp_path / "merged.json"
    assert lossbench_command("merge", *shards, "-o", merged).returncode == 1
    assert lossbench_command("merge", *shards, "--strict").returncode == 3
    assert lossbench_command("merge", *shards, "--strict", "--accept", kind).returncode == 0
    one, other = (json.loads(path.read_text()) for path in (tmp_path / "whole.json", merged))
    assert one["run"]["doubts"] == other["run"]["doubts"]
    assert [each["kind"] for each in one["run"]["doubts"]] == [kind]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 7])
def test_workers_and_batches_give_the_same_doubts(
    folder: Any, workers: int, batch_size: int
) -> None:
    sides = folder("pred", of_each(GOOD_MAPS, SWAP.__getitem__)), folder("gt", MAPS)
    for losses in ("dice", "hausdorff"):
        plain = lossbench.evaluate(*sides, losses)
        other = lossbench.evaluate(*sides, losses, workers=workers, batch_size=batch_size)
        assert [each.kind for each in plain.doubts] == ["swapped_labels"]
        assert plain.doubts == other.doubts


def test_a_resumed_run_gives_the_same_doubts(folder: Any, tmp_path: Path) -> None:
    sides = folder("pred", rolled(GOOD)), folder("gt", TRUTH)
    run = lossbench.plan(*sides, "dice")
    plain = run.evaluate()

    def stop(progress: Any) -> None:
        if progress.done >= 4:
            raise KeyboardInterrupt

    small = lossbench.plan(*sides, "dice", batch_size=2, workers=1)
    checkpoint = small.checkpoint(str(tmp_path / "run.part"))
    with pytest.raises(KeyboardInterrupt):
        small.evaluate(stop, checkpoint)
    checkpoint.close(done=False)
    again = small.checkpoint(str(tmp_path / "run.part"), resume=True)
    resumed = small.evaluate(None, again)
    assert again.samples > 0
    assert resumed.doubts == plain.doubts
    assert [each.kind for each in plain.doubts] == ["wrong_pairs"]


def test_a_cluster_gives_the_same_doubts(folder: Any) -> None:
    pytest.importorskip("distributed")
    sides = folder("pred", of_each(GOOD, np.flipud)), folder("gt", TRUTH)
    plain = lossbench.evaluate(*sides, "dice")
    assert lossbench.evaluate(*sides, "dice", engine="dask").doubts == plain.doubts != []


# Sabotage: a gate that a good model passes, and runs that it would let pass or blame on the model


def stretched(arrays: Arrays) -> dict[str, Any]:
    return of_each(arrays, lambda each: np.kron(each, np.ones((2, 2), np.uint8)))


def half(arrays: Arrays) -> dict[str, Any]:
    return dict(list(arrays.items())[::2])


SABOTAGE: dict[str, tuple[Any, Any, Sequence[str], Sequence[str]]] = {
    "blank masks": (of_each(TRUTH, np.zeros_like), TRUTH, (), ["nothing_predicted"]),
    "full masks": (of_each(TRUTH, lambda each: each * 0 + 255), TRUTH, (), ["equal_predictions"]),
    "inverted masks": (of_each(GOOD, lambda each: 255 - each), TRUTH, (), ["inverted"]),
    "inverted truth": (GOOD, of_each(TRUTH, lambda each: 255 - each), (), ["inverted"]),
    "inverted pictures": (of_each(GOOD_PHOTOS, np.invert), PHOTOS, (), ["inverted"]),
    "blank label maps": (of_each(MAPS, np.zeros_like), MAPS, (), ["nothing_predicted"]),
    "swapped classes": (of_each(GOOD_MAPS, SWAP.__getitem__), MAPS, (), ["swapped_labels"]),
    "labels from 0": (GOOD_MAPS, of_each(MAPS, SHIFT.__getitem__), (), ["shifted_labels"]),
    "labels from 1": (of_each(GOOD_MAPS, SHIFT.__getitem__), MAPS, (), ["shifted_labels"]),
    "rolled images": (rolled(GOOD), TRUTH, (), ["wrong_pairs"]),
    "rolled label maps": (rolled(GOOD_MAPS), MAPS, (), ["wrong_pairs"]),
    "reversed images": (dict(zip(TRUTH, [*GOOD.values()][::-1], strict=True)), TRUTH, (),
                        ["wrong_pairs"]),
    "other folder": (masks(seed=50), TRUTH, (), []),
    "folder of the truth": (None, TRUTH, (), ["same_files"]),
    "other scale": (stretched(GOOD), TRUTH, (), []),
    "half missing": (half(GOOD), TRUTH, (), []),
    "duplicated": (dict.fromkeys(TRUTH, GOOD["003.png"]), TRUTH, (), ["equal_predictions"]),
    "duplicated pictures": (dict.fromkeys(PHOTOS, GOOD_PHOTOS["003.png"]), PHOTOS, (),
                            ["equal_predictions"]),
    "transposed": (of_each(GOOD, np.transpose), TRUTH, (), ["oriented"]),
    "flipped pictures": (of_each(GOOD_PHOTOS, np.fliplr), PHOTOS, (), ["oriented"]),
    "turned label maps": (of_each(GOOD_MAPS, np.rot90), MAPS, (), ["oriented"]),
    "a class left out": (of_each(GOOD_MAPS, lambda each: np.where(each == 1, 0, each)), MAPS, (),
                         ["class_never_predicted"]),
    "map below the threshold": (of_each(GOOD, lambda each: each // 3 + np.uint8(COLUMNS % 7)),
                                TRUTH, (), ["nothing_predicted"]),
    "one perfect picture": ({**GOOD_PHOTOS, "000.png": PHOTOS["000.png"]}, PHOTOS,
                            ("--gate", "psnr.mean >= 60"), ["infinite_mean"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SABOTAGE)
def test_sabotage_does_not_pass_unnoticed(
    folder: Any, lossbench_command: Any, tmp_path: Path, name: str
) -> None:
    pred, target, arguments, kinds = SABOTAGE[name]
    of_pictures = target is PHOTOS
    gates = arguments or ("--gate", "l1.mean <= 0.1" if of_pictures else "dice.mean <= 0.35")
    sides = folder("pred", pred) if pred else folder("gt", target), folder("gt", target)
    ended = lossbench_command("eval", *sides, *gates, "-q", "-o", tmp_path / "run.json")
    strict = lossbench_command("eval", *sides, *gates, "-q", "--strict")
    assert strict.returncode in (1, 2, 3)
    if kinds:
        found = json.loads((tmp_path / "run.json").read_text())["run"]["doubts"]
        assert [each["kind"] for each in found] == kinds
        assert strict.returncode == 3
    else:
        assert ended.returncode in (1, 2, 3)


def test_a_stale_baseline_is_noticed(folder: Any, lossbench_command: Any, tmp_path: Path) -> None:
    old = folder("old_pred", masks(6, 4.0)), folder("old_gt", masks(6))
    lossbench_command("eval", *old, "-l", "dice", "-q", "-o", tmp_path / "old.json")
    sides = folder("pred", GOOD), folder("gt", TRUTH)
    gate = ("--gate", "dice.mean <= baseline", "--baseline", tmp_path / "old.json", "--strict")
    ended = lossbench_command("eval", *sides, "-l", "dice", *gate)
    assert ended.returncode == 3
    assert "baseline_pairs" in ended.stderr


@pytest.mark.parametrize(("pred", "target"), [(GOOD, TRUTH), (GOOD_MAPS, MAPS),
                                              (GOOD_PHOTOS, PHOTOS)])  # fmt: skip
def test_good_runs_are_not_doubted(doubts: Any, pred: Any, target: Any) -> None:
    assert not doubts(pred, target)


@pytest.mark.parametrize("jitter", [3.0, 6.0, 12.0])
@pytest.mark.parametrize("seed", range(4))
def test_bad_models_are_not_doubted(doubts: Any, jitter: float, seed: int) -> None:
    assert not doubts(masks(12, jitter, seed), masks(12, 0.0, seed))
    assert not doubts(labels(12, jitter, 4, seed), labels(12, 0.0, 4, seed))


@pytest.mark.parametrize("count", [1, 2, 12, 64])
def test_useless_models_of_similar_objects_are_not_doubted(doubts: Any, count: int) -> None:
    """Among many ellipses in the middle of a picture, some other ground truth fits by chance."""
    rng = np.random.default_rng(count)

    def ellipses() -> dict[str, Any]:
        found = {}
        for index in range(count):
            row, column = SIZE / 2 + rng.normal(0, 6, 2)
            height, width = rng.uniform(8, 16, 2)
            inside = ((ROWS - row) / height) ** 2 + ((COLUMNS - column) / width) ** 2 < 1
            found[f"{index:03}.png"] = (255 * inside).astype(np.uint8)
        return found

    for _ in range(2):
        assert not doubts(ellipses(), ellipses(), "-l", "dice")


# No false alarm


SAMPLES = {
    "binary": ("binary/pred", "binary/gt", "-c", "binary"),
    "ci-gate": ("binary/pred", "binary/gt", "-c", "ci-gate"),
    "multiclass": ("multiclass/pred", "multiclass/gt", "-c", "multiclass"),
    "probabilities": ("multiclass/pred_prob", "multiclass/gt", "-c", "multiclass"),
    "restoration": ("image/pred", "image/gt", "-c", "restoration"),
    "perceptual": ("image/pred", "image/gt", "-c", "perceptual"),
    "style": (
        "style/pred", "style/gt", "-c", "style", "--input", f"style={SAMPLE_DATA / 'style/style'}",
    ),
    "adversarial": ("adversarial/pred", "adversarial/gt", "-c", "adversarial"),
    "medical": ("medical/pred", "medical/gt", "-c", "medical"),
    "multilabel": (
        "multilabel/pred", "multilabel/gt", "-c", "multilabel",
        "--pred-pattern", "{id}_{class}", "--gt-pattern", "{id}_{class}",
    ),
    "vectors": ("embedding/pred", "embedding/gt", "--task", "vectors"),
    "panoptic": ("panoptic/pred.json", "panoptic/gt.json"),
    "instances": ("instances/pred", "instances/gt", "--task", "instances"),
    "detection": ("detection/results.json", "detection/instances.json", "-c", "detection"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_not_doubted(doubts: Any, name: str) -> None:
    pred, target, *arguments = SAMPLES[name]
    assert not doubts(SAMPLE_DATA / pred, SAMPLE_DATA / target, *arguments)


REAL = {
    "sod_saliency": ("pred/DSS", "gt", "-l", "dice"),
    "drive_retina": ("pred", "gt", "-l", "dice"),
    "drive_retina observers": ("gt_observer2", "gt", "-l", "dice"),
    "dsb2018_nuclei_16": ("pred", "gt", "-l", "dice"),
    "camvid_24": ("pred", "gt", "-l", "dice", "--ignore", "11"),
    "voc_deeplab_3": ("pred", "gt", "-l", "dice"),
    "matting_10": ("pred", "gt", "-l", "l1"),
    "iqa_piq_assets": ("images_dist", "images_ref", "-l", "ssim"),
    "srcnn_3": ("pred/bicubic_x3", "gt", "-l", "psnr"),
    "spine_mri_3d": ("pred", "gt", "-l", "dice"),
    "pysod_3": ("pred", "gt", "-l", "dice"),
    "coco_fake100_rle": ("pred/instances_val2014_fakebbox100_results.json",
                         "gt/instances_val2014_100.json"),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_data_are_not_doubted(data: Any, doubts: Any, name: str) -> None:
    root = data(name.split()[0])
    pred, target, *arguments = REAL[name]
    assert not doubts(root / pred, root / target, *arguments)


def test_a_void_class_without_ignore_is_named(data: Any, doubts: Any) -> None:
    root = data("camvid_24")
    found = doubts(root / "pred", root / "gt", "-l", "dice")
    assert set(found) == {"class_never_predicted"}
    assert "'11'" in found["class_never_predicted"]["message"]


def test_pictures_with_red_and_blue_exchanged_are_a_doubt(doubts: Any) -> None:
    exchanged = of_each(GOOD_PHOTOS, lambda each: each[..., ::-1])
    found = doubts(exchanged, PHOTOS, "-l", "l1")
    assert "red and blue exchanged" in found["oriented"]["message"]
    grey = of_each(PHOTOS, lambda each: np.repeat(each[..., :1], 3, -1))
    assert not doubts(of_each(grey, lambda each: each // 2 + 60), grey, "-l", "l1")
