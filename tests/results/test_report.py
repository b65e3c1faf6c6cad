"""The page of a result: its numbers are those of the file, its pictures those of the pixels."""

from __future__ import annotations

import base64
import io
import json
import math
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.paths import SAMPLES
from PIL import Image

import lossbench
from lossbench.reporting.elements import histogram_of
from lossbench.reporting.overlays import ALARM, BOTH, IGNORED, MISSED, NOTHING, RIGHT, overlays
from lossbench.results import parquet_reader
from lossbench.results.reader import read_result

CELLS = SAMPLES / "binary"
ROADS = SAMPLES / "multiclass"
VOID = {"area", "br", "img", "input", "link", "meta"}
ALONE = ("src", "href", "data", "action", "poster", "xlink:href")


class Page(HTMLParser):
    """What is on a page: tables by id or caption, pictures, texts; every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.pictures: list[dict[str, str]] = []
        self.links: list[str] = []
        self.attributes: list[dict[str, str]] = []
        self.text, self.cell, self.rows = "", "", list[list[str]]()
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, given: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in given}
        self.attributes.append(attributes)
        self.links += [attributes[name] for name in ALONE if name in attributes]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.pictures.append(attributes)
        elif tag == "table":
            self.rows = self.tables[attributes.get("id") or f"table {len(self.tables)}"] = []
        elif tag == "tr":
            self.rows.append([])
        self.cell = ""

    handle_startendtag = lambda self, *_: None  # noqa: E731 - shapes of a chart

    def handle_data(self, data: str) -> None:
        self.cell += data
        if not {"style", "script"} & {*self.open}:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in ("td", "th"):
            self.rows[-1].append(self.cell)
            self.cell = ""

    def image(self, place: int) -> np.ndarray:
        head, _, body = self.pictures[place]["src"].partition(",")
        assert head == "data:image/png;base64"
        return np.array(Image.open(io.BytesIO(base64.b64decode(body))))


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result on cells in three formats, with a gate that fails and one that holds."""
    folder = tmp_path_factory.mktemp("cells")
    gates = ["dice.mean <= 0.1", "iou.mean >= 0.2"]
    how = {"gates": gates, "group_by": "{plate}/{n}"}
    found = lossbench.evaluate(CELLS / "pred", CELLS / "gt", ["dice", "iou"], **how)
    for ending in (".json", ".jsonl", ".parquet"):
        lossbench.save(found, folder / f"run{ending}")
    return folder


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".parquet"])
def test_a_page_has_the_numbers_of_the_result(cells, ending):
    page = Page(lossbench.render(lossbench.report(cells / f"run{ending}")))
    model = json.loads((cells / "run.json").read_text())
    aggregates, groups, samples = page.tables.values()
    assert aggregates[0] == ["aggregate", "dice ↓", "iou ↑"]
    for name, *shown in aggregates[1:]:
        wanted = [model["aggregate"][loss][name] for loss in ("dice", "iou")]
        assert shown == [f"{each:.0f}" if name in ("count", "undefined") else f"{each:.4f}"
                         for each in wanted]  # fmt: skip
    assert groups[0] == ["group", "pairs", "dice ↓", "iou ↑"]
    assert [row[:2] for row in groups[1:]] == [["plate_b", "6"], ["plate_a", "6"]]
    rows = {row["id"]: row for row in model["samples"]}
    assert {row[0] for row in samples[1:]} == rows.keys()
    exact = [each["data-v"] for each in page.attributes if "data-v" in each]
    for row, *numbers in zip(samples[1:], exact[::2], exact[1::2], strict=True):
        of_file = [rows[row[0]][loss] for loss in ("dice", "iou")]
        assert [float(each) if each else None for each in numbers] == of_file
    values = [rows[name]["dice"] for name, *_ in samples[1:]]
    assert values[-1] is None
    assert values[:-1] == sorted(values[:-1], reverse=True)  # the worst first
    assert "✗ dice.mean <= 0.1" in page.text
    assert "✓ iou.mean >= 0.2" in page.text


