"""Wrong input, each with one clear sentence, the right status, and no traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

import lossbench

Command = Callable[..., subprocess.CompletedProcess[str]]
MASK = np.pad(np.full((8, 10), 255, np.uint8), 4)  # 16 × 18, width by height 18 × 16
GREY = np.arange(MASK.size, dtype=np.uint8).reshape(MASK.shape)
COLOUR = np.dstack([GREY, MASK, GREY])


def save(path: Path, array: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array, allow_pickle=True)
    else:
        Image.fromarray(array).save(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wrong commands are run: two good folders, and what can be named in their place."""
    root = tmp_path_factory.mktemp("wrong")
    for name in ("a", "b"):
        save(root / "pred" / f"{name}.png", GREY)
        save(root / "gt" / f"{name}.png", MASK)
        save(root / "renamed" / "deep" / f"net-{name}_pred.png", GREY)
        save(root / "labels" / f"{name}.png", MASK // 255 * 2)
    (root / "empty").mkdir()
    (root / "hidden").mkdir()
    (root / "hidden" / ".a.png").write_bytes((root / "gt" / "a.png").read_bytes())
    (root / "foreign").mkdir()
    (root / "foreign" / "notes.txt").write_text("no image")
    lossbench.save(lossbench.evaluate(root / "pred", root / "gt", "dice"), root / "base.json")
    (root / "list.json").write_text("[1, 2]")
    (root / "classes.yaml").write_text("{0: sky\n")
    (root / "latin.yaml").write_bytes(b"0: caf\xe9\n")
    (root / "folder.yaml").mkdir()
    return root


# Arguments, the status, and words that stderr must hold: what is wrong, where, and the way out.
INPUTS = {
    "missing prediction folder": ("nowhere gt", ["nowhere does not exist", "pred"]),
    "missing ground truth": ("pred nowhere", ["nowhere does not exist", "target"]),
    "missing both": ("nowhere neither", ["nowhere does not exist"]),
    "empty folder": ("empty gt", ["empty holds no image"]),
    "hidden files only": ("pred hidden", ["hidden holds no image"]),
    "foreign files only": ("foreign gt", ["foreign holds no image", "1 × .txt"]),
    "a file that is no image": ("foreign/notes.txt gt/a.png", ["notes.txt"]),
    "no match": ("renamed gt", ["no file of renamed", "--pred-pattern 'deep/net-{id}_pred'"]),
    "no match the other way": ("gt renamed", ["--gt-pattern 'deep/net-{id}_pred'", "2 would"]),
    "nothing in common": ("pred/a.png gt --pred-pattern x{id}", ["pred/a.png", "pred"]),
    "missing weights": ("pred gt --input weight=nowhere", ["nowhere does not exist", "weight"]),
    "missing baseline": (
        "pred gt --baseline nowhere.json --gate dice.mean<=baseline",
        ["baseline nowhere.json"],
    ),
    "no result as baseline": (
        "pred gt --baseline list.json --gate dice.mean<=baseline",
        ["baseline list.json is not a result"],
    ),
    "missing classes": ("pred gt --classes nowhere.yaml", ["nowhere.yaml does not exist"]),
    "classes are a folder": ("pred gt --classes folder.yaml", ["folder.yaml"]),
    "classes of another coding": ("pred gt --classes latin.yaml", ["latin.yaml"]),
}
USAGE = {
    "unknown loss": ("pred gt -l dicee", ["'dicee'", "did you mean 'dice'", "lossbench losses"]),
    "unknown loss in a sum": ("pred gt -l 0.5*dice+0.5*bec", ["'bec'", "'bce'"]),
    "unknown option of a loss": ("pred gt -l dice(smoth=1)", ["'smoth'", "'smooth'"]),
    "option of another type": ("pred gt -l dice(smooth=true)", ["a number from 0, not True"]),
    "option outside its words": ("pred gt -l bce(reduction=men)", ["mean or sum", "men"]),
    "malformed expression": ("pred gt -l dice+*2", ["expected name, found *", "dice+*2"]),
    "no loss at all": ("pred gt -l 2", ["names no loss"]),
    "two losses of one name": ("pred gt -l x=dice -l x=bce", ["'x'", "different names"]),
    "loss of another task": ("pred gt --task image -l dice", ["dice", "an image task", "l1, l2"]),
    "gate without comparison": ("pred gt --gate dice.mean", ["expected <", "quote"]),
    "gate without aggregate": ("pred gt --gate dice<=0.1", ["aggregate", "dice.mean"]),
    "gate with one =": ("pred gt --gate dice.mean=0.1", ["expected <", "=="]),
    "gate without a bound": ("pred gt --gate dice.mean<=", ["the end"]),
    "gate on the wrong side": ("pred gt --gate dice.mean>=0.2", ["better when lower", "write `<="]),
    "score on the wrong side": ("pred gt --gate iou.mean<=0.8", ["better when higher"]),
    "gate of an unknown loss": ("pred gt --gate dicee.mean<=1", ["'dicee'", "'dice'"]),
    "unknown aggregate": ("pred gt --gate dice.medan<=1", ["'medan'", "'median'"]),
    "unknown class": (
        "pred labels --pred-encoding labels --task multiclass --classes sky,road,car"
        " --ignore 255 --gate dice[rod].mean<=1",
        ["'rod'", "'road'"],
    ),
    "bound without baseline": ("pred gt --gate dice.mean<=baseline", ["--baseline"]),
    "stray word as bound": ("pred gt --gate dice.mean<=best", ["numbers and the word baseline"]),
    "loss that the baseline lacks": (
        "pred gt --baseline base.json --gate iou.mean<=baseline+2-iou",
        ["numbers and the word baseline"],
    ),
    "quantity that the baseline lacks": (
        "pred gt --baseline base.json --gate iou.min>=baseline",
        ["the baseline has no iou.min", "base.json has dice"],
    ),
    "count without baseline": ("pred gt --gate errors<=baseline", ["--baseline"]),
    "output in no folder": ("pred gt -o nowhere/r.json", ["nowhere/r.json", "not exist"]),
    "output below a file": ("pred gt -o list.json/r.json", ["list.json"]),
    "output is a folder": ("pred gt -o empty", ["empty", "folder"]),
    "output of unknown ending": ("pred gt -o r.docx", ["r.docx", "ending", ".json"]),
    "output without ending": ("pred gt -o result", ["result", "ending", ".json"]),
    "output where no file can be": ("pred gt -o /proc/r.json", ["/proc/r.json"]),
    "output over the baseline": (
        "pred gt --baseline base.json --gate dice.mean<=baseline -o base.json",
        ["base.json is the baseline", "--force"],
    ),
    "unknown option": ("pred gt --wokers 2", ["--wokers", "--workers"]),
    "one folder": ("pred", ["Missing argument 'GT'"]),
    "three folders": ("pred gt more", ["more"]),
    "unknown task": ("pred gt --task binry", ["binry", "binary"]),
    "unknown encoding": ("pred gt --gt-encoding maks", ["maks", "mask"]),
    "gt of logits": ("pred gt --gt-encoding logits", ["ground truth", "logits"]),
    "unknown format": ("pred gt -f xml", ["xml", "json"]),
    "threshold outside": ("pred gt --threshold 1.5", ["1.5", "0 to 1"]),
    "threshold no number": ("pred gt --threshold half", ["half"]),
    "empty no number": ("pred gt --empty none", ["'none'", "skip or a number"]),
    "workers none": ("pred gt --workers 0", ["'0'", "auto"]),
    "batch of none": ("pred gt --batch-size 0", ["0"]),
    "top no number": ("pred gt --top few", ["'few'", "all"]),
    "top no number of ours": ("pred gt --top ²", ["all"]),
    "role without folder": ("pred gt --input weight", ["ROLE=DIR", "weight"]),
    "unknown role": ("pred gt --input wieght=pred", ["'wieght'", "'weight'"]),
    "pattern without id": ("pred gt --pred-pattern x_*", ["'x_*'", "{id}"]),
    "pattern with an odd place": ("pred gt --pred-pattern {id}_{1}", ["{id}_{1}"]),
    "ignore backwards": ("pred gt --ignore 255-250", ["255-250"]),
    "ignore no label": ("pred gt --ignore void", ["'void'", "250-255", "none"]),
    "classes no YAML": ("pred gt --classes classes.yaml", ["classes"]),
    "classes named twice": ("pred gt --classes sky,sky", ["twice"]),
    "too few classes": ("pred gt --task binary --classes a,b,c", ["two classes", "3"]),
}  # fmt: skip


@pytest.mark.parametrize("case", INPUTS)
def test_input_that_is_not_there_is_status_3(
    case: str, folders: Path, lossbench_command: Command
) -> None:
    _refused(lossbench_command, case, INPUTS, 3, folders)


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage_is_status_2(case: str, folders: Path, lossbench_command: Command) -> None:
    _refused(lossbench_command, case, USAGE, 2, folders)


def _refused(
    command: Command, case: str, cases: dict[str, Any], status: int, folders: Path
) -> None:
    arguments, words = cases[case]
    before = sorted(folders.rglob("*"))
    done = command("eval", *arguments.split(), cwd=folders)
    assert "Traceback" not in done.stderr
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert [word for word in words if word not in done.stderr] == [], done.stderr
    assert len(re.findall(r"^error: ", done.stderr, re.MULTILINE | re.IGNORECASE)) == 1
    assert sorted(folders.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", ["Usage", "eval"]),
        ("evla pred gt", ["evla"]),
        ("--wokers", ["--wokers"]),
        ("explain dic", ["'dic'", "'dice'"]),
        ("explain", ["LOSS"]),
        ("losses --family overlpa", ["overlpa", "overlap"]),
    ],
)
def test_wrong_usage_of_the_other_commands_is_status_2(
    arguments: str, words: list[str], folders: Path, lossbench_command: Command
) -> None:
    done = lossbench_command(*arguments.split(), cwd=folders)
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stdout) == (2, "")
    assert [word for word in words if word not in done.stderr] == [], done.stderr


