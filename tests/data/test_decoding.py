"""One file into numbers: every kind of picture and array, and what must be refused."""

from __future__ import annotations

import io
import math
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lossbench
from lossbench.data.arrays import strips
from lossbench.data.formats.plain_png import decode_plain
from lossbench.data.sources.read import read
from lossbench.runtime.pillow_limit import lift_pixel_limit

GREY = np.array([[0, 51, 102], [153, 204, 255]], np.uint8)  # p = 0, .2, .4, .6, .8, 1
MASK = np.array([[0, 0, 255], [255, 0, 255]], np.uint8)
LABELS = np.array([[0, 1], [2, 2]], np.uint8)
TRUTH = np.array([[0, 1], [1, 2]], np.uint8)
# Dice loss of LABELS against TRUTH by class: 0 right, 1 − 2·1/(1+2), 1 − 2·1/(2+1).
LABELS_DICE = (0 + 1 / 3 + 1 / 3) / 3
COLOURS = np.array([[0, 0, 0], [128, 64, 128], [0, 0, 142]], np.uint8)
NAMED = {"background": [0, 0, 0], "road": [128, 64, 128], "car": "#00008e"}


def saved(path: Path, image: Image.Image, **how: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **how)
    return str(path)


def indexed(array: Any, colours: Any = COLOURS) -> Image.Image:
    image = Image.fromarray(np.asarray(array), "L").convert("P")
    image.putdata(np.asarray(array).ravel().tolist())
    image.putpalette(np.asarray(colours, np.uint8).ravel().tolist())
    return image


def values(pred: Any, target: Any, loss: str = "dice", **how: Any) -> list[float]:
    """The loss of every sample, after a run without errors."""
    result = lossbench.evaluate(pred, target, loss, **how)
    assert not result.failed
    return list(result.values[loss].samples)


