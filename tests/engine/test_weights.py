"""Weights: where they are looked for, how they are fetched and checked, and what is refused."""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.paths import DATA, SAMPLES

import lossbench
from lossbench.networks import weights
from lossbench.networks.architectures import LPIPS_LAYERS, NETWORKS
from lossbench.networks.extractor import Networks, read_tensors, seeded

IMAGES = (str(SAMPLES / "image" / "pred"), str(SAMPLES / "image" / "gt"))
OURS = ("squeezenet", "lpips_squeeze")  # small, and served by the tests
TINY = "network=squeeze"


def held(name: str) -> dict[str, torch.Tensor]:
    """Seeded weights, or heads, in the layout in which they are published."""
    if name in NETWORKS:
        return dict(seeded(NETWORKS[name]))
    widths = NETWORKS["squeezenet"].widths
    layers = LPIPS_LAYERS["squeezenet"]
    random = np.random.default_rng(0)
    return {
        f"lin{place}.model.1.weight": torch.tensor(random.random((1, widths[layer], 1, 1))).float()
        for place, layer in enumerate(layers)
    }


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, ours and torch's."""
    monkeypatch.setenv("LOSSBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "cache" / "weights"


@pytest.fixture
def server(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., None]]:
    """A server on this machine that has the published files; returns what changes a file of it."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    for name in OURS:
        each = weights.PUBLISHED[name]
        torch.save(held(name), folder / each.file)
        data = (folder / each.file).read_bytes()
        here = f"http://127.0.0.1:{running.server_port}/{each.file}"
        found = replace(each, url=here, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        monkeypatch.setitem(weights.PUBLISHED, name, found)

    def change(name: str, data: bytes | None) -> None:
        path = folder / weights.PUBLISHED[name].file
        path.unlink() if data is None else path.write_bytes(data)

    yield change
    running.shutdown()
    running.server_close()


CLIENT = """
from dataclasses import replace
from lossbench.networks import weights
for name, facts in {facts!r}.items():
    weights.PUBLISHED[name] = replace(weights.PUBLISHED[name], **facts)
from lossbench_cli.main import main
main()
"""


def command(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """The command, with the registry as it is here."""
    facts = {
        name: {"url": each.url, "sha256": each.sha256, "size": each.size}
        for name, each in weights.PUBLISHED.items()
    }
    line = [sys.executable, "-c", CLIENT.format(facts=facts), *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one error on stderr."""
    assert done.stdout == ""
    (line,) = [each for each in done.stderr.splitlines() if each.startswith("error: ")]
    assert "Traceback" not in done.stderr
    return line


# The registry


def test_the_registry_says_what_torch_says():
    """torch's files carry the first eight digits of their SHA-256 in their names."""
    for name in NETWORKS.keys() - {"tiny_seeded"}:
        each = weights.PUBLISHED[name]
        assert each.url == f"https://download.pytorch.org/models/{each.file}"
        assert Path(each.file).stem.rpartition("-")[2] == each.sha256[:8]
        assert each.size > 0
        assert each.licence
    assert all(len(each.sha256) == 64 for each in weights.PUBLISHED.values())


def test_the_registry_has_the_hashes_of_the_published_heads(data):
    sums = dict(
        line.split()[::-1] for line in (data("weights") / "SHA256SUMS").read_text().splitlines()
    )
    names = {f"./lpips_heads_v0.1/{n}.pth": f"lpips_{n}" for n in ("alex", "vgg", "squeeze")}
    for file, name in {**names, "./dists_weights.pt": "dists"}.items():
        each = weights.PUBLISHED[name]
        assert each.sha256 == sums[file]
        assert each.size == (DATA / "weights" / file).stat().st_size
        assert each.verify(DATA / "weights" / file)


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(lossbench.SettingError, match=r"'vgg61' \(did you mean 'vgg16'\?\)"):
        lossbench.list_weights(["vgg61"])
    with pytest.raises(lossbench.SettingError, match="did you mean 'vgg16'"):
        lossbench.plan(*IMAGES, "l1", weights={"vgg61": "x.npz"})
    with pytest.raises(
        lossbench.SettingError, match=r"ends with \.pth, \.pt, \.safetensors, \.npz"
    ):
        lossbench.plan(*IMAGES, "l1", weights={"vgg16": "vgg16.h5"})


