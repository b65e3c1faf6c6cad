"""A loss of the catalogue as a function of plain tensors, for training loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from lossbench import catalog
from lossbench.columns import check_options
from lossbench.errors import SettingError
from lossbench.views.call import evaluate
from lossbench.views.values import Side, Task, Values


def tensor_loss(name: str) -> Callable[..., Tensor]:
    """A loss by name or alias as a differentiable function of tensors.

    The function takes pred (B, C, *space), target as labels (B, *space) or as (B, C, *space), and
    an optional weight (B, *space) or (B, C, *space); 0 ignores a pixel. `encoding` says what pred
    holds. `task` is binary for one channel and multiclass for several unless it is given. Options
    are those of `lossbench explain NAME`. It returns (B,) in the type of pred, nan where undefined.
    """
    entry = catalog.find(name)

    def on_tensors(
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        *,
        encoding: Literal["probability", "logits", "image"] = "probability",
        task: Task | None = None,
        **options: Any,
    ) -> Tensor:
        if encoding not in ("probability", "logits", "image"):
            raise SettingError(
                f"encoding {encoding!r}: a prediction holds probability, logits or an image"
            )
        default: Task = "binary" if pred.shape[1] == 1 else "multiclass"
        task = "image" if encoding == "image" else task or default
        if task not in entry.tasks:
            raise SettingError(f"{entry.name} has no meaning on a {task} task")
        if target.ndim == pred.ndim - 1:
            target = (
                functional.one_hot(target.long(), pred.shape[1]).movedim(-1, 1)
                if task == "multiclass"
                else target[:, None]
            )
        if target.shape != pred.shape:
            raise SettingError(
                f"target is {tuple(target.shape)} where pred is {tuple(pred.shape)}; expected the "
                "same shape, or labels without the class axis"
            )
        weight = torch.ones_like(pred[:, :1]) if weight is None else weight.to(pred)
        if weight.ndim == pred.ndim - 1:
            weight = weight[:, None]
        elements = pred[0, 0].numel()
        values = Values(
            {
                "pred": Side(_flat(pred), task, logits=encoding == "logits"),
                "target": Side(_flat(target.to(pred.dtype)), task),
            },
            _flat(weight),
            pixels=torch.full((pred.shape[0],), elements, dtype=pred.dtype, device=pred.device),
        )
        return evaluate(entry.function, values, check_options(entry, options))[0]

    return on_tensors


def _flat(tensor: Tensor) -> Tensor:
    """(B, C, *space) as (B, C, N); a vector (B, C) is one element."""
    return tensor.reshape(*tensor.shape[:2], -1)
