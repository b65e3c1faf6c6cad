"""A user's plain function of arrays, made callable like every other loss."""

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
    """A function of one sample's arrays as one of `SampleBatch`.

    Args:
        function: takes arrays of its own, (H, W), or (C, H, W) of several classes or channels:
            probabilities, or an image's numbers, 0 where a pixel is ignored. Returns one number.
        name: what it is called.
        parameters: pred, target and perhaps weight in their order, each with its form: an `Array`
            of NumPy, float64, or a `Tensor`.
        options: its options.
    """
    inputs = dict(parameters)
    # A weight that may be left out stands behind options.
    by_name = [role for place, role in enumerate(inputs) if role == "weight" and place == 2]

    def on_values(values: SampleBatch, **options: Any) -> PerSample:
        samples = {role: _samples(values, role, form) for role, form in inputs.items()}
        found = []
        for place in range(len(values.weight)):
            given = [samples[role][place] for role in inputs if role not in by_name]
            named = {role: samples[role][place] for role in by_name}
            found.append(_number(function(*given, **named, **options), name, values.weight))
        return torch.stack(found)

    signature = [
        inspect.Parameter("values", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        *(inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY) for option in options),
    ]
    on_values.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    return on_values


def _samples(values: SampleBatch, role: str, form: str) -> list[Any]:
    """One input of every sample: new arrays, which the function may write to."""
    target = values.sides["target"].channels
    weight = values.weight.expand(-1, target.shape[1], -1)
    rows = weight.clone()
    if role != "weight":
        rows = values.sides[role].channels.masked_fill(weight == 0, 0)
    pixels = rows.reshape(*rows.shape[:2], *(values.sides["target"].space or (-1,)))
    samples = pixels[:, 0] if pixels.shape[1] == 1 else pixels
    if form == "Tensor":
        return list(samples)
    return [sample.numpy() for sample in samples.detach().to("cpu", torch.float64, copy=True)]


def _number(found: Any, name: str, like: Tensor) -> Tensor:
    """What came back as a tensor without axes."""
    if isinstance(found, Tensor) and found.ndim == 0 and not found.is_complex():
        return found.to(like)
    if isinstance(found, np.ndarray) and found.ndim == 0:
        found = found[()]
    if isinstance(found, Real | np.bool_):
        return torch.as_tensor(float(found), dtype=like.dtype, device=like.device)
    raise InputError(f"{name} returned {_shown(found)}; expected one number", kind="loss")


def _shown(found: Any) -> str:
    if isinstance(found, Tensor | np.ndarray):
        kind = "a tensor" if isinstance(found, Tensor) else "an array"
        return f"{kind} of shape {tuple(found.shape)}"
    return "nothing" if found is None else f"a {type(found).__name__}"
