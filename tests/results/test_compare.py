"""Results held against each other; statistics against scipy, formats against each other."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.paths import SAMPLES
from helpers.tolerances import REFERENCE, check_close
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import lossbench
from lossbench.output.plot import write_comparison
from lossbench.results import parquet_reader
from lossbench.results.change import Change, Groups
from lossbench.results.ranking import ranked
from lossbench.results.reader import Measured, Quantity
from lossbench.runtime.string_list import StringList

NAN, INF = math.nan, math.inf
ENDINGS = (".json", ".jsonl", ".parquet")
CELLS = SAMPLES / "binary"
VALUES = st.lists(
    st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 1.0, NAN, INF])] * 2), min_size=1, max_size=30
)


def change(before: Any, after: Any, better: str | None = "lower", **options: Any) -> Change:
    return Change(Measured(Quantity("dice"), better), *np.array([before, after], float), **options)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models on cells, in every format, and a third on one plate of them."""
    folder = tmp_path_factory.mktemp("results")
    for name in ("earlier", "pred"):
        found = lossbench.evaluate(CELLS / name, CELLS / "gt", ["dice", "iou", "seg = dice + bce"])
        for ending in ENDINGS:
            lossbench.save(found, folder / f"{name}{ending}")
    shutil.copytree(CELLS / "gt/plate_a", folder / "gt/plate_a")
    plate = lossbench.evaluate(CELLS / "pred", folder / "gt", ["dice", "iou"], extra="skip")
    lossbench.save(plate, folder / "plate.json")
    roads = SAMPLES / "multiclass"
    names = {"classes": "background,road,car,person", "ignore": 255}
    for name, ending in (("one", ".json"), ("two", ".parquet"), ("three", ".jsonl")):
        found = lossbench.evaluate(roads / "pred", roads / "gt", ["dice", "accuracy"], **names)
        lossbench.save(found, folder / f"{name}{ending}")
    return folder


def test_the_interval_is_that_of_paired_samples():
    random = np.random.default_rng(0)
    before, after = random.random((2, 40))
    found = change(before, after)
    expected = stats.ttest_rel(after, before).confidence_interval(0.95)
    table = found.aggregates
    check_close([table["ci_low"], table["ci_high"]], list(expected), REFERENCE)
    assert table["mean"] == pytest.approx(after.mean() - before.mean(), rel=1e-12)
    assert found.means == pytest.approx((before.mean(), after.mean()), rel=1e-14)


@pytest.mark.parametrize(
    ("better", "shift", "verdict"),
    [
        ("lower", -0.1, "better"),
        ("lower", 0.1, "worse"),
        ("higher", -0.1, "worse"),
        ("higher", 0.1, "better"),
        ("lower", 0.0, "unclear"),
        (None, 0.1, "unclear"),
    ],
)
def test_the_verdict_is_the_side_of_the_mean_where_the_test_rejects(better, shift, verdict):
    before = np.random.default_rng(0).random(50)
    noise = np.random.default_rng(1).normal(0, 0.01, 50)
    noise -= noise.mean()
    found = change(before, before + shift + noise, better)
    assert found.verdict(found.p) == verdict
    assert found.verdict(0.05) == found.verdict(NAN) == "unclear"


@pytest.mark.parametrize("better", ["lower", "higher", None])
@pytest.mark.parametrize("values", [[0.5], [0.25, NAN, 1.0], [NAN], [INF, 0.5, 0.5]])
def test_the_same_values_are_equal_always(better, values):
    for margin in (None, 0.1):
        found = change(values, values, better, margin=margin)
        assert found.verdict(found.p) == "equal"
    other = change([*values, 0.5, 0.2], [*values, NAN, 0.2], better)
    assert other.verdict(other.p) == "unclear"  # a value that is lost is a difference


@pytest.mark.parametrize(
    ("after", "margin", "verdict"),
    [
        (0.501, 0.01, "equivalent"),  # surely a little worse, and it does not matter
        (0.501, 0.0005, "worse"),
        (0.51, 0.01, "worse"),
        (0.5, 0.01, "equal"),
    ],
)
def test_a_difference_within_the_margin_is_equivalent(after, margin, verdict):
    noise = np.linspace(-1e-5, 1e-5, 20) * (after != 0.5)
    found = change(np.full(20, 0.5), after + noise, margin=margin)
    assert found.verdict(found.p) == verdict


