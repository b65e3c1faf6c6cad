"""`lossbench speed`: each section is complete. No test judges how long anything takes."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks import by_hand, deep
from helpers.paths import REPOSITORY
from PIL import Image

import lossbench
from lossbench.catalog.columns import resolve
from lossbench.catalog.registry import builtin
from lossbench.networks.architectures import Recipe
from lossbench.networks.extractor import Networks
from lossbench.speed import jobs, measure, processes, sections
from lossbench.speed.children import draw, losses
from lossbench.speed.processes import FinishedProcess
from lossbench.speed.report import SpeedReport, SpeedTable, describe_machine
from lossbench.speed.sections import LOSSES

Command = Callable[..., subprocess.CompletedProcess[str]]
PAIRS = ["--pairs", "2", "--size", "32"]
ARGUMENTS = {
    "decode": PAIRS, "pipeline": PAIRS, "memory": ["--pairs", "32", "--size", "80"],
    "jobs": PAIRS, "losses": ["--size", "32"], "deep": ["--size", "32"],
}  # fmt: skip
ROWS = {"decode": 8, "pipeline": 1, "jobs": 5, "memory": 4, "deep": 3}
# A loss has no gradient, an image is too small for its window, only some rows have a slope, or the
# process is smaller than the one that measures it.
MAY_LACK = ("forward_ms", "backward_ms", "table_us", "bytes_per", "memory_mb")


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, Any]:
    """Where and how the command is run: with settings of the user's that must not matter."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "lossbench.yaml").write_text("losses: [no_such_loss]\n", "utf-8")
    own = {"LOSSBENCH_LOSS": "no_such_loss", "TMPDIR": str(tmp_path / "temporary")}
    return {"cwd": tmp_path, "env": {**os.environ, **own}}


@pytest.mark.parametrize("section", lossbench.list_sections())
def test_a_section_is_complete(
    section: str,
    alone: dict[str, Any],
    lossbench_command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    for counts in ("PIPELINE_COUNTS", "MEMORY_COUNTS"):
        monkeypatch.setattr(sections, counts, (1,))
    done = lossbench_command("speed", section, *ARGUMENTS[section], "-o", "speed.json", **alone)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "speed.json").read_text("utf-8"))
    assert report["schema"] == 1
    assert report["machine"]["versions"]["lossbench"] == lossbench.__version__
    assert report["settings"]["repeat"] == 1
    assert list(report["sections"]) == [section]
    table = report["sections"][section]
    for row in table["rows"]:
        assert list(row) == list(table["columns"])
        for key, value in row.items():
            if value is None:
                assert key.startswith(MAY_LACK), key
            elif not isinstance(value, str) and not key.startswith("bytes_per"):
                assert value > 0, key
    assert len(table["rows"]) == ROWS.get(section, len(table["rows"]))
    lines = done.stdout.splitlines()
    assert lines[1].startswith(f"lossbench {lossbench.__version__}, python ")
    assert lines[3] == f"{section}: {table['title']}"
    assert lines[4].split() == " ".join(table["columns"].values()).split()
    assert len(lines) == 6 + len(table["rows"])
    for line, row in zip(lines[6:], table["rows"], strict=True):
        first = next(iter(row.values()))
        assert line.split()[0].replace(",", "") == str(first).split()[0].replace(",", "")
    assert f"{section}: " in done.stderr
    assert not list((tmp_path / "temporary").iterdir())


def test_json_is_printed_as_it_is_written(
    alone: dict[str, Any], lossbench_process: Command, tmp_path: Path
) -> None:
    how = ("--pairs", 1, "--size", 16, "--repeat", 2, "-f", "json", "-o", "a.json")
    done = lossbench_process("speed", "decode", "decode", *how, **alone)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "a.json").read_text("utf-8")
    assert json.loads(done.stdout)["settings"]["repeat"] == 2


def test_a_folder_keeps_its_images_and_they_are_used_again(tmp_path: Path) -> None:
    def measured() -> dict[Path, int]:
        how = {"pairs": 2, "size": 16, "folder": tmp_path / "kept"}
        (report,) = lossbench.measure_speed("decode", **how)
        assert [table.section for table in report.tables] == ["decode"]
        files = (path for path in (tmp_path / "kept").rglob("*") if path.is_file())
        return {path: path.stat().st_mtime_ns for path in files}

    first = measured()
    assert len(first) == 2 * len(draw.FORMATS)
    assert measured() == first


