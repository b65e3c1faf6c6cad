"""Figures of rankings: every result, rank and verdict is drawn."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import lossbench
from lossbench.output.plot import short_names

pytest.importorskip("matplotlib", reason="pip install 'lossbench[plot]'")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three results of drawn masks, the last one bad."""
    folder, random = tmp_path_factory.mktemp("results"), np.random.default_rng(0)
    truth = {f"{i:02}": (random.random((16, 16)) < 0.4).astype(np.uint8) for i in range(12)}
    files = []
    for name, error in (("good", 0.05), ("fair$x$", 0.06), ("bad", 0.3)):
        pred = {
            id_: np.where(random.random((16, 16)) < error, 1 - each, each).astype(np.uint8)
            for id_, each in truth.items()
        }
        files.append(folder / f"{name}.json")
        lossbench.save(lossbench.evaluate(pred, truth, ["dice_score", "iou"]), files[-1])
    return files


@pytest.mark.parametrize(
    ("ending", "start"),
    [(".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF"), (".PNG", b"\x89P")],
)
def test_the_ending_selects_the_format(files, tmp_path, lossbench_command, ending, start):
    target = tmp_path / f"ranking{ending}"
    found = lossbench_command("compare", *files, "--plot", target, "--top", 0)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith(f"{files[1]} against {files[0]}")
    assert target.read_bytes().startswith(start)
    assert [each.name for each in tmp_path.iterdir()] == [target.name]


def test_every_panel_is_drawn(files, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    figures: list[Figure] = []
    real = Figure.savefig
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda self, *args, **how: (figures.append(self), real(self, *args, **how)),
    )
    comparison = lossbench.compare(files)
    lossbench.save(comparison, tmp_path / "ranking.svg")
    (figure,) = figures
    assert [axes.get_title() for axes in figure.axes] == [
        "rank of the means", "mean of the ranks", "row against column, p by Holm",
        "mean rank, critical difference",
    ] * 2  # fmt: skip
    blobs, ranks, matrix, line = figure.axes[:4]
    assert [each.get_text() for each in blobs.get_xticklabels()] == ["good", r"fair\$x\$", "bad"]
    drawn = [each.get_sizes() / 500 for each in blobs.collections[::2]]
    np.testing.assert_allclose(drawn, comparison.rankings["dice_score"].stability["of_means"])
    texts = [each.get_text() for each in matrix.texts]
    assert len(texts) == 6
    assert [text.split("\n")[0] for text in texts[4:]] == ["worse", "worse"]
    assert any(re.fullmatch(" bad 3.00 ", each.get_text()) for each in line.texts)
    assert ranks.get_xlim() == blobs.get_xlim()


def test_two_results_can_be_drawn_too(files, tmp_path):
    lossbench.save(lossbench.compare(files[:2], "iou"), tmp_path / "two.svg")
    assert "two" in short_names(["a/two.json", "b/one.json"])
    assert short_names(["a/one.json", "b/one.json"]) == ["a/one.json", "b/one.json"]
    assert short_names(["x" * 40]) == ["…" + "x" * 23]
