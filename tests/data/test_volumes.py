"""Volumes: NIfTI files and arrays of any dimension, read as they lie in space."""

from __future__ import annotations

import gzip
import itertools
import math
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from helpers.parity import parity
from helpers.paths import SAMPLES
from PIL import Image

import lossbench
from lossbench.data.formats import nifti
from lossbench.data.loading.sample import Pixels, make_sample
from lossbench.data.sources.read import read
from lossbench.data.sources.suffixes import split_ending
from lossbench.engine.compute.tensors import pixel_values
from lossbench.errors import InputError, SettingError
from lossbench.results.result import Result
from lossbench.runtime import fast_zlib, limits
from lossbench.runtime.fast_zlib import gunzip

RANDOM = np.random.default_rng(0)
SHAPE = (9, 8, 5)
STEPS = (0.8, 0.7, 3.0)
LABELS = RANDOM.integers(0, 3, SHAPE).astype(np.uint8)
FOUND = np.where(RANDOM.random(SHAPE) < 0.7, LABELS, RANDOM.integers(0, 3, SHAPE)).astype(np.uint8)
MASK, FOUND_MASK = (LABELS > 1).astype(np.uint8), (FOUND > 1).astype(np.uint8)
UNIT = RANDOM.random(SHAPE).astype(np.float32)
CLASSES = RANDOM.random((3, *SHAPE)).astype(np.float32)
SOFTMAX = CLASSES / CLASSES.sum(0)
SCAN = (40 * RANDOM.normal(300, 90, SHAPE)).round().astype(np.int16)
Volumes = Callable[..., Path]


def affine(steps: Any = STEPS, directions: Any = (-1, -1, 1)) -> np.ndarray:
    """An affine with its axes along those of the body."""
    return np.diag([*np.multiply(steps, directions), 1.0])


def image(array: np.ndarray, matrix: np.ndarray | None = None, kind: Any = nibabel.Nifti1Image):
    return kind(array, affine() if matrix is None else matrix, dtype=array.dtype)


def moved(*offset: float) -> np.ndarray:
    """The usual affine with its origin elsewhere, in mm."""
    matrix = affine()
    matrix[:3, 3] = offset
    return matrix


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    """Write a folder: id -> array or NIfTI image; arrays with the affine that is usual here."""

    def write(name: str, files: dict[str, Any], ending: str = ".nii.gz") -> Path:
        for file, given in files.items():
            path = tmp_path / name / f"{file}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if ending == ".npy":
                np.save(path, given)
            else:
                nibabel.save(image(given) if isinstance(given, np.ndarray) else given, path)
        return tmp_path / name

    return write


def samples(result: Result) -> dict[str, list[float]]:
    """Every number of a result that a sample has."""
    assert not result.failed, result.failed
    found = {name: values.samples for name, values in result.values.items()}
    return found | {
        f"{name}[{place}]": row
        for name, values in result.values.items()
        for place, row in enumerate(values.classes)
    }


def check_same(one: Result, other: Result, close: float = 0.0) -> None:
    ours, theirs = samples(one), samples(other)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], rtol=close, atol=close, err_msg=name)
        assert len(values) == len(one.ids)


def error_of(pred: Path, target: Path, **how: Any) -> str:
    """The message of the only pair that fails, of two."""
    result = lossbench.evaluate(pred, target, "dice", **how)
    assert result.ids == ["good"]
    (failed,) = result.failed
    assert result.exit_status == 3
    return failed.message


# Reading


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".NII", ".Nii.Gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_a_file_is_read_as_nibabel_reads_it(tmp_path, ending, kind):
    path = tmp_path / f"a{ending}"
    content = image(LABELS, kind=kind).to_bytes()
    path.write_bytes(gzip.compress(content) if ending.lower().endswith("gz") else content)
    picture = read(str(path))
    assert picture.array.dtype == np.uint8
    np.testing.assert_array_equal(picture.array, LABELS)
    assert picture.places == 3
    assert picture.grid is not None
    assert picture.grid.spacing == pytest.approx(STEPS, rel=1e-6)
    assert picture.grid.axes == "LPS"  # x falls from right to left, y from front to back


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", ">i2", ">f4", "float64", "int64"])
def test_numbers_stay_as_they_are_stored(tmp_path, dtype):
    path = tmp_path / "a.nii"
    kind = np.dtype(dtype)
    header = nibabel.Nifti1Header(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(kind)
    nibabel.Nifti1Image(LABELS.astype(kind), affine(), header).to_filename(path)
    found = read(str(path)).array
    assert found.dtype == kind.newbyteorder("=")
    np.testing.assert_array_equal(found, LABELS)


def test_a_big_endian_header_is_read_with_its_grid(tmp_path):
    path = tmp_path / "a.nii.gz"
    nibabel.Nifti1Image(LABELS, affine(), nibabel.Nifti1Header(endianness=">")).to_filename(path)
    assert gzip.decompress(path.read_bytes())[:4] == (348).to_bytes(4, "big")
    grid = read(str(path)).grid
    assert grid is not None
    assert grid.spacing == pytest.approx(STEPS, rel=1e-6)


@pytest.mark.parametrize(
    ("slope", "inter", "dtype", "expected"),
    [
        (1.0, 0.0, np.int16, LABELS),
        (0.0, 7.0, np.int16, LABELS),  # NIfTI-1: a slope of 0 means no scaling
        (math.nan, math.nan, np.int16, LABELS),
        (2.0, 0.0, np.float64, LABELS * 2.0),
        (1.0, -1.0, np.float64, LABELS - 1.0),
        (0.5, 0.25, np.float64, LABELS * 0.5 + 0.25),
    ],
)
def test_a_scaling_of_the_header_is_applied(tmp_path, slope, inter, dtype, expected):
    header = nibabel.Nifti1Header()
    header.set_data_shape(SHAPE)
    header.set_data_dtype(np.int16)
    header["scl_slope"], header["scl_inter"] = slope, inter
    header["magic"], header["vox_offset"] = b"n+1", 352
    path = tmp_path / "a.nii"
    path.write_bytes(header.binaryblock + bytes(4) + LABELS.astype("<i2").tobytes("F"))
    found = read(str(path)).array
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found, nibabel.load(path).get_fdata())


