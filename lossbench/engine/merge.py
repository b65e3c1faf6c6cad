"""Merge the result files of all shards of a run; the result equals that of a single run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossbench.catalog.plugins import using
from lossbench.data.pairing.pairs import Pairing
from lossbench.engine.checkpoint import different
from lossbench.engine.convention_columns import comparison
from lossbench.engine.finalize import grouping
from lossbench.engine.prepare import columns_and_checks
from lossbench.engine.run import Run
from lossbench.engine.settings import Settings
from lossbench.engine.shards import ordered, pairing_of, part_of, plan_of
from lossbench.engine.state.partial_result import PartialResult
from lossbench.errors import InputError
from lossbench.results.baseline import read_baseline
from lossbench.results.reader import Model, read_result
from lossbench.results.result import Result, digest

COMPUTED = ("classes", "pairs", "losses")  # entries of `run` that follow from the merged values


@dataclass(frozen=True)
class Merge:
    """Shards that fit together.

    Attributes:
        run: the run that was divided into the shards.
        shards: the entries `shard` of the result files, in order.
        models: the result files, in the same order.
    """

    run: Run
    shards: Sequence[Mapping[str, Any]]
    models: Sequence[Model]

    def evaluate(self) -> Result:
        """Compute the result of the run.

        Raises:
            InputError: a shard is damaged.
        """
        run, device = self.run, "cpu"
        with using(run.settings.plugins):
            options = {term: term.options for term in run.terms}
            groups = grouping(run, options, lambda: device)
            whole = PartialResult.empty(0, len(run.pairing.pairs), groups)
            for shard in self.shards:
                try:
                    whole.extend(part_of(shard, list(options), groups))
                except ValueError as error:
                    number = f"{shard['index']}/{shard['of']}"
                    raise InputError(f"shard {number} is damaged: {error}; run it again") from None
            result = run.conclude(whole, options, device)
        first = self.models[0]
        result.run = {name: each for name, each in first["run"].items() if name not in COMPUTED}
        sessions = [model["session"] for model in self.models]
        result.session = {
            **first["session"],
            "started": min(session["started"] for session in sessions),
            "seconds": round(sum(session["seconds"] for session in sessions), 3),
            "shards": len(sessions),
        }
        return result


def plan_merge(paths: Sequence[str], baseline: Any = None) -> Merge:
    """Read the files of all shards of a run and check that they fit together.

    Raises:
        InputError: a file is no shard, or shards overlap, are missing or are of different runs.
    """
    models = {path: read_result(path) for path in paths}
    for path, model in models.items():
        if not isinstance(model.get("shard"), dict):
            raise InputError(
                f"{path} is not a shard: it was written without --shard", kind="mismatch"
            )
    first, *_ = models
    for path in models:
        one, other = (_comparable(models[each]) for each in (first, path))
        if one != other:
            raise InputError(
                f"{path} and {first} are not shards of one run: their {different(one, other)}"
                " differs",
                kind="mismatch",
            )
    shards = ordered({path: model["shard"] for path, model in models.items()})
    sorted_models = sorted(models.values(), key=lambda model: model["shard"]["index"])
    pairing = pairing_of(shards)
    if digest(pairing.pairs.named()) != shards[0]["pairs"]["digest"]:
        raise InputError("the ids of the shards are not those of their run", kind="mismatch")
    run = _run(models[first]["run"], shards[0], pairing, baseline)
    return Merge(run, shards, sorted_models)


def _run(run: Mapping[str, Any], shard: Mapping[str, Any], pairing: Pairing, baseline: Any) -> Run:
    """The run that was divided into the shards, without files to read."""
    files = {"pred": run["pred"], "target": run["target"], "baseline": baseline}
    settings = Settings.from_record(run["settings"], losses=shard["losses"], **files)
    earlier = read_baseline(baseline) if baseline else {}
    plan = plan_of(shard["plan"])
    with using(settings.plugins):
        columns, checks = columns_and_checks(shard["losses"], settings, plan.task)
        elsewhere = comparison(columns, settings, plan.task)
    return Run(settings, pairing, plan, columns, checks, earlier, elsewhere)


def _comparable(model: Model) -> dict[str, Any]:
    """The entries that are equal in all shards of a run."""
    run = {name: each for name, each in model["run"].items() if name != "pairs"}
    return {**run, "versions": model["session"]["versions"]}
