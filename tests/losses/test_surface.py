"""Surface distances and scores against MONAI, MedPy, surface-distance and scipy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from helpers.option_values import ENTRIES
from helpers.parity import parity, parity_module
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import directed_hausdorff

import lossbench
from lossbench.geometry import surface_points

SURFACE = [name for name, entry in ENTRIES.items() if entry.module.endswith(".surface")]
Mask = np.ndarray
Spacing = Sequence[float]
TOLERANCE = 1.37


class Row(NamedTuple):
    """Options, what they give for two masks that are not empty, and who says so."""

    options: str
    reference: Callable[[Mask, Mask, Spacing], float]
    source: str


def tensors(*masks: Mask) -> list[torch.Tensor]:
    """As MONAI takes them: (1, 1, *space)."""
    return [torch.tensor(mask, dtype=torch.float64)[None, None] for mask in masks]


def by_monai(name: str, *between: Any, **how: Any) -> Callable[..., float]:
    function = parity("monai.metrics", name)

    def measure(pred: Mask, target: Mask, spacing: Spacing) -> float:
        how_far = function(
            *tensors(pred, target), *between, include_background=True, spacing=spacing, **how
        )
        return float(how_far)

    return measure


def by_google(name: str, *how: Any) -> Callable[..., float]:
    """DeepMind's surface-distance; of two numbers the mean."""

    def measure(pred: Mask, target: Mask, spacing: Spacing) -> float:
        package = parity_module("surface_distance")
        distances = package.compute_surface_distances(target, pred, spacing)
        return float(np.mean(getattr(package, name)(distances, *how)))

    return measure


def by_medpy(name: str) -> Callable[..., float]:
    function = parity("medpy.metric.binary", name)
    return lambda pred, target, spacing: float(function(pred, target, spacing))


def surface_by_scipy(mask: Mask, footprint: Mask | None = None) -> Mask:
    """A mask without its erosion; outside of the image is outside."""
    return mask & ~ndimage.binary_erosion(mask, footprint)


def contour_distance(pred: Mask, target: Mask, spacing: Spacing) -> float:
    """With an 8- or 26-neighbourhood, by all pairs of points."""
    full = np.ones((3,) * pred.ndim, bool)
    return of_points(*(surface_by_scipy(mask, full) for mask in (pred, target)), spacing)


def of_points(ours: Mask, theirs: Mask, spacing: Spacing) -> float:
    points = [np.argwhere(mask) * np.array(spacing) for mask in (ours, theirs)]
    return max(directed_hausdorff(*points)[0], directed_hausdorff(*points[::-1])[0])


def directed_mean(pred: Mask, target: Mask, spacing: Spacing) -> float:
    return by_medpy("asd")(pred, target, spacing)


def mean_of_means(pred: Mask, target: Mask, spacing: Spacing) -> float:
    asd = by_medpy("asd")
    return (asd(pred, target, spacing) + asd(target, pred, spacing)) / 2


def rule_of_cheng(width: float) -> Callable[..., float]:
    """Bands by a distance map of the whole image, its edge outside."""

    def measure(pred: Mask, target: Mask, spacing: Spacing) -> float:
        bands = []
        for mask in (pred, target):
            far = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)
            bands.append(mask & (far[(slice(1, -1),) * mask.ndim] <= width * (1 + 1e-9)))
        either = (bands[0] | bands[1]).sum()
        return (bands[0] & bands[1]).sum() / either if either else math.nan

    return measure


def usual_band(pred: Mask, target: Mask, spacing: Spacing) -> float:
    """Cheng et al.: 2 % of the diagonal, rounded to at least a pixel in a plane without spacing."""
    width = 0.02 * math.sqrt(sum((n * s) ** 2 for n, s in zip(pred.shape, spacing, strict=True)))
    if pred.ndim == 2 and set(spacing) == {1.0}:
        width = max(1, round(width))
    return rule_of_cheng(width)(pred, target, spacing)


