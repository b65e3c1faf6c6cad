"""Where files are changes nothing but their names: archives, URLs, Parquet manifests, and harm."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import remote_storage
from helpers.paths import SAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import lossbench
from lossbench.data.pairing.folders import pair
from lossbench.data.pairing.manifest import read_manifest
from lossbench.data.planning.vocabulary import ROLES
from lossbench.data.sources import archives, remote
from lossbench.data.sources.archives import archive, members
from lossbench.data.sources.locations import label
from lossbench.data.sources.read import read
from lossbench.engine.fingerprints import stamp

Command = Callable[..., "subprocess.CompletedProcess[str]"]
URLS = ("memory", "http", "http/", "file", "http.tar", "http.tgz", "http.zip", "zip::memory", "s3",
        "s3.tar")  # fmt: skip
ELSEWHERE = (*remote_storage.ARCHIVES, *URLS)
MASK = np.array([[0, 255], [255, 0]], np.uint8)


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path, str], str]]:
    """A function that puts a folder elsewhere and says where."""
    with ExitStack() as stack:

        def place(folder: Path, kind: str) -> str:
            here = tmp_path / f"put{len(list(tmp_path.iterdir()))}"
            here.mkdir()
            if kind in remote_storage.ARCHIVES:
                return str(remote_storage.pack(folder, here / f"x.{kind}"))
            if kind == "memory":
                return remote_storage.remember(folder)
            if kind == "file":
                return folder.resolve().as_uri()
            if kind == "zip::memory":
                remote_storage.pack(folder, here / "x.zip")
                return f"zip://::{remote_storage.remember(here)}/x.zip"
            if kind.startswith("s3"):
                url = remote_storage.bucket(monkeypatch)
                if kind == "s3":
                    return remote_storage.upload(folder, f"{url}/of it")
                remote_storage.pack(folder, here / "x.tar")
                return remote_storage.upload(here, url) + "/x.tar"
            if "." in kind:
                name = remote_storage.pack(folder, here / f"x{kind.removeprefix('http')}").name
                return stack.enter_context(remote_storage.served(here)) + f"/{name}"
            url = stack.enter_context(remote_storage.served(folder))
            return url + kind.removeprefix("http")

        yield place


def told(result: Any) -> dict[str, Any]:
    """A result as its file has it, without the session and the names of places."""
    found = json.loads(lossbench.render(result, "json"))
    del found["session"]
    for name in ("pred", "target", "inputs"):
        del found["run"][name]
    return found


def refused(function: Callable[..., Any], *arguments: Any, **how: Any) -> str:
    with pytest.raises(lossbench.InputError) as caught:
        function(*arguments, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The same result


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_the_result_is_that_of_the_folder(kind: str, put: Callable[[Path, str], str]) -> None:
    roles = {role: SAMPLES / "binary" / role for role in ("pred", "gt", "weight")}
    away = {role: put(folder, kind) for role, folder in roles.items()}
    here, there = (
        lossbench.evaluate(at["pred"], at["gt"], ["dice", "bce"], inputs={"weight": at["weight"]})
        for at in (roles, away)
    )
    assert len(there.ids) == 12
    assert told(there) == told(here)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip", "http", "s3", "memory"])
def test_processes_read_them_too(
    kind: str, put: Callable[[Path, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`memory://` is of this process alone: it is read by threads, whatever would pay."""
    monkeypatch.setattr("lossbench.engine.pipeline.MIN_PAIRS_FOR_PROCESSES", 1)
    folders = [SAMPLES / "multiclass" / role for role in ("pred", "gt")]
    here = lossbench.evaluate(*folders, ["dice", "iou"])
    away = [put(folder, kind) for folder in folders]
    there = lossbench.evaluate(*away, ["dice", "iou"], start_method="spawn")
    assert told(there) == told(here)


