"""Baselines and bounds: what bounds nothing is refused, with a way out that works."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pytest
from helpers.paths import SAMPLES
from lossbench_cli.main import cli
from PIL import Image

import lossbench
from lossbench.errors import SettingError
from lossbench.results.baseline import Baseline, SharedPairs
from lossbench.results.gates import GateDecision

BINARY = [SAMPLES / "binary" / side for side in ("pred", "gt")]
ROADS = [SAMPLES / "multiclass" / side for side in ("pred", "gt")]
MASK = np.array([[1, 1, 1, 1, 0, 0, 0, 0]], np.uint8)


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process, which has torch already."""

    def call(*arguments: Any) -> Outcome:
        message = ""
        try:
            with cli.make_context("lossbench", [str(each) for each in arguments]) as context:
                status = cli.invoke(context) or 0
        except lossbench.LossbenchError as error:
            status, message = error.exit_status, f"error: {error}\n"
        except click.UsageError as error:
            status, message = 2, error.format_message()
        out, err = capsys.readouterr()
        return Outcome(status, out, err + message)

    return call


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stored(name: str, **changes: Any) -> None:
    """Change entries of a result file by their dotted path; None takes the entry out."""
    path = Path(name)
    model = json.loads(path.read_text())
    for dotted, value in changes.items():
        *parents, last = dotted.split("__")
        table = model
        for parent in parents:
            table = table[parent]
        if value is None:
            del table[last]
        else:
            table[last] = value
    path.write_text(json.dumps(model))


# Bounds


@pytest.mark.parametrize(
    ("gate", "way_out"),
    [
        ("dice.mean <= 15", "dice.mean <= 1"),
        ("dice.mean < 1.5", "dice.mean < 1"),
        ("dice.p95 <= 1.0000001", "dice.p95 <= 1"),
        ("dice.ci_high <= 3", "dice.ci_high <= 1"),
        ("dice.pooled <= 7", "dice.pooled <= 1"),
        ("dice.mean != 2", "dice.mean != 1"),
        ("dice.mean != -1", "dice.mean != 0"),
        ("dice.std <= 2", "dice.std <= 1"),
        ("mcc.std <= 3", "mcc.std <= 2"),
        ("iou.sum >= -1", "iou.sum >= 0"),
        ("iou.mean >= -0.5", "iou.mean >= 0"),
        ("mcc.mean >= -2", "mcc.mean >= -1"),
        ("score.mean >= -1", "score.mean >= 0"),
        ("both.mean <= 30", "both.mean <= 2"),
        ("seg.mean <= 2", "seg.mean <= 1"),
        ("dice(negative=true).mean <= 0.5", "dice(negative=true).mean <= 0"),
        ("iou(empty=3).mean >= -1", "iou(empty=3).mean >= 0"),
        ("dice.undefined >= -1", "dice.undefined >= 0"),
        ("errors >= -1", "errors >= 0"),
        ("errors != -1", "errors != 0"),
        ("dice.mean <= 1/0", "dice.mean <= 1"),
        ("dice.mean <= 0/0", "dice.mean <= 1"),
        ("iou.mean >= -1/0", "iou.mean >= 0"),
        ("bce.mean <= 1/0", "bce.mean <= 1000"),
        ("errors <= 1/0", "errors <= 1000"),
    ],
)
@pytest.mark.parametrize("warn", [False, True])
def test_a_gate_that_cannot_fail_is_refused_and_a_bound_on_the_end_is_not(
    gate: str, way_out: str, warn: bool
) -> None:
    losses = ["dice", "score = 1 - dice", "both = dice + iou", "seg = 0.5*dice + 0.5*iou"]
    with pytest.raises(SettingError, match=r"cannot fail|write a finite number"):
        lossbench.plan("no/pred", "no/gt", losses, gates=[{"gate": gate, "warn": warn}])
    gates = [{"gate": way_out, "warn": warn}]
    assert lossbench.plan(*BINARY, losses, gates=gates).checks


@pytest.mark.parametrize(
    "gate",
    [
        "dice.mean <= 1",
        "dice.mean <= -1",
        "dice.mean == 15",
        "iou.mean >= 2",
        "bce.mean <= 1e9",
        "dice.sum <= 500",
        "dice(log=true).mean <= 50",
        "dice(class_reduction=sum).mean <= 9",
        "dice(smooth_nr=1).mean != -5",
        "iou(empty=3).mean != 2",
        "dice.count >= 0",
        "dice.undefined <= 1000",
        "errors <= 1000",
    ],
)
def test_a_gate_that_can_fail_is_not_refused(gate: str) -> None:
    assert lossbench.plan(*BINARY, "dice", gates=gate).checks