def test_reports_come_section_by_section_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    notes: list[str] = []
    reports = lossbench.measure_speed(
        ["decode", "pipeline"], pairs=1, size=16, progress=notes.append
    )
    assert [table.section for table in next(reports).tables] == ["decode"]
    assert list(tmp_path.iterdir())
    reports.close()
    assert not list(tmp_path.iterdir())
    assert any(line.startswith("decode: ") for line in notes)
    assert not any(line.startswith("pipeline: ") for line in notes)


def test_it_can_be_stopped_and_leaves_nothing(alone: dict[str, Any], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lossbench_cli", "speed", "pipeline", "--size", "64"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **alone) as run:
        until = time.monotonic() + 60
        while not list((tmp_path / "temporary").iterdir()) and time.monotonic() < until:
            time.sleep(0.05)
        run.send_signal(signal.SIGTERM)
        assert run.wait(timeout=60) == -signal.SIGTERM
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pipelin"], "'pipelin' is not one of 'decode'"),
        (["decode", "--pairs", "0"], "0 is not in the range x>=1"),
        (["decode", "--size", "8"], "8 is not in the range x>=16"),
        (["decode", "--repeat", "0"], "0 is not in the range x>=1"),
        (["losses", "deep", "--pairs", "3"], "losses, deep measures no pairs; leave out --pairs"),
        (["decode", "-o", "a.csv"], "a.csv: the ending selects the format; use one of .json"),
        (["decode", "-o", "no/such/a.json"], "the folder no/such does not exist"),
        (["decode", "-f", "csv"], "'csv' is not one of"),
        (["decode", "--folder", "lossbench.yaml"], "the folder lossbench.yaml cannot be made"),
        (["pipeline", "--pairs", "1", "--size", "16", "--device", "abacus"],
         "device is auto, cpu, cuda or cuda:N, not 'abacus'"),
    ],
)  # fmt: skip
def test_an_error_is_one_sentence(
    arguments: list[str], message: str, alone: dict[str, Any], lossbench_command: Command
) -> None:
    done = lossbench_command("speed", *arguments, **alone)
    assert done.returncode == 2
    *before, last = done.stderr.splitlines()
    assert last.startswith("error: ")
    assert message in last
    assert not any(line.startswith(("error", "Traceback")) for line in before)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sections": ["decod"]}, "no section is called 'decod' (did you mean 'decode'?)"),
        ({"sections": "decode", "pairs": 0}, "pairs is a number from 1, not 0"),
        ({"sections": "decode", "size": 8}, "size is a number from 16, not 8"),
        ({"repeat": 0}, "repeat is a number from 1, not 0"),
    ],
)
def test_the_library_refuses_at_once(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(lossbench.SettingError, match=re.escape(message)):
        lossbench.measure_speed(**settings)


def test_a_busy_machine_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    for load, busy in ((0.0, False), (None, False), (99.0, True)):
        machine = {**describe_machine(), "load": load}
        monkeypatch.setattr(measure, "describe_machine", lambda machine=machine: machine)
        notes: list[str] = []
        list(lossbench.measure_speed("decode", pairs=1, size=16, progress=notes.append))
        assert any("busy (load 99.0 on" in note for note in notes) == busy


# What is measured


def test_losses_by_hand_are_those_of_the_catalogue(tmp_path: Path) -> None:
    """The loop by hand computes the same values; float32 on one side."""
    sides = {"pred": ("binary", 0, ".png"), "gt": ("binary", 1, ".png")}
    draw.draw_folders(sides, 3, 96, tmp_path)
    assert set(by_hand.LOSSES) == set(LOSSES)
    result = lossbench.evaluate(tmp_path / "pred", tmp_path / "gt", list(by_hand.LOSSES))
    for index, name in enumerate(result.ids):
        pair = [tmp_path / role / f"{name}.png" for role in ("pred", "gt")]
        for loss, value in by_hand.values(*pair).items():
            assert value == pytest.approx(result.values[loss].samples[index], rel=1e-4), loss


def test_the_bare_network_is_the_one_that_losses_use(tmp_path: Path) -> None:
    """Plain torch on one side, our own extractor on the other."""
    images = torch.rand((2, 3, 24, 20), generator=torch.Generator().manual_seed(0))
    weights = deep.seeded(deep.VGG)
    np.savez(tmp_path / "vgg16.npz", **{key: value.numpy() for key, value in weights.items()})
    ours = Networks({"vgg16": str(tmp_path / "vgg16.npz")})
    with torch.inference_mode():
        expected = ours.maps(images, Recipe("vgg16"), [deep.LAYER])[deep.LAYER]
        torch.testing.assert_close(deep.features(images, weights), expected)


def test_the_script_of_masks_computes_what_a_run_does(tmp_path: Path) -> None:
    draw.draw_folders({"pred": ("mask", 0, ".png"), "gt": ("mask", 1, ".png")}, 3, 64, tmp_path)
    folders = tmp_path / "pred", tmp_path / "gt"
    (by_script,) = processes.child("masks", *folders).figures
    result = lossbench.evaluate(*folders, ["dice_score", "iou"])
    assert list(by_script.values()) == pytest.approx(
        [np.mean(result.values[name].samples) for name in ("dice_score", "iou")]
    )


def test_a_job_is_left_out_where_its_package_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (volumes,) = (job for job in jobs.JOBS if job.kind == "volumes")
    monkeypatch.setattr(jobs, "JOBS", (replace(volumes, package="no_such_package"),))
    notes: list[str] = []
    (report,) = lossbench.measure_speed("jobs", pairs=1, size=16, progress=notes.append)
    assert not report.tables[0].rows
    assert any("left out, since no_such_package is not installed" in note for note in notes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "numbers", "needs"),
    [("by_hand", "2 32", "torch"), ("deep", "2 32", "torch"), ("surfaces", "1 32 16", "monai"),
     ("cluster", "8 32", "distributed")],
)  # fmt: skip
def test_a_benchmark_runs(script: str, numbers: str, needs: str) -> None:
    pytest.importorskip(needs)
    file = REPOSITORY / "tests" / "benchmarks" / f"{script}.py"
    subprocess.run([sys.executable, file, *numbers.split()], check=True, timeout=300)


