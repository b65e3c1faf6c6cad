"""`lossbench trend` over drawn epochs: what is evaluated, remembered, tied, watched and refused."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from helpers.tolerances import REFERENCE, check_close
from PIL import Image

import lossbench
from lossbench.output.threshold_sections import BLOCKS
from lossbench.trends.watch import EpochWatch

PAIRS = 8
ERRORS = (0.3, 0.2, 0.12, 0.1, 0.1, 0.1)  # share of wrong pixels by epoch


def draw(folder: Path, error: float, seed: int, pairs: int = PAIRS) -> None:
    """Predictions of a truth of which a share of pixels is wrong."""
    random, truth = np.random.default_rng(seed), np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(pairs):
        mask = truth.random((24, 24)) < 0.4
        wrong = random.random(mask.shape) < error
        Image.fromarray(((mask ^ wrong) * 255).astype(np.uint8)).save(folder / f"{index}.png")


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """Six epochs, of which the numbers sort otherwise as text."""
    draw(tmp_path / "gt", 0, 0)
    for number, error in zip((1, 2, 3, 9, 10, 11), ERRORS, strict=True):
        draw(tmp_path / f"runs/epoch_{number}/pred", error, number)
    return tmp_path


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The results of seven epochs, of which the last ones get worse."""
    folder = tmp_path_factory.mktemp("results")
    draw(folder / "gt", 0, 0)
    files = []
    for number, error in enumerate((0.3, 0.12, 0.1, 0.1, 0.15, 0.2, 0.25), 1):
        draw(folder / f"pred_{number}", error, number)
        files.append(folder / f"epoch_{number}.json")
        pair = folder / f"pred_{number}", folder / "gt"
        lossbench.save(lossbench.evaluate(*pair, ["dice_score", "iou"]), files[-1])
    return files


EPOCHS = ("trend", "--pattern", "runs/epoch_{n}/pred", "gt", "-l", "dice_score")