@pytest.mark.parametrize(
    ("unit", "factor"), [("mm", 1), ("unknown", 1), ("meter", 1000), ("micron", 0.001)]
)
def test_spacing_is_in_millimetres(tmp_path, unit, factor):
    scan = image(LABELS)
    scan.header.set_xyzt_units(unit)
    nibabel.save(scan, tmp_path / "a.nii")
    grid = read(str(tmp_path / "a.nii")).grid
    assert grid is not None
    assert grid.spacing == pytest.approx(np.multiply(STEPS, factor), rel=1e-6)


def test_a_header_without_spacing_or_orientation_has_none(tmp_path):
    scan = nibabel.Nifti1Image(LABELS, None)
    scan.header["pixdim"][1:4] = 0
    (tmp_path / "a.nii").write_bytes(scan.to_bytes())
    grid = read(str(tmp_path / "a.nii")).grid
    assert grid is not None
    assert (grid.spacing, grid.axes, grid.directions) == (None, "", None)


def test_an_sform_into_an_atlas_may_stretch(tmp_path):
    """Its spacing is pixdim's, its orientation sform's (NIfTI-1: codes 3 and 4)."""
    scan = image(LABELS, affine((0.9, 0.9, 3.1)))
    scan.set_sform(affine((0.9, 0.9, 3.1)), 4, update_affine=False)
    scan.header["pixdim"][1:4] = STEPS
    (tmp_path / "a.nii").write_bytes(scan.to_bytes())
    grid = read(str(tmp_path / "a.nii")).grid
    assert grid is not None
    assert (grid.spacing, grid.axes) == (pytest.approx(STEPS, rel=1e-6), "LPS")


def test_an_orientation_from_a_quaternion_is_that_of_nibabel(tmp_path):
    turn = nibabel.eulerangles.euler2mat(0.3, -0.2, 0.4)
    matrix = np.eye(4)
    matrix[:3, :3] = turn * STEPS
    scan = nibabel.Nifti1Image(LABELS, matrix)
    scan.set_qform(matrix, 1)
    scan.set_sform(None, 0)
    nibabel.save(scan, tmp_path / "a.nii")
    grid = read(str(tmp_path / "a.nii")).grid
    assert grid is not None
    np.testing.assert_allclose(grid.directions, turn, atol=1e-6)
    assert grid.axes == "".join(nibabel.aff2axcodes(matrix))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((9, 8, 5, 3), (3, 9, 8, 5)),
        ((9, 8, 5, 1), (9, 8, 5)),
        ((9, 8, 5, 1, 3), (3, 9, 8, 5)),  # vectors, as ITK writes them
        ((9, 8), (9, 8)),
        ((9, 8, 1), (9, 8)),  # an axis of one voxel is no axis of space
        ((1, 9, 8), (9, 8)),
        ((9, 8, 1, 2), (2, 9, 8)),
        ((1, 1, 8), (1, 8)),
    ],
)
def test_a_further_axis_comes_first(tmp_path, shape, expected):
    array = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii")
    picture = read(str(tmp_path / "a.nii"))
    classes = [n for n in shape[3:] if n > 1]
    kept = array.reshape(*expected[len(classes) :], *classes)
    kept = np.moveaxis(kept, -1, 0) if classes else kept
    assert picture.array.shape == expected
    np.testing.assert_array_equal(picture.array, kept)
    assert picture.grid is not None
    assert len(picture.grid.spacing or ()) == picture.places == len(expected) - len(classes)


