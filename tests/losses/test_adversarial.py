"""Adversarial losses against torch, values worked by hand, and their identities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tolerances import REFERENCE, check_close
from torch.nn import functional

import lossbench

RANDOM = np.random.default_rng(23)
FAKE = [RANDOM.normal(size=shape) * 2 for shape in [(5, 5), (1,), (3, 4, 2)]]  # patches, a number
REAL = [RANDOM.normal(size=shape) * 2 for shape in [(5, 5), (2, 2), (7,)]]
GRADIENT = [np.abs(RANDOM.normal(size=(4,))) for _ in range(3)]
NAMES = ("gan_minimax", "gan_nonsaturating", "lsgan", "wgan", "wgan_gp", "gan_hinge", "cycle",
         "identity")  # fmt: skip
LOG2 = math.log(2)


def values(loss: str, pred: Any, target: Any, **how: Any) -> list[float]:
    result = lossbench.evaluate(pred, target, f"it = {loss}", **how)
    assert not result.failed, result.failed
    return result.values["it"].samples


def bce(scores: Any, label: float) -> float:
    """torch's, of logits that should all be told to be `label`."""
    logits = torch.tensor(scores)
    return float(
        functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
    )


def mse(scores: Any, wanted: float) -> float:
    given = torch.tensor(scores)
    return float(functional.mse_loss(given, torch.full_like(given, wanted)))


def hinge(scores: Any, label: int) -> float:
    """torch's hinge of distances, at margin 1: mean max(0, 1 − x) for −1."""
    return float(
        functional.hinge_embedding_loss(
            label * torch.tensor(scores), -torch.ones(1, dtype=torch.float64)
        )
    )


def penalty(norms: Any) -> float:
    return 10 * mse(norms, 1.0)


GENERATOR = "side=generator"
REFERENCES: list[tuple[str, Any]] = [
    ("gan_minimax", lambda f, r, g: bce(f, 0) + bce(r, 1)),
    (f"gan_minimax({GENERATOR})", lambda f, r, g: -bce(f, 0)),
    ("gan_nonsaturating", lambda f, r, g: bce(f, 0) + bce(r, 1)),
    (f"gan_nonsaturating({GENERATOR})", lambda f, r, g: bce(f, 1)),
    ("lsgan", lambda f, r, g: (mse(f, 0) + mse(r, 1)) / 2),
    ("lsgan(a=-1, b=2)", lambda f, r, g: (mse(f, -1) + mse(r, 2)) / 2),
    (f"lsgan(c=0.5, {GENERATOR})", lambda f, r, g: mse(f, 0.5) / 2),
    ("wgan", lambda f, r, g: f.mean() - r.mean()),
    (f"wgan({GENERATOR})", lambda f, r, g: -f.mean()),
    ("wgan_gp", lambda f, r, g: f.mean() - r.mean() + penalty(g)),
    ("wgan_gp(lambda_=2)", lambda f, r, g: f.mean() - r.mean() + penalty(g) / 5),
    ("gan_hinge", lambda f, r, g: hinge(r, 1) + hinge(f, -1)),
    (f"gan_hinge({GENERATOR})", lambda f, r, g: -f.mean()),
]


@pytest.mark.parametrize(("loss", "reference"), REFERENCES, ids=[name for name, _ in REFERENCES])
def test_values_equal_torch(loss, reference):
    roles = {"gradient_norm": GRADIENT} if loss.startswith("wgan_gp") else {}
    wanted = [reference(*each) for each in zip(FAKE, REAL, GRADIENT, strict=True)]
    check_close(values(loss, FAKE, REAL, inputs=roles, task="scores"), wanted, REFERENCE)


@pytest.mark.parametrize("side", ["discriminator", "generator"])
@pytest.mark.parametrize("name", ["gan_minimax", "gan_nonsaturating"])
def test_probabilities_are_the_sigmoid_of_logits(name, side):
    chances = [[1 / (1 + np.exp(-x)) for x in each] for each in (FAKE, REAL)]
    found = values(f"{name}(side={side}, logits=false)", *chances, task="scores")
    check_close(found, values(f"{name}(side={side})", FAKE, REAL, task="scores"), REFERENCE)


