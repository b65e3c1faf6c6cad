"""A user's own losses: what they get, what may come back, and what goes wrong in one sentence."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch
from helpers.paths import PLUGINS, SAMPLES
from PIL import Image

import lossbench
from lossbench.catalog import registry
from lossbench.catalog.plugin_parser import FACTS
from lossbench.interface import annotations
from lossbench.interface.sample_batch import Input
from lossbench.losses import loss as decorator

PLAIN, FORMAL = PLUGINS / "plain.py", PLUGINS / "formal.py"
BINARY = (SAMPLES / "binary" / "pred", SAMPLES / "binary" / "gt")
MULTICLASS = (SAMPLES / "multiclass" / "pred", SAMPLES / "multiclass" / "gt")
Write = Callable[[str], Path]
Command = Callable[..., subprocess.CompletedProcess[str]]
GREY = np.array([[0.0, 0.2], [0.6, 1.0]])
MASK = np.array([[0, 1], [1, 1]], np.uint8)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(source: str, name: str = "mine.py") -> Path:
        (tmp_path / name).write_text(dedent(source), "utf-8")
        return tmp_path / name

    return to_file


def pictures(folder: Path) -> dict[str, np.ndarray]:
    """Grey levels of a folder as Pillow reads them."""
    return {
        path.relative_to(folder).with_suffix("").as_posix(): np.asarray(Image.open(path)) / 255
        for path in sorted(folder.rglob("*.png"))
    }


def value(source: Path, expression: str, pred: Any, target: Any, **how: Any) -> float:
    """What a plugin makes of one pair in memory."""
    result = lossbench.evaluate([pred], [target], expression, plugins=source, **how)
    assert not result.failed, result.failed
    (values,) = result.values.values()
    return values.samples[0]


# --- plain functions ------------------------------------------------------------------------------


def test_a_plain_function_gets_each_pair_as_numbers() -> None:
    expressions = ["worst_pixel", "worst_pixel(scale=2)", "first_minus_second", "squares"]
    result = lossbench.evaluate(*BINARY, expressions, plugins=PLAIN)
    pred, target = (pictures(folder) for folder in BINARY)
    assert result.ids == list(pred)
    for place, each in enumerate(result.ids):
        difference = pred[each] - target[each]
        wanted = [np.abs(difference).max(), 2 * np.abs(difference).max(), -difference.mean(),
                  (difference**2).mean()]  # fmt: skip
        found = [result.values[name].samples[place] for name in expressions]
        assert found == pytest.approx(wanted, abs=1e-12)
    assert result.exit_status == 0


def test_it_can_be_gated_combined_and_named() -> None:
    losses, gate = ["mix = 0.5*worst_pixel(scale=2) - dice"], "worst_pixel.max <= 1"
    result = lossbench.evaluate(*BINARY, losses, gates=gate, plugins=str(PLAIN))
    alone = lossbench.evaluate(*BINARY, ["dice", "worst_pixel"], plugins=[PLAIN])
    dice, worst = (np.array(alone.values[name].samples) for name in ("dice", "worst_pixel"))
    assert result.values["mix"].samples == pytest.approx(worst - dice, nan_ok=True)
    assert [decision.passed for decision in result.decisions] == [bool(worst.max() <= 1)]
    with pytest.raises(lossbench.SettingError, match="write `<=`"):
        lossbench.plan(*BINARY, gates="worst_pixel.mean >= 0.1", plugins=PLAIN)


@pytest.mark.parametrize(
    ("task", "pred", "target", "shape"),
    [
        ("binary", GREY, MASK, (2, 2)),
        ("multiclass", np.stack([1 - GREY, GREY / 2, GREY / 2]), MASK, (3, 2, 2)),
        ("multilabel", np.stack([GREY, GREY]), np.stack([MASK, MASK]), (2, 2, 2)),
        ("image", np.stack([GREY] * 3, -1), np.stack([GREY] * 3, -1), (3, 2, 2)),
        ("image", GREY, GREY, (2, 2)),
    ],
)
def test_the_shape_says_classes_first(
    task: str, pred: Any, target: Any, shape: tuple[int, ...], write: Write
) -> None:
    file = write(f"""
        def told(pred, target, weight):
            for each in (pred, target, weight):
                assert (each.shape, str(each.dtype)) == ({shape}, "float64"), each
            assert target.max() <= 1 and set(weight.ravel()) == {{1.0}}
            return pred.sum()
    """)
    names = {"classes": 3} if task == "multiclass" else {}
    assert value(file, "told", pred, target, task=task, **names) == pytest.approx(pred.sum())


def test_logits_come_as_probabilities(write: Write) -> None:
    file = write("def mean(pred, target): return pred.mean()")
    logits = np.array([[-1.5, 0.3], [2.0, 9.0]])
    wanted = (1 / (1 + np.exp(-logits))).mean()
    found = value(file, "mean", logits, MASK, task="binary", pred_encoding="logits")
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize(
    "signature",
    ["pred, target, weight", "pred, weight, target", "pred, target, weight=None",
     "pred, target, *, weight", "pred, target, k=1, *, weight=None"],
)  # fmt: skip
def test_ignored_pixels_are_0_and_weigh_nothing(signature: str, write: Write) -> None:
    """By hand: ignoring the last pixel leaves 0 + 0.2 + 0.6 of pred, 0 + 1 + 1 of target."""
    file = write(f"""
        def told({signature}):
            return pred.sum() + 10 * target.sum() + 100 * weight.sum()
    """)
    weights = {"weight": [np.array([[1.0, 2.0], [0.5, 0.0]])]}
    for encoding, sides in {"probability": GREY, "logits": np.log(GREY + 1e-300)}.items():
        found = value(
            file, "told", sides, MASK, task="binary", pred_encoding=encoding, inputs=weights
        )
        soft = GREY if encoding == "probability" else 1 / (1 + 1 / (GREY + 1e-300))
        assert found == pytest.approx(soft.ravel()[:3].sum() + 20 + 350)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [("pred, target", 1), ("a, b", 1), ("y_true, y_pred", -1), ("target, guess", -1),
     ("x, output", -1), ("output, target", 1), ("GT, Prediction", -1)],
)  # fmt: skip
def test_names_say_which_array_is_which(names: str, wanted: int, write: Write) -> None:
    first, second = names.split(", ")
    file = write(f"def told({names}): return ({first} - {second}).sum()")
    assert value(file, "told", np.ones((2, 2)), 0 * MASK, task="binary") == 4 * wanted


def test_writing_to_the_arrays_changes_no_other_loss(write: Write) -> None:
    file = write("""
        import torch

        def one(pred, target, weight):
            pred[:] = target[:] = weight[:] = 7
            return 0

        def two(pred: torch.Tensor, target: torch.Tensor, weight: torch.Tensor):
            pred.fill_(7), target.fill_(7), weight.fill_(7)
            return 0

        def three(pred, target, weight):
            return (pred + target + weight).sum()
    """)
    names = ["one", "two", "three", "l2"]
    result = lossbench.evaluate([GREY], [MASK], names, task="binary", plugins=file)
    assert result.values["three"].samples == [pytest.approx(GREY.sum() + 3 + 4)]
    assert result.values["l2"].samples == [pytest.approx(((GREY - MASK) ** 2).mean())]


@pytest.mark.parametrize(
    ("returned", "wanted"),
    [
        ("0.25", 0.25), ("3", 3.0), ("True", 1.0), ("np.float32(0.5)", 0.5), ("np.int64(2)", 2.0),
        ("np.bool_(False)", 0.0), ("np.array(0.5)", 0.5), ("torch.tensor(0.5)", 0.5),
        ("torch.tensor(2)", 2.0), ("float('nan')", math.nan), ("-np.inf", -math.inf),
    ],
)  # fmt: skip
def test_one_number_may_come_back_in_any_type(returned: str, wanted: float, write: Write) -> None:
    file = write(f"import numpy as np, torch\ndef told(pred, target): return {returned}")
    result = lossbench.evaluate([GREY], [MASK], "told", task="binary", plugins=file)
    assert result.values["told"].samples == [pytest.approx(wanted, nan_ok=True)]
    assert result.aggregates["told"]["undefined"] == math.isnan(wanted)
    assert result.exit_status == 0


@pytest.mark.parametrize(
    ("returned", "what"),
    [
        ("None", "nothing"), ("pred", "an array of shape (2, 2)"), ("'0.5'", "a str"),
        ("torch.zeros(1)", "a tensor of shape (1,)"), ("(1, 2)", "a tuple"), ("1j", "a complex"),
        ("np.array('x')", "a str_"), ("np.complex64(1)", "a complex64"),
    ],
)  # fmt: skip
def test_anything_else_is_told(returned: str, what: str, write: Write) -> None:
    file = write(f"import numpy as np, torch\ndef told(pred, target): return {returned}")
    result = lossbench.evaluate({"a": GREY}, {"a": MASK}, "told", task="binary", plugins=file)
    (failed,) = result.failed
    assert (failed.id, failed.kind, failed.loss) == ("a", "loss", "told")
    assert f"told returned {what}; expected one number" in failed.message


FAILING = """
    def picky(pred, target):
        if pred.max() < 0.01:
            raise ValueError("no prediction\\nat all")
        return 1.0
