"""Networks at work: weights read from files without running what is in them, features of images."""

from __future__ import annotations

import math
import pickle
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lossbench.errors import InputError, SettingError, sized
from lossbench.networks.architectures import (
    IMAGE,
    LPIPS,
    LPIPS_LAYERS,
    NETWORKS,
    SEEDED,
    Fire,
    Network,
    Pool,
    Recipe,
)
from lossbench.networks.weights import Report, WeightFiles, digest, locate, published

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for images in [0, 1]
DISTS_MAPS = 3 + 64 + 128 + 256 + 512 + 512  # the image itself and five layers of VGG16
FREE = 0.5  # the share of a device's free memory that a batch may take
Tensors = Mapping[str, Tensor]


class Networks:
    """Networks with their weights, each read once, when it is first asked for."""

    def __init__(
        self, files: WeightFiles | None = None, offline: bool = False,
        report: Report | None = None,
    ) -> None:  # fmt: skip
        self.files, self.offline, self.report = dict(files or {}), offline, report
        self.hashes: dict[str, str] = {}  # SHA-256 of each file that was read
        self._read: dict[str, Tensors] = {}
        self._placed: dict[tuple[str, torch.device, torch.dtype], Tensors] = {}
        self._lock = threading.Lock()

    def numbers(self, name: str, like: Tensor) -> Tensors:
        """Weights by their keys, where a tensor is and of its type."""
        place = (name, like.device, like.dtype)
        with self._lock:
            if name not in self._read:
                self._read[name] = self._load(name)
            if place not in self._placed:
                self._placed[place] = {k: _placed(v, like) for k, v in self._read[name].items()}
            return self._placed[place]

    def maps(self, images: Tensor, recipe: Recipe, layers: Sequence[str]) -> dict[str, Tensor]:
        """Features of images (B, 3, H, W) in [0, 1]: by layer, (B, M, height, width).

        Raises:
            InputError: they are too small for a layer.
        """
        images = _shrunk(images, recipe.shorter)
        network, numbers = NETWORKS[recipe.network], self.numbers(recipe.network, images)
        found = {IMAGE: images} if IMAGE in layers else {}
        mean, deviation = (
            torch.tensor(each, dtype=images.dtype, device=images.device)[:, None, None]
            for each in (MEAN, DEVIATION)
        )
        x = ((images - mean) / deviation).contiguous(memory_format=torch.channels_last)
        for step in network.up_to(layers):
            least = step.size if isinstance(step, Pool) and recipe.halving == "max" else 1
            if not isinstance(step, Pool | Fire):
                least = step.size - 2 * step.pad
            if min(x.shape[2:]) < least:
                raise InputError(
                    f"is {sized(images.shape[2:])}, too small for {layers[-1]} of {network.name}",
                    kind="size",
                )
            if isinstance(step, Pool):
                x = _blurred(x) if recipe.halving == "blur" else functional.max_pool2d(
                    x, step.size, 2, ceil_mode=step.ceil
                )  # fmt: skip
                continue
            if isinstance(step, Fire):
                narrow = _conv(x, numbers, f"{step.key}.squeeze").relu_()
                wide = (
                    _conv(narrow, numbers, f"{step.key}.expand{size}x{size}", pad=size // 2)
                    for size in (1, 3)
                )
                x = torch.cat(list(wide), 1).relu_()
            else:
                x = _conv(x, numbers, step.key, step.stride, step.pad).relu_()
            if step.layer in layers:
                found[step.layer] = x
        return found

    def each(
        self, images: Sequence[Tensor], recipe: Recipe, layers: Sequence[str]
    ) -> list[dict[str, Tensor]]:
        """Features of images (1, 3, *) of any sizes, in batches of those of one size.

        A batch takes no more than half of the device's free memory, and is halved where that is too
        much. On a CPU an image is a batch: it is as fast, and its bits do not depend on others.

        Raises:
            InputError: an image is too small, or too large for the memory by itself.
        """
        found: list[dict[str, Tensor]] = [{}] * len(images)
        for places in _by_size(images):
            size, start = self._fitting(images[places[0]], recipe, layers), 0
            while start < len(places):
                batch = places[start : start + size]
                try:
                    made = self.maps(torch.cat([images[place] for place in batch]), recipe, layers)
                except RuntimeError as error:
                    if not _out_of_memory(error):
                        raise
                    if len(batch) == 1:
                        space = sized(images[batch[0]].shape[2:])
                        raise InputError(
                            f"is {space}, too large for the memory of {images[0].device} with"
                            f" {layers[-1]} of {recipe.network}; name fewer or earlier layers"
                        ) from None
                    size = len(batch) // 2
                    if images[0].is_cuda:
                        torch.cuda.empty_cache()
                    continue
                for row, place in enumerate(batch):
                    found[place] = {layer: maps[row : row + 1] for layer, maps in made.items()}
                start += len(batch)
        return found

    def _fitting(self, image: Tensor, recipe: Recipe, layers: Sequence[str]) -> int:
        """How many images of this size go together."""
        if not image.is_cuda:
            return 1
        free, _ = torch.cuda.mem_get_info(image.device)
        one = NETWORKS[recipe.network].cost(layers) * image[0, 0].numel() * image.element_size()
        return max(1, int(FREE * free / one))

    def _load(self, name: str) -> Tensors:
        if name == SEEDED:
            self.hashes[name] = "random"
            return seeded(NETWORKS[name])
        path = locate(name, self.files, self.offline, self.report)
        known = published(name)
        self.hashes[name] = known.sha256 if path.name == known.file else digest(path)
        return fitting(name, read_tensors(path), path)


def _placed(numbers: Tensor, like: Tensor) -> Tensor:
    """Weights where a tensor is, in the order that convolutions on a CPU compute in."""
    placed = numbers.to(like)
    return placed.contiguous(memory_format=torch.channels_last) if placed.ndim == 4 else placed


def _shrunk(images: Tensor, shorter: int | None) -> Tensor:
    """Larger images so that their shorter side has so many pixels, bilinearly.

    Or one less, where the product with the factor is rounded below it (384 to 256 gives 255): so do
    the values that the authors of DISTS publish.
    """
    least = min(images.shape[2:])
    if shorter is None or least <= shorter:
        return images
    return functional.interpolate(
        images, scale_factor=shorter / least, mode="bilinear", recompute_scale_factor=False
    )


def _conv(x: Tensor, numbers: Tensors, key: str, stride: int = 1, pad: int = 0) -> Tensor:
    return functional.conv2d(x, numbers[f"{key}.weight"], numbers[f"{key}.bias"], stride, pad)


def _blurred(x: Tensor) -> Tensor:
    """Every second pixel of the ℓ2 norm under a Hann window (Ding et al. 2020)."""
    line = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype, device=x.device)
    window = (line[:, None] * line).expand(x.shape[1], 1, 3, 3)
    return (functional.conv2d(x**2, window, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


def _by_size(images: Sequence[Tensor]) -> list[list[int]]:
    """The places of images of one size together."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for place, image in enumerate(images):
        sizes.setdefault(tuple(image.shape), []).append(place)
    return list(sizes.values())


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.cuda.OutOfMemoryError) or "allocate memory" in str(error)


def seeded(network: Network) -> Tensors:
    """Random weights that are the same everywhere: those of numpy's frozen generator, seed 0."""
    random, found = np.random.RandomState(0), {}
    for key, shape in network.shapes.items():
        scale = math.sqrt(2 / math.prod(shape[1:])) if len(shape) > 1 else 0.05
        found[key] = torch.from_numpy(scale * random.standard_normal(shape)).float()
    return found


def read_tensors(path: Path) -> Tensors:
    """The named tensors of a file; nothing in it is run.

    Raises:
        InputError: it cannot be read, or holds more than tensors.
        SettingError: what reads it is not installed.
    """
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as held:
                return {name: torch.from_numpy(held[name]) for name in held.files}
        if path.suffix == ".safetensors":
            return _safetensors(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path} holds more than tensors and is not opened; expected a state dict",
            kind="mismatch",
        ) from None
    except (OSError, ValueError, RuntimeError, EOFError, KeyError, zipfile.BadZipFile) as error:
        reason = str(getattr(error, "strerror", None) or error).partition("\n")[0]
        raise InputError(f"{path} cannot be read as weights: {reason}") from None
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise InputError(f"{path} is no state dict: expected tensors by name", kind="mismatch")
    return found


def _safetensors(path: Path) -> Tensors:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise SettingError(f"{path} needs a reader: pip install 'lossbench[safetensors]'") from None
    try:
        found: Tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    return found


def fitting(name: str, held: Tensors, path: Path) -> Tensors:
    """What of a file some weights are, in one form, if all of it is there.

    Raises:
        InputError: something is missing, too much, of another shape or not finite.
    """
    others: tuple[str, ...] = ("features.",)
    if name in NETWORKS:
        wanted = NETWORKS[name].shapes
        found = {key: held[key] for key in wanted if key in held}
        others = ("classifier.", "lin")
    elif name == "dists":
        wanted = {"alpha": (DISTS_MAPS,), "beta": (DISTS_MAPS,)}
        found = {key: held[key].flatten() for key in wanted if key in held}
    else:
        wanted = _head_shapes(name)
        found = dict(_heads(held))
    strange = [key for key in held if key not in found and not key.startswith(others)]
    strange = [
        key for key in strange if name in NETWORKS or key.split(".")[0] + ".weight" not in found
    ]
    problems = [f"{key} is missing" for key in wanted if key not in found]
    problems += [
        f"{key} is {sized(found[key].shape[::-1])}, expected {sized(wanted[key][::-1])}"
        if len(wanted[key]) == 2
        else f"{key} is {_shape(found[key].shape)}, expected {_shape(wanted[key])}"
        for key in wanted
        if key in found and tuple(found[key].shape) != tuple(wanted[key])
    ]
    problems += [f"{key} is none of its keys" for key in strange]
    problems += [
        f"{key} is not finite" for key, value in found.items() if not value.isfinite().all()
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InputError(f"{path} does not fit {name}: {problems[0]}{more}", kind="mismatch")
    return {key: value.float() for key, value in found.items()}


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _head_shapes(name: str) -> dict[str, tuple[int, ...]]:
    network = NETWORKS[LPIPS[name.removeprefix("lpips_")]]
    layers = LPIPS_LAYERS[network.name]
    return {f"lin{n}.weight": (network.widths[layer],) for n, layer in enumerate(layers)}


def _heads(held: Tensors) -> Iterator[tuple[str, Tensor]]:
    """Linear heads by number, with or without the names of the module that they were in."""
    for key, value in held.items():
        first, _, rest = key.partition(".")
        if first.startswith("lin") and rest in ("weight", "model.1.weight"):
            yield f"{first}.weight", value.flatten()
