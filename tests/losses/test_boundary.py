"""Losses of boundaries and shapes, against MONAI, gudhi, scikit-image, scipy and all pairs."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from helpers.option_values import ENTRIES
from helpers.parity import parity
from helpers.tolerances import REFERENCE, SINGLE, check_close
from scipy import ndimage
from skimage import measure
from skimage.morphology import skeletonize

import lossbench
from lossbench.losses.boundary import euler

HausdorffDTLoss = parity("monai.losses", "HausdorffDTLoss")
SoftclDiceLoss = parity("monai.losses", "SoftclDiceLoss")
CubicalComplex = parity("gudhi", "CubicalComplex")
OWN = {name for name, entry in ENTRIES.items() if entry.module.endswith(".boundary")}
Command = Callable[..., subprocess.CompletedProcess[str]]


class Pair(NamedTuple):
    """One class of one sample, each of shape `space`."""

    pred: np.ndarray  # in [0, 1]
    target: np.ndarray  # 0 or 1
    weight: np.ndarray


class Row(NamedTuple):
    """A loss with options, and what it gives for one class."""

    loss: str
    reference: Callable[[Pair], float]
    tolerance: float = REFERENCE


# --- references -----------------------------------------------------------------------------------


def mean(pair: Pair, value: np.ndarray) -> float:
    every = pair.weight.sum()
    return (pair.weight * value).sum() / every if every else math.nan


def across(mask: np.ndarray, spacing: Sequence[float] | None = None) -> np.ndarray:
    """From every pixel to the nearest on the other side, by looking at all pairs."""
    places = np.stack(np.indices(mask.shape), -1).reshape(-1, mask.ndim)
    places = places * np.array(spacing or [1.0] * mask.ndim)
    apart = np.sqrt(((places[:, None] - places[None]) ** 2).sum(-1))
    flat = mask.ravel()
    apart[flat[:, None] == flat[None]] = np.inf
    return np.where(mask.all() or not mask.any(), 0, apart.min(1).reshape(mask.shape))


def inside(pair: Pair, threshold: float = 0.5) -> list[np.ndarray]:
    return [(side >= threshold) & (pair.weight > 0) for side in (pair.pred, pair.target)]


def signed_distance(pair: Pair, **how: Any) -> float:
    mask = inside(pair)[1]
    if not mask.any() or mask.all():
        return math.nan
    far = across(mask, **how)
    return mean(pair, np.where(mask, -(far - 1), far) * pair.pred)


def by_distance(pair: Pair, alpha: float = 2.0, threshold: float = 0.5, **how: Any) -> float:
    far = [across(mask, **how) for mask in inside(pair, threshold)]
    return mean(pair, (pair.pred - pair.target) ** 2 * (far[0] ** alpha + far[1] ** alpha))


def by_distance_in_monai(pair: Pair, alpha: float = 2.0) -> float:
    sides = [torch.tensor(side)[None, None] for side in (pair.pred, pair.target)]
    return float(HausdorffDTLoss(alpha=alpha, include_background=True)(*sides))


def by_erosion(pair: Pair, alpha: float = 2.0, erosions: int = 10) -> float:
    """Karimi & Salcudean 2019, one erosion after another."""
    cross = ndimage.generate_binary_structure(pair.pred.ndim, 1)
    error = np.where(pair.weight > 0, (pair.pred - pair.target) ** 2, 0)
    every = np.zeros_like(error)
    for k in range(1, erosions + 1):
        error = ndimage.convolve(error, cross / cross.sum(), mode="constant")
        error = np.maximum(error - 0.5, 0)
        if np.ptp(error) > 0:
            error = (error - error.min()) / np.ptp(error)
        every += k**alpha * error
    return mean(pair, every)


def skeleton(mask: np.ndarray, iterations: int) -> np.ndarray:
    """The algorithm of Shit et al. 2021 in the filters of scipy."""
    cross = ndimage.generate_binary_structure(mask.ndim, 1)
    whole = np.ones_like(cross)
    outside = {"mode": "constant"}

    def eroded(image: np.ndarray) -> np.ndarray:
        return ndimage.grey_erosion(image, footprint=cross, cval=np.inf, **outside)

    def without_opened(image: np.ndarray) -> np.ndarray:
        found = ndimage.grey_dilation(eroded(image), footprint=whole, cval=-np.inf, **outside)
        return np.maximum(image - found, 0)

    found = without_opened(mask)
    for _ in range(iterations):
        mask = eroded(mask)
        more = without_opened(mask)
        found = found + np.maximum(more - found * more, 0)
    return found


def settled(pair: Pair, value: float, smooth: bool) -> float:
    """LOSSES.md: without smoothing 1 where one mask is empty, undefined where both are."""
    some = [bool((side * pair.weight).sum()) for side in (pair.pred, pair.target)]
    if not (pair.weight > 0).any():
        return math.nan
    if smooth or all(some):
        return value
    return 1.0 if any(some) else math.nan


def soft_cldice(
    pair: Pair, iterations: int = 3, above: float = 0.0, below: float = 0.0, eps: float = 0.0
) -> float:
    p, y = (np.where(pair.weight > 0, side, 0) for side in (pair.pred, pair.target))
    shares = []
    for line, mask in ((skeleton(p, iterations), y), (skeleton(y, iterations), p)):
        top, bottom = (pair.weight * line * mask).sum() + above, (pair.weight * line).sum() + below
        shares.append(top / bottom if bottom else math.nan)
    both = sum(shares) + eps
    value = 1 - 2 * shares[0] * shares[1] / both if both else 1.0
    return settled(pair, value, bool(below))


def soft_cldice_in_monai(pair: Pair, iterations: int = 3, **smooth: float) -> float:
    how = {"smooth_nr": 0.0, "smooth_dr": 0.0, "smooth": 1e-300} | smooth
    sides = [torch.tensor(side * 1.0)[None, None] for side in (pair.pred, pair.target)]
    value = float(SoftclDiceLoss(iter_=iterations, **how)(*sides))
    lines = [skeleton(side * 1.0, iterations).sum() for side in (pair.pred, pair.target)]
    apart = all(lines) and math.isnan(value)  # 0/0: no skeleton touches the other mask
    return settled(pair, 1.0 if apart else value, bool(smooth))


def cldice(pair: Pair, threshold: float = 0.5) -> float:
    """Shit et al. 2021 with skeletons of scikit-image."""
    p, y = inside(pair, threshold)
    shares = []
    for line, mask in ((skeletonize(p) > 0, y), (skeletonize(y) > 0, p)):
        bottom = pair.weight[line].sum()
        shares.append(pair.weight[line & mask].sum() / bottom if bottom else math.nan)
    value = 1 - 2 * shares[0] * shares[1] / sum(shares) if sum(shares) else 1.0
    return settled(pair._replace(pred=p, target=y), value, smooth=False)


def betti_in_gudhi(pair: Pair, corners: bool = True, threshold: float = 0.5) -> float:
    """Pixels as closed boxes hold together across corners, pixels as points across faces."""
    numbers = []
    for mask in inside(pair, threshold):
        cells = {"top_dimensional_cells" if corners else "vertices": np.where(mask, 0.0, 1.0)}
        complex_ = CubicalComplex(**cells)
        complex_.compute_persistence()
        found = complex_.persistent_betti_numbers(0, 0.5)
        numbers.append(np.resize([*found, 0, 0, 0], 3) if mask.any() else np.zeros(3))
    return float(abs(numbers[0] - numbers[1]).sum()) if pair.weight.any() else math.nan


ONE = {"smooth_nr": 1.0, "smooth_dr": 1.0}
# Over pixels that all weigh the same.
PLAIN = [
    Row("hausdorff_dt", by_distance_in_monai, SINGLE),
    Row("hausdorff_dt(alpha=1.5)", partial(by_distance_in_monai, alpha=1.5), SINGLE),
    Row("soft_cldice", soft_cldice_in_monai),
    Row("soft_cldice(iterations=1)", partial(soft_cldice_in_monai, iterations=1)),
    Row("soft_cldice(smooth=1, eps=1e-4)", partial(soft_cldice_in_monai, **ONE, smooth=1e-4)),
    Row("soft_cldice(smooth_nr=2, smooth_dr=0.5)",
        partial(soft_cldice_in_monai, smooth_nr=2.0, smooth_dr=0.5)),
]  # fmt: skip
# With pixels that are ignored, and pixels that weigh more.
WEIGHTED = [
    Row("boundary", signed_distance),
    Row("hausdorff_dt", by_distance),
    Row("hausdorff_dt(alpha=0.5)", partial(by_distance, alpha=0.5)),
    Row("hausdorff_dt(threshold=0.3)", partial(by_distance, threshold=0.3)),
    Row("hausdorff_er", by_erosion),
    Row("hausdorff_er(alpha=1, erosions=3)", partial(by_erosion, alpha=1.0, erosions=3)),
    Row("soft_cldice", soft_cldice),
    Row("soft_cldice(iterations=5, smooth=1)",
        partial(soft_cldice, iterations=5, above=1.0, below=1.0)),
    Row("soft_cldice(smooth_nr=2, smooth_dr=0.5, eps=0.1)",
        partial(soft_cldice, above=2.0, below=0.5, eps=0.1)),
    Row("betti_error", betti_in_gudhi),
    Row("betti_error(connectivity=faces)", partial(betti_in_gudhi, corners=False)),
    Row("betti_error(threshold=0.3)", partial(betti_in_gudhi, threshold=0.3)),
]  # fmt: skip


# What thins masks takes no rows of pixels.
PLANES = [Row("cldice", cldice), Row("cldice(threshold=0.3)", partial(cldice, threshold=0.3))]


def spaced(spacing: Sequence[float]) -> list[Row]:
    given = f"spacing=[{', '.join(map(str, spacing))}]"
    return [
        Row(f"boundary({given})", partial(signed_distance, spacing=spacing)),
        Row(f"hausdorff_dt({given})", partial(by_distance, spacing=spacing)),
    ]


# --- samples --------------------------------------------------------------------------------------

SPACES = [(13, 17), (7, 6, 8), (1, 9), (24,)]


def masks(space: tuple[int, ...], seed: int = 0) -> Iterator[np.ndarray]:
    """Blobs, thin lines, noise, a box at the border, a single pixel, all and none."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=space), 1.5)
    yield smooth > np.quantile(smooth, 0.7)
    lines = np.zeros(space, bool)
    lines[tuple(size // 3 for size in space[:-1])] = True
    lines[..., space[-1] // 2] = True
    yield lines
    yield rng.random(space) < 0.4
    corner = np.zeros(space, bool)
    corner[tuple(slice(size // 2) for size in space)] = True
    yield corner
    single = np.zeros(space, bool)
    single[tuple(size // 2 for size in space)] = True
    yield single
    yield np.ones(space, bool)
    yield np.zeros(space, bool)


def pairs(space: tuple[int, ...], weighted: bool, hard: bool = False) -> list[Pair]:
    """Every kind of mask against every other; with weights against three kinds."""
    rng = np.random.default_rng(5)
    found = []
    for (i, pred), (j, target) in product(enumerate(masks(space)), enumerate(masks(space, seed=1))):
        if weighted and (i - j) % 7 > 2:
            continue
        soft = np.clip(0.8 * pred + rng.uniform(-0.1, 0.4, space) * (pred.any()), 0, 1)
        weight = rng.integers(0, 4, space) if weighted else np.ones(space)
        p = pred * 1.0 if hard else soft
        y = np.where(weight > 0, target, 0) * 1.0
        found.append(Pair(np.where(weight > 0, p, 0), y, weight * 1.0))
    if weighted:
        found.append(found[0]._replace(weight=np.zeros(space)))
    return found


BINARY = {"task": "binary", "pred_encoding": "probability", "gt_encoding": "mask"}


def check(rows: list[Row], samples: list[Pair]) -> None:
    result = lossbench.evaluate(
        [pair.pred for pair in samples],
        [pair.target.astype(np.uint8) for pair in samples],
        [row.loss for row in rows],
        inputs={"weight": [pair.weight for pair in samples]},
        **BINARY,
    )
    assert not result.failed
    for row in rows:
        wanted = [row.reference(pair) for pair in samples]
        assert not np.isnan(wanted).all()
        check_close(result.values[row.loss].samples, wanted, row.tolerance, row.loss)
        assert math.isnan(result.values[row.loss].pooled)


@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
@pytest.mark.parametrize("space", SPACES[:2], ids=str)
def test_values_equal_monai(space, hard):
    check(PLAIN, pairs(space, weighted=False, hard=hard))


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_values_equal_their_definition(space, weighted):
    rows = WEIGHTED + spaced((0.7, 2.5, 1.3)[: len(space)]) + PLANES * (len(space) > 1)
    check(rows, pairs(space, weighted))


def test_every_loss_and_option_has_a_reference():
    rows = [*PLAIN, *WEIGHTED, *PLANES, *spaced([1.0])]
    for name in OWN:
        tried = " ".join(row.loss for row in rows if row.loss.partition("(")[0] == name)
        common = {"class_reduction", "class_weights", "background", "absent", "exponent", "empty"}
        common |= {"weight_map"}
        assert tried, name
        wanted = ENTRIES[name].options.keys() - common
        if name == "boundary":  # test_the_edge_of_a_soft_target_is_at_the_threshold
            wanted -= {"threshold"}
        assert all(f"{option}=" in tried for option in wanted), name


@pytest.mark.parametrize("connectivity", ["corners", "faces"])
@pytest.mark.parametrize("space", SPACES[:2], ids=str)
def test_the_euler_characteristic_is_that_of_scikit_image(space, connectivity):
    for seed, share in product(range(5), (0.2, 0.5, 0.8)):
        mask = np.pad(np.random.default_rng(seed).random(space) < share, 1)
        reach = mask.ndim if connectivity == "corners" else 1
        assert euler(mask, connectivity) == measure.euler_number(mask, connectivity=reach)


def one(pred: Any, target: Any, loss: str, **settings: Any) -> float:
    result = lossbench.evaluate([np.asarray(pred)], [np.asarray(target)], loss, **settings)
    assert not result.failed
    return result.values[loss].samples[0]


def test_parts_and_holes_by_hand():
    """A ring against a disc lacks a hole; two pixels at a corner are one part, or two."""
    disc = np.zeros((7, 7), np.uint8)
    disc[1:6, 1:6] = 1
    ring = disc.copy()
    ring[3, 3] = 0
    hard = {"task": "binary", "pred_encoding": "mask"}
    assert one(ring, disc, "betti_error", **hard) == 1
    bay = disc.copy()
    bay[0, 3] = bay[1, 3] = bay[2, 3] = bay[3, 3] = 0
    assert one(bay, disc, "betti_error", **hard) == 0
    assert one([[1, 0], [0, 1]], [[1, 1], [0, 1]], "betti_error", **hard) == 0
    assert one([[1, 0], [0, 1]], [[1, 1], [0, 1]], "betti_error(connectivity=faces)", **hard) == 1
    shell = np.pad(np.ones((3, 3, 3), np.uint8), 1)
    hollow = shell.copy()
    hollow[2, 2, 2] = 0
    assert one(hollow, shell, "betti_error", **hard) == 1  # a cavity
    hollow[:, 2, 2] = 0
    assert one(hollow, shell, "betti_error", **hard) == 1  # a tunnel


def test_centre_lines_by_hand():
    """Of a line of six pixels a line of three is half: P = 1, S = ½, 1 − 2·½/(3/2) = ⅓."""
    line = np.zeros((5, 8), np.uint8)
    line[2, 1:7] = 1
    half = line.copy()
    half[:, :4] = 0
    hard = {"task": "binary", "pred_encoding": "mask"}
    assert one(half, line, "cldice", **hard) == pytest.approx(1 / 3)
    assert one(line, line, "cldice", **hard) == 0
    assert one(np.roll(line, 1, 0), line, "cldice", **hard) == 1


def test_without_scikit_image_a_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.morphology", None)
    with pytest.raises(lossbench.SettingError, match=r"pip install 'lossbench\[topology\]'"):
        one([[1, 0]], [[1, 0]], "cldice", task="binary")


def test_masks_in_a_row_are_not_thinned():
    result = lossbench.evaluate([np.ones(5)], [np.ones(5)], "cldice", **BINARY)
    assert "cldice supports 2 or 3" in result.failed[0].message


def test_boundary_by_hand():
    """φ of [0, 1, 1, 1, 0] is [1, 0, −1, 0, 1]."""
    target = [[0, 1, 1, 1, 0]]
    assert one([[1.0, 0, 0, 0, 0]], target, "boundary", **BINARY) == pytest.approx(1 / 5)
    assert one([[0.0, 0, 1, 0, 0]], target, "boundary", **BINARY) == pytest.approx(-1 / 5)
    twice = "boundary(spacing=[1, 2])"  # φ [2, −1, −3, −1, 2]: the 1 stays
    assert one([[1.0, 0, 1, 0, 0]], target, twice, **BINARY) == pytest.approx((2 - 3) / 5)


def test_the_edge_of_a_soft_target_is_at_the_threshold():
    """φ of [0, 1, 1, 1, 0] again, where 0.3 is inside."""
    how = BINARY | {"gt_encoding": "probability"}
    pred, target = [[0.0, 0, 1, 0, 0]], [[0.2, 0.3, 0.9, 0.3, 0.2]]
    assert one(pred, target, "boundary(threshold=0.3)", **how) == pytest.approx(-1 / 5)
    assert one(pred, target, "boundary", **how) == 0
    assert one(pred, target, "boundary", **how, threshold=0.3) == pytest.approx(-1 / 5)


# --- classes --------------------------------------------------------------------------------------


def several(loss: str, pred: np.ndarray, labels: np.ndarray, **settings: Any) -> Any:
    how = {"task": "multiclass", "pred_encoding": "probability", "gt_encoding": "labels"}
    result = lossbench.evaluate([pred], [labels], loss, **how, **settings)
    assert not result.failed
    return result.values[loss]


def stacks(space: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of four classes that are often right, and labels of the first three."""
    rng = np.random.default_rng(2)
    smooth = ndimage.gaussian_filter(rng.normal(size=(3, *space)), [0, *[1.5] * len(space)])
    labels = smooth.argmax(0)
    pred = rng.random((4, *space)) + 2 * (labels == np.arange(4).reshape(-1, *[1] * len(space)))
    return pred / pred.sum(0), labels.astype(np.uint8)


@pytest.mark.parametrize("row", [row for row in WEIGHTED + PLANES if "threshold" not in row.loss],
                         ids=lambda row: row.loss)  # fmt: skip
@pytest.mark.parametrize("space", SPACES[:2], ids=str)
def test_each_class_is_a_mask_and_the_background_is_left_out(space, row):
    """Hard masks are of the most likely class; distance maps of p ≥ ½, as MONAI's."""
    pred, labels = stacks(space)
    found = several(row.loss, pred, labels)
    hard = pred.argmax(0)
    wanted = []
    for each, soft in enumerate(pred):
        p = (hard == each) * 1.0 if row.loss.startswith(("betti", "cldice")) else soft
        wanted.append(row.reference(Pair(p, (labels == each) * 1.0, np.ones(space))))
    check_close(np.ravel(found.classes), wanted, REFERENCE)
    check_close(found.samples[0], np.nanmean(wanted[1:]), REFERENCE)
    name, _, rest = row.loss.partition("(")
    with_all = f"{name}(background=true{', ' + rest if rest else ')'}"
    check_close(several(with_all, pred, labels).samples[0], np.nanmean(wanted), REFERENCE)


def test_labels_of_several_take_part_whole():
    """A multilabel task has no background among its classes."""
    rng = np.random.default_rng(3)
    pred, target = rng.random((2, 9, 11)), (rng.random((2, 9, 11)) < 0.4).astype(np.uint8)
    how = {"task": "multilabel", "pred_encoding": "probability"}
    result = lossbench.evaluate([pred], [target], "hausdorff_dt", **how)
    values = result.values["hausdorff_dt"]
    ones = np.ones((9, 11))
    wanted = [by_distance(Pair(p, y, ones)) for p, y in zip(pred, target, strict=True)]
    check_close(np.ravel(values.classes), wanted, REFERENCE)
    check_close(values.samples[0], np.mean(wanted), REFERENCE)


def test_the_background_is_an_option_of_multiclass_tasks():
    with pytest.raises(lossbench.SettingError, match="background is an option of multiclass"):
        one([[1.0, 0.0]], [[1, 0]], "boundary(background=true)", **BINARY)


def test_explain_tells_that_the_background_is_left_out(lossbench_command: Command):
    for name in OWN:
        assert "background=false" in lossbench_command("explain", name).stdout
    assert "background=true" in lossbench_command("explain", "dice").stdout


# --- what is refused, and gradients ---------------------------------------------------------------


def test_a_spacing_needs_a_number_for_each_axis():
    square, cube = np.eye(4), np.zeros((4, 4, 4))
    losses = ["boundary(spacing=[1, 2])", "hausdorff(spacing=[1, 2])", "dice"]
    targets = [side.astype(np.uint8) for side in (square, cube)]
    result = lossbench.evaluate([square, cube], targets, losses, **BINARY)
    assert result.ids == ["000000", "000001"]  # the second with dice alone
    assert "has 3 axes, but spacing has 2 numbers" in result.failed[0].message


def test_holes_of_four_axes_are_refused():
    result = lossbench.evaluate([np.zeros((2,) * 4)], [np.zeros((2,) * 4)], "betti_error", **BINARY)
    assert "betti_error supports up to 3" in result.failed[0].message


@pytest.mark.parametrize("name", ["boundary", "hausdorff_dt", "hausdorff_er", "soft_cldice"])
def test_gradients_are_those_of_finite_differences(name):
    assert all(each.passed for each in lossbench.gradcheck(name, task="binary"))


@pytest.mark.parametrize("name", ["betti_error", "cldice"])
def test_hard_masks_have_no_gradient(name):
    with pytest.raises(lossbench.SettingError, match=f"{name} has no gradient"):
        lossbench.gradcheck(name)


@pytest.mark.parametrize("name", sorted(OWN))
def test_volumes_train_as_pictures_do(name):
    """(B, C, D, H, W) tensors against the arrays of a run."""
    pred, labels = stacks((5, 6, 7))
    found = lossbench.loss(name)(torch.tensor(pred)[None], torch.tensor(labels.astype(int))[None])
    check_close(found, several(name, pred, labels).samples, REFERENCE)
