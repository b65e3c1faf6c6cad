"""Adapter for a user's plain function of arrays, so that it is called like every other loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbench.errors import InputError
from lossbench.interface.annotations import PerSample
from lossbench.interface.sample_batch import SampleBatch


@cache
def adapted(
    function: Callable[..., Any],
    name: str,
    parameters: tuple[tuple[str, str], ...],
    options: tuple[str, ...],
) -> Callable[..., Tensor]:
    """Adapt a function of one sample's arrays to `SampleBatch`.

    Args:
        function: takes its own copies of arrays (H, W), or (C, H, W) with several classes or
            channels: probabilities or image values, 0 where ignored. Returns one number.
        name: name of the function.
        parameters: pred, target and possibly weight in the function's order, each with its form:
            an `Array` (NumPy, float64) or a `Tensor`.
        options: names of the options.
    """
    inputs = dict(parameters)
    # An optional weight may follow options, so it is passed by keyword.
    by_keyword = [role for index, role in enumerate(inputs) if role == "weight" and index == 2]

    def on_values(values: SampleBatch, **options: Any) -> PerSample:
        samples = {role: _samples(values, role, form) for role, form in inputs.items()}
        results = []
        for index in range(len(values.weight)):
            arguments = [samples[role][index] for role in inputs if role not in by_keyword]
            keywords = {role: samples[role][index] for role in by_keyword}
            result = function(*arguments, **keywords, **options)
            results.append(_number(result, name, values.weight))
        return torch.stack(results)

    signature = [
        inspect.Parameter("values", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        *(inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY) for option in options),
    ]
    on_values.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    return on_values


def _samples(values: SampleBatch, role: str, form: str) -> list[Any]:
    """One input of every sample, as new arrays that the function may modify."""
    target = values.inputs["target"].channels
    weight = values.weight.expand(-1, target.shape[1], -1)
    rows = weight.clone()
    if role != "weight":
        rows = values.inputs[role].channels.masked_fill(weight == 0, 0)
    pixels = rows.reshape(*rows.shape[:2], *(values.inputs["target"].space or (-1,)))
    samples = pixels[:, 0] if pixels.shape[1] == 1 else pixels
    if form == "Tensor":
        return list(samples)
    return [sample.numpy() for sample in samples.detach().to("cpu", torch.float64, copy=True)]


def _number(result: Any, name: str, like: Tensor) -> Tensor:
    """The returned number as a scalar tensor."""
    if isinstance(result, Tensor) and result.ndim == 0 and not result.is_complex():
        return result.to(like)
    if isinstance(result, np.ndarray) and result.ndim == 0:
        result = result[()]
    if isinstance(result, Real | np.bool_):
        return torch.as_tensor(float(result), dtype=like.dtype, device=like.device)
    raise InputError(f"{name} returned {_described(result)}; expected one number", kind="loss")


def _described(result: Any) -> str:
    if isinstance(result, Tensor | np.ndarray):
        kind = "a tensor" if isinstance(result, Tensor) else "an array"
        return f"{kind} of shape {tuple(result.shape)}"
    return "nothing" if result is None else f"a {type(result).__name__}"