def test_an_infinite_difference_decides_the_side():
    found = change([20.0] * 8, [21.0, 22.0, 23.0, 24.0, 25.0, 26.0, 27.0, INF], "higher")
    assert found.verdict(found.p) == "better"
    ids = StringList()
    for each in "abcdefgh":
        ids.append(each)
    model = found.as_json(found.p, ids, 1)
    assert model["difference"]["mean"] == "Infinity"
    assert model["best"] == [{"id": "h", "first": 20.0, "second": "Infinity"}]
    assert model["worst"] == []
    assert model["effect"]["dz"] is None


def test_a_group_counts_once():
    groups = Groups(["a", "b"], np.array([1, 0, 1, 1]))
    found = change([0.1, 0.2, 0.4, NAN], [0.3, 0.2, 0.8, 0.9], groups=groups)
    np.testing.assert_allclose(found.units, [[0.2, 0.25], [0.2, 0.55]])
    np.testing.assert_allclose(found.differences, [0, 0.3], atol=1e-15)
    assert (found.unit, found.count) == ("group", 2)
    assert found.counts == {"improved": 0, "worsened": 2, "equal": 1}  # images
    assert found.means == pytest.approx((0.225, 0.375))
    empty = change([NAN, 1.0], [1.0, 1.0], groups=Groups(["a", "b"], np.array([0, 1])))
    assert empty.count == 1


def test_the_bootstrap_interval_is_scipys():
    before, after = np.random.default_rng(2).random((2, 40)) ** 3
    found = change(before, after)
    drawing = {"n_resamples": 9_999, "random_state": np.random.default_rng(0)}
    expected = stats.bootstrap(
        (np.sort(after - before),), np.mean, method="BCa", **drawing
    ).confidence_interval
    np.testing.assert_allclose(found.bootstrap, list(expected), rtol=1e-9)
    assert change(before[:29], after[:29]).bootstrap is None
    assert change(np.zeros(40), np.full(40, 0.5)).bootstrap is None
    assert change(np.zeros(40), np.full(40, INF)).bootstrap is None


def test_undefined_and_infinite_values_by_hand():
    found = change([0.5, NAN, 0.5, INF, 0.2, INF], [0.25, 0.1, NAN, INF, 0.2, 3.0])
    check_close(found.difference.tolist(), [-0.25, NAN, NAN, 0, 0, -INF], 0)
    assert found.counts == {"improved": 2, "worsened": 0, "equal": 2}
    assert (found.aggregates["undefined"], found.aggregates["infinite"]) == (2, 1)
    assert change([1.0, 2.0], [1.5, 2.0], None).counts == {"changed": 1, "equal": 1}
    assert change([-INF], [INF]).difference.tolist() == [INF]
    assert change([-1e308], [1e308]).difference.tolist() == [INF]  # and no warning
    assert found.undecided == {"undefined": 2, "infinite": 1}


@given(VALUES, st.sampled_from(["lower", "higher"]))
def test_the_other_way_round_is_the_opposite(pairs, better):
    before, after = zip(*pairs, strict=True)
    there, back = change(before, after, better), change(after, before, better)
    assert there.counts["improved"] == back.counts["worsened"]
    assert there.counts["equal"] == back.counts["equal"]
    check_close(there.difference.tolist(), (-back.difference + 0.0).tolist(), 0)
    assert sum(there.counts.values()) + there.aggregates["undefined"] == len(pairs)


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=4, max_size=4), min_size=2),
    st.sampled_from(["lower", "higher"]),
)
def test_ranks_are_those_of_scipy(rows, better):
    values = np.array(rows)
    expected = stats.rankdata(values if better == "lower" else -values, axis=0)
    np.testing.assert_array_equal(ranked(values, better), expected)


