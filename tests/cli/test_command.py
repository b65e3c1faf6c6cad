"""The command's edge: what goes to stdout, to stderr and into files, and how a run ends."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import math
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pytest
from helpers.paths import SAMPLES
from lossbench_cli.explain import page
from lossbench_cli.main import COMMANDS, cli
from PIL import Image

import lossbench
from lossbench.catalog.columns import resolve
from lossbench.catalog.grammar import leaves, parse_item
from lossbench.version import __version__

BINARY = (str(SAMPLES / "binary" / "pred"), str(SAMPLES / "binary" / "gt"))
MULTICLASS = (str(SAMPLES / "multiclass" / "pred"), str(SAMPLES / "multiclass" / "gt"))
BY_CLASS = {"pred_pattern": "{id}_{class}.png", "gt_pattern": "{id}_{class}.png"}
COMMAND = [sys.executable, "-m", "lossbench_cli"]
AGGREGATES = [
    "mean", "sum", "std", "median", "p5", "p25", "p75", "p95", "min", "max", "ci_low", "ci_high",
    "median_ci_low", "median_ci_high", "count", "undefined", "infinite", "pooled",
]  # fmt: skip
# What a user's environment says of colour must not reach the tests.
UNCOLOURED = {key: value for key, value in os.environ.items() if not key.endswith("_COLOR")}
FAILING = ("--gate", "dice.mean <= 0.1")  # with the usual losses of BINARY
ESCAPE = "\x1b"


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


def run(*arguments: Any, **how: Any) -> Outcome:
    """The command in a process of its own."""
    usual = {"capture_output": True, "text": True, "timeout": 120, "check": False}
    done = subprocess.run([*COMMAND, *map(str, arguments)], **usual | {"env": UNCOLOURED} | how)
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Outcome]:
    """The command in this process, which has torch already; errors are raised."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: Any) -> Outcome:
        with cli.make_context("lossbench", [str(each) for each in arguments]) as context:
            status = cli.invoke(context) or 0
        return Outcome(status, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def printed() -> Outcome:
    more = ("--gate", "iou.pooled >= 0.5", "--aggregates", "all")
    return run("eval", *BINARY, *FAILING, *more)


class Written(NamedTuple):
    outcome: Outcome
    file: Path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    file = tmp_path_factory.mktemp("written") / "result.json"
    return Written(run("eval", *BINARY, *FAILING, "--exit-zero", "-f", "json", "-o", file), file)


def table(text: str, first: str) -> list[list[str]]:
    """The rows of the table whose first heading is this, the heading row among them."""
    lines = text.splitlines()
    start = next(place for place, line in enumerate(lines) if re.match(rf"{first}\s\s", line))
    rows = []
    for line in lines[start:]:
        if not line:
            break
        if not line.startswith("─"):
            rows.append(re.split(r"\s{2,}", line))
    return rows


def column(text: str, first: str, place: int = 0) -> list[str]:
    return [row[place] for row in table(text, first)[1:]]


# What is printed


def test_the_result_is_on_stdout_and_the_notes_are_on_stderr(printed: Outcome) -> None:
    assert printed.status == 1
    reading = r"binary · pred: probability \(uint8/255\) 0…255 · gt: mask \{0,255\}"
    assert re.fullmatch(rf"{reading} · 12 pairs · \w+ ×\d+\n", printed.err)
    assert "probability" not in printed.out


def test_without_a_terminal_text_is_plain_and_shows_no_progress(printed: Outcome) -> None:
    assert not set(printed.out + printed.err) & {ESCAPE, "\r", "\b"}
    assert "━" not in printed.err


def test_headings_say_which_way_is_better(printed: Outcome) -> None:
    for first in ("id", "aggregate"):
        assert table(printed.out, first)[0] == [first, "dice ↓", "iou ↑", "bce ↓"]


def test_the_usual_losses_are_named_where_none_is_given(printed: Outcome) -> None:
    assert "worst 10 of 12 by dice" in printed.out


def test_the_worst_come_first(printed: Outcome) -> None:
    shown = [float(number) for number in column(printed.out, "id", 1)]
    assert shown == sorted(shown, reverse=True)
    assert column(printed.out, "id")[:2] == ["plate_b/03", "plate_b/05"]


def test_aggregates_stand_below_with_what_is_undefined(printed: Outcome) -> None:
    rows = {row[0]: row[1:] for row in table(printed.out, "aggregate")[1:]}
    assert rows["count"] == ["11", "11", "12"]
    assert rows["undefined"] == ["1", "1", "0"]
    assert set(rows) == {*AGGREGATES} - {"infinite"}


def test_each_loss_has_a_row_with_what_decides(printed: Outcome) -> None:
    assert printed.out.startswith("12 pairs\nloss ")
    headings, dice, *_ = table(printed.out, "loss")
    assert headings == ["loss", "mean [95 % interval]", "median", "worst", "worst in", "pooled",
                        "n", "undefined"]  # fmt: skip
    assert dice == ["dice ↓", "0.2260 [0.0886, 0.4670]", "0.1110", "1.0000", "plate_b/03",
                    "0.1386", "11", "1"]  # fmt: skip


def test_the_table_adds_the_aggregates_that_were_named(command: Callable[..., Outcome]) -> None:
    how = ("eval", *BINARY, "--group-by", "{plate}/{image}")
    shown = command(*how, "--aggregates", "p5,infinite, group_std").out
    assert column(shown, "aggregate") == ["p5", "infinite", "group_std"]
    assert "\naggregate" not in command(*how).out
    every = column(command(*how, "-v").out, "aggregate")
    assert every == column(command(*how, "--aggregates", "all").out, "aggregate")
    assert {"sum", "median_ci_low", "group_median_ci_low"} <= set(every)


def test_groups_have_rows_of_their_own(command: Callable[..., Outcome]) -> None:
    shown = command("eval", *BINARY, "--group-by", "{plate}/{image}", "-l", "dice").out
    assert "over 2 groups, each counting once\n" in shown
    _, over = shown.split("each counting once\n")
    assert table(over, "loss")[1][4:] == ["plate_b", "2"]


def test_a_loss_without_a_better_side_has_no_worst(command: Callable[..., Outcome]) -> None:
    shown = command("eval", *BINARY, "-l", "entropy").out
    assert table(shown, "loss")[1][:4] == ["entropy", "0.0000 [0.0000, 0.0000]", "0.0000", "–"]


@pytest.mark.parametrize(
    ("names", "words"),
    [("p5,stdd", "did you mean 'std'"), ("group_std", "group_std needs --group-by PATTERN")],
)
def test_an_aggregate_that_is_not_there_is_refused_early(
    names: str, words: str, command: Callable[..., Outcome]
) -> None:
    with pytest.raises((click.UsageError, lossbench.SettingError), match=re.escape(words)):
        command("eval", *BINARY, "--aggregates", names)


def test_one_is_singular(command: Callable[..., Outcome], tmp_path: Path) -> None:
    for role in ("pred", "gt"):
        (tmp_path / role).mkdir()
        mask = np.eye(4, dtype=np.uint8)
        mask[0, 3] = role == "pred"
        Image.fromarray(mask * 255).save(tmp_path / role / "a.png")
    gate = ("--gate", "dice.mean <= 0.9", "--group-by", "{one}")
    outcome = command("eval", tmp_path / "pred", tmp_path / "gt", "-l", "dice", *gate[:2])
    assert "· 1 pair ·" in outcome.err
    assert outcome.out.startswith("1 pair\n")
    assert outcome.out.endswith("\npassed: 1 gate, 1 pair, 0 doubts\n")


def test_gates_stand_last_with_their_numbers_and_the_verdict(printed: Outcome) -> None:
    _, gates = printed.out.split("\ngates\n")
    assert re.fullmatch(
        r"✗ dice\.mean 0\.22\d* > 0\.1\n✓ iou\.pooled 0\.79\d* >= 0\.5\n"
        r"failed: 1 of 2 gates, 12 pairs, 0 doubts\n",
        gates,
    )


def test_samples_can_be_sorted_by_any_column_worst_first(command: Callable[..., Outcome]) -> None:
    by_iou = command("eval", *BINARY, "--sort", "iou").out
    shown = [float(number) for number in column(by_iou, "id", 2)]
    assert shown == sorted(shown)
    assert "by iou" in by_iou


@pytest.mark.parametrize(("top", "count"), [("3", 3), ("12", 12), ("99", 12), ("all", 12)])
def test_as_many_samples_are_shown_as_asked_for(
    top: str, count: int, command: Callable[..., Outcome]
) -> None:
    shown = column(command("eval", *BINARY, "--top", top).out, "id")
    assert len(shown) == count
    if count == 12:
        assert shown[-1] == "plate_a/04"  # undefined, which is neither good nor bad
        assert column(command("eval", *BINARY, "--top", top).out, "id", 1)[-1] == "–"


def test_no_sample_need_be_shown(command: Callable[..., Outcome]) -> None:
    shown = command("eval", *BINARY, "--top", "0").out
    assert "worst 10" not in shown
    assert shown.startswith("12 pairs\n")
    assert shown.count("\n\n") == 0


def test_classes_are_shown_where_they_are_asked_for(command: Callable[..., Outcome]) -> None:
    names = ["sky", "road", "a long way to go", "person"]
    how = ("eval", *MULTICLASS, "-l", "dice", "-l", "accuracy", "--classes", ",".join(names))
    assert "class" not in command(*how).out
    shown = command(*how, "--per-class").out
    assert column(shown, "class") == names
    assert table(shown, "class")[0] == ["class", "dice ↓"]  # accuracy has none


def test_no_value_is_cut_short(command: Callable[..., Outcome], tmp_path: Path) -> None:
    name = "/".join(["folder" * 20, "file" * 30])
    for role in ("pred", "gt"):
        (tmp_path / role / name).parent.mkdir(parents=True)
        Image.fromarray(np.full((4, 4), 255, np.uint8)).save(tmp_path / role / f"{name}.png")
    losses = [f"dice(smooth={number}, smooth_nr=1e-300) * 1e250" for number in range(9)]
    options = [word for loss in losses for word in ("-l", loss)]
    shown = command("eval", tmp_path / "pred", tmp_path / "gt", *options).out
    assert column(shown, "id") == [name]
    assert table(shown, "id")[0][1:] == [f"{loss} ↓" for loss in losses]
    assert "…" not in shown


def test_a_title_is_one_line_however_narrow_its_table(
    command: Callable[..., Outcome], tmp_path: Path
) -> None:
    for role, names in {"pred": "abc", "gt": "bcd"}.items():
        (tmp_path / role).mkdir()
        for name in names:
            Image.fromarray(np.full((4, 4), 255, np.uint8)).save(tmp_path / role / f"{name}.png")
    shown = command("eval", tmp_path / "pred", tmp_path / "gt", "-l", "l1").out
    titles = [line for line in shown.splitlines() if "worst 2" in line or " pairs" in line]
    assert titles == ["2 pairs · 2 errors", "worst 2 of 2 by l1"]


def test_small_and_large_numbers_keep_their_digits() -> None:
    ones = {"a": np.full((2, 2), 1.0)}
    result = lossbench.evaluate(ones, ones, ["x = 123456*l1 + 1.5e-9 + 0*l1"], task="image")
    assert column(lossbench.render(result), "id", 1) == ["1.500e-09"]


# The result file


def test_json_is_the_same_on_stdout_and_in_the_file_but_for_the_session(written: Written) -> None:
    on_stdout, in_file = json.loads(written.outcome.out), json.loads(written.file.read_text())
    on_stdout.pop("session")
    in_file.pop("session")
    assert on_stdout == in_file
    assert list(on_stdout) == list(in_file)


def test_nothing_is_left_beside_the_file(written: Written) -> None:
    assert [path.name for path in written.file.parent.iterdir()] == ["result.json"]


def test_a_result_file_may_be_read_by_all_whom_the_mask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        lossbench.save(small_result(), tmp_path / "r.json")
    finally:
        os.umask(before)
    assert (tmp_path / "r.json").stat().st_mode & 0o777 == 0o640


def test_a_file_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "r.json"
    file.write_text("earlier")
    monkeypatch.setattr(os, "replace", no)
    with pytest.raises(lossbench.OutputError, match=r"r\.json could not be written: No space"):
        lossbench.save(small_result(), file)
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]
    assert file.read_text() == "earlier"


