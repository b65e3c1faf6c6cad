"""A device that is not there, for machines without a GPU: it computes on the CPU but is not it.

Its tensors say `apart:0`. As on a GPU, none of them goes together with one of the CPU, none is an
array of numpy's, and what crosses over is seen. It can show neither speed nor what the kernels of a
GPU round otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, NamedTuple, NoReturn

import pytest
import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from lossbench.engine.compute import device, evaluate, feature_batches, pooled

NAME = "apart:0"
KNOWN = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")
# What CUDA does with tensors of two devices: copies, and places of the CPU to take or put at.
ACROSS = {"_to_copy", "copy_", "index.Tensor", "index_put", "index_put_"}


class Crossing(NamedTuple):
    """A tensor on its way to the device, or back."""

    there: bool
    bytes: int
    waits: bool


@dataclass
class Seen:
    """What was done on the device."""

    operations: Counter[str] = field(default_factory=Counter)
    crossings: list[Crossing] = field(default_factory=list)
    locked: list[int] = field(default_factory=list)  # bytes of page-locked memory asked for

    def inside(self, function: Callable[..., Any], gradients: bool = False) -> Callable[..., Any]:
        """A function that can use the device, whichever thread calls it."""

        @wraps(function)
        def there(*args: Any, **how: Any) -> Any:
            torch._C._set_only_lift_cpu_tensors(True)  # so that torch.tensor crosses in our sight
            try:
                with Device(self, gradients):
                    found = function(*args, **how)
                    return list(found) if isinstance(found, Iterator) else found
            finally:
                torch._C._set_only_lift_cpu_tensors(False)

        return there


class Apart(Tensor):
    """A tensor of the device."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    raw: Tensor

    @staticmethod
    def __new__(cls, raw: Tensor, inference: bool = True) -> Apart:
        with torch.inference_mode(inference):
            made = Tensor._make_wrapper_subclass(
                cls,
                raw.shape,
                strides=raw.stride(),
                storage_offset=raw.storage_offset(),
                dtype=raw.dtype,
                device=NAME,
            )
        made.raw = raw
        return made

    def tolist(self) -> Any:
        return self.raw.tolist()

    def numpy(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"a tensor of {NAME} is no array; copy it to the CPU first")

    __array__ = numpy

    @classmethod
    def __torch_dispatch__(cls, operation: Any, *_: Any) -> NoReturn:
        raise AssertionError(f"{operation} outside of the device's context")


class Device(TorchDispatchMode):
    """While it is entered, a thread can use the device."""

    def __init__(self, seen: Seen, gradients: bool) -> None:
        super().__init__()
        self.seen, self.gradients = seen, gradients

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if operation._can_decompose():  # inference mode hands over what is made of others
            with self:
                found = operation.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        return self._run(operation, args, kwargs)

    def _run(self, operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        mine = [each for each in tensors if isinstance(each, Apart)]
        name = str(operation).removeprefix("aten.").removesuffix(".default")
        wanted = kwargs.get("device")
        there = bool(mine) if wanted is None else torch.device(wanted) == torch.device(NAME)
        if mine or there:
            self.seen.operations[name] += 1
        others = [each for each in tensors if each.dim() and not isinstance(each, Apart)]
        first = isinstance(tensors[0], Apart) if tensors else there
        if mine and others and not (name in ACROSS and (first or name in ("_to_copy", "copy_"))):
            shapes = [(type(each).__name__, tuple(each.shape)) for each in tensors]
            raise RuntimeError(f"{name} of tensors of two devices: {shapes}")
        if name == "_to_copy" and there != first:
            (given,) = tensors
            waits = not kwargs.get("non_blocking")
            self.seen.crossings.append(Crossing(there, given.nbytes, waits))
        if wanted is not None:
            kwargs["device"] = "cpu"
        locked = kwargs.pop("pin_memory", None)
        found = operation(*tree_map(_raw, args), **tree_map(_raw, kwargs))
        if locked:
            self.seen.locked.append(found.nbytes)
        if not there:
            return found
        known = {id(each.raw): each for each in mine}

        def put(each: Any) -> Any:
            if not isinstance(each, Tensor):
                return each
            return known[id(each)] if id(each) in known else Apart(each, not self.gradients)

        return tree_map(put, found)


def _raw(each: Any) -> Any:
    return each.raw if isinstance(each, Apart) else each


def register() -> None:
    """Tell torch of the device; once in a process."""
    setup = backend_registration._setup_privateuseone_for_python_backend
    kind = NAME.partition(":")[0]
    if torch._C._get_privateuse1_backend_name() != kind:
        setup(kind)


@contextmanager
def other_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """Every run computes on the device, whatever it was told; what is seen of it."""
    register()
    seen = Seen()

    with monkeypatch.context() as patched:
        patched.setattr(evaluate, "evaluate_parts", seen.inside(evaluate.evaluate_parts))
        for name in ("pooled", "finish_balanced", "gathered"):
            patched.setattr(pooled, name, seen.inside(getattr(pooled, name)))
        extraction = feature_batches.Extraction
        patched.setattr(extraction, "__init__", seen.inside(extraction.__init__))
        patched.setattr(device, "pick_device", lambda wanted: NAME)
        yield seen
