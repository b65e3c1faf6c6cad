"""Deep features of both images: a network's maps, made once for all losses that compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lossbench.errors import InputError, SettingError
from lossbench.interface.annotations import Count, NetworkName
from lossbench.interface.sample_batch import FeatureSource, Input, SampleBatch
from lossbench.interface.stable_math import ratio
from lossbench.networks.architectures import DISTS_LAYERS, LPIPS, LPIPS_LAYERS, SEEDED, Recipe
from lossbench.networks.extractor import Networks

POSITIONS = 1 << 16  # that are taken to float64 at a time


@dataclass(frozen=True)
class NetworkFeatures:
    """Where features come from: what was computed beforehand, the networks for the rest."""

    networks: Networks
    known: dict[tuple[str, Recipe], Mapping[str, Tensor]] = field(default_factory=dict)

    def maps(
        self, values: SampleBatch, role: str, recipe: Recipe, layers: Sequence[str]
    ) -> list[Tensor]:
        """Features of one input, a tensor a layer."""
        found = self.known.get((role, recipe), {})
        if any(layer not in found for layer in layers):
            images = pictures(values.sides[role])
            found = self.known[role, recipe] = self.networks.maps(images, recipe, layers)
        return [found[layer] for layer in layers]

    def numbers(self, name: str, like: Tensor) -> Mapping[str, Tensor]:
        """Published numbers by name, on the device and of the type of another tensor."""
        return self.networks.numbers(name, like)


def pictures(side: Input) -> Tensor:
    """An input as colour images (B, 3, H, W); grey is repeated.

    Raises:
        InputError: it is no picture.
    """
    image = side.image
    if image.ndim != 4 or image.shape[1] not in (1, 3):
        what = f"{image.shape[1]} channels" if image.ndim == 4 else f"{image.ndim - 2} axes"
        raise InputError(f"has {what}; deep features are of pictures, grey or RGB", kind="mismatch")
    return image.expand(-1, 3, -1, -1)


class Maps(NamedTuple):
    """One layer of both images, and how much each of its positions counts.

    pred and target are (B, M, height, width), of heights and widths of their own where the images
    have them; the shares of valid pixels (B, 1, height, width), or None where all are valid.
    """

    pred: Tensor
    target: Tensor
    pred_share: Tensor | None
    target_share: Tensor | None

    def mean(self, x: Tensor) -> Tensor:
        """The mean over the positions that count, in float64, (B, M); undefined without any."""
        share = self.pred_share
        if share is None:
            return x.sum((2, 3), dtype=torch.float64) / x[0, 0].numel()
        return ratio((x * share).sum((2, 3), dtype=torch.float64), _positions(share))

    def total(self, x: Tensor) -> Tensor:
        """The sum over maps and the positions that count, in float64, (B,)."""
        share = self.pred_share
        if share is None:
            return x.sum((1, 2, 3), dtype=torch.float64)
        top = (x * share).sum((1, 2, 3), dtype=torch.float64)
        return top.where(_positions(share)[:, 0] > 0, torch.nan)

    def grams(self) -> tuple[Tensor, Tensor]:
        """FFᵀ/N of both images over N positions, float64, (B, M, M)."""
        return _gram(self.pred, self.pred_share), _gram(self.target, self.target_share)


def _positions(share: Tensor) -> Tensor:
    """How many positions count, (B, 1)."""
    return share.sum((2, 3), dtype=torch.float64)


def _gram(maps: Tensor, share: Tensor | None) -> Tensor:
    """A part of the positions after another, so that float64 copies stay small."""
    rows = maps.flatten(2)
    weight = None if share is None else share.flatten(2)
    found = torch.zeros(
        len(rows), rows.shape[1], rows.shape[1], dtype=torch.float64, device=maps.device
    )
    for start in range(0, rows.shape[2], POSITIONS):
        part = rows[..., start : start + POSITIONS].double()
        other = part if weight is None else part * weight[..., start : start + POSITIONS]
        found = found + other @ part.mT
    return found / rows.shape[2] if share is None else ratio(found, _positions(share)[:, :, None])


@dataclass(frozen=True)
class Features:
    """The layers that a loss names, of a prediction and of what it is compared with."""

    layers: Sequence[Maps]
    adds_up: ClassVar[bool] = False

    @classmethod
    def of(
        cls,
        values: SampleBatch,
        style: Input | None,
        content: Input | None,
        *,
        network: NetworkName = "vgg19",
        layers: Sequence[str] = ("relu4_2",),
        against: Literal["target", "content", "style"] = "target",
    ) -> Features:
        """Features as the network's ReLUs give them, of images normalised as ImageNet's are.

        Args:
            network: vgg16, vgg19, alexnet or squeezenet, with torchvision's weights
                (`lossbench weights`); tiny_seeded is small and random, to try things out.
            layers: by name, relu1_1 to relu5_3 or relu5_4; relu1 to relu5 of alexnet.
            against: what the prediction is compared with: the ground truth, or the role content or
                style; content is the ground truth where there is no such role.
        """
        given = {"target": True, "style": style, "content": content}
        if against == "content" and content is None:
            against = "target"
        if given[against] is None:
            raise SettingError("against=style needs the role style")
        return cls(compared(values, Recipe(network), tuple(layers), against))


@dataclass(frozen=True)
class Calibrated:
    """The layers that LPIPS compares, each with the weights of its maps, (M,)."""

    layers: Sequence[tuple[Maps, Tensor]]
    adds_up: ClassVar[bool] = False

    @classmethod
    def of(
        cls,
        values: SampleBatch,
        *,
        network: Literal["alex", "vgg", "squeeze", "tiny_seeded"] = "alex",
    ) -> Calibrated:
        """Features, and the published linear heads.

        Args:
            network: alex, vgg or squeeze, as the heads were published; tiny_seeded is small and
                random with heads of 1/M, to try things out.
        """
        trunk = LPIPS[network]
        found = compared(values, Recipe(trunk), LPIPS_LAYERS[trunk])
        if network == SEEDED:
            firsts = (each.pred[0, :, 0, 0] for each in found)
            heads = [torch.full_like(first, 1 / len(first)) for first in firsts]
        else:
            numbers = source(values).numbers(f"lpips_{network}", found[0].pred)
            heads = [numbers[f"lin{number}.weight"] for number in range(len(found))]
        return cls(list(zip(found, heads, strict=True)))


@dataclass(frozen=True)
class Textures:
    """The image itself and the layers that DISTS compares, with α and β of every map."""

    layers: Sequence[tuple[Maps, Tensor, Tensor]]
    adds_up: ClassVar[bool] = False

    @classmethod
    def of(
        cls,
        values: SampleBatch,
        *,
        network: Literal["vgg16", "tiny_seeded"] = "vgg16",
        shorter: Count | None = None,
    ) -> Textures:
        """Features of VGG16 with ℓ2 pooling in place of the largest of each square.

        Args:
            network: vgg16, as α and β were published; tiny_seeded is small and random with α and β
                of 1, to try things out.
            shorter: larger images are shrunk so that their shorter side has so many pixels, or one
                less where rounding takes it; 256 is what the authors' script does.
        """
        found = compared(values, Recipe(network, "blur", shorter), DISTS_LAYERS)
        sizes = [each.pred.shape[1] for each in found]
        if network == SEEDED:
            one = torch.ones(sum(sizes), dtype=found[0].pred.dtype, device=found[0].pred.device)
            numbers: Mapping[str, Tensor] = {"alpha": one, "beta": one}
        else:
            numbers = source(values).numbers("dists", found[0].pred)
        weights = (numbers[name].split(sizes) for name in ("alpha", "beta"))
        return cls(list(zip(found, *weights, strict=True)))


def source(values: SampleBatch) -> FeatureSource:
    """Where a sample's features come from."""
    if values.deep is None:
        raise SettingError("this loss needs a network, which `lossbench.evaluate` and"
                           " `lossbench.loss` provide")  # fmt: skip
    return values.deep


def compared(
    values: SampleBatch, recipe: Recipe, layers: Sequence[str], against: str = "target"
) -> list[Maps]:
    """Each layer of the prediction and of what it is compared with."""
    deep = source(values)
    both = [deep.maps(values, role, recipe, layers) for role in ("pred", against)]
    valid = values.valid
    every, own = bool(valid.all()), against == "style"
    return [
        Maps(
            pred,
            target,
            None if every else _share(valid, pred),
            None if every or own else _share(valid, target),
        )
        for pred, target in zip(*both, strict=True)
    ]


def _share(valid: Tensor, maps: Tensor) -> Tensor:
    """How much of each position of some maps is valid pixels, (B, 1, height, width)."""
    seen = valid.all(1, keepdim=True).to(maps)
    return functional.adaptive_avg_pool2d(seen, (maps.shape[2], maps.shape[3]))
