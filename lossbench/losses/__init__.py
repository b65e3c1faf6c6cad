"""The losses: pure torch functions, one module per family; no files, no printing, no devices.

A parameter's name says which input it is, its annotation in which form; keyword-only parameters
are the options; the return annotation says what is left to do with the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

Expression = str  # what a combination returns: other losses, as they would be typed
Function = TypeVar("Function", bound=Callable[..., Any])


def loss(
    *,
    family: str = "own",
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

    Shipped losses say their family, tasks and sources. A user's own that does not is for all tasks
    of pixels.

    Args:
        family: the group that it is listed under.
        use: what people take it for, in a few words.
        tasks: what it can be computed on: binary, multiclass, multilabel, image,
            instances, detection, vectors, scores, records.
        sources: where the definition comes from.
        range: smallest and largest value, None where there is no bound; a user's own
            loss that does not say has none.
        better: whether a lower or a higher value is better.
        aliases: other names that can be typed.
        example: an expression that shows its options, such as "dice(smooth=1)".
        couples: whether the classes of a pixel are judged together, so that label maps keep their
            pixels in place of tables of one class against the rest.
        background: whether class 0 of a multiclass task counts unless an option says otherwise.
        revision: rises when a fix changes the numbers.
    """
    return lambda function: function