def read(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_numbers_sort_as_numbers(training, lossbench_command):
    model = read(lossbench_command(*EPOCHS, "-f", "json", cwd=training))
    assert list(model) == ["epochs", "best", "trend", "overfitting"]
    assert [each["epoch"] for each in model["epochs"]] == [1, 2, 3, 9, 10, 11]
    assert model["epochs"][3]["run"] == "runs/epoch_9/pred"
    for each in model["epochs"]:
        assert list(each["losses"]["dice_score"]) == [
            "mean", "ci_low", "ci_high", "average_so_far",
        ]  # fmt: skip
    assert list(model["trend"]["dice_score"]) == ["word", "tau", "p", "window"]
    assert list(model["best"]["dice_score"]) == ["epoch", "tied"]
    assert model["overfitting"] == {"dice_score": None}
    means = [each["losses"]["dice_score"]["mean"] for each in model["epochs"]]
    averages = [each["losses"]["dice_score"]["average_so_far"] for each in model["epochs"]]
    check_close(averages, [np.mean(means[: n + 1]) for n in range(6)], REFERENCE)


def test_means_are_those_of_eval(training, lossbench_command):
    model = read(lossbench_command(*EPOCHS, "-f", "json", cwd=training))
    for each in model["epochs"]:
        single = lossbench.evaluate(training / each["run"], training / "gt", "dice_score")
        table = single.aggregates["dice_score"]
        own = each["losses"]["dice_score"]
        assert own["mean"] == table["mean"]
        assert (own["ci_low"], own["ci_high"]) == (table["ci_low"], table["ci_high"])


def test_best_and_tied_are_verdicts_of_compare(results, lossbench_command):
    model = read(lossbench_command("trend", *results, "-f", "json"))
    for name in ("dice_score", "iou"):
        means = [each["losses"][name]["mean"] for each in model["epochs"]]
        best = int(np.argmax(means))
        assert model["best"][name]["epoch"] == best + 1
        others = [file for file in results if file != results[best]]
        comparison = lossbench.compare([results[best], *others], name)
        verdicts = [comparison.verdict(at, comparison.find(name)) for at in range(1, len(results))]
        numbers = [results.index(file) + 1 for file in others]
        tied = [n for n, verdict in zip(numbers, verdicts, strict=True) if verdict == "unclear"]
        assert model["best"][name]["tied"] == tied
        assert tied
        assert len(tied) < len(results) - 1


def test_epochs_are_evaluated_once(training, lossbench_command):
    first = lossbench_command(*EPOCHS, "-f", "json", cwd=training)
    assert first.stderr.count(" evaluated\n") == 6
    kept = training / "runs/.lossbench/trend"
    assert len(list(kept.glob("epoch_*.json"))) == 6
    again = lossbench_command(*EPOCHS, "-f", "json", cwd=training)
    assert " evaluated\n" not in again.stderr
    assert "6 of 6 epochs were evaluated before" in again.stderr
    assert again.stdout == first.stdout
    other = lossbench_command(*EPOCHS, "-l", "iou", "-f", "json", cwd=training)
    assert other.stderr.count(" evaluated\n") == 6  # other losses are another run
    draw(training / "runs/epoch_9/pred", 0.5, 99)
    changed = lossbench_command(*EPOCHS, "-f", "json", cwd=training)
    assert re.findall(r"epoch (\d+): 8 pairs", changed.stderr) == ["9"]
    draw(training / "runs/epoch_12/pred", 0.05, 12)
    more = lossbench_command(*EPOCHS, "-f", "json", cwd=training)
    assert re.findall(r"epoch (\d+): 8 pairs", more.stderr) == ["12"]
    assert read(more)["best"]["dice_score"]["epoch"] == 12


def test_a_changed_truth_is_evaluated_again(training, lossbench_command):
    lossbench_command(*EPOCHS, cwd=training)
    draw(training / "gt", 0.01, 7)
    again = lossbench_command(*EPOCHS, cwd=training)
    assert again.stderr.count(" evaluated\n") == 6


def test_a_damaged_result_is_evaluated_again(training, lossbench_command):
    first = lossbench_command(*EPOCHS, "-f", "json", "--cache", "kept", cwd=training)
    (file,) = (training / "kept").glob("epoch_3-*.json")
    file.write_text(file.read_text()[:300])
    again = lossbench_command(*EPOCHS, "-f", "json", "--cache", "kept", cwd=training)
    assert re.findall(r"epoch (\d+): 8 pairs", again.stderr) == ["3"]
    assert again.stdout == first.stdout
    assert not (training / "runs/.lossbench").exists()


def test_a_file_that_cannot_be_read_is_status_3(training, lossbench_command):
    file = training / "runs/epoch_2/pred/3.png"
    whole = file.read_bytes()
    file.write_bytes(whole[:40])
    broken = lossbench_command(*EPOCHS, cwd=training)
    assert broken.returncode == 3
    assert "error: epoch 2: runs/epoch_2/pred/3.png" in broken.stderr
    assert lossbench_command(*EPOCHS, cwd=training).returncode == 3  # no error is forgotten
    file.write_bytes(whole)
    assert lossbench_command(*EPOCHS, cwd=training).returncode == 0


def test_the_table_shows_every_epoch(results, lossbench_command):
    done = lossbench_command("trend", *results)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(BLOCKS) & set(done.stdout)
    summary, epochs = done.stdout.split("\n\n")
    assert "best epoch" in summary
    assert len(epochs.splitlines()) == 3 + len(results)
    few = lossbench_command("trend", *results, "--last", "2").stdout
    assert "last 2 of 7 epochs" in few
    assert len(few.splitlines()) == len(done.stdout.splitlines()) - 5
    ascii = lossbench_command("trend", *results, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert ascii.returncode == 0


def test_files_have_every_number(results, tmp_path, lossbench_command):
    names = ["t.json", "t.csv", "t.md", "t.txt"]
    outputs = [word for name in names for word in ("-o", tmp_path / name)]
    done = lossbench_command("trend", *results, "-f", "json", *outputs)
    model = read(done)
    assert json.loads((tmp_path / "t.json").read_text()) == model
    rows = list(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text())))
    assert len(rows) == len(results)
    for row, each in zip(rows, model["epochs"], strict=True):
        assert int(row["epoch"]) == each["epoch"]
        assert row["run"] == each["run"]
        for name, table in each["losses"].items():
            assert {key: float(row[f"{name}.{key}"]) for key in table} == table
    assert "| epoch |" in (tmp_path / "t.md").read_text()


