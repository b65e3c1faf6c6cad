"""What README shows is what this code prints; run as a program, this file rewrites README."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
MACHINE = re.compile(r"(pairs · )\S+ ×\d+$", re.MULTILINE)


def outputs(block: str, folder: Path) -> str:
    """A console block with what its commands print today, the machine's own words levelled."""
    (folder / "sample_data").symlink_to(README.parent / "sample_data")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "100"}
    lines = []
    for command in re.findall(r"^\$ (.*)$", block, flags=re.MULTILINE):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        lines.append(f"$ {command}\n{done.stdout}")
    return MACHINE.sub(r"\1cpu ×2", "".join(lines))


@pytest.mark.parametrize("block", BLOCK.findall(README.read_text("utf-8")), ids=lambda b: b[:60])
def test_readme_shows_what_is_printed(block: str, tmp_path: Path) -> None:
    assert outputs(block, tmp_path) == block


def rewrite() -> None:
    def fresh(found: re.Match[str]) -> str:
        with tempfile.TemporaryDirectory() as folder:
            return f"```console\n{outputs(found[1], Path(folder))}```"

    README.write_text(BLOCK.sub(fresh, README.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    rewrite()
