"""Files as people have them, decoded one by one: each case begins with its row of the field list.

Files are written by tifffile, Pillow, nibabel, SimpleITK or byte by byte; numbers come from NumPy.
A refusal is followed by the step that it advises, after which the number is right.
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

Write = Callable[[Path], Any]  # writes one file
Command = Callable[..., subprocess.CompletedProcess[str]]

ROWS, COLUMNS = np.mgrid[:40, :60]
TRUE = (ROWS - 20) ** 2 + (COLUMNS - 28) ** 2 < 150
FOUND = (ROWS - 18) ** 2 + (COLUMNS - 33) ** 2 < 170
IOU = (TRUE & FOUND).sum() / (TRUE | FOUND).sum()
LABELS = (TRUE + np.int64(1) * (TRUE & (ROWS > 20)) + (COLUMNS > 50)).astype(np.uint8)
FOUND_LABELS = np.roll(LABELS, 2, 1)
RANDOM = np.random.default_rng(0)
PHOTO = RANDOM.integers(40, 200, (40, 60, 3), dtype=np.uint8)
NOISY = (PHOTO + RANDOM.integers(-9, 9, PHOTO.shape)).astype(np.uint8)
DEEP, DEEP_NOISY = PHOTO.astype(np.uint16) * 257, NOISY.astype(np.uint16) * 257
STEPS = (0.8, 0.8, 5.0)


def iou_of(pred: np.ndarray, truth: np.ndarray) -> float:
    """The mean IoU over the classes of label maps."""
    classes = range(int(truth.max()) + 1)
    both = [
        ((pred == c) & (truth == c)).sum() / ((pred == c) | (truth == c)).sum() for c in classes
    ]
    return float(np.mean(both))


def l1_of(pred: np.ndarray, truth: np.ndarray, white: float) -> float:
    return float(np.abs(pred / white - truth / white).mean())


LABELS_IOU = iou_of(FOUND_LABELS, LABELS)


def hausdorff_of(pred: np.ndarray, truth: np.ndarray, steps: tuple[float, float]) -> float:
    """The largest distance from the outline of one mask to that of the other, by brute force."""
    sides = []
    for mask in (pred, truth):
        around = np.pad(mask, 1)
        inner = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
        sides.append(np.argwhere(mask & ~inner) * steps)
    distances = np.linalg.norm(sides[0][:, None] - sides[1][None], axis=-1)
    return float(max(distances.min(0).max(), distances.min(1).max()))


# Writers


def tif(array: Any, **how: Any) -> tuple[str, Write]:
    return ".tif", lambda path: tifffile.imwrite(path, np.asarray(array), **how)


def pil(image: Any, ending: str = ".png", **how: Any) -> tuple[str, Write]:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    return ending, lambda path: picture.save(path, **how)


def npy(array: Any) -> tuple[str, Write]:
    return ".npy", lambda path: np.save(path, array)


def raw(ending: str, content: bytes) -> tuple[str, Write]:
    return ending, lambda path: path.write_bytes(content)


def nii(array: Any, origin: Any = (0, 0, 0), steps: Any = STEPS, **how: Any) -> tuple[str, Write]:
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = origin
    image = nibabel.Nifti1Image(np.asarray(array), how.get("affine", affine))
    if how.get("qform"):
        image.set_qform(affine, 1)
        image.set_sform(None, 0)
    return ".nii.gz", lambda path: nibabel.save(image, path)


def indexed(index: np.ndarray, colours: np.ndarray) -> Image.Image:
    image = Image.fromarray(index.astype(np.uint8)).convert("P")
    image.putdata(index.ravel().tolist())
    image.putpalette(colours.astype(np.uint8).ravel().tolist())
    return image


def netpbm(kind: str, array: np.ndarray, largest: int) -> tuple[str, Write]:
    head = f"{kind}\n{array.shape[1]} {array.shape[0]}\n{largest}\n".encode()
    stored = array.astype(">u2" if largest > 255 else "u1")
    return (".ppm" if kind == "P6" else ".pgm"), lambda path: path.write_bytes(
        head + stored.tobytes()
    )


def bmp565(array: np.ndarray) -> tuple[str, Write]:
    """A bitmap of 16 bits a pixel, 5 or 6 a colour; the width is even."""
    red, green, blue = (array[..., c].astype(np.uint16) for c in range(3))
    pixels = ((red >> 3) << 11 | (green >> 2) << 5 | blue >> 3).astype("<u2")[::-1].tobytes()
    height, width = array.shape[:2]
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 16, 3, len(pixels), 0, 0, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    head = struct.pack("<2sIHHI", b"BM", 66 + len(pixels), 0, 0, 66)
    return raw(".bmp", head + info + masks + pixels)


def deep_jp2(array: np.ndarray) -> tuple[str, Write]:
    """A JPEG 2000 file whose header has 16 bits a colour."""
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "JPEG2000")
    content = bytearray(stream.getvalue())
    at = content.find(b"\xff\x4f\xff\x51") + 42
    content[at : at + 9 : 3] = b"\x0f\x0f\x0f"
    return raw(".jp2", bytes(content))


def deep_png(array: np.ndarray) -> tuple[str, Write]:
    """A PNG of 16 bits, of grey with alpha or of colours."""
    height, width, bands = array.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    kind = {2: 4, 3: 2, 4: 6}[bands]
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return raw(".png", b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def written(folder: Path, pred: tuple[str, Write], truth: tuple[str, Write]) -> tuple[Path, Path]:
    paths = folder / "pred", folder / "gt"
    for path, (ending, write) in zip(paths, (pred, truth), strict=True):
        path.mkdir(exist_ok=True)
        write(path / f"a{ending}")
    return paths


def value_of(done: subprocess.CompletedProcess[str]) -> float:
    """The mean of the one loss of a run."""
    assert done.returncode == 0, done.stderr
    (loss,) = json.loads(done.stdout)["aggregate"].values()
    return float(loss["mean"])


# Numbers


@dataclass
class Number:
    """Two files and the number that the command has to give."""

    pred: tuple[str, Write]
    truth: tuple[str, Write]
    value: float
    options: str = "-l iou"
    note: str = ""


WHITE, L1, MULTI = "says that 0 is white", "-l l1 --task image", "-l iou --task multiclass"
MASK = pil(np.uint8(255) * TRUE)
FOUND_MASK = pil(np.uint8(255) * FOUND)
GREY, GREY_NOISY = PHOTO[..., 0], NOISY[..., 0]
PALETTE = RANDOM.integers(0, 256, (16, 3), dtype=np.uint8)
INDEX, FOUND_INDEX = GREY % 16, GREY_NOISY % 16
IN_565 = (PHOTO >> np.array([3, 2, 3])) / np.array([31, 63, 31])


def nearly(array: np.ndarray, error: float = 4.58e-5) -> np.ndarray:
    """Whole numbers as resampling leaves them."""
    return np.asarray(array + error * np.sign(ROWS - COLUMNS), np.float32)


NUMBERS = {
    "2 bool on both sides": Number(tif(FOUND), tif(TRUE), IOU, note=WHITE),
    "2 bool on one side": Number(FOUND_MASK, tif(TRUE), IOU, note=WHITE),
    "2 bool predictions, Deflate": Number(tif(FOUND, compression="zlib"), MASK, IOU, note=WHITE),
    "2 8-bit masks": Number(
        tif(FOUND * np.uint8(255), photometric="miniswhite"), MASK, IOU, note=WHITE
    ),
    "2 labels of 16 bits": Number(
        tif(FOUND_LABELS.astype(np.uint16), photometric="miniswhite"),
        tif(LABELS, photometric="miniswhite"),
        LABELS_IOU,
        MULTI,
        WHITE,
    ),
    "2 a photograph is as its tag says": Number(
        tif(255 - GREY, photometric="miniswhite"), pil(GREY_NOISY), l1_of(GREY, GREY_NOISY, 255), L1
    ),
    "2 a photograph of 16 bits": Number(
        tif(65535 - DEEP[..., 0], photometric="miniswhite"),
        tif(DEEP_NOISY[..., 0]),
        l1_of(GREY, GREY_NOISY, 255),
        L1,
    ),
    "15 planar TIFF of 8 bits": Number(
        tif(np.moveaxis(NOISY, -1, 0), photometric="rgb", planarconfig="separate"),
        pil(PHOTO),
        l1_of(NOISY, PHOTO, 255),
        L1,
    ),
    "15 PGM of 12 bits": Number(
        netpbm("P5", DEEP_NOISY[..., 0] >> 4, 4095),
        tif(np.rint((DEEP[..., 0] >> 4) * (65535 / 4095)).astype(np.uint16)),
        l1_of(DEEP_NOISY[..., 0] >> 4, DEEP[..., 0] >> 4, 4095),
        L1,
    ),
    "15 PGM of labels up to 3": Number(
        netpbm("P5", FOUND_LABELS, 3), netpbm("P5", LABELS, 3), LABELS_IOU, MULTI
    ),
    "15 PGM of 16 bits": Number(
        netpbm("P5", DEEP_NOISY[..., 0], 65535),
        tif(DEEP[..., 0]),
        l1_of(GREY_NOISY, GREY, 255),
        L1,
    ),
    "16 BMP of 720 pixels": Number(
        pil(np.tile(NOISY, (1, 12, 1)), ".bmp"),
        pil(np.tile(PHOTO, (1, 12, 1)), ".bmp"),
        l1_of(NOISY, PHOTO, 255),
        L1,
    ),
    "16 TIFF with LZW": Number(
        pil(NOISY, ".tif", compression="tiff_lzw"), pil(PHOTO), l1_of(NOISY, PHOTO, 255), L1
    ),
    "16 TIFF with Deflate": Number(
        pil(NOISY, ".tif", compression="tiff_deflate"), pil(PHOTO), l1_of(NOISY, PHOTO, 255), L1
    ),
    "16 TGA of 16 pixels": Number(
        pil(NOISY[:, :16], ".tga"), pil(PHOTO[:, :16]), l1_of(NOISY[:, :16], PHOTO[:, :16], 255), L1
    ),
    "16 BMP of 5 and 6 bits a colour": Number(
        bmp565(PHOTO), pil(np.floor(IN_565 * 255).astype(np.uint8)), 0.0, L1
    ),
    "20 palettes are their colours": Number(
        pil(indexed(FOUND_INDEX, PALETTE)),
        pil(indexed(INDEX, PALETTE)),
        l1_of(PALETTE[FOUND_INDEX], PALETTE[INDEX], 255),
        L1,
    ),
    "20 a palette against colours": Number(
        pil(indexed(INDEX, PALETTE)), pil(PHOTO), l1_of(PALETTE[INDEX], PHOTO, 255), L1
    ),
    "20 GIF against a palette of another order": Number(
        pil(indexed(INDEX, PALETTE), ".gif"),
        pil(indexed(15 - INDEX, PALETTE[::-1])),
        0.0,
        L1,
    ),
    "22 one slice": Number(
        nii(FOUND[..., None].astype(np.uint8)),
        nii(TRUE[..., None].astype(np.uint8)),
        hausdorff_of(FOUND, TRUE, STEPS[:2]),
        "-l hausdorff",
    ),
    "22 one slice along the first axis": Number(
        nii(FOUND[None].astype(np.uint8)),
        nii(TRUE[None].astype(np.uint8)),
        hausdorff_of(FOUND, TRUE, (STEPS[1], STEPS[2])),
        "-l hausdorff",
    ),
    "22 one slice along the second axis": Number(
        nii(FOUND[:, None].astype(np.uint8)),
        nii(TRUE[:, None].astype(np.uint8)),
        hausdorff_of(FOUND, TRUE, (STEPS[0], STEPS[2])),
        "-l hausdorff",
    ),
    "22 one slice against an array": Number(
        npy(FOUND.astype(np.uint8)), nii(TRUE[..., None].astype(np.uint8)), IOU
    ),
    "22 one slice of class probabilities": Number(
        nii(np.eye(4, dtype=np.float32)[FOUND_LABELS].reshape(40, 60, 1, 4)),
        nii(LABELS[..., None]),
        LABELS_IOU,
        MULTI,
    ),
    "23 an origin rounded": Number(
        nii(FOUND[..., None].astype(np.uint8), (0.0007, 0, -0.0045)),
        nii(TRUE[..., None].astype(np.uint8)),
        IOU,
    ),
    "23 float32 of a far origin": Number(
        nii(FOUND[..., None].astype(np.uint8), (9000.0001, 0, 0), (1e-3, 1e-3, 1e-3)),
        nii(TRUE[..., None].astype(np.uint8), (9000, 0, 0), (1e-3, 1e-3, 1e-3)),
        IOU,
    ),
    "23 grids ignored": Number(
        nii(FOUND[..., None].astype(np.uint8), (0, 0, 5), qform=True),
        nii(TRUE[..., None].astype(np.uint8)),
        IOU,
        "-l iou --grid ignore",
    ),
    "24 labels nearly whole on both sides": Number(
        nii(nearly(FOUND_LABELS)), nii(nearly(LABELS)), LABELS_IOU, note="nearly whole"
    ),
    "24 a mask nearly whole": Number(nii(nearly(FOUND)), nii(nearly(TRUE)), IOU, note="nearly"),
    "24 arrays": Number(
        npy(nearly(FOUND_LABELS)), npy(LABELS), LABELS_IOU, MULTI, note="nearly whole"
    ),
    "24 TIFF of floats": Number(
        pil(FOUND_LABELS), tif(nearly(LABELS, 9e-4)), LABELS_IOU, note="nearly whole"
    ),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_the_number_is_right(case: str, tmp_path: Path, lossbench_command: Command) -> None:
    files = NUMBERS[case]
    paths = written(tmp_path, files.pred, files.truth)
    done = lossbench_command("eval", *paths, *files.options.split(), "-f", "json")
    assert value_of(done) == pytest.approx(files.value, abs=2e-6), done.stderr
    assert files.note in done.stderr
    assert ("note:" in done.stderr) == bool(files.note), done.stderr


# Refusals


def as_npy(path: Path) -> None:
    """The step for what Pillow cannot read: tifffile's array."""
    np.save(path.with_suffix(".npy"), tifffile.imread(path))
    path.unlink()


