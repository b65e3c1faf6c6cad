"""Feature extraction: networks with weights read safely from files, applied to images."""

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
from lossbench.networks.weights import WeightFiles, digest, locate, published

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for images in [0, 1]
DISTS_MAPS = 3 + 64 + 128 + 256 + 512 + 512  # the image itself and five layers of VGG16
FREE = 0.5  # fraction of a device's free memory that a batch may use
Tensors = Mapping[str, Tensor]


class Networks:
    """Networks with their weights; each file is read once, on first use."""

    def __init__(self, files: WeightFiles | None = None, offline: bool = False) -> None:
        self.files, self.offline = dict(files or {}), offline
        self.hashes: dict[str, str] = {}  # SHA-256 of each file read
        self._read: dict[str, Tensors] = {}
        self._converted: dict[tuple[str, torch.device, torch.dtype], Tensors] = {}
        self._lock = threading.Lock()

    def numbers(self, name: str, like: Tensor) -> Tensors:
        """Weights by key, with the device and type of a tensor."""
        key = (name, like.device, like.dtype)
        with self._lock:
            if name not in self._read:
                self._read[name] = self._load(name)
            if key not in self._converted:
                self._converted[key] = {k: _converted(v, like) for k, v in self._read[name].items()}
            return self._converted[key]

    def maps(self, images: Tensor, recipe: Recipe, layers: Sequence[str]) -> dict[str, Tensor]:
        """Features of images (B, 3, H, W) in [0, 1], by layer, each (B, M, height, width)."""
        images = _shrunk(images, recipe.shorter)
        network, numbers = NETWORKS[recipe.network], self.numbers(recipe.network, images)
        features = {IMAGE: images} if IMAGE in layers else {}
        mean, deviation = (
            torch.tensor(values, dtype=images.dtype, device=images.device)[:, None, None]
            for values in (MEAN, DEVIATION)
        )
        x = ((images - mean) / deviation).contiguous(memory_format=torch.channels_last)
        for step in network.up_to(layers):
            required = step.size if isinstance(step, Pool) and recipe.pooling == "max" else 1
            if not isinstance(step, Pool | Fire):
                required = step.size - 2 * step.pad
            if min(x.shape[2:]) < required:
                raise InputError(
                    f"is {sized(images.shape[2:])}, too small for {layers[-1]} of {network.name}",
                    kind="size",
                )
            if isinstance(step, Pool):
                x = _blurred(x) if recipe.pooling == "blur" else functional.max_pool2d(
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
                features[step.layer] = x
        return features

    def each(
        self, images: Sequence[Tensor], recipe: Recipe, layers: Sequence[str]
    ) -> list[dict[str, Tensor]]:
        """Features of images (1, 3, *) of any size, in batches of images of equal size.

        A batch uses at most half of the device's free memory, and is halved if memory runs out. On
        a CPU each image is a batch, which is as fast and makes its bits independent of others.
        """
        features: list[dict[str, Tensor]] = [{}] * len(images)
        by_size: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images):
            by_size.setdefault(tuple(image.shape), []).append(index)
        for indices in by_size.values():
            size, start = self._batch_size(images[indices[0]], recipe, layers), 0
            while start < len(indices):
                batch = indices[start : start + size]
                try:
                    layer_maps = self.maps(torch.cat([images[i] for i in batch]), recipe, layers)
                except RuntimeError as error:
                    no_memory = isinstance(error, torch.cuda.OutOfMemoryError)
                    if not no_memory and "allocate memory" not in str(error):
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
                for row, index in enumerate(batch):
                    features[index] = {name: x[row : row + 1] for name, x in layer_maps.items()}
                start += len(batch)
        return features

    def _batch_size(self, image: Tensor, recipe: Recipe, layers: Sequence[str]) -> int:
        """Number of images of this size in a batch."""
        if not image.is_cuda:
            return 1
        free, _ = torch.cuda.mem_get_info(image.device)
        cost = NETWORKS[recipe.network].cost(layers) * image[0, 0].numel() * image.element_size()
        return max(1, int(FREE * free / cost))

    def _load(self, name: str) -> Tensors:
        if name == SEEDED:
            self.hashes[name] = "random"
            return seeded(NETWORKS[name])
        path = locate(name, self.files, self.offline)
        known = published(name)
        self.hashes[name] = known.sha256 if path.name == known.file else digest(path)
        return checked_weights(name, read_tensors(path), path)


def _converted(numbers: Tensor, like: Tensor) -> Tensor:
    """Weights with the device and type of a tensor, in the memory format of CPU convolutions."""
    result = numbers.to(like)
    return result.contiguous(memory_format=torch.channels_last) if result.ndim == 4 else result