def broken() -> dict[str, tuple[bytes, str]]:
    plain = image(LABELS).to_bytes()
    packed = gzip.compress(plain)
    claims = plain[:42] + (30000).to_bytes(2, "little") * 3 + plain[48:]  # dim
    inside = plain[:108] + np.float32(0).tobytes() + plain[112:]  # vox_offset
    pair = plain[:344] + b"ni1\0" + plain[348:]
    negative = bytearray(plain)
    negative[42:44] = (-9).to_bytes(2, "little", signed=True)
    colours = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    turned = nibabel.Nifti1Image(LABELS, affine())
    turned.header["pixdim"][1:4] = 1
    flat = plain[:312] + bytes(16) + plain[328:]  # srow_z
    return {
        "gzip cut": (packed[: len(packed) // 2], "ended before the end-of-stream marker"),
        "raw cut": (plain[:400], "is cut short: its header asks for 712 bytes, it has 400"),
        "header cut": (plain[:100], "is no NIfTI file"),
        "empty": (b"", "is no NIfTI file; it is empty"),
        "other": (b"x,y\n1,2\n" * 99, "is no NIfTI file"),
        "other in gzip": (gzip.compress(b"x,y\n" * 200), "is no NIfTI file"),
        "gzip spoilt": (packed[:40] + bytes(20) + packed[60:], "cannot be read: "),
        "claims": (claims, "is cut short: its header asks for 27,000,000,000,352 bytes"),
        "inside": (inside, "claims that its numbers begin at byte 0; it is damaged"),
        "half a pair": (pair, "is the header of a pair of files"),
        "negative": (bytes(negative), "claims to be -9×8×5; it is damaged"),
        "colours": (image(colours).to_bytes(), "expected numbers"),
        "complex": (image(LABELS * 1j).to_bytes(), "holds complex128, expected numbers"),
        "six axes": (image(LABELS[..., None, None] * np.ones((2, 2))).to_bytes(), "9×8×5×2×2"),
        "contradiction": (turned.to_bytes(), "pixdim says 1×1×1, sform 0.8×0.7×3"),
        "no direction": (flat, "without a direction for every axis"),
    }


@pytest.mark.parametrize("case", broken())
def test_a_damaged_file_is_one_sentence_about_that_pair(volumes, case):
    content, expected = broken()[case]
    pred = volumes("pred", {"bad": FOUND, "good": FOUND})
    target = volumes("gt", {"bad": LABELS, "good": LABELS})
    (pred / "bad.nii.gz").write_bytes(content)
    message = error_of(pred, target)
    assert message.startswith(f"{pred / 'bad.nii.gz'} ")
    assert expected in message
    assert "\n" not in message


def test_any_damaged_byte_of_a_header_is_an_error_or_a_volume(tmp_path):
    whole = image(LABELS).to_bytes()
    path = tmp_path / "a.nii"
    kept = 0
    for place, value in itertools.product(range(348), (0x00, 0x7F, 0xFF)):
        path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
        with suppress(InputError):  # and nothing else
            assert read(str(path)).array.size <= LABELS.size
            kept += 1
    assert 100 < kept < 1000


@pytest.mark.parametrize("package", fast_zlib.PACKAGES)
def test_every_package_unpacks_alike_and_says_what_the_standard_library_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    plain = image(LABELS).to_bytes()
    packed, path = gzip.compress(plain), tmp_path / "a.nii.gz"
    halves = gzip.compress(plain[:400]) + gzip.compress(plain[400:])
    for sound in (packed, halves, packed + bytes(7)):
        monkeypatch.setattr(fast_zlib, "zlib", pytest.importorskip(package))
        path.write_bytes(sound)
        np.testing.assert_array_equal(read(str(path)).array, LABELS)
    middle = len(packed) // 2
    damaged = [packed[:length] for length in (2, 9, 18, middle, -8, -1)]
    damaged += [packed[:-8] + bytes(4) + packed[-4:], packed[:-4] + bytes(4), packed + b"more"]
    damaged += [packed[:place] + bytes(9) + packed[place + 9 :] for place in (2, 20, middle)]
    for content in damaged:
        path.write_bytes(content)
        messages = []
        for name in ("zlib", package):
            monkeypatch.setattr(fast_zlib, "zlib", import_module(name))
            with pytest.raises(InputError) as refused:
                read(str(path))
            messages.append(str(refused.value))
        assert messages[0] == messages[1]


@pytest.mark.parametrize(("room", "times"), [(1 << 20, 1), (0, 2)])
def test_volumes_are_unpacked_once(volumes, monkeypatch, room, times):
    """What planning has read is kept for the run, within its room."""
    packed = []
    monkeypatch.setattr(nifti, "gunzip", lambda *file: packed.append(file) or gunzip(*file))
    monkeypatch.setattr("lossbench.data.sources.read.KEPT_BYTES", room)
    pred, target = (
        volumes(name, dict.fromkeys("abc", array))
        for name, array in (("pred", FOUND), ("gt", LABELS))
    )
    result = lossbench.evaluate(pred, target, "dice")
    assert len(packed) == 6 * times
    check_same(lossbench.evaluate(pred, target, "dice"), result)
    assert len(packed) == 12 * times


def test_a_file_that_changed_since_it_was_planned_is_read_again(volumes):
    pred, target = volumes("pred", {"a": FOUND}), volumes("gt", {"a": LABELS})
    run = lossbench.plan(pred, target, "dice")
    volumes("pred", {"a": LABELS})
    assert run.evaluate().values["dice"].samples == [0.0]


@pytest.mark.parametrize("package", fast_zlib.PACKAGES)
def test_every_package_keeps_to_the_greatest_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    packed, path = gzip.compress(bytes(1 << 20)), tmp_path / "a.nii.gz"
    monkeypatch.setattr(fast_zlib, "zlib", pytest.importorskip(package))
    monkeypatch.setattr(limits, "ALWAYS", 1000)
    monkeypatch.setattr(limits, "TIMES", 10)
    for content in (packed, packed[:-4] + bytes(4)):  # the other claims to be empty
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"unpacks to [\d,]+ bytes from 1,0\d\d;"):
            read(str(path))


def test_a_missing_nibabel_is_told_with_the_command(volumes, monkeypatch):
    pred, target = volumes("pred", {"a": FOUND}), volumes("gt", {"a": LABELS})
    for name in [name for name in sys.modules if name.partition(".")[0] == "nibabel"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(
        InputError, match=r"a\.nii\.gz is NIfTI.* pip install 'lossbench\[medical"
    ) as e:
        lossbench.plan(pred, target)
    assert "\n" not in str(e.value)


# Pairing


@pytest.mark.parametrize(
    ("name", "stem", "ending"),
    [
        ("a.nii.gz", "a", ".nii.gz"),
        ("x/a.b.NII.GZ", "x/a.b", ".NII.GZ"),
        ("a.nii", "a", ".nii"),
        ("a.tar.gz", "a.tar", ".gz"),
        ("a.png", "a", ".png"),
    ],
)
def test_a_double_ending_is_one(name, stem, ending):
    assert split_ending(name) == (stem, ending)


def test_ids_have_no_ending_and_patterns_may_have_one(volumes):
    target = volumes("gt", {"sub/a": LABELS, "b": LABELS})
    pred = volumes("pred", {"sub/a_seg": FOUND}) and volumes("pred", {"b_seg": FOUND}, ".nii")
    assert lossbench.evaluate(pred, target, pred_pattern="{id}_seg").ids == ["b", "sub/a"]
    one = lossbench.evaluate(pred, target, pred_pattern="{id}_seg.nii.gz", missing="skip")
    assert one.ids == ["sub/a"]
    with pytest.raises(InputError, match=r"--pred-pattern '\{id\}_seg'"):
        lossbench.plan(pred, target)


def test_two_endings_of_one_id_are_an_error(volumes):
    target = volumes("gt", {"bad": LABELS, "good": LABELS})
    pred = volumes("pred", {"bad": FOUND, "good": FOUND})
    volumes("pred", {"bad": FOUND}, ".nii")
    assert "have one id, 'bad'" in error_of(pred, target)


def test_a_manifest_names_volumes(volumes, tmp_path):
    volumes("gt", {"a": LABELS})
    volumes("pred", {"a": FOUND})
    table = tmp_path / "pairs.csv"
    table.write_text("pred,gt\npred/a.nii.gz,gt/a.nii.gz\n")
    assert lossbench.evaluate(manifest=table).ids == ["pred/a"]
    table.write_text("pred,gt,wieght\npred/a.nii.gz,gt/a.nii.gz,gt/a.nii.gz\n")
    with pytest.raises(InputError, match="did you mean 'weight'"):
        lossbench.plan(manifest=table)


# The reading plan


GAPS = np.array([0, 26, 41, 42, 43, 100], np.int16)[RANDOM.integers(0, 6, SHAPE)]


@pytest.mark.parametrize(
    ("pred", "target", "text"),
    [
        (FOUND, LABELS, "multiclass · pred: labels 0…2 · gt: labels 0…2 · 3 classes"),
        (
            FOUND.astype(np.float32),
            LABELS.astype(np.float64),
            "multiclass · pred: labels 0…2 · gt: labels 0…2 · 3 classes",
        ),
        (
            GAPS,
            GAPS,
            "multiclass · pred: labels {0,26,41…43,100} · gt: labels {0,26,41…43,100} · 6 classes",
        ),
        (FOUND_MASK, MASK, "binary · pred: mask {0,1} · gt: mask {0,1}"),
        (FOUND_MASK * 255, MASK, "binary · pred: mask {0,255} · gt: mask {0,1}"),
        (FOUND_MASK * np.float32(1), MASK, "binary · pred: mask {0,1} · gt: mask {0,1}"),
        (UNIT, MASK, "binary · pred: probability (float32) · gt: mask {0,1}"),
        (UNIT * 8 - 4, MASK, "binary · pred: logits (float32) · gt: mask {0,1}"),
        (
            np.moveaxis(SOFTMAX, 0, -1),
            LABELS,
            "multiclass · pred: probability (float32) · gt: labels 0…2 · 3 classes",
        ),
        (
            np.moveaxis(CLASSES, 0, -1),
            np.moveaxis(SOFTMAX > 0.4, 0, -1).astype(np.uint8),
            "multilabel · pred: probability (float32) · gt: mask {0,1} · 3 classes",
        ),
        (
            FOUND,
            np.eye(3, dtype=np.uint8)[LABELS],
            "multiclass · pred: labels 0…2 · gt: mask {0,1}, one-hot · 3 classes",
        ),
        (SCAN + 9, SCAN, "image · pred: image (int16/32767) · gt: image (int16/32767)"),
        (UNIT * 90, UNIT * 99, "image · pred: image (float32) · gt: image (float32)"),
    ],
)
def test_a_nifti_file_is_one_volume(volumes, pred, target, text):
    run = lossbench.plan(volumes("pred", {"a": pred}), volumes("gt", {"a": target}))
    assert str(run.plan) == f"{text} · spacing 0.8×0.7×3 mm"
    result = run.evaluate()
    assert not result.failed
    assert result.run["plan"]["text"] == str(run.plan)


def iou(pred: np.ndarray, target: np.ndarray) -> float:
    return float((pred & target).sum() / (pred | target).sum())


@pytest.mark.parametrize("planes", [5, 40])
def test_a_task_reads_arrays_of_three_axes_as_volumes(volumes, planes):
    target, pred = RANDOM.integers(0, 2, (2, planes, 7, 6))
    folders = volumes("pred", {"a": pred}, ".npy"), volumes("gt", {"a": target}, ".npy")
    binary = lossbench.evaluate(*folders, "iou", task="binary")
    expected = iou(pred == 1, target == 1)  # by hand
    assert binary.values["iou"].samples == pytest.approx([expected], abs=1e-15)
    several = lossbench.evaluate(*folders, "iou", task="multiclass")
    assert several.class_names == ("0", "1")
    assert several.values["iou"].classes[1] == pytest.approx([expected], abs=1e-15)
    assert several.values["iou"].classes[0] == pytest.approx(
        [iou(pred == 0, target == 0)], abs=1e-15
    )
    if planes == 5:
        with pytest.raises(SettingError, match="--task binary if all axes are spatial"):
            lossbench.plan(*folders)
    else:
        assert lossbench.plan(*folders).plan.task == "binary"


def test_a_volume_has_no_probabilities_of_several_classes(volumes):
    pred, target = volumes("pred", {"a": UNIT}), volumes("gt", {"a": MASK})
    with pytest.raises(SettingError, match=r"one number a pixel.* the last of NIfTI"):
        lossbench.plan(pred, target, task="multiclass")


def test_labels_whose_meaning_is_open_ask_for_it(volumes):
    many = np.arange(360).reshape(SHAPE).astype(np.int16) % 50 - 3
    with pytest.raises(SettingError, match=r"what is 1\?"):
        lossbench.plan(volumes("pred", {"a": many}), volumes("gt", {"a": many}))


def test_a_value_that_no_looked_at_file_has_is_an_error_of_its_file(volumes):
    files = {f"a{place:02}": GAPS for place in range(40)}
    strange = np.where(GAPS == 42, 60, GAPS)
    pred = volumes("pred", files | {"a20": strange})
    target = volumes("gt", files)
    (failed,) = lossbench.evaluate(pred, target, "dice").failed
    assert failed.id == "a20"
    assert f"has value 60 in {(GAPS == 42).sum()} pixels" in failed.message
    assert "--classes" in failed.message


def test_float_labels_that_are_not_whole_are_refused(volumes):
    half = LABELS.astype(np.float32)
    half[0, 0, 0] = 1.5
    pred = volumes("pred", {"bad": FOUND, "good": FOUND})
    target = volumes("gt", {"bad": half, "good": LABELS})
    message = error_of(pred, target, task="multiclass", gt_encoding="labels", classes=3)
    assert "has value 1.5 in 1 pixels" in message


# The same numbers as in other files


@pytest.mark.parametrize(
    "extra", [[], ["gradient_l1", "total_variation"]], ids=["tables", "pixels"]
)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "image"])
def test_nifti_gives_the_numbers_of_the_same_arrays(volumes, task, extra):
    pred, target = {
        "binary": (UNIT, MASK),
        "multiclass": (FOUND, LABELS),
        "multilabel": (np.eye(3, dtype=np.uint8)[FOUND], np.eye(3, dtype=np.uint8)[LABELS]),
        "image": (SCAN + 7, SCAN),
    }[task]
    losses = extra + (["l1", "l2"] if task == "image" else ["dice", "iou", "bce", "f1"])
    if task == "multiclass":
        losses.remove("bce")
    scans = volumes("pred", {"a": pred}), volumes("gt", {"a": target})
    first = {"multilabel": lambda a: np.moveaxis(a, -1, 0), "image": lambda a: a[None]}
    turned = first.get(task, lambda a: a)
    arrays = [
        volumes(f"{role}_npy", {"a": turned(array)}, ".npy")
        for role, array in (("pred", pred), ("gt", target))
    ]
    result = lossbench.evaluate(*scans, losses)
    assert result.run["plan"]["task"] == task
    check_same(result, lossbench.evaluate(*arrays, losses, task=task))
    raw = [volumes(f"{r}_raw", {"a": a}, ".nii") for r, a in (("pred", pred), ("gt", target))]
    check_same(result, lossbench.evaluate(*raw, losses))
    memory = [{"a": turned(array)} for array in (pred, target)]
    check_same(result, lossbench.evaluate(*memory, losses, task=task))


