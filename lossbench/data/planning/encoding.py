"""The table of encodings: what the numbers in a file stand for, one row each.

A new encoding is a row here, a test, a line in the documentation and, if files are to be recognised
without an option, a row in `readings.py`. This module imports no numpy, so that the command can
offer the names without waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from lossbench.runtime.array_types import AnyArray

CLASS_TASKS = ("binary", "multiclass", "multilabel")
LARGEST_LABEL = 200  # larger numbers are grey levels, or 255 for ignored pixels


@dataclass(frozen=True)
class Encoding:
    """What the numbers in a file stand for."""

    name: str  # the value of `--pred-encoding` and `--gt-encoding`
    tasks: tuple[str, ...] = ()  # the tasks whose files can hold it
    fits_truth: bool = True  # whether a ground truth can hold it
    is_hard: bool = False  # numbers are classes
    is_mask: bool = False  # of those, numbers are background and foreground, whatever their names
    any_foreground: bool = False  # of those, every number except 0 is foreground
    is_soft: bool = False  # numbers are levels, so that all files have to store them in one type
    is_scaled: bool = False  # of those, the largest integer of the type stands for 1
    is_probability: bool = False  # of those, values lie in [0, 1]
    is_alpha: bool = False  # of those, numbers are the alpha channel of a picture
    is_logits: bool = False  # of those, a sigmoid or softmax makes probabilities of values
    has_channels: bool = False  # several numbers per pixel, channels first
    is_instances: bool = False  # numbers are names of segments
    palette: Literal["indices", "colours", "refused"] = "indices"  # how a palette picture is read
    # what (…, 3) colours stand for; None where only grey ones do, for their level
    from_colours: Callable[[AnyArray], AnyArray] | None = None
    ignored_above: int | None = None  # 255 is ignored where labels end here; None where it never is
    advice: str = ""  # the way out if a number is no class; {flag} is the option to set it

    @property
    def is_label_map(self) -> bool:
        """Whether numbers are labels of the classes that a run names."""
        return self.is_hard and not self.is_mask


def colour_codes(colours: AnyArray) -> AnyArray:
    """Colours (…, 3) as 0xRRGGBB."""
    codes = colours[..., 0].astype("uint32")
    for channel in (1, 2):
        codes <<= 8
        codes |= colours[..., channel]
    return codes


def _segment_ids(colours: AnyArray) -> AnyArray:
    """Colours (…, 3) as R + 256·G + 65536·B."""
    return colour_codes(colours[..., ::-1])


def _channels_first(colours: AnyArray) -> AnyArray:
    """Colours (…, 3) as (3, …)."""
    return colours.transpose(-1, *range(colours.ndim - 1))


NAME_CLASSES = "name all classes with --classes"

# fmt: off
ENCODINGS = {
    encoding.name: encoding
    for encoding in (
        Encoding(
            "labels", CLASS_TASKS, is_hard=True, ignored_above=LARGEST_LABEL, advice=NAME_CLASSES
        ),
        Encoding(
            "mask", (*CLASS_TASKS, "instances"),
            is_hard=True, is_mask=True, ignored_above=1,
            advice="if every number above 0 is foreground, give {flag} nonzero; for grey levels"
            " give {flag} probability",
        ),
        Encoding(
            "nonzero", ("binary", "multilabel", "instances"),
            is_hard=True, is_mask=True, any_foreground=True,
            advice="give every pixel a number",
        ),
        Encoding(
            "probability", CLASS_TASKS, is_soft=True, is_scaled=True, is_probability=True,
            palette="refused",
        ),
        Encoding(
            "alpha", ("binary", "multilabel"),
            is_soft=True, is_scaled=True, is_probability=True, is_alpha=True,
        ),
        Encoding(
            "logits", CLASS_TASKS,
            fits_truth=False, is_soft=True, is_logits=True, palette="refused",
        ),
        Encoding(
            "image", ("image",), is_soft=True, is_scaled=True, has_channels=True,
            palette="colours", from_colours=_channels_first,
        ),
        Encoding(
            "palette", CLASS_TASKS, is_hard=True, ignored_above=LARGEST_LABEL, advice=NAME_CLASSES
        ),
        Encoding("instances", ("instances",), is_instances=True, from_colours=_segment_ids),
    )
}
# fmt: on

# No option sets these: they follow from the task and from the inputs that losses name.
NUMBERS = {name: Encoding(name) for name in ("vectors", "label", "scores", "records", "boxes")}
