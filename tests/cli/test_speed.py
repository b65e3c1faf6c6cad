"""`lossbench speed`: every section is there and complete; what it measures is told by no test."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import lossbench
from lossbench.catalog.registry import builtin
from lossbench.networks.architectures import Recipe
from lossbench.networks.extractor import Networks
from lossbench.speed import cluster, machine, processes
from lossbench.speed.children import by_hand, draw, losses, trunk
from lossbench.speed.pipelines import counted
from lossbench.speed.processes import FinishedProcess
from lossbench.speed.report import SpeedReport, Table, TableColumn

Command = Callable[..., subprocess.CompletedProcess[str]]
SECTIONS = list(lossbench.list_sections())
TINY = {
    "import": [], "start": [], "losses": ["--size", "32"], "large": ["--size", "80"],
    **{name: ["--pairs", "2", "--size", "32"]
       for name in ("decode", "pipeline", "classes", "small", "few", "memory", "deep", "cluster",
                    "surface")},
}  # fmt: skip
# How many rows, and what names them.
ROWS = {
    "import": 5, "decode": 9, "pipeline": 4, "classes": 2, "small": 3, "few": 3, "memory": 6,
    "large": 2, "start": 12, "deep": 1, "cluster": 2, "surface": 5,
}  # fmt: skip
# A loss has no gradient, an image is too small for its window, a first row nothing before it, a
# process held less than the one that measured it, a few further pairs take no time.
MAY_LACK = ("forward_ms", "backward_ms", "table_us", "bytes_per", "by_hand_ratio", "memory_mb",
            "idle_mb", "pairs_per_second", "worker_ms", "fleet_hours", "driver_")  # fmt: skip


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, Any]:
    """Where and how the command is run: with settings of the user's that must not matter."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "lossbench.yaml").write_text("losses: [no_such_loss]\n", "utf-8")
    own = {"LOSSBENCH_LOSS": "no_such_loss", "TMPDIR": str(tmp_path / "temporary")}
    return {"cwd": tmp_path, "env": {**os.environ, **own}}


@pytest.mark.parametrize(
    "section",
    # A cluster's parts are tested in test_cluster.py; it starts eight runs and two schedulers.
    [pytest.param(each, marks=[pytest.mark.slow] * (each == "cluster")) for each in SECTIONS],
)
def test_a_section_is_complete(
    section: str, alone: dict[str, Any], lossbench_process: Command, tmp_path: Path
) -> None:
    done = lossbench_process("speed", section, *TINY[section], "-o", "speed.json", **alone)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "speed.json").read_text("utf-8"))
    assert found["schema"] == 1
    assert found["machine"]["versions"]["lossbench"] == lossbench.__version__
    assert found["settings"]["repeat"] == 1
    assert list(found["sections"]) == [section]
    table = found["sections"][section]
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


