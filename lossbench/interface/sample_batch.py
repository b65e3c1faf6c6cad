"""The common data type of losses: B samples of C classes or channels of N weighted elements."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lossbench.catalog.registry import EACH_SUFFIX
from lossbench.errors import InputError, SettingError, did_you_mean
from lossbench.interface.annotations import Array, BinaryLogs, Chances, Gathered
from lossbench.interface.stable_math import (
    concatenate,
    is_float,
    is_repeated,
    library,
    log_sigmoid,
    logarithm,
    numbers,
    ones_like,
    stack,
    where,
)
from lossbench.runtime.array_types import FloatArray, IntArray

if TYPE_CHECKING:
    from lossbench.data.formats.boxes import DetectionBatch
    from lossbench.networks.architectures import Recipe

Task = Literal[
    "binary",
    "multiclass",
    "multilabel",
    "image",
    "instances",
    "detection",
    "vectors",
    "scores",
    "records",
]
RECORDS = ("vectors", "scores", "records")  # tasks without pixels


@dataclass(frozen=True, eq=False)
class Input:
    """One input in every form that a loss can request.

    `values` is (B or 1, C, N): probabilities, logits, or image values; integers if only 0 and 1
    occur. With `labelled` classes it is a label map (B, N) instead. Table cells (`cells`) are one
    class against the rest, so classes cannot be compared with each other. `space` is the shape of N
    pixels whose positions are known. Vectors are (B, D, 1), scores (B, 1, N); records are tensors
    by name.
    """

    values: Array
    task: Task
    logits: bool = False
    cells: bool = False
    space: tuple[int, ...] | None = None
    labelled: int = 0
    named: Mapping[str, Array] | None = None

    @property
    def count(self) -> int:
        """Number of classes or channels."""
        return self.labelled or self.values.shape[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the pixels; an error if their positions are unknown."""
        if self.space is None:
            raise SettingError("this loss needs images: the positions of pixels are unknown")
        return self.space

    @cached_property
    def stored(self) -> Array:
        if not self.labelled:
            return self.values if is_float(self.values) else self.values.double()
        shape = (len(self.values), self.labelled, self.values.shape[1])
        torch = library(self.values)
        one_hot: Array = torch.zeros(shape, dtype=torch.float64, device=self.values.device)
        return one_hot.scatter_(1, self.values[:, None].long(), 1.0)

    @cached_property
    def probability(self) -> Array:
        if not self.logits:
            return self.stored
        return self.stored.softmax(1) if self.task == "multiclass" else self.stored.sigmoid()

    @cached_property
    def log_pair(self) -> BinaryLogs:
        if self.task == "detection" and ((self.stored < 0) | (self.stored > 1)).any():
            low, high = float(self.stored.min()), float(self.stored.max())
            raise InputError(
                f"has scores from {low:.4g} to {high:.4g}; expected probabilities from 0 to 1",
                kind="mismatch",
                role="pred",
            )
        logits = self.logits and self.task != "multiclass"
        return binary_logs(self.stored if logits else self.probability, logits)

    @cached_property
    def distribution(self) -> Array:
        """Probabilities of all classes: on a binary task background and foreground."""
        if self.task != "binary":
            return self.probability
        return concatenate([1 - self.probability, self.probability], 1)

    @cached_property
    def shares(self) -> Array:
        """How much of each pixel is in each class: equal shares where it is in none."""
        is_exact = self.cells or not is_float(self.values)
        if self.task == "binary" or is_exact:
            return self.distribution
        every = self.distribution.sum(1)[:, None]
        shares = self.distribution / where(every > 0, every, 1.0)
        return where(every > 0, shares, 1 / self.count)

    @cached_property
    def log_probability(self) -> Array:
        if self.task == "binary":
            return concatenate([self.log_pair.no, self.log_pair.yes], 1)
        return self.stored.log_softmax(1) if self.logits else logarithm(self.probability)

    @property
    def logit(self) -> Array:
        if not self.logits:
            raise SettingError("this loss needs logits, not probabilities")
        return self.stored

    @cached_property
    def one_vs_rest(self) -> BinaryLogs:
        if self.task == "binary":  # background and foreground
            yes, no = self.log_pair
            return BinaryLogs(concatenate([no, yes], 1), concatenate([yes, no], 1))
        return binary_logs(self.stored, self.logits)

    @cached_property
    def outcomes(self) -> Chances:
        if self.task == "multiclass":
            return Chances(self.probability[None], self.log_probability[None])
        probability, log = self.probability, self.log_pair
        return Chances(stack([probability, 1 - probability], 0), stack([log.yes, log.no], 0))

    @property
    def channels(self) -> Array:
        return self.stored if self.task == "image" else self.probability

    @property
    def image(self) -> Array:
        return self.channels.reshape(*self.channels.shape[:2], *self.shape)

    @property
    def vector(self) -> Array:
        return self.stored.flatten(1)

    @property
    def scores(self) -> Array:
        return self.stored.flatten(1)

    @property
    def label(self) -> Array:
        if (count := math.prod(self.values.shape[1:])) != 1:
            raise SettingError(f"this loss needs one number per sample, not {count}")
        return self.stored.flatten()

    @property
    def tensors(self) -> Mapping[str, Array]:
        if self.named is None:
            raise SettingError("this loss needs records: --task records")
        return self.named

    def masks(self, sample: int, threshold: float) -> list[NDArray[np.bool_]]:
        """Hard mask of each class of one sample, (*space)."""
        if self.task != "multiclass":
            if is_float(self.values) or threshold == 0:
                masks = (self.probability[sample] >= threshold).cpu().numpy()
            else:  # 0 and 1
                masks = self.values[sample].cpu().numpy().view(np.bool_)
            return list(masks.reshape(-1, *self.shape))
        labels = self.values[sample] if self.labelled else self.stored[sample].argmax(0)
        label_map = labels.cpu().numpy().reshape(self.shape)
        return [label_map == label for label in range(self.count)]

    @property
    def labels(self) -> Array:
        """Most likely class of each pixel, (B, N); the first class on ties."""
        return self.values.long() if self.labelled else self.stored.argmax(1)

    @property
    def half(self) -> Array:
        return self.decision(0.5)

    def decision(self, threshold: float) -> Array:
        """Hard decision, 0 or 1: p ≥ threshold, or the most likely class of a multiclass pixel."""
        if self.task == "multiclass":
            if self.cells:  # label maps, which are hard already
                return self.probability
            one_hot = library(self.labels).nn.functional.one_hot(self.labels, self.count)
            return numbers(one_hot.movedim(-1, 1), self.stored)
        return numbers(self.probability >= threshold, self.stored)


