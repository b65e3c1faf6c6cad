"""Gates and margins of `lossbench compare`: what they judge, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from helpers.paths import SAMPLES

import lossbench

ROADS = SAMPLES / "multiclass"
NAMES = {"classes": "background,road,car,person", "ignore": 255}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two results on cells, and one on roads that has classes."""
    folder = tmp_path_factory.mktemp("results")
    for name in ("earlier", "pred"):
        cells = SAMPLES / "binary"
        found = lossbench.evaluate(
            cells / name, cells / "gt", ["dice", "iou", "bce", "d = iou + dice"]
        )
        lossbench.save(found, folder / f"{name}.json")
    roads = lossbench.evaluate(
        ROADS / "pred", ROADS / "gt", ["dice", "mixed = dice + iou"], **NAMES
    )
    lossbench.save(roads, folder / "roads.json")
    return folder


@pytest.mark.parametrize(
    ("gate", "passed", "text"),
    [
        ("dice.difference <= 0.005", True, "dice.difference -0.03978 <= 0.005"),
        (
            "dice.difference <= -0.1*baseline",
            True,
            "dice.difference -0.039782035430420519 <= -0.02657411898743511",
        ),
        ("iou.difference >= 0.1", False, "iou.difference 0.07633 < 0.1"),
        ("dice.verdict != worse", True, "dice.verdict is better"),
        ("dice.verdict==better", True, "dice.verdict is better"),
        ("dice.verdict == equal", False, "dice.verdict is better; the gate requires == equal"),
        ("dice.worsened <= 0", False, "dice.worsened 1 > 0"),
        ("dice.improved >= 9", True, "dice.improved 9 >= 9"),
        ("dice.equal == 1", True, "dice.equal 1 == 1"),
        ("dice.p <= 0.01", True, "dice.p 0.0058"),
        ("dice.p_holm <= 0.01", False, "dice.p_holm 0.0234"),
    ],
)
def test_a_gate_judges_the_change(folder, monkeypatch, lossbench_command, gate, passed, text):
    monkeypatch.chdir(folder)
    found = lossbench_command("compare", "earlier.json", "pred.json", "--gate", gate)
    assert found.returncode == (0 if passed else 1), found.stderr
    title, line = found.stdout.splitlines()[-2:]
    assert title == "gates"
    assert line.startswith(f"{'✓' if passed else '✗'} {text}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gate", "dice.difference >= 0"], "dice is better when lower: `>=` would accept worse"),
        (["--gate", "iou.difference < 0"], "write `>`"),
        (["--gate", "dice.improved < 3"], "more improved images are better: `<` would accept"),
        (["--gate", "dice.worsened >= 3"], "more worsened images are worse: `>=` would accept"),
        (["--gate", "dice.worsened <= -1"], None),
        (
            ["--gate", "dice.difference <= 2"],
            "this gate cannot fail: dice.difference is from -1 to",
        ),
        (["--gate", "dice.difference <= 9*baseline"], "where the first result has 0.2657"),
        (["--gate", "dice.p <= 2"], "this gate cannot fail: dice.p is from 0 to 1"),
        (["--gate", "dice.p <= baseline"], "only a difference can be compared with it"),
        (["--gate", "dice.mean <= 0.2"], "compare has no 'mean'"),
        (["--gate", "dice.diference <= 0.2"], "did you mean 'difference'?"),
        (["--gate", "dice <= 0.2"], "as in dice.difference"),
        (["--gate", "dise.p <= 0.2"], "did you mean 'dice'?"),
        (["--gate", "dice[car].p <= 0.2"], "no loss of all results is called 'dice[car]'"),
        (["--gate", "dice.verdict <= worse"], "a verdict is no number; write == or != in place"),
        (["--gate", "dice.verdict != wors"], "no verdict is called 'wors' (did you mean 'worse'?)"),
        (["--gate", "d.improved >= 2"], "needs a loss with a better side, and d has none"),
        (["--margin", "0.1"], "the margin 0.1 would be in the units of dice, iou, bce, d, and bce"),
        (["--margin", "bce=0.1", "--margin", "d=1", "--margin", "0"], "the margin is 0; write"),
        (["--margin", "dise=0.1"], "did you mean 'dice'?"),
        (["--margin", "dice="], "expected [NAME=]X, such as dice=0.01, found 'dice='"),
        (["--margin", "dice=1", "--margin", "dice=2"], "dice is given twice"),
    ],
)
def test_what_cannot_judge_is_refused(folder, monkeypatch, lossbench_command, arguments, message):
    monkeypatch.chdir(folder)
    found = lossbench_command("compare", "earlier.json", "pred.json", *arguments)
    assert found.returncode == (2 if message else 1)
    assert (message or "") in found.stderr
    assert bool(found.stdout) is not bool(message)