def test_a_volume_counts_like_its_slices_together(volumes, folder):
    """The pooled value of a volume's slices is the volume's own."""
    losses = ["dice", "iou", "precision", "accuracy", "mcc"]
    scan = lossbench.evaluate(volumes("pred", {"a": FOUND}), volumes("gt", {"a": LABELS}), losses)
    slices = [
        folder(role, {f"{z}.png": array[..., z] for z in range(SHAPE[2])})
        for role, array in (("pred_png", FOUND), ("gt_png", LABELS))
    ]
    pictures = lossbench.evaluate(*slices, losses)
    assert len(pictures.ids) == SHAPE[2]
    for name in losses:
        assert scan.aggregates[name]["mean"] == pictures.aggregates[name]["pooled"]


def test_classes_as_monai_scores_volumes(volumes):
    pred = {f"case{n}": RANDOM.integers(0, 3, SHAPE).astype(np.uint8) for n in range(3)}
    target = {name: RANDOM.integers(0, 3, SHAPE).astype(np.uint8) for name in pred}
    found = lossbench.evaluate(volumes("pred", pred), volumes("gt", target), "iou")
    one_hot = [
        torch.stack([torch.as_tensor(np.eye(3)[a].transpose(3, 0, 1, 2)) for a in side.values()])
        for side in (pred, target)
    ]
    expected = parity("monai.metrics", "compute_iou")(*one_hot, include_background=True)  # (B, C)
    np.testing.assert_allclose(np.transpose(found.values["iou"].classes), expected, atol=1e-7)


