"""Comparisons of results: the differences over the samples that all of them have."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from lossbench.errors import InputError, SettingError
from lossbench.results.aggregates import aggregate, mean
from lossbench.results.identity import TRUTH, differences, identity, unknown
from lossbench.results.json_numbers import jsonable, number
from lossbench.results.reader import Measured, Model, Quantity, lookup, read_result, read_samples
from lossbench.runtime.string_list import StringList

if TYPE_CHECKING:
    from lossbench.runtime.array_types import FloatArray


SCHEMA = 1
BETTER, WORSE, UNCLEAR = "better", "worse", "unclear"
RESULTS = "all results"


@dataclass(frozen=True)
class Change:
    """The change of one quantity from the first result to another, sample by sample.

    Attributes:
        measured: the quantity.
        before: values in the first result, (n,).
        after: values in the other result, (n,).
    """

    measured: Measured
    before: FloatArray
    after: FloatArray

    @cached_property
    def difference(self) -> FloatArray:
        """After minus before, (n,); nan if either is undefined, 0 if both are equal."""
        import numpy as np

        with np.errstate(invalid="ignore", over="ignore"):
            return np.where(self.after == self.before, 0.0, self.after - self.before)

    @cached_property
    def harm(self) -> FloatArray:
        """How much worse each sample became; how much it changed if neither direction is better."""
        import numpy as np

        if self.measured.better is None:
            return np.abs(self.difference)
        return -self.difference if self.measured.better == "higher" else self.difference

    @cached_property
    def aggregates(self) -> dict[str, float]:
        """Every aggregate of the differences; the interval is that of paired samples."""
        return aggregate(self.difference)

    @property
    def means(self) -> tuple[float, float]:
        """Means before and after, over the samples that are defined in both."""
        import numpy as np

        both = ~np.isnan(self.difference)
        return mean(self.before[both].tolist()), mean(self.after[both].tolist())

    @property
    def counts(self) -> dict[str, int]:
        """How many samples improved, worsened and stayed equal."""
        import numpy as np

        signs = {"improved": self.harm < 0, "worsened": self.harm > 0, "equal": self.harm == 0}
        if self.measured.better is None:
            signs = {"changed": self.harm > 0, "equal": self.harm == 0}
        return {name: int(np.count_nonzero(each)) for name, each in signs.items()}

    @property
    def verdict(self) -> str:
        """Better or worse if the interval of the mean difference excludes 0, else unclear."""
        low, high = self.aggregates["ci_low"], self.aggregates["ci_high"]
        if self.measured.better is None or not (low > 0 or high < 0):
            return UNCLEAR
        return WORSE if (low > 0) is (self.measured.better == "lower") else BETTER

    def as_json(self) -> dict[str, Any]:
        """Everything except the samples."""
        first, second = map(number, self.means)
        return {
            "better": self.measured.better,
            "first": first,
            "second": second,
            "difference": jsonable(self.aggregates),
            **self.counts,
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Comparison:
    """Results compared with the first one.

    Attributes:
        files: the results, as named by the caller.
        models: everything in each file except its samples.
        measured: the quantities compared.
        ids: the samples that all results have.
        values: quantity -> values of each result, (files, samples).
        notes: differences between the runs, and parts that are left out.
    """

    files: Sequence[str]
    models: Sequence[Model]
    measured: Sequence[Measured]
    ids: StringList
    values: Mapping[str, FloatArray]
    notes: Sequence[str]

    def find(self, name: str) -> Measured:
        """The quantity of a name; an unknown name raises a SettingError."""
        return lookup(name, {each.name: each for each in self.measured}, RESULTS)

    def change(self, file: int, measured: Measured) -> Change:
        """The change of a quantity from the first result to another, by its index."""
        values = self.values[measured.name]
        return Change(measured, values[0], values[file])

    def worsened(self, file: int, measured: Measured) -> list[int]:
        """Indices of the samples that became worse, the largest change first."""
        import numpy as np

        harm = self.change(file, measured).harm
        (indices,) = np.nonzero(harm > 0)
        order: list[int] = indices[np.argsort(-harm[indices], kind="stable")].tolist()
        return order

    @cached_property
    def ranks(self) -> dict[str, list[float]]:
        """Quantity -> mean rank of each result: 1 is the best, equal values share their rank.

        Over the samples that are defined in all results; quantities without a better direction are
        left out.
        """
        return {
            each.name: [mean(row.tolist()) for row in ranked(self.values[each.name], each.better)]
            for each in self.measured
            if each.better is not None
        }

    def as_json(self) -> dict[str, Any]:
        """Everything except the samples; nan is null, infinities are strings."""
        return {
            "schema": SCHEMA,
            "runs": [
                {"file": file, **{name: model["run"][name] for name in ("pred", "target", "plan")}}
                for file, model in zip(self.files, self.models, strict=True)
            ],
            "pairs": len(self.ids),
            "changes": [
                {
                    "first": self.files[0],
                    "second": self.files[index],
                    "losses": {
                        each.name: self.change(index, each).as_json() for each in self.measured
                    },
                }
                for index in range(1, len(self.files))
            ],
            "ranks": jsonable(self.ranks),
            "notes": list(self.notes),
        }


def ranked(values: FloatArray, better: str | None) -> FloatArray:
    """Ranks of R results, sample by sample; equal values share the mean of their ranks.

    Args:
        values: (R, n).
        better: lower or higher.

    Returns:
        (R, m), from 1 for the best to R, for the m samples that are defined in all results.
    """
    import numpy as np

    defined = values[:, ~np.isnan(values).any(axis=0)]
    if better == "higher":
        defined = -defined
    ahead = np.stack([(defined < row).sum(axis=0) for row in defined])
    equal = np.stack([(defined == row).sum(axis=0) for row in defined])  # includes itself
    ranks: FloatArray = 1 + ahead + (equal - 1) / 2
    return ranks


def compare(
    files: Sequence[str], losses: Sequence[str] = (), *, per_class: bool = False
) -> Comparison:
    """Read the losses and samples that result files share; see `lossbench.compare`."""
    import numpy as np

    if len(files) < 2:
        raise SettingError("give two results or more: the first, and those to compare with it")
    models = [read_result(file) for file in files]
    shared, unshared = _shared_losses(files, models)
    measured = _measured(models, shared, unshared, losses, per_class)
    notes = [] if losses else list(unshared.values())
    notes += _reading_notes(files, models)
    samples = [
        read_samples(file, [each.quantity for each in measured], model)
        for file, model in zip(files, models, strict=True)
    ]
    names, columns = zip(*samples, strict=True)
    ids = names[0]
    notes += _truth_notes(files, models, list(map(len, names)))
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
    if not len(ids):
        reason = "; ".join([f"{' and '.join(files)} have no sample in common", *notes])
        raise InputError(reason, kind="mismatch")
    rows = zip(measured, *columns, strict=True)
    values = {each.name: np.stack(of_files) for each, *of_files in rows}
    return Comparison(files, models, measured, ids, values, notes)


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
    """A note for each result that was read in another way than the first."""
    stated = list(map(identity, models))
    texts = [model["run"]["plan"]["text"] for model in models]
    for file, own in zip(files, stated, strict=True):
        if missing := unknown(own):
            yield f"{file} does not state {missing}: that was not compared"
    for file, text, own in zip(files[1:], texts[1:], stated[1:], strict=True):
        parts = [
            f"{TRUTH[each.field].title} ({each.other} and {each.one})"
            for each in differences(stated[0], own)
        ]
        if parts:
            both = f"{file} was read as {text}, {files[0]} as {texts[0]}"
            yield f"{both}: they differ in {', '.join(parts)}"
        elif stated[0].get("pred", own.get("pred")) != own.get("pred", stated[0].get("pred")):
            yield (
                f"predictions of {file} were read as {own['pred']}, those of {files[0]} as"
                f" {stated[0]['pred']}"
            )


def _truth_notes(
    files: Sequence[str], models: Sequence[Model], samples: Sequence[int]
) -> Iterator[str]:
    """Notes for each result whose ground truth is not known to be that of the first."""
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
        if run["target"] != first["target"]:
            yield f"the ground truth of {file} is {run['target']}, of {files[0]} {first['target']}"
        both = f"{file} and {files[0]}"
        if reason:
            yield f"whether {both} have the same ground truth could not be checked: {reason}"
        else:
            yield (
                f"{both} have the same pairs with another ground truth; evaluate both with the same"
                " one"
            )


def _differing_part(one: Model, other: Model) -> str:
    """The part in which two losses of the same name differ; empty if they are the same."""
    if one["terms"] != other["terms"]:
        return "definition"
    if len(one["terms"]) > 1 and one["expression"] != other["expression"]:
        return "expression"
    parts = {"revision": "revision", "plugins": "plugin code"}
    return next((part for key, part in parts.items() if one.get(key) != other.get(key)), "")


def _measured(
    models: Sequence[Model],
    shared: Mapping[str, Model],
    unshared: Mapping[str, str],
    losses: Sequence[str],
    per_class: bool,
) -> list[Measured]:
    """The quantities to compare: the requested losses or all shared ones, and their classes."""
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
    requested = losses or [name for name, each in known.items() if not each.quantity.of_class]
    measured = [lookup(name, known, RESULTS) for name in requested]
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