@pytest.mark.parametrize("kind", ["tar", "zip", "tar.gz", "memory"])
def test_volumes_are_read_from_anywhere(kind: str, put: Callable[[Path, str], str]) -> None:
    folders = [SAMPLES / "medical" / role for role in ("pred", "gt")]
    here = lossbench.evaluate(*folders, ["dice", "hd95"])
    assert told(lossbench.evaluate(*(put(f, kind) for f in folders), ["dice", "hd95"])) == told(
        here
    )


NAMES = st.text("ab.ü %_-#+", min_size=1, max_size=6).filter(lambda name: name.strip(". "))
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.integers(0, 255), max_size=6
)


@settings(max_examples=25, deadline=None)
@given(tree=TREES, kind=st.sampled_from(["tar", "tar.gz", "zip", "memory", "http"]))
def test_any_tree_is_listed_as_the_folder_is(
    tree: dict[str, int], kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tree") / "f"
    folder.mkdir()
    for name, value in tree.items():
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 2), value, np.uint8)).save(path)
    Image.fromarray(MASK).save(folder / "always.png")

    def listing(given: str) -> dict[str, Any]:
        both = pair({"pred": given, "target": given}, {})
        found = {each.id: read(each.sources["pred"][0]).array.tolist() for each in both.pairs}
        assert not both.unpaired
        return {"found": found, "left out": both.left_out}

    with ExitStack() as stack:
        if kind == "http":
            away = stack.enter_context(remote_storage.served(folder))
        elif kind == "memory":
            away = remote_storage.remember(folder)
        else:
            away = str(remote_storage.pack(folder, folder.with_name(f"x.{kind}")))
        assert listing(away) == listing(str(folder))


def written(folder: Path) -> Path:
    """One file of every kind that is decoded in a way of its own."""
    from nibabel import Nifti1Image, save
    from safetensors.numpy import save_file

    folder.mkdir()
    ramp = np.arange(12, dtype=np.uint8).reshape(3, 4)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(ramp).save(folder / "grey.png")
    Image.fromarray(ramp).save(folder / "photo.jpg")
    Image.fromarray(ramp).save(folder / "plain.tif")
    Image.fromarray(ramp).save(folder / "turned.tif", exif=turned)
    Image.fromarray(ramp, "P").save(folder / "palette.png")
    np.save(folder / "one.npy", ramp)
    np.savez_compressed(folder / "one.npz", ramp)
    save_file({"x": ramp}, folder / "one.safetensors")
    save(Nifti1Image(ramp[..., None], np.eye(4)), folder / "one.nii.gz")
    save(Nifti1Image(ramp[..., None], np.eye(4)), folder / "ONE.NII")
    return folder


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz", "memory"])
def test_every_decoder_reads_from_elsewhere(
    kind: str, tmp_path: Path, put: Callable[[Path, str], str]
) -> None:
    folder = written(tmp_path / "kinds")
    away = put(folder, kind)
    files = pair({"pred": away, "target": away}, {"pred": "{id}", "target": "{id}"}).unpaired
    assert len(files) == 1  # one.npy, one.npz and others have one id
    for each in folder.iterdir():
        alone = f"{away}/{each.name}"
        (both,) = pair({"pred": alone, "target": alone}, {}).pairs
        assert label(both.sources["pred"][0]) == alone
        here, there = read(str(each)), read(both.sources["pred"][0])
        np.testing.assert_array_equal(there.array, here.array)
        assert (there.mode, there.format, there.places) == (here.mode, here.format, here.places)


@pytest.mark.parametrize("kind", ["zip", "tar", "memory"])
def test_pickles_are_refused_anywhere(
    kind: str, tmp_path: Path, put: Callable[[Path, str], str]
) -> None:
    (tmp_path / "f").mkdir()
    np.save(tmp_path / "f" / "a.npy", np.array([{}]), allow_pickle=True)
    away = f"{put(tmp_path / 'f', kind)}/a.npy"
    (both,) = pair({"pred": away, "target": away}, {}).pairs
    message = refused(read, both.sources["pred"][0])
    assert message == f"{away} cannot be read: it holds pickled objects, which are never loaded"