@pytest.mark.parametrize("dtype", ["int16", "float32", ">f8", "int64", "bool"])
def test_labels_count_the_same_whatever_stores_them(volumes, dtype):
    labels, found = (LABELS, FOUND) if dtype != "bool" else (MASK, FOUND_MASK)
    losses = ["dice_score", "iou"]
    plain = lossbench.evaluate(volumes("pred", {"a": found}), volumes("gt", {"a": labels}), losses)
    ending = ".npy" if dtype == "bool" else ".nii"
    other = lossbench.evaluate(
        volumes("pred_other", {"a": found.astype(dtype)}, ending),
        volumes("gt_other", {"a": labels.astype(dtype)}, ending),
        losses,
        task=plain.run["plan"]["task"],
    )
    check_same(plain, other)


def test_named_values_of_volumes_are_classes(volumes):
    pred, target = GAPS.copy(), GAPS.copy()
    pred[:2] = 26
    names = {0: "background", 26: "sacrum", 41: "disc", 42: "disc", 43: "disc", 100: "canal"}
    result = lossbench.evaluate(
        volumes("pred", {"a": pred}), volumes("gt", {"a": target}), "iou", classes=names
    )
    assert result.class_names == ("background", "sacrum", "disc", "canal")
    discs = [np.isin(array, (41, 42, 43)) for array in (pred, target)]
    assert result.values["iou"].classes[2] == [pytest.approx(iou(*discs), abs=1e-15)]


