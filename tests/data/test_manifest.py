"""Pairs named by a table: what it may look like, and what is said where it is wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pandas as pd
import pytest
from helpers.paths import SAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import lossbench
from lossbench import InputError
from lossbench.data.pairing.folders import pair
from lossbench.data.pairing.manifest import read_manifest
from lossbench.data.pairing.pairs import Pairing
from lossbench.data.planning.vocabulary import ROLES

Command = Callable[..., "subprocess.CompletedProcess[str]"]
BINARY, MULTILABEL = SAMPLES / "binary", SAMPLES / "multilabel"
WELLS = [f"{plate}/{well:02}" for plate in ("plate_a", "plate_b") for well in range(1, 7)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with small files that a manifest can name; their content is not looked at."""
    for name in ("a.png", "b.png", "c.png", "a b,c.png", "grün.png", "w.npy", "deep/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def read(place: Path, text: str | bytes, name: str = "pairs.csv", **how: Any) -> Pairing:
    path = place / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_manifest(str(path), ROLES, **how)


def pairs(pairing: Pairing, place: Path) -> dict[str, dict[str, list[str]]]:
    """Id -> role -> files by their path below the manifest's folder."""
    assert pairing.unpaired == []
    return {
        each.id: {
            role: [os.path.relpath(file, place) for file in files]
            for role, files in each.sources.items()
        }
        for each in pairing.pairs
    }


def refused(place: Path, text: str | bytes, **how: Any) -> str:
    """The one sentence that a manifest is refused with, its folder left out."""
    with pytest.raises(lossbench.InputError) as caught:
        read(place, text, **how)
    return str(caught.value).replace(f"{place}{os.sep}", "")


# What a manifest may look like

ONE = {"x": {"pred": ["a.png"], "target": ["b.png"]}}


@pytest.mark.parametrize(
    "text",
    [
        "id,pred,gt\nx,a.png,b.png\n",
        "id,pred,gt\nx,a.png,b.png",
        "id,pred,target\nx,a.png,b.png\n",
        "gt,id,pred\nb.png,x,a.png\n",
        "ID,Pred,GT\nx,a.png,b.png\n",
        "id,pred,gt\r\nx,a.png,b.png\r\n",
        "id,pred,gt\rx,a.png,b.png\r",
        "\ufeffid,pred,gt\nx,a.png,b.png\n",
        "\n\nid,pred,gt\n\n,,\nx,a.png,b.png\n  \n",
        'id,pred,gt\n"x","a.png","b.png"\n',
        '"id", "pred", "gt"\n"x", "a.png", "b.png"\n',
        "id, pred, gt\nx, a.png, b.png\n",
        "id\tpred\tgt\nx\ta.png\tb.png\n",
        "id;pred;gt\nx;a.png;b.png\n",
        "id,pred,gt,patient,score\nx,a.png,b.png,anna,0.5\n",
        "id,pred,gt\nx,./a.png,deep/../b.png\n",
    ],
)
def test_one_pair_in_many_spellings(place: Path, text: str) -> None:
    assert pairs(read(place, text), place) == ONE


def test_tabs_are_known_by_the_ending(place: Path) -> None:
    text = "a,b,c\tid\tpred\tgt\n\tx\ta.png\tb.png\n"  # more commas than tabs in its header
    assert pairs(read(place, text, "pairs.TSV"), place) == ONE


def test_cells_may_hold_the_separator_quotes_and_other_alphabets(place: Path) -> None:
    text = 'id,pred,gt\n"say ""x""","a b,c.png",grün.png\n'
    assert pairs(read(place, text), place) == {
        'say "x"': {"pred": ["a b,c.png"], "target": ["grün.png"]}
    }


def test_a_cell_may_hold_a_line_break_and_lines_are_still_counted(place: Path) -> None:
    text = 'id,note,pred,gt\n1,"one\ntwo",a.png,b.png\n2,,a.png,\n'
    (problem,) = read(place, text).unpaired
    assert problem.message.partition(": ")[0].endswith("pairs.csv line 4")


def test_without_ids_the_path_of_the_prediction_is_the_id(place: Path) -> None:
    found = read(place, "pred,gt\ndeep/a.png,b.png\na.png,b.png\n")
    assert [each.id for each in found.pairs] == ["a", "deep/a"]


def test_paths_may_be_absolute(place: Path) -> None:
    found = read(place, f"id,pred,gt\nx,{place}/a.png,b.png\n")
    assert found.pairs[0].sources["pred"] == (f"{place}/a.png",)


def test_paths_are_relative_to_the_manifest(
    place: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert pairs(read(place, "id,pred,gt\nx,a.png,b.png\n"), place) == ONE


def test_roles_have_columns(place: Path) -> None:
    found = pairs(read(place, "weight,id,gt,ignore,pred\nw.npy,x,b.png,c.png,a.png\n"), place)
    assert list(found["x"]) == ["pred", "target", "ignore", "weight"]
    assert found["x"]["weight"] == ["w.npy"]
    assert found["x"]["ignore"] == ["c.png"]


def test_classes_have_columns(place: Path) -> None:
    text = "id,pred[b],pred[a],gt[a],gt[b]\nx,b.png,a.png,a.png,c.png\n"
    wanted = {"pred": ["a.png", "b.png"], "target": ["a.png", "c.png"]}
    found = read(place, text)
    assert found.classes == ("a", "b")
    assert pairs(found, place) == {"x": wanted}
    ordered = read(place, text, classes=("b", "a"))
    assert ordered.classes == ("b", "a")
    assert pairs(ordered, place)["x"]["pred"] == ["b.png", "a.png"]


def test_classes_of_one_side_meet_a_stack_on_the_other(place: Path) -> None:
    found = read(place, "id,pred[b],pred[a],gt\nx,b.png,a.png,w.npy\n")
    assert pairs(found, place) == {"x": {"pred": ["a.png", "b.png"], "target": ["w.npy"]}}


def test_groups_are_columns(place: Path) -> None:
    text = "id,site,pred,gt,eye\n1,nice,a.png,b.png,left\n2,nice,b.png,lost.png, right\n"
    assert read(place, text).groups == {}
    assert read(place, text, group_by=["site"]).groups == {"1": "nice", "2": "nice"}
    found = read(place, text, group_by=["site", "eye"]).groups
    assert found == {"1": "nice/left", "2": "nice/right"}


# Samples that cannot be evaluated


@pytest.mark.parametrize(
    ("line", "role", "kind", "words"),
    [
        ("x,,b.png", "pred", "missing", "'pred' is empty"),
        ("x,a.png,", "target", "extra", "'GT' is empty"),
        ("x,,", "target", "extra", "'GT' is empty"),
    ],
)
def test_a_line_that_names_no_file(
    place: Path, line: str, role: str, kind: str, words: str
) -> None:
    found = read(place, f"id,pred,GT\n1,a.png,b.png\n{line}\n3,a.png,b.png\n")
    assert [each.id for each in found.pairs] == ["1", "3"]
    (problem,) = found.unpaired
    assert (problem.id, problem.role, problem.kind) == ("x", role, kind)
    assert "pairs.csv line 3: " in problem.message
    assert words in problem.message


def test_an_empty_cell_of_a_class_or_role_is_named(place: Path) -> None:
    text = "id,pred,gt[a],gt[b],weight\n1,a.png,a.png,,w.npy\n2,a.png,a.png,b.png,\n"
    first, second = read(place, text).unpaired
    assert "'gt[b]' is empty" in first.message
    assert (second.role, second.kind) == ("weight", "missing")


@pytest.mark.parametrize(
    ("line", "role", "kind", "words"),
    [
        ("x,lost.png,b.png,w.npy", "pred", "missing", "lost.png does not exist"),
        ("x,a.png,lost.png,w.npy", "target", "missing", "lost.png does not exist"),
        ("x,away.png,lost.png,w.npy", "target", "missing", "lost.png does not exist"),
        ("x,a.png,b.png,lost.npy", "weight", "missing", "lost.npy does not exist"),
        ("x,a.png/lost.png,b.png,w.npy", "pred", "missing", "a.png/lost.png does not exist"),
        ("x,deep,b.png,w.npy", "pred", "unreadable", "deep is a folder, expected a file"),
        ("x,a.png\0,b.png,w.npy", "pred", "unreadable", "cannot be read: embedded null byte"),
    ],
)
@pytest.mark.parametrize("pixels", [False, True])
def test_a_file_that_is_not_there_is_told_when_its_turn_comes(
    tmp_path: Path, line: str, role: str, kind: str, words: str, pixels: bool
) -> None:
    mask = np.eye(4, dtype=np.uint8) * 255
    (tmp_path / "deep").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(mask).save(tmp_path / name)
    np.save(tmp_path / "w.npy", np.ones(mask.shape))
    text = f"id,pred,GT,weight\n1,a.png,b.png,w.npy\n{line}\n3,a.png,b.png,w.npy\n"
    if not pixels:
        text = "".join(f"{row.rpartition(',')[0]}\n" for row in text.splitlines())
        if role == "weight":
            return
    (tmp_path / "pairs.csv").write_text(text)
    found = lossbench.evaluate(manifest=tmp_path / "pairs.csv", losses="dice")
    assert found.ids == ["1", "3"]
    (failed,) = found.failed
    assert (failed.id, failed.role, failed.kind) == ("x", role, kind)
    assert words in failed.message
    lenient = lossbench.evaluate(manifest=tmp_path / "pairs.csv", losses="dice", missing="skip")
    forgiven = (role, kind) == ("pred", "missing")
    assert [each.id for each in lenient.skipped] == ["x"] * forgiven
    assert [each.id for each in lenient.failed] == ["x"] * (not forgiven)
    lost = int(kind == "missing")
    assert (lenient.counts["found"], lenient.counts["missing"]) == (3 - lost, lost)


def test_many_lost_files_hide_no_plan(tmp_path: Path) -> None:
    Image.fromarray(np.eye(4, dtype=np.uint8) * 255).save(tmp_path / "a.png")
    lines = [f"{n:04},{'a' if n == 1999 - 67 else 'lost'}.png,a.png\n" for n in range(2000)]
    (tmp_path / "pairs.csv").write_text("".join(["id,pred,gt\n", *lines]))
    settings = {"manifest": tmp_path / "pairs.csv", "losses": "dice", "missing": "skip"}
    found = lossbench.evaluate(**settings)
    assert (found.ids, found.exit_status) == (["1932"], 0)
    assert (found.counts["found"], found.counts["missing"]) == (1, 1999)
    shard = lossbench.evaluate(**settings, shard="1/4")  # of which every prediction is missing
    assert (shard.ids, shard.exit_status) == ([], 0)


def test_the_plan_asks_for_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.eye(4, dtype=np.uint8) * 255).save(tmp_path / "a.png")
    lines = [f"{n},{'a' if n < 5 else 'lost'}.png,a.png\n" for n in range(10_000)]
    (tmp_path / "pairs.csv").write_text("".join(["id,pred,gt\n", *lines]))
    asked, real = [], os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: (asked.append(path), real(path))[1])
    assert len(lossbench.plan(manifest=tmp_path / "pairs.csv").pairing.pairs) == 10_000
    assert len(asked) < 5000