def binary_logs(x: Array, logits: bool) -> BinaryLogs:
    """Logarithms log p and log(1 − p), from logits or probabilities."""
    if logits:
        return BinaryLogs(log_sigmoid(x), log_sigmoid(-x))
    return BinaryLogs(logarithm(x), logarithm(1 - x))


class NamedTensors(dict[str, Array]):
    """Tensors of a record; a missing name is an error that lists the existing ones."""

    def __init__(self, role: str, tensors: Mapping[str, Array]) -> None:
        super().__init__(tensors)
        self.role = role

    def __missing__(self, name: str) -> Array:
        raise InputError(
            f"has no tensor {name!r}{did_you_mean(name, self)}; it has {', '.join(self) or 'none'}",
            kind="mismatch",
            role=self.role,
        )


def check_tensor(tensors: Mapping[str, Array], name: str, shape: Sequence[int | None]) -> Array:
    """A tensor of a record, checked to have a shape, in which None is any length.

    Raises:
        InputError: the tensor has another shape or is not finite.
    """
    tensor, role = tensors[name], getattr(tensors, "role", None)
    fits = [length in (None, n) for length, n in zip(shape, tensor.shape, strict=False)]
    if tensor.ndim != len(shape) or not all(fits):
        expected = ", ".join("any" if length is None else str(length) for length in shape[1:])
        raise InputError(
            f"has {name} of shape {tuple(tensor.shape[1:])}; expected ({expected})",
            kind="mismatch",
            role=role,
        )
    if not tensor.isfinite().all():
        raise InputError(f"has {name} that are not finite", kind="mismatch", role=role)
    return tensor


class AlignedBoxes(NamedTuple):
    """N matched pairs of boxes or unmatched boxes per sample, as x1, y1, x2, y2."""

    pred: Array  # (B, N, 4)
    target: Array  # (B, N, 4)
    has_pred: Array  # (B, N) whether there is a detection
    has_target: Array  # (B, N) whether there is an object
    of_class: Array  # (B, C, N) 1 in the class of the box, 0 elsewhere


class SegmentPairs(NamedTuple):
    """Shared pixels of N pairs of segments of one sample, with P predicted and T true segments."""

    shared: FloatArray  # (N,) number of pixels
    pred: IntArray  # (N,) predicted segment, −1 for none
    target: IntArray  # (N,) true segment, −1 for none, −2 where the target is void
    pred_class: FloatArray  # (P, C) 1 in the class of the segment, 0 elsewhere
    target_class: FloatArray  # (T, C)
    crowd: NDArray[np.bool_]  # (T,) whether it is a crowd: a group of objects annotated as one
    things: NDArray[np.bool_] | None  # (C,) whether a class has instances, if known


