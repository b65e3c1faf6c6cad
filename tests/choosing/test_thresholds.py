"""Every threshold of one pass, against a run for each threshold and against other libraries."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lossbench
from lossbench.choosing import thresholds_sums
from lossbench.choosing.thresholds import find_best
from lossbench.choosing.thresholds_sums import LevelSums, StepSums, rounded_down

Arrays = Mapping[str, np.ndarray[Any, Any]]
Command = Callable[..., subprocess.CompletedProcess[str]]
LOSSES = (
    "dice_score", "iou", "precision", "recall", "fbeta(beta=2)", "specificity", "fp",
    "dice(threshold=0.5)", "tversky(alpha=0.3, threshold=0.5)", "mcc", "accuracy", "mean_iou",
    "both = 0.5*iou + 0.5*dice_score",
)  # fmt: skip
EVERY = range(256)
SOME = range(0, 257, 16)


def masks(count: int, *shape: int, seed: int = 0) -> Arrays:
    """Masks of 0 and 255 by id; the first one is empty."""
    random = np.random.default_rng(seed)
    drawn = {f"i{index}": (random.random(shape) > 0.6) * np.uint8(255) for index in range(count)}
    drawn["i0"][:] = 0
    return drawn


def probabilities(truth: Arrays, seed: int = 1) -> Arrays:
    """Probabilities that lean towards their masks, as floats of double precision."""
    random = np.random.default_rng(seed)
    return {
        name: np.clip(each / 255 * 0.5 + random.random(each.shape) * 0.6, 0, 1)
        for name, each in truth.items()
    }


def stored(arrays: Arrays, kind: str) -> Arrays:
    """Probabilities as 8-bit or 16-bit levels, floats of single precision, or logits."""
    scales = {"uint8": 255, "uint16": 65535}
    if kind in scales:
        return {name: np.round(each * scales[kind]).astype(kind) for name, each in arrays.items()}
    if kind == "logits":
        clipped = {name: each.clip(0.01, 0.99) for name, each in arrays.items()}
        return {name: np.log(each / (1 - each)) for name, each in clipped.items()}
    return {name: each.astype(np.float32) for name, each in arrays.items()}


TRUTH = masks(5, 9, 11)
PROBABILITIES = probabilities(TRUTH)
LEVELS = stored(PROBABILITIES, "uint8")


def assert_equals_runs(
    pred: Any, target: Any, losses: Any, at: Any, tmp_path: Path, **settings: Any
) -> lossbench.api.Thresholds:
    """Compare the mean, the pooled value, every class and every image with a run each."""
    from pyarrow.parquet import read_table

    path = tmp_path / "rows.parquet"
    ours = lossbench.thresholds(pred, target, losses, per_image=path, **settings)
    table = read_table(path).to_pydict()
    size = len(ours.thresholds)
    for index in at:
        threshold = float(ours.thresholds[index])
        run = lossbench.evaluate(pred, target, _at(losses, threshold), threshold=threshold,
                                 **settings)  # fmt: skip
        for (name, score), column in zip(ours.scores.items(), run.columns, strict=True):
            values, aggregates = run.values[column.name], run.aggregates[column.name]
            expected = [aggregates["mean"], values.pooled]
            found = [score.curves[each][index] for each in ("mean", "pooled")]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
            assert table["id"][index::size] == run.ids
            of_images = np.array(table[name][index::size], float)
            np.testing.assert_allclose(of_images, values.column, rtol=0, atol=1e-12)
            for row, (of_class, curve) in enumerate(ours.classes.get(name, {}).items()):
                expected = [
                    run.class_aggregates[column.name][of_class]["mean"],
                    values.pooled_classes[row],
                ]
                found = [curve.curves[each][index] for each in ("mean", "pooled")]
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
                of_images = np.array(table[f"{name}[{of_class}]"][index::size], float)
                own = values.class_columns[row]
                np.testing.assert_allclose(of_images, own, rtol=0, atol=1e-12)
    return ours


def _at(losses: Any, threshold: float) -> list[str]:
    return [each.replace("threshold=0.5", f"threshold={threshold!r}") for each in losses]


def test_every_threshold_of_8_bit_maps_equals_a_run(tmp_path: Path) -> None:
    ours = assert_equals_runs(LEVELS, TRUTH, LOSSES, EVERY, tmp_path)
    assert ours.thresholds.tolist() == [level / 255 for level in range(256)]
    half = lossbench.evaluate(LEVELS, TRUTH, LOSSES)
    for name, score in ours.scores.items():
        assert score.at_half["mean"] == pytest.approx(half.aggregates[name]["mean"], abs=1e-12)
        assert score.at_half["pooled"] == pytest.approx(half.values[name].pooled, abs=1e-12)


def test_every_threshold_of_labels_equals_a_run(tmp_path: Path) -> None:
    truth = {name: (each > 0).astype(np.uint8) for name, each in masks(3, 2, 7, 6).items()}
    pred = stored(probabilities({name: each * 255 for name, each in truth.items()}), "uint8")
    losses = ["dice_score", "iou(class_reduction=weighted)", "mcc", "recall(absent=1)"]
    settings = {"task": "multilabel", "classes": ("cat", "dog")}
    ours = assert_equals_runs(pred, truth, losses, EVERY, tmp_path, **settings)
    assert list(ours.classes["dice_score"]) == ["cat", "dog"]
    assert "mcc" not in ours.classes
    by_class = lossbench.evaluate(pred, truth, ["auc", "average_precision", "ece"], **settings)
    areas = [each.auc for each in ours.class_curves.values()]
    assert areas == pytest.approx(by_class.values["auc"].pooled_classes, abs=1e-12)
    areas = [each.average_precision for each in ours.class_curves.values()]
    assert areas == pytest.approx(by_class.values["average_precision"].pooled_classes, abs=1e-12)
    assert ours.reliability.ece == pytest.approx(by_class.values["ece"].pooled, abs=1e-12)


@pytest.mark.parametrize("kind", ["uint16", "float32", "logits"])
def test_thresholds_of_finer_maps_equal_a_run(kind: str, tmp_path: Path) -> None:
    settings = {"pred_encoding": "logits"} if kind == "logits" else {}
    pred = stored(PROBABILITIES, kind)
    ours = assert_equals_runs(pred, TRUTH, LOSSES, SOME, tmp_path, **settings)
    assert ours.thresholds.tolist() == [step / 256 for step in range(257)]


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_ignored_and_weighted_pixels_count_as_in_a_run(kind: str, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    pred = stored(PROBABILITIES, kind)
    for role in ("ignore", "weight"):
        maps = {name: random.random(each.shape) for name, each in TRUTH.items()}
        if role == "ignore":
            maps = {name: (each > 0.8) * np.uint8(255) for name, each in maps.items()}
        settings = {"inputs": {role: maps}}
        assert_equals_runs(pred, TRUTH, LOSSES, SOME[:-1], tmp_path, **settings)


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_a_graded_truth_is_cut_at_the_same_threshold(kind: str, tmp_path: Path) -> None:
    truth = stored(probabilities(TRUTH, seed=7), "uint8")
    settings = {"gt_encoding": "probability", "pred_encoding": "probability"}
    pred = stored(PROBABILITIES, kind)
    ours = assert_equals_runs(pred, truth, LOSSES, SOME[:-1], tmp_path, **settings)
    run = lossbench.evaluate(pred, truth, ["auc", "average_precision", "ece"], **settings)
    assert ours.curves.auc == pytest.approx(run.values["auc"].pooled, abs=1e-12)
    assert ours.reliability.ece == pytest.approx(run.values["ece"].pooled, abs=1e-12)
    if kind == "float32":  # the best of all levels, of which the truth's are some
        every = np.unique([each for arrays in (pred, truth) for each in _levels(arrays)])
        _assert_best(ours, pred, truth, every[::7], settings)


def _levels(arrays: Arrays) -> list[float]:
    return [
        float(value)
        for each in arrays.values()
        for value in np.unique(each / (255 if each.dtype == np.uint8 else 1))
    ]


def _assert_best(ours: Any, pred: Any, truth: Any, levels: Any, settings: Any) -> None:
    """No level that occurs is better, and the best threshold gives its value."""
    name = "dice_score"
    best = ours.scores[name].best["mean"]
    for level in [*levels, best.threshold]:
        run = lossbench.evaluate(pred, truth, [name], threshold=float(level), **settings)
        assert run.aggregates[name]["mean"] <= best.value + 1e-12
    assert run.aggregates[name]["mean"] == pytest.approx(best.value, abs=1e-12)


@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_the_best_of_finer_maps_is_of_all_levels_that_occur(kind: str) -> None:
    pred = stored(PROBABILITIES, kind)
    ours = lossbench.thresholds(pred, TRUTH, ["dice_score", "fp"])
    scale = 65535 if kind == "uint16" else 1
    levels = np.unique(np.concatenate([each.ravel() / scale for each in pred.values()]))
    assert ours.scores["dice_score"].best["mean"].threshold in levels
    means, pooled = [], []
    for level in levels:
        run = lossbench.evaluate(pred, TRUTH, ["dice_score"], threshold=float(level))
        means.append(run.aggregates["dice_score"]["mean"])
        pooled.append(run.values["dice_score"].pooled)
    for name, values in (("mean", means), ("pooled", pooled)):
        found = ours.scores["dice_score"].best[name]
        expected = find_best(levels, np.array(values), "higher")
        assert found.value == pytest.approx(expected.value, abs=1e-12)
        assert found.threshold == expected.threshold
        assert found.plateau == expected.plateau
    assert ours.scores["fp"].best["mean"].value == min(ours.scores["fp"].curves["mean"])


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_curves_and_areas_are_scikit_learns(kind: str) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    pred = stored(PROBABILITIES, kind)
    ours = lossbench.thresholds(pred, TRUTH, steps=9).as_json()
    truth, scores = (
        np.concatenate([each.ravel() for each in arrays.values()]) for arrays in (TRUTH, pred)
    )
    truth = truth > 0
    area, average = metrics.roc_auc_score, metrics.average_precision_score
    assert ours["roc"]["auc"] == pytest.approx(area(truth, scores), abs=1e-12)
    found = ours["pr"]["average_precision"]
    assert found == pytest.approx(average(truth, scores), abs=1e-12)
    if kind == "uint8":
        fpr, tpr, _ = metrics.roc_curve(truth, scores, drop_intermediate=False)
        precision, recall, _ = metrics.precision_recall_curve(truth, scores)
    else:
        scale = 65535 if kind == "uint16" else 1
        hard = [scores / scale >= step / 8 for step in range(9)]
        tpr = [0, *([(truth & each).sum() / truth.sum() for each in hard][::-1])]
        fpr = [0, *([(~truth & each).sum() / (~truth).sum() for each in hard][::-1])]
        precision = [metrics.precision_score(truth, each, zero_division=1) for each in hard] + [1]
        recall = [*tpr[:0:-1], 0]
    for name, values in (("fpr", fpr), ("tpr", tpr)):
        np.testing.assert_allclose(ours["roc"][name], values, rtol=0, atol=1e-12)
    for name, values in (("precision", precision), ("recall", recall)):
        np.testing.assert_allclose(ours["pr"][name], values, rtol=0, atol=1e-12)


def _likelihood(pred: Any, truth: Any, clip: float) -> Callable[[float], float]:
    """The mean negative log-likelihood of σ(logit(p)/T) over all pixels."""
    levels, sides = (
        np.concatenate([each.ravel() for each in arrays.values()]) for arrays in (pred, truth)
    )
    clipped = (levels / (255 if levels.dtype == np.uint8 else 1)).clip(clip, 1 - clip)
    logits = np.log(clipped / (1 - clipped)).astype(float)
    signs = np.where(sides > 0, 1.0, -1.0)
    return lambda temperature: float(np.logaddexp(0, -signs * logits / temperature).mean())


@pytest.mark.parametrize("kind", ["uint8", "float64"])
def test_the_temperature_minimises_the_likelihood(kind: str) -> None:
    from scipy.optimize import minimize_scalar

    random = np.random.default_rng(5)
    logits = {name: random.normal(0, 2, each.shape) for name, each in TRUTH.items()}
    truth = {
        name: (random.random(each.shape) < 1 / (1 + np.exp(-each))) * np.uint8(255)
        for name, each in logits.items()
    }
    sharp = {name: 1 / (1 + np.exp(-1.7 * each)) for name, each in logits.items()}
    pred = stored(sharp, kind) if kind == "uint8" else sharp
    ours = lossbench.thresholds(pred, truth).reliability
    clip = 0.5 / 255 if kind == "uint8" else 1e-6
    likelihood = _likelihood(pred, truth, clip)
    best = minimize_scalar(likelihood, bounds=(0.05, 20), method="bounded",
                           options={"xatol": 1e-9})  # fmt: skip
    assert ours.temperature == pytest.approx(best.x, rel=1e-5)
    assert likelihood(ours.temperature) <= best.fun + 1e-15
    assert 1.2 < ours.temperature < 2.4  # 1.7 was put in
    run = lossbench.evaluate(pred, truth, ["ece"])
    assert ours.ece == pytest.approx(run.values["ece"].pooled, abs=1e-12)


def test_a_temperature_at_an_end_of_its_range_is_none() -> None:
    perfect = lossbench.thresholds(
        {"a": np.array([[10, 20, 200, 220]], np.uint8)}, {"a": np.array([[0, 0, 255, 255]])}
    )
    assert math.isnan(perfect.reliability.temperature)
    assert perfect.as_json()["calibration"]["temperature"] is None
    inverted = lossbench.thresholds(
        {"a": np.array([[10, 20, 200, 220]], np.uint8)}, {"a": np.array([[255, 255, 0, 0]])}
    )
    assert inverted.as_json()["calibration"]["temperature"] is None


@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("group_by", [None, "{patient}/{slice}"])
def test_a_choice_on_one_half_is_judged_on_the_other(kind: str, group_by: str | None) -> None:
    names = ["b/1", "a/1", "b/2", "c/1", "a/2", "d/1"]
    truth = dict(zip(names, masks(6, 8, 8, seed=4).values(), strict=True))
    pred = stored(probabilities(truth, seed=9), kind)
    ours = lossbench.thresholds(pred, truth, ["iou"], group_by=group_by)
    units = sorted(names) if group_by is None else ["a", "b", "c", "d"]
    halves = [
        [name for name in names if (name if group_by is None else name[0]) in units[start::2]]
        for start in (0, 1)
    ]
    for own, other, choice in ((0, 1, 0), (1, 0, 1)):
        some = [{name: each[name] for name in halves[own]} for each in (pred, truth)]
        alone = lossbench.thresholds(*some, ["iou"]).scores["iou"].best["mean"]
        found = ours.scores["iou"].halves[choice]
        assert found.value == pytest.approx(alone.value, abs=1e-12)
        rest = [{name: each[name] for name in halves[other]} for each in (pred, truth)]
        run = lossbench.evaluate(*rest, ["iou"], threshold=found.threshold)
        expected = run.aggregates["iou"]["mean"]
        assert found.value_on_other_half == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"threshold": 0.3}, "takes no threshold; it takes inputs, manifest"),
        ({"clases": "a"}, "takes no clases (did you mean 'classes'?); it takes"),
        ({"steps": 1}, "steps is 2 or more, not 1"),
    ],
    ids=str,
)
def test_settings_that_say_nothing_of_reading_are_refused(settings: Any, words: str) -> None:
    with pytest.raises(lossbench.SettingError) as refused:
        lossbench.thresholds(LEVELS, TRUTH, **settings)
    assert words in str(refused.value)


def test_the_best_threshold_and_its_plateau() -> None:
    thresholds = np.linspace(0, 1, 11)
    values = np.array([0.1, 0.2, 0.5, 0.996, 1.0, 0.995, 0.9, 0.995, 0.2, np.nan, np.nan])
    assert find_best(thresholds, values, "higher") == (
        thresholds[4], 1.0, (thresholds[3], thresholds[5])
    )  # fmt: skip
    low = find_best(thresholds, -values, "lower")
    assert low.threshold == thresholds[4]
    equal = find_best(thresholds, np.ones(11), "higher")
    assert equal == (0.5, 1.0, (0.0, 1.0))
    nothing = find_best(thresholds, np.full(11, np.nan), "higher")
    assert nothing.as_json() == {"threshold": None, "value": None, "plateau": [None, None]}


def test_values_over_thresholds_as_salient_object_papers_have_them() -> None:
    score = lossbench.thresholds(LEVELS, TRUTH, ["fbeta"]).as_json()["scores"]["fbeta"]
    assert score["over_thresholds"]["mean"] == {
        "max": max(score["mean"]),
        "mean": pytest.approx(sum(score["mean"]) / 256, abs=1e-12),
    }
    assert score["best"]["pooled"]["value"] == score["over_thresholds"]["pooled"]["max"]


def test_more_levels_than_are_kept_are_rounded_down(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    pred = {name: random.random(each.shape) for name, each in TRUTH.items()}
    exact = lossbench.thresholds(pred, TRUTH, ["iou"])
    monkeypatch.setattr("lossbench.choosing.thresholds_pass.MOST_PIXELS", 50)
    monkeypatch.setattr(thresholds_sums, "MOST_STEPS", 50)
    monkeypatch.setattr(thresholds_sums, "WAITING", 50)
    ours = lossbench.thresholds(pred, TRUTH, ["iou"])
    assert "multiples of 2^-20" in ours.notes[0]
    best = ours.scores["iou"].best["mean"]
    assert best.threshold == rounded_down(np.array(best.threshold))
    assert best.value == pytest.approx(exact.scores["iou"].best["mean"].value, abs=1e-12)
    run = lossbench.evaluate(pred, TRUTH, ["iou"], threshold=best.threshold)
    assert run.aggregates["iou"]["mean"] == pytest.approx(best.value, abs=1e-12)
    assert ours.curves.auc == pytest.approx(exact.curves.auc, abs=1e-5)


def test_step_functions_add_up() -> None:
    sums = StepSums(1)
    sums.add(np.array([0.2, 0.6]), np.array([[1.0, 2.0, 4.0]]))
    sums.add(np.array([0.6, 0.9]), np.array([[10.0, 20.0, 40.0]]))
    sums.steps.join()
    found = sums.at(np.array([0.0, 0.2, 0.3, 0.6, 0.7, 0.9, 1.0]))
    assert found.tolist() == [[11.0, 11.0, 12.0, 12.0, 24.0, 24.0, 44.0]]
    levels = LevelSums(1, 100)
    levels.join()
    assert levels.numbers.shape == (1, 0)


def test_readers_change_no_digit() -> None:
    truth = masks(210, 4, 5)
    pred = stored(probabilities(truth), "uint8")
    one = lossbench.thresholds(pred, truth, workers=1).as_json()
    two = lossbench.thresholds(pred, truth, workers=2).as_json()
    one["run"]["settings"] = two["run"]["settings"] = None
    assert one == two


def written(folder: Any, pred: Arrays = LEVELS, truth: Arrays = TRUTH) -> tuple[Path, Path]:
    """Both folders as PNGs, or as .npy where they are floats."""
    ending = "npy" if next(iter(pred.values())).dtype.kind == "f" else "png"
    return (
        folder("pred", {f"{name}.{ending}": each for name, each in pred.items()}),
        folder("gt", {f"{name}.png": each for name, each in truth.items()}),
    )


def test_the_command_gives_what_python_gives(
    folder: Any, lossbench_command: Command, tmp_path: Path
) -> None:
    folders = written(folder)
    files = [tmp_path / f"all.{ending}" for ending in ("json", "csv", "txt")]
    options = [word for file in files for word in ("-o", file)]
    done = lossbench_command("thresholds", *folders, "-l", "iou", "-l", "mcc", *options)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert "binary · pred: probability (uint8/255)" in done.stderr
    assert files[2].read_text() == done.stdout
    expected = lossbench.thresholds(LEVELS, TRUTH, ["iou", "mcc"]).as_json()
    model = json.loads(files[0].read_text())
    for key in ("thresholds", "scores", "roc", "pr", "calibration", "errors"):
        assert model[key] == expected[key]
    lines = files[1].read_text().splitlines()
    assert lines[0] == "threshold,iou,iou.pooled,mcc,mcc.pooled"
    assert len(lines) == 257
    row = lines[129].split(",")
    assert [float(row[0]), float(row[1])] == [128 / 255, model["scores"]["iou"]["mean"][128]]
    printed = lossbench_command("thresholds", *folders, "-l", "iou", "-f", "json")
    assert json.loads(printed.stdout)["scores"]["iou"] == expected["scores"]["iou"]


def test_the_table_answers_which_threshold(folder: Any, lossbench_command: Command) -> None:
    done = lossbench_command("thresholds", *written(folder))
    answer = done.stdout.partition("which threshold?\n")[2].splitlines()
    score = lossbench.thresholds(LEVELS, TRUTH).scores["dice_score"]
    best = score.best["mean"]
    assert answer[0].startswith(f"dice_score: {best.threshold:.4f} gives {best.value:.4f}; 0.5")
    ramp = {"a": np.array([[10, 100, 200, 220]], np.uint8)}
    text = lossbench.render(lossbench.thresholds(ramp, {"a": np.array([[0, 255, 0, 255]])}))
    assert "recall is best towards 0 (0.0 to 0.3922), so it chooses no threshold" in text
    assert "mean over 5 images" in done.stdout
    assert "does the choice hold?" in done.stdout
    drawn = lossbench.render(lossbench.thresholds(LEVELS, TRUTH), "table", blocks=True)
    assert "▇" in drawn
    assert "█" not in done.stdout
    plain = lossbench.render(lossbench.thresholds(LEVELS, TRUTH), blocks=True, ascii=True)
    assert plain.isascii()


def test_a_file_that_cannot_be_read_is_status_3(folder: Any, lossbench_command: Command) -> None:
    pred, gt = written(folder)
    (pred / "i1.png").write_bytes(b"no picture")
    (pred / "i2.png").unlink()
    done = lossbench_command("thresholds", pred, gt, "-f", "json")
    model = json.loads(done.stdout)
    assert done.returncode == 3
    assert [each["id"] for each in model["errors"]] == ["i1", "i2"]
    assert model["run"]["pairs"] == {"found": 4, "evaluated": 3, "errors": 2}
    skipped = lossbench_command("thresholds", pred, gt, "-f", "json", "--missing", "skip")
    assert [each["id"] for each in json.loads(skipped.stdout)["errors"]] == ["i1"]


def test_nothing_is_defined_without_foreground() -> None:
    empty = {name: np.zeros_like(each) for name, each in TRUTH.items()}
    ours = lossbench.thresholds(LEVELS, empty, ["dice_score", "recall"], task="binary")
    model = ours.as_json()
    assert model["roc"]["auc"] is None
    assert model["pr"]["average_precision"] is None
    assert model["scores"]["recall"]["best"]["mean"]["threshold"] is None
    assert "recall is undefined at every threshold" in lossbench.render(ours, "table")


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_a_figure_of_the_curves(
    ending: str, folder: Any, lossbench_command: Command, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    folders = written(folder)
    file = tmp_path / f"curve.{ending}"
    assert lossbench_command("thresholds", *folders, "--plot", file).returncode == 0
    start = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[ending]
    content = file.read_bytes()
    assert content.startswith(start)
    again = tmp_path / f"again.{ending}"
    assert lossbench_command("thresholds", *folders, "-o", again).returncode == 0
    if ending != "png":
        assert again.read_bytes() == content


def _several(kind: str) -> tuple[Arrays, Arrays]:
    """Probabilities of three classes that are too sure by 1.5, and labels, some of them ignored."""
    random = np.random.default_rng(11)
    pred, truth = {}, {}
    for name in "abc":
        logits = random.normal(0, 1.5, (3, 12, 10))
        chances = np.exp(logits)
        chances /= chances.sum(0)
        labels = (random.random((12, 10)) > chances.cumsum(0)[:2, ...]).sum(0)
        truth[name] = np.where(random.random((12, 10)) < 0.1, 255, labels).astype(np.uint8)
        sharp = np.exp(1.5 * logits)
        pred[name] = 1.5 * logits if kind == "logits" else sharp / sharp.sum(0)
    return pred, truth


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "read again"])
@pytest.mark.parametrize("kind", ["probability", "logits"])
def test_probabilities_of_several_classes_have_curves_and_a_temperature(
    kind: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    if not kept:
        monkeypatch.setattr("lossbench.choosing.thresholds_classes.MOST_KEPT", 500)
    pred, truth = _several(kind)
    settings: dict[str, Any] = {"task": "multiclass", "pred_encoding": kind, "ignore": [255]}
    ours = lossbench.thresholds(pred, truth, **settings)
    run = lossbench.evaluate(pred, truth, ["auc", "average_precision", "ece"], **settings)
    curves = ours.class_curves.values()
    assert [each.auc for each in curves] == pytest.approx(run.values["auc"].pooled_classes)
    assert [each.average_precision for each in curves] == pytest.approx(
        run.values["average_precision"].pooled_classes
    )
    assert ours.reliability.ece == pytest.approx(run.values["ece"].pooled, abs=1e-12)
    assert ours.scores == {}
    assert "which threshold?\nall thresholds: AUC" in lossbench.render(ours, "table")

    flat = np.concatenate([each.reshape(3, -1) for each in pred.values()], 1)
    labels = np.concatenate([each.ravel() for each in truth.values()])
    flat, labels = flat[:, labels != 255], labels[labels != 255]
    shares = np.exp(log_softmax(flat, 0)) if kind == "logits" else flat
    logs = np.log(shares.clip(1e-6, 1 - 1e-6))

    def likelihood(temperature: float) -> float:
        own = log_softmax(logs / temperature, 0)[labels, np.arange(len(labels))]
        return float(-own.mean())

    best = minimize_scalar(likelihood, bounds=(0.05, 20), method="bounded",
                           options={"xatol": 1e-9})  # fmt: skip
    assert ours.reliability.temperature == pytest.approx(best.x, rel=1e-5)
    assert 1.2 < ours.reliability.temperature < 1.9


def test_probabilities_that_are_no_distribution_fail_alone() -> None:
    pred, truth = _several("probability")
    wrong = {**pred, "b": pred["b"] * 0.5}
    ours = lossbench.thresholds(wrong, truth, task="multiclass", ignore=[255])
    assert [each.id for each in ours.failed] == ["b"]
    assert "sum to 0.5 in a pixel; calibration reads them" in ours.failed[0].message
    assert (ours.counts["evaluated"], ours.exit_status) == (2, 3)


def test_child_processes_read_many_tables(
    folder: Any, lossbench_command: Command, tmp_path: Path
) -> None:
    truth = masks(203, 6, 5)
    pred = stored(probabilities(truth), "uint8")
    done = lossbench_command("thresholds", *written(folder, pred, truth), "-f", "json")
    expected = lossbench.thresholds(pred, truth).as_json()
    assert json.loads(done.stdout)["scores"] == expected["scores"]


@pytest.mark.parametrize("has_figures", [True, False])
def test_a_page_holds_answer_figure_and_tables(
    has_figures: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if has_figures:
        pytest.importorskip("matplotlib")
    else:
        monkeypatch.setattr("lossbench.reporting.thresholds_page.find_spec", lambda name: None)
    path = tmp_path / "thresholds.html"
    lossbench.save(lossbench.thresholds(LEVELS, TRUTH), path)
    page = path.read_text("utf-8")
    assert "<h2>Which threshold?</h2>" in page
    assert "does the choice hold?" in page
    assert page.count("<svg") == page.count("</svg>") == int(has_figures)
    assert ("lossbench[plot]" in page) != has_figures
