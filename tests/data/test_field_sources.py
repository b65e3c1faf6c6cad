"""Files as people have them: sources, secrets, full disks, hangs and bombs, through the command.

The names of tests begin with the row of the table of troubles that they belong to. Expected numbers
are computed by numpy alone.
"""

from __future__ import annotations

import ctypes
import gzip
import json
import os
import re
import resource
import shlex
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.paths import SAMPLES
from numpy.typing import NDArray
from PIL import Image

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Mask = NDArray[np.uint8]
BINARY = (SAMPLES / "binary" / "pred", SAMPLES / "binary" / "gt")


def disk(row: float, column: float, radius: float = 9, size: int = 32) -> Mask:
    rows, columns = np.mgrid[:size, :size]
    return np.uint8((rows - row) ** 2 + (columns - column) ** 2 <= radius**2) * np.uint8(255)


TRUTH, PRED = disk(14, 14), disk(17, 18)


def iou(pred: Any, target: Any, valid: Any = True) -> float:
    pred, target = np.asarray(pred) > 0, np.asarray(target) > 0
    return float((pred & target & valid).sum() / ((pred | target) & valid).sum())


def save(path: Path, array: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path)
    return path


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of predictions and one of truths, with a pair at the top and one in a subfolder."""
    for name in ("a.png", "case/b.png"):
        save(tmp_path / "pred" / name, PRED)
        save(tmp_path / "gt" / name, TRUTH)
    return tmp_path / "pred", tmp_path / "gt"


def mean(done: subprocess.CompletedProcess[str], name: str = "iou") -> float:
    assert done.returncode == 0, done.stderr
    return float(json.loads(done.stdout)["aggregate"][name]["mean"])


def evaluated(run: Command, *arguments: Any, **how: Any) -> float:
    return mean(run("eval", *arguments, "-l", "iou", "-q", "-f", "json", **how))


def one_sentence(done: subprocess.CompletedProcess[str], status: int, *parts: str) -> str:
    """The only error of a run, which has all parts and is no traceback."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    *_, last = done.stderr.rstrip().split("error: ")
    for part in parts:
        assert part in last, last
    return last


# Row 33: what cannot be read is an error, wherever it is


def without_privileges() -> None:
    """Take from root the right to read everything."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability)  # PR_CAPBSET_DROP


@pytest.mark.parametrize(
    ("locked", "mode", "names"),
    [
        ("pred/case", 0o000, ["the folder", "case", "Permission denied", "chmod u+rx"]),
        ("both/case", 0o000, ["the folder", "case", "Permission denied", "chmod u+rx"]),
        ("gt", 0o000, ["the folder", "gt", "Permission denied", "chmod u+rx"]),
        ("both/case", 0o400, ["b.png", "Permission denied"]),  # listed, but no file can be opened
        ("both/case/b.png", 0o000, ["b.png", "Permission denied"]),
    ],
)
def test_row33_unreadable(
    sides: tuple[Path, Path], lossbench_process: Command, locked: str, mode: int, names: list[str]
) -> None:
    start, _, inside = locked.partition("/")
    chosen = [side / inside for side in sides if start in (side.name, "both")]
    for path in chosen:
        path.chmod(mode)
    try:
        arguments = ("eval", *sides, "-l", "iou", "-q", "--gate", "iou.mean >= .1")
        done = lossbench_process(*arguments, preexec_fn=without_privileges)
    finally:
        for path in chosen:
            path.chmod(0o755)
    one_sentence(done, 3, *names)
    assert lossbench_process(*arguments).returncode == 0  # after chmod, as the message says


@pytest.mark.parametrize("to", ["nowhere", "itself"])
def test_row33_link_that_leads_nowhere(
    sides: tuple[Path, Path], lossbench_command: Command, to: str
) -> None:
    for side in sides:
        (side / "itself").symlink_to(to)
    one_sentence(lossbench_command("eval", *sides), 3, "itself", "remove the link")
    for side in sides:
        (side / "itself").unlink()
    assert evaluated(lossbench_command, *sides) == pytest.approx(iou(PRED, TRUTH))


def test_row33_web_folder_that_is_locked(lossbench_command: Command, tmp_path: Path) -> None:
    for name in ("a.png", "locked/b.png"):
        save(tmp_path / "pred" / name, PRED)
        save(tmp_path / "gt" / name, TRUTH)
    with served(tmp_path, {"locked": 403}) as url:
        done = lossbench_command("eval", f"{url}/pred", f"{url}/gt", "-l", "iou", "-q")
    one_sentence(done, 3, "403")


# Row 34: secrets are in no message, no id and no output

SECRET = "hunter2"
FAULTS = {"refused": 403, "broken": 500, "gone": 404}
SIGNED = [
    "?X-Amz-Signature={}",
    "?sv=2024&sig={}&se=2026",
    "?GoogleAccessId=a&Signature={}",
    "?auth={}",
    "?t={}",
    "#access_token={}",
]


@contextmanager
def served(folder: Path, faults: Mapping[str, int] = FAULTS) -> Iterator[str]:
    """A folder on a web server of this machine; paths with certain words fail."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def send_head(self) -> Any:
            for word, status in faults.items():
                if word in self.path:
                    return self.send_error(status)
            return super().send_head()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("signature", SIGNED)
