"""Call a loss: look up what its signature asks for, and finish what it returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from lossbench.catalog.registry import Entry
from lossbench.interface.plain_functions import adapted
from lossbench.interface.reduction import AFTER, FINISHERS, PIXEL_KINDS, Finished, Sums
from lossbench.interface.row_list import RowList
from lossbench.interface.sample_batch import Input, SampleBatch
from lossbench.interface.weight_maps import weighted

Options = Mapping[str, Any]
Support = Callable[[], Tensor]  # pixels of the target in each class, (B, C)
OF_BOTH_SIDES = ("difference", "weight", "positive", "mass", "valid", "spacing", "gallery")
OF_WEIGHTS = ("weight", "positive", "valid")


def loss_function(entry: Entry) -> Callable[..., Any]:
    """The function of a loss, for `raw` and `finish`; a plain function of arrays is adapted."""
    if not entry.plain:
        return entry.function
    own = (option.name for option in entry.options.values() if option.owner == entry.name)
    return adapted(entry.function, entry.name, tuple(entry.inputs.items()), tuple(own))


class CallSignature(NamedTuple):
    """What a function's signature asks for."""

    inputs: dict[str, Any]  # parameter -> form
    options: frozenset[str]
    returns: Any


@cache
def call_signature(function: Callable[..., Any]) -> CallSignature:
    """The signature of a loss, of a view's `of`, or of a finisher."""
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return CallSignature(
        {p.name: _bare(hints[p.name]) for p in parameters if p.kind is not p.KEYWORD_ONLY},
        frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY),
        hints["return"],
    )


@cache
def steering(function: Callable[..., Any]) -> frozenset[str]:
    """Every option that changes what comes out: a function's own, and those of its views."""
    wanted = call_signature(function)
    views = (form for form in wanted.inputs.values() if is_view(form))
    return wanted.options.union(*(steering(view.of) for view in views))


def _bare(hint: Any) -> Any:
    """A form without the `| None` of an input that a loss can do without."""
    forms = [each for each in get_args(hint) if each is not NoneType]
    return forms[0] if get_origin(hint) in (Union, UnionType) and len(forms) == 1 else hint


def is_view(form: Any) -> bool:
    """Whether a form is a view: a small type made with `of(...)`."""
    return hasattr(form, "of")


def adds_up(form: Any) -> bool:
    """Whether a form is a view whose fields of several samples can be added.

    Where tables are enough for such a view of ours, it is linear in their counts.
    """
    return is_view(form) and hasattr(form, "_fields") and getattr(form, "adds_up", True)


def sums_parts(function: Callable[..., Any]) -> bool:
    """Whether a sample's value follows from sums over its pixels, wherever they are.

    A loss of each pixel may see views of the whole sample; it is not such a loss then.
    """
    wanted = call_signature(function)
    if wanted.returns in PIXEL_KINDS:
        return not any(map(is_view, wanted.inputs.values()))
    return all(map(adds_up, wanted.inputs.values()))


def joins(function: Callable[..., Any]) -> bool:
    """Whether all that a loss asks for are views that are joined over samples."""
    return all(hasattr(form, "joined") for form in call_signature(function).inputs.values())


def lists(
    function: Callable[..., Any], values: SampleBatch, options: Options
) -> dict[str, RowList]:
    """What is joined of a sample, by parameter."""
    found = _given_all(function, _weighed(function, values, options), options)
    return {name: view.listed() for name, view in found.items()}


def state(
    function: Callable[..., Any], values: SampleBatch, options: Options, whole: bool = False
) -> dict[str, Any] | None:
    """What of a sample adds up for this loss: its views, or its sums; None where nothing does.

    With `whole` the values are of all samples already, and any view will do.
    """
    wanted, values = call_signature(function), _weighed(function, values, options)
    if wanted.returns in PIXEL_KINDS:
        return {"": _sums(function, values, options)}
    if all((is_view if whole else adds_up)(form) for form in wanted.inputs.values()):
        return _given_all(function, values, options)
    return None


def conclude(
    function: Callable[..., Any],
    added: Mapping[str, Any],
    support: Support,
    options: Options,
    task: str,
) -> Finished:
    """Values from what adds up, of one sample or of many samples added."""
    return finish(function, of_state(function, added, options), support, options, task)


def of_state(function: Callable[..., Any], added: Mapping[str, Any], options: Options) -> Any:
    """What `raw` is of the sample, or of the samples, whose state this is."""
    if call_signature(function).returns in PIXEL_KINDS:
        return added[""]
    return function(**added, **_own(function, options))


