"""Files as people have them, read through the command: the number, a question, or a refusal.

Expected numbers are computed from two disks by numpy alone. Each case is a kind with its relatives.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Y, X = np.mgrid[:48, :56]
G = (Y - 24) ** 2 + (X - 26) ** 2 < 15**2  # the ground truth
P = (Y - 25) ** 2 + (X - 30) ** 2 < 14**2  # the prediction
G2 = (Y - 20) ** 2 + (X - 30) ** 2 < 11**2
P2 = (Y - 22) ** 2 + (X - 28) ** 2 < 12**2
IOU = float((G & P).sum() / (G | P).sum())
IOU2 = float((G2 & P2).sum() / (G2 | P2).sum())
LABELS = np.where(G & (X < 26), 1, np.where(G, 2, 0)).astype(np.uint8)
FOUND = np.where(P & (X < 27), 1, np.where(P, 2, 0)).astype(np.uint8)
SOFT = np.clip(0.5 + (15 - np.hypot(Y - 24, X - 26)) / 4, 0, 1)  # G with soft edges
MAP = np.clip(0.5 + (13.98 - np.hypot(Y - 25, X - 30)) / 20, 0, 1)  # P at one half
ROOM = np.random.default_rng(5)
BLACK_WHITE = [0, 0, 0, 255, 255, 255]


def mean_iou(pred: np.ndarray, target: np.ndarray, classes: int) -> float:
    """The mean over the classes of both."""
    pairs = [(pred == c, target == c) for c in range(classes)]
    return float(np.mean([(p & t).sum() / (p | t).sum() for p, t in pairs]))


def paletted(indices: np.ndarray, colours: list[int]) -> Image.Image:
    picture = Image.fromarray(indices.astype(np.uint8), "P")
    picture.putpalette(colours)
    return picture


def jpeg(mask: np.ndarray, tmp_path: Path) -> np.ndarray:
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "x.jpg", quality=90)
    return np.asarray(Image.open(tmp_path / "x.jpg"))


def soft_iou(pred: np.ndarray, target: np.ndarray) -> float:
    """IoU as this project defines it for a graded truth: both are foreground from one half."""
    return float(((pred >= 0.5) & (target >= 0.5)).sum() / ((pred >= 0.5) | (target >= 0.5)).sum())


Evaluate = Callable[..., Any]


@pytest.fixture
def evaluate(folder: Any, lossbench_command: Any) -> Evaluate:
    """Write both folders and run the command; `wanted` is its status."""

    def run(pred: Any, gt: Any, *options: str, wanted: int = 0) -> Any:
        sides = []
        for name, content in (("pred", pred), ("gt", gt)):
            files = content if isinstance(content, dict) else {"a": content}
            sides.append(
                folder(name, {
                    file if "." in file else f"{file}.{ending(each)}": each
                    for file, each in files.items()
                })
            )  # fmt: skip
        done = lossbench_command("eval", *sides, *options, "-f", "json")
        assert done.returncode == wanted, done.stderr
        return json.loads(done.stdout) if wanted in (0, 3) else done.stderr

    return run


def ending(content: Any) -> str:
    if isinstance(content, Image.Image):
        return "png"
    has_picture = content.dtype in (np.uint8, np.uint16) and content.ndim == 2
    return "png" if has_picture or (content.dtype == np.uint8 and content.shape[-1] == 3) else "npy"


def value(result: Any, loss: str = "iou") -> float:
    """The mean of one loss."""
    number: float = result["aggregate"][loss]["mean"]
    return number


MASKS = [
    G.astype(np.uint8) * 255,
    G.astype(np.uint8),
    paletted(G, BLACK_WHITE),
    paletted(G, [255, 255, 255, 0, 0, 0]),
    np.dstack([G.astype(np.uint8) * 255] * 3),
    Image.fromarray(np.dstack([G.astype(np.uint8) * 255] * 3 + [np.full(G.shape, 255, np.uint8)])),
    G.astype(np.float32),
    G.astype(np.float64) * 255,
    G.astype(np.int64) * 7,
    G,
    G[None].astype(np.uint8),
    G[..., None].astype(np.float32),
]
PREDICTIONS = [
    P.astype(np.uint8) * 255,
    P.astype(np.uint8),
    P.astype(np.uint8) * 38,
    P.astype(np.uint8) * 127,
    P.astype(np.uint16) * 255,
    P.astype(np.float32) * 255,
    P.astype(np.float64),
    paletted(P, BLACK_WHITE),
    np.dstack([P.astype(np.uint8) * 255] * 3),
    P[None],
    P[..., None].astype(np.uint8),
    np.round(MAP * 255).astype(np.uint8),
    np.round(MAP * 65535).astype(np.uint16),
    MAP.astype(np.float32),
    MAP.astype(np.float16),
    (MAP - 0.5) * 12,
    MAP[None],
    MAP[..., None],
]


@pytest.mark.parametrize("gt", range(len(MASKS)))
@pytest.mark.parametrize("pred", [0, 2, 5, 7, 11])
def test_a_mask_is_a_mask_however_it_is_stored(evaluate: Evaluate, pred: int, gt: int) -> None:
    """Rows 5, 9, 10 and the RGB masks of the paragraph on messages."""
    assert value(evaluate(PREDICTIONS[pred], MASKS[gt])) == pytest.approx(IOU, abs=1e-12)


@pytest.mark.parametrize("pred", range(len(PREDICTIONS)))
@pytest.mark.parametrize("gt", [0, 2])
def test_a_prediction_of_a_mask_is_read(evaluate: Evaluate, pred: int, gt: int) -> None:
    """Rows 3, 9, 10, 11."""
    assert value(evaluate(PREDICTIONS[pred], MASKS[gt])) == pytest.approx(IOU, abs=2e-3)


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("truth", ["soft", "jpeg", "trimap", "among hard ones"])
def test_a_hard_prediction_of_a_graded_truth(
    evaluate: Evaluate, tmp_path: Path, truth: str, scale: int
) -> None:
    """Row 1: counts of hard predictions against grey levels."""
    pred = P.astype(np.uint8) * scale
    soft = np.round(SOFT * 255).astype(np.uint8)
    trimap = np.where(np.abs(SOFT - 0.5) < 0.5, 128, G * 255).astype(np.uint8)
    graded = {"soft": soft, "jpeg": jpeg(G, tmp_path), "trimap": trimap}.get(truth, soft)
    files = {"a": graded}
    if truth == "among hard ones":
        files |= {"b": G2.astype(np.uint8) * 255, "c": G2.astype(np.uint8) * 255}
    result = evaluate(dict.fromkeys(files, pred), files, "-l", "mse", "-l", "iou")
    expected = [np.mean((P - np.float64(each) / 255) ** 2) for each in files.values()]
    assert value(result, "mse") == pytest.approx(np.mean(expected), abs=1e-12)


SOFTMAX = np.stack([np.where(c == FOUND, 0.8, 0.1) for c in range(3)])
ONE_HOT = np.stack([c == FOUND for c in range(3)]).astype(np.uint8)


@pytest.mark.parametrize(
    "pred",
    [
        SOFTMAX,
        SOFTMAX[None],
        np.moveaxis(SOFTMAX, 0, -1),
        np.moveaxis(SOFTMAX, 0, -1)[None].astype(np.float32),
        np.log(SOFTMAX),
        np.log(np.moveaxis(SOFTMAX, 0, -1)),
        ONE_HOT,
        np.moveaxis(ONE_HOT, 0, -1),
        ONE_HOT[None],
        ONE_HOT.astype(bool),
        np.moveaxis(ONE_HOT, 0, -1).astype(np.float32),
        FOUND[None],
        FOUND[..., None],
        FOUND.astype(np.float32),
    ],
)
def test_classes_lie_along_the_axis_that_fits(evaluate: Evaluate, pred: np.ndarray) -> None:
    """Row 3."""
    folder = {"a.npy": pred}
    assert value(evaluate(folder, LABELS)) == pytest.approx(mean_iou(FOUND, LABELS, 3), abs=1e-12)


def test_two_axes_that_fit_are_a_question(evaluate: Evaluate) -> None:
    """Row 3: 6 classes of 6×6 pixels, each pixel with other sums."""
    logits, labels = ROOM.normal(size=(6, 6, 6)), np.arange(36, dtype=np.uint8).reshape(6, 6) % 6
    message = evaluate({"a.npy": logits}, labels, wanted=2)
    assert "--channels first" in message
    for axis, size in (("first", 0), ("last", -1)):
        result = evaluate({"a.npy": logits}, labels, "--channels", axis)
        expected = mean_iou(logits.argmax(size), labels, 6)
        assert value(result) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("resize", [[], ["--resize", "nearest"]])
@pytest.mark.parametrize("turned", [P.T, SOFTMAX.transpose(0, 2, 1)])
def test_a_transposed_prediction_is_said_to_be(
    evaluate: Evaluate, turned: np.ndarray, resize: list[str]
) -> None:
    """Row 4."""
    gt = G.astype(np.uint8) * 255 if turned.ndim == 2 else LABELS
    result = evaluate({"a.npy": turned}, gt, *resize, wanted=3)
    [failed] = result["errors"]
    assert "transposed" in failed["error"]
    assert "--resize" not in failed["error"]


STRETCHED = [
    (np.array([0, 127, 254]), 127),
    (np.array([0, 127, 255]), 127.5),
    (np.array([0, 85, 170]), 85),
]


@pytest.mark.parametrize(("stored", "scale"), STRETCHED)
def test_labels_stretched_for_viewing_are_a_question(
    evaluate: Evaluate, stored: np.ndarray, scale: float
) -> None:
    """Row 6, on either side."""
    shown_pred, shown_gt = stored[FOUND].astype(np.uint8), stored[LABELS].astype(np.uint8)
    expected = pytest.approx(mean_iou(FOUND, LABELS, 3), abs=1e-12)
    message = evaluate(shown_pred, LABELS, wanted=2)
    assert f"--pred-scale {scale:g}" in message
    settings = ["--pred-scale", f"{scale:g}", "--pred-encoding", "labels"]
    assert value(evaluate(shown_pred, LABELS, *settings)) == expected
    message = evaluate(shown_pred, shown_gt, wanted=2)
    assert f"--gt-scale {scale:g}" in message
    settings += ["--gt-scale", f"{scale:g}", "--gt-encoding", "labels"]
    assert value(evaluate(shown_pred, shown_gt, *settings)) == expected


def instances(count: int) -> np.ndarray:
    """Disks with numbers."""
    numbers = np.zeros((48, 56), np.uint8)
    for number in range(count):
        y, x = 8 + 16 * (number // 4), 7 + 14 * (number % 4)
        numbers[(Y - y) ** 2 + (X - x) ** 2 < 25] = number + 1
    return numbers


@pytest.mark.parametrize("loss", [[], ["-l", "iou"]])
def test_numbered_instances_are_a_question(evaluate: Evaluate, loss: list[str]) -> None:
    """Rows 7 and 26."""
    gt = {"a": instances(7), "b": instances(10), "c": instances(4)}
    binary = {name: (each > 0).astype(np.uint8) * 255 for name, each in gt.items()}
    message = evaluate(binary, gt, *loss, wanted=2)
    assert "--gt-encoding nonzero" in message
    result = evaluate(binary, gt, "--gt-encoding", "nonzero", "-l", "iou")
    assert value(result) == 1
    message = evaluate(gt, gt, *loss, wanted=2)
    assert "--gt-encoding labels" in message
    if not loss:
        assert "instances" in message
        assert evaluate(gt, gt, "--task", "instances")["run"]["plan"]["task"] == "instances"


@pytest.mark.parametrize("options", [[], ["--ignore", "255"]])
@pytest.mark.parametrize("pred", [0, 1, 11, 13])
def test_binary_with_void(evaluate: Evaluate, pred: int, options: list[str]) -> None:
    """Row 8: {0, 1, 255}."""
    void = np.abs(SOFT - 0.5) < 0.4
    gt = np.where(void, 255, G).astype(np.uint8)
    result = evaluate(PREDICTIONS[pred], gt, *options)
    expected = (G & P)[~void].sum() / (G | P)[~void].sum()
    assert value(result) == pytest.approx(expected, abs=3e-3)
    assert result["run"]["plan"]["task"] == "binary"


@pytest.mark.parametrize("top", [255, 1023, 4095])
def test_levels_of_a_larger_type_ask_what_1_is(evaluate: Evaluate, top: int) -> None:
    """Row 11."""
    levels = {"a": np.round(MAP * top).astype(np.uint16)}
    message = evaluate(levels, MASKS[0], wanted=2)
    assert "what is 1?" in message
    assert f"--pred-scale {top}" in message
    result = evaluate(levels, MASKS[0], "--pred-scale", str(top), "-l", "l1")
    expected = np.abs(levels["a"] / top - G).mean()
    assert value(result, "l1") == pytest.approx(expected, abs=1e-9)


def test_floats_of_a_byte_are_a_question(evaluate: Evaluate) -> None:
    """Row 10."""
    levels = np.round(MAP * 255).astype(np.float32)
    message = evaluate({"a.npy": levels}, MASKS[0], wanted=2)
    assert "--pred-encoding probability" in message
    settings = ["--pred-encoding", "probability", "--pred-scale", "255", "-l", "l1"]
    result = evaluate({"a.npy": levels}, MASKS[0], *settings)
    assert value(result, "l1") == pytest.approx(np.abs(levels / 255.0 - G).mean(), abs=1e-6)


def test_stored_values_or_indices_is_asked(evaluate: Evaluate) -> None:
    """Row 12: no value tells which."""
    gt = {"a": np.where(LABELS == 0, 3, LABELS).astype(np.uint8)}  # 1, 2, 3
    pred = {"a": np.where(FOUND == 0, 1, 2).astype(np.uint8)}
    how = ["--classes", "{1: a, 2: b, 3: c}", "--ignore", "0", "-l", "accuracy"]
    message = evaluate(pred, gt, *how, wanted=2)
    assert "--pred-values stored" in message
    for meaning, shift in (("stored", 0), ("indices", 1)):
        result = evaluate(pred, gt, *how, "--pred-values", meaning)
        expected = (pred["a"] + shift == gt["a"]).mean()
        assert value(result, "accuracy") == pytest.approx(expected, abs=1e-12)
    plain = {"a": np.where(FOUND == 0, 3, FOUND).astype(np.uint8)}  # 3 is no index
    assert value(evaluate(plain, gt, *how), "accuracy") == pytest.approx(
        (plain["a"] == gt["a"]).mean(), abs=1e-12
    )


def test_losses_decide_what_dark_pictures_are(evaluate: Evaluate) -> None:
    """Row 19: nothing above 31."""
    gt = ROOM.integers(0, 32, (48, 56)).astype(np.uint8)
    pred = (gt // 2).astype(np.uint8)
    result = evaluate(pred, gt, "-l", "psnr")
    expected = 10 * np.log10(255**2 / np.mean((np.float64(pred) - gt) ** 2))
    assert value(result, "psnr") == pytest.approx(expected, abs=1e-9)
    assert result["run"]["plan"]["task"] == "image"


PHOTO = ROOM.integers(0, 256, (48, 56, 3)).astype(np.uint8)


def test_grey_and_colour_pictures_in_one_folder(evaluate: Evaluate) -> None:
    """Row 20."""
    grey = PHOTO[..., 0]
    gt = {"a": PHOTO, "b": grey}
    pred = {"a": 255 - PHOTO, "b": 255 - grey}
    result = evaluate(pred, gt, "-l", "l1")
    samples = {each["id"]: each["l1"] for each in result["samples"]}
    for name in gt:
        expected = np.abs(np.float64(pred[name]) - gt[name]).mean() / 255
        assert samples[name] == pytest.approx(expected, abs=1e-9)
    result = evaluate({"a": PHOTO, "b": PHOTO}, gt, "-l", "l1", wanted=3)
    assert [each["id"] for each in result["errors"]] == ["b"]


def test_palette_pictures_are_their_colours(evaluate: Evaluate) -> None:
    """Row 20."""
    indices = ROOM.integers(0, 200, (2, 48, 56)).astype(np.uint8)
    colours = ROOM.integers(0, 256, (256, 3)).astype(np.uint8)
    pred, gt = (paletted(each, colours.ravel().tolist()) for each in indices)
    result = evaluate(pred, gt, "-l", "l1", "--task", "image")
    shown = colours[indices].astype(float)
    assert value(result, "l1") == pytest.approx(np.abs(shown[0] - shown[1]).mean() / 255, abs=1e-9)


def test_flat_colours_are_a_question_that_names_classes(evaluate: Evaluate) -> None:
    colours = np.array([[0, 0, 0], [128, 64, 128], [70, 70, 70]], np.uint8)
    message = evaluate(colours[FOUND], colours[LABELS], wanted=2)
    assert "--classes" in message
    names = '{sky: "#000000", road: "#804080", car: "#464646"}'
    result = evaluate(colours[FOUND], colours[LABELS], "--classes", names)
    assert value(result) == pytest.approx(mean_iou(FOUND, LABELS, 3), abs=1e-12)
    pictures = evaluate(colours[FOUND], colours[LABELS], "-l", "ssim")
    assert pictures["run"]["plan"]["task"] == "image"


@pytest.mark.parametrize("cut", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("stored", [np.uint8, np.uint16, np.float32])
def test_a_cut_makes_a_graded_truth_hard(evaluate: Evaluate, cut: float, stored: Any) -> None:
    top = 1 if stored is np.float32 else np.iinfo(stored).max
    graded = (SOFT if top == 1 else np.round(SOFT * top)).astype(stored)
    result = evaluate(PREDICTIONS[0], graded, "--gt-threshold", str(cut), "-l", "dice")
    hard = graded >= cut * top
    expected = 1 - 2 * (hard & P).sum() / (hard.sum() + P.sum())
    assert value(result, "dice") == pytest.approx(expected, abs=1e-9)


def test_the_plan_line_shows_channels_sizes_and_ranges(folder: Any, lossbench_command: Any) -> None:
    """Row 32."""
    both = ROOM.random((3, 20, 4)).astype(np.float32)
    sides = [folder(name, {"a.npy": both}) for name in ("pred", "gt")]
    done = lossbench_command("eval", *sides, "-l", "l1")
    assert "4 × 20×3" in done.stderr
    done = lossbench_command("eval", *sides, "-l", "l1", "--channels", "first")
    assert "3 × 4×20" in done.stderr


NODATA = {
    "-3.4028235e38": float(np.finfo(np.float32).min), "-9999": -9999.0, "1e20": 1e20,
    "-32768": -32768.0,
}  # fmt: skip
UNDEFINED = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}
HEIGHTS = 20 * SOFT + ROOM.normal(size=G.shape)


@pytest.mark.parametrize("written", [*NODATA, *UNDEFINED])
@pytest.mark.parametrize("kind", ["mask", "heights"])
def test_nodata_is_asked_for_and_ignored(kind, written, evaluate):
    truth = (G if kind == "mask" else HEIGHTS).astype(np.float32)
    pred = (P if kind == "mask" else HEIGHTS + 0.5).astype(np.float32)
    truth[:20] = (NODATA | UNDEFINED)[written]
    loss = "iou" if kind == "mask" else "l1"
    result = evaluate(pred, truth, "-l", loss, "--ignore", written)
    expected = 0.5 if kind == "heights" else (G & P)[20:].sum() / (G | P)[20:].sum()
    assert value(result, loss) == pytest.approx(expected, rel=1e-5)
    if written in UNDEFINED:
        (error,) = evaluate(pred, truth, "-l", loss, wanted=3)["errors"]
        assert f"--ignore {written} leaves these pixels out" in str(error)
        return
    stderr = evaluate(pred, truth, "-l", loss, wanted=2)
    assert "is this nodata?" in stderr
    assert "a.npy holds" in stderr
    advice = stderr.split("far from its other values; ")[1].split()[1]
    assert value(evaluate(pred, truth, "-l", loss, "--ignore", advice), loss) == value(result, loss)


def test_nodata_of_both_sides_is_ignored_where_the_truth_has_it(evaluate):
    truth, pred = HEIGHTS.astype(np.float32), (HEIGHTS + 0.5).astype(np.float32)
    truth[:9] = pred[:9] = -9999
    result = evaluate(pred, truth, "-l", "l1", "--ignore", "-9999")
    assert value(result, "l1") == pytest.approx(0.5, rel=1e-5)
    pred[9] = -9999
    (error,) = evaluate(pred, truth, "-l", "l1", "--ignore", "-9999", wanted=3)["errors"]
    assert "holds -9999 in 56 pixels that count" in str(error)
    kept = evaluate(pred, truth, "-l", "l1", "--ignore", "none")
    assert value(kept, "l1") == pytest.approx(np.abs(pred - truth).mean(), rel=1e-5)


def test_numbers_that_are_no_nodata_ask_nothing(evaluate):
    """A usual number of nodata among others of its size, and logits of a class that is left out."""
    wide = np.linspace(-9999, 9999, G.size).reshape(G.shape).astype(np.float32)
    assert value(evaluate(wide + 1, wide, "-l", "l1"), "l1") == pytest.approx(1, rel=1e-4)
    logits = np.where(P, 3.0, -1e30).astype(np.float32)
    assert value(evaluate(logits, G.astype(np.int64), "-l", "iou")) == pytest.approx(IOU)


def test_nodata_of_predictions_is_asked_for(evaluate):
    pred = (HEIGHTS + 0.5).astype(np.float32)
    pred[:5] = -9999
    stderr = evaluate(pred, HEIGHTS.astype(np.float32), "-l", "l1", wanted=2)
    assert "is this nodata?" in stderr
    assert "write a number there, or leave the pixels out in the ground truth" in stderr