def test_sides_may_be_in_different_places(put: Callable[[Path, str], str]) -> None:
    folders = [SAMPLES / "binary" / role for role in ("pred", "gt")]
    here = lossbench.evaluate(*folders, "dice")
    assert told(lossbench.evaluate(put(folders[0], "tar"), folders[1], "dice")) == told(here)
    assert told(lossbench.evaluate(folders[0], put(folders[1], "http"), "dice")) == told(here)


@pytest.mark.parametrize("ending", ["tar", "zip", "tar.gz"])
def test_a_path_may_lead_into_an_archive(tmp_path: Path, ending: str) -> None:
    packed = remote_storage.pack(SAMPLES / "binary", tmp_path / f"all.{ending}", prefix="./")
    here = lossbench.evaluate(SAMPLES / "binary" / "pred", SAMPLES / "binary" / "gt", "dice")
    assert told(lossbench.evaluate(packed / "pred", f"{packed}/gt/", "dice")) == told(here)
    alone = lossbench.evaluate(packed / "pred/plate_a/01.png", packed / "gt/plate_a/01.png", "dice")
    assert alone.ids == ["01"]


def test_a_folder_may_be_called_like_an_archive(tmp_path: Path) -> None:
    for role in ("pred.tar", "gt.zip"):
        (tmp_path / role).mkdir()
        Image.fromarray(MASK).save(tmp_path / role / "a.png")
    assert lossbench.evaluate(tmp_path / "pred.tar", tmp_path / "gt.zip", "dice").ids == ["a"]


def test_both_sides_of_a_training_shard_are_told_apart_by_patterns(tmp_path: Path) -> None:
    """As webdataset writes them: the files of a sample follow each other under one key."""
    with tarfile.open(tmp_path / "000.tar", "w") as tar:
        for each in sorted((SAMPLES / "binary" / "pred").rglob("*.png")):
            key = "_".join(each.relative_to(SAMPLES / "binary" / "pred").with_suffix("").parts)
            gt = SAMPLES / "binary" / "gt" / each.relative_to(SAMPLES / "binary" / "pred")
            tar.add(each, f"{key}.pred.png")
            tar.add(gt, f"{key}.gt.png")
    shard = tmp_path / "000.tar"
    how = {"pred_pattern": "{id}.pred.png", "gt_pattern": "{id}.gt.png"}
    here = lossbench.evaluate(SAMPLES / "binary" / "pred", SAMPLES / "binary" / "gt", "dice")
    there = lossbench.evaluate(shard, shard, "dice", **how)
    assert there.ids == [each.replace("/", "_") for each in here.ids]
    assert repr(there.values) == repr(here.values)


def test_a_top_folder_in_each_archive_is_in_the_suggestion(tmp_path: Path) -> None:
    for role in ("pred", "gt"):
        remote_storage.pack(SAMPLES / "binary" / role, tmp_path / f"{role}.tar", prefix=f"{role}/")
    message = refused(lossbench.plan, tmp_path / "pred.tar", tmp_path / "gt.tar", "dice")
    assert "try --pred-pattern 'pred/{id}' --gt-pattern 'gt/{id}' (12 would match)" in message