class FeatureSource(Protocol):
    """Provides a loss with the features of a network."""

    def maps(
        self, values: SampleBatch, role: str, recipe: Recipe, layers: Sequence[str]
    ) -> list[Array]:
        """Features of one input, one tensor per layer."""

    def numbers(self, name: str, like: Array) -> Mapping[str, Array]:
        """Published parameters by name, such as the heads of LPIPS."""


class SharedViews(Protocol):
    """Views of tables, computed once for the cells that all tables share."""

    def view(self, values: SampleBatch, key: Hashable, make: Callable[[SampleBatch], Any]) -> Any:
        """A view of samples that is linear in their counts."""


@dataclass(frozen=True, eq=False)
class SampleBatch:
    """Samples as weighted elements: an ignored pixel has weight 0, n equal pixels weight n."""

    inputs: dict[str, Input]  # by role: pred, target, and further roles that losses name
    weight: Array  # (B, C or 1, N)
    pixels: Array  # (B,) number of pixels of each sample, ignored pixels included
    joint: Array | None = None  # (B, K, K) joint histogram of label maps, target by prediction
    differences: Array | None = None  # (1, C, N) p − y, where only the difference was counted
    emphasis: Array | None = None  # (B, C or 1, N) role `pos_weight`
    instances: Array | None = None  # (B, C or 1, N) role `instances`, 0 for background
    spacing: tuple[float, ...] | None = None  # along each axis of the space, in mm; None: unknown
    segments: SegmentPairs | None = None  # of one sample of instance maps
    boxes: AlignedBoxes | None = None
    detections: DetectionBatch | None = None  # all detections, unmatched
    features: FeatureSource | None = None
    gathered: Gathered | None = None  # vectors of all samples of the run
    cell_cache: SharedViews | None = None  # where all samples are tables of the same cells
    views: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def task(self) -> Task:
        return self.inputs["target"].task

    @property
    def difference(self) -> Array:
        if self.differences is not None:
            return self.differences
        return self.inputs["pred"].channels - self.inputs["target"].channels

    @property
    def positive(self) -> Array:
        return ones_like(self.weight[:1, :1, :1]) if self.emphasis is None else self.emphasis

    @property
    def gallery(self) -> Gathered:
        if self.gathered is None:
            raise SettingError("this loss needs the vectors of a run: --task vectors")
        return self.gathered

    @property
    def mass(self) -> Array | None:
        return self.inputs["target"].shares if self.task == "multiclass" else None

    @property
    def valid(self) -> Array:
        space = self.inputs["target"].space or (-1,)
        weight = self.weight[..., :1] if self.one_weight else self.weight
        return (weight > 0).expand_as(self.weight).reshape(*self.weight.shape[:2], *space)

    @property
    def one_weight(self) -> bool:
        """Whether all elements of a sample share one weight in memory."""
        return is_repeated(self.weight)

    @cached_property
    def total_weight(self) -> Array:
        """Total weight of the elements, (B, C or 1)."""
        return self.weight.sum(-1)

    @cached_property
    def support(self) -> Array:
        """Pixels of the target in each class, (B, C); 1 on tasks without pixels."""
        if self.detections is not None:
            return numbers(self.detections.objects, self.weight)
        if self.task in RECORDS:
            return self.total_weight
        target = self.inputs["target"]
        if not target.labelled or self.weight.shape[1] > 1:
            if self.one_weight:
                return target.probability.sum(-1) * self.weight[..., 0]
            return (target.probability * self.weight).sum(-1)
        rows = zip(target.values.long(), self.weight[:, 0], strict=True)
        torch = library(self.weight)
        return stack([torch.bincount(*row, minlength=target.labelled) for row in rows], 0)

    def input(self, parameter: str) -> Input | None:
        """The input that a parameter names; None if the run does not have it."""
        return self.inputs.get(parameter.removesuffix(EACH_SUFFIX))

    def cached(self, key: Any, make: Callable[[], Any]) -> Any:
        """A view by its name and options, computed on first use."""
        if key not in self.views:
            self.views[key] = make()
        return self.views[key]


def pixel_size(
    option: Sequence[float] | None, of_files: Sequence[float] | None, axes: int
) -> tuple[float, ...] | None:
    """Size of a pixel along each axis, from an option or else from the files; None means 1.

    Raises:
        InputError: the number of sizes differs from the number of axes.
    """
    spacing = of_files if option is None else option
    if spacing is not None and len(spacing) != axes:
        raise InputError(
            f"has {axes} axes, but spacing has {len(spacing)} numbers; give one per axis",
            kind="mismatch",
        )
    return None if spacing is None else tuple(map(float, spacing))