def test_the_message_shows_range_bound_and_the_place(command: Command) -> None:
    found = command("eval", *BINARY, "--gate", "dice.mean <= 15")
    assert found.status == 2
    assert found.err == (
        "error: this gate cannot fail: dice.mean is from 0 to 1, and the bound is 15; write a bound"
        " that is from 0 to 1\n  dice.mean <= 15\n            ^\n"
    )
    assert command("eval", *BINARY, "-q", "--gate", "dice.mean <= 1").status == 0


def test_a_bound_on_the_end_asks_for_a_defined_value(command: Command, folder: Path) -> None:
    for side in ("pred", "gt"):
        (folder / side).mkdir()
        Image.fromarray(MASK * 0).save(folder / side / "a.png")
    gate = ["--task", "binary", "--gate", "dice.mean <= 1"]
    assert command("eval", "pred", "gt", "-l", "dice", *gate).status == 1
    assert command("eval", "pred", "gt", "-l", "dice(empty=0)", *gate[:-1],
                   "dice(empty=0).mean <= 1").status == 0  # fmt: skip


def test_the_bound_of_a_baseline_is_refused_as_well(command: Command, folder: Path) -> None:
    command("eval", *BINARY, "-q", "-l", "dice", "-o", "main.json")
    found = command("eval", *BINARY, "--baseline", "main.json", "--gate", "dice.mean <= baseline+1")
    assert found.status == 2
    assert "cannot fail: dice.mean is from 0 to 1, and the bound is 1.2259" in found.err
    assert "where the baseline main.json has 0.225959" in found.err
    assert command(
        "eval", *BINARY, "-q", "--baseline", "main.json", "--gate", "dice.mean <= baseline + 0.01"
    ).status == 0  # fmt: skip
    found = command("eval", *BINARY, "--baseline", "main.json", "--gate", "dice.mean <= baseline/0")
    assert (found.status, "bound is inf, where the baseline" in found.err) == (2, True)


def test_an_infinite_baseline_is_no_bound(command: Command, folder: Path) -> None:
    pictures = SAMPLES / "image" / "pred", SAMPLES / "image" / "gt"
    shutil.copytree(pictures[0], "pred")
    names = sorted(path.name for path in Path("pred").iterdir())
    shutil.copy(pictures[1] / names[0], Path("pred") / names[0])
    command("eval", "pred", pictures[1], "-q", "-l", "psnr", "-o", "main.json")
    start = ["eval", "pred", pictures[1], "-q", "--baseline", "main.json", "--gate"]
    found = command(*start, "psnr.mean >= baseline")
    assert found.status == 2
    assert found.err == (
        "error: the gate `psnr.mean >= baseline` has no bound: psnr.mean of the baseline main.json"
        " is infinite; gate another aggregate, such as psnr.median\n"
    )
    assert command(*start, "psnr.median >= baseline").status == 0


# Readings

NAMED = "{0: a, 1: b, 2: c, 3: d}"


