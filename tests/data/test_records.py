"""Named tensors: records in every format, what a loss asks them for, and what is never loaded."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import lossbench

SOURCE = '''
from lossbench.losses import loss
from lossbench.interface.annotations import PerSample, Tensors

@loss(tasks=["records"])
def boxes(pred: Tensors, target: Tensors) -> PerSample:
    """Boxes apart.

    mean |boxes - boxes|, and how many there are.
    """
    return (pred["boxes"] - target["boxes"]).abs().mean((1, 2)) + pred["boxes"].shape[1]
'''
RANDOM = np.random.default_rng(3)
# Samples have as many boxes as they have.
COUNTS = {"a": 2, "b": 5}
PRED = {name: {"boxes": RANDOM.random((n, 4)).astype(np.float32), "scores": RANDOM.random(n)}
        for name, n in COUNTS.items()}  # fmt: skip
GT = {name: {"boxes": RANDOM.random((n, 4)), "labels": np.arange(n)} for name, n in COUNTS.items()}
WANTED = [
    float(np.abs(PRED[n]["boxes"].astype(np.float64) - GT[n]["boxes"]).mean())
    + len(PRED[n]["boxes"])
    for n in "ab"
]


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(SOURCE, "utf-8")
    return tmp_path / "mine.py"


def saved(folder: Path, records: dict[str, dict[str, np.ndarray]], ending: str) -> str:
    folder.mkdir()
    for name, tensors in records.items():
        if ending == ".npz":
            np.savez(folder / f"{name}.npz", **tensors)
        else:
            save_file(tensors, folder / f"{name}.safetensors")
    return str(folder)


@pytest.mark.parametrize("ending", ["", ".npz", ".safetensors"])
def test_records_are_read_from_every_format(tmp_path, plugin, ending):
    sides: list[Any] = [PRED, GT]
    if ending:
        sides = [saved(tmp_path / f"{i}", side, ending) for i, side in enumerate(sides)]
    result = lossbench.evaluate(*sides, "boxes", plugins=plugin)
    assert not result.failed
    assert result.values["boxes"].samples == pytest.approx(WANTED, rel=1e-12)
    text = result.run["plan"]["text"]
    assert text == "records · pred: records (boxes, scores) · gt: records (boxes, labels)"


def test_a_tensor_that_a_loss_asks_for_and_a_record_lacks_is_told(tmp_path, plugin):
    lacking = {**GT, "b": {"boxs": GT["b"]["boxes"], "labels": GT["b"]["labels"]}}
    sides = [saved(tmp_path / f"{i}", s, ".npz") for i, s in enumerate((PRED, lacking))]
    result = lossbench.evaluate(*sides, "boxes", plugins=plugin)
    assert result.ids == ["a"]
    (failed,) = result.failed
    assert (failed.role, failed.loss) == ("target", "boxes")
    assert failed.message == (
        f"{sides[1]}/b.npz has no tensor 'boxes' (did you mean 'boxs'?); it has boxs, labels"
    )


def test_a_task_without_usual_losses_asks_for_one():
    with pytest.raises(lossbench.SettingError, match="a records task has no usual losses"):
        lossbench.plan(PRED, GT, task="records")


@pytest.mark.parametrize("ending", [".npy", ".npz", ".safetensors"])
def test_vectors_are_read_from_every_format(tmp_path, ending):
    sides = RANDOM.normal(size=(2, 3, 8)).astype(np.float32)
    folders = []
    for role, side in zip(("pred", "gt"), sides, strict=True):
        (tmp_path / role).mkdir()
        folders.append(str(tmp_path / role))
        for name, vector in zip("abc", side, strict=True):
            path = tmp_path / role / f"{name}{ending}"
            if ending == ".npy":
                np.save(path, vector)
            elif ending == ".npz":
                np.savez(path, embedding=vector)
            else:
                save_file({"embedding": vector}, path)
    result = lossbench.evaluate(*folders, "cosine")
    assert result.run["plan"]["text"].startswith("vectors · pred: vectors (8 float32) · gt: vect")
    assert repr(result.values) == repr(lossbench.evaluate(*sides, "cosine", task="vectors").values)


def test_one_vector_a_file(tmp_path):
    folder = saved(tmp_path / "pred", {"a": {"x": np.ones(3), "y": np.ones(3)}}, ".npz")
    with pytest.raises(lossbench.InputError, match=r"holds 2 tensors \(x, y\); expected one"):
        lossbench.plan(folder, folder, "cosine")


class Malicious:
    """What runs a command where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch '{self.mark}'",)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".safetensors", ".pt", ".npy of objects",
                                    ".npz of objects"])  # fmt: skip
def test_a_pickle_in_place_of_a_record_is_never_loaded(tmp_path, plugin, ending):
    mark, bad = tmp_path / "executed", tmp_path / "pred"
    bad.mkdir()
    path = bad / f"a{ending.split()[0]}"
    if ending == ".npy of objects":
        np.save(path, np.array([Malicious(mark)]), allow_pickle=True)
    elif ending == ".npz of objects":
        np.savez(path, boxes=np.array([Malicious(mark)]))
    else:
        path.write_bytes(pickle.dumps(Malicious(mark)))
    good = saved(tmp_path / "gt", {"a": GT["a"]}, ".npz")
    for losses in ("boxes", "cosine", "gan_minimax"):
        with pytest.raises(lossbench.LossbenchError):
            lossbench.evaluate(str(bad), good, losses, plugins=plugin)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Malicious(mark)))  # the control: this is what it would have done
    assert mark.exists()


def test_damaged_safetensors_are_one_sentence(tmp_path):
    folder = Path(saved(tmp_path / "pred", {"a": {"x": np.ones(3)}}, ".safetensors"))
    whole = (folder / "a.safetensors").read_bytes()
    for damaged in (b"", whole[:7], whole[:-5], b"\xff" * 8 + whole[8:], b"{" * 20):
        (folder / "a.safetensors").write_bytes(damaged)
        with pytest.raises(lossbench.InputError, match=r"a\.safetensors (is no|cannot be read)"):
            lossbench.plan(str(folder), str(folder), "cosine")


def test_without_safetensors_the_command_to_install_it_is_told(tmp_path):
    folder = saved(tmp_path / "pred", {"a": {"x": np.ones(3)}}, ".safetensors")
    code = (
        "import sys; sys.modules['safetensors'] = None\nfrom lossbench_cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "eval", folder, folder, "--loss", "cosine"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 3
    assert "needs the package safetensors: pip install 'lossbench[safetensors]'" in done.stderr
    assert "Traceback" not in done.stderr
