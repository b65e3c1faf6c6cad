"""The same bits for any number of workers, batch size, order of files and kind of reader."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.option_values import BESIDES, ENTRIES, LOGITS, STRUCTURE, typed
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import lossbench
from lossbench.engine import pipeline, reader_pool
from lossbench.engine.compute import device, evaluate
from lossbench.engine.state.loaded_batch import load_batch
from lossbench.interface.stable_math import alike
from lossbench.results.result import Result

COUNT = 232  # enough for child processes without forcing them
SHAPES = [(20, 24), (17, 31), (24, 20)]


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """Torch may split its sums here, so that one which it splits would show."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def losses(task: str) -> list[str]:
    """Every loss of a task, and those whose class weights wait for the whole data set."""
    others = LOGITS | STRUCTURE
    names = [
        typed(name, BESIDES.get(name, {}))
        for name, entry in ENTRIES.items()
        if task in entry.tasks and name not in others
    ]
    if task == "multiclass":
        rules = ("auto", "median_frequency")
        names += [f"{name}(class_weights={rule})" for name in ("dice", "bce") for rule in rules]
        names = [name.replace("bce(", "cross_entropy(") for name in names]
    return names


def written(result: Result) -> str:
    """A result file without what differs from one session to the next."""
    found = result.as_json()
    assert found.pop("session")
    return json.dumps(found)


