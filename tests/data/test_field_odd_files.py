"""One odd file that the sample of the reading plan misses: read right, noted, or an error."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from itertools import count
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

import lossbench
from lossbench import InputError
from lossbench.data.planning.evidence import SAMPLE

COUNT = 20
SAMPLED = {round(index) for index in np.linspace(0, COUNT - 1, SAMPLE)}
(ODD, *_) = sorted(set(range(COUNT)) - SAMPLED)
Y, X = np.mgrid[:24, :28]
GREYS = [level for index in range(256) for level in (index,) * 3]
VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0]
Folder = dict[str, Any]


def disk(index: int, column: int = 0) -> np.ndarray:
    return (Y - 9 - index % 5) ** 2 + (X - 11 - index % 7 - column) ** 2 < 36


def levels(index: int) -> np.ndarray:
    """A map of probabilities in 8 bits, beside its mask."""
    noise = np.random.default_rng(index).integers(0, 60, Y.shape)
    return np.where(disk(index, 2), 255 - noise, noise).astype(np.uint8)


def labels(index: int) -> np.ndarray:
    return np.where(disk(index), 1 + (X > 13), 0).astype(np.uint8)


def picture(index: int) -> np.ndarray:
    ramp = np.stack([X * 8 + index, Y * 9, (X + Y) * 4 + index], -1)
    return ramp.astype(np.uint8)


def paletted(indices: np.ndarray, colours: list[int]) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette(colours)
    return image


def side(of: Callable[[int], Any], odd: Any = None, ending: str = "png") -> Folder:
    """The files of one side, with an odd one that is not sampled."""
    files = {f"{index:02}.png": of(index) for index in range(COUNT)}
    if odd is not None:
        del files[f"{ODD:02}.png"]
        files[f"{ODD:02}.{ending}"] = odd
    return files


@pytest.fixture
def run(folder: Any, lossbench_command: Any) -> Callable[..., Any]:
    """Write both folders and run the command: its status, its samples and what it says."""
    numbers = count()

    def command(pred: Folder, gt: Folder, *flags: str) -> Any:
        name = str(next(numbers))
        sides = folder(f"{name}/p", pred), folder(f"{name}/g", gt)
        done = lossbench_command("eval", *sides, *flags, "-f", "json")
        result = json.loads(done.stdout) if done.stdout else {"samples": []}
        return done.returncode, result["samples"], done.stderr

    return command


def mask(index: int) -> np.ndarray:
    return disk(index).astype(np.uint8) * 255


MAP, MASK, ONE = levels(ODD), disk(ODD, 2), np.ones((24, 28, 1), np.uint8)
ODD_MAPS = {
    "three equal channels": (np.dstack([MAP] * 3), "png", ""),
    "a grey palette": (paletted(MAP, GREYS), "png", ""),
    "full alpha": (Image.fromarray(np.dstack([MAP, ONE * 255]), "LA"), "png", ""),
    "colours": (np.dstack([MAP, MAP // 2, MAP]), "png", "is a colour picture (RGB)"),
    "alpha": (Image.fromarray(np.dstack([MAP] * 4)), "png", "has transparent pixels"),
    "16 bits": (MAP.astype(np.uint16) * 257, "png", "holds uint16 where"),
    "1 bit": (MASK, "png", "holds bool where"),
    "floats": (MAP / 255, "npy", "save it as the other files are, in uint8"),
    "a palette": (paletted(MASK, VOC), "png", "save it in grey, as with Image.convert('L')"),
    "a mask of 0 and 1": (MASK.astype(np.uint8), "png", "give --pred-encoding probability if"),
}


@pytest.mark.parametrize("kind", ODD_MAPS)
def test_an_odd_map(kind, run):
    odd, ending, message = ODD_MAPS[kind]
    gt = side(mask)
    _, expected, _ = run(side(levels), gt, "-l", "iou")
    status, samples, stderr = run(side(levels, odd, ending), gt, "-l", "iou")
    assert status == (3 if message else 0), stderr
    assert message in stderr
    others = [each for each in expected if each["id"] != f"{ODD:02}"]
    assert samples == (others if message else expected)


def test_a_map_whose_numbers_are_that_small_is_read_with_the_setting(run):
    pred, gt = side(levels, MASK.astype(np.uint8)), side(mask)
    status, samples, _ = run(pred, gt, "-l", "iou", "--pred-encoding", "probability")
    assert (status, samples[ODD]["iou"]) == (0, 0.0)


def test_a_file_of_8_bits_among_maps_of_16(run):
    of_8_bits = MAP.astype(np.uint16)
    of_8_bits[0, 0] = 255
    wide = side(lambda index: levels(index).astype(np.uint16) * 257, of_8_bits)
    status, samples, stderr = run(wide, side(mask), "-l", "iou")
    assert (status, len(samples)) == (3, COUNT - 1)
    assert "ends at 255, the largest number of a file of 8 bits" in stderr


ODD_PICTURES = {
    "CMYK": (
        Image.fromarray(picture(ODD)).convert("CMYK"),
        "tif",
        "note: ",
        "is CMYK; its colours",
    ),
    "full alpha": (np.dstack([picture(ODD), ONE * 255]), "png", "", ""),
    "a palette": (Image.fromarray(picture(ODD)).quantize(256), "png", "", ""),
    "grey": (picture(ODD)[..., 0], "png", "error: ", "is grey where its ground truth is in colour"),
    "an array": (picture(ODD), "npy", "error: ", "save it as a picture, or all files as arrays"),
    "16 bits": (MAP.astype(np.uint16), "png", "error: ", "in uint8"),
}


@pytest.mark.parametrize("kind", ODD_PICTURES)
def test_an_odd_picture(kind, run):
    odd, ending, word, message = ODD_PICTURES[kind]
    gt, pred = side(picture), side(lambda index: picture(index) ^ 1, odd, ending)
    status, samples, stderr = run(pred, gt, "-l", "l1")
    assert (status, len(samples)) == ((3, COUNT - 1) if word == "error: " else (0, COUNT)), stderr
    assert any(line.startswith(word) and message in line for line in stderr.splitlines())
    if word != "error: ":
        (value,) = (each["l1"] for each in samples if each["id"] == f"{ODD:02}")
        assert value == pytest.approx(0, abs=0.02)


ODD_LABELS = {
    "a palette": (paletted(labels(ODD), VOC), "png", "note: ", "has a palette; its indices"),
    "a JPEG": (labels(ODD), "jpg", "note: ", "is a JPEG: its compression changes"),
    "16 bits": (labels(ODD).astype(np.uint16), "png", "", ""),
    "floats": (labels(ODD).astype(np.float64), "npy", "", ""),
    "-1": (labels(ODD).astype(np.int8) - 1, "npy", "error: ", "name all classes with --classes"),
    "one-hot": (np.eye(3)[labels(ODD)], "npy", "error: ", "where one number a pixel is read"),
    "stretched": (labels(ODD) * 127, "png", "doubt: ", "continued_labels"),
}


@pytest.mark.parametrize("kind", ODD_LABELS)
def test_odd_labels(kind, run):
    odd, ending, word, message = ODD_LABELS[kind]
    status, samples, stderr = run(side(labels, odd, ending), side(labels), "-l", "accuracy")
    assert (status, len(samples)) == ((3, COUNT - 1) if word == "error: " else (0, COUNT)), stderr
    assert any(line.startswith(word) and message in line for line in stderr.splitlines())
    assert "--resize" not in stderr
    if not word or (ending == "png" and word == "note: "):
        assert all(each["accuracy"] == 1 for each in samples)


@pytest.mark.parametrize("odd_index", [ODD, min(SAMPLED)], ids=["beyond the sample", "in it"])
def test_a_palette_in_which_the_classes_have_other_indices(odd_index, run):
    """As writers leave palettes that sort colours by their number of pixels."""
    swapped = paletted(np.array([1, 0, 2])[labels(odd_index)], [*VOC[3:6], *VOC[:3], *VOC[6:]])
    gt = side(lambda index: paletted(labels(index), VOC))
    pred = gt | {f"{odd_index:02}.png": swapped}
    status, samples, stderr = run(pred, gt, "-l", "accuracy")
    assert status == (3 if odd_index == ODD else 2)
    assert "#000000" in stderr
    assert "#800000" in stderr
    assert "--pred-encoding palette takes the indices as they are" in stderr
    as_indices = run(pred, gt, "-l", "accuracy", "--pred-encoding", "palette")
    assert as_indices[0] == 0
    assert as_indices[1][odd_index]["accuracy"] < 0.6
    colours = "{a: '#000000', b: '#800000', c: '#008000'}"
    status, samples, _ = run(pred, gt, "-l", "accuracy", "--classes", colours)
    assert (status, {each["accuracy"] for each in samples}) == (0, {1.0})


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("odd_index", [0, 2, 5])
def test_labels_among_stacks_of_probabilities_are_the_only_file_at_fault(odd_index, dtype, run):
    """Wherever the file lies: the first one of a folder does not decide for all others."""
    stacks = {}
    for index in range(6):
        logits = np.random.default_rng(index).normal(size=(3, 24, 28))
        stacks[f"{index}.npy"] = (np.exp(logits) / np.exp(logits).sum(0)).astype(np.float32)
    gt = {f"{index}.png": labels(index) for index in range(6)}
    _, expected, _ = run(stacks, gt, "-l", "dice")
    name = f"{odd_index}.npy"
    status, samples, stderr = run(
        stacks | {name: labels(odd_index).astype(dtype)}, gt, "-l", "dice"
    )
    assert (status, stderr.count("error: ")) == (3, 1)
    assert f"{name} h" in stderr
    assert "as the other files are" in stderr
    assert [each["id"] for each in samples] == [str(i) for i in range(6) if i != odd_index]
    assert all(each in expected for each in samples)


def test_a_file_of_16_bits_does_not_decide_for_those_of_8(run):
    pred = side(levels) | {"00.png": levels(0).astype(np.uint16) * 257}
    status, samples, stderr = run(pred, side(mask), "-l", "iou")
    assert (status, len(samples), stderr.count("error: ")) == (3, COUNT - 1, 1)
    assert "00.png holds uint16 where" in stderr


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        (("{}/pred/x.png", "{}/gt/x.png"), ("{id}/pred/x", "{id}/gt/x")),
        (("{}/pred_mask.png", "{}/gt_mask.png"), ("{id}/pred_mask", "{id}/gt_mask")),
        (("{}/out/seg/x.png", "{}/labels/x.png"), ("{id}/out/seg/x", "{id}/labels/x")),
        (("pred/{}.png", "gt/{}.png"), ("pred/{id}", "gt/{id}")),
    ],
)
def test_both_kinds_below_one_folder_need_patterns(names, patterns, folder, lossbench_command):
    files = {}
    for index in range(4):
        files[names[0].format(index)] = disk(index, 2).astype(np.uint8) * 255
        files[names[1].format(index)] = mask(index)
    both = folder("both", files)
    done = lossbench_command("eval", both, both, "-l", "iou")
    flags = f"--pred-pattern '{patterns[0]}' --gt-pattern '{patterns[1]}'"
    assert (done.returncode, flags in done.stderr) == (2, True), done.stderr
    flags = ("--pred-pattern", patterns[0], "--gt-pattern", patterns[1])
    done = lossbench_command("eval", both, both, "-l", "iou", "-f", "json", *flags)
    assert len(json.loads(done.stdout)["samples"]) == 4


def test_messages_say_what_to_do(folder, lossbench_command, tmp_path):
    def stderr(*words: Any) -> str:
        done = lossbench_command("eval", *words)
        assert done.returncode in (3, 4)
        return " ".join(done.stderr.split())

    masks = folder("masks", {"a.png": mask(0)})
    assert "File name too long; give a shorter name" in stderr("x" * 300, masks)
    assert "File name too long; give a shorter name" in stderr(
        masks, masks, "-o", "y" * 300 + ".json"
    )
    (tmp_path / "pairs.csv").write_text(f"pred,gt\n{'z' * 300}.png,masks/a.png\n")
    assert "File name too long; give a shorter name" in stderr("--manifest", tmp_path / "pairs.csv")
    for name in ("p", "g"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.nii").write_bytes(b"text" * 200)
    volumes = stderr(tmp_path / "p", tmp_path / "g", "-l", "iou")
    assert "a.nii is no NIfTI file; it begins with 'texttext" in volumes
    assert "write it again, as with nibabel.save, or give .npy" in volumes
    empty = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "i.json").write_text(json.dumps(empty))
    (tmp_path / "r.json").write_text("[]")
    boxes = stderr(tmp_path / "r.json", tmp_path / "i.json")
    assert "i.json lists no picture in 'images'; expected COCO's instances format" in boxes
    of_class = folder("c", {"a_cat.png": mask(0), "a_dog.png": mask(0)[:9, :8]})
    gt = folder("d", {"a_cat.png": mask(0), "a_dog.png": mask(0)})
    pattern = "{id}_{class}"
    sizes = stderr(of_class, gt, "--pred-pattern", pattern, "--gt-pattern", pattern, "-l", "iou")
    assert "a_dog.png is 8×9 where" in sizes
    assert "a_cat.png is 28×24; save the classes of a sample in one size" in sizes


def test_a_gzipped_volume_that_claims_more_than_memory_has(tmp_path, lossbench_command):
    """Refused by its header, before anything is unpacked."""
    header = nibabel.Nifti1Header()
    header.set_data_shape((2000, 2000, 2000))
    header.set_data_dtype(np.uint8)
    header["magic"], header["vox_offset"] = b"n+1", 352
    for name in ("p", "g"):
        (tmp_path / name).mkdir()
        packed = gzip.compress(header.binaryblock) + gzip.compress(bytes(4000))
        (tmp_path / name / "a.nii.gz").write_bytes(packed)
    done = lossbench_command("eval", tmp_path / "p", tmp_path / "g", "-l", "iou")
    assert done.returncode == 3
    assert "a.nii.gz unpacks to 8,000,000,352 bytes from" in done.stderr
    assert "unpack it beforehand" in done.stderr


def test_a_picture_of_more_pixels_than_any_camera_has_is_damaged(tmp_path, monkeypatch):
    """A BMP's header of 10⁶×10⁶ pixels, without pixels."""
    header = struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54)
    header += struct.pack("<IiiHHIIiiII", 40, 10**6, 10**6, 1, 24, 0, 0, 0, 0, 0, 0)
    for side in ("pred", "gt"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "a.bmp").write_bytes(header)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as the command does
    with pytest.raises(InputError, match=r"claims to be 1000000×1000000 pixels; it is damaged"):
        lossbench.plan(tmp_path / "pred", tmp_path / "gt", "dice")
