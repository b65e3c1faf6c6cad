"""What tests share: folders of pictures, the command in a process of its own, the real data."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from helpers.paths import DATA
from lossbench_cli import main as edge
from PIL import Image

pytest_plugins = ["helpers.raised_messages"]

# Tests run side by side, each on small tensors, where torch's threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("COLUMNS", None)  # which limits the width of tables
# What a shell starts in the background ignores Ctrl-C, which tests send to their processes.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str, Mapping[str, Any]], Path]:
    """Write a folder: name with ending -> array or Pillow image; returns its path."""

    def write(name: str, files: Mapping[str, Any]) -> Path:
        for file, array in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".npy":
                np.save(path, array)
            else:
                picture = array if isinstance(array, Image.Image) else Image.fromarray(array)
                picture.save(path)
        return tmp_path / name

    return write


@pytest.fixture
def lossbench_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command in this process, which has torch already, from its arguments to its status.

    `cwd` and `env` are those of that run alone, as `subprocess.run` has them.
    """

    def leave(status: int) -> NoReturn:
        raise SystemExit(status)

    def run(
        *arguments: Any, cwd: Any = ".", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        words, handler = ["lossbench", *map(str, arguments)], signal.getsignal(signal.SIGTERM)
        thresholds = gc.get_threshold()
        with monkeypatch.context() as during:
            during.chdir(cwd)
            if env is not None:
                during.setattr(os, "environ", dict(env))
            during.setattr(sys, "argv", words)
            during.setattr(edge, "_leave", leave)
            capsys.readouterr()
            try:
                with pytest.raises(SystemExit) as end:
                    edge.main()
            finally:  # as the command found them
                signal.signal(signal.SIGTERM, handler)
                gc.unfreeze()
                gc.set_threshold(*thresholds)
                gc.enable()
        return subprocess.CompletedProcess(words, int(end.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def lossbench_process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command in a process of its own and wait for it."""

    def run(*arguments: Any, **how: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lossbench_cli", *map(str, arguments)]
        how = {"capture_output": True, "text": True, "timeout": 120} | how
        return subprocess.run(command, check=False, **how)

    return run


@pytest.fixture
def data() -> Callable[[str], Path]:
    """A folder of the real data, or a skip that says which is absent."""

    def find(name: str) -> Path:
        if not (DATA / name).is_dir():
            pytest.skip(f"the real data set {name} is not on this machine")
        return DATA / name

    return find