@pytest.mark.parametrize(
    ("data", "of_baseline", "of_run", "words"),
    [
        (ROADS, [], ["--ignore", "255,3"],
         "ignored values: 255, in this run 3, 255. For a bound, read this run like it"
         " (--ignore 255), or evaluate"),
        (ROADS, ["--ignore", "255,3"], [], "(--ignore 3,255)"),
        (ROADS, ["--ignore", "200-210,255"], [], "ignored values: 200-210, 255, in this run 255"),
        (ROADS, [], ["--classes", "a,b,c,d"],
         "Its classes: 0, 1, 2, 3, in this run a, b, c, d. For a bound, read this run like it"
         " (--classes '{0: 0, 1: 1, 2: 2, 3: 3}'), or"),
        (ROADS, ["--pred-values", "stored", "--classes", NAMED],
         ["--pred-values", "stored", "--classes", "{0: a, 2: b, 1: c, 3: d}"],
         "stored values of the ground truth: 0 as 0, 1 as 1, 2 as 2, 3 as 3, in this run 0 as 0,"
         " 1 as 2, 2 as 1, 3 as 3. For a bound, read this run like it"
         " (--classes '{0: a, 1: b, 2: c, 3: d}')"),
        (BINARY, ["--input", f"valid={BINARY[1]}"], [],
         "further inputs: valid, in this run none. For a bound, read this run like it"
         " (--input valid=DIR)"),
        (ROADS, ["--input", f"valid={ROADS[1]}@1,2"], ["--input", f"valid={ROADS[1]}@1,3"],
         "further inputs: valid@1,2, in this run valid@1,3"),
        (ROADS, ["--input", f"valid={ROADS[1]}@1,3"], [], "(--input valid=DIR@1,3)"),
        (BINARY, [], ["--input", f"valid={BINARY[1]}"], "(without --input)"),
        (ROADS, [], ["--input", f"weight={ROADS[1]}"], "further inputs: none, in this run weight"),
        (BINARY, ["--task", "multilabel"], [], "task: multilabel, in this run binary"),
        (BINARY, [], ["--gt-encoding", "nonzero"], "(--gt-encoding mask)"),
        (BINARY, ["--gt-encoding", "probability"],
         ["--gt-encoding", "probability", "--gt-threshold", "0.3"],
         "(--gt-encoding probability, without --gt-threshold)"),
    ],
)  # fmt: skip
def test_a_baseline_of_another_reading_is_refused(
    data: list[Path],
    of_baseline: list[str],
    of_run: list[str],
    words: str,
    command: Command,
    folder: Path,
) -> None:
    start = ["eval", *data, "-q", "-l", "dice"]
    assert command(*start, *of_baseline, "-o", "main.json").status == 0
    gate = ["--gate", "dice.mean <= baseline"]
    found = command(*start, *of_run, "--baseline", "main.json", *gate)
    assert found.status == 2
    assert "error: the baseline main.json was read in another way. Its " in found.err
    assert words in found.err
    assert command(*start, *of_baseline, "--baseline", "main.json", *gate).status == 0
    assert command(*start, *of_run, "-o", "again.json").status == 0
    assert command(*start, *of_run, "--baseline", "again.json", *gate).status == 0


def test_labels_beyond_the_sample_are_compared_after_the_run(
    command: Command, folder: Path
) -> None:
    """Classes go up to the largest label of any file, which the plan does not know."""
    rng = np.random.default_rng(0)
    for name in ("gt", "less"):
        Path(name).mkdir()
        for number in range(40):
            labels = rng.integers(0, 4, (8, 8), np.uint8)
            if number == 18 and name == "gt":  # not in the sample
                labels[0, 0] = 6
            Image.fromarray(labels).save(Path(name) / f"{number:02}.png")
    gate = ["--gate", "dice.mean <= baseline"]
    assert command("eval", "gt", "gt", "-q", "-l", "dice", "-o", "more.json").status == 0
    assert json.loads(Path("more.json").read_text())["run"]["classes"][-1] == "6"
    found = command("eval", "gt", "gt", "-q", "-l", "dice", "--baseline", "more.json", *gate)
    assert found.status == 0, found.err
    assert command("eval", "less", "less", "-q", "-l", "dice", "-o", "less.json").status == 0
    for data, baseline in (("less", "more"), ("gt", "less")):
        start = ["eval", data, data, "-q", "-l", "dice"]
        found = command(*start, "--baseline", f"{baseline}.json", *gate)
        assert found.status == 2, found.err
        assert "its classes: 0, 1, 2, 3" in found.err.lower()
        assert not Path("out.json").exists()


def test_spacing_in_mm_and_none_are_two_readings() -> None:
    volume = np.zeros((4, 4, 4), np.uint8)
    volume[1:3, 1:3, 1:3] = 1
    folders = SAMPLES / "medical" / "pred", SAMPLES / "medical" / "gt"
    how: Any = {"task": "binary", "pred_encoding": "nonzero", "gt_encoding": "nonzero"}
    earlier = lossbench.evaluate(*folders, "hd95", **how)
    with pytest.raises(SettingError, match=r"unit of spacing: mm, in this run none"):
        lossbench.plan([volume], [volume], "hd95", baseline=earlier, **how)


