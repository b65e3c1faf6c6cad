"""Every loss of the catalogue against independent references, through the whole pipeline."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from helpers.option_values import ENTRIES, LOGITS, STRUCTURE
from helpers.random_samples import KINDS, NO_PIXEL, SAMPLES_DRAWN, Data, drawn, sample_data
from helpers.references import REFERENCES
from helpers.references.common import CLASSES, SEVERAL, TASKS, Row, Truth, each_class, together
from helpers.references.overlap import overlap_by_monai
from helpers.references.scores import score_by_sklearn
from helpers.tolerances import REFERENCE, SINGLE, check_close
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torch.nn import functional
from torchmetrics.functional import classification

import lossbench
from lossbench.interface.sample_batch import Input
from lossbench.views.confusion import Counts

NEEDS_ALL_TRUTH = {"weighted_bce"}  # test_balance.py has its reference
# Values that belong to a sample, so that there is none of all samples as one.
NEVER_POOLED = {"balanced_bce", "ohem_cross_entropy", "bootstrapped_cross_entropy",
                "exp_log"}  # fmt: skip


def typed(name: str, row: Row) -> str:
    return f"{name}({row.options})" if row.options else name


# --- the harness ----------------------------------------------------------------------------------


def rows_of(name: str, data: Data) -> list[Row]:
    """The rows that fit the data; lists of numbers are for three classes."""
    if data.task not in ENTRIES[name].tasks or (name in LOGITS and data.truths[0].logits is None):
        return []
    fits = data.task != "multiclass" or len(data.truths[0].target) == CLASSES
    return [
        row
        for row in REFERENCES[name]
        if data.task in row.tasks and (fits or "[" not in row.options)
    ]


@cache
def data_of(kind: str) -> Data:
    return sample_data(kind.partition(" ")[2]) if kind.startswith("sample") else drawn(kind)


@cache
def result_of(kind: str) -> Any:
    """All rows of all losses on one kind of data, in one run."""
    data = data_of(kind)
    wanted = [typed(name, row) for name in REFERENCES for row in rows_of(name, data)]
    result = lossbench.evaluate(data.pred, data.target, wanted, **data.settings)
    assert not result.failed
    assert result.run["plan"]["counted"] == data.counted
    return result


ALL_KINDS = [*KINDS, *(f"sample {task}" for task in TASKS)]
CASES = [(name, kind) for name in REFERENCES for kind in ALL_KINDS if rows_of(name, data_of(kind))]
every_case = pytest.mark.parametrize(("name", "kind"), CASES)


def test_every_loss_has_a_reference():
    """Those that look at positions have theirs in test_structure.py."""
    assert set(REFERENCES) | STRUCTURE | NEEDS_ALL_TRUTH == set(ENTRIES)


@pytest.mark.parametrize("name", REFERENCES)
def test_every_option_and_task_of_a_loss_is_tried(name):
    rows = REFERENCES[name]
    tried = {option for row in rows for option in re.findall(r"(\w+)=", row.options)}
    tried |= set() if "multiclass" in ENTRIES[name].tasks else {"background"}
    tried |= {"weight_map", "per_image"}  # test_weight_maps.py and test_ranking.py have them
    assert tried >= set(ENTRIES[name].options)
    assert {task for row in rows for task in row.tasks} >= set(ENTRIES[name].tasks)


@every_case
def test_values_equal_their_reference(name, kind):
    data, result = data_of(kind), result_of(kind)
    for row in rows_of(name, data):
        values = result.values[typed(name, row)]
        for place, truth in enumerate(data.truths):
            wanted, classes = row.reference(truth)
            check_close(values.samples[place], wanted, REFERENCE, (row.options, place))
            if data.task in SEVERAL and classes is not None:
                found = [column[place] for column in values.classes]
                check_close(found, classes, REFERENCE, (row.options, place, "classes"))


@every_case
def test_pooled_equals_the_reference_on_all_pixels_as_one_sample(name, kind):
    data, result = data_of(kind), result_of(kind)
    whole = pooled_truth(kind)
    for row in rows_of(name, data):
        found = result.values[typed(name, row)]
        if name in NEVER_POOLED:
            assert math.isnan(found.pooled)
            continue
        wanted, classes = row.reference(whole)
        check_close(found.pooled, wanted, REFERENCE, row.options)
        if data.task in SEVERAL and classes is not None:
            check_close(found.pooled_classes, classes, REFERENCE, (row.options, "classes"))


@cache
def pooled_truth(kind: str) -> Truth:
    return together(data_of(kind).truths)


def basic(task: str) -> list[str]:
    """Each loss of a task as it is without options, of those that take every prediction."""
    others = LOGITS | STRUCTURE | NEEDS_ALL_TRUTH | {"exp_log"}
    return [name for name, entry in ENTRIES.items() if task in entry.tasks and name not in others]


def picked(data: Data, places: Sequence[int]) -> Any:
    """The result on some of the samples, in an order."""
    settings = dict(data.settings)
    if "inputs" in settings:
        settings["inputs"] = {r: [v[i] for i in places] for r, v in settings["inputs"].items()}
    pred, target = ([side[i] for i in places] for side in (data.pred, data.target))
    return lossbench.evaluate(pred, target, basic(data.task), **settings)


SOME_KINDS = [
    "binary bytes mask label",
    "binary doubles soft weight",
    "multiclass labels labels label",
    "multiclass logits labels label",
    "multilabel bytes mask",
    "image bytes bytes ignore",
    "image singles singles weight",
]


@pytest.mark.parametrize("kind", SOME_KINDS)
def test_order_of_samples_changes_no_bit_of_any_aggregate(kind):
    places = np.arange(len(SAMPLES_DRAWN)).repeat(3)
    straight = picked(drawn(kind), places)
    shuffled = picked(drawn(kind), np.random.default_rng(1).permutation(places))
    assert repr(shuffled.aggregates) == repr(straight.aggregates)
    assert repr(shuffled.class_aggregates) == repr(straight.class_aggregates)


@pytest.mark.parametrize("kind", SOME_KINDS)
def test_a_sample_alone_and_among_others_has_the_same_bits(kind):
    places = list(range(len(SAMPLES_DRAWN)))
    batch = picked(drawn(kind), places * 16)  # a batch is a quarter of the samples
    for place in places:
        alone = picked(drawn(kind), [place])
        for name, values in alone.values.items():
            assert repr(values.samples[0]) == repr(batch.values[name].samples[place])
            of_classes = [column[place] for column in batch.values[name].classes]
            assert repr([column[0] for column in values.classes]) == repr(of_classes)


# --- what the rows above cannot say ---------------------------------------------------------------


def one(pred: Any, target: Any, loss: str, **settings: Any) -> float:
    """The value of one sample."""
    result = lossbench.evaluate([np.asarray(pred)], [np.asarray(target)], loss, **settings)
    assert not result.failed
    return result.values[loss].samples[0]


SOFT = {"pred_encoding": "probability", "gt_encoding": "mask", "task": "binary"}


def test_wrong_certain_pixel_costs_100_and_stays_finite():
    """torch.nn.BCELoss clamps its logarithms at −100."""
    assert one([0.0, 1.0, 1.0, 0.0], [1, 0, 1, 0], "bce", **SOFT) == 50
    assert one([0, 255], [1, 1], "cross_entropy", task="binary") == 50


def test_extreme_logits_stay_exact():
    """max(x, 0) − xy + log(1 + exp(−|x|)): 1e4 and 50 where wrong, 0 where right."""
    logits = {**SOFT, "pred_encoding": "logits"}
    assert one([1e4, -1e4, 50.0, -800.0], [0, 1, 0, 0], "bce", **logits) == (1e4 + 1e4 + 50) / 4
    assert one([1e4, -1e4, 1e4], [1, 0, 0], "dice", **logits) == pytest.approx(1 / 3)
    several = {"task": "multiclass", "pred_encoding": "logits", "gt_encoding": "labels"}
    stack = [[[1e4, -1e4]], [[-1e4, 1e4]], [[0.0, 0.0]]]
    assert one(stack, [[1, 1]], "cross_entropy", **several) == 1e4


def test_threshold_belongs_to_the_foreground():
    """p ≥ threshold in float64: 128/255, 0.5 and 51/255 = 0.2 are in, 127/255 is not."""
    uint8 = np.array([127, 128, 51, 50], np.uint8)
    assert one(uint8, [1, 1, 1, 1], "recall", **SOFT) == 1 / 4
    assert one(uint8, [1, 1, 1, 1], "recall(threshold=0.2)", **SOFT) == 3 / 4
    assert one([0.5, 0.49999999], [1, 1], "recall", **SOFT) == 1 / 2


def test_threshold_of_the_run_reaches_scores_and_no_soft_loss():
    data = drawn("binary bytes mask")
    run = {**data.settings, "threshold": 0.3}
    result = lossbench.evaluate(data.pred, data.target, ["iou", "dice"], **run)
    iou = each_class(partial(score_by_sklearn, "iou", threshold=0.3))
    dice = each_class(partial(overlap_by_monai, "dice"))
    for name, reference in (("iou", iou), ("dice", dice)):
        check_close(result.values[name].samples, [reference(t)[0] for t in data.truths], REFERENCE)


def test_most_likely_class_is_the_first_on_ties():
    stack = np.array([[[0.4, 0.2]], [[0.4, 0.4]], [[0.2, 0.4]]])
    settings = {"task": "multiclass", "gt_encoding": "labels", "pred_encoding": "probability"}
    assert one(stack, [[0, 1]], "accuracy", **settings) == 1


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([2, 3, 5, 50]), st.integers(0, 10**6))  # 50: more than pixels
def test_hard_counts_of_labels_are_those_of_each_class_against_the_rest(classes, seed):
    """Also of weights that are no whole numbers: what there is none of is 0, not nearly 0."""
    random = np.random.default_rng(seed)
    pred, target = random.integers(0, classes, (2, 3, 40))
    pred[0], target[1] = target[0], classes - 1  # no error; one class
    weight = torch.as_tensor(random.random((3, 40)))
    sides = (
        Input(torch.as_tensor(np.moveaxis(np.eye(classes)[pred], -1, 1)), "multiclass"),
        Input(torch.as_tensor(target), "multiclass", labelled=classes),
    )
    found = Counts.of(*sides, weight[:, None])
    for label in range(classes):
        yes, true = torch.as_tensor(pred == label), torch.as_tensor(target == label)
        wanted = (yes & true, yes & ~true, ~yes & true, ~yes & ~true)
        for counts, mask in zip(found, wanted, strict=True):
            torch.testing.assert_close(
                counts[:, label], (weight * mask).sum(1), rtol=1e-14, atol=0.0
            )


def test_hard_counts_in_single_precision_go_beyond_what_it_can_add_one_to():
    pixels = 2**24 + 10
    labels = torch.zeros((1, pixels), dtype=torch.uint8)
    side = Input(labels, "multiclass", labelled=2)
    found = Counts.of(side, side, torch.ones((1, 1, 1)).expand(1, 1, pixels))
    assert found.tp.dtype == torch.float32
    assert found.tp.tolist() == found.tn.flip(-1).tolist() == [[pixels, 0]]


def test_class_reduction_none_can_be_typed_as_it_is_documented():
    assert math.isnan(one([1, 0], [1, 0], "dice(class_reduction=none)", task="binary"))


def test_sum_over_no_pixel_is_undefined():
    """ "No valid pixel at all is undefined", and never a silent 0, of a class as of a sample."""
    stack = np.array([[[255, 255, 255, 255, 255]], [[0, 1, 0, 1, 1]]], np.uint8)
    pred = np.zeros_like(stack)
    losses = ["bce(reduction=sum)", "l1(reduction=sum)"]
    result = lossbench.evaluate([pred], [stack], losses, task="multilabel", ignore=255)
    for name in losses:
        first, second = result.values[name].classes
        assert math.isnan(first[0])
        assert second[0] > 0


@pytest.mark.parametrize("reduction", ["mean", "sum", "weighted"])
def test_no_value_stays_undefined_where_empty_is_a_number(reduction):
    for kind in ("binary bytes mask ignore", "multiclass labels labels ignore"):
        data = drawn(kind)
        losses = [
            f"{name}(class_reduction={reduction}, empty=1)"
            for name in basic(data.task)
            if "class_reduction" in ENTRIES[name].options
        ]
        result = lossbench.evaluate(data.pred, data.target, losses, **data.settings)
        for name, values in result.values.items():
            assert not np.isnan(values.samples).any(), (kind, name)


def test_empty_of_the_run_reaches_every_loss():
    data = drawn("binary bytes mask ignore")
    run = {**data.settings, "empty": 0.25}
    result = lossbench.evaluate(data.pred, data.target, basic("binary"), **run)
    for name, values in result.values.items():
        if "empty" in ENTRIES[name].options:
            assert values.samples[NO_PIXEL] == 0.25, name


@pytest.mark.parametrize("ignore", [255, "255", "250-255", [255], [7, "253-255"]])
def test_ignored_labels_leave_every_sum_however_they_are_given(ignore):
    pred, target = np.array([[255, 0, 204, 51]], np.uint8), np.array([[255, 0, 1, 1]], np.uint8)
    assert one(pred, target, "l1", **SOFT, ignore=ignore) == pytest.approx((0.2 + 0.8) / 3)


@pytest.mark.parametrize(("task", "encoding"), [("binary", "probability"), ("image", "image")])
def test_ignored_label_on_grey_levels_leaves_the_sum_or_is_refused(task, encoding):
    pred, target = np.array([[255, 0]], np.uint8), np.array([[128, 255]], np.uint8)
    given = {"task": task, "gt_encoding": encoding, "pred_encoding": encoding, "ignore": 255}
    try:
        value = one(pred, target, "l1", **given)
    except lossbench.SettingError:
        return
    assert value == pytest.approx(127 / 255)


def test_stored_labels_need_not_count_from_zero():
    classes = {0: "background", 26: "sacrum", 40: "disc"}
    pred, target = np.array([[0, 26, 40, 40, 26]]), np.array([[0, 26, 26, 40, 0]])
    result = lossbench.evaluate(
        [pred], [target], ["iou", "cross_entropy"], task="multiclass", classes=classes
    )
    wanted = metrics.jaccard_score(target.ravel(), pred.ravel(), average=None)
    check_close(np.ravel(result.values["iou"].classes), wanted, REFERENCE)
    assert result.class_names == ("background", "sacrum", "disc")
    assert result.values["cross_entropy"].samples == [40.0]  # two of five pixels cost 100


@pytest.mark.parametrize("width", [3, 4])
def test_stack_of_narrow_planes_is_no_colour_picture(width):
    rng = np.random.default_rng(width)
    pred = rng.integers(0, 256, (3, 5, width)).astype(np.uint8)
    target = rng.integers(0, 2, (3, 5, width)).astype(np.uint8)
    settings = {**SOFT, "task": "multilabel"}
    wanted = functional.mse_loss(torch.tensor(pred / 255), torch.tensor(target / 1.0))
    assert one(pred, target, "l2", **settings) == pytest.approx(float(wanted))


def test_classes_only_predicted_are_classes():
    """Without `classes`, the labels of both sides count; sklearn takes their union, too."""
    pred, target = np.array([[0, 1, 3, 2]]), np.array([[0, 1, 2, 2]])
    wanted = metrics.jaccard_score(target.ravel(), pred.ravel(), average="macro", zero_division=0)
    assert one(pred, target, "iou", task="multiclass") == pytest.approx(wanted)


@pytest.mark.parametrize("shape", [(24,), (4, 6), (2, 3, 4), (24, 1), (1, 1, 24)])
def test_shape_of_a_sample_does_not_matter(shape):
    rng = np.random.default_rng(3)
    pred, target = rng.random(24), rng.random(24) < 0.5
    wanted = functional.binary_cross_entropy(torch.tensor(pred), torch.tensor(target / 1.0))
    found = one(pred.reshape(shape), target.reshape(shape), "bce", **SOFT)
    assert found == pytest.approx(float(wanted), rel=1e-12)


def test_one_label_against_one_vector_of_logits_is_a_sample():
    logits = np.array([0.3, -1.2, 2.0])
    wanted = functional.cross_entropy(torch.tensor(logits)[None], torch.tensor([2]))
    given = {"task": "multiclass", "pred_encoding": "logits", "gt_encoding": "labels"}
    assert one(logits, np.array(2), "cross_entropy", **given) == pytest.approx(float(wanted))


def test_smoothed_cross_entropy_of_a_class_is_the_mean_over_its_pixels():
    """LOSSES.md, settled points: the class column is "the mean over the pixels whose target is
    that class"; torch's loss of those pixels alone."""
    data = drawn("multiclass logits labels label")
    loss = "cross_entropy(label_smoothing=0.1)"
    result = lossbench.evaluate(data.pred, data.target, loss, **data.settings)
    truth = data.truths[0]
    logits, labels = truth.rows("logits"), truth.rows("target").argmax(1)
    wanted = [
        functional.cross_entropy(logits[labels == c], labels[labels == c], label_smoothing=0.1)
        for c in range(CLASSES)
    ]
    check_close([column[0] for column in result.values[loss].classes], wanted, REFERENCE)


def test_averages_over_classes_are_those_of_sklearn_and_torchmetrics():
    """Every class in both masks, so that no convention on empty ones enters."""
    rng = np.random.default_rng(11)
    pred, target = rng.integers(0, 4, 500), rng.choice(4, 500, p=[0.1, 0.2, 0.3, 0.4])
    for average, reduction in (("macro", "mean"), ("weighted", "weighted")):
        f1 = metrics.f1_score(target, pred, average=average)
        loss = f"dice_score(class_reduction={reduction})"
        assert one(pred, target, loss, task="multiclass") == pytest.approx(f1, rel=REFERENCE)
        iou = classification.multiclass_jaccard_index(
            torch.tensor(pred), torch.tensor(target), num_classes=4, average=average
        )
        loss = f"iou(class_reduction={reduction})"
        found = one(pred, target, loss, task="multiclass")
        assert found == pytest.approx(float(iou), rel=SINGLE)  # float32