def test_hidden_and_foreign_files_are_left_out_of_archives(tmp_path: Path) -> None:
    names = [".hidden.png", ".git/a.png", "__MACOSX/._a.png", "notes.txt", "a.png", "d/b.png"]
    for name in names:
        (tmp_path / "f" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(MASK).save(tmp_path / "f" / name, format="png")
    for away in (
        str(tmp_path / "f"),
        str(remote_storage.pack(tmp_path / "f", tmp_path / "x.tar")),
        str(remote_storage.pack(tmp_path / "f", tmp_path / "x.zip")),
        remote_storage.remember(tmp_path / "f"),
    ):
        found = pair({"pred": away, "target": away}, {})
        assert [each.id for each in found.pairs] == ["a", "d/b"]
        assert found.left_out == {"hidden": 4, ".txt": 2}


# Harm


def tarred(path: Path, *files: tarfile.TarInfo | str) -> str:
    """A tar of files that hold a picture, and of whatever else."""
    picture = io.BytesIO()
    Image.fromarray(MASK).save(picture, "png")
    with tarfile.open(path, "w") as tar:
        for each in files:
            info = tarfile.TarInfo(each) if isinstance(each, str) else each
            if info.isreg():
                info.size = len(picture.getvalue())
            tar.addfile(info, io.BytesIO(picture.getvalue()))
    return str(path)


def special(name: str, kind: bytes, leads: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, leads
    return info


def test_names_that_lead_out_and_links_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    harmful = [
        "/etc/a.png", "../b.png", "c/../../d.png", "..",
        special("e.png", tarfile.SYMTYPE, str(tmp_path / "secret.png")),
        special("f.png", tarfile.LNKTYPE, "good.png"),
        special("g.png", tarfile.CHRTYPE), special("h.png", tarfile.FIFOTYPE),
    ]  # fmt: skip
    before = sorted(tmp_path.rglob("*"))
    given = tarred(tmp_path / "x.tar", "good.png", "./in/../better.png", *harmful)
    found = pair({"pred": given, "target": given}, {})
    assert [each.id for each in found.pairs] == ["better", "good"]
    assert found.left_out == {"unsafe name": 8, "link": 4, "special file": 4}
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "x.tar"])


def test_links_in_a_zip_are_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        info = zipfile.ZipInfo("link.png")
        info.external_attr = 0o120777 << 16
        packed.writestr(info, "/etc/passwd")
        packed.writestr("../out.png", b"x")
        packed.writestr("folder/", b"")
    left_out = Counter[str]()
    assert not list(members(archive(str(tmp_path / "x.zip")), left_out))
    assert left_out == {"link": 1, "unsafe name": 1}


def zipped(path: Path, content: bytes = b"x" * 5000, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as packed:
        packed.writestr("a.png", content)
    return path


def patched(path: Path, mark: bytes, place: int, value: bytes) -> str:
    """A zip some bytes after the last such mark of which are others."""
    held = bytearray(path.read_bytes())
    start = held.rindex(mark) + place
    held[start : start + len(value)] = value
    path.write_bytes(held)
    return str(path)


DIRECTORY, LOCAL = b"PK\1\2", b"PK\3\4"


@pytest.mark.parametrize(
    ("patch", "sentence"),
    [
        ((DIRECTORY, 8, b"\1\0"), "a.png is encrypted; unpack it with its password"),
        ((DIRECTORY, 10, b"\x0e\0"), "a.png is packed by method 14; pack it by deflate"),
        ((b"PK\5\6", 0, b"PKxx"), "x.zip is no whole archive: File is not a zip file"),
    ],
)
def test_a_zip_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, patch: tuple[bytes, int, bytes], sentence: str
) -> None:
    given = patched(zipped(tmp_path / "x.zip"), *patch)
    assert refused(pair, {"pred": given, "target": given}, {}).endswith(sentence)


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ((DIRECTORY, 24, (4999).to_bytes(4, "little")), "is not what was packed"),  # a bomb's lie
        ((DIRECTORY, 24, (5001).to_bytes(4, "little")), "is not what was packed"),
        ((DIRECTORY, 16, b"\0\0\0\0"), "is not what was packed"),
        ((DIRECTORY, 20, b"\xff\xff\xff\x7f"), "is cut short"),
        ((LOCAL, 0, b"PKxx"), "is not where the archive says"),
        ((LOCAL, 35, b"\xff\xff"), "cannot be unpacked, the archive is damaged"),
    ],
)
def test_a_damaged_member_is_an_error_of_its_own(
    tmp_path: Path, patch: tuple[bytes, int, bytes], words: str
) -> None:
    given = f"{patched(zipped(tmp_path / 'x.zip'), *patch)}/a.png"
    (both,) = pair({"pred": given, "target": given}, {}).pairs
    assert refused(read, both.sources["pred"][0]).startswith(f"{given} {words}")