def test_another_encoding_of_the_predictions_is_noted(command: Command, folder: Path) -> None:
    start = ["eval", *BINARY, "-q", "-l", "dice"]
    shutil.copytree(BINARY[1], "masks")
    command("eval", "masks", *start[2:], "-o", "main.json")
    found = command(*start, "--baseline", "main.json", "--gate", "dice.mean <= baseline + 0.5")
    assert found.status == 0
    assert found.err == (
        "note: the baseline main.json has predictions read as mask, those of this run as"
        " probability\n"
    )


def test_what_an_older_file_lacks_is_not_compared_and_noted(command: Command, folder: Path) -> None:
    command("eval", *ROADS, "-q", "-l", "dice", "-o", "main.json")
    start = ["eval", *ROADS, "-q", "-l", "dice", "--baseline", "main.json", "--gate",
             "dice.mean <= baseline"]  # fmt: skip
    assert command(*start).err == ""
    stored("main.json", run__plan__identity__ignored=None)
    found = command(*start, "--ignore", "255,9")
    assert found.status == 0
    assert found.err == (
        "note: the baseline main.json does not state ignored values, as older versions do not: that"
        " was not compared\n"
    )
    assert command(*start, "--ignore", "255,9", "--classes", "a,b,c,d").status == 2
    stored("main.json", run__plan__identity=None, run__pairs__truth=None)
    found = command(*start, "--classes", "a,b,c,d")
    assert found.status == 0
    assert found.err == (
        "note: the baseline main.json does not state how it was read, as older versions do not:"
        " that was not compared\n"
        "note: whether the baseline main.json has the same ground truth could not be checked\n"
    )


def test_the_text_of_a_plan_is_never_compared(command: Command, folder: Path) -> None:
    command("eval", *ROADS, "-q", "-l", "dice", "-o", "main.json")
    stored("main.json", run__plan__text="as another version words it", run__plan__target="so too")
    found = command("eval", *ROADS, "-q", "-l", "dice", "--baseline", "main.json", "--gate",
                    "dice.mean <= baseline")  # fmt: skip
    assert (found.status, found.err) == (0, "")


# Pairs and ground truth


def cut_truth(name: str, pixels: int = 9) -> Path:
    """The ground truth of the binary samples, of which some pixels of one file are changed."""
    target = Path(shutil.copytree(BINARY[1], name))
    path = min(target.rglob("*.png"))
    with Image.open(path) as picture:
        array = np.array(picture)
    array[:pixels] = 255 - array[:pixels]
    Image.fromarray(array).save(path)
    return target


def test_another_ground_truth_of_the_same_pairs_is_noted(command: Command, folder: Path) -> None:
    command("eval", *BINARY, "-q", "-l", "dice", "-o", "main.json")
    gate = ["--baseline", "main.json", "--gate", "dice.mean <= baseline + 0.1"]
    found = command("eval", BINARY[0], cut_truth("gt"), "-q", "-l", "dice", *gate)
    assert found.status == 0
    assert found.err == (
        "doubt: the baseline has the same pairs with another ground truth; evaluate its"
        " predictions again with the ground truth of this run · baseline_pairs\n"
    )
    command("eval", BINARY[0], "gt", "-q", "-l", "dice", "-o", "main.json", "--force")
    assert command("eval", BINARY[0], "gt", "-q", "-l", "dice", *gate).err == ""


def test_other_pairs_are_counted(command: Command, folder: Path) -> None:
    command("eval", *BINARY, "-q", "-l", "dice", "-o", "main.json")
    for ending in (".json", ".jsonl", ".parquet"):
        command("eval", *BINARY, "-q", "-l", "dice", "-o", f"main{ending}")
        shutil.copytree(BINARY[1] / "plate_a", "gt/plate_a", dirs_exist_ok=True)
        gate = ["--baseline", f"main{ending}", "--gate", "dice.mean <= baseline + 0.1"]
        found = command("eval", BINARY[0], "gt", "-q", "-l", "dice", "--extra", "skip", *gate)
        assert found.status == 0
        assert found.err == (
            "doubt: the baseline has 12 pairs and this run 6, 6 of them in common; gates judge both"
            " as they stand, lossbench compare judges the common pairs · baseline_pairs\n"
        )


