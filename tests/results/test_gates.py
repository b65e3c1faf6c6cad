"""Gates: decided once, on the unrounded value, and told in numbers that show why."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lossbench
from lossbench.errors import SettingError
from lossbench.results.gates import GateDecision, comparable_texts, passes

NAN, INF = math.nan, math.inf
TRUTH = np.array([[1, 1, 1, 1, 0, 0, 0, 0]], np.uint8)


def hit(pixels: int) -> Any:
    """A prediction of as many pixels as TRUTH has, some of them right: dice is 1 - pixels/4."""
    return np.roll(TRUTH, 4 - pixels, axis=1)


def evaluate(gates: Any, losses: Any = "dice", hits: Any = (2, 3), **how: Any) -> Any:
    pred = {f"{number}": hit(pixels) for number, pixels in enumerate(hits)}
    return lossbench.evaluate(pred, dict.fromkeys(pred, TRUTH), losses, gates=gates, **how)


def decided(gate: str, *args: Any, **how: Any) -> GateDecision:
    (decision,) = evaluate(gate, *args, **how).decisions
    return decision


@pytest.mark.parametrize(
    ("value", "compare", "bound", "holds"),
    [
        (0.1, "<=", 0.1, True),
        (0.1, "<", 0.1, False),
        (0.1, ">=", 0.1, True),
        (0.1, ">", 0.1, False),
        (0.1, "==", 0.1, True),
        (0.1, "!=", 0.1, False),
        (0.1 + 0.2, "<=", 0.3, False),
        (0.0, "==", -0.0, True),
        (INF, ">=", 20, True),
        (INF, "<=", 20, False),
        (-INF, "<=", 20, True),
        (INF, "<=", INF, True),
        (INF, "==", INF, True),
        (20, "<", INF, True),
    ],
)
def test_a_comparison_is_that_of_the_numbers(
    value: float, compare: str, bound: float, holds: bool
) -> None:
    assert passes(value, compare, bound) is holds


@pytest.mark.parametrize("compare", ["<", "<=", ">", ">=", "==", "!="])
def test_an_undefined_side_never_passes(compare: str) -> None:
    assert not passes(NAN, compare, 1.0)
    assert not passes(1.0, compare, NAN)
    assert not passes(NAN, compare, NAN)


@pytest.mark.parametrize(
    ("value", "bound", "shown"),
    [
        (0.14996, 0.1499, ("0.14996", "0.1499")),
        (0.226, 0.1, ("0.226", "0.1")),
        (0.1 + 0.2, 0.3, ("0.30000000000000004", "0.3")),
        (0.15, 0.15, ("0.15", "0.15")),
        (12, 0, ("12", "0")),
        (INF, 30, ("inf", "30")),
    ],
)
def test_two_numbers_are_shown_with_enough_digits_to_tell_them_apart(
    value: float, bound: float, shown: tuple[str, str]
) -> None:
    assert comparable_texts(value, bound) == shown


@settings(max_examples=500, deadline=None)
@given(st.floats(-1e300, 1e300) | st.just(INF), st.floats(-3e-15, 3e-15), st.booleans())
def test_the_numbers_that_are_shown_compare_like_those_that_were_judged(
    value: float, step: float, near: bool
) -> None:
    bound = value * (1 + step) if near else step
    left, right = map(float, comparable_texts(value, bound))
    assert (left < right) == (value < bound)
    assert (left > right) == (value > bound)


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        (
            GateDecision("dice.mean <= 0.1499", 0.14996, "<=", 0.1499, False),
            "dice.mean 0.14996 > 0.1499",
        ),
        (GateDecision("iou.mean >= 0.8", 0.9, ">=", 0.8, True), "iou.mean 0.9 >= 0.8"),
        (GateDecision("iou.mean >= 0.8", 0.7, ">=", 0.8, False), "iou.mean 0.7 < 0.8"),
        (GateDecision("errors == 0", 2, "==", 0, False), "errors 2 != 0"),
        (GateDecision("x.max < 9", INF, "<", 9, False), "x.max inf >= 9"),
        (
            GateDecision("dice.mean <= 0.15", NAN, "<=", 0.15, False),
            "dice.mean is undefined; the gate requires <= 0.15",
        ),
        (
            GateDecision("dice.mean <= 0.1499999", NAN, "<=", 0.1499999, False),
            "dice.mean is undefined; the gate requires <= 0.1499999",
        ),
        (
            GateDecision('dice["a < b"].mean < 0.2', 0.3, "<", 0.2, False),
            'dice["a < b"].mean 0.3 >= 0.2',
        ),
    ],
)
def test_a_message_shows_the_quantity_the_direction_and_both_numbers(
    decision: GateDecision, message: str
) -> None:
    assert str(decision) == message


def test_a_missing_bound_of_the_baseline_is_told() -> None:
    message = str(GateDecision("dice.mean <= baseline", 0.5, "<=", NAN, False))
    assert "0.5" in message
    assert "baseline" in message
    assert "undefined" in message


def test_a_gate_is_decided_on_the_value_and_not_on_its_rounding() -> None:
    result = evaluate(["dice.mean <= 0.375", "dice.mean < 0.375"])
    assert result.aggregates["dice"]["mean"] == 0.375
    assert [decision.passed for decision in result.decisions] == [True, False]
    third = decided("part.mean <= 0.3333333333333333", "part = dice/3", hits=(0,))
    assert third.value == 1 / 3
    assert third.passed
    assert not decided("part.mean <= 0.333333333333333", "part = dice/3", hits=(0,)).passed


@pytest.mark.parametrize(
    ("gate", "status"),
    [("dice.mean <= 0.4", 0), ("dice.mean <= 0.3", 1), ("dice.max < 0.5", 1), ("iou.min > 0", 0)],
)
def test_a_failed_gate_is_status_1(gate: str, status: int) -> None:
    assert evaluate(gate).exit_status == status


def test_one_failed_gate_among_many_fails_the_run() -> None:
    result = evaluate(["dice.mean <= 0.4", "dice.max <= 0.1", "dice.count == 2"])
    assert [decision.passed for decision in result.decisions] == [True, False, True]
    assert result.exit_status == 1


def test_errors_outrank_failed_gates() -> None:
    pred = {"a": hit(2), "b": hit(2)[:, :5]}
    result = lossbench.evaluate(pred, dict.fromkeys(pred, TRUTH), "dice", gates="dice.mean <= 0")
    assert not result.decisions[0].passed
    assert result.exit_status == 3


def test_passing_gates_do_not_hide_errors() -> None:
    pred = {"a": hit(2), "b": hit(2)[:, :5]}
    result = lossbench.evaluate(pred, dict.fromkeys(pred, TRUTH), "dice", gates="dice.mean <= 1")
    assert result.decisions[0].passed
    assert result.exit_status == 3


def test_no_pairs_never_pass() -> None:
    pred = {"a": hit(2)[:, :5]}
    result = lossbench.evaluate(pred, dict.fromkeys(pred, TRUTH), "dice", gates="dice.count == 0")
    assert result.ids == []
    assert result.exit_status == 3


def test_an_undefined_mean_fails_whatever_was_asked_for() -> None:
    empty = {"a": np.zeros((2, 4), np.uint8)}
    for gate in ("dice.mean <= 1", "dice.mean == 1", "dice.mean != 1"):
        result = lossbench.evaluate(empty, empty, "dice", task="binary", gates=gate)
        assert not result.decisions[0].passed
        assert "undefined" in str(result.decisions[0])
        assert result.exit_status == 1


def test_undefined_values_can_be_counted_by_a_gate() -> None:
    pred = {"a": np.zeros_like(TRUTH), "b": hit(2)}
    truth = {"a": np.zeros_like(TRUTH), "b": TRUTH}
    failed = lossbench.evaluate(pred, truth, "dice", gates="dice.undefined == 0")
    assert str(failed.decisions[0]) == "dice.undefined 1 != 0"
    assert failed.exit_status == 1
    held = lossbench.evaluate(pred, truth, "dice(empty=0)", gates="dice(empty=0).undefined == 0")
    assert held.exit_status == 0


def test_infinity_passes_the_good_side_and_fails_the_bad_one() -> None:
    ratio = "ratio = iou/dice"  # of a perfect prediction it is infinite
    assert decided("ratio.mean >= 20", ratio, hits=(4, 2)).passed
    inverse = "miss = dice/iou"
    failed = decided("miss.mean <= 20", inverse, hits=(0, 2))
    assert not failed.passed
    assert str(failed) == "miss.mean inf > 20"
    assert decided("miss.infinite == 1", inverse, hits=(0, 2)).passed


def test_a_gate_adds_the_loss_that_it_names() -> None:
    result = evaluate("recall.mean >= 0.5")
    assert list(result.values) == ["dice", "recall"]
    assert result.decisions[0].value == pytest.approx(0.625)


USUAL_OF_MASKS = ["dice_score", "iou", "precision", "recall"]


def test_a_gate_adds_its_loss_to_the_usual_ones() -> None:
    result = evaluate("recall(threshold=0.25).min >= 0", losses=())
    assert list(result.values) == [*USUAL_OF_MASKS, "recall(threshold=0.25)"]


@pytest.mark.parametrize(
    ("losses", "gate"),
    [
        ("dice", "dice(smooth=0).mean <= 1"),
        ("dice", "dice(smooth=0.0, log=false).mean <= 1"),
        ("dice(smooth=0)", "dice.mean <= 1"),
        ("dice(smooth=1, squared=true)", "dice( squared=true,smooth=1.0 ).mean <= 1"),
        ("mae", "l1.mean <= 1"),
        ("l1", "mae.mean <= 1"),
        ("seg = dice(smooth=1)", "dice(smooth=1).mean <= 1"),
        ("seg = dice(smooth=1)", "seg.mean <= 1"),
        ("seg = 0.5*dice + 0.5*bce", "seg.mean <= 100"),
    ],
)
def test_a_gate_finds_its_column_by_name_or_by_what_it_computes(losses: str, gate: str) -> None:
    result = evaluate(gate, losses)
    assert len(result.values) == 1
    assert result.exit_status == 0


def test_a_gate_means_the_threshold_of_the_run() -> None:
    result = evaluate(["iou.mean >= 0", "iou(threshold=0.3).mean >= 0"], "iou", threshold=0.3)
    assert list(result.values) == ["iou"]
    other = evaluate("iou(threshold=0.5).mean >= 0", "iou", threshold=0.3)
    assert list(other.values) == ["iou", "iou(threshold=0.5)"]


def test_a_gate_judges_one_class() -> None:
    truth = np.array([[0, 0, 1, 1, 2, 2, 2, 2]], np.uint8)
    pred = np.array([[0, 0, 1, 1, 2, 2, 0, 0]], np.uint8)
    names = "sky,traffic light,a]b"
    gates = [
        "dice[traffic light].mean <= 0",
        "dice[sky].max <= 0.34",
        "dice['a]b'].mean <= 0.3",
        "iou['a]b'].pooled >= 0.5",
    ]
    result = lossbench.evaluate({"x": pred}, {"x": truth}, "dice", classes=names, gates=gates)
    assert [decision.passed for decision in result.decisions] == [True, True, False, True]
    assert str(result.decisions[2]) == "dice['a]b'].mean 0.3333 > 0.3"


def test_run_counts_can_be_gated(folder: Callable[..., Path]) -> None:
    mask = TRUTH * 255
    good = dict.fromkeys(["a.png", "b.png"], mask)
    pred = folder("pred", {**good, "cut.png": mask[:, :5], "extra.png": mask})
    target = folder("gt", {**good, "cut.png": mask, "gone.png": mask, "lost.png": mask})
    gates = ["evaluated == 2", "missing == 2", "extra <= 0", "extra == 1", "found == 3"]
    result = lossbench.evaluate(pred, target, "dice", gates=gates, extra="skip", missing="skip")
    assert [decision.passed for decision in result.decisions] == [True, True, False, True, True]
    assert [failed.id for failed in result.failed] == ["cut"]
    assert evaluate("errors == 0").exit_status == 0
    counted = lossbench.evaluate(pred, target, "dice", gates="errors == 0", missing="skip")
    assert not counted.decisions[0].passed


def test_a_missing_prediction_that_counts_as_worst_fails_a_bound(
    folder: Callable[..., Path],
) -> None:
    pred = folder("pred", {"a.png": TRUTH * 255})
    target = folder("gt", {"a.png": TRUTH * 255, "gone.png": TRUTH * 255})
    gates = ["bce.max <= 100", "dice.max <= 0.9", "iou.min >= 0.1", "iou.count == 2"]
    result = lossbench.evaluate(pred, target, "dice", missing="worst", gates=gates)
    assert [decision.value for decision in result.decisions] == [INF, 1, 0, 2]
    assert [decision.passed for decision in result.decisions] == [False, False, False, True]
    assert result.exit_status == 1


def test_the_result_file_holds_the_decisions() -> None:
    gates = ["dice.mean  <=  0.3", "dice.max <= 1/2"]
    model = evaluate(gates).as_json()["gates"]
    assert model == [
        {"gate": "dice.mean <= 0.3", "value": 0.375, "bound": 0.3, "passed": False},
        {"gate": "dice.max <= 1/2", "value": 0.5, "bound": 0.5, "passed": True},
    ]


def test_a_baseline_is_a_result_or_its_file(tmp_path: Path) -> None:
    baseline = evaluate((), "dice", hits=(2, 3))
    lossbench.save(baseline, tmp_path / "base.json")
    for earlier in (baseline, str(tmp_path / "base.json"), tmp_path / "base.json"):
        gates = ["dice.mean <= baseline + 0.2", "dice.mean <= baseline", "dice.max <= 1.5*baseline"]
        result = evaluate(gates, hits=(1, 3), baseline=earlier)
        assert [decision.bound for decision in result.decisions] == [0.575, 0.375, 0.75]
        assert [decision.passed for decision in result.decisions] == [True, False, True]
        assert str(result.decisions[1]) == "dice.mean 0.5 > 0.375"


def test_a_baseline_bounds_run_counts_and_classes_too() -> None:
    truth = {"x": np.array([[0, 1, 2, 2]], np.uint8)}
    baseline = lossbench.evaluate(truth, truth, "dice")
    worse = {"x": np.array([[0, 1, 2, 0]], np.uint8)}
    gates = ["evaluated >= baseline", "dice[1].mean <= baseline", "dice[2].mean <= baseline"]
    result = lossbench.evaluate(worse, truth, "dice", gates=gates, baseline=baseline)
    assert [decision.passed for decision in result.decisions] == [True, True, False]


def test_an_undefined_value_of_the_baseline_is_no_bound() -> None:
    nothing = {"a": TRUTH * 0, "b": TRUTH}
    baseline = lossbench.evaluate({"a": nothing["a"]}, {"a": nothing["a"]}, "dice", task="binary")
    with pytest.raises(
        SettingError, match=r"dice\.mean of the baseline is undefined; give a number"
    ):
        lossbench.evaluate(
            nothing, nothing, gates="dice.mean <= baseline", baseline=baseline, task="binary"
        )


def test_a_baseline_without_the_quantity_is_refused_before_anything_is_read() -> None:
    baseline = evaluate((), "dice")
    with pytest.raises(SettingError, match=r"baseline has no iou\.mean.*dice"):
        evaluate("iou.mean >= baseline", baseline=baseline)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"schema": 1}'])
def test_a_baseline_that_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "base.json"
    path.write_text(text)
    with pytest.raises(lossbench.LossbenchError, match=r"baseline .*base\.json"):
        evaluate("dice.mean <= baseline", baseline=str(path))


def test_a_baseline_whose_parts_are_missing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    aggregates = ({}, [], {"dice": None}, {"dice": {"mean": "half"}}, {"dice": {"mean": [1]}})
    for model in ({"aggregate": found} for found in aggregates):
        path.write_text(json.dumps(model))
        for gate in ("dice.mean <= baseline", "evaluated >= baseline"):
            with pytest.raises(lossbench.LossbenchError):
                evaluate(gate, baseline=str(path))


@pytest.mark.parametrize(
    ("gate", "losses", "words"),
    [
        ("dice.mean >= 0.2", "dice", "better when lower"),
        ("dice.mean > 0.2", "dice", "`>` would accept worse results; write `<`"),
        ("dice.p95 >= 0.2", "dice", "better when lower"),
        ("dice.pooled >= 0.2", "dice", "better when lower"),
        ("dice.ci_low >= 0.2", "dice", "better when lower"),
        ("iou.mean <= 0.8", "iou", "better when higher"),
        ("iou.min < 0.8", "iou", "better when higher"),
        ("score.mean <= 0.8", "score = 1 - dice", "better when higher"),
        ("score.mean <= 0.8", "score = -dice", "better when higher"),
        ("both.mean >= 0.8", "both = dice + bce", "better when lower"),
        ("gap.mean >= 0.8", "gap = dice - iou", "better when lower"),
        ("recall.mean <= 0.8", "dice", "better when higher"),
    ],
)
def test_a_bound_on_the_wrong_side_is_refused(gate: str, losses: str, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        evaluate(gate, losses)


@pytest.mark.parametrize(
    ("gate", "losses"),
    [
        ("dice.std >= 0", "dice"),
        ("dice.count >= 2", "dice"),
        ("dice.undefined >= 0", "dice"),
        ("dice.infinite <= 0", "dice"),
        ("dice.mean == 0.375", "dice"),
        ("dice.mean != 0.2", "dice"),
        ("mixed.mean >= 0", "mixed = dice + iou"),
        ("mixed.mean <= 2", "mixed = dice + iou"),
    ],
)
def test_a_side_is_only_wrong_for_a_value_with_a_direction(gate: str, losses: str) -> None:
    assert evaluate(gate, losses).exit_status == 0


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ("dicee.mean <= 1", "did you mean 'dice'"),
        ("dice(smoth=1).mean <= 1", "did you mean 'smooth'"),
        ("dice.mea <= 1", "did you mean 'mean'"),
        ("dice.mea <= 1", "p95"),
        ("dice <= 1", r"dice\.mean"),
        ("error == 0", "no loss is called 'error'"),
        ("dice.mean <= baseline", "needs --baseline RUN"),
        ("errors <= baseline", "needs --baseline RUN"),
        ("dice[road].mean <= 1", "binary task has no class"),
        ("accuracy.mean <= 1", "better when higher"),
    ],
)
def test_what_a_gate_names_must_be_there(gate: str, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        evaluate(gate)


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ("dice[rod].mean <= 1", "did you mean 'road'"),
        ("dice[rod].mean <= 1", "sky, road"),
        ("accuracy[road].mean >= 0", "accuracy has no class columns"),
    ],
)
def test_the_class_of_a_gate_must_be_there(gate: str, words: str) -> None:
    truth = {"x": np.array([[0, 1, 1, 0]], np.uint8)}
    with pytest.raises(SettingError, match=words):
        lossbench.evaluate(truth, truth, "dice", classes="sky,road", task="multiclass", gates=gate)


def test_a_wrong_gate_is_told_before_any_folder_is_opened() -> None:
    with pytest.raises(SettingError, match="better when lower"):
        lossbench.plan("no/pred", "no/gt", gates="dice.mean >= 0.2")


def test_the_baseline_is_asked_for_the_same_loss_however_it_was_called() -> None:
    masks = {"a": np.array([[0, 255]], np.uint8)}
    half = {"a": np.array([[0, 128]], np.uint8)}
    earlier = lossbench.evaluate(half, masks, ["x = bce", "y = dice(smooth=1)"])
    gates = ["dice(smooth=1.0).mean <= baseline"]
    [decision] = lossbench.evaluate(half, masks, gates=gates, baseline=earlier).decisions
    assert decision.passed
    assert decision.bound == earlier.aggregates["y"]["mean"]
    with pytest.raises(lossbench.SettingError, match="baseline has no"):
        lossbench.evaluate(half, masks, "x = dice", gates=["x.mean <= baseline"], baseline=earlier)


def test_a_missing_prediction_at_its_worst_cannot_pass_by_another_aggregate() -> None:
    masks = {name: np.array([[0, 255]], np.uint8) for name in "abc"}
    pred = {name: masks[name] for name in "ab"}
    gates = ["iou.pooled >= 0.5", "iou.min >= 0.5", "evaluated == 2", "missing == 1"]
    result = lossbench.evaluate(pred, masks, "iou", missing="worst", gates=gates)
    assert [decision.passed for decision in result.decisions] == [False, False, True, True]
    assert result.values["iou"].samples == [1, 1, 0]
