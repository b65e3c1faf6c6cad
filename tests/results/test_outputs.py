"""Every format of a result, read back by something that we did not write."""

from __future__ import annotations

import csv
import json
import math
import re
import subprocess
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from helpers.paths import SAMPLES
from junitparser import JUnitXml
from markdown_it import MarkdownIt
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

import lossbench
from lossbench.errors import printable
from lossbench.output.markdown import escaped
from lossbench.output.sections import Section, screen_sections
from lossbench.output.table import render_sections
from lossbench.results.formats import FORMATS, MODELS, formats_of
from lossbench.results.result import Result

GOLD = Path(__file__).parent / "gold"
STRANGE = [
    "plain", "with, comma", 'with "quotes"', "two\nlines", "=1+2", "a|b", "`code`", "[link](x)",
    "<b>bold</b>", "_under_ *star*", "bell\x07", "ünï\u0301", "100%: a, b", "図 1",
]  # fmt: skip


def result_of(**how: Any) -> Result:
    """Samples with strange ids; one undefined, one infinite, one that fails, one gate that does."""
    rng = np.random.default_rng(0)
    pred = {name: rng.integers(0, 3, (6, 7)).astype(np.uint8) for name in STRANGE}
    target = {name: rng.integers(0, 3, (6, 7)).astype(np.uint8) for name in STRANGE}
    pred["plain"] = target["plain"].copy()
    target["a|b"] = np.zeros((6, 7), np.uint8)
    pred["a|b"] = pred["a|b"].astype(np.uint8) * 0
    pred["broken"], target["broken"] = np.zeros((2, 2), np.uint8), np.zeros((3, 3), np.uint8)
    losses = ["dice", "psnr", "recall", "half = 0.5*dice"]
    gates = ["dice.mean <= 0.01", "dice.max <= 1", "psnr.infinite == 0"]
    given = {"task": "multiclass", "classes": ["sky", "road, wet", "car [old]"], "gates": gates}
    return lossbench.evaluate(pred, target, losses, **given | how)


@pytest.fixture(scope="module")
def result() -> Result:
    return result_of()


def test_json_lines_are_the_result_file(result):
    lines = [json.loads(line) for line in lossbench.render(result, "jsonl").splitlines()]
    whole = json.loads(lossbench.render(result, "json"))
    assert "run" in lines[0]
    assert lines[0] | {"samples": lines[1:-1]} | lines[-1] == whole


def test_json_lines_without_classes_are_the_file_without_them(result):
    lines = [json.loads(x) for x in lossbench.render(result, "jsonl", per_class=False).splitlines()]
    assert all("classes" not in line for line in lines[1:-1])


def test_csv_is_read_by_csv_and_pandas_digit_for_digit(result):
    text = lossbench.render(result, "csv")
    rows = {row["id"]: row for row in csv.DictReader(StringIO(text))}
    frame = pandas.read_csv(StringIO(text), index_col="id", float_precision="round_trip")
    assert sorted(rows) == list(rows) == list(frame.index) == sorted([*STRANGE, "broken"])
    for name, values in result.values.items():
        for place, each in enumerate(result.ids):
            value = values.samples[place]
            assert rows[each][name] == ("" if math.isnan(value) else repr(value))
            assert repr(float(frame.loc[each, name])) == repr(float(value))
    for of_class, values in zip(result.class_names, result.values["dice"].classes, strict=True):
        found = frame.loc[result.ids, f"dice[{of_class}]"]
        assert [repr(float(x)) for x in found] == [repr(float(x)) for x in values]
    assert rows["broken"]["error"] == result.failed[0].message
    assert not frame.loc["plain", ["error"]].notna().any()


def test_csv_has_infinities_that_pandas_knows(result):
    frame = pandas.read_csv(StringIO(lossbench.render(result, "csv")), index_col="id")
    assert frame.loc["plain", "psnr"] == math.inf
    assert math.isnan(frame.loc["a|b", "recall[car [old]]"])


def test_csv_leaves_class_columns_out_on_request(result):
    frame = pandas.read_csv(StringIO(lossbench.render(result, "csv", per_class=False)))
    assert list(frame) == ["id", "dice", "psnr", "recall", "half", "error"]


def test_csv_has_the_group_of_each_sample():
    images = {f"{patient}/{n}": np.eye(4, dtype=np.uint8) for patient in "ab" for n in range(2)}
    found = lossbench.evaluate(images, images, "dice", task="binary", group_by="{patient}/{n}")
    frame = pandas.read_csv(StringIO(lossbench.render(found, "csv")))
    assert list(frame["group"]) == ["a", "a", "b", "b"]
    assert list(frame) == ["id", "group", "dice", "error"]


def cells(text: str) -> list[list[list[str]]]:
    """The tables of a Markdown text as a renderer understands them: rows of plain text."""
    tables: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type == "inline" and tables and len(tables[-1]) and token.level > 3:
            kinds = {child.type for child in token.children or []}
            assert kinds <= {"text", "text_special"}, kinds
            tables[-1][-1].append("".join(child.content for child in token.children or []))
    return tables