# Fetching


def test_what_is_fetched_is_in_the_cache_and_verified(server, cache):
    seen: list[tuple[int, int]] = []
    each = weights.PUBLISHED["squeezenet"]
    path = each.fetch(lambda *how: seen.append(how))
    assert path == cache / each.file == each.path
    assert seen[-1] == (each.size, each.size)
    assert os.listdir(cache) == [each.file]
    server("squeezenet", None)  # gone, but not needed again
    assert each.fetch() == path


def test_torch_s_own_cache_is_used(server, cache):
    each = weights.PUBLISHED["squeezenet"]
    folder = Path(os.environ["TORCH_HOME"]) / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(held("squeezenet"), folder / each.file)
    assert each.fetch() == folder / each.file
    assert not cache.exists()


def test_a_download_of_other_bytes_is_not_kept(server, cache):
    server("squeezenet", b"something else")
    with pytest.raises(
        lossbench.InputError, match=r"is not squeezenet as published.*nothing was kept"
    ):
        weights.PUBLISHED["squeezenet"].fetch()
    assert os.listdir(cache) == []


def test_a_download_that_fails_says_the_three_ways(server, cache):
    server("squeezenet", None)
    with pytest.raises(lossbench.InputError) as told:
        weights.PUBLISHED["squeezenet"].fetch()
    message = str(told.value)
    assert "could not be downloaded from http://127.0.0.1" in message
    ways = ("--weights squeezenet=FILE", f"put it at {cache}", "lossbench weights fetch squeezenet")
    assert all(way in message for way in ways)
    assert os.listdir(cache) == []


def test_a_cached_file_with_other_bytes_is_refused(server, cache):
    each = weights.PUBLISHED["squeezenet"]
    each.fetch().write_bytes(b"broken")
    for use in (each.fetch, each.verify, lambda: weights.locate("squeezenet", {}, True)):
        with pytest.raises(
            lossbench.InputError, match="is not squeezenet as published: its SHA-256"
        ):
            use()


def test_a_file_with_the_published_name_must_be_what_was_published(tmp_path, server):
    path = tmp_path / weights.PUBLISHED["squeezenet"].file
    path.write_bytes(b"half a file")
    with pytest.raises(lossbench.InputError, match="is not squeezenet as published"):
        weights.locate("squeezenet", {"squeezenet": str(path)}, False)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_cache_is_told(server, cache):
    cache.parent.mkdir()
    cache.parent.chmod(0o500)
    with pytest.raises(lossbench.SettingError, match=r"cannot be written: .*set LOSSBENCH_CACHE"):
        weights.PUBLISHED["squeezenet"].fetch()


def test_a_cache_that_cannot_be_made_is_told(server, cache):
    """Whoever runs this, root included: a file is where the folder would be."""
    cache.parent.write_text("")
    with pytest.raises(lossbench.SettingError, match=r"cannot be written: .*set LOSSBENCH_CACHE"):
        weights.PUBLISHED["squeezenet"].fetch()


def test_a_read_only_cache_that_has_the_file_is_enough(server, cache):
    each = weights.PUBLISHED["squeezenet"]
    path = each.fetch()
    cache.chmod(0o500)
    try:
        assert weights.locate("squeezenet", {}, False) == path
    finally:
        cache.chmod(0o700)


# The command


def test_a_run_downloads_once_and_then_needs_no_network(server, cache):
    first = command("eval", *IMAGES, "-l", f"lpips({TINY})", "-f", "csv")
    assert first.returncode == 0, first.stderr
    assert "downloading squeezenet, 2.9 MB" in first.stderr
    assert "downloading lpips_squeeze" in first.stderr
    again = command("eval", *IMAGES, "-l", f"lpips({TINY})", "-f", "csv", "--offline")
    assert again.returncode == 0, again.stderr
    assert "downloading" not in again.stderr
    assert again.stdout == first.stdout


