"""Which prediction belongs to which ground truth: paths, patterns, arrays, and what goes wrong."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lossbench
from lossbench.data.pairing.folders import pair
from lossbench.data.pairing.pairs import Pairing

MASK = np.array([[0, 1], [1, 1]], np.uint8)


def touch(root: Path, names: Iterable[str]) -> Path:
    """Empty files: pairing looks at names alone."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def pair_names(
    root: Path,
    pred: Iterable[str],
    target: Iterable[str],
    pred_pattern: str | None = None,
    gt_pattern: str | None = None,
    classes: Sequence[str] = (),
    **roles: Iterable[str],
) -> Pairing:
    named = {"pred": pred, "target": target, **roles}
    folders = {role: touch(root / role, names) for role, names in named.items()}
    patterns = {"pred": pred_pattern, "target": gt_pattern, **dict.fromkeys(roles, gt_pattern)}
    return pair(folders, patterns, classes)


def ids(pairing: Pairing) -> list[str]:
    return [each.id for each in pairing.pairs]


def problems(pairing: Pairing) -> list[tuple[str, str, str]]:
    return [(each.id, each.role, each.kind) for each in pairing.unpaired]


def files(pairing: Pairing, role: str) -> list[list[str]]:
    """The files of each pair by their path inside the role's folder."""
    return [
        [file.split(f"{os.sep}{role}{os.sep}", 1)[1] for file in each.sources[role]]
        for each in pairing.pairs
    ]


def test_names_pair_without_their_endings(tmp_path):
    pairing = pair_names(tmp_path, ["b.png", "a.jpg", "c.npy"], ["c.png", "a.tif", "b.bmp"])
    assert ids(pairing) == ["a", "b", "c"]
    assert files(pairing, "pred") == [["a.jpg"], ["b.png"], ["c.npy"]]
    assert files(pairing, "target") == [["a.tif"], ["b.bmp"], ["c.png"]]
    assert not pairing.unpaired


def test_only_the_last_ending_is_taken_off(tmp_path):
    assert ids(pair_names(tmp_path, ["a.v1.png", "a.v2.png"], ["a.v2.png", "a.v1.jpg"])) == [
        "a.v1",
        "a.v2",
    ]


def test_equal_names_in_different_folders_are_different_samples(tmp_path):
    names = ["x/1.png", "y/1.png", "y/z/1.png"]
    pairing = pair_names(tmp_path, names, names)
    assert ids(pairing) == ["x/1", "y/1", "y/z/1"]
    assert files(pairing, "pred") == [[name] for name in names]


def test_order_is_that_of_the_ids_as_text(tmp_path):
    names = ["10.png", "2.png", "B.png", "a.png"]
    assert ids(pair_names(tmp_path, names, names)) == ["10", "2", "B", "a"]


@pytest.mark.parametrize(
    ("pred", "pred_pattern", "gt", "gt_pattern"),
    [
        (["7_pred.png"], "{id}_pred.png", ["7.png"], None),
        (["7_pred.jpg"], "{id}_pred", ["7_gt.png"], "{id}_gt"),
        (["out/7.png"], "out/{id}.png", ["7.png"], None),
        (["run1/7/mask.png"], "*/{id}/mask.png", ["7.png"], "{id}"),
        (["7_0.93.png"], "{id}_*.png", ["7.png"], None),
        (["7/7_pred.png"], "{id}/{id}_pred.png", ["7.png"], None),
        (["anna/7.png"], "{patient}/{id}.png", ["7.png"], None),
        (["7 (1)+[x].png"], "{id} (1)+[x].png", ["7.png"], None),
    ],
)
def test_patterns_find_the_id(tmp_path, pred, pred_pattern, gt, gt_pattern):
    pairing = pair_names(tmp_path, pred, gt, pred_pattern, gt_pattern)
    assert ids(pairing) == ["7"]
    assert files(pairing, "pred") == [pred]


def test_an_id_may_span_folders(tmp_path):
    pairing = pair_names(tmp_path, ["a/b/7_p.png", "8_p.png"], ["a/b/7.png", "8.png"], "{id}_p.png")
    assert ids(pairing) == ["8", "a/b/7"]