def small_result(losses: str = "dice") -> Any:
    masks = {"b": np.eye(4, dtype=np.uint8), "a": np.ones((4, 4), np.uint8)}
    return lossbench.evaluate(masks, {"b": masks["b"], "a": masks["b"]}, losses)


def test_exit_zero_turns_1_into_0_and_hides_nothing(written: Written) -> None:
    assert written.outcome.status == 0
    assert json.loads(written.outcome.out)["gates"][0]["passed"] is False
    assert "gate failed: dice.mean 0.22" in written.outcome.err


def test_gates_decide_the_status(command: Callable[..., Outcome]) -> None:
    assert command("eval", *BINARY).status == 0
    assert command("eval", *BINARY, *FAILING).status == 1
    assert command("eval", *BINARY, *FAILING, "--exit-zero").status == 0
    assert command("eval", *BINARY, "--gate", "dice.mean <= 0.3", "--exit-zero").status == 0


@pytest.fixture(scope="module", params=["binary", "multiclass", "multilabel", "image"])
def document(request: pytest.FixtureRequest) -> dict[str, Any]:
    task = request.param
    folders = (SAMPLES / task / "pred", SAMPLES / task / "gt")
    settings: dict[str, Any] = BY_CLASS if task == "multilabel" else {}
    if task == "multiclass":
        settings = {"classes": "background,road,car,person"}
    losses = ["l1", "half = 0.5*l2 + l1"] if task == "image" else ["dice", "iou", "l2 + 0.5*dice"]
    result = lossbench.evaluate(*folders, losses, gates=["errors == 0", "l1.max<=9"], **settings)
    document: dict[str, Any] = json.loads(lossbench.render(result, "json"), parse_constant=refuse)
    document["task"] = task
    return document