@pytest.mark.parametrize("one", ENDINGS)
@pytest.mark.parametrize("other", ENDINGS)
def test_every_format_of_a_result_is_read(results, one, other):
    found = lossbench.compare([results / f"earlier{one}", results / f"pred{other}"])
    before, after = (
        lossbench.evaluate(CELLS / name, CELLS / "gt", ["dice", "iou", "seg = dice + bce"])
        for name in ("earlier", "pred")
    )
    assert [each.name for each in found.measured] == ["dice", "iou", "seg"]
    assert list(found.ids) == before.ids
    for name, values in found.values.items():
        np.testing.assert_array_equal(values[0], before.values[name].column)
        np.testing.assert_array_equal(values[1], after.values[name].column)
    assert not found.notes


def test_only_what_all_have_is_compared(results):
    files = [results / "earlier.json", results / "plate.json", results / "pred.parquet"]
    truth = f"the ground truth of {files[1]} is {results / 'gt'}, of {files[0]} {CELLS / 'gt'}"
    found = lossbench.compare(files)
    assert found.notes[:2] == [f"seg is left out: it is not in {files[1]}", truth]
    assert [each.name for each in found.measured] == ["dice", "iou"]
    back = lossbench.compare(files[::-1])  # what the first one lacks is told, too
    assert f"seg is left out: it is not in {files[1]}" in back.notes
    found = lossbench.compare(files, ["dice"])
    unchecked = f"whether {files[1]} and {files[0]} have the same ground truth could not be checked"
    assert found.notes == [
        truth,
        f"{unchecked}: they have different pairs",
        f"6 of 12 samples of {files[0]} are not in all results",
        f"6 of 12 samples of {files[2]} are not in all results",
    ]
    assert list(found.ids) == [f"plate_a/{number:02}" for number in range(1, 7)]
    whole = lossbench.compare([files[0], files[2]], ["dice"])
    np.testing.assert_array_equal(found.values["dice"][[0, 2]], whole.values["dice"][:, :6])
    np.testing.assert_array_equal(found.values["dice"][1], found.values["dice"][2])
    assert found.ranks["dice"][1] == found.ranks["dice"][2] < found.ranks["dice"][0]


def test_classes_are_columns_too(results):
    files = [results / name for name in ("one.json", "two.parquet", "three.jsonl")]
    found = lossbench.compare(files, ["dice"], per_class=True)
    names = ["background", "road", "car", "person"]
    assert [each.name for each in found.measured] == ["dice", *(f"dice[{n}]" for n in names)]
    stored = lossbench.evaluate(
        SAMPLES / "multiclass/pred", SAMPLES / "multiclass/gt", "dice",
        classes="background,road,car,person", ignore=255,
    ).values["dice"]  # fmt: skip
    assert stored.class_columns is not None
    for place, name in enumerate(names):
        for row in found.values[f"dice[{name}]"]:
            np.testing.assert_array_equal(row, stored.class_columns[place])
    alone = lossbench.compare(files, "dice[car]")
    assert list(alone.values) == ["dice[car]"]


def test_a_name_that_means_something_else_is_left_out(tmp_path):
    files = []
    for name, losses in {
        "options": ["dice(smooth=1)", "l = iou"],
        "first": ["dice", "l = iou"],
        "expression": ["dice", "l = 2*iou + dice"],
        "sum": ["dice", "l = iou + dice"],
    }.items():
        files.append(tmp_path / f"{name}.json")
        lossbench.save(lossbench.evaluate(CELLS / "pred", CELLS / "gt", losses), files[-1])
    options, first, expression, added = files
    assert lossbench.compare([first, expression]).notes == [
        f"l is left out: its definition differs between {first} and {expression}"
    ]
    assert lossbench.compare([expression, added]).notes == [
        f"l is left out: its expression differs between {expression} and {added}"
    ]
    with pytest.raises(
        lossbench.SettingError, match=r"l cannot be compared: its expression differs .*sum.json"
    ):
        lossbench.compare([expression, added], "l")
    with pytest.raises(lossbench.SettingError, match=r"no loss of all results is called 'k'"):
        lossbench.compare([expression, added], "k")
    with pytest.raises(lossbench.SettingError, match="give two results or more"):
        lossbench.compare(first)
    with pytest.raises(lossbench.SettingError, match=r"one of \.txt, \.json, \.csv, \.md"):
        lossbench.save(lossbench.compare([first, first]), tmp_path / "both.parquet")
    with pytest.raises(lossbench.SettingError, match="result and comparison"):
        lossbench.list_formats("results")
    assert [each.name for each in lossbench.compare([options, first]).measured] == ["l"]


