"""Losses on chunks of samples: tables by NumPy, pixels by torch, which is imported for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from lossbench.catalog.columns import Term
from lossbench.data.counting.instance_overlap import InstanceOverlap
from lossbench.data.formats.boxes import DetectionBatch, Detections
from lossbench.data.loading.sample import Pixels
from lossbench.data.planning.plan import Plan
from lossbench.engine.backend import backend, is_plugin, needs_tensors, on_tables
from lossbench.engine.compute.class_weights import probe_numbers, probes
from lossbench.engine.compute.tables import counted_values, segment_values, unmatched_values
from lossbench.engine.state.loaded_batch import LoadedBatch
from lossbench.engine.state.scores import BatchScores
from lossbench.errors import InputError, LossbenchError
from lossbench.interface import dispatch
from lossbench.interface.annotations import Array
from lossbench.interface.dispatch import loss_function
from lossbench.interface.reduction import Sums
from lossbench.interface.row_list import SampleRows
from lossbench.interface.sample_batch import SampleBatch
from lossbench.interface.stable_math import broadcast, concatenate, numbers, to_numpy
from lossbench.runtime.array_types import FloatArray

if TYPE_CHECKING:
    from lossbench.engine.compute.feature_batches import Extraction
    from lossbench.engine.compute.streaming import Added


def import_losses(terms: Sequence[Term]) -> None:
    """Import every loss, so that an error in a plugin is reported before anything is evaluated."""
    for term in terms:
        dispatch.call_signature(loss_function(term.entry))


@contextmanager
def as_sample_error(term: Term) -> Iterator[None]:
    """Raise an InputError of the sample instead of what a user's own loss raises."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, InputError):
            error.loss = term.name
        if term.entry.plugin is None or isinstance(error, LossbenchError):
            raise
        raise _failure(term, term.entry.plugin.describe(error)) from error


def _failure(term: Term, message: str) -> InputError:
    failure = InputError(f"has no {term.name}: {message}", kind="loss")
    failure.loss = term.name
    return failure


@np.errstate(all="ignore")  # 0/0 is undefined, log 0 is clamped
def evaluate_parts(
    plan: Plan,
    terms: Sequence[Term],
    device: str,
    chunk: LoadedBatch,
    extraction: Extraction | None = None,
) -> list[tuple[LoadedBatch, BatchScores]]:
    """The parts of a chunk with their scores: samples of different sizes come separately.

    Features are computed for several samples together.
    """
    if plan.task == "detection":
        return [(chunk, evaluate_detections(plan, terms, device, chunk))]
    if not any(backend(plan, term) == "torch" for term in terms):
        parts = chunk.split() if plan.sparse or len(chunk.pixels) > 1 else [chunk]
        return [(part, evaluate_batch(plan, terms, device, part)) for part in parts]
    from lossbench.engine.compute.device import computing
    from lossbench.engine.compute.streaming import stackable_groups
    from lossbench.engine.compute.tensors import pixel_values

    with computing(device):
        if extraction is None or not chunk.pixels:
            parts = [chunk]
            if plan.sparse:
                parts = chunk.split()
            elif len(chunk.pixels) > 1:
                on_pixels = [term for term in terms if not on_tables(plan, term)]
                parts = chunk.split(stackable_groups(on_pixels, chunk.pixels, device))
            return [(part, evaluate_batch(plan, terms, device, part)) for part in parts]
        failed, *parts = chunk.split()
        values = [
            pixel_values(plan, [each], device) for each in chunk.pixels if isinstance(each, Pixels)
        ]
        with extraction.of(values) as samples:
            rows = [
                evaluate_batch(plan, terms, device, part, sample)
                for part, sample in zip(parts, samples, strict=True)
            ]
    return [(failed, BatchScores()), *zip(parts, rows, strict=True)]


def evaluate_batch(
    plan: Plan,
    terms: Sequence[Term],
    device: str,
    chunk: LoadedBatch,
    values: SampleBatch | None = None,
) -> BatchScores:
    """Every term on every sample of a chunk; `values` are those of a single sample, if known.

    Counted samples are evaluated together, samples of pixels come alone or are of one size: rows
    are never padded, and a value does not depend on its neighbours.
    """
    rows = BatchScores()
    if chunk.tables is not None:
        counted = [term for term in terms if on_tables(plan, term)]
        for term in filter(is_plugin, counted):
            own = own_tables(plan, term, chunk.tables, chunk.sizes)
            evaluate_terms(rows, own, plan, [term])
        shared = [term for term in counted if not is_plugin(term)]
        evaluate_terms(rows, counted_values(plan, chunk.tables, chunk.sizes), plan, shared)
    for term in terms:
        for sample in chunk.pixels:
            _check_sums(term, sample)
    others = [term for term in terms if not (on_tables(plan, term) or term.gathers)]
    if chunk.pixels:
        _evaluate_samples(rows, plan, others, device, chunk, values)
    return rows


