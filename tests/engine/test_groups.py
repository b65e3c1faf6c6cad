"""Aggregates per group and over groups, held against pandas."""

from __future__ import annotations

import json
import math
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.paths import SAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st

import lossbench
from lossbench.data.pairing.groups import GroupNames, by_pattern, manifest_columns
from lossbench.engine import dask_engine
from lossbench.engine.pipeline import Pipeline
from lossbench.engine.state.group_accumulators import GroupAccumulators

BINARY = (SAMPLES / "binary" / "pred", SAMPLES / "binary" / "gt")
RANDOM = np.random.default_rng(0)
PATIENTS = ["anna"] * 2 + ["ben"] * 5 + ["cleo"] * 1 + ["dora"] * 4
IDS = [f"{patient}/{number:02}" for number, patient in enumerate(PATIENTS)]
MAPS = dict(zip(IDS, RANDOM.integers(0, 256, (12, 5, 7)).astype(np.uint8), strict=True))
MASKS = dict(zip(IDS, RANDOM.integers(0, 2, (12, 5, 7)).astype(np.uint8), strict=True))
LABELS = dict(zip(IDS, RANDOM.integers(0, 3, (12, 5, 7)).astype(np.uint8), strict=True))
TRUTH = dict(zip(IDS, RANDOM.integers(0, 3, (12, 5, 7)).astype(np.uint8), strict=True))
LOGITS = {name: RANDOM.normal(size=(5, 7)) for name in IDS}
BY_PATIENT = "{patient}/{slice}"
MAPS["cleo/07"] = np.zeros((5, 7), np.uint8)  # Dice of two empty masks: cleo's mean is undefined
MASKS["cleo/07"] = np.zeros((5, 7), np.uint8)
MASKS["ben/03"] = np.zeros((5, 7), np.uint8)
MAPS["ben/03"] = np.zeros((5, 7), np.uint8)


def percentile(share: float) -> Callable[[Any], Any]:
    def of(values: Any) -> Any:
        return values.quantile(share)

    return of


# Our names and how pandas finds the same; its std has n − 1 below and its quantiles are linear too.
BY_PANDAS: dict[str, Any] = {
    "mean": "mean", "std": "std", "median": "median", "min": "min", "max": "max",
    "count": "count", "p5": percentile(0.05), "p25": percentile(0.25),
    "p75": percentile(0.75), "p95": percentile(0.95),
}  # fmt: skip


def frame(result: lossbench.results.result.Result) -> pd.DataFrame:
    """The samples as a table; the group is made of the id here, not taken from the result."""
    table = pd.DataFrame({name: values.samples for name, values in result.values.items()})
    return table.assign(patient=[name.partition("/")[0] for name in result.ids])


def check_equal(found: dict[str, float], expected: pd.Series) -> None:
    for ours, value in expected.items():
        assert found[str(ours)] == pytest.approx(value, rel=1e-12, abs=1e-15, nan_ok=True), ours


def aggregated(values: Any) -> dict[str, Any]:
    return {ours: values.agg(theirs) for ours, theirs in BY_PANDAS.items()}


# Which group


@pytest.mark.parametrize(
    ("pattern", "name", "group"),
    [
        ("{patient}/{slice}", "anna/07", "anna"),
        ("{patient}_*", "anna_07", "anna"),
        ("{patient}_{slice}", "de_la_cruz_07", "de_la_cruz"),  # a name takes what it can
        ("{site}/{patient}/{slice}", "nice/anna/07", "nice/anna"),
        ("*/{patient}/{slice}", "nice/anna/07", "anna"),
        ("{patient}/{patient}_{slice}", "anna/anna_07", "anna"),
        ("{patient}/{id}", "anna/left/07", "anna"),
        ("{patient}", "anna", "anna"),
        ("*-{side}", "07-left", "left"),
        ("{patient} (1)+[x]/{slice}", "anna (1)+[x]/07", "anna"),
        ("{größe}/{n}", "ä/07", "ä"),
        ("cafe\u0301/{who}", "caf\u00e9/anna", "anna"),  # ids are composed, NFC
    ],
)
def test_the_group_is_every_name_but_the_last(pattern: str, name: str, group: str) -> None:
    assert by_pattern(pattern, [name]) == {name: group}