def test_a_page_stands_alone_and_runs_nothing_foreign(cells, tmp_path):
    """What a file is called is text on the page, and nothing is fetched from anywhere."""
    hostile = '<img src=x onerror=alert(1)>"&\x1b[31m'
    array = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)[0] * 17
    sides = {hostile: array}, {hostile: (array > 99).astype(np.uint8)}
    how = {"task": "binary", "pred_encoding": "probability", "gt_encoding": "mask"}
    found = lossbench.evaluate(*sides, "dice", **how)
    lossbench.save(found, tmp_path / "run.json")
    page = Page(lossbench.render(lossbench.report(tmp_path / "run.json")))
    assert hostile.replace("\x1b", "\\x1b") in page.text
    assert not any("onerror" in each for each in page.attributes)
    assert "\x1b" not in page.text
    assert "no pictures: the run read arrays, not files" in page.text
    own = Page(lossbench.render(lossbench.report(cells / "run.json", pred=CELLS / "pred")))
    assert own.links
    assert all(link.startswith("data:image/png") for link in own.links)
    policy = next(each["content"] for each in own.attributes if "http-equiv" in each)
    assert policy.startswith("default-src 'none'")


def test_of_parquet_only_the_columns_shown_are_read(cells, monkeypatch):
    asked: list[Any] = []
    real = parquet_reader.read_samples

    def read(path: str, quantities: Any, model: Any) -> Any:
        asked.append(quantities)
        return real(path, quantities, model)

    monkeypatch.setattr(parquet_reader, "read_samples", read)
    text = lossbench.render(lossbench.report(cells / "run.parquet", "iou"), pictures=0)
    assert asked == [[("iou", None)]]
    assert Page(text).tables["samples"][0] == ["id", "iou ↑"]


def test_columns_may_be_classes_and_order_the_samples(tmp_path):
    names = {"classes": "background,road,car,person", "ignore": 255}
    found = lossbench.evaluate(ROADS / "pred", ROADS / "gt", ["dice", "accuracy"], **names)
    lossbench.save(found, tmp_path / "run.json")
    report = lossbench.report(tmp_path / "run.json", ["dice[car]", "dice"])
    page = Page(lossbench.render(report, sort="dice[car]", top=3, pictures=2))
    assert page.tables["samples"][0] == ["id", "dice[car] ↓", "dice ↓"]
    column = found.values["dice"].class_columns[found.class_names.index("car")]
    order = np.argsort(-column, kind="stable")[:3]
    assert [row[0] for row in page.tables["samples"][1:]] == [found.ids[place] for place in order]
    assert len(page.pictures) == 2 * 3
    assert {"car", "person"} <= {row[0] for row in list(page.tables.values())[1][1:]}
    with pytest.raises(lossbench.SettingError, match=r"dixe.*did you mean 'dice'"):
        lossbench.render(report, sort="dixe")


def test_a_histogram_has_every_finite_value(tmp_path):
    truth = np.zeros((4, 8, 8), np.uint8)
    truth[1:, :4] = 1
    pred = truth * 255
    pred[2, 0] = 0
    pred[3] = 0  # a missed object is infinitely far away
    found = lossbench.evaluate(list(pred), list(truth), "hausdorff", task="binary")
    lossbench.save(found, tmp_path / "run.json")
    report = lossbench.report(tmp_path / "run.json")
    counts, edges = report.histogram(report.measured[0])
    values = found.values["hausdorff"].samples
    assert sum(counts) == sum(map(math.isfinite, values)) == 2
    assert (edges[0], edges[-1]) == (0.0, 1.0)
    text = Page(lossbench.render(report)).text
    assert "2 samples · mean inf · median 1.0000 · 1 undefined · 1 infinite" in text


