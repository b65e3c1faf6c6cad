"""Losses of files as people have them: the number, a refusal with a way out, or a note.

Expected numbers come from numpy, torch, scikit-image or a published value, never from lossbench.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import lossbench
from lossbench.catalog.registry import find

ROOM = np.random.default_rng(7)
Run = Callable[..., Any]


@pytest.fixture
def run(folder: Any, lossbench_command: Any) -> Run:
    """Write both folders and run `eval`; the result, or what stderr says of another status."""

    def evaluated(
        pred: dict[str, Any], gt: dict[str, Any], *options: str, wanted: int = 0
    ) -> tuple[Any, str]:
        sides = [folder("pred", pred), folder("gt", gt)]
        done = lossbench_command("eval", *sides, *options, "-f", "json")
        assert done.returncode == wanted, done.stderr
        return json.loads(done.stdout) if wanted in (0, 1, 3) else None, done.stderr

    return evaluated


def mean(result: Any, loss: str) -> float:
    number: float = result["aggregate"][loss]["mean"]
    return number


# Soft targets of several classes that do not sum to 1: the mean is over pixels.

P = np.array([[0.2, 0.2, 0.2, 0.1, 0.15, 0.15], [0.05, 0.03, 0.02, 0.3, 0.5, 0.1]])
Q = np.array([[0.05, 0.03, 0.02, 0.3, 0.5, 0.0], [0.4, 0.1, 0.1, 0.1, 0.1, 0.7]])  # .9 and 1.5


def logs(x: np.ndarray) -> np.ndarray:
    """Logarithms clamped at −100, as torch's BCELoss has them."""
    return np.log(x, where=x > 0, out=np.full_like(x, -100.0))


def kl_of(q: np.ndarray, p: np.ndarray) -> np.ndarray:
    return (q * (logs(q) - logs(p))).sum(-1)


OVER_PIXELS: dict[str, np.ndarray] = {  # of each pixel, its formula in `lossbench explain`
    "kl": kl_of(Q, P),
    "jeffreys": kl_of(Q, P) + kl_of(P, Q),
    "js": (kl_of(Q, (P + Q) / 2) + kl_of(P, (P + Q) / 2)) / 2,
    "alpha_kl(alpha=0.3)": kl_of(Q, 0.3 * P + 0.7 * Q),
    "alpha_js(alpha=0.3)": (kl_of(Q, 0.3 * P + 0.7 * Q) + kl_of(P, 0.3 * Q + 0.7 * P)) / 2,
    "entropy": -(Q * logs(Q)).sum(-1),
    "brier": ((P - Q) ** 2).sum(-1),
    "focal": -((1 - P) ** 2 * Q * logs(P)).sum(-1),
    "poly1": (Q * (1 - P - logs(P))).sum(-1),
}


def on_pixels(loss: str, target: np.ndarray, pred: np.ndarray = P, **options: Any) -> float:
    """A loss of two pixels as one sample."""
    name, _, rest = loss.partition("(")
    if rest:
        options |= {"alpha": float(rest.partition("=")[2].rstrip(")"))}
    rows = [torch.as_tensor(each.T[None], dtype=torch.float64) for each in (pred, target)]
    return float(lossbench.loss(name)(*rows, **options))


@pytest.mark.parametrize("loss", OVER_PIXELS)
def test_a_soft_target_of_any_sum_is_averaged_over_pixels(loss: str) -> None:
    assert on_pixels(loss, Q) == pytest.approx(OVER_PIXELS[loss].mean(), rel=1e-12)


def test_kl_of_a_target_that_sums_to_less_is_optax_published_value() -> None:
    # optax's test of kl_divergence: the second row of its log-probabilities and targets
    log_p = np.array([[-1.6094, -1.6094, -1.6094, -2.3026, -1.8971, -1.8971]])
    assert on_pixels("kl", Q[:1], np.exp(log_p)) == pytest.approx(0.759290, abs=2e-5)
    # and as torch's kl_div has it, without a tolerance for rounded logarithms
    torch_value = torch.nn.functional.kl_div(
        torch.tensor(log_p), torch.tensor(Q[:1]), reduction="batchmean"
    )
    assert on_pixels("kl", Q[:1], np.exp(log_p)) == pytest.approx(float(torch_value), rel=1e-9)


def test_a_perceptron_of_a_target_of_any_sum_is_averaged_over_pixels() -> None:
    expected = (Q * (P.max(-1, keepdims=True) - P)).sum(-1).mean()
    assert on_pixels("perceptron", Q, encoding="logits") == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("total", [0.0, 1e-3, 1.0, 6.0])
def test_the_range_of_brier_holds_for_a_target_of_any_sum(total: float) -> None:
    target = np.full((2, 6), total / 6)
    expected = ((P - target) ** 2).sum(-1).mean()
    assert on_pixels("brier", target) == pytest.approx(expected, rel=1e-12)


def test_a_target_of_any_sum_with_weights_is_averaged_over_the_weights() -> None:
    weight = torch.tensor([[1.0, 3.0]], dtype=torch.float64)
    expected = np.average(OVER_PIXELS["kl"], weights=[1, 3])
    assert on_pixels("kl", Q, weight=weight) == pytest.approx(expected, rel=1e-12)


# Gradients of float32 probabilities next to 0.

TINY = [0.0, 1e-45, 1e-44, 1e-40, 2.9e-39, 1e-30, 1e-13, 1e-6, 0.5, 1.0]