def chessboard_band(pred: Mask, target: Mask, spacing: Spacing) -> float:
    """boundary-iou-api: so many erosions with a 3×3 square."""
    full = np.ones((3,) * pred.ndim, bool)
    bands = [mask & ~ndimage.binary_erosion(mask, full, 2) for mask in (pred, target)]
    return (bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum()


HD = "compute_hausdorff_distance"
ROWS: dict[str, list[Row]] = {
    "hausdorff": [
        Row("", by_monai(HD), "MONAI"),
        Row("", by_medpy("hd"), "MedPy"),
        Row("directed=true", by_monai(HD, directed=True), "MONAI"),
        Row("percentile=80", by_monai(HD, percentile=80), "MONAI"),
        Row("surface=contour", contour_distance, "scipy"),
        Row("surface=mask", of_points, "scipy's directed_hausdorff of all mask pixels"),
        Row(
            "surface=subpixel, rule=weighted, percentile=80",
            by_google("compute_robust_hausdorff", 80),
            "surface-distance",
        ),
        Row("percentile=95, pooled=true", by_medpy("hd95"), "MedPy"),
    ],
    "hd95": [
        Row("", by_monai(HD, percentile=95), "MONAI"),
        Row("directed=true", by_monai(HD, percentile=95, directed=True), "MONAI"),
        Row("pooled=true", by_medpy("hd95"), "MedPy"),
        Row(
            "surface=subpixel, rule=weighted",
            by_google("compute_robust_hausdorff", 95),
            "surface-distance",
        ),
    ],
    "assd": [
        Row("", by_monai("compute_average_surface_distance", symmetric=True), "MONAI"),
        Row("", by_medpy("assd"), "MedPy"),
    ],
    "masd": [
        Row("", mean_of_means, "MedPy's asd both ways"),
        Row("directed=true", directed_mean, "MedPy's asd"),
        Row("directed=true", by_monai("compute_average_surface_distance"), "MONAI"),
        Row(
            "surface=subpixel",
            by_google("compute_average_surface_distance"),
            "surface-distance",
        ),
    ],
    "nsd": [
        Row("tolerance=1.37", by_monai("compute_surface_dice", [TOLERANCE]), "MONAI"),
        Row(
            "surface=subpixel, tolerance=1.37",
            by_google("compute_surface_dice_at_tolerance", TOLERANCE),
            "surface-distance",
        ),
    ],
    "boundary_iou": [
        Row("", usual_band, "scipy's distance map"),
        Row("dilation=2.3", rule_of_cheng(2.3), "scipy's distance map"),
        Row("dilation=2, distance=chessboard", chessboard_band, "scipy's erosions"),
    ],
}


def blob(shape: Sequence[int], smooth: float, share: float, seed: int) -> Mask:
    """Noise, smoothed and cut off."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), smooth)
    return field > np.quantile(field, 1 - share)


def thin(shape: Sequence[int]) -> Mask:
    """Two crossing lines, one pixel wide."""
    mask = np.zeros(shape, bool)
    mask[(shape[0] // 2, slice(1, -1), *[shape[axis] // 2 for axis in range(2, len(shape))])] = True
    mask[(slice(2, -2), *[size // 3 for size in shape[1:]])] = True
    return mask


def single(shape: Sequence[int], place: float) -> Mask:
    mask = np.zeros(shape, bool)
    mask[tuple(int(place * (size - 1)) for size in shape)] = True
    return mask


def half(shape: Sequence[int], cut: float) -> Mask:
    """Up to the image's border, on three or five sides of it."""
    mask = np.zeros(shape, bool)
    mask[: int(cut * shape[0])] = True
    return mask


def scenes(shape: Sequence[int]) -> Mapping[str, tuple[Mask, Mask]]:
    full = np.ones(shape, bool)
    smooth, rough = blob(shape, 2, 0.3, 1), blob(shape, 0.6, 0.2, 2)
    return {
        "blobs": (smooth, blob(shape, 2, 0.35, 3)),
        "rough": (rough, smooth),
        "moved": (np.roll(smooth, 1, 0), smooth),
        "thin": (thin(shape), np.roll(thin(shape), 2, 1)),
        "touching": (half(shape, 0.5), ~half(shape, 0.5)),
        "border": (half(shape, 0.4), half(shape, 0.7)),
        "single": (single(shape, 0.1), single(shape, 0.9)),
        "corner": (single(shape, 0), smooth),
        "full": (full, smooth),
        "same": (rough, rough),
        "both full": (full, full),
    }


SPACES = {
    "plane": ((23, 30), (1.0, 1.0)),
    "stretched plane": ((23, 30), (0.7, 2.3)),
    "volume": ((9, 12, 15), (1.0, 1.0, 1.0)),
    "stretched volume": ((9, 12, 15), (3.3, 0.586, 0.586)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", ROWS)
def test_a_measure_is_that_of_its_reference(name, space):
    shape, spacing = SPACES[space]
    pairs = scenes(shape)
    given = "" if set(spacing) == {1.0} else f"spacing=[{','.join(map(str, spacing))}]"
    losses = [f"m{n}={name}({', '.join(filter(None, (given, row.options)))})"
              for n, row in enumerate(ROWS[name])]  # fmt: skip
    sides = [[pair[side].astype(np.uint8) for pair in pairs.values()] for side in (0, 1)]
    result = lossbench.evaluate(*sides, losses, task="binary")
    assert not result.failed
    for number, row in enumerate(ROWS[name]):
        for scene, found in zip(pairs, result.values[f"m{number}"].samples, strict=True):
            expected = row.reference(*pairs[scene], spacing)
            told = f"{scene}, {row.options or 'as it is'}, by {row.source}"
            wanted = pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True)
            assert found == wanted, told


def test_every_option_of_a_measure_has_a_reference():
    common = {"spacing", "threshold", "one_empty", "both_empty", "empty", "background",
              "class_weights", "class_reduction", "absent", "exponent"}  # fmt: skip
    for name in SURFACE:
        tried = {part.partition("=")[0].strip() for row in ROWS[name]
                 for part in row.options.split(",") if part}  # fmt: skip
        assert set(ENTRIES[name].options) - common - tried <= {"surface", "rule"}, name


# CONVENTIONS.md, section "Values to test against".
VECTORS = {
    "V1": ([[1, 0], [0, 1]], [[1, 0], [1, 1]], {
        "hausdorff": 1, "hd95": 0.9, "hd95(pooled=true)": 0.8,
        "hd95(surface=subpixel, rule=weighted)": 1.0, "assd": 0.2, "masd": 0.166667, "nsd": 1,
        "nsd(tolerance=0.5)": 0.8,
    }),
    "V3": (..., ..., {
        "hausdorff": 11.313708, "hd95": 6.788225, "hd95(pooled=true)": 2.262742,
        "hd95(surface=subpixel, rule=weighted)": 11.313708,
    }),
    "V4": (..., ..., {"hausdorff": 1.414214, "assd": 1.10355, "masd": 1.06904, "nsd": 0.75}),
}  # fmt: skip


def square(*places: tuple[int, int]) -> list[list[int]]:
    """14×14 zeros with squares of ones, each from one place to before another."""
    mask = np.zeros((14, 14), int)
    for start, end in places:
        mask[start:end, start:end] = 1
    return mask.tolist()


@pytest.mark.parametrize("vector", VECTORS)
def test_vectors_of_the_conventions(vector):
    pred, target, expected = VECTORS[vector]
    if vector == "V3":
        pred, target = square((9, 12)), square((1, 2), (9, 12))
    if vector == "V4":
        pred, target = square((6, 8)), square((5, 9))
    result = lossbench.evaluate(
        [np.array(pred, np.uint8)], [np.array(target, np.uint8)], list(expected), task="binary"
    )
    found = {name: values.samples[0] for name, values in result.values.items()}
    assert found == {name: pytest.approx(value, abs=1e-5) for name, value in expected.items()}


@pytest.mark.parametrize("axes", [2, 3])
@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_pieces_of_a_surface_are_as_large_as_those_of_surface_distance(axes, data):
    spacing = tuple(data.draw(st.floats(0.1, 10)) for _ in range(axes))
    table = surface_points.areas(spacing)
    lookup_tables = parity_module("surface_distance.lookup_tables")
    kernel, make = {
        2: (lookup_tables.ENCODE_NEIGHBOURHOOD_2D_KERNEL,
            lookup_tables.create_table_neighbour_code_to_contour_length),
        3: (lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL,
            lookup_tables.create_table_neighbour_code_to_surface_area),
    }[axes]  # fmt: skip
    theirs = make(spacing)
    bits = kernel.reshape(-1)  # the bit that each corner has there, in the order of ours
    for code in range(len(table)):
        other = sum(int(bit) for place, bit in enumerate(bits) if code >> place & 1)
        assert table[code] == pytest.approx(theirs[other], rel=1e-12)


EMPTY, SOME = np.zeros((6, 8), np.uint8), np.pad(np.ones((2, 2), np.uint8), ((1, 3), (2, 4)))


def only(loss: str, pred: Any, target: Any, **how: Any) -> float:
    """The value of one pair."""
    result = lossbench.evaluate([pred], [target], f"it={loss}", **{"task": "binary", **how})
    assert not result.failed
    return float(result.values["it"].samples[0])


def test_a_small_volume_has_no_band_of_two_percent():
    """LOSSES.md: 0.02·diagonal, unrounded in 3-D; 0.83 voxels here. One mask empty is still 0."""
    some = np.zeros((24, 24, 24), np.uint8)
    some[4:12, 4:12, 4:12] = 1
    assert math.isnan(only("boundary_iou", some, some))
    assert only("boundary_iou", np.zeros_like(some), some) == 0
    assert only("boundary_iou(spacing=[0.5, 1, 1])", some, some) == 1  # 0.72 along the first axis


@pytest.mark.parametrize("axes", [2, 3])
@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 999), size=st.integers(3, 9), spaced=st.booleans())
def test_a_few_points_that_are_far_are_as_far_as_in_a_distance_map(axes, seed, size, spaced):
    """Where one object is missed: the surface points that could be the nearest ones are chosen."""
    random = np.random.default_rng(seed)
    shape = random.integers(60, 140, 2) if axes == 2 else random.integers(24, 40, 3)
    spacing = tuple(random.uniform(0.3, 3, axes)) if spaced else (1.0,) * axes
    theirs = blob(shape, 1.2, 0.5, seed)
    ours, (*start,) = theirs.copy(), random.integers(0, shape - size)
    ours[tuple(slice(at, at + size) for at in start)] ^= True
    first, second = (
        surface_points.Outline.of(surface_points.by_face(box))
        for box in surface_points.crop_to_box(ours, theirs)
    )
    for one, other in ((first, second), (second, first)):
        expected = ndimage.distance_transform_edt(~other.on, sampling=spacing)[one.on]
        found = surface_points.distances(one, other, spacing)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("name", SURFACE)