def refuse(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def number_or_none(value: Any) -> bool:
    return value is None or value in ("Infinity", "-Infinity") or isinstance(value, int | float)


def test_the_keys_of_the_file_are_those_of_the_contract(document: dict[str, Any]) -> None:
    assert [key for key in document if key != "task"] == [
        "schema", "session", "run", "aggregate", "samples", "pooled", "gates", "errors",
    ]  # fmt: skip
    assert document["schema"] == 1
    assert document["errors"] == []


def test_the_session_says_what_differs_from_run_to_run(document: dict[str, Any]) -> None:
    session = document["session"]
    assert list(session) == ["lossbench", "started", "seconds", "device", "workers", "versions"]
    assert session["lossbench"] == __version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", session["started"])
    assert session["seconds"] >= 0
    assert session["workers"] >= 1
    needs_torch = {each["backend"] for each in document["run"]["losses"]} != {"numpy"}
    assert session["versions"].keys() - {"torch"} == {"python", "numpy", "pillow"}
    assert ("torch" in session["versions"]) == needs_torch


def test_the_run_says_what_was_read_and_how(document: dict[str, Any]) -> None:
    run, task = document["run"], document["task"]
    for key in ("pred", "target", "plan", "settings", "classes", "convention", "pairs", "losses"):
        assert key in run
    assert run["pred"] == str(SAMPLES / task / "pred")
    assert run["target"] == str(SAMPLES / task / "gt")
    assert run["plan"]["task"] == task
    assert run["plan"]["text"].startswith(f"{task} · pred: ")
    assert run["convention"] == "lossbench"
    assert run["settings"]["gates"] == ["errors == 0", "l1.max<=9"]
    assert (
        run["classes"]
        == {
            "binary": [],
            "multiclass": ["background", "road", "car", "person"],
            "multilabel": ["kidney", "liver", "spleen"],
            "image": [],
        }[task]
    )


def test_pairs_are_counted_and_have_a_digest(document: dict[str, Any]) -> None:
    pairs, count = document["run"]["pairs"], len(document["samples"])
    assert len(pairs["digest"]) == 64
    assert (pairs["found"], pairs["evaluated"]) == (count, count)
    assert (pairs["missing"], pairs["extra"]) == (0, 0)


def test_losses_are_described_in_full(document: dict[str, Any]) -> None:
    losses = {loss["name"]: loss for loss in document["run"]["losses"]}
    assert list(losses) == list(document["aggregate"])
    for name, loss in losses.items():
        assert set(loss) >= {
            "name", "expression", "options", "revision", "better", "definition",
        }  # fmt: skip
        assert loss["revision"] >= 1
        assert loss["better"] == ("higher" if name == "iou" else "lower")
        assert loss["definition"]
    assert losses["l1"]["options"]["reduction"] == "mean"
    if document["task"] == "image":
        assert losses["half"]["expression"] == "half = 0.5*l2 + l1"
    else:
        assert losses["dice"]["options"]["smooth"] == 0
        assert losses["iou"]["options"]["threshold"] == 0.5


def test_every_aggregate_of_every_loss_is_there(document: dict[str, Any]) -> None:
    names = document["run"]["classes"]
    for aggregates in document["aggregate"].values():
        classes = aggregates.pop("classes", {})
        assert list(classes) == names
        for found in (aggregates, *classes.values()):
            assert list(found) == AGGREGATES
            assert all(number_or_none(value) for value in found.values())
            assert all(isinstance(found[key], int) for key in AGGREGATES[-4:-1])
        assert aggregates["count"] + aggregates["undefined"] == len(document["samples"])


def test_samples_are_sorted_and_have_a_value_a_loss_and_class(document: dict[str, Any]) -> None:
    samples, names = document["samples"], document["run"]["classes"]
    assert [sample["id"] for sample in samples] == sorted(sample["id"] for sample in samples)
    losses = list(document["aggregate"])
    for sample in samples:
        assert list(sample) == ["id", *losses, *(["classes"] if names else [])]
        assert all(number_or_none(sample[loss]) for loss in losses)
        for of_class in sample.get("classes", {}).values():
            assert list(of_class) == names
            assert all(map(number_or_none, of_class.values()))


def test_the_aggregates_follow_from_the_samples(document: dict[str, Any]) -> None:
    for loss, aggregates in document["aggregate"].items():
        values = [sample[loss] for sample in document["samples"] if sample[loss] is not None]
        assert aggregates["count"] == len(values)
        assert aggregates["mean"] == math.fsum(values) / len(values)
        assert aggregates["max"] == max(values)


def test_gates_are_in_the_file(document: dict[str, Any]) -> None:
    first, second = document["gates"]
    assert first == {"gate": "errors == 0", "value": 0, "bound": 0, "passed": True}
    assert set(second) == {"gate", "value", "bound", "passed"}
    assert second["value"] == document["aggregate"]["l1"]["max"]


def test_the_additive_state_is_in_the_file(document: dict[str, Any]) -> None:
    pooled = document["pooled"]
    assert pooled
    if document["task"] == "multiclass":
        (table,) = pooled["tables"].values()
        assert all(len(row) == 3 for row in table)
        assert sum(count for _, _, count in table) <= pooled["pixels"]


def test_undefined_is_null_and_infinity_a_word() -> None:
    empty, full = np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)
    pred = {"a": empty, "b": full, "c": full}
    target = {"a": empty, "b": full, "c": np.eye(2, dtype=np.uint8)}
    losses = ["dice", "far = -iou/dice"]
    result = lossbench.evaluate(pred, target, losses, task="binary", gates="far.min <= 0")
    document = json.loads(lossbench.render(result, "json"), parse_constant=refuse)
    assert [sample["dice"] for sample in document["samples"]] == [None, 0, pytest.approx(1 / 3)]
    assert document["samples"][0]["far"] is None
    assert document["samples"][1]["far"] == "-Infinity"
    assert document["aggregate"]["far"]["min"] == "-Infinity"
    assert document["aggregate"]["far"]["std"] is None
    assert document["gates"][0]["value"] == "-Infinity"