def array_of(array: np.ndarray) -> Callable[[Path], None]:
    """The step where another tool has the array."""

    def save(path: Path) -> None:
        path.unlink()
        np.save(path.with_suffix(".npy"), array)

    return save


def itk(path: Path) -> None:
    """The step for volumes of other formats."""
    library = pytest.importorskip("SimpleITK")
    library.WriteImage(library.ReadImage(str(path)), str(path.parent / "a.nii.gz"))
    path.unlink()


def by_itk(array: np.ndarray, ending: str) -> tuple[str, Write]:
    library = pytest.importorskip("SimpleITK")
    return ending, lambda path: library.WriteImage(library.GetImageFromArray(array), str(path))


def rotated(path: Path) -> None:
    Image.open(path).transpose(Image.Transpose.ROTATE_270).save(path)


@dataclass
class Refusal:
    """Two files, the words of the error, and the step that it advises for each, with the number."""

    pred: tuple[str, Write]
    truth: tuple[str, Write]
    message: tuple[str, ...]
    options: str = "-l iou"
    step: Callable[[Path], None] | None = None  # for the files of both sides
    steps: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)  # or by side
    more: str = ""  # the setting that the message names
    value: float | None = None


def stack(count: int) -> np.ndarray:
    return np.stack([GREY] * count)


