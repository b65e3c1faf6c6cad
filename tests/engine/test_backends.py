"""NumPy evaluates tables, torch everything else, through one function a loss."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine.test_tables import CLASSES, expressions, masks
from helpers.option_values import ENTRIES
from helpers.paths import REPOSITORY
from helpers.tolerances import check_close

import lossbench
from lossbench.catalog.columns import resolve
from lossbench.data.planning.plan import Plan
from lossbench.engine.backend import backend
from lossbench.engine.compute.class_weights import probes
from lossbench.engine.compute.tables import counted_values
from lossbench.engine.compute.tensors import as_tensors
from lossbench.engine.state.loaded_batch import load_batch
from lossbench.interface import dispatch, stable_math

SAMPLES = REPOSITORY / "sample_data"
EXACT = 1e-12


def counted(task: str) -> tuple[Plan, Any]:
    """Tables of five drawn samples, and how they were planned."""
    pred, target = masks(task, seed=5)
    if task == "image":
        pred, target = ([each[..., 0] for each in side] for side in (pred, target))
    classes = CLASSES[task] if task == "multiclass" else None
    spec = lossbench.plan(pred, target, task=task, classes=classes)
    return spec.plan, load_batch(spec.plan, spec.pairing.pairs)


@pytest.mark.parametrize("task", CLASSES)
def test_both_libraries_agree_on_every_loss_with_every_option(task):
    plan, batch = counted(task)
    ours = counted_values(plan, batch.tables, batch.sizes)
    theirs = as_tensors(counted_values(plan, batch.tables, batch.sizes, shared=False))
    classes, seen = ours.support.shape[1], 0
    terms = dict.fromkeys(
        term
        for expression in expressions(task)
        for column in resolve([expression], {})
        for term in column.terms
        if term.countable(task)
    )
    for term in terms:
        function = dispatch.loss_function(term.entry)
        for options in probes(term, task, classes):
            if "auto" in options.values() or "median_frequency" in options.values():
                continue  # known when the run ends, and then numbers
            with np.errstate(all="ignore"):
                found = dispatch.evaluate(function, ours, options)
            wanted = dispatch.evaluate(function, theirs, options)
            for one, other in zip(found, wanted, strict=True):
                assert (one is None) == (other is None)
                if one is not None:
                    assert stable_math.is_numpy(one)
                    assert isinstance(other, torch.Tensor)
                    check_close(one, other.numpy(), EXACT, (term.name, options))
            seen += 1
    assert seen > 30


# Losses that look at the positions of pixels. A loss of logits also keeps torch, as do vectors,
# scores, boxes and records, which no table can stand for.
POSITIONAL = {
    "assd", "betti_error", "boundary", "boundary_iou", "cldice", "gradient_l1", "hausdorff",
    "hausdorff_dt", "hausdorff_er", "hd95", "masd", "ms_ssim", "nsd", "soft_cldice", "ssim",
    "ssim_loss", "total_variation", "tv_difference",
}  # fmt: skip


def test_only_losses_that_look_at_positions_keep_torch():
    plans = {task: counted(task)[0] for task in CLASSES}
    keeping = set()
    for name, entry in ENTRIES.items():
        (column,) = resolve([name], {})
        tasks = plans.keys() & set(entry.tasks)
        used = {backend(plans[task], term) for task in tasks for term in column.terms}
        if used == {"torch"}:
            keeping.add(name)
    assert keeping == POSITIONAL


def test_no_loss_has_two_bodies():
    """Only the operations know the libraries apart: a loss would otherwise be two formulas."""
    apart = {"is_numpy", "np", "torch"}
    modules = {entry.module for name, entry in ENTRIES.items() if name not in POSITIONAL}
    assert modules
    for module in sorted(modules):
        tree = ast.parse(Path(inspect.getfile(sys.modules[module])).read_text("utf-8"))
        own = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and node.name not in POSITIONAL
        ]
        for function in own:
            tests = [
                node.test for node in ast.walk(function) if isinstance(node, ast.If | ast.IfExp)
            ]
            names = {
                each.id for test in tests for each in ast.walk(test) if isinstance(each, ast.Name)
            }
            assert not names & (apart - {"isinstance"}), (module, function.name)


WITHOUT = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "scipy", "sympy"):
            raise ImportError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
from lossbench_cli.main import main
sys.exit(main())
"""