@pytest.mark.parametrize("pattern", ["{patient}/x", "{patient}", "p_{patient}/{slice}"])
def test_an_id_that_does_not_fit_is_named_with_the_pattern(pattern: str) -> None:
    with pytest.raises(lossbench.InputError) as caught:
        lossbench.evaluate(MAPS, MASKS, "dice", group_by=pattern)
    assert "'anna/00'" in str(caught.value)
    assert repr(pattern) in str(caught.value)


@pytest.mark.parametrize("pattern", ["*", "{patient", "{}/{slice}", "{1}/*", "p}/{slice}"])
def test_a_pattern_without_names_is_refused(pattern: str) -> None:
    with pytest.raises(lossbench.SettingError, match=r"--group-by .*\{patient\}/\{slice\}"):
        lossbench.evaluate(MAPS, MASKS, "dice", group_by=pattern)


@pytest.mark.parametrize(
    ("text", "columns"),
    [("patient", ("patient",)), ("site, patient", ("site", "patient")), (BY_PATIENT, ())],
)
def test_bare_words_are_columns(text: str, columns: tuple[str, ...]) -> None:
    assert manifest_columns(text) == columns


@pytest.mark.parametrize("text", ["", "site,", ",", " "])
def test_an_empty_column_is_refused(text: str) -> None:
    with pytest.raises(lossbench.SettingError, match="--group-by"):
        manifest_columns(text)


def test_a_column_needs_a_manifest() -> None:
    with pytest.raises(lossbench.SettingError, match="--manifest"):
        lossbench.evaluate(MAPS, MASKS, "dice", group_by="patient")


def test_two_groups_never_share_a_name() -> None:
    names = GroupNames()
    assert names.of(("a", "b/c")) == "a/b/c"
    assert names.of(("a", "b/c")) == "a/b/c"
    with pytest.raises(lossbench.InputError, match="a/b/c"):
        names.of(("a/b", "c"))


# Aggregates


LOSSES = ["dice", "iou", "bce", "both = dice + 0.5*bce"]


@pytest.fixture(scope="module")
def result() -> lossbench.results.result.Result:
    return lossbench.evaluate(MAPS, MASKS, LOSSES, task="binary", group_by=BY_PATIENT)


def test_samples_know_their_group(result: lossbench.results.result.Result) -> None:
    assert result.groups == PATIENTS
    assert result.ids == IDS


def test_aggregates_of_a_group_are_those_of_pandas(result: lossbench.results.result.Result) -> None:
    assert list(result.group_aggregates) == ["anna", "ben", "cleo", "dora"]
    for name in result.values:
        for group, values in frame(result).groupby("patient")[name]:
            check_equal(result.group_aggregates[str(group)][name], pd.Series(aggregated(values)))


def test_aggregates_over_groups_are_those_of_pandas(
    result: lossbench.results.result.Result,
) -> None:
    for name in result.values:
        means = frame(result).groupby("patient")[name].mean()
        check_equal(result.over_groups[name], pd.Series(aggregated(means)))


def test_an_undefined_group_mean_is_counted_and_left_out(
    result: lossbench.results.result.Result,
) -> None:
    assert math.isnan(result.group_aggregates["cleo"]["dice"]["mean"])
    assert result.group_aggregates["ben"]["dice"]["undefined"] == 1
    assert result.over_groups["dice"]["undefined"] == 1
    assert result.over_groups["dice"]["count"] == 3
    assert "pooled" not in result.over_groups["dice"]


def test_classes_have_aggregates_of_their_own() -> None:
    found = lossbench.evaluate(LABELS, TRUTH, "dice", classes="a,b,c", group_by=BY_PATIENT)
    for place, of_class in enumerate("abc"):
        table = frame(found).assign(dice=found.values["dice"].classes[place])
        by_patient = table.groupby("patient")["dice"]
        check_equal(
            found.class_over_groups["dice"][of_class], pd.Series(aggregated(by_patient.mean()))
        )
        for group, values in by_patient:
            tables = found.group_class_aggregates[str(group)]["dice"]
            check_equal(tables[of_class], pd.Series(aggregated(values)))


