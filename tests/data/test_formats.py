"""The registry of input formats: what a row promises, and what it costs to ask it."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lossbench
from lossbench.data import formats
from lossbench.data.formats import registry
from lossbench.data.formats.registry import BY_ENDING, FORMATS, InputFormat
from lossbench.data.sources.read import read, read_record

TRIAL = """
import numpy as np
from lossbench.data.formats.opened_file import OpenedFile, content
from lossbench.data.formats.stored_array import StoredArray
from lossbench.data.formats.voxel_grid import VoxelGrid

def decode(file: OpenedFile) -> dict[str, StoredArray]:
    numbers = np.frombuffer(content(file)[3:], np.uint8).reshape(2, 2, 2)
    return {"": StoredArray(numbers, grid=VoxelGrid(3, (1.0, 2.0, 3.0)))}
"""


def test_each_ending_has_one_format():
    endings = [ending for row in FORMATS for ending in row.endings]
    assert len(set(endings)) == len(endings) == len(BY_ENDING)
    assert all(ending == ending.lower() and ending.startswith(".") for ending in endings)


def test_each_module_that_decodes_has_a_row():
    names = {each.name for each in pkgutil.iter_modules(formats.__path__)}
    modules = {name: importlib.import_module(f"{formats.__name__}.{name}") for name in names}
    assert {row.module for row in FORMATS} == {
        name for name, module in modules.items() if hasattr(module, "decode")
    }


def test_an_optional_package_is_one_of_the_extra():
    metadata = importlib.import_module("importlib.metadata")
    required = metadata.requires("lossbench")
    for row in FORMATS:
        if row.package:
            assert any(
                each.startswith(row.package) and f'extra == "{row.extra}"' in each
                for each in required
            )


@pytest.mark.parametrize("row", [row for row in FORMATS if row.package], ids=lambda row: row.name)
def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch, row):
    monkeypatch.setitem(sys.modules, row.package, None)
    path = tmp_path / f"a{row.endings[0]}"
    path.write_bytes(bytes(row.offset) + row.magic)
    with pytest.raises(lossbench.InputError) as error:
        read(str(path))
    assert str(error.value) == (
        f"{path} is {row.name}, which needs the package {row.package}:"
        f" pip install 'lossbench[{row.extra}]'"
    )


def test_endings_cost_no_import():
    code = """
import sys
from lossbench.data.sources.suffixes import ENDINGS
assert {".png", ".npz", ".nii.gz"} <= set(ENDINGS)
heavy = {"numpy", "PIL", "nibabel", "safetensors", "torch"}
assert not heavy & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_format_is_a_module_and_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As a developer adds one; nothing else in the package has to know of it."""
    (tmp_path / "trial.py").write_text(TRIAL)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    row = InputFormat("trial", "trial", (".trial",), magic=b"TRI", record=True)
    monkeypatch.setitem(registry.BY_ENDING, ".trial", row)
    monkeypatch.setattr(registry, "FORMATS", (*FORMATS, row))
    for role in ("pred", "gt"):
        (tmp_path / role).mkdir()
        (tmp_path / role / "a.trial").write_bytes(b"TRI" + bytes([0, 1, 1, 0, 1, 1, 0, 0]))
    run = lossbench.plan(tmp_path / "pred", tmp_path / "gt", ["dice"], task="binary")
    assert "spacing 1×2×3 mm" in str(run.plan)
    assert run.evaluate().values["dice"].samples == [0]
    np.testing.assert_array_equal(
        read_record(str(tmp_path / "gt" / "a.trial"))[""].ravel(), [0, 1, 1, 0, 1, 1, 0, 0]
    )
    (tmp_path / "gt" / "a.trial").write_bytes(b"other")
    with pytest.raises(lossbench.InputError, match=r"is no \.trial file; it begins with 'other'"):
        read(str(tmp_path / "gt" / "a.trial"))


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.endings[0])
def test_only_files_of_arrays_by_name_are_records(tmp_path, row):
    path = tmp_path / f"a{row.endings[0]}"
    path.write_bytes(b"")
    with pytest.raises(lossbench.InputError) as error:
        read_record(str(path))
    refused = "is no record: expected one of .npy, .npz, .safetensors, found" in str(error.value)
    assert refused != row.record
