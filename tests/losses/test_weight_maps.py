"""Weight maps from the ground truth, against all pairs of pixels, torch and maps given as files."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.option_values import BESIDES, ENTRIES, LOGITS, typed
from helpers.tolerances import REFERENCE, TABLES, check_close
from skimage import measure
from torch.nn import functional

import lossbench
from lossbench.catalog.columns import resolve
from lossbench.catalog.registry import weight_maps
from lossbench.interface import weight_maps as maps

Command = Callable[..., subprocess.CompletedProcess[str]]
WEIGHING = {name: entry for name, entry in ENTRIES.items() if "weight_map" in entry.options}
SPACE = (12, 15)


# --- references -----------------------------------------------------------------------------------


def distances(mask: np.ndarray, spacing: Sequence[float] | None = None) -> np.ndarray:
    """From every pixel to the nearest one of a mask, by looking at all of them."""
    places = np.stack(np.indices(mask.shape), -1) * np.array(spacing or [1.0] * mask.ndim)
    apart = places[..., None, :] - places[mask]
    return np.sqrt((apart**2).sum(-1)).min(-1) if mask.any() else np.full(mask.shape, np.inf)


def unet(
    classes: np.ndarray,
    w0: float = 10.0,
    sigma: float = 5.0,
    class_weights: Sequence[float] = (1.0,) * 9,
    instances: np.ndarray | None = None,
    spacing: Sequence[float] | None = None,
) -> np.ndarray:
    """Ronneberger et al. 2015, eq. 2; a class of −1 is ignored."""
    if instances is None:
        masks = [
            found == number
            for each in np.unique(classes[classes > 0])
            for found in [measure.label(classes == each, connectivity=classes.ndim)]
            for number in range(1, found.max() + 1)
        ]
    else:
        numbers = np.unique(instances[(instances > 0) & (classes > 0)])
        masks = [(instances == number) & (classes > 0) for number in numbers]
    weight = np.array(class_weights)[classes]
    if len(masks) < 2:
        return weight
    first, second = np.sort([distances(mask, spacing) for mask in masks], axis=0)[:2]
    added = w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))
    return weight + np.where(classes == 0, added, 0)


def edge(
    classes: np.ndarray,
    width: float = 3.0,
    factor: float = 5.0,
    spacing: Sequence[float] | None = None,
) -> np.ndarray:
    near = np.zeros(classes.shape, bool)
    for each in np.unique(classes):
        others = (classes != each) & (classes >= 0)
        near |= (classes == each) & (distances(others, spacing) <= width)
    return np.where(near, factor, 1.0)


REFERENCES: list[tuple[str, Callable[..., np.ndarray], dict[str, Any]]] = [
    ("unet", unet, {}),
    ("unet", unet, {"w0": 3.0, "sigma": 1.5}),
    ("unet", unet, {"w0": 200.0, "sigma": 0.5, "class_weights": [0.5, 2.0]}),
    ("unet", unet, {"sigma": 1.0, "class_weights": [0.0, 1.0]}),
    ("unet", unet, {"w0": 0.0}),
    ("edge", edge, {}),
    ("edge", edge, {"width": 1.0, "factor": 0.25}),
    ("edge", edge, {"width": 1.5, "factor": 0.0}),
]


def told(name: str, options: dict[str, Any]) -> str:
    return typed(name, options).replace("'", "")


def labels(space: Sequence[int], seed: int, classes: int = 2, share: float = 0.75) -> np.ndarray:
    """Small things far and near, with pixels of −1 that are ignored."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, classes, space)
    found[rng.random(space) < share] = 0
    found[rng.random(space) < 0.1] = -1
    return found


# --- the maps themselves --------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "reference", "options"), REFERENCES)
@pytest.mark.parametrize("space", [(13, 17), (5, 6, 7), (40,), (1, 1)])
def test_a_map_is_what_all_pairs_say(name, reference, options, space):
    for seed, share in ((0, 0.75), (1, 0.98), (2, 0.3), (3, 1.0)):
        classes = labels(space, seed, share=share)
        for spacing in (None, (0.5, 2.0, 1.2)[: len(space)]):
            plane = maps.Plane(classes, maps.components(classes), spacing)
            found = maps.MAPS[name](plane, **options)
            wanted = reference(classes, spacing=spacing, **options)
            seen = classes >= 0
            check_close(found[seen], wanted[seen], TABLES, (seed, spacing))


def test_far_apart_instances_add_nothing_that_can_be_seen():
    """The image is larger than what a map looks at about an instance."""
    classes = np.zeros((3, 400), np.int64)
    classes[1, [5, 60, 350]] = 1
    plane = maps.Plane(classes, maps.components(classes), None)
    assert maps.two_nearest(plane.instances, 50, None)[1].max() == math.inf
    check_close(maps.unet(plane), unet(classes), 0)


