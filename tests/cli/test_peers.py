"""The benchmark next to other tools: their numbers are those of lossbench. Nothing is timed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import peers

import lossbench
from lossbench.speed.jobs import JOBS
from lossbench.speed.sections import Setup

FILES = {job.kind: job for job in JOBS}
TOLERANCE = 1e-5  # most tools compute in float32


@pytest.mark.parametrize(("tool", "kind"), peers.PROGRAMS)
def test_a_peer_computes_the_numbers_of_lossbench(tool: str, kind: str, tmp_path: Path) -> None:
    pytest.importorskip(tool)
    setup = Setup(tmp_path, 3, 48, 1, "cpu", print)
    sides = FILES[kind].fitted(setup).sides(setup)
    numbers = peers.PROGRAMS[tool, kind](*sides)
    expected = peers.numbers_of(lossbench.evaluate(*sides, list(numbers)))
    assert numbers == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)
    assert peers.difference(numbers, expected) <= TOLERANCE


def test_a_tool_that_is_not_installed_or_fails_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs: dict[tuple[str, str], Callable[..., peers.Numbers]] = {
        ("no_such_tool", "mask"): peers.monai_masks,
        ("zlib", "mask"): peers.monai_masks,  # is installed, and no tool of the program
    }
    monkeypatch.setattr(peers, "PROGRAMS", programs)
    notes: list[str] = []
    setup = Setup(tmp_path, 1, 16, 1, "cpu", notes.append)
    assert peers.compared(FILES["mask"].fitted(setup), setup) == []
    assert "no_such_tool is left out: it is not installed" in notes
    assert any(note.startswith("zlib is left out: a measured process ended") for note in notes)


@pytest.mark.slow
def test_the_program_prints_a_row_for_each_job_and_installed_tool() -> None:
    command = [sys.executable, peers.__file__, "--pairs", "2", "--size", "48", "--repeat", "1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    left_out = re.findall(r"^(\w+) is left out", done.stderr, re.MULTILINE)
    expected = [
        tool for job in JOBS for tool, kind in peers.PROGRAMS if kind == job.kind
        if tool not in left_out
    ]  # fmt: skip
    rows = [line for line in done.stdout.splitlines() if re.match(r"\d+ ", line)]
    assert len(rows) == len(expected)
    for row, tool in zip(rows, expected, strict=True):
        assert f" {tool} " in row
