"""Intervals against SciPy and an independent script; none leaves its range, and they cover."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from benchmarks.coverage import BETWEEN_ENDS, FROM_0, SIZES, coverage
from helpers.option_values import ENTRIES, option_sets, typed
from helpers.paths import SAMPLES
from helpers.references import intervals as reference
from helpers.tolerances import check_close
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import lossbench
from lossbench.catalog.columns import resolve
from lossbench.catalog.ranges import Range, value_range
from lossbench.results.aggregates import aggregate
from lossbench.results.intervals import (
    AUTO,
    BCA,
    FEWEST,
    MOST,
    RESAMPLES,
    SEED,
    IntervalRule,
    T,
    median_interval,
    median_rank,
    resampled_interval,
    student,
)

Command = Callable[..., CompletedProcess[str]]
INF = math.inf
EXACT = 1e-12
ROUNDING = 1e-9
RANGES = [(0, 1), (-1, 1), (0, 2), (-3, 7.5), (0, INF), (2, INF), (-INF, 1), (-INF, INF)]


def interval(values: Any, ends: Range = (0, 1), ci: str = AUTO) -> Range:
    table = aggregate(values, rule=IntervalRule(ends, ci, "dice"))
    return table["ci_low"], table["ci_high"]


def drawn(ends: Range, count: int, random: np.random.Generator) -> list[float]:
    """Skewed values in a range, some of them at its ends."""
    low, high = ends
    if math.isinf(low) and math.isinf(high):
        return random.normal(size=count).tolist()
    if math.isinf(high):
        values = low + random.gamma(0.5, size=count)
    elif math.isinf(low):
        values = high - random.gamma(0.5, size=count)
    else:
        values = low + (high - low) * random.beta(0.4, 2, count)
    end = low if math.isfinite(low) else high
    return np.where(random.random(count) < 0.2, end, values).tolist()


# Quantiles


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_quantile_of_students_t_is_scipys(confidence: float) -> None:
    freedoms = [*range(1, 1000), 10_000, 1_000_000]
    own = [student(freedom, confidence) for freedom in freedoms]
    assert own == pytest.approx(stats.t.ppf((1 + confidence) / 2, freedoms), rel=EXACT)


# The mean


@pytest.mark.parametrize("ends", RANGES)
@pytest.mark.parametrize("count", [2, 3, 12, 500])
def test_intervals_are_those_of_the_independent_script(ends: Range, count: int) -> None:
    values = drawn(ends, count, np.random.default_rng(count))
    check_close(interval(values, ends), reference.interval(values, *ends), ROUNDING)


def test_the_logit_interval_by_hand() -> None:
    # n = 2, mean 1/2, s/√n = 1/4: the logit is 0 ± t·(1/4)/(1/4), with t = tan(0.475·π).
    high = 1 / (1 + math.exp(-math.tan(0.475 * math.pi)))
    assert interval([0.25, 0.75]) == pytest.approx((1 - high, high), rel=EXACT)


def test_the_logarithmic_interval_by_hand() -> None:
    # n = 2, mean 3, s/√n = 1: 3·exp(± t/3); mirrored below a single upper end.
    t = math.tan(0.475 * math.pi)
    bounds = 3 * math.exp(-t / 3), 3 * math.exp(t / 3)
    assert interval([2, 4], (0, INF)) == pytest.approx(bounds, rel=EXACT)
    assert interval([-2, -4], (-INF, 0)) == pytest.approx((-bounds[1], -bounds[0]), rel=EXACT)


@pytest.mark.parametrize(
    ("values", "ends", "expected"),
    [
        ([0.0] * 5, (0, 1), (0, 3.841458820694124 / 8.841458820694124)),
        ([1.0] * 5, (-1, 1), (1 - 2 * 3.841458820694124 / 8.841458820694124, 1)),
        ([0.0] * 5, (0, INF), (0, 0)),
        ([1.0] * 2, (-INF, 1), (1, 1)),
        ([0.1] * 7, (0, 1), (0.1, 0.1)),
        ([0.1] * 7, (0, INF), (0.1, 0.1)),
        ([0.1] * 7, (-INF, INF), (0.1, 0.1)),
        ([0.0] * 7, (0, 0), (0, 0)),  # 0*dice
    ],
)
def test_equal_values(values: list[float], ends: Range, expected: Range) -> None:
    assert interval(values, ends) == pytest.approx(expected, rel=EXACT, abs=0)


@pytest.mark.parametrize("ci", [AUTO, T, BCA])
@pytest.mark.parametrize("values", [[], [0.5], [math.nan, 1.0], [0.5, INF], [1.0, -INF]])
def test_too_few_and_infinite_values_have_no_interval(ci: str, values: list[float]) -> None:
    assert all(map(math.isnan, interval(values, (-INF, INF), ci)))


def test_a_value_outside_the_range_makes_the_interval_plain() -> None:
    values = [0.2, 0.4, 1.1]
    assert interval(values) == interval(values, ci=T) == interval(values, (-INF, INF))
    assert IntervalRule((0, 1)).method(0.2, 1.1, 3) == T


@st.composite
def columns(draw: st.DrawFn) -> lossbench.catalog.columns.Column:
    """A loss with any of its options, or arithmetic over such losses."""
    tasks = ("binary", "multiclass", "image")

    def loss() -> str:
        name = draw(st.sampled_from(sorted(ENTRIES)))
        sets = [each for task in tasks if task in ENTRIES[name].tasks
                for each in option_sets(name, task)]  # fmt: skip
        return typed(name, draw(st.sampled_from(sets or [{}])))

    number = st.sampled_from(["0.5", "2", "-1", "0", "3.25"])
    text = loss()
    for _ in range(draw(st.integers(0, 3))):
        other = draw(st.one_of(st.builds(loss), number))
        text = f"({text}) {draw(st.sampled_from('+-*/'))} ({other})"
    (column,) = resolve([text], {})
    return column


@given(columns(), st.booleans(), st.data())
def test_no_interval_leaves_its_range(column: Any, of_class: bool, data: st.DataObject) -> None:
    low, high = value_range(column, of_class=of_class)
    inside = st.floats(max(low, -1e6), min(high, 1e6))
    ends = [end for end in (low, high) if math.isfinite(end)]
    values = data.draw(st.lists(st.one_of(inside, *map(st.just, ends)), min_size=2, max_size=40))
    table = aggregate(values, rule=IntervalRule.of(column, AUTO, of_class=of_class))
    assert low <= table["ci_low"] <= table["ci_high"] <= high
    assert math.isclose(max(table["ci_low"], table["mean"]), table["mean"], rel_tol=EXACT)
    assert math.isclose(min(table["ci_high"], table["mean"]), table["mean"], rel_tol=EXACT)


@given(
    st.sampled_from(RANGES),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 1e300),
    st.integers(2, 10**6),
)
def test_a_stored_mean_and_deviation_never_leave_the_range(
    ends: Range, mean: float, std: float, count: int
) -> None:
    mean = min(max(mean, ends[0]), ends[1])
    low, high = IntervalRule(ends).from_moments(mean, mean, mean, std, count)
    assert ends[0] <= low <= high <= ends[1]
    lowest, highest = max(ends[0], -1e300), min(ends[1], 1e300)
    low, high = IntervalRule(ends).from_moments(lowest, highest, mean, std, count)
    assert ends[0] <= low <= high <= ends[1]


# Coverage

REQUIRED = dict(zip(SIZES, (0.89, 0.89, 0.93, 0.94), strict=True))


@pytest.mark.parametrize("size", SIZES)
def test_intervals_cover_the_mean(size: int) -> None:
    found = [coverage(each, (0, 1), size, 2000)[AUTO] for each in BETWEEN_ENDS]
    assert np.mean(found) >= REQUIRED[size]
    of_both = [coverage(each, (0, INF), size, 1000) for each in FROM_0]
    assert all(each[AUTO] >= each[T] for each in of_both)


# The median


def test_the_median_interval_is_the_exact_binomial_one() -> None:
    counts = np.array([*range(1, 2000), 10_000, 99_999, 1_000_000])
    ranks = np.array([median_rank(int(count)) for count in counts])
    covered = 1 - 2 * stats.binom.cdf(ranks - 1, counts, 0.5)
    closer = 1 - 2 * stats.binom.cdf(ranks, counts, 0.5)
    assert (covered[ranks > 0] >= 0.95).all()
    assert (closer < 0.95).all()
    assert counts[ranks == 0].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("count", "rank"), [(6, 1), (9, 2), (20, 6), (100, 40)])
def test_the_bounds_of_the_median_are_values(count: int, rank: int) -> None:
    table = aggregate(np.random.default_rng(0).permutation(count) + 1.0)
    assert (table["median_ci_low"], table["median_ci_high"]) == (rank, count + 1 - rank)


def test_the_median_has_bounds_beside_infinite_values() -> None:
    assert median_interval([1.0, 2, 3, 4, 5, INF]) == (1, INF)
    assert all(map(math.isnan, median_interval([1.0, 2, 3, 4, 5])))


# The bootstrap


@pytest.mark.parametrize("count", [30, 57, 400])
@pytest.mark.parametrize("shape", [(8, 2), (0.3, 3)])
def test_the_bootstrap_is_scipys(count: int, shape: tuple[float, float]) -> None:
    values = np.sort(np.random.default_rng(count).beta(*shape, count))
    random = np.random.default_rng([SEED, *b"dice"])
    wanted = stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, rng=random)
    ends = wanted.confidence_interval
    assert interval(values, ci=BCA) == pytest.approx((ends.low, ends.high), rel=EXACT)


def test_resamples_follow_from_the_name_of_the_column() -> None:
    values = np.sort(np.random.default_rng(0).random(50))
    assert resampled_interval(values, "dice") == resampled_interval(values, "dice")
    assert resampled_interval(values, "dice") != resampled_interval(values, "iou")


@pytest.mark.parametrize("count", [FEWEST - 1, MOST + 1])
def test_too_few_or_too_many_values_are_not_resampled(count: int) -> None:
    values = np.random.default_rng(0).random(count)
    assert interval(values, ci=BCA) == interval(values)


# Results

ROLES = {
    "style": ["--input", f"style={SAMPLES / 'style' / 'style'}"],
    "multilabel": [],
}
FOLDERS = {
    "binary": "binary", "ci-gate": "binary", "multiclass": "multiclass",
    "multilabel": "multilabel", "medical": "medical", "restoration": "image",
    "perceptual": "image", "style": "style", "adversarial": "adversarial",
    "detection": "detection",
}  # fmt: skip


def evaluated(command: Command, *arguments: Any) -> dict[str, Any]:
    done = command("eval", *arguments, "-f", "json")
    assert done.returncode == 0, done.stderr
    model: dict[str, Any] = json.loads(done.stdout)
    return model


def folders(name: str) -> list[Path]:
    sides = ("results.json", "instances.json") if name == "detection" else ("pred", "gt")
    return [SAMPLES / name / side for side in sides]


def check_tables(rows: Any) -> int:
    count = 0
    for name, table, values in rows:
        count += 1
        own = [math.nan if table[end] is None else table[end] for end in ("ci_low", "ci_high")]
        check_close(own, reference.interval(values, *reference.ENDS[name]), ROUNDING, name)
    return count


@pytest.mark.parametrize("preset", FOLDERS)
def test_intervals_of_presets_follow_from_the_samples(
    preset: str, lossbench_command: Command
) -> None:
    model = evaluated(
        lossbench_command, *folders(FOLDERS[preset]), *ROLES.get(preset, []), "-c", preset
    )
    assert check_tables(reference.tables(model)) >= len(model["run"]["losses"])
    for loss in model["run"]["losses"]:
        ends = reference.ENDS[loss["name"]]
        assert loss["interval"] == reference.METHODS[sum(map(math.isfinite, ends))]


def test_intervals_of_groups_follow_from_the_samples(lossbench_command: Command) -> None:
    model = evaluated(lossbench_command, *folders("binary"), "-c", "binary", "--group-by",
                      "{plate}/{image}")  # fmt: skip
    assert check_tables(reference.over_groups(model)) > 2 * len(model["run"]["losses"])


def test_bca_of_a_few_values_is_as_auto_and_says_so(lossbench_command: Command) -> None:
    plain = evaluated(lossbench_command, *folders("binary"), "-l", "dice")
    done = lossbench_command("eval", *folders("binary"), "-l", "dice", "--ci", "bca", "-f", "json")
    assert json.loads(done.stdout)["aggregate"] == plain["aggregate"]
    assert json.loads(done.stdout)["run"]["losses"][0]["interval"] == "logit"
    assert (
        "note: --ci bca resamples 30 to 100,000 values that differ, and dice has 11 values: its"
        " interval is as with --ci auto" in done.stderr
    )
    assert (
        "--ci bca" not in lossbench_command("eval", *folders("binary"), "--ci", "bca", "-q").stderr
    )


# 40 pairs of masks with Dice scores from 0.2 to 0.95.
COLUMNS = np.arange(40)
TRUTHS = {f"{n:02}": np.ones((1, 40), np.uint8) for n in range(40)}
PREDICTIONS = {f"{n:02}": (COLUMNS[None] < 5 + (7 * n) % 34).astype(np.uint8) for n in range(40)}


@pytest.mark.parametrize("ci", [AUTO, T, BCA])
def test_every_method_is_named_and_used(ci: str) -> None:
    result = lossbench.evaluate(PREDICTIONS, TRUTHS, "dice", ci=ci)
    (loss,) = result.as_json()["run"]["losses"]
    assert loss["interval"] == {AUTO: "logit", T: "t", BCA: "bca"}[ci]
    table, values = result.aggregates["dice"], np.sort(result.values["dice"].column)
    wanted = {
        AUTO: reference.interval(values, 0, 1),
        T: reference.interval(values, -INF, INF),
        BCA: resampled_interval(values, "dice"),
    }
    check_close((table["ci_low"], table["ci_high"]), wanted[ci], ROUNDING)


def test_groups_of_a_few_values_are_counted_in_a_note() -> None:
    pred, gt = ({f"{'ab'[int(name) > 34]}/{name}": each for name, each in side.items()}
                for side in (PREDICTIONS, TRUTHS))  # fmt: skip
    result = lossbench.evaluate(pred, gt, "dice", ci=BCA, group_by="{group}/{id}")
    (note,) = result.interval_notes()
    # Group b has five values, and there are two group means; each also of the only class.
    assert "2 means of classes or groups have an interval as with --ci auto" in note


# Gates and baselines

PERFECT = {name: TRUTHS[name] for name in ("00", "01", "02", "03", "04")}


@pytest.mark.parametrize(
    ("gate", "value"), [("dice.ci_high <= 0.1", 0.0), ("iou.ci_low >= 0.9", 1.0)]
)
def test_values_at_the_good_end_are_judged_there(gate: str, value: float) -> None:
    result = lossbench.evaluate(PERFECT, PERFECT, gates=gate)
    (decision,) = result.decisions
    assert (decision.value, decision.passed, decision.at_end) == (value, True, True)
    assert "all values lie at this end, which is judged in place of the interval" in str(decision)
    assert result.as_json()["gates"][0]["at_end"] is True
    name = gate.partition(".")[0]
    assert result.aggregates[name]["ci_high"] - result.aggregates[name]["ci_low"] > 0.4


@pytest.mark.parametrize("gate", ["dice.mean <= 0.1", "dice.median_ci_high < 1"])
def test_other_quantities_are_judged_as_they_are(gate: str) -> None:
    (decision,) = lossbench.evaluate(TRUTHS, TRUTHS, gates=gate).decisions
    assert (decision.value, decision.passed, decision.at_end) == (0, True, False)


def test_values_at_the_bad_end_are_judged_by_their_interval() -> None:
    wrong = {name: 1 - each for name, each in PERFECT.items()}
    (decision,) = lossbench.evaluate(wrong, PERFECT, gates="dice.ci_low <= 0.9").decisions
    assert decision.value == pytest.approx(5 / (5 + 3.841458820694124))
    assert not decision.at_end


def stored(path: Path, changes: Mapping[str, Any]) -> None:
    model = json.loads(path.read_text())
    model["aggregate"]["dice"] |= changes
    for name in ("median_ci_low", "median_ci_high"):
        del model["aggregate"]["dice"][name]
    del model["run"]["losses"][0]["interval"]
    path.write_text(json.dumps(model))


@pytest.mark.parametrize("ci", [AUTO, T, BCA])
def test_bounds_of_an_older_baseline_are_recomputed(ci: str, tmp_path: Path) -> None:
    path = tmp_path / "earlier.json"
    lossbench.save(lossbench.evaluate(PREDICTIONS, TRUTHS, "dice"), str(path))
    stored(path, {"ci_low": -7, "ci_high": 7})
    gates = ["dice.ci_high <= baseline", "dice.ci_low <= baseline"]
    result = lossbench.evaluate(PREDICTIONS, TRUTHS, "dice", gates=gates, baseline=path, ci=ci)
    values = np.sort(result.values["dice"].column)
    low, high = reference.interval(values, *((-INF, INF) if ci == T else (0, 1)))
    assert [each.bound for each in result.decisions] == pytest.approx([high, low], rel=ROUNDING)
    assert all(each.passed for each in result.decisions) is (ci != BCA)


def test_resampled_bounds_of_a_baseline_stay(tmp_path: Path) -> None:
    path = str(tmp_path / "earlier.json")
    lossbench.save(lossbench.evaluate(PREDICTIONS, TRUTHS, "dice", ci=BCA), path)
    result = lossbench.evaluate(
        PREDICTIONS, TRUTHS, "dice", ci=BCA, gates="dice.ci_high <= baseline", baseline=path
    )
    assert result.decisions[0].value == result.decisions[0].bound
    other = lossbench.evaluate(
        PREDICTIONS, TRUTHS, "dice", gates="dice.ci_high <= baseline", baseline=path
    )
    assert other.decisions[0].value == other.decisions[0].bound


def test_an_older_baseline_has_no_interval_of_the_median(tmp_path: Path) -> None:
    path = tmp_path / "earlier.json"
    lossbench.save(lossbench.evaluate(PREDICTIONS, TRUTHS, "dice"), str(path))
    stored(path, {})
    with pytest.raises(lossbench.SettingError, match="another version"):
        lossbench.evaluate(
            PREDICTIONS, TRUTHS, "dice", gates="dice.median_ci_high <= baseline", baseline=path
        )


def test_shards_with_other_methods_are_merged(lossbench_command: Command, tmp_path: Path) -> None:
    parts = [tmp_path / f"{index}.json" for index in (1, 2)]
    side = [tmp_path / name for name in ("pred", "gt")]
    for path, arrays in zip(side, (PREDICTIONS, TRUTHS), strict=True):
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array)
    more = ("-l", "dice", "--ci", "bca")
    for index, part in enumerate(parts, 1):
        lossbench_command("eval", *side, *more, "-q", "--shard", f"{index}/2", "-o", part)
    merged = lossbench_command("merge", *parts, "-f", "json")
    whole = json.loads(merged.stdout)
    assert whole["aggregate"] == evaluated(lossbench_command, *side, *more)["aggregate"]
    assert [json.loads(p.read_text())["run"]["losses"][0]["interval"] for p in parts] == [
        "logit"
    ] * 2
    assert whole["run"]["losses"][0]["interval"] == "bca"