def test_a_gap_by_hand():
    """Between the pixels 0 and 3 of a row d₁ + d₂ is 3, beyond them 1 + 4 and 2 + 5."""
    row = np.array([[1, 0, 0, 1, 0, 0]])
    plane = maps.Plane(row, maps.components(row), None)
    gap, near, far = (10 * math.exp(-(d**2) / 50) for d in (3, 5, 7))
    check_close(maps.unet(plane), [[1, 1 + gap, 1 + gap, 1, 1 + near, 1 + far]], TABLES)
    assert maps.edge(plane, width=1.0).tolist() == [[5, 5, 5, 5, 5, 1]]
    single = np.array([[0, 1, 1, 0]])
    assert (maps.unet(maps.Plane(single, maps.components(single), None)) == 1).all()


# --- losses with a map ----------------------------------------------------------------------------

TASKS = {"binary": 1, "multiclass": 3, "multilabel": 3}


@cache
def samples(task: str) -> tuple[list[Any], list[Any], list[Any], list[list[np.ndarray]]]:
    """Predictions (C, H, W) as logits, stored truth, weights, and its planes of classes."""
    rng = np.random.default_rng(4)
    preds, truths, weights, planes = [], [], [], []
    for seed in range(3):
        preds.append(rng.normal(0, 2, (TASKS[task], *SPACE)))
        weight = rng.integers(1, 4, SPACE) / 2
        if task == "multilabel":
            found = [labels(SPACE, 10 * seed + each) for each in range(3)]
            ignored = rng.random(SPACE) < 0.1
            found = [np.where(ignored, -1, np.maximum(plane, 0)) for plane in found]
        else:
            found = [labels(SPACE, seed, TASKS[task] + (task == "binary"))]
            ignored = found[0] < 0
        weights.append(np.where(ignored, 0, weight))
        planes.append(found)
        truths.append(np.stack([np.maximum(plane, 0) for plane in found]).astype(np.uint8))
    return preds, truths, weights, planes


def run(task: str, losses: list[str], weights: list[np.ndarray], logits: bool, **roles: Any) -> Any:
    preds, truths, _, _ = samples(task)
    stack = [torch.tensor(pred) for pred in preds]
    if not logits:
        stack = [x.softmax(0) if task == "multiclass" else x.sigmoid() for x in stack]
    one = task != "multilabel"
    result = lossbench.evaluate(
        [x[0].numpy() if task == "binary" else x.numpy() for x in stack],
        [truth[0] if one else truth for truth in truths],
        losses,
        task=task,
        pred_encoding="logits" if logits else "probability",
        gt_encoding="labels" if task == "multiclass" else "mask",
        inputs={"weight": weights, **roles},
        **({"classes": 3} if task == "multiclass" else {}),
    )
    assert not result.failed
    return result


def with_map(name: str, text: str) -> str:
    return typed(name, {**BESIDES.get(name, {}), "weight_map": text})


# Whose numbers follow from weighted counts of a whole data set; a map has no part in those.
FROM_ALL_TRUTH = {"weighted_bce"}


@pytest.mark.parametrize("text", ["unet(w0=3, sigma=2)", "edge(width=1.5, factor=4)"])
@pytest.mark.parametrize("logits", [False, True], ids=["probability", "logits"])
@pytest.mark.parametrize("task", TASKS)
def test_a_map_is_worth_the_same_map_as_a_role(task, logits, text):
    """The values of every loss with weights of its own are held against torch and others in
    test_losses.py; here the map is what all pairs say."""
    _, _, weights, planes = samples(task)
    reference = {"unet": unet, "edge": edge}[text.partition("(")[0]]
    options = {"w0": 3, "sigma": 2} if reference is unet else {"width": 1.5, "factor": 4}
    by_hand = [
        np.stack([weight * reference(plane, **options) for plane in found])
        for weight, found in zip(weights, planes, strict=True)
    ]
    by_hand = [x if task == "multilabel" else x[0] for x in by_hand]
    names = [
        name
        for name, entry in WEIGHING.items()
        if task in entry.tasks and (logits or name not in LOGITS) and name not in FROM_ALL_TRUTH
    ]
    assert len(names) > 20
    found = run(task, [with_map(name, text) for name in names], weights, logits)
    plain = [typed(name, BESIDES.get(name, {})) for name in names]
    wanted = run(task, plain, by_hand, logits)
    without = run(task, plain, weights, logits)
    changed = 0
    for name, loss in zip(names, plain, strict=True):
        mapped = found.values[with_map(name, text)]
        for part in ("samples", "classes", "pooled", "pooled_classes"):
            numbers = [getattr(each, part) for each in (mapped, wanted.values[loss])]
            check_close(*numbers, TABLES, (name, part))
        changed += mapped.samples != without.values[loss].samples
    assert changed > 0.8 * len(names)


