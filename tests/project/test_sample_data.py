"""The sample data: made by its generator, small, and evaluated without a setting."""

from __future__ import annotations

import math
import runpy
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from helpers.loss_examples import READERS, example
from helpers.paths import SAMPLES
from helpers.random_samples import picture
from helpers.tolerances import REFERENCE, check_close
from PIL import Image
from sklearn import metrics
from torch.nn import functional

import lossbench


def stored(root: Path) -> dict[str, np.ndarray]:
    """Every picture and array below a folder by its relative path."""
    files = {path.relative_to(root).as_posix(): path for path in root.rglob("*.*")}
    return {
        name: READERS[path.suffix](path) for name, path in files.items() if path.suffix in READERS
    }


def names(folder: str, ending: str = ".png") -> list[str]:
    root = SAMPLES / folder
    return sorted(str(path.relative_to(root).with_suffix("")) for path in root.rglob(f"*{ending}"))


def test_the_generator_makes_the_same_pictures(tmp_path):
    runpy.run_path(str(SAMPLES / "generate.py"))["generate"](tmp_path)
    committed, regenerated = stored(SAMPLES), stored(tmp_path)
    assert committed.keys() == regenerated.keys()
    for name, array in committed.items():
        assert array.dtype == regenerated[name].dtype, name
        np.testing.assert_array_equal(array, regenerated[name], err_msg=name)
    scans = [sorted((root / "medical").rglob("*.nii.gz")) for root in (SAMPLES, tmp_path)]
    for ours, theirs in zip(*scans, strict=True):
        assert nibabel.load(ours).header == nibabel.load(theirs).header
    texts = ["binary/pairs.csv", "panoptic/gt.json", "panoptic/pred.json"]
    for text in [*texts, "detection/instances.json", "detection/results.json"]:
        assert (SAMPLES / text).read_text() == (tmp_path / text).read_text()


def test_the_sample_data_is_small():
    files = [path for path in SAMPLES.rglob("*") if path.is_file()]
    assert len(files) > 100
    assert sum(path.stat().st_size for path in files) < 2_000_000


def test_nothing_else_lies_among_the_samples():
    files = {path.name for path in SAMPLES.rglob("*") if path.is_file()}
    kinds = (".png", ".npy", ".npz", ".nii.gz", ".pyc")
    others = {name for name in files if not name.endswith(kinds)}
    lists = {"gt.json", "pred.json", "instances.json", "results.json"}
    assert others == {"generate.py", "pairs.csv", *lists}


@pytest.mark.parametrize(
    ("pred", "gt", "how", "text"),
    [
        (
            "binary/pred",
            "binary/gt",
            {},
            "binary · pred: probability (uint8/255) · gt: mask {0,255}",
        ),
        (
            "multiclass/pred",
            "multiclass/gt",
            {},
            "multiclass · pred: labels 0…3 · gt: labels 0…3, ignore 255 · 4 classes",
        ),
        (
            "multilabel/pred",
            "multilabel/gt",
            {"pred_pattern": "{id}_{class}", "gt_pattern": "{id}_{class}"},
            "multilabel · pred: probability (uint8/255) · gt: mask {0,255} · 3 classes",
        ),
        (
            "medical/pred",
            "medical/gt",
            {},
            "multiclass · pred: labels 0…2 · gt: labels 0…2 · 3 classes"
            " · spacing from the headers (mm)",
        ),
        (
            "image/pred",
            "image/gt",
            {},
            "image · pred: image (uint8/255) · gt: image (uint8/255)",
        ),
    ],
)
def test_every_set_is_evaluated_without_a_setting(pred, gt, how, text):
    result = lossbench.evaluate(SAMPLES / pred, SAMPLES / gt, **how)
    assert result.exit_status == 0
    assert result.run["plan"]["text"] == text
    files = names(gt) or [name.removesuffix(".nii") for name in names(gt, ".nii.gz")]
    samples = {name.rsplit("_", 1)[0] if how else name for name in files}
    assert set(result.ids) == samples
    assert all(table["count"] for table in result.aggregates.values())


def test_class_probabilities_are_evaluated_where_there_are_any():
    root = SAMPLES / "multiclass"
    result = lossbench.evaluate(root / "pred_prob", root / "gt", missing="skip")
    assert result.ids == names("multiclass/pred_prob", ".npy")
    assert result.counts["missing"] == len(names("multiclass/gt")) - len(result.ids) == 5
    assert result.run["plan"]["text"].startswith("multiclass · pred: probability (float16)")