def test_another_revision_is_no_comparison(results, tmp_path):
    model = json.loads((results / "pred.json").read_text())
    for loss in model["run"]["losses"]:
        loss["revision"] += 1
    (tmp_path / "new.json").write_text(json.dumps(model))
    with pytest.raises(
        lossbench.InputError, match="in common; dice is left out: its revision differs"
    ):
        lossbench.compare([results / "pred.json", tmp_path / "new.json"])


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["pred.json"], 2, "give two results or more"),
        (["pred.json", "none.json"], 3, "none.json cannot be read: No such file or directory"),
        (["pred.json", "table.csv"], 3, "table.csv cannot be read"),
        (["pred.json", "list.json"], 3, "list.json is not a result of lossbench"),
        (["pred.json", "short.json"], 3, "short.json is not a result of lossbench"),
        (["pred.json", "cut.jsonl"], 3, "cut.jsonl is not a result of lossbench"),
        (["pred.json", "hollow.json"], 3, "hollow.json is not a result of lossbench"),
        (["one.json", "other.json"], 3, "no sample in common; "),
        (["pred.json", "one.json"], 2, "task: binary in pred.json, multiclass in one.json"),
        (["pred.json", "one.json"], 2, "evaluate one.json again in the same way (--task binary, "),
        (["pred.json", "earlier.json", "-l", "dicee"], 2, "'dicee' (did you mean 'dice'?)"),
        (["pred.json", "earlier.json", "--sort", "bce"], 2, "no loss of all results is called"),
        (["pred.json", "earlier.json", "--sort", "l1", "-f", "csv"], 2, "results is called 'l1'"),
        (["pred.json", "earlier.json", "-o", "./pred.json"], 2, "pred.json is one of the results"),
        (["pred.json", "earlier.json", "-o", "x.parquet"], 2, "one of .txt, .json, .csv, .md"),
        (["pred.json", "earlier.json", "-o", "no/x.md"], 2, "the folder no does not exist"),
        (["pred.json", "earlier.json", "--plot", "x.txt"], 2, "use one of .svg, .png, .pdf"),
    ],
)
def test_a_mistake_is_one_sentence(
    results, tmp_path, monkeypatch, lossbench_command, arguments, status, message
):
    for path in results.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text("id,dice\na,0.5\n")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "short.json").write_text('{"aggregate": {}}')
    lines = (tmp_path / "pred.jsonl").read_text().splitlines()
    (tmp_path / "cut.jsonl").write_text("\n".join(lines[:3]))
    hollow = json.loads((tmp_path / "pred.json").read_text())
    hollow["samples"] = [{"id": row["id"]} for row in hollow["samples"]]
    (tmp_path / "hollow.json").write_text(json.dumps(hollow))
    other = (tmp_path / "one.json").read_text().replace('{"id": "', '{"id": "other/')
    (tmp_path / "other.json").write_text(other.replace('"digest": "', '"digest": "0'))
    found = lossbench_command("compare", *arguments)
    assert found.returncode == status, found.stderr
    assert message in found.stderr.splitlines()[-1]
    assert not found.stdout


def test_the_tables(results, monkeypatch, lossbench_command):
    monkeypatch.chdir(results)
    monkeypatch.delenv("COLUMNS", raising=False)
    found = lossbench_command("compare", "earlier.json", "pred.json", "plate.json", "--top", 2)
    assert found.returncode == 0
    lines = found.stdout.splitlines()
    assert lines[0] == "pred.json against earlier.json · 6 pairs"
    assert lines[1].split() == [
        "loss", "images", "first", "second", "difference", "ci_low", "ci_high", "verdict",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[3:5]] == ["dice", "iou"]
    assert lines[7].split() == [
        "loss", "improved", "worsened", "equal", "p", "p_holm", "dz", "needed", "undefined",
    ]  # fmt: skip
    assert lines[12] == "1 of 1 that became worse by dice, largest change first"
    assert lines[17] == "2 of 4 that became better by dice, largest change first"
    title = lines.index("ranking by dice ↓ · critical difference 1.48")
    assert [line.split()[0] for line in lines[title + 3 : title + 6]] == [
        "pred.json", "plate.json", "earlier.json",
    ]  # fmt: skip
    title = lines.index("dice ↓: the result of a row against that of a column")
    assert lines[title + 4].split() == ["pred.json", "unclear", "equal"]
    assert found.stderr.count("note:") == 5