def test_a_folder_keeps_its_pictures_and_they_are_used_again(tmp_path: Path) -> None:
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
    told: list[str] = []
    reports = lossbench.measure_speed(["decode", "import"], pairs=1, size=16, progress=told.append)
    assert [table.section for table in next(reports).tables] == ["decode"]
    assert list(tmp_path.iterdir())
    reports.close()
    assert not list(tmp_path.iterdir())
    assert any(line.startswith("decode: ") for line in told)
    assert not any(line.startswith("import: ") for line in told)


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
    ("arguments", "told"),
    [
        (["pipelin"], "'pipelin' is not one of 'import'"),
        (["import", "--pairs", "0"], "0 is not in the range x>=1"),
        (["decode", "--size", "8"], "8 is not in the range x>=16"),
        (["decode", "--repeat", "0"], "0 is not in the range x>=1"),
        (["import", "--pairs", "3"], "pairs means nothing to import"),
        (["start", "large", "--pairs", "3"], "pairs means nothing to start, large"),
        (["start", "--size", "30"], "size means nothing to start"),
        (["import", "-o", "a.csv"], "a.csv: the figures are written as .json"),
        (["import", "-o", "no/such/a.json"], "the folder no/such does not exist"),
        (["import", "-f", "csv"], "'csv' is not one of"),
        (["decode", "--folder", "lossbench.yaml"], "the folder lossbench.yaml cannot be made"),
        (["few", "--pairs", "1", "--size", "16", "--device", "abacus"],
         "device 'abacus' cannot be used"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_sentence(
    arguments: list[str], told: str, alone: dict[str, Any], lossbench_process: Command
) -> None:
    done = lossbench_process("speed", *arguments, **alone)
    assert done.returncode == 2
    *before, last = done.stderr.splitlines()
    assert last.startswith("error: ")
    assert told in last
    assert not any(line.startswith(("error", "Traceback")) for line in before)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"sections": ["decod"]}, "no section is called 'decod' (did you mean 'decode'?)"),
        ({"sections": "decode", "pairs": 0}, "pairs is a number from 1, not 0"),
        ({"sections": "decode", "size": 8}, "size is a number from 16, not 8"),
        ({"repeat": 0}, "repeat is a number from 1, not 0"),
    ],
)
def test_the_library_refuses_at_once(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(lossbench.SettingError, match=re.escape(told)):
        lossbench.measure_speed(**settings)


def test_a_section_whose_package_is_missing_is_refused_or_left_out(monkeypatch: Any) -> None:
    monkeypatch.setattr("lossbench.speed.measure.find_spec", lambda name: None)
    with pytest.raises(lossbench.SettingError, match=r"needs distributed: pip install .*\[dask\]"):
        lossbench.measure_speed("cluster")
    told: list[str] = []
    lossbench.measure_speed(progress=told.append)
    assert told == [
        "cluster: left out, it needs distributed: pip install 'lossbench[dask]'",
        "surface: left out, it needs monai: pip install 'lossbench[test]'",
    ]


def test_costs_of_a_further_pair_are_slopes() -> None:
    """100 further pairs in 2 s on 4 workers, 0.5 s and 0.1 MB of the driver, by hand."""
    few, many = FinishedProcess(1.0, 50.0, "", 0.5), FinishedProcess(3.0, 50.1, "", 1.0)
    of_workers = cluster.worker_costs(4, few, many, 100)
    assert of_workers["pairs_per_second"] == pytest.approx(50)
    assert of_workers["worker_ms"] == pytest.approx(80)
    assert of_workers["fleet_hours"] == pytest.approx(1e8 * 0.08 / 100 / 3600)
    of_driver = cluster.driver_costs(few, many, 100)
    assert of_driver["driver_ms"] == pytest.approx(5)
    assert of_driver["driver_bytes"] == pytest.approx(1000)
    assert of_driver["driver_gb"] == pytest.approx(100)
    assert cluster.driver_costs(many, few, 100) == {}
    assert cluster.driver_costs(FinishedProcess(1, None, ""), many, 100) == {}


# What is measured


def test_losses_by_hand_are_those_of_the_catalogue(tmp_path: Path) -> None:
    """A peer that computed something else would be no peer; float32 on one side."""
    draw.draw_pairs("binary", 3, 96, tmp_path)
    assert len(by_hand.LOSSES) == 20
    found = lossbench.evaluate(tmp_path / "pred", tmp_path / "gt", list(by_hand.LOSSES))
    for place, name in enumerate(found.ids):
        pair = [tmp_path / role / f"{name}.png" for role in ("pred", "gt")]
        for loss, value in by_hand.values(pair[0], pair[1], "cpu").items():
            assert value == pytest.approx(found.values[loss].samples[place], rel=1e-4), loss


def test_the_bare_network_is_the_one_that_losses_use(tmp_path: Path) -> None:
    """Plain torch modules on one side, our own trunk on the other."""
    network = trunk.bare("relu2_2")
    images = torch.rand((2, 3, 24, 20), generator=torch.Generator().manual_seed(0))
    mean, deviation = (torch.tensor(each)[:, None, None] for each in (trunk.MEAN, trunk.DEVIATION))
    numbers = {key: value.numpy() for key, value in trunk.seeded(trunk.VGG).items()}
    np.savez(tmp_path / "vgg16.npz", **numbers)
    ours = Networks({"vgg16": str(tmp_path / "vgg16.npz")})
    with torch.inference_mode():
        wanted = ours.maps(images, Recipe("vgg16"), ["relu2_2"])["relu2_2"]
        torch.testing.assert_close(network((images - mean) / deviation), wanted)


MEASURED = {name: losses.task_of(entry) for name, entry in builtin().items()}


def test_every_loss_is_measured_but_those_of_networks_segments_and_boxes() -> None:
    lacking = {name for name, task in MEASURED.items() if task is None}
    others = {"instances", "detection", "records"}
    assert lacking == {
        name
        for name, entry in builtin().items()
        if entry.family == "deep" or set(entry.tasks) <= others
    }


@pytest.mark.parametrize("name", [name for name, task in MEASURED.items() if task])
def test_a_loss_is_called_in_a_way_that_it_has_a_value(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, task = builtin()[name], str(MEASURED[name])
    monkeypatch.setattr(losses, "LONG", 0)
    monkeypatch.setattr(losses, "TABLES", 2)
    losses.tables.cache_clear()
    size = 176 if name == "ms_ssim" else 24
    found = losses.trained(entry, task, size, "cpu", 1)
    assert (found[f"forward_ms_{size}"] is None) == (name == "weighted_bce")  # needs a data set
    on_tables = losses.on_tables(entry, task, "cpu", 1)
    if task == "binary" and name in counted("binary"):
        assert on_tables is not None
    losses.tables.cache_clear()


def test_losses_of_a_pipeline_look_at_no_position() -> None:
    """Taken from LOSSES.md's families: those of places, networks and segments are not there."""
    for task in ("binary", "multiclass"):
        families = {builtin()[name].family for name in counted(task)}
        assert {"overlap", "regression", "scores", "divergence"} <= families
        assert not families & {"structure", "boundary", "deep", "instances", "embedding"}


# Pictures


@pytest.mark.parametrize("kind", draw.KINDS)
def test_pictures_are_seeded(kind: str, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        draw.draw_pairs(kind, 2, 48, tmp_path / folder)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.png"))
    assert len(files) == 4
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("size", [40, 100])
def test_pictures_hold_what_their_kind_says(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "LARGEST", 50)  # the larger one is scaled up
    for number in range(5):
        pred, target = draw.drawn("binary", size, number)
        assert pred.shape == target.shape == (size, size)
        assert set(np.unique(target)) == {0, 255}
        assert len(np.unique(pred)) > 20
        for classes in (19, 150):
            pred, target = draw.drawn(f"labels{classes}", size, number)
            assert max(pred.max(), target.max()) < classes
            assert 0.7 < (pred == target).mean() < 1
        assert draw.drawn("colour", size, number)[0].shape == (size, size, 3)


def test_further_pairs_are_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "DISTINCT", 2)
    draw.draw_pairs("binary", 5, 16, tmp_path)
    draw.draw_formats(3, 16, tmp_path / "formats")
    read = [np.asarray(Image.open(tmp_path / "gt" / f"{n:06d}.png")) for n in range(5)]
    assert (read[0] == read[2]).all()
    assert (read[0] == read[4]).all()
    assert (read[0] != read[1]).any()
    assert sum(path.is_file() for path in (tmp_path / "formats").rglob("*")) == 3 * 9


# Processes and tables


def test_a_process_is_measured() -> None:
    ended = processes.python("-c", "print('{\"a\": 1}')")
    assert ended.figures == {"a": 1}
    assert ended.seconds > 0


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="this system does not tell a child's memory")
def test_the_peak_is_that_of_the_process() -> None:
    """A process that holds 800 MB, told by a small one.

    Linux hands the peak of these tests, which may be larger, on to what they start, but not to what
    that starts in turn.
    """
    code = (
        "from lossbench.speed import processes\n"
        "print(processes.python('-c', 'x = bytearray(8 * 10**8)').peak)\n"
        "print(processes.python('-c', 'pass').peak)"
    )
    between = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}], check=True)"
    )
    held, small = processes.python("-c", between).output.split()
    assert 800 < float(held) < 900
    assert small == "None" or float(small) < 100