def test_markdown_shows_every_id_as_it_is(result):
    tables = cells(lossbench.render(result, "markdown", top=None, per_class=True))
    worst, classes, aggregates = tables
    shown = {row[0] for row in worst[1:]}
    assert shown == {name.replace("\n", r"\n").replace("\x07", r"\x07") for name in STRANGE}
    assert worst[0] == ["id", "dice ↓", "psnr ↑", "recall ↑", "half ↓"]
    assert [row[0] for row in classes[1:]] == ["sky", "road, wet", "car [old]"]
    assert all(len(row) == 5 for table in tables for row in table)
    assert aggregates[1][1] == f"{result.aggregates['dice']['mean']:.4f}"


def test_markdown_lists_gates_and_errors(result):
    html = MarkdownIt("commonmark").enable("table").render(lossbench.render(result, "markdown"))
    assert "<li>✗ dice.mean" in html
    assert "<li>✓ dice.max" in html
    assert "<h3>Errors</h3>" in html
    assert "broken" not in html or "2×2" in html
    assert "<b>" not in html


@pytest.mark.parametrize("text", [*STRANGE, "#1", "- item", "1. item", "~~gone~~", "&amp;", "$x$"])
def test_escaped_text_is_rendered_as_it_was(text):
    (token,) = [t for t in MarkdownIt("commonmark").parse(f"x {escaped(text)}") if t.children]
    shown = "".join(child.content for child in token.children)
    assert shown == "x " + text.replace("\n", r"\n").replace("\x07", r"\x07")


def test_junit_is_read_by_a_parser(result, tmp_path):
    path = tmp_path / "junit.xml"
    lossbench.save(result, path)
    (suite,) = JUnitXml.fromfile(str(path))
    assert (suite.tests, suite.failures, suite.errors) == (4, 2, 1)
    cases = {case.name: case for case in suite}
    assert list(cases) == ["dice.mean <= 0.01", "dice.max <= 1", "psnr.infinite == 0", "broken"]
    (failure,) = cases["dice.mean <= 0.01"].result
    assert failure.message == str(result.decisions[0])
    assert not cases["dice.max <= 1"].result
    (error,) = cases["broken"].result
    assert (error.type, error.message) == ("size", result.failed[0].message)
    properties = {each.name: each.value for each in suite.properties()}
    assert properties["plan"] == result.run["plan"]["text"]
    assert properties["evaluated"] == str(len(STRANGE))


def test_junit_without_gates_and_errors_is_an_empty_suite(tmp_path):
    image = [np.eye(3, dtype=np.uint8)]
    path = tmp_path / "junit.xml"
    again = [each.copy() for each in image]
    lossbench.save(lossbench.evaluate(again, image, "dice", task="binary"), path)
    (suite,) = JUnitXml.fromfile(str(path))
    assert suite.tests == 0


def test_annotations_follow_the_rules_of_workflow_commands():
    """GitHub's rules: % CR LF are escaped in a message, : and , in a property as well."""
    found = result_of()
    found.failed[0] = type(found.failed[0])(
        "x", "pred", "dir, a:b/100%.png", "size", "dir/100%.png\nis small"
    )
    lines = lossbench.render(found, "github").splitlines()
    assert lines[0].startswith("::error title=gate failed::dice.mean ")
    wanted = "::error file=dir%2C a%3Ab/100%25.png,title=size input::dir/100%25.png%0Ais small"
    assert lines[-1] == wanted
    assert len(lines) == 3


def drawn_by_rich(section: Section) -> str:
    """A table with its title, as rich draws it where there is room."""
    console = Console(file=StringIO(), width=10_000)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, heading in enumerate(section.headings):
        table.add_column(Text(heading), justify="left" if index in section.left else "right")
    for row in section.rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(Text(section.title), table, sep="\n")
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


@pytest.mark.parametrize(
    "how", [{}, {"top": None}, {"sort": "psnr", "per_class": True}, {"aggregates": ["all"]}]
)
def test_a_table_is_what_rich_draws_where_there_is_room(how):
    """Wide letters and combining ones included."""
    found = result_of(gates=[])
    sections = screen_sections(found, **{"top": 10, "sort": None, "per_class": None} | how)
    assert lossbench.render(found, "table", **how) == "\n".join(map(drawn_by_rich, sections))


NARROW = """\
narrow
id            dice ↓
────────────────────
folder/of     0.5000
the second
scan/
図図図図図
図図
b                inf

                a long
id              loss ↑
──────────────────────
folder/of    1234.5000
the second
scan/
図図図図図
図図
b                    –
"""


def test_a_narrow_table_folds_names_and_headings_but_no_number():
    rows = [("folder/of the second scan/図図図図図図図", "0.5000", "1234.5000"), ("b", "inf", "–")]
    section = Section("narrow", ("id", "dice ↓", "a long loss ↑"), rows)
    assert render_sections([section], width=20) == NARROW
    assert render_sections([section], width=10_000) == render_sections([section])