def test_the_tables_fit_80_columns_and_keep_their_numbers_whole(results, monkeypatch):
    monkeypatch.chdir(results)
    files = ["earlier.json", "pred.json"]
    for found in (
        lossbench.compare(files, ["dice", "iou", "seg"]),
        lossbench.compare([files[0]] * 3, ["dice", "iou"]),
        lossbench.compare(["one.json", "two.parquet"], per_class=True),
    ):
        wide, narrow = (lossbench.render(found, width=width).splitlines() for width in (None, 80))
        assert max(map(len, narrow[1:])) <= 80
        numbers = re.compile(r"-?\d+\.\d+(?:e-\d+)?|\d+ \(\d+ %\)")
        assert numbers.findall("\n".join(wide[1:])) == numbers.findall("\n".join(narrow[1:]))


def test_every_number_is_in_a_file(results, tmp_path, monkeypatch, lossbench_command):
    monkeypatch.chdir(results)
    outputs = [tmp_path / f"found{ending}" for ending in (".json", ".csv", ".md", ".txt")]
    options = [each for path in outputs for each in ("-o", path)]
    found = lossbench_command("compare", "earlier.json", "pred.json", *options, "-f", "json")
    assert found.returncode == 0
    assert outputs[0].read_text() == found.stdout
    model = json.loads(found.stdout)
    (told,) = model["changes"]
    assert (told["first"], told["second"], model["pairs"]) == ("earlier.json", "pred.json", 12)
    rows = list(csv.DictReader(io.StringIO(outputs[1].read_text())))
    before, after = (
        [float(row[f"seg ({name}.json)"] or NAN) for row in rows] for name in ("earlier", "pred")
    )
    differences = [b - a for a, b in zip(before, after, strict=True) if not math.isnan(b - a)]
    assert told["losses"]["seg"]["difference"]["mean"] == math.fsum(differences) / len(differences)
    assert "| seg ↓ |" in outputs[2].read_text()
    assert outputs[3].read_text().startswith("pred.json against earlier.json · 12 pairs\n")


def test_losses_without_a_better_side_have_no_ranking_to_draw(tmp_path):
    mixed = run_result(tmp_path / "mixed.json", drawn(6, 1), drawn(6, 2), "mixed = dice + iou")
    comparison = lossbench.compare([mixed] * 2)
    assert not comparison.rankings
    with pytest.raises(lossbench.SettingError, match="no loss has a better side"):
        write_comparison(comparison, str(tmp_path / "mixed.svg"))


def test_names_that_are_no_text_are_kept(tmp_path):
    arrays = {f"a\udcff{n}": np.full((4, 4), n, np.uint8) for n in (0, 1)}
    found = lossbench.evaluate(arrays, arrays, "dice", task="binary")
    for ending in ENDINGS:
        lossbench.save(found, tmp_path / f"r{ending}")
    both = lossbench.compare([tmp_path / "r.json", tmp_path / "r.parquet"])
    assert len(both.ids) == 2
    assert "\\udcff" in lossbench.render(both, "csv")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_loss_may_be_called_as_a_part_of_a_file_is(tmp_path, ending):
    found = lossbench.evaluate(CELLS / "pred", CELLS / "gt", ["aggregate = dice", "run = iou"])
    lossbench.save(found, tmp_path / f"r{ending}")
    both = lossbench.compare([tmp_path / f"r{ending}"] * 2)
    np.testing.assert_array_equal(both.values["aggregate"][0], found.values["aggregate"].column)
    assert len(both.ids) == 12


