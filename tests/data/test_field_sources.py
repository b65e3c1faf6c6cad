"""Files as people have them: sources, secrets, full disks, hangs and bombs, through the command.

The names of tests begin with the row of the table of troubles that they belong to. Expected numbers
are computed by numpy alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import socket
import subprocess
import sys
import threading
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