SLICES = "holds {} pictures"
PILLOW_8 = "has 16 bits a colour, which Pillow reads as 8"
ORIGIN = "has its origin"
BANDS = {"photometric": "minisblack", "planarconfig": "contig"}
TURNED = Image.Exif()
TURNED[274] = 6
REFUSALS = {
    "15 planar TIFF": Refusal(
        tif(np.moveaxis(DEEP_NOISY, -1, 0), photometric="rgb", planarconfig="separate"),
        tif(np.moveaxis(DEEP, -1, 0), photometric="rgb", planarconfig="separate"),
        (PILLOW_8, "give .npy"), L1, as_npy, value=l1_of(NOISY, PHOTO, 255),
    ),
    "15 TIFF with Deflate": Refusal(
        tif(DEEP_NOISY, photometric="rgb", compression="zlib"),
        tif(DEEP, photometric="rgb", compression="zlib"),
        (PILLOW_8,), L1, as_npy, value=l1_of(NOISY, PHOTO, 255),
    ),
    "15 PPM": Refusal(
        netpbm("P6", DEEP_NOISY, 65535), netpbm("P6", DEEP, 65535), (PILLOW_8,), L1,
        steps={"pred": array_of(DEEP_NOISY), "gt": array_of(DEEP)}, value=l1_of(NOISY, PHOTO, 255),
    ),
    "15 JPEG 2000": Refusal(
        deep_jp2(NOISY), deep_jp2(PHOTO), (PILLOW_8,), L1,
        steps={"pred": array_of(DEEP_NOISY), "gt": array_of(DEEP)}, value=l1_of(NOISY, PHOTO, 255),
    ),
    "15 PNG of grey and alpha": Refusal(
        deep_png(DEEP_NOISY[..., :2]), deep_png(DEEP[..., :2]), (PILLOW_8,), L1,
        steps={"pred": array_of(DEEP_NOISY[..., 0]), "gt": array_of(DEEP[..., 0])},
        value=l1_of(GREY_NOISY, GREY, 255),
    ),
    "25 ImageJ's stack with one directory": Refusal(
        tif(GREY, description="ImageJ=1.54f\nimages=5\nslices=5\n", metadata=None), pil(GREY),
        (SLICES.format(5),), L1,
    ),
    "25 TIFF with ImageDepth": Refusal(
        tif(np.zeros((32, 32, 32), np.uint8), volumetric=True, tile=(16, 16, 16)),
        pil(LABELS[:32, :32]), (SLICES.format(32),), MULTI,
    ),
    "25 tifffile's shape": Refusal(
        tif(GREY, description='{"shape": [7, 40, 60]}', metadata=None), pil(GREY),
        (SLICES.format(7),), L1,
    ),
    "25 three slices tagged RGB": Refusal(
        tif(stack(3), photometric="rgb", planarconfig="separate"), MASK,
        ("holds 3 slices or colours of one picture",), "-l iou --pred-encoding probability",
    ),
    "25 three slices of floats": Refusal(
        tif(stack(3).astype(np.float32), photometric="rgb", planarconfig="separate"), pil(GREY),
        ("3 × 32-bit floats",), L1,
    ),
    "25 many pages": Refusal(
        tif(stack(4), photometric="minisblack"), pil(GREY), (SLICES.format(4),), L1
    ),
    "25 two bands": Refusal(
        tif(PHOTO[..., :2], **BANDS), pil(GREY),
        ("has 2 numbers a pixel, of which Pillow reads 1",), L1,
    ),
    "23 an origin 5 mm off": Refusal(
        nii(FOUND[..., None].astype(np.uint8), (0, 0, 5)), nii(TRUE[..., None].astype(np.uint8)),
        (ORIGIN, "5 mm from that of", "(0, 0, 1 voxels)", "--grid ignore"),
        more="--grid ignore", value=IOU,
    ),
    "23 an origin within the plane": Refusal(
        nii(FOUND[..., None].astype(np.uint8), (0.0016, 0, 0)),
        nii(TRUE[..., None].astype(np.uint8)),
        (ORIGIN, "(0.002, 0, 0 voxels)"), more="--grid ignore", value=IOU,
    ),
    "23 an origin in a quaternion's header": Refusal(
        nii(FOUND[..., None].astype(np.uint8), (-8, 0, 0), qform=True),
        nii(TRUE[..., None].astype(np.uint8), qform=True),
        (ORIGIN, "(-10, 0, 0 voxels)"), more="--grid ignore", value=IOU,
    ),
    "header of np.eye(4)": Refusal(
        nii(FOUND[..., None].astype(np.uint8), affine=np.eye(4)),
        nii(TRUE[..., None].astype(np.uint8)),
        ("has a spacing of 1×1 mm", "its affine is np.eye(4): save it with that of"),
        more="--grid ignore", value=IOU,
    ),
    "header of np.eye(4) of the truth": Refusal(
        nii(FOUND[..., None].astype(np.uint8)),
        nii(TRUE[..., None].astype(np.uint8), affine=np.eye(4)),
        ("gt/a.nii.gz is np.eye(4): correct it", "--grid ignore"), more="--grid ignore", value=IOU,
    ),
    "24 a truth with a fraction": Refusal(
        pil(FOUND_LABELS), npy(np.where(ROWS == 3, 1.37, LABELS + 0.0)),
        ("gt/a.npy holds 1.37 among numbers that are mostly whole", "nearest neighbour"),
        steps={"gt": array_of(LABELS)}, value=LABELS_IOU,
    ),
    "24 a prediction with a fraction": Refusal(
        nii(np.where(ROWS == 3, 1.37, FOUND_LABELS + 0.0)), nii(LABELS),
        ("pred/a.nii.gz has value 1.37 in 60 pixels", "nearest neighbour"),
        steps={"pred": lambda path: nii(FOUND_LABELS)[1](path)}, value=LABELS_IOU,
    ),
    "24 a truth beyond the tolerance": Refusal(
        pil(FOUND_LABELS), tif(LABELS + np.where(ROWS == 3, np.float32(0.002), np.float32(0))),
        ("gt/a.tif holds 0.002 among", "nearest neighbour"),
        steps={"gt": array_of(LABELS)}, value=LABELS_IOU,
    ),
    **{
        f"{name} TIFF": Refusal(
            tif(FOUND.astype(dtype)), tif(TRUE.astype(dtype)),
            (f"is a TIFF of {words} a pixel", "np.save"), step=as_npy, value=IOU,
        )
        for name, dtype, words in (
            ("64-bit", np.int64, "64-bit signed integers"),
            ("64-bit unsigned", np.uint64, "64-bit unsigned integers"),
            ("64-bit float", np.float64, "64-bit floats"),
            ("float16", np.float16, "16-bit floats"),
        )
    },
    "5-band TIFF": Refusal(
        tif(np.stack([FOUND] * 5, -1).astype(np.uint8), **BANDS), MASK,
        ("is a TIFF of 5 × 8-bit unsigned integers a pixel", "np.save"),
        steps={"pred": array_of(FOUND.astype(np.uint8))}, value=IOU,
    ),
    "5-band BigTIFF": Refusal(
        tif(np.stack([FOUND] * 5, -1).astype(np.float32), **BANDS, bigtiff=True), MASK,
        ("is a TIFF of 5 × 32-bit floats a pixel",),
    ),
    "background −1 in a TIFF": Refusal(
        tif(FOUND.astype(np.int8) - 1), pil(LABELS), ("-1, 0", "pred/a.tif"), MULTI
    ),
    "EXIF turn of the truth": Refusal(
        pil(GREY_NOISY), pil(GREY, exif=TURNED),
        ("is 60×40 where", "is 40×60", "gt/a.png was applied, this file looks unturned: rotate it"),
        L1, steps={"pred": rotated}, value=l1_of(GREY_NOISY, GREY, 255),
    ),
    "EXIF turn of the prediction": Refusal(
        pil(GREY_NOISY, exif=TURNED), pil(GREY),
        ("of this file was applied,", "gt/a.png looks unturned: rotate it"),
        L1, steps={"gt": rotated}, value=l1_of(GREY_NOISY, GREY, 255),
    ),
    "EXIF turn, and one row short": Refusal(
        pil(GREY_NOISY[1:]), pil(GREY, exif=TURNED), ("was applied, this file looks unturned",), L1
    ),
    "one row short": Refusal(
        pil(np.uint8(255) * FOUND[1:]), MASK, ("crop or pad it as its model did",),
        steps={"pred": lambda path: FOUND_MASK[1](path)}, value=IOU,
    ),
    **{
        ending: Refusal(
            raw(ending, b"\0"), raw(ending, b"\0"),
            (f"it holds 1 × {ending}", "files that are read end in", ".npy", "numpy.save"),
            steps={"pred": array_of(FOUND), "gt": array_of(TRUE)}, value=IOU,
        )
        for ending in (".exr", ".flo", ".h5")
    },
    **{
        ending: Refusal(
            raw(ending, b"1 2 3"), raw(ending, b"1 2 3"),
            (f"it holds 1 × {ending}", "boxes are read from COCO's JSON files"),
        )
        for ending in (".txt", ".xml", ".csv")
    },
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_leads_to_the_number(
    case: str, tmp_path: Path, lossbench_command: Command
) -> None:
    files = REFUSALS[case]
    paths = written(tmp_path, files.pred, files.truth)
    arguments = ("eval", *paths, *files.options.split(), "-f", "json")
    refused = lossbench_command(*arguments)
    assert refused.returncode in (2, 3), refused.stderr
    for words in files.message:
        assert words in refused.stderr
    assert "--resize" not in refused.stderr or case == "one row short"
    if files.value is None:
        return
    for path in paths:
        if step := files.step or files.steps.get(path.name):
            step(next(path.iterdir()))
    done = lossbench_command(*arguments, *files.more.split())
    assert value_of(done) == pytest.approx(files.value, abs=2e-6)


@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".mhd", ".dcm"])
def test_volumes_of_other_formats_are_converted(
    ending: str, tmp_path: Path, lossbench_command: Command
) -> None:
    masks = [side.astype(np.uint8) for side in (FOUND, TRUE)]
    if ending != ".dcm":  # a file of one slice
        masks = [np.stack([mask] * 3) for mask in masks]
    paths = written(tmp_path, *(by_itk(mask, ending) for mask in masks))
    refused = lossbench_command("eval", *paths, "-l", "iou")
    assert refused.returncode == 3
    assert f'SimpleITK.WriteImage(SimpleITK.ReadImage("a{ending}"), "a.nii.gz")' in refused.stderr
    for path in paths:
        itk(path / f"a{ending}")
    assert value_of(lossbench_command("eval", *paths, "-l", "iou", "-f", "json")) == (
        pytest.approx(IOU)
    )