def test_row34_manifest_of_urls_without_ids(
    tmp_path: Path, lossbench_command: Command, signature: str
) -> None:
    for name in ("a", "b"):
        save(tmp_path / f"{name}_pred.png", PRED)
        save(tmp_path / f"{name}_gt.png", TRUTH)
    names = ("a", "b", *FAULTS)
    outputs = [f"run.{ending}" for ending in ("json", "jsonl", "csv", "xml", "md", "parquet")]
    with served(tmp_path) as url:
        url = url.replace("//", f"//anna:{SECRET}@")
        query = signature.format(SECRET)
        rows = [f"{url}/{name}_pred.png{query},{url}/{name}_gt.png{query}" for name in names]
        (tmp_path / "pairs.csv").write_text("\n".join(["pred,gt", *rows]))
        settings = ["--manifest", "pairs.csv", "-l", "iou"]
        done = lossbench_command(
            "eval", *settings, *(word for name in outputs for word in ("-o", name)), "-v",
            cwd=tmp_path,
        )  # fmt: skip
        others = [
            lossbench_command("eval", *settings, *more, cwd=tmp_path)
            for more in (["-f", "github"], ["-f", "json"], ["-q"])
        ]
        page = lossbench_command("report", "run.json", cwd=tmp_path)
    assert done.returncode == 3
    assert "/a_pred" in (tmp_path / "run.csv").read_text()
    assert iou(PRED, TRUTH) == pytest.approx(
        json.loads((tmp_path / "run.json").read_text())["aggregate"]["iou"]["mean"]
    )
    for each in (done, *others, page):
        assert "Traceback" not in each.stderr
        assert SECRET not in each.stdout + each.stderr
    for name in outputs:
        assert SECRET.encode() not in (tmp_path / name).read_bytes(), name


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("signature", SIGNED)
def test_row34_a_url_that_fails(lossbench_command: Command, fault: str, signature: str) -> None:
    with served(SAMPLES / "binary") as url:
        url = url.replace("//", f"//anna:{SECRET}@")
        for away in ("pred.png", "pred/", "pred.zip", "pred.tar.gz"):
            address = f"{url}/{fault}/{away}{signature.format(SECRET)}"
            for arguments in (
                ["eval", address, BINARY[1]],
                ["eval", *BINARY, "--input", f"weight={address}"],
                ["eval", "--manifest", address],
                ["eval", *BINARY, "--baseline", address, "--gate", "iou.mean >= baseline"],
                ["eval", *BINARY, "--dry-run", "--pred-pattern", address],
                ["report", address],
                ["compare", address, address],
                ["merge", address, address],
            ):
                done = lossbench_command(*arguments)
                assert done.returncode in (2, 3), arguments
                assert "Traceback" not in done.stderr
                assert SECRET not in done.stdout + done.stderr, arguments


# Row 35: a result that does not fit on the disk is status 4

RUNS = {
    "table": ["eval", *BINARY, "-l", "dice"],
    "json": ["eval", *BINARY, "-l", "dice", "-f", "json"],
    "losses": ["losses"],
    "help": ["--help"],
    "dry run": ["eval", *BINARY, "--dry-run"],
}


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", RUNS.values(), ids=RUNS)
def test_row35_full_disk(lossbench_process: Command, arguments: list[str], unbuffered: str) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        done = lossbench_process(
            *arguments, capture_output=False, stdout=full, stderr=subprocess.PIPE, env=environment
        )
    one_sentence(done, 4, "could not be written: No space left on device")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_row35_disk_that_becomes_full(
    tmp_path: Path, lossbench_process: Command, unbuffered: str
) -> None:
    """The first bytes still fit."""
    with open(tmp_path / "out.json", "w") as out:
        done = lossbench_process(
            "eval", *BINARY, "-l", "dice", "-f", "json",
            capture_output=False, stdout=out, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        )  # fmt: skip
    one_sentence(done, 4, "could not be written: File too large")


# Row 37: the declared versions of click