def test_a_figure_has_a_panel_for_each_loss(results, tmp_path, lossbench_command):
    pytest.importorskip("matplotlib", reason="pip install 'lossbench[plot]'")
    figure = tmp_path / "trend.svg"
    done = lossbench_command("trend", *results, "--train", *results[:1], "--plot", figure)
    assert done.returncode == 0, done.stderr
    assert figure.read_bytes().startswith(b"<?xml")
    first = figure.read_bytes()
    assert len(re.findall(rb'id="axes_[0-9]+"', first)) == 2
    lossbench_command("trend", *results, "--train", *results[:1], "--plot", figure)
    assert figure.read_bytes() == first


def test_the_page_has_all_epochs(results, tmp_path, lossbench_command, monkeypatch):
    pages = []
    for find in (find_spec, lambda name: None):
        monkeypatch.setattr("lossbench.reporting.trend_page.find_spec", find)
        done = lossbench_command("trend", *results, "-o", tmp_path / "t.html", "--last", "1")
        assert done.returncode == 0, done.stderr
        pages.append((tmp_path / "t.html").read_text())
    for page in pages:
        assert page.count("<tr>") == 2 + 2 + len(results)  # headings, losses, epochs
        assert "dice_score, iou over 7 epochs" in page
    assert "pip install 'lossbench[plot]'" in pages[1]


def test_overfitting_of_a_drawn_series(results, tmp_path, lossbench_command):
    """The validation is best at epochs 3 and 4; the training goes on falling."""
    rows = "".join(f"{n},{1 / n}\n" for n in range(1, 8))
    (tmp_path / "log.csv").write_text(f"epoch,train_loss\n{rows}")
    train = ("--train", tmp_path / "log.csv", "--train-column", "train_loss")
    model = read(lossbench_command("trend", *results, "-l", "iou", *train, "-f", "json"))
    assert model["overfitting"] == {"iou": 5}
    rows = "".join(f"{n},{n}\n" for n in range(1, 8))
    (tmp_path / "log.csv").write_text(f"epoch,train_loss\n{rows}")
    model = read(lossbench_command("trend", *results, "-l", "iou", *train, "-f", "json"))
    assert model["overfitting"] == {"iou": None}
    pattern = str(results[0]).replace("_1.json", "_{n}.json")
    model = read(lossbench_command("trend", *results, "--train", pattern, "-f", "json"))
    assert model["overfitting"] == {"dice_score": None, "iou": None}


def test_results_can_be_a_pattern(results, lossbench_command):
    pattern = str(results[0]).replace("_1.json", "_{n}.json")
    one = read(lossbench_command("trend", "--pattern", pattern, "-l", "iou", "-f", "json"))
    assert one == read(lossbench_command("trend", *results, "-l", "iou", "-f", "json"))


def test_the_order_of_results_is_kept(results, tmp_path, lossbench_command):
    for number, file in zip((1, 10, 2), results, strict=False):
        (tmp_path / f"e{number}.json").write_bytes(file.read_bytes())
    done = lossbench_command("trend", "e1.json", "e10.json", "e2.json", "-f", "json", cwd=tmp_path)
    assert [each["epoch"] for each in read(done)["epochs"]] == [1, 2, 3]
    assert "e10.json comes before e2.json" in done.stderr
    done = lossbench_command("trend", "e1.json", "e2.json", "e10.json", "-f", "json", cwd=tmp_path)
    assert [each["epoch"] for each in read(done)["epochs"]] == [1, 2, 10]
    single = read(lossbench_command("trend", "e10.json", "-f", "json", cwd=tmp_path))
    assert single["trend"]["iou"] == {"word": "too few", "tau": None, "p": None, "window": 1}
    assert single["best"]["iou"] == {"epoch": 1, "tied": []}


