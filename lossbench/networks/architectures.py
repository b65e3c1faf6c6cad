"""Architectures of the networks whose features deep losses compare, and recipes of features.

Data only: `lossbench.networks.extractor` computes features, `lossbench.networks.weights` locates
weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

SEEDED = "tiny_seeded"  # a network with random weights, used only on request
LPIPS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet", SEEDED: SEEDED}
IMAGE = "image"  # a layer of every network: its input
LAST_OF_STAGES = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
DISTS_LAYERS = (IMAGE, *LAST_OF_STAGES)


class Conv(NamedTuple):
    """A convolution followed by a ReLU, whose output is the layer."""

    layer: str
    key: str  # of its weights
    inputs: int
    outputs: int
    size: int = 3
    stride: int = 1
    pad: int = 1


class Fire(NamedTuple):
    """SqueezeNet's module: a narrow convolution, then two wide ones in parallel."""

    layer: str
    key: str
    inputs: int
    narrow: int
    wide: int

    @property
    def outputs(self) -> int:
        return 2 * self.wide


class Pool(NamedTuple):
    """Max pooling with stride 2."""

    size: int = 2
    ceil: bool = False


Step = Conv | Fire | Pool


class Recipe(NamedTuple):
    """How features are computed from an image; each recipe is computed once for all losses."""

    network: str
    pooling: str = "max"  # or "blur", the ℓ2 pooling of DISTS
    shorter: int | None = None  # shorter side to which larger images are shrunk first


@dataclass(frozen=True)
class Network:
    """A network up to its last convolution, as a sequence of steps."""

    name: str
    steps: tuple[Step, ...]

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, first layer first."""
        return tuple(self.widths)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every weight by its key in torchvision."""
        shapes: dict[str, tuple[int, ...]] = {}

        def add(key: str, inputs: int, outputs: int, size: int) -> None:
            shapes[f"{key}.weight"] = (outputs, inputs, size, size)
            shapes[f"{key}.bias"] = (outputs,)

        for step in self.steps:
            if isinstance(step, Conv):
                add(step.key, step.inputs, step.outputs, step.size)
            elif isinstance(step, Fire):
                add(f"{step.key}.squeeze", step.inputs, step.narrow, 1)
                add(f"{step.key}.expand1x1", step.narrow, step.wide, 1)
                add(f"{step.key}.expand3x3", step.narrow, step.wide, 3)
        return shapes

    @cached_property
    def widths(self) -> dict[str, int]:
        """Number of feature maps of each layer."""
        return {step.layer: step.outputs for step in self.steps if not isinstance(step, Pool)}

    def up_to(self, layers: Iterable[str]) -> Iterator[Step]:
        """The steps up to the deepest of some layers."""
        remaining = {*layers} - {IMAGE}
        for step in self.steps:
            if not remaining:
                return
            yield step
            if not isinstance(step, Pool):
                remaining.discard(step.layer)

    def cost(self, layers: Sequence[str]) -> float:
        """Upper estimate of the numbers held in memory per pixel of the image."""
        scale, largest, kept = 1.0, 3.0, 0.0
        for step in self.up_to(layers):
            if isinstance(step, Pool):
                scale /= 4
                continue
            scale /= step.stride**2 if isinstance(step, Conv) else 1
            numbers = scale * self.widths[step.layer]
            largest = max(largest, numbers)
            kept += numbers * (step.layer in layers)
        return kept + 3 * largest


def _vgg(name: str, counts: Sequence[int], widths: Sequence[int]) -> Network:
    """Stages of 3×3 convolutions with pooling in between (Simonyan & Zisserman 2015)."""
    steps: list[Step] = []
    index, inputs = 0, 3
    for stage, (count, outputs) in enumerate(zip(counts, widths, strict=True), 1):
        for number in range(1, count + 1):
            steps.append(Conv(f"relu{stage}_{number}", f"features.{index}", inputs, outputs))
            index, inputs = index + 2, outputs
        steps.append(Pool())
        index += 1
    return Network(name, tuple(steps[:-1]))


WIDE = (64, 128, 256, 512, 512)
NETWORKS = {
    network.name: network
    for network in (
        _vgg("vgg16", (2, 2, 3, 3, 3), WIDE),
        _vgg("vgg19", (2, 2, 4, 4, 4), WIDE),
        Network(  # Krizhevsky 2014, "one weird trick"
            "alexnet",
            (
                Conv("relu1", "features.0", 3, 64, 11, 4, 2),
                Pool(3),
                Conv("relu2", "features.3", 64, 192, 5, 1, 2),
                Pool(3),
                Conv("relu3", "features.6", 192, 384),
                Conv("relu4", "features.8", 384, 256),
                Conv("relu5", "features.10", 256, 256),
            ),
        ),
        Network(  # Iandola et al. 2016, version 1.1
            "squeezenet",
            (
                Conv("relu1", "features.0", 3, 64, 3, 2, 0),
                Pool(3, ceil=True),
                Fire("fire1", "features.3", 64, 16, 64),
                Fire("relu2", "features.4", 128, 16, 64),
                Pool(3, ceil=True),
                Fire("fire3", "features.6", 128, 32, 128),
                Fire("relu3", "features.7", 256, 32, 128),
                Pool(3, ceil=True),
                Fire("relu4", "features.9", 256, 48, 192),
                Fire("relu5", "features.10", 384, 48, 192),
                Fire("relu6", "features.11", 384, 64, 256),
                Fire("relu7", "features.12", 512, 64, 256),
            ),
        ),
        _vgg(SEEDED, (2, 2, 4, 4, 4), (8, 8, 12, 16, 16)),
    )
}
# The layers that LPIPS compares, in the order of its heads.
LPIPS_LAYERS = {
    "alexnet": NETWORKS["alexnet"].layers,
    "vgg16": LAST_OF_STAGES,
    "squeezenet": tuple(f"relu{number}" for number in range(1, 8)),
    SEEDED: ("relu1_2", "relu2_2", "relu3_4", "relu4_4", "relu5_4"),
}
