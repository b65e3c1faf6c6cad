"""Calling a loss: provide the inputs that its signature requests, and reduce its result."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from lossbench.catalog.registry import OF_BATCH, Entry
from lossbench.interface.annotations import Array
from lossbench.interface.reduction import AFTER, FINISHERS, PIXEL_KINDS, Finished, Sums
from lossbench.interface.row_list import RowList, SampleRows
from lossbench.interface.sample_batch import Input, SampleBatch
from lossbench.interface.stable_math import is_numpy, library
from lossbench.interface.weight_maps import weighted

Options = Mapping[str, Any]
Support = Callable[[], Array]  # pixels of the target in each class, (B, C)
# Forms that depend on the weights.
OF_WEIGHTS = ("weight", "positive", "valid")


def loss_function(entry: Entry) -> Callable[..., Any]:
    """The function of a loss, for `raw` and `finish`; plain functions of arrays are adapted."""
    if not entry.plain:
        return entry.function
    from lossbench.interface.plain_functions import adapted

    own = (option.name for option in entry.options.values() if option.owner == entry.name)
    return adapted(entry.function, entry.name, tuple(entry.inputs.items()), tuple(own))


class CallSignature(NamedTuple):
    """The inputs and options of a function, and the kind of its result."""

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
def effective_options(function: Callable[..., Any]) -> frozenset[str]:
    """All options that affect a function's result: its own, and the options of its views."""
    signature = call_signature(function)
    views = (form for form in signature.inputs.values() if is_view(form))
    return signature.options.union(*(effective_options(view.of) for view in views))


def _bare(hint: Any) -> Any:
    """A form without the `| None` of an optional input."""
    forms = [form for form in get_args(hint) if form is not NoneType]
    return forms[0] if get_origin(hint) in (Union, UnionType) and len(forms) == 1 else hint


def is_view(form: Any) -> bool:
    """Whether a form is a view: a class with a constructor `of(...)`."""
    return hasattr(form, "of")


def adds_up(form: Any) -> bool:
    """Whether a form is an additive view, whose fields can be summed over samples.

    An additive view of ours that can be computed from tables is linear in their counts.
    """
    return is_view(form) and hasattr(form, "_fields") and getattr(form, "adds_up", True)


def sums_parts(function: Callable[..., Any]) -> bool:
    """Whether a sample's value follows from sums over parts of its pixels.

    A per-pixel loss that uses views of the whole sample does not.
    """
    signature = call_signature(function)
    if signature.returns in PIXEL_KINDS:
        return not any(map(is_view, signature.inputs.values()))
    return all(map(adds_up, signature.inputs.values()))


def joins(function: Callable[..., Any]) -> bool:
    """Whether all inputs of a loss are views whose rows are concatenated over samples."""
    return all(hasattr(form, "joined") for form in call_signature(function).inputs.values())


def lists(
    function: Callable[..., Any], values: SampleBatch, options: Options
) -> dict[str, RowList | SampleRows]:
    """Rows of a sample for concatenation, by parameter."""
    views = _arguments(function, _with_weight_map(function, values, options), options)
    return {name: view.listed() for name, view in views.items()}


def state(
    function: Callable[..., Any], values: SampleBatch, options: Options, whole: bool = False
) -> dict[str, Any] | None:
    """Additive state of this loss: its views, or its sums; None if the loss has no such state.

    With `whole`, the values are of all samples already, so that any view will do.
    """
    signature, values = call_signature(function), _with_weight_map(function, values, options)
    if signature.returns in PIXEL_KINDS:
        return {"": _sums(function, values, options)}
    if all((is_view if whole else adds_up)(form) for form in signature.inputs.values()):
        return _arguments(function, values, options)
    return None


def conclude(
    function: Callable[..., Any],
    state: Mapping[str, Any],
    support: Support,
    options: Options,
    task: str,
) -> Finished:
    """Values from the state of one sample, or the added states of many."""
    return finish(function, of_state(function, state, options), support, options, task)


def of_state(function: Callable[..., Any], state: Mapping[str, Any], options: Options) -> Any:
    """The result of `raw`, computed from the state of one or more samples."""
    if call_signature(function).returns in PIXEL_KINDS:
        return state[""]
    return function(**state, **_own(function, options))


def evaluate(function: Callable[..., Any], values: SampleBatch, options: Options) -> Finished:
    """One value per sample (B,) and, where there are classes, one per class (B, C)."""
    result = raw(function, values, options)
    return finish(function, result, lambda: values.support, options, values.task)