OLD_CLICK = """
import click.shell_completion as completion
class CompletionItem:  # before click 8.4.2 the class takes no type
    def __init__(self, value, type="plain", help=None):
        self.value, self.type, self.help = value, type, help
completion.CompletionItem = CompletionItem
import sys
from lossbench_cli.main import main
sys.argv = ["lossbench", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["losses"], 0), (["explain", "dice"], 0), (["--help"], 0), ([], 2), (["weights"], 2)],
)
def test_row37_older_click(arguments: list[str], status: int) -> None:
    command = [sys.executable, "-c", OLD_CLICK, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr


# Row 39: nothing hangs, and nothing fills the memory


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(path.parent)  # names of sockets are short
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("special", [a_pipe, a_socket, a_device])
def test_row39_pipes_and_devices(
    sides: tuple[Path, Path], lossbench_process: Command, special: Callable[[Path], None]
) -> None:
    for side in sides:
        special(side / "case" / "c.png")
    done = lossbench_process("eval", *sides, "-l", "iou", "-f", "json", timeout=30)
    assert mean(done) == pytest.approx(iou(PRED, TRUTH))
    assert "2 files left out (pipe or device ×2)" in done.stderr


@pytest.mark.parametrize("special", [a_pipe, a_socket, a_device])
def test_row39_pipes_and_devices_by_name(
    sides: tuple[Path, Path],
    tmp_path: Path,
    lossbench_process: Command,
    special: Callable[[Path], None],
) -> None:
    special(tmp_path / "x.png")
    (tmp_path / "pairs.csv").write_text("pred,gt\nx.png,gt/a.png\npred/a.png,gt/a.png\n")
    for arguments in ([tmp_path / "x.png", sides[1]], ["--manifest", tmp_path / "pairs.csv"]):
        done = lossbench_process("eval", *arguments, "-l", "iou", timeout=30)
        one_sentence(done, 3, "x.png is a pipe or device; copy it into a file")


BOMB = 3 << 29  # bytes
BLOCK = bytes(1 << 20)
HEADER = {"descr": "|u1", "fortran_order": False, "shape": (BOMB >> 10, 1 << 10)}


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """Archives of zeros by kind."""
    path = tmp_path_factory.mktemp("bomb") / "a.zip"
    deflated = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
    with deflated as packed, packed.open("a.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, HEADER)
        for _ in range(BOMB // len(BLOCK)):
            member.write(BLOCK)
    return {"zip": path.read_bytes(), "gzip": gzip.compress(BLOCK) * (BOMB // len(BLOCK))}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.zip", "zip"), ("a.npz", "zip"), ("a.nii.gz", "gzip"), ("a.tar.gz", "gzip")],
)
def test_row39_small_files_that_become_large(
    tmp_path: Path, lossbench_process: Command, name: str, kind: str, bombs: Mapping[str, bytes]
) -> None:
    (tmp_path / name).write_bytes(bombs[kind])
    assert (tmp_path / name).stat().st_size < BOMB / 500
    truth = save(tmp_path / "a.png", TRUTH)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    done = lossbench_process("eval", tmp_path / name, truth, "-l", "iou", timeout=60)
    one_sentence(done, 3, name, "unpacks to", "if that is right, unpack it beforehand")
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert after <= max(before, 1_200_000)  # kB; the bomb alone has 1,572,864


def laughs(start: str, depth: int = 9) -> str:
    """YAML whose aliases stand for 10**depth values."""
    lines = [f"{start}", "  - &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"  - &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, depth)]
    return "\n".join(lines)


DEEP = "[" * 100_000
TEXTS = {
    "config": ("lossbench.yaml", laughs("losses:"), ["-c", "lossbench.yaml"]),
    "config classes": ("l.yaml", laughs("target:\n  classes:"), ["-c", "l.yaml"]),
    "classes.yaml": ("classes.yaml", laughs("a:"), ["--classes", "classes.yaml"]),
    "deep config": ("l.yaml", f"losses: {DEEP}", ["-c", "l.yaml"]),
    "deep classes": ("classes.yaml", DEEP, ["--classes", "classes.yaml"]),
    "deep classes.json": ("classes.json", DEEP, ["--classes", "classes.json"]),
    "deep option": ("x", "", ["--classes", DEEP[:30_000]]),
}


@pytest.mark.parametrize(("name", "text", "arguments"), TEXTS.values(), ids=TEXTS)
def test_row39_texts_that_become_large(
    tmp_path: Path, lossbench_process: Command, name: str, text: str, arguments: list[str]
) -> None:
    (tmp_path / name).write_text(text)
    done = lossbench_process("eval", *BINARY, *arguments, cwd=tmp_path, timeout=30)
    assert re.search("aliases|deep|depth|nested", one_sentence(done, 2)), done.stderr


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_row39_deep_results(tmp_path: Path, lossbench_process: Command, ending: str) -> None:
    path = tmp_path / f"deep.{ending}"
    path.write_text('{"run": ' * 100_000)
    for arguments in (
        ["report", path],
        ["compare", path, path],
        ["merge", path, path],
        ["eval", *BINARY, "--baseline", path, "--gate", "dice.mean <= baseline"],
    ):
        one_sentence(lossbench_process(*arguments), 3, str(path), "nested too deep")


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy in which one entry is absent (value ...) or another one."""
    copy = json.loads(json.dumps(document))
    *above, last = path
    inside = copy
    for part in above:
        inside = inside[part]
    if value is ...:
        del inside[last]
    else:
        inside[last] = value
    return copy


ENTRIES = [
    ("run",), ("aggregate",), ("run", "losses"), ("run", "losses", 0, "name"),
    ("run", "losses", 0, "better"), ("run", "classes"), ("run", "pairs"), ("run", "plan", "task"),
    ("run", "settings"), ("session", "started"), ("aggregate", "dice"),
    ("aggregate", "dice", "classes"), ("samples",), ("samples", 0, "id"), ("samples", 0, "dice"),
    ("shard", "plan"), ("shard", "plan", "target"), ("shard", "ids"), ("shard", "part"),
]  # fmt: skip