def test_a_star_does_not_span_folders(tmp_path):
    pairing = pair_names(tmp_path, ["x_7.png", "a/x_8.png"], ["7.png"], "*_{id}.png")
    assert ids(pairing) == ["7"]
    assert pairing.left_out == {"not of the pattern": 1}


def test_a_repeated_placeholder_must_repeat_its_text(tmp_path):
    names = ["7/7_pred.png", "8/9_pred.png"]
    pairing = pair_names(tmp_path, names, ["7.png"], "{id}/{id}_pred.png")
    assert ids(pairing) == ["7"]
    assert pairing.left_out == {"not of the pattern": 1}


def test_files_outside_the_pattern_are_left_out_and_counted(tmp_path):
    pairing = pair_names(tmp_path, ["7_pred.png", "7_heat.png"], ["7.png"], "{id}_pred.png")
    assert ids(pairing) == ["7"]
    assert pairing.left_out == {"not of the pattern": 1}


@pytest.mark.parametrize(
    "pattern", ["*_pred.png", "", "{class}.png", "{id", "{0}_{id}", "{id}{1x}"]
)
def test_a_pattern_that_cannot_work_is_a_wrong_setting(tmp_path, pattern):
    with pytest.raises(lossbench.SettingError, match=re.escape(repr(pattern))):
        pair_names(tmp_path, ["7.png"], ["7.png"], pattern)


CLASS_FILES = ["7/liver.png", "7/spleen.png", "8/liver.png", "8/spleen.png"]


def test_one_file_a_class_in_the_order_of_their_names(tmp_path):
    pairing = pair_names(
        tmp_path, reversed(CLASS_FILES), CLASS_FILES, "{id}/{class}.png", "{id}/{class}.png"
    )
    assert ids(pairing) == ["7", "8"]
    assert pairing.classes == ("liver", "spleen")
    assert files(pairing, "pred") == [CLASS_FILES[:2], CLASS_FILES[2:]]


def test_one_file_a_class_in_the_order_wanted(tmp_path):
    flat = [name.replace("/", "_") for name in CLASS_FILES]
    pairing = pair_names(
        tmp_path, flat, CLASS_FILES, "{id}_{class}.png", "{id}/{class}.png", ["spleen", "liver"]
    )
    assert pairing.classes == ("spleen", "liver")
    assert files(pairing, "target")[0] == ["7/spleen.png", "7/liver.png"]
    assert files(pairing, "pred")[0] == ["7_spleen.png", "7_liver.png"]


def test_the_id_of_a_class_pattern_takes_what_it_can(tmp_path):
    names = ["a_b_liver.png", "a_b_spleen.png"]
    pairing = pair_names(tmp_path, names, names, "{id}_{class}.png", "{id}_{class}.png")
    assert ids(pairing) == ["a_b"]


def test_an_absent_class_file_is_missing_and_named(tmp_path):
    pairing = pair_names(
        tmp_path, CLASS_FILES[:3], CLASS_FILES, "{id}/{class}.png", "{id}/{class}.png"
    )
    assert ids(pairing) == ["7"]
    assert problems(pairing) == [("8", "pred", "missing")]
    assert "'spleen'" in pairing.unpaired[0].message


def test_a_class_that_was_not_named_is_an_error(tmp_path):
    with pytest.raises(lossbench.InputError, match=r"'spleen'.*liver, kidney"):
        pair_names(
            tmp_path,
            CLASS_FILES,
            CLASS_FILES,
            "{id}/{class}.png",
            "{id}/{class}.png",
            ["liver", "kidney"],
        )


def test_further_roles_have_one_file_beside_class_files(tmp_path):
    pattern = "{id}/{class}.png"
    pairing = pair_names(
        tmp_path, CLASS_FILES, CLASS_FILES, pattern, pattern, valid=["7.png", "8.png"]
    )
    assert files(pairing, "valid") == [["7.png"], ["8.png"]]


def test_missing_and_extra_files_are_named_and_the_others_pair(tmp_path):
    pairing = pair_names(tmp_path, ["a.png", "b.png"], ["a.png", "c.png"])
    assert ids(pairing) == ["a"]
    assert problems(pairing) == [("b", "target", "extra"), ("c", "pred", "missing")]
    extra, missing = pairing.unpaired
    assert str(tmp_path / "pred/b.png") in extra.message
    assert str(tmp_path / "target/c.png") in missing.message
    assert pairing.count("missing") == pairing.count("extra") == 1