def evaluate(function: Callable[..., Any], values: SampleBatch, options: Options) -> Finished:
    """One value per sample (B,) and, where there are classes, one per class (B, C)."""
    result = raw(function, values, options)
    return finish(function, result, lambda: values.support, options, values.task)


def raw(function: Callable[..., Any], values: SampleBatch, options: Options) -> Any:
    """What the loss returns for each sample, summed over pixels but not yet over classes."""
    values = _weighed(function, values, options)
    if call_signature(function).returns in PIXEL_KINDS:
        return _sums(function, values, options)
    return _call(function, values, options)


def _sums(function: Callable[..., Any], values: SampleBatch, options: Options) -> Sums:
    """A loss of each pixel, summed."""

    def make(values: SampleBatch) -> Sums:
        return Sums.over(_call(function, values, options), values)

    if values.shares is None or not _of_elements(function):
        return make(values)
    sums: Sums = values.shares.view(values, (function, repr(_own(function, options))), make)
    return sums


@cache
def _of_elements(function: Callable[..., Any]) -> bool:
    """Whether a loss is in each element what it is there, whatever the elements weigh."""
    wanted = call_signature(function)
    return wanted.returns in PIXEL_KINDS and not any(
        is_view(form) or form is SampleBatch or _attribute(form) in OF_WEIGHTS
        for form in wanted.inputs.values()
    )


def raw_of_each(
    function: Callable[..., Any], values: SampleBatch, options: Options, name: str, several: Tensor
) -> list[Any]:
    """What `raw` is with each of several rows of numbers (P, K) for an option of the function."""
    if call_signature(function).returns in PIXEL_KINDS:
        return [raw(function, values, {**options, name: row}) for row in several.tolist()]
    values = _weighed(function, values, options)
    given, own = _given_all(function, values, options).values(), _own(function, options)

    def with_each(row: Tensor) -> Any:
        return function(*given, **{**own, name: row})

    if values.shares is not None:  # few numbers for few cells: vmap needs a fifth of a second once
        return [with_each(row) for row in several]
    return list(torch.vmap(with_each)(several))


def finish(
    function: Callable[..., Any], result: Any, support: Support, options: Options, task: str
) -> Finished:
    """The common options applied."""
    kind, own = finishing(function, options, task)
    after = [AFTER[kind]] if kind in AFTER else []
    return FINISHERS[kind](result, support, *after, **own)


def finishing(
    function: Callable[..., Any], options: Options, task: str
) -> tuple[Any, dict[str, Any]]:
    """How a result is finished: what kind it is, and the common options.

    Only a multiclass task has a background among its classes.
    """
    kind = call_signature(function).returns
    own = _own(FINISHERS[kind], options)
    if task != "multiclass":
        own.pop("background", None)
    return kind, own


def _own(function: Callable[..., Any], options: Options) -> dict[str, Any]:
    return {name: options[name] for name in call_signature(function).options if name in options}


def _weighed(function: Callable[..., Any], values: SampleBatch, options: Options) -> SampleBatch:
    """With its weight map, where that is no option of the loss's own."""
    own = call_signature(function).options
    return weighted(
        values, **{name: x for name, x in _own(weighted, options).items() if name not in own}
    )


def _call(function: Callable[..., Any], values: SampleBatch, options: Options) -> Any:
    found = _given_all(function, values, options)
    return function(*found.values(), **_own(function, options))


def _given_all(
    function: Callable[..., Any], values: SampleBatch, options: Options
) -> dict[str, Any]:
    """What a loss asks for, by parameter."""
    inputs = call_signature(function).inputs
    return {name: _given(values, name, form, options) for name, form in inputs.items()}


def _given(values: SampleBatch, role: str, form: Any, options: Options) -> Any:
    """An input in the form asked for: a view, the values or a side whole, or an attribute."""
    if is_view(form):
        key = tuple((name, options[name]) for name in sorted(steering(form.of)) if name in options)
        if values.shares is not None and adds_up(form):
            return values.shares.view(
                values, (form, key), lambda values: _call(form.of, values, options)
            )
        return values.remembered((form, key), lambda: _call(form.of, values, options))
    if form is SampleBatch:
        return values
    name = _attribute(form)
    if name in OF_BOTH_SIDES:
        return getattr(values, name)
    side = values.side(role)
    return side if form is Input or side is None else getattr(side, name)


def _attribute(form: Any) -> str:
    """What of a side, or of both, a form is; "" for a side whole."""
    return "" if form is Input else str(form.__metadata__[0])