TASKS = {name: losses.task_of(entry) for name, entry in builtin().items()}


def test_every_loss_is_measured_except_of_segments_and_boxes_and_some_of_networks() -> None:
    others = {"instances", "detection", "records"}
    own_weights, combinations = {"lpips", "dists"}, {"topology", "content_style"}
    assert {name for name, task in TASKS.items() if task is None} == own_weights | combinations | {
        name for name, entry in builtin().items() if set(entry.tasks) <= others
    }


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task])
def test_a_measured_loss_has_a_value(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, task = builtin()[name], str(TASKS[name])
    if entry.family == "deep":
        return  # the section deep above has their rows
    monkeypatch.setattr(losses, "LONG", 0)
    monkeypatch.setattr(losses, "TABLES", 2)
    losses.tables.cache_clear()
    size = 176 if name == "ms_ssim" else 24
    times = losses.trained(entry, task, size, "cpu", 1, {})
    assert (times["forward_ms"] is None) == (name == "weighted_bce")  # needs a data set
    on_tables = losses.on_tables(entry, task, 1)
    if name in LOSSES:
        assert on_tables is not None
    losses.tables.cache_clear()


def test_losses_of_a_run_need_no_positions() -> None:
    assert (
        len(LOSSES)
        == len(set(LOSSES))
        == max(sections.PIPELINE_COUNTS)
        >= max(sections.MEMORY_COUNTS)
    )
    for name in LOSSES:
        (column,) = resolve([name], {})
        assert all(term.countable("binary") for term in column.terms)


# Images


@pytest.mark.parametrize("kind", draw.KINDS)
def test_images_are_seeded(kind: str, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        draw.draw_folders({"pred": (kind, 0, ".png"), "gt": (kind, 1, ".png")}, 2, 48,
                          tmp_path / folder)  # fmt: skip
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.png"))
    assert len(files) == 4
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("kind", sections.DRAWN)
def test_files_of_other_kinds_are_seeded(kind: str, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        processes.child(*sections.DRAWN[kind], 2, 32, tmp_path / folder)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*")]
    assert len(files) == {"volumes": 4, "boxes": 2}[kind]
    for file in files:
        packed = [(tmp_path / folder / file).read_bytes() for folder in ("a", "b")]
        one, other = map(gzip.decompress, packed) if kind == "volumes" else packed
        assert one == other


@pytest.mark.parametrize("size", [40, 100])
def test_images_are_of_their_kind(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "LARGEST", 50)  # the larger one is scaled up
    for number in range(5):
        pred, target = map(np.asarray, draw.draw("binary", size, number))
        assert pred.shape == target.shape == (size, size)
        assert set(np.unique(target)) == {0, 255}
        assert len(np.unique(pred)) > 20
        assert draw.draw("colour", size, number)[0].mode == "RGB"


def test_further_pairs_are_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "DISTINCT", 2)
    draw.draw_folders({"gt": ("binary", 1, ".png")}, 5, 16, tmp_path)
    draw.draw_folders(draw.FORMATS, 3, 16, tmp_path / "formats")
    read = [np.asarray(Image.open(tmp_path / "gt" / f"{n:06d}.png")) for n in range(5)]
    assert (read[0] == read[2]).all()
    assert (read[0] == read[4]).all()
    assert (read[0] != read[1]).any()
    files = [path for path in (tmp_path / "formats").rglob("*") if path.is_file()]
    assert len(files) == 3 * len(draw.FORMATS)


# Processes and tables


def python(code: str) -> FinishedProcess:
    return processes.run([sys.executable, "-c", code])


def test_a_process_is_measured() -> None:
    ended = python("print('{\"a\": 1}')")
    assert ended.figures == [{"a": 1}]
    assert ended.seconds > 0


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="this system does not tell a child's memory")
def test_the_peak_is_that_of_the_process() -> None:
    """A process that holds 800 MB, measured by a small one.

    Linux hands the peak of these tests, which may be larger, on to what they start, but not to what
    that starts in turn.
    """
    code = (
        "import sys; from lossbench.speed import processes\n"
        "for code in ('x = bytearray(8 * 10**8)', 'pass'):\n"
        "    print(processes.run([sys.executable, '-c', code]).peak)"
    )
    between = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}], check=True)"
    )
    large, small = python(between).output.split()
    assert 800 < float(large) < 900
    assert small == "None" or float(small) < 100