def looked_at(tmp_path: Path, pred: Any, target: Any, losses: Any = "dice", **how: Any) -> Any:
    """The gallery of one pair of arrays written as files, as a loss judges them."""
    for role, array in (("pred", pred), ("gt", target)):
        (tmp_path / role).mkdir()
        if array.ndim == 2 or array.shape[-1] == 3:
            Image.fromarray(array).save(tmp_path / role / "a.png")
        else:
            np.save(tmp_path / role / "a.npy", array)
    found = lossbench.evaluate(tmp_path / "pred", tmp_path / "gt", losses, **how)
    lossbench.save(found, tmp_path / "run.json")
    return overlays(read_result(str(tmp_path / "run.json")), ["a"], found.columns[0].name)


def test_errors_of_masks_have_their_colours(tmp_path):
    """By hand: a hit, a miss, a false alarm, nothing, and a pixel that is ignored."""
    pred = np.array([[200, 100, 200, 100, 200, 0]], np.uint8)
    target = np.array([[255, 255, 0, 0, 128, 0]], np.uint8)
    how = {"task": "binary", "pred_encoding": "probability", "gt_encoding": "mask", "ignore": 128}
    shown = looked_at(tmp_path, pred, target, **how).samples["a"]
    wanted = [RIGHT, MISSED, ALARM, NOTHING, IGNORED, NOTHING]
    assert shown.images["errors"][0].tolist() == [list(each) for each in wanted]
    assert shown.images["prediction"][0, :, 0].tolist() == [*pred[0].tolist()[:4], 0, 0]
    assert shown.images["ground truth"][0, :4, 0].tolist() == [255, 255, 0, 0]


def test_a_threshold_decides_what_is_wrong(tmp_path):
    pred, target = np.array([[200, 100]], np.uint8), np.array([[255, 255]], np.uint8)
    how = {"task": "binary", "pred_encoding": "probability", "gt_encoding": "mask"}
    shown = looked_at(tmp_path, pred, target, threshold=0.3, **how).samples["a"]
    assert (shown.images["errors"] == RIGHT).all()


@pytest.mark.parametrize(
    ("losses", "threshold"),
    [
        ("recall(threshold=0.3)", 0.3),
        ("dice(threshold=0.3)", 0.3),
        ("dice", 0.5),  # has no threshold
        ("ohem_cross_entropy(threshold=0.3)", 0.5),  # is a probability of the right class
        ("recall(threshold=0.3) + dice(threshold=0.3) + bce", 0.3),
        ("recall(threshold=0.3) + iou", 0.5),  # have several
    ],
)
def test_the_threshold_is_that_of_the_loss_that_judges(tmp_path, losses, threshold):
    pred, target = np.array([[200, 100]], np.uint8), np.array([[255, 255]], np.uint8)
    how = {"task": "binary", "pred_encoding": "probability", "gt_encoding": "mask"}
    shown = looked_at(tmp_path, pred, target, losses, **how)
    second = RIGHT if threshold == 0.3 else MISSED  # 100/255 is 0.39
    assert shown.samples["a"].images["errors"][0].tolist() == [list(RIGHT), list(second)]
    assert shown.notes == [f"errors at p ≥ {threshold}"]


def test_logits_are_decided_as_they_are_judged(tmp_path):
    pred = np.array([[[-2000.0, 2.0], [0.5, -0.5]]])
    target = np.array([[[0, 1], [0, 1]]], np.uint8)
    how = {"task": "binary", "pred_encoding": "logits", "gt_encoding": "mask"}
    shown = looked_at(tmp_path, pred, target, **how).samples["a"]
    wanted = [[NOTHING, RIGHT], [ALARM, MISSED]]
    assert shown.images["errors"].tolist() == np.array(wanted).tolist()


