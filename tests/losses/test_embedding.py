"""Losses of vectors against torch, sklearn-free loops and cases worked by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tolerances import REFERENCE, SINGLE, TABLES, check_close
from torch.nn import functional

import lossbench

RANDOM = np.random.default_rng(17)
A, B, N = RANDOM.normal(size=(3, 40, 16))
LABELS = RANDOM.integers(0, 5, 40)
TENSORS = {name: torch.tensor(each) for name, each in (("a", A), ("b", B), ("n", N))}
NAMES = ("triplet", "contrastive", "cosine", "info_nce", "triplet_mining")


def values(loss: str, pred: Any, target: Any, **inputs: Any) -> list[float]:
    result = lossbench.evaluate(pred, target, f"it = {loss}", task="vectors", inputs=inputs)
    assert not result.failed
    return result.values["it"].samples


@pytest.mark.parametrize(
    ("options", "how"),
    [
        ("", {}),
        ("margin=5", {"margin": 5.0}),
        ("margin=5, p=1", {"margin": 5.0, "p": 1}),
        ("margin=5, p=3.5", {"margin": 5.0, "p": 3.5}),
        ("margin=5, swap=true", {"margin": 5.0, "swap": True}),
    ],
)
def test_triplet_equals_torch(options, how):
    wanted = functional.triplet_margin_loss(
        TENSORS["a"], TENSORS["b"], TENSORS["n"], eps=0, reduction="none", **how
    )
    check_close(values(f"triplet({options})", A, B, negative=N), wanted, REFERENCE)


def test_squared_triplet_equals_torch_with_a_distance_of_ones_own():
    def square(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x - y).pow(2).sum(-1)

    wanted = functional.triplet_margin_with_distance_loss(
        TENSORS["a"], TENSORS["b"], TENSORS["n"], distance_function=square, reduction="none",
        margin=0.2,
    )  # fmt: skip
    found = values("triplet(margin=0.2, squared=true)", A, B, negative=N)
    check_close(found, wanted, REFERENCE)


def test_triplet_falls_as_the_negative_recedes_and_ends_at_0():
    anchor, positive = np.zeros((20, 3)), np.full((20, 3), 0.5)
    negative = np.outer(np.linspace(0, 3, 20), [1, 0, 0])
    found = values("triplet", anchor, positive, negative=negative)
    costs = [each for each in found if each > 0]
    assert 5 < len(costs) < 20
    assert (np.diff(costs) < 0).all()
    assert found == costs + [0.0] * (20 - len(costs))
    assert found[0] == pytest.approx(math.sqrt(0.75) + 1)  # d(a, n) = 0


def test_contrastive_by_hand():
    """½d² of a pair of one kind; ½(m − d)² of another that is nearer than m = 2: d = 5, 1, 5."""
    pred, target = [[0.0, 0.0]] * 3, [[3.0, 4.0], [0.0, 1.0], [3.0, 4.0]]
    found = values(
        "contrastive(margin=2)", np.array(pred), np.array(target), same=np.array([1, 0, 0])
    )
    assert found == [12.5, 0.5, 0.0]


def test_contrastive_equals_its_formula_by_torch():
    same = (LABELS > 2).astype(np.uint8)
    away = functional.pairwise_distance(TENSORS["a"], TENSORS["b"], eps=0)
    kind = torch.tensor(same)
    wanted = 0.5 * (kind * away**2 + (1 - kind) * functional.relu(7 - away) ** 2)
    check_close(values("contrastive(margin=7)", A, B, same=same), wanted, REFERENCE)


def test_cosine_equals_torch():
    ones = torch.ones(len(A))
    wanted = functional.cosine_embedding_loss(TENSORS["a"], TENSORS["b"], ones, reduction="none")
    check_close(values("cosine", A, B), wanted, REFERENCE)
    single = [each.astype(np.float32) for each in (A, B)]
    check_close(values("cosine", *single), wanted, SINGLE)


def test_a_vector_of_zeros_has_no_direction():
    pred, target = A.copy(), B.copy()
    pred[3], target[5] = 0, 0
    for loss in ("cosine", "info_nce"):
        found = values(loss, pred, target)
        assert [place for place, each in enumerate(found) if math.isnan(each)] == [3, 5]


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_info_nce_is_a_cross_entropy_over_the_whole_run(temperature):
    likeness = functional.normalize(TENSORS["a"]) @ functional.normalize(TENSORS["b"]).T
    wanted = functional.cross_entropy(
        likeness / temperature, torch.arange(len(A)), reduction="none"
    )
    check_close(values(f"info_nce(temperature={temperature})", A, B), wanted, REFERENCE)


def test_info_nce_of_pairs_that_are_alike_and_of_chance():
    """Orthogonal pairs: log(1 + (M − 1)·e^(−1/τ)); all partners the same: log M."""
    found = values("info_nce(temperature=1)", np.eye(8), 3 * np.eye(8))
    assert found == pytest.approx([math.log(1 + 7 * math.exp(-1))] * 8)
    assert values("info_nce", np.eye(8), np.ones((8, 8))) == pytest.approx([math.log(8)] * 8)


def mined_by_loops(
    vectors: np.ndarray, labels: np.ndarray, mining: str, margin: float, squared: bool
) -> tuple[list[float], float]:
    """Every triplet of every anchor; its mean, and the mean over all triplets of the run."""
    rows, every = [], []
    away = np.linalg.norm(vectors[:, None] - vectors, axis=-1) ** (2 if squared else 1)
    for a in range(len(vectors)):
        positives = [p for p in range(len(vectors)) if labels[p] == labels[a] and p != a]
        negatives = [n for n in range(len(vectors)) if labels[n] != labels[a]]
        costs = [
            (away[a, p] - away[a, n] + margin, away[a, n] > away[a, p], p)
            for p, n in itertools.product(positives, negatives)
        ]
        if mining == "batch_all":
            some = [cost for cost, _, _ in costs if cost > 0] or [0.0] * bool(costs)
        elif mining == "batch_hard":
            some = [max(max(cost for cost, _, _ in costs), 0)] if costs else []
        else:
            semihard = [(p, cost) for cost, farther, p in costs if farther and cost > 0]
            some = [max(c for q, c in semihard if q == p) for p in sorted({p for p, _ in semihard})]
        rows.append(float(np.mean(some)) if some else math.nan)
        every += [cost for cost in some if cost > 0] if mining == "batch_all" else some
    return rows, float(np.mean(every))


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("margin", [0.5, 3.0])
@pytest.mark.parametrize("mining", ["batch_all", "batch_hard", "semihard"])
def test_mining_equals_loops_over_all_triplets(mining, margin, squared):
    labels = np.where(np.arange(40) == 7, 9, LABELS)  # one label has a single vector
    loss = f"triplet_mining(mining={mining}, margin={margin}, squared={str(squared).lower()})"
    result = lossbench.evaluate(A, labels, f"it = {loss}")
    rows, pooled = mined_by_loops(A, labels, mining, margin, squared)
    assert math.isnan(rows[7])
    check_close(result.values["it"].samples, rows, REFERENCE)
    check_close(result.values["it"].pooled, pooled, REFERENCE)


def test_mining_by_hand():
    """On a line at 0, 1, 3 (label 0) and 4, 6 (label 1), margin 2.

    Anchor at 0: positives 1, 3 away, negatives 4, 6 away. batch_hard: 3 − 4 + 2 = 1. batch_all: of
    1 − 4 + 2 = −1, −3, 1 and −1 only 1 counts. semihard: the positive at 3 has the one at 4: 1;
    that at 1 none, as 4 > 1 + 2.
    Anchor at 3: positives 3, 2 away, negatives 1, 3: batch_hard 3 − 1 + 2 = 4; batch_all mean of
    4, 2, 3, 1; semihard: the positive 2 away has the negative 3 away, 1; that 3 away none (3 < 3).
    """
    vectors, labels = np.array([[0.0], [1], [3], [4], [6]]), np.array([0, 0, 0, 1, 1])
    wanted = {"batch_hard": (1, 4), "batch_all": (1, 2.5), "semihard": (1, 1)}
    padded = np.hstack([vectors, np.zeros((5, 1))])
    for mining, (first, third) in wanted.items():
        found = values(f"triplet_mining(mining={mining}, margin=2)", padded, labels)
        assert (found[0], found[2]) == (first, third), mining


def test_the_order_of_samples_and_their_blocks_change_no_value(monkeypatch):
    losses = ["info_nce", "cosine"]
    keyed = [{f"{i:02d}": each[i] for i in range(40)} for each in (A, B)]
    straight = lossbench.evaluate(*keyed, losses)
    turned = lossbench.evaluate(*({k: d[k] for k in reversed(d)} for d in keyed), losses, workers=2)
    for name in losses:
        assert repr(straight.values[name]) == repr(turned.values[name])
    monkeypatch.setattr("lossbench.engine.compute.pooled.BLOCK", 7)
    blocks = lossbench.evaluate(*keyed, losses)
    check_close(blocks.values["info_nce"].samples, straight.values["info_nce"].samples, TABLES)


def test_a_sample_that_fails_is_no_candidate():
    pred, target = ({f"{i:02d}": each[i] for i in range(40)} for each in (A, B))
    pred["04"] = np.full(16, np.nan)
    result = lossbench.evaluate(pred, target, ["info_nce", "triplet_mining"][:1])
    assert [failed.id for failed in result.failed] == ["04"]
    kept = np.arange(40) != 4
    check_close(result.values["info_nce"].samples, values("info_nce", A[kept], B[kept]), TABLES)


@pytest.mark.parametrize("name", NAMES)
def test_training_and_evaluation_give_one_number(name):
    target = LABELS if name == "triplet_mining" else B
    roles = {"triplet": {"negative": N}, "contrastive": {"same": LABELS % 2}}.get(name, {})
    found = lossbench.loss(name)(
        TENSORS["a"], torch.tensor(target), **{r: torch.tensor(v) for r, v in roles.items()}
    )
    check_close(found, values(name, A, target, **roles), TABLES)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("triplet", {"margin": 5.0}),
        ("triplet", {"margin": 5.0, "p": 3.0, "swap": True}),
        ("triplet", {"margin": 9.0, "squared": True}),
        ("contrastive", {"margin": 6.0}),
        ("cosine", {}),
        ("info_nce", {"temperature": 0.5}),
        ("triplet_mining", {"mining": "batch_all", "margin": 5.0}),
        ("triplet_mining", {"mining": "batch_hard", "margin": 5.0}),
        ("triplet_mining", {"mining": "semihard", "margin": 5.0}),
    ],
)
def test_gradient_is_that_of_finite_differences(name, options):
    few = {key: each[:5, :3].clone() for key, each in TENSORS.items()}
    target = torch.tensor([0, 0, 1, 1, 1]) if name == "triplet_mining" else few["b"]
    same = torch.tensor([1, 0, 1, 0, 1])
    roles = {"triplet": {"negative": few["n"]}, "contrastive": {"same": same}}.get(name, {})
    loss = lossbench.loss(name)
    assert torch.autograd.gradcheck(
        lambda x: loss(x, target, **roles, **options).nansum(), few["a"].requires_grad_()
    )


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_finite_where_vectors_are_equal_or_zero(name):
    for start in (torch.zeros(4, 3), torch.ones(4, 3)):
        pred = start.clone().requires_grad_()
        target = torch.tensor([0, 0, 1, 1]) if name == "triplet_mining" else torch.ones(4, 3)
        roles = {"triplet": {"negative": torch.ones(4, 3)}, "contrastive": {"same": torch.ones(4)}}
        found = lossbench.loss(name)(pred, target, **roles.get(name, {}))
        found.nansum().backward()
        assert pred.grad.isfinite().all()


def test_every_loss_and_option_of_the_family_is_tried_here():
    family = {entry.name: entry for entry in lossbench.list_losses("embedding")}
    assert family.keys() == set(NAMES)
    tried = {"margin", "p", "squared", "swap", "temperature", "mining", "empty"}
    assert {option for entry in family.values() for option in entry.options} == tried


def test_empty_replaces_what_is_undefined():
    labels = np.array([0, 0, 1])  # the third has no positive
    vectors = np.array([[0.0, 0], [0, 1], [5, 5]])
    assert math.isnan(values("triplet_mining", vectors, labels)[2])
    assert values("triplet_mining(empty=0.5)", vectors, labels)[2] == 0.5


@pytest.mark.parametrize(
    ("loss", "target", "inputs", "message"),
    [
        ("triplet", B, {}, "triplet needs the role negative: --input negative=DIR"),
        ("cosine", B[:, :9], {}, "those of pred have 16 numbers, those of target 9"),
        ("triplet", B, {"negative": N[:, :3]}, "those of negative 3"),
        ("triplet_mining", B, {}, "takes one number a sample as target, .* its files hold 16"),
        ("cosine", LABELS, {}, "those of pred have 16 numbers, those of target 1"),
        ("cosine", B, {"weight": LABELS}, "--input weight has no meaning on a vectors task"),
    ],
)
def test_what_a_loss_asks_for_is_told_before_anything_is_computed(loss, target, inputs, message):
    with pytest.raises(lossbench.SettingError, match=message):
        lossbench.plan(A, target, loss, inputs=inputs)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros(9), r"has 9 numbers where the plan reads vectors \(16 float64\)"),
        (np.zeros((4, 4)), "is 4×4, no vector"),
        (np.full(16, np.inf), "16 values that are not finite numbers"),
        (np.array(["a"] * 16), "holds <U1, expected numbers"),
    ],
)
def test_a_file_that_does_not_fit_is_an_error_of_its_own(wrong, message):
    pred, target = ({f"{i:02d}": each[i] for i in range(40)} for each in (A, B))
    result = lossbench.evaluate({**pred, "11": wrong}, target, "cosine")
    (failed,) = result.failed
    assert (failed.id, failed.role, len(result.ids)) == ("11", "pred", 39)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(failed.message)


def test_a_pair_is_of_one_kind_or_of_two():
    result = lossbench.evaluate(A, B, "contrastive", inputs={"same": LABELS})
    assert len(result.failed) == int((LABELS > 1).sum())
    assert {failed.role for failed in result.failed} == {"same"}
    assert "expected 1 for a similar pair, 0 for a dissimilar one" in result.failed[0].message