def test_the_caret_stands_below_what_is_wrong(folders: Path, lossbench_command: Command) -> None:
    done = lossbench_command(
        "eval", "pred", "gt", "-l", "0.5*dice + 0.5*dice(smoth=1)", cwd=folders
    )
    *_, line, caret = done.stderr.splitlines()
    assert line.strip() == "0.5*dice + 0.5*dice(smoth=1)"
    assert line[caret.index("^") :] == "smoth=1)"


def test_a_deep_or_long_expression_is_told_in_one_sentence(
    folders: Path, lossbench_command: Command
) -> None:
    for text in ("(" * 500 + "dice", "1+" * 990 + "dice+", "dice" * 1000):
        done = lossbench_command("eval", "pred", "gt", "-l", text, cwd=folders)
        assert "Traceback" not in done.stderr
        assert done.returncode == 2


def test_the_suggested_pattern_does_match(folders: Path) -> None:
    with pytest.raises(lossbench.InputError, match="would match") as caught:
        lossbench.plan(folders / "renamed", folders / "gt")
    pattern = re.search(r"--pred-pattern '([^']+)'", str(caught.value))
    assert pattern
    plan = lossbench.plan(folders / "renamed", folders / "gt", pred_pattern=pattern[1])
    assert [pair.id for pair in plan.pairing.pairs] == ["a", "b"]