def test_weighted_cross_entropies_are_those_of_torch():
    preds, truths, *_ = samples("binary")
    ones = [np.ones(SPACE)] * 3
    found = run("binary", ["bce(weight_map=unet)", "bce(weight_map=edge, over=all)"], ones, True)
    for place, (pred, truth) in enumerate(zip(preds, truths, strict=True)):
        logits, target = torch.tensor(pred[0]), torch.tensor(truth[0] * 1.0)
        for loss, each, mean in (
            ("bce(weight_map=unet)", unet(truth[0].astype(int)), False),
            ("bce(weight_map=edge, over=all)", edge(truth[0].astype(int)), True),
        ):
            weight = torch.tensor(each)
            wanted = functional.binary_cross_entropy_with_logits(logits, target, weight)
            wanted = wanted if mean else wanted * weight.numel() / weight.sum()
            check_close(found.values[loss].samples[place], float(wanted), REFERENCE, loss)


def test_multiclass_cross_entropy_weighs_classes_and_gaps():
    """w_c(x) + w0·exp(…), the weights of classes given to the map."""
    preds, _, weights, planes = samples("multiclass")
    text = "unet(w0=4, sigma=2, class_weights=[0.5, 2, 1.5])"
    loss = f"cross_entropy(weight_map={text})"
    found = run("multiclass", [loss], weights, True).values[loss].samples
    for place, (pred, (classes,)) in enumerate(zip(preds, planes, strict=True)):
        target = torch.tensor(np.maximum(classes, 0))
        each = functional.cross_entropy(torch.tensor(pred)[None], target[None], reduction="none")
        by_hand = weights[place] * unet(classes, 4, 2, [0.5, 2, 1.5])
        wanted = (each[0].numpy() * by_hand).sum() / by_hand.sum()
        check_close(found[place], wanted, REFERENCE)


def test_instances_come_from_a_role_where_it_is_given():
    """Things that touch are told apart; what lies outside the foreground is none."""
    rng = np.random.default_rng(7)
    truth = np.zeros(SPACE, np.uint8)
    truth[2:10, 2:12] = 1
    truth[4:7, 7] = 0
    instances = np.where(np.arange(SPACE[1]) < 7, 40_000, 300) * np.ones(SPACE, np.uint16)
    instances[5, 3] = 0
    pred = rng.random(SPACE)
    how = {"task": "binary", "pred_encoding": "probability"}
    loss = "bce(weight_map=unet(sigma=2))"

    def value(**given: Any) -> float:
        result = lossbench.evaluate([pred], [truth], loss, **how, **given)
        assert not result.failed
        return result.values[loss].samples[0]

    def by_hand(found: np.ndarray | None) -> float:
        weight = unet(truth.astype(int), sigma=2, instances=found)
        sides = (torch.tensor(x * 1.0) for x in (pred, truth))
        each = functional.binary_cross_entropy(*sides, reduction="none").numpy()
        return (each * weight).sum() / weight.sum()

    assert value(inputs={"instances": [instances]}) == pytest.approx(by_hand(instances), rel=1e-12)
    assert value() == pytest.approx(by_hand(None), rel=1e-12)
    assert by_hand(None) != pytest.approx(by_hand(instances), rel=1e-3)


def test_a_map_is_made_once_for_all_losses_that_want_it(monkeypatch):
    made = []
    monkeypatch.setitem(
        maps.MAPS, "edge", lambda *given, **how: made.append(how) or edge(given[0].classes)
    )
    run("binary", ["bce(weight_map=edge)", "dice(weight_map=edge(width=3.0))", "l1",
                   "l1(weight_map=edge(factor=5))"], [np.ones(SPACE)] * 3, False)  # fmt: skip
    assert len(made) == 3  # samples


def test_losses_without_a_map_keep_their_tables():
    rng = np.random.default_rng(0)
    pred, target = rng.integers(0, 256, (2, 9, 9)).astype(np.uint8), rng.integers(0, 2, (2, 9, 9))
    target = target.astype(np.uint8)
    how = {"task": "binary", "pred_encoding": "probability"}
    both = lossbench.evaluate(list(pred), list(target), ["dice", "bce(weight_map=edge)"], **how)
    alone = lossbench.evaluate(list(pred), list(target), ["dice"], **how)
    assert both.run["plan"]["counted"]
    assert repr(both.values["dice"]) == repr(alone.values["dice"])
    assert both.pooled["tables"] == alone.pooled["tables"]