PIXELS: dict[str, tuple[Any, Any, list[str], dict[str, Any]]] = {
    "tables": (MAPS, MASKS, LOSSES, {"task": "binary"}),
    "labels": (LABELS, TRUTH, ["dice", "iou", "cross_entropy"], {"classes": "a,b,c"}),
    "pixels": (LOGITS, MASKS, LOSSES, {"task": "binary"}),
    "images": (MAPS, MAPS | MASKS, ["l1", "l2"], {"task": "image"}),
}


@pytest.mark.parametrize("kind", PIXELS)
def test_pooled_in_a_group_is_the_value_of_its_pixels_as_one_sample(kind: str) -> None:
    pred, truth, losses, how = PIXELS[kind]
    found = lossbench.evaluate(pred, truth, losses, group_by=BY_PATIENT, **how)
    for group in found.group_indices:
        ids = [name for name in IDS if name.startswith(group)]
        one = [np.concatenate([side[name] for name in ids])[None] for side in (pred, truth)]
        alone = lossbench.evaluate(*one, losses, **how)
        for name in found.values:
            pooled = found.group_aggregates[group][name]["pooled"]
            tolerance = 1e-14 if kind == "pixels" else 0  # sums of floats, rounded in two steps
            assert pooled == pytest.approx(
                alone.values[name].samples[0], rel=tolerance, abs=0, nan_ok=True
            )
            if kind == "labels":
                tables = found.group_class_aggregates[group][name]
                classes = [tables[of_class]["pooled"] for of_class in "abc"]
                assert classes == [row[0] for row in alone.values[name].classes]


@pytest.mark.parametrize("kind", ["labels", "pixels"])
def test_pooled_in_a_group_uses_the_weights_of_the_whole_data(kind: str) -> None:
    """The weights are N/(K·n_c), worked out here from all ground truth."""
    pred, truth, _, how = PIXELS[kind]
    loss = "dice" if kind == "labels" else "bce"
    counts = np.bincount(np.concatenate([truth[name].ravel() for name in IDS]))
    weights = counts.sum() / (len(counts) * counts)
    if kind == "pixels":
        weights = counts.sum() / counts[1:]
    spelled = f"{loss}(class_weights=[{', '.join(map(repr, weights.tolist()))}])"
    automatic = f"{loss}(class_weights=auto)"
    found = lossbench.evaluate(pred, truth, [automatic, spelled], group_by=BY_PATIENT, **how)
    for tables in found.group_aggregates.values():
        both = [tables[name]["pooled"] for name in (automatic, spelled)]
        assert both[0] == pytest.approx(both[1], rel=1e-12, nan_ok=True)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(PIXELS)), st.lists(st.integers(0, 11), min_size=1, unique=True))
def test_one_group_is_the_whole(kind: str, places: list[int]) -> None:
    pred, truth, losses, how = PIXELS[kind]
    sides = [{f"all/{n}": side[IDS[n]] for n in places} for side in (pred, truth)]
    if kind != "images":
        how = how | {"gt_encoding": "labels" if kind == "labels" else "mask"}
    found = lossbench.evaluate(*sides, losses, group_by=BY_PATIENT, **how)
    assert repr(found.group_aggregates["all"]) == repr(found.aggregates)
    assert repr(found.group_class_aggregates["all"]) == repr(found.class_aggregates)
    for name, over in found.over_groups.items():
        assert repr(over["max"]) == repr(found.aggregates[name]["mean"])
        assert over["count"] + over["undefined"] == 1


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(12)), st.integers(1, 5), st.integers(1, 3))
def test_groups_do_not_depend_on_order_batch_or_workers(
    order: list[int], batch_size: int, workers: int
) -> None:
    """Groups lie in one another here: 00/a, 01/b, 02/a, … by the last name."""
    ids = [f"{n:02}/{'abc'[n % 3]}" for n in range(12)]
    sides = [dict(zip(ids, side.values(), strict=True)) for side in (MAPS, MASKS)]

    def text(order: list[int], **how: Any) -> str:
        given = [{ids[n]: side[ids[n]] for n in order} for side in sides]
        found = lossbench.evaluate(*given, LOSSES, task="binary", group_by="*/{eye}", **how)
        return json.dumps(found.as_json() | {"session": None})

    assert text(order, batch_size=batch_size, workers=workers) == text(list(range(12)))