def _shrunk(images: Tensor, shorter: int | None) -> Tensor:
    """Shrink larger images bilinearly, so that their shorter side has `shorter` pixels.

    The side can be one pixel less where the product with the scale factor rounds down (384 to 256
    gives 255), as in the values published by the authors of DISTS.
    """
    side = min(images.shape[2:])
    if shorter is None or side <= shorter:
        return images
    return functional.interpolate(
        images, scale_factor=shorter / side, mode="bilinear", recompute_scale_factor=False
    )


def _conv(x: Tensor, numbers: Tensors, key: str, stride: int = 1, pad: int = 0) -> Tensor:
    return functional.conv2d(x, numbers[f"{key}.weight"], numbers[f"{key}.bias"], stride, pad)


def _blurred(x: Tensor) -> Tensor:
    """ℓ2 pooling with stride 2 and a Hann window (Ding et al. 2020)."""
    line = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype, device=x.device)
    window = (line[:, None] * line).expand(x.shape[1], 1, 3, 3)
    return (functional.conv2d(x**2, window, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


def seeded(network: Network) -> Tensors:
    """Reproducible random weights, from numpy's frozen generator with seed 0."""
    random, weights = np.random.RandomState(0), {}
    for key, shape in network.shapes.items():
        scale = math.sqrt(2 / math.prod(shape[1:])) if len(shape) > 1 else 0.05
        weights[key] = torch.from_numpy(scale * random.standard_normal(shape)).float()
    return weights


def read_tensors(path: Path) -> Tensors:
    """The named tensors of a file; no code in the file is run."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        if path.suffix == ".safetensors":
            return _safetensors(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path} contains more than tensors and was not opened; expected a state dict",
            kind="mismatch",
        ) from None
    except (OSError, ValueError, RuntimeError, EOFError, KeyError, zipfile.BadZipFile) as error:
        reason = str(getattr(error, "strerror", None) or error).partition("\n")[0]
        raise InputError(f"{path} cannot be read as weights: {reason}") from None
    if not isinstance(tensors, Mapping) or not all(isinstance(v, Tensor) for v in tensors.values()):
        raise InputError(f"{path} is not a state dict: expected tensors by name", kind="mismatch")
    return tensors


def _safetensors(path: Path) -> Tensors:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise SettingError(f"{path} needs a reader: pip install 'lossbench[safetensors]'") from None
    try:
        tensors: Tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    return tensors


def checked_weights(name: str, tensors: Tensors, path: Path) -> Tensors:
    """The weights with a name among the tensors of a file, in float32.

    A tensor that is missing, unknown, not finite, or of another shape is an error.
    """
    ignored: tuple[str, ...] = ("features.",)
    if name in NETWORKS:
        expected = NETWORKS[name].shapes
        weights = {key: tensors[key] for key in expected if key in tensors}
        ignored = ("classifier.", "lin")
    elif name == "dists":
        expected = {"alpha": (DISTS_MAPS,), "beta": (DISTS_MAPS,)}
        weights = {key: tensors[key].flatten() for key in expected if key in tensors}
    else:
        network = NETWORKS[LPIPS[name.removeprefix("lpips_")]]
        heads = enumerate(LPIPS_LAYERS[network.name])
        expected = {f"lin{n}.weight": (network.widths[layer],) for n, layer in heads}
        weights = dict(_heads(tensors))
    unknown = [key for key in tensors if key not in weights and not key.startswith(ignored)]
    if name not in NETWORKS:  # a head's key may contain the names of enclosing modules
        unknown = [key for key in unknown if f"{key.partition('.')[0]}.weight" not in weights]
    problems = [f"{key} is missing" for key in expected if key not in weights]
    problems += [
        f"{key} is {_shape(weights[key].shape)}, expected {_shape(expected[key])}"
        for key in expected
        if key in weights and tuple(weights[key].shape) != tuple(expected[key])
    ]
    problems += [f"{key} is an unknown key" for key in unknown]
    problems += [
        f"{key} is not finite" for key, value in weights.items() if not value.isfinite().all()
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InputError(f"{path} does not fit {name}: {problems[0]}{more}", kind="mismatch")
    return {key: value.float() for key, value in weights.items()}


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _heads(tensors: Tensors) -> Iterator[tuple[str, Tensor]]:
    """Linear heads by number; keys may contain the names of enclosing modules."""
    for key, value in tensors.items():
        first, _, rest = key.partition(".")
        if first.startswith("lin") and rest in ("weight", "model.1.weight"):
            yield f"{first}.weight", value.flatten()
