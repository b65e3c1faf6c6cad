"""The Python interface: what the command line uses, and nothing else of the inside."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lossbench.catalog import registry
from lossbench.catalog.conventions import CONVENTIONS, Convention
from lossbench.catalog.plugins import using
from lossbench.catalog.registry import Entry
from lossbench.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor

    from lossbench.config.load import Config
    from lossbench.engine.merge import Merge
    from lossbench.engine.progress import Progress
    from lossbench.engine.run import Run
    from lossbench.networks.weights import Published
    from lossbench.reporting.report import Report
    from lossbench.results.compare import Comparison
    from lossbench.results.result import Result
    from lossbench.speed.report import SpeedReport
    from lossbench.training.gradcheck import Slope

Files = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def plan(
    pred: Any = None,
    target: Any = None,
    losses: str | Sequence[str] = (),
    *,
    manifest: str | os.PathLike[str] | None = None,
    inputs: Mapping[str, Any] | None = None,
    task: str | None = None,
    classes: Any = None,
    ignore: Any = None,
    threshold: float = 0.5,
    empty: float | str | None = None,
    convention: str = "lossbench",
    pred_encoding: str | None = None,
    gt_encoding: str | None = None,
    pred_pattern: str | None = None,
    gt_pattern: str | None = None,
    missing: str = "error",
    extra: str = "error",
    resize: str | None = None,
    divisor: int | None = None,
    things: str | Sequence[str] | None = None,
    weights: Mapping[str, str | os.PathLike[str]] | None = None,
    offline: bool = False,
    gates: str | Sequence[str | Mapping[str, Any]] = (),
    baseline: Any = None,
    plugins: Files = (),
    device: str = "auto",
    workers: int | None = None,
    batch_size: int = 512,
    group_by: str | None = None,
    shard: str | None = None,
    engine: str = "local",
) -> Run:
    """Pair the files, decide how they are read and check every setting; compute nothing.

    Args:
        pred: a folder, a file, a zip or tar archive or a path into one, a URL, or arrays in
            memory: a mapping id -> array, or a sequence; a panoptic JSON file with its PNGs
            beside it, or COCO's results.json, with its instances.json as target.
        target: the ground truth, likewise.
        losses: expressions such as "dice" or "0.5*dice + 0.5*bce"; none for the task's usual ones.
        manifest: in place of pred, target and inputs: a table (CSV, TSV, Parquet, "-" for stdin)
            with the columns pred and gt and, where wanted, id, further roles and groups.
        inputs: further roles: `weight` (maps), `ignore` and `valid` (masks), `instances` (labels),
            and those that losses ask for by the name of a parameter, such as `negative`.
        task: binary, multiclass, multilabel, image, instances, detection, vectors, scores or
            records; found out where it is not given, from instances on by the losses or by JSON.
        classes: a number, names, {value: name} or {name: [r, g, b]}.
        ignore: a target label, a range "250-255", a list of them, or "none".
        threshold: probability from which a pixel is foreground, for scores.
        empty: what replaces an undefined value, or "skip"; by default as the convention has it.
        convention: whose defaults the losses have, such as "monai"; "all" for a row of each.
        pred_encoding: labels, mask, probability, logits, image, palette or instances.
        gt_encoding: likewise.
        pred_pattern: such as "{id}_pred.png"; with {class}, one file a class.
        gt_pattern: likewise, of the further roles too.
        missing: what a missing prediction is: error, skip, or worst for the bad end of the range.
        extra: what a prediction without ground truth is: error or skip.
        resize: nearest or bilinear, for predictions of another size than their ground truth.
        divisor: labels of an instance map are class · divisor + instance.
        things: names of the classes whose instances these maps tell apart; pixels of such a class
            without an instance are a crowd, and each other class of an image is one segment.
        weights: files of networks by name, such as {"vgg16": "vgg16-397923af.pth"}; by default
            those of a cache, else they are downloaded.
        offline: download nothing.
        gates: such as "dice.mean <= 0.15"; {"gate": ..., "warn": True} reports without failing.
        baseline: an earlier result (a file or a Result) that gates may name.
        plugins: Python files with losses of your own.
        device: cpu, cuda or cuda:N; auto is a GPU where there is one and a loss needs the pixels.
        workers: pairs that are read at a time; all cores by default.
        batch_size: pairs that are evaluated together at most, where they are counted.
        group_by: a pattern over the ids such as "{patient}/{slice}", grouped by all names but the
            last; or columns of the manifest, with commas.
        shard: "3/16" for the third of sixteen runs that share the pairs; see `lossbench.merge`.
        engine: local; dask for a cluster on this machine that lives as long as the run; or the
            address of a Dask scheduler, whose workers see the same files.

    Returns:
        A run: `.plan`, `.pairing`, `.columns`, `.settings`, and `.evaluate()`.

    Raises:
        SettingError: a setting, loss or gate is wrong.
        InputError: a folder is missing or empty, or nothing matches.
    """
    from lossbench.engine.prepare import prepare
    from lossbench.engine.settings import Settings

    paths = _paths(plugins)
    with using(paths):
        settings = Settings(
            inputs=dict(inputs or {}),
            manifest=None if manifest is None else os.fspath(manifest),
            group_by=group_by,
            task=task,
            classes=classes,
            ignore=ignore,
            threshold=threshold,
            empty=empty,
            convention=convention,
            pred_encoding=pred_encoding,
            gt_encoding=gt_encoding,
            pred_pattern=pred_pattern,
            gt_pattern=gt_pattern,
            missing=missing,
            extra=extra,
            resize=resize,
            divisor=divisor,
            things=things,
            weights={name: os.fspath(file) for name, file in (weights or {}).items()},
            offline=offline,
            gates=(gates,) if isinstance(gates, str) else tuple(gates),
            baseline=baseline,
            plugins=paths,
            device=device,
            workers=workers,
            batch_size=batch_size,
            shard=shard,
            engine=engine,
        )
        return prepare(pred, target, _several(losses), settings)


def evaluate(
    pred: Any = None,
    target: Any = None,
    losses: str | Sequence[str] = (),
    *,
    progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> Result:
    """How wrong predictions are: one value a sample and loss, and what they aggregate to.

    Args:
        pred: a folder, a file, or arrays in memory: a mapping id -> array, or a sequence.
        target: the ground truth, likewise.
        losses: expressions such as "dice" or "0.5*dice + 0.5*bce"; none for the task's usual ones.
        progress: called after each batch.
        **settings: as for `lossbench.plan`.

    Returns:
        The result: `.ids`, `.values`, `.aggregates`, `.failed`, `.decisions`, `.exit_status`, and
        with `group_by` also `.groups`, `.group_aggregates`, `.over_groups`.
    """
    return plan(pred, target, losses, **settings).evaluate(progress)


def plan_merge(files: Files, *, baseline: Any = None) -> Merge:
    """Check that result files of all shards of a run fit together; compute nothing.

    Args:
        files: the results of runs with `shard="1/3"`, `"2/3"`, `"3/3"` and otherwise alike.
        baseline: an earlier result that their gates name.

    Returns:
        `.run`, and `.evaluate()` for the result, which is that of one run to the last bit.

    Raises:
        InputError: one is no shard, some overlap, are missing, or are of different runs.
    """
    from lossbench.engine.merge import plan_merge

    return plan_merge(_paths(files), baseline)


def merge(files: Files, *, baseline: Any = None) -> Result:
    """The result of a run from those of all its shards; see `plan_merge`."""
    return plan_merge(files, baseline=baseline).evaluate()


def compare(
    files: Files,
    losses: str | Sequence[str] = (),
    *,
    per_class: bool = False,
) -> Comparison:
    """Hold result files against the first of them, sample by sample.

    Args:
        files: two or more, as JSON, JSON Lines or Parquet.
        losses: the columns to compare, such as "dice" or "dice[road]"; by default all that the
            results have in common.
        per_class: compare their classes as well.

    Returns:
        `.measured`, `.ids`, `.values` by name (files, samples), `.change(1, measured[0])` with
        `.difference`, `.aggregates`, `.means`, `.counts` and `.verdict`, `.worsened(…)`, `.ranks`,
        `.notes`, and `.render()` and `.save()` for what `lossbench compare` prints.

    Raises:
        SettingError: there is one file only, or not all have a loss that is named.
        InputError: a file is no result, or they have no loss or no sample in common.
    """
    from lossbench.results.compare import compare

    return compare(_paths(files), _several(losses), per_class=per_class)


def report(
    file: str | os.PathLike[str],
    losses: str | Sequence[str] = (),
    *,
    pred: str | os.PathLike[str] | None = None,
    target: str | os.PathLike[str] | None = None,
) -> Report:
    """A result file as a page: aggregates, distributions, every sample, the worst as pictures.

    Args:
        file: a result as JSON, JSON Lines or Parquet.
        losses: the columns to show, such as "dice" or "dice[road]"; all by default.
        pred: where the predictions are, if not where the run read them.
        target: where the ground truth is, likewise.

    Returns:
        `.measured`, `.ids`, `.values` by name (samples,), `.worst(…)`, `.histogram(…)`, and
        `.render()` and `.save(path)` for the page, with `top`, `pictures` and `sort`.

    Raises:
        SettingError: the result has no such loss.
        InputError: the file is no result.
    """
    from lossbench.reporting.report import report

    places = (None if each is None else os.fspath(each) for each in (pred, target))
    return report(os.fspath(file), _several(losses), *places)


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

    with using(_paths(plugins)):
        return tensor_loss(name, {name: os.fspath(file) for name, file in (weights or {}).items()})


def list_losses(family: str | None = None, *, plugins: Files = ()) -> list[Entry]:
    """The catalogue with the losses of plugins, or one family of it, as its source states it."""
    with using(_paths(plugins)):
        return [each for each in registry.entries() if family in (None, each.family)]


def find_loss(name: str, *, plugins: Files = ()) -> Entry:
    """One loss of the catalogue, by name or alias; an unknown name offers the nearest."""
    with using(_paths(plugins)):
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

    with using(_paths(plugins)):
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


def load_config(name: str | os.PathLike[str]) -> Config:
    """The settings of a config file, or of a preset where the name has no ending and no slash.

    `lossbench.plan(**config.settings)` runs it where it has no output options.

    Raises:
        SettingError: it cannot be read, or with a line for each thing that is wrong in it.
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
    """Flags over `LOSSBENCH_*` variables over a config; a list of one replaces that of another.

    Args:
        flags: settings that were given by hand, by name.
        environment: such as `os.environ`.
        config: a file or preset; by default the nearest `lossbench.yaml`, upwards from here.
        isolated: do without that one.

    Returns:
        `.settings`, `.origins` of each, and the `.file` that was read.
    """
    from lossbench.config.load import gather

    given = {**flags, "plugins": _paths(flags["plugins"])} if "plugins" in flags else flags
    return gather(given, environment, config, isolated=isolated)