def made(task: str, number: int, big: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and its ground truth."""
    draw = np.random.default_rng([number, len(task)])
    shape = (200 + number, 190) if big else SHAPES[number % 3]
    if task == "image":
        return tuple(draw.integers(0, 256, (2, *shape, 3), dtype=np.uint8))
    if task == "multiclass":
        return tuple(draw.integers(0, 4, (2, *shape), dtype=np.uint8))
    mask = (draw.random(shape) > 0.6).astype(np.uint8) * 255
    noisy = draw.integers(0, 256, shape) // 2 + mask // 2
    return noisy.astype(np.uint8), mask * (number % 7 > 0)


def write(root: Path, task: str, count: int, shuffle: int = 0) -> None:
    """Folders pred and gt below a root, their files written in some order."""
    numbers = list(range(count))
    random.Random(shuffle).shuffle(numbers)
    for number in numbers:
        for role, array in zip(("pred", "gt"), made(task, number), strict=True):
            path = root / role / f"{number % 5}/{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)


def run(task: str, every: int = 1, **how: Any) -> str:
    """The folders of the working directory, evaluated: all losses, or every so many of them."""
    return written(lossbench.evaluate("pred", "gt", losses(task)[::every], task=task, **how))


@pytest.mark.parametrize("task", ["binary", "multiclass", "image"])
def test_workers_batches_and_processes_change_no_bit(tmp_path, monkeypatch, task):
    write(tmp_path, task, 40)
    monkeypatch.chdir(tmp_path)
    expected = run(task, workers=1, batch_size=128)
    for workers, batch in ((1, 1), (2, 7), (7, 128)):
        assert run(task, workers=workers, batch_size=batch) == expected
    monkeypatch.setattr(pipeline, "MIN_PAIRS_FOR_PROCESSES", 1)
    for workers, batch in ((1, 128), (2, 7), (7, 3)):
        found = run(task, workers=workers, batch_size=batch, start_method="spawn")
        assert found == expected


def test_multilabel_stacks_give_the_same_bits():
    draw = np.random.default_rng(5)
    pred = draw.integers(0, 256, (23, 3, 18, 25), dtype=np.uint8)
    target = draw.integers(0, 2, pred.shape, dtype=np.uint8)
    how = {"losses": losses("multilabel"), "task": "multilabel"}
    expected = written(lossbench.evaluate(pred, target, workers=1, **how))
    for workers, batch in ((2, 5), (7, 1), (3, 128)):
        found = lossbench.evaluate(pred, target, workers=workers, batch_size=batch, **how)
        assert written(found) == expected


@pytest.mark.parametrize("task", ["binary", "multiclass", "image"])
def test_16_bit_pictures_give_the_same_bits(tmp_path, monkeypatch, task):
    pred, target = {}, {}
    for number in range(12):
        draw = np.random.default_rng([number, len(task)])
        shape = SHAPES[number % 3]
        high = 300 if task == "multiclass" else 1 << 16
        sides = draw.integers(0, high, (2, *shape)).astype(np.uint16)
        pred[str(number)], target[str(number)] = sides
        if task == "binary":
            target[str(number)] = (sides[1] > 30000).astype(np.uint8)
        for role, array in (("pred", pred), ("gt", target)):
            path = tmp_path / role / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(array[str(number)]).save(path)
    monkeypatch.chdir(tmp_path)
    names = [name for name in losses(task) if not name.startswith("weighted_bce")]
    encoding = {"classes": 300} if task == "multiclass" else {}
    if task == "binary":
        encoding = {"pred_encoding": "probability"}
    how = {"losses": names, "task": task, **encoding}
    expected = written(lossbench.evaluate("pred", "gt", workers=1, **how))
    monkeypatch.setattr(pipeline, "MIN_PAIRS_FOR_PROCESSES", 1)
    for workers, batch, method in ((2, 5, None), (7, 1, None), (2, 3, "spawn")):
        how |= {"workers": workers, "batch_size": batch, "start_method": method}
        assert written(lossbench.evaluate("pred", "gt", **how)) == expected


def test_a_sample_is_worth_the_same_alone_and_in_company():
    pairs = {f"{number:02d}": made("binary", number) for number in range(1, 20)}
    names = [name for name in losses("binary") if name != "weighted_bce"]  # which sees all pairs
    together = lossbench.evaluate(
        {name: pred for name, (pred, _) in pairs.items()},
        {name: target for name, (_, target) in pairs.items()},
        names,
        task="binary",
    )
    for place, (pred, target) in enumerate(pairs.values()):
        alone = lossbench.evaluate([pred], [target], names, task="binary")
        for name in names:
            assert repr(alone.values[name].samples[0]) == repr(together.values[name].samples[place])


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_the_order_of_writing_changes_no_bit(tmp_path, monkeypatch, task):
    found = []
    for shuffle in (1, 2):
        write(tmp_path / str(shuffle), task, 40, shuffle)
        monkeypatch.chdir(tmp_path / str(shuffle))
        found.append(run(task, every=5))
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", ["counted", "pixels"])
def test_the_order_of_a_mapping_changes_no_bit(kind):
    pairs = {f"{number:02d}": made("binary", number) for number in range(30)}
    if kind == "pixels":
        pairs = {name: (pred / 37 - 3, target) for name, (pred, target) in pairs.items()}
    found = []
    for shuffle in (1, 2):
        names = list(pairs)
        random.Random(shuffle).shuffle(names)
        pred = {name: pairs[name][0] for name in names}
        target = {name: pairs[name][1] for name in reversed(names)}
        found.append(written(lossbench.evaluate(pred, target, losses("binary"))))
    assert found[0] == found[1]


@pytest.mark.parametrize("task", ["binary", "multiclass", "image"])
def test_workers_change_no_bit_of_pixels(task):
    # Above 32,768 elements torch splits a sum among its threads.
    pred, target = {}, {}
    for number in range(5):
        name, (stored, truth) = str(number), made(task, number, big=True)
        noise = np.random.default_rng(number).normal(size=(4, *stored.shape[:2]))
        if task == "image":
            pred[name], target[name] = stored / 255 + noise[:3].transpose(1, 2, 0) / 30, truth / 255
        else:
            logits = noise * 3 if task == "multiclass" else stored / 64 - 2 + noise[0]
            pred[name], target[name] = logits, truth
    how = {"losses": losses(task), "task": task}
    expected = written(lossbench.evaluate(pred, target, workers=1, **how))
    for workers, batch in ((2, 1), (7, 2)):
        found = lossbench.evaluate(pred, target, workers=workers, batch_size=batch, **how)
        assert written(found) == expected


def test_a_weighted_run_changes_no_bit():
    pred, target, weight = {}, {}, {}
    for number in range(9):
        pred[str(number)], target[str(number)] = made("binary", number, big=True)
        weight[str(number)] = np.random.default_rng(number).random(pred[str(number)].shape)
    how = {"losses": losses("binary"), "task": "binary", "inputs": {"weight": weight}}
    found = {written(lossbench.evaluate(pred, target, workers=n, **how)) for n in (1, 2, 7)}
    assert len(found) == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_every_sample_of_pixels_has_one_thread(monkeypatch, workers):
    seen, real_chunk, real_thread = [], evaluate.evaluate_batch, device.one_thread

    def watched(*given: Any) -> Any:
        seen.append(torch.get_num_threads())
        return real_chunk(*given)

    @contextmanager
    def late() -> Iterator[None]:
        time.sleep(0.2)  # whoever does not wait for it shows
        with real_thread():
            yield

    monkeypatch.setattr(evaluate, "evaluate_batch", watched)
    monkeypatch.setattr(device, "one_thread", late)
    masks = np.random.default_rng(0).integers(0, 2, (6, 9, 9))
    lossbench.evaluate(masks - 0.5, masks, "bce", workers=workers)
    assert seen == [1] * 6
    assert torch.get_num_threads() == 2


def test_evaluations_that_overlap_restore_the_threads_of_torch():
    """Whichever of them ends first, the other one and its new threads keep one thread each."""
    first, last = device.one_thread(), device.one_thread()
    before = threads_of_a_new_thread()
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        for enter in (first, last):
            (one if enter is first else other).submit(enter.__enter__).result()
        one.submit(first.__exit__, None, None, None).result()
        assert one.submit(torch.get_num_threads).result() == before
        assert other.submit(torch.get_num_threads).result() == 1
        assert threads_of_a_new_thread() == 1
        other.submit(last.__exit__, None, None, None).result()
        assert other.submit(torch.get_num_threads).result() == before
    assert threads_of_a_new_thread() == before == 2


def threads_of_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(torch.get_num_threads).result()


@pytest.mark.parametrize("when", ["before it is asked", "before it answers"])
def test_children_that_die_lose_nothing(tmp_path, monkeypatch, when):
    write(tmp_path, "binary", 40)
    monkeypatch.chdir(tmp_path)
    expected = run("binary", every=5, workers=2)
    pools, lock = [], threading.Lock()

    class Mortal(ProcessPoolExecutor):
        def submit(self, task: Any, /, *given: Any) -> Any:
            with lock:
                first = task is load_batch and not pools
                if task is load_batch:
                    pools.append(self)
                if first and when == "before it is asked":
                    self.kill()
                future = super().submit(task, *given)
                if first and when == "before it answers":
                    self.kill()
            return future

        def kill(self) -> None:
            children = list(self._processes.values())  # all, for one alone may do the work
            for child in children:
                child.kill()
            for child in children:
                child.join()

    monkeypatch.setattr(pipeline, "MIN_PAIRS_FOR_PROCESSES", 1)
    monkeypatch.setattr(reader_pool, "ProcessPoolExecutor", Mortal)
    options = {"workers": 2, "batch_size": 4, "start_method": "spawn"}
    assert run("binary", every=5, **options) == expected
    assert len(set(pools)) > 1


FORKED = """
import json, os, signal
import lossbench
from lossbench.engine.reader_pool import ReaderPool

forks, fork, deaths, load = [], os.fork, [], ReaderPool.load

def counted():
    forks.append(fork())
    return forks[-1]

def deadly(pool, *task):
    pool.started.result()
    if {deadly} and not deaths:
        deaths.append(os.kill(forks[0], signal.SIGKILL))
    return load(pool, *task)

if __name__ == "__main__":
    os.fork, ReaderPool.load = counted, deadly
    how = dict(task="binary", workers={workers}, batch_size=8, start_method="fork")
    found = lossbench.evaluate("pred", "gt", {losses!r}, **how).as_json()
    del found["session"]
    print(len(forks), len(deaths), json.dumps(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="children are forked on Linux only")
def test_forked_children_change_no_bit_and_lose_nothing(tmp_path, monkeypatch):
    write(tmp_path, "binary", COUNT)
    monkeypatch.chdir(tmp_path)
    expected = run("binary", every=5, workers=1)
    for workers, deadly in ((2, 0), (3, 1)):
        code = FORKED.format(losses=losses("binary")[::5], workers=workers, deadly=deadly)
        Path("forked.py").write_text(code)
        done = subprocess.run([sys.executable, "forked.py"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        forks, deaths, found = done.stdout.split(maxsplit=2)
        assert (int(forks), int(deaths)) == (workers, deadly)
        assert found.strip() == expected


def test_a_script_starts_no_process_before_it_asks_for_one(tmp_path, monkeypatch):
    write(tmp_path, "binary", COUNT)
    monkeypatch.chdir(tmp_path)
    script = """
import lossbench
print("once")
lossbench.evaluate("pred", "gt", "dice", workers=2, start_method={method!r})
"""
    for method, status in ((None, 0), ("spawn", 1)):
        Path("script.py").write_text(script.format(method=method))
        done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True)
        assert done.returncode == status
        if method:
            assert "LossbenchError: child processes that read files crash" in done.stderr
        else:
            assert (done.stdout, done.stderr) == ("once\n", "")


FAULTY = """
import builtins
import os
from lossbench.data.loading import sample

opened, load = open, sample.load_role

def faulty_open(path, *given, **named):
    if "1/0006.png" in str(path):
        {of_file}
    return opened(path, *given, **named)

def faulty_load(plan, role, pair):
    if pair.id == "1/0006":
        {of_pair}
    return load(plan, role, pair)

builtins.open, sample.load_role = faulty_open, faulty_load
"""
NO_MEMORY = "memory did not suffice; fewer --workers need less"
FAULTS = {
    "crash": ("os._exit(9)", "pass", "pred/1/0006.png or its ground truth ends the process that"
              " reads it"),
    "fault": ("pass", "raise KeyError('a slip')", "pair 1/0006 could not be read (KeyError: 'a"
              " slip'): this is a fault of lossbench; please report it"),
    "memory": ("pass", "raise MemoryError", f"pair 1/0006 could not be read (MemoryError):"
               f" {NO_MEMORY}"),
    "memory of a file": ("raise MemoryError", "pass", f"pred/1/0006.png cannot be read:"
                         f" {NO_MEMORY}"),
}  # fmt: skip
CASES = [(name, COUNT) for name in FAULTS]  # in processes, then in threads
CASES += [(name, 40) for name in FAULTS if name != "crash"]


@pytest.mark.parametrize(("fault", "count"), CASES)
def test_a_fault_while_a_pair_is_read_is_one_error(
    tmp_path, monkeypatch, lossbench_process, fault, count
):
    of_file, of_pair, message = FAULTS[fault]
    write(tmp_path, "binary", count)
    name = "1/0006.png"  # the plan's sample does not hold it, so only a reader opens it
    (tmp_path / "site").mkdir()
    code = FAULTY.format(of_file=of_file, of_pair=of_pair)
    (tmp_path / "site/sitecustomize.py").write_text(code)
    command = ["eval", "pred", "gt", "-l", "dice", "-l", "iou", "-o", "out.json"]
    command += ["--workers", 2, "--batch-size", 8]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = lossbench_process(*command, cwd=tmp_path, env=environment)
    assert done.returncode == 3, done.stderr
    assert f"error: {message}\n" in done.stderr
    assert "Traceback" not in done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    [error] = found["errors"]
    assert (error["id"], error["error"]) == ("1/0006", message)
    for role in ("pred", "gt"):
        (tmp_path / role / name).unlink()
    monkeypatch.chdir(tmp_path)
    without = lossbench.evaluate("pred", "gt", ["dice", "iou"]).as_json()
    assert found["samples"] == without["samples"]
    assert found["aggregate"] == without["aggregate"]
    assert found["pooled"] == without["pooled"]


def test_a_fault_outside_of_reading_ends_the_run(tmp_path, monkeypatch):
    write(tmp_path, "binary", 10)
    monkeypatch.chdir(tmp_path)

    def faulty(*_: Any) -> Any:
        raise KeyError("a slip")

    monkeypatch.setattr("lossbench.engine.compute.evaluate.evaluate_parts", faulty)
    with pytest.raises(KeyError, match="a slip"):
        lossbench.evaluate("pred", "gt", "dice")


FUNCTIONS = {"log": torch.log, "log10": torch.log10, "power": lambda x: x**0.75, "exp": torch.exp}


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 300), cut=st.integers(1, 300))
def test_roundings_do_not_depend_on_neighbours(name, count, cut):
    """Numbers alone, in parts of any length, and together; torch itself differs in the last bit."""
    numbers = torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(count))
    parts = [torch.cat([alike(FUNCTIONS[name], x) for x in numbers.split(n)]) for n in (1, cut)]
    together = alike(FUNCTIONS[name], numbers.reshape(-1, 1))[:, 0]
    assert all(torch.equal(part, together) for part in parts)
    torch.testing.assert_close(together, FUNCTIONS[name](numbers), rtol=4e-16, atol=0)
