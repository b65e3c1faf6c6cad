"""`lossbench.loss(name)`: losses as functions of tensors, their gradients, what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.option_values import BESIDES, LOGITS, STRUCTURE, option_sets, typed
from helpers.option_values import ENTRIES as CATALOGUE
from helpers.parity import parity
from helpers.tolerances import REFERENCE, SINGLE, TABLES, check_close
from torch.nn import functional

import lossbench

CLASSES = {"binary": 1, "multiclass": 3, "multilabel": 3, "image": 3}
NEEDS_A_DATA_SET = {"weighted_bce"}
ENTRIES = {name: entry for name, entry in CATALOGUE.items() if name not in NEEDS_A_DATA_SET}
# Scores are of hard masks, which have no gradient; entropy is of the target alone.
SCORES = {entry.name for entry in lossbench.list_losses("scores")}
SURFACE = {name for name, entry in ENTRIES.items() if entry.module.endswith(".surface")}
WITHOUT_GRADIENT = SCORES | SURFACE | {"entropy", "betti_error", "cldice"}
# LOSSES.md, section 5: an ignored pixel is background, and so an edge; test_boundary.py has those.
EDGES_AT_IGNORED = {entry.name for entry in lossbench.list_losses("boundary")}
DIFFERENTIABLE = [name for name in ENTRIES if name not in WITHOUT_GRADIENT]
SIZES = {
    "ms_ssim": (16, 16),
    "hausdorff_er": (16, 16),
    "soft_cldice": (8, 8),
}  # of pictures that are not too small; finite differences need few
FEW = (3, 2)


def drawn(task: str, seed: int = 0, shape: tuple[int, ...] = (4, 3)) -> tuple[Any, Any, Any]:
    """Logits, a target of 0 and 1 and a weight map of two samples, float64."""
    rng = torch.Generator().manual_seed(seed)
    full = (2, CLASSES[task], *shape)
    logits = 2 * torch.randn(full, generator=rng, dtype=torch.float64)
    if task == "multiclass":
        labels = torch.randint(0, 3, (2, *shape), generator=rng)
        target = functional.one_hot(labels, 3).movedim(-1, 1).double()
    else:
        target = (torch.rand(full, generator=rng) < 0.4).double()
    weight = torch.randint(0, 4, (2, *shape), generator=rng).double()
    return logits, target, weight


def probability(task: str, logits: torch.Tensor) -> torch.Tensor:
    return logits.softmax(1) if task == "multiclass" else logits.sigmoid()


def trained(name: str, task: str, in_turn: bool = False) -> list[dict[str, Any]]:
    """Each option that has a gradient: a threshold of the view makes masks hard."""
    own = ENTRIES[name].options
    return [
        options
        for options in option_sets(name, task, in_turn=in_turn)
        if "threshold" not in options or own["threshold"].owner == name
    ]


def shape_of(name: str, shape: tuple[int, ...] = (4, 3)) -> tuple[int, ...]:
    return SIZES.get(name, shape)


def read_as(name: str, task: str, encoding: str = "logits") -> dict[str, Any]:
    """How predictions are read; what needs logits gets them."""
    if task == "image":
        return {"encoding": "image"}
    return {"encoding": "logits" if name in LOGITS else encoding, "task": task}


CASES = [(name, task) for name in DIFFERENTIABLE for task in ENTRIES[name].tasks]
every_case = pytest.mark.parametrize(("name", "task"), CASES)


# --- values ---------------------------------------------------------------------------------------


def over_classes(loss: Any, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """MONAI's losses of samples and classes, averaged over classes."""
    return loss(pred, target).flatten(1).mean(1)


def plain(kind: Callable[..., Any], **options: Any) -> Callable[..., torch.Tensor]:
    """MONAI's loss of each sample and class, without its smoothing."""
    options = {"smooth_nr": 0.0, "smooth_dr": 0.0, **options}
    return lambda pred, target: kind(reduction="none", **options)(pred, target)


DiceLoss = parity("monai.losses", "DiceLoss")
TverskyLoss = parity("monai.losses", "TverskyLoss")


