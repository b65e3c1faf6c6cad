"""`lossbench inspect`: figures of files, findings, recommendations, and the config it writes."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from helpers.paths import SAMPLES
from PIL import Image
from scipy import ndimage
from scipy.spatial.distance import cdist

import lossbench
from lossbench.catalog.columns import resolve
from lossbench.choosing import inspection_objects
from lossbench.choosing.inspection_config import lenient
from lossbench.choosing.recommendations import RULES, USE_CASES
from lossbench.results.formats import text_formats

Command = Callable[..., subprocess.CompletedProcess[str]]
Array = np.ndarray[Any, Any]
WRITERS: Mapping[str, Callable[[Path, Array], Any]] = {
    ".png": lambda path, array: Image.fromarray(array).save(path),
    ".npy": np.save,
}


def save(folder: Path, arrays: Mapping[str, Array], ending: str = ".png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        WRITERS[ending](folder / f"{name}{ending}", array)
    return folder


@pytest.fixture
def inspect(lossbench_command: Command) -> Callable[..., dict[str, Any]]:
    """The JSON of a command that ends with a status."""

    def run(*arguments: Any, status: int = 0) -> dict[str, Any]:
        done = lossbench_command("inspect", *arguments, "-f", "json")
        assert done.returncode == status, done.stderr
        model: dict[str, Any] = json.loads(done.stdout)
        return model

    return run


def losses(model: Mapping[str, Any]) -> set[str]:
    return {each["loss"] for each in model["recommended"]}


def kinds(model: Mapping[str, Any]) -> dict[str, Any]:
    return {each["kind"]: each for each in model["findings"]}


def canvas(height: int = 100, width: int = 100) -> Array:
    return np.zeros((height, width), np.uint8)


def blobs(seed: int) -> Array:
    """Labels 0 … 3 in areas of any shape, and 255 for ignored."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(60, 80)), 3)
    labels = np.digitize(noise, np.quantile(noise, [0.5, 0.75, 0.95])).astype(np.uint8)
    labels[:, :3] = 255
    return labels


def test_the_table_of_classes_is_that_of_numpy_and_scipy(inspect, tmp_path):
    truth = {f"scene_{seed}": blobs(seed) for seed in range(3)}
    model = inspect(save(tmp_path / "gt", truth))
    assert model["pairs"] == 3
    assert model["plan"]["task"] == "multiclass"
    assert model["plan"]["classes"] == ["0", "1", "2", "3"]
    assert model["plan"]["ignore"] == ["255"]
    assert model["plan"]["evidence"][0]["seen"] == "0, 1, 2, 3, 255"
    assert model["plan"]["evidence"][0]["needs"].startswith("whole numbers below 32")
    assert model["files"]["gt"]["sizes"] == [[[60, 80], 3]]
    assert model["files"]["gt"]["modes"] == {"L": 3}
    assert model["files"]["gt"]["values"] == [0, 1, 2, 3, 255]
    valid = sum(int((each != 255).sum()) for each in truth.values())
    for index, figures in enumerate(model["classes"]):
        masks = [each == index for each in truth.values()]
        areas, border = list[int](), 0
        for mask in masks:
            labels, count = ndimage.label(mask, np.ones((3, 3)))
            for number in range(1, count + 1):
                areas.append(int((labels == number).sum()))
                edge = np.ones(mask.shape, bool)
                edge[1:-1, 1:-1] = False
                border += bool(((labels == number) & edge).any())
        pixels = sum(int(mask.sum()) for mask in masks)
        assert figures["name"] == str(index)
        assert figures["pixels"] == pixels
        assert figures["share"] == pytest.approx(pixels / valid, rel=1e-12)
        assert figures["images"] == sum(mask.any() for mask in masks)
        assert figures["objects"] == len(areas)
        assert figures["median_area"] == np.median(areas)
        assert figures["smallest_tenth"] == pytest.approx(np.percentile(areas, 10))
        assert figures["on_border"] == pytest.approx(border / len(areas))
    ignored = kinds(model)["ignored"]
    assert ignored["count"] == 3
    assert ignored["message"].startswith(f"{1 - valid / (3 * 60 * 80):.2%}")


