"""The table of settings, held against all that derives from it: flags, keys, schema, Python."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import click
import numpy as np
import pytest
from lossbench_cli.eval import command
from lossbench_cli.options import setting_option
from PIL import Image

import lossbench
from lossbench.catalog.signatures import arguments, sections
from lossbench.config.keys import KEYS, OUTPUT, VARIABLES
from lossbench.config.load import from_environment
from lossbench.data.planning.vocabulary import FILTERS
from lossbench.engine.settings import BY_NAME, SETTINGS, Settings
from lossbench.engine.value_types import number, text, whole

OPTIONS = {each.name: each for each in command.params}
OF_THE_COMMAND = {"config", "isolated", "exit_zero", "dry_run", "force", "no_progress", "quiet",
                  "verbose", "color", "resume"}  # fmt: skip
IMAGE = np.eye(4, dtype=np.uint8)


def words(text: str) -> str:
    return " ".join(text.split())


def leaves(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key of a config with its schema; a path is also the text in place of its mapping."""
    for name, below in schema["properties"].items():
        mappings = [
            each for each in below.get("anyOf", [below]) if "path" in each.get("properties", {})
        ]
        if mappings or (path == "" and name == "run"):
            yield from leaves((mappings or [below])[0], f"{name}.")
        else:
            yield path + name, below


def test_each_setting_is_an_option_and_no_other_is_but_those_of_the_command() -> None:
    assert OPTIONS.keys() - {each.name for each in KEYS} == OF_THE_COMMAND
    for each in KEYS:
        parameter = OPTIONS[each.name]
        if isinstance(parameter, click.Option):
            assert parameter.opts[-1] == f"--{each.flag}"
            assert words(str(parameter.help)).startswith(words(each.text))
        else:
            assert parameter.human_readable_name.lower() == each.flag


def test_an_option_that_is_left_out_is_the_default() -> None:
    context = command.make_context("eval", ["p", "t"])
    for each in KEYS[2:]:
        assert context.params[each.name] == each.default, each.name


def test_choices_and_bounds_are_those_of_the_table() -> None:
    for each in SETTINGS:
        kind = OPTIONS[each.name].type
        if each.offers_choices:
            assert isinstance(kind, click.Choice)
            assert tuple(kind.choices) == each.type.choices
    assert isinstance(OPTIONS["batch_size"].type, click.IntRange)
    assert OPTIONS["batch_size"].type.min == 1
    assert OPTIONS["divisor"].type.min == 2


def test_the_schema_has_every_key_with_its_text() -> None:
    described = dict(leaves(lossbench.schema()))
    assert set(described) == {each.key for each in KEYS}
    for each in KEYS:
        if not each.key.endswith(".path"):
            assert described[each.key]["description"] == each.text


def test_the_schema_has_the_choices_of_the_table() -> None:
    described = dict(leaves(lossbench.schema()))
    enums = {each.key: list(each.type.choices) for each in KEYS if each.type.kind == "choice"}
    assert len(enums) == 14
    for name in ("accept", "aggregates"):  # one word, or several
        described[name] |= described[name].pop("anyOf")[0]
    assert {key: described[key]["enum"] for key in enums} == enums


def test_the_parameters_of_a_plan_are_the_settings() -> None:
    parameters = inspect.signature(lossbench.plan).parameters
    assert list(parameters) == [each.name for each in SETTINGS]
    for each in SETTINGS:
        if each.default != {}:
            assert parameters[each.name].default == each.default
    positional = [
        name for name, each in parameters.items() if each.kind == each.POSITIONAL_OR_KEYWORD
    ]
    assert positional == ["pred", "target", "losses"]


def test_the_documentation_of_a_plan_is_that_of_the_settings() -> None:
    text = inspect.getdoc(lossbench.plan) or ""
    documented = arguments(sections(text)["Args"])
    assert documented == {each.name: words(each.documentation) for each in SETTINGS}
    assert "Returns: A run" in words(text)
    assert "Raises: SettingError" in words(text)


@pytest.mark.parametrize("each", KEYS, ids=lambda each: each.name)
def test_texts_are_sentences(each: Any) -> None:
    assert each.text[0].isupper()
    assert each.text.endswith(".")
    assert len(each.text) > 10


def test_variables_are_told_apart() -> None:
    assert len(VARIABLES) == len(KEYS)
    assert from_environment({"LOSSBENCH_GT": "there"}).settings == {"target": "there"}


def test_a_result_records_what_makes_it_another_run() -> None:
    result = lossbench.evaluate([IMAGE], [IMAGE], "dice", threshold=0.25, workers=1)
    recorded = result.run["settings"]
    assert list(recorded) == [each.name for each in SETTINGS if each.recorded]
    unrecorded = {"pred", "target", "losses", "inputs", "weights", "offline", "strict", "accept",
                  "baseline", "device", "workers", "batch_size", "shard", "engine"}  # fmt: skip
    assert set(BY_NAME) - set(recorded) == unrecorded
    again = Settings.from_record(recorded, gates="dice.mean <= 1")
    assert (again.threshold, again.gates, again.workers) == (0.25, ("dice.mean <= 1",), None)
    assert Settings.from_record({"threshold": 0.25, "of_a_later_version": 1}).threshold == 0.25


def test_settings_of_lower_sources_that_are_replaced_are_settings() -> None:
    assert {name for each in KEYS for name in each.replaces} <= set(BY_NAME)


def test_one_value_stands_for_a_list_of_one() -> None:
    settings = Settings(losses="dice", gates="dice.mean <= 1", plugins="mine.py")
    assert (settings.losses, settings.gates, settings.plugins) == (
        ("dice",),
        ("dice.mean <= 1",),
        ("mine.py",),
    )


def test_filters_are_those_of_pillow() -> None:
    assert all(hasattr(Image.Resampling, name.upper()) for name in FILTERS)


@pytest.mark.parametrize(
    ("name", "wrong", "advice"),
    [
        ("task", "binry", "one of binary, multiclass"),
        ("missing", "wrost", "(did you mean 'worst'?)"),
        ("resize", "cubic", "one of nearest, bilinear, not 'cubic'"),
    ],
)
def test_choices_are_checked_from_python(name: str, wrong: str, advice: str) -> None:
    with pytest.raises(lossbench.SettingError, match=name) as caught:
        Settings(**{name: wrong})
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "typed", "value"),
    [
        (whole(0, "all"), ["all"], None),
        (whole(0, "all"), ["3"], 3),
        (whole(2), ["3"], 3),
        (number(0, 1), ["0.5"], 0.5),
        (text("a word"), ["x"], "x"),
        (text("a word", many="repeated"), ["x", "y"], ("x", "y")),
    ],
)
def test_an_option_reads_the_type_of_its_setting(kind: Any, typed: list[str], value: Any) -> None:
    setting = type(OUTPUT[0])("trial", None, kind, "A trial.", short="t")

    @click.command()
    @setting_option(setting)
    def trial(**options: Any) -> None:
        pass

    flags = [word for each in typed for word in ("-t", each)]
    assert trial.make_context("trial", flags).params == {"trial": value}