def schema(name: str = "config") -> dict[str, Any]:
    """The JSON Schema of a config or of a result file: `config` or `result`."""
    from lossbench.config import keys
    from lossbench.output.schema import result_schema

    schemas = {"config": keys.schema, "result": result_schema}
    if name not in schemas:
        raise SettingError(f"there is no schema of {name!r}; there are {', '.join(schemas)}")
    return schemas[name]()


def check_path(path: str | os.PathLike[str], *, of: str = "result") -> None:
    """Refuse a file that could not be written, before anything is computed.

    Args:
        path: the file.
        of: what will be in it, as for `list_formats`.

    Raises:
        SettingError: an ending without a format, or a folder that cannot be written to.
    """
    from lossbench.output import check_path

    check_path(os.fspath(path), [each for some in list_formats(of).values() for each in some])


def render(result: Result, format: str = "table", **how: Any) -> str:
    """A result as text.

    Args:
        result: what `evaluate` returned.
        format: one of `list_formats()`.
        **how: top, sort and per_class, for the formats that have them; width and color of a table.
    """
    from lossbench.output import render

    return render(result, format, **how)


def list_formats(of: str = "result") -> dict[str, tuple[str, ...]]:
    """The formats of results, each with the endings of files that are written in it.

    Args:
        of: result; comparison or report for the formats of those.
    """
    from lossbench.output import ENDINGS, FILES, FORMATS, PAGES, comparison

    known = {
        "result": ([*FORMATS, *FILES], ENDINGS),
        "comparison": ([*comparison.FORMATS], comparison.ENDINGS),
        "report": (["html"], PAGES),
    }
    if of not in known:
        raise SettingError(f"there are formats of {' and '.join(known)}, not of {of!r}")
    formats, endings = known[of]
    return {
        format: tuple(ending for ending, its in endings.items() if its == format)
        for format in formats
    }