def own_tables(plan: Plan, term: Term, tables: Any, sizes: Any) -> SampleBatch:
    """Tables as arrays of a user's own loss, which may change them in place."""
    values = counted_values(plan, tables, sizes, shared=False)
    if not needs_tensors(term):
        return deepcopy(values)
    from lossbench.engine.compute.tensors import as_tensors

    tensors: SampleBatch = as_tensors(values)
    return tensors


def _evaluate_samples(
    rows: BatchScores,
    plan: Plan,
    terms: Sequence[Term],
    device: str,
    chunk: LoadedBatch,
    values: SampleBatch | None,
) -> None:
    """Terms on samples that are not counted: one sample, or pixels of one size."""
    pixels = [each for each in chunk.pixels if isinstance(each, Pixels)]
    if pixels:
        from lossbench.engine.compute.streaming import add_parts, in_parts

        if adding := list(filter(in_parts, terms)):
            _evaluate_added(rows, add_parts(plan, adding, pixels, device), plan)
            terms = [term for term in terms if not in_parts(term)]
            if not terms:
                return
    (sample,) = chunk.pixels
    if isinstance(sample, InstanceOverlap):
        values = segment_values(plan, sample, int(chunk.sizes[0]))
        if own := list(filter(needs_tensors, terms)):
            from lossbench.engine.compute.tensors import as_tensors

            tensors = as_tensors(values)
            evaluate_terms(rows, tensors, plan, own)
            add_states(rows, tensors, own)
            terms = [term for term in terms if not needs_tensors(term)]
    elif values is None:
        from lossbench.engine.compute.tensors import sample_values

        values = sample_values(plan, sample, device)
    evaluate_terms(rows, values, plan, terms)
    add_states(rows, values, terms)


def evaluate_detections(
    plan: Plan, terms: Sequence[Term], device: str, chunk: LoadedBatch
) -> BatchScores:
    """Every term on every sample of a chunk of boxes.

    Scores that match detections themselves take all samples at once. Matched boxes come a sample at
    a time, so that a value does not depend on its neighbours.
    """
    if not chunk.pixels:
        return BatchScores()
    batch = DetectionBatch(cast(Sequence[Detections], chunk.pixels), len(plan.names))
    together = [term for term in terms if backend(plan, term) == "numpy"]
    rows = BatchScores()
    if together:
        values = unmatched_values(batch)
        evaluate_terms(rows, values, plan, together)
        add_states(rows, values, together)
    if others := [term for term in terms if term not in together]:
        from lossbench.engine.compute.detections import matched_values
        from lossbench.engine.compute.device import computing

        parts = list[BatchScores]()
        with computing(device):
            for values in matched_values(plan, batch, device):
                parts.append(part := BatchScores())
                evaluate_terms(part, values, plan, others)
                add_states(part, values, others)
        rows.extend(BatchScores.joined(parts))
    return rows


def _check_sums(term: Term, sample: Any) -> None:
    """Refuse probabilities of several classes that are no distribution where a loss needs one."""
    for role, far in sample.sums.items() if isinstance(sample, Pixels) else ():
        if role in term.distributions:
            error = InputError(
                f"holds probabilities of several classes that sum to {far:.4g} in a pixel;"
                f" {term.name} reads them as a distribution, which sums to 1: save a softmax, or"
                " give --pred-encoding logits for logits, or --task multilabel for classes that are"
                " independent",
                kind="mismatch",
                role=role,
            )
            error.loss = term.name
            raise error


def evaluate_terms(
    rows: BatchScores, values: SampleBatch, plan: Plan, terms: Sequence[Term]
) -> None:
    alike: dict[Any, list[tuple[Term, Any]]] = {}
    for term in terms:
        if term.together:
            continue
        with as_sample_error(term):
            if term.automatic:
                rows.unfinished[term] = [_numbers(each) for each in _probed(term, values)]
                continue
            result = dispatch.raw(loss_function(term.entry), values, term.options)
            alike.setdefault(_finishing(term, result, plan), []).append((term, result))
    for group in alike.values():
        _finish(rows, values, plan, *zip(*group, strict=True))
    if rows.unfinished:
        rows.support = to_numpy(values.support)
        rows.valid = to_numpy(broadcast(values.total_weight, values.support.shape))