def test_minimax_optimum_is_2_log_2():
    """D = ½ everywhere; and no constant of a discriminator that sees no difference is better."""
    constant = [np.full((3, 3), x) for x in np.linspace(-2, 2, 9)]
    found = values("gan_minimax", constant, constant, task="scores")
    assert found[4] == pytest.approx(2 * LOG2, abs=1e-15)
    assert min(found) == found[4]
    half = [np.full((3, 3), 0.5)]
    assert values("gan_minimax(logits=false)", half, half, task="scores") == [2 * LOG2]
    generator = "gan_nonsaturating(side=generator)"
    assert values(generator, constant[4:5], constant[:1], task="scores") == [LOG2]


def test_certain_answers_stay_finite():
    """logits ±1e4 cost 1e4 where wrong; probabilities 0 and 1 cost 100 (BCELoss clamps there)."""
    right, wrong = [np.array([1e4])], [np.array([-1e4])]
    assert values("gan_minimax", wrong, right, task="scores") == [0]
    assert values("gan_minimax", right, wrong, task="scores") == [2e4]
    zero, one = [np.array([0.0])], [np.array([1.0])]
    assert values("gan_minimax(logits=false)", one, zero, task="scores") == [200]


def test_each_side_is_averaged_over_its_own_elements():
    """By hand: D(G(z)) = 1, 3, 5, 7 (mean 4), D(x) = 1."""
    fake, real = [np.array([[1.0, 3], [5, 7]])], [np.array([1.0])]
    assert values("wgan", fake, real, task="scores") == [3]


# --- cycles ---------------------------------------------------------------------------------------

IMAGES = {name: RANDOM.integers(0, 256, (2, 6, 7), np.uint8) for name in ("there", "x")}
BACK = {name: RANDOM.integers(0, 256, (2, 4, 9), np.uint8) for name in ("back", "y")}
SAME = {"x": RANDOM.integers(0, 256, (2, 6, 7), np.uint8),
        "y": RANDOM.integers(0, 256, (2, 4, 9), np.uint8)}  # fmt: skip
ROLES = {"pred_back": BACK["back"], "target_back": BACK["y"]}


def l1(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """torch's, of each image."""
    pair = (torch.tensor(each / 255) for each in (pred, target))
    return functional.l1_loss(*pair, reduction="none").mean((1, 2)).numpy()


@pytest.mark.parametrize(("name", "weight"), [("cycle", 10), ("identity", 5)])
def test_a_cycle_is_the_sum_of_its_parts(name, weight):
    parts = l1(IMAGES["there"], IMAGES["x"]), l1(BACK["back"], BACK["y"])
    sides = IMAGES["there"], IMAGES["x"]
    check_close(values(name, *sides, inputs=ROLES), weight * sum(parts), REFERENCE)
    check_close(values(f"{name}(weight=3)", *sides, inputs=ROLES), 3 * sum(parts), REFERENCE)
    alone = {role: np.zeros_like(each) for role, each in ROLES.items()}
    check_close(values(name, *sides, inputs=alone), weight * parts[0], REFERENCE)
    check_close(values(name, sides[1], sides[1], inputs=ROLES), weight * parts[1], REFERENCE)


def test_the_whole_objective_is_one_expression():
    """Zhu et al. 2017, a generator's: lsgan + cycle + identity, images and scores side by side."""
    inputs = {**ROLES, "d_fake": FAKE[:2], "d_real": REAL[:2],
              "identity_pred": SAME["x"], "identity_back": SAME["y"]}  # fmt: skip
    whole = "lsgan(side=generator) + cycle + identity"
    found = values(whole, IMAGES["there"], IMAGES["x"], inputs=inputs)
    adversarial = [mse(each, 1) / 2 for each in FAKE[:2]]
    cycles = 10 * (l1(IMAGES["there"], IMAGES["x"]) + l1(BACK["back"], BACK["y"]))
    identities = 5 * (l1(SAME["x"], IMAGES["x"]) + l1(SAME["y"], BACK["y"]))
    check_close(found, adversarial + cycles + identities, REFERENCE)


@pytest.mark.parametrize("name", ["cycle", "identity"])
def test_ignored_pixels_leave_a_cycle(name):
    keep = RANDOM.random((2, 6, 7)) < 0.6
    inputs = {**ROLES, "valid": keep}
    wanted = [
        l1(IMAGES["there"][i][keep[i]][None, None], IMAGES["x"][i][keep[i]][None, None])[0]
        for i in range(2)
    ] + l1(BACK["back"], BACK["y"])
    found = values(f"{name}(weight=1)", IMAGES["there"], IMAGES["x"], inputs=inputs)
    check_close(found, wanted, REFERENCE)


def test_images_of_a_cycle_that_differ_in_size_are_told():
    inputs = {**ROLES, "pred_back": ROLES["pred_back"][:, :3]}
    result = lossbench.evaluate(IMAGES["there"], IMAGES["x"], "cycle", inputs=inputs)
    assert {(failed.role, failed.kind) for failed in result.failed} == {("pred_back", "size")}
    assert "is 9×3 with 1 channels, but its counterpart is 9×4" in result.failed[0].message


# --- what is refused, training, gradients ---------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "how", "message"),
    [
        ("wgan_gp", {}, "wgan_gp needs the role gradient_norm: --input gradient_norm=DIR"),
        ("cycle", {}, "cycle needs the role pred_back"),
        ("gan_minimax", {"inputs": {"pred_back": FAKE}},
         "the role pred_back; losses that do: cycle, identity"),
        ("gan_minimax", {"task": "binary"}, "gan_minimax has no meaning on a binary task"),
        ("gan_minimax", {"task": "scores", "threshold": 0.3}, "--threshold has no meaning on a"),
        ("gan_minimax", {"task": "scores", "classes": 3}, "--classes has no meaning on a scores"),
    ],
)  # fmt: skip
def test_wrong_settings(loss, how, message):
    with pytest.raises(lossbench.SettingError, match=message):
        lossbench.plan(FAKE, REAL, loss, **how)