def png(array: np.ndarray) -> bytes:
    """A 16-bit RGB picture, which Pillow cannot write."""
    height, width, _ = array.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return chunked([(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


def chunked(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG file of chunks by name."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


# What a file holds


def drawn_png(mode: str, size: tuple[int, int], **how: Any) -> bytes:
    """A picture in a PNG file as Pillow writes it; a palette's mode says how many bits."""
    stored = np.random.default_rng(0).integers(0, 7, (*size[::-1], 4), dtype=np.uint8)
    picture = Image.fromarray(stored).convert("L" if mode[0] in "IP" else mode)
    if mode[0] == "P":
        bits = int(mode[2:])
        grey = np.asarray(picture) & ((1 << bits) - 1)
        picture = indexed(grey, np.arange(3 << bits).reshape(-1, 3) % 256)
    picture = picture.convert("I").convert(mode) if mode == "I;16" else picture
    file = io.BytesIO()
    picture.save(file, "png", **how)
    return file.getvalue()


@pytest.mark.parametrize(
    "mode", ["1", "L", "I;16", "P;1", "P;2", "P;4", "P;8", "LA", "RGB", "RGBA"]
)
@pytest.mark.parametrize("size", [(1, 1), (13, 9), (300, 170)])  # the last one has several chunks
def test_a_png_is_what_pillow_opens(tmp_path, mode, size, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.MAXBLOCK", 4096)
    file, path = drawn_png(mode, size), tmp_path / "a.png"
    path.write_bytes(file)
    found, expected = read(str(path)), Image.open(io.BytesIO(file))
    assert (found.mode, found.format) == (expected.mode, "PNG")
    assert found.array.dtype == np.asarray(expected).dtype
    assert np.array_equal(found.array, np.asarray(expected))
    if mode[0] == "P":
        colours = expected.getpalette() or []
        assert found.palette is not None
        assert found.palette.ravel().tolist() == colours + [0] * (3 * 256 - len(colours))


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_levels_of_few_bits_are_what_pillow_opens(tmp_path, bits):
    rows = bytes([0, 0b00011011, 0b10000110]) * 3  # of each, how it is filtered and two bytes
    head = struct.pack(">IIBBBBB", 8 * 2 // bits, 3, bits, 0, 0, 0, 0)
    file = chunked([(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])
    (tmp_path / "a.png").write_bytes(file)
    expected = np.asarray(Image.open(io.BytesIO(file)))
    np.testing.assert_array_equal(read(str(tmp_path / "a.png")).array, expected)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_rows_that_a_png_lacks_are_zeros(tmp_path, mode):
    """Its compressed data ends as it should, before the last row. Never what was there before."""
    colour, width = (0, 5) if mode == "L" else (2, 15)
    head = struct.pack(">IIBBBBB", 5, 64, 8, colour, 0, 0, 0)
    rows = bytes([0, *[7] * width]) * 10
    file = chunked([(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])
    (tmp_path / "a.png").write_bytes(file)
    for _ in range(20):
        np.full(64 * width, 99, np.uint8).sum()
        found = read(str(tmp_path / "a.png")).array
        assert (found[:10] == 7).all()
        assert (found[10:] == 0).all()


@pytest.mark.parametrize("mode", ["L", "P;8", "RGB"])
def test_a_damaged_png_is_refused_or_what_pillow_opens(tmp_path, mode):
    file, path = drawn_png(mode, (9, 13)), tmp_path / "a.png"
    changed = [bytes([*file[:at], file[at] ^ 0x41, *file[at + 1 :]]) for at in range(len(file))]
    refused = 0
    for damaged in (*(file[:length] for length in range(len(file))), *changed):
        path.write_bytes(damaged)
        try:
            found = read(str(path)).array
        except lossbench.InputError:
            refused += 1
            continue
        with Image.open(io.BytesIO(damaged)) as expected:
            assert np.array_equal(found, np.asarray(expected))
    assert refused > len(file)


@pytest.mark.parametrize(
    ("mode", "how"),
    [
        ("L", {"transparency": 3}),
        ("L", {"dpi": (72, 72)}),
        ("L", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"}),
    ],
)
def test_an_unusual_png_is_left_to_pillow(mode, how):
    assert decode_plain(drawn_png(mode, (9, 13), **how)) is None


@pytest.mark.parametrize(
    "mode", ["1", "L", "I;16", "P;1", "P;2", "P;4", "P;8", "LA", "RGB", "RGBA"]
)
def test_a_plain_png_is_not_left_to_pillow(mode):
    """Other tests compare what is read; this one says that the shorter way is taken."""
    file = drawn_png(mode, (9, 13))
    plain = decode_plain(file)
    assert plain is not None
    assert list(plain.colours) == (Image.open(io.BytesIO(file)).getpalette() or [])
    assert all(decode_plain(file[:length]) is None for length in range(len(file)))


def test_an_interlaced_png_and_one_that_claims_too_much_are_left_to_pillow():
    def changed(place: int, number: int) -> bytes:
        head = bytearray(file[16:29])
        head[place] = number
        return file[:16] + head + zlib.crc32(b"IHDR" + head).to_bytes(4, "big") + file[33:]

    file = drawn_png("L", (9, 13))
    assert decode_plain(changed(3, 9)) is not None  # as it was
    assert all(decode_plain(changed(place, 1)) is None for place in (10, 11, 12))
    assert all(decode_plain(changed(place, 0x70)) is None for place in (0, 4))
    assert decode_plain(changed(7, 0)) is None


MODES = ["L", "P", "1", "LA", "RGB", "RGBA", "CMYK", "I;16", "I;16B", "I", "F"]
WIDE = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4", "F": "<f4"}


@pytest.mark.parametrize("size", [(37, 511), (1, 1), (5, 3)])
@pytest.mark.parametrize("mode", MODES)
def test_a_picture_read_whole_or_by_strips_is_what_numpy_gets_of_it(
    mode, size, tmp_path, monkeypatch
):
    """In every format that takes the mode."""
    numbers = np.random.default_rng(0).integers(0, 256, (*size, 4)).astype(np.uint8)
    image = Image.fromarray(numbers).convert("RGB" if mode in WIDE else mode)
    if mode in WIDE:
        image = Image.fromarray((numbers[..., 0] * 257.0).astype(WIDE[mode]))
    for ending in ("png", "tiff", "bmp", "webp", "gif", "jpg", "ppm", "tga"):
        path = tmp_path / f"one.{ending}"
        try:
            image.save(path)
        except (OSError, ValueError):  # the format has no such mode
            continue
        with Image.open(path) as opened:
            wanted = np.asarray(opened.convert("RGB") if opened.mode == "CMYK" else opened)
        if ending == "ppm" and wanted.dtype == np.int32:
            wanted = wanted.astype(np.uint16)  # the 16 bits that a netpbm file has
        for strip in (strips.STRIP, 600):
            monkeypatch.setattr(strips, "STRIP", strip)
            found = read(str(path)).array
            assert found.dtype == wanted.dtype.newbyteorder("=")
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("ending", ["png", "tif", "jpg", "webp"])
def test_the_library_heeds_pillow_s_limit_and_a_program_may_lift_it(tmp_path, monkeypatch, ending):
    path = saved(tmp_path / f"a.{ending}", Image.fromarray(np.tile(GREY, (40, 40))))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    with pytest.raises(lossbench.InputError) as error:
        read(path)
    assert str(error.value) == (
        f"{path} has more than the 8,000 pixels that this process lets Pillow decode; where its"
        " files are trusted, set PIL.Image.MAX_IMAGE_PIXELS = None"
    )
    lift_pixel_limit()
    assert read(path).array.shape[:2] == (80, 120)


def test_a_palette_picture_gives_its_indices(tmp_path):
    picture = read(saved(tmp_path / "a.png", indexed(LABELS)))
    assert picture.mode == "P"
    np.testing.assert_array_equal(picture.array, LABELS)
    np.testing.assert_array_equal(picture.palette[:3], COLOURS)


def test_a_transparent_palette_entry_changes_no_index(tmp_path):
    picture = read(saved(tmp_path / "a.png", indexed(LABELS), transparency=1))
    np.testing.assert_array_equal(picture.array, LABELS)


@pytest.mark.parametrize(
    ("array", "ending"),
    [
        (MASK > 0, "png"),
        (MASK > 0, "tif"),
        (GREY, "png"),
        (GREY, "bmp"),
        (GREY, "tif"),
        (GREY, "pgm"),
        (GREY.astype(np.uint16) * 257, "png"),
        (GREY.astype(np.uint16) * 257, "tif"),
        (GREY.astype(np.int32) * 70000, "tif"),
        (GREY.astype(np.float32) / 255, "tif"),
        (np.dstack([GREY, MASK, GREY]), "png"),
        (np.dstack([GREY, MASK, GREY]), "bmp"),
        (np.dstack([GREY, MASK, GREY, MASK]), "png"),
    ],
)
def test_lossless_pictures_are_read_as_they_were_stored(tmp_path, array, ending):
    found = read(saved(tmp_path / f"a.{ending}", Image.fromarray(array))).array
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("lossless", ["webp", "gif"])
def test_lossless_colour_and_index_formats_are_exact(tmp_path, lossless):
    image = indexed(LABELS) if lossless == "gif" else Image.fromarray(np.dstack([GREY] * 3))
    expected = LABELS if lossless == "gif" else np.dstack([GREY] * 3)
    how = {} if lossless == "gif" else {"lossless": True}
    path = saved(tmp_path / f"a.{lossless}", image, **how)
    np.testing.assert_array_equal(read(path).array, expected)


def test_big_endian_16_bit_numbers_keep_their_values(tmp_path):
    array = np.array([[1, 256], [4660, 65535]], ">u2")
    picture = read(saved(tmp_path / "a.tif", Image.fromarray(array)))
    np.testing.assert_array_equal(picture.array, [[1, 256], [4660, 65535]])
    assert picture.array.dtype.name == "uint16"


def test_cmyk_becomes_rgb(tmp_path):
    # No ink is white; full cyan takes away red; full black is black.
    inks = np.zeros((8, 24, 4), np.uint8)
    inks[:, 8:16, 0] = 255
    inks[:, 16:, 3] = 255
    picture = read(saved(tmp_path / "a.jpg", Image.fromarray(inks, "CMYK"), quality=100))
    assert picture.mode == "RGB"
    seen = picture.array[4, [4, 12, 20]].astype(int)
    np.testing.assert_allclose(seen, [[255, 255, 255], [0, 255, 255], [0, 0, 0]], atol=3)


# Exif 2.32, tag 274: what has to be done to the stored picture so that it stands upright.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(
    ("ending", "how"),
    [
        ("png", {}),
        ("tif", {}),
        ("tif", {"compression": "tiff_lzw"}),
        ("webp", {"lossless": True}),
    ],
)
def test_a_picture_is_turned_upright_as_its_exif_says(tmp_path, ending, how, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    image = Image.fromarray(np.dstack([GREY] * 3) if ending == "webp" else GREY)
    found = read(saved(tmp_path / f"a.{ending}", image, exif=exif.tobytes(), **how)).array
    found = found[..., 0] if ending == "webp" else found
    np.testing.assert_array_equal(found, UPRIGHT[orientation](GREY))


@pytest.mark.parametrize("ending", ["gif", "tif", "webp", "png"])
def test_several_pictures_in_a_file_are_refused(tmp_path, ending):
    frames = [indexed(LABELS).convert("RGB"), indexed(TRUTH).convert("RGB")]
    path = saved(tmp_path / f"a.{ending}", frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(lossbench.InputError, match=r"a\..* holds 2 pictures"):
        read(path)


def test_arrays_are_read_as_they_were_stored(tmp_path):
    array = np.arange(24, dtype=np.float16).reshape(2, 3, 4) / 7
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "one.npz", anything=array)
    np.savez_compressed(tmp_path / "compressed.npz", array)
    for name in ("a.npy", "one.npz", "compressed.npz"):
        found = read(str(tmp_path / name)).array
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, array)


def test_an_archive_of_two_arrays_names_them(tmp_path):
    np.savez(tmp_path / "a.npz", prob=GREY, seg=MASK)
    with pytest.raises(lossbench.InputError, match=r"holds 2 arrays \(prob, seg\)"):
        read(str(tmp_path / "a.npz"))


class Trap:
    """An object that leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "raw.npy"])
def test_pickles_are_refused_and_not_run(tmp_path, name):
    mark, path = tmp_path / "mark", tmp_path / name
    objects = np.array([Trap(mark)], dtype=object)
    if name == "raw.npy":
        path.write_bytes(pickle.dumps(objects))
    elif name == "a.npy":
        np.save(path, objects, allow_pickle=True)
    else:
        np.savez(path, objects)
    with pytest.raises(lossbench.InputError, match="pickled objects"):
        read(str(path))
    assert not mark.exists()
    pickle.loads(pickle.dumps(objects))
    assert mark.exists()  # the trap works


# What cannot be read: one error with the file's name, and everything else evaluated


def as_bytes(write: Callable[[Any], Any]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


PNG = as_bytes(lambda file: Image.fromarray(np.tile(GREY, (40, 40))).save(file, "PNG"))
NPY = as_bytes(lambda file: np.save(file, GREY))
NPZ = as_bytes(lambda file: np.savez_compressed(file, np.tile(GREY, (40, 40))))
# A TIFF whose directory has no entries, and a bitmap of 2³² − 1 columns.
TIFF = struct.pack("<2sHIHI", b"II", 42, 8, 0, 0)
BMP = struct.pack("<2s5IiHH6I", b"BM", 54, 0, 54, 40, 2**32 - 1, 9, 1, 24, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("truncated.png", PNG[: len(PNG) // 2]),
        ("header.png", PNG[:20]),
        ("text.png", b"hello"),
        ("empty.png", b""),
        ("array.png", NPY),
        ("no_entries.tif", TIFF),
        ("wide.bmp", BMP),
        ("truncated.npy", NPY[:-2]),
        ("text.npy", b"hello"),
        ("empty.npy", b""),
        ("archive.npy", NPZ),
        ("truncated.npz", NPZ[: len(NPZ) // 2]),
        ("damaged.npz", NPZ[:60] + bytes(4) + NPZ[64:]),
        ("text.npz", b"hello"),
        ("empty.npz", b""),
        ("plain.npz", NPY),
        ("words.npy", as_bytes(lambda file: np.save(file, np.array([["a", "b"]])))),
        ("complex.npy", as_bytes(lambda file: np.save(file, MASK * 1j))),
        ("dates.npy", as_bytes(lambda file: np.save(file, MASK.astype("datetime64[s]")))),
        ("records.npy", as_bytes(lambda file: np.save(file, np.zeros((2, 3), "u1,u1")))),
        ("nothing.npy", as_bytes(lambda file: np.save(file, np.zeros((0, 3), np.uint8)))),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
@pytest.mark.parametrize("role", ["pred", "gt"])
def test_a_file_that_cannot_be_read_is_one_error(folder, role, name, content):
    stem = name.split(".")[0]
    folders = {each: folder(each, {"good.png": MASK}) for each in ("pred", "gt")}
    for each in {"pred", "gt"} - {role}:
        folder(each, {f"{stem}.png": MASK})
    (folders[role] / name).write_bytes(content)
    result = lossbench.evaluate(folders["pred"], folders["gt"], "dice")
    assert result.ids == ["good"]
    assert result.values["dice"].samples == [0]
    [failed] = result.failed
    assert failed.id == stem
    assert failed.file == str(folders[role] / name)
    assert str(folders[role] / name) in failed.message
    assert failed.role == {"pred": "pred", "gt": "target"}[role]


@pytest.mark.parametrize("name", ["text.npy", "text.npz"])
def test_a_file_of_text_is_not_called_a_pickle(tmp_path, name):
    (tmp_path / name).write_bytes(b"hello")
    with pytest.raises(lossbench.InputError) as caught:
        read(str(tmp_path / name))
    assert "pickle" not in str(caught.value)


def test_an_empty_file_and_a_text_say_what_they_are(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("<html>Not found")
    with pytest.raises(lossbench.InputError, match="empty"):
        read(str(tmp_path / "empty.png"))
    with pytest.raises(lossbench.InputError, match="<html>"):
        read(str(tmp_path / "text.png"))


def test_if_no_file_can_be_read_the_run_says_why(folder):
    pred, gt = folder("pred", {"a.png": MASK}), folder("gt", {"a.png": MASK})
    (pred / "a.png").write_bytes(PNG[:50])
    with pytest.raises(lossbench.InputError, match=r"pred/a\.png"):
        lossbench.evaluate(pred, gt, "dice")


def test_colour_of_16_bits_does_not_lose_its_low_byte(tmp_path):
    picture = np.full((2, 2, 3), 0x1200, np.uint16)
    for role, array in (("pred", picture), ("gt", picture + 0xFF)):
        (tmp_path / role).mkdir()
        (tmp_path / role / "a.png").write_bytes(png(array))
    try:
        result = lossbench.evaluate(tmp_path / "pred", tmp_path / "gt", "l1")
    except lossbench.InputError:
        return  # refusing is as honest as reading
    assert result.failed or result.values["l1"].samples == [pytest.approx(0xFF / 0xFFFF)]


# Encodings, end to end


@pytest.mark.parametrize(
    "foreground", [np.uint8(1), np.uint8(255), np.True_, np.uint16(65535), np.float32(1)]
)
@pytest.mark.parametrize("ending", ["png", "npy", "tif"])
def test_masks_of_any_foreground_are_masks(folder, foreground, ending):
    if isinstance(foreground, np.float32) and ending == "png":
        ending = "npy"
    pred = folder("pred", {f"a.{ending}": (MASK > 0) * foreground})
    gt = folder("gt", {"a.png": np.array([[0, 255, 255], [255, 0, 0]], np.uint8)})
    assert values(pred, gt) == [pytest.approx(1 - 2 * 2 / (3 + 3))]


def test_8_bit_probabilities(folder):
    pred, gt = folder("pred", {"a.png": GREY}), folder("gt", {"a.png": MASK})
    result = lossbench.evaluate(pred, gt, ["dice", "bce", "l1", "iou"])
    # p = 0, .2, .4, .6, .8, 1 and y = 0, 0, 1, 1, 0, 1
    assert result.values["dice"].samples == [pytest.approx(1 - 2 * (0.4 + 0.6 + 1) / (3 + 3))]
    logs = [math.log(x) for x in (1, 0.8, 0.4, 0.6, 0.2, 1)]
    assert result.values["bce"].samples == [pytest.approx(-sum(logs) / 6)]
    assert result.values["l1"].samples == [pytest.approx((0.2 + 0.6 + 0.4 + 0.8) / 6)]
    assert result.values["iou"].samples == [2 / 4]  # hits .6 and 1, false alarm .8, miss .4


@pytest.mark.parametrize(
    "stored", [GREY / 255, (GREY / 255).astype(np.float32), (GREY / 255).astype(">f8")]
)
def test_float_probabilities(folder, stored):
    pred, gt = folder("pred", {"a.npy": stored}), folder("gt", {"a.png": MASK})
    assert values(pred, gt) == [pytest.approx(1 - 2 * (0.4 + 0.6 + 1) / (3 + 3))]


def test_16_bit_probabilities(folder):
    pred = folder("pred", {"a.png": GREY.astype(np.uint16) * 257})
    assert values(pred, folder("gt", {"a.png": MASK})) == [
        pytest.approx(1 - 2 * (0.4 + 0.6 + 1) / (3 + 3))
    ]


def test_logits_go_through_the_sigmoid():
    logits, mask = np.array([[-2.0, 0.0, 3.0]]), np.array([[0, 1, 1]])
    p = [1 / (1 + math.exp(-x)) for x in (-2, 0, 3)]
    assert values([logits], [mask]) == [pytest.approx(1 - 2 * (p[1] + p[2]) / (sum(p) + 2))]
    bce = -(math.log(1 - p[0]) + math.log(p[1]) + math.log(p[2])) / 3
    assert values([logits], [mask], "bce") == [pytest.approx(bce)]


def test_labels(folder):
    pred, gt = folder("pred", {"a.png": LABELS}), folder("gt", {"a.png": TRUTH})
    result = lossbench.evaluate(pred, gt, ["dice", "accuracy"])
    assert result.values["dice"].samples == [pytest.approx(LABELS_DICE)]
    assert [row[0] for row in result.values["dice"].classes] == pytest.approx([0, 1 / 3, 1 / 3])
    assert result.values["accuracy"].samples == [3 / 4]


def test_class_probabilities_and_logits_agree():
    logits = np.log([[[0.7, 0.2]], [[0.2, 0.3]], [[0.1, 0.5]]])  # (3, 1, 2)
    labels = np.array([[0, 1]])
    expected = -(math.log(0.7) + math.log(0.3)) / 2
    for pred in (np.exp(logits), logits - 5):
        assert values([pred], [labels], "cross_entropy") == [pytest.approx(expected)]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_one_hot_ground_truth_equals_its_labels(dtype):
    # LOSSES.md, cross_entropy: "target as labels, one-hot or soft".
    probabilities = np.array([[[0.7, 0.2]], [[0.2, 0.3]], [[0.1, 0.5]]])
    one_hot = np.array([[[1, 0]], [[0, 1]], [[0, 0]]], dtype)
    found = lossbench.evaluate(
        [probabilities], [one_hot], ["cross_entropy", "dice"], task="multiclass"
    )
    assert not found.failed
    expected = -(math.log(0.7) + math.log(0.3)) / 2
    assert found.values["cross_entropy"].samples == [pytest.approx(expected)]
    dice = [1 - 1.4 / 1.9, 1 - 0.6 / 1.5, 1]  # I, P and Y by class: .7 .9 1, .3 .5 1, 0 .6 0
    assert found.values["dice"].samples == [pytest.approx(sum(dice) / 3)]


def test_images_are_compared_in_0_to_1(folder):
    pred = folder("pred", {"a.png": np.dstack([GREY] * 3)})
    gt = folder("gt", {"a.png": np.dstack([GREY, GREY, 255 - GREY])})
    expected = (1 + 0.6 + 0.2) * 2 / (6 * 3)  # |1 − 2p| of one channel, 0 of two
    assert values(pred, gt, "l1") == [pytest.approx(expected)]


def test_an_opaque_alpha_channel_changes_nothing(folder):
    colour = np.dstack([GREY, MASK, GREY])
    pred = folder("pred", {"a.png": np.dstack([255 - colour, np.full_like(GREY, 255)])})
    assert values(pred, folder("gt", {"a.png": 255 - colour}), "l1") == [0]
    grey = Image.fromarray(np.dstack([GREY, np.full_like(GREY, 255)]), "LA")
    saved(pred / "a.png", grey)
    assert values(pred, folder("gt", {"a.png": GREY}), "l1", task="image") == [0]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_pixels_have_no_value(folder, mode):
    alpha = np.array([[255, 255, 255], [255, 255, 254]], np.uint8)
    layers = np.dstack([GREY] * (1 if mode == "LA" else 3) + [alpha])
    gt = folder("gt", {"a.png": GREY if mode == "LA" else np.dstack([GREY] * 3)})
    saved(gt.parent / "pred/a.png", Image.fromarray(layers, mode))
    [failed] = lossbench.evaluate(gt.parent / "pred", gt, "l1", task="image").failed
    assert "transparent" in failed.message


def test_palette_indices_are_labels(folder):
    gt = folder("gt", {"a.png": indexed(TRUTH)})
    pred = folder("pred", {"a.png": indexed(LABELS, COLOURS[::-1])})  # the colours do not count
    assert values(pred, gt) == [pytest.approx(LABELS_DICE)]
    assert values(folder("plain", {"a.png": LABELS}), gt) == [pytest.approx(LABELS_DICE)]


@pytest.mark.parametrize("pred", ["colours", "indices", "palette"])
@pytest.mark.parametrize("target", ["colours", "palette"])
def test_colours_name_classes(folder, pred, target):
    shapes = {
        "colours": lambda labels: COLOURS[labels],
        "indices": lambda labels: labels,
        "palette": lambda labels: indexed(labels),
    }
    predicted = folder("pred", {"a.png": shapes[pred](LABELS)})
    truth = folder("gt", {"a.png": shapes[target](TRUTH)})
    result = lossbench.evaluate(predicted, truth, "dice", classes=NAMED)
    assert [failed.message for failed in result.failed] == []
    assert result.class_names == ("background", "road", "car")
    assert result.values["dice"].samples == [pytest.approx(LABELS_DICE)]


def test_a_palette_in_another_order_is_read_by_its_colours(folder):
    # Palette entries are those of this file alone: index 2 is the background's black here.
    gt = folder("gt", {"a.png": indexed(2 - TRUTH, COLOURS[::-1])})
    pred = folder("pred", {"a.png": COLOURS[LABELS]})
    assert values(pred, gt, classes=NAMED) == [pytest.approx(LABELS_DICE)]


def test_a_colour_without_a_class_is_an_error_that_names_it(folder):
    colours = COLOURS.copy()
    colours[2] = [1, 2, 3]
    pred = folder("pred", {"a.png": COLOURS[LABELS], "b.png": COLOURS[LABELS]})
    gt = folder("gt", {"a.png": colours[TRUTH], "b.png": COLOURS[TRUTH]})
    result = lossbench.evaluate(pred, gt, "dice", classes=NAMED)
    assert result.ids == ["b"]
    [failed] = result.failed
    assert "#010203" in failed.message
    assert str(gt / "a.png") in failed.message


def test_colours_need_no_alpha_but_may_have_one(folder):
    opaque = np.dstack([COLOURS[TRUTH], np.full_like(TRUTH, 255)])
    pred, gt = folder("pred", {"a.png": LABELS}), folder("gt", {"a.png": opaque})
    assert values(pred, gt, classes=NAMED) == [pytest.approx(LABELS_DICE)]


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (["sky", "road", "car"], ("sky", "road", "car")),
        ("sky, road, car", ("sky", "road", "car")),
        (3, ("0", "1", "2")),
        ({0: "sky", 1: "road", 2: "car"}, ("sky", "road", "car")),
        ("{0: sky, 1: no, 2: car}", ("sky", "no", "car")),  # `no` is a name, not false
    ],
)
def test_classes_have_names(folder, classes, names):
    pred, gt = folder("pred", {"a.png": LABELS}), folder("gt", {"a.png": TRUTH})
    result = lossbench.evaluate(pred, gt, "dice", classes=classes)
    assert result.class_names == names
    assert result.values["dice"].samples == [pytest.approx(LABELS_DICE)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_stored_values_stand_for_classes(folder, dtype):
    stored = np.array([0, 7, 26], dtype)
    gt = folder("gt", {"a.tif": stored[TRUTH]})
    classes = {0: "background", 7: "road", 26: "car"}
    for name, labels in (("stored", stored[LABELS]), ("indices", LABELS)):
        pred = folder(name, {"a.tif": labels})
        result = lossbench.evaluate(pred, gt, "dice", classes=classes)
        assert result.class_names == ("background", "road", "car")
        assert result.values["dice"].samples == [pytest.approx(LABELS_DICE)]


def test_several_values_may_be_one_class():
    classes = {0: "background", 1: "vehicle", 2: "vehicle"}
    result = lossbench.evaluate([LABELS], [TRUTH], "accuracy", classes=classes)
    assert result.class_names == ("background", "vehicle")
    assert result.values["accuracy"].samples == [1]


def test_a_class_that_is_in_no_file_is_undefined():
    result = lossbench.evaluate([LABELS], [TRUTH], "dice", classes=["a", "b", "c", "d"])
    assert math.isnan(result.values["dice"].classes[3][0])
    assert result.class_aggregates["dice"]["d"]["undefined"] == 1
    assert result.values["dice"].samples == [pytest.approx(LABELS_DICE)]


@pytest.mark.parametrize(
    "classes", [0, -1, True, [], ["a", "a"], {"a": [0, 0, 256]}, {0: "a", "b": [0, 0, 0]}, 1.5]
)
def test_classes_of_no_meaning_are_a_wrong_setting(classes):
    with pytest.raises(lossbench.SettingError):
        lossbench.evaluate([LABELS], [TRUTH], "dice", classes=classes)


# What is ignored, weighed, thresholded, resized, empty


@pytest.mark.parametrize(
    ("ignore", "right"),
    [
        ([7, 8, 9], 2 / 3),
        ("7,8,9", 2 / 3),
        ("7-9", 2 / 3),
        ([7, "8-9"], 2 / 3),
        ("8 - 9", 2 / 4),
        (9, 2 / 5),
        ("none", 2 / 6),
    ],
)
def test_ignored_labels_leave_every_sum(ignore, right):
    pred, gt = np.array([[0, 1, 1, 0, 1, 1]]), np.array([[0, 1, 0, 7, 8, 9]])
    assert values([pred], [gt], "accuracy", ignore=ignore) == [pytest.approx(right)]


def test_255_apart_from_the_labels_is_ignored_and_noted():
    pred, gt = np.array([[0, 1, 1, 0]]), np.array([[0, 1, 0, 255]])
    run = lossbench.plan([pred], [gt], "accuracy", task="multiclass")
    assert run.evaluate().values["accuracy"].samples == [pytest.approx(2 / 3)]
    assert any("255" in note for note in run.plan.notes)


@pytest.mark.parametrize("ignore", ["road", "1.5.5", "5-", "255-250"])
def test_an_ignore_that_ignores_nothing_is_a_wrong_setting(ignore):
    with pytest.raises(lossbench.SettingError, match=ignore):
        lossbench.evaluate([LABELS], [TRUTH], "dice", ignore=ignore)


def test_ignore_none_makes_a_class_of_255(folder):
    gt = np.array([[0, 1, 255]], np.uint8)
    result = lossbench.evaluate([gt], [gt], "dice", ignore="none", task="multiclass")
    assert len(result.class_names) == 256


def test_a_label_that_is_not_ignored_stays():
    gt = np.array([[0, 1, 2, 2]], np.uint8)
    pred = np.array([[0, 1, 0, 0]], np.uint8)
    assert values([pred], [gt], "accuracy") == [2 / 4]
    assert values([pred], [gt], "accuracy", ignore=2) == [1]


def test_a_mask_folder_takes_pixels_out(folder):
    pred, gt = folder("pred", {"a.png": GREY}), folder("gt", {"a.png": MASK})
    masks = folder("mask", {"a.png": np.array([[0, 0, 0], [255, 1, 0]], np.uint8)})
    mask = f"{masks}@1,255"
    # Left are p = .6 with y = 1 and .8 with 0; or 0 with 0, .2 with 0, .4 with 1 and 1 with 1.
    assert values(pred, gt, "l1", inputs={"valid": mask}) == [pytest.approx((0.4 + 0.8) / 2)]
    assert values(pred, gt, "l1", inputs={"ignore": mask}) == [pytest.approx((0.2 + 0.6) / 4)]
    whole = lossbench.evaluate(pred, gt, ["l1", "dice"], inputs={"valid": mask, "ignore": mask})
    assert whole.aggregates["l1"]["undefined"] == whole.aggregates["dice"]["undefined"] == 1


@pytest.mark.parametrize("task", ["labels", "floats", "logits"])
def test_a_mask_folder_takes_pixels_out_of_every_encoding(task):
    valid = [np.array([[1, 1, 0]])]
    gt = [np.array([[1, 0, 1]])]
    pred = {
        "labels": np.array([[1, 1, 0]]),
        "floats": np.array([[0.9, 0.9, 0.1]]),
        "logits": np.array([[3.0, 3.0, -3.0]]),
    }[task]
    assert values([pred], gt, "accuracy", inputs={"valid": valid}) == [1 / 2]


def test_what_is_ignored_may_hold_anything():
    logits = np.array([[2.0, np.nan, np.inf]])
    how = {"inputs": {"valid": [[[1, 0, 0]]]}, "pred_encoding": "logits"}
    found = values([logits], [np.array([[1, 0, 1]])], "bce", **how)
    assert found == [pytest.approx(math.log(1 + math.exp(-2)))]


@pytest.mark.parametrize("role", ["valid", "weight"])
def test_a_mask_of_a_colour_picture_holds_for_its_channels(folder, role):
    pred = folder("pred", {"a.png": np.dstack([GREY] * 3)})
    gt = folder("gt", {"a.png": np.dstack([GREY, GREY, 255 - GREY])})
    mask = folder("mask", {"a.npy": np.array([[1, 0, 0], [0, 0, 0]])})
    assert values(pred, gt, "l1", inputs={role: mask}) == [pytest.approx(1 / 3)]


@pytest.mark.parametrize(
    "pred", [np.array([[[1, 1]], [[0, 1]]]), np.array([[[0.9, 0.9]], [[0.1, 0.9]]])]
)
def test_a_mask_of_each_class_holds_for_that_class(pred):
    gt, valid = np.array([[[1, 0]], [[1, 0]]]), np.array([[[1, 0]], [[1, 1]]])
    how = {"task": "multilabel", "inputs": {"valid": [valid]}}
    found = lossbench.evaluate([pred], [gt], "recall", **how)
    assert not found.failed
    assert [row[0] for row in found.values["recall"].classes] == [1, 0]
    precision = lossbench.evaluate([pred], [gt], "precision", **how)
    assert [row[0] for row in precision.values["precision"].classes] == [1, 0]


def test_weight_maps_weigh(folder):
    pred, gt = folder("pred", {"a.png": GREY}), folder("gt", {"a.png": MASK})
    weight = folder("weight", {"a.npy": np.array([[0, 1, 2], [0, 0, 0.5]])})
    inputs = {"weight": weight}
    # Left are p = .2, .4, 1 with y = 0, 1, 1 and w = 1, 2, .5.
    assert values(pred, gt, "l1", inputs=inputs) == [pytest.approx((0.2 + 2 * 0.6) / 3.5)]
    overlap = 2 * (2 * 0.4 + 0.5) / ((0.2 + 0.8 + 0.5) + 2.5)
    assert values(pred, gt, "dice", inputs=inputs) == [pytest.approx(1 - overlap)]


@pytest.mark.parametrize("bad", [-1, np.nan, np.inf])
def test_weights_that_are_no_weights_are_refused(folder, bad):
    pred, gt = folder("pred", {"a.png": GREY}), folder("gt", {"a.png": MASK})
    weight = folder("weight", {"a.npy": np.where(GREY == 51, bad, 1.0)})
    [failed] = lossbench.evaluate(pred, gt, "l1", inputs={"weight": weight}).failed
    assert (failed.role, failed.file) == ("weight", str(weight / "a.npy"))


def test_a_mask_of_another_size_is_refused(folder):
    pred, gt = folder("pred", {"a.png": GREY}), folder("gt", {"a.png": MASK})
    valid = folder("valid", {"a.png": MASK[:, :2]})
    [failed] = lossbench.evaluate(pred, gt, "l1", inputs={"valid": valid}).failed
    assert (failed.role, failed.kind) == ("valid", "size")
    assert "2×2" in failed.message
    assert "3×2" in failed.message


@pytest.mark.parametrize(
    ("threshold", "predicted"), [(0, 6), (0.2, 5), (0.21, 4), (0.5, 3), (1, 1)]
)
def test_the_threshold_belongs_to_the_foreground(folder, threshold, predicted):
    pred, gt = folder("pred", {"a.png": GREY}), folder("gt", {"a.png": np.full_like(GREY, 255)})
    assert values(pred, gt, "recall", threshold=threshold) == [pytest.approx(predicted / 6)]


def test_a_threshold_does_not_touch_soft_losses(folder):
    pred, gt = folder("pred", {"a.png": GREY}), folder("gt", {"a.png": MASK})
    assert values(pred, gt, threshold=0.9) == values(pred, gt, threshold=0.1)


def test_a_prediction_of_another_size_needs_a_rule(folder):
    pred, gt = folder("pred", {"a.png": MASK}), folder("gt", {"a.png": np.zeros((4, 6), np.uint8)})
    [failed] = lossbench.evaluate(pred, gt, "dice", task="binary").failed
    assert (failed.kind, failed.role) == ("size", "pred")
    assert all(word in failed.message for word in ("3×2", "6×4", "--resize", str(pred / "a.png")))


def test_nearest_repeats_pixels(folder):
    pred = folder("pred", {"a.png": LABELS})
    gt = folder("gt", {"a.png": TRUTH.repeat(2, 0).repeat(3, 1)})
    assert values(pred, gt, resize="nearest") == [pytest.approx(LABELS_DICE)]


@pytest.mark.parametrize(
    "pred",
    [np.array([[0, 255]], np.uint8), np.array([[0.0, 1.0]]), np.array([[0, 65535]], np.uint16)],
)
def test_bilinear_interpolates_between_pixel_centres(pred):
    # Centres of 4 pixels lie at −¼, ¼, ¾ and 1¼ of 2: p = 0, ¼, ¾, 1 after holding the edge.
    found = values([pred], [np.ones((1, 4))], "l2", resize="bilinear", pred_encoding="probability")
    assert found == [pytest.approx((1 + 9 / 16 + 1 / 16 + 0) / 4, abs=2e-3)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_colour_pictures_of_any_kind_are_resized(dtype):
    gt = np.zeros((2, 4, 3), dtype)
    pred = np.zeros((1, 2, 3), dtype)
    pred[0, 1, 2] = full = 1 if dtype in (np.float32, np.float64) else np.iinfo(dtype).max
    how = {"task": "image", "resize": "nearest", "gt_scale": full}
    assert values([pred], [gt], "l1", **how) == [pytest.approx(1 / 6)]


def test_class_probabilities_are_resized_class_by_class():
    pred = np.array([[[0.8, 0.4]], [[0.2, 0.6]]])
    gt = np.array([[0, 0, 1, 1], [0, 0, 1, 1]])
    expected = -(math.log(0.8) + math.log(0.6)) / 2
    assert values([pred], [gt], "cross_entropy", resize="nearest") == [
        pytest.approx(expected, rel=1e-6)
    ]


def test_undefined_values_are_counted_or_replaced():
    nothing, something = np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)
    pred, gt = [nothing, something], [nothing, something]
    skipped = lossbench.evaluate(pred, gt, ["dice", "recall"]).aggregates
    assert [skipped[name]["undefined"] for name in ("dice", "recall")] == [1, 1]
    assert (skipped["dice"]["mean"], skipped["recall"]["mean"]) == (0, 1)
    assert values(pred, gt, "dice", empty=1) == [1, 0]
    assert values(pred, gt, "dice", empty=0.25) == [0.25, 0]
    assert lossbench.evaluate(pred, gt, "dice", empty=1).aggregates["dice"]["mean"] == 0.5


def test_one_empty_mask_is_not_undefined():
    nothing, something = np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)
    assert values([nothing, something], [something, nothing], "dice", empty=0) == [1, 1]
    assert values([nothing], [something], "precision") == [0]


def test_bytes_in_the_other_order_are_the_same_numbers(tmp_path):
    """A TIFF of 16 bits as some microscopes write it; Pillow gives it as it is stored."""
    numbers = np.random.default_rng(0).integers(0, 1 << 16, (2, 5, 7)).astype(np.uint16)
    folders = []
    for name, each, mode, order in (
        ("big", numbers[0], "I;16B", ">u2"),
        ("little", numbers[1], "I;16", "<u2"),
    ):
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        image = Image.frombytes(mode, (7, 5), each.astype(order).tobytes())
        image.save(folders[-1] / "a.tif")
    found = lossbench.evaluate(*folders, "l1", task="image")
    assert not found.failed
    wanted = np.abs(numbers[0] / 65535 - numbers[1] / 65535).mean()
    assert found.values["l1"].samples == pytest.approx([wanted])
