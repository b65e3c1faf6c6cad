"""Runs on Dask: the same bytes as here, however many workers there are, and whichever die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.parity import parity_module
from helpers.paths import SAMPLES

import lossbench

LocalCluster = parity_module("distributed").LocalCluster
BINARY = [SAMPLES / "binary" / side for side in ("pred", "gt")]
MULTICLASS = [SAMPLES / "multiclass" / side for side in ("pred", "gt")]
RUNS: dict[str, tuple[list[Path], list[str], dict[str, Any]]] = {
    "counted": (BINARY, ["dice", "auc", "0.5*bce + 0.5*iou"], {}),
    "pixels": (BINARY, ["hd95", "ssim_loss", "dice"], {}),
    "balanced": (MULTICLASS, ["cross_entropy(class_weights=auto)", "focal(alpha=auto)"], {}),
    "groups": (BINARY, ["dice", "assd"], {"group_by": "{plate}/{well}"}),
    "conventions": (MULTICLASS, ["dice"], {"convention": "all"}),
    "vectors": ([SAMPLES / "embedding" / side for side in ("pred", "gt")],
                ["cosine", "info_nce"], {"task": "vectors"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A cluster of somebody else's, with two workers."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as running:
        yield running


def text(result: Any) -> str:
    """A result but for what differs from one run to the next."""
    model = result.as_json()
    del model["session"]
    return json.dumps(model)


@pytest.mark.parametrize("name", RUNS)
def test_a_cluster_gives_what_one_process_gives(name: str, cluster: LocalCluster) -> None:
    folders, losses, how = RUNS[name]
    expected = text(lossbench.evaluate(*folders, losses, **how))
    address = cluster.scheduler_address
    assert text(lossbench.evaluate(*folders, losses, engine=address, **how)) == expected


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow),
                                     pytest.param(4, marks=pytest.mark.slow)])  # fmt: skip
def test_the_command_starts_workers_and_stops_them(workers: int, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "lossbench_cli", "eval", *BINARY, "-l", "dice", "-l", "hd95"]
    for name, more in (("here", []), ("dask", ["--engine", "dask", "--workers", str(workers)])):
        done = subprocess.run([*words, *more, "-q", "-o", tmp_path / f"{name}.json"],
                              capture_output=True, text=True, check=True)  # fmt: skip
        assert done.stderr == ""
    here, dask = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("here", "dask"))
    for model in (here, dask):
        del model["session"]
    assert json.dumps(here) == json.dumps(dask)


def many(root: Path, count: int) -> list[Path]:
    draw = np.random.default_rng(0)
    for side in ("pred", "gt"):
        (root / side).mkdir()
        for number in range(count):
            array = draw.random((128, 128))
            np.save(root / side / f"{number:04d}.npy", array if side == "pred" else array > 0.5)
    return [root / "pred", root / "gt"]


def test_a_worker_that_is_killed_costs_no_result(cluster: LocalCluster, tmp_path: Path) -> None:
    folders = many(tmp_path, 96)
    expected = text(lossbench.evaluate(*folders, ["dice", "hausdorff"]))
    told: list[int] = []

    def kill(step: Any) -> None:
        told.append(step.done)
        if len(told) == 3:
            process = next(iter(cluster.workers.values())).pid
            os.kill(process, signal.SIGKILL)

    run = lossbench.plan(*folders, ["dice", "hausdorff"], engine=cluster.scheduler_address)
    assert text(run.evaluate(kill)) == expected
    assert told == sorted(told)
    assert told[-1] == 96


def test_a_stopped_run_goes_on_here(cluster: LocalCluster, tmp_path: Path) -> None:
    folders = many(tmp_path, 40)
    run = lossbench.plan(*folders, ["dice"], engine=cluster.scheduler_address)
    path = str(tmp_path / "r.json.part")

    def stop(step: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.evaluate(stop, run.checkpoint(path))
    journal = lossbench.plan(*folders, ["dice"]).checkpoint(path, resume=True)
    totals: list[int] = []
    here = lossbench.plan(*folders, ["dice"])
    found = here.evaluate(lambda step: totals.append(step.total), journal)
    assert 0 < totals[0] < 40
    assert text(found) == text(here.evaluate())


def test_what_fails_is_told_as_it_is_here(cluster: LocalCluster, tmp_path: Path) -> None:
    folders = many(tmp_path, 6)
    (folders[0] / "0002.npy").write_bytes(b"no array")
    expected = lossbench.evaluate(*folders, "dice")
    found = lossbench.evaluate(*folders, "dice", engine=cluster.scheduler_address)
    assert [each.message for each in found.failed] == [each.message for each in expected.failed]
    assert text(found) == text(expected)


def test_a_users_own_loss_travels(cluster: LocalCluster, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        'def gap(pred, target):\n    """Gap."""\n    return abs(pred - target).mean()\n'
    )
    address = cluster.scheduler_address
    found = lossbench.evaluate(*BINARY, "gap", plugins=str(plugin), engine=address)
    here = lossbench.evaluate(*BINARY, "gap", plugins=str(plugin))
    assert found.values["gap"].samples == here.values["gap"].samples


@pytest.mark.parametrize(
    ("engine", "words"),
    [("spark", "engine is local, dask, or the address"),
     ("tcp://127.0.0.1:9", "there is no Dask scheduler at tcp://127.0.0.1:9")],
)  # fmt: skip
def test_an_engine_that_is_none_is_one_sentence(
    engine: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lossbench.engine.dask_engine.PATIENCE", "1s")
    with pytest.raises(lossbench.SettingError, match=words):
        lossbench.evaluate(*BINARY, "dice", engine=engine)


def test_without_dask_the_command_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(lossbench.SettingError, match=r"pip install 'lossbench\[dask\]'"):
        lossbench.evaluate(*BINARY, "dice", engine="dask")


def test_files_of_this_process_alone_are_refused(cluster: LocalCluster) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for side, folder in zip(("pred", "gt"), BINARY, strict=True):
        for path in sorted(folder.rglob("*.png")):
            memory.pipe(f"/dask/{side}/{path.stem}{path.parent.name}.png", path.read_bytes())
    places = ["memory://dask/pred", "memory://dask/gt"]
    with pytest.raises(lossbench.SettingError, match="read by this process alone"):
        lossbench.evaluate(*places, "dice", engine=cluster.scheduler_address)
