"""The sum of hashes over ids and ground truths: equal for equal pairs, however a run goes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.paths import SAMPLES
from lossbench_cli.main import cli
from PIL import Image

import lossbench

MASK = np.array([[0, 255, 255, 0], [0, 0, 255, 0]], np.uint8)


def truth_of(*arguments: Any, **settings: Any) -> str:
    return str(lossbench.evaluate(*arguments, **settings).as_json()["run"]["pairs"]["truth"])


def run(*arguments: Any) -> int:
    return int(cli.main([*map(str, arguments)], standalone_mode=False) or 0)


@pytest.mark.parametrize(
    ("task", "losses"),
    [
        ("binary", ["dice", "hd95", "bce(weight_map=unet)", "auc"]),
        ("multiclass", ["dice", "cross_entropy(class_weights=auto)", "boundary_iou"]),
        ("image", ["l1", "ssim"]),
        ("medical", ["dice", "nsd"]),
    ],
)
def test_losses_do_not_change_it(task: str, losses: Sequence[str]) -> None:
    folders = [SAMPLES / task / side for side in ("pred", "gt")]
    truths = {truth_of(*folders, loss) for loss in [*losses, losses]}
    assert len(truths) == 1
    assert len(truths.pop()) == 32


def test_predictions_do_not_change_it() -> None:
    target = {"a": MASK, "b": MASK[::-1]}
    soft = {name: np.linspace(0, 1, MASK.size).reshape(MASK.shape) for name in target}
    wide = {name: (each * 65535).astype(np.uint16) for name, each in soft.items()}
    every = [target, soft, wide, {name: each * 20.0 - 9 for name, each in soft.items()}]
    assert len({truth_of(pred, target, "dice") for pred in every}) == 1


@pytest.mark.parametrize("loss", ["dice", "hd95"])
def test_values_shape_and_id_change_it(loss: str) -> None:
    def truth(target: Any) -> str:
        return truth_of(dict.fromkeys(target, MASK), target, loss, gt_encoding="mask")

    other = MASK.copy()
    other[0, 0] = 255
    first = truth({"a": MASK, "b": MASK})
    assert truth({"b": MASK, "a": MASK}) == first
    assert truth({"a": MASK, "b": other}) != first
    assert truth({"a": MASK, "c": MASK}) != first
    assert truth({"a": MASK}) != first
    square = MASK.reshape(4, 2)
    assert truth_of({"a": square}, {"a": square}, loss) != truth({"a": MASK})


@pytest.mark.parametrize(
    ("task", "target"),
    [
        ("image", np.arange(48, dtype=np.uint8).reshape(4, 4, 3)),
        ("image", np.linspace(0, 1, 16).reshape(4, 4)),
        ("instances", np.array([[0, 1, 1, 2], [0, 1, 2, 2]], np.uint16)),
        ("vectors", np.array([1.0, 0.5, 0.25])),
        ("binary", np.array([[0.0, 0.25, 0.5, 1.0]])),
    ],
)
def test_any_number_of_what_is_not_counted_changes_it(task: str, target: Any) -> None:
    changed = target.copy()
    changed.flat[-1] = changed.flat[0]
    one, same, other = (
        truth_of({"a": target}, {"a": each}, task=task) for each in (target, target.copy(), changed)
    )
    assert one == same
    assert one != other


def test_boxes_change_it_and_their_order_does_not() -> None:
    boxes = np.array([[0, 0, 4, 4], [5, 5, 9, 9.0]])
    pred = {"a": {"boxes": boxes, "scores": np.array([0.9, 0.8])}}

    def truth(corners: Any) -> str:
        return truth_of(pred, {"a": {"boxes": corners}}, task="detection")

    assert truth(boxes) == truth(boxes[::-1])
    assert truth(boxes) != truth(boxes + np.eye(2, 4))


def test_ignored_pixels_do_not_count_whatever_the_losses() -> None:
    void = np.where(np.eye(2, 4, dtype=bool), 7, MASK).astype(np.uint8)
    settings = {"ignore": 7, "gt_encoding": "mask"}
    truths = {truth_of({"a": MASK}, {"a": void}, loss, **settings) for loss in ("dice", "hd95")}
    assert len(truths) == 1
    assert truths != {truth_of({"a": MASK}, {"a": MASK}, "dice", **settings)}


def test_pairs_that_fail_do_not_count() -> None:
    pred, target = {"a": MASK, "b": MASK[:, :3]}, {"a": MASK, "b": MASK}
    assert truth_of(pred, target, "dice") == truth_of({"a": MASK}, {"a": MASK}, "dice")


@pytest.mark.parametrize(
    ("task", "losses"),
    [("binary", ["-l", "dice"]), ("binary", ["-l", "hd95"]), ("image", ["-l", "l1"])],
)
def test_shards_merge_to_that_of_one_run(
    tmp_path: Path, task: str, losses: Sequence[str], capsys: Any
) -> None:
    folders = [SAMPLES / task / side for side in ("pred", "gt")]
    assert run("eval", *folders, *losses, "-o", tmp_path / "whole.json") == 0
    shards = [tmp_path / f"{index}.json" for index in (1, 2, 3)]
    for index, path in enumerate(shards, 1):
        assert run("eval", *folders, *losses, "--shard", f"{index}/3", "-o", path) == 0
    assert run("merge", *shards, "-o", tmp_path / "merged.json") == 0
    whole, merged, *parts = (
        json.loads(path.read_text())["run"]["pairs"]["truth"]
        for path in (tmp_path / "whole.json", tmp_path / "merged.json", *shards)
    )
    assert merged == whole
    assert len({whole, *parts}) == 4
    assert f"{sum(int(each, 16) for each in parts) % 2**128:032x}" == whole


def test_a_run_that_goes_on_has_that_of_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("lossbench.engine.pipeline.PART_PAIRS", 2)
    folders = [str(SAMPLES / "binary" / side) for side in ("pred", "gt")]
    output, part = tmp_path / "run.json", tmp_path / "run.json.part"
    first = lossbench.plan(*folders, workers=1, batch_size=4)
    checkpoint = first.checkpoint(str(part))
    first.evaluate(checkpoint=checkpoint)
    checkpoint.close(False)
    lines = part.read_bytes().splitlines(keepends=True)
    assert len(lines) == 4
    part.write_bytes(b"".join(lines[:-2]))
    assert run("eval", *folders, "--workers", 1, "--resume", "-o", output) == 0
    assert json.loads(output.read_text())["run"]["pairs"]["truth"] == truth_of(*folders)


def test_files_of_another_format_have_the_same(tmp_path: Path) -> None:
    for side in ("pred", "gt"):
        source = SAMPLES / "binary" / side
        for path in source.rglob("*.png"):
            target = (tmp_path / side / path.relative_to(source)).with_suffix(".tif")
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).save(target)
    assert truth_of(tmp_path / "pred", tmp_path / "gt", "dice") == truth_of(
        SAMPLES / "binary" / "pred", SAMPLES / "binary" / "gt", "dice"
    )
