"""The reading plan: what is found out, what overrides it, and that every file is held to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lossbench
from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.evidence import spread

RANDOM = np.random.default_rng(0)
SHAPE = (8, 9)
ON = RANDOM.random(SHAPE) > 0.5
M01, M255 = ON.astype(np.uint8), ON.astype(np.uint8) * 255
GREY = RANDOM.permutation(256)[:72].reshape(SHAPE).astype(np.uint8)
UNIT = RANDOM.random(SHAPE)
LOGITS = RANDOM.normal(size=SHAPE) * 3
LABELS = (np.arange(72).reshape(SHAPE) % 4).astype(np.uint8)
VOID = np.where(GREY < 60, 255, LABELS).astype(np.uint8)
RGB = RANDOM.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
STACK = RANDOM.normal(size=(4, *SHAPE))
SOFTMAX = np.exp(STACK) / np.exp(STACK).sum(0)
SEVERAL = RANDOM.random((3, *SHAPE))
ON_SEVERAL = SEVERAL > 0.5


def palette(labels: np.ndarray) -> Image.Image:
    image = Image.fromarray(labels).convert("P")
    image.putdata(labels.ravel().tolist())
    image.putpalette(list(range(256)) * 3)
    return image


def plan_of(tmp_path: Path, pred: Any, target: Any, ending: str = "", **how: Any) -> Any:
    """The plan of a folder with one pair; arrays that are no pictures become .npy."""
    for role, content in (("pred", pred), ("gt", target)):
        (tmp_path / role).mkdir()
        if isinstance(content, Image.Image):
            content.save(tmp_path / role / f"a{ending or '.png'}")
        elif content.dtype.kind == "f" or (content.ndim == 3 and content.shape[-1] != 3):
            np.save(tmp_path / role / "a.npy", content)
        else:
            Image.fromarray(content).save(tmp_path / role / f"a{ending or '.png'}")
    return lossbench.plan(tmp_path / "pred", tmp_path / "gt", **how).plan


@pytest.mark.parametrize(
    ("pred", "target", "text"),
    [
        (M01, M01, "binary · pred: mask {0,1} · gt: mask {0,1}"),
        (M255, M255, "binary · pred: mask {0,255} · gt: mask {0,255}"),
        (ON, ON, "binary · pred: mask {0,1} · gt: mask {0,1}"),
        (M01, M255, "binary · pred: mask {0,1} · gt: mask {0,255}"),
        (M255 * 0, M255, "binary · pred: mask {0,255} · gt: mask {0,255}"),
        (M01.astype(np.float32), M01, "binary · pred: mask {0,1} · gt: mask {0,1}"),
        (GREY, M255, "binary · pred: probability (uint8/255) · gt: mask {0,255}"),
        (GREY, M01, "binary · pred: probability (uint8/255) · gt: mask {0,1}"),
        (
            GREY.astype(np.uint16) * 257,
            M255,
            "binary · pred: probability (uint16/65535) · gt: mask {0,255}",
        ),
        (UNIT, M255, "binary · pred: probability (float64) · gt: mask {0,255}"),
        (
            UNIT.astype(np.float16),
            M255,
            "binary · pred: probability (float16) · gt: mask {0,255}",
        ),
        (LOGITS, M255, "binary · pred: logits (float64) · gt: mask {0,255}"),
        (LABELS, LABELS, "multiclass · pred: labels 0…3 · gt: labels 0…3 · 4 classes"),
        (
            LABELS,
            VOID,
            "multiclass · pred: labels 0…3 · gt: labels 0…3, ignore 255 · 4 classes",
        ),
        (
            palette(LABELS),
            palette(LABELS),
            "multiclass · pred: palette 0…3 · gt: palette 0…3 · 4 classes",
        ),
        (
            LABELS,
            palette(VOID),
            "multiclass · pred: labels 0…3 · gt: palette 0…3, ignore 255 · 4 classes",
        ),
        (
            LABELS.astype(np.uint16),
            LABELS.astype(np.uint16),
            "multiclass · pred: labels 0…3 · gt: labels 0…3 · 4 classes",
        ),
        (
            SOFTMAX,
            LABELS,
            "multiclass · pred: probability (float64) · gt: labels 0…3 · 4 classes",
        ),
        (
            STACK.astype(np.float32),
            VOID,
            "multiclass · pred: logits (float32) · gt: labels 0…3, ignore 255 · 4 classes",
        ),
        (RGB, RGB, "image · pred: image (uint8/255) · gt: image (uint8/255)"),
        (
            GREY.astype(np.uint16) * 257,
            GREY.astype(np.uint16) * 255,
            "image · pred: image (uint16/65535) · gt: image (uint16/65535)",
        ),
        (LOGITS, LOGITS, "image · pred: image (float64) · gt: image (float64)"),
    ],
)
def test_the_plan_is_found_out_and_said_in_one_line(tmp_path, pred, target, text):
    assert str(plan_of(tmp_path, pred, target)) == text


@pytest.mark.parametrize(
    ("pred", "target", "counted"),
    [
        (M01, M255, True),
        (GREY, M255, True),
        (LABELS, VOID, True),
        (RGB, RGB, True),
        (UNIT, M255, False),
        (LOGITS, M255, False),
        (SOFTMAX, LABELS, False),
        (GREY.astype(np.uint16) * 257, M255, True),
    ],
)
def test_integers_are_counted_and_the_rest_keeps_its_pixels(tmp_path, pred, target, counted):
    assert plan_of(tmp_path, pred, target).counted is counted


@pytest.mark.parametrize(
    ("pred", "target", "how", "text"),
    [
        (GREY, GREY, {"task": "image"}, "image · pred: image (uint8/255) · gt: image (uint8/255)"),
        (M01, M01, {"task": "multiclass"}, "multiclass · pred: labels {0,1} · gt: labels {0,1}"),
        (M255, M255, {"pred_encoding": "probability"}, "pred: probability (uint8/255) · gt: mask"),
        (M255, M255, {"gt_encoding": "probability"}, "mask {0,255} · gt: probability (uint8/255)"),
        (UNIT, M255, {"pred_encoding": "logits"}, "pred: logits (float64)"),
        (LOGITS, M255, {"pred_encoding": "probability"}, "pred: probability (float64)"),
        (GREY, GREY, {"gt_encoding": "mask"}, "gt: mask {0,255}"),
        (LABELS, GREY, {"gt_encoding": "labels", "classes": 256}, "gt: labels 0…255 · 256 classes"),
        (LABELS, VOID, {"ignore": "none"}, "gt: labels 0…255 · 256 classes"),
        (LABELS, VOID, {"ignore": "2,255"}, "gt: labels 0…3, ignore 2, 255 · 4 classes"),
        (LABELS, LABELS, {"classes": ["a", "b", "c", "d", "e"]}, "labels 0…4 · 5 classes"),
        (
            LABELS,
            LABELS * 7,
            {"classes": {0: "a", 7: "b", 14: "c", 21: "d"}},
            "pred: labels 0…3 · gt: labels {0,7,14,21}",
        ),
        (LABELS, RGB, {"classes": {"a": [0, 0, 0], "b": "#ff0000"}}, "gt: labels by 2 colours"),
        (palette(LABELS), LABELS, {"pred_encoding": "labels"}, "pred: labels 0…3"),
        (M255, M255, {"resize": "nearest"}, "resize nearest"),
        (
            SEVERAL,
            ON_SEVERAL,
            {"channels": "first"},
            "multilabel · pred: probability (float64) · gt: mask {0,1} · 3 classes",
        ),
        (
            STACK[:3],
            ON_SEVERAL.astype(np.uint8) * 255,
            {"channels": "first"},
            "multilabel · pred: logits (float64) · gt: mask {0,255} · 3 classes",
        ),
        (
            ON_SEVERAL.astype(np.uint8),
            ON_SEVERAL.astype(np.uint8),
            {"channels": "first"},
            "multilabel · pred: mask {0,1} · gt: mask {0,1} · 3 classes",
        ),
    ],
)
def test_every_guess_can_be_overridden(tmp_path, pred, target, how, text):
    assert text in str(plan_of(tmp_path, pred, target, **how))


def test_slices_of_a_volume_or_a_mask_for_each_class_is_a_question():
    with pytest.raises(lossbench.SettingError, match=r"--channels first.* --task binary"):
        lossbench.plan([ON_SEVERAL], [ON_SEVERAL])
    for how, task in (
        ({"task": "binary"}, "binary"),
        ({"task": "multilabel"}, "multilabel"),
        ({"channels": "first"}, "multilabel"),
        ({"channels": "last"}, "multilabel"),
    ):
        assert lossbench.plan([ON_SEVERAL], [ON_SEVERAL], **how).plan.task == task


def test_roles_are_part_of_the_plan(folder):
    names = ("pred", "gt", "valid", "ignore", "weight")
    made = {name: folder(name, {"a.png": M255}) for name in names}
    roles = {role: made[role] for role in names[2:]}
    text = str(lossbench.plan(made["pred"], made["gt"], inputs=roles).plan)
    assert "ignore masks" in text
    assert "valid masks" in text
    assert "weighted" in text


@pytest.mark.parametrize(
    "how",
    [
        {"task": "binary", "pred_encoding": "image"},
        {"task": "image", "gt_encoding": "labels"},
        {"gt_encoding": "logits"},
        {"task": "bynary"},
        {"pred_encoding": "prob"},
        {"resize": "cubic"},
        {"threshold": 1.5},
        {"task": "multiclass", "threshold": 0.3},
        {"task": "binary", "classes": ["a", "b", "c"]},
        {"inputs": {"wheight": "."}},
        {"workers": 0},
        {"batch_size": 0},
    ],
)
def test_settings_that_contradict_are_refused(how):
    with pytest.raises(lossbench.SettingError):
        lossbench.plan([M255], [M255], **how)


def test_colour_pictures_as_labels_ask_for_their_colours(tmp_path):
    with pytest.raises(lossbench.SettingError, match="--classes"):
        plan_of(tmp_path, LABELS, RGB, gt_encoding="labels")


@pytest.mark.parametrize("how", [{}, {"task": "binary"}])
def test_void_of_a_0_1_mask_is_never_foreground(how):
    # 0 and 1 are the mask and 255 its void: 1 may not become the grey level 1/255.
    gt = np.where(GREY < 60, 255, M01).astype(np.uint8)
    run = lossbench.plan([M01], [gt], "dice", **how)
    assert "ignore 255" in str(run.plan)
    assert any("255" in note for note in run.plan.notes)
    assert run.evaluate().values["dice"].samples == [0]


@pytest.mark.parametrize("soft", [False, True])
def test_a_jpeg_used_as_a_mask_is_warned_about(tmp_path, soft):
    # Sharp edges inside an 8×8 block come back with grey fringes; between blocks they do not.
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 13 if soft else 16 :] = 255
    image = Image.fromarray(mask)
    plan = plan_of(tmp_path, image, image, ending=".jpg")
    stored = np.asarray(Image.open(tmp_path / "gt/a.jpg"))
    assert (len(np.unique(stored)) > 2) == soft
    assert any("JPEG" in note and "a.jpg" in note for note in plan.notes)


def test_a_png_mask_is_not_warned_about(tmp_path):
    assert plan_of(tmp_path, M255, M255).notes == ()


def test_a_jpeg_as_an_image_is_not_warned_about(tmp_path):
    image = Image.fromarray(RGB)
    assert plan_of(tmp_path, image, image, ending=".jpg").notes == ()


def test_the_plan_is_in_the_result(folder):
    pred, gt = folder("pred", {"a.png": GREY}), folder("gt", {"a.png": M255})
    found = lossbench.evaluate(pred, gt).as_json()["run"]["plan"]
    assert found["text"] == "binary · pred: probability (uint8/255) · gt: mask {0,255}"
    assert (found["task"], found["counted"]) == ("binary", True)


@pytest.mark.parametrize(
    ("count", "places"),
    [
        (1, [0]),
        (2, [0, 1]),
        (16, list(range(16))),
        (31, list(range(0, 31, 2))),
        (46, list(range(0, 46, 3))),
        (1501, list(range(0, 1501, 100))),
    ],
)
def test_the_sample_is_a_fixed_even_spread(count, places):
    assert looked_at(range(count)) == places


@pytest.mark.parametrize("count", [17, 20, 40, 199, 1_000_000])
def test_a_spread_has_both_ends_and_even_gaps(count):
    places = looked_at(range(count))
    gaps = np.diff(places)
    assert len(places) == 16
    assert (places[0], places[-1]) == (0, count - 1)
    assert gaps.max() - gaps.min() <= 1


def test_a_pair_whose_files_are_not_there_gives_way_to_the_next_one(tmp_path):
    (tmp_path / "here").touch()
    names = [str(tmp_path / "lost")] * 46
    assert looked_at(names) == list(range(0, 46, 3))  # what is wrong is told when they are read
    for place in (0, 4, 5, 20, 45):
        names[place] = str(tmp_path / "here")
    assert looked_at(names) == [0, 4, 20, 45]


def looked_at(sources: Sequence[Any]) -> list[int]:
    """Which of some pairs are looked at, by their numbers."""
    pairs = [Pair(str(number), {"pred": (source,)}) for number, source in enumerate(sources)]
    return [int(pair.id) for pair in spread(pairs)]


# 46 pairs, of which every third is looked at: number 4 is not.
COUNT, OUTSIDE = 46, 4


@pytest.mark.parametrize(
    ("usual", "strange", "role", "word"),
    [
        ((M255, M255), (M255, GREY), "target", "value"),
        ((M255, M255), (GREY, M255), "pred", "value"),
        ((M255, M255), (M255, M01), "target", "value 1 "),
        ((GREY, M255), (RGB, M255), "pred", "colour"),
        ((GREY, M255), (GREY, RGB), "target", "colour"),
        ((GREY, M255), (GREY.astype(np.uint16) * 257, M255), "pred", "uint16"),
        ((GREY, M255), (UNIT, M255), "pred", "float64"),
        ((GREY, M255), (GREY[:, :4], M255), "pred", "4×8"),
        ((GREY, M255), (palette(LABELS), M255), "pred", "palette"),
        ((UNIT, M255), (UNIT * 1.5, M255), "pred", "outside"),
        ((UNIT, M255), (UNIT - 0.5, M255), "pred", "outside"),
        ((UNIT, M255), (np.where(ON, np.nan, UNIT), M255), "pred", "finite"),
        ((UNIT, M255), (GREY, M255), "pred", "uint8"),
        ((LOGITS, M255), (np.where(ON, np.inf, LOGITS), M255), "pred", "finite"),
        ((LABELS, LABELS), (LABELS, RGB), "target", "colour"),
        ((LABELS, VOID), (VOID, LABELS), "pred", "255"),
        ((SOFTMAX, LABELS), (SOFTMAX[:3], LABELS), "pred", "3"),
        ((SOFTMAX, LABELS), (SOFTMAX[0], LABELS), "pred", ""),
        ((SOFTMAX, LABELS), (STACK, LABELS), "pred", "outside"),
        ((SEVERAL, ON_SEVERAL), (SEVERAL[:2], ON_SEVERAL[:2]), "pred", "2"),
        ((RGB, RGB), (RGB[..., 0], RGB), "pred", ""),
        ((RGB, RGB), (RGB, RGB[:4]), "pred", "9×4"),
        ((UNIT, M255), (UNIT[:0], M255[:0]), "pred", "pixel"),
    ],
)
def test_a_file_outside_the_plan_is_one_error_and_the_rest_is_evaluated(
    tmp_path, usual, strange, role, word
):
    for name, good, bad in zip(("pred", "target"), usual, strange, strict=True):
        (tmp_path / name).mkdir()
        for number in range(COUNT):
            content = bad if number == OUTSIDE else good
            path = tmp_path / name / f"{number:02d}"
            if isinstance(content, np.ndarray) and (
                content.dtype.kind == "f"
                or content.size == 0
                or (content.ndim == 3 and content.shape[-1] != 3)
            ):
                np.save(f"{path}.npy", content)
            else:
                image = content if isinstance(content, Image.Image) else Image.fromarray(content)
                image.save(f"{path}.png")
    how = {"channels": "first"} if usual[0] is SEVERAL else {}
    result = lossbench.evaluate(tmp_path / "pred", tmp_path / "target", **how)
    assert [each.id for each in result.failed] == ["04"]
    [failed] = result.failed
    assert (failed.role, Path(failed.file).parent.name) == (role, role)
    assert failed.file in failed.message
    assert word in failed.message
    assert len(result.ids) == COUNT - 1
    assert result.exit_status == 3
    without = {name: table["mean"] for name, table in result.aggregates.items()}
    for name in ("pred", "target"):
        next((tmp_path / name).glob("04.*")).unlink()
    clean = lossbench.evaluate(tmp_path / "pred", tmp_path / "target", **how)
    assert not clean.failed
    assert {name: table["mean"] for name, table in clean.aggregates.items()} == without


@pytest.mark.parametrize("side", ["pred", "gt", "both"])
def test_classes_go_up_to_the_largest_label_of_any_file(side: str) -> None:
    usual = {f"{number:02d}": LABELS for number in range(COUNT)}
    more = usual | {f"{OUTSIDE:02d}": LABELS + 3}
    pred, target = (more if side in (name, "both") else usual for name in ("pred", "gt"))
    result = lossbench.evaluate(pred, target, "iou")
    assert not result.failed
    assert result.class_names == tuple("0123456")
    known = lossbench.evaluate(pred, target, "iou", classes=7)
    assert result.values["iou"].samples == known.values["iou"].samples


@pytest.mark.parametrize(
    ("usual", "strange"),
    [
        ((M255, M255), (M255 * 0, M255)),
        ((UNIT, M255), (UNIT.astype(np.float32), M255)),
        ((LABELS, VOID), (LABELS, LABELS * 0 + 255)),
    ],
)
def test_what_fits_the_plan_in_another_guise_is_evaluated(usual, strange):
    arrays = [
        {f"{number:02d}": bad if number == OUTSIDE else good for number in range(COUNT)}
        for good, bad in zip(usual, strange, strict=True)
    ]
    result = lossbench.evaluate(*arrays)
    assert not result.failed
    assert len(result.ids) == COUNT


def test_a_grey_picture_stored_as_colour_is_evaluated(folder):
    pred = folder("pred", {f"{number:02d}.png": GREY for number in range(COUNT)})
    gt = folder("gt", {f"{number:02d}.png": M255 for number in range(COUNT)})
    folder("pred", {f"{OUTSIDE:02d}.png": np.dstack([GREY] * 3)})
    result = lossbench.evaluate(pred, gt, "dice")
    assert not result.failed
    assert len(set(result.values["dice"].samples)) == 1


def test_a_file_in_the_sample_that_cannot_be_read_does_not_decide():
    masks = {f"{number:02d}": M255 for number in range(COUNT)}
    result = lossbench.evaluate({**masks, "00": np.array("text")}, masks, "dice")
    assert "mask {0,255}" in result.run["plan"]["text"]
    assert [failed.id for failed in result.failed] == ["00"]
    assert result.ids == sorted(masks)[1:]


def test_finding_the_plan_survives_infinite_numbers():
    logits = np.where(ON, np.inf, -1.0)
    result = lossbench.evaluate([logits, LOGITS], [M01, M01], "bce")
    assert "logits" in result.run["plan"]["text"]
    assert [failed.id for failed in result.failed] == ["000000"]


def test_numbers_that_are_missing_do_not_turn_logits_into_probabilities():
    broken = np.where(ON, np.nan, LOGITS)
    result = lossbench.evaluate([broken, broken, LOGITS * 0.2], [M01] * 3, "bce")
    assert "logits" in result.run["plan"]["text"]


def test_two_foreground_values_in_one_folder_are_no_void() -> None:
    white, one = np.array([[0, 255]], np.uint8), np.array([[0, 1]], np.uint8)
    masks = {"a": white, "b": white, "c": white, "d": np.array([[1, 255]], np.uint8)}
    result = lossbench.evaluate(dict.fromkeys(masks, white), masks, "dice")
    assert [failed.id for failed in result.failed] == ["d"]
    assert result.values["dice"].samples == [0, 0, 0]
    with pytest.raises(lossbench.SettingError, match="how are the files"):
        lossbench.evaluate([white] * 4, [white, white, one, one], "dice")


def test_labels_are_never_interpolated() -> None:
    with pytest.raises(lossbench.SettingError, match="bilinear"):
        lossbench.plan([np.eye(4, dtype=np.uint8)], [np.eye(8)], task="multiclass",
                       resize="bilinear")  # fmt: skip


def test_of_a_table_larger_than_a_picture_the_cells_are_kept_that_occur() -> None:
    labels = [np.arange(6).reshape(2, 3)]
    whole, cells = (lossbench.plan(labels, labels, classes=n).plan for n in (256, 257))
    assert (whole.counted, whole.sparse) == (True, False)
    assert (cells.counted, cells.sparse) == (True, True)
    few, many = (
        lossbench.evaluate(labels, [1 - labels[0] % 2], "accuracy", task="multiclass", classes=n)
        for n in (256, 257)
    )
    assert few.values["accuracy"].samples == many.values["accuracy"].samples


@pytest.mark.parametrize("inputs", [{}, {"weight": [np.ones((1, 3))]}])
def test_a_strange_value_where_nothing_counts_is_no_error(inputs: dict[str, Any]) -> None:
    inputs = inputs | {"valid": [np.array([[1, 1, 0]])]}
    target = [np.array([[0, 255, 7]], np.uint8)]
    result = lossbench.evaluate(
        [np.array([[0, 255, 255]], np.uint8)], target, "dice", inputs=inputs, gt_encoding="mask"
    )
    assert not result.failed
    assert result.values["dice"].samples == [0]


@pytest.mark.parametrize(
    ("losses", "wanted"), [(["dice", "bce"], "cpu"), (["dice", "hd95"], "auto")]
)
def test_a_gpu_is_for_pixels_alone(losses: list[str], wanted: str) -> None:
    """Tables of counts are done on a CPU before a GPU has started."""
    pair = {"a": GREY}, {"a": M255}
    assert lossbench.plan(*pair, losses).settings.device == wanted
    named = lossbench.plan(*pair, losses, device="cuda:1").settings.device
    assert named == ("cpu" if wanted == "cpu" else "cuda:1")


# What integers and axes of one mean, where no file is as usual


def test_whole_numbers_outside_of_the_probabilities_are_refused() -> None:
    """−30000 of 32767."""
    target = [np.array([[-30000, 30000]], np.int16)]
    with pytest.raises(lossbench.SettingError, match=r"-0\.9156, outside the probabilities"):
        alone(
            lossbench.evaluate([np.array([[0.5, 0.5]])], target, "bce", gt_encoding="probability")
        )


def alone(result: lossbench.results.result.Result) -> float:
    """The value of the only sample, whose error is raised."""
    if result.failed:
        raise lossbench.SettingError(result.failed[0].message)
    (values,) = result.values.values()
    return values.samples[0]


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint32, np.int64])
def test_small_numbers_in_a_large_type_have_no_meaning_as_grey(kind: Any) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 9, 9))
    pred, target = images.astype(kind)
    with pytest.raises(lossbench.SettingError, match=r"what is 1\?.* reach 25\d at most"):
        lossbench.evaluate(list(pred), list(target), "l1", task="image")
    wanted = np.abs(images[0] - images[1]).mean() / 255
    pred, target = images.astype(np.uint8)
    assert alone(lossbench.evaluate(list(pred), list(target), "l1")) == pytest.approx(wanted)


@pytest.mark.parametrize("size", [64, 256])
def test_negative_labels_of_a_byte_are_those_of_two(size: int) -> None:
    """In pictures of any size: large ones are counted by runs."""
    rng = np.random.default_rng(0)
    pred = [rng.integers(0, 4, (size, size)).astype(np.int8)]
    target = [np.where(rng.random((size, size)) < 0.1, -1, pred[0]).astype(np.int8)]

    def run(kind: Any, ignore: str) -> lossbench.results.result.Result:
        sides = ([each.astype(kind) for each in side] for side in (pred, target))
        return lossbench.evaluate(*sides, "dice", task="multiclass", classes=4, ignore=ignore)

    assert alone(run(np.int8, "-1")) == alone(run(np.int16, "-1")) == 0
    with pytest.raises(lossbench.SettingError, match="has value -1 in"):
        alone(run(np.int8, "255"))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("loss", ["dice", "hausdorff"])
def test_a_mask_may_be_the_truth_of_several_classes(classes: int, loss: str) -> None:
    """0 and 255 are then the first two of them."""
    rng = np.random.default_rng(1)
    pred = [rng.integers(0, 2, (9, 9)).astype(np.uint8) for _ in range(3)]
    mask = [rng.integers(0, 2, (9, 9)).astype(np.uint8) for _ in range(3)]
    white = [each * 255 for each in mask]
    found, wanted = (
        lossbench.evaluate(pred, target, loss, task="multiclass", classes=classes, gt_encoding=kind)
        for target, kind in ((white, "mask"), (mask, "labels"))
    )
    assert not found.failed
    assert found.values[loss].samples == wanted.values[loss].samples
    guessed = lossbench.plan(pred, white, loss, task="multiclass").plan
    assert guessed.names == ("0", "1")


def test_masks_of_several_shapes_take_pixels_out_together() -> None:
    target = [np.ones((2, 1, 4), np.uint8)]
    pred = [np.array([[[1, 0, 1, 0]], [[1, 1, 0, 0]]], np.uint8)]
    ignore = [np.array([[[0, 1, 0, 0]], [[0, 0, 0, 0]]], np.uint8)]
    inputs = {"ignore": ignore, "valid": [np.array([[1, 1, 1, 0]], np.uint8)]}
    result = lossbench.evaluate(pred, target, "iou", task="multilabel", inputs=inputs)
    assert alone(result) == pytest.approx((1 + 2 / 3) / 2)  # by hand


@pytest.mark.parametrize("role", ["ignore", "valid", "weight", "pred"])
def test_an_axis_of_one_is_none(role: str) -> None:
    rng = np.random.default_rng(2)
    mask = rng.integers(0, 2, (8, 8)).astype(np.uint8)
    given: dict[str, Any] = {"pred": mask ^ (rng.random((8, 8)) < 0.2), "target": mask}
    given |= {} if role == "pred" else {role: rng.integers(0, 2, (8, 8)).astype(np.uint8)}

    def run(axis: bool) -> float:
        each = {name: [x[None] if axis and name == role else x] for name, x in given.items()}
        sides = each.pop("pred"), each.pop("target")
        return alone(lossbench.evaluate(*sides, "dice", task="binary", inputs=each))

    assert run(True) == run(False)


def test_an_axis_of_one_is_none_where_a_prediction_is_resized() -> None:
    pred, target = np.eye(4, dtype=np.uint8), np.eye(8, dtype=np.uint8)
    found, wanted = (
        alone(lossbench.evaluate([each], [target], "dice", task="binary", resize="nearest"))
        for each in (pred[None], pred)
    )
    assert found == wanted


def test_classes_are_not_weighed_by_samples_where_all_are_one() -> None:
    labels = [np.arange(9, dtype=np.uint8).reshape(3, 3) % 3]
    odds = [np.eye(3)[labels[0]].transpose(2, 0, 1)]
    with pytest.raises(lossbench.SettingError, match="class_weights=auto weights the classes of"):
        lossbench.evaluate(
            odds, labels, "lovasz(per_image=false, class_weights=auto)", channels="first"
        )


def test_a_mask_is_judged_against_a_soft_ground_truth_of_8_bits() -> None:
    """512 cells, as many as a whole table has, but with a row for each grey level."""
    result = lossbench.evaluate([M255], [GREY], "mse", gt_encoding="probability")
    assert alone(result) == pytest.approx(np.square(ON - GREY / 255).mean())