def test_missing_predictions_at_their_worst_leave_the_truth_unchecked() -> None:
    masks = dict.fromkeys("abc", MASK)
    earlier = lossbench.evaluate(masks, masks, "dice")
    result = lossbench.evaluate({"a": MASK, "b": MASK}, masks, "dice", missing="worst")
    shared = Baseline.read(earlier).shared_pairs(result)
    assert shared == SharedPairs(3, 3, 3, None)
    assert shared.all_common
    same = lossbench.evaluate(masks, masks, "dice")
    assert Baseline.read(earlier).shared_pairs(same) == SharedPairs(3, 3, 3, True)
    other = lossbench.evaluate(masks, {**masks, "c": np.roll(MASK, 3) | MASK}, "dice")
    assert Baseline.read(earlier).shared_pairs(other) == SharedPairs(3, 3, 3, False)


# Tolerance


@pytest.mark.parametrize(
    ("compare", "factor", "passed"),
    [
        ("<=", 1 - 5e-10, True),
        ("<=", 1 - 5e-9, False),
        ("==", 1 + 5e-10, True),
        ("==", 1 + 5e-9, False),
        ("<", 1 + 5e-10, False),
        ("<", 1 + 5e-9, True),
        ("!=", 1 + 5e-10, False),
        ("<=", 1, True),
    ],
)
def test_a_relative_difference_up_to_1e_9_from_a_baseline_is_none(
    compare: str, factor: float, passed: bool
) -> None:
    pred, target = {"a": np.roll(MASK, 1)}, {"a": MASK}
    gate = f"dice.mean {compare} {factor!r}*baseline"
    earlier = lossbench.evaluate(pred, target, "dice")
    result = lossbench.evaluate(pred, target, "dice", gates=gate, baseline=earlier)
    (decision,) = result.decisions
    assert decision.passed is passed
    assert decision.tied is (0 < abs(factor - 1) < 1e-9)
    assert ("counts as" in str(decision)) is decision.tied
    assert result.as_json()["gates"][0]["tolerance"] == 1e-9
    bound = earlier.aggregates["dice"]["mean"] * factor
    plain = lossbench.evaluate(pred, target, "dice", gates=f"dice.mean {compare} {bound!r}")
    assert plain.decisions[0].passed is {"<=": factor >= 1, "<": factor > 1, "==": factor == 1,
                                         "!=": factor != 1}[compare]  # fmt: skip
    assert "tolerance" not in plain.as_json()["gates"][0]


def test_the_tolerance_is_said() -> None:
    decision = GateDecision("iou.mean >= baseline", 0.5, ">=", 0.5 + 1e-10, True, False, 1e-9)
    assert str(decision) == (
        "iou.mean 0.5 counts as 0.5000000001: a relative difference up to 1e-09 is none"
    )
    assert not GateDecision("x.max <= baseline", math.inf, "<=", math.inf, True, False, 1e-9).tied


# What a baseline lacks


@pytest.mark.parametrize(
    ("losses", "gate", "words", "way_out"),
    [
        (["dice"], "dice(smooth=1).mean",
         "main.json has dice with smooth=0.0 where the gate has 1; evaluate its predictions again"
         " with --loss 'dice(smooth=1)'", ["dice(smooth=1)"]),
        (["x = dice(squared=true)"], "dice.mean",
         "main.json has x with squared=true where the gate has false", ["dice"]),
        (["dice", "iou"], "recall.mean", "main.json has dice, iou; evaluate", ["recall"]),
        (["seg = dice + iou"], "seg.mean", "main.json has seg, which is seg = dice + iou", None),
        (["dice"], "dice.group_mean", "main.json has no groups; evaluate its predictions again with"
         " --group-by", None),
    ],
)  # fmt: skip
def test_why_a_baseline_has_no_bound_is_told(
    losses: list[str], gate: str, words: str, way_out: list[str] | None, command: Command,
    folder: Path,
) -> None:  # fmt: skip
    start = ["eval", *BINARY, "-q"]
    of = [word for loss in losses for word in ("-l", loss)]
    command(*start, *of, "-o", "main.json")
    compare = ">=" if gate.startswith("recall") else "<="
    judge = ["--baseline", "main.json", "--gate", f"{gate} {compare} baseline"]
    if "group" in gate:
        judge += ["--group-by", "{plate}/{well}"]
    own = ["-l", "seg = dice + 2*iou"] if gate.startswith("seg") else []
    found = command(*start, *own, *judge)
    assert found.status == 2
    assert f"the baseline has no {gate}; {words}" in found.err
    again = [word for loss in way_out or losses for word in ("-l", loss)]
    again = own or again
    groups = judge[4:]
    assert command(*start, *again, *groups, "-o", "main.json", "--force").status == 0
    assert command(*start, *own, *judge).status == 0