def test_a_member_that_claims_too_much_is_a_bomb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 4999)
    given = str(zipped(tmp_path / "x.zip"))
    message = refused(pair, {"pred": given, "target": given}, {})
    assert message == f"{given}/a.png claims to have 5,000 bytes; the archive is damaged"


def test_a_compressed_tar_may_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = remote_storage.pack(SAMPLES / "binary" / "pred", tmp_path / "x.tar.gz")
    usage = type("Usage", (), {"free": 2 * 10_000})
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage)
    message = refused(pair, {"pred": given, "target": given}, {})
    assert "needs more than half of what is free" in message


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("x.tar", lambda held: held[:550], "x.tar is no whole archive: unexpected end of data"),
        ("x.tar", lambda held: held.rstrip(b"\0") + bytes(-len(held.rstrip(b"\0")) % 512),
         "x.tar has no end; it is cut short"),
        ("x.tar", lambda held: held + held, "x.tar is damaged at byte 1,024, or several archives"),
        ("x.tar", lambda held: b"", "x.tar is no whole archive: empty file"),
        ("x.tar", lambda held: b"no" * 999, "x.tar is no whole archive: "),
        ("x.tar.gz", lambda held: gzip.compress(held)[:-20], "x.tar.gz cannot be unpacked: "),
        ("x.tgz", lambda held: held, "x.tgz cannot be unpacked: Not a gzipped file"),
        ("x.tar.xz", lambda held: held, "x.tar.xz cannot be unpacked: "),
        ("x.tar.bz2", lambda held: held, "x.tar.bz2 cannot be unpacked: "),
        ("x.zip", lambda held: b"", "x.zip is no whole archive: File is not a zip file"),
    ],
)  # fmt: skip
def test_a_broken_archive_is_one_sentence(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes], words: str
) -> None:
    whole = Path(tarred(tmp_path / "whole", "a.png")).read_bytes()
    (tmp_path / name).write_bytes(damage(whole))
    given = str(tmp_path / name)
    assert words in refused(pair, {"pred": given, "target": given}, {})


def test_a_header_damaged_in_the_middle_does_not_end_the_listing(tmp_path: Path) -> None:
    """Python's tarfile takes it for the end of the archive."""
    given = Path(tarred(tmp_path / "x.tar", "a.png", "b.png", "c.png"))
    held = bytearray(given.read_bytes())
    held[held.index(b"b.png") + 20] ^= 255
    given.write_bytes(held)
    message = refused(pair, {"pred": given, "target": given}, {})
    assert message == f"{given} is damaged at byte 1,024, or several archives in one"


def test_one_file_twice_in_an_archive_is_a_duplicate(tmp_path: Path) -> None:
    given = tarred(tmp_path / "x.tar", "a.png", "a.png", "b.png")
    (problem,) = pair({"pred": given, "target": given}, {}).unpaired
    assert problem.kind == "duplicate"


def test_an_archive_that_is_not_there_is_missing(tmp_path: Path) -> None:
    for lost in (tmp_path / "x.tar", tmp_path / "x.zip" / "pred"):
        message = refused(lossbench.plan, lost, SAMPLES / "binary" / "gt", "dice")
        assert message == f"{lost} does not exist (pred); expected a folder, a file or an archive"