def test_two_lines_of_one_id_are_both_left_out(place: Path) -> None:
    text = "id,pred,gt\nx,a.png,b.png\ny,a.png,b.png\nx,c.png,b.png\nx,lost.png,b.png\n"
    found = read(place, text)
    assert [each.id for each in found.pairs] == ["y"]
    (problem,) = found.unpaired
    assert (problem.id, problem.kind) == ("x", "duplicate")
    assert "pairs.csv line 2 and line 4 and line 5 have one id, 'x'" in problem.message


def test_ids_that_differ_in_their_unicode_form_are_one(place: Path) -> None:
    found = read(place, "id,pred,gt\ncaf\u00e9,a.png,b.png\ncafe\u0301,a.png,b.png\n")
    assert [each.kind for each in found.unpaired] == ["duplicate"]


# Manifests that are none


EMPTY = "the manifest pairs.csv is empty; expected a header such as id,pred,gt"
NO_LINE = "the manifest pairs.csv has no line below its header; expected one for each pair"
QUOTES = "; put a cell that has the separator in quotes"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", EMPTY),
        ("\n \n", EMPTY),
        ("id,pred,gt\n", NO_LINE),
        ("id,pred,gt\n,,\n", NO_LINE),
        ("a.png,b.png\n", "pairs.csv line 1 has no column 'pred': expected a header such as "
         "id,pred,gt and found a.png, b.png"),
        ("id,perd,gt\n", "pairs.csv line 1 has no column 'pred' (did you mean 'perd'?): expected "
         "a header such as id,pred,gt and found id, perd, gt"),
        ("\nid,pred\n", "pairs.csv line 2 has no column 'gt': expected a header such as id,pred,gt "
         "and found id, pred"),
        ("pred,gt,target\n", "pairs.csv line 1 has two columns that mean 'target'"),
        ("id,pred,gt,ID\n", "pairs.csv line 1 has two columns that mean 'ID'"),
        ("id,pred,pred[a],gt\n", "pairs.csv line 1 has pred both with and without class"),
        ("id,pred[a],pred[b],gt[a]\n", "pairs.csv line 1 has no column gt[b]"),
        ("pred[a],gt[a]\n", "pairs.csv line 1 has a prediction a class and so needs a column 'id'"),
        ("id,pred,gt\n1,a.png\n", "pairs.csv line 2 has 2 cells where the header has 3" + QUOTES),
        (
            "id,pred,gt\n\n1,a.png,b.png,c\n",
            "pairs.csv line 3 has 4 cells where the header has 3" + QUOTES,
        ),
        ("id,pred,gt\n ,a.png,b.png\n", "pairs.csv line 2 has no id"),
        ("pred,gt,x\n,,1\n", "pairs.csv line 2 names neither prediction nor truth"),
        ('id,pred,gt\n1,"a.png,b.png\n', "pairs.csv line 2 cannot be read: unexpected end of data"),
        ("id,pred,gt,wieght\n1,a.png,b.png,w.npy\n", "pairs.csv line 2: the column 'wieght' names "
         "a file and is no role (did you mean 'weight'?)"),
        ("id,pred,gt\nb\u00e4r,a.png,b.png\n".encode("latin-1"),
         "pairs.csv line 2 is not UTF-8; save it in that encoding"),
        ("id,pred,gt\n".encode("utf-16"),
         "pairs.csv line 1 is not UTF-8; save it in that encoding"),
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_refused_in_one_sentence(
    place: Path, text: str | bytes, message: str
) -> None:
    assert refused(place, text) == message