def test_a_dry_run_downloads_nothing(server, cache):
    done = command("eval", *IMAGES, "-l", f"lpips({TINY})", "--dry-run")
    assert done.returncode == 0
    assert not cache.exists()


def test_the_commands_of_weights(server, cache):
    name = weights.PUBLISHED["squeezenet"].file
    listed = command("weights", "list")
    assert listed.returncode == 0
    assert all(
        each.url in listed.stdout and each.sha256 in listed.stdout
        for each in lossbench.list_weights()
    )
    assert command("weights", "path", "squeezenet").stdout == f"{cache / name}\n"
    assert "is in no cache" in one_sentence(command("weights", "verify", "squeezenet"))
    fetched = command("weights", "fetch", *OURS)
    assert fetched.returncode == 0, fetched.stderr
    assert f"squeezenet {cache / name}" in fetched.stdout
    assert command("weights", "verify").stdout.count("as published") == 2
    (cache / name).write_bytes(b"broken")
    broken = command("weights", "verify")
    assert broken.returncode == 3
    assert "is not squeezenet as published" in broken.stderr
    assert broken.stdout.count("as published") == 1  # the other one
    assert "did you mean 'vgg16'" in one_sentence(command("weights", "path", "vgg61"))


@pytest.mark.parametrize("action", [["list"], ["path", "vgg16"], ["verify"], ["--help"]])
def test_the_commands_of_weights_import_nothing_heavy(action, cache):
    line = [sys.executable, "-X", "importtime", "-m", "lossbench_cli", "weights", *action]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    lines = (each for each in done.stderr.splitlines() if each.startswith("import time:"))
    found = {each.rpartition("|")[2].strip().partition(".")[0] for each in lines}
    assert "click" in found
    assert not found & {"torch", "numpy", "rich", "scipy", "PIL", "yaml"}


# What is wrong with a file is one sentence, and told before anything is computed


def npz(path: Path, **changes: Any) -> Path:
    """SqueezeNet's weights in a .npz file, some of them changed or left out."""
    found: dict[str, Any] = {key: value.numpy() for key, value in held("squeezenet").items()}
    found |= {key.replace("__", "."): value for key, value in changes.items()}
    np.savez(path, **{key: value for key, value in found.items() if value is not None})
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features__0__weight": None}, "features.0.weight is missing"),
        ({"features__0__bias": np.zeros(63, np.float32)}, "features.0.bias is 63, expected 64"),
        ({"features__0__weight": np.zeros((64, 3, 5, 5), np.float32)},
         "features.0.weight is 64×3×5×5, expected 64×3×3×3"),
        ({"features__99__bias": np.zeros(3, np.float32)}, "features.99.bias is an unknown key"),
        ({"features__0__bias": np.full(64, np.nan, np.float32)}, "features.0.bias is not finite"),
    ],
)  # fmt: skip
def test_another_architecture_is_told(changes, words, tmp_path):
    path = npz(tmp_path / "other.npz", **changes)
    with pytest.raises(lossbench.InputError) as told:
        Networks({"squeezenet": str(path)}).numbers("squeezenet", torch.zeros(1))
    assert f"{path} does not fit squeezenet: {words}" in str(told.value)


def test_weights_of_another_network_are_told(data):
    path = data("weights") / "vgg16_features_lpips_v0.1.npz"
    with pytest.raises(lossbench.InputError, match=r"does not fit vgg19: .* more"):
        Networks({"vgg19": str(path)}).numbers("vgg19", torch.zeros(1))
    with pytest.raises(lossbench.InputError, match=r"does not fit lpips_alex: lin1.weight is 128"):
        Networks({"lpips_alex": str(path)}).numbers("lpips_alex", torch.zeros(1))
    with pytest.raises(lossbench.InputError, match="does not fit dists: alpha is missing"):
        Networks({"dists": str(path)}).numbers("dists", torch.zeros(1))


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".pth", ".pt"])
def test_every_kind_of_file_gives_the_same_numbers(ending, tmp_path):
    wanted = held("squeezenet")
    path = tmp_path / f"weights{ending}"
    if ending == ".npz":
        npz(path)
    elif ending == ".safetensors":
        pytest.importorskip("safetensors.torch").save_file(wanted, path)
    else:
        torch.save({**wanted, "classifier.1.weight": torch.zeros(3)}, path)
    found = Networks({"squeezenet": str(path)}).numbers("squeezenet", torch.zeros(1))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


