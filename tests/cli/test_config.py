"""Configs: every mistake at its place, the order of sources, discovery, presets, and gates that
only warn. Lines and columns are counted by hand in the texts that stand here."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from helpers.paths import SAMPLES

import lossbench
from lossbench.config.keys import KEYS
from lossbench.config.load import find, from_environment
from lossbench.engine.settings import known_roles

BINARY = (str(SAMPLES / "binary" / "pred"), str(SAMPLES / "binary" / "gt"))
PRESETS = {  # preset: the sample that it is run on
    "binary": "binary",
    "multiclass": "multiclass",
    "multilabel": "multilabel",
    "medical": "medical",
    "restoration": "image",
    "perceptual": "image",
    "style": "style",
    "adversarial": "adversarial",
    "detection": "detection",
    "ci-gate": "binary",
}
TASKS = "binary, multiclass, multilabel, image, instances, detection, vectors, scores or records"
Run = Callable[..., CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Away from configs and variables of the machine."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("LOSSBENCH_")]:
        monkeypatch.delenv(name)


def load(text: str, name: str = "gate.yaml") -> lossbench.config.load.Config:
    Path(name).write_text(text, "utf-8")
    return lossbench.load_config(name)


def problems(text: str) -> list[str]:
    """What is wrong with a config, a line each; carets and what they point into left out."""
    with pytest.raises(lossbench.SettingError) as caught:
        load(text)
    assert caught.value.exit_status == 2
    return [line for line in str(caught.value).splitlines() if not line.startswith("  ")]


def settings(text: str) -> dict[str, Any]:
    return load(text).settings


# What a config says


def test_every_key_is_read_into_the_setting_that_it_is() -> None:
    config = load("""\
task: multiclass
pred: {path: pred, encoding: labels, pattern: "{id}_p.png", scale: 127, values: indices}
channels: last
target:
  path: gt
  encoding: labels
  pattern: "{id}.png"
  classes: {0: background, 7: road, 26: car}
  ignore: [255, 250-252]
  divisor: 1000
  things: [road, car]
  scale: 4095
  threshold: 0.5
inputs: {weight: maps}
manifest: pairs.csv
group_by: "{patient}/{slice}"
losses:
  - dice(smooth=1, squared=true)
  - seg: 0.5*dice + 0.5*cross_entropy
gates:
  - dice.mean <= 0.15
  - {gate: seg.mean <= 1, warn: true}