def test_an_empty_mask(name):
    """LOSSES.md: one empty is infinitely far, or a score of 0; both empty is undefined."""
    worst = math.inf if ENTRIES[name].better == "lower" else 0.0
    assert only(name, EMPTY, SOME) == only(name, SOME, EMPTY) == worst
    assert math.isnan(only(name, EMPTY, EMPTY))
    assert only(f"{name}(empty=0)", EMPTY, EMPTY) == 0


@pytest.mark.parametrize("name", [n for n in SURFACE if "one_empty" in ENTRIES[n].options])
def test_a_distance_for_an_empty_mask(name):
    """BraTS takes the image's diagonal: 10 for 6×8, and √(18² + 16²) with spacing."""
    for pred, target in ((EMPTY, SOME), (SOME, EMPTY)):
        assert only(f"{name}(one_empty=373.13)", pred, target) == pytest.approx(373.13, rel=1e-12)
        assert only(f"{name}(one_empty=diagonal)", pred, target) == pytest.approx(10)
        stretched = only(f"{name}(one_empty=diagonal, spacing=[3, 2])", pred, target)
        assert stretched == pytest.approx(math.hypot(18, 16))
        assert math.isnan(only(f"{name}(one_empty=undefined)", pred, target))
    if "directed" in ENTRIES[name].options:
        assert only(f"{name}(directed=true)", EMPTY, SOME) == math.inf
    for word, expected in (("3.5", 3.5), ("infinite", math.inf)):
        assert only(f"{name}(both_empty={word})", EMPTY, EMPTY) == expected
        assert only(f"{name}(both_empty={word})", SOME, SOME) == 0