def test_nothing_is_left_of_what_was_unpacked(
    tmp_path: Path, lossbench_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [
        remote_storage.pack(SAMPLES / "binary" / r, tmp_path / f"{r}.tgz") for r in ("pred", "gt")
    ]
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    done = lossbench_command("eval", *given, "-l", "dice", env=environment)
    assert done.returncode == 0, done.stderr
    assert "12 pairs" in done.stderr
    assert not list((tmp_path / "temporary").iterdir())


# Servers that fail


def row(url: str, name: str, id: str) -> str:
    return f"{id},{url}/pred/{name},{url}/gt/plate_a/01.png\n"


def test_files_that_do_not_come_are_errors_and_the_others_are_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PATIENCE", 0.3)
    with remote_storage.served(SAMPLES / "binary") as url:
        closed = "http://127.0.0.1:1"
        text = (
            "id,pred,gt\n"
            + row(url, "plate_a/01.png", "good")
            + row(url, "lost.png", "lost")
            + row(url, "locked.png", "locked")
            + row(url, "slow.png", "slow")
            + row(closed, "plate_a/01.png", "refused")
        )
        (tmp_path / "pairs.csv").write_text(text)
        result = lossbench.evaluate(None, None, "dice", manifest=tmp_path / "pairs.csv")
    assert result.ids == ["good"]
    assert result.exit_status == 3
    errors = {each.id: each for each in result.failed}
    assert errors["lost"].message.startswith(f"{url}/pred/lost.png does not exist: ")
    assert errors["lost"].message.endswith("line 3 names it; correct the path")
    assert errors["lost"].kind == "missing"
    assert "cannot be read: 403" in errors["locked"].message
    assert errors["slow"].message == f"{url}/pred/slow.png cannot be read: no answer in time"
    assert "Cannot connect" in errors["refused"].message
    assert all("\n" not in each.message for each in result.failed)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/no/such", " does not exist"),
        ("/locked", " cannot be read: 403"),
        ("/lost.tar", " does not exist"),
        ("/locked.zip/pred", " cannot be read: 403"),
    ],
)
def test_a_place_that_cannot_be_listed_is_one_sentence(path: str, words: str) -> None:
    with remote_storage.served(SAMPLES / "binary") as url:
        message = refused(lossbench.plan, url + path, url + "/gt", "dice")
    assert message.startswith(url + path.removesuffix("/pred") + words)


def test_a_server_that_lists_its_parent_is_not_followed_upwards(tmp_path: Path) -> None:
    """As Apache writes its pages: links to sort by, and one to the folder above."""
    for name in ("up/secret.png", "up/in/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(MASK).save(tmp_path / name)
    (tmp_path / "up/in/index.html").write_text(
        '<a href="?C=N;O=D">Name</a> <a href="/up/">Parent Directory</a> <a href="a.png">a</a>'
    )
    with remote_storage.served(tmp_path) as url:
        found = pair({"pred": f"{url}/up/in", "target": f"{url}/up/in"}, {})
    assert [each.id for each in found.pairs] == ["a"]
    assert not found.left_out


@pytest.mark.parametrize(
    ("absent", "given", "sentence"),
    [
        ("fsspec", "s3://b/x", "s3://b/x is a URL, which fsspec reads, and that is not installed:"
         " pip install 'lossbench[remote]'"),
        ("s3fs", "s3://b/x", "s3://b/x needs a package that is not installed: Install s3fs"),
        ("aiohttp", "http://b/x", "http://b/x needs a package that is not installed: "),
    ],
)  # fmt: skip
def test_a_missing_package_is_one_sentence(absent: str, given: str, sentence: str) -> None:
    code = f"""if True:
        import sys
        sys.modules[{absent!r}] = None
        import lossbench
        try:
            lossbench.plan({given!r}, {given!r}, "dice")
        except lossbench.InputError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(sentence), done.stdout + done.stderr


def test_local_files_do_without_any_of_it() -> None:
    code = f"""if True:
        import sys
        for name in ("fsspec", "tarfile", "pyarrow", "aiohttp"):
            sys.modules[name] = None
        from lossbench.data.pairing.folders import pair
        from lossbench.data.sources.read import read
        found = pair({ {r: str(SAMPLES / "binary" / "gt") for r in ("pred", "target")}!r}, {{}})
        read(found.pairs[0].sources["pred"][0])
        print(len(found.pairs))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "12\n", done.stderr


def test_passwords_and_signatures_are_in_no_message_and_no_result(tmp_path: Path) -> None:
    with remote_storage.served(SAMPLES / "binary") as url:
        secret = f"{url.replace('//', '//anna:hidden@')}/pred/lost.png?X-Amz-Signature=hidden&v=2"
        good = f"{url}/pred/plate_a/01.png?token=hidden"
        truth = SAMPLES / "binary" / "gt" / "plate_a" / "01.png"
        (tmp_path / "p.csv").write_text(f"id,pred,gt\na,{secret},{truth}\nb,{good},{truth}\n")
        result = lossbench.evaluate(None, None, "dice", manifest=tmp_path / "p.csv")
        assert result.ids == ["b"]
        assert result.failed[0].file == f"{url}/pred/lost.png?X-Amz-Signature=…&v=2"
        alone = lossbench.evaluate(good, truth, "dice")
        assert alone.run["pred"] == f"{url}/pred/plate_a/01.png?token=…"
        assert "hidden" not in lossbench.render(result, "json") + lossbench.render(alone, "json")
        message = refused(lossbench.plan, secret.replace("lost.png", "lost/"), truth, "dice")
        assert "hidden" not in message


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "zip"])
def test_a_run_that_goes_on_sees_that_an_archive_has_changed(tmp_path: Path, ending: str) -> None:
    packed = remote_storage.pack(SAMPLES / "binary" / "gt", tmp_path / f"x.{ending}")

    def stamped() -> bytes:
        return stamp(pair({"pred": packed, "target": packed}, {}).pairs)

    before = stamped()
    assert stamped() == before
    os.utime(packed, ns=(1, 1))
    assert stamped() != before