def test_a_pool_is_dropped_when_its_group_has_been_read(monkeypatch: Any) -> None:
    ids = [f"{patient:02}/{n}" for patient in range(20) for n in range(3)]
    sides = [dict.fromkeys(ids, side["anna/00"]) for side in (MAPS, MASKS)]
    run = lossbench.plan(*sides, "dice", task="binary", group_by=BY_PATIENT, batch_size=4)
    pools: list[int] = []
    count = GroupAccumulators._count

    def counted(self: GroupAccumulators, read: Counter[str]) -> None:
        count(self, read)
        pools.append(len(self.pools))

    monkeypatch.setattr(GroupAccumulators, "_count", counted)
    run.evaluate()
    assert len(pools) >= 15  # 60 pairs, 4 at a time
    assert max(pools) == 1


# Samples that are missing or fail


def without(side: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: array for name, array in side.items() if name not in names}


def test_a_missing_prediction_counts_in_its_group() -> None:
    found = lossbench.evaluate(
        without(MAPS, "dora/08"), MASKS, "dice", missing="worst", group_by=BY_PATIENT
    )
    assert found.groups == PATIENTS
    tables = {group: table["dice"] for group, table in found.group_aggregates.items()}
    assert tables["dora"]["max"] == 1.0
    assert tables["dora"]["count"] == 4
    assert math.isnan(tables["dora"]["pooled"])  # the worst possible pixels are not known
    assert tables["anna"]["pooled"] > 0


def test_a_group_without_any_prediction_is_the_worst_one() -> None:
    found = lossbench.evaluate(
        without(MAPS, "cleo/07"), MASKS, "dice", missing="worst", group_by=BY_PATIENT
    )
    assert found.group_aggregates["cleo"]["dice"]["mean"] == 1.0
    assert found.over_groups["dice"]["max"] == 1.0


def test_a_missing_id_need_not_fit_where_it_is_no_sample() -> None:
    truth = MASKS | {"odd": MASKS["anna/00"]}
    found = lossbench.evaluate(MAPS, truth, "dice", missing="skip", group_by=BY_PATIENT)
    assert found.groups == PATIENTS
    with pytest.raises(lossbench.InputError, match="'odd'"):
        lossbench.evaluate(MAPS, truth, "dice", missing="worst", group_by=BY_PATIENT)