ONE = {"smooth_nr": 1.0, "smooth_dr": 1.0}
UNEVEN = {"alpha": 0.3, "beta": 0.7}
OVERLAP = [
    ("dice", {}, plain(DiceLoss)),
    ("dice", {"smooth": 1.0, "squared": True}, plain(DiceLoss, **ONE, squared_pred=True)),
    ("dice", {"intersection": "min"}, plain(DiceLoss, soft_label=True)),
    ("dice", {"smooth_nr": 2.0, "smooth_dr": 1.0}, plain(DiceLoss, smooth_nr=2.0, smooth_dr=1.0)),
    ("jaccard", {}, plain(DiceLoss, jaccard=True)),
    ("jaccard", {"smooth": 0.5}, plain(DiceLoss, **ONE, jaccard=True)),  # MONAI's s is twice ours
    ("tversky", {}, plain(TverskyLoss)),
    ("tversky", {"smooth": 1.0, **UNEVEN}, plain(TverskyLoss, **ONE, **UNEVEN)),
]


@pytest.mark.parametrize("encoding", ["probability", "logits"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize(("name", "options", "reference"), OVERLAP)
def test_overlap_losses_equal_monai(name, options, reference, task, encoding):
    logits, target, _ = drawn(task)
    soft = probability(task, logits)
    pred = logits if encoding == "logits" else soft
    found = lossbench.loss(name)(pred, target, encoding=encoding, task=task, **options)
    check_close(found, over_classes(reference, soft, target), REFERENCE)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_binary_cross_entropy_equals_torch(task):
    logits, target, weight = drawn(task)
    bce = lossbench.loss("bce")
    torch_bce = functional.binary_cross_entropy_with_logits

    def per_sample(**how: Any) -> torch.Tensor:
        return torch.stack([torch_bce(x, y, **how) for x, y in zip(logits, target, strict=True)])

    where = {"encoding": "logits", "task": task}
    check_close(bce(logits, target, **where), per_sample(), REFERENCE)
    check_close(bce(logits.sigmoid(), target, task=task), per_sample(), REFERENCE)
    pos_weight = torch.tensor(3.0, dtype=torch.float64)
    found = bce(logits, target, **where, pos_weight=3.0, reduction="sum")
    check_close(found, per_sample(pos_weight=pos_weight, reduction="sum"), REFERENCE)
    each = weight[:, None].expand_as(target)
    weighted = torch_bce(logits, target, each, reduction="none").flatten(1).sum(1)
    check_close(bce(logits, target, weight, **where), weighted / each.flatten(1).sum(1), REFERENCE)
    elements = target[0].numel()
    found = bce(logits, target, weight, **where, over="all")
    check_close(found, weighted / elements, REFERENCE)  # torch.nn.BCELoss(weight)


@pytest.mark.parametrize("encoding", ["probability", "logits"])
def test_cross_entropy_equals_torch(encoding):
    logits, target, weight = drawn("multiclass")
    labels = target.argmax(1)
    pred = logits if encoding == "logits" else logits.softmax(1)
    class_weights = torch.tensor([0.5, 2.0, 1.5], dtype=torch.float64)

    def per_sample(**how: Any) -> torch.Tensor:
        pairs = zip(logits, labels, strict=True)
        return torch.stack([functional.cross_entropy(x[None], y[None], **how) for x, y in pairs])

    loss = lossbench.loss("cross_entropy")
    check_close(loss(pred, labels, encoding=encoding), per_sample(), REFERENCE)
    found = loss(pred, labels, encoding=encoding, class_weights=[0.5, 2, 1.5], label_smoothing=0.1)
    check_close(found, per_sample(weight=class_weights, label_smoothing=0.1), REFERENCE)
    found = loss(pred, labels, encoding=encoding, reduction="sum")
    check_close(found, per_sample(reduction="sum"), REFERENCE)
    each = functional.cross_entropy(logits, labels, reduction="none")
    wanted = (each * weight).flatten(1).sum(1) / weight.flatten(1).sum(1)
    check_close(loss(pred, labels, weight, encoding=encoding), wanted, REFERENCE)


def test_cross_entropy_of_soft_targets_equals_torch():
    logits, _, _ = drawn("multiclass")
    soft = drawn("multiclass", seed=1)[0].softmax(1)
    found = lossbench.loss("cross_entropy")(logits, soft, encoding="logits")
    each = functional.cross_entropy(logits, soft, reduction="none")
    check_close(found, each.flatten(1).mean(1), REFERENCE)


@pytest.mark.parametrize(
    ("name", "torch_loss"), [("l1", functional.l1_loss), ("l2", functional.mse_loss)]
)
def test_distances_of_images_of_any_range_equal_torch(name, torch_loss):
    pred, target = 5 * drawn("image")[0], drawn("image", seed=1)[0]
    found = lossbench.loss(name)(pred, target, encoding="image")
    wanted = torch_loss(pred, target, reduction="none").flatten(1).mean(1)
    check_close(found, wanted, REFERENCE)


@pytest.mark.parametrize("name", ENTRIES)
def test_training_and_evaluation_give_one_number(name):
    """Two ways through the library, not a reference: `test_losses.py` has those."""
    besides = BESIDES.get(name, {})
    for task in ENTRIES[name].tasks:
        logits, target, weight = drawn(task, shape=shape_of(name))
        how = read_as(name, task, "probability")
        pred = probability(task, logits) if how["encoding"] == "probability" else logits
        if task == "image":  # in the range of pictures
            pred = torch.sigmoid(logits)
        found = lossbench.loss(name)(pred, target, weight, **how, **besides)
        names = {"task": task, "classes": 3} if task == "multiclass" else {"task": task}
        if task != "image":
            names |= {"pred_encoding": how["encoding"], "gt_encoding": "probability"}
        sides = [side[:, 0] if task == "binary" else side for side in (pred, target)]
        if task == "image":
            sides = [side.movedim(1, -1) for side in sides]
        given = {"weight": list(weight)}
        loss = typed(name, besides)
        wanted = lossbench.evaluate(*map(list, sides), loss, inputs=given, **names)
        check_close(found, wanted.values[loss].samples, TABLES, task)


@pytest.mark.parametrize("name", ENTRIES)
def test_labels_and_one_hot_targets_are_one_target(name):
    for task in set(ENTRIES[name].tasks) & {"binary", "multiclass"}:
        logits, target, weight = drawn(task, shape=shape_of(name))
        labels = target.argmax(1) if task == "multiclass" else target[:, 0]
        how = {**read_as(name, task), **BESIDES.get(name, {})}
        loss = lossbench.loss(name)
        found = loss(logits, labels, weight, **how)
        check_close(found, loss(logits, target, weight, **how), 0)


@pytest.mark.parametrize("name", sorted(ENTRIES.keys() - EDGES_AT_IGNORED))
def test_pixels_of_weight_zero_are_as_if_they_were_not_there(name):
    for task in ENTRIES[name].tasks:
        logits, target, _ = drawn(task, shape=(48,))
        weight = torch.ones(2, 48, dtype=torch.float64)
        weight[:, 32:] = 0
        how = {**read_as(name, task), **BESIDES.get(name, {})}
        found = lossbench.loss(name)(logits, target, weight, **how)
        wanted = lossbench.loss(name)(logits[..., :32], target[..., :32], **how)
        check_close(found, wanted, TABLES, task)


@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("name", [name for name in ENTRIES if name not in STRUCTURE])
def test_one_value_per_sample_for_any_number_of_axes(name, shape):
    task = ENTRIES[name].tasks[-1]
    logits, target, _ = drawn(task, shape=shape)
    how = {**read_as(name, task), **BESIDES.get(name, {})}
    found = lossbench.loss(name)(logits, target, **how)
    assert found.shape == (2,)
    flat = [side.reshape(2, CLASSES[task], -1) for side in (logits, target)]
    check_close(found, lossbench.loss(name)(*flat, **how), TABLES)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_result_has_the_type_of_the_prediction(kind):
    logits, target, _ = drawn("binary")
    found = lossbench.loss("dice")(logits.sigmoid().to(kind), target)
    assert found.dtype == kind
    wanted = over_classes(plain(DiceLoss), logits.sigmoid(), target)
    check_close(found, wanted, SINGLE)


# --- gradients ------------------------------------------------------------------------------------


def differentiable(name: str, task: str, encoding: str, target: Any, **options: Any) -> bool:
    """Whether autograd's gradient is that of finite differences."""
    loss = lossbench.loss(name)
    logits, _, weight = drawn(task, seed=2, shape=shape_of(name, FEW))
    how = read_as(name, task, encoding)
    pred = probability(task, logits) if how["encoding"] == "probability" else logits
    return torch.autograd.gradcheck(
        lambda x: loss(x, target, weight + 0.5, **how, **options),
        pred.detach().requires_grad_(),
        fast_mode=name in SIZES or bool(options),
    )


@every_case
def test_gradient_is_that_of_finite_differences(name, task):
    target = drawn(task, shape=shape_of(name, FEW))[1]
    for encoding in {read_as(name, task, each)["encoding"] for each in ("probability", "logits")}:
        for options in trained(name, task, in_turn=True):
            assert differentiable(name, task, encoding, target, **options), (encoding, options)


@every_case
def test_gradient_with_a_soft_target(name, task):
    soft = drawn(task, seed=3, shape=shape_of(name, FEW))[0]
    target = soft if task == "image" else probability(task, soft)
    assert differentiable(name, task, "probability", target, **BESIDES.get(name, {}))


@every_case
def test_gradient_is_finite_where_probabilities_are_exactly_0_and_1(name, task):
    """In single precision, which overflows first; finite differences are taken in double."""
    target = drawn(task, shape=shape_of(name))[1].to(torch.float32)
    for certain in (target, 1 - target, torch.zeros_like(target), torch.ones_like(target)):
        for options in trained(name, task):
            pred = certain.clone().requires_grad_()
            how = read_as(name, task, "probability")
            values = lossbench.loss(name)(pred, target, **how, **options)
            values[values.isfinite()].sum().backward()  # a perfect psnr is infinite
            assert pred.grad is not None
            assert pred.grad.isfinite().all(), options


@pytest.mark.parametrize(("name", "task"), [case for case in CASES if case[1] != "image"])
def test_gradient_is_finite_for_extreme_logits(name, task):
    target = drawn(task, shape=shape_of(name))[1]
    pred = (1e4 * (1 - 2 * target)).requires_grad_()  # as wrong as can be
    values = lossbench.loss(name)(pred, target, **read_as(name, task), **BESIDES.get(name, {}))
    values.sum().backward()
    assert values.isfinite().all()
    assert pred.grad.isfinite().all()


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky"])
def test_undefined_is_nan_and_its_gradient_finite(name, task):
    """The first sample has every class in both masks, the second no weight at all."""
    logits, target, _ = drawn(task)
    weight = torch.ones(2, 4, 3, dtype=torch.float64)
    weight[1] = 0
    for options in ({}, {"log": True}, {"class_reduction": "weighted"}):
        pred = probability(task, logits).detach().requires_grad_()
        values = lossbench.loss(name)(pred, target, weight, task=task, **options)
        assert values.isnan().tolist() == [False, True]
        values.nansum().backward()
        assert pred.grad.isfinite().all()
        assert pred.grad[0].any()
        assert not pred.grad[1].any()


@pytest.mark.parametrize("name", ENTRIES)
def test_no_valid_pixel_is_undefined(name):
    for task in ENTRIES[name].tasks:
        logits, target, weight = drawn(task, shape=shape_of(name))
        how = {**read_as(name, task), **BESIDES.get(name, {})}
        values = lossbench.loss(name)(logits, target, 0 * weight, **how)
        assert values.isnan().all(), task
        if "empty" in ENTRIES[name].options:
            filled = lossbench.loss(name)(logits, target, 0 * weight, **how, empty=0.5)
            assert filled.tolist() == [0.5, 0.5], task


def test_a_class_in_neither_mask_is_left_out_of_the_mean():
    """By hand: dice losses 0 of the first class, 1/3 of the second; the third is in no mask."""
    pred = functional.one_hot(torch.tensor([[0, 0, 1, 1]]), 3).movedim(-1, 1).double()
    labels = torch.tensor([[0, 0, 1, 1]])
    assert lossbench.loss("dice")(pred, labels).item() == 0
    labels = torch.tensor([[0, 0, 1, 0]])  # dice 2·2/(2 + 3) and 2·1/(2 + 1)
    assert lossbench.loss("dice")(pred, labels).item() == pytest.approx((1 / 5 + 1 / 3) / 2)


def test_a_step_down_the_gradient_lowers_every_loss():
    for name, task in CASES:
        logits, target, _ = drawn(task, shape=shape_of(name))
        how = {**read_as(name, task), **BESIDES.get(name, {})}
        down = 1e-3 if CATALOGUE[name].better == "lower" else -1e-3
        pred = logits.requires_grad_()
        before = lossbench.loss(name)(pred, target, **how).sum()
        (gradient,) = torch.autograd.grad(before, pred)
        after = lossbench.loss(name)(pred - down * gradient, target, **how).sum()
        assert (after < before) == (down > 0), (name, task)


# --- what is refused ------------------------------------------------------------------------------

PRED = torch.full((2, 3, 4, 5), 0.5)
LABELS = torch.ones(2, 4, 5, dtype=torch.long)
WRONG_SHAPES = {
    "target of another size": (PRED, torch.ones(2, 4, 6, dtype=torch.long), None),
    "target with other classes": (PRED, torch.ones(2, 2, 4, 5), None),
    "target of another batch": (PRED, LABELS[:1], None),
    "target without batch": (PRED, LABELS[0], None),
    "prediction without classes": (torch.full((5,), 0.5), torch.ones(5), None),
    "weight of another size": (PRED, LABELS, torch.ones(2, 4, 6)),
    "weight with other classes": (PRED, LABELS, torch.ones(2, 2, 4, 5)),
    "weight of another batch": (PRED, LABELS, torch.ones(3, 4, 5)),
    "weight without batch": (PRED, LABELS, torch.ones(5)),
    "weight with more classes": (PRED[:, :1], LABELS, torch.ones(2, 3, 4, 5)),
    "label above the classes": (PRED, 3 * LABELS, None),
    "label below the classes": (PRED, -100 * LABELS, None),
}


@pytest.mark.parametrize("name", ["dice", "cross_entropy"])
@pytest.mark.parametrize("wrong", WRONG_SHAPES)
def test_wrong_shapes_and_labels_are_refused(name, wrong):
    pred, target, weight = WRONG_SHAPES[wrong]
    with pytest.raises(lossbench.SettingError):
        lossbench.loss(name)(pred, target, weight)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dice", {"smoth": 1.0}, "smooth"),
        ("bce", {"pos_weigth": 1.0}, "pos_weight"),
        ("iou", {"treshold": 0.3}, "threshold"),
        ("cross_entropy", {"label_smooth": 0.3}, "label_smoothing"),
    ],
)
def test_unknown_option_names_the_nearest(name, options, message):
    with pytest.raises(lossbench.SettingError, match=f"did you mean '{message}'"):
        lossbench.loss(name)(PRED[:, :1], LABELS, **options)


