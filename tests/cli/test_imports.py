"""What a command must not wait for: torch where nothing is computed, and more where it can."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import lossbench_cli
import pytest
from helpers.paths import PLUGINS, SAMPLES

IMAGES = (str(SAMPLES / "image" / "pred"), str(SAMPLES / "image" / "gt"))
PLUGIN = str(PLUGINS / "plain.py")
HEAVY = {"torch", "numpy", "rich", "scipy", "PIL", "yaml"}


def imported(*arguments: str, status: int = 0) -> set[str]:
    """The top-level packages that a Python process imports, as the interpreter reports them."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == status, done.stderr[-500:]
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def by_command(*arguments: str, status: int = 0) -> set[str]:
    found = imported("-m", "lossbench_cli", *arguments, status=status)
    assert "click" in found  # the report is there and was read
    return found


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["eval", "--help"], ["losses"], ["losses", "-h"],
     ["losses", "--family", "scores"], ["explain", "dice"], ["gradcheck", "--help"],
     ["speed", "--help"], ["compare", "--help"], ["report", "--help"], ["inspect", "--help"],
     ["thresholds", "--help"], ["stress", "--help"], ["trend", "--help"],
     ["losses", "--plugin", PLUGIN], ["explain", "worst_pixel", "--plugin", PLUGIN]],
    ids=" ".join,
)  # fmt: skip
def test_help_and_the_catalogue_import_nothing_heavy(arguments: list[str]) -> None:
    assert not by_command(*arguments) & HEAVY


@pytest.mark.parametrize(
    ("sample", "arguments"),
    [
        ("image", []),
        ("image", ["--loss", "l1", "--gate", "l2.mean <= 0.5"]),
        ("binary", ["--loss", "seg = dice + 0.5*bce"]),
        ("multiclass", ["--per-class"]),
    ],
)
def test_a_dry_run_imports_no_torch(sample: str, arguments: list[str]) -> None:
    folders = [str(SAMPLES / sample / role) for role in ("pred", "gt")]
    found = by_command("eval", *folders, "--dry-run", *arguments)
    assert not found & {"torch", "rich", "scipy"}


def test_an_inspection_imports_no_torch() -> None:
    assert "torch" not in by_command("inspect", str(SAMPLES / "binary" / "gt"))


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["eval", *IMAGES, "--loss", "l3"], 2),
        (["eval", *IMAGES, "--gate", "l1.mean >= 0.1"], 2),
        (["eval", *IMAGES, "--wokers", "2"], 2),
        (["eval", "no/such/folder", IMAGES[1]], 3),
    ],
    ids=["loss", "gate", "option", "folder"],
)
def test_a_mistake_is_told_without_waiting_for_torch(arguments: list[str], status: int) -> None:
    assert "torch" not in by_command(*arguments, status=status)


def test_a_comparison_imports_no_torch(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "lossbench_cli", "eval", *IMAGES, "-q", "-o"]
    subprocess.run([*run, str(tmp_path / "run.json")], check=True, capture_output=True)
    found = by_command("compare", *[str(tmp_path / "run.json")] * 2)
    assert "numpy" in found
    assert not found & {"torch", "scipy", "PIL"}


def test_a_trend_imports_no_torch(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "lossbench_cli", "eval", *IMAGES, "-q", "-o"]
    subprocess.run([*run, str(tmp_path / "run.json")], check=True, capture_output=True)
    found = by_command("trend", *[str(tmp_path / "run.json")] * 6)
    assert not found & {"torch", "scipy", "PIL", "rich"}
    masks = SAMPLES / "binary"
    for number, name in enumerate(("earlier", "pred"), 1):
        (tmp_path / f"e{number}").symlink_to(masks / name)
    found = by_command("trend", "--pattern", str(tmp_path / "e{n}"), str(masks / "gt"))
    assert not found & {"torch", "scipy"}


def test_a_page_imports_no_torch(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "lossbench_cli", "eval", *IMAGES, "-q", "-o"]
    subprocess.run([*run, str(tmp_path / "run.json")], check=True, capture_output=True)
    page = str(tmp_path / "page.html")
    found = by_command("report", str(tmp_path / "run.json"), *IMAGES, "-o", page)
    assert "PIL" in found  # pictures were drawn
    assert not found & {"torch", "scipy", "rich"}
    assert "PIL" not in by_command("report", str(tmp_path / "run.json"), "--pictures", "0")


def test_damages_of_masks_import_no_torch() -> None:
    folder = str(SAMPLES / "binary" / "gt")
    loaded = by_command("stress", folder, "-l", "dice_score", "-l", "iou", "--sample", "1")
    assert not loaded & {"torch", "rich", "matplotlib"}


def test_thresholds_import_no_torch() -> None:
    folders = [str(SAMPLES / "binary" / role) for role in ("pred", "gt")]
    assert not by_command("thresholds", *folders) & {"torch", "scipy", "rich", "matplotlib"}


def test_nibabel_is_imported_for_nifti_alone() -> None:
    scans = [str(SAMPLES / "medical" / role) for role in ("pred", "gt")]
    assert "nibabel" not in by_command("eval", *IMAGES, "--dry-run")
    found = by_command("eval", *scans, "--dry-run")
    assert "nibabel" in found
    assert not found & {"torch", "rich"}


def test_the_library_imports_nothing_heavy_until_it_is_asked() -> None:
    code = "import lossbench; lossbench.list_losses(); lossbench.find_loss('f1')"
    found = imported("-c", code)
    assert "lossbench" in found
    assert not found & HEAVY


def test_planning_a_run_imports_no_torch() -> None:
    found = imported("-c", f"import lossbench; lossbench.plan{IMAGES!r}")
    assert "numpy" in found
    assert "torch" not in found


def test_a_process_that_reads_imports_no_torch() -> None:
    found = imported("-c", "import lossbench.engine.reader_pool")
    assert "PIL" in found
    assert "torch" not in found


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_numpy_starts_no_threads() -> None:
    code = "import lossbench_cli, numpy, os; print(len(os.listdir('/proc/self/task')))"
    usual = {name: value for name, value in os.environ.items() if "_NUM_THREADS" not in name}
    done = subprocess.run([sys.executable, "-c", code], env=usual, capture_output=True, check=True)
    assert int(done.stdout) == 1


def test_a_user_says_how_many_threads_numpy_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    importlib.reload(lossbench_cli)
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"


def test_computing_does_import_torch() -> None:
    """The control: what the other tests look for is seen where it is there."""
    assert "torch" in by_command("eval", *IMAGES, "--loss", "ssim")
