"""Deep features of both images: feature maps computed once for all losses that compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lossbench.errors import InputError, SettingError
from lossbench.interface.annotations import Count, NetworkName
from lossbench.interface.sample_batch import FeatureSource, Input, SampleBatch
from lossbench.interface.stable_math import ratio
from lossbench.networks.architectures import DISTS_LAYERS, LPIPS, LPIPS_LAYERS, SEEDED, Recipe
from lossbench.networks.extractor import Networks

POSITIONS = 1 << 16  # positions converted to float64 at a time


@dataclass(frozen=True)
class NetworkFeatures:
    """Source of features: precomputed ones first, networks for the rest."""

    networks: Networks
    known: dict[tuple[str, Recipe], Mapping[str, Tensor]] = field(default_factory=dict)

    def maps(
        self, values: SampleBatch, role: str, recipe: Recipe, layers: Sequence[str]
    ) -> list[Tensor]:
        """Features of one input, one tensor per layer."""
        maps = self.known.get((role, recipe), {})
        if any(layer not in maps for layer in layers):
            images = rgb_images(values.inputs[role])
            maps = self.known[role, recipe] = self.networks.maps(images, recipe, layers)
        return [maps[layer] for layer in layers]

    def numbers(self, name: str, like: Tensor) -> Mapping[str, Tensor]:
        """Published parameters by name, with the device and type of another tensor."""
        return self.networks.numbers(name, like)


def rgb_images(images: Input) -> Tensor:
    """An input as RGB images (B, 3, H, W); grey is repeated.

    Raises:
        InputError: the input is neither grey nor RGB.
    """
    image = images.image
    if image.ndim != 4 or image.shape[1] not in (1, 3):
        actual = f"{image.shape[1]} channels" if image.ndim == 4 else f"{image.ndim - 2} axes"
        raise InputError(f"has {actual}; deep features need grey or RGB images", kind="mismatch")
    return image.expand(-1, 3, -1, -1)


class Maps(NamedTuple):
    """Feature maps of both images in one layer, and the weights of their positions.

    pred and target are (B, M, height, width) and may differ in height and width; the shares are the
    fractions of valid pixels (B, 1, height, width), or None where all pixels are valid.
    """

    pred: Tensor
    target: Tensor
    pred_share: Tensor | None
    target_share: Tensor | None

    def mean(self, x: Tensor) -> Tensor:
        """Weighted mean over positions, in float64, (B, M); undefined without a valid position."""
        share = self.pred_share
        if share is None:
            return x.sum((2, 3), dtype=torch.float64) / x[0, 0].numel()
        return ratio((x * share).sum((2, 3), dtype=torch.float64), _positions(share))

    def total(self, x: Tensor) -> Tensor:
        """Weighted sum over maps and positions, in float64, (B,); undefined without a valid one."""
        share = self.pred_share
        if share is None:
            return x.sum((1, 2, 3), dtype=torch.float64)
        sums = (x * share).sum((1, 2, 3), dtype=torch.float64)
        return sums.where(_positions(share)[:, 0] > 0, torch.nan)

    def grams(self) -> tuple[Tensor, Tensor]:
        """Gram matrices FFᵀ/N of both images over N positions, in float64, (B, M, M)."""
        return _gram(self.pred, self.pred_share), _gram(self.target, self.target_share)


def _positions(share: Tensor) -> Tensor:
    """Total weight of the positions, (B, 1)."""
    return share.sum((2, 3), dtype=torch.float64)


def _gram(maps: Tensor, share: Tensor | None) -> Tensor:
    """Gram matrix, summed over blocks of positions so that float64 copies stay small."""
    rows = maps.flatten(2)
    weight = None if share is None else share.flatten(2)
    shape = (len(rows), rows.shape[1], rows.shape[1])
    gram = torch.zeros(shape, dtype=torch.float64, device=maps.device)
    for start in range(0, rows.shape[2], POSITIONS):
        block = rows[..., start : start + POSITIONS].double()
        weighted = block if weight is None else block * weight[..., start : start + POSITIONS]
        gram = gram + weighted @ block.mT
    return gram / rows.shape[2] if share is None else ratio(gram, _positions(share)[:, :, None])


@dataclass(frozen=True)
class Features:
    """The layers that a loss names, of the prediction and of the image it is compared with."""

    layers: Sequence[Maps]

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
        """Outputs of the network's ReLUs, for images normalised with ImageNet's statistics.

        Args:
            network: vgg16, vgg19, alexnet or squeezenet, with torchvision's weights
                (`lossbench weights`); tiny_seeded is small with random weights, for trials.
            layers: layer names, relu1_1 to relu5_3 or relu5_4; relu1 to relu5 for alexnet.
            against: image that the prediction is compared with: the ground truth, or the role
                content or style; content defaults to the ground truth.
        """
        if against == "content" and content is None:
            against = "target"
        return cls(compared(values, Recipe(network), tuple(layers), against))


@dataclass(frozen=True)
class Calibrated:
    """The layers that LPIPS compares, each with the weights of its maps, (M,)."""

    layers: Sequence[tuple[Maps, Tensor]]

    @classmethod
    def of(
        cls,
        values: SampleBatch,
        *,
        network: Literal["alex", "vgg", "squeeze", "tiny_seeded"] = "alex",
    ) -> Calibrated:
        """Features with the published linear heads.

        Args:
            network: alex, vgg or squeeze, for which heads are published; tiny_seeded is small with
                random weights and heads of 1/M, for trials.
        """
        trunk = LPIPS[network]
        layers = compared(values, Recipe(trunk), LPIPS_LAYERS[trunk])
        if network == SEEDED:
            firsts = (maps.pred[0, :, 0, 0] for maps in layers)
            heads = [torch.full_like(first, 1 / len(first)) for first in firsts]
        else:
            numbers = source(values).numbers(f"lpips_{network}", layers[0].pred)
            heads = [numbers[f"lin{index}.weight"] for index in range(len(layers))]
        return cls(list(zip(layers, heads, strict=True)))


@dataclass(frozen=True)
class Textures:
    """The image itself and the layers that DISTS compares, with α and β of every map."""

    layers: Sequence[tuple[Maps, Tensor, Tensor]]

    @classmethod
    def of(
        cls,
        values: SampleBatch,
        *,
        network: Literal["vgg16", "tiny_seeded"] = "vgg16",
        shorter: Count | None = None,
    ) -> Textures:
        """Features of VGG16 with ℓ2 pooling instead of max pooling.

        Args:
            network: vgg16, for which α and β are published; tiny_seeded is small with random
                weights and α and β of 1, for trials.
            shorter: shorter side, in pixels, to which larger images are shrunk (one pixel less
                where rounding requires it); the authors' script uses 256.
        """
        layers = compared(values, Recipe(network, "blur", shorter), DISTS_LAYERS)
        sizes = [maps.pred.shape[1] for maps in layers]
        if network == SEEDED:
            one = torch.ones(sum(sizes), dtype=layers[0].pred.dtype, device=layers[0].pred.device)
            numbers: Mapping[str, Tensor] = {"alpha": one, "beta": one}
        else:
            numbers = source(values).numbers("dists", layers[0].pred)
        weights = (numbers[name].split(sizes) for name in ("alpha", "beta"))
        return cls(list(zip(layers, *weights, strict=True)))


def source(values: SampleBatch) -> FeatureSource:
    """The source of the features of a batch."""
    if values.features is None:
        raise SettingError(
            "this loss needs a network, which `lossbench.evaluate` and `lossbench.loss` provide"
        )
    return values.features


def compared(
    values: SampleBatch, recipe: Recipe, layers: Sequence[str], against: str = "target"
) -> list[Maps]:
    """Each layer of the prediction and of the image it is compared with."""
    features = source(values)
    both = [features.maps(values, role, recipe, layers) for role in ("pred", against)]
    valid = values.valid
    all_valid, style = bool(valid.all()), against == "style"
    return [
        Maps(
            pred,
            target,
            None if all_valid else _valid_share(valid, pred),
            None if all_valid or style else _valid_share(valid, target),
        )
        for pred, target in zip(*both, strict=True)
    ]


def _valid_share(valid: Tensor, maps: Tensor) -> Tensor:
    """Fraction of valid pixels at each position of feature maps, (B, 1, height, width)."""
    mask = valid.all(1, keepdim=True).to(maps)
    return functional.adaptive_avg_pool2d(mask, (maps.shape[2], maps.shape[3]))
