"""Result files compared: what they share is read, and refused where it was read in two ways."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

from lossbench.errors import InputError, SettingError
from lossbench.results import change_gates
from lossbench.results.change import Groups
from lossbench.results.comparison import RESULTS, Comparison
from lossbench.results.identity import TRUTH, differences, identity, options_for, unknown
from lossbench.results.reader import (
    Measured,
    Model,
    Quantity,
    lookup,
    read_groups,
    read_result,
    read_samples,
)
from lossbench.results.recorded_columns import recorded_range
from lossbench.runtime.string_list import StringList

Margins = Mapping[str, float]  # by loss; under EVERY for all losses
EVERY = ""
FEWEST = 6  # units; with 5, the smallest p-value of the permutation test is 2/32


def compare(
    files: Sequence[str],
    losses: Sequence[str] = (),
    *,
    per_class: bool = False,
    margins: Margins | None = None,
    gates: Sequence[str | Mapping[str, Any]] = (),
) -> Comparison:
    """Read the losses and samples that result files share; see `lossbench.compare`."""
    import numpy as np

    if len(files) < 2:
        raise SettingError("give two results or more: the first, and those to compare with it")
    parsed = list(map(change_gates.parse, gates))
    models = [read_result(file) for file in files]
    _check_readings(files, models)
    shared, unshared = _shared_losses(files, models)
    known = _known(models, shared, unshared, losses)
    checks = [change_gates.check(gate, shared, known) for gate in parsed]
    measured = _measured(known, losses, per_class, [each.measured for each in checks])
    limits = _margins(margins or {}, shared, known, measured)
    notes = [] if losses else list(unshared.values())
    notes += _reading_notes(files, models)
    samples = [
        read_samples(file, [each.quantity for each in measured], model)
        for file, model in zip(files, models, strict=True)
    ]
    names, columns = zip(*samples, strict=True)
    notes += _truth_notes(files, models, list(map(len, names)))
    groups = [read_groups(file, model) for file, model in zip(files, models, strict=True)]
    ids, indices = names[0], None
    stated = zip(models, map(len, names), strict=True)
    if len({(model["run"]["pairs"]["digest"], length) for model, length in stated}) > 1:
        ids, indices = _shared_samples(names)
        notes += [
            f"{len(own) - len(ids):,} of {len(own):,} samples of {file} are not in all results"
            for file, own in zip(files, names, strict=True)
            if len(own) > len(ids)
        ]
        selections = zip(columns, indices, strict=True)
        columns = tuple([column[at] for column in of_file] for of_file, at in selections)
        groups = [
            of_file and [of_file[index] for index in at]
            for of_file, at in zip(groups, indices, strict=True)
        ]
    if not len(ids):
        reason = "; ".join([f"{' and '.join(files)} have no sample in common", *notes])
        raise InputError(reason, kind="mismatch")
    shared_groups, remark = _shared_groups(files, groups)
    rows = zip(measured, *columns, strict=True)
    values = {each.name: np.stack(of_files) for each, *of_files in rows}
    notes += [remark] if remark else []
    if (units := len(shared_groups.names if shared_groups else ids)) < FEWEST:
        kind = "groups" if shared_groups else "images"
        notes.append(
            f"{units} {kind} are too few for the verdicts better and worse, which need {FEWEST}"
        )
    return Comparison(files, models, measured, ids, values, notes, shared_groups, limits, checks)


def _check_readings(files: Sequence[str], models: Sequence[Model]) -> None:
    """Refuse a result whose ground truth was read in another way than that of the first.

    Raises:
        SettingError: there is one.
    """
    first, *others = map(identity, models)
    for file, own in zip(files[1:], others, strict=True):
        if parts := differences(first, own):
            listed = "; ".join(
                f"{TRUTH[each.field].title}: {each.one} in {files[0]}, {each.other} in {file}"
                for each in parts
            )
            options = options_for(first, [each.field for each in parts])
            like = f" in the same way ({options})" if options else " with the settings of the first"
            raise SettingError(
                f"{file} and {files[0]} were read in two ways, so their values cannot be compared:"
                f" {listed}; evaluate {file} again{like}"
            )


def _shared_groups(
    files: Sequence[str], groups: Sequence[Sequence[str] | None]
) -> tuple[Groups | None, str]:
    """The groups of the samples if all results have the same ones, and a note if they do not."""
    import numpy as np

    first, *others = groups
    if first is None or any(each != first for each in others):
        if not any(groups):
            return None, ""
        lacking = [file for file, each in zip(files, groups, strict=True) if each is None]
        reason = (
            f"{' and '.join(lacking)} has none" if lacking else "the results have different ones"
        )
        return None, f"images are compared, not groups: {reason}"
    names, codes = np.unique(np.array(first, object), return_inverse=True)
    return Groups(names.tolist(), codes), ""


def _margins(
    margins: Margins,
    shared: Mapping[str, Model],
    known: Mapping[str, Measured],
    measured: Sequence[Measured],
) -> dict[str, float]:
    """The margin of each quantity: its own, that of its loss, or that of all losses.

    Raises:
        SettingError: a margin is not positive, names no loss, or is meant for losses in several
            units.
    """
    for name, margin in margins.items():
        if not 0 < margin < math.inf:
            of = f" of {name}" if name else ""
            raise SettingError(f"the margin{of} is {margin:g}; write a number above 0")
        if name:
            lookup(name, known, RESULTS)
    columns = dict.fromkeys(each.quantity.column for each in measured)
    unnamed = [name for name in columns if name not in margins]
    if EVERY in margins and len(columns) > 1:
        for name in unnamed:
            if recorded_range(shared[name]) != (0, 1):
                raise SettingError(
                    f"the margin {margins[EVERY]:g} would be in the units of {', '.join(columns)},"
                    f" and {name} does not range from 0 to 1; write --margin {name}=X for each loss"
                )
    limits = {}
    for each in measured:
        keys = (each.name, each.quantity.column, EVERY)
        limit = next((margins[key] for key in keys if key in margins), None)
        if limit is not None:
            limits[each.name] = limit
    return limits


def _shared_losses(
    files: Sequence[str], models: Sequence[Model]
) -> tuple[dict[str, Model], dict[str, str]]:
    """The losses with the same meaning in all results, and why the others are left out."""
    tables = [{loss["name"]: loss for loss in model["run"]["losses"]} for model in models]
    shared, unshared = dict[str, Model](), dict[str, str]()
    for name, loss in reduce(or_, reversed(tables)).items():
        for file, table in zip(files, tables, strict=True):
            if name not in table:
                unshared[name] = f"{name} is left out: it is not in {file}"
            elif part := _differing_part(loss, table[name]):
                unshared[name] = (
                    f"{name} is left out: its {part} differs between {files[0]} and {file}"
                )
        if name not in unshared:
            shared[name] = loss
    return shared, unshared


def _reading_notes(files: Sequence[str], models: Sequence[Model]) -> Iterator[str]:
    """What could not be compared, and predictions that were read in another way."""
    stated = list(map(identity, models))
    for file, own in zip(files, stated, strict=True):
        if missing := unknown(own):
            yield f"{file} does not state {missing}: that was not compared"
    for file, own in zip(files[1:], stated[1:], strict=True):
        if stated[0].get("pred", own.get("pred")) != own.get("pred", stated[0].get("pred")):
            yield (
                f"predictions of {file} were read as {own['pred']}, those of {files[0]} as"
                f" {stated[0]['pred']}"
            )


def _truth_notes(
    files: Sequence[str], models: Sequence[Model], samples: Sequence[int]
) -> Iterator[str]:
    """Notes for each result whose ground truth is not known to be that of the first.

    Raises:
        SettingError: it is known to be another one.
    """
    first, *others = (model["run"] for model in models)
    for file, run, count in zip(files[1:], others, samples[1:], strict=True):
        one, other = first["pairs"], run["pairs"]
        reason = ""
        if (one["digest"], samples[0]) != (other["digest"], count):
            reason = "they have different pairs"
        elif not (one.get("truth") and other.get("truth")):
            reason = f"{file if one.get('truth') else files[0]} does not state its sum"
        elif not one["evaluated"] == other["evaluated"] == count:
            reason = "missing predictions count as worst"
        elif one["truth"] == other["truth"]:
            continue
        where = ""
        if run["target"] != first["target"]:
            where = (
                f"the ground truth of {file} is {run['target']}, of {files[0]} {first['target']}"
            )
        both = f"{file} and {files[0]}"
        if not reason:
            raise SettingError(
                f"{both} have the same pairs with another ground truth, so their values cannot be"
                f" compared; {where + '; ' if where else ''}evaluate both with the same one"
            )
        yield from filter(None, [where])
        yield f"whether {both} have the same ground truth could not be checked: {reason}"


def _differing_part(one: Model, other: Model) -> str:
    """The part in which two losses of the same name differ; empty if they are the same."""
    if one["terms"] != other["terms"]:
        return "definition"
    if len(one["terms"]) > 1 and one["expression"] != other["expression"]:
        return "expression"
    parts = {"revision": "revision", "plugins": "plugin code"}
    return next((part for key, part in parts.items() if one.get(key) != other.get(key)), "")


def _known(
    models: Sequence[Model],
    shared: Mapping[str, Model],
    unshared: Mapping[str, str],
    losses: Sequence[str],
) -> dict[str, Measured]:
    """The quantities that can be compared: all shared losses and their classes, by name."""
    known: dict[str, Measured] = {}
    for name, loss in shared.items():
        tables = [model["aggregate"][name].get("classes", {}) for model in models]
        classes = (each for each in tables[0] if all(each in table for table in tables))
        for of_class in (None, *classes):
            quantity = Quantity(name, of_class)
            known[str(quantity)] = Measured(quantity, loss["better"])
    for name in losses:
        if name not in known and name in unshared:
            raise SettingError(unshared[name].replace("is left out", "cannot be compared"))
    if not known:
        reason = "; ".join(["the results have no loss in common", *unshared.values()])
        raise InputError(reason, kind="mismatch")
    return known


def _measured(
    known: Mapping[str, Measured],
    losses: Sequence[str],
    per_class: bool,
    of_gates: Sequence[Measured],
) -> list[Measured]:
    """The quantities to compare: the requested losses or all, those of gates, and classes."""
    requested = losses or [name for name, each in known.items() if not each.quantity.of_class]
    measured = [*(lookup(name, known, RESULTS) for name in requested), *of_gates]
    if per_class:
        columns = {each.quantity.column for each in measured}
        in_columns = [each for each in known.values() if each.quantity.column in columns]
        measured += [each for each in in_columns if each.quantity.of_class]
    return list(dict.fromkeys(measured))


def _shared_samples(names: Sequence[StringList]) -> tuple[StringList, list[array[int]]]:
    """The samples that all results have, in the first's order, and their indices in each."""
    ids, indices = StringList(), [array("q") for _ in names]
    others = [{name: index for index, name in enumerate(each)} for each in names[1:]]
    for index, name in enumerate(names[0]):
        if all(name in other for other in others):
            ids.append(name)
            for each, position in zip(indices, (index, *(o[name] for o in others)), strict=True):
                each.append(position)
    return ids, indices
