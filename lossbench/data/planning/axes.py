"""Axes of arrays: those of an image, and the one that holds classes or channels.

Pictures and volumes say which axes are spatial; arrays do not. An array is read by the axis that
fits the size of the other side, and where both sides have one, by the shorter of both ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from lossbench.data.planning.evidence import (
    IGNORED_LABEL,
    SMALL,
    Evidence,
    FileFacts,
    without_batch,
)
from lossbench.errors import SettingError, either

LONGEST_STACK = 32  # a longer axis is spatial, not one of classes or channels
CLEARLY_SHORTER = 4  # a last axis so many times shorter than the first may hold classes as well
COLOURS = 4  # a last axis no longer than this holds the channels of a picture
ENDS = ("first", "last")
CHANNELS = ("--channels first", "--channels last")
OR_VOLUME = (*CHANNELS, "--task binary if all axes are spatial")
Shape = tuple[int, ...]
Axes = tuple[str, str]  # of predictions and truth: first, last, or "" where all axes are spatial


def arrange(pred: Evidence, target: Evidence, tasks: Collection[str], channels: str | None) -> None:
    """Decide the axis of classes or channels of both sides, and arrange their shapes by it.

    Args:
        pred: what predictions show.
        target: what the ground truth shows.
        tasks: the tasks that the run can have; the channels of pictures follow a rule.
        channels: the axis that the user names.

    Raises:
        SettingError: two axes fit.
    """
    if pred.colour and target.colour:
        pred.places = target.places = pred.places or target.places
        return
    sides = (pred, target)
    ends: Sequence[str] = ENDS if channels is None else (channels,)
    if set(tasks) == {"binary"}:
        ends = ()  # every axis of an array is spatial
    ones, truths = (_facts(side, tasks) for side in sides)
    others = {each.shape: each for each in truths}.values()
    votes, places = Counter[Axes](), dict[Axes, int]()
    for one in ones:
        fitting = {axes: size for other in others for axes, size in _fitting(one, other, ends)}
        votes.update(fitting.keys())
        places |= {axes: len(size) for axes, size in fitting.items()}
    most = max(votes.values(), default=0)
    fits = {axes for axes in votes if votes[axes] == most}
    chosen = _chosen(sides, (ones[0].shape, truths[0].shape), fits, ends, tasks)
    unfit = len(_spatial(truths[0].shape, chosen[1]))
    for side, axis in zip(sides, chosen, strict=True):
        if side.files:
            _arrange(side, axis, places.get(chosen, unfit))


def _facts(side: Evidence, tasks: Collection[str]) -> Sequence[FileFacts]:
    """What the files of one side show; of colour pictures, which are alike, the last one.

    A leading axis of length 1 is that of a batch, unless it is the channel of a grey volume.
    """
    if not side.files:
        return [FileFacts("", side.shape, side.places, frozenset(), 0.0)]
    if side.places is not None:
        return side.files
    singles = [(each, without_batch(each.shape)) for each in side.files]
    if set(tasks) == {"image"}:
        singles = [pair for pair in singles if min(pair[1][0], pair[1][-1]) <= COLOURS]
    return [each._replace(shape=shape) for each, shape in singles] or side.files


def _chosen(
    sides: tuple[Evidence, Evidence],
    shapes: tuple[Shape, Shape],
    fitting: set[Axes],
    ends: Sequence[str],
    tasks: Collection[str],
) -> Axes:
    """The only axes that fit, or those that a rule prefers."""
    pred, target = shapes
    if set(tasks) == {"multilabel"} and len(pred) == len(target) == 2 and ends:
        return ("first", "first") if not any(side.places for side in sides) else ("", "")
    if ("", "") in fitting and len(target) < 3:
        return "", ""
    if len(fitting) == 1:
        return fitting.pop()
    if ("", "") in fitting or not fitting:
        longer, shorter = max((pred, target), key=len), min((pred, target), key=len)
        axis = _end_of_stack(longer, sides, tasks) if ends else ""
        if len(longer) == len(shorter):
            return axis, axis
        axis = axis or "".join(ends[:1])
        return (axis, "") if longer is pred else ("", axis)
    if set(tasks) == {"image"}:
        return max(fitting)  # channels are last
    exclusive = {axes for axes in fitting if _are_exclusive(sides, axes)}
    if len(exclusive) == 1:
        return exclusive.pop()
    raise _question(sides[0] if any(axis for axis, _ in fitting) else sides[1], CHANNELS)


def _question(side: Evidence, settings: Sequence[str]) -> SettingError:
    """The error for an array of which two axes fit, with the settings that decide."""
    return SettingError(
        f"which axis holds classes or channels? {side.name or 'An array'} has the shape"
        f" {'×'.join(map(str, side.files[0].shape))}; give {either(settings)}"
    )


def _are_exclusive(sides: tuple[Evidence, Evidence], axes: Axes) -> bool:
    """Whether each pixel has one class: its numbers sum to 1, or are logits."""
    (pred, target), (axis, true_axis) = sides, axes
    shares = not axis or pred.sum_to_one_along(axis) or pred.may_be_logits
    return shares and (not true_axis or target.sum_to_one_along(true_axis))


def _end_of_stack(shape: Shape, sides: tuple[Evidence, Evidence], tasks: Collection[str]) -> str:
    """The end of a shape that holds classes or channels; "" where all axes are spatial.

    Raises:
        SettingError: an end is short, but may be spatial.
    """
    if len(shape) < 3 or any(side.places == len(shape) for side in sides):
        return ""
    first, last = shape[0], shape[-1]
    if set(tasks) == {"image"}:
        return "last" if last <= COLOURS else "first"
    exclusive = [end for end in ENDS if _are_exclusive(sides, (end, end))]
    if len(exclusive) == 1 and "multiclass" in tasks:
        return exclusive[0]
    labels = sides[1].values - {IGNORED_LABEL} if sides[1].whole else set[int]()
    are_whole = all(side.whole for side in sides)
    if (are_whole and set(tasks) == {"multiclass"}) or (
        len(labels | {0}) > 2 and max(labels) < SMALL
    ):
        return ""  # a volume of labels
    if "image" in tasks and len(labels | {0}) != 2 and last <= COLOURS:
        return "last"
    if last == 1 and "binary" in tasks:
        return "last"
    if last <= LONGEST_STACK and last * CLEARLY_SHORTER <= min(shape[:-1]):
        raise _question(sides[0], OR_VOLUME)
    if first > LONGEST_STACK:
        return ""
    if len(labels | {0}) == 2 and {"binary", "multilabel"} <= set(tasks):
        raise _question(sides[0], OR_VOLUME)  # slices of a volume, or a mask for each class
    return "first"


def _fitting(pred: FileFacts, target: FileFacts, ends: Sequence[str]) -> list[tuple[Axes, Shape]]:
    """The axes by which both have one size; axes of length 1 are dropped where none fit."""
    for one, other in (
        (pred.shape, target.shape),
        (_squeezed(pred), target.shape),
        (pred.shape, _squeezed(target)),
        (_squeezed(pred), _squeezed(target)),
    ):
        fitting = [
            ((axis_of_one, axis_of_other), size)
            for axis_of_one, size in _views(one, pred.places, ends)
            for axis_of_other, other_size in _views(other, target.places, ends)
            if size == other_size
        ]
        if fitting:
            return fitting
    return []


def _views(shape: Shape, places: int | None, ends: Sequence[str]) -> Iterator[tuple[str, Shape]]:
    """The sizes that a shape can have, each with its axis of classes."""
    if places is not None:
        axis = "" if len(shape) == places else "first"
        yield axis, _spatial(shape, axis)
        return
    if len(shape) < 3 or len(ends) != 1:
        yield "", shape
    if len(shape) > 2:
        for axis in ends:  # an axis of length 1 holds no classes
            is_axis = shape[0 if axis == "first" else -1] > 1
            yield axis if is_axis else "", _spatial(shape, axis)


def _spatial(shape: Shape, axis: str) -> Shape:
    return {"": shape, "first": shape[1:], "last": shape[:-1]}[axis]


def _squeezed(facts: FileFacts) -> Shape:
    """A shape without axes of length 1, as far as an array has more than two axes."""
    if facts.places is not None:
        return facts.shape
    shape = list(facts.shape)
    while len(shape) > 2 and 1 in shape:
        shape.remove(1)
    return tuple(shape)


def _arrange(side: Evidence, axis: str, places: int) -> None:
    """Set the axis of one side; an axis with one class is none."""
    shape = side.files[0].shape
    while len(shape) > places + bool(axis) and 1 in shape:
        index = shape.index(1)
        shape = (*shape[:index], *shape[index + 1 :])
    if axis and shape[0 if axis == "first" else -1] == 1 and len(shape) > 2:
        shape, axis = _spatial(shape, axis), ""
    if axis == "last":
        shape = (shape[-1], *shape[:-1])
    side.shape, side.axis, side.places = shape, axis, len(shape) - bool(axis)