@pytest.mark.parametrize("y", [1.0, 0.4])
def test_the_gradient_of_bce_is_that_of_torch(y: float) -> None:
    ours, theirs = (torch.tensor(TINY[1:], requires_grad=True) for _ in range(2))
    target = torch.full((len(TINY) - 1, 1), y)
    lossbench.loss("bce")(ours[:, None], target).sum().backward()
    torch.nn.functional.binary_cross_entropy(theirs[:, None], target, reduction="sum").backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    kept = torch.tensor(TINY[1:]) >= 3.8e-44  # below e^-100 the clamped logarithm is constant
    inner = kept & (torch.tensor(TINY[1:]) < 1)
    assert ours.grad[inner].numpy() == pytest.approx(theirs.grad[inner].numpy(), rel=1e-5)
    assert ours.grad.isfinite().all()
    assert ours.grad.abs().max() <= 1.01e12


@pytest.mark.parametrize(
    "loss",
    ["bce", "cross_entropy", "kl", "js", "jeffreys", "focal", "binary_focal", "poly1",
     "ohem_cross_entropy", "alpha_kl", "combo", "dice_ce", "unified_focal"],
)  # fmt: skip
@pytest.mark.parametrize("classes", [1, 3])
def test_gradients_of_tiny_probabilities_are_finite(loss: str, classes: int) -> None:
    task = "binary" if classes == 1 else "multiclass"
    if task not in find(loss).tasks:
        return
    pred = torch.tensor(TINY * 3)[:, None, None].repeat(1, classes, 4)
    if classes > 1:
        pred[:, 1:] = (1 - pred[:, :1]) / 2
    pred = pred.contiguous().requires_grad_()
    labels = torch.arange(4).repeat(len(pred), 1) % max(2, classes)
    target = labels[:, None].float() if classes == 1 else labels
    values = lossbench.loss(loss)(pred, target)
    values[values.isfinite()].sum().backward()
    assert pred.grad is not None
    assert pred.grad.isfinite().all()


# psnr of identical pictures.

PICTURES = {f"{i}.png": ROOM.integers(0, 256, (12, 13), dtype=np.uint8) for i in range(3)}
NOISY = {"0.png": PICTURES["0.png"]} | {
    name: np.clip(PICTURES[name].astype(int) + ROOM.integers(-60, 60, (12, 13)), 0, 255).astype(
        np.uint8
    )
    for name in ("1.png", "2.png")
}


def psnr_of(pred: np.ndarray, gt: np.ndarray, data_range: float = 1.0) -> float:
    from skimage.metrics import peak_signal_noise_ratio

    with np.errstate(divide="ignore"):
        return float(peak_signal_noise_ratio(gt / 1.0, pred / 1.0, data_range=data_range))


@pytest.mark.parametrize("cap", [100.0, 48.0, 5.0])
def test_psnr_with_a_cap_has_a_finite_mean(run: Run, cap: float) -> None:
    each = [psnr_of(NOISY[name], PICTURES[name], 255.0) for name in PICTURES]
    assert math.isinf(each[0])
    loss = f"psnr(cap={cap:g})"
    result, _ = run(NOISY, PICTURES, "-l", loss, "-l", "psnr", "--task", "image")
    assert mean(result, loss) == pytest.approx(np.minimum(each, cap).mean(), rel=1e-12)
    assert result["aggregate"]["psnr"]["infinite"] == 1


@pytest.mark.parametrize(("more", "status"), [(0.1, 1), (-0.1, 0)])
def test_a_gate_on_a_capped_psnr_is_decided_by_a_finite_mean(
    run: Run, more: float, status: int
) -> None:
    each = [min(60.0, psnr_of(NOISY[name], PICTURES[name], 255.0)) for name in PICTURES]
    gate = f"psnr(cap=60).mean >= {np.mean(each) + more}"
    run(NOISY, PICTURES, "--gate", gate, "--task", "image", wanted=status)


# Losses of logits and log-probabilities refuse probabilities.

SOFTMAX = ROOM.dirichlet(np.ones(3), (8, 9)).astype(np.float32)
CLASSES = ROOM.integers(0, 3, (8, 9)).astype(np.uint8)


@pytest.mark.parametrize("loss", ["nll", "perceptron", "nll(class_weights=[1, 2, 3])"])
def test_losses_of_logits_refuse_probabilities(run: Run, loss: str) -> None:
    _, said = run({"a.npy": np.moveaxis(SOFTMAX, -1, 0)}, {"a.png": CLASSES}, "-l", loss, wanted=2)
    assert "read as probability" in said
    assert "--pred-encoding logits" in said


@pytest.mark.parametrize("loss", ["nll", "perceptron"])
def test_losses_of_logits_refuse_hard_labels(run: Run, loss: str) -> None:
    _, said = run({"a.png": CLASSES[::-1].copy()}, {"a.png": CLASSES}, "-l", loss, wanted=2)
    assert "read as labels" in said


def test_nll_of_log_probabilities_is_that_of_torch(run: Run) -> None:
    stored = np.log(np.moveaxis(SOFTMAX, -1, 0))
    target = torch.as_tensor(CLASSES).long()[None]
    expected = float(torch.nn.NLLLoss()(torch.as_tensor(stored, dtype=torch.float64)[None], target))
    result, _ = run({"a.npy": stored}, {"a.png": CLASSES}, "-l", "nll")
    assert mean(result, "nll") == pytest.approx(expected, rel=1e-9)


# The range of pictures in floats.

TRUE = ROOM.integers(0, 256, (14, 15)).astype(np.float64)
SEEN = np.clip(TRUE + ROOM.normal(0, 20, TRUE.shape), 0, 255)
RANGES = {  # stored truth and prediction, and the data range of both
    "0 to 255": (TRUE, SEEN, 255.0),
    "-1 to 1": (TRUE / 127.5 - 1, SEEN / 127.5 - 1, 2.0),
    "0 to 4095": (TRUE * 16, SEEN * 16, 4095.0),
    "-1024 to 3071": (TRUE * 16 - 1024, SEEN * 16 - 1024, 4095.0),
}
NEED_RANGE = ["psnr", "ssim", "ssim_loss", "0.5*l1 + 0.5*ssim_loss", "ms_ssim"]