def raw(function: Callable[..., Any], values: SampleBatch, options: Options) -> Any:
    """A loss's result for each sample, summed over pixels but not yet reduced over classes."""
    values = _with_weight_map(function, values, options)
    if call_signature(function).returns in PIXEL_KINDS:
        return _sums(function, values, options)
    return _call(function, values, options)


def _sums(function: Callable[..., Any], values: SampleBatch, options: Options) -> Sums:
    """A per-pixel loss, summed over the elements."""

    def make(values: SampleBatch) -> Sums:
        return Sums.over(_call(function, values, options), values)

    if values.cell_cache is None or not _elementwise(function):
        return make(values)
    sums: Sums = values.cell_cache.view(values, (function, repr(_own(function, options))), make)
    return sums


@cache
def _elementwise(function: Callable[..., Any]) -> bool:
    """Whether a loss's value in each element is independent of the weights."""
    signature = call_signature(function)
    return signature.returns in PIXEL_KINDS and not any(
        is_view(form) or form is SampleBatch or _attribute(form) in OF_WEIGHTS
        for form in signature.inputs.values()
    )


def raw_of_each(
    function: Callable[..., Any], values: SampleBatch, options: Options, name: str, rows: Array
) -> list[Any]:
    """The result of `raw` with each of P rows (P, K) as the value of an option."""
    if call_signature(function).returns in PIXEL_KINDS:
        return [raw(function, values, {**options, name: row}) for row in rows.tolist()]
    values = _with_weight_map(function, values, options)
    arguments, own = _arguments(function, values, options).values(), _own(function, options)

    def with_row(row: Array) -> Any:
        return function(*arguments, **{**own, name: row})

    if is_numpy(rows):
        return [with_row(row) for row in rows]
    return list(library(rows).vmap(with_row)(rows))


def finish(
    function: Callable[..., Any], result: Any, support: Support, options: Options, task: str
) -> Finished:
    """Reduce a loss's result with the common options."""
    kind, own = finishing(function, options, task)
    after = [AFTER[kind]] if kind in AFTER else []
    return FINISHERS[kind](result, support, *after, **own)


def finishing(
    function: Callable[..., Any], options: Options, task: str
) -> tuple[Any, dict[str, Any]]:
    """The kind of a loss's result, and the common options of that kind.

    `background` applies to multiclass tasks only.
    """
    kind = call_signature(function).returns
    own = _own(FINISHERS[kind], options)
    if task != "multiclass":
        own.pop("background", None)
    return kind, own


def _own(function: Callable[..., Any], options: Options) -> dict[str, Any]:
    return {name: options[name] for name in call_signature(function).options if name in options}


def _with_weight_map(
    function: Callable[..., Any], values: SampleBatch, options: Options
) -> SampleBatch:
    """Samples with the weight map applied, unless it is the loss's own option."""
    own = call_signature(function).options
    return weighted(
        values, **{name: x for name, x in _own(weighted, options).items() if name not in own}
    )


def _call(function: Callable[..., Any], values: SampleBatch, options: Options) -> Any:
    arguments = _arguments(function, values, options)
    return function(*arguments.values(), **_own(function, options))


def _arguments(
    function: Callable[..., Any], values: SampleBatch, options: Options
) -> dict[str, Any]:
    """The inputs that a function requests, by parameter."""
    inputs = call_signature(function).inputs
    return {name: _argument(values, name, form, options) for name, form in inputs.items()}


def _argument(values: SampleBatch, parameter: str, form: Any, options: Options) -> Any:
    """An input in the requested form: a view, the batch, an input, or an attribute of either."""
    if is_view(form):
        names = sorted(effective_options(form.of))
        key = tuple((name, options[name]) for name in names if name in options)
        if values.cell_cache is not None and adds_up(form):
            return values.cell_cache.view(
                values, (form, key), lambda values: _call(form.of, values, options)
            )
        return values.cached((form, key), lambda: _call(form.of, values, options))
    if form is SampleBatch:
        return values
    attribute = _attribute(form)
    if attribute in OF_BATCH:
        return getattr(values, attribute)
    source = values.input(parameter)
    return source if form is Input or source is None else getattr(source, attribute)


def _attribute(form: Any) -> str:
    """The attribute with a form, of an input or of the batch; "" for the input itself."""
    return "" if form is Input else str(form.__metadata__[0])
