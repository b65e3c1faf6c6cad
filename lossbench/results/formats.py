"""Registry of output formats: one module and one row each.

A format's module has one function per model: `render_result(result, **options)` returns text; in a
binary format, `write_result(result, path, **options)` writes the file. Modules are named as strings
so that listing the formats imports none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from lossbench.errors import SettingError

MODELS = {
    "Result": "result",
    "Comparison": "comparison",
    "Report": "report",
    "SpeedReport": "speed",
    "Inspection": "inspection",
    "UseCases": "inspection",
    "Thresholds": "thresholds",
    "DetectionThresholds": "thresholds",
    "Trend": "trend",
    "Stress": "stress",
}
TABLES = ("result", "comparison")


@dataclass(frozen=True)
class Format:
    """An output format.

    Attributes:
        name: as `--format` and `lossbench.render` call it.
        suffixes: file endings that select it.
        models: what can be written in it.
        module: the module that writes it; by default that of its name in `lossbench.output`.
        binary: whether it is written as a file only and never printed.
        terminal: whether it follows the terminal's width and colour.
        for_people: whether it only serves reading; `--quiet` omits it.
        reader: the module that reads a result back, with `read_model` and `read_samples`.
        package: the optional package that it needs.
        advice: how to get that package, or what to use instead.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    models: tuple[str, ...] = ("result",)
    module: str = ""
    binary: bool = False
    terminal: bool = False
    for_people: bool = False
    reader: str = ""
    package: str = ""
    advice: str = ""

    def require_package(self) -> None:
        """Raise a SettingError if the optional package is missing; it is not imported."""
        if self.package and find_spec(self.package) is None:
            raise SettingError(self.advice)

    def writer(self, model: str) -> Any:
        """The function that writes a model."""
        self.require_package()
        verb = "write" if self.binary else "render"
        module = import_module(self.module or f"lossbench.output.{self.name}")
        return getattr(module, f"{verb}_{model}")


FORMATS = (
    Format(
        "table",
        models=(*TABLES, "speed", "inspection", "thresholds", "stress", "trend"),
        terminal=True,
        for_people=True,
    ),
    Format(
        "text",
        (".txt",),
        (*TABLES, "thresholds", "trend"),
        module="lossbench.output.table",
        for_people=True,
    ),
    Format(
        "json",
        (".json",),
        (*TABLES, "speed", "inspection", "thresholds", "stress", "trend"),
        reader="lossbench.results.json_reader",
    ),
    Format("jsonl", (".jsonl", ".ndjson"), reader="lossbench.results.jsonl_reader"),
    Format("csv", (".csv",), (*TABLES, "thresholds", "trend")),
    Format("markdown", (".md",), (*TABLES, "inspection", "stress", "trend"), for_people=True),
    Format("junit", (".xml",), TABLES),
    Format("github", models=TABLES),
    Format(
        "plot",
        (".svg", ".png", ".pdf"),
        ("thresholds",),
        module="lossbench.output.threshold_plot",
        binary=True,
        package="matplotlib",
        advice="figures need matplotlib: pip install 'lossbench[plot]'",
    ),
    Format(
        "plot",
        (".svg", ".png", ".pdf"),
        ("comparison", "trend"),
        binary=True,
        package="matplotlib",
        advice="figures need matplotlib: pip install 'lossbench[plot]'",
    ),
    Format(
        "plot",
        (".svg", ".png", ".pdf"),
        ("stress",),
        module="lossbench.output.stress_plot",
        binary=True,
        package="matplotlib",
        advice="figures need matplotlib: pip install 'lossbench[plot]'",
    ),
    Format("html", (".html", ".htm"), ("report",), module="lossbench.reporting.page"),
    Format(
        "html", (".html", ".htm"), ("thresholds",), module="lossbench.reporting.thresholds_page"
    ),
    Format(
        "html", (".html", ".htm"), ("comparison",), module="lossbench.reporting.comparison_page"
    ),
    Format(
        "html", (".html", ".htm"), ("inspection",), module="lossbench.reporting.inspection_page"
    ),
    Format("html", (".html", ".htm"), ("trend",), module="lossbench.reporting.trend_page"),
    Format(
        "parquet",
        (".parquet",),
        binary=True,
        reader="lossbench.results.parquet_reader",
        package="pyarrow",
        advice="Parquet needs pyarrow: pip install 'lossbench[parquet]', or use .jsonl",
    ),
)
READABLE = {suffix: each for each in FORMATS if each.reader for suffix in each.suffixes}


def formats_of(model: str) -> dict[str, Format]:
    """The formats of a model by name: result, comparison, report, speed and others of MODELS."""
    if model not in MODELS.values():
        known = " and ".join(dict.fromkeys(MODELS.values()))
        raise SettingError(f"there are formats of {known}, not of {model!r}")
    return {each.name: each for each in FORMATS if model in each.models}


def text_formats(model: str) -> list[str]:
    """Names of the formats in which a model can be printed."""
    return [name for name, each in formats_of(model).items() if not each.binary]


def file_endings(model: str) -> dict[str, Format]:
    """The file endings that select a format of a model."""
    return {suffix: each for each in formats_of(model).values() for suffix in each.suffixes}