def test_gaps_are_the_pixels_between_neighbours():
    labels = np.zeros((40, 60), int)
    boxes = [(2, 10, 3, 12), (2, 10, 15, 20), (20, 30, 3, 12), (20, 30, 40, 50)]
    for number, (top, bottom, left, right) in enumerate(boxes, 1):
        labels[top:bottom, left:right] = number
    points = [np.argwhere(labels == number) for number in range(1, 5)]
    for index, gap in enumerate(inspection_objects.gaps_between(labels)):
        others = [each for other, each in enumerate(points) if other != index]
        nearest = min(cdist(points[index], each).min() for each in others)
        assert abs(gap - (nearest - 1)) < 0.5
    touching = np.repeat([[1, 1, 2, 2]], 3, 0)
    assert inspection_objects.gaps_between(touching).tolist() == [0, 0]


@pytest.mark.parametrize("width", [1, 3, 5, 9])
def test_without_skeletons_a_strip_has_its_length(width, monkeypatch, lossbench_command, tmp_path):
    monkeypatch.setattr(inspection_objects, "has_skeletons", lambda: False)
    strip = np.ones((width, 400), bool)
    assert inspection_objects.centre_length(strip) == pytest.approx(400, rel=0.03)
    mask = canvas(40, 420)
    mask[10 : 10 + width, 5:405] = 255
    done = lossbench_command("inspect", save(tmp_path / "gt", {"a": mask}))
    assert "lengths by" in done.stdout


# Each rule: the files on its side of the limit, and just beyond; with the losses that differ.


def one_mask(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (100, 100)) -> Array:
    mask = canvas(*size)
    for top, left, height, width in boxes:
        mask[top : top + height, left : left + width] = 255
    return mask