def test_row39_results_with_a_missing_or_mistyped_key(
    tmp_path: Path, lossbench_command: Command
) -> None:
    labels = [SAMPLES / "multiclass" / side for side in ("pred", "gt")]
    for shard in ("1", "2"):
        done = lossbench_command(
            "eval", *labels, "-l", "dice", "--shard", f"{shard}/2", "-o", f"{shard}.json", "-q",
            "--missing", "skip", cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    whole = json.loads((tmp_path / "1.json").read_text())
    readers = (
        ["report", "bad.json"],
        ["compare", "1.json", "bad.json"],
        ["compare", "bad.json", "1.json"],
        ["merge", "bad.json", "2.json"],
    )
    refused = 0
    for entry in ENTRIES:
        for value in (..., None, 3, "x", [], {}, [3], {"a": 3}):
            (tmp_path / "bad.json").write_text(json.dumps(changed(whole, entry, value)))
            for arguments in readers:
                done = lossbench_command(*arguments, cwd=tmp_path)
                assert "Traceback" not in done.stderr, (entry, value, arguments, done.stderr)
                refused += done.returncode == 3 and "bad.json" in done.stderr
    assert refused > 300
    (tmp_path / "bad.json").write_text(json.dumps(changed(whole, ("run", "classes"), ...)))
    done = lossbench_command("report", "bad.json", cwd=tmp_path)
    one_sentence(done, 3, "bad.json is a damaged result: run.classes is missing; run it again")


@pytest.mark.parametrize(
    "tail",
    [b"\0" * 5_000_000, b"5\n", b"[]\n", b'{"run": 1}\n', b'{"run": 1, "part": 2}\n', b"[" * 9999],
    ids=["zeros", "number", "list", "no part", "part", "deep"],
)  # fmt: skip
def test_row39_checkpoint_with_a_damaged_end(
    sides: tuple[Path, Path], tmp_path: Path, lossbench_command: Command, tail: bytes
) -> None:
    (tmp_path / "run.json.part").write_bytes(b'\n{"run": ' + b'{}, "part": "AAAA"}\n' + tail)
    for resume in ([], ["--resume"]):
        (tmp_path / "run.json").unlink(missing_ok=True)
        part = tmp_path / "run.json.part"
        if not resume:
            part.write_bytes(b"\n" + tail)
        done = lossbench_command(
            "eval", *sides, "-l", "iou", "-o", tmp_path / "run.json", "-q", "-f", "json", *resume
        )
        assert mean(done) == pytest.approx(iou(PRED, TRUTH))


# Messages without a way out


def test_message_report_of_a_table_or_of_two_results(
    tmp_path: Path, lossbench_command: Command
) -> None:
    def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
        return lossbench_command(*arguments, cwd=tmp_path)

    run("eval", *BINARY, "-l", "iou", "-q", "-o", "a.json", "-o", "b.json", "-o", "run.csv")
    for command in (["report", "run.csv"], ["compare", "a.json", "run.csv"]):
        one_sentence(run(*command), 3, "run.csv", "no result is read from .csv", "-o run.json")
    for other in (["b.json"], ["b.json", "a.json"]):
        one_sentence(
            run("report", "a.json", *other), 2,
            "b.json is a second result", "lossbench compare a.json b.json",
        )  # fmt: skip
    assert run("compare", "a.json", "b.json").returncode == 0  # as the message says
    assert run("report", "a.json").returncode == 0


@pytest.mark.parametrize("output", [[], ["-o", "run.json"]])
def test_message_stopped_without_a_finished_sample(
    sides: tuple[Path, Path], tmp_path: Path, lossbench_process: Command, output: list[str]
) -> None:
    plugin = tmp_path / "stop.py"
    plugin.write_text(
        "import os, signal\nfrom lossbench.plugin_api import Overlap, PerClass, loss\n\n"
        '@loss(family="overlap")\ndef stop(overlap: Overlap) -> PerClass:\n    """Stop."""\n'
        "    os.kill(os.getpid(), signal.SIGINT)\n    return overlap.both\n"
    )
    done = lossbench_process(
        "eval", *sides, "--plugin", plugin, "-l", "stop", *output, cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert done.returncode == -signal.SIGINT, done.stderr
    assert "stopped; no finished sample is kept" in done.stderr
    assert "run.json.part" not in done.stderr
    assert not (tmp_path / "run.json.part").exists()


COLOURS = {"sky": (0, 0, 255), "road": (128, 64, 128), "car": (200, 0, 0)}
INDEX_FILES = {
    "classes.txt": "sky\nroad\ncar\n",
    "windows.txt": "\ufeffsky\r\nroad\r\n\r\ncar",
    "comments.txt": "# three classes\nsky\nroad\ncar\n",
    "classes.json": '["sky", "road", "car"]',
    "values.json": '{"0": "sky", "1": "road", "2": "car"}',
    "classes.yaml": "[sky, road, car]",
    "values.yml": "0: sky\n1: road\n2: car\n",
}
COLOUR_FILES = {
    "labelmap.txt": "# label:color_rgb:parts:actions\n"
    + "".join(f"{name}:{','.join(map(str, rgb))}::\n" for name, rgb in COLOURS.items()),
    "colours.json": json.dumps({name: list(rgb) for name, rgb in COLOURS.items()}),
    "hex.json": json.dumps({name: "#{:02x}{:02x}{:02x}".format(*c) for name, c in COLOURS.items()}),
    "colours.yaml": "".join(f"{name}: {list(rgb)}\n" for name, rgb in COLOURS.items()),
}


@pytest.mark.parametrize(
    ("name", "text"), [*INDEX_FILES.items(), *COLOUR_FILES.items()], ids=lambda text: text[:12]
)
@pytest.mark.parametrize("in_config", [False, True])
def test_message_classes_from_a_file(
    tmp_path: Path, lossbench_command: Command, name: str, text: str, in_config: bool
) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (2, 24, 24)).astype(np.uint8)
    truth, pred = labels
    if name in COLOUR_FILES:
        truth, pred = np.array(list(COLOURS.values()), np.uint8)[labels]
    save(tmp_path / "pred" / "a.png", pred)
    save(tmp_path / "gt" / "a.png", truth)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / name).write_bytes(text.encode())
    (tmp_path / "etc" / "c.yaml").write_text(f"target:\n  classes: {name}\n")
    setting = ["-c", "etc/c.yaml"] if in_config else ["--classes", f"etc/{name}"]
    done = lossbench_command(
        "eval", "pred", "gt", "-l", "iou", "-q", "-f", "json", *setting, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    classes = json.loads(done.stdout)["aggregate"]["iou"]["classes"]
    for index, of_class in enumerate(COLOURS):
        expected = iou(labels[1] == index, labels[0] == index)
        assert classes[of_class]["mean"] == pytest.approx(expected)


# Row 38: what loosens a run outside of its command line is named, also with -q

LOOSENING = {
    "missing": ({"LOSSBENCH_MISSING": "skip"}, "", "LOSSBENCH_MISSING=skip"),
    "extra": ({"LOSSBENCH_EXTRA": "skip"}, "", "LOSSBENCH_EXTRA=skip"),
    "empty": ({"LOSSBENCH_EMPTY": "1"}, "", "LOSSBENCH_EMPTY=1.0"),
    "ignore": ({"LOSSBENCH_IGNORE": "255"}, "", "LOSSBENCH_IGNORE=255"),
    "resize": ({"LOSSBENCH_RESIZE": "nearest"}, "", "LOSSBENCH_RESIZE=nearest"),
    "gates": (
        {"LOSSBENCH_GATE": "iou.mean >= 0.1"},
        "gates: [iou.mean >= 0.99]",
        "LOSSBENCH_GATE=iou.mean >= 0.1",
    ),
    "config above": ({}, "missing: skip", "missing: skip (../lossbench.yaml:1)"),
    "config by variable": (
        {"LOSSBENCH_CONFIG": "../lossbench.yaml"},
        "missing: skip",
        "missing: skip (../lossbench.yaml:1)",
    ),
}


@pytest.mark.parametrize(("variables", "config", "named"), LOOSENING.values(), ids=LOOSENING)
@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_row38_loosened_runs(
    sides: tuple[Path, Path],
    tmp_path: Path,
    lossbench_command: Command,
    variables: dict[str, str],
    config: str,
    named: str,
    quiet: list[str],
) -> None:
    if config:
        (tmp_path / "lossbench.yaml").write_text(config)
    (tmp_path / "below").mkdir()
    settings = ["eval", *sides, "-l", "iou", "--accept", "oriented", *quiet]
    where = {"cwd": tmp_path / "below", "env": {**os.environ, **variables}}
    done = lossbench_command(*settings, **where)
    assert done.returncode == 0, done.stderr
    note = f"note: the run is loosened outside of its command line by {named}\n"
    assert note in done.stderr
    strict = ["--missing", "error", "--isolated", "-q"]
    where["env"] = {**os.environ, "LOSSBENCH_MISSING": "skip"}
    assert lossbench_command(*settings, *strict, **where).stderr == ""  # the command line decides


STRICT = {
    "environment": ({"LOSSBENCH_MISSING": "worst", "LOSSBENCH_IGNORE": "none"}, ""),
    "only gates": ({"LOSSBENCH_GATE": "iou.mean >= 0.1"}, ""),
    "speed": ({"LOSSBENCH_WORKERS": "1"}, "run: {batch_size: 3}"),
    "config above": ({}, "gates: [iou.mean >= 0.1]\nthreshold: 0.4"),
}


@pytest.mark.parametrize(("variables", "config"), STRICT.values(), ids=STRICT)
def test_row38_other_settings_are_not_named(
    sides: tuple[Path, Path],
    tmp_path: Path,
    lossbench_command: Command,
    variables: dict[str, str],
    config: str,
) -> None:
    (tmp_path / "lossbench.yaml").write_text(config or "losses: [iou]")
    done = lossbench_command(
        "eval",
        *sides,
        "-l",
        "iou",
        "--accept",
        "oriented",
        "-q",
        cwd=tmp_path,
        env={**os.environ, **variables},
    )
    assert (done.returncode, done.stderr) == (0, "")


# Row 14: one folder as PRED and GT, and the patterns forgotten

KINDS = {
    "suffixes": ("{}_pred.png", "{}_gt.png"),
    "suffix of the truth alone": ("{}.png", "{}_mask.png"),
    "suffix of the prediction alone": ("{}-out.png", "{}.png"),
    "prefixes": ("pred_{}.png", "label_{}.png"),
    "subfolders": ("output/{}.png", "gt/{}.png"),
    "files of a case": ("{}/result.png", "{}/truth.png"),
    "endings": ("{}_pred.npy", "{}_gt.png"),
}


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("names", KINDS.values(), ids=KINDS)
def test_row14_forgotten_patterns(
    tmp_path: Path, lossbench_command: Command, names: tuple[str, str], count: int, link: bool
) -> None:
    for number in range(count):
        for name, mask in zip(names, (PRED, TRUTH), strict=True):
            save(tmp_path / "all" / name.format(f"case_{number}"), mask)
    other = tmp_path / "all"
    if link:
        other = tmp_path / "link"
        other.symlink_to("all")
    arguments = ["eval", tmp_path / "all", other, "-l", "iou", "-q", "-f", "json"]
    sentence = one_sentence(
        lossbench_command(*arguments), 2, "one folder", f"({count} would match)"
    )
    advice = re.search(r"try (.*) \(", sentence)
    assert advice
    done = lossbench_command(*arguments, *shlex.split(advice[1]))
    assert mean(done) == pytest.approx(iou(PRED, TRUTH))
    itself = lossbench_command(*arguments, "--pred-pattern", "{id}")
    assert mean(itself) == 1


@pytest.mark.parametrize(
    "names",
    [
        ["a.png", "b.png"],
        ["a_1.png", "a_2.png"],
        ["x/a.png", "y/a.png"],
        ["a_left.png", "a_right.png"],
    ],
)
def test_row14_a_folder_against_itself(
    tmp_path: Path, lossbench_command: Command, names: list[str]
) -> None:
    for name in names:
        save(tmp_path / name, TRUTH)
    assert evaluated(lossbench_command, tmp_path, tmp_path) == 1


# --missing empty, and several files a class

PLACES = {"cat": (9, 9), "dog": (22, 9), "cow": (9, 22)}


def class_mask(of_class: str, shift: int = 0) -> Mask:
    row, column = PLACES[of_class]
    return disk(row + shift, column, 6)


def by_class(done: subprocess.CompletedProcess[str], id: str) -> dict[str, float | None]:
    assert done.returncode == 0, done.stderr
    samples = {row["id"]: row for row in json.loads(done.stdout)["samples"]}
    values: dict[str, float | None] = samples[id]["classes"]["iou"]
    return values


@pytest.mark.parametrize("stored", ["png", "npy"])
@pytest.mark.parametrize(
    ("in_pred", "in_truth"),
    [(["cat"], ["cat", "dog"]), (["cat", "dog"], ["cat"]), (["dog"], ["cat"])],
)
def test_setting_missing_empty(
    tmp_path: Path, lossbench_command: Command, in_pred: list[str], in_truth: list[str], stored: str
) -> None:
    for side, of_b, shift in (("pred", in_pred, 2), ("gt", in_truth, 0)):
        for id, classes in (("a", PLACES), ("b", of_b)):
            for name in classes:
                save(tmp_path / side / f"{id}_{name}.{stored}", class_mask(name, shift))
    pattern = "{id}_{class}." + stored
    arguments = [
        "eval", tmp_path / "pred", tmp_path / "gt", "--pred-pattern", pattern, "--gt-pattern",
        pattern, "-l", "iou", "-q", "-f", "json",
    ]  # fmt: skip
    one_sentence(lossbench_command(*arguments), 3, "'b' has no file for class", "--missing empty")
    values = by_class(lossbench_command(*arguments, "--missing", "empty"), "b")
    nothing = np.zeros_like(TRUTH)
    for name in PLACES:
        pred = class_mask(name, 2) if name in in_pred else nothing
        truth = class_mask(name) if name in in_truth else nothing
        expected = iou(pred, truth) if (pred | truth).any() else None
        assert values[name] == pytest.approx(expected)


def test_setting_missing_empty_without_classes(
    sides: tuple[Path, Path], lossbench_command: Command
) -> None:
    done = lossbench_command("eval", *sides, "--missing", "empty")
    one_sentence(done, 2, "--missing empty is for classes", "{id}_{class}.png")


@pytest.mark.parametrize(
    "pattern", ["{id}_{class}_{n}.png", "{id}/{class}-*.png", "{n}/{id}.{class}.png"]
)
@pytest.mark.parametrize("both", [False, True])
def test_setting_several_files_of_a_class_are_united(
    tmp_path: Path, lossbench_command: Command, pattern: str, both: bool
) -> None:
    name = pattern.replace("*", "{n}")
    parts = {n: disk(8 + 12 * n, 9, 4) for n in (0, 1)}
    for n, part in parts.items():
        save(tmp_path / "gt" / name.format(id="a", **{"class": "cat"}, n=n), part)
        if both:
            save(
                tmp_path / "pred" / name.format(id="a", **{"class": "cat"}, n=n),
                np.roll(part, 1, 1),
            )
    for side in ("pred", "gt"):
        save(tmp_path / side / name.format(id="a", **{"class": "dog"}, n=0), class_mask("dog"))
    if not both:
        save(tmp_path / "pred" / name.format(id="a", **{"class": "cat"}, n=0), parts[1])
    done = lossbench_command(
        "eval", tmp_path / "pred", tmp_path / "gt", "--pred-pattern", pattern, "--gt-pattern",
        pattern, "-l", "iou", "-q", "-f", "json",
    )  # fmt: skip
    union = parts[0] | parts[1]
    pred = np.roll(parts[0], 1, 1) | np.roll(parts[1], 1, 1) if both else parts[1]
    assert by_class(done, "a") == {"cat": pytest.approx(iou(pred, union)), "dog": 1.0}


def test_setting_united_files_of_two_sizes(tmp_path: Path, lossbench_command: Command) -> None:
    for side in ("pred", "gt"):
        save(tmp_path / side / "a_cat_1.png", TRUTH)
    save(tmp_path / "gt" / "a_cat_2.png", TRUTH[:20])
    patterns = ["--pred-pattern", "{id}_{class}_*", "--gt-pattern", "{id}_{class}_*"]
    done = lossbench_command("eval", tmp_path / "pred", tmp_path / "gt", *patterns, "-l", "iou")
    one_sentence(done, 3, "a_cat_2.png is uint8 of 32×20", "are uint8 of 32×32")


# --ignore: values, ranges, nan and colours

BORDER = np.zeros((32, 32), bool)
BORDER[:, 20:] = True
SKY, ROAD, VOID = (0, 0, 255), (128, 64, 128), (0, 0, 0)


def with_void(truth: Any, value: Any, dtype: Any = np.float32) -> Any:
    return np.where(BORDER, value, truth).astype(dtype)


CUT, GUESS = (TRUTH // 255).astype(int), (PRED // 255).astype(int)
MULTI = ["--task", "multiclass"]
IGNORED = {  # the stored truth, the stored prediction, --ignore, further settings
    "nan in a mask": (with_void(CUT, np.nan), GUESS * 1.0, "nan", []),
    "nan in labels": (with_void(CUT * 2 + 1, np.nan), GUESS * 2.0 + 1, "NaN", MULTI),
    "nan and a number": (with_void(CUT, np.where(BORDER.T, 7, np.nan)), GUESS, "nan,7", MULTI),
    "nodata": (with_void(CUT, -9999, np.int16), GUESS, "-9999", MULTI),
    "negative range": (with_void(CUT, -3, np.int16), GUESS, "-9--1", MULTI),
    "range": (with_void(CUT, 251, np.uint8), GUESS, "250-255", MULTI),
}


@pytest.mark.parametrize(("truth", "pred", "ignore", "more"), IGNORED.values(), ids=IGNORED)
def test_setting_ignore(
    tmp_path: Path, lossbench_command: Command, truth: Any, pred: Any, ignore: str, more: list[str]
) -> None:
    files = save(tmp_path / "pred.npy", pred), save(tmp_path / "gt.npy", truth)
    arguments = ["eval", *files, f"--ignore={ignore}", *more, "-l", "accuracy", "-q", "-f", "json"]
    expected = (CUT == GUESS)[~BORDER].mean()
    assert mean(lossbench_command(*arguments), "accuracy") == pytest.approx(expected)


def test_setting_ignore_nan_in_probabilities(tmp_path: Path, lossbench_command: Command) -> None:
    truth, pred = with_void(CUT * 0.5 + 0.25, np.nan), np.float32(GUESS * 0.5 + 0.2)
    files = save(tmp_path / "pred.npy", pred), save(tmp_path / "gt.npy", truth)
    arguments = ["eval", *files, "-l", "bce", "-q", "-f", "json", "--task", "binary"]
    one_sentence(lossbench_command(*arguments), 3, "gt.npy", "--ignore nan")
    losses = -(truth * np.log(pred) + (1 - truth) * np.log(1 - pred))
    done = lossbench_command(*arguments, "--ignore", "nan")
    assert mean(done, "bce") == pytest.approx(losses[~BORDER].mean(), rel=1e-6)


def test_setting_ignore_nan_in_pictures(tmp_path: Path, lossbench_command: Command) -> None:
    truth, pred = np.random.default_rng(0).random((2, 32, 32)).astype(np.float32)
    files = save(tmp_path / "p.npy", pred), save(tmp_path / "g.npy", with_void(truth, np.nan))
    how = ["--task", "image", "-l", "l1", "-q", "-f", "json"]
    one_sentence(lossbench_command("eval", *files, *how), 3, "g.npy", "--ignore nan")
    done = lossbench_command("eval", *files, *how, "--ignore", "nan")
    assert mean(done, "l1") == pytest.approx(np.abs(truth - pred)[~BORDER].mean(), rel=1e-6)


@pytest.mark.parametrize("palette", [False, True])
def test_setting_ignore_colours(tmp_path: Path, lossbench_command: Command, palette: bool) -> None:
    def painted(labels: Any) -> Any:
        if not palette:
            return np.array([SKY, ROAD, VOID], np.uint8)[labels]
        picture = Image.fromarray(labels.astype(np.uint8), "P")
        picture.putpalette(bytes(sum((SKY, ROAD, VOID), ())))
        return picture

    def store(name: str, labels: Any) -> Path:
        painting = painted(labels)
        if not palette:
            return save(tmp_path / name, painting)
        painting.save(tmp_path / name)
        return tmp_path / name

    files = store("p.png", GUESS), store("g.png", np.where(BORDER, 2, CUT))
    classes = '{sky: "#0000ff", road: "#804080"}'
    arguments = ["eval", *files, "--classes", classes, "-l", "iou", "-q", "-f", "json"]
    one_sentence(lossbench_command(*arguments), 3, "#000000")
    done = lossbench_command(*arguments, "--ignore", "#000000")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)["aggregate"]["iou"]["classes"]
    assert values["road"]["mean"] == pytest.approx(iou(GUESS, CUT, ~BORDER))
    assert values["sky"]["mean"] == pytest.approx(iou(1 - GUESS, 1 - CUT, ~BORDER))


def test_setting_ignore_a_colour_without_colours(
    sides: tuple[Path, Path], lossbench_command: Command
) -> None:
    one_sentence(
        lossbench_command("eval", *sides, "--ignore", "#000000"), 2, "'#000000' is a colour"
    )
    done = lossbench_command("eval", *sides, "--ignore", "black")
    one_sentence(done, 2, "a colour such as '#000000'")


# Row 21: the values that count in masks of valid and of ignored pixels

TRIMAP = np.where(BORDER, 128, np.where(BORDER.T, 255, 0)).astype(np.uint8)
COUNTED = {
    "sure": ("valid", TRIMAP, "255", TRIMAP == 255),
    "sure and unsure": ("valid", TRIMAP, "128,255", TRIMAP > 0),
    "range": ("valid", TRIMAP, "100-200", TRIMAP == 128),
    "zero": ("valid", TRIMAP, "0", TRIMAP == 0),
    "unsure is ignored": ("ignore", TRIMAP, "128", TRIMAP != 128),
    "of 16 bits": ("ignore", TRIMAP.astype(np.uint16) * 4, "512", TRIMAP != 128),
}


@pytest.mark.parametrize(("role", "stored", "values", "valid"), COUNTED.values(), ids=COUNTED)
@pytest.mark.parametrize("in_config", [False, True])
def test_row21_values_that_count(
    tmp_path: Path,
    lossbench_command: Command,
    role: str,
    stored: Any,
    values: str,
    valid: Any,
    in_config: bool,
) -> None:
    for side, array in (("p", PRED), ("g", TRUTH), ("m", stored)):
        save(tmp_path / side / "a.png", array)
    (tmp_path / "c.yaml").write_text(f"inputs: {{{role}: 'm@{values}'}}")
    setting = ["-c", "c.yaml"] if in_config else ["--input", f"{role}=m@{values}"]
    done = lossbench_command("eval", "p", "g", *setting, "-l", "iou", "-f", "json", cwd=tmp_path)
    assert mean(done) == pytest.approx(iou(PRED, TRUTH, valid))
    assert f"{role} masks ({values.replace(',', ', ')})" in done.stderr
    done = lossbench_command("eval", "p", "g", "--input", f"{role}=m", "-l", "iou", cwd=tmp_path)
    sentence = one_sentence(done, 2, f"{role} masks hold several values", "say which count")
    advice = re.search(r"--input '(.*)'", sentence)
    assert advice
    assert evaluated(lossbench_command, "p", "g", "--input", advice[1], cwd=tmp_path) > 0


@pytest.mark.parametrize("role", ["valid", "ignore"])
def test_row21_a_third_value_in_a_file_that_was_not_looked_at(
    tmp_path: Path, lossbench_command: Command, role: str
) -> None:
    names = [f"{number:02}.png" for number in range(40)]
    for name in names:
        mask = TRIMAP if name == "17.png" else np.where(TRIMAP == 255, 255, 0).astype(np.uint8)
        for side, array in (("p", PRED), ("g", TRUTH), ("m", mask)):
            save(tmp_path / side / name, array)
    done = lossbench_command("eval", "p", "g", "--input", f"{role}=m", "-l", "iou", cwd=tmp_path)
    one_sentence(done, 3, "17.png holds 128 where", f"--input '{role}=DIR@255'")
    done = lossbench_command(
        "eval", "p", "g", "--input", f"{role}=m@255", "-l", "iou", "-q", "-f", "json", cwd=tmp_path
    )
    valid = (TRIMAP == 255) == (role == "valid")
    assert mean(done) == pytest.approx(iou(PRED, TRUTH, valid))


@pytest.mark.parametrize("one", [1, 7, 255, True])
def test_row21_one_value_beside_0_needs_no_setting(
    tmp_path: Path, lossbench_command: Command, one: Any
) -> None:
    mask = np.where(BORDER, one, 0).astype(bool if one is True else np.uint8)
    for side, array in (("p", PRED), ("g", TRUTH), ("m@x", mask)):
        save(tmp_path / side / "a.npy", array)
    value = evaluated(lossbench_command, "p", "g", "--input", "valid=m@x", cwd=tmp_path)
    assert value == pytest.approx(iou(PRED, TRUTH, BORDER))