def test_a_manifest_that_is_not_there_is_refused(place: Path) -> None:
    for path, words in ((place / "lost.csv", "No such file"), (place, "Is a directory")):
        with pytest.raises(lossbench.InputError, match=words):
            read_manifest(str(path), ROLES)


@pytest.mark.parametrize("column", ["height", "weights", "valid_from", "mask", "split"])
def test_columns_about_a_sample_are_no_slips(place: Path, column: str) -> None:
    found = read(place, f"id,pred,gt,{column}\nx,a.png,b.png,180\n")
    assert pairs(found, place) == ONE


def test_a_class_that_is_not_wanted_is_refused(place: Path) -> None:
    text = "id,pred[liver],gt[liver]\nx,a.png,b.png\n"
    assert "'liver'" in refused(place, text, classes=("kidney",))
    assert "no column pred[kidney]" in refused(place, text, classes=("liver", "kidney"))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["patiant"], ["'patient'", "no such column", "id, pred, gt, patient, eye, eye"]),
        (["eye"], ["two such columns"]),
    ],
)
def test_group_columns_must_be_there(place: Path, columns: list[str], words: list[str]) -> None:
    with pytest.raises(lossbench.SettingError) as caught:
        read(place, "id,pred,gt,patient,eye,eye\nx,a.png,b.png,anna,l,l\n", group_by=columns)
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_sample_without_a_group_is_refused(place: Path) -> None:
    text = "id,pred,gt,patient\n1,a.png,b.png,anna\n2,a.png,b.png, \n"
    message = "pairs.csv line 3: the cell of 'patient' is empty; --group-by needs it"
    assert refused(place, text, group_by=["patient"]) == message