def test_a_missed_object_never_improves_a_mean_and_fails_a_gate():
    near = np.roll(SOME, 1, 1)
    result = lossbench.evaluate(
        [near, EMPTY, EMPTY], [SOME, SOME, EMPTY], "hd95", task="binary",
        gates=["hd95.mean <= 100", "hd95.median <= 100", "hd95.undefined == 1"],
    )  # fmt: skip
    aggregate = result.as_json()["aggregate"]["hd95"]
    assert (aggregate["mean"], aggregate["max"]) == ("Infinity", "Infinity")
    assert (aggregate["infinite"], aggregate["undefined"], aggregate["count"]) == (1, 1, 2)
    assert [decision.passed for decision in result.decisions] == [False, False, True]


def test_ignored_pixels_are_background_in_both_masks():
    pred, target = blob((20, 24), 1.5, 0.4, 5), blob((20, 24), 1.5, 0.4, 6)
    void = blob((20, 24), 2, 0.2, 7)
    marked = np.where(void, 255, target).astype(np.uint8)
    names = ["hausdorff", "hd95", "assd", "masd", "nsd", "boundary_iou"]
    result = lossbench.evaluate(
        [pred.astype(np.uint8)], [marked], names, task="binary", ignore="255", gt_encoding="mask"
    )
    cut = lossbench.evaluate(
        [(pred & ~void).astype(np.uint8)], [(target & ~void).astype(np.uint8)], names, task="binary"
    )
    for name in names:
        assert result.values[name].samples == cut.values[name].samples


