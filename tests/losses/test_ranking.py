"""Rankings of float predictions over all pixels of a run, which are listed and joined."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

import lossbench

DRAW = np.random.default_rng(5)
MASKS = [DRAW.random((9, 8)) > share for share in (0.3, 0.9, 0.5, 0.6)]
# Rounded, so that there are ties within pictures and between them.
MAPS = [np.round(np.clip(mask * 0.3 + DRAW.random((9, 8)) * 0.7, 0, 1), 2) for mask in MASKS]
LOSSES = ["auc", "average_precision", "lovasz"]


def flat(arrays: list[Any]) -> Any:
    return np.concatenate([array.ravel() for array in arrays])


def test_pooled_is_that_of_all_pixels() -> None:
    found = lossbench.evaluate(MAPS, MASKS, LOSSES, task="binary").values
    labels, scores = flat(MASKS), flat(MAPS)
    assert found["auc"].pooled == pytest.approx(roc_auc_score(labels, scores), rel=1e-12)
    expected = average_precision_score(labels, scores)
    assert found["average_precision"].pooled == pytest.approx(expected, rel=1e-12)
    assert found["lovasz"].pooled == pytest.approx(by_steps(labels, scores), rel=1e-12)


def by_steps(labels: Any, scores: Any) -> float:
    """Berman et al. 2018, equation 9, one pixel after another."""
    errors = np.abs(labels - scores)
    total, wrong, before = 0.0, np.zeros(len(labels), bool), 0.0
    for place in np.argsort(-errors, kind="stable"):
        wrong[place] = True
        missed, extra = (wrong & labels).sum(), (wrong & ~labels).sum()
        jaccard_loss = (missed + extra) / (labels.sum() + extra)
        total += errors[place] * (jaccard_loss - before)
        before = jaccard_loss
    return total


@pytest.mark.parametrize("counted", [False, True])
def test_lovasz_of_all_images_as_one(counted: bool) -> None:
    """smp's LovaszLoss(per_image=False): the pixels of all images are one image."""
    maps = [np.round(each * 255).astype(np.uint8) if counted else each for each in MAPS]
    loss = "lovasz(per_image=false)"
    found = lossbench.evaluate(maps, MASKS, loss, task="binary")
    scores = flat(maps) / (255 if counted else 1)
    expected = by_steps(flat(MASKS), scores)
    assert found.values[loss].samples == [pytest.approx(expected, rel=1e-12)] * 4
    assert found.aggregates[loss]["mean"] == pytest.approx(expected, rel=1e-12)
    assert found.values[loss].pooled == pytest.approx(expected, rel=1e-12)


def test_lovasz_of_a_batch_as_one_in_training() -> None:
    pred = torch.tensor(np.stack(MAPS))[:, None].requires_grad_()
    target = torch.tensor(np.stack(MASKS)).double()[:, None]
    values = lossbench.loss("lovasz")(pred, target, per_image=False)
    expected = by_steps(flat(MASKS), flat(MAPS))
    assert values.tolist() == [pytest.approx(expected, rel=1e-12)] * 4
    values.mean().backward()
    assert torch.isfinite(pred.grad).all()
    assert pred.grad.any()


def test_lovasz_of_classes_as_one() -> None:
    labels = [DRAW.integers(0, 3, (5, 6)) for _ in range(3)]
    logits = [DRAW.normal(size=(3, 5, 6)) for _ in range(3)]
    how: dict[str, Any] = {"task": "multiclass", "pred_encoding": "logits", "classes": 3}
    loss = "lovasz(per_image=false)"
    found = lossbench.evaluate(logits, labels, loss, **how).values[loss]
    one = lossbench.evaluate([np.concatenate(logits, 1)], [np.concatenate(labels)], "lovasz", **how)
    assert found.samples == [pytest.approx(one.values["lovasz"].samples[0], rel=1e-12)] * 3
    for row, wanted in zip(found.classes, one.values["lovasz"].classes, strict=True):
        assert row == [pytest.approx(wanted[0], rel=1e-12)] * 3


def test_groups_and_shards_are_joined(tmp_path: Path) -> None:
    ids = [f"{group}/{number}" for group in "ab" for number in (1, 2)]
    sides = [dict(zip(ids, side, strict=True)) for side in (MAPS, MASKS)]
    how: dict[str, Any] = {"task": "binary", "group_by": "{group}/{number}"}
    whole = lossbench.evaluate(*sides, LOSSES, **how)
    for number, group in enumerate("ab"):
        part = slice(2 * number, 2 * number + 2)
        expected = roc_auc_score(flat(MASKS[part]), flat(MAPS[part]))
        pooled = whole.group_aggregates[group]["auc"]["pooled"]
        assert pooled == pytest.approx(expected, rel=1e-12)
    files = []
    for index in (1, 2, 3):
        files.append(tmp_path / f"{index}.json")
        lossbench.save(lossbench.evaluate(*sides, LOSSES, shard=f"{index}/3", **how), files[-1])
    merged = lossbench.merge(files)
    assert merged.aggregates == whole.aggregates
    assert merged.group_aggregates == whole.group_aggregates


def test_too_many_scores_have_no_pooled_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossbench.engine.state.accumulators.MOST_ROWS", 100)
    found = lossbench.evaluate(MAPS, MASKS, LOSSES, task="binary").values
    for name in LOSSES:
        assert math.isnan(found[name].pooled)
        assert len(found[name].samples) == 4
