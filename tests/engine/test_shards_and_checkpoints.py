"""Shards, runs that go on after a kill, and Parquet: always the bytes of one run."""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from helpers.paths import SAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st
from lossbench_cli.main import cli

import lossbench
from lossbench.engine import run as engine_run
from lossbench.engine.checkpoint import Checkpoint
from lossbench.engine.shards import parse_shard, share
from lossbench.engine.state.scores import BatchScores, DeferredTerms
from lossbench.results.result import BLOCK, digest

COMMAND = [sys.executable, "-m", "lossbench_cli"]
BINARY = [SAMPLES / "binary" / side for side in ("pred", "gt")]
MULTICLASS = [SAMPLES / "multiclass" / side for side in ("pred", "gt")]
VOLUMES = [SAMPLES / "medical" / side for side in ("pred", "gt")]
# Counted and not, with options that follow from all of the data, with groups, with all conventions.
RUNS: dict[str, tuple[Sequence[Path], Sequence[str]]] = {
    "counted": (BINARY, ["-l", "dice", "-l", "auc", "-l", "0.5*bce + 0.5*iou"]),
    "pixels": (BINARY, ["-l", "hd95", "-l", "dice", "-l", "psnr=charbonnier"]),
    "balanced": (MULTICLASS, ["-l", "cross_entropy(class_weights=auto)", "-l", "focal(alpha=auto)",
                              "-l", "dice(class_weights=median_frequency)"]),
    "balanced pixels": (BINARY, ["-l", "bce(pos_weight=auto, weight_map=unet)", "-l", "nsd"]),
    "grouped": (BINARY, ["-l", "dice", "-l", "bce(pos_weight=auto)", "-l", "assd",
                         "--group-by", "{plate}/{well}"]),
    "conventions": (MULTICLASS, ["-l", "dice", "-l", "iou", "--convention", "all"]),
    "gates": (MULTICLASS, ["-l", "dice", "--gate", "dice.mean < 0.01", "--gate", "errors == 0"]),
    "volumes": (VOLUMES, ["-l", "dice", "-l", "hd95"]),
}  # fmt: skip
ENDINGS = (".json", ".jsonl", ".parquet")


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """The command in this process, which has torch already."""

    def call(*arguments: Any) -> Outcome:
        told = ""
        try:
            with cli.make_context("lossbench", [str(each) for each in arguments]) as context:
                status = cli.invoke(context) or 0
        except lossbench.LossbenchError as error:
            status, told = error.exit_status, f"error: {error}\n"
        except click.UsageError as error:
            status, told = 2, error.format_message()
        out, err = capsys.readouterr()
        return Outcome(status, out, err + told)

    return call


def without_session(path: Path) -> Any:
    """A result file but for what differs from one run to the next, as it is written."""
    if path.suffix == ".json":
        model = json.loads(path.read_text())
        del model["session"]
        return json.dumps(model)
    if path.suffix == ".jsonl":
        first, _, rest = path.read_text().partition("\n")
        model = json.loads(first)
        del model["session"]
        return json.dumps(model), rest
    table = pq.read_table(path)
    words = dict(table.schema.metadata)
    del words[b"lossbench.session"]
    return table.to_pydict().__repr__(), words


def names(of: Sequence[Path], more: Sequence[str], *rest: Any) -> list[Any]:
    return ["eval", *of, *more, "-q", *rest]


# Shards


