"""The Python interface: what the command line uses, and nothing else of the inside."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from inspect import getdoc, signature
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeAlias

from lossbench.catalog import registry
from lossbench.catalog.conventions import CONVENTIONS, Convention
from lossbench.catalog.plugins import Files, file_names, using
from lossbench.catalog.registry import Entry
from lossbench.engine.settings import Setting, Settings, describe_settings
from lossbench.errors import SettingError
from lossbench.results.formats import formats_of

if TYPE_CHECKING:
    from torch import Tensor

    from lossbench.choosing.inspection import Inspection
    from lossbench.choosing.recommendations import UseCases
    from lossbench.choosing.stress import Stress
    from lossbench.choosing.thresholds import Thresholds
    from lossbench.choosing.thresholds_detections import DetectionThresholds
    from lossbench.config.load import Config
    from lossbench.engine.merge import Merge
    from lossbench.engine.progress import Progress
    from lossbench.engine.run import Run
    from lossbench.networks.weights import Published
    from lossbench.reporting.report import Report
    from lossbench.results.comparison import Comparison
    from lossbench.results.result import Result
    from lossbench.results.trend import Trend
    from lossbench.speed.report import SpeedReport
    from lossbench.training.gradcheck import Slope

    Model: TypeAlias = (
        Result
        | Comparison
        | Report
        | SpeedReport
        | Inspection
        | UseCases
        | Thresholds
        | DetectionThresholds
        | Trend
        | Stress
    )

P = ParamSpec("P")


def _plan(settings: Callable[P, Settings]) -> Callable[P, Run]:
    """The function `plan`, whose parameters and documentation are those of the settings."""

    def plan(*args: P.args, **named: P.kwargs) -> Run:
        """Pair the files, decide how they are read and check every setting; compute nothing.

        Args:
            {settings}

        Returns:
            A run: `.plan`, `.pairing`, `.columns`, `.settings`, and `.evaluate()`.

        Raises:
            SettingError: a setting, loss or gate is wrong.
            InputError: a folder is missing or empty, or nothing matches.
        """
        from lossbench.engine.prepare import prepare

        plugins: Any = named.get("plugins", ())
        with using(plugins):
            return prepare(settings(*args, **named))

    plan.__qualname__ = plan.__name__
    plan.__doc__ = (getdoc(plan) or "").format(settings=describe_settings())
    vars(plan)["__signature__"] = signature(settings).replace(return_annotation="Run")
    return plan


plan = _plan(Settings)


def evaluate(
    pred: Any = None,
    target: Any = None,
    losses: str | Sequence[str] = (),
    *,
    progress: Callable[[Progress], None] | None = None,
    start_method: str | None = None,
    **settings: Any,
) -> Result:
    """How wrong predictions are: one value a sample and loss, and what they aggregate to.

    Args:
        pred: a folder, a file, or arrays in memory: a mapping id -> array, or a sequence.
        target: the ground truth, likewise.
        losses: expressions such as "dice" or "0.5*dice + 0.5*bce"; none for the task's usual ones.
        progress: called after each batch.
        start_method: "spawn" or another start method of `multiprocessing`, for child processes that
            read where that is faster than threads: many files, of losses that need no pixels. The
            calling script then needs `if __name__ == "__main__":`.
        **settings: as for `lossbench.plan`.

    Returns:
        The result: `.ids`, `.values`, `.aggregates`, `.failed`, `.decisions`, `.exit_status`, and
        with `group_by` also `.groups`, `.group_aggregates`, `.over_groups`.
    """
    run = plan(pred, target, losses, **settings)
    return run.evaluate(progress, start_method=start_method)


def plan_merge(
    files: Files, *, baseline: Any = None, strict: bool = False, accept: str | Sequence[str] = ()
) -> Merge:
    """Check that result files of all shards of a run fit together; compute nothing.

    Args:
        files: the results of runs with `shard="1/3"`, `"2/3"`, `"3/3"` and otherwise alike.
        baseline: an earlier result that their gates name.
        strict: whether a doubt is an error, as for `plan`.
        accept: kinds of doubts that count nowhere, as for `plan`.

    Returns:
        `.run`, and `.evaluate()` for the result, which is that of one run to the last bit.

    Raises:
        InputError: one is no shard, some overlap, are missing, or are of different runs.
    """
    from lossbench.engine.merge import plan_merge

    return plan_merge(file_names(files), baseline, strict=strict, accept=accept)


def merge(
    files: Files, *, baseline: Any = None, strict: bool = False, accept: str | Sequence[str] = ()
) -> Result:
    """The result of a run from those of all its shards; see `plan_merge`."""
    return plan_merge(files, baseline=baseline, strict=strict, accept=accept).evaluate()


def compare(
    files: Files,
    losses: str | Sequence[str] = (),
    *,
    per_class: bool = False,
    margin: float | Mapping[str, float] | None = None,
    gates: str | Sequence[str | Mapping[str, Any]] = (),
) -> Comparison:
    """Compare result files with the first one: paired differences, tests, verdicts, rankings.

    Args:
        files: two or more results as JSON, JSON Lines or Parquet.
        losses: the columns to compare, such as "dice" or "dice[road]"; by default all that the
            results have in common.
        per_class: whether to compare the classes of these columns too.
        margin: a mean difference below which none matters, by loss, or one for all losses.
        gates: conditions such as "dice.difference <= 0.005", "dice.verdict != worse" and
            "iou[car].worsened <= 3".

    Returns:
        `.measured`, `.ids`, `.values` by name (files, samples), `.verdict(1, measured[0])`,
        `.change(1, measured[0])` with `.differences`, `.aggregates`, `.means`, `.counts`, `.p` and
        `.largest(10)`, `.rankings`, `.decisions`, `.exit_status` and `.notes`. `render` and `save`
        give the output of `lossbench compare`.

    Raises:
        SettingError: there is only one file, a named loss is not in all of them, a gate is wrong,
            or ground truth was read in two ways.
        InputError: a file is not a result, or the files have no loss or sample in common.
    """
    from lossbench.results.compare import EVERY, compare

    return compare(
        file_names(files),
        _several(losses),
        per_class=per_class,
        margins={EVERY: margin} if isinstance(margin, int | float) else margin,
        gates=(gates,) if isinstance(gates, str) else gates,
    )


def trend(
    files: Files = (),
    *,
    pattern: str | None = None,
    target: Any = None,
    losses: str | Sequence[str] = (),
    columns: str | Sequence[str] = (),
    train: Files = (),
    train_columns: str | Sequence[str] = (),
    window: int = 10,
    cache: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] | None = None,
    start_method: str | None = None,
    **settings: Any,
) -> Trend:
    """Losses over epochs: the best epoch, what cannot be told from it, and whether they improve.

    Args:
        files: a result for each epoch, in their order, or one CSV that a logger wrote.
        pattern: in place of files, such as "runs/epoch_{n}/pred"; `{n}` is the number of the epoch.
        target: the ground truth of a pattern; without one, the pattern names results.
        losses: columns of results, or expressions to evaluate.
        columns: columns of a CSV: "val_loss", or "val_map=higher" with the better direction.
        train: the training: a result for each epoch, or one CSV.
        train_columns: columns of that CSV, one for each loss.
        window: how many of the last epochs the test of the trend looks at.
        cache: where the results of a pattern are kept; by default `.lossbench/trend/` beside it.
        progress: called with a line of text about each epoch that is evaluated.
        start_method: as for `evaluate`.
        **settings: as for `lossbench.plan`.

    Returns:
        `.epochs`, `.runs`, `.series` with `.means`, `.best`, `.tied`, `.tendency` and
        `.overfitting` of each loss, `.as_json()`, `.notes`, `.errors` and `.exit_status`. `render`
        and `save` give the output of `lossbench trend`.

    Raises:
        SettingError: ground truth was read in two ways, or a setting, loss or column is wrong.
        InputError: a file is no result, or nothing fits the pattern.
    """
    from lossbench.results.trend import TrendOptions, read_trend
    from lossbench.trends.epoch_pattern import training_files

    options = TrendOptions(
        _several(losses),
        _several(columns),
        training_files(file_names(train)),
        _several(train_columns),
        window,
    )
    if pattern is None:
        if not files:
            raise SettingError("give the result of each epoch, or a pattern such as run_{n}/pred")
        return read_trend(file_names(files), options)
    from lossbench.trends.trend import pattern_trend

    folder = None if cache is None else os.fspath(cache)
    note = progress or (lambda text: None)
    return pattern_trend(pattern, target, options, folder, settings, note, start_method).read()


def watch_trend(
    pattern: str,
    target: Any = None,
    *,
    interval: float = 5.0,
    until: int | None = None,
    losses: str | Sequence[str] = (),
    train: Files = (),
    train_columns: str | Sequence[str] = (),
    window: int = 10,
    cache: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] | None = None,
    start_method: str | None = None,
    **settings: Any,
) -> Generator[Trend, None, None]:
    """The trend of a pattern, each time that an epoch is complete or has changed.

    An epoch is complete when two looks saw the same files and each of them could be read.

    Args:
        pattern: as for `trend`.
        target: as for `trend`.
        interval: seconds between two looks.
        until: the number of epochs with which it ends; it goes on without one.
        losses: as for `trend`, like all that follow.
        train: read again for each trend.
        train_columns: its columns.
        window: of the test.
        cache: where results are kept.
        progress: called also about epochs that are not complete.
        start_method: as for `evaluate`.
        **settings: as for `lossbench.plan`.

    Yields:
        Trends as those of `trend`.
    """
    from lossbench.results.trend import TrendOptions
    from lossbench.trends.trend import pattern_trend

    options = TrendOptions(
        _several(losses),
        train=file_names(train),
        train_columns=_several(train_columns),
        window=window,
    )
    folder = None if cache is None else os.fspath(cache)
    note = progress or (lambda text: None)
    yield from pattern_trend(pattern, target, options, folder, settings, note, start_method).watch(
        interval, until, note
    )


def report(
    file: str | os.PathLike[str],
    losses: str | Sequence[str] = (),
    *,
    pred: str | os.PathLike[str] | None = None,
    target: str | os.PathLike[str] | None = None,
) -> Report:
    """Read a result file for a page: aggregates, distributions, samples, the worst as pictures.

    Args:
        file: a result as JSON, JSON Lines or Parquet.
        losses: the columns to show, such as "dice" or "dice[road]"; all by default.
        pred: where the predictions are now; by default where the run read them.
        target: where the ground truth is now, likewise.

    Returns:
        `.measured`, `.ids`, `.values` by name (samples,), `.worst(…)` and `.histogram(…)`.
        `render` and `save` give the page, with the options `top`, `pictures` and `sort`.

    Raises:
        SettingError: the result has no such loss.
        InputError: the file is not a result.
    """
    from lossbench.reporting.report import report

    folders = (None if each is None else os.fspath(each) for each in (pred, target))
    return report(os.fspath(file), _several(losses), *folders)


def inspect(
    *folders: Any,
    sample: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Inspection:
    """What folders hold, how a run would read them, and which losses follow from it.

    Args:
        *folders: the ground truth, or predictions and ground truth, as for `evaluate`.
        sample: how many pairs are read, spread evenly; 10,000 of a larger set by default.
        progress: called after each pair with the number of pairs read, and of all to read.
        **settings: those of `lossbench.plan` that say how files are paired and read.

    Returns:
        `.plan`, None where it is undecided, `.classes`, `.findings`, `.recommended`, `.as_json()`
        and `.exit_status`. `render` and `save` give the output of `lossbench inspect`.

    Raises:
        SettingError: settings contradict each other.
        InputError: a folder is missing or empty, or nothing matches.
    """
    from lossbench.choosing.inspection import inspect_folders

    if len(folders) not in (1, 2):
        raise SettingError("expected GT, the folder of the ground truth, or PRED and GT")
    pred, target = (None, *folders)[-2:]
    return inspect_folders(pred, target, sample=sample, progress=progress, settings=settings)


def stress(
    target: Any,
    losses: str | Sequence[str] = (),
    *,
    against: Any = None,
    sample: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Stress:
    """Damage a ground truth in steps, and see which loss answers to which damage.

    Args:
        target: the ground truth, as for `evaluate`.
        losses: the losses; by default those that `inspect` recommends.
        against: predictions, which are placed among the damages.
        sample: how many images are damaged, spread evenly; 10 by default.
        progress: called after each image with the number of images done, and of all.
        **settings: those of `lossbench.plan` that say how files are paired and read.

    Returns:
        `.damages`, `.undamaged`, `.sees` by loss and kind, `.alike`, `.answer`, `.notes` and
        `.as_json()`. `render` and `save` give the output of `lossbench stress`.

    Raises:
        SettingError: a setting or loss is wrong, or the task has no damages.
        InputError: a folder is missing or empty, or a file cannot be read.
    """
    from lossbench.choosing.stress import stress_folder

    return stress_folder(
        target,
        _several(losses),
        against=against,
        sample=sample,
        progress=progress,
        settings=settings,
    )


def write_config(
    inspection: Inspection,
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> None:
    """Write a config for what was inspected: its plan, losses, and gates that hold now.

    Args:
        inspection: from `inspect`; gates need its predictions, which are evaluated.
        path: the config, such as lossbench.yaml.
        force: whether to replace a file.
        progress: called after each batch of that evaluation.

    Raises:
        SettingError: the file exists, or the plan is undecided.
        OutputError: the file cannot be written.
    """
    from lossbench.choosing.inspection_config import write_config

    write_config(inspection, os.fspath(path), force=force, progress=progress)


def use_cases() -> UseCases:
    """Usual problems in `.rows`: `name`, `task`, losses for `training`, `scores` and `source`."""
    from lossbench.choosing.recommendations import UseCases

    return UseCases()


def thresholds(
    pred: Any = None,
    target: Any = None,
    losses: str | Sequence[str] = (),
    *,
    steps: int = 257,
    per_image: str | os.PathLike[str] | None = None,
    iou: float | None = None,
    start_method: str | None = None,
    planned: Callable[[Run], None] | None = None,
    **settings: Any,
) -> Thresholds | DetectionThresholds:
    """Judge every threshold in one pass: scores, curves, calibration, and the best threshold.

    Args:
        pred: probabilities: a folder, a file, or arrays in memory, as for `evaluate`.
        target: the ground truth, likewise.
        losses: scores, or losses with a threshold such as "dice(threshold=0.5)"; by default
            dice_score, iou, precision and recall.
        steps: number of thresholds of the curves, from 0 to 1; maps of 8 bits have all k/255.
        per_image: a Parquet file for the scores of every image at every threshold.
        iou: from which a detection matches an object, by default 0.5; of detections only.
        start_method: as for `evaluate`.
        planned: called with the run before it is read, as `plan` returns it.
        **settings: those of `plan` that say how files are read.

    Returns:
        `.thresholds`, `.scores` and `.classes` with their curves, `.curves`, `.reliability`,
        `.failed` and `.as_json()`; of COCO's results, the boxes at every confidence: `.together`
        and `.classes` with precision, recall and F1, and `.confusion`. `render` and `save` give the
        output of `lossbench thresholds`.

    Raises:
        SettingError: a setting or loss is wrong, or the task has no threshold.
        InputError: a folder is missing or empty, or nothing matches.
    """
    from lossbench.choosing.thresholds import find_thresholds

    named = {"pred": pred, "target": target, "losses": losses, **settings}
    file = None if per_image is None else os.fspath(per_image)
    announce = planned or (lambda run: None)
    return find_thresholds(
        named,
        steps=steps,
        per_image=file,
        iou=iou,
        start_method=start_method,
        planned=announce,
    )


def loss(
    name: str,
    *,
    plugins: Files = (),
    weights: Mapping[str, str | os.PathLike[str]] | None = None,
) -> Callable[..., Tensor]:
    """A loss by name or alias as a differentiable function of tensors, for training.

    `lossbench.loss("dice")(pred, target, weight=None, encoding="probability", **options)` takes
    pred (B, C, *space) and labels (B, *space) or a target like pred, and returns one value a
    sample, (B,), nan where undefined. `encoding` may be logits or image too; options are those of
    `lossbench explain NAME`. `plugins` are Python files with losses of your own, `weights` files of
    networks by name, as for `lossbench.plan`.
    """
    from lossbench.training.tensor_loss import tensor_loss

    with using(plugins):
        return tensor_loss(name, {name: os.fspath(file) for name, file in (weights or {}).items()})


def list_losses(family: str | None = None, *, plugins: Files = ()) -> list[Entry]:
    """The catalogue with the losses of plugins, or one family of it, as its source states it."""
    with using(plugins):
        return [each for each in registry.entries() if family in (None, each.family)]


def find_loss(name: str, *, plugins: Files = ()) -> Entry:
    """One loss of the catalogue, by name or alias; an unknown name offers the nearest."""
    with using(plugins):
        return registry.find(name)


def gradcheck(
    expression: str, *, task: str | None = None, seed: int = 0, plugins: Files = ()
) -> list[Slope]:
    """Compare the analytic gradient of a loss with central differences, in float64.

    Args:
        expression: a loss with its options, or an expression of losses.
        task: the only task to try; all that the losses have by default.
        seed: what the inputs are drawn with.
        plugins: Python files with losses of your own.

    Returns:
        For each task and encoding: the largest difference, and whether all is well, which needs
        finite gradients where predictions are certain, too.

    Raises:
        SettingError: the expression is wrong, or has no gradient.
    """
    from lossbench.training.gradcheck import slopes

    with using(plugins):
        return slopes(expression, task, seed)


def list_weights(names: str | Sequence[str] = ()) -> list[Published]:
    """The published weights that deep losses need, or those of these names.

    Each has `name`, `url`, `sha256`, `size`, `licence`, the `path` where it is on this machine, and
    `fetch()` and `verify()`.

    Raises:
        SettingError: there are none of a name.
    """
    from lossbench.networks.weights import PUBLISHED, published

    return [published(name) for name in _several(names) or PUBLISHED]


def list_conventions() -> list[Convention]:
    """The presets that `convention` may name, each with its rules for the losses that it has."""
    return list(CONVENTIONS.values())


def list_settings(
    of: Literal[
        "run",
        "reading",
        "output",
        "comparison",
        "speed",
        "inspection",
        "thresholds",
        "stress",
        "trend",
    ] = "run",
) -> dict[str, Setting]:
    """The settings by name, each with `type`, `default`, `text`, `flag` and `key` in a config.

    Args:
        of: run, for the parameters of `plan`; reading, for those that `thresholds` has as well;
            output, comparison, speed, inspection, thresholds, stress or trend, for the output of a
            result, a comparison, a speed report, an inspection, thresholds, damages or a trend.
    """
    from lossbench.config.keys import TABLES

    return {each.name: each for each in TABLES[of]}


def load_config(name: str | os.PathLike[str]) -> Config:
    """Read a config file, or a preset: a name without suffix and slash.

    `lossbench.plan(**config.settings)` plans its run, unless it has output settings.

    Raises:
        SettingError: the config cannot be read, or has mistakes: one line for each of them.
    """
    from lossbench.config.load import load

    return load(os.fspath(name))


def gather_settings(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    config: str | None = None,
    *,
    isolated: bool = False,
) -> Config:
    """Combine flags, `LOSSBENCH_*` variables and a config, the first of which has precedence.

    A list replaces that of a lower source.

    Args:
        flags: settings by name.
        environment: a mapping such as `os.environ`.
        config: a file or preset; by default the nearest `lossbench.yaml` here or above.
        isolated: ignore that `lossbench.yaml`.

    Returns:
        `.settings`, the `.origins` of each, and the `.file` that was read.
    """
    from lossbench.config.load import gather

    plugins = {"plugins": file_names(flags["plugins"])} if "plugins" in flags else {}
    return gather({**flags, **plugins}, environment, config, isolated=isolated)


def schema(name: str = "config") -> dict[str, Any]:
    """The JSON Schema of a config or of a result file: `config` or `result`."""
    from lossbench.config import keys
    from lossbench.results.schema import result_schema

    schemas = {"config": keys.schema, "result": result_schema}
    if name not in schemas:
        raise SettingError(f"there is no schema of {name!r}; there are {', '.join(schemas)}")
    return schemas[name]()


def check_path(path: str | os.PathLike[str], *, of: str = "result", force: bool = False) -> None:
    """Refuse a file that could not be written, before anything is computed.

    Args:
        path: the file.
        of: the model to be written, as for `list_formats`, or config.
        force: whether a config may replace a file.

    Raises:
        SettingError: no format has this ending, the folder cannot be written to, or the config
            exists.
    """
    if of == "config":
        from lossbench.choosing.inspection_config import check_config_path

        return check_config_path(os.fspath(path), force=force)
    from lossbench.output import check_path

    check_path(os.fspath(path), of)


def render(model: Model, format: str | None = None, **options: Any) -> str:
    """A result, comparison or report as text.

    Args:
        model: from `evaluate`, `merge`, `compare`, `report`, `measure_speed`, `inspect`,
            `use_cases`, `thresholds`, `stress` or `trend`.
        format: one of `list_formats()` for this model, by default the first.
        **options: those that the format has: `top` and `sort`; `per_class` for a result; for a
            table its further `aggregates`, `width`, `color` and `ascii`; `pictures` for a report;
            `blocks` for a table of thresholds, which draws curves with characters; `last` for a
            trend.

    Raises:
        SettingError: there is no such format or column.
    """
    from lossbench.output import render

    return render(model, format, **options)


def save(model: Model, path: str | os.PathLike[str], **options: Any) -> None:
    """Write a result, comparison or report to a file that appears complete or not at all.

    Args:
        model: as for `render`.
        path: the file, whose ending selects the format.
        **options: as for `render`.

    Raises:
        SettingError: no format has this ending, or there is no such column.
        OutputError: the file cannot be written.
    """
    from lossbench.output import save

    save(model, os.fspath(path), **options)


def list_formats(of: str = "result") -> dict[str, tuple[str, ...]]:
    """The formats of a model, each with the file endings that select it.

    Args:
        of: result, comparison, report, speed, inspection, thresholds, stress or trend.
    """
    return {name: each.suffixes for name, each in formats_of(of).items()}


def list_sections() -> dict[str, str]:
    """The sections that `measure_speed` can measure: name -> description."""
    from lossbench.speed.measure import SECTIONS

    return {name: about for name, (about, _) in SECTIONS.items()}


def measure_speed(
    sections: str | Sequence[str] = (),
    *,
    pairs: int | None = None,
    size: int | None = None,
    repeat: int = 1,
    folder: str | os.PathLike[str] | None = None,
    device: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> Generator[SpeedReport, None, None]:
    """Measure what this machine does: whole processes in turn with their limits.

    Args:
        sections: some of `list_sections()`; all of them by default.
        pairs: of each run, or files of each format; the default depends on the section.
        size: width and height of an image; the default depends on the section.
        repeat: rounds, of which medians are taken.
        folder: where drawn images are kept and used again; by default they are deleted.
        device: auto, cpu, cuda or cuda:N.
        progress: called with a line of text before each step.

    Returns:
        The report after each section, with `.machine`, `.tables` and `.as_json()`, for `save`.

    Raises:
        SettingError: a section, number or folder is wrong.
    """
    from lossbench.speed.measure import measure

    note = progress or (lambda text: None)
    return measure(_several(sections), pairs, size, repeat, folder, device, note)


def _several(names: str | Sequence[str]) -> tuple[str, ...]:
    """One name or a list of names as a list."""
    return (names,) if isinstance(names, str) else tuple(names)