REFUSED = [
    ("dice", {"smooth": "much"}, PRED),
    ("dice", {"class_reduction": "median"}, PRED),
    ("dice", {"class_weights": [1.0, 2.0]}, PRED),
    ("l1", {"reduction": "none"}, PRED),
    ("dice", {"class_weights": "auto"}, PRED),  # needs a data set
    ("bce", {"class_weights": "auto", "task": "multilabel"}, PRED.repeat(1, 2, 1, 1)[:, :4]),
    ("iou", {"threshold": 0.3}, PRED),  # LOSSES.md: an error on a multiclass task
    ("dice", {"threshold": 0.3}, PRED),
    ("dice", {"background": False}, PRED[:, :1]),  # an option of multiclass tasks
    ("bce", {}, PRED),  # no meaning on a multiclass task
    ("dice", {"encoding": "image"}, PRED),
    ("dice", {"encoding": "labels"}, PRED),
    ("dice", {"task": "triclass"}, PRED),
]


@pytest.mark.parametrize(("name", "options", "pred"), REFUSED)
def test_options_without_a_meaning_are_refused(name, options, pred):
    target = torch.ones_like(pred) if pred.shape[1] == 4 else LABELS
    with pytest.raises(lossbench.SettingError):
        lossbench.loss(name)(pred, target, **options)


def test_unknown_loss_names_the_nearest():
    with pytest.raises(lossbench.SettingError, match="did you mean 'dice'"):
        lossbench.loss("dise")


def test_an_alias_is_the_loss():
    for name, entry in ENTRIES.items():
        logits, target, _ = drawn(entry.tasks[0])
        how = read_as(name, entry.tasks[0])
        for alias in entry.aliases:
            values = [lossbench.loss(each)(logits, target, **how) for each in (name, alias)]
            assert torch.equal(*values), alias


@pytest.mark.parametrize("name", ["ohem_cross_entropy", "bootstrapped_cross_entropy"])
def test_gradients_of_hard_pixels_have_the_digits_of_their_numbers(name):
    """In single precision, with many pixels: none is the difference of two large sums."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 1, 256, 256, generator=draw)
    target = (torch.rand(1, 1, 256, 256, generator=draw) > 0.7).float()
    found = []
    for dtype in (torch.float32, torch.float64):
        pred = logits.to(dtype, copy=True).requires_grad_()
        lossbench.loss(name)(pred, target.to(dtype), encoding="logits").sum().backward()
        found.append(pred.grad.double())
    single, double = found
    assert (single - double).norm() <= 1e-6 * double.norm()