def test_one_slice_beside_volumes(tmp_path: Path, lossbench_command: Command) -> None:
    """Row 22: a case of one slice in a folder of volumes is judged by its own axes."""
    sides = {"pred": FOUND, "gt": TRUE}
    for side, mask in sides.items():
        (tmp_path / side).mkdir()
        for name, count in (("a", 1), ("b", 3)):
            volume = np.stack([mask.astype(np.uint8)] * count, -1)
            nii(volume)[1](tmp_path / side / f"{name}.nii.gz")
    done = lossbench_command(
        "eval", tmp_path / "pred", tmp_path / "gt", "-l", "hausdorff", "-f", "json"
    )
    expected = hausdorff_of(FOUND, TRUE, STEPS[:2])
    samples = {each["id"]: each["hausdorff"] for each in json.loads(done.stdout)["samples"]}
    assert samples == pytest.approx({"a": expected, "b": expected}, abs=1e-6)


# 40: damage


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]


def stored_png(image: Image.Image) -> bytes:
    """Without compression, so that a flipped bit is another pixel and nothing else."""
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=0)
    return stream.getvalue()


SMALL_PNG = stored_png(Image.fromarray(np.uint8(255) * FOUND))
LARGE_PNG = stored_png(Image.fromarray(np.tile(np.uint8(255) * FOUND, (9, 9))))
PALETTE_PNG = stored_png(indexed(FOUND.astype(np.uint8), PALETTE[:2]))
DAMAGED = {
    "40 a pixel of a PNG": (".png", flipped(SMALL_PNG, 900), "does not have its checksum"),
    "40 a pixel of a large PNG": (".png", flipped(LARGE_PNG, 99_000), "not have its checksum"),
    "40 an index of a palette": (".png", flipped(PALETTE_PNG, 250), "not have its checksum"),
    "40 a checksum": (".png", flipped(SMALL_PNG, len(SMALL_PNG) - 13), "not have its checksum"),
    "40 a PNG cut off": (".png", SMALL_PNG[:900], "is truncated"),
    "40 a TIFF cut off": (".tif", b"II*\0\x08\0\0\0\x0f\0" + b"\0" * 20, "is cut short"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_refused(case: str, tmp_path: Path, lossbench_command: Command) -> None:
    ending, content, message = DAMAGED[case]
    paths = written(tmp_path, raw(ending, content), MASK)
    done = lossbench_command("eval", *paths, "-l", "iou")
    assert done.returncode == 3
    assert f"pred/a{ending} " in done.stderr
    assert message in done.stderr


def test_damage_in_a_tiff_with_deflate_is_refused(
    tmp_path: Path, lossbench_command: Command
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, compression="zlib")
    content = (tmp_path / "a.tif").read_bytes()
    broken = flipped(content, len(content) - 700)
    paths = written(tmp_path, raw(".tif", broken), pil(GREY))
    assert lossbench_command("eval", *paths, *L1.split()).returncode == 3


# COCO's JSON files


def coco(change: Callable[[dict[str, Any], list[dict[str, Any]]], Any]) -> tuple[Any, Any]:
    truth: dict[str, Any] = {
        "images": [
            {"id": n, "file_name": f"val/{n:06d}.jpg", "width": 60, "height": 40} for n in (7, 8)
        ],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 3, "bbox": [5, 5, 20, 20], "area": 400}
            for n in (7, 8)
        ],
    }
    results = [
        {"image_id": 7, "category_id": 3, "bbox": [5, 5, 20, 20], "score": 0.9},
        {"image_id": 8, "category_id": 3, "bbox": [40, 5, 9, 9], "score": 0.8},
    ]
    change(truth, results)
    return results, truth