def test_a_process_that_fails_is_reported() -> None:
    with pytest.raises(lossbench.LossbenchError, match=r"status 1: ValueError: seven"):
        python("raise ValueError('seven')")
    with pytest.raises(lossbench.InputError, match="no/such"):
        processes.run([*processes.COMMAND, "eval", "no/such", "no/such"])


def test_medians_are_of_rounds() -> None:
    """By hand: the ratios are 2, 1 and 4, where the ratio of the medians would be 3/2."""
    taken = {"run": iter([4.0, 3.0, 4.0]), "limit": iter([2.0, 3.0, 1.0])}
    output = '{"import": 1.0, "decode": [[1.0]]}'
    rounds = processes.alternate(
        3,
        {
            name: partial(lambda x: FinishedProcess(next(x), None, output), x)
            for name, x in taken.items()
        },
    )
    assert [list(each) for each in rounds] == [["run", "limit"], ["limit", "run"], ["run", "limit"]]
    medians = sections.medians(rounds, "run")
    assert (medians["seconds"], medians["limit_seconds"], medians["ratio"]) == (4, 2, 2)


def test_a_table_reads_back() -> None:
    columns = {"what": ("what", ""), "ms": ("ms", ",.1f")}
    table = SpeedTable("decode", "files", columns, [{"what": "a", "ms": 1234.56}, {"what": "b"}])
    assert table.as_json() == {
        "title": "files",
        "columns": {"what": "what", "ms": "ms"},
        "rows": [{"what": "a", "ms": 1234.56}, {"what": "b", "ms": None}],
    }
    report = SpeedReport(describe_machine(), {"repeat": 1}, (table,))
    lines = lossbench.render(report, "table").splitlines()
    assert [line.split() for line in (lines[0], *lines[3:])] == [
        ["decode:", "files"], ["a", "1,234.6"], ["b", "–"]
    ]  # fmt: skip
    assert json.loads(lossbench.render(report, "json")) == report.as_json()
    assert report.as_json()["sections"] == {"decode": table.as_json()}