def ssim_of(pred: np.ndarray, gt: np.ndarray, data_range: float) -> float:
    from skimage.metrics import structural_similarity

    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, windows = structural_similarity(gt, pred, data_range=data_range, full=True, **options)
    return float(windows[5:-5, 5:-5].mean())


@pytest.mark.parametrize("loss", NEED_RANGE)
@pytest.mark.parametrize("what", RANGES)
def test_losses_of_a_range_refuse_floats_of_an_unknown_one(run: Run, what: str, loss: str) -> None:
    gt, pred, _ = RANGES[what]
    _, said = run({"a.npy": pred}, {"a.npy": gt}, "-l", loss, "--task", "image", wanted=2)
    assert "data_range=" in said
    assert "--gt-scale" in said
    assert f"{gt.min():.4g} to {gt.max():.4g}" in said


@pytest.mark.parametrize("what", RANGES)
def test_the_advice_data_range_gives_the_number(run: Run, what: str) -> None:
    gt, pred, span = RANGES[what]
    losses = [f"psnr(data_range={span:g})", f"ssim(data_range={span:g})", "l1"]
    asked = [word for loss in losses for word in ("-l", loss)]
    result, said = run({"a.npy": pred}, {"a.npy": gt}, *asked, "--task", "image")
    assert mean(result, losses[0]) == pytest.approx(psnr_of(pred, gt, span), rel=1e-9)
    assert mean(result, losses[1]) == pytest.approx(ssim_of(pred, gt, span), rel=1e-9)
    assert mean(result, "l1") == pytest.approx(np.abs(pred - gt).mean(), rel=1e-9)
    assert "in these units" in said


@pytest.mark.parametrize("what", ["0 to 255", "0 to 4095"])
def test_the_advice_scale_gives_the_number(run: Run, what: str) -> None:
    gt, pred, span = RANGES[what]
    scales = ["--pred-scale", f"{span:g}", "--gt-scale", f"{span:g}"]
    result, _ = run({"a.npy": pred}, {"a.npy": gt}, "-l", "psnr", "-l", "ssim", *scales,
                    "--task", "image")  # fmt: skip
    assert mean(result, "psnr") == pytest.approx(psnr_of(pred, gt, span), rel=1e-9)
    assert mean(result, "ssim") == pytest.approx(ssim_of(pred, gt, span), rel=1e-9)


@pytest.mark.parametrize("low", [0.0, -0.2, 0.1])
def test_floats_from_0_to_1_are_read_so_and_noted(run: Run, low: float) -> None:
    gt, pred = TRUE / 255, np.maximum(SEEN / 255, low) if low > 0 else SEEN / 255 + low
    result, said = run({"a.npy": pred}, {"a.npy": gt}, "-l", "psnr", "--task", "image")
    assert mean(result, "psnr") == pytest.approx(psnr_of(pred, gt), rel=1e-9)
    assert f"from {pred.min():.4g} to {pred.max():.4g}" in said


@pytest.mark.parametrize("loss", ["l1", "psnr", "ssim"])
@pytest.mark.parametrize("factor", [1.0, 1 / 127.5])
@pytest.mark.parametrize("side", ["pred", "gt"])
def test_integers_against_floats_beyond_1_are_a_question(
    run: Run, side: str, factor: float, loss: str
) -> None:
    floats = {"a.npy": SEEN * factor - (factor < 1)}
    integers = {"a.png": TRUE.astype(np.uint8)}
    both = (floats, integers) if side == "pred" else (integers, floats)
    _, said = run(*both, "-l", loss, "--task", "image", wanted=2)
    assert f"--{side}-scale" in said


@pytest.mark.parametrize("side", ["pred", "gt"])
def test_the_scale_of_one_side_gives_the_number(run: Run, side: str) -> None:
    floats, integers = {"a.npy": SEEN}, {"a.png": TRUE.astype(np.uint8)}
    both = (floats, integers) if side == "pred" else (integers, floats)
    result, _ = run(*both, "-l", "psnr", "--task", "image", f"--{side}-scale", "255")
    assert mean(result, "psnr") == pytest.approx(psnr_of(SEEN, TRUE, 255.0), rel=1e-9)


# Default losses by what the files hold.