def test_classes_have_colours_and_wrong_pixels_one(tmp_path):
    pred, target = np.array([[0, 1, 2, 2]], np.uint8), np.array([[0, 1, 1, 255]], np.uint8)
    found = looked_at(tmp_path, pred, target, classes={0: "sky", 1: "road", 2: "car"}, ignore=255)
    shown = found.samples["a"].images
    assert shown["errors"][0].tolist() == [list(c) for c in (RIGHT, RIGHT, ALARM, IGNORED)]
    of_class = list(found.classes.values())
    assert list(found.classes) == ["sky", "road", "car"]
    assert shown["prediction"][0, :3].tolist() == [list(each) for each in of_class]
    assert shown["ground truth"][0, :3].tolist() == [list(of_class[c]) for c in (0, 1, 1)]


def test_labels_that_overlap_may_be_missed_and_found_at_once(tmp_path):
    pred = np.array([[[255, 0, 0, 0]], [[0, 255, 0, 0]]], np.uint8)
    target = np.array([[[1, 1, 0, 1]], [[0, 0, 0, 0]]], np.uint8)
    how = {"task": "multilabel", "pred_encoding": "probability", "gt_encoding": "mask"}
    shown = looked_at(tmp_path, pred, target, **how).samples["a"]
    wanted = [RIGHT, BOTH, NOTHING, MISSED]
    assert shown.images["errors"][0].tolist() == [list(each) for each in wanted]


def test_differences_of_images_are_in_proportion(tmp_path):
    target = np.zeros((1, 3, 3), np.uint8)
    pred = target.copy()
    pred[0, 1], pred[0, 2] = 51, 102
    shown = looked_at(tmp_path, pred, target, "l1", task="image").samples["a"]
    white, half, full = shown.images["errors"][0].astype(int)
    assert white.tolist() == list(NOTHING)
    assert full.tolist() == list(ALARM)
    assert np.abs(half - (white + full) / 2).max() <= 0.5
    assert shown.remark == "largest difference 0.4"
    assert (shown.images["prediction"] == pred).all()


def test_of_a_volume_the_slice_with_the_most_errors_is_shown(tmp_path):
    target = np.zeros((40, 5, 36), np.uint8)
    pred = target.copy()
    pred[:, 3, :10], pred[7, 1, 2] = 1, 1
    shown = looked_at(tmp_path, pred, target, classes=2, task="multiclass").samples["a"]
    assert shown.remark == "slice 4 of 5 across axis 2"
    assert shown.images["errors"].shape == (40, 36, 3)
    assert (shown.images["errors"] == ALARM).all(-1).sum() == 400


def test_arrays_that_are_no_pictures_have_none(tmp_path):
    target = np.zeros((2, 3, 4, 5), np.uint8)
    target[0] = target[1, 0] = 1
    found = looked_at(tmp_path, target, target, classes=2, task="multiclass")
    assert not found.samples
    assert found.notes == ["no pictures: arrays of this shape are neither pictures nor volumes"]


def test_pictures_are_found_where_the_files_are_now(tmp_path, monkeypatch):
    shutil.copytree(CELLS, tmp_path / "then")
    monkeypatch.chdir(tmp_path / "then")
    lossbench.save(lossbench.evaluate("pred", "gt", "dice"), tmp_path / "run.json")
    monkeypatch.chdir(tmp_path)
    lost = Page(lossbench.render(lossbench.report("run.json")))
    assert not lost.pictures
    assert "no pictures: pred does not exist" in lost.text
    assert "give the folders as PRED and GT" in lost.text
    shutil.copytree("then", "few")
    for side in Path("few/pred").rglob("*.png"):
        if side.stem != "03":
            side.unlink()
    partly = Page(lossbench.render(lossbench.report("run.json", pred="few/pred", target="few/gt")))
    assert len(partly.pictures) == 2 * 3
    assert "no picture of 9 of 11: one of the two files is missing" in partly.text
    found = lossbench.report("run.json", pred="then/pred", target="then/gt")
    page = Page(lossbench.render(found, pictures=1))
    name = found.ids[found.worst(found.measured[0], 1)[0]]
    drawn = np.array(Image.open(tmp_path / f"then/gt/{name}.png"))
    assert (page.image(0)[..., 0] == drawn).all()
    (tmp_path / f"then/pred/{name}.png").write_bytes(b"no picture")
    damaged = Page(lossbench.render(found, pictures=2))
    assert len(damaged.pictures) == 3
    assert f"no picture of {name}" in damaged.text


