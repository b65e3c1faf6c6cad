"""Merge the result files of all shards of a run; the result equals that of a single run."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lossbench.catalog.plugins import using
from lossbench.engine.checkpoint import different
from lossbench.engine.convention_columns import comparison
from lossbench.engine.finalize import grouping
from lossbench.engine.prepare import columns_and_checks
from lossbench.engine.run import Run
from lossbench.engine.settings import Settings
from lossbench.engine.shards import ordered, pairing_of, plan_of
from lossbench.engine.state.partial_result import PartialResult
from lossbench.errors import InputError
from lossbench.results.baseline import Baseline
from lossbench.results.reader import Model, read_result
from lossbench.results.result import Result, digest

# Entries of `run` that follow from the merged values.
COMPUTED = ("classes", "pairs", "losses", "doubts")


@dataclass(frozen=True)
class Merge:
    """Shards that fit together."""

    run: Run  # the run that was divided into the shards
    models: Sequence[Model]  # their result files, in order

    def evaluate(self) -> Result:
        """Compute the result of the run.

        Raises:
            InputError: a shard is damaged.
        """
        run = self.run
        with using(run.settings.plugins):
            options = {term: term.options for term in run.terms}
            groups = grouping(run, options)
            whole = PartialResult.empty(0, len(run.pairing.pairs), groups)
            for model in self.models:
                shard = model["shard"]
                try:
                    packed = base64.b64decode(shard["part"])
                    whole.extend(PartialResult.unpack(packed, run.terms, groups))
                except ValueError as error:
                    number = f"{shard['index']}/{shard['of']}"
                    raise InputError(f"shard {number} is damaged: {error}; run it again") from None
            result = run.conclude(whole, options, "cpu")
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


def plan_merge(
    paths: Sequence[str],
    baseline: Any = None,
    *,
    strict: bool = False,
    accept: str | Sequence[str] = (),
) -> Merge:
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
    names = ordered({path: model["shard"] for path, model in models.items()})
    sorted_models = [models[name] for name in names]
    shards = [model["shard"] for model in sorted_models]
    pairing = pairing_of(shards)
    if digest(pairing.pairs.named()) != shards[0]["pairs"]["digest"]:
        raise InputError("the ids of the shards are not those of their run", kind="mismatch")
    recorded, losses = models[first]["run"], shards[0]["losses"]
    changes = {"losses": losses, "baseline": baseline, "strict": strict, "accept": accept}
    changes |= {side: recorded[side] for side in ("pred", "target")}
    settings = Settings.from_record(recorded["settings"], **changes)
    earlier = Baseline.read(baseline, settings.ci) if baseline else None
    plan = plan_of(shards[0]["plan"])
    with using(settings.plugins):
        columns, checks = columns_and_checks(losses, settings, plan.task)
        elsewhere = comparison(columns, settings, plan.task)
        if earlier:
            earlier.check(checks, plan.identity)
    run = Run(settings, pairing, plan, columns, checks, earlier, elsewhere)
    return Merge(run, sorted_models)


def _comparable(model: Model) -> dict[str, Any]:
    """The entries that are equal in all shards of a run."""
    run, shard = model["run"], model["shard"]
    # The method of an interval depends on the values.
    losses = [{key: each[key] for key in each if key != "interval"} for each in run["losses"]]
    return {
        **run,
        "versions": model["session"]["versions"],
        "losses": [losses, shard["losses"]],
        "plan": plan_of(shard["plan"]),  # leaves out what two machines may set differently
        "pairs": shard["pairs"],
        "number of shards": shard["of"],
        "files without a partner": shard["unpaired"],
    }
