"""The losses: pure torch functions, one module per family; no files, no printing, no devices.

A parameter's name says which input it is, its annotation says in which form, keyword-only
parameters are options, and the return annotation says which reductions are still to be applied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

Expression = str  # returned by combinations: an expression of other losses, as typed at --loss
Function = TypeVar("Function", bound=Callable[..., Any])


def loss(
    *,
    family: str = "",
    use: str = "",
    tasks: Sequence[str] = (),
    sources: Sequence[str] = (),
    range: tuple[float | None, float | None] = (0, None),
    better: Literal["lower", "higher"] | None = "lower",
    aliases: Sequence[str] = (),
    example: str = "",
    couples: bool = False,
    background: bool = True,
    revision: int = 1,
) -> Callable[[Function], Function]:
    """Mark a function as a loss of the catalogue, which reads these facts from the source.

    The SHARED_FACTS of a module of this package replace the defaults for its losses.

    Args:
        family: the group that lists the loss; by default the name of its module.
        use: what the loss is used for, in a few words.
        tasks: tasks that the loss can be computed on: binary, multiclass, multilabel, image,
            instances, detection, vectors, scores, records; by default binary, multiclass and
            multilabel, and image for a user's own loss.
        sources: where the definition comes from.
        range: smallest and largest value, None for no bound (the default of a user's own loss).
        better: whether lower or higher values are better.
        aliases: other names accepted at --loss.
        example: an expression with options, such as "dice(smooth=1)"; by default the name.
        couples: whether the classes of a pixel are evaluated jointly, so that label maps keep their
            pixels instead of becoming one-class-against-the-rest tables.
        background: whether class 0 of a multiclass task counts by default.
        revision: incremented when a fix changes the values.
    """
    return lambda function: function