@pytest.mark.parametrize("kept", [True, False])
def test_pictures_of_a_manifest(tmp_path, monkeypatch, kept):
    monkeypatch.chdir(CELLS)
    lossbench.save(lossbench.evaluate(losses="dice", manifest="pairs.csv"), tmp_path / "run.json")
    where = {} if kept else {"pred": "pred", "target": "gt"}
    page = Page(lossbench.render(lossbench.report(tmp_path / "run.json", **where)))
    assert len(page.pictures) == 11 * 3


def test_further_roles_are_read_again_too(tmp_path, folder):
    """Weights of 0 take pixels out, and a column of a manifest needs the loss that asks for it."""
    pixels = np.array([[200, 100]], np.uint8)
    weight = np.array([[0.0, 2.0]])
    made = {"pred": pixels, "gt": pixels // 200 * 255, "weight": weight, "pos_weight": weight}
    files = {
        role: folder(role, {(name := "a.npy" if array is weight else "a.png"): array}) / name
        for role, array in made.items()
    }
    (tmp_path / "pairs.csv").write_text(
        f"id,{','.join(files)}\na,{','.join(map(str, files.values()))}\n"
    )
    how = {"task": "binary", "pred_encoding": "probability", "manifest": tmp_path / "pairs.csv"}
    found = lossbench.evaluate(losses="bce(pos_weight=role)", **how)
    lossbench.save(found, tmp_path / "run.json")
    shown = overlays(read_result(str(tmp_path / "run.json")), ["a"], found.columns[0].name)
    assert shown.samples["a"].images["errors"][0].tolist() == [list(IGNORED), list(NOTHING)]
    assert shown.notes == ["errors at p ≥ 0.5"]


def test_a_manifest_that_came_by_a_pipe_is_not_asked_for_again(tmp_path, lossbench_process):
    file, page = tmp_path / "run.json", tmp_path / "page.html"
    how = {"cwd": CELLS, "input": (CELLS / "pairs.csv").read_text()}
    lossbench_process("eval", "--manifest", "-", "-l", "dice", "-q", "-o", file, **how)
    assert lossbench_process("report", file, "-o", page, **how).returncode == 0
    assert "no pictures: the run read its manifest from stdin" in page.read_text()


def test_what_is_missing_is_not_the_fault_of_a_path(tmp_path):
    shutil.copytree(CELLS / "gt", tmp_path / "gt")
    shutil.copytree(CELLS / "pred/plate_a", tmp_path / "pred/plate_a")
    found = lossbench.evaluate(tmp_path / "pred", tmp_path / "gt", "dice", missing="worst")
    lossbench.save(found, tmp_path / "run.json")
    page = Page(lossbench.render(lossbench.report(tmp_path / "run.json"), pictures=8))
    assert len(page.pictures) == 2 * 3
    assert "no picture of 6 of 8: one of the two files is missing" in page.text


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ([0.1, math.nextafter(0.1, 1)], [1, *[0] * 38, 1]),
        ([1e17, 1e17], [2]),
        ([-1e308, 1e308], [1, *[0] * 38, 1]),
        ([math.nan, math.inf], [0]),
        ([], [0]),
        ([0.0, 0.5, 1.0], [1, *[0] * 19, 1, *[0] * 18, 1]),
    ],
)
def test_whatever_the_values_are_they_have_a_histogram(cells, values, counts):
    report = lossbench.report(cells / "run.json", "dice")
    report.values["dice"] = np.array(values, float)
    found, edges = report.histogram(report.measured[0])
    assert found == counts
    assert len(edges) == len(found) + 1
    assert all(math.isfinite(each) for each in edges)
    assert "nan" not in histogram_of("dice", found, edges, {"mean": edges[0]}).lower()