threshold: 1e-1
empty: 1
missing: worst
extra: skip
resize: nearest
grid: ignore
convention: monai
ci: bca
plugins: []
baseline: main.json
strict: true
accept: [oriented, inverted]
run: {device: "cuda:1", workers: auto, batch_size: 4, shard: 2/3, engine: dask}
weights: {vgg16: vgg16.npz}
offline: true
output: [result.json, more.json]
format: json
top: all
sort: seg
per_class: false
aggregates: [p5, group_mean]
""")
    assert config.settings == {
        "task": "multiclass",
        "channels": "last",
        "pred_scale": 127,
        "gt_scale": 4095,
        "gt_threshold": 0.5,
        "pred_values": "indices",
        "pred": "pred",
        "pred_encoding": "labels",
        "pred_pattern": "{id}_p.png",
        "target": "gt",
        "gt_encoding": "labels",
        "gt_pattern": "{id}.png",
        "classes": {"0": "background", "7": "road", "26": "car"},
        "ignore": ("255", "250-252"),
        "divisor": 1000,
        "things": ("road", "car"),
        "inputs": {"weight": "maps"},
        "manifest": "pairs.csv",
        "group_by": "{patient}/{slice}",
        "losses": ("dice(smooth=1, squared=true)", "seg = 0.5*dice + 0.5*cross_entropy"),
        "gates": ("dice.mean <= 0.15", {"gate": "seg.mean <= 1", "warn": True}),
        "threshold": 0.1,
        "empty": 1.0,
        "missing": "worst",
        "extra": "skip",
        "resize": "nearest",
        "grid": "ignore",
        "convention": "monai",
        "ci": "bca",
        "plugins": (),
        "baseline": "main.json",
        "strict": True,
        "accept": ("oriented", "inverted"),
        "device": "cuda:1",
        "workers": None,
        "batch_size": 4,
        "shard": "2/3",
        "engine": "dask",
        "weights": {"vgg16": "vgg16.npz"},
        "offline": True,
        "output": ("result.json", "more.json"),
        "format": "json",
        "top": None,
        "sort": "seg",
        "per_class": False,
        "aggregates": ("p5", "group_mean"),
    }
    assert set(config.settings) == {key.name for key in KEYS}
    assert config.origins["classes"] == "gate.yaml:8"
    assert config.origins["losses"] == "gate.yaml:17"
    assert config.origins["pred"] == config.origins["pred_pattern"] == "gate.yaml:2"


@pytest.mark.parametrize(
    ("text", "setting", "value"),
    [
        ("threshold: 1e-3", "threshold", 0.001),
        ("threshold: .5", "threshold", 0.5),
        ("empty: skip", "empty", "skip"),
        ("empty: -1e3", "empty", -1000.0),
        ("target: {classes: [off, 012, no, 1e-3]}", "classes", ["off", "012", "no", "1e-3"]),
        ("target: {classes: {0: off, 1: yes}}", "classes", {"0": "off", "1": "yes"}),
        ("target: {classes: {road: [128, 64, 128], car: '#00008e'}}", "classes",
         {"road": ["128", "64", "128"], "car": "#00008e"}),
        ("target: {classes: 4}", "classes", 4),
        ("target: {classes: 'sky, road'}", "classes", "sky, road"),
        ("target: {ignore: none}", "ignore", ("none",)),
        ("target: {ignore: 255}", "ignore", ("255",)),
        ("losses: dice(smooth=1, log=true)", "losses", ("dice(smooth=1, log=true)",)),
        ("losses: [dice, iou]", "losses", ("dice", "iou")),
        ("losses: ['dice(smooth=1, log=true)', iou]", "losses",
         ("dice(smooth=1, log=true)", "iou")),
        ("losses:\n  seg: dice", "losses", ("seg = dice",)),
        ("losses:\n  - >\n    0.5*dice\n    + bce", "losses", ("0.5*dice + bce",)),
        ("losses: []", "losses", ()),
        ("gates: dice[traffic light].p95 < 0.4", "gates", ("dice[traffic light].p95 < 0.4",)),
        ("gates: dice.mean <= baseline + 1e-2", "gates", ("dice.mean <= baseline + 1e-2",)),
        ("gates: dice.group_max <= 1e-1", "gates", ("dice.group_max <= 1e-1",)),
        ("gates: {gate: iou.mean >= 0.5, warn: false}", "gates", ("iou.mean >= 0.5",)),
        ("pred: there", "pred", "there"),
        ("manifest: '-'", "manifest", "-"),
        ("output: r.json", "output", ("r.json",)),
        ("top: 0", "top", 0),
        ("\ufefftop: 3", "top", 3),
        ("task: &t binary\npred: {pattern: *t}", "pred_pattern", "binary"),
    ],
)  # fmt: skip
def test_a_scalar_is_what_is_written(text: str, setting: str, value: Any) -> None:
    assert settings(text)[setting] == value


def test_relative_paths_are_relative_to_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    Path("sub").mkdir()
    text = """\