def without_torch(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process where importing torch, scipy or sympy raises."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *map(str, arguments)],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip


BINARY = ["eval", SAMPLES / "binary" / "pred", SAMPLES / "binary" / "gt"]
CLASSES_OF = "background,road,car,person"
MULTICLASS = [
    "eval", SAMPLES / "multiclass" / "pred", SAMPLES / "multiclass" / "gt", "--ignore", 255,
    "--classes", CLASSES_OF,
]  # fmt: skip
DICE_IOU = ["-l", "dice", "-l", "iou"]
NAMES = ["dice", "iou", "bce", "lovasz", "auc", "ece", "mcc", "l1", "psnr", "focal"]
COUNTED = [part for name in NAMES for part in ("-l", name)]
RUNS: dict[str, list[object]] = {
    "default": BINARY,
    "many losses": [*BINARY, *COUNTED],
    "expression": [*BINARY, "-l", "0.5*dice(smooth=1) + 0.5*bce"],
    "groups": [*BINARY, *COUNTED, "--group-by", "{plate}/{number}"],
    "automatic weights": [*MULTICLASS, "-l", "cross_entropy(class_weights=auto)"],
    "convention": [*BINARY, *DICE_IOU, "--convention", "all"],
    "baseline": [
        *BINARY, "-l", "dice", "--baseline", "run.json", "--gate", "dice.mean <= baseline"
    ],
    "classes": [*MULTICLASS, "--per-class"],
    "instances": ["eval", SAMPLES / "instances" / "pred", SAMPLES / "instances" / "gt",
                  "--task", "instances"],
    "image": ["eval", SAMPLES / "image" / "pred", SAMPLES / "image" / "gt", "-l", "psnr"],
    "detections": ["eval", SAMPLES / "detection" / "results.json",
                   SAMPLES / "detection" / "instances.json", "--group-by", "{place}_{number}",
                   "-l", "average_precision_boxes", "-l", "average_recall_boxes(area=small)"],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a result to compare with."""
    folder = tmp_path_factory.mktemp("runs")
    done = without_torch(folder, *BINARY, "-l", "dice", "-o", "run.json", "-q")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_runs_on_tables_import_no_torch(folder, name):
    done = without_torch(folder, *RUNS[name], "-f", "json")
    assert done.returncode == 0, done.stderr
    losses = json.loads(done.stdout)["run"]["losses"]
    assert {each["backend"] for each in losses} == {"numpy"}


@pytest.mark.parametrize("form", ["table", "text", "json", "jsonl", "csv", "markdown", "junit",
                                  "github"])  # fmt: skip
def test_no_format_imports_torch(folder, form):
    done = without_torch(folder, *BINARY, *DICE_IOU, "-f", form)
    assert done.returncode == 0, done.stderr


def test_shards_merge_resume_and_report_import_no_torch(folder):
    for number in (1, 2):
        shard = [*BINARY, *DICE_IOU, "--shard", f"{number}/2", "-o", f"part{number}.json"]
        done = without_torch(folder, *shard, "-q")
        assert done.returncode == 0, done.stderr
    for arguments in (
        ["merge", "part1.json", "part2.json", "-o", "whole.json"],
        [*BINARY, "-l", "dice", "-o", "again.json", "--resume"],
        ["compare", "run.json", "again.json"],
        ["report", "run.json", "-o", "page.html"],
    ):
        done = without_torch(folder, *arguments)
        assert done.returncode == 0, (arguments, done.stderr)


NEUTRAL = """
from lossbench.plugin_api import Overlap, PerClass, loss, ratio

@loss(range=(0, 1), tasks=["binary"])
def missed(overlap: Overlap, *, smooth: float = 0.0) -> PerClass:
    \"\"\"Share of the target that is missed.\"\"\"
    return 1 - ratio((overlap.both + smooth){method}, overlap.target + smooth)
"""


def test_a_loss_against_the_plugin_api_alone_imports_no_torch(folder):
    """The value is that of the same formula on tensors: 1 − recall of the probabilities."""
    values = []
    for name, method in (("neutral", ""), ("tensors", ".clamp(min=0)")):
        (folder / f"{name}.py").write_text(NEUTRAL.format(method=method))
        arguments = [*BINARY, "--plugin", f"{name}.py", "-l", "missed", "-f", "json"]
        if name == "neutral":
            done = without_torch(folder, *arguments)
        else:
            done = subprocess.run(
                [sys.executable, "-m", "lossbench_cli", *map(str, arguments)],
                cwd=folder, capture_output=True, text=True,
            )  # fmt: skip
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert (
            result["run"]["losses"][0]["backend"] == {"neutral": "numpy", "tensors": "torch"}[name]
        )
        values.append(result["aggregate"]["missed"]["mean"])
    assert values[0] == pytest.approx(values[1], abs=EXACT)


def test_a_run_of_tables_and_pixels_says_so(tmp_path):
    result = lossbench.evaluate(
        SAMPLES / "binary" / "pred",
        SAMPLES / "binary" / "gt",
        ["dice", "hd95", "both = dice + hd95"],
    )
    assert result.backends == {"dice": "numpy", "hd95": "torch", "both": "mixed"}


SEGMENTS = '''
import torch
from lossbench.interface.annotations import PerClass
from lossbench.losses import loss
from lossbench.views.segments import Segments

@loss(range=(0, 1), tasks=["instances"], better="higher")
def ours(segments: Segments) -> PerClass:
    """Recognition quality, by methods that only tensors have."""
    total = segments.tp + (segments.fp + segments.fn) / 2
    return (segments.tp / total.clamp(min=0.5)).where(total > 0, torch.nan)
'''


def test_a_plugin_of_torch_gets_tensors_of_segments_too(tmp_path):
    (tmp_path / "ours.py").write_text(SEGMENTS)
    folder = SAMPLES / "instances"
    losses = ["ours", "recognition_quality"]
    result = lossbench.evaluate(
        folder / "pred", folder / "gt", losses, task="instances", plugins=tmp_path / "ours.py"
    )
    ours, theirs = (result.values[name] for name in losses)
    check_close(ours.samples, theirs.samples, EXACT)
    assert ours.pooled == pytest.approx(theirs.pooled, abs=EXACT)
    assert result.backends == {"ours": "torch", "recognition_quality": "numpy"}


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("losses", [["mcc_loss"], ["mcc_loss", "hd95"]], ids=len)
def test_what_is_undefined_warns_of_nothing(losses):
    """Counts of a pair without a valid pixel, in a run of tables, and in one of pixels too."""
    pred = [np.eye(8, dtype=np.uint8) * 255] * 2
    target = [np.full((8, 8), 7, np.uint8), pred[1]]
    result = lossbench.evaluate(pred, target, losses, task="binary", ignore=7)
    assert np.isnan(result.values["mcc_loss"].samples[0])
    assert not result.failed