LIGHTNING = """epoch,step,train_loss_step,train_loss,val_loss,val_acc
0,9,0.9,,,
0,19,,0.8,,
0,19,,,0.7,0.5
1,39,,,0.5,0.6
1,39,,0.6,,
2,59,,,0.4,0.7
2,59,,0.4,,
3,79,,0.3,0.45,0.69
4,99,,0.2,0.5,0.68
5,119,,0.15,0.55,0.67
6,139,,0.1,0.6,0.66
"""
ULTRALYTICS = """          epoch, train/box_loss,           val/box_loss,   metrics/mAP50(B)
                      1,                    1.5,                    1.6,                0.1
                      2,                    1.2,                    1.4,                0.3
"""


def test_tables_of_loggers(tmp_path, lossbench_command):
    (tmp_path / "metrics.csv").write_text(LIGHTNING)
    (tmp_path / "results.csv").write_text(ULTRALYTICS)
    command = ("trend", "metrics.csv", "--column", "val_loss", "--train", "metrics.csv")
    done = lossbench_command(*command, "-f", "json", cwd=tmp_path)
    model = read(done)
    assert [each["epoch"] for each in model["epochs"]] == list(range(7))
    assert model["epochs"][0]["losses"]["val_loss"] == {
        "mean": 0.7, "ci_low": None, "ci_high": None, "average_so_far": 0.7,
    }  # fmt: skip
    assert model["best"] == {"val_loss": {"epoch": 2, "tied": []}}
    assert model["overfitting"] == {"val_loss": 3}
    assert "val_loss: lower is better, by its name" in done.stderr
    columns = ("--column", "val/box_loss", "--column", "metrics/mAP50(B)=higher")
    model = read(lossbench_command("trend", "results.csv", *columns, "-f", "json", cwd=tmp_path))
    assert model["best"]["metrics/mAP50(B)"]["epoch"] == 2
    assert model["best"]["val/box_loss"]["epoch"] == 2
    assert lossbench_command("trend", "results.csv", *columns, cwd=tmp_path).returncode == 0


WRITER = """
import os, shutil, sys, time
from pathlib import Path
root, drawn = Path(sys.argv[1]), Path(sys.argv[2])
# The first is written slowly, in pieces of each file, with pauses longer than two looks.
target = root / "epoch_1/pred"
target.mkdir(parents=True)
for file in sorted((drawn / "epoch_1/pred").iterdir()):
    data = file.read_bytes()
    with open(target / file.name, "wb", buffering=0) as out:
        out.write(data[: len(data) // 2])
        time.sleep(0.35)
        out.write(data[len(data) // 2 :])
# The second appears by a rename.
shutil.copytree(drawn / "epoch_2", root / "epoch_2.part")
time.sleep(0.3)
os.rename(root / "epoch_2.part", root / "epoch_2")
# The third is killed in the middle of a file.
target = root / "epoch_3/pred"
target.mkdir(parents=True)
for file in sorted((drawn / "epoch_3/pred").iterdir())[:3]:
    shutil.copy(file, target / file.name)
with open(target / "3.png", "wb", buffering=0) as out:
    out.write((drawn / "epoch_3/pred/3.png").read_bytes()[:60])
    os.kill(os.getpid(), 9)
"""