def squares(count: int) -> Array:
    return one_mask(*((20 * (i // 4) + 2, 20 * (i % 4) + 2, 8, 8) for i in range(count)))


def rater_votes(middle: float) -> Array:
    votes = np.zeros((20, 20), np.float32)
    votes[5:15, 5:15], votes[8:12, 8:12] = middle, 1
    return votes


def soft(count: int) -> Array:
    mask = one_mask((20, 20, 60, 60))
    mask[0].flat[:count] = 100
    return mask


def bar(height: int, length: int) -> Array:
    return one_mask((50, 20, height, length), size=(200, 200))


def pair(gap: int) -> Array:
    return one_mask((10, 10, 30, 30), (10, 40 + gap, 30, 30))


SIXTH = (0, 0, 10, 60)  # of 60 × 60 pixels
MASK_RULES = {  # on the limit, beyond it, and a loss of the rule
    "imbalance": (
        one_mask(SIXTH, size=(60, 60)),
        one_mask(SIXTH, (20, 0, 1, 1), size=(60, 60)),
        "bce(pos_weight=5)",
    ),
    "thin: thickness": (bar(5, 150), bar(9, 150), "cldice"),
    "thin: length": (bar(5, 60), bar(5, 30), "boundary"),
    "many": (squares(8), squares(7), "panoptic_quality"),
    "tiny": (one_mask((50, 50, 4, 5)), one_mask((50, 50, 3, 7)), "betti_error"),
    "touching": (pair(2), pair(3), "segmentation_quality"),
    "soft": (soft(10), soft(9), "dice(intersection=min)"),
}


@pytest.mark.parametrize("rule", MASK_RULES)
def test_a_rule_of_masks_holds_from_its_limit_on(rule, inspect, tmp_path):
    inside, beyond, loss = MASK_RULES[rule]
    models = []
    for name, mask in (("inside", inside), ("beyond", beyond)):
        encoding = ["--gt-encoding", "probability"] if rule == "soft" else []
        models.append(inspect(save(tmp_path / name, {"a": mask}), *encoding))
    assert loss in losses(models[0])
    assert loss not in losses(models[1])


def test_the_rule_of_several_imbalanced_classes(inspect, tmp_path):
    truth = canvas(70, 10)
    truth[:40], truth[40:60], truth[60:68], truth[68:] = 0, 1, 2, 3
    skewed, even = truth.copy(), truth.copy()
    even[60:], even[:10] = 2, 2  # 30, 20, 20
    for name, labels, holds in (("skewed", skewed, True), ("even", even, False)):
        model = inspect(save(tmp_path / name, {"a": labels, "b": labels}))
        assert ("cross_entropy(class_weights=median_frequency)" in losses(model)) is holds
    row = next(e for e in inspect(tmp_path / "skewed")["recommended"] if "median" in e["loss"])
    shares = np.array([40, 20, 8, 2]) / 70
    numbers = [float(each) for each in re.findall(r"\d (\d\S*?)(?:,|$)", row["why"].split(": ")[1])]
    np.testing.assert_allclose(numbers, np.median(shares) / shares, rtol=5e-3)
    assert row["figure"].startswith("pixels of the largest to the smallest class 20 to 1")


def test_the_rule_of_few_classes(inspect, tmp_path):
    half, more = canvas(40, 40), canvas(40, 40)
    half[10:30] = 1
    more[10:20], more[20:30] = 1, 2
    other = canvas(40, 40)
    other[10:20] = 3
    for name, first, holds in (("half", half, True), ("more", more, False)):
        model = inspect(save(tmp_path / name, {"a": first, "b": other}))
        assert len(model["classes"]) == 4
        assert ("dice(absent=skip)" in losses(model)) is holds


@pytest.mark.parametrize(("middle", "holds"), [(0.5, True), (0.3, False)])
def test_the_rule_of_raters(middle, holds, inspect, tmp_path):
    truth = save(tmp_path / "gt", {"a": rater_votes(middle)}, ".npy")
    assert ("kl" in losses(inspect(truth))) is holds


def test_the_rule_of_calibration(inspect, tmp_path):
    mask = one_mask((20, 20, 60, 60))
    truth, hard = save(tmp_path / "gt", {"a": mask}), save(tmp_path / "hard", {"a": mask})
    graded = save(tmp_path / "graded", {"a": (mask // 2 + np.arange(100)).astype(np.uint8)})
    assert "ece" not in losses(inspect(hard, truth))
    assert "ece" in losses(inspect(graded, truth))


@pytest.mark.parametrize(("spacing", "holds"), [(1.5, True), (1.49, False)])
def test_the_rule_of_spacing(spacing, holds, inspect, tmp_path):
    labels = np.zeros((12, 12, 6), np.uint8)
    labels[2:8, 2:8, 1:4] = 1
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([1, 1, spacing, 1])), tmp_path / "a.nii.gz")
    model = inspect(tmp_path)
    assert ("hd95" in losses(model)) is holds
    assert ("nsd(tolerance=2)" in losses(model)) is holds
    assert model["plan"]["spacing"] == f"1×1×{spacing:g} mm"


@pytest.mark.parametrize(("small", "holds"), [(1, True), (0, False)])
def test_the_rule_of_small_boxes(small, holds, inspect, tmp_path):
    sides = [31 if index < small else 32 for index in range(4)]
    annotations = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": [40 * i, 5, side, side],
         "area": side**2, "iscrowd": 0}
        for i, side in enumerate(sides)
    ]  # fmt: skip
    truth = {
        "images": [{"id": 1, "file_name": "a.png", "width": 200, "height": 100}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "car"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(truth))
    model = inspect(tmp_path / "instances.json")
    assert model["plan"]["task"] == "detection"
    assert model["classes"][0]["objects"] == 4
    assert ("giou" in losses(model)) is holds
    assert ("average_precision_boxes(area=small)" in losses(model)) is holds


@pytest.mark.parametrize(("loss", "limit"), [("ssim", 11), ("ms_ssim", 176)])
def test_the_rules_of_pictures(loss, limit, inspect, tmp_path):
    noise = np.random.default_rng(0).integers(1, 255, (180, 180, 3), np.uint8)
    for side, holds in ((limit, True), (limit - 1, False)):
        model = inspect(save(tmp_path / str(side), {"a": noise[:side]}))
        assert model["plan"]["task"] == "image"
        assert (loss in losses(model)) is holds
        assert {"l1", "psnr", "lpips"} <= losses(model)


def test_every_rule_of_figures_has_a_test_above():
    names = {rule.name for rule in RULES if rule.figure}
    tested = {name.partition(":")[0] for name in MASK_RULES}
    others = {
        "few_classes",
        "raters",
        "calibration",
        "spacing",
        "small_boxes",
        "structure",
        "scales",
    }
    assert names == tested | others


NUMBERS = {"figure": "3", "gap": "2", "sigma": "3", "weights": ""}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name}-{rule.tasks[0]}")
def test_every_recommended_loss_exists_and_has_a_source(rule):
    for each in rule.losses:
        (column,) = resolve([each.expression.format(**NUMBERS)], {})
        assert column.terms
        assert each.why.format(**NUMBERS)
        assert re.search(r"\d{4}|COCO|reloaded", each.source)


RUNS = {
    "binary": ("binary/pred", "binary/gt"),
    "multiclass": ("multiclass/pred_prob", "multiclass/gt", {"missing": "skip"}),
    "multilabel": (
        "multilabel/pred",
        "multilabel/gt",
        {"pred_pattern": "{id}_{class}", "gt_pattern": "{id}_{class}"},
    ),
    "image": ("image/pred", "image/gt"),
    "instances": ("instances/pred", "instances/gt"),
    "detection": ("detection/results.json", "detection/instances.json"),
    "vectors": ("embedding/pred", "embedding/gt"),
    "scores": ("adversarial/pred", "adversarial/gt"),
    "records": ("anchors/pred", "anchors/gt"),
}
ELSEWHERE = {"lpips", "triplet", "contrastive", "ms_ssim"}  # weights, further inputs, larger files


@pytest.mark.parametrize("task", RUNS)
def test_every_recommended_loss_runs_on_its_task(task):
    pred, target, *settings = RUNS[task]
    advised = [each for rule in RULES if task in rule.tasks for each in rule.losses]
    expressions = dict.fromkeys(each.expression.format(**NUMBERS) for each in advised)
    tasks = {
        each: set.intersection(*(set(t.entry.all_tasks) for t in resolve([each], {})[0].terms))
        for each in expressions
    }
    own = [each for each in expressions if task in tasks[each] and each not in ELSEWHERE]
    more: Mapping[str, Any] = settings[0] if settings else {}
    result = lossbench.evaluate(SAMPLES / pred, SAMPLES / target, own, task=task, **more)
    assert not result.failed
    for name, aggregates in result.aggregates.items():
        assert aggregates["count"] or aggregates["infinite"], name


def test_every_loss_of_a_use_case_exists():
    for case in USE_CASES:
        for expression in (*case.training, *case.scores):
            assert resolve([expression], {})
    assert {case.task for case in USE_CASES} >= {"binary", "multiclass", "multilabel", "image"}


def test_every_task_has_a_rule():
    tasks = {task for rule in RULES if not rule.figure for task in rule.tasks}
    assert tasks == set(lossbench.list_settings()["task"].type.choices)


@pytest.mark.parametrize("format", text_formats("inspection"))
def test_use_cases_need_no_files(format, lossbench_command):
    done = lossbench_command("inspect", "--use-cases", "-f", format)
    assert done.returncode == 0
    assert "face recognition" in done.stdout
    assert "triplet" in done.stdout


@pytest.mark.parametrize("format", text_formats("inspection"))
def test_every_format_has_every_part(format, lossbench_command, tmp_path):
    sides = SAMPLES / "multiclass" / "pred", SAMPLES / "multiclass" / "gt"
    file = tmp_path / "page.html"
    done = lossbench_command("inspect", *sides, "-f", format, "-o", file)
    assert done.returncode == 0
    for part in ("class", "ignored", "tversky", "Salehi", "64"):
        assert part in done.stdout
    assert "<meter" in file.read_text("utf-8")


def test_an_undecided_plan_is_a_finding(inspect, tmp_path):
    truth = canvas()
    truth[20:40], truth[40:60] = 127, 254
    model = inspect(save(tmp_path / "gt", {"a": truth, "b": truth}))
    assert model["plan"] is None
    assert model["classes"] == model["recommended"] == []
    question = kinds(model)["undecided"]
    settings = {each["meaning"]: each["setting"] for each in question["readings"]}
    assert "--gt-scale 127" in settings["labels of classes"]
    assert "--gt-encoding probability" in settings["a graded mask"]
    assert {"task", "gt", "pred"} <= question["readings"][0].keys()
    chosen = inspect(tmp_path / "gt", "--gt-encoding", "labels", "--gt-scale", "127")
    assert chosen["plan"]["task"] == "multiclass"


def test_files_that_no_reading_fits_are_a_finding(inspect, tmp_path):
    truth = save(tmp_path / "gt", {"a": one_mask((20, 20, 30, 30))})
    question = kinds(inspect(truth, truth, "--task", "scores", "--pred-encoding", "mask"))
    assert "no meaning" in question["undecided"]["message"]


def test_an_unreadable_file_is_status_3(inspect, tmp_path):
    folder = save(tmp_path / "gt", {name: one_mask((20, 20, 30, 30)) for name in "abc"})
    whole = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) // 2])
    finding = kinds(inspect(folder, status=3))["unreadable"]
    assert finding["count"] == 1
    assert finding["files"] == ["b"]
    assert "b.png" in finding["message"]


def test_no_readable_file_leaves_no_plan(inspect, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    model = inspect(tmp_path, status=3)
    assert model["plan"] is None
    assert {"undecided", "unreadable"} <= kinds(model).keys()


def test_odd_files_are_findings(inspect, tmp_path):
    rng = np.random.default_rng(1)
    truth = {f"{n:02}": one_mask((int(rng.integers(5, 60)), n, 30, 30)) for n in range(20)}
    truth["03"] = truth["04"]
    truth["05"] = canvas()
    truth["06"] = np.full((100, 100), 255, np.uint8)
    truth["07"] = one_mask((5, 5, 30, 30), size=(90, 100))
    folder = save(tmp_path / "gt", truth)
    Image.fromarray(truth["08"]).convert("RGB").save(folder / "08.png")
    pred = save(tmp_path / "pred", {name: truth[name] for name in sorted(truth)[1:]})
    save(pred, {"extra": canvas(), "07": canvas()})
    found = kinds(inspect(pred, folder))
    assert set(found["duplicates"]["files"]) == {"03", "04"}
    assert found["equal_to_truth"]["count"] == 15  # of 19, those of one value and 07, 08 aside
    assert found["empty"]["files"] == ["05"]
    assert found["full"]["files"] == ["06"]
    assert found["unusual_size"]["files"] == ["07"]
    assert found["unusual_mode"]["files"] == ["08"]
    assert found["missing"]["files"] == ["00"]
    assert found["extra"]["files"] == ["extra"]
    assert found["size"]["files"] == ["07"]


def test_masks_as_jpeg_are_a_finding(inspect, tmp_path):
    Image.fromarray(one_mask((16, 16, 64, 64))).save(tmp_path / "a.jpg", quality=100)
    model = inspect(tmp_path, "--gt-encoding", "mask")
    assert kinds(model)["jpeg_mask"]["files"] == ["a"]


def test_pixels_without_a_number_are_ignored(inspect, tmp_path):
    truth = (one_mask((20, 20, 40, 40)) // 255).astype(np.float32)
    truth[:10] = np.nan
    model = inspect(save(tmp_path / "gt", {"a": truth}, ".npy"), "--ignore", "nan")
    assert model["plan"]["ignore"] == ["nan"]
    assert [each["pixels"] for each in model["classes"]] == [7400, 1600]


def test_numbers_that_are_no_picture_are_findings(inspect, tmp_path):
    rng = np.random.default_rng(0)
    vectors = {name: rng.normal(size=64) for name in "ab"}
    model = inspect(save(tmp_path / "vectors", vectors, ".npy"))
    assert "--task vectors" in kinds(model)["one_axis"]["message"]
    picture = rng.random((40, 40))
    picture[3, 4] = np.inf
    model = inspect(save(tmp_path / "pictures", {"a": picture}, ".npy"))
    assert kinds(model)["not_finite"]["files"] == ["a"]


def test_a_sample_is_said(inspect, tmp_path):
    folder = save(tmp_path / "gt", {f"{n:02}": one_mask((n, n, 30, 30)) for n in range(12)})
    model = inspect(folder, "--sample", "3")
    assert model["pairs"] == 12
    assert model["files"]["gt"]["files"] == 3
    assert kinds(model)["sampled"]["message"].startswith("figures are those of 3 of 12 pairs")
    assert "sampled" not in kinds(inspect(folder, "--sample", "12"))


def test_labels_beyond_the_sample_are_classes(inspect, tmp_path):
    labels = {f"{n:02}": canvas(20, 20) + np.uint8(n % 2) for n in range(40)}
    labels["01"] = np.full((20, 20), 5, np.uint8)
    labels = {name: np.vstack([each, each * 0 + 2]) for name, each in labels.items()}
    model = inspect(save(tmp_path / "gt", labels))
    assert model["plan"]["classes"] == list("012345")
    assert model["classes"][5]["pixels"] == 400


def test_instances_of_classes(inspect):
    model = inspect(SAMPLES / "panoptic" / "gt.json")
    assert model["plan"]["task"] == "instances"
    assert sum(each["objects"] for each in model["classes"]) > 4
    numbered = inspect(SAMPLES / "instances" / "gt", "--task", "instances")
    assert numbered["classes"][0]["touching"] is not None


BY_CLASS = ("--pred-pattern", "{id}_{class}", "--gt-pattern", "{id}_{class}")
SETS = {
    "binary": ("binary/pred", "binary/gt"),
    "multiclass": ("multiclass/pred", "multiclass/gt"),
    "probabilities": ("multiclass/pred_prob", "multiclass/gt"),
    "multilabel": ("multilabel/pred", "multilabel/gt", *BY_CLASS),
    "image": ("image/pred", "image/gt"),
    "style": ("style/pred", "style/gt"),
    "instances": ("instances/pred", "instances/gt", "--task", "instances"),
    "panoptic": ("panoptic/pred.json", "panoptic/gt.json"),
    "detection": ("detection/results.json", "detection/instances.json"),
    "medical": ("medical/pred", "medical/gt"),
    "embedding": ("embedding/pred", "embedding/gt", "--task", "vectors"),
    "adversarial": ("adversarial/pred", "adversarial/gt", "--task", "scores"),
    "anchors": ("anchors/pred", "anchors/gt", "--task", "records"),
}  # fmt: skip


def test_every_set_of_the_samples_is_inspected():
    folders = {each.name for each in SAMPLES.iterdir() if each.is_dir()} - {"__pycache__"}
    assert folders == {pred.partition("/")[0] for pred, *_ in SETS.values()}


@pytest.mark.parametrize("name", SETS)
def test_a_written_config_runs(name, lossbench_command, tmp_path):
    pred, target, *settings = SETS[name]
    config = tmp_path / "lossbench.yaml"
    done = lossbench_command(
        "inspect", SAMPLES / pred, SAMPLES / target, *settings, "--write", config
    )
    assert done.returncode == 0, done.stderr
    result = tmp_path / "result.json"
    evaluated = lossbench_command("eval", "-c", config, "-o", result)
    assert evaluated.returncode == 0, evaluated.stderr
    assert "\nlosses:\n" in config.read_text("utf-8")
    gates = json.loads(result.read_text("utf-8")).get("gates", [])
    assert gates
    text = config.read_text("utf-8")
    bounds = re.findall(r"  - (\S+ [<>]=) (\S+)  # (\S+)", text)
    assert len(bounds) == len(gates)
    for gate, bound, mean in bounds:
        step = 10.0 ** (math.floor(math.log10(abs(float(bound)) or 1)) - 2)
        difference = float(bound) - float(mean)
        assert 0 <= difference * (1 if "<=" in gate else -1) + 1e-5 * step < 1.01 * step


@pytest.mark.parametrize("named", [[], ["--classes", "{0: soil, 41: oak, 207: elm}"]])
def test_a_config_names_stored_values_that_have_gaps(named, lossbench_command, tmp_path):
    truth = canvas(40, 40)
    truth[10:20], truth[20:30] = 41, 207
    volume = np.repeat(truth[..., None], 3, 2)
    for side in ("pred", "gt"):
        (tmp_path / side).mkdir()
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / side / "a.nii.gz")
    config, sides = tmp_path / "lossbench.yaml", (tmp_path / "pred", tmp_path / "gt")
    done = lossbench_command("inspect", *sides, *named, "--write", config)
    assert done.returncode == 0, done.stderr
    assert "41: " in config.read_text("utf-8")
    result = tmp_path / "result.json"
    evaluated = lossbench_command("eval", "-c", config, "-o", result)
    assert evaluated.returncode == 0, evaluated.stderr
    names = json.loads(result.read_text("utf-8"))["run"]["plan"]["identity"]["classes"]
    assert names == (["soil", "oak", "elm"] if named else ["0", "41", "207"])


@pytest.mark.parametrize(
    ("value", "better", "bound"),
    [(0.12341, "lower", "0.124"), (0.12341, "higher", "0.123"), (32.19, "higher", "32.1"),
     (-0.4567, "lower", "-0.456"), (0.0, "lower", "0"), (1234.5, "lower", "1.24E+3")],
)  # fmt: skip
def test_bounds_are_rounded_to_the_lenient_side(value, better, bound):
    assert str(lenient(value, better)) == bound


def test_without_predictions_a_config_has_no_gates(lossbench_command, tmp_path):
    config, sides = tmp_path / "lossbench.yaml", SAMPLES / "multiclass"
    assert lossbench_command("inspect", sides / "gt", "--write", config).returncode == 0
    text = config.read_text("utf-8")
    assert "gates:" not in text
    assert "classes: 4" in text
    assert "ignore: [255]" in text
    assert lossbench_command("eval", sides / "pred", "-c", config).returncode == 0


def test_an_existing_config_is_kept(lossbench_command, tmp_path):
    config, truth = tmp_path / "lossbench.yaml", SAMPLES / "binary" / "gt"
    config.write_text("task: binary\n")
    refused = lossbench_command("inspect", truth, "--write", config)
    assert refused.returncode == 2
    assert "exists; --force overwrites it" in refused.stderr
    assert config.read_text("utf-8") == "task: binary\n"
    assert lossbench_command("inspect", truth, "--write", config, "--force").returncode == 0
    assert "losses:" in config.read_text("utf-8")


def test_a_config_needs_a_folder_and_a_plan(lossbench_command, tmp_path):
    lost = lossbench_command(
        "inspect", SAMPLES / "binary" / "gt", "--write", tmp_path / "no" / "x.yaml"
    )
    assert lost.returncode == 2
    assert "does not exist; create it first" in lost.stderr
    truth = canvas()
    truth[20:40], truth[40:60] = 127, 254
    folder = save(tmp_path / "gt", {"a": truth})
    undecided = lossbench_command("inspect", folder, "--write", tmp_path / "x.yaml")
    assert undecided.returncode == 2
    assert "needs a plan: how are the files to be read?" in undecided.stderr
    assert not (tmp_path / "x.yaml").exists()


def test_wrong_arguments_are_refused(lossbench_command):
    assert "expected GT" in lossbench_command("inspect").stderr
    with pytest.raises(lossbench.SettingError, match="expected GT"):
        lossbench.inspect()


def test_a_missing_folder_is_that_of_the_ground_truth(lossbench_command):
    done = lossbench_command("inspect", "no_such_folder")
    assert done.returncode == 3
    assert "no_such_folder does not exist (target)" in done.stderr


def test_arrays_in_memory_are_inspected():
    inspection = lossbench.inspect({"a": one_mask((20, 20, 30, 30))})
    assert inspection.classes[1].pixels == 900
    assert "Tversky" in lossbench.render(inspection, "markdown")