def test_a_terminal_gets_bold_headings_and_coloured_gates(result):
    styled = lossbench.render(result, "table", color=True)
    plain = lossbench.render(result, "table")
    assert re.sub(r"\x1b\[[0-9;]*m", "", styled) == plain
    assert "\x1b[1mworst 10 of 14 by dice\x1b[0m\n" in styled
    assert "\x1b[1;31m✗ dice.mean" in styled
    assert "\x1b[32m✓ dice.max" in styled


def test_text_is_the_table_without_a_terminal(result):
    assert lossbench.render(result, "text") == lossbench.render(result, "table")


@pytest.mark.parametrize("format", ["table", "markdown"])
def test_top_and_sort_reach_what_people_read(result, format):
    text = lossbench.render(result, format, top=2, sort="recall")
    assert "worst 2 of 14 by recall" in text


def test_an_unknown_format_names_those_that_there_are(result):
    with pytest.raises(lossbench.SettingError, match="table, text, json, jsonl, csv, markdown"):
        lossbench.render(result, "yaml")


def test_an_unknown_aggregate_is_refused_with_the_closest_one(result):
    with pytest.raises(lossbench.SettingError, match=r"no aggregate is called 'stdd'.*'std'"):
        lossbench.render(result, aggregates="stdd")


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
def test_each_row_of_the_registry_names_functions_and_endings_of_its_own(format):
    for model in format.models:
        assert callable(format.writer(model))
        endings = [each for other in formats_of(model).values() for each in other.suffixes]
        assert all(endings.count(each) == 1 and each.startswith(".") for each in format.suffixes)
    assert {*format.models} <= {*MODELS.values()}
    assert not format.reader or "result" in format.models


def test_a_model_of_another_kind_is_refused():
    with pytest.raises(
        lossbench.SettingError, match=r"expected a Result, Comparison, .* found a dict"
    ):
        lossbench.render({}, "json")


# --- as files, and from the command line ----------------------------------------------------------

Command = Callable[..., subprocess.CompletedProcess[str]]
PLATES = [SAMPLES / "binary" / "pred", SAMPLES / "binary" / "gt"]


# Those that round: every digit of the others is for the machine at hand.
ROUNDED = ("table", "text", "markdown", "junit", "github")


def gold(format: str) -> str:
    """A small run in one format, with a gate that fails and one that holds."""
    gates = ["dice.mean <= 0.2", "iou.p25 >= 0.5"]
    found = lossbench.evaluate(*map(str, PLATES), ["dice", "iou", "psnr"], gates=gates)
    found.session = {}
    return lossbench.render(found, format, top=3)


@pytest.mark.parametrize("format", ROUNDED)
def test_whole_output_is_as_it_was(format):
    """`python tests/test_outputs.py` writes the files anew."""
    assert gold(format) == (GOLD / f"result.{format}").read_text("utf-8")


def test_every_ending_gives_its_format(lossbench_command: Command, tmp_path: Path):
    endings = {e: f for f, every in lossbench.list_formats().items() for e in every}
    outputs = [word for ending in endings for word in ("-o", tmp_path / f"r{ending}")]
    done = lossbench_command("eval", *PLATES, "-l", "dice", "--top", 2, *outputs)
    assert done.returncode == 0, done.stderr
    starts = {"json": "{\n", "jsonl": '{"schema"', "csv": "id,dice", "markdown": "## ",
              "junit": "<?xml", "text": "12 pairs", "parquet": "PAR1"}  # fmt: skip
    for ending, format in endings.items():
        assert (tmp_path / f"r{ending}").read_bytes().startswith(starts[format].encode()), ending


def test_the_summary_of_a_workflow_is_appended(lossbench_command: Command, tmp_path: Path):
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n")
    how = {"env": {"GITHUB_STEP_SUMMARY": str(summary), "PATH": "/usr/bin:/bin"}}
    arguments = ["eval", *PLATES, "-l", "dice", "--gate", "dice.mean <= 0.1", "-f", "github"]
    done = lossbench_command(*arguments, **how)
    assert done.returncode == 1
    assert done.stdout == "::error title=gate failed::dice.mean 0.226 > 0.1\n"
    assert summary.read_text("utf-8").startswith("# before\n## lossbench\n")
    elsewhere = lossbench_command(*arguments, env={"PATH": "/usr/bin:/bin"})
    assert "## lossbench" in elsewhere.stdout


def test_a_summary_that_cannot_be_written_is_an_error(lossbench_command: Command, tmp_path: Path):
    how = {"env": {"GITHUB_STEP_SUMMARY": str(tmp_path / "no" / "folder"), "PATH": "/usr/bin:/bin"}}
    done = lossbench_command("eval", *PLATES, "-l", "dice", "-f", "github", **how)
    assert done.returncode == 4
    assert "GITHUB_STEP_SUMMARY" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_ending_is_refused_before_anything_is_read(lossbench_command: Command):
    done = lossbench_command("eval", "no", "folders", "-o", "result.docx")
    assert done.returncode == 2
    assert ".csv" in done.stderr


if __name__ == "__main__":
    GOLD.mkdir(exist_ok=True)
    for name in ROUNDED:
        (GOLD / f"result.{name}").write_text(gold(name), "utf-8")