def test_multilabel_classes_are_named_by_their_files():
    root, pattern = SAMPLES / "multilabel", "{id}_{class}.png"
    result = lossbench.evaluate(
        root / "pred", root / "gt", "precision", pred_pattern=pattern, gt_pattern=pattern
    )
    assert result.class_names == ("kidney", "liver", "spleen")
    for place, name in enumerate(result.ids):
        for organ, row in zip(result.class_names, result.values["precision"].classes, strict=True):
            pred, gt = (
                np.asarray(Image.open(root / role / f"{name}_{organ}.png")) >= 128
                for role in ("pred", "gt")
            )
            hits, found, true = (pred & gt).sum(), pred.sum(), gt.sum()
            expected = hits / found if found else 0.0 if true else np.nan
            assert row[place] == pytest.approx(expected, nan_ok=True)


def test_valid_and_weight_maps_are_used():
    root = SAMPLES / "binary"
    inputs = {"valid": root / "valid", "weight": root / "weight"}
    result = lossbench.evaluate(root / "pred", root / "gt", "l1", inputs=inputs)
    assert not result.failed
    assert "valid masks · weighted" in result.run["plan"]["text"]
    for name, value in zip(result.ids, result.values["l1"].samples, strict=True):
        pred, gt, valid = (
            np.asarray(Image.open(root / role / f"{name}.png")) / 255
            for role in ("pred", "gt", "valid")
        )
        weight = np.load(root / f"weight/{name}.npy").astype(float) * valid
        assert value == pytest.approx((weight * np.abs(pred - gt)).sum() / weight.sum(), rel=1e-12)


def test_the_plate_without_a_cell_is_undefined_and_counted():
    root = SAMPLES / "binary"
    result = lossbench.evaluate(root / "pred", root / "gt", "iou")
    nothing = [
        name
        for name in names("binary/gt")
        if not any(
            (np.asarray(Image.open(root / role / f"{name}.png")) >= 128).any()
            for role in ("pred", "gt")
        )
    ]
    assert nothing == ["plate_a/04"]
    table = result.aggregates["iou"]
    assert (table["undefined"], table["count"]) == (1, 11)
    place = result.ids.index("plate_a/04")
    assert np.isnan(result.values["iou"].samples[place])
    assert result.as_json()["samples"][place]["iou"] is None


def test_a_class_in_no_slice_of_a_sample_is_undefined_there():
    root, pattern = SAMPLES / "multilabel", "{id}_{class}"
    result = lossbench.evaluate(
        root / "pred", root / "gt", "iou", pred_pattern=pattern, gt_pattern=pattern
    )
    undefined = {
        (name, organ)
        for organ, row in zip(result.class_names, result.values["iou"].classes, strict=True)
        for name, value in zip(result.ids, row, strict=True)
        if np.isnan(value)
    }
    empty = {
        tuple(name.rsplit("_", 1))
        for name in names("multilabel/gt")
        if not any(
            (np.asarray(Image.open(root / role / f"{name}.png")) >= 128).any()
            for role in ("pred", "gt")
        )
    }
    assert undefined == empty
    assert empty


def test_real_weight_maps_and_valid_masks():
    """The sample data's float weights: torch's and scikit-learn's own weighted means."""
    root = SAMPLES / "binary"
    inputs = {"weight": str(root / "weight"), "valid": str(root / "valid")}
    found = lossbench.evaluate(
        str(root / "pred"), str(root / "gt"), ["bce", "iou", "accuracy"], inputs=inputs
    )
    for place, name in enumerate(found.ids):
        pred, target, valid = (
            picture(root / role / f"{name.removesuffix('.png')}.png") / 255
            for role in ("pred", "gt", "valid")
        )
        weight = np.load(root / "weight" / f"{name.removesuffix('.png')}.npy") * (valid > 0)
        tensors = [torch.tensor(x, dtype=torch.float64) for x in (pred, target, weight)]
        bce = functional.binary_cross_entropy(*tensors, reduction="sum") / tensors[2].sum()
        check_close(found.values["bce"].samples[place], float(bce), REFERENCE)
        hard = [target.ravel() > 0, pred.ravel() >= 0.5]
        each = {"sample_weight": weight.ravel(), "zero_division": math.nan}
        defined = ((hard[0] | hard[1]) & (weight.ravel() > 0)).any()
        iou = metrics.jaccard_score(*hard, **each | {"zero_division": 0}) if defined else math.nan
        check_close(found.values["iou"].samples[place], iou, REFERENCE)
        accuracy = metrics.accuracy_score(*hard, sample_weight=weight.ravel())
        check_close(found.values["accuracy"].samples[place], accuracy, REFERENCE)


@pytest.mark.parametrize("entry", lossbench.list_losses(), ids=lambda entry: entry.name)
def test_the_example_of_every_loss_runs(entry):
    result = lossbench.evaluate(**example(entry))
    assert not result.failed
    table = result.aggregates[entry.example]
    assert table["count"] > 0
    assert not math.isnan(table["mean"])