def test_groups_that_would_be_written_alike_are_refused(place: Path) -> None:
    text = "id,pred,gt,x,y\n1,a.png,b.png,a/b,c\n2,a.png,b.png,a,b/c\n"
    assert "'a/b/c'" in refused(place, text, group_by=["x", "y"])


# Against folders


def manifest(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    """A table as pandas writes it."""
    pd.DataFrame(list(lines)).to_csv(path, index=False)
    return path


def wells(folder: Path, **more: Callable[[str], str]) -> list[dict[str, str]]:
    """A line a well of the plates, with paths relative to a folder."""
    start = os.path.relpath(BINARY, folder)
    return [
        {"id": well, "pred": f"{start}/pred/{well}.png", "gt": f"{start}/gt/{well}.png"}
        | {name: of(well) for name, of in more.items()}
        for well in WELLS
    ]


def numbers(result: Any) -> dict[str, Any]:
    """The result file but for where the files came from."""
    file = result.as_json() | {"session": None}
    for key in ("pred", "target", "inputs", "settings"):
        del file["run"][key]
    return file


def test_a_manifest_gives_what_the_folders_give(tmp_path: Path) -> None:
    start = os.path.relpath(BINARY, tmp_path)
    lines = wells(
        tmp_path,
        weight=lambda well: f"{start}/weight/{well}.npy",
        valid=lambda well: f"{start}/valid/{well}.png",
    )
    named = lossbench.evaluate(manifest=manifest(tmp_path / "pairs.csv", lines))
    folders = lossbench.evaluate(
        BINARY / "pred",
        BINARY / "gt",
        inputs={"valid": BINARY / "valid", "weight": BINARY / "weight"},
    )
    assert numbers(named) == numbers(folders)
    assert named.exit_status == 0


def test_files_of_classes_give_what_the_pattern_gives(tmp_path: Path) -> None:
    pattern = "{id}_{class}"
    sides = (MULTILABEL / "pred", MULTILABEL / "gt")
    found = pair(dict(zip(("pred", "target"), sides, strict=True)),
                 {"pred": pattern, "target": pattern})  # fmt: skip
    lines = [
        {"id": each.id}
        | {f"pred[{name}]": each.sources["pred"][n] for n, name in enumerate(found.classes)}
        | {f"gt[{name}]": each.sources["target"][n] for n, name in enumerate(found.classes)}
        for each in found.pairs
    ]
    named = lossbench.evaluate(manifest=manifest(tmp_path / "pairs.csv", lines))
    folders = lossbench.evaluate(*sides, pred_pattern=pattern, gt_pattern=pattern)
    assert numbers(named) == numbers(folders)
    assert named.class_names == ("kidney", "liver", "spleen")


def test_a_column_groups_as_a_pattern_does(tmp_path: Path) -> None:
    path = manifest(tmp_path / "m.csv", wells(tmp_path, plate=lambda well: well[:7]))
    named = lossbench.evaluate(manifest=path, group_by="plate")
    folders = lossbench.evaluate(BINARY / "pred", BINARY / "gt", group_by="{plate}/{well}")
    both = lossbench.evaluate(manifest=path, group_by="{plate}/*")
    assert numbers(named) == numbers(folders) == numbers(both)
    assert list(named.group_aggregates) == ["plate_a", "plate_b"]


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(12)), st.permutations(["id", "pred", "gt", "plate"]))
def test_the_order_of_lines_and_columns_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, lines: list[int], columns: list[str]
) -> None:
    place = tmp_path_factory.mktemp("order")
    table = pd.DataFrame(wells(place, plate=lambda well: well[:7]))

    def text(table: pd.DataFrame) -> str:
        table.to_csv(place / "pairs.csv", index=False)
        found = lossbench.evaluate(manifest=place / "pairs.csv", losses="dice", group_by="plate")
        return json.dumps(found.as_json() | {"session": None})

    assert text(table.iloc[lines][columns]) == text(table)


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(str.strip)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5), st.sampled_from(",\t;"))
def test_any_text_that_csv_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], separator: str
) -> None:
    place = tmp_path_factory.mktemp("any")
    (place / "a.png").touch()
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, quoting=csv.QUOTE_ALL)
    writer.writerow(["id", "pred", "gt", "patient"])
    lines = {f"{n} {name}": group for n, (name, group) in enumerate(rows)}
    writer.writerows([name, "a.png", "a.png", group] for name, group in lines.items())
    found = read(place, buffer.getvalue(), group_by=["patient"])
    assert {each.id for each in found.pairs} == {normalize("NFC", name) for name in lines}
    assert list(found.groups.values()) == [
        normalize("NFC", group.strip()) for group in lines.values()
    ]