DISK = ((np.mgrid[:16, :18] - 8) ** 2).sum(0) < 30
OTHER = np.roll(DISK, 2, 1)
LABELS = np.where(DISK, np.where(np.arange(18) < 8, 1, 2), 0).astype(np.uint8)
STACK = np.stack([DISK, OTHER, ~DISK]).astype(np.uint8)
CHANCES = np.clip(OTHER * 0.8 + ROOM.uniform(0, 0.2, DISK.shape), 0, 1)
GREY = ROOM.integers(0, 256, (11, 12)).astype(np.uint8)
DEFAULTS: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "mask": (
        {"a.png": OTHER.astype(np.uint8) * 255}, {"a.png": DISK.astype(np.uint8) * 255},
        ("dice_score", "iou", "precision", "recall"),
    ),
    "array of a mask": (
        {"a.npy": OTHER}, {"a.npy": DISK}, ("dice_score", "iou", "precision", "recall"),
    ),
    "labels": (
        {"a.png": np.roll(LABELS, 1, 0)}, {"a.png": LABELS}, ("dice_score", "iou", "accuracy"),
    ),
    "stack of masks": (
        {"a.npy": np.roll(STACK, 1, 2)}, {"a.npy": STACK},
        ("dice_score", "iou", "precision", "recall"),
    ),
    "probability": (
        {"a.npy": CHANCES}, {"a.png": DISK.astype(np.uint8) * 255}, ("dice", "iou", "bce"),
    ),
    "8-bit map": (
        {"a.png": (CHANCES * 255).astype(np.uint8)}, {"a.png": DISK.astype(np.uint8) * 255},
        ("dice", "iou", "bce"),
    ),
    "logits": (
        {"a.npy": CHANCES * 9 - 4}, {"a.png": DISK.astype(np.uint8) * 255},
        ("dice", "iou", "bce"),
    ),
    "softmax": (
        {"a.npy": np.moveaxis(ROOM.dirichlet(np.ones(3), LABELS.shape), -1, 0)},
        {"a.png": LABELS}, ("dice", "iou", "cross_entropy"),
    ),
    "pictures": ({"a.png": GREY[::-1].copy()}, {"a.png": GREY}, ("l1", "psnr", "ssim")),
    "colours": (
        {"a.png": np.stack([GREY, GREY[::-1], GREY], -1)},
        {"a.png": np.stack([GREY, GREY, GREY.T.reshape(11, 12)], -1)}, ("l1", "psnr", "ssim"),
    ),
    "pictures 10 pixels wide": (
        {"a.png": GREY[:, :10][::-1].copy()}, {"a.png": GREY[:, :10].copy()}, ("l1", "psnr"),
    ),
    "floats beyond 1": (
        {"a.npy": SEEN * 1.1}, {"a.npy": TRUE * 1.1 + 0.0371}, ("l1",),
    ),
    "one small picture among others": (
        {"a.png": GREY[::-1].copy(), "b.png": GREY[:9]},
        {"a.png": GREY, "b.png": GREY[1:10].copy()}, ("l1", "psnr"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DEFAULTS)
def test_the_default_losses_follow_what_files_hold(run: Run, what: str) -> None:
    pred, gt, expected = DEFAULTS[what]
    options = ["--channels", "first"] if "stack" in what else []
    result, _ = run(pred, gt, *options)
    assert tuple(result["aggregate"]) == expected


@pytest.mark.parametrize("of_classes", [2, 3])
def test_volumes_with_spacing_add_hd95(
    tmp_path: Any, lossbench_command: Any, of_classes: int
) -> None:
    import nibabel

    volume = np.repeat((DISK if of_classes == 2 else LABELS)[..., None], 4, 2).astype(np.uint8)
    for name, array in (("pred", np.roll(volume, 1, 0)), ("gt", volume)):
        (tmp_path / name).mkdir()
        nibabel.Nifti1Image(array, np.diag([1.5, 1.5, 3, 1])).to_filename(
            tmp_path / name / "a.nii.gz"
        )
    done = lossbench_command("eval", tmp_path / "pred", tmp_path / "gt", "-f", "json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(result["aggregate"])[-1] == "hd95"
    # the disk is moved by one voxel of 1.5 mm
    assert mean(result, "hd95") == pytest.approx(1.5)


@pytest.mark.parametrize("value", [255.0, -1.0])
def test_a_file_beyond_the_range_of_the_sample_is_an_error(run: Run, value: float) -> None:
    gt = {f"{i:02}.npy": TRUE / 255 for i in range(40)}
    strange = {"01.npy": np.where(SEEN > 200, value, SEEN / 255)}  # the sample has each third file
    result, _ = run(gt | strange, gt, "-l", "l1", "--task", "image", wanted=3)
    (error,) = result["errors"]
    assert error["id"] == "01"
    assert f"holds {value:g}" in error["error"]
    assert "--pred-scale" in error["error"]


# Probabilities of several classes that do not sum to 1.

SIGMOIDS = ROOM.uniform(0.05, 0.95, (3, *LABELS.shape))
ONES = np.ones_like(SIGMOIDS)
GOOD = np.moveaxis(ROOM.dirichlet(np.ones(3), LABELS.shape), -1, 0)
HALF = GOOD / 2
READ_AS_DISTRIBUTION = [
    "cross_entropy", "focal", "poly1", "kl", "js", "jeffreys", "alpha_kl", "ohem_cross_entropy",
    "bootstrapped_cross_entropy", "0.5*dice + 0.5*cross_entropy", "dice_ce",
]  # fmt: skip


@pytest.mark.parametrize("loss", READ_AS_DISTRIBUTION)
def test_losses_of_a_distribution_refuse_other_sums(run: Run, loss: str) -> None:
    pred, gt = {"a.npy": GOOD, "b.npy": ONES}, {"a.png": LABELS, "b.png": LABELS}
    result, _ = run(pred, gt, "-l", loss, "--task", "multiclass", "--pred-encoding", "probability",
                    wanted=3)  # fmt: skip
    (error,) = result["errors"]
    assert error["id"] == "b"
    assert "b.npy" in error["error"]
    assert "sum to 3 in a pixel" in error["error"]
    for way_out in ("softmax", "--pred-encoding logits", "--task multilabel"):
        assert way_out in error["error"]


@pytest.mark.parametrize(
    ("stored", "far"), [(SIGMOIDS, None), (HALF, 0.5), (GOOD * 1.02, 1.02), (ONES * 0, 0.0)]
)
def test_the_sum_that_is_farthest_from_1_is_shown(run: Run, stored: Any, far: float | None) -> None:
    sums = stored.sum(0)
    expected = sums.flat[np.abs(sums - 1).argmax()] if far is None else far
    result, _ = run({"a.npy": stored.clip(0, 1)}, {"a.png": LABELS}, "-l", "cross_entropy",
                    "--pred-encoding", "probability", wanted=3)  # fmt: skip
    if far != 1.02:
        assert f"sum to {expected:.4g} in a pixel" in result["errors"][0]["error"]


def cross_entropy_of(pred: np.ndarray, labels: np.ndarray) -> float:
    """torch's cross-entropy of probabilities, given as their logarithms."""
    rows = torch.as_tensor(np.log(pred.reshape(3, -1).T))
    return float(torch.nn.functional.nll_loss(rows, torch.as_tensor(labels.ravel()).long()))


@pytest.mark.parametrize(
    "stored",
    [GOOD, GOOD.astype(np.float32), GOOD.astype(np.float16), GOOD * 1.009, np.round(GOOD, 3)],
    ids=["float64", "float32", "float16", "off by .009", "three digits"],
)
def test_sums_that_rounding_explains_are_scored(run: Run, stored: np.ndarray) -> None:
    stored = stored.clip(1e-4, 1)
    result, _ = run({"a.npy": stored}, {"a.png": LABELS}, "-l", "cross_entropy",
                    "--pred-encoding", "probability")  # fmt: skip
    expected = cross_entropy_of(stored.astype(np.float64), LABELS)
    assert mean(result, "cross_entropy") == pytest.approx(expected, rel=1e-6)


def test_rounded_bytes_sum_to_one(run: Run) -> None:
    stored = np.floor(GOOD * 255).astype(np.uint8).clip(1)
    result, _ = run({"a.npy": stored}, {"a.png": LABELS}, "-l", "cross_entropy",
                    "--pred-encoding", "probability")  # fmt: skip
    expected = cross_entropy_of(stored / 255, LABELS)
    assert mean(result, "cross_entropy") == pytest.approx(expected, rel=1e-9)


def test_pixels_that_do_not_count_have_any_sum(run: Run) -> None:
    stored, void = GOOD.copy(), LABELS.copy()
    stored[:, 0], void[0] = 0, 255
    result, _ = run({"a.npy": stored}, {"a.png": void}, "-l", "cross_entropy",
                    "--pred-encoding", "probability", "--ignore", "255")  # fmt: skip
    expected = cross_entropy_of(stored[:, 1:], LABELS[1:])
    assert mean(result, "cross_entropy") == pytest.approx(expected, rel=1e-9)


def test_other_losses_take_any_sum(run: Run) -> None:
    one_hot = np.stack([c == LABELS for c in range(3)]).astype(float)
    result, _ = run({"a.npy": SIGMOIDS}, {"a.png": LABELS}, "-l", "l1", "-l", "brier", "-l", "iou",
                    "-l", "dice", "--pred-encoding", "probability")  # fmt: skip
    assert mean(result, "l1") == pytest.approx(np.abs(SIGMOIDS - one_hot).mean(), rel=1e-9)
    expected = ((SIGMOIDS - one_hot) ** 2).sum(0).mean()
    assert mean(result, "brier") == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("way_out", ["softmax", "logits", "multilabel"])
def test_each_way_out_works(run: Run, way_out: str) -> None:
    if way_out == "multilabel":
        one_hot = np.stack([c == LABELS for c in range(3)]).astype(np.uint8)
        result, _ = run({"a.npy": SIGMOIDS}, {"a.npy": one_hot}, "-l", "bce", "--task", way_out)
        expected = torch.nn.BCELoss()(torch.as_tensor(SIGMOIDS), torch.as_tensor(one_hot).double())
        assert mean(result, "bce") == pytest.approx(float(expected), rel=1e-9)
        return
    softmax = np.exp(SIGMOIDS) / np.exp(SIGMOIDS).sum(0)
    options = ["--pred-encoding", "logits"] if way_out == "logits" else []
    stored = SIGMOIDS if options else softmax
    result, _ = run({"a.npy": stored}, {"a.png": LABELS}, "-l", "cross_entropy", *options)
    expected_value = cross_entropy_of(softmax, LABELS)
    assert mean(result, "cross_entropy") == pytest.approx(expected_value, rel=1e-9)


def test_one_vs_all_focal_takes_any_sum(run: Run) -> None:
    one_hot = np.stack([c == LABELS for c in range(3)])
    p_true = np.where(one_hot, SIGMOIDS, 1 - SIGMOIDS)
    expected = (-((1 - p_true) ** 2) * np.log(p_true)).sum(0).mean()
    loss = "focal(one_vs_all=true)"
    result, _ = run({"a.npy": SIGMOIDS}, {"a.png": LABELS}, "-l", loss,
                    "--pred-encoding", "probability")  # fmt: skip
    assert mean(result, loss) == pytest.approx(expected, rel=1e-9)


def test_soft_truths_of_another_sum_are_noted(run: Run) -> None:
    truth = GOOD * 0.8
    result, said = run({"a.npy": GOOD[:, ::-1].copy()}, {"a.npy": truth}, "-l", "kl",
                       "--task", "multiclass", "--pred-encoding", "probability",
                       "--gt-encoding", "probability")  # fmt: skip
    p, y = GOOD[:, ::-1], truth
    expected = (y * (np.log(y) - np.log(p))).sum(0).mean()
    assert mean(result, "kl") == pytest.approx(expected, rel=1e-9)
    assert "sum to 1" in said


# A loss that cannot be computed leaves the others of its sample.


def test_a_picture_too_small_for_ssim_has_its_other_losses(run: Run) -> None:
    gt = {"a.png": GREY, "b.png": GREY[:9, :10].copy()}
    pred = {"a.png": GREY[::-1].copy(), "b.png": GREY[1:10, 2:12].copy()}
    result, _ = run(pred, gt, "-l", "l1", "-l", "ssim", "-l", "psnr", wanted=3)
    small = np.abs(pred["b.png"] / 255 - gt["b.png"] / 255).mean()
    rows = {row["id"]: row for row in result["samples"]}
    assert rows["b"]["l1"] == pytest.approx(small, rel=1e-9)
    assert rows["b"]["ssim"] is None
    assert result["aggregate"]["ssim"]["count"] == 1
    assert result["aggregate"]["l1"]["count"] == 2
    assert [(each["id"], each["loss"]) for each in result["errors"]] == [("b", "ssim")]


@pytest.mark.parametrize("more", [[], ["--group-by", "{group}_{id}"], ["--workers", "1"]])
def test_a_sum_of_another_number_leaves_other_losses(run: Run, more: list[str]) -> None:
    gt = {f"g_{i}.png": LABELS for i in range(5)}
    pred = {f"g_{i}.npy": ONES if i in (0, 3) else GOOD for i in range(5)}
    result, _ = run(pred, gt, "-l", "cross_entropy", "-l", "l1", "--pred-encoding", "probability",
                    *more, wanted=3)  # fmt: skip
    one_hot = np.stack([c == LABELS for c in range(3)])
    off, on = np.abs(ONES - one_hot).mean(), np.abs(GOOD - one_hot).mean()
    assert mean(result, "l1") == pytest.approx((2 * off + 3 * on) / 5, rel=1e-9)
    assert mean(result, "cross_entropy") == pytest.approx(cross_entropy_of(GOOD, LABELS), rel=1e-9)
    assert result["aggregate"]["cross_entropy"]["pooled"] == pytest.approx(
        cross_entropy_of(GOOD, LABELS), rel=1e-9
    )
    assert result["run"]["pairs"]["evaluated"] == 3  # with every value
    assert result["run"]["pairs"]["errors"] == 2
    assert len(result["errors"]) == 2
    if more[:1] == ["--group-by"]:
        assert result["groups"]["g"]["l1"]["count"] == 5


def test_shards_and_a_checkpoint_keep_the_other_losses(
    folder: Any, lossbench_command: Any, tmp_path: Any
) -> None:
    pred = {f"{i}.npy": ONES if i in (1, 4) else GOOD for i in range(6)}
    sides = folder("pred", pred), folder("gt", {f"{i}.png": LABELS for i in range(6)})
    asked = ["-l", "cross_entropy", "-l", "l1", "--pred-encoding", "probability"]
    whole = lossbench_command("eval", *sides, *asked, "-o", tmp_path / "whole.json")
    again = lossbench_command("eval", *sides, *asked, "-o", tmp_path / "again.json", "--resume")
    for number in (1, 2):
        lossbench_command("eval", *sides, *asked, "--shard", f"{number}/2",
                          "-o", tmp_path / f"{number}.json")  # fmt: skip
    parts = [tmp_path / "1.json", tmp_path / "2.json"]
    merged = lossbench_command("merge", *parts, "-o", tmp_path / "merged.json")
    assert [each.returncode for each in (whole, again, merged)] == [3, 3, 3]
    results = [json.loads((tmp_path / f"{name}.json").read_text())
               for name in ("whole", "again", "merged")]  # fmt: skip
    for key in ("aggregate", "samples", "errors"):
        assert results[0][key] == results[1][key] == results[2][key]
    assert len(results[0]["samples"]) == 6
    assert len(results[0]["errors"]) == 2


def test_a_csv_has_one_row_for_a_sample_without_one_loss(
    folder: Any, lossbench_command: Any
) -> None:
    sides = folder("pred", {"a.npy": ONES}), folder("gt", {"a.png": LABELS})
    done = lossbench_command("eval", *sides, "-l", "l1", "-l", "cross_entropy", "--pred-encoding",
                             "probability", "-f", "csv", "--no-per-class")  # fmt: skip
    header, row = done.stdout.splitlines()
    assert header == "id,l1,cross_entropy,error"
    assert row.startswith(f"a,{2 / 3}"[:8])
    assert "sum to 3" in row


# Options that the tool of a convention means otherwise.

V5 = np.array([[0.9, 0.2], [0.4, 0.1]]), np.array([[1, 0], [1, 0]])  # CONVENTIONS.md, V5 and V13
BOTH, AREAS = 1.3, 3.6  # Σ p·y and Σ p + Σ y of V5
BCE = torch.nn.BCELoss()(torch.tensor(V5[0]), torch.tensor(V5[1] * 0.8 + 0.1)).item()
TVERSKY = 1 - BOTH / (BOTH + 0.5 * (AREAS - 2 * BOTH))
MEANT: list[tuple[str, str, float, str]] = [
    # convention, loss, the tool's documented formula in numbers, what the note says
    ("smp", "dice(smooth=1)", 1 - (2 * BOTH + 2) / (AREAS + 2), "smooth=2"),
    ("optax", "dice(smooth=1)", 1 - (2 * BOTH + 2) / (AREAS + 2), "smooth=2"),
    ("optax", "dice(smooth=0.25)", 1 - (2 * BOTH + 0.5) / (AREAS + 0.5), "smooth=0.5"),
    ("optax", "dice(smooth=0)", 1 - 2 * BOTH / AREAS, ""),
    ("lossbench", "dice(smooth=1)", 1 - (2 * BOTH + 1) / (AREAS + 1), ""),
    ("monai", "dice(smooth=1)", 1 - (2 * BOTH + 1) / (AREAS + 1), ""),
    ("monai", "jaccard(smooth=1)", 1 - (2 * BOTH + 1) / (2 * (AREAS - BOTH) + 1), "smooth=0.5"),
    ("monai", "jaccard(smooth_nr=1, smooth_dr=0.5)",
     1 - (2 * BOTH + 1) / (2 * (AREAS - BOTH) + 0.5), "smooth_nr=0.5"),
    ("smp", "jaccard(smooth=1)", 1 - (BOTH + 1) / (AREAS - BOTH + 1), ""),
    ("smp", "tversky(smooth=1)", 1 - (BOTH + 1) / (BOTH + 0.5 * (AREAS - 2 * BOTH) + 1), ""),
    ("optax", "tversky(smooth=1)", 1 - (BOTH + 1) / (BOTH + 0.5 * (AREAS - 2 * BOTH) + 1), ""),
    ("smp", "bce(label_smoothing=0.1)", BCE, "label_smoothing=0.2"),
    ("smp", "focal_tversky(gamma=1.5)", TVERSKY**1.5, "exponent=1.5"),
    ("smp", "0.5*dice(smooth=1) + 0.5*bce(label_smoothing=0.1)",
     (1 - (2 * BOTH + 2) / (AREAS + 2)) / 2 + BCE / 2, "smooth=2"),
]  # fmt: skip


@pytest.mark.parametrize(("convention", "loss", "expected", "noted"), MEANT)
def test_a_written_option_has_the_meaning_of_the_tool(
    run: Run, convention: str, loss: str, expected: float, noted: str
) -> None:
    pred, gt = V5
    result, said = run({"a.npy": pred}, {"a.npy": gt}, "-l", f"x={loss}", "--task", "binary",
                       "--convention", convention)  # fmt: skip
    assert mean(result, "x") == pytest.approx(expected, rel=1e-9)
    assert (f"of {convention} is" in said) == bool(noted)
    assert noted in said


def test_v5_is_the_published_number_of_smp_and_optax(run: Run) -> None:
    pred, gt = V5
    result, said = run({"a.npy": pred}, {"a.npy": gt}, "-l", "dice(smooth=1)", "--task", "binary",
                       "--convention", "all")  # fmt: skip
    rows = {name: row["dice(smooth=1)"]["value"]
            for name, row in result["conventions"].items() if row}  # fmt: skip
    for name in ("smp", "optax"):
        assert rows[name] == pytest.approx(0.178571, abs=5e-7)
        assert f"dice(smooth=1) of {name} is dice(smooth=2.0) here" in said
    for name in ("lossbench", "monai", "nnunet"):
        assert abs(rows[name]) == pytest.approx({"nnunet": 0.782609}.get(name, 0.217391), abs=5e-7)


def test_v13_is_the_published_number_of_monai(run: Run) -> None:
    pred, gt = V5
    loss = "jaccard(smooth=1)"
    result, _ = run({"a.npy": pred}, {"a.npy": gt}, "-l", loss, "--task", "binary",
                    "--convention", "all")  # fmt: skip
    rows = result["conventions"]
    assert rows["monai"][loss]["value"] == pytest.approx(0.357143, abs=5e-7)
    assert rows["lossbench"][loss]["value"] == pytest.approx(0.303030, abs=5e-7)
    assert rows["smp"][loss]["value"] == pytest.approx(0.303030, abs=5e-7)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_reduction_of_torchmetrics_is_over_samples(run: Run, reduction: str) -> None:
    picture = TRUE / 255
    loss = f"total_variation(reduction={reduction})"
    expected = np.abs(np.diff(picture, axis=0)).sum() + np.abs(np.diff(picture, axis=1)).sum()
    result, said = run({"a.npy": picture}, {"a.npy": picture}, "-l", loss, "--task", "image",
                       "--convention", "torchmetrics")  # fmt: skip
    assert mean(result, loss) == pytest.approx(expected, rel=1e-9)
    assert ("reduction=sum" in said) == (reduction == "mean")


def test_an_alpha_of_kornia_is_one_number_a_class(run: Run) -> None:
    sides = {"a.npy": GOOD}, {"a.png": LABELS}
    asked = ["--convention", "kornia", "--pred-encoding", "probability"]
    _, said = run(*sides, "-l", "focal(alpha=0.3)", *asked, wanted=2)
    assert "give the list" in said
    loss = "focal(alpha=[0.7, 0.3, 0.3])"
    result, _ = run(*sides, "-l", loss, *asked)
    p = np.take_along_axis(GOOD, LABELS[None].astype(int), 0)[0]
    alpha = np.array([0.7, 0.3, 0.3])[LABELS]
    # kornia's focal_loss is of each class, so that its mean is over pixels and classes
    expected = (-alpha * (1 - p) ** 2 * np.log(p)).mean() / 3
    assert mean(result, loss) == pytest.approx(expected, rel=1e-9)
    result, _ = run(*sides, "-l", "focal(alpha=0.3)", "--convention", "all",
                    "--pred-encoding", "probability")  # fmt: skip
    assert not result["conventions"]["kornia"]


def test_a_convention_does_not_touch_options_that_nobody_wrote(run: Run) -> None:
    pred, gt = V5
    loss = "dice_ce(smooth=1)"  # a combination of this catalogue, which smp does not have
    values = []
    for convention in ("lossbench", "smp"):
        result, said = run({"a.npy": pred}, {"a.npy": gt}, "-l", loss, "--task", "binary",
                           "--convention", convention)  # fmt: skip
        values.append(mean(result, loss))
        assert "of smp is" not in said
    dice = 1 - (2 * BOTH + 1) / (AREAS + 1)
    bce = torch.nn.BCELoss()(torch.tensor(pred), torch.tensor(gt).double()).item()
    assert values == pytest.approx([(dice + bce) / 2] * 2, rel=1e-9)


def test_both_spellings_of_an_option_are_an_error(run: Run) -> None:
    pred, gt = V5
    loss = "focal_tversky(gamma=1.5, exponent=2)"
    _, said = run({"a.npy": pred}, {"a.npy": gt}, "-l", loss, "--task", "binary",
                  "--convention", "smp", wanted=2)  # fmt: skip
    assert "gamma is exponent in this convention" in said


# Messages with a way out.

MEANT_NAMES = {  # the name in other tools: that of this catalogue
    "IoU": "iou", "mIoU": "mean_iou", "HD95": "hd95", "mAP": "average_precision_boxes",
    "dsc": "dice_score", "DSC": "dice_score", "dice_loss": "dice", "DiceLoss": "dice",
    "ce": "cross_entropy", "CE": "cross_entropy", "CrossEntropyLoss": "cross_entropy",
    "BCEWithLogitsLoss": "bce_with_logits", "SSIM": "ssim", "MSELoss": "mse",
    "Dice_Coef": "dice_score", "focal_loss": "focal", "HD": "hausdorff", "asd": "masd",
    "PPV": "precision", "dise": "dice",
}  # fmt: skip


@pytest.mark.parametrize("name", MEANT_NAMES)
def test_a_name_of_another_tool_suggests_ours(lossbench_command: Any, name: str) -> None:
    for words in (["explain", name], ["eval", "a", "b", "-l", name],
                  ["eval", "a", "b", "--gate", f"{name}.mean <= 1"]):  # fmt: skip
        done = lossbench_command(*words)
        assert done.returncode == 2
        assert f"did you mean {MEANT_NAMES[name]!r}?" in done.stderr
    find(MEANT_NAMES[name])  # the advice works


@pytest.mark.parametrize(("declared", "gate", "status"), [
    ("", "mine.mean >= 0.5", 2),
    ("", "mine.mean <= 0.5", 1),
    ('better="higher"', "mine.mean >= 0.5", 0),
    ('better="higher"', "mine.mean <= 0.5", 2),
])  # fmt: skip
def test_a_gate_of_a_plugin_on_the_wrong_side_names_its_declaration(
    run: Run, tmp_path: Any, declared: str, gate: str, status: int
) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from lossbench.plugin_api import loss\n\n"
        f'@loss({declared})\ndef mine(pred, target):\n    """Agreement.\n\n    share.\n    """\n'
        "    return float((pred == target).mean())\n"
    )
    mask = {"a.png": DISK.astype(np.uint8) * 255}
    _, said = run(mask, mask, "-l", "mine", "--gate", gate, "--plugin", plugin, wanted=status)
    if status == 2:
        other = "lower" if declared else "higher"
        assert f'@loss(better="{other}")' in said
        assert "mine.py" in said


# Many objects of a class in an image, and LVIS's own keys.


def coco_files(tmp_path: Any, counts: dict[str, int], **of_images: Any) -> tuple[Any, Any]:
    """Images with so many boxes of one class, each of which is detected; the files."""
    images = [{"id": i, "file_name": f"{name}.jpg", "width": 640, "height": 480, **of_images}
              for i, name in enumerate(counts, 1)]  # fmt: skip
    boxes = [
        {"id": len(counts) * n + i, "image_id": i, "category_id": 1, "iscrowd": 0, "area": 36.0,
         "bbox": [10 * (n % 60), 10 * (n // 60), 6, 6]}
        for i, count in enumerate(counts.values(), 1)
        for n in range(count)
    ]  # fmt: skip
    truth = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cell"}]}
    keys = ("image_id", "category_id", "bbox")
    found = [{key: each[key] for key in keys} | {"score": 0.9 - i / 1e4}
             for i, each in enumerate(boxes)]  # fmt: skip
    paths = tmp_path / "results.json", tmp_path / "instances.json"
    for path, content in zip(paths, (found, truth), strict=True):
        path.write_text(json.dumps(content))
    return paths


@pytest.mark.parametrize(
    ("counts", "options", "noted"),
    [
        ({"a": 150, "b": 3}, "", "1 of 2 images have more than 100 objects"),
        ({"a": 101, "b": 130, "c": 4}, "", "2 of 3 images have more than 100 objects"),
        ({"a": 100, "b": 3}, "", ""),
        ({"a": 150, "b": 3}, "(max_detections=150)", ""),
    ],
)
def test_more_objects_than_detections_that_count_are_noted(
    tmp_path: Any, lossbench_command: Any, counts: dict[str, int], options: str, noted: str
) -> None:
    files = coco_files(tmp_path, counts)
    loss = f"average_recall_boxes{options}"
    done = lossbench_command("eval", *files, "-l", loss, "-f", "json")
    assert done.returncode == 0, done.stderr
    limit = 150 if options else 100
    # every object is detected, so that recall is the share that the limit lets through
    expected = sum(min(limit, n) for n in counts.values()) / sum(counts.values())
    result = json.loads(done.stdout)
    assert result["aggregate"][loss]["pooled"] == pytest.approx(expected, rel=1e-12)
    assert ("objects of a class" in done.stderr) == bool(noted)
    assert noted in done.stderr
    if noted:
        assert f"up to {max(counts.values())} (cell in" in done.stderr


@pytest.mark.parametrize("key", ["neg_category_ids", "not_exhaustive_category_ids"])
def test_keys_of_lvis_are_noted(tmp_path: Any, lossbench_command: Any, key: str) -> None:
    for values, noted in (([1], True), ([], False)):
        done = lossbench_command("eval", *coco_files(tmp_path, {"a": 2}, **{key: values}),
                                 "-f", "json")  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert (f"LVIS's {key}" in done.stderr) == noted