pred: pred
target: {path: /abs/gt, classes: names.yaml}
inputs: {weight: ~/maps}
manifest: ../pairs.csv
baseline: main.json
output: [r.json]
"""
    assert load(text, "sub/gate.yaml").settings == {
        "pred": "sub/pred",
        "target": "/abs/gt",
        "classes": "sub/names.yaml",
        "inputs": {"weight": "/home/me/maps"},
        "manifest": "sub/../pairs.csv",
        "baseline": "sub/main.json",
        "output": ("sub/r.json",),
    }


# What is wrong with it

LOSS = "; `lossbench losses` lists them all"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("losss: dice", "1:1: unknown key 'losss' (did you mean 'losses'?)"),
        ("task: binary\nlosss: [x]", "2:1: unknown key 'losss' (did you mean 'losses'?)"),
        ("zzz: 1", "1:1: unknown key 'zzz'"),
        ("loss: dice", "1:1: unknown key 'loss' (did you mean 'losses'?)"),
        ("gt: here", "1:1: unknown key 'gt' (did you mean 'target'?)"),
        ("device: cpu", "1:1: unknown key 'device' (did you mean 'run.device'?)"),
        ("pred-encoding: mask",
         "1:1: unknown key 'pred-encoding' (did you mean 'pred.encoding'?)"),
        ("pred: {pth: x}", "1:8: unknown key 'pred.pth' (did you mean 'pred.path'?)"),
        ("task: binry",
         f"1:7: expected {TASKS}, found 'binry'"
         " (did you mean 'binary'?)"),
        ("task: [binary]",
         f"1:7: expected {TASKS}, found a list"),
        ("missing: {a: b}", "1:10: expected error, skip, worst or empty, found a mapping"),
        ("threshold: 2", "1:12: expected a number from 0 to 1, found '2'"),
        ("threshold: off", "1:12: expected a number from 0 to 1, found 'off'"),
        ("threshold: nan", "1:12: expected a number from 0 to 1, found 'nan'"),
        ("threshold: 0_1", "1:12: expected a number from 0 to 1, found '0_1'"),
        ("threshold: 00.5", "1:12: expected a number from 0 to 1, found '00.5'"),
        ("empty: 1e999", "1:8: expected skip or a number, found '1e999'"),
        ("empty: off", "1:8: expected skip or a number, found 'off'"),
        ("per_class: yes", "1:12: expected true or false, found 'yes'"),
        ("run: {batch_size: 012}", "1:19: expected a whole number from 1, found '012'"),
        ("run: {batch_size: 0}", "1:19: expected a whole number from 1, found '0'"),
        ("run: {workers: ２}", "1:16: expected auto or a whole number from 1, found '２'"),
        ("run: cpu", "1:6: expected a mapping, found 'cpu'"),
        ("run: {device: gpu}", "1:15: expected auto, cpu, cuda or cuda:N, found 'gpu'"),
        ("gates:", "1:7: expected a gate such as dice.mean <= 0.15, or {gate: ..., warn: true},"
         " found nothing; leave the key out for the default"),
        ("sort: ~", "1:7: expected a column, found nothing; leave the key out for the default"),
        ("pred: ''",
         "1:7: expected a path, found nothing; leave the key out for the default"),
        ("pred: !env HOME", "1:7: expected a path, found the tag !env, which has no meaning here"),
        ("inputs: {wieght: x}", "1:10: no loss asks for a role 'wieght' (did you mean 'weight'?);"
         f" there are {', '.join(known_roles())}"),
        ("inputs: weight=x", "1:9: expected a mapping of roles to folders, found 'weight=x'"),
        ("target: {ignore: [255, x]}",
         "1:24: expected a number, a range 250-255, a colour '#000000', nan, inf, or none,"
         " found 'x'"),
        ("target: {classes: [a, a]}", "1:19: classes name one class twice"),
        ("target: {classes: {a: b}}", "1:19: class 'a': 'b' is neither a name for a stored value"
         " nor an RGB colour such as [128, 64, 128] or #804080"),
        ("target: {classes: {1: a, 1: b}}", "1:26: '1' is given twice, first in line 1"),
        ("task: binary\ntask: image", "2:1: 'task' is given twice, first in line 1"),
        ("? [a]\n: b", "1:3: a key is a word, not a list; quote a text with brackets"),
        ("<<: {task: binary}", "1:1: unknown key '<<'"),
        # expressions
        ("losses: dcie", f"1:9: no loss is called 'dcie' (did you mean 'dice'?){LOSS}"),
        ("losses:\n  - iou\n  - 0.5*iou + 0.5*dcie",
         f"3:19: no loss is called 'dcie' (did you mean 'dice'?){LOSS}"),
        ("losses:\n  - seg: 2*dcie", f"2:12: no loss is called 'dcie' (did you mean 'dice'?){LOSS}"),  # noqa: E501
        ("losses: 'iou + dcie'", f"1:16: no loss is called 'dcie' (did you mean 'dice'?){LOSS}"),
        ("losses: >\n  iou +\n  dcie", f"1:9: no loss is called 'dcie' (did you mean 'dice'?){LOSS}"),  # noqa: E501
        ("losses: dice +", "1:15: expected name, found the end"),
        ("losses: 0.5", "1:9: this names no loss"),
        ("losses: dice(smooth=x)", "1:14: dice: smooth is a number from 0, not 'x'"),
        ("losses: [[dice]]", "1:10: expected an expression, or name: expression, found a list"),
        ("losses: [{a: dice, b: iou}]",
         "1:10: expected an expression, or name: expression, found 2 names"),
        ("losses:\n  - a b: dice", "2:5: a loss cannot be called 'a b': expected a word"),
        ("losses:\n  - id: dice",
         "2:9: a loss cannot be called 'id'; result files use the name"),
        ("losses:\n  - a: dice\n  - a: iou",
         "3:8: two losses are called 'a'; give them different names"),
        ("losses: [dice(smooth=1, squared=true)]",
         "1:10: YAML ends 'dice(smooth=1' at the comma: inside [ ] or { } quote the expression,"
         " or write a block list, one `- expression` a line"),
        ("losses:\n  - {seg: dice(smooth=1, squared=true)}",
         "2:11: YAML ends 'dice(smooth=1' at the comma: inside [ ] or { } quote the expression,"
         " or write a block list, one `- expression` a line"),
        # gates
        ("gates: dice.mean", "1:17: expected < <= > >= == or != (quote a gate: the shell reads <"
         " and >)"),
        ("gates: dice.mean >= 0.2", "1:18: dice is better when lower: `>=` would accept worse"
         " results; write `<=`"),
        ("losses: {x: 1 - dice}\ngates: x.mean <= 0.2", "2:15: x is better when higher: `<=`"
         " would accept worse results; write `>=`"),
        ("gates: [{gat: dice.mean <= 1, warn: true}]", None),
        ("gates:\n  - {gate: iou.mean >= 1, warn: off}", "2:33: expected true or false, found"
         " 'off'"),
        ("gates:\n  - {gate: dcie.mean <= 1, warn: true}",
         f"2:12: no loss is called 'dcie' (did you mean 'dice'?){LOSS}"),
        # documents
        ("", "1:1: expected a mapping such as `losses: [dice]`, found nothing"),
        ("# nothing", "1:1: expected a mapping such as `losses: [dice]`, found nothing"),
        ("- dice", "1:1: expected a mapping such as `losses: [dice]`, found a list"),
        ("dice", "1:1: expected a mapping such as `losses: [dice]`, found a text"),
        ("task: binary\n---\ntask: image", "2:1: but found another document"),
        ("pred:\n  pattern: {id}_pred.png", "2:16: expected <block end>, but found '<scalar>';"
         " quote a text with { } [ ] * or commas, such as '{id}_pred.png'"),
        ("task: 'binary", "1:14: found unexpected end of stream"),
        ("task: *none", "1:7: found undefined alias 'none'; quote a text with { } [ ] * or commas,"
         " such as '{id}_pred.png'"),
    ],
)  # fmt: skip
def test_each_mistake_is_told_with_its_place(text: str, wanted: str | None) -> None:
    found = problems(text)
    if wanted is None:
        assert found == [
            "gate.yaml:1:9: expected a gate such as dice.mean <= 0.15, or {gate: ..., warn: true},"
            " found no 'gate'",
            "gate.yaml:1:10: unknown key 'gat' (did you mean 'gate'?)",
        ]
    else:
        assert found == [f"gate.yaml:{wanted}"]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    found = problems("""\