@pytest.mark.parametrize("ending", [".nii.gz", ".npy"])
def test_roles_are_volumes_too(volumes, ending):
    """Ignored voxels and weights by hand."""
    off = RANDOM.random(SHAPE) < 0.2
    weight = RANDOM.random(SHAPE).astype(np.float32)
    folders = volumes("pred", {"a": FOUND_MASK}, ending), volumes("gt", {"a": MASK}, ending)
    inputs = {
        "ignore": volumes("ignore", {"a": off.astype(np.uint8)}, ending),
        "valid": volumes("valid", {"a": (~off).astype(np.uint8)}, ending),
        "weight": volumes("weight", {"a": weight}, ending),
    }

    def value(role: str, loss: str) -> float:
        given = {role: inputs[role]}
        return (
            lossbench.evaluate(*folders, loss, task="binary", inputs=given).values[loss].samples[0]
        )

    expected = iou((FOUND_MASK == 1)[~off], (MASK == 1)[~off])
    assert value("ignore", "iou") == value("valid", "iou") == pytest.approx(expected, abs=1e-15)
    both, either = (FOUND_MASK & MASK) == 1, (FOUND_MASK | MASK) == 1
    weighted = weight[both].sum(dtype=float) / weight[either].sum(dtype=float)
    assert value("weight", "iou") == pytest.approx(weighted, abs=1e-12)


def test_an_ignored_label_leaves_every_sum(volumes):
    target = np.where(RANDOM.random(SHAPE) < 0.2, 255, LABELS).astype(np.uint8)
    folders = volumes("pred", {"a": FOUND}), volumes("gt", {"a": target})
    kept = target < 255
    for ignore in (None, 255):
        result = lossbench.evaluate(*folders, "iou", ignore=ignore)
        assert "ignore 255 · 3 classes" in result.run["plan"]["text"]
        expected = [iou((c == FOUND) & kept, (target == c) & kept) for c in range(3)]
        assert [row[0] for row in result.values["iou"].classes] == pytest.approx(expected)


def test_one_volume_a_class_is_multilabel(volumes):
    folders = [
        volumes(role, {f"a_{c}": (array == c).astype(np.uint8) for c in (1, 2)})
        for role, array in (("pred", FOUND), ("gt", LABELS))
    ]
    patterns = {"pred_pattern": "{id}_{class}", "gt_pattern": "{id}_{class}"}
    result = lossbench.evaluate(*folders, "iou", **patterns)
    assert result.class_names == ("1", "2")
    expected = [[iou(c == FOUND, c == LABELS)] for c in (1, 2)]
    np.testing.assert_allclose(result.values["iou"].classes, expected, atol=1e-15)
    one = lossbench.evaluate(
        volumes("p", {"a": MASK}), volumes("g", {"a": MASK}), task="multilabel"
    )
    assert one.class_names == ("0",)
    assert one.values["dice_score"].samples == [1]


def test_arrays_go_with_nifti_files(volumes):
    """Predictions as arrays in the order in which nibabel gives a file's axes."""
    target = volumes("gt", {"a": LABELS})
    scans = lossbench.evaluate(volumes("pred", {"a": FOUND}), target)
    check_same(scans, lossbench.evaluate(volumes("p", {"a": FOUND}, ".npy"), target))
    soft = volumes("soft", {"a": SOFTMAX}, ".npy"), volumes("q", {"a": np.moveaxis(SOFTMAX, 0, 3)})
    check_same(*(lossbench.evaluate(pred, target) for pred in soft))
    other = volumes("gt_mask", {"a": MASK})
    run = lossbench.plan(volumes("mask", {"a": FOUND_MASK}, ".npy"), other)
    assert run.plan.task == "binary"  # no stack of nine classes
    assert run.plan.spacing == "0.8×0.7×3 mm"


def test_images_of_several_channels_have_them_last_in_nifti(volumes):
    both = np.stack([SCAN, SCAN + 5], -1)
    result = lossbench.evaluate(
        volumes("pred", {"a": both + np.array([1, 3], np.int16)}),
        volumes("gt", {"a": both}),
        "l1",
        task="image",
    )
    assert result.values["l1"].samples == [pytest.approx(2 / 32767, rel=1e-12)]


def test_arrays_in_memory_may_be_volumes():
    pred, target = RANDOM.integers(0, 3, (2, 4, *SHAPE))
    result = lossbench.evaluate(pred, target, "iou")
    assert result.run["plan"]["task"] == "multiclass"
    assert len(result.ids) == 4
    expected = [[iou(p == c, t == c) for p, t in zip(pred, target, strict=True)] for c in range(3)]
    np.testing.assert_allclose(result.values["iou"].classes, expected, atol=1e-15)


# Grids


