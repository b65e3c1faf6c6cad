"""The reading plan: how bytes become numbers, decided once for the run from a sample of files.

Where a setting does not say, up to 16 pairs, spread evenly over the sorted ids with the first and
the last among them, are decoded and looked at. Every file is then held against the plan.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from lossbench.data.planning.encoding import InputEncoding

# Cells of the largest table that is kept whole, and of the largest of which cells are counted.
WHOLE = {"multiclass": 1 << 16, "image": 511}
PAIRS = 512
MOST_CELLS = 1 << 24
MASKS = ("ignore", "valid")  # further roles: where pixels leave every sum
MAPS = ("weight", "pos_weight", "instances")  # and numbers for each pixel
MATCH = 0.5  # the IoU from which a box is that of an object, but for scores with their own
MATCHED = f"matched by class, best score first, IoU ≥ {MATCH}"


@dataclass(frozen=True)
class Plan:
    """The reading plan of a run.

    Attributes:
        task: binary, multiclass, multilabel, image, instances, detection, or one of records.
        pred: how predictions are read.
        target: how the ground truth is read.
        names: the classes; background and foreground of a binary task.
        channels: how many classes or channels a stacked input has.
        masks: roles `ignore` and `valid` that are given.
        maps: roles `weight`, `pos_weight` and `instances` that are given.
        resize: how a prediction of another size is fitted to its ground truth, if at all.
        spacing: of the ground truth's voxels, as text; "" where its files have none.
        counted: whether tables of counts are made.
        pixels: whether the pixels themselves are kept.
        divisor: labels of an instance map are class · divisor + instance; None: of one class.
        things: the classes whose instances are told apart, where that is known.
        roles: how the inputs are read that losses ask for by name, one reading a role.
        stored: bytes of the arrays of a pair, as far as files have been looked at; 0: unknown.
        notes: what a user should know of it.
    """

    task: str
    pred: InputEncoding
    target: InputEncoding
    names: tuple[str, ...]
    channels: int
    masks: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    resize: str | None = None
    spacing: str = ""
    counted: bool = False
    pixels: bool = True
    divisor: int | None = None
    things: tuple[str, ...] | None = None
    roles: tuple[InputEncoding, ...] = ()
    stored: int = field(default=0, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def by_class(self) -> bool:
        """Whether classes have values of their own."""
        several = self.task == "instances" and len(self.names) > 1
        return several or self.task in ("multiclass", "multilabel", "detection")

    def reading(self, role: str) -> InputEncoding | None:
        """How a role is read; None for masks and maps, which are one number a pixel."""
        return self._readings.get(role)

    @cached_property
    def _readings(self) -> dict[str, InputEncoding]:
        every = {each.role: each for each in self.roles}
        return {"pred": self.pred, "target": self.target, **every}

    @property
    def cells(self) -> int:
        """How many cells the table of a class or channel has; 0 where there is none.

        Target by prediction, or the differences of images.
        """
        if self.task != "image":
            return self.target.levels * self.pred.levels
        alike = self.pred.dtype == self.target.dtype
        return max(0, 2 * self.target.levels - 1) if alike else 0

    @property
    def sparse(self) -> bool:
        """Whether of a table only those cells are kept that occur."""
        return self.counted and self.cells > WHOLE.get(self.task, PAIRS)

    @property
    def countable(self) -> bool:
        """Whether a table of a fixed length can stand for the pixels."""
        if "weight" in self.maps or (self.pred.scale == 1 and not self.pred.hard):
            return False
        if self.task not in ("binary", "multiclass", "multilabel", "image"):
            return False
        stacked = self.task == "multiclass" and (self.pred.stacked or self.target.stacked)
        return not stacked and 0 < self.cells <= MOST_CELLS

    def __str__(self) -> str:
        parts = [self.task]
        for side, reading in (
            ("pred", self.pred),
            ("gt", self.target),
            *((each.role, each) for each in self.roles),
        ):
            of = "components of " if self.task == "instances" and reading.hard else ""
            parts.append(f"{side}: {of}{reading}")
        if self.task == "detection":
            parts.append(MATCHED)
        if self.divisor:
            parts.append(f"label = class·{self.divisor} + instance")
        if self.by_class:
            parts.append(f"{len(self.names)} classes")
        parts += [f"{role} masks" for role in self.masks]
        parts += [{"weight": "weighted"}.get(role, role) for role in self.maps]
        if self.spacing:
            parts.append(f"spacing {self.spacing}")
        if self.resize:
            parts.append(f"resize {self.resize}")
        return " · ".join(parts)