def test_a_role_without_a_file_for_a_sample_is_missing(tmp_path):
    names = ["a.png", "b.png"]
    pairing = pair_names(tmp_path, names, names, valid=["a.png"])
    assert ids(pairing) == ["a"]
    assert problems(pairing) == [("b", "valid", "missing")]


@pytest.mark.parametrize("role", ["pred", "target", "valid"])
def test_two_files_of_one_id_are_a_duplicate_in_any_role(tmp_path, role):
    names = {each: ["a.png", "b.png"] for each in ("pred", "target", "valid")}
    names[role] = ["a.png", "a.jpg", "b.png"]
    pairing = pair_names(tmp_path, **names)
    assert ids(pairing) == ["b"]
    assert problems(pairing) == [("a", role, "duplicate")]
    assert all(f"{role}/a.{ending}" in pairing.unpaired[0].message for ending in ("png", "jpg"))


def test_a_star_that_finds_one_id_twice_is_a_duplicate(tmp_path):
    pairing = pair_names(
        tmp_path, ["x/1.png", "y/1.png", "x/2.png"], ["1.png", "2.png"], "*/{id}.png"
    )
    assert problems(pairing) == [("1", "pred", "duplicate")]


def test_two_single_files_pair_whatever_their_names(tmp_path):
    pred, target = tmp_path / "mine.png", tmp_path / "truth_007.jpg"
    touch(tmp_path, [pred.name, target.name])
    pairing = pair({"pred": pred, "target": target}, {})
    assert [each.sources for each in pairing.pairs] == [
        {"pred": (str(pred),), "target": (str(target),)}
    ]


def test_a_single_file_finds_its_partner_in_a_folder(tmp_path):
    touch(tmp_path, ["b.png", "gt/a.png", "gt/b.png"])
    pairing = pair({"pred": tmp_path / "b.png", "target": tmp_path / "gt"}, {})
    assert ids(pairing) == ["b"]


def test_hidden_and_foreign_files_are_no_samples(tmp_path):
    pred = ["a.png", "notes.txt", "README", ".b.png", ".cache/c.png", "Thumbs.db"]
    pairing = pair_names(tmp_path, pred, ["a.png"])
    assert ids(pairing) == ["a"]
    assert not pairing.unpaired
    assert {kind: pairing.left_out[kind] for kind in (".txt", "none", ".db")} == {
        ".txt": 1,
        "none": 1,
        ".db": 1,
    }


def test_a_hidden_file_is_left_out_with_a_note(tmp_path):
    # DESIGN.md, Reading: "A hidden file or foreign ending is left out with one note".
    assert pair_names(tmp_path, ["a.png", ".b.png"], ["a.png"]).left_out.total() == 1


def test_upper_case_endings_are_endings(tmp_path):
    pairing = pair_names(
        tmp_path, ["a.PNG", "b.JPEG", "c.Npy"], ["a.png", "b.TIF", "c.NPZ", "d.GIF"]
    )
    assert ids(pairing) == ["a", "b", "c"]
    assert problems(pairing) == [("d", "pred", "missing")]


def test_upper_case_endings_are_read(folder):
    pred = folder("pred", {"a.PNG": MASK * 255, "b.Bmp": MASK * 255})
    np.save(folder("gt", {"b.PNG": MASK * 255}) / "a", MASK * 255)
    (pred.parent / "gt/a.npy").rename(pred.parent / "gt/a.NPY")
    assert lossbench.evaluate(pred, pred.parent / "gt", "dice").values["dice"].samples == [0, 0]


def test_composed_and_decomposed_names_are_one_id(tmp_path):
    name = "Zürich/é.png"
    composed, decomposed = normalize("NFC", name), normalize("NFD", name)
    assert composed != decomposed
    pairing = pair_names(tmp_path, [decomposed], [composed])
    assert ids(pairing) == ["Zürich/é"]
    assert files(pairing, "pred") == [[decomposed]]  # opened under the name it has