def test_classes_are_measured_one_by_one_and_the_background_does_not_count():
    labels = np.random.default_rng(0).integers(0, 4, (2, 3, 3))
    pred, target = (np.kron(each, np.ones((5, 5), int)).astype(np.uint8) for each in labels)
    for name in SURFACE:
        result = lossbench.evaluate([pred], [target], name, task="multiclass", classes=4)
        of_class = [only(name, *((x == c).astype(np.uint8) for x in (pred, target)))
                    for c in range(4)]  # fmt: skip
        found = [row[0] for row in result.values[name].classes]
        assert found == pytest.approx(of_class, nan_ok=True)
        assert result.values[name].samples[0] == pytest.approx(np.nanmean(of_class[1:]))
        stacks = [np.stack([x == c for c in range(1, 4)]).astype(np.uint8) for x in (pred, target)]
        several = lossbench.evaluate(*([x] for x in stacks), name, task="multilabel")
        assert several.values[name].samples == pytest.approx(result.values[name].samples)


def test_probabilities_are_cut_at_the_threshold_and_logits_at_its_logit():
    random = np.random.default_rng(3)
    chance = ndimage.gaussian_filter(random.random((30, 30)), 2)
    chance = (chance - chance.min()) / np.ptp(chance)
    target = blob((30, 30), 2, 0.3, 4).astype(np.uint8)
    for threshold in (0.3, 0.5, 0.7):
        hard = only("hd95", (chance >= threshold).astype(np.uint8), target)
        assert only("hd95", chance, target, threshold=threshold) == hard
        assert only(f"hd95(threshold={threshold})", chance, target) == hard
        logits = np.log(chance + 1e-12) - np.log(1 - chance + 1e-12)
        how = {"threshold": threshold, "pred_encoding": "logits"}
        assert only("hd95", logits, target, **how) == hard
    both = lossbench.evaluate(
        [chance], [target], ["hausdorff(threshold=0.3)", "hausdorff(threshold=0.7)"], task="binary"
    )
    assert both.values["hausdorff(threshold=0.3)"].samples == [
        only("hausdorff", (chance >= 0.3).astype(np.uint8), target)
    ]  # two thresholds in one run do not share their masks


def test_pooled_values_are_those_of_all_surfaces_together():
    """Σd/Σn, close points over all points, and pixels of bands, over all samples."""
    pairs = [(blob((20, 20), 2, 0.3, n), blob((20, 20), 2, 0.3, n + 50)) for n in range(4)]
    sides = [[pair[side].astype(np.uint8) for pair in pairs] for side in (0, 1)]
    names = ["assd", "nsd(tolerance=2)", "boundary_iou(dilation=2)", "hd95"]
    result = lossbench.evaluate(*sides, names, task="binary")
    far: list[float] = []
    bands = np.zeros(2)
    for pred, target in pairs:
        surfaces = [surface_by_scipy(mask) for mask in (pred, target)]
        for one, other in (surfaces, surfaces[::-1]):
            far.extend(ndimage.distance_transform_edt(~other)[one])
        close = [mask & (ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] <= 2)
                 for mask in (pred, target)]  # fmt: skip
        bands += (close[0] & close[1]).sum(), (close[0] | close[1]).sum()
    assert result.values["assd"].pooled == pytest.approx(np.mean(far))
    assert result.values["nsd(tolerance=2)"].pooled == pytest.approx(np.mean(np.array(far) <= 2))
    assert result.values["boundary_iou(dilation=2)"].pooled == pytest.approx(bands[0] / bands[1])
    assert math.isnan(result.values["hd95"].pooled)