def test_watching_takes_complete_epochs_only(tmp_path):
    draw(tmp_path / "gt", 0, 0, pairs=4)
    for number in (1, 2, 3):
        draw(tmp_path / f"drawn/epoch_{number}/pred", 0.3 / number, number, pairs=4)
    draw(tmp_path / "drawn/epoch_0/pred", 0.4, 0, pairs=4)
    shutil.copytree(tmp_path / "drawn/epoch_0", tmp_path / "runs/epoch_0")
    out = tmp_path / "trend.json"
    command = [sys.executable, "-m", "lossbench_cli", *EPOCHS, "--watch", "--interval", "0.1",
               "--until", "4", "-o", str(out)]  # fmt: skip
    watching = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def wait_for(epochs):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if out.exists() and len(json.loads(out.read_text())["epochs"]) == epochs:
                return
            time.sleep(0.05)

    try:
        wait_for(1)  # it watches while all that follows is written
        writer = subprocess.run(
            [sys.executable, "-c", WRITER, tmp_path / "runs", tmp_path / "drawn"], timeout=60
        )
        assert writer.returncode == -signal.SIGKILL
        wait_for(3)
        time.sleep(1.0)  # many looks at the killed one
        assert watching.poll() is None
        assert [each["epoch"] for each in json.loads(out.read_text())["epochs"]] == [0, 1, 2]
        for file in (tmp_path / "drawn/epoch_3/pred").iterdir():  # the training is resumed
            (tmp_path / "runs/epoch_3/pred" / file.name).write_bytes(file.read_bytes())
        stdout, stderr = watching.communicate(timeout=60)
    finally:
        watching.kill()
    assert watching.returncode == 0, stderr
    model = json.loads(out.read_text())
    for each in model["epochs"]:
        complete = lossbench.evaluate(
            tmp_path / "drawn" / each["run"][5:], tmp_path / "gt", "dice_score"
        )
        assert each["losses"]["dice_score"]["mean"] == complete.aggregates["dice_score"]["mean"]
    assert [each["epoch"] for each in model["epochs"]] == [0, 1, 2, 3]
    shown = re.findall(r"epochs 0 to (\d)", stdout)
    assert shown == sorted(set(shown))  # a table when another epoch is complete, never else
    assert (shown[0], shown[-1]) == ("0", "3")
    assert "epoch 3 waits: " in stderr
    kept = list((tmp_path / "runs/.lossbench/trend").glob("epoch_*.json"))
    assert {each.name.partition("-")[0] for each in kept} >= {"epoch_1", "epoch_2", "epoch_3"}


def test_a_mistake_ends_watching_at_once(training, lossbench_command):
    watch = ("--watch", "--interval", "0.01")
    done = lossbench_command(*EPOCHS[:-1], "dicee", *watch, cwd=training)
    assert done.returncode == 2
    assert "'dicee'" in done.stderr


def test_an_epoch_is_taken_while_nothing_changes(tmp_path):
    file, reasons, reads = tmp_path / "e1", [], []

    def take(number, path):
        reads.append(file.read_text())
        if reads[-1] == "moving":
            file.write_text("moved on")
        return "half" if reads[-1] == "half" else ""

    watch = EpochWatch(lambda: {1: str(file)} if file.exists() else {}, take, reasons.append)
    assert not watch.look()
    file.write_text("half")
    assert not watch.look()  # seen once
    for _ in range(3):
        assert not watch.look()
    assert reads == ["half"]  # read again only when it has changed
    assert reasons == ["epoch 1 waits: half"]
    file.write_text("moving")
    assert not watch.look()
    assert not watch.look()  # it changed while it was read
    assert watch.taken == {}
    assert not watch.look()
    assert watch.look()
    assert watch.taken == {1: str(file)}
    assert not watch.look()
    file.write_text("whole, a second time")
    assert not watch.look()
    assert watch.look()
    file.unlink()
    assert watch.look()
    assert watch.taken == {}
    assert reads == ["half", "moving", "moved on", "whole, a second time"]


def test_ctrl_c_ends_watching(training):
    command = [sys.executable, "-m", "lossbench_cli", *EPOCHS, "--watch", "--interval", "0.1"]
    watching = subprocess.Popen(
        command, cwd=training, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert watching.stdout
        for line in watching.stdout:
            if line.startswith("11 "):
                break
        watching.send_signal(signal.SIGINT)
        _, stderr = watching.communicate(timeout=30)
    finally:
        watching.kill()
    assert watching.returncode == 0, stderr
