"""The one data type: B samples of C classes or channels of N weighted elements."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lossbench.catalog.registry import AGAIN
from lossbench.errors import InputError, SettingError, did_you_mean
from lossbench.interface.annotations import BinaryLogs, Chances, Gathered
from lossbench.interface.stable_math import logarithm

if TYPE_CHECKING:
    from lossbench.data.formats.boxes import Detections
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
    """One input in every form that a loss may ask for.

    `given` is (B or 1, C, N): probabilities, logits, or plain numbers on an image task, integers
    where they are 0 and 1; or it holds labels (B, N) of so many `labelled` classes. Table cells
    hold one class against the rest, so that no class can be compared with another there. `space`
    is the shape of N pixels in their places. Vectors are (B, D, 1), scores (B, 1, N); records are
    tensors by name.
    """

    given: Tensor
    task: Task
    logits: bool = False
    cells: bool = False
    space: tuple[int, ...] | None = None
    labelled: int = 0
    named: Mapping[str, Tensor] | None = None

    @property
    def count(self) -> int:
        """How many classes or channels there are."""
        return self.labelled or self.given.shape[1]

    @cached_property
    def stored(self) -> Tensor:
        if not self.labelled:
            return self.given if self.given.is_floating_point() else self.given.double()
        shape = (len(self.given), self.labelled, self.given.shape[1])
        each = torch.zeros(shape, dtype=torch.float64, device=self.given.device)
        return each.scatter_(1, self.given[:, None].long(), 1.0)

    @cached_property
    def probability(self) -> Tensor:
        if not self.logits:
            return self.stored
        return self.stored.softmax(1) if self.task == "multiclass" else self.stored.sigmoid()

    @cached_property
    def log_pair(self) -> BinaryLogs:
        if self.task == "detection" and ((self.stored < 0) | (self.stored > 1)).any():
            low, high = (float(end) for end in torch.aminmax(self.stored))
            raise InputError(
                f"has scores from {low:.4g} to {high:.4g}; expected probabilities from 0 to 1",
                kind="mismatch",
                role="pred",
            )
        if self.logits and self.task != "multiclass":
            return BinaryLogs(
                functional.logsigmoid(self.stored), functional.logsigmoid(-self.stored)
            )
        return BinaryLogs(logarithm(self.probability), logarithm(1 - self.probability))

    @cached_property
    def distribution(self) -> Tensor:
        """Binary probabilities with their background made explicit; others as they are."""
        if self.task != "binary":
            return self.probability
        return torch.cat([1 - self.probability, self.probability], 1)

    @cached_property
    def log_probability(self) -> Tensor:
        if self.task == "binary":
            return torch.cat([self.log_pair.no, self.log_pair.yes], 1)
        return self.stored.log_softmax(1) if self.logits else logarithm(self.probability)

    @property
    def logit(self) -> Tensor:
        if not self.logits:
            raise SettingError("this loss needs logits; probabilities are refused")
        return self.stored

    @cached_property
    def one_vs_rest(self) -> BinaryLogs:
        if self.task == "binary":  # its background is the other class
            yes, no = self.log_pair
            return BinaryLogs(torch.cat([no, yes], 1), torch.cat([yes, no], 1))
        if self.logits:
            return BinaryLogs(
                functional.logsigmoid(self.stored), functional.logsigmoid(-self.stored)
            )
        return BinaryLogs(logarithm(self.stored), logarithm(1 - self.stored))

    @cached_property
    def outcomes(self) -> Chances:
        if self.task == "multiclass":
            return Chances(self.probability[None], self.log_probability[None])
        probability, log = self.probability, self.log_pair
        return Chances(torch.stack([probability, 1 - probability]), torch.stack([log.yes, log.no]))

    @property
    def channels(self) -> Tensor:
        return self.stored if self.task == "image" else self.probability

    @property
    def image(self) -> Tensor:
        if self.space is None:
            raise SettingError("this loss needs pixels in their places")
        return self.channels.reshape(*self.channels.shape[:2], *self.space)

    @property
    def vector(self) -> Tensor:
        return self.stored.flatten(1)

    @property
    def scores(self) -> Tensor:
        return self.stored.flatten(1)

    @property
    def label(self) -> Tensor:
        if self.given[0].numel() != 1:
            raise SettingError(f"this loss needs one number a sample, not {self.given[0].numel()}")
        return self.stored.flatten()

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        if self.named is None:
            raise SettingError("this loss needs records, which --task records reads")
        return self.named

    def masks(self, sample: int, threshold: float) -> list[NDArray[np.bool_]]:
        """The hard mask of each class of one sample, (*space)."""
        if self.space is None:
            raise SettingError("this loss needs pixels in their places")
        if self.task != "multiclass":
            if self.given.is_floating_point() or threshold == 0:
                decided = (self.probability[sample] >= threshold).cpu().numpy()
            else:  # 0 and 1
                decided = self.given[sample].cpu().numpy().view(np.bool_)
            return list(decided.reshape(-1, *self.space))
        labels = self.given[sample] if self.labelled else self.stored[sample].argmax(0)
        placed = labels.cpu().numpy().reshape(self.space)
        return [placed == label for label in range(self.count)]

    @property
    def labels(self) -> Tensor:
        """(B, N) the most likely class of each pixel, the first one on ties."""
        return self.given.long() if self.labelled else self.stored.argmax(1)

    @property
    def half(self) -> Tensor:
        return self.decision(0.5)

    def decision(self, threshold: float) -> Tensor:
        """0 or 1: p ≥ threshold, or the most likely class of a pixel, the first one on ties."""
        if self.task == "multiclass":
            if self.cells:  # label maps, which are decided already
                return self.probability
            each = functional.one_hot(self.labels, self.count)
            return each.movedim(-1, 1).to(self.stored)
        return (self.probability >= threshold).to(self.stored)


class NamedTensors(dict[str, Tensor]):
    """The tensors of a record."""

    def __init__(self, role: str, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(tensors)
        self.role = role

    def __missing__(self, name: str) -> Tensor:
        raise InputError(
            f"has no tensor {name!r}{did_you_mean(name, self)}; it has {', '.join(self) or 'none'}",
            kind="mismatch",
            role=self.role,
        )


def check_tensor(tensors: Mapping[str, Tensor], name: str, shape: Sequence[int | None]) -> Tensor:
    """A tensor of a record in the shape that a loss needs, None for any length of an axis.

    Raises:
        InputError: it is of another shape, or not finite.
    """
    found, role = tensors[name], getattr(tensors, "role", None)
    fits = [length in (None, here) for length, here in zip(shape, found.shape, strict=False)]
    if found.ndim != len(shape) or not all(fits):
        wanted = ", ".join("any" if length is None else str(length) for length in shape[1:])
        raise InputError(
            f"has {name} of shape {tuple(found.shape[1:])}; expected ({wanted})",
            kind="mismatch",
            role=role,
        )
    if not found.isfinite().all():
        raise InputError(f"has {name} that are not finite", kind="mismatch", role=role)
    return found


class AlignedBoxes(NamedTuple):
    """Boxes of samples, N pairs or boxes that are alone, as x1, y1, x2, y2."""

    pred: Tensor  # (B, N, 4)
    target: Tensor  # (B, N, 4)
    found: Tensor  # (B, N) whether there is a detection
    there: Tensor  # (B, N) whether there is an object
    of_class: Tensor  # (B, C, N) 1 in its class, 0 elsewhere


class SegmentPairs(NamedTuple):
    """How many pixels two segments share, of one sample: N pairs, T true and P predicted ones."""

    shared: Tensor  # (N,) pixels
    pred: Tensor  # (N,) the predicted segment, −1 where there is none
    target: Tensor  # (N,) the true segment, −1 where there is none, −2 where the target is void
    pred_class: Tensor  # (P, C) 1 in its class, 0 elsewhere
    target_class: Tensor  # (T, C)
    crowd: Tensor  # (T,) whether it is a group of things that are not told apart
    things: Tensor | None  # (C,) whether a class has instances, where that is known


class FeatureSource(Protocol):
    """Where a loss gets the features of a network from."""

    def maps(
        self, values: SampleBatch, role: str, recipe: Recipe, layers: Sequence[str]
    ) -> list[Tensor]:
        """Features of one input, a tensor a layer."""

    def numbers(self, name: str, like: Tensor) -> Mapping[str, Tensor]:
        """Published numbers by name, such as the heads of LPIPS."""


class SharedViews(Protocol):
    """Views of tables, each made once of the cells that all tables share."""

    def view(self, values: SampleBatch, key: Hashable, make: Callable[[SampleBatch], Any]) -> Any:
        """A view of samples that is linear in their counts."""


@dataclass(frozen=True, eq=False)
class SampleBatch:
    """Samples as elements with weights: an ignored pixel weighs 0, n equal pixels weigh n."""

    sides: dict[str, Input]  # by role: pred, target, and what else losses ask for by name
    weight: Tensor  # (B, C or 1, N)
    pixels: Tensor  # (B,) of each sample, ignored ones included
    joint: Tensor | None = None  # (B, K, K) target by prediction, of pairs of label maps
    differences: Tensor | None = None  # (1, C, N) where only p − y was counted
    emphasis: Tensor | None = None  # (B, C or 1, N) role `pos_weight`
    instances: Tensor | None = None  # (B, C or 1, N) role `instances`, 0 where there is none
    spacing: tuple[float, ...] | None = None  # along each axis of the space, in mm; None: unknown
    segments: SegmentPairs | None = None  # of instance maps, one sample
    boxes: AlignedBoxes | None = None
    detections: Detections | None = None  # all of one sample, for other rules of matching
    deep: FeatureSource | None = None
    gathered: Gathered | None = None  # all samples of the run
    shares: SharedViews | None = None  # where all samples are tables of the same cells
    views: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def task(self) -> Task:
        return self.sides["target"].task

    @property
    def difference(self) -> Tensor:
        if self.differences is not None:
            return self.differences
        return self.sides["pred"].channels - self.sides["target"].channels

    @property
    def positive(self) -> Tensor:
        return torch.ones_like(self.weight[:1, :1, :1]) if self.emphasis is None else self.emphasis

    @property
    def gallery(self) -> Gathered:
        if self.gathered is None:
            raise SettingError("this loss needs all samples of a run, as --task vectors has them")
        return self.gathered

    @property
    def mass(self) -> Tensor | None:
        return self.sides["target"].probability if self.task == "multiclass" else None

    @property
    def valid(self) -> Tensor:
        space = self.sides["target"].space or (-1,)
        alike = self.weight.stride(-1) == 0  # one weight for all pixels
        seen = (self.weight[..., :1] > 0).expand_as(self.weight) if alike else self.weight > 0
        return seen.reshape(*self.weight.shape[:2], *space)

    @cached_property
    def every(self) -> Tensor:
        """What all elements weigh, (B, C or 1)."""
        return self.weight.sum(-1)

    @cached_property
    def support(self) -> Tensor:
        """Pixels of the target that belong to each class, (B, C); 1 where there are none."""
        if self.task in RECORDS:
            return self.every
        target = self.sides["target"]
        if not target.labelled or self.weight.shape[1] > 1:
            return (target.probability * self.weight).sum(-1)
        each = zip(target.given.long(), self.weight[:, 0], strict=True)
        return torch.stack([torch.bincount(*row, minlength=target.labelled) for row in each])

    def side(self, name: str) -> Input | None:
        """The input that a parameter names, None where it is not given."""
        return self.sides.get(name.removesuffix(AGAIN))

    def remembered(self, key: Any, make: Callable[[], Any]) -> Any:
        """A view by its name and options, made when it is first asked for."""
        if key not in self.views:
            self.views[key] = make()
        return self.views[key]


def pixel_size(
    given: Sequence[float] | None, known: Sequence[float] | None, axes: int
) -> tuple[float, ...] | None:
    """The size of a pixel along each axis, as given or as the files say; None for 1.

    Raises:
        InputError: there are more or fewer numbers than axes.
    """
    found = known if given is None else given
    if found is not None and len(found) != axes:
        raise InputError(
            f"has {axes} axes where spacing has {len(found)} numbers; give one for each axis",
            kind="mismatch",
        )
    return None if found is None else tuple(map(float, found))