"""


@pytest.mark.parametrize("workers", [1, 3])
def test_what_it_raises_on_a_sample_is_an_error_of_that_sample(workers: int, write: Write) -> None:
    file = write(FAILING)
    how = {"plugins": file, "workers": workers}
    result = lossbench.evaluate(*BINARY, ["picky", "dice"], **how)
    empty = [name for name, picture in pictures(BINARY[0]).items() if picture.max() < 0.01]
    assert empty
    assert [failed.id for failed in result.failed] == empty
    for failed in result.failed:
        assert (failed.kind, failed.loss) == ("loss", "picky")
        assert failed.message == (
            f"{failed.file} has no picky: {file}, line 4: ValueError: no prediction"
        )
    assert result.exit_status == 3
    assert result.ids == list(pictures(BINARY[0]))
    without = lossbench.evaluate(*BINARY, "dice")
    np.testing.assert_array_equal(result.values["dice"].samples, without.values["dice"].samples)
    undefined = np.isnan(result.values["picky"].samples)
    assert [each for each, is_lost in zip(result.ids, undefined, strict=True) if is_lost] == empty
    assert result.as_json()["errors"][0]["loss"] == "picky"


@pytest.mark.parametrize("what", ["raise SystemExit(1)", "1 / 0", "told(pred, target)", "assert 0"])
def test_every_way_to_fail_is_told(what: str, write: Write) -> None:
    file = write(f"def told(pred, target): {what}")
    result = lossbench.evaluate({"a": GREY}, {"a": MASK}, "told", task="binary", plugins=file)
    assert f"{file}, line 1: " in result.failed[0].message


# --- functions in the forms of shipped ones -------------------------------------------------------


@pytest.mark.parametrize("folders", [BINARY, MULTICLASS])
def test_a_loss_in_forms_is_what_a_shipped_one_is(folders: tuple[Path, Path]) -> None:
    """`my_dice_score` is the formula of `dice_score` in another view."""
    names = ["my_dice_score", "dice_score", "my_f1"]
    how = {"ignore": 255} if folders is MULTICLASS else {}
    result = lossbench.evaluate(*folders, names, plugins=FORMAL, **how)
    own, shipped, alias = (result.values[name] for name in names)
    assert own.samples == pytest.approx(shipped.samples, nan_ok=True)
    assert repr(alias) == repr(own)  # with what is undefined
    assert len(own.classes) == len(shipped.classes)
    for row, other in zip(own.classes, shipped.classes, strict=True):
        assert row == pytest.approx(other, nan_ok=True)
    assert own.pooled == pytest.approx(shipped.pooled)
    assert own.pooled_classes == pytest.approx(shipped.pooled_classes)
    assert result.columns[0].better == "higher"


def test_views_of_its_own_options_and_combinations() -> None:
    expressions = ["area", "area(unit=percent)", "area(power=0)", "my_brier", "mixed(share=0.25)",
                   "corner", "dice"]  # fmt: skip
    result = lossbench.evaluate(*BINARY, expressions, plugins=FORMAL)
    pred, target = (pictures(folder) for folder in BINARY)
    for place, each in enumerate(result.ids):
        p, y = pred[each], target[each]
        area = abs(p.sum() - y.sum()) / y.sum() if y.any() else math.nan
        of_ones = abs(p.size - y.sum()) / y.sum() if y.any() else math.nan
        my_brier, dice = ((p - y) ** 2).mean(), result.values["dice"].samples[place]
        wanted = [area, 100 * area, of_ones, my_brier, 0.25 * my_brier + 0.75 * dice,
                  abs(p[0, 0] - y[0, 0])]  # fmt: skip
        found = [result.values[name].samples[place] for name in expressions[:-1]]
        assert found == pytest.approx(wanted, nan_ok=True)
    sums = [sum(map(np.sum, side.values())) for side in (pred, target)]
    assert result.values["area"].pooled == pytest.approx(abs(sums[0] - sums[1]) / sums[1])
    assert math.isnan(result.values["corner"].pooled)  # the view says that it does not add up


def test_what_a_loss_on_tables_raises_fails_one_sample_whatever_the_batch(write: Write) -> None:
    file = write("""
        from lossbench.plugin_api import Overlap, PerClass, loss

        @loss()
        def picky(overlap: Overlap) -> PerClass:
            if (overlap.pred == 0).any():
                raise ValueError("empty")
            return overlap.both
    """)
    results = [
        lossbench.evaluate(*BINARY, ["picky", "dice"], plugins=file, batch_size=size).as_json()
        for size in (1, 5, 128)
    ]
    empty = [name for name, picture in pictures(BINARY[0]).items() if not picture.any()]
    for result in results:
        assert [error["id"] for error in result["errors"]] == empty
        del result["session"]
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    "body",
    ["return overlap.both[0]", "return overlap.both.sum()", "return 0.5", "return None",
     "return overlap.both[:, :1].expand(-1, 9)", "raise ValueError", "return overlap"],
)  # fmt: skip
def test_a_loss_in_forms_that_returns_something_else_is_told(body: str, write: Write) -> None:
    file = write(f"""
        from lossbench.plugin_api import Overlap, PerClass, loss

        @loss()
        def told(overlap: Overlap) -> PerClass:
            {body}
    """)
    sides = (np.array([[0, 1], [2, 1]]), np.array([[0, 1], [2, 2]]))
    for options in ({"classes": 3}, {"classes": 3, "inputs": {"weight": [np.ones((2, 2))]}}):
        how = {"task": "multiclass", "plugins": file} | options
        result = lossbench.evaluate(*([side] for side in sides), ["told", "dice"], **how)
        assert [failed.loss for failed in result.failed] == ["told"], body


# --- training -------------------------------------------------------------------------------------


def test_tensors_keep_their_gradient_in_training() -> None:
    random = torch.Generator().manual_seed(0)
    pred = torch.rand((2, 3, 4, 5), generator=random).requires_grad_()
    target = torch.rand((2, 3, 4, 5), generator=random)
    found = lossbench.loss("squares", plugins=PLAIN)(pred, target, encoding="image")
    each = (pred - target) ** 2
    assert torch.allclose(found, each.flatten(1).mean(1))
    (gradient,) = torch.autograd.grad(found.sum(), pred)
    assert torch.allclose(gradient, 2 * (pred - target) / 60)


def test_a_function_of_numpy_has_values_in_training() -> None:
    pred, target = torch.rand(2, 1, 4, 5), torch.zeros(2, 4, 5)
    found = lossbench.loss("worst_pixel", plugins=PLAIN)(pred, target, scale=3.0)
    assert torch.allclose(found, 3 * pred.flatten(1).amax(1))
    assert not found.requires_grad


def test_a_combination_in_training_finds_its_parts() -> None:
    pred, target = torch.rand(2, 1, 4, 5), (torch.rand(2, 4, 5) < 0.5).long()
    mixed, my_brier, dice = (
        lossbench.loss(name, plugins=FORMAL) for name in ("mixed", "my_brier", "dice")
    )
    wanted = 0.25 * my_brier(pred, target) + 0.75 * dice(pred, target)
    assert torch.allclose(mixed(pred, target, share=0.25), wanted)


# --- which functions are losses, and what they say of themselves ----------------------------------


def listed(file: Path) -> dict[str, Any]:
    shipped = {entry.name for entry in lossbench.list_losses()}
    every = lossbench.list_losses(plugins=file)
    return {entry.name: entry for entry in every if entry.name not in shipped}


def test_public_functions_of_two_arrays_are_losses() -> None:
    assert list(listed(PLAIN)) == ["worst_pixel", "first_minus_second", "weighted", "squares"]


def test_where_functions_are_marked_the_others_are_none() -> None:
    assert list(listed(FORMAL)) == ["my_dice_score", "area", "my_brier", "corner", "mixed"]


def test_parameters_with_literal_defaults_are_options(write: Write) -> None:
    entry = listed(PLAIN)["weighted"]
    options = {option.name: (option.type, option.default) for option in entry.options.values()}
    assert options == {
        "power": ("int", 2),
        "how": ("str", "mean"),
        "weight_of_one": ("float | bool | str | None", None),
        "empty": ("float | Literal['skip']", "skip"),
    }
    assert list(entry.inputs) == ["pred", "target", "weight"]
    file = write("""
        import typing, math
        def told(pred, target, k=3, e=math.pi, *, how: typing.Literal["a", "b"] = "a",
                 which: typing.Optional[float] = None, many: list[float] = [1, 2], **others):
            return k + e + (which or 0) + sum(many) + (how == "b")
    """)
    assert value(file, "told", GREY, MASK, task="binary") == pytest.approx(6 + math.pi)
    found = value(file, "told(k=1, how=b, which=0.5, many=[1])", GREY, MASK, task="binary")
    assert found == pytest.approx(3.5 + math.pi)
    for wrong in ("k=0.5", "how=c", "e=1", "many=3", "kk=3"):
        with pytest.raises(lossbench.SettingError, match=wrong.partition("=")[0]):
            lossbench.plan([GREY], [MASK], f"told({wrong})", plugins=file)


def test_the_decorator_states_facts() -> None:
    entry = listed(FORMAL)["my_dice_score"]
    assert (entry.better, entry.range, entry.aliases) == ("higher", (0, 1), ("my_f1",))
    assert (entry.tasks, entry.family) == (("binary", "multiclass"), "own")
    assert (listed(FORMAL)["area"].family, listed(FORMAL)["area"].revision) == ("areas", 3)
    with pytest.raises(lossbench.SettingError, match="no meaning on an image task"):
        lossbench.plan([GREY], [GREY], "my_f1", task="image", plugins=FORMAL)


def test_a_missing_prediction_is_the_worst_that_is_known(folder: Any, write: Write) -> None:
    pred, gt = (folder(n, {"a.png": 255 * MASK}) for n in ("pred", "gt"))
    folder("gt", {"b.png": 255 * MASK})
    how = {"missing": "worst", "task": "binary"}
    result = lossbench.evaluate(pred, gt, ["my_f1"], plugins=FORMAL, **how)
    assert result.values["my_f1"].samples == [1, 0]
    result = lossbench.evaluate(pred, gt, ["worst_pixel"], plugins=PLAIN, **how)
    assert result.values["worst_pixel"].samples == [0, math.inf]


def test_the_facts_are_those_of_the_decorator_and_the_forms_those_of_the_views() -> None:
    assert set(FACTS) == set(decorator.__kwdefaults__)
    both = {
        name
        for name, form in vars(annotations).items()
        if getattr(form, "__metadata__", ("",))[0] in registry.OF_BATCH
    }
    one = {
        name
        for name, form in vars(annotations).items()
        if hasattr(Input, getattr(form, "__metadata__", ("",))[0] or "-")
    }
    assert registry.input_forms() == one | {"Input"}
    assert both | {"SampleBatch"} <= registry.forms() - registry.input_forms()


WRONG = {
    "def f(:\n  pass": "line 1: SyntaxError",
    "x = 1\n\0": "SyntaxError|ValueError|null bytes",
    "": "has no loss; expected a function such as",
    "def _f(pred, target): ...": "has no loss",
    "def f(pred): ...": "has no loss",
    "class F:\n  def f(pred, target): ...": "has no loss",
    "def f(pred, target, *, k): ...": "line 1, f: option k has no default",
    "def f(pred, target, *, k: complex = 1): ...": "option k is complex; expected float",
    "def dice(pred, target): ...":
        "two losses are called 'dice': in lossbench/.*overlap.py, line.*, and in .*mine.py, line 1",
    "def f1(pred, target): ...": "two losses are called 'f1'",
    "DEF\nDEF": "two losses are called 'f'.*line 1, and .*line 2",
    "HEAD\n@loss\nDEF": r"line 3, f: expected @loss\(\)",
    "HEAD\n@loss('x')\nDEF": r"expected @loss\(\)",
    "HEAD\n@loss(beter='higher')\nDEF": "did you mean 'better'",
    "HEAD\n@loss(better='up')\nDEF": "'lower', 'higher' or None, not 'up'",
    "HEAD\n@loss(range=1)\nDEF": "range of @loss is two numbers",
    "HEAD\n@loss(range=(0, N))\nDEF": "range of @loss must be a literal",
    "HEAD\n@loss(tasks=['binry'])\nDEF": "no task is called 'binry'",
    "HEAD\n@loss(aliases=['a b'])\nDEF": "a list of names",
    "HEAD\n@loss(**x)\nDEF": r"@loss has no '\*\*'",
    "HEAD\n@loss()\ndef f(pred): ...": "it takes 1 inputs",
    "HEAD\ndef f(pred: P, target) -> PerPixel: ...": "target has no form",
    "HEAD\ndef f(pred: P, target: Probabilty) -> PerPixel: ...": "did you mean 'Probability'",
    "HEAD\ndef f(predd: P, target: P) -> PerPixel: ...": "no input is called 'predd'",
    "HEAD\ndef f(pred: P, target: P): ...": "expected one of .*PerClass",
    "HEAD\ndef f(pred: P, target: P, *, k=N) -> PerPixel: ...": "literals",
    "HEAD\ndef f(pred: P, target: P, *, k=1) -> PerPixel: ...": "without a type",
    "HEAD\ndef f(pred: P, target: P, k: int = 1) -> PerPixel: ...": "follow a",
}  # fmt: skip
HEAD = "from lossbench.plugin_api import PerPixel, Probability as P, loss"
DEF = "def f(pred, target): ..."


@pytest.mark.parametrize("source", WRONG)
def test_a_wrong_file_is_told_in_one_sentence(source: str, write: Write) -> None:
    file = write(source.replace("HEAD", HEAD).replace("DEF", DEF))
    with pytest.raises(lossbench.SettingError, match=WRONG[source]) as caught:
        lossbench.list_losses(plugins=file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_form_of_another_name_is_none_of_ours(write: Write) -> None:
    """A picture of Pillow is called Image, too."""
    file = write("""
        from PIL import Image
        import PIL.Image as Overlap
        def told(pred: Image, target: Overlap): return 1
    """)
    assert listed(file)["told"].inputs == {"pred": "Array", "target": "Array"}


# --- files ----------------------------------------------------------------------------------------


def test_nothing_is_left_behind_by_a_call(write: Write) -> None:
    one, two = (write(f"def told(pred, target): return {n}", f"{n}.py") for n in (1, 2))
    assert [value(file, "told", GREY, MASK, task="binary") for file in (one, two, one)] == [1, 2, 1]
    with pytest.raises(lossbench.SettingError, match="no loss is called 'told'"):
        lossbench.find_loss("told")
    with pytest.raises(lossbench.SettingError, match="two losses are called 'told'"):
        lossbench.list_losses(plugins=[one, two])
    same = os.path.join(one.parent, ".", one.name)
    assert lossbench.find_loss("told", plugins=[one, same]).name == "told"


def test_a_plan_keeps_its_losses_until_it_is_evaluated(write: Write) -> None:
    """And what ran is what was read, even where the file has changed since."""
    file = write("def told(pred, target): return 1")
    run = lossbench.plan([GREY], [MASK], "told", task="binary", plugins=file)
    text = file.read_bytes()
    write("def told(pred, target): return 2")
    result = run.evaluate()
    assert result.values["told"].samples == [1]
    (loss,) = result.as_json()["run"]["losses"]
    assert loss["plugins"] == [{"file": "mine.py", "sha256": sha256(text).hexdigest()}]
    assert value(file, "told", GREY, MASK, task="binary") == 2
    shipped = lossbench.evaluate([GREY], [MASK], "dice", task="binary", plugins=file)
    assert "plugins" not in shipped.as_json()["run"]["losses"][0]


def test_listing_runs_nothing_and_computing_tells_what_the_file_raises(write: Write) -> None:
    file = write("import sys\n\nsys.exit('no') if sys else 0\ndef told(pred, target): ...\n")
    assert lossbench.find_loss("told", plugins=file).line == 4
    run = lossbench.plan([GREY], [MASK], "told", task="binary", plugins=file)
    with pytest.raises(lossbench.SettingError, match=r"mine\.py, line 3: SystemExit: no"):
        run.evaluate()


def test_a_name_that_is_gone_once_imported_is_told(write: Write) -> None:
    file = write("def told(pred, target): ...\ntold = 3")
    with pytest.raises(lossbench.SettingError, match="once imported, told is not a function"):
        lossbench.evaluate([GREY], [MASK], "told", task="binary", plugins=file)


def test_annotations_that_mean_nothing_are_told(write: Write) -> None:
    file = write("""
        from __future__ import annotations
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from lossbench.plugin_api import PerPixel, Probability
        def told(pred: Probability, target: Probability) -> PerPixel: ...
    """)
    with pytest.raises(lossbench.SettingError, match="annotations of told cannot be resolved"):
        lossbench.evaluate([GREY], [MASK], "told", task="binary", plugins=file)


@pytest.mark.parametrize(
    ("body", "message"),
    [("return 3", "expected an expression, got 3"), ("return 'told + dice'", "of itself"),
     ("raise ValueError('x')", r"line 4: ValueError: x"), ("return 'dise'", "did you mean 'dice'")],
)  # fmt: skip
def test_a_combination_that_is_none_is_told(body: str, message: str, write: Write) -> None:
    head = "from lossbench.plugin_api import Expression, loss"
    file = write(f"{head}\n@loss()\ndef told() -> Expression:\n    {body}")
    with pytest.raises(lossbench.SettingError, match=message):
        lossbench.plan([GREY], [MASK], "told", task="binary", plugins=file)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for path, message in {tmp_path / "no.py": "No such file", tmp_path: "directory"}.items():
        with pytest.raises(lossbench.SettingError, match=message) as caught:
            lossbench.list_losses(plugins=path)
        assert str(path) in str(caught.value)


def test_dataclasses_and_names_of_the_module_work_in_it(write: Write) -> None:
    file = write("""
        from __future__ import annotations
        from dataclasses import dataclass
        from pathlib import Path

        @dataclass
        class Two:
            a: float

        def told(pred, target):
            return Two(2.0).a + (Path(__file__).name == "mine.py") + (__name__ == "__main__")
    """)
    assert value(file, "told", GREY, MASK, task="binary") == 3


# --- the command ----------------------------------------------------------------------------------


def test_the_command_lists_explains_and_gates_it(lossbench_command: Command) -> None:
    shown = lossbench_command("losses", "--plugin", PLAIN, "--plugin", FORMAL).stdout
    assert "\nown\n" in shown
    assert "\nareas\n" in shown
    assert "worst_pixel " in shown
    assert "dice " in shown
    page = lossbench_command("explain", "worst_pixel", "--plugin", PLAIN).stdout
    assert page.startswith("worst_pixel — The largest difference of a pixel.\n")
    for fact in ("s·max |p − y|.", "scale=1.0  s, a factor.", "--plugin", "numpy arrays", "line 7"):
        assert fact in page
    done = lossbench_command(
        "eval", *BINARY, "--plugin", PLAIN, "-q", "--gate", "worst_pixel.mean <= 0.5"
    )
    assert done.returncode == 1
    assert "gate failed: worst_pixel.mean" in done.stderr


def test_what_it_prints_is_no_part_of_the_result(write: Write, lossbench_command: Command) -> None:
    file = write("print('hello')\ndef told(pred, target):\n    print('there')\n    return 1")
    done = lossbench_command("eval", *BINARY, "--plugin", file, "-l", "told", "-f", "json")
    assert json.loads(done.stdout)["aggregate"]["told"]["mean"] == 1
    assert "hello" in done.stderr
    assert "there" in done.stderr


@pytest.mark.parametrize(
    ("source", "expression", "status"),
    [("raise ValueError\ndef told(pred, target): ...", "told", 2), ("def f(", "told", 2),
     ("def told(pred, target): ...", "tolt", 2), ("def told(pred, target): 1 / 0", "told", 3)],
)  # fmt: skip
def test_no_mistake_ends_in_a_traceback(
    source: str, expression: str, status: int, write: Write, lossbench_command: Command
) -> None:
    done = lossbench_command("eval", *BINARY, "--plugin", write(source), "-l", expression)
    assert done.returncode == status
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_does_not_run_it(write: Write, lossbench_command: Command) -> None:
    file = write("raise ValueError\ndef told(pred, target):\n    '''Told.\n\n    p + y.\n    '''")
    done = lossbench_command("eval", *BINARY, "--plugin", file, "-l", "told", "--dry-run")
    assert done.returncode == 0
    assert "told: p + y." in done.stdout


# --- packages -------------------------------------------------------------------------------------


def installed(root: Path, points: Mapping[str, str], files: Mapping[str, str]) -> dict[str, Any]:
    """A package beside its metadata, as installers leave it, and how to run Python with it."""
    facts = root / "theirs-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    lines = [f"{name} = {module}" for name, module in points.items()]
    (facts / "entry_points.txt").write_text("[lossbench.losses]\n" + "\n".join(lines) + "\n")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(dedent(text), "utf-8")
    return {"env": {**os.environ, "PYTHONPATH": str(root)}}


THEIRS = {
    "theirs/__init__.py": "print('theirs is imported')",
    "theirs/inner/__init__.py": "",
    "theirs/inner/losses.py": "from . import two\ndef theirs(pred, target): return two.N",
    "theirs/inner/two.py": "N = 2",
}


def test_an_installed_package_offers_losses(tmp_path: Path, lossbench_process: Command) -> None:
    how = installed(tmp_path, {"any": "theirs.inner.losses"}, THEIRS)
    for words in (["losses"], ["explain", "theirs"], ["losses", "--family", "own"]):
        done = lossbench_process(*words, **how)
        assert "theirs" in done.stdout
        assert "theirs is imported" not in done.stdout + done.stderr
    assert "--plugin" not in lossbench_process("explain", "theirs", **how).stdout
    done = lossbench_process("eval", *BINARY, "-l", "theirs", "-f", "json", **how)
    found = json.loads(done.stdout)
    assert found["aggregate"]["theirs"]["mean"] == 2
    text = (tmp_path / "theirs" / "inner" / "losses.py").read_bytes()
    assert found["run"]["losses"][0]["plugins"] == [
        {"file": "losses.py", "sha256": sha256(text).hexdigest()}
    ]


def test_older_metadata_offers_losses_as_well(tmp_path: Path, lossbench_process: Command) -> None:
    how = installed(tmp_path, {"any": "theirs.inner.losses"}, THEIRS)
    egg = (tmp_path / "theirs-1.0.dist-info").rename(tmp_path / "theirs.egg-info")
    (egg / "METADATA").rename(egg / "PKG-INFO")
    assert "theirs" in lossbench_process("losses", **how).stdout


def test_a_package_in_an_archive_is_not_overlooked(
    tmp_path: Path, lossbench_process: Command
) -> None:
    (tmp_path / "inside").mkdir()
    installed(tmp_path / "inside", {"any": "theirs.inner.losses"}, THEIRS)
    held = shutil.make_archive(str(tmp_path / "held"), "zip", tmp_path / "inside")
    done = lossbench_process("losses", env={**os.environ, "PYTHONPATH": held})
    assert done.returncode == 2
    assert f"the plugin {held}/theirs/inner/losses.py cannot be read" in done.stderr


def test_where_no_package_offers_any_python_is_not_asked() -> None:
    code = (
        "import sys, lossbench; lossbench.list_losses(); print('importlib.metadata' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"False\n"


@pytest.mark.parametrize(
    ("point", "source", "message"),
    [
        ("theirs.losses", "def dice(pred, target): ...", "two losses are called 'dice'"),
        ("theirs.losses:dice", "def f(pred, target): ...", "expected a module without :dice"),
        ("theirs.other", "def f(pred, target): ...", "'theirs.other', which does not exist"),
        ("nowhere.losses", "def f(pred, target): ...", "'nowhere.losses', which does not exist"),
        ("theirs.losses", "x = 1", "has no loss"),
    ],
)
def test_a_package_that_is_wrong_is_told(
    point: str, source: str, message: str, tmp_path: Path, lossbench_process: Command
) -> None:
    files = {"theirs/__init__.py": "", "theirs/losses.py": source}
    done = lossbench_process("losses", **installed(tmp_path, {"any": point}, files))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_shipped_catalogue_alone_is_what_is_there_without_any() -> None:
    code = "import lossbench; print(*[e.plugin for e in lossbench.list_losses()])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"None"}


SPOILING = '''
from lossbench.plugin_api import PerPixel, Probability, loss

@loss(tasks=["binary"], range=(0, None))
def spoil(pred: Probability, target: Probability) -> PerPixel:
    """Changes in place what it is given."""
    return PerPixel(pred.mul_(0) + target.sub_(target * 0.5))
'''


def test_a_loss_that_changes_what_it_is_given_spoils_no_other(tmp_path):
    """Neither beside it nor in a later run of the process, its pooled value included."""
    plugin = tmp_path / "spoiling.py"
    plugin.write_text(SPOILING, "utf-8")
    rng = np.random.default_rng(0)
    pred, gt = (
        {f"{name}": rng.integers(0, 2, (8, 9)).astype(np.uint8) * 255 for name in range(5)}
        for _ in range(2)
    )
    how = {"task": "binary", "pred_encoding": "probability", "batch_size": 2, "workers": 1}
    wanted = lossbench.evaluate(pred, gt, ["l1", "dice"], **how)
    beside = lossbench.evaluate(pred, gt, ["spoil", "l1", "dice"], plugins=[plugin], **how)
    after = lossbench.evaluate(pred, gt, ["l1", "dice"], **how)
    half = [each.mean() / 510 for each in gt.values()]  # the share of 1, halved
    assert beside.values["spoil"].samples == pytest.approx(half, rel=1e-12)
    assert beside.values["spoil"].pooled == pytest.approx(np.mean(half), rel=1e-12)
    for found in (beside, after):
        for name in ("l1", "dice"):
            assert found.values[name].samples == wanted.values[name].samples
            assert found.values[name].pooled == wanted.values[name].pooled


OWN_WORDS = """
def per(pred, target, per_image=False, mode="role", weight_map="a b", class_weights=[1, 2]):
    return abs(pred - target).mean()


def threshold(pred, target):
    return abs(pred - target).mean()


def id(pred, target):
    return abs(pred - target).mean()
"""


def test_options_and_losses_of_a_users_own_may_be_called_as_ours_are(write: Write) -> None:
    """What is ours by that name does not meddle: settings, reserved words, weight maps."""
    source = write(OWN_WORDS)
    for loss in ("per", "threshold", "per(mode='two words')", 'per(mode="1")'):
        assert value(source, loss, GREY, MASK, threshold=0.3) == pytest.approx(0.3)
    with pytest.raises(lossbench.SettingError, match="a loss cannot be called 'id'"):
        lossbench.evaluate([GREY], [MASK], "dice", gates="id.mean <= 1", plugins=source)
    gate = "per(mode='two words').mean <= 1"
    found = lossbench.evaluate([GREY], [MASK], "dice", gates=gate, plugins=source, convention="all")
    assert found.values['per(mode="two words")'].samples == [pytest.approx(0.3)]