def test_settings_of_a_later_version_are_left_alone(cells, tmp_path):
    model = json.loads((cells / "run.json").read_text())
    model["run"]["settings"] |= {"of a later version": 1, "empty": "Infinity"}
    (tmp_path / "run.json").write_text(json.dumps(model))
    where = {"pred": CELLS / "pred", "target": CELLS / "gt"}
    page = Page(lossbench.render(lossbench.report(tmp_path / "run.json", **where)))
    assert len(page.pictures) == 11 * 3


@pytest.mark.parametrize("how", [{"top": -1}, {"pictures": -1}])
def test_less_than_nothing_is_refused(cells, how):
    with pytest.raises(lossbench.SettingError, match="0 or more"):
        lossbench.render(lossbench.report(cells / "run.json"), **how)


def test_a_page_has_the_ending_of_one(cells, tmp_path):
    with pytest.raises(lossbench.SettingError, match=r"\.html"):
        lossbench.save(lossbench.report(cells / "run.json"), tmp_path / "page.pdf")


def test_large_pictures_are_made_smaller(tmp_path):
    target = np.zeros((900, 1000), np.uint8)
    target[:, :500] = 255
    how = {"task": "binary", "pred_encoding": "probability", "gt_encoding": "mask"}
    looked_at(tmp_path, target // 2, target, **how)
    page = Page(lossbench.render(lossbench.report(tmp_path / "run.json")))
    assert page.image(0).shape == (300, 334, 3)


def test_the_command(cells, tmp_path, lossbench_command):
    file = tmp_path / "page.html"
    done = lossbench_command("report", cells / "run.json", "-o", file, "--top", "all")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = file.read_text(encoding="utf-8")
    assert text == lossbench.render(lossbench.report(cells / "run.json"), top=None)
    shutil.copy(cells / "run.json", file)
    done = lossbench_command("report", file, "-o", file)
    assert done.returncode == 2
    assert f"{file} is the result" in done.stderr
    done = lossbench_command("report", cells / "run.json", "--pictures", 0, "--top", 0)
    assert done.stdout.startswith("<!doctype html>")
    page = Page(done.stdout)
    assert not page.pictures
    assert "samples" not in page.tables
    assert "<script>" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["{run}", "-o", "page.pdf"], 2, ".html"),
        (["{run}", "--sort", "bce"], 2, "bce"),
        (["{run}", "-l", "dise"], 2, "did you mean 'dice'"),
        (["{run}", "--top", "few"], 2, "all or a whole number from 0"),
        (["{run}", "--pictures", "-1"], 2, "--pictures"),
        (["nowhere.json"], 3, "nowhere.json"),
        ([str(CELLS / "pairs.csv")], 3, "pairs.csv"),
    ],
)
def test_what_is_wrong_is_told(cells, lossbench_command, arguments, status, words):
    given = [each.format(run=cells / "run.json") for each in arguments]
    done = lossbench_command("report", *given)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_result_without_samples_has_a_page(tmp_path):
    """A shard whose every pair was lost, for one."""
    (tmp_path / "pairs.csv").write_text("id,pred,gt\na,a.png,b.png\nb,c.png,d.png\n")
    how = {"manifest": tmp_path / "pairs.csv", "task": "binary"}
    for side in "abcd":
        array = np.zeros((4, 4), np.uint8)
        array[0] = 255
        Image.fromarray(array).save(tmp_path / f"{side}.png")
    run = lossbench.plan(losses="dice", **how)
    for side in "abcd":
        (tmp_path / f"{side}.png").write_bytes(b"damaged")
    found = run.evaluate()
    lossbench.save(found, tmp_path / "run.json")
    page = Page(lossbench.render(lossbench.report(tmp_path / "run.json")))
    assert "2 errors" in page.text
    assert page.tables["samples"] == [["id", "dice ↓"]]
