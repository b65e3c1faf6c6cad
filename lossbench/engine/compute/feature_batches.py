"""Features of samples before their losses: each network once, in batches, in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from lossbench.catalog.columns import Term
from lossbench.catalog.feature_needs import all_layers, parameters
from lossbench.errors import InputError
from lossbench.interface.sample_batch import SampleBatch
from lossbench.networks.architectures import IMAGE, NETWORKS, Recipe
from lossbench.networks.extractor import FREE, Networks
from lossbench.networks.weights import WeightFiles
from lossbench.views.features import NetworkFeatures, rgb_images

Layers = dict[tuple[str, Recipe], tuple[str, ...]]  # by role and recipe, first layer first


class Extraction:
    """What the losses of a run need of networks, and the networks with their weights."""

    def __init__(
        self, terms: Sequence[Term], files: WeightFiles, offline: bool, device: str
    ) -> None:
        self.required = all_layers(terms)
        self.networks = Networks(files, offline)
        here = torch.zeros(1, device=device)
        for name in dict.fromkeys(name for term in terms for name in parameters(term)):
            self.networks.numbers(name, here)  # a file that does not fit is an error of the run
        self.room = Room(free_memory(here.device))

    @contextmanager
    def of(self, samples: Sequence[SampleBatch]) -> Iterator[list[SampleBatch]]:
        """Samples with their features, which are gone after the block.

        A GPU takes images of one size together, a CPU one at a time. Threads wait for each other
        where free memory would not do for all of them.

        Raises:
            InputError: an input is no picture in [0, 1], too small or too large.
        """
        layers_of = self._layers(samples[0].inputs)
        roles = dict.fromkeys(role for role, _ in layers_of)
        images = [{role: _checked(role, each) for role in roles} for each in samples]
        with self.room.reserved(sum(_cost(each, layers_of) for each in images)):
            features = [NetworkFeatures(self.networks) for _ in samples]
            for (role, recipe), layers in layers_of.items():
                maps = self.networks.each([each[role] for each in images], recipe, layers)
                for of_sample, each in zip(features, maps, strict=True):
                    of_sample.known[role, recipe] = each
            yield [replace(v, features=each) for v, each in zip(samples, features, strict=True)]

    def _layers(self, roles: Container[str]) -> Layers:
        """The layers that are required of some inputs; the target replaces an optional input."""
        required: dict[tuple[str, Recipe], set[str]] = {}
        for (role, recipe), layers in self.required.items():
            key = (role if role in roles else "target", recipe)
            required.setdefault(key, set()).update(layers)
        return {
            key: tuple(each for each in (IMAGE, *NETWORKS[key[1].network].layers) if each in layers)
            for key, layers in required.items()
        }


def _checked(role: str, values: SampleBatch) -> Tensor:
    """An input as a picture in float32."""
    try:
        image = rgb_images(values.inputs[role])
        low, high = (float(end) for end in image.aminmax())
        if not (low >= 0 and high <= 1):
            raise InputError(
                f"goes from {low:.4g} to {high:.4g}; deep features need images from 0 to 1,"
                " rescale or clip it",
                kind="mismatch",
            )
    except InputError as error:
        raise error.located(role, None) from None
    return image.float()


def _cost(images: Mapping[str, Tensor], layers_of: Layers) -> float:
    """Bytes that the features of a sample take, about."""
    return sum(
        4 * NETWORKS[recipe.network].cost(layers) * images[role][0, 0].numel()
        for (role, recipe), layers in layers_of.items()
    )


class Room:
    """Memory that threads share: who would exceed it waits, unless nobody else is at work."""

    def __init__(self, total: float) -> None:
        self.total, self.taken = total, 0.0
        self._changed = threading.Condition()

    @contextmanager
    def reserved(self, wanted: float) -> Iterator[None]:
        """So many bytes for as long as the block lasts."""
        with self._changed:
            self._changed.wait_for(lambda: not self.taken or self.taken + wanted <= self.total)
            self.taken += wanted
        try:
            yield
        finally:
            with self._changed:
                self.taken -= wanted
                self._changed.notify_all()


def free_memory(device: torch.device) -> float:
    """Bytes that features may take: half of what is free, unbounded where that is unknown."""
    if device.type == "cuda":
        return FREE * torch.cuda.mem_get_info(device)[0]
    limits = []
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(1024 * int(line.split()[1]))
    with suppress(OSError, ValueError):  # a container's own limit
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        limits.append(limit - int((group / "memory.current").read_text()))
    return FREE * min(limits, default=float("inf"))