def test_both_forms_of_a_name_in_one_folder_are_a_duplicate(tmp_path):
    both = [normalize(form, "é.png") for form in ("NFC", "NFD")]
    pairing = pair_names(tmp_path, [*both, "a.png"], ["é.png", "a.png"])
    assert problems(pairing) == [("é", "pred", "duplicate")]


@pytest.mark.parametrize(
    ("pred", "target", "options"),
    [
        (["01_pred", "02_pred"], ["01", "02"], {"pred": "{id}_pred"}),
        (["01", "02"], ["01_gt", "02_gt"], {"gt": "{id}_gt"}),
        (["pred_1", "pred_2"], ["gt_1", "gt_2"], {"pred": "pred_{id}", "gt": "gt_{id}"}),
        (
            ["a-img-mask", "b-img-mask"],
            ["a-label", "b-label"],
            {"pred": "{id}-img-mask", "gt": "{id}-label"},
        ),
        (["x1.seg", "y2.seg"], ["x1", "y2"], {"pred": "{id}.seg"}),
        (["out/a", "out/b"], ["a", "b"], {"pred": "out/{id}"}),
        (["p/a_p", "q/b_p"], ["p/a_g", "q/b_g"], {"pred": "{id}_p", "gt": "{id}_g"}),
        (["a_pred"], ["a_gt"], {"pred": "{id}_pred", "gt": "{id}_gt"}),
        (["aseg", "bseg"], ["a", "b"], {"pred": "{id}seg"}),
    ],
)
def test_where_nothing_matches_the_right_patterns_are_suggested(tmp_path, pred, target, options):
    pred, target = ([f"{name}.png" for name in names] for names in (pred, target))
    with pytest.raises(lossbench.InputError) as caught:
        pair_names(tmp_path, pred, target)
    words = shlex.split(str(caught.value).split("; try ")[1])
    found = {word: words[place + 1] for place, word in enumerate(words) if word.startswith("--")}
    assert found == {f"--{role}-pattern": pattern for role, pattern in options.items()}
    assert f"({len(pred)} would match)" in str(caught.value)
    pairing = pair_names(tmp_path, [], [], options.get("pred"), options.get("gt"))
    assert len(pairing.pairs) == len(pred)


def test_the_suggestion_is_the_one_that_matches_most(tmp_path):
    pred = ["1_pred.png", "2_pred.png", "3_pred.png"]
    with pytest.raises(lossbench.InputError, match=r"'\{id\}_pred' \(2 would match\)"):
        pair_names(tmp_path, pred, ["1.png", "2.png", "9.png"])


def test_where_no_pattern_would_match_none_is_made_up(tmp_path):
    with pytest.raises(
        lossbench.InputError, match="give --pred-pattern and --gt-pattern"
    ) as caught:
        pair_names(tmp_path, ["cat.png", "dog.png"], ["01.png", "02.png"])
    assert "'cat'" in str(caught.value)
    assert "'01'" in str(caught.value)


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    touch(tmp_path / "gt", ["a.png"])
    with pytest.raises(lossbench.InputError, match="nowhere does not exist"):
        pair({"pred": tmp_path / "nowhere", "target": tmp_path / "gt"}, {})


def test_a_folder_without_images_says_what_it_holds(tmp_path):
    with pytest.raises(lossbench.InputError, match=r"pred holds no image .*2 × \.txt"):
        pair_names(tmp_path, ["a.txt", "b.txt"], ["a.png"])


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_a_directory_listing_does_not_matter(random):
    names = [f"{here}{number}.png" for here in ("", "x/", "y/z/") for number in range(4)]
    twice = ["x/0.jpg", "x/0.tif"]  # which of them is named first must not vary either
    walk = os.walk

    def shuffled(top: Any, **how: Any) -> Any:
        for here, folders, found in walk(top, **how):
            random.shuffle(folders)
            random.shuffle(found)
            yield here, folders, found

    with tempfile.TemporaryDirectory() as root:
        plain = pair_names(Path(root), [*names, *twice], [*names, "alone.png"])
        with mock.patch("os.walk", shuffled):
            assert pair_names(Path(root), names, names) == plain
    assert ids(plain) == sorted({name.removesuffix(".png") for name in names} - {"x/0"})
    assert problems(plain) == [("alone", "pred", "missing"), ("x/0", "pred", "duplicate")]