def test_a_process_that_fails_is_told() -> None:
    with pytest.raises(lossbench.LossbenchError, match=r"status 1: ValueError: seven"):
        processes.python("-c", "raise ValueError('seven')")
    with pytest.raises(lossbench.InputError, match="no/such"):
        processes.run([*processes.COMMAND, "eval", "no/such", "no/such"])
    lines = processes.lines([sys.executable, "-c", "print('{}', flush=True); raise OSError('x')"])
    assert next(lines) == {}
    with pytest.raises(lossbench.LossbenchError, match="OSError: x"):
        next(lines)


def test_medians_are_of_rounds() -> None:
    """By hand: the ratios are 2, 1 and 4, where the ratio of the medians would be 3/2."""
    taken = {"run": iter([4.0, 3.0, 4.0]), "limit": iter([2.0, 3.0, 1.0])}
    rounds = processes.alternate(
        3,
        {
            name: partial(lambda x: FinishedProcess(next(x), None, ""), x)
            for name, x in taken.items()
        },
    )
    assert [list(each) for each in rounds] == [["run", "limit"], ["limit", "run"], ["run", "limit"]]
    assert processes.median(rounds, processes.seconds("run")) == 4
    assert processes.median(rounds, processes.next_to("run", "limit")) == 2


def test_a_table_reads_back() -> None:
    columns = (TableColumn("what", "what"), TableColumn("ms", "ms", ",.1f"))
    table = Table("start", "commands", columns, [{"what": "a", "ms": 1234.56}, {"what": "b"}])
    assert table.as_json() == {
        "title": "commands",
        "columns": {"what": "what", "ms": "ms"},
        "rows": [{"what": "a", "ms": 1234.56}, {"what": "b", "ms": None}],
    }
    lines = table.render().splitlines()
    assert [line.split() for line in (lines[0], *lines[3:])] == [
        ["start:", "commands"], ["a", "1,234.6"], ["b", "–"]
    ]  # fmt: skip
    report = SpeedReport(machine.described(), {"repeat": 1}, (table,))
    assert json.loads(report.render()) == report.as_json()
    assert report.as_json()["sections"] == {"start": table.as_json()}


def test_what_makes_timings_longer_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quiet, busy = {"load": 0.0}, {"load": 99.0}
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert list(machine.hindrances(quiet)) == list(machine.hindrances({"load": None})) == []
    (told,) = machine.hindrances(busy)
    assert "busy (load 99.0 on" in told
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "machine.py"))
    (told,) = machine.hindrances(quiet)
    assert "PYTHONDONTWRITEBYTECODE" in told
    kept = Path(importlib.util.cache_from_source(machine.__file__))
    kept.parent.mkdir()
    kept.touch()
    assert list(machine.hindrances(quiet)) == []
