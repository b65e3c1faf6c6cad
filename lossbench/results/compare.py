"""Results held against each other: the differences of the samples that all of them have."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from lossbench.errors import InputError, SettingError
from lossbench.results.aggregates import aggregate, mean
from lossbench.results.json_numbers import jsonable, number
from lossbench.results.reader import Measured, Model, Quantity, lookup, read_result, read_samples
from lossbench.runtime.string_list import StringList

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lossbench.runtime.array_types import FloatArray


SCHEMA = 1
BETTER, WORSE, UNCLEAR = "better", "worse", "unclear"
RESULTS = "all results"


@dataclass(frozen=True)
class Change:
    """One quantity of a run against that of the first, sample by sample.

    Attributes:
        of: what changed.
        before: values of the first run, (n,).
        after: values of the other one, (n,).
    """

    of: Measured
    before: FloatArray
    after: FloatArray

    @cached_property
    def difference(self) -> FloatArray:
        """After minus before, (n,); nan where either is undefined, 0 where both are equal."""
        import numpy as np

        with np.errstate(invalid="ignore", over="ignore"):
            return np.where(self.after == self.before, 0.0, self.after - self.before)

    @cached_property
    def harm(self) -> FloatArray:
        """How much worse each sample became; where both ways may be better, how much it changed."""
        import numpy as np

        if self.of.better is None:
            return np.abs(self.difference)
        return -self.difference if self.of.better == "higher" else self.difference

    @cached_property
    def aggregates(self) -> dict[str, float]:
        """Every aggregate of the differences; the interval is of paired samples."""
        return aggregate(self.difference)

    @property
    def means(self) -> tuple[float, float]:
        """Before and after, over the samples that are defined in both."""
        import numpy as np

        both = ~np.isnan(self.difference)
        return mean(self.before[both].tolist()), mean(self.after[both].tolist())

    @property
    def counts(self) -> dict[str, int]:
        """How many samples became better, worse, and neither."""
        import numpy as np

        signs = {"improved": self.harm < 0, "worsened": self.harm > 0, "equal": self.harm == 0}
        if self.of.better is None:
            signs = {"changed": self.harm > 0, "equal": self.harm == 0}
        return {name: int(np.count_nonzero(each)) for name, each in signs.items()}

    @property
    def verdict(self) -> str:
        """Better or worse where the interval of the mean difference is on one side of 0."""
        low, high = self.aggregates["ci_low"], self.aggregates["ci_high"]
        if self.of.better is None or not (low > 0 or high < 0):
            return UNCLEAR
        return WORSE if (low > 0) is (self.of.better == "lower") else BETTER


@dataclass(frozen=True)
class Comparison:
    """Results held against the first of them.

    Attributes:
        files: the results, as they were named.
        models: what each says of its run.
        measured: what is compared.
        ids: the samples that all of them have.
        values: of each quantity the values of each result, (files, samples).
        notes: what a reader should know.
    """

    files: Sequence[str]
    models: Sequence[Model]
    measured: Sequence[Measured]
    ids: StringList
    values: Mapping[str, FloatArray]
    notes: Sequence[str]

    def find(self, name: str) -> Measured:
        """What is compared under a name; an unknown one is an error."""
        found: Measured = lookup(name, {each.name: each for each in self.measured}, RESULTS)
        return found

    def change(self, file: int, of: Measured) -> Change:
        """What changed from the first result to the one at a place."""
        return Change(of, self.values[of.name][0], self.values[of.name][file])

    def worsened(self, file: int, of: Measured) -> list[int]:
        """The samples that became worse, by their places, most first."""
        import numpy as np

        harm = self.change(file, of).harm
        (places,) = np.nonzero(harm > 0)
        order: list[int] = places[np.argsort(-harm[places], kind="stable")].tolist()
        return order

    @cached_property
    def ranks(self) -> dict[str, list[float]]:
        """By quantity, the mean rank of each result: 1 is the best, equal ones share theirs.

        Over the samples that are defined in all; quantities without a better side are left out.
        """
        return {
            each.name: [mean(row.tolist()) for row in ranked(self.values[each.name], each.better)]
            for each in self.measured
            if each.better is not None
        }

    def as_json(self) -> dict[str, Any]:
        """Everything but the samples; nan is null, infinities are words."""
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
                    "second": self.files[place],
                    "losses": {
                        each.name: _told(self.change(place, each)) for each in self.measured
                    },
                }
                for place in range(1, len(self.files))
            ],
            "ranks": jsonable(self.ranks),
            "notes": list(self.notes),
        }


def _told(change: Change) -> dict[str, Any]:
    """A change as files hold it."""
    before, after = change.means
    return {
        "better": change.of.better,
        "first": number(before),
        "second": number(after),
        "difference": {name: number(each) for name, each in change.aggregates.items()},
        **change.counts,
        "verdict": change.verdict,
    }


def ranked(values: FloatArray, better: str | None) -> FloatArray:
    """The rank of each of several values, sample by sample; equal ones share the mean of theirs.

    Args:
        values: (R, n).
        better: whether lower or higher is.

    Returns:
        (R, m), from 1 for the best to R, of the m samples that are defined in all R.
    """
    import numpy as np

    good = values[:, ~np.isnan(values).any(axis=0)]
    if better == "higher":
        good = -good
    ahead = np.stack([(good < row).sum(axis=0) for row in good])
    equal = np.stack([(good == row).sum(axis=0) for row in good])  # itself among them
    ranks: FloatArray = 1 + ahead + (equal - 1) / 2
    return ranks


def compare(
    files: Sequence[str], losses: Sequence[str] = (), *, per_class: bool = False
) -> Comparison:
    """Read what several result files have in common; see `lossbench.compare`."""
    import numpy as np

    if len(files) < 2:
        raise SettingError("give two results or more: the first one and what is held against it")
    models = [read_result(file) for file in files]
    alike, unlike = _alike(files, models)
    measured = _measured(models, alike, unlike, losses, per_class)
    notes = [] if losses else list(unlike.values())
    notes += _elsewhere(files, models)
    samples = [
        read_samples(file, [each.quantity for each in measured], model)
        for file, model in zip(files, models, strict=True)
    ]
    names = [ids for ids, _ in samples]
    said = zip(models, map(len, names), strict=True)
    if len({(model["run"]["pairs"]["digest"], length) for model, length in said}) > 1:
        places = _common(names)
        notes += _partial(files, names, len(places[0]))
        samples = [_taken(*each, at) for each, at in zip(samples, places, strict=True)]
    if not len(samples[0][0]):
        reason = "; ".join([f"{' and '.join(files)} have no sample in common", *notes])
        raise InputError(reason, kind="mismatch")
    columns = zip(*(columns for _, columns in samples), strict=True)
    values = {each.name: np.stack(some) for each, some in zip(measured, columns, strict=True)}
    return Comparison(files, models, measured, samples[0][0], values, notes)


def _partial(files: Sequence[str], names: Sequence[StringList], common: int) -> Iterator[str]:
    """What to say of results that have samples which others lack."""
    for file, ids in zip(files, names, strict=True):
        if len(ids) > common:
            yield f"{len(ids) - common:,} of {len(ids):,} samples of {file} are not in all results"


def _taken(
    ids: StringList, columns: Sequence[FloatArray], places: NDArray[np.intp]
) -> tuple[StringList, list[FloatArray]]:
    """Some of the samples."""
    some = StringList()
    for place in places:
        some.append(ids[place])
    return some, [column[places] for column in columns]


def _alike(
    files: Sequence[str], models: Sequence[Model]
) -> tuple[dict[str, Model], dict[str, str]]:
    """The losses that all results have and mean alike, and why the others are left out."""
    tables = [{loss["name"]: loss for loss in model["run"]["losses"]} for model in models]
    alike, unlike = dict[str, Model](), dict[str, str]()
    for name, loss in reduce(or_, reversed(tables)).items():
        for file, table in zip(files, tables, strict=True):
            if name not in table:
                unlike[name] = f"{name} is not in {file} and left out"
            elif what := _other_meaning(loss, table[name]):
                unlike[name] = f"{name} has another {what} in {file} than in {files[0]}: left out"
        if name not in unlike:
            alike[name] = loss
    return alike, unlike


def _elsewhere(files: Sequence[str], models: Sequence[Model]) -> Iterator[str]:
    """What to say of results that were read in another way, or have another ground truth."""
    first, *others = (model["run"] for model in models)
    for file, run in zip(files[1:], others, strict=True):
        if run["plan"]["text"] != first["plan"]["text"]:
            yield f"{file} was read as {run['plan']['text']}, {files[0]} as {first['plan']['text']}"
        if run["target"] != first["target"]:
            yield f"the ground truth of {file} is {run['target']}, of {files[0]} {first['target']}"


def _other_meaning(one: Model, other: Model) -> str:
    """In what two losses of one name differ."""
    if one["terms"] != other["terms"]:
        return "definition"
    if len(one["terms"]) > 1 and one["expression"] != other["expression"]:
        return "expression"
    return next((key for key in ("revision", "plugins") if one.get(key) != other.get(key)), "")


def _measured(
    models: Sequence[Model],
    alike: Mapping[str, Model],
    unlike: Mapping[str, str],
    losses: Sequence[str],
    per_class: bool,
) -> list[Measured]:
    """What is compared: the losses that are asked for or all of them, and their classes."""
    known: dict[str, Measured] = {}
    for name, loss in alike.items():
        for quantity in [Quantity(name), *_classes(name, models)]:
            known[str(quantity)] = Measured(quantity, loss["better"])
    for name in losses:
        if name not in known and name in unlike:
            raise SettingError(unlike[name].removesuffix(": left out"))
    if not known:
        reason = "; ".join(["the results have no loss in common", *unlike.values()])
        raise InputError(reason, kind="mismatch")
    wanted = losses or [name for name, each in known.items() if not each.quantity.of_class]
    found = [lookup(name, known, RESULTS) for name in wanted]
    if per_class:
        columns = {each.quantity.column for each in found}
        found += [
            each
            for each in known.values()
            if each.quantity.of_class and each.quantity.column in columns
        ]
    return list(dict.fromkeys(found))


def _classes(name: str, models: Sequence[Model]) -> Iterator[Quantity]:
    """The classes of a loss that all results have."""
    tables = [model["aggregate"][name].get("classes", {}) for model in models]
    for of_class in tables[0]:
        if all(of_class in table for table in tables):
            yield Quantity(name, of_class)


def _common(names: Sequence[StringList]) -> list[NDArray[np.intp]]:
    """Where the samples that all results have stand in each, in the order of the first."""
    import numpy as np

    found = [array("q") for _ in names]
    others = [{name: place for place, name in enumerate(each)} for each in names[1:]]
    for place, name in enumerate(names[0]):
        if all(name in other for other in others):
            for each, at in zip(found, [place, *(other[name] for other in others)], strict=True):
                each.append(at)
    return [np.array(each, np.intp) for each in found]