@pytest.mark.parametrize(("count", "shards"), [(10, 3), (7, 7), (1, 1), (1_000_003, 16)])
def test_shards_are_every_pair_once_and_of_one_size(count: int, shards: int) -> None:
    ranges = [share(f"{index}/{shards}", count) for index in range(1, shards + 1)]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == count
    assert all(left[1] == right[0] for left, right in pairwise(ranges))
    sizes = [stop - start for start, stop in ranges]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("count", [0, 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_a_digest_is_that_of_all_names_at_once(count: int) -> None:
    names = [f"a/{number}\udcff" for number in range(count)]
    whole = "\n".join(names).encode(errors="surrogatepass")
    assert digest(iter(names)) == sha256(whole).hexdigest()


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/3/3", ""])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(lossbench.SettingError, match="such as 3/16"):
        parse_shard(text)


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_merged_shards_are_one_run(
    name: str, ending: str, command: Callable[..., Outcome], tmp_path: Path
) -> None:
    folders, more = RUNS[name]
    one = tmp_path / f"one{ending}"
    alone = command(*names(folders, more, "-o", one))
    found = json.loads((command(*names(folders, more, "-f", "json"))).out)["run"]["pairs"]["found"]
    count = min(3, found)
    shards = [tmp_path / f"shard{index}{ending}" for index in range(1, count + 1)]
    for index, path in enumerate(shards, 1):
        command(*names(folders, more, "--shard", f"{index}/{count}", "-o", path))
    merged = tmp_path / f"all{ending}"
    done = command("merge", *reversed(shards), "-q", "-o", merged)
    assert (done.status, done.err.splitlines()) == (alone.status, alone.err.splitlines())
    assert without_session(merged) == without_session(one)


def test_merging_keeps_missing_files_and_errors(
    command: Callable[..., Outcome], tmp_path: Path
) -> None:
    pred, gt = tmp_path / "pred", tmp_path / "gt"
    for side in (pred, gt):
        side.mkdir()
        for number in range(6):
            np.save(side / f"{number}.npy", np.eye(4, dtype=np.uint8) * (number != 3))
    (pred / "1.npy").unlink()
    (pred / "4.npy").write_bytes(b"no array")
    (pred / "9.npy").write_bytes((pred / "0.npy").read_bytes())
    for more in ([], ["--missing", "worst", "--extra", "skip"]):
        run = [pred, gt], ["--task", "binary", "-l", "dice", "-l", "bce", *more]
        one = tmp_path / "one.json"
        alone = command(*names(*run, "-o", one))
        for index in (1, 2):
            path = tmp_path / f"{index}.json"
            command(*names(*run, "--shard", f"{index}/2", "-o", path))
        done = command("merge", tmp_path / "1.json", tmp_path / "2.json", "-q", "-o",
                       tmp_path / "all.json")  # fmt: skip
        assert done.status == alone.status == 3
        assert done.err == alone.err
        assert without_session(tmp_path / "all.json") == without_session(one)


@pytest.mark.parametrize("missing", ["error", "skip", "worst"])
def test_files_that_a_manifest_names_in_vain_are_judged_after_merging(
    missing: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", np.eye(4, dtype=np.uint8))
    lost = {0, 3, 4}
    lines = [f"{n},{'lost' if n in lost else 'a'}.npy,a.npy,{n % 3}\n" for n in range(9)]
    (tmp_path / "pairs.csv").write_text("".join(["id,pred,gt,site\n", *lines]))

    def run(**how: Any) -> Any:
        return lossbench.evaluate(
            manifest=tmp_path / "pairs.csv", losses=["dice", "bce(pos_weight=auto)"],
            task="binary", group_by="site", missing=missing, **how,
        )  # fmt: skip

    one = run()
    assert one.counts == {
        "found": 6, "evaluated": 6, "missing": 3, "extra": 0, "errors": 3 * (missing == "error"),
    }  # fmt: skip
    assert len(one.ids) == (9 if missing == "worst" else 6)
    for index in (1, 2, 3):
        lossbench.save(run(shard=f"{index}/3"), tmp_path / f"{index}.json")
    merged = lossbench.merge([tmp_path / f"{index}.json" for index in (3, 1, 2)])
    told = [{**each.as_json(), "session": None} for each in (one, merged)]
    assert told[0] == told[1]


@pytest.mark.parametrize("missing", ["error", "skip", "worst"])
def test_predictions_that_are_missing_keep_their_group_through_shards(
    missing: str, tmp_path: Path
) -> None:
    target = {name: np.eye(3, dtype=np.uint8) for name in ("a_1", "a_2", "b_1", "b_2")}
    pred = {name: each for name, each in target.items() if name != "a_2"}

    def run(**how: Any) -> Any:
        how |= {"task": "binary", "group_by": "{x}_{y}", "missing": missing}
        return lossbench.evaluate(pred, target, "dice", **how)

    for index in (1, 2):
        lossbench.save(run(shard=f"{index}/2"), tmp_path / f"{index}.json")
    merged = lossbench.merge([tmp_path / f"{index}.json" for index in (1, 2)])
    told = [{**each.as_json(), "session": None} for each in (run(), merged)]
    assert told[0] == told[1]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("shards")
    for index in (1, 2, 3):
        result = lossbench.evaluate(*BINARY, "dice", shard=f"{index}/3")
        lossbench.save(result, folder / f"{index}.json")
    return sorted(folder.iterdir())


def test_the_interface_merges_as_the_command_does(shards: list[Path]) -> None:
    merged = lossbench.merge(shards)
    one = lossbench.evaluate(*BINARY, "dice")
    assert merged.ids == one.ids
    assert merged.aggregates == one.aggregates
    assert merged.pooled == one.pooled


def mended(path: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    """A copy of a shard, changed."""
    model = json.loads(path.read_text())
    change(model)
    copy = folder / f"changed {path.name}"
    copy.write_text(json.dumps(model))
    return copy


def set_losses(model: Any) -> None:
    model["run"]["losses"][0]["options"]["smooth"] = 1.0


def set_plan(model: Any) -> None:
    model["shard"]["plan"]["task"] = "multilabel"


def set_count(model: Any) -> None:
    model["shard"]["of"] = 4


def set_part(model: Any) -> None:
    model["shard"]["part"] = model["shard"]["part"][:-400]


def set_ids(model: Any) -> None:
    model["shard"]["ids"][0] = "another"


def set_version(model: Any) -> None:
    model["session"]["versions"]["torch"] = "1.0"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_losses, "are not shards of one run: their losses differs"),
        (set_plan, "are not shards of one run: their plan differ"),
        (set_count, "their number of shards differ"),
        (set_part, "shard 2/3 is damaged"),
        (set_ids, "the ids of the shards are not those of their run"),
        (set_version, "their versions.torch differs"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_shards_that_do_not_fit_are_refused(
    change: Callable[[Any], None], words: str, shards: list[Path], tmp_path: Path,
    command: Callable[..., Outcome],
) -> None:  # fmt: skip
    done = command("merge", shards[0], mended(shards[1], tmp_path, change), shards[2])
    assert done.status == 3
    assert words in done.err
    assert done.err.count("\n") == 1


def test_what_a_note_says_tells_no_shards_apart(
    shards: list[Path], tmp_path: Path, command: Callable[..., Outcome]
) -> None:
    """Such as that a GPU does not help, where only one of them was given one."""

    def noted(model: Any) -> None:
        model["shard"]["plan"] |= {"notes": ["of one machine"], "stored": 7}

    other = mended(shards[1], tmp_path, noted)
    assert command("merge", shards[0], other, shards[2]).status == 0


def test_shards_are_all_there_and_once(
    shards: list[Path], command: Callable[..., Outcome], tmp_path: Path
) -> None:
    assert "shard 2 of 3 is missing; add" in command("merge", shards[0], shards[2]).err
    copy = mended(shards[0], tmp_path, lambda model: None)
    assert "are both shard 1/3" in command("merge", *shards, copy).err
    plain = tmp_path / "plain.json"
    lossbench.save(lossbench.evaluate(*BINARY, "dice"), plain)
    done = command("merge", plain)
    assert (done.status, "is not a shard: it was written without --shard" in done.err) == (3, True)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--shard", "1/2"], "--shard needs --output"),
        (["--shard", "1/2", "-o", "x.csv"], "--shard needs --output"),
        (["--shard", "1/99", "-o", "x.json"], "no more than 12 pairs"),
        (["--resume"], "--resume needs the --output"),
    ],
)
def test_what_cannot_be_merged_or_gone_on_with_is_refused(
    more: list[str], words: str, command: Callable[..., Outcome]
) -> None:
    done = command("eval", *BINARY, *more)
    assert done.status == 2
    assert words in done.err


def test_a_loss_over_all_samples_has_no_shards(command: Callable[..., Outcome]) -> None:
    vectors = [SAMPLES / "embedding" / side for side in ("pred", "gt")]
    done = command("eval", *vectors, "--task", "vectors", "-l", "info_nce", "--shard", "1/2",
                   "-o", "x.json")  # fmt: skip
    assert (done.status, "needs all samples at once" in done.err) == (2, True)


def test_gates_are_judged_on_the_whole(command: Callable[..., Outcome], tmp_path: Path) -> None:
    shard = tmp_path / "1.json"
    done = command("eval", *BINARY, "-q", "-l", "dice", "--gate", "dice.mean < 0", "--shard",
                   "1/1", "-o", shard)  # fmt: skip
    assert done.status == 0
    assert command("merge", shard, "-q").status == 1
    assert command("merge", shard, "-q", "--exit-zero").status == 0


# Going on


class Stopped(BaseException):
    """As a kill, for a run in this process."""


def stopped_after(batches: int) -> Callable[[Any], None]:
    left = [batches]

    def watch(_: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Stopped

    return watch


@pytest.mark.parametrize("name", RUNS)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_run_goes_on_from_any_moment(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Stopped after some batches, and its file cut at any byte, as a kill while it grows would."""
    folders, more = RUNS[name]
    how: dict[str, Any] = {"batch_size": 2}
    words = {"--group-by": "group_by", "--convention": "convention", "--gate": "gates"}
    losses = [text for flag, text in zip(more[::2], more[1::2], strict=True) if flag == "-l"]
    for flag, text in zip(more[::2], more[1::2], strict=True):
        if flag in words:
            how[words[flag]] = text
    run = lossbench.plan(*folders, losses, **how)
    expected = run.evaluate().as_json()
    path = tmp_path_factory.mktemp("part") / "r.json.part"
    for _ in range(data.draw(st.integers(1, 2))):
        journal = run.checkpoint(str(path), resume=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lossbench.engine.pipeline.PART_SECONDS", 0.0)
            with suppress(Stopped):
                run.evaluate(stopped_after(data.draw(st.integers(0, 5))), journal)
        journal.file.close()
        cut = data.draw(st.integers(0, path.stat().st_size))
        os.truncate(path, cut)
    found = run.evaluate(None, run.checkpoint(str(path), resume=True)).as_json()
    for model in (expected, found):
        del model["session"]
    assert json.dumps(found) == json.dumps(expected)


def many(root: Path, count: int) -> list[Path]:
    """Pairs of floats, each its own file."""
    draw = np.random.default_rng(0)
    for side in ("pred", "gt"):
        (root / side).mkdir()
        for number in range(count):
            array = draw.random((96, 96))
            np.save(root / side / f"{number:04d}.npy", array if side == "pred" else array > 0.5)
    return [root / "pred", root / "gt"]


def test_what_waits_for_the_end_keeps_no_memory_of_its_samples() -> None:
    """Of small arrays between large ones that are gone a run of 400 pairs took 1.6 GB."""
    rows = BatchScores()
    for term in lossbench.plan(*BINARY, "bce(pos_weight=auto)").terms:
        rows.unfinished[term] = [tuple(torch.ones(2, 3, 1).numpy() for _ in range(3))]
    rows.support = rows.valid = torch.ones(2, 1).numpy()
    deferred = DeferredTerms.of(np.arange(2), rows)
    (((first, *others),),) = deferred.results.values()
    assert all(each.flags.owndata for each in (first, *others, deferred.support, deferred.valid))
    assert not rows.support.flags.owndata


def test_only_what_is_left_is_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("lossbench.engine.pipeline.PART_SECONDS", 0.0)
    folders = many(tmp_path, 12)
    run = lossbench.plan(*folders, ["dice"])
    path = str(tmp_path / "r.json.part")
    journal = run.checkpoint(path)
    with pytest.raises(Stopped):
        run.evaluate(stopped_after(7), journal)
    journal.file.close()
    told: list[int] = []
    again = run.checkpoint(path, resume=True)
    run.evaluate(lambda step: told.append(step.total), again)
    assert told == [4] * 4  # of twelve, seven were told and one more was finished
    assert again.samples == 12


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    folders = many(tmp_path, 8)
    run = lossbench.plan(*folders, ["dice"])
    path = str(tmp_path / "r.json.part")
    with pytest.raises(Stopped):
        run.evaluate(stopped_after(6), run.checkpoint(path))
    np.save(folders[0] / "0002.npy", np.zeros((96, 96)))
    found = run.evaluate(None, run.checkpoint(path, resume=True))
    assert found.values["dice"].samples == run.evaluate().values["dice"].samples
    assert found.values["dice"].samples[2] == 1


def stopped(path: str) -> Checkpoint:
    """The checkpoint of a run that had evaluated all pairs when it was stopped."""
    run = lossbench.plan(*BINARY, ["dice"])
    checkpoint = run.checkpoint(path)
    run.evaluate(None, checkpoint)
    checkpoint.close(done=False)
    return checkpoint


@pytest.mark.parametrize(
    ("losses", "how", "what"),
    [
        (["iou"], {}, "losses"),
        (["dice"], {"threshold": 0.3}, "run.settings.threshold"),
        (["dice"], {"shard": "1/2"}, "pairs"),
    ],
)
def test_another_run_is_refused(
    losses: list[str], how: dict[str, Any], what: str, tmp_path: Path
) -> None:
    path = str(tmp_path / "r.json.part")
    stopped(path)
    with pytest.raises(
        lossbench.InputError, match=f"belongs to another run: {what} differs; repeat"
    ):
        lossbench.plan(*BINARY, losses, **how).checkpoint(path, resume=True)


def test_a_checkpoint_of_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "r.json.part")
    stopped(path)
    monkeypatch.setattr(engine_run, "__version__", "0.0.1")
    with pytest.raises(lossbench.InputError, match=r"run: versions\.lossbench differs; repeat"):
        lossbench.plan(*BINARY, ["dice"]).checkpoint(path, resume=True)


@pytest.mark.parametrize("empty", [float("inf"), -float("inf"), 0.25, "skip"])
def test_a_value_in_place_of_undefined_ones_survives_merging(tmp_path: Path, empty: Any) -> None:
    files = [str(tmp_path / f"{name}.json") for name in ("1", "2", "whole")]
    for file, shard in zip(files, ("1/2", "2/2", None), strict=True):
        lossbench.save(lossbench.evaluate(*BINARY, "dice", empty=empty, shard=shard), file)
    merged = lossbench.merge(files[:2]).as_json()
    whole = json.loads(Path(files[2]).read_text())
    del merged["session"], whole["session"]
    assert merged == whole


OLD = struct.pack("<QI", 2, zlib.crc32(b"{}")) + b"{}"  # a frame of versions up to 0.3


@pytest.mark.parametrize(
    "content",
    [b"no checkpoint", OLD, bytes(512), b'{"schema": 1}\n', b"\n{}"],
    ids=["foreign", "old", "zeros", "json", "no run"],
)
def test_resuming_from_a_file_that_is_no_checkpoint_is_refused(
    content: bytes, command: Callable[..., Outcome], tmp_path: Path
) -> None:
    part = tmp_path / "r.json.part"
    part.write_bytes(content)
    run = ("eval", *BINARY, "-q", "-o", tmp_path / "r.json")
    done = command(*run, "--resume")
    assert done.status == 3
    assert done.err.count("\n") == 1
    assert (
        f"{part} is not a checkpoint of this version of lossbench; remove the file to" in done.err
    )
    assert part.read_bytes() == content
    assert command(*run).status == 0  # without --resume the file does not matter
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_what_is_damaged_is_evaluated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros, as a power cut leaves them, another letter, and a line that is cut off."""
    monkeypatch.setattr("lossbench.engine.pipeline.PART_SECONDS", 0.0)
    run = lossbench.plan(*many(tmp_path, 12), ["dice"], batch_size=2)
    expected = run.evaluate().as_json() | {"session": None}
    path = tmp_path / "r.json.part"
    run.evaluate(None, run.checkpoint(str(path)))
    _, *lines = path.read_bytes().split(b"\n")
    assert len(lines) > 4
    middle = len(lines[0]) // 2 + 500
    lines[0] = lines[0][:middle] + bytes(40) + lines[0][middle + 40 :]
    lines[1] = lines[1][:-60] + b"!" * 9 + lines[1][-51:]
    lines[2] = lines[2][:middle]
    path.write_bytes(b"\n".join([b"", *lines]))
    told: list[int] = []
    again = run.checkpoint(str(path), resume=True)
    found = run.evaluate(lambda step: told.append(step.total), again).as_json()
    assert found | {"session": None} == expected
    assert told
    assert told[0] < 12
    assert again.samples == 12
    more = run.checkpoint(str(path), resume=True)  # all lines are there now
    assert run.evaluate(lambda step: told.clear(), more).as_json() | {"session": None} == expected
    assert told


def test_parts_of_several_runs_are_used_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped twice, the second time without --resume: parts overlap, and another run's follow."""
    monkeypatch.setattr("lossbench.engine.pipeline.PART_SECONDS", 0.0)
    folders, path = many(tmp_path, 12), str(tmp_path / "r.json.part")
    losses = ["dice", "bce(pos_weight=auto)"]
    expected = lossbench.plan(*folders, losses).evaluate().as_json() | {"session": None}
    for batches, names in ((7, losses), (3, losses), (2, ["iou"])):
        run = lossbench.plan(*folders, names)
        checkpoint = run.checkpoint(path)
        assert checkpoint.unused == (batches != 7)
        with pytest.raises(Stopped):
            run.evaluate(stopped_after(batches), checkpoint)
        checkpoint.close(done=False)
    run = lossbench.plan(*folders, losses)
    again = run.checkpoint(path, resume=True)
    assert not again.unused
    told: list[int] = []
    found = run.evaluate(lambda step: told.append(step.total), again).as_json()
    assert found | {"session": None} == expected
    assert told == [4] * 4  # of twelve, seven were told and one more was finished
    assert again.samples == 12


def test_a_signal_just_after_a_part_was_written_finds_it_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "r.json.part")
    run = lossbench.plan(*BINARY, ["dice"])
    journal = run.checkpoint(path)
    append = Checkpoint._append

    def interrupted(self: Checkpoint, payload: bytes) -> None:
        append(self, payload)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "_append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.evaluate(None, journal)
    journal.file.close()
    assert journal.samples == len(list(run.pairing.pairs))
    again = run.checkpoint(path, resume=True)
    run.evaluate(None, again)
    assert again.samples == journal.samples


@pytest.mark.parametrize("step", ["touch", "open"])
@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (PermissionError(13, "not here"), lossbench.OutputError),
    ],
    ids=["signal", "refused"],
)
def test_a_run_that_cannot_begin_leaves_what_another_has_finished(
    step: str, failure: BaseException, told: type[BaseException],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = tmp_path / "r.json.part"
    stopped(str(path))
    left, usual = path.read_bytes(), getattr(Path, step)

    def failing(self: Path, *given: Any, **how: Any) -> Any:
        if self != path or given == ("rb",):
            return usual(self, *given, **how)
        raise failure

    with monkeypatch.context() as patched:
        patched.setattr(Path, step, failing)
        with pytest.raises(told):
            lossbench.plan(*BINARY, ["iou"]).checkpoint(str(path))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == left


def test_a_full_disk_is_one_sentence_and_keeps_earlier_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Outcome]
) -> None:
    """What was written of a part is of no use: it is left out, or removed with the file."""
    path = tmp_path / "r.json.part"
    append = Checkpoint._append

    def full(self: Checkpoint, line: bytes) -> None:
        append(self, line[: len(line) // 2])
        raise lossbench.OutputError(f"{self.path} could not be written: it is full")

    monkeypatch.setattr(Checkpoint, "_append", full)
    done = command("eval", *BINARY, "-q", "-o", tmp_path / "r.json")
    assert (done.status, done.err) == (4, f"error: {path} could not be written: it is full\n")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(Checkpoint, "_append", append)
    stopped(str(path))
    left = path.read_bytes()
    monkeypatch.setattr(Checkpoint, "_append", full)
    assert command("eval", *BINARY, "-q", "-o", tmp_path / "r.json").status == 4
    assert path.read_bytes().startswith(left)
    run = lossbench.plan(*BINARY, ["dice"])
    again = run.checkpoint(str(path), resume=True)
    assert len(list(again.parts(run.terms, None))) == 1
    again.close(done=True)


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_with_the_same_bytes(kills: int, tmp_path: Path) -> None:
    """SIGKILL at random moments, each run going on from where the last one was killed."""
    folders, draw = many(tmp_path, 400), random.Random(kills)
    words = [*COMMAND, "eval", *folders, "-l", "dice", "-l", "bce", "-l", "hausdorff", "-q"]
    begun = time.monotonic()
    subprocess.run([*words, "-o", tmp_path / "one.parquet"], check=True)
    whole = time.monotonic() - begun
    file = tmp_path / "r.parquet"
    for _ in range(kills):
        process = subprocess.Popen([*words, "-o", file, "--resume"])
        try:
            process.wait(draw.uniform(0, whole))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        file.unlink(missing_ok=True)
    subprocess.run([*words, "-o", file, "--resume"], check=True)
    assert without_session(file) == without_session(tmp_path / "one.parquet")
    assert not Path(f"{file}.part").exists()


# Parquet


@pytest.mark.parametrize("grouped", [False, True])
def test_parquet_holds_what_json_holds(
    grouped: bool, command: Callable[..., Outcome], tmp_path: Path
) -> None:
    more = ["--group-by", "{plate}/{well}"] if grouped else []
    done = command("eval", *BINARY, "-l", "dice", "-l", "precision", "-l", "psnr=mcc", *more, "-q",
                   "-o", tmp_path / "r.parquet", "-o", tmp_path / "r.json")  # fmt: skip
    assert done.status == 0
    model = json.loads((tmp_path / "r.json").read_text())
    table = pd.read_parquet(tmp_path / "r.parquet")
    rows = model["samples"]
    assert table["id"].tolist() == [row["id"] for row in rows]
    if grouped:
        assert table["group"].tolist() == [row["group"] for row in rows]
    for name in ("dice", "precision", "psnr"):
        expected = [np.nan if row[name] is None else float(row[name]) for row in rows]
        np.testing.assert_array_equal(table[name], expected)
    words = pq.read_schema(tmp_path / "r.parquet").metadata
    assert json.loads(words[b"lossbench.session"]) == model.pop("session")
    assert json.loads(words[b"lossbench"]) == {
        name: each for name, each in model.items() if name != "samples"
    }


def test_parquet_holds_classes_as_lists(command: Callable[..., Outcome], tmp_path: Path) -> None:
    file, plain = tmp_path / "r.parquet", tmp_path / "plain.parquet"
    command("eval", *MULTICLASS, "-l", "dice", "-q", "-o", file)
    found = lossbench.evaluate(*MULTICLASS, "dice")
    lists = pd.read_parquet(file)["dice[]"]
    np.testing.assert_array_equal(
        np.stack(lists.tolist()).astype(float), np.array(found.values["dice"].classes).T
    )
    command("eval", *MULTICLASS, "-l", "dice", "-q", "--no-per-class", "-o", plain)
    assert list(pd.read_parquet(plain)) == ["id", "dice"]


def test_infinities_and_nothing_stay_apart_in_parquet(tmp_path: Path) -> None:
    some, none = np.eye(4, dtype=np.uint8), np.zeros((4, 4), np.uint8)
    result = lossbench.evaluate([some, none, none], [some, some, none], "hd95", task="binary")
    lossbench.save(result, tmp_path / "r.parquet")
    column = pq.read_table(tmp_path / "r.parquet")["hd95"]
    assert column.to_pylist() == [0.0, float("inf"), None]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_baseline_may_be_of_any_format(
    ending: str, command: Callable[..., Outcome], tmp_path: Path
) -> None:
    file = tmp_path / f"base{ending}"
    command("eval", *BINARY, "-l", "dice", "-q", "-o", file)
    for gate, status in (("dice.mean <= baseline", 0), ("dice.mean < baseline", 1)):
        assert command("eval", *BINARY, "-q", "--baseline", file, "--gate", gate).status == status


def test_a_file_that_is_no_result_is_one_sentence(
    command: Callable[..., Outcome], tmp_path: Path
) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"nothing")
    (tmp_path / "c.json").write_text("[]")
    for name in ("a.parquet", "b.parquet", "c.json", "d.json"):
        done = command("merge", tmp_path / name)
        assert done.status == 3
        assert done.err.count("\n") == 1
        assert name in done.err


def test_without_pyarrow_parquet_is_refused_before_reading(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("lossbench.results.formats.find_spec", lambda _: None)
    with pytest.raises(lossbench.SettingError, match=r"pip install 'lossbench\[parquet\]'"):
        lossbench.check_path(tmp_path / "r.parquet")