def test_classes_that_a_baseline_lacks_are_told(command: Command, folder: Path) -> None:
    start = ["eval", *ROADS, "-q", "-l", "dice"]
    command(*start, "--no-per-class", "-o", "main.json")
    judge = ["--baseline", "main.json", "--gate", "dice[2].mean <= baseline"]
    found = command(*start, *judge)
    assert found.status == 2
    assert "baseline has no dice[2].mean; main.json has no class columns of dice;" in found.err
    assert "without --no-per-class" in found.err
    command(*start, "-o", "main.json", "--force")
    assert command(*start, *judge).status == 0


def test_a_baseline_of_another_revision_has_other_numbers(command: Command, folder: Path) -> None:
    start = ["eval", *BINARY, "-q", "-l", "dice"]
    command(*start, "-o", "main.json")
    model = json.loads(Path("main.json").read_text())
    model["run"]["losses"][0]["revision"] = 99
    Path("main.json").write_text(json.dumps(model))
    judge = ["--baseline", "main.json", "--gate", "dice.mean <= baseline"]
    found = command(*start, *judge)
    assert found.status == 2
    assert "main.json has dice of another revision; evaluate its predictions again" in found.err
    command(*start, "-o", "main.json", "--force")
    assert command(*start, *judge).status == 0


# Shards and resumed runs


def test_merge_refuses_what_eval_refuses(command: Command, folder: Path) -> None:
    command("eval", *BINARY, "-q", "-l", "dice", "-o", "main.json")
    command("eval", *BINARY, "-q", "-l", "dice", "--gt-encoding", "nonzero", "-o", "other.json")
    stored("main.json")
    gates = ["--gate", "dice.mean <= baseline + 0.01", "--gate", "dice.mean <= 0.9"]
    shards = []
    for index in (1, 2):
        shards.append(f"{index}.json")
        found = command("eval", *BINARY, "-q", "-l", "dice", "--shard", f"{index}/2", *gates,
                        "--baseline", "main.json", "-o", shards[-1])  # fmt: skip
        assert found.status == 0
        assert "judges no doubts and no gates; lossbench merge judges them" in found.err
        assert json.loads(Path(shards[-1]).read_text())["gates"] == []
        other = command("eval", *BINARY, "-q", "-l", "dice", "--shard", f"{index}/2", *gates,
                        "--baseline", "other.json", "-o", "x.json")  # fmt: skip
        assert other.status == 2
        assert "the baseline other.json was read in another way" in other.err
        assert not Path("x.json").exists()
    found = command("merge", *shards, "-q", "--baseline", "other.json")
    assert found.status == 2
    assert "the baseline other.json was read in another way. Its" in found.err
    stored("other.json", run__plan__identity=json.loads(
        Path("main.json").read_text())["run"]["plan"]["identity"],
        aggregate__dice__mean=0.995)  # fmt: skip
    found = command("merge", *shards, "-q", "--baseline", "other.json")
    assert found.status == 2
    assert "cannot fail: dice.mean is from 0 to 1, and the bound is 1.005" in found.err
    found = command("merge", *shards, "-q", "--baseline", "main.json", "-o", "merged.json")
    assert (found.status, found.err) == (0, "")
    whole = command("eval", *BINARY, "-q", "-l", "dice", *gates, "--baseline", "main.json",
                    "-o", "whole.json")  # fmt: skip
    assert whole.status == 0
    merged, run = (json.loads(Path(name).read_text()) for name in ("merged.json", "whole.json"))
    assert merged["gates"] == run["gates"]
    assert [gate.get("tolerance") for gate in run["gates"]] == [1e-9, None]
    assert merged["run"] == run["run"]


def test_a_shard_without_gates_says_nothing(command: Command, folder: Path) -> None:
    found = command("eval", *BINARY, "-q", "-l", "dice", "--shard", "1/2", "-o", "1.json")
    assert (found.status, found.err) == (0, "")