# Settings and the command


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"pred": "pred"}, "PRED or --manifest"),
        ({"pred": "pred", "target": "gt"}, "PRED and GT or --manifest"),
        ({"inputs": {"weight": "weight"}}, "--input"),
        ({"pred_pattern": "{id}_pred"}, "--pred-pattern"),
        ({"gt_pattern": "{id}_gt"}, "--gt-pattern"),
    ],
)
def test_a_manifest_stands_alone(how: dict[str, Any], words: str) -> None:
    with pytest.raises(lossbench.SettingError, match=words):
        lossbench.plan(manifest="pairs.csv", **how)


@pytest.mark.parametrize("given", [(), ("pred",)])
def test_folders_come_in_twos(given: tuple[str, ...]) -> None:
    with pytest.raises(lossbench.SettingError, match="PRED and GT, or --manifest"):
        lossbench.plan(*given)


def test_missing_and_extra_follow_their_settings(tmp_path: Path) -> None:
    lines = wells(tmp_path)
    lines[0]["pred"], lines[1]["pred"], lines[2]["gt"] = "", "lost.png", ""
    path = manifest(tmp_path / "pairs.csv", lines)
    strict = lossbench.evaluate(manifest=path, losses="dice")
    assert [(each.id, each.kind) for each in strict.failed] == [
        (WELLS[0], "missing"), (WELLS[1], "missing"), (WELLS[2], "extra")]  # fmt: skip
    assert strict.exit_status == 3
    assert strict.ids == WELLS[3:]
    lenient = lossbench.evaluate(manifest=path, losses="dice", missing="worst", extra="skip")
    assert lenient.exit_status == 0
    assert lenient.ids == [*WELLS[:2], *WELLS[3:]]
    assert lenient.values["dice"].samples[:2] == [1.0, 1.0]
    assert (lenient.counts["missing"], lenient.counts["extra"]) == (2, 1)