def every(name: str, write: Callable[[Any], Any], side: str = "results") -> Any:
    def change(truth: dict[str, Any], results: list[dict[str, Any]]) -> None:
        for entry in results if side == "results" else truth[side]:
            entry[name] = write(entry[name])

    return change


IDS = {
    "27 as numbers": every("image_id", int),
    "27 as text": every("image_id", str),
    "27 as floats": every("image_id", float),
    "27 as the name of a file": every("image_id", "{:06d}.jpg".format),
    "27 as the name without ending": every("image_id", "{:06d}".format),
    "27 as text in the truth": every("id", str, "images"),
    "27 as text in the annotations": every("image_id", str, "annotations"),
    "27 categories as text": every("category_id", str),
    "27 categories by name": every("category_id", lambda _: "cat"),
}
# One true detection of two objects, the best one: precision 1 up to recall .5, 51 of 101 points.
AP = 51 / 101


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("case", IDS)
def test_ids_are_matched_as_tools_write_them(
    case: str, encoding: str, tmp_path: Path, lossbench_command: Command
) -> None:
    for name, listed in zip(("pred.json", "gt.json"), coco(IDS[case]), strict=True):
        (tmp_path / name).write_text(json.dumps(listed), encoding=encoding)
    done = lossbench_command(
        "eval",
        tmp_path / "pred.json",
        tmp_path / "gt.json",
        "-l",
        "average_precision_boxes",
        "-f",
        "json",
    )
    assert done.returncode == 0, done.stderr
    (loss,) = json.loads(done.stdout)["aggregate"].values()
    assert loss["pooled"] == pytest.approx(AP)


NOT_COCO = {
    "no annotations": (lambda truth, _: truth.pop("annotations"), "has no list 'annotations'"),
    "two keys": (
        lambda truth, _: (truth.pop("images"), truth.pop("categories")),
        "has no list 'images' or 'categories'",
    ),
    "27 an unknown name": (
        every("image_id", lambda _: "cat.jpg"),
        "(image_id 'cat.jpg') is in no image of the ground truth, whose ids are 7, 8",
    ),
    "27 an unknown category": (every("category_id", lambda _: "dog"), "category_id 'dog', which"),
}


@pytest.mark.parametrize("case", NOT_COCO)
def test_what_is_missing_in_json_is_named(
    case: str, tmp_path: Path, lossbench_command: Command
) -> None:
    change, message = NOT_COCO[case]
    for name, listed in zip(("pred.json", "gt.json"), coco(change), strict=True):
        (tmp_path / name).write_text(json.dumps(listed))
    done = lossbench_command(
        "eval", tmp_path / "pred.json", tmp_path / "gt.json", "-l", "average_precision_boxes"
    )
    assert done.returncode == 3
    assert message in done.stderr