def test_other_losses_of_the_run_keep_their_tables():
    pred, target = ([blob((40, 40), 3, 0.3, n).astype(np.uint8)] for n in (1, 2))
    alone = lossbench.evaluate(pred, target, ["dice", "iou"], task="binary")
    both = lossbench.evaluate(pred, target, ["dice", "iou", *SURFACE], task="binary")
    for name in ("dice", "iou"):
        assert alone.values[name].samples == both.values[name].samples
    assert both.run["plan"]["counted"]


def test_batches_of_tensors_as_training_has_them():
    masks = [torch.tensor(np.stack([blob((16, 16), 2, 0.3, n + side) for n in range(3)]))
             for side in (0, 20)]  # fmt: skip
    pred, target = (mask[:, None].double() for mask in masks)
    for name in SURFACE:
        found = lossbench.loss(name)(pred, target)
        each = [only(name, *(mask[n].numpy().astype(np.uint8) for mask in masks)) for n in range(3)]
        assert found.tolist() == pytest.approx(each)


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        ("hd95(spacing=[1, 0])", "spacing is a list of numbers above 0 or none"),
        ("hausdorff(percentile=101)", "percentile is a number from 0 to 100"),
        ("nsd(tolerance=-1)", "tolerance is a number from 0"),
        ("hd95(one_empty=far)", "one_empty is a number from 0 or infinite, diagonal or undefined"),
    ],
)
def test_what_an_option_cannot_be(loss, told):
    with pytest.raises(lossbench.LossbenchError, match=told):
        only(loss, SOME, SOME)


def test_a_spacing_has_a_number_for_every_axis():
    result = lossbench.evaluate([SOME], [SOME], "hd95(spacing=[1, 1, 1])", task="binary")
    assert "has 2 axes, but spacing has 3 numbers" in result.failed[0].message


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), step=st.integers(0, 4), axes=st.sampled_from([2, 3]))
def test_laws(seed, step, axes):
    """Distances do not change when both masks swap, move or turn, and grow with the spacing."""
    shape = (17, 21) if axes == 2 else (8, 9, 11)
    pred, target = (np.pad(blob(shape, 1, 0.3, seed + n), 4) for n in (0, 1))
    names = ["hausdorff", "hd95", "assd", "masd", "nsd(tolerance=2)", "boundary_iou(dilation=2)"]
    doubled = f"spacing=[{','.join(['2'] * axes)}]"
    larger = [f"hausdorff({doubled})", f"assd({doubled})", f"nsd(tolerance=4, {doubled})",
              f"boundary_iou(dilation=4, {doubled})"]  # fmt: skip
    pairs = [(pred, target), (target, pred)]
    pairs += [tuple(np.roll(mask, step, 0) for mask in (pred, target))]
    pairs += [tuple(np.swapaxes(mask, 0, 1) for mask in (pred, target))]
    sides = [[pair[side].astype(np.uint8) for pair in pairs] for side in (0, 1)]
    found = lossbench.evaluate(*sides, [*names, *larger], task="binary").values
    for name in names:
        assert found[name].samples == pytest.approx([found[name].samples[0]] * 4, rel=1e-12), name
    first = {name: values.samples[0] for name, values in found.items()}
    assert first[larger[0]] == pytest.approx(2 * first["hausdorff"])
    assert first[larger[1]] == pytest.approx(2 * first["assd"])
    assert first[larger[2]] == first["nsd(tolerance=2)"]
    assert first[larger[3]] == first["boundary_iou(dilation=2)"]
    assert first["hd95"] <= first["hausdorff"]