def test_spacing_reaches_the_values(volumes):
    """In the order of the axes; the target's, where only that has one."""
    target = volumes("gt", {"a": SCAN})
    for pred in (volumes("p", {"a": SCAN}), volumes("q", {"a": SCAN}, ".npy")):
        run = lossbench.plan(pred, target, "gradient_l1", task="image")
        sample = make_sample(run.plan, run.pairing.pairs[0])
        assert isinstance(getattr(sample, "pixels", None), Pixels), sample
        assert sample.pixels.space == SHAPE
        assert sample.pixels.spacing == pytest.approx(STEPS, rel=1e-6)
        assert pixel_values(run.plan, [sample.pixels], "cpu").spacing == sample.pixels.spacing
    run = lossbench.plan(target, volumes("r", {"a": SCAN[None]}, ".npy"), task="image")
    sample = make_sample(run.plan, run.pairing.pairs[0])
    assert sample.pixels.spacing is None
    assert "spacing" not in str(run.plan)


def test_the_plan_says_where_spacing_is_from(volumes):
    def text(*steps: Any) -> str:
        files = {str(n): image(LABELS, affine(each)) for n, each in enumerate(steps)}
        name = str(hash(steps))
        run = lossbench.plan(volumes(f"p{name}", files), volumes(f"g{name}", files))
        assert run.evaluate().exit_status == 0
        return str(run.plan).rpartition(" · ")[2]

    assert text((0.5859375, 0.5859375, 3.3)) == "spacing 0.586×0.586×3.3 mm"
    assert text(STEPS, STEPS) == "spacing 0.8×0.7×3 mm"
    assert text(STEPS, (1, 1, 1)) == "spacing from the headers (mm)"


def test_no_spacing_is_said_of_pictures(folder):
    pictures = (
        folder("p", {"a.png": MASK[..., 0] * 255}),
        folder("g", {"a.png": MASK[..., 0] * 255}),
    )
    assert "spacing" not in str(lossbench.plan(*pictures).plan)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (affine((0.8, 0.7, 2.5)), "has a spacing of 0.8×0.7×2.5 mm where {} has 0.8×0.7×3 mm"),
        (affine((0.8, 0.702, 3.0)), "has a spacing of 0.8×0.702×3 mm where {} has 0.8×0.7×3 mm"),
        (affine(directions=(1, 1, 1)), "has the orientation RAS where {} has LPS"),
        (moved(30, 9, -5), "has its origin 31.7 mm from that of {} (-37.5, -12.9, -1.67 voxels)"),
        (moved(0.01, 0, 0), "has its origin 0.01 mm from that of {} (-0.0125, 0, 0 voxels)"),
    ],
    ids=["spacing", "a little", "mirrored", "moved", "moved a little"],
)
def test_another_grid_is_an_error_of_that_pair(volumes, matrix, expected):
    target = volumes("gt", {"bad": LABELS, "good": LABELS})
    pred = volumes("pred", {"bad": image(FOUND, matrix), "good": FOUND})
    message = error_of(pred, target)
    assert expected.format(target / "bad.nii.gz") in message
    assert message.startswith(f"{pred / 'bad.nii.gz'} {expected[:8]}")
    assert message.endswith(f"; else resample it onto the grid of {target / 'bad.nii.gz'}")


def test_a_turn_of_a_few_degrees_is_an_error_with_its_angle(volumes):
    turn = np.eye(4)
    turn[:3, :3] = nibabel.eulerangles.euler2mat(math.radians(4))
    target = volumes("gt", {"bad": LABELS, "good": LABELS})
    pred = volumes("pred", {"bad": image(FOUND, turn @ affine()), "good": FOUND})
    assert f"is turned by 4° against {target / 'bad.nii.gz'}, both are LPS" in error_of(
        pred, target
    )


@pytest.mark.parametrize("change", ["rounded", "moved", "no orientation", "no spacing"])
def test_what_is_rounded_or_unknown_is_no_other_grid(volumes, change):
    matrix = affine()
    matrix[0, 1] = 0.0002
    scan = image(FOUND, matrix)
    if change == "moved":
        scan = image(FOUND, moved(0.0007, 0, 0.0029))
    elif change == "no orientation":
        scan = nibabel.Nifti1Image(FOUND, None)
        scan.header.set_zooms(STEPS)
    elif change == "no spacing":
        scan = nibabel.Nifti1Image(FOUND, None)
        scan.header["pixdim"][1:4] = 0
    target = volumes("gt", {"a": LABELS})
    (target.parent / "pred").mkdir()
    (target.parent / "pred" / "a.nii").write_bytes(scan.to_bytes())
    assert lossbench.evaluate(target.parent / "pred", target).exit_status == 0


def test_further_roles_lie_on_the_same_grid(volumes):
    on = np.ones(SHAPE, np.uint8)
    files = {"bad": LABELS, "good": LABELS}
    valid = volumes("valid", {"bad": image(on, affine((1, 1, 1))), "good": on})
    folders = volumes("pred", files), volumes("gt", files)
    message = error_of(*folders, inputs={"valid": valid})
    assert message.startswith(f"{valid / 'bad.nii.gz'} has a spacing of 1×1×1 mm")


def test_files_of_several_classes_lie_on_one_grid(volumes):
    files = {f"{name}_{c}": MASK for name in ("bad", "good") for c in "xy"}
    target = volumes("gt", files)
    pred = volumes("pred", files | {"bad_y": image(MASK, affine((1, 1, 1)))})
    how = {"pred_pattern": "{id}_{class}", "gt_pattern": "{id}_{class}"}
    assert error_of(pred, target, **how).startswith(
        f"{pred / 'bad_y.nii.gz'} has a spacing of 1×1×1"
    )


def test_millimetres_and_voxels_are_not_mixed(volumes):
    target = volumes("gt", {"good": LABELS})
    volumes("gt", {"zbad": LABELS}, ".npy")
    pred = volumes("pred", {"good": FOUND, "zbad": FOUND})
    message = error_of(pred, target)
    assert message.startswith(f"{target / 'zbad.npy'} has no voxel spacing")


