"""Other people's pictures, and numbers that others computed from them."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn import metrics

import lossbench
from lossbench.results.result import Result


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def number(text: str) -> float:
    """A number of a table; MATLAB and pandas write an undefined one in either way."""
    return float(text) if text else math.nan


def column(result: Result, name: str) -> dict[str, float]:
    return dict(zip(result.ids, result.values[name].samples, strict=True))


def by_class(result: Result, name: str) -> list[float]:
    return [table["pooled"] for table in result.class_aggregates[name].values()]


# SOD: per-image tables of a MATLAB toolbox (expected/DSS_per_image.csv)


def test_saliency_maps_give_the_numbers_of_the_toolbox(data):
    root = data("sod_saliency")
    result = lossbench.evaluate(
        root / "pred/DSS",
        root / "gt",
        ["dice_score", "iou", "precision", "recall"],
        threshold=128 / 255,
    )
    assert result.exit_status == 0
    assert len(result.ids) == 300
    expected = rows(root / "expected/DSS_per_image.csv")
    names = {"dice_score": "dice", "iou": "iou", "precision": "precision", "recall": "recall"}
    scaled = [name for name in result.ids if expected[name]["pmax"] == "255"]
    assert len(scaled) == 300
    for loss, theirs in names.items():
        found = column(result, loss)
        for name in scaled:
            wanted = number(expected[name][f"{theirs}_at_128"])
            assert found[name] == pytest.approx(wanted, abs=1e-9, nan_ok=True), (loss, name)


def test_the_usual_threshold_lies_between_127_and_128(data):
    root = data("sod_saliency")
    losses = ["dice_score", f"dice_score(threshold={128 / 255})"]
    result = lossbench.evaluate(root / "pred/DSS", root / "gt", losses)
    assert column(result, losses[0]) == column(result, losses[1])


def test_saliency_maps_give_the_mean_absolute_error_of_the_toolbox(data):
    root = data("sod_saliency")
    found = column(lossbench.evaluate(root / "pred/DSS", root / "gt", "l1"), "l1")
    expected = rows(root / "expected/DSS_per_image.csv")
    # The toolbox stretches each map to 0…1 first, which leaves maps from 0 to 255 alone.
    full = [
        name for name in found if np.ptp(picture(root / f"pred/DSS/{name}.png").astype(int)) == 255
    ]
    assert len(full) > 200
    for name in full:
        assert found[name] == pytest.approx(number(expected[name]["MAE"]), abs=1e-9)


# DRIVE: 20 retinas inside their field of view (SOURCE.txt)

FIELD = 4_538_143
VESSELS = 577_649
CONFUSION = [[3_895_785, 64_709], [135_101, 442_548]]  # at pred >= 128


def test_retinas_give_the_pooled_confusion_matrix(data):
    root = data("drive_retina")
    losses = ["dice_score", "iou", "precision", "recall", "accuracy"]
    result = lossbench.evaluate(root / "pred", root / "gt", losses, inputs={"valid": root / "fov"})
    cells = result.pooled["tables"]["foreground"]
    matrix = [[0, 0], [0, 0]]
    for pred, target, count in cells:
        matrix[target][pred >= 128] += count
    assert matrix == CONFUSION
    assert sum(count for _, _, count in cells) == FIELD
    assert sum(count for _, target, count in cells if target) == VESSELS
    (tn, fp), (fn, tp) = CONFUSION
    pooled = {name: result.aggregates[name]["pooled"] for name in losses}
    assert pooled == pytest.approx(
        {
            "dice_score": 2 * tp / (2 * tp + fp + fn),
            "iou": tp / (tp + fp + fn),
            "precision": tp / (tp + fp),
            "recall": tp / (tp + fn),
            "accuracy": (tp + tn) / FIELD,
        },
        rel=1e-14,
    )
    assert pooled["dice_score"] == pytest.approx(0.815827, abs=5e-7)
    # expected/performances.txt, from the authors' floats before they were floored to 8 bits
    assert pooled["dice_score"] == pytest.approx(0.816071114516, abs=3e-4)
    assert pooled["accuracy"] == pytest.approx(0.955983978, abs=1e-4)


def test_every_retina_is_judged_inside_its_own_field(data):
    root = data("drive_retina")
    how: dict[str, Any] = {"inputs": {"valid": root / "fov"}}
    found = column(
        lossbench.evaluate(root / "pred", root / "gt", "dice_score", **how), "dice_score"
    )
    assert len(found) == 20
    for name, value in found.items():
        inside = picture(root / f"fov/{name}.png") > 0
        pred = picture(root / f"pred/{name}.png")[inside] >= 128
        gt = picture(root / f"gt/{name}.png")[inside] > 0
        assert value == pytest.approx(metrics.f1_score(gt, pred), rel=1e-12)


def test_thresholds_of_vessels_have_the_areas_of_scikit_learn(data):
    root = data("drive_retina")
    inputs = {"valid": root / "fov"}
    found = lossbench.thresholds(root / "pred", root / "gt", ["dice_score"], inputs=inputs)
    assert found.curves.auc == pytest.approx(0.978433, abs=5e-7)  # of these 8-bit maps
    # expected/performances.txt, from the authors' floats before they were floored to 8 bits
    assert found.curves.auc == pytest.approx(0.97903342097, abs=1e-3)
    steps = found.curves.average_precision  # the authors' trapezoids are larger
    assert 0 < 0.91033576859 - steps < 2e-3
    score = found.scores["dice_score"]
    assert score.curves["pooled"][128] == pytest.approx(0.815827, abs=5e-7)
    assert score.curves["pooled"][127] == pytest.approx(0.816293, abs=5e-7)


def test_two_people_agree_as_far_as_sklearn_says(data):
    root = data("drive_retina")
    result = lossbench.evaluate(
        root / "gt_observer2",
        root / "gt",
        ["dice_score", "precision", "recall"],
        inputs={"valid": root / "fov"},
    )
    assert "pred: mask {0,255} · gt: mask {0,255}" in result.run["plan"]["text"]
    folders = [sorted((root / role).glob("*.png")) for role in ("gt_observer2", "gt", "fov")]
    pixels = [np.concatenate([picture(path).ravel() > 0 for path in files]) for files in folders]
    pred, gt = pixels[0][pixels[2]], pixels[1][pixels[2]]
    precision, recall, dice, _ = metrics.precision_recall_fscore_support(gt, pred, average="binary")
    expected = {"dice_score": dice, "precision": precision, "recall": recall}
    pooled = {name: table["pooled"] for name, table in result.aggregates.items()}
    assert pooled == pytest.approx(expected, rel=1e-12)


# PySODMetrics: a graded mask, an RGB mask without a foreground, a plain one


def soft_values(pred: np.ndarray, gt: np.ndarray) -> dict[str, float]:
    p, y = pred / 255, gt / 255
    yes, true = p >= 0.5, y >= 0.5
    with np.errstate(divide="ignore"):
        logs = [np.maximum(np.log(each), -100) for each in (p, 1 - p)]
    return {
        "dice": 1 - 2 * (p * y).sum() / (p.sum() + y.sum()),
        "iou": (yes & true).sum() / (yes | true).sum(),
        "bce": -(y * logs[0] + (1 - y) * logs[1]).mean(),
    }


def test_graded_coloured_and_empty_masks_are_evaluated_by_default(data):
    root = data("pysod_3")
    result = lossbench.evaluate(root / "pred", root / "gt")
    assert result.ids == ["0001", "19", "aerial-1867541__340"]
    assert not result.failed
    for name in result.ids:
        gt = picture(root / f"gt/{name}.png")
        expected = soft_values(
            picture(root / f"pred/{name}.png"), gt if gt.ndim == 2 else gt[..., 0]
        )
        found = {loss: column(result, loss)[name] for loss in expected}
        assert found == pytest.approx(expected, rel=1e-9)
    assert column(result, "dice")["aerial-1867541__340"] == 1  # only false alarms


def test_where_masks_are_asked_for_graded_ones_are_errors(data):
    root = data("pysod_3")
    result = lossbench.evaluate(root / "pred", root / "gt", gt_encoding="mask")
    assert result.ids == ["0001", "aerial-1867541__340"]  # of which one is stored as RGB
    assert result.exit_status == 3
    expected = soft_values(picture(root / "pred/0001.png"), picture(root / "gt/0001.png"))
    assert {loss: column(result, loss)["0001"] for loss in expected} == pytest.approx(expected)
    [graded] = result.failed
    assert graded.file == str(root / "gt/19.png")
    assert graded.file in graded.message
    assert "--gt-encoding probability" in graded.message


# CamVid: 11 classes and void (SOURCE.txt)

CAMVID_IOU = [0.8066, 0.5227, 0.0, 0.7118, 0.1355, 0.0414, 0.0226, 0.0013, 0.1344, 0.0, 0.0007]


def test_street_scenes_give_the_published_class_values(data):
    root = data("camvid_24")
    result = lossbench.evaluate(root / "pred", root / "gt", ["iou", "accuracy"], ignore=11)
    assert (len(result.ids), result.exit_status) == (24, 0)
    assert result.aggregates["accuracy"]["pooled"] == pytest.approx(0.6669, abs=5e-5)
    assert by_class(result, "iou") == pytest.approx(CAMVID_IOU, abs=5.1e-5)
    assert result.aggregates["iou"]["pooled"] == pytest.approx(0.2161, abs=5e-5)


def test_street_scenes_give_the_confusion_matrix_of_sklearn(data):
    root = data("camvid_24")
    result = lossbench.evaluate(root / "pred", root / "gt", "iou", ignore=11)
    pixels = [
        np.concatenate([picture(path).ravel() for path in sorted((root / role).glob("*.png"))])
        for role in ("gt", "pred")
    ]
    expected = metrics.confusion_matrix(pixels[0], pixels[1], labels=range(12))[:11, :11]
    found = np.zeros((11, 11), int)
    for pred, target, count in result.pooled["tables"]["all"]:
        found[target, pred] = count
    np.testing.assert_array_equal(found, expected)


def test_softmax_arrays_give_torchs_cross_entropy(data):
    root = data("camvid_24")
    result = lossbench.evaluate(
        root / "pred_prob", root / "gt", ["cross_entropy", "iou"], ignore=11, missing="skip"
    )
    assert (len(result.ids), result.exit_status) == (6, 0)
    assert result.counts["missing"] == 18
    for name, value in column(result, "cross_entropy").items():
        probabilities = np.load(root / f"pred_prob/{name}.npz")["prob"].astype(np.float64)
        labels = torch.as_tensor(picture(root / f"gt/{name}.png").astype(np.int64))[None]
        logs = torch.as_tensor(probabilities)[None].log().clamp(min=-100)
        expected = torch.nn.functional.nll_loss(logs, labels, ignore_index=11)
        assert value == pytest.approx(expected.item(), rel=1e-12)
        valid = labels[0].numpy() < 11
        scores = metrics.jaccard_score(
            labels[0].numpy()[valid],
            probabilities.argmax(0)[valid],
            labels=np.union1d(labels[0].numpy()[valid], probabilities.argmax(0)[valid]),
            average="macro",
        )
        assert column(result, "iou")[name] == pytest.approx(scores, rel=1e-12)


# PASCAL VOC: label maps with a void border


@pytest.mark.parametrize("ignore", [None, 255])
def test_voc_label_maps_give_the_class_values_of_sklearn(data, ignore):
    root = data("voc_deeplab_3")
    losses = ["iou", "dice_score", "precision", "recall"]
    result = lossbench.evaluate(root / "pred", root / "gt", losses, classes=21, ignore=ignore)
    assert "ignore 255" in result.run["plan"]["text"]
    assert sorted(result.ids) == ["1", "114", "23"]
    for place, name in enumerate(result.ids):
        gt, pred = (picture(root / f"{role}/{name}.png").ravel() for role in ("gt", "pred"))
        gt, pred = gt[gt != 255], pred[gt != 255]
        labels = range(21)
        precision, recall, dice, _ = metrics.precision_recall_fscore_support(
            gt, pred, labels=labels, zero_division=np.nan
        )
        iou = metrics.jaccard_score(gt, pred, labels=labels, average=None, zero_division=0)
        present = np.isin(labels, gt) | np.isin(labels, pred)
        expected = {
            "iou": np.where(present, iou, np.nan),
            "dice_score": np.where(present, dice, np.nan),
            "precision": np.where(np.isin(labels, gt), np.nan_to_num(precision), precision),
            "recall": recall,
        }
        for loss, values in expected.items():
            found = [row[place] for row in result.values[loss].classes]
            np.testing.assert_allclose(found, values, rtol=1e-12, err_msg=f"{loss} {name}")


# Matting: soft alpha against soft alpha


def test_soft_alpha_gives_the_errors_of_numpy(data):
    root = data("matting_10")
    result = lossbench.evaluate(root / "pred", root / "gt", ["l1", "l2"], task="image")
    assert len(result.ids) == 10
    for name in result.ids:
        pred, gt = (picture(root / f"{role}/{name}.png") / 255 for role in ("pred", "gt"))
        expected = {"l1": np.abs(pred - gt).mean(), "l2": ((pred - gt) ** 2).mean()}
        found = {loss: column(result, loss)[name] for loss in expected}
        assert found == pytest.approx(expected, rel=1e-12)


def test_alpha_in_the_unknown_region_gives_the_tabled_errors(data):
    root = data("matting_10")
    expected = rows(root / "expected/expected.csv")
    pred, gt = (
        {name: picture(root / f"{role}/{name}.png") for name in expected} for role in ("pred", "gt")
    )
    unknown = {name: picture(root / f"trimap/{name}.png") == 128 for name in expected}
    inside = lossbench.evaluate(pred, gt, "l2", task="image", inputs={"valid": unknown})
    whole = lossbench.evaluate(pred, gt, "l1(reduction=sum)", task="image")
    for name, row in expected.items():
        error = column(inside, "l2")[name]
        difference = column(whole, "l1(reduction=sum)")[name] / 1000
        assert error == pytest.approx(number(row["recomputed_mse_unknown_clean"]), abs=5.1e-7)
        assert difference == pytest.approx(number(row["recomputed_sad_div_1000_clean"]), abs=5.1e-7)
        if row["exact"] == "yes":  # what the repository burned into its pictures, to four digits
            assert error == pytest.approx(number(row["published_mse_unknown"]), abs=5.1e-5)
            assert difference == pytest.approx(number(row["published_sad_div_1000"]), abs=5.1e-5)


# Data Science Bowl 2018: nuclei


def test_nuclei_give_the_stated_dice(data):
    root = data("dsb2018_nuclei_16")
    result = lossbench.evaluate(root / "pred", root / "gt", "dice_score")
    assert len(result.ids) == 16
    assert result.aggregates["dice_score"]["mean"] == pytest.approx(0.9094, abs=5e-5)
    for name, value in column(result, "dice_score").items():
        pred, gt = (picture(root / f"{role}/{name}.png").ravel() > 0 for role in ("pred", "gt"))
        assert value == pytest.approx(metrics.f1_score(gt, pred), rel=1e-12)


# Two predictions of one truth


def compared(folder, losses, **results):
    """A comparison of results that are evaluated with these arguments."""
    files = []
    for name, arguments in results.items():
        files.append(folder / f"{name}.json")
        inputs = arguments.pop("inputs", {})
        lossbench.save(lossbench.evaluate(losses=losses, inputs=inputs, **arguments), files[-1])
    return lossbench.compare(files)


def test_a_network_follows_the_first_observer_better_than_the_second_but_for_far_vessels(
    data, tmp_path
):
    root = data("drive_retina")
    found = compared(
        tmp_path,
        ["dice_score", "precision", "recall", "hd95"],
        **{
            name: {"pred": root / name, "target": root / "gt", "inputs": {"valid": root / "fov"}}
            for name in ("gt_observer2", "pred")
        },
    )
    verdicts = {each.name: found.verdict(1, each) for each in found.measured}
    assert verdicts == {
        "dice_score": "better", "precision": "better", "recall": "unclear", "hd95": "worse",
    }  # fmt: skip
    assert found.change(1, found.measured[0]).counts == {"improved": 20, "worsened": 0, "equal": 0}
    backwards = lossbench.compare(found.files[::-1])
    opposite = {"better": "worse", "worse": "better"}
    assert {each.name: backwards.verdict(1, each) for each in backwards.measured} == {
        name: opposite.get(verdict, verdict) for name, verdict in verdicts.items()
    }


def test_three_pictures_are_too_few_to_say_that_a_network_beats_interpolation(data, tmp_path):
    root = data("srcnn_3")
    found = compared(
        tmp_path,
        ["psnr", "ssim"],
        **{
            name: {"pred": root / "pred" / name, "target": root / "gt"}
            for name in ("bicubic_x3", "srcnn_x3")
        },
    )
    for each in found.measured:
        change = found.change(1, each)
        assert change.counts == {"improved": 3, "worsened": 0, "equal": 0}
        assert change.p == 0.25  # two of eight choices of signs
        assert found.verdict(1, each) == "unclear"
    assert found.rankings["psnr"].positions["of_means"] == [2, 1]
    assert found.notes == ["3 images are too few for the verdicts better and worse, which need 6"]