def test_gates_of_classes_and_of_several_results(folder, monkeypatch, lossbench_command):
    monkeypatch.chdir(folder)
    gates = ["--gate", "dice[car].worsened <= 3", "--gate", "mixed.verdict == equal"]
    found = lossbench_command(
        "compare", *["roads.json"] * 3, *gates, "-l", "dice", "-f", "json", "-o", "x.xml"
    )
    assert found.returncode == 0, found.stderr
    model = json.loads(found.stdout)
    assert list(model["changes"][0]["losses"]) == ["dice", "dice[car]", "mixed"]
    assert model["gates"][0] == {
        "gate": "dice[car].worsened <= 3", "value": 0.0, "bound": 3.0, "passed": True,
        "result": "roads.json",
    }  # fmt: skip
    assert [each["value"] for each in model["gates"]] == [0, 0, "equal", "equal"]
    suite = ElementTree.parse("x.xml").getroot()[0]
    assert suite.get("failures") == "0"
    assert [case.get("classname") for case in suite.iter("testcase")] == [
        *["lossbench.gates"] * 4, *["lossbench.changes"] * 6,
    ]  # fmt: skip


def test_gates_are_in_every_output(folder, monkeypatch, lossbench_command, tmp_path):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    gates = ["--gate", "dice.worsened <= 0", "--gate", "dice.verdict != worse"]
    outputs = [tmp_path / f"x{ending}" for ending in (".xml", ".md", ".txt", ".json")]
    options = [each for path in outputs for each in ("-o", path)]
    found = lossbench_command(
        "compare", "earlier.json", "pred.json", *gates, *options, "-f", "github"
    )
    assert found.returncode == 1
    assert found.stdout == "::error title=gate failed::dice.worsened 1 > 0\n"
    assert found.stderr == "gate failed: dice.worsened 1 > 0\n"
    junit, markdown, text, model = (path.read_text() for path in outputs)
    assert '<failure type="gate" message="dice.worsened 1 &gt; 0">' in junit
    assert "<system-out>dice.verdict is better</system-out>" in junit
    assert (tmp_path / "summary.md").read_text() == markdown
    assert "### Gates\n\n- ✗ dice.worsened 1 \\> 0\n- ✓ dice.verdict is better\n" in markdown
    assert text.endswith("gates\n✗ dice.worsened 1 > 0\n✓ dice.verdict is better\n")
    assert [each["passed"] for each in json.loads(model)["gates"]] == [False, True]


def test_a_warning_does_not_fail(folder):
    files = [folder / "earlier.json", folder / "pred.json"]
    gate = {"gate": "dice.verdict == worse", "warn": True}
    found = lossbench.compare(files, gates=[gate])
    assert found.exit_status == 0
    assert found.decisions[0].as_json() == {
        "gate": "dice.verdict == worse", "value": "better", "bound": "worse", "passed": False,
        "warn": True,
    }  # fmt: skip
    assert lossbench.render(found, "github").startswith("::warning title=gate missed::")
    assert lossbench.compare(files, gates="dice.verdict == worse").exit_status == 1


def test_margins_are_those_of_a_loss_of_its_classes_or_of_all(folder):
    roads = [folder / "roads.json"] * 2
    found = lossbench.compare(roads, "dice", per_class=True, margin={"dice": 0.1, "dice[car]": 0.2})
    assert (found.margins["dice"], found.margins["dice[road]"], found.margins["dice[car]"]) == (
        0.1, 0.1, 0.2,
    )  # fmt: skip
    assert lossbench.compare(roads, ["dice"], margin=5).margins == {"dice": 5}
    cells = [folder / "earlier.json", folder / "pred.json"]
    found = lossbench.compare(cells, ["dice", "iou"], margin=0.15)
    assert found.margins == {"dice": 0.15, "iou": 0.15}
    assert [found.verdict(1, each) for each in found.measured] == ["equivalent"] * 2


def test_the_scaled_baseline_bounds_an_evaluation(folder, lossbench_command):
    cells = SAMPLES / "binary"
    arguments = ["eval", cells / "pred", cells / "gt", "-q", "--baseline", folder / "earlier.json"]
    for gate, status in (
        ("dice.mean <= 1.05*baseline", 0),
        ("dice.mean <= 0.5*baseline", 1),
        ("dice.mean <= 0.5*baseline + 0.1", 0),
        ("iou.mean >= baseline/0.9", 0),
        ("dice.mean <= 4*baseline", 2),
    ):
        assert lossbench_command(*arguments, "--gate", gate).returncode == status