# Sizes


def test_another_size_is_told_in_the_order_of_the_axes(volumes):
    target = volumes("gt", {"bad": LABELS, "good": LABELS})
    pred = volumes("pred", {"bad": FOUND[:-1], "good": FOUND})
    expected = f"{pred / 'bad.nii.gz'} is 8×8×5 where {target / 'bad.nii.gz'} is 9×8×5; resample it"
    assert error_of(pred, target) == expected
    message = error_of(pred, target, resize="nearest")
    assert "--resize fits pictures only" in message
    assert "is 8×8×5 where its ground truth is 9×8×5" in message


def test_axes_in_reverse_order_are_told(volumes):
    target = volumes("gt", {"bad": LABELS, "good": LABELS})
    pred = volumes("pred", {"bad": FOUND.T, "good": FOUND}, ".npy")
    assert "is 5×8×9" in error_of(pred, target)
    assert error_of(pred, target).endswith(
        "it looks transposed: swap its axes, or turn the picture"
    )


def test_a_window_that_does_not_fit_says_the_size_of_a_volume(volumes):
    scans = volumes("pred", {"a": SCAN}), volumes("gt", {"a": SCAN})
    (failed,) = lossbench.evaluate(*scans, "ssim", task="image").failed
    assert "is 9×8×5; ssim(window=11) needs 11 pixels along every axis" in failed.message


def test_pictures_may_be_nifti_too(volumes, folder):
    """A plane with two axes equals the picture whose rows are its first axis."""
    pred, target = FOUND[..., 0], LABELS[..., 0]
    scans = lossbench.evaluate(volumes("pred", {"a": pred}), volumes("gt", {"a": target}), "iou")
    pictures = folder("p", {"a.png": pred}), folder("g", {"a.png": target})
    check_same(scans, lossbench.evaluate(*pictures, "iou"))
    assert Image.open(pictures[0] / "a.png").size == pred.shape[::-1]


# Runs


def test_processes_read_volumes_too(volumes, lossbench_command):
    """From 200 pairs on counted files are read by child processes; all values, by hand."""
    pred = {f"{n:03}": (RANDOM.random((6, 5, 4)) > 0.5).astype(np.uint8) for n in range(210)}
    target = {name: (RANDOM.random((6, 5, 4)) > 0.5).astype(np.uint8) for name in pred}
    folders = volumes("pred", pred), volumes("gt", target)
    (folders[0] / "100.nii.gz").write_bytes(b"no volume")
    output = folders[0].parent / "result.csv"
    done = lossbench_command("eval", *folders, "-l", "iou", "-o", output, "-q", "--workers", 2)
    assert done.returncode == 3
    assert "100.nii.gz is no NIfTI file" in done.stderr
    rows = [line.split(",") for line in output.read_text().splitlines()[1:]]
    found = {row[0]: float(row[1]) for row in rows if row[1]}
    expected = {name: iou(pred[name] == 1, target[name] == 1) for name in pred if name != "100"}
    assert found == pytest.approx(expected, abs=1e-12)


def test_the_sample_misses_an_organ():
    """Both Dice of every case by numpy."""
    root = SAMPLES / "medical"
    result = lossbench.evaluate(root / "pred", root / "gt", "dice_score")
    assert result.ids == ["case_01", "case_02", "case_03", "case_04"]
    for place, name in enumerate(result.ids):
        pred, gt = (
            nibabel.load(root / role / f"{name}.nii.gz").get_fdata() for role in ("pred", "gt")
        )
        for label in (1, 2):
            p, t = pred == label, gt == label
            expected = 2 * (p & t).sum() / (p.sum() + t.sum())
            found = result.values["dice_score"].classes[label][place]
            assert found == pytest.approx(expected, abs=1e-15)
            assert (found == 0) == ((name, label) == ("case_03", 2))


@pytest.mark.parametrize(
    ("name", "dice"),
    [("semantic", 0.9732), ("matched_instance", 0.9744), ("unmatched_instance", 0.9744)],
)
def test_vertebrae_have_the_dice_that_their_source_states(data, name, dice):
    """Foreground Dice from SOURCE.txt of the set."""
    root = data("spine_mri_3d")
    files = [root / role / f"{name}.nii.gz" for role in ("pred", "gt")]
    labels = sorted({int(v) for f in files for v in np.unique(nibabel.load(f).dataobj)})
    names = {label: "spine" if label else "background" for label in labels}
    result = lossbench.evaluate(*files, "dice_score", classes=names)
    assert result.values["dice_score"].classes[1] == [pytest.approx(dice, abs=5e-5)]
    assert result.run["plan"]["text"].endswith("2 classes · spacing 0.586×0.586×3.3 mm")


def test_vertebrae_of_real_scans_by_numpy(data):
    """Every label of the semantic maps, which the plan finds by itself."""
    root = data("spine_mri_3d")
    files = [root / role / "semantic.nii.gz" for role in ("pred", "gt")]
    result = lossbench.evaluate(*files, "dice_score")
    pred, gt = (np.asarray(nibabel.load(file).dataobj) for file in files)
    labels = np.unique([np.unique(pred), np.unique(gt)])
    assert result.class_names == tuple(map(str, labels))
    assert len(labels) == 15  # 14 and the background
    for label, (found,) in zip(labels, result.values["dice_score"].classes, strict=True):
        p, t = pred == label, gt == label
        assert found == pytest.approx(2 * (p & t).sum() / (p.sum() + t.sum()), abs=1e-15)