@pytest.mark.parametrize("empty", [math.inf, 0.5, "skip"])
def test_any_value_for_what_is_undefined_makes_a_file(empty: Any) -> None:
    masks = {"a": np.zeros((2, 2), np.uint8)}
    result = lossbench.evaluate(masks, masks, "dice", task="binary", empty=empty)
    document = json.loads(lossbench.render(result, "json"), parse_constant=refuse)
    wanted = {math.inf: "Infinity", 0.5: 0.5}.get(empty)
    assert document["samples"][0]["dice"] == wanted


def test_what_replaces_an_undefined_value_is_not_undefined_itself() -> None:
    masks = {"a": np.zeros((2, 2), np.uint8)}
    with pytest.raises(lossbench.SettingError, match="empty"):
        lossbench.evaluate(masks, masks, "dice", task="binary", empty=math.nan)


@pytest.mark.parametrize("name", ["id", "classes"])
def test_a_column_cannot_have_the_name_of_a_key_of_the_samples(name: str) -> None:
    with pytest.raises(lossbench.SettingError, match=name):
        small_result(losses=f"{name} = dice")


def test_errors_are_in_the_file() -> None:
    masks = {"a": np.ones((2, 2), np.uint8), "b": np.ones((2, 3), np.uint8)}
    result = lossbench.evaluate(masks, dict.fromkeys(masks, masks["a"]), "dice")
    (error,) = json.loads(lossbench.render(result, "json"))["errors"]
    assert list(error) == ["id", "role", "file", "loss", "kind", "error"]
    assert (error["id"], error["role"], error["kind"]) == ("b", "pred", "size")


def test_class_columns_can_be_left_out(command: Callable[..., Outcome]) -> None:
    how = ("eval", *MULTICLASS, "-l", "dice", "-f", "json")
    assert "classes" in json.loads(command(*how).out)["samples"][0]
    without = json.loads(command(*how, "--no-per-class").out)
    assert "classes" not in without["samples"][0]
    assert "classes" not in without["aggregate"]["dice"]


def test_the_same_folders_give_the_same_bytes(tmp_path: Path) -> None:
    texts = []
    for workers, batch_size in ((1, 1), (2, 5)):
        result = lossbench.evaluate(*MULTICLASS, workers=workers, batch_size=batch_size)
        result.session = {}
        texts.append(lossbench.render(result, "json"))
    assert texts[0] == texts[1]


def test_an_existing_file_is_written_over_but_a_baseline_needs_force(
    command: Callable[..., Outcome], tmp_path: Path
) -> None:
    file = tmp_path / "base.json"
    file.write_text("no result")
    assert command("eval", *BINARY, "-o", file).status == 0
    compared = ("eval", *BINARY, "-o", file, "--baseline", file, "-q")
    gates = ("--gate", "dice.mean <= baseline", "--gate", "dice.mean < baseline")
    before = file.read_text()
    with pytest.raises(lossbench.SettingError, match="--force"):
        command(*compared, *gates)
    with pytest.raises(lossbench.SettingError, match="--force"):  # the same file by another name
        command("eval", *BINARY, "-o", f"{tmp_path}/./base.json", "--baseline", file)
    assert file.read_text() == before
    assert command(*compared, *gates, "--force").status == 1
    assert [gate["passed"] for gate in json.loads(file.read_text())["gates"]] == [True, False]


def test_several_files_can_be_written(command: Callable[..., Outcome], tmp_path: Path) -> None:
    names = ["a.json", "b.JSON"]
    assert command("eval", *BINARY, *(f"-o{tmp_path / name}" for name in names)).status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert all(json.loads((tmp_path / name).read_text())["samples"] for name in names)


# Notes


def test_quiet_prints_failures_only(command: Callable[..., Outcome]) -> None:
    assert command("eval", *BINARY, "-q") == (0, "", "")
    failed = command("eval", *BINARY, "-q", *FAILING, "--gate", "iou.mean >= 0.1")
    assert (failed.status, failed.out) == (1, "")
    assert re.fullmatch(r"gate failed: dice\.mean 0\.22\d* > 0\.1\n", failed.err)


def test_quiet_still_prints_json(command: Callable[..., Outcome]) -> None:
    outcome = command("eval", *BINARY, "-q", "-f", "json")
    assert len(json.loads(outcome.out)["samples"]) == 12
    assert outcome.err == ""


@pytest.fixture
def uneven(tmp_path: Path) -> tuple[Path, Path]:
    """A folder with a file too few, one too many, and some that are no images."""
    mask = Image.fromarray(np.full((4, 4), 255, np.uint8))
    for role, names in {"pred": ("both", "extra"), "gt": ("both", "gone")}.items():
        (tmp_path / role).mkdir()
        for name in names:
            mask.save(tmp_path / role / f"{name}.png")
    for name in ("a.txt", "b.txt", "c.csv", ".hidden"):
        (tmp_path / "gt" / name).write_text("")
    return tmp_path / "pred", tmp_path / "gt"


def test_foreign_files_are_left_out_with_one_note(
    command: Callable[..., Outcome], uneven: tuple[Path, Path]
) -> None:
    err = command("eval", *uneven, "--missing", "skip", "--extra", "skip").err
    (note,) = (line for line in err.splitlines() if line.startswith("note:"))
    assert ".txt ×2" in note
    assert ".csv ×1" in note