class Harmful:
    """Pickled, it makes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare", "npz"])
def test_a_malicious_pickle_is_not_run(kind, tmp_path):
    mark, path = tmp_path / "harm", tmp_path / f"weights.{'npz' if kind == 'npz' else 'pth'}"
    evil = {**held("squeezenet"), "more": Harmful(mark)}
    if kind == "npz":
        np.savez(path, more=np.array([Harmful(mark)], object))
    elif kind == "bare":
        path.write_bytes(pickle.dumps(evil["more"]))
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(lossbench.InputError, match=r"(not opened|cannot be read as weights)"):
        read_tensors(path)
    assert not mark.exists()
    if kind != "npz":  # the control: opened as files were before, it does run
        torch.load(path, weights_only=False) if kind != "bare" else pickle.loads(path.read_bytes())
        assert mark.exists()


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".pth"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x80\x02 no pickle" * 9])
def test_a_broken_file_is_one_sentence(ending, content, tmp_path):
    if ending == ".safetensors":
        pytest.importorskip("safetensors")
    path = tmp_path / f"weights{ending}"
    path.write_bytes(content)
    with pytest.raises(lossbench.InputError) as told:
        read_tensors(path)
    assert str(told.value).startswith(str(path))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("held", [[torch.zeros(2)], {"a": 1}, torch.zeros(3)], ids=repr)
def test_what_is_no_state_dict_is_told(held, tmp_path):
    torch.save(held, tmp_path / "weights.pth")
    with pytest.raises(lossbench.InputError, match="is not a state dict: expected tensors by name"):
        read_tensors(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--offline"], 3, "the weights squeezenet are needed and --offline forbids a download"),
        (["--weights", "squeezenet=none.npz"], 3, "squeezenet=none.npz: there is no such file"),
        (["--weights", "squeezenet"], 2, "expected NAME=FILE, such as vgg16=vgg16.npz"),
        (["--weights", "squezenet=a.npz"], 2, "did you mean 'squeezenet'?"),
        (["--weights", "squeezenet=other.npz"], 3, "does not fit squeezenet: features.0.weight"),
    ],
)
def test_the_command_tells_what_is_wrong_in_one_sentence(
    arguments, status, words, server, cache, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    npz(tmp_path / "other.npz", features__0__weight=None)
    done = command("eval", *IMAGES, "-l", f"lpips({TINY})", "-q", *arguments)
    assert done.returncode == status
    assert words in one_sentence(done)


def test_weights_come_from_configs_and_the_environment(server, cache, tmp_path, monkeypatch):
    npz(tmp_path / "mine.npz")
    (tmp_path / "c.yaml").write_text("weights: {squeezenet: mine.npz}\noffline: true\n")
    weights.PUBLISHED["lpips_squeeze"].fetch()
    monkeypatch.setenv("LOSSBENCH_LOSS", f"lpips({TINY})")
    done = command("eval", *IMAGES, "-c", tmp_path / "c.yaml", "-f", "csv")
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("LOSSBENCH_WEIGHTS", f"squeezenet={tmp_path / 'mine.npz'}")
    assert command("eval", *IMAGES, "-f", "csv").stdout == done.stdout
    (tmp_path / "c.yaml").write_text("weights: {squezenet: mine.npz}\n")
    wrong = one_sentence(command("eval", *IMAGES, "-c", tmp_path / "c.yaml"))
    assert "c.yaml:1:11: no weights are called 'squezenet' (did you mean 'squeezenet'?)" in wrong


def test_one_text_is_one_name() -> None:
    assert [each.name for each in lossbench.list_weights("vgg16")] == ["vgg16"]
    with pytest.raises(lossbench.InputError, match=r"^no\.json"):
        lossbench.plan_merge("no.json")