def test_a_resumed_run_refuses_and_judges_alike(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("eval", *BINARY, "-q", "-l", "dice", "-o", "main.json")
    gate = "dice.mean <= baseline"
    arguments = {"losses": "dice", "gates": [gate], "baseline": "main.json", "workers": 1}
    run = lossbench.plan(*map(str, BINARY), batch_size=4, **arguments)
    monkeypatch.setattr("lossbench.engine.pipeline.PART_PAIRS", 2)
    checkpoint = run.checkpoint("out.json.part")
    run.evaluate(checkpoint=checkpoint)
    checkpoint.close(False)
    part = Path("out.json.part")
    part.write_bytes(b"".join(part.read_bytes().splitlines(keepends=True)[:-1]))
    start = ["eval", *BINARY, "-q", "-l", "dice", "--workers", 1, "--resume", "-o", "out.json"]
    assert command(*start, "--baseline", "main.json", "--gate", "dice.mean <= 3").status == 2
    assert command(*start, "--baseline", "main.json", "--gate", "dice.mean<=baseline+1").status == 2
    assert part.exists()
    found = command(*start, "--baseline", "main.json", "--gate", gate)
    assert (found.status, found.err) == (0, "")
    resumed = json.loads(Path("out.json").read_text())
    assert resumed["run"]["pairs"] == json.loads(Path("main.json").read_text())["run"]["pairs"]
    assert resumed["gates"][0]["tolerance"] == 1e-9


# Comparing


def test_compare_refuses_another_reading_and_another_truth(command: Command, folder: Path) -> None:
    command("eval", *BINARY, "-q", "-l", "dice", "-o", "main.json")
    command("eval", BINARY[0], cut_truth("gt"), "-q", "-l", "dice", "-o", "cut.json")
    command("eval", *BINARY, "-q", "-l", "dice", "--gt-encoding", "nonzero", "-o", "other.json")
    shutil.copytree(BINARY[1], "same")
    command("eval", BINARY[0], "same", "-q", "-l", "dice", "-o", "same.json")
    assert command("compare", "main.json", "same.json").err == ""
    found = command("compare", "main.json", "cut.json")
    assert (found.status, found.out) == (2, "")
    assert found.err == (
        "error: cut.json and main.json have the same pairs with another ground truth, so their"
        f" values cannot be compared; the ground truth of cut.json is gt, of main.json {BINARY[1]};"
        " evaluate both with the same one\n"
    )
    found = command("compare", "main.json", "other.json")
    assert (found.status, found.out) == (2, "")
    for part in (
        "error: other.json and main.json were read in two ways, so their values cannot be compared",
        "; encoding of the ground truth: mask in main.json, nonzero in other.json;",
        " evaluate other.json again in the same way (--gt-encoding mask)",
    ):
        assert part in found.err
    stored("cut.json", run__pairs__truth=None, run__plan__identity=None)
    found = command("compare", "main.json", "cut.json").err.splitlines()
    assert found == [
        "note: cut.json does not state how it was read: that was not compared",
        f"note: the ground truth of cut.json is gt, of main.json {BINARY[1]}",
        "note: whether cut.json and main.json have the same ground truth could not be checked:"
        " cut.json does not state its sum",
    ]


def test_compare_judges_common_pairs(command: Command, folder: Path) -> None:
    command("eval", *BINARY, "-q", "-l", "dice", "-o", "main.json")
    shutil.copytree(BINARY[1] / "plate_a", "gt/plate_a")
    command("eval", BINARY[0], "gt", "-q", "-l", "dice", "--extra", "skip", "-o", "part.json")
    found = command("compare", "main.json", "part.json", "-f", "json")
    assert found.status == 0
    assert json.loads(found.out)["pairs"] == 6
    assert "could not be checked: they have different pairs" in found.err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"run__plan__identity": []}, "run.plan.identity is [], expected object"),
        ({"run__plan__identity__classes": 5}, "run.plan.identity.classes is 5, expected array"),
        ({"run__plan__identity__values": [[1]]}, "run.plan.identity.values[0] is empty"),
        ({"run__pairs__truth": 7}, "run.pairs.truth is 7, expected string"),
    ],
)
def test_a_damaged_baseline_is_refused(
    changes: dict[str, Any], words: str, command: Command, folder: Path
) -> None:
    command("eval", *ROADS, "-q", "-l", "dice", "-o", "main.json")
    stored("main.json", **changes)
    judge = ["--baseline", "main.json", "--gate", "dice.mean <= baseline"]
    found = command("eval", *ROADS, "-q", "-l", "dice", *judge)
    assert found.status == 3
    assert f"the baseline main.json is a damaged result: {words}" in found.err