def test_verbose_adds_timing_and_the_files_that_were_skipped(
    command: Callable[..., Outcome], uneven: tuple[Path, Path]
) -> None:
    how = ("eval", *uneven, "--missing", "skip", "--extra", "skip")
    plain, verbose = command(*how), command(*how, "-v")
    assert plain.status == verbose.status == 0
    assert "gone.png" not in plain.err
    assert re.search(r"^\d+\.\d\d s, [\d,]+ pairs/s", verbose.err, re.MULTILINE)
    assert "gone.png" in verbose.err
    assert "extra.png" in verbose.err
    assert verbose.out.startswith(plain.out)
    assert "\naggregates\n" in verbose.out


def test_a_missing_prediction_can_count_as_the_worst(
    command: Callable[..., Outcome], uneven: tuple[Path, Path]
) -> None:
    how = ("--missing", "worst", "--extra", "skip", "-l", "dice", "-l", "iou", "-l", "bce")
    outcome = command("eval", *uneven, *how)
    assert outcome.status == 0
    assert table(outcome.out, "id")[1:] == [
        ["gone", "1.0000", "0.0000", "inf"],
        ["both", "0.0000", "1.0000", "0.0000"],
    ]


def test_the_worst_of_a_loss_with_an_exponent_is_the_worst_of_all() -> None:
    """1 − MCC is 2 where all is inverted, squared 4."""
    mask = np.array([[0, 255], [255, 0]], np.uint8)
    given = {"a": 255 - mask}, {"a": mask, "b": mask}
    found = lossbench.evaluate(*given, "mcc_loss(exponent=2)", missing="worst")
    assert found.values["mcc_loss(exponent=2)"].samples == [4, 4]


# The plan without the run


def test_a_dry_run_tells_everything_and_computes_nothing(
    command: Callable[..., Outcome], tmp_path: Path
) -> None:
    file = tmp_path / "r.json"
    how = ("--loss", "seg=0.5*dice+0.5*bce", "--gate", "iou.mean >= 0.5", "--threshold", "0.25")
    outcome = command("eval", *BINARY, *how, "-o", file, "--dry-run", "--workers", "3")
    assert outcome.status == 0
    assert list(tmp_path.iterdir()) == []
    assert (
        "binary · pred: probability (uint8/255) 0…255 · gt: mask {0,255} · 12 pairs" in outcome.out
    )
    assert "seg ↓" in outcome.out
    for loss in ("dice", "bce", "iou"):
        assert lossbench.find_loss(loss).definition in outcome.out
    assert "iou.mean >= 0.5" in outcome.out
    settings = outcome.out.split("\nsettings\n")[1].splitlines()
    origins = {line.split()[0]: line.split()[-1] for line in settings}
    assert set(origins.values()) == {"flag", "default", "found"}
    given = {"pred", "gt", "--loss", "--gate", "--threshold", "--output", "--dry-run", "--workers"}
    assert {name for name, origin in origins.items() if origin == "flag"} == given
    evaluation = next(each for each in EVERY if each.name == "eval")
    arguments = [each for each in evaluation.params if isinstance(each, click.Argument)]
    labels = ["pred", "gt", *(max(each.opts, key=len) for each in evaluation.params[2:])]
    assert len(arguments) == 2
    assert list(origins) == labels
    assert re.search(r"^  --task +binary +found$", outcome.out, re.MULTILINE)
    assert re.search(r"^  --batch-size +512 +default$", outcome.out, re.MULTILINE)


# Help


EVERY = [cli.get_command(click.Context(cli), name) for name in COMMANDS]


@pytest.mark.parametrize("each", EVERY, ids=lambda each: each.name)
def test_every_command_and_option_has_help_and_every_command_an_example(each: Any) -> None:
    assert each.help
    assert each.epilog.startswith("Example: lossbench ")
    for parameter in each.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
        else:
            assert parameter.human_readable_name.upper() in each.help.upper()