def test_images_are_no_outputs_of_a_discriminator():
    with pytest.raises(lossbench.SettingError, match="--input d_fake=DIR"):
        lossbench.evaluate(IMAGES["x"], IMAGES["x"], "gan_minimax + l1", task="image")


def test_what_is_no_probability_is_told():
    result = lossbench.evaluate([FAKE[0]], [REAL[0]], "gan_minimax(logits=false)", task="scores")
    (failed,) = result.failed
    assert (failed.role, failed.loss) == ("pred", "gan_minimax")
    assert "outside the probabilities 0 to 1; if these are logits, omit" in failed.message
    norms = [np.array([-0.5])]
    result = lossbench.evaluate([FAKE[0]], [REAL[0]], "wgan_gp", inputs={"gradient_norm": norms})
    assert "-0.5; a norm cannot be negative" in result.failed[0].message


@pytest.mark.parametrize("side", ["discriminator", "generator"])
@pytest.mark.parametrize("name", NAMES[:6])
def test_training_takes_scores_and_has_the_gradient_of_finite_differences(name, side):
    options = {} if name == "wgan_gp" else {"side": side}
    fake, real = (torch.tensor(np.stack([each[0], each[0] + 1])) for each in (FAKE, REAL))
    roles = {"gradient_norm": torch.tensor(np.stack(GRADIENT[:2]))} if name == "wgan_gp" else {}
    loss = lossbench.loss(name)
    text = ", ".join(f"{key}={value}" for key, value in options.items())
    given = {role: list(each.numpy()) for role, each in roles.items()}
    sides = (list(each.numpy()) for each in (fake, real))
    wanted = values(f"{name}({text})" if text else name, *sides, inputs=given, task="scores")
    check_close(loss(fake, real, **roles, **options).detach(), wanted, REFERENCE)
    assert torch.autograd.gradcheck(
        lambda x: loss(x, real, **roles, **options), fake.requires_grad_()
    )


@pytest.mark.parametrize("name", ["cycle", "identity"])
def test_training_takes_the_images_of_a_cycle(name):
    x = {key: torch.tensor(each[:, None] / 255) for key, each in {**IMAGES, **BACK}.items()}
    found = lossbench.loss(name)(
        x["there"], x["x"], encoding="image", pred_back=x["back"], target_back=x["y"]
    )
    check_close(found, values(name, IMAGES["there"], IMAGES["x"], inputs=ROLES), REFERENCE)


def test_every_loss_and_option_of_the_family_is_tried_here():
    family = {entry.name: entry for entry in lossbench.list_losses("adversarial")}
    assert family.keys() == set(NAMES)
    options = {option for entry in family.values() for option in entry.options}
    tried = {"side", "logits", "a", "b", "c", "lambda_", "weight", "empty"}
    assert options - tried <= {"weight_map"}  # which is refused on images
