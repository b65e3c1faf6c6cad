"""The reading plan: how bytes become numbers, decided once for the run from a sample of files.

Where no setting decides, up to 16 pairs are decoded and examined: the first, the last, and pairs
spread evenly between them in the order of ids. Every file is then checked against the plan.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from lossbench.data.planning.classes import Classes
from lossbench.data.planning.ignored import Ranges, describe_ranges
from lossbench.data.planning.input_encoding import LEVELS, InputEncoding

DENSE_CELLS = {"multiclass": 1 << 16, "image": 511}  # a table with more cells is sparse
DENSE_CELLS_ELSEWHERE = 512  # the same on other tasks
COUNTABLE_CELLS = 1 << 24  # with more cells, no table is made
MATCH = 0.5  # the IoU from which a box matches an object; scores may have thresholds of their own
MATCHED = f"matched by class, best score first, IoU ≥ {MATCH}"


@dataclass(frozen=True)
class Plan:
    """The reading plan of a run."""

    task: str  # binary, multiclass, multilabel, image, instances, detection, or one of records
    pred: InputEncoding  # how predictions are read
    target: InputEncoding  # how the ground truth is read
    names: tuple[str, ...]  # the classes; background and foreground of a binary task
    channels: int  # how many classes or channels a stacked input has
    masks: tuple[str, ...] = ()  # the roles of `vocabulary.MASKS` that the run has
    # Role, values that count (both ends of ranges), and whether the user gave them, of `masks`.
    mask_values: tuple[tuple[str, Ranges, bool], ...] = ()
    maps: tuple[str, ...] = ()  # the roles of `vocabulary.MAPS` that the run has
    resize: str | None = None  # how a prediction of another size is fitted, if at all
    grid: str = "check"  # whether the grids of volumes have to agree; or "ignore"
    spacing: str = ""  # of the ground truth's voxels, as text; "" where its files have none
    counted: bool = False  # whether tables of counts are made
    pixels: bool = True  # whether the pixels themselves are kept
    divisor: int | None = None  # of labels class · divisor + instance; None: of one class
    things: tuple[str, ...] | None = None  # the classes that have instances, where those are known
    roles: tuple[InputEncoding, ...] = ()  # how the inputs that losses name are read
    has_open_labels: bool = False  # classes are 0 … the largest label of any file
    known_labels: int = field(default=0, compare=False)  # classes of the sample; 0: all of them
    threshold: float = field(default=0.5, compare=False)  # from which predictions are foreground
    sampled: tuple[str, ...] = field(default=(), compare=False)  # ids that doubts are judged from
    stored: int = field(default=0, compare=False)  # bytes of the largest pair seen; 0: unknown
    beyond: str = field(default="", compare=False)  # floats of pictures that are not 0 … 1
    narrowest: int = field(default=0, compare=False)  # the shortest side of a picture, in pixels
    notes: tuple[str, ...] = field(default=(), compare=False)  # remarks for the user

    @property
    def by_class(self) -> bool:
        """Whether classes have values of their own."""
        several = self.task == "instances" and len(self.names) > 1
        return several or self.task in ("multiclass", "multilabel", "detection")

    def reading(self, role: str) -> InputEncoding | None:
        """How a role is read; None for masks and maps, which have one number per pixel."""
        every = (self.pred, self.target, *self.roles)
        return next((each for each in every if each.role == role), None)

    def with_labels(self, largest: int) -> Plan:
        """The plan with classes up to a label that the sample does not have."""
        classes = Classes.of(range(largest + 1))
        pred, target = (
            replace(side, values=classes.values, classes=len(classes.names))
            if side.definition.is_label_map
            else side
            for side in (self.pred, self.target)
        )
        return replace(
            self,
            names=classes.names,
            channels=len(classes.names),
            pred=pred,
            target=target,
            known_labels=self.known_labels or len(self.names),
        )

    @property
    def identity(self) -> dict[str, Any]:
        """How the ground truth was read, which results share that are compared; and predictions."""
        truth = self.target
        counting = {
            role: f"@{describe_ranges(values, colours=False)}".replace(" ", "")
            for role, values, is_given in self.mask_values
            if is_given
        }
        usual = truth.scale in (1, LEVELS.get(truth.dtype, 0) - 1)
        return {
            "task": self.task,
            "classes": list(self.names),
            "values": [
                [f"#{value:06x}" if truth.colours else value, index]
                for value, index in sorted(truth.values)
            ],
            "ignored": [
                describe_ranges((each,), colours=truth.colours) for each in sorted(truth.ignore)
            ],
            "roles": [
                f"{role}{counting.get(role, '')}" for role in sorted([*self.masks, *self.maps])
            ],
            "encoding": truth.encoding,
            "threshold": truth.cut,
            "scale": None if usual else truth.scale,
            "divisor": self.divisor,
            "things": None if self.things is None else list(self.things),
            "spacing": "mm" if self.spacing else None,
            "pred": self.pred.encoding,
        }

    @property
    def cells(self) -> int:
        """How many cells the table of a class or channel has; 0 where there is no table.

        A cell is a pair of target and prediction, or a difference of two images.
        """
        if self.task != "image":
            return self.target.levels * self.pred.levels
        alike = self.pred.dtype == self.target.dtype
        return max(0, 2 * self.target.levels - 1) if alike else 0

    @property
    def sparse(self) -> bool:
        """Whether a table keeps only the cells that occur; a whole one has a row a class."""
        soft_truth = self.task != "image" and not self.target.is_hard
        large = self.cells > DENSE_CELLS.get(self.task, DENSE_CELLS_ELSEWHERE)
        return self.counted and (soft_truth or large)

    @property
    def countable(self) -> bool:
        """Whether a table of a fixed length can stand for the pixels."""
        if "weight" in self.maps or not self.pred.is_countable:
            return False
        if self.task not in ("binary", "multiclass", "multilabel", "image"):
            return False
        stacked = self.task == "multiclass" and (self.pred.stacked or self.target.stacked)
        return not stacked and 0 < self.cells <= COUNTABLE_CELLS

    def __str__(self) -> str:
        return self.described()

    def described(self, *, with_evidence: bool = False) -> str:
        """The plan in one line, with or without the sizes and values of the sample."""
        parts = [self.task]
        for reading in (self.pred, self.target, *self.roles):
            of = "components of " if self.task == "instances" and reading.is_hard else ""
            seen = f" {reading.seen}" if with_evidence and reading.seen else ""
            name = "gt" if reading is self.target else reading.role
            parts.append(f"{name}: {of}{reading}{seen}")
        if self.task == "detection":
            parts.append(MATCHED)
        if self.divisor:
            parts.append(f"label = class·{self.divisor} + instance")
        if self.by_class:
            parts.append("1 class" if len(self.names) == 1 else f"{len(self.names)} classes")
        given = {role: values for role, values, is_given in self.mask_values if is_given}
        for role in self.masks:
            values = describe_ranges(given[role], colours=False) if role in given else ""
            parts.append(f"{role} masks" + (f" ({values})" if values else ""))
        parts += [{"weight": "weighted"}.get(role, role) for role in self.maps]
        if self.spacing:
            parts.append(f"spacing {self.spacing}")
        if self.grid != "check":
            parts.append(f"grid {self.grid}")
        if self.resize:
            parts.append(f"resize {self.resize}")
        return " · ".join(parts)