def test_a_column_to_sort_by_that_is_not_there_is_told_before_anything_is_read(
    folders: Path, lossbench_command: Command
) -> None:
    done = lossbench_command(
        "eval", "pred", "gt", "-l", "dice", "--sort", "iou", "-o", "s.json", cwd=folders
    )
    assert done.returncode == 2
    assert "'iou'" in done.stderr
    assert not list(folders.glob("s.json*"))


def test_an_unknown_device_is_told_and_leaves_nothing_behind(
    folders: Path, lossbench_command: Command
) -> None:
    done = lossbench_command("eval", "pred", "gt", "--device", "nope", "-o", "d.json", cwd=folders)
    assert "Traceback" not in done.stderr
    assert done.returncode == 2
    assert "device is auto, cpu, cuda or cuda:N, not 'nope'" in done.stderr
    assert not list(folders.glob("d.json*"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_without_the_right_to_write_is_told_before_anything_is_read(
    folders: Path, tmp_path: Path, lossbench_command: Command
) -> None:
    (tmp_path / "r.json").write_text("{}")
    tmp_path.chmod(0o500)
    try:
        for name in ("r.json", "new.json"):  # even a file that could be written is replaced whole
            done = lossbench_command("eval", "pred", "gt", "-o", str(tmp_path / name), cwd=folders)
            assert done.returncode == 2
            assert "permission denied" in done.stderr.lower()
    finally:
        tmp_path.chmod(0o700)


class Broken(NamedTuple):
    """One run over folders in which nearly every pair is wrong in a way of its own."""

    status: int
    stderr: str
    model: dict[str, Any]
    errors: dict[str, dict[str, Any]]  # by id


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, lossbench_process: Command) -> Broken:
    root = tmp_path_factory.mktemp("broken")
    pred, gt = root / "pred", root / "gt"
    for name in ("a_good", "cut", "text", "nothing", "size", "rgb", "alpha", "float", "pickle",
                 "value", "rgb_gt", "twice", "alone", "turned", "z_good"):  # fmt: skip
        save(pred / f"{name}.png", GREY)
        save(gt / f"{name}.png", MASK)
    (gt / "alone.png").unlink()
    save(gt / "gone.png", MASK)
    save(pred / "twice.bmp", GREY)
    save(pred / "cut.png", np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    (pred / "cut.png").write_bytes((pred / "cut.png").read_bytes()[:400])
    (pred / "text.png").write_text("These are not the pixels you are looking for.")
    (pred / "nothing.png").write_bytes(b"")
    save(pred / "size.png", GREY[:, :-1])
    save(pred / "turned.png", GREY.T)
    save(pred / "rgb.png", COLOUR)
    save(pred / "alpha.png", np.dstack([COLOUR, GREY]))
    save(gt / "rgb_gt.png", COLOUR)
    for name, array in (("float", GREY / 255.0), ("pickle", np.array([{}], object))):
        (pred / f"{name}.png").unlink()
        save(pred / f"{name}.npy", array)
    strange = MASK.copy()
    strange[3, 4:6] = 128
    save(gt / "value.png", strange)
    done = lossbench_process(
        "eval", "pred", "gt", "-l", "dice", "--task", "binary", "--gt-encoding", "mask",
        "--pred-encoding", "probability", "--gate", "dice.mean <= 0", "--gate", "errors == 0",
        "--exit-zero", "--format", "json", cwd=root,
    )  # fmt: skip
    model = json.loads(done.stdout)
    errors = {error["id"]: error for error in model["errors"]}
    return Broken(done.returncode, done.stderr, model, errors)


# Id -> role, kind, and words of the message: the file, what is wrong with it, the way out.
ERRORS: dict[str, tuple[str, str, list[str]]] = {
    "gone": ("pred", "missing", ["gt/gone.png has no prediction in pred"]),
    "alone": ("target", "extra", ["pred/alone.png has no ground truth in gt"]),
    "twice": ("pred", "duplicate", ["pred/twice.bmp and pred/twice.png", "remove one", "pattern"]),
    "cut": ("pred", "unreadable", ["pred/cut.png", "truncated"]),
    "text": ("pred", "unreadable", ["pred/text.png is not an image", "'These are not"]),
    "nothing": ("pred", "unreadable", ["pred/nothing.png", "empty"]),
    "pickle": ("pred", "unreadable", ["pred/pickle.npy", "pickled objects", "never loaded"]),
    "size": ("pred", "size", ["pred/size.png is 17×16", "gt/size.png is 18×16", "--resize"]),
    "turned": ("pred", "size", ["pred/turned.png is 16×18", "gt/turned.png is 18×16"]),
    "rgb": ("pred", "mismatch", ["pred/rgb.png is a colour picture (RGB)", "probability"]),
    "alpha": ("pred", "mismatch", ["pred/alpha.png", "transparent", "flatten"]),
    "float": ("pred", "mismatch", ["pred/float.npy holds float64", "probability (uint8/255)"]),
    "rgb_gt": ("target", "mismatch", ["gt/rgb_gt.png is a colour", "mask {0,255}", "--classes"]),
    "value": ("target", "mismatch", ["gt/value.png has value 128", "2 pixels", "--gt-encoding"]),
}  # fmt: skip


@pytest.mark.parametrize("sample", ERRORS)
def test_a_wrong_file_is_named_with_what_is_wrong_and_the_way_out(
    sample: str, broken: Broken
) -> None:
    role, kind, words = ERRORS[sample]
    error = broken.errors[sample]
    assert (error["role"], error["kind"], error["loss"]) == (role, kind, None)
    assert [word for word in words if word not in error["error"]] == [], error["error"]
    assert "\n" not in error["error"]


@pytest.mark.parametrize("sample", ERRORS)
def test_every_wrong_file_is_told_on_stderr_in_one_line(sample: str, broken: Broken) -> None:
    assert broken.stderr.splitlines().count(f"error: {broken.errors[sample]['error']}") == 1


def test_the_file_of_an_error_is_the_one_at_fault(broken: Broken) -> None:
    at_fault = {
        sample: Path(error["file"]).parent.name
        for sample, error in broken.errors.items()
        if error["kind"] not in ("missing", "extra")
    }
    roles = {"pred": "pred", "gt": "target"}
    assert {sample: roles[folder] for sample, folder in at_fault.items()} == {
        sample: role
        for sample, (role, kind, _) in ERRORS.items()
        if kind not in ("missing", "extra")
    }


def test_nothing_else_is_an_error_and_nothing_a_traceback(broken: Broken) -> None:
    assert sorted(broken.errors) == sorted(ERRORS)
    assert "Traceback" not in broken.stderr


def test_the_other_pairs_are_still_evaluated(broken: Broken) -> None:
    samples = broken.model["samples"]
    assert [sample["id"] for sample in samples] == ["a_good", "z_good"]
    assert samples[0]["dice"] == samples[1]["dice"]
    assert 0 < samples[0]["dice"] < 1
    assert broken.model["aggregate"]["dice"]["count"] == 2


def test_the_run_counts_what_was_wrong(broken: Broken) -> None:
    pairs = broken.model["run"]["pairs"]
    assert pairs["evaluated"] == 2
    assert (pairs["missing"], pairs["extra"], pairs["errors"]) == (1, 1, len(ERRORS))


def test_status_3_outranks_failed_gates_and_exit_zero(broken: Broken) -> None:
    assert [gate["passed"] for gate in broken.model["gates"]] == [False, False]
    assert broken.status == 3


def test_many_errors_are_told_in_part_and_counted(
    tmp_path: Path, lossbench_command: Command
) -> None:
    save(tmp_path / "pred" / "good.png", GREY)
    save(tmp_path / "gt" / "good.png", MASK)
    for number in range(60):
        (tmp_path / "gt" / f"{number:02d}.png").write_bytes(b"")
    done = lossbench_command("eval", "pred", "gt", "-l", "dice", cwd=tmp_path)
    assert done.returncode == 3
    told = done.stderr.count("error: ")
    assert 10 <= told < 60
    assert f"{60 - told} more" in done.stderr
    assert "60 errors" in done.stdout


def test_missing_and_extra_files_can_be_left_out(tmp_path: Path) -> None:
    for name in ("good", "extra"):
        save(tmp_path / "pred" / f"{name}.png", GREY)
    for name in ("good", "gone"):
        save(tmp_path / "gt" / f"{name}.png", MASK)
    folders = (str(tmp_path / "pred"), str(tmp_path / "gt"), "dice")
    assert lossbench.evaluate(*folders).exit_status == 3
    assert lossbench.evaluate(*folders, missing="skip").exit_status == 3
    skipped = lossbench.evaluate(*folders, missing="skip", extra="skip")
    assert (skipped.exit_status, skipped.ids, skipped.failed) == (0, ["good"], [])
    worst = lossbench.evaluate(*folders, missing="worst", extra="skip")
    assert (worst.exit_status, worst.ids) == (0, ["gone", "good"])
    assert worst.values["dice"].samples[0] == 1


def test_with_no_pair_left_nothing_passes(tmp_path: Path) -> None:
    save(tmp_path / "pred" / "a.png", GREY[:, 1:])
    save(tmp_path / "gt" / "a.png", MASK)
    result = lossbench.evaluate(tmp_path / "pred", tmp_path / "gt", "dice")
    assert (result.ids, result.exit_status) == ([], 3)


def test_when_no_file_can_be_read_the_first_is_told(
    tmp_path: Path, lossbench_command: Command
) -> None:
    save(tmp_path / "gt" / "a.png", MASK)
    (tmp_path / "pred").mkdir()
    (tmp_path / "pred" / "a.png").write_text("text")
    done = lossbench_command("eval", "pred", "gt", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "pred/a.png is not an image" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("array", [GREY % 3, np.eye(3)[GREY % 3].transpose(2, 0, 1)])
def test_a_label_outside_the_classes_is_told(array: Any, folder: Callable[..., Path]) -> None:
    labels = GREY % 3
    strange = labels.copy()
    strange[0, :2], strange[1, 0] = 7, 9
    ending = "png" if array.ndim == 2 else "npy"
    pred = folder("pred", {f"{name}.{ending}": array for name in "ab"})
    target = folder("gt", {"a.png": labels, "b.png": strange})
    result = lossbench.evaluate(pred, target, "dice", classes=3, ignore="none")
    assert (result.ids, result.exit_status) == (["a"], 3)
    (failed,) = result.failed
    assert (failed.id, failed.role, failed.kind) == ("b", "target", "mismatch")
    for word in ("b.png", "7, 9", "3 pixels", "--classes", "--ignore"):
        assert word in failed.message


def test_a_predicted_label_outside_the_classes_is_told(folder: Callable[..., Path]) -> None:
    labels = GREY % 3
    pred = folder("pred", {"a.png": labels, "b.png": labels + 1})
    target = folder("gt", dict.fromkeys(["a.png", "b.png"], labels))
    result = lossbench.evaluate(pred, target, "dice", classes=3)
    (failed,) = result.failed
    assert (failed.id, failed.role) == ("b", "pred")
    assert "3" in failed.message
    assert "--classes" in failed.message


def test_a_file_that_no_sample_of_the_plan_has_seen_is_held_against_it(
    folder: Callable[..., Path],
) -> None:
    grey = MASK.copy()
    grey[0, 0] = 128
    names = [f"{number:02d}.png" for number in range(33)]
    pred = folder("pred", dict.fromkeys(names, MASK))
    # The plan looks at 16 files, spread evenly, the first among them: the second is not.
    target = folder("gt", {**dict.fromkeys(names, MASK), names[1]: grey})
    result = lossbench.evaluate(pred, target, "dice")
    assert [failed.id for failed in result.failed] == ["01"]
    assert "has value 128 in 1 pixel" in result.failed[0].message
    assert len(result.ids) == 32


def test_numbers_outside_a_probability_are_told(folder: Callable[..., Path]) -> None:
    good = GREY / 255.0
    bad = {"high": good * 2, "low": good - 0.5, "nan": np.where(GREY == 3, np.nan, good)}
    pred = folder("pred", {f"{name}.npy": array for name, array in {"a": good, **bad}.items()})
    target = folder("gt", {f"{name}.png": MASK for name in ("a", *bad)})
    result = lossbench.evaluate(pred, target, "dice", pred_encoding="probability")
    told = {failed.id: failed.message for failed in result.failed}
    assert sorted(told) == ["high", "low", "nan"]
    assert "holds 2, outside the probabilities 0 to 1" in told["high"]
    assert "--pred-encoding logits" in told["low"]
    assert "not finite" in told["nan"]
    assert all(f"{name}.npy" in error for name, error in told.items())


def test_images_of_other_depth_and_channels_are_told(folder: Callable[..., Path]) -> None:
    pred = folder("pred", {"a.png": COLOUR, "b.png": GREY, "c.npy": COLOUR / 255.0})
    target = folder("gt", dict.fromkeys(["a.png", "b.png", "c.png"], COLOUR))
    result = lossbench.evaluate(pred, target, "l1", task="image")
    assert result.ids == ["a"]
    told = {failed.id: failed.message for failed in result.failed}
    assert sorted(told) == ["b", "c"]
    assert "b.png" in told["b"]
    assert "c.npy holds float64" in told["c"]


def test_a_wrong_weight_map_is_told(folder: Callable[..., Path]) -> None:
    ones = np.ones(MASK.shape)
    weights = {"a": ones, "neg": -ones, "nan": ones * np.nan, "size": ones[1:]}
    pred = folder("pred", {f"{name}.png": GREY for name in weights})
    target = folder("gt", {f"{name}.png": MASK for name in weights})
    folder("weight", {f"{name}.npy": array for name, array in weights.items()})
    inputs = {"weight": pred.parent / "weight"}
    result = lossbench.evaluate(pred, target, "dice", inputs=inputs)
    told = {failed.id: (failed.role, failed.message) for failed in result.failed}
    assert sorted(told) == ["nan", "neg", "size"]
    assert all(role == "weight" for role, _ in told.values())
    assert all(f"{name}.npy" in error for name, (_, error) in told.items())


def test_arrays_in_memory_of_other_ids_are_refused() -> None:
    with pytest.raises(lossbench.InputError, match="2 samples and target has 1"):
        lossbench.evaluate([MASK, MASK], [MASK], "dice")
    [extra] = lossbench.evaluate({"a": MASK, "b": MASK}, {"a": MASK}, "dice").failed
    assert (extra.id, extra.kind) == ("b", "extra")
    with pytest.raises(lossbench.InputError, match="no id"):
        lossbench.evaluate({"a": MASK}, {"b": MASK}, "dice")
    with pytest.raises(lossbench.LossbenchError, match="object"):
        lossbench.evaluate({"a": np.array([{}])}, {"a": MASK}, "dice")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"task": "binry"}, "did you mean 'binary'"),
        ({"missing": "ignore"}, "missing is one of error, skip, worst"),
        ({"pred_encoding": "maks"}, "did you mean 'mask'"),
        ({"threshold": -0.1}, "0 to 1"),
        ({"workers": 0}, "workers is auto or a whole number from 1, not 0"),
        ({"batch_size": 0}, "batch_size is a whole number from 1, not 0"),
        ({"batch_size": None}, "batch_size is a whole number from 1, not None"),
        ({"device": "nope"}, "device is auto, cpu, cuda or cuda:N, not 'nope'"),
        ({"inputs": {"wieght": {}}}, "did you mean 'weight'"),
        ({"classes": "{0: a, 0.5: b}"}, "class '0.5'"),
        ({"classes": 0}, "expected a number, names"),
    ],
)  # fmt: skip
def test_a_wrong_setting_of_the_library_is_a_setting_error(
    setting: dict[str, Any], words: str
) -> None:
    with pytest.raises(lossbench.SettingError, match=words):
        lossbench.evaluate({"a": MASK}, {"a": MASK}, "dice", **setting)