@pytest.mark.parametrize("each", EVERY, ids=lambda each: each.name)
def test_the_example_of_a_command_is_valid(each: Any) -> None:
    _, name, *arguments = shlex.split(each.epilog.removeprefix("Example: "))
    assert name == each.name
    parent = cli.make_context("lossbench", [name])
    losses = each.make_context(name, arguments, parent=parent).params.get("losses", ())
    assert len(resolve(losses, {})) == len(losses)


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS)])
def test_h_and_help_print_the_same(
    words: list[str], command: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    texts = []
    for flag in ("-h", "--help"):
        with pytest.raises(click.exceptions.Exit) as ended:
            command(*words, flag)
        assert ended.value.exit_code == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert "Example: lossbench " in texts[0]


def test_the_help_of_all_names_every_command_and_status() -> None:
    outcome = run("--help")
    assert (outcome.status, outcome.err) == (0, "")
    for name in COMMANDS:
        (line,) = re.findall(rf"^  {name} .*", outcome.out, re.MULTILINE)
        assert not line.endswith("...")  # no sentence is cut
    assert all(f"{status} " in outcome.out for status in range(5))


def test_the_version_is_told() -> None:
    assert run("--version") == (0, f"lossbench {__version__}\n", "")


def test_the_catalogue_lists_every_loss_with_its_direction(command: Callable[..., Outcome]) -> None:
    shown = command("losses").out
    flat = " ".join(shown.split())
    for entry in lossbench.list_losses():
        arrow = {"higher": "↑ ", "lower": "↓ ", None: ""}[entry.better]
        assert f" {entry.name} {arrow}{entry.summary.rstrip('.')}" in flat
        assert not entry.aliases or f"(also {', '.join(entry.aliases)})" in flat
    assert max(map(len, shown.splitlines())) <= 80


def test_the_catalogue_can_be_listed_by_family(command: Callable[..., Outcome]) -> None:
    families = {entry.family for entry in lossbench.list_losses()}
    assert "overlap" in families
    for family in families:
        listed = command("losses", "--family", family).out
        shown = re.findall(r"^  (\w+) +[↑↓ ]  \w", listed, re.MULTILINE)
        assert shown == [entry.name for entry in lossbench.list_losses(family)]


@pytest.mark.parametrize("entry", lossbench.list_losses(), ids=lambda entry: entry.name)
def test_a_manual_page_says_everything_about_a_loss(entry: Any) -> None:
    text = "\n".join(page(entry))
    flat = " ".join(text.split())
    assert flat.startswith(f"{entry.name} — {entry.summary}")
    assert entry.use
    for fact in (entry.definition, entry.use, *entry.sources, *entry.aliases, *entry.tasks):
        assert fact in flat
    for option in entry.options.values():
        assert re.search(rf"^  {option.name}=\S+  ", text, re.MULTILINE)
        assert option.doc
        assert option.doc in flat
    assert max(map(len, text.splitlines())) <= 100
    assert next(leaves(parse_item(entry.example).node)).name == entry.name


def test_a_loss_is_explained_by_its_other_names_too(command: Callable[..., Outcome]) -> None:
    assert command("explain", "mae").out == command("explain", "l1").out


# Names of files


STRANGE = [
    "[bold]x[/bold]",
    "[red]",
    "ünï",
    "e\u0301",
    f"{ESCAPE}[31mred",
    "tab\tname",
    "two\nlines",
]


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("strange")
    mask = Image.fromarray(np.eye(4, dtype=np.uint8) * 255)
    for role, more in {"pred": [], "gt": [f"gone{ESCAPE}[2J\a\nagain"]}.items():
        for name in [*STRANGE, *more]:
            path = root / role / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            mask.save(path)
    return root


def test_file_names_are_printed_as_they_are_but_for_control_characters(strange: Path) -> None:
    outcome = run("eval", "pred", "gt", "-l", "dice", "--top", "all", cwd=strange)
    assert outcome.status == 3
    assert sorted(column(outcome.out, "id")) == sorted(
        ["[bold]x[/bold]", "[red]", "ünï", "é", r"\x1b[31mred", r"tab\tname", r"two\nlines"]
    )
    assert not set(outcome.out) & {ESCAPE, "\t", "\a"}
    assert not set(outcome.err) & {ESCAPE, "\t", "\a"}
    (error,) = (line for line in outcome.err.splitlines() if line.startswith("error: "))
    assert "has no prediction in pred" in error
    assert r"gone\x1b[2J" in error


def test_the_result_file_holds_names_as_they_are(strange: Path) -> None:
    result = lossbench.evaluate(strange / "pred", strange / "gt", "dice", missing="skip")
    document = json.loads(lossbench.render(result, "json"))
    ids = [sample["id"] for sample in document["samples"]]
    assert sorted(ids) == sorted([*STRANGE[:3], "é", *STRANGE[4:]])


def test_a_file_name_that_is_no_unicode_is_no_fault(
    command: Callable[..., Outcome], tmp_path: Path
) -> None:
    for role in ("pred", "gt"):
        (tmp_path / role).mkdir()
        path = os.path.join(os.fsencode(tmp_path / role), b"bad\xff.png")
        try:
            with open(path, "wb") as file:
                Image.fromarray(np.eye(4, dtype=np.uint8) * 255).save(file, "png")
        except OSError:
            pytest.skip("this file system has only names of Unicode")
    how = ("eval", tmp_path / "pred", tmp_path / "gt", "-l", "dice")
    assert r"bad\udcff" in command(*how).out
    assert json.loads(command(*how, "-f", "json").out)["samples"][0]["dice"] == 0
    assert command(*how, "-o", tmp_path / "r.json").status == 0
    assert json.loads((tmp_path / "r.json").read_bytes())["samples"][0]["dice"] == 0


def test_a_stdout_that_cannot_hold_an_arrow_is_no_fault() -> None:
    outcome = run("losses", env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert "Traceback" not in outcome.err
    assert outcome.status == 0
    assert "dice" in outcome.out


# Terminals


def on_terminal(*arguments: Any, columns: int, **environment: str) -> Outcome:
    """The command with a terminal of its own for each of stdout and stderr."""
    ends = [pty.openpty() for _ in range(2)]
    for _, inner in ends:
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL, stdout=ends[0][1], stderr=ends[1][1],
        env={**UNCOLOURED, "TERM": "xterm", **environment},
    )  # fmt: skip
    texts = ["", ""]

    def listen(place: int) -> None:
        outer, heard = ends[place][0], b""
        while True:
            try:
                part = os.read(outer, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            heard += part
        texts[place] = heard.decode().replace("\r\n", "\n")
        os.close(outer)

    for _, inner in ends:
        os.close(inner)
    listeners = [threading.Thread(target=listen, args=(place,)) for place in range(2)]
    for listener in listeners:
        listener.start()
    status = process.wait(timeout=120)
    for listener in listeners:
        listener.join()
    return Outcome(status, *texts)


@pytest.fixture(scope="module")
def terminal() -> Outcome:
    long = "a_column_with_a_name_of_some_length=dice+bce"
    how = ("-l", "dice", "-l", long, "--batch-size", 4)  # a rate needs two batches
    return on_terminal("eval", *BINARY, *FAILING, *how, columns=50)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def test_a_table_fits_the_terminal(terminal: Outcome) -> None:
    lines = plain(terminal.out).splitlines()
    assert max(map(len, lines)) <= 50
    assert "…" not in terminal.out
    assert "0.2260 [0.0886, 0.4670]" in terminal.out  # no number is broken


def test_a_terminal_gets_colour_and_the_status_stays(terminal: Outcome) -> None:
    assert terminal.status == 1
    assert ESCAPE in terminal.out
    assert "\x1b[1;31m✗ dice.mean" in terminal.out


def test_progress_shows_on_a_terminal_with_rate_and_running_mean(terminal: Outcome) -> None:
    assert "12/12" in terminal.err
    assert "pairs/s" in terminal.err
    assert "━" in terminal.err
    assert terminal.err.endswith("\x1b[2K")  # and is taken away


def test_progress_of_a_shard_ends_where_the_shard_does(tmp_path: Path) -> None:
    how = ("-l", "dice", "--shard", "2/4", "-o", tmp_path / "shard.json")
    outcome = on_terminal("eval", *BINARY, *how, columns=50)
    assert "3/3" in outcome.err
    assert "/12" not in outcome.err


def test_no_color_is_respected_on_a_terminal() -> None:
    outcome = on_terminal("eval", *BINARY, "-l", "dice", "--no-progress", columns=70, NO_COLOR="1")
    assert outcome.status == 0
    assert ESCAPE not in outcome.out
    assert ESCAPE not in outcome.err
    assert "━" not in outcome.err


def test_a_dumb_terminal_gets_no_colour() -> None:
    outcome = on_terminal("eval", *BINARY, "-l", "dice", "--no-progress", columns=70, TERM="dumb")
    assert ESCAPE not in outcome.out + outcome.err


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_every_width_shows_whole_numbers(
    columns: int, command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    how = ("eval", *MULTICLASS, "-c", "multiclass", *FAILING, "--group-by", "{drive}_{number}")
    shown = command(*how, "-v").out
    assert max(map(len, shown.splitlines())) <= columns
    monkeypatch.delenv("COLUMNS")
    number = re.compile(r"-?\d\.\d{4}\b")
    assert set(number.findall(shown)) == set(number.findall(command(*how, "-v").out))
    parts = shown.count("\nloss ")
    assert parts == {60: 4, 80: 3, 120: 2}[columns]


@pytest.mark.parametrize("environment", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}])
def test_a_terminal_without_arrows_and_lines_gets_ascii(environment: dict[str, str]) -> None:
    removed = ("LC_ALL", "PYTHONUTF8", "PYTHONIOENCODING")
    inherited = {name: value for name, value in os.environ.items() if name not in removed}
    outcome = run("eval", *BINARY, *FAILING, env={**inherited, **environment})
    assert (outcome.out + outcome.err).isascii()
    assert "\\" not in outcome.out + outcome.err
    assert "dice v " in outcome.out
    assert "\nFAILED dice.mean 0.226 > 0.1\n" in outcome.out


def test_force_color_styles_a_pipe_but_makes_it_no_terminal(
    command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    how = ("eval", *BINARY, "-l", "dice")
    monkeypatch.setenv("FORCE_COLOR", "1")
    forced = command(*how)
    assert ESCAPE in forced.out
    assert ESCAPE not in forced.err
    monkeypatch.delenv("FORCE_COLOR")
    unforced = command(*how)
    assert plain(forced.out) == unforced.out
    assert command(*how, "--color", "always").out == forced.out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert command(*how, "--color", "never").out == unforced.out
    assert ESCAPE not in command(*how, "-f", "json").out


# Streams that fail


@pytest.mark.parametrize("arguments", [["losses"], ["--help"], ["eval", "-h"], ["explain", "dice"],
                                       ["eval", *BINARY, "--dry-run"]])  # fmt: skip
def test_a_full_device_is_status_4(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        outcome = run(*arguments, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert "Traceback" not in outcome.err
    assert "could not be written" in outcome.err
    assert "No space left" in outcome.err
    assert outcome.status == 4


def test_a_process_that_cannot_be_started_is_no_failed_printing(tmp_path: Path) -> None:
    folder = many(
        tmp_path, {role: np.eye(8, dtype=np.uint8) for role in ("pred", "gt")}, "png", 240
    )
    script = f"""
import os, sys
from lossbench_cli.main import main

def refused():
    raise BlockingIOError(11, "Resource temporarily unavailable")

os.fork, sys.argv = refused, ["lossbench", "eval", {str(folder / "pred")!r}, {str(folder / "gt")!r}]
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.splitlines()[1:] == [
        "error: the system refused: Resource temporarily unavailable"
    ]
    assert (done.returncode, done.stdout) == (4, "")


def test_a_result_that_cannot_be_printed_is_status_4_even_when_a_gate_fails() -> None:
    with open("/dev/full", "w") as full:
        outcome = run(
            "eval", *BINARY, *FAILING, capture_output=False, stdout=full, stderr=subprocess.PIPE
        )
    assert "Traceback" not in outcome.err
    assert "error: the result could not be written: No space left" in outcome.err
    assert outcome.status == 4


def test_a_file_that_cannot_be_written_is_status_4(command: Callable[..., Outcome]) -> None:
    with pytest.raises(lossbench.OutputError, match="/dev/full could not be written") as caught:
        command("eval", *BINARY, "-o", "/dev/full", "--exit-zero")
    assert caught.value.exit_status == 4
    assert Path("/dev/full").is_char_device()


def test_a_pipe_can_be_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    heard: list[str] = []
    reader = threading.Thread(
        target=lambda: heard.append((tmp_path / "pipe.json").read_text()), daemon=True
    )
    reader.start()
    lossbench.save(small_result(), tmp_path / "pipe.json")
    reader.join(timeout=30)
    assert json.loads(heard[0])["schema"] == 1


# Arguments, and the status that they end with whoever listens.
ENDS = {
    "help": (["--help"], 0),
    "losses": (["losses"], 0),
    "dry run": (["eval", *BINARY, "--dry-run"], 0),
    "failed gate": (["eval", *BINARY, *FAILING], 1),
    "wrong loss": (["eval", *BINARY, "-l", "dicee"], 2),
    "wrong option": (["eval", *BINARY, "--wokers", "2"], 2),
    "no folder": (["eval", "nowhere", BINARY[1]], 3),
}


@pytest.mark.parametrize("case", [case for case in ENDS if case != "failed gate"])
def test_a_reader_that_has_gone_does_not_change_the_status(case: str) -> None:
    arguments, status = ENDS[case]
    with gone() as pipe:
        outcome = run(*arguments, capture_output=False, stdout=pipe, stderr=subprocess.PIPE)
    assert outcome.status == status
    assert "Traceback" not in outcome.err
    assert "Broken" not in outcome.err


@pytest.mark.parametrize("case", ENDS)
def test_a_reader_of_both_streams_that_has_gone_does_not_either(case: str) -> None:
    arguments, status = ENDS[case]
    with gone() as pipe:
        outcome = run(*arguments, capture_output=False, stdout=pipe, stderr=pipe)
    assert outcome.status == status


@pytest.mark.parametrize(
    ("closed", "arguments", "status"),
    [
        (">&-", ENDS["losses"][0], 0),
        (">&-", ENDS["failed gate"][0], 1),
        ("2>&-", ENDS["no folder"][0], 3),
        ("2>&-", ["eval", *BINARY], 0),
    ],
)
def test_a_stream_that_was_never_open_does_not_either(
    closed: str, arguments: list[str], status: int
) -> None:
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, *arguments]
    done = subprocess.run(shell, capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == status


def gone() -> Any:
    """The writing end of a pipe that nobody reads."""
    outer, inner = os.pipe()
    os.close(outer)
    return os.fdopen(inner, "w")


def test_head_gets_its_line_and_the_status_stays() -> None:
    process = subprocess.Popen(
        [*COMMAND, "eval", *BINARY, *FAILING],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline() == "12 pairs\n"
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    assert process.wait(timeout=60) == 1


def test_an_internal_fault_is_status_4_and_shows_where_it_is() -> None:
    code = (
        "import sys, lossbench, lossbench_cli.main as edge;"
        "lossbench.list_losses = lambda **_: 1 / 0;"
        "sys.argv = ['lossbench', 'losses'];"
        "edge.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError" in done.stderr


# Signals


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many pairs of floats, which are evaluated pixel by pixel: seconds of work, one file."""
    random = np.random.default_rng(0)
    arrays = {"pred": random.random((256, 256)), "gt": random.random((256, 256)) > 0.5}
    return many(tmp_path_factory.mktemp("pixels"), arrays, "npy", 3000)


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many pairs of large pictures, which child processes decode."""
    random = np.random.default_rng(0)
    grey = random.integers(0, 256, (1200, 1200), dtype=np.uint8)
    arrays = {"pred": grey, "gt": (grey > 99) * np.uint8(255)}
    return many(tmp_path_factory.mktemp("counted"), arrays, "png", 600)


def many(root: Path, arrays: dict[str, Any], ending: str, count: int) -> Path:
    for role, array in arrays.items():
        (root / role).mkdir()
        first = root / role / f"0000.{ending}"
        if ending == "npy":
            np.save(first, array)
        else:
            Image.fromarray(array).save(first)
        for number in range(1, count):
            os.link(first, root / role / f"{number:04d}.{ending}")
    return root


def started(
    root: Path, file: Path, *options: str, mark: str = "", more: int = 0
) -> tuple[Any, Path]:
    """A run that has finished its first samples, beside so many parts of other runs."""
    process = subprocess.Popen(
        [*COMMAND, "eval", root / "pred", root / "gt", "-l", "dice", "-l", "l1", "-o", file,
         *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "LOSSBENCH_TEST_MARK": mark},
    )  # fmt: skip
    part = Path(f"{file}.part")

    def begun() -> bool:
        assert process.poll() is None
        return part.exists() and len(records(part)) > more

    until(begun)
    return process, part


def records(part: Path) -> list[Any]:
    """The finished parts in a checkpoint file, but for a last line that is cut off."""
    lines = part.read_text().splitlines()[1:]
    if lines and not lines[-1].endswith("}"):
        lines.pop()
    return list(map(json.loads, lines))


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_stopped_run_ends_by_its_signal_and_keeps_what_is_finished(
    number: signal.Signals, pixels: Path, tmp_path: Path
) -> None:
    process, part = started(pixels, tmp_path / "result.json")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == -number
    assert out == ""
    assert "Traceback" not in err
    assert part.name in err
    assert [path.name for path in tmp_path.iterdir()] == [part.name]
    assert "--resume goes on from there" in err
    parts = records(part)
    assert parts
    at = 0
    files = (pixels / role / "0000.npy" for role in ("pred", "gt"))
    values = lossbench.evaluate(*files, ["dice", "l1"]).values
    for each in parts:  # what numpy reads of them
        assert each["run"]["run"]["plan"]["task"] == "binary"
        with np.load(io.BytesIO(base64.b64decode(each["part"]))) as arrays:
            words = json.loads(arrays["words"].tobytes())
            assert words["start"] == at < words["stop"]
            at = words["stop"]
            for name in ("dice", "l1"):
                assert (arrays[f"values/{name}"] == values[name].samples[0]).all()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_run_can_be_stopped_before_anything_is_finished(
    number: signal.Signals, pixels: Path
) -> None:
    process = subprocess.Popen(
        [*COMMAND, "eval", pixels / "pred", pixels / "gt"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr
    assert process.stderr.readline().startswith("binary")
    process.send_signal(number)  # torch is being imported
    out, err = process.communicate(timeout=60)
    assert process.returncode == -number
    assert out == ""
    assert "Traceback" not in err


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_stopped_run_leaves_no_process_behind(
    number: signal.Signals, counted: Path, tmp_path: Path
) -> None:
    mark = f"{tmp_path}"
    process, _ = started(counted, tmp_path / "r.json", "--batch-size", "4", mark=mark)
    assert len(marked(mark)) > 1
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -number
    assert "Traceback" not in err
    until(lambda: not marked(mark))


def marked(mark: str) -> list[str]:
    """The processes that were started with a mark in their environment."""
    wanted, found = f"LOSSBENCH_TEST_MARK={mark}\0".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in path.read_bytes():
                found.append(path.parent.name)
        except OSError:  # it has ended, or is another's
            continue
    return found


def test_a_part_file_is_no_result_and_goes_when_a_run_is_done(
    command: Callable[..., Outcome], tmp_path: Path
) -> None:
    (tmp_path / "r.json.part").write_text("from a run that was stopped\n")
    assert command("eval", *BINARY, "-o", tmp_path / "r.json").status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_what_a_stopped_run_has_finished_is_not_overwritten(
    pixels: Path, tmp_path: Path, command: Callable[..., Outcome]
) -> None:
    """Nor where several are stopped, one of them before it has finished anything."""
    file, part = tmp_path / "r.json", tmp_path / "r.json.part"
    process, _ = started(pixels, file)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    left = part.read_bytes()

    again = subprocess.Popen(
        [*COMMAND, "eval", pixels / "pred", pixels / "gt", "-l", "dice", "-l", "l1", "-o", file],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wanted = f"note: {part} keeps the finished samples of a stopped run until this run is done"
    assert again.stderr is not None
    assert any(line.startswith(wanted) for line in again.stderr)
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)
    assert [path.name for path in tmp_path.iterdir()] == [part.name]
    assert part.read_bytes() == left  # nothing was finished
    finished = len(records(part))
    less, _ = started(pixels, file, more=finished)
    less.send_signal(signal.SIGKILL)
    less.communicate(timeout=60)
    assert part.read_bytes().startswith(left)
    run = lossbench.plan(pixels / "pred", pixels / "gt", ["dice", "l1"])
    more = run.checkpoint(str(part), resume=True)
    assert len(list(more.parts(run.terms, None))) > finished > 0
    more.close(done=False)
    assert command("eval", *BINARY, "-o", file).status == 0
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
