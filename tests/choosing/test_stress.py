"""`lossbench stress`: damages counted by NumPy alone, known facts about losses, and predictions."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.paths import SAMPLES
from PIL import Image

import lossbench
from lossbench import InputError, SettingError
from lossbench.choosing import stress as stress_module
from lossbench.choosing.stress_masks import MASK_DAMAGES, LabelMap
from lossbench.choosing.stress_pictures import PICTURE_DAMAGES, Picture

Command = Callable[..., subprocess.CompletedProcess[str]]
Array = np.ndarray[Any, Any]
SIDE = 96
ROWS, COLUMNS = np.indices((SIDE, SIDE))
CHANGES = {each.kind: each.change for each in MASK_DAMAGES}
LEVELS = {each.kind: each.levels for each in MASK_DAMAGES}
TINTS = {each.kind: each.change for each in PICTURE_DAMAGES}


def discs(*circles: tuple[float, float, float]) -> Array:
    """A label map with a disc for each middle and radius, all of class 1."""
    labels = np.zeros((SIDE, SIDE), np.int64)
    for row, column, radius in circles:
        labels[(ROWS - row) ** 2 + (COLUMNS - column) ** 2 <= radius**2] = 1
    return labels


SEVERAL = discs((20, 20, 10), (24, 60, 12), (70, 30, 14), (66, 76, 8))
TRUTH = {"a": SEVERAL, "b": discs((30, 30, 12), (70, 66, 10), (24, 76, 7))}


def damaged(kind: str, labels: Array, level: float, classes: int = 2, **facts: Any) -> Array:
    """The labels after a damage."""
    change = CHANGES[kind]
    assert change is not None
    before = labels.copy()
    after = change(LabelMap.of(labels, range(classes), **facts), level, np.random.default_rng(3))
    assert (labels == before).all()  # a truth stays as it is
    return after


def masks(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: (each * 255).astype(np.uint8) for name, each in arrays.items()}


def stressed(arrays: Mapping[str, Array], *losses: str, **settings: Any) -> Any:
    return lossbench.stress(masks(arrays), losses, task="binary", **settings)


def response(stress: Any, loss: str, kind: str, level: float) -> float:
    (one,) = (each for each in stress.damages if (each.kind, each.level) == (kind, level))
    return float(one.responses[loss])


def distances_to(mask: Array) -> Array:
    """The distance of every pixel from the nearest one of a mask, by trying them all."""
    points = np.argwhere(mask)
    squares = (ROWS[..., None] - points[:, 0]) ** 2 + (COLUMNS[..., None] - points[:, 1]) ** 2
    return np.sqrt(squares.min(-1))


# Damages


@pytest.mark.parametrize("pixels", [1, 2, 4])
def test_a_shift_moves_columns(pixels: int) -> None:
    after = damaged("shift", SEVERAL, pixels)
    assert (after[:, pixels:] == SEVERAL[:, :-pixels]).all()
    assert (after[:, :pixels] == SEVERAL[:, :1]).all()


@pytest.mark.parametrize("pixels", [1, 2, 4])
def test_dilation_and_erosion_reach_as_far_as_they_say(pixels: int) -> None:
    grown, shrunk = damaged("dilate", SEVERAL, pixels), damaged("erode", SEVERAL, pixels)
    assert ((grown == 1) == (distances_to(SEVERAL == 1) <= pixels)).all()
    assert ((shrunk == 1) == (distances_to(SEVERAL == 0) > pixels)).all()


def test_dilation_takes_the_label_of_the_nearest_object() -> None:
    labels = np.zeros((9, 21), np.int64)
    labels[4, 3], labels[4, 17] = 1, 2
    after = damaged("dilate", labels, 2, classes=3)
    assert (after[:, :10] != 2).all()
    assert (after[:, 10:] != 1).all()
    assert (after == 1).sum() == (after == 2).sum() == 13


@pytest.mark.parametrize("share", LEVELS["holes"])
def test_holes_take_a_share_of_each_object(share: float) -> None:
    after = damaged("holes", SEVERAL, share)
    objects = LabelMap.of(SEVERAL, range(2)).numbers
    for number in range(1, objects.max() + 1):
        inside = objects == number
        assert (after[inside] == 0).sum() == round(share * inside.sum())
    assert (after[SEVERAL == 0] == 0).all()


@pytest.mark.parametrize(("share", "count"), [(0.1, 1), (0.25, 1), (0.5, 2)])
def test_lost_and_false_objects_are_whole_ones(share: float, count: int) -> None:
    areas = np.bincount(LabelMap.of(SEVERAL, range(2)).numbers.ravel())[1:]
    lost = (damaged("lost_objects", SEVERAL, share) != SEVERAL).sum()
    false = (damaged("false_objects", SEVERAL, share) != SEVERAL).sum()
    sums = {int(areas[list(some)].sum()) for some in combinations(range(len(areas)), count)}
    assert lost in sums
    assert false in sums
    assert LabelMap.of(damaged("lost_objects", SEVERAL, share), range(2)).count == 4 - count


def test_split_and_merged_objects_are_counted() -> None:
    assert LabelMap.of(damaged("split_objects", SEVERAL, 2), range(2)).count == 8
    assert LabelMap.of(damaged("merged_objects", SEVERAL, 2), range(2)).count < 4
    assert (damaged("merged_objects", SEVERAL, 2)[SEVERAL == 1] == 1).all()
    assert (damaged("split_objects", SEVERAL, 2)[SEVERAL == 0] == 0).all()


def test_instances_are_split_and_merged_by_their_numbers() -> None:
    numbers = LabelMap.of(SEVERAL, range(2)).numbers
    split = damaged("split_objects", numbers, 2, has_instances=True)
    assert len(np.unique(split)) == 1 + 8
    merged = damaged("merged_objects", numbers, 2, has_instances=True)
    assert len(np.unique(merged)) < 1 + 4
    false = damaged("false_objects", numbers, 0.25, has_instances=True)
    assert np.unique(false).tolist() == [0, 1, 2, 3, 4, 5]
    with_class = np.where(numbers, 7000 + numbers, 0)
    false = damaged("false_objects", with_class, 0.25, has_instances=True, divisor=1000)
    assert np.unique(false).tolist() == [0, 7001, 7002, 7003, 7004, 7005]


@pytest.mark.parametrize("share", LEVELS["noise"])
@pytest.mark.parametrize("classes", [2, 5])
def test_noise_changes_a_share_of_the_pixels(share: float, classes: int) -> None:
    after = damaged("noise", SEVERAL, share, classes)
    assert (after != SEVERAL).sum() == round(share * SEVERAL.size)
    assert set(np.unique(after)) == set(range(classes))


def test_objects_of_a_wrong_class_keep_their_shape() -> None:
    labels = SEVERAL.copy()
    labels[:, 48:] *= 2
    after = damaged("swapped_class", labels, 1, 3)
    assert (after == np.array([0, 2, 1])[labels]).all()
    half = damaged("swapped_class", labels, 0.5, 3)
    assert ((half == 0) == (labels == 0)).all()
    assert 0 < (half != labels).sum() < (labels > 0).sum()


def test_a_smaller_share_is_part_of_a_larger_one() -> None:
    for kind in ("lost_objects", "noise"):
        changes = [damaged(kind, SEVERAL, level) != SEVERAL for level in LEVELS[kind]]
        assert (changes[0] <= changes[1]).all()
        assert (changes[1] <= changes[2]).all()


def test_damages_of_pictures() -> None:
    rng = np.random.default_rng(5)
    stored = rng.integers(60, 190, (3, 24, 32)).astype(np.uint8)
    picture = Picture(stored, 0, 255)

    def change(kind: str, level: float) -> Array:
        after = TINTS[kind](picture, level, np.random.default_rng(1))
        assert after is not None
        assert after.dtype == stored.dtype
        return np.asarray(after.astype(float) - stored)

    tint = change("colour", 0.1)
    assert np.isin(tint[0], (25, 26)).all()  # 25.5, rounded
    assert (tint[1] == 0).all()
    assert np.isin(tint[2], (-26, -25)).all()
    assert change("noise", 0.03).std() == pytest.approx(0.03 * 255, rel=0.05)
    assert (change("shift", 2)[..., 2:] == stored[..., :-2].astype(float) - stored[..., 2:]).all()
    losses = [np.square(change("jpeg", quality)).mean() for quality in (90, 50, 10)]
    assert losses == sorted(losses)
    assert (change("blur", 2) + stored).std() < (change("blur", 0.5) + stored).std() < stored.std()


# Known facts


def test_overlap_does_not_tell_where_false_alarms_lie() -> None:
    near, far = TRUTH["b"].copy(), TRUTH["b"].copy()
    near[43:47, 28:32] = far[90:94, 2:6] = 1  # under a disc, and in a corner
    truth, scores = {"b": TRUTH["b"]}, ("dice_score", "iou", "hausdorff")
    first, second = (stressed(truth, *scores, against=masks({"b": each})) for each in (near, far))
    for name in ("dice_score", "iou"):
        assert first.predictions[name] == second.predictions[name]
    assert second.predictions["hausdorff"] > 5 * first.predictions["hausdorff"]


def test_one_pixel_rules_the_hausdorff_distance() -> None:
    stress = stressed(TRUTH, "hausdorff", "hd95", "dice_score")
    assert response(stress, "hausdorff", "noise", 0.01) > 0.5  # of its largest change
    assert abs(response(stress, "dice_score", "noise", 0.01)) < 0.1
    assert stress.sees["hausdorff"]["noise"] == "strong"


def test_dice_punishes_a_shift_of_small_objects_harder() -> None:
    small = stressed({"a": discs((48, 48, 4))}, "dice_score", "accuracy")
    large = stressed({"a": discs((48, 48, 24))}, "dice_score", "accuracy")
    for level in LEVELS["shift"]:
        assert response(small, "dice_score", "shift", level) > 4 * response(
            large, "dice_score", "shift", level
        )
    assert small.sees["dice_score"]["shift"] == "strong"
    assert large.sees["dice_score"]["shift"] == "weak"


def test_losses_of_pixels_are_blind_to_shape() -> None:
    two = {"a": discs((30, 30, 12), (56, 56, 10))}
    stress = stressed(two, "accuracy", "brier", "betti_error")
    for kind in ("split_objects", "merged_objects"):
        assert response(stress, "accuracy", kind, 2) < 0.02
        assert response(stress, "brier", kind, 2) < 0.02
        (one,) = (e for e in stress.damages if (e.kind, e.level) == (kind, 2))
        assert one.values["betti_error"] >= 1  # objects too many or too few
    assert stress.sees["betti_error"]["dilate"] == "blind"


def test_ssim_and_psnr_disagree() -> None:
    stress = lossbench.stress(SAMPLES / "image" / "gt", ["ssim", "psnr"], task="image")
    assert stress.sees["ssim"]["colour"] == "blind"
    assert stress.sees["psnr"]["colour"] == "strong"
    # Where PSNR finds a blur and a shift equally bad, structure is lost by the blur.
    blur, shift = (("blur", 2), ("shift", 1))
    assert response(stress, "psnr", *blur) == pytest.approx(response(stress, "psnr", *shift), 0.02)
    assert response(stress, "ssim", *blur) > 1.5 * response(stress, "ssim", *shift)
    assert any("psnr is infinite without damage" in note for note in stress.notes)


# The command and its results


def test_json_has_every_level_and_word(lossbench_command: Command) -> None:
    folder = str(SAMPLES / "binary" / "gt")
    runs = [
        lossbench_command(
            "stress", folder, "-l", "dice", "-l", "hd95", "--sample", "3", "-f", "json"
        )
        for _ in range(2)
    ]
    assert runs[0].returncode == 0, runs[0].stderr
    assert runs[0].stdout == runs[1].stdout
    model = json.loads(runs[0].stdout)
    assert set(model["sees"]) == {"dice", "hd95"}
    for each in model["damages"]:
        assert set(each) == {"kind", "level", "values"}
        assert set(each["values"]) == {"dice", "hd95"}
    kinds = {each["kind"] for each in model["damages"]}
    for kind in kinds:
        assert len({each["level"] for each in model["damages"] if each["kind"] == kind}) >= 3
        assert model["sees"]["dice"][kind] in ("blind", "weak", "strong")
    middle = {
        each["kind"]: each["values"]["dice"] for each in model["damages"] if each["level"] == 2
    }
    change = abs(middle["dilate"] - model["undamaged"]["dice"])  # dice ends at 1
    expected = "blind" if change < 0.02 else "weak" if change < 0.2 else "strong"
    assert model["sees"]["dice"]["dilate"] == expected


def test_tables_fit_a_terminal(lossbench_command: Command) -> None:
    done = lossbench_command("stress", SAMPLES / "multiclass" / "gt", "--sample", "2")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "is the background" in done.stderr
    done = lossbench_command("stress", SAMPLES / "image" / "gt", "--sample", "1", "-f", "markdown")
    assert done.returncode == 0, done.stderr
    assert "| jpeg |" in done.stdout


@pytest.mark.parametrize("task", ["instances", "multilabel", "medical"])
def test_every_kind_of_truth_is_damaged(lossbench_command: Command, task: str) -> None:
    done = lossbench_command("stress", SAMPLES / task / "gt", "--sample", "3", "-f", "json")
    assert done.returncode == 0, done.stderr
    model = json.loads(done.stdout)
    assert model["damages"]
    assert model["sees"]
    assert "blurred_edges" in {each["kind"] for each in model["damages"]} or task == "instances"


def test_a_file_that_cannot_be_read_ends_with_3(lossbench_command: Command, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.png").write_text("no picture")
        done = lossbench_command("stress", tmp_path, "-l", "dice")
        assert done.returncode == 3
        assert ".png is not an image of any known kind" in done.stderr


def test_a_figure_is_reproducible(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    stress = stressed({"a": SEVERAL}, "dice", "hausdorff")
    for name in ("a.svg", "b.svg", "a.png"):
        lossbench.save(stress, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert Image.open(tmp_path / "a.png").size[0] > 600


def test_damages_that_change_nothing_are_said() -> None:
    stress = stressed({"a": np.zeros((16, 16), np.int64)}, "accuracy")
    assert {each.kind for each in stress.damages} == {"noise"}
    assert any("changes nothing here: shift, dilate" in note for note in stress.notes)


def test_undefined_values_have_no_word() -> None:
    stress = stressed({"a": discs((48, 48, 9))}, "mcc", "hd95")
    assert "lost_objects" not in stress.sees["mcc"]
    assert stress.sees["hd95"]["lost_objects"] == "strong"  # infinite
    assert any("mcc is undefined on lost_objects" in note for note in stress.notes)


def test_ignored_pixels_do_not_count() -> None:
    truth = masks({"a": SEVERAL})
    valid = np.ones((SIDE, SIDE), np.uint8)
    valid[:, 60:] = 0
    stress = lossbench.stress(truth, ["accuracy"], task="binary", inputs={"valid": {"a": valid}})
    (noise,) = (e for e in stress.damages if (e.kind, e.level) == ("shift", 4))
    after = damaged("shift", SEVERAL, 4)
    kept = valid == 1
    assert noise.values["accuracy"] == pytest.approx((after == SEVERAL)[kept].mean(), abs=0.01)


def test_distances_of_volumes_are_in_millimetres() -> None:
    stress = lossbench.stress(SAMPLES / "medical" / "gt", "hausdorff", sample=1)
    shifts = {e.level: e.values["hausdorff"] for e in stress.damages if e.kind == "shift"}
    assert shifts == {1: 3.0, 2: 6.0, 4: 12.0}  # slices are 3 mm apart


def test_too_many_probabilities_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stress_module, "MOST_NUMBERS", 100)
    stress = lossbench.stress(SAMPLES / "multiclass" / "gt", "dice_score", sample=1)
    assert "blurred_edges" not in stress.sees["dice_score"]
    assert any("probabilities an image are beyond 100" in note for note in stress.notes)


def test_memory_is_bounded_by_evaluating_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = stressed(TRUTH, "dice", "hd95").as_json()
    monkeypatch.setattr(stress_module, "BATCH", 1)
    assert stressed(TRUTH, "dice", "hd95").as_json() == whole


# Predictions


def made(kind: str, level: float) -> dict[str, Array]:
    """Predictions with a known damage, by NumPy alone."""
    predictions = {}
    for seed, (name, labels) in enumerate(TRUTH.items()):
        rng = np.random.default_rng(seed)
        if kind == "erode":
            after = (distances_to(labels == 0) > level) * 1
        elif kind == "dilate":
            after = (distances_to(labels == 1) <= level) * 1
        elif kind == "shift":
            after = np.roll(labels, int(level), 1)
        else:
            after = np.where(rng.random(labels.shape) < level, 1 - labels, labels)
        predictions[name] = after
    return predictions


@pytest.mark.parametrize(
    ("kind", "level", "text", "share"),
    [
        ("erode", 2, "erosion by 2 pixels", 1),
        ("dilate", 4, "dilation by 4 pixels", 1),
        ("dilate", 1, "dilation by 1 pixel", 1),
        ("shift", 2, "a shift by 2 pixels", 1),
        ("noise", 0.03, "noise in 3% of the pixels", 0.85),  # of another seed
    ],
)
def test_predictions_look_like_the_damage_that_made_them(
    kind: str, level: float, text: str, share: float
) -> None:
    stress = stressed(TRUTH, "dice", against=masks(made(kind, level)))
    first, *others = stress.alike
    assert (first.kind, first.level) == (kind, level)
    assert 1 >= first.share >= share > max(each.share for each in others if each.kind != kind)
    assert f"look like {text} (" in stress.answer
    assert "the next is" in stress.answer


def test_perfect_predictions_look_like_no_damage() -> None:
    stress = stressed(TRUTH, "dice", against=masks(TRUTH))
    assert stress.answer == "your errors look like none of these damages"


def test_blurred_pictures_look_blurred() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)
    picture = Image.fromarray(coarse).resize((64, 64), Image.Resampling.NEAREST)
    truth = np.asarray(picture)
    padded = np.pad(truth.astype(float), ((4, 4), (4, 4), (0, 0)), "edge")
    weights = np.exp(-0.5 * np.arange(-4, 5) ** 2.0)
    weights /= weights.sum()
    rows = np.sum([w * padded[i : i + 64] for i, w in enumerate(weights)], 0)
    blurred = np.sum([w * rows[:, i : i + 64] for i, w in enumerate(weights)], 0)
    pairs = ({"a": np.rint(blurred).astype(np.uint8)}, {"a": truth})
    stress = lossbench.stress(pairs[1], "l1", against=pairs[0], task="image")
    assert stress.answer.startswith("your errors look like a blur of 1 pixel (")


def test_the_command_says_what_errors_look_like(lossbench_command: Command, tmp_path: Path) -> None:
    for name, arrays in (("gt", TRUTH), ("pred", made("erode", 2))):
        (tmp_path / name).mkdir()
        for id_, mask in masks(arrays).items():
            Image.fromarray(mask).save(tmp_path / name / f"{id_}.png")
    done = lossbench_command(
        "stress", tmp_path / "gt", "-l", "dice_score", "--against", tmp_path / "pred"
    )
    assert done.returncode == 0, done.stderr
    assert "your errors look like erosion by 2 pixels (100% alike)\nthe next is" in done.stdout
    done = lossbench_command(
        "stress", tmp_path / "gt", "-l", "iou", "--against", tmp_path / "pred", "-f", "json"
    )
    against = json.loads(done.stdout)["against"]
    assert against["alike"][0] == {"kind": "erode", "level": 2, "share": 1.0}


def test_a_label_without_a_class_is_an_error_of_its_file(tmp_path: Path) -> None:
    labels = np.zeros((16, 16), np.uint8)
    labels[4:8, 4:8], labels[9:12, 9:12], labels[0, 0] = 1, 2, 9
    Image.fromarray(labels).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png has value 9 in 1 pixels .*--ignore 9"):
        lossbench.stress(tmp_path, "dice", classes=3, gt_encoding="labels")


def test_predictions_that_can_be_read_in_several_ways_are_a_question(tmp_path: Path) -> None:
    """Floats beyond 1 against a mask."""
    mask = np.zeros((16, 16), np.uint8)
    mask[4:8, 4:8] = 255
    for side in ("gt", "pred"):
        (tmp_path / side).mkdir()
    Image.fromarray(mask).save(tmp_path / "gt" / "a.png")
    pred = np.linspace(0, 50, mask.size, dtype=np.float32).reshape(mask.shape)
    np.save(tmp_path / "pred" / "a.npy", pred)
    with pytest.raises(SettingError, match=r"how are the files to be read.*--pred-encoding logits"):
        lossbench.stress(tmp_path / "gt", "dice_score", against=tmp_path / "pred")