# Manifests


def sample_manifest() -> pd.DataFrame:
    return pd.read_csv(SAMPLES / "binary" / "pairs.csv", dtype=str)


@pytest.mark.parametrize("ending", ["parquet", "PQ"])
def test_a_parquet_manifest_is_as_its_csv(tmp_path: Path, ending: str) -> None:
    table = sample_manifest()
    for side in ("pred", "gt"):
        table[side] = [str(SAMPLES / "binary" / each) for each in table[side]]
    table["score"], table["lists"] = 0.5, [[1, 2]] * len(table)
    table.to_parquet(tmp_path / f"pairs.{ending}")
    how = {"losses": "dice", "group_by": "plate,lens"}
    here, there = (
        told(lossbench.evaluate(None, None, manifest=path, **how))
        for path in (SAMPLES / "binary" / "pairs.csv", tmp_path / f"pairs.{ending}")
    )
    for each in (here, there):
        del each["run"]["settings"]["manifest"]
    assert there == here


def parquet(path: Path, **columns: Any) -> str:
    pd.DataFrame(columns).to_parquet(path)
    return str(path)


def test_paths_in_parquet_are_relative_to_it_and_rows_are_named(tmp_path: Path) -> None:
    Image.fromarray(MASK).save(tmp_path / "a.png")
    given = parquet(tmp_path / "p.parquet", id=[1, 2], pred=["a.png", None], gt=["a.png"] * 2)
    found = read_manifest(given, ROLES)
    (pair,) = found.pairs
    assert pair.sources["pred"] == (f"{tmp_path}/a.png",)
    (problem,) = found.unpaired
    empty = "the cell of 'pred' is empty; --missing skip leaves the line out"
    assert problem.message == f"{given} row 2: {empty}"


def test_a_parquet_manifest_is_read_in_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lossbench.data.pairing.manifest_parquet.BATCH_ROWS", 3)
    Image.fromarray(MASK).save(tmp_path / "a.png")
    given = parquet(tmp_path / "p.parquet", id=range(10), pred=["a.png"] * 10, gt=["a.png"] * 10)
    assert len(read_manifest(given, ROLES).pairs) == 10


