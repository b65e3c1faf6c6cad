"""The library in another program: what belongs to the program or to other libraries stays as is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import SAMPLES

PROGRAM = """
import gc, logging, multiprocessing, os, random, signal, sys, threading, time, warnings
from pathlib import Path

import numpy as np
import scipy.sparse, scipy.special  # which add filters of warnings
import torch
from PIL import Image, ImageFile

pred, target = sys.argv[1:]


def state():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return {
        "threads of torch": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "default of torch": (torch.get_default_dtype(), torch.get_default_device()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
        "matmul": (matmul.allow_tf32, torch.get_float32_matmul_precision()),
        "random numbers of torch": torch.get_rng_state().tolist(),
        "random numbers of numpy": repr(np.random.get_state()),
        "random numbers": random.getstate(),
        "constants of Pillow": {
            (module.__name__, name): value
            for module in (Image, ImageFile)
            for name, value in vars(module).items()
            if name.isupper() and isinstance(value, bool | int | float | str | None)
        },
        "memory of Pillow": (
            Image.core.get_alignment(), Image.core.get_block_size(), Image.core.get_blocks_max()
        ),
        "errors of numpy": np.geterr(),
        "printing of numpy": np.get_printoptions(),
        "garbage": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count() > 0),
        "environment": dict(os.environ),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "warnings": list(warnings.filters),
        "logging": {
            name: (logging.getLogger(name).level, list(logging.getLogger(name).handlers))
            for name in (None, "distributed", "torch", "PIL")
        },
        "interpreter": (sys.path[:], sys.argv[:], sys.getrecursionlimit(), sys.getswitchinterval()),
        "hooks": (sys.excepthook, threading.excepthook, sys.stdout, sys.stderr),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "folder": os.getcwd(),
    }


def children():
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def check(what):
    end = time.monotonic() + 20
    while len(threading.enumerate()) > 1 and time.monotonic() < end:
        time.sleep(0.01)  # a thread that has done its work is about to end
    assert threading.enumerate() == [threading.main_thread()], (what, threading.enumerate())
    for name, value in state().items():
        assert value == before[name], (what, name, before[name], value)


if __name__ == "__main__":
    torch.set_num_threads(3)
    torch.set_default_dtype(torch.float64)
    torch.backends.cudnn.benchmark = True
    np.seterr(divide="raise")
    gc.set_threshold(500, 5, 5)
    gc.freeze()
    signal.signal(signal.SIGTERM, lambda *_: None)
    before = state()

    import lossbench
    check("import")

    arrays = np.random.default_rng(0).random((4, 9, 9))
    result = lossbench.evaluate(pred, target, ["dice", "hd95"], group_by="{group}/{name}")
    check("pixels")
    lossbench.evaluate(list(arrays), list(arrays > 0.5), ["dice", "bce"], workers=3)
    check("arrays")
    labels = (arrays * 300).astype(np.uint16)
    lossbench.evaluate(list(labels), list(labels), "iou", task="multiclass", classes=300)
    check("many classes")
    lossbench.save(result, "result.json")
    lossbench.render(lossbench.compare(["result.json", "result.json"]))
    lossbench.render(lossbench.report("result.json", pred=pred, target=target))
    lossbench.render(result)
    lossbench.loss("ssim")(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16), encoding="image")
    before["random numbers of torch"] = torch.get_rng_state().tolist()
    lossbench.gradcheck("dice", task="binary")
    check("other functions")
    try:
        lossbench.evaluate(["no"], ["such"], "dice")
    except lossbench.LossbenchError:
        check("error")
    else:
        raise AssertionError
    assert children() == ""

    from lossbench.engine import pipeline
    pipeline.MIN_PAIRS_FOR_PROCESSES = 1
    before["start method"] = multiprocessing.get_start_method()  # which any spawned process fixes
    lossbench.evaluate(pred, target, ["dice"], workers=2, start_method="spawn")
    check("processes")
    assert multiprocessing.active_children() == []
"""


@pytest.mark.skipif(sys.platform != "linux", reason="child processes are listed in /proc")
def test_the_library_changes_nothing_of_the_program_that_calls_it(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    folders = [str(SAMPLES / "binary" / role) for role in ("pred", "gt")]
    done = subprocess.run(
        [sys.executable, "program.py", *folders], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