def test_mappings_pair_by_id_in_any_order():
    pairing = pair({"pred": {"b": 1, "a": 2}, "target": {"a": 3, "b": 4}}, {})
    assert [(each.id, each.sources) for each in pairing.pairs] == [
        ("a", {"pred": (2,), "target": (3,)}),
        ("b", {"pred": (1,), "target": (4,)}),
    ]


@pytest.mark.parametrize(
    "kind", [list, tuple, np.stack, lambda masks: torch.tensor(np.stack(masks))]
)
def test_sequences_pair_by_place(kind):
    pred, target = [MASK, 1 - MASK, MASK], [MASK, MASK, MASK]
    result = lossbench.evaluate(kind(pred), kind(target), "dice")
    assert result.values["dice"].samples == [0, 1, 0]
    assert result.ids == sorted(result.ids)


def test_roles_of_arrays_pair_like_the_arrays():
    valid = {"a": np.array([[1, 1], [0, 0]]), "b": np.array([[0, 0], [1, 1]])}
    result = lossbench.evaluate(
        {"a": MASK, "b": MASK},
        {"b": MASK, "a": np.array([[0, 1], [0, 0]], np.uint8)},
        "dice",
        inputs={"valid": valid},
    )
    assert result.ids == ["a", "b"]
    assert result.values["dice"].samples == [0, 0]


@pytest.mark.parametrize(
    ("pred", "target"), [([MASK], [MASK, MASK]), ({"a": MASK}, {"b": MASK}), ([], []), ({}, {})]
)
def test_arrays_that_do_not_pair_are_refused(pred, target):
    with pytest.raises(lossbench.InputError):
        lossbench.evaluate(pred, target)


def test_two_keys_of_one_id_are_refused():
    masks: Mapping[Any, Any] = {1: MASK, "1": 1 - MASK}
    with pytest.raises(lossbench.InputError, match="'1'"):
        lossbench.evaluate(masks, {1: MASK, "1": MASK}, "dice")


def test_the_policies_hold_for_mappings_too():
    result = lossbench.evaluate(
        {"a": MASK, "b": MASK}, {"a": MASK, "c": MASK}, "dice", missing="worst", extra="skip"
    )
    assert dict(zip(result.ids, result.values["dice"].samples, strict=True)) == {"a": 0, "c": 1}


@pytest.mark.parametrize("role", ["pred", "target", "valid"])
def test_a_folder_beside_arrays_is_refused(folder, role):
    path = str(folder("masks", {"a.png": MASK}))
    arrays = [MASK] * len(path)  # as many as the path has characters, which are no samples
    roles = {"pred": arrays, "target": arrays, "valid": arrays, role: path}
    with pytest.raises(lossbench.LossbenchError, match=r"(?i)folder|memory|array"):
        lossbench.evaluate(roles["pred"], roles["target"], "dice", inputs={"valid": roles["valid"]})


def test_missing_predictions_follow_the_policy(folder):
    pred = folder("pred", {"a.png": MASK})
    gt = folder("gt", {"a.png": MASK, "b.png": MASK})
    assert lossbench.evaluate(pred, gt, "dice").exit_status == 3
    skipped = lossbench.evaluate(pred, gt, "dice", missing="skip")
    assert (skipped.exit_status, skipped.ids) == (0, ["a"])
    worst = lossbench.evaluate(pred, gt, ["dice", "dice_score"], missing="worst")
    assert worst.ids == ["a", "b"]
    assert worst.values["dice"].samples == [0, 1]  # the bad end of a loss is 1,
    assert worst.values["dice_score"].samples == [1, 0]  # that of a score 0


def test_extra_predictions_follow_the_policy(folder):
    pred = folder("pred", {"a.png": MASK, "b.png": MASK})
    gt = folder("gt", {"a.png": MASK})
    [failed] = lossbench.evaluate(pred, gt, "dice").failed
    assert (failed.id, failed.kind, failed.file) == ("b", "extra", str(pred / "b.png"))
    assert lossbench.evaluate(pred, gt, "dice", extra="skip").exit_status == 0
