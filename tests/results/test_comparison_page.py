"""The page of a comparison: tables, gates, and both predictions of what became worse."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import SAMPLES

import lossbench

CELLS = SAMPLES / "binary"
TITLE = re.compile(r'title="([^"]*)"')


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    for name in ("earlier", "pred"):
        found = lossbench.evaluate(CELLS / name, CELLS / "gt", ["dice", "iou"])
        lossbench.save(found, folder / f"{name}.json")
    return folder


def test_what_became_worse_is_shown_with_both_predictions(results, monkeypatch, lossbench_command):
    monkeypatch.chdir(results)
    found = lossbench_command(
        "compare", "earlier.json", "pred.json", "-o", "page.html", "--gate", "dice.worsened <= 0"
    )
    assert found.returncode == 1
    page = Path("page.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert "<h1>pred.json against earlier.json</h1>" in page
    assert '<li class="bad">✗ dice.worsened 1 &gt; 0</li>' in page
    assert "<caption>pred.json against earlier.json · 12 pairs</caption>" in page
    assert "<h2>Worse by dice in pred.json</h2>" in page
    assert TITLE.findall(page) == [
        "ground truth", "earlier.json: dice 0.1088", "errors", "pred.json: dice 0.1253", "errors",
    ]  # fmt: skip
    assert page.count("data:image/png;base64,") == 5
    assert "http://" not in page
    assert "https://" not in page


def test_the_loss_that_sorts_decides_and_pictures_may_be_left_out(results):
    comparison = lossbench.compare([results / "pred.json", results / "earlier.json"])
    page = lossbench.render(comparison, "html", sort="iou", pictures=2, top=1)
    assert "1 of 9 that became worse by iou, largest change first" in page
    assert page.count("<h3") == 2
    assert "<img" not in lossbench.render(comparison, "html", pictures=0)
    with pytest.raises(lossbench.SettingError, match="pictures and top are 0 or more"):
        lossbench.render(comparison, "html", pictures=-1)


def test_pictures_that_cannot_be_read_are_noted(tmp_path):
    truth = {"<b>": np.eye(8, dtype=np.uint8), "c": np.eye(8, dtype=np.uint8)}
    files = []
    for name, rows in (("one", 8), ("two", 4)):
        pred = {key: np.where(np.arange(8)[:, None] < rows, each, 0) for key, each in truth.items()}
        files.append(tmp_path / f"{name}.json")
        lossbench.save(lossbench.evaluate(pred, truth, "dice_score"), files[-1])
    page = lossbench.render(lossbench.compare(files), "html")
    assert "no pictures: the run read arrays, not files" in page
    assert "<b>" not in page
    assert "2 images are too few" in page
    assert "Worse by" not in lossbench.render(lossbench.compare(files[::-1]), "html")