def test_a_file_that_lacks_samples_is_not_taken_at_its_word(results, tmp_path):
    model = json.loads((results / "pred.json").read_text())
    del model["samples"][3]
    (tmp_path / "cut.json").write_text(json.dumps(model))
    found = lossbench.compare([results / "pred.json", tmp_path / "cut.json"], "dice")
    np.testing.assert_array_equal(*found.values["dice"])
    files = f"{tmp_path / 'cut.json'} and {results / 'pred.json'}"
    assert found.notes == [
        f"whether {files} have the same ground truth could not be checked: they have different"
        " pairs",
        f"1 of 12 samples of {results / 'pred.json'} are not in all results",
    ]


def test_only_the_columns_that_are_asked_for_are_read(results, monkeypatch):

    real, asked = parquet_reader.read_samples, []

    def watched(path: str, quantities: Any, model: Any) -> Any:
        asked.extend(quantities)
        return real(path, quantities, model)

    monkeypatch.setattr(parquet_reader, "read_samples", watched)
    lossbench.compare([results / "earlier.parquet", results / "pred.json"], "seg")
    assert asked == [("seg", None)]


def run_result(path: Path, pred: Any, target: Any, losses: Any, **settings: Any) -> Path:
    lossbench.save(lossbench.evaluate(pred, target, losses, **settings), path)
    return path


def drawn(count: int, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {f"{i % 3}/{i:02}": random.integers(0, 2, (8, 8)).astype(np.uint8) for i in range(count)}


@pytest.mark.parametrize("ending", ENDINGS)
def test_groups_are_the_units_where_all_results_have_the_same(tmp_path, ending):
    truth = drawn(9, 1)
    both = [
        run_result(
            tmp_path / f"{seed}{ending}", drawn(9, seed), truth, "dice_score", group_by="{g}/{n}"
        )
        for seed in (2, 3)
    ]
    found = lossbench.compare(both)
    (measured,) = found.measured
    change = found.change(1, measured)
    assert (change.unit, change.count) == ("group", 3)
    before, after = (lossbench.evaluate(drawn(9, seed), truth, "dice_score", group_by="{g}/{n}")
                     for seed in (2, 3))  # fmt: skip
    means = [each.group_means["dice_score"].column for each in (before, after)]
    np.testing.assert_array_equal(change.units, means)
    model = found.as_json()["changes"][0]["losses"]["dice_score"]
    assert model["groups"]["1"]["first"] == means[0][1]
    assert (model["unit"], model["n"]) == ("group", 3)
    assert found.notes == ["3 groups are too few for the verdicts better and worse, which need 6"]
    text = lossbench.render(found)
    assert text.startswith(f"{both[1]} against {both[0]} · 9 pairs · 3 groups\n")
    assert "mean of 3 of 3 groups by dice_score, worst first" in text
    alone = run_result(tmp_path / f"alone{ending}", drawn(9, 2), truth, "dice_score")
    mixed = lossbench.compare([both[0], alone])
    assert mixed.notes[-1] == f"images are compared, not groups: {alone} has none"
    assert mixed.change(1, measured).unit == "image"
    assert mixed.verdict(1, measured) == "equal"


def test_another_truth_is_refused(tmp_path):
    truth = drawn(6, 1)
    one = run_result(tmp_path / "one.json", drawn(6, 2), truth, "dice_score")
    truth["0/00"] = 1 - truth["0/00"]
    other = run_result(tmp_path / "other.json", drawn(6, 2), truth, "dice_score")
    with pytest.raises(
        lossbench.SettingError, match="the same pairs with another ground truth, so their values"
    ):
        lossbench.compare([one, other])


@pytest.mark.slow
def test_two_models_that_are_equally_good_are_rarely_told_apart():
    """Six groups of unequal size, whose images share half of their variance."""
    random, found = np.random.default_rng(0), 0
    sizes = [2, 3, 5, 8, 13, 21]
    groups = Groups([*"abcdef"], np.repeat(range(6), sizes))
    for _ in range(2_000):
        shared = np.repeat(random.normal(0, math.sqrt(0.5), 6), sizes)
        after = shared + random.normal(0, math.sqrt(0.5), len(shared))
        each = change(np.zeros(len(shared)), after, groups=groups)
        found += each.verdict(each.p) in ("better", "worse")
    assert found <= 0.065 * 2_000