losss: [dice]
task: binry
losses:
  - dcie
  - seg: 0.5*dice + x
  - dice
gates:
  - seg.mean <= 1
  - dice.mean >= 1
  - dice.men <= 1
run: {workers: 0}
task: image
""")
    places = [re.match(r"gate\.yaml:(\d+):(\d+): ", line) for line in found]
    assert [tuple(map(int, place.groups())) for place in places if place] == [
        (1, 1), (2, 7), (4, 5), (5, 21), (9, 15), (10, 10), (11, 16), (12, 1)
    ]  # fmt: skip
    assert len(found) == 8


def test_a_caret_points_into_the_expression() -> None:
    with pytest.raises(lossbench.SettingError) as caught:
        load("losses:\n  - seg: iou + dcie")
    assert str(caught.value).splitlines()[1:] == ["  seg = iou + dcie", "              ^"]


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (b"task: \xff\xfe", r"the config gate\.yaml is no text in UTF-8"),
        (b"task: a\nsort: \x01", r"gate\.yaml:2: the character '\\x01' is not allowed in YAML"),
        (b"[" * 5000, r"gate\.yaml: nested too deep"),
        (b"losses: &a [*a]", r"gate\.yaml: an alias is part of what it stands for"),
        (b'losses: "dice\\e[31m"', r"dice\\x1b\[31m"),
    ],
    ids=["bytes", "control", "deep", "loop", "escape"],
)
def test_what_is_no_config_is_a_sentence(written: bytes, wanted: str) -> None:
    Path("gate.yaml").write_bytes(written)
    with pytest.raises(lossbench.SettingError, match=wanted) as caught:
        lossbench.load_config("gate.yaml")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("nowhere.yaml", r"the config nowhere\.yaml cannot be read: No such file or directory"),
        ("./", r"the config \./ cannot be read: Is a directory"),
        ("binry", r"no preset is called 'binry' \(did you mean 'binary'\?\); there are advers"),
        ("", r"no preset is called ''; there are adversarial, binary, ci-gate, "),
    ],
)
def test_a_config_that_is_not_there(name: str, wanted: str) -> None:
    with pytest.raises(lossbench.SettingError, match=wanted):
        lossbench.load_config(name)


# The environment


def test_variables_are_read_as_the_config_is() -> None:
    found = from_environment(
        {
            "LOSSBENCH_LOSS": "dice(smooth=1, log=true); iou\nseg = dice + bce",
            "LOSSBENCH_GATE": "dice.mean <= 1e-1",
            "LOSSBENCH_INPUT": "weight=a b;valid=c",
            "LOSSBENCH_GT": "truth",
            "LOSSBENCH_PER_CLASS": "false",
            "LOSSBENCH_TOP": " all ",
            "LOSSBENCH_IGNORE": "255;250-252",
            "LOSSBENCH_CLASSES": "{0: sky, 7: road}",
            "LOSSBENCH_TASK": "",
            "LOSSBENCH_CONFIG": "gate.yaml",
            "LOSSBENCH_OF_SOMEBODY_ELSE": "1",
            "TASK": "x",
        }
    )
    assert found.settings == {
        "losses": ("dice(smooth=1, log=true)", "iou", "seg = dice + bce"),
        "gates": ("dice.mean <= 1e-1",),
        "inputs": {"weight": "a b", "valid": "c"},
        "target": "truth",
        "per_class": False,
        "top": None,
        "ignore": ("255", "250-252"),
        "classes": "{0: sky, 7: road}",
    }
    assert set(found.origins.values()) == {"environment"}


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("LOSSBENCH_TASK", "binry", f"LOSSBENCH_TASK: expected {TASKS}, found 'binry'"
         " (did you mean 'binary'?)"),
        ("LOSSBENCH_THRESHOLD", "2", "LOSSBENCH_THRESHOLD: expected a number from 0 to 1, found"
         " '2'"),
        ("LOSSBENCH_BATCH_SIZE", "1.5", "LOSSBENCH_BATCH_SIZE: expected a whole number from 1,"
         " found '1.5'"),
        ("LOSSBENCH_LOSS", "iou; dcie", f"LOSSBENCH_LOSS: no loss is called 'dcie' (did you mean"
         f" 'dice'?){LOSS}"),
        ("LOSSBENCH_GATE", "dice.mean", "LOSSBENCH_GATE: expected < <= > >= == or != (quote a gate:"
         " the shell reads < and >)"),
        ("LOSSBENCH_INPUT", "x=y", "LOSSBENCH_INPUT: no loss asks for a role 'x'; there are"
         f" {', '.join(known_roles())}"),
        ("LOSSBENCH_LOSSES", "iou",
         "LOSSBENCH_LOSSES is no setting (did you mean 'LOSSBENCH_LOSS'?)"),
        ("LOSSBENCH_TARGET", "x", "LOSSBENCH_TARGET is no setting (did you mean 'LOSSBENCH_GT'?)"),
        ("LOSSBENCH_TRESHOLD", "1",
         "LOSSBENCH_TRESHOLD is no setting (did you mean 'LOSSBENCH_THRESHOLD'?)"),
    ],
)  # fmt: skip
def test_a_wrong_variable_is_named(
    name: str, value: str, wanted: str, lossbench_command: Run
) -> None:
    done = lossbench_command("eval", *BINARY, env={**os.environ, name: value})
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == f"error: {wanted}"
    assert done.stdout == ""


# Which source wins


def gathered(
    flags: dict[str, Any], environment: dict[str, str], text: str
) -> tuple[dict[str, Any], dict[str, str]]:
    Path("gate.yaml").write_text(text, "utf-8")
    found = lossbench.gather_settings(flags, environment, "gate.yaml")
    return found.settings, found.origins


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("variable", [True, False])
@pytest.mark.parametrize("line", [True, False])
def test_flags_stand_over_variables_over_the_config(flag: bool, variable: bool, line: bool) -> None:
    flags = {"losses": ("dice",)} if flag else {}
    environment = {"LOSSBENCH_LOSS": "iou;bce"} if variable else {}
    text = "losses: [precision, recall]" if line else "top: 1"
    found, origins = gathered(flags, environment, text)
    of = {
        "flag": ("dice",),
        "environment": ("iou", "bce"),
        "gate.yaml:1": ("precision", "recall"),
    }
    given = dict(zip(of, (flag, variable, line), strict=True))
    first = next((origin for origin, is_given in given.items() if is_given), None)
    assert origins.get("losses") == first
    assert found.get("losses") == of.get(str(first))


def test_a_higher_source_replaces_where_the_pairs_are() -> None:
    folders = "pred: a\ntarget: b\ninputs: {weight: w}"
    found, _ = gathered({"manifest": "x.csv"}, {}, folders)
    assert found == {"manifest": "x.csv"}
    found, _ = gathered({"pred": "p", "target": "t"}, {}, "manifest: x.csv\ngroup_by: plate")
    assert found == {"pred": "p", "target": "t", "group_by": "plate"}
    found, _ = gathered({}, {"LOSSBENCH_MANIFEST": "y.csv"}, folders)
    assert found == {"manifest": "y.csv"}
    found, origins = gathered({"pred": "p"}, {}, folders)
    assert found == {"pred": "p", "target": "b", "inputs": {"weight": "w"}}
    assert origins == {"pred": "flag", "target": "gate.yaml:2", "inputs": "gate.yaml:3"}


def origins_of(shown: str) -> dict[str, tuple[str, str]]:
    """Each setting of a dry run: its value and where it is from."""
    rows = re.findall(r"^  (\S+) +(.*?) +(\S+)$", shown.split("\nsettings\n")[1], re.MULTILINE)
    return {name: (value, origin) for name, value, origin in rows}


def test_a_dry_run_tells_where_each_setting_is_from(lossbench_command: Run) -> None:
    Path("gate.yaml").write_text(
        f"pred: {BINARY[0]}\ntarget: {BINARY[1]}\nlosses: [iou]\n"
        "threshold: 0.25\ngates:\n  - {gate: iou.mean >= 0.1, warn: true}\nbaseline: main.json\n"
        "run: {batch_size: 7}\n"
    )
    earlier = lossbench.evaluate(*BINARY, "iou")
    lossbench.save(earlier, "main.json")
    environment = {**os.environ, "LOSSBENCH_THRESHOLD": "0.5", "LOSSBENCH_BATCH_SIZE": "9"}
    how = ("-c", "gate.yaml", "--dry-run", "--batch-size", "11")
    done = lossbench_command("eval", *how, env=environment)
    assert done.returncode == 0, done.stderr
    found = origins_of(done.stdout)
    assert found["pred"] == (BINARY[0], "gate.yaml:1")
    assert found["--loss"] == ("iou", "gate.yaml:3")
    assert found["--threshold"] == ("0.5", "environment")
    assert found["--gate"] == ("iou.mean >= 0.1 (warn)", "gate.yaml:5")
    assert found["--batch-size"] == ("11", "flag")
    assert found["--task"] == ("binary", "found")
    assert found["--missing"] == ("error", "default")
    assert found["--config"] == ("gate.yaml", "flag")
    done = lossbench_command(
        "eval", *BINARY, "--dry-run", env={**os.environ, "LOSSBENCH_CONFIG": "gate.yaml"}
    )
    found = origins_of(done.stdout)
    assert found["--config"] == ("gate.yaml", "environment")
    assert found["pred"] == (BINARY[0], "flag")
    assert found["--threshold"] == ("0.25", "gate.yaml:4")


# Discovery


def test_the_nearest_config_upwards_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a/b/c").mkdir(parents=True)
    assert find() is None
    Path("lossbench.yaml").write_text("top: 1")
    assert find() == "lossbench.yaml"
    monkeypatch.chdir("a/b/c")
    assert find() == "../../../lossbench.yaml"
    Path("../lossbench.yaml").write_text("top: 2")
    Path("lossbench.yaml").mkdir()  # no file
    assert find() == "../lossbench.yaml"
    assert lossbench.gather_settings({}, {}).settings == {"top": 2}
    assert lossbench.gather_settings({}, {}, isolated=True).settings == {}
    assert lossbench.gather_settings({}, {}, "binary").settings["task"] == "binary"


def test_a_folder_that_is_gone_has_no_config(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("gone").mkdir()
    monkeypatch.chdir("gone")
    Path.cwd().rmdir()
    assert find() is None


def test_a_config_that_is_found_is_named_once_and_can_be_left_alone(lossbench_command: Run) -> None:
    Path("sub").mkdir()
    (Path("sub") / "gt").symlink_to(BINARY[1])
    Path("pred").symlink_to(BINARY[0])
    Path("lossbench.yaml").write_text("pred: pred\ntarget: sub/gt\nlosses: recall\ntop: 0\n")
    done = lossbench_command("eval", "-f", "json", cwd="sub")
    assert done.returncode == 0, done.stderr
    note = "note: settings of ../lossbench.yaml; --isolated does without"
    assert done.stderr.splitlines()[0] == note
    assert done.stderr.count("lossbench.yaml") == 1
    result = json.loads(done.stdout)
    assert list(result["aggregate"]) == ["recall"]
    assert (result["run"]["pred"], result["run"]["target"]) == ("../pred", "../sub/gt")
    alone = lossbench_command("eval", "../pred", "gt", "-f", "json", "--isolated", cwd="sub")
    assert "note" not in alone.stderr
    assert list(json.loads(alone.stdout)["aggregate"]) == ["dice", "iou", "bce"]
    quiet = lossbench_command("eval", "-q", cwd="sub")
    assert (quiet.stdout, quiet.stderr, quiet.returncode) == ("", "", 0)
    missing = lossbench_command("eval", "--isolated", cwd="sub")
    assert missing.returncode == 2
    assert "Missing argument 'PRED', or --manifest, or a config" in missing.stderr


# Runs


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_runs_on_its_sample(preset: str, lossbench_command: Run) -> None:
    names = ("results.json", "instances.json") if preset == "detection" else ("pred", "gt")
    folders = [SAMPLES / PRESETS[preset] / name for name in names]
    style = SAMPLES / PRESETS[preset] / "style"
    roles = ["--input", f"style={style}"] if style.is_dir() else []
    done = lossbench_command("eval", *folders, *roles, "-c", preset, "-f", "json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    wanted = lossbench.load_config(preset).settings
    names = [loss.partition(" = ")[0] for loss in wanted["losses"]]
    assert list(result["aggregate"]) == names
    assert all(table["count"] > 0 for table in result["aggregate"].values())
    assert result["run"]["plan"]["task"] == wanted.get("task", "binary")
    gates = [each["gate"] if isinstance(each, dict) else each for each in wanted.get("gates", ())]
    assert [each["gate"] for each in result["gates"]] == gates
    assert result["errors"] == []


def test_there_is_no_other_preset() -> None:
    assert {path.stem for path in (SAMPLES.parent / "configs").glob("*.yaml")} == set(PRESETS)


def test_a_config_alone_is_a_whole_run(lossbench_command: Run) -> None:
    Path("gate.yaml").write_text(
        f"pred: {BINARY[0]}\ntarget: {BINARY[1]}\nlosses: [dice]\ngates: dice.mean <= 0.15\n"
        "output: out.json\ntop: 2\n"
    )
    done = lossbench_command("eval", "-c", "gate.yaml")
    assert done.returncode == 1
    assert "worst 2 of 12 by dice" in done.stdout
    assert json.loads(Path("out.json").read_text())["gates"][0]["passed"] is False


def test_a_gate_that_warns_is_reported_and_fails_nothing(lossbench_command: Run) -> None:
    Path("gate.yaml").write_text(
        "losses: dice\ngates:\n  - {gate: dice.mean <= 0.15, warn: true}\n"
    )
    shown = lossbench_command("eval", *BINARY, "-c", "gate.yaml")
    assert shown.returncode == 0
    assert shown.stdout.endswith(
        "gates\n⚠ dice.mean 0.226 > 0.15\npassed: 1 gate, 12 pairs, 0 doubts\n"
    )
    quiet = lossbench_command("eval", *BINARY, "-c", "gate.yaml", "-q", "-o", "r.json")
    assert (quiet.returncode, quiet.stdout) == (0, "")
    assert quiet.stderr == "gate missed, a warning: dice.mean 0.226 > 0.15\n"
    (decision,) = json.loads(Path("r.json").read_text())["gates"]
    assert (decision["passed"], decision["warn"]) == (False, True)
    both = lossbench_command(
        "eval", *BINARY, "-c", "gate.yaml", env={**os.environ, "LOSSBENCH_GATE": "iou.mean >= 1"}
    )
    assert both.returncode == 1  # a list replaces the other, and this one does not warn
    assert "dice.mean 0.226" not in both.stdout


def test_a_gate_from_python_may_warn() -> None:
    gates = [{"gate": "dice.mean <= 0.15", "warn": True}, "dice.mean <= 0.5"]
    result = lossbench.evaluate(*BINARY, "dice", gates=gates)
    assert [(each.passed, each.failed, each.warn) for each in result.decisions] == [
        (False, False, True),
        (True, False, False),
    ]
    assert result.exit_status == 0
    assert [each.get("warn") for each in result.as_json()["gates"]] == [True, None]
    for wrong in ({"gat": "dice.mean <= 1"}, {"gate": "dice.mean <= 1", "warn": "no"}, {}):
        with pytest.raises(lossbench.SettingError, match="a gate is a text, or a mapping"):
            lossbench.plan(*BINARY, gates=[wrong])


def test_a_config_is_a_run_from_python() -> None:
    Path("p").symlink_to(BINARY[0])
    Path("t").symlink_to(BINARY[1])
    config = load("pred: p\ntarget: {path: t, classes: [no, off]}\nlosses: [dice, iou]\nempty: 1")
    result = lossbench.evaluate(**config.settings)
    assert list(result.values) == ["dice", "iou"]
    assert result.aggregates["dice"]["undefined"] == 0


def test_losses_of_plugins_are_known_to_the_config_that_names_them(
    tmp_path: Path, lossbench_command: Run
) -> None:
    (tmp_path / "mine.py").write_text(
        "def off(pred, target):\n    return abs(pred - target).mean()\n"
    )
    (tmp_path / "gate.yaml").write_text("plugins: mine.py\nlosses: [off]\ngates: off.mean <= 1\n")
    (tmp_path / "bare.yaml").write_text("losses: [off]\n")
    folders = [SAMPLES / "binary" / role for role in ("pred", "gt")]
    done = lossbench_command("eval", *folders, "-c", tmp_path / "gate.yaml", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    bare = lossbench_command("eval", *folders, "-c", tmp_path / "bare.yaml", "-q")
    assert bare.returncode == 2
    assert "no loss is called 'off'" in bare.stderr
    given = ("--plugin", tmp_path / "mine.py")
    assert lossbench_command("eval", *folders, "-c", tmp_path / "bare.yaml", *given).returncode == 0


@pytest.mark.parametrize("plugins", ["plugins:", "plugins: [[a]]", "plugins: ''", "plugins: !x y"])
def test_a_plugin_that_is_none_is_a_sentence(plugins: str) -> None:
    with pytest.raises(lossbench.SettingError, match=r"^gate\.yaml:1:\d+: expected a file, found"):
        load(plugins)


@pytest.mark.parametrize("names_it", ["flag", "environment", "gate.yaml:1"])
def test_losses_of_plugins_are_known_to_variables(names_it: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def off(pred, target):\n    return pred - target\n")
    path = str(tmp_path / "mine.py")
    flags = {"plugins": path} if names_it == "flag" else {}
    environment = {"LOSSBENCH_PLUGIN": path} if names_it == "environment" else {}
    text = f"plugins: {path}" if names_it == "gate.yaml:1" else "gates: off.mean <= 1"
    settings, origins = gathered(flags, {"LOSSBENCH_LOSS": "off", **environment}, text)
    assert (settings["losses"], settings["plugins"]) == (("off",), (path,))
    assert origins["plugins"] == names_it


@pytest.mark.parametrize("flag", [True, False])
def test_gates_of_a_config_judge_losses_that_replace_its_own(flag: bool) -> None:
    name = "seg = 0.5*dice + 0.5*bce"
    flags = {"losses": (name,)} if flag else {}
    environment = {} if flag else {"LOSSBENCH_LOSS": name}
    text = "losses: [iou]\ngates: [seg.mean <= 0.5]\n"
    assert gathered(flags, environment, text)[0]["gates"] == ("seg.mean <= 0.5",)
    with pytest.raises(lossbench.SettingError, match="no loss is called 'seg'"):
        gathered({}, {}, text)


def test_a_number_of_any_length_is_no_number_of_classes() -> None:
    with pytest.raises(lossbench.SettingError, match=r"^gate\.yaml:1:19: classes inf: expected"):
        load(f"target: {{classes: {'1' * 5000}}}")