def save(result: Result, path: str | os.PathLike[str], **how: Any) -> None:
    """Write a result to a file that appears whole or not at all; its ending tells the format.

    Raises:
        OutputError: it cannot be written.
    """
    from lossbench.output import write

    write(result, os.fspath(path), **how)


def list_sections() -> dict[str, str]:
    """What `measure_speed` can measure: sections by name, each with what it is about."""
    from lossbench.speed.measure import SECTIONS

    return {name: section.about for name, section in SECTIONS.items()}


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
    """What this machine does: whole processes in turn with the limits that they cannot pass.

    Args:
        sections: some of `list_sections()`; all of them by default.
        pairs: of each run, or files of each format; by default a number for each section.
        size: width and height of a picture, likewise.
        repeat: rounds, of which medians are taken.
        folder: where drawn pictures are kept and found again; by default they go.
        device: auto, cpu, cuda or cuda:N.
        progress: told in a few words what is being done.

    Returns:
        The report after each section, with `.machine`, `.tables`, `.as_json()`, `.save(path)`.

    Raises:
        SettingError: a section, number or folder is wrong.
    """
    from lossbench.speed.measure import measured

    note = progress or (lambda text: None)
    return measured(_several(sections), pairs, size, repeat, folder, device, note)


def _paths(given: Files) -> tuple[str, ...]:
    each = (given,) if isinstance(given, str | os.PathLike) else given
    return tuple(os.fspath(path) for path in each)


def _several(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