# --- how it is written and told -------------------------------------------------------------------


def test_every_option_of_a_map_has_a_reference():
    assert set(weight_maps()) == set(maps.MAPS)
    for name, found in weight_maps().items():
        tried = {option for each, _, options in REFERENCES for option in options if each == name}
        assert tried == set(found.options)


def test_two_spellings_of_a_map_are_one_loss():
    spellings = ["bce(weight_map=unet)", "bce(weight_map=unet(w0=10.0, sigma=5))",
                 "bce(weight_map='unet(sigma=5.0)')"]  # fmt: skip
    (first, *others) = [column.node for column in resolve(spellings, {})]
    assert others == [first, first]
    assert first != resolve(["bce(weight_map=unet(w0=9))"], {})[0].node


def test_the_result_tells_the_map(tmp_path: Path, lossbench_command: Command):
    """Written in a config, with a gate of its own."""
    for side in ("pred", "gt"):
        (tmp_path / side).mkdir()
        np.save(tmp_path / side / "a.npy", np.eye(6, dtype=np.uint8))
    (tmp_path / "lossbench.yaml").write_text(
        "pred: pred\ntarget: gt\ntask: binary\nlosses:\n  - near: bce(weight_map=edge(width=2))\n"
        "gates: ['near.mean <= 0.5', 'bce(weight_map=unet(w0=2)).mean <= 0.5']\n",
        "utf-8",
    )
    run = lossbench.plan(**lossbench.load_config(tmp_path / "lossbench.yaml").settings)
    found = run.evaluate().as_json()["run"]["losses"]
    assert [each["options"]["weight_map"] for each in found] == [
        "edge(width=2, factor=5)",
        "unet(w0=2, sigma=5, class_weights=none)",
    ]
    assert found[1]["name"] == "bce(weight_map=unet(w0=2))"
    told = lossbench_command("explain", "bce").stdout
    assert "weight_map=none" in told
    for name, each in weight_maps().items():
        assert name in told
        assert all(option in told for option in each.options)


def test_a_loss_for_training_has_maps_too():
    logits, target = torch.randn(2, 1, *SPACE, dtype=torch.float64), torch.zeros(2, *SPACE)
    target[:, 3:5, 3:5] = target[:, 8:10, 9:12] = 1
    weight = torch.tensor(unet(target[0].numpy().astype(int)))
    found = lossbench.loss("bce")(logits, target, encoding="logits", weight_map="unet")
    each = functional.binary_cross_entropy_with_logits(
        logits[:, 0], target.double(), reduction="none"
    )
    check_close(found, (each * weight).sum((1, 2)) / weight.sum(), REFERENCE)
    slopes = lossbench.gradcheck("bce(weight_map=edge) + dice(weight_map=unet)", task="binary")
    assert all(slope.passed for slope in slopes)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("bce(weight_map=unit)", "no weight map is called 'unit' .did you mean 'unet'"),
        ("bce(weight_map=unet(w=3))", "unet has no option 'w' .did you mean 'w0'"),
        ("bce(weight_map=unet(sigma=0))", "unet: sigma is a number above 0, not 0"),
        ("bce(weight_map=edge(factor=-1))", "edge: factor is a number from 0, not -1"),
        ("bce(weight_map=3)", "weight_map is a weight map such as unet"),
        ("bce(weight_map='edge(')", "weight_map|expected"),
        ("bce(weight_map=unet(class_weights=[1, 2, 3]))", "3 numbers for 2 classes"),
        ("dice(smooth=unet(w0=1))", r"smooth is a number from 0, not unet\(w0=1\)"),
        ("ssim(weight_map=edge)", "ssim has no option 'weight_map'"),
    ],
)
def test_what_is_no_map_is_told(loss, message):
    eye = [np.eye(12, dtype=np.uint8)]
    with pytest.raises(lossbench.SettingError, match=message):
        lossbench.evaluate(eye, eye, loss, task="binary")


def test_a_map_needs_classes():
    eye = [np.eye(4, dtype=np.uint8)]
    with pytest.raises(lossbench.SettingError, match="an image task has none"):
        lossbench.evaluate(eye, eye, "l1(weight_map=edge)", task="image")


def test_instances_need_a_loss_and_whole_numbers():
    eye = np.eye(4, dtype=np.uint8)
    given = {"task": "binary", "inputs": {"instances": [eye * 0.5]}}
    with pytest.raises(lossbench.SettingError, match="no loss uses the role instances"):
        lossbench.plan([eye], [eye], ["dice", "bce(weight_map=edge)"], **given)
    result = lossbench.evaluate([eye], [eye], "bce(weight_map=unet)", **given)
    assert "instances that are no whole numbers" in result.failed[0].message
