"""The values of losses, from meanings and with numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from helpers.drawn_folders.meaning import Drawn, Meaning


def _ratio(above: Any, below: Any) -> float:
    return float(above / below) if below else float("nan")


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if value == value]
    return _ratio(sum(defined), len(defined))


def right_values(drawn: Drawn, meaning: Meaning) -> dict[str, dict[str, float]]:
    """Loss -> the value of the sample under "", and those of its classes by name."""
    valid = ~meaning.void
    pred, target = (side[:, valid] for side in (meaning.pred, meaning.target))
    if drawn.task == "image":
        error = pred - target
        with np.errstate(divide="ignore"):
            noise = -10 * np.log10((error**2).mean())
        return {"l1": {"": float(np.abs(error).mean()) * drawn.unit}, "psnr": {"": float(noise)}}
    if drawn.task == "multiclass":
        hard = [side.argmax(0) == np.arange(len(side))[:, None] for side in (pred, target)]
        right = (hard[0] & hard[1]).sum()
        accuracy = _ratio(right, valid.sum())
    else:
        hard = [side >= 0.5 for side in (pred, target)]
        accuracy = float((hard[0] == hard[1]).mean()) if valid.any() else float("nan")
    both, either = (hard[0] & hard[1]).sum(1), (hard[0] | hard[1]).sum(1)
    areas = hard[0].sum(1) + hard[1].sum(1)
    iou = [_ratio(*pair) for pair in zip(both, either, strict=True)]
    dice = [_ratio(*pair) for pair in zip(2 * both, areas, strict=True)]
    values = {
        "iou": dict(zip(drawn.names, iou, strict=False)) | {"": _mean(iou)},
        "dice_score": dict(zip(drawn.names, dice, strict=False)) | {"": _mean(dice)},
        "accuracy": {"": accuracy},
    }
    if drawn.task == "binary" and drawn.soft:
        loss = 1 - _ratio(2 * (pred * target).sum(), pred.sum() + target.sum())
        values["dice"] = {"": loss}
        values["l1"] = {"": float(np.abs(pred - target).mean()) if valid.any() else float("nan")}
    return values