def test_the_command_reads_a_manifest_from_stdin(
    lossbench_process: Command, tmp_path: Path
) -> None:
    text = pd.DataFrame(wells(tmp_path, plate=lambda well: well[:7])).to_csv(index=False)
    arguments = ["eval", "--manifest", "-", "--group-by", "plate", "-f", "json"]
    done = lossbench_process(*arguments, input=text, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    file = json.loads(done.stdout)
    assert file["run"]["settings"]["manifest"] == "-"
    assert len(file["samples"]) == 12
    assert list(file["groups"]) == ["plate_a", "plate_b"]


def test_many_pairs_of_stdin_are_read_by_processes(
    lossbench_process: Command, folder: Callable[..., Path]
) -> None:
    random = np.random.default_rng(0)
    sides = [
        folder(name, {f"{n:03}.png": random.integers(0, 2, (4, 4)).astype(np.uint8) * 255
                      for n in range(250)})
        for name in ("pred", "gt")
    ]  # fmt: skip
    lines = "".join(f"{n:03},pred/{n:03}.png,gt/{n:03}.png\n" for n in range(250))
    common = ["-l", "dice", "-f", "json", "--group-by", "{g}*"]
    named = lossbench_process(
        "eval", "--manifest", "-", *common, input=f"id,pred,gt\n{lines}", cwd=sides[0].parent
    )
    folders = lossbench_process("eval", *sides, *common)
    files = [json.loads(done.stdout) for done in (named, folders)]
    assert files[0]["samples"] == files[1]["samples"]
    assert files[0]["groups"] == files[1]["groups"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["p", "g", "--manifest", "m.csv"], 2, "PRED and GT or --manifest"),
        (["--manifest", "m.csv", "--input", "weight=w"], 2, "--input"),
        (["--manifest", "lost.csv"], 3, "lost.csv cannot be read: No such file"),
        (["--manifest", "-"], 3, "stdin is empty"),
        (["--manifest", "m.csv"], 3, "lost.png does not exist"),
        (["--manifest", "m.csv", "--group-by", "plate"], 2, "no such column"),
        (["--manifest", "m.csv", "-o", "./m.json"], 2, "m.json is the manifest"),
    ],
)
def test_mistakes_are_one_sentence(
    lossbench_process: Command, tmp_path: Path, arguments: list[str], status: int, words: str
) -> None:
    (tmp_path / "m.csv").write_text("id,pred,gt\nx,lost.png,lost.png\n")
    if "./m.json" in arguments:
        (tmp_path / "m.json").symlink_to("m.csv")
    done = lossbench_process("eval", *arguments, cwd=tmp_path, input="")
    assert (done.returncode, done.stdout) == (status, "")
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr


def test_a_dry_run_of_a_manifest_names_it(lossbench_command: Command, tmp_path: Path) -> None:
    path = manifest(tmp_path / "pairs.csv", wells(tmp_path))
    done = lossbench_command("eval", "--manifest", path, "--dry-run", "-l", "dice")
    assert done.returncode == 0
    assert "12 pairs" in done.stdout
    assert f"--manifest       {path}" in done.stdout


@pytest.fixture
def command(tmp_path: Path, lossbench_command: Any) -> Any:
    """Write masks and a manifest, and run the command on it."""

    def run(text: str, *flags: str) -> Any:
        for name in ("a", "b"):
            (tmp_path / name).mkdir(exist_ok=True)
            for file, rows in (("x", slice(2)), ("y", slice(3))):
                mask = np.zeros((6, 7), np.uint8)
                mask[rows] = 255
                Image.fromarray(mask).save(tmp_path / name / f"{file}.png")
        (tmp_path / "pairs.csv").write_text(text)
        manifest = ("--manifest", tmp_path / "pairs.csv")
        return lossbench_command("eval", *manifest, "-l", "iou", "-f", "json", *flags)

    return run


def test_a_file_that_does_not_exist_is_named_with_its_line(command: Any) -> None:
    done = command("pred,gt\na/x.png,b/x.png\n\na/nowhere.png,b/y.png\n")
    assert done.returncode == 3
    line = "pairs.csv line 4 names it; correct the path"
    assert done.stderr.rstrip().endswith(line)
    assert line in str(json.loads(done.stdout)["errors"])
    alone = command("pred,gt\n\n\na/nowhere.png,b/y.png\n")
    assert (alone.returncode, line in alone.stderr) == (3, True)


def test_an_empty_cell_of_a_class_can_stand_for_no_pixel(command: Any) -> None:
    table = "id,pred[cat],pred[dog],gt[cat],gt[dog]\n1,a/x.png,a/y.png,b/x.png,\n"
    table += "2,a/x.png,a/y.png,b/x.png,b/y.png\n"
    refused = command(table)
    assert refused.returncode == 3
    assert "--missing empty takes it for a class without a pixel" in refused.stderr
    done = command(table, "--missing", "empty")
    assert done.returncode == 0
    samples = json.loads(done.stdout)["samples"]
    assert [each["classes"]["iou"] for each in samples] == [
        {"cat": 1.0, "dog": 0.0}, {"cat": 1.0, "dog": 1.0},
    ]  # fmt: skip
    without = command(table.replace("b/x.png,\n", ",\n"), "--missing", "empty")
    assert (without.returncode, "'gt[cat]' is empty" in without.stderr) == (3, True)
    plain = command("pred,gt\na/x.png,\n", "--missing", "empty")
    assert (plain.returncode, "columns such as pred[car]" in plain.stderr) == (2, True)


def test_a_run_whose_files_are_all_lost_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("pred,gt\ngone.png,lost.png\n")
    with pytest.raises(InputError, match=r"pairs.csv line 2 names it; correct the path") as refusal:
        lossbench.plan(manifest=tmp_path / "pairs.csv", losses="dice")
    assert "gone.png does not exist" in str(refusal.value)