def test_a_group_that_cannot_be_read_is_no_group(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    files = [{f"{name}.png": side[name] * 255 for name in IDS} for side in (MASKS, MASKS)]
    pred, truth = folder("pred", files[0]), folder("gt", files[1])
    (pred / "anna/00.png").write_bytes(b"no picture")
    (pred / "cleo/07.png").write_bytes(b"no picture")
    found = lossbench.evaluate(pred, truth, "dice", gt_encoding="mask", group_by=BY_PATIENT)
    assert list(found.group_aggregates) == ["anna", "ben", "dora"]
    assert found.group_aggregates["anna"]["dice"]["count"] == 1
    assert len(found.failed) == 2
    assert found.exit_status == 3


# Gates


def decide(*gates: str, **how: Any) -> list[tuple[float, bool]]:
    found = lossbench.evaluate(LABELS, TRUTH, "dice", classes="a,b,c", gates=gates, **how)
    return [(decision.value, decision.passed) for decision in found.decisions]


def test_gates_judge_what_pandas_finds_over_groups() -> None:
    found = lossbench.evaluate(LABELS, TRUTH, "dice", classes="a,b,c")
    table = frame(found).assign(b=found.values["dice"].classes[1])
    means = table.groupby("patient")[["dice", "b"]].mean()
    expected = [
        means["dice"].mean(), means["dice"].max(), means["b"].quantile(0.95),
        means["b"].std(), 4, 0,
    ]  # fmt: skip
    gates = ["dice.group_mean <= 1", "dice.group_max <= 0.1", "dice[b].group_p95 < 1",
             "dice[b].group_std < 1", "dice.group_count == 4",
             "dice.group_undefined == 0"]  # fmt: skip
    decided = decide(*gates, group_by=BY_PATIENT)
    assert [value for value, _ in decided] == pytest.approx(expected, rel=1e-12)
    assert [passed for _, passed in decided] == [True, False, True, True, True, True]


@pytest.mark.parametrize(
    ("gate", "how", "words"),
    [
        ("dice.group_mean <= 1", {}, "--group-by"),
        ("dice.group_mean >= 0.5", {"group_by": BY_PATIENT}, "write `<=`"),
        ("dice[a].group_max > 0.5", {"group_by": BY_PATIENT}, "write `<`"),
        ("dice.group_maen <= 1", {"group_by": BY_PATIENT}, "'group_mean'"),
        ("dice.group_pooled <= 1", {"group_by": BY_PATIENT}, "no aggregate"),
        ("dice.group_mean <= baseline", {"group_by": BY_PATIENT}, "--baseline"),
    ],
)
def test_wrong_gates_are_refused(gate: str, how: dict[str, Any], words: str) -> None:
    with pytest.raises(lossbench.SettingError, match=words):
        decide(gate, **how)


def test_a_gate_compares_with_the_groups_of_a_baseline() -> None:
    gates = ["dice.group_max <= baseline", "dice[b].group_mean < baseline + 0.1"]
    earlier = lossbench.evaluate(LABELS, TRUTH, "dice", classes="a,b,c", group_by=BY_PATIENT)
    (worst, same), (_, below) = decide(*gates, group_by=BY_PATIENT, baseline=earlier)
    assert (same, below) == (True, True)
    assert worst == earlier.over_groups["dice"]["max"]


def test_a_baseline_without_groups_is_refused() -> None:
    earlier = lossbench.evaluate(LABELS, TRUTH, "dice", classes="a,b,c")
    with pytest.raises(lossbench.SettingError, match=r"baseline has no dice\.group_max"):
        decide("dice.group_max <= baseline", group_by=BY_PATIENT, baseline=earlier)


# Files and tables


def test_the_result_file_holds_groups() -> None:
    found = lossbench.evaluate(LABELS, TRUTH, "dice", classes="a,b,c", group_by=BY_PATIENT)
    file = json.loads(lossbench.render(found, "json"))
    assert file["run"]["settings"]["group_by"] == BY_PATIENT
    table = pd.DataFrame(file["samples"])
    assert table["group"].tolist() == PATIENTS
    means = table.groupby("group")["dice"].mean()
    assert list(file["groups"]) == means.index.tolist()
    for group, mean in means.items():
        assert file["groups"][group]["dice"]["mean"] == pytest.approx(mean, rel=1e-12)
        assert set(file["groups"][group]["dice"]["classes"]) == set("abc")
    over = file["aggregate"]["dice"]["groups"]
    assert over["max"] == pytest.approx(means.max(), rel=1e-12)
    assert over["classes"]["a"]["count"] == 4
    plain = json.loads(lossbench.render(found, "json", per_class=False))
    assert "classes" not in plain["groups"]["anna"]["dice"]
    assert "classes" not in plain["aggregate"]["dice"]["groups"]


def test_without_groups_the_result_file_has_none() -> None:
    found = lossbench.evaluate(LABELS, TRUTH, "dice")
    file = found.as_json()
    assert found.groups is None
    assert "groups" not in file
    assert "groups" not in file["aggregate"]["dice"]
    assert "group" not in file["samples"][0]


def test_a_loss_cannot_take_the_name_of_the_group() -> None:
    with pytest.raises(lossbench.SettingError, match="'group'"):
        lossbench.evaluate(MAPS, MASKS, "group = dice", group_by=BY_PATIENT)


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells below a heading, up to the next empty line."""
    lines = [*text.splitlines(), ""]
    start = next(n for n, line in enumerate(lines) if line.startswith(heading))
    end = lines.index("", start)
    return [line.split() for line in lines[start + 2 : end]]


def test_the_table_shows_the_worst_groups_first(result: lossbench.results.result.Result) -> None:
    means = frame(result).groupby("patient")["iou"].mean()
    order = means.sort_values().index.tolist()  # higher is better; undefined last
    text = lossbench.render(result, sort="iou", aggregates="all")
    found = rows(text, "group ")
    assert [row[0] for row in found] == order
    assert [row[1] for row in found] == [str(PATIENTS.count(group)) for group in order]
    assert found[0][3] == f"{means.min():.4f}"
    assert found[-1][3] == "–"
    assert "12 pairs · 4 groups" in text
    over = {row[0]: row[2] for row in rows(text, "aggregate ")}
    assert over["group_mean"] == f"{means.mean():.4f}"
    assert over["group_min"] == f"{means.min():.4f}"
    assert over["group_undefined"] == "1"


def test_top_limits_groups_too(result: lossbench.results.result.Result) -> None:
    assert len(rows(lossbench.render(result, top=2), "group ")) == 2
    assert len(rows(lossbench.render(result, top=None), "group ")) == 4
    assert "\ngroup " not in lossbench.render(result, top=0)


def test_names_of_groups_are_no_markup() -> None:
    sides = [
        dict(zip(["[red]x/1", "a\x1b[1m/2", "ß/3"], side.values(), strict=False))
        for side in (MAPS, MASKS)
    ]
    text = lossbench.render(lossbench.evaluate(*sides, "dice", group_by=BY_PATIENT))
    assert {row[0] for row in rows(text, "group ")} == {"[red]x", r"a\x1b[1m", "ß"}


Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_command_ends_with_1_where_the_worst_group_is_too_bad(
    lossbench_command: Command, tmp_path: Path
) -> None:
    gates = ["--gate", "dice.group_mean <= 0.25", "--gate", "dice.group_max <= 0.3"]
    done = lossbench_command(
        "eval", *BINARY, "-l", "dice", "--group-by", "{plate}/{well}", *gates, "-q",
        "-o", tmp_path / "r.json",
    )  # fmt: skip
    assert done.returncode == 1
    samples = pd.DataFrame(json.loads((tmp_path / "r.json").read_text())["samples"])
    worst = samples.groupby(samples["id"].str.slice(0, 7))["dice"].mean().max()
    assert done.stderr == f"gate failed: dice.group_max {worst:.4g} > 0.3\n"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--gate", "dice.group_mean <= 1"], 2, "--group-by"),
        (["--group-by", "plate"], 2, "--manifest"),
        (["--group-by", "{plate"], 2, "'{plate'"),
        (["--group-by", "{a}/{b}/{c}"], 3, "'plate_a/01'"),
    ],
)
def test_mistakes_are_one_sentence(
    lossbench_command: Command, arguments: list[str], status: int, words: str
) -> None:
    done = lossbench_command("eval", *BINARY, *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr


def test_a_baseline_of_other_groups_is_noted(lossbench_command: Command, tmp_path: Path) -> None:
    file = tmp_path / "base.json"
    common = ["eval", *BINARY, "-l", "dice"]
    lossbench_command(*common, "-q", "--group-by", "{plate}/*", "-o", file)
    gate = ["--baseline", file, "--gate", "dice.group_mean < baseline + 0.5"]
    other = lossbench_command(*common, "--group-by", "*/{well}", *gate)
    same = lossbench_command(*common, "--group-by", "{plate}/{well}", *gate)
    assert "the baseline has different groups" in other.stderr
    assert "the baseline has" not in same.stderr


def test_a_driver_without_a_gpu_closes_what_workers_with_one_evaluated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def workers(run: Any, ranges: Any, groups: Any, stamped: bool, *rest: Any) -> Any:
        settings = replace(run.settings, device="cpu", engine="local")
        return Pipeline(run.plan, run.terms, settings, groups, stamped).run(ranges, *rest)

    monkeypatch.setattr(dask_engine, "go_on_cluster", workers)
    rng = np.random.default_rng(0)
    pred = {name: rng.random((4, 4)) for name in ("a/1", "a/2", "b/1")}
    target = {name: rng.integers(0, 2, (4, 4)).astype(np.uint8) for name in pred}
    how: dict[str, Any] = {"task": "binary", "group_by": "{site}/{n}"}
    losses = ["bce", "bce(pos_weight=auto)"]
    wanted = lossbench.evaluate(pred, target, losses, **how)
    found = lossbench.evaluate(pred, target, losses, engine="dask", device="cuda", **how)
    assert found.over_groups == wanted.over_groups
    assert {name: each.pooled for name, each in found.values.items()} == {
        name: each.pooled for name, each in wanted.values.items()
    }