def test_what_is_no_parquet_manifest_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.parquet").write_text("id,pred,gt\n")
    assert "text.parquet cannot be read: " in refused(
        read_manifest, str(tmp_path / "text.parquet"), ROLES
    )
    lost = refused(read_manifest, str(tmp_path / "lost.parquet"), ROLES)
    reason = f"No such file or directory (did you mean '{tmp_path}/text.parquet'?)"
    assert lost == f"the manifest {tmp_path}/lost.parquet cannot be read: {reason}"
    other = parquet(tmp_path / "other.parquet", x=[1])
    assert "has no column 'pred'" in refused(read_manifest, other, ROLES)
    empty = parquet(tmp_path / "empty.parquet", pred=[], gt=[])
    assert "has no line below its header" in refused(read_manifest, empty, ROLES)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'lossbench[parquet]'" in refused(read_manifest, other, ROLES)


def with_paths(table: pd.DataFrame, paths: Mapping[str, str]) -> pd.DataFrame:
    for side, path in paths.items():
        table[side] = [path.format(each.partition("/")[2]) for each in table[side]]
    return table


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip", "memory", "http", "s3", "zip::memory"])
def test_a_manifest_may_name_files_anywhere(
    kind: str, tmp_path: Path, put: Callable[[Path, str], str]
) -> None:
    roots = {side: put(SAMPLES / "binary" / side, kind) for side in ("pred", "gt")}
    below = {side: remote.below(root, "{}") if "://" in root else os.path.relpath(root, tmp_path)
             + "/{}" for side, root in roots.items()}  # fmt: skip
    with_paths(sample_manifest(), below).to_csv(tmp_path / "pairs.csv", index=False)
    here, there = (
        told(lossbench.evaluate(None, None, "dice", manifest=path))
        for path in (SAMPLES / "binary" / "pairs.csv", tmp_path / "pairs.csv")
    )
    assert there["samples"] == here["samples"]
    assert not there["errors"]


def test_an_archive_without_the_file_of_a_line(tmp_path: Path) -> None:
    tarred(tmp_path / "x.tar", "a.png")
    lines = {"whole": "x.tar/a.png,x.tar/a.png", "lost": "x.tar/b.png,x.tar/a.png",
             "truth": "x.tar/a.png,gone.png", "both": "x.tar/b.png,gone.png"}  # fmt: skip
    text = "".join(f"{name},{line}\n" for name, line in lines.items())
    (tmp_path / "p.csv").write_text(f"id,pred,gt\n{text}")
    found = lossbench.evaluate(manifest=tmp_path / "p.csv", losses="dice", missing="skip")
    assert found.ids == ["whole"]

    def lost(file: str, line: int) -> str:
        naming = f"{tmp_path}/p.csv line {line} names it; correct the path"
        return f"{tmp_path}/{file} does not exist: {naming}"

    assert [each.message for each in found.skipped] == [lost("x.tar/b.png", 3)]
    assert [(each.id, each.role, each.message) for each in found.failed] == [
        ("both", "target", lost("gone.png", 5)), ("truth", "target", lost("gone.png", 4)),
    ]  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_manifest_may_be_at_a_url(ending: str, tmp_path: Path) -> None:
    table = sample_manifest()
    url = remote_storage.remember(SAMPLES / "binary")
    write = table.to_parquet if ending == "parquet" else table.to_csv
    write(tmp_path / f"p.{ending}", index=False)
    remote_storage.upload(tmp_path, url)
    here = lossbench.evaluate(None, None, "dice", manifest=SAMPLES / "binary" / "pairs.csv")
    there = lossbench.evaluate(None, None, "dice", manifest=f"{url}/p.{ending}")
    assert repr(there.values) == repr(here.values)
    message = refused(read_manifest, f"{url}/lost.csv", ROLES)
    assert message == f"the manifest {url}/lost.csv does not exist"


def test_a_config_may_name_a_url(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "pred: {path: s3://b/pred}\ntarget: {path: gt.tar/gt}\nmanifest: http://h/p.csv\n"
    )
    found = lossbench.load_config(tmp_path / "c.yaml").settings
    assert (found["pred"], found["manifest"]) == ("s3://b/pred", "http://h/p.csv")
    assert found["target"] == str(tmp_path / "gt.tar/gt")