def _finishing(term: Term, result: Any, plan: Plan) -> Any:
    """A key that terms share if their results can be finished together; none with a plugin's."""
    if is_plugin(term):
        return term
    kind, options = dispatch.finishing(loss_function(term.entry), term.options, plan.task)
    return kind, repr(options), (result.top if isinstance(result, Sums) else result).shape


def _finish(
    rows: BatchScores, values: SampleBatch, plan: Plan, terms: Sequence[Term], results: Any
) -> None:
    """Finish terms of one kind and options together, as if they were more samples of the first."""
    first, count, stacked = terms[0], len(terms), results[0]
    if count > 1 and isinstance(stacked, Sums):
        stacked = Sums(*(concatenate(fields, 0) for fields in zip(*results, strict=True)))
    elif count > 1:
        stacked = concatenate(results, 0)

    def support() -> Array:
        return concatenate([values.support] * count, 0)

    function = loss_function(first.entry)
    with as_sample_error(first):
        sample, classes = dispatch.finish(function, stacked, support, first.options, plan.task)
    if not plan.by_class:
        classes = None
    if is_plugin(first):
        _check_shapes(first, values, sample, classes)
    rows.values |= zip(terms, to_numpy(sample).reshape(count, -1), strict=True)
    if classes is not None:
        of_terms = to_numpy(classes).reshape(count, -1, classes.shape[-1])
        rows.classes |= zip(terms, of_terms, strict=True)


def _evaluate_added(rows: BatchScores, added: Added, plan: Plan) -> None:
    """Evaluate terms from the additive states of samples, and keep the states."""
    rows.states[""] = {"support": to_numpy(added.support)}
    for term, states in added.states.items():
        function = loss_function(term.entry)
        rows.states[term.key] = _fields(states)
        if term.automatic:
            probed = probes(term, plan.task, added.support.shape[1])
            rows.unfinished[term] = [
                _numbers(dispatch.of_state(function, *each))
                for each in zip(states, probed, strict=True)
            ]
            continue
        support, options = added.support.clone, term.options
        with as_sample_error(term):
            sample, classes = dispatch.conclude(function, states[0], support, options, plan.task)
        rows.values[term] = to_numpy(sample)
        if plan.by_class and classes is not None:
            rows.classes[term] = to_numpy(classes)
    if rows.unfinished:
        rows.support, rows.valid = to_numpy(added.support), to_numpy(added.valid)


def _probed(term: Term, values: SampleBatch) -> list[Any]:
    """The result of a term with unknown options for each of the probes."""
    function, options = loss_function(term.entry), term.options
    if not term.inside:
        return [dispatch.raw(function, values, options)]
    (name,) = term.inside
    rows = numbers(probe_numbers(term, values.task, values.support.shape[1]), values.support)
    return dispatch.raw_of_each(function, values, options, name, rows)


def _numbers(result: Any) -> tuple[FloatArray, ...]:
    """The result of a loss for each sample, as arrays."""
    return tuple(map(to_numpy, result if isinstance(result, Sums) else (result,)))


def _check_shapes(term: Term, values: SampleBatch, sample: Any, classes: Any) -> None:
    """Check that a user's own loss has one value a sample, and one a class where it has any."""
    for each, expected in ((sample, values.weight.shape[:1]), (classes, values.support.shape)):
        if each is not None and each.shape != expected:
            actual = f"came to shape {tuple(each.shape)}, expected {tuple(expected)}"
            raise _failure(term, f"{term.entry.returns} {actual}")


def add_states(rows: BatchScores, values: SampleBatch, terms: Sequence[Term]) -> None:
    """Add the additive states of one sample, those of probes along the second axis."""
    rows.states[""] = {"support": to_numpy(values.support)}
    for term in terms:
        function = loss_function(term.entry)
        if dispatch.joins(function):
            with as_sample_error(term):
                for name, listed in dispatch.lists(function, values, term.options).items():
                    rows.views[f"{term.key}/{name}"] = SampleRows.of(listed)
            continue
        options = probes(term, values.task, values.support.shape[1])
        with as_sample_error(term):
            states = [dispatch.state(function, values, each) for each in options]
            additive = [each for each in states if each is not None]
            if additive:
                rows.states[term.key] = _fields(additive)


def _fields(states: Sequence[Mapping[str, Any]]) -> dict[str, FloatArray]:
    """The fields of views by name, those of several probes along the second axis."""
    return {
        f"{name}.{quantity}": np.stack(
            [to_numpy(getattr(each[name], quantity)) for each in states], 1
        )
        for name, view in states[0].items()
        for quantity in view._fields
    }
